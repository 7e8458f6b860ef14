//! What a query sees: sealed segments and the tail in memory, taken together in one snapshot.
//!
//! Invariants: a snapshot covers every index below `visible` exactly once, but for what was retired; segments and tail change in one
//! step under one lock, so a row that moves from tail to segment is never seen twice and never missing;
//! a snapshot in use keeps its batches and files.

use crate::columns;
use crate::error::StoreError;
use crate::sealed::Sealed;
use arrow::array::RecordBatch;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Batches below this many rows are moved together, so that a quiet tail is not thousands of tiny ones.
const MERGE_ROWS: usize = 512;
/// Most rows of tail before the ingest waits for sealing: sixteen parts.
pub(crate) const TAIL_ROWS_MAX: u64 = 1 << 20;

/// A run of leaves in memory.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) first: u64,
    pub(crate) batch: RecordBatch,
}

impl Piece {
    pub(crate) fn end(&self) -> u64 {
        self.first + self.batch.num_rows() as u64
    }
    /// The part of it inside `first..end`, without copying.
    pub(crate) fn slice(&self, first: u64, end: u64) -> Option<Piece> {
        let (from, to) = (first.max(self.first), end.min(self.end()));
        (from < to).then(|| Piece {
            first: from,
            batch: self.batch.slice((from - self.first) as usize, (to - from) as usize),
        })
    }
}

/// One consistent view.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    /// Ascending, without overlap.
    pub(crate) segments: Arc<Vec<Arc<Sealed>>>,
    /// Ascending, without overlap, above all segments but for those that were sealed out of order.
    pub(crate) tail: Arc<Vec<Piece>>,
    /// First index that is not in it.
    pub(crate) visible: u64,
}

impl Snapshot {
    /// The tail inside `first..end`.
    pub(crate) fn tail_in(&self, first: u64, end: u64) -> Vec<Piece> {
        self.tail.iter().filter_map(|piece| piece.slice(first, end)).collect()
    }
    /// The segment that holds this leaf.
    pub(crate) fn segment_of(&self, index: u64) -> Option<&Arc<Sealed>> {
        let at = self.segments.partition_point(|segment| segment.info.end <= index);
        self.segments.get(at).filter(|segment| segment.info.first <= index)
    }
    pub(crate) fn tail_rows(&self) -> u64 {
        self.tail.iter().map(|piece| piece.batch.num_rows() as u64).sum()
    }
}

/// The current snapshot, and who waits for the next.
#[derive(Default)]
pub(crate) struct Hot {
    /// Readers clone the Arc; writers hold `change` while they make the next one.
    current: RwLock<Arc<Snapshot>>,
    /// Serialises writers: ingest and sealing. Also what waiters sleep on.
    change: Mutex<()>,
    news: Condvar,
}

impl Hot {
    pub(crate) fn new(snapshot: Snapshot) -> Hot {
        Hot { current: RwLock::new(Arc::new(snapshot)), ..Hot::default() }
    }
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(
        &self,
        make: impl FnOnce(&Snapshot) -> Result<(Snapshot, T), StoreError>,
    ) -> Result<T, StoreError> {
        let guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, out) = make(&self.snapshot())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        drop(guard);
        self.news.notify_all();
        Ok(out)
    }

    /// New leaves at the end. What is below `visible` is there already and is dropped.
    pub(crate) fn append(&self, piece: Piece) -> Result<(), StoreError> {
        self.change(|now| {
            let Some(piece) = piece.slice(now.visible, u64::MAX) else { return Ok((now.clone(), ())) };
            if piece.first != now.visible {
                let what = format!("leaf {} arrived before leaf {}", piece.first, now.visible);
                return Err(StoreError::Engine(what));
            }
            let visible = piece.end();
            let mut tail = now.tail.as_ref().clone();
            tail.push(piece);
            compact(&mut tail)?;
            Ok((Snapshot { segments: Arc::clone(&now.segments), tail: Arc::new(tail), visible }, ()))
        })
    }

    /// The contents of these leaves are gone for good: what follows them is next.
    pub(crate) fn skip(&self, first: u64, end: u64) -> Result<(), StoreError> {
        self.change(|now| {
            let visible = if now.visible >= first { now.visible.max(end) } else { now.visible };
            Ok((Snapshot { visible, ..now.clone() }, ()))
        })
    }

    /// A segment takes the place of its leaves in the tail.
    pub(crate) fn seal(&self, segment: Sealed) -> Result<(), StoreError> {
        self.change(|now| {
            let (first, end) = (segment.info.first, segment.info.end);
            let mut segments = now.segments.as_ref().clone();
            segments.retain(|other| other.info.end <= first || other.info.first >= end);
            let at = segments.partition_point(|other| other.info.first < first);
            segments.insert(at, Arc::new(segment));
            let outside = |piece: &Piece| [piece.slice(0, first), piece.slice(end, u64::MAX)];
            let tail = now.tail.iter().flat_map(outside).flatten().collect();
            let visible = if now.visible >= first { now.visible.max(end) } else { now.visible };
            Ok((Snapshot { segments: Arc::new(segments), tail: Arc::new(tail), visible }, ()))
        })
    }

    /// Waits until `done` holds for the snapshot; `false` when the time is up.
    pub(crate) fn wait(&self, timeout: Duration, done: impl Fn(&Snapshot) -> bool) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if done(&self.snapshot()) {
                return true;
            }
            let left =
                deadline.map_or(Duration::from_secs(1), |d| d.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            guard = self.news.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Moves small neighbours together, like a binary counter: each row is copied a few times at most.
fn compact(tail: &mut Vec<Piece>) -> Result<(), StoreError> {
    while let [.., a, b] = tail.as_slice() {
        let (rows_a, rows_b) = (a.batch.num_rows(), b.batch.num_rows());
        if rows_a + rows_b > MERGE_ROWS || rows_a > 2 * rows_b || a.end() != b.first {
            break;
        }
        let merged = Piece { first: a.first, batch: columns::merge(&[a.batch.clone(), b.batch.clone()])? };
        tail.truncate(tail.len() - 2);
        tail.push(merged);
    }
    Ok(())
}
