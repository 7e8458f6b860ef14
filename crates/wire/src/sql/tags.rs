//! Key-value pairs in SQL comments: sqlcommenter (`key='value'`, percent-encoded) and marginalia
//! (`key:value`).
//!
//! The values are the caller's claim. A comment counts only if the whole of it is pairs, so that prose is
//! never taken for one; control characters and invalid escapes drop a pair.

use super::lex::{Kind, Lexer};

/// Most pairs taken from one text.
pub const TAGS_MAX: usize = 16;
/// Longest key, in bytes after decoding; a longer one is dropped with its value.
pub const TAG_KEY_MAX: usize = 64;
/// Longest value, in bytes after decoding; a longer one is dropped with its key.
pub const TAG_VALUE_MAX: usize = 512;

pub(super) fn comment_tags(text: &str) -> Vec<(String, String)> {
    let mut tags = Vec::new();
    if memchr::memmem::find(text.as_bytes(), b"/*").is_none() {
        return tags;
    }
    for token in Lexer::new(text, true).filter(|t| t.kind == Kind::Comment) {
        let body = token.of(text).strip_prefix("/*").and_then(|c| c.strip_suffix("*/"));
        let room = TAGS_MAX - tags.len().min(TAGS_MAX);
        tags.extend(body.and_then(pairs).unwrap_or_default().into_iter().take(room));
        if tags.len() >= TAGS_MAX {
            break;
        }
    }
    tags
}

/// The pairs of one comment, or `None` if it is something else.
fn pairs(body: &str) -> Option<Vec<(String, String)>> {
    let (mut out, mut rest) = (Vec::new(), body.trim());
    while !rest.is_empty() {
        let end = rest.find(['=', ':'])?;
        let (key, after) = rest.split_at_checked(end)?;
        let key_is_name = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.%".contains(&b));
        if key.is_empty() || !key_is_name {
            return None;
        }
        let (value, next) = match after.strip_prefix("='") {
            Some(quoted) => quoted_value(quoted)?,
            None => bare_value(after.get(1..)?)?,
        };
        if out.len() < TAGS_MAX
            && let (Some(key), Some(value)) = (decode(key, TAG_KEY_MAX), decode(&value, TAG_VALUE_MAX))
        {
            out.push((key, value));
        }
        rest = match next.trim_start().strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if next.trim().is_empty() => "",
            None => return None,
        };
    }
    Some(out)
}

/// Up to the closing quote; `\'` is a quote.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let (mut value, mut rest) = (String::new(), text);
    loop {
        let (before, after) = rest.split_once('\'')?;
        match before.strip_suffix('\\') {
            Some(escaped) => {
                value.push_str(escaped);
                value.push('\'');
                rest = after;
            }
            None => {
                value.push_str(before);
                return Some((value, after));
            }
        }
    }
}

/// Marginalia: up to the next comma. A space in it means prose.
fn bare_value(text: &str) -> Option<(String, &str)> {
    let end = text.find(',').unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end)?;
    let prose = value.trim_end().bytes().any(|b| b.is_ascii_whitespace());
    (!prose && !value.is_empty()).then(|| (value.trim_end().to_owned(), rest))
}

/// Percent-decoded, or nothing if it is too long, no UTF-8 or holds control characters.
fn decode(text: &str, max: usize) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len().min(max));
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, next) = match (first, tail) {
            (b'%', [high, low, after @ ..]) => (hex(*high)? << 4 | hex(*low)?, after),
            (b'%', _) => return None,
            _ => (*first, tail),
        };
        if bytes.len() == max {
            return None;
        }
        bytes.push(byte);
        rest = next;
    }
    String::from_utf8(bytes).ok().filter(|s| !s.chars().any(char::is_control))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}
