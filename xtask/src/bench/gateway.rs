//! The gateway beside HAProxy with `option httplog`: one worker each, the same backend and client, in
//! turn, medians. Every request through the gateway must be one record, or the run has failed.

use super::{countersign, median, output, row, temp};
use crate::XtaskError;
use countersign_testkit::{Child, ensure_program, free_port, servers, wait_for_port};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Rounds; each runs every peer once.
const ROUNDS: usize = 5;
/// Requests a round and peer.
const REQUESTS: u64 = 60_000;
/// Longest wait until the last record is searchable.
const SETTLE: Duration = Duration::from_secs(30);

pub(super) fn run() -> Result<(), XtaskError> {
    let h2load = ensure_program("h2load", "nghttp2-client")?;
    let backend = servers::nginx()?;
    let home = temp("bench-gateway")?;
    let lines = Arc::new(AtomicU64::new(0));
    let socket = home.path().join("log.sock");
    log_sink(&socket, &home.path().join("haproxy.log"), Arc::clone(&lines))?;
    let haproxy = servers::haproxy(backend.address, &socket)?;
    let (gateway, mut process) = start(home.path(), backend.address)?;

    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (peer, address) in [backend.address, haproxy.address, gateway].into_iter().enumerate() {
            rates[peer].push(load(&h2load, address)?);
        }
    }
    let expected = REQUESTS * ROUNDS as u64;
    let records = settle(home.path(), expected)?;
    let rss = process.rss().unwrap_or(0) >> 20;
    process.signal("INT")?;
    process.wait(Duration::from_secs(60))?;

    let [direct, peer, ours] = rates.map(median);
    println!("gateway: h2load --h1, 32 connections, 1 KiB, {ROUNDS} rounds of {REQUESTS}, medians");
    row("direct to nginx", &format!("{direct:.0}/s"), "-");
    row("HAProxy with httplog", &format!("{peer:.0}/s"), "-");
    let kept = lines.load(Ordering::Relaxed);
    row("  log lines it kept", &format!("{kept} of {expected}"), "-");
    row("gateway, every request recorded", &format!("{ours:.0}/s"), "-");
    row("  of HAProxy with httplog", &format!("{:.2}", ours / peer), "0.70");
    row("  records", &format!("{records} of {expected}"), "all");
    row("  resident memory after the run", &format!("{rss} MiB"), "-");
    if records == expected {
        Ok(())
    } else {
        Err(XtaskError::Wrong(format!("{records} records for {expected} requests")))
    }
}

fn start(home: &Path, backend: SocketAddr) -> Result<(SocketAddr, Child), XtaskError> {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut command = countersign(home)?;
    command.args(["run", "--proxy", &format!("{address}=http://{backend}")]);
    let child = Child::start(command, &home.join("countersign.log"))?;
    wait_for_port(address, Duration::from_secs(20))?;
    Ok((address, child))
}

/// Requests a second of one run, which must end with every answer a success.
fn load(h2load: &Path, address: SocketAddr) -> Result<f64, XtaskError> {
    let mut command = Command::new(h2load);
    command.args([
        "--h1",
        "-t",
        "1",
        "-c",
        "32",
        "-n",
        &REQUESTS.to_string(),
        &format!("http://{address}/1k.txt"),
    ]);
    let text = String::from_utf8_lossy(&output("h2load", &mut command)?.stdout).into_owned();
    let rate = text.lines().find(|line| line.starts_with("finished in"));
    let rate = rate.and_then(|line| line.split(',').nth(1)?.trim().split(' ').next()?.parse().ok());
    let good = text.contains(&format!("{REQUESTS} succeeded, 0 failed"));
    match rate {
        Some(rate) if good => Ok(rate),
        _ => Err(XtaskError::Wrong(format!("h2load against {address}: {text}"))),
    }
}

fn settle(home: &Path, expected: u64) -> Result<u64, XtaskError> {
    let start = Instant::now();
    loop {
        let mut command = countersign(home)?;
        let output = output("countersign q", command.args(["q", "--count", "rec:interaction"]))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let records = digits.parse().unwrap_or(0);
        if records >= expected || start.elapsed() > SETTLE {
            return Ok(records);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Receives HAProxy's log as a log daemon would, and writes it to a file.
fn log_sink(socket: &Path, file: &Path, lines: Arc<AtomicU64>) -> Result<(), XtaskError> {
    let failed = |error| XtaskError::Io("receiving HAProxy's log".into(), error);
    let receiver = UnixDatagram::bind(socket).map_err(failed)?;
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).map_err(failed)?);
    std::thread::spawn(move || {
        let mut line = [0; 4096];
        while let Ok(length) = receiver.recv(&mut line) {
            lines.fetch_add(1, Ordering::Relaxed);
            if std::io::Write::write_all(&mut out, &line[..length]).is_err() {
                return;
            }
        }
    });
    Ok(())
}
