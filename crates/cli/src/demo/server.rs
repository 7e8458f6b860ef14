//! A small HTTP server on loopback: one thread a connection, keep-alive, bounded.
//!
//! Not for the world: it serves the demo's services behind the gateway. Invariants: at most
//! [`CONNECTIONS_MAX`] connections; when it stops, its port and every connection are closed and its
//! threads have ended.

use super::wire::{Head, broken};
use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Most connections at a time; further ones are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// Pause after a failed accept.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A request as a service sees it.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    /// Verb.
    pub(super) method: String,
    /// Path and query.
    pub(super) path: String,
    /// Its headers.
    pub(super) head: Head,
    /// Its body.
    pub(super) body: Vec<u8>,
}

/// What a service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// Status code.
    pub(super) status: u16,
    /// JSON, may be empty.
    pub(super) body: String,
}

impl Reply {
    /// A status with a JSON body.
    pub(super) fn new(status: u16, body: impl Into<String>) -> Reply {
        Reply { status, body: body.into() }
    }
}

/// What a service does with a request.
pub(super) type Handler = Arc<dyn Fn(&Incoming) -> Reply + Send + Sync>;

/// A running server.
pub(super) struct Server {
    /// Where it listens.
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Handler,
    stopping: AtomicBool,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// Held so that a stop can end reads that wait; the thread of a connection removes its own.
    streams: HashMap<u64, TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens on a free loopback port.
    pub(super) fn start(name: &str, handler: Handler) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { handler, stopping: AtomicBool::new(false), open: Mutex::default() });
        let accept = Arc::clone(&shared);
        let thread = thread::Builder::new().name(format!("demo-{name}"));
        let accepting = thread.spawn(move || accept_all(&accept, &listener))?;
        Ok(Server { address, shared, accepting: Some(accepting) })
    }

    /// Closes port and connections and waits for its threads.
    pub(super) fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // The accepting thread looks at the flag after each connection: this is the last one.
        let _ = TcpStream::connect(self.address);
        let _ = accepting.join();
        let threads = {
            let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
            for stream in open.streams.values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            std::mem::take(&mut open.threads)
        };
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept_all(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        match accepted {
            Ok((stream, _)) => open(shared, stream),
            Err(_) => thread::sleep(ACCEPT_RETRY),
        }
    }
}

fn open(shared: &Arc<Shared>, stream: TcpStream) {
    let Ok(kept) = stream.try_clone() else { return };
    let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
    open.threads.retain(|thread| !thread.is_finished());
    if open.streams.len() >= CONNECTIONS_MAX {
        return;
    }
    let id = open.next;
    open.next += 1;
    open.streams.insert(id, kept);
    let serving = Arc::clone(shared);
    let thread = thread::Builder::new().spawn(move || {
        // An end in the middle is the peer's affair; the gateway has recorded it.
        let _ = serve(&serving, stream);
        serving.open.lock().unwrap_or_else(PoisonError::into_inner).streams.remove(&id);
    });
    match thread {
        Ok(thread) => open.threads.push(thread),
        Err(_) => drop(open.streams.remove(&id)),
    }
}

fn serve(shared: &Shared, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        let body = head.body(&mut from)?;
        let mut words = head.first.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Err(broken("no request line"));
        };
        let (method, path) = (method.to_owned(), path.to_owned());
        let closes = head.closes() || shared.stopping.load(Ordering::SeqCst);
        let reply = (shared.handler)(&Incoming { method, path, head, body });
        stream.write_all(&answer(&reply, closes))?;
        if closes {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
}

fn answer(reply: &Reply, closes: bool) -> Vec<u8> {
    let reason = match reply.status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "",
    };
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", reply.status);
    if reply.status != 204 {
        out.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", reply.body.len()));
    }
    if closes {
        out.push_str("Connection: close\r\n");
    }
    out.push_str("\r\n");
    if reply.status != 204 {
        out.push_str(&reply.body);
    }
    out.into_bytes()
}
