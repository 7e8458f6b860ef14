//! One client connection from accept to close: handshake, flow, last tap. Whatever happens, even a panic,
//! the decoder gets a [`What::Close`].

use super::connect::learn_h2;
use super::door::Door;
use super::flow::Flow;
use super::greet::{Greeting, Way, greet};
use super::h2::{Http2, Start};
use super::io::Io;
use super::login::Noted;
use super::postgres;
use super::worker::{Route, Worker};
use crate::config::{Durability, Protocol};
use crate::login::LoginFiles;
use crate::ring::{ConnOpen, Gate, Secured, Tap, What, Why};
use crate::stats::count;
use bytes::Bytes;
use countersign_event::Tls;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Numbers the connections of the process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Gives back what a connection holds, and tells the decoder, also when its task panics.
struct Guard {
    worker: Arc<Worker>,
    door: Arc<Door>,
    conn: u64,
    /// The connection's taps go to the ring of strict routes.
    strict: bool,
    identity: Option<String>,
    end: Option<(u64, u64, Why)>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (up, down, why) = self.end.take().unwrap_or((0, 0, Why::Cut("the gateway's own fault")));
        if std::thread::panicking() {
            count(&self.worker.counters.panics);
        }
        let t = self.worker.clock.monotonic_ns();
        let close = Tap { conn: self.conn, t, what: What::Close { up, down, why } };
        self.worker.ring(self.strict).push(&mut vec![close]);
        self.worker.drain.forget(self.conn);
        self.worker.counters.open.fetch_sub(1, Ordering::Relaxed);
        self.door.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(id) = &self.identity {
            let mut all = self.worker.by_identity.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(n) = all.get_mut(id) {
                *n -= 1;
                if *n == 0 {
                    all.remove(id);
                }
            }
        }
    }
}

/// What a connection goes on as, once it is greeted, secured and admitted.
enum Begun {
    Flow(Box<Flow>),
    Http2(Box<Start>),
}

/// Serves one accepted connection. Its place in the limits was taken by the caller and is given back here.
///
/// Each stage is boxed and gone when the next begins, so that a connection that waits holds its flow, and
/// nothing of what led to it. A test below bounds what that comes to.
pub(crate) async fn serve(worker: Arc<Worker>, door: Arc<Door>, stream: TcpStream, src: SocketAddr) {
    let conn = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut guard = Guard { worker, door, conn, strict: false, identity: None, end: None };
    let start = match Box::pin(begin(&mut guard, stream, src)).await {
        None => return,
        Some(Begun::Http2(start)) => start,
        Some(Begun::Flow(mut flow)) => {
            let why = drive(&guard.worker, conn, |cx| flow.poll(cx)).await;
            flow.hand_over();
            let (up, down) = flow.totals();
            match flow.into_http2() {
                Some(start) => Box::new(start),
                None => {
                    guard.end = Some((up, down, why));
                    return;
                }
            }
        }
    };
    guard.end = Some(Box::pin(serve_http2(&guard.worker, start)).await);
}

/// Everything before the connection's own bytes. `None` = it has ended, and the guard knows how.
async fn begin(guard: &mut Guard, mut stream: TcpStream, src: SocketAddr) -> Option<Begun> {
    let (worker, conn) = (Arc::clone(&guard.worker), guard.conn);
    let _ = stream.set_nodelay(true);
    let dst = stream.local_addr().unwrap_or(src);
    let waiting = Arc::new(AtomicUsize::new(0));
    let (greeting, way) = greet(&worker, &guard.door, &mut stream, src).await;
    let route = Arc::clone(way.as_ref().map_or(&guard.door.own, |way| &way.route));
    guard.strict = route.durability == Durability::Strict;
    let gate = guard.strict.then(Arc::<Gate>::default);
    let open = ConnOpen { route: route.index, src, dst, waiting, gate };
    let tap = |what| worker.push(&route, &mut vec![Tap { conn, t: worker.clock.monotonic_ns(), what }]);
    tap(What::Open(Box::new(open.clone())));
    let Greeting { hop, ja4, sni } = greeting;
    if hop.is_some() || !ja4.is_empty() || !sni.is_empty() {
        tap(What::Greeted { hop, ja4, sni });
    }
    let asked = match way {
        Ok(Way { asked, .. }) => asked,
        Err(failed) => {
            handshake_failed(guard, &route, failed);
            return None;
        }
    };
    let greeted = match route.protocol {
        _ if route.pass_through => Ok((Io::Clear(stream), None, Bytes::new())),
        Protocol::Postgres if !asked => postgres::greet(&worker, &route, stream).await,
        _ => secure(&worker, &route, stream).await.map(|(io, secured)| (io, secured, Bytes::new())),
    };
    let (client, secured, head) = match greeted {
        Ok(greeted) => greeted,
        Err(failed) => {
            count(&worker.counters.tls_failed);
            handshake_failed(guard, &route, failed);
            return None;
        }
    };
    let http2 = route.protocol == Protocol::Http2 || secured.as_ref().is_some_and(|s| s.tls.alpn == "h2");
    let mut end_point = None;
    let secured = secured.map(|mut secured| {
        end_point = secured.end_point.take();
        let identity = secured.identity.clone();
        tap(What::Secured(Box::new(secured)));
        identity
    });
    if !admit(&worker, secured.as_ref(), guard) {
        worker.will_record_on(&route, 1);
        count(&worker.counters.refused_limit);
        tap(What::Limited { open: Box::new(open), n: 1, which: "connections of one identity" });
        guard.end = Some((0, 0, Why::Done));
        return None;
    }
    if http2 {
        let ConnOpen { waiting, gate, .. } = open;
        let start = Start { worker, route, conn, client, head, peer: src, waiting, secured, gate };
        return Some(Begun::Http2(Box::new(start)));
    }
    let mut flow =
        Box::new(Flow::new(worker, route, conn, client, &open, (secured.map(Box::new), end_point)));
    flow.begin_with(head);
    Some(Begun::Flow(flow))
}

fn handshake_failed(guard: &mut Guard, route: &Route, (why, timeout): (&'static str, bool)) {
    let worker = &guard.worker;
    worker.will_record_on(route, 1);
    let what = What::HandshakeFailed { why, timeout };
    worker.push(route, &mut vec![Tap { conn: guard.conn, t: worker.clock.monotonic_ns(), what }]);
    guard.end = Some((0, 0, Why::Done));
}

async fn serve_http2(worker: &Worker, start: Box<Start>) -> (u64, u64, Why) {
    let conn = start.conn;
    let mut http2 = Http2::new(*start);
    let why = drive(worker, conn, |cx| http2.poll(cx)).await;
    let (up, down) = http2.totals();
    (up, down, why)
}

/// Polls a connection to its end; a shutdown of the gateway wakes it.
async fn drive(worker: &Worker, conn: u64, mut poll: impl FnMut(&mut Context<'_>) -> Poll<Why>) -> Why {
    let mut registered = false;
    poll_fn(|cx| {
        if !registered {
            registered = true;
            worker.drain.register(conn, cx.waker().clone());
        }
        poll(cx)
    })
    .await
}

/// Counts a connection of a verified identity; `false` when it has too many.
fn admit(worker: &Worker, identity: Option<&countersign_identity::TlsIdentity>, guard: &mut Guard) -> bool {
    let Some(id) = identity.and_then(|i| i.principal.as_ref()).map(|p| p.id.clone()) else { return true };
    let mut all = worker.by_identity.lock().unwrap_or_else(PoisonError::into_inner);
    let n = all.entry(id.clone()).or_insert(0);
    if *n >= worker.limits.connections_identity {
        return false;
    }
    *n += 1;
    guard.identity = Some(id);
    true
}

pub(super) async fn secure(
    worker: &Worker,
    route: &Route,
    stream: TcpStream,
) -> Result<(Io, Option<Secured>), (&'static str, bool)> {
    let tls = route.tls.load_full();
    if tls.acceptor_h1.is_some() && !route.knows_h2.load(Ordering::Relaxed) {
        Box::pin(learn_h2(route, &worker.limits)).await;
    }
    let never = route.no_h2.load(Ordering::Relaxed) || !route.knows_h2.load(Ordering::Relaxed);
    let offered = match &tls.acceptor_h1 {
        Some(h1) if never => Some(h1),
        _ => tls.acceptor.as_ref(),
    };
    let Some(acceptor) = offered else { return Ok((Io::Clear(stream), None)) };
    let noted = matches!(tls.login, Some(LoginFiles::Verify(_))).then(|| Noted::new(acceptor));
    let acceptor = noted.as_ref().map_or(acceptor, |noted| &noted.acceptor);
    // Boxed, or every connection of the process would keep the room that a handshake takes.
    let handshake = Box::pin(timeout(worker.limits.tls_handshake, acceptor.accept(stream)));
    let stream = match handshake.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err((handshake_reason(&e), false)),
        Err(_) => return Err(("tls handshake took too long", true)),
    };
    let session = stream.get_ref().1;
    let identity = worker.identities.from_tls(session.peer_certificates().unwrap_or_default());
    let tls = Tls {
        version: session.protocol_version().map(|v| u64::from(u16::from(v))),
        cipher: session.negotiated_cipher_suite().map(|c| u64::from(u16::from(c.suite()))),
        sni: session.server_name().unwrap_or_default().to_owned(),
        alpn: String::from_utf8_lossy(session.alpn_protocol().unwrap_or_default()).into_owned(),
        peer_cert: identity.cert_sha256,
        resumed: Some(session.handshake_kind() == Some(rustls::HandshakeKind::Resumed)),
        group: session.negotiated_key_exchange_group().map(|g| u64::from(u16::from(g.name()))),
        ..Tls::default()
    };
    let end_point = noted.and_then(|noted| noted.end_point());
    Ok((Io::Accepted(Box::new(stream)), Some(Secured { tls, identity, end_point })))
}

/// Fixed words for the record: what a peer sent must not get in through an error's text.
fn handshake_reason(e: &std::io::Error) -> &'static str {
    let inner = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::NoCertificatesPresented) => "tls: client certificate required and not shown",
        Some(rustls::Error::InvalidCertificate(_)) => "tls: client certificate refused",
        Some(rustls::Error::AlertReceived(_)) => "tls: client ended the handshake with an alert",
        Some(rustls::Error::InvalidMessage(_)) => "tls: not a tls handshake",
        Some(rustls::Error::PeerIncompatible(_)) => "tls: no common version or cipher suite",
        Some(_) => "tls: handshake failed",
        None => "tls: client closed during the handshake",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the future that `f` would give.
    fn size_of_future<A, B, C, D, F>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// Every connection of the process pays for these while it waits, whatever its protocol: what is rare or
    /// large belongs in a box of its own.
    #[test]
    fn a_connection_that_waits_holds_little() {
        let (task, flow) = (size_of_future(serve), size_of::<Flow>());
        assert!(task <= 320, "{task} bytes of task");
        assert!(flow <= 960, "{flow} bytes of flow");
    }
}
