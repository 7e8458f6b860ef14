//! Which findings are meant: by rule, severity, label, caller, service, source, tenant.
//!
//! Not a query language: every given condition must hold, one value each, with `*` and `?`. Invariants: bounded
//! patterns; a match takes at most pattern times text steps.

use crate::subject::Subject;
use countersign_event::Severity;
use serde::{Deserialize, Serialize};

/// Longest pattern, in bytes.
pub const PATTERN_MAX_BYTES: usize = 256;

/// Conditions on a finding; one that is empty does not ask. Patterns know `*` (any text) and `?` (one character).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Match {
    /// Rule id.
    pub rule: String,
    /// Least severity: 1 informational to 5 critical; 0 does not ask.
    pub severity: u64,
    /// One of the finding's labels.
    pub label: String,
    /// Canonical id of the caller.
    pub caller: String,
    /// Service called.
    pub service: String,
    /// Input or route that the evidence came by.
    pub source: String,
    /// Tenant.
    pub tenant: String,
}

impl Match {
    /// Whether every condition holds.
    pub fn meets(&self, subject: &Subject) -> bool {
        let text = |pattern: &str, text: &str| pattern.is_empty() || glob(pattern, text);
        subject.severity.code() >= self.severity
            && text(&self.rule, &subject.rule)
            && text(&self.caller, &subject.caller)
            && text(&self.service, &subject.service)
            && text(&self.source, &subject.source)
            && text(&self.tenant, &subject.tenant)
            && (self.label.is_empty() || subject.labels.iter().any(|label| glob(&self.label, label)))
    }

    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let patterns = [&self.rule, &self.label, &self.caller, &self.service, &self.source, &self.tenant];
        if patterns.iter().any(|pattern| pattern.len() > PATTERN_MAX_BYTES) {
            return Err("has a pattern longer than 256 bytes");
        }
        if self.severity > Severity::Critical.code() {
            return Err("has a severity that is not 1 to 5");
        }
        Ok(())
    }

    /// Whether it asks for nothing, and so means every finding.
    pub(crate) fn is_everything(&self) -> bool {
        *self == Match::default()
    }
}

/// Whether `text` is as `pattern` says. Letters are compared as they are.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how much of the text it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

/// Whether some text is as both patterns say.
pub(crate) fn globs_meet(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // row[j]: the first i characters of one and the first j of other can stand for the same text.
    let mut row: Vec<bool> = Vec::with_capacity(other.len() + 1);
    row.push(true);
    for c in &other {
        row.push(*c == '*' && row.last() == Some(&true));
    }
    for a in &one {
        let mut next = vec![*a == '*' && row.first() == Some(&true)];
        for (j, b) in other.iter().enumerate() {
            let above = row.get(j + 1) == Some(&true);
            let left = next.last() == Some(&true);
            let before = row.get(j) == Some(&true);
            next.push(match (*a, *b) {
                // A star stands for nothing, or for one character more of the other.
                ('*', _) | (_, '*') => above || left,
                ('?', _) | (_, '?') => before,
                (a, b) => before && a == b,
            });
        }
        row = next;
    }
    row.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the definition, however long it takes.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                slow(rest, text) || text.split_first().is_some_and(|(_, t)| slow(pattern, t))
            }
            (Some((c, rest)), Some((t, after))) => (*c == '?' || c == t) && slow(rest, after),
            _ => false,
        }
    }

    #[test]
    fn every_condition_must_hold() {
        let subject = Subject {
            rule: "first-seen-edge".into(),
            severity: Severity::Medium,
            caller: "spiffe://td/web".into(),
            service: "orders".into(),
            labels: vec!["pci".into(), "first-seen-edge".into()],
            ..Subject::default()
        };
        let all = Match {
            rule: "first-*".into(),
            severity: 3,
            label: "pc?".into(),
            caller: "spiffe://td/*".into(),
            service: "orders".into(),
            ..Match::default()
        };
        assert!(all.meets(&subject) && Match::default().meets(&subject));
        for wrong in [
            Match { severity: 4, ..all.clone() },
            Match { rule: "silence".into(), ..all.clone() },
            Match { label: "phi".into(), ..all.clone() },
            Match { caller: "*/batch".into(), ..all.clone() },
            Match { service: "order".into(), ..all.clone() },
            Match { source: "edge-1".into(), ..all.clone() },
            Match { tenant: "?*".into(), ..all.clone() },
        ] {
            assert!(!wrong.meets(&subject), "{wrong:?}");
        }
        assert!(Match { rule: "x".repeat(257), ..Match::default() }.check().is_err());
        assert!(Match { severity: 6, ..Match::default() }.check().is_err());
    }

    #[test]
    fn a_pattern_that_is_made_to_cost_ends_soon() {
        assert!(!glob(&"a*".repeat(100), &"a".repeat(1000).replace("aaaaaaaaaa", "aaaaaaaaab")[..99]));
        assert!(!glob(&format!("{}b", "*a".repeat(120)), &"a".repeat(1024)));
    }

    proptest! {
        #[test]
        fn the_match_is_that_of_the_definition(pattern in "[ab*?]{0,8}", text in "[abc]{0,8}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(glob(&pattern, &text), slow(&chars(&pattern), &chars(&text)));
        }
        #[test]
        fn patterns_meet_when_a_text_fits_both(one in "[ab*?]{0,5}", other in "[ab*?]{0,5}", text in "[ab]{0,6}") {
            if glob(&one, &text) && glob(&other, &text) {
                prop_assert!(globs_meet(&one, &other));
            }
            let plain = one.replace(['*', '?'], "");
            prop_assert_eq!(globs_meet(&plain, &other), glob(&other, &plain));
        }
    }
}
