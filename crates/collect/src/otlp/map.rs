//! What a log record or a span means: a draft of an event, attributes by the table of `semconv.rs`.
//!
//! Everything that an SDK says of identities is claimed: it writes what it likes. A span of kind SERVER is the
//! callee's view, one of kind CLIENT the caller's; what joins the two is [`crate::spans`]. A log record is an
//! interaction only where its attributes say which one and how it ended, or its text is a line of a format that is
//! known; any other log record is `raw`: something was logged, and no more. What no rule took is in `unmapped`, under
//! the name that the field has in OTLP/JSON, attributes by their keys.

mod attributes;
mod family;
mod identity;
#[cfg(test)]
mod tests;

use super::{Any, Group, Item, LogRecord, Pair, Request, Scoped, Span, SpanKind};
use crate::formats::Record;
use crate::json::Doc;
use crate::seal::seal_raw;
use crate::spans::SpanRecord;
use crate::time::Stamp;
use crate::{Draft, Fault, Input, Keeper, RECORD_MAX};
use attributes::Attributes;
use countersign_event::{Event, Rec, TimeBasis};
pub(crate) use identity::called_by;

/// Name of the format of log records and of spans, in `cap.fmt`.
pub const LOG_FORMAT: &str = "otlp_log";
/// See [`LOG_FORMAT`].
pub const SPAN_FORMAT: &str = "otlp_span";

/// What joining needs to know of a span beside its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanFacts {
    /// Kind.
    pub kind: SpanKind,
    /// Trace and span id; `None` = it has none that is valid.
    pub id: Option<([u8; 16], [u8; 8])>,
    /// Its parent's span id.
    pub parent: Option<[u8; 8]>,
    /// `service.name`; empty = unknown.
    pub service: String,
    /// `service.namespace`.
    pub namespace: String,
    /// `service.instance.id`.
    pub instance: String,
    /// Spans that it follows from.
    pub links: Vec<([u8; 16], [u8; 8])>,
    /// Beginning and end, UTC ns.
    pub times: (u64, u64),
}

/// The event of a request with one log record. Never fails: what is not understood becomes a `raw` record. `now` is
/// our clock, UTC ns.
pub fn observe_log(bytes: &[u8], input: &Input, keeper: &Keeper, now: u64) -> Event {
    with_record(bytes, input, now, |record| {
        match record.and_then(|record| Ok((log_record(record)?, record))) {
            Ok((mut draft, record)) => {
                crate::observe::unread(record, &mut draft);
                crate::seal(draft, LOG_FORMAT, bytes, input, keeper, now)
            }
            Err(fault) => seal_raw(LOG_FORMAT, fault, bytes, input, keeper, now),
        }
    })
}

/// As [`observe_log`], of a request with one span.
///
/// # Errors
/// It is not understood: its `raw` record.
pub fn observe_span(
    bytes: &[u8],
    input: &Input,
    keeper: &Keeper,
    now: u64,
) -> Result<SpanRecord, Box<Event>> {
    with_record(bytes, input, now, |record| {
        match record.and_then(|record| Ok((span_record(record)?, record))) {
            Ok(((mut draft, facts), record)) => {
                crate::observe::unread(record, &mut draft);
                let service = identity::service(&facts, &input.realm);
                let event = crate::seal(draft, SPAN_FORMAT, bytes, input, keeper, now);
                Ok(SpanRecord { facts, service, event })
            }
            Err(fault) => Err(Box::new(seal_raw(SPAN_FORMAT, fault, bytes, input, keeper, now))),
        }
    })
}

/// Calls `with` with the record, or with why there is none.
fn with_record<T>(
    bytes: &[u8],
    input: &Input,
    now: u64,
    with: impl FnOnce(Result<&Record<'_>, Fault>) -> T,
) -> T {
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    if bytes.len() > RECORD_MAX {
        return with(Err(Fault::new(RECORD_MAX, "longer than a record may be")));
    }
    let doc = super::split::is_json(bytes).then(|| Doc::parse(bytes)).transpose();
    match doc {
        Ok(doc) => with(Ok(&Record { json: doc.as_ref(), realm: &input.realm, ..Record::new(bytes, now) })),
        Err(fault) => with(Err(fault)),
    }
}

/// Whose view a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Callee,
}

/// A draft that is being made.
pub(super) struct Mapper<'a> {
    draft: Draft,
    side: Side,
    realm: &'a str,
    attributes: Attributes<'a>,
    resource: Attributes<'a>,
}

/// The draft of a request with one log record in either encoding.
///
/// # Errors
/// It is no such request.
pub fn log_record(record: &Record<'_>) -> Result<Draft, Fault> {
    let request = one::<LogRecord>(record)?;
    let (group, scoped, log) = only(&request)?;
    if super::is_ours(log)
        && let Ok(import) = super::import(group, log)
    {
        return crate::reobserve::reobserve(import);
    }
    Ok(log_draft(record, group, scoped, log))
}

/// The draft of a request with one span in either encoding, and what joining needs to know of it.
///
/// # Errors
/// It is no such request.
pub fn span_record(record: &Record<'_>) -> Result<(Draft, SpanFacts), Fault> {
    let request = one::<Span>(record)?;
    let (group, scoped, span) = only(&request)?;
    Ok(span_draft(record, group, scoped, span))
}

fn one<T: Item>(record: &Record<'_>) -> Result<Request<T>, Fault> {
    match record.json {
        Some(doc) => super::from_json(&doc.root()),
        None if super::split::is_json(record.bytes) => super::from_json(&Doc::parse(record.bytes)?.root()),
        None => super::from_protobuf(record.bytes),
    }
}

/// The one record of a request, with what is around it.
type One<'r, T> = (&'r Group<T>, &'r Scoped<T>, &'r T);

fn only<T>(request: &Request<T>) -> Result<One<'_, T>, Fault> {
    let mut items = request.items();
    match (items.next(), items.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Fault::new(0, "a request without a record")),
        (Some(_), Some(_)) => Err(Fault::new(0, "a request with more than one record")),
    }
}

fn log_draft(
    record: &Record<'_>,
    group: &Group<LogRecord>,
    scoped: &Scoped<LogRecord>,
    log: &LogRecord,
) -> Draft {
    let side = log_side(log);
    let mut mapper = Mapper::new(side, record.realm, group, &log.attributes);
    let known = mapper.log_family();
    let body = match &log.body {
        Some(Any::Text(text)) if !known => crate::formats::generic::inside(record, text),
        _ => None,
    };
    let read = body.is_some();
    if let Some(body) = body {
        mapper.draft = body;
    } else if known {
        mapper.ends();
    } else {
        mapper.draft.event.core.rec = Some(Rec::Raw);
    }
    let mut draft = mapper.finish();
    let time = if log.time > 0 { log.time } else { log.observed };
    if draft.event.core.t_event.is_none() && time > 0 {
        draft.time(stamp(time));
    }
    links(&mut draft, &log.trace, Some(&log.span), log.flags);
    around(&mut draft, group, scoped);
    if let (Some(value), false) = (&log.body, read) {
        keep(&mut draft, "/body", value);
    }
    number(&mut draft, "/severityNumber", i64::from(log.severity));
    text(&mut draft, "/severityText", &log.severity_text);
    text(&mut draft, "/eventName", &log.event_name);
    number(&mut draft, "/droppedAttributesCount", i64::from(log.dropped));
    bytes(&mut draft, "/unknown", &log.unknown);
    draft
}

/// A record of a call names the resource (caller) or how it was reached (callee).
fn log_side(log: &LogRecord) -> Side {
    let has = |names: &[&str]| log.attributes.iter().any(|pair| names.contains(&pair.key.as_str()));
    let called = has(&["url.full", "http.url", "db.system", "db.system.name", "messaging.system"]);
    if called && !has(&["client.address", "http.route", "url.path", "http.target"]) {
        Side::Caller
    } else {
        Side::Callee
    }
}

fn span_draft(
    record: &Record<'_>,
    group: &Group<Span>,
    scoped: &Scoped<Span>,
    span: &Span,
) -> (Draft, SpanFacts) {
    let kind = SpanKind::of(span.kind);
    let side = if kind == SpanKind::Server { Side::Callee } else { Side::Caller };
    let mut mapper = Mapper::new(side, record.realm, group, &span.attributes);
    mapper.span_family(span, kind);
    mapper.ends();
    let facts = facts(&mapper, span, kind);
    let mut draft = mapper.finish();
    if span.start > 0 {
        draft.time(stamp(span.start));
    }
    match span.end.checked_sub(span.start) {
        Some(dur) if span.end > 0 => draft.event.core.dur = Some(dur),
        None if span.end > 0 => draft.partial("a span ends before it begins"),
        _ => {}
    }
    links(&mut draft, &span.trace, Some(&span.id), span.flags);
    match id::<8>(&span.parent) {
        Some(parent) => draft.event.links.parent = Some(parent),
        None => bytes(&mut draft, "/parentSpanId", &span.parent),
    }
    if let Some((trace, id)) = facts.id {
        draft.source_id = source_id(&trace, &id);
    }
    span_rest(&mut draft, span);
    around(&mut draft, group, scoped);
    (draft, facts)
}

fn facts(mapper: &Mapper<'_>, span: &Span, kind: SpanKind) -> SpanFacts {
    let resource = |name| mapper.resource.text_of(name).unwrap_or_default().to_owned();
    let pair = |trace: &[u8], span: &[u8]| id::<16>(trace).zip(id::<8>(span));
    SpanFacts {
        kind,
        id: pair(&span.trace, &span.id),
        parent: id::<8>(&span.parent),
        service: resource("service.name"),
        namespace: resource("service.namespace"),
        instance: resource("service.instance.id"),
        links: span.links.iter().filter_map(|link| pair(&link.trace, &link.span)).collect(),
        times: (span.start, span.end),
    }
}

/// A span's own id, as the source id of its event: what a repeat is known by.
pub fn source_id(trace: &[u8; 16], span: &[u8; 8]) -> String {
    let mut out = String::with_capacity(49);
    super::json::hex(trace, &mut out);
    out.push('-');
    super::json::hex(span, &mut out);
    out
}

fn span_rest(draft: &mut Draft, span: &Span) {
    number(draft, "/kind", i64::from(span.kind));
    if draft.event.core.op != span.name {
        text(draft, "/name", &span.name);
    }
    text(draft, "/traceState", &span.state);
    for (at, event) in span.events.iter().enumerate() {
        draft.token(format!("/events/{at}"), super::json::token(|out| super::json::write_event(event, out)));
    }
    for (at, link) in span.links.iter().enumerate() {
        draft.token(format!("/links/{at}"), super::json::token(|out| super::json::write_link(link, out)));
    }
    if let Some(status) = &span.status {
        number(draft, "/status/code", i64::from(status.code));
        if draft.event.content.err != status.message {
            text(draft, "/status/message", &status.message);
        }
        bytes(draft, "/status/unknown", &status.unknown);
    }
    number(draft, "/droppedAttributesCount", i64::from(span.dropped));
    number(draft, "/droppedEventsCount", i64::from(span.dropped_events));
    number(draft, "/droppedLinksCount", i64::from(span.dropped_links));
    bytes(draft, "/unknown", &span.unknown);
}

/// What the scope and the resource say that no rule took.
fn around<T>(draft: &mut Draft, group: &Group<T>, scoped: &Scoped<T>) {
    if let Some(scope) = &scoped.scope {
        text(draft, "/scope/name", &scope.name);
        text(draft, "/scope/version", &scope.version);
        for pair in &scope.attributes {
            keep_pair(draft, "/scope/attributes/", pair);
        }
        number(draft, "/scope/droppedAttributesCount", i64::from(scope.dropped));
        bytes(draft, "/scope/unknown", &scope.unknown);
    }
    text(draft, "/schemaUrl", &scoped.schema_url);
    bytes(draft, "/scopeUnknown", &scoped.unknown);
    if let Some(resource) = &group.resource {
        number(draft, "/resource/droppedAttributesCount", i64::from(resource.dropped));
        bytes(draft, "/resource/unknown", &resource.unknown);
    }
    text(draft, "/resource/schemaUrl", &group.schema_url);
    bytes(draft, "/resourceUnknown", &group.unknown);
}

fn stamp(ns: u64) -> Option<Stamp> {
    Some(Stamp { ns: i64::try_from(ns).ok()?, basis: TimeBasis::Stated })
}

/// An id of the right length that is not all zero.
fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok().filter(|id: &[u8; N]| id.iter().any(|byte| *byte != 0))
}

/// Trace context; an id that is none stays as it came.
fn links(draft: &mut Draft, trace: &[u8], span: Option<&[u8]>, flags: u32) {
    draft.event.links.trace = id(trace);
    draft.event.links.span = span.and_then(id);
    if draft.event.links.trace.is_none() {
        bytes(draft, "/traceId", trace);
    }
    if draft.event.links.span.is_none() {
        bytes(draft, "/spanId", span.unwrap_or_default());
    }
    if flags & 0xff != 0 {
        draft.event.links.tflags = Some(u64::from(flags & 0xff));
    }
    if flags > 0xff {
        number(draft, "/flags", i64::from(flags));
    }
}

fn keep(draft: &mut Draft, pointer: impl AsRef<str> + Into<String>, value: &Any) {
    match value {
        Any::Bytes(bytes) => draft.bytes(pointer, bytes),
        value => {
            let mut token = String::new();
            super::json::plain(value, &mut token);
            draft.token(pointer, token);
        }
    }
}

/// Keys stand as they are, `~` and `/` escaped (RFC 6901). A key that comes twice keeps both, the second numbered.
fn keep_pair(draft: &mut Draft, under: &str, pair: &Pair) {
    let mut pointer = String::with_capacity(under.len() + pair.key.len());
    pointer.push_str(under);
    crate::json::pointer_part(&pair.key, &mut pointer);
    let unmapped = &draft.event.content.unmapped;
    if unmapped.contains_key(&pointer) {
        let mut others = (2..TWINS_MAX).map(|number| format!("{pointer}/{number}"));
        let free = others.find(|name| !unmapped.contains_key(name));
        pointer = free.unwrap_or_else(|| format!("{pointer}/{}", TWINS_MAX - 1));
        draft.partial("an attribute is given twice");
    }
    keep(draft, pointer, pair.value.as_ref().unwrap_or(&Any::Empty));
}

/// Equal keys that are told apart.
const TWINS_MAX: usize = 8;

fn text(draft: &mut Draft, pointer: &str, text: &str) {
    if !text.is_empty() {
        draft.said(pointer, text);
    }
}

fn number(draft: &mut Draft, pointer: &str, number: i64) {
    if number != 0 {
        draft.token(pointer, number.to_string());
    }
}

fn bytes(draft: &mut Draft, pointer: &str, bytes: &[u8]) {
    if !bytes.is_empty() {
        draft.bytes(pointer, bytes);
    }
}

impl<'a> Mapper<'a> {
    fn new<T>(side: Side, realm: &'a str, group: &'a Group<T>, attributes: &'a [Pair]) -> Mapper<'a> {
        let resource =
            group.resource.as_ref().map(|resource| resource.attributes.as_slice()).unwrap_or_default();
        Mapper {
            draft: Draft::new(),
            side,
            realm,
            attributes: Attributes::new(attributes),
            resource: Attributes::new(resource),
        }
    }

    fn finish(self) -> Draft {
        let Mapper { mut draft, attributes, resource, .. } = self;
        attributes.rest(|pair| keep_pair(&mut draft, "/attributes/", pair));
        resource.rest(|pair| keep_pair(&mut draft, "/resource/attributes/", pair));
        draft
    }
}
