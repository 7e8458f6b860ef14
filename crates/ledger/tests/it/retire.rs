//! Contents that leave the log: never before a signed entry says so, and nothing else leaves with them.

use crate::support::{PATIENCE, check, events, kek, open, options, source};
use countersign_event::EntryKind;
use countersign_ledger::{Feed, Ledger, LedgerError, Limits, Payload};
use countersign_proof::verify_inclusion;
use std::path::Path;
use std::time::{Duration, Instant};

/// A ledger with small parts and files, and `parts` closed ones of events.
fn filled(dir: &Path, parts: u64) -> Ledger {
    let limits = Limits { part_leaves: 512, wal_file_bytes: 4_096, ..Limits::small() };
    let (ledger, _) = Ledger::open(dir, kek(), countersign_ledger::Options { limits, ..options() }).unwrap();
    let source = source(&ledger, 1);
    for part in 0..parts {
        source.record_wait(events(part * 512..(part + 1) * 512)).unwrap();
    }
    ledger
}

fn closed(ledger: &Ledger) -> Vec<(u64, u64)> {
    ledger.unsealed().into_iter().filter_map(|(first, end)| Some((first, end?))).collect()
}

/// Where the write-ahead log begins, once it has let go of everything below `index`.
fn recycled_to(ledger: &Ledger, index: u64) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut reader = ledger.reader(0);
        let from = match reader.next(PATIENCE).unwrap() {
            Some(Feed::Missed { to, .. }) => to,
            _ => 0,
        };
        if from >= index || Instant::now() > deadline {
            return from;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_retired_part_leaves_the_write_ahead_log_and_its_proofs_stay() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path(), 6);
    let parts = closed(&ledger);
    let before = ledger.stats().wal_bytes;
    for (first, end) in &parts[..3] {
        ledger.retire(*first, *end, "shipped").unwrap();
    }
    let (from, to) = (parts[0].0, parts[2].1);
    let begins = recycled_to(&ledger, to.saturating_sub(200));
    assert!(begins > 0 && begins <= to, "{begins} of {to}: what was not retired stays");
    assert!(ledger.stats().wal_bytes < before);
    assert_eq!(closed(&ledger).first(), parts.get(3), "the retired ones are no longer to be sealed");
    let retired = ledger.retired();
    assert_eq!(
        (retired.len(), retired[0].first, retired[2].end, retired[0].policy.as_str()),
        (3, from, to, "shipped")
    );
    // Entries and proofs of what went.
    let head = ledger.wait_checkpoint(to, PATIENCE).unwrap();
    let leaf = ledger.entry(5).unwrap().unwrap().leaf();
    verify_inclusion(&leaf, 5, head.size, &ledger.inclusion(5, head.size).unwrap(), &head.root).unwrap();
    // The log's own bodies too.
    assert!(ledger.body(0).unwrap().is_some());
    ledger.shutdown().unwrap();
    drop(ledger);
    let report = check(dir.path());
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    // And after a restart it is known, and what is left is read.
    let (ledger, _) = open(dir.path());
    assert_eq!(ledger.retired(), retired);
    let mut reader = ledger.reader(to);
    let Some(Feed::Batch(batch)) = reader.next(PATIENCE).unwrap() else { panic!("nothing is left") };
    assert!(batch.records.iter().any(|record| matches!(record.payload, Payload::Event { .. })));
}

#[test]
fn only_closed_parts_that_nobody_sealed_are_retired_and_each_once() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path(), 3);
    let (first, end) = closed(&ledger)[0];
    let refused = |first, end| {
        let error = ledger.retire(first, end, "shipped").unwrap_err();
        assert!(matches!(error, LedgerError::NotFound { what: "closed part", .. }), "{error}");
    };
    refused(first, end - 1);
    refused(first + 1, end);
    let open = ledger.unsealed().last().copied().unwrap();
    assert_eq!(open.1, None);
    refused(open.0, ledger.size());
    crate::support::seal_next(&ledger);
    refused(first, end);
    let (first, end) = closed(&ledger)[0];
    let entry = ledger.retire(first, end, "shipped").unwrap();
    assert_eq!(ledger.entry(entry).unwrap().unwrap().kind, EntryKind::Retire as u8);
    refused(first, end);
}

#[test]
fn contents_that_went_without_an_entry_are_still_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path(), 4);
    let (first, end) = closed(&ledger)[1];
    // The second part only: the first one keeps the write-ahead log whole.
    ledger.retire(first, end, "shipped").unwrap();
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(recycled_to(&ledger, 0), 0);
    ledger.shutdown().unwrap();
    drop(ledger);
    let wal = dir.path().join("wal");
    let mut names: Vec<_> = std::fs::read_dir(&wal).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() > 6, "{names:?}");
    // Somebody sells the loss of the first two parts as one retirement.
    for name in &names[..names.len() / 2] {
        std::fs::remove_file(name).unwrap();
    }
    let report = check(dir.path());
    assert!(
        report.findings.iter().any(|finding| finding.what.contains("no longer holds them")),
        "{:?}",
        report.findings
    );
}
