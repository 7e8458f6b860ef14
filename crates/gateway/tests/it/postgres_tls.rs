//! How PostgreSQL sessions begin: requests for encryption, direct TLS, SCRAM with channel binding.

use crate::postgres::{drained, operations, rig, word};
use crate::support::{DIGEST_KEY, Memory, Rig};
use countersign_event::fields::detail::sql;
use countersign_event::{Outcome, Rec, Verified};
use countersign_gateway::{
    BodyKey, Gateway, GatewayConfig, Listener, ListenerTls, Parts, Protocol, Scram, Upstream, UpstreamTls,
};
use countersign_identity::authority::{Authority, Issued};
use countersign_identity::{ClientAuth, Identities, IdentityConfig};
use countersign_ledger::SystemClock;
use countersign_policy::PolicySet;
use countersign_testkit::postgres::{Postgres, Setup, Version, start};
use ring::hmac;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) authority: Authority,
    pub(crate) server: Postgres,
    pub(crate) certificate: Issued,
}

impl World {
    /// A server with TLS and SCRAM.
    pub(crate) fn new(version: Version) -> World {
        let dir = tempfile::tempdir().unwrap();
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let authority = Authority::new("example.org", now_s).unwrap();
        authority.write(dir.path()).unwrap();
        let certificate = authority.issue("/db", &["localhost"]).unwrap();
        let tls = Some((certificate.cert_pem.clone(), certificate.key_pem.clone()));
        let setup = Setup { tls, method: "scram-sha-256".into(), ..Setup::new(version) };
        World { dir, authority, server: start(&setup).unwrap(), certificate }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(crate) fn listener_tls(&self, issued: &Issued) -> ListenerTls {
        let (cert, key) = (self.dir.path().join("gw.pem"), self.dir.path().join("gw.key"));
        std::fs::write(&cert, &issued.cert_pem).unwrap();
        std::fs::write(&key, &issued.key_pem).unwrap();
        ListenerTls { cert, key, client_ca: vec![], client_auth: ClientAuth::None, ..ListenerTls::default() }
    }

    pub(crate) fn rig(&self, issued: &Issued, scram: Scram, change: impl FnOnce(&mut GatewayConfig)) -> Rig {
        rig(&self.server, |config| {
            let listener = &mut config.listeners[0];
            listener.tls = Some(self.listener_tls(issued));
            listener.postgres.scram = scram;
            let (ca, server_name) = (vec![self.ca()], "localhost".to_owned());
            listener.upstream.tls = Some(UpstreamTls { ca, server_name, ..UpstreamTls::default() });
            change(config);
        })
    }

    /// What psql prints for a small statement, and its errors.
    pub(crate) fn ask(&self, port: u16, settings: &[(&str, &str)]) -> String {
        self.say(port, settings, "select 40 + 2")
    }

    fn say(&self, port: u16, settings: &[(&str, &str)], text: &str) -> String {
        let mut command = self.server.client("psql", port);
        command.args(["-X", "-A", "-t", "-c", text]);
        command.env("PGHOST", "localhost").env("PGSSLROOTCERT", self.ca()).envs(settings.iter().copied());
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

#[test]
fn with_the_servers_own_certificate_channel_binding_works() {
    let world = World::new(Version::V15);
    let rig = world.rig(&world.certificate, Scram::SameCertificate, |_| {});
    let bound = [("PGSSLMODE", "verify-ca"), ("PGCHANNELBINDING", "require")];
    assert_eq!(world.ask(rig.address.port(), &bound).trim(), "42");
    let refused = world.ask(rig.address.port(), &[("PGSSLMODE", "disable")]);
    assert!(refused.contains("this listener asks for TLS"), "{refused}");
    let events = drained(rig);
    let open =
        events.iter().find(|e| e.core.rec == Some(Rec::SessionOpen) && e.core.op == "connect").unwrap();
    assert_eq!(word(open, sql::METHOD), "scram-sha-256-plus");
    let who = open.who.who.as_ref().unwrap();
    assert_eq!((who.id.as_str(), who.verified), ("db:postgres@pg", Verified::Asserted));
    assert!(open.peer.tls.is_some());
}

#[test]
fn a_clash_of_channel_binding_names_the_choices() {
    let world = World::new(Version::V15);
    let other = world.authority.issue("/gw", &["localhost"]).unwrap();
    let rig = world.rig(&other, Scram::Unset, |_| {});
    let said = world.ask(rig.address.port(), &[("PGSSLMODE", "require")]);
    for choice in ["same-certificate", "unbound", "verify", "identity"] {
        assert!(said.contains(choice), "{said}");
    }
    drained(rig);
}

#[test]
fn over_a_unix_socket_scram_goes_without_binding() {
    let world = World::new(Version::V15);
    let hba = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(world.server.dir.path().join("data/pg_hba.conf"), hba).unwrap();
    let mut reload = world.server.client("psql", world.server.address.port());
    crate::postgres::run(reload.args(["-X", "-q", "-c", "select pg_reload_conf()"]));
    let rig = rig(&world.server, |config| {
        let listener = &mut config.listeners[0];
        listener.tls = Some(world.listener_tls(&world.certificate));
        listener.postgres.scram = Scram::Unbound;
        listener.upstream.host = world.server.dir.path().display().to_string();
    });
    assert_eq!(world.ask(rig.address.port(), &[("PGSSLMODE", "require")]).trim(), "42");
    let wrong = world.ask(rig.address.port(), &[("PGSSLMODE", "require"), ("PGPASSWORD", "wrongMark9")]);
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    let events = drained(rig);
    let refused = events.iter().find(|e| e.core.outcome == Some(Outcome::Denied)).unwrap();
    assert_eq!(refused.core.status.as_ref().unwrap().1, "28P01");
    assert_eq!(refused.who.who.as_ref().unwrap().verified, Verified::Claimed);
    assert_eq!(operations(&events).len(), 1);
    assert!(!format!("{events:?}").contains("wrongMark9"));
}

/// libpq 18, from a driver that brings it: direct TLS, protocol 3.2, and a cancellation with its long key.
const ASK_18: &str = r#"
import sys, threading, psycopg
conninfo = ("host=localhost port=%s user=postgres password=%s dbname=postgres sslmode=require "
            "sslnegotiation=direct min_protocol_version=3.2 max_protocol_version=3.2") % (sys.argv[1], sys.argv[2])
with psycopg.connect(conninfo, autocommit=True) as conn:
    print(conn.execute("select 40 + 2").fetchone()[0], conn.pgconn.full_protocol_version)
    threading.Timer(0.3, conn.cancel_safe).start()
    try:
        conn.execute("select pg_sleep(30)")
    except psycopg.errors.QueryCanceled:
        print("cancelled")
"#;

#[test]
fn direct_tls_protocol_3_2_and_long_cancel_keys_pass() {
    // The packaged server 18 has no TLS of its own: it ends at the gateway.
    let setup = Setup { method: "scram-sha-256".into(), ..Setup::new(Version::V18) };
    let server = start(&setup).unwrap();
    let world = World::new(Version::V15);
    let rig = rig(&server, |config| {
        config.listeners[0].tls = Some(world.listener_tls(&world.certificate));
        config.listeners[0].postgres.scram = Scram::Unbound;
    });
    let python =
        countersign_testkit::python::venv("postgres-drivers", &crate::postgres_drivers::PACKAGES).unwrap();
    let mut command = std::process::Command::new(python);
    let port = rig.address.port().to_string();
    command.args(["-c", ASK_18, &port, countersign_testkit::postgres::PASSWORD]);
    let said = crate::postgres::run(&mut command);
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["42", "30002", "cancelled"]);
    let events = drained(rig);
    let open = events.iter().find(|e| e.core.op == "connect").unwrap();
    assert_eq!(open.core.proto, "postgresql/3.2");
    assert_eq!(open.peer.tls.as_ref().unwrap().alpn, "postgresql");
    let cancel = events.iter().find(|e| e.core.op == "CANCEL").unwrap();
    assert_eq!(cancel.links.sess, open.links.sess);
}

#[test]
fn direct_tls_reaches_a_server_with_tls_of_its_own_and_channel_binding_holds_on_both_legs() {
    let world = World::new(Version::V18Tls);
    let rig = world.rig(&world.certificate, Scram::SameCertificate, |config| {
        config.listeners[0].postgres.direct_tls = true;
    });
    let python =
        countersign_testkit::python::venv("postgres-drivers", &crate::postgres_drivers::PACKAGES).unwrap();
    let mut command = std::process::Command::new(python);
    let port = rig.address.port().to_string();
    command.env("PGCHANNELBINDING", "require").args([
        "-c",
        ASK_18,
        &port,
        countersign_testkit::postgres::PASSWORD,
    ]);
    let said = crate::postgres::run(&mut command);
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["42", "30002", "cancelled"]);
    // libpq 15 asks with an SSLRequest; towards the server TLS is direct all the same, as the server says.
    let bound = [("PGSSLMODE", "verify-ca"), ("PGCHANNELBINDING", "require")];
    let shown = world.say(
        rig.address.port(),
        &bound,
        "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()",
    );
    assert_eq!(shown.trim(), "t|TLSv1.3");
    let events = drained(rig);
    let opened: Vec<_> =
        events.iter().filter(|e| e.core.op == "connect" && e.core.rec == Some(Rec::SessionOpen)).collect();
    assert!(opened.iter().all(|e| word(e, sql::METHOD) == "scram-sha-256-plus"));
    assert_eq!(opened.len(), 2);
    let cancel = events.iter().find(|e| e.core.op == "CANCEL").unwrap();
    assert_eq!(cancel.links.sess, opened[0].links.sess);
}

#[test]
fn direct_tls_to_a_server_that_does_not_know_it_is_told_to_the_caller() {
    // Version 15 takes the client hello for a start-up packet of absurd length.
    let world = World::new(Version::V15);
    let rig = world.rig(&world.certificate, Scram::SameCertificate, |config| {
        config.listeners[0].postgres.direct_tls = true;
    });
    let said = world.ask(rig.address.port(), &[("PGSSLMODE", "require")]);
    assert!(said.contains("the database server cannot be reached (countersign)"), "{said}");
    drained(rig);
}

#[test]
fn bytes_behind_a_request_for_tls_end_the_connection() {
    let world = World::new(Version::V15);
    let rig = world.rig(&world.certificate, Scram::SameCertificate, |_| {});
    let mut client = rig.client();
    client.send([&[0, 0, 0, 8, 4, 210, 22, 47][..], b"early bytes in the clear"].concat());
    assert_eq!(client.rest(), b"");
    drop(client);
    let events = drained(rig);
    assert!(events[0].content.err.contains("before its answer"), "{events:?}");
}

#[test]
fn logins_without_what_they_need_are_refused_at_start() {
    let nowhere = PathBuf::from("/nonexistent/verifiers");
    for (scram, says) in [
        (Scram::Verify { verifiers: nowhere.clone() }, "/nonexistent/verifiers: cannot be read"),
        (Scram::Identity(Default::default()), "needs tls on the listener"),
    ] {
        let mut config = GatewayConfig::new("spiffe://test/gw");
        let mut listener = Listener::new("pg", "127.0.0.1:0".parse().unwrap(), Upstream::new("127.0.0.1", 1));
        listener.protocol = Protocol::Postgres;
        listener.postgres.scram = scram;
        config.listeners.push(listener);
        let parts = Parts {
            recorders: vec![Arc::new(Memory::default())],
            strict: Vec::new(),
            key: BodyKey::Raw(hmac::Key::new(hmac::HMAC_SHA256, &DIGEST_KEY)),
            identities: Arc::new(Identities::new(IdentityConfig::default(), 0).unwrap()),
            policy: PolicySet::allow_all(),
            clock: Arc::new(SystemClock::default()),
            sockets: Vec::new(),
        };
        let Err(error) = Gateway::start_with(config, parts) else { panic!("started") };
        assert!(error.to_string().contains(says), "{error}");
    }
}
