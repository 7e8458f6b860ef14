//! Silence: what spoke stops, and nobody said that it would.

use super::*;
use crate::scenario::background::{stop, window};
use crate::scenario::observer::AGENTS;
use crate::scenario::topology::{Effect, What};

/// A route, a service or an observer falls silent until the end of the run.
pub(super) fn silence(plan: &mut Plan<'_>, mut cast: Cast) {
    let (from, to) = (cast.from, plan.world.end);
    if cast.strength > 0.66 {
        // An observer is blinded: what passes is no longer recorded.
        let agent = cast.rng.index(5);
        let edges: Vec<usize> =
            (0..plan.world.edges.len()).filter(|e| plan.world.edges[*e].agent == agent).collect();
        let mut callers: Vec<String> =
            edges.iter().flat_map(|e| plan.names(plan.world.edges[*e].caller)).collect();
        let mut services = plan.called(&edges);
        callers.push(AGENTS[agent].to_owned());
        services.push(AGENTS[agent].to_owned());
        plan.label(&cast, (from, to), callers, services, format!("observer {} blinded", AGENTS[agent]));
        plan.troubles.outages.push((agent, from, to));
        return;
    }
    let edges = if cast.strength > 0.33 {
        let callers = plan.callers(&[Tier::Core, Tier::Front], None);
        let caller = callers[cast.rng.index(callers.len().min(10))];
        (0..plan.world.edges.len()).filter(|e| plan.world.edges[*e].caller == caller).collect()
    } else if cast.rng.chance(0.5) {
        vec![plan.busy_edge(12, &mut cast.rng)]
    } else {
        vec![plan.jobs.health[cast.rng.index(plan.jobs.health.len())]]
    };
    let callers = plan.names(plan.world.edges[edges[0]].caller);
    let mut services = plan.called(&edges);
    services.push(callers[0].clone());
    let note = format!("{} makes no more of its calls on {} edges", callers[0], edges.len());
    plan.label(&cast, (from, to), callers, services, note);
    for edge in edges {
        let effect = Effect { from, to, ramp: false, what: What::Keep(0.0), label: None };
        plan.world.edges[edge].effects.push(effect);
    }
}

/// A service and an observer stopped for maintenance, said half an hour before.
pub(super) fn silence_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let (from, to) = (cast.from, cast.from + 2 * HOUR);
    let callers = plan.callers(&[Tier::Core], None);
    let service = plan.service_apart(&callers, &mut cast.rng);
    let agent = plan.agent_apart(3, &mut cast.rng);
    let name = plan.world.services[service].name.clone();
    let note = format!("{name} and {} stopped for maintenance, announced", AGENTS[agent]);
    let services = vec![name.clone(), AGENTS[agent].to_owned()];
    plan.label(&cast, (from, to), plan.names(service), services, note);
    plan.agenda.push(window(&name, "maintenance", (from, to), 30 * MINUTE));
    plan.agenda.push(window(AGENTS[agent], "maintenance", (from, to), 30 * MINUTE));
    stop(plan.world, service, (from, to));
    plan.troubles.outages.push((agent, from, to));
    plan.troubles.restarts.push((agent, to));
}
