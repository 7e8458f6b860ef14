//! The table of events that several pages share.

use crate::frame::{level, outcome, time};
use crate::rows::{int, text};
use crate::text::{captured, duration};
use countersign_store::{Cell, FindRequest, Order, Rows};
use maud::{Markup, html};

/// Columns that the table draws.
pub(super) const COLUMNS: [&str; 13] = [
    "index",
    "time",
    "rec",
    "who",
    "verified",
    "op",
    "service",
    "resource",
    "outcome",
    "status",
    "duration_ns",
    "error",
    "class",
];

/// A search for the table.
pub(super) fn request(filter: impl Into<String>, limit: usize) -> FindRequest {
    FindRequest { limit, columns: Some(COLUMNS.map(str::to_owned).to_vec()), ..FindRequest::new(filter) }
}

/// The rows as a table; `caption` says what they are.
pub(super) fn events(found: &Rows, caption: &str, selected: Option<u64>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table data-rows="" {
                caption { (caption) }
                thead {
                    tr {
                        th.num scope="col" { "Index" }
                        th scope="col" { "Time (UTC)" }
                        th scope="col" { "Who" }
                        th scope="col" { "Proved" }
                        th scope="col" { "Operation" }
                        th scope="col" { "Target" }
                        th scope="col" { "Outcome" }
                        th.num scope="col" { "Took" }
                    }
                }
                tbody { @for row in 0..found.rows.len() { (event_row(found, row, selected)) } }
            }
        }
    }
}

fn event_row(found: &Rows, row: usize, selected: Option<u64>) -> Markup {
    let index = int(found, row, "index").and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let rec = text(found, row, "rec");
    let op = match text(found, row, "op") {
        "" => rec,
        op => op,
    };
    html! {
        tr aria-current=[(selected == Some(index)).then_some("true")] {
            td.num { a href=(format!("/events/{index}")) { (index) } }
            td { @if let Some(Cell::TimeNs(ns)) = found.get(row, "time") { (time(*ns)) } }
            td { (who(text(found, row, "who"))) }
            td { (level(int(found, row, "verified"))) }
            td { (captured(op)) @if !matches!(rec, "interaction" | "") && rec != op { " " span.soft { (rec) } } }
            td { (captured(text(found, row, "service"))) " " (captured(text(found, row, "resource"))) }
            td { (outcome(text(found, row, "outcome"))) " " (captured(text(found, row, "status"))) }
            td.num { @if let Some(ns) = int(found, row, "duration_ns") { (duration(ns)) } }
        }
    }
}

/// An identity, or the fact that there was none.
pub(super) fn who(id: &str) -> Markup {
    html! { @if id.is_empty() { span.soft { "nobody named" } } @else { (captured(id)) } }
}

/// The same rows, oldest first as found, turned newest first for people.
pub(super) fn newest_first(mut found: Rows, order: Order) -> Rows {
    if order == Order::OldestFirst {
        found.rows.reverse();
    }
    found
}

/// What the answer leaves out, in words; nothing when it is all.
pub(super) fn completeness(found: &Rows) -> Markup {
    let complete = &found.complete;
    html! {
        @if complete.gaps > 0 {
            div.notice.warn {
                p { "The log declares " (complete.gaps) " gaps: records that were lost are named on the "
                    a href="/integrity" { "integrity page" } "." }
            }
        }
        @if !complete.unreadable.is_empty() {
            div.notice.bad {
                p { "Some segments could not be read; their events are not shown: "
                    @for name in &complete.unreadable { code { (captured(name)) } " " } }
            }
        }
        @if complete.erased + complete.retired > 0 {
            div.notice {
                p { (complete.erased) " groups in range were erased and " (complete.retired) " ranges retired: filters on them cannot match." }
            }
        }
    }
}
