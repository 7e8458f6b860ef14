//! Summaries of many numbers in little memory, with a stated error.
//!
//! Invariants: the answer depends on the set of what was added alone, not on its order or on the machine; memory has a
//! named bound; every sketch can be merged, written and read back.

pub(crate) mod bits;
pub(crate) mod cusum;
mod ddsketch;
pub(crate) mod distinct;
pub(crate) mod loghist;
pub(crate) mod ring;
pub mod tail;
pub(crate) mod usual;

pub use ddsketch::{BINS_MAX, DdSketch, EXACT_MAX, RELATIVE_ERROR, VALUE_MAX, VALUE_MIN};
