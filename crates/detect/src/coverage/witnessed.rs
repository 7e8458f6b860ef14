//! The connections that witnesses see, each held until an event tells of it or its time is over.
//!
//! Invariants: a connection is judged once, [`GRACE_NS`] after it was first seen or when an event tells of it, whichever
//! is first, also when it has ended meanwhile; what a gateway carries is told of by the gateway; at most
//! [`CONNECTIONS_MAX`] are held, the rest is counted.

use super::legs::{Leg, Legs, Port};
use countersign_event::witness::Connection;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Connections held at once, over all witnesses.
pub const CONNECTIONS_MAX: usize = 65_536;
/// Witnesses known at once.
pub const WITNESSES_MAX: usize = 1_024;
/// How long an event may take to tell of a connection that a witness sees, ns.
pub const GRACE_NS: u64 = 30_000_000_000;
/// A witness that says nothing for this long sees nothing any more, ns.
pub const STALE_NS: u64 = 180_000_000_000;

/// Who says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Origin {
    /// `core.tenant` of the witness's events.
    pub(super) tenant: String,
    /// `core.agent` of them.
    pub(super) agent: String,
    /// The witness's own name.
    pub(super) witness: String,
}

/// A connection by all that tells it from others.
pub(super) type Key = (Arc<Origin>, Connection);

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An event tells of it, or a gateway carries it.
    Covered,
    /// No event tells of it.
    Untold,
    /// An event may have told of it and be forgotten.
    Unknown,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) first_ns: u64,
    /// Since when it may be open: what a forgotten event could be about.
    pub(super) start_ns: u64,
    pub(super) bytes: u64,
    pub(super) index: u64,
    pub(super) eid: [u8; 16],
    pub(super) verdict: Option<Verdict>,
    pub(super) ended: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Witnessed {
    pub(super) held: BTreeMap<Key, Held>,
    /// Those without a verdict, by the time at which it is due.
    due: BTreeSet<(u64, Key)>,
    /// Those that an event may still tell of, by both addresses, then by the caller's port.
    waiting: BTreeMap<(IpAddr, SocketAddr), BTreeMap<Option<u16>, BTreeSet<Key>>>,
    /// Ledger time of the last word of each witness.
    pub(super) alive: BTreeMap<String, u64>,
    /// Connections beyond the bound, and those that witnesses could not list.
    pub(super) unheld: u64,
}

/// Something that was decided about a connection, or the end of one that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) key: Key,
    pub(super) held: Held,
    /// The verdict before.
    pub(super) before: Option<Verdict>,
}

impl Witnessed {
    /// A witness saw it open at `now_ns`.
    pub(super) fn open(
        &mut self,
        key: Key,
        place: (u64, [u8; 16]),
        (now_ns, start_ns): (u64, u64),
        legs: &Legs,
    ) -> Option<Decided> {
        let (bytes, seen) = (key.1.bytes.unwrap_or(0), &key.1);
        let covered =
            seen.through || seen.src.is_some_and(|ip| legs.told(ip, seen.src_port, seen.dst, now_ns));
        let start_ns = seen.since_ns.unwrap_or(start_ns).min(now_ns);
        let key = bare(key);
        if let Some(held) = self.held.get_mut(&key) {
            held.bytes = held.bytes.max(bytes);
            held.ended = false;
            return None;
        }
        if self.held.len() >= CONNECTIONS_MAX {
            self.unheld = self.unheld.saturating_add(1);
            return None;
        }
        let (index, eid) = place;
        let verdict = covered.then_some(Verdict::Covered);
        let held = Held { first_ns: now_ns, start_ns, bytes, index, eid, verdict, ended: false };
        if !covered {
            self.due.insert((now_ns.saturating_add(GRACE_NS), key.clone()));
            self.wait(&key);
        }
        self.held.insert(key.clone(), held.clone());
        covered.then_some(Decided { key, held, before: None })
    }

    /// A witness saw it end. One without a verdict stays until it has one.
    pub(super) fn end(&mut self, key: Key) -> Option<Decided> {
        let bytes = key.1.bytes.unwrap_or(0);
        let key = bare(key);
        let held = self.held.get_mut(&key)?;
        held.bytes = held.bytes.max(bytes);
        held.ended = true;
        let held = held.clone();
        let before = held.verdict?;
        self.forget(&key);
        Some(Decided { key, held, before: Some(before) })
    }

    /// All of a witness end that are not among those it lists anew.
    pub(super) fn began(&mut self, origin: &Origin, open: &[Connection]) -> Vec<Decided> {
        let open: BTreeSet<Connection> = open.iter().cloned().map(bare_connection).collect();
        let mine = |(of, connection): &&Key| **of == *origin && !open.contains(connection);
        let gone: Vec<Key> = self.held.keys().filter(mine).cloned().collect();
        gone.into_iter().filter_map(|key| self.end(key)).collect()
    }

    /// An event tells of a leg: connections on it that were not covered are now.
    pub(super) fn told(&mut self, leg: Leg) -> Vec<Decided> {
        let Some(ports) = self.waiting.get_mut(&(leg.src, leg.dst)) else { return Vec::new() };
        let keys: Vec<Key> = match leg.port {
            Port::Known(port) => {
                [None, Some(port)].iter().filter_map(|port| ports.remove(port)).flatten().collect()
            }
            // An event without a port may be about any connection from there.
            Port::Unknown | Port::Any => std::mem::take(ports).into_values().flatten().collect(),
        };
        if ports.is_empty() {
            self.waiting.remove(&(leg.src, leg.dst));
        }
        let mut decided = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(held) = self.held.get_mut(&key) else { continue };
            let before = held.verdict.replace(Verdict::Covered);
            let held = held.clone();
            if before.is_none() {
                self.due.remove(&(decided_at(&held), key.clone()));
            }
            if held.ended {
                self.held.remove(&key);
            }
            decided.push(Decided { key, held, before });
        }
        decided
    }

    /// What is due at `now_ns`, in the order in which it fell due.
    pub(super) fn turn(&mut self, now_ns: u64, horizon_ns: u64) -> Vec<Decided> {
        let mut decided = Vec::new();
        while let Some((at, key)) = self.due.first().filter(|(at, _)| *at <= now_ns).cloned() {
            self.due.remove(&(at, key.clone()));
            let Some(held) = self.held.get_mut(&key) else { continue };
            let forgotten = horizon_ns > 0 && held.start_ns <= horizon_ns;
            held.verdict = Some(if forgotten { Verdict::Unknown } else { Verdict::Untold });
            let held = held.clone();
            if held.ended {
                self.forget(&key);
            }
            decided.push(Decided { key, held, before: None });
        }
        decided
    }

    fn wait(&mut self, key: &Key) {
        if let Some(ends) = ends(&key.1) {
            let ports = self.waiting.entry(ends).or_default();
            ports.entry(key.1.src_port).or_default().insert(key.clone());
        }
    }

    fn forget(&mut self, key: &Key) {
        self.held.remove(key);
        let Some(ends) = ends(&key.1) else { return };
        let Some(ports) = self.waiting.get_mut(&ends) else { return };
        if let Some(keys) = ports.get_mut(&key.1.src_port) {
            keys.remove(key);
            if keys.is_empty() {
                ports.remove(&key.1.src_port);
            }
        }
        if ports.is_empty() {
            self.waiting.remove(&ends);
        }
    }

    /// A witness spoke at `now_ns`. Beyond [`WITNESSES_MAX`] the one that was silent longest is forgotten.
    pub(super) fn heard(&mut self, witness: String, now_ns: u64) {
        self.alive.insert(witness, now_ns);
        if self.alive.len() > WITNESSES_MAX {
            let oldest =
                self.alive.iter().min_by_key(|(name, at)| (**at, *name)).map(|(name, _)| name.clone());
            oldest.map(|name| self.alive.remove(&name));
        }
    }

    /// When the next verdict is due, ledger time in ns.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Puts back what was held before a restart.
    pub(super) fn restore(&mut self, key: Key, held: Held) {
        if held.verdict.is_none() {
            self.due.insert((decided_at(&held), key.clone()));
        }
        if held.verdict != Some(Verdict::Covered) {
            self.wait(&key);
        }
        self.held.insert(key, held);
    }
}

fn decided_at(held: &Held) -> u64 {
    held.first_ns.saturating_add(GRACE_NS)
}

/// Both addresses; `None` for one over a local socket, which no event's addresses can match.
fn ends(connection: &Connection) -> Option<(IpAddr, SocketAddr)> {
    Some((connection.src?, connection.dst))
}

fn bare((origin, connection): Key) -> Key {
    (origin, bare_connection(connection))
}

fn bare_connection(connection: Connection) -> Connection {
    Connection { bytes: None, since_ns: None, ..connection }
}
