//! A recorder whose records go to the process that holds the ledger.
//!
//! Promises are answered before anything passes; records are sent without waiting for each answer, at most
//! [`UNANSWERED_MAX`] batches ahead. Invariant: an error is final, and nothing may pass after it.

use super::{SOCKET, receive, send};
use countersign_event::Event;
use countersign_gateway::{Durable, RecordError, Recorder};
use countersign_wire::ingest::{EVENTS_MAX, PAYLOAD_MAX, VERSION, kind, pack};
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Batches whose records are not yet known to be durable; then the next one waits.
const UNANSWERED_MAX: u64 = 64;
/// Longest wait for an answer; the server's ledger is stuck then.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest message of a server that is told on, characters.
const WHY_MAX: usize = 200;

/// See the module's documentation.
pub(crate) struct LocalRecorder {
    to: Mutex<UnixStream>,
    state: Arc<State>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    seen: Mutex<Seen>,
    news: Condvar,
}

/// What was asked and answered.
#[derive(Default)]
struct Seen {
    promises: u64,
    promised: u64,
    batches: u64,
    durable: u64,
    rejected: u64,
    failed: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LocalRecorder {
    /// Connects to the process that holds the ledger in `data`; `None` when there is none.
    ///
    /// # Errors
    /// There is one, and it refuses.
    pub(crate) fn connect(data: &Path, name: &str) -> io::Result<Option<LocalRecorder>> {
        let mut stream = match UnixStream::connect(data.join(SOCKET)) {
            Ok(stream) => stream,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        stream.set_read_timeout(Some(ANSWER))?;
        send(&mut stream, kind::HELLO, &[&[VERSION][..], name.as_bytes()].concat())?;
        match receive(&mut stream)? {
            Some((kind::WELCOME, version)) if version == [VERSION] => {}
            Some((kind::REFUSED, why)) => return Err(io::Error::other(told(&why))),
            _ => return Err(io::Error::other("the process that holds the ledger ended the connection")),
        }
        stream.set_read_timeout(None)?;
        let state = Arc::new(State::default());
        let (ours, mut from) = (Arc::clone(&state), stream.try_clone()?);
        let read = move || {
            let why = answers(&ours, &mut from);
            lock(&ours.seen).failed.get_or_insert(why);
            ours.news.notify_all();
        };
        let reader = std::thread::Builder::new().name("local-answers".into()).spawn(read)?;
        Ok(Some(LocalRecorder { to: Mutex::new(stream), state, reader: Mutex::new(Some(reader)) }))
    }

    /// Waits until every record is durable, says good-bye; gives how many were rejected.
    ///
    /// # Errors
    /// Records whose fate is not known.
    pub(crate) fn finish(&self) -> Result<u64, RecordError> {
        let rejected = self.wait(|seen| seen.durable >= seen.batches)?.rejected;
        let mut to = lock(&self.to);
        let _ = send(&mut *to, kind::BYE, b"");
        let _ = to.shutdown(Shutdown::Both);
        drop(to);
        if let Some(reader) = lock(&self.reader).take() {
            let _ = reader.join();
        }
        Ok(rejected)
    }

    fn send(&self, kind: u8, payload: &[u8]) -> Result<(), RecordError> {
        send(&mut *lock(&self.to), kind, payload).map_err(|e| RecordError(e.to_string()))
    }

    fn wait(&self, until: impl Fn(&Seen) -> bool) -> Result<MutexGuard<'_, Seen>, RecordError> {
        let mut seen = lock(&self.state.seen);
        while !until(&seen) {
            if let Some(why) = &seen.failed {
                return Err(RecordError(why.clone()));
            }
            let (guard, waited) =
                self.state.news.wait_timeout(seen, ANSWER).unwrap_or_else(PoisonError::into_inner);
            seen = guard;
            if waited.timed_out() && !until(&seen) {
                return Err(RecordError("the process that holds the ledger does not answer".to_owned()));
            }
        }
        Ok(seen)
    }
}

/// Reads answers until there are no more; why.
fn answers(state: &State, from: &mut UnixStream) -> String {
    loop {
        let message = match receive(from) {
            Ok(Some(message)) => message,
            Ok(None) => return "the process that holds the ledger has ended".to_owned(),
            Err(e) => return e.to_string(),
        };
        let mut seen = lock(&state.seen);
        match message {
            (kind::OWED, _) => seen.promised += 1,
            (kind::DURABLE, counts) => {
                seen.durable += 1;
                seen.rejected +=
                    counts.get(2..4).map_or(0, |n| n.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
            }
            (kind::REFUSED, why) => return told(&why),
            (other, _) => return format!("the process that holds the ledger answered {other}"),
        }
        drop(seen);
        state.news.notify_all();
    }
}

fn told(why: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(why).chars().take(WHY_MAX).collect();
    format!("the process that holds the ledger refuses: {text}")
}

impl Recorder for LocalRecorder {
    fn record(&self, events: Vec<Event>) -> Result<(), RecordError> {
        let mut frames: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        let mut events = events.into_iter().peekable();
        while let Some(mut event) = events.next() {
            // Of no meaning there: the source's own are set by the server. Without them it could not be encoded.
            event.core.agent = "local".to_owned();
            (event.core.stream, event.core.eid, event.core.seq) = ([1; 16], [1; 16], 1);
            let frame = event.encode().map_err(|e| RecordError(e.to_string()))?.to_bytes();
            bytes += frame.len() + 4;
            frames.push(frame);
            let full = frames.len() == EVENTS_MAX || bytes > PAYLOAD_MAX / 2;
            if full || events.peek().is_none() {
                self.wait(|seen| seen.batches - seen.durable < UNANSWERED_MAX)?.batches += 1;
                self.send(kind::EVENTS, &pack(&frames))?;
                frames.clear();
                bytes = 0;
            }
        }
        Ok(())
    }

    fn owe(&self, n: u64) -> Result<(), RecordError> {
        let mine = {
            let mut seen = lock(&self.state.seen);
            seen.promises += 1;
            seen.promises
        };
        self.send(kind::OWE, &n.to_be_bytes())?;
        self.wait(|seen| seen.promised >= mine).map(drop)
    }

    fn record_intents(&self, _: Vec<Event>, _: Durable) -> Result<Vec<[u8; 16]>, RecordError> {
        Err(RecordError("strict routes need a ledger of their own process".to_owned()))
    }

    fn folded(&self, _: u64) {}

    fn dropped(&self, _: u64) -> Result<(), RecordError> {
        // What is promised and never sent is declared by the server when this connection ends.
        Ok(())
    }
}
