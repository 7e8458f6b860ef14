//! The instances of services over time: replicas, deployments, autoscaling, each with an id of its own.

use super::names::{self, suffix};
use super::rng::Rng;
use super::topology::{Service, Tier, ip};
use super::{DAY, HOUR, MINUTE, SECOND};
use std::net::IpAddr;

/// One process of a service.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    /// Pod name, `orders-6b7f9d5c4-x2kqz`; empty for a partner's machine.
    pub(super) pod: String,
    pub(super) ip: IpAddr,
    pub(super) node: String,
    pub(super) zone: &'static str,
    /// First and last moment of its life, UTC ns.
    pub(super) born: u64,
    pub(super) dies: u64,
}

/// A new version of a service that takes the place of the old one.
#[derive(Clone, Debug)]
pub(super) struct Deploy {
    pub(super) service: usize,
    pub(super) at: u64,
    pub(super) version: String,
    /// Factor on the service's latency from then on.
    pub(super) pace: f64,
    /// Whether a deploy marker is recorded.
    pub(super) marked: bool,
}

/// Time between the replicas of a rolling deployment.
const ROLL: u64 = 40 * SECOND;
/// Old and new replica serve together for so long.
const ROLL_OVERLAP: u64 = 30 * SECOND;

/// A new instance of a service.
pub(super) fn instance(service: &Service, set: &str, born: u64, dies: u64, rng: &mut Rng) -> Instance {
    let zone = rng.index(names::ZONES.len());
    let number = rng.index(names::NODES);
    let pod = match service.tier {
        Tier::Partner | Tier::Outside => String::new(),
        // A stateful set's pod keeps its name.
        Tier::Sql | Tier::Kv => format!("{}-0", service.name),
        _ => format!("{}-{set}-{}", service.name, suffix(rng, 5)),
    };
    let node = format!("node-{}{number}", ["a", "b", "c"][zone]);
    let ip = ip(10, 128 + (zone * 16 + number) as u8, rng.index(250), 2 + rng.index(250));
    Instance { pod, ip, node, zone: names::ZONES[zone], born, dies }
}

/// The deployments of ordinary operation: each service about once in twelve days, in working hours mostly.
pub(super) fn deploys(seed: u64, services: &[Service], start: u64, end: u64) -> Vec<Deploy> {
    let mut rng = Rng::of(seed, "deploys", 0);
    let mut out = Vec::new();
    for (index, service) in services.iter().enumerate() {
        if !matches!(service.tier, Tier::Front | Tier::Core | Tier::Platform) {
            continue;
        }
        let mut day = start + rng.below(12) * DAY;
        while day < end {
            let at = day + (8 * HOUR) + rng.below(9 * HOUR);
            let marked = rng.chance(0.8);
            // What nobody announces changes little.
            let pace = if marked { rng.range(0.88, 1.15) } else { rng.range(0.97, 1.04) };
            let version = format!("1.{}.{}", rng.below(40), rng.below(20));
            if at > start + HOUR && at + 2 * HOUR < end {
                out.push(Deploy { service: index, at, version, pace, marked });
            }
            day += (6 + rng.below(12)) * DAY;
        }
    }
    out.sort_by_key(|deploy| (deploy.at, deploy.service));
    out
}

/// Gives every service its instances over the whole run.
pub(super) fn fill(seed: u64, services: &mut [Service], deploys: &[Deploy], start: u64, end: u64) {
    for (index, service) in services.iter_mut().enumerate() {
        let mut rng = Rng::of(seed, "fleet", index as u64);
        let mine: Vec<&Deploy> = deploys.iter().filter(|deploy| deploy.service == index).collect();
        let mut instances = Vec::new();
        let mut pace = 1.0;
        // Life of the set of replicas between two deployments.
        for number in 0..=mine.len() {
            let set = suffix(&mut rng, 9);
            let born = number.checked_sub(1).and_then(|n| mine.get(n)).map_or(start, |deploy| deploy.at);
            let dies = mine.get(number).map_or(u64::MAX, |deploy| deploy.at);
            for replica in 0..service.replicas as u64 {
                let born = if born == start { start } else { born + replica * ROLL };
                let dies = dies.saturating_add(replica * ROLL + ROLL_OVERLAP);
                instances.push(instance(service, &set, born, dies, &mut rng));
            }
            if service.tier == Tier::Front || (service.tier == Tier::Core && service.replicas >= 3) {
                scale_out(service, &set, (born, dies.min(end)), &mut instances, &mut rng);
            }
        }
        for deploy in &mine {
            pace *= deploy.pace;
            service.pace.push((deploy.at, pace));
        }
        service.instances = instances;
        lives(service, start);
        if service.style == super::topology::Style::Key && rng.chance(0.5) {
            service.key_changes = vec![start + DAY + rng.below((end - start).saturating_sub(2 * DAY).max(1))];
        }
    }
}

/// An instance more in the busy hours of most days.
fn scale_out(service: &Service, set: &str, (from, to): (u64, u64), out: &mut Vec<Instance>, rng: &mut Rng) {
    let mut day = from / DAY * DAY;
    while day < to {
        let up = day + 9 * HOUR + rng.below(90 * MINUTE);
        let down = day + 16 * HOUR + rng.below(2 * HOUR);
        if super::rhythm::weekday(day) < 5 && rng.chance(0.7) && up > from && down < to {
            out.push(instance(service, set, up, down, rng));
        }
        day += DAY;
    }
}

/// Works out which instances are alive when.
pub(super) fn lives(service: &mut Service, start: u64) {
    let mut moments: Vec<u64> = service
        .instances
        .iter()
        .flat_map(|i| [i.born.max(start), i.dies])
        .filter(|t| *t < u64::MAX)
        .collect();
    moments.push(start);
    moments.sort_unstable();
    moments.dedup();
    service.alive = moments
        .into_iter()
        .map(|t| {
            let alive = |i: &usize| {
                let instance = &service.instances[*i];
                instance.born <= t && t < instance.dies
            };
            (t, (0..service.instances.len()).filter(alive).collect())
        })
        .collect();
}

impl Service {
    /// Instances alive at `t`.
    pub(super) fn at(&self, t: u64) -> &[usize] {
        let after = self.alive.partition_point(|(from, _)| *from <= t);
        after.checked_sub(1).and_then(|i| self.alive.get(i)).map_or(&[], |(_, list)| list)
    }

    /// How many times as long as at first calls take at `t`.
    pub(super) fn pace_at(&self, t: u64) -> f64 {
        let after = self.pace.partition_point(|(from, _)| *from <= t);
        after.checked_sub(1).and_then(|i| self.pace.get(i)).map_or(1.0, |(_, pace)| *pace)
    }
}
