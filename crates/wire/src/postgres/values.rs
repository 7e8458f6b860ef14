//! A parameter as text, by its type's OID (`pg_type.dat` of the server's source; fixed for built-in types).
//!
//! Invariants: linear in what is shown; a binary form that is not known, or is not of its type's length,
//! gives its length and nothing of its bytes.

use std::fmt::Write;

/// Nanoseconds are not kept: timestamps have microseconds, from this many seconds after the Unix epoch
/// (2000-01-01).
const EPOCH_S: i64 = 946_684_800;
/// Most elements of an array that are shown.
const ELEMENTS_MAX: usize = 64;

/// A value of type `oid`, `length` bytes of which `value` is all or the front, as the server's output function
/// prints it: text of at most about `most` bytes (a longer text is cut at a character).
pub fn text(oid: u32, binary: bool, value: &[u8], length: usize, most: usize) -> String {
    let shown = match (binary, oid) {
        (false, _) | (true, 18 | 19 | 25 | 114 | 142 | 705 | 1042 | 1043) => {
            Some(from_text(value, length, most))
        }
        (true, 3802) => {
            value.strip_prefix(b"\x01").map(|json| from_text(json, length.saturating_sub(1), most))
        }
        (true, 17) => Some(bytea(value, length, most)),
        // Of other types a front says nothing.
        (true, _) if value.len() < length => None,
        (true, _) => from_binary(oid, value, most),
    };
    shown.unwrap_or_else(|| format!("<{length} bytes of type {oid}>"))
}

fn from_text(value: &[u8], length: usize, most: usize) -> String {
    let front = value.get(..most).unwrap_or(value);
    let mut text = String::from_utf8_lossy(front).into_owned();
    if front.len() < length {
        // The cut may have split a character.
        while text.ends_with('\u{fffd}') {
            text.pop();
        }
        let _ = write!(text, "… <{length} bytes>");
    }
    text
}

fn from_binary(oid: u32, value: &[u8], most: usize) -> Option<String> {
    Some(match oid {
        16 => if *value.first()? == 0 { "f" } else { "t" }.to_owned(),
        17 => bytea(value, value.len(), most),
        20 => i64::from_be_bytes(value.try_into().ok()?).to_string(),
        21 => i16::from_be_bytes(value.try_into().ok()?).to_string(),
        23 => i32::from_be_bytes(value.try_into().ok()?).to_string(),
        26 | 24 | 2205 => u32::from_be_bytes(value.try_into().ok()?).to_string(),
        700 => {
            let value = f32::from_be_bytes(value.try_into().ok()?);
            float(&format!("{value:e}"), &value.to_string(), 6)
        }
        701 => {
            let value = f64::from_be_bytes(value.try_into().ok()?);
            float(&format!("{value:e}"), &value.to_string(), 15)
        }
        // "char", name, text, json, xml, unknown, bpchar, varchar.
        18 | 19 | 25 | 114 | 142 | 705 | 1042 | 1043 => from_text(value, value.len(), most),
        3802 => from_text(value.strip_prefix(b"\x01")?, value.len() - 1, most),
        1186 => interval(value)?,
        1082 => date(i64::from(i32::from_be_bytes(value.try_into().ok()?))),
        1083 => time(i64::from_be_bytes(value.try_into().ok()?)),
        1114 => timestamp(i64::from_be_bytes(value.try_into().ok()?), ""),
        1184 => timestamp(i64::from_be_bytes(value.try_into().ok()?), "+00"),
        1700 => numeric(value)?,
        2950 => uuid(value)?,
        _ => return element(oid).and_then(|of| array(of, value, most)),
    })
}

/// Type of the elements of an array type.
fn element(oid: u32) -> Option<u32> {
    Some(match oid {
        1000 => 16,
        1001 => 17,
        1005 => 21,
        1007 => 23,
        1016 => 20,
        1009 => 25,
        1015 => 1043,
        1014 => 1042,
        1021 => 700,
        1022 => 701,
        1115 => 1114,
        1185 => 1184,
        1182 => 1082,
        1231 => 1700,
        2951 => 2950,
        199 => 114,
        3807 => 3802,
        _ => return None,
    })
}

/// The shortest digits that read back the same, as the server arranges them (`double_to_shortest_decimal_buf` in
/// its d2s.c): with an exponent below 1e-4 and from `digits` digits on.
fn float(scientific: &str, plain: &str, digits: i32) -> String {
    match plain {
        "inf" => return "Infinity".to_owned(),
        "-inf" => return "-Infinity".to_owned(),
        _ => {}
    }
    match scientific.split_once('e').map(|(front, exponent)| (front, exponent.parse::<i32>())) {
        Some((front, Ok(exponent))) if !(-4..digits).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{front}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => plain.to_owned(),
    }
}

/// Microseconds, days and months, in the server's own style (`EncodeInterval` in datetime.c, style postgres).
fn interval(value: &[u8]) -> Option<String> {
    let value: &[u8; 16] = value.try_into().ok()?;
    let us = i64::from_be_bytes(*value.first_chunk()?);
    let (days, months) = value.get(8..)?.split_first_chunk::<4>()?;
    let (days, months) = (i32::from_be_bytes(*days), i32::from_be_bytes(*months.first_chunk()?));
    let mut out = String::new();
    let mut below = false;
    for (n, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if n != 0 {
            let (gap, plus) = (if out.is_empty() { "" } else { " " }, if below && n > 0 { "+" } else { "" });
            let _ = write!(out, "{gap}{plus}{n} {unit}{}", if n == 1 { "" } else { "s" });
            below = n < 0;
        }
    }
    if us != 0 || out.is_empty() {
        let sign = if us < 0 {
            "-"
        } else if below {
            "+"
        } else {
            ""
        };
        let gap = if out.is_empty() { "" } else { " " };
        let magnitude = i64::try_from(us.unsigned_abs()).ok()?;
        let _ = write!(out, "{gap}{sign}{}", time(magnitude));
    }
    Some(out)
}

/// The front of `length` bytes.
fn bytea(value: &[u8], length: usize, most: usize) -> String {
    let front = value.get(..most / 2).unwrap_or(value);
    let mut out = String::with_capacity(front.len() * 2 + 2);
    out.push_str("\\x");
    for byte in front {
        let _ = write!(out, "{byte:02x}");
    }
    if front.len() < length {
        let _ = write!(out, "… <{length} bytes>");
    }
    out
}

fn uuid(value: &[u8]) -> Option<String> {
    let value: &[u8; 16] = value.try_into().ok()?;
    let mut out = String::with_capacity(36);
    for (at, byte) in value.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
    Some(out)
}

/// Days since 2000-01-01.
fn date(days: i64) -> String {
    match i32::try_from(days) {
        Ok(i32::MAX) => return "infinity".to_owned(),
        Ok(i32::MIN) => return "-infinity".to_owned(),
        _ => {}
    }
    let (year, month, day) = civil(days + EPOCH_S / 86_400);
    if year > 0 {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{:04}-{month:02}-{day:02} BC", 1 - year)
    }
}

/// Microseconds since midnight.
fn time(us: i64) -> String {
    let (seconds, fraction) = (us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
    let mut out = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        let digits = format!("{fraction:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
    out
}

fn timestamp(us: i64, zone: &str) -> String {
    match us {
        i64::MAX => return "infinity".to_owned(),
        i64::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    let day = 86_400_000_000;
    format!("{} {}{zone}", date(us.div_euclid(day)), time(us.rem_euclid(day)))
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// Base-10000 digits with a weight, a sign and a scale (`numeric_send` in the server's numeric.c).
fn numeric(value: &[u8]) -> Option<String> {
    let fields = value.as_chunks::<2>().0;
    let mut fields = fields.iter().map(|b| u16::from_be_bytes(*b));
    let (count, weight, sign, scale) =
        (fields.next()?, fields.next()? as i16, fields.next()?, fields.next()?);
    match sign {
        0xc000 => return Some("NaN".to_owned()),
        0xd000 => return Some("Infinity".to_owned()),
        0xf000 => return Some("-Infinity".to_owned()),
        0 | 0x4000 => {}
        _ => return None,
    }
    let digits: Vec<u16> = fields.take(usize::from(count)).collect();
    if digits.len() != usize::from(count) || digits.iter().any(|d| *d > 9_999) {
        return None;
    }
    let digit = |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    // A weight beyond the digits' number is zeros; some thousand of them are no parameter worth showing.
    if !(-1_000..=1_000).contains(&weight) || scale > 4_000 {
        return None;
    }
    let mut out = String::new();
    if sign == 0x4000 {
        out.push('-');
    }
    let weight = i32::from(weight);
    if weight < 0 {
        out.push('0');
    }
    for at in 0..=weight {
        let _ = if at == 0 { write!(out, "{}", digit(at)) } else { write!(out, "{:04}", digit(at)) };
    }
    if scale > 0 {
        let mut fraction = String::new();
        let mut at = weight + 1;
        while fraction.len() < usize::from(scale) {
            let _ = write!(fraction, "{:04}", digit(at));
            at += 1;
        }
        fraction.truncate(usize::from(scale));
        let _ = write!(out, ".{fraction}");
    }
    Some(out)
}

/// One dimension in full, more as the list of their elements (`array_send` in the server's arrayfuncs.c).
fn array(of: u32, value: &[u8], most: usize) -> Option<String> {
    let mut reader = super::message::Reader::new(value);
    let (dimensions, _nulls, _oid) = (reader.u32()?, reader.u32()?, reader.u32()?);
    if dimensions > 6 {
        return None;
    }
    let mut count = usize::from(dimensions > 0);
    for _ in 0..dimensions {
        count = count.saturating_mul(reader.u32()? as usize);
        let _lower = reader.u32()?;
    }
    let mut out = String::from("{");
    for at in 0..count.min(ELEMENTS_MAX) {
        if at > 0 {
            out.push(',');
        }
        match reader.u32()? {
            u32::MAX => out.push_str("NULL"),
            len => {
                let element = reader.take(len as usize)?;
                out.push_str(&from_binary(of, element, most.saturating_sub(out.len()))?);
            }
        }
        if out.len() >= most {
            break;
        }
    }
    if count > ELEMENTS_MAX {
        let _ = write!(out, ",… <{count} elements>");
    }
    out.push('}');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn binary_forms_read_as_the_server_prints_them() {
        let shown = |oid, value: &[u8]| text(oid, true, value, value.len(), 1_000);
        assert_eq!(shown(23, &(-5_i32).to_be_bytes()), "-5");
        assert_eq!(shown(20, &7_i64.to_be_bytes()), "7");
        assert_eq!(shown(21, &7_i16.to_be_bytes()), "7");
        assert_eq!((shown(16, &[1]), shown(16, &[0])), ("t".to_owned(), "f".to_owned()));
        for (value, text) in [
            (1.5, "1.5"),
            (-0.0, "-0"),
            (1e300, "1e+300"),
            (-1e-300, "-1e-300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123_456_789_012_345.0, "123456789012345"),
            (1_234_567_890_123_456.0, "1.234567890123456e+15"),
            (f64::INFINITY, "Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(shown(701, &f64::to_be_bytes(value)), text);
        }
        assert_eq!(shown(700, &1e6_f32.to_be_bytes()), "1e+06");
        assert_eq!(shown(700, &0.1_f32.to_be_bytes()), "0.1");
        let interval = |us: i64, days: i32, months: i32| {
            shown(1186, &[&us.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat())
        };
        assert_eq!(interval(4_000_005, 3, 0), "3 days 00:00:04.000005");
        assert_eq!(interval(0, 0, 0), "00:00:00");
        assert_eq!(interval(-3_600_000_000, 1, 14), "1 year 2 mons 1 day -01:00:00");
        assert_eq!(interval(1_000_000, -1, -12), "-1 years -1 days +00:00:01");
        assert_eq!(shown(17, &[0, 255]), "\\x00ff");
        assert_eq!(shown(25, "grün".as_bytes()), "grün");
        assert_eq!(shown(3802, b"\x01{\"a\":1}"), "{\"a\":1}");
        assert_eq!(shown(1184, &0_i64.to_be_bytes()), "2000-01-01 00:00:00+00");
        assert_eq!(shown(1114, &(-1_i64).to_be_bytes()), "1999-12-31 23:59:59.999999");
        assert_eq!(shown(1082, &8_460_i32.to_be_bytes()), "2023-03-01");
        assert_eq!(shown(2950, &[0x11; 16]), "11111111-1111-1111-1111-111111111111");
        // 12345.678: digits 1, 2345, 6780; weight 1; scale 3.
        let numeric: Vec<u8> = [3_u16, 1, 0, 3, 1, 2345, 6780].iter().flat_map(|n| n.to_be_bytes()).collect();
        assert_eq!(shown(1700, &numeric), "12345.678");
        let numeric: Vec<u8> = [1_u16, 0xffff, 0x4000, 2, 500].iter().flat_map(|n| n.to_be_bytes()).collect();
        assert_eq!(shown(1700, &numeric), "-0.05");
        let mut array: Vec<u8> = [1_u32, 0, 23, 2, 1].iter().flat_map(|n| n.to_be_bytes()).collect();
        array.extend([0, 0, 0, 4, 0, 0, 0, 9, 255, 255, 255, 255]);
        assert_eq!(shown(1007, &array), "{9,NULL}");
    }

    #[test]
    fn what_is_not_known_shows_its_length_and_nothing_else() {
        assert_eq!(text(600, true, &[1; 16], 16, 100), "<16 bytes of type 600>");
        assert_eq!(text(23, true, &[1; 3], 3, 100), "<3 bytes of type 23>");
        assert_eq!(text(1700, true, &[0xff; 9], 9, 100), "<9 bytes of type 1700>");
        assert_eq!(text(25, false, &[b'x'; 200], 200, 10), "xxxxxxxxxx… <200 bytes>");
        // Only a front was kept.
        assert_eq!(text(25, true, b"xyz", 9_000, 10), "xyz… <9000 bytes>");
        assert_eq!(text(17, true, &[1, 2], 9_000, 10), "\\x0102… <9000 bytes>");
        assert_eq!(text(1007, true, &[0; 40], 9_000, 10), "<9000 bytes of type 1007>");
    }
}
