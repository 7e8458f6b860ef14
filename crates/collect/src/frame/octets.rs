//! Syslog over a stream, RFC 6587: octet counting (`LENGTH SP MESSAGE`, section 3.4.1, also RFC 5425) or messages
//! that end with LF (section 3.4.2), as the sender does it.
//!
//! A message that begins with a digit may be either as long as nothing is known of the sender; then a number
//! followed by a blank is a count. A sender that sent lines sends lines, unless the number is followed by `<`.

use super::lines::Lines;
use super::{Framer, RECORD_MAX, Step};

/// Digits of the longest count that is read.
const DIGITS: usize = 7;
/// Bytes that are looked at for the end of a number.
const NUMBER_MAX: usize = 20;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Octets {
    lines: Lines,
    /// What the sender does; `None` = not known yet.
    counts: Option<bool>,
    /// A line is being read.
    in_line: bool,
}

/// What stands at the front.
enum Front {
    /// A count of so many digits.
    Count(usize, usize),
    Line,
    Absurd,
    Unknown,
}

impl Framer for Octets {
    fn step(&mut self, buf: &[u8], end: bool) -> Step {
        if self.in_line {
            return self.line(buf, end);
        }
        // Some end counted messages with a line break besides.
        if self.counts == Some(true) && matches!(buf.first(), Some(b'\n' | b'\r' | 0)) {
            return Step::Skip { taken: 1, lost: 0 };
        }
        match self.front(buf, end) {
            Front::Unknown => Step::More,
            Front::Absurd => Step::Broken("a count of octets is absurd"),
            Front::Count(count, digits) => {
                let from = digits + 1;
                let Some(_) = buf.get(from..from + count) else {
                    return if end { Step::Broken("a counted message is cut short") } else { Step::More };
                };
                self.counts = Some(true);
                Step::Record { record: from..from + count, taken: from + count, cut: false }
            }
            Front::Line if self.counts == Some(true) && buf.first() != Some(&b'<') => {
                Step::Broken("a count of octets is missing")
            }
            Front::Line => {
                self.in_line = true;
                self.line(buf, end)
            }
        }
    }
}

impl Octets {
    fn line(&mut self, buf: &[u8], end: bool) -> Step {
        let step = self.lines.step(buf, end);
        match &step {
            Step::Record { cut: false, .. } => {
                self.in_line = false;
                self.counts.get_or_insert(false);
            }
            // The end of one that was cut, or an empty one.
            Step::Skip { .. } => self.in_line = !self.lines.is_between(),
            _ => {}
        }
        step
    }

    fn front(&self, buf: &[u8], end: bool) -> Front {
        let digits = buf.iter().take(DIGITS + 1).take_while(|b| b.is_ascii_digit()).count();
        match buf.first() {
            None => return Front::Unknown,
            Some(b'1'..=b'9') => {}
            Some(_) => return Front::Line,
        }
        let lines = self.counts == Some(false);
        if digits > DIGITS {
            // Only a blank behind it makes a number a count; a longer number is no count, and nobody waits for more.
            return match buf.iter().take(NUMBER_MAX).find(|b| !b.is_ascii_digit()) {
                Some(b' ') if !lines => Front::Absurd,
                None if buf.len() < NUMBER_MAX && !end => Front::Unknown,
                _ => Front::Line,
            };
        }
        match (buf.get(digits), buf.get(digits + 1)) {
            (None, _) if !end => Front::Unknown,
            (Some(b' '), None) if !end => Front::Unknown,
            (Some(b' '), next) if !lines || next == Some(&b'<') => {
                let count = buf.get(..digits).unwrap_or_default();
                let count = count.iter().fold(0, |number, b| number * 10 + usize::from(b - b'0'));
                if count > RECORD_MAX { Front::Absurd } else { Front::Count(count, digits) }
            }
            _ => Front::Line,
        }
    }
}
