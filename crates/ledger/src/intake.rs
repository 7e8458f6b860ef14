//! The bounded queue between sources and the sequencer. Full means wait; nothing is ever dropped here.
//!
//! The ledger's own entries (manifests, losses, heartbeats) pass a full queue: they are few, and sealing
//! must go on so that the write-ahead log can shrink.

use crate::source::SourceState;
use crate::{Done, GapReason, LedgerError};
use countersign_event::{EntryKind, Event, Frame};
use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Own entries that may wait at once; beyond it callers get an error.
const OWN_MAX: usize = 65_536;

/// Events of one call, numbered and encoded.
pub(crate) struct Submission {
    pub(crate) source: Arc<SourceState>,
    pub(crate) events: Vec<(Arc<Event>, Arc<Frame>)>,
    pub(crate) rejected: Vec<(usize, String)>,
    pub(crate) done: Done,
}

/// An entry of the ledger itself.
pub(crate) struct Own {
    pub(crate) kind: EntryKind,
    pub(crate) body: Arc<[u8]>,
    pub(crate) done: Option<Done>,
    /// For a declared loss: the source, its last consumed number, how many, why.
    pub(crate) dropped: Option<(Arc<SourceState>, u64, u64, GapReason)>,
}

impl Own {
    pub(crate) fn new(kind: EntryKind, body: Vec<u8>) -> Own {
        Own { kind, body: body.into(), done: None, dropped: None }
    }
}

/// What the sequencer is asked to do.
pub(crate) enum Work {
    Events(Submission),
    Own(Own),
    ClosePart(SyncSender<()>),
    /// Final heartbeats, CLOSE, and no more.
    Shutdown,
}

/// How to push.
pub(crate) enum Push {
    /// Room was waited for; a submission may overshoot the bound by its own size.
    Reserved,
    /// Own entries.
    Always,
}

/// What came out.
pub(crate) enum Popped {
    Work(Work),
    /// Nothing in time, or somebody asked for attention.
    Idle,
    /// Nothing will come any more.
    Closed,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Work, usize)>,
    bytes: usize,
    own: usize,
    paused: bool,
    woken: bool,
    closed: Option<LedgerError>,
}

pub(crate) struct Intake {
    state: Mutex<State>,
    room: Condvar,
    news: Condvar,
    limit: usize,
}

impl Intake {
    pub(crate) fn new(limit: usize) -> Intake {
        Intake { state: Mutex::default(), room: Condvar::new(), news: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room_in(&self, state: &State) -> Result<bool, LedgerError> {
        match &state.closed {
            Some(error) => Err(error.clone()),
            None => Ok(state.bytes < self.limit && !state.paused),
        }
    }

    /// Whether a submission would be taken now.
    pub(crate) fn has_room(&self) -> Result<bool, LedgerError> {
        self.room_in(&self.lock())
    }

    /// Blocks until there is room, which is the back-pressure that a source feels.
    pub(crate) fn wait_room(&self) -> Result<(), LedgerError> {
        let mut state = self.lock();
        while !self.room_in(&state)? {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    pub(crate) fn push(&self, work: Work, bytes: usize, how: Push) -> Result<(), LedgerError> {
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        if matches!(how, Push::Always) {
            if state.own >= OWN_MAX {
                return Err(LedgerError::Limit { what: "own entries waiting", max: OWN_MAX as u64 });
            }
            state.own += 1;
        }
        state.bytes += bytes;
        state.queue.push_back((work, bytes));
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    pub(crate) fn pop(&self, timeout: Duration) -> Popped {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some((work, bytes)) = state.queue.pop_front() {
                state.bytes -= bytes;
                if !matches!(work, Work::Events(_)) {
                    state.own = state.own.saturating_sub(1);
                }
                let room = state.bytes < self.limit;
                drop(state);
                if room {
                    self.room.notify_all();
                }
                return Popped::Work(work);
            }
            if state.closed.is_some() {
                return Popped::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if std::mem::take(&mut state.woken) || left.is_zero() {
                return Popped::Idle;
            }
            state = self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Makes the sequencer look around although nothing was pushed.
    pub(crate) fn wake(&self) {
        self.lock().woken = true;
        self.news.notify_one();
    }

    /// Holds back sources (not own entries) while the disk or the write-ahead log is full.
    pub(crate) fn pause(&self, paused: bool) {
        self.lock().paused = paused;
        if !paused {
            self.room.notify_all();
        }
    }

    /// Refuses everything from now on; what is queued still comes out.
    pub(crate) fn close(&self, why: LedgerError) {
        self.lock().closed.get_or_insert(why);
        self.room.notify_all();
        self.news.notify_all();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }
}
