//! An event as a log record of OpenTelemetry, and back.
//!
//! One record an event, with the `audit.*` attributes of the draft audit conventions, no severity and no body. This
//! is the record's content; its encodings (OTLP in Protobuf and JSON) are the collector's.

use super::conv::Conv;
use super::table::{ROWS, Row};
use super::tree::{Json, depth, get, leftover, object, put, remove, spelled, text};
use super::twin::{Place, Twins};
use super::{Import, MapError, distrust};
use crate::Event;
use crate::json::parse::parse;
use crate::json::time::{parse_rfc3339, rfc3339};
use crate::json::{from_tree, hex, to_json, unhex};
use std::collections::HashSet;

/// Before the names of the extension: `countersign.core.rec`.
const EXTENSION: &str = "countersign.";
/// In every record of ours: the schema number.
const MARK: &str = "countersign.schema";
/// Before the names of the resource's attributes in the table.
const RESOURCE: &str = "resource ";
/// Deepest value that is written as nested values; a deeper one is `{"$json": text}`.
const DEPTH_MAX: usize = 8;

/// `AnyValue`, without floating-point numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtelValue {
    /// `string_value`
    Text(String),
    /// `bool_value`
    Bool(bool),
    /// `int_value`
    Int(i64),
    /// `array_value`
    Array(Vec<OtelValue>),
    /// `kvlist_value`
    Map(Vec<(String, OtelValue)>),
    /// Anything else, as its JSON token: only in what others added to a record.
    Other(String),
}

/// What a log record says. Times are UTC ns since 1970, 0 = unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtelLog {
    /// Attributes of the resource: the observer.
    pub resource: Vec<(String, OtelValue)>,
    /// `Timestamp`
    pub time: u64,
    /// `ObservedTimestamp`
    pub observed: u64,
    /// `TraceId`
    pub trace: Option<[u8; 16]>,
    /// `SpanId`
    pub span: Option<[u8; 8]>,
    /// `Flags`
    pub flags: u32,
    /// `EventName`: kind and operation class.
    pub event_name: String,
    /// Attributes of the record.
    pub attributes: Vec<(String, OtelValue)>,
}

/// Whether a record with these attributes was written by [`to_otel`].
pub fn is_ours<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(|name| name == MARK)
}

/// The event as a log record.
pub fn to_otel(event: &Event) -> OtelLog {
    // What is written is always read: the text is our own.
    let ours = parse(&to_json(event)).unwrap_or(Json::Bool(false));
    let mut rest = ours.clone();
    let mut log = OtelLog { event_name: event_name(&ours), ..OtelLog::default() };
    log.attributes.push((MARK.to_owned(), OtelValue::Int(i64::from(crate::SCHEMA))));
    let mut covered = vec!["schema"];
    for row in rows(kind(&ours)) {
        let Some(value) = get(&ours, row.field) else { continue };
        let Some(theirs) = out(row, value) else { continue };
        // What looks like a filler is taken for one on the way back, so the extension must have it too.
        if back(row, &theirs).as_ref() == Some(value) && !is_filler(row.otel, &theirs) {
            covered.push(row.field);
        }
        set(&mut log, row.otel, &theirs);
    }
    for (name, word) in REQUIRED {
        if !log.attributes.iter().any(|(known, _)| known == name) {
            log.attributes.push((name.to_owned(), OtelValue::Text(word.to_owned())));
        }
    }
    covered.iter().for_each(|field| remove(&mut rest, field));
    if let Json::Object(groups) = &rest {
        for (group, fields) in groups {
            let Json::Object(fields) = fields else { continue };
            for (name, value) in fields {
                log.attributes.push((format!("{EXTENSION}{group}.{name}"), outside(value)));
            }
        }
    }
    log
}

/// The event of a record that [`to_otel`] wrote. What somebody added on the way is in `content.unmapped`.
///
/// # Errors
/// Not such a record, or one changed into what no event can be.
pub fn from_otel(log: &OtelLog) -> Result<Import, MapError> {
    if !is_ours(log.attributes.iter().map(|(name, _)| name.as_str())) {
        return Err(MapError::new(MARK, "required: the record is no export of an event"));
    }
    let mut extension = object();
    let mut others = Vec::new();
    for (name, value) in &log.attributes {
        let place = name.strip_prefix(EXTENSION).and_then(|path| path.split_once('.'));
        match place {
            _ if name == MARK => put(&mut extension, "schema", inside(value)?),
            Some((group, field)) if !field.contains('.') => {
                put(&mut extension, &format!("{group}.{field}"), inside(value)?);
            }
            _ => others.push((name.as_str(), value)),
        }
    }
    let mut twins = Twins::new(extension);
    if event_name(&twins.event) != log.event_name {
        twins.disagree("core.kind");
    }
    let kind = kind(&twins.event).to_owned();
    let mut known = Vec::new();
    for row in rows(&kind) {
        let expects = get(&twins.extension, row.field).and_then(|have| out(row, have)).is_some();
        let found = find(log, row.otel)?;
        if !expects && found.as_ref().is_some_and(|found| is_filler(row.otel, found)) {
            known.push(row.otel);
            continue;
        }
        let place =
            Place { field: row.field, out: &|ours| out(row, ours), back: &|theirs| back(row, theirs) };
        if twins.reconcile(&place, found.as_ref()) {
            known.push(row.otel);
        }
    }
    others.retain(|(name, _)| !known.contains(name));
    let resource =
        log.resource.iter().filter(|(name, _)| !known.iter().any(|k| k.strip_prefix(RESOURCE) == Some(name)));
    let resource = resource.map(|(name, value)| (name.as_str(), value));
    added(&mut twins.event, "/attributes", others.into_iter())?;
    added(&mut twins.event, "/resource", resource)?;
    let mut event = from_tree(twins.event)?;
    if !twins.disagreements.is_empty() {
        distrust(&mut event);
    }
    event.encode().map_err(|error| MapError::new("event", &error.to_string()))?;
    Ok(Import { event, ours: true, disagreements: twins.disagreements, taken: Vec::new() })
}

/// Keeps what others added to the record.
fn added<'a>(
    event: &mut Json,
    from: &str,
    attributes: impl Iterator<Item = (&'a str, &'a OtelValue)>,
) -> Result<(), MapError> {
    let mut kept = match get(event, "content.unmapped") {
        Some(Json::Object(fields)) => fields.clone(),
        _ => Vec::new(),
    };
    let before = kept.len();
    let mut seen: HashSet<String> = kept.iter().map(|(name, _)| name.clone()).collect();
    for (name, value) in attributes {
        let mut pointer = format!("{from}/{}", name.replace('~', "~0").replace('/', "~1"));
        leftover(&inside(value)?, &mut pointer, &mut |pointer, token| {
            if seen.insert(pointer.to_owned()) {
                kept.push((pointer.to_owned(), Json::Text(token)));
            }
        });
    }
    if kept.len() > before {
        remove(event, "content.unmapped");
        put(event, "content.unmapped", Json::Object(kept));
    }
    Ok(())
}

fn rows(kind: &str) -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(move |row| !row.otel.is_empty() && (row.kinds.is_empty() || row.kinds.contains(&kind)))
}

fn word<'a>(ours: &'a Json, path: &str) -> &'a str {
    if let Some(Json::Text(word)) = get(ours, path) { word } else { "" }
}

fn kind(ours: &Json) -> &str {
    word(ours, "core.kind")
}

/// `http.read`; `audit` where the kind is unknown.
fn event_name(ours: &Json) -> String {
    match (kind(ours), word(ours, "core.class")) {
        ("", _) => "audit".to_owned(),
        (kind, "") => kind.to_owned(),
        (kind, class) => format!("{kind}.{class}"),
    }
}

/// What the draft audit conventions require where the event says nothing.
const REQUIRED: [(&str, &str); 4] = [
    ("audit.actor.id", "unknown"),
    ("audit.actor.type", "service"),
    ("audit.action", "unknown"),
    ("audit.outcome", "unknown"),
];

fn is_filler(place: &str, theirs: &Json) -> bool {
    REQUIRED.iter().any(|(name, word)| *name == place && *theirs == text(word))
}

/// Conversions that change a value for OTel too; every other one is of OCSF alone.
fn is_changed(conv: Conv) -> bool {
    use Conv::*;
    matches!(conv, HttpCode | Code | ActorType | AuditOutcome | IpFamily | Digits | Header(_) | Utf8)
}

/// The value as OTel has it; ids stay hexadecimal here.
fn out(row: &Row, ours: &Json) -> Option<Json> {
    match (row.otel, row.conv) {
        ("Timestamp" | "ObservedTimestamp", _) => {
            let Json::Text(time) = ours else { return None };
            let ns = u64::try_from(parse_rfc3339(time)?).ok().filter(|ns| *ns > 0)?;
            Some(Json::Int(i128::from(ns)))
        }
        ("Flags", _) => Conv::Range(1, 255).out(ours),
        (_, conv) if is_changed(conv) => conv.out(ours),
        _ => Some(ours.clone()),
    }
}

fn back(row: &Row, theirs: &Json) -> Option<Json> {
    match (row.otel, row.conv) {
        ("Timestamp" | "ObservedTimestamp", _) => {
            let Json::Int(ns) = theirs else { return None };
            rfc3339(*ns).map(Json::Text)
        }
        ("Flags", _) => Some(theirs.clone()),
        (_, conv) if is_changed(conv) => conv.back(theirs),
        _ => Some(theirs.clone()),
    }
}

fn set(log: &mut OtelLog, place: &str, theirs: &Json) {
    let number = if let Json::Int(n) = theirs { *n } else { 0 };
    let id = if let Json::Text(id) = theirs { unhex(id) } else { None }.unwrap_or_default();
    match place {
        "Timestamp" => log.time = u64::try_from(number).unwrap_or(0),
        "ObservedTimestamp" => log.observed = u64::try_from(number).unwrap_or(0),
        "Flags" => log.flags = u32::try_from(number).unwrap_or(0),
        "TraceId" => log.trace = id.try_into().ok(),
        "SpanId" => log.span = id.try_into().ok(),
        name => match name.strip_prefix(RESOURCE) {
            Some(name) => log.resource.push((name.to_owned(), outside(theirs))),
            None => log.attributes.push((name.to_owned(), outside(theirs))),
        },
    }
}

fn find(log: &OtelLog, place: &str) -> Result<Option<Json>, MapError> {
    let number = |n: u64| (n > 0).then_some(Json::Int(i128::from(n)));
    Ok(match place {
        "Timestamp" => number(log.time),
        "ObservedTimestamp" => number(log.observed),
        "Flags" => number(u64::from(log.flags)),
        "TraceId" => log.trace.map(|id| Json::Text(hex(&id))),
        "SpanId" => log.span.map(|id| Json::Text(hex(&id))),
        name => {
            let (list, name) = match name.strip_prefix(RESOURCE) {
                Some(name) => (&log.resource, name),
                None => (&log.attributes, name),
            };
            list.iter().find(|(known, _)| known == name).map(|(_, value)| inside(value)).transpose()?
        }
    })
}

/// A value as OTel can carry it: whole numbers beyond 64 signed bits as `{"$int": …}`, deep ones as `{"$json": …}`.
fn outside(json: &Json) -> OtelValue {
    let marked = |name: &str, text: String| OtelValue::Map(vec![(name.to_owned(), OtelValue::Text(text))]);
    match json {
        Json::Bool(flag) => OtelValue::Bool(*flag),
        Json::Text(text) => OtelValue::Text(text.clone()),
        Json::Int(n) => i64::try_from(*n).map_or_else(|_| marked("$int", n.to_string()), OtelValue::Int),
        Json::Raw(token) => OtelValue::Other(token.clone()),
        deep if depth(deep) > DEPTH_MAX => marked("$json", spelled(deep)),
        Json::Array(items) => OtelValue::Array(items.iter().map(outside).collect()),
        Json::Object(fields) => {
            OtelValue::Map(fields.iter().map(|(name, value)| (name.clone(), outside(value))).collect())
        }
    }
}

/// The way back of [`outside`].
fn inside(value: &OtelValue) -> Result<Json, MapError> {
    Ok(match value {
        OtelValue::Bool(flag) => Json::Bool(*flag),
        OtelValue::Text(words) => text(words),
        OtelValue::Int(n) => Json::Int(i128::from(*n)),
        OtelValue::Other(token) => Json::Raw(token.clone()),
        OtelValue::Array(items) => Json::Array(items.iter().map(inside).collect::<Result<_, _>>()?),
        OtelValue::Map(fields) => match fields.as_slice() {
            [(name, OtelValue::Text(digits))] if name == "$int" => {
                Json::Int(digits.parse().map_err(|_| MapError::new("$int", "not a whole number"))?)
            }
            [(name, OtelValue::Text(json))] if name == "$json" => parse(json)?,
            fields => {
                let pair = |(name, value): &(String, OtelValue)| Ok((name.clone(), inside(value)?));
                Json::Object(fields.iter().map(pair).collect::<Result<_, MapError>>()?)
            }
        },
    })
}
