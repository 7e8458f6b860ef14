//! What leaves: data carried out slowly, and calls home at equal times.

use super::credentials::redeploy;
use super::*;
use crate::scenario::actor::{Timer, emit, steps};
use crate::scenario::background::{EXPORT_FILES, export_run, health_op, marker};
use crate::scenario::names;
use crate::scenario::topology::Op;
use countersign_event::Class;

/// A destination outside that nobody called before.
fn new_outside(plan: &mut Plan<'_>, rng: &mut Rng) -> usize {
    let mut fresh = plan.world.services[plan.world.named("storage.coldvault.example")].clone();
    fresh.name = names::NEW_OUTSIDE[rng.index(names::NEW_OUTSIDE.len())].to_owned();
    fresh.address = ip(203, 0, 113, 5 + rng.index(240));
    plan.world.services.push(fresh);
    plan.world.services.len() - 1
}

/// A destination outside that others call, and `caller` does not.
fn known_outside(plan: &Plan<'_>, caller: usize) -> Option<usize> {
    plan.world.of(Tier::Outside).into_iter().find(|i| plan.world.between(caller, *i).is_none())
}

fn upload(res: &str, verb: &str, (req, rsp): (f64, f64)) -> Op {
    Op {
        verb: verb.to_owned(),
        res: res.to_owned(),
        class: Class::Create,
        objects: 0,
        weight: 1.0,
        req,
        rsp,
        slow: 1.0,
    }
}

/// Exfiltration over a web service, in pieces of about one size, over hours.
pub(super) fn exfiltration(plan: &mut Plan<'_>, mut cast: Cast) {
    let callers = plan.callers(&[Tier::Core], None);
    let caller = callers[cast.rng.index(callers.len().min(12))];
    let used =
        plan.outgoing(caller).into_iter().find(|e| plan.tier(plan.world.edges[*e].callee) == Tier::Outside);
    let edge = match (cast.rng.index(3), used) {
        // Over a service that it uses anyway.
        (0, Some(edge)) => edge,
        (1, _) if known_outside(plan, caller).is_some() => {
            let callee = known_outside(plan, caller).unwrap_or_default();
            plan.world.add_edge(caller, callee, Some(upload("/v1/objects", "PUT", (1e5, 90.0))))
        }
        _ => {
            let callee = new_outside(plan, &mut cast.rng);
            plan.world.add_edge(caller, callee, Some(upload("/u", "POST", (1e5, 90.0))))
        }
    };
    let total = cast.blend(8e6, 8e9);
    let length = cast.blend(7.0, 1.5) * HOUR as f64;
    let count = cast.blend(60.0, 240.0);
    let (gap, piece, at) = (pace(length, count), total / count, cast.from);
    let note = format!("{:.0} MB in {count:.0} pieces over {:.1} h", total / 1e6, length / HOUR as f64);
    let called = plan.called(&[edge]);
    let label = plan.label(&cast, (at, over(at, gap, count as u64)), plan.names(caller), called, note);
    let instance = plan.world.services[caller].at(at).first().copied().unwrap_or_default();
    plan.agenda.push(steps(at, count as u64, (gap, 0.5), cast.rng, move |world, now, _, rng, out| {
        let Some(mut call) = world.call(edge, now, rng) else { return };
        (call.from, call.label) = (instance, Some(label));
        call.req = (piece * rng.range(0.9, 1.1)) as u64;
        call.dur += call.req * 20;
        emit(world, &call, rng, out);
    }));
}

/// The end of the month: the nightly export runs longer and writes more, where it always does.
pub(super) fn exfiltration_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let edge = plan.jobs.export;
    let from = plan.world.end - 21 * HOUR + 20 * MINUTE + cast.rng.below(5 * MINUTE);
    let files = EXPORT_FILES * 2;
    let note = format!("the nightly export with {files} files more, each 1.5 times as large");
    let (caller, called) = (plan.world.edges[edge].caller, plan.called(&[edge]));
    plan.label(&cast, (from, from + HOUR), plan.names(caller), called, note);
    plan.agenda.push(export_run(plan.world.seed, edge, from, (files, 1.5), 1_000));
}

/// A compromised workload asks for orders at equal times, give or take its jitter.
pub(super) fn beacon(plan: &mut Plan<'_>, mut cast: Cast) {
    let callers = plan.callers(&[Tier::Core, Tier::Front], None);
    let caller = callers[cast.rng.index(callers.len())];
    let op = upload("/p", "POST", (160.0, 48.0));
    // The subtle ones hide behind a provider that others use.
    let known = if cast.strength < 0.3 { known_outside(plan, caller) } else { None };
    let callee = known.unwrap_or_else(|| new_outside(plan, &mut cast.rng));
    let edge = plan.world.add_edge(caller, callee, Some(op));
    let period = cast.blend(10.0, 0.75) * MINUTE as f64;
    let jitter = cast.blend(0.3, 0.02);
    let at = cast.from;
    let to = (at + 8 * HOUR).min(plan.world.end - MINUTE);
    let note = format!("a call each {:.0} s, jitter {:.0} %", period / SECOND as f64, jitter * 100.0);
    let called = plan.called(&[edge]);
    let label = plan.label(&cast, (at, to), plan.names(caller), called, note);
    let instance = plan.world.services[caller].at(at).first().copied().unwrap_or_default();
    let count = (to - at) / period as u64;
    plan.agenda.push(steps(at, count, (period as u64, jitter), cast.rng, move |world, now, _, rng, out| {
        let Some(mut call) = world.call(edge, now, rng) else { return };
        (call.from, call.label) = (instance, Some(label));
        // The same question each time; the answer is nearly always "nothing to do".
        call.req = 150 + rng.below(20);
        call.rsp = if rng.chance(0.05) { 900 } else { 40 };
        emit(world, &call, rng, out);
    }));
}

/// A new version of the monitor checks one endpoint more, and a new version of a service asks a new supplier for its
/// settings; both deployments are marked.
pub(super) fn beacon_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let (at, to) = (cast.from, plan.world.end);
    let monitor = plan.world.named("monitor");
    let callers = plan.callers(&[Tier::Core], None);
    let caller = callers[cast.rng.index(callers.len())];
    let checked = plan.world.of(Tier::Core)[0];
    let supplier = new_outside(plan, &mut cast.rng);
    plan.world.services[supplier].name = "flags.togglehub.example".to_owned();
    let health = plan.world.add_edge(monitor, checked, Some(Op { res: "/readyz".to_owned(), ..health_op() }));
    let mut op = upload("/v2/flags", "GET", (0.0, 700.0));
    op.class = Class::Read;
    let flags = plan.world.add_edge(caller, supplier, Some(op));
    let mut callers = plan.names(monitor);
    callers.extend(plan.names(caller));
    let note = "a new health check and a new poll of a supplier, each with a deploy marker".to_owned();
    let called = plan.called(&[health, flags]);
    let label = plan.label(&cast, (at, to), callers, called, note);
    for (service, edge, period) in [(monitor, health, MINUTE), (caller, flags, 5 * MINUTE)] {
        let deploy = redeploy(plan, service, at, 1.0, &mut cast.rng);
        plan.agenda.push(marker(plan.world, &deploy));
        let (due, rng) = (at + 3 * MINUTE, Rng::new(cast.rng.bits()));
        let timer = Timer { edge, period, jitter: 0.02, due, to, label: Some(label), rng };
        plan.agenda.push((due, Box::new(timer)));
    }
}
