//! Certificates, tokens and keys on the wire become identities in the record.

use crate::support::{Client, Rig, get, ok, response, until};
use countersign_event::{Auth, Outcome, Rec, Verified};
use countersign_gateway::{GatewayConfig, ListenerTls};
use countersign_identity::authority::{Authority, Issued};
use countersign_identity::{ClientAuth, IdentityConfig, client_tls, mint_api_key};
use countersign_policy::PolicySet;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const AUDIENCE: &str = "orders";

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A throw-away trust domain and its files.
struct World {
    dir: tempfile::TempDir,
    authority: Authority,
    ca: PathBuf,
    identity: IdentityConfig,
    api_key: String,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("example.org", now_s()).unwrap();
        let files = authority.write(dir.path()).unwrap();
        let (api_key, line) = mint_api_key("cron", "cron job", authority.pepper()).unwrap();
        let keys = dir.path().join("api-keys");
        std::fs::write(&keys, line + "\n").unwrap();
        let identity = IdentityConfig {
            trust: vec![authority.trust(&files)],
            jwt: vec![authority.jwt(&files, AUDIENCE)],
            api_keys: Some(keys),
            api_key_pepper: Some(dir.path().join("api-keys.pepper")),
            ..IdentityConfig::default()
        };
        World { ca: dir.path().join("ca.pem"), dir, authority, identity, api_key }
    }

    fn files(&self, name: &str, issued: &Issued) -> (PathBuf, PathBuf) {
        let (cert, key) =
            (self.dir.path().join(format!("{name}.pem")), self.dir.path().join(format!("{name}.key")));
        std::fs::write(&cert, &issued.cert_pem).unwrap();
        std::fs::write(&key, &issued.key_pem).unwrap();
        (cert, key)
    }

    fn rig(&self, upstream: SocketAddr, client_auth: ClientAuth) -> Rig {
        let (cert, key) = self.files("server", &self.authority.issue("/gw", &["localhost"]).unwrap());
        let tls = ListenerTls {
            cert,
            key,
            client_ca: vec![self.ca.clone()],
            client_auth,
            ..ListenerTls::default()
        };
        let change = move |c: &mut GatewayConfig| c.listeners[0].tls = Some(tls);
        Rig::full(upstream, change, self.identity.clone(), PolicySet::allow_all())
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect(address: SocketAddr, ca: &Path, identity: Option<(&Path, &Path)>) -> Tls {
    let config = client_tls(&[ca.to_owned()], identity).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = Client::new(address).0;
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

fn exchange(tls: &mut Tls, request: &str) {
    tls.write_all(request.as_bytes()).unwrap();
    let mut got = vec![0; response("x").len()];
    tls.read_exact(&mut got).unwrap();
    assert_eq!(got, response("x").as_bytes());
}

#[test]
fn a_certificate_a_token_and_a_trace_end_up_in_one_record() {
    let world = World::new();
    let (upstream, seen) = ok("x");
    let rig = world.rig(upstream, ClientAuth::Required);
    let (cert, key) = world.files("client", &world.authority.issue("/ns/demo/sa/billing", &[]).unwrap());
    let token = world.authority.token("reporter", AUDIENCE, now_s(), 600).unwrap();
    let mut tls = connect(rig.address, &world.ca, Some((&cert, &key)));
    let request = format!(
        "DELETE /orders/77 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"
    );
    exchange(&mut tls, &request);
    exchange(&mut tls, &get("/plain"));
    assert_eq!(seen.all().concat(), [request, get("/plain")].concat().into_bytes());
    let events = rig.memory.wait(2);
    let e = &events[0];
    let who = e.who.who.as_ref().unwrap();
    assert_eq!(who.id, "spiffe://example.org/ns/demo/sa/billing");
    assert_eq!((who.verified, who.auth), (Verified::Bound, Some(Auth::SpiffeSvid)));
    assert_eq!((e.who.also.len(), e.who.also[0].verified), (1, Verified::Checked));
    assert!(e.who.also[0].id.ends_with("#reporter"), "{}", e.who.also[0].id);
    assert_eq!(e.links.trace.unwrap()[..2], [0x0a, 0xf7]);
    let session = e.peer.tls.as_ref().unwrap();
    assert_eq!((session.version, session.sni.as_str()), (Some(0x0304), "localhost"));
    assert!(session.peer_cert.is_some());
    assert_eq!(events[1].who.who.as_ref().unwrap().id, who.id);
    assert!(events[1].who.also.is_empty());
    assert!(!format!("{events:?}").contains(&token));
}

#[test]
fn an_api_key_and_a_token_alone_are_checked() {
    let world = World::new();
    let (upstream, _) = ok("x");
    let rig = Rig::full(upstream, |_| {}, world.identity.clone(), PolicySet::allow_all());
    let token = world.authority.token("reporter", AUDIENCE, now_s(), 600).unwrap();
    let mut client = rig.client();
    for header in [format!("X-Api-Key: {}", world.api_key), format!("Authorization: Bearer {token}")] {
        for _ in 0..2 {
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n"));
            client.expect(response("x"));
        }
    }
    let events = rig.memory.wait(4);
    let who: Vec<_> = events.iter().map(|e| e.who.who.clone().unwrap()).collect();
    assert_eq!((who[0].id.as_str(), who[0].verified), ("key:cron", Verified::Checked));
    assert_eq!((who[2].auth, who[2].verified), (Some(Auth::Jwt), Verified::Checked));
    assert_eq!((&who[0], &who[2]), (&who[1], &who[3]), "a kept answer is the same answer");
    let shown = format!("{events:?}");
    assert!(!shown.contains(&world.api_key) && !shown.contains(&token));
}

#[test]
fn a_credential_that_does_not_pass_stays_a_claim_with_its_reason() {
    let world = World::new();
    let (upstream, _) = ok("x");
    let rig = Rig::full(upstream, |_| {}, world.identity.clone(), PolicySet::allow_all());
    let expired = world.authority.token("reporter", AUDIENCE, now_s() - 7200, 600).unwrap();
    let mut client = rig.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {expired}\r\n\r\n"));
    client.expect(response("x"));
    let e = rig.memory.wait(1).pop().unwrap();
    assert!(e.content.err.starts_with("identity: "), "{}", e.content.err);
    let all = e.who.who.iter().chain(&e.who.also).chain(&e.who.obo);
    assert!(all.into_iter().all(|p| p.verified == Verified::Claimed));
}

#[test]
fn a_handshake_that_fails_is_recorded_with_its_reason() {
    let world = World::new();
    let (upstream, seen) = ok("x");
    let rig = world.rig(upstream, ClientAuth::Required);
    let mut tls = connect(rig.address, &world.ca, None);
    let _ = tls.write_all(get("/").as_bytes());
    let mut rest = Vec::new();
    assert!(tls.read_to_end(&mut rest).is_err());
    let mut client = rig.client();
    client.send(get("/clear"));
    client.rest();
    let events = rig.memory.wait(2);
    assert_eq!((events[0].core.rec, events[0].core.outcome), (Some(Rec::SessionOpen), Some(Outcome::Denied)));
    assert_eq!(events[0].content.err, "tls: client certificate required and not shown");
    assert_eq!(events[1].content.err, "tls: not a tls handshake");
    assert!(seen.all().is_empty());
    until("both are closed", || rig.gateway.stats().open == 0);
}

#[test]
fn a_server_behind_tls_is_reached_and_its_name_checked() {
    let world = World::new();
    let (inner, _) = ok("x");
    // One gateway's TLS listener is the server of another.
    let back = world.rig(inner, ClientAuth::None);
    for (name, status) in [("localhost", "200"), ("wrong.example", "502")] {
        let ca = world.ca.clone();
        let rig = Rig::with(back.address, |c| {
            let tls = countersign_gateway::UpstreamTls {
                ca: vec![ca],
                server_name: name.into(),
                ..Default::default()
            };
            c.listeners[0].upstream.tls = Some(tls);
        });
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.end();
        assert_eq!(client.last_status(), status, "{name}");
        let e = rig.memory.wait(1).pop().unwrap();
        assert_eq!(e.core.status.unwrap().1, status);
    }
}

#[test]
fn a_huge_answer_passes_through_tls() {
    let world = World::new();
    let upstream = crate::support::http(|_| {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n".to_vec();
        answer.resize(answer.len() + 20_000_000, b'z');
        answer
    });
    let rig = world.rig(upstream.0, ClientAuth::Optional);
    let mut tls = connect(rig.address, &world.ca, None);
    tls.write_all(get("/").as_bytes()).unwrap();
    let mut got = vec![0; 20_000_045];
    tls.read_exact(&mut got).unwrap();
    assert_eq!(rig.memory.wait(1)[0].body.rsp.as_ref().unwrap().size, Some(20_000_000));
}

#[test]
fn a_listed_proxy_is_believed_about_its_caller_and_nobody_else_is() {
    use countersign_identity::Forwarder;
    let (upstream, seen) = ok("x");
    let listed = IdentityConfig {
        forwarders: vec![Forwarder::Address("127.0.0.1".parse().unwrap(), 32)],
        ..IdentityConfig::default()
    };
    let rig = Rig::full(upstream, |_| {}, listed, PolicySet::allow_all());
    let mut client = rig.client();
    client.send("PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n");
    client.send(get("/a"));
    client.expect(response("x"));
    let event = rig.memory.wait(1).remove(0);
    assert_eq!(event.peer.hops, [("203.0.113.7".to_owned(), Verified::Asserted)]);
    assert!(event.peer.src.as_ref().unwrap().ip.unwrap().is_loopback(), "the socket's own address stays");
    assert!(!String::from_utf8_lossy(&seen.all()[0]).contains("PROXY"), "the header is not passed on");

    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send("PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n");
    client.send(get("/a"));
    let rest = String::from_utf8(client.rest()).unwrap();
    assert!(!rest.contains("200 OK"), "{rest}");
    assert!(rig.memory.wait(1)[0].peer.hops.is_empty());
}

#[test]
fn a_broken_proxy_header_ends_the_connection_with_an_event() {
    use countersign_identity::Forwarder;
    let (upstream, seen) = ok("x");
    let listed = IdentityConfig {
        forwarders: vec![Forwarder::Address("127.0.0.0".parse().unwrap(), 8)],
        ..IdentityConfig::default()
    };
    let rig = Rig::full(upstream, |_| {}, listed, PolicySet::allow_all());
    let mut client = rig.client();
    client.send("PROXY TCP4 nonsense\r\n");
    assert!(client.rest().is_empty());
    assert_eq!(rig.memory.wait(1)[0].content.err, "proxy header is broken");
    assert!(seen.all().is_empty());
}

#[test]
fn ten_certificate_rotations_under_load_fail_no_request_and_a_wrong_file_changes_nothing() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let (upstream, _) = ok("x");
    let world = World::new();
    let rig = world.rig(upstream, ClientAuth::None);
    let files = rig.gateway.tls_files();
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let seen = std::sync::Mutex::new(std::collections::HashSet::new());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let mut tls = connect(rig.address, &world.ca, None);
                        tls.write_all(get("/load").as_bytes()).unwrap();
                        let mut answer = vec![0; response("x").len()];
                        tls.read_exact(&mut answer).unwrap();
                        let shown = tls.conn.peer_certificates().unwrap()[0].to_vec();
                        seen.lock().unwrap().insert(shown);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for _ in 0..10 {
            std::thread::sleep(std::time::Duration::from_millis(40));
            world.files("server", &world.authority.issue("/gw", &["localhost"]).unwrap());
            let tried = files.reload();
            assert!(tried.len() == 1 && tried[0].1.is_ok(), "{tried:?}");
            assert!(files.reload().is_empty(), "nothing changed since");
        }
        std::fs::write(world.dir.path().join("server.key"), "nonsense").unwrap();
        assert!(files.reload()[0].1.is_err());
        std::thread::sleep(std::time::Duration::from_millis(40));
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|c| c.join().expect("a client failed"));
    });
    let answered = answered.load(Ordering::Relaxed);
    assert!(answered > 40, "{answered}");
    assert!(seen.lock().unwrap().len() > 3, "new connections see new certificates");
    rig.memory.wait(usize::try_from(answered).unwrap());
}
