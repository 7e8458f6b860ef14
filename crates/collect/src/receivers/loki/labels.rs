//! The labels of a stream as PromQL writes them, `{job="a", pod="b\\"c"}`, as a JSON object.
//!
//! Source: Prometheus, "Querying basics", string literals (Go's escapes). What is not of that form stays one text.

use crate::draft::json_text;
use std::fmt::Write as _;

/// The object of `text`; where `text` is no list of labels, `text` itself as a JSON string.
pub(crate) fn labels(text: &str) -> String {
    read(text).unwrap_or_else(|| json_text(text))
}

fn read(text: &str) -> Option<String> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut out = String::from("{");
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let name = name.trim();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.');
        if name.is_empty() || !name.bytes().all(plain) {
            return None;
        }
        let (value, behind) = quoted(behind.trim_start())?;
        let comma = if out.len() > 1 { "," } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(out, "{comma}{}:{}", json_text(name), json_text(&value));
        let behind = behind.trim_start();
        rest = match behind.strip_prefix(',') {
            Some(behind) => behind.trim_start(),
            None if behind.is_empty() => behind,
            None => return None,
        };
    }
    out.push('}');
    Some(out)
}

/// A string between quotation marks or back quotes, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (value, behind) = raw.split_once('`')?;
        return Some((value.to_owned(), behind));
    }
    let inner = text.strip_prefix('"')?;
    let mut out = Vec::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let value = String::from_utf8_lossy(&out).into_owned();
                return Some((value, inner.get(at + 1..)?));
            }
            '\\' => {
                let (_, escape) = chars.next()?;
                let mut hex = |digits: usize| {
                    (0..digits).try_fold(0_u32, |n, _| Some(n << 4 | chars.next()?.1.to_digit(16)?))
                };
                let c = match escape {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    '\\' | '"' | '\'' => escape,
                    'x' => {
                        // A byte, not a character.
                        out.push(u8::try_from(hex(2)?).ok()?);
                        continue;
                    }
                    'u' => char::from_u32(hex(4)?)?,
                    'U' => char::from_u32(hex(8)?)?,
                    _ => return None,
                };
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_become_members_and_what_is_no_list_stays_text() {
        assert_eq!(
            labels(r#"{job="a", pod="b\"\x41\u00e9\n",c=`d\e`, }"#),
            r#"{"job":"a","pod":"b\"Aé\n","c":"d\\e"}"#
        );
        assert_eq!(labels("{}"), "{}");
        for odd in ["", "x", "{a}", "{a=b}", r#"{a="b" c="d"}"#, r#"{a="\q"}"#, r#"{a="b}"#, r#"{a b="c"}"#] {
            assert_eq!(labels(odd), json_text(odd));
        }
    }

    proptest! {
        #[test]
        fn any_text_holds_and_gives_json(text in any::<String>(), value in any::<String>()) {
            prop_assert!(crate::json::Doc::parse(labels(&text).as_bytes()).is_ok());
            let listed = format!("{{a=\"{}\"}}", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
            let read: serde_json::Value = serde_json::from_str(&labels(&listed)).unwrap();
            prop_assert_eq!(read["a"].as_str(), Some(value.as_str()));
        }
    }
}
