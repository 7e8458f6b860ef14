//! Denials in front of a real server, wherever a statement can stand: the client sees 42501, the server never
//! gets the statement, and what becomes of the transaction is the server's own doing.

use crate::postgres::{drained, operations, server, settled_log};
use crate::postgres_raw::{
    Raw, bind, call, completions, execute, message, parse, query, run, state, tags, transaction,
};
use crate::support::Rig;
use countersign_event::fields::detail::sql;
use countersign_event::{Class, Decision, Event, Mode, Outcome, Verdict};
use countersign_gateway::Protocol;
use countersign_identity::IdentityConfig;
use countersign_policy::{Policy, Request};
use countersign_testkit::postgres::Postgres;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const REASON: &str = "machines do not delete, call by OID or touch the vault";

/// Denies deletions, calls by OID and everything about the table `vault`, once it is armed.
#[derive(Default)]
struct Guard {
    armed: AtomicBool,
}

impl Policy for Guard {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let meant = request.class == Some(Class::Delete)
            || request.operation == "FUNCTION"
            || request.resource == "vault";
        let denied = meant && self.armed.load(Ordering::Relaxed);
        Decision {
            mode: Some(Mode::Enforce),
            verdict: Some(if denied { Verdict::Deny } else { Verdict::Allow }),
            policies: vec!["guard".into()],
            reason: if denied { REASON.into() } else { String::new() },
            ..Decision::default()
        }
    }
}

struct World {
    server: Postgres,
    rig: Rig,
    guard: Arc<Guard>,
}

impl World {
    fn new() -> World {
        let server = server();
        let tables = "create table kept as select generate_series(1, 3) as id; create table other(id int); \
             create table vault(id int)";
        server.sql("postgres", tables).unwrap();
        let guard = Arc::new(Guard { armed: AtomicBool::new(true) });
        let protect = |config: &mut countersign_gateway::GatewayConfig| {
            config.enforce = true;
            config.listeners[0].protocol = Protocol::Postgres;
        };
        let rig = Rig::full(server.address, protect, IdentityConfig::default(), guard.clone());
        World { server, rig, guard }
    }

    /// Ids in `other`, and how many rows `kept` has.
    fn left(&self) -> String {
        let ask = "select coalesce(string_agg(id::text, ',' order by id), '') || '/' || \
             (select count(*) from kept) || '/' || (select count(*) from vault) from other";
        self.server.sql("postgres", ask).unwrap().trim().to_owned()
    }

    /// The records, after checking what holds for every denial.
    fn events(self, denied: usize, never: &[&str]) -> Vec<Event> {
        let events = drained(self.rig);
        let refused: Vec<&Event> =
            operations(&events).into_iter().filter(|e| e.core.outcome == Some(Outcome::Denied)).collect();
        assert_eq!(
            refused.len(),
            denied,
            "{:#?}",
            events.iter().map(crate::support::brief).collect::<Vec<_>>()
        );
        for event in refused {
            assert_eq!(event.core.status.as_ref().unwrap().1, "42501");
            let decision = event.core.decision.as_ref().unwrap();
            assert_eq!((decision.verdict, decision.reason.as_str()), (Some(Verdict::Deny), REASON));
            assert_eq!(decision.policies, ["guard"]);
        }
        let log = settled_log(&self.server);
        for text in never {
            assert!(!log.contains(text), "the server got {text}");
        }
        events
    }
}

#[test]
fn in_a_pipeline_what_came_before_is_rolled_back_and_what_follows_is_not_run() {
    let world = World::new();
    let mut raw = Raw::login(world.rig.address);
    let insert = |n: i32| run(&format!("insert into other values ({n})"));
    let said = raw.pipeline(&[insert(1), run("delete from kept"), insert(2)]);
    assert_eq!((tags(&said).as_str(), state(&said).as_str(), transaction(&said)), ("12CEZ", "42501", 'I'));
    // The implicit transaction was the server's to end.
    assert_eq!(world.left(), "/3/0");
    let said = raw.pipeline(&[insert(3), insert(4)]);
    assert_eq!((tags(&said).as_str(), transaction(&said)), ("12C12CZ", 'I'));
    assert_eq!(world.left(), "3,4/3/0");
    drop(raw);
    let events = world.events(1, &["delete from kept", "values (2)"]);
    let idle = operations(&events).into_iter().filter(|e| e.content.detail.contains_key(&sql::NOT_RUN));
    // The denied statement failed at its Parse; its Execute and the next statement's were skipped.
    assert_eq!(idle.count(), 2);
}

#[test]
fn an_execute_of_what_was_prepared_before_the_rule_came_is_denied() {
    let world = World::new();
    world.guard.armed.store(false, Ordering::Relaxed);
    let mut raw = Raw::login(world.rig.address);
    assert_eq!(tags(&raw.pipeline(&[parse("d", "delete from kept")])), "1Z");
    world.guard.armed.store(true, Ordering::Relaxed);
    let insert = run("insert into other values (1)");
    let said = raw.pipeline(&[insert.clone(), bind("d"), execute(), insert]);
    assert_eq!((tags(&said).as_str(), state(&said).as_str(), transaction(&said)), ("12C2EZ", "42501", 'I'));
    assert_eq!(world.left(), "/3/0");
    let said = raw.pipeline(&[run("select 1")]);
    assert_eq!(tags(&said), "12DCZ");
    drop(raw);
    let events = world.events(1, &["execute d: delete"]);
    let denied = operations(&events).into_iter().find(|e| e.core.outcome == Some(Outcome::Denied)).unwrap();
    assert_eq!((denied.core.op.as_str(), denied.target.res.as_str()), ("DELETE", "kept"));
}

#[test]
fn an_explicit_transaction_fails_as_after_any_error_and_a_savepoint_saves_it() {
    let world = World::new();
    let mut raw = Raw::login(world.rig.address);
    for protocol in ["simple", "extended"] {
        let deny = |raw: &mut Raw| match protocol {
            "simple" => raw.ask("delete from kept"),
            _ => raw.pipeline(&[run("delete from kept")]),
        };
        raw.ask("begin");
        assert_eq!(transaction(&raw.ask("insert into other values (1)")), 'T');
        let said = deny(&mut raw);
        assert_eq!((state(&said).as_str(), transaction(&said)), ("42501", 'E'), "{protocol}");
        let said = raw.ask("insert into other values (2)");
        assert_eq!((state(&said).as_str(), transaction(&said)), ("25P02", 'E'));
        let said = raw.ask("commit");
        assert_eq!((completions(&said), transaction(&said)), (vec!["ROLLBACK".to_owned()], 'I'));
        assert_eq!(world.left(), "/3/0");

        raw.ask("begin");
        raw.ask("savepoint s");
        assert_eq!(transaction(&deny(&mut raw)), 'E');
        assert_eq!(transaction(&raw.ask("rollback to savepoint s")), 'T');
        raw.ask("insert into other values (5)");
        assert_eq!(completions(&raw.ask("commit")), ["COMMIT"]);
        assert_eq!(world.left(), "5/3/0");
        world.server.sql("postgres", "truncate other").unwrap();
    }
    drop(raw);
    world.events(4, &["delete from kept"]);
}

#[test]
fn a_query_of_several_statements_is_denied_whole() {
    let world = World::new();
    let mut raw = Raw::login(world.rig.address);
    let said = raw.ask("insert into other values (1); delete from kept; insert into other values (2)");
    assert_eq!((tags(&said).as_str(), state(&said).as_str(), transaction(&said)), ("EZ", "42501", 'I'));
    assert_eq!(world.left(), "/3/0");
    // The same in a transaction that the same Query would have opened and closed.
    let said = raw.ask("begin; insert into other values (3); delete from kept; commit");
    assert_eq!((state(&said).as_str(), transaction(&said)), ("42501", 'I'));
    assert_eq!(world.left(), "/3/0");
    drop(raw);
    let events = world.events(3 + 4, &["into other", "delete from kept"]);
    let ops: Vec<&str> = operations(&events).iter().map(|e| e.core.op.as_str()).collect();
    assert_eq!(ops, ["INSERT", "DELETE", "INSERT", "BEGIN", "INSERT", "DELETE", "COMMIT"]);
}

#[test]
fn a_copy_is_denied_both_ways_and_its_data_goes_nowhere() {
    let world = World::new();
    let mut raw = Raw::login(world.rig.address);
    for text in ["copy vault from stdin", "copy vault to stdout", "copy (select * from vault) to stdout"] {
        let said = raw.ask(text);
        assert_eq!((tags(&said).as_str(), state(&said).as_str(), transaction(&said)), ("EZ", "42501", 'I'));
    }
    // A client that does not wait for the server's word before it sends its data.
    let data = [message(b'd', b"1\n"), message(b'd', b"2\n"), message(b'c', b"")].concat();
    let said =
        raw.pipeline(&[run("insert into other values (1)"), run("copy vault from stdin"), data.clone()]);
    assert_eq!((tags(&said).as_str(), state(&said).as_str(), transaction(&said)), ("12CEZ", "42501", 'I'));
    raw.send([query("copy vault from stdin"), data].concat());
    assert_eq!(state(&raw.ready()), "42501");
    assert_eq!(world.left(), "/3/0");
    // What may be copied still is, on the same connection.
    raw.send(query("copy other from stdin"));
    assert_eq!(raw.next().0, b'G');
    raw.send([message(b'd', b"7\n"), message(b'c', b"")].concat());
    assert_eq!(completions(&raw.ready()), ["COPY 1"]);
    assert_eq!(world.left(), "7/3/0");
    drop(raw);
    world.events(5, &["vault from", "vault to", "* from vault"]);
}

#[test]
fn a_call_by_oid_is_denied_inside_and_outside_of_transactions() {
    let world = World::new();
    let mut raw = Raw::login(world.rig.address);
    let oid: u32 = world
        .server
        .sql("postgres", "select 'abs(int4)'::regprocedure::oid::int")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    raw.send(call(oid, "-5"));
    let said = raw.ready();
    assert_eq!((tags(&said).as_str(), state(&said).as_str(), transaction(&said)), ("EZ", "42501", 'I'));
    raw.ask("begin");
    raw.send(call(oid, "-5"));
    assert_eq!(transaction(&raw.ready()), 'E');
    raw.ask("rollback");
    world.guard.armed.store(false, Ordering::Relaxed);
    raw.send(call(oid, "-5"));
    let said = raw.ready();
    assert_eq!(said[0], (b'V', [&[0, 0, 0, 1][..], b"5"].concat()));
    assert_eq!(transaction(&said), 'I');
    drop(raw);
    let log = settled_log(&world.server);
    assert_eq!(log.matches("fastpath function call").count(), 1, "only the one that was allowed");
    let events = world.events(2, &[]);
    let calls: Vec<_> = operations(&events).into_iter().filter(|e| e.core.op == "FUNCTION").collect();
    assert_eq!(calls.len(), 3);
}
