//! The checker: reads every byte of a ledger, recomputes everything, changes nothing, and names what is wrong.
//!
//! It trusts the key-encryption key and nothing else. Beside a live writer the end of the log moves; what
//! cannot be judged then is listed as not checked. `walk` has the checks, in the order they run.

mod contents;
mod files;
mod walk;

use crate::{Kek, LedgerError, SegmentInfo, SegmentKey};
use countersign_event::Frame;
use std::path::Path;

/// Rows of one segment in order: `None` = a row of a non-event entry; an error ends the segment.
pub type Rows<'a> = Box<dyn Iterator<Item = Result<Option<Frame>, String>> + 'a>;

/// Gives back the frames of a sealed segment, from the file that its manifest names. Implemented by the store.
pub trait SegmentRows {
    /// Opens the file, checks its digest and length against `segment`, and returns its rows.
    fn rows(&self, segment: &SegmentInfo, key: &SegmentKey) -> Result<Rows<'_>, String>;

    /// What to call the segment in a finding: its file, relative to the data directory, where there is one.
    fn name(&self, segment: &SegmentInfo) -> String {
        format!("segment {}", segment.segment)
    }

    /// `false` when segments are not to be read at all; each then counts as not checked.
    fn available(&self) -> bool {
        true
    }
}

/// A ledger whose segments are not to be read: each counts as not checked.
pub struct NoSegments;

impl SegmentRows for NoSegments {
    fn rows(&self, _: &SegmentInfo, _: &SegmentKey) -> Result<Rows<'_>, String> {
        Err("segments were not given".to_owned())
    }

    fn available(&self) -> bool {
        false
    }
}

/// Where a finding is.
#[non_exhaustive]
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
    /// The file that names the origin.
    Origin,
    /// A file that does not belong here.
    Stray,
}

impl FindingClass {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            FindingClass::Wal => "wal",
            FindingClass::TornTail => "torn_tail",
            FindingClass::UnusedTail => "unused_tail",
            FindingClass::Entries => "entries",
            FindingClass::Tiles => "tiles",
            FindingClass::Meta => "meta",
            FindingClass::Checkpoint => "checkpoint",
            FindingClass::Signer => "signer",
            FindingClass::Keys => "keys",
            FindingClass::Segment => "segment",
            FindingClass::Sources => "sources",
            FindingClass::Fork => "fork",
            FindingClass::Origin => "origin",
            FindingClass::Stray => "stray",
        }
    }
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

/// Checks every byte of a ledger: nothing is changed, no lock is held.
pub fn fsck(
    dir: &Path,
    kek: Kek,
    segments: &dyn SegmentRows,
    progress: &mut dyn FnMut(FsckProgress),
) -> FsckReport {
    let mut check = walk::Walk::new(dir, kek, segments, progress);
    if let Err(error) = check.run() {
        check.stopped_by(&error);
    }
    check.report
}

impl FsckReport {
    fn add(
        &mut self,
        class: FindingClass,
        file: impl Into<String>,
        exit_code: u8,
        what: impl Into<String>,
    ) -> &mut Finding {
        let finding =
            Finding { class, file: file.into(), offset: None, index: None, what: what.into(), exit_code };
        // A report is for people; beyond this bound more of the same says nothing new.
        if self.findings.len() >= FINDINGS_MAX {
            self.findings.pop();
        }
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }
}

/// Most findings in a report.
const FINDINGS_MAX: usize = 1000;

/// Class and file of an error that ended the check.
fn class_of(error: &LedgerError) -> FindingClass {
    match error {
        LedgerError::Kek { .. } => FindingClass::Keys,
        LedgerError::Fork { .. } => FindingClass::Fork,
        LedgerError::Corrupt { file, .. }
        | LedgerError::Tampered { file, .. }
        | LedgerError::Io { path: file, .. } => {
            let inside = |name: &str| file.components().any(|part| part.as_os_str() == name);
            let classes = [
                ("wal", FindingClass::Wal),
                ("signer", FindingClass::Signer),
                ("meta", FindingClass::Meta),
                ("entries", FindingClass::Entries),
                ("log", FindingClass::Tiles),
                ("origin", FindingClass::Origin),
                ("sources", FindingClass::Sources),
            ];
            if inside("keys") {
                return FindingClass::Keys;
            }
            classes.into_iter().find(|(name, _)| inside(name)).map_or(FindingClass::Stray, |(_, class)| class)
        }
        _ => FindingClass::Stray,
    }
}
