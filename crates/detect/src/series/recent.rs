//! The last values of a series, in the order they came and in order of size.
//!
//! Invariants: both hold the same values, `max` at most; all are finite; quantiles are exact. A step takes a binary search
//! and a move of at most `max` values.

use std::collections::VecDeque;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    max: usize,
    came: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Recent {
    pub(super) fn new(max: usize) -> Recent {
        Recent { max: max.max(1), came: VecDeque::new(), sorted: Vec::new() }
    }

    /// Takes in a value; the oldest goes when there are too many. What is no number is not taken in.
    pub(super) fn push(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        // Zero has two signs, which would be told apart.
        let value = if value == 0.0 { 0.0 } else { value };
        if self.came.len() >= self.max
            && let Some(oldest) = self.came.pop_front()
        {
            let at = self.sorted.partition_point(|have| *have < oldest);
            if at < self.sorted.len() {
                self.sorted.remove(at);
            }
        }
        self.came.push_back(value);
        let at = self.sorted.partition_point(|have| *have < value);
        self.sorted.insert(at, value);
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The value below which the share `q` lies; `None` of nothing.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        self.sorted.get((last as f64 * q.clamp(0.0, 1.0)) as usize).copied()
    }

    /// The largest but `rank` others.
    pub(super) fn largest(&self, rank: usize) -> Option<f64> {
        let at = self.sorted.len().checked_sub(rank + 1)?;
        self.sorted.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_sorted_end_of_the_list(values in proptest::collection::vec(-9i32..9, 1..200), max in 1usize..40) {
            let mut recent = Recent::new(max);
            for (n, value) in values.iter().enumerate() {
                recent.push(f64::from(*value) / 2.0);
                let mut want: Vec<f64> =
                    values[..=n].iter().rev().take(max).map(|value| f64::from(*value) / 2.0).collect();
                want.sort_by(f64::total_cmp);
                prop_assert_eq!(&recent.sorted, &want);
                prop_assert_eq!(recent.quantile(0.5), Some(want[(want.len() - 1) / 2]));
                prop_assert_eq!(recent.largest(0), want.last().copied());
            }
        }
    }
}
