//! Drivers see the same through the gateway as without it, and policy denies in the server's own words.

use crate::postgres::{drained, operations, psql, rig, run, server};
use countersign_event::{Decision, Mode, Outcome, Verdict};
use countersign_gateway::Protocol;
use countersign_identity::IdentityConfig;
use countersign_policy::{Policy, Request};
use countersign_testkit::python;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

pub(crate) const PACKAGES: [&str; 2] = ["psycopg[binary]==3.3.9", "pg8000==1.31.6"];

/// The transcript of a suite and the number of its cases.
pub(crate) fn transcript(python: &Path, suite: &str, port: u16) -> (String, usize) {
    let script =
        countersign_testkit::crate_dir(env!("CARGO_MANIFEST_DIR")).join("tests/it/python").join(suite);
    let mut command = Command::new(python);
    let text = run(command.arg(script).args(["127.0.0.1", &port.to_string(), "postgres", "postgres"]));
    let cases = text.lines().last().and_then(|l| l.strip_prefix("cases ")).unwrap().parse().unwrap();
    (text, cases)
}

#[test]
fn python_drivers_see_the_same_direct_and_through() {
    let server = server();
    let python = python::venv("postgres-drivers", &PACKAGES).unwrap();
    let rig = rig(&server, |config| config.listeners[0].postgres.parameters = true);
    for (suite, least) in [("psycopg_cases.py", 150), ("pg8000_cases.py", 40)] {
        let (direct, cases) = transcript(&python, suite, server.address.port());
        let (through, _) = transcript(&python, suite, rig.address.port());
        assert!(cases >= least, "{suite}: {cases}");
        assert_eq!(direct, through, "{suite}");
    }
    let events = drained(rig);
    assert!(events.iter().all(|e| e.core.rec != Some(countersign_event::Rec::Opaque)), "all was read");
    assert!(events.iter().all(|e| e.core.rec != Some(countersign_event::Rec::Cut)), "all was paired");
}

/// Denies deletions.
struct NoDeletes;

impl Policy for NoDeletes {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let denied = request.class == Some(countersign_event::Class::Delete);
        Decision {
            mode: Some(Mode::Enforce),
            verdict: Some(if denied { Verdict::Deny } else { Verdict::Allow }),
            policies: vec!["no-deletes".into()],
            ..Decision::default()
        }
    }
}

#[test]
fn a_denied_statement_never_runs_and_the_transaction_is_the_servers_own() {
    let server = server();
    server.sql("postgres", "create table kept as select generate_series(1, 3) as id").unwrap();
    let rig = crate::support::Rig::full(
        server.address,
        |config| {
            config.enforce = true;
            config.listeners[0].protocol = Protocol::Postgres;
        },
        IdentityConfig::default(),
        Arc::new(NoDeletes),
    );
    let port = rig.address.port();
    let shown = psql(&server, port, "begin; insert into kept values (4); delete from kept; commit");
    assert!(shown.contains("permission denied by policy (countersign)"), "{shown}");
    let mut script = server.client("psql", port);
    script.args(["-X", "-A", "-t", "-v", "VERBOSITY=sqlstate"]);
    for text in ["begin", "delete from kept", "select 1", "rollback", "select count(*) from kept"] {
        script.args(["-c", text]);
    }
    let output = script.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("42501") && errors.contains("25P02"), "{errors}");
    assert!(String::from_utf8_lossy(&output.stdout).trim().ends_with('3'));
    let events = drained(rig);
    let denied: Vec<_> =
        operations(&events).into_iter().filter(|e| e.core.outcome == Some(Outcome::Denied)).collect();
    assert!(!denied.is_empty());
    for event in denied {
        assert_eq!(event.core.status.as_ref().unwrap().1, "42501");
        assert_eq!(event.core.decision.as_ref().unwrap().policies, ["no-deletes"]);
    }
    assert!(!server.log().contains("delete from kept"), "the server never saw it");
}

#[test]
fn no_password_is_in_any_event() {
    let setup = countersign_testkit::postgres::Setup {
        method: "password".into(),
        ..countersign_testkit::postgres::Setup::new(countersign_testkit::postgres::Version::V15)
    };
    let server = countersign_testkit::postgres::start(&setup).unwrap();
    let rig = rig(&server, |config| config.listeners[0].postgres.parameters = true);
    let port = rig.address.port();
    psql(
        &server,
        port,
        "create role r1 login password 'roleMarkOne8x'; alter role r1 password 'roleMarkTwo8x'",
    );
    psql(&server, port, "create role r2 password $$roleMarkTri8x$$; select 'host=h password=connMark8x'");
    psql(&server, port, "select 'badMark8x'::int");
    let events = drained(rig);
    assert!(events.iter().any(|e| e.core.op == "authentication request"), "clear text is told");
    let text = format!("{events:?}");
    for mark in [countersign_testkit::postgres::PASSWORD, "roleMark", "connMark8x", "badMark8x"] {
        assert!(!text.contains(mark), "{mark}");
    }
}
