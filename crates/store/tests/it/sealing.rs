//! From memory to segment: nothing is lost, doubled or altered on the way.

use crate::sample::{Rng, gateway, wild};
use crate::support::{House, LONG, kek, number};
use countersign_ledger::{Feed, Ledger, Limits, Options, Payload, SourceSpec};
use countersign_store::{Cell, SegmentStore, Store, StoreOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn events_are_visible_after_their_acknowledgement_and_read_back_as_committed() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), 1, 65_536);
    let mut rng = Rng(1);
    let events: Vec<_> = (1..=50).map(|seq| gateway(&mut rng, seq)).collect();
    let first = house.record(events.clone());
    assert_eq!(number(&house.store, "SELECT count(*) FROM events"), 50);
    for hot in [true, false] {
        for (at, event) in events.iter().enumerate() {
            let stored = house.store.get(first + at as u64).unwrap().unwrap();
            let read = stored.event.unwrap();
            assert_eq!(
                (&read.who, &read.target, &read.links),
                (&event.who, &event.target, &event.links),
                "hot: {hot}"
            );
            assert_eq!(house.store.find_eid(read.core.eid).unwrap(), Some(first + at as u64));
        }
        assert_eq!(house.store.find_eid([1; 16]).unwrap(), None);
        house.seal_all();
    }
    assert!(house.store.stats().segments >= 1);
    let body = house.store.get(0).unwrap().unwrap();
    assert!(body.event.is_none() && body.body.is_some(), "leaf 0 is no event");
    assert!(house.store.get(house.ledger.size() + 5).unwrap().is_none());
    house.close();
}

#[test]
fn a_count_that_runs_without_pause_never_falls_while_parts_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), 1, 500);
    let done = Arc::new(AtomicBool::new(false));
    let counter = {
        let (store, done) = (house.store.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            let (mut last, mut looks) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                let visible = store.visible();
                let rows = crate::support::sql(
                    &store,
                    "SELECT count(*) AS n, count(DISTINCT \"index\") AS d, coalesce(max(\"index\"), 0) AS m FROM x_events",
                );
                let (Cell::Int(n), Cell::Int(d), Cell::Int(m)) =
                    (&rows.rows[0][0], &rows.rows[0][1], &rows.rows[0][2])
                else {
                    panic!("{rows:?}")
                };
                assert!(*n >= last, "the count fell from {last} to {n}");
                assert_eq!(n, d, "a row was seen twice");
                assert!(*n == 0 || *n == m + 1, "{n} rows up to leaf {m}");
                assert!(*n >= visible as i64, "{n} rows, {visible} were visible before");
                (last, looks) = (*n, looks + 1);
            }
            looks
        })
    };
    let mut rng = Rng(2);
    for round in 0..30 {
        house.record((1..=200).map(|seq| gateway(&mut rng, round * 200 + seq)).collect());
    }
    house.seal_all();
    done.store(true, Ordering::Relaxed);
    assert!(counter.join().unwrap() > 3);
    assert_eq!(number(&house.store, "SELECT count(*) FROM events"), 6_000);
    assert!(house.store.stats().segments >= 12);
    house.close();
}

#[test]
fn a_restart_continues_with_segments_and_tail() {
    let dir = tempfile::tempdir().unwrap();
    let mut total = 0;
    for run in 1..=4_u8 {
        let house = House::open(dir.path(), run, 300);
        assert!(house.store.wait_visible(house.ledger.size(), LONG));
        assert_eq!(number(&house.store, "SELECT count(*) FROM events"), total);
        let mut rng = Rng(u64::from(run));
        let events: Vec<_> =
            (1..=450).map(|seq| wild(&mut rng, seq)).filter(|e| e.encode().is_ok()).collect();
        total += events.len() as i64;
        house.record(events);
        assert_eq!(number(&house.store, "SELECT count(*) FROM events"), total);
        house.close();
    }
    let house = House::open(dir.path(), 9, 300);
    house.seal_all();
    assert_eq!(number(&house.store, "SELECT count(*) FROM events"), total);
    let mut seen = 0;
    let size = house.ledger.size();
    while seen < size {
        let part = house.store.scan(seen, size).unwrap();
        assert!(part.iter().zip(seen..).all(|(record, index)| record.index == index));
        seen += part.len() as u64;
    }
    house.close();
}

#[test]
fn a_directory_is_read_without_a_server_and_without_being_changed() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), 1, 100);
    let mut rng = Rng(7);
    house.record((1..=250).map(|seq| gateway(&mut rng, seq)).collect());
    house.store.wait_sealed(200, LONG);
    let (ledger, _) = Ledger::open_read_only(dir.path(), kek()).unwrap();
    let store = Store::open(dir.path(), ledger, StoreOptions::default()).unwrap();
    assert_eq!(number(&store, "SELECT count(*) FROM events"), 250);
    assert!(store.get(10).unwrap().unwrap().event.is_some());
    house.close();
}

#[test]
fn a_consumer_that_fell_behind_reads_the_same_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), 1, 64);
    let mut rng = Rng(8);
    let mut reader = house.ledger.reader(0);
    house.record((1..=300).map(|seq| gateway(&mut rng, seq)).collect());
    let mut fed = Vec::new();
    while (fed.len() as u64) < house.ledger.size() {
        match reader.next(LONG).unwrap().unwrap() {
            Feed::Batch(batch) => fed.extend(batch.records.clone()),
            Feed::Missed { from, to } => fed.extend(house.store.scan(from, to).unwrap()),
            Feed::PartClosed { .. } => {}
        }
    }
    house.seal_all();
    for record in &fed {
        let again = house.store.scan(record.index, record.index + 1).unwrap().remove(0);
        assert_eq!(again.entry, record.entry);
        match (&again.payload, &record.payload) {
            (Payload::Event { frame: a, .. }, Payload::Event { frame: b, .. }) => assert_eq!(a, b),
            (Payload::Body(a), Payload::Body(b)) => assert_eq!(a, b),
            other => panic!("{other:?}"),
        }
    }
    house.close();
}

#[test]
fn the_checker_opens_every_segment() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), 1, 200);
    let mut rng = Rng(9);
    house.record((1..=500).map(|seq| gateway(&mut rng, seq)).collect());
    house.seal_all();
    house.close();
    let report = countersign_ledger::fsck(dir.path(), kek(), &SegmentStore::new(dir.path()), &mut |_| {});
    assert_eq!((report.exit_code(), &report.findings[..]), (0, &[][..]));
    assert!(report.segments >= 3 && report.not_checked.is_empty(), "{report:?}");
}

#[test]
fn what_a_crash_left_under_either_name_is_replaced_by_the_true_segment() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), 1, 65_536);
    let mut rng = Rng(10);
    house.record((1..=40).map(|seq| gateway(&mut rng, seq)).collect());
    // a kill between temp and rename, and one between rename and manifest
    let seg = dir.path().join("seg");
    std::fs::create_dir_all(&seg).unwrap();
    house.close();
    std::fs::write(seg.join("00000000000000000000-1.tmp"), b"torn").unwrap();
    std::fs::write(seg.join("00000000000000000000-1.parquet"), b"complete, but no manifest names it")
        .unwrap();
    let house = House::open(dir.path(), 2, 65_536);
    house.seal_all();
    assert_eq!(number(&house.store, "SELECT count(*) FROM events"), 40);
    assert!(
        std::fs::read_dir(&seg).unwrap().all(|entry| entry.unwrap().path().extension().unwrap() == "parquet")
    );
    house.close();
    let report = countersign_ledger::fsck(dir.path(), kek(), &SegmentStore::new(dir.path()), &mut |_| {});
    assert_eq!((report.exit_code(), &report.findings[..]), (0, &[][..]));
}

#[test]
fn the_tree_holds_one_arrow() {
    let lock = std::fs::read_to_string("../../Cargo.lock").unwrap();
    for name in ["arrow-array", "parquet", "datafusion", "object_store"] {
        assert_eq!(lock.matches(&format!("name = \"{name}\"\n")).count(), 1, "{name}");
    }
}

#[test]
fn what_was_retired_is_skipped_counted_and_named_and_the_rest_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { part_leaves: 256, wal_file_bytes: 4_096, ..Limits::small() };
    let options = Options { limits, ..Options::new("example.org/test/1") };
    let (ledger, _) = Ledger::open(dir.path(), kek(), options).unwrap();
    let source = ledger
        .register(SourceSpec { identity: "spiffe://example.org/gw".to_owned(), stream: [9; 16] })
        .unwrap();
    let mut rng = Rng(9);
    for round in 0..6 {
        source.record_wait((1..=256).map(|seq| gateway(&mut rng, round * 256 + seq)).collect()).unwrap();
    }
    let parts: Vec<_> =
        ledger.unsealed().into_iter().filter_map(|(first, end)| Some((first, end?))).collect();
    let (first, end) = (parts[0].0, parts[1].1);
    let entries: Vec<u64> =
        parts[..2].iter().map(|(a, b)| ledger.retire(*a, *b, "shipped").unwrap()).collect();
    // The write-ahead log lets go of whole files only; wait until it begins inside the retired range.
    let begins = || match ledger.reader(0).next(LONG).unwrap() {
        Some(Feed::Missed { to, .. }) => to,
        _ => 0,
    };
    while begins() <= end - 256 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let begins = begins();
    let store = Store::open(dir.path(), ledger.clone(), StoreOptions::default()).unwrap();
    assert!(store.wait_visible(ledger.size(), LONG));
    let events = number(&store, "SELECT count(*) FROM events") as u64;
    let all = crate::support::sql(&store, "SELECT min(\"index\") AS first FROM x_events");
    assert_eq!(all.complete.retired, 2);
    assert!(
        matches!(all.get(0, "first"), Some(Cell::Int(n)) if *n as u64 == begins),
        "{:?} {begins}",
        all.rows
    );
    assert!((4 * 256..6 * 256).contains(&events), "{events}");
    let found =
        crate::support::find(&store, countersign_store::FindRequest { limit: 5_000, ..Default::default() });
    assert_eq!((found.complete.retired, found.rows.len() as u64), (2, events));
    // One of them: where it went is said, and nothing is called damaged.
    let gone = (first..begins)
        .find(|index| {
            ledger.entry(*index).unwrap().unwrap().kind == countersign_event::EntryKind::Event as u8
        })
        .unwrap();
    let error = store.get(gone).unwrap_err();
    assert_eq!(error.code(), "retired");
    assert!(error.to_string().contains(&format!("entry {}", entries[0])), "{error}");
    assert!(store.get(end + 10).unwrap().is_some());
    // A consumer that fell behind gets what there is, own entries of the retired range included.
    let scanned = store.scan(0, ledger.size()).unwrap();
    let count =
        scanned.iter().filter(|record| matches!(record.payload, Payload::Event { .. })).count() as u64;
    assert_eq!((count, scanned.first().map(|record| record.index)), (events, Some(0)));
    // And parts behind it are sealed as ever.
    ledger.close_part().unwrap();
    assert!(store.wait_sealed(ledger.size().min(end + 256), LONG), "{:?}", store.stats());
    assert_eq!(number(&store, "SELECT count(*) FROM events") as u64, events);
    store.shutdown();
    ledger.shutdown().unwrap();
}
