//! `/alerts`: open findings, with their evidence and proof.

use super::{COMMON, table};
use crate::api::{Answer, answer_at};
use crate::audit::{Reading, record_soon};
use crate::frame::{Page, page, time};
use crate::params::Params;
use crate::problem::Problem;
use crate::rows::int;
use crate::state::{AppState, Viewer};
use crate::text::{captured, filter_value, query_value};
use axum::Extension;
use axum::extract::{RawQuery, State};
use countersign_event::cbor::Value;
use countersign_event::fields::sys::finding;
use countersign_event::{Event, FindingState, Severity};
use countersign_store::{FindRequest, Order};
use maud::{Markup, html};

/// Findings of one page.
const ROWS: usize = 50;

/// The handler.
pub(super) async fn show(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::parse(raw.as_deref(), COMMON)?;
    let asked = params.find(state.now_ns(), ROWS, ROWS)?;
    let at = answer_at(&state, &params).await?;
    let _turn = viewer.turn().await?;
    let request = FindRequest {
        at,
        columns: Some(vec!["index".to_owned()]),
        filter: "rec:finding".to_owned(),
        ..asked
    };
    let (order, limit) = (request.order, request.limit);
    let found = table::newest_first(state.store.find(request).await?, order);
    record_soon(
        &state,
        &viewer,
        Reading {
            op: "read.findings",
            route: "/alerts",
            rows: Some(found.rows.len() as u64),
            ..Reading::default()
        },
    )
    .await?;
    let findings = load(
        &state,
        (0..found.rows.len()).filter_map(|row| u64::try_from(int(&found, row, "index")?).ok()).collect(),
    )
    .await?;
    let told = super::desk::sections(&state).await?;
    let body = html! {
        header { h1 { "Alerts" } p { "Each finding is an event in the log: committed, provable, delivered to your webhook." } }
        (told)
        (table::completeness(&found))
        section.panel aria-label="Findings" {
            @if findings.is_empty() { (nothing()) } @else { (list(&findings)) }
            @if let (true, Some((last, _))) = (findings.len() == limit && order == Order::NewestFirst, findings.last()) {
                nav.pager { a.button href=(format!("/alerts{}", params.with(&[("before", &last.to_string())]))) { "Older" } }
            }
        }
    };
    let frame = Page {
        title: "Alerts",
        current: "/alerts",
        demo: state.options.demo,
        unknown: &params.unknown,
        ..Page::default()
    };
    Ok(page(&frame, body))
}

async fn load(state: &AppState, indices: Vec<u64>) -> Result<Vec<(u64, Event)>, Problem> {
    let store = state.store.clone();
    crate::api::blocking(move || {
        let mut out = Vec::with_capacity(indices.len());
        for index in indices {
            if let Some(event) = store.get(index)?.and_then(|stored| stored.event) {
                out.push((index, event));
            }
        }
        Ok(out)
    })
    .await
}

fn list(findings: &[(u64, Event)]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Findings, newest first" {
            table data-rows="" {
                caption { "Findings, newest first" }
                thead {
                    tr { th scope="col" { "Seen" } th scope="col" { "Severity" } th scope="col" { "State" } th scope="col" { "What" }
                        th scope="col" { "Evidence" } th scope="col" { "Proof" } }
                }
                tbody { @for (index, event) in findings { (row(*index, event)) } }
            }
        }
    }
}

fn row(index: u64, event: &Event) -> Markup {
    let word = |key: u64| event.core.sys.get(&key).and_then(Value::as_uint);
    let severity = word(finding::SEVERITY).and_then(Severity::from_code).map_or("unknown", Severity::word);
    let state = word(finding::STATE).and_then(FindingState::from_code).map_or("unknown", FindingState::word);
    let sign =
        if matches!(severity, "high" | "critical") { "mark server_error" } else { "mark caller_error" };
    let explained = countersign_detect::explain(event).unwrap_or_else(|| describe(event));
    html! {
        tr {
            td { a href=(format!("/events/{index}")) { (time(event.core.t_event.unwrap_or_else(|| i64::try_from(event.core.t_obs).unwrap_or(i64::MAX)))) } }
            td { span class=(sign) { (severity) } }
            td { (state) }
            td { (captured(&explained)) }
            td { @if let Some(of) = event.links.of {
                a href=(format!("/events?q=id:{}", countersign_event::json::hex(&of))) { "event" } " · " }
                a href=(evidence(event)) { "same pair" } }
            td { a href=(format!("/events/{index}#proof")) { "in the page" } " · " a href=(format!("/api/v1/events/{index}/proof")) { "file" } }
        }
    }
}

/// Search for the pair that the finding speaks of.
fn evidence(event: &Event) -> String {
    let mut q = String::new();
    if let Some(who) = &event.who.who {
        q.push_str(&format!("who:{} ", filter_value(&who.id)));
    }
    if !event.target.svc.is_empty() {
        q.push_str(&format!("service:{} ", filter_value(&event.target.svc)));
    }
    format!("/events?q={}", query_value(format!("{q}-rec:finding").trim()))
}

fn describe(event: &Event) -> String {
    let who = event.who.who.as_ref().map_or("somebody", |principal| principal.id.as_str());
    format!("{who} {} {} {}", event.core.op, event.target.svc, event.target.res)
}

fn nothing() -> Markup {
    html! {
        h2 { "No findings" }
        p { "Detectors and rules look at every event as it is committed. What needs a baseline stays quiet while it learns what is normal; "
            "a gap, a replayed token or a match of a rule is found from the first event on." }
        p { "To be told at once, set a webhook in the configuration:" }
        (crate::frame::copy("Webhook", "[[webhook]]\nurl = \"https://alerts.example/hook\"\nsecret_file = \"webhook.secret\"", None))
    }
}
