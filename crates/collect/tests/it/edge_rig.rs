//! A core, an edge, the authority that both know, and a relay between them that cuts.

use countersign_collect::intake::{Intake, IntakeLimits};
use countersign_collect::receivers::{Access, Edges, Enrolled, Port, agent_prefix, http};
use countersign_collect::ship::{Settings, Shipper};
use countersign_collect::{Input, Keeper};
use countersign_event::{Event, Frame, Principal, Rec, Verified, eid};
use countersign_identity::authority::Authority;
use countersign_identity::{
    CertificateFiles, ClientAuth, ClientTls, ClientTlsConfig, Identities, IdentityConfig, Presented,
    ServerTls, ServerTlsConfig, Trusted,
};
use countersign_ledger::bodies::Gap;
use countersign_ledger::{Feed, Kek, Ledger, Limits, Options, Payload, Source, SourceSpec};
use countersign_redact::Scanner;
use countersign_wire::edge::{Builder, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

pub(crate) const NAME: &str = "a";
pub(crate) const AGENT: &str = "edge:a/";
const PATIENCE: Duration = Duration::from_secs(60);

/// Files of one authority, of a stranger, and room for ledgers.
pub(crate) struct World {
    dir: tempfile::TempDir,
    ca: PathBuf,
    identities: Arc<Identities>,
    pub(crate) authority: Authority,
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

impl World {
    pub(crate) fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("example.org", now_s()).unwrap();
        let files = authority.write(dir.path()).unwrap();
        for name in ["edge-a", "other", "core-cert"] {
            let issued = authority.issue(&format!("/{name}"), &["127.0.0.1"]).unwrap();
            issued.write(dir.path(), name).unwrap();
        }
        let stranger = Authority::new("example.org", now_s()).unwrap();
        let issued = stranger.issue("/edge-a", &["127.0.0.1"]).unwrap();
        issued.write(dir.path(), "stranger").unwrap();
        let config = IdentityConfig { trust: vec![authority.trust(&files)], ..IdentityConfig::default() };
        let identities = Arc::new(Identities::new(config, now_s()).unwrap());
        World { ca: files.ca.clone(), dir, identities, authority }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn enrolled(&self) -> Vec<Enrolled> {
        let identity = format!("spiffe://{}/edge-a", self.authority.trust_domain());
        vec![Enrolled { name: NAME.into(), identity, agents: Vec::new() }]
    }

    fn files(&self, name: &str) -> CertificateFiles {
        CertificateFiles { cert: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) }
    }

    fn tls(&self, presented: Option<Presented>) -> Arc<ClientTls> {
        let trusted = Trusted::Files(vec![self.ca.clone()]);
        let setup = ClientTlsConfig { presented, trusted, spiffe: None, alpn: vec![b"http/1.1".to_vec()] };
        Arc::new(ClientTls::new(setup).unwrap())
    }

    pub(crate) fn client(&self, name: &str) -> Arc<ClientTls> {
        self.tls(Some(Presented::Files(vec![self.files(name)])))
    }

    pub(crate) fn stranger_client(&self) -> Arc<ClientTls> {
        self.client("stranger")
    }

    pub(crate) fn stranger(&self) -> Arc<ClientTls> {
        self.client("stranger")
    }

    pub(crate) fn nobody(&self) -> Arc<ClientTls> {
        self.tls(None)
    }

    /// SHA-256 of a certificate, hex.
    pub(crate) fn digest(&self, name: &str) -> String {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        use sha2::Digest;
        let der = CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap();
        sha2::Sha256::digest(&der).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn copy(&self, name: &str, to: &Path) {
        copy(&self.path(name), to);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A core that listens.
pub(crate) struct CoreRig {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Ledger,
    pub(crate) edges: Arc<Edges>,
    stop: watch::Sender<bool>,
    runtime: tokio::runtime::Runtime,
    served: tokio::task::JoinHandle<()>,
}

impl CoreRig {
    pub(crate) fn start(world: &World, name: &str, enrolled: &[Enrolled]) -> CoreRig {
        // A fresh place is a log of its own.
        let origin = if name == "fresh" { "example.org/fresh/1" } else { "example.org/core/1" };
        let options = Options { limits: Limits::small(), ..Options::new(origin) };
        let (ledger, _) = Ledger::open(&world.path(name), Kek::from_bytes([3; 32]), options).unwrap();
        let stream = random_stream();
        let source = ledger.register(SourceSpec { identity: "input:edges".into(), stream }).unwrap();
        let port = Arc::new(Port {
            input: Input::new("edges"),
            format: None,
            intake: Intake::new(source, IntakeLimits::default()),
            keeper: Arc::new(Keeper::new(Scanner::default(), &[7; 32])),
            access: Access { identities: Some(Arc::clone(&world.identities)), required: true },
        });
        let setup = ServerTlsConfig {
            presented: Presented::Files(vec![world.files("core-cert")]),
            trusted: Trusted::Files(vec![world.ca.clone()]),
            client_auth: ClientAuth::Required,
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        let tls = Arc::new(ServerTls::new(setup).unwrap());
        let edges = Arc::new(Edges::new(ledger.clone(), enrolled.to_vec()));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let settings = http::Settings {
            tls: Some(tls),
            edges: Some(Arc::clone(&edges)),
            drain: Duration::from_millis(200),
            ..http::Settings::default()
        };
        let served = runtime.spawn(http::serve(listener, port, settings, stopped));
        CoreRig { address, ledger, edges, stop, runtime, served }
    }

    /// Ends in the middle of everything, without a clean end of the log.
    pub(crate) fn kill(self) {
        self.runtime.shutdown_timeout(PATIENCE);
    }

    /// Ends in order.
    pub(crate) fn close(self) {
        self.stop.send_replace(true);
        self.runtime.block_on(self.served).unwrap();
        self.ledger.shutdown().unwrap();
        self.runtime.shutdown_timeout(PATIENCE);
    }
}

/// An edge's log, and what ships it.
pub(crate) struct EdgeRig {
    pub(crate) ledger: Ledger,
    place: PathBuf,
}

impl EdgeRig {
    pub(crate) fn open(world: &World, name: &str) -> EdgeRig {
        EdgeRig::with(world, name, Limits::small())
    }

    pub(crate) fn with(world: &World, name: &str, limits: Limits) -> EdgeRig {
        let place = world.path(name);
        let options = Options { limits, ..Options::new("example.org/edge/1") };
        let (ledger, _) = Ledger::open(&place, EdgeRig::kek(), options).unwrap();
        EdgeRig { ledger, place }
    }

    pub(crate) fn kek() -> Kek {
        Kek::from_bytes([4; 32])
    }

    /// As [`EdgeRig::reopen`], with these bounds.
    pub(crate) fn reopen_with(self, world: &World, limits: Limits) -> EdgeRig {
        let name = self.place.file_name().unwrap().to_str().unwrap().to_owned();
        drop(self);
        EdgeRig::with(world, &name, limits)
    }

    /// After a clean end, or as after a kill.
    pub(crate) fn reopen(self, world: &World) -> EdgeRig {
        let name = self.place.file_name().unwrap().to_str().unwrap().to_owned();
        drop(self);
        EdgeRig::open(world, &name)
    }

    /// Number of the oldest file of its write-ahead log.
    pub(crate) fn oldest_file(&self) -> u64 {
        let names = std::fs::read_dir(self.place.join("wal")).unwrap();
        let number = |name: std::ffi::OsString| name.to_str()?.strip_suffix(".wal")?.parse().ok();
        names.filter_map(|entry| number(entry.unwrap().file_name())).min().unwrap()
    }

    pub(crate) fn source(&self, what: &str) -> Source {
        let identity = format!("{}{what}", agent_prefix(NAME));
        self.ledger.register(SourceSpec { identity, stream: random_stream() }).unwrap()
    }

    pub(crate) fn ship(&self, world: &World, core: SocketAddr) -> Shipper {
        self.ship_as(world, core, world.client("edge-a"))
    }

    pub(crate) fn ship_as(&self, _: &World, core: SocketAddr, tls: Arc<ClientTls>) -> Shipper {
        self.ship_keeping(core, tls, countersign_collect::ship::trim::KEEP)
    }

    /// With so many bytes kept although the core has them.
    pub(crate) fn ship_keeping(&self, core: SocketAddr, tls: Arc<ClientTls>, keep: u64) -> Shipper {
        let core = format!("https://{core}").parse().unwrap();
        let settings = Settings {
            retry_max: Duration::from_millis(40),
            keep,
            ..Settings::new(core, tls, self.place.join("shipped"))
        };
        Shipper::start(self.ledger.clone(), settings).unwrap()
    }
}

fn random_stream() -> [u8; 16] {
    use ring::rand::SecureRandom;
    let mut stream = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut stream).unwrap();
    stream
}

/// Waits until everything that is in the log now is at the core.
pub(crate) fn shipped(shipper: &Shipper, ledger: &Ledger) {
    let size = ledger.size();
    let end = Instant::now() + PATIENCE;
    while shipper.status().shipped < size || shipper.status().error.is_some() {
        assert!(Instant::now() < end, "{:?} of {size}", shipper.status());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A record of traffic with a caller of the highest level.
pub(crate) fn event(number: u64) -> Event {
    let mut event = Event::default();
    event.core.t_obs = 1_790_000_000_000_000_000 + number;
    event.core.rec = Some(Rec::Interaction);
    event.core.op = format!("n{number}");
    event.who.who = Some(Principal::new("spiffe://example.org/caller", Verified::Bound));
    event
}

/// As an edge's ledger would have made it.
pub(crate) fn numbered(stream: [u8; 16], seq: u64) -> (Event, Frame) {
    let agent = format!("{AGENT}countersign:gateway");
    let mut event = event(seq);
    event.core.eid = eid(&agent, &stream, seq);
    (event.core.agent, event.core.stream, event.core.seq) = (agent, stream, seq);
    let frame = event.encode().unwrap();
    (event, frame)
}

pub(crate) fn batch_of(stream: [u8; 16], seqs: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    let mut builder = Builder::new("example.org/edge/1", 0);
    assert!(builder.stream(&format!("{AGENT}countersign:gateway"), stream));
    for seq in seqs {
        assert!(builder.push(Kind::Event, &stream, seq, &numbered(stream, seq).1.to_bytes()));
    }
    builder.finish(1)
}

/// What a log has of edges: frames by run, in its order, and losses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) events: BTreeMap<[u8; 16], Vec<(u64, Vec<u8>)>>,
    pub(crate) gaps: BTreeSet<([u8; 16], u64, u64, u64)>,
}

fn records(ledger: &Ledger, mut with: impl FnMut(&countersign_ledger::Committed)) {
    let size = ledger.size();
    let mut reader = ledger.reader(0);
    while reader.position() < size {
        if let Some(Feed::Batch(batch)) = reader.next(PATIENCE).unwrap() {
            batch.records.iter().filter(|record| record.index < size).for_each(&mut with);
        }
    }
}

pub(crate) fn contents(ledger: &Ledger) -> Contents {
    let runs: BTreeMap<u32, [u8; 16]> =
        ledger.sources().into_iter().map(|s| (s.source_ref, s.stream)).collect();
    let mut contents = Contents::default();
    records(ledger, |record| match &record.payload {
        Payload::Event { event, frame } if event.core.agent.starts_with(AGENT) => {
            let run = contents.events.entry(event.core.stream).or_default();
            run.push((event.core.seq, frame.to_bytes()));
        }
        Payload::Body(body) if record.entry.kind == 4 => {
            let gap = Gap::parse(body).unwrap();
            if let (Some(first), Some(last)) = (gap.first_seq, gap.last_seq) {
                let new = contents.gaps.insert((runs[&gap.source_ref], first, last, gap.reason as u64));
                assert!(new, "a loss is declared twice");
            }
        }
        _ => {}
    });
    for run in contents.events.values() {
        assert!(run.is_sorted_by(|a, b| a.0 < b.0), "each number once, in order");
    }
    contents
}

pub(crate) fn gap_bodies(ledger: &Ledger) -> Vec<Gap> {
    let mut gaps = Vec::new();
    records(ledger, |record| {
        if let (Payload::Body(body), 4) = (&record.payload, record.entry.kind) {
            gaps.push(Gap::parse(body).unwrap());
        }
    });
    gaps
}

/// Every event.
pub(crate) fn all(ledger: &Ledger) -> Vec<Event> {
    let mut events = Vec::new();
    records(ledger, |record| {
        if let Payload::Event { event, .. } = &record.payload {
            events.push((**event).clone());
        }
    });
    events
}

/// One request of an edge by hand: status and body; 0 when the connection did not come about.
pub(crate) fn post(to: SocketAddr, tls: &ClientTls, body: &[u8]) -> (u16, Vec<u8>) {
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let connection = rustls::ClientConnection::new(tls.config().unwrap(), name).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(to).unwrap());
    let head = format!(
        "POST /v1/edge HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut reply = Vec::new();
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    if sent.and_then(|()| stream.flush()).is_err() || stream.read_to_end(&mut reply).is_err() {
        return (0, Vec::new());
    }
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(reply[..end].to_vec()).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), reply[end + 4..].to_vec())
}

/// A relay that ends its connections after a number of bytes.
pub(crate) struct Cutter {
    pub(crate) address: SocketAddr,
    shared: Arc<Relay>,
}

struct Relay {
    to: Mutex<SocketAddr>,
    /// Bytes that may still pass, over all connections.
    left: AtomicU64,
    cuts: AtomicU64,
}

impl Cutter {
    pub(crate) fn start(to: SocketAddr) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Relay { to: Mutex::new(to), left: AtomicU64::new(u64::MAX), cuts: AtomicU64::new(0) });
        let relay = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let to = *relay.to.lock().unwrap();
                let Ok(server) = TcpStream::connect(to) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let relay = Arc::clone(&relay);
                    std::thread::spawn(move || pass(&relay, from, to));
                }
            }
        });
        Cutter { address, shared }
    }

    /// Where connections go from now on.
    pub(crate) fn point(&self, to: SocketAddr) {
        *self.shared.to.lock().unwrap() = to;
    }

    /// Everything ends after so many more bytes, and then passes again.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.shared.left.store(bytes, Ordering::SeqCst);
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

fn pass(relay: &Relay, mut from: TcpStream, mut to: TcpStream) {
    let mut block = [0; 4096];
    loop {
        let n = from.read(&mut block).unwrap_or(0);
        let left = relay.left.load(Ordering::SeqCst);
        let may = (n as u64).min(left) as usize;
        let gone = n == 0 || to.write_all(&block[..may]).is_err();
        if left != u64::MAX {
            relay.left.store(left - may as u64, Ordering::SeqCst);
        }
        if gone || may < n {
            if may < n {
                relay.cuts.fetch_add(1, Ordering::SeqCst);
                // The next connection has its chance.
                relay.left.store(u64::MAX, Ordering::SeqCst);
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// A small seeded generator (splitmix64): a number below `bound`.
pub(crate) fn random(seed: &mut u64, bound: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % bound.max(1)
}
