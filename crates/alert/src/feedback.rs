//! What people say of findings: true, false, benign or duplicate, by whom and why; and how precise a rule is.
//!
//! Invariants: one answer a finding, the last counts; precision is not shown below [`ANSWERS_MIN`] answers, and never
//! without its interval; bounded (old answers leave their counts behind).

use crate::config::AlertError;
use crate::silence::check_words;
use crate::subject::Subject;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Answers from which on a rule's precision is shown.
pub const ANSWERS_MIN: u64 = 10;
/// Most answers kept in full.
pub const ANSWERS_MAX: usize = 10_000;
/// Most rules with counts.
pub const RULES_MAX: usize = 10_000;

/// What somebody says of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It was what it said.
    True,
    /// It was not.
    False,
    /// It was, and is expected here.
    Benign,
    /// It was, and another finding had said so.
    Duplicate,
}

impl Answer {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Answer::True => "true",
            Answer::False => "false",
            Answer::Benign => "benign",
            Answer::Duplicate => "duplicate",
        }
    }

    /// That of a word.
    pub fn from_word(word: &str) -> Option<Answer> {
        [Answer::True, Answer::False, Answer::Benign, Answer::Duplicate]
            .into_iter()
            .find(|a| a.word() == word)
    }
}

/// An answer, with what its finding was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// Id of the finding, hexadecimal.
    pub finding: String,
    /// Ledger index of the finding.
    pub index: u64,
    /// Its rule.
    pub rule: String,
    /// The answer.
    pub answer: Answer,
    /// Who.
    pub by: String,
    /// Why, in their words.
    pub why: String,
    /// When, Unix ns.
    pub at_ns: u64,
    /// What the finding was about, in the words of the search language: `who`, `service`, `op`, `resource`, `tenant`, `route`.
    pub fields: BTreeMap<String, String>,
}

/// Answers about one rule, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// True.
    pub yes: u64,
    /// False.
    pub no: u64,
    /// Benign.
    pub benign: u64,
    /// Duplicate.
    pub duplicate: u64,
}

/// How precise a rule is.
#[derive(Clone, Debug, PartialEq)]
pub struct Precision {
    /// The rule.
    pub rule: String,
    /// What was answered.
    pub answers: Answers,
    /// Share of true among true, false and benign, with its 95% Wilson interval (low, high); `None` below
    /// [`ANSWERS_MIN`] of these.
    pub share: Option<(f64, f64, f64)>,
}

/// All answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Feedback {
    pub(crate) opinions: Vec<Opinion>,
    rules: BTreeMap<String, Answers>,
}

impl Opinion {
    pub(crate) fn new(
        subject: &Subject,
        finding: String,
        index: u64,
        answer: Answer,
        by: &str,
        why: &str,
        at_ns: u64,
    ) -> Opinion {
        let pairs = [
            ("tenant", &subject.tenant),
            ("who", &subject.caller),
            ("service", &subject.service),
            ("op", &subject.operation),
            ("resource", &subject.resource),
        ];
        let fields = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        let fields = fields.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let (by, why) = (by.to_owned(), why.to_owned());
        Opinion { finding, index, rule: subject.rule.clone(), answer, by, why, at_ns, fields }
    }

    pub(crate) fn check(&self) -> Result<(), AlertError> {
        check_words("feedback", &self.by, "why", &self.why, true)
    }
}

impl Answers {
    fn of(&mut self, answer: Answer) -> &mut u64 {
        match answer {
            Answer::True => &mut self.yes,
            Answer::False => &mut self.no,
            Answer::Benign => &mut self.benign,
            Answer::Duplicate => &mut self.duplicate,
        }
    }
}

impl Feedback {
    pub(crate) fn add(&mut self, opinion: Opinion) {
        if let Some(at) = self.opinions.iter().position(|known| known.finding == opinion.finding) {
            let old = self.opinions.remove(at);
            if let Some(answers) = self.rules.get_mut(&old.rule) {
                let count = answers.of(old.answer);
                *count = count.saturating_sub(1);
            }
        }
        if self.rules.len() < RULES_MAX || self.rules.contains_key(&opinion.rule) {
            *self.rules.entry(opinion.rule.clone()).or_default().of(opinion.answer) += 1;
        }
        self.opinions.push(opinion);
        if self.opinions.len() > ANSWERS_MAX {
            self.opinions.remove(0);
        }
    }

    pub(crate) fn precision(&self) -> Vec<Precision> {
        let of = |(rule, answers): (&String, &Answers)| {
            let judged = answers.yes + answers.no + answers.benign;
            let share = (judged >= ANSWERS_MIN).then(|| {
                let (low, high) = wilson(answers.yes, judged);
                (answers.yes as f64 / judged as f64, low, high)
            });
            Precision { rule: rule.clone(), answers: *answers, share }
        };
        self.rules.iter().map(of).collect()
    }
}

/// The 95% Wilson score interval of `hits` among `of` (Wilson 1927, without continuity correction).
pub fn wilson(hits: u64, of: u64) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (of as f64, hits.min(of) as f64 / of as f64);
    let z2 = Z * Z;
    let centre = p + z2 / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opinion(n: u64, answer: Answer) -> Opinion {
        let subject = Subject { rule: "r".into(), service: "orders".into(), ..Subject::default() };
        Opinion::new(&subject, format!("{n:032x}"), n, answer, "alice", "looked at it", 1)
    }

    #[test]
    fn precision_is_shown_from_ten_answers_on_with_its_interval() {
        let mut feedback = Feedback::default();
        for n in 0..9 {
            feedback.add(opinion(n, if n < 8 { Answer::True } else { Answer::False }));
        }
        feedback.add(opinion(20, Answer::Duplicate));
        assert_eq!(feedback.precision()[0].share, None, "a duplicate says nothing of the rule");
        feedback.add(opinion(9, Answer::Benign));
        let (share, low, high) = feedback.precision()[0].share.unwrap();
        // Wilson's interval of 8 in 10, from its formula worked by hand.
        assert!(
            (share - 0.8).abs() < 1e-9 && (low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4,
            "{low} {high}"
        );
    }

    #[test]
    fn a_second_answer_replaces_the_first() {
        let mut feedback = Feedback::default();
        feedback.add(opinion(1, Answer::True));
        feedback.add(opinion(1, Answer::False));
        assert_eq!(feedback.precision()[0].answers, Answers { no: 1, ..Answers::default() });
        assert_eq!(feedback.opinions.len(), 1);
    }

    #[test]
    fn answers_stay_bounded_and_their_counts_remain() {
        let mut feedback = Feedback::default();
        for n in 0..ANSWERS_MAX as u64 + 5 {
            feedback.opinions.push(opinion(n, Answer::True));
        }
        feedback.opinions.truncate(ANSWERS_MAX);
        feedback.add(opinion(999_999, Answer::True));
        assert_eq!((feedback.opinions.len(), feedback.precision()[0].answers.yes), (ANSWERS_MAX, 1));
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_share_and_stays_within_0_and_1(hits in 0..500u64, more in 0..500u64) {
            let of = hits + more;
            let (low, high) = wilson(hits, of);
            prop_assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high) && low <= high);
            if of > 0 {
                let share = hits as f64 / of as f64;
                prop_assert!(low <= share + 1e-9 && share <= high + 1e-9);
            }
        }
    }
}
