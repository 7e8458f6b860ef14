//! SQL and search over both halves of the table.

use crate::sample::{Rng, gateway};
use crate::support::{House, find, indexes, number, sql, sql_error};
use countersign_store::{Cell, FindRequest, Order, QueryLimits, SqlRequest};
use std::time::Duration;

fn house(dir: &std::path::Path) -> House {
    let house = House::open(dir, 1, 400);
    let mut rng = Rng(21);
    house.record((1..=900).map(|seq| gateway(&mut rng, seq)).collect());
    house.store.wait_sealed(400, crate::support::LONG);
    house
}

#[test]
fn search_pages_by_index_and_pages_neither_shift_nor_repeat() {
    let dir = tempfile::tempdir().unwrap();
    let house = house(dir.path());
    let all = indexes(&find(&house.store, FindRequest { limit: 10_000, ..FindRequest::new("class:delete") }));
    assert!(all.len() > 100 && all.windows(2).all(|w| w[0] > w[1]));
    let at = house.ledger.size();
    let mut paged = Vec::new();
    let mut before = None;
    loop {
        let request = FindRequest { limit: 37, before, at: Some(at), ..FindRequest::new("class:delete") };
        let page = indexes(&find(&house.store, request));
        let Some(last) = page.last() else { break };
        before = Some(*last);
        paged.extend(page);
        let mut rng = Rng(before.unwrap());
        house.record(vec![gateway(&mut rng, 1)]);
    }
    assert_eq!(paged, all);
    let oldest = FindRequest {
        limit: 5,
        order: Order::OldestFirst,
        after: Some(all[all.len() - 2]),
        ..FindRequest::new("class:delete")
    };
    assert_eq!(
        indexes(&find(&house.store, oldest)),
        all.iter().rev().skip(2).take(5).copied().collect::<Vec<_>>()
    );
    house.close();
}

#[test]
fn counts_agree_with_sql_and_with_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let house = house(dir.path());
    let count =
        |filter: &str| futures::executor::block_on(house.store.count(FindRequest::new(filter))).unwrap();
    assert_eq!(count(""), 900);
    assert_eq!(count("outcome:success") + count("outcome:failed") + count("outcome:unknown"), 900);
    assert_eq!(count("-outcome:success"), count("outcome:failed OR outcome:unknown"));
    let by = futures::executor::block_on(house.store.count_by(
        FindRequest::new("op:get"),
        vec!["service".into(), "outcome".into()],
        100,
    ))
    .unwrap();
    let total: i64 = by.rows.iter().map(|row| if let Cell::Int(n) = row[2] { n } else { 0 }).sum();
    assert_eq!(total as u64, count("op:GET"));
    let t = |n: i64| Some(1_790_000_000_000_000_000 + n * 10_000);
    let half = FindRequest { from_ns: t(0), to_ns: t(450), ..FindRequest::default() };
    let other = FindRequest { from_ns: t(450), ..FindRequest::default() };
    let halves =
        [half, other].map(|request| futures::executor::block_on(house.store.count(request)).unwrap());
    assert_eq!(halves.iter().sum::<u64>(), 900);
    assert!(halves.iter().all(|n| *n > 400));
    house.close();
}

#[test]
fn names_of_the_event_are_names_in_sql() {
    let dir = tempfile::tempdir().unwrap();
    let house = house(dir.path());
    for (a, b) in [
        ("svc = 'orders'", "service = 'orders'"),
        ("core.op = 'GET'", "op = 'GET'"),
        ("who.kind = 'workload' AND src.ip = '10.0.0.3'", "who_kind = 'workload' AND src_ip = '10.0.0.3'"),
        ("dur > 1000000 AND e.res LIKE '/v1/%'", "duration_ns > 1000000 AND resource LIKE '/v1/%'"),
    ] {
        let n = number(&house.store, &format!("SELECT count(*) FROM events e WHERE {a}"));
        assert_eq!(n, number(&house.store, &format!("SELECT count(*) FROM events WHERE {b}")), "{a}");
        assert!(n > 0, "{a}");
    }
    let n = number(&house.store, "WITH t AS (SELECT 5 AS n) SELECT n FROM t");
    assert_eq!(n, 5, "a name of the query's own is not an alias");
    house.close();
}

#[test]
fn every_table_answers() {
    let dir = tempfile::tempdir().unwrap();
    let house = house(dir.path());
    for table in
        ["events", "edges", "identities", "traces", "findings", "sources", "gaps", "checkpoints", "entries"]
    {
        let rows = sql(&house.store, &format!("SELECT * FROM {table} LIMIT 5"));
        assert!(!rows.columns.is_empty());
        assert_eq!(rows.rows.is_empty(), matches!(table, "findings" | "gaps"), "{table}");
    }
    let edges = number(&house.store, "SELECT sum(\"count\") FROM edges");
    assert_eq!(edges, 900);
    assert!(number(&house.store, "SELECT count(*) FROM entries WHERE kind = 'source_reg'") >= 1);
    let hex = sql(
        &house.store,
        "SELECT hex(trace) AS t, verified_name(verified) AS v FROM events WHERE in_cidr(src_ip, '10.0.0.0/8') LIMIT 1",
    );
    assert!(matches!(&hex.rows[0][0], Cell::Text(t) if t.len() == 32));
    assert_eq!(hex.rows[0][1], Cell::Text("bound".into()));
    house.close();
}

#[test]
fn only_questions_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), 1, 400);
    for bad in [
        "CREATE TABLE t AS SELECT 1",
        "DROP TABLE events",
        "INSERT INTO events SELECT * FROM events",
        "SET a = 1",
        "COPY events TO '/tmp/x.csv'",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "SELECT * INTO t FROM events",
        "DELETE FROM events",
        "EXPLAIN DROP TABLE events",
        "SHOW TABLES",
        "SELECT 1; SELECT 2",
        "RESET all",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "PREPARE p AS SELECT 1",
        "CREATE FUNCTION f() RETURNS INT RETURN 1",
        "WITH x AS (DELETE FROM events) SELECT 1",
        "",
    ] {
        let error = sql_error(&house.store, bad);
        assert!(!error.contains("root:") && !error.is_empty(), "{bad}: {error}");
    }
    assert!(sql_error(&house.store, "DROP TABLE events").contains("DROP is not allowed"));
    let error = sql_error(&house.store, "SELECT outcom FROM events");
    assert!(error.contains("no column `outcom`") && error.contains("`outcome`"), "{error}");
    let error = sql_error(&house.store, "SELECT * FROM event");
    assert!(error.contains("`events`"), "{error}");
    assert!(sql(&house.store, "EXPLAIN SELECT * FROM events").rows.len() > 1);
    house.close();
}

#[test]
fn bounds_are_named_when_they_are_met() {
    let dir = tempfile::tempdir().unwrap();
    let house = house(dir.path());
    let run = |text: &str, limits: QueryLimits| {
        let request = SqlRequest { limits, ..SqlRequest::new(text) };
        futures::executor::block_on(house.store.sql(request))
    };
    let cross = "SELECT count(*) FROM events a, events b, events c WHERE a.seq + b.seq + c.seq > 5";
    let error =
        run(cross, QueryLimits { time: Duration::from_millis(200), ..QueryLimits::default() }).unwrap_err();
    assert_eq!(error.code(), "timeout", "{error}");
    let wide = "SELECT array_agg(a.resource), array_agg(b.who) FROM events a, events b GROUP BY a.seq % 7";
    let error = run(wide, QueryLimits { memory_mib: 1, ..QueryLimits::default() }).unwrap_err();
    assert_eq!(error.code(), "too-much-memory", "{error}");
    let rows = run("SELECT seq FROM events", QueryLimits { rows: 10, ..QueryLimits::default() }).unwrap();
    assert_eq!((rows.rows.len(), rows.complete.truncated), (10, true));
    for _ in 0..40 {
        drop(house.store.sql(SqlRequest::new(cross)));
    }
    assert_eq!(number(&house.store, "SELECT count(*) FROM events"), 900, "dropped answers free their turns");
    house.close();
}
