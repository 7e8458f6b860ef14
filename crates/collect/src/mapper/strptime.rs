//! Times by a format of C's `strptime` (POSIX): as much of it as logs need.
//!
//! `%Y %m %d %e %H %M %S`, `%f` (a fraction, 1 to 9 digits), `%b %B` (English month), `%a %A` (a weekday, not
//! compared), `%z` (`+0200`, `+02:00`, `Z`), `%Z` (`UTC`, `GMT`), `%T %F`, `%%`. A blank stands for any number of
//! them. A date is complete or there is none.

use crate::time::{Stamp, month, parts};

/// Longest format, bytes.
const FORMAT_MAX: usize = 256;

/// One compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format(Vec<Item>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    /// A number of at most so many digits.
    Number(Part, usize),
    Month,
    Word,
    Zone,
    Blank,
    Text(char),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Fraction,
}

impl Format {
    /// Compiles a format.
    pub(super) fn new(text: &str) -> Result<Format, String> {
        if text.len() > FORMAT_MAX {
            return Err("a format of times is longer than 256 bytes".into());
        }
        let text = text.replace("%T", "%H:%M:%S").replace("%F", "%Y-%m-%d");
        let mut items = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            items.push(match c {
                '%' => match chars.next() {
                    Some('Y') => Item::Number(Part::Year, 4),
                    Some('m') => Item::Number(Part::Month, 2),
                    Some('d' | 'e') => Item::Number(Part::Day, 2),
                    Some('H') => Item::Number(Part::Hour, 2),
                    Some('M') => Item::Number(Part::Minute, 2),
                    Some('S') => Item::Number(Part::Second, 2),
                    Some('f') => Item::Number(Part::Fraction, 9),
                    Some('b' | 'B' | 'h') => Item::Month,
                    Some('a' | 'A') => Item::Word,
                    Some('z' | 'Z') => Item::Zone,
                    Some('%') => Item::Text('%'),
                    Some(other) => return Err(format!("`%{other}` is not read in times")),
                    None => return Err("`%` at the end of a format of times".into()),
                },
                c if c.is_whitespace() => Item::Blank,
                c => Item::Text(c),
            });
        }
        let has = |part| items.iter().any(|item| matches!(item, Item::Number(is, _) if *is == part));
        let whole = has(Part::Year)
            && (has(Part::Month) || items.contains(&Item::Month))
            && has(Part::Day)
            && has(Part::Hour)
            && has(Part::Minute);
        if whole { Ok(Format(items)) } else { Err("a time needs year, month, day, hour and minute".into()) }
    }

    /// Reads a whole text.
    pub(super) fn read(&self, text: &str) -> Option<Stamp> {
        let mut rest = text;
        let mut found = [""; 7];
        let (mut named, mut zone) = (None, String::new());
        for item in &self.0 {
            match item {
                Item::Blank => rest = rest.trim_start(),
                Item::Text(c) => rest = rest.strip_prefix(*c)?,
                Item::Number(part, most) => {
                    if *part == Part::Day {
                        rest = rest.trim_start_matches(' ');
                    }
                    let digits = rest.bytes().take(*most).take_while(u8::is_ascii_digit).count();
                    let (number, behind) = rest.split_at_checked(digits).filter(|_| digits > 0)?;
                    *found.get_mut(*part as usize)? = number;
                    rest = behind;
                }
                Item::Month | Item::Word => {
                    let length = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
                    let (word, behind) = rest.split_at_checked(length).filter(|_| length >= 3)?;
                    if *item == Item::Month {
                        named = Some(month(word.get(..3)?)?);
                    }
                    rest = behind;
                }
                Item::Zone => {
                    let length =
                        rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"+-:".contains(b)).count();
                    let (word, behind) = rest.split_at_checked(length).filter(|_| length > 0)?;
                    zone = match word {
                        "UTC" | "GMT" | "Z" => "Z".to_owned(),
                        offset if offset.starts_with(['+', '-']) => offset.to_owned(),
                        _ => return None,
                    };
                    rest = behind;
                }
            }
        }
        if !rest.is_empty() {
            return None;
        }
        let [year, month, day, hour, minute, second, fraction] = found;
        let month = match named {
            Some(month) => month,
            None => month.parse().ok()?,
        };
        let second = if second.is_empty() { "00" } else { second };
        let point = if fraction.is_empty() { "" } else { "." };
        let clock = format!("{hour:0>2}:{minute:0>2}:{second:0>2}{point}{fraction}{zone}");
        parts(year, month, day, &clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::TimeBasis;
    use proptest::prelude::*;

    fn read(format: &str, text: &str) -> Option<(i64, TimeBasis)> {
        Format::new(format).unwrap().read(text).map(|stamp| (stamp.ns, stamp.basis))
    }

    #[test]
    fn formats_of_logs_are_read_and_a_missing_zone_is_told() {
        let ns = 1_710_331_713_000_000_000;
        assert_eq!(read("%d/%b/%Y:%H:%M:%S %z", "13/Mar/2024:14:08:33 +0200"), Some((ns, TimeBasis::Stated)));
        assert_eq!(read("%F %T", "2024-03-13 12:08:33"), Some((ns, TimeBasis::Derived)));
        assert_eq!(read("%a %b %e %T %Y", "Wed Mar 13 12:08:33 2024"), Some((ns, TimeBasis::Derived)));
        assert_eq!(
            read("%Y%m%d%H%M%S.%f%Z", "20240313120833.5UTC"),
            Some((ns + 500_000_000, TimeBasis::Stated))
        );
        assert_eq!(read("%F %T", "2024-03-13 12:08:33 x"), None);
        assert_eq!(read("%F %T", "2024-13-13 12:08:33"), None);
    }

    #[test]
    fn an_incomplete_or_unknown_format_is_refused() {
        for text in ["%H:%M", "%Y-%m-%d", "%F %T %j", "%F %T %"] {
            assert!(Format::new(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(format in "(%[YmdeHMSfbBaAzZTF%]|[ :/-]|x){0,10}", text in any::<String>()) {
            if let Ok(format) = Format::new(&format) {
                let _ = format.read(&text);
            }
        }
    }
}
