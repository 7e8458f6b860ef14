//! The gateway beside HAProxy with `option httplog`, nginx with its access log and Envoy with its file log: one
//! worker each, the same backend and client, in turn, medians. Every request through each must be one record;
//! a peer that lost some is called lossy, and when the gateway did, the run has failed.
//!
//! Measured of ours: `edge`, the gateway and the ledger (what the path of a request costs through ACK), and,
//! where it is built, `countersign run` with everything in one process.

mod clients;
mod cost;
mod grpc;
mod hostile;
mod peers;
mod pg;
mod slow;
mod strict;

use super::{machine, median, progress, row, temp};
use crate::XtaskError;
use clients::Latency;
use cost::Cost;
use countersign_testkit::{ensure_program, servers};
use peers::Peer;
use std::time::Duration;

/// How much is measured.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) quick: bool,
}

impl Scale {
    fn pick<T>(self, quick: T, whole: T) -> T {
        if self.quick { quick } else { whole }
    }

    /// Rounds; each runs every peer once. At least 3, for a median.
    fn rounds(self) -> usize {
        self.pick(3, 5)
    }

    /// Requests a round and peer.
    fn requests(self) -> u64 {
        self.pick(20_000, 60_000)
    }

    /// Requests a round of Envoy, which takes several times as long for each.
    fn requests_slow(self) -> u64 {
        self.pick(8_000, 15_000)
    }

    /// Length of one open-loop run.
    fn open_loop(self) -> Duration {
        self.pick(Duration::from_secs(1), Duration::from_secs(2))
    }

    /// Idle connections that are opened.
    fn idle(self) -> &'static [(usize, &'static str)] {
        self.pick(&[(1_000, "1,000")], &[(1_000, "1,000"), (10_000, "10,000")])
    }

    /// Calls of gRPC a round and peer.
    fn calls(self) -> u64 {
        self.pick(10_000, 40_000)
    }

    /// Transactions of each client of PostgreSQL in a round.
    fn transactions(self) -> u64 {
        self.pick(600, 2_000)
    }
}

/// What one peer came to.
#[derive(Default)]
pub(super) struct Results {
    rates: Vec<f64>,
    costs: Vec<Cost>,
    latencies: Vec<Latency>,
    requests: u64,
}

/// What others notice of hostile clients.
pub(super) fn hostile() -> Result<(), XtaskError> {
    hostile::run(temp("bench-hostile")?.path())
}

/// Requests a second of the others beside slow clients, where no peer tells what half of its load is.
const BESIDE: f64 = 8_000.0;

/// One part of the gateway's bench alone: `strict`, or `slow` without its idle connections.
pub(super) fn part(what: &str, scale: Scale) -> Result<(), XtaskError> {
    let home = temp("bench-part")?;
    let backend = servers::nginx()?;
    match what {
        "strict" => strict::run(home.path(), backend.address, scale),
        _ => slow::disturbed(home.path(), backend.address, BESIDE, scale),
    }
}

pub(super) fn run(scale: Scale) -> Result<(), XtaskError> {
    let rounds = scale.rounds();
    let h2load = ensure_program("h2load", "nghttp2-client")?;
    let backend = servers::nginx()?;
    let home = temp("bench-gateway")?;
    let mut peers = Peer::all(home.path(), backend.address)?;
    let mut results: Vec<Results> = peers.iter().map(|_| Results::default()).collect();
    for round in 1..=rounds {
        progress(&format!("HTTP/1.1 as fast as it goes, round {round} of {rounds}"));
        for (peer, result) in peers.iter().zip(&mut results) {
            let (before, requests) = (peer.cost(), peer.per_round(scale));
            result.rates.push(clients::closed_loop(&h2load, peer.address, requests)?);
            result.requests += requests;
            result.costs.push(peer.cost().since(&before, requests));
        }
    }
    let slowest = results.iter().map(|r| median(r.rates.clone())).fold(f64::INFINITY, f64::min);
    for round in 1..=rounds {
        progress(&format!("HTTP/1.1 at half load, round {round} of {rounds}"));
        for (peer, result) in peers.iter().zip(&mut results) {
            let latency = clients::open_loop(peer.address, slowest / 2.0, scale.open_loop())?;
            result.requests += latency.requests;
            result.latencies.push(latency);
        }
    }
    println!("gateway: HTTP/1.1 keep-alive, 1 KiB, 32 connections, {rounds} rounds in turn, medians");
    let mut wrong = Vec::new();
    for (peer, result) in peers.iter_mut().zip(&results) {
        print(peer, result, &results, &mut wrong)?;
    }
    println!("open loop at {:.0} requests a second (half of the slowest), 16 connections", slowest / 2.0);
    print_latencies(&peers, &results);
    drop(peers);
    // One part that fails must not hide what the others come to.
    let parts: [(&str, Part<'_>); 4] = [
        ("strict route", &|| strict::run(home.path(), backend.address, scale)),
        ("slow clients", &|| slow::run(home.path(), backend.address, slowest / 2.0, scale)),
        ("gRPC", &|| grpc::run(home.path(), scale)),
        ("PostgreSQL", &|| pg::run(home.path(), scale)),
    ];
    for (name, part) in parts {
        if let Err(error) = part() {
            wrong.push(format!("{name}: {error}"));
        }
    }
    machine::print()?;
    if wrong.is_empty() { Ok(()) } else { Err(XtaskError::Wrong(wrong.join("; "))) }
}

type Part<'a> = &'a dyn Fn() -> Result<(), XtaskError>;

fn rate(all: &[Results], at: usize) -> f64 {
    all.get(at).map_or(f64::NAN, |r| median(r.rates.clone()))
}

fn print(
    peer: &mut Peer,
    result: &Results,
    all: &[Results],
    wrong: &mut Vec<String>,
) -> Result<(), XtaskError> {
    let ours = median(result.rates.clone());
    let (haproxy, envoy) = (rate(all, peers::HAPROXY), rate(all, peers::ENVOY));
    row(peer.name, &format!("{ours:.0}/s"), "-");
    if peer.log.is_none() {
        return Ok(());
    }
    if peer.is_ours() {
        row("  of HAProxy with httplog", &format!("{:.2}", ours / haproxy), "1.0");
        row("  of Envoy with file log", &format!("{:.2}", ours / envoy), "3.0");
    }
    let cpu = |part: fn(&Cost) -> f64| median(result.costs.iter().map(part).collect());
    let bar = if peer.is_ours() { "HAProxy's, log writer included" } else { "-" };
    row("  CPU a request, through ACK or log", &format!("{:.1} µs", cpu(Cost::path)), bar);
    for (name, time) in Cost::median_parts(&result.costs) {
        row(&format!("    {name}"), &format!("{time:.2} µs"), "-");
    }
    if peer.is_ours() {
        row("  sealing, indexing, other threads", &format!("{:.1} µs", cpu(Cost::beside)), "-");
    }
    let (rest, after) = (peer.rss_at_rest >> 10, peer.rss() >> 10);
    let bar = if peer.is_edge() { "32 MiB at rest" } else { "-" };
    row("  resident memory at rest, after the run", &format!("{rest} KiB, {after} KiB"), bar);
    let records = peer.records(result.requests)?;
    let lossy = if records == result.requests { "" } else { " (lossy)" };
    let text = format!("{records} of {}{lossy}", result.requests);
    row("  records of requests", &text, if peer.is_ours() { "all" } else { "-" });
    if let Some(dropped) = peer.dropped() {
        row("  its own count of dropped log lines", &dropped, "-");
    }
    if peer.is_ours() && records != result.requests {
        wrong.push(format!("{}: {text}", peer.name));
    }
    Ok(())
}

fn print_latencies(peers: &[Peer], results: &[Results]) {
    let of = |at: usize, part: fn(&Latency) -> f64| {
        results.get(at).map_or(f64::NAN, |r| median(r.latencies.iter().map(part).collect()))
    };
    let (p50, p99) = (of(0, Latency::p50), of(0, Latency::p99));
    row("direct p50, p99", &format!("{p50:.0} µs, {p99:.0} µs"), "-");
    let haproxy = of(peers::HAPROXY, Latency::p50) - p50;
    for (at, peer) in peers.iter().enumerate().skip(1) {
        let added = of(at, Latency::p50) - p50;
        let text = format!("{added:+.0} µs, {:+.0} µs", of(at, Latency::p99) - p99);
        row(&format!("{} added p50, p99", peer.name), &text, "-");
        if peer.is_ours() {
            row(
                "  of HAProxy's added p50",
                &format!("{:.2}", added / haproxy),
                "1.5; goal G4: +40 µs, +250 µs",
            );
        }
    }
}
