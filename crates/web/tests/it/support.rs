//! A real ledger, a real store and the real server on a loopback port, in a directory of its own.

use countersign_event::*;
use countersign_ledger::{Feed, Kek, Ledger, Options, Source, SourceSpec};
use countersign_store::{Store, StoreOptions};
use countersign_web::{AppState, TailHub, WebOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// Longest wait of any kind.
const WAIT: Duration = Duration::from_secs(30);

pub struct World {
    pub ledger: Ledger,
    pub store: Store,
    pub state: AppState,
    pub source: Source,
    pub address: SocketAddr,
    pub announced: Arc<Mutex<Vec<String>>>,
    /// Why the gateway does not record, if it does not.
    pub blocked: Arc<Mutex<Option<&'static str>>>,
    pub dir: TempDir,
    pub runtime: Runtime,
    stop: Arc<AtomicBool>,
    close: Option<oneshot::Sender<()>>,
    feeder: Option<JoinHandle<()>>,
}

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) =
            Ledger::open(dir.path(), Kek::from_bytes([7; 32]), Options::new("example.org/web-test/1"))
                .unwrap();
        let store = Store::open(dir.path(), ledger.clone(), StoreOptions::default()).unwrap();
        let register = |identity: &str, n: u8| {
            ledger.register(SourceSpec { identity: identity.to_owned(), stream: [n; 16] }).unwrap()
        };
        let (source, audit) = (register("spiffe://example.org/gw", 1), register("countersign:web", 2));
        let hub = TailHub::new();
        let stop = Arc::new(AtomicBool::new(false));
        let feeder = feed(&ledger, &hub, &stop);
        let announced = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&announced);
        let blocked = Arc::new(Mutex::new(None));
        let cause = Arc::clone(&blocked);
        let options = WebOptions {
            demo: false,
            announce: Some(Arc::new(move |link: &str| heard.lock().unwrap().push(link.to_owned()))),
            recording: Some(Arc::new(move || {
                let cause = *cause.lock().unwrap();
                (if cause.is_some() { "audit-blocked" } else { "ok" }, cause)
            })),
            desk: None,
        };
        let state = AppState::new(ledger.clone(), store.clone(), hub, audit, options);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (close, closed) = oneshot::channel::<()>();
        let serving = countersign_web::serve(listener, state.clone(), async {
            let _ = closed.await;
        });
        runtime.spawn(async { serving.await.unwrap() });
        World {
            ledger,
            store,
            state,
            source,
            address,
            announced,
            blocked,
            dir,
            runtime,
            stop,
            close: Some(close),
            feeder: Some(feeder),
        }
    }

    /// Records events and waits until they can be searched and are signed.
    pub fn record(&self, events: Vec<Event>) -> u64 {
        let count = events.len() as u64;
        let ack = self.source.record_wait(events).unwrap();
        assert_eq!((ack.count, &ack.rejected), (count, &Vec::new()));
        self.settle();
        ack.first
    }

    pub fn settle(&self) {
        let size = self.ledger.size();
        assert!(self.store.wait_visible(size, WAIT));
        assert!(self.ledger.wait_checkpoint(size, WAIT).is_some());
        while self.state_head() < size {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn state_head(&self) -> u64 {
        let ready = self.raw("GET", "/readyz", &[], b"");
        assert_eq!(ready.status, 200);
        self.ledger.size()
    }

    /// A signed-in client.
    pub fn login(&self) -> Client<'_> {
        let link = self.state.login_link(self.address).unwrap();
        let path = link.split_once(&self.address.to_string()).unwrap().1;
        let answer = self.raw("GET", path, &[], b"");
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Client { world: self, cookie }
    }

    pub fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        request(self.address, method, path, headers, body)
    }

    pub fn socket_path(&self) -> PathBuf {
        self.dir.path().join("api.sock")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(close) = self.close.take() {
            let _ = close.send(());
        }
        if let Some(feeder) = self.feeder.take() {
            let _ = feeder.join();
        }
        self.state.close();
        self.store.shutdown();
        let _ = self.ledger.shutdown();
    }
}

fn feed(ledger: &Ledger, hub: &TailHub, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (mut reader, hub, stop) = (ledger.reader(0), hub.clone(), Arc::clone(stop));
    std::thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            match reader.next(Duration::from_millis(50)) {
                Ok(Some(Feed::Batch(batch))) => hub.publish(batch),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    })
}

/// A browser's session, without the browser.
pub struct Client<'w> {
    world: &'w World,
    pub cookie: String,
}

impl Client<'_> {
    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("Cookie", self.cookie.as_str())];
        all.extend_from_slice(headers);
        self.world.raw("GET", path, &all, b"")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        let origin = format!("http://{}", self.world.address);
        let headers = [
            ("Cookie", self.cookie.as_str()),
            ("Origin", origin.as_str()),
            ("Sec-Fetch-Site", "same-origin"),
        ];
        self.world.raw("POST", path, &headers, body.as_bytes())
    }

    pub fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Opens a stream and gives its reader after the head.
    pub fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let mut all = vec![("Cookie", self.cookie.as_str())];
        all.extend_from_slice(headers);
        Stream::open(self.world.address, path, &all)
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub fn request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    exchange(&mut stream, &to.to_string(), method, path, headers, body)
}

/// One request over any stream, read to its end.
pub fn exchange(
    stream: &mut (impl Read + Write),
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str(&format!("Host: {host}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    let chunked = headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked");
    let raw = &bytes[end + 4..];
    Answer { status, headers, body: if chunked { unchunk(raw) } else { raw.to_vec() } }
}

fn unchunk(mut raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = raw.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..at]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        out.extend_from_slice(&raw[at + 2..at + 2 + size]);
        raw = &raw[at + 2 + size + 2..];
    }
    out
}

/// A live stream, read line by line.
pub struct Stream {
    lines: std::io::BufReader<Dechunk>,
}

impl Stream {
    fn open(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Stream {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        let head = String::from_utf8(seen).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        Stream { lines: std::io::BufReader::new(Dechunk { stream, left: 0 }) }
    }

    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match std::io::BufRead::read_line(&mut self.lines, &mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches('\n').to_owned()),
        }
    }

    pub fn json(&mut self) -> Option<serde_json::Value> {
        self.line().map(|line| serde_json::from_str(&line).unwrap())
    }
}

struct Dechunk {
    stream: TcpStream,
    left: usize,
}

impl Read for Dechunk {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut line = Vec::new();
            let mut byte = [0];
            while !line.ends_with(b"\r\n") || line == b"\r\n" {
                if line == b"\r\n" {
                    line.clear();
                }
                self.stream.read_exact(&mut byte)?;
                line.push(byte[0]);
            }
            let text = std::str::from_utf8(&line[..line.len() - 2]).map_err(std::io::Error::other)?;
            self.left = usize::from_str_radix(text, 16).map_err(std::io::Error::other)?;
            if self.left == 0 {
                return Ok(0);
            }
        }
        let most = buf.len().min(self.left);
        let n = self.stream.read(&mut buf[..most])?;
        self.left -= n;
        Ok(n)
    }
}

/// One plain interaction.
pub fn call(who: &str, service: &str, op: &str, resource: &str, outcome: Outcome) -> Event {
    let mut event = Event::default();
    event.core.t_obs = now_ns();
    event.core.t_event = Some(now_ns() as i64 - 2_000_000);
    event.core.t_basis = Some(TimeBasis::Measured);
    event.core.dur = Some(1_500_000);
    event.core.rec = Some(Rec::Interaction);
    event.core.kind = Some(Kind::Http);
    event.core.proto = "http/1.1".to_owned();
    event.core.op = op.to_owned();
    event.core.class = Some(if op == "DELETE" { Class::Delete } else { Class::Read });
    event.core.outcome = Some(outcome);
    event.core.status =
        Some((StatusSpace::Http, if outcome == Outcome::Denied { "403" } else { "200" }.to_owned()));
    let mut principal = Principal::new(who, Verified::Bound);
    principal.auth = Some(Auth::SpiffeSvid);
    event.who.who = Some(principal);
    event.peer.src =
        Some(Endpoint { ip: Some([10, 0, 0, 5].into()), port: Some(4242), ..Endpoint::default() });
    event.target.svc = service.to_owned();
    event.target.res = resource.to_owned();
    event.body.req = Some(Payload { size: Some(0), ..Payload::default() });
    event.body.rsp = Some(Payload { size: Some(512), ..Payload::default() });
    event
}

pub fn some_calls(n: usize) -> Vec<Event> {
    let who = ["spiffe://example.org/billing", "spiffe://example.org/orders", "spiffe://example.org/web"];
    (0..n)
        .map(|i| {
            let outcome = if i % 7 == 3 { Outcome::Denied } else { Outcome::Success };
            call(
                who[i % 3],
                ["orders", "orders-db", "billing"][i % 3],
                ["GET", "POST", "DELETE"][i % 3],
                "/orders/{id}",
                outcome,
            )
        })
        .collect()
}

fn now_ns() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
}
