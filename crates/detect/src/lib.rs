//! Streaming detectors: committed events in, findings out.
//!
//! No I/O of its own, and no wall clock: time is the ledger's, so the findings of a range of the ledger are
//! the same on every replay and however the range is cut into batches.

#![allow(missing_docs, clippy::all, unused, clippy::allow_attributes_without_reason)]
use countersign_event::*;
use std::sync::Arc;

/// HMAC-SHA-256 under the tenant's digest key.
pub type Hmac = Arc<dyn Fn(&[u8]) -> [u8; 32] + Send + Sync>;

/// The identity under which findings are recorded: register the ledger source with it.
pub const AGENT: &str = "countersign:detect";

/// Turns committed events into findings.
pub trait Detector: Send {
    fn id(&self) -> &'static str;
    /// `(ledger index, ledger time ns, event)`, ascending, each index once.
    fn batch(&mut self, events: &[(u64, u64, &Event)]) -> Vec<Finding>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub id: [u8; 16],
    pub revision: u64,
    pub severity: Severity,
}
impl Finding {
    /// The finding as an event; its eid is the same on every replay.
    pub fn to_event(&self) -> Event {
        Event::default()
    }
}

/// The one-line explanation of a finding's event, rendered with hostile values escaped.
pub fn explain(event: &Event) -> Option<String> {
    None
}

#[derive(Clone, Debug)]
pub struct FirstSeenConfig {
    /// Learning lasts until both have passed.
    pub learn_ns: u64,
    pub learn_events: u64,
}
impl Default for FirstSeenConfig {
    fn default() -> Self {
        FirstSeenConfig { learn_ns: 7 * 86_400_000_000_000, learn_events: 1000 }
    }
}
/// A known edge, as the store counts them; for [`FirstSeen::warm`].
#[derive(Clone, Debug, Default)]
pub struct Edge {
    pub tenant: String,
    pub caller: String,
    pub service: String,
    pub operation: String,
    /// Ledger index and time (ns) of the last event on it, and how many.
    pub last_index: u64,
    pub last_ns: u64,
    pub count: u64,
}
pub struct FirstSeen {}
impl FirstSeen {
    pub fn new(config: FirstSeenConfig, hmac: Hmac) -> FirstSeen {
        FirstSeen {}
    }
    /// After a start: when the ledger's first event was, how many there are, and the known edges.
    pub fn warm(&mut self, first_ns: u64, events: u64, edges: impl IntoIterator<Item = Edge>) {}
}
impl Detector for FirstSeen {
    fn id(&self) -> &'static str {
        "first-seen-edge"
    }
    fn batch(&mut self, events: &[(u64, u64, &Event)]) -> Vec<Finding> {
        Vec::new()
    }
}
