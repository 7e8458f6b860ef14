//! Sizes and time spans as people write them, in both directions.

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];
const SPANS_MS: [(&str, u64); 5] =
    [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// Bytes of a size like `64KiB`; a bare number is bytes. `None` when it is none.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZES, 1)
}

/// Milliseconds of a span like `250ms`, `10s`, `1h`, `2d`. `None` when it is none.
pub(crate) fn parse_span_ms(text: &str) -> Option<u64> {
    parse(text, &SPANS_MS, 0)
}

/// `bare` = what a number without unit is multiplied with; 0 = not allowed.
fn parse(text: &str, units: &[(&str, u64)], bare: u64) -> Option<u64> {
    let text = text.trim();
    for (unit, factor) in units {
        if let Some(value) = text.strip_suffix(unit).and_then(|number| decimal(number, *factor)) {
            return Some(value);
        }
    }
    if bare == 0 { None } else { decimal(text, bare) }
}

/// `1.5` × `factor`, exactly; at most three decimals.
fn decimal(text: &str, factor: u64) -> Option<u64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || (text.contains('.') && !digits(fraction)) || fraction.len() > 3 {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse::<u64>().ok()?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    whole.checked_add(thousandths.checked_mul(factor)? / 1_000)
}

/// A size in the largest unit that divides it.
pub(crate) fn size(bytes: u64) -> String {
    let units = &SIZES[..3];
    match units.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// A size for people: three digits and a unit.
pub(crate) fn size_rough(bytes: u64) -> String {
    match SIZES[..3].iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) => format!("{:.1} {unit}", bytes as f64 / *factor as f64),
        None => format!("{bytes} B"),
    }
}

/// A span in the largest unit that divides it.
pub(crate) fn span_ms(ms: u64) -> String {
    for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms >= factor && ms.is_multiple_of(factor) {
            return format!("{}{unit}", ms / factor);
        }
    }
    format!("{ms}ms")
}

/// A duration in nanoseconds for people: `1.24 ms`.
pub(crate) fn duration_rough(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_are_read_as_written() {
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("1.5 MiB"), Some(1_572_864));
        assert_eq!(parse_size("10"), Some(10));
        assert_eq!(parse_size("10XB"), None);
        assert_eq!(parse_size("-1"), None);
        assert_eq!(parse_size("99999999999999GiB"), None);
        assert_eq!(parse_span_ms("250ms"), Some(250));
        assert_eq!(parse_span_ms("1.5s"), Some(1_500));
        assert_eq!(parse_span_ms("2d"), Some(172_800_000));
        assert_eq!(parse_span_ms("10"), None, "a span needs its unit");
        assert_eq!(parse_span_ms("1..5s"), None);
    }

    #[test]
    fn printed_values_read_back() {
        for bytes in [1, 1_023, 1_024, 65_536, 1 << 30, (1 << 20) + 1] {
            assert_eq!(parse_size(&size(bytes)), Some(bytes));
        }
        for ms in [1, 999, 1_000, 60_000, 90_000, 86_400_000] {
            assert_eq!(parse_span_ms(&span_ms(ms)), Some(ms));
        }
    }
}
