//! `status`: whether a server runs on this data directory, and whether it records as it should. It asks the server
//! what `/readyz` says and changes nothing. Exit code: 0 when it is ready, 1 when not or when none runs.

use crate::access::SOCKET;
use crate::access::http::Client;
use crate::args::{Format, Global, StatusArgs};
use crate::config;
use crate::exit::{CliError, Exit};
use crate::output::{self, Row, escape_line};
use crate::upgrade::process_of;
use countersign_collect::ship::cursor::{self, State};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

/// What is printed, in this order, where it is known.
const NAMES: [&str; 12] = [
    "state",
    "recording",
    "cause",
    "process",
    "size",
    "lag",
    "core",
    "shipped",
    "behind",
    "behind_s",
    "age_s",
    "data",
];

/// What is known.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    /// `ready`, `not ready`, `shipping`, `not shipping`, `not running`, `unknown`.
    state: &'static str,
    /// `ok`, or the gateway's word for what is wrong.
    recording: String,
    /// Why it is not ready.
    cause: String,
    /// Entries of the ledger, and how many of them cannot be searched yet.
    size: Option<u64>,
    lag: Option<u64>,
    /// How an edge's shipping stands.
    shipping: Option<Shipping>,
}

/// What an edge last wrote of its shipping.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shipping {
    core: String,
    /// Entries of its ledger that are durable at the core, or nothing to ship.
    shipped: u64,
    /// Entries that were not, and the age of the oldest, seconds.
    behind: (u64, u64),
    /// Age of this knowledge, seconds.
    age_s: u64,
    error: Option<String>,
}

impl Shipping {
    fn read(data: &Path) -> Result<Option<Shipping>, CliError> {
        let path = data.join(cursor::FILE);
        let failed = |e| CliError::new(format!("cannot read {}", path.display()), e, "check its permissions");
        let state = State::load(&path).map_err(failed)?;
        let now_s = u64::try_from(crate::access::time::now_ns() / 1_000_000_000).unwrap_or(0);
        Ok(state.map(|state| Shipping {
            core: state.core,
            shipped: state.cursor.next,
            behind: state.behind,
            age_s: now_s.saturating_sub(state.at_s),
            error: state.error,
        }))
    }
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
        None => {
            let shipping = Shipping::read(&config.data)?;
            match shipping.filter(|_| process.is_some()) {
                Some(shipping) => ships(shipping),
                None => silent(process.is_some()),
            }
        }
    };
    print(global, &status, process, &config.data.display().to_string())?;
    Ok(if matches!(status.state, "ready" | "shipping") { Exit::Yes } else { Exit::No })
}

/// What an answer of `/readyz` says.
fn told(code: u16, body: &Value) -> Status {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (size, lag) = (body["size"].as_u64(), body["lag"].as_u64());
    if code == 200 {
        return Status {
            state: "ready",
            recording: text("recording"),
            cause: String::new(),
            size,
            lag,
            shipping: None,
        };
    }
    let cause = text("detail");
    let word = cause.split_once(": ").map(|(word, _)| word).filter(|word| *word == "audit-blocked");
    Status {
        state: "not ready",
        recording: word.unwrap_or_default().to_owned(),
        cause,
        size,
        lag,
        shipping: None,
    }
}

/// An edge runs: nobody asks it, it writes how it stands.
fn ships(shipping: Shipping) -> Status {
    let (state, cause) = match &shipping.error {
        None => ("shipping", String::new()),
        Some(error) => ("not shipping", format!("{error}; records wait in the ledger")),
    };
    let (recording, size, lag) = (String::new(), None, None);
    Status { state, recording, cause, size, lag, shipping: Some(shipping) }
}

/// Nobody answers on the socket.
fn silent(runs: bool) -> Status {
    let (state, cause) = match runs {
        true => (
            "unknown",
            "it has no socket to ask: it starts or ends, or is an edge without a core, whose log tells",
        ),
        false => ("not running", "no server runs on this data directory"),
    };
    Status { state, recording: String::new(), cause: cause.to_owned(), size: None, lag: None, shipping: None }
}

fn print(global: &Global, status: &Status, process: Option<u32>, data: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    let shipping = status.shipping.as_ref();
    let row = json!({
        "state": status.state, "recording": status.recording, "cause": status.cause, "process": process,
        "size": status.size, "lag": status.lag, "data": data,
        "core": shipping.map(|s| s.core.clone()), "shipped": shipping.map(|s| s.shipped),
        "behind": shipping.map(|s| s.behind.0), "behind_s": shipping.map(|s| s.behind.1),
        "age_s": shipping.map(|s| s.age_s),
    });
    let row: Row = row.as_object().cloned().unwrap_or_default();
    let given = |value: &Value| !value.is_null() && value.as_str() != Some("");
    let row: Row = row.into_iter().filter(|(_, value)| given(value)).collect();
    match output::format(global) {
        Format::Text => {
            for name in NAMES {
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
    fn an_edge_tells_how_far_it_has_shipped_and_what_is_wrong() {
        let error = Some("cannot reach https://core:4319: connection refused".to_owned());
        let far =
            Shipping { core: "https://core:4319".into(), shipped: 7, behind: (3, 9), age_s: 1, error: None };
        let fine = ships(far.clone());
        assert_eq!((fine.state, fine.cause.as_str()), ("shipping", ""));
        let wrong = ships(Shipping { error, ..far });
        assert_eq!(wrong.state, "not shipping");
        assert!(wrong.cause.contains("connection refused") && wrong.cause.contains("wait in the ledger"));
    }

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
