//! Access that a caller should not have: walked object ids, services and operations new to it, weak connections.

use super::credentials::redeploy;
use super::*;
use crate::scenario::actor::{Demand, emit, steps};
use crate::scenario::background::{SWEEP, marker, sweep_run};
use crate::scenario::call::End;
use crate::scenario::credential::token_id;
use crate::scenario::topology::{Op, Shape};
use countersign_event::{Auth, Class, Transport, Verified};

/// Broken object level authorisation: ids tried one after the other, some refused or missing.
pub(super) fn enumeration(plan: &mut Plan<'_>, mut cast: Cast) {
    let walked = |op: &Op| op.objects > 0;
    let mut edges: Vec<usize> = (0..plan.world.demand)
        .filter(|e| plan.world.edges[*e].shape == Shape::Http && plan.world.edges[*e].ops.iter().any(walked))
        .collect();
    edges.sort_unstable_by_key(|e| u64::MAX - (plan.world.edges[*e].rate * 1e12) as u64);
    edges.truncate(24);
    let edge = edges[cast.rng.index(edges.len())];
    let (caller, callee) = (plan.world.edges[edge].caller, plan.world.edges[edge].callee);
    let op = plan.world.edges[edge].ops.iter().position(walked).unwrap_or_default();
    let count = cast.blend(70.0, 900.0) as u64;
    let gap = pace(cast.blend(50.0, 6.0) * MINUTE as f64, count as f64);
    let refused = cast.blend(0.12, 0.7);
    let at = cast.from;
    let note = format!("{count} object ids walked, {:.0} % refused or missing", refused * 100.0);
    let called = vec![plan.world.services[callee].name.clone()];
    let label = plan.label(&cast, (at, over(at, gap, count)), plan.names(caller), called, note);
    let first = 20_000 + cast.rng.below(50_000);
    let instance = plan.world.services[caller].at(at).first().copied().unwrap_or_default();
    plan.agenda.push(steps(at, count, (gap, 0.5), cast.rng, move |world, now, n, rng, out| {
        let Some(mut call) = world.call_op(edge, op, now, rng) else { return };
        (call.from, call.object, call.label) = (instance, first + n, Some(label));
        if rng.chance(refused) {
            call.end = if rng.chance(0.6) { End::Forbidden } else { End::NotFound };
            call.rsp = 120;
        }
        emit(world, &call, rng, out);
    }));
}

/// The nightly job run again by day because it failed by night, over more objects, some of them gone.
pub(super) fn enumeration_like(plan: &mut Plan<'_>, cast: Cast) {
    let (edge, at) = (plan.jobs.sweep, cast.from);
    let count = SWEEP * 8 / 5;
    let (caller, callee) = (plan.world.edges[edge].caller, plan.world.edges[edge].callee);
    let called = vec![plan.world.services[callee].name.clone()];
    let note = format!("the nightly sweep run again by day, {count} objects");
    let label = plan.label(&cast, (at, over(at, SECOND, count)), plan.names(caller), called, note);
    plan.agenda.push(sweep_run(plan.world.seed, edge, at, count, 1_000, Some(label)));
}

/// Lateral movement: a workload calls services that it never called.
pub(super) fn lateral(plan: &mut Plan<'_>, mut cast: Cast) {
    let callers = plan.callers(&[Tier::Core, Tier::Front], None);
    let caller = callers[cast.rng.index(callers.len())];
    let at = cast.from;
    let mut unknown: Vec<usize> = (0..plan.world.services.len())
        .filter(|i| matches!(plan.tier(*i), Tier::Core | Tier::Sql | Tier::Kv) && *i != caller)
        .filter(|i| plan.world.between(caller, *i).is_none())
        .collect();
    cast.rng.shuffle(&mut unknown);
    unknown.truncate(cast.blend(1.0, 8.0) as usize);
    let edges: Vec<usize> = unknown.iter().map(|callee| plan.world.add_edge(caller, *callee, None)).collect();
    let calls = edges.len() as u64 * cast.blend(2.0, 12.0) as u64;
    let gap = pace(cast.blend(40.0, 5.0) * MINUTE as f64, calls as f64);
    let note = format!("{} services called for the first time, {calls} calls", edges.len());
    let label = plan.label(&cast, (at, over(at, gap, calls)), plan.names(caller), plan.called(&edges), note);
    let instance = plan.world.services[caller].at(at).first().copied().unwrap_or_default();
    plan.agenda.push(steps(at, calls, (gap, 0.7), cast.rng, move |world, now, n, rng, out| {
        let Some(mut call) = world.call(edges[n as usize % edges.len()], now, rng) else { return };
        (call.from, call.label) = (instance, Some(label));
        if rng.chance(0.25) {
            call.end = End::Forbidden;
        }
        emit(world, &call, rng, out);
    }));
}

/// New replicas that do what their peers do, and a new version that needs one service more.
pub(super) fn lateral_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let callers = plan.callers(&[Tier::Core], None);
    let caller = callers[cast.rng.index(callers.len())];
    let at = cast.from;
    let deploy = redeploy(plan, caller, at, 1.05, &mut cast.rng);
    plan.agenda.push(marker(plan.world, &deploy));
    let fresh =
        plan.world.of(Tier::Core).into_iter().find(|i| {
            *i != caller && plan.world.between(caller, *i).is_none() && plan.incoming(*i).len() > 1
        });
    let Some(fresh) = fresh else { return };
    let edge = plan.world.add_edge(caller, fresh, None);
    let note = "new version, new instance ids, one new dependency, with a deploy marker".to_owned();
    let label = plan.label(&cast, (at, plan.world.end), plan.names(caller), plan.called(&[edge]), note);
    let rng = Rng::new(cast.rng.bits());
    let mut demand =
        Demand { edge, rate: 0.01, to: plan.world.end, ramp_from: None, label: Some(label), rng };
    plan.agenda.extend(demand.next(at + 2 * MINUTE).map(|first| (first, Box::new(demand) as Box<_>)));
}

/// An operation that this caller never used: deleting, dropping, reconfiguring.
pub(super) fn rare(plan: &mut Plan<'_>, mut cast: Cast) {
    let edge = plan.busy_edge(30, &mut cast.rng);
    let (caller, callee) = (plan.world.edges[edge].caller, plan.world.edges[edge].callee);
    let noun = plan.world.services[callee].noun;
    let (verb, res, class) = match plan.world.edges[edge].shape {
        Shape::Sql => ("DROP TABLE", noun.to_owned(), Class::Schema),
        Shape::Kv => ("CONFIG SET", "dir".to_owned(), Class::Admin),
        Shape::Grpc => {
            let package = plan.world.services[callee].name.replace('-', "_");
            ("PurgeAll", format!("/prod.{package}.v1.Api/PurgeAll"), Class::Execute)
        }
        Shape::Http => ("DELETE", format!("/{noun}/{{id}}"), Class::Delete),
    };
    let op = Op {
        verb: verb.to_owned(),
        res,
        class,
        objects: if verb == "DELETE" { 400 } else { 0 },
        weight: 0.0,
        req: 60.0,
        rsp: 30.0,
        slow: 1.2,
    };
    // Weight 0: ordinary calls never draw it.
    plan.world.edges[edge].ops.push(op);
    let (op, at) = (plan.world.edges[edge].ops.len() - 1, cast.from);
    let count = cast.blend(1.0, 20.0) as u64;
    let gap = cast.blend(4.0, 0.2) * MINUTE as f64;
    let end = over(at, gap as u64, count);
    let note = format!("{verb} {count} times by a caller that never did");
    let called = vec![plan.world.services[callee].name.clone()];
    let label = plan.label(&cast, (at, end), plan.names(caller), called, note);
    plan.agenda.push(steps(at, count, (gap as u64, 0.6), cast.rng, move |world, now, _, rng, out| {
        if let Some(mut call) = world.call_op(edge, op, now, rng) {
            (call.end, call.label) = (End::Fine, Some(label));
            emit(world, &call, rng, out);
        }
    }));
}

/// The clean-up that runs every night, once more by day.
pub(super) fn rare_like(plan: &mut Plan<'_>, cast: Cast) {
    let job = plan.world.named("hourly-report");
    let clean = plan.world.edges.iter().position(|e| e.caller == job && e.ops[0].verb == "DELETE");
    let (Some(edge), at) = (clean, cast.from) else { return };
    let note = "the nightly clean-up run by day".to_owned();
    let called = plan.called(&[edge]);
    let label = plan.label(&cast, (at, at + 5 * MINUTE), plan.names(job), called, note);
    plan.agenda.push(steps(at, 10, (2 * SECOND, 0.5), cast.rng, move |world, now, _, rng, out| {
        if let Some(mut call) = world.call(edge, now, rng) {
            call.label = Some(label);
            emit(world, &call, rng, out);
        }
    }));
}

/// Connections and credentials that should not be: clear text, old TLS, nobody, a token for years.
pub(super) fn misconfigured(plan: &mut Plan<'_>, mut cast: Cast) {
    let variant = cast.rng.index(4);
    let tokens = plan.callers(&[Tier::Core], Some(Style::Jwt));
    let edge = match (variant, tokens.first()) {
        (3, Some(caller)) => plan.shown_on(*caller)[0],
        _ => plan.busy_edge(20, &mut cast.rng),
    };
    let (caller, callee) = (plan.world.edges[edge].caller, plan.world.edges[edge].callee);
    let at = cast.from;
    let count = cast.blend(3.0, 90.0) as u64;
    let gap = pace(cast.blend(90.0, 30.0) * MINUTE as f64, count as f64);
    let what =
        ["clear text", "TLS 1.0 or 1.1", "no identity at all", "a token valid for four years"][variant];
    let called = vec![plan.world.services[callee].name.clone()];
    let note = format!("{what}, {count} calls");
    let label = plan.label(&cast, (at, over(at, gap, count)), plan.names(caller), called, note);
    let (made, token) = ((at / SECOND) as i64, token_id(&cast.rng.bytes()));
    let instance = plan.world.services[caller].at(at).first().copied().unwrap_or_default();
    plan.agenda.push(steps(at, count, (gap, 0.6), cast.rng, move |world, now, _, rng, out| {
        let Some(mut call) = world.call(edge, now, rng) else { return };
        call.label = Some(label);
        if variant == 3 {
            call.from = instance;
        }
        let mut draft = world.draft(&call, rng);
        let event = &mut draft.event;
        let mut who = event.who.who.clone();
        match variant {
            0 => event.peer.tls = None,
            1 => {
                if let Some(tls) = &mut event.peer.tls {
                    tls.version = Some(if rng.chance(0.5) { 0x0301 } else { 0x0302 });
                    tls.cipher = Some(0x002f);
                }
            }
            2 => who = None,
            _ => {
                if let Some(who) = &mut who {
                    who.cred_exp = Some(made + 4 * 365 * 86_400);
                    who.cred.clone_from(&token);
                }
            }
        }
        if variant == 0
            && let Some(who) = &mut who
            && who.auth == Some(Auth::SpiffeSvid)
        {
            // Without TLS there is no certificate: what is left is a name in a header.
            (who.auth, who.verified) = (None, Verified::Claimed);
            (who.cred, who.cred_exp) = (String::new(), None);
        }
        event.who.who = who;
        out.push(draft);
    }));
}

/// TLS 1.2 where it was 1.3, and clear text that never leaves the machine.
pub(super) fn misconfigured_like(plan: &mut Plan<'_>, mut cast: Cast) {
    let edge = plan.busy_edge(20, &mut cast.rng);
    let (caller, callee) = (plan.world.edges[edge].caller, plan.world.edges[edge].callee);
    let at = cast.from;
    let note = "TLS 1.2 after a library's change; a sidecar's calls over a unix socket".to_owned();
    let called = vec![plan.world.services[callee].name.clone()];
    let label = plan.label(&cast, (at, at + 2 * HOUR), plan.names(caller), called, note);
    plan.agenda.push(steps(at, 40, (3 * MINUTE, 0.5), cast.rng, move |world, now, n, rng, out| {
        let Some(mut call) = world.call(edge, now, rng) else { return };
        call.label = Some(label);
        let mut draft = world.draft(&call, rng);
        let peer = &mut *draft.event.peer;
        if n % 2 == 0 {
            if let Some(tls) = &mut peer.tls {
                (tls.version, tls.cipher) = (Some(0x0303), Some(0xc02f));
            }
        } else {
            (peer.tls, peer.transport) = (None, Some(Transport::Unix));
            for end in [&mut peer.src, &mut peer.dst].into_iter().flatten() {
                (end.ip, end.port) = (None, None);
            }
            if let Some(who) = draft.event.who.set_mut().and_then(|who| who.who.as_mut())
                && who.auth == Some(Auth::SpiffeSvid)
            {
                // The kernel says whose process it is.
                (who.auth, who.verified) = (Some(Auth::PeerCred), Verified::Checked);
                (who.cred, who.cred_exp, who.from) = (String::new(), None, None);
            }
        }
        out.push(draft);
    }));
}
