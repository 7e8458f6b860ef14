//! Answers of the running server, over its local socket and the HTTP interface `/api/v1`.

use super::http::{Client, Response, encode};
use super::{Answer, EntryId, Pin, Search, time};
use crate::exit::CliError;
use crate::output::Row;
use serde_json::{Value, json};

const JSON: &str = "application/json";

/// The server.
pub(crate) struct Server {
    /// Its socket.
    pub(crate) client: Client,
}

impl Server {
    /// Over a socket that answers.
    pub(crate) fn new(client: Client) -> Server {
        Server { client }
    }

    pub(super) fn find(&self, search: &Search, limit: usize, fields: &[String]) -> Result<Answer, CliError> {
        let extra = [("limit", limit.to_string()), ("fields", fields.join(","))];
        let value = self.json(&format!("/api/v1/events?{}", self.query(search, &extra)?))?;
        let columns = if fields.is_empty() { default_columns() } else { fields.to_vec() };
        Ok(answer(&value, columns))
    }

    pub(super) fn count(&self, search: &Search) -> Result<Answer, CliError> {
        let value = self.json(&format!("/api/v1/count?{}", self.query(search, &[])?))?;
        Ok(answer(&value, vec!["count".into()]))
    }

    pub(super) fn count_by(&self, search: &Search, by: &[String], top: usize) -> Result<Answer, CliError> {
        let extra = [("by", by.join(",")), ("top", top.to_string())];
        let value = self.json(&format!("/api/v1/count?{}", self.query(search, &extra)?))?;
        let mut answer = answer(&value, Vec::new());
        answer.columns = by.to_vec();
        // Whatever else a row carries (the count) stands after the fields it was counted by.
        for name in answer.rows.iter().flat_map(Row::keys) {
            if !answer.columns.contains(name) {
                answer.columns.push(name.clone());
            }
        }
        Ok(answer)
    }

    pub(super) fn explain(&self, filter: &str) -> Result<String, CliError> {
        let value = self.json(&format!("/api/v1/explain?q={}", encode(filter)))?;
        Ok(value["data"]["sql"].as_str().unwrap_or_default().to_string())
    }

    pub(super) fn sql(&self, text: &str, at: Option<&Pin>) -> Result<Answer, CliError> {
        let mut body = json!({ "sql": text });
        if let Some(at) = at {
            body["at"] = json!(self.pin(at)?);
        }
        let value = parsed(self.client.post("/api/v1/sql", JSON, &body.to_string())?)?;
        let columns = value["columns"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_string)
            .collect();
        Ok(answer(&value, columns))
    }

    pub(super) fn document(&self, id: &EntryId) -> Result<Value, CliError> {
        let target = match id {
            EntryId::Index(index) => format!("/api/v1/events/{index}"),
            EntryId::Event(eid) => format!("/api/v1/events/by-id/{}", countersign_event::json::hex(eid)),
        };
        Ok(self.json(&target)?["data"].take())
    }

    pub(super) fn timeline(&self, id: &EntryId) -> Result<Answer, CliError> {
        let index = match id {
            EntryId::Index(index) => *index,
            EntryId::Event(_) => self.document(id)?["index"].as_u64().unwrap_or(0),
        };
        Ok(answer(&self.json(&format!("/api/v1/events/{index}/timeline"))?, Vec::new()))
    }

    pub(super) fn evidence(&self, index: u64) -> Result<Vec<u8>, CliError> {
        let response =
            self.client.get(&format!("/api/v1/events/{index}/proof"), "application/octet-stream")?;
        checked(response)
    }

    pub(super) fn vkey(&self) -> Result<String, CliError> {
        let value = self.json("/api/v1/checkpoint")?;
        let vkey = value["data"]["vkey"].as_str().unwrap_or_default();
        if vkey.is_empty() {
            return Err(CliError::Failed(
                "the server named no log key; ask again once it has signed a checkpoint".into(),
            ));
        }
        Ok(vkey.into())
    }

    fn json(&self, target: &str) -> Result<Value, CliError> {
        parsed(self.client.get(target, JSON)?)
    }

    fn query(&self, search: &Search, extra: &[(&str, String)]) -> Result<String, CliError> {
        let mut pairs: Vec<(&str, String)> = vec![("q", search.filter.clone())];
        pairs.extend(search.from_ns.map(|ns| ("from", time::rfc3339(ns))));
        pairs.extend(search.to_ns.map(|ns| ("to", time::rfc3339(ns))));
        if let Some(at) = &search.at {
            pairs.push(("at", self.pin(at)?));
        }
        pairs.extend(extra.iter().map(|(name, value)| (*name, value.clone())));
        let shown: Vec<String> =
            pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| format!("{n}={}", encode(v))).collect();
        Ok(shown.join("&"))
    }

    /// A pin as the interface wants it: with the root, which the server itself is asked for when not given.
    fn pin(&self, pin: &Pin) -> Result<String, CliError> {
        let size = pin.size;
        if let Some(root) = &pin.root {
            return Ok(format!("{size}.{root}"));
        }
        let value = self.json(&format!("/api/v1/consistency?from={size}&to={size}"))?;
        let root = value["to"]["root"].as_str().and_then(|root| root.get(..16)).unwrap_or_default();
        Ok(format!("{size}.{root}"))
    }
}

/// Columns of a search when none are named.
pub(crate) fn default_columns() -> Vec<String> {
    countersign_store::DEFAULT_COLUMNS.iter().map(|name| name.to_string()).collect()
}

fn answer(value: &Value, columns: Vec<String>) -> Answer {
    let rows =
        value["data"].as_array().into_iter().flatten().filter_map(|row| row.as_object().cloned()).collect();
    Answer {
        columns,
        rows,
        complete: value["complete"].clone(),
        at: value["at"]["size"].as_u64().unwrap_or(0),
    }
}

pub(crate) fn parsed(response: Response) -> Result<Value, CliError> {
    let bytes = checked(response)?;
    serde_json::from_slice(&bytes).map_err(|e| {
        CliError::new(
            "cannot read the server's answer",
            e,
            "see whether server and command have the same version",
        )
    })
}

/// The body of a good answer; a problem document becomes an error with its own exit code.
fn checked(response: Response) -> Result<Vec<u8>, CliError> {
    let status = response.status;
    let bytes = response.bytes()?;
    if (200..300).contains(&status) { Ok(bytes) } else { Err(problem(status, &bytes)) }
}

/// A problem document (RFC 9457) as an error.
pub(crate) fn problem(status: u16, bytes: &[u8]) -> CliError {
    let value: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_string();
    let mut message = text("detail");
    if message.is_empty() {
        message = format!("the server answered with status {status}");
    }
    let near: Vec<String> = value["suggestions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|s| format!("`{s}`"))
        .collect();
    if !near.is_empty() && !message.contains("did you mean") {
        message = format!("{message}: did you mean {}?", near.join(" or "));
    }
    let hint = text("hint");
    if !hint.is_empty() {
        message = format!("{message}; {hint}");
    }
    match text("code").as_str() {
        "integrity" | "pin-mismatch" => CliError::Integrity(message),
        "not-found" | "not-yet" | "erased" | "retired" => CliError::NotFound(message),
        _ => CliError::Failed(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_keep_their_words_and_get_the_right_exit_code() {
        let error = problem(400, br#"{"code":"unknown-field","detail":"unknown field `idenity`","suggestions":["identity"],"hint":"see the list"}"#);
        assert_eq!(error.to_string(), "unknown field `idenity`: did you mean `identity`?; see the list");
        assert_eq!(error.code(), 2);
        assert_eq!(problem(500, br#"{"code":"integrity","detail":"x"}"#).code(), 3);
        assert_eq!(problem(404, br#"{"code":"not-found","detail":"x"}"#).code(), 1);
        assert_eq!(problem(502, b"<html>").to_string(), "the server answered with status 502");
    }
}
