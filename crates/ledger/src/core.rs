//! What the threads of an open ledger share, and which lock covers what.
//!
//! No lock here is held across an fsync of the write-ahead log, so that nobody who submits or reads waits
//! for the disk. Lock order where two are needed: `parts` before `vault`, `tree` alone, `registry` alone.

use crate::disk::Disk;
use crate::feed::FeedRing;
use crate::intake::Intake;
use crate::keys::{DigestKey, PartKey, Secret, Vault};
use crate::log::files::LogFiles;
use crate::log::meta::MetaFiles;
use crate::log::tree::Tree;
use crate::registry::Registry;
use crate::wal::writer::FramePlace;
use crate::{Checkpoint, Clock, LedgerError, Limits, Signer, Stats};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Buckets of the fdatasync histogram: `[i]` = less than 2^i microseconds.
const BUCKETS: usize = 25;

/// One file of the write-ahead log, as far as its frames are known.
pub(crate) struct WalFile {
    pub(crate) number: u64,
    /// Leaf index at which it begins.
    pub(crate) first: u64,
    pub(crate) bytes: u64,
    pub(crate) places: Vec<FramePlace>,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) fsyncs: AtomicU64,
    pub(crate) fsync_buckets: [AtomicU64; BUCKETS],
    pub(crate) poisoned: AtomicU64,
    pub(crate) clock_steps: AtomicU64,
    pub(crate) heartbeats_refused: AtomicU64,
    pub(crate) disk_full: AtomicBool,
    pub(crate) wal_full: AtomicBool,
}

impl Counters {
    pub(crate) fn fsync(&self, took: Duration) {
        let micros = took.as_micros().max(1);
        let bucket = (128 - micros.leading_zeros() as usize).min(BUCKETS - 1);
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        if let Some(counter) = self.fsync_buckets.get(bucket) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Signed heads. Its condition variable wakes those who wait for one.
#[derive(Default)]
pub(crate) struct SignedState {
    pub(crate) latest: Option<Checkpoint>,
    pub(crate) at: Option<Instant>,
}

pub(crate) struct Core {
    pub(crate) dir: PathBuf,
    pub(crate) origin: Arc<str>,
    pub(crate) origin_digest: [u8; 32],
    pub(crate) vkey: String,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) read_only: bool,
    pub(crate) files: LogFiles,
    pub(crate) meta: MetaFiles,
    pub(crate) vault: Mutex<Vault>,
    pub(crate) digest_key: DigestKey,
    pub(crate) tree: RwLock<Tree>,
    /// Durable leaves whose entries, bodies and tiles are readable.
    pub(crate) size: AtomicU64,
    pub(crate) registry: Mutex<Registry>,
    /// First leaf index of each part, and its end once closed.
    pub(crate) parts: Mutex<BTreeMap<u64, Option<u64>>>,
    pub(crate) wal: Mutex<Vec<WalFile>>,
    pub(crate) intake: Intake,
    /// Batches that were handed to the committer and are not yet durable.
    pub(crate) committing: AtomicUsize,
    pub(crate) feed: FeedRing,
    pub(crate) signer: Option<(Arc<dyn Signer>, u64)>,
    pub(crate) signed: Mutex<SignedState>,
    pub(crate) signed_news: Condvar,
    /// A note that waits for the next group commit.
    pub(crate) note: Mutex<Option<String>>,
    /// Wakes the publisher; `true` = the committer has ended.
    pub(crate) publisher: Mutex<bool>,
    pub(crate) publisher_news: Condvar,
    pub(crate) counters: Counters,
    pub(crate) stopped: Mutex<Option<LedgerError>>,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) lock: Mutex<Option<File>>,
}

/// Takes a lock whose data stays usable after a panic elsewhere: every update under it is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn check_writable(&self) -> Result<(), LedgerError> {
        if self.read_only { Err(LedgerError::ReadOnly) } else { Ok(()) }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// A copy of the tree: readers never hold its lock while they read files.
    pub(crate) fn tree(&self) -> Tree {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops everything after a failure that could not be recovered from. The first reason stays.
    pub(crate) fn stop(&self, why: &LedgerError) {
        let mut stopped = lock(&self.stopped);
        if stopped.is_none() {
            tracing::error!(error = %why, "the ledger stops");
            *stopped = Some(why.clone());
        }
        drop(stopped);
        self.intake.close(self.stopped_error());
        self.feed.end();
        self.signed_news.notify_all();
        self.publisher_news.notify_all();
    }

    /// What callers get once the ledger takes nothing more.
    pub(crate) fn stopped_error(&self) -> LedgerError {
        match &*lock(&self.stopped) {
            Some(error @ (LedgerError::Stopped(_) | LedgerError::Fenced { .. })) => error.clone(),
            Some(error) => LedgerError::Stopped(error.to_string()),
            None => LedgerError::Closed,
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        lock(&self.stopped).is_some()
    }

    pub(crate) fn wal_dir(&self) -> PathBuf {
        self.dir.join("wal")
    }

    pub(crate) fn wal_key(&self, number: u64) -> Option<Secret> {
        lock(&self.vault).wal_key(number)
    }

    /// First leaf index that the write-ahead log still holds.
    pub(crate) fn wal_start(&self) -> u64 {
        lock(&self.wal).first().map_or(0, |file| file.first)
    }

    /// File and place of the frame that holds leaf `index`.
    pub(crate) fn wal_place(&self, index: u64) -> Option<(u64, FramePlace)> {
        let wal = lock(&self.wal);
        let at =
            wal.iter().rposition(|file| file.places.first().is_some_and(|place| place.first <= index))?;
        let file = wal.get(at)?;
        let frame = file.places.partition_point(|place| place.first <= index).checked_sub(1)?;
        Some((file.number, *file.places.get(frame)?))
    }

    /// The part that holds leaf `index`, with its end once closed.
    pub(crate) fn part_of(&self, index: u64) -> Option<(u64, Option<u64>)> {
        lock(&self.parts).range(..=index).next_back().map(|(first, end)| (*first, *end))
    }

    /// The closed part that ends at `end`.
    pub(crate) fn part_closed_at(&self, end: u64) -> Option<(u64, u64)> {
        let before = end.checked_sub(1)?;
        self.part_of(before).filter(|(_, known)| *known == Some(end)).map(|(first, _)| (first, end))
    }

    pub(crate) fn part_key(&self, first: u64) -> Option<PartKey> {
        lock(&self.vault).part(first).cloned()
    }

    /// Parts that are neither sealed nor retired: (first, end).
    pub(crate) fn unsealed(&self) -> Vec<(u64, Option<u64>)> {
        let parts = lock(&self.parts).clone();
        let registry = lock(&self.registry);
        parts.into_iter().filter(|(first, _)| registry.let_go(*first).is_none()).collect()
    }

    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.counters;
        let histogram: Vec<u64> =
            counters.fsync_buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let (wal_files, wal_bytes) = {
            let wal = lock(&self.wal);
            (wal.len() as u64, wal.iter().map(|file| file.bytes).sum())
        };
        let signed = lock(&self.signed);
        Stats {
            size: self.size(),
            signed_size: signed.latest.as_ref().map_or(0, |head| head.size),
            checkpoint_age: signed.at.map_or(Duration::ZERO, |at| at.elapsed()),
            queue_bytes: self.intake.bytes() as u64,
            batches: counters.batches.load(Ordering::Relaxed),
            entries: counters.entries.load(Ordering::Relaxed),
            fsyncs: counters.fsyncs.load(Ordering::Relaxed),
            fsync_p50: percentile(&histogram, 50),
            fsync_p99: percentile(&histogram, 99),
            fsync_histogram: histogram,
            wal_bytes,
            wal_files,
            poisoned: counters.poisoned.load(Ordering::Relaxed),
            disk_full: counters.disk_full.load(Ordering::Relaxed),
            wal_full: counters.wal_full.load(Ordering::Relaxed),
            clock_steps: counters.clock_steps.load(Ordering::Relaxed),
            heartbeats_refused: counters.heartbeats_refused.load(Ordering::Relaxed),
            stopped: lock(&self.stopped).as_ref().map(ToString::to_string),
        }
    }
}

fn percentile(histogram: &[u64], percent: u64) -> Duration {
    let total: u64 = histogram.iter().sum();
    let mut below = 0;
    for (bucket, count) in histogram.iter().enumerate() {
        below += count;
        if total > 0 && below * 100 >= total * percent {
            return Duration::from_micros(1 << bucket);
        }
    }
    Duration::ZERO
}
