//! `show`: one entry as a sentence, then all its fields; with `--raw` the very bytes that were hashed. With
//! `--timeline` what belongs to it instead.

use crate::access::evidence::Single;
use crate::access::{Access, Answer, EntryId};
use crate::args::{Format, Global, ShowArgs};
use crate::config::units;
use crate::exit::{CliError, Exit};
use crate::output::{self, Row, escape_line};
use countersign_event::{GROUP_NAMES, json::hex};
use serde_json::Value;
use std::io::Write;

/// Prints the entry.
pub(crate) fn run(global: &Global, args: &ShowArgs) -> Result<Exit, CliError> {
    let access = Access::open(global)?;
    if args.timeline {
        return timeline(global, &access.timeline(&EntryId::parse(&args.id)?)?);
    }
    let document = access.document(&EntryId::parse(&args.id)?)?;
    let index = document["index"].as_u64().unwrap_or(0);
    let raw = if args.raw { Some(Single::read(&access.evidence(index)?)?) } else { None };
    let mut out = std::io::stdout().lock();
    match output::format(global) {
        Format::Text => {
            writeln!(out, "{}", escape_line(&sentence(&document)))?;
            fields(&mut out, &document)?;
            if let Some(single) = raw {
                hashed(&mut out, &single)?;
            }
        }
        format => {
            let mut row = document.as_object().cloned().unwrap_or_default();
            if let Some(single) = raw {
                let groups = single.groups().iter().zip(GROUP_NAMES);
                let shown: serde_json::Map<String, Value> =
                    groups.map(|((_, bytes), name)| (name.to_string(), hex(bytes).into())).collect();
                row.insert("raw".into(), shown.into());
            }
            output::rows(&mut out, format, &[], &[row])?;
        }
    }
    Ok(Exit::Yes)
}

/// What belongs to an event, a line each in order of time; what is inferred says so.
fn timeline(global: &Global, answer: &Answer) -> Result<Exit, CliError> {
    let mut out = std::io::stdout().lock();
    match output::format(global) {
        Format::Text => {
            for row in &answer.rows {
                writeln!(out, "{}", escape_line(&line(row)))?;
            }
            if !global.quiet {
                eprintln!("{}", output::escape(&answer.footer()));
            }
        }
        format => output::rows(&mut out, format, &answer.columns, &answer.rows)?,
    }
    Ok(Exit::Yes)
}

/// One line of a timeline; a star marks the event that was asked for.
fn line(row: &Row) -> String {
    let of = |name: &str| row.get(name).map(text).unwrap_or_default();
    let first = |names: [&str; 2]| names.into_iter().map(of).find(|t| !t.is_empty()).unwrap_or_default();
    let mark = if of("joined") == "this" { "*" } else { " " };
    let who = Some(of("who")).filter(|who| !who.is_empty()).unwrap_or_else(|| "somebody unknown".into());
    let mut line = format!(
        "{mark} {}  {:>8}  {who} {} {}",
        of("time"),
        of("index"),
        of("op"),
        first(["statement", "resource"])
    );
    if !of("service").is_empty() {
        line.push_str(&format!(" on {}", of("service")));
    }
    let outcome = Some(of("outcome")).filter(|o| !o.is_empty()).unwrap_or_else(|| "unknown outcome".into());
    line.push_str(&format!(": {outcome}"));
    if !of("status").is_empty() {
        line.push_str(&format!(" {}", of("status")));
    }
    let score = row.get("score").and_then(Value::as_u64);
    line.push_str(&format!("  [{}]", countersign_web::belongs(&of("joined"), score)));
    line
}

/// Who did what to which resource, when, and how it ended.
pub(crate) fn sentence(document: &Value) -> String {
    let index = document["index"].as_u64().unwrap_or(0);
    let event = &document["event"];
    if !event.is_object() {
        let entry = &document["entry"];
        return format!(
            "entry {index}: {} of source {} at {}",
            text(&entry["kind"]),
            entry["source_ref"],
            text(&entry["time"])
        );
    }
    let (core, target) = (&event["core"], &event["target"]);
    let who = &event["who"]["who"];
    let verb = text(&core["op"]);
    let what =
        [&target["raw"], &target["res"]].into_iter().map(text).find(|t| !t.is_empty()).unwrap_or_default();
    let mut line = format!("event {index}: {} {verb} {what}", caller(who));
    if let Some(service) = Some(text(&target["svc"])).filter(|s| !s.is_empty()) {
        line.push_str(&format!(" on {service}"));
    }
    let outcome =
        Some(text(&core["outcome"])).filter(|o| !o.is_empty()).unwrap_or_else(|| "unknown outcome".into());
    line.push_str(&format!(": {outcome}"));
    if let Some(code) = core["status"].as_array().and_then(|s| s.get(1)).or(core["status"].get("code")) {
        line.push_str(&format!(" {}", text(code)));
    }
    if let Some(ns) = core["dur"].as_u64() {
        line.push_str(&format!(" after {}", units::duration_rough(ns)));
    }
    let when =
        [&core["t_event"], &core["t_obs"]].into_iter().map(text).find(|t| !t.is_empty()).unwrap_or_default();
    line.push_str(&format!(", at {when}"));
    line
}

/// The short name of a caller, and how strongly it was proved.
pub(crate) fn caller(who: &Value) -> String {
    let id = text(&who["id"]);
    if id.is_empty() {
        return "somebody unknown".into();
    }
    let verified = match &who["verified"] {
        Value::Number(n) => n.to_string(),
        other => text(other),
    };
    format!("{id} (verified {verified})")
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn fields(out: &mut dyn Write, document: &Value) -> Result<(), CliError> {
    let entry = &document["entry"];
    writeln!(out, "\nentry")?;
    flat(out, "  ", entry)?;
    for name in GROUP_NAMES {
        let group = &document["event"][name];
        if group.as_object().is_some_and(|g| !g.is_empty()) {
            writeln!(out, "{name}")?;
            flat(out, "  ", group)?;
        }
    }
    if let Some(body) = document["body"].as_str() {
        writeln!(out, "body (deterministic CBOR, base64url)\n  {}", escape_line(body))?;
    }
    writeln!(out, "proof\n  {}", escape_line(&text(&document["proof"]["state"])))?;
    Ok(())
}

/// One line a field, nested ones by dotted name.
fn flat(out: &mut dyn Write, indent: &str, value: &Value) -> Result<(), CliError> {
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                writeln!(out, "{indent}{}", escape_line(name))?;
                flat(out, &format!("{indent}  "), value)?;
            }
            other => writeln!(out, "{indent}{:<12} {}", escape_line(name), escape_line(&text(other)))?,
        }
    }
    Ok(())
}

fn hashed(out: &mut dyn Write, single: &Single) -> Result<(), CliError> {
    writeln!(out, "hashed bytes")?;
    for ((salt, bytes), name) in single.groups().iter().zip(GROUP_NAMES) {
        writeln!(out, "  {name:<8} salt {} bytes {}", hex(salt), hex(bytes))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_told_as_a_sentence() {
        let document = json!({"index": 128, "event": {
            "core": {"op": "DELETE", "outcome": "success", "dur": 2_100_000, "t_event": "2026-03-01T14:00:00.000000000Z"},
            "who": {"who": {"id": "spiffe://demo/payments-api", "verified": "bound"}},
            "target": {"svc": "orders", "raw": "/v1/orders/17"}}});
        assert_eq!(
            sentence(&document),
            "event 128: spiffe://demo/payments-api (verified bound) DELETE /v1/orders/17 on orders: success after 2.10 ms, at 2026-03-01T14:00:00.000000000Z"
        );
    }

    #[test]
    fn a_line_of_a_timeline_says_probably_where_it_is_inferred_and_only_there() {
        let row = |value: serde_json::Value| value.as_object().cloned().unwrap();
        let this = row(
            json!({"index": 7, "time": "t", "op": "GET", "resource": "/a", "service": "s", "outcome": "success",
            "status": "200", "joined": "this", "who": "w"}),
        );
        assert_eq!(line(&this), "* t         7  w GET /a on s: success 200  [this event]");
        let statement = row(
            json!({"index": 8, "time": "u", "op": "SELECT", "statement": "select ?", "resource": "t", "joined": "caused", "score": 450}),
        );
        assert_eq!(
            line(&statement),
            "  u         8  somebody unknown SELECT select ?: unknown outcome  [probably (score 450 of 1000): made for it]"
        );
    }

    #[test]
    fn an_entry_without_event_is_named_by_its_kind() {
        let document = json!({"index": 0, "entry": {"kind": "schema", "source_ref": 0, "time": "t"}});
        assert_eq!(sentence(&document), "entry 0: schema of source 0 at t");
    }
}
