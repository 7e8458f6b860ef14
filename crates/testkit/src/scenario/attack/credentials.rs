//! Credentials in other hands: a replayed token, a key used by another workload, an identity in two places.

use super::*;
use crate::scenario::MILLI;
use crate::scenario::actor::{emit, once, steps};
use crate::scenario::background::marker;
use crate::scenario::call::End;
use crate::scenario::credential::{Shown, shown};
use crate::scenario::fleet;
use crate::scenario::topology::ip;
use countersign_event::json::base64url;

/// What the first instance of `service` alive at `at` shows, and its number.
fn holder(plan: &Plan<'_>, service: usize, at: u64, rng: &mut Rng) -> (usize, Shown) {
    let world = &plan.world;
    let instance = world.services[service].at(at).first().copied().unwrap_or_default();
    (instance, shown(world.seed, (&world.services[service], (service, instance)), at, rng))
}

/// The rightful holder goes on: it showed the credential shortly before, and does now and then while the attack lasts.
fn goes_on(plan: &mut Plan<'_>, edges: &[usize], instance: usize, cast: &Cast, length: u64) {
    let edges = edges.to_vec();
    let seed = cast.rng.clone().bits();
    let (from, gap) = (cast.from - 15 * SECOND, (length / 6).max(20 * SECOND));
    plan.agenda.push(steps(from, 7, (gap, 0.3), Rng::new(seed), move |world, now, _, rng, out| {
        if let Some(mut call) = world.call(edges[rng.index(edges.len())], now, rng) {
            call.from = instance;
            emit(world, &call, rng, out);
        }
    }));
}

/// A bearer token, copied from a log or out of memory, shown from another machine while it is valid.
pub(super) fn replay(plan: &mut Plan<'_>, mut cast: Cast) {
    let holders = plan.callers(&[Tier::Core], Some(Style::Jwt));
    let Some(victim) = holders.first().copied() else { return };
    let (edges, at) = (plan.shown_on(victim), cast.from);
    let (instance, shown) = holder(plan, victim, at, &mut cast.rng);
    let place = if cast.rng.chance(0.5) {
        Place::outside(&mut cast.rng)
    } else {
        let others = plan.callers(&[Tier::Core, Tier::Front], Some(Style::Svid));
        let other = others.into_iter().find(|other| *other != victim).unwrap_or_default();
        Place::of(plan.world, other, at).unwrap_or_else(|| Place::outside(&mut cast.rng))
    };
    let count = cast.blend(3.0, 60.0) as u64;
    let gap = cast.blend(60e9, 4e9) as u64;
    let mut callers = plan.names(victim);
    callers.extend([place.workload.clone(), place.ip.to_string()]);
    let note = format!("token of {} shown {count} times from {}", callers[0], place.ip);
    let end = over(at, gap, count);
    let label = plan.label(&cast, (at, end), callers, plan.called(&edges), note);
    goes_on(plan, &edges, instance, &cast, gap * count);
    plan.agenda.push(steps(at, count, (gap, 0.6), cast.rng, move |world, now, _, rng, out| {
        if let Some(mut call) = world.call(edges[rng.index(edges.len())], now, rng) {
            call.label = Some(label);
            out.push(stolen(world, &call, &shown, &place, rng));
        }
    }));
}

/// The same request tried again over another way, and a partner whose translator gets another address.
pub(super) fn replay_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let holders = plan.callers(&[Tier::Core], Some(Style::Jwt));
    let Some(caller) = holders.get(1).or(holders.first()).copied() else { return };
    let (edges, at) = (plan.shown_on(caller), cast.from);
    let partners = plan.callers(&[Tier::Partner], Some(Style::Jwt));
    let mut callers = plan.names(caller);
    let note = "the same requests tried again by another egress; a partner's translator changes its address";
    for partner in &partners {
        callers.extend(plan.names(*partner));
        let old = plan.world.services[*partner].nat;
        if let Some(IpAddr::V4(old)) = old {
            let [.., c, d] = old.octets();
            let new = ip(192, 0, c.into(), usize::from(d) + 3);
            plan.world.services[*partner].nat_moves.push((at, new));
        }
    }
    let mut called = plan.called(&edges);
    for partner in &partners {
        called.extend(plan.called(&plan.outgoing(*partner)));
    }
    let label = plan.label(&cast, (at, at + 3 * HOUR), callers, called, note.to_owned());
    let egress = Place { ip: ip(10, 127, 0, 9), ..Place::outside(&mut cast.rng) };
    plan.agenda.push(steps(at, 12, (4 * MINUTE, 0.8), cast.rng, move |world, now, _, rng, out| {
        let Some(mut call) = world.call(edges[rng.index(edges.len())], now, rng) else { return };
        (call.end, call.dur, call.label) = (End::Timeout, 2 * SECOND, Some(label));
        let answer = std::mem::replace(&mut call.rsp, 180);
        let first = world.draft(&call, rng);
        call.at += call.dur + 200 * MILLI;
        (call.end, call.dur, call.rsp) = (End::Fine, world.edges[call.edge].median as u64, answer);
        let mut again = world.draft(&call, rng);
        again.event.who = first.event.who.clone();
        again.event.peer.retries = Some(1);
        egress.set(&mut again);
        out.extend([first, again]);
    }));
}

/// The API key of one workload, used by another.
pub(super) fn shared(plan: &mut Plan<'_>, mut cast: Cast) {
    let holders = plan.callers(&[Tier::Core], Some(Style::Key));
    let Some(victim) = holders.first().copied() else { return };
    let others = plan.callers(&[Tier::Core, Tier::Front], None);
    let others: Vec<usize> = others.into_iter().filter(|other| *other != victim).collect();
    let borrower = others[cast.rng.index(others.len())];
    let (edges, at) = (plan.shown_on(victim), cast.from);
    let (instance, shown) = holder(plan, victim, at, &mut cast.rng);
    let Some(place) = Place::of(plan.world, borrower, at) else { return };
    let count = cast.blend(4.0, 90.0) as u64;
    let gap = pace(cast.blend(100.0, 15.0) * MINUTE as f64, count as f64);
    let mut callers = plan.names(victim);
    callers.extend(plan.names(borrower));
    callers.push(place.workload.clone());
    let note = format!("key of {} used {count} times by {}", callers[0], plan.world.services[borrower].name);
    let end = over(at, gap, count);
    let label = plan.label(&cast, (at, end), callers, plan.called(&edges), note);
    goes_on(plan, &edges, instance, &cast, gap * count);
    plan.agenda.push(steps(at, count, (gap, 0.7), cast.rng, move |world, now, _, rng, out| {
        if let Some(mut call) = world.call(edges[rng.index(edges.len())], now, rng) {
            call.label = Some(label);
            out.push(stolen(world, &call, &shown, &place, rng));
        }
    }));
}

/// New replicas with the deployment's key, a new version rolled out, and a new key taken up one by one.
pub(super) fn shared_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let holders = plan.callers(&[Tier::Core], Some(Style::Key));
    let Some(service) = holders.get(1).or(holders.first()).copied() else { return };
    let (at, edges) = (cast.from, plan.shown_on(service));
    let note = "replicas added, a new version and a new key while the old one is valid".to_owned();
    let label = plan.label(&cast, (at, at + 7 * HOUR), plan.names(service), plan.called(&edges), note);
    let deploy = redeploy(plan, service, at, 1.02, &mut cast.rng);
    plan.agenda.push(marker(plan.world, &deploy));
    let start = plan.world.start;
    let place = &mut plan.world.services[service];
    place.key_changes.push(at + 20 * MINUTE);
    let set = deploy.version.replace('.', "");
    for _ in 0..2 {
        let more = fleet::instance(place, &set, at + 5 * MINUTE, u64::MAX, &mut cast.rng);
        place.instances.push(more);
    }
    fleet::lives(place, start);
    // All of them are at work.
    plan.agenda.push(steps(at, 80, (4 * MINUTE, 0.5), cast.rng, move |world, now, _, rng, out| {
        if let Some(mut call) = world.call(edges[rng.index(edges.len())], now, rng) {
            call.label = Some(label);
            emit(world, &call, rng, out);
        }
    }));
}

/// Takes the old replicas of a service away at `at` and puts a new version there.
pub(super) fn redeploy(
    plan: &mut Plan<'_>,
    service: usize,
    at: u64,
    pace: f64,
    rng: &mut Rng,
) -> fleet::Deploy {
    let start = plan.world.start;
    let place = &mut plan.world.services[service];
    let old: Vec<usize> = place.at(at).to_vec();
    let set = crate::scenario::names::suffix(rng, 9);
    for (number, index) in old.iter().enumerate() {
        let late = number as u64 * 40 * SECOND;
        let new = fleet::instance(place, &set, at + late, place.instances[*index].dies, rng);
        place.instances.push(new);
        place.instances[*index].dies = at + late + 30 * SECOND;
    }
    fleet::lives(place, start);
    let was = place.pace_at(at);
    place.pace.retain(|(from, _)| *from < at);
    place.pace.push((at, was * pace));
    fleet::Deploy { service, at, version: format!("2.{}.0", rng.below(40)), pace, marked: true }
}

/// An identity that is at work here, shown by a new certificate from somewhere it never was.
pub(super) fn elsewhere(plan: &mut Plan<'_>, mut cast: Cast) {
    let holders = plan.callers(&[Tier::Core, Tier::Front], Some(Style::Svid));
    let Some(victim) = holders.get(cast.rng.index(holders.len().min(3))).copied() else { return };
    let (edges, at) = (plan.shown_on(victim), cast.from);
    let (instance, mut shown) = holder(plan, victim, at, &mut cast.rng);
    let digest: [u8; 32] = cast.rng.bytes();
    shown.cert = Some(digest);
    shown.who.cred = format!("x5t#S256:{}", base64url(&digest));
    let mut place = Place::outside(&mut cast.rng);
    if cast.rng.chance(0.5) {
        // Another cluster, in another part of the world.
        place.ip = ip(172, 20, cast.rng.index(250), 9);
        place.workload = shown.who.inst.clone();
        place.node = "node-u7".to_owned();
        place.zone = "us-2b".to_owned();
    }
    let count = cast.blend(3.0, 60.0) as u64;
    let gap = cast.blend(120e9, 4e9) as u64;
    let mut callers = plan.names(victim);
    callers.push(place.ip.to_string());
    let note = format!("identity of {} at work in two places, {count} calls from {}", callers[0], place.ip);
    let end = over(at, gap, count);
    let label = plan.label(&cast, (at, end), callers, plan.called(&edges), note);
    goes_on(plan, &edges, instance, &cast, gap * count);
    plan.agenda.push(steps(at, count, (gap, 0.6), cast.rng, move |world, now, _, rng, out| {
        if let Some(mut call) = world.call(edges[rng.index(edges.len())], now, rng) {
            call.label = Some(label);
            out.push(stolen(world, &call, &shown, &place, rng));
        }
    }));
}

/// A service moved to other nodes and another zone: the old replicas end before the new ones begin.
pub(super) fn elsewhere_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let holders = plan.callers(&[Tier::Core, Tier::Front], Some(Style::Svid));
    let Some(service) = holders.get(3).or(holders.last()).copied() else { return };
    let (at, start) = (cast.from, plan.world.start);
    let note = "drained from one zone, started in another, with no overlap".to_owned();
    plan.label(&cast, (at, at + 2 * HOUR), plan.names(service), plan.called(&plan.outgoing(service)), note);
    let place = &mut plan.world.services[service];
    let old: Vec<usize> = place.at(at).to_vec();
    for (number, index) in old.iter().enumerate() {
        // Same set of replicas: a drained node is no deployment.
        let set = place.instances[*index].pod.rsplit('-').nth(1).unwrap_or("x").to_owned();
        let born = at + 10 * SECOND + number as u64 * 5 * SECOND;
        let new = fleet::instance(place, &set, born, place.instances[*index].dies, &mut cast.rng);
        place.instances.push(new);
        place.instances[*index].dies = at;
    }
    fleet::lives(place, start);
    let name = place.name.clone();
    plan.agenda
        .push(once(at, move |world| world.notice("reschedule", &name, "drained node", (at, at, MINUTE))));
}
