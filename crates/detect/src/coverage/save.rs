//! The detector's state as bytes, so that a restart changes no finding. All or nothing: what cannot be read is left, and
//! the detector begins anew.

use super::Coverage;
use super::legs::{Leg, Legs};
use super::names::{NAMED_MAX, Names};
use super::numbers::Numbers;
use super::observed::{self, Observed};
use super::spots::{SPOTS_MAX, Spot, SpotKey};
use super::witnessed::{CONNECTIONS_MAX, Held, Origin, Verdict};
use countersign_event::Transport;
use countersign_event::witness::Connection;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Another form has another number, and is not read.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    now_ns: u64,
    day: (u64, u64),
    malformed: u64,
    legs: (u64, Vec<(u64, Leg)>),
    callers: Vec<(IpAddr, String)>,
    callees: Vec<(SocketAddr, String)>,
    numbers: Numbers,
    observed: observed::Saved,
    spots: Vec<(SpotKey, Spot)>,
    unlisted: u64,
    held: Vec<SavedHeld>,
    alive: Vec<(String, u64)>,
    unheld: u64,
    shadows: super::shadow::Saved,
}

#[derive(Serialize, Deserialize)]
struct SavedHeld {
    origin: Origin,
    src: Option<IpAddr>,
    src_port: Option<u16>,
    dst: SocketAddr,
    transport: u64,
    names: [String; 3],
    through: bool,
    times: (u64, u64),
    bytes: u64,
    place: (u64, [u8; 16]),
    verdict: u8,
    ended: bool,
}

pub(super) fn write(of: &Coverage) -> Vec<u8> {
    let saved = Saved {
        version: VERSION,
        now_ns: of.now_ns,
        day: of.day,
        malformed: of.malformed,
        legs: of.legs.save(),
        callers: of.names.callers.clone().into_iter().collect(),
        callees: of.names.callees.clone().into_iter().collect(),
        numbers: of.numbers.clone(),
        observed: of.observed.save(),
        spots: of.spots.open.clone().into_iter().collect(),
        unlisted: of.spots.unlisted,
        held: of.witnessed.held.iter().map(|(key, held)| save_held(key, held)).collect(),
        alive: of.witnessed.alive.clone().into_iter().collect(),
        unheld: of.witnessed.unheld,
        shadows: of.shadows.save(),
    };
    // Plain data with string keys: it always has a form.
    serde_json::to_vec(&saved).unwrap_or_default()
}

pub(super) fn read(into: &mut Coverage, bytes: &[u8]) -> bool {
    let saved = serde_json::from_slice::<Saved>(bytes).ok().filter(|saved| saved.version == VERSION);
    let fresh = saved.and_then(|saved| restored(into, saved));
    match fresh {
        Some(fresh) => *into = fresh,
        None => return bytes.is_empty(),
    }
    true
}

fn restored(old: &Coverage, saved: Saved) -> Option<Coverage> {
    let mut fresh = Coverage::new(old.config.clone(), old.expected.clone(), old.hmac.clone());
    let bounds = [
        (saved.callers.len(), NAMED_MAX),
        (saved.callees.len(), NAMED_MAX),
        (saved.spots.len(), SPOTS_MAX),
        (saved.held.len(), CONNECTIONS_MAX),
        (saved.alive.len(), super::witnessed::WITNESSES_MAX),
    ];
    if bounds.iter().any(|(have, max)| have > max) {
        return None;
    }
    (fresh.now_ns, fresh.day, fresh.malformed) = (saved.now_ns, saved.day, saved.malformed);
    fresh.legs = Legs::load(saved.legs)?;
    fresh.names =
        Names { callers: saved.callers.into_iter().collect(), callees: saved.callees.into_iter().collect() };
    fresh.numbers = saved.numbers;
    fresh.observed = Observed::load(fresh.config.edges_max, saved.observed)?;
    fresh.spots.unlisted = saved.unlisted;
    for (key, spot) in saved.spots {
        fresh.spots.restore(key, spot);
    }
    for held in saved.held {
        let (key, held) = load_held(held)?;
        fresh.witnessed.restore(key, held);
    }
    fresh.witnessed.alive = saved.alive.into_iter().collect();
    fresh.witnessed.unheld = saved.unheld;
    fresh.shadows.load(saved.shadows)?;
    Some(fresh)
}

fn save_held((origin, of): &super::witnessed::Key, held: &Held) -> SavedHeld {
    SavedHeld {
        origin: Origin::clone(origin),
        src: of.src,
        src_port: of.src_port,
        dst: of.dst,
        transport: of.transport.code(),
        names: [of.proto.clone(), of.user.clone(), of.app.clone()],
        through: of.through,
        times: (held.first_ns, held.start_ns),
        bytes: held.bytes,
        place: (held.index, held.eid),
        verdict: match held.verdict {
            None => 0,
            Some(Verdict::Covered) => 1,
            Some(Verdict::Untold) => 2,
            Some(Verdict::Unknown) => 3,
        },
        ended: held.ended,
    }
}

fn load_held(saved: SavedHeld) -> Option<(super::witnessed::Key, Held)> {
    let [proto, user, app] = saved.names;
    let connection = Connection {
        src: saved.src,
        src_port: saved.src_port,
        dst: saved.dst,
        transport: Transport::from_code(saved.transport)?,
        proto,
        user,
        app,
        through: saved.through,
        bytes: None,
        since_ns: None,
    };
    let verdict = match saved.verdict {
        0 => None,
        1 => Some(Verdict::Covered),
        2 => Some(Verdict::Untold),
        3 => Some(Verdict::Unknown),
        _ => return None,
    };
    let held = Held {
        first_ns: saved.times.0,
        start_ns: saved.times.1,
        bytes: saved.bytes,
        index: saved.place.0,
        eid: saved.place.1,
        verdict,
        ended: saved.ended,
    };
    Some(((Arc::new(saved.origin), connection), held))
}
