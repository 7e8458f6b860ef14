//! Sources (stub).
use crate::{Ack, Done, GapReason, LedgerError};
use countersign_event::Event;
use std::sync::Arc;

/// One registered (agent, stream). Sequence numbers are given here, contiguous from 1. Cheap to clone.
#[derive(Clone)]
pub struct Source {
    state: Arc<(String, [u8; 16], u32)>,
}

/// Why [`Source::try_record`] took nothing.
#[derive(Debug)]
pub enum TryRecordError {
    /// The intake is full, or another thread is recording on this source; the events are handed back.
    Full(Vec<Event>),
    /// The ledger cannot take events any more.
    Ledger(LedgerError),
}

impl Source {
    /// Stamps `ver`, `agent`, `stream`, `seq` and `eid` (kept if non-zero), encodes, queues. Blocks while
    /// the intake is full. `done` is called once, after the events are durable.
    pub fn record(&self, _events: Vec<Event>, _done: Done) -> Result<(), LedgerError> {
        Err(LedgerError::Closed)
    }
    /// As [`Source::record`], but hands the events back instead of blocking.
    pub fn try_record(&self, events: Vec<Event>, _done: Done) -> Result<(), TryRecordError> {
        Err(TryRecordError::Full(events))
    }
    /// As [`Source::record`], and waits until the events are durable.
    pub fn record_wait(&self, _events: Vec<Event>) -> Result<Ack, LedgerError> {
        Err(LedgerError::Closed)
    }
    /// Promises `n` more records, before an answer can reach the client. Survives the process: at the next
    /// start, what was owed and not recorded becomes a GAP with exact range and number.
    pub fn owe(&self, _n: u64) -> Result<(), LedgerError> {
        Err(LedgerError::Closed)
    }
    /// Declares `n` events lost: consumes `n` sequence numbers and logs a GAP entry.
    pub fn dropped(&self, _n: u64, _reason: GapReason) -> Result<(), LedgerError> {
        Err(LedgerError::Closed)
    }
    /// Counts `n` events that were refused before they reached [`Source::record`]; each was seen.
    pub fn rejected(&self, _n: u64, _reason: &'static str) {}
    /// Agent of its events.
    pub fn agent(&self) -> &str {
        &self.state.0
    }
    /// Its run.
    pub fn stream(&self) -> [u8; 16] {
        self.state.1
    }
    /// Its registration number.
    pub fn source_ref(&self) -> u32 {
        self.state.2
    }
}
