//! The world of a scenario: its services and edges, and the records that the platform itself writes.

use super::Scenario;
use super::call::{Draft, captures};
use super::fleet::{self, Deploy};
use super::observer;
use super::rhythm::Rhythm;
use super::rng::Rng;
use super::topology::{self, Edge, Op, Service, Tier};
use countersign_event::{
    Auth, Capture, Class, Event, IdentityFrom, Kind, Outcome, Principal, PrincipalKind, Rec, Shared,
    TimeBasis, Verified, Who,
};

/// Services and edges, as they are from the beginning.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) services: Vec<Service>,
    pub(super) edges: Vec<Edge>,
    /// Edges that people's demand drives: the first so many.
    pub(super) demand: usize,
    pub(super) captures: [Shared<Capture>; 2],
}

/// Share of all calls of a day that people's demand makes.
const DEMAND_SHARE: f64 = 0.6;

impl World {
    /// The world of `scenario`, with its deployments.
    pub(super) fn new(scenario: &Scenario, (start, end): (u64, u64)) -> (World, Vec<Deploy>) {
        let seed = scenario.seed;
        let mut services = topology::services(seed, scenario.nodes);
        let deploys = fleet::deploys(seed, &services, start, end);
        fleet::fill(seed, &mut services, &deploys, start, end);
        let edges = topology::edges(seed, &services, f64::from(scenario.daily) * DEMAND_SHARE);
        let demand = edges.len();
        (World { seed, start, end, services, edges, demand, captures: captures() }, deploys)
    }

    /// Services of a tier.
    pub(super) fn of(&self, tier: Tier) -> Vec<usize> {
        (0..self.services.len()).filter(|i| self.services[*i].tier == tier).collect()
    }

    /// Number of the service of this name; 0 where there is none.
    pub(super) fn named(&self, name: &str) -> usize {
        self.services.iter().position(|s| s.name == name).unwrap_or(0)
    }

    /// The edge from caller to callee, if there is one.
    pub(super) fn between(&self, caller: usize, callee: usize) -> Option<usize> {
        self.edges.iter().position(|e| e.caller == caller && e.callee == callee)
    }

    /// A new edge without demand, with one operation if given.
    pub(super) fn add_edge(&mut self, caller: usize, callee: usize, op: Option<Op>) -> usize {
        let mut rng = Rng::of(
            self.seed,
            "edge",
            (caller as u64) << 20 ^ (callee as u64) << 40 ^ self.edges.len() as u64,
        );
        let mut edge = topology::edge(&self.services, caller, callee, &mut rng);
        edge.rhythm = Rhythm::Flat;
        if let Some(op) = op {
            edge.ops = vec![op];
            edge.shape = topology::Shape::Http;
        }
        self.edges.push(edge);
        self.edges.len() - 1
    }

    /// A record that the platform writes: a deploy marker, a change window, a start.
    pub(super) fn notice(
        &self,
        op: &str,
        service: &str,
        what: &str,
        (said, from, dur): (u64, u64, u64),
    ) -> Draft {
        let mut event = Event::default();
        let core = &mut event.core;
        core.rec = Some(Rec::Platform);
        core.kind = Some(Kind::Lifecycle);
        core.op = op.to_owned();
        core.class = Some(Class::Admin);
        core.outcome = Some(Outcome::Success);
        core.t_event = Some(from as i64);
        core.t_basis = Some(TimeBasis::Stated);
        core.dur = (dur > 0).then_some(dur);
        event.target.svc = service.to_owned();
        event.target.res = what.to_owned();
        let mut who = Principal::new("spiffe://prod.example/ns/ci/sa/deployer", Verified::Bound);
        who.kind = Some(PrincipalKind::Workload);
        who.auth = Some(Auth::SpiffeSvid);
        who.svc = "deployer".to_owned();
        who.from = Some(IdentityFrom::Tls);
        event.who = Shared::from(Who { who: Some(who), ..Who::default() });
        Draft { seen: said, agent: observer::PLATFORM, event, label: None }
    }
}
