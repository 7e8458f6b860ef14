//! The side of the process that holds the ledger.
//!
//! One thread a connection, at most [`CONNECTIONS_MAX`]. Invariants: only processes of our own user, or root, are
//! heard (the kernel says who); of an event nothing is believed that says who recorded it, by whom it was called,
//! how that was proved or where it passed; what a client promised and did not deliver is a GAP. What it says of the
//! traffic itself, outcome and decision among it, is its word: the source's name says whose.

use super::{SOCKET, is_name, receive, send};
use crate::config::Config;
use crate::exit::CliError;
use countersign_event::{Auth, Event, Frame, IdentityFrom, Principal, PrincipalKind, Rec, Verified};
use countersign_ledger::{GapReason, Ledger, Source};
use countersign_wire::ingest::{PAYLOAD_MAX, VERSION, frames, kind};
use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Most connections at once; more are refused.
const CONNECTIONS_MAX: usize = 64;
/// Most names in one run of the process, each a source of the ledger.
const NAMES_MAX: usize = 256;
/// How often the end is looked for while nobody connects.
const STEP: Duration = Duration::from_millis(50);
/// How long a client may take to say hello.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// Agent of such records, before the name; what stands before it is the configuration's.
const AGENT: &str = "countersign:local";

/// The running server. Ends when dropped: what was promised and not delivered is declared then.
pub(crate) struct LocalServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

struct Shared {
    ledger: Ledger,
    /// Agent of such records, before the name.
    agent: String,
    /// `core.config` of every record.
    config: [u8; 8],
    sources: Mutex<HashMap<String, Source>>,
    /// Open connections, by number.
    open: Mutex<HashMap<u64, UnixStream>>,
    stop: AtomicBool,
    owner: u32,
}

/// Listens in the data directory; `digest` = that of the configuration in force.
pub(crate) fn start(config: &Config, ledger: &Ledger, digest: [u8; 8]) -> Result<LocalServer, CliError> {
    let path = config.data.join(SOCKET);
    let fail = |e: io::Error| {
        CliError::new(
            format!("cannot listen on {}", path.display()),
            e,
            "check the data directory's permissions",
        )
    };
    let (listener, owner) = bind(&path).map_err(fail)?;
    let shared = Arc::new(Shared {
        ledger: ledger.clone(),
        agent: config.agent(AGENT),
        config: digest,
        sources: Mutex::default(),
        open: Mutex::default(),
        stop: AtomicBool::new(false),
        owner,
    });
    let ours = Arc::clone(&shared);
    let thread = std::thread::Builder::new().name("local".into()).spawn(move || accept(&ours, &listener));
    Ok(LocalServer { shared, thread: Some(thread.map_err(fail)?), path })
}

/// Bound under another name, restricted, then renamed: it is never open to others.
fn bind(path: &Path) -> io::Result<(UnixListener, u32)> {
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    std::fs::rename(&fresh, path)?;
    Ok((listener, rustix::process::geteuid().as_raw()))
}

impl LocalServer {
    /// Waits until nobody is connected.
    pub(crate) fn wait_idle(&self) {
        while !lock(&self.shared.open).is_empty() {
            std::thread::sleep(STEP);
        }
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for stream in lock(&self.shared.open).values() {
            // What was sent is read to its end, and answered.
            let _ = stream.shutdown(Shutdown::Read);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(shared: &Arc<Shared>, listener: &UnixListener) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut number = 0;
    while !shared.stop.load(Ordering::Acquire) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) => {
                if e.kind() != io::ErrorKind::WouldBlock {
                    tracing::warn!(error = %e, "accepting a local connection failed");
                }
                std::thread::sleep(STEP);
                continue;
            }
        };
        threads.retain(|thread| !thread.is_finished());
        number += 1;
        match admit(shared, number, &stream) {
            Ok(Some(peer)) => {
                let ours = Arc::clone(shared);
                let work = move || {
                    let mut connection = Connection { shared: &ours, peer, stream, owed: 0, settled: 0 };
                    connection.serve();
                    lock(&ours.open).remove(&number);
                };
                match std::thread::Builder::new().name("local-in".into()).spawn(work) {
                    Ok(thread) => threads.push(thread),
                    Err(e) => {
                        tracing::warn!(error = %e, "no thread for a local connection");
                        lock(&shared.open).remove(&number);
                    }
                }
            }
            Ok(None) => {}
            Err(e) => tracing::warn!(error = %e, "a local connection failed"),
        }
    }
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

/// Who connected, when that is ours and there is room.
fn admit(shared: &Shared, number: u64, stream: &UnixStream) -> io::Result<Option<Peer>> {
    stream.set_nonblocking(false)?;
    let credentials = rustix::net::sockopt::socket_peercred(stream)?;
    let uid = credentials.uid.as_raw();
    if uid != shared.owner && uid != 0 {
        tracing::warn!(uid, "a local connection of another user was closed");
        return Ok(None);
    }
    let mut open = lock(&shared.open);
    if open.len() >= CONNECTIONS_MAX {
        tracing::warn!(most = CONNECTIONS_MAX as u64, "too many local connections");
        let mut stream = stream;
        let _ = send(&mut stream, kind::REFUSED, b"too many connections");
        return Ok(None);
    }
    open.insert(number, stream.try_clone()?);
    Ok(Some(Peer { uid }))
}

/// What the kernel says of the other side.
struct Peer {
    uid: u32,
}

struct Connection<'a> {
    shared: &'a Shared,
    peer: Peer,
    stream: UnixStream,
    /// Promised, and delivered, rejected or given up again.
    owed: u64,
    settled: u64,
}

/// Why a connection ends: told to the client.
type Fault = String;

impl Connection<'_> {
    fn serve(&mut self) {
        let source = match self.hello() {
            Ok(Some((name, source))) => (name, source),
            Ok(None) => return,
            Err(why) => return self.refuse(&why),
        };
        if let Err(why) = self.work(&source.0, &source.1) {
            self.refuse(&why);
        }
        let missing = self.owed.saturating_sub(self.settled);
        if missing > 0
            && let Err(e) = source.1.dropped(missing, GapReason::SourceDeclared)
        {
            tracing::error!(error = %e, records = missing, "a gap could not be declared; the next start finds it");
        }
    }

    fn refuse(&mut self, why: &str) {
        tracing::warn!(why, "a local connection was refused");
        let _ = send(&mut self.stream, kind::REFUSED, why.as_bytes());
    }

    fn hello(&mut self) -> Result<Option<(String, Source)>, Fault> {
        self.stream.set_read_timeout(Some(HELLO_TIME)).map_err(|e| e.to_string())?;
        let Some((kind::HELLO, payload)) = receive(&mut self.stream).map_err(|e| e.to_string())? else {
            return Ok(None);
        };
        self.stream.set_read_timeout(None).map_err(|e| e.to_string())?;
        let name = match payload.split_first() {
            Some((&VERSION, name)) => String::from_utf8_lossy(name).into_owned(),
            _ => return Err("this process speaks another version; end it and start the same binary".into()),
        };
        if !is_name(&name) {
            return Err("a name has 1 to 64 letters, digits, `.`, `-` and `_`".into());
        }
        let source = self.source(&name)?;
        send(&mut self.stream, kind::WELCOME, &[VERSION]).map_err(|e| e.to_string())?;
        Ok(Some((name, source)))
    }

    fn source(&self, name: &str) -> Result<Source, Fault> {
        let mut sources = lock(&self.shared.sources);
        if let Some(source) = sources.get(name) {
            return Ok(source.clone());
        }
        if sources.len() >= NAMES_MAX {
            return Err(format!("more than {NAMES_MAX} names"));
        }
        let agent = format!("{}/{name}", self.shared.agent);
        let source = crate::stages::ledger::source(&self.shared.ledger, &agent).map_err(|e| e.to_string())?;
        sources.insert(name.to_owned(), source.clone());
        Ok(source)
    }

    fn work(&mut self, name: &str, source: &Source) -> Result<(), Fault> {
        loop {
            // A connection that breaks is an end like any other: what is missing becomes a GAP.
            let Ok(Some((kind, payload))) = receive(&mut self.stream) else { return Ok(()) };
            match kind {
                kind::OWE => {
                    let n = payload.try_into().map(u64::from_be_bytes);
                    let n = n.map_err(|_| "a promise is a number of 8 bytes".to_owned())?;
                    source.owe(n).map_err(|e| e.to_string())?;
                    self.owed = self.owed.saturating_add(n);
                    send(&mut self.stream, kind::OWED, b"").map_err(|e| e.to_string())?;
                }
                kind::EVENTS => {
                    let answer = self.record(name, source, &payload)?;
                    send(&mut self.stream, kind::DURABLE, &answer).map_err(|e| e.to_string())?;
                }
                // What is still promised will not come.
                kind::BYE => return Ok(()),
                other => return Err(format!("message {other} is not known")),
            }
        }
    }

    /// Records one batch; gives the payload of the answer when it is durable.
    fn record(&mut self, name: &str, source: &Source, payload: &[u8]) -> Result<[u8; 4], Fault> {
        debug_assert!(payload.len() <= PAYLOAD_MAX);
        let frames = frames(payload).ok_or("a batch is out of form")?;
        let sent = frames.len() as u64;
        let now = u64::try_from(crate::access::time::now_ns()).unwrap_or(0);
        let mut events = Vec::with_capacity(frames.len());
        for bytes in frames {
            let event = Frame::from_bytes(bytes).and_then(|frame| Event::decode(&frame));
            match event.map_err(|_| ()).and_then(|event| self.own(event, name, now)) {
                Ok(event) => events.push(event),
                Err(()) => source.rejected(1, "local: not allowed"),
            }
        }
        let recorded = match events.is_empty() {
            true => 0,
            false => {
                let given = events.len();
                let ack = source.record_wait(events).map_err(|e| e.to_string())?;
                given.saturating_sub(ack.rejected.len())
            }
        };
        self.settled = self.settled.saturating_add(sent);
        let short = |n: u64| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
        let [a, b] = short(recorded as u64);
        let [c, d] = short(sent.saturating_sub(recorded as u64));
        Ok([a, b, c, d])
    }

    /// The event with everything set that is not the sender's to say; refused when it is no record of traffic.
    fn own(&self, mut event: Event, name: &str, now_ns: u64) -> Result<Event, ()> {
        let traffic = matches!(
            event.core.rec,
            Some(
                Rec::Interaction
                    | Rec::Intent
                    | Rec::Outcome
                    | Rec::SessionOpen
                    | Rec::SessionClose
                    | Rec::Progress
                    | Rec::Opaque
            )
        );
        if !traffic {
            return Err(());
        }
        event.core.eid = [0; 16];
        event.core.t_obs = now_ns;
        event.core.config = Some(self.shared.config);
        event.core.route = format!("local/{name}");
        if let Some(decision) = &mut event.core.decision {
            // A purpose comes from a credential or the route's table, and here there is neither.
            decision.purpose.clear();
            decision.other = Default::default();
        }
        event.core.sys = Default::default();
        event.links.of = None;
        event.links.causal.clear();
        event.peer = Default::default();
        let caller = Principal {
            kind: Some(PrincipalKind::User),
            auth: Some(Auth::PeerCred),
            from: Some(IdentityFrom::RecordField),
            ..Principal::new(
                format!("user:{}/{}", countersign_gateway::stdio::host(), self.peer.uid),
                Verified::Asserted,
            )
        };
        // A sender may say that it knows less: what the wrapped server itself asks for is the server's.
        let who = &mut *event.who;
        if who.who.as_ref().is_none_or(|who| who.verified != Verified::Claimed) {
            who.who = Some(caller);
        }
        for other in who.also.iter_mut().chain(&mut who.obo) {
            other.verified = Verified::Claimed;
        }
        Ok(event)
    }
}
