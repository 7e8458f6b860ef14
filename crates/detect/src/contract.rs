//! Contract check: what a service answered and what a caller sent, against what was written down or learned.
//!
//! Written down: OpenAPI 3 (status codes, content types of requests and responses) and protobuf (methods, status). For a
//! service without a document, what was learned: after [`LEARN_NS`] and [`LEARN_EVENTS`] of a caller's operation on a
//! service, a status or content type that was never seen there. Not a validator of payloads: events hold sizes and types
//! of bodies, not their fields. Invariants: one finding for a caller, operation and breach until it has stayed away for
//! [`AWAY_NS`]; it names both sides; the allowance of a day holds; everything kept has a bound.

mod breach;
mod learned;
#[cfg(test)]
mod tests;
mod written;

pub use breach::OPEN_MAX;
pub use learned::{EDGES_MAX, LEARN_EVENTS, LEARN_NS, VALUES_MAX};
pub use written::{CONTRACTS_MAX, Contracts};

use crate::finding::{Finding, Rule};
use crate::{Detector, Hmac};
use breach::{Breaches, Said};
use countersign_event::{Event, Kind, Rec, StatusSpace};
use learned::Learned;
use std::sync::Arc;

pub(crate) const ID: &str = "contract";
const VERSION: &str = "1";
/// A breach that has stayed away for so long is resolved, ns: a day.
pub const AWAY_NS: u64 = 86_400_000_000_000;

/// Parameters; all of them stand in each finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractConfig {
    /// Learning lasts at least this long, ns.
    pub learn_ns: u64,
    /// Learning takes at least this many calls.
    pub learn_events: u64,
    /// Findings a day (UTC) that notify.
    pub allowance: u64,
}

impl Default for ContractConfig {
    fn default() -> ContractConfig {
        ContractConfig { learn_ns: LEARN_NS, learn_events: LEARN_EVENTS, allowance: 20 }
    }
}

/// What of a call is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum What {
    /// The response's status.
    Status,
    /// The response's content type.
    Answer,
    /// The request's content type.
    Request,
    /// The method does not exist.
    Method,
}

/// A breach of a contract by one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) what: What,
    /// What the call had.
    pub(crate) got: String,
    /// What it should have had, in few words.
    pub(crate) want: String,
    /// The document; empty = learned.
    pub(crate) document: String,
}

/// See the module.
pub struct Contract {
    config: ContractConfig,
    contracts: Arc<Contracts>,
    hmac: Hmac,
    rule: Rule,
    learned: Learned,
    breaches: Breaches,
    now_ns: u64,
}

impl Contract {
    /// A detector that has seen nothing, for these documents.
    pub fn new(config: ContractConfig, contracts: Arc<Contracts>, hmac: Hmac) -> Contract {
        let parameters = vec![
            ("learn_ns", config.learn_ns.to_string()),
            ("learn_events", config.learn_events.to_string()),
            ("away_ns", AWAY_NS.to_string()),
            ("allowance", config.allowance.to_string()),
        ];
        Contract {
            rule: Rule::new(ID, VERSION, parameters),
            learned: Learned::default(),
            breaches: Breaches::default(),
            now_ns: 0,
            config,
            contracts,
            hmac,
        }
    }

    /// Keys of learned edges that had to leave, and breaches beyond their bound.
    pub fn beyond_bounds(&self) -> [u64; 2] {
        [self.learned.evicted, self.breaches.beyond]
    }

    fn look(&mut self, index: u64, ns: u64, event: &Event, out: &mut Vec<Finding>) {
        self.now_ns = self.now_ns.max(ns);
        let (rule, hmac, now_ns) = (&self.rule, &self.hmac, self.now_ns);
        for open in self.breaches.turn(now_ns) {
            out.push(breach::finding(rule, &open, Said::Over, now_ns, event));
        }
        let judged = matches!(event.core.rec, Some(Rec::Interaction | Rec::Outcome))
            && matches!(event.core.kind, Some(Kind::Http | Kind::Grpc))
            && !event.target.svc.is_empty();
        if !judged {
            return;
        }
        let found = match self.contracts.judge(event) {
            Some(breaches) => breaches,
            None => self.learned.judge(event, index, now_ns, &self.config),
        };
        for breach in found {
            if let Some(open) =
                self.breaches.note(hmac, rule, &breach, (index, event), now_ns, self.config.allowance)
            {
                out.push(breach::finding(rule, &open, Said::Open, now_ns, event));
            }
        }
    }
}

/// The response's status in its own code space, where it is one of the protocol judged.
pub(crate) fn status(event: &Event) -> Option<&str> {
    match &event.core.status {
        Some((StatusSpace::Http | StatusSpace::Grpc, code)) => Some(code),
        _ => None,
    }
}

/// `application/json` of `Application/JSON; charset=utf-8`.
pub(crate) fn media(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl Detector for Contract {
    fn id(&self) -> &'static str {
        ID
    }

    fn batch(&mut self, events: &[(u64, u64, &Event)]) -> Vec<Finding> {
        let mut out = Vec::new();
        for &(index, ns, event) in events {
            self.look(index, ns, event, &mut out);
        }
        out
    }

    fn save(&self) -> Vec<u8> {
        // Plain data: it always has a form.
        serde_json::to_vec(&(self.now_ns, self.learned.save(), self.breaches.save())).unwrap_or_default()
    }

    fn load(&mut self, saved: &[u8]) -> bool {
        if saved.is_empty() {
            return true;
        }
        let Ok((now_ns, learned, breaches)) = serde_json::from_slice(saved) else { return false };
        let (Some(learned), Some(breaches)) = (Learned::load(learned), Breaches::load(breaches)) else {
            return false;
        };
        (self.now_ns, self.learned, self.breaches) = (now_ns, learned, breaches);
        true
    }
}
