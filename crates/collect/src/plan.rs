//! The plan of a text format: what stands between the fields, and what the fields mean.
//!
//! The compilers of `formats/` make one from an operator's own format string (nginx `log_format`, Envoy's format
//! string, HAProxy's `log-format`, Apache's `LogFormat`, PostgreSQL's `log_line_prefix`), and most formats that we
//! know by heart are the same plans made from the vendor's default. `R` is what a field means to the format's
//! parser. Not a language of patterns: there is no choice and no way back.
//!
//! A field ends where the text behind it begins for the first time; so a plan reads a line in one pass from left to
//! right, in linear time, and whatever the line holds it ends. A client that can write that text into a field that
//! its server does not escape can shift fields; what is left behind the last field then makes the record partial.

use crate::Fault;
use crate::text::{find, unescaped};
use std::borrow::Cow;

/// Longest format string that is compiled, bytes.
pub const FORMAT_MAX: usize = 16 << 10;
/// Most fields of one format.
pub const FIELDS_MAX: usize = 256;
/// Longest name that is compared when the nearest right one is looked for, bytes.
const NAME_MAX: usize = 64;

/// A format string cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at} of the format{}", nearest.as_ref().map(|n| format!("; nearest right name: {n}")).unwrap_or_default())]
pub struct FormatError {
    /// Where in the format string, bytes.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// The right name that is nearest to a wrong one.
    pub nearest: Option<String>,
}

impl FormatError {
    /// `what` is wrong at `at`.
    pub fn new(at: usize, what: impl Into<String>) -> FormatError {
        FormatError { at, what: what.into(), nearest: None }
    }

    /// A name that there is not, with the nearest of those that there are.
    pub fn unknown<'n>(at: usize, name: &str, known: impl IntoIterator<Item = &'n str>) -> FormatError {
        let nearest = nearest(name, known).map(str::to_owned);
        FormatError { at, what: format!("unknown field `{name}`"), nearest }
    }
}

/// How the source writes what it cannot write as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escape {
    /// Not at all.
    #[default]
    None,
    /// With backslashes: nginx, Apache, Go's `%q`.
    Backslash,
    /// `#` and two hexadecimal digits: HAProxy.
    Hash,
}

/// How far a field reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Span {
    /// To the text behind it.
    #[default]
    Plain,
    /// The same, but a comma or ` : ` goes on: nginx's upstreams.
    List,
    /// `{…}`, or nothing together with a blank: HAProxy's captured headers.
    Braced,
}

/// A field of a plan.
#[derive(Clone, Debug)]
pub struct Field<R> {
    /// Its name, for `unmapped` and for headers.
    pub name: String,
    /// What it means.
    pub role: R,
    span: Span,
}

#[derive(Clone, Debug)]
enum Step<R> {
    Literal(String),
    Field(Field<R>),
    /// What is behind may be missing: `%q` of PostgreSQL.
    Stop,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan<R> {
    steps: Vec<Step<R>>,
    escape: Escape,
}

/// Makes a [`Plan`], step by step.
#[derive(Debug)]
pub struct Builder<R> {
    steps: Vec<Step<R>>,
    escape: Escape,
    fields: usize,
}

impl<R> Builder<R> {
    /// Of a source that escapes so.
    ///
    /// # Errors
    /// `format` is longer than [`FORMAT_MAX`].
    pub fn new(format: &str, escape: Escape) -> Result<Builder<R>, FormatError> {
        if format.len() > FORMAT_MAX {
            return Err(FormatError::new(FORMAT_MAX, "a format string is longer than 16 KiB"));
        }
        Ok(Builder { steps: Vec::new(), escape, fields: 0 })
    }

    /// Fixed text; joined with that before it.
    pub fn literal(&mut self, text: &str) {
        match self.steps.last_mut() {
            _ if text.is_empty() => {}
            Some(Step::Literal(before)) => before.push_str(text),
            _ => self.steps.push(Step::Literal(text.to_owned())),
        }
    }

    /// A field that the format string names at byte `at`.
    ///
    /// # Errors
    /// It follows another one with nothing between, so that nobody can tell where that ends; or it is one too many.
    pub fn field(
        &mut self,
        at: usize,
        name: impl Into<String>,
        role: R,
        span: Span,
    ) -> Result<(), FormatError> {
        if matches!(self.steps.last(), Some(Step::Field(_))) {
            return Err(FormatError::new(
                at,
                "two fields with nothing between them: where the first ends cannot be told; put a blank between",
            ));
        }
        if self.fields == FIELDS_MAX {
            return Err(FormatError::new(at, "more than 256 fields"));
        }
        self.fields += 1;
        self.steps.push(Step::Field(Field { name: name.into(), role, span }));
        Ok(())
    }

    /// What is behind may be missing.
    pub fn stop(&mut self) {
        self.steps.push(Step::Stop);
    }

    /// The plan.
    ///
    /// # Errors
    /// There is no field in it.
    pub fn done(self) -> Result<Plan<R>, FormatError> {
        if self.fields == 0 {
            return Err(FormatError::new(0, "no field in the format"));
        }
        Ok(Plan { steps: self.steps, escape: self.escape })
    }
}

impl<R> Plan<R> {
    /// Reads `line`, gives each field's text as it stands (see [`Plan::plain`]) and at last the offset behind the
    /// last step. A field at the plan's end takes the rest of the line.
    ///
    /// # Errors
    /// The first text between fields that is not there.
    pub fn read<'a>(&self, line: &'a str, take: &mut dyn FnMut(&Field<R>, &'a str)) -> Result<usize, Fault> {
        self.steps(&self.steps, line, take)
    }

    /// The same up to the place behind which fields may be missing, or to the end if there is none.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub fn read_short<'a>(
        &self,
        line: &'a str,
        take: &mut dyn FnMut(&Field<R>, &'a str),
    ) -> Result<usize, Fault> {
        let stop = self.steps.iter().position(|step| matches!(step, Step::Stop));
        self.steps(self.steps.get(..stop.unwrap_or(self.steps.len())).unwrap_or_default(), line, take)
    }

    /// The fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = &Field<R>> {
        self.steps.iter().filter_map(|step| match step {
            Step::Field(field) => Some(field),
            _ => None,
        })
    }

    /// `text` without the source's escapes.
    pub fn plain<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.escape {
            Escape::None => Cow::Borrowed(text),
            Escape::Backslash => unescaped(text),
            Escape::Hash => unhashed(text),
        }
    }

    fn steps<'a>(
        &self,
        steps: &[Step<R>],
        line: &'a str,
        take: &mut dyn FnMut(&Field<R>, &'a str),
    ) -> Result<usize, Fault> {
        let (mut at, mut quoted, mut absent) = (0, false, false);
        for (number, step) in steps.iter().enumerate() {
            let rest = line.get(at..).unwrap_or_default();
            match step {
                Step::Stop => {}
                Step::Literal(text) => {
                    let text = if absent { text.strip_prefix(' ').unwrap_or(text) } else { text };
                    if !rest.starts_with(text) {
                        return Err(Fault::new(at, "expected a separator"));
                    }
                    (quoted, absent) = (text.ends_with('"'), false);
                    at += text.len();
                }
                Step::Field(field) => {
                    let behind = match steps.get(number + 1) {
                        Some(Step::Literal(text)) => text.as_str(),
                        _ => "",
                    };
                    absent = field.span == Span::Braced && !rest.starts_with('{');
                    let length = if absent { 0 } else { self.length(field.span, rest, quoted, behind, at)? };
                    take(field, rest.get(..length).unwrap_or_default());
                    at += length;
                }
            }
        }
        Ok(at)
    }

    /// Bytes of the field at the beginning of `rest`.
    fn length(&self, span: Span, rest: &str, quoted: bool, behind: &str, at: usize) -> Result<usize, Fault> {
        let missing = || Fault::new(at, "a field does not end");
        if behind.is_empty() {
            return Ok(rest.len());
        }
        if quoted && self.escape == Escape::Backslash && behind.starts_with('"') {
            return unescaped_quote(rest).ok_or_else(missing);
        }
        match span {
            Span::Plain => find(rest, behind).ok_or_else(missing),
            Span::Braced => {
                let close = find(rest, "}").ok_or_else(missing)?;
                let inside = rest.get(close..).unwrap_or_default();
                // A header may hold a brace: the one before the separator counts, where there is one.
                Ok(close + find(inside, behind).filter(|end| *end > 0).unwrap_or(1))
            }
            Span::List => {
                let mut length = 0;
                loop {
                    let tail = rest.get(length..).unwrap_or_default();
                    length += find(tail, behind).ok_or_else(missing)?;
                    let (before, after) = rest.split_at_checked(length).ok_or_else(missing)?;
                    if !before.ends_with([',', ':']) && !after.starts_with(" : ") {
                        return Ok(length);
                    }
                    length += if after.starts_with(" : ") { 3 } else { behind.len() };
                }
            }
        }
    }
}

/// The first quotation mark that no backslash takes.
fn unescaped_quote(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(stop) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += stop;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
    None
}

/// What `#HH` stands for, as HAProxy writes bytes that are not printable. A text that would not be UTF-8 stays.
fn unhashed(text: &str) -> Cow<'_, str> {
    if !text.contains('#') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let digit = |at: usize| {
        bytes.get(at).filter(|b| !b.is_ascii_lowercase()).and_then(|b| char::from(*b).to_digit(16))
    };
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'#', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The one of `known` that `name` most resembles, if it resembles any: at most a third of it differs.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > NAME_MAX {
        return None;
    }
    let distance = |other: &&str| edits(name.as_bytes(), other.as_bytes());
    let most = (name.len() / 3).max(1);
    known
        .into_iter()
        .filter(|other| other.len() <= NAME_MAX)
        .map(|other| (distance(&other), other))
        .filter(|(edits, _)| *edits <= most)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, other)| other)
}

/// Edits from `a` to `b`, without case: Levenshtein's, and two neighbours that changed places are one.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let same =
        |x: Option<&u8>, y: Option<&u8>| matches!((x, y), (Some(x), Some(y)) if x.eq_ignore_ascii_case(y));
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut next = vec![i + 1];
        for j in 0..b.len() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let change = at(&row, j) + usize::from(!same(a.get(i), b.get(j)));
            let mut least = change.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            if i > 0 && j > 0 && same(a.get(i), b.get(j - 1)) && same(a.get(i - 1), b.get(j)) {
                least = least.min(at(&before, j - 1) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(steps: &[(&str, Span)], escape: Escape) -> Plan<()> {
        let mut builder = Builder::new("", escape).unwrap();
        for (text, span) in steps {
            match text.strip_prefix('$') {
                Some(name) => builder.field(0, name, (), *span).unwrap(),
                None => builder.literal(text),
            }
        }
        builder.done().unwrap()
    }

    fn read(plan: &Plan<()>, line: &str) -> Result<Vec<String>, Fault> {
        let mut found = Vec::new();
        let end = plan.read(line, &mut |_, text| found.push(plan.plain(text).into_owned()))?;
        found.push(line[end..].to_owned());
        Ok(found)
    }

    #[test]
    fn fields_end_where_the_text_behind_them_begins() {
        let p = plan(
            &[("$a", Span::Plain), (" [", Span::Plain), ("$b", Span::Plain), ("]", Span::Plain)],
            Escape::None,
        );
        assert_eq!(read(&p, "x y [z] more").unwrap(), ["x y", "z", " more"]);
        assert!(read(&p, "x y").is_err());
    }

    #[test]
    fn an_escaped_quotation_mark_ends_nothing() {
        let p = plan(
            &[
                ("\"", Span::Plain),
                ("$a", Span::Plain),
                ("\" \"", Span::Plain),
                ("$b", Span::Plain),
                ("\"", Span::Plain),
            ],
            Escape::Backslash,
        );
        assert_eq!(read(&p, r#""a\" \"b" "c\x22""#).unwrap(), ["a\" \"b", "c\"", ""]);
    }

    #[test]
    fn a_list_goes_on_behind_its_commas_and_colons() {
        let p = plan(
            &[
                ("$a", Span::List),
                (" ", Span::Plain),
                ("$b", Span::List),
                (" ", Span::Plain),
                ("$c", Span::Plain),
            ],
            Escape::None,
        );
        assert_eq!(read(&p, "1, 2 : 3 4, 5 : 6 z").unwrap(), ["1, 2 : 3", "4, 5 : 6", "z", ""]);
        assert_eq!(read(&p, "- - z").unwrap(), ["-", "-", "z", ""]);
    }

    #[test]
    fn captured_headers_may_be_missing_with_their_blank() {
        let steps = [
            ("$q", Span::Plain),
            (" ", Span::Plain),
            ("$h", Span::Braced),
            (" ", Span::Plain),
            ("$i", Span::Braced),
            (" \"", Span::Plain),
            ("$r", Span::Plain),
            ("\"", Span::Plain),
        ];
        let p = plan(&steps, Escape::Hash);
        assert_eq!(read(&p, "0 \"GET #22\"").unwrap(), ["0", "", "", "GET \"", ""]);
        assert_eq!(read(&p, "0 {a b} \"GET\"").unwrap(), ["0", "{a b}", "", "GET", ""]);
        assert_eq!(read(&p, "0 {a} {b|c} \"GET\"").unwrap(), ["0", "{a}", "{b|c}", "GET", ""]);
    }

    #[test]
    fn two_fields_without_a_border_are_refused_with_their_place() {
        let mut builder = Builder::new("$a$b", Escape::None).unwrap();
        builder.field(0, "a", (), Span::Plain).unwrap();
        assert_eq!(builder.field(2, "b", (), Span::Plain).unwrap_err().at, 2);
    }

    #[test]
    fn the_nearest_name_is_told_and_a_stranger_is_not() {
        let known = ["remote_addr", "remote_user", "request"];
        assert_eq!(nearest("remote_adr", known), Some("remote_addr"));
        assert_eq!(nearest("reqest", known), Some("request"));
        assert_eq!(nearest("zzzzzz", known), None);
        let error = FormatError::unknown(3, "reqest", known);
        assert_eq!(
            error.to_string(),
            "unknown field `reqest` at byte 3 of the format; nearest right name: request"
        );
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in any::<String>(), escape in 0..3) {
            let escape = [Escape::None, Escape::Backslash, Escape::Hash][escape as usize];
            let p = plan(&[("$a", Span::List), (" ", Span::Plain), ("$b", Span::Braced), (" \"", Span::Plain), ("$c", Span::Plain), ("\"", Span::Plain)], escape);
            let _ = read(&p, &line);
        }
    }
}
