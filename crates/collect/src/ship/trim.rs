//! Lets the edge's log go of what the core has, oldest first, so that an edge that is heard never fills up.
//!
//! Not a deletion on the core's word for a batch: only below the place up to which everything is durable there, whole
//! parts, and each after an entry of the edge's own log that says so. What is kept on purpose ([`Trim::keep`]) can be
//! offered again to a core that lost it, or to another one.

use countersign_ledger::{Ledger, LedgerError};
use std::time::{Duration, Instant};

/// What is kept by default although the core has it, bytes of write-ahead log.
pub const KEEP: u64 = 256 << 20;
/// Policy that the RETIRE entries name.
pub const POLICY: &str = "shipped to the core";
/// Between two looks: the log takes about that long to let go of what was retired.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Trim {
    /// Bytes of write-ahead log that stay although the core has them.
    keep: u64,
    looked: Option<Instant>,
}

impl Trim {
    pub(super) fn new(keep: u64) -> Trim {
        Trim { keep, looked: None }
    }

    /// Everything below `shipped` is durable at the core.
    pub(super) fn look(&mut self, ledger: &Ledger, shipped: u64) -> Result<(), LedgerError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        if ledger.stats().wal_bytes <= self.keep {
            return Ok(());
        }
        let closed: Vec<(u64, u64)> = ledger
            .unsealed()
            .into_iter()
            .filter_map(|(first, end)| Some((first, end.filter(|end| *end <= shipped)?)))
            .collect();
        // Parts differ in size: half of them, and what is too much still is seen at the next look.
        for (first, end) in closed.iter().take(closed.len().div_ceil(2)) {
            ledger.retire(*first, *end, POLICY)?;
            tracing::debug!(first, end, "retired: the core has it");
        }
        Ok(())
    }
}
