//! Live upgrade: SIGUSR2 starts the binary anew with the same arguments, and it takes over without a failed call.
//!
//! ```text
//! old                                     new
//! spawns it, channel as standard input ─► reads and checks configuration, keys, policies
//!                                      ◄─ Checked
//! Sockets + listening sockets          ─►
//!                                      ◄─ Ready
//! everything but traffic stops; records wait; the ledger closes
//! Go + live sources                    ─► opens the ledger, starts everything, accepts
//!                                      ◄─ Serving
//! stops accepting, drains; its records ─► recorded on the old process's sources
//! Finished                             ─► Whole; the old process ends
//! ```
//! Until Serving the old process accepts and forwards as ever; if the new one fails before that, the old one
//! opens its ledger again and stays. One process at a time writes the ledger: its lock and its fence say so.

mod channel;
mod link;
mod pid;
mod relay;
mod serve;

pub(crate) use pid::{PidFile, notify, process_of};
pub(crate) use relay::Relay;
pub(crate) use serve::Predecessor;

use crate::exit::CliError;
use channel::Message;
use countersign_ledger::PassedSource;
use link::Link;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Set for a process that is to take over: its standard input is the channel.
const TAKE_OVER: &str = "COUNTERSIGN_TAKE_OVER";
/// Longest time for the new process to check its configuration.
const CHECK_TIME: Duration = Duration::from_secs(60);
/// Longest time for it to open the ledger and start everything.
const START_TIME: Duration = Duration::from_secs(120);
/// Longest time for it to make the last records durable.
const WHOLE_TIME: Duration = Duration::from_secs(60);
/// Longest wait of the new process for the ledger: the old one may first let its own predecessor drain.
const GO_TIME: Duration = Duration::from_secs(120);

/// The binary as it was called: after an upgrade on disk, the same path is the new one.
static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();

/// Remembers the path of this binary, before anybody replaces it.
pub(crate) fn remember_program() {
    PROGRAM.get_or_init(|| std::env::current_exe().ok());
}

/// What a process takes over.
#[derive(Default)]
pub(crate) struct Inherited {
    /// Listening sockets, to be matched by their addresses.
    pub(crate) sockets: Vec<TcpListener>,
    /// Live sources.
    pub(crate) sources: Vec<PassedSource>,
}

/// The new process's end of the channel.
pub(crate) struct TakeOver {
    stream: UnixStream,
}

impl TakeOver {
    /// `Some` when this process was started to take over.
    pub(crate) fn asked() -> Result<Option<TakeOver>, CliError> {
        if std::env::var_os(TAKE_OVER).is_none() {
            return Ok(None);
        }
        let fail = |e| {
            let next = format!("unset {TAKE_OVER}: only a running server sets it");
            CliError::new("cannot take over from a running server", e, next)
        };
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(fail)?;
        let stream = UnixStream::from(stdin);
        stream.peer_addr().map_err(fail)?;
        Ok(Some(TakeOver { stream }))
    }

    /// Says that everything that can be checked is fine; gives what there is to take over once the old process has
    /// let the ledger go.
    pub(crate) fn wait(&self) -> Result<Inherited, CliError> {
        self.talk().map_err(|e| {
            CliError::new(
                "the running server did not hand over",
                e,
                "it goes on as it was; see its own output",
            )
        })
    }

    fn talk(&self) -> io::Result<Inherited> {
        self.stream.set_read_timeout(Some(GO_TIME))?;
        channel::send(&self.stream, Message::Checked(env!("CARGO_PKG_VERSION").to_owned()))?;
        let sockets = match channel::receive(&self.stream)? {
            Message::Sockets(n) => channel::receive_sockets(&self.stream, n)?,
            other => return Err(unexpected(&other)),
        };
        channel::send(&self.stream, Message::Ready)?;
        match channel::receive(&self.stream)? {
            Message::Go(sources) => {
                let sources = sources.iter().filter_map(|bytes| PassedSource::parse(bytes)).collect();
                Ok(Inherited { sockets, sources })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Says that connections are accepted, and goes on recording what the old process's bring.
    pub(crate) fn serve(
        self,
        sources: Vec<Option<countersign_ledger::Source>>,
    ) -> Result<Predecessor, CliError> {
        Predecessor::serve(self.stream, sources)
            .map_err(|e| CliError::new("the running server has gone while it handed over", e, "start again"))
    }
}

fn unexpected(message: &Message) -> io::Error {
    // Its kind alone: a message may hold keys.
    let kind = std::mem::discriminant(message);
    io::Error::new(io::ErrorKind::InvalidData, format!("an unexpected message ({kind:?})"))
}

/// The old process's end of the channel, until the new one accepts connections.
pub(crate) struct HandOver {
    stream: UnixStream,
    child: Child,
    version: String,
}

impl HandOver {
    /// Starts the new process with our own arguments and waits until it has checked its configuration and has the
    /// listening sockets.
    pub(crate) fn start(sockets: &[TcpListener]) -> Result<HandOver, CliError> {
        let fail = |e: io::Error| {
            let next =
                "this server goes on unchanged; correct the cause (countersign check) and send SIGUSR2 again";
            CliError::new("the new process cannot take over", e, next)
        };
        let program = PROGRAM.get().cloned().flatten();
        let program = program.ok_or_else(|| fail(io::Error::other("the path of this binary is unknown")))?;
        let (ours, theirs) = UnixStream::pair().map_err(fail)?;
        let child = Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(TAKE_OVER, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(fail)?;
        let mut new = HandOver { stream: ours, child, version: String::new() };
        match new.prepare(sockets) {
            Ok(()) => Ok(new),
            Err(e) => {
                let why = new.abandon().map_or(e.to_string(), |status| format!("it ended ({status}): {e}"));
                Err(fail(io::Error::other(why)))
            }
        }
    }

    fn prepare(&mut self, sockets: &[TcpListener]) -> io::Result<()> {
        self.stream.set_read_timeout(Some(CHECK_TIME))?;
        match channel::receive(&self.stream)? {
            Message::Checked(version) => self.version = version,
            other => return Err(unexpected(&other)),
        }
        channel::send(&self.stream, Message::Sockets(sockets.len()))?;
        channel::send_sockets(&self.stream, sockets)?;
        match channel::receive(&self.stream)? {
            Message::Ready => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Its version and process id, for people.
    pub(crate) fn describe(&self) -> String {
        format!("countersign {} as process {}", self.version, self.child.id())
    }

    /// Gives it the ledger, which must be closed; returns when it accepts connections. After an error it has ended.
    pub(crate) fn go(mut self, sources: &[PassedSource]) -> Result<Successor, String> {
        let started = self.stream.set_read_timeout(Some(START_TIME)).and_then(|()| {
            let sources = sources.iter().map(PassedSource::to_bytes).collect();
            channel::send(&self.stream, Message::Go(sources))?;
            match channel::receive(&self.stream)? {
                Message::Serving => Ok(()),
                other => Err(unexpected(&other)),
            }
        });
        let link = started.and_then(|()| self.stream.try_clone()).and_then(Link::new);
        match link {
            Ok(link) => Ok(Successor { link }),
            Err(e) => Err(self.abandon().map_or(e.to_string(), |status| format!("it ended ({status})"))),
        }
    }

    /// Ends the new process: two must not run.
    fn abandon(&mut self) -> Option<std::process::ExitStatus> {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        // A moment to say why it ends by itself.
        for _ in 0..50 {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

/// The process that took over, for the records of connections that are still ours.
pub(crate) struct Successor {
    link: Arc<Link>,
}

impl Successor {
    /// From now on records go there.
    pub(crate) fn take(&self, relays: &[Arc<Relay>]) {
        for (at, relay) in relays.iter().enumerate() {
            relay.to_link(Arc::clone(&self.link), at);
        }
    }

    /// Says that nothing more comes; whether all of it is durable there.
    pub(crate) fn finish(&self) -> bool {
        self.link.finish(WHOLE_TIME)
    }
}
