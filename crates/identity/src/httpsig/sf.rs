//! Structured field values (RFC 8941): the types that message signatures need, parsed strictly and written back.
//!
//! Not RFC 9651's dates and display strings; those are refused. Two deliberate deviations, both stricter: a key
//! that stands twice in a dictionary or among parameters is an error (two readers could each believe another
//! one), and every size is bounded. Invariant: what parses is written back in its one canonical form.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// Longest field that is parsed, bytes.
pub(crate) const FIELD_MAX_BYTES: usize = 16 << 10;
/// Most members of a dictionary or list.
pub(crate) const MEMBERS_MAX: usize = 32;
/// Most items of an inner list.
pub(crate) const ITEMS_MAX: usize = 64;
/// Most parameters of an item or inner list.
pub(crate) const PARAMS_MAX: usize = 16;

/// Base64 with or without padding, as section 4.2.7 asks of parsers.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A bare item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bare {
    Integer(i64),
    /// In thousandths.
    Decimal(i64),
    String(String),
    Token(String),
    Bytes(Vec<u8>),
    Boolean(bool),
}

/// Parameters, in order.
pub(crate) type Params = Vec<(String, Bare)>;

/// An item with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) bare: Bare,
    pub(crate) params: Params,
}

/// A member of a list or dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Item(Item),
    Inner(Vec<Item>, Params),
}

/// A dictionary, in order.
pub(crate) type Dictionary = Vec<(String, Member)>;

type Parse<T> = Result<T, &'static str>;

/// Parses a dictionary from a field's combined value.
pub(crate) fn dictionary(field: &[u8]) -> Parse<Dictionary> {
    let mut found: Dictionary = Vec::new();
    members(field, |at| {
        let key = at.key()?;
        if found.iter().any(|(known, _)| *known == key) {
            return Err("a key stands twice");
        }
        let member = if at.eat(b'=') {
            at.member()?
        } else {
            Member::Item(Item { bare: Bare::Boolean(true), params: at.params()? })
        };
        found.push((key, member));
        Ok(())
    })?;
    Ok(found)
}

/// Parses a list.
pub(crate) fn list(field: &[u8]) -> Parse<Vec<Member>> {
    let mut found = Vec::new();
    members(field, |at| {
        found.push(at.member()?);
        Ok(())
    })?;
    Ok(found)
}

/// Parses one item.
pub(crate) fn item(field: &[u8]) -> Parse<Item> {
    let mut at = Cursor::over(field)?;
    let item = at.item()?;
    at.spaces();
    if at.0.is_empty() { Ok(item) } else { Err("bytes follow the value") }
}

fn members(field: &[u8], mut each: impl FnMut(&mut Cursor<'_>) -> Parse<()>) -> Parse<()> {
    let mut at = Cursor::over(field)?;
    for _ in 0..MEMBERS_MAX {
        if at.0.is_empty() {
            return Ok(());
        }
        each(&mut at)?;
        at.blanks();
        if at.0.is_empty() {
            return Ok(());
        }
        if !at.eat(b',') {
            return Err("a comma is missing");
        }
        at.blanks();
        if at.0.is_empty() {
            return Err("it ends in a comma");
        }
    }
    Err("it has more than 32 members")
}

/// What is left to parse.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn over(field: &'a [u8]) -> Parse<Cursor<'a>> {
        if field.len() > FIELD_MAX_BYTES {
            return Err("it is longer than 16,384 bytes");
        }
        let mut at = Cursor(field);
        at.spaces();
        while let Some((b' ', rest)) = at.0.split_last() {
            at.0 = rest;
        }
        Ok(at)
    }

    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        if is {
            self.next();
        }
        is
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let n = self.0.iter().position(|b| !wanted(*b)).unwrap_or(self.0.len());
        let (head, rest) = self.0.split_at_checked(n).unwrap_or((self.0, &[]));
        self.0 = rest;
        head
    }

    fn spaces(&mut self) {
        self.take_while(|b| b == b' ');
    }

    fn blanks(&mut self) {
        self.take_while(|b| b == b' ' || b == b'\t');
    }

    fn key(&mut self) -> Parse<String> {
        if !self.peek().is_some_and(|b| b.is_ascii_lowercase() || b == b'*') {
            return Err("a key does not begin with a lower-case letter");
        }
        Ok(text(self.take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b))))
    }

    fn member(&mut self) -> Parse<Member> {
        if self.peek() != Some(b'(') {
            return self.item().map(Member::Item);
        }
        self.next();
        let mut items = Vec::new();
        loop {
            self.spaces();
            if self.eat(b')') {
                return Ok(Member::Inner(items, self.params()?));
            }
            if items.len() >= ITEMS_MAX {
                return Err("an inner list has more than 64 items");
            }
            items.push(self.item()?);
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return Err("an inner list is not closed");
            }
        }
    }

    fn item(&mut self) -> Parse<Item> {
        Ok(Item { bare: self.bare()?, params: self.params()? })
    }

    fn params(&mut self) -> Parse<Params> {
        let mut params: Params = Vec::new();
        while self.eat(b';') {
            self.spaces();
            let key = self.key()?;
            let value = if self.eat(b'=') { self.bare()? } else { Bare::Boolean(true) };
            if params.iter().any(|(known, _)| *known == key) {
                return Err("a parameter stands twice");
            }
            if params.len() >= PARAMS_MAX {
                return Err("an item has more than 16 parameters");
            }
            params.push((key, value));
        }
        Ok(params)
    }

    fn bare(&mut self) -> Parse<Bare> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b':') => self.bytes(),
            Some(b'?') => {
                self.next();
                match self.next() {
                    Some(b'0') => Ok(Bare::Boolean(false)),
                    Some(b'1') => Ok(Bare::Boolean(true)),
                    _ => Err("a boolean is neither ?0 nor ?1"),
                }
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b) if b.is_ascii_alphabetic() || b == b'*' => {
                Ok(Bare::Token(text(self.take_while(|b| is_tchar(b) || b == b':' || b == b'/'))))
            }
            _ => Err("a value is missing or of an unknown type"),
        }
    }

    fn string(&mut self) -> Parse<Bare> {
        self.next();
        let mut out = String::new();
        loop {
            match self.next() {
                Some(b'"') => return Ok(Bare::String(out)),
                Some(b'\\') => match self.next() {
                    Some(b @ (b'"' | b'\\')) => out.push(char::from(b)),
                    _ => return Err("a string has an unknown escape"),
                },
                Some(b @ 0x20..=0x7e) => out.push(char::from(b)),
                Some(_) => return Err("a string has a character outside ASCII"),
                None => return Err("a string is not closed"),
            }
        }
    }

    fn bytes(&mut self) -> Parse<Bare> {
        self.next();
        let encoded = self.take_while(|b| b != b':');
        if !self.eat(b':') {
            return Err("a byte sequence is not closed");
        }
        BASE64.decode(encoded).map(Bare::Bytes).map_err(|_| "a byte sequence is not base64")
    }

    fn number(&mut self) -> Parse<Bare> {
        let sign = if self.eat(b'-') { -1 } else { 1 };
        let whole = self.take_while(|b| b.is_ascii_digit());
        let value = |digits: &[u8]| digits.iter().fold(0_i64, |n, d| n * 10 + i64::from(d - b'0'));
        if whole.is_empty() || whole.len() > 15 {
            return Err("a number has no digits, or more than 15");
        }
        if self.peek() != Some(b'.') {
            return Ok(Bare::Integer(sign * value(whole)));
        }
        self.next();
        let part = self.take_while(|b| b.is_ascii_digit());
        if whole.len() > 12 || part.is_empty() || part.len() > 3 {
            return Err("a decimal has more than 12 digits before or 3 after its point");
        }
        let scale = [100, 10, 1].get(part.len() - 1).copied().unwrap_or(1);
        Ok(Bare::Decimal(sign * (value(whole) * 1_000 + value(part) * scale)))
    }
}

/// Bytes that are known to be ASCII.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// A character of a header name or token (RFC 9110, section 5.6.2).
pub(crate) fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Writes an item.
pub(crate) fn write_item(item: &Item, out: &mut String) {
    write_bare(&item.bare, out);
    write_params(&item.params, out);
}

/// Writes an inner list.
pub(crate) fn write_inner(items: &[Item], params: &Params, out: &mut String) {
    out.push('(');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        write_item(item, out);
    }
    out.push(')');
    write_params(params, out);
}

/// Writes a member.
pub(crate) fn write_member(member: &Member, out: &mut String) {
    match member {
        Member::Item(item) => write_item(item, out),
        Member::Inner(items, params) => write_inner(items, params, out),
    }
}

/// Writes a list.
pub(crate) fn write_list(list: &[Member]) -> String {
    let mut out = String::new();
    for (i, member) in list.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_member(member, &mut out);
    }
    out
}

/// Writes a dictionary.
pub(crate) fn write_dictionary(dictionary: &Dictionary) -> String {
    let mut out = String::new();
    for (i, (key, member)) in dictionary.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        out.push_str(key);
        match member {
            Member::Item(Item { bare: Bare::Boolean(true), params }) => write_params(params, &mut out),
            member => {
                out.push('=');
                write_member(member, &mut out);
            }
        }
    }
    out
}

fn write_params(params: &Params, out: &mut String) {
    for (key, value) in params {
        out.push(';');
        out.push_str(key);
        if *value != Bare::Boolean(true) {
            out.push('=');
            write_bare(value, out);
        }
    }
}

/// Writes a bare item.
pub(crate) fn write_bare(bare: &Bare, out: &mut String) {
    match bare {
        Bare::Integer(n) => out.push_str(&n.to_string()),
        Bare::Decimal(n) => {
            let (sign, n) = (if *n < 0 { "-" } else { "" }, n.unsigned_abs());
            let part = format!("{:03}", n % 1_000);
            let part = part.trim_end_matches('0');
            out.push_str(&format!("{sign}{}.{}", n / 1_000, if part.is_empty() { "0" } else { part }));
        }
        Bare::String(s) => {
            out.push('"');
            for c in s.chars() {
                if matches!(c, '"' | '\\') {
                    out.push('\\');
                }
                out.push(c);
            }
            out.push('"');
        }
        Bare::Token(t) => out.push_str(t),
        Bare::Bytes(b) => {
            out.push(':');
            out.push_str(&STANDARD.encode(b));
            out.push(':');
        }
        Bare::Boolean(b) => out.push_str(if *b { "?1" } else { "?0" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_written_back_in_their_canonical_form() {
        for (field, want) in [
            ("a=1,  b ,\tc=?0;d;e=\"x\\\"y\"", "a=1, b, c=?0;d;e=\"x\\\"y\""),
            ("a=-0.50, b=:YQ==:, c=tok/en:x", "a=-0.5, b=:YQ==:, c=tok/en:x"),
            ("a=:YQ:", "a=:YQ==:"),
            ("s=( \"a\"  \"b\";key=\"c\" );created=1", "s=(\"a\" \"b\";key=\"c\");created=1"),
            ("a=2.0", "a=2.0"),
            ("", ""),
        ] {
            assert_eq!(write_dictionary(&dictionary(field.as_bytes()).unwrap()), want);
        }
        assert_eq!(write_list(&list(b"a;q=1 , ( 1 2 )").unwrap()), "a;q=1, (1 2)");
    }

    #[test]
    fn what_is_out_of_form_is_refused() {
        for bad in [
            "a=",
            "a,",
            "a b",
            "A=1",
            "=1",
            "a=1,a=2",
            "a;b;b",
            "a=(1",
            "a=(1)2",
            "a=(1,2)",
            "a=\"x",
            "a=\"\\x\"",
            "a=\"\u{e4}\"",
            "a=:!:",
            "a=:YQ",
            "a=?2",
            "a=1.",
            "a=1.2345",
            "a=1234567890123456",
            "a=-",
            "a=@1",
            "a=1;B",
        ] {
            assert!(dictionary(bad.as_bytes()).is_err(), "{bad}");
        }
        let many: Vec<String> = (0..33).map(|i| format!("k{i}")).collect();
        assert!(dictionary(many.join(",").as_bytes()).is_err());
        assert!(dictionary(format!("a=({})", "1 ".repeat(65)).as_bytes()).is_err());
        assert!(dictionary(&[b' '; FIELD_MAX_BYTES + 1]).is_err());
        assert!(item(b"1 2").is_err() && item(b"").is_err());
    }

    proptest! {
        #[test]
        fn what_parses_is_written_and_parsed_as_itself(field in "[a-c=();:?\" 0-9.,-]{0,24}") {
            if let Ok(parsed) = dictionary(field.as_bytes()) {
                let written = write_dictionary(&parsed);
                prop_assert_eq!(dictionary(written.as_bytes()), Ok(parsed));
            }
        }
    }
}
