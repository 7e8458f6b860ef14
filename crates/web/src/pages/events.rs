//! `/events`: search by filter or SQL, with the SQL shown, the pin and everything to copy.

use super::{COMMON, table};
use crate::api::{Answer, answer_at};
use crate::audit::{Reading, record_soon};
use crate::frame::{Page, copy, page};
use crate::params::Params;
use crate::problem::Problem;
use crate::rows::{int, pin};
use crate::state::{AppState, Viewer};
use crate::text::{captured, count, query_value, shell, visible};
use axum::Extension;
use axum::extract::{RawQuery, State};
use countersign_store::{FindRequest, Rows};
use maud::{Markup, html};

/// Rows of one page.
const ROWS: usize = 50;
/// Most rows that a page may be asked for.
const ROWS_MAX: usize = 500;
/// Ranges tried for "nothing here, but there".
const WIDER: [(&str, &str); 3] = [("-24h", "24 h"), ("-7d", "7 days"), ("", "all time")];

/// The handler.
pub(super) async fn show(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::parse(raw.as_deref(), COMMON)?;
    if let Some(index) = params.text("q").trim().strip_prefix('#').and_then(|text| text.parse::<u64>().ok()) {
        return super::redirect(&format!("/events/{index}"));
    }
    let _turn = viewer.turn().await?;
    let searched = search(&state, &params).await;
    let body = match &searched {
        Ok(found) => {
            let rows = Some(found.rows.rows.len() as u64);
            let reading = Reading {
                op: "read.query",
                route: "/events",
                statement: params.text("q"),
                rows,
                ..Reading::default()
            };
            record_soon(&state, &viewer, reading).await?;
            html! { (form(&params)) (results(&state, &params, found)) }
        }
        // A mistake in the query keeps the page and the query; everything else is a problem page.
        Err(problem) if problem.status.as_u16() == 400 => {
            html! { (form(&params)) (mistake(&params, problem)) }
        }
        Err(problem) => return Err(problem.clone()),
    };
    let body = html! { header { h1 { "Events" } } (body) };
    let frame = Page {
        title: "Events",
        current: "/events",
        q: params.text("q"),
        demo: state.options.demo,
        unknown: &params.unknown,
        ..Page::default()
    };
    Ok(page(&frame, body))
}

struct Found {
    rows: Rows,
    total: u64,
    request: FindRequest,
    /// Wider ranges and what they hold, when this one is empty.
    wider: Vec<(&'static str, &'static str, u64)>,
}

async fn search(state: &AppState, params: &Params) -> Result<Found, Problem> {
    let now = state.now_ns();
    let asked = params.find(now, ROWS, ROWS_MAX)?;
    let at = answer_at(state, params).await?;
    let request = FindRequest { at, columns: Some(table::COLUMNS.map(str::to_owned).to_vec()), ..asked };
    let rows = table::newest_first(state.store.find(request.clone()).await?, request.order);
    let whole = FindRequest { before: None, after: None, ..request.clone() };
    let total = state.store.count(whole.clone()).await?;
    let mut wider = Vec::new();
    if total == 0 && request.from_ns.is_some() {
        for (from, words) in WIDER {
            let from_ns = crate::time::parse(from, now);
            let n = state.store.count(FindRequest { from_ns, to_ns: None, ..whole.clone() }).await?;
            if n > 0 {
                wider.push((from, words, n));
            }
        }
    }
    Ok(Found { rows, total, request, wider })
}

fn form(params: &Params) -> Markup {
    html! {
        form.filters method="get" action="/events" {
            label.wide { "Filter" input name="q" value=(params.text("q")) maxlength="4096" autocomplete="off" spellcheck="false"; }
            label { "From" input name="from" value=(params.text("from")) placeholder="-1h" size="12"; }
            label { "To" input name="to" value=(params.text("to")) placeholder="now" size="12"; }
            @if let Some(at) = params.get("at") { input type="hidden" name="at" value=(at); }
            button.primary type="submit" { "Search" }
        }
    }
}

fn results(state: &AppState, params: &Params, found: &Found) -> Markup {
    let sql = state.store.explain_filter(params.text("q")).unwrap_or_default();
    let caption = format!(
        "{} of {} events that match, newest first, at ledger size {}",
        found.rows.rows.len(),
        count(found.total),
        count(found.rows.at)
    );
    html! {
        @if params.get("at").is_some() {
            div.notice { p { "Pinned: only entries below index " (count(found.rows.at)) ", root checked. "
                a href=(format!("/events{}", params.with(&[("at", "")]))) { "Unpin" } } }
        }
        (table::completeness(&found.rows))
        section.panel aria-label="Results" {
            @if found.rows.rows.is_empty() { (nothing(params, found)) } @else {
                (table::events(&found.rows, &caption, params.number("sel").ok().flatten()))
                (pager(params, found))
            }
        }
        section.panel aria-labelledby="as" {
            h2 #as { "The same question elsewhere" }
            (copies(state, params, found, &sql))
        }
    }
}

fn pager(params: &Params, found: &Found) -> Markup {
    let rows = &found.rows;
    let index = |row: usize| int(rows, row, "index").map(|n| n.to_string());
    let (first, last) = (index(0), index(rows.rows.len().wrapping_sub(1)));
    let link = |name: &'static str, other: &'static str, cursor: &str| {
        format!("/events{}", params.with(&[(name, cursor), (other, "")]))
    };
    let full = rows.rows.len() == found.request.limit;
    let paged = found.request.before.is_some() || found.request.after.is_some();
    html! {
        nav.pager aria-label="Pages" {
            @if let (true, Some(first)) = (paged, first) { a.button href=(link("after", "before", &first)) { "Newer" } }
            @if let (true, Some(last)) = (full, last) { a.button href=(link("before", "after", &last)) { "Older" } }
        }
    }
}

fn nothing(params: &Params, found: &Found) -> Markup {
    html! {
        h2 { "No event matches" }
        @if !found.wider.is_empty() {
            p { "In this range 0; "
                @for (at, (from, words, n)) in found.wider.iter().enumerate() {
                    @if at > 0 { "; " }
                    a href=(format!("/events{}", params.with(&[("from", from), ("to", "")]))) { (count(*n)) " in " (words) }
                } "." }
        } @else if params.text("q").is_empty() {
            p { "Nothing has been recorded yet. Put a port in front of one of your programs, then speak through it:" }
            (copy("Proxy a port", "countersign run --proxy 127.0.0.1:8081=http://127.0.0.1:8080", None))
            (copy("One request", "curl http://127.0.0.1:8081/", None))
        } @else {
            p { "Nothing at any time. Take a term away, or look at everything: " a href="/events" { "all events" } "." }
        }
        p.soft { "Examples: " code { "who:payments-api class:delete" } ", " code { "outcome:failed duration:>250ms" } ", "
            code { "verified:<3 tls:none" } ", or paste any id." }
    }
}

fn copies(state: &AppState, params: &Params, found: &Found, sql: &str) -> Markup {
    let filter = params.text("q");
    let at = params.get("at").map(str::to_owned).or_else(|| pin(state, found.rows.at)).unwrap_or_default();
    let absolute = |ns: Option<i64>| ns.map(crate::time::rfc3339).unwrap_or_default();
    let (from, to) = (absolute(found.request.from_ns), absolute(found.request.to_ns));
    let command = shell(filter).map(|quoted| {
        let mut line = format!("countersign q {quoted}");
        for (flag, value) in [("--from", &from), ("--to", &to), ("--at", &at)] {
            if !value.is_empty() {
                line.push_str(&format!(" {flag} {value}"));
            }
        }
        line
    });
    let shared = format!(
        "/events{}",
        params.with(&[("from", &from), ("to", &to), ("at", &at), ("before", ""), ("after", "")])
    );
    html! {
        h3 { "SQL that was run" }
        pre.wrap tabindex="0" { code { (visible(sql)) } }
        h3 { "Command" }
        @match &command {
            Some(line) => { (copy("Command", line, Some("copy-command"))) }
            None => { p { "The filter holds control characters; percent-encoded: " code { (query_value(filter)) } } }
        }
        h3 { "Address, pinned to this ledger size" }
        (copy("Address", &shared, None))
        h3 { "curl, through the local socket" }
        (copy("curl", &format!("curl --unix-socket \"$COUNTERSIGN_SOCKET\" 'http://countersign/api/v1{shared}'"), None))
    }
}

fn mistake(params: &Params, problem: &Problem) -> Markup {
    html! {
        div.notice.bad role="alert" {
            p { strong { (problem.title()) } ": " (captured(&problem.detail)) }
            @if !problem.suggestions.is_empty() {
                p { "Did you mean " @for name in &problem.suggestions { code { (captured(name)) } " " } "?" }
            }
            @if let Some((start, _)) = problem.span { p.soft { "At character " (start + 1) " of " code { (captured(params.text("q"))) } "." } }
            @if !problem.hint.is_empty() { p { (captured(&problem.hint)) } }
        }
    }
}
