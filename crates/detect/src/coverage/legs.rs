//! Which connections events told of lately: the other half of what a witness sees.
//!
//! A leg is one connection as both its ends know it: the caller's address (with or without its port) and the address
//! called. The gateway's way to its upstream is another leg than the client's way to the gateway. Invariants: at most
//! [`LEGS_MAX`]; what had to leave is remembered as a time ([`Legs::horizon_ns`]), before which nothing can be said to
//! be untold; the answer depends on the ledger alone.

use countersign_event::{Event, Rec};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// Most legs remembered: about 10 MiB with their queue.
pub const LEGS_MAX: usize = 65_536;
/// An event of a connection with both ports known tells of it for this long, ns: connections may be idle.
pub const EXACT_NS: u64 = 24 * 3_600_000_000_000;
/// An event without the caller's port tells of a connection from that address for this long, ns.
pub const LOOSE_NS: u64 = 600_000_000_000;
/// A leg is moved to the end of the queue at most this often, ns.
const REFRESH_NS: u64 = 1_000_000_000;

/// One connection, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Leg {
    pub(super) src: IpAddr,
    pub(super) port: Port,
    pub(super) dst: SocketAddr,
}

/// The caller's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Port {
    /// As the event has it.
    Known(u16),
    /// The event had none.
    Unknown,
    /// Either: what is looked up for a witness that knows no port.
    Any,
}

/// See the module.
#[derive(Default)]
pub(super) struct Legs {
    /// Ledger time of the last event, and the stamp of its place in the queue.
    known: HashMap<Leg, (u64, u64)>,
    /// Least recent first; an entry whose stamp is not the leg's any more is skipped.
    queue: VecDeque<(u64, Leg)>,
    stamp: u64,
    horizon_ns: u64,
}

impl Legs {
    /// The leg that an event tells of: the caller's way to whoever observed it.
    pub(super) fn of(event: &Event) -> Option<Leg> {
        if matches!(event.core.rec, None | Some(Rec::Raw | Rec::Gap | Rec::Finding | Rec::Platform)) {
            return None;
        }
        let peer = &event.peer;
        let src = peer.src.as_ref()?;
        let dst = peer.dst.as_ref().or(peer.up.as_ref())?;
        let dst = SocketAddr::new(dst.ip?.to_canonical(), dst.port?);
        let port = src.port.map_or(Port::Unknown, Port::Known);
        Some(Leg { src: src.ip?.to_canonical(), port, dst })
    }

    /// An event told of it at `now_ns`.
    pub(super) fn see(&mut self, leg: Leg, now_ns: u64) {
        self.note(leg, now_ns);
        self.note(Leg { port: Port::Any, ..leg }, now_ns);
    }

    fn note(&mut self, leg: Leg, now_ns: u64) {
        if let Some((last_ns, _)) = self.known.get(&leg)
            && now_ns.saturating_sub(*last_ns) < REFRESH_NS
        {
            return;
        }
        self.stamp += 1;
        self.known.insert(leg, (now_ns, self.stamp));
        self.queue.push_back((self.stamp, leg));
        while self.known.len() > LEGS_MAX {
            let Some((stamp, leg)) = self.queue.pop_front() else { break };
            if let Some((last_ns, now)) = self.known.get(&leg)
                && *now == stamp
            {
                self.horizon_ns = self.horizon_ns.max(*last_ns);
                self.known.remove(&leg);
            }
        }
        // A leg that is refreshed leaves its old place behind.
        if self.queue.len() > 2 * LEGS_MAX {
            let known = &self.known;
            self.queue.retain(|(stamp, leg)| known.get(leg).is_some_and(|(_, now)| now == stamp));
        }
    }

    /// Whether an event told of a connection between these ends lately.
    pub(super) fn told(&self, src: IpAddr, port: Option<u16>, dst: SocketAddr, now_ns: u64) -> bool {
        let within = |port, length: u64| {
            let last = self.known.get(&Leg { src, port, dst });
            last.is_some_and(|(last_ns, _)| now_ns.saturating_sub(*last_ns) <= length)
        };
        match port {
            Some(port) => within(Port::Known(port), EXACT_NS) || within(Port::Unknown, LOOSE_NS),
            None => within(Port::Any, LOOSE_NS),
        }
    }

    /// Events until this ledger time may have been forgotten, ns; 0 = none was.
    pub(super) fn horizon_ns(&self) -> u64 {
        self.horizon_ns
    }

    /// What is remembered, least recent first.
    pub(super) fn save(&self) -> (u64, Vec<(u64, Leg)>) {
        let live = self.queue.iter().filter_map(|(stamp, leg)| {
            let (last_ns, now) = self.known.get(leg)?;
            (now == stamp).then_some((*last_ns, *leg))
        });
        (self.horizon_ns, live.collect())
    }

    pub(super) fn load((horizon_ns, legs): (u64, Vec<(u64, Leg)>)) -> Option<Legs> {
        let mut new = Legs { horizon_ns, ..Legs::default() };
        if legs.len() > LEGS_MAX {
            return None;
        }
        for (last_ns, leg) in legs {
            new.stamp += 1;
            new.known.insert(leg, (last_ns, new.stamp));
            new.queue.push_back((new.stamp, leg));
        }
        Some(new)
    }
}
