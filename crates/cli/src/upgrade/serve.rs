//! The new process's end of the channel: records what the old process's connections still bring, on the sources
//! that it passed on.
//!
//! Invariant: each passed source ends with [`Source::passed_ended`], so what the old process owed when it went
//! silent is a GAP with its number.

use super::channel::{self, Message};
use countersign_event::{Event, Frame};
use countersign_ledger::{Done, GapReason, Source};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most batches of the old process that are not durable yet; the next waits.
const PENDING_MAX: u64 = 1_024;
/// Most answers that wait for the socket: two for each such batch. The old process reads them always; one that
/// does not is cut off.
const ANSWERS_MAX: usize = 4_096;
/// How often the end of the old process is looked for.
const STEP: Duration = Duration::from_millis(10);

/// The old process, as long as it drains.
pub(crate) struct Predecessor {
    stream: UnixStream,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Predecessor {
    /// Says that this process accepts connections, and records what the old one sends for `sources`. `None` is a
    /// source that did not fit the log.
    pub(crate) fn serve(stream: UnixStream, sources: Vec<Option<Source>>) -> io::Result<Predecessor> {
        stream.set_read_timeout(None)?;
        channel::send(&stream, Message::Serving)?;
        let (from, ended) = (stream.try_clone()?, Arc::new(AtomicBool::new(false)));
        let over = Arc::clone(&ended);
        let work = move || {
            let whole = relay(&from, &sources).unwrap_or(false);
            end(&sources, whole);
            if whole {
                // It may have gone already; nobody waits for the answer then.
                let _ = channel::send(&from, Message::Whole);
            }
            over.store(true, Ordering::Release);
        };
        let thread = std::thread::Builder::new().name("predecessor".into()).spawn(work)?;
        Ok(Predecessor { stream, ended, thread: Some(thread) })
    }

    /// Whether it still has connections.
    pub(crate) fn is_draining(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    /// Waits for its end, at most `longest`, then stops listening to it.
    pub(crate) fn finish(mut self, longest: Duration) {
        let start = Instant::now();
        while self.is_draining() && start.elapsed() < longest {
            std::thread::sleep(STEP);
        }
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Batches that are not durable yet.
#[derive(Default)]
struct Pending(Mutex<u64>, Condvar);

impl Pending {
    /// Waits while there are [`PENDING_MAX`].
    fn add(&self) {
        let mut n = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *n >= PENDING_MAX {
            n = self.1.wait(n).unwrap_or_else(PoisonError::into_inner);
        }
        *n += 1;
    }

    fn done(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.1.notify_all();
    }

    fn wait(&self) {
        let mut n = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *n > 0 {
            n = self.1.wait(n).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Works until the old process says that it was all (`true`) or goes silent.
fn relay(from: &UnixStream, sources: &[Option<Source>]) -> io::Result<bool> {
    let (answers, to_send) = mpsc::sync_channel::<Message>(ANSWERS_MAX);
    let (out, cut) = (from.try_clone()?, Arc::new(from.try_clone()?));
    // The committer calls back and must not wait for a socket.
    let writer = std::thread::Builder::new().name("predecessor-acks".into()).spawn(move || {
        while let Ok(message) = to_send.recv() {
            if channel::send(&out, message).is_err() {
                return;
            }
        }
    })?;
    let pending = Arc::new(Pending::default());
    let mut whole = false;
    while let Ok(message) = channel::receive(from) {
        match message {
            Message::Events { source, id, numbered, frames } => {
                let Some(source) = sources.get(source).and_then(Option::as_ref) else {
                    if answers.try_send(Message::Acked { id, rejected: None }).is_err() {
                        break;
                    }
                    continue;
                };
                let Some(events) = frames.iter().map(|frame| event(frame)).collect::<Option<Vec<_>>>() else {
                    break;
                };
                pending.add();
                let done = acked(id, answers.clone(), Arc::clone(&cut), Arc::clone(&pending));
                // Of intents, whose callers wait, the sender asks the number.
                let first = match numbered {
                    true => source.record_urgent(events, done),
                    false => source.record_numbered(events, done),
                };
                match first {
                    Ok(first) if numbered && answers.try_send(Message::Taken { id, first }).is_err() => break,
                    Ok(_) => {}
                    // The ledger has stopped: the old process must stop its traffic.
                    Err(_) => {
                        pending.done();
                        break;
                    }
                }
            }
            Message::Dropped { source, n } => {
                let Some(source) = sources.get(source).and_then(Option::as_ref) else { continue };
                if source.dropped(n, GapReason::Overload).is_err() {
                    break;
                }
            }
            Message::Finished => {
                whole = true;
                break;
            }
            _ => break,
        }
    }
    if !whole {
        let _ = from.shutdown(std::net::Shutdown::Both);
    }
    pending.wait();
    drop(answers);
    let _ = writer.join();
    Ok(whole)
}

fn event(frame: &[u8]) -> Option<Event> {
    let mut event = Event::decode(&Frame::from_bytes(frame).ok()?).ok()?;
    // Given by the source, as for every event.
    event.core.eid = [0; 16];
    Some(event)
}

fn acked(id: u64, answers: SyncSender<Message>, from: Arc<UnixStream>, pending: Arc<Pending>) -> Done {
    Box::new(move |ack| {
        let rejected = ack.ok().map(|ack| ack.rejected.into_iter().map(|(at, _)| at).collect());
        if answers.try_send(Message::Acked { id, rejected }).is_err() {
            let _ = from.shutdown(std::net::Shutdown::Both);
        }
        pending.done();
    })
}

fn end(sources: &[Option<Source>], whole: bool) {
    for source in sources.iter().flatten() {
        match source.passed_ended(whole) {
            Ok(0) => {}
            Ok(lost) => {
                tracing::error!(
                    source = source.source_ref(),
                    records = lost,
                    "the process before ended early: a gap is declared"
                );
            }
            Err(error) => {
                tracing::error!(source = source.source_ref(), %error, "a passed source could not be ended")
            }
        }
    }
}
