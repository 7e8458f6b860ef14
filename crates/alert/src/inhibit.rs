//! Inhibition: while a source is known to be silent, what follows from that rings nobody.
//!
//! Invariants: only an open parent inhibits, never itself; integrity findings are never inhibited; what is forgotten
//! at the bound inhibits nothing.

use crate::matcher::{glob, globs_meet};
use crate::subject::Subject;
use countersign_event::FindingState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The rule whose findings about a source (without a caller) are parents.
pub const PARENT_RULE: &str = "silence";
/// Rules, with wildcards, that an open parent about the same source or service inhibits.
pub const CHILD_RULES: &[&str] =
    &["silence", "rate-shift", "slow-shift", "burn-rate", "contract", "contract-*"];
/// Rules, with wildcards, that say that the record itself may be incomplete or wrong: never inhibited, never silenced.
pub const INTEGRITY_RULES: &[&str] = &[
    "sequence-gap",
    "tree-mismatch",
    "capture-*",
    "detector.*",
    "verification-*",
    "witness-*",
    "policy-observe",
];
/// Most open parents remembered; at the bound the oldest goes.
pub const PARENTS_MAX: usize = 4096;

/// Whether a rule's findings are about the record itself.
pub fn is_integrity(rule: &str) -> bool {
    INTEGRITY_RULES.iter().any(|pattern| glob(pattern, rule))
}

/// The integrity rule that a pattern could mean, if there is one.
pub(crate) fn means_integrity(pattern: &str) -> Option<&'static str> {
    INTEGRITY_RULES.iter().find(|rule| globs_meet(pattern, rule)).copied()
}

/// An open parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parent {
    tenant: String,
    source: String,
    service: String,
    since_ns: u64,
}

/// What a finding changes among the open parents.
pub(crate) fn changes(
    parents: &BTreeMap<String, Parent>,
    subject: &Subject,
    fingerprint: &str,
    now_ns: u64,
) -> Vec<(String, Option<Parent>)> {
    if subject.rule != PARENT_RULE || !subject.caller.is_empty() {
        return Vec::new();
    }
    let known = parents.contains_key(fingerprint);
    if subject.state == FindingState::Resolved {
        return if known { vec![(fingerprint.to_owned(), None)] } else { Vec::new() };
    }
    if known {
        return Vec::new();
    }
    let mut changes = Vec::new();
    if parents.len() >= PARENTS_MAX
        && let Some((oldest, _)) = parents.iter().min_by_key(|(_, parent)| parent.since_ns)
    {
        changes.push((oldest.clone(), None));
    }
    let parent = Parent {
        tenant: subject.tenant.clone(),
        source: subject.source.clone(),
        service: subject.service.clone(),
        since_ns: now_ns,
    };
    changes.push((fingerprint.to_owned(), Some(parent)));
    changes
}

/// The open parent that makes this finding a mere consequence.
pub(crate) fn parent_of<'p>(
    parents: &'p BTreeMap<String, Parent>,
    subject: &Subject,
    fingerprint: &str,
) -> Option<&'p str> {
    if is_integrity(&subject.rule) || !CHILD_RULES.iter().any(|rule| glob(rule, &subject.rule)) {
        return None;
    }
    let same = |a: &str, b: &str| !a.is_empty() && a == b;
    let found = parents.iter().find(|(key, parent)| {
        *key != fingerprint
            && parent.tenant == subject.tenant
            && (same(&parent.source, &subject.source) || same(&parent.service, &subject.service))
    });
    found.map(|(key, _)| key.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(source: &str, state: FindingState) -> Subject {
        Subject { rule: "silence".into(), source: source.into(), state, ..Subject::default() }
    }
    fn note(parents: &mut BTreeMap<String, Parent>, subject: &Subject, fingerprint: &str, now_ns: u64) {
        crate::memory::put_all(parents, changes(parents, subject, fingerprint, now_ns));
    }
    fn about(rule: &str, source: &str) -> Subject {
        let (caller, service) = ("spiffe://td/a".into(), "orders".into());
        Subject { rule: rule.into(), source: source.into(), caller, service, ..Subject::default() }
    }

    #[test]
    fn a_silent_source_inhibits_its_children_until_it_is_back() {
        let mut parents = BTreeMap::new();
        assert_eq!(parent_of(&parents, &about("rate-shift", "edge-1"), "c"), None);
        note(&mut parents, &silence("edge-1", FindingState::Open), "p", 1);
        note(&mut parents, &silence("edge-1", FindingState::Updated), "p", 2);
        for rule in ["silence", "rate-shift", "slow-shift", "burn-rate", "contract", "contract-status"] {
            assert_eq!(parent_of(&parents, &about(rule, "edge-1"), "c"), Some("p"), "{rule}");
            assert_eq!(parent_of(&parents, &about(rule, "edge-2"), "c"), None);
        }
        assert_eq!(parent_of(&parents, &silence("edge-1", FindingState::Open), "p"), None, "not itself");
        assert_eq!(parent_of(&parents, &about("token-replay", "edge-1"), "c"), None);
        let tenant = Subject { tenant: "b".into(), ..about("rate-shift", "edge-1") };
        assert_eq!(parent_of(&parents, &tenant, "c"), None, "another tenant's source");
        note(&mut parents, &silence("edge-1", FindingState::Resolved), "p", 3);
        assert_eq!(parent_of(&parents, &about("rate-shift", "edge-1"), "c"), None);
    }

    #[test]
    fn an_edge_that_is_silent_is_no_parent() {
        let mut parents = BTreeMap::new();
        note(&mut parents, &about("silence", "edge-1"), "e", 1);
        assert!(parents.is_empty());
    }

    #[test]
    fn integrity_findings_are_never_inhibited_and_their_patterns_are_known() {
        let mut parents = BTreeMap::new();
        note(&mut parents, &silence("edge-1", FindingState::Open), "p", 1);
        for rule in ["sequence-gap", "tree-mismatch", "capture-lost", "detector.saturated"] {
            assert_eq!(parent_of(&parents, &about(rule, "edge-1"), "c"), None, "{rule}");
            assert!(is_integrity(rule));
        }
        assert!(means_integrity("seq*").is_some() && means_integrity("*").is_some());
        assert!(means_integrity("first-*").is_none() && !is_integrity("silence"));
    }

    #[test]
    fn parents_stay_bounded() {
        let mut parents = BTreeMap::new();
        for n in 0..PARENTS_MAX as u64 + 10 {
            note(&mut parents, &silence(&n.to_string(), FindingState::Open), &format!("{n:08}"), n);
        }
        assert_eq!(parents.len(), PARENTS_MAX);
        assert!(!parents.contains_key("00000000"));
    }
}
