//! A ledger and its store in a temporary directory.

use countersign_event::Event;
use countersign_ledger::{Kek, Ledger, Limits, Options, Source, SourceSpec};
use countersign_store::{Cell, FindRequest, Rows, SqlRequest, Store, StoreOptions};
use std::path::Path;
use std::time::Duration;

pub const LONG: Duration = Duration::from_secs(60);

pub fn kek() -> Kek {
    Kek::from_bytes([42; 32])
}

/// A ledger with small parts, its store, and one source.
pub struct House {
    pub ledger: Ledger,
    pub store: Store,
    pub source: Source,
}

impl House {
    pub fn open(dir: &Path, run: u8, part_leaves: u64) -> House {
        let mut options = Options::new("example.org/test/1");
        options.limits = Limits { part_leaves, ..Limits::default() };
        let (ledger, _) = Ledger::open(dir, kek(), options).unwrap();
        let store = Store::open(dir, ledger.clone(), StoreOptions::default()).unwrap();
        let spec = SourceSpec { identity: "spiffe://example.org/gw".to_owned(), stream: [run; 16] };
        let source = ledger.register(spec).unwrap();
        House { ledger, store, source }
    }

    /// Records and waits until they are visible.
    pub fn record(&self, events: Vec<Event>) -> u64 {
        let ack = self.source.record_wait(events).unwrap();
        assert!(ack.rejected.is_empty(), "{:?}", ack.rejected);
        assert!(self.store.wait_visible(ack.first + ack.count, LONG));
        ack.first
    }

    pub fn seal_all(&self) {
        let size = self.ledger.size();
        self.ledger.close_part().unwrap();
        assert!(self.store.wait_sealed(size, LONG), "{:?}", self.store.stats());
    }

    pub fn close(self) {
        self.store.shutdown();
        self.ledger.shutdown().unwrap();
    }
}

pub fn sql(store: &Store, text: &str) -> Rows {
    futures::executor::block_on(store.sql(SqlRequest::new(text)))
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}
pub fn sql_error(store: &Store, text: &str) -> String {
    futures::executor::block_on(store.sql(SqlRequest::new(text))).unwrap_err().to_string()
}
pub fn number(store: &Store, text: &str) -> i64 {
    match sql(store, text).rows[0][0] {
        Cell::Int(n) => n,
        ref other => panic!("{text}: {other:?}"),
    }
}
pub fn find(store: &Store, request: FindRequest) -> Rows {
    let text = request.filter.clone();
    let sql = store.explain_filter(&text);
    futures::executor::block_on(store.find(request))
        .unwrap_or_else(|error| panic!("{text}: {error}\n{sql:?}"))
}
pub fn indexes(rows: &Rows) -> Vec<u64> {
    let index = |row| match rows.get(row, "index") {
        Some(Cell::Int(n)) => *n as u64,
        other => panic!("{other:?}"),
    };
    (0..rows.rows.len()).map(index).collect()
}
