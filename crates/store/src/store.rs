//! stub
use crate::*;
use countersign_event::{Entry, Event, Frame};
use countersign_ledger::{Committed, Ledger};
use futures::future::BoxFuture;
use std::path::Path;
use std::time::Duration;

/// One leaf and its content.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Leaf index.
    pub index: u64,
    /// The logged entry.
    pub entry: Entry,
    /// The event; `None` for another kind of entry.
    pub event: Option<Event>,
    /// The event's exact bytes.
    pub frame: Option<Frame>,
    /// Body of an entry that is no event.
    pub body: Option<Vec<u8>>,
}

/// How to open a store.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// Threads that answer queries; 0 = 2.
    pub query_threads: usize,
}

/// An open store. A cheap handle.
#[derive(Clone)]
pub struct Store {}

type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

impl Store {
    /// Opens the store of a ledger.
    pub fn open(_dir: &Path, _ledger: Ledger, _options: StoreOptions) -> Result<Store, StoreError> {
        Err(StoreError::Closed)
    }
    /// First index that cannot be queried yet.
    pub fn visible(&self) -> u64 {
        0
    }
    /// Waits until every index below `size` can be queried.
    pub fn wait_visible(&self, _size: u64, _timeout: Duration) -> bool {
        false
    }
    /// Answers a question in SQL.
    pub fn sql(&self, _request: SqlRequest) -> Answer<Rows> {
        Box::pin(async { Err(StoreError::Closed) })
    }
    /// Searches by filter.
    pub fn find(&self, _request: FindRequest) -> Answer<Rows> {
        Box::pin(async { Err(StoreError::Closed) })
    }
    /// Counts what matches, grouped by columns, largest group first, at most `top` groups.
    pub fn count_by(&self, _request: FindRequest, _by: Vec<String>, _top: usize) -> Answer<Rows> {
        Box::pin(async { Err(StoreError::Closed) })
    }
    /// Counts what matches.
    pub fn count(&self, _request: FindRequest) -> Answer<u64> {
        Box::pin(async { Err(StoreError::Closed) })
    }
    /// The SQL that a search runs.
    pub fn explain_filter(&self, _filter: &str) -> Result<String, StoreError> {
        Err(StoreError::Closed)
    }
    /// One leaf and its content, checked against its commitment.
    pub fn get(&self, _index: u64) -> Result<Option<Stored>, StoreError> {
        Err(StoreError::Closed)
    }
    /// Index of the event with this id.
    pub fn find_eid(&self, _eid: [u8; 16]) -> Result<Option<u64>, StoreError> {
        Err(StoreError::Closed)
    }
    /// Leaves `from..to` and their contents.
    pub fn scan(&self, _from: u64, _to: u64) -> Result<Vec<Committed>, StoreError> {
        Err(StoreError::Closed)
    }
    /// Stops sealing and queries.
    pub fn shutdown(&self) {}
}

/// Reads segment files for the checker.
pub struct SegmentStore {}
impl SegmentStore {
    /// Of this data directory.
    pub fn new(_dir: &Path) -> SegmentStore {
        SegmentStore {}
    }
}
impl countersign_ledger::SegmentRows for SegmentStore {
    fn rows(
        &self,
        _segment: &countersign_ledger::SegmentInfo,
        _key: &countersign_ledger::SegmentKey,
    ) -> Result<countersign_ledger::fsck::Rows<'_>, String> {
        Err("not yet".to_owned())
    }
}
