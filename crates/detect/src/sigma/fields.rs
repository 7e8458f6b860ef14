//! The pipeline of our fields: from a name in a rule to the value in an event.
//!
//! Names are looked for in this order: those of the rule's log source (`eventName` of CloudTrail, `cs-uri` of a
//! web server), our own (the names of the filter language, docs/guide/search.md), those that the field shares
//! (Elastic Common Schema, OpenTelemetry). A name that is none of these is a path into the source fields that no
//! parser took (`content.unmapped`), so that rules for imported logs run unchanged.
//!
//! Invariant: a name means one field; a test holds every name of the tables against every other.

use super::ast::LogSource;
use super::value::Cell;
use countersign_event as ev;
use countersign_event::cbor::Value;
use countersign_event::{Endpoint, Event, Unmapped};
use std::borrow::Cow;
use std::ops::Bound;

mod table;

/// Takes a field out of an event.
type Take = for<'e> fn(&'e Event) -> Cell<'e>;

/// Where the value of a field comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A field of the event's model: its own name and how it is taken.
    Own(&'static str, Take),
    /// All values of a request header, by lower-case name.
    Header(String),
    /// A detail of the protocol, by registered name.
    Detail(String),
    /// A source field that no parser took, by JSON pointer.
    Unmapped(String),
    /// What rules without a field look into.
    Keywords,
}

impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        self.key() == other.key()
    }
}

impl Source {
    /// Unique among sources.
    pub(crate) fn key(&self) -> (u8, &str) {
        match self {
            Source::Own(name, _) => (0, name),
            Source::Header(name) => (1, name),
            Source::Detail(name) => (2, name),
            Source::Unmapped(pointer) => (3, pointer),
            Source::Keywords => (4, ""),
        }
    }

    /// What the event has there.
    pub(crate) fn take<'e>(&self, event: &'e Event) -> Cell<'e> {
        match self {
            Source::Own(_, take) => take(event),
            Source::Header(name) => {
                let values = event.content.headers.iter().filter(|(known, _)| known == name);
                Cell::list(values.map(|(_, value)| Cell::Text(Cow::Borrowed(value))).collect())
            }
            Source::Detail(name) => {
                let keys = ev::fields::detail::keys_of(event.core.kind);
                let key = keys.iter().find(|key| key.name == name);
                key.and_then(|key| event.content.detail.get(&key.key)).map_or(Cell::Missing, value)
            }
            Source::Unmapped(pointer) => unmapped(event, pointer),
            Source::Keywords => keywords(event),
        }
    }
}

/// The source of a field named in a rule of this log source.
pub(crate) fn find(name: &str, logsource: &LogSource) -> Source {
    if let Some(source) = table::of_logsource(logsource, name) {
        return source;
    }
    if let Some((own, _, take)) =
        table::FIELDS.iter().find(|(own, others, _)| *own == name || others.contains(&name))
    {
        return Source::Own(own, *take);
    }
    let keyed = [("header.", Source::Header as fn(String) -> Source), ("detail.", Source::Detail)];
    for (prefix, source) in keyed {
        if let Some(key) = name.strip_prefix(prefix) {
            return source(key.to_ascii_lowercase());
        }
    }
    match name.strip_prefix("raw.").unwrap_or(name) {
        pointer if pointer.starts_with('/') => Source::Unmapped(pointer.to_owned()),
        path => {
            let escaped = path.replace('~', "~0").replace('/', "~1");
            Source::Unmapped(format!("/{}", escaped.replace('.', "/")))
        }
    }
}

/// Every name that is one of ours: own and shared.
pub fn names() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    table::FIELDS.iter().map(|(own, others, _)| (*own, *others))
}

/// A value of a keyed map.
fn value(value: &Value) -> Cell<'_> {
    match value {
        Value::Uint(n) => Cell::uint(*n),
        Value::Nint(n) => i64::try_from(*n).map_or(Cell::Float(-(*n as f64)), |n| Cell::Int(-1 - n)),
        Value::Bytes(bytes) => Cell::Text(Cow::Owned(ev::json::hex(bytes))),
        Value::Text(text) => Cell::text(text),
        Value::Bool(b) => Cell::Bool(*b),
        Value::Array(items) => Cell::list(
            items
                .iter()
                .filter(|item| !matches!(item, Value::Array(_) | Value::Map(_)))
                .map(self::value)
                .collect(),
        ),
        Value::Map(_) => Cell::Missing,
    }
}

/// The source field at `pointer`; where the path crosses lists, the values of all their elements.
fn unmapped<'e>(event: &'e Event, pointer: &str) -> Cell<'e> {
    let fields = &event.content.unmapped;
    if fields.is_empty() {
        return Cell::Missing;
    }
    if let Some(found) = fields.get(pointer) {
        return token(found);
    }
    let first = pointer.split('/').nth(1).unwrap_or_default();
    let begin = format!("/{first}/");
    let under = fields
        .range::<str, _>((Bound::Included(begin.as_str()), Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(&begin));
    let found = under.filter(|(key, _)| crosses(key, pointer)).map(|(_, found)| token(found));
    let mut all = Vec::new();
    for cell in found {
        match cell {
            Cell::List(cells) => all.extend(cells),
            cell => all.push(cell),
        }
    }
    Cell::list(all)
}

/// Whether `key` is `pointer` with the numbers of list elements left out.
fn crosses(key: &str, pointer: &str) -> bool {
    let mut wanted = pointer.split('/').peekable();
    for segment in key.split('/') {
        if wanted.peek() == Some(&segment) {
            wanted.next();
        } else if segment.is_empty() || !segment.bytes().all(|b| b.is_ascii_digit()) {
            return false;
        }
    }
    wanted.peek().is_none()
}

fn token(field: &Unmapped) -> Cell<'_> {
    let token = match field {
        Unmapped::Bytes(bytes) => return Cell::Text(Cow::Owned(ev::json::hex(bytes))),
        Unmapped::Token(token) => token,
    };
    let inner = token.strip_prefix('"').and_then(|token| token.strip_suffix('"'));
    if let Some(plain) = inner.filter(|inner| !inner.contains('\\')) {
        return Cell::Text(Cow::Borrowed(plain));
    }
    serde_json::from_str(token).map_or(Cell::Missing, json)
}

fn json<'e>(value: serde_json::Value) -> Cell<'e> {
    use serde_json::Value as Json;
    match value {
        Json::Null => Cell::Null,
        Json::Bool(b) => Cell::Bool(b),
        Json::Number(n) => n.as_i64().map(Cell::Int).or(n.as_f64().map(Cell::Float)).unwrap_or(Cell::Missing),
        Json::String(text) => Cell::Text(Cow::Owned(text)),
        Json::Array(items) => Cell::list(
            items.into_iter().filter(|item| !item.is_array() && !item.is_object()).map(json).collect(),
        ),
        Json::Object(_) => Cell::Missing,
    }
}

/// Operation, resource, target as it was on the wire, statement, error text and the texts of unmapped source
/// fields.
fn keywords(event: &Event) -> Cell<'_> {
    let (core, target, content) = (&event.core, &event.target, &event.content);
    let own = [&core.op, &target.res, &target.raw, &content.stmt, &content.err];
    let mut all: Vec<Cell<'_>> = own.into_iter().map(|text| Cell::text(text)).collect();
    for field in content.unmapped.values() {
        match token(field) {
            Cell::List(cells) => all.extend(cells),
            cell => all.push(cell),
        }
    }
    all.retain(|cell| matches!(cell, Cell::Text(_)));
    Cell::list(all)
}

fn ip(end: Option<&Endpoint>) -> Cell<'_> {
    Cell::owned(end.and_then(|end| end.ip).map(|ip| ip.to_string()))
}

fn port(end: Option<&Endpoint>) -> Cell<'_> {
    end.and_then(|end| end.port).map_or(Cell::Missing, |port| Cell::Int(port.into()))
}

fn part(end: Option<&Endpoint>, of: fn(&Endpoint) -> &str) -> Cell<'_> {
    end.map_or(Cell::Missing, |end| Cell::text(of(end)))
}

fn word(word: Option<&'static str>) -> Cell<'static> {
    word.map_or(Cell::Missing, |word| Cell::Text(Cow::Borrowed(word)))
}

fn hex<'e, const N: usize>(bytes: Option<&[u8; N]>) -> Cell<'e> {
    Cell::owned(bytes.map(|bytes| ev::json::hex(bytes)))
}

/// The level as number and as word, so that both `verified|lt: 3` and `verified: claimed` are said.
fn level<'e>(level: Option<ev::Verified>) -> Cell<'e> {
    level.map_or(Cell::Missing, |level| {
        Cell::List(vec![Cell::uint(level.code()), Cell::Text(Cow::Borrowed(level.word()))])
    })
}

/// `1.2`, so that it can be compared; other versions as their number.
fn tls_version<'e>(version: u64) -> Cell<'e> {
    match version {
        0x0300 => Cell::Text(Cow::Borrowed("0.3")),
        0x0301..=0x0304 => Cell::Text(Cow::Owned(format!("1.{}", version - 0x0301))),
        other => Cell::uint(other),
    }
}

fn texts(texts: &[String]) -> Cell<'_> {
    Cell::list(texts.iter().map(|text| Cell::Text(Cow::Borrowed(text))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn of<'e>(name: &str, event: &'e Event) -> Cell<'e> {
        find(name, &LogSource::default()).take(event)
    }

    #[test]
    fn no_name_means_two_fields() {
        let mut seen = BTreeSet::new();
        for (own, others) in names() {
            for name in std::iter::once(&own).chain(others) {
                assert!(seen.insert(*name), "{name} is given twice");
            }
        }
    }

    #[test]
    fn a_name_that_is_not_ours_is_a_path_into_the_source_fields() {
        let mut event = Event::default();
        for (pointer, token) in [
            ("/userIdentity/type", "\"Root\""),
            ("/resources/0/ARN", "\"a\""),
            ("/resources/1/ARN", "\"b\""),
            ("/size", "12"),
            ("/gone", "null"),
            ("/tags", "[\"x\",\"y\"]"),
            ("/said", "\"a\\\"b\""),
            ("/a~1b", "true"),
        ] {
            event.content.unmapped.insert(pointer.into(), Unmapped::Token(token.into()));
        }
        let text = |text: &'static str| Cell::Text(Cow::Borrowed(text));
        assert_eq!(of("userIdentity.type", &event), text("Root"));
        assert_eq!(of("raw.userIdentity.type", &event), text("Root"));
        assert_eq!(of("raw./userIdentity/type", &event), text("Root"));
        assert_eq!(of("resources.ARN", &event), Cell::List(vec![text("a"), text("b")]));
        assert_eq!((of("size", &event), of("gone", &event)), (Cell::Int(12), Cell::Null));
        assert_eq!(of("tags", &event), Cell::List(vec![text("x"), text("y")]));
        assert_eq!((of("said", &event), of("a/b", &event)), (text("a\"b"), Cell::Bool(true)));
        assert_eq!((of("nothing", &event), of("resources.name", &event)), (Cell::Missing, Cell::Missing));
    }

    #[test]
    fn a_level_is_a_number_and_a_word() {
        let mut event = Event::default();
        event.who.who = Some(ev::Principal::new("spiffe://td/a", ev::Verified::Checked));
        let all: Vec<String> =
            of("verified", &event).each().map(|c| c.as_text().unwrap().into_owned()).collect();
        assert_eq!(all, ["3", "checked"]);
        assert_eq!(of("who", &event), of("user.id", &event));
    }

    #[test]
    fn details_are_those_of_the_kind() {
        let mut event = Event::default();
        event.core.kind = Some(ev::Kind::Sql);
        event.content.detail.insert(ev::fields::detail::sql::ROWS, Value::Uint(7));
        assert_eq!(of("detail.rows", &event), Cell::Int(7));
        event.core.kind = Some(ev::Kind::Dns);
        assert_eq!(of("detail.rows", &event), Cell::Missing);
    }
}
