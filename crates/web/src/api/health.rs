//! Whether the server lives and can answer, and new sign-in links for the local operator.

use super::{Answer, json_answer};
use crate::problem::Problem;
use crate::state::{AppState, Viewer};
use axum::Extension;
use axum::extract::State;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Entries that the store may lag behind the ledger before the server says it is not ready.
const LAG_MAX: u64 = 1_000_000;

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> Answer {
    Ok(json_answer(&json!({ "status": "alive" })))
}

/// `GET /readyz`: the ledger takes events, the gateway records, and the store has not fallen far behind.
pub(super) async fn ready(State(state): State<AppState>) -> Answer {
    if state.ledger.stats().stopped.is_some() {
        return Err(Problem::new("degraded", "the ledger has stopped").hint("see the server's log"));
    }
    let (recording, cause) = state.options.recording.as_ref().map_or(("ok", None), |ask| ask());
    if let Some(cause) = cause {
        return Err(Problem::new("degraded", format!("{recording}: {cause}")).hint(
            "records wait, and with them traffic as each route's durability says; see countersign status",
        ));
    }
    let (size, visible) = (state.ledger.size(), state.store.visible());
    let lag = size.saturating_sub(visible);
    if lag > LAG_MAX {
        return Err(Problem::new("degraded", format!("the store is {lag} entries behind the ledger")));
    }
    Ok(json_answer(&json!({ "status": "ready", "recording": recording, "size": size, "lag": lag })))
}

/// `POST /login-link` with `{"address": "127.0.0.1:8440"}`, on the local socket only.
pub(super) async fn login_link(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    body: String,
) -> Answer {
    if !viewer.local {
        return Err(Problem::new("not-allowed", "links are made on the local socket only"));
    }
    let parsed: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    let address: Option<SocketAddr> = parsed["address"].as_str().and_then(|text| text.parse().ok());
    let address = address
        .ok_or_else(|| Problem::new("bad-value", "the body must be {\"address\": \"127.0.0.1:PORT\"}"))?;
    let link = state.login_link(address).map_err(|error| Problem::new("internal", error.to_string()))?;
    Ok(json_answer(&json!({ "data": { "link": link } })))
}
