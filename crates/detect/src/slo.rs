//! Service levels: what was promised, how fast its error budget burns, and how long calls took.
//!
//! Promises are OpenSLO v1 documents ([`Slos`]); the detector is [`BurnRate`] (detector 15); [`BurnRate::report`] says
//! for each promise what is left. Not a measurement of its own: calls count as events have them, by the ledger's time.
//! Invariants: a document that cannot be mapped onto events is refused with its place and reason, never approximated;
//! every estimate names its error; everything kept has a bound.

mod burn;
mod latency;
mod matching;
mod openslo;
mod report;
mod ring;
#[cfg(test)]
mod tests;

pub use burn::{BurnRate, BurnRateConfig, LEAST_CALLS};
pub use latency::PAIRS_MAX;
pub use matching::{Good, Match, Slo};
pub use openslo::{SLOS_MAX, Slos};
pub use report::{CallerReport, SloReport};
pub use ring::{Counts, WINDOWS};
