//! HTTP/2 by ALPN on both sides, and who calls over it.

use crate::h2_support::{fetch, ok, run};
use crate::support::Rig;
use bytes::Bytes;
use countersign_event::{Auth, Outcome, Verified};
use countersign_gateway::{ListenerTls, Protocol, UpstreamTls};
use countersign_identity::authority::Authority;
use countersign_identity::{ClientAuth, IdentityConfig, client_tls, server_tls};
use countersign_policy::PolicySet;
use h2::client::SendRequest;
use http::Request;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A throw-away trust domain: its authority, and a certificate and key by name.
struct World {
    dir: tempfile::TempDir,
    authority: Authority,
    identity: IdentityConfig,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("example.org", now_s()).unwrap();
        let files = authority.write(dir.path()).unwrap();
        let identity = IdentityConfig {
            trust: vec![authority.trust(&files)],
            jwt: vec![authority.jwt(&files, "orders")],
            ..IdentityConfig::default()
        };
        World { dir, authority, identity }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn files(&self, name: &str) -> (PathBuf, PathBuf) {
        let issued = self.authority.issue(&format!("/{name}"), &["localhost"]).unwrap();
        let (cert, key) =
            (self.dir.path().join(format!("{name}.pem")), self.dir.path().join(format!("{name}.key")));
        std::fs::write(&cert, &issued.cert_pem).unwrap();
        std::fs::write(&key, &issued.key_pem).unwrap();
        (cert, key)
    }

    fn rig(&self, upstream: SocketAddr, secured_upstream: bool) -> Rig {
        self.rig_of(Protocol::Auto, upstream, secured_upstream)
    }

    fn rig_of(&self, protocol: Protocol, upstream: SocketAddr, secured_upstream: bool) -> Rig {
        let (cert, key) = self.files("gw");
        let tls = ListenerTls {
            cert,
            key,
            client_ca: vec![self.ca()],
            client_auth: ClientAuth::Optional,
            ..ListenerTls::default()
        };
        let up =
            UpstreamTls { ca: vec![self.ca()], server_name: "localhost".into(), ..UpstreamTls::default() };
        let change = move |c: &mut countersign_gateway::GatewayConfig| {
            c.listeners[0].tls = Some(tls);
            c.listeners[0].protocol = protocol;
            c.listeners[0].upstream.tls = secured_upstream.then_some(up);
        };
        Rig::full(upstream, change, self.identity.clone(), PolicySet::allow_all())
    }
}

/// A client's TLS that offers `alpn`; what was agreed on.
async fn tls(
    address: SocketAddr,
    ca: &Path,
    identity: Option<(&Path, &Path)>,
    alpn: &[&[u8]],
) -> (tokio_rustls::client::TlsStream<TcpStream>, Vec<u8>) {
    let mut config = (*client_tls(&[ca.to_owned()], identity).unwrap()).clone();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
    (stream, agreed)
}

async fn speak(stream: tokio_rustls::client::TlsStream<TcpStream>) -> SendRequest<Bytes> {
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    send
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://localhost{path}")).body(()).unwrap()
}

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

#[test]
fn alpn_chooses_http2_and_the_certificate_says_who() {
    let world = World::new();
    let (upstream, _) = ok("x");
    let rig = world.rig(upstream, false);
    let (cert, key) = world.files("billing");
    let token = world.authority.token("nightly-job", "orders", now_s(), 300);
    run(async {
        let (stream, agreed) = tls(rig.address, &world.ca(), Some((&cert, &key)), BOTH).await;
        assert_eq!(agreed, b"h2");
        let mut send = speak(stream).await;
        fetch(&mut send, get("/by-certificate")).await.unwrap();
        let (stream, _) = tls(rig.address, &world.ca(), None, BOTH).await;
        let mut send = speak(stream).await;
        let mut request = get("/by-token");
        let value = format!("Bearer {}", token.unwrap()).parse().unwrap();
        request.headers_mut().insert("authorization", value);
        fetch(&mut send, request).await.unwrap();
        fetch(&mut send, get("/by-nobody")).await.unwrap();
        let (_, agreed) = tls(rig.address, &world.ca(), None, &[b"http/1.1"]).await;
        assert_eq!(agreed, b"http/1.1");
    });
    let events = rig.memory.wait(3);
    let who = |i: usize| events[i].who.who.as_ref().unwrap();
    assert_eq!((who(0).id.as_str(), who(0).verified), ("spiffe://example.org/billing", Verified::Bound));
    assert_eq!((who(1).auth, who(1).verified), (Some(Auth::Jwt), Verified::Checked));
    assert!(who(2).id.starts_with("addr:"), "each request for itself: {}", who(2).id);
    assert_eq!(events[0].peer.tls.as_ref().unwrap().alpn, "h2");
}

/// A TLS server that agrees on `alpn`, and speaks HTTP/2 then.
fn secured_server(world: &World, alpn: &[u8]) -> SocketAddr {
    let (cert, key) = world.files("upstream");
    let mut config = (*server_tls(&cert, &key, &[], ClientAuth::None).unwrap()).clone();
    config.alpn_protocols = vec![alpn.to_vec()];
    let (told, address) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || {
        crate::h2_support::runtime().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        let mut to = respond.send_response(http::Response::new(()), false).unwrap();
                        to.send_data(Bytes::from_static(b"secured"), true).unwrap();
                    }
                });
            }
        });
    });
    address.recv().unwrap()
}

#[test]
fn a_secured_server_is_asked_for_http2_and_one_without_it_is_502_and_then_no_longer_offered() {
    let world = World::new();
    let rig = world.rig(secured_server(&world, b"h2"), true);
    run(async {
        let (stream, _) = tls(rig.address, &world.ca(), None, BOTH).await;
        assert_eq!(fetch(&mut speak(stream).await, get("/")).await.unwrap().1, b"secured");
    });
    let old = world.rig(secured_server(&world, b"http/1.1"), true);
    run(async {
        let (stream, agreed) = tls(old.address, &world.ca(), None, BOTH).await;
        assert_eq!(agreed, b"h2");
        let (parts, body) = fetch(&mut speak(stream).await, get("/")).await.unwrap();
        assert_eq!(parts.status, 502);
        assert!(String::from_utf8(body).unwrap().contains("ALPN"));
        let (_, agreed) = tls(old.address, &world.ca(), None, BOTH).await;
        assert_eq!(agreed, b"http/1.1", "the next client is not misled");
    });
    assert_eq!(old.memory.wait(1)[0].core.outcome, Some(Outcome::ServerError));
}

#[test]
fn a_listener_of_mcp_offers_http2_only_when_its_server_speaks_it() {
    let world = World::new();
    let (h2, _) = ok("over two");
    let (h1, seen) = crate::support::ok("over one");
    let agreed = |rig: &Rig| run(async { tls(rig.address, &world.ca(), None, BOTH).await.1 });
    let both = world.rig_of(Protocol::Mcp, h2, false);
    for _ in 0..2 {
        assert_eq!(agreed(&both), b"h2");
    }
    run(async {
        let (stream, _) = tls(both.address, &world.ca(), None, BOTH).await;
        let (_, body) = fetch(&mut speak(stream).await, get("/mcp")).await.unwrap();
        assert_eq!(body, b"over two");
        assert_eq!(tls(both.address, &world.ca(), None, &[b"http/1.1"]).await.1, b"http/1.1");
    });
    let one = world.rig_of(Protocol::Mcp, h1, false);
    for _ in 0..2 {
        assert_eq!(agreed(&one), b"http/1.1");
    }
    assert_eq!(seen.all().len(), 1, "the server was asked once");
    // A server that is not there is asked again when it is.
    let free = countersign_testkit::free_port().unwrap();
    let gone = world.rig_of(Protocol::Mcp, ([127, 0, 0, 1], free).into(), false);
    assert_eq!(agreed(&gone), b"http/1.1");
}
