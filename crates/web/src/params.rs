//! The address grammar: names are stable, documented and additive.
//!
//! Parses, never runs anything. Invariant: a parameter is taken once; bad values are refused by name.

use crate::problem::Problem;
use crate::state::AppState;
use crate::text::query_value;
use crate::time;
use countersign_store::{FindRequest, Order};
use std::collections::BTreeMap;

/// Parameters of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params {
    known: BTreeMap<&'static str, String>,
    /// Names that mean nothing here.
    pub(crate) unknown: Vec<String>,
}

/// A ledger size and the first 8 bytes of the root there, hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) size: u64,
    pub(crate) root8: String,
}

impl Params {
    /// Reads a raw query string; `allowed` names what this route knows.
    pub(crate) fn parse(raw: Option<&str>, allowed: &[&'static str]) -> Result<Params, Problem> {
        let mut params = Params::default();
        for pair in raw.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            match allowed.iter().find(|known| **known == name) {
                Some(known) if value.is_empty() => {
                    let _ = known;
                }
                Some(known) => {
                    if params.known.insert(known, value).is_some() {
                        return Err(Problem::new("bad-value", format!("`{name}` is given twice")));
                    }
                }
                None => params.unknown.push(name),
            }
        }
        Ok(params)
    }

    /// As [`Params::parse`], refusing unknown names: the API's rule.
    pub(crate) fn strict(raw: Option<&str>, allowed: &[&'static str]) -> Result<Params, Problem> {
        let params = Params::parse(raw, allowed)?;
        match params.unknown.first() {
            Some(name) => {
                Err(Problem::new("unknown-parameter", format!("there is no parameter `{name}` here"))
                    .hint(format!("known: {}", allowed.join(", "))))
            }
            None => Ok(params),
        }
    }

    /// A parameter's value; absent when empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(String::as_str)
    }

    /// A parameter's value or nothing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// A whole number.
    pub(crate) fn number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let code = if matches!(name, "before" | "after") { "bad-cursor" } else { "bad-value" };
        self.get(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Problem::new(code, format!("`{name}` must be a whole number, not `{text}`")))
            })
            .transpose()
    }

    /// The pin, if there is one.
    pub(crate) fn pin(&self) -> Result<Option<Pin>, Problem> {
        let Some(text) = self.get("at") else { return Ok(None) };
        let bad = || {
            Problem::new(
                "bad-value",
                "`at` must be a ledger size and 16 hex digits, like 8126464.9f3c01d2aa71be04",
            )
        };
        let (size, root8) = text.split_once('.').ok_or_else(bad)?;
        let plain =
            root8.len() == 16 && root8.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let size = size.parse().map_err(|_| bad())?;
        if plain { Ok(Some(Pin { size, root8: root8.to_owned() })) } else { Err(bad()) }
    }

    /// The search these parameters describe, with `limit` at most `max`.
    pub(crate) fn find(&self, now_ns: i64, default: usize, max: usize) -> Result<FindRequest, Problem> {
        let bound = |name: &'static str| {
            let bad = |text: &str| {
                Problem::new(
                    "bad-range",
                    format!("`{name}` must be RFC 3339 with offset, `now`, or like -24h; not `{text}`"),
                )
            };
            self.get(name).map(|text| time::parse(text, now_ns).ok_or_else(|| bad(text))).transpose()
        };
        let (from_ns, to_ns) = (bound("from")?, bound("to")?);
        if matches!((from_ns, to_ns), (Some(from), Some(to)) if from > to) {
            return Err(Problem::new("bad-range", "`from` is later than `to`"));
        }
        let limit =
            self.number("limit")?.map_or(default, |n| usize::try_from(n).unwrap_or(max)).clamp(1, max);
        let (before, after) = (self.number("before")?, self.number("after")?);
        Ok(FindRequest {
            filter: self.text("q").to_owned(),
            from_ns,
            to_ns,
            order: if after.is_some() && before.is_none() { Order::OldestFirst } else { Order::NewestFirst },
            before,
            after,
            limit,
            ..FindRequest::default()
        })
    }

    /// The same parameters as a query string, with some set or (by an empty value) left out.
    pub(crate) fn with(&self, changes: &[(&'static str, &str)]) -> String {
        let mut all: BTreeMap<&str, &str> =
            self.known.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for (name, value) in changes {
            all.insert(name, value);
        }
        let pairs: Vec<String> = all
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", query_value(value)))
            .collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }
}

impl Pin {
    /// As it stands in addresses.
    pub(crate) fn text(&self) -> String {
        format!("{}.{}", self.size, self.root8)
    }

    /// The newest signed checkpoint.
    pub(crate) fn latest(state: &AppState) -> Option<Pin> {
        let head = state.ledger.checkpoint()?;
        Some(Pin { size: head.size, root8: countersign_event::json::hex(&head.root[..8]) })
    }

    /// Refuses a pin that our log does not reproduce.
    pub(crate) fn check(&self, state: &AppState) -> Result<(), Problem> {
        let ours = state.ledger.size();
        if self.size > ours {
            return Err(Problem::new("pin-mismatch", format!("the link is pinned at size {}, this log has {ours}", self.size))
                .hint("this log is shorter than the one the link was made on: it was rolled back, or is another one"));
        }
        let root = countersign_event::json::hex(&state.ledger.root_at(self.size)?[..8]);
        if root == self.root8 {
            return Ok(());
        }
        Err(Problem::new(
            "pin-mismatch",
            format!("at size {} the link names root {}, this log has {root}", self.size, self.root8),
        )
        .hint("the log was replaced or changed since the link was made: results are withheld"))
    }
}

/// Percent-decoding of `application/x-www-form-urlencoded`; the result must be UTF-8.
fn decode(text: &str) -> Result<String, Problem> {
    let bad = || Problem::new("bad-value", "the address holds a broken percent-encoding");
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(bad);
                (digit()? << 4 | digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["q", "from", "to", "at", "limit", "before", "after"];

    #[test]
    fn parameters_are_decoded_and_written_back() {
        let params = Params::parse(Some("q=who%3Aa+b%22&from=-1h&limit="), NAMES).unwrap();
        assert_eq!(params.get("q"), Some("who:a b\""));
        assert_eq!(params.get("limit"), None);
        let again = params.with(&[("to", "now")]);
        assert_eq!(again, "?from=-1h&q=who%3Aa%20b%22&to=now");
        assert_eq!(Params::parse(Some(&again[1..]), NAMES).unwrap().get("q"), Some("who:a b\""));
    }

    #[test]
    fn unknown_and_repeated_parameters_are_named() {
        assert_eq!(Params::parse(Some("zz=1"), NAMES).unwrap().unknown, ["zz"]);
        assert_eq!(Params::strict(Some("zz=1"), NAMES).unwrap_err().code, "unknown-parameter");
        assert!(Params::strict(Some("q=1&q=2"), NAMES).unwrap_err().detail.contains("twice"));
        assert_eq!(Params::strict(Some("q=%zz"), NAMES).unwrap_err().code, "bad-value");
        assert_eq!(Params::strict(Some("q=%ff"), NAMES).unwrap_err().code, "bad-value");
    }

    #[test]
    fn searches_are_bounded() {
        let find = |raw: &str| Params::strict(Some(raw), NAMES).unwrap().find(0, 50, 1_000);
        assert_eq!(find("limit=99999999999999999999").unwrap_err().code, "bad-value");
        assert_eq!(find("limit=5000").unwrap().limit, 1_000);
        assert_eq!(find("before=x").unwrap_err().code, "bad-cursor");
        assert_eq!(find("from=now&to=-1h").unwrap_err().code, "bad-range");
        assert_eq!(find("after=7").unwrap().order, Order::OldestFirst);
    }

    #[test]
    fn pins_are_strict() {
        let pin = |text: &str| Params::strict(Some(&format!("at={text}")), NAMES).unwrap().pin();
        assert_eq!(
            pin("12.0123456789abcdef").unwrap(),
            Some(Pin { size: 12, root8: "0123456789abcdef".into() })
        );
        for bad in ["12", "12.0123", "x.0123456789abcdef", "12.0123456789ABCDEF", "-1.0123456789abcdef"] {
            assert_eq!(pin(bad).unwrap_err().code, "bad-value", "{bad}");
        }
    }
}
