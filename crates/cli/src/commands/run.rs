//! `run`: the server, until Ctrl-C or until another process has taken over. Its narrative goes to standard output, errors to standard error.

use crate::args::{Global, Role, RunArgs};
use crate::config::{self, Config, Listener};
use crate::exit::{CliError, Exit};
use crate::log;
use crate::output;
use crate::pipeline::{Flavour, Pipeline};
use crate::signals::{self, Interrupt};
use crate::upgrade::{self, HandOver, TakeOver};
use std::io::Write;
use std::time::{Duration, Instant};

/// How often the server looks at its own health while it waits.
const LOOK: Duration = Duration::from_secs(1);

/// Runs until an end is asked for.
pub(crate) fn run(global: &Global, args: &RunArgs) -> Result<Exit, CliError> {
    upgrade::remember_program();
    let mut config = config::resolve(global)?;
    add_proxies(&mut config, &args.proxy)?;
    config.role = args.role.unwrap_or(config.role);
    if let Some(word) = &args.log {
        config.log.level = log::level(word);
    }
    log::start(config.log);
    let interrupt = Interrupt::install()?;
    let quiet = global.quiet;
    let say = |line: &str| {
        if !quiet {
            tell(&format!("  {line}"));
        }
    };
    if !quiet {
        tell(&format!(
            "countersign {}: every call is passed on, recorded and signed",
            env!("CARGO_PKG_VERSION")
        ));
    }
    let mut pipeline = match TakeOver::asked()? {
        None => Pipeline::start(&config, Flavour::default(), &say)?,
        Some(from) => Pipeline::take_over(&config, Flavour::default(), from, &say)?,
    };
    if let Some(link) = pipeline.login_link() {
        say(&format!("dashboard  {link}  (works once, within a minute)"));
    }
    if config.listeners.is_empty() && config.inputs.is_empty() {
        say(
            "nothing listens: add --proxy 127.0.0.1:8081=http://127.0.0.1:8080 to stand in front of a service",
        );
    } else if config.role == Role::Edge && config.edge.is_none() {
        say(
            "edge       records are durable and signed; to search them: countersign run on this data directory",
        );
    } else if config.role != Role::Edge {
        if config.listeners.is_empty() {
            say("to stand in front of a service: --proxy 127.0.0.1:8081=http://127.0.0.1:8080");
        }
        say("ask        countersign q     follow: countersign tail     end: Ctrl-C");
    }
    let stopped = loop {
        match wait(&pipeline, &interrupt) {
            Woken::End => break None,
            Woken::Stopped(why) => break Some(why),
            Woken::Upgrade => match pass_on(pipeline, &config, &say)? {
                Some(stays) => pipeline = stays,
                None => return Ok(Exit::Yes),
            },
        }
    };
    say("stopping: open calls may end");
    let counters = pipeline.stop();
    if let Some(why) = stopped {
        return Err(CliError::new(
            "the ledger stopped",
            why,
            "remove the cause, then start again: nothing acknowledged was lost",
        ));
    }
    for line in counters? {
        say(&line);
    }
    Ok(Exit::Yes)
}

/// Why waiting ended.
enum Woken {
    /// An end was asked for.
    End,
    /// The ledger itself stopped.
    Stopped(String),
    /// SIGUSR2.
    Upgrade,
}

fn wait(pipeline: &Pipeline, interrupt: &Interrupt) -> Woken {
    loop {
        if interrupt.wait(LOOK) {
            return Woken::End;
        }
        if signals::take_upgrade() {
            return Woken::Upgrade;
        }
        if let Some(why) = pipeline.ledger.stats().stopped {
            return Woken::Stopped(why);
        }
    }
}

/// Live upgrade: a new process of this binary takes over. `None` when it did, and everything of ours has ended;
/// otherwise this process goes on.
fn pass_on(
    mut pipeline: Pipeline,
    config: &Config,
    say: &dyn Fn(&str),
) -> Result<Option<Pipeline>, CliError> {
    let began = Instant::now();
    say("upgrade    starting the new process; this one goes on until it accepts connections");
    let new = match HandOver::start(&pipeline.sockets()) {
        Ok(new) => new,
        Err(error) => {
            eprintln!("error: {}", output::escape(&error.to_string()));
            pipeline.upgrade_failed(&error.to_string());
            return Ok(Some(pipeline));
        }
    };
    let who = new.describe();
    pipeline.wait_predecessor();
    let (suspended, passed) = pipeline.suspend()?;
    match new.go(&passed) {
        Ok(successor) => {
            let took =
                || say(&format!("upgrade    {who} has taken over after {} ms", began.elapsed().as_millis()));
            let (counters, whole) = suspended.drain(&successor, &took);
            say(&counters);
            if !whole {
                return Err(CliError::new(
                    "the new process ended before it had our last records",
                    "what is missing is declared as a gap when it starts again",
                    "start countersign again, and see countersign q rec:gap",
                ));
            }
            Ok(None)
        }
        Err(why) => {
            eprintln!("error: the new process did not start: {}; this one goes on", output::escape(&why));
            let stays = suspended.resume(config, Flavour::default(), passed, say)?;
            stays.upgrade_failed(&why);
            Ok(Some(stays))
        }
    }
}

fn add_proxies(config: &mut Config, specs: &[String]) -> Result<(), CliError> {
    for spec in specs {
        let listener =
            Listener::from_proxy(spec).map_err(|why| CliError::Failed(format!("--proxy {spec}: {why}")))?;
        if let Some(twin) =
            config.listeners.iter().find(|l| l.listen == listener.listen || l.name == listener.name)
        {
            return Err(CliError::Failed(format!(
                "--proxy {spec}: listener `{}` has {} already; choose another port",
                twin.name, twin.listen
            )));
        }
        config.listeners.push(listener);
    }
    Ok(())
}

/// One line to standard output. The server goes on when nobody reads it any more.
pub(crate) fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", output::escape(line)).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_or_refused_with_a_reason() {
        let listener = Listener::from_proxy("127.0.0.1:8081=http://127.0.0.1:8080").unwrap();
        assert_eq!((listener.name.as_str(), listener.service.as_str()), ("proxy-8081", "127.0.0.1:8080"));
        for (spec, why) in [
            ("nonsense", "no `=`"),
            ("8081=http://a:1", "no address"),
            ("127.0.0.1:1=https://a", "upstream_ca"),
            ("127.0.0.1:1=http://a/path", "path"),
        ] {
            let found = Listener::from_proxy(spec).unwrap_err();
            assert!(found.contains(why), "{spec}: {found}");
        }
    }
}
