//! Who called what, from events: the side of coverage that is known.
//!
//! Names stand once in a table and edges refer to them. Invariants: at most [`EDGES_MAX`] edges and as many names; the
//! least recently seen edges leave first, those that were hardly used before all others, and are counted; which one leaves depends on the ledger alone.

use countersign_event::{Event, Kind, Rec};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Most edges: about 80 bytes each, and their names.
pub const EDGES_MAX: usize = 1_000_000;
/// Longest name kept, bytes; longer ones are the same beyond it.
pub const NAME_MAX: usize = 512;
/// Calls after which an edge is established.
const ESTABLISHED: u64 = 3;
/// Share of the edges that leave at once, so that the search for them is paid for by many.
const LEAVE: usize = 16;

/// One edge, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// Service name of the caller, else its id; empty = nobody was identified.
    pub caller: String,
    /// Id of the caller; empty = as above.
    pub id: String,
    /// Service called.
    pub callee: String,
    /// Port called; 0 = unknown.
    pub port: u16,
    /// Protocol without its version: `http`, `postgresql`.
    pub proto: String,
    /// `GET /orders/{id}`, `shop.Orders/Get`, `SELECT public.orders`.
    pub operation: String,
}

impl Edge {
    /// The edge of a call.
    pub fn of(event: &Event) -> Edge {
        let who = event.who.who.as_ref();
        let id = who.map_or("", |who| who.id.as_str());
        let caller = who.map_or("", |who| if who.svc.is_empty() { &who.id } else { &who.svc });
        Edge {
            caller: caller.to_owned(),
            id: id.to_owned(),
            callee: event.target.svc.clone(),
            port: port(event),
            proto: protocol(event).to_owned(),
            operation: operation(event),
        }
    }
}

/// What is known of an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Ledger time of the first event, ns.
    pub first_ns: u64,
    /// Ledger time of the last event, ns.
    pub last_ns: u64,
    /// Ledger index of the last event: unique, so the order of leaving is too.
    pub last_index: u64,
    /// Calls.
    pub count: u64,
}

type Ids = (u32, u32, u32, u16, u32, u32);

/// See the module.
#[derive(Default)]
pub(super) struct Observed {
    names: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, u32>,
    edges: HashMap<Ids, Life>,
    max: usize,
    pub(super) evicted: u64,
}

/// What a restart needs: names, edges, evicted.
pub(super) type Saved = (Vec<Arc<str>>, Vec<(Ids, Life)>, u64);

impl Observed {
    pub(super) fn new(max: usize) -> Observed {
        Observed { max: max.clamp(1, EDGES_MAX), ..Observed::default() }
    }

    /// Notes a call; `true` = the edge was not known.
    pub(super) fn see(&mut self, event: &Event, index: u64, now_ns: u64) -> bool {
        if self.edges.len() >= self.max {
            self.make_room();
        }
        let operation = operation(event);
        let who = event.who.who.as_ref();
        let id = who.map_or("", |who| who.id.as_str());
        let caller = who.map_or("", |who| if who.svc.is_empty() { &who.id } else { &who.svc });
        let ids = (
            self.name(caller),
            self.name(id),
            self.name(&event.target.svc),
            port(event),
            self.name(protocol(event)),
            self.name(&operation),
        );
        let life = self.edges.entry(ids).or_insert(Life { first_ns: now_ns, ..Life::default() });
        let new = life.count == 0;
        life.count = life.count.saturating_add(event.core.n.unwrap_or(1));
        (life.last_ns, life.last_index) = (now_ns, index);
        new
    }

    fn name(&mut self, name: &str) -> u32 {
        let name = crate::finding::clip(name, NAME_MAX);
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let (id, name) = (self.names.len() as u32, Arc::<str>::from(name));
        self.names.push(name.clone());
        self.by_name.insert(name, id);
        id
    }

    /// Lets the least recent go, and the names that only they had.
    fn make_room(&mut self) {
        let leaving = (self.max / LEAVE).max(1);
        // Edges that were hardly used first: invented names must not push out what is established.
        let order = |(ids, life): (&Ids, &Life)| (life.count >= ESTABLISHED, life.last_index, *ids);
        let mut all: Vec<(bool, u64, Ids)> = self.edges.iter().map(order).collect();
        all.sort_unstable();
        for (_, _, ids) in all.iter().take(leaving) {
            self.edges.remove(ids);
            self.evicted = self.evicted.saturating_add(1);
        }
        let saved = self.save();
        let (max, evicted) = (self.max, self.evicted);
        *self = Observed { evicted, ..Observed::new(max) };
        let (names, edges, _) = saved;
        for (ids, life) in edges {
            let name = |id: u32| names.get(id as usize).cloned().unwrap_or_default();
            let (caller, id, callee, port, proto, operation) = ids;
            let [caller, id, callee, proto, operation] =
                [caller, id, callee, proto, operation].map(|id| self.name(&name(id)));
            self.edges.insert((caller, id, callee, port, proto, operation), life);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.edges.len()
    }

    /// All edges, sorted.
    pub(super) fn all(&self) -> Vec<(Edge, Life)> {
        let name = |id: u32| self.names.get(id as usize).map(|name| name.to_string()).unwrap_or_default();
        let edge = |(ids, life): (&Ids, &Life)| {
            let (caller, id, callee, port, proto, operation) = *ids;
            let (caller, id, callee) = (name(caller), name(id), name(callee));
            (Edge { caller, id, callee, port, proto: name(proto), operation: name(operation) }, *life)
        };
        let mut all: Vec<(Edge, Life)> = self.edges.iter().map(edge).collect();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// In the order of first use, so that the same state is written the same.
    pub(super) fn save(&self) -> Saved {
        let mut edges: Vec<(Ids, Life)> = self.edges.iter().map(|(ids, life)| (*ids, *life)).collect();
        edges.sort_unstable_by_key(|(ids, life)| (life.last_index, *ids));
        (self.names.clone(), edges, self.evicted)
    }

    pub(super) fn load(max: usize, (names, edges, evicted): Saved) -> Option<Observed> {
        let mut new = Observed { evicted, ..Observed::new(max) };
        if edges.len() > new.max {
            return None;
        }
        for name in &names {
            new.name(name);
        }
        let known = names.len() as u32;
        let good = |(a, b, c, _, d, e): &Ids| [a, b, c, d, e].iter().all(|id| **id < known);
        if new.names.len() != names.len() || !edges.iter().all(|(ids, _)| good(ids)) {
            return None;
        }
        new.edges.extend(edges);
        Some(new)
    }
}

/// Whether an event is a call, whatever was understood of it.
pub(super) fn is_call(event: &Event) -> bool {
    matches!(event.core.rec, Some(Rec::Interaction | Rec::Intent | Rec::Opaque | Rec::Cut))
}

/// The port called: the one that the upstream listens on, else the one that was dialled.
fn port(event: &Event) -> u16 {
    let of = |end: &Option<countersign_event::Endpoint>| end.as_ref().and_then(|end| end.port);
    of(&event.peer.up).or_else(|| of(&event.peer.dst)).unwrap_or(0)
}

/// The protocol without its version.
fn protocol(event: &Event) -> &str {
    event.core.proto.split('/').next().unwrap_or_default()
}

/// The operation in one word or two, as the protocol's people write it.
pub(crate) fn operation(event: &Event) -> String {
    let (op, res) = (event.core.op.as_str(), event.target.res.as_str());
    match event.core.kind {
        Some(Kind::Grpc) if !res.is_empty() => res.trim_start_matches('/').to_owned(),
        Some(Kind::Http | Kind::Sql | Kind::Messaging | Kind::K8sApi) if !res.is_empty() => {
            format!("{op} {res}")
        }
        _ => op.to_owned(),
    }
}
