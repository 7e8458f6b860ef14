//! What a strict route adds: each request waits for its intent on the disk. Beside it the same load on a bounded
//! route, and the disk's own time in the same run, which nothing that waits for it can beat.

use super::super::{machine, median, progress, row};
use super::Scale;
use super::clients::{Latency, open_loop};
use super::peers::{edge, edge_records};
use crate::XtaskError;
use countersign_testkit::{free_port, wait_for_port};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Requests a second: so few that they do not queue for the disk behind each other, which would measure the queue.
const RATE: f64 = 1_000.0;
/// Rounds; each runs all three.
const ROUNDS: usize = 3;
const NAMES: [&str; 3] = ["direct", "bounded", "strict"];

pub(super) fn run(home: &Path, backend: SocketAddr, scale: Scale) -> Result<(), XtaskError> {
    let address = || -> Result<SocketAddr, XtaskError> { Ok(([127, 0, 0, 1], free_port()?).into()) };
    let (bounded, strict) = (address()?, address()?);
    let listeners = [format!("http1,{bounded},{backend}"), format!("http1+strict,{strict},{backend}")];
    let mut child = edge(home, "strict", &listeners)?;
    wait_for_port(bounded, Duration::from_secs(20))?;
    wait_for_port(strict, Duration::from_secs(20))?;
    let mut latencies: [Vec<Latency>; 3] = Default::default();
    let mut syncs = Vec::new();
    for round in 1..=ROUNDS {
        progress(&format!("strict route, round {round} of {ROUNDS}"));
        syncs.push(machine::fdatasync()?.1.as_secs_f64() * 1e6);
        for (at, address) in [backend, bounded, strict].into_iter().enumerate() {
            latencies[at].push(open_loop(address, RATE, scale.open_loop())?);
        }
    }
    let expected: u64 = latencies[1..].iter().flatten().map(|latency| latency.requests).sum();
    let records = edge_records(&mut child)?;
    println!("open loop at {RATE:.0} requests a second, {ROUNDS} rounds in turn, medians");
    let sync = median(syncs);
    let [direct, others @ ..] = latencies.map(|all| {
        let of = |part: fn(&Latency) -> f64| median(all.iter().map(part).collect());
        (of(Latency::p50), of(Latency::p99))
    });
    row("direct p50, p99", &format!("{:.0} µs, {:.0} µs", direct.0, direct.1), "-");
    for (name, (p50, p99)) in NAMES.iter().skip(1).zip(others) {
        let text = format!("{:+.0} µs, {:+.0} µs", p50 - direct.0, p99 - direct.1);
        row(&format!("{name} route, added p50, p99"), &text, "-");
    }
    row("fdatasync p99 of the same run", &format!("{sync:.0} µs"), "-");
    let bar = format!("{:.0} µs (2.5 of fdatasync's + 0.5 ms)", 2.5f64.mul_add(sync, 500.0));
    row("  strict p99", &format!("{:.0} µs", others[1].1), &bar);
    row("  records of requests", &format!("{records} of {expected}"), "all");
    if records == expected {
        return Ok(());
    }
    Err(XtaskError::Wrong(format!("{records} records for {expected} requests")))
}
