//! Contracts that nobody wrote: which statuses and content types an operation has shown its callers so far.
//!
//! Invariants: an edge that had to leave begins to learn again, so that forgetting raises nothing; one that shows more
//! than [`VALUES_MAX`] values is too varied to be judged.

use super::{Breach, ContractConfig, What, media, status};
use crate::coverage::operation;
use countersign_event::Event;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Learning lasts at least this long, ns: seven days.
pub const LEARN_NS: u64 = 7 * 86_400_000_000_000;
/// Learning takes at least this many calls.
pub const LEARN_EVENTS: u64 = 1_000;
/// Edges kept; the least recent leaves.
pub const EDGES_MAX: usize = 65_536;
/// Values of a kind kept for an edge.
pub const VALUES_MAX: usize = 24;
/// Longest value kept, bytes.
const VALUE_MAX: usize = 64;
/// Share of the edges that leave at once.
const LEAVE: usize = 16;

/// Tenant, caller, service, operation.
type Key = (String, String, String, String);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edge {
    first_ns: u64,
    last_index: u64,
    calls: u64,
    statuses: BTreeSet<String>,
    types: BTreeSet<String>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Learned {
    edges: BTreeMap<Key, Edge>,
    pub(super) evicted: u64,
}

/// What a restart needs.
pub(super) type Saved = (Vec<(Key, Edge)>, u64);

impl Learned {
    pub(super) fn judge(
        &mut self,
        event: &Event,
        index: u64,
        now_ns: u64,
        config: &ContractConfig,
    ) -> Vec<Breach> {
        let who = event.who.who.as_ref();
        let caller = who.map_or("", |who| if who.svc.is_empty() { &who.id } else { &who.svc });
        let clip = |text: &str| crate::finding::clip(text, 512).to_owned();
        let key = (clip(&event.core.tenant), clip(caller), clip(&event.target.svc), clip(&operation(event)));
        if !self.edges.contains_key(&key) {
            self.make_room();
        }
        let edge = self.edges.entry(key).or_insert_with(|| Edge { first_ns: now_ns, ..Edge::default() });
        edge.last_index = index;
        let learned =
            edge.calls >= config.learn_events && now_ns.saturating_sub(edge.first_ns) >= config.learn_ns;
        edge.calls = edge.calls.saturating_add(event.core.n.unwrap_or(1));
        let answer = event.body.rsp.as_ref().map(|payload| media(&payload.content_type)).unwrap_or_default();
        let mut out = Vec::new();
        for (what, got, known) in [
            (What::Status, status(event).unwrap_or_default(), &mut edge.statuses),
            (What::Answer, answer.as_str(), &mut edge.types),
        ] {
            let got = crate::finding::clip(got, VALUE_MAX);
            if got.is_empty() || known.contains(got) || known.len() >= VALUES_MAX {
                continue;
            }
            if learned && !known.is_empty() {
                let want = known.iter().cloned().collect::<Vec<_>>().join(", ");
                out.push(Breach { what, got: got.to_owned(), want, document: String::new() });
            } else {
                known.insert(got.to_owned());
            }
        }
        out
    }

    fn make_room(&mut self) {
        if self.edges.len() < EDGES_MAX {
            return;
        }
        let mut all: Vec<(u64, Key)> =
            self.edges.iter().map(|(key, edge)| (edge.last_index, key.clone())).collect();
        all.sort_unstable();
        for (_, key) in all.iter().take(EDGES_MAX / LEAVE) {
            self.edges.remove(key);
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    pub(super) fn save(&self) -> Saved {
        (self.edges.clone().into_iter().collect(), self.evicted)
    }

    pub(super) fn load((edges, evicted): Saved) -> Option<Learned> {
        let good = edges.len() <= EDGES_MAX;
        good.then(|| Learned { edges: edges.into_iter().collect(), evicted })
    }
}
