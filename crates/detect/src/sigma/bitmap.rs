//! Sets of rows of a batch.
//!
//! Invariant: bits beyond the batch's rows are never set.

/// Which rows of a batch hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    rows: usize,
}

impl Bitmap {
    pub(crate) fn empty(rows: usize) -> Bitmap {
        Bitmap { words: vec![0; rows.div_ceil(64)], rows }
    }

    pub(crate) fn set(&mut self, row: usize) {
        if let Some(word) = self.words.get_mut(row / 64) {
            *word |= 1 << (row % 64);
        }
    }

    #[cfg(test)]
    pub(crate) fn holds(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub(crate) fn and(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    pub(crate) fn or(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    pub(crate) fn not(&mut self) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        let spare = self.words.len() * 64 - self.rows;
        if let Some(last) = self.words.last_mut() {
            *last &= u64::MAX >> spare;
        }
    }

    /// The rows, ascending.
    pub(crate) fn rows(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros() as usize;
                (word != 0).then(|| {
                    word &= word - 1;
                    at * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bitmap_is_a_set_of_rows(rows in 1usize..300, a in prop::collection::btree_set(0usize..300, 0..50),
            b in prop::collection::btree_set(0usize..300, 0..50)) {
            let of = |set: &std::collections::BTreeSet<usize>| {
                let mut map = Bitmap::empty(rows);
                set.iter().filter(|row| **row < rows).for_each(|row| map.set(*row));
                map
            };
            let list = |f: &dyn Fn(usize) -> bool| (0..rows).filter(|row| f(*row)).collect::<Vec<_>>();
            let (left, right) = (of(&a), of(&b));
            let mut and = left.clone();
            and.and(&right);
            prop_assert_eq!(and.rows().collect::<Vec<_>>(), list(&|r| a.contains(&r) && b.contains(&r)));
            let mut or = left.clone();
            or.or(&right);
            prop_assert_eq!(or.rows().collect::<Vec<_>>(), list(&|r| a.contains(&r) || b.contains(&r)));
            let mut not = left.clone();
            not.not();
            prop_assert_eq!(not.rows().collect::<Vec<_>>(), list(&|r| !a.contains(&r)));
            prop_assert!((0..rows).all(|row| left.holds(row) == a.contains(&row)));
        }
    }
}
