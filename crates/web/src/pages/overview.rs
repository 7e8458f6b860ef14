//! `/`: what is going on, and whether it is proven.

use super::COMMON;
use super::table::{self, who};
use crate::api::Answer;
use crate::api::tail_facts as facts;
use crate::audit::{Reading, record_soon};
use crate::frame::{Page, copy, outcome, page, time};
use crate::params::Params;
use crate::problem::Problem;
use crate::rows::{int, text};
use crate::state::{AppState, Viewer};
use crate::text::{captured, count, duration, filter_value, query_value};
use crate::time::midnight;
use axum::Extension;
use axum::extract::{RawQuery, State};
use countersign_store::{FindRequest, Rows};
use maud::{Markup, html};

/// Interactions: what counting queries look at.
const INTERACTIONS: &str = "rec:(interaction outcome cut)";
const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;
/// Rows of each list on the page.
const TOP: usize = 8;

/// Everything the page shows.
struct Facts {
    last_minute: u64,
    outcomes: Rows,
    talkers: Rows,
    findings: Rows,
    findings_today: u64,
    newest: Rows,
}

/// The handler.
pub(super) async fn show(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::parse(raw.as_deref(), COMMON)?;
    let _turn = viewer.turn().await?;
    let facts = load(&state).await?;
    record_soon(&state, &viewer, Reading { op: "read.overview", route: "/", ..Reading::default() }).await?;
    let body = html! {
        header { h1 { "Overview" } p.soft #refresh-state aria-live="polite" {} }
        div #overview-live { (live(&state, &facts)) }
    };
    let frame = Page {
        title: "Overview",
        current: "/",
        demo: state.options.demo,
        modules: &["overview.js"],
        unknown: &params.unknown,
        ..Page::default()
    };
    Ok(page(&frame, body))
}

async fn load(state: &AppState) -> Result<Facts, Problem> {
    let now = state.now_ns();
    let since = |filter: &str, from: i64| FindRequest { from_ns: Some(from), ..FindRequest::new(filter) };
    let by = |columns: &[&str]| columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let store = &state.store;
    Ok(Facts {
        last_minute: store.count(since(INTERACTIONS, now - 60 * SECOND)).await?,
        outcomes: store.count_by(since(INTERACTIONS, now - HOUR), by(&["outcome"]), 16).await?,
        talkers: store.count_by(since(INTERACTIONS, now - HOUR), by(&["who"]), TOP).await?,
        findings_today: store.count(since("rec:finding", midnight(now))).await?,
        findings: store
            .find(FindRequest { from_ns: Some(midnight(now)), ..table::request("rec:finding", TOP) })
            .await?,
        newest: store.find(table::request("-rec:platform", TOP)).await?,
    })
}

fn live(state: &AppState, facts: &Facts) -> Markup {
    html! {
        @if facts.newest.rows.is_empty() { (first_data(state)) }
        (strip(state))
        (figures(state, facts))
        div.two {
            section.panel aria-labelledby="talkers" { (talkers(facts)) }
            section.panel aria-labelledby="findings" { (findings(facts)) }
        }
        section.panel aria-labelledby="newest" {
            h2 #newest { "Newest events" }
            (table::events(&facts.newest, "The newest recorded events, newest first", None))
            p { a href="/tail" { "Watch live" } " · " a href="/events" { "Search" } }
        }
    }
}

/// Ledger size, age of the last checkpoint, witnesses, gaps.
pub(super) fn strip(state: &AppState) -> Markup {
    let stats = state.ledger.stats();
    let gaps = state.ledger.gaps();
    let lost: u64 = gaps.iter().map(|gap| gap.count).sum();
    html! {
        section.panel.strip aria-label="Integrity" {
            dl {
                div { dt { "Ledger size" } dd { (count(state.ledger.size())) " entries" } }
                div {
                    dt { "Signed" }
                    dd {
                        @if state.ledger.checkpoint().is_some() {
                            "up to " (count(stats.signed_size)) ", "
                            (duration(i64::try_from(stats.checkpoint_age.as_nanos()).unwrap_or(i64::MAX))) " ago"
                        } @else { "nothing yet" }
                    }
                }
                div { dt { "Witnesses" } dd { span.mark.partial { "unwitnessed" } } }
                div {
                    dt { "Gaps" }
                    dd { @if gaps.is_empty() { span.mark.success { "none declared" } }
                        @else { span.mark.caller_error { (gaps.len()) " gaps, " (count(lost)) " records" } } }
                }
                @if let Some(why) = &stats.stopped {
                    div { dt { "Writer" } dd { span.mark.server_error { "stopped: " (captured(why)) } } }
                }
                div { dt { "Proof" } dd { a href="/integrity" { "how to check this yourself" } } }
            }
        }
    }
}

fn figures(state: &AppState, facts: &Facts) -> Markup {
    let rows = 0..facts.outcomes.rows.len();
    let number =
        |row: usize| int(&facts.outcomes, row, "count").and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let total: u64 = rows.clone().map(number).sum();
    let share = |words: &[&str]| {
        let part: u64 = rows
            .clone()
            .filter(|&row| words.contains(&text(&facts.outcomes, row, "outcome")))
            .map(number)
            .sum();
        (part, part as f64 * 100.0 / total.max(1) as f64)
    };
    let (errors, error_share) = share(&["server_error", "timeout", "caller_error"]);
    let (denied, denied_share) = share(&["denied"]);
    let silent = facts::silent(state);
    html! {
        div.cards {
            dl.panel { dt { "Events a second" } dd { (format!("{:.1}", facts.last_minute as f64 / 60.0)) small { "over the last minute" } } }
            dl.panel { dt { "Errors" } dd { (format!("{error_share:.1} %")) small { (count(errors)) " of " (count(total)) " in the last hour" } } }
            dl.panel { dt { "Denied" } dd { (format!("{denied_share:.1} %")) small { (count(denied)) " of " (count(total)) " in the last hour" } } }
            dl.panel { dt { "New edges and findings today" } dd { a href="/alerts" { (count(facts.findings_today)) } small { "since midnight UTC" } } }
            dl.panel {
                dt { "Silent sources" }
                dd { (silent.len()) small {
                    @if silent.is_empty() { "every live source spoke within a minute" }
                    @for (agent, last) in silent.iter().take(3) {
                        (captured(agent)) @if *last > 0 { ", last seen " (time(*last)) } @else { ", not seen yet" } " "
                    }
                } }
            }
        }
    }
}

fn talkers(facts: &Facts) -> Markup {
    let number =
        |row: usize| int(&facts.talkers, row, "count").and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let most = (0..facts.talkers.rows.len()).map(number).max().unwrap_or(1).max(1);
    html! {
        h2 #talkers { "Top talkers, last hour" }
        @if facts.talkers.rows.is_empty() { p.soft { "Nobody spoke in the last hour." } }
        table {
            caption.sr { "Identities by number of calls in the last hour" }
            thead { tr { th scope="col" { "Who" } th.num scope="col" { "Calls" } th scope="col" { span.sr { "Share of the busiest" } } } }
            tbody {
                @for row in 0..facts.talkers.rows.len() {
                    @let id = text(&facts.talkers, row, "who");
                    tr {
                        td { @if id.is_empty() { (who(id)) } @else {
                            a href=(format!("/events?q=who:{}&from=-1h", query_value(&filter_value(id)))) { (captured(id)) } } }
                        td.num { (count(number(row))) }
                        td {
                            svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                                rect.track width="100" height="8" rx="2" {}
                                rect.value width=(number(row) * 100 / most) height="8" rx="2" {}
                            }
                        }
                    }
                }
            }
        }
    }
}

fn findings(facts: &Facts) -> Markup {
    html! {
        h2 #findings { "Findings today" }
        @if facts.findings.rows.is_empty() {
            p.soft { "Nothing new. A pair of machines that never spoke before would appear here." }
        } @else {
            table data-rows="" {
                caption.sr { "Findings since midnight UTC, newest first" }
                thead { tr { th scope="col" { "Time" } th scope="col" { "Who" } th scope="col" { "Target" } th scope="col" { "Outcome" } } }
                tbody {
                    @for row in 0..facts.findings.rows.len() {
                        @let index = int(&facts.findings, row, "index").unwrap_or(0);
                        tr {
                            td { a href=(format!("/events/{index}")) { @if let Some(ns) = int(&facts.findings, row, "time") { (time(ns)) } } }
                            td { (who(text(&facts.findings, row, "who"))) }
                            td { (captured(text(&facts.findings, row, "service"))) " " (captured(text(&facts.findings, row, "op"))) }
                            td { @match text(&facts.findings, row, "outcome") { "" => "" , word => (outcome(word)) } }
                        }
                    }
                }
            }
            p { a href="/alerts" { "All findings" } }
        }
    }
}

/// Nothing recorded yet: how to send the first data.
fn first_data(state: &AppState) -> Markup {
    html! {
        section.panel.teach aria-labelledby="first" {
            h2 #first { "Nothing recorded yet. Three ways to send the first data" }
            ol {
                li { p { "Put a port in front of one of your programs. Every request through it is recorded." }
                    (copy("Proxy a port", "countersign run --proxy 127.0.0.1:8081=http://127.0.0.1:8080", None)) }
                li { p { "Then speak through it." }
                    (copy("One request", "curl http://127.0.0.1:8081/", None)) }
                @if !state.options.demo {
                    li { p { "Or look at a made-up fleet first." } (copy("The demo fleet", "countersign demo", None)) }
                }
            }
            p { "This page turns live when the first event arrives." }
        }
    }
}
