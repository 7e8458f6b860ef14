//! The upstream connection of one client connection: made once, when there is something to send.

use super::io::Io;
use super::postgres;
use super::worker::Route;
use crate::config::Limits;
use crate::tls::Connector;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a client of HTTP/2 with prior knowledge begins with, and an empty frame of SETTINGS.
const PREFACE_AND_SETTINGS: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Type of that frame (RFC 9113 section 6.5).
const SETTINGS: u8 = 4;
/// How long a server has to accept, and to say whether it speaks HTTP/2; a caller waits for that once.
const LEARN_MAX: Duration = Duration::from_secs(2);

/// State of the connection to the server.
pub(crate) enum Upstream {
    Idle,
    Connecting(Pin<Box<dyn Future<Output = Result<Io, ConnectError>> + Send>>),
    Ready(Io),
    /// Failed, or given up: nothing more goes there.
    Gone,
}

/// Why there is no connection, and what the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectError {
    pub(crate) status: u16,
    pub(crate) why: &'static str,
}

/// A connection that is being made.
pub(crate) type Dialling = Pin<Box<dyn Future<Output = Result<Io, ConnectError>> + Send>>;

/// Starts connecting to the server of `route`.
pub(crate) fn connect(route: Arc<Route>, limits: Arc<Limits>) -> Upstream {
    Upstream::Connecting(Box::pin(async move {
        if let Ok(Some(socket)) = timeout(limits.connect, postgres::unix(&route)).await {
            return match socket {
                Ok(socket) => Ok(Io::Unix(socket)),
                Err(e) => Err(ConnectError { status: 502, why: reason(&e) }),
            };
        }
        let connector = route.tls.load().connector.clone();
        dial(&route, &limits, connector).await
    }))
}

/// Starts connecting to the server of `route` for HTTP/2: clear text with prior knowledge, or TLS in which the
/// server chose it.
pub(crate) fn dial_h2(route: Arc<Route>, limits: Arc<Limits>) -> Dialling {
    Box::pin(async move {
        let connector = route.tls.load().connector_h2.clone();
        let io = dial(&route, &limits, connector).await?;
        if io.buffers() && io.alpn() != Some(b"h2") {
            route.no_h2.store(true, Ordering::Relaxed);
            return Err(ConnectError { status: 502, why: "upstream does not offer HTTP/2 (ALPN)" });
        }
        Ok(io)
    })
}

/// Asks the server of `route` whether it speaks HTTP/2, before callers are offered it: in TLS by ALPN, in clear text
/// by the preface, to which only HTTP/2 answers with SETTINGS (RFC 9113 section 3.4). Asks again at the next call when
/// the server is not there.
pub(crate) async fn learn_h2(route: &Route, limits: &Limits) {
    let connector = route.tls.load().connector_h2.clone();
    let Ok(Ok(mut io)) = timeout(LEARN_MAX, dial(route, limits, connector)).await else { return };
    let speaks = if io.buffers() {
        io.alpn() == Some(b"h2")
    } else {
        let mut first = [0; 4];
        let asked = timeout(LEARN_MAX, async {
            io.write_all(PREFACE_AND_SETTINGS).await?;
            io.read_exact(&mut first).await
        });
        // A server that closes, or says nothing, has not understood.
        matches!(asked.await, Ok(Ok(_))) && first.get(3) == Some(&SETTINGS)
    };
    route.no_h2.store(!speaks, Ordering::Relaxed);
    route.knows_h2.store(true, Ordering::Relaxed);
}

async fn dial(route: &Route, limits: &Limits, connector: Option<Connector>) -> Result<Io, ConnectError> {
    let mut stream = match timeout(limits.connect, tcp(route)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err(ConnectError { status: 502, why: reason(&e) }),
        Err(_) => return Err(ConnectError { status: 504, why: "upstream did not accept in time" }),
    };
    // Small messages must not wait for Nagle; failure only costs latency.
    let _ = stream.set_nodelay(true);
    let Some((connector, name)) = connector else { return Ok(Io::Clear(stream)) };
    match timeout(limits.connect, postgres::request_tls(route, &mut stream)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(ConnectError { status: 504, why: "upstream did not answer in time" }),
    }
    match timeout(limits.tls_handshake, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Io::Connected(Box::new(stream))),
        Ok(Err(_)) => Err(ConnectError { status: 502, why: "upstream TLS handshake failed" }),
        Err(_) => Err(ConnectError { status: 504, why: "upstream TLS handshake took too long" }),
    }
}

async fn tcp(route: &Route) -> io::Result<TcpStream> {
    match route.host.parse::<IpAddr>() {
        Ok(ip) => TcpStream::connect((ip, route.port)).await,
        Err(_) => TcpStream::connect((route.host.as_str(), route.port)).await,
    }
}

fn reason(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => "upstream refused the connection",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "upstream is unreachable",
        io::ErrorKind::TimedOut => "upstream did not accept in time",
        io::ErrorKind::AddrNotAvailable => "no local port is free towards the upstream",
        _ => "upstream cannot be reached",
    }
}
