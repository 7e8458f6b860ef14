//! The sentence of a rule: which fields it names, and their values in an event.

use super::ast::LogSource;
use super::fields::{self, Source};
use super::refused::Fault;
use super::rules::Correlated;
use countersign_event::Event;

/// Longest sentence, in bytes.
pub const SENTENCE_MAX_BYTES: usize = 1024;
/// What a correlation found, by the names that its sentence may use.
const FOUND: [&str; 2] = ["value", "count"];

/// The names between braces.
fn names(sentence: &str) -> impl Iterator<Item = &str> {
    sentence.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// Refuses a sentence with a name that no event can fill.
pub(crate) fn check(sentence: &str, correlation: bool) -> Result<(), Fault> {
    if sentence.len() > SENTENCE_MAX_BYTES {
        return Err(Fault::new("explain", format!("longer than {SENTENCE_MAX_BYTES} bytes")));
    }
    let unknown = names(sentence).find(|name| match fields::find(name, &LogSource::default()) {
        Source::Unmapped(_) => !(name.starts_with("raw.") || correlation && FOUND.contains(name)),
        _ => false,
    });
    match unknown {
        Some(name) => {
            let own: Vec<&str> = fields::names().map(|(own, _)| own).collect();
            let near = super::refused::meant(name, &own);
            Err(Fault::new("explain", format!("`{{{name}}}` is no field{near}")))
        }
        None => Ok(()),
    }
}

/// The values of a sentence's names.
pub(crate) fn values(sentence: &str, found: Option<&Correlated>, event: &Event) -> Vec<(String, String)> {
    let value = |name: &str| match (name, found) {
        ("value", Some(found)) => Some(found.value.to_string()),
        ("count", Some(found)) => Some(found.count.to_string()),
        _ => {
            let cell = fields::find(name, &LogSource::default()).take(event);
            let texts: Vec<String> =
                cell.each().filter_map(|cell| cell.as_text()).map(|t| t.into_owned()).collect();
            (!texts.is_empty()).then(|| texts.join(", "))
        }
    };
    let mut out: Vec<(String, String)> = Vec::new();
    for name in names(sentence) {
        if let Some(value) = value(name).filter(|_| out.iter().all(|(known, _)| known != name)) {
            out.push((name.to_owned(), value));
        }
    }
    out
}
