//! Times as text, without a calendar library.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The system's clock, Unix ns.
pub(crate) fn system_ns() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(ns: u64) -> String {
    let (seconds, ms) = (ns / 1_000_000_000, ns / 1_000_000 % 1000);
    let (year, month, day) = civil(seconds / 86_400);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

/// The date of a mail (RFC 5322), in UTC.
pub(crate) fn mail_date(ns: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let seconds = ns / 1_000_000_000;
    let day_number = seconds / 86_400;
    let (year, month, day) = civil(day_number);
    let weekday = DAYS.get((day_number % 7) as usize).unwrap_or(&"Thu");
    let month = usize::try_from(month).ok().and_then(|m| MONTHS.get(m.checked_sub(1)?)).unwrap_or(&"Jan");
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {day:02} {month} {year:04} {h:02}:{m:02}:{s:02} +0000")
}

/// Year, month and day of a day since 1970-01-01 (Howard Hinnant's algorithm, for days from then on).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day_of_year - (153 * mp + 2) / 5 + 1)
}

/// Unix seconds of an HTTP date in its preferred form (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(text: &str) -> Option<u64> {
    let rest = text.get(5..).filter(|_| text.len() == 29 && text.ends_with(" GMT"))?;
    let number = |from: usize, to: usize| rest.get(from..to)?.parse::<u64>().ok();
    let month = MONTHS.iter().position(|m| rest.get(3..6) == Some(m))? as u64 + 1;
    let (day, year) = (number(0, 2)?, number(7, 11)?);
    let (h, m, s) = (number(12, 14)?, number(15, 17)?, number(18, 20)?);
    if year < 1970 || !(1..=31).contains(&day) || h > 23 || m > 59 || s > 60 {
        return None;
    }
    Some(days(year, month, day) * 86_400 + h * 3600 + m * 60 + s)
}

/// Day since 1970-01-01 of a date from then on.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let y = year - u64::from(month <= 2);
    let (era, year_of_era) = (y / 400, y % 400);
    let mp = (month + 9) % 12;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * mp + 2) / 5 + day - 1;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times_are_written_and_read() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_790_000_000_123_456_789), "2026-09-21T14:13:20.123Z");
        assert_eq!(rfc3339(951_782_400_000_000_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(mail_date(784_111_777_000_000_000), "Sun, 06 Nov 1994 08:49:37 +0000");
        for bad in [
            "",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Xxx 1994 08:49:37 GMT",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sün, 06 Nov 1994 08:49:37GMT",
        ] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn days_and_dates_agree(day in 0..4_000_000u64) {
            let (y, m, d) = civil(day);
            prop_assert_eq!(days(y, m, d), day);
        }
    }
}
