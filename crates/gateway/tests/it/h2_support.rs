//! HTTP/2 for tests: a server of closures, a client, raw frames, and a rig whose listener speaks it.

use crate::support::{Client, PATIENCE, Rig};
use bytes::Bytes;
use countersign_event::Event;
use countersign_gateway::{GatewayConfig, Protocol};
use h2::RecvStream;
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{Request, Response};
use std::future::Future;
use std::io::Read;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};

pub(crate) type Handled = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Method and path of every request that a server was sent.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

/// A clear-text HTTP/2 server on a thread of its own.
pub(crate) fn serve(
    handle: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> Handled + Send + Sync + 'static,
) -> (SocketAddr, Log) {
    let log = Log::default();
    (serve_quiet(handle, Some(log.clone())), log)
}

/// As [`serve`]; what is asked is noted only where somebody wants it.
pub(crate) fn serve_quiet(
    handle: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> Handled + Send + Sync + 'static,
    log: Option<Log>,
) -> SocketAddr {
    let handle = Arc::new(handle);
    let (told, address) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (handle, log) = (handle.clone(), log.clone());
                tokio::spawn(async move {
                    let mut builder = h2::server::Builder::new();
                    builder.max_concurrent_streams(1000);
                    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        if let Some(log) = &log {
                            let line = format!("{} {}", request.method(), request.uri().path());
                            log.lock().unwrap().push(line);
                        }
                        if request.uri().path() == "/leave" {
                            connection.graceful_shutdown();
                        }
                        tokio::spawn(handle(request, respond));
                    }
                });
            }
        });
    });
    address.recv().unwrap()
}

/// Answers every request with 200 and `body`.
pub(crate) fn ok(body: &'static str) -> (SocketAddr, Log) {
    serve(move |_, mut respond| {
        Box::pin(async move {
            let mut to = respond.send_response(Response::new(()), false).unwrap();
            to.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
        })
    })
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs `work` with patience.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    runtime().block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") })
}

/// A rig whose listener speaks HTTP/2 only.
pub(crate) fn rig(upstream: SocketAddr) -> Rig {
    Rig::with(upstream, http2)
}

pub(crate) fn http2(config: &mut GatewayConfig) {
    config.listeners[0].protocol = Protocol::Http2;
}

/// A client's connection; it is driven in the background.
pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    connect_with(address, |_| {}).await
}

pub(crate) async fn connect_with(
    address: SocketAddr,
    change: impl FnOnce(&mut h2::client::Builder),
) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut builder = h2::client::Builder::new();
    change(&mut builder);
    let (send, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    send
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.example{path}")).body(()).unwrap()
}

/// The rest of a message.
pub(crate) async fn body(from: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(part) = from.data().await {
        let part = part?;
        let _ = from.flow_control().release_capacity(part.len());
        all.extend_from_slice(&part);
    }
    Ok(all)
}

/// Sends a request without a body and reads the whole answer.
pub(crate) async fn fetch(
    send: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> Result<(http::response::Parts, Vec<u8>), h2::Error> {
    std::future::poll_fn(|cx| send.poll_ready(cx)).await?;
    let (response, _) = send.send_request(request, true)?;
    let (parts, mut from) = response.await?.into_parts();
    let body = body(&mut from).await?;
    Ok((parts, body))
}

/// A frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literals that touch no table (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            bytes.push(text.len() as u8);
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// Request fields of a GET.
pub(crate) fn get_block(path: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)])
}

/// A raw connection on which preface and SETTINGS were sent.
pub(crate) fn raw(address: SocketAddr) -> Client {
    let mut client = Client::new(address);
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(frame(4, 0, 0, &[]));
    client
}

/// One frame: kind, flags, stream, payload. `None` at the end.
pub(crate) fn next(client: &mut Client) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    client.0.read_exact(&mut head).ok()?;
    let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; len];
    client.0.read_exact(&mut payload).ok()?;
    Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

/// The error code of the GOAWAY that ends the connection.
pub(crate) fn goaway(client: &mut Client) -> Option<u32> {
    let mut code = None;
    while let Some((kind, _, _, payload)) = next(client) {
        if kind == 7 {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    code
}

pub(crate) fn uint(event: &Event, key: u64) -> Option<u64> {
    match event.content.detail.get(&key) {
        Some(countersign_event::cbor::Value::Uint(n)) => Some(*n),
        _ => None,
    }
}
