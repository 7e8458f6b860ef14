//! [`Alerts`]: where the pipeline hands findings over.
//!
//! Threads: each receiver has a few, one keeps house, one watches (`worker.rs`, `watch.rs`); all end with
//! [`Alerts::shutdown`]. Locks: `kept` is taken before a receiver's own; neither is held while something is sent.

use crate::config::{AlertConfig, AlertError, Explain, LOG, Timing, check};
use crate::counters::{Counters, ReceiverStatus};
use crate::journal::Kept;
use crate::log::Log;
use crate::queue::{DeadLetter, Queue, io};
use crate::receiver::Receiver;
use crate::route::Plan;
use crate::seal::Seal;
use crate::send::Sender;
use crate::state::{Change, OnState, Untold};
use crate::{watch, worker};
use countersign_event::Event;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Delivers findings until it is shut down or dropped.
pub struct Alerts {
    pub(crate) inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads share.
pub(crate) struct Inner {
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) timing: Timing,
    pub(crate) seal: Arc<Seal>,
    pub(crate) kept: Mutex<Kept>,
    pub(crate) plan: Plan,
    /// Withheld findings that the ledger was not told of yet.
    pub(crate) untold: Untold,
    pub(crate) stopped: Mutex<bool>,
    pub(crate) stop: Condvar,
    pub(crate) log: Log,
    /// Places in `receivers`.
    pub(crate) fallback: Vec<usize>,
    pub(crate) watchdog: Vec<usize>,
    on_state: OnState,
    pub(crate) link: String,
    pub(crate) explain: Option<Explain>,
}

impl Alerts {
    /// Starts delivery; what waits on disk from before is sent first.
    ///
    /// # Errors
    /// A wrong setting, or a queue directory that cannot be used.
    pub fn start(config: AlertConfig, on_state: OnState) -> Result<Alerts, AlertError> {
        Alerts::start_with(config, Timing::default(), on_state)
    }

    /// As [`Alerts::start`], with other times.
    ///
    /// # Errors
    /// As [`Alerts::start`].
    pub fn start_with(config: AlertConfig, timing: Timing, on_state: OnState) -> Result<Alerts, AlertError> {
        let checked = check(&config)?;
        let plan = Plan::new(config.route.as_ref(), &checked.names, &timing)?;
        std::fs::create_dir_all(&config.dir).map_err(io("make", &config.dir))?;
        let seal = Arc::new(Seal::new(&config.key)?);
        let mut receivers = Vec::with_capacity(checked.receivers.len());
        for (name, target) in checked.receivers {
            let (queue, found) = Queue::open(&config.dir, &name, seal.clone())?;
            receivers.push(Receiver::new(name, Sender::new(target, &config, &timing)?, queue, found));
        }
        let kept = Kept::open(config.dir.clone(), seal.clone())?;
        let places = |wanted: &[String]| {
            let place = |(at, r): (usize, &Receiver)| wanted.contains(&r.name).then_some(at);
            receivers.iter().enumerate().filter_map(place).collect::<Vec<_>>()
        };
        let (fallback, watchdog) = (places(&checked.fallback), places(&checked.watchdog));
        let inner = Arc::new(Inner {
            receivers,
            timing,
            seal,
            kept: Mutex::new(kept),
            plan,
            untold: Untold::default(),
            stopped: Mutex::new(false),
            stop: Condvar::new(),
            log: Log::default(),
            fallback,
            watchdog,
            on_state,
            link: config.link,
            explain: config.explain,
        });
        inner.count_gathered();
        let alerts = Alerts { threads: Mutex::default(), inner };
        alerts.spawn()?;
        Ok(alerts)
    }

    fn spawn(&self) -> Result<(), AlertError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = |name: String, run: Box<dyn FnOnce(&Inner) + Send>| {
            let inner = self.inner.clone();
            let spawned = std::thread::Builder::new().name(name).spawn(move || run(&inner));
            let failed = io("start", std::path::Path::new("a thread of delivery"));
            threads.push(spawned.map_err(failed)?);
            Ok(())
        };
        for (at, receiver) in self.inner.receivers.iter().enumerate() {
            for worker in 0..receiver.sender.in_flight() {
                let run = move |inner: &Inner| {
                    if let Some(receiver) = inner.receivers.get(at) {
                        worker::deliver(inner, receiver);
                    }
                };
                start(format!("alert-{at}-{worker}"), Box::new(run))?;
            }
        }
        start("alert-watch".to_owned(), Box::new(watch::watch))?;
        start("alert-house".to_owned(), Box::new(worker::keep_house))
    }

    /// Hands over a finding's event, whose ledger index is `index`. When this returns its message is on disk, or that it
    /// waits for its group's next one. Anything else than a finding that somebody should be told of is ignored.
    pub fn fire(&self, finding: &Event, index: u64) {
        self.inner.take(finding, index);
    }

    /// One above the ledger index of the last finding that [`Alerts::fire`] took in, also in earlier runs. After a
    /// crash, findings in the ledger from here on may not have been handed over: hand them over (again).
    pub fn handled(&self) -> u64 {
        self.inner.kept().memory.handled
    }

    /// The sums over all receivers, the log included.
    pub fn counters(&self) -> Counters {
        self.status().into_iter().fold(Counters::default(), |sum, status| sum + status.counters)
    }

    /// How each receiver is doing; the log is first.
    pub fn status(&self) -> Vec<ReceiverStatus> {
        let counters = self.inner.log.counters();
        let log =
            ReceiverStatus { name: LOG.to_owned(), counters, disabled: false, last_error: String::new() };
        std::iter::once(log).chain(self.inner.receivers.iter().map(Receiver::status)).collect()
    }

    /// All dead letters, by receiver, oldest first.
    pub fn dead(&self) -> Vec<DeadLetter> {
        self.inner.receivers.iter().flat_map(Receiver::dead).collect()
    }

    /// Queues a dead letter again.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be written.
    pub fn resend(&self, receiver: &str, id: &str) -> Result<(), AlertError> {
        let unknown = || AlertError::Unknown { receiver: receiver.to_owned(), id: id.to_owned() };
        let found = self.inner.receivers.iter().find(|r| r.name == receiver).ok_or_else(unknown)?;
        found.resend(id, self.inner.now())
    }

    /// Stops; requests under way end first (at most the whole time of one), what is pending stays on disk.
    pub fn shutdown(&self) {
        self.inner.receivers.iter().for_each(Receiver::stop);
        *self.inner.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.inner.stop.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has said so; the others still end in order.
            let _ = thread.join();
        }
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Inner {
    /// Hands a change of state to the ledger's side.
    pub(crate) fn tell(&self, change: &Change<'_>) {
        self.tell_event(change.to_event(self.now()));
    }

    pub(crate) fn tell_event(&self, event: Event) {
        (self.on_state)(event);
    }

    pub(crate) fn now(&self) -> u64 {
        (self.timing.now_ns)()
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere must not silence alerts; each change is whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|r| r.name == name)
    }

    /// What waited in groups when the last run ended waits again.
    fn count_gathered(&self) {
        let kept = self.kept();
        for group in kept.memory.groups.values() {
            for receiver in group.receivers.iter().filter_map(|name| self.receiver(name)) {
                receiver.gathered(group.pending.count);
            }
        }
    }
}
