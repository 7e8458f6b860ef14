//! Our own service list: who calls what, written by hand or by a registry's export. TOML and YAML with one table a call,
//! CSV with one line a call.

use super::{Caller, Document, Expected, Operation};
use crate::documents::{Refused, list, text};
use serde_json::Value;

/// Keys of a call; any other is refused, since a misspelt one would widen what is expected.
const KEYS: [&str; 5] = ["from", "to", "port", "protocol", "operations"];

pub(super) fn read_toml(into: &mut Expected, of: &Document<'_>) -> Result<(), Refused> {
    let value: Value = toml::from_str(of.text).map_err(|error| {
        let line = error
            .span()
            .map_or(0, |span| 1 + of.text.bytes().take(span.start).filter(|b| *b == b'\n').count());
        Refused::new(of.source, format!("line {line}"), format!("not TOML: {}", error.message()))
    })?;
    read_value(into, of, "", &value)
}

pub(super) fn read_value(
    into: &mut Expected,
    of: &Document<'_>,
    place: &str,
    value: &Value,
) -> Result<(), Refused> {
    let calls = list(value, "/call");
    if calls.is_empty() {
        return Err(Refused::new(of.source, place, "no `call`: a list of tables with `from` and `to`"));
    }
    for (at, call) in calls.iter().enumerate() {
        let place = format!("{place} call {}", at + 1);
        one(into, of.source, place.trim(), call)?;
    }
    Ok(())
}

fn one(into: &mut Expected, source: &str, place: &str, call: &Value) -> Result<(), Refused> {
    let refuse = |why: String| Err(Refused::new(source, place, why));
    let Some(table) = call.as_object() else { return refuse("not a table".to_owned()) };
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return refuse(format!("unknown key `{key}`; known are {}", KEYS.join(", ")));
    }
    let (from, to) = (text(call, "/from"), text(call, "/to"));
    if to.is_empty() {
        return refuse("`to`: the service called is missing".to_owned());
    }
    let port = match call.get("port") {
        None => None,
        Some(port) => match port.as_u64().and_then(|port| u16::try_from(port).ok()) {
            Some(port) => Some(port),
            None => return refuse("`port`: not a number from 0 to 65535".to_owned()),
        },
    };
    let operations = list(call, "/operations").iter().filter_map(Value::as_str).map(Operation::new).collect();
    let names = (!matches!(from, "" | "*")).then(|| from.to_lowercase()).into_iter().collect();
    let proto = text(call, "/protocol").to_lowercase();
    into.caller(source, to, Caller { names, ports: port.into_iter().collect(), proto, operations })
}

/// A line: `caller,callee,port,protocol,operation` by its header; empty = any.
pub(super) fn read_csv(into: &mut Expected, of: &Document<'_>) -> Result<(), Refused> {
    let rows = rows(of.source, of.text)?;
    let Some((header, rows)) = rows.split_first() else { return Ok(()) };
    let column = |names: [&str; 2]| header.1.iter().position(|have| names.contains(&have.as_str()));
    let (from, to) = (column(["caller", "from"]), column(["callee", "to"]));
    let (port, proto) = (column(["port", "port"]), column(["protocol", "proto"]));
    let operation = column(["operation", "operations"]);
    if from.is_none() || to.is_none() {
        return Err(Refused::new(
            of.source,
            "line 1",
            "no columns `caller` and `callee` (nor `grantee`, of grants)",
        ));
    }
    for (line, row) in rows {
        let get = |at: Option<usize>| at.and_then(|at| row.get(at)).map_or("", |text| text.trim());
        let mut call = serde_json::json!({ "from": get(from), "to": get(to), "protocol": get(proto) });
        let place = format!("line {line}");
        if !get(port).is_empty() {
            call["port"] = get(port).parse::<u64>().map_or(Value::Null, Value::from);
        }
        if !get(operation).is_empty() {
            call["operations"] = serde_json::json!([get(operation)]);
        }
        one(into, of.source, &place, &call)?;
    }
    Ok(())
}

/// The rows of a CSV text (RFC 4180) with their line; the header in lower case.
pub(super) fn rows(source: &str, text: &str) -> Result<Vec<(usize, Vec<String>)>, Refused> {
    let (mut out, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut began, mut quoted) = (1, 1, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                out.push((began, std::mem::take(&mut row)));
                began = line + 1;
            }
            c => field.push(c),
        }
        line += usize::from(c == '\n');
    }
    if quoted {
        return Err(Refused::new(source, format!("line {began}"), "a quoted field does not end"));
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        out.push((began, row));
    }
    out.retain(|(_, row)| row.iter().any(|field| !field.trim().is_empty()));
    if let Some((_, header)) = out.first_mut() {
        header.iter_mut().for_each(|name| *name = name.trim().to_lowercase());
    }
    Ok(out)
}
