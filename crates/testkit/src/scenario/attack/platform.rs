//! The observers themselves: records taken away, clocks that are off.

use super::*;
use crate::scenario::observer::{AGENTS, Hole, Skew, Tardy};

/// Names of an observer: findings may name it as who speaks or as what is concerned.
fn around(agent: usize) -> (Vec<String>, Vec<String>) {
    (vec![AGENTS[agent].to_owned()], vec![AGENTS[agent].to_owned()])
}

/// Records of a stream are taken away on their way: numbers are missing.
pub(super) fn gap(plan: &mut Plan<'_>, mut cast: Cast) {
    let (agent, from) = (cast.rng.index(3), cast.from);
    let left = cast.blend(1.0, 150.0) as u64;
    let (callers, services) = around(agent);
    let note = format!("{left} records of {} taken away", AGENTS[agent]);
    // It shows with the first record after it.
    let label = plan.label(&cast, (from, from + 4 * HOUR), callers, services, note);
    plan.troubles.holes.push(Hole { agent, from, left, label });
}

/// Records come out of order, each up to 40 s late, and all of them come.
pub(super) fn gap_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let (agent, from) = (plan.agent_apart(3, &mut cast.rng), cast.from);
    let (callers, services) = around(agent);
    let to = from + HOUR;
    plan.label(&cast, (from, to), callers, services, format!("{} out of order, complete", AGENTS[agent]));
    plan.troubles.tardy.push(Tardy { agent, from, to, delay: 40 * SECOND, spool: false });
}

/// The clock of an observer is off: at once, or farther by and by.
pub(super) fn skew(plan: &mut Plan<'_>, mut cast: Cast) {
    let (agent, from) = (cast.rng.index(4), cast.from);
    let to = (from + 6 * HOUR).min(plan.world.end);
    let size = cast.blend(4e9, 180e9) as i64;
    let ahead = if cast.rng.chance(0.6) { size } else { -size };
    let ramp = cast.rng.chance(0.3);
    let (callers, services) = around(agent);
    let way = if ramp { "by and by" } else { "at once" };
    let note = format!("clock of {} off by {} s, {way}", AGENTS[agent], ahead / SECOND as i64);
    let label = plan.label(&cast, (from, to), callers, services, note);
    plan.troubles.skews.push(Skew { agent, from, to, ahead, ramp, label: Some(label) });
}

/// A clock that wanders by half a second; an observer that keeps its records for 15 minutes and then sends them.
pub(super) fn skew_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let from = cast.from;
    let agent = plan.agent_apart(5, &mut cast.rng);
    let to = from + 2 * HOUR;
    let (callers, services) = around(agent);
    let note = format!("{} wanders by 0.5 s, and sends a spool late", AGENTS[agent]);
    let label = plan.label(&cast, (from, to), callers, services, note);
    let ahead = (SECOND / 2) as i64;
    plan.troubles.skews.push(Skew { agent, from, to, ahead, ramp: true, label: Some(label) });
    plan.troubles.tardy.push(Tardy { agent, from, to: from + 15 * MINUTE, delay: 0, spool: true });
}
