//! A result of 1 GiB (a tenth in the plain test command) to a client that does not read: the server is slowed,
//! the gateway's memory is not, others are served, and a client that never reads is one clear event.
//!
//! Memory is measured in a process of its own, since the tests beside it allocate too.

use crate::postgres::{drained, operations, rig, server};
use crate::postgres_raw::{Raw, completions, query};
use crate::support::{PATIENCE, Rig, rss_kib, until};
use countersign_event::fields::detail::sql;
use countersign_event::{Outcome, Rec};
use countersign_testkit::repetitions;
use std::process::Command;
use std::time::{Duration, Instant};

const ALONE: &str = "COUNTERSIGN_TEST_ALONE";
/// Bytes of one row's value.
const ROW: usize = 1 << 20;
/// What memory may grow by, KiB.
const GROWTH_KIB: u64 = 8 << 10;

fn large(rows: usize) -> String {
    format!("select repeat('x', {ROW}) from generate_series(1, {rows})")
}

/// Waits until the gateway reads no more from the server; returns what it has read.
fn stalled(rig: &Rig) -> u64 {
    let (mut last, mut since, start) = (0, Instant::now(), Instant::now());
    loop {
        let now = rig.gateway.stats().bytes_down;
        if now != last {
            (last, since) = (now, Instant::now());
        } else if last > 0 && since.elapsed() > Duration::from_millis(500) {
            return last;
        }
        assert!(start.elapsed() < PATIENCE, "it goes on reading: {now}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn memory_stays_while_a_large_result_waits_for_its_reader() {
    if std::env::var_os(ALONE).is_none() {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "postgres_slow::memory_stays_while_a_large_result_waits_for_its_reader"]);
        let output = again.arg("--nocapture").env(ALONE, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{text}");
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let rows = repetitions(102, 1_024);
    let server = server();
    let rig = rig(&server, |_| {});
    let (mut slow, mut other) = (Raw::login(rig.address), Raw::login(rig.address));
    // Buffers and threads of both are there before memory is looked at.
    for client in [&mut slow, &mut other] {
        client.ask(&large(2));
    }
    let base = rss_kib();
    let before = rig.gateway.stats().bytes_down;
    slow.send(query(&large(rows)));
    let held = stalled(&rig) - before;
    let waiting = rss_kib().saturating_sub(base);
    for n in 0..50 {
        assert_eq!(completions(&other.ask(&format!("select {n}"))), ["SELECT 1"]);
    }
    let (mut got, mut most) = (0, 0);
    loop {
        let (tag, payload) = slow.next();
        match tag {
            b'D' => got += payload.len() - 6,
            b'Z' => break,
            _ => {}
        }
        most = most.max(rss_kib().saturating_sub(base));
    }
    println!(
        "{rows} MiB: {held} bytes were read ahead; +{waiting} KiB while it waited, +{most} KiB while it was read"
    );
    assert_eq!(got, rows * ROW, "every byte came");
    assert!(waiting <= GROWTH_KIB && most <= GROWTH_KIB, "+{waiting} KiB, +{most} KiB");
    drop((slow, other));
    let events = drained(rig);
    let record = operations(&events).into_iter().find(|e| e.content.stmt.contains("repeat")).unwrap();
    assert_eq!(record.core.outcome, Some(Outcome::Success));
    let largest = events.iter().filter_map(|e| crate::postgres::number(e, sql::ROWS)).max();
    assert_eq!(largest, Some(rows as u64));
}

#[test]
fn a_client_that_never_reads_its_result_is_ended_with_one_event_and_its_statement_has_no_outcome() {
    let server = server();
    let rig = rig(&server, |config| config.limits.idle = Duration::from_secs(2));
    let mut raw = Raw::login(rig.address);
    let rows = repetitions(102, 1_024);
    let before = rig.gateway.stats().bytes_down;
    raw.send(query(&large(rows)));
    until("the gateway to give up on it", || rig.gateway.stats().open == 0);
    let read = rig.gateway.stats().bytes_down - before;
    // What the sockets between took besides is the kernel's.
    assert!(read < 32 << 20, "{read} bytes were read for a client that takes none");
    let running =
        "select count(*) from pg_stat_activity where query like '%repeat%' and pid <> pg_backend_pid()";
    until("the server to end it", || server.sql("postgres", running).unwrap().trim() == "0");
    let events = drained(rig);
    let closed: Vec<_> = events.iter().filter(|e| e.core.rec == Some(Rec::SessionClose)).collect();
    assert_eq!(closed.len(), 1);
    assert_eq!((closed[0].content.err.as_str(), closed[0].core.outcome), ("idle", None));
    let statements = operations(&events);
    assert_eq!(statements.len(), 1);
    assert_eq!((statements[0].core.op.as_str(), statements[0].core.outcome), ("SELECT", None));
    assert_eq!(events.len(), 3, "begin, statement, end");
}
