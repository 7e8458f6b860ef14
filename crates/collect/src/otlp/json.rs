//! OTLP in JSON, both ways ("OTLP/JSON Protobuf Encoding"). What is read is marked, so that a field which nobody
//! knows is handed out by [`crate::json::Doc::unread`].

use super::*;
use crate::Fault;
use crate::draft::json_text;
use crate::json::{Kind, Val};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use std::fmt::Write as _;

/// A record that knows its JSON form. Sealed: only this crate's records.
pub trait Spelled {
    #[doc(hidden)]
    fn read_json(value: &Val<'_, '_>) -> Result<Self, Fault>
    where
        Self: Sized;
    #[doc(hidden)]
    fn write_json(&self, out: &mut Object<'_>);
}

/// Reads an export request.
///
/// # Errors
/// A value is nested deeper than the bound, or the root is no object.
pub fn from_json<T: Item>(root: &Val<'_, '_>) -> Result<Request<T>, Fault> {
    if root.kind() != Kind::Object {
        return Err(Fault::new(0, "not a JSON object"));
    }
    if root.members().next().is_none() {
        root.take();
    }
    let mut request = Request { groups: Vec::new() };
    for of_resource in list(root, T::LISTS[0]) {
        let resource =
            field(&of_resource, "resource").map(|value| Resource::read_json(&value)).transpose()?;
        let schema_url = text(&of_resource, "schemaUrl");
        let mut group = Group { resource, scopes: Vec::new(), schema_url, unknown: Vec::new() };
        for of_scope in list(&of_resource, T::LISTS[1]) {
            let scope = field(&of_scope, "scope").map(|value| Scope::read_json(&value)).transpose()?;
            let items =
                list(&of_scope, T::LISTS[2]).map(|item| T::read_json(&item)).collect::<Result<_, _>>()?;
            let schema_url = text(&of_scope, "schemaUrl");
            group.scopes.push(Scoped { scope, items, schema_url, unknown: Vec::new() });
        }
        request.groups.push(group);
    }
    Ok(request)
}

/// Writes an export request. Unknown fields of Protobuf have no form in JSON and are left out.
pub fn to_json<T: Item>(request: &Request<T>) -> String {
    let mut out = String::new();
    object(&mut out, |out| {
        out.array(T::LISTS[0], &request.groups, |group, out| {
            object(out, |out| {
                if let Some(resource) = &group.resource {
                    out.object("resource", |out| resource.write_json(out));
                }
                out.array(T::LISTS[1], &group.scopes, |scoped, out| {
                    object(out, |out| {
                        if let Some(scope) = &scoped.scope {
                            out.object("scope", |out| scope.write_json(out));
                        }
                        out.array(T::LISTS[2], &scoped.items, |item, out| {
                            object(out, |out| item.write_json(out))
                        });
                        out.text("schemaUrl", &scoped.schema_url);
                    });
                });
                out.text("schemaUrl", &group.schema_url);
            });
        });
    });
    out
}

/// The member `name`, which is in lowerCamelCase, also if it is spelled in snake_case. `null` is none.
pub(super) fn field<'d, 'a>(value: &Val<'d, 'a>, name: &str) -> Option<Val<'d, 'a>> {
    let found = value.get(name).or_else(|| {
        let mut snake = String::with_capacity(name.len() + 4);
        for c in name.chars() {
            if c.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        }
        if snake == name { None } else { value.get(&snake) }
    })?;
    if matches!(found.kind(), Kind::Null) || matches!(found.spelled(), "{}" | "[]") {
        found.take();
    }
    (found.kind() != Kind::Null).then_some(found)
}

pub(super) fn list<'d, 'a>(
    value: &Val<'d, 'a>,
    name: &str,
) -> impl Iterator<Item = Val<'d, 'a>> + use<'d, 'a> {
    field(value, name).into_iter().flat_map(|list| list.elements()).inspect(|element| {
        if element.spelled() == "{}" {
            element.take();
        }
    })
}

fn text(value: &Val<'_, '_>, name: &str) -> String {
    field(value, name).and_then(|value| value.text()).unwrap_or_default().into_owned()
}

fn uint(value: &Val<'_, '_>, name: &str) -> u64 {
    field(value, name).and_then(|value| value.uint()).unwrap_or(0)
}

fn uint32(value: &Val<'_, '_>, name: &str) -> u32 {
    field(value, name)
        .filter(|value| value.spelled().trim_matches('"').parse::<u32>().is_ok())
        .and_then(|value| value.uint())
        .map_or(0, |number| number as u32)
}

/// An enum's number, or one of its `names` with the prefix that Protobuf gives them.
fn word(value: &Val<'_, '_>, name: &str, prefix: &str, names: &[&str]) -> i32 {
    let Some(value) = field(value, name) else { return 0 };
    if let Some(number) = value.spelled().parse::<i32>().ok().filter(|_| value.kind() == Kind::Number) {
        value.take();
        return number;
    }
    let found = value.peek().and_then(|word| {
        let word = word.strip_prefix(prefix).unwrap_or(&word).to_owned();
        names.iter().position(|known| *known == word)
    });
    if found.is_some() {
        value.take();
    }
    found.map_or(0, |number| number as i32)
}

/// Bytes spelled in hexadecimal; what is spelled otherwise is not taken.
fn id(value: &Val<'_, '_>, name: &str) -> Vec<u8> {
    let Some(value) = field(value, name) else { return Vec::new() };
    let bytes = value.peek().and_then(|text| unhex(&text));
    if bytes.is_some() {
        value.take();
    }
    bytes.unwrap_or_default()
}

/// Appends two digits a byte.
pub(super) fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

fn attributes(value: &Val<'_, '_>) -> Result<Vec<Pair>, Fault> {
    list(value, "attributes").map(|one| pair(&one, 0)).collect()
}

fn pair(value: &Val<'_, '_>, depth: usize) -> Result<Pair, Fault> {
    let inner = field(value, "value").map(|value| any(&value, depth)).transpose()?;
    Ok(Pair { key: text(value, "key"), value: inner })
}

fn any(value: &Val<'_, '_>, depth: usize) -> Result<Any, Fault> {
    if depth > VALUE_DEPTH_MAX {
        return Err(Fault::new(0, "a value is nested deeper than the bound"));
    }
    if let Some(text) = field(value, "stringValue").and_then(|value| value.text()) {
        return Ok(Any::Text(text.into_owned()));
    }
    if let Some(number) = field(value, "intValue").and_then(|value| value.int()) {
        return Ok(Any::Int(number));
    }
    if let Some(inner) = field(value, "boolValue").and_then(|value| value.bool()) {
        return Ok(Any::Bool(inner));
    }
    if let Some(number) = field(value, "doubleValue").and_then(|value| double(&value)) {
        return Ok(Any::Double(number));
    }
    if let Some(inner) = field(value, "arrayValue") {
        let values = list(&inner, "values").map(|one| any(&one, depth + 1)).collect::<Result<_, _>>()?;
        return Ok(Any::Array(values));
    }
    if let Some(inner) = field(value, "kvlistValue") {
        let pairs = list(&inner, "values").map(|one| pair(&one, depth + 1)).collect::<Result<_, _>>()?;
        return Ok(Any::Map(pairs));
    }
    let bytes = field(value, "bytesValue").and_then(|value| {
        let bytes = unbase64(&value.peek()?)?;
        value.take();
        Some(bytes)
    });
    Ok(bytes.map_or(Any::Empty, Any::Bytes))
}

fn double(value: &Val<'_, '_>) -> Option<f64> {
    let number = match value.kind() {
        Kind::Number => value.spelled().parse().ok(),
        Kind::Text => value.peek().and_then(|text| text.parse().ok()),
        _ => None,
    };
    if number.is_some() {
        value.take();
    }
    number
}

/// Either alphabet, padded or not, as Protobuf's JSON allows.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(text).ok())
}

/// Members of an object that is being written; defaults are left out.
#[derive(Debug)]
pub struct Object<'o> {
    out: &'o mut String,
    first: bool,
}

/// Writes one object.
fn object(out: &mut String, write: impl FnOnce(&mut Object<'_>)) {
    out.push('{');
    write(&mut Object { out, first: true });
    out.push('}');
}

impl Object<'_> {
    fn name(&mut self, name: &str) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        self.out.push_str(&json_text(name));
        self.out.push(':');
        self.out
    }
    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.name(name).push_str(&json_text(text));
        }
    }
    /// A 64-bit number: as a string.
    fn long(&mut self, name: &str, number: u64) {
        if number != 0 {
            // Writing to a String cannot fail.
            let _ = write!(self.name(name), "\"{number}\"");
        }
    }
    fn number(&mut self, name: &str, number: i64) {
        if number != 0 {
            let _ = write!(self.name(name), "{number}");
        }
    }
    fn id(&mut self, name: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            let out = self.name(name);
            out.push('"');
            hex(bytes, out);
            out.push('"');
        }
    }
    fn object(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) {
        object(self.name(name), write);
    }
    fn array<T>(&mut self, name: &str, list: &[T], mut write: impl FnMut(&T, &mut String)) {
        if !list.is_empty() {
            self.array_always(name, list, &mut write);
        }
    }
    fn array_always<T>(&mut self, name: &str, list: &[T], write: &mut dyn FnMut(&T, &mut String)) {
        let out = self.name(name);
        out.push('[');
        for (number, one) in list.iter().enumerate() {
            if number > 0 {
                out.push(',');
            }
            write(one, out);
        }
        out.push(']');
    }
    fn attributes(&mut self, pairs: &[Pair]) {
        self.array("attributes", pairs, write_pair);
    }
}

fn write_pair(pair: &Pair, out: &mut String) {
    object(out, |out| {
        out.text("key", &pair.key);
        if let Some(value) = &pair.value {
            out.object("value", |out| write_any(value, out));
        }
    });
}

fn write_any(value: &Any, out: &mut Object<'_>) {
    match value {
        Any::Empty => {}
        Any::Text(text) => out.name("stringValue").push_str(&json_text(text)),
        Any::Bool(value) => out.name("boolValue").push_str(&value.to_string()),
        Any::Int(number) => out.name("intValue").push_str(&format!("\"{number}\"")),
        Any::Double(number) => out.name("doubleValue").push_str(&spelled(*number)),
        Any::Array(values) => out.object("arrayValue", |out| {
            out.array("values", values, |value, out| object(out, |out| write_any(value, out)));
        }),
        Any::Map(pairs) => out.object("kvlistValue", |out| out.array("values", pairs, write_pair)),
        Any::Bytes(bytes) => out.name("bytesValue").push_str(&json_text(&STANDARD.encode(bytes))),
    }
}

/// A double in its shortest form that reads back the same; what JSON has no number for, in quotation marks.
fn spelled(number: f64) -> String {
    match number {
        n if n.is_nan() => "\"NaN\"".to_owned(),
        n if n.is_infinite() && n > 0.0 => "\"Infinity\"".to_owned(),
        n if n.is_infinite() => "\"-Infinity\"".to_owned(),
        n => format!("{n:?}"),
    }
}

impl Spelled for Resource {
    fn read_json(value: &Val<'_, '_>) -> Result<Resource, Fault> {
        let dropped = uint32(value, "droppedAttributesCount");
        Ok(Resource { attributes: attributes(value)?, dropped, unknown: Vec::new() })
    }
    fn write_json(&self, out: &mut Object<'_>) {
        out.attributes(&self.attributes);
        out.number("droppedAttributesCount", i64::from(self.dropped));
    }
}

impl Spelled for Scope {
    fn read_json(value: &Val<'_, '_>) -> Result<Scope, Fault> {
        Ok(Scope {
            name: text(value, "name"),
            version: text(value, "version"),
            attributes: attributes(value)?,
            dropped: uint32(value, "droppedAttributesCount"),
            unknown: Vec::new(),
        })
    }
    fn write_json(&self, out: &mut Object<'_>) {
        out.text("name", &self.name);
        out.text("version", &self.version);
        out.attributes(&self.attributes);
        out.number("droppedAttributesCount", i64::from(self.dropped));
    }
}

impl Spelled for LogRecord {
    fn read_json(value: &Val<'_, '_>) -> Result<LogRecord, Fault> {
        Ok(LogRecord {
            time: uint(value, "timeUnixNano"),
            observed: uint(value, "observedTimeUnixNano"),
            severity: uint32(value, "severityNumber") as i32,
            severity_text: text(value, "severityText"),
            body: field(value, "body").map(|body| any(&body, 0)).transpose()?,
            attributes: attributes(value)?,
            dropped: uint32(value, "droppedAttributesCount"),
            flags: uint32(value, "flags"),
            trace: id(value, "traceId"),
            span: id(value, "spanId"),
            event_name: text(value, "eventName"),
            unknown: Vec::new(),
        })
    }
    fn write_json(&self, out: &mut Object<'_>) {
        out.long("timeUnixNano", self.time);
        out.long("observedTimeUnixNano", self.observed);
        out.number("severityNumber", i64::from(self.severity));
        out.text("severityText", &self.severity_text);
        if let Some(body) = &self.body {
            out.object("body", |out| write_any(body, out));
        }
        out.attributes(&self.attributes);
        out.number("droppedAttributesCount", i64::from(self.dropped));
        out.number("flags", i64::from(self.flags));
        out.id("traceId", &self.trace);
        out.id("spanId", &self.span);
        out.text("eventName", &self.event_name);
    }
}

const KINDS: &[&str] = &["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const CODES: &[&str] = &["UNSET", "OK", "ERROR"];

impl Spelled for Span {
    fn read_json(value: &Val<'_, '_>) -> Result<Span, Fault> {
        let status = field(value, "status").map(|status| Status {
            message: text(&status, "message"),
            code: word(&status, "code", "STATUS_CODE_", CODES),
            unknown: Vec::new(),
        });
        Ok(Span {
            trace: id(value, "traceId"),
            id: id(value, "spanId"),
            state: text(value, "traceState"),
            parent: id(value, "parentSpanId"),
            flags: uint32(value, "flags"),
            name: text(value, "name"),
            kind: word(value, "kind", "SPAN_KIND_", KINDS),
            start: uint(value, "startTimeUnixNano"),
            end: uint(value, "endTimeUnixNano"),
            attributes: attributes(value)?,
            dropped: uint32(value, "droppedAttributesCount"),
            events: list(value, "events").map(|one| event(&one)).collect::<Result<_, _>>()?,
            dropped_events: uint32(value, "droppedEventsCount"),
            links: list(value, "links").map(|one| link(&one)).collect::<Result<_, _>>()?,
            dropped_links: uint32(value, "droppedLinksCount"),
            status,
            unknown: Vec::new(),
        })
    }
    fn write_json(&self, out: &mut Object<'_>) {
        out.id("traceId", &self.trace);
        out.id("spanId", &self.id);
        out.text("traceState", &self.state);
        out.id("parentSpanId", &self.parent);
        out.number("flags", i64::from(self.flags));
        out.text("name", &self.name);
        out.number("kind", i64::from(self.kind));
        out.long("startTimeUnixNano", self.start);
        out.long("endTimeUnixNano", self.end);
        out.attributes(&self.attributes);
        out.number("droppedAttributesCount", i64::from(self.dropped));
        out.array("events", &self.events, |event, out| object(out, |out| write_event(event, out)));
        out.number("droppedEventsCount", i64::from(self.dropped_events));
        out.array("links", &self.links, |link, out| object(out, |out| write_link(link, out)));
        out.number("droppedLinksCount", i64::from(self.dropped_links));
        if let Some(status) = &self.status {
            out.object("status", |out| {
                out.text("message", &status.message);
                out.number("code", i64::from(status.code));
            });
        }
    }
}

fn event(value: &Val<'_, '_>) -> Result<SpanEvent, Fault> {
    Ok(SpanEvent {
        time: uint(value, "timeUnixNano"),
        name: text(value, "name"),
        attributes: attributes(value)?,
        dropped: uint32(value, "droppedAttributesCount"),
        unknown: Vec::new(),
    })
}

pub(super) fn write_event(event: &SpanEvent, out: &mut Object<'_>) {
    out.long("timeUnixNano", event.time);
    out.text("name", &event.name);
    out.attributes(&event.attributes);
    out.number("droppedAttributesCount", i64::from(event.dropped));
}

fn link(value: &Val<'_, '_>) -> Result<Link, Fault> {
    Ok(Link {
        trace: id(value, "traceId"),
        span: id(value, "spanId"),
        state: text(value, "traceState"),
        attributes: attributes(value)?,
        dropped: uint32(value, "droppedAttributesCount"),
        flags: uint32(value, "flags"),
        unknown: Vec::new(),
    })
}

pub(super) fn write_link(link: &Link, out: &mut Object<'_>) {
    out.id("traceId", &link.trace);
    out.id("spanId", &link.span);
    out.text("traceState", &link.state);
    out.attributes(&link.attributes);
    out.number("droppedAttributesCount", i64::from(link.dropped));
    out.number("flags", i64::from(link.flags));
}

/// One object as text, for what is kept as a token.
pub(super) fn token(write: impl FnOnce(&mut Object<'_>)) -> String {
    let mut out = String::new();
    object(&mut out, write);
    out
}

/// A value as a plain JSON token, as `unmapped` keeps it: NaN and the infinities as bare words.
pub(super) fn plain(value: &Any, out: &mut String) {
    match value {
        Any::Empty => out.push_str("null"),
        Any::Text(text) => out.push_str(&json_text(text)),
        Any::Bool(value) => out.push_str(&value.to_string()),
        Any::Int(number) => out.push_str(&number.to_string()),
        Any::Double(number) => out.push_str(spelled(*number).trim_matches('"')),
        Any::Bytes(bytes) => out.push_str(&json_text(&STANDARD.encode(bytes))),
        Any::Array(values) => {
            out.push('[');
            for (number, value) in values.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                plain(value, out);
            }
            out.push(']');
        }
        Any::Map(pairs) => {
            out.push('{');
            for (number, pair) in pairs.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                out.push_str(&json_text(&pair.key));
                out.push(':');
                plain(pair.value.as_ref().unwrap_or(&Any::Empty), out);
            }
            out.push('}');
        }
    }
}
