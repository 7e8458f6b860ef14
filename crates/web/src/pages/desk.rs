//! What delivery and detection know, as tables on their pages: open matters, receivers, silences; coverage.
//!
//! Everything here comes from the [`crate::Desk`]; a process without one shows nothing of it. Acting is the command line's
//! and the interface's: each thing that can be done stands here as the command that does it.

use crate::api::{Answer, blocking};
use crate::audit::{Reading, record_soon};
use crate::frame::{Page, copy, page, time};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::{AppState, Viewer};
use crate::text::{captured, shell};
use axum::Extension;
use axum::extract::{RawQuery, State};
use maud::{Markup, html};
use serde_json::Value;

/// Rows of one table.
const ROWS: usize = 100;

/// What the desk shows of `what`; null without a desk, or when it does not answer.
async fn shown(state: &AppState, what: &'static str) -> Result<Value, Problem> {
    let Some(desk) = state.options.desk.clone() else { return Ok(Value::Null) };
    blocking(move || Ok(desk.show(what).unwrap_or(Value::Null))).await
}

/// Open matters, receivers and silences, for the page of alerts.
pub(super) async fn sections(state: &AppState) -> Result<Markup, Problem> {
    let (open, silences) = (shown(state, "open").await?, shown(state, "silences").await?);
    if open.is_null() {
        return Ok(html! {});
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (matters, receivers, silences) = (list(&open["matters"]), list(&open["receivers"]), list(&silences));
    Ok(html! {
        section.panel aria-label="Open matters" {
            h2 { "Open matters" }
            @if matters.is_empty() { p { "Nobody is being told of anything." } } @else {
                (table("Matters that people were told of", &["Told", "Rule", "Repeats", "Known to", "Acknowledge"], matters.iter().take(ROWS).map(matter)))
            }
        }
        section.panel aria-label="Receivers" {
            h2 { "Receivers" }
            p { (sum(&open["sums"])) }
            (table("How each receiver is doing", &["Receiver", "Delivered", "Waiting", "Dead", "Last error"], receivers.iter().map(receiver)))
        }
        @if !silences.is_empty() {
            section.panel aria-label="Silences" {
                h2 { "Silences" }
                (table("Findings that nobody is told of", &["Until", "Which", "Why", "By", "End it"], silences.iter().take(ROWS).map(silence)))
            }
        }
    })
}

fn table(caption: &str, heads: &[&str], rows: impl Iterator<Item = Markup>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { @for row in rows { (row) } }
            }
        }
    }
}

fn text<'v>(of: &'v Value, name: &str) -> &'v str {
    of[name].as_str().unwrap_or_default()
}

fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or(0)
}

fn moment(of: &Value, name: &str) -> Markup {
    time(i64::try_from(number(of, name)).unwrap_or(i64::MAX))
}

fn matter(of: &Value) -> Markup {
    let known = of["ack"]["by"].as_str();
    html! {
        tr {
            td { (moment(of, "told_ns")) }
            td { (captured(text(of, "rule"))) }
            td { (number(of, "repeats")) }
            td { @match known { Some(by) => (captured(by)), None => "nobody yet" } }
            td { @if known.is_none() { (command(&format!("countersign alerts ack {}", text(of, "fingerprint")))) } }
        }
    }
}

fn receiver(of: &Value) -> Markup {
    let sums = &of["sums"];
    html! {
        tr {
            td { (captured(text(of, "name"))) @if of["disabled"] == Value::Bool(true) { " (ended: it answered 410)" } }
            td { (number(sums, "delivered")) }
            td { (number(sums, "pending")) }
            td { (number(sums, "dead")) }
            td { (captured(text(of, "last_error"))) }
        }
    }
}

fn silence(of: &Value) -> Markup {
    let which = of["matches"].as_object().into_iter().flatten();
    let which: Vec<String> = which
        .filter(|(_, value)| {
            value.as_str().is_some_and(|text| !text.is_empty()) || value.as_u64().is_some_and(|n| n > 0)
        })
        .map(|(name, value)| {
            format!("{name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        })
        .collect();
    html! {
        tr {
            td { (moment(of, "ends_ns")) }
            td { (captured(&which.join(", "))) }
            td { (captured(text(of, "reason"))) }
            td { (captured(text(of, "by"))) }
            td { (command(&format!("countersign alerts expire {}", text(of, "id")))) }
        }
    }
}

fn command(line: &str) -> Markup {
    // Ids are hexadecimal: anything else is not offered for pasting.
    let words: Option<Vec<String>> = line.split(' ').map(shell).collect();
    words.map_or_else(|| html! {}, |words| copy("Command", &words.join(" "), None))
}

fn sum(of: &Value) -> String {
    let n = |name: &str| number(of, name);
    format!(
        "{} fired = {} delivered + {} merged + {} inhibited + {} silenced + {} dead + {} waiting + {} summed up",
        n("fired"),
        n("delivered"),
        n("merged"),
        n("inhibited"),
        n("silenced"),
        n("dead"),
        n("pending"),
        n("summarised")
    )
}

/// `/coverage`: what is on record, what should be, and what only a witness saw.
pub(super) async fn coverage(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::parse(raw.as_deref(), super::COMMON)?;
    let report = shown(&state, "coverage").await?;
    let reading = Reading { op: "read.coverage", route: "/coverage", ..Reading::default() };
    record_soon(&state, &viewer, reading).await?;
    let body = html! {
        header { h1 { "Coverage" } p { "An audit trail answers for what passed it. Here is what did not." } }
        @if report.is_null() { (nobody_looks()) } @else { (report_of(&report)) }
    };
    let frame = Page {
        title: "Coverage",
        current: "/coverage",
        demo: state.options.demo,
        unknown: &params.unknown,
        ..Page::default()
    };
    Ok(page(&frame, body))
}

fn nobody_looks() -> Markup {
    html! {
        section.panel aria-label="Coverage" {
            h2 { "Unknown" }
            p { "Nobody independent looks, so nobody can say whether this is everything. A witness is four lines of configuration:" }
            (copy("Witness", "[[witness]]\nname = \"proc:here\"", None))
            p { "What should be there is read from documents that you have: service lists, manifests, OpenAPI, protobuf, grants." }
            (copy("Expected", "[coverage]\nexpected = [\"services.toml\"]", None))
        }
    }
}

fn report_of(report: &Value) -> Markup {
    let share = |name: &str| {
        report[name].as_f64().map_or_else(|| "unknown".to_owned(), |s| format!("{:.2} %", s * 100.0))
    };
    let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let (spots, lines) = (list("blind_spots"), list("lines"));
    html! {
        section.panel aria-label="Numbers" {
            dl.panel { dt { "Connections with an event" } dd { (share("coverage")) small { " of those that witnesses saw in 24 hours" } } }
            dl.panel { dt { "The same by bytes" } dd { (share("coverage_bytes")) } }
            dl.panel { dt { "Calls understood" } dd { (share("understood")) small { " of those seen" } } }
        }
        section.panel aria-label="Blind spots" {
            h2 { "Blind spots" }
            @if spots.is_empty() { p { "Every connection that a witness saw has its event." } } @else {
                (table("Connections that no event tells of", &["Since", "From", "To", "Known as", "Connections"], spots.iter().take(ROWS).map(spot)))
            }
        }
        @if !lines.is_empty() {
            section.panel aria-label="Expected and seen" {
                h2 { "Expected and seen" }
                (table("Worst first", &["Class", "Caller", "Callee", "Operation"], lines.iter().take(ROWS).map(line)))
            }
        }
    }
}

fn spot(of: &Value) -> Markup {
    let known =
        [text(of, "caller"), text(of, "user"), text(of, "app")].into_iter().find(|name| !name.is_empty());
    html! {
        tr {
            td { (moment(of, "since_ns")) }
            td { (captured(if of["src"].is_null() { "a local socket" } else { text(of, "src") })) }
            td { (captured(text(of, "dst"))) " " (captured(text(of, "callee"))) }
            td { (captured(known.unwrap_or("unknown"))) }
            td { (number(of, "connections")) }
        }
    }
}

fn line(of: &Value) -> Markup {
    html! {
        tr {
            td { (captured(&text(of, "class").to_lowercase())) }
            td { (captured(text(of, "caller"))) }
            td { (captured(text(of, "callee"))) }
            td { (captured(text(of, "operation"))) }
        }
    }
}
