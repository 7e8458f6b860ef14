//! Who read what, as events of rec `platform` in the same log.
//!
//! One event for each query, export, proof, tail session and sign-in, never one for each row. Invariants: an
//! answer is given only if its reading could be handed to the ledger; the tail hides these events unless
//! asked, so that a tail does not feed itself; a page that refreshes itself counts as one reading a minute.

use crate::problem::Problem;
use crate::state::{AppState, Viewer};
use countersign_event::{Class, Event, Outcome, Rec, Unmapped};
use countersign_ledger::TryRecordError;
use std::sync::PoisonError;

/// A page that refreshes itself is recorded again after this long, seconds.
const REFRESH_S: u64 = 60;
/// Pages whose refreshes are remembered.
const REFRESHED_MAX: usize = 1_024;
/// Longest statement that is recorded, in bytes.
const STATEMENT_MAX: usize = 4_096;

/// One reading.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading<'a> {
    /// `read.query`, `read.proof`, …
    pub(crate) op: &'static str,
    /// The route, as a template.
    pub(crate) route: &'static str,
    /// What in particular: an index or an id.
    pub(crate) id: &'a str,
    /// Filter or SQL.
    pub(crate) statement: &'a str,
    /// Rows given, where known.
    pub(crate) rows: Option<u64>,
}

/// Records a reading; the answer may be given when this returns.
pub(crate) fn record(state: &AppState, viewer: &Viewer, reading: Reading<'_>) -> Result<(), Problem> {
    if viewer.refresh && seen_lately(state, viewer, &reading) {
        return Ok(());
    }
    let refused = || {
        Problem::new("degraded", "the ledger is too busy to record that you read this, so nothing is shown")
            .hint("try again in a moment")
    };
    let done = Box::new(|result: Result<countersign_ledger::Ack, _>| {
        if let Err(error) = result {
            tracing::error!(error = %error, "a reading was not recorded");
        }
    });
    match state.source.try_record(vec![event(state, viewer, &reading)], done) {
        Ok(()) => Ok(()),
        Err(TryRecordError::Full(_)) => Err(refused()),
        Err(TryRecordError::Ledger(error)) => {
            tracing::error!(error = %error, "a reading was not recorded");
            Err(refused())
        }
    }
}

/// As [`record`], trying for a moment: another thread may be recording on the same source.
pub(crate) async fn record_soon(
    state: &AppState,
    viewer: &Viewer,
    reading: Reading<'_>,
) -> Result<(), Problem> {
    const TRIES: u32 = 40;
    for _ in 0..TRIES {
        match record(state, viewer, reading) {
            Err(problem) if problem.code == "degraded" => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await
            }
            other => return other,
        }
    }
    record(state, viewer, reading)
}

fn seen_lately(state: &AppState, viewer: &Viewer, reading: &Reading<'_>) -> bool {
    let now = state.clock.monotonic_ns();
    let key =
        (viewer.principal.id.clone(), format!("{} {} {}", reading.route, reading.id, reading.statement));
    let mut seen = state.coalesced.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = |at: &u64| now.saturating_sub(*at) < REFRESH_S * 1_000_000_000;
    if seen.get(&key).is_some_and(fresh) {
        return true;
    }
    if seen.len() >= REFRESHED_MAX {
        seen.retain(|_, at| fresh(at));
    }
    if seen.len() < REFRESHED_MAX {
        seen.insert(key, now);
    }
    false
}

fn event(state: &AppState, viewer: &Viewer, reading: &Reading<'_>) -> Event {
    let mut event = Event::default();
    event.core.t_obs = state.clock.now_ns();
    event.core.rec = Some(Rec::Platform);
    event.core.op = reading.op.to_owned();
    event.core.class = Some(if reading.op == "login" { Class::Authenticate } else { Class::Read });
    event.core.outcome = Some(Outcome::Success);
    event.who.who = Some(viewer.principal.clone());
    event.target.svc = "countersign".to_owned();
    event.target.res = reading.route.to_owned();
    event.target.id = reading.id.to_owned();
    let statement = reading.statement;
    let cut = (0..=statement.len().min(STATEMENT_MAX))
        .rev()
        .find(|&at| statement.is_char_boundary(at))
        .unwrap_or(0);
    event.content.stmt = statement[..cut].to_owned();
    if let Some(rows) = reading.rows {
        event.content.unmapped.insert("/rows".to_owned(), Unmapped::Token(rows.to_string()));
    }
    event
}
