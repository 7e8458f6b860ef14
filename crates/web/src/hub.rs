//! The newest committed batches in memory, for live tails.
//!
//! Fed by the pipeline after each acknowledgement, read by every tail at its own pace. Invariants: batches
//! are contiguous, at most [`RING_ENTRIES`] entries are kept, publishing never waits for a reader.

use countersign_ledger::{Batch, Payload};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Most entries kept.
pub(crate) const RING_ENTRIES: usize = 65_536;
/// Most bytes of event frames kept.
pub(crate) const RING_BYTES: usize = 32 << 20;
/// Most batches given to a reader at once.
const READ_BATCHES: usize = 64;

/// The ring. Cheap to clone.
#[derive(Clone)]
pub struct TailHub {
    ring: Arc<Mutex<Ring>>,
    head: Arc<watch::Sender<Option<u64>>>,
}

#[derive(Default)]
struct Ring {
    batches: VecDeque<(Arc<Batch>, usize)>,
    entries: usize,
    bytes: usize,
    /// Ledger time of the newest event, ns.
    last_event_ns: Option<u64>,
}

/// What a reader finds at its cursor.
pub(crate) enum Found {
    /// These batches hold the cursor and what follows.
    Batches(Vec<Arc<Batch>>),
    /// The cursor is older than the ring, which begins here.
    Older(u64),
    /// Nothing at or after the cursor.
    Nothing,
}

impl Default for TailHub {
    fn default() -> TailHub {
        TailHub { ring: Arc::default(), head: Arc::new(watch::Sender::new(None)) }
    }
}

impl std::fmt::Debug for TailHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TailHub").field("head", &self.head()).finish()
    }
}

impl TailHub {
    /// An empty ring.
    pub fn new() -> TailHub {
        TailHub::default()
    }

    /// Adds the next batch. Quick; never waits for a reader.
    pub fn publish(&self, batch: Arc<Batch>) {
        let next = batch.first + batch.records.len() as u64;
        let mut bytes = 0;
        let mut newest = None;
        for record in &batch.records {
            if let Payload::Event { frame, .. } = &record.payload {
                bytes += frame.groups.total();
                newest = Some(record.entry.time_ns);
            }
        }
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.next().is_some_and(|expected| expected != batch.first) {
            // A reader must never take a hole for the end of the log.
            *ring = Ring::default();
        }
        ring.last_event_ns = newest.or(ring.last_event_ns);
        ring.entries += batch.records.len();
        ring.bytes += bytes;
        ring.batches.push_back((batch, bytes));
        while ring.batches.len() > 1 && (ring.entries > RING_ENTRIES || ring.bytes > RING_BYTES) {
            if let Some((old, old_bytes)) = ring.batches.pop_front() {
                ring.entries -= old.records.len();
                ring.bytes -= old_bytes;
            }
        }
        drop(ring);
        self.head.send_replace(Some(next));
    }

    /// Index after the newest published entry; `None` before the first.
    pub fn head(&self) -> Option<u64> {
        *self.head.borrow()
    }

    /// Ledger time of the newest event published, ns.
    pub(crate) fn last_event_ns(&self) -> Option<u64> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).last_event_ns
    }

    /// The batches from `cursor` on, a bounded number of them.
    pub(crate) fn read(&self, cursor: u64) -> Found {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = ring.batches.front().map(|(batch, _)| batch.first) else { return Found::Nothing };
        if cursor < first {
            return Found::Older(first);
        }
        let at =
            ring.batches.partition_point(|(batch, _)| batch.first + batch.records.len() as u64 <= cursor);
        let found: Vec<_> =
            ring.batches.iter().skip(at).take(READ_BATCHES).map(|(batch, _)| Arc::clone(batch)).collect();
        if found.is_empty() { Found::Nothing } else { Found::Batches(found) }
    }
}

impl Ring {
    fn next(&self) -> Option<u64> {
        self.batches.back().map(|(batch, _)| batch.first + batch.records.len() as u64)
    }
}
