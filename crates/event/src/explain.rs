//! A frame in words: every group with its length, every field with its id, name and value.
//!
//! For people: nothing is read back from it. Control characters of a stranger's text are escaped, as in JSON.

use crate::fields::FIELDS;
use crate::json::parse::{Json, parse};
use crate::json::to_json;
use crate::map::spelled;
use crate::{DecodeError, Event, Frame, GROUP_NAMES, Verified};
use std::fmt::Write as _;

/// Explains a frame.
///
/// # Errors
/// It is not the canonical encoding of an event.
pub fn explain(frame: &Frame) -> Result<String, DecodeError> {
    let event = Event::decode(frame)?;
    let mut out = format!("event, schema {}, {} bytes\n", frame.schema, frame.encoded_len());
    // What is written is always read: the text is our own.
    let json = parse(&to_json(&event)).unwrap_or(Json::Bool(false));
    for (g, name) in GROUP_NAMES.iter().enumerate() {
        let fields = match &json {
            Json::Object(groups) => groups.iter().find(|(group, _)| group == name).map(|(_, fields)| fields),
            _ => None,
        };
        let Some(Json::Object(fields)) = fields else {
            let _ = writeln!(out, "\ngroup {g} {name}: empty");
            continue;
        };
        let _ = writeln!(out, "\ngroup {g} {name}: {} bytes", frame.groups[g].len());
        for (field, value) in fields {
            explain_field(&mut out, name, &format!("{g}"), field, value, 1);
        }
    }
    Ok(printable(out))
}

/// Without the control characters that JSON leaves as they are: some terminals obey them.
fn printable(text: String) -> String {
    if text.chars().all(|c| c == '\n' || !c.is_control()) {
        return text;
    }
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            c if c != '\n' && c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
        out
    })
}

/// One field, and those inside it where it is a map of the registry.
fn explain_field(out: &mut String, home: &str, place: &str, name: &str, value: &Json, depth: usize) {
    let field = FIELDS.iter().find(|field| field.home == home && field.name == name);
    let id = field.map_or_else(|| format!("{place}.?"), |field| format!("{place}.{}", field.key));
    let _ = write!(out, "{:1$}{id} {name}", "", depth * 2);
    let inner = field
        .map(|field| field.ty.trim_matches(['[', ']']))
        .filter(|ty| FIELDS.iter().any(|f| f.home == *ty));
    match (inner, value) {
        (Some(inner), Json::Object(fields)) => {
            out.push('\n');
            fields.iter().for_each(|(name, value)| explain_field(out, inner, &id, name, value, depth + 1));
        }
        (Some(inner), Json::Array(items)) => {
            out.push('\n');
            for (at, item) in items.iter().enumerate() {
                let Json::Object(fields) = item else { continue };
                let _ = writeln!(out, "{:1$}[{at}]", "", depth * 2 + 2);
                fields
                    .iter()
                    .for_each(|(name, value)| explain_field(out, inner, &id, name, value, depth + 2));
            }
        }
        (_, Json::Int(level)) if name == "verified" => {
            let word =
                u64::try_from(*level).ok().and_then(Verified::from_code).map_or("unknown", Verified::word);
            let _ = writeln!(out, " = {level} ({word})");
        }
        (_, value) => {
            let _ = writeln!(out, " = {}", spelled(value));
        }
    }
}
