//! Places in a JSON tree by path: names joined by dots, numbers for the elements of arrays.
//!
//! Only constant paths of the table are used here, so a name with a dot in a stranger's text is never cut in two.

pub(super) use crate::json::parse::Json;
use crate::json::write_string;
use std::fmt::Write as _;

/// Largest whole number that every reader of JSON keeps exact (RFC 8259 section 6).
pub(super) const EXACT_MAX: i128 = (1 << 53) - 1;

/// In the place of what was taken.
fn gone() -> Json {
    Json::Raw(String::new())
}

fn is_gone(json: &Json) -> bool {
    matches!(json, Json::Raw(token) if token.is_empty())
}

/// An empty object.
pub(super) fn object() -> Json {
    Json::Object(Vec::new())
}

/// A text.
pub(super) fn text(text: &str) -> Json {
    Json::Text(text.to_owned())
}

/// Whether an array or object is empty.
fn is_empty(json: &Json) -> bool {
    match json {
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn step<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    match json {
        Json::Object(fields) => fields.iter().find(|(known, _)| known == name).map(|(_, value)| value),
        Json::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

fn step_mut<'a>(json: &'a mut Json, name: &str) -> Option<&'a mut Json> {
    match json {
        Json::Object(fields) => fields.iter_mut().find(|(known, _)| known == name).map(|(_, value)| value),
        Json::Array(items) => items.get_mut(name.parse::<usize>().ok()?),
        _ => None,
    }
}

/// What lies at `path`; the empty path is the whole.
pub(super) fn get<'a>(json: &'a Json, path: &str) -> Option<&'a Json> {
    let found = names(path).try_fold(json, step)?;
    (!is_gone(found)).then_some(found)
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(|name| !name.is_empty())
}

/// Puts `value` at `path`, making the objects and arrays on the way. Does nothing where something else stands in
/// the way, as only a text of strangers can have it.
pub(super) fn put(json: &mut Json, path: &str, value: Json) {
    let Some((first, rest)) = path.split_once('.').or(if path.is_empty() { None } else { Some((path, "")) })
    else {
        *json = value;
        return;
    };
    if step(json, first).is_none() {
        let inner = match rest.split('.').next() {
            Some(next) if next.parse::<usize>().is_ok() => Json::Array(Vec::new()),
            _ => object(),
        };
        match json {
            Json::Object(fields) => fields.push((first.to_owned(), inner)),
            Json::Array(items) if first.parse() == Ok(items.len()) => items.push(inner),
            _ => return,
        }
    }
    if let Some(inner) = step_mut(json, first) {
        put(inner, rest, value);
    }
}

/// Takes what lies at `path` and marks the place, so that [`leftover`] passes it by.
pub(super) fn take(json: &mut Json, path: &str) -> Option<Json> {
    let found = names(path).try_fold(json, step_mut)?;
    if is_gone(found) { None } else { Some(std::mem::replace(found, gone())) }
}

/// Removes what lies at `path`, and the objects that are empty then.
pub(super) fn remove(json: &mut Json, path: &str) {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    if !rest.is_empty() {
        let Some(inner) = step_mut(json, first) else { return };
        remove(inner, rest);
        if !is_empty(inner) {
            return;
        }
    }
    if let Json::Object(fields) = json {
        fields.retain(|(name, _)| name != first);
    }
}

/// Calls `each` with the JSON pointer and the token of every scalar, empty array and empty object that was not taken.
pub(super) fn leftover(json: &Json, pointer: &mut String, each: &mut dyn FnMut(&str, String)) {
    let mut inside = |pointer: &mut String, name: &str, value: &Json| {
        let end = pointer.len();
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        leftover(value, pointer, each);
        pointer.truncate(end);
    };
    match json {
        json if is_gone(json) => {}
        Json::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| inside(pointer, name, value));
        }
        Json::Array(items) if !items.is_empty() => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(at, value)| inside(pointer, &at.to_string(), value));
        }
        scalar => each(pointer, spelled(scalar)),
    }
}

/// The tree as compact JSON.
pub(crate) fn spelled(json: &Json) -> String {
    let mut out = String::new();
    write(json, &mut out);
    out
}

fn write(json: &Json, out: &mut String) {
    match json {
        Json::Bool(flag) => drop(write!(out, "{flag}")),
        Json::Int(n) => drop(write!(out, "{n}")),
        Json::Text(text) => write_string(out, text),
        Json::Raw(token) => out.push_str(if token.is_empty() { "null" } else { token }),
        Json::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Json::Object(fields) => {
            out.push('{');
            for (at, (name, value)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_string(out, name);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
    }
}

/// Levels of arrays and objects.
pub(super) fn depth(json: &Json) -> usize {
    match json {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(fields) => 1 + fields.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whole numbers that a reader may round become `{"$int": "…"}`. The event's JSON has no member of that name.
pub(super) fn guard_numbers(json: &mut Json) {
    match json {
        Json::Int(n) if n.abs() > EXACT_MAX => {
            let digits = Json::Text(n.to_string());
            *json = Json::Object(vec![("$int".to_owned(), digits)]);
        }
        Json::Array(items) => items.iter_mut().for_each(guard_numbers),
        Json::Object(fields) => fields.iter_mut().for_each(|(_, value)| guard_numbers(value)),
        _ => {}
    }
}

/// The way back of [`guard_numbers`].
pub(super) fn plain_numbers(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(plain_numbers),
        Json::Object(fields) => {
            let number = match fields.as_slice() {
                [(name, Json::Text(digits))] if name == "$int" => digits.parse().ok(),
                _ => None,
            };
            match number {
                Some(n) => *json = Json::Int(n),
                None => fields.iter_mut().for_each(|(_, value)| plain_numbers(value)),
            }
        }
        _ => {}
    }
}
