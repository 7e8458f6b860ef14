//! Damage to a sealed segment is found, named and never answered from.

use crate::sample::{Rng, gateway};
use crate::support::{House, kek};
use countersign_ledger::{Finding, FindingClass, fsck};
use countersign_store::SegmentStore;
use std::fs;
use std::path::{Path, PathBuf};

fn sealed_house(dir: &Path) -> Vec<PathBuf> {
    let house = House::open(dir, 1, 120);
    let mut rng = Rng(11);
    house.record((1..=300).map(|seq| gateway(&mut rng, seq)).collect());
    house.seal_all();
    house.close();
    let mut files: Vec<_> =
        fs::read_dir(dir.join("seg")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3);
    files
}

/// What the checker says, and whether it names this file.
fn names(dir: &Path, file: &Path) -> bool {
    let report = fsck(dir, kek(), &SegmentStore::new(dir), &mut |_| {});
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let first: u64 = name.split('-').next().unwrap().parse().unwrap();
    let named = |f: &Finding| f.class == FindingClass::Segment && f.index == Some(first);
    let named = report.findings.iter().any(named);
    assert!(report.exit_code() != 0, "damage to {name} was not found");
    named
}

#[test]
fn every_flipped_byte_of_a_segment_is_found_and_named() {
    let flips = if std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|v| v == "full") { 1_000 } else { 100 };
    let dir = tempfile::tempdir().unwrap();
    let files = sealed_house(dir.path());
    let mut rng = Rng(12);
    for flip in 0..flips {
        let file = &files[flip % files.len()];
        let good = fs::read(file).unwrap();
        let at = match flip / files.len() {
            0 => 0,
            1 => good.len() - 1,
            2 => good.len() - 6,
            _ => rng.below(good.len() as u64) as usize,
        };
        let mut bad = good.clone();
        bad[at] ^= 1 << rng.below(8);
        fs::write(file, &bad).unwrap();
        assert!(
            names(dir.path(), file),
            "byte {at} of {} was flipped and the file is not named",
            file.display()
        );
        fs::write(file, &good).unwrap();
    }
}

#[test]
fn cut_swapped_and_missing_segments_are_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let files = sealed_house(dir.path());
    let (a, b) = (fs::read(&files[0]).unwrap(), fs::read(&files[1]).unwrap());
    for len in [a.len() - 1, a.len() / 2, 4, 0] {
        fs::write(&files[0], &a[..len]).unwrap();
        assert!(names(dir.path(), &files[0]), "cut to {len}");
    }
    fs::write(&files[0], &b).unwrap();
    fs::write(&files[1], &a).unwrap();
    assert!(names(dir.path(), &files[0]) && names(dir.path(), &files[1]), "swapped");
    fs::write(&files[0], &a).unwrap();
    fs::write(&files[1], &b).unwrap();
    fs::remove_file(&files[2]).unwrap();
    assert!(names(dir.path(), &files[2]), "deleted");
}

#[test]
fn an_unreadable_segment_is_named_in_the_answer_and_its_events_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let files = sealed_house(dir.path());
    let good = fs::read(&files[1]).unwrap();
    fs::write(&files[1], &good[..good.len() - 9]).unwrap();
    let house = House::open(dir.path(), 2, 120);
    assert!(house.store.wait_visible(house.ledger.size(), crate::support::LONG));
    let rows = crate::support::sql(&house.store, "SELECT count(*) AS n FROM events");
    let name = format!("seg/{}", files[1].file_name().unwrap().to_string_lossy());
    assert_eq!(rows.complete.unreadable, [name]);
    assert!(house.store.get(130).is_err());
    assert!(
        futures::executor::block_on(house.store.count(Default::default())).is_err(),
        "a count must be all or nothing"
    );
    house.close();
}
