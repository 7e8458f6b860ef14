//! How one value changes between the event and OCSF, in both directions.
//!
//! Values of the event are those of its JSON form: times as RFC 3339, enums as words, bytes as hex or base64url.
//! A conversion answers nothing where the other side has no such value; the value then travels in the extension.

use super::tree::{EXACT_MAX, Json, get, put, text};
use crate::json::time::{parse_rfc3339, rfc3339};
use crate::json::{base64url, unbase64url};
use std::net::IpAddr;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conv {
    /// Text as it is.
    Text,
    /// A whole number that every reader of JSON keeps exact.
    Uint,
    /// A whole number from the first to the second.
    Range(u64, u64),
    /// A time here, milliseconds since 1970 there, rounded down.
    Ms,
    /// Nanoseconds here, milliseconds there, rounded down.
    NsMs,
    /// A word here, a number there; any other word is 99.
    Words(&'static [(&'static str, u64)]),
    /// As `Words`, for a text of which only these are known.
    Verbs(&'static [(&'static str, u64)]),
    /// A text that is one of these, in whatever case there.
    OneOf(&'static [&'static str]),
    /// An address.
    Ip,
    /// So many bytes in hexadecimal.
    Hex(usize),
    /// A text without this beginning.
    Behind(&'static str),
    /// How it ended: 1 success, 2 anything else that has a name, 99 what has none.
    Outcome,
    /// The name of how it ended, unless that is success.
    OutcomeName,
    /// A status of HTTP as a number.
    HttpCode,
    /// The code of a status; its space is in the extension.
    Code,
    /// A list of texts as it is.
    Texts,
    /// A list of texts here, of objects with the text at this path there.
    Named(&'static str),
    /// Pairs of texts here, objects with `name` and `value` there.
    Pairs,
    /// One header of the list.
    Header(&'static str),
    /// A chain of addresses, without their levels.
    Hops,
    /// Bytes here, the same as text there.
    Utf8,
    /// The version of TLS by its number here, by its name there.
    TlsVersion,
    /// A number here, `0x` and hexadecimal digits there.
    HexNumber,
    /// A number as text.
    Digits,
    /// `user`, `service` or `system`: OTel's types of actor.
    ActorType,
    /// `success` or `failure`: OTel's outcomes of an audit record.
    AuditOutcome,
    /// `ipv4` or `ipv6`.
    IpFamily,
}

/// Versions of TLS.
const TLS: [(i128, &str); 5] =
    [(0x0300, "3.0"), (0x0301, "1.0"), (0x0302, "1.1"), (0x0303, "1.2"), (0x0304, "1.3")];

fn int(n: u64) -> Json {
    Json::Int(i128::from(n))
}

fn as_text(json: &Json) -> Option<&str> {
    if let Json::Text(text) = json { Some(text) } else { None }
}

fn as_int(json: &Json) -> Option<i128> {
    if let Json::Int(n) = json { Some(*n) } else { None }
}

fn items(json: &Json) -> Option<&[Json]> {
    if let Json::Array(items) = json { Some(items) } else { None }
}

/// Every element through `change`, or nothing.
fn each(json: &Json, change: impl Fn(&Json) -> Option<Json>) -> Option<Json> {
    Some(Json::Array(items(json)?.iter().map(change).collect::<Option<_>>()?))
}

fn pair(json: &Json) -> Option<(&str, &str)> {
    let [name, value] = items(json)? else { return None };
    Some((as_text(name)?, as_text(value)?))
}

fn object(fields: &[(&str, Json)]) -> Json {
    Json::Object(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

/// An address as we write it.
fn address(json: &Json) -> Option<&str> {
    let text = as_text(json)?;
    let ip: IpAddr = text.parse().ok()?;
    (ip.to_canonical().to_string() == text).then_some(text)
}

fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == bytes * 2 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn status_of_http(json: &Json) -> Option<u64> {
    let [space, code] = items(json)? else { return None };
    let code = as_text(code)?;
    let number: u64 = code.parse().ok()?;
    let plain = as_text(space) == Some("http") && (100..=599).contains(&number);
    (plain && code.len() == 3 && !code.starts_with('+')).then_some(number)
}

impl Conv {
    /// The value in OCSF.
    pub(super) fn out(self, ours: &Json) -> Option<Json> {
        match self {
            Conv::Text => as_text(ours).map(text),
            Conv::Uint => as_int(ours).filter(|n| (0..=EXACT_MAX).contains(n)).map(Json::Int),
            Conv::Range(least, most) => {
                as_int(ours).filter(|n| (i128::from(least)..=i128::from(most)).contains(n)).map(Json::Int)
            }
            Conv::Ms => Some(Json::Int(parse_rfc3339(as_text(ours)?)?.div_euclid(1_000_000))),
            Conv::NsMs => Some(Json::Int(as_int(ours)?.div_euclid(1_000_000))),
            Conv::Words(pairs) | Conv::Verbs(pairs) => {
                let known = as_text(ours).and_then(|word| pairs.iter().find(|(known, _)| *known == word));
                Some(int(known.map_or(99, |(_, number)| *number)))
            }
            Conv::OneOf(words) => as_text(ours).filter(|word| words.contains(word)).map(text),
            Conv::Ip => address(ours).map(text),
            Conv::Hex(bytes) => as_text(ours).filter(|hex| is_hex(hex, bytes)).map(text),
            Conv::Behind(start) => {
                as_text(ours)?.strip_prefix(start).filter(|rest| !rest.is_empty()).map(text)
            }
            Conv::Outcome => Some(int(match as_text(ours) {
                Some("success") => 1,
                Some(_) => 2,
                None => 99,
            })),
            Conv::OutcomeName => as_text(ours).filter(|word| *word != "success").map(text),
            Conv::HttpCode => status_of_http(ours).map(int),
            Conv::Code => items(ours)?.get(1).and_then(as_text).map(text),
            Conv::Texts => each(ours, |one| as_text(one).map(text)),
            Conv::Named(path) => each(ours, |one| {
                let mut object = object(&[]);
                put(&mut object, path, text(as_text(one)?));
                Some(object)
            }),
            Conv::Pairs => each(ours, |one| {
                let (name, value) = pair(one)?;
                Some(object(&[("name", text(name)), ("value", text(value))]))
            }),
            Conv::Header(name) => {
                let mut found = items(ours)?.iter().filter_map(pair);
                found.find(|(known, _)| *known == name).map(|(_, value)| text(value))
            }
            Conv::Hops => each(ours, |one| address(items(one)?.first()?).map(text)),
            Conv::Utf8 => String::from_utf8(unbase64url(as_text(ours)?)?).ok().map(Json::Text),
            Conv::TlsVersion => {
                let n = as_int(ours)?;
                let known = TLS.iter().find(|(version, _)| *version == n);
                Some(known.map_or_else(|| Json::Text(format!("{n:#06x}")), |(_, name)| text(name)))
            }
            Conv::HexNumber => Some(Json::Text(format!("{:#06x}", as_int(ours)?))),
            Conv::Digits => Some(Json::Text(as_int(ours)?.to_string())),
            Conv::AuditOutcome => Some(text(match as_text(ours)? {
                "success" => "success",
                _ => "failure",
            })),
            Conv::IpFamily => address(ours).map(|ip| text(if ip.contains(':') { "ipv6" } else { "ipv4" })),
            Conv::ActorType => Some(text(match as_text(ours)? {
                "user" => "user",
                "system" => "system",
                _ => "service",
            })),
        }
    }

    /// The event's value; where `out` loses something, the likeliest or none.
    pub(super) fn back(self, theirs: &Json) -> Option<Json> {
        match self {
            Conv::Text => as_text(theirs).filter(|text| !text.is_empty()).map(text),
            Conv::OneOf(words) => {
                let word = as_text(theirs)?;
                words.iter().find(|known| known.eq_ignore_ascii_case(word)).map(|known| text(known))
            }
            Conv::OutcomeName => {
                let known = as_text(theirs).filter(|word| *word != "success");
                known.and_then(crate::Outcome::from_word).map(|outcome| text(outcome.word()))
            }
            Conv::Ip => {
                let ip: IpAddr = as_text(theirs)?.trim().parse().ok()?;
                Some(Json::Text(ip.to_canonical().to_string()))
            }
            Conv::Hex(bytes) => {
                let hex = as_text(theirs)?.to_ascii_lowercase();
                is_hex(&hex, bytes).then_some(Json::Text(hex))
            }
            Conv::Uint | Conv::Range(..) | Conv::Texts => self.out(theirs),
            Conv::Ms => {
                let ns = as_int(theirs)?.checked_mul(1_000_000)?;
                i64::try_from(ns).ok().and_then(|_| rfc3339(ns)).map(Json::Text)
            }
            Conv::NsMs => {
                let ns = as_int(theirs)?.checked_mul(1_000_000)?;
                u64::try_from(ns).ok().map(int)
            }
            Conv::Words(pairs) | Conv::Verbs(pairs) => {
                let n = as_int(theirs)?;
                pairs.iter().find(|(_, number)| i128::from(*number) == n).map(|(word, _)| text(word))
            }
            Conv::Behind(start) => {
                let rest = as_text(theirs).filter(|rest| !rest.is_empty())?.to_ascii_lowercase();
                Some(Json::Text(format!("{start}{}", rest.strip_prefix(start).unwrap_or(&rest))))
            }
            Conv::Outcome => match as_int(theirs)? {
                1 => Some(text("success")),
                _ => None,
            },
            Conv::HttpCode => {
                let code = as_int(theirs).filter(|n| (100..=599).contains(n))?;
                Some(Json::Array(vec![text("http"), Json::Text(code.to_string())]))
            }
            Conv::AuditOutcome => (as_text(theirs) == Some("success")).then(|| text("success")),
            Conv::Code | Conv::ActorType | Conv::IpFamily => None,
            Conv::Named(path) => each(theirs, |one| get(one, path).and_then(as_text).map(text)),
            Conv::Pairs => each(theirs, |one| {
                let name = get(one, "name").and_then(as_text)?;
                let value = get(one, "value").and_then(as_text)?;
                Some(Json::Array(vec![text(name), text(value)]))
            }),
            Conv::Header(name) => {
                let value = as_text(theirs).filter(|value| !value.is_empty())?;
                Some(Json::Array(vec![Json::Array(vec![text(name), text(value)])]))
            }
            Conv::Hops => each(theirs, |one| Some(Json::Array(vec![text(as_text(one)?), Json::Int(1)]))),
            Conv::Utf8 => as_text(theirs)
                .filter(|text| !text.is_empty())
                .map(|text| Json::Text(base64url(text.as_bytes()))),
            Conv::TlsVersion => {
                let name = as_text(theirs)?;
                let short = name.trim_start_matches("TLSv").trim_start_matches("TLS ");
                let known = TLS.iter().find(|(_, known)| *known == short).map(|(version, _)| *version);
                known.or_else(|| hex_number(name)).map(Json::Int)
            }
            Conv::HexNumber => hex_number(as_text(theirs)?).map(Json::Int),
            Conv::Digits => as_text(theirs)?.parse::<u64>().ok().map(int),
        }
    }

    /// Whether the way there and back gives `ours` again.
    pub(super) fn exact(self, ours: &Json, theirs: &Json) -> bool {
        self.back(theirs).as_ref() == Some(ours)
    }
}

fn hex_number(text: &str) -> Option<i128> {
    let digits = text.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok().map(i128::from)
}
