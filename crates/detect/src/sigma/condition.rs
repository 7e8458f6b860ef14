//! The condition of a rule: `selection and not 1 of filter_*`.
//!
//! Sigma rules specification 2.1, "Condition": `not` binds tighter than `and`, `and` tighter than `or`.
//! Bounds: [`CONDITION_MAX_BYTES`], [`DEPTH_MAX`]; linear in the text.

/// Longest condition, in bytes.
pub const CONDITION_MAX_BYTES: usize = 4096;
/// Deepest nesting of parentheses and `not`.
pub const DEPTH_MAX: usize = 64;

/// A condition as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// A detection, or in a correlation a rule.
    Name(String),
    /// `1 of selection_*`: at least so many; `None` = all.
    Of(Option<u64>, Pattern),
}

/// Which detections a selector counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// `them`: all whose name does not begin with `_`.
    Them,
    /// A name with `*` for any run.
    Like(String),
}

impl Pattern {
    pub(crate) fn takes(&self, name: &str) -> bool {
        match self {
            Pattern::Them => !name.starts_with('_'),
            Pattern::Like(pattern) => like(pattern, name),
        }
    }
}

/// Whether `name` is `pattern`, in which `*` stands for any run.
fn like(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Reads a condition.
///
/// # Errors
/// What is wrong, with the offset in bytes.
pub(crate) fn parse(text: &str) -> Result<Condition, String> {
    if text.len() > CONDITION_MAX_BYTES {
        return Err(format!("longer than {CONDITION_MAX_BYTES} bytes"));
    }
    let mut reader = Reader { text, at: 0 };
    let condition = reader.any(0)?;
    match reader.peek() {
        "" => Ok(condition),
        "|" => Err(format!(
            "`|` at {}: aggregations and `near` were removed from Sigma; write a correlation",
            reader.at
        )),
        other => Err(format!("`{other}` at {} is not expected", reader.at)),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    /// The token at the place; empty at the end.
    fn peek(&mut self) -> &'t str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        let word = |c: char| c.is_alphanumeric() || "_-*.".contains(c);
        match trimmed.find(|c| !word(c)) {
            Some(0) => trimmed.chars().next().map_or("", |c| &trimmed[..c.len_utf8()]),
            Some(end) => &trimmed[..end],
            None => trimmed,
        }
    }

    /// Takes the token if it is this keyword; keywords may be in upper case.
    fn take(&mut self, keyword: &str) -> bool {
        let token = self.peek();
        let taken = token.eq_ignore_ascii_case(keyword);
        if taken {
            self.at += token.len();
        }
        taken
    }

    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut all = vec![self.all(depth)?];
        while self.take("or") {
            all.push(self.all(depth)?);
        }
        Ok(one(all, Condition::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut all = vec![self.not(depth)?];
        while self.take("and") {
            all.push(self.not(depth)?);
        }
        Ok(one(all, Condition::All))
    }

    fn not(&mut self, depth: usize) -> Result<Condition, String> {
        if depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX}"));
        }
        if self.take("not") {
            return Ok(Condition::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.any(depth + 1)?;
            return match self.take(")") {
                true => Ok(inner),
                false => Err(format!("`)` missing at {}", self.at)),
            };
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Condition, String> {
        let begin = self.at;
        let token = self.peek();
        if token.is_empty() {
            return Err(format!("a name is missing at {begin}"));
        }
        self.at += token.len();
        if self.take("of") {
            let least = match token.to_ascii_lowercase().as_str() {
                "all" => None,
                "any" => Some(1),
                number => {
                    Some(number.parse().map_err(|_| format!("`{token} of`: not a number, `all` or `any`"))?)
                }
            };
            if least == Some(0) {
                return Err("`0 of` always holds".to_owned());
            }
            return self.pattern().map(|pattern| Condition::Of(least, pattern));
        }
        match named(token) && !token.contains('*') {
            true => Ok(Condition::Name(token.to_owned())),
            false => Err(format!("`{token}` is not a name")),
        }
    }

    fn pattern(&mut self) -> Result<Pattern, String> {
        let token = self.peek();
        self.at += token.len();
        match token {
            them if them.eq_ignore_ascii_case("them") => Ok(Pattern::Them),
            token if named(token) => Ok(Pattern::Like(token.to_owned())),
            token => Err(format!("`{token}` is not a name, a pattern or `them`")),
        }
    }
}

fn named(token: &str) -> bool {
    let keyword = ["and", "or", "not", "of", "them"].iter().any(|word| token.eq_ignore_ascii_case(word));
    !keyword && token.chars().next().is_some_and(|c| c.is_alphanumeric() || "_-*".contains(c))
}

fn one(mut all: Vec<Condition>, join: fn(Vec<Condition>) -> Condition) -> Condition {
    if all.len() > 1 { join(all) } else { all.remove(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Condition {
        Condition::Name(text.into())
    }

    #[test]
    fn not_binds_tighter_than_and_and_tighter_than_or() {
        let not_b = Condition::Not(Box::new(name("b")));
        let expected = Condition::Any(vec![Condition::All(vec![name("a"), not_b]), name("c")]);
        assert_eq!(parse("a and not b or c"), Ok(expected.clone()));
        assert_eq!(parse("((a AND (NOT b)) OR c)"), Ok(expected));
        assert_eq!(parse("and_then"), Ok(name("and_then")));
    }

    #[test]
    fn selectors_count_names() {
        let like = |p: &str| Pattern::Like(p.into());
        assert_eq!(parse("1 of sel_*"), Ok(Condition::Of(Some(1), like("sel_*"))));
        assert_eq!(parse("all of them"), Ok(Condition::Of(None, Pattern::Them)));
        assert!(like("s*x*e").takes("selxxe") && like("*").takes("_a") && !Pattern::Them.takes("_a"));
        assert!(!like("ab*ba").takes("aba"), "the parts do not overlap");
    }

    #[test]
    fn what_is_not_a_condition_is_refused_with_its_place() {
        for (text, part) in [
            ("", "missing at 0"),
            ("a and", "missing"),
            ("(a", "`)` missing"),
            ("a b", "`b` at 2"),
            ("a | count() > 5", "write a correlation"),
            ("0 of them", "always holds"),
            ("x of them", "not a number"),
            ("1 of", "is not a name"),
            ("a*", "is not a name"),
            ("not and", "is not a name"),
        ] {
            assert!(parse(text).unwrap_err().contains(part), "{text}: {:?}", parse(text));
        }
        assert!(parse(&"(".repeat(CONDITION_MAX_BYTES)).unwrap_err().contains("deeper"));
        assert!(parse(&"not ".repeat(500)).unwrap_err().contains("deeper"));
    }
}
