//! The thread that seals: a closed part becomes a segment file, is read back and checked, and only then
//! is told to the ledger. It never holds up the ledger; a failure is retried, for ever, ever more slowly.

use crate::error::StoreError;
use crate::hot::Hot;
use crate::sealed::Sealed;
use crate::segment::{self, Frames};
use arrow::array::RecordBatch;
use countersign_ledger::{Ledger, LedgerError, SealedSegment, SegmentInfo};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Closed parts waiting to be sealed; full means that the ingest waits.
pub(crate) const QUEUE_PARTS: usize = 64;
/// First and longest pause between attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How often a sleeping thread looks whether it should end.
const STEP: Duration = Duration::from_millis(50);

/// Counters of sealing.
#[derive(Default)]
pub(crate) struct SealStats {
    pub(crate) sealed: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) waiting: AtomicU64,
    /// Rows sealed, and nanoseconds spent: making columns, writing, reading back with all checks.
    pub(crate) rows: AtomicU64,
    pub(crate) build_ns: AtomicU64,
    pub(crate) write_ns: AtomicU64,
    pub(crate) check_ns: AtomicU64,
    pub(crate) last_error: Mutex<Option<String>>,
}

/// What the sealing thread works on.
pub(crate) struct Sealer {
    pub(crate) dir: PathBuf,
    pub(crate) ledger: Ledger,
    pub(crate) hot: Arc<Hot>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) stats: Arc<SealStats>,
}

impl Sealer {
    /// Until told to stop: one part after the other, in order.
    pub(crate) fn run(&self, parts: &Receiver<(u64, u64)>) {
        while !self.stopped() {
            match parts.recv_timeout(STEP) {
                Ok((first, end)) => self.until_sealed(first, end),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn until_sealed(&self, first: u64, end: u64) {
        let mut pause = PAUSE.0;
        while !self.stopped() {
            match self.seal(first, end) {
                Ok(()) => {
                    self.stats.sealed.fetch_add(1, Ordering::Relaxed);
                    self.stats.waiting.fetch_sub(1, Ordering::Relaxed);
                    *self.last_error() = None;
                    return;
                }
                Err(StoreError::Ledger(LedgerError::Closed)) => return,
                Err(error) => {
                    self.stats.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(first, end, %error, "sealing failed and will be tried again");
                    *self.last_error() = Some(error.to_string());
                }
            }
            let mut left = pause;
            while !left.is_zero() && !self.stopped() {
                std::thread::sleep(left.min(STEP));
                left = left.saturating_sub(STEP);
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn last_error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.stats.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Write, read back, check, tell the ledger, then let queries see the file instead of the memory.
    fn seal(&self, first: u64, end: u64) -> Result<(), StoreError> {
        let snapshot = self.hot.snapshot();
        if snapshot.segment_of(first).is_some() {
            return Ok(());
        }
        let pieces = snapshot.tail_in(first, end);
        let batches: Vec<RecordBatch> = pieces.into_iter().map(|piece| piece.batch).collect();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows as u64 != end - first {
            return Err(StoreError::Engine(format!("part {first}..{end} has {rows} rows in memory")));
        }
        let key = self.ledger.segment_key(first)?;
        let started = Instant::now();
        let path = segment::write(&self.dir, &key, &batches)?;
        add(&self.stats.write_ns, started);
        let started = Instant::now();
        let checked = (|| {
            let (digest, len) =
                segment::digest_of(&path).map_err(|e| self.unreadable(first, key.version, &e))?;
            let roots = self.ledger.check_range(first, &mut Frames::open(&path, &key)?)?;
            Ok::<_, StoreError>((digest, len, roots))
        })();
        let (file_digest, file_len, roots) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                // what does not read back the same must not be found by anyone later
                let _ = fs::remove_file(&path);
                return Err(error);
            }
        };
        add(&self.stats.check_ns, started);
        self.stats.rows.fetch_add(end - first, Ordering::Relaxed);
        let (min_time, max_time) = segment::times(&batches);
        let version = key.version;
        let sealed = SealedSegment { first, end, version, file_digest, file_len, min_time, max_time, roots };
        let roots = sealed.roots.clone();
        self.ledger.sealed(sealed)?;
        let info = SegmentInfo {
            segment: first,
            first,
            end,
            version,
            file_digest,
            file_len,
            min_time,
            max_time,
            roots,
        };
        self.hot.seal(Sealed::new(&self.dir, &self.ledger, info))
    }

    fn unreadable(&self, first: u64, version: u32, error: &std::io::Error) -> StoreError {
        StoreError::Segment {
            file: segment::relative(first, version),
            what: format!("cannot be read back: {error}"),
        }
    }
}

/// Adds the time since `started`.
pub(crate) fn add(counter: &AtomicU64, started: Instant) {
    let ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    counter.fetch_add(ns, Ordering::Relaxed);
}
