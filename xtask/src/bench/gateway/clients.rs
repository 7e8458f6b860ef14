//! The two clients: h2load in a closed loop for the most that goes, and a small open loop of our own for
//! latency at a given rate, which counts a late answer from when it should have been asked for.

use super::super::output;
use crate::XtaskError;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Connections of the open loop.
const CONNECTIONS: u32 = 16;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Body of the document that is asked for.
const BODY: usize = 1024;

/// Requests a second of one run of h2load, in which every answer must be a success.
pub(super) fn closed_loop(h2load: &Path, address: SocketAddr, requests: u64) -> Result<f64, XtaskError> {
    let url = format!("http://{address}/1k.txt");
    let mut command = Command::new(h2load);
    command.args(["--h1", "-t", "1", "-c", "32", "-n", &requests.to_string(), &url]);
    rate_of(&mut command, requests)
}

/// Runs h2load and reads its rate.
pub(super) fn rate_of(command: &mut Command, requests: u64) -> Result<f64, XtaskError> {
    let text = String::from_utf8_lossy(&output("h2load", command)?.stdout).into_owned();
    let rate = text.lines().find(|line| line.starts_with("finished in"));
    let rate = rate.and_then(|line| line.split(',').nth(1)?.trim().split(' ').next()?.parse().ok());
    match rate {
        Some(rate) if text.contains(&format!("{requests} succeeded, 0 failed")) => Ok(rate),
        _ => Err(XtaskError::Wrong(format!("h2load: {text}"))),
    }
}

/// Latencies of one run, µs, ascending.
pub(super) struct Latency {
    sorted: Vec<f64>,
    /// Requests sent, all answered.
    pub(super) requests: u64,
}

impl Latency {
    fn at(&self, share: usize) -> f64 {
        let index = (self.sorted.len() * share / 100).min(self.sorted.len().saturating_sub(1));
        self.sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn p50(&self) -> f64 {
        self.at(50)
    }

    pub(super) fn p99(&self) -> f64 {
        self.at(99)
    }
}

/// Sends `rate` requests a second, evenly, over [`CONNECTIONS`] connections, for `length`.
pub(super) fn open_loop(address: SocketAddr, rate: f64, length: Duration) -> Result<Latency, XtaskError> {
    let step = Duration::from_secs_f64(f64::from(CONNECTIONS) / rate);
    let start = Instant::now() + Duration::from_millis(50);
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|n| std::thread::spawn(move || one(address, start + step * n / CONNECTIONS, step, length)))
        .collect();
    let mut sorted = Vec::new();
    for thread in threads {
        let times = thread.join().map_err(|_| XtaskError::Wrong("a client panicked".into()))?;
        sorted.extend(times.map_err(|error| XtaskError::Io(format!("asking {address}"), error))?);
    }
    sorted.sort_by(f64::total_cmp);
    Ok(Latency { requests: sorted.len() as u64, sorted })
}

fn one(address: SocketAddr, first: Instant, step: Duration, length: Duration) -> std::io::Result<Vec<f64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut times = Vec::new();
    let (end, mut due) = (first + length, first);
    let mut buffer = vec![0; 16 << 10];
    while due < end {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(b"GET /1k.txt HTTP/1.1\r\nHost: bench\r\nUser-Agent: open-loop\r\n\r\n")?;
        let mut got = 0;
        loop {
            let n = stream.read(&mut buffer[got..])?;
            got += n;
            let head = buffer[..got].windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
            if head.is_some_and(|head| got >= head + BODY) {
                break;
            }
            if n == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        times.push(due.elapsed().as_secs_f64() * 1e6);
        due += step;
    }
    Ok(times)
}
