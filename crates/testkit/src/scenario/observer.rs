//! The observers: who records a call, under which number, by which clock, and when the ledger has it.
//!
//! Calls come in by the true time at which they were over; each observer numbers its own without a hole, unless a
//! fault or an attack takes records away. Nothing is decided by wall clocks: all times are the scenario's.

use super::call::Draft;
use super::rng::Rng;
use super::topology::Tier;
use super::{DAY, Faults, HOUR, MILLI, SECOND};
use countersign_event::{Event, TimeBasis, eid};

/// Gateways of the three zones.
const ZONAL: usize = 3;
/// Gateway that partners call.
pub(super) const EDGE: usize = 3;
/// Gateway that calls to the outside pass.
pub(super) const EGRESS: usize = 4;
/// Access log of the mesh, received from Envoy.
pub(super) const MESH: usize = 5;
/// An import of an older day.
pub(super) const BACKFILL: usize = 6;
/// Countersign itself.
pub(super) const PLATFORM: usize = 7;

/// What reads the connections of databases, where a scenario has such a witness.
pub(super) const WITNESS: usize = 8;

/// Names of the observers.
pub(super) const AGENTS: [&str; 9] = [
    "spiffe://prod.example/gw/eu-1a",
    "spiffe://prod.example/gw/eu-1b",
    "spiffe://prod.example/gw/eu-1c",
    "spiffe://prod.example/gw/edge",
    "spiffe://prod.example/gw/egress",
    "input:mesh-als",
    "input:backfill",
    "spiffe://prod.example/countersign",
    "input:witness",
];

/// Who observes the calls of one tier to another.
pub(super) fn agent_of(from: Tier, to: Tier, callee: usize) -> usize {
    match (from, to) {
        (Tier::Partner, _) => EDGE,
        (_, Tier::Outside) => EGRESS,
        (_, Tier::Core) if callee.is_multiple_of(5) => MESH,
        _ => callee % ZONAL,
    }
}

/// Whether its records are made by somebody else and only received here.
pub(super) fn is_import(agent: usize) -> bool {
    agent == MESH || agent == BACKFILL
}

/// Records that vanish between the observer and the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    pub(super) agent: usize,
    pub(super) from: u64,
    pub(super) left: u64,
    pub(super) label: usize,
}

/// A clock that is off for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Skew {
    pub(super) agent: usize,
    pub(super) from: u64,
    pub(super) to: u64,
    /// How far ahead of the true time, ns; reached step by step with `ramp`.
    pub(super) ahead: i64,
    pub(super) ramp: bool,
    pub(super) label: Option<usize>,
}

/// A time in which an observer's records come late or out of order, with nothing lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tardy {
    pub(super) agent: usize,
    pub(super) from: u64,
    pub(super) to: u64,
    /// Each record waits for up to so long, ns.
    pub(super) delay: u64,
    /// All wait until `to`, as in a spool, instead.
    pub(super) spool: bool,
}

/// What happens to observers in a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles {
    /// Nothing is observed from, to.
    pub(super) outages: Vec<(usize, u64, u64)>,
    pub(super) holes: Vec<Hole>,
    pub(super) skews: Vec<Skew>,
    pub(super) tardy: Vec<Tardy>,
    /// A new run of the observer.
    pub(super) restarts: Vec<(usize, u64)>,
}

/// A record on its way.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) ledger_ns: u64,
    pub(super) event: Event,
    pub(super) label: Option<usize>,
}

#[derive(Debug)]
struct Agent {
    stream: [u8; 16],
    run: u64,
    seq: u64,
    /// Offset of a clock that is as good as they are, ns, and its change each day.
    offset: f64,
    drift: f64,
    /// When the last record reached the ledger that was not held up.
    sent: u64,
    /// The last record was lost, and to which label that belongs.
    lost: Option<usize>,
}

/// All observers of a run.
#[derive(Debug)]
pub(super) struct Observers {
    agents: Vec<Agent>,
    troubles: Troubles,
    faults: Faults,
    seed: u64,
    start: u64,
    rng: Rng,
}

impl Observers {
    pub(super) fn new(seed: u64, start: u64, troubles: Troubles, faults: Faults) -> Observers {
        let agents = (0..AGENTS.len()).map(|agent| {
            let mut rng = Rng::of(seed, "observer", agent as u64);
            Agent {
                stream: rng.bytes(),
                run: 0,
                seq: 0,
                offset: rng.range(-0.25, 0.25) * SECOND as f64,
                drift: rng.range(-0.06, 0.06) * SECOND as f64,
                sent: 0,
                lost: None,
            }
        });
        Observers {
            agents: agents.collect(),
            troubles,
            faults,
            seed,
            start,
            rng: Rng::of(seed, "delivery", 0),
        }
    }

    /// Records `draft`, or does not; a duplicate comes second.
    pub(super) fn observe(&mut self, draft: Draft, out: &mut Vec<Delivery>) {
        let Draft { seen, agent: number, mut event, mut label } = draft;
        let Troubles { outages, restarts, holes, .. } = &mut self.troubles;
        if outages.iter().any(|(agent, from, to)| *agent == number && *from <= seen && seen < *to) {
            return;
        }
        let runs = restarts.iter().filter(|(agent, at)| *agent == number && *at <= seen).count() as u64;
        let Some(agent) = self.agents.get_mut(number) else { return };
        if runs > agent.run {
            agent.run = runs;
            agent.seq = 0;
            agent.stream = Rng::of(self.seed, "stream", (number as u64) << 16 ^ runs).bytes();
        }
        agent.seq += 1;
        if number < MESH && self.rng.chance(self.faults.gaps) {
            agent.seq += 1 + self.rng.below(3);
        }
        if let Some(hole) = holes.iter_mut().find(|h| h.agent == number && h.left > 0 && h.from <= seen) {
            hole.left -= 1;
            agent.lost = Some(hole.label);
            return;
        }
        label = label.or(agent.lost.take());
        event.core.agent = AGENTS[number].to_owned();
        event.core.stream = agent.stream;
        event.core.seq = agent.seq;
        event.core.eid = eid(AGENTS[number], &agent.stream, agent.seq);
        let days = seen.saturating_sub(self.start) as f64 / DAY as f64;
        let mut ahead = (agent.offset + agent.drift * days) as i64;
        for skew in self.troubles.skews.iter().filter(|s| s.agent == number && s.from <= seen && seen < s.to)
        {
            let share =
                if skew.ramp { (seen - skew.from) as f64 / (skew.to - skew.from) as f64 } else { 1.0 };
            ahead += (skew.ahead as f64 * share) as i64;
            label = label.or(skew.label);
        }
        let ledger_ns = self.arrival(number, seen);
        if is_import(number) {
            // The clock of a source shows in what it states; we observe when it reaches us.
            event.core.t_obs = ledger_ns - self.rng.below(4 * MILLI);
            event.core.t_basis = Some(TimeBasis::Stated);
        } else {
            event.core.t_obs = seen.saturating_add_signed(ahead);
        }
        if let Some(at) = &mut event.core.t_event
            && number != PLATFORM
            && number != BACKFILL
        {
            *at += ahead;
        }
        if self.rng.chance(self.faults.duplicates) {
            let again = ledger_ns + self.rng.below(60 * SECOND);
            out.push(Delivery { ledger_ns: again, event: event.clone(), label });
        }
        out.push(Delivery { ledger_ns, event, label });
    }

    /// When the ledger has it: in the order of observation, unless something holds it up.
    fn arrival(&mut self, agent: usize, seen: u64) -> u64 {
        let rng = &mut self.rng;
        let usual = if agent == MESH {
            SECOND / 2 + rng.below(8 * SECOND)
        } else {
            2 * MILLI + rng.below(40 * MILLI)
        };
        let mut usual = seen + usual;
        if let Some(agent) = self.agents.get_mut(agent) {
            usual = usual.max(agent.sent);
            agent.sent = usual;
        }
        let mut delay = 0;
        if let Some(tardy) =
            self.troubles.tardy.iter().find(|t| t.agent == agent && t.from <= seen && seen < t.to)
        {
            delay += if tardy.spool { tardy.to - seen } else { rng.below(tardy.delay) };
        }
        if rng.chance(self.faults.reorder) {
            delay += rng.below(3 * SECOND);
        }
        if rng.chance(self.faults.late) {
            delay += rng.below(HOUR);
        }
        usual + delay
    }
}
