//! Blind spots: who reaches whom without an event telling of it. One for a caller's address, an address called and a
//! name, however many connections it opens.
//!
//! Invariants: open from the first untold connection until all of them are told of, or until none was seen for
//! [`QUIET_NS`]; updated each time their number reaches a power of ten; at most [`SPOTS_MAX`] at once, the rest is
//! counted.

use super::witnessed::{Decided, Verdict};
use crate::finding::Evidence;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Blind spots open at once.
pub const SPOTS_MAX: usize = 10_000;
/// A blind spot without a connection for this long is resolved, ns.
pub const QUIET_NS: u64 = 3_600_000_000_000;
/// Evidence listed from each end.
const LISTED: usize = 10;

/// What tells one blind spot from another: tenant, witness, caller's address, address called, user at the callee.
pub(super) type SpotKey = (String, String, Option<IpAddr>, SocketAddr, String);

/// One blind spot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    /// Witness that sees it.
    pub witness: String,
    /// Caller's address; `None` = a socket on the callee's own machine.
    pub src: Option<IpAddr>,
    /// Address called.
    pub dst: SocketAddr,
    /// Protocol, as far as the witness knows.
    pub proto: String,
    /// Name by which the callee knows the caller; empty = unknown.
    pub user: String,
    /// Name that the caller gives itself; empty = none.
    pub app: String,
    /// Identity seen in events from that address, if only one was; empty = none.
    pub caller: String,
    /// Service that events give that address; empty = unknown.
    pub callee: String,
    /// First seen: when the connection was opened if the witness knows, else ledger time; ns.
    pub since_ns: u64,
    /// Ledger time at which a connection was last known to be open, ns.
    pub last_ns: u64,
    /// Connections that no event told of.
    pub connections: u64,
    /// Of these, open now.
    pub open: u64,
    /// Bytes over them, as far as witnesses count.
    pub bytes: u64,
    /// Finding, hexadecimal.
    pub finding: String,
    pub(super) id: [u8; 16],
    pub(super) revision: u64,
    pub(super) capped: bool,
    pub(super) agent: String,
    pub(super) first: (u64, [u8; 16]),
    pub(super) early: Vec<u64>,
    pub(super) late: Vec<u64>,
}

/// What a finding has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Opened,
    More,
    Told,
    Quiet,
}

/// See the module.
#[derive(Default)]
pub(super) struct Spots {
    pub(super) open: BTreeMap<SpotKey, Spot>,
    quiet: BTreeSet<(u64, SpotKey)>,
    /// Blind spots beyond the bound.
    pub(super) unlisted: u64,
}

impl Spots {
    /// Takes what was decided of a connection; `fresh` makes a spot's beginning. Says what to tell of which.
    pub(super) fn take(
        &mut self,
        decided: &Decided,
        now_ns: u64,
        fresh: impl FnOnce(&SpotKey) -> Spot,
    ) -> Option<(SpotKey, Said)> {
        let Decided { key: (origin, connection), held, before } = decided;
        let (tenant, witness) = (origin.tenant.clone(), origin.witness.clone());
        let key: SpotKey = (tenant, witness, connection.src, connection.dst, connection.user.clone());
        let said = match (before, held.verdict) {
            (None | Some(Verdict::Unknown), Some(Verdict::Untold)) => {
                if !self.open.contains_key(&key) && self.open.len() >= SPOTS_MAX {
                    self.unlisted = self.unlisted.saturating_add(1);
                    return None;
                }
                let spot = self.open.entry(key.clone()).or_insert_with_key(fresh);
                spot.add(held.index, held.bytes, !held.ended);
                let first = spot.connections == 1;
                let round = spot.connections >= 10 && is_power_of_ten(spot.connections);
                first.then_some(Said::Opened).or(round.then_some(Said::More))
            }
            (Some(Verdict::Untold), verdict) => {
                let spot = self.open.get_mut(&key)?;
                spot.bytes = spot.bytes.max(held.bytes);
                spot.open =
                    spot.open.saturating_sub(u64::from(!held.ended || verdict == Some(Verdict::Untold)));
                let told = verdict == Some(Verdict::Covered);
                spot.connections = spot.connections.saturating_sub(u64::from(told));
                (told && spot.connections == 0).then_some(Said::Told)
            }
            _ => return None,
        };
        let spot = self.open.get_mut(&key)?;
        spot.last_ns = now_ns;
        if spot.open == 0 {
            self.quiet.insert((now_ns.saturating_add(QUIET_NS), key.clone()));
        }
        said.map(|said| (key, said))
    }

    /// The spots that have been quiet for their time.
    pub(super) fn turn(&mut self, now_ns: u64) -> Vec<SpotKey> {
        let mut over = Vec::new();
        while let Some((at, key)) = self.quiet.first().filter(|(at, _)| *at <= now_ns).cloned() {
            self.quiet.remove(&(at, key.clone()));
            // An entry of before its last connection says nothing.
            let is_quiet = |s: &Spot| s.open == 0 && s.last_ns.saturating_add(QUIET_NS) == at;
            if self.open.get(&key).is_some_and(is_quiet) {
                over.push(key);
            }
        }
        over
    }

    /// Puts back what was open before a restart.
    pub(super) fn restore(&mut self, key: SpotKey, spot: Spot) {
        if spot.open == 0 {
            self.quiet.insert((spot.last_ns.saturating_add(QUIET_NS), key.clone()));
        }
        self.open.insert(key, spot);
    }
}

impl Spot {
    fn add(&mut self, index: u64, bytes: u64, open: bool) {
        self.connections = self.connections.saturating_add(1);
        self.open = self.open.saturating_add(u64::from(open));
        self.bytes = self.bytes.saturating_add(bytes);
        if self.early.last() == Some(&index) || self.late.last() == Some(&index) {
            return;
        }
        if self.early.len() < LISTED {
            self.early.push(index);
        } else {
            if self.late.len() >= LISTED {
                self.late.remove(0);
            }
            self.late.push(index);
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        let mut indices: Vec<u64> = self.early.iter().chain(&self.late).copied().collect();
        indices.sort_unstable();
        indices.dedup();
        let last = indices.last().copied().unwrap_or(self.first.0);
        Evidence { indices, count: self.connections.max(1), first: self.first.0, last, eid: self.first.1 }
    }
}

fn is_power_of_ten(n: u64) -> bool {
    let mut power = 1u64;
    while power < n {
        power = power.saturating_mul(10);
    }
    power == n
}
