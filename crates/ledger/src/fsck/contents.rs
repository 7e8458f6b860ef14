//! Bodies of own entries, and sealed segments row by row.

use super::FindingClass;
use super::walk::{INTEGRITY, MISSING, Opened, Walk};
use crate::check::check_range;
use crate::limits::SUBTREE;
use crate::log::meta::parse_meta;
use crate::retire::range_root;
use crate::{LedgerError, SegmentInfo};
use countersign_event::commit::body_commitment;
use countersign_event::{Commitment, Entry, EntryKind};

/// The log's own entries by leaf index: what `meta` must hold.
#[derive(Default)]
pub(super) struct OwnEntries(Vec<(u64, Commitment)>);

impl OwnEntries {
    pub(super) fn add(&mut self, first: u64, entries: &[Entry]) {
        let own = entries.iter().zip(first..).filter(|(entry, _)| entry.kind != EntryKind::Event as u8);
        self.0.extend(own.map(|(entry, index)| (index, entry.commitment)));
    }
}

impl Walk<'_> {
    /// Each own entry has its body, each body its entry.
    pub(super) fn bodies(&mut self) -> Result<(), LedgerError> {
        let own = std::mem::take(&mut self.own.0);
        let size = self.report.size;
        let mut at = 0;
        let mut start = 0;
        while start < size {
            self.tell("meta", start, size);
            let end = start.saturating_add(SUBTREE);
            let upto = at + own[at..].partition_point(|(index, _)| *index < end);
            self.body_file(start, &own[at..upto])?;
            (at, start) = (upto, end);
        }
        for name in self.meta.files()? {
            let beyond = name.parse::<u64>().is_ok_and(|subtree| subtree > size / SUBTREE);
            if beyond {
                self.report.add(
                    FindingClass::Stray,
                    format!("meta/{name}"),
                    MISSING,
                    "lies beyond the end of the log",
                );
            }
        }
        Ok(())
    }

    fn body_file(&mut self, start: u64, own: &[(u64, Commitment)]) -> Result<(), LedgerError> {
        let bytes = self.meta.bytes(start)?;
        self.report.bytes += bytes.len() as u64;
        let file = self.relative(&self.meta.path(start));
        let (records, fault) = parse_meta(&bytes);
        for (record, (index, commitment)) in records.iter().zip(own) {
            if record.index != *index || body_commitment(record.body) != *commitment {
                let finding = self.report.add(
                    FindingClass::Meta,
                    &file,
                    INTEGRITY,
                    "body does not match its commitment",
                );
                (finding.offset, finding.index) = (Some(record.offset), Some(*index));
                return Ok(());
            }
            // Entries of the write-ahead log were taken in with their frames.
            if *index < self.wal_first {
                let entry = self.files.read_entries(*index, index + 1)?;
                if let Some(entry) = entry.first() {
                    self.registry.body(*index, entry, record.body);
                }
            }
        }
        if let Some(fault) = fault {
            let finding = self.report.add(FindingClass::Meta, &file, INTEGRITY, fault.what);
            finding.offset = Some(fault.offset);
        } else if records.len() > own.len() {
            let finding = self.report.add(
                FindingClass::Meta,
                &file,
                INTEGRITY,
                "holds a body that the log does not name",
            );
            finding.offset = records.get(own.len()).map(|record| record.offset);
        } else if let Some((index, _)) = own.get(records.len()).filter(|(index, _)| *index < self.wal_first) {
            let finding = self.report.add(FindingClass::Meta, &file, INTEGRITY, "body is missing");
            (finding.offset, finding.index) = (Some(bytes.len() as u64), Some(*index));
        }
        Ok(())
    }

    /// Every manifest against its file, its key, and the log; every recycled leaf in a segment, or retired.
    pub(super) fn sealed(&mut self, opened: &Opened) -> Result<(), LedgerError> {
        let segments = self.registry.segments();
        self.covered(&segments)?;
        for (at, segment) in segments.iter().enumerate() {
            self.tell("segments", at as u64, segments.len() as u64);
            let name = self.segments.name(segment);
            if segment.end > self.report.size
                || self.roots_of(segment.first, segment.end).as_ref() != Some(&segment.roots)
            {
                let what = "its manifest names another subtree than the log has";
                self.report.add(FindingClass::Segment, name, INTEGRITY, what).index = Some(segment.first);
                continue;
            }
            let Some((key, salts, check)) = self.key_of(opened, segment.first) else {
                let what = "key record is missing: contents are LOST, proofs still hold";
                self.report.add(FindingClass::Keys, name, MISSING, what).index = Some(segment.first);
                continue;
            };
            if self.registry.segment(segment.first).is_some_and(|(.., known)| *known != check) {
                let what = "its key is not the one that its manifest commits to";
                self.report.add(FindingClass::Keys, name, INTEGRITY, what).index = Some(segment.first);
                continue;
            }
            if !self.segments.available() {
                self.report.not_checked.push(format!("contents of {name}"));
                continue;
            }
            let entries = self.files.read_entries(segment.first, segment.end)?;
            let checked = self.segments.rows(segment, &key).and_then(|mut rows| {
                check_range(segment.first, &entries, &salts, &mut rows).map_err(|error| error.to_string())
            });
            self.report.segments += 1;
            self.report.bytes += segment.file_len;
            match checked {
                Ok(roots) if roots == segment.roots => self.report.commitments += entries.len() as u64,
                Ok(_) => {
                    let what = "its rows do not lead to the log's subtree";
                    self.report.add(FindingClass::Segment, name, INTEGRITY, what).index = Some(segment.first);
                }
                Err(what) => {
                    self.report.add(FindingClass::Segment, name, INTEGRITY, what).index = Some(segment.first);
                }
            }
        }
        Ok(())
    }

    /// What the write-ahead log no longer holds is in a segment, or an entry of the log says that it was retired.
    fn covered(&mut self, segments: &[SegmentInfo]) -> Result<(), LedgerError> {
        let mut ranges: Vec<(u64, u64)> =
            segments.iter().map(|segment| (segment.first, segment.end)).collect();
        for retired in self.registry.retired() {
            let inside = retired.first < retired.end && retired.end <= retired.entry;
            if inside && range_root(&self.files.read_entries(retired.first, retired.end)?) == retired.root {
                ranges.push((retired.first, retired.end));
            } else {
                let what = "it retires a range whose hash is not that of the log";
                self.report.add(FindingClass::Meta, "RETIRE", INTEGRITY, what).index = Some(retired.entry);
            }
        }
        ranges.sort_unstable();
        let mut covered = 0;
        for (first, end) in ranges {
            if first <= covered {
                covered = covered.max(end);
            }
        }
        if covered < self.wal_first {
            let what = "leaves without a segment, and the write-ahead log no longer holds them";
            self.report.add(FindingClass::Segment, "seg", INTEGRITY, what).index = Some(covered);
        }
        Ok(())
    }
}
