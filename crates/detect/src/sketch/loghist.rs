//! A histogram of magnitudes that fades: what is usual of a size or a latency, in some 100 bytes.
//!
//! Not [`super::DdSketch`], which is ten times as exact and ten times as large: for the borders of what is unusual,
//! kept for each edge. Eight bins to a doubling, so a quantile is within 1/8 of the value of its rank. Invariants: at
//! most [`BINS_MAX`] bins of two bytes; when [`FADE_AT`] values are in, all counts are halved.

use crate::bytes::{Reader, Saved, Writer};

/// Most bins: 20 doublings. Beyond them the smallest share a bin.
pub(crate) const BINS_MAX: usize = 160;
/// Values after which the older count half.
const FADE_AT: u32 = 4_096;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogHist {
    /// Number of the first bin.
    first: u16,
    counts: Vec<u16>,
    total: u32,
}

/// The bin of a value: its exponent and the three highest bits of its mantissa.
fn bin(value: u64) -> u16 {
    let value = value.max(1);
    let exponent = value.ilog2();
    let fine = if exponent >= 3 { value >> (exponent - 3) & 7 } else { value << (3 - exponent) & 7 };
    (exponent * 8 + fine as u32) as u16
}

/// The smallest value above a bin.
fn upper(bin: u16) -> u64 {
    let (exponent, fine) = (u32::from(bin) / 8, u64::from(bin) % 8);
    let eighths = u128::from(9 + fine) << exponent;
    u64::try_from(eighths / 8).unwrap_or(u64::MAX)
}

impl LogHist {
    /// Values in it, the older ones counted less.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn add(&mut self, value: u64) {
        let bin = bin(value);
        if self.counts.is_empty() {
            self.first = bin;
        }
        if bin < self.first {
            let missing = usize::from(self.first - bin).min(BINS_MAX - self.counts.len().min(BINS_MAX));
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first -= missing as u16;
        }
        let last = usize::from(bin.saturating_sub(self.first));
        if last >= self.counts.len() {
            self.counts.resize(last + 1, 0);
            let surplus = self.counts.len().saturating_sub(BINS_MAX);
            let lost: u32 = self.counts.drain(..surplus).map(u32::from).sum();
            self.first += surplus as u16;
            if let Some(lowest) = self.counts.first_mut() {
                *lowest = u16::try_from(u32::from(*lowest) + lost).unwrap_or(u16::MAX);
            }
        }
        if let Some(count) = self.counts.get_mut(usize::from(bin.saturating_sub(self.first))) {
            *count = count.saturating_add(1);
            self.total += 1;
        }
        if self.total >= FADE_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
    }

    /// A value that a share `q` of all is below: the upper end of the bin of that rank. 0 of nothing.
    pub(crate) fn quantile(&self, q: f64) -> u64 {
        let rank = (q * f64::from(self.total)) as u32;
        let mut below = 0;
        for (at, count) in self.counts.iter().enumerate() {
            below += u32::from(*count);
            if below > rank {
                return upper(self.first + at as u16);
            }
        }
        if self.counts.is_empty() { 0 } else { upper(self.first + self.counts.len() as u16 - 1) }
    }
}

impl Saved for LogHist {
    const MIN_BYTES: usize = 6;

    fn write(&self, out: &mut Writer) {
        out.u16(self.first);
        out.len(self.counts.len());
        self.counts.iter().for_each(|count| out.u16(*count));
    }

    fn read(from: &mut Reader<'_>) -> Option<LogHist> {
        let first = from.u16()?;
        let counts = (0..from.len(2)?).map(|_| from.u16()).collect::<Option<Vec<_>>>()?;
        let total = counts.iter().map(|count| u32::from(*count)).sum();
        let sound = counts.len() <= BINS_MAX && usize::from(first) + counts.len() <= 64 * 8;
        sound.then_some(LogHist { first, counts, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_value_is_below_the_upper_end_of_its_bin_and_not_far() {
        let values = (0..64).flat_map(|e| [1u64 << e, (1u64 << e) + (1u64 << e) / 3, u64::MAX >> e]);
        for value in values {
            let upper = upper(bin(value));
            assert!(upper >= value && (upper as f64) <= value as f64 * 1.1251 + 1.0, "{value} {upper}");
        }
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_an_eighth(mut values in proptest::collection::vec(1u64..1 << 19, 1..3000), q in 0.0..1.0f64) {
            let mut hist = LogHist::default();
            values.iter().for_each(|value| hist.add(*value));
            values.sort_unstable();
            let real = values[(q * values.len() as f64) as usize] as f64;
            let got = hist.quantile(q) as f64;
            prop_assert!(got >= real && got <= real * 1.126 + 1.0, "{got} for {real}");
        }

        #[test]
        fn any_magnitudes_stay_within_the_bound_and_are_read_back(values in proptest::collection::vec((0u32..64, 0u64..9), 0..300)) {
            let mut hist = LogHist::default();
            for (shift, low) in values {
                hist.add((1u64 << shift) + low);
            }
            prop_assert!(hist.counts.len() <= BINS_MAX);
            let mut out = Writer::new();
            hist.write(&mut out);
            let bytes = out.done();
            prop_assert_eq!(LogHist::read(&mut Reader::new(&bytes)), Some(hist));
        }
    }
}
