//! Which of the last 64 were so: a shift register, and how surprising it is against a usual share.
//!
//! By number, not by time: it says the same of an edge with ten calls an hour and of one with a thousand a second.
//! Invariant: 9 bytes; the newest is bit 0.

use super::tail::binomial_nats;
use crate::bytes::{Reader, Saved, Writer};

/// Shares of a run of the newest that are looked at.
const RUNS: [u32; 6] = [5, 6, 8, 16, 32, 64];

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastBits {
    bits: u64,
    filled: u8,
}

/// `hits` of the newest `of` were so; `nats` of surprise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) hits: u32,
    pub(crate) of: u32,
    pub(crate) nats: f64,
}

impl LastBits {
    pub(crate) fn push(&mut self, so: bool) {
        self.bits = self.bits << 1 | u64::from(so);
        self.filled = self.filled.saturating_add(1).min(64);
    }

    /// How many of the newest `of` were so, as far as there are so many.
    pub(crate) fn hits(&self, of: u32) -> u32 {
        let mask = if of >= 64 { u64::MAX } else { (1 << of) - 1 };
        (self.bits & mask).count_ones()
    }

    /// The run that is the most surprising where a share of `usual` is so.
    pub(crate) fn most_surprising(&self, usual: f64) -> Run {
        let of = |of: u32| {
            let hits = self.hits(of);
            Run { hits, of, nats: binomial_nats(u64::from(hits), u64::from(of), usual) }
        };
        let filled = RUNS.iter().filter(|run| **run <= u32::from(self.filled));
        let none = Run { hits: 0, of: 0, nats: 0.0 };
        filled.map(|run| of(*run)).fold(none, |best, run| if run.nats > best.nats { run } else { best })
    }
}

impl Saved for LastBits {
    const MIN_BYTES: usize = 9;

    fn write(&self, out: &mut Writer) {
        out.u64(self.bits);
        out.u8(self.filled);
    }

    fn read(from: &mut Reader<'_>) -> Option<LastBits> {
        Some(LastBits { bits: from.u64()?, filled: from.u8().filter(|n| *n <= 64)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_filled_is_not_judged() {
        let mut bits = LastBits::default();
        (0..4).for_each(|_| bits.push(true));
        assert_eq!(bits.most_surprising(0.01).of, 0);
        (0..4).for_each(|_| bits.push(true));
        let run = bits.most_surprising(0.01);
        assert_eq!((run.hits, run.of), (8, 8));
        assert!(run.nats > 36.0);
    }

    proptest! {
        #[test]
        fn it_counts_what_a_list_counts(pushed in proptest::collection::vec(any::<bool>(), 0..200), of in 1u32..65) {
            let mut bits = LastBits::default();
            pushed.iter().for_each(|so| bits.push(*so));
            let want = pushed.iter().rev().take(of as usize).filter(|so| **so).count();
            prop_assert_eq!(bits.hits(of) as usize, want);
            let mut out = Writer::new();
            bits.write(&mut out);
            let bytes = out.done();
            prop_assert_eq!(LastBits::read(&mut Reader::new(&bytes)), Some(bits));
        }
    }
}
