//! The timeline of one event: what belongs to it, in order of time, and whether that is known or inferred.
//!
//! Only drawing: what belongs to an event is the store's answer. Invariant: every line that is inferred says so,
//! with its score.

use super::table;
use crate::frame::outcome;
use crate::rows::{int, text};
use crate::text::{belongs, captured, count, duration};
use countersign_store::{Rows, TIMELINE_ROWS_MAX, TIMELINE_SPAN_NS};
use maud::{Markup, html};

/// The section; nothing where the event stands alone and the answer is whole.
pub(super) fn section(found: &Rows, own: u64) -> Markup {
    let alone = found.rows.len() < 2 && !found.complete.truncated && found.complete.unreadable.is_empty();
    let start =
        (0..found.rows.len()).find(|row| index(found, *row) == own).and_then(|row| int(found, row, "time"));
    let minutes = TIMELINE_SPAN_NS / 60_000_000_000;
    html! {
        @if !alone {
            section.panel #timeline aria-labelledby="timeline-title" {
                h2 #timeline-title { "Timeline" }
                p.soft { "Joined by trace, by request id and, where it says “probably”, by inference: what was open at a machine "
                    "while a statement of it ran. At most " (minutes) " minutes before and after." }
                @if found.complete.truncated {
                    div.notice.warn { p { "There is more than is shown: at most " (count(TIMELINE_ROWS_MAX as u64)) " lines, the nearest ones." } }
                }
                (table::completeness(found))
                (lines(found, own, start))
            }
        }
    }
}

fn lines(found: &Rows, own: u64, start: Option<i64>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Timeline of this event" {
            table data-rows="" {
                caption { "What belongs to this event, in order of time" }
                thead {
                    tr {
                        th.num scope="col" { "Index" }
                        th.num scope="col" { "Offset" }
                        th scope="col" { "Who" }
                        th scope="col" { "Operation" }
                        th scope="col" { "Target" }
                        th scope="col" { "Outcome" }
                        th scope="col" { "How it belongs" }
                    }
                }
                tbody { @for row in 0..found.rows.len() { (line(found, row, own, start)) } }
            }
        }
    }
}

fn line(found: &Rows, row: usize, own: u64, start: Option<i64>) -> Markup {
    let number = index(found, row);
    let offset = int(found, row, "time").zip(start).map(|(time, start)| time.saturating_sub(start));
    let target = [text(found, row, "statement"), text(found, row, "resource")];
    let target = target.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let score = int(found, row, "score").and_then(|n| u64::try_from(n).ok());
    html! {
        tr aria-current=[(number == own).then_some("true")] {
            td.num { a href=(format!("/events/{number}")) { (number) } }
            td.num { @if let Some(ns) = offset { (signed(ns)) } }
            td { (table::who(text(found, row, "who"))) }
            td { (captured(text(found, row, "op"))) }
            td { (captured(text(found, row, "service"))) " " (captured(target)) }
            td { (outcome(text(found, row, "outcome"))) " " (captured(text(found, row, "status"))) }
            td { @if score.is_some() { span.mark.partial { (belongs(text(found, row, "joined"), score)) } }
                @else { (belongs(text(found, row, "joined"), None)) } }
        }
    }
}

fn signed(ns: i64) -> String {
    let sign = if ns < 0 { "−" } else { "+" };
    format!("{sign}{}", duration(i64::try_from(ns.unsigned_abs()).unwrap_or(i64::MAX)))
}

fn index(found: &Rows, row: usize) -> u64 {
    int(found, row, "index").and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}
