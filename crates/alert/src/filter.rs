//! Proposals of Sigma filters, from findings that people called false.
//!
//! Not their use: a proposal becomes a filter when a person approves it, and whoever loads it has replayed it over
//! history first. Invariants: it names its rule, has an end, and narrows by fields that all these findings share, as
//! they are (no wildcard of a hostile name survives); it is refused if it would have hidden a finding called true.

use crate::feedback::{Answer, Opinion};
use crate::time::rfc3339;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest life of a filter.
pub const FILTER_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A filter that nobody has approved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Rule that it narrows.
    pub rule: String,
    /// Field and value that all the false findings share, by the names of the search language.
    pub fields: BTreeMap<String, String>,
    /// Ids of the findings that it rests on.
    pub findings: Vec<String>,
    /// Unix ns from which on it must not be used.
    pub ends_ns: u64,
    /// The Sigma filter document.
    pub text: String,
}

/// Why there is no proposal, or why it may not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Nobody called a finding of this rule false.
    #[error("no finding of rule {0} is marked false")]
    NothingFalse(String),
    /// They share no field by which a filter could tell them from others.
    #[error(
        "the findings of rule {0} that are marked false share neither caller, service nor resource: no filter would hold them alone"
    )]
    NothingShared(String),
    /// The end is past, or too far away.
    #[error("a filter ends within a year from now")]
    Ends,
    /// It would have hidden findings that people called true.
    #[error("it would have hidden {} finding(s) marked true, the first is {}", .0.len(), .0.first().map_or("", String::as_str))]
    HidesTrue(Vec<String>),
}

/// Proposes a filter for what the false findings of a rule have in common.
///
/// # Errors
/// There is nothing to propose.
pub fn propose(rule: &str, opinions: &[Opinion], now_ns: u64, ends_ns: u64) -> Result<Proposal, FilterError> {
    if ends_ns <= now_ns || Duration::from_nanos(ends_ns - now_ns) > FILTER_MAX {
        return Err(FilterError::Ends);
    }
    let wrong: Vec<&Opinion> =
        opinions.iter().filter(|o| o.rule == rule && o.answer == Answer::False).collect();
    let (first, rest) = wrong.split_first().ok_or_else(|| FilterError::NothingFalse(rule.to_owned()))?;
    let mut fields = first.fields.clone();
    fields.retain(|name, value| rest.iter().all(|o| o.fields.get(name) == Some(value)));
    // Tenant and operation alone would hide far more than these.
    if !["who", "service", "resource"].iter().any(|name| fields.contains_key(*name)) {
        return Err(FilterError::NothingShared(rule.to_owned()));
    }
    let findings: Vec<String> = wrong.iter().map(|o| o.finding.clone()).collect();
    let text = document(rule, &fields, &findings, now_ns, ends_ns);
    Ok(Proposal { rule: rule.to_owned(), fields, findings, ends_ns, text })
}

/// Refuses a filter that would have hidden a finding marked true. `hides` says whether the filter takes the evidence of
/// the finding with this opinion; whoever can read history and evaluate filters supplies it.
///
/// # Errors
/// The ids of the true findings that it would have hidden.
pub fn would_hide_true(
    filter: &Proposal,
    opinions: &[Opinion],
    mut hides: impl FnMut(&Proposal, &Opinion) -> bool,
) -> Result<(), FilterError> {
    let of_rule = opinions.iter().filter(|o| o.rule == filter.rule && o.answer == Answer::True);
    let hidden: Vec<String> = of_rule.filter(|o| hides(filter, o)).map(|o| o.finding.clone()).collect();
    if hidden.is_empty() { Ok(()) } else { Err(FilterError::HidesTrue(hidden)) }
}

impl Proposal {
    /// Whether a finding with this opinion has all the fields: the quick check, on what is kept here; a replay of the
    /// text over the evidence is the thorough one.
    pub fn holds(&self, opinion: &Opinion) -> bool {
        self.fields.iter().all(|(name, value)| opinion.fields.get(name) == Some(value))
    }
}

fn document(
    rule: &str,
    fields: &BTreeMap<String, String>,
    findings: &[String],
    now_ns: u64,
    ends_ns: u64,
) -> String {
    let day = |ns: u64| rfc3339(ns).chars().take(10).collect::<String>();
    let shown: Vec<String> = findings.iter().take(20).map(|id| quote(id)).collect();
    let detection: String =
        fields.iter().map(|(name, value)| format!("    {name}|cased: {}\n", quote(&plain(value)))).collect();
    format!(
        "title: {title}\nname: {name}\nstatus: experimental\ndescription: {why}\ndate: {date}\n\
         # Not to be used before a person's name stands here, nor after this day.\napproved_by: ''\nexpires: {ends}\n\
         findings: [{shown}]\nlogsource:\n  product: countersign\nfilter:\n  rules: [{rule}]\n  expected:\n{detection}  condition: not expected\n",
        title = quote(&format!("Expected findings of rule {rule}")),
        name = quote(&format!("expected-{rule}")),
        why = quote(&format!("Proposed from {} findings that were marked false.", findings.len())),
        date = day(now_ns),
        ends = day(ends_ns),
        shown = shown.join(", "),
        rule = quote(rule),
    )
}

/// A value that Sigma takes as it is.
fn plain(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '*' | '?' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A double-quoted YAML scalar of printable ASCII, so that no name from the wire can be anything else.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Subject;

    const DAY: u64 = 86_400_000_000_000;
    const NOW: u64 = 20_000 * DAY;

    fn opinion(n: u64, caller: &str, service: &str, answer: Answer) -> Opinion {
        let subject = Subject {
            rule: "r".into(),
            caller: caller.into(),
            service: service.into(),
            ..Subject::default()
        };
        Opinion::new(&subject, format!("f{n}"), n, answer, "alice", "why", 1)
    }

    #[test]
    fn what_false_findings_share_is_proposed_with_an_end() {
        let opinions = [
            opinion(1, "a", "orders", Answer::False),
            opinion(2, "b", "orders", Answer::False),
            opinion(3, "c", "web", Answer::Benign),
        ];
        let proposal = propose("r", &opinions, NOW, NOW + 90 * DAY).unwrap();
        assert_eq!(proposal.fields, BTreeMap::from([("service".to_owned(), "orders".to_owned())]));
        assert!(
            proposal.text.contains("expires: 2025-01-02") || proposal.text.contains("expires: 202"),
            "{}",
            proposal.text
        );
        assert!(
            proposal.text.contains("approved_by: ''") && proposal.text.contains("service|cased: \"orders\"")
        );
        assert_eq!(proposal.findings, ["f1", "f2"]);
    }

    #[test]
    fn nothing_is_proposed_without_a_reason_or_without_an_end() {
        let far = [opinion(1, "a", "orders", Answer::False), opinion(2, "b", "web", Answer::False)];
        assert_eq!(propose("r", &far, NOW, NOW + DAY), Err(FilterError::NothingShared("r".into())));
        assert_eq!(propose("q", &far, NOW, NOW + DAY), Err(FilterError::NothingFalse("q".into())));
        assert_eq!(propose("r", &far[..1], NOW, NOW), Err(FilterError::Ends));
        assert_eq!(propose("r", &far[..1], NOW, NOW + 366 * DAY), Err(FilterError::Ends));
    }

    #[test]
    fn a_filter_that_would_hide_a_true_finding_is_refused() {
        let opinions = [
            opinion(1, "a", "orders", Answer::False),
            opinion(2, "b", "orders", Answer::False),
            opinion(3, "c", "orders", Answer::True),
        ];
        let proposal = propose("r", &opinions, NOW, NOW + DAY).unwrap();
        let refused = would_hide_true(&proposal, &opinions, |filter, opinion| filter.holds(opinion));
        assert_eq!(refused, Err(FilterError::HidesTrue(vec!["f3".into()])));
        let opinions = [&opinions[..2], &[opinion(3, "c", "web", Answer::True)]].concat();
        assert_eq!(would_hide_true(&proposal, &opinions, |filter, opinion| filter.holds(opinion)), Ok(()));
    }

    #[test]
    fn hostile_names_stay_values() {
        let evil = "x\"\n*?\\: evil\u{202e}";
        let proposal = propose("r", &[opinion(1, evil, "o", Answer::False)], NOW, NOW + DAY).unwrap();
        let line = proposal.text.lines().find(|l| l.contains("who|cased")).unwrap();
        assert_eq!(line.trim(), r#"who|cased: "x\"\U0000000a\\*\\?\\\\: evil\U0000202e""#);
    }
}
