//! OpenTelemetry's records: the model, both encodings both ways, and what their attributes mean.
//!
//! Source: opentelemetry-proto 1.x (`logs/v1`, `trace/v1`, `common/v1`, `resource/v1`, `collector/*/v1`), and "OTLP/JSON
//! Protobuf Encoding" of the OTLP specification: ids in hexadecimal, 64-bit numbers as strings, enums as numbers,
//! names in lowerCamelCase (snake_case and 64-bit numbers as numbers are read too, as any reader of Protobuf's JSON
//! must). Metrics and profiles are not read: they are no interactions.
//!
//! What a receiver works with is [`split()`]: one request with many records becomes as many requests with one record
//! each, made of the very bytes that came, unknown fields included. Such a one is a record like a line of a log: it
//! is what an event's digest is of, and [`map`] makes a draft of it.
//!
//! Invariants: decoding and encoding again gives an equal request, unknown fields of Protobuf included; values nest
//! at most [`VALUE_DEPTH_MAX`] deep; time and memory are linear, and a record in Protobuf has at most [`VALUES_MAX`] values.

mod batch;
pub mod canonical;
mod export;
mod json;
pub mod map;
mod protobuf;
mod semconv;
mod split;
#[cfg(test)]
mod tests;

pub use batch::{Batch, logs, spans};
pub(crate) use batch::{HALF, half_id};
pub use export::{export, import, is_ours};
pub use json::{from_json, to_json};
pub use protobuf::{VALUES_MAX, from_protobuf, to_protobuf};
pub use split::{BATCH_ITEMS_MAX, Signal, UNFOLDED_MAX, split, split_json, split_protobuf};

/// Deepest nesting of [`Any`].
pub const VALUE_DEPTH_MAX: usize = 16;

/// `AnyValue`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Any {
    /// No value was set.
    #[default]
    Empty,
    /// `string_value`
    Text(String),
    /// `bool_value`
    Bool(bool),
    /// `int_value`
    Int(i64),
    /// `double_value`
    Double(f64),
    /// `array_value`
    Array(Vec<Any>),
    /// `kvlist_value`
    Map(Vec<Pair>),
    /// `bytes_value`
    Bytes(Vec<u8>),
}

/// `KeyValue`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pair {
    /// Name.
    pub key: String,
    /// Value; `None` = the field is missing.
    pub value: Option<Any>,
}

/// `Resource`: what made the telemetry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// Attributes.
    pub attributes: Vec<Pair>,
    /// Attributes that were dropped.
    pub dropped: u32,
    /// Fields unknown here, as they lay (Protobuf).
    pub unknown: Vec<u8>,
}

/// `InstrumentationScope`: the library that made it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Attributes.
    pub attributes: Vec<Pair>,
    /// Attributes that were dropped.
    pub dropped: u32,
    /// Fields unknown here, as they lay (Protobuf).
    pub unknown: Vec<u8>,
}

/// `LogRecord`. Times are UTC ns since 1970, 0 = unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogRecord {
    /// When it happened.
    pub time: u64,
    /// When the collection system saw it.
    pub observed: u64,
    /// `SeverityNumber`, 1 to 24.
    pub severity: i32,
    /// The source's own name for it.
    pub severity_text: String,
    /// What was logged.
    pub body: Option<Any>,
    /// Attributes.
    pub attributes: Vec<Pair>,
    /// Attributes that were dropped.
    pub dropped: u32,
    /// Lowest eight bits: W3C trace flags.
    pub flags: u32,
    /// 16 bytes, or what came instead.
    pub trace: Vec<u8>,
    /// 8 bytes, or what came instead.
    pub span: Vec<u8>,
    /// Name of the event's class.
    pub event_name: String,
    /// Fields unknown here, as they lay (Protobuf).
    pub unknown: Vec<u8>,
}

/// `Span.SpanKind`; numbers are those of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// 0, or a number that is not defined.
    Unspecified,
    /// 1
    Internal,
    /// 2
    Server,
    /// 3
    Client,
    /// 4
    Producer,
    /// 5
    Consumer,
}

impl SpanKind {
    /// From the number on the wire.
    pub fn of(number: i32) -> SpanKind {
        match number {
            1 => SpanKind::Internal,
            2 => SpanKind::Server,
            3 => SpanKind::Client,
            4 => SpanKind::Producer,
            5 => SpanKind::Consumer,
            _ => SpanKind::Unspecified,
        }
    }
}

/// `Span`. Times are UTC ns since 1970.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// 16 bytes, or what came instead.
    pub trace: Vec<u8>,
    /// 8 bytes, or what came instead.
    pub id: Vec<u8>,
    /// W3C `tracestate`.
    pub state: String,
    /// 8 bytes; empty = a root.
    pub parent: Vec<u8>,
    /// Lowest eight bits: W3C trace flags; 8 and 9 tell whether the parent is remote.
    pub flags: u32,
    /// Name of the operation.
    pub name: String,
    /// See [`SpanKind`].
    pub kind: i32,
    /// Beginning.
    pub start: u64,
    /// End.
    pub end: u64,
    /// Attributes.
    pub attributes: Vec<Pair>,
    /// Attributes that were dropped.
    pub dropped: u32,
    /// What happened in it.
    pub events: Vec<SpanEvent>,
    /// Events that were dropped.
    pub dropped_events: u32,
    /// Other spans that it follows from.
    pub links: Vec<Link>,
    /// Links that were dropped.
    pub dropped_links: u32,
    /// How it ended.
    pub status: Option<Status>,
    /// Fields unknown here, as they lay (Protobuf).
    pub unknown: Vec<u8>,
}

/// `Span.Event`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanEvent {
    /// When, UTC ns.
    pub time: u64,
    /// Name.
    pub name: String,
    /// Attributes.
    pub attributes: Vec<Pair>,
    /// Attributes that were dropped.
    pub dropped: u32,
    /// Fields unknown here, as they lay (Protobuf).
    pub unknown: Vec<u8>,
}

/// `Span.Link`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// 16 bytes, or what came instead.
    pub trace: Vec<u8>,
    /// 8 bytes, or what came instead.
    pub span: Vec<u8>,
    /// W3C `tracestate`.
    pub state: String,
    /// Attributes.
    pub attributes: Vec<Pair>,
    /// Attributes that were dropped.
    pub dropped: u32,
    /// W3C trace flags.
    pub flags: u32,
    /// Fields unknown here, as they lay (Protobuf).
    pub unknown: Vec<u8>,
}

/// `Status`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// What the developer says to an error.
    pub message: String,
    /// 0 unset, 1 ok, 2 error.
    pub code: i32,
    /// Fields unknown here, as they lay (Protobuf).
    pub unknown: Vec<u8>,
}

/// An export request: `ExportLogsServiceRequest` or `ExportTraceServiceRequest`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request<T> {
    /// `resource_logs` or `resource_spans`.
    pub groups: Vec<Group<T>>,
}

/// `ResourceLogs` or `ResourceSpans`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group<T> {
    /// Whose they are; `None` = unknown.
    pub resource: Option<Resource>,
    /// By library.
    pub scopes: Vec<Scoped<T>>,
    /// Schema of the resource.
    pub schema_url: String,
    /// Fields unknown here, as they lay (Protobuf).
    pub unknown: Vec<u8>,
}

/// `ScopeLogs` or `ScopeSpans`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scoped<T> {
    /// By which library; `None` = unknown.
    pub scope: Option<Scope>,
    /// The records.
    pub items: Vec<T>,
    /// Schema of the records.
    pub schema_url: String,
    /// Fields unknown here, as they lay (Protobuf).
    pub unknown: Vec<u8>,
}

impl<T> Request<T> {
    /// Every record with its resource and scope, in order.
    pub fn items(&self) -> impl Iterator<Item = (&Group<T>, &Scoped<T>, &T)> {
        self.groups.iter().flat_map(|group| {
            group
                .scopes
                .iter()
                .flat_map(move |scoped| scoped.items.iter().map(move |item| (group, scoped, item)))
        })
    }
}

/// What the two kinds of request differ in: [`LogRecord`] and [`Span`], and nothing else.
pub trait Item:
    Sized + Default + Clone + PartialEq + std::fmt::Debug + protobuf::Coded + json::Spelled
{
    /// Names of the three lists in JSON: of resources, of scopes, of records.
    const LISTS: [&'static str; 3];
}

impl Item for LogRecord {
    const LISTS: [&'static str; 3] = ["resourceLogs", "scopeLogs", "logRecords"];
}

impl Item for Span {
    const LISTS: [&'static str; 3] = ["resourceSpans", "scopeSpans", "spans"];
}
