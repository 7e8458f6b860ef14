//! How many different: exact up to 64, then a HyperLogLog of 256 registers.
//!
//! Flajolet, Fusy, Gandouet and Meunier, "HyperLogLog" (2007): error 1.04 / √256 = 6.5% beyond the exact part. The
//! values are keyed hashes, so nobody outside can make them meet. Invariants: at most [`BYTES_MAX`] bytes on the heap;
//! the order of adding changes nothing; the same on every machine.

use super::tail::ln;
use crate::bytes::{Reader, Saved, Writer};

/// Up to so many are told apart exactly, by 32 bits of their hash.
const EXACT_MAX: usize = 64;
/// Registers beyond that.
const REGISTERS: usize = 256;
/// Standard error of an estimate, in percent, beyond [`EXACT_MAX`].
pub(crate) const ERROR_PERCENT: f64 = 6.5;
/// Bytes on the heap at most.
pub(crate) const BYTES_MAX: usize = 256;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Distinct {
    /// The hashes, ascending.
    Few(Vec<u32>),
    /// Of each register the longest run of zeros and one.
    Many(Box<[u8; REGISTERS]>),
}

impl Default for Distinct {
    fn default() -> Distinct {
        Distinct::Few(Vec::new())
    }
}

impl Distinct {
    /// Adds a hash; whether that changed anything.
    pub(crate) fn add(&mut self, hash: u64) -> bool {
        match self {
            Distinct::Few(known) => {
                let short = (hash >> 32) as u32;
                let Err(at) = known.binary_search(&short) else { return false };
                if known.len() < EXACT_MAX {
                    known.insert(at, short);
                    return true;
                }
                let mut registers = Box::new([0; REGISTERS]);
                known.iter().for_each(|short| {
                    note(&mut registers, *short);
                });
                note(&mut registers, short);
                *self = Distinct::Many(registers);
                true
            }
            Distinct::Many(registers) => note(registers, (hash >> 32) as u32),
        }
    }

    /// How many, about.
    pub(crate) fn count(&self) -> u32 {
        let registers = match self {
            Distinct::Few(known) => return known.len() as u32,
            Distinct::Many(registers) => registers,
        };
        let m = REGISTERS as f64;
        let sum: f64 = registers.iter().map(|longest| 1.0 / (1u64 << (*longest).min(63)) as f64).sum();
        let raw = 0.7182725932495458 * m * m / sum;
        let empty = registers.iter().filter(|longest| **longest == 0).count();
        let estimate = if raw <= 2.5 * m && empty > 0 { m * ln(m / empty as f64) } else { raw };
        estimate as u32
    }

    /// Whether the count is exact.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self, Distinct::Few(_))
    }
}

/// By 32 bits of a hash: eight choose the register, the zeros of the others are counted.
fn note(registers: &mut [u8; REGISTERS], short: u32) -> bool {
    let run = ((short << 8) | 0x80).leading_zeros() as u8 + 1;
    match registers.get_mut((short >> 24) as usize) {
        Some(longest) if *longest < run => {
            *longest = run;
            true
        }
        _ => false,
    }
}

impl Saved for Distinct {
    const MIN_BYTES: usize = 5;

    fn write(&self, out: &mut Writer) {
        match self {
            Distinct::Few(known) => {
                out.bool(false);
                out.len(known.len());
                known.iter().for_each(|hash| out.u32(*hash));
            }
            Distinct::Many(registers) => {
                out.bool(true);
                out.bytes(registers.as_slice());
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Distinct> {
        if from.bool()? {
            return Some(Distinct::Many(Box::new(from.bytes()?.try_into().ok()?)));
        }
        let many = from.len(4).filter(|many| *many <= EXACT_MAX)?;
        let known = (0..many).map(|_| from.u32()).collect::<Option<Vec<_>>>()?;
        known.is_sorted_by(|a, b| a < b).then_some(Distinct::Few(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash(n: u64) -> u64 {
        let n = (n ^ 0x1234_5678).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (n ^ n >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ n >> 32
    }

    proptest! {
        #[test]
        fn it_is_exact_while_few_and_within_four_errors_beyond(many in 1u64..30_000, again in 1u64..3) {
            let mut distinct = Distinct::default();
            for n in (0..many).chain(0..many / again) {
                distinct.add(hash(n));
            }
            let got = f64::from(distinct.count());
            if many <= EXACT_MAX as u64 {
                prop_assert_eq!(got, many as f64);
            } else {
                prop_assert!((got - many as f64).abs() <= 4.0 * ERROR_PERCENT / 100.0 * many as f64 + 2.0, "{} for {}", got, many);
            }
        }

        #[test]
        fn order_changes_nothing_and_it_is_read_back(mut numbers in proptest::collection::vec(0u64..500, 0..300)) {
            let of = |numbers: &[u64]| {
                let mut distinct = Distinct::default();
                numbers.iter().for_each(|n| { distinct.add(hash(*n)); });
                distinct
            };
            let one = of(&numbers);
            numbers.reverse();
            prop_assert_eq!(&one, &of(&numbers));
            let mut out = Writer::new();
            one.write(&mut out);
            let bytes = out.done();
            prop_assert_eq!(Distinct::read(&mut Reader::new(&bytes)), Some(one));
        }
    }
}
