//! PostgreSQL 15 behind the gateway: what psql and pgbench do leaves exactly the records that it should.

use crate::support::{Rig, until};
use countersign_event::cbor::Value;
use countersign_event::fields::detail::sql;
use countersign_event::{Class, Event, Outcome, Rec};
use countersign_gateway::Protocol;
use countersign_testkit::postgres::{Postgres, Setup, Version, start};
use countersign_testkit::repetitions;
use std::process::Command;

pub(crate) fn server() -> Postgres {
    start(&Setup::new(Version::V15)).unwrap()
}

/// A gateway in front of `server`.
pub(crate) fn rig(server: &Postgres, change: impl FnOnce(&mut countersign_gateway::GatewayConfig)) -> Rig {
    Rig::with(server.address, |config| {
        config.listeners[0].protocol = Protocol::Postgres;
        config.listeners[0].service = "pg".into();
        change(config);
    })
}

/// All events once every connection has ended: as many as were owed.
pub(crate) fn drained(rig: Rig) -> Vec<Event> {
    until("the connections to end", || rig.gateway.stats().open == 0);
    assert_eq!(rig.gateway.stats().lost, 0);
    rig.gateway.shutdown(std::time::Duration::from_secs(5));
    let owed = rig.memory.owed.load(std::sync::atomic::Ordering::Relaxed);
    rig.memory.wait(owed as usize)
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub(crate) fn psql(server: &Postgres, port: u16, script: &str) -> String {
    let mut command = server.client("psql", port);
    command.args(["-X", "-q", "-A", "-t", "-c", script]);
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The server's log, with all that it wrote before this was called: its collector is another process.
pub(crate) fn settled_log(server: &Postgres) -> String {
    static MARKS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let mark = format!("logMark{}", MARKS.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    server.sql("postgres", &format!("select '{mark}'")).unwrap();
    until("the log to be written", || server.log().contains(&format!("'{mark}'")));
    server.log()
}

/// Operations, without the session's own records.
pub(crate) fn operations(events: &[Event]) -> Vec<&Event> {
    events.iter().filter(|e| matches!(e.core.rec, Some(Rec::Interaction | Rec::Outcome))).collect()
}

pub(crate) fn number(event: &Event, key: u64) -> Option<u64> {
    match event.content.detail.get(&key) {
        Some(Value::Uint(n)) => Some(*n),
        _ => None,
    }
}

pub(crate) fn word(event: &Event, key: u64) -> String {
    match event.content.detail.get(&key) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

/// Verb, class, rows, rows affected, SQLSTATE, transaction state.
fn row(event: &Event) -> (String, Option<Class>, Option<u64>, Option<u64>, String, String) {
    (
        event.core.op.clone(),
        event.core.class,
        number(event, sql::ROWS),
        number(event, sql::AFFECTED),
        event.core.status.as_ref().map_or(String::new(), |s| s.1.clone()),
        word(event, sql::TX_STATUS),
    )
}

#[test]
fn each_statement_of_psql_is_one_record_with_class_rows_and_state() {
    let server = server();
    server.sql("postgres", "create table t(id int primary key, v text)").unwrap();
    let rig = rig(&server, |_| {});
    let script = "insert into t values (1,'seeded-secret-1'),(2,'b'); \
         with d as (delete from t where id = 2 returning *) select * from d; select /* c */ 1; select 1/0; select 2";
    let shown = psql(&server, rig.address.port(), script);
    assert!(shown.contains("division by zero"), "{shown}");
    let events = drained(rig);
    let open = &events[0];
    assert_eq!((open.core.rec, open.core.op.as_str()), (Some(Rec::SessionOpen), "connect"));
    assert_eq!(open.who.who.as_ref().unwrap().id, "db:postgres@pg");
    assert_eq!(open.target.ns, "postgres");
    assert_eq!(word(open, sql::METHOD), "trust");
    assert_eq!(events.last().unwrap().core.rec, Some(Rec::SessionClose));
    let rows: Vec<_> = operations(&events).into_iter().map(row).collect();
    let is = |op: &str, class, rows, affected, state: &str| {
        (op.to_owned(), class, rows, affected, state.to_owned(), "idle".to_owned())
    };
    assert_eq!(
        rows,
        [
            is("INSERT", Some(Class::Create), None, Some(2), "00000"),
            is("DELETE", Some(Class::Delete), Some(1), None, "00000"),
            is("SELECT", Some(Class::Read), Some(1), None, "00000"),
            is("SELECT", Some(Class::Read), None, None, "22012"),
            is("SELECT", Some(Class::Read), None, None, ""),
        ]
    );
    let last = operations(&events)[4];
    assert_eq!(last.core.outcome, Some(Outcome::Cancelled));
    assert_eq!(last.content.detail.get(&sql::NOT_RUN), Some(&Value::Bool(true)));
    assert!(!format!("{events:?}").contains("seeded-secret-1"), "literals are left out");
    assert_eq!(operations(&events)[0].target.res, "t");
    assert_eq!(operations(&events)[0].content.stmt, "insert into t values (?, ?)");
}

#[test]
fn pgbench_leaves_one_record_a_statement_in_every_mode() {
    let server = server();
    run(server.client("pgbench", server.address.port()).args(["-i", "-q", "-s", "1"]));
    let transactions = repetitions(50, 10_000);
    for mode in ["simple", "extended", "prepared"] {
        let rig = rig(&server, |_| {});
        let port = rig.address.port();
        let each = transactions.to_string();
        run(server.client("pgbench", port).args(["-n", "-S", "-c", "8", "-j", "2", "-M", mode, "-t", &each]));
        let events = drained(rig);
        let reads: Vec<&Event> =
            operations(&events).into_iter().filter(|e| e.target.res == "pgbench_accounts").collect();
        assert_eq!(reads.len(), transactions * 8, "{mode}");
        for read in reads {
            assert_eq!(read.core.class, Some(Class::Read), "{mode}");
            assert_eq!(number(read, sql::ROWS), Some(1), "{mode}");
            assert_eq!(read.core.outcome, Some(Outcome::Success), "{mode}");
        }
    }
}

#[test]
fn a_commit_that_the_server_turned_into_a_rollback_is_no_success() {
    let server = server();
    let rig = rig(&server, |_| {});
    for scripts in [["begin", "select 1/0", "commit"], ["begin", "select 1", "commit"]] {
        let mut command = server.client("psql", rig.address.port());
        run(command.arg("-X").args(scripts.iter().flat_map(|script| ["-c", script])));
    }
    let events = drained(rig);
    let commits: Vec<_> = operations(&events).into_iter().filter(|e| e.core.op == "COMMIT").collect();
    let ends: Vec<_> = commits.iter().map(|e| (e.core.outcome, e.content.err.as_str())).collect();
    let rolled_back = (Some(Outcome::CallerError), "rolled back: the transaction had failed");
    assert_eq!(ends, [rolled_back, (Some(Outcome::Success), "")]);
}

#[test]
fn on_a_strict_route_each_statement_has_its_intent_first() {
    let server = server();
    let rig = rig(&server, |config| {
        config.listeners[0].durability = countersign_gateway::Durability::Strict;
    });
    let shown = psql(&server, rig.address.port(), "select 1; select 2");
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["1", "2"]);
    until("the connection to end", || rig.gateway.stats().open == 0);
    rig.gateway.shutdown(std::time::Duration::from_secs(5));
    let events = rig.memory.all();
    let of = |rec| events.iter().filter(|e| e.core.rec == Some(rec) && e.core.op == "SELECT").count();
    assert_eq!((of(Rec::Intent), of(Rec::Outcome), of(Rec::Interaction)), (2, 2, 0));
    assert!(events.iter().filter(|e| e.core.rec == Some(Rec::Outcome)).all(|e| e.links.of.is_some()));
}
