//! The thread that makes events visible: it follows the ledger, turns batches into columns and hands
//! closed parts to sealing. Late or slow, it delays searches, never the ledger.

use crate::columns::{Row, build};
use crate::error::StoreError;
use crate::hot::{Hot, Piece, TAIL_ROWS_MAX};
use crate::seal::SealStats;
use crate::sealed::Sealed;
use countersign_ledger::{Batch, Feed, Ledger, LedgerError, Payload, Reader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

/// How long the follower sleeps without news before it looks whether it should end.
const STEP: Duration = Duration::from_millis(100);
/// Pause after an error of the reader.
const PAUSE: Duration = Duration::from_millis(500);

/// Follows the ledger into memory.
pub(crate) struct Ingest {
    pub(crate) dir: PathBuf,
    pub(crate) ledger: Ledger,
    pub(crate) hot: Arc<Hot>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) stats: Arc<SealStats>,
}

impl Ingest {
    /// Until told to stop, or until the ledger ends.
    pub(crate) fn run(&self, parts: &SyncSender<(u64, u64)>) {
        let mut reader = self.ledger.reader(self.hot.snapshot().visible);
        while !self.stop.load(Ordering::Relaxed) {
            let step = reader.next(STEP).map_err(StoreError::from).and_then(|feed| match feed {
                None => Ok(()),
                Some(Feed::PartClosed { first, end }) => self.hand_over(parts, first, end),
                Some(feed) => self.take(feed),
            });
            match step {
                Ok(()) => self.wait_for_room(),
                Err(StoreError::Closed | StoreError::Ledger(LedgerError::Closed)) => return,
                Err(error) => {
                    tracing::warn!(%error, "the store lags behind the ledger and will try again");
                    std::thread::sleep(PAUSE);
                    reader = self.ledger.reader(self.hot.snapshot().visible);
                }
            }
        }
    }

    /// Everything there is now, in this thread: for a ledger that is only read.
    pub(crate) fn load(&self) -> Result<(), StoreError> {
        let mut reader: Reader = self.ledger.reader(self.hot.snapshot().visible);
        while let Some(feed) = reader.next(Duration::ZERO)? {
            self.take(feed)?;
        }
        Ok(())
    }

    fn take(&self, feed: Feed) -> Result<(), StoreError> {
        match feed {
            Feed::Batch(batch) => {
                let started = Instant::now();
                let columns = columns_of(&batch)?;
                crate::seal::add(&self.stats.build_ns, started);
                self.hot.append(Piece { first: batch.first, batch: columns })
            }
            Feed::Missed { from, to } => self.adopt(from, to),
            Feed::PartClosed { .. } => Ok(()),
        }
    }

    /// Leaves that are only in segments by now, or retired.
    fn adopt(&self, from: u64, to: u64) -> Result<(), StoreError> {
        let mut segments = self.ledger.segments();
        segments.retain(|info| info.end > from && info.first < to);
        let mut retired = self.ledger.retired();
        // The write-ahead log may still hold the end of one.
        retired.retain(|range| range.end > from && range.first < to);
        let mut ranges: Vec<(u64, u64, Option<_>)> =
            segments.into_iter().map(|info| (info.first, info.end, Some(info))).collect();
        ranges.extend(retired.into_iter().map(|range| (range.first, range.end.min(to), None)));
        ranges.sort_by_key(|(first, ..)| *first);
        for (first, end, segment) in ranges {
            match segment {
                None => self.hot.skip(first, end)?,
                Some(info) if self.hot.snapshot().segment_of(first).is_none() => {
                    self.hot.seal(Sealed::new(&self.dir, &self.ledger, info))?;
                }
                Some(_) => {}
            }
        }
        if self.hot.snapshot().visible >= to {
            return Ok(());
        }
        Err(StoreError::Engine(format!(
            "leaves {from}..{to} are neither in the write-ahead log nor in a segment, and were not retired"
        )))
    }

    fn hand_over(&self, parts: &SyncSender<(u64, u64)>, first: u64, end: u64) -> Result<(), StoreError> {
        self.stats.waiting.fetch_add(1, Ordering::Relaxed);
        parts.send((first, end)).map_err(|_| StoreError::Closed)
    }

    /// Memory is bounded: with too many rows unsealed, the tail stops growing until sealing catches up.
    fn wait_for_room(&self) {
        while !self.stop.load(Ordering::Relaxed)
            && !self.hot.wait(STEP, |snapshot| snapshot.tail_rows() < TAIL_ROWS_MAX)
        {}
    }
}

fn columns_of(batch: &Batch) -> Result<arrow::array::RecordBatch, StoreError> {
    let rows: Vec<Row<'_>> = batch
        .records
        .iter()
        .map(|record| {
            let event = match &record.payload {
                Payload::Event { event, frame } => Some((event.as_ref(), frame.as_ref())),
                Payload::Body(_) => None,
            };
            Row { index: record.index, event }
        })
        .collect();
    build(&rows)
}

/// Segments of the ledger that follow each other without a hole, and where they end.
pub(crate) fn sealed_prefix(dir: &Path, ledger: &Ledger) -> (Vec<Arc<Sealed>>, u64) {
    let mut segments = Vec::new();
    let mut end = 0;
    for info in ledger.segments() {
        if info.first == end {
            end = info.end;
            segments.push(Arc::new(Sealed::new(dir, ledger, info)));
        }
    }
    (segments, end)
}
