//! The machines of a scenario: services, who they are, which of them call which, with what operations.
//!
//! In-degrees are heavy-tailed (a new caller prefers callees that many call already), rates follow Zipf's law over
//! the edges. Everything follows from the seed; nothing changes once the run has begun.

use super::fleet::Instance;
use super::names;
use super::rhythm::Rhythm;
use super::rng::Rng;
use countersign_event::Class;
use std::net::{IpAddr, Ipv4Addr};

/// How a service shows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// X.509 SVID over mTLS, a certificate for each instance.
    Svid,
    /// A bearer JWT for each instance, no client certificate.
    Jwt,
    /// A JWT bound to the client certificate (RFC 8705).
    BoundJwt,
    /// One API key for all replicas.
    Key,
}

/// What part a service plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    /// Calls from outside, behind address translation.
    Partner,
    /// Takes calls from outside.
    Front,
    /// Serves other services.
    Core,
    /// A PostgreSQL database.
    Sql,
    /// A Redis store.
    Kv,
    /// Token issuer, configuration: what everybody calls at times.
    Platform,
    /// Calls every health endpoint.
    Monitor,
    /// Runs by night or by the hour.
    Batch,
    /// Outside; we call it.
    Outside,
}

/// One service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: String,
    /// The collection that it serves; a table's name for a database.
    pub(super) noun: &'static str,
    pub(super) tier: Tier,
    pub(super) style: Style,
    /// Canonical principal id.
    pub(super) id: String,
    /// Address that callers use.
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// Source address of partners (their translator's).
    pub(super) nat: Option<IpAddr>,
    /// From when on it has another; ascending.
    pub(super) nat_moves: Vec<(u64, IpAddr)>,
    pub(super) replicas: usize,
    pub(super) instances: Vec<Instance>,
    /// From when on which instances take and make calls; ascending.
    pub(super) alive: Vec<(u64, Vec<usize>)>,
    /// From when on calls take how many times as long as at first; ascending.
    pub(super) pace: Vec<(u64, f64)>,
    /// When the API key was replaced; ascending.
    pub(super) key_changes: Vec<u64>,
}

/// Family of protocol on an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Http,
    Grpc,
    Sql,
    Kv,
}

/// One operation that a caller uses.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) verb: String,
    /// Template, method path, table or key pattern.
    pub(super) res: String,
    pub(super) class: Class,
    /// Objects that the caller works with; 0 = no object id.
    pub(super) objects: u64,
    pub(super) weight: f64,
    /// Median payload sizes, bytes.
    pub(super) req: f64,
    pub(super) rsp: f64,
    /// Time it takes against the edge's.
    pub(super) slow: f64,
}

/// What changes on an edge for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    /// Share of the calls that are still made.
    Keep(f64),
    /// Factor on the time that a call takes.
    Latency(f64),
    /// Additional probability of a server's error.
    Errors(f64),
}

/// A change on an edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effect {
    pub(super) from: u64,
    pub(super) to: u64,
    /// Grows from nothing at `from` to the whole at `to`.
    pub(super) ramp: bool,
    pub(super) what: What,
    /// The label that the changed calls belong to.
    pub(super) label: Option<usize>,
}

impl Effect {
    /// How much of it is in force at `t`, 0 to 1.
    pub(super) fn share(&self, t: u64) -> f64 {
        if t < self.from || t >= self.to {
            0.0
        } else if self.ramp {
            (t - self.from) as f64 / (self.to - self.from) as f64
        } else {
            1.0
        }
    }
}

/// One caller and one callee.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) caller: usize,
    pub(super) callee: usize,
    /// Who observes it.
    pub(super) agent: usize,
    pub(super) shape: Shape,
    pub(super) ops: Vec<Op>,
    /// Mean calls a second, 0 where something else than people's demand drives it.
    pub(super) rate: f64,
    pub(super) rhythm: Rhythm,
    /// Median time of a call, ns, and the deviation of its logarithm.
    pub(super) median: f64,
    pub(super) sigma: f64,
    /// Probability that a call fails on the server's side.
    pub(super) errors: f64,
    pub(super) tls: Option<u64>,
    pub(super) effects: Vec<Effect>,
}

/// An IPv4 address.
pub(super) fn ip(a: u8, b: u8, c: usize, d: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, (c % 256) as u8, (d % 256) as u8))
}

fn service(
    index: usize,
    name: &str,
    noun: &'static str,
    tier: Tier,
    style: Style,
    replicas: usize,
) -> Service {
    let id = match (tier, style) {
        (Tier::Outside, _) => String::new(),
        (_, Style::Svid) => format!("spiffe://prod.example/ns/{}/sa/{name}", namespace(tier)),
        (_, Style::Jwt | Style::BoundJwt) => format!("jwt:https://id.prod.example#{name}"),
        (_, Style::Key) => format!("key:{name}"),
    };
    let outside = tier == Tier::Outside;
    Service {
        name: name.to_owned(),
        noun,
        tier,
        style,
        id,
        address: if outside {
            ip(198, 51, 100, 10 + index)
        } else {
            ip(10, 96, index / 200, 10 + index % 200)
        },
        port: match tier {
            Tier::Sql => 5432,
            Tier::Kv => 6379,
            Tier::Outside | Tier::Front => 443,
            _ => 8443,
        },
        // The last two partners sit behind one translator.
        nat: (tier == Tier::Partner).then(|| ip(192, 0, 2, 20 + index.min(2) * 16)),
        nat_moves: Vec::new(),
        replicas,
        instances: Vec::new(),
        alive: Vec::new(),
        pace: Vec::new(),
        key_changes: Vec::new(),
    }
}

/// Namespace of a tier's workloads.
pub(super) fn namespace(tier: Tier) -> &'static str {
    match tier {
        Tier::Batch => "jobs",
        Tier::Platform | Tier::Monitor => "platform",
        Tier::Sql | Tier::Kv => "data",
        _ => "shop",
    }
}

/// The services of a system with about `nodes` of them, at least 24.
pub(super) fn services(seed: u64, nodes: usize) -> Vec<Service> {
    let mut rng = Rng::of(seed, "services", 0);
    let mut all: Vec<Service> = Vec::new();
    let mut add = |name: &str, noun, tier, style, replicas| {
        let next = service(all.len(), name, noun, tier, style, replicas);
        all.push(next);
    };
    for (n, name) in names::PARTNERS.iter().enumerate() {
        let style = if n % 2 == 0 { Style::Jwt } else { Style::Key };
        add(name, "", Tier::Partner, style, 2 + rng.index(4));
    }
    for name in names::FRONT {
        add(name, "requests", Tier::Front, Style::Svid, 2 + rng.index(3));
    }
    let cores = nodes.max(24).saturating_sub(19);
    let mut order: Vec<usize> = (0..names::CORE.len()).collect();
    rng.shuffle(&mut order);
    for n in 0..cores {
        let (name, noun) = names::CORE[order[n % order.len()]];
        let name = if n < order.len() { name.to_owned() } else { format!("{name}-{}", n / order.len() + 1) };
        // The first of each style is fixed, so that each attack finds its victim under every seed.
        let style = match n {
            0 | 4 => Style::Key,
            1 | 5 => Style::Jwt,
            2 => Style::BoundJwt,
            3 => Style::Svid,
            _ => [Style::Svid, Style::Svid, Style::Jwt, Style::BoundJwt, Style::Key][rng.index(5)],
        };
        add(&name, noun, Tier::Core, style, 1 + rng.weighted([2.0, 4.0, 3.0, 1.0].into_iter()));
    }
    for (name, noun) in [("orders-db", "orders"), ("ledger-db", "entries"), ("people-db", "people")] {
        add(name, noun, Tier::Sql, Style::Svid, 1);
    }
    for name in ["sessions-cache", "catalog-cache"] {
        add(name, "key", Tier::Kv, Style::Svid, 1);
    }
    add("token-issuer", "tokens", Tier::Platform, Style::Svid, 2);
    add("config-store", "settings", Tier::Platform, Style::Svid, 2);
    add("monitor", "", Tier::Monitor, Style::Svid, 1);
    add("night-reconcile", "", Tier::Batch, Style::Jwt, 1);
    add("night-export", "", Tier::Batch, Style::Svid, 1);
    add("hourly-report", "", Tier::Batch, Style::Svid, 1);
    for name in names::OUTSIDE {
        add(name, "v1", Tier::Outside, Style::Svid, 1);
    }
    all
}

/// An edge without demand of its own.
pub(super) fn edge(services: &[Service], caller: usize, callee: usize, rng: &mut Rng) -> Edge {
    let (from, to) = (&services[caller], &services[callee]);
    let (shape, ops) = super::interface::interface(to, rng);
    let median = match to.tier {
        Tier::Kv => rng.range(0.3e6, 1.2e6),
        Tier::Sql => rng.range(1.5e6, 12e6),
        Tier::Outside => rng.range(60e6, 220e6),
        _ => rng.lognormal(14e6, 0.7),
    };
    Edge {
        caller,
        callee,
        agent: super::observer::agent_of(from.tier, to.tier, callee),
        shape,
        ops,
        rate: 0.0,
        rhythm: if from.tier == Tier::Partner { Rhythm::Mixed } else { Rhythm::People },
        median,
        sigma: rng.range(0.3, 0.6),
        errors: rng.range(0.002, 0.008),
        tls: Some(if from.tier == Tier::Partner && rng.chance(0.3) { 0x0303 } else { 0x0304 }),
        effects: Vec::new(),
    }
}

/// The edges that people's demand drives, with `per_day` calls a day among them.
pub(super) fn edges(seed: u64, services: &[Service], per_day: f64) -> Vec<Edge> {
    let mut rng = Rng::of(seed, "edges", 0);
    let of =
        |tier: Tier| -> Vec<usize> { (0..services.len()).filter(|i| services[*i].tier == tier).collect() };
    let (fronts, cores, sql, kv, outside) =
        (of(Tier::Front), of(Tier::Core), of(Tier::Sql), of(Tier::Kv), of(Tier::Outside));
    let mut popular: Vec<f64> = vec![1.0; services.len()];
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    let mut link = |caller: usize, among: &[usize], count: usize, rng: &mut Rng| {
        for _ in 0..count {
            let Some(callee) = among.get(rng.weighted(among.iter().map(|i| popular[*i]))).copied() else {
                return;
            };
            if callee != caller && !pairs.contains(&(caller, callee)) {
                popular[callee] += 1.0;
                pairs.push((caller, callee));
            }
        }
    };
    for partner in of(Tier::Partner) {
        link(partner, &fronts, 2, &mut rng);
    }
    for front in &fronts {
        link(*front, &cores, 5, &mut rng);
        link(*front, &kv[..1], 1, &mut rng);
    }
    for (n, core) in cores.iter().enumerate() {
        let later = cores.get(n + 1..).unwrap_or_default();
        link(*core, later, 1 + n % 3, &mut rng);
        link(*core, &sql, 1, &mut rng);
        if rng.chance(0.4) {
            link(*core, &kv, 1, &mut rng);
        }
        if rng.chance(0.3) {
            link(*core, &outside[..outside.len() - 1], 1, &mut rng);
        }
    }
    rng.shuffle(&mut pairs);
    let weights: Vec<f64> = (0..pairs.len()).map(|rank| 1.0 / (rank + 2) as f64).collect();
    let sum: f64 = weights.iter().sum();
    pairs
        .iter()
        .zip(&weights)
        .map(|((caller, callee), weight)| {
            let mut edge = edge(services, *caller, *callee, &mut rng);
            edge.rate = per_day * weight / sum / 86_400.0;
            if rng.chance(0.3) {
                edge.rhythm = Rhythm::Mixed;
            }
            edge
        })
        .collect()
}
