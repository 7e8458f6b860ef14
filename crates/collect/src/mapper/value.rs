//! What is done to a value between its source and its field: text in, text out.

use super::strptime::Format;
use crate::time;

/// One operation. `None` as its result: the value is none that it knows.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The part with this number, from 0, of the value cut at a text.
    Split(String, usize),
    Lower,
    Upper,
    /// The first row whose pattern the value has.
    Table(Vec<(Pattern, String)>),
    Prefix(String),
    Time(TimeForm),
    /// A decimal number times so many ns (or as it is, with 1).
    Number(u64),
    /// A path with `{id}` where a segment looks like one.
    Template,
    /// An address alone.
    Ip,
    /// An address, with a port or without.
    HostPort,
}

/// How a time is written.
#[derive(Clone, Debug)]
pub(super) enum TimeForm {
    Rfc3339,
    /// A number of units since 1970, each so many ns.
    Unix(i64),
    Strptime(Format),
}

/// A pattern of a table: texts of which `.` stands for any one character, or all (`*`).
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) Vec<String>);

impl Pattern {
    pub(super) fn new(text: &str) -> Pattern {
        Pattern(text.split(',').map(|part| part.trim().to_owned()).collect())
    }

    fn has(&self, value: &str) -> bool {
        let one = |pattern: &String| {
            pattern == "*"
                || (pattern.chars().count() == value.chars().count()
                    && pattern.chars().zip(value.chars()).all(|(p, v)| p == '.' || p == v))
        };
        self.0.iter().any(one)
    }
}

impl Step {
    pub(super) fn apply(&self, text: String) -> Option<String> {
        match self {
            Step::Split(at, number) => text.split(at.as_str()).nth(*number).map(str::to_owned),
            Step::Lower => Some(text.to_lowercase()),
            Step::Upper => Some(text.to_uppercase()),
            Step::Table(rows) => {
                rows.iter().find(|(pattern, _)| pattern.has(&text)).map(|(_, value)| value.clone())
            }
            Step::Prefix(prefix) => Some(format!("{prefix}{text}")),
            Step::Time(form) => form.read(&text),
            Step::Number(unit) => scaled(&text, *unit),
            Step::Template => Some(crate::http::template(&text).0),
            Step::Ip => crate::draft::ip(&text).map(|ip| ip.to_string()),
            Step::HostPort => crate::draft::endpoint(&text).map(|_| text),
        }
    }
}

impl TimeForm {
    /// ns since 1970, and `?` behind it where the zone had to be supplied.
    fn read(&self, text: &str) -> Option<String> {
        let stamp = match self {
            TimeForm::Rfc3339 => time::rfc3339(text)?,
            TimeForm::Unix(1_000_000_000) => time::unix_seconds(text)?,
            TimeForm::Unix(unit) => time::unix(text.parse().ok()?, *unit)?,
            TimeForm::Strptime(format) => format.read(text)?,
        };
        let derived = stamp.basis == countersign_event::TimeBasis::Derived;
        Some(format!("{}{}", stamp.ns, if derived { "?" } else { "" }))
    }
}

/// `text`, a decimal number that is not negative, times `unit`, cut to a whole one.
fn scaled(text: &str, unit: u64) -> Option<String> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let nanos = time::unix_seconds(text)?.ns;
    let units = u128::try_from(nanos).ok()?.checked_mul(u128::from(unit))? / 1_000_000_000;
    u64::try_from(units).ok().map(|n| n.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_take_the_first_row_that_fits() {
        let table = Step::Table(vec![
            (Pattern::new("2.."), "success".into()),
            (Pattern::new("401,403"), "denied".into()),
            (Pattern::new("*"), "other".into()),
        ]);
        for (value, want) in [("204", "success"), ("403", "denied"), ("2040", "other"), ("", "other")] {
            assert_eq!(table.apply(value.into()).as_deref(), Some(want), "{value}");
        }
        assert_eq!(Step::Table(vec![(Pattern::new("1"), "a".into())]).apply("2".into()), None);
    }

    #[test]
    fn numbers_become_whole_ones_of_their_unit() {
        for (text, unit, want) in [
            ("0.037", 1_000_000_000, Some("37000000")),
            ("12.5", 1_000_000, Some("12500000")),
            ("7", 1, Some("7")),
            ("-1", 1, None),
            ("1e9", 1, None),
            ("", 1, None),
        ] {
            assert_eq!(Step::Number(unit).apply(text.into()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn addresses_are_addresses() {
        assert_eq!(Step::Ip.apply("::ffff:192.0.2.1".into()).as_deref(), Some("192.0.2.1"));
        assert_eq!(Step::HostPort.apply("[2001:db8::1]:80".into()).as_deref(), Some("[2001:db8::1]:80"));
        assert_eq!(Step::HostPort.apply("example.org:80".into()), None);
        assert_eq!(Step::Split(":".into(), 1).apply("a:b:c".into()).as_deref(), Some("b"));
    }
}
