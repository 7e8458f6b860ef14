//! What comes before a connection's own bytes: a PROXY protocol header from peers that are listed for it, and a
//! look at the TLS ClientHello for its fingerprint. Nothing but the header is taken off the stream.

use super::worker::{Route, Worker};
use countersign_wire::ja4::{self, Hello};
use countersign_wire::proxy::{self, Proxied};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Pause before the same unfinished bytes are looked at again.
const AGAIN: Duration = Duration::from_millis(5);
/// Looks at a ClientHello that arrives in pieces; a fingerprint is a hint and not worth more.
const HELLO_LOOKS: u32 = 4;
/// Bytes of a ClientHello that are looked at; longer ones have no fingerprint.
const HELLO_MAX: usize = 4 << 10;

/// What was seen.
pub(super) struct Greeting {
    /// Who connected to the proxy before us, as that proxy says.
    pub(super) hop: Option<SocketAddr>,
    /// JA4; empty = none.
    pub(super) ja4: String,
}

/// Looks before the connection begins. The second of an error is whether time ran out.
pub(super) async fn greet(
    worker: &Worker,
    route: &Route,
    stream: &mut TcpStream,
    src: SocketAddr,
) -> Result<Greeting, (&'static str, bool)> {
    let hop = if worker.identities.is_forwarder(src.ip(), None) {
        let header = timeout(worker.limits.tls_handshake, proxied(stream)).await;
        header.map_err(|_| ("proxy header took too long", true))??
    } else {
        None
    };
    let ja4 = if route.tls.load().acceptor.is_some() { fingerprint(stream).await } else { String::new() };
    Ok(Greeting { hop, ja4 })
}

/// The source in a PROXY header; takes the header off the stream. A listed peer that sends none is itself the
/// caller.
async fn proxied(stream: &mut TcpStream) -> Result<Option<SocketAddr>, (&'static str, bool)> {
    const GONE: (&str, bool) = ("client closed before its proxy header was complete", false);
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
