//! Times as logs write them, to UTC nanoseconds since 1970.
//!
//! A time that names its zone is [`TimeBasis::Stated`]; one whose zone or year had to be supplied is
//! [`TimeBasis::Derived`], and without a zone it is read as UTC. Leap seconds count as the second before. Years
//! 1678 to 2261, the range of 64-bit nanoseconds.

use countersign_event::TimeBasis;

/// An instant and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// UTC nanoseconds since 1970.
    pub ns: i64,
    /// Stated, or derived because year or zone was missing.
    pub basis: TimeBasis,
}

const DAY: i64 = 86_400;
const SECOND: i64 = 1_000_000_000;

/// Calendar fields as read.
#[derive(Clone, Copy, Default)]
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
}

impl Fields {
    /// With `offset` seconds east of UTC; `None` = the text had no zone.
    fn stamp(self, offset: Option<i64>) -> Option<Stamp> {
        let Fields { year, month, day, hour, minute, second, nanos } = self;
        let valid = (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day)
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..=60).contains(&second);
        if !valid {
            return None;
        }
        let seconds = days(year, month, day) * DAY + hour * 3_600 + minute * 60 + second.min(59);
        let ns = seconds.checked_sub(offset.unwrap_or(0))?.checked_mul(SECOND)?.checked_add(nanos)?;
        let basis = if offset.is_some() { TimeBasis::Stated } else { TimeBasis::Derived };
        Some(Stamp { ns, basis })
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // The year begins in March, so that the leap day is its last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let of_year = (153 * m + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The year, in UTC, of an instant.
fn year_of(ns: i64) -> i64 {
    let day = ns.div_euclid(SECOND * DAY);
    // Never too late: years have 365 or 366 days.
    let mut year = 1969 + day.div_euclid(365).min(day.div_euclid(366));
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    year
}

/// A text read from left to right.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn digits(&mut self, most: usize) -> Option<i64> {
        let n = self.0.iter().take(most).take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at_checked(n).filter(|_| n > 0)?;
        self.0 = rest;
        Some(digits.iter().fold(0, |number, b| number * 10 + i64::from(b - b'0')))
    }
    fn exactly(&mut self, count: usize) -> Option<i64> {
        let before = self.0.len();
        self.digits(count).filter(|_| before - self.0.len() == count)
    }
    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first().filter(|(b, _)| bytes.contains(b))?;
        self.0 = rest;
        Some(*first)
    }
    fn blanks(&mut self) {
        while self.one_of(b" ").is_some() {}
    }
    /// `hh:mm:ss` with a fraction behind a point or comma; digits behind the ninth are dropped.
    fn clock(&mut self, fields: &mut Fields) -> Option<()> {
        fields.hour = self.digits(2)?;
        self.one_of(b":")?;
        fields.minute = self.exactly(2)?;
        self.one_of(b":")?;
        fields.second = self.exactly(2)?;
        if matches!(self.0, [b'.' | b',', b'0'..=b'9', ..]) {
            self.0 = &self.0[1..];
            let before = self.0.len();
            let digits = self.digits(9)?;
            fields.nanos = digits * 10_i64.pow(9 - (before - self.0.len()) as u32);
            while self.digits(9).is_some() {}
        }
        Some(())
    }
    /// `Z`, `UTC`, `GMT`, `+hh:mm`, `+hhmm`, `+hh`: seconds east. `None` at the end of the text.
    fn zone(&mut self) -> Option<Option<i64>> {
        if self.0.is_empty() {
            return Some(None);
        }
        for name in [&b"Z"[..], b"z", b"UTC", b"GMT"] {
            if self.0 == name {
                return Some(Some(0));
            }
        }
        let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.exactly(2)?;
        self.one_of(b":");
        let minutes = if self.0.is_empty() { 0 } else { self.exactly(2)? };
        (self.0.is_empty() && hours < 24 && minutes < 60)
            .then_some(Some(sign * (hours * 3_600 + minutes * 60)))
    }
    fn month(&mut self) -> Option<i64> {
        const NAMES: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let (name, rest) = self.0.split_at_checked(3)?;
        let month = NAMES.chunks(3).position(|known| known.eq_ignore_ascii_case(name))?;
        self.0 = rest;
        Some(month as i64 + 1)
    }
}

/// RFC 3339 and its looser relatives: `2024-01-20T13:54:06.868520Z`, a blank, `/` or `_` between, a comma before the
/// fraction, `+0200`, a blank before the zone, a named `UTC`, no zone at all.
pub fn rfc3339(text: &str) -> Option<Stamp> {
    let mut reader = Reader(text.as_bytes());
    let mut fields = Fields { year: reader.exactly(4)?, ..Fields::default() };
    let between = reader.one_of(b"-/")?;
    fields.month = reader.exactly(2)?;
    reader.one_of(&[between])?;
    fields.day = reader.exactly(2)?;
    reader.one_of(b"Tt _")?;
    reader.clock(&mut fields)?;
    reader.blanks();
    let zone = reader.zone()?;
    fields.stamp(zone)
}

/// `08/Jun/2020:06:49:01 +0000`, as in the common log format; a fraction is allowed, as HAProxy writes it.
pub fn clf(text: &str) -> Option<Stamp> {
    let mut reader = Reader(text.as_bytes());
    let mut fields = Fields { day: reader.exactly(2)?, ..Fields::default() };
    reader.one_of(b"/")?;
    fields.month = reader.month()?;
    reader.one_of(b"/")?;
    fields.year = reader.exactly(4)?;
    reader.one_of(b":")?;
    reader.clock(&mut fields)?;
    reader.blanks();
    let zone = reader.zone()?;
    fields.stamp(zone)
}

/// `Mar 13 12:08:33`, as in RFC 3164: the year is the one that brings it nearest before `now`, at most 24 hours
/// ahead. Nanoseconds since 1970 are meant by `now`.
pub fn rfc3164(text: &str, now: i64) -> Option<Stamp> {
    let mut reader = Reader(text.as_bytes());
    let mut fields = Fields { month: reader.month()?, ..Fields::default() };
    reader.one_of(b" ")?;
    reader.blanks();
    fields.day = reader.digits(2)?;
    reader.one_of(b" ")?;
    reader.clock(&mut fields)?;
    if !reader.0.is_empty() {
        return None;
    }
    let this = year_of(now);
    let latest = now.saturating_add(DAY * SECOND);
    // 29 February may be eight years back.
    (this - 8..=this + 1).rev().find_map(|year| {
        let stamp = Fields { year, ..fields }.stamp(None)?;
        (stamp.ns <= latest).then_some(stamp)
    })
}

/// The number of a month by the first three letters of its English name, 1 to 12.
pub fn month(name: &str) -> Option<i64> {
    Reader(name.as_bytes()).month()
}

/// A date whose parts stand in another order, and a time of day with or without a zone.
pub fn parts(year: &str, month: i64, day: &str, clock: &str) -> Option<Stamp> {
    rfc3339(&format!("{year}-{month:02}-{day:0>2}T{clock}"))
}

/// `Mon Apr 12 15:19:22 2021`, as `ctime` of C writes it; the weekday may be missing.
pub fn ctime(text: &str) -> Option<Stamp> {
    let mut words = text.split_ascii_whitespace().rev();
    let (year, clock, day, month) = (words.next()?, words.next()?, words.next()?, words.next()?);
    parts(year, self::month(month)?, day, clock)
}

/// Seconds since 1970 with any number of decimals, as `1693840792.5886028`.
pub fn unix_seconds(text: &str) -> Option<Stamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().any(|b| !b.is_ascii_digit()) {
        return None;
    }
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    let nanos =
        fraction.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    let ns = seconds.checked_mul(SECOND)?.checked_add(if negative { -nanos } else { nanos })?;
    Some(Stamp { ns, basis: TimeBasis::Stated })
}

/// `number` units of `unit` nanoseconds since 1970.
pub fn unix(number: i64, unit: i64) -> Option<Stamp> {
    Some(Stamp { ns: number.checked_mul(unit)?, basis: TimeBasis::Stated })
}

/// Seconds with decimals, as `0.037`, to nanoseconds of a length of time; `None` if negative or not a number.
pub fn seconds(text: &str) -> Option<u64> {
    u64::try_from(unix_seconds(text)?.ns).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_710_331_713 * SECOND; // 2024-03-13T12:08:33Z

    fn stated(ns: i64) -> Option<Stamp> {
        Some(Stamp { ns, basis: TimeBasis::Stated })
    }
    fn derived(ns: i64) -> Option<Stamp> {
        Some(Stamp { ns, basis: TimeBasis::Derived })
    }

    #[test]
    fn each_spelling_is_the_same_instant() {
        let s = SECOND;
        assert_eq!(rfc3339("2024-03-13T12:08:33Z"), stated(NOW));
        assert_eq!(rfc3339("2024-03-13 14:08:33+02:00"), stated(NOW));
        assert_eq!(rfc3339("2024-03-13T14:08:33.000 +0200"), stated(NOW));
        assert_eq!(rfc3339("2024/03/13 12:08:33,5 UTC"), stated(NOW + s / 2));
        assert_eq!(rfc3339("2024-03-13 12:08:33.000000001999"), derived(NOW + 1));
        assert_eq!(clf("13/Mar/2024:12:08:33 +0000"), stated(NOW));
        assert_eq!(clf("13/Mar/2024:12:08:33.250"), derived(NOW + s / 4));
        assert_eq!(unix_seconds("1710331713"), stated(NOW));
        assert_eq!(unix_seconds("1710331713.0000000015"), stated(NOW + 1));
        assert_eq!(unix_seconds("-0.5"), stated(-s / 2));
        assert_eq!(unix(1_710_331_713_000, 1_000_000), stated(NOW));
        assert_eq!(seconds("0.037"), Some(37_000_000));
    }

    #[test]
    fn a_missing_year_is_the_nearest_before() {
        assert_eq!(rfc3164("Mar 13 12:08:33", NOW), derived(NOW));
        assert_eq!(rfc3164("Mar  3 12:08:33", NOW), derived(NOW - 10 * DAY * SECOND));
        // New Year's Eve read on New Year's Day, and a clock some hours ahead.
        let new_year = 1_704_067_200 * SECOND;
        assert_eq!(rfc3164("Dec 31 23:59:59", new_year), derived(new_year - SECOND));
        assert_eq!(rfc3164("Jan  1 05:00:00", new_year), derived(new_year + 5 * 3_600 * SECOND));
        assert_eq!(rfc3164("Feb 29 00:00:00", 1_740_787_200 * SECOND), derived(1_709_164_800 * SECOND));
    }

    #[test]
    fn what_no_calendar_has_is_no_time() {
        for text in
            ["2024-02-30T00:00:00Z", "2024-13-01T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00+2"]
        {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        assert_eq!(rfc3339("9999-01-01T00:00:00Z"), None);
        assert_eq!(unix_seconds("99999999999999"), None);
    }

    proptest! {
        #[test]
        fn every_second_is_read_as_it_is_written(second in -9_000_000_000_i64..9_000_000_000) {
            let (day, rest) = (second.div_euclid(DAY), second.rem_euclid(DAY));
            let year = year_of(second * SECOND);
            let month = (1..=12).rev().find(|m| days(year, *m, 1) <= day).unwrap();
            let date = day - days(year, month, 1) + 1;
            let text = format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60);
            prop_assert_eq!(rfc3339(&text), stated(second * SECOND));
        }
        #[test]
        fn any_text_is_judged_without_panic(text in any::<String>(), now in any::<i64>()) {
            let _ = (rfc3339(&text), clf(&text), rfc3164(&text, now / 4), unix_seconds(&text), seconds(&text));
        }
    }
}
