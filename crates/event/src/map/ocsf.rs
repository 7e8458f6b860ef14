//! An event as a record of OCSF.

use super::classes::{self, Class};
use super::fill::{self, Known};
use super::table::{ROWS, Row};
use super::tree::{Json, depth, get, guard_numbers, object, put, remove, spelled, text};
use crate::Event;
use crate::json::parse::{parse, parse_any};
use crate::json::time::parse_rfc3339;
use crate::json::to_json;

/// Where the extension lies.
pub(super) const EXTENSION: &str = "unmapped.countersign";
/// Deepest value of `content.unmapped` that is written as JSON of its own.
const TOKEN_DEPTH_MAX: usize = 32;

/// The event as one line of OCSF 1.8.0.
pub fn to_ocsf(event: &Event) -> String {
    // What is written is always read: the text is our own.
    let ours = parse(&to_json(event)).unwrap_or(Json::Bool(false));
    spelled(&record(&ours))
}

fn record(ours: &Json) -> Json {
    let class = classes::of(ours);
    let known = known(ours);
    let (mut out, mut rest) = (object(), ours.clone());
    put(&mut out, "class_uid", int(class.uid));
    put(&mut out, "category_uid", int(class.category()));
    let mut covered = Vec::new();
    for row in rows(class, kind(ours)) {
        let Some(value) = get(ours, row.field) else { continue };
        let Some(theirs) = row.conv.out(value) else { continue };
        // What looks like a filler is taken for one on the way back, so the extension must have it too.
        if row.conv.exact(value, &theirs) && !fill::is_filler(class, row.ocsf, &theirs, &known) {
            covered.push(row.field);
        }
        if get(&out, row.ocsf).is_none() {
            put(&mut out, row.ocsf, theirs);
        }
    }
    covered.iter().for_each(|field| remove(&mut rest, field));
    if class.implied_kind().is_some() {
        remove(&mut rest, "core.kind");
    }
    tokens(ours, &mut rest, &mut out);
    fill::fill(class, &mut out, &known);
    let activity = match get(&out, "activity_id") {
        Some(Json::Int(n)) => *n,
        _ => 0,
    };
    put(&mut out, "type_uid", Json::Int(i128::from(class.uid) * 100 + activity));
    guard_numbers(&mut rest);
    put(&mut out, EXTENSION, rest);
    out
}

/// Source fields that no rule took, as JSON of their own where that is spelled as they are.
fn tokens(ours: &Json, rest: &mut Json, out: &mut Json) {
    let Some(Json::Object(fields)) = get(ours, "content.unmapped") else { return };
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for (name, value) in fields {
        let native = match value {
            Json::Text(token) if name != "countersign" => {
                let json = parse_any(token).ok().filter(|json| depth(json) <= TOKEN_DEPTH_MAX);
                json.filter(|json| spelled(json) == *token)
            }
            _ => None,
        };
        match native {
            Some(json) => written.push((name.clone(), json)),
            None => kept.push((name.clone(), value.clone())),
        }
    }
    remove(rest, "content.unmapped");
    if !kept.is_empty() {
        put(rest, "content.unmapped", Json::Object(kept));
    }
    if !written.is_empty() {
        put(out, "unmapped", Json::Object(written));
    }
}

/// The rows of a class and a kind that have a place in OCSF.
pub(super) fn rows(class: &Class, kind: &str) -> impl Iterator<Item = &'static Row> {
    let bit = class.bit;
    ROWS.iter()
        .filter(move |row| row.classes & bit != 0 && !row.ocsf.is_empty())
        .filter(move |row| row.kinds.is_empty() || row.kinds.contains(&kind))
}

/// The word of the event's kind; empty = none that this version knows.
pub(super) fn kind(ours: &Json) -> &str {
    if let Some(Json::Text(kind)) = get(ours, "core.kind") { kind } else { "" }
}

/// What fillers are made of.
pub(super) fn known(ours: &Json) -> Known {
    let of = |path| if let Some(Json::Text(text)) = get(ours, path) { Some(text.as_str()) } else { None };
    let time = of("core.t_event").or(of("core.t_obs")).and_then(parse_rfc3339);
    Known { eid: of("core.eid").map(str::to_owned), time: time.map(|ns| ns.div_euclid(1_000_000)) }
}

fn int(n: u64) -> Json {
    Json::Int(i128::from(n))
}

/// Used by the importer for kinds of its own choice.
pub(super) fn put_word(ours: &mut Json, path: &str, word: &str) {
    put(ours, path, text(word));
}
