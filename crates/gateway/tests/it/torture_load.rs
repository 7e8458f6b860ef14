//! Clients that never stop asking, one kind for each protocol, and what they were told. Pipelines are as deep as
//! the seed says; on strict routes each request is alone on its connection, so that a refusal says which it is.

use crate::h2_support;
use countersign_gateway::{Durability, Protocol};
use countersign_testkit::redis::command;
use http::Request;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longer than any stall: a client of a bounded route waits.
const PATIENCE: Duration = Duration::from_secs(300);
/// Before a client that was refused comes back.
const PAUSE: Duration = Duration::from_millis(20);
/// Connections or streams of one load.
const CLIENTS: u64 = 3;
/// Deepest pipeline.
const DEPTH: u64 = 8;

/// splitmix64.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

/// What the clients of one route did and were told.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    pub(crate) answered: AtomicU64,
    /// In the protocol's own words for "the ledger takes no records".
    pub(crate) refused: AtomicU64,
    /// The connection ended without an answer.
    pub(crate) cut: AtomicU64,
}

impl Counts {
    pub(crate) fn read(&self) -> [u64; 4] {
        [&self.sent, &self.answered, &self.refused, &self.cut].map(|n| n.load(Ordering::SeqCst))
    }
}

/// One client.
#[derive(Clone)]
struct Job {
    route: String,
    address: SocketAddr,
    strict: bool,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    seed: u64,
}

/// How an exchange ended.
enum Told {
    Answered,
    Refused,
}

fn note(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::SeqCst);
}

impl Job {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Connects again and again; `talk` writes `depth` requests from number `n` on, `hear` reads one answer.
    fn pipelines(
        &self,
        write: impl Fn(&mut Vec<u8>, &str, u64),
        hear: impl Fn(&mut BufReader<TcpStream>) -> std::io::Result<Told>,
    ) {
        let mut seeded = Seeded(self.seed);
        let mut n = self.seed << 32;
        while !self.stopped() {
            let Ok(stream) = TcpStream::connect(self.address) else { continue };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            let mut stream = BufReader::new(stream);
            while !self.stopped() {
                let depth = if self.strict { 1 } else { 1 + seeded.below(DEPTH) };
                let mut bytes = Vec::new();
                for _ in 0..depth {
                    n += 1;
                    write(&mut bytes, &self.route, n);
                }
                note(&self.counts.sent, depth);
                if !self.exchange(&mut stream, &bytes, depth, &hear) {
                    std::thread::sleep(PAUSE);
                    break;
                }
            }
        }
    }

    /// `false` = the connection is over.
    fn exchange(
        &self,
        stream: &mut BufReader<TcpStream>,
        bytes: &[u8],
        depth: u64,
        hear: impl Fn(&mut BufReader<TcpStream>) -> std::io::Result<Told>,
    ) -> bool {
        if stream.get_mut().write_all(bytes).is_err() {
            note(&self.counts.cut, depth);
            return false;
        }
        for heard in 0..depth {
            match hear(stream) {
                Ok(Told::Answered) => note(&self.counts.answered, 1),
                Ok(Told::Refused) => {
                    note(&self.counts.refused, 1);
                    note(&self.counts.cut, depth - heard - 1);
                    return false;
                }
                Err(_) => {
                    note(&self.counts.cut, depth - heard);
                    return false;
                }
            }
        }
        true
    }

    fn http(&self) {
        self.pipelines(
            |out, route, n| write!(out, "GET /{route}/{n} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap(),
            |stream| match answer(stream)? {
                (200, _) => Ok(Told::Answered),
                (503, body) if body.contains("the ledger does not take records") => Ok(Told::Refused),
                (status, body) => panic!("{status} {body}"),
            },
        );
    }

    fn mcp(&self) {
        self.pipelines(
            |out, route, n| {
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{n},"method":"tools/call","params":{{"name":"echo","arguments":{{}}}}}}"#
                );
                let length = body.len();
                write!(out, "POST /{route}/{n} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
            },
            |stream| match answer(stream)? {
                (200, _) => Ok(Told::Answered),
                (503, body) if body.contains("\"jsonrpc\":\"2.0\"") && body.contains("\"error\"") => {
                    Ok(Told::Refused)
                }
                (status, body) => panic!("{status} {body}"),
            },
        );
    }

    fn redis(&self) {
        self.pipelines(
            |out, route, _| out.extend(command(&["INCR", route])),
            |stream| {
                let mut line = String::new();
                match stream.read_line(&mut line)? {
                    0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
                    _ if line.starts_with(':') => Ok(Told::Answered),
                    _ if line.starts_with("-ERR") && line.contains("cannot be recorded") => Ok(Told::Refused),
                    _ => panic!("{line}"),
                }
            },
        );
    }

    async fn postgres(&self) {
        let settings =
            format!("host={} port={} user=postgres dbname=postgres", self.address.ip(), self.address.port());
        while !self.stopped() {
            let Ok((client, connection)) = tokio_postgres::connect(&settings, tokio_postgres::NoTls).await
            else {
                // Refused in its start-up: nothing was asked.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            tokio::spawn(connection);
            let text = format!("select nextval('{}')", self.route);
            let Ok(prepared) = client.prepare(&text).await else { continue };
            while !self.stopped() {
                note(&self.counts.sent, 1);
                match client.query_one(&prepared, &[]).await {
                    Ok(_) => note(&self.counts.answered, 1),
                    Err(error) => {
                        let code = error.code().map(|code| code.code().to_owned());
                        match code.as_deref() {
                            Some("57P03") => note(&self.counts.refused, 1),
                            None => note(&self.counts.cut, 1),
                            Some(other) => panic!("{other}: {error}"),
                        }
                        break;
                    }
                }
            }
        }
    }

    async fn grpc(&self) {
        let send = h2_support::connect(self.address).await;
        let streams = (0..CLIENTS).map(|_| {
            let (job, mut send) = (self.clone(), send.clone());
            tokio::spawn(async move {
                while !job.stopped() {
                    note(&job.counts.sent, 1);
                    match call(&mut send, &job.route).await {
                        Some(0) => note(&job.counts.answered, 1),
                        Some(14) => {
                            note(&job.counts.refused, 1);
                            tokio::time::sleep(PAUSE).await;
                        }
                        Some(other) => panic!("grpc-status {other}"),
                        None => return note(&job.counts.cut, 1),
                    }
                }
            })
        });
        for stream in streams.collect::<Vec<_>>() {
            stream.await.unwrap();
        }
    }
}

/// Status and body of the next response.
fn answer(stream: &mut BufReader<TcpStream>) -> std::io::Result<(u16, String)> {
    let (mut status, mut length, mut line) = (0, 0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end();
        if let Some(rest) = text.strip_prefix("HTTP/1.1 ") {
            status = rest[..3].parse().unwrap();
        } else if let Some(value) = text.strip_prefix("Content-Length: ") {
            length = value.parse().unwrap();
        } else if text.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// One unary call; its `grpc-status`.
async fn call(send: &mut h2::client::SendRequest<bytes::Bytes>, route: &str) -> Option<u32> {
    std::future::poll_fn(|cx| send.poll_ready(cx)).await.ok()?;
    let request = Request::post(format!("http://a/{route}/Call")).header("content-type", "application/grpc");
    let (response, mut to) =
        send.send_request(request.header("te", "trailers").body(()).unwrap(), false).ok()?;
    // A call that is refused at once may be over before its message is sent.
    let _ = to.send_data(bytes::Bytes::from_static(&[0, 0, 0, 0, 0]), true);
    let response = response.await.ok()?;
    let status = |fields: &http::HeaderMap| fields.get("grpc-status")?.to_str().ok()?.parse().ok();
    if let Some(code) = status(response.headers()) {
        return Some(code);
    }
    let mut body = response.into_body();
    h2_support::body(&mut body).await.ok()?;
    status(&body.trailers().await.ok()??)
}

/// The clients of one route.
pub(crate) struct Load {
    pub(crate) route: String,
    pub(crate) protocol: Protocol,
    pub(crate) durability: Durability,
    pub(crate) counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(
        route: &str,
        (protocol, durability): (Protocol, Durability),
        address: SocketAddr,
        stop: &Arc<AtomicBool>,
        seed: u64,
    ) -> Load {
        let counts = Arc::<Counts>::default();
        let job = |n: u64| Job {
            route: route.to_owned(),
            address,
            strict: durability == Durability::Strict,
            counts: counts.clone(),
            stop: stop.clone(),
            seed: Seeded(seed + n).below(1 << 20) + 1,
        };
        let threads = match protocol {
            Protocol::Http2 => 1,
            _ => CLIENTS,
        };
        let threads = (0..threads).map(|n| (job(n), protocol)).map(|(job, protocol)| {
            std::thread::spawn(move || match protocol {
                Protocol::Http1 => job.http(),
                Protocol::Mcp => job.mcp(),
                Protocol::Redis => job.redis(),
                Protocol::Postgres => h2_support::runtime().block_on(job.postgres()),
                Protocol::Http2 => h2_support::runtime().block_on(job.grpc()),
                other => panic!("no clients for {other:?}"),
            })
        });
        let threads = threads.collect();
        Load { route: route.to_owned(), protocol, durability, counts, threads }
    }

    /// After `stop` was set.
    pub(crate) fn join(&mut self) {
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}
