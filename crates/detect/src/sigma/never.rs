//! What a rule asks for that no event can have: said when it is loaded, since a rule that never matches looks like one
//! that has nothing to say.
//!
//! Invariant: `never` is said only of what is certain. A name that no table knows may still be a source field of an
//! imported record, so it is doubted, not called impossible.

use super::ast::{Detection, Detections, Item, LogSource, Modifier, Scalar};
use super::condition::Condition;
use super::fields::{self, Source};
use super::refused::{Warning, meant};
use super::route::Route;
use countersign_event::fields::detail;

/// What is odd about a rule, at most one warning of them `never`.
pub(crate) fn warnings(id: &str, logsource: &LogSource, detections: &Detections) -> Vec<Warning> {
    let route = Route::of(logsource);
    let warning = |never, what: String| Warning { id: id.to_owned(), what, never };
    if route == Route::Nothing {
        return vec![warning(true, "can never match: no event has its log source".to_owned())];
    }
    let mut out = Vec::new();
    let mut unknown: Vec<String> = Vec::new();
    for (_, detection) in &detections.named {
        items(detection, &mut |item| {
            let said = odd(item, logsource, &route);
            unknown.extend(said.filter(|said| !unknown.contains(said)));
        });
    }
    let held = |name: &str| {
        let found = detections.named.iter().find(|(known, _)| known == name);
        found.is_none_or(|(_, detection)| detection_can(detection, logsource, &route))
    };
    let names: Vec<&str> = detections.named.iter().map(|(name, _)| name.as_str()).collect();
    if !detections.conditions.iter().any(|condition| condition_can(condition, &names, &held)) {
        let why = if unknown.is_empty() { String::new() } else { format!(": {}", unknown.join("; ")) };
        return vec![warning(true, format!("can never match{why}"))];
    }
    out.extend(unknown.into_iter().map(|what| warning(false, what)));
    out
}

fn items(detection: &Detection, look: &mut dyn FnMut(&Item)) {
    match detection {
        Detection::All(all) => all.iter().for_each(look),
        Detection::Any(parts) => parts.iter().for_each(|part| items(part, look)),
        Detection::Keywords(_) => {}
    }
}

/// Whether no event of the log source can have this field.
fn absent(source: &Source, route: &Route) -> bool {
    let Source::Detail(name) = source else { return false };
    let has = |keys: &[countersign_event::fields::Key]| keys.iter().any(|key| key.name == name);
    match route {
        Route::Kinds(kinds) => !kinds.iter().any(|kind| has(detail::keys_of(Some(*kind)))),
        _ => !detail::TABLES.iter().any(|(_, keys)| has(keys)),
    }
}

/// What is odd about the field of an item.
fn odd(item: &Item, logsource: &LogSource, route: &Route) -> Option<String> {
    let name = item.field.as_deref()?;
    match fields::find(name, logsource) {
        source if absent(&source, route) => Some(format!("no event of this log source has a field `{name}`")),
        // Rules for our own events name our own fields; those for others' logs may name the fields of these.
        Source::Unmapped(_) if logsource.product == "countersign" && !name.starts_with("raw.") => {
            let own: Vec<&str> = fields::names().map(|(own, _)| own).collect();
            let near = meant(name, &own);
            let near = if near.starts_with("; did") { near } else { String::new() };
            Some(format!(
                "`{name}` is no field of ours, only source fields of imported records can match{near}"
            ))
        }
        _ => None,
    }
}

fn item_can(item: &Item, logsource: &LogSource, route: &Route) -> bool {
    let Some(name) = item.field.as_deref() else { return true };
    if !absent(&fields::find(name, logsource), route) {
        return true;
    }
    // What asks for its absence holds.
    let exists = item.modifiers.contains(&Modifier::Exists);
    item.values.iter().any(|value| match value {
        Scalar::Null => item.modifiers.is_empty(),
        Scalar::Bool(wanted) => exists && !wanted,
        _ => false,
    })
}

fn detection_can(detection: &Detection, logsource: &LogSource, route: &Route) -> bool {
    match detection {
        Detection::All(items) => items.iter().all(|item| item_can(item, logsource, route)),
        Detection::Any(parts) => parts.iter().any(|part| detection_can(part, logsource, route)),
        Detection::Keywords(_) => true,
    }
}

fn condition_can(condition: &Condition, names: &[&str], held: &dyn Fn(&str) -> bool) -> bool {
    match condition {
        Condition::All(parts) => parts.iter().all(|part| condition_can(part, names, held)),
        Condition::Any(parts) => parts.iter().any(|part| condition_can(part, names, held)),
        Condition::Not(_) => true,
        Condition::Name(name) => held(name),
        Condition::Of(least, pattern) => {
            let parts: Vec<&&str> = names.iter().filter(|name| pattern.takes(name)).collect();
            let least = least.map_or(parts.len(), |n| usize::try_from(n).unwrap_or(usize::MAX));
            parts.iter().filter(|name| held(name)).count() >= least
        }
    }
}
