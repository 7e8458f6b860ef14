//! Records against the server's own log, and what only a real server does: copies, cancellations,
//! notifications, replication, pg_dump.

use crate::postgres::{drained, number, operations, psql, rig, run, server, word};
use crate::support::until;
use countersign_event::cbor::Value;
use countersign_event::fields::detail::sql;
use countersign_event::{Class, Event, Outcome, Rec};
use countersign_testkit::postgres::Postgres;
use std::collections::BTreeMap;

/// Statements that pgaudit logged for each session: process id, command tag in upper case, rows.
fn audited(server: &Postgres) -> Vec<(u64, String, Option<u64>)> {
    let mut out = Vec::new();
    for line in server.log().lines() {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let message = line["message"].as_str().unwrap_or_default();
        let Some(audit) = message.strip_prefix("AUDIT: SESSION,") else { continue };
        let fields: Vec<&str> = audit.split(',').collect();
        let rows = audit.rsplit(',').next().and_then(|n| n.parse().ok());
        out.push((line["pid"].as_u64().unwrap(), fields[2].to_owned(), rows));
    }
    out
}

fn pid_of(events: &[Event]) -> BTreeMap<String, u64> {
    let opened = events.iter().filter(|e| e.core.rec == Some(Rec::SessionOpen));
    opened.filter_map(|e| Some((e.links.sess.clone(), number(e, sql::PID)?))).collect()
}

#[test]
fn records_equal_what_the_server_audited() {
    let server = server();
    server.sql("postgres", "create table audited(id int primary key, v text)").unwrap();
    let rig = rig(&server, |_| {});
    let port = rig.address.port();
    let before = audited(&server).len();
    for script in [
        "insert into audited select g, 'x' from generate_series(1, 20) g",
        "select * from audited where id < 5; update audited set v = 'y' where id > 15; delete from audited where id = 1",
        "begin; select count(*) from audited; rollback",
        "create table other as select * from audited",
        "with c as (update audited set v = 'z' returning id) select id from c",
        "drop table other",
    ] {
        psql(&server, port, script);
    }
    let events = drained(rig);
    let pids = pid_of(&events);
    let mut ours: Vec<(u64, u64)> = Vec::new();
    for event in operations(&events) {
        // pgaudit counts what the plan processed: rows given or changed.
        let rows = number(event, sql::AFFECTED).max(number(event, sql::ROWS)).unwrap_or(0);
        let data =
            matches!(event.core.class, Some(Class::Read | Class::Create | Class::Modify | Class::Delete));
        // What it fills its table with is data to pgaudit.
        if data || event.core.op == "CREATE TABLE AS" {
            ours.push((pids[&event.links.sess], rows));
        }
    }
    let mut theirs: Vec<(u64, u64)> = audited(&server)[before..]
        .iter()
        .filter(|(pid, class, _)| {
            matches!(class.as_str(), "READ" | "WRITE") && pids.values().any(|p| p == pid)
        })
        .map(|(pid, _, rows)| (*pid, rows.unwrap_or(0)))
        .collect();
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours, theirs, "{:#?}", events.iter().map(crate::support::brief).collect::<Vec<_>>());
}

#[test]
fn copies_are_counted_both_ways() {
    let server = server();
    server.sql("postgres", "create table c(id int, v text)").unwrap();
    let rig = rig(&server, |_| {});
    let port = rig.address.port();
    let file = server.dir.path().join("rows");
    std::fs::write(&file, "1\tcopySecretMark\n2\tb\n3\tc\n").unwrap();
    let load = format!("\\copy c from '{}'", file.display());
    psql(&server, port, &load);
    assert!(psql(&server, port, "copy c to stdout").contains("copySecretMark"));
    let events = drained(rig);
    let [load, unload] = operations(&events)[..] else { panic!("{events:?}") };
    assert_eq!((number(load, sql::AFFECTED), word(load, sql::COPY_WAY).as_str()), (Some(3), "in"));
    assert_eq!(number(load, sql::COPY_BYTES), Some(std::fs::metadata(&file).unwrap().len()));
    assert_eq!((number(unload, sql::ROWS), word(unload, sql::COPY_WAY).as_str()), (Some(3), "out"));
    assert_eq!(unload.core.class, Some(Class::Read));
    assert!(unload.content.detail.contains_key(&sql::COPY_DIGEST));
    assert!(!format!("{events:?}").contains("copySecretMark"));
}

#[test]
fn a_cancellation_is_joined_to_its_session_and_a_foreign_key_is_not() {
    let server = server();
    let rig = rig(&server, |_| {});
    let port = rig.address.port();
    let mut command = server.client("psql", port);
    let mut child = command.args(["-X", "-c", "select pg_sleep(60)"]).spawn().unwrap();
    let sleeping = "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(60)%' and pid <> pg_backend_pid()";
    until("the statement to run", || server.sql("postgres", sleeping).unwrap().trim() == "1");
    run(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]));
    child.wait().unwrap();
    let mut forged = rig.client();
    forged.send([&16_u32.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), &[0, 0, 0, 1], &[9; 4]].concat());
    forged.rest();
    drop(forged);
    let events = drained(rig);
    let slept = operations(&events).into_iter().find(|e| e.core.op == "SELECT").unwrap();
    assert_eq!(slept.core.outcome, Some(Outcome::Cancelled));
    assert_eq!(slept.core.status.as_ref().unwrap().1, "57014");
    let cancels: Vec<&Event> = events.iter().filter(|e| e.core.op == "CANCEL").collect();
    let known = cancels.iter().find(|e| !e.content.detail.contains_key(&sql::KEY_UNKNOWN)).unwrap();
    assert_eq!(known.links.sess, slept.links.sess);
    assert_eq!(known.who.who.as_ref().unwrap().id, "db:postgres@pg");
    let unknown = cancels.iter().find(|e| e.content.detail.contains_key(&sql::KEY_UNKNOWN)).unwrap();
    assert_eq!(unknown.content.detail[&sql::KEY_UNKNOWN], Value::Bool(true));
    assert_eq!(unknown.core.labels, ["security"]);
}

#[test]
fn pg_dump_is_the_same_and_recorded() {
    let server = server();
    server
        .sql("postgres", "create table d as select g as id, 'v' || g as v from generate_series(1, 100) g")
        .unwrap();
    let rig = rig(&server, |_| {});
    let dump = |port: u16| {
        let text = run(server.client("pg_dump", port).arg("postgres"));
        // A random word since 15.14.
        text.lines().filter(|l| !l.contains("restrict")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(dump(rig.address.port()), dump(server.address.port()));
    let events = drained(rig);
    let copy = operations(&events).into_iter().find(|e| e.core.op == "COPY").unwrap();
    assert_eq!((number(copy, sql::ROWS), copy.target.res.as_str()), (Some(100), "public.d"));
    assert!(operations(&events).iter().all(|e| e.core.outcome == Some(Outcome::Success)));
}

#[test]
fn logical_replication_is_one_session_with_positions() {
    let server = server();
    server.sql("postgres", "create table r(id int)").unwrap();
    let rig = rig(&server, |_| {});
    let port = rig.address.port();
    let program = |args: &[&str]| {
        let mut command = server.client("pg_recvlogical", port);
        command.args(["-d", "postgres", "-S", "slot"]).args(args);
        command
    };
    run(&mut program(&["--create-slot", "-P", "test_decoding"]));
    server.sql("postgres", "insert into r values (42)").unwrap();
    let file = server.dir.path().join("stream");
    std::fs::write(&file, "").unwrap();
    let mut child = program(&["--start", "-f", file.to_str().unwrap(), "-F", "0"]).spawn().unwrap();
    until("the change", || std::fs::read_to_string(&file).unwrap_or_default().contains("42"));
    run(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]));
    child.wait().unwrap();
    let events = drained(rig);
    let stream = events.iter().find(|e| word(e, sql::COPY_WAY) == "both").unwrap();
    assert!(word(stream, sql::LSN_TO).contains('/'), "{stream:?}");
    assert!(events.iter().any(|e| word(e, sql::REPLICATION) == "database"));
}

#[test]
fn every_statement_of_a_pipeline_is_a_record() {
    let server = server();
    let script = server.dir.path().join("pipeline.sql");
    std::fs::write(&script, "\\startpipeline\nselect 1;\nselect 2;\nselect 3;\n\\endpipeline\n").unwrap();
    let rig = rig(&server, |_| {});
    let mut bench = server.client("pgbench", rig.address.port());
    run(bench.args(["-n", "-M", "prepared", "-c", "4", "-t", "25", "-f"]).arg(&script));
    let events = drained(rig);
    let ran: Vec<&Event> = operations(&events)
        .into_iter()
        .filter(|e| e.core.op == "SELECT" && e.target.res.is_empty())
        .collect();
    assert_eq!(ran.len(), 4 * 25 * 3);
    assert!(ran.iter().all(|e| number(e, sql::ROWS) == Some(1) && e.core.class == Some(Class::Read)));
}

#[test]
fn a_notification_is_a_record_of_the_session_that_receives_it() {
    let server = server();
    let rig = rig(&server, |_| {});
    psql(&server, rig.address.port(), "listen news; notify news, 'notifyMark7x'");
    let events = drained(rig);
    let told = events.iter().find(|e| e.core.op == "NOTIFICATION").unwrap();
    assert_eq!((told.target.res.as_str(), told.core.class), ("news", Some(Class::Read)));
    assert_eq!(told.body.rsp.as_ref().unwrap().size, Some(12));
    assert!(!format!("{events:?}").contains("notifyMark7x"));
}
