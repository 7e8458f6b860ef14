//! What the records of one stream are, once enough of them agree.
//!
//! Record by record, any format may be found; a stream is mostly of one. Of its first [`FIRST`] records at least
//! [`SHARE`] % must be of the same format and understood, at least in part; then that format is asked first. A record
//! that it does not take is found out as before. After [`FAILURES`] such records in a row the choice is given up, and
//! made anew. Not a judge of records: what none takes is raw either way.

use crate::formats::{Format, by_name};
use countersign_event::CaptureConf;

/// Records that a choice is made of.
pub const FIRST: u32 = 64;
/// How many of a hundred must agree.
pub const SHARE: u32 = 95;
/// Records in a row that end a choice.
pub const FAILURES: u32 = 16;

/// A choice, and how many in a thousand of the first records agreed.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The format.
    pub format: &'static Format,
    /// 950 to 1,000.
    pub score: u32,
}

/// See the module; one a stream.
#[derive(Clone, Debug, Default)]
pub struct Sticky {
    seen: u32,
    /// Records by format.
    by: Vec<(&'static str, u32)>,
    chosen: Option<Choice>,
    failed: u32,
}

impl Sticky {
    /// The format to ask first.
    pub fn format(&self) -> Option<&'static Format> {
        self.chosen.map(|choice| choice.format)
    }

    /// A record was of format `name`, understood so far. Gives a choice that was just made.
    pub fn saw(&mut self, name: &str, conf: Option<CaptureConf>) -> Option<Choice> {
        let known = by_name(name).filter(|_| conf != Some(CaptureConf::RawOnly));
        if let Some(choice) = self.chosen {
            let failed = known.is_none_or(|format| format.name != choice.format.name);
            self.failed = if failed { self.failed + 1 } else { 0 };
            if self.failed >= FAILURES {
                *self = Sticky::default();
            }
            return None;
        }
        self.seen += 1;
        if let Some(format) = known {
            match self.by.iter_mut().find(|(other, _)| *other == format.name) {
                Some((_, count)) => *count += 1,
                None => self.by.push((format.name, 1)),
            }
        }
        if self.seen < FIRST {
            return None;
        }
        let best = self.by.iter().max_by_key(|(_, count)| *count).copied();
        let agreed = best.filter(|(_, count)| count * 100 >= SHARE * self.seen);
        let choice = agreed.and_then(|(name, count)| {
            Some(Choice { format: by_name(name)?, score: count * 1_000 / self.seen })
        });
        *self = Sticky { chosen: choice, ..Sticky::default() };
        choice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(sticky: &mut Sticky, name: &str, times: u32) -> Option<Choice> {
        let conf = if name == "unknown" { CaptureConf::RawOnly } else { CaptureConf::Full };
        (0..times).filter_map(|_| sticky.saw(name, Some(conf))).last()
    }

    #[test]
    fn a_choice_needs_nineteen_of_twenty_and_is_made_once() {
        let mut sticky = Sticky::default();
        feed(&mut sticky, "unknown", 3);
        let choice = feed(&mut sticky, "combined", 61).unwrap();
        assert_eq!((choice.format.name, choice.score), ("combined", 953));
        assert!(feed(&mut sticky, "combined", 500).is_none());
        let mut sticky = Sticky::default();
        feed(&mut sticky, "syslog", 4);
        assert!(feed(&mut sticky, "combined", 60).is_none() && sticky.format().is_none());
        assert!(feed(&mut sticky, "combined", 64).is_some(), "the next records are looked at anew");
    }

    #[test]
    fn a_choice_ends_after_sixteen_failures_in_a_row_and_not_before() {
        let mut sticky = Sticky::default();
        feed(&mut sticky, "combined", 64);
        feed(&mut sticky, "unknown", 15);
        feed(&mut sticky, "combined", 1);
        feed(&mut sticky, "unknown", 15);
        assert!(sticky.format().is_some());
        feed(&mut sticky, "json", 1);
        assert!(sticky.format().is_none());
        assert_eq!(feed(&mut sticky, "json", 64).unwrap().format.name, "json");
    }

    #[test]
    fn records_that_nobody_understands_choose_nothing() {
        let mut sticky = Sticky::default();
        assert!(feed(&mut sticky, "unknown", 640).is_none() && sticky.format().is_none());
    }
}
