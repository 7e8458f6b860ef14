//! Decisions with 1,000 policies: cached and not, p50 and p99; load times. Prints figures, judges none.
//!
//! Run by `cargo xtask bench policy`.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use countersign_event::{Auth, Class, Mode, Principal, PrincipalKind, Verified};
use countersign_policy::{Ground, Modes, Policy, PolicyConfig, PolicySet, Request, Sources, ground};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// Policies of the goal.
const POLICIES: usize = 1_000;
/// The goal (G13).
const BAR: &str = "p99 5 µs (G13)";
/// Decisions timed in each row.
const ROUNDS: usize = 200_000;

/// A tenth each: plain permits by caller and by group, conditions on identity, network, time of day, names,
/// purpose and delegation, forbids by class, and permits for several actions.
fn policies(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        let (caller, group, service) = (n % 100, n % 20, n % 50);
        let who =
            format!("principal == Countersign::Workload::\"spiffe://example.org/ns/shop/sa/app-{caller}\"");
        let in_group = format!("principal in Countersign::Group::\"team-{group}\"");
        let target = format!("resource in Countersign::Target::\"service-{service}\"");
        let exact = format!("resource == Countersign::Resource::\"service-{service}/items/{{id}}/part-{n}\"");
        let get = "action == Action::\"http:GET\"";
        text.push_str(&match n % 10 {
            0 => format!("permit({who}, {get}, {exact});\n"),
            1 => format!("permit({in_group}, action in Action::\"class:read\", {target});\n"),
            2 => format!("permit({who}, {get}, {target}) when {{ principal.verified >= 3 }};\n"),
            3 => format!("permit({in_group}, {get}, {exact}) when {{ context.peer.isInRange(ip(\"10.0.0.0/8\")) && context.tls }};\n"),
            4 => format!("permit({who}, action, {target}) when {{ context.hour >= 6 && context.hour < 22 }};\n"),
            5 => format!("permit({in_group}, {get}, {target}) when {{ resource.name like \"/items/*/part-{n}\" }};\n"),
            6 => format!("forbid({who}, action in Action::\"class:delete\", {target}) unless {{ context.purpose == \"cleanup\" }};\n"),
            7 => format!("forbid({in_group}, action in Action::\"class:admin\", resource);\n"),
            8 => format!("forbid({in_group}, action, {exact}) when {{ context.chain_verified < 2 }};\n"),
            _ => format!("permit({who}, action in [{}], {exact});\n", "Action::\"http:GET\", Action::\"http:PUT\""),
        });
    }
    text.push_str(
        "@id(\"unverified-deletes\") @reason(\"deletes need a verified caller\")\n\
        forbid(principal, action in Action::\"class:delete\", resource) when { principal.verified < 3 };\n",
    );
    text
}

fn set(text: String, cache_bytes: usize) -> (PolicySet, Duration) {
    let sources = Sources { policies: vec![("bench.cedar".into(), text)], entities: None };
    let modes = Modes { default: Mode::Enforce, ..Modes::default() };
    let start = Instant::now();
    let config = PolicyConfig { modes, cache_bytes, ..PolicyConfig::default() };
    let set = PolicySet::from_sources(&sources, config).unwrap();
    (set, start.elapsed())
}

fn callers() -> Vec<Principal> {
    (0..100)
        .map(|n| {
            let mut who = Principal::new(format!("spiffe://example.org/ns/shop/sa/app-{n}"), Verified::Bound);
            who.kind = Some(PrincipalKind::Workload);
            who.auth = Some(Auth::SpiffeSvid);
            who.iss = "example.org".into();
            who.groups = vec![format!("team-{}", n % 20), "everyone".into()];
            who
        })
        .collect()
}

fn main() {
    let callers = callers();
    let resources: Vec<String> = (0..POLICIES).map(|n| format!("/items/{{id}}/part-{n}")).collect();
    let services: Vec<String> = (0..50).map(|n| format!("service-{n}")).collect();
    let request = |n: usize| {
        // A fixed walk over the policies: nine calls in ten are what some policy is about, one is a
        // stranger's; a delete now and then.
        let step = n.wrapping_mul(2_654_435_761);
        let (about, delete) = (step / 11 % POLICIES, step.is_multiple_of(23));
        let caller = if step.is_multiple_of(10) { step / 7 } else { about };
        Request {
            principal: Some(&callers[caller % callers.len()]),
            protocol: "http/1.1",
            operation: if delete { "DELETE" } else { "GET" },
            class: Some(if delete { Class::Delete } else { Class::Read }),
            service: &services[about % services.len()],
            resource: &resources[about],
            time_ns: 1_795_315_808_000_000_000,
            peer: Some(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3))),
            tls: true,
            route: "orders",
            ..Request::default()
        }
    };
    limits();
    println!("policy: {POLICIES} policies of ten kinds, 100 callers, 50 services, {POLICIES} resources");
    let (cold, load) = set(policies(POLICIES), 0);
    println!("  {:<44} {:>26}   bar: -", "load, check and index", format!("{load:.1?}"));
    row("decision, not cached", &cold, &request, ROUNDS, BAR);
    let (conditions, cedars) = cold.conditions();
    println!("  conditions: {conditions} different, {cedars} of them by Cedar's evaluator");
    // The same with every condition a calculation, which only Cedar's evaluator does.
    let calculated = policies(POLICIES).replace(" when { ", " when { 1 + 1 == 2 && ");
    let (slow, _) = set(calculated.replace(" unless { ", " unless { 1 + 1 == 2 && "), 0);
    let (conditions, cedars) = slow.conditions();
    row("the same, conditions by Cedar's evaluator", &slow, &request, ROUNDS, "-");
    println!("  conditions: {conditions} different, {cedars} of them by Cedar's evaluator");
    let (warm, _) = set(policies(POLICIES), 64 << 20);
    // One in a thousand calls is new to the cache, as with a service's own resources.
    row("decision, cached", &warm, &|n| request(n % 1_000), ROUNDS, BAR);
    let stats = warm.stats();
    println!(
        "  {:<44} {:>26}   bar: -",
        "cache: hits / entries' bytes",
        format!("{} / {}", stats.cached, stats.cache_bytes)
    );
    let grounds: Vec<Ground> = (0..20_000).map(|n| ground(&cold.decide(&request(n)))).collect();
    let of = |g: Ground| grounds.iter().filter(|x| **x == g).count();
    println!(
        "  of 20,000 calls: {} permitted, {} forbidden, {} not permitted, {} errors",
        of(Ground::Permitted),
        of(Ground::Forbidden),
        of(Ground::NotPermitted),
        of(Ground::Error)
    );
    let (_, load) = set(policies(10_000), 0);
    println!("  {:<44} {:>26}   bar: -", "load of 10,000 policies", format!("{load:.1?}"));
}

/// What stands in the way of exact figures on this machine.
fn limits() {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let mut times: Vec<u64> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        times.push(u64::try_from(std::hint::black_box(start).elapsed().as_nanos()).unwrap());
    }
    let (p50, p99) = quantiles(&mut times);
    println!(
        "machine: {cores} cores, load average {load}; reading the clock twice: p50 {p50:.2} / p99 {p99:.2} µs, \
         in each figure below"
    );
}

fn quantiles(times: &mut [u64]) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] as f64 / 1_000.0;
    (at(0.50), at(0.99))
}

fn row<'a>(name: &str, set: &PolicySet, request: &dyn Fn(usize) -> Request<'a>, rounds: usize, bar: &str) {
    for n in 0..10_000 {
        std::hint::black_box(set.decide(&request(n)));
    }
    let mut times: Vec<u64> = Vec::with_capacity(rounds);
    for n in 0..rounds {
        let request = request(n);
        let start = Instant::now();
        std::hint::black_box(set.decide(&request));
        times.push(u64::try_from(start.elapsed().as_nanos()).unwrap());
    }
    let (p50, p99) = quantiles(&mut times);
    let text = format!("p50 {p50:.2} / p99 {p99:.2} µs");
    println!("  {name:<44} {text:>26}   bar: {bar}");
}
