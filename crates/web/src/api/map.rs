//! The service map as data.

use super::{Answer, json_answer};
use crate::audit::{Reading, record_soon};
use crate::graph;
use crate::params::Params;
use crate::rows;
use crate::state::{AppState, Viewer};
use axum::Extension;
use axum::extract::{RawQuery, State};
use serde_json::{Value, json};

/// `GET /map?from=&to=`: services and the calls between them.
pub(super) async fn map(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::strict(raw.as_deref(), &["from", "to"])?;
    let request = params.find(state.now_ns(), 50, 50)?;
    let _turn = viewer.turn().await?;
    let graph = graph::load(&state, request.from_ns, request.to_ns).await?;
    record_soon(
        &state,
        &viewer,
        Reading {
            op: "read.map",
            route: "/api/v1/map",
            rows: Some(graph.edges.len() as u64),
            ..Reading::default()
        },
    )
    .await?;
    let edges: Vec<Value> = graph
        .edges
        .iter()
        .map(|edge| {
            json!({
                "src": edge.who,
                "dst": edge.service,
                "calls": edge.calls,
                "errors": edge.errors,
                "denied": edge.denied,
                "p95_ns": edge.p95_ns,
                "verified": edge.verified,
                "tls": edge.tls,
                "protocol": edge.protocol,
                "first_seen": crate::time::rfc3339(edge.first_ns),
                "last_seen": crate::time::rfc3339(edge.last_ns),
                "new": edge.is_new,
            })
        })
        .collect();
    Ok(json_answer(
        &json!({ "data": edges, "at": rows::at(&state, graph.at), "complete": rows::complete(&graph.complete) }),
    ))
}
