//! Reading a line of text from left to right. Every method takes what it names or says where it is missing.

use crate::Fault;
use std::borrow::Cow;

/// A place in a line. Cheap to copy, so that a second reading can be tried.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of `line`.
    pub fn new(line: &'a str) -> Cursor<'a> {
        Cursor { line, at: 0 }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    /// Bytes read so far.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Whether nothing is left.
    pub fn is_end(&self) -> bool {
        self.at == self.line.len()
    }

    /// `rule` broken here.
    pub fn fault(&self, rule: &'static str) -> Fault {
        Fault::new(self.at, rule)
    }

    /// Takes `text`, which must come next.
    ///
    /// # Errors
    /// It does not.
    pub fn literal(&mut self, text: &str) -> Result<(), Fault> {
        if self.skip(text) { Ok(()) } else { Err(self.fault("expected a separator")) }
    }

    /// Takes `text` if it comes next.
    pub fn skip(&mut self, text: &str) -> bool {
        let next = self.rest().starts_with(text);
        if next {
            self.at += text.len();
        }
        next
    }

    /// Takes blanks and tabs.
    pub fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    /// Everything before `stop`, which is taken as well.
    ///
    /// # Errors
    /// There is no `stop`.
    pub fn until(&mut self, stop: &str) -> Result<&'a str, Fault> {
        let rest = self.rest();
        let end = find(rest, stop).ok_or_else(|| self.fault("a field does not end"))?;
        self.at += end + stop.len();
        Ok(&rest[..end])
    }

    /// Everything before the next blank or the end; one blank behind it is taken. Not empty.
    ///
    /// # Errors
    /// Nothing is left, or a blank comes next.
    pub fn word(&mut self) -> Result<&'a str, Fault> {
        let rest = self.rest();
        let end = memchr::memchr(b' ', rest.as_bytes()).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.fault("expected a word"));
        }
        self.at += (end + 1).min(rest.len());
        Ok(&rest[..end])
    }

    /// The text inside the brackets `open` and `close` that come next, the first `close` ends it; one blank behind
    /// is taken.
    ///
    /// # Errors
    /// They do not come next, or do not end.
    pub fn inside(&mut self, open: &str, close: &str) -> Result<&'a str, Fault> {
        if !self.skip(open) {
            return Err(self.fault("expected an opening bracket"));
        }
        let inner = self.until(close)?;
        self.skip(" ");
        Ok(inner)
    }

    /// The text between quotation marks that come next, where a backslash takes the next byte with it; still
    /// escaped. One blank behind is taken.
    ///
    /// # Errors
    /// No mark comes next, or none ends it.
    pub fn quoted(&mut self) -> Result<&'a str, Fault> {
        if !self.skip("\"") {
            return Err(self.fault("expected a quotation mark"));
        }
        let (rest, bytes) = (self.rest(), self.rest().as_bytes());
        let mut at = 0;
        while let Some(stop) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
            at += stop;
            if bytes[at] == b'"' {
                self.at += at + 1;
                self.skip(" ");
                return Ok(&rest[..at]);
            }
            at += 2;
        }
        Err(self.fault("a quoted text does not end"))
    }
}

/// Where `stop`, a few bytes, first stands in `text`: by its first byte, since making a searcher costs more than most
/// fields are long.
pub(crate) fn find(text: &str, stop: &str) -> Option<usize> {
    let (first, _) = stop.as_bytes().split_first()?;
    let bytes = text.as_bytes();
    memchr::memchr_iter(*first, bytes)
        .find(|at| bytes.get(*at..).is_some_and(|b| b.starts_with(stop.as_bytes())))
}

/// What `\xHH`, `\"`, `\\`, `\n`, `\t` and `\r` stand for, as nginx, Apache and Envoy escape. Bytes that are not
/// UTF-8 afterwards stay escaped.
pub fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let (taken, plain) = if *byte == b'\\' { escape(&bytes[at..]) } else { (1, *byte) };
        out.push(plain);
        at += taken;
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Length of the escape at the beginning of `bytes`, and its byte.
fn escape(bytes: &[u8]) -> (usize, u8) {
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16)).map(|d| d as u8);
    match bytes.get(1) {
        Some(b'x') => match (digit(2), digit(3)) {
            (Some(high), Some(low)) => (4, high << 4 | low),
            _ => (1, b'\\'),
        },
        Some(b'n') => (2, b'\n'),
        Some(b't') => (2, b'\t'),
        Some(b'r') => (2, b'\r'),
        Some(other @ (b'"' | b'\\' | b'\'')) => (2, *other),
        _ => (1, b'\\'),
    }
}

/// `None` for the `-` by which text logs say that there was nothing, and for an empty text.
pub fn given(field: &str) -> Option<&str> {
    (!matches!(field, "" | "-")).then_some(field)
}
