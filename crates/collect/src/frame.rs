//! Where one record ends and the next begins, in a stream of bytes; sans I/O.
//!
//! The caller keeps the bytes. It shows a [`Framer`] the front of what it has; the framer says which of it is a
//! record and how much to drop, and is asked again until it wants more. A record is a range of what was shown, so
//! nothing is copied. [`join`] puts the parts together that container runtimes cut a line into.
//!
//! Invariants: any split of a stream gives the same records; a byte is looked at once; a record is at most
//! [`RECORD_MAX`] bytes, and what is skipped behind a cut is counted in [`Step`]; what breaks the framing ends it.

mod csv;
pub mod join;
mod journal;
mod lines;
mod octets;

pub use csv::Csv;
pub use journal::{FIELD_MAX, Journal, NAME_MAX};
pub use lines::Lines;
pub use octets::Octets;

pub use crate::RECORD_MAX;
use std::ops::Range;

/// What to do with the front of the bytes shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed; with `end`, nothing is left.
    More,
    /// `record` of the bytes shown is one; `taken` are done with. `cut`: it is the beginning of one that is too
    /// long, the rest of which comes as [`Step::Skip`].
    Record {
        /// Where it lies.
        record: Range<usize>,
        /// Bytes to drop from the front.
        taken: usize,
        /// It goes on behind, unread.
        cut: bool,
    },
    /// `taken` bytes are no record, or the rest of one that was cut: to be dropped. `lost` of them were data.
    Skip {
        /// Bytes to drop from the front.
        taken: usize,
        /// How many of them belonged to a record.
        lost: usize,
    },
    /// The framing is broken: what is there is recorded raw, and the connection closed.
    Broken(&'static str),
}

/// See the module.
pub trait Framer {
    /// Judges `buf`, the bytes that were not taken so far. After [`Step::More`] it is shown the same bytes and
    /// more. `end`: no more will come.
    fn step(&mut self, buf: &[u8], end: bool) -> Step;
}

/// Each record and whether it was cut, the bytes lost, and what broke the framing.
pub type Collected = (Vec<(Vec<u8>, bool)>, usize, Option<&'static str>);

/// All records of `bytes`, fed in pieces of `step` bytes, as the caller of a framer does it. For tests and for files read
/// whole.
pub fn collect(framer: &mut dyn Framer, bytes: &[u8], step: usize) -> Collected {
    let (mut records, mut lost) = (Vec::new(), 0);
    let (mut from, mut to) = (0, 0);
    loop {
        let end = to == bytes.len();
        match framer.step(bytes.get(from..to).unwrap_or_default(), end) {
            Step::More if end => return (records, lost, None),
            Step::More => to = (to + step.max(1)).min(bytes.len()),
            Step::Record { record, taken, cut } => {
                let record = from + record.start..from + record.end;
                records.push((bytes.get(record).unwrap_or_default().to_vec(), cut));
                from += taken;
            }
            Step::Skip { taken, lost: some } => {
                lost += some;
                from += taken;
            }
            Step::Broken(rule) => return (records, lost, Some(rule)),
        }
    }
}

#[cfg(test)]
mod tests;
