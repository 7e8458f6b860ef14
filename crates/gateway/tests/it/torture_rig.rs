//! A gateway on a real ledger whose disk can be made sick, in front of real servers, with a count of every record
//! that became durable. Shared by `torture*.rs`.

use crate::h2_support;
use crate::support::{response, rss_kib, server, until};
use bytes::Bytes;
use countersign_event::Rec;
use countersign_gateway::{Durability, Gateway, GatewayConfig, Listener, Protocol, Upstream};
use countersign_identity::{Identities, IdentityConfig};
use countersign_ledger::{Disk, Feed, Kek, Ledger, Limits, Options, Parts, Payload, RealDisk};
use countersign_policy::PolicySet;
use countersign_wire::http1::{Framer, PieceKind};
use http::{HeaderMap, HeaderValue, Response};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The seed of all clients; printed with every failure, since it stands in the test's output.
pub(crate) const SEED: u64 = 0x5eed_c0de;
/// Bytes that may wait for the decoder.
pub(crate) const RING: usize = 1 << 20;
/// Bytes that may wait in the ledger, of sources that go ahead and of others.
pub(crate) const AHEAD: usize = 1 << 20;
pub(crate) const INTAKE: usize = 1 << 20;

/// A disk that stalls, is full, or fails, as told. Only the write-ahead log: it decides about acknowledgement.
#[derive(Default)]
pub(crate) struct SickDisk {
    /// While set, no sync returns.
    pub(crate) stalled: AtomicBool,
    /// Thousandths that are said to be used.
    pub(crate) used: AtomicU32,
    /// So many of the next writes find no space.
    pub(crate) no_space: AtomicU64,
    /// So many of the next syncs fail.
    pub(crate) bad_syncs: AtomicU64,
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wal")
}

/// Takes one of what is left, if any is.
fn hit(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

impl Disk for SickDisk {
    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        if is_log(path) && hit(&self.no_space) {
            // Half of it got there, as on a real disk.
            RealDisk.write_at(file, path, bytes.get(..bytes.len() / 2).unwrap_or_default(), offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        RealDisk.write_at(file, path, bytes, offset)
    }
    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        while is_log(path) && self.stalled.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if is_log(path) && hit(&self.bad_syncs) {
            return Err(io::Error::from_raw_os_error(5));
        }
        RealDisk.sync(file, path)
    }
    fn allocate(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        RealDisk.allocate(file, path, len)
    }
    fn used_permille(&self, _: &Path) -> io::Result<u32> {
        Ok(self.used.load(Ordering::SeqCst))
    }
}

/// Durable records by route and kind; folded and dropped ones by their number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(BTreeMap<(String, Rec, String), u64>);

impl Tally {
    /// Records of `rec` on `route` whose operation is `op`; empty = any.
    pub(crate) fn of(&self, route: &str, rec: Rec, op: &str) -> u64 {
        let wanted =
            |(r, k, o): &(String, Rec, String)| r == route && *k == rec && (op.is_empty() || o == op);
        self.0.iter().filter(|(key, _)| wanted(key)).map(|(_, n)| n).sum()
    }

    /// All of `route`: for a failure's message.
    pub(crate) fn on(&self, route: &str) -> Vec<(Rec, &str, u64)> {
        let here = self.0.iter().filter(|((r, ..), _)| r == route);
        here.map(|((_, rec, op), n)| (*rec, op.as_str(), *n)).collect()
    }

    fn add(&mut self, event: &countersign_event::Event) {
        let Some(rec) = event.core.rec else { return };
        let key = (event.core.route.clone(), rec, event.core.op.clone());
        *self.0.entry(key).or_default() += event.core.n.unwrap_or(1);
    }
}

/// A listener for the rig.
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) durability: Durability,
    pub(crate) to: SocketAddr,
}

/// See the module's documentation.
pub(crate) struct TortureRig {
    pub(crate) gateway: Gateway,
    pub(crate) ledger: Ledger,
    pub(crate) disk: Arc<SickDisk>,
    /// Most of the process, of the rings and of the ledger's queue, since the last reset.
    pub(crate) peaks: Arc<Peaks>,
    directory: PathBuf,
    reader: JoinHandle<Tally>,
    done: Arc<AtomicBool>,
    _temp: tempfile::TempDir,
}

#[derive(Default)]
pub(crate) struct Peaks {
    pub(crate) rss_kib: AtomicU64,
    pub(crate) ring: AtomicU64,
    pub(crate) queue: AtomicU64,
    /// Longest that a dropped record was not yet declared, ms, as far as sampling tells.
    pub(crate) late_ms: AtomicU64,
    undeclared: Mutex<VecDeque<(Instant, u64)>>,
}

impl Peaks {
    /// `dropped` records so far, of which `declared` are in a gap.
    fn gap(&self, dropped: u64, declared: u64) {
        let mut waiting = self.undeclared.lock().unwrap();
        if waiting.back().map_or(0, |(_, n)| *n) < dropped {
            waiting.push_back((Instant::now(), dropped));
        }
        while waiting.front().is_some_and(|(_, n)| *n <= declared) {
            waiting.pop_front();
        }
        if let Some((since, _)) = waiting.front() {
            self.late_ms.fetch_max(since.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
    }
}

fn limits() -> Limits {
    Limits {
        ahead_bytes: AHEAD,
        intake_bytes: INTAKE,
        wal_file_bytes: 16 << 20,
        wal_bytes: 64 << 30,
        ..Limits::small()
    }
}

fn options() -> Options {
    Options { limits: limits(), ..Options::new("example.org/torture/1") }
}

impl TortureRig {
    pub(crate) fn start(routes: &[Route], change: impl FnOnce(&mut GatewayConfig)) -> TortureRig {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("data");
        let disk = Arc::new(SickDisk::default());
        let parts = Parts { disk: disk.clone(), ..Parts::default() };
        let (ledger, _) = Ledger::open_with(&directory, Kek::from_bytes([3; 32]), options(), parts).unwrap();
        let mut config = GatewayConfig::new("spiffe://example.org/gw");
        config.workers = 1;
        config.limits.ring = RING;
        for route in routes {
            let to = Upstream::new(route.to.ip().to_string(), route.to.port());
            let mut listener = Listener::new(&route.name, "127.0.0.1:0".parse().unwrap(), to);
            (listener.protocol, listener.durability) = (route.protocol, route.durability);
            config.listeners.push(listener);
        }
        change(&mut config);
        let identities = Arc::new(Identities::new(IdentityConfig::default(), 0).unwrap());
        let gateway = Gateway::start(config, &ledger, identities, PolicySet::allow_all()).unwrap();
        let done = Arc::<AtomicBool>::default();
        let reader = std::thread::spawn({
            let (ledger, done) = (ledger.clone(), done.clone());
            move || read(&ledger, &done)
        });
        TortureRig { gateway, ledger, disk, peaks: Arc::default(), directory, reader, done, _temp: temp }
    }

    pub(crate) fn address(&self, route: &str) -> SocketAddr {
        let found = self.gateway.addresses().into_iter().find(|(name, _)| name == route);
        found.unwrap_or_else(|| panic!("no listener {route}")).1
    }

    /// Looks at what is to be bounded.
    pub(crate) fn sample(&self) {
        self.peaks.rss_kib.fetch_max(rss_kib(), Ordering::Relaxed);
        self.peaks.ring.fetch_max(self.gateway.stats().ring_bytes, Ordering::Relaxed);
        self.peaks.queue.fetch_max(self.ledger.stats().queue_bytes, Ordering::Relaxed);
        let declared = self.ledger.sources().iter().map(|source| source.dropped).sum();
        self.peaks.gap(self.gateway.stats().dropped, declared);
    }

    /// Drains, and counts what is durable. Also the ledger's own sums must hold.
    pub(crate) fn finish(self) -> (Tally, u64) {
        self.gateway.shutdown(Duration::from_secs(30));
        let gaps = self.ledger.clone();
        self.done.store(true, Ordering::Relaxed);
        let tally = self.reader.join().unwrap();
        let declared = gaps.gaps().iter().map(|gap| gap.count).sum();
        for source in gaps.sources() {
            assert_eq!(source.seen, source.sent + source.rejected + source.dropped, "{source:?}");
            assert_eq!(source.rejected, 0, "{source:?}");
        }
        self.ledger.shutdown().unwrap();
        (tally, declared)
    }

    /// The process ends here without a word, and another one begins: what is durable, and what is declared lost.
    pub(crate) fn crash(self) -> (Tally, u64) {
        drop(self.gateway);
        self.done.store(true, Ordering::Relaxed);
        let _ = self.reader.join();
        drop(self.ledger);
        let (ledger, report) = Ledger::open(&self.directory, Kek::from_bytes([3; 32]), options()).unwrap();
        assert!(!report.clean);
        let tally = read(&ledger, &AtomicBool::new(true));
        let declared = ledger.gaps().iter().map(|gap| gap.count).sum();
        ledger.shutdown().unwrap();
        (tally, declared)
    }
}

/// Counts what is durable until `done` is set and all of it was seen.
fn read(ledger: &Ledger, done: &AtomicBool) -> Tally {
    let mut reader = ledger.reader(0);
    let mut tally = Tally::default();
    loop {
        let last = done.load(Ordering::Relaxed);
        let size = ledger.size();
        match reader.next(Duration::from_millis(50)) {
            Ok(Some(Feed::Batch(batch))) => {
                for record in &batch.records {
                    if let Payload::Event { event, .. } = &record.payload {
                        tally.add(event);
                    }
                }
            }
            Ok(Some(Feed::Missed { from, to })) => panic!("entries {from}..{to} left the log"),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) if last && (reader.position() >= size || ledger.stats().stopped.is_some()) => {
                return tally;
            }
            Ok(None) | Err(_) => {}
        }
    }
}

/// What servers were asked, by the first segment of the path.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<BTreeMap<String, u64>>>);

impl Asked {
    pub(crate) fn of(&self, route: &str) -> u64 {
        self.0.lock().unwrap().get(route).copied().unwrap_or(0)
    }

    fn note(&self, path: &str) {
        let route = path.split('/').nth(1).unwrap_or_default().to_owned();
        *self.0.lock().unwrap().entry(route).or_default() += 1;
    }
}

/// An HTTP/1.1 server that keeps nothing but counts: `x` to a GET, a result to a call of a tool.
pub(crate) fn http_server() -> (SocketAddr, Asked) {
    let asked = Asked::default();
    let keep = asked.clone();
    let address = server(move |mut stream| {
        let mut framer = Framer::default();
        let (mut held, mut answer, mut buf) = (Vec::new(), Vec::new(), vec![0; 16 << 10]);
        loop {
            let n = match stream.read(&mut buf) {
                Ok(0) | Err(_) => return,
                Ok(n) => n,
            };
            held.extend_from_slice(buf.get(..n).unwrap_or_default());
            let mut out = Vec::new();
            while let Ok(piece) = framer.request(&held)
                && piece.len > 0
            {
                let taken: Vec<u8> = held.drain(..piece.len).collect();
                if piece.kind == PieceKind::Head {
                    answer = answer_to(&String::from_utf8_lossy(&taken), &keep);
                }
                if piece.end {
                    out.extend_from_slice(&answer);
                    let mut at = 0;
                    while let Ok(piece) = framer.response(answer.get(at..).unwrap_or_default())
                        && piece.len > 0
                    {
                        at += piece.len;
                    }
                }
            }
            if stream.write_all(&out).is_err() {
                return;
            }
        }
    });
    (address, asked)
}

fn answer_to(head: &str, asked: &Asked) -> Vec<u8> {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    asked.note(path);
    if method == "GET" {
        return response("x").into_bytes();
    }
    // The id stands in the path too, so that bodies need not be read.
    let id = path.rsplit('/').next().unwrap_or_default();
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"isError":false}}}}"#);
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// A gRPC server that answers each call with one message and status 0.
pub(crate) fn grpc_server() -> (SocketAddr, Asked) {
    let asked = Asked::default();
    let keep = asked.clone();
    let address = h2_support::serve_quiet(
        move |request, mut respond| {
            let keep = keep.clone();
            Box::pin(async move {
                keep.note(request.uri().path());
                let _ = h2_support::body(&mut request.into_body()).await;
                let response = Response::builder().header("content-type", "application/grpc");
                let Ok(mut to) = respond.send_response(response.body(()).unwrap(), false) else { return };
                let _ = to.send_data(Bytes::from_static(&[0, 0, 0, 0, 1, 7]), false);
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                let _ = to.send_trailers(trailers);
            })
        },
        None,
    );
    (address, asked)
}

/// Waits until the gateway says that records wait, and why.
pub(crate) fn blocked(rig: &TortureRig) -> &'static str {
    let mut cause = "";
    until("the gateway says audit-blocked", || match rig.gateway.health() {
        countersign_gateway::Health::Ok => false,
        countersign_gateway::Health::AuditBlocked(why) => {
            cause = why;
            true
        }
    });
    assert_eq!((rig.gateway.health().word(), rig.gateway.stats().audit_blocked), ("audit-blocked", 1));
    cause
}
