//! kill -9 at random moments: every acknowledged event is there afterwards, none twice, and what was owed and
//! not recorded is named exactly.

use crate::support::{Seeded, check, event, open, rounds};
use countersign_event::EntryKind;
use countersign_ledger::{Feed, Payload, SourceSpec};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CHILD_DIR: &str = "COUNTERSIGN_KILL_CHILD";
const CHILD_RUN: &str = "COUNTERSIGN_KILL_RUN";

/// Not a test on its own: the process that gets killed. It does nothing unless asked by the environment.
#[test]
fn child_that_records_until_it_is_killed() {
    let (Ok(dir), Ok(run)) = (std::env::var(CHILD_DIR), std::env::var(CHILD_RUN)) else { return };
    let run: u64 = run.parse().unwrap();
    let (ledger, _) = open(Path::new(&dir));
    let mut stream = [0; 16];
    stream[..8].copy_from_slice(&run.to_be_bytes());
    let source = ledger.register(SourceSpec { identity: "killed".into(), stream }).unwrap();
    let out = Arc::new(Mutex::new(std::io::stdout()));
    let say = move |out: &Mutex<std::io::Stdout>, line: String| {
        let mut out = out.lock().unwrap();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    let mut number = 0;
    loop {
        let n = 1 + number % 37;
        source.owe(n).unwrap();
        // From here on a client could have seen an answer.
        say(&out, format!("\nowed {}\n", number + n));
        let batch = (number..number + n).map(|i| event(run * 1_000_000_000 + i)).collect();
        let (out, first) = (out.clone(), number);
        let done = move |result: Result<countersign_ledger::Ack, _>| {
            if result.is_ok_and(|ack| ack.count == n) {
                say(&out, format!("\nacked {first} {n}\n"));
            }
        };
        source.record(batch, Box::new(done)).unwrap();
        number += n;
        if number.is_multiple_of(5) {
            std::thread::sleep(Duration::from_micros(number % 700));
        }
    }
}

/// What the child had said when it died: numbers owed, numbers acknowledged (all below, contiguous).
fn kill_one(dir: &Path, run: u64, after: Duration) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_records_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CHILD_RUN, run.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        let (mut owed, mut acked) = (0, 0);
        for line in lines.map_while(Result::ok) {
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("owed"), Some(n), None) => owed = n.parse().unwrap_or(owed),
                (Some("acked"), Some(first), Some(n)) => {
                    let (Ok(first), Ok(n)) = (first.parse::<u64>(), n.parse::<u64>()) else { continue };
                    assert_eq!(first, acked, "acknowledgements come in order");
                    acked = first + n;
                }
                _ => {}
            }
        }
        (owed, acked)
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn acknowledged_events_survive_kill_9_and_owed_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut seeded = Seeded(99);
    let mut expected: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let runs = rounds(20, 400);
    for run in 1..=runs {
        let after = Duration::from_millis(seeded.below(250));
        let (owed, acked) = kill_one(dir.path(), run, after);
        expected.insert(run, (owed, acked));
        let report = check(dir.path());
        assert!(report.exit_code() <= 1, "after kill {run}: {:#?}", report.findings);
    }
    let (ledger, _) = open(dir.path());
    ledger.shutdown().unwrap();
    let mut recorded: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut reader = ledger.reader(0);
    let mut streams: BTreeMap<u32, u64> = BTreeMap::new();
    for source in ledger.sources() {
        streams.insert(source.source_ref, u64::from_be_bytes(source.stream[..8].try_into().unwrap()));
    }
    while reader.position() < ledger.size() {
        let Some(Feed::Batch(batch)) = reader.next(Duration::from_secs(5)).unwrap() else { continue };
        for record in &batch.records {
            if let Payload::Event { event, .. } = &record.payload {
                assert_eq!(record.entry.kind, EntryKind::Event as u8);
                let number: u64 = event.core.op[1..].parse().unwrap();
                recorded.entry(number / 1_000_000_000).or_default().push(number % 1_000_000_000);
            }
            if let (true, Payload::Body(body)) = (record.entry.kind == EntryKind::Gap as u8, &record.payload)
            {
                let read = countersign_proof::body::Gap::decode(body);
                assert!(read.is_ok(), "a verifier cannot read the gap at {}: {read:?}", record.index);
            }
        }
    }
    let mut gaps: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for gap in ledger.gaps() {
        let range = (gap.first_seq.unwrap(), gap.last_seq.unwrap());
        assert!(gaps.insert(streams[&gap.source_ref], range).is_none(), "one gap for one death");
    }
    let mut acked_in_all = 0;
    for (run, (owed, acked)) in expected {
        let numbers = recorded.remove(&run).unwrap_or_default();
        let count = numbers.len() as u64;
        assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "run {run}: in order, no duplicate, no hole");
        assert!(count >= acked, "run {run}: {acked} acknowledged, {count} recorded");
        // The line "owed" may be lost with the process after the promise itself was written.
        let promised = gaps.get(&run).map_or(count, |(_, last)| *last);
        assert!(promised >= owed, "run {run}: {owed} owed, {count} recorded, gap {:?}", gaps.get(&run));
        if let Some((first, _)) = gaps.get(&run) {
            assert_eq!(*first, count + 1, "run {run}: the gap begins after the last recorded");
        }
        acked_in_all += acked;
    }
    println!("{runs} kills, {acked_in_all} acknowledged events, {} gaps", gaps.len());
    assert!(acked_in_all > 0);
    drop((ledger, reader));
    assert_eq!(check(dir.path()).findings, []);
}

#[test]
fn a_death_while_a_ledger_is_being_made_leaves_one_that_opens() {
    let mut seeded = Seeded(7);
    for round in 0..rounds(20, 150) {
        let dir = tempfile::tempdir().unwrap();
        let (_, acked) = kill_one(dir.path(), 1, Duration::from_micros(seeded.below(60_000)));
        let (ledger, report) = open(dir.path());
        assert!(ledger.size() >= report.size && ledger.size() >= 2 + acked, "round {round}");
        ledger.shutdown().unwrap();
        drop(ledger);
        assert_eq!(check(dir.path()).findings, [], "round {round}");
    }
}
