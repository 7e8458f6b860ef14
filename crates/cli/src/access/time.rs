//! Times as they are typed: RFC 3339, `now`, or how long ago.

use crate::config::units;
use crate::exit::CliError;

/// UTC ns of `2026-03-01T14:00:00Z`, `2026-03-01`, `now`, `15m` or `-2h`; `now_ns` is the clock.
pub(crate) fn parse(flag: &str, text: &str, now_ns: i64) -> Result<i64, CliError> {
    if text == "now" {
        return Ok(now_ns);
    }
    let ago = text.strip_prefix('-').unwrap_or(text);
    if let Some(ms) = units::parse_span_ms(ago) {
        let ns = i64::try_from(ms).ok().and_then(|ms| ms.checked_mul(1_000_000));
        return Ok(now_ns.saturating_sub(ns.unwrap_or(i64::MAX)));
    }
    let parsed = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let date = text.parse::<jiff::civil::Date>().ok()?;
        date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|z| z.timestamp())
    });
    let ns = parsed.and_then(|t| i64::try_from(t.as_nanosecond()).ok());
    ns.ok_or_else(|| {
        CliError::Failed(format!("--{flag} `{text}` is no time: write 2026-03-01T14:00:00Z, 2026-03-01, now, or how long ago: 15m, 2h, 3d"))
    })
}

/// RFC 3339 UTC with nine digits.
pub(crate) fn rfc3339(ns: i64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(ns)) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => ns.to_string(),
    }
}

/// The machine's clock, UTC ns.
pub(crate) fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_are_read() {
        let now = 1_790_000_000_000_000_000;
        assert_eq!(parse("from", "now", now).unwrap(), now);
        assert_eq!(parse("from", "15m", now).unwrap(), now - 900_000_000_000);
        assert_eq!(parse("from", "-2h", now).unwrap(), now - 7_200_000_000_000);
        assert_eq!(parse("from", "1970-01-01T00:00:01Z", now).unwrap(), 1_000_000_000);
        assert_eq!(parse("from", "1970-01-02", now).unwrap(), 86_400_000_000_000);
        assert!(parse("from", "yesterday", now).unwrap_err().to_string().contains("--from `yesterday`"));
    }

    #[test]
    fn printed_times_have_nine_digits_and_read_back() {
        let ns = 1_790_000_000_123_456_789;
        assert_eq!(rfc3339(ns), "2026-09-21T14:13:20.123456789Z");
        assert_eq!(parse("at", &rfc3339(ns), 0).unwrap(), ns);
    }
}
