//! Streaming detectors: committed events in, findings out.
//!
//! No I/O of its own and no wall clock: batches and the ledger's time come in, findings go out. Invariants:
//! the findings of a range of the ledger are the same on every replay and however the range is cut into
//! batches; every piece of state has a named bound; a finding carries the numbers that caused it.
//!
//! A detector implements [`Detector`]; `first_seen.rs` shows the shape. Those that keep a baseline or a memory of what
//! machines do are watchers (`watch.rs`), one file each in `watchers/`, and share clock, learning and bounds
//! (`baselines.rs`).

mod baselines;
mod bytes;
pub mod clock;
mod collected;
pub mod contract;
pub mod coverage;
mod documents;
mod edges;
mod explain;
mod finding;
mod first_seen;
pub mod fuzz;
mod rules;
pub mod series;
pub mod sigma;
pub mod sketch;
pub mod slo;
mod watch;
mod watchers;

use countersign_event::Event;
use std::sync::Arc;

pub use baselines::{AGREE_NS, Baselines, BaselinesConfig, Grant};
pub use collected::{A_DAY, Collected, INPUTS_MAX, RAW_EARLY, RAW_PERCENT, WINDOW_NS};
pub use documents::{DOCUMENTS_MAX, Refused as RefusedDocument, TEXT_MAX as DOCUMENT_MAX};
pub use edges::{EDGES_MAX, Seen};
pub use explain::explain;
pub use finding::{Evidence, Finding, Flag, Rule, detail};
pub use first_seen::{Edge, FirstSeen, FirstSeenConfig, FirstSeenStats};
pub use rules::{A_RULE_AND_DAY, RECORDED_MAX, Rules};
pub use watch::WatcherStats;

/// HMAC-SHA-256 under the tenant's digest key: state and finding ids never hold a plain hash of a name.
pub type Hmac = Arc<dyn Fn(&[u8]) -> [u8; 32] + Send + Sync>;

/// The identity under which findings are recorded. Register the ledger source with it: the event ids of
/// findings are derived from it.
pub const AGENT: &str = "countersign:detect";

/// Turns committed events into findings.
pub trait Detector: Send {
    /// Its id, as in findings and configuration.
    fn id(&self) -> &'static str;
    /// Looks at events in ledger order: `(index, ledger time in ns, event)`, ascending, each index once over
    /// the detector's life.
    fn batch(&mut self, events: &[(u64, u64, &Event)]) -> Vec<Finding>;
    /// What it has to be told after a restart to go on as if there had been none. Empty = nothing, or it is warmed in
    /// another way.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Events before its first batch, in ledger order, about which everything was said: for windows that began there.
    fn warm(&mut self, _: &[(u64, u64, &Event)]) {}
    /// How far back it has to be warmed, ns of ledger time.
    fn looks_back_ns(&self) -> u64 {
        0
    }
    /// What it knows that is no finding, for people, by name: `coverage`, `service-levels`, `detectors`.
    fn reports(&self) -> Vec<(&'static str, serde_json::Value)> {
        Vec::new()
    }
    /// Takes up what [`Detector::save`] gave, before the first batch. `false` = it cannot be read: it begins anew.
    fn load(&mut self, saved: &[u8]) -> bool {
        saved.is_empty()
    }
    /// The ledger time in ns from which on it may have something to say though no event came: somebody should then
    /// commit one (a tick), since the ledger's time is the only one that it knows.
    fn wake_ns(&self) -> Option<u64> {
        None
    }
}

/// A value of a filter in quotation marks, escaped.
pub(crate) fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' | '*' => out.extend(['\\', c]),
            c if explain::hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
