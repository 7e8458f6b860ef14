//! An audit record as canonical JSON, and its hash: what a receipt of the audit draft says of it.
//!
//! Source: OpenTelemetry, proposal 0267 and `specification/audit/data-model.md` (drafts); RFC 8785 (JCS). The record's
//! own fields by the names of the data model's table: `Attributes`, `Body`, `EventName`, `ObservedTimestamp`, `SpanId`,
//! `Timestamp`, `TraceId`. Values are wrapped by their type (`{"stringValue":…}`), times and integers beyond 2^53 are
//! decimal strings, ids lower-case hexadecimal, what is absent is left out; severity, flags and the resource are not
//! part of it. The draft leaves the names open: this is our reading, and the guide says so.

use super::{Any, LogRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Integers beyond this are spelled as strings: a double does not hold them.
const SAFE: u64 = 1 << 53;

/// SHA-256 of [`canonical`], lower-case hexadecimal.
pub fn integrity_hash(record: &LogRecord) -> String {
    hex(&Sha256::digest(canonical(record)))
}

/// The canonical JSON of a record.
pub fn canonical(record: &LogRecord) -> String {
    // Keys by UTF-16 code units; of a key given twice the last value counts.
    let mut attributes = BTreeMap::new();
    for pair in &record.attributes {
        let units: Vec<u16> = pair.key.encode_utf16().collect();
        attributes.insert(units, (pair.key.as_str(), pair.value.as_ref().unwrap_or(&Any::Empty)));
    }
    let mut out = String::from("{\"Attributes\":{");
    for (number, (name, value)) in attributes.into_values().enumerate() {
        if number > 0 {
            out.push(',');
        }
        text(&mut out, name);
        out.push(':');
        wrapped(&mut out, value);
    }
    out.push('}');
    if let Some(body) = &record.body {
        out.push_str(",\"Body\":");
        wrapped(&mut out, body);
    }
    let mut named = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(out, ",\"{name}\":");
            text(&mut out, value);
        }
    };
    let time = |time: u64| if time == 0 { String::new() } else { time.to_string() };
    named("EventName", &record.event_name);
    named("ObservedTimestamp", &time(record.observed));
    named("SpanId", &hex(&record.span));
    named("Timestamp", &time(record.time));
    named("TraceId", &hex(&record.trace));
    out.push('}');
    out
}

/// Recursion ends where the decoders end it.
fn wrapped(out: &mut String, value: &Any) {
    // Writing to a String cannot fail.
    let _ = match value {
        Any::Empty => write!(out, "{{"),
        Any::Text(value) => {
            out.push_str("{\"stringValue\":");
            text(out, value);
            Ok(())
        }
        Any::Bool(value) => write!(out, "{{\"boolValue\":{value}"),
        Any::Int(value) if value.unsigned_abs() > SAFE => write!(out, "{{\"intValue\":\"{value}\""),
        Any::Int(value) => write!(out, "{{\"intValue\":{value}"),
        Any::Double(value) => write!(out, "{{\"doubleValue\":{}", double(*value)),
        Any::Bytes(value) => write!(out, "{{\"bytesValue\":\"{}\"", STANDARD.encode(value)),
        Any::Array(values) => {
            out.push_str("{\"arrayValue\":{\"values\":[");
            for (number, value) in values.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                wrapped(out, value);
            }
            write!(out, "]}}")
        }
        Any::Map(pairs) => {
            out.push_str("{\"kvlistValue\":{\"values\":[");
            for (number, pair) in pairs.iter().enumerate() {
                out.push_str(if number > 0 { ",{\"key\":" } else { "{\"key\":" });
                text(out, &pair.key);
                out.push_str(",\"value\":");
                wrapped(out, pair.value.as_ref().unwrap_or(&Any::Empty));
                out.push('}');
            }
            write!(out, "]}}")
        }
    };
    out.push('}');
}

/// RFC 8785 section 3.2.2.2.
fn text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            // Writing to a String cannot fail.
            c if c < ' ' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A number as ECMAScript writes it (RFC 8785 section 3.2.2.3); what JSON has no number for by its name, as OTLP does.
fn double(value: f64) -> String {
    if value.is_nan() {
        return "\"NaN\"".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    // The shortest digits that read back as the same number, and where the point goes.
    let spelled = format!("{:e}", value.abs());
    let (mantissa, exponent) = spelled.split_once('e').unwrap_or((&spelled, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let (point, count) = (exponent.parse::<i32>().unwrap_or(0) + 1, digits.len() as i32);
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    let cut = |at: i32| digits.split_at_checked(usize::try_from(at).unwrap_or(0)).unwrap_or((&digits, ""));
    let plain = match point {
        _ if count <= point && point <= 21 => format!("{digits}{}", zeros(point - count)),
        1..=21 => {
            let (whole, rest) = cut(point);
            format!("{whole}.{rest}")
        }
        -5..=0 => format!("0.{}{digits}", zeros(-point)),
        _ => {
            let (first, rest) = cut(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{first}{dot}{rest}e{:+}", point - 1)
        }
    };
    if value < 0.0 { format!("-{plain}") } else { plain }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::Pair;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_those_of_the_rfc() {
        // RFC 8785 appendix B.
        for (bits, text) in [
            (0x0000_0000_0000_0000_u64, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        ] {
            assert_eq!(double(f64::from_bits(bits)), text, "{bits:x}");
        }
    }

    #[test]
    fn a_record_has_one_spelling_whatever_the_order_of_its_attributes() {
        let pair = |key: &str, value| Pair { key: key.into(), value: Some(value) };
        let mut record = LogRecord {
            time: 1_714_041_600_000_000_000,
            event_name: "a\u{8}\"".into(),
            body: Some(Any::Array(vec![Any::Empty, Any::Bool(true)])),
            attributes: vec![
                pair("\u{ff61}", Any::Int(1 << 60)),
                pair("\u{1f600}", Any::Int(-7)),
                pair("a", Any::Map(vec![pair("k", Any::Bytes(vec![255]))])),
                pair("a", Any::Double(1.5)),
            ],
            trace: vec![0xab],
            severity: 9,
            ..LogRecord::default()
        };
        // U+1F600 is written with units that lie below U+FF61.
        let want = "{\"Attributes\":{\"a\":{\"doubleValue\":1.5},\"\u{1f600}\":{\"intValue\":-7},\"\u{ff61}\":{\"intValue\":\"1152921504606846976\"}},\"Body\":{\"arrayValue\":{\"values\":[{},{\"boolValue\":true}]}},\"EventName\":\"a\\b\\\"\",\"Timestamp\":\"1714041600000000000\",\"TraceId\":\"ab\"}";
        assert_eq!(canonical(&record), want);
        record.attributes.swap(0, 1);
        assert_eq!(canonical(&record), want);
        assert_eq!(integrity_hash(&record).len(), 64);
    }

    proptest! {
        #[test]
        fn numbers_read_back_as_themselves(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(double(value).parse::<f64>().unwrap(), value);
        }

        #[test]
        fn texts_read_back_as_themselves(text in any::<String>()) {
            let record = LogRecord { event_name: text.clone(), ..LogRecord::default() };
            let read: serde_json::Value = serde_json::from_str(&canonical(&record)).unwrap();
            prop_assert_eq!(read["EventName"].as_str().unwrap_or_default(), text);
        }
    }
}
