//! What comes before a connection's own bytes: a PROXY protocol header from peers that are listed for it, and a
//! look at the TLS ClientHello for its fingerprint and, where several ways lead on, for the server name that chooses
//! one. Nothing but the header and PostgreSQL's requests for encryption is taken off the stream.

use super::door::Door;
use super::postgres;
use super::worker::{Route, Worker};
use crate::config::Protocol;
use countersign_wire::ja4::{self, Carrier, ClientHello, HELLO_MAX_BYTES, Hello, RECORDS_MAX};
use countersign_wire::proxy::{self, Proxied};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Pause before the same unfinished bytes are looked at again.
pub(super) const AGAIN: Duration = Duration::from_millis(5);
/// Looks at a ClientHello that arrives in pieces; a fingerprint is a hint and not worth more.
const HELLO_LOOKS: u32 = 4;
/// Bytes of a ClientHello that are looked at for a fingerprint alone; longer ones have none.
const HELLO_MAX: usize = 4 << 10;
/// Bytes of a ClientHello that are looked at for the name that chooses the way, with its record headers.
const HELLO_ROUTED_MAX: usize = HELLO_MAX_BYTES + 5 * RECORDS_MAX;
/// TLS alert, fatal: unrecognized_name (RFC 6066, section 3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// How long a refused client may take to read its alert.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection was not greeted, and whether it took too long.
pub(super) type Failed = (&'static str, bool);
const GONE: Failed = ("client closed before it began", false);
const UNNAMED: Failed = ("tls: no route has this server name", false);

/// What was seen.
#[derive(Default)]
pub(super) struct Greeting {
    /// Who connected to the proxy before us, as that proxy says.
    pub(super) hop: Option<SocketAddr>,
    /// JA4; empty = none.
    pub(super) ja4: String,
    /// The server name that was asked for, where it was looked at before the handshake.
    pub(super) sni: String,
}

/// Where a connection leads.
pub(super) struct Way {
    pub(super) route: Arc<Route>,
    /// PostgreSQL's request for TLS was answered: the handshake comes next.
    pub(super) asked: bool,
}

/// Looks before the connection begins. What was seen is there also when it does not begin.
pub(super) async fn greet(
    worker: &Worker,
    door: &Door,
    stream: &mut TcpStream,
    src: SocketAddr,
) -> (Greeting, Result<Way, Failed>) {
    let mut greeting = Greeting::default();
    let way = way(worker, door, stream, src, &mut greeting).await;
    (greeting, way)
}

async fn way(
    worker: &Worker,
    door: &Door,
    stream: &mut TcpStream,
    src: SocketAddr,
    greeting: &mut Greeting,
) -> Result<Way, Failed> {
    if worker.identities.is_forwarder(src.ip(), None) {
        let header = timeout(worker.limits.tls_handshake, proxied(stream)).await;
        greeting.hop = header.map_err(|_| ("proxy header took too long", true))??;
    }
    if door.is_plain() {
        if door.own.tls.load().acceptor.is_some() {
            greeting.ja4 = fingerprint(stream).await;
        }
        return Ok(Way { route: Arc::clone(&door.own), asked: false });
    }
    let chosen = timeout(worker.limits.tls_handshake, named(door, stream, greeting)).await;
    let (chosen, refused) = match chosen {
        Ok(Ok(way)) => return Ok(way),
        Ok(Err(failed)) => (failed, failed == UNNAMED),
        Err(_) => (("tls: no client hello in time", true), false),
    };
    if refused {
        refuse_name(stream).await;
    }
    Err(chosen)
}

/// Chooses by the name in the ClientHello.
async fn named(door: &Door, stream: &mut TcpStream, greeting: &mut Greeting) -> Result<Way, Failed> {
    let asked = door.speaks_postgres() && postgres::asks_for_tls(stream).await?;
    let route = match opening(stream).await? {
        Some(hello) => {
            greeting.ja4 = ja4::ja4(&hello, Carrier::Tcp);
            greeting.sni = hello.server_name.unwrap_or_default();
            door.by_name(&greeting.sni).ok_or(UNNAMED)?
        }
        None if asked => return Err(("tls: not a tls handshake", false)),
        None if door.speaks_postgres() && postgres::is_cancellation(stream).await => {
            let none = ("postgresql: a cancellation without TLS names no server", false);
            door.of_cancellation().ok_or(none)?
        }
        None => door.unnamed().ok_or(("without TLS there is no server name to choose a route by", false))?,
    };
    if asked && route.protocol != Protocol::Postgres {
        return Err(("postgresql: the route of this server name speaks something else", false));
    }
    Ok(Way { route: Arc::clone(route), asked })
}

/// The ClientHello at the front of the stream; `None` = something else is there.
async fn opening(stream: &TcpStream) -> Result<Option<ClientHello>, Failed> {
    let mut buf = vec![0; HELLO_ROUTED_MAX];
    let mut seen = 0;
    loop {
        let n = stream.peek(&mut buf).await.map_err(|_| GONE)?;
        let first = buf.get(..n).unwrap_or_default();
        match ja4::hello(first) {
            _ if n == 0 => return Err(GONE),
            Hello::Whole(body) => {
                let hello = ja4::parse(&body).ok_or(("tls: client hello is not in order", false))?;
                return Ok(Some(hello));
            }
            Hello::Other if first.first() == Some(&22) => {
                return Err(("tls: client hello is too long or none", false));
            }
            Hello::Other => return Ok(None),
            Hello::More if n == seen => sleep(AGAIN).await,
            Hello::More => seen = n,
        }
    }
}

/// Says that the name is not one of ours. What the client sent is read first: unread, it would turn the close into
/// a reset that eats the alert.
async fn refuse_name(stream: &mut TcpStream) {
    let mut sink = vec![0; HELLO_ROUTED_MAX];
    let _ = stream.try_read(&mut sink);
    let _ = stream.write_all(&UNRECOGNIZED_NAME).await;
    let _ = stream.shutdown().await;
    let rest = async { while matches!(stream.read(&mut sink).await, Ok(n) if n > 0) {} };
    let _ = timeout(LINGER, rest).await;
}
/// The source in a PROXY header; takes the header off the stream. A listed peer that sends none is itself the
/// caller.
async fn proxied(stream: &mut TcpStream) -> Result<Option<SocketAddr>, (&'static str, bool)> {
    const GONE: Failed = ("client closed before its proxy header was complete", false);
    let mut buf = vec![0; proxy::V2_MAX_BYTES];
    let mut seen = 0;
    loop {
        let n = stream.peek(&mut buf).await.map_err(|_| GONE)?;
        if n == 0 {
            return Ok(None);
        }
        match proxy::parse(buf.get(..n).unwrap_or_default()) {
            Ok(Proxied::Absent) => return Ok(None),
            Ok(Proxied::Header { header, len }) => {
                let taken = buf.get_mut(..len).ok_or(GONE)?;
                stream.read_exact(taken).await.map_err(|_| GONE)?;
                return Ok(header.source.filter(|_| !header.local));
            }
            Ok(Proxied::More) if n == seen => sleep(AGAIN).await,
            Ok(Proxied::More) => seen = n,
            Err(_) => return Err(("proxy header is broken", false)),
        }
    }
}

async fn fingerprint(stream: &TcpStream) -> String {
    let mut buf = vec![0; HELLO_MAX];
    for _ in 0..HELLO_LOOKS {
        let Ok(Ok(n)) = timeout(AGAIN * 20, stream.peek(&mut buf)).await else { break };
        let first = buf.get(..n).unwrap_or_default();
        match ja4::hello(first) {
            Hello::Whole(_) => return ja4::of_stream(first).unwrap_or_default(),
            Hello::More if n > 0 => sleep(AGAIN).await,
            Hello::More | Hello::Other => break,
        }
    }
    String::new()
}
