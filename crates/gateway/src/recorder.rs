//! Where finished events go. The ledger's source is the one recorder of the product; tests bring their own.

use countersign_event::{Event, id::eid};
use countersign_ledger::{DigestContext, DigestKey, GapReason, Source};
use ring::hmac;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The recorder cannot take events any more; the reading of traffic stops.
#[derive(Debug, thiserror::Error)]
#[error("the ledger does not take records: {0}")]
pub struct RecordError(pub String);

/// Takes the events of one stream, in order.
pub trait Recorder: Send + Sync + 'static {
    /// Hands over finished events. May block: the gateway then stops reading once its ring is full.
    ///
    /// # Errors
    /// Only when no event will be taken again; the events are then lost and stay owed.
    fn record(&self, events: Vec<Event>) -> Result<(), RecordError>;
    /// Promises `n` more events. Called before an answer can reach a client; must survive the process.
    ///
    /// # Errors
    /// When the promise could not be kept; the answer is then not sent.
    fn owe(&self, n: u64) -> Result<(), RecordError>;
    /// Hands over intents, which callers wait for; gives their event ids. `durable` is called when they can no longer
    /// be lost.
    ///
    /// # Errors
    /// As [`Recorder::record`]; `durable` is then not called.
    fn record_intents(&self, events: Vec<Event>, durable: Durable) -> Result<Vec<[u8; 16]>, RecordError>;
    /// `n` promised records were folded into others that count them: they are owed no more.
    fn folded(&self, n: u64);
    /// Declares `n` promised records dropped.
    ///
    /// # Errors
    /// When it could not be declared; the promise then stands, and the next start declares it.
    fn dropped(&self, n: u64) -> Result<(), RecordError>;
    /// Whether records are taken now.
    fn taking(&self) -> Taking {
        Taking::Yes
    }
}

/// What a recorder does with records now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// It takes them.
    Yes,
    /// They wait, and why.
    Waits(&'static str),
    /// It will take none until the process is started again.
    Stopped,
}

/// Told once which of the events handed over are durable: their positions that were rejected, or `None` when
/// none ever will be.
pub type Durable = Box<dyn FnOnce(Option<Vec<usize>>) + Send>;

/// A [`Recorder`] on a ledger's source.
pub struct SourceRecorder {
    source: Source,
    rejected: Arc<AtomicU64>,
    flight: Arc<Flight>,
}

/// Records that were handed over this long ago, with none acknowledged since, wait.
const SILENT: Duration = Duration::from_secs(1);

/// What was handed over and is not acknowledged.
struct Flight {
    began: Instant,
    handed: AtomicU64,
    settled: AtomicU64,
    /// Last time that something was acknowledged, or handed over when nothing was in flight; ns since `began`.
    moved: AtomicU64,
}

impl Flight {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn is_empty(&self) -> bool {
        self.handed.load(Ordering::Acquire) == self.settled.load(Ordering::Acquire)
    }

    fn take_off(&self) {
        if self.is_empty() {
            self.moved.store(self.now(), Ordering::Release);
        }
        self.handed.fetch_add(1, Ordering::AcqRel);
    }

    fn land(&self) {
        self.moved.store(self.now(), Ordering::Release);
        self.settled.fetch_add(1, Ordering::AcqRel);
    }

    fn is_silent(&self) -> bool {
        let silent = self.now().saturating_sub(self.moved.load(Ordering::Acquire));
        !self.is_empty() && u128::from(silent) > SILENT.as_nanos()
    }
}

impl SourceRecorder {
    /// Wraps `source`.
    pub fn new(source: Source) -> SourceRecorder {
        let (handed, settled, moved) = Default::default();
        let flight = Arc::new(Flight { began: Instant::now(), handed, settled, moved });
        SourceRecorder { source, rejected: Arc::default(), flight }
    }

    /// Wraps a source whose records are never promised: what must not be lost is durable before it happens. Callers
    /// wait for that, so it goes ahead of other sources.
    ///
    /// # Errors
    /// When the ledger cannot note that nothing is owed.
    pub fn unpromised(source: Source) -> Result<SourceRecorder, RecordError> {
        source.owe(0).map_err(|e| RecordError(e.to_string()))?;
        source.go_ahead();
        Ok(SourceRecorder::new(source))
    }

    /// Events that the ledger refused to encode. The decoder bounds every field, so this stays 0.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }
}

impl Recorder for SourceRecorder {
    fn record(&self, events: Vec<Event>) -> Result<(), RecordError> {
        let (rejected, flight) = (Arc::clone(&self.rejected), Arc::clone(&self.flight));
        self.flight.take_off();
        let done = Box::new(move |ack: Result<countersign_ledger::Ack, _>| {
            flight.land();
            if let Ok(ack) = ack {
                rejected.fetch_add(ack.rejected.len() as u64, Ordering::Relaxed);
            }
        });
        self.source.record(events, done).map_err(|e| RecordError(e.to_string()))
    }

    fn owe(&self, n: u64) -> Result<(), RecordError> {
        self.source.owe(n).map_err(|e| RecordError(e.to_string()))
    }

    fn record_intents(&self, events: Vec<Event>, durable: Durable) -> Result<Vec<[u8; 16]>, RecordError> {
        let n = events.len() as u64;
        let (counter, flight) = (Arc::clone(&self.rejected), Arc::clone(&self.flight));
        self.flight.take_off();
        let done = Box::new(move |ack: Result<countersign_ledger::Ack, _>| {
            flight.land();
            durable(ack.ok().map(|ack| {
                counter.fetch_add(ack.rejected.len() as u64, Ordering::Relaxed);
                ack.rejected.into_iter().map(|(position, _)| position).collect()
            }));
        });
        let first = self.source.record_urgent(events, done).map_err(|e| RecordError(e.to_string()))?;
        let (agent, stream) = (self.source.agent(), self.source.stream());
        Ok((first..first + n).map(|seq| eid(agent, &stream, seq)).collect())
    }

    fn folded(&self, n: u64) {
        self.source.folded(n);
    }

    fn dropped(&self, n: u64) -> Result<(), RecordError> {
        self.source.dropped(n, GapReason::Overload).map_err(|e| RecordError(e.to_string()))
    }

    fn taking(&self) -> Taking {
        if self.source.stopped() {
            return Taking::Stopped;
        }
        match self.source.held_back() {
            Some(why) => Taking::Waits(why),
            None if self.flight.is_silent() => Taking::Waits("the ledger does not acknowledge"),
            None => Taking::Yes,
        }
    }
}

/// The key of body digests.
#[derive(Clone)]
pub enum BodyKey {
    /// The tenant's, from the ledger.
    Ledger(DigestKey),
    /// Any HMAC-SHA-256 key.
    Raw(hmac::Key),
}

/// A body digest in progress.
pub(crate) enum BodyDigest {
    Ledger(DigestContext),
    Raw(hmac::Context),
}

impl BodyKey {
    pub(crate) fn start(&self) -> BodyDigest {
        match self {
            BodyKey::Ledger(key) => BodyDigest::Ledger(key.context()),
            BodyKey::Raw(key) => BodyDigest::Raw(hmac::Context::with_key(key)),
        }
    }
}

impl BodyDigest {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            BodyDigest::Ledger(context) => context.update(bytes),
            BodyDigest::Raw(context) => context.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        match self {
            BodyDigest::Ledger(context) => context.finish(),
            BodyDigest::Raw(context) => {
                let mut out = [0; 32];
                out.copy_from_slice(context.sign().as_ref());
                out
            }
        }
    }
}
