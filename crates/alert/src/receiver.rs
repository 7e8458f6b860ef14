//! One receiver: its queue in memory and on disk, and its sums.
//!
//! State and locks: `state` is held for short, and for a file's write or removal so that memory and disk agree;
//! never while a request is under way. Invariant: the sums hold whenever the lock is free.

use crate::config::{AlertError, Timing};
use crate::counters::{Counters, ReceiverStatus};
use crate::message::Stored;
use crate::queue::{DeadLetter, Found, Name, Queue};
use crate::retry::{self, Attempt};
use crate::route::nanos;
use crate::send::Sender;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Messages of one receiver that wait; with the next two bounds as the documentation has them.
pub(crate) const PENDING_MAX: usize = 100_000;
/// Bytes of them on disk.
pub(crate) const PENDING_MAX_BYTES: u64 = 1 << 30;
/// Dead letters kept for one receiver; then the oldest goes, and the finding stays in the ledger.
pub(crate) const DEAD_MAX: usize = 10_000;
/// Longest sleep of a worker, so that a clock that jumps is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// One receiver.
pub(crate) struct Receiver {
    pub(crate) name: String,
    pub(crate) sender: Sender,
    queue: Queue,
    state: Mutex<State>,
    wake: Condvar,
    pending_max: usize,
    /// Least time between two attempts.
    pace_ns: u64,
}

/// A message that waits or is under way.
pub(crate) struct Item {
    pub(crate) name: Name,
    pub(crate) attempts: u32,
    size: u64,
    due_ns: u64,
    /// Place in the order of arrival, from 1; 0 before it has one.
    place: u64,
    /// Held in memory alone, because the disk would not take it.
    volatile: Option<Box<Stored>>,
}

#[derive(Default)]
struct State {
    /// By when it is due, then by order of arrival; where order matters, by order alone.
    due: BTreeMap<(u64, u64), Item>,
    /// One after the other, so that no trigger that was late arrives after its resolve.
    ordered: bool,
    arrivals: u64,
    ids: HashSet<String>,
    bytes: u64,
    dead: VecDeque<Name>,
    counters: Counters,
    disabled: bool,
    /// A finding about it is open.
    refuses: bool,
    last_error: String,
    overflow: Overflow,
    /// Messages that the fallback receiver has as well.
    fell_back: HashSet<String>,
    /// No attempt before this, where the receiver takes few.
    not_before_ns: u64,
    stop: bool,
}

/// Why nobody is told of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withheld {
    Merged,
    Inhibited,
    Silenced,
}

impl Withheld {
    pub(crate) fn counter(self, counters: &mut Counters) -> &mut u64 {
        match self {
            Withheld::Merged => &mut counters.merged,
            Withheld::Inhibited => &mut counters.inhibited,
            Withheld::Silenced => &mut counters.silenced,
        }
    }
}

/// What came when the queue was full.
#[derive(Clone, Copy, Default)]
pub(crate) struct Overflow {
    pub(crate) count: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// What became of a message after an attempt.
pub(crate) enum Fate {
    Delivered {
        status: u16,
    },
    /// Will be tried again; `first` for its first failure.
    Waits {
        status: Option<u16>,
        why: String,
        first: bool,
    },
    Dead {
        status: Option<u16>,
        why: String,
    },
}

/// What became of a new message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    /// The disk refused it: it waits in memory and would not survive a crash.
    Volatile,
    /// The same message waits already, or is a dead letter.
    Merged,
    /// The queue is full: it is part of the sum.
    Summarised,
}

impl Receiver {
    pub(crate) fn new(name: String, sender: Sender, queue: Queue, found: Found) -> Receiver {
        let mut state = State { ordered: sender.in_flight() == 1, ..State::default() };
        for (name, size) in found.pending {
            state.counters.fired += name.count;
            state.counters.pending += name.count;
            state.enqueue(Item { name, attempts: 0, size, volatile: None, due_ns: 0, place: 0 });
        }
        state.counters.dead = found.dead.iter().map(|name| name.count).sum();
        state.dead = found.dead.into();
        state.counters.fired += state.counters.dead;
        let (state, wake) = (Mutex::new(state), Condvar::new());
        let pace_ns = sender.pace().map_or(0, nanos);
        Receiver { name, sender, queue, state, wake, pending_max: PENDING_MAX, pace_ns }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not silence alerts; the state is consistent between statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> ReceiverStatus {
        let state = self.lock();
        ReceiverStatus {
            name: self.name.clone(),
            counters: state.counters,
            disabled: state.disabled,
            last_error: state.last_error.clone(),
        }
    }

    /// Takes in a message; it is on disk when this returns, unless it says otherwise. Its findings were counted
    /// when they were [`gathered`](Receiver::gathered).
    pub(crate) fn push(&self, name: Name, stored: &Stored) -> Pushed {
        let mut state = self.lock();
        let count = name.count;
        // A replayed finding gives the same message; one that is a dead letter stays one until it is resent.
        if state.ids.contains(&name.id) || state.dead.iter().any(|dead| dead.id == name.id) {
            state.counters.pending = state.counters.pending.saturating_sub(count);
            state.counters.merged += count;
            return Pushed::Merged;
        }
        if state.full(self.pending_max) {
            state.counters.pending = state.counters.pending.saturating_sub(count);
            state.counters.summarised += count;
            state.overflow.add(stored.index, count);
            return Pushed::Summarised;
        }
        let (size, volatile, pushed) = match self.queue.put(&name, stored) {
            Ok(size) => (size, None, Pushed::Queued),
            Err(_) => (stored.body.len() as u64, Some(Box::new(stored.clone())), Pushed::Volatile),
        };
        state.enqueue(Item { name, attempts: 0, size, volatile, due_ns: 0, place: 0 });
        self.wake.notify_one();
        pushed
    }

    /// Findings wait for their message.
    pub(crate) fn gathered(&self, count: u64) {
        let mut state = self.lock();
        state.counters.fired += count;
        state.counters.pending += count;
    }

    /// One more finding that nobody is told of: a repeat, a consequence, or one that is silenced.
    pub(crate) fn withheld(&self, why: Withheld) {
        let mut state = self.lock();
        state.counters.fired += 1;
        *why.counter(&mut state.counters) += 1;
    }

    /// Messages whose delivery fails since `since_ns` or longer, each once.
    pub(crate) fn overdue(&self, since_ns: u64) -> Vec<Name> {
        let mut state = self.lock();
        let failing = state.due.values().filter(|item| item.attempts > 0 && item.name.created_ns <= since_ns);
        let names: Vec<Name> = failing.map(|item| item.name.clone()).collect();
        names.into_iter().filter(|name| state.fell_back.insert(name.id.clone())).collect()
    }

    /// Whether the fallback receiver has this message already; it is noted that it has.
    pub(crate) fn falls_back(&self, id: &str) -> bool {
        self.lock().fell_back.insert(id.to_owned())
    }

    /// A waiting message.
    pub(crate) fn waiting(&self, name: &Name) -> Option<Stored> {
        let state = self.lock();
        let held = state
            .due
            .values()
            .find(|item| item.name == *name)
            .and_then(|item| item.volatile.as_deref().cloned());
        held.or_else(|| self.queue.get(name))
    }

    /// The next message that is due; waits for it. `None` when the receiver stops.
    pub(crate) fn next(&self, now_ns: &dyn Fn() -> u64) -> Option<Item> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            let now = now_ns();
            let wait = match state.due.first_key_value().map(|(_, item)| item.due_ns) {
                Some(_) if state.disabled => return state.due.pop_first().map(|(_, item)| item),
                Some(due) if due.max(state.not_before_ns) <= now => {
                    state.not_before_ns = now.saturating_add(self.pace_ns);
                    return state.due.pop_first().map(|(_, item)| item);
                }
                Some(due) => Duration::from_nanos(due.max(state.not_before_ns) - now).min(SLEEP_MAX),
                None => SLEEP_MAX,
            };
            state = self.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The message itself; `None` when its file is damaged or gone.
    pub(crate) fn read(&self, item: &Item) -> Option<Stored> {
        item.volatile.as_deref().cloned().or_else(|| self.queue.get(&item.name))
    }

    /// Whether the receiver asked for nothing more.
    pub(crate) fn disabled(&self) -> bool {
        self.lock().disabled
    }

    /// Notes that it refuses messages for good, or takes them again; `true` if that is news.
    pub(crate) fn begins_to_refuse(&self, refuses: bool) -> bool {
        std::mem::replace(&mut self.lock().refuses, refuses) != refuses
    }

    /// Files the outcome of an attempt at `item`.
    pub(crate) fn settle(
        &self,
        mut item: Item,
        stored: Option<Stored>,
        attempt: Attempt,
        timing: &Timing,
    ) -> Fate {
        let now = (timing.now_ns)();
        item.attempts = item.attempts.saturating_add(1);
        let mut state = self.lock();
        let (status, why) = match attempt {
            Attempt::Delivered { status } => {
                self.queue.remove(&item.name);
                state.forget(&item);
                state.counters.delivered += item.name.count;
                state.last_error.clear();
                return Fate::Delivered { status };
            }
            Attempt::Failed { status, after, why } => {
                let ends = item.name.created_ns.saturating_add(nanos(timing.give_up));
                if now < ends {
                    let wait = nanos(retry::wait(timing, item.attempts, after));
                    let first = item.attempts == 1;
                    state.last_error.clone_from(&why);
                    // The last attempt is at the end, not before it.
                    item.due_ns = now.saturating_add(wait).min(ends);
                    state.enqueue(item);
                    self.wake.notify_one();
                    return Fate::Waits { status, why, first };
                }
                (status, format!("{why}; given up after {} attempts", item.attempts))
            }
            Attempt::Refused { status, why } => (Some(status), why),
            Attempt::Gone => {
                state.disabled = true;
                self.wake.notify_all();
                (Some(410), "the receiver wants no messages any more".to_owned())
            }
        };
        self.bury(&mut state, &item, stored, &why);
        Fate::Dead { status, why }
    }

    fn bury(&self, state: &mut State, item: &Item, stored: Option<Stored>, why: &str) {
        let stored = Stored { why: why.to_owned(), attempts: item.attempts, ..stored.unwrap_or_default() };
        // A dead letter that the disk refuses stays pending there and is tried again after a restart.
        let _ = self.queue.bury(&item.name, &stored);
        state.forget(item);
        state.counters.dead += item.name.count;
        state.last_error = why.to_owned();
        state.dead.push_back(item.name.clone());
        if state.dead.len() > DEAD_MAX
            && let Some(oldest) = state.dead.pop_front()
        {
            self.queue.remove_dead(&oldest);
        }
    }

    /// The dead letters, oldest first.
    pub(crate) fn dead(&self) -> Vec<DeadLetter> {
        let names: Vec<Name> = self.lock().dead.iter().cloned().collect();
        let letter = |name: Name| {
            let stored = self.queue.dead_letter(&name).unwrap_or_default();
            DeadLetter {
                receiver: self.name.clone(),
                id: name.id,
                created_ns: name.created_ns,
                index: stored.index,
                count: name.count,
                attempts: stored.attempts,
                why: stored.why,
            }
        };
        names.into_iter().map(letter).collect()
    }

    /// Queues a dead letter again, with a fresh span of attempts.
    pub(crate) fn resend(&self, id: &str, now_ns: u64) -> Result<(), AlertError> {
        let mut state = self.lock();
        let unknown = || AlertError::Unknown { receiver: self.name.clone(), id: id.to_owned() };
        let at = state.dead.iter().position(|n| n.id == id).ok_or_else(unknown)?;
        let old = state.dead.get(at).cloned().ok_or_else(unknown)?;
        let stored = self.queue.dead_letter(&old).ok_or_else(unknown)?;
        let name = Name { created_ns: now_ns, id: id.to_owned(), count: old.count };
        if state.full(self.pending_max) {
            return Err(AlertError::Full { receiver: self.name.clone() });
        }
        let size = self.queue.put(&name, &Stored { why: String::new(), attempts: 0, ..stored })?;
        self.queue.remove_dead(&old);
        state.dead.remove(at);
        state.counters.dead = state.counters.dead.saturating_sub(name.count);
        state.counters.pending += name.count;
        state.fell_back.remove(id);
        state.enqueue(Item { name, attempts: 0, size, volatile: None, due_ns: 0, place: 0 });
        self.wake.notify_one();
        Ok(())
    }

    /// What came while the queue was full, once there is room for its sum, or `anyway`.
    pub(crate) fn take_overflow(&self, anyway: bool) -> Option<Overflow> {
        let mut state = self.lock();
        ((!state.full(self.pending_max) || anyway) && state.overflow.count > 0)
            .then(|| std::mem::take(&mut state.overflow))
    }

    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_all();
    }
}

impl State {
    fn full(&self, pending_max: usize) -> bool {
        self.ids.len() >= pending_max || self.bytes >= PENDING_MAX_BYTES
    }

    fn enqueue(&mut self, mut item: Item) {
        if self.ids.insert(item.name.id.clone()) {
            self.bytes += item.size;
        }
        if item.place == 0 {
            self.arrivals += 1;
            item.place = self.arrivals;
        }
        let due_ns = if self.ordered { 0 } else { item.due_ns };
        self.due.insert((due_ns, item.place), item);
    }

    /// A message is no longer pending.
    fn forget(&mut self, item: &Item) {
        if self.ids.remove(&item.name.id) {
            self.bytes = self.bytes.saturating_sub(item.size);
        }
        self.fell_back.remove(&item.name.id);
        self.counters.pending = self.counters.pending.saturating_sub(item.name.count);
    }
}

impl Overflow {
    fn add(&mut self, index: u64, count: u64) {
        if self.count == 0 {
            self.first = index;
        }
        self.count += count;
        self.last = index;
    }
}

#[cfg(test)]
mod tests;
