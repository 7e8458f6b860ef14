//! Literals, read by their field's type.

use super::lex::{Lexer, Text};
use super::{Field, FilterError, Glob, Ty, Value};
use crate::error::nearest;
use countersign_event::Verified;
use std::net::{IpAddr, Ipv6Addr};

/// Verbs that are the same in any case.
const VERBS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
/// Units of durations, in nanoseconds, largest first.
pub(super) const DURATIONS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];
/// Units of sizes, in bytes.
const SIZES: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// Whether patterns and regular expressions apply.
pub(super) fn is_text(field: &Field) -> bool {
    matches!(field.ty, Ty::Text | Ty::Verb | Ty::List | Ty::Status | Ty::Peer)
}

fn bad(lex: &Lexer, text: &Text, message: String) -> FilterError {
    lex.error("bad-value", text.from, lex.at, message)
}

/// A value to compare for equality.
pub(super) fn read(lex: &Lexer, field: &Field, text: &Text) -> Result<Value, FilterError> {
    if is_text(field) {
        return Ok(Value::Text(verb(field, text)));
    }
    let Some(literal) = text.glob.as_text() else {
        return Err(bad(lex, text, format!("`{}` is no text: stars do not apply", field.name)));
    };
    match field.ty {
        Ty::Word(_) => word(lex, field, text, literal),
        Ty::Ip => net(literal).ok_or_else(|| {
            bad(lex, text, format!("`{literal}` is no IP address and no block such as 10.0.0.0/8"))
        }),
        Ty::Hex(len) => match bytes(literal).filter(|bytes| bytes.len() == len) {
            Some(bytes) => Ok(Value::Bytes(bytes)),
            None => {
                let uuid = if len == 16 { " or a UUID" } else { "" };
                Err(bad(lex, text, format!("`{}` is {} hex digits{uuid}", field.name, len * 2)))
            }
        },
        _ => number(lex, field, text).map(Value::Int),
    }
}

fn verb(field: &Field, text: &Text) -> Glob {
    let known = text.glob.as_text().and_then(|t| VERBS.iter().find(|verb| verb.eq_ignore_ascii_case(t)));
    match (field.ty, known) {
        (Ty::Verb, Some(verb)) => Glob::text(verb),
        _ => text.glob.clone(),
    }
}

fn word(lex: &Lexer, field: &Field, text: &Text, literal: &str) -> Result<Value, FilterError> {
    let words = field.words();
    let lower = literal.to_ascii_lowercase();
    if let Some(word) = words.iter().find(|word| **word == lower) {
        return Ok(Value::Word(word));
    }
    let message = format!("`{literal}` is no value of `{}`: {}", field.name, words.join(" "));
    let mut error = bad(lex, text, message);
    error.suggestions = nearest(&lower, words.into_iter());
    Err(error)
}

/// A value with an order.
pub(super) fn number(lex: &Lexer, field: &Field, text: &Text) -> Result<i64, FilterError> {
    let literal = text.glob.as_text().unwrap_or("*");
    let (found, expected) = match field.ty {
        Ty::Level => (level(literal), "1 to 4, or claimed, asserted, checked, bound"),
        Ty::Duration => (scaled(literal, &DURATIONS), "a number and a unit: 250ms, 1.5s, 2h"),
        Ty::Size => (
            literal.parse().ok().or_else(|| scaled(literal, &SIZES)),
            "bytes, or a number and a unit: 10KiB, 1MB",
        ),
        Ty::Time => (time(literal), "a time such as 2026-03-01T14:00:00Z"),
        _ => (whole(literal), "a whole number"),
    };
    found.ok_or_else(|| {
        bad(lex, text, format!("`{literal}` is no value of `{}`, which takes {expected}", field.name))
    })
}

fn whole(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) if !hex.starts_with(['+', '-']) => i64::from_str_radix(hex, 16).ok(),
        _ => text.parse().ok().filter(|_| !text.starts_with('+')),
    }
}
fn level(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let named = Verified::from_word(&lower).map(|level| level.code() as i64);
    named.or_else(|| text.parse().ok().filter(|n| (1..=4).contains(n)))
}
fn time(text: &str) -> Option<i64> {
    if let Ok(ns) = text.parse() {
        return Some(ns);
    }
    text.parse::<jiff::Timestamp>().ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok())
}

/// A decimal number and a unit; exact, so `1.5ns` is nothing.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<i64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (digits, unit) = text.split_at(split);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || (digits.contains('.') && part.is_empty()) || part.len() > 15 {
        return None;
    }
    let scale = 10_u128.pow(part.len() as u32);
    let value = whole.parse::<u64>().ok().map(u128::from)? * scale
        + if part.is_empty() { 0 } else { part.parse::<u128>().ok()? };
    let value = value.checked_mul(u128::from(factor))?;
    if value % scale != 0 { None } else { i64::try_from(value / scale).ok() }
}

fn net(text: &str) -> Option<Value> {
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (text, None),
    };
    let ip = plain_ip(ip.parse().ok()?);
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(prefix) => prefix.parse().ok().filter(|n| *n <= longest)?,
        None => longest,
    };
    Some(Value::Net(ip, prefix))
}
/// An IPv4-mapped address as the IPv4 address it is, as in events.
fn plain_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// Whether `ip` lies in the block. A block of the other family holds nothing.
pub(crate) fn in_block(ip: IpAddr, block: IpAddr, prefix: u8) -> bool {
    let widen = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => (true, u128::from(u32::from(v4)) << 96),
        IpAddr::V6(v6) => (false, u128::from(Ipv6Addr::from(v6.octets()))),
    };
    let ((four, ip), (block_four, block)) = (widen(ip), widen(block));
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    four == block_four && (ip & mask) == (block & mask)
}

/// A block as it is written, for the SQL function.
pub(crate) fn parse_block(text: &str) -> Option<(IpAddr, u8)> {
    match net(text)? {
        Value::Net(ip, prefix) => Some((ip, prefix)),
        _ => None,
    }
}

/// Bytes from hex, dashes of a UUID allowed in their places.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let uuid = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text.as_bytes()[*at] == b'-');
    let hex: Vec<u8> = text.bytes().filter(|b| !(uuid && *b == b'-')).collect();
    if !hex.len().is_multiple_of(2) || (uuid && hex.len() != 32) {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    hex.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Bare text that looks like an id of 16 bytes: looked up as event and trace as well.
pub(super) fn pasted_id(glob: &Glob) -> Option<Vec<u8>> {
    bytes(glob.as_text()?).filter(|bytes| bytes.len() == 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_exact() {
        assert_eq!(scaled("250ms", &DURATIONS), Some(250_000_000));
        assert_eq!(scaled("1.5s", &DURATIONS), Some(1_500_000_000));
        assert_eq!(scaled("1.5ns", &DURATIONS), None);
        assert_eq!(scaled("10KiB", &SIZES), Some(10_240));
        assert_eq!(scaled("99999999999999d", &DURATIONS), None);
        assert_eq!(scaled("1.s", &DURATIONS), None);
    }

    #[test]
    fn blocks_hold_their_own_family_only() {
        let in_text = |ip: &str, block: &str| {
            let (block, prefix) = parse_block(block).unwrap();
            in_block(ip.parse().unwrap(), block, prefix)
        };
        assert!(in_text("10.1.2.3", "10.0.0.0/8") && !in_text("11.1.2.3", "10.0.0.0/8"));
        assert!(in_text("1.2.3.4", "0.0.0.0/0") && !in_text("::1", "0.0.0.0/0"));
        assert!(in_text("fd00::5", "fd00::/64") && in_text("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(parse_block("10.0.0.0/33").is_none());
    }
}
