//! One address with TLS and several ways: the server name chooses, and the record says which.

use crate::postgres::drained;
use crate::postgres_tls::World as PostgresWorld;
use crate::support::{Client, Rig, get, ok, response, server};
use countersign_event::{Event, Outcome, Rec};
use countersign_gateway::{
    GatewayConfig, Listener, ListenerTls, NamedRoute, Protocol, Scram, ServerNames, Upstream, UpstreamTls,
};
use countersign_identity::authority::Authority;
use countersign_identity::{ClientAuth, client_tls};
use countersign_testkit::postgres::Version;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

struct World {
    dir: tempfile::TempDir,
    authority: Authority,
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let authority = Authority::new("example.org", now_s).unwrap();
        authority.write(dir.path()).unwrap();
        World { dir, authority }
    }

    /// A certificate for these hosts.
    fn files(&self, name: &str, hosts: &[&str]) -> (PathBuf, PathBuf) {
        self.authority.issue(&format!("/{name}"), hosts).unwrap().write(self.dir.path(), name).unwrap()
    }

    fn tls(&self, name: &str, hosts: &[&str]) -> ListenerTls {
        let (cert, key) = self.files(name, hosts);
        ListenerTls { cert, key, client_ca: vec![], client_auth: ClientAuth::None, ..ListenerTls::default() }
    }

    /// A way for `names`, with a certificate of its own for `host`.
    fn route(
        &self,
        name: &str,
        names: &[&str],
        host: &str,
        to: SocketAddr,
        protocol: Protocol,
    ) -> NamedRoute {
        let upstream = Upstream::new(to.ip().to_string(), to.port());
        let mut to = Listener::new(name, "127.0.0.1:0".parse().unwrap(), upstream);
        (to.service, to.protocol) = (format!("svc-{name}"), protocol);
        to.tls = Some(self.tls(name, &[host]));
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        NamedRoute { names, to, certificates: Vec::new(), pass_through: false }
    }

    /// A client that asks for `name` and believes only a certificate for it.
    fn connect(&self, address: SocketAddr, name: &str, alpn: &[&str]) -> std::io::Result<Tls> {
        let mut config = (*client_tls(&[self.dir.path().join("ca.pem")], None).unwrap()).clone();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls =
            StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), Client::new(address).0);
        tls.conn.complete_io(&mut tls.sock)?;
        Ok(tls)
    }
}

fn exchange(tls: &mut Tls, body: &str) {
    tls.write_all(get("/x").as_bytes()).unwrap();
    let mut got = vec![0; response(body).len()];
    tls.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), response(body));
}

fn named(routes: Vec<NamedRoute>, only: bool) -> impl FnOnce(&mut GatewayConfig) {
    move |config| {
        let names = ServerNames { certificates: Vec::new(), routes, only };
        config.server_names.insert("main".to_owned(), names);
    }
}

fn sni(event: &Event) -> &str {
    event.peer.tls.as_ref().map_or("", |tls| &tls.sni)
}

fn place(event: &Event) -> (&str, &str, &str) {
    (&event.core.route, &event.target.svc, sni(event))
}

/// Answers PING, whatever it is asked.
fn redis() -> SocketAddr {
    server(|mut s| {
        let mut buf = [0; 14];
        while s.read_exact(&mut buf).is_ok() {
            s.write_all(b"+PONG\r\n").unwrap();
        }
    })
}

#[test]
fn each_server_name_leads_its_own_way_with_its_own_certificate() {
    let world = World::new();
    let ((a, _), (b, _)) = (ok("a"), ok("b"));
    let routes = vec![
        world.route("a", &["a.example.org", "A2.example.org"], "a.example.org", a, Protocol::Auto),
        world.route("b", &["*.b.example.org"], "*.b.example.org", b, Protocol::Http1),
        world.route("cache", &["cache.example.org"], "cache.example.org", redis(), Protocol::Redis),
    ];
    let rig = Rig::with(a, named(routes, true));
    exchange(&mut world.connect(rig.address, "a.example.org", &[]).unwrap(), "a");
    exchange(&mut world.connect(rig.address, "one.b.example.org", &["http/1.1"]).unwrap(), "b");
    let mut cache = world.connect(rig.address, "cache.example.org", &[]).unwrap();
    cache.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let mut pong = [0; 7];
    cache.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
    drop(cache);
    let h2 = world.connect(rig.address, "a.example.org", &["h2", "http/1.1"]).unwrap();
    assert_eq!(h2.conn.alpn_protocol(), Some(&b"h2"[..]));
    drop(h2);
    let events = drained(rig);
    let requests: Vec<_> =
        events.iter().filter(|e| e.core.rec == Some(Rec::Interaction)).map(place).collect();
    assert_eq!(
        requests,
        [
            ("a", "svc-a", "a.example.org"),
            ("b", "svc-b", "one.b.example.org"),
            ("cache", "svc-cache", "cache.example.org")
        ]
    );
    assert!(events.iter().all(|e| !e.peer.ja4.is_empty()), "all have a fingerprint");
}

#[test]
fn other_names_are_refused_by_their_alert_and_one_event_each() {
    let world = World::new();
    let (a, seen) = ok("a");
    let routes =
        vec![world.route("a", &["a.example.org", "*.w.example.org"], "a.example.org", a, Protocol::Auto)];
    let rig = Rig::with(a, named(routes, true));
    // Unknown, two labels where one is wild, the wild label's parent, and none at all.
    for name in ["b.example.org", "x.y.w.example.org", "w.example.org", "127.0.0.1"] {
        let error = world.connect(rig.address, name, &[]).map(drop).unwrap_err();
        assert!(error.to_string().contains("UnrecognisedName"), "{name}: {error}");
    }
    let mut clear = rig.client();
    clear.send(get("/x"));
    assert_eq!(clear.rest(), b"");
    let events = rig.memory.wait(5);
    let names: Vec<_> = events[..4].iter().map(|e| (sni(e), e.core.route.as_str())).collect();
    assert_eq!(
        names,
        [("b.example.org", "main"), ("x.y.w.example.org", "main"), ("w.example.org", "main"), ("", "main")]
    );
    for event in &events[..4] {
        assert_eq!(event.core.outcome, Some(Outcome::Denied));
        assert_eq!(event.content.err, "tls: no route has this server name");
    }
    assert!(events[4].content.err.contains("without TLS"), "{}", events[4].content.err);
    assert!(seen.all().is_empty(), "nothing reached a server");
}

#[test]
fn a_listener_with_a_way_of_its_own_takes_the_other_names() {
    let world = World::new();
    let ((a, _), (own, _)) = (ok("a"), ok("own"));
    let routes = vec![world.route("a", &["a.example.org"], "a.example.org", a, Protocol::Auto)];
    let tls = world.tls("own", &["other.example.org"]);
    let rig = Rig::with(own, |config| {
        config.listeners[0].tls = Some(tls);
        named(routes, false)(config);
    });
    exchange(&mut world.connect(rig.address, "a.example.org", &[]).unwrap(), "a");
    exchange(&mut world.connect(rig.address, "other.example.org", &[]).unwrap(), "own");
    let events = rig.memory.wait(2);
    assert_eq!(events.iter().map(|e| e.core.route.as_str()).collect::<Vec<_>>(), ["a", "main"]);
}

#[test]
fn one_listener_shows_the_certificate_of_the_name_and_follows_its_files() {
    let world = World::new();
    let (own, _) = ok("own");
    let (tls, more) = (world.tls("own", &["one.example.org"]), world.files("more", &["two.example.org"]));
    let rig = Rig::with(own, |config| {
        config.listeners[0].tls = Some(tls);
        let names = ServerNames { certificates: vec![more], ..ServerNames::default() };
        config.server_names.insert("main".to_owned(), names);
    });
    exchange(&mut world.connect(rig.address, "one.example.org", &[]).unwrap(), "own");
    exchange(&mut world.connect(rig.address, "two.example.org", &[]).unwrap(), "own");
    assert!(world.connect(rig.address, "three.example.org", &[]).is_err(), "no certificate is for it");
    world.files("more", &["three.example.org"]);
    let reloaded = rig.gateway.tls_files().reload();
    assert!(reloaded.len() == 1 && reloaded[0].1.is_ok(), "{reloaded:?}");
    exchange(&mut world.connect(rig.address, "three.example.org", &[]).unwrap(), "own");
}

#[test]
fn tls_that_passes_through_is_opaque_with_its_name_and_fingerprint() {
    let world = World::new();
    let (behind, _) = ok("behind");
    let ends = world.tls("ends", &["far.example.org"]);
    let far = Rig::with(behind, |config| config.listeners[0].tls = Some(ends));
    let mut route =
        world.route("far", &["far.example.org"], "unused.example.org", far.address, Protocol::Opaque);
    (route.to.tls, route.pass_through) = (None, true);
    let rig = Rig::with(behind, named(vec![route], true));
    let mut tls = world.connect(rig.address, "far.example.org", &[]).unwrap();
    exchange(&mut tls, "behind");
    tls.conn.send_close_notify();
    let _ = tls.conn.complete_io(&mut tls.sock);
    drop(tls);
    let event = rig.memory.wait(1).pop().unwrap();
    assert_eq!((event.core.rec, place(&event)), (Some(Rec::Opaque), ("far", "svc-far", "far.example.org")));
    assert!(event.peer.ja4.starts_with("t13d"), "{}", event.peer.ja4);
    let detail = format!("{:?}", event.content.detail);
    assert!(detail.contains(r#"2: Text("tls")"#), "{detail}");
    let far_event = far.memory.wait(1).pop().unwrap();
    assert_eq!(sni(&far_event), "far.example.org");
}

#[test]
fn what_is_not_read_inside_tls_is_opaque_with_name_fingerprint_and_caller() {
    let world = World::new();
    let echo = server(|mut s| {
        let mut buf = [0; 5];
        while s.read_exact(&mut buf).is_ok() {
            s.write_all(&buf).unwrap();
        }
    });
    let mut tls = world.tls("own", &["own.example.org"]);
    (tls.client_ca, tls.client_auth) = (vec![world.dir.path().join("ca.pem")], ClientAuth::Optional);
    let rig = Rig::with(echo, |config| config.listeners[0].tls = Some(tls));
    let mut tls = world.connect(rig.address, "own.example.org", &[]).unwrap();
    tls.write_all(b"\x00\x01abc").unwrap();
    let mut got = [0; 5];
    tls.read_exact(&mut got).unwrap();
    drop(tls);
    let event = rig.memory.wait(1).pop().unwrap();
    assert_eq!((event.core.rec, sni(&event)), (Some(Rec::Opaque), "own.example.org"));
    assert!(event.peer.ja4.starts_with("t13d"), "{}", event.peer.ja4);
    assert_eq!(event.who.who.as_ref().unwrap().id, "addr:127.0.0.1");
    assert_eq!(format!("{:?}", event.content.detail), r#"{0: Uint(5), 1: Uint(5), 2: Text("other")}"#);
}

#[test]
fn postgresql_chooses_behind_its_request_for_tls() {
    let world = World::new();
    let database = PostgresWorld::new(Version::V15);
    let (web, _) = ok("web");
    let (db, ca) = (database.server.address, vec![database.ca()]);
    let mut route = world.route("db", &["db.example.org"], "db.example.org", db, Protocol::Postgres);
    route.to.upstream.tls =
        Some(UpstreamTls { ca, server_name: "localhost".into(), ..UpstreamTls::default() });
    let file = world.dir.path().join("verifiers");
    let stored =
        database.server.sql("postgres", "select rolpassword from pg_authid where rolname = 'postgres'");
    std::fs::write(&file, format!("\"postgres\" \"{}\"\n", stored.unwrap().trim())).unwrap();
    route.to.postgres.scram = Scram::Verify { verifiers: file };
    let routes =
        vec![route, world.route("web", &["web.example.org"], "web.example.org", web, Protocol::Auto)];
    let rig = Rig::with(web, named(routes, true));
    let ca = world.dir.path().join("ca.pem").display().to_string();
    let ask = |host: &str, mode: &str| {
        let bound = if mode == "disable" { "prefer" } else { "require" };
        let settings =
            [("PGHOST", host), ("PGHOSTADDR", "127.0.0.1"), ("PGSSLMODE", mode), ("PGCHANNELBINDING", bound)];
        let mut command = database.server.client("psql", rig.address.port());
        command.args(["-X", "-A", "-t", "-c", "select 40 + 2"]).envs(settings).env("PGSSLROOTCERT", &ca);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    assert_eq!(ask("db.example.org", "verify-full").trim(), "42");
    exchange(&mut world.connect(rig.address, "web.example.org", &[]).unwrap(), "web");
    for (host, mode) in
        [("web.example.org", "require"), ("other.example.org", "require"), ("db.example.org", "disable")]
    {
        let said = ask(host, mode);
        assert!(!said.lines().any(|line| line.trim() == "42"), "{host}: {said}");
    }
    let events = drained(rig);
    let of = |route: &str| events.iter().filter(|e| e.core.route == route).count();
    // The session's begin, statement and end; the request; three refusals.
    assert_eq!((of("db"), of("web"), of("main")), (3, 1, 3));
    assert!(events.iter().filter(|e| e.core.route == "db").all(|e| sni(e) == "db.example.org"));
}

#[test]
fn names_that_cannot_work_are_refused_at_start() {
    let world = World::new();
    let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let start = |change: &dyn Fn(&mut GatewayConfig)| {
        let mut config = GatewayConfig::new("spiffe://test/gw");
        config.listeners.push(Listener::new(
            "main",
            "127.0.0.1:0".parse().unwrap(),
            Upstream::new("127.0.0.1", 1),
        ));
        change(&mut config);
        crate::support::start_error(config)
    };
    let route = |names: &[&str]| world.route("r", names, "x.example.org", nowhere, Protocol::Auto);
    let with = |route: NamedRoute| move |config: &mut GatewayConfig| named(vec![route.clone()], true)(config);
    for bad in ["*.*.example.org", "a..b", "*", "ex ample", "a.*.b", "b\u{fc}cher.example"] {
        assert!(start(&with(route(&[bad]))).contains("is no server name"), "{bad}");
    }
    assert!(start(&with(route(&[]))).contains("has no server name"));
    assert!(start(&with(route(&["a.org", "A.org"]))).contains("leads two ways"));
    let mut bare = route(&["a.org"]);
    bare.to.tls = None;
    assert!(start(&with(bare.clone())).contains("needs tls"));
    bare.pass_through = true;
    assert!(start(&with(bare)).contains("is opaque"));
    let nobody = |config: &mut GatewayConfig| {
        config.server_names.insert("other".into(), ServerNames::default());
    };
    assert!(start(&nobody).contains("not there"));
}
