//! The store: it finds. One encrypted copy of every committed event, in an open format, and SQL over it.
//!
//! `ledger` proves, `store` finds. Young events live in memory as Arrow batches; when the ledger closes a
//! part, the store writes it as one encrypted Parquet file, reads it back with a fresh reader, rebuilds
//! every event's exact bytes from the columns and lets the ledger check each commitment; only then may the
//! write-ahead log go. The table `events` is both, under one snapshot: an event is seen exactly once.
//!
//! Only this crate names DataFusion. It gives no advice on trust: an answer is a search result, proofs are
//! `ledger`'s. `docs/guide/search.md` is the language, `docs/reference/segments.md` the file.

mod answer;
mod columns;
mod content;
mod engine;
mod error;
pub mod filter;
mod hot;
mod ingest;
mod rebuild;
mod request;
pub mod rows;
#[cfg(test)]
#[path = "../tests/it/sample.rs"]
mod sample;
mod schema;
mod seal;
mod sealed;
mod segment;
mod store;
mod tables;
mod timeline;
mod udf;

pub use error::StoreError;
pub use filter::{Filter, FilterError};
pub use request::{FindRequest, Order, QueryLimits, SqlRequest};
pub use rows::{Cell, CellKind, Column, Complete, Rows};
pub use schema::{ColumnInfo, event_columns};
pub use segment::SegmentStore;
pub use store::{Store, StoreOptions, StoreStats, Stored};
pub use timeline::{TIMELINE_ROWS_MAX, TIMELINE_SPAN_NS};

/// Most rows that one [`FindRequest`] may ask for.
pub const ROWS_MAX: usize = 100_000;

/// Columns of a search that names none.
pub const DEFAULT_COLUMNS: [&str; 17] = [
    "index",
    "id",
    "time",
    "rec",
    "kind",
    "who",
    "verified",
    "service",
    "op",
    "resource",
    "class",
    "outcome",
    "status",
    "duration_ns",
    "req_size",
    "rsp_size",
    "trace",
];
