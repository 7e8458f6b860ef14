//! One receiver: its queue in memory and on disk, and its sums.
//!
//! State and locks: `state` is held for short, and for a file's write or removal so that memory and disk agree;
//! never while a request is under way. Invariant: the sums hold whenever the lock is free.

use crate::config::{AlertError, Timing};
use crate::counters::{Counters, ReceiverStatus};
use crate::message::Stored;
use crate::queue::{DeadLetter, Found, Name, Queue};
use crate::retry::{self, Attempt};
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
}

/// A message that waits or is under way.
pub(crate) struct Item {
    pub(crate) name: Name,
    pub(crate) attempts: u32,
    size: u64,
    /// Held in memory alone, because the disk would not take it.
    volatile: Option<Box<Stored>>,
}

#[derive(Default)]
struct State {
    /// By when it is due, then by order of arrival.
    due: BTreeMap<(u64, u64), Item>,
    arrivals: u64,
    ids: HashSet<String>,
    bytes: u64,
    dead: VecDeque<Name>,
    counters: Counters,
    disabled: bool,
    last_error: String,
    overflow: Overflow,
    stop: bool,
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
        let mut state = State::default();
        for (name, size) in found.pending {
            state.counters.fired += 1;
            state.counters.pending += 1;
            state.enqueue(Item { name, attempts: 0, size, volatile: None }, 0);
        }
        state.dead = found.dead.into();
        state.counters.dead = state.dead.len() as u64;
        state.counters.fired += state.counters.dead;
        let (state, wake) = (Mutex::new(state), Condvar::new());
        Receiver { name, sender, queue, state, wake, pending_max: PENDING_MAX }
    }

    #[cfg(test)]
    pub(crate) fn with_pending_max(mut self, max: usize) -> Receiver {
        self.pending_max = max;
        self
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

    /// Takes in a new message; it is on disk when this returns, unless it says otherwise.
    pub(crate) fn push(&self, name: Name, stored: &Stored) -> Pushed {
        let mut state = self.lock();
        state.counters.fired += 1;
        // A replayed finding gives the same message; one that is a dead letter stays one until it is resent.
        if state.ids.contains(&name.id) || state.dead.iter().any(|dead| dead.id == name.id) {
            state.counters.merged += 1;
            return Pushed::Merged;
        }
        if state.full(self.pending_max) {
            state.counters.summarised += 1;
            state.overflow.add(stored.index);
            return Pushed::Summarised;
        }
        let (size, volatile, pushed) = match self.queue.put(&name, stored) {
            Ok(size) => (size, None, Pushed::Queued),
            Err(_) => (stored.body.len() as u64, Some(Box::new(stored.clone())), Pushed::Volatile),
        };
        state.counters.pending += 1;
        state.enqueue(Item { name, attempts: 0, size, volatile }, 0);
        self.wake.notify_one();
        pushed
    }

    /// One more repeat that nobody is told of.
    pub(crate) fn merged(&self) {
        let mut state = self.lock();
        state.counters.fired += 1;
        state.counters.merged += 1;
    }

    /// The next message that is due; waits for it. `None` when the receiver stops.
    pub(crate) fn next(&self, now_ns: &dyn Fn() -> u64) -> Option<Item> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            let now = now_ns();
            let wait = match state.due.first_key_value().map(|((due, _), _)| *due) {
                Some(due) if due <= now || state.disabled => {
                    return state.due.pop_first().map(|(_, item)| item);
                }
                Some(due) => Duration::from_nanos(due - now).min(SLEEP_MAX),
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
                state.counters.delivered += 1;
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
                    state.enqueue(item, now.saturating_add(wait).min(ends));
                    self.wake.notify_one();
                    return Fate::Waits { status, why, first };
                }
                (status, format!("{why}; given up after {} attempts", item.attempts))
            }
            Attempt::Refused { status, why } => (Some(status), why.to_owned()),
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
        state.counters.dead += 1;
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
        let name = Name { created_ns: now_ns, id: id.to_owned() };
        if state.full(self.pending_max) {
            return Err(AlertError::Full { receiver: self.name.clone() });
        }
        let size = self.queue.put(&name, &Stored { why: String::new(), attempts: 0, ..stored })?;
        self.queue.remove_dead(&old);
        state.dead.remove(at);
        state.counters.dead -= 1;
        state.counters.pending += 1;
        state.enqueue(Item { name, attempts: 0, size, volatile: None }, 0);
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
        self.counters.pending >= pending_max as u64 || self.bytes >= PENDING_MAX_BYTES
    }

    fn enqueue(&mut self, item: Item, due_ns: u64) {
        if self.ids.insert(item.name.id.clone()) {
            self.bytes += item.size;
        }
        self.arrivals += 1;
        self.due.insert((due_ns, self.arrivals), item);
    }

    /// A message is no longer pending.
    fn forget(&mut self, item: &Item) {
        if self.ids.remove(&item.name.id) {
            self.bytes = self.bytes.saturating_sub(item.size);
        }
        self.counters.pending = self.counters.pending.saturating_sub(1);
    }
}

impl Overflow {
    fn add(&mut self, index: u64) {
        if self.count == 0 {
            self.first = index;
        }
        self.count += 1;
        self.last = index;
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AlertConfig, Webhook, check};
    use crate::seal::Seal;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn receiver(dir: &std::path::Path, pending_max: usize) -> Receiver {
        let secrets = vec!["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3".to_owned()];
        let webhook = Webhook { name: "r".into(), url: "http://127.0.0.1:1/".into(), secrets };
        let checked = check(&[webhook]).unwrap().remove(0);
        let sender = Sender::new(checked, &AlertConfig::default(), &Timing::default()).unwrap();
        let (queue, found) = Queue::open(dir, "r", Arc::new(Seal::new(&[0; 32]).unwrap())).unwrap();
        Receiver::new("r".into(), sender, queue, found).with_pending_max(pending_max)
    }

    fn name(n: u64) -> Name {
        Name { created_ns: 1, id: format!("msg_{n:032x}") }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u64),
        Merge,
        Settle(u8),
        Resend,
        Sum,
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..12u64).prop_map(Step::Push),
            1 => Just(Step::Merge),
            4 => (0..6u8).prop_map(Step::Settle),
            1 => Just(Step::Resend),
            1 => Just(Step::Sum),
            1 => Just(Step::Restart),
        ]
    }

    fn attempt(kind: u8) -> Attempt {
        match kind {
            0 | 1 => Attempt::Delivered { status: 204 },
            2 | 3 => Attempt::Failed { status: Some(503), after: None, why: "busy".into() },
            4 => Attempt::Refused { status: 400, why: "no" },
            _ => Attempt::Gone,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_sums_hold_after_every_step(steps in proptest::collection::vec(step(), 1..60)) {
            let dir = tempfile::tempdir().unwrap();
            let mut receiver = receiver(dir.path(), 5);
            let timing = Timing { jitter: Arc::new(|_| 0), now_ns: Arc::new(|| 10), ..Timing::default() };
            let mut told_of_overflow = 0;
            let mut summarised_before_restart = 0;
            for step in steps {
                match step {
                    Step::Push(n) => {
                        receiver.push(name(n), &Stored { index: n, body: vec![0; 10], ..Stored::default() });
                    }
                    Step::Merge => receiver.merged(),
                    Step::Settle(kind) => {
                        if receiver.status().counters.pending > 0 {
                            let item = receiver.next(&|| 100).unwrap();
                            let stored = receiver.read(&item);
                            prop_assert!(stored.is_some());
                            receiver.settle(item, stored, attempt(kind), &timing);
                        }
                    }
                    Step::Resend => {
                        if let Some(dead) = receiver.dead().first() {
                            prop_assert!(!receiver.lock().ids.contains(&dead.id), "one message is in one place");
                            let full = receiver.status().counters.pending >= 5;
                            prop_assert_eq!(receiver.resend(&dead.id, 20).is_err(), full);
                        }
                    }
                    Step::Sum => told_of_overflow += receiver.take_overflow(false).map_or(0, |o| o.count),
                    Step::Restart => {
                        told_of_overflow += receiver.take_overflow(true).map_or(0, |o| o.count);
                        let before = receiver.status().counters;
                        summarised_before_restart += before.summarised;
                        receiver = super::tests::receiver(dir.path(), 5);
                        let after = receiver.status().counters;
                        prop_assert_eq!((after.pending, after.dead), (before.pending, before.dead));
                    }
                }
                let counters = receiver.status().counters;
                prop_assert!(counters.conserved(), "{:?}", counters);
                prop_assert!(counters.pending <= 5);
            }
            told_of_overflow += receiver.take_overflow(true).map_or(0, |o| o.count);
            let summarised = summarised_before_restart + receiver.status().counters.summarised;
            prop_assert_eq!(told_of_overflow, summarised, "each summarised alert is told of once");
        }
    }
}
