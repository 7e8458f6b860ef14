//! Numbers from the seed: SplitMix64, so that one seed tells one story. Never used for keys.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The stream of a seed; `purpose` keeps two streams of one seed apart.
    pub(super) fn new(seed: u64, purpose: u64) -> Random {
        let mut random = Random(seed ^ purpose.wrapping_mul(0xa076_1d64_78bd_642f));
        random.next();
        random
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `from..to`; `from` when the range is empty.
    pub(super) fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % to.saturating_sub(from).max(1)
    }

    /// Puts a list into an order of its own.
    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = self.range(0, last as u64 + 1) as usize;
            list.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_each_time_and_another_seed_others() {
        let numbers = |seed, purpose| {
            let mut random = Random::new(seed, purpose);
            std::array::from_fn::<u64, 4, _>(|_| random.range(5, 1_000_000))
        };
        assert_eq!(numbers(7, 1), numbers(7, 1));
        assert_ne!(numbers(7, 1), numbers(8, 1));
        assert_ne!(numbers(7, 1), numbers(7, 2));
        assert!(numbers(7, 1).iter().all(|n| (5..1_000_000).contains(n)));
        assert_eq!(Random::new(1, 1).range(3, 3), 3);
    }
}
