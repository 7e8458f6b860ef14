//! What delivery remembers: matters, groups, open parents, silences, answers.
//!
//! No I/O here (`journal.rs` keeps it on disk). Invariants: bounded; what is forgotten at a bound can only ring once
//! more, never be lost; applying the kept changes in order to an older state gives the newer one.

use crate::feedback::Feedback;
use crate::group::{GROUPS_MAX, Group};
use crate::inhibit::{Parent, parent_of};
use crate::silence::{Ack, Silence};
use crate::subject::Subject;
use countersign_event::FindingState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most matters remembered.
pub const MATTERS_MAX: usize = 16_384;

/// One matter that people were told of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Matter {
    /// When somebody was last told, Unix ns.
    pub(crate) told_ns: u64,
    /// Repeats since then.
    pub(crate) repeats: u64,
    /// Worst severity told.
    pub(crate) worst: u64,
    pub(crate) open: bool,
    /// Id of the latest finding, hexadecimal, and its rule.
    pub(crate) finding: String,
    pub(crate) rule: String,
    pub(crate) ack: Option<Ack>,
}

/// What to do with a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Tell, and how many repeats were merged since the last time.
    Tell { repeats: u64, opens: bool },
    /// Somebody was told of the same matter not long ago, or said to know of it.
    Merge,
    /// Follows from the open parent of this fingerprint.
    Inhibited(String),
    /// Somebody asked not to be told: the silence's id.
    Silenced(String),
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    /// The last change that is in here.
    pub(crate) seq: u64,
    /// One above the ledger index of the last finding taken in.
    pub(crate) handled: u64,
    pub(crate) matters: BTreeMap<String, Matter>,
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) parents: BTreeMap<String, Parent>,
    pub(crate) silences: Vec<Silence>,
    pub(crate) feedback: Feedback,
}

/// What one finding, or one notification, changed. Applied in order; each is all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Delta {
    pub(crate) handled: u64,
    pub(crate) matters: Vec<(String, Matter)>,
    pub(crate) groups: Vec<(String, Option<Group>)>,
    pub(crate) parents: Vec<(String, Option<Parent>)>,
}

impl Memory {
    pub(crate) fn judge(&self, subject: &Subject, fingerprint: &str, now_ns: u64, repeat_ns: u64) -> Verdict {
        let known = self.matters.get(fingerprint).filter(|matter| matter.open);
        let resolved = subject.state == FindingState::Resolved;
        if let Some(matter) = known {
            if resolved {
                return Verdict::Tell { repeats: matter.repeats, opens: false };
            }
            let worse = subject.severity.code() > matter.worst;
            let of_late = now_ns.saturating_sub(matter.told_ns) < repeat_ns;
            if !worse && (of_late || matter.ack.is_some()) {
                return Verdict::Merge;
            }
        }
        if let Some(parent) = parent_of(&self.parents, subject, fingerprint) {
            return Verdict::Inhibited(parent.to_owned());
        }
        if let Some(silence) = self.silences.iter().find(|silence| silence.holds(subject, now_ns)) {
            return Verdict::Silenced(silence.id.clone());
        }
        match known {
            // Nobody was told that it began.
            None if resolved => Verdict::Merge,
            None => Verdict::Tell { repeats: 0, opens: true },
            Some(matter) => Verdict::Tell { repeats: matter.repeats, opens: false },
        }
    }

    pub(crate) fn apply(&mut self, delta: Delta) {
        self.seq += 1;
        self.handled = self.handled.max(delta.handled);
        for (key, matter) in delta.matters {
            self.matters.insert(key, matter);
        }
        if self.matters.len() > MATTERS_MAX {
            self.forget_matters();
        }
        put_all(&mut self.groups, delta.groups);
        put_all(&mut self.parents, delta.parents);
    }

    /// Lets the sixteenth part go of which people were told the longest ago.
    fn forget_matters(&mut self) {
        let mut all: Vec<_> = self.matters.iter().map(|(key, m)| (m.told_ns, key.clone())).collect();
        all.sort();
        for (_, key) in all.into_iter().take(MATTERS_MAX / 16) {
            self.matters.remove(&key);
        }
    }

    /// The group that has to go before another comes.
    pub(crate) fn oldest_group(&self) -> Option<String> {
        let full = self.groups.len() >= GROUPS_MAX;
        let oldest = || self.groups.iter().min_by_key(|(_, group)| group.told_ns).map(|(key, _)| key.clone());
        full.then(oldest).flatten()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Memory> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Delta {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Delta> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Applies changes to a map, in order.
pub(crate) fn put_all<T>(map: &mut BTreeMap<String, T>, changes: Vec<(String, Option<T>)>) {
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::Severity;

    fn told(memory: &mut Memory, fingerprint: &str, now: u64, severity: u64) {
        let matter = Matter { told_ns: now, worst: severity, open: true, ..Matter::default() };
        memory.apply(Delta { matters: vec![(fingerprint.into(), matter)], ..Delta::default() });
    }
    fn subject(severity: Severity) -> Subject {
        Subject { rule: "r".into(), severity, ..Subject::default() }
    }

    #[test]
    fn repeats_within_the_time_are_merged_unless_worse() {
        let mut memory = Memory::default();
        let opens = Verdict::Tell { repeats: 0, opens: true };
        let again = Verdict::Tell { repeats: 0, opens: false };
        assert_eq!(memory.judge(&subject(Severity::Medium), "a", 100, 50), opens);
        told(&mut memory, "a", 100, 3);
        assert_eq!(memory.judge(&subject(Severity::Medium), "a", 149, 50), Verdict::Merge);
        assert_eq!(memory.judge(&subject(Severity::High), "a", 149, 50), again);
        assert_eq!(memory.judge(&subject(Severity::Medium), "a", 150, 50), again);
        assert_eq!(memory.judge(&subject(Severity::Medium), "b", 149, 50), opens);
    }

    #[test]
    fn an_end_is_told_once_and_only_to_those_who_know_of_the_beginning() {
        let mut memory = Memory::default();
        let resolved = Subject { state: FindingState::Resolved, ..subject(Severity::Medium) };
        assert_eq!(memory.judge(&resolved, "a", 1, 50), Verdict::Merge);
        told(&mut memory, "a", 1, 3);
        assert_eq!(memory.judge(&resolved, "a", 2, 50), Verdict::Tell { repeats: 0, opens: false });
        if let Some(matter) = memory.matters.get_mut("a") {
            matter.open = false;
        }
        assert_eq!(memory.judge(&resolved, "a", 3, 50), Verdict::Merge);
        assert_eq!(
            memory.judge(&subject(Severity::Medium), "a", 3, 50),
            Verdict::Tell { repeats: 0, opens: true }
        );
    }

    #[test]
    fn a_storm_of_matters_stays_bounded_and_the_latest_stay_merged() {
        let mut memory = Memory::default();
        for n in 0..40_000u64 {
            told(&mut memory, &format!("{n:032x}"), n, 3);
            assert!(memory.matters.len() <= MATTERS_MAX);
        }
        let last = format!("{:032x}", 39_999);
        assert_eq!(memory.judge(&subject(Severity::Medium), &last, 40_000, u64::MAX), Verdict::Merge);
    }
}
