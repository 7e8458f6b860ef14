//! The checker (stub).
use crate::{Kek, LedgerError, SegmentInfo, SegmentKey};
use countersign_event::Frame;
use std::path::Path;

/// Rows of one segment in order: `None` = a row of a non-event entry; an error ends the segment.
pub type Rows<'a> = Box<dyn Iterator<Item = Result<Option<Frame>, String>> + 'a>;

/// Gives back the frames of a sealed segment, from the file that its manifest names. Implemented by the store.
pub trait SegmentRows {
    /// Opens the file, checks its digest and length against `segment`, and returns its rows.
    fn rows(&self, segment: &SegmentInfo, key: &SegmentKey) -> Result<Rows<'_>, String>;
}

/// A ledger whose segments are not to be read: each counts as not checked.
pub struct NoSegments;

impl SegmentRows for NoSegments {
    fn rows(&self, _: &SegmentInfo, _: &SegmentKey) -> Result<Rows<'_>, String> {
        Err("segments were not given".to_owned())
    }
}

/// Where a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FindingClass {
    /// Write-ahead log: header, frame, order or mac chain.
    Wal,
    /// The write-ahead log ends in a torn frame above the signed size; nothing acknowledged is affected.
    TornTail,
    /// Bytes after the end of the write-ahead log are not zero.
    UnusedTail,
    /// Entry bundles.
    Entries,
    /// Tiles.
    Tiles,
    /// Bodies of non-event entries.
    Meta,
    /// The `checkpoint` file.
    Checkpoint,
    /// The signer's key or memory.
    Signer,
    /// Key ring.
    Keys,
    /// A sealed segment.
    Segment,
    /// A source's count file.
    Sources,
    /// The tree is not what was signed.
    Fork,
    /// A file that does not belong here.
    Stray,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub class: FindingClass,
    /// File, relative to the data directory.
    pub file: String,
    /// Byte offset, where known.
    pub offset: Option<u64>,
    /// Leaf index, where known.
    pub index: Option<u64>,
    /// What is wrong, and what to do.
    pub what: String,
    /// Exit code that this finding alone gives.
    pub exit_code: u8,
}

/// How far the check is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsckProgress {
    /// `wal`, `entries`, `tiles`, `meta`, `segments`.
    pub stage: &'static str,
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
}

/// What was checked and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// Leaves checked.
    pub size: u64,
    /// Root over them.
    pub root: [u8; 32],
    /// Largest size that was signed.
    pub signed_size: u64,
    /// Frames of the write-ahead log checked.
    pub frames: u64,
    /// Events whose commitments were recomputed from content.
    pub commitments: u64,
    /// Segments read.
    pub segments: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Things that are wrong.
    pub findings: Vec<Finding>,
    /// Things that could not be checked, and why.
    pub not_checked: Vec<String>,
}

impl FsckReport {
    /// 0 = all good, 1 = nothing altered but something missing, 2 = unreadable, 3 = integrity failure.
    /// Worst wins: 3, 2, 1, 0.
    pub fn exit_code(&self) -> u8 {
        self.findings.iter().map(|finding| finding.exit_code).max().unwrap_or(0)
    }
}

/// Checks every byte of a ledger: nothing is changed, no lock is taken.
pub fn fsck(
    _dir: &Path,
    _kek: Kek,
    _segments: &dyn SegmentRows,
    _progress: &mut dyn FnMut(FsckProgress),
) -> FsckReport {
    let _unused: Option<LedgerError> = None;
    FsckReport::default()
}
