//! What is measured: nothing in between, the peers, and ours.

use super::super::{countersign, output, program};
use super::Scale;
use super::cost::{self, Cost};
use crate::XtaskError;
use countersign_testkit::{Child, free_port, proxies, servers::Server, wait_for_port};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Places in [`Peer::all`].
pub(super) const HAPROXY: usize = 1;
pub(super) const ENVOY: usize = 3;
/// Longest wait until the last record is written or searchable.
const SETTLE: Duration = Duration::from_secs(30);

/// How the requests that a peer recorded are counted.
pub(super) enum Log {
    /// Datagrams that our log writer has put into a file; HAProxy's own counter is asked as well.
    Lines(Arc<AtomicU64>),
    /// Lines of a file.
    File(PathBuf),
    /// The example says it when it ends.
    Edge,
    /// The product is asked; its state is below this directory.
    Product(PathBuf),
}

/// Whatever runs it.
enum Process {
    None,
    Server(Server),
    Child(Child),
}

/// One of what is measured.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) log: Option<Log>,
    /// Resident bytes before the first request.
    pub(super) rss_at_rest: u64,
    process: Process,
    writer: Option<u32>,
}

impl Peer {
    /// All of them, in the order in which they take turns.
    pub(super) fn all(home: &Path, backend: SocketAddr) -> Result<Vec<Peer>, XtaskError> {
        let mut peers = vec![
            Peer::new("direct to nginx", backend, None, Process::None),
            Peer::haproxy(home, backend)?,
            Peer::file("nginx with access log", proxies::nginx(backend)?),
            Peer::file("Envoy with file log", proxies::envoy(backend, false)?),
            Peer::edge(home, backend)?,
        ];
        if program("countersign")?.is_file() {
            peers.push(Peer::product(home, backend)?);
        } else {
            println!("countersign is not built in this profile: `countersign run` is left out");
        }
        std::thread::sleep(Duration::from_secs(1));
        for peer in &mut peers {
            peer.rss_at_rest = peer.rss();
        }
        Ok(peers)
    }

    fn new(name: &'static str, address: SocketAddr, log: Option<Log>, process: Process) -> Peer {
        Peer { name, address, log, rss_at_rest: 0, process, writer: None }
    }

    fn file(name: &'static str, server: Server) -> Peer {
        let log = Log::File(server.dir.path().join("access.log"));
        Peer::new(name, server.address, Some(log), Process::Server(server))
    }

    fn haproxy(home: &Path, backend: SocketAddr) -> Result<Peer, XtaskError> {
        let lines = Arc::new(AtomicU64::new(0));
        let socket = home.join("log.sock");
        let writer = log_writer(&socket, &home.join("haproxy.log"), Arc::clone(&lines))?;
        let server = proxies::haproxy(backend, &socket)?;
        let log = Some(Log::Lines(lines));
        let peer = Peer::new("HAProxy with httplog", server.address, log, Process::Server(server));
        Ok(Peer { writer: Some(writer), ..peer })
    }

    /// Gateway and ledger alone.
    pub(super) fn edge(home: &Path, backend: SocketAddr) -> Result<Peer, XtaskError> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let child = edge(home, "edge", &[format!("http1,{address},{backend}")])?;
        wait_for_port(address, Duration::from_secs(20))?;
        let name = "gateway and ledger";
        Ok(Peer::new(name, address, Some(Log::Edge), Process::Child(child)))
    }

    fn product(home: &Path, backend: SocketAddr) -> Result<Peer, XtaskError> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = countersign(home)?;
        command.args(["run", "--proxy", &format!("{address}=http://{backend}")]);
        let child = Child::start(command, &home.join("countersign.log"))?;
        wait_for_port(address, Duration::from_secs(20))?;
        let log = Some(Log::Product(home.to_owned()));
        Ok(Peer::new("countersign run, all in one process", address, log, Process::Child(child)))
    }

    pub(super) fn is_ours(&self) -> bool {
        matches!(self.log, Some(Log::Edge | Log::Product(_)))
    }

    pub(super) fn is_edge(&self) -> bool {
        matches!(self.log, Some(Log::Edge))
    }

    /// Requests of one round.
    pub(super) fn per_round(&self, scale: Scale) -> u64 {
        if self.name.starts_with("Envoy") { scale.requests_slow() } else { scale.requests() }
    }

    fn pid(&self) -> Option<u32> {
        match &self.process {
            Process::None => None,
            Process::Server(server) => Some(server.child.id()),
            Process::Child(child) => Some(child.id()),
        }
    }

    /// Processor time so far.
    pub(super) fn cost(&self) -> Cost {
        Cost::of(self.pid().as_slice(), self.writer, self.is_ours())
    }

    /// Resident bytes now.
    pub(super) fn rss(&self) -> u64 {
        self.pid().map_or(0, cost::rss)
    }

    /// Ends it where that is how it tells, and counts its records; waits for `expected` of them.
    pub(super) fn records(&mut self, expected: u64) -> Result<u64, XtaskError> {
        match (&self.log, &mut self.process) {
            (Some(Log::Lines(lines)), _) => Ok(settle(expected, || lines.load(Ordering::Relaxed))),
            (Some(Log::File(path)), Process::Server(server)) => {
                // Envoy writes its last lines when it ends.
                server.child.signal("TERM")?;
                Ok(settle(expected, || lines_in(path)))
            }
            (Some(Log::Edge), Process::Child(child)) => edge_records(child),
            (Some(Log::Product(home)), Process::Child(child)) => {
                let records = settle(expected, || asked(home).unwrap_or(0));
                child.signal("INT")?;
                child.wait(Duration::from_secs(60))?;
                Ok(records)
            }
            _ => Ok(0),
        }
    }

    /// What HAProxy says of lines that it could not hand over.
    pub(super) fn dropped(&self) -> Option<String> {
        let (Some(Log::Lines(_)), Process::Server(server)) = (&self.log, &self.process) else { return None };
        let mut socket = UnixStream::connect(server.dir.path().join("stats.sock")).ok()?;
        socket.write_all(b"show info\n").ok()?;
        let mut text = String::new();
        socket.read_to_string(&mut text).ok()?;
        let line = text.lines().find(|line| line.starts_with("DroppedLogs"))?;
        Some(line.trim_start_matches("DroppedLogs:").trim().to_owned())
    }
}

/// Starts the example with a data directory named `label` below `home`.
pub(super) fn edge(home: &Path, label: &str, listeners: &[String]) -> Result<Child, XtaskError> {
    let mut command = Command::new(program("examples/edge")?);
    command.arg(home.join(label)).args(listeners);
    Ok(Child::start(command, &home.join(format!("{label}.log")))?)
}

/// Ends the example and reads how many records its ledger holds.
pub(super) fn edge_records(child: &mut Child) -> Result<u64, XtaskError> {
    child.signal("INT")?;
    child.wait(Duration::from_secs(60))?;
    let text = child.output();
    let last = text.lines().find_map(|line| line.strip_prefix("records "));
    last.and_then(|n| n.parse().ok()).ok_or_else(|| XtaskError::Wrong(format!("edge: {text}")))
}

pub(super) fn settle(expected: u64, count: impl Fn() -> u64) -> u64 {
    let start = Instant::now();
    loop {
        let now = count();
        if now >= expected || start.elapsed() > SETTLE {
            return now;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

pub(super) fn lines_in(path: &Path) -> u64 {
    let bytes = std::fs::read(path).unwrap_or_default();
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

fn asked(home: &Path) -> Result<u64, XtaskError> {
    let mut command = countersign(home)?;
    let output = output("countersign q", command.args(["q", "--count", "rec:interaction"]))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0))
}

/// Receives HAProxy's log as a log daemon would, and writes it to a file. Returns its thread's id.
fn log_writer(socket: &Path, file: &Path, lines: Arc<AtomicU64>) -> Result<u32, XtaskError> {
    let failed = |error| XtaskError::Io("receiving HAProxy's log".into(), error);
    let receiver = UnixDatagram::bind(socket).map_err(failed)?;
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).map_err(failed)?);
    let tid = Arc::new(AtomicU32::new(0));
    let told = Arc::clone(&tid);
    std::thread::spawn(move || {
        told.store(own_tid(), Ordering::Release);
        let mut line = [0; 4096];
        while let Ok(length) = receiver.recv(&mut line) {
            lines.fetch_add(1, Ordering::Relaxed);
            if out.write_all(&line[..length]).is_err() {
                return;
            }
        }
    });
    while tid.load(Ordering::Acquire) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(tid.load(Ordering::Acquire))
}

/// `/proc/thread-self` leads to `PID/task/TID`.
fn own_tid() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    link.file_name().and_then(|n| n.to_str()?.parse().ok()).unwrap_or(u32::MAX)
}
