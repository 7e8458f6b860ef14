//! asyncpg's own tests, from its source distribution, direct and through: the same ones must pass and the same
//! ones must be skipped.
//!
//! They run against a server that is there already (`PGHOST`), so those that start clusters of their own are
//! skipped, on both sides. The plain test command runs the files that say most about the protocol,
//! `COUNTERSIGN_TORTURE=full` all of them. Many of these tests race a timer against the server: one that
//! differs is run once more alone on each side, and must not differ then. One is not compared, see `BUFFERS`.

use crate::postgres::{drained, operations, rig, server};
use countersign_event::Rec;
use countersign_testkit::{python, torture_full};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

const VERSION: &str = "asyncpg==0.32.0";
/// asyncpg and what its tests import.
const PACKAGES: [&str; 5] = [VERSION, "distro==1.9.0", "uvloop", "pytest", "pytest-timeout"];
const PLAIN: [&str; 9] = [
    "test_prepare",
    "test_copy",
    "test_cursor",
    "test_execute",
    "test_transaction",
    "test_cancellation",
    "test_exceptions",
    "test_listeners",
    "test_codecs",
];

/// It asserts that a server which stops reading is noticed before 4 MiB were written: that the sockets between
/// hold less. Any proxy has a second pair of sockets, and the kernel's sizes decide; what the client is told and
/// what the server keeps is asserted by our own cases (`postgres_drivers`).
const BUFFERS: &str = "test_executemany_server_failure_during_writes";

/// How each test ended: `PASSED`, `FAILED`, `ERROR`, `SKIPPED`.
type Results = BTreeMap<String, String>;

/// Runs `tests` (files, or names of single tests; none = all) against `server`.
fn suite(python: &Path, source: &Path, server: SocketAddr, tests: &[String]) -> Results {
    let mut command = Command::new(python);
    command.current_dir(source).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PGHOST", server.ip().to_string()).env("PGPORT", server.port().to_string());
    command.env("PGUSER", "postgres").env("PGDATABASE", "postgres");
    command.args(["-m", "pytest", "-v", "--tb=no", "-p", "no:cacheprovider"]);
    command.args(["--timeout", "90", "-W", "ignore"]);
    if tests.is_empty() {
        command.arg("tests");
    }
    let output = command.args(tests).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    // `tests/test_copy.py::TestCopyFrom::test_copy_from_table_basics PASSED   [ 3%]`
    let result = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, end) = (words.next()?, words.next()?);
        let known = matches!(end, "PASSED" | "FAILED" | "ERROR" | "SKIPPED");
        (known && name.contains("::")).then(|| (name.to_owned(), end.to_owned()))
    };
    let mut results = Results::new();
    for (name, end) in text.lines().filter_map(result) {
        // Subtests and the test around them have lines of their own: the worst one counts.
        let bad = matches!(end.as_str(), "FAILED" | "ERROR");
        let known = results.entry(name).or_insert_with(|| end.clone());
        if bad {
            *known = end;
        }
    }
    assert!(!results.is_empty(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    results
}

fn differing(a: &Results, b: &Results) -> Vec<String> {
    let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
    names.filter(|name| a.get(*name) != b.get(*name) && !name.ends_with(BUFFERS)).cloned().collect()
}

#[test]
fn the_same_tests_of_asyncpg_pass_direct_and_through() {
    let python = python::venv("asyncpg", &PACKAGES).unwrap();
    let source = python::source(&python, VERSION, "asyncpg").unwrap();
    let (first, second) = (server(), server());
    let rig = rig(&second, |config| config.listeners[0].postgres.parameters = true);
    let both = |tests: &[String]| {
        std::thread::scope(|scope| {
            let direct = scope.spawn(|| suite(&python, &source, first.address, tests));
            let through = suite(&python, &source, rig.address, tests);
            (direct.join().unwrap(), through)
        })
    };
    let files = if torture_full() { &[][..] } else { &PLAIN[..] };
    let files: Vec<String> = files.iter().map(|f| format!("tests/{f}.py")).collect();
    let (mut direct, mut through) = both(&files);
    let again = differing(&direct, &through);
    if !again.is_empty() {
        println!("asyncpg: run again: {again:?}");
        let (more, other) = both(&again);
        direct.extend(more);
        through.extend(other);
    }
    let count = |of: &Results, end: &str| of.values().filter(|e| *e == end).count();
    let (passed, skipped) = (count(&direct, "PASSED"), count(&direct, "SKIPPED"));
    println!("asyncpg: {passed} passed and {skipped} skipped of {}, direct and through", direct.len());
    for name in differing(&direct, &through) {
        println!("{name}: direct {:?}, through {:?}", direct.get(&name), through.get(&name));
    }
    assert_eq!(differing(&direct, &through), Vec::<String>::new());
    assert!(passed * 10 >= direct.len() * 7, "passed {passed} of {}", direct.len());
    let events = drained(rig);
    assert!(operations(&events).len() > 1_000);
    assert!(events.iter().all(|e| !matches!(e.core.rec, Some(Rec::Opaque))), "all was read");
}
