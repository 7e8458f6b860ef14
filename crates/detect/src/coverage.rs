//! Coverage: what should be there, what events tell of, what independent observers see; and the differences.
//!
//! Expected ([`Expected`]): documents of the house. Observed: events. Witnessed: connections that witnesses see
//! (`countersign_event::witness`), each of which must be told of by an event within [`GRACE_NS`], or it is a blind spot.
//! Not a judgement of what is allowed (policies) and not of what is usual (first-seen-edge). Invariants: without a
//! witness coverage is unknown, never 100 %; findings and numbers follow from the ledger and the documents alone;
//! everything kept has a bound, and what is beyond it is counted.

mod detector;
mod expected;
mod legs;
mod names;
mod numbers;
mod observed;
mod report;
mod save;
mod shadow;
mod spots;
#[cfg(test)]
mod tests;
mod witnessed;

pub use detector::{Coverage, CoverageConfig};
pub(crate) use expected::openapi;
pub use expected::{
    Callee, Caller, Document, Expected, Fit, Operation, PROTO_NESTING_MAX, RULES_MAX, Rpc, rpcs,
};
pub use legs::{EXACT_NS, LEGS_MAX, LOOSE_NS};
pub use names::NAMED_MAX;
pub use numbers::Sums;
pub(crate) use observed::operation;
pub use observed::{EDGES_MAX, Edge, Life, NAME_MAX};
pub use report::{Class, LINES_MAX, Line, Report, STALE_EDGE_NS};
pub use shadow::SHADOWS_MAX;
pub use spots::{QUIET_NS, SPOTS_MAX, Spot};
pub use witnessed::{CONNECTIONS_MAX, GRACE_NS, STALE_NS, WITNESSES_MAX};
