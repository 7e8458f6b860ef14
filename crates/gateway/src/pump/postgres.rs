//! How PostgreSQL connections begin, on both sides, before the framer sees a byte: requests for encryption.
//!
//! Towards callers: GSSENCRequest is answered `N`, SSLRequest `S` or `N`, direct TLS is told by its first
//! byte. Towards the server: SSLRequest, or direct TLS, or neither. Invariants: nothing that came in the
//! clear is taken for what came encrypted (CVE-2021-23222); at most [`REQUESTS_MAX`] requests are answered; a
//! start-up packet passes unread to the framer.

use super::connect::ConnectError;
use super::greet::AGAIN;
use super::io::Io;
use super::serve::secure;
use super::worker::{Route, Worker};
use crate::config::{Durability, Listener, Protocol, Scram};
use crate::error::GatewayError;
use crate::ring::Secured;
use bytes::Bytes;
use countersign_wire::postgres::answer::fatal;
use countersign_wire::postgres::start::{ALPN, CANCEL_CODE, GSS_CODE, SSL_CODE, SSL_REQUEST};
use countersign_wire::postgres::{Framer, FramerOptions};
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

/// Requests for encryption that one connection may make: GSSAPI, then TLS, and one more.
const REQUESTS_MAX: usize = 3;
/// First byte of a TLS record with a client hello. No start-up packet is as long as it would say.
const HANDSHAKE: u8 = 0x16;

/// A connection that was greeted: its stream, what TLS showed, and clear bytes that were read already.
pub(super) type Greeted = (Io, Option<Secured>, Bytes);
/// Why it was not, and whether it took too long.
pub(super) type NotGreeted = (&'static str, bool);

/// Answers requests for encryption until the caller begins, at most for the time of a TLS handshake each.
pub(super) async fn greet(worker: &Worker, route: &Route, stream: TcpStream) -> Result<Greeted, NotGreeted> {
    match timeout(worker.limits.tls_handshake, requests(worker, route, stream)).await {
        Ok(greeted) => greeted,
        Err(_) => Err(("postgresql: nothing was begun in time", true)),
    }
}

async fn requests(worker: &Worker, route: &Route, mut stream: TcpStream) -> Result<Greeted, NotGreeted> {
    for _ in 0..REQUESTS_MAX {
        let mut first = [0];
        if !matches!(stream.peek(&mut first).await, Ok(1)) {
            // A probe that never speaks. The flow will see its end.
            return Ok((Io::Clear(stream), None, Bytes::new()));
        }
        if first == [HANDSHAKE] && route.tls.load().acceptor.is_some() {
            return direct(worker, route, stream).await;
        }
        let mut head = [0; 8];
        if let Err(partial) = read_head(&mut stream, &mut head).await {
            return Ok((Io::Clear(stream), None, Bytes::copy_from_slice(head.get(..partial).unwrap_or(&[]))));
        }
        let code = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        match code {
            GSS_CODE | SSL_CODE if head[..4] == [0, 0, 0, 8] => {}
            _ => return clear(route, stream, code, head).await,
        }
        if has_more(&stream) {
            return Err(("postgresql: bytes followed a request for encryption before its answer", false));
        }
        if code == SSL_CODE && route.tls.load().acceptor.is_some() {
            stream.write_all(b"S").await.map_err(|_| ("postgresql: caller left", false))?;
            let (io, secured) = secure(worker, route, stream).await?;
            return Ok((io, secured, Bytes::new()));
        }
        stream.write_all(b"N").await.map_err(|_| ("postgresql: caller left", false))?;
    }
    Err(("postgresql: too many requests for encryption", false))
}

/// On an address with several ways: answers requests for encryption as far as the handshake whose server name
/// chooses one. Whether TLS was asked for; nothing else is taken off the stream.
pub(super) async fn asks_for_tls(stream: &mut TcpStream) -> Result<bool, NotGreeted> {
    for _ in 0..REQUESTS_MAX {
        let tls = match front(stream).await {
            Some(head) if head == SSL_REQUEST => true,
            Some([0, 0, 0, 8, code @ ..]) if u32::from_be_bytes(code) == GSS_CODE => false,
            _ => return Ok(false),
        };
        let mut head = [0; 8];
        if read_head(stream, &mut head).await.is_err() || has_more(stream) {
            return Err(("postgresql: bytes followed a request for encryption before its answer", false));
        }
        let answer: &[u8] = if tls { b"S" } else { b"N" };
        stream.write_all(answer).await.map_err(|_| ("postgresql: caller left", false))?;
        if tls {
            return Ok(true);
        }
    }
    Err(("postgresql: too many requests for encryption", false))
}

/// Whether a cancellation is at the front of the stream.
pub(super) async fn is_cancellation(stream: &TcpStream) -> bool {
    let head = front(stream).await;
    head.is_some_and(|[_, _, _, _, code @ ..]| u32::from_be_bytes(code) == CANCEL_CODE)
}

/// The first 8 bytes of the stream, left on it; `None` = it does not begin as this protocol does, or ended.
async fn front(stream: &TcpStream) -> Option<[u8; 8]> {
    let mut head = [0; 8];
    loop {
        match stream.peek(&mut head).await {
            Ok(8) if head[0] == 0 => return Some(head),
            Ok(1..8) if head[0] == 0 => sleep(AGAIN).await,
            _ => return None,
        }
    }
}

/// Fills `head`; with the stream's end before that, how much came.
async fn read_head(stream: &mut TcpStream, head: &mut [u8; 8]) -> Result<(), usize> {
    let mut have = 0;
    while have < head.len() {
        match stream.read(head.get_mut(have..).unwrap_or_default()).await {
            Ok(n) if n > 0 => have += n,
            _ => return Err(have),
        }
    }
    Ok(())
}

/// Whether bytes wait to be read.
fn has_more(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let mut buffer = tokio::io::ReadBuf::new(&mut byte);
    let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
    let peeked = stream.poll_peek(&mut nobody, &mut buffer);
    matches!(peeked, std::task::Poll::Ready(Ok(n)) if n > 0)
}

/// TLS without an SSLRequest is for this protocol alone when it says so by ALPN, as the server demands too.
async fn direct(worker: &Worker, route: &Route, stream: TcpStream) -> Result<Greeted, NotGreeted> {
    let (io, secured) = secure(worker, route, stream).await?;
    if secured.as_ref().is_none_or(|s| s.tls.alpn.as_bytes() != ALPN) {
        return Err(("postgresql: direct TLS without ALPN postgresql", false));
    }
    Ok((io, secured, Bytes::new()))
}

/// A session or cancellation begins in the clear.
async fn clear(
    route: &Route,
    mut stream: TcpStream,
    code: u32,
    head: [u8; 8],
) -> Result<Greeted, NotGreeted> {
    if route.tls.load().acceptor.is_some() && !route.postgres.clear_text && code != CANCEL_CODE {
        let answer = fatal("28000", "this listener asks for TLS: connect with sslmode=require (countersign)");
        let _ = stream.write_all(&answer).await;
        return Err(("postgresql: session without TLS refused", false));
    }
    Ok((Io::Clear(stream), None, Bytes::copy_from_slice(&head)))
}

/// The framer of a connection on `route`.
pub(super) fn framer(route: &Route) -> Framer {
    // In the other two choices the gateway itself is one end of the exchange.
    let clashes = matches!(route.postgres.scram, Scram::Unset | Scram::Unbound);
    let no_binding = route.tls.load().connector.is_some() && clashes;
    Framer::new(FramerOptions { no_binding, whole: route.durability == Durability::Strict })
}

/// Asks the server for TLS, where it wants to be asked.
pub(super) async fn request_tls(route: &Route, stream: &mut TcpStream) -> Result<(), ConnectError> {
    if route.protocol != Protocol::Postgres || route.postgres.direct_tls {
        return Ok(());
    }
    let failed = |why| ConnectError { status: 502, why };
    stream.write_all(&SSL_REQUEST).await.map_err(|_| failed("upstream closed during its greeting"))?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await.map_err(|_| failed("upstream closed during its greeting"))?;
    match answer {
        [b'S'] if !has_more(stream) => Ok(()),
        [b'S'] => Err(failed("upstream sent bytes before its TLS handshake")),
        [b'N'] => Err(failed("upstream does not offer TLS")),
        _ => Err(failed("upstream refused the request for TLS")),
    }
}

/// The server's UNIX socket, when `host` is the directory that it is in.
pub(super) async fn unix(route: &Route) -> Option<io::Result<UnixStream>> {
    if route.protocol != Protocol::Postgres || !route.host.starts_with('/') {
        return None;
    }
    let path = PathBuf::from(&route.host).join(format!(".s.PGSQL.{}", route.port));
    Some(UnixStream::connect(path).await)
}

/// Refuses settings that cannot work, before anything listens.
pub(crate) fn check(listener: &Listener) -> Result<(), GatewayError> {
    let fail = |why: &str| Err(GatewayError::Config { listener: listener.name.clone(), why: why.to_owned() });
    let encrypted = listener.upstream.tls.is_some();
    match &listener.postgres.scram {
        Scram::Identity(_) if listener.tls.is_none() => fail(
            "scram = \"identity\" needs tls on the listener: callers prove themselves by a certificate, or by a token inside it",
        ),
        Scram::Unbound if encrypted => fail(
            "scram = \"unbound\" means a server without TLS, and this one is reached by TLS; drop the upstream's tls or use \"same-certificate\"",
        ),
        Scram::SameCertificate if listener.tls.is_none() => fail(
            "scram = \"same-certificate\" needs tls on the listener, with the server's own certificate and key",
        ),
        _ if listener.upstream.host.starts_with('/') && encrypted => {
            fail("a UNIX socket has no TLS; drop the upstream's tls")
        }
        _ => Ok(()),
    }
}

/// TLS towards callers of `listener`: the protocol's own ALPN name.
pub(crate) fn accepting(listener: &Listener, config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    if listener.protocol != Protocol::Postgres {
        return config;
    }
    let mut config = ServerConfig::clone(&config);
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

/// TLS towards the server of `listener`: the protocol's own ALPN name.
pub(crate) fn connecting(listener: &Listener, config: Arc<ClientConfig>) -> Arc<ClientConfig> {
    if listener.protocol != Protocol::Postgres {
        return config;
    }
    let mut config = ClientConfig::clone(&config);
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}
