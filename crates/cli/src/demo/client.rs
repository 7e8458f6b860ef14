//! A service's own HTTP client: its credential, and connections that it keeps open.
//!
//! Every call goes to a listener of the gateway. Invariants: a call ends within [`TIME`]; a request is
//! sent a second time only when a kept connection turned out to be closed before any answer.

use super::wire::{Head, broken};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest wait for a connection, and for each step of an answer.
const TIME: Duration = Duration::from_secs(10);
/// Connections kept to one address; one is in use by each call.
const IDLE_MAX: usize = 4;

/// How a caller proves who it is.
pub(super) enum Credential {
    /// A client certificate.
    Certificate(Arc<ClientConfig>),
    /// A header, over TLS without a client certificate.
    Header(Arc<ClientConfig>, &'static str, String),
    /// Nothing at all, in clear text.
    Nothing,
}

/// One program that calls others.
pub(super) struct Caller {
    credential: Credential,
    idle: Mutex<HashMap<SocketAddr, Vec<Connection>>>,
    calls: AtomicU64,
}

/// A call to make.
pub(super) struct Request<'a> {
    /// Verb.
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) path: &'a str,
    /// W3C trace context.
    pub(super) traceparent: &'a str,
    /// JSON; empty = none.
    pub(super) body: &'a str,
}

type Connection = BufReader<Box<dyn Stream>>;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Why a call got no answer.
enum Failed {
    /// The connection was closed before any byte of an answer.
    Stale(io::Error),
    /// Something else.
    Broken(io::Error),
}

impl Caller {
    /// A program with this credential.
    pub(super) fn new(credential: Credential) -> Caller {
        Caller { credential, idle: Mutex::default(), calls: AtomicU64::new(0) }
    }

    /// Calls that were answered.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Status and body of the answer.
    pub(super) fn call(&self, to: SocketAddr, request: &Request<'_>) -> io::Result<(u16, Vec<u8>)> {
        let bytes = self.bytes(to, request);
        let kept = self.lock().get_mut(&to).and_then(Vec::pop);
        if let Some(connection) = kept {
            match self.exchange(to, connection, &bytes) {
                Err(Failed::Stale(_)) => {}
                Err(Failed::Broken(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
        }
        self.exchange(to, self.connect(to)?, &bytes).map_err(|failed| match failed {
            Failed::Stale(error) | Failed::Broken(error) => error,
        })
    }

    /// Closes the connections that are kept.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Vec<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, to: SocketAddr) -> io::Result<Connection> {
        let tcp = TcpStream::connect_timeout(&to, TIME)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(TIME))?;
        tcp.set_write_timeout(Some(TIME))?;
        let tls = match &self.credential {
            Credential::Nothing => return Ok(BufReader::new(Box::new(tcp))),
            Credential::Certificate(tls) | Credential::Header(tls, ..) => Arc::clone(tls),
        };
        let tls =
            ClientConnection::new(tls, ServerName::IpAddress(to.ip().into())).map_err(io::Error::other)?;
        Ok(BufReader::new(Box::new(StreamOwned::new(tls, tcp))))
    }

    fn bytes(&self, to: SocketAddr, request: &Request<'_>) -> Vec<u8> {
        let Request { method, path, traceparent, body } = request;
        let mut out = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\ntraceparent: {traceparent}\r\n");
        if let Credential::Header(_, name, value) = &self.credential {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            out.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        format!("{out}\r\n{body}").into_bytes()
    }

    fn exchange(
        &self,
        to: SocketAddr,
        mut connection: Connection,
        request: &[u8],
    ) -> Result<(u16, Vec<u8>), Failed> {
        let stream = connection.get_mut();
        stream.write_all(request).and_then(|()| stream.flush()).map_err(Failed::Stale)?;
        match connection.fill_buf() {
            Ok([]) => return Err(Failed::Stale(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(Failed::Broken(error));
            }
            Err(error) => return Err(Failed::Stale(error)),
        }
        let (status, body, closes) = read_answer(&mut connection).map_err(Failed::Broken)?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        if !closes {
            let mut idle = self.lock();
            let kept = idle.entry(to).or_default();
            if kept.len() < IDLE_MAX {
                kept.push(connection);
            }
        }
        Ok((status, body))
    }
}

fn read_answer(from: &mut Connection) -> io::Result<(u16, Vec<u8>, bool)> {
    let head = Head::read(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status: u16 = status.ok_or_else(|| broken("no status line"))?;
    let body = if matches!(status, 204 | 304) { Vec::new() } else { head.body(from)? };
    Ok((status, body, head.closes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::server::{Incoming, Reply, Server};

    fn echo(request: &Incoming) -> Reply {
        match (request.method.as_str(), request.body.as_slice()) {
            ("DELETE", _) => Reply::new(204, ""),
            ("POST", b"{}") => Reply::new(201, request.head.get("traceparent").unwrap_or_default()),
            _ => Reply::new(404, ""),
        }
    }

    fn post<'a>(body: &'a str) -> Request<'a> {
        Request { method: "POST", path: "/", traceparent: "00-aa-bb-01", body }
    }

    #[test]
    fn a_connection_is_kept_and_a_lost_one_is_made_anew() {
        let caller = Caller::new(Credential::Nothing);
        let mut server = Server::start("test", Arc::new(echo)).unwrap();
        let to = server.address;
        let answer = caller.call(to, &post("{}")).unwrap();
        assert_eq!(answer, (201, b"00-aa-bb-01".to_vec()));
        let delete = Request { method: "DELETE", ..post("") };
        assert_eq!(caller.call(to, &delete).unwrap(), (204, Vec::new()));
        assert_eq!(caller.lock().get(&to).map(Vec::len), Some(1), "one connection served both");
        // A dead connection in the same place, as after a restart of the other side.
        let mut other = Server::start("test", Arc::new(echo)).unwrap();
        caller.call(other.address, &post("{}")).unwrap();
        let stale = caller.lock().remove(&other.address).unwrap();
        other.stop();
        caller.lock().insert(to, stale);
        assert_eq!(caller.call(to, &post("")).unwrap().0, 404);
        assert_eq!(caller.calls(), 4);
        server.stop();
        assert!(caller.call(to, &post("{}")).is_err(), "nobody listens any more");
    }
}
