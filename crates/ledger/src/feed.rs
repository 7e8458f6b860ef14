//! Readers: any number of cursors over durable entries, live from memory, older from the write-ahead log.
//!
//! Nobody waits for a reader. Invariant: a reader sees every index once, in order, or is told by
//! [`Feed::Missed`] which ones left the write-ahead log because their segments are sealed.
//!
//! What every reader has read leaves memory at once, but for [`RECENT_BYTES`]; what a slow one has not read
//! stays up to the limit of the ledger. It is the reader's thread that frees it, not the committer's.

use crate::core::Core;
use crate::wal::frame::{FrameKind, OpenFrame};
use crate::wal::payload::parse_batch;
use crate::wal::reader::{FileCursor, Step, open_header};
use crate::wal::{file_path, writer::FramePlace};
use crate::{Batch, Committed, Feed, LedgerError, Payload};
use countersign_event::{EntryKind, Event, Frame};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of batches that stay in memory although every reader has read them, for one that begins a little back.
pub(crate) const RECENT_BYTES: usize = 1 << 20;

/// Recent batches in memory, bounded in bytes.
#[derive(Default)]
pub(crate) struct FeedRing {
    state: Mutex<RingState>,
    news: Condvar,
}

#[derive(Default)]
struct RingState {
    batches: VecDeque<(Arc<Batch>, usize)>,
    bytes: usize,
    end: u64,
    ended: bool,
    nudge: u64,
    /// Next index of each reader, by its number; as many as there are consumers.
    readers: BTreeMap<u64, u64>,
    last_reader: u64,
}

impl RingState {
    /// Takes out the oldest batches that end at `read` or before, until `keep` bytes are left; the last one stays.
    /// They are dropped by the caller, when it no longer holds the lock.
    fn take_old(&mut self, read: u64, keep: usize) -> Vec<Arc<Batch>> {
        let mut old = Vec::new();
        while self.bytes > keep && self.batches.len() > 1 {
            let Some((batch, bytes)) =
                self.batches.pop_front_if(|(b, _)| b.first + b.records.len() as u64 <= read)
            else {
                break;
            };
            self.bytes -= bytes;
            old.push(batch);
        }
        old
    }
}

impl FeedRing {
    pub(crate) fn push(&self, batch: Arc<Batch>, bytes: usize, limit: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.end = batch.first + batch.records.len() as u64;
        state.batches.push_back((batch, bytes));
        state.bytes += bytes;
        let old = state.take_old(u64::MAX, limit);
        drop(state);
        self.news.notify_all();
        drop(old);
    }

    /// A reader begins at `next`; gives its number.
    fn enter(&self, next: u64) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_reader += 1;
        let number = state.last_reader;
        state.readers.insert(number, next);
        number
    }

    /// Reader `number` has read everything before `next`.
    fn moved(&self, number: u64, next: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.readers.insert(number, next);
        let read = state.readers.values().min().copied().unwrap_or(0);
        let old = state.take_old(read, RECENT_BYTES);
        drop(state);
        drop(old);
    }

    /// Reader `number` has ended; it holds nothing back any more.
    fn leave(&self, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.readers.remove(&number);
        let read = state.readers.values().min().copied().unwrap_or(0);
        let old = state.take_old(read, RECENT_BYTES);
        drop(state);
        drop(old);
    }

    /// Bytes of batches in memory.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    pub(crate) fn set_end(&self, end: u64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).end = end;
    }

    /// Wakes readers so that they look at closed parts.
    pub(crate) fn nudge(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).nudge += 1;
        self.news.notify_all();
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.news.notify_all();
    }

    fn find(&self, index: u64) -> Found {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if index >= state.end {
            return Found::NotYet;
        }
        let at = state.batches.partition_point(|(batch, _)| batch.first <= index);
        match at.checked_sub(1).and_then(|at| state.batches.get(at)) {
            Some((batch, _)) if index < batch.first + batch.records.len() as u64 => {
                Found::Batch(batch.clone())
            }
            _ => Found::Older,
        }
    }

    /// Waits for news after `index`; `false` when nothing will come or the time is up.
    fn wait(&self, index: u64, nudge: u64, deadline: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.end <= index && state.nudge == nudge && !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.end > index || state.nudge != nudge
    }

    fn nudges(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).nudge
    }
}

enum Found {
    Batch(Arc<Batch>),
    Older,
    NotYet,
}

/// A cursor into the ledger; any number of them, on any thread.
pub struct Reader {
    core: Arc<Core>,
    next: u64,
    /// Parts that end here or below were announced (or lie before the start).
    announced: u64,
    wal: Option<(u64, FileCursor)>,
    /// In the feed.
    number: u64,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.core.feed.leave(self.number);
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(core: Arc<Core>, next: u64) -> Reader {
        let number = core.feed.enter(next);
        Reader { core, next, announced: next, wal: None, number }
    }

    /// The next piece; `None` after `timeout` without news, or at once when nothing will come any more.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Feed>, LedgerError> {
        let deadline =
            Instant::now().checked_add(timeout).unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        loop {
            let nudge = self.core.feed.nudges();
            if let Some(feed) = self.ready()? {
                return Ok(Some(feed));
            }
            if self.core.read_only || !self.core.feed.wait(self.next, nudge, deadline) {
                return self.ready();
            }
        }
    }

    /// Leaf index of the next record.
    pub fn position(&self) -> u64 {
        self.next
    }

    fn ready(&mut self) -> Result<Option<Feed>, LedgerError> {
        if let Some((first, end)) =
            self.core.part_closed_at(self.next).filter(|(_, end)| *end > self.announced)
        {
            self.announced = end;
            return Ok(Some(Feed::PartClosed { first, end }));
        }
        match self.core.feed.find(self.next) {
            Found::NotYet => Ok(None),
            Found::Batch(batch) => Ok(Some(self.give(batch))),
            Found::Older => self.older(),
        }
    }

    /// Hands out a batch from `self.next` on.
    fn give(&mut self, batch: Arc<Batch>) -> Feed {
        let end = batch.first + batch.records.len() as u64;
        let skip = self.next - batch.first;
        let given = if skip == 0 {
            batch
        } else {
            Arc::new(Batch { first: self.next, records: batch.records[skip as usize..].to_vec() })
        };
        self.next = end;
        self.core.feed.moved(self.number, end);
        Feed::Batch(given)
    }

    /// From the write-ahead log; a file that is recycled under our eyes is looked up again.
    fn older(&mut self) -> Result<Option<Feed>, LedgerError> {
        for _ in 0..3 {
            let start = self.core.wal_start();
            if self.next < start {
                let from = self.next;
                (self.next, self.announced, self.wal) = (start, start, None);
                self.core.feed.moved(self.number, start);
                return Ok(Some(Feed::Missed { from, to: start }));
            }
            match self.read_frame() {
                Ok(batch) => return Ok(Some(self.give(Arc::new(batch)))),
                Err(LedgerError::Io { .. }) if self.core.wal_start() > start => self.wal = None,
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::NotFound { what: "entry", index: self.next })
    }

    fn read_frame(&mut self) -> Result<Batch, LedgerError> {
        let missing = LedgerError::NotFound { what: "entry", index: self.next };
        let (number, place) = self.core.wal_place(self.next).ok_or(missing)?;
        if self.wal.as_ref().is_none_or(|(open, _)| *open != number) {
            let path = file_path(&self.core.wal_dir(), number);
            let (file, header) = open_header(&path)?;
            let key = self.core.wal_key(number).ok_or_else(|| {
                LedgerError::io("open key of", &path, std::io::Error::from(std::io::ErrorKind::NotFound))
            })?;
            self.wal = Some((number, FileCursor::new(&path, file, header, &key)?));
        }
        let Some((_, cursor)) = &mut self.wal else {
            return Err(LedgerError::NotFound { what: "entry", index: self.next });
        };
        let FramePlace { offset, number, previous, .. } = place;
        cursor.seek(offset, number, previous);
        match cursor.step()? {
            Step::Frame(at, frame) => decode_batch(cursor.path(), at, &frame),
            Step::End | Step::Bad(_) => {
                Err(LedgerError::corrupt(cursor.path(), offset, "a frame that was good is not any more"))
            }
        }
    }
}

/// The records of a batch frame, decoded.
pub(crate) fn decode_batch(path: &Path, offset: u64, frame: &OpenFrame) -> Result<Batch, LedgerError> {
    let fault = |what: String| LedgerError::Corrupt {
        file: path.to_owned(),
        offset,
        index: Some(frame.head.first),
        what,
    };
    if frame.head.kind != FrameKind::Batch {
        return Err(fault("not a batch frame".to_owned()));
    }
    let first = frame.head.first;
    let mut records = Vec::with_capacity(frame.head.count as usize);
    for (at, record) in
        parse_batch(&frame.plain, frame.head.count).map_err(|what| fault(what.to_owned()))?.iter().enumerate()
    {
        let payload = if record.entry.kind == EntryKind::Event as u8 {
            let frame = Frame::from_bytes(record.content).map_err(|error| fault(error.to_string()))?;
            let event = Event::decode(&frame).map_err(|error| fault(error.to_string()))?;
            Payload::Event { event: Arc::new(event), frame: Arc::new(frame) }
        } else {
            Payload::Body(record.content.into())
        };
        records.push(Committed { index: first + at as u64, entry: record.entry, payload });
    }
    Ok(Batch { first, records })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: u64) -> Arc<Batch> {
        let entry = countersign_event::Entry {
            kind: EntryKind::Gap as u8,
            source_ref: 0,
            source_seq: 1,
            time_ns: 1,
            commitment: [0; 32],
        };
        let committed = |index| Committed { index, entry, payload: Payload::Body(Arc::from([])) };
        Arc::new(Batch { first, records: (first..first + 10).map(committed).collect() })
    }

    const LIMIT: usize = 16 * RECENT_BYTES;

    #[test]
    fn what_every_reader_has_read_leaves_memory_and_what_one_has_not_read_stays() {
        let ring = FeedRing::default();
        let (fast, slow) = (ring.enter(0), ring.enter(0));
        for at in 0..8 {
            ring.push(batch(at * 10), RECENT_BYTES, LIMIT);
        }
        ring.moved(fast, 80);
        assert_eq!(ring.bytes(), 8 * RECENT_BYTES, "one reader has read nothing yet");
        ring.moved(slow, 35);
        assert_eq!(ring.bytes(), 5 * RECENT_BYTES);
        assert!(matches!(ring.find(29), Found::Older));
        assert!(matches!(ring.find(35), Found::Batch(_)));
        ring.leave(slow);
        assert_eq!(ring.bytes(), RECENT_BYTES, "a reader that has ended holds nothing back");
        assert!(matches!(ring.find(79), Found::Batch(_)));
    }

    #[test]
    fn a_reader_that_stands_still_holds_no_more_than_the_limit() {
        let ring = FeedRing::default();
        ring.enter(0);
        for at in 0..40 {
            ring.push(batch(at * 10), RECENT_BYTES, LIMIT);
        }
        assert_eq!(ring.bytes(), LIMIT);
    }

    #[test]
    fn without_a_reader_the_limit_alone_bounds() {
        let ring = FeedRing::default();
        for at in 0..4 {
            ring.push(batch(at * 10), RECENT_BYTES, LIMIT);
        }
        assert_eq!(ring.bytes(), 4 * RECENT_BYTES);
    }
}
