//! Silences ("do not tell me until then") and acknowledgements ("I know").
//!
//! Invariants: a silence has an author, a reason and an end at most 30 days after it was made; none can mean integrity
//! findings; what is silenced is counted and in the ledger, never lost.

use crate::config::AlertError;
use crate::inhibit::{is_integrity, means_integrity};
use crate::matcher::Match;
use crate::subject::Subject;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest silence.
pub const SILENCE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most silences at a time.
pub const SILENCES_MAX: usize = 1000;
/// Longest name of an author, and longest reason or note, in bytes.
pub const BY_MAX_BYTES: usize = 256;
/// Longest reason or note, in bytes.
pub const WHY_MAX_BYTES: usize = 1024;

/// A wish not to be told of some findings for a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Given when it is made, hexadecimal.
    pub id: String,
    /// Which findings.
    pub matches: Match,
    /// Who made it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it was made, Unix ns.
    pub made_ns: u64,
    /// When it ends, Unix ns.
    pub ends_ns: u64,
}

/// That somebody knows of a matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Who.
    pub by: String,
    /// In their words; may be empty.
    pub note: String,
    /// When, Unix ns.
    pub at_ns: u64,
}

impl Silence {
    /// Whether a finding is silenced now.
    pub fn holds(&self, subject: &Subject, now_ns: u64) -> bool {
        now_ns < self.ends_ns && !is_integrity(&subject.rule) && self.matches.meets(subject)
    }

    /// Whether it may be made.
    pub(crate) fn check(&self) -> Result<(), AlertError> {
        let wrong =
            |key: &str, why: String| Err(AlertError::Setting { setting: format!("silence.{key}"), why });
        check_words("silence", &self.by, "reason", &self.reason, true)?;
        if let Err(why) = self.matches.check() {
            return wrong("match", why.to_owned());
        }
        if self.matches.is_everything() {
            return wrong("match", "has no condition: it would silence everything".to_owned());
        }
        let rule = &self.matches.rule;
        if !rule.is_empty()
            && let Some(integrity) = means_integrity(rule)
        {
            let why =
                format!("may mean {integrity}, and findings about the record itself are never silenced");
            return wrong("match.rule", why);
        }
        if self.ends_ns <= self.made_ns {
            return wrong("ends", "is not in the future".to_owned());
        }
        if Duration::from_nanos(self.ends_ns - self.made_ns) > SILENCE_MAX {
            return wrong("ends", "is more than 30 days away".to_owned());
        }
        Ok(())
    }
}

/// Who and why: said, bounded, on one line each.
pub(crate) fn check_words(
    what: &str,
    by: &str,
    key: &str,
    why: &str,
    needed: bool,
) -> Result<(), AlertError> {
    let wrong = |key: &str, why: &str| {
        Err(AlertError::Setting { setting: format!("{what}.{key}"), why: why.to_owned() })
    };
    if by.trim().is_empty() || by.len() > BY_MAX_BYTES || by.chars().any(char::is_control) {
        return wrong("by", "says who it is, in 1 to 256 bytes");
    }
    if needed && why.trim().is_empty() || why.len() > WHY_MAX_BYTES || why.chars().any(char::is_control) {
        return wrong(key, "is one line of at most 1,024 bytes, and not empty");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000_000_000;

    fn silence() -> Silence {
        Silence {
            id: "1".into(),
            matches: Match { service: "orders".into(), ..Match::default() },
            by: "alice".into(),
            reason: "change window".into(),
            made_ns: DAY,
            ends_ns: 2 * DAY,
        }
    }

    #[test]
    fn a_silence_holds_for_its_findings_until_its_end() {
        let subject = Subject { rule: "rate-shift".into(), service: "orders".into(), ..Subject::default() };
        assert!(silence().check().is_ok() && silence().holds(&subject, 2 * DAY - 1));
        assert!(!silence().holds(&subject, 2 * DAY));
        assert!(!silence().holds(&Subject { service: "web".into(), ..subject.clone() }, DAY));
        assert!(!silence().holds(&Subject { rule: "sequence-gap".into(), ..subject }, DAY), "integrity");
    }

    #[test]
    fn what_may_not_be_silenced_is_refused() {
        let rule = |rule: &str| Match { rule: rule.into(), ..Match::default() };
        let cases = [
            (Silence { matches: Match::default(), ..silence() }, "everything"),
            (Silence { matches: rule("sequence-gap"), ..silence() }, "never silenced"),
            (Silence { matches: rule("capture-lost"), ..silence() }, "never silenced"),
            (Silence { matches: rule("*-mismatch"), ..silence() }, "never silenced"),
            (Silence { matches: rule("detector.learned"), ..silence() }, "never silenced"),
            (Silence { ends_ns: 31 * DAY + 1, ..silence() }, "30 days"),
            (Silence { ends_ns: DAY, ..silence() }, "future"),
            (Silence { by: " ".into(), ..silence() }, "silence.by"),
            (Silence { reason: String::new(), ..silence() }, "silence.reason"),
            (Silence { reason: "a\nb".into(), ..silence() }, "one line"),
        ];
        for (silence, want) in cases {
            let error = silence.check().err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(want), "{error} should say {want}");
        }
        assert!(Silence { ends_ns: 31 * DAY, ..silence() }.check().is_ok(), "30 days are allowed");
    }
}
