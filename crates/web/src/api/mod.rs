//! The HTTP interface `/api/v1`: additive changes only, one envelope, one shape of error.
//! `docs/reference/api.md` is its documentation.

mod alerts;
mod events;
mod health;
mod ledger;
mod map;
mod sql;
mod tail;

use crate::params::{Params, Pin};
use crate::problem::Problem;
use crate::rows;
use crate::state::AppState;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use axum::routing::{get, post};
use countersign_store::Rows;
use serde_json::{Value, json};
use std::time::Duration;

pub use alerts::{Desk, DeskError};

/// What a handler gives: an answer, or a problem that the guard draws.
pub(crate) type Answer = Result<Response<Body>, Problem>;

/// Largest request body, bytes.
const BODY_MAX: usize = 1 << 20;
/// Longest wait for the store to show what the newest checkpoint covers, milliseconds.
const VISIBLE_WAIT_MS: u64 = 300;
const NDJSON: &str = "application/x-ndjson";

/// All routes of the interface.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/events/{index}", get(events::one))
        .route("/api/v1/events/{index}/context", get(events::context))
        .route("/api/v1/events/{index}/timeline", get(events::timeline))
        .route("/api/v1/events/{index}/proof", get(ledger::proof))
        .route("/api/v1/events/by-id/{id}", get(events::by_id))
        .route("/api/v1/count", get(events::count))
        .route("/api/v1/explain", get(sql::explain))
        .route("/api/v1/sql", post(sql::run))
        .route("/api/v1/tail", get(tail::open))
        .route("/api/v1/map", get(map::map))
        .route("/api/v1/sources", get(ledger::sources))
        .route("/api/v1/gaps", get(ledger::gaps))
        .route("/api/v1/findings", get(events::findings))
        .route("/api/v1/alerts", get(alerts::open))
        .route("/api/v1/detection/{what}", get(alerts::show))
        .route("/api/v1/alerts/{what}", get(alerts::show).post(alerts::act))
        .route("/api/v1/checkpoint", get(ledger::checkpoint))
        .route("/api/v1/consistency", get(ledger::consistency))
        .route("/api/v1/login-link", post(health::login_link))
        .route("/api/v1/healthz", get(health::alive))
        .route("/api/v1/readyz", get(health::ready))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/log/{*path}", get(ledger::tile))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_MAX))
}

/// A JSON answer.
pub(crate) fn json_answer(value: &Value) -> Response<Body> {
    typed(Body::from(format!("{value}\n")), "application/json")
}

fn typed(body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn wants(headers: &HeaderMap, kind: &str) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains(kind))
}

/// The envelope around rows that are already JSON.
fn envelope(state: &AppState, found: &Rows, page: Value) -> Value {
    let data: Value = serde_json::from_str(&found.to_json()).unwrap_or_else(|_| json!([]));
    json!({ "data": data, "page": page, "at": rows::at(state, found.at), "complete": rows::complete(&found.complete) })
}

/// The size to answer at: the pin, checked, or the newest signed size, waited for until it can be queried.
pub(crate) async fn answer_at(state: &AppState, params: &Params) -> Result<Option<u64>, Problem> {
    let pin = params.pin()?;
    let size = match &pin {
        Some(pin) => pin.size,
        None => match Pin::latest(state) {
            Some(latest) => latest.size,
            None => return Ok(None),
        },
    };
    let (state, asked) = (state.clone(), pin.clone());
    let visible = blocking(move || {
        if let Some(pin) = asked {
            pin.check(&state)?;
        }
        Ok(state.store.visible() >= size
            || state.store.wait_visible(size, Duration::from_millis(VISIBLE_WAIT_MS)))
    })
    .await?;
    match (visible, pin) {
        (true, _) => Ok(Some(size)),
        (false, None) => Ok(None),
        (false, Some(_)) => {
            Err(Problem::new("degraded", "the store has not yet caught up with the pinned size")
                .hint("ask again in a moment"))
        }
    }
}

/// Runs file or lock work off the event loop.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new("internal", "the server failed while answering")),
    }
}

/// Facts about sources that pages share with the tail.
pub(crate) mod tail_facts {
    use super::tail::SILENT_S;
    use crate::state::AppState;

    /// Live sources that are silent: agent and time of the last event, ns (0 = none).
    pub(crate) fn silent(state: &AppState) -> Vec<(String, i64)> {
        let now = state.clock.now_ns();
        let own = state.source.source_ref();
        let sources =
            state.ledger.sources().into_iter().filter(|source| source.live && source.source_ref != own);
        let silent =
            sources.filter(|source| now.saturating_sub(source.last_time_ns) > SILENT_S * 1_000_000_000);
        silent.map(|source| (source.agent, i64::try_from(source.last_time_ns).unwrap_or(i64::MAX))).collect()
    }

    /// Index after the newest entry that a tail can give.
    pub(crate) fn head(state: &AppState) -> u64 {
        super::tail::head(state)
    }
}

/// Reading one leaf, shared with its page.
pub(crate) mod event_parts {
    pub(crate) use super::events::{fetch, parse_index};
}
