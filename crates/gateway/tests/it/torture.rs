//! Saturation, with the ledger stalled in the middle: a seeded tenth here, ten minutes and a stall of sixty seconds
//! under `cargo xtask torture --full`. One gateway, five protocols, three durabilities at once, each against a real
//! server or one of ours that only counts; what clients, servers and the ledger counted must agree.

use crate::support::until;
use crate::torture_load::Load;
use crate::torture_rig::{
    AHEAD, Asked, INTAKE, RING, Route, SEED, TortureRig, blocked, grpc_server, http_server,
};
use countersign_event::Rec;
use countersign_gateway::{Durability, Health, Protocol};
use countersign_testkit::postgres::{Postgres, Setup, Version};
use countersign_testkit::redis::Redis;
use countersign_testkit::torture_full;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PROTOCOLS: [(Protocol, &str); 5] = [
    (Protocol::Http1, "http"),
    (Protocol::Redis, "redis"),
    (Protocol::Postgres, "postgres"),
    (Protocol::Http2, "grpc"),
    (Protocol::Mcp, "mcp"),
];
const DURABILITIES: [(Durability, &str); 3] =
    [(Durability::Bounded, "bounded"), (Durability::Strict, "strict"), (Durability::Gap, "gap")];
/// Memory that may grow beside the queues' own bounds while nothing is drained, KiB: sockets' buffers, blocks of
/// reading that a slice keeps alive, the allocator's slack.
const SLACK_KIB: u64 = 64 << 10;

/// What the ledger is handed at once, most: 1,024 events of some 6 KiB.
const SUBMISSION: u64 = 6 << 20;

/// How long, how long stalled, and what a strict request waits.
fn times() -> (Duration, Duration, Duration) {
    let s = Duration::from_secs;
    if torture_full() { (s(600), s(60), s(5)) } else { (s(16), s(5), s(2)) }
}

/// Real servers, and ours that count.
struct Servers {
    http: (std::net::SocketAddr, Asked),
    grpc: (std::net::SocketAddr, Asked),
    redis: Redis,
    postgres: Postgres,
}

impl Servers {
    fn start() -> Servers {
        let mut setup = Setup::new(Version::V15);
        // What it ran is asked of it in another way, and its log would fill the disk.
        setup.lines = "log_statement = 'none'\nlog_duration = off\nlog_min_duration_statement = -1\npgaudit.log = 'none'\n"
            .to_owned();
        let postgres = countersign_testkit::postgres::start(&setup).unwrap();
        for (_, durability) in DURABILITIES {
            postgres.sql("postgres", &format!("create sequence \"postgres_{durability}\"")).unwrap();
        }
        Servers { http: http_server(), grpc: grpc_server(), redis: Redis::start(&[]).unwrap(), postgres }
    }

    fn address(&self, protocol: Protocol) -> std::net::SocketAddr {
        match protocol {
            Protocol::Redis => self.redis.address,
            Protocol::Postgres => self.postgres.address,
            Protocol::Http2 => self.grpc.0,
            _ => self.http.0,
        }
    }

    /// What the server itself says that it was asked on `route`.
    fn asked(&self, protocol: Protocol, route: &str) -> u64 {
        match protocol {
            Protocol::Redis => {
                let value = self.redis.client().unwrap().ask(&["GET", route]).unwrap();
                value.lines().nth(1).map_or(0, |n| n.parse().unwrap())
            }
            Protocol::Postgres => {
                let text = format!("select case when is_called then last_value else 0 end from \"{route}\"");
                self.postgres.sql("postgres", &text).unwrap().trim().parse().unwrap()
            }
            Protocol::Http2 => self.grpc.1.of(route),
            _ => self.http.1.of(route),
        }
    }
}

fn sleep_until(rig: &TortureRig, end: Instant) {
    while Instant::now() < end {
        rig.sample();
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn total(loads: &[Load], durability: Durability) -> u64 {
    loads.iter().filter(|l| l.durability == durability).map(|l| l.counts.read()[1]).sum()
}

#[test]
fn saturated_and_stalled_every_request_of_every_protocol_has_its_record_or_its_place_in_a_gap() {
    let (whole, stall, strict_wait) = times();
    println!("torture: seed {SEED:#x}, {whole:?}, stalled for {stall:?} in the middle");
    let servers = Servers::start();
    let mut routes = Vec::new();
    for (protocol, word) in PROTOCOLS {
        for (durability, kept) in DURABILITIES {
            let name = format!("{word}_{kept}");
            routes.push(Route { name, protocol, durability, to: servers.address(protocol) });
        }
    }
    let rig = TortureRig::start(&routes, |config| config.limits.strict_wait = strict_wait);
    let stop = Arc::<AtomicBool>::default();
    let began = Instant::now();
    let mut loads: Vec<Load> = routes
        .iter()
        .zip(0_u64..)
        .map(|(r, n)| {
            let kind = (r.protocol, r.durability);
            Load::start(&r.name, kind, rig.address(&r.name), &stop, SEED + 1_000 * n)
        })
        .collect();
    sleep_until(&rig, began + (whole - stall) / 2);
    let calm = rig.peaks.rss_kib.load(Ordering::Relaxed);
    until("the gateway is well", || rig.gateway.health() == Health::Ok);
    let stalled = Instant::now();
    rig.disk.stalled.store(true, Ordering::SeqCst);
    assert_eq!(blocked(&rig), "the ledger does not acknowledge");
    sleep_until(&rig, stalled + stall / 2);
    let half = total(&loads, Durability::Gap);
    sleep_until(&rig, stalled + stall);
    let at_stall = rig.peaks.rss_kib.load(Ordering::Relaxed);
    assert!(total(&loads, Durability::Gap) > half, "gap routes do not wait");
    rig.disk.stalled.store(false, Ordering::SeqCst);
    sleep_until(&rig, began + whole);
    until("the gateway is well again", || rig.gateway.health() == Health::Ok);
    stop.store(true, Ordering::SeqCst);
    loads.iter_mut().for_each(Load::join);
    let lasted = began.elapsed().as_secs_f64();

    // Bounds. The process holds the clients, other tests' rigs too unless this runs alone.
    let (ring, queue) = (rig.peaks.ring.load(Ordering::Relaxed), rig.peaks.queue.load(Ordering::Relaxed));
    // Each of two sources may go beyond the queue by one submission.
    // Strict routes have a ring and a queue of their own.
    let (ring_most, queue_most) = (4 * RING as u64 + (1 << 20), (INTAKE + AHEAD) as u64 + 2 * SUBMISSION);
    println!("  most in the ring {ring} of {ring_most} bytes, in the ledger's queue {queue} of {queue_most}");
    println!("  resident before the stall {calm} KiB, at its end {at_stall} KiB");
    println!("  a dropped record was declared at most {} ms late", rig.peaks.late_ms.load(Ordering::Relaxed));
    assert!(ring <= ring_most && queue <= queue_most);
    if torture_full() {
        let most = ((ring_most + queue_most) >> 10) + SLACK_KIB;
        assert!(at_stall - calm <= most, "grew by {} of {most} KiB", at_stall - calm);
    }

    let stats = rig.gateway.stats();
    let (tally, declared) = rig.finish();
    println!(
        "  {:<18} {:>9} {:>9} {:>9} {:>6} {:>9} {:>9}",
        "route", "sent", "answered", "refused", "cut", "records", "dropped"
    );
    let mut dropped = 0;
    for load in &loads {
        let [sent, answered, refused, cut] = load.counts.read();
        let route = load.route.as_str();
        // Sessions have records of their own; only operations are counted here.
        let op = if load.durability == Durability::Gap { "" } else { operation(load.protocol) };
        let made = tally.of(route, Rec::Interaction, op) + tally.of(route, Rec::Outcome, op);
        let lost = tally.of(route, Rec::Gap, "");
        println!("  {route:<18} {sent:>9} {answered:>9} {refused:>9} {cut:>6} {made:>9} {lost:>9}");
        dropped += lost;
    }
    for load in &loads {
        let [sent, answered, refused, cut] = load.counts.read();
        let route = load.route.as_str();
        let asked = servers.asked(load.protocol, route);
        let op = operation(load.protocol);
        let made = |rec| tally.of(route, rec, op);
        let lost = tally.of(route, Rec::Gap, "");
        assert!(answered > 0 && cut == 0, "{route}: {cut} of {sent} cut");
        assert_eq!(asked, answered, "{route}: what the server was asked is what was answered");
        match load.durability {
            Durability::Strict => {
                assert!(refused > 0, "{route}: refused in its own words while the ledger stood still");
                assert_eq!(made(Rec::Outcome), sent, "{route}: an outcome for each request");
                assert_eq!(made(Rec::Intent), sent, "{route}: an intent for each request");
            }
            Durability::Bounded => {
                assert_eq!((refused, lost, made(Rec::Interaction)), (0, 0, answered), "{route}");
            }
            // A statement that was prepared while nothing was seen has no text, and so no verb.
            Durability::Gap => {
                let accounted = tally.of(route, Rec::Interaction, "") + lost;
                assert_eq!((refused, accounted), (0, answered), "{route}: {:?}", tally.on(route));
            }
        }
    }
    assert!(dropped > 0, "the ring was full");
    assert_eq!((stats.dropped, declared), (dropped, dropped), "every loss is in a gap, with its number");
    assert_eq!((stats.lost, stats.owe_failed, stats.audit_stopped, stats.panics), (0, 0, 0, 0));
    println!("  {:.0} requests a second", total_all(&loads) as f64 / lasted);
}

/// Operation that clients of a protocol ask for; empty = whatever is recorded. Intents of PostgreSQL are also those
/// of its sessions.
fn operation(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Postgres { "SELECT" } else { "" }
}

fn total_all(loads: &[Load]) -> u64 {
    loads.iter().map(|l| l.counts.read()[1]).sum()
}
