//! Strict and gap on PostgreSQL routes: the server sees no statement before its intent is durable, and what is
//! dropped is counted.

use crate::postgres::{operations, rig, server, settled_log};
use crate::postgres_raw::{Raw, bind, completions, execute, message, parse, query, run, state, sync, tags};
use crate::support::{Rig, until};
use countersign_event::fields::detail::sql;
use countersign_event::{Event, Outcome, Rec};
use countersign_gateway::{Durability, GatewayConfig};
use countersign_testkit::postgres::Postgres;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn strict(config: &mut GatewayConfig) {
    config.listeners[0].durability = Durability::Strict;
}

/// All records, after the connections have ended.
fn ended(rig: Rig) -> Vec<Event> {
    until("the connections to end", || rig.gateway.stats().open == 0);
    rig.gateway.shutdown(Duration::from_secs(5));
    rig.memory.all()
}

fn world(change: impl FnOnce(&mut GatewayConfig)) -> (Postgres, Rig) {
    let server = server();
    server.sql("postgres", "create table t(id int)").unwrap();
    let rig = rig(&server, change);
    (server, rig)
}

fn count(server: &Postgres) -> String {
    server.sql("postgres", "select count(*) from t").unwrap().trim().to_owned()
}

/// A way to run `insert into t values (1)`, whose mark is then in the server's log.
type Form = (&'static str, fn() -> Vec<u8>);

const FORMS: [Form; 4] = [
    ("simple", || query("/* strictMark */ insert into t values (1)")),
    ("extended", || [run("/* strictMark */ insert into t values (1)"), sync()].concat()),
    ("pipeline", || {
        let one = run("/* strictMark */ insert into t values (1)");
        [one.clone(), one.clone(), sync(), one, sync()].concat()
    }),
    ("long", || query(&format!("/* strictMark {} */ insert into t values (1)", "x".repeat(300_000)))),
];

#[test]
fn the_server_gets_no_statement_whose_intent_is_not_durable_and_the_client_is_told_so() {
    for (name, form) in FORMS {
        let (server, rig) = world(|config| {
            strict(config);
            config.limits.strict_wait = Duration::from_millis(200);
        });
        let mut raw = Raw::login(rig.address);
        rig.memory.stalled.store(true, Ordering::Relaxed);
        raw.send(form());
        let rest = raw.0.rest();
        assert_eq!(rest.first(), Some(&b'E'), "{name}");
        let text = String::from_utf8_lossy(&rest).into_owned();
        assert!(text.contains("57P03") && text.contains("the audit log takes no records"), "{name}: {text}");
        assert_eq!(rig.gateway.stats().unrecorded, 1, "{name}");
        assert_eq!(count(&server), "0", "{name}");
        assert!(!settled_log(&server).contains("insert into t"), "{name}: the server was sent it");
        rig.memory.stalled.store(false, Ordering::Relaxed);
        drop(raw);
        let events = ended(rig);
        let inserts = operations(&events).into_iter().filter(|e| e.core.op == "INSERT");
        assert!(inserts.clone().all(|e| e.core.outcome.is_none()), "{name}: nobody knows an outcome of it");
        assert!(inserts.count() > 0, "{name}");
    }
}

#[test]
fn each_statement_of_a_strict_route_has_one_intent_that_names_it_and_one_outcome() {
    let (server, rig) = world(strict);
    let mut raw = Raw::login(rig.address);
    for (_, form) in FORMS {
        raw.send(form());
    }
    let mut completed = 0;
    for _ in 0..5 {
        completed += completions(&raw.ready()).len();
    }
    assert_eq!((completed, count(&server).as_str()), (6, "6"));
    // Several in one Query, one that fails, a portal in two parts, a copy.
    assert_eq!(state(&raw.ask("select 1; select 1/0; select 3")), "22012");
    let two = [execute_two(), execute_two()].concat();
    raw.pipeline(&[parse("p", "select generate_series(1, 3)"), bind("p"), two]);
    raw.send(query("copy t from stdin"));
    assert_eq!(raw.next().0, b'G');
    raw.send([message(b'd', b"7\n"), message(b'c', b"")].concat());
    assert_eq!(completions(&raw.ready()), ["COPY 1"]);
    drop(raw);
    let events = ended(rig);
    let of = |rec| events.iter().filter(move |e| e.core.rec == Some(rec)).collect::<Vec<_>>();
    let intents: Vec<_> = of(Rec::Intent).into_iter().filter(|e| !e.core.op.contains("connect")).collect();
    assert!(intents.iter().all(|e| e.core.op != "unread"), "each intent names its statement");
    let mut announced: Vec<_> = intents.iter().map(|e| (e.core.eid, e.core.op.clone())).collect();
    let mut ended: Vec<_> =
        of(Rec::Outcome).iter().map(|e| (e.links.of.unwrap(), e.core.op.clone())).collect();
    announced.sort();
    ended.sort();
    assert_eq!(announced, ended);
    assert_eq!(announced.len(), 6 + 3 + 2 + 1);
}

/// Execute of the unnamed portal for two rows.
fn execute_two() -> Vec<u8> {
    message(b'E', &[0, 0, 0, 0, 2])
}

#[test]
fn a_statement_too_long_to_be_held_has_its_intent_before_its_first_byte_too() {
    let (server, rig) = world(strict);
    let mut raw = Raw::login(rig.address);
    let long = format!("/* {} */ insert into t values (1)", "x".repeat(3 << 20));
    assert_eq!(completions(&raw.ask(&long)), ["INSERT 0 1"]);
    assert_eq!(completions(&raw.ask("select 5")), ["SELECT 1"]);
    assert_eq!(count(&server), "1");
    drop(raw);
    let events = ended(rig);
    let outcomes: Vec<_> = events.iter().filter(|e| e.core.rec == Some(Rec::Outcome)).collect();
    let intents: Vec<_> = events.iter().filter(|e| e.core.rec == Some(Rec::Intent)).collect();
    assert_eq!(outcomes.len(), 2);
    let named: Vec<_> = intents.iter().map(|e| e.core.op.as_str()).collect();
    assert_eq!(named, ["connect", "disconnect", "unread", "SELECT"]);
    let links: Vec<_> = outcomes.iter().map(|e| e.links.of.unwrap()).collect();
    assert_eq!(links, [intents[2].core.eid, intents[3].core.eid]);
}

#[test]
fn on_a_gap_route_made_and_dropped_records_are_the_statements_that_ran() {
    const STATEMENTS: u64 = 300;
    let (server, rig) = world(|config| {
        config.listeners[0].durability = Durability::Gap;
        config.limits.ring = 8 << 10;
    });
    let mut raw = Raw::login(rig.address);
    rig.memory.wait(1);
    rig.memory.stalled.store(true, Ordering::Relaxed);
    for n in 0..STATEMENTS / 3 {
        assert_eq!(completions(&raw.ask(&format!("insert into t values ({n})"))), ["INSERT 0 1"]);
        let two = [run("insert into t values (0)"), parse("p", "select 1"), bind("p"), execute()];
        let said = raw.pipeline(&[two.concat(), message(b'C', b"Sp\0")]);
        assert_eq!(tags(&said), "12C12DC3Z");
    }
    let dropped = rig.gateway.stats().dropped;
    assert!(dropped > 0, "the ring was full");
    until("the gap is declared", || rig.memory.dropped.load(Ordering::Relaxed) == dropped);
    rig.memory.stalled.store(false, Ordering::Relaxed);
    // With room again, what follows is recorded again.
    let mut more = 0;
    until("records are made again", || {
        more += 1;
        raw.ask("select 'again'");
        rig.memory.all().iter().any(is_again)
    });
    drop(raw);
    let memory = rig.memory.clone();
    until("the connection to end", || rig.gateway.stats().open == 0);
    let dropped = rig.gateway.stats().dropped;
    rig.gateway.shutdown(Duration::from_secs(5));
    let events = memory.all();
    let made = operations(&events).len() as u64;
    assert_eq!(made + dropped, STATEMENTS + more, "made {made}, dropped {dropped}");
    let gaps = events.iter().filter(|e| e.core.rec == Some(Rec::Gap));
    assert_eq!(gaps.map(|e| e.core.n.unwrap_or(1)).sum::<u64>(), dropped);
    assert_eq!(memory.dropped.load(Ordering::Relaxed), dropped);
    assert!(operations(&events).iter().all(|e| e.core.outcome == Some(Outcome::Success)), "none is guessed");
    assert_eq!(count(&server), (STATEMENTS * 2 / 3).to_string());
}

/// The statement that is asked after the stall, the only one with a literal that is no prepared one's.
fn is_again(event: &Event) -> bool {
    event.content.stmt == "select ?" && !event.content.detail.contains_key(&sql::PREPARED)
}
