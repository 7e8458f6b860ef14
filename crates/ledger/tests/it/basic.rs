//! The ordinary life of a ledger: record, read, prove, seal, restart.

use crate::support::{PATIENCE, events, kek, open, source};
use countersign_event::EntryKind;
use countersign_ledger::{Feed, Ledger, LedgerError, Payload, SealedSegment};
use countersign_proof::{VerifierKey, verify_consistency, verify_inclusion};
use std::time::Duration;

#[test]
fn events_get_contiguous_places_and_proofs_that_verify() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, report) = open(dir.path());
    assert!(report.created);
    let source = source(&ledger, 1);
    let ack = source.record_wait(events(0..600)).unwrap();
    assert_eq!((ack.first, ack.count), (3, 600));
    let head = ledger.wait_checkpoint(ack.first + ack.count, PATIENCE).unwrap();
    let key = VerifierKey::parse(&ledger.log_vkey()).unwrap();
    let opened = countersign_proof::Checkpoint::open(head.note.as_bytes(), &[key]).unwrap();
    assert_eq!((opened.size, opened.root), (head.size, head.root));
    for index in [0, 1, 3, 255, 256, 300, 602] {
        let leaf = ledger.entry(index).unwrap().unwrap().leaf();
        let proof = ledger.inclusion(index, head.size).unwrap();
        verify_inclusion(&leaf, index, head.size, &proof, &head.root).unwrap();
    }
    let old = ledger.root_at(100).unwrap();
    let proof = ledger.consistency(100, head.size).unwrap();
    verify_consistency(100, head.size, &old, &head.root, &proof).unwrap();
    ledger.shutdown().unwrap();
}

#[test]
fn salts_and_frames_lead_to_the_logged_commitment() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let ack = source(&ledger, 1).record_wait(events(0..10)).unwrap();
    let mut reader = ledger.reader(ack.first);
    let Some(Feed::Batch(batch)) = reader.next(PATIENCE).unwrap() else { panic!("no batch") };
    for record in &batch.records {
        let Payload::Event { frame, .. } = &record.payload else { panic!("not an event") };
        let salts = ledger.salts(record.index).unwrap().unwrap();
        let commitment = countersign_event::commit::event_commitment(&salts, &frame.groups.each());
        assert_eq!(commitment, record.entry.commitment);
    }
    assert_eq!(ledger.salts(0).unwrap(), None);
}

#[test]
fn a_restart_continues_the_same_log_and_closes_what_was_open() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    source(&ledger, 1).record_wait(events(0..10)).unwrap();
    ledger.shutdown().unwrap();
    let (size, head) = (ledger.size(), ledger.checkpoint().unwrap());
    assert_eq!(head.size, size);
    drop(ledger);
    let (ledger, report) = open(dir.path());
    assert!(report.clean && !report.created);
    assert_eq!((report.size, report.signed, report.gaps.len()), (size, size, 0));
    assert_eq!(ledger.root_at(size).unwrap(), head.root);
    let again = source(&ledger, 2);
    assert_eq!(again.source_ref(), 2);
    let ack = again.record_wait(events(0..1)).unwrap();
    assert_eq!(ack.first, size + 1);
    let sources = ledger.sources();
    assert_eq!((sources[0].last_seq, sources[0].sent, sources[0].live), (10, 10, false));
    assert_eq!((sources[1].boot_epoch, sources[1].live), (2, true));
}

#[test]
fn times_never_decrease_and_own_entries_number_from_one() {
    let dir = tempfile::tempdir().unwrap();
    for run in 1..4 {
        let (ledger, _) = open(dir.path());
        source(&ledger, run).record_wait(events(0..50)).unwrap();
        ledger.configured([run; 32], "v").unwrap();
        ledger.shutdown().unwrap();
    }
    let (ledger, _) = Ledger::open_read_only(dir.path(), kek()).unwrap();
    let entries = ledger.entries(0, ledger.size()).unwrap();
    assert!(entries.windows(2).all(|pair| pair[0].time_ns <= pair[1].time_ns));
    let own: Vec<u64> = entries
        .iter()
        .filter(|entry| entry.kind != EntryKind::Event as u8)
        .map(|entry| entry.source_seq)
        .collect();
    assert_eq!(own, (1..=own.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_second_writer_is_refused_and_a_reader_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let ack = source(&ledger, 1).record_wait(events(0..300)).unwrap();
    let second = Ledger::open(dir.path(), kek(), crate::support::options());
    assert!(matches!(second, Err(LedgerError::Locked { .. })));
    let (reader, _) = Ledger::open_read_only(dir.path(), kek()).unwrap();
    assert!(reader.size() >= ack.first + ack.count);
    assert_eq!(reader.root_at(300).unwrap(), ledger.root_at(300).unwrap());
    assert_eq!(reader.body(0).unwrap(), ledger.body(0).unwrap());
    assert_eq!(reader.salts(5).unwrap(), ledger.salts(5).unwrap());
    assert!(matches!(reader.configured([0; 32], "v"), Err(LedgerError::ReadOnly)));
}

#[test]
fn a_wrong_key_or_origin_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.shutdown().unwrap();
    let wrong =
        Ledger::open(dir.path(), countersign_ledger::Kek::from_bytes([8; 32]), crate::support::options());
    assert!(matches!(wrong, Err(LedgerError::Kek { .. })));
    let other = countersign_ledger::Options::new("example.org/other/1");
    assert!(matches!(Ledger::open(dir.path(), kek(), other), Err(LedgerError::Invalid(_))));
}

#[test]
fn sealed_parts_let_the_write_ahead_log_go_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let source = source(&ledger, 1);
    for _ in 0..30 {
        source.record_wait(events(0..1000)).unwrap();
    }
    ledger.close_part().unwrap();
    let mut reader = ledger.reader(0);
    let mut rows = Vec::new();
    let (first, end) = loop {
        match reader.next(PATIENCE).unwrap().unwrap() {
            Feed::Batch(batch) => rows.extend(batch.records.clone()),
            Feed::PartClosed { first, end } => break (first, end),
            Feed::Missed { .. } => panic!("nothing was sealed"),
        }
    };
    assert_eq!((first, end, rows.len() as u64), (0, 30_003, 30_003));
    let frames: Vec<_> = rows
        .iter()
        .map(|record| match &record.payload {
            Payload::Event { frame, .. } => Ok(Some((**frame).clone())),
            Payload::Body(_) => Ok(None),
        })
        .collect();
    let mut wrong = frames.clone();
    wrong.swap(100, 101);
    let refused = ledger.check_range(first, &mut wrong.into_iter());
    assert!(matches!(refused, Err(LedgerError::Mismatch { index: 100, .. })));
    let roots = ledger.check_range(first, &mut frames.into_iter()).unwrap();
    let files = ledger.stats().wal_files;
    assert!(files > 3);
    let manifest = ledger
        .sealed(SealedSegment {
            first,
            end,
            version: 1,
            file_digest: [9; 32],
            file_len: 1,
            min_time: 0,
            max_time: 1,
            roots,
        })
        .unwrap();
    ledger.wait_checkpoint(manifest + 1, PATIENCE).unwrap();
    while ledger.stats().wal_files > 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut reader = ledger.reader(0);
    assert!(matches!(reader.next(PATIENCE).unwrap(), Some(Feed::Batch(_) | Feed::Missed { from: 0, .. })));
    let segment = ledger.segments().remove(0);
    assert_eq!((segment.first, segment.end), (0, 30_003));
    ledger.shutdown().unwrap();
    let root = ledger.root_at(20_000).unwrap();
    drop((ledger, reader));
    let (ledger, report) = open(dir.path());
    assert!(report.lost_segments.is_empty());
    assert_eq!(ledger.root_at(20_000).unwrap(), root);
    assert_eq!(ledger.segments().len(), 1);
    assert!(ledger.entry(29_999).unwrap().is_some());
}

#[test]
fn a_reader_gets_old_entries_from_the_log_and_new_ones_live() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    source(&ledger, 1).record_wait(events(0..5000)).unwrap();
    ledger.shutdown().unwrap();
    drop(ledger);
    let (ledger, _) = open(dir.path());
    let end = source(&ledger, 2).record_wait(events(0..100)).map(|ack| ack.first + ack.count).unwrap();
    let mut reader = ledger.reader(0);
    let (mut next, mut closed) = (0, Vec::new());
    while next < end {
        match reader.next(PATIENCE).unwrap().unwrap() {
            Feed::Batch(batch) => {
                assert_eq!(batch.first, next);
                next += batch.records.len() as u64;
            }
            Feed::PartClosed { first, end } => closed.push((first, end, next)),
            Feed::Missed { .. } => panic!("nothing was sealed"),
        }
    }
    assert_eq!(closed, [(0, 5004, 5004)]);
    assert!(reader.next(Duration::from_millis(1)).unwrap().is_none_or(|feed| matches!(feed, Feed::Batch(_))));
}

#[test]
fn tiles_are_served_under_the_paths_of_the_specification() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    source(&ledger, 1).record_wait(events(0..700)).unwrap();
    ledger.shutdown().unwrap();
    let bundle = ledger.tile_path("tile/entries/001").unwrap().unwrap();
    assert_eq!(bundle.len(), 14_080);
    let tile = ledger.tile_path("tile/0/001").unwrap().unwrap();
    assert_eq!(tile.len(), 8192);
    assert_eq!(tile[..32], ledger.entry(256).unwrap().unwrap().leaf());
    assert_eq!(ledger.tile_path("tile/1/000.p/2").unwrap().unwrap().len(), 64);
    assert_eq!(ledger.tile_path("tile/1/000.p/3").unwrap(), None);
    assert_eq!(ledger.tile_path("tile/0/1").unwrap(), None);
    assert_eq!(ledger.tile_path("../keys/epoch").unwrap(), None);
    let note = ledger.tile_path("checkpoint").unwrap().unwrap();
    assert_eq!(note, ledger.checkpoint().unwrap().note.as_bytes());
}
