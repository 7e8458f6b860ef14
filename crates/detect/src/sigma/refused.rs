//! Why a rule does not run, and what is odd about one that does.
//!
//! Invariant: nothing is dropped unnamed. A rule is either evaluated as written or it is here, with the place
//! and the reason.

use std::fmt;

/// A document that does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Name of the text that it stands in: a file's path.
    pub source: String,
    /// Number of the document in that text, from 1; 0 = the text as a whole.
    pub document: usize,
    /// The rule's id, else its name; empty if it has none.
    pub id: String,
    /// The rule's title; empty if it could not be read.
    pub title: String,
    /// The place: `detection.selection.op|contains`, `correlation.timespan`.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub what: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        if self.document > 0 {
            write!(f, ", document {}", self.document)?;
        }
        if !self.id.is_empty() || !self.title.is_empty() {
            write!(f, ": rule {} {:?}", self.id, self.title)?;
        }
        write!(f, ": ")?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Refused {}

/// A rule that runs, though part of it can never hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The rule's id.
    pub id: String,
    /// What can never hold, and why.
    pub what: String,
    /// Whether it is the whole rule that can never match; said at most once of a rule.
    pub never: bool,
}

/// A place in a document and what is wrong there; becomes [`Refused`] once the rule is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) field: String,
    pub(crate) what: String,
}

impl Fault {
    pub(crate) fn new(field: impl Into<String>, what: impl Into<String>) -> Fault {
        Fault { field: field.into(), what: what.into() }
    }

    /// The same, one level further in.
    pub(crate) fn within(mut self, outer: &str) -> Fault {
        self.field = match self.field.as_str() {
            "" => outer.to_owned(),
            inner => format!("{outer}.{inner}"),
        };
        self
    }
}

/// The known word that `word` was probably meant to be, as the end of a sentence.
pub(crate) fn meant(word: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (distance(word, known), *known)).min();
    match near {
        Some((far, near)) if far <= 2.max(word.len() / 3) => format!("; did you mean `{near}`?"),
        _ => format!("; known are {}", known.join(", ")),
    }
}

/// Levenshtein's distance in bytes, of short words.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().take(64).enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let change = corner + usize::from(x != y);
            corner = *cell;
            left = change.min(left + 1).min(corner + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_offered_only_when_it_is_near() {
        assert_eq!(meant("startwith", &["contains", "startswith"]), "; did you mean `startswith`?");
        assert_eq!(meant("xyzzy", &["re", "contains"]), "; known are re, contains");
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
