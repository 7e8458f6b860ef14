//! Texts of others that say what should be (OpenAPI, Kubernetes, OpenSLO, lists), as plain values: YAML and JSON alike.
//!
//! Invariants: bounded like rule files (`sigma::yaml`), but longer; a text that cannot be read says where and why; keys
//! are texts whatever they were written as (`200:` is "200").

use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest text, bytes.
pub const TEXT_MAX: usize = 4 << 20;
/// Most documents in one text.
pub const DOCUMENTS_MAX: usize = 1_000;

/// A text, or a part of one, that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Refused {
    /// Name of the text: a file's path.
    pub source: String,
    /// Where: document and path in it, or line.
    pub place: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place.as_str() {
            "" => write!(f, "{}: {}", self.source, self.why),
            place => write!(f, "{}, {place}: {}", self.source, self.why),
        }
    }
}

impl Refused {
    pub(crate) fn new(source: &str, place: impl Into<String>, why: impl Into<String>) -> Refused {
        Refused { source: source.to_owned(), place: place.into(), why: why.into() }
    }
}

/// The documents of a text, each with its place in words; empty ones are left out.
pub(crate) fn read(source: &str, text: &str) -> Vec<Result<(String, Value), Refused>> {
    if text.len() > TEXT_MAX {
        return vec![Err(Refused::new(source, "", format!("longer than {TEXT_MAX} bytes")))];
    }
    if text.trim_start().starts_with(['{', '[']) {
        let read = serde_json::from_str::<Value>(text);
        return vec![match read {
            Ok(value) => Ok(("document 1".to_owned(), value)),
            Err(error) => {
                Err(Refused::new(source, format!("line {}", error.line()), format!("not JSON: {error}")))
            }
        }];
    }
    if let Err(fault) = crate::sigma::bounds(text, TEXT_MAX) {
        return vec![Err(Refused::new(source, "", fault.what))];
    }
    let mut out = Vec::new();
    for (at, document) in yaml_serde::Deserializer::from_str(text).enumerate() {
        let place = format!("document {}", at + 1);
        if at == DOCUMENTS_MAX {
            out.push(Err(Refused::new(source, place, format!("more than {DOCUMENTS_MAX} documents"))));
            break;
        }
        match yaml_serde::Value::deserialize(document) {
            Ok(yaml_serde::Value::Null) => {}
            Ok(value) => out.push(match plain(value) {
                Some(value) => Ok((place, value)),
                None => Err(Refused::new(source, place, "a key or number that JSON has no form for")),
            }),
            Err(error) => {
                // After an error the reader's place in the text is undefined.
                out.push(Err(Refused::new(source, place, format!("not YAML: {error}"))));
                break;
            }
        }
    }
    out
}

fn plain(value: yaml_serde::Value) -> Option<Value> {
    use yaml_serde::Value as Yaml;
    Some(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(b) => Value::Bool(b),
        Yaml::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => Value::from(n),
            (None, Some(n)) => Value::from(n),
            (None, None) => serde_json::Number::from_f64(n.as_f64()?).map(Value::Number)?,
        },
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(plain).collect::<Option<_>>()?),
        Yaml::Mapping(pairs) => {
            let mut map = Map::new();
            for (key, value) in pairs {
                let key = match plain(key)? {
                    Value::String(text) => text,
                    Value::Number(n) => n.to_string(),
                    Value::Bool(b) => b.to_string(),
                    _ => return None,
                };
                map.insert(key, plain(value)?);
            }
            Value::Object(map)
        }
        Yaml::Tagged(tagged) => plain(tagged.value)?,
    })
}

/// A text at a pointer (RFC 6901), or nothing.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of a list at a pointer; of anything else none.
pub(crate) fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The members of an object at a pointer; of anything else none.
pub(crate) fn members<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}
