//! Captured text on its way to people: every character that hides, moves the cursor or turns the
//! reading direction becomes a visible token.
//!
//! Not an escaper of markup: maud does that. Invariant: what [`visible`] returns holds no control, bidi
//! control, zero-width or tag character, so it is safe on a page and in a terminal alike.

use maud::{Markup, html};
use std::borrow::Cow;

/// Most characters of one captured text on a page; the JSON interface has the whole.
pub(crate) const SHOWN_MAX: usize = 2_048;

/// The text with every invisible character drawn: `␛`, `U+202E`.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match u32::from(c) {
            n @ 0..0x20 => out.push(char::from_u32(0x2400 + n).unwrap_or('\u{fffd}')),
            0x7f => out.push('\u{2421}'),
            n if is_hidden(c) => out.push_str(&format!("U+{n:04X}")),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Controls (C0, DEL, C1), soft hyphen, bidi controls, zero-width and format characters, tags.
fn is_hidden(c: char) -> bool {
    matches!(u32::from(c),
        0..=0x1f | 0x7f..=0x9f | 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e
        | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

/// Captured text as markup: isolated, visible, cut at [`SHOWN_MAX`] characters.
pub(crate) fn captured(text: &str) -> Markup {
    let shown = visible(text);
    match shown.char_indices().nth(SHOWN_MAX) {
        Some((cut, _)) => html! { bdi { (&shown[..cut]) "…" } },
        None => html! { bdi { (shown) } },
    }
}

/// A value for a POSIX shell; `None` if it holds a control character and must not be pasted.
pub(crate) fn shell(text: &str) -> Option<String> {
    if text.chars().any(is_hidden) {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Some(text.to_owned());
    }
    Some(format!("'{}'", text.replace('\'', "'\\''")))
}

/// A value inside a URL's query: everything but unreserved characters percent-encoded.
pub(crate) fn query_value(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A duration as people say it.
pub(crate) fn duration(ns: i64) -> String {
    match ns {
        i64::MIN..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..10_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        1_000_000_000..60_000_000_000 => format!("{:.2} s", ns as f64 / 1e9),
        60_000_000_000..7_200_000_000_000 => format!("{} min", ns / 60_000_000_000),
        _ => format!("{} h", ns / 3_600_000_000_000),
    }
}

/// How a line of a timeline belongs to its event (`joined` and `score` of the store's answer), in words. What is
/// inferred says so.
pub fn belongs(joined: &str, score: Option<u64>) -> String {
    let how = match joined {
        "this" => "this event",
        "trace" => "same trace",
        "corr" => "same request id",
        "cause" => "its cause",
        "caused" => "made for it",
        other => other,
    };
    match score {
        Some(score) => format!("probably (score {score} of 1000): {how}"),
        None => how.to_owned(),
    }
}

/// A count with thin spaces between thousands.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + 6);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// The quoted literal of the filter language for any text.
pub(crate) fn filter_value(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '*' => out.push_str("\\*"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The last part of an identity, which is what people call it: `spiffe://td/ns/x/sa/orders` → `orders`.
pub(crate) fn short_name(id: &str) -> &str {
    let last = id.rsplit(['/', '#']).next().unwrap_or(id);
    if last.is_empty() { id } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_become_visible_tokens() {
        assert_eq!(visible("a\u{1b}[31mb\u{202e}c\u{200b}\u{9b}\n"), "a␛[31mbU+202EcU+200BU+009B␊");
        assert_eq!(visible("Grüße 你好"), "Grüße 你好");
    }

    #[test]
    fn long_text_is_cut_on_a_character() {
        let page = captured(&"ü".repeat(SHOWN_MAX + 5)).into_string();
        assert!(page.ends_with("ü…</bdi>") && page.len() < 2 * SHOWN_MAX + 40);
    }

    #[test]
    fn shell_quotes_and_refuses_controls() {
        assert_eq!(shell("a b'c").as_deref(), Some("'a b'\\''c'"));
        assert_eq!(shell("src:10.0.0.1").as_deref(), Some("src:10.0.0.1"));
        assert_eq!(shell("x\u{1b}"), None);
    }

    #[test]
    fn counts_and_durations_read_well() {
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(
            (duration(12_345_678), duration(950), duration(1_500_000_000)),
            ("12 ms".into(), "950 ns".into(), "1.50 s".into())
        );
    }
}
