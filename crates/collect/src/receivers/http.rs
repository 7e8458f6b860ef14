//! The HTTP server of an input: HTTP/1.1 and HTTP/2, plain or TLS, all push protocols by their paths.
//!
//! A request is answered with success when what it carried is durable, and not before. One task a connection, one
//! request at a time on HTTP/1.1; what is in flight is bounded by the intake, connections by [`Settings`].

use super::audit::{self, Audit};
use super::body::{self, BodyError};
use super::edge::{self, Edges};
use super::halves::Halves;
use super::paths::{self, Endpoint};
use super::port::{self, Deliverer, Port};
use super::reply::Whole;
use super::{
    ACCEPT_AGAIN, HEAD_TIME, als, bulk, denied, events, grpc, hec, hooks, journal, loki, otlp, told,
};
use crate::intake::Refusal;
use bytes::Bytes;
use countersign_identity::{ServerTls, TlsIdentity};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// Streams on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;

/// How a server listens.
#[derive(Clone)]
pub struct Settings {
    /// TLS, with the protocols `h2` and `http/1.1`; `None` = plain.
    pub tls: Option<Arc<ServerTls>>,
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// Time for what is in flight when it stops.
    pub drain: Duration,
    /// The input is for edges of ours, and for nothing else; it needs `tls` that demands a certificate.
    pub edges: Option<Arc<Edges>>,
    /// Takes records of the audit draft; `None` = there is no `/v1/audit`.
    pub audit: Option<Audit>,
    /// Halves of calls that an earlier process of this input left; see [`Halves`].
    pub halves: Halves,
}

impl Settings {
    /// What a new connection is met with; `None` = plain. While there is no certificate every handshake fails.
    pub(super) fn acceptor(&self) -> Option<TlsAcceptor> {
        let tls = self.tls.as_ref()?;
        match tls.config_or_refusing() {
            Ok(config) => Some(TlsAcceptor::from(config)),
            Err(error) => {
                tracing::error!(%error, "no handshake is possible");
                None
            }
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        let drain = Duration::from_secs(10);
        Settings {
            tls: None,
            connections: 10_000,
            drain,
            edges: None,
            audit: None,
            halves: Halves::default(),
        }
    }
}

/// A reply with a body that is there already.
pub(super) type Reply = Response<Whole>;

/// What all connections of one server share.
struct Shared {
    port: Arc<Port>,
    desk: Arc<otlp::Desk>,
    channels: hec::Channels,
    edges: Option<Arc<Edges>>,
    audit: Option<Audit>,
    stop: watch::Receiver<bool>,
}

/// A request whose deliverer is known and whose body is here.
pub(super) struct Push {
    pub(super) port: Arc<Port>,
    pub(super) desk: Arc<otlp::Desk>,
    pub(super) deliverer: Deliverer,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Serves until `stop` says true, then finishes what is in flight.
pub async fn serve(
    listener: TcpListener,
    port: Arc<Port>,
    mut settings: Settings,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(settings.connections));
    let desk = Arc::new(otlp::Desk::new(&port));
    desk.resume(std::mem::take(&mut settings.halves), &port);
    let shared = Arc::new(Shared {
        port: Arc::clone(&port),
        desk: Arc::clone(&desk),
        channels: hec::Channels::default(),
        edges: settings.edges.clone(),
        audit: settings.audit.clone(),
        stop: stop.clone(),
    });
    let running = {
        let (port, desk, stop) = (Arc::clone(&port), Arc::clone(&desk), stop.clone());
        tokio::spawn(async move { desk.run(&port, stop).await })
    };
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let acceptor = settings.acceptor();
        if acceptor.is_none() && settings.tls.is_some() {
            continue;
        }
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            connection(stream, peer, shared, acceptor, stop).await;
            drop(place);
        });
    }
    let all = u32::try_from(settings.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(settings.drain, places.acquire_many(all)).await.is_err() {
        tracing::warn!("some senders were cut off; what was not answered is theirs to send again");
    }
    // It ends by itself; what it was about to write is written below otherwise.
    let _ = running.await;
    desk.close(&port).await;
    denied::close(&port).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) {
    // A reply is written at once; an error here shows itself at the first write.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return requests(stream, peer, shared, None, stop).await;
    };
    let Some(stream) = super::handshake(&acceptor, stream).await else { return };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let identity = shared.port.access.identities.as_ref().map(|identities| identities.from_tls(chain));
    requests(stream, peer, shared, identity, stop).await;
}

async fn requests<S>(
    stream: S,
    peer: SocketAddr,
    shared: Arc<Shared>,
    tls: Option<TlsIdentity>,
    mut stop: watch::Receiver<bool>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let tls = tls.map(Arc::new);
    let service = service_fn(move |request| {
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        async move {
            Ok::<_, std::convert::Infallible>(answer(&shared, Some(peer), tls.as_deref(), request).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = told(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(
    shared: &Shared,
    peer: Option<SocketAddr>,
    tls: Option<&TlsIdentity>,
    request: Request<Incoming>,
) -> Reply {
    let port = Arc::clone(&shared.port);
    if let Some(edges) = &shared.edges {
        return edge::answer(edges, &port, peer, tls, request).await;
    }
    let (head, body) = request.into_parts();
    let is_grpc = grpc::is(&head.headers);
    let path = head.uri.path().to_owned();
    let known = paths::endpoint(&head.method, &path);
    let Some(endpoint) = known.filter(|known| *known != Endpoint::Audit || shared.audit.is_some()) else {
        if is_grpc {
            return grpc::refuse(grpc::Code::Unimplemented, "no such method");
        }
        let known = paths::KNOWN;
        return text(StatusCode::NOT_FOUND, format!("nothing is received at {path}; known: {known}\n"));
    };
    if endpoint == Endpoint::Hec(hec::Call::Health) {
        return hec::health(&port);
    }
    let now_s = i64::try_from(port::now() / 1_000_000_000).unwrap_or(i64::MAX);
    let deliverer = match port.access.judge(peer, tls, &head.headers, now_s) {
        Ok(deliverer) => deliverer,
        Err(refused) => {
            denied::deny(&port, *refused, peer, "http").await;
            return unauthenticated(endpoint, &head.headers);
        }
    };
    if endpoint == Endpoint::Hook(hooks::Hook::Preflight) {
        return hooks::preflight(&head.headers);
    }
    if endpoint == Endpoint::Probe {
        return bulk::probe(&head.method, &path);
    }
    if endpoint == Endpoint::Als {
        return als::receive(&port, &deliverer, &head.headers, body, shared.stop.clone()).await;
    }
    if endpoint == Endpoint::Journal {
        return journal::receive(&port, &deliverer, body, shared.stop.clone()).await;
    }
    let body = match body::whole(&head.headers, body).await {
        Ok(body) => body,
        Err(error) => return no_body(&port, error, is_grpc),
    };
    let query = head.uri.query().unwrap_or_default().to_owned();
    let desk = Arc::clone(&shared.desk);
    let push = Push { port, desk, deliverer, path, query, headers: head.headers, body };
    match endpoint {
        Endpoint::Events => events::receive(push).await,
        Endpoint::Kubernetes => events::kubernetes(push).await,
        Endpoint::Bulk => bulk::receive(push).await,
        Endpoint::Otlp(signal) => otlp::receive(push, signal).await,
        Endpoint::Hec(call) => hec::receive(push, call, &shared.channels).await,
        Endpoint::Loki => loki::receive(push).await,
        Endpoint::Audit => match &shared.audit {
            Some(audit) => audit::receive(push, audit).await,
            None => text(StatusCode::NOT_FOUND, String::new()),
        },
        Endpoint::Hook(hook) => hooks::receive(push, hook).await,
        Endpoint::Als | Endpoint::Journal | Endpoint::Probe => text(StatusCode::OK, String::new()),
    }
}

/// The request's sender showed no credential that passes.
fn unauthenticated(endpoint: Endpoint, headers: &HeaderMap) -> Reply {
    const WHY: &str = "a credential is needed that this input knows";
    if grpc::is(headers) {
        return grpc::refuse(grpc::Code::Unauthenticated, WHY);
    }
    if let Endpoint::Hec(_) = endpoint {
        return hec::unauthenticated(headers);
    }
    if let Endpoint::Hook(hooks::Hook::Set) = endpoint {
        return hooks::unauthenticated();
    }
    let mut reply = text(StatusCode::UNAUTHORIZED, format!("{WHY}\n"));
    reply.headers_mut().insert("www-authenticate", HeaderValue::from_static("Bearer"));
    reply
}

fn no_body(port: &Port, error: BodyError, is_grpc: bool) -> Reply {
    let (status, reason, why) = match error {
        BodyError::TooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is larger than 32 MiB\n")
        }
        BodyError::Encoding => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoding", "only gzip and identity are known\n")
        }
        BodyError::Broken => {
            (StatusCode::BAD_REQUEST, "broken_body", "the body is not the gzip that it says\n")
        }
        BodyError::Cut => (StatusCode::BAD_REQUEST, "cut_body", "the body did not end\n"),
    };
    port.intake.rejected(1, reason);
    if is_grpc {
        return grpc::refuse(grpc::Code::InvalidArgument, why.trim_end());
    }
    text(status, why.into())
}

/// A reply of plain text.
pub(super) fn text(status: StatusCode, text: String) -> Reply {
    reply(status, "text/plain; charset=utf-8", text)
}

/// A reply of JSON.
pub(super) fn json(status: StatusCode, json: String) -> Reply {
    reply(status, "application/json", json)
}

/// A reply of bytes.
pub(super) fn bytes(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Reply {
    reply(status, kind, body)
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Whole::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    reply
}

/// What a sender is told that should come again: 429 with a time when there is too much, else 503.
pub(super) fn again(refusal: &Refusal) -> (StatusCode, Option<u64>) {
    match refusal {
        Refusal::Busy(_) => (StatusCode::TOO_MANY_REQUESTS, Some(1)),
        Refusal::Late | Refusal::Stopped => (StatusCode::SERVICE_UNAVAILABLE, Some(5)),
    }
}

/// [`again`] as a reply with `body`.
pub(super) fn come_again(refusal: &Refusal, body: String) -> Reply {
    let (status, seconds) = again(refusal);
    let mut reply = json(status, body);
    if let Some(seconds) = seconds {
        reply.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    reply
}
