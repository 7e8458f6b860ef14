//! Nanoseconds since 1970 as RFC 3339 UTC with nine digits, and back. Proleptic Gregorian, years 0 to 9999.

const NS: i128 = 1_000_000_000;
const DAY: i64 = 86_400;
/// First and last second that four digits of year can write.
const FIRST: i64 = -62_167_219_200;
const LAST: i64 = 253_402_300_799;

/// `2026-09-21T14:13:20.000000000Z`; `None` beyond the years 0 to 9999.
pub fn rfc3339(ns: i128) -> Option<String> {
    let seconds = i64::try_from(ns.div_euclid(NS)).ok()?;
    if !(FIRST..=LAST).contains(&seconds) {
        return None;
    }
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = ns.rem_euclid(NS);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z"))
}

/// Nanoseconds of such a time; one to nine digits of fraction, or none; only `Z`. `None` for anything else.
pub fn parse_rfc3339(text: &str) -> Option<i128> {
    let text = text.strip_suffix('Z')?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let bytes = whole.as_bytes();
    if bytes.len() != 19 {
        return None;
    }
    let number = |from: usize, to: usize| digits(bytes.get(from..to)?);
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, want)| bytes[*at] != *want) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let days = days(year, month, day);
    let exists = (1..=12).contains(&month)
        && date(days) == (year, month, day)
        && hour < 24
        && minute < 60
        && second < 60;
    let nanos = match fraction {
        None => Some(0),
        Some(fraction) if (1..=9).contains(&fraction.len()) => {
            digits(fraction.as_bytes()).map(|n| n * 10_i64.pow(9 - fraction.len() as u32))
        }
        Some(_) => None,
    }?;
    let seconds = days * DAY + hour * 3600 + minute * 60 + second;
    exists.then_some(i128::from(seconds) * NS + i128::from(nanos))
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |n, byte| byte.is_ascii_digit().then(|| n * 10 + i64::from(byte - b'0')))
}

/// Year, month, day of a day number; eras of 400 years from 1 March of year 0.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Day number of a date, the inverse of [`date`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    era * 146_097 + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - 719_468
}
