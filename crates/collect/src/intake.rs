//! One input's way into the ledger: a batch goes in, and the reply waits until it is durable.
//!
//! Invariants: [`Intake::record`] answers success only for records that are behind the ledger's fdatasync, now or by
//! an earlier delivery; a refusal may leave a record behind (it was on its way), never the other way round; bytes in
//! flight are bounded, and full means "later" in the protocol's own words.

pub(crate) mod folds;
mod repeats;

pub use repeats::{Key, Keys, REPEATS_AGE, REPEATS_MAX};

use crate::Counts;
use countersign_event::{Event, import_eid};
use countersign_ledger::{Ack, Done, GapReason, LedgerError, Source, TryRecordError};
use folds::Folds;
use repeats::{Known, Repeats};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// Most events handed to the ledger at once.
pub const BATCH_MAX: usize = 4_096;
/// How often a full ledger is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// How long a sender that is told nothing is waited for: longer than any disk stays full.
const PATIENCE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Label of a record whose source id was used before for other content.
pub const ID_REUSED: &str = "source_id_reused";

/// Bounds of one input.
#[derive(Clone, Copy, Debug)]
pub struct IntakeLimits {
    /// Bytes of source records that are being parsed or written, most.
    pub in_flight: u64,
    /// Longest wait for durability.
    pub durable: Duration,
}

impl Default for IntakeLimits {
    fn default() -> IntakeLimits {
        IntakeLimits { in_flight: 32 << 20, durable: Duration::from_secs(10) }
    }
}

/// Why a batch was not taken. Each is worth another try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More is in flight than may be, or the ledger is held back.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// It was not durable in time; it may still become so.
    #[error("not durable in time")]
    Late,
    /// The ledger takes nothing any more.
    #[error("the ledger has stopped")]
    Stopped,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Events that this delivery made durable.
    pub recorded: u64,
    /// Events that an earlier delivery had made durable.
    pub repeated: u64,
    /// Position of those that cannot be recorded, and why.
    pub rejected: Vec<(usize, String)>,
    /// Leaf index of each event by position; `None` = it was rejected, or an earlier delivery recorded it.
    pub leaves: Vec<Option<u64>>,
}

/// An event, and by what a repeat of it is known; `None` = it may come again.
#[derive(Clone, Debug)]
pub struct Item {
    /// The event.
    pub event: Event,
    /// See [`Key`].
    pub key: Option<Key>,
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    source: Source,
    limits: IntakeLimits,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    repeats: Mutex<Repeats>,
    folds: Mutex<Folds>,
    in_flight: AtomicU64,
    counts: Mutex<Counts>,
}

impl Shared {
    fn repeats(&self) -> std::sync::MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for bytes in flight, given back when dropped.
#[derive(Debug)]
pub struct Room {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// New keys of a batch, by position in it: durable in the end, or forgotten so that a repeat counts as new. Dropped
/// without an end, they are forgotten.
#[derive(Debug)]
struct Settle {
    shared: Arc<Shared>,
    keys: Vec<(usize, Key)>,
    over: watch::Sender<Option<bool>>,
}

impl Settle {
    fn end(mut self, ack: Option<&Ack>) {
        let keys = std::mem::take(&mut self.keys);
        let durable =
            |at: usize| ack.is_some_and(|ack| ack.rejected.iter().all(|(refused, _)| *refused != at));
        self.shared.repeats().settle(keys.into_iter().map(|(at, key)| (key, durable(at))));
        self.over.send_replace(Some(ack.is_some()));
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            self.shared.repeats().settle(self.keys.drain(..).map(|(_, key)| (key, false)));
        }
    }
}

/// A batch on its way. It lives in the ledger's callback, so it ends whether or not the caller still waits.
#[derive(Debug)]
struct Pending {
    settle: Settle,
    answer: oneshot::Sender<Result<Ack, LedgerError>>,
    _room: Arc<Room>,
}

impl Intake {
    /// Into `source`, which has this input's name as agent.
    pub fn new(source: Source, limits: IntakeLimits) -> Intake {
        Intake { source, limits, shared: Arc::default() }
    }

    /// What an earlier process of this input made durable: called once for each of the newest [`REPEATS_MAX`]
    /// events, oldest first, before the first batch.
    pub fn remember(&self, key: Key) {
        self.shared.repeats().remember(key);
    }

    /// What happened to the records of this input so far.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent of its events.
    pub fn agent(&self) -> &str {
        self.source.agent()
    }

    /// Events of our own that strangers cause.
    pub(crate) fn folds(&self) -> std::sync::MutexGuard<'_, Folds> {
        self.shared.folds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `n` records that came before, and were found to before they became events.
    pub fn repeated(&self, n: u64) {
        self.count(|counts| {
            counts.received += n;
            counts.recorded += n;
        });
    }

    /// `n` records that were refused for good, and whose sender was told.
    pub fn rejected(&self, n: u64, reason: &'static str) {
        self.source.rejected(n, reason);
        self.count(|counts| {
            counts.received += n;
            counts.rejected += n;
        });
    }

    /// Room for `bytes` more in flight.
    ///
    /// # Errors
    /// There is none, or the ledger is held back: the sender should come again.
    pub fn room(&self, bytes: u64) -> Result<Room, Refusal> {
        if self.source.stopped() {
            return Err(Refusal::Stopped);
        }
        if let Some(why) = self.source.held_back() {
            return Err(Refusal::Busy(why));
        }
        let before = self.shared.in_flight.fetch_add(bytes, Ordering::AcqRel);
        let room = Room { shared: Arc::clone(&self.shared), bytes };
        // One batch always fits, whatever its size: its own bound is the receiver's.
        if before > 0 && before + bytes > self.limits.in_flight {
            return Err(Refusal::Busy("too many bytes in flight"));
        }
        Ok(room)
    }

    /// As [`Intake::room`], and waits until there is some: for senders that cannot be told to come again.
    ///
    /// # Errors
    /// The ledger takes nothing any more.
    pub async fn wait_room(&self, bytes: u64) -> Result<Room, Refusal> {
        loop {
            match self.room(bytes) {
                Err(Refusal::Busy(_)) => tokio::time::sleep(ASK_AGAIN).await,
                other => return other,
            }
        }
    }

    /// `n` records that were lost before they could be read; the loss is declared in the ledger.
    ///
    /// # Errors
    /// The ledger takes nothing any more.
    pub fn dropped(&self, n: u64) -> Result<(), Refusal> {
        self.lost(n, GapReason::Overload)
    }

    /// As [`Intake::dropped`], for another reason.
    ///
    /// # Errors
    /// The ledger takes nothing any more.
    pub fn lost(&self, n: u64, reason: GapReason) -> Result<(), Refusal> {
        self.source.dropped(n, reason).map_err(|_| Refusal::Stopped)?;
        self.count(|counts| {
            counts.received += n;
            counts.dropped += n;
        });
        Ok(())
    }

    /// As [`Intake::record`], however long it takes: for senders that are told nothing.
    ///
    /// # Errors
    /// The ledger has stopped.
    pub async fn record_patiently(&self, items: Vec<Item>, room: Room) -> Result<Receipt, Refusal> {
        self.record_by(items, room, Instant::now() + PATIENCE).await
    }

    /// Makes `items` durable, in order, and answers then. `room` is held until the ledger has them, also when the
    /// caller goes away.
    ///
    /// # Errors
    /// None of them may be called recorded; some may be.
    pub async fn record(&self, items: Vec<Item>, room: Room) -> Result<Receipt, Refusal> {
        self.record_by(items, room, Instant::now() + self.limits.durable).await
    }

    async fn record_by(&self, items: Vec<Item>, room: Room, deadline: Instant) -> Result<Receipt, Refusal> {
        let mut receipt = Receipt::default();
        let room = Arc::new(room);
        let mut position = 0;
        let mut items = items.into_iter();
        loop {
            let part: Vec<Item> = items.by_ref().take(BATCH_MAX).collect();
            if part.is_empty() {
                return Ok(receipt);
            }
            let count = part.len();
            let one = self.part(part, Arc::clone(&room), deadline).await?;
            receipt.recorded += one.recorded;
            receipt.repeated += one.repeated;
            receipt.rejected.extend(one.rejected.into_iter().map(|(at, why)| (at + position, why)));
            receipt.leaves.extend(one.leaves);
            position += count;
        }
    }

    async fn part(&self, items: Vec<Item>, room: Arc<Room>, deadline: Instant) -> Result<Receipt, Refusal> {
        let (over, watch) = watch::channel(None);
        let (mut events, mut places, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        let (mut repeated, mut others, count) = (0, Vec::new(), items.len());
        for (place, Item { event, key }) in items.into_iter().enumerate() {
            let known = key.map_or(Known::New, |key| self.shared.repeats().ask(key, &watch));
            if let Known::OnItsWay(other) = known {
                others.push(other);
                repeated += 1;
                continue;
            }
            if let Known::Durable = known {
                repeated += 1;
                continue;
            }
            if let (Known::New, Some(key)) = (&known, key) {
                keys.push((events.len(), key));
            }
            events.push(self.named(event, matches!(known, Known::OtherContent)));
            places.push(place);
        }
        let settle = Settle { shared: Arc::clone(&self.shared), keys, over };
        let mut receipt = self.submit(events, settle, room, deadline).await?;
        for (at, _) in &mut receipt.rejected {
            *at = places.get(*at).copied().unwrap_or(*at);
        }
        let recorded = std::mem::replace(&mut receipt.leaves, vec![None; count]);
        for (place, leaf) in places.iter().zip(recorded) {
            if let Some(slot) = receipt.leaves.get_mut(*place) {
                *slot = leaf;
            }
        }
        for other in others {
            settled(other, deadline).await?;
        }
        receipt.repeated = repeated;
        self.count(|counts| {
            counts.received += repeated;
            counts.recorded += repeated;
        });
        Ok(receipt)
    }

    /// The event with the id that its source's own id gives; where that id came before with other content, with a
    /// number's, and labelled.
    fn named(&self, mut event: Event, reused: bool) -> Event {
        let id = event.body.cap.as_ref().map(|capture| capture.source_id.as_str()).unwrap_or_default();
        if reused {
            event.core.labels.push(ID_REUSED.to_owned());
        } else if !id.is_empty() {
            event.core.eid = import_eid(self.source.agent(), id.as_bytes());
        }
        event
    }

    /// Hands the events to the ledger and waits for its answer.
    async fn submit(
        &self,
        mut events: Vec<Event>,
        settle: Settle,
        room: Arc<Room>,
        deadline: Instant,
    ) -> Result<Receipt, Refusal> {
        if events.is_empty() {
            return Ok(Receipt::default());
        }
        let submitted = events.len();
        let mut seen = Counts::default();
        events.iter().for_each(|event| seen.record(event));
        let (answer, waiting) = oneshot::channel();
        let pending = Arc::new(Mutex::new(Some(Pending { settle, answer, _room: room })));
        loop {
            let pending = Arc::clone(&pending);
            let done: Done = Box::new(move |result| {
                let pending = pending.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(Pending { settle, answer, _room }) = pending {
                    settle.end(result.as_ref().ok());
                    // The caller may have gone.
                    let _ = answer.send(result);
                }
            });
            match self.source.try_record(events, done) {
                Ok(()) => break,
                Err(TryRecordError::Ledger(_)) => return Err(Refusal::Stopped),
                Err(TryRecordError::Full(back)) if Instant::now() < deadline => events = back,
                Err(TryRecordError::Full(_)) => return Err(Refusal::Busy("the ledger's intake is full")),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        // Only the ledger's callback may end it now.
        drop(pending);
        let answer = tokio::time::timeout_at(deadline, waiting).await.map_err(|_| Refusal::Late)?;
        let ack = answer.map_err(|_| Refusal::Stopped)?.map_err(|_| Refusal::Stopped)?;
        let refused = ack.rejected.len() as u64;
        self.count(|counts| {
            counts.received += seen.received;
            counts.recorded += seen.recorded.saturating_sub(refused);
            counts.rejected += refused;
            counts.raw += seen.raw;
            counts.partial += seen.partial;
        });
        let leaves = leaves(&ack, submitted);
        Ok(Receipt { recorded: ack.count, repeated: 0, rejected: ack.rejected, leaves })
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Leaf indices of a submission of so many events: contiguous, those that were rejected left out.
fn leaves(ack: &Ack, submitted: usize) -> Vec<Option<u64>> {
    let (mut next, mut rejected) = (ack.first, ack.rejected.iter().map(|(at, _)| *at).peekable());
    let mut of = |at: usize| {
        if rejected.next_if_eq(&at).is_some() {
            return None;
        }
        next += 1;
        Some(next - 1)
    };
    (0..submitted).map(&mut of).collect()
}

/// Waits until a batch that holds the same record is durable.
async fn settled(mut other: watch::Receiver<Option<bool>>, deadline: Instant) -> Result<(), Refusal> {
    let end = tokio::time::timeout_at(deadline, other.wait_for(Option::is_some)).await;
    match end.map_err(|_| Refusal::Late)? {
        Ok(end) if *end == Some(true) => Ok(()),
        // The other one failed: this one comes again and is new then.
        _ => Err(Refusal::Busy("an earlier delivery of the same record failed")),
    }
}
