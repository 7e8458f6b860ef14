//! The texts of rules: wildcards, dashes, and the encodings.
//!
//! Sigma rules specification 2.1, "Special characters": `*` is any run, `?` is one character; a backslash before
//! `*`, `?` or another backslash makes it a plain character, before anything else it is plain itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What `windash` takes for a dash: hyphen, slash, en dash, em dash, horizontal bar.
const DASHES: &str = "[-/\u{2013}\u{2014}\u{2015}]";

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Plain(String),
    /// `*`
    Run,
    /// `?`
    One,
    /// Any of the dashes, by `windash`.
    Dash,
}

/// A text with wildcards; never two plain parts in a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Pattern {
    pub(crate) parts: Vec<Part>,
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Pattern {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.peek() {
                    Some(next @ ('*' | '?' | '\\')) => {
                        plain.push(*next);
                        chars.next();
                    }
                    _ => plain.push('\\'),
                },
                '*' | '?' => {
                    if !plain.is_empty() {
                        parts.push(Part::Plain(std::mem::take(&mut plain)));
                    }
                    parts.push(if c == '*' { Part::Run } else { Part::One });
                }
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Plain(plain));
        }
        Pattern { parts }
    }

    /// The text, if it has no wildcard.
    pub(crate) fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Plain(text)] => Some(text),
            _ => None,
        }
    }

    /// The longest plain piece; empty if there is none.
    pub(crate) fn longest(&self) -> &str {
        let texts = self.parts.iter().map(|part| match part {
            Part::Plain(text) => text.as_str(),
            Part::Run | Part::One | Part::Dash => "",
        });
        texts.max_by_key(|text| text.len()).unwrap_or("")
    }

    /// The same with any dash for each of its dashes; a slash in a rule is a slash.
    pub(crate) fn windash(&self) -> Pattern {
        let dash = |c: char| matches!(c, '-' | '\u{2013}' | '\u{2014}' | '\u{2015}');
        let mut parts = Vec::new();
        for part in &self.parts {
            let Part::Plain(text) = part else {
                parts.push(part.clone());
                continue;
            };
            for (at, piece) in text.split(dash).enumerate() {
                if at > 0 {
                    parts.push(Part::Dash);
                }
                if !piece.is_empty() {
                    parts.push(Part::Plain(piece.to_owned()));
                }
            }
        }
        Pattern { parts }
    }

    /// The same with anything before it, or after it.
    pub(crate) fn open(mut self, before: bool, after: bool) -> Pattern {
        if before {
            self.parts.insert(0, Part::Run);
        }
        if after {
            self.parts.push(Part::Run);
        }
        self
    }

    pub(crate) fn lowercase(&self) -> Pattern {
        let lower = |part: &Part| match part {
            Part::Plain(text) => Part::Plain(text.to_lowercase()),
            other => other.clone(),
        };
        Pattern { parts: self.parts.iter().map(lower).collect() }
    }

    /// The pattern as a regular expression of the whole text; `.` takes line breaks too.
    pub(crate) fn regex(&self) -> String {
        let mut out = String::from("(?s)\\A");
        for part in &self.parts {
            match part {
                Part::Plain(text) => out.push_str(&regex::escape(text)),
                Part::Run => out.push_str(".*"),
                Part::One => out.push('.'),
                Part::Dash => out.push_str(DASHES),
            }
        }
        out + "\\z"
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The three forms that the bytes take inside longer Base64, without the characters that their neighbours
/// decide. Forms of which nothing is left are not given.
pub(crate) fn base64_offsets(bytes: &[u8]) -> Vec<String> {
    let form = |offset: usize| {
        let encoded = STANDARD.encode([&vec![0; offset], bytes].concat());
        let begin = [0, 2, 3][offset];
        let end = match (offset + bytes.len()) % 3 {
            0 => encoded.len(),
            1 => encoded.len() - 3,
            _ => encoded.len() - 2,
        };
        encoded.get(begin..end).unwrap_or_default().to_owned()
    };
    (0..3).map(form).filter(|form| !form.is_empty()).collect()
}

/// The bytes of `text` in UTF-16, as `unit` writes a code unit.
pub(crate) fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

/// A text with `%names%`: the names, in order.
pub(crate) fn placeholders(text: &str) -> Vec<&str> {
    let mut parts = text.split('%').skip(1);
    let mut out = Vec::new();
    while let (Some(name), Some(_)) = (parts.next(), parts.next()) {
        out.push(name);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<Part> {
        Pattern::parse(text).parts
    }

    #[test]
    fn a_backslash_escapes_only_what_is_special() {
        let plain = |text: &str| vec![Part::Plain(text.to_owned())];
        assert_eq!(parts(r"C:\Windows\\x\*"), plain(r"C:\Windows\x*"));
        assert_eq!(parts(r"end\"), plain(r"end\"));
        assert_eq!(
            parts(r"a*\?b?"),
            [Part::Plain("a".into()), Part::Run, Part::Plain("?b".into()), Part::One]
        );
        assert_eq!(parts(""), []);
        assert_eq!(parts(r"a\\*"), [Part::Plain(r"a\".into()), Part::Run]);
    }

    #[test]
    fn the_offsets_of_base64_hold_whatever_stands_around() {
        for text in ["a", "ab", "abc", "password", "secret=1"] {
            for before in 0..4 {
                for after in 0..4 {
                    let whole = [&vec![0xff; before][..], text.as_bytes(), &vec![0xff; after]].concat();
                    let encoded = base64(&whole);
                    let found = base64_offsets(text.as_bytes()).iter().any(|form| encoded.contains(form));
                    assert!(found || text.len() < 2, "{text} {before} {after}");
                }
            }
        }
    }

    #[test]
    fn windash_gives_every_dash_every_form() {
        let regex = regex::Regex::new(&Pattern::parse("-a /b*").windash().regex()).unwrap();
        assert!(["-a /b", "/a /bc", "\u{2014}a /b\n"].iter().all(|text| regex.is_match(text)));
        assert!(!regex.is_match("-a -b") && !regex.is_match("xa /b"));
    }

    #[test]
    fn placeholders_stand_between_two_signs() {
        assert_eq!(placeholders("%a%x%b%"), ["a", "b"]);
        assert_eq!(placeholders("100%"), Vec::<&str>::new());
        assert_eq!(placeholders("%a"), Vec::<&str>::new());
    }
}
