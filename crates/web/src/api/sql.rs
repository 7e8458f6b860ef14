//! SQL and the SQL behind a filter.

use super::{Answer, NDJSON, answer_at, envelope, json_answer, typed, wants};
use crate::audit::{Reading, record_soon};
use crate::params::Params;
use crate::problem::Problem;
use crate::rows;
use crate::state::{AppState, Viewer};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use countersign_store::SqlRequest;
use serde_json::{Value, json};

/// `POST /sql` with `{"sql": …, "at": …}`.
pub(super) async fn run(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    headers: HeaderMap,
    body: String,
) -> Answer {
    let shape = || {
        Problem::new("bad-value", "the body must be JSON: {\"sql\": \"SELECT …\", \"at\": \"size.root8\"}")
    };
    let parsed: Value = serde_json::from_str(&body).map_err(|_| shape())?;
    let object = parsed.as_object().ok_or_else(shape)?;
    if let Some(name) = object.keys().find(|name| !matches!(name.as_str(), "sql" | "at")) {
        return Err(Problem::new("unknown-parameter", format!("there is no field `{name}` here"))
            .hint("known: sql, at"));
    }
    let text = object.get("sql").and_then(Value::as_str).ok_or_else(shape)?;
    let mut request = SqlRequest::new(text);
    if let Some(at) = object.get("at").and_then(Value::as_str) {
        let params = Params::strict(Some(&format!("at={at}")), &["at"])?;
        request.at = answer_at(&state, &params).await?;
    }
    let _turn = viewer.turn().await?;
    let found = state.store.sql(request).await?;
    let reading = Reading {
        op: "read.sql",
        route: "/api/v1/sql",
        statement: text,
        rows: Some(found.rows.len() as u64),
        ..Reading::default()
    };
    record_soon(&state, &viewer, reading).await?;
    if wants(&headers, NDJSON) {
        let end = json!({ "end": true, "rows": found.rows.len(), "at": rows::at(&state, found.at), "complete": rows::complete(&found.complete) });
        return Ok(typed(Body::from(format!("{}{end}\n", found.to_ndjson())), NDJSON));
    }
    let columns: Vec<&str> = found.columns.iter().map(|column| column.name.as_str()).collect();
    let mut answer = envelope(&state, &found, json!({}));
    answer["columns"] = json!(columns);
    Ok(json_answer(&answer))
}

/// `GET /explain?q=`: the SQL that a filter runs.
pub(super) async fn explain(State(state): State<AppState>, RawQuery(raw): RawQuery) -> Answer {
    let params = Params::strict(raw.as_deref(), &["q"])?;
    let filter =
        countersign_store::filter::parse(params.text("q")).map_err(countersign_store::StoreError::from)?;
    let sql = state.store.explain_filter(params.text("q"))?;
    Ok(json_answer(&json!({ "data": { "canonical": filter.to_string(), "sql": sql } })))
}
