//! Logins that the gateway takes part in, against PostgreSQL 15 with TLS: SCRAM verified here, and identities in
//! place of passwords.

use crate::postgres::{drained, operations, run, word};
use crate::postgres_tls::World;
use crate::support::{Rig, until};
use countersign_event::fields::detail::sql;
use countersign_event::{Event, Outcome, Rec, Verified};
use countersign_gateway::{PostgresLogin, Protocol, Scram, UpstreamTls};
use countersign_identity::{ClientAuth, IdentityConfig};
use countersign_policy::PolicySet;
use countersign_testkit::postgres::{PASSWORD, Version};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// The verifier of a role as the server keeps it.
fn stored(world: &World, role: &str) -> String {
    let query = format!("select rolpassword from pg_authid where rolname = '{role}'");
    world.server.sql("postgres", &query).unwrap().trim().to_owned()
}

/// A gateway with another certificate than the server's, which verifies the superuser.
pub(crate) fn verifying(world: &World) -> (Rig, PathBuf) {
    let file = world.dir.path().join("verifiers");
    std::fs::write(&file, format!("\"postgres\" \"{}\"\n", stored(world, "postgres"))).unwrap();
    let other = world.authority.issue("/gw", &["localhost"]).unwrap();
    let rig = world.rig(&other, Scram::Verify { verifiers: file.clone() }, |_| {});
    (rig, file)
}

fn connects(events: &[Event]) -> Vec<&Event> {
    events.iter().filter(|e| e.core.rec == Some(Rec::SessionOpen) && e.core.op == "connect").collect()
}

const BOUND: [(&str, &str); 2] = [("PGSSLMODE", "verify-ca"), ("PGCHANNELBINDING", "require")];

#[test]
fn the_gateway_verifies_scram_with_channel_binding_on_both_sides() {
    let world = World::new(Version::V15);
    let (rig, _) = verifying(&world);
    assert_eq!(world.ask(rig.address.port(), &BOUND).trim(), "42");
    let events = drained(rig);
    let open = connects(&events)[0];
    assert_eq!(
        (open.core.outcome, word(open, sql::METHOD)),
        (Some(Outcome::Success), "scram-sha-256-plus".into())
    );
    assert_eq!(operations(&events).len(), 1);
    let text = format!("{events:?}");
    let verifier = stored(&world, "postgres");
    let keys = verifier.rsplit('$').next().unwrap();
    assert!(!text.contains(PASSWORD) && keys.split(':').all(|key| !text.contains(key)));
}

#[test]
fn wrong_passwords_and_unknown_roles_get_the_servers_own_error() {
    let world = World::new(Version::V15);
    world.server.sql("postgres", "create role absent login password 'absentMark8x'").unwrap();
    let (rig, file) = verifying(&world);
    let port = rig.address.port();
    let tries = [("postgres", "wrongMark9x"), ("nobody", "wrongMark9x"), ("absent", "absentMark8x")];
    for (role, password) in tries {
        let said = world.ask(port, &[("PGSSLMODE", "require"), ("PGUSER", role), ("PGPASSWORD", password)]);
        let expected = format!("password authentication failed for user \"{role}\"");
        assert!(said.contains(&expected), "{said}");
        // Its log is written by a process of its own, behind the answer.
        let logged = expected.replace('"', "\\\"");
        until("the server to log the refusal", || world.server.log().contains(&logged));
    }
    // Once it is in the file it comes in.
    let both = ["postgres", "absent"].map(|role| format!("\"{role}\" \"{}\"\n", stored(&world, role)));
    std::fs::write(&file, both.concat()).unwrap();
    let reloaded = rig.gateway.tls_files().reload();
    assert!(reloaded.iter().all(|(_, result)| result.is_ok()) && reloaded.len() == 1);
    let said =
        world.ask(port, &[("PGSSLMODE", "require"), ("PGUSER", "absent"), ("PGPASSWORD", "absentMark8x")]);
    assert_eq!(said.trim(), "42");
    let events = drained(rig);
    let opens = connects(&events);
    assert_eq!(opens.len(), 4);
    for open in &opens[..3] {
        assert_eq!(open.core.outcome, Some(Outcome::Denied), "{open:?}");
        assert_eq!(open.core.status.as_ref().unwrap().1, "28P01");
        let who = open.who.who.as_ref().unwrap();
        assert_eq!(who.verified, Verified::Claimed, "{who:?}");
    }
    let text = format!("{events:?}");
    assert!(!text.contains("wrongMark9x") && !text.contains("absentMark8x"));
}

/// The driver's own libpq: channel binding demanded, and a cancellation.
const ASK: &str = r#"
import sys, threading, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    print(conn.execute("select 40 + 2").fetchone()[0], conn.info.parameter_status("server_version")[:2])
    threading.Timer(0.3, conn.cancel_safe).start()
    try:
        conn.execute("select pg_sleep(30)")
    except psycopg.errors.QueryCanceled:
        print("cancelled")
"#;

fn psycopg(settings: &str) -> Vec<String> {
    let packages = crate::postgres_drivers::PACKAGES;
    let python = countersign_testkit::python::venv("postgres-drivers", &packages).unwrap();
    let said = run(std::process::Command::new(python).args(["-c", ASK, settings]));
    said.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn psycopg_binds_the_channel_and_cancels() {
    let world = World::new(Version::V15);
    let (rig, _) = verifying(&world);
    let settings = format!(
        "host=localhost port={} user=postgres password={PASSWORD} dbname=postgres sslmode=verify-full \
         sslrootcert={} channel_binding=require",
        rig.address.port(),
        world.ca().display()
    );
    assert_eq!(psycopg(&settings), ["42", "15", "cancelled"]);
    let events = drained(rig);
    let open = connects(&events)[0];
    let cancel = events.iter().find(|e| e.core.op == "CANCEL").unwrap();
    assert_eq!(cancel.links.sess, open.links.sess);
}

/// A gateway that logs in as `app` for callers with a certificate or a token.
fn swapping(world: &World) -> (Rig, PathBuf) {
    world.server.sql("postgres", "create role app login password 'appOwnMark1'").unwrap();
    let file = world.dir.path().join("app.password");
    std::fs::write(&file, "appOwnMark1\n").unwrap();
    let files = world.authority.write(world.dir.path()).unwrap();
    let identity = IdentityConfig {
        trust: vec![world.authority.trust(&files)],
        jwt: vec![world.authority.jwt(&files, "pg")],
        ..IdentityConfig::default()
    };
    let other = world.authority.issue("/gw", &["localhost"]).unwrap();
    let login = PostgresLogin { role: "app".into(), password: Some(file.clone()) };
    let change = |config: &mut countersign_gateway::GatewayConfig| {
        let listener = &mut config.listeners[0];
        (listener.protocol, listener.service) = (Protocol::Postgres, "pg".into());
        let mut tls = world.listener_tls(&other);
        (tls.client_ca, tls.client_auth) = (vec![world.ca()], ClientAuth::Optional);
        listener.tls = Some(tls);
        listener.postgres.scram = Scram::Identity(login);
        let (ca, server_name) = (vec![world.ca()], "localhost".to_owned());
        listener.upstream.tls = Some(UpstreamTls { ca, server_name, ..UpstreamTls::default() });
    };
    (Rig::full(world.server.address, change, identity, PolicySet::allow_all()), file)
}

const WHO: &str = "select current_user || ' ' || current_setting('application_name')";

fn who_am_i(world: &World, port: u16, settings: &[(&str, &str)]) -> String {
    let mut command = world.server.client("psql", port);
    command.args(["-X", "-A", "-t", "-c", WHO]).env_remove("PGPASSWORD");
    command.env("PGHOST", "localhost").env("PGSSLROOTCERT", world.ca()).env("PGSSLMODE", "verify-ca");
    let output = command.args(["-w"]).envs(settings.iter().copied()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_caller_with_a_certificate_needs_no_password_and_is_named_to_the_server() {
    let world = World::new(Version::V15);
    let (rig, file) = swapping(&world);
    let issued = world.authority.issue("/ns/shop/sa/orders", &[]).unwrap();
    let (cert, key) = issued.write(world.dir.path(), "caller").unwrap();
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let shown = [
        ("PGSSLCERT", cert.as_str()),
        ("PGSSLKEY", key.as_str()),
        ("PGAPPNAME", "claimed-name"),
        ("PGUSER", "somebody"),
    ];
    let id = "spiffe://example.org/ns/shop/sa/orders";
    assert_eq!(who_am_i(&world, rig.address.port(), &shown).trim(), format!("app {id}"));
    // Its password changes on both sides.
    world.server.sql("postgres", "alter role app password 'appOwnMark2'").unwrap();
    assert!(who_am_i(&world, rig.address.port(), &shown).contains("authentication failed"));
    std::fs::write(&file, "appOwnMark2\n").unwrap();
    assert!(rig.gateway.tls_files().reload().iter().all(|(_, result)| result.is_ok()));
    assert_eq!(who_am_i(&world, rig.address.port(), &shown).trim(), format!("app {id}"));
    let events = drained(rig);
    let opens = connects(&events);
    let outcomes: Vec<_> = opens.iter().map(|e| e.core.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Success), Some(Outcome::Denied), Some(Outcome::Success)]);
    let open = opens[0];
    let who = open.who.who.as_ref().unwrap();
    assert_eq!((who.id.as_str(), who.verified), (id, Verified::Bound));
    let also: Vec<_> = open.who.also.iter().map(|p| (p.id.as_str(), p.verified)).collect();
    assert!(also.contains(&("db:app@pg", Verified::Asserted)), "{also:?}");
    assert!(also.contains(&("db:somebody@pg", Verified::Claimed)), "{also:?}");
    assert_eq!(
        (word(open, sql::METHOD), word(open, sql::APPLICATION)),
        ("mtls".into(), "claimed-name".into())
    );
    assert_eq!(operations(&events)[0].who.who.as_ref().unwrap().id, id);
    assert!(!format!("{events:?}").contains("appOwnMark"));
}

#[test]
fn a_token_is_taken_for_a_password_and_a_bad_one_never_reaches_the_server() {
    let world = World::new(Version::V15);
    let (rig, _) = swapping(&world);
    let port = rig.address.port();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let token = world.authority.token("reports", "pg", now_s, 600).unwrap();
    let said = who_am_i(&world, port, &[("PGPASSWORD", &token)]);
    let id = format!("jwt:{}#reports", world.authority.token_issuer());
    let named = countersign_wire::postgres::login::application_name(&id);
    assert_eq!(said.trim(), format!("app {named}"));
    let late = world.authority.token("reports", "pg", now_s - 7_200, 600).unwrap();
    let said = who_am_i(&world, port, &[("PGPASSWORD", &late), ("PGUSER", "seenMark")]);
    assert!(said.contains("the token shown as password was not accepted"), "{said}");
    let said = who_am_i(&world, port, &[("PGPASSWORD", PASSWORD), ("PGUSER", "seenMark")]);
    assert!(said.contains("was not accepted"), "{said}");
    assert!(!world.server.log().contains("seenMark"), "nothing of it reached the server");
    let events = drained(rig);
    let opens = connects(&events);
    let who = opens[0].who.who.as_ref().unwrap();
    assert_eq!((who.id.as_str(), who.verified), (id.as_str(), Verified::Checked));
    assert_eq!(word(opens[0], sql::METHOD), "token");
    for open in &opens[1..] {
        assert_eq!(open.core.outcome, Some(Outcome::Denied), "{open:?}");
        assert_eq!(open.core.status.as_ref().unwrap().1, "28P01");
    }
    assert!(opens[1].content.err.contains("identity: "), "{}", opens[1].content.err);
    assert_eq!(operations(&events).len(), 1);
    let text = format!("{events:?}");
    let signature = token.rsplit('.').next().unwrap();
    assert!(!text.contains(signature) && !text.contains(PASSWORD));
}
