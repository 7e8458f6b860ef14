//! Events as OTLP log records, and such records as events again: the model of [`countersign_event::map`] in the
//! messages of OTLP. [`super::to_protobuf`] and [`super::to_json`] give them their bytes.
//!
//! Invariant: what [`export`] wrote gives equal events from [`import`], through either encoding.

use super::{Any, Group, LogRecord, Pair, Request, Resource, Scoped};
use countersign_event::Event;
use countersign_event::map::{Import, MapError, OtelLog, OtelValue, from_otel, is_our_otel, to_otel};

/// The events as one export request, in their order but for one group of records a resource: an observer and its
/// tenant. No scope, no severity, no body.
pub fn export(events: &[Event]) -> Request<LogRecord> {
    let mut request: Request<LogRecord> = Request { groups: Vec::new() };
    let mut known = std::collections::HashMap::new();
    for event in events {
        let log = to_otel(event);
        let at = *known.entry((event.core.agent.as_str(), event.core.tenant.as_str())).or_insert_with(|| {
            let resource = Resource { attributes: pairs(&log.resource), ..Resource::default() };
            let scoped =
                Scoped { items: Vec::new(), scope: None, schema_url: String::new(), unknown: Vec::new() };
            request.groups.push(Group {
                resource: Some(resource),
                scopes: vec![scoped],
                schema_url: String::new(),
                unknown: Vec::new(),
            });
            request.groups.len() - 1
        });
        let scopes = request.groups.get_mut(at).map(|group| &mut group.scopes);
        if let Some(scoped) = scopes.and_then(|scopes| scopes.first_mut()) {
            scoped.items.push(record(log));
        }
    }
    request
}

/// Whether [`export`] wrote the record; anybody can make one that looks so.
pub fn is_ours(log: &LogRecord) -> bool {
    is_our_otel(log.attributes.iter().map(|pair| pair.key.as_str()))
}

/// The event of a record that [`export`] wrote. It is what somebody says was observed, levels included:
/// [`crate::reobserve`] is what makes it ours.
///
/// # Errors
/// Not such a record, or one changed into what no event can be.
pub fn import(group: &Group<LogRecord>, log: &LogRecord) -> Result<Import, MapError> {
    let resource = group.resource.as_ref().map(|resource| values(&resource.attributes)).unwrap_or_default();
    from_otel(&OtelLog {
        resource,
        time: log.time,
        observed: log.observed,
        trace: log.trace.as_slice().try_into().ok(),
        span: log.span.as_slice().try_into().ok(),
        flags: log.flags,
        event_name: log.event_name.clone(),
        attributes: values(&log.attributes),
    })
}

fn record(log: OtelLog) -> LogRecord {
    LogRecord {
        time: log.time,
        observed: log.observed,
        attributes: pairs(&log.attributes),
        flags: log.flags,
        trace: log.trace.map(Vec::from).unwrap_or_default(),
        span: log.span.map(Vec::from).unwrap_or_default(),
        event_name: log.event_name,
        ..LogRecord::default()
    }
}

fn pairs(values: &[(String, OtelValue)]) -> Vec<Pair> {
    values.iter().map(|(key, value)| Pair { key: key.clone(), value: Some(any(value)) }).collect()
}

fn any(value: &OtelValue) -> Any {
    match value {
        OtelValue::Text(text) | OtelValue::Other(text) => Any::Text(text.clone()),
        OtelValue::Bool(flag) => Any::Bool(*flag),
        OtelValue::Int(n) => Any::Int(*n),
        OtelValue::Array(items) => Any::Array(items.iter().map(any).collect()),
        OtelValue::Map(fields) => Any::Map(pairs(fields)),
    }
}

fn values(pairs: &[Pair]) -> Vec<(String, OtelValue)> {
    let value = |pair: &Pair| pair.value.as_ref().map_or_else(|| OtelValue::Other("null".to_owned()), of_any);
    pairs.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn of_any(value: &Any) -> OtelValue {
    match value {
        Any::Text(text) => OtelValue::Text(text.clone()),
        Any::Bool(flag) => OtelValue::Bool(*flag),
        Any::Int(n) => OtelValue::Int(*n),
        Any::Array(items) => OtelValue::Array(items.iter().map(of_any).collect()),
        Any::Map(fields) => OtelValue::Map(values(fields)),
        other @ (Any::Empty | Any::Double(_) | Any::Bytes(_)) => {
            let mut token = String::new();
            super::json::plain(other, &mut token);
            OtelValue::Other(token)
        }
    }
}
