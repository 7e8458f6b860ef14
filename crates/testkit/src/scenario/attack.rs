//! What is staged on the background: attacks, failures, and what only looks like them.
//!
//! Each is drawn between just above noise and blatant; half of any even number of seeds in a row is of each kind.
//! Descriptions and their sources: `docs/dev/scenarios.md`.

mod access;
mod bypass;
mod credentials;
mod flows;
mod operation;
mod platform;
mod stop;
mod volume;

use super::actor::Entry;
use super::background::Jobs;
use super::call::{Call, Draft, set_source};
use super::credential::{Shown, account_id, by_account, key_id};
use super::labels::{Intensity, Label};
use super::observer::{self, Troubles};
use super::rng::{Rng, exp, ln};
use super::topology::{Shape, Style, Tier, ip};
use super::world::World;
use super::{HOUR, MINUTE, Mix, SECOND};
use std::net::IpAddr;

/// Stages one scenario's attack or near miss.
type Stager = fn(&mut Plan<'_>, Cast);

/// Name, attack, near miss.
const STAGES: &[(&str, Option<Stager>, Stager)] = &[
    ("token-replay", Some(credentials::replay), credentials::replay_like),
    ("shared-credential", Some(credentials::shared), credentials::shared_like),
    ("impossible-source", Some(credentials::elsewhere), credentials::elsewhere_like),
    ("enumeration", Some(access::enumeration), access::enumeration_like),
    ("first-seen-edge", Some(access::lateral), access::lateral_like),
    ("rare-operation", Some(access::rare), access::rare_like),
    ("misconfiguration", Some(access::misconfigured), access::misconfigured_like),
    ("exfiltration", Some(flows::exfiltration), flows::exfiltration_like),
    ("beacon", Some(flows::beacon), flows::beacon_like),
    ("silence", Some(stop::silence), stop::silence_like),
    ("drift", Some(volume::drift), volume::drift_like),
    ("noisy-neighbour", Some(volume::noisy), volume::noisy_like),
    ("rate-shift", Some(volume::burst), volume::burst_like),
    ("latency-shift", Some(volume::slow), volume::slow_like),
    ("error-budget", Some(volume::burn), volume::burn_like),
    ("sequence-gap", Some(platform::gap), platform::gap_like),
    ("clock-skew", Some(platform::skew), platform::skew_like),
    ("deployment-change", None, operation::deployment),
    ("night-batch", None, operation::night),
    ("bypass", Some(bypass::direct), bypass::direct_like),
];

/// Names of all scenarios. `deployment-change` and `night-batch` have no attack: nobody may be notified of them.
/// New ones come last, so that what a seed draws for the others stays.
pub const SCENARIOS: &[&str] = &{
    let mut names = [""; STAGES.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = STAGES[n].0;
        n += 1;
    }
    names
};

/// Draws of a near miss until it is apart from the attack.
const APART_DRAWS: usize = 24;

/// Into what things are staged.
pub(super) struct Plan<'a> {
    pub(super) world: &'a mut World,
    pub(super) agenda: &'a mut Vec<Entry>,
    pub(super) troubles: &'a mut Troubles,
    pub(super) labels: &'a mut Vec<Label>,
    pub(super) jobs: &'a Jobs,
}

/// What was drawn for one thing.
pub(super) struct Cast {
    name: &'static str,
    attack: bool,
    rng: Rng,
    /// 0 (just above noise) to 1 (blatant).
    strength: f64,
    from: u64,
}

impl Cast {
    /// Between `hard` (just above noise) and `easy`, in equal ratios.
    fn blend(&self, hard: f64, easy: f64) -> f64 {
        exp(ln(hard) + (ln(easy) - ln(hard)) * self.strength)
    }
}

/// Stages all that `mix` names.
pub(super) fn stage(plan: &mut Plan<'_>, mix: &Mix) {
    for (attack, names) in [(true, &mix.attacks), (false, &mix.near_misses)] {
        for (number, (name, staged, like)) in STAGES.iter().enumerate() {
            let stager = if attack { *staged } else { Some(*like) };
            let (Some(stager), true) = (stager, names.contains(name)) else { continue };
            let seed = plan.world.seed;
            let mut rng = Rng::of(seed, if attack { "attack" } else { "near miss" }, number as u64);
            let strength = ((seed % 2) as f64 + rng.unit()) / 2.0;
            // In the last day, with hours left for what takes hours.
            let from = plan.world.end - 20 * HOUR + rng.below(11 * HOUR) + rng.below(MINUTE);
            stager(plan, Cast { name, attack, rng, strength, from });
        }
    }
}

impl Plan<'_> {
    /// Adds a label; its events are those that carry its number.
    fn label(
        &mut self,
        cast: &Cast,
        (start, end): (u64, u64),
        callers: Vec<String>,
        services: Vec<String>,
        note: String,
    ) -> usize {
        let mut names = [callers, services];
        for list in &mut names {
            list.retain(|name| !name.is_empty());
            list.sort();
            list.dedup();
        }
        let [callers, services] = names;
        self.labels.push(Label {
            scenario: cast.name.to_owned(),
            attack: cast.attack,
            intensity: if cast.strength < 0.5 { Intensity::Hard } else { Intensity::Easy },
            strength: cast.strength,
            start,
            end: end.min(self.world.end),
            callers,
            services,
            events: Vec::new(),
            more: 0,
            note,
        });
        self.labels.len() - 1
    }

    /// Service and principal ids of a caller: its own, those of its API keys, the database accounts that it uses.
    fn names(&self, service: usize) -> Vec<String> {
        let caller = &self.world.services[service];
        let mut names = vec![caller.name.clone(), caller.id.clone()];
        if caller.style == Style::Key {
            // One more than there are: a near miss may add another.
            names.extend((0..caller.key_changes.len() + 2).map(|number| key_id(caller, number)));
        }
        for edge in self.world.edges.iter().filter(|edge| edge.caller == service && by_account(edge, caller))
        {
            names.push(account_id(caller, &self.world.services[edge.callee]));
        }
        names
    }

    /// Edges with demand on which `service` calls.
    fn outgoing(&self, service: usize) -> Vec<usize> {
        (0..self.world.demand).filter(|edge| self.world.edges[*edge].caller == service).collect()
    }

    /// Edges with demand on which `service` is called.
    fn incoming(&self, service: usize) -> Vec<usize> {
        (0..self.world.demand).filter(|edge| self.world.edges[*edge].callee == service).collect()
    }

    /// Names of the services called on these edges.
    fn called(&self, edges: &[usize]) -> Vec<String> {
        edges.iter().map(|edge| self.world.services[self.world.edges[*edge].callee].name.clone()).collect()
    }

    /// Edges with demand on which `service` shows its own credential.
    fn shown_on(&self, service: usize) -> Vec<usize> {
        let mut edges = self.outgoing(service);
        edges.retain(|edge| matches!(self.world.edges[*edge].shape, Shape::Http | Shape::Grpc));
        edges
    }

    /// Services that call others, the busiest first; with a style, those that show such a credential there.
    fn callers(&self, tiers: &[Tier], style: Option<Style>) -> Vec<usize> {
        let busy = |service: usize| -> f64 {
            let edges = if style.is_some() { self.shown_on(service) } else { self.outgoing(service) };
            edges.iter().map(|edge| self.world.edges[*edge].rate).sum()
        };
        let mut found: Vec<(u64, usize)> = (0..self.world.services.len())
            .filter(|i| tiers.contains(&self.world.services[*i].tier))
            .filter(|i| style.is_none_or(|style| self.world.services[*i].style == style))
            .map(|i| ((busy(i) * 1e9) as u64, i))
            .filter(|(rate, _)| *rate > 0)
            .collect();
        found.sort_unstable_by_key(|(rate, i)| (u64::MAX - rate, *i));
        found.into_iter().map(|(_, i)| i).collect()
    }

    /// Edges with demand, the busiest first; within the first `among`, one by chance.
    fn busy_edge(&self, among: usize, rng: &mut Rng) -> usize {
        let mut edges: Vec<usize> = (0..self.world.demand).collect();
        edges.sort_unstable_by_key(|e| (u64::MAX - (self.world.edges[*e].rate * 1e12) as u64, *e));
        edges[rng.index(among.clamp(1, edges.len()))]
    }

    /// Services that are called, the busiest first; within the first `among`, one by chance.
    fn busy_callee(&self, among: usize, rng: &mut Rng) -> usize {
        let rate = |service: usize| -> f64 {
            self.incoming(service).iter().map(|edge| self.world.edges[*edge].rate).sum()
        };
        let mut found: Vec<usize> = (0..self.world.services.len()).collect();
        found.sort_by_key(|i| (u64::MAX - (rate(*i) * 1e12) as u64, *i));
        found[rng.index(among.clamp(1, found.len()))]
    }

    /// What `draw` gives, drawn again while it touches what another label is about; the last draw if all do. So a
    /// near miss stays apart from the attack beside it.
    fn apart(&self, rng: &mut Rng, draw: impl Fn(&Plan<'_>, &mut Rng) -> (usize, Vec<String>)) -> usize {
        let mut drawn = draw(self, rng);
        for _ in 0..APART_DRAWS {
            let named = |name: &String| {
                self.labels.iter().any(|label| label.callers.contains(name) || label.services.contains(name))
            };
            if !drawn.1.iter().any(named) {
                break;
            }
            drawn = draw(self, rng);
        }
        drawn.0
    }

    /// As [`Plan::busy_edge`], apart from other labels.
    fn busy_edge_apart(&self, among: usize, rng: &mut Rng) -> usize {
        self.apart(rng, |plan, rng| {
            let edge = plan.busy_edge(among, rng);
            let here = &plan.world.edges[edge];
            (
                edge,
                [here.caller, here.callee].map(|service| plan.world.services[service].name.clone()).to_vec(),
            )
        })
    }

    /// One of `services`, apart from other labels.
    fn service_apart(&self, services: &[usize], rng: &mut Rng) -> usize {
        self.apart(rng, |plan, rng| {
            let service = services[rng.index(services.len())];
            (service, vec![plan.world.services[service].name.clone()])
        })
    }

    /// One of the first `among` observers, apart from other labels.
    fn agent_apart(&self, among: usize, rng: &mut Rng) -> usize {
        self.apart(rng, |_, rng| {
            let agent = rng.index(among);
            (agent, vec![observer::AGENTS[agent].to_owned()])
        })
    }

    /// Tier of a service.
    fn tier(&self, service: usize) -> Tier {
        self.world.services[service].tier
    }
}

/// Where a copied credential is used.
#[derive(Clone, Debug)]
struct Place {
    ip: IpAddr,
    /// Empty outside of the cluster.
    workload: String,
    node: String,
    zone: String,
}

impl Place {
    /// A machine outside.
    fn outside(rng: &mut Rng) -> Place {
        let (workload, node, zone) = Default::default();
        Place { ip: ip(203, 0, 113, 2 + rng.index(250)), workload, node, zone }
    }

    /// The place of an instance alive at `at`.
    fn of(world: &World, service: usize, at: u64) -> Option<Place> {
        let instance = world.services[service].instances.get(*world.services[service].at(at).first()?)?;
        Some(Place {
            ip: instance.ip,
            workload: instance.pod.clone(),
            node: instance.node.clone(),
            zone: instance.zone.to_owned(),
        })
    }

    /// Moves a record's caller here.
    fn set(&self, draft: &mut Draft) {
        let place = Some((self.node.as_str(), self.zone.as_str()));
        set_source(&mut draft.event, self.ip, &self.workload, place.filter(|(node, _)| !node.is_empty()));
    }
}

/// A call by the credential in `shown`, from `place`.
fn stolen(world: &World, call: &Call, shown: &Shown, place: &Place, rng: &mut Rng) -> Draft {
    let mut draft = world.draft_as(call, shown.clone(), rng);
    place.set(&mut draft);
    if place.workload.is_empty() {
        draft.agent = observer::EDGE;
    }
    draft
}

/// Time until a call is repeated in a loop of `count` within `length`.
fn pace(length: f64, count: f64) -> u64 {
    ((length / count.max(1.0)) as u64).max(SECOND / 50)
}

/// When `count` steps from `at` on, `gap` apart give or take their jitter, are over for certain.
fn over(at: u64, gap: u64, count: u64) -> u64 {
    at + gap * count + gap * count / 8 + 3 * gap + MINUTE
}
