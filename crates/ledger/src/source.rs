//! A source: one capture point in one run. It numbers and encodes events in the caller's thread, counts
//! every one of them, and remembers what it owes across a crash.
//!
//! Invariant: `seen = sent + rejected + dropped` whenever nothing is in flight; a sequence number is used
//! once, for an event or for a declared loss.

use crate::bodies::{Gap, SourceCkpt, SourceReg};
use crate::core::Core;
use crate::disk::options;
use crate::intake::{Own, Push, Submission, Work};
use crate::limits::REASONS_MAX;
use crate::wal::header::part;
use crate::{Ack, Done, GapReason, LedgerError, SourceInfo};
use countersign_event::{EntryKind, Event, Frame, eid};
use ed25519_dalek::{Signer as _, SigningKey};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// One registered (agent, stream). Sequence numbers are given here, contiguous from 1. Cheap to clone.
#[derive(Clone)]
pub struct Source {
    pub(crate) core: Arc<Core>,
    pub(crate) state: Arc<SourceState>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("source_ref", &self.source_ref()).finish_non_exhaustive()
    }
}

/// Why [`Source::try_record`] took nothing.
#[derive(Debug)]
pub enum TryRecordError {
    /// The intake is full, or another thread is recording on this source; the events are handed back.
    Full(Vec<Event>),
    /// The ledger cannot take events any more.
    Ledger(LedgerError),
}

/// Everything about a live source. Locks: `seq` is held while a submission is numbered and queued, so that
/// the queue is in sequence order; `window` belongs to the sequencer and is touched by counters.
pub(crate) struct SourceState {
    pub(crate) reg: SourceReg,
    pub(crate) key: SigningKey,
    pub(crate) seq: Mutex<SeqState>,
    owed: Mutex<OwedFile>,
    pub(crate) window: Mutex<Window>,
    pub(crate) seen: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) last_seq: AtomicU64,
    /// Another process goes on with it: a shutdown does not end it.
    pub(crate) suspended: AtomicBool,
    /// It goes ahead of others in the intake.
    pub(crate) ahead: AtomicBool,
    /// Of its work, how much waits in the intake's other lane. The intake's own, under its lock.
    pub(crate) behind: AtomicUsize,
}

pub(crate) struct SeqState {
    pub(crate) next: u64,
}

/// Counts since the last heartbeat, in queue order.
#[derive(Default)]
pub(crate) struct Window {
    pub(crate) ckpt: SourceCkpt,
    /// Ledger time (monotonic, ns) of the last heartbeat.
    pub(crate) beat_ns: u64,
    pub(crate) closed: bool,
}

impl SourceState {
    pub(crate) fn new(reg: SourceReg, seed: &[u8; 32], now_mono: u64, dir: &Path) -> SourceState {
        let (first_seq, last_seq) = (reg.after.saturating_add(1), reg.after);
        let ckpt =
            SourceCkpt { source_ref: reg.source_ref, first_seq, last_seq, alg: 1, ..SourceCkpt::default() };
        let path = dir.join(hex(&reg.stream));
        SourceState {
            key: SigningKey::from_bytes(seed),
            seq: Mutex::new(SeqState { next: first_seq }),
            owed: Mutex::new(OwedFile { path, file: None, count: 0 }),
            window: Mutex::new(Window { ckpt, beat_ns: now_mono, closed: false }),
            seen: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            last_seq: AtomicU64::new(last_seq),
            suspended: AtomicBool::new(false),
            ahead: AtomicBool::new(false),
            behind: AtomicUsize::new(0),
            reg,
        }
    }

    /// Public half of a run's key.
    pub(crate) fn public_key(seed: &[u8; 32]) -> [u8; 32] {
        SigningKey::from_bytes(seed).verifying_key().to_bytes()
    }

    pub(crate) fn info(&self, logged: &SourceInfo) -> SourceInfo {
        SourceInfo {
            seen: self.seen.load(Ordering::Acquire),
            sent: self.sent.load(Ordering::Acquire),
            rejected: self.rejected.load(Ordering::Acquire),
            dropped: self.dropped.load(Ordering::Acquire),
            last_seq: self.last_seq.load(Ordering::Acquire),
            live: true,
            ..logged.clone()
        }
    }

    /// Closes the window into a signed heartbeat body; `None` if its counts do not add up.
    pub(crate) fn heartbeat(&self, now_mono: u64, last: bool) -> Option<Vec<u8>> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.closed {
            return None;
        }
        let last = last && !self.suspended.load(Ordering::Acquire);
        let mut ckpt = window.ckpt.clone();
        ckpt.last = last;
        if !ckpt.adds_up() {
            return None;
        }
        ckpt.signature = self.key.sign(&ckpt.signed_bytes()).to_bytes().to_vec();
        window.ckpt = SourceCkpt {
            source_ref: ckpt.source_ref,
            first_seq: ckpt.last_seq + 1,
            last_seq: ckpt.last_seq,
            alg: 1,
            chain: ckpt.chain,
            ..SourceCkpt::default()
        };
        window.beat_ns = now_mono;
        window.closed = last;
        Some(ckpt.to_bytes())
    }

    /// Removes the count file: nothing is owed any more. That of a suspended source stays with its owner.
    pub(crate) fn settle(&self) -> Result<(), LedgerError> {
        if self.suspended.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if owed.file.take().is_none() {
            return Ok(());
        }
        std::fs::remove_file(&owed.path).map_err(|error| LedgerError::io("remove", &owed.path, error))
    }

    fn count_rejected(&self, reason: &str, n: u64) {
        self.seen.fetch_add(n, Ordering::AcqRel);
        self.rejected.fetch_add(n, Ordering::AcqRel);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.ckpt.seen += n;
        let full = window.ckpt.rejected.len() >= REASONS_MAX && !window.ckpt.rejected.contains_key(reason);
        let reason = if full { "other" } else { reason };
        *window.ckpt.rejected.entry(reason.to_owned()).or_default() += n;
    }
}

/// Name under which events that break the schema are counted.
const NOT_CANONICAL: &str = "not canonical";

impl Source {
    pub(crate) fn new(core: Arc<Core>, state: Arc<SourceState>) -> Source {
        Source { core, state }
    }

    /// Stamps `ver`, `agent`, `stream`, `seq` and `eid` (kept if non-zero), encodes, queues. Blocks while
    /// the intake is full. `done` is called once, after the events are durable; not at all on an error here.
    pub fn record(&self, events: Vec<Event>, done: Done) -> Result<(), LedgerError> {
        self.record_numbered(events, done).map(|_| ())
    }

    /// As [`Source::record`]; gives the number of the first event. The others follow without a hole, those that
    /// `done` will name as rejected left out.
    pub fn record_numbered(&self, events: Vec<Event>, done: Done) -> Result<u64, LedgerError> {
        self.take(events, done, false)
    }

    /// As [`Source::record_numbered`], for somebody who waits for `done`: the batch is written as soon as none
    /// before it is, and not held open until it is large or old. Calls that come while one is written share the
    /// next.
    pub fn record_urgent(&self, events: Vec<Event>, done: Done) -> Result<u64, LedgerError> {
        self.take(events, done, true)
    }

    /// From now on what this source submits goes ahead of what waits of other sources, in a queue with a bound of
    /// its own ([`crate::Limits::ahead_bytes`]). For a source that somebody waits for and that submits little: a
    /// long queue of others must not stand before it. The order of its own events stays.
    pub fn go_ahead(&self) {
        self.state.ahead.store(true, Ordering::Relaxed);
    }

    fn take(&self, events: Vec<Event>, done: Done, urgent: bool) -> Result<u64, LedgerError> {
        self.core.check_writable()?;
        // Waiting happens without the lock, so that a loss can be declared while the intake is full.
        loop {
            self.core.intake.wait_room(&self.state)?;
            let mut seq = self.state.seq.lock().unwrap_or_else(PoisonError::into_inner);
            if self.core.intake.has_room(&self.state)? {
                let first = seq.next;
                self.submit(&mut seq, events, done, urgent)?;
                return Ok(first);
            }
        }
    }

    /// As [`Source::record`], but hands the events back instead of blocking.
    pub fn try_record(&self, events: Vec<Event>, done: Done) -> Result<(), TryRecordError> {
        self.core.check_writable().map_err(TryRecordError::Ledger)?;
        let Ok(mut seq) = self.state.seq.try_lock() else { return Err(TryRecordError::Full(events)) };
        if !self.core.intake.has_room(&self.state).map_err(TryRecordError::Ledger)? {
            return Err(TryRecordError::Full(events));
        }
        self.submit(&mut seq, events, done, false).map_err(TryRecordError::Ledger)
    }

    /// As [`Source::record`], and waits until the events are durable.
    pub fn record_wait(&self, events: Vec<Event>) -> Result<Ack, LedgerError> {
        let (send, receive) = mpsc::sync_channel(1);
        self.record(events, Box::new(move |result| drop(send.send(result))))?;
        receive.recv().map_err(|_| self.core.stopped_error())?
    }

    /// Numbers and encodes in this thread, then queues. Rejected events use no number.
    fn submit(
        &self,
        seq: &mut SeqState,
        events: Vec<Event>,
        done: Done,
        urgent: bool,
    ) -> Result<(), LedgerError> {
        let seen = events.len() as u64;
        let mut encoded = Vec::with_capacity(events.len());
        let mut rejected = Vec::new();
        let mut bytes = 0;
        let mut next = seq.next;
        for (position, mut event) in events.into_iter().enumerate() {
            match self.stamp(&mut event, next) {
                Ok(frame) => {
                    bytes += frame.groups.total() + EVENT_COST;
                    encoded.push((Arc::new(event), Arc::new(frame)));
                    next += 1;
                }
                Err(why) => rejected.push((position, why)),
            }
        }
        let refused = rejected.len() as u64;
        let source = Arc::clone(&self.state);
        let submission = Submission { source, events: encoded, rejected, urgent, done };
        self.core.intake.push(Work::Events(submission), bytes, Push::Reserved)?;
        seq.next = next;
        self.state.seen.fetch_add(seen - refused, Ordering::AcqRel);
        if refused > 0 {
            self.state.count_rejected(NOT_CANONICAL, refused);
            self.owe_less(refused)?;
        }
        Ok(())
    }

    fn stamp(&self, event: &mut Event, seq: u64) -> Result<Frame, String> {
        let reg = &self.state.reg;
        event.core.agent.clone_from(&reg.identity);
        event.core.stream = reg.stream;
        event.core.seq = seq;
        if event.core.eid == [0; 16] {
            event.core.eid = eid(&reg.identity, &reg.stream, seq);
        }
        let frame = event.encode().map_err(|error| error.to_string())?;
        Ok(frame)
    }

    /// Promises `n` more records, before an answer can reach the client. Survives the process: at the next
    /// start, what was owed and not recorded becomes a GAP with exact range and number.
    pub fn owe(&self, n: u64) -> Result<(), LedgerError> {
        self.core.check_writable()?;
        let mut owed = self.state.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let count = owed.count.saturating_add(n);
        owed.write(&self.state.reg, count)
    }

    fn owe_less(&self, n: u64) -> Result<(), LedgerError> {
        let mut owed = self.state.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if owed.file.is_none() {
            return Ok(());
        }
        let count = owed.count.saturating_sub(n);
        owed.write(&self.state.reg, count)
    }

    /// Declares `n` events lost: consumes `n` sequence numbers and logs a GAP entry. Does not block.
    pub fn dropped(&self, n: u64, reason: GapReason) -> Result<(), LedgerError> {
        self.core.check_writable()?;
        if n == 0 {
            return Ok(());
        }
        let mut seq = self.state.seq.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seq.next;
        let last =
            first.checked_add(n - 1).ok_or(LedgerError::Limit { what: "sequence number", max: u64::MAX })?;
        let gap = Gap {
            source_ref: self.state.reg.source_ref,
            first_seq: Some(first),
            last_seq: Some(last),
            reason,
            count: n,
            exact: true,
            declared_by: self.state.reg.source_ref,
        };
        let mut own = Own::new(EntryKind::Gap, gap.to_bytes());
        own.dropped = Some((self.state.clone(), last, n, reason));
        self.core.intake.push(Work::Own(own), 0, Push::Always)?;
        seq.next = last + 1;
        self.state.seen.fetch_add(n, Ordering::AcqRel);
        self.state.dropped.fetch_add(n, Ordering::AcqRel);
        Ok(())
    }

    /// Counts `n` events that were refused before they reached [`Source::record`]; each was seen, and each
    /// that was owed is owed no more.
    pub fn rejected(&self, n: u64, reason: &'static str) {
        self.state.count_rejected(reason, n);
        if let Err(error) = self.owe_less(n) {
            tracing::warn!(%error, "count file not updated; a later GAP may name refused events too");
        }
    }

    /// `n` promised events were counted in the `n` of others before they reached [`Source::record`]: they are
    /// owed no more, and were never numbered.
    pub fn folded(&self, n: u64) {
        if let Err(error) = self.owe_less(n) {
            tracing::warn!(%error, "count file not updated; a later GAP may name folded events too");
        }
    }

    /// Why events have to wait now although the queue may have room, in fixed words.
    pub fn held_back(&self) -> Option<&'static str> {
        let counters = &self.core.counters;
        if counters.disk_full.load(Ordering::Relaxed) {
            return Some("the disk is full");
        }
        counters.wal_full.load(Ordering::Relaxed).then_some("the write-ahead log has reached its bound")
    }

    /// Whether the ledger takes nothing more until it is started again. What is owed is still written down.
    pub fn stopped(&self) -> bool {
        self.core.is_stopped()
    }

    /// Agent of its events.
    pub fn agent(&self) -> &str {
        &self.state.reg.identity
    }
    /// Its run.
    pub fn stream(&self) -> [u8; 16] {
        self.state.reg.stream
    }
    /// Its registration number.
    pub fn source_ref(&self) -> u32 {
        self.state.reg.source_ref
    }
}

/// Memory that an event takes beside its bytes while it waits or is held for readers, roughly: the decoded
/// event, its texts, and the overhead of its seven groups.
pub(crate) const EVENT_COST: usize = size_of::<Event>() + 512;

/// The count of records a source owes, in `sources/<stream>`; one write of 40 bytes a change, not synced:
/// it survives the process, which is what it is for, not a power cut.
struct OwedFile {
    path: PathBuf,
    file: Option<File>,
    count: u64,
}

/// Bytes of a count file: magic 8, source_ref u32, stream 16, count u64, crc32c u32.
pub(crate) const OWED_LEN: usize = 40;
const OWED_MAGIC: &[u8; 8] = b"CSNOWED1";

impl OwedFile {
    fn write(&mut self, reg: &SourceReg, count: u64) -> Result<(), LedgerError> {
        use std::os::unix::fs::FileExt;
        let file = match &self.file {
            Some(file) => file,
            None => {
                let file = options()
                    .open(&self.path)
                    .map_err(|error| LedgerError::io("create", &self.path, error))?;
                self.file.insert(file)
            }
        };
        let bytes = encode_owed(reg.source_ref, &reg.stream, count);
        file.write_all_at(&bytes, 0).map_err(|error| LedgerError::io("write", &self.path, error))?;
        self.count = count;
        Ok(())
    }
}

/// The bytes of a count file.
pub(crate) fn encode_owed(source_ref: u32, stream: &[u8; 16], count: u64) -> [u8; OWED_LEN] {
    let mut out = [0; OWED_LEN];
    out[..8].copy_from_slice(OWED_MAGIC);
    out[8..12].copy_from_slice(&source_ref.to_be_bytes());
    out[12..28].copy_from_slice(stream);
    out[28..36].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&out[..36]);
    out[36..].copy_from_slice(&crc.to_be_bytes());
    out
}

/// (source_ref, stream, count) of a count file; `None` if it is damaged.
pub(crate) fn decode_owed(bytes: &[u8]) -> Option<(u32, [u8; 16], u64)> {
    let bytes: &[u8; OWED_LEN] = bytes.try_into().ok()?;
    let owed = (u32::from_be_bytes(part(bytes, 8)), part(bytes, 12), u64::from_be_bytes(part(bytes, 28)));
    (encode_owed(owed.0, &owed.1, owed.2) == *bytes).then_some(owed)
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Counts by number of [`GapReason`].
pub(crate) fn count_dropped(dropped: &mut BTreeMap<u64, u64>, reason: GapReason, n: u64) {
    *dropped.entry(reason as u64).or_default() += n;
}
