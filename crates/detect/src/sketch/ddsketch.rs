//! Quantiles of many numbers within 1 %: DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019) with the cubically
//! interpolated logarithm, collapsing its lowest bins.
//!
//! Not a histogram of a fixed range: bins exist where values were. Up to [`EXACT_MAX`] values are kept as they are and
//! their quantiles are exact. Invariants: a quantile is within [`RELATIVE_ERROR`] of the value of that rank, unless
//! that value lies in the lowest bin of a sketch that [collapsed](DdSketch::collapsed); at most [`BINS_MAX`] bins, so
//! about 5 KiB; the result is the same for any order of adding and merging and on any machine (only additions,
//! multiplications and comparisons: no logarithm of a system's library).

/// A quantile is at most this share away from the value of its rank.
pub const RELATIVE_ERROR: f64 = 0.01;
/// Most bins kept: 10 bytes each. Full they span a factor of 25,000 without a gap; a latency takes about 150.
pub const BINS_MAX: usize = 512;
/// Up to so many values are kept as they are, 8 bytes each.
pub const EXACT_MAX: usize = 64;
/// Smaller values count as zero: 2^-30.
pub const VALUE_MIN: f64 = 1.0 / 1_073_741_824.0;
/// Greater values count as this one: 2^60, 36 years in ns.
pub const VALUE_MAX: f64 = 1_152_921_504_606_846_976.0;

/// Bins for each doubling: 7 / (10 ln γ) rounded up, γ = 1.01 / 0.99, so that no bin is wider than γ.
const BINS_PER_OCTAVE: f64 = 35.0;
/// The cubic that stands for log2(1 + s) on [0, 1): its slope never falls below 10/7 of that of the logarithm.
const A: f64 = 6.0 / 35.0;
const B: f64 = -3.0 / 5.0;
const C: f64 = 10.0 / 7.0;
/// First byte of the written form.
const VERSION: u8 = 1;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DdSketch {
    /// Ascending; empty once there are bins.
    exact: Vec<f64>,
    zeros: u64,
    /// Ascending; `counts` has the number of values of each.
    indices: Vec<i16>,
    counts: Vec<u64>,
    count: u64,
    refused: u64,
    min: f64,
    max: f64,
    collapsed: bool,
}

impl DdSketch {
    /// Of nothing.
    pub fn new() -> DdSketch {
        DdSketch::default()
    }

    /// Adds a value. What is negative or not finite is counted in [`DdSketch::refused`] and nothing else.
    pub fn add(&mut self, value: f64) {
        self.add_many(value, 1);
    }

    /// Adds a value `times` times.
    pub fn add_many(&mut self, value: f64, times: u64) {
        if times == 0 {
            return;
        }
        if !value.is_finite() || value < 0.0 {
            self.refused = self.refused.saturating_add(times);
            return;
        }
        let value = value + 0.0; // of the two zeros the positive one
        (self.min, self.max) =
            if self.count == 0 { (value, value) } else { (self.min.min(value), self.max.max(value)) };
        if self.is_exact() && self.count.saturating_add(times) <= EXACT_MAX as u64 {
            let at = self.exact.partition_point(|v| *v < value);
            self.exact.splice(at..at, std::iter::repeat_n(value, times as usize));
        } else {
            self.spill();
            self.bin(value, times);
        }
        self.count = self.count.saturating_add(times);
    }

    /// Values added, without those refused.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Values that were negative or not finite.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The smallest value, exactly.
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    /// The greatest value, exactly.
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }

    /// Whether every value is kept as it is.
    pub fn is_exact(&self) -> bool {
        self.exact.len() as u64 == self.count
    }

    /// Whether small values had to share the lowest bin; quantiles above that bin keep their error.
    pub fn collapsed(&self) -> bool {
        self.collapsed
    }

    /// The value of rank `⌊q × (count − 1)⌋`, counted from 0 and upwards, within [`RELATIVE_ERROR`]; `None` of nothing
    /// and for a `q` outside 0 to 1.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let rank = (q * (self.count - 1) as f64) as u64;
        if self.is_exact() {
            return self.exact.get(rank as usize).copied();
        }
        let mut below = self.zeros;
        if rank < below {
            return Some(self.min.min(VALUE_MIN));
        }
        for (index, count) in self.indices.iter().zip(&self.counts) {
            below = below.saturating_add(*count);
            if rank < below {
                return Some(middle(*index).clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }

    /// Takes in all values of another.
    pub fn merge(&mut self, other: &DdSketch) {
        self.refused = self.refused.saturating_add(other.refused);
        if other.is_exact() {
            other.exact.iter().for_each(|value| self.add(*value));
            return;
        }
        self.spill();
        (self.min, self.max) = match self.count {
            0 => (other.min, other.max),
            _ => (self.min.min(other.min), self.max.max(other.max)),
        };
        self.zeros = self.zeros.saturating_add(other.zeros);
        self.collapsed |= other.collapsed;
        for (index, count) in other.indices.iter().zip(&other.counts) {
            self.insert(*index, *count);
        }
        self.count = self.count.saturating_add(other.count);
    }

    /// From values kept as they are to bins.
    fn spill(&mut self) {
        for value in std::mem::take(&mut self.exact) {
            self.bin(value, 1);
        }
    }

    fn bin(&mut self, value: f64, times: u64) {
        if value < VALUE_MIN {
            self.zeros = self.zeros.saturating_add(times);
        } else {
            self.insert(index(value.min(VALUE_MAX)), times);
        }
    }

    fn insert(&mut self, index: i16, times: u64) {
        match self.indices.binary_search(&index) {
            Ok(at) => self.counts[at] = self.counts[at].saturating_add(times),
            Err(at) => {
                self.indices.insert(at, index);
                self.counts.insert(at, times);
            }
        }
        if self.indices.len() > BINS_MAX {
            // The lowest goes into its neighbour: the upper quantiles are those that are asked for.
            self.indices.remove(0);
            let lowest = self.counts.remove(0);
            if let Some(first) = self.counts.first_mut() {
                *first = first.saturating_add(lowest);
            }
            self.collapsed = true;
        }
    }

    /// The written form, big-endian: version, collapsed, refused, zeros, min, max, number of exact values, these,
    /// number of bins, index and count of each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(38 + self.exact.len() * 8 + self.indices.len() * 10);
        out.extend([VERSION, u8::from(self.collapsed)]);
        out.extend(self.refused.to_be_bytes());
        out.extend(self.zeros.to_be_bytes());
        out.extend(self.min.to_be_bytes());
        out.extend(self.max.to_be_bytes());
        out.extend((self.exact.len() as u16).to_be_bytes());
        self.exact.iter().for_each(|value| out.extend(value.to_be_bytes()));
        out.extend((self.indices.len() as u16).to_be_bytes());
        for (index, count) in self.indices.iter().zip(&self.counts) {
            out.extend(index.to_be_bytes());
            out.extend(count.to_be_bytes());
        }
        out
    }

    /// Reads back what [`DdSketch::to_bytes`] gave; `None` for what it cannot have given.
    pub fn from_bytes(bytes: &[u8]) -> Option<DdSketch> {
        let rest = &mut &*bytes;
        let [version, collapsed] = take::<2>(rest)?;
        if version != VERSION || collapsed > 1 {
            return None;
        }
        let mut of = DdSketch { collapsed: collapsed == 1, ..DdSketch::default() };
        of.refused = u64::from_be_bytes(take(rest)?);
        of.zeros = u64::from_be_bytes(take(rest)?);
        of.min = f64::from_be_bytes(take(rest)?);
        of.max = f64::from_be_bytes(take(rest)?);
        for _ in 0..u16::from_be_bytes(take(rest)?) {
            of.exact.push(f64::from_be_bytes(take(rest)?));
        }
        for _ in 0..u16::from_be_bytes(take(rest)?) {
            of.indices.push(i16::from_be_bytes(take(rest)?));
            of.counts.push(u64::from_be_bytes(take(rest)?));
        }
        let in_bins = of.counts.iter().try_fold(of.zeros, |sum, n| sum.checked_add(*n))?;
        of.count = in_bins.checked_add(of.exact.len() as u64)?;
        (rest.is_empty() && of.is_sound(in_bins)).then_some(of)
    }

    fn is_sound(&self, in_bins: u64) -> bool {
        let good = |v: &f64| v.is_finite() && v.is_sign_positive();
        let ends = (self.exact.first(), self.exact.last());
        self.exact.len() <= EXACT_MAX
            && self.indices.len() <= BINS_MAX
            && (self.exact.is_empty() || in_bins == 0)
            && self.exact.iter().all(good)
            && self.exact.is_sorted()
            && self.indices.is_sorted_by(|a, b| a < b)
            && self.indices.iter().all(|i| (index(VALUE_MIN)..=index(VALUE_MAX)).contains(i))
            && !self.counts.contains(&0)
            && good(&self.min)
            && good(&self.max)
            && self.min <= self.max
            && (in_bins > 0 || ends == (None, None) || ends == (Some(&self.min), Some(&self.max)))
            && (self.count > 0 || (self.min, self.max, self.collapsed) == (0.0, 0.0, false))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// The bin of a value between [`VALUE_MIN`] and [`VALUE_MAX`].
fn index(value: f64) -> i16 {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as f64 - 1023.0;
    let s = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52)) - 1.0;
    ((exponent + cubic(s)) * BINS_PER_OCTAVE).floor() as i16
}

/// The value that is nearest, relatively, to both ends of a bin.
fn middle(index: i16) -> f64 {
    let (low, high) = (lower_end(f64::from(index)), lower_end(f64::from(index) + 1.0));
    2.0 * low * high / (low + high)
}

/// The inverse of [`index`], by halving: exact to the last bits and the same everywhere.
fn lower_end(index: f64) -> f64 {
    let log = index / BINS_PER_OCTAVE;
    let exponent = log.floor();
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for _ in 0..52 {
        let s = (low + high) / 2.0;
        if cubic(s) <= log - exponent { low = s } else { high = s }
    }
    (1.0 + low) * f64::from_bits(((exponent as i64 + 1023) as u64) << 52)
}

fn cubic(s: f64) -> f64 {
    ((A * s + B) * s + C) * s
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> DdSketch {
        let mut sketch = DdSketch::new();
        values.iter().for_each(|v| sketch.add(*v));
        sketch
    }

    /// Any magnitude, many of them alike.
    fn any_values() -> impl Strategy<Value = Vec<f64>> {
        let one = prop_oneof![Just(0.0), 0.0..1.0, 1.0..1e4, (-29.0..59.0f64).prop_map(f64::exp2)];
        proptest::collection::vec(one, 0..400)
    }

    #[test]
    fn no_bin_is_wider_than_the_error_allows_and_every_value_is_in_its_bin() {
        for i in index(VALUE_MIN)..=index(VALUE_MAX) {
            let (low, high) = (lower_end(f64::from(i)), lower_end(f64::from(i) + 1.0));
            assert!((high - low) / (high + low) <= RELATIVE_ERROR, "{i}: {low}..{high}");
            assert_eq!(index(middle(i)), i);
        }
    }

    #[test]
    fn nothing_has_no_quantile_and_what_is_no_size_is_refused() {
        assert_eq!(DdSketch::new().quantile(0.5), None);
        let mut sketch = of(&[f64::NAN, f64::INFINITY, -1.0]);
        assert_eq!((sketch.count(), sketch.refused(), sketch.max()), (0, 3, None));
        sketch.add(-0.0);
        assert_eq!(sketch.quantile(0.5).map(f64::to_bits), Some(0));
        assert_eq!((sketch.quantile(1.1), sketch.quantile(f64::NAN)), (None, None));
    }

    #[test]
    fn a_flood_over_every_magnitude_stays_within_its_bound_and_keeps_its_upper_quantiles() {
        let mut sketch = DdSketch::new();
        let values: Vec<f64> = (0..20_000).map(|n| (f64::from(n) / 20_000.0 * 60.0).exp2()).collect();
        values.iter().for_each(|v| sketch.add(*v));
        assert!(sketch.collapsed() && sketch.indices.len() == BINS_MAX);
        assert!(sketch.to_bytes().len() < 6_000);
        let p99 = sketch.quantile(0.99).unwrap();
        let real = values[(0.99 * 19_999.0) as usize];
        assert!((p99 - real).abs() <= RELATIVE_ERROR * real);
    }

    #[test]
    fn what_it_did_not_write_is_not_read() {
        let good = of(&[1.0, 2.0]).to_bytes();
        assert!(DdSketch::from_bytes(&good).is_some());
        for at in 0..good.len() {
            assert_eq!(DdSketch::from_bytes(&good[..at]), None);
        }
        assert_eq!(DdSketch::from_bytes(&[&good[..], &[0]].concat()), None);
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_one_percent_of_the_value_of_its_rank(
            mut values in any_values(), q in 0.0..=1.0f64,
        ) {
            let sketch = of(&values);
            values.sort_by(f64::total_cmp);
            if let Some(real) = values.get((q * (values.len() as f64 - 1.0)) as usize) {
                let got = sketch.quantile(q).unwrap();
                let allowed = if sketch.is_exact() { 0.0 } else { RELATIVE_ERROR * real + VALUE_MIN };
                prop_assert!((got - real).abs() <= allowed, "{got} for {real}");
            }
        }

        #[test]
        fn order_and_merging_change_nothing(values in any_values(), cut in 0..400usize, times in 1..90u64) {
            let whole = of(&values);
            let reversed: Vec<f64> = values.iter().rev().copied().collect();
            prop_assert_eq!(&whole, &of(&reversed));
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = of(left);
            merged.merge(&of(right));
            prop_assert_eq!(&whole, &merged);
            let (mut often, mut at_once) = (whole.clone(), whole);
            (0..times).for_each(|_| often.add(7.0));
            at_once.add_many(7.0, times);
            prop_assert_eq!(often, at_once);
        }

        #[test]
        fn what_is_written_is_read_back(values in any_values()) {
            let sketch = of(&values);
            prop_assert_eq!(DdSketch::from_bytes(&sketch.to_bytes()), Some(sketch));
        }

        #[test]
        fn any_bytes_are_refused_or_mean_themselves(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Some(sketch) = DdSketch::from_bytes(&bytes) {
                prop_assert_eq!(sketch.to_bytes(), bytes);
            }
        }
    }
}
