//! Section 5 of the ledger's design, row by row: what a start finds, and what it does.

use crate::support::{check, copy, event, events, files, kek, last_wal, open, options, seal_next, source};
use countersign_ledger::{FindingClass, Ledger, LedgerError};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A ledger that died without shutdown, with some batches.
fn crashed(dir: &Path) -> u64 {
    let (ledger, _) = open(dir);
    let source = source(&ledger, 1);
    for n in 0..4 {
        source.record_wait(events(n * 10..n * 10 + 10)).unwrap();
    }
    ledger.wait_checkpoint(ledger.size(), crate::support::PATIENCE).unwrap();
    ledger.size()
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

/// Offsets of frames in a file of the write-ahead log, and where they end.
fn frame_offsets(path: &Path) -> (Vec<u64>, u64) {
    let bytes = std::fs::read(path).unwrap();
    let (mut at, mut offsets) = (128, Vec::new());
    loop {
        let len = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if len == 0 {
            return (offsets, at as u64);
        }
        offsets.push(at as u64);
        at += (40 + len + 32).next_multiple_of(8);
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_everything_before_it_kept() {
    let live = tempfile::tempdir().unwrap();
    let base = tempfile::tempdir().unwrap();
    // Signed once and then never again: the last batch is acknowledged by nobody's signature.
    let mut slow = options();
    slow.limits.sign_every = std::time::Duration::from_secs(3600);
    let (ledger, _) = Ledger::open(live.path(), kek(), slow).unwrap();
    ledger.wait_checkpoint(1, crate::support::PATIENCE).unwrap();
    let source = source(&ledger, 1);
    for n in 0..4 {
        source.record_wait(events(n * 10..n * 10 + 10)).unwrap();
    }
    let size = ledger.size() - 10;
    copy(live.path(), base.path());
    drop((ledger, source));
    let (offsets, end) = frame_offsets(&last_wal(base.path()));
    let kept = std::fs::read(last_wal(base.path())).unwrap();
    let last = *offsets.last().unwrap();
    let step = crate::support::rounds(29, 1);
    // From the fifth byte on: without its length a frame is as if it had never been written.
    for torn in (last + 4..end).step_by(step as usize) {
        let dir = tempfile::tempdir().unwrap();
        copy(base.path(), dir.path());
        let zeros = vec![0; (end - torn) as usize];
        write_at(&last_wal(dir.path()), torn, &zeros);
        if std::fs::read(last_wal(dir.path())).unwrap() == kept {
            continue;
        }
        let report = check(dir.path());
        assert!(!report.findings.is_empty(), "torn at {torn}: not noticed");
        let (ledger, report) = open(dir.path());
        assert_eq!(report.cut_at.map(|(_, at)| at), Some(last), "torn at {torn}");
        assert_eq!(report.size, size, "torn at {torn}");
        ledger.shutdown().unwrap();
        drop(ledger);
        assert_eq!(check(dir.path()).findings, [], "torn at {torn}");
    }
}

#[test]
fn a_bad_frame_with_a_whole_one_after_it_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path());
    let wal = last_wal(dir.path());
    let (offsets, _) = frame_offsets(&wal);
    write_at(&wal, offsets[2] + 50, &[0xff, 0xee]);
    let error = Ledger::open(dir.path(), kek(), options()).unwrap_err();
    assert!(
        matches!(&error, LedgerError::Corrupt { file, offset, .. } if *file == wal && *offset == offsets[2])
    );
    assert_eq!(error.exit_code(), 3);
    assert_eq!(std::fs::read(&wal).unwrap()[offsets[2] as usize + 50], 0xff, "nothing was changed");
}

#[test]
fn a_log_cut_below_the_signed_size_is_never_healthy() {
    let base = tempfile::tempdir().unwrap();
    let size = crashed(base.path());
    let (offsets, end) = frame_offsets(&last_wal(base.path()));
    for offset in offsets {
        let dir = tempfile::tempdir().unwrap();
        copy(base.path(), dir.path());
        write_at(&last_wal(dir.path()), offset, &vec![0; (end - offset) as usize]);
        let opened = Ledger::open(dir.path(), kek(), options());
        let found = check(dir.path());
        if let Ok((_, report)) = opened {
            // Only the frames of checkpoints may go: no entry was lost with them.
            assert_eq!((report.size, report.signed), (size, size));
        } else {
            assert_eq!(found.exit_code(), 3, "cut at {offset}");
        }
    }
}

#[test]
fn an_old_copy_of_the_log_is_refused_by_the_signers_memory() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path());
    let old = tempfile::tempdir().unwrap();
    copy(&dir.path().join("wal"), &old.path().join("wal"));
    let (ledger, _) = open(dir.path());
    source(&ledger, 2).record_wait(events(0..50)).unwrap();
    ledger.shutdown().unwrap();
    drop(ledger);
    std::fs::remove_dir_all(dir.path().join("wal")).unwrap();
    copy(&old.path().join("wal"), &dir.path().join("wal"));
    let error = Ledger::open(dir.path(), kek(), options()).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert_eq!(check(dir.path()).exit_code(), 3);
}

#[test]
fn removed_reordered_or_duplicated_frames_are_tampering() {
    let base = tempfile::tempdir().unwrap();
    crashed(base.path());
    let (offsets, end) = frame_offsets(&last_wal(base.path()));
    let bytes = std::fs::read(last_wal(base.path())).unwrap();
    let frame = |at: usize| {
        let to = offsets.get(at + 1).copied().unwrap_or(end);
        &bytes[offsets[at] as usize..to as usize]
    };
    let header = &bytes[..128];
    let rest = |from: usize| &bytes[offsets[from] as usize..];
    let removed = [header, frame(0), rest(2)].concat();
    let swapped = [header, frame(0), frame(2), frame(1), rest(3)].concat();
    let doubled = [header, frame(0), frame(1), frame(1), rest(2)].concat();
    for edited in [removed, swapped, doubled] {
        let dir = tempfile::tempdir().unwrap();
        copy(base.path(), dir.path());
        std::fs::write(last_wal(dir.path()), edited).unwrap();
        let error = Ledger::open(dir.path(), kek(), options()).unwrap_err();
        assert!(matches!(error, LedgerError::Tampered { .. }), "{error}");
        assert_eq!(check(dir.path()).exit_code(), 3);
    }
}

#[test]
fn damaged_bundles_and_tiles_above_the_log_are_rebuilt_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    source(&ledger, 1).record_wait(events(0..900)).unwrap();
    let root = ledger.root_at(800).unwrap();
    ledger.shutdown().unwrap();
    drop(ledger);
    for (name, class) in [("entries", FindingClass::Entries), ("nodes", FindingClass::Tiles)] {
        let path = files(&dir.path().join("log").join(name)).pop().unwrap();
        write_at(&path, 40, &[0xaa; 20]);
        assert!(check(dir.path()).findings.iter().any(|finding| finding.class == class));
        std::fs::remove_file(&path).unwrap();
        let (ledger, report) = open(dir.path());
        assert!(report.rebuilt > 0 || name == "nodes");
        assert_eq!(ledger.root_at(800).unwrap(), root);
        assert!(ledger.inclusion(5, 800).is_ok());
        ledger.shutdown().unwrap();
        drop(ledger);
        assert_eq!(check(dir.path()).findings, []);
    }
}

#[test]
fn damage_below_the_log_is_found_and_tiles_heal() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let source = source(&ledger, 1);
    for _ in 0..80 {
        source.record_wait(events(0..1000)).unwrap();
    }
    ledger.close_part().unwrap();
    seal_next(&ledger);
    seal_next(&ledger);
    while ledger.stats().wal_files > 2 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let root = ledger.root_at(70_000).unwrap();
    ledger.shutdown().unwrap();
    drop(ledger);
    assert_eq!(check(dir.path()).findings, []);
    let subtrees = dir.path().join("log/subtrees");
    write_at(&subtrees, 3, b"x");
    assert_eq!(check(dir.path()).exit_code(), 3);
    let (ledger, report) = open(dir.path());
    assert!(report.rebuilt > 0);
    assert_eq!(ledger.root_at(70_000).unwrap(), root);
    write_at(&files(&dir.path().join("log/nodes"))[0], 64, b"y");
    assert!(ledger.inclusion(30_000, 70_000).is_ok());
    ledger.shutdown().unwrap();
    drop(ledger);
    let entries = files(&dir.path().join("log/entries")).remove(0);
    write_at(&entries, 55 * 1000 + 30, &[0x5a, 0x5a]);
    let report = check(dir.path());
    assert_eq!(report.exit_code(), 3);
    let opened = Ledger::open_read_only(dir.path(), kek()).unwrap().0;
    assert!(matches!(opened.inclusion(1000, 70_000), Err(LedgerError::Corrupt { .. })));
}

#[test]
fn a_missing_key_record_loses_contents_but_no_proof() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path());
    write_at(&dir.path().join("keys/parts"), 100, &[1, 2, 3]);
    let (ledger, report) = open(dir.path());
    assert_eq!(report.lost_segments, [0]);
    assert!(ledger.segment_key(0).is_err());
    assert_eq!(ledger.salts(5).unwrap(), None);
    assert!(ledger.inclusion(5, ledger.size()).is_ok());
    ledger.shutdown().unwrap();
    assert!(check(dir.path()).findings.iter().any(|finding| finding.class == FindingClass::Keys));
}

#[test]
fn temporary_files_are_removed_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path());
    std::fs::write(dir.path().join("log/checkpoint.tmp"), b"half").unwrap();
    std::fs::write(dir.path().join("keys/wal.tmp"), b"half").unwrap();
    let (_ledger, report) = open(dir.path());
    assert_eq!(report.temp_files, 2);
    assert!(!dir.path().join("log/checkpoint.tmp").exists());
}

#[test]
fn a_file_that_was_being_created_at_the_crash_is_no_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let size = crashed(dir.path());
    for (file, length) in [(2, 4096), (3, 0)] {
        let path = dir.path().join(format!("wal/{file:020}.wal"));
        std::fs::write(&path, vec![0; length]).unwrap();
        assert_eq!(check(dir.path()).exit_code(), 1);
        let (ledger, report) = open(dir.path());
        assert!(report.size >= size);
        assert_eq!(report.temp_files, 1);
        ledger.shutdown().unwrap();
    }
    let first = tempfile::tempdir().unwrap();
    open(first.path()).0.shutdown().unwrap();
    let born = tempfile::tempdir().unwrap();
    for name in ["origin", "keys", "signer"] {
        let (from, to) = (first.path().join(name), born.path().join(name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
    std::fs::create_dir(born.path().join("wal")).unwrap();
    std::fs::write(born.path().join("wal/00000000000000000001.wal"), b"").unwrap();
    assert!(Ledger::open(born.path(), kek(), options()).is_err(), "its signer has signed: this is a loss");
}

#[test]
fn what_a_dead_source_owed_becomes_a_gap_with_range_and_number() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let first = source(&ledger, 1);
    first.owe(25).unwrap();
    first.record_wait(events(0..10)).unwrap();
    // Two that were owed turn out to be no events at all.
    let mut bad = event(1);
    bad.core.proto = "x".repeat(1000);
    let ack = first.record_wait(vec![bad, event(10)]).unwrap();
    assert_eq!((ack.count, ack.rejected.len()), (1, 1));
    first.rejected(1, "parse error");
    drop(ledger);
    assert_eq!(check(dir.path()).exit_code(), 0, "a crash alone alters nothing");
    let (ledger, report) = open(dir.path());
    assert_eq!(report.gaps, [(1, 12, 23)]);
    let gap = ledger.gaps().remove(0);
    assert_eq!((gap.first_seq, gap.last_seq, gap.count, gap.exact), (Some(12), Some(23), 12, true));
    assert_eq!(gap.reason.name(), "crash");
    assert!(files(&dir.path().join("sources")).is_empty());
    ledger.shutdown().unwrap();
    drop(ledger);
    let (ledger, report) = open(dir.path());
    assert_eq!((report.gaps.len(), ledger.gaps().len()), (0, 1), "told once");
}

#[test]
fn a_start_exactly_at_a_subtree_border_begins_a_new_file_of_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let source = source(&ledger, 1);
    let mut left = 65_536 - ledger.size();
    while left > 0 {
        let n = left.min(5000);
        source.record_wait(events(0..n)).unwrap();
        left -= n;
    }
    assert_eq!(ledger.size(), 65_536);
    let copied = tempfile::tempdir().unwrap();
    copy(dir.path(), copied.path());
    drop((ledger, source));
    let (ledger, report) = open(copied.path());
    assert_eq!(report.size, 65_536);
    ledger.configured([1; 32], "after the border").unwrap();
    ledger.shutdown().unwrap();
    drop(ledger);
    assert_eq!(check(copied.path()).findings, []);
}
