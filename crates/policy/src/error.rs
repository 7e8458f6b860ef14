//! What is wrong with a policy file: where, why, and what to do next. Never what a caller sent.

use std::fmt;

/// Problems printed in one error text; the others are counted.
pub(crate) const SHOWN_MAX: usize = 10;
/// Longest explanation kept, bytes.
pub(crate) const WHY_MAX: usize = 600;

/// One problem in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1; 0 = the file as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 = the line as a whole.
    pub column: usize,
    /// What is wrong and why.
    pub why: String,
    /// What to do about it; may be empty.
    pub next: String,
}

impl Problem {
    /// A problem of a file as a whole.
    pub fn of_file(file: &str, why: impl Into<String>, next: &str) -> Problem {
        Problem { file: file.to_owned(), line: 0, column: 0, why: cut(why.into()), next: next.to_owned() }
    }

    /// A problem at a byte offset of a file's text.
    pub fn at(file: &str, text: &str, offset: usize, why: impl Into<String>, next: &str) -> Problem {
        let (line, column) = place(text, offset);
        Problem { file: file.to_owned(), line, column, why: cut(why.into()), next: next.to_owned() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.why)?;
        if !self.next.is_empty() {
            write!(f, "; {}", self.next)?;
        }
        Ok(())
    }
}

/// Why policies were not loaded. At least one problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.text())]
pub struct PolicyError(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    problems: Vec<Problem>,
    effect: &'static str,
}

impl Inner {
    fn text(&self) -> String {
        let mut out = format!("the policies were not loaded; {}", self.effect);
        for problem in self.problems.iter().take(SHOWN_MAX) {
            out.push_str("\n  ");
            out.push_str(&problem.to_string());
        }
        if self.problems.len() > SHOWN_MAX {
            out.push_str(&format!("\n  and {} more", self.problems.len() - SHOWN_MAX));
        }
        out
    }
}

impl PolicyError {
    pub(crate) fn new(problems: Vec<Problem>, effect: &'static str) -> PolicyError {
        PolicyError(Box::new(Inner { problems, effect }))
    }

    /// All problems found, in the order of files and lines.
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }
}

/// Line and column, both from 1, of a byte offset. Linear in the text.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..floor(text, offset)).unwrap_or(text);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

fn floor(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Shortens an explanation and makes it one printable line.
fn cut(why: String) -> String {
    let mut why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if why.len() > WHY_MAX {
        why.truncate(floor(&why, WHY_MAX));
        why.push('…');
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_never_leave_the_text() {
        assert_eq!(place("ab\ncäd", 0), (1, 1));
        assert_eq!(place("ab\ncäd", 3), (2, 1));
        assert_eq!(place("ab\ncäd", 6), (2, 3));
        assert_eq!(place("ab\ncäd", 5), (2, 2), "inside a character: its beginning");
        assert_eq!(place("ab", 99), (1, 3));
    }

    #[test]
    fn an_explanation_is_one_bounded_line() {
        let problem = Problem::of_file("a.cedar", "x\n\u{1b}[31m".repeat(500), "do this");
        assert!(problem.why.len() <= WHY_MAX + 3 && !problem.why.contains(['\n', '\u{1b}']));
    }
}
