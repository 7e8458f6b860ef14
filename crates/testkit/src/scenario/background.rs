//! The background of a scenario: everything that happens without an attack.

use super::actor::{Demand, Entry, Timer, emit, once, steps};
use super::fleet::Deploy;
use super::observer::{self, Troubles};
use super::rng::Rng;
use super::topology::{self, Effect, Op, Tier, What};
use super::world::World;
use super::{DAY, HOUR, MINUTE, SECOND};
use countersign_event::{Class, Verified};

/// Edges that the background needs by name.
pub(super) struct Jobs {
    /// Sweeps all objects of one service each night.
    pub(super) sweep: usize,
    /// Writes the day's data to storage outside each night.
    pub(super) export: usize,
    /// Health checks, one edge a service.
    pub(super) health: Vec<usize>,
}

/// Time between two health checks of one service.
pub(super) const HEALTH_PERIOD: u64 = 10 * MINUTE;
/// Objects that the nightly job goes through.
pub(super) const SWEEP: u64 = 260;
/// Files of a nightly export, and the median of their sizes.
pub(super) const EXPORT_FILES: u64 = 24;
pub(super) const EXPORT_SIZE: f64 = 6e6;
/// Edges, and operations on other edges, that are used seldom; mean time between two uses, s.
const SELDOM: usize = 14;
const SELDOM_EVERY: f64 = 4.0 * 86_400.0;

/// A health endpoint's operation.
pub(super) fn health_op() -> Op {
    Op {
        verb: "GET".to_owned(),
        res: "/healthz".to_owned(),
        class: Class::Read,
        objects: 0,
        weight: 1.0,
        req: 0.0,
        rsp: 20.0,
        slow: 0.3,
    }
}

fn http_op(verb: &str, res: &str, class: Class, objects: u64, (req, rsp): (f64, f64)) -> Op {
    Op { verb: verb.to_owned(), res: res.to_owned(), class, objects, weight: 1.0, req, rsp, slow: 1.0 }
}

/// Fills the agenda with everything ordinary.
pub(super) fn background(
    world: &mut World,
    deploys: &[Deploy],
    troubles: &mut Troubles,
    agenda: &mut Vec<Entry>,
) -> Jobs {
    seldom_operations(world);
    for edge in 0..world.demand {
        let rng = Rng::of(world.seed, "demand", edge as u64);
        let rate = world.edges[edge].rate;
        let mut demand = Demand { edge, rate, to: world.end, ramp_from: None, label: None, rng };
        let first = demand.next(world.start);
        agenda.extend(first.map(|at| (at, Box::new(demand) as Box<_>)));
    }
    long_tail(world, agenda);
    let health = timers(world, agenda);
    let (sweep, export) = nightly(world, agenda);
    hourly(world, agenda);
    for deploy in deploys.iter().filter(|deploy| deploy.marked) {
        agenda.push(marker(world, deploy));
    }
    blips(world);
    planned_stops(world, troubles, agenda);
    restarts(world, troubles, agenda);
    backfill(world, agenda);
    Jobs { sweep, export, health }
}

/// On some edges there is an operation that is used once in days: what is new is not always wrong.
fn seldom_operations(world: &mut World) {
    let mut rng = Rng::of(world.seed, "seldom", 0);
    for _ in 0..SELDOM {
        let edge = &mut world.edges[rng.index(world.demand)];
        let noun = world.services[edge.callee].noun;
        if edge.shape != topology::Shape::Http || edge.rate * SELDOM_EVERY < 2.0 {
            continue;
        }
        let (verb, res, class) = if rng.chance(0.5) {
            ("PATCH", format!("/{noun}/{{id}}"), Class::Modify)
        } else {
            ("GET", format!("/{noun}/{{id}}/history"), Class::Read)
        };
        let sum: f64 = edge.ops.iter().map(|op| op.weight).sum();
        let weight = sum / (edge.rate * SELDOM_EVERY);
        edge.ops.push(Op { weight, ..http_op(verb, &res, class, 60, (300.0, 800.0)) });
    }
}

/// Edges with a call in days: the long tail that every system has.
fn long_tail(world: &mut World, agenda: &mut Vec<Entry>) {
    let mut rng = Rng::of(world.seed, "long tail", 0);
    let callers = [world.of(Tier::Front), world.of(Tier::Core)].concat();
    let cores = world.of(Tier::Core);
    for _ in 0..SELDOM {
        let (caller, callee) = (callers[rng.index(callers.len())], cores[rng.index(cores.len())]);
        if caller == callee || world.between(caller, callee).is_some() {
            continue;
        }
        let edge = world.add_edge(caller, callee, None);
        let rng = Rng::new(rng.bits());
        let mut demand =
            Demand { edge, rate: 1.0 / SELDOM_EVERY, to: world.end, ramp_from: None, label: None, rng };
        let first = demand.next(world.start);
        agenda.extend(first.map(|at| (at, Box::new(demand) as Box<_>)));
    }
}

/// The marker of a deployment, written as it begins.
pub(super) fn marker(world: &World, deploy: &Deploy) -> Entry {
    let name = world.services[deploy.service].name.clone();
    let (version, at) = (deploy.version.clone(), deploy.at);
    once(at.saturating_sub(2 * SECOND), move |world| {
        world.notice("deploy", &name, &version, (at - 2 * SECOND, at - 2 * SECOND, 5 * MINUTE))
    })
}

/// A window in which something is planned, recorded `ahead` of it.
pub(super) fn window(service: &str, what: &'static str, (from, to): (u64, u64), ahead: u64) -> Entry {
    let service = service.to_owned();
    once(from - ahead, move |world| {
        world.notice("change_window", &service, what, (from - ahead, from, to - from))
    })
}

/// Adds a timer on an edge.
pub(super) fn timer(
    world: &World,
    edge: usize,
    period: u64,
    (from, to): (u64, u64),
    label: Option<usize>,
) -> Entry {
    let mut rng = Rng::of(world.seed, "timer", edge as u64);
    let due = from + rng.below(period);
    let jitter = rng.range(0.0, 0.05);
    (due, Box::new(Timer { edge, period, jitter, due, to, label, rng }))
}

/// Health checks, configuration, new tokens: most of what machines say to each other comes at equal times.
fn timers(world: &mut World, agenda: &mut Vec<Entry>) -> Vec<usize> {
    let (monitor, config, issuer) =
        (world.named("monitor"), world.named("config-store"), world.named("token-issuer"));
    let all = (world.start, world.end);
    let mut health = Vec::new();
    for service in 0..world.services.len() {
        let (tier, style) = (world.services[service].tier, world.services[service].style);
        if matches!(tier, Tier::Front | Tier::Core | Tier::Platform) {
            let edge = world.add_edge(monitor, service, Some(health_op()));
            agenda.push(timer(world, edge, HEALTH_PERIOD, all, None));
            health.push(edge);
        }
        if matches!(tier, Tier::Front | Tier::Core) {
            let op = http_op("GET", "/settings", Class::Read, 0, (0.0, 2600.0));
            let edge = world.add_edge(service, config, Some(op));
            agenda.push(timer(world, edge, 2 * HOUR, all, None));
            if matches!(style, topology::Style::Jwt | topology::Style::BoundJwt) {
                let op = http_op("POST", "/oauth/token", Class::Authenticate, 0, (380.0, 1200.0));
                let edge = world.add_edge(service, issuer, Some(op));
                agenda.push(timer(world, edge, super::credential::TOKEN_RENEWED, all, None));
            }
        }
    }
    health
}

/// Jobs by night: one that goes through every object of a service, one that copies the day's data out.
fn nightly(world: &mut World, agenda: &mut Vec<Entry>) -> (usize, usize) {
    let mut rng = Rng::of(world.seed, "nightly", 0);
    let cores = world.of(Tier::Core);
    let swept = cores[rng.index(cores.len())];
    let res = format!("/{}/{{id}}", world.services[swept].noun);
    let op = http_op("GET", &res, Class::Read, 4 * SWEEP, (0.0, 1500.0));
    let sweep = world.add_edge(world.named("night-reconcile"), swept, Some(op));
    let op = http_op("PUT", "/v1/exports/{id}", Class::Create, 10_000, (EXPORT_SIZE, 120.0));
    let export =
        world.add_edge(world.named("night-export"), world.named("storage.coldvault.example"), Some(op));
    let days = (world.end - world.start).div_ceil(DAY);
    for day in 0..days {
        let night = world.start + day * DAY;
        let count = (SWEEP as f64 * rng.range(0.9, 1.1)) as u64;
        let from = night + 2 * HOUR + rng.below(12 * MINUTE);
        agenda.push(sweep_run(world.seed, sweep, from, count, day, None));
        let from = night + 3 * HOUR + rng.below(10 * MINUTE);
        agenda.push(export_run(world.seed, export, from, (EXPORT_FILES, 1.0), day));
    }
    (sweep, export)
}

/// One run of the job that goes through all objects.
pub(super) fn sweep_run(
    seed: u64,
    edge: usize,
    from: u64,
    count: u64,
    number: u64,
    label: Option<usize>,
) -> Entry {
    steps(from, count, (900_000_000, 0.5), Rng::of(seed, "sweep", number), move |world, now, n, rng, out| {
        if let Some(mut call) = world.call(edge, now, rng) {
            call.object = n;
            call.label = label;
            emit(world, &call, rng, out);
        }
    })
}

/// One run of the export, each file `factor` times as large as usual.
pub(super) fn export_run(
    seed: u64,
    edge: usize,
    from: u64,
    (files, factor): (u64, f64),
    number: u64,
) -> Entry {
    steps(from, files, (20 * SECOND, 0.4), Rng::of(seed, "export", number), move |world, now, n, rng, out| {
        if let Some(mut call) = world.call(edge, now, rng) {
            call.object = (now / DAY % 1000) * 100 + n;
            call.req = (call.req as f64 * factor) as u64;
            call.dur = call.req * 30;
            emit(world, &call, rng, out);
        }
    })
}

/// A report each hour, at the hour, and the clean-up of a table by night.
fn hourly(world: &mut World, agenda: &mut Vec<Entry>) {
    let (report, db) = (world.named("hourly-report"), world.named("ledger-db"));
    let edge = world.add_edge(report, db, None);
    let clean = world.add_edge(report, db, None);
    world.edges[clean].ops = vec![Op {
        verb: "DELETE".to_owned(),
        res: "entries_expired".to_owned(),
        class: Class::Delete,
        ..world.edges[edge].ops[0].clone()
    }];
    let hours = (world.end - world.start) / HOUR;
    for hour in 0..hours {
        let mut rng = Rng::of(world.seed, "hourly", hour);
        let from = world.start + hour * HOUR + 5 * MINUTE + rng.below(20 * SECOND);
        let count = 8 + rng.below(4);
        let edge = if hour % 24 == 4 { clean } else { edge };
        agenda.push(steps(from, count, (2 * SECOND, 0.6), rng, move |world, now, _, rng, out| {
            if let Some(call) = world.call(edge, now, rng) {
                emit(world, &call, rng, out);
            }
        }));
    }
}

/// Twice a day a service hiccups for less than a minute: slower, and some calls fail. Nobody looks into that.
fn blips(world: &mut World) {
    let mut rng = Rng::of(world.seed, "blips", 0);
    let callees = [world.of(Tier::Core), world.of(Tier::Sql)].concat();
    for _ in 0..2 * (world.end - world.start) / DAY {
        let from = world.start + rng.below(world.end - world.start);
        let to = from + 10 * SECOND + rng.below(40 * SECOND);
        let callee = callees[rng.index(callees.len())];
        for edge in world.edges.iter_mut().filter(|edge| edge.callee == callee) {
            for what in [What::Latency(2.0), What::Errors(0.3)] {
                edge.effects.push(Effect { from, to, ramp: false, what, label: None });
            }
        }
    }
}

/// A service is stopped now and then, said beforehand; once a week an observer is.
fn planned_stops(world: &mut World, troubles: &mut Troubles, agenda: &mut Vec<Entry>) {
    let mut rng = Rng::of(world.seed, "planned stops", 0);
    let cores = world.of(Tier::Core);
    let days = (world.end - world.start) / DAY;
    for week in 0..days.div_ceil(7) {
        let day = |rng: &mut Rng| world.start + (week * 7 + rng.below(6).min(days.saturating_sub(1))) * DAY;
        let from = day(&mut rng) + 20 * HOUR + rng.below(HOUR);
        let to = from + 20 * MINUTE + rng.below(30 * MINUTE);
        let service = cores[rng.index(cores.len())];
        let gateway = rng.index(3);
        let pause = day(&mut rng) + 22 * HOUR + rng.below(HOUR);
        let until = pause + 15 * MINUTE + rng.below(20 * MINUTE);
        if to < world.end {
            agenda.push(window(&world.services[service].name, "maintenance", (from, to), 30 * MINUTE));
            stop(world, service, (from, to));
        }
        if until < world.end {
            agenda.push(window(observer::AGENTS[gateway], "maintenance", (pause, until), 30 * MINUTE));
            troubles.outages.push((gateway, pause, until));
            troubles.restarts.push((gateway, until));
            agenda.push(start_of(gateway, until));
        }
    }
}

/// Nobody calls the service in this time, nor does it call.
pub(super) fn stop(world: &mut World, service: usize, (from, to): (u64, u64)) {
    let effect = Effect { from, to, ramp: false, what: What::Keep(0.0), label: None };
    for edge in world.edges.iter_mut().filter(|e| e.caller == service || e.callee == service) {
        edge.effects.push(effect);
    }
}

fn start_of(agent: usize, at: u64) -> Entry {
    once(at, move |world| {
        let mut draft = world.notice("start", "countersign", observer::AGENTS[agent], (at, at, 0));
        draft.agent = agent;
        draft
    })
}

/// Observers start anew at times: a new stream, numbered from 1.
fn restarts(world: &World, troubles: &mut Troubles, agenda: &mut Vec<Entry>) {
    let mut rng = Rng::of(world.seed, "restarts", 0);
    for agent in 0..observer::MESH {
        let at = world.start + rng.below(world.end - world.start);
        if rng.chance(0.5) {
            troubles.restarts.push((agent, at));
            agenda.push(start_of(agent, at));
        }
    }
}

/// Once, the records of a day long past are brought in.
fn backfill(world: &World, agenda: &mut Vec<Entry>) {
    let mut rng = Rng::of(world.seed, "backfill", 0);
    let days = (world.end - world.start) / DAY;
    let from = world.start + rng.below(days.saturating_sub(1).max(1)) * DAY + 10 * HOUR + rng.below(6 * HOUR);
    let past = (20 + rng.below(60)) * DAY;
    let count = 200 + rng.below(200);
    agenda.push(steps(from, count, (300_000_000, 0.9), rng, move |world, now, _, rng, out| {
        let edge = rng.index(world.demand);
        let Some(call) = world.call(edge, now, rng) else { return };
        let mut draft = world.draft(&call, rng);
        draft.agent = observer::BACKFILL;
        draft.event.core.t_event = draft.event.core.t_event.map(|at| at - past as i64);
        draft.event.core.labels.push("backfill".to_owned());
        if let Some(who) = draft.event.who.set_mut().and_then(|who| who.who.as_mut()) {
            who.verified = who.verified.min(Verified::Asserted);
            who.cred_exp = who.cred_exp.map(|ends| ends - (past / SECOND) as i64);
        }
        draft.event.body.cap = Some(world.captures[1].clone());
        out.push(draft);
    }));
}
