//! `mcp wrap`: stands between an MCP client and a server on standard input and output, and records every message.
//!
//! Where `policy.wrapped` enforces, what the policies do not permit is answered here and never reaches the server.
//! The records go to the process that holds the ledger, or into the ledger itself when nobody does; other wrappers
//! then record through this one, and it stays until they have ended. Standard output belongs to the protocol: what
//! is said here goes to standard error. Exit code: the server's; 128 and the number of the signal that ended it.

use crate::args::{Global, McpArgs, McpCommand, Role};
use crate::config::{self, Config};
use crate::exit::{CliError, Exit};
use crate::local::{self, LocalRecorder, LocalServer};
use crate::log;
use crate::pipeline::Flavour;
use crate::stages::{ledger, prepare};
use countersign_gateway::stdio::{self, StdioOptions, StdioParts};
use countersign_gateway::{BodyKey, Recorder, SourceRecorder};
use countersign_ledger::keys::Vault;
use countersign_ledger::{Kek, Ledger, RealDisk, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long two wrappers that start at once may need to agree who holds the ledger.
const AGREE: Duration = Duration::from_secs(10);
/// How often they look.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the sub-command.
pub(crate) fn run(global: &Global, args: &McpArgs) -> Result<Exit, CliError> {
    let McpCommand::Wrap { name, command } = &args.command;
    let config = config::resolve(global)?;
    log::start(config.log);
    let program = command.first().ok_or_else(|| CliError::Failed("no command to wrap".into()))?;
    let name = name.clone().unwrap_or_else(|| name_of(program));
    if !local::is_name(&name) {
        return Err(CliError::Failed(format!(
            "--name {name}: a name has 1 to 64 letters, digits, `.`, `-` and `_`"
        )));
    }
    // Before anything is opened: a broken policy that enforces is a reason not to start.
    let policy = prepare::wrapped_policies(&config)?;
    let way = Way::find(config, &name)?;
    let child = Arc::new(AtomicI32::new(0));
    pass_signals_on(Arc::clone(&child))?;
    let options = StdioOptions { route: format!("local/{name}"), service: name, config: [0; 8] };
    let parts = StdioParts {
        recorder: way.recorder(),
        key: way.key.clone(),
        clock: Arc::new(SystemClock::default()),
    };
    let mut wrapped = std::process::Command::new(program);
    wrapped.args(command.iter().skip(1));
    let started = {
        let child = Arc::clone(&child);
        move |pid: u32| child.store(i32::try_from(pid).unwrap_or(0), Ordering::SeqCst)
    };
    let ended =
        stdio::run_told(&options, parts, policy, wrapped, std::io::stdin(), std::io::stdout(), started);
    child.store(0, Ordering::SeqCst);
    let recorded = way.finish();
    let status = ended.map_err(|e| {
        CliError::new(
            format!("cannot wrap {}", program.to_string_lossy()),
            e,
            "check the command; nothing passes that is not recorded",
        )
    })?;
    recorded?;
    Ok(Exit::Code(code(status)))
}

/// The server's own code, or as a shell gives a signal.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// The file name of a program, as far as it may stand in a name.
fn name_of(program: &OsStr) -> String {
    let file = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let name: String = file.chars().map(|c| if fits(c) { c } else { '_' }).take(64).collect();
    if name.is_empty() { "server".to_owned() } else { name }
}

/// Where the records go.
struct Way {
    to: To,
    key: BodyKey,
}

enum To {
    /// To the process that holds the ledger.
    Other(Arc<LocalRecorder>),
    /// Into it.
    Own(Arc<SourceRecorder>, LocalServer, Ledger),
}

impl Way {
    fn find(mut config: Config, name: &str) -> Result<Way, CliError> {
        config.role = Role::Edge;
        let deadline = Instant::now() + AGREE;
        loop {
            let other = LocalRecorder::connect(&config.data, name)
                .map_err(|e| CliError::new("cannot record", e, "see what runs: countersign doctor"))?;
            if let Some(other) = other {
                let kek = Kek::load(&config.kek).map_err(|e| CliError::Failed(e.to_string()))?;
                let keys = Vault::open(&config.data.join("keys"), &kek, Arc::new(RealDisk));
                let key = keys.map_err(crate::access::directory::ledger_error)?.digest_key();
                return Ok(Way { to: To::Other(Arc::new(other)), key: BodyKey::Ledger(key) });
            }
            match Way::own(&config, name) {
                // Somebody was faster, and listens in a moment; or it is a server of another kind.
                Err(_) if Instant::now() < deadline && is_held(&config.data) => std::thread::sleep(LOOK),
                done => return done,
            }
        }
    }

    fn own(config: &Config, name: &str) -> Result<Way, CliError> {
        let (ledger, clean) = ledger::open(config, Flavour::default(), Vec::new(), &|_| {})?;
        if !clean {
            crate::stages::recover::note(config)?;
        }
        let source = ledger::source(&ledger, &config.agent(&format!("countersign:local/{name}")))?;
        let server = local::start(config, &ledger, [0; 8])?;
        let key = BodyKey::Ledger(ledger.digest_key());
        Ok(Way { to: To::Own(Arc::new(SourceRecorder::new(source)), server, ledger), key })
    }

    fn recorder(&self) -> Arc<dyn Recorder> {
        match &self.to {
            To::Other(local) => Arc::clone(local) as Arc<dyn Recorder>,
            To::Own(source, ..) => Arc::clone(source) as Arc<dyn Recorder>,
        }
    }

    /// Returns when every record is durable, and those of others that record through us have ended.
    fn finish(self) -> Result<(), CliError> {
        match self.to {
            To::Other(local) => {
                let rejected = local.finish().map_err(|e| CliError::Failed(e.to_string()))?;
                if rejected > 0 {
                    eprintln!("warning: {rejected} records were rejected; see countersign q on sources");
                }
                Ok(())
            }
            To::Own(_, server, ledger) => {
                server.wait_idle();
                drop(server);
                ledger.shutdown().map_err(crate::access::directory::ledger_error)
            }
        }
    }
}

/// Whether another process has the ledger open.
fn is_held(data: &Path) -> bool {
    let Ok(file) = std::fs::File::open(data.join("ledger.lock")) else { return false };
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
}

/// Signals that end this process end the server instead; this one ends with it.
fn pass_signals_on(child: Arc<AtomicI32>) -> Result<(), CliError> {
    let fail = |e: std::io::Error| {
        CliError::new("cannot listen for signals", e, "close other programs and try again")
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
    let kinds = [
        (SignalKind::interrupt(), Signal::INT),
        (SignalKind::terminate(), Signal::TERM),
        (SignalKind::hangup(), Signal::HUP),
        (SignalKind::quit(), Signal::QUIT),
    ];
    let guard = runtime.enter();
    let mut waiting = Vec::new();
    for (kind, number) in kinds {
        waiting.push((signal(kind).map_err(fail)?, number));
    }
    drop(guard);
    // A terminal tells the whole group, the server among it.
    let terminal = std::io::stdin().is_terminal();
    let told = Arc::new(Mutex::new(()));
    let listen = move || {
        runtime.block_on(async {
            let mut tasks = Vec::new();
            for (mut signal, number) in waiting {
                let (child, told) = (Arc::clone(&child), Arc::clone(&told));
                tasks.push(async move {
                    while signal.recv().await.is_some() {
                        let _one = told.lock();
                        if terminal && number != Signal::TERM {
                            continue;
                        }
                        match Pid::from_raw(child.load(Ordering::SeqCst)) {
                            // One that has just ended needs no signal.
                            Some(pid) => {
                                let _ = kill_process(pid, number);
                            }
                            // Before it has begun, or while others still record through us: the end is asked of us.
                            None => std::process::exit(128 + number.as_raw()),
                        }
                    }
                });
            }
            let mut tasks = tasks.into_iter();
            // Four, always; each on this one thread.
            if let (Some(a), Some(b), Some(c), Some(d)) =
                (tasks.next(), tasks.next(), tasks.next(), tasks.next())
            {
                tokio::join!(a, b, c, d);
            }
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).map(drop).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_the_program_alone() {
        for (program, name) in [("/usr/bin/npx", "npx"), ("./a b", "a_b"), ("/", "server"), ("é", "_")] {
            assert_eq!(name_of(OsStr::new(program)), name);
        }
    }

    #[test]
    fn the_servers_code_is_passed_on_and_a_signal_as_a_shell_does() {
        assert_eq!(code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(code(ExitStatus::from_raw(15)), 143);
    }
}
