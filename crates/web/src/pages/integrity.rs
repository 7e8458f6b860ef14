//! `/integrity`: what is proven, by whom, what is not, and how to check it without this server.

use super::COMMON;
use super::overview::strip;
use crate::api::Answer;
use crate::audit::{Reading, record_soon};
use crate::frame::{Page, copy, page, time};
use crate::params::Params;
use crate::state::{AppState, Viewer};
use crate::text::{captured, count, visible};
use axum::Extension;
use axum::extract::{RawQuery, State};
use countersign_event::json::hex;
use maud::{Markup, html};

/// Gaps listed on the page; the interface has all.
const GAPS_SHOWN: usize = 100;

/// The handler.
pub(super) async fn show(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::parse(raw.as_deref(), COMMON)?;
    record_soon(&state, &viewer, Reading { op: "read.integrity", route: "/integrity", ..Reading::default() })
        .await?;
    let body = html! {
        header { h1 { "Integrity" } p { "Signatures show who wrote the log. They do not show that nobody rolled it back: that needs somebody else's memory." } }
        (strip(&state))
        div.two {
            section.panel aria-labelledby="head" { (head(&state)) }
            section.panel aria-labelledby="check" { (check(&state)) }
        }
        section.panel aria-labelledby="proven" { (proven()) }
        section.panel aria-labelledby="sources" { (sources(&state)) }
        section.panel aria-labelledby="gaps" { (gaps(&state)) }
    };
    let frame = Page {
        title: "Integrity",
        current: "/integrity",
        demo: state.options.demo,
        unknown: &params.unknown,
        ..Page::default()
    };
    Ok(page(&frame, body))
}

fn head(state: &AppState) -> Markup {
    html! {
        h2 #head { "Latest checkpoint" }
        @match state.ledger.checkpoint() {
            Some(head) => {
                dl.fields {
                    dt { "Origin" } dd { code { (captured(state.ledger.origin())) } }
                    dt { "Size" } dd { (count(head.size)) }
                    dt { "Root" } dd { code { (hex(&head.root)) } }
                    dt { "Log key" } dd { code { (state.ledger.log_vkey()) } }
                    dt { "Witnesses" } dd { span.mark.partial { "unwitnessed" } " (quorum none)" }
                }
                h3 { "The signed note" }
                pre tabindex="0" { code { (visible_lines(&head.note)) } }
                p { a.button href="/log/checkpoint" { "checkpoint" } " " a.button href="/api/v1/checkpoint" { "as JSON" } }
            }
            None => { p { "Nothing has been signed yet. The first checkpoint follows the first entry within a second." } }
        }
    }
}

/// Lines kept, everything else that is invisible drawn.
fn visible_lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

fn check(state: &AppState) -> Markup {
    let last = state.ledger.checkpoint().map_or(0, |head| head.size.saturating_sub(1));
    let policy = format!("log {}\nquorum none", state.ledger.log_vkey());
    html! {
        h2 #check { "Check it yourself, offline" }
        ol {
            li { p { "Pin the log's key once. Save as " code { "trust.policy" } ":" } (copy("trust.policy", &policy, None)) }
            li { p { "And as " code { "trust.toml" } ":" } (copy("trust.toml", "require = \"ed25519\"", None)) }
            li { p { "Download the evidence of any event, for example the newest signed entry: "
                a href=(format!("/api/v1/events/{last}/proof")) { "event-" (last) ".csne" } "." }
                (copy("Prove", &format!("countersign prove {last} --out event-{last}.csne"), None)) }
            li { p { "Verify on a machine that has nothing but these three files and the verifier:" }
                (copy("Verify", &format!("countersign-verify event-{last}.csne --policy trust.policy --trust trust.toml"), Some("copy-command"))) }
            li { p { "Recompute the whole data directory:" } (copy("Recompute all", "countersign fsck", None)) }
        }
    }
}

fn proven() -> Markup {
    html! {
        h2 #proven { "What is proven, and what is not" }
        table {
            caption.sr { "Claims and what stands behind them" }
            thead { tr { th scope="col" { "Claim" } th scope="col" { "Behind it" } th scope="col" { "State" } } }
            tbody {
                tr { td { "These bytes are in the log" } td { "salted commitments, RFC 6962 tree, inclusion path" } td { span.mark.success { "proven on every event page" } } }
                tr { td { "The log's key signed this tree" } td { "Ed25519 signed note" } td { span.mark.success { "proven" } } }
                tr { td { "The log only grew since you last looked" } td { "consistency proof against your browser's memory" } td { span.mark.success { "proven in this browser" } } }
                tr { td { "Nobody was shown another log" } td { "independent witnesses" } td { span.mark.partial { "not proven: unwitnessed" } } }
                tr { td { "A source left nothing out" } td { "contiguous sequence numbers, signed heartbeats, GAP records" } td { span.mark.success { "see sources and gaps" } } }
                tr { td { "The source told the truth" } td { "a second observer" } td { span.mark.partial { "not proven" } } }
                tr { td { "All traffic passed a source" } td { "comparison with other observers" } td { span.mark.partial { "not proven" } } }
            }
        }
        p.soft { "This page comes from the server under audit and cannot vouch for itself. The offline verifier is the authority." }
    }
}

fn sources(state: &AppState) -> Markup {
    let sources = state.ledger.sources();
    html! {
        h2 #sources { "Sources: seen = recorded + rejected + dropped" }
        div.scroll tabindex="0" role="region" aria-label="Sources" {
            table {
                caption.sr { "Sources and their counters" }
                thead { tr { th scope="col" { "Source" } th.num scope="col" { "Run" } th.num scope="col" { "Seen" } th.num scope="col" { "Recorded" }
                    th.num scope="col" { "Rejected" } th.num scope="col" { "Dropped" } th scope="col" { "Last event" } th scope="col" { "State" } } }
                tbody {
                    @for source in sources.iter().rev().take(GAPS_SHOWN) {
                        tr {
                            td { (captured(&source.agent)) }
                            td.num { (source.boot_epoch) }
                            td.num { (count(source.seen)) }
                            td.num { (count(source.sent)) }
                            td.num { (count(source.rejected)) }
                            td.num { (count(source.dropped)) }
                            td { @if source.last_time_ns > 0 { (time(i64::try_from(source.last_time_ns).unwrap_or(i64::MAX))) } @else { "never" } }
                            td { @if source.live { "live" } @else { span.soft { "ended" } } }
                        }
                    }
                }
            }
        }
    }
}

fn gaps(state: &AppState) -> Markup {
    let gaps = state.ledger.gaps();
    html! {
        h2 #gaps { "Declared gaps" }
        @if gaps.is_empty() { p { "None: no source has declared or been found to have lost a record." } }
        @else {
            table {
                caption.sr { "Records known to be missing" }
                thead { tr { th.num scope="col" { "Entry" } th scope="col" { "Time" } th scope="col" { "Source" } th scope="col" { "Numbers" }
                    th.num scope="col" { "Records" } th scope="col" { "Reason" } } }
                tbody {
                    @for gap in gaps.iter().rev().take(GAPS_SHOWN) {
                        tr {
                            td.num { a href=(format!("/events/{}", gap.index)) { (gap.index) } }
                            td { (time(i64::try_from(gap.time_ns).unwrap_or(i64::MAX))) }
                            td { (captured(&gap.agent)) }
                            td { @match (gap.first_seq, gap.last_seq) { (Some(first), Some(last)) => { (first) " to " (last) } _ => { "unknown" } } }
                            td.num { (count(gap.count)) @if !gap.exact { " (estimated)" } }
                            td { (gap.reason.name().replace('_', " ")) }
                        }
                    }
                }
            }
            @if gaps.len() > GAPS_SHOWN { p { a href="/api/v1/gaps" { "All " (gaps.len()) " gaps" } } }
        }
    }
}
