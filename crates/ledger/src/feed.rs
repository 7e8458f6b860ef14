//! Readers (stub).
use crate::{Feed, LedgerError};
use std::time::Duration;

/// A cursor into the ledger; any number of them, on any thread.
pub struct Reader {
    next: u64,
}

impl Reader {
    pub(crate) fn stub(next: u64) -> Reader {
        Reader { next }
    }
    /// The next piece; `None` after `timeout` without news, or at once for a read-only ledger at its end.
    pub fn next(&mut self, _timeout: Duration) -> Result<Option<Feed>, LedgerError> {
        Err(LedgerError::Closed)
    }
    /// Leaf index of the next record.
    pub fn position(&self) -> u64 {
        self.next
    }
}
