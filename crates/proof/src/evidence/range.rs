//! A claimed range: is every index there, and every number of every source?
//!
//! Memory is 16 bytes for each entry of the file, which itself takes more than 100.

use super::content::merged;
use crate::body::Gap;
use crate::report::{Check, Findings, Status};
use countersign_event::{Entry, EntryKind};
use std::collections::BTreeMap;

/// Collects entries in ascending order of index and judges at the end.
#[derive(Debug)]
pub(crate) struct RangeCheck {
    first: u64,
    end: u64,
    present: u64,
    sources: BTreeMap<u32, Source>,
    /// Declared missing numbers by source; end exclusive.
    declared: BTreeMap<u32, Vec<(u64, u64)>>,
}

#[derive(Debug, Default)]
struct Source {
    numbers: Vec<u64>,
    last_ns: u64,
    silence_ns: u64,
}

impl RangeCheck {
    pub(crate) fn new(first: u64, end: u64) -> RangeCheck {
        RangeCheck { first, end, present: 0, sources: BTreeMap::new(), declared: BTreeMap::new() }
    }

    pub(crate) fn entry(&mut self, index: u64, entry: &Entry) {
        if !(self.first..self.end).contains(&index) {
            return;
        }
        self.present += 1;
        self.heard(entry.source_ref, entry.time_ns);
        // Heartbeats carry no number of their own in their source's sequence.
        let numbered = entry.source_ref == 0 || entry.kind == EntryKind::Event as u8;
        if numbered && let Some(source) = self.sources.get_mut(&entry.source_ref) {
            source.numbers.push(entry.source_seq);
        }
    }

    /// A sign of life of a source: an entry, or a heartbeat that names it.
    pub(crate) fn heard(&mut self, source_ref: u32, time_ns: u64) {
        let fresh = Source { last_ns: time_ns, ..Source::default() };
        let source = self.sources.entry(source_ref).or_insert(fresh);
        source.silence_ns = source.silence_ns.max(time_ns.saturating_sub(source.last_ns));
        source.last_ns = time_ns.max(source.last_ns);
    }

    pub(crate) fn declare(&mut self, gap: &Gap) {
        if let Some((first, last)) = gap.range {
            self.declared.entry(gap.source_ref).or_default().push((first, last.saturating_add(1)));
        }
    }

    /// Adds findings; returns what holds when there are none.
    pub(crate) fn judge(self, max_silence_s: Option<u64>, findings: &mut Findings) -> String {
        let wanted = self.end - self.first;
        if self.present != wanted {
            findings.add(Check::Range, Status::Insufficient, || {
                format!(
                    "{} of the {wanted} claimed leaves {}..{} are in the file",
                    self.present, self.first, self.end
                )
            });
        }
        let (mut declared, sources) = (self.declared, self.sources.len());
        for (source_ref, source) in self.sources {
            let gaps = merged(declared.remove(&source_ref).unwrap_or_default());
            source.judge(source_ref, &gaps, max_silence_s, findings);
        }
        format!("leaves {}..{}, {sources} sources, no undeclared gap", self.first, self.end)
    }
}

impl Source {
    fn judge(
        mut self,
        source_ref: u32,
        gaps: &[(u64, u64)],
        max_silence_s: Option<u64>,
        findings: &mut Findings,
    ) {
        self.numbers.sort_unstable();
        let mut gaps = gaps.iter().copied().peekable();
        for pair in self.numbers.windows(2) {
            let [before, after] = *pair else { continue };
            if before == after {
                findings.add(Check::Range, Status::Broken, || {
                    format!("number {before} of source {source_ref} is there twice")
                });
                continue;
            }
            if let Some((first, end)) = undeclared(before + 1, after, &mut gaps) {
                findings.add(Check::Range, Status::Insufficient, || {
                    format!(
                        "numbers {first} to {} of source {source_ref} are absent and no GAP says why",
                        end - 1
                    )
                });
            }
        }
        if let Some(limit) = max_silence_s
            && self.silence_ns > limit.saturating_mul(1_000_000_000)
        {
            findings.add(Check::Range, Status::Insufficient, || {
                let seconds = self.silence_ns / 1_000_000_000;
                format!("source {source_ref} was silent for {seconds} s; the trust file allows {limit} s")
            });
        }
    }
}

/// The first part of the hole `first..end` that no gap covers. `gaps` are disjoint and ascending;
/// those before the hole are consumed, which is sound because holes come ascending too.
fn undeclared(
    first: u64,
    end: u64,
    gaps: &mut std::iter::Peekable<impl Iterator<Item = (u64, u64)>>,
) -> Option<(u64, u64)> {
    let mut at = first;
    while at < end {
        match gaps.peek() {
            Some((_, gap_end)) if *gap_end <= at => drop(gaps.next()),
            Some((gap_first, gap_end)) if *gap_first <= at => at = *gap_end,
            Some((gap_first, _)) => return Some((at, end.min(*gap_first))),
            None => return Some((at, end)),
        }
    }
    None
}
