//! The JSON that an event needs: no floats, no null. [`parse_any`] is for the JSON of others, where what an event
//! has no type for stays as it is spelled. Recursion is bounded.

use super::JsonError;
use std::collections::HashSet;

/// Deepest nesting of the text; an event's values nest 8 deep, and twice that as `$map`.
const DEPTH_MAX: usize = 40;
/// Deepest nesting of the JSON of others.
const DEPTH_ANY_MAX: usize = 64;
/// Most values in one text of others: more than any event has. Each takes 32 bytes of memory.
const VALUES_ANY_MAX: usize = 1 << 21;

/// A parsed item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Bool(bool),
    Int(i128),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
    /// What an event has no type for, as it is spelled: null, a fraction, a number beyond 127 bits. Only of others.
    Raw(String),
}

/// The one item of `text`.
pub(crate) fn parse(text: &str) -> Result<Json, JsonError> {
    Parser { text, at: 0, any: false, values: 0 }.whole()
}

/// The one item of `text`, whatever JSON it is; of a name given twice in an object, the last counts.
pub(crate) fn parse_any(text: &str) -> Result<Json, JsonError> {
    Parser { text, at: 0, any: true, values: 0 }.whole()
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The JSON of others.
    any: bool,
    values: usize,
}

impl Parser<'_> {
    fn whole(mut self) -> Result<Json, JsonError> {
        let json = self.item(0)?;
        self.space();
        if self.at == self.text.len() { Ok(json) } else { Err(self.error("text after the end")) }
    }
    fn error(&self, rule: &str) -> JsonError {
        JsonError { place: format!("byte {}", self.at), rule: rule.to_owned() }
    }
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }
    /// Takes `byte` if it comes next, after white space.
    fn takes(&mut self, byte: u8) -> bool {
        self.space();
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }
    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.takes(byte) { Ok(()) } else { Err(self.error(&format!("expected {}", char::from(byte)))) }
    }
    fn item(&mut self, depth: usize) -> Result<Json, JsonError> {
        if depth > if self.any { DEPTH_ANY_MAX } else { DEPTH_MAX } {
            return Err(self.error("nested too deep"));
        }
        self.values += 1;
        if self.any && self.values > VALUES_ANY_MAX {
            return Err(self.error("too many values"));
        }
        self.space();
        let rest = &self.text[self.at..];
        for (word, json) in [("true", Json::Bool(true)), ("false", Json::Bool(false))] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(json);
            }
        }
        match self.peek() {
            Some(b'"') => self.string().map(Json::Text),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(b'-' | b'0'..=b'9') => self.int(),
            Some(b'n') if self.any && rest.starts_with("null") => {
                self.at += 4;
                Ok(Json::Raw("null".to_owned()))
            }
            Some(b'n') => Err(self.error("null: leave an absent field out")),
            _ => Err(self.error("expected a value")),
        }
    }
    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.expect(b'[')?;
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.item(depth + 1)?);
            if self.takes(b']') {
                return Ok(Json::Array(items));
            }
            self.expect(b',')?;
        }
    }
    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.expect(b'{')?;
        let mut fields = Vec::new();
        if self.takes(b'}') {
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.expect(b':')?;
            fields.push((name, self.item(depth + 1)?));
            if self.takes(b'}') {
                if self.any {
                    last_of_each(&mut fields);
                }
                return Ok(Json::Object(fields));
            }
            self.expect(b',')?;
        }
    }
    fn int(&mut self) -> Result<Json, JsonError> {
        let rest = &self.text[self.at..];
        let end =
            rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let digits = &rest[..end];
        let plain = digits.strip_prefix('-').unwrap_or(digits);
        let whole =
            plain == "0" || (!plain.starts_with('0') && plain.bytes().all(|byte| byte.is_ascii_digit()));
        match digits.parse() {
            Ok(n) if whole && !(self.any && digits == "-0") => {
                self.at += end;
                Ok(Json::Int(n))
            }
            _ if self.any && is_number(digits) => {
                self.at += end;
                Ok(Json::Raw(digits.to_owned()))
            }
            _ => Err(self.error("not a whole number that fits")),
        }
    }
    fn string(&mut self) -> Result<String, JsonError> {
        self.expect(b'"')?;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.error("text ends too early, or holds a control character")),
            }
        }
    }
    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let escaped = self.peek();
        self.at += 1;
        Ok(match escaped {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => {
                self.at -= 2;
                return Err(self.error("unknown escape"));
            }
        })
    }
    fn unicode(&mut self) -> Result<char, JsonError> {
        let high = self.four()?;
        let code = if (0xd800..0xdc00).contains(&high) && self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            let low = self.four()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.error("a lone surrogate"));
            }
            0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
        } else {
            high
        };
        char::from_u32(code).ok_or_else(|| self.error("a lone surrogate"))
    }
    fn four(&mut self) -> Result<u32, JsonError> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        code.ok_or_else(|| JsonError {
            place: format!("byte {}", self.at - 4),
            rule: "expected four hex digits".to_owned(),
        })
    }
}

/// A number (RFC 8259 section 6).
fn is_number(text: &str) -> bool {
    fn digits(text: &str) -> (usize, &str) {
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        (text.len() - rest.len(), rest)
    }
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, mut rest) = digits(text);
    if whole == 0 || (whole > 1 && text.starts_with('0')) {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let (count, after) = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = after;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let (count, after) = digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
        if count == 0 {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// Keeps the last of the fields of each name.
fn last_of_each(fields: &mut Vec<(String, Json)>) {
    let mut seen = HashSet::with_capacity(fields.len());
    if fields.iter().all(|(name, _)| seen.insert(name.as_str())) {
        return;
    }
    let mut seen = HashSet::new();
    let mut keep: Vec<bool> = fields.iter().rev().map(|(name, _)| seen.insert(name.clone())).collect();
    keep.reverse();
    let mut keep = keep.into_iter();
    fields.retain(|_| keep.next().unwrap_or(true));
}
