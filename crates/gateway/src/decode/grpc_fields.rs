//! Fields of gRPC messages that a route asked to keep, read by the descriptors that it gave.
//!
//! Off unless configured. Of each direction only the first message is read, when it is whole, not compressed
//! and at most [`MESSAGE_MAX`]; of that only scalar fields that are named. Every value is cleaned like any
//! other text of the wire before it is kept.

use super::redact::scan_text;
use crate::config::GrpcFields;
use crate::ring::Way;
use countersign_event::{Event, Unmapped};
use countersign_wire::grpc;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, Value};

/// Longest message that is read, bytes.
pub(super) const MESSAGE_MAX: usize = 64 << 10;
/// Longest value that is kept, bytes.
const VALUE_MAX: usize = 256;
/// Most names of a path, and most paths.
const DEPTH_MAX: usize = 8;
const FIELDS_MAX: usize = 64;
/// Largest file of descriptors, bytes.
const FILE_MAX: u64 = 16 << 20;

/// What a route keeps.
pub(crate) struct PayloadFields {
    pool: DescriptorPool,
    paths: Vec<Vec<String>>,
}

impl PayloadFields {
    /// Reads the descriptors.
    ///
    /// # Errors
    /// In words, what is wrong with the file or a path.
    pub(crate) fn load(config: &GrpcFields) -> Result<PayloadFields, String> {
        let shown = config.descriptors.display();
        let length = std::fs::metadata(&config.descriptors).map_err(|e| format!("{shown}: {e}"))?.len();
        if length > FILE_MAX {
            return Err(format!("{shown}: {length} bytes, at most {FILE_MAX} are read"));
        }
        let bytes = std::fs::read(&config.descriptors).map_err(|e| format!("{shown}: {e}"))?;
        let pool = DescriptorPool::decode(bytes.as_slice()).map_err(|_| {
            format!(
                "{shown}: no FileDescriptorSet; make it with protoc --descriptor_set_out --include_imports"
            )
        })?;
        if config.fields.len() > FIELDS_MAX {
            return Err(format!("{} fields, at most {FIELDS_MAX}", config.fields.len()));
        }
        let paths = config.fields.iter().map(|field| path(&pool, field)).collect::<Result<_, _>>()?;
        Ok(PayloadFields { pool, paths })
    }

    /// Adds what is asked for of one direction's first message.
    pub(super) fn keep(&self, event: &mut Event, call: &str, way: Way, first: Option<(&[u8], bool)>) {
        let Some((bytes, false)) = first else { return };
        let Some((service, method)) = grpc::path(call.as_bytes()) else { return };
        let Some(service) = self.pool.get_service_by_name(service) else { return };
        let Some(method) = service.methods().find(|m| m.name() == method) else { return };
        let descriptor = if way == Way::Up { method.input() } else { method.output() };
        let Ok(message) = DynamicMessage::decode(descriptor, bytes) else { return };
        let side = if way == Way::Up { "request" } else { "response" };
        let mut redacted = 0;
        for path in &self.paths {
            if let Some(token) = find(&message, path).and_then(|value| token(&value, &mut redacted)) {
                let pointer = format!("/grpc/{side}/{}", path.join("/"));
                event.content.unmapped.insert(pointer, Unmapped::Token(token));
            }
        }
        if redacted > 0 {
            event.content.redacted.push((format!("grpc-{side}"), redacted));
        }
    }
}

/// A path of field names, which some message must have.
fn path(pool: &DescriptorPool, field: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = field.split('.').map(str::to_owned).collect();
    if names.len() > DEPTH_MAX || names.iter().any(String::is_empty) {
        return Err(format!("{field} is no path of field names"));
    }
    let known = pool.all_messages().any(|message| leads(&message, &names));
    if known { Ok(names) } else { Err(format!("no message of the descriptors has {field}")) }
}

fn leads(message: &MessageDescriptor, path: &[String]) -> bool {
    let Some((name, rest)) = path.split_first() else { return true };
    let Some(field) = message.get_field_by_name(name) else { return false };
    match (rest.is_empty(), field.kind().as_message()) {
        (true, _) => true,
        (false, Some(inner)) => leads(inner, rest),
        (false, None) => false,
    }
}

fn find(message: &DynamicMessage, path: &[String]) -> Option<Value> {
    let (name, rest) = path.split_first()?;
    let field = message.descriptor().get_field_by_name(name)?;
    if !message.has_field(&field) {
        return None;
    }
    let value = message.get_field(&field).into_owned();
    match value {
        Value::Message(inner) if !rest.is_empty() => find(&inner, rest),
        value if rest.is_empty() => Some(value),
        _ => None,
    }
}

/// A scalar as a JSON token; `None` for everything else, bytes included.
fn token(value: &Value, redacted: &mut u64) -> Option<String> {
    match value {
        Value::Bool(v) => Some(v.to_string()),
        Value::I32(v) | Value::EnumNumber(v) => Some(v.to_string()),
        Value::I64(v) => Some(v.to_string()),
        Value::U32(v) => Some(v.to_string()),
        Value::U64(v) => Some(v.to_string()),
        Value::F32(v) => Some(v.to_string()),
        Value::F64(v) => Some(v.to_string()),
        Value::String(text) => {
            let cleaned = scan_text(text.as_bytes(), VALUE_MAX);
            *redacted += cleaned.hits.iter().map(|(_, n)| *n).sum::<u64>();
            serde_json::to_string(&cleaned.text).ok()
        }
        _ => None,
    }
}
