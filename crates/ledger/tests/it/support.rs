//! Small ledgers and plain events for tests.

use countersign_event::{Event, Frame, Rec};
use countersign_ledger::{
    Feed, FsckReport, Kek, Ledger, Limits, NoSegments, Options, Payload, SealedSegment, Source, SourceSpec,
    StartReport, fsck,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const ORIGIN: &str = "example.org/test/1";
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn kek() -> Kek {
    Kek::from_bytes([7; 32])
}

pub(crate) fn options() -> Options {
    Options { limits: Limits::small(), ..Options::new(ORIGIN) }
}

pub(crate) fn open(dir: &Path) -> (Ledger, StartReport) {
    Ledger::open(dir, kek(), options()).unwrap()
}

pub(crate) fn check(dir: &Path) -> FsckReport {
    fsck(dir, kek(), &NoSegments, &mut |_| {})
}

/// A source with a stream made of `run`.
pub(crate) fn source(ledger: &Ledger, run: u8) -> Source {
    ledger.register(SourceSpec { identity: "spiffe://example.org/gw".into(), stream: [run; 16] }).unwrap()
}

/// An event that carries a number in its operation.
pub(crate) fn event(number: u64) -> Event {
    let mut event = Event::default();
    event.core.t_obs = 1_790_000_000_000_000_000;
    event.core.rec = Some(Rec::ALL[0]);
    event.core.op = format!("n{number}");
    event
}

pub(crate) fn events(numbers: std::ops::Range<u64>) -> Vec<Event> {
    numbers.map(event).collect()
}

/// Seals the oldest unsealed closed part with true roots and a made-up file; returns its frames.
pub(crate) fn seal_next(ledger: &Ledger) -> Vec<Option<Frame>> {
    let (first, end) = ledger.unsealed().into_iter().find_map(|(first, end)| Some((first, end?))).unwrap();
    let mut reader = ledger.reader(first);
    let mut frames = Vec::new();
    while reader.position() < end {
        if let Some(Feed::Batch(batch)) = reader.next(PATIENCE).unwrap() {
            frames.extend(batch.records.iter().map(|record| match &record.payload {
                Payload::Event { frame, .. } => Some((**frame).clone()),
                Payload::Body(_) => None,
            }));
        }
    }
    let roots = ledger.check_range(first, &mut frames.clone().into_iter().map(Ok)).unwrap();
    let segment = SealedSegment {
        first,
        end,
        version: 1,
        file_digest: [9; 32],
        file_len: 1,
        min_time: 0,
        max_time: 1,
        roots,
    };
    let manifest = ledger.sealed(segment).unwrap();
    ledger.wait_checkpoint(manifest + 1, PATIENCE).unwrap();
    frames
}

/// Copies a directory tree of regular files.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All regular files below `dir`, sorted.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The newest file of the write-ahead log.
pub(crate) fn last_wal(dir: &Path) -> PathBuf {
    files(&dir.join("wal")).pop().unwrap()
}

/// A small generator for seeded tests.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// A seeded part of a long loop, or the whole when the environment asks for torture.
pub(crate) fn rounds(part: u64, whole: u64) -> u64 {
    if std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|mode| mode == "full") { whole } else { part }
}
