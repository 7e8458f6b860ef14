//! Answers as JSON, and one event as the flat row that searches and tails share.

use crate::params::Pin;
use crate::state::AppState;
use crate::time;
use countersign_event::Event;
use countersign_event::json::hex;
use countersign_store::{Cell, Complete, Rows};
use serde_json::{Map, Value, json};

/// Text of a cell, empty when absent.
pub(crate) fn text<'a>(rows: &'a Rows, row: usize, name: &str) -> &'a str {
    match rows.get(row, name) {
        Some(Cell::Text(text)) => text,
        _ => "",
    }
}

/// Whole number of a cell.
pub(crate) fn int(rows: &Rows, row: usize, name: &str) -> Option<i64> {
    match rows.get(row, name)? {
        Cell::Int(n) | Cell::TimeNs(n) => Some(*n),
        Cell::UInt(n) => i64::try_from(*n).ok(),
        Cell::Float(n) => Some(*n as i64),
        _ => None,
    }
}

/// The envelope's account of completeness.
pub(crate) fn complete(complete: &Complete) -> Value {
    let mut out = json!({
        "gaps": complete.gaps,
        "erased": complete.erased,
        "retired": complete.retired,
        "truncated": complete.truncated,
    });
    if !complete.unreadable.is_empty() {
        out["unreadable"] = json!(complete.unreadable);
    }
    out
}

/// The envelope's `at`: log, size and root, where the size has a root.
pub(crate) fn at(state: &AppState, size: u64) -> Value {
    let mut out = json!({ "log": state.ledger.origin(), "size": size });
    if let Ok(root) = state.ledger.root_at(size) {
        out["root"] = json!(hex(&root));
    }
    out
}

/// The pin of a size of this log.
pub(crate) fn pin(state: &AppState, size: u64) -> Option<String> {
    let root = state.ledger.root_at(size).ok()?;
    Some(Pin { size, root8: hex(&root[..8]) }.text())
}

/// A UUID as people write it.
pub(crate) fn uuid(id: &[u8; 16]) -> String {
    let h = hex(id);
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

/// The flat row of an event: names and spelling as in search results.
pub(crate) fn flat(index: u64, event: &Event) -> Map<String, Value> {
    let mut row = Map::new();
    let core = &event.core;
    row.insert("index".into(), json!(index));
    row.insert("id".into(), json!(uuid(&core.eid)));
    let when = core.t_event.unwrap_or_else(|| i64::try_from(core.t_obs).unwrap_or(i64::MAX));
    row.insert("time".into(), json!(time::rfc3339(when)));
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            row.insert(name.to_owned(), json!(value));
        }
    };
    set("rec", core.rec.map_or("", |word| word.word()));
    set("kind", core.kind.map_or("", |word| word.word()));
    set("protocol", &core.proto);
    set("op", &core.op);
    set("class", core.class.map_or("", |word| word.word()));
    set("outcome", core.outcome.map_or("", |word| word.word()));
    set("status", core.status.as_ref().map_or("", |(_, code)| code));
    set("decision", core.decision.as_ref().and_then(|d| d.verdict).map_or("", |word| word.word()));
    set("who", event.who.who.as_ref().map_or("", |p| &p.id));
    set("auth", event.who.who.as_ref().and_then(|p| p.auth).map_or("", |word| word.word()));
    set("src_ip", &event.peer.src.as_ref().and_then(|e| e.ip).map(|ip| ip.to_string()).unwrap_or_default());
    set("service", &event.target.svc);
    set("resource", &event.target.res);
    set("error", &event.content.err);
    set("trace", &event.links.trace.map(|id| hex(&id)).unwrap_or_default());
    if let Some(principal) = &event.who.who {
        row.insert("verified".into(), json!(principal.verified.code()));
    }
    if let Some(ns) = core.dur {
        row.insert("duration_ns".into(), json!(ns));
    }
    let sizes = [("req_size", &event.body.req), ("rsp_size", &event.body.rsp)];
    for (name, size) in sizes.into_iter().filter_map(|(name, side)| Some((name, side.as_ref()?.size?))) {
        row.insert(name.to_owned(), json!(size));
    }
    row
}
