//! Ids of proofs that were used, until the proofs expire.
//!
//! Not a clock and not a store that survives a restart: proofs live for minutes. Invariants: an id is accepted
//! once while it is kept; at most `max_bytes` are used; when they are, new proofs are refused rather than old
//! ones forgotten, since forgetting would let a repeated message through.

use crate::refusal::{FailureKind, Refusal};
use crate::text::sha256;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// Bytes of memory for ids, when the configuration says nothing.
pub(crate) const REPLAY_MAX_BYTES: usize = 64 << 20;
/// Bytes that one id is counted as: 16 of it, and its share of a table that may be half empty.
const ENTRY_BYTES: usize = 48;
/// Ids that expire within the same slot are forgotten together, seconds.
const SLOT_S: i64 = 30;
/// An id is kept for this long at most, seconds; proofs that live longer are refused elsewhere.
const KEPT_MAX_S: i64 = 3_600;

/// See the module's documentation.
pub(crate) struct Replay {
    max_entries: usize,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    /// By the number of the slot in which they expire.
    used: BTreeMap<i64, HashSet<[u8; 16]>>,
    entries: usize,
}

impl Replay {
    pub(crate) fn new(max_bytes: usize) -> Replay {
        Replay { max_entries: (max_bytes / ENTRY_BYTES).max(1), slots: Mutex::default() }
    }

    /// Notes the use of a proof by `kind`, its owner and its id; `expires_s` is when it stops being accepted.
    pub(crate) fn first_use(&self, parts: [&[u8]; 3], expires_s: i64, now_s: i64) -> Result<(), Refusal> {
        let mut message = Vec::new();
        for part in parts {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&sha256(&message)[..16]);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.forget(now_s);
        if slots.used.values().any(|slot| slot.contains(&id)) {
            return Err(Refusal::new(FailureKind::Replay, "it was used before (replay)"));
        }
        if slots.entries >= self.max_entries {
            return Err(Refusal::new(
                FailureKind::Exhausted,
                "so many proofs are in use that a repeated one could not be told; raise replay_bytes",
            ));
        }
        let expires_s = expires_s.clamp(now_s, now_s.saturating_add(KEPT_MAX_S));
        slots.used.entry(expires_s / SLOT_S).or_default().insert(id);
        slots.entries += 1;
        Ok(())
    }

    /// Bytes in use, as they are counted.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).entries * ENTRY_BYTES
    }
}

impl Slots {
    fn forget(&mut self, now_s: i64) {
        while let Some(slot) = self.used.first_entry() {
            if *slot.key() >= now_s / SLOT_S {
                return;
            }
            self.entries -= slot.remove().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> [u8; 8] {
        n.to_be_bytes()
    }

    #[test]
    fn an_id_counts_once_for_its_owner_until_it_expires() {
        let replay = Replay::new(1 << 20);
        let uses =
            |owner: &[u8], now_s: i64| replay.first_use([b"dpop", owner, b"j"], now_s + 60, now_s).is_ok();
        assert!(uses(b"a", 1_000));
        assert!(!uses(b"a", 1_000) && !uses(b"a", 1_059));
        assert!(uses(b"b", 1_000));
        assert!(uses(b"a", 1_100), "it could not have been accepted any more");
    }

    #[test]
    fn parts_are_not_run_together() {
        let replay = Replay::new(1 << 20);
        assert!(replay.first_use([b"k", b"ab", b"c"], 60, 0).is_ok());
        assert!(replay.first_use([b"k", b"a", b"bc"], 60, 0).is_ok());
    }

    #[test]
    fn a_full_memory_refuses_new_ids_forgets_none_and_recovers() {
        let replay = Replay::new(ENTRY_BYTES * 100);
        for n in 0..100 {
            assert!(replay.first_use([b"k", b"o", &id(n)], 60, 0).is_ok());
        }
        assert_eq!(replay.bytes(), ENTRY_BYTES * 100);
        let refused = replay.first_use([b"k", b"o", &id(100)], 60, 0).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Exhausted);
        assert_eq!(replay.first_use([b"k", b"o", &id(0)], 60, 0).unwrap_err().kind, FailureKind::Replay);
        assert!(replay.first_use([b"k", b"o", &id(100)], 200, 120).is_ok());
        assert_eq!(replay.bytes(), ENTRY_BYTES);
    }
}
