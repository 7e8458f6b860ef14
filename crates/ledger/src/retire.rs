//! Contents that leave this log for good: RETIRE is logged first, and only once it is signed the write-ahead log lets
//! go of them. Entries, tiles, own bodies and proofs stay.
//!
//! For a log whose contents are kept elsewhere (an edge that shipped them). Contents that were sealed belong to the
//! store and are not retired here.

use crate::core::lock;
use crate::sequencer::sequence::append_own;
use crate::{Ledger, LedgerError, RetiredInfo};
use countersign_event::EntryKind;
use countersign_proof::body::Retire;
use countersign_proof::{Hash, merkle_root};

/// Level of a RETIRE entry: contents only.
const CONTENTS: u64 = 0;

impl Ledger {
    /// Logs that the contents of the closed, unsealed part `first..end` go, by the policy of this name; durable on
    /// return, gives the entry's leaf index. Once that is signed, the write-ahead log below the oldest part that is
    /// neither sealed nor retired is recycled, and readers are told by [`crate::Feed::Missed`]. There is no way back.
    ///
    /// # Errors
    /// [`LedgerError::NotFound`] if there is no such part, it is open, sealed or retired already; what stopped the
    /// ledger, if it was stopped.
    pub fn retire(&self, first: u64, end: u64, policy: &str) -> Result<u64, LedgerError> {
        self.core.check_writable()?;
        if !self.unsealed().contains(&(first, Some(end))) {
            return Err(LedgerError::NotFound { what: "closed part", index: first });
        }
        let root = range_root(&self.entries(first, end)?);
        // There are no legal holds in this version: none covers the range.
        let body = Retire { policy: policy.to_owned(), first, end, root, level: CONTENTS, no_hold: true };
        append_own(&self.core, EntryKind::Retire, body.encode())
    }

    /// Ranges whose contents were retired, by first leaf.
    pub fn retired(&self) -> Vec<RetiredInfo> {
        lock(&self.core.registry).retired()
    }
}

/// RFC 6962 hash of a list of entries.
pub(crate) fn range_root(entries: &[countersign_event::Entry]) -> Hash {
    let leaves: Vec<Hash> = entries.iter().map(countersign_event::Entry::leaf).collect();
    merkle_root(&leaves)
}
