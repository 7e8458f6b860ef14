//! Splits a policy file into its policies, so that each has a place and a bound of its own.
//!
//! Not a parser: Cedar decides what is valid. Linear in the text. The bounds exist because a policy of ten
//! thousand chained operators is a tree ten thousand levels deep, and every later walk over it recurses.

use crate::error::Problem;

/// Largest policy file, bytes.
pub const FILE_MAX: usize = 32 << 20;
/// Largest single policy, bytes.
pub const POLICY_MAX: usize = 64 << 10;
/// Most operators and brackets in one policy: bounds the recursion of parser and validator.
pub const OPERATORS_MAX: usize = 512;
/// Deepest tree of one policy's conditions: `a && b && c` is three deep. Evaluation recurses on the thread
/// that decides; Cedar needs 45 KiB of its stack a level in an unoptimised build, 4 KiB in an optimised one.
pub const DEPTH_MAX: usize = 32;
/// Most policies in all files together.
pub const POLICIES_MAX: usize = 100_000;

/// One policy's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    /// From its first character that is neither space nor comment, through its semicolon.
    pub(crate) text: &'a str,
    /// Where it begins in the file, bytes.
    pub(crate) offset: usize,
}

/// Splits at each semicolon outside strings and comments.
///
/// # Errors
/// The first bound that is broken, with its place.
pub(crate) fn split<'a>(file: &str, text: &'a str) -> Result<Vec<Statement<'a>>, Problem> {
    if text.len() > FILE_MAX {
        return Err(Problem::of_file(file, format!("larger than {FILE_MAX} bytes"), "split the file"));
    }
    let mut found = Vec::new();
    let mut state = State::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let two = bytes.get(at + 1).copied();
        match byte {
            b'/' if two == Some(b'/') => {
                at += line_length(bytes.get(at..).unwrap_or_default());
                continue;
            }
            b'"' => {
                state.begin(at);
                at += string_length(bytes.get(at..).unwrap_or_default());
                continue;
            }
            b';' => {
                state.begin(at);
                let from = state.start.take().unwrap_or(at);
                state.operators = 0;
                found.push(Statement { text: text.get(from..=at).unwrap_or(""), offset: from });
            }
            byte if byte.is_ascii_whitespace() => {}
            byte => {
                // Nested `if` is the one way to depth without an operator.
                let word =
                    at.checked_sub(1).and_then(|b| bytes.get(b)).is_some_and(u8::is_ascii_alphanumeric);
                state.begin(at);
                state.count(byte, byte == b'i' && two == Some(b'f') && !word);
            }
        }
        state.check(file, text, at)?;
        at += 1;
    }
    if let Some(from) = state.start {
        state.check(file, text, text.len())?;
        found.push(Statement { text: text.get(from..).unwrap_or(""), offset: from });
    }
    Ok(found)
}

#[derive(Default)]
struct State {
    start: Option<usize>,
    operators: usize,
}

impl State {
    fn begin(&mut self, at: usize) {
        self.start.get_or_insert(at);
    }

    fn count(&mut self, byte: u8, keyword: bool) {
        if keyword || b"&|.+-*<>=!([{".contains(&byte) {
            self.operators += 1;
        }
    }

    fn check(&self, file: &str, text: &str, at: usize) -> Result<(), Problem> {
        let Some(start) = self.start else { return Ok(()) };
        if at - start > POLICY_MAX {
            let why = format!("this policy is longer than {POLICY_MAX} bytes");
            return Err(Problem::at(file, text, start, why, "is a `;` missing? Otherwise split it"));
        }
        if self.operators > 2 * OPERATORS_MAX {
            let why = format!("this policy has more than {OPERATORS_MAX} operators and brackets");
            return Err(Problem::at(
                file,
                text,
                start,
                why,
                "split it, or use sets: [\"a\", \"b\"].contains(…)",
            ));
        }
        Ok(())
    }
}

fn line_length(rest: &[u8]) -> usize {
    // A carriage return alone ends a comment too: Cedar reads on behind it, and so must this.
    rest.iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(rest.len(), |n| n + 1)
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_strings_and_comments_end_nothing() {
        let text = "// a; b\n@id(\"x;\\\";y\")\npermit(principal, action, resource); // c;\n forbid;rest";
        let found = split("f", text).unwrap();
        let texts: Vec<&str> = found.iter().map(|s| s.text).collect();
        assert_eq!(texts, ["@id(\"x;\\\";y\")\npermit(principal, action, resource);", "forbid;", "rest"]);
        assert!(found.iter().all(|s| text[s.offset..].starts_with(s.text)));
    }

    #[test]
    fn long_chains_and_long_policies_are_refused_with_their_place() {
        let chain =
            format!("\n  permit(principal, action, resource) when {{ 1{} == 1 }};", "+1".repeat(2_000));
        let problem = split("f", &chain).unwrap_err();
        assert_eq!((problem.line, problem.column), (2, 3));
        assert!(problem.why.contains("512"));
        let string = format!("@a(\"{}\") permit", "x".repeat(POLICY_MAX));
        assert!(split("f", &string).unwrap_err().why.contains("65536"));
    }
}
