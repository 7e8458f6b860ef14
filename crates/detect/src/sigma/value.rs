//! What an event has in a field, and how rules look at it: as text, number, truth, address or time.
//!
//! Numbers are compared as 64-bit floats, so that `5`, `"5"` and `5.0` are the same to a rule.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

/// The value of a field in one event.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'e> {
    /// The event does not have the field.
    Missing,
    /// The event has the field, with null in it.
    Null,
    /// A text.
    Text(Cow<'e, str>),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A truth.
    Bool(bool),
    /// A time, nanoseconds since 1970 UTC.
    Time(i64),
    /// Several values; a test holds if it does of any of them. Never empty, never nested.
    List(Vec<Cell<'e>>),
}

impl<'e> Cell<'e> {
    /// A text, or missing when it is empty: the event's model has no other way to say absent.
    pub(crate) fn text(text: &'e str) -> Cell<'e> {
        if text.is_empty() { Cell::Missing } else { Cell::Text(Cow::Borrowed(text)) }
    }

    pub(crate) fn owned(text: Option<String>) -> Cell<'e> {
        text.map_or(Cell::Missing, |text| Cell::Text(Cow::Owned(text)))
    }

    /// A number; beyond 2⁶³ as the nearest float.
    pub(crate) fn uint(n: u64) -> Cell<'e> {
        i64::try_from(n).map_or(Cell::Float(n as f64), Cell::Int)
    }

    pub(crate) fn list(mut cells: Vec<Cell<'e>>) -> Cell<'e> {
        match cells.len() {
            0 => Cell::Missing,
            1 => cells.remove(0),
            _ => Cell::List(cells),
        }
    }

    /// Each single value; none of missing and null.
    pub fn each(&self) -> impl Iterator<Item = &Cell<'e>> {
        let all = match self {
            Cell::Missing | Cell::Null => &[],
            Cell::List(cells) => cells.as_slice(),
            single => std::slice::from_ref(single),
        };
        all.iter().filter(|cell| !matches!(cell, Cell::Missing | Cell::Null | Cell::List(_)))
    }

    /// A single value as text; numbers in decimal, times as RFC 3339.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Cell::Text(text) => Some(Cow::Borrowed(text)),
            Cell::Int(n) => Some(Cow::Owned(n.to_string())),
            Cell::Float(n) => Some(Cow::Owned(n.to_string())),
            Cell::Bool(b) => Some(Cow::Borrowed(if *b { "true" } else { "false" })),
            Cell::Time(ns) => countersign_event::json::time::rfc3339(i128::from(*ns)).map(Cow::Owned),
            Cell::Missing | Cell::Null | Cell::List(_) => None,
        }
    }

    /// A single value as a number; a text if it is one as a whole.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Cell::Int(n) => Some(*n as f64),
            Cell::Float(n) => Some(*n),
            Cell::Text(text) => number(text),
            _ => None,
        }
    }
}

/// A text that is a number as a whole.
pub(crate) fn number(text: &str) -> Option<f64> {
    // Most texts are none, and their first byte shows it. `inf` and `nan` are words to a rule, not numbers.
    let first = *text.as_bytes().first()?;
    if !(first.is_ascii_digit() || b"+-.".contains(&first)) {
        return None;
    }
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

/// A text as true or false.
pub(crate) fn truth(text: &str) -> Option<bool> {
    let is = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(["true", "1", "yes"]) {
        Some(true)
    } else if is(["false", "0", "no"]) {
        Some(false)
    } else {
        None
    }
}

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Block {
    /// As 128 bits; version 4 in its mapped form.
    bits: u128,
    mask: u128,
    /// A block of version 6 holds no address of version 4.
    six: bool,
}

impl Block {
    /// `10.0.0.0/8`, `2001:db8::/32`, or one address.
    pub(crate) fn parse(text: &str) -> Option<Block> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (widest, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let length = length.unwrap_or(widest);
        if length > widest {
            return None;
        }
        let mask = match offset + length {
            0 => 0,
            length => u128::MAX << (128 - length),
        };
        Some(Block { bits: bits(address) & mask, mask, six: offset == 0 })
    }

    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.bits && !(self.six && address.is_ipv4())
    }
}

fn bits(address: IpAddr) -> u128 {
    let six: Ipv6Addr = match address {
        IpAddr::V4(four) => four.to_ipv6_mapped(),
        IpAddr::V6(six) => six,
    };
    six.to_bits()
}

/// A part of a time, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TimePart {
    Minute,
    Hour,
    Day,
    /// Week of the ISO 8601 year.
    Week,
    Month,
    Year,
}

impl TimePart {
    pub(crate) fn of(self, ns: i64) -> Option<i64> {
        let time = jiff::Timestamp::from_nanosecond(i128::from(ns)).ok()?;
        let time = jiff::tz::Offset::UTC.to_datetime(time);
        Some(match self {
            TimePart::Minute => time.minute().into(),
            TimePart::Hour => time.hour().into(),
            TimePart::Day => time.day().into(),
            TimePart::Week => time.date().iso_week_date().week().into(),
            TimePart::Month => time.month().into(),
            TimePart::Year => time.year().into(),
        })
    }
}

/// A value as a time, ns since 1970: RFC 3339, the same without an offset (UTC then), seconds or milliseconds.
pub(crate) fn time(cell: &Cell<'_>) -> Option<i64> {
    match cell {
        Cell::Time(ns) => Some(*ns),
        Cell::Int(n) => epoch(*n),
        Cell::Float(n) => epoch(*n as i64),
        Cell::Text(text) => {
            let stamp = match text.parse::<jiff::Timestamp>() {
                Ok(stamp) => stamp,
                Err(_) => {
                    let civil: jiff::civil::DateTime = text.parse().ok()?;
                    jiff::tz::Offset::UTC.to_timestamp(civil).ok()?
                }
            };
            i64::try_from(stamp.as_nanosecond()).ok()
        }
        _ => None,
    }
}

/// Above this a number of seconds would be beyond the year 33000: it is milliseconds.
const SECONDS_MAX: i64 = 1_000_000_000_000;

fn epoch(n: i64) -> Option<i64> {
    if n > SECONDS_MAX { n.checked_mul(1_000_000) } else { n.checked_mul(1_000_000_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_mapped_addresses_too() {
        let ten = Block::parse("10.0.0.0/8").unwrap();
        let holds = |block: Block, text: &str| block.holds(text.parse().unwrap());
        assert!(holds(ten, "10.255.0.1") && holds(ten, "::ffff:10.0.0.1") && !holds(ten, "11.0.0.1"));
        assert!(!holds(ten, "a00::1"));
        let six = Block::parse("2001:db8::/32").unwrap();
        assert!(holds(six, "2001:db8:1::1") && !holds(six, "2001:db9::1"));
        assert!(holds(Block::parse("0.0.0.0/0").unwrap(), "1.2.3.4"));
        assert!(!holds(Block::parse("0.0.0.0/0").unwrap(), "2001::1"));
        assert!(
            holds(Block::parse("::/0").unwrap(), "2001::1")
                && !holds(Block::parse("::/0").unwrap(), "1.2.3.4")
        );
        assert!(holds(Block::parse("10.1.2.3").unwrap(), "10.1.2.3"));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "x"] {
            assert_eq!(Block::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_time_is_read_in_the_usual_forms() {
        let at = |text: &str| time(&Cell::Text(text.into()));
        let at_noon = 1_767_268_800_000_000_000;
        let noon = Some(at_noon);
        assert_eq!(at("2026-01-01T12:00:00Z"), noon);
        assert_eq!(at("2026-01-01T13:00:00+01:00"), noon);
        assert_eq!(at("2026-01-01 12:00:00"), noon);
        assert_eq!(at("2026-01-01T12:00:00.000"), noon);
        assert_eq!(time(&Cell::Int(1_767_268_800)), noon);
        assert_eq!(time(&Cell::Int(1_767_268_800_000)), noon);
        assert_eq!((at("yesterday"), at(""), time(&Cell::Int(i64::MAX))), (None, None, None));
        let part = |part: TimePart| part.of(at_noon).unwrap();
        assert_eq!((part(TimePart::Hour), part(TimePart::Week), part(TimePart::Year)), (12, 1, 2026));
    }

    #[test]
    fn numbers_are_whole_texts() {
        assert_eq!(
            (number("5"), number("-1.5e3"), number("5 "), number("x5")),
            (Some(5.0), Some(-1500.0), None, None)
        );
        assert_eq!((number("inf"), number("nan"), number(""), number("1e999")), (None, None, None, None));
    }
}
