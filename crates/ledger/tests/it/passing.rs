//! A run that goes on in another process: numbering, heartbeats and debts pass over, or are declared.

use crate::support::{check, copy, events, kek, open, options, source};
use countersign_ledger::pass::PASSED_MAX;
use countersign_ledger::{GapReason, Ledger, Options, PassedSource, Source, StartReport};
use proptest::prelude::*;
use std::path::Path;

fn open_resumed(dir: &Path, passed: &PassedSource) -> (Ledger, StartReport) {
    Ledger::open(dir, kek(), Options { resumed: vec![passed.clone()], ..options() }).unwrap()
}

/// Three records, five owed, then the end of the first process's log.
fn first_process(dir: &Path) -> (Source, PassedSource) {
    let (ledger, _) = open(dir);
    let source = source(&ledger, 1);
    source.owe(5).unwrap();
    source.record_wait(events(0..3)).unwrap();
    source.suspend();
    ledger.shutdown().unwrap();
    let passed = source.pass().unwrap();
    (source, PassedSource::parse(&passed.to_bytes()).unwrap())
}

#[test]
fn a_passed_source_goes_on_with_its_numbers_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (old, passed) = first_process(dir.path());
    let (ledger, report) = open_resumed(dir.path(), &passed);
    assert_eq!(report.gaps, []);
    let resumed = ledger.resumed(&old.stream()).unwrap();
    // The old process answers more calls, and sends what it owes.
    old.owe(1).unwrap();
    resumed.record_wait(events(3..6)).unwrap();
    assert_eq!(resumed.passed_ended(true).unwrap(), 0);
    ledger.shutdown().unwrap();
    let info = ledger.sources().remove(0);
    assert_eq!((info.seen, info.sent, info.dropped, info.last_seq), (6, 6, 0, 6));
    assert_eq!(ledger.stats().heartbeats_refused, 0);
    drop(ledger);

    assert_eq!(check(dir.path()).findings, []);
    let (ledger, report) = open(dir.path());
    assert!(report.clean && report.gaps.is_empty());
    let seqs: Vec<u64> = (0..ledger.size())
        .filter_map(|index| ledger.entry(index).unwrap())
        .filter(|entry| entry.kind == countersign_event::EntryKind::Event as u8)
        .map(|entry| entry.source_seq)
        .collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn what_the_old_process_owed_when_it_died_is_a_gap_with_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let (old, passed) = first_process(dir.path());
    let (ledger, _) = open_resumed(dir.path(), &passed);
    let resumed = ledger.resumed(&old.stream()).unwrap();
    resumed.record_wait(events(3..4)).unwrap();
    assert_eq!(resumed.passed_ended(false).unwrap(), 1);
    ledger.shutdown().unwrap();
    let gaps = ledger.gaps();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].first_seq, gaps[0].last_seq, gaps[0].count), (Some(5), Some(5), 1));
    assert_eq!((gaps[0].reason, gaps[0].exact), (GapReason::Crash, true));
    assert_eq!(check(dir.path()).findings, []);
}

#[test]
fn when_both_processes_die_the_next_start_declares_what_was_owed() {
    let dir = tempfile::tempdir().unwrap();
    let (old, passed) = first_process(dir.path());
    let after = tempfile::tempdir().unwrap();
    let (ledger, _) = open_resumed(dir.path(), &passed);
    ledger.resumed(&old.stream()).unwrap().record_wait(events(3..4)).unwrap();
    old.owe(2).unwrap();
    copy(dir.path(), after.path());
    ledger.shutdown().unwrap();

    let (_, report) = open(after.path());
    assert_eq!(report.gaps, [(1, 5, 7)]);
    // The same between the two: the log was closed, and nobody went on.
    let dir = tempfile::tempdir().unwrap();
    let _ = first_process(dir.path());
    let (_, report) = open(dir.path());
    assert_eq!(report.gaps, [(1, 4, 5)]);
}

#[test]
fn a_source_that_does_not_fit_the_log_is_not_resumed_and_its_debt_is_declared() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (old, _) = first_process(dir.path());
    let (_, foreign) = first_process(other.path());
    let (ledger, report) = open_resumed(dir.path(), &foreign);
    assert!(ledger.resumed(&old.stream()).is_none());
    assert_eq!(report.gaps, [(1, 4, 5)]);
}

#[test]
fn a_source_that_was_not_suspended_is_not_passed() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let source = source(&ledger, 1);
    ledger.shutdown().unwrap();
    assert!(source.pass().is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_a_passed_source_or_none(bytes in prop::collection::vec(any::<u8>(), 0..2 * PASSED_MAX)) {
        let _ = PassedSource::parse(&bytes);
    }
}
