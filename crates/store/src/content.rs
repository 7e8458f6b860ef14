//! Group 5's maps as text: what `header.<name>`, `detail.<key>` and `raw.<key>` see, in SQL and in the
//! filter alike.

use crate::rows::hex;
use countersign_event::cbor::{self, Value};
use countersign_event::{Content, Kind, Unmapped, fields};

/// Values of a header, joined as RFC 9110 joins them.
pub(crate) fn header(content: &Content, name: &str) -> Option<String> {
    join(content.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()))
}

/// A registered detail of this kind of event, by name or number.
pub(crate) fn detail(content: &Content, kind: Option<Kind>, name: &str) -> Option<String> {
    content.detail.get(&detail_key(kind, name)?).map(plain)
}

fn detail_key(kind: Option<Kind>, name: &str) -> Option<u64> {
    let named = fields::detail::keys_of(kind).iter().find(|key| key.name == name).map(|key| key.key);
    named.or_else(|| name.parse().ok())
}

/// A source field that no rule took, by JSON pointer; a JSON string without its quotes where it needs none.
pub(crate) fn unmapped(content: &Content, pointer: &str) -> Option<String> {
    content.unmapped.get(pointer).map(|value| match value {
        Unmapped::Token(token) => unquoted(token).to_owned(),
        Unmapped::Bytes(bytes) => hex(bytes),
    })
}

fn unquoted(token: &str) -> &str {
    let inner = token.strip_prefix('"').and_then(|token| token.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('\\')).unwrap_or(token)
}

fn join<'a>(values: impl Iterator<Item = &'a str>) -> Option<String> {
    values.map(str::to_owned).reduce(|all, next| all + ", " + &next)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Uint(n) => n.to_string(),
        Value::Nint(n) => (-1 - i128::from(*n)).to_string(),
        Value::Bytes(bytes) => hex(bytes),
        Value::Text(text) => text.clone(),
        Value::Bool(b) => b.to_string(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Map(pairs) => {
            pairs.iter().map(|(k, v)| format!("{}={}", plain(k), plain(v))).collect::<Vec<_>>().join(", ")
        }
    }
}

/// One field of a group's map, from its canonical bytes.
fn field(group: &[u8], key: u64) -> Option<Value> {
    let Ok(Value::Map(pairs)) = cbor::decode(group) else { return None };
    pairs.into_iter().find(|(k, _)| *k == Value::Uint(key)).map(|(_, value)| value)
}

/// [`header`] over group 5's bytes.
pub(crate) fn header_in(group: &[u8], name: &str) -> Option<String> {
    let Value::Array(pairs) = field(group, 4)? else { return None };
    let values: Vec<&str> = pairs
        .iter()
        .filter_map(|pair| match pair.as_array()? {
            [n, value] if n.as_text()? == name => value.as_text(),
            _ => None,
        })
        .collect();
    join(values.into_iter())
}

/// [`detail`] over group 5's bytes.
pub(crate) fn detail_in(group: &[u8], kind: Option<Kind>, name: &str) -> Option<String> {
    let Value::Map(pairs) = field(group, 0)? else { return None };
    let key = Value::Uint(detail_key(kind, name)?);
    pairs.iter().find(|(k, _)| *k == key).map(|(_, value)| plain(value))
}

/// [`unmapped`] over group 5's bytes.
pub(crate) fn unmapped_in(group: &[u8], pointer: &str) -> Option<String> {
    let Value::Map(pairs) = field(group, 6)? else { return None };
    pairs.iter().find(|(k, _)| k.as_text() == Some(pointer)).map(|(_, value)| match value {
        Value::Text(token) => unquoted(token).to_owned(),
        other => plain(other),
    })
}

/// One field of `sys` of group 0, which findings and platform records carry.
pub(crate) fn sys_in(group: &[u8], key: u64) -> Option<String> {
    let Value::Map(pairs) = field(group, 24)? else { return None };
    pairs.iter().find(|(k, _)| *k == Value::Uint(key)).map(|(_, value)| plain(value))
}
