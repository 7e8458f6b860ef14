//! Deterministic CBOR (RFC 8949 4.2.1), the permitted subset: unsigned, negative, bytes, text, array, map, bool.
//!
//! Not a general CBOR library: floats, tags, null, undefined, other simple values and indefinite lengths
//! are refused by name. Invariants: whatever [`decode`] accepts, [`encode`] writes back byte for byte;
//! time is linear in the input; nesting is at most [`crate::NESTING_MAX`], items in one array or map at
//! most [`crate::ITEMS_MAX`]; no length that the bytes claim is allocated before the bytes are there. A
//! decoded tree costs at most `size_of::<Value>()` (32 bytes) for each input byte, reached only by arrays
//! of one-byte items; texts and byte strings cost their length.

mod read;
mod write;

pub use read::Reader;
pub use write::Writer;
pub(crate) use write::head_len;

/// A decoded item of the permitted subset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Unsigned integer.
    Uint(u64),
    /// Negative integer, held as `n` for the value `-1 - n`.
    Nint(u64),
    /// Byte string.
    Bytes(Vec<u8>),
    /// Text string.
    Text(String),
    /// Array.
    Array(Vec<Value>),
    /// Map, ascending by encoded key.
    Map(Vec<(Value, Value)>),
    /// Boolean.
    Bool(bool),
}

/// Why bytes, or a value, are not in the permitted subset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cbor at byte {offset}: {rule}")]
pub struct CborError {
    /// Byte offset in the input; when encoding, in the output.
    pub offset: usize,
    /// The rule that was broken.
    pub rule: &'static str,
}

/// The deterministic bytes of `value`; maps are sorted by encoded key.
///
/// # Errors
/// A duplicate key, or a broken bound on nesting or items.
pub fn encode(value: &Value) -> Result<Vec<u8>, CborError> {
    let mut writer = Writer::with_capacity(64);
    writer.value(value)?;
    Ok(writer.into_bytes())
}

/// The one item that `bytes` hold.
///
/// # Errors
/// Any encoding but the deterministic one, and anything after the end.
pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    let mut reader = Reader::new(bytes);
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

impl Value {
    /// The number, if this is an unsigned integer.
    pub fn as_uint(&self) -> Option<u64> {
        match self {
            Value::Uint(n) => Some(*n),
            _ => None,
        }
    }
    /// The number, if this is an integer that fits.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Uint(n) => i64::try_from(*n).ok(),
            Value::Nint(n) => i64::try_from(*n).ok().map(|n| -1 - n),
            _ => None,
        }
    }
    /// The text, if this is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
    /// The bytes, if this is a byte string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
    /// The items, if this is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }
    /// Empty text, array or map: as the value of a field these are never written, for absence says the same.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Text(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Map(pairs) => pairs.is_empty(),
            Value::Uint(_) | Value::Nint(_) | Value::Bytes(_) | Value::Bool(_) => false,
        }
    }
    /// Whether a map anywhere inside holds an empty text, array or map as a value.
    pub(crate) fn holds_empty_field(&self) -> bool {
        match self {
            Value::Array(items) => items.iter().any(Value::holds_empty_field),
            Value::Map(pairs) => pairs
                .iter()
                .any(|(key, value)| value.is_empty() || key.holds_empty_field() || value.holds_empty_field()),
            _ => false,
        }
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Value {
        Value::Uint(n)
    }
}
impl From<i64> for Value {
    fn from(n: i64) -> Value {
        if n < 0 { Value::Nint(!n as u64) } else { Value::Uint(n as u64) }
    }
}
impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}
impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}
impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Value {
        Value::Bytes(bytes)
    }
}
impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Value {
        Value::Array(items)
    }
}
