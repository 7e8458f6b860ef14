//! Whole suites of drivers and tools behind the gateway: the records are, as a multiset, what the server says of
//! the same sessions in three ways: its own audit (pgaudit) by session, text, parameters and rows; its log of
//! received statements, with errors; and `pg_stat_statements` by text, calls and rows.
//!
//! Where pgaudit does not tell what happened, [`AUDIT_KNOWN`] says so by name, and another count stands in.

use crate::postgres::{drained, number, operations, psql, rig, run, word};
use crate::postgres_drivers::{PACKAGES, transcript};
use crate::postgres_log::{SETTINGS, Statement, Told, comparable, read};
use crate::postgres_rust;
use crate::support::until;
use countersign_event::fields::detail::sql;
use countersign_event::{Event, Outcome, Rec};
use countersign_gateway::GatewayConfig;
use countersign_testkit::postgres::{Postgres, Setup, Version, start};
use countersign_testkit::python;
use std::collections::BTreeMap;

/// What pgaudit 1.7 is known to tell otherwise: verbs, and what of them is not compared with it.
const AUDIT_KNOWN: [(&str, Known); 9] = [
    // Issue 296: the rows of a COPY are told as 0. `pg_stat_statements` and the client count them.
    ("COPY", Known::NoRows),
    // Rows of utility statements are told as 0.
    ("FETCH", Known::NoRows),
    ("MOVE", Known::NoRows),
    ("SHOW", Known::NoRows),
    ("EXPLAIN", Known::NoRows),
    ("EXECUTE", Known::NoRows),
    // A block is told before it runs, also when it fails then.
    ("DO", Known::AlsoFailed),
    // What ends a transaction that has failed is not told. The log of received statements has it.
    ("ROLLBACK", Known::NotAlways),
    // Nothing ran.
    ("EMPTY", Known::NotAlways),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    NoRows,
    AlsoFailed,
    NotAlways,
}

fn known(verb: &str) -> Option<Known> {
    AUDIT_KNOWN.iter().find(|(of, _)| *of == verb).map(|(_, known)| *known)
}

fn server() -> Postgres {
    let setup = Setup { lines: SETTINGS.to_owned(), ..Setup::new(Version::V15) };
    let server = start(&setup).unwrap();
    server.sql("postgres", "create extension pg_stat_statements").unwrap();
    server
}

fn with_parameters(config: &mut GatewayConfig) {
    config.listeners[0].postgres.parameters = true;
}

/// How often each is in `a` beyond how often it is in `b`.
fn beyond<T: Ord + Clone>(a: &[T], b: &[T]) -> Vec<T> {
    let mut left: BTreeMap<&T, usize> = BTreeMap::new();
    b.iter().for_each(|x| *left.entry(x).or_default() += 1);
    let mut out = Vec::new();
    for x in a {
        match left.get_mut(x).filter(|n| **n > 0) {
            Some(n) => *n -= 1,
            None => out.push(x.clone()),
        }
    }
    out
}

/// Both ways at once, cut for reading.
fn assert_same<T: Ord + Clone + std::fmt::Debug>(what: &str, theirs: &[T], ours: &[T]) {
    let shown = |list: Vec<T>| {
        let line = |x: &T| format!("{x:?}").chars().take(300).collect::<String>();
        list.iter().take(40).map(line).collect::<Vec<_>>()
    };
    let (only_theirs, only_ours) = (shown(beyond(theirs, ours)), shown(beyond(ours, theirs)));
    println!("{what}: {} and {}", theirs.len(), ours.len());
    assert_eq!((only_theirs, only_ours), (Vec::new(), Vec::new()), "{what}: only the server's, only ours");
}

/// The records of one load, sorted by what became of them.
struct Ours<'a> {
    pids: BTreeMap<String, u64>,
    /// Statements that the server began to run.
    ran: Vec<&'a Event>,
    /// Statements that it did not run.
    idle: Vec<&'a Event>,
    /// Messages that failed before they came to a statement.
    steps: Vec<&'a Event>,
    calls: Vec<&'a Event>,
}

impl<'a> Ours<'a> {
    fn new(events: &'a [Event]) -> Ours<'a> {
        let opened = events
            .iter()
            .filter(|e| e.core.rec == Some(Rec::SessionOpen) && e.core.outcome == Some(Outcome::Success));
        let pids = opened.map(|e| (e.links.sess.clone(), number(e, sql::PID).unwrap())).collect();
        let has = |event: &&Event, key: u64| event.content.detail.contains_key(&key);
        let all = operations(events).into_iter();
        let all = all.filter(|e| !matches!(e.core.op.as_str(), "NOTIFICATION" | "CANCEL"));
        let (steps, all): (Vec<_>, Vec<_>) = all.partition(|e| has(e, sql::STEP));
        let (calls, all): (Vec<_>, Vec<_>) = all.into_iter().partition(|e| has(e, sql::FUNCTION));
        let (idle, ran) = all.into_iter().partition(|e| has(e, sql::NOT_RUN));
        Ours { pids, ran, idle, steps, calls }
    }

    fn pid(&self, event: &Event) -> u64 {
        self.pids[&event.links.sess]
    }

    fn statement(&self, event: &Event) -> Statement {
        comparable(self.pid(event), &event.content.stmt, &event.content.params)
    }

    fn statements(&self, events: &[&Event]) -> Vec<Statement> {
        events.iter().map(|e| self.statement(e)).collect()
    }

    /// The server's log, once all these sessions have ended in it.
    fn told(&self, server: &Postgres) -> Told {
        until("the sessions to end in the log", || {
            let ended = read(server).ended;
            self.pids.values().all(|pid| ended.contains(pid))
        });
        read(server)
    }

    fn compare(&self, told: &Told) {
        self.errors(told);
        self.received(told);
        self.audited(told);
        let calls: Vec<_> =
            self.calls.iter().map(|e| (self.pid(e), number(e, sql::FUNCTION).unwrap())).collect();
        assert_eq!((beyond(&told.called, &calls), beyond(&calls, &told.called)), (vec![], vec![]));
    }

    fn errors(&self, told: &Told) {
        let failed = self.ran.iter().chain(&self.steps).chain(&self.calls);
        let failed: Vec<_> = failed
            .map(|e| (self.pid(e), state(e).to_owned()))
            .filter(|(_, state)| !matches!(state.as_str(), "" | "00000" | "57P01"))
            .collect();
        assert_same("errors", &told.failed, &failed);
    }

    /// Each statement that the server logged as received is one record, and the other way round.
    fn received(&self, told: &Told) {
        // The server ends a session whenever it is told to: what comes then it does not read.
        let alive: Vec<&Event> =
            self.ran.iter().copied().filter(|e| !matches!(state(e), "57P01" | "")).collect();
        let ran = self.statements(&alive);
        // Of a Query with several statements, those behind an error were received and not run.
        let unmatched = beyond(&beyond(&told.received, &ran), &self.statements(&self.idle));
        let shown: Vec<_> = unmatched.iter().take(20).collect();
        assert!(unmatched.is_empty(), "received and not recorded: {shown:?}");
        // A text that is no statement is refused before it is logged.
        let refused: Vec<_> =
            told.refused.iter().map(|(pid, state, text)| (*pid, state, text.as_str())).collect();
        let texts: Vec<_> = self
            .steps
            .iter()
            .map(|e| (self.pid(e), e.core.status.as_ref().map(|s| &s.1), e.content.stmt.as_str()))
            .collect();
        let texts: Vec<_> =
            texts.into_iter().filter_map(|(pid, state, text)| Some((pid, state?, text))).collect();
        let refused: Vec<Statement> =
            beyond(&refused, &texts).into_iter().map(|(pid, _, text)| comparable(pid, text, &[])).collect();
        let only_ours = beyond(&ran, &told.received);
        println!("received: {} and {}; refused as text: {}", told.received.len(), ran.len(), refused.len());
        assert_same("refused as text", &refused, &only_ours);
    }

    /// Each statement that pgaudit tells is one record that ended well, with its parameters and rows.
    fn audited(&self, told: &Told) {
        let ours: Vec<_> = self.ran.iter().filter(|e| self.is_audited(e)).map(|e| self.audit(e)).collect();
        let optional = |one: &(Statement, u64)| {
            let verb = one.0.1.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            verb.is_empty() || known(&verb) == Some(Known::NotAlways)
        };
        let rows_of = |one: (Statement, u64)| {
            let verb = one.0.1.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            let rows = if known(&verb) == Some(Known::NoRows) { 0 } else { one.1 };
            (one.0, rows)
        };
        // A portal that is read in parts is told once, with the rows of its last part, or, when its transaction
        // is rolled back, not at all. The client counts these.
        let parts = self.ran.iter().filter(|e| e.content.detail.contains_key(&sql::PORTAL_ROWS));
        let parts: Vec<Statement> = parts.map(|e| self.audit(e).0).collect();
        let must = |list: Vec<(Statement, u64)>| {
            let list = list.into_iter().filter(|one| !optional(one) && !parts.contains(&one.0));
            list.map(rows_of).collect::<Vec<_>>()
        };
        assert!(!told.audited.is_empty());
        assert_same("audited", &must(told.audited.clone()), &must(ours));
    }

    fn is_audited(&self, event: &Event) -> bool {
        let ended = event.core.outcome == Some(Outcome::Success);
        ended || known(&event.core.op) == Some(Known::AlsoFailed)
    }

    fn audit(&self, event: &Event) -> (Statement, u64) {
        let (pid, text, parameters) = self.statement(event);
        // Null and the empty text are one to it.
        let parameters =
            parameters.into_iter().map(|p| if p == "NULL" { String::new() } else { p }).collect();
        ((pid, text, parameters), rows(event))
    }
}

fn state(event: &Event) -> &str {
    event.core.status.as_ref().map_or("", |s| s.1.as_str())
}

/// Rows that the server processed: given or changed.
fn rows(event: &Event) -> u64 {
    number(event, sql::AFFECTED).max(number(event, sql::ROWS)).unwrap_or(0)
}

/// One text for statements that `pg_stat_statements` does not tell apart: it has `$n` for literals, and folds
/// nothing.
fn family(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '?' => plain.push('0'),
            '$' if chars.peek().is_some_and(char::is_ascii_digit) => {
                while chars.next_if(char::is_ascii_digit).is_some() {}
                plain.push('0');
            }
            c => plain.push(c),
        }
    }
    let shape = countersign_wire::sql::shape(&plain, true);
    // To it these are literals too.
    let (mut out, mut word) = (String::with_capacity(shape.len()), String::new());
    for c in shape.chars().chain([' ']) {
        if c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '"') {
            word.push(c);
            continue;
        }
        let literal = matches!(word.as_str(), "true" | "false" | "null");
        out.push_str(if literal { "?" } else { &word });
        out.push(c);
        word.clear();
    }
    out
}

type Counts = BTreeMap<String, (u64, u64)>;

/// Utility statements that were prepared are counted at their first execution only: it leaves the plan without
/// the number that they are counted by. The other two accounts have each of them.
const PREPARED_UTILITY: [&str; 2] = ["begin ", "end "];

/// Calls and rows by text, as the server counted them.
fn counted(server: &Postgres) -> Counts {
    let ask = "select coalesce(json_agg(json_build_array(query, calls, rows)), '[]') from pg_stat_statements \
         where toplevel and query not like '%pg_stat_statements%'";
    let text = server.sql("postgres", ask).unwrap();
    let list: Vec<(String, u64, u64)> = serde_json::from_str(&text).unwrap();
    let mut out = Counts::new();
    for (text, calls, rows) in list {
        let at = out.entry(family(&text)).or_default();
        *at = (at.0 + calls, at.1 + rows);
    }
    out
}

/// The same of records.
fn recorded(ours: &Ours<'_>) -> Counts {
    let mut out = Counts::new();
    let mut prepared: BTreeMap<(&str, String), &str> = BTreeMap::new();
    for event in ours.ran.iter().filter(|e| e.core.outcome == Some(Outcome::Success)) {
        let name = || (event.links.sess.as_str(), word(event, sql::PREPARED));
        // EXECUTE counts for the text that it was prepared with, and PREPARE for nothing.
        let text =
            match event.content.stmt.split(' ').next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PREPARE" if !event.core.op.contains("TRANSACTION") => {
                    prepared.insert(name(), &event.content.stmt);
                    continue;
                }
                "DEALLOCATE" => continue,
                "EXECUTE" => prepared[&name()],
                _ => &event.content.stmt,
            };
        // Of utility statements it counts the rows of those that copy, fetch or fill a table.
        let rows = if matches!(event.core.op.as_str(), "SHOW" | "EXPLAIN") { 0 } else { rows(event) };
        let at = out.entry(family(text)).or_default();
        *at = (at.0 + 1, at.1 + rows);
    }
    out
}

fn reset(server: &Postgres) {
    server.sql("postgres", "select pg_stat_statements_reset()").unwrap();
}

/// What only one side counted, or both differently.
fn uneven(theirs: &Counts, ours: &Counts) -> Vec<String> {
    let names = theirs.keys().chain(ours.keys().filter(|text| !theirs.contains_key(*text)));
    let names = names.filter(|text| !PREPARED_UTILITY.contains(&text.as_str()));
    let differ = names.filter(|text| theirs.get(*text) != ours.get(*text));
    differ.map(|t| format!("{:.200} server {:?} records {:?}", t, theirs.get(t), ours.get(t))).collect()
}

#[test]
fn records_of_driver_suites_are_what_the_server_audited() {
    let server = server();
    let python = python::venv("postgres-drivers", &PACKAGES).unwrap();
    let rig = rig(&server, with_parameters);
    let port = rig.address.port();
    for suite in ["psycopg_cases.py", "pg8000_cases.py"] {
        transcript(&python, suite, port);
    }
    let events = drained(rig);
    let ours = Ours::new(&events);
    ours.compare(&ours.told(&server));
    // Rows of copies are the client's count: what the drivers say in their transcripts.
    let mut copied: Vec<u64> = ours
        .ran
        .iter()
        .filter(|e| e.core.op == "COPY" && e.core.outcome == Some(Outcome::Success))
        .map(|e| rows(e))
        .collect();
    copied.sort_unstable();
    assert_eq!(copied, [100, 300, 300, 300, 1_000, 2_000, 2_000, 20_000]);
}

#[test]
fn records_of_tokio_postgres_are_what_the_server_audited() {
    let server = server();
    let rig = rig(&server, with_parameters);
    postgres_rust::block(postgres_rust::transcript(rig.address.port()));
    let events = drained(rig);
    let ours = Ours::new(&events);
    ours.compare(&ours.told(&server));
}

#[test]
fn records_of_the_servers_own_tools_are_what_it_audited_and_counted() {
    let server = server();
    // What does not come over TCP is not compared.
    let mut init = server.client("pgbench", server.address.port());
    run(init.args(["-i", "-q", "-s", "1"]).env("PGHOST", server.dir.path()));
    server.sql("postgres", "create table c(id int, v text)").unwrap();
    let file = |name: &str, text: &str| {
        let path = server.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let pipeline = file("pipeline.sql", "\\startpipeline\nselect 1;\nselect 2;\nselect 3;\n\\endpipeline\n");
    let rows = file("rows", &"7\tx\n".repeat(500));
    reset(&server);
    let rig = rig(&server, with_parameters);
    let port = rig.address.port();
    for mode in ["simple", "extended", "prepared"] {
        run(server.client("pgbench", port).args(["-n", "-c", "4", "-M", mode, "-t", "20"]));
        run(server.client("pgbench", port).args(["-n", "-S", "-c", "4", "-M", mode, "-t", "50"]));
    }
    run(server
        .client("pgbench", port)
        .args(["-n", "-M", "prepared", "-c", "4", "-t", "10", "-f", &pipeline]));
    run(server.client("pg_dump", port).arg("postgres"));
    psql(&server, port, &format!("\\copy c from '{rows}'"));
    psql(&server, port, "copy c to stdout");
    psql(&server, port, "copy (select id from c limit 9) to stdout");
    psql(&server, port, &format!("\\lo_import '{rows}'"));
    psql(
        &server,
        port,
        "create table made as select * from c; select * into more from c; drop table made, more",
    );
    let events = drained(rig);
    let ours = Ours::new(&events);
    ours.compare(&ours.told(&server));
    assert!(ours.calls.len() >= 4, "psql loads large objects by function calls");
    let (theirs, mine) = (counted(&server), recorded(&ours));
    let total: u64 = mine.values().map(|(calls, _)| calls).sum();
    println!("pg_stat_statements: {} texts, {total} calls", theirs.len());
    assert_eq!(uneven(&theirs, &mine), Vec::<String>::new());
}
