//! PostgreSQL: `pgbench -S` in its three modes, nothing in between, pgbouncer (session), HAProxy as a relay, ours.
//! The peers log nothing of a statement; ours records every one.

use super::super::{median, progress, row};
use super::Scale;
use super::cost::Cost;
use super::peers::{edge, edge_records};
use crate::XtaskError;
use countersign_testkit::postgres::{Postgres, Setup, Version, start};
use countersign_testkit::{free_port, proxies, wait_for_port};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Rounds; each runs every peer once in each mode.
const ROUNDS: usize = 3;
/// Clients.
const CLIENTS: u64 = 8;
/// Statements of pgbench's own when it starts: the scale, and how the table is partitioned.
const OWN: u64 = 2;
const MODES: [&str; 3] = ["simple", "extended", "prepared"];
const NAMES: [&str; 4] = ["direct", "pgbouncer, session", "HAProxy tcp", "gateway and ledger"];
/// Place of ours in [`NAMES`].
const OURS: usize = 3;

pub(super) fn run(home: &Path, scale: Scale) -> Result<(), XtaskError> {
    let lines = "log_statement=none\nshared_preload_libraries=''\nmax_connections=100\n".to_owned();
    let server = start(&Setup { lines, ..Setup::new(Version::V15) })?;
    let mut init = server.client("pgbench", server.address.port());
    super::super::output("pgbench -i", init.args(["-i", "-q", "-s", "10"]))?;
    let bouncer = proxies::pgbouncer(server.address)?;
    let relay = proxies::haproxy_tcp(server.address)?;
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut child = edge(home, "postgres", &[format!("postgres,{listen},{}", server.address)])?;
    wait_for_port(listen, Duration::from_secs(20))?;
    let peers = [
        (server.address.port(), None),
        (bouncer.address.port(), Some(bouncer.child.id())),
        (relay.address.port(), Some(relay.child.id())),
        (listen.port(), Some(child.id())),
    ];
    let mut rates = vec![vec![Vec::new(); NAMES.len()]; MODES.len()];
    let mut costs = rates.clone();
    let each = scale.transactions();
    for round in 1..=ROUNDS {
        progress(&format!("PostgreSQL, round {round} of {ROUNDS}"));
        for (mode, (rates, costs)) in MODES.iter().zip(rates.iter_mut().zip(&mut costs)) {
            for (at, (port, pid)) in peers.iter().enumerate() {
                let cost = || Cost::of(pid.as_slice(), None, at == OURS);
                let before = cost();
                rates[at].push(pgbench(&server, *port, mode, each)?);
                costs[at].push(cost().since(&before, CLIENTS * each).path());
            }
        }
    }
    let expected = (CLIENTS * each + OWN) * (MODES.len() * ROUNDS) as u64;
    let records = edge_records(&mut child)?;
    let pooled = pooled(&server, bouncer.address.port())?;
    println!("PostgreSQL 15: pgbench -S, {CLIENTS} clients, {ROUNDS} rounds in turn, medians");
    for (mode, (rates, costs)) in MODES.iter().zip(rates.into_iter().zip(costs)) {
        print(mode, rates.into_iter().map(median).collect(), costs.into_iter().map(median).collect());
    }
    row("pgbouncer's own count, no record of any", &format!("{pooled} of {expected}"), "-");
    row("HAProxy tcp, a relay of bytes", &format!("0 of {expected}"), "-");
    row("gateway: records of statements", &format!("{records} of {expected}"), "all");
    if records == expected {
        return Ok(());
    }
    Err(XtaskError::Wrong(format!("{records} records for {expected} statements")))
}

/// Statements, as pgbouncer counts them; it logs none.
fn pooled(server: &Postgres, port: u16) -> Result<u64, XtaskError> {
    let mut command = server.client("psql", port);
    command.env("PGDATABASE", "pgbouncer").args(["-A", "-t", "-x", "-c", "SHOW STATS"]);
    let output = super::super::output("psql", &mut command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let counts = text.lines().filter_map(|line| line.strip_prefix("total_query_count|"));
    Ok(counts.filter_map(|count| count.parse::<u64>().ok()).sum())
}

fn print(mode: &str, rates: Vec<f64>, costs: Vec<f64>) {
    for ((name, rate), cost) in NAMES.iter().zip(&rates).zip(costs) {
        row(&format!("{mode}: {name}"), &format!("{rate:.0}/s, {cost:.1} µs CPU"), "-");
    }
    let of = |at: usize| rates.get(OURS).zip(rates.get(at)).map_or(f64::NAN, |(ours, peer)| ours / peer);
    row("  of pgbouncer", &format!("{:.2}", of(1)), "1.0");
    row("  of HAProxy tcp", &format!("{:.2}", of(2)), "0.95");
}

/// Transactions a second of one run, every one of which succeeded.
fn pgbench(server: &Postgres, port: u16, mode: &str, each: u64) -> Result<f64, XtaskError> {
    let mut command = server.client("pgbench", port);
    let (clients, transactions) = (CLIENTS.to_string(), each.to_string());
    command.args(["-n", "-S", "-M", mode, "-c", &clients, "-j", "1", "-t", &transactions]);
    let output = super::super::output("pgbench", &mut command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rest| rest.split(' ').next()?.parse().ok());
    let all = CLIENTS * each;
    match rate {
        Some(rate) if text.contains(&format!("processed: {all}/{all}")) => Ok(rate),
        _ => Err(XtaskError::Wrong(format!("pgbench: {text} {}", String::from_utf8_lossy(&output.stderr)))),
    }
}
