//! `countersign demo`: a small shop that speaks through the real gateway into a real ledger.
//!
//! ```text
//! story ─► callers ─► listener of each service (mTLS, token, key or nothing) ─► services ─► further listeners
//!                         gateway → ledger → store → first-seen → webhook → receiver
//! ```
//! It is no simulator and writes no record: the programs here open sockets, and the product records what
//! it sees. The product is configured as any user would, by [`crate::config::Config`]. Everything is thrown
//! away at the end unless `--keep` names a directory.

mod client;
mod fleet;
mod home;
mod hook;
mod network;
mod print;
mod prove;
mod random;
mod server;
mod services;
mod story;
mod wire;

use crate::args::{DemoArgs, Global};
use crate::config::units;
use crate::exit::{CliError, Exit};
use crate::pipeline::{Flavour, Pipeline};
use crate::signals::Interrupt;
use fleet::Fleet;
use home::Home;
use print::Say;
use prove::Prover;
use random::Random;
use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use story::{Deletion, Story};

/// How often a running demo looks at the ledger's health, and after how many looks it says how far it is.
const LOOK: Duration = Duration::from_secs(1);
const PROGRESS_LOOKS: u32 = 15;
/// Longest wait for open exchanges at the end.
const DRAIN: Duration = Duration::from_secs(2);
/// Deletions that wait for their proof.
const DELETIONS_MAX: usize = 4;

/// Runs the demo until Ctrl-C, or for the time asked for.
pub(crate) fn run(global: &Global, args: &DemoArgs) -> Result<Exit, CliError> {
    if global.data.is_some() || global.config.is_some() {
        return Err(CliError::Failed(
            "the demo has data and configuration of its own: leave out --data and --config; --keep DIR keeps its data"
                .into(),
        ));
    }
    let run_for = args.run_for.as_deref().map(parse_time).transpose()?;
    let interrupt = Interrupt::install()?;
    let say = Arc::new(Say::new(global.quiet));
    say.plain("countersign demo: a small shop on loopback, a throw-away authority, and a ledger of its own");
    let home = Home::open(args.keep.as_deref())?;
    let (mut fleet, mut config) = fleet::raise(&home, args.seed, &say)?;
    config.limits.drain_time = DRAIN;
    let pipeline = Pipeline::start(&config, Flavour { demo: true }, &|line| say.plain(&format!("  {line}")))?;
    fleet.network.open(pipeline.listeners());
    let link = pipeline.login_link();
    introduce(&say, &home, link.as_deref());
    open_browser(args, link.as_deref());
    let told = tell(args, run_for, (&interrupt, &say, &home), &fleet, &pipeline);
    say.timed("ending: the fleet hangs up, the gateway drains, the ledger signs its last checkpoint");
    fleet.hang_up();
    let counters = pipeline.stop();
    fleet.stop();
    told?;
    conclude(&say, &home, &fleet, &counters?);
    Ok(Exit::Yes)
}

/// The story, with a prover beside it; returns when the demo is over.
fn tell(
    args: &DemoArgs,
    run_for: Option<Duration>,
    (stop, say, home): (&Interrupt, &Say, &Home),
    fleet: &Fleet,
    pipeline: &Pipeline,
) -> Result<(), CliError> {
    let store = pipeline.store().ok_or_else(|| CliError::Failed("the demo needs role all".into()))?;
    let prover = Prover::new(pipeline.ledger.clone(), store.clone())?;
    let (deletions, to_prove) = sync_channel(DELETIONS_MAX);
    let failed = AtomicBool::new(false);
    let network = &*fleet.network;
    let random = Random::new(args.seed, 2);
    let story = Story { network, say, stop, deletions, random, rate: args.rate, silent: false };
    let progress = || {
        let (calls, _) = network.calls();
        say.told(&format!("so far {calls} calls; ledger size {}", pipeline.ledger.size()));
    };
    let stopped = thread::scope(|scope| {
        scope.spawn(|| story.tell());
        let failed = &failed;
        scope.spawn(move || prove_all(&prover, &to_prove, (say, home), failed));
        let stopped = watch(run_for, stop, progress, || pipeline.ledger.stats().stopped);
        stop.ask();
        stopped
    });
    if let Some(why) = stopped {
        return Err(CliError::new("the demo's ledger stopped", why, "run countersign doctor"));
    }
    if failed.load(Ordering::Relaxed) {
        return Err(CliError::Integrity("an event of the demo could not be proven; see above".into()));
    }
    Ok(())
}

/// Proves each deletion; ends when the story has ended.
fn prove_all(
    prover: &Prover,
    deletions: &Receiver<Deletion>,
    (say, home): (&Say, &Home),
    failed: &AtomicBool,
) {
    let mut told = false;
    for deletion in deletions {
        match prover.prove(&deletion.trace) {
            Ok((index, line)) => {
                say.timed(&line);
                if !std::mem::replace(&mut told, true) {
                    let (program, config) = (program(), shell_word(&home.config));
                    say.told(&format!("by hand: {program} prove {index} --write-policy . --config {config}"));
                }
            }
            Err(error) => {
                failed.store(true, Ordering::Relaxed);
                say.plain(&format!("error: {error}"));
            }
        }
    }
}

/// Waits for the end; gives the reason when the ledger itself stopped.
fn watch(
    run_for: Option<Duration>,
    stop: &Interrupt,
    progress: impl Fn(),
    stopped: impl Fn() -> Option<String>,
) -> Option<String> {
    let end = run_for.map(|time| Instant::now() + time);
    for look in 1_u32.. {
        let left = end.map_or(LOOK, |end| end.saturating_duration_since(Instant::now()).min(LOOK));
        if stop.wait(left) || end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        if let Some(why) = stopped() {
            return Some(why);
        }
        if look.is_multiple_of(PROGRESS_LOOKS) {
            progress();
        }
    }
    None
}

/// Where to look, and what to try.
fn introduce(say: &Say, home: &Home, link: Option<&str>) {
    say.plain(if home.kept {
        "  The data stay: a second start on them continues the same ledger."
    } else {
        "  All of it is removed at the end; --keep DIR keeps the data."
    });
    if let Some(link) = link {
        say.plain(&format!("\n  dashboard  {link}  (works once, within a minute)"));
    }
    let (program, config) = (program(), shell_word(&home.config));
    say.plain("\nTo try next, in another terminal:");
    for (command, words) in [
        ("q", "class:delete"),
        ("q", "--by who,service,status outcome:failed"),
        ("sql", "\"select who, verified, count(*) as calls from events group by who, verified\""),
        ("tail", ""),
    ] {
        // Flags first: the words of a filter may begin with a hyphen.
        say.plain(format!("  {program} {command} --config {config} {words}").trim_end());
    }
    say.plain("\nCtrl-C ends it. The story, in seconds:\n");
}

/// The counters of both sides, which must agree.
fn conclude(say: &Say, home: &Home, fleet: &Fleet, counters: &[String]) {
    let (calls, unanswered) = fleet.network.calls();
    say.plain(&format!("  fleet: {calls} calls answered, {unanswered} without an answer"));
    counters.iter().for_each(|line| say.plain(&format!("  {line}")));
    let (good, refused) = (&fleet.received.good, &fleet.received.refused);
    say.plain(&format!(
        "  receiver: {} alerts with a good signature, {} refused",
        good.load(Ordering::Relaxed),
        refused.load(Ordering::Relaxed)
    ));
    if home.kept {
        let (program, config) = (program(), shell_word(&home.config));
        say.plain(&format!("  kept: {}; ask it: {program} q --config {config}", home.data.display()));
    }
}

/// Opens the link where there is a desktop and a person.
fn open_browser(args: &DemoArgs, link: Option<&str>) {
    let named = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let display = named("DISPLAY") || named("WAYLAND_DISPLAY");
    let wanted = !args.no_open && display && std::io::stdout().is_terminal();
    let Some(link) = link.filter(|_| wanted) else { return };
    let mut command = Command::new("xdg-open");
    command.arg(link).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut child) = command.spawn() {
        // Waited for so that it leaves no zombie; without a browser the link on the screen does.
        let _ = thread::Builder::new().name("demo-browser".into()).spawn(move || child.wait());
    }
}

/// This program as it can be typed here: by name when the shell would find it, else by path.
fn program() -> String {
    let Ok(own) = std::env::current_exe() else { return "countersign".into() };
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|dir| dir.join("countersign")).find(|file| file.is_file())
    });
    if found.is_some_and(|file| file.canonicalize().ok() == own.canonicalize().ok()) {
        return "countersign".into();
    }
    let here = std::env::current_dir().unwrap_or_default();
    shell_word(own.strip_prefix(&here).unwrap_or(&own))
}

/// A path as one word of a shell.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn parse_time(text: &str) -> Result<Duration, CliError> {
    let ms = units::parse_span_ms(text).filter(|ms| *ms > 0);
    ms.map(Duration::from_millis)
        .ok_or_else(|| CliError::Failed(format!("--for `{text}` is no time span: write 30s, 5m or 1h")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_shell_and_times_are_read() {
        assert_eq!(shell_word(Path::new("/tmp/a-b.toml")), "/tmp/a-b.toml");
        assert_eq!(shell_word(Path::new("/tmp/it's")), r"'/tmp/it'\''s'");
        assert_eq!(parse_time("8s").unwrap(), Duration::from_secs(8));
        assert!(parse_time("soon").unwrap_err().to_string().contains("--for `soon`"));
    }
}
