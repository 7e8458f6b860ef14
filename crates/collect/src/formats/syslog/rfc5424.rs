//! RFC 5424 section 6: `VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG]`.
//!
//! Every rule of the grammar is checked; what breaks one is read all the same as well as it can be.

use super::Message;
use crate::time;
use std::borrow::Cow;

/// Longest HOSTNAME, APP-NAME, PROCID, MSGID and SD-ID, bytes.
const HOSTNAME: usize = 255;
const APP_NAME: usize = 48;
const PROCID: usize = 128;
const MSGID: usize = 32;
const SD_NAME: usize = 32;

/// The version, if what comes is one, and the text behind it. Without a priority only version 1 before a time is
/// taken for one: any text may begin with a number.
pub(super) fn version(text: &str, priority: bool) -> Option<(u16, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(end);
    if !(1..=3).contains(&end) || digits.starts_with('0') || !(rest.is_empty() || rest.starts_with(' ')) {
        return None;
    }
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let certain =
        priority || (digits == "1" && time::rfc3339(rest.split(' ').next().unwrap_or_default()).is_some());
    certain.then(|| digits.parse().ok().map(|version| (version, rest)))?
}

/// Reads what stands behind the version.
pub(super) fn read<'a>(rest: &'a str, message: &mut Message<'a>) {
    let (when, rest) = word(rest, message, 32, "a timestamp is malformed");
    if !when.is_empty() {
        message.stamp = time::rfc3339(when);
        if message.stamp.is_none() || !is_timestamp(when.as_bytes()) {
            message.breaks("a timestamp is malformed");
        }
    }
    let (host, rest) = word(rest, message, HOSTNAME, "a hostname is malformed");
    let (app, rest) = word(rest, message, APP_NAME, "an app-name is malformed");
    let (procid, rest) = word(rest, message, PROCID, "a procid is malformed");
    let (msgid, rest) = word(rest, message, MSGID, "a msgid is malformed");
    (message.host, message.app, message.procid, message.msgid) = (host, app, procid, msgid);
    let rest = match rest.strip_prefix('-') {
        Some(rest) => rest,
        None if rest.starts_with('[') => elements(rest, message),
        None => {
            message.breaks("structured data is missing");
            rest
        }
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        message.breaks("a message does not begin with a blank");
    }
    let text = rest.strip_prefix(' ').unwrap_or(rest);
    message.text = text.strip_prefix('\u{feff}').unwrap_or(text);
}

/// A field of printable ASCII of at most `max` bytes and one blank behind it; nil gives an empty text.
fn word<'a>(text: &'a str, message: &mut Message<'a>, max: usize, rule: &'static str) -> (&'a str, &'a str) {
    let text = match text.trim_start_matches(' ') {
        same if same.len() == text.len() => text,
        behind => {
            message.breaks(rule);
            behind
        }
    };
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    if word.is_empty() || word.len() > max || !word.bytes().all(|b| b.is_ascii_graphic()) {
        message.breaks(rule);
    }
    (if word == "-" { "" } else { word }, rest)
}

/// `YYYY-MM-DDThh:mm:ss[.f{1,6}](Z|±hh:mm)`: capital letters, no leap second (section 6.2.3).
fn is_timestamp(text: &[u8]) -> bool {
    let Some((fixed, mut rest)) = text.split_at_checked(19) else { return false };
    if fixed.get(10) != Some(&b'T') || fixed.get(17..) == Some(b"60") {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if !(1..=6).contains(&digits) {
            return false;
        }
        rest = fraction.get(digits..).unwrap_or_default();
    }
    rest == b"Z" || matches!(rest, [b'+' | b'-', _, _, b':', _, _])
}

/// All elements from `[` on; what stands behind the last.
fn elements<'a>(mut text: &'a str, message: &mut Message<'a>) -> &'a str {
    while let Some(inner) = text.strip_prefix('[') {
        let id_end = inner.find([' ', ']']).unwrap_or(inner.len());
        let (id, mut rest) = inner.split_at(id_end);
        let mut id = id;
        if !is_name(id) {
            message.breaks("structured data has no id");
            // Some leave it out: what stands in its place is a parameter.
            if id.contains('=') {
                (id, rest) = ("", inner);
            }
        }
        match parameters(id, rest, message) {
            Some(behind) => text = behind,
            None => return text,
        }
    }
    text
}

/// The parameters of one element; what stands behind its bracket. `None` = it does not end.
fn parameters<'a>(id: &'a str, mut text: &'a str, message: &mut Message<'a>) -> Option<&'a str> {
    loop {
        let behind = text.trim_start_matches(' ');
        if let Some(rest) = behind.strip_prefix(']') {
            if behind.len() != text.len() {
                message.breaks("structured data ends with a blank");
            }
            return Some(rest);
        }
        if behind.len() + 1 != text.len() && !id.is_empty() {
            message.breaks("structured data is not separated by one blank");
        }
        let end = behind.find(['=', ' ', ']'])?;
        let (name, rest) = behind.split_at(end);
        if !is_name(name) {
            message.breaks("a parameter of structured data has no name");
        }
        let Some(value) = rest.strip_prefix('=') else {
            message.breaks("a parameter of structured data has no value");
            message.data.push((id, name, Cow::Borrowed("")));
            text = rest;
            continue;
        };
        let (value, rest) = match value.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted, message)?,
            None => {
                message.breaks("a value of structured data is not quoted");
                let end = value.find([' ', ']'])?;
                (Cow::Borrowed(&value[..end]), &value[end..])
            }
        };
        message.data.push((id, name, value));
        text = rest;
    }
}

/// A value up to its quotation mark. `\"`, `\\` and `\]` are escapes, any other backslash is itself.
fn quoted_value<'a>(text: &'a str, message: &mut Message<'a>) -> Option<(Cow<'a, str>, &'a str)> {
    let bytes = text.as_bytes();
    let (mut at, mut escaped) = (0, false);
    loop {
        match bytes.get(at)? {
            b'"' => break,
            b'\\' if matches!(bytes.get(at + 1), Some(b'"' | b'\\' | b']')) => {
                escaped = true;
                at += 1;
            }
            b']' => message.breaks("a bracket in structured data is not escaped"),
            _ => {}
        }
        at += 1;
    }
    let (value, rest) = (&text[..at], &text[at + 1..]);
    if !escaped {
        return Some((Cow::Borrowed(value), rest));
    }
    let mut out = String::with_capacity(value.len());
    let mut letters = value.chars().peekable();
    while let Some(c) = letters.next() {
        match (c, letters.peek()) {
            ('\\', Some('"' | '\\' | ']')) => out.extend(letters.next()),
            _ => out.push(c),
        }
    }
    Some((Cow::Owned(out), rest))
}

/// SD-NAME: printable ASCII without `=`, `]`, `"` and blank.
fn is_name(text: &str) -> bool {
    (1..=SD_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'=' | b']' | b'"'))
}
