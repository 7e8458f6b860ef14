//! gRPC-like unary calls over h2c: nothing in between, Envoy with its file log, ours. nghttpd sends the message
//! back and a trailer `grpc-status: 0` behind it.

use super::super::{median, progress, row};
use super::Scale;
use super::clients::rate_of;
use super::cost::Cost;
use super::peers::{edge, edge_records, lines_in, settle};
use crate::XtaskError;
use countersign_testkit::{Child, ensure_program, free_port, proxies, wait_for_port};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Rounds; each runs every peer once.
const ROUNDS: usize = 3;
/// Bytes of a message.
const MESSAGE: u32 = 100;

pub(super) fn run(home: &Path, scale: Scale) -> Result<(), XtaskError> {
    let h2load = ensure_program("h2load", "nghttp2-client")?;
    let address = || -> Result<SocketAddr, XtaskError> { Ok(([127, 0, 0, 1], free_port()?).into()) };
    let (backend, ours) = (address()?, address()?);
    let mut command = Command::new(ensure_program("nghttpd", "nghttp2-server")?);
    command.args(["--no-tls", "-n1", "--echo-upload", "--trailer=grpc-status: 0", "-a", "127.0.0.1"]);
    command.arg(backend.port().to_string());
    let _server = Child::start(command, &home.join("nghttpd.log"))?;
    wait_for_port(backend, Duration::from_secs(20))?;
    let envoy = proxies::envoy(backend, true)?;
    let mut child = edge(home, "grpc", &[format!("http2,{ours},{backend}")])?;
    wait_for_port(ours, Duration::from_secs(20))?;
    let body = home.join("message");
    let message = [&[0][..], &MESSAGE.to_be_bytes(), &[b'm'; MESSAGE as usize]].concat();
    std::fs::write(&body, message).map_err(|error| XtaskError::Io("writing a message".into(), error))?;

    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    let calls = scale.calls();
    for round in 1..=ROUNDS {
        progress(&format!("gRPC, round {round} of {ROUNDS}"));
        let peers = [(backend, None), (envoy.address, Some(envoy.child.id())), (ours, Some(child.id()))];
        for (at, (address, pid)) in peers.into_iter().enumerate() {
            let cost = || Cost::of(pid.as_slice(), None, at == 2);
            let before = cost();
            rates[at].push(load(&h2load, address, &body, calls)?);
            costs[at].push(cost().since(&before, calls).path());
        }
    }
    let expected = calls * ROUNDS as u64;
    envoy.child.signal("TERM")?;
    let log = envoy.dir.path().join("access.log");
    let theirs = settle(expected, || lines_in(&log));
    let records = edge_records(&mut child)?;
    let [direct, peer, rate] = rates.map(median);
    let [_, peer_cost, cost] = costs.map(median);
    println!("gRPC-like unary over h2c, 16 connections of 32 calls, {ROUNDS} rounds in turn, medians");
    row("direct to nghttpd", &format!("{direct:.0}/s"), "-");
    row("Envoy with file log", &format!("{peer:.0}/s, {peer_cost:.1} µs CPU"), "-");
    row("  records of calls", &format!("{theirs} of {expected}"), "-");
    row("gateway and ledger", &format!("{rate:.0}/s, {cost:.1} µs CPU"), "-");
    row("  of Envoy with file log", &format!("{:.2}", rate / peer), "2.0");
    row("  records of calls", &format!("{records} of {expected}"), "all");
    if records == expected {
        return Ok(());
    }
    Err(XtaskError::Wrong(format!("{records} records for {expected} calls")))
}

fn load(h2load: &Path, address: SocketAddr, body: &Path, calls: u64) -> Result<f64, XtaskError> {
    let mut command = Command::new(h2load);
    command.args(["-t", "1", "-c", "16", "-m", "32", "-n", &calls.to_string(), "-d"]).arg(body);
    command.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
    command.arg(format!("http://{address}/orders.v1.Orders/Get"));
    rate_of(&mut command, calls)
}
