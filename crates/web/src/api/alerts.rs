//! What people ask and do about alerts: open matters, receivers, dead letters, silences, acknowledgements, feedback.
//!
//! The desk itself is the process's ([`crate::Desk`]); here are its doors. Whatever is done is an event of the desk's own,
//! whatever is read is recorded as any reading.

use super::{Answer, blocking, json_answer};
use crate::audit::{Reading, record_soon};
use crate::problem::Problem;
use crate::state::{AppState, Viewer};
use axum::Extension;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::sync::Arc;

/// Why a desk did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskError {
    /// There is no such question or deed.
    Unknown,
    /// The body does not say what is needed, or says what cannot be.
    Bad(String),
    /// It failed.
    Failed(String),
}

/// Answers and acts for people.
pub trait Desk: Send + Sync {
    /// What is asked: `open`, `dead`, `silences`, `opinions`, `precision`; of detection `coverage`, `service-levels`,
    /// `detectors` (null where nothing of it is configured).
    ///
    /// # Errors
    /// There is no such question.
    fn show(&self, what: &str) -> Result<Value, DeskError>;
    /// What is done: `ack`, `silence`, `expire`, `resend`, `feedback`, `propose`, `change` (a deployment or load test is announced). `by` is who is signed in.
    ///
    /// # Errors
    /// As the deed says.
    fn act(&self, deed: &str, body: &Value, by: &str) -> Result<Value, DeskError>;
}

/// `GET /alerts`.
pub(super) async fn open(state: State<AppState>, viewer: Extension<Viewer>) -> Answer {
    show(state, viewer, Path("open".to_owned())).await
}

/// `GET /alerts/{what}`.
pub(super) async fn show(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    Path(what): Path<String>,
) -> Answer {
    let desk = desk(&state)?;
    let id = what.clone();
    let shown = blocking(move || desk.show(&what).map_err(problem)).await?;
    let reading =
        Reading { op: "read.alerts", route: "/api/v1/alerts/{what}", id: &id, ..Reading::default() };
    record_soon(&state, &viewer, reading).await?;
    Ok(json_answer(&json!({ "data": shown })))
}

/// `POST /alerts/{deed}`.
pub(super) async fn act(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    Path(deed): Path<String>,
    body: String,
) -> Answer {
    let desk = desk(&state)?;
    let body: Value = serde_json::from_str(&body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| Problem::new("bad-value", "the body must be a JSON object"))?;
    let by = viewer.principal.id.clone();
    let done = blocking(move || desk.act(&deed, &body, &by).map_err(problem)).await?;
    Ok(json_answer(&json!({ "data": done })))
}

fn desk(state: &AppState) -> Result<Arc<dyn Desk>, Problem> {
    let none = || Problem::new("not-found", "this process delivers no alerts");
    state.options.desk.clone().ok_or_else(none)
}

fn problem(error: DeskError) -> Problem {
    match error {
        DeskError::Unknown => Problem::new("not-found", "alerts know no such word").hint(
            "GET: open, dead, silences, opinions, precision; POST: ack, silence, expire, resend, feedback, propose, change",
        ),
        DeskError::Bad(what) => Problem::new("bad-value", what),
        DeskError::Failed(what) => Problem::new("internal", what),
    }
}
