//! Ordinary operation at its busiest. Nobody may be notified of any of it.

use super::access::lateral_like;
use super::credentials::redeploy;
use super::*;
use crate::scenario::actor::{emit, steps};
use crate::scenario::background::{EXPORT_FILES, SWEEP, export_run, marker, sweep_run};
use crate::scenario::topology::Op;
use countersign_event::Class;

/// A release: four services get new versions within two hours; ids, speed, one operation and one dependency are new.
pub(super) fn deployment(plan: &mut Plan<'_>, mut cast: Cast) {
    let callers = plan.callers(&[Tier::Core, Tier::Front], None);
    let from = cast.from;
    let mut names = Vec::new();
    for number in 0..3_u64 {
        let service = callers[cast.rng.index(callers.len())];
        let at = from + number * 40 * MINUTE;
        let pace = cast.rng.range(0.85, 1.25);
        let deploy = redeploy(plan, service, at, pace, &mut cast.rng);
        plan.agenda.push(marker(plan.world, &deploy));
        names.extend(plan.names(service));
        let edges = plan.outgoing(service);
        let edge = edges[cast.rng.index(edges.len())];
        let noun = plan.world.services[plan.world.edges[edge].callee].noun;
        if number == 0 && plan.world.edges[edge].shape == super::super::topology::Shape::Http {
            new_operation(plan, edge, format!("/{noun}/batch"), at + 3 * MINUTE, &mut cast);
        }
    }
    let note = "three services replaced within two hours: new ids, speeds, an operation".to_owned();
    let services = names.clone();
    plan.label(&cast, (from, plan.world.end), names, services, note);
    let rng = Rng::new(cast.rng.bits());
    let (name, attack, strength) = (cast.name, cast.attack, cast.strength);
    lateral_like(plan, Cast { name, attack, strength, rng, from: from + 110 * MINUTE });
}

/// The new version uses one operation more.
fn new_operation(plan: &mut Plan<'_>, edge: usize, res: String, from: u64, cast: &mut Cast) {
    let op = Op {
        verb: "POST".to_owned(),
        res,
        class: Class::Create,
        objects: 0,
        weight: 0.0,
        req: 2400.0,
        rsp: 300.0,
        slow: 1.5,
    };
    plan.world.edges[edge].ops.push(op);
    let op = plan.world.edges[edge].ops.len() - 1;
    let rng = Rng::new(cast.rng.bits());
    plan.agenda.push(steps(from, 60, (5 * MINUTE, 0.6), rng, move |world, now, _, rng, out| {
        if let Some(call) = world.call_op(edge, op, now, rng) {
            emit(world, &call, rng, out);
        }
    }));
}

/// A night with more to do than others: more objects, more and larger files, at the usual hours.
pub(super) fn night(plan: &mut Plan<'_>, mut cast: Cast) {
    let night = plan.world.end - super::super::DAY;
    let (sweep, export) = (plan.jobs.sweep, plan.jobs.export);
    let (start, end) = (night + 2 * HOUR, night + 5 * HOUR);
    let mut callers = plan.names(plan.world.edges[sweep].caller);
    callers.extend(plan.names(plan.world.edges[export].caller));
    let called = plan.called(&[sweep, export]);
    let note = "the nightly jobs with 70 % more to do".to_owned();
    let label = plan.label(&cast, (start, end), callers, called, note);
    // They follow on the usual runs.
    let from = night + 2 * HOUR + 20 * MINUTE + cast.rng.below(5 * MINUTE);
    plan.agenda.push(sweep_run(plan.world.seed, sweep, from, SWEEP * 7 / 10, 2_000, Some(label)));
    let from = night + 3 * HOUR + 20 * MINUTE + cast.rng.below(5 * MINUTE);
    plan.agenda.push(export_run(plan.world.seed, export, from, (EXPORT_FILES * 7 / 10, 1.2), 2_000));
}
