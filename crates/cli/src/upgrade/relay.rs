//! The recorder of one data thread, whose far end can change while traffic goes on: first this process's ledger,
//! then, in an upgrade, nobody for a moment, then the process that took over (or this one again, if that failed).
//!
//! Invariants: promises are kept by the process that answers clients, in its own count file, whoever has the
//! ledger; a record is handed over once; while nobody takes records, callers wait as they do for a full ledger.

use super::link::Link;
use countersign_event::Event;
use countersign_gateway::{Durable, RecordError, Recorder, SourceRecorder, Taking};
use countersign_ledger::{PassedSource, Source};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where records go.
#[derive(Clone)]
enum Sink {
    /// The ledger of this process.
    Ledger(Arc<SourceRecorder>),
    /// The same, opened again: another handle of the same run.
    Reopened(Arc<SourceRecorder>, Source),
    /// Nowhere yet.
    Held,
    /// Nowhere any more.
    Gone,
    /// The process that took over.
    Link(Arc<Link>, usize),
}

struct State {
    sink: Sink,
    /// Calls that use the sink now.
    calls: usize,
}

/// See the module's documentation.
pub(crate) struct Relay {
    /// Counts what is owed, from the start to the end of this process.
    owner: Source,
    /// The same run in the ledger that is open now, or was last.
    current: Mutex<Source>,
    state: Mutex<State>,
    changed: Condvar,
    /// Declared dropped while nobody could take it.
    late: AtomicU64,
}

/// What a call needs while it uses the sink.
struct Use<'a>(&'a Relay, Sink);

impl Drop for Use<'_> {
    fn drop(&mut self) {
        self.0.lock().calls -= 1;
        self.0.changed.notify_all();
    }
}

impl Relay {
    /// Records go to `source`. Without `promises` none is ever made: what must not be lost is durable before.
    pub(crate) fn new(source: Source, promises: bool) -> Result<Arc<Relay>, RecordError> {
        let recorder = if promises {
            SourceRecorder::new(source.clone())
        } else {
            SourceRecorder::unpromised(source.clone())?
        };
        Ok(Arc::new(Relay {
            owner: source.clone(),
            current: Mutex::new(source),
            state: Mutex::new(State { sink: Sink::Ledger(Arc::new(recorder)), calls: 0 }),
            changed: Condvar::new(),
            late: AtomicU64::new(0),
        }))
    }

    /// Its run.
    pub(crate) fn stream(&self) -> [u8; 16] {
        self.owner.stream()
    }

    /// From now on records wait; returns when none is on its way. The next shutdown of the ledger leaves the run
    /// open.
    pub(crate) fn hold(&self) {
        let mut state = self.lock();
        state.sink = Sink::Held;
        while state.calls > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.current().suspend();
    }

    /// What another process, or this one again, needs to go on; after [`Relay::hold`] and that shutdown.
    pub(crate) fn pass(&self) -> Option<PassedSource> {
        self.current().pass()
    }

    /// Nobody will take records any more: traffic ends.
    pub(crate) fn give_up(&self) {
        self.to(Sink::Gone);
    }

    fn current(&self) -> MutexGuard<'_, Source> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records go to `source`, which is the same run in a ledger opened again.
    pub(crate) fn to_ledger(&self, source: Source) {
        *self.current() = source.clone();
        self.to(Sink::Reopened(Arc::new(SourceRecorder::new(source.clone())), source));
    }

    /// Records go to the process at the other end of `link`, as its source number `at`.
    pub(crate) fn to_link(&self, link: Arc<Link>, at: usize) {
        self.to(Sink::Link(link, at));
    }

    /// At the end of a ledger that was opened again: the count file, which is still ours, goes with it.
    pub(crate) fn settle(&self) {
        if let Sink::Reopened(_, source) = &self.lock().sink
            && let Err(error) = source.passed_ended(true)
        {
            tracing::error!(%error, "a count file stays; the next start declares what it says");
        }
    }

    fn to(&self, sink: Sink) {
        self.lock().sink = sink;
        self.changed.notify_all();
        let late = self.late.swap(0, Ordering::AcqRel);
        if late > 0 && self.dropped(late).is_err() {
            tracing::error!(records = late, "a gap could not be declared; the next start finds it");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while nobody takes records.
    fn sink(&self) -> Use<'_> {
        let mut state = self.lock();
        while matches!(state.sink, Sink::Held) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.calls += 1;
        Use(self, state.sink.clone())
    }

    /// As `sink`, but at once: a data thread must not wait.
    fn sink_now(&self) -> Option<Use<'_>> {
        let mut state = self.lock();
        if matches!(state.sink, Sink::Held) {
            return None;
        }
        state.calls += 1;
        Some(Use(self, state.sink.clone()))
    }
}

fn nobody() -> RecordError {
    RecordError("no process of this server takes records any more".to_owned())
}

fn failed(e: impl std::fmt::Display) -> RecordError {
    RecordError(e.to_string())
}

impl Recorder for Relay {
    fn record(&self, events: Vec<Event>) -> Result<(), RecordError> {
        let using = self.sink();
        match &using.1 {
            Sink::Ledger(recorder) => recorder.record(events),
            Sink::Reopened(recorder, _) => {
                recorder.record_intents(events, refused_by(self.owner.clone())).map(drop)
            }
            Sink::Link(link, at) => link.record(*at, events, &self.owner).map_err(failed),
            Sink::Held | Sink::Gone => Err(nobody()),
        }
    }

    fn owe(&self, n: u64) -> Result<(), RecordError> {
        // The process that took over has ended: nobody would declare this promise.
        match &self.lock().sink {
            Sink::Link(link, _) if !link.is_up_now() => return Err(nobody()),
            Sink::Gone => return Err(nobody()),
            _ => {}
        }
        self.owner.owe(n).map_err(failed)
    }

    fn record_intents(&self, events: Vec<Event>, durable: Durable) -> Result<Vec<[u8; 16]>, RecordError> {
        let using = self.sink();
        match &using.1 {
            Sink::Ledger(recorder) | Sink::Reopened(recorder, _) => recorder.record_intents(events, durable),
            Sink::Link(link, at) => {
                let n = events.len() as u64;
                let first = link.record_intents(*at, events, durable).map_err(failed)?;
                let (agent, stream) = (self.owner.agent(), self.owner.stream());
                Ok((first..first + n).map(|seq| countersign_event::id::eid(agent, &stream, seq)).collect())
            }
            Sink::Held | Sink::Gone => Err(nobody()),
        }
    }

    fn taking(&self) -> Taking {
        match &self.lock().sink {
            Sink::Ledger(recorder) | Sink::Reopened(recorder, _) => recorder.taking(),
            Sink::Held => Taking::Waits("another process is taking over"),
            Sink::Link(link, _) if link.is_up() => Taking::Yes,
            Sink::Link(..) | Sink::Gone => Taking::Stopped,
        }
    }

    fn folded(&self, n: u64) {
        self.owner.folded(n);
    }

    fn dropped(&self, n: u64) -> Result<(), RecordError> {
        let Some(using) = self.sink_now() else {
            self.late.fetch_add(n, Ordering::AcqRel);
            return Ok(());
        };
        match &using.1 {
            Sink::Ledger(recorder) | Sink::Reopened(recorder, _) => recorder.dropped(n),
            Sink::Link(link, at) => link.dropped(*at, n).map_err(failed),
            Sink::Held | Sink::Gone => Err(nobody()),
        }
    }
}

/// Records that were refused are owed no more.
fn refused_by(owner: Source) -> Durable {
    Box::new(move |rejected| {
        let n = rejected.map_or(0, |r| r.len() as u64);
        if n > 0 {
            owner.folded(n);
        }
    })
}
