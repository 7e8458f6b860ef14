//! The one error of this crate. Every variant says what failed and what to do next; `code` is the word
//! that the HTTP API and the command line print.

use crate::filter::FilterError;
use countersign_ledger::LedgerError;

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The filter cannot be read; nothing was run.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The SQL cannot be read or planned; nothing was run.
    #[error("sql: {message}{}", did_you_mean(.suggestions))]
    Sql {
        /// What the parser or planner says.
        message: String,
        /// Nearest names, best first.
        suggestions: Vec<String>,
    },
    /// A statement that changes something, or reads outside the ledger.
    #[error("sql: {0} is not allowed here: ask with one SELECT or EXPLAIN")]
    NotAllowed(String),
    /// A request that contradicts itself or breaks a bound.
    #[error("{0}")]
    Request(String),
    /// The time limit was reached.
    #[error("the query ran longer than {seconds} s and was stopped: narrow the time range or add a filter")]
    Timeout {
        /// The limit, in seconds.
        seconds: u64,
    },
    /// The memory limit was reached.
    #[error("the query needs more than {mib} MiB: narrow the time range, or group by fewer columns")]
    TooMuchMemory {
        /// The limit, in MiB.
        mib: usize,
    },
    /// Too many queries at once.
    #[error("{running} queries are running, which is the limit: wait for one to end and try again")]
    TooMany {
        /// Queries running.
        running: usize,
    },
    /// Bytes on disk do not verify. Nothing of them is returned.
    #[error("integrity: {what}: stop trusting this data directory and run `countersign fsck`")]
    Integrity {
        /// The file or the index, and what differs.
        what: String,
    },
    /// The contents were removed from this log, and an entry of it says so.
    #[error(
        "the contents of leaf {index} were retired (entry {entry}): its entry and its proof are here, its contents \
             are where they were shipped or archived"
    )]
    Retired {
        /// The leaf.
        index: u64,
        /// The RETIRE entry.
        entry: u64,
    },
    /// A segment cannot be read or written.
    #[error("segment {file}: {what}: check the disk, then run `countersign fsck`")]
    Segment {
        /// File name inside the data directory.
        file: String,
        /// What failed.
        what: String,
    },
    /// The ledger refused or failed.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// The store is shutting down.
    #[error("the store is shutting down: start countersign again")]
    Closed,
    /// The query engine failed in a way it should not.
    #[error("query: {0}")]
    Engine(String),
}

impl StoreError {
    /// The error's code in the API (`interface.md` section 11).
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::Filter(error) => error.code(),
            StoreError::Sql { .. } | StoreError::NotAllowed(_) => "query-syntax",
            StoreError::Request(_) => "bad-value",
            StoreError::Timeout { .. } => "timeout",
            StoreError::TooMuchMemory { .. } => "too-much-memory",
            StoreError::TooMany { .. } => "too-many",
            StoreError::Integrity { .. } => "integrity",
            StoreError::Retired { .. } => "retired",
            StoreError::Closed => "degraded",
            StoreError::Segment { .. } | StoreError::Ledger(_) | StoreError::Engine(_) => "internal",
        }
    }
}

/// `: did you mean …?`, or nothing.
pub(crate) fn did_you_mean(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!(
            ": did you mean {}?",
            names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")
        ),
    }
}

/// Names among `all` that look like `name`, best first, at most three.
pub(crate) fn nearest<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(usize, &str)> = all
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(d, c)| *d <= c.len().div_ceil(3))
        .collect();
    scored.sort();
    scored.dedup();
    scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Edits between two names, a swap of neighbours counting one (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_name_that_was_meant() {
        assert_eq!(nearest("idenity", ["identity", "index", "issuer"].into_iter()), ["identity"]);
        assert_eq!(nearest("staus", ["status", "stream"].into_iter()), ["status"]);
        assert!(nearest("zzzzzz", ["status"].into_iter()).is_empty());
    }
}
