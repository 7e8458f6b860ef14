//! What can be asked, and the bounds of an answer.

use std::time::Duration;

/// Bounds of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Longest run.
    pub time: Duration,
    /// Most memory, in MiB.
    pub memory_mib: usize,
    /// Most rows in the answer; more are cut and `complete.truncated` says so.
    pub rows: usize,
}

impl Default for QueryLimits {
    fn default() -> QueryLimits {
        QueryLimits { time: Duration::from_secs(30), memory_mib: 512, rows: 100_000 }
    }
}

/// A question in SQL: one `SELECT` or `EXPLAIN`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlRequest {
    /// The statement.
    pub text: String,
    /// Answer as of this ledger size; default now.
    pub at: Option<u64>,
    /// Bounds.
    pub limits: QueryLimits,
}

impl SqlRequest {
    /// A question as of now, with the default bounds.
    pub fn new(text: impl Into<String>) -> SqlRequest {
        SqlRequest { text: text.into(), ..SqlRequest::default() }
    }
}

/// Order of found events, by ledger index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Largest index first.
    #[default]
    NewestFirst,
    /// Smallest index first.
    OldestFirst,
}

/// A search by filter (`docs/guide/search.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindRequest {
    /// The filter; empty finds everything.
    pub filter: String,
    /// Events at or after this time, UTC ns.
    pub from_ns: Option<i64>,
    /// Events before this time, UTC ns.
    pub to_ns: Option<i64>,
    /// Answer as of this ledger size; default now.
    pub at: Option<u64>,
    /// Order by index.
    pub order: Order,
    /// Only events with a smaller index.
    pub before: Option<u64>,
    /// Only events with a larger index.
    pub after: Option<u64>,
    /// Most rows, 1 to [`crate::ROWS_MAX`].
    pub limit: usize,
    /// Columns of the answer; default [`crate::DEFAULT_COLUMNS`].
    pub columns: Option<Vec<String>>,
    /// Bounds.
    pub limits: QueryLimits,
}

impl Default for FindRequest {
    fn default() -> FindRequest {
        FindRequest {
            filter: String::new(),
            from_ns: None,
            to_ns: None,
            at: None,
            order: Order::NewestFirst,
            before: None,
            after: None,
            limit: 50,
            columns: None,
            limits: QueryLimits::default(),
        }
    }
}

impl FindRequest {
    /// The newest events that match `filter`.
    pub fn new(filter: impl Into<String>) -> FindRequest {
        FindRequest { filter: filter.into(), ..FindRequest::default() }
    }
}
