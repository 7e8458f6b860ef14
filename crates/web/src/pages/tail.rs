//! `/tail`: the newest events, then live.

use super::{COMMON, table};
use crate::api::{Answer, tail_facts};
use crate::audit::{Reading, record_soon};
use crate::frame::{Page, page};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::{AppState, Viewer};
use crate::text::query_value;
use axum::Extension;
use axum::extract::{RawQuery, State};
use countersign_store::{Rows, StoreError};
use maud::{Markup, html};

/// Events shown before the stream begins.
const BEFORE: usize = 30;

/// The handler.
pub(super) async fn show(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::parse(raw.as_deref(), COMMON)?;
    let q = params.text("q");
    countersign_store::filter::parse(q).map_err(StoreError::from).map_err(Problem::from)?;
    // The stream goes on exactly where this list ends.
    let head = tail_facts::head(&state);
    let _turn = viewer.turn().await?;
    let newest = {
        let filter = match q {
            "" => "-rec:platform".to_owned(),
            q if q.contains("rec:") => q.to_owned(),
            q => format!("({q}) -rec:platform"),
        };
        let mut request = table::request(filter, BEFORE);
        request.before = Some(head);
        state.store.find(request).await?
    };
    record_soon(
        &state,
        &viewer,
        Reading { op: "read.query", route: "/tail", statement: q, ..Reading::default() },
    )
    .await?;
    let mut url = format!("/api/v1/tail?q={}", query_value(q));
    if let Some(last) = head.checked_sub(1) {
        url.push_str(&format!("&after={last}"));
    }
    let body = html! {
        header { h1 { "Live" } p { "Every event, as it is committed: acknowledged, durable, in ledger order." } }
        (section(&url, &newest, q))
    };
    let frame = Page {
        title: "Live",
        current: "/tail",
        q,
        demo: state.options.demo,
        modules: &["tail.js"],
        unknown: &params.unknown,
    };
    Ok(page(&frame, body))
}

fn section(url: &str, newest: &Rows, q: &str) -> Markup {
    html! {
        form.filters method="get" action="/tail" {
            label.wide { "Filter" input name="q" value=(q) maxlength="4096" autocomplete="off" spellcheck="false"; }
            button type="submit" { "Apply" }
        }
        section.panel #tail data-url=(url) aria-label="Live tail" {
            div.toolbar {
                button.primary #tail-pause type="button" aria-pressed="false" hidden { "Pause" }
                button #tail-older type="button" hidden { "Older" }
                button #tail-newer type="button" hidden { "Newer" }
                span #tail-state { "not connected: the newest events below; reload for more" }
            }
            div.cards {
                dl.panel { dt { "Rate shown" } dd #tail-rate { "–" } }
                dl.panel { dt { "Received" } dd #tail-received { "0" } }
                dl.panel { dt { "Shown" } dd #tail-shown { "0" } }
                dl.panel { dt { "Filtered" } dd #tail-filtered { "0" } }
                dl.panel { dt { "Skipped" } dd #tail-skipped { "0" } }
            }
            p.soft { "Received = shown + filtered + skipped, always. Reading events (rec platform) count as filtered unless the filter asks for them with " code { "rec:" } "." }
            p.sr #tail-live aria-live="polite" {}
            div.scroll tabindex="0" role="region" aria-label="Events, newest first" {
                table data-rows="" {
                    caption.sr { "Events, newest first" }
                    thead {
                        tr {
                            th.num scope="col" { "Index" } th scope="col" { "Time (UTC)" } th scope="col" { "Who" } th scope="col" { "Operation" }
                            th scope="col" { "Target" } th scope="col" { "Outcome" } th.num scope="col" { "Took" }
                        }
                    }
                    tbody #tail-rows { @for row in 0..newest.rows.len() { (row_markup(newest, row)) } }
                }
            }
            @if newest.rows.is_empty() {
                p.soft { "Listening; nothing matches yet. Send something through a gateway port and it appears here within a second." }
            }
        }
    }
}

fn row_markup(found: &Rows, row: usize) -> Markup {
    use crate::rows::{int, text};
    let index = int(found, row, "index").unwrap_or(0);
    html! {
        tr {
            td.num { a href=(format!("/events/{index}")) { (index) } }
            td { @if let Some(ns) = int(found, row, "time") { (crate::frame::time(ns)) } }
            td { (table::who(text(found, row, "who"))) }
            td { (crate::text::captured(match text(found, row, "op") { "" => text(found, row, "rec"), op => op })) }
            td { (crate::text::captured(text(found, row, "service"))) " " (crate::text::captured(text(found, row, "resource"))) }
            td { (crate::frame::outcome(text(found, row, "outcome"))) " " (crate::text::captured(text(found, row, "status"))) }
            td.num { @if let Some(ns) = int(found, row, "duration_ns") { (crate::text::duration(ns)) } }
        }
    }
}
