//! One look after another as events: what opened, what ended, and a sign of life.
//!
//! Only changes reach the ledger: a look every ten seconds at a thousand connections that stay would fill it with the
//! same. Invariants: what was told open is told ended once it is not seen any more; the first event after a start says
//! that nothing before it counts; no text of a look is kept but names within their bound.

use super::{CONNECTIONS_MAX, Seen};
use countersign_event::Event;
use countersign_event::witness::{Connection, Report, to_events};
use std::collections::BTreeMap;

/// Connections kept open at once: all of one look.
pub const OPEN_MAX: usize = CONNECTIONS_MAX;
/// A connection is told again when its bytes have grown by this factor.
pub const GROWN: u64 = 2;
/// With nothing to tell, an event this often says that the witness looks, ns.
pub const SIGN_OF_LIFE_NS: u64 = 60_000_000_000;

/// The memory of one witness.
#[derive(Debug)]
pub struct Log {
    witness: String,
    /// By everything but bytes and age.
    open: BTreeMap<Connection, State>,
    told_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    told: Option<u64>,
    bytes: Option<u64>,
    since_ns: Option<u64>,
}

impl Log {
    /// Of a witness that has not looked yet; `witness` names it in events: `proc:web-1`.
    pub fn new(witness: impl Into<String>) -> Log {
        Log { witness: witness.into(), open: BTreeMap::new(), told_ns: None }
    }

    /// What to record of a look at `now_ns` (our clock, UTC ns); nothing when nothing changed.
    pub fn events(&mut self, seen: Seen, now_ns: u64) -> Vec<Event> {
        let mut report = Report {
            witness: self.witness.clone(),
            began: self.told_ns.is_none(),
            unlisted: seen.unlisted,
            ..Report::default()
        };
        let mut before = std::mem::take(&mut self.open);
        for (key, mut state) in folded(seen.connections) {
            let told = before.remove(&key).map(|old| old.told);
            let news = match told {
                None => true,
                Some(told) => state.bytes.unwrap_or(0) >= told.unwrap_or(0).saturating_mul(GROWN).max(1),
            };
            if news {
                report.open.push(with(&key, &state));
            }
            state.told = if news { state.bytes } else { told.flatten() };
            self.open.insert(key, state);
        }
        report.ended.extend(before.iter().map(|(key, state)| with(key, state)));
        let quiet = report.open.is_empty() && report.ended.is_empty();
        let due = self.told_ns.is_none_or(|told| now_ns.saturating_sub(told) >= SIGN_OF_LIFE_NS);
        if quiet && !due && report.unlisted == 0 {
            return Vec::new();
        }
        self.told_ns = Some(now_ns);
        to_events(&report, now_ns)
    }
}

/// Connections that nothing tells apart (several over one local socket) are one, with their bytes in sum.
fn folded(connections: Vec<Connection>) -> BTreeMap<Connection, State> {
    let mut open: BTreeMap<Connection, State> = BTreeMap::new();
    for connection in connections.into_iter().take(OPEN_MAX) {
        let (bytes, since_ns) = (connection.bytes, connection.since_ns);
        let state = open.entry(bare(connection)).or_insert(State { told: None, bytes: None, since_ns });
        state.bytes = match (state.bytes, bytes) {
            (None, more) => more,
            (some, None) => some,
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
        };
    }
    open
}

fn bare(connection: Connection) -> Connection {
    Connection { bytes: None, since_ns: None, ..connection }
}

fn with(key: &Connection, state: &State) -> Connection {
    Connection { bytes: state.bytes, since_ns: state.since_ns, ..key.clone() }
}
