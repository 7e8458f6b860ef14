//! How much is usual at an hour: means by hour of the day, weekday and weekend apart, in UTC.
//!
//! A week of learning has each hour of the week once; so hours of the day are pooled over weekdays and over weekends,
//! and an hour of which little is known leans on the other kind of day and on the mean of all. Means are exponentially
//! weighted (the newest counts 1/8 at least), and a sample is cut at thrice what was expected, so that one bad hour does
//! not become usual. Invariants: 250 bytes; the same for the same hours in the same order, on every machine.

use crate::bytes::{Reader, Saved, Writer};

const HOUR_NS: i64 = 3_600_000_000_000;
/// Share of the newest sample, at least.
const NEWEST: f32 = 0.125;
/// Samples whose weight the leaning has.
const LEAN: f32 = 1.0;
/// Hours after which something is known.
const KNOWN_HOURS: u16 = 24;
/// Hours without an event that are learned one by one; more say nothing new.
const EMPTY_MAX: i64 = 72;
/// Greatest ratio of variance and mean that is believed.
const SPREAD_MAX: f32 = 64.0;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Usual {
    /// Mean by hour: weekdays 0 to 23, weekends 24 to 47.
    cells: [f32; 48],
    seen: [u8; 48],
    mean: f32,
    hours: u16,
    /// Variance of an hour against its mean.
    spread: f32,
}

impl Default for Usual {
    fn default() -> Usual {
        Usual { cells: [0.0; 48], seen: [0; 48], mean: 0.0, hours: 0, spread: 1.0 }
    }
}

/// The hour that a moment (UTC ns) is in.
pub(crate) fn hour_of(at_ns: i64) -> i64 {
    at_ns.div_euclid(HOUR_NS)
}

/// Hour of the day and, 24 later, of the weekend's days. 1 January 1970 was a Thursday.
pub(crate) fn cell(hour: i64) -> usize {
    let weekend = (hour.div_euclid(24) + 3).rem_euclid(7) >= 5;
    hour.rem_euclid(24) as usize + if weekend { 24 } else { 0 }
}

impl Usual {
    /// Whether enough is known to say what is usual.
    pub(crate) fn known(&self) -> bool {
        self.hours >= KNOWN_HOURS
    }

    /// Mean of all hours.
    pub(crate) fn mean(&self) -> f64 {
        f64::from(self.mean)
    }

    /// Variance against mean, at least 1.
    pub(crate) fn spread(&self) -> f64 {
        f64::from(self.spread.max(1.0))
    }

    /// An hour is over in which there was so much.
    pub(crate) fn learn(&mut self, hour: i64, amount: f64) {
        let at = cell(hour);
        let expected = self.expected(hour);
        let mut amount = amount as f32;
        if self.known() {
            let off = amount - expected as f32;
            let spread = (off * off / (expected as f32).max(1.0)).min(SPREAD_MAX);
            self.spread += (spread - self.spread) / 32.0;
            amount = amount.min(3.0 * expected as f32 + 10.0);
        }
        let share = |seen: u16| (1.0 / (f32::from(seen) + 1.0)).max(NEWEST);
        if let (Some(cell), Some(seen)) = (self.cells.get_mut(at), self.seen.get_mut(at)) {
            *cell += (amount - *cell) * share(u16::from(*seen));
            *seen = seen.saturating_add(1);
        }
        self.mean += (amount - self.mean) * (1.0 / (f32::from(self.hours) + 1.0)).max(1.0 / 168.0);
        self.hours = self.hours.saturating_add(1);
    }

    /// The hours after `last` and before `now` were empty.
    pub(crate) fn empty(&mut self, last: i64, now: i64) {
        let first = (last + 1).max(now.saturating_sub(EMPTY_MAX));
        (first..now).for_each(|hour| self.learn(hour, 0.0));
    }

    /// What is usual in an hour.
    pub(crate) fn expected(&self, hour: i64) -> f64 {
        let at = cell(hour);
        let of =
            |at: usize| (self.cells.get(at).copied().unwrap_or(0.0), self.seen.get(at).copied().unwrap_or(0));
        let ((here, seen), (other, other_seen)) = (of(at), of((at + 24) % 48));
        let (seen, other_seen) = (f32::from(seen), f32::from(other_seen));
        let lean = (other * other_seen + self.mean * LEAN) / (other_seen + LEAN);
        f64::from((here * seen + lean * LEAN) / (seen + LEAN))
    }

    /// The most that is usual in this hour and those beside it: what recurs at its hour may be a little early or late.
    pub(crate) fn around(&self, hour: i64) -> f64 {
        [hour - 1, hour, hour + 1].iter().map(|hour| self.expected(*hour)).fold(0.0, f64::max)
    }
}

impl Saved for Usual {
    const MIN_BYTES: usize = 48 * 5 + 10;

    fn write(&self, out: &mut Writer) {
        self.cells.iter().for_each(|cell| out.u32(cell.to_bits()));
        self.seen.iter().for_each(|seen| out.u8(*seen));
        out.u32(self.mean.to_bits());
        out.u16(self.hours);
        out.u32(self.spread.to_bits());
    }

    fn read(from: &mut Reader<'_>) -> Option<Usual> {
        let mut of = Usual::default();
        for cell in &mut of.cells {
            *cell = float(from)?;
        }
        for seen in &mut of.seen {
            *seen = from.u8()?;
        }
        (of.mean, of.hours, of.spread) = (float(from)?, from.u16()?, float(from)?);
        Some(of)
    }
}

/// A finite number of 32 bits.
pub(crate) fn float(from: &mut Reader<'_>) -> Option<f32> {
    from.u32().map(f32::from_bits).filter(|n| n.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Monday, 2 March 2026.
    const MONDAY: i64 = 1_772_409_600 / 3600;

    #[test]
    fn days_and_nights_weekdays_and_weekends_are_told_apart_after_a_week() {
        let mut usual = Usual::default();
        for hour in 0..168 {
            let weekend = hour >= 120;
            let day = (8..18).contains(&(hour % 24));
            usual.learn(
                MONDAY + hour,
                if weekend {
                    1.0
                } else if day {
                    60.0
                } else {
                    5.0
                },
            );
        }
        let noon = usual.expected(MONDAY + 168 + 12);
        let night = usual.expected(MONDAY + 168 + 3);
        let sunday = usual.expected(MONDAY + 168 + 6 * 24 + 12);
        assert!((45.0..61.0).contains(&noon), "{noon}");
        assert!((3.0..12.0).contains(&night), "{night}");
        assert!(sunday < 25.0, "{sunday}");
        assert!(usual.around(MONDAY + 168 + 7) >= 45.0, "an hour early is not strange");
    }

    #[test]
    fn little_is_not_known_and_one_bad_hour_does_not_become_usual() {
        let mut usual = Usual::default();
        (0..23).for_each(|hour| usual.learn(MONDAY + hour, 10.0));
        assert!(!usual.known());
        (23..72).for_each(|hour| usual.learn(MONDAY + hour, 10.0));
        assert!(usual.known());
        usual.learn(MONDAY + 72, 1_000_000.0);
        assert!(usual.expected(MONDAY + 72) < 22.0, "{}", usual.expected(MONDAY + 72));
    }

    proptest! {
        #[test]
        fn it_is_read_back_and_nothing_negative_is_usual(amounts in proptest::collection::vec(0.0..1e6f64, 0..200)) {
            let mut usual = Usual::default();
            amounts.iter().enumerate().for_each(|(hour, amount)| usual.learn(MONDAY + hour as i64, *amount));
            let mut out = Writer::new();
            usual.write(&mut out);
            let bytes = out.done();
            prop_assert_eq!(Usual::read(&mut Reader::new(&bytes)), Some(usual.clone()));
            prop_assert!((0..48).all(|hour| usual.expected(hour) >= 0.0) && usual.spread() >= 1.0);
        }
    }
}
