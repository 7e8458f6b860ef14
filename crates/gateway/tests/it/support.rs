//! A gateway with records in memory, servers that keep what they were sent, and a client on a raw socket.

use countersign_event::Event;
use countersign_gateway::{
    BodyKey, Durable, Gateway, GatewayConfig, Listener, Parts, RecordError, Recorder, Upstream,
};
use countersign_identity::{Identities, IdentityConfig};
use countersign_ledger::SystemClock;
use countersign_policy::{Policy, PolicySet};
use countersign_wire::http1::{Framer, PieceKind};
use ring::hmac;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest that any wait of a test takes before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const DIGEST_KEY: [u8; 32] = [7; 32];

/// Records in memory.
#[derive(Default)]
pub(crate) struct Memory {
    events: Mutex<Vec<Event>>,
    pub(crate) owed: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) folded: AtomicU64,
    /// While set, `record` blocks, as a full ledger does.
    pub(crate) stalled: AtomicBool,
}

impl Recorder for Memory {
    fn record(&self, events: Vec<Event>) -> Result<(), RecordError> {
        self.wait_well();
        self.events.lock().unwrap().extend(events);
        Ok(())
    }
    fn owe(&self, n: u64) -> Result<(), RecordError> {
        self.owed.fetch_add(n, Ordering::Relaxed);
        Ok(())
    }
    fn record_intents(&self, events: Vec<Event>, durable: Durable) -> Result<Vec<[u8; 16]>, RecordError> {
        self.wait_well();
        let mut kept = self.events.lock().unwrap();
        let first = kept.len() as u128 + 1;
        let eids: Vec<_> = (first..first + events.len() as u128).map(u128::to_be_bytes).collect();
        kept.extend(events.into_iter().zip(&eids).map(|(mut event, eid)| {
            event.core.eid = *eid;
            event
        }));
        drop(kept);
        durable(Some(Vec::new()));
        Ok(eids)
    }
    fn folded(&self, n: u64) {
        self.folded.fetch_add(n, Ordering::Relaxed);
    }
    fn dropped(&self, n: u64) -> Result<(), RecordError> {
        self.dropped.fetch_add(n, Ordering::Relaxed);
        Ok(())
    }
}

impl Memory {
    fn wait_well(&self) {
        while self.stalled.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.events.lock().unwrap().len()
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// Waits for `n` events; more than that fails the test.
    pub(crate) fn wait(&self, n: usize) -> Vec<Event> {
        let until = Instant::now() + PATIENCE;
        while self.len() < n && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        let events = self.events.lock().unwrap().clone();
        assert_eq!(events.len(), n, "{:#?}", events.iter().map(brief).collect::<Vec<_>>());
        events
    }
}

pub(crate) fn brief(e: &Event) -> String {
    format!(
        "{:?} {} {} {:?} {:?} {}",
        e.core.rec, e.core.op, e.target.raw, e.core.status, e.core.outcome, e.content.err
    )
}

/// A running gateway in front of one server.
pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) memory: Arc<Memory>,
    pub(crate) address: SocketAddr,
}

impl Rig {
    pub(crate) fn new(upstream: SocketAddr) -> Rig {
        Rig::with(upstream, |_| {})
    }

    pub(crate) fn with(upstream: SocketAddr, change: impl FnOnce(&mut GatewayConfig)) -> Rig {
        Rig::full(upstream, change, IdentityConfig::default(), PolicySet::allow_all())
    }

    pub(crate) fn full(
        upstream: SocketAddr,
        change: impl FnOnce(&mut GatewayConfig),
        identity: IdentityConfig,
        policy: Arc<dyn Policy>,
    ) -> Rig {
        let memory = Arc::new(Memory::default());
        Rig::start([memory.clone(), memory], upstream, change, identity, policy)
    }

    /// As [`Rig::with`], with the records of strict routes apart; gives those.
    pub(crate) fn apart(upstream: SocketAddr, change: impl FnOnce(&mut GatewayConfig)) -> (Rig, Arc<Memory>) {
        let (memory, strict) = (Arc::<Memory>::default(), Arc::<Memory>::default());
        let (identity, policy) = (IdentityConfig::default(), PolicySet::allow_all());
        (Rig::start([memory, strict.clone()], upstream, change, identity, policy), strict)
    }

    fn start(
        [memory, strict]: [Arc<Memory>; 2],
        upstream: SocketAddr,
        change: impl FnOnce(&mut GatewayConfig),
        identity: IdentityConfig,
        policy: Arc<dyn Policy>,
    ) -> Rig {
        let mut config = GatewayConfig::new("spiffe://test/gw");
        let to = Upstream::new(upstream.ip().to_string(), upstream.port());
        config.listeners.push(Listener::new("main", "127.0.0.1:0".parse().unwrap(), to));
        config.listeners[0].service = "svc".into();
        change(&mut config);
        let parts = Parts {
            recorders: vec![memory.clone()],
            strict: vec![strict],
            key: BodyKey::Raw(hmac::Key::new(hmac::HMAC_SHA256, &DIGEST_KEY)),
            identities: Arc::new(Identities::new(identity, 0).unwrap()),
            policy,
            clock: Arc::new(SystemClock::default()),
            sockets: Vec::new(),
        };
        let gateway = Gateway::start_with(config, parts).unwrap();
        let address = gateway.addresses()[0].1;
        Rig { gateway, memory, address }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }
}

/// Why a gateway with `config` does not start.
pub(crate) fn start_error(config: GatewayConfig) -> String {
    let parts = Parts {
        recorders: vec![Arc::new(Memory::default())],
        strict: Vec::new(),
        key: BodyKey::Raw(hmac::Key::new(hmac::HMAC_SHA256, &DIGEST_KEY)),
        identities: Arc::new(Identities::new(IdentityConfig::default(), 0).unwrap()),
        policy: PolicySet::allow_all(),
        clock: Arc::new(SystemClock::default()),
        sockets: Vec::new(),
    };
    Gateway::start_with(config, parts).err().map_or(String::new(), |error| error.to_string())
}

/// A raw socket with patience.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(stream)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn end(&self) {
        self.0.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Exactly `n` bytes.
    pub(crate) fn read(&mut self, n: usize) -> Vec<u8> {
        let mut out = vec![0; n];
        self.0.read_exact(&mut out).unwrap();
        out
    }

    /// Checks that exactly `bytes` come next.
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let got = self.read(bytes.as_ref().len());
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(bytes.as_ref()));
    }

    /// Everything until the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = self.0.read_to_end(&mut out);
        out
    }

    /// The status of the answer that ends the connection.
    pub(crate) fn last_status(&mut self) -> String {
        let rest = self.rest();
        String::from_utf8_lossy(rest.get(9..12).unwrap_or_default()).into_owned()
    }
}

/// What a server was sent, one entry a connection.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<Vec<u8>>>>);

impl Seen {
    pub(crate) fn all(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }
    fn connect(&self) -> usize {
        let mut all = self.0.lock().unwrap();
        all.push(Vec::new());
        all.len() - 1
    }
    fn add(&self, at: usize, bytes: &[u8]) {
        self.0.lock().unwrap()[at].extend_from_slice(bytes);
    }
}

/// A server that runs `serve` on a thread for each connection.
pub(crate) fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A server that answers each request with `answer(head)`, after the whole request has come.
pub(crate) fn http(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let keep = seen.clone();
    let address = server(move |mut stream| {
        let at = keep.connect();
        let mut framer = Framer::default();
        let (mut held, mut head) = (Vec::new(), String::new());
        let mut buf = vec![0; 64 << 10];
        loop {
            let n = match stream.read(&mut buf) {
                Ok(0) | Err(_) => return,
                Ok(n) => n,
            };
            keep.add(at, &buf[..n]);
            held.extend_from_slice(&buf[..n]);
            while let Ok(piece) = framer.request(&held) {
                if piece.len == 0 {
                    break;
                }
                let taken: Vec<u8> = held.drain(..piece.len).collect();
                if piece.kind == PieceKind::Head {
                    head = String::from_utf8_lossy(&taken).into_owned();
                }
                if piece.end {
                    let bytes = answer(&head);
                    if stream.write_all(&bytes).is_err() {
                        return;
                    }
                    let mut at = 0;
                    while let Ok(piece) = framer.response(&bytes[at..]) {
                        at += piece.len;
                        if piece.len == 0 {
                            break;
                        }
                    }
                }
            }
        }
    });
    (address, seen)
}

/// An `http` server that always says the same, with a length.
pub(crate) fn ok(body: &'static str) -> (SocketAddr, Seen) {
    http(move |_| response(body).into_bytes())
}

pub(crate) fn response(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n{body}", body.len())
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Resident memory of this process, KiB.
pub(crate) fn rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Waits until `what` holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
