//! The bounded queues between sources and the sequencer. Full means wait; nothing is ever dropped here.
//!
//! There are two lanes, each with a bound of its own. What somebody waits for must not stand behind what nobody
//! waits for, so a source may go ahead ([`crate::Source::go_ahead`]): what it submits then comes out before what
//! others have queued, up to [`AHEAD_RUN`] submissions in a row. Invariant: what one source submits comes out in
//! the order in which it was submitted, whichever lanes it took.
//!
//! The ledger's own entries (manifests, losses, heartbeats) pass a full queue: they are few, and sealing
//! must go on so that the write-ahead log can shrink.

use crate::source::SourceState;
use crate::{Done, GapReason, LedgerError};
use countersign_event::{EntryKind, Event, Frame};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Own entries that may wait at once; beyond it callers get an error.
const OWN_MAX: usize = 65_536;
/// Pieces of work that come out of the lane ahead in a row while something waits in the other one.
const AHEAD_RUN: u32 = 8;

/// Events of one call, numbered and encoded.
pub(crate) struct Submission {
    pub(crate) source: Arc<SourceState>,
    pub(crate) events: Vec<(Arc<Event>, Arc<Frame>)>,
    pub(crate) rejected: Vec<(usize, String)>,
    /// Somebody waits for `done`: the batch is not held open for more.
    pub(crate) urgent: bool,
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
    /// The last heartbeat of a source that will say no more.
    End(Arc<SourceState>),
    /// Final heartbeats, CLOSE, and no more.
    Shutdown,
}

impl Work {
    /// The source whose numbers it uses.
    fn source(&self) -> Option<&Arc<SourceState>> {
        match self {
            Work::Events(submission) => Some(&submission.source),
            Work::Own(own) => own.dropped.as_ref().map(|(source, ..)| source),
            Work::ClosePart(_) | Work::End(_) | Work::Shutdown => None,
        }
    }
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
struct Lane {
    queue: VecDeque<(Work, usize)>,
    bytes: usize,
    limit: usize,
}

impl Lane {
    fn of(limit: usize) -> Lane {
        Lane { limit, ..Lane::default() }
    }

    fn push(&mut self, work: Work, bytes: usize) {
        self.bytes += bytes;
        self.queue.push_back((work, bytes));
    }

    fn pop(&mut self) -> Option<Work> {
        let (work, bytes) = self.queue.pop_front()?;
        self.bytes -= bytes;
        Some(work)
    }

    fn has_room(&self) -> bool {
        self.bytes < self.limit
    }
}

#[derive(Default)]
struct State {
    ahead: Lane,
    rest: Lane,
    /// Taken from `ahead` since the last time that `rest` was asked.
    run: u32,
    own: usize,
    paused: bool,
    woken: bool,
    closed: Option<LedgerError>,
}

impl State {
    fn lane(&self, source: &SourceState) -> &Lane {
        if source.ahead.load(Ordering::Relaxed) { &self.ahead } else { &self.rest }
    }

    fn push(&mut self, work: Work, bytes: usize) {
        // Its source may have gone ahead while something of it still waited in the other lane.
        let ahead = work.source().is_some_and(|source| {
            let first = source.ahead.load(Ordering::Relaxed) && source.behind.load(Ordering::Relaxed) == 0;
            if !first {
                source.behind.fetch_add(1, Ordering::Relaxed);
            }
            first
        });
        if ahead { self.ahead.push(work, bytes) } else { self.rest.push(work, bytes) }
    }

    /// The next work, and whether the lane that it waited in has room now.
    fn pop(&mut self) -> Option<(Work, bool)> {
        if (self.run < AHEAD_RUN || self.rest.queue.is_empty())
            && let Some(work) = self.ahead.pop()
        {
            self.run += 1;
            return Some((work, self.ahead.has_room()));
        }
        self.run = 0;
        let work = self.rest.pop()?;
        if let Some(source) = work.source() {
            source.behind.fetch_sub(1, Ordering::Relaxed);
        }
        Some((work, self.rest.has_room()))
    }
}

pub(crate) struct Intake {
    state: Mutex<State>,
    room: Condvar,
    news: Condvar,
}

impl Intake {
    /// Bounds of the lane ahead and of the other one, bytes.
    pub(crate) fn new(ahead: usize, rest: usize) -> Intake {
        let state = State { ahead: Lane::of(ahead), rest: Lane::of(rest), ..State::default() };
        Intake { state: Mutex::new(state), room: Condvar::new(), news: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room_in(state: &State, source: &SourceState) -> Result<bool, LedgerError> {
        match &state.closed {
            Some(error) => Err(error.clone()),
            None => Ok(state.lane(source).has_room() && !state.paused),
        }
    }

    /// Whether a submission of `source` would be taken now.
    pub(crate) fn has_room(&self, source: &SourceState) -> Result<bool, LedgerError> {
        Self::room_in(&self.lock(), source)
    }

    /// Blocks until there is room, which is the back-pressure that a source feels.
    pub(crate) fn wait_room(&self, source: &SourceState) -> Result<(), LedgerError> {
        let mut state = self.lock();
        while !Self::room_in(&state, source)? {
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
        state.push(work, bytes);
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    pub(crate) fn pop(&self, timeout: Duration) -> Popped {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some((work, room)) = state.pop() {
                if !matches!(work, Work::Events(_)) {
                    state.own = state.own.saturating_sub(1);
                }
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

    /// Whether something waits in the lane ahead.
    pub(crate) fn has_ahead(&self) -> bool {
        !self.lock().ahead.queue.is_empty()
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
        let state = self.lock();
        state.ahead.bytes + state.rest.bytes
    }
}
