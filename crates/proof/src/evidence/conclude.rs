//! Turns what a [`Verifier`] found into its report: one line a check, in a fixed order.
//!
//! Invariant: no finding is lost. Whatever has no line of its own yet gets one before the report leaves.

use super::verify::{Claim, Unchecked, Verifier};
use crate::report::{Check, Report, SHOWN_MAX, Status, Verdict, shown};
use crate::{Checkpoint, Require, Trust};
use countersign_event::GROUP_NAMES;

impl Verifier<'_> {
    fn settle_claims(&mut self) {
        for claim in std::mem::take(&mut self.claims) {
            let Claim { index, group, by, retired } = claim;
            let word = if retired { "retired" } else { "erased" };
            match self.removals.get(&by) {
                // An entry can only speak of what came before it.
                Some(removal) if by > index && removal.covers(retired, index, group) => {
                    let verdict = if retired { Verdict::Retired } else { Verdict::Erased };
                    self.tally(group, verdict);
                    if self.report.removed.len() < SHOWN_MAX {
                        let name = GROUP_NAMES.get(usize::from(group)).copied().unwrap_or_default();
                        let text = format!("group {name} of event {index}: {} (entry {by})", verdict.name());
                        self.report.removed.push(text);
                    }
                }
                Some(_) => {
                    self.missing(
                        index,
                        group,
                        &format!("is called {word} by entry {by}, which does not cover it"),
                    );
                }
                None => {
                    let why = format!("is called {word} by entry {by}, which is not in the file as such");
                    self.missing(index, group, &why);
                }
            }
        }
    }

    pub(super) fn conclude(mut self, bytes: usize, outcome: Result<(), String>) -> Report {
        let whole = outcome.is_ok();
        if let Err(why) = outcome {
            self.findings.add(Check::File, Status::Malformed, || shown(&why));
        }
        if !self.linked {
            self.unchecked.consistency += 1;
        }
        self.settle_claims();
        let items: u64 = self.counts.iter().sum::<u64>() + u64::from(whole);
        let file =
            self.findings.line(Check::File, format!("{items} items, {bytes} bytes, complete and unaltered"));
        self.report.lines.push(file);
        if let Some(head) = self.heads.last().cloned() {
            self.head_lines(&head);
        }
        if self.leaves > 0 {
            self.entry_lines();
        } else if whole {
            self.findings
                .add(Check::Inclusion, Status::Insufficient, || "the file proves no entry".to_owned());
            let line = self.findings.line(Check::Inclusion, String::new());
            self.report.lines.push(line);
        }
        if let Some(range) = self.range.take() {
            let good = range.judge(self.trust.max_silence_s, &mut self.findings);
            let line = self.findings.line(Check::Range, good);
            self.report.lines.push(line);
        }
        if self.report.events > 0 {
            let good = format!("{} groups accounted for, none missing", self.groups);
            let line = self.findings.line(Check::Verdicts, good);
            self.report.lines.push(line);
        }
        let rest = self.findings.rest();
        self.report.lines.extend(rest);
        self.report.not_checked = self.unchecked.texts(self.range_claimed(), self.trust);
        self.report
    }

    fn range_claimed(&self) -> bool {
        self.report.lines.iter().any(|line| line.check == Check::Range)
    }

    fn head_lines(&mut self, head: &Checkpoint) {
        let good = format!("{}, size {}, signed by a pinned key", shown(&head.origin), head.size);
        let line = self.findings.line(Check::Checkpoint, good);
        if line.status == Status::Ok {
            (self.report.origin, self.report.size) = (shown(&head.origin), head.size);
        }
        self.report.lines.push(line);
        let good = if self.policy.is_unwitnessed() {
            "none asked for: this log is unwitnessed".to_owned()
        } else {
            format!("{} met, cosigned by {}", shown(&self.policy.quorum_name()), self.quorum.join(", "))
        };
        self.push(Check::Quorum, good);
        if self.trust.require == Require::Both {
            self.findings.add(Check::Algorithms, Status::Insufficient, || {
                "ML-DSA-44 is required and this version cannot check it".to_owned()
            });
        }
        self.push(Check::Algorithms, "Ed25519, as required".to_owned());
        if self.links > 0 {
            self.push(Check::Consistency, format!("{} checkpoints extend the one before", self.links));
        }
    }

    fn entry_lines(&mut self) {
        self.push(Check::Inclusion, format!("{} entries are in the tree", self.leaves));
        let bodies: u64 = self.report.others.values().sum();
        self.push(Check::Commitment, format!("{} events, {bodies} other entries", self.report.events));
        if self.cores > 0 || self.findings.has(Check::Core) {
            self.push(Check::Core, format!("{} events agree with their entries", self.cores));
        }
        if self.heartbeats > 0 || self.findings.has(Check::Heartbeats) {
            let good = format!("{} signed by their sources, and their counts add up", self.heartbeats);
            self.push(Check::Heartbeats, good);
        }
        self.push(Check::Time, "never falls along the index".to_owned());
    }

    fn push(&mut self, check: Check, good: String) {
        let line = self.findings.line(check, good);
        self.report.lines.push(line);
    }
}

impl Unchecked {
    fn texts(&self, range: bool, trust: &Trust) -> Vec<String> {
        let counted = [
            (self.core_withheld, "source, number and id of {} events: group core is not shown"),
            (self.other_schema, "contents of {} events: their schema is not known to this version"),
            (self.import_id, "id of {} events: made from an id that is not shown"),
            (self.unregistered, "source of {} events: its registration is not in the file"),
            (
                self.heartbeats,
                "signatures of {} heartbeats: their sources' registrations are not in the file",
            ),
            (self.bodies, "contents of {} other entries: their bodies are not shown"),
            (
                self.unread_bodies,
                "meaning of {} other entries: committed, but not understood by this version",
            ),
            (self.commitments, "{} events whose commitments are not all there"),
            (self.consistency, "consistency of {} checkpoints with the one before: no proof in the file"),
            (self.unknown_lines as u64, "{} signature lines by keys that the policy does not know"),
        ];
        let mut texts: Vec<String> = counted
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, text)| text.replace("{}", &count.to_string()))
            .collect();
        if !range {
            texts.push("completeness: the file claims no range, other events may exist".to_owned());
        } else if trust.max_silence_s.is_none() {
            texts.push("silence of sources: the trust file sets no max_silence_s".to_owned());
        }
        texts.push("truth: that a source told the truth when it was recorded".to_owned());
        texts
    }
}
