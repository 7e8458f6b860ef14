//! [`Alerts`]: where the pipeline hands findings over.
//!
//! Threads: each receiver has a few, one keeps house (`worker.rs`); all end with [`Alerts::shutdown`].

use crate::config::{AlertConfig, AlertError, Explain, LOG, Timing, check};
use crate::counters::{Counters, ReceiverStatus};
use crate::merge::{Merge, Verdict};
use crate::message::{Alert, Stored, hex};
use crate::queue::{DeadLetter, Name, Queue, io, read_bounded};
use crate::receiver::{Pushed, Receiver};
use crate::seal::Seal;
use crate::send::Sender;
use crate::state::{Change, OnState};
use crate::worker::{self, IN_FLIGHT, MATTERS_FILE};
use countersign_event::Event;
use countersign_event::fields::sys;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Largest file of matters.
const MATTERS_MAX_BYTES: u64 = 1 << 20;

/// Delivers findings until it is shut down or dropped.
pub struct Alerts {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads share.
pub(crate) struct Inner {
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) timing: Timing,
    pub(crate) seal: Arc<Seal>,
    pub(crate) dir: PathBuf,
    pub(crate) merge: Mutex<Merge>,
    pub(crate) matters_changed: AtomicBool,
    /// Repeats since the last `alert.merged`.
    pub(crate) merged_untold: AtomicU64,
    pub(crate) stopped: Mutex<bool>,
    pub(crate) stop: Condvar,
    /// Sums of the log: what was told, and what was merged.
    log_delivered: AtomicU64,
    log_merged: AtomicU64,
    on_state: OnState,
    link: String,
    explain: Option<Explain>,
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
        let checked = check(&config.webhooks)?;
        std::fs::create_dir_all(&config.dir).map_err(io("make", &config.dir))?;
        let seal = Arc::new(Seal::new(&config.key)?);
        let mut receivers = Vec::with_capacity(checked.len());
        for checked in checked {
            let name = checked.name.clone();
            let (queue, found) = Queue::open(&config.dir, &name, seal.clone())?;
            receivers.push(Receiver::new(name, Sender::new(checked, &config, &timing)?, queue, found));
        }
        let matters = read_bounded(&config.dir.join(MATTERS_FILE), MATTERS_MAX_BYTES);
        let matters = matters.and_then(|b| seal.open(MATTERS_FILE, &b)).and_then(|b| Merge::from_bytes(&b));
        let inner = Arc::new(Inner {
            receivers,
            timing,
            seal,
            dir: config.dir,
            merge: Mutex::new(matters.unwrap_or_default()),
            matters_changed: AtomicBool::new(false),
            merged_untold: AtomicU64::new(0),
            stopped: Mutex::new(false),
            stop: Condvar::new(),
            log_delivered: AtomicU64::new(0),
            log_merged: AtomicU64::new(0),
            on_state,
            link: config.link,
            explain: config.explain,
        });
        let alerts = Alerts { threads: Mutex::default(), inner };
        alerts.spawn()?;
        Ok(alerts)
    }

    fn spawn(&self) -> Result<(), AlertError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = |name: String, run: Box<dyn FnOnce(&Inner) + Send>| {
            let inner = self.inner.clone();
            let spawned = std::thread::Builder::new().name(name).spawn(move || run(&inner));
            threads.push(spawned.map_err(io("start a thread for", &self.inner.dir))?);
            Ok(())
        };
        for at in 0..self.inner.receivers.len() {
            for worker in 0..IN_FLIGHT {
                let run = move |inner: &Inner| {
                    if let Some(receiver) = inner.receivers.get(at) {
                        worker::deliver(inner, receiver);
                    }
                };
                start(format!("alert-{at}-{worker}"), Box::new(run))?;
            }
        }
        start("alert-house".to_owned(), Box::new(worker::keep_house))
    }

    /// Hands over a finding's event, whose ledger index is `index`; for each receiver it is on disk when this
    /// returns. Anything else than a finding that somebody should be told of is ignored.
    pub fn fire(&self, finding: &Event, index: u64) {
        let Some(alert) = Alert::of(finding, index) else { return };
        let inner = &self.inner;
        let now = (inner.timing.now_ns)();
        let repeat_ns = u64::try_from(inner.timing.repeat.as_nanos()).unwrap_or(u64::MAX);
        let fingerprint = alert.fingerprint(&inner.seal);
        let verdict =
            inner.merge.lock().unwrap_or_else(PoisonError::into_inner).judge(fingerprint, now, repeat_ns);
        match verdict {
            Verdict::Merge => inner.merged(),
            Verdict::Tell { repeats } => inner.queue_for_all(&alert, repeats, now),
        }
        // After the queue: a crash in between may ring twice, never not at all.
        inner.matters_changed.store(true, Ordering::Relaxed);
    }

    /// The sums over all receivers, the log included.
    pub fn counters(&self) -> Counters {
        self.status().into_iter().fold(Counters::default(), |sum, status| sum + status.counters)
    }

    /// How each receiver is doing; the log is first.
    pub fn status(&self) -> Vec<ReceiverStatus> {
        let (delivered, merged) =
            (self.inner.log_delivered.load(Ordering::Relaxed), self.inner.log_merged.load(Ordering::Relaxed));
        let counters = Counters { fired: delivered + merged, delivered, merged, ..Counters::default() };
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
        found.resend(id, (self.inner.timing.now_ns)())
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
        (self.on_state)(change.to_event((self.timing.now_ns)()));
    }

    fn merged(&self) {
        self.log_merged.fetch_add(1, Ordering::Relaxed);
        self.merged_untold.fetch_add(1, Ordering::Relaxed);
        self.receivers.iter().for_each(Receiver::merged);
    }

    fn queue_for_all(&self, alert: &Alert<'_>, repeats: u64, now_ns: u64) {
        self.log(alert, repeats);
        if self.receivers.is_empty() {
            return;
        }
        let body = alert.body(&self.link, self.explain, repeats, now_ns);
        let stored = Stored { finding: alert.event.core.eid, index: alert.index, body, ..Stored::default() };
        for receiver in &self.receivers {
            let name = Name { created_ns: now_ns, id: alert.id(&self.seal, &receiver.name) };
            if receiver.push(name, &stored) == Pushed::Volatile {
                tracing::warn!(target: "countersign::alert", receiver = receiver.name, "alert held in memory: the disk refused it");
                let finding = Some(alert.event.core.eid);
                let error = "the disk refused it; it waits in memory and would not survive a crash";
                self.tell(&Change { finding, error, ..Change::new("alert.unsaved", &receiver.name) });
            }
        }
    }

    /// The log gets no names: log files are read by more people than the ledger.
    fn log(&self, alert: &Alert<'_>, repeats: u64) {
        let id = alert.event.core.sys.get(&sys::finding::ID).and_then(|v| v.as_bytes()).map(hex);
        tracing::info!(
            target: "countersign::alert",
            rule = ?alert.rule,
            severity = alert.severity.word(),
            finding = id.unwrap_or_default(),
            repeats,
            "finding; `countersign show {}` explains it",
            alert.index
        );
        self.log_delivered.fetch_add(1, Ordering::Relaxed);
        self.tell(&Change { finding: Some(alert.event.core.eid), ..Change::new("alert.delivered", LOG) });
    }
}
