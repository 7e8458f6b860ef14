//! Times on pages and in addresses: UTC nanoseconds to RFC 3339 and back, and relative times.
//!
//! No clock here: "now" is a parameter. Invariant: whatever is printed carries its offset.

use jiff::Timestamp;

/// RFC 3339 UTC with nine digits, as the JSON interface writes it.
pub(crate) fn rfc3339(ns: i64) -> String {
    match Timestamp::from_nanosecond(i128::from(ns)) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => format!("{ns} ns"),
    }
}

/// For people: milliseconds, UTC.
pub(crate) fn people(ns: i64) -> String {
    let full = rfc3339(ns);
    match (full.get(..10), full.get(11..23)) {
        (Some(day), Some(time)) => format!("{day} {time}Z"),
        _ => full,
    }
}

/// A time of the address grammar: RFC 3339 with offset, `now`, or relative like `-24h`.
pub(crate) fn parse(text: &str, now_ns: i64) -> Option<i64> {
    if text == "now" {
        return Some(now_ns);
    }
    if let Some(back) = text.strip_prefix('-') {
        let unit = back.find(|c: char| !c.is_ascii_digit())?;
        let amount: i64 = back[..unit].parse().ok()?;
        let second = 1_000_000_000_i64;
        let scale = match &back[unit..] {
            "s" => second,
            "m" => 60 * second,
            "h" => 3_600 * second,
            "d" => 86_400 * second,
            "w" => 604_800 * second,
            _ => return None,
        };
        return now_ns.checked_sub(amount.checked_mul(scale)?);
    }
    i64::try_from(text.parse::<Timestamp>().ok()?.as_nanosecond()).ok()
}

/// Midnight UTC of the day of `ns`.
pub(crate) fn midnight(ns: i64) -> i64 {
    ns - ns.rem_euclid(86_400_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_with_nine_digits_and_read_back() {
        let ns = 1_790_000_000_123_456_789;
        assert_eq!(rfc3339(ns), "2026-09-21T14:13:20.123456789Z");
        assert_eq!(people(ns), "2026-09-21 14:13:20.123Z");
        assert_eq!(parse(&rfc3339(ns), 0), Some(ns));
        assert_eq!(rfc3339(1_000_000_000), "1970-01-01T00:00:01.000000000Z");
    }

    #[test]
    fn relative_times_are_taken_from_now() {
        let now = 10 * 86_400_000_000_000;
        assert_eq!(parse("now", now), Some(now));
        assert_eq!(parse("-1h", now), Some(now - 3_600_000_000_000));
        for bad in [
            "",
            "-",
            "-h",
            "-1y",
            "yesterday",
            "2026-01-01",
            "-99999999999999999999s",
            "-9223372036854775807w",
        ] {
            assert_eq!(parse(bad, now), None, "{bad}");
        }
        assert_eq!(parse("2026-01-01T00:00:00+02:00", 0), parse("2025-12-31T22:00:00Z", 0));
    }
}
