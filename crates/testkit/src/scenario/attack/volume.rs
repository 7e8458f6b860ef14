//! How much and how fast: slow drifts, bursts, latency, errors, one caller at the expense of all others.

use super::credentials::redeploy;
use super::*;
use crate::scenario::actor::Demand;
use crate::scenario::background::{marker, window};
use crate::scenario::topology::{Effect, What};

/// Puts a change on edges.
fn change(
    plan: &mut Plan<'_>,
    edges: &[usize],
    (from, to): (u64, u64),
    ramp: bool,
    what: What,
    label: Option<usize>,
) {
    for edge in edges {
        plan.world.edges[*edge].effects.push(Effect { from, to, ramp, what, label });
    }
}

/// More calls on an edge for a while.
fn more(
    plan: &mut Plan<'_>,
    edge: usize,
    rate: f64,
    (from, to): (u64, u64),
    ramp: bool,
    cast: &mut Cast,
    label: usize,
) {
    let rng = Rng::new(cast.rng.bits());
    let ramp_from = ramp.then_some(from);
    let mut demand = Demand { edge, rate, to, ramp_from, label: Some(label), rng };
    plan.agenda.extend(demand.next(from).map(|first| (first, Box::new(demand) as Box<_>)));
}

/// A leak, a table that grows, a loop that is tightened by and by: rate or latency creeps up over hours.
pub(super) fn drift(plan: &mut Plan<'_>, mut cast: Cast) {
    let edge = plan.busy_edge(8, &mut cast.rng);
    let (caller, callee) = (plan.world.edges[edge].caller, plan.world.edges[edge].callee);
    let (from, end) = (cast.from, plan.world.end);
    let full = from + (cast.blend(7.0, 2.0) * HOUR as f64) as u64;
    let called = vec![plan.world.services[callee].name.clone()];
    if cast.rng.chance(0.3) {
        let times = cast.blend(1.8, 7.0);
        let note = format!("rate creeps up to {times:.1} times");
        let label = plan.label(&cast, (from, end), plan.names(caller), called, note);
        let rate = plan.world.edges[edge].rate * (times - 1.0);
        more(plan, edge, rate, (from, full), true, &mut cast, label);
        more(plan, edge, rate, (full, end), false, &mut cast, label);
    } else {
        let times = cast.blend(1.5, 5.0);
        let note = format!("latency creeps up to {times:.1} times");
        let label = plan.label(&cast, (from, end), plan.names(caller), called, note);
        change(plan, &[edge], (from, full), true, What::Latency(times), Some(label));
        change(plan, &[edge], (full, end), false, What::Latency(times), Some(label));
    }
}

/// A new version is a fifth slower than the old one, and its deployment is marked.
pub(super) fn drift_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let edge = plan.busy_edge_apart(16, &mut cast.rng);
    let (callee, at) = (plan.world.edges[edge].callee, cast.from);
    let callers: Vec<String> =
        plan.incoming(callee).iter().flat_map(|e| plan.names(plan.world.edges[*e].caller)).collect();
    let called = plan.called(&[edge]);
    plan.label(&cast, (at, plan.world.end), callers, called, "a deployment, a fifth slower".to_owned());
    let deploy = redeploy(plan, callee, at, 1.2, &mut cast.rng);
    plan.agenda.push(marker(plan.world, &deploy));
}

/// The services with most callers.
fn shared_services(plan: &Plan<'_>) -> Vec<usize> {
    let mut found: Vec<usize> = (0..plan.world.services.len())
        .filter(|i| matches!(plan.tier(*i), Tier::Core | Tier::Sql))
        .filter(|i| plan.incoming(*i).len() > 1)
        .collect();
    found.sort_by_key(|i| (usize::MAX - plan.incoming(*i).len(), *i));
    found
}

/// One caller takes a shared service's capacity: many calls of its own, and everybody waits or fails.
pub(super) fn noisy(plan: &mut Plan<'_>, mut cast: Cast) {
    let shared = shared_services(plan);
    let callee = shared[cast.rng.index(shared.len().min(3))];
    let edges = plan.incoming(callee);
    let edge = edges[cast.rng.index(edges.len())];
    let caller = plan.world.edges[edge].caller;
    let (from, length) = (cast.from, (cast.blend(40.0, 10.0) * MINUTE as f64) as u64);
    let to = from + length;
    let rate = cast.blend(0.3, 12.0);
    let (slow, errors) = (cast.blend(1.6, 6.0), cast.blend(0.03, 0.3));
    let noisy = &plan.world.services[caller].name;
    let note =
        format!("{rate:.1} calls/s more by {noisy}, latency {slow:.1} times, {:.0} % errors", errors * 100.0);
    let called = vec![plan.world.services[callee].name.clone()];
    // Those who wait are named as well as the one who makes them.
    let callers = edges.iter().flat_map(|e| plan.names(plan.world.edges[*e].caller)).collect();
    let label = plan.label(&cast, (from, to), callers, called, note);
    more(plan, edge, rate, (from, to), false, &mut cast, label);
    change(plan, &edges, (from, to), false, What::Latency(slow), Some(label));
    change(plan, &edges, (from, to), false, What::Errors(errors), Some(label));
}

/// A load test, announced an hour before.
pub(super) fn noisy_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let shared = shared_services(plan);
    let callee = plan.service_apart(&shared, &mut cast.rng);
    let edges = plan.incoming(callee);
    let edge = edges[cast.rng.index(edges.len())];
    let caller = plan.world.edges[edge].caller;
    let (from, to) = (cast.from, cast.from + 20 * MINUTE);
    let name = plan.world.services[callee].name.clone();
    let note = "a load test in a change window: more calls, a fifth slower".to_owned();
    let label = plan.label(&cast, (from, to), plan.names(caller), vec![name.clone()], note);
    plan.agenda.push(window(&name, "load-test", (from, to), HOUR));
    more(plan, edge, 1.0, (from, to), false, &mut cast, label);
    change(plan, &edges, (from, to), false, What::Latency(1.2), None);
}

/// A loop without a brake: many times the usual calls for minutes.
pub(super) fn burst(plan: &mut Plan<'_>, mut cast: Cast) {
    let edge = plan.busy_edge(25, &mut cast.rng);
    let (caller, callee) = (plan.world.edges[edge].caller, plan.world.edges[edge].callee);
    let length = (cast.blend(30.0, 5.0) * MINUTE as f64) as u64;
    let (from, to) = (cast.from, cast.from + length);
    // Flat edges of a seldom caller would hide a multiple: a floor in calls a second.
    let rate = (plan.world.edges[edge].rate * cast.blend(6.0, 60.0)).max(cast.blend(0.05, 2.0));
    let called = vec![plan.world.services[callee].name.clone()];
    let note = format!("{rate:.2} calls/s more for {} min", length / MINUTE);
    let label = plan.label(&cast, (from, to), plan.names(caller), called, note);
    more(plan, edge, rate, (from, to), false, &mut cast, label);
}

/// A sale, announced as a change window: twice the calls on one edge for half an hour.
pub(super) fn burst_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let edge = plan.busy_edge_apart(14, &mut cast.rng);
    let (caller, callee) = (plan.world.edges[edge].caller, plan.world.edges[edge].callee);
    let (from, to) = (cast.from, cast.from + 30 * MINUTE);
    let name = plan.world.services[callee].name.clone();
    let note = "twice the calls, in a change window".to_owned();
    let label = plan.label(&cast, (from, to), plan.names(caller), vec![name.clone()], note);
    plan.agenda.push(window(&name, "campaign", (from, to), 2 * HOUR));
    let rate = plan.world.edges[edge].rate;
    more(plan, edge, rate, (from, to), false, &mut cast, label);
}

/// A lost index, a sick node: all calls of one service take several times as long at once.
pub(super) fn slow(plan: &mut Plan<'_>, mut cast: Cast) {
    let callee = plan.busy_callee(6, &mut cast.rng);
    let edges = plan.incoming(callee);
    let (from, to) = (cast.from, cast.from + (cast.blend(3.0, 1.0) * HOUR as f64) as u64);
    let times = cast.blend(2.0, 10.0);
    let callers = edges.iter().flat_map(|e| plan.names(plan.world.edges[*e].caller)).collect();
    let called = vec![plan.world.services[callee].name.clone()];
    let note = format!("latency {times:.1} times at once");
    let label = plan.label(&cast, (from, to), callers, called, note);
    change(plan, &edges, (from, to), false, What::Latency(times), Some(label));
}

/// A new version that is a third slower at once; its deployment is marked.
pub(super) fn slow_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let edge = plan.busy_edge_apart(16, &mut cast.rng);
    let (callee, at) = (plan.world.edges[edge].callee, cast.from);
    let callers: Vec<String> =
        plan.incoming(callee).iter().flat_map(|e| plan.names(plan.world.edges[*e].caller)).collect();
    let called = plan.called(&[edge]);
    plan.label(&cast, (at, plan.world.end), callers, called, "a deployment, a third slower".to_owned());
    let deploy = redeploy(plan, callee, at, 1.33, &mut cast.rng);
    plan.agenda.push(marker(plan.world, &deploy));
}

/// A service fails for a share of its calls and eats its error budget.
pub(super) fn burn(plan: &mut Plan<'_>, mut cast: Cast) {
    let callee = plan.busy_callee(4, &mut cast.rng);
    let edges = plan.incoming(callee);
    let (from, to) = (cast.from, cast.from + (cast.blend(4.0, 1.5) * HOUR as f64) as u64);
    let share = cast.blend(0.1, 0.6);
    let callers = edges.iter().flat_map(|e| plan.names(plan.world.edges[*e].caller)).collect();
    let called = vec![plan.world.services[callee].name.clone()];
    let note = format!("{:.0} % of the calls fail", share * 100.0);
    let label = plan.label(&cast, (from, to), callers, called, note);
    change(plan, &edges, (from, to), false, What::Errors(share), Some(label));
}

/// A rolling restart: some calls fail for 20 seconds, and the deployment is marked.
pub(super) fn burn_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let edge = plan.busy_edge_apart(16, &mut cast.rng);
    let (callee, at) = (plan.world.edges[edge].callee, cast.from);
    let edges = plan.incoming(callee);
    let callers: Vec<String> = edges.iter().flat_map(|e| plan.names(plan.world.edges[*e].caller)).collect();
    let called = plan.called(&[edge]);
    let note = "a rolling restart, a few calls fail in 20 s".to_owned();
    let label = plan.label(&cast, (at, at + HOUR), callers, called, note);
    let deploy = redeploy(plan, callee, at, 1.0, &mut cast.rng);
    plan.agenda.push(marker(plan.world, &deploy));
    change(plan, &edges, (at, at + 20 * SECOND), false, What::Errors(0.3), Some(label));
    // A handful of calls fall into it for certain.
    let (from, to) = (at, at + 20 * SECOND);
    more(plan, edge, 0.3, (from, to), false, &mut cast, label);
}
