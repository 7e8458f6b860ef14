//! Repeats of one matter raise a count instead of ringing again.
//!
//! Invariants: bounded; what is forgotten at the bound can only ring once more, never be lost.

use std::collections::HashMap;

/// Most matters remembered.
const MATTERS_MAX: usize = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Matter {
    /// When somebody was last told, Unix ns.
    told_ns: u64,
    /// Repeats since then.
    repeats: u64,
}

/// What to do with a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Tell, and how many repeats were merged since the last time.
    Tell { repeats: u64 },
    /// Somebody was told of the same matter not long ago.
    Merge,
}

/// The matters of late.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Merge {
    matters: HashMap<[u8; 16], Matter>,
}

impl Merge {
    pub(crate) fn judge(&mut self, fingerprint: [u8; 16], now_ns: u64, repeat_ns: u64) -> Verdict {
        if let Some(matter) = self.matters.get_mut(&fingerprint) {
            if now_ns.saturating_sub(matter.told_ns) < repeat_ns {
                matter.repeats += 1;
                return Verdict::Merge;
            }
            let repeats = matter.repeats;
            *matter = Matter { told_ns: now_ns, repeats: 0 };
            return Verdict::Tell { repeats };
        }
        if self.matters.len() >= MATTERS_MAX {
            self.forget();
        }
        self.matters.insert(fingerprint, Matter { told_ns: now_ns, repeats: 0 });
        Verdict::Tell { repeats: 0 }
    }

    /// Lets the sixteenth part go of which people were told the longest ago.
    fn forget(&mut self) {
        let mut all: Vec<_> = self.matters.iter().map(|(key, matter)| (matter.told_ns, *key)).collect();
        let leaving = MATTERS_MAX / 16;
        all.select_nth_unstable(leaving - 1);
        for (_, key) in &all[..leaving] {
            self.matters.remove(key);
        }
    }

    /// Version 1, then 32 bytes a matter.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![1];
        for (key, matter) in &self.matters {
            out.extend_from_slice(key);
            out.extend_from_slice(&matter.told_ns.to_be_bytes());
            out.extend_from_slice(&matter.repeats.to_be_bytes());
        }
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Merge> {
        let matters = bytes.strip_prefix(&[1])?;
        if !matters.len().is_multiple_of(32) || matters.len() / 32 > MATTERS_MAX {
            return None;
        }
        let matter = |chunk: &[u8]| {
            let (key, rest) = chunk.split_first_chunk::<16>()?;
            let (told, rest) = rest.split_first_chunk::<8>()?;
            let repeats = u64::from_be_bytes(*rest.first_chunk::<8>()?);
            Some((*key, Matter { told_ns: u64::from_be_bytes(*told), repeats }))
        };
        Some(Merge { matters: matters.chunks_exact(32).map(matter).collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_within_the_time_are_merged_and_told_with_the_next() {
        let mut merge = Merge::default();
        assert_eq!(merge.judge([1; 16], 100, 50), Verdict::Tell { repeats: 0 });
        assert_eq!(merge.judge([1; 16], 149, 50), Verdict::Merge);
        assert_eq!(merge.judge([1; 16], 149, 50), Verdict::Merge);
        assert_eq!(merge.judge([2; 16], 149, 50), Verdict::Tell { repeats: 0 });
        assert_eq!(merge.judge([1; 16], 150, 50), Verdict::Tell { repeats: 2 });
        assert_eq!(Merge::from_bytes(&merge.to_bytes()), Some(merge));
    }

    #[test]
    fn a_storm_of_matters_stays_bounded_and_the_latest_stay_merged() {
        let mut merge = Merge::default();
        for n in 0..40_000u128 {
            merge.judge(n.to_be_bytes(), n as u64, u64::MAX);
            assert!(merge.matters.len() <= MATTERS_MAX);
        }
        assert_eq!(merge.judge(39_999u128.to_be_bytes(), 40_000, u64::MAX), Verdict::Merge);
    }
}
