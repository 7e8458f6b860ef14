//! `status`: whether a server runs on this data directory, and whether it records as it should. It asks the server
//! what `/readyz` says and changes nothing. Exit code: 0 when it is ready, 1 when not or when none runs.

use crate::access::SOCKET;
use crate::access::http::Client;
use crate::args::{Format, Global, StatusArgs};
use crate::config;
use crate::exit::{CliError, Exit};
use crate::output::{self, Row, escape_line};
use crate::upgrade::process_of;
use serde_json::{Value, json};
use std::io::Write;

/// What is known.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    /// `ready`, `not ready`, `not running`, `unknown`.
    state: &'static str,
    /// `ok`, or the gateway's word for what is wrong.
    recording: String,
    /// Why it is not ready.
    cause: String,
    /// Entries of the ledger, and how many of them cannot be searched yet.
    size: Option<u64>,
    lag: Option<u64>,
}

/// Asks and prints.
pub(crate) fn run(global: &Global, _args: &StatusArgs) -> Result<Exit, CliError> {
    let config = config::resolve(global)?;
    let process = process_of(&config.data);
    let status = match Client::connect(&config.data.join(SOCKET)) {
        Some(client) => {
            let response = client.get("/readyz", "application/json")?;
            let code = response.status;
            told(code, &serde_json::from_slice(&response.bytes()?).unwrap_or(Value::Null))
        }
        None => silent(process.is_some()),
    };
    print(global, &status, process, &config.data.display().to_string())?;
    Ok(if status.state == "ready" { Exit::Yes } else { Exit::No })
}

/// What an answer of `/readyz` says.
fn told(code: u16, body: &Value) -> Status {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (size, lag) = (body["size"].as_u64(), body["lag"].as_u64());
    if code == 200 {
        return Status { state: "ready", recording: text("recording"), cause: String::new(), size, lag };
    }
    let cause = text("detail");
    let word = cause.split_once(": ").map(|(word, _)| word).filter(|word| *word == "audit-blocked");
    Status { state: "not ready", recording: word.unwrap_or_default().to_owned(), cause, size, lag }
}

/// Nobody answers on the socket.
fn silent(runs: bool) -> Status {
    let (state, cause) = match runs {
        true => ("unknown", "it has no socket to ask: it starts or ends, or is an edge, whose log tells"),
        false => ("not running", "no server runs on this data directory"),
    };
    Status { state, recording: String::new(), cause: cause.to_owned(), size: None, lag: None }
}

fn print(global: &Global, status: &Status, process: Option<u32>, data: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    let row = json!({
        "state": status.state, "recording": status.recording, "cause": status.cause, "process": process,
        "size": status.size, "lag": status.lag, "data": data,
    });
    let row: Row = row.as_object().cloned().unwrap_or_default();
    let given = |value: &Value| !value.is_null() && value.as_str() != Some("");
    let row: Row = row.into_iter().filter(|(_, value)| given(value)).collect();
    match output::format(global) {
        Format::Text => {
            for name in ["state", "recording", "cause", "process", "size", "lag", "data"] {
                if let Some(value) = row.get(name) {
                    writeln!(out, "{name:<10} {}", escape_line(&output::plain(Some(value))))?;
                }
            }
        }
        format => output::rows(&mut out, format, &[], &[row])?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_cannot_record_is_not_ready_and_the_reason_is_told() {
        let ready = told(200, &json!({"status": "ready", "recording": "ok", "size": 9, "lag": 0}));
        assert_eq!((ready.state, ready.recording.as_str(), ready.size), ("ready", "ok", Some(9)));
        let body = json!({"code": "degraded", "detail": "audit-blocked: the disk is nearly full"});
        let blocked = told(503, &body);
        assert_eq!((blocked.state, blocked.recording.as_str()), ("not ready", "audit-blocked"));
        assert!(blocked.cause.ends_with("the disk is nearly full"));
        let behind = told(503, &json!({"detail": "the store is 1000001 entries behind the ledger"}));
        assert_eq!((behind.state, behind.recording.as_str()), ("not ready", ""));
        assert_eq!((silent(false).state, silent(true).state), ("not running", "unknown"));
    }
}
