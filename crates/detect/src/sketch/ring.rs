//! How many in the last five minutes: counts of ten seconds each, at event time.
//!
//! A sliding window with a border of ten seconds, not a fixed one: what falls on a border is not missed. Invariants:
//! 72 bytes; what is older than the window is not counted; a clock that jumps ahead empties it.

use crate::bytes::{Reader, Saved, Writer};

/// Length of a slot, ns.
const SLOT_NS: i64 = 10_000_000_000;
/// Slots kept: five minutes.
const SLOTS: usize = 30;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ring {
    /// Number of the newest slot.
    newest: i64,
    counts: [u16; SLOTS],
    sum: u32,
}

impl Ring {
    /// Counts `many` at `at_ns`; whether that was within the window.
    pub(crate) fn add(&mut self, at_ns: i64, many: u64) -> bool {
        let slot = at_ns.div_euclid(SLOT_NS);
        if slot > self.newest {
            self.turn(slot);
        }
        if self.newest.saturating_sub(slot) >= SLOTS as i64 {
            return false;
        }
        if let Some(count) = self.counts.get_mut(slot.rem_euclid(SLOTS as i64) as usize) {
            let many = u16::try_from(many).unwrap_or(u16::MAX).min(u16::MAX - *count);
            *count += many;
            self.sum += u32::from(many);
        }
        true
    }

    fn turn(&mut self, slot: i64) {
        if slot.saturating_sub(self.newest) >= SLOTS as i64 {
            (self.counts, self.sum) = ([0; SLOTS], 0);
        } else {
            for gone in self.newest + 1..=slot {
                if let Some(count) = self.counts.get_mut(gone.rem_euclid(SLOTS as i64) as usize) {
                    self.sum -= u32::from(*count);
                    *count = 0;
                }
            }
        }
        self.newest = slot;
    }

    /// In all of the window.
    pub(crate) fn all(&self) -> u32 {
        self.sum
    }

    /// In the newest `slots` slots, and the most in one of them.
    pub(crate) fn last(&self, slots: usize) -> (u32, u32) {
        let counts = (0..slots.min(SLOTS) as i64).map(|back| {
            let at = (self.newest - back).rem_euclid(SLOTS as i64) as usize;
            u32::from(self.counts.get(at).copied().unwrap_or(0))
        });
        counts.fold((0, 0), |(sum, most), count| (sum + count, most.max(count)))
    }
}

impl Saved for Ring {
    const MIN_BYTES: usize = 8 + 2 * SLOTS;

    fn write(&self, out: &mut Writer) {
        out.i64(self.newest);
        self.counts.iter().for_each(|count| out.u16(*count));
    }

    fn read(from: &mut Reader<'_>) -> Option<Ring> {
        let mut ring = Ring { newest: from.i64()?, ..Ring::default() };
        for count in &mut ring.counts {
            *count = from.u16()?;
            ring.sum += u32::from(*count);
        }
        Some(ring)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_counts_what_a_list_of_all_times_counts(steps in proptest::collection::vec((0i64..40, 1u64..4), 1..200)) {
            let (mut ring, mut list, mut now) = (Ring::default(), Vec::new(), 1_000_000i64);
            for (step, many) in steps {
                now += step;
                let at = now - step / 3;
                ring.add(at * 1_000_000_000, many);
                list.push((at / 10, many));
                let newest = list.iter().map(|(slot, _)| *slot).max().unwrap();
                for (slots, got) in [(30, ring.all()), (6, ring.last(6).0)] {
                    let want: u64 = list.iter().filter(|(slot, _)| newest - slot < slots).map(|(_, n)| n).sum();
                    prop_assert_eq!(u64::from(got), want);
                }
            }
            let mut out = Writer::new();
            ring.write(&mut out);
            let bytes = out.done();
            prop_assert_eq!(Ring::read(&mut Reader::new(&bytes)), Some(ring));
        }
    }
}
