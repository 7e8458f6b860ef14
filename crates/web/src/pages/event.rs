//! `/events/{index}`: one leaf, in a sentence, by groups, with its proof computed in the page.

use super::{COMMON, table, timeline};
use crate::api::{Answer, event_parts as parts};
use crate::audit::{Reading, record_soon};
use crate::frame::{Page, copy, outcome, page, time};
use crate::params::{Params, Pin};
use crate::problem::Problem;
use crate::state::{AppState, Viewer};
use crate::text::{captured, count, duration, filter_value, query_value, short_name};
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use countersign_event::cbor::{self, Value as Cbor};
use countersign_event::json::{hex, to_json};
use countersign_event::{Class, EntryKind, Event, GROUP_NAMES, Principal, Verified};
use countersign_store::{FindRequest, Order, QueryLimits, Rows, Stored};
use maud::{Markup, html};
use serde_json::Value;

/// Events shown before and after, of the same pair.
const AROUND: usize = 5;
/// Deepest nesting of fields that is drawn.
const DEPTH: usize = 10;

/// Other events that its page shows.
struct Around {
    /// Those of the same caller and service.
    pair: Rows,
    /// Its timeline.
    joined: Rows,
}

/// The handler.
pub(super) async fn show(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    Path(index): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::parse(raw.as_deref(), COMMON)?;
    let number = parts::parse_index(&index)?;
    let stored = parts::fetch(&state, number).await?;
    let _turn = viewer.turn().await?;
    let around = match &stored.event {
        Some(event) => Some(Around {
            pair: neighbours(&state, number, event).await?,
            joined: state.store.timeline(number, event, QueryLimits::default()).await?,
        }),
        None => None,
    };
    record_soon(
        &state,
        &viewer,
        Reading { op: "read.event", route: "/events/{index}", id: &index, ..Reading::default() },
    )
    .await?;
    let title = format!("Event {number}");
    let body = html! {
        (heading(&state, &stored))
        @match &stored.event {
            Some(event) => { (event_body(&state, &stored, event, around.as_ref())) }
            None => { (other_entry(&stored)) }
        }
    };
    let frame = Page {
        title: &title,
        current: "/events",
        demo: state.options.demo,
        modules: if stored.event.is_some() { &["verify.js"] } else { &[] },
        unknown: &params.unknown,
        ..Page::default()
    };
    Ok(page(&frame, body))
}

fn heading(state: &AppState, stored: &Stored) -> Markup {
    let index = stored.index;
    let signed = Pin::latest(state).filter(|pin| pin.size > index);
    html! {
        header {
            h1 { "Entry " (count(index)) }
            nav.pager aria-label="Neighbouring entries" {
                @if let Some(before) = index.checked_sub(1) { a.button #event-previous href=(format!("/events/{before}")) { "Previous" } }
                @if index + 1 < state.ledger.size() { a.button #event-next href=(format!("/events/{}", index + 1)) { "Next" } }
                @match &signed {
                    Some(pin) => { span.mark.success { "durable, signed at size " (count(pin.size)) ", unwitnessed" } }
                    None => { span.mark.partial { "durable, not yet signed" } }
                }
            }
        }
    }
}

fn event_body(state: &AppState, stored: &Stored, event: &Event, around: Option<&Around>) -> Markup {
    html! {
        section.panel aria-label="In one sentence" { p.sentence { (sentence(event)) } }
        div.two {
            section.panel aria-labelledby="identity" { (identity(event)) }
            section.panel aria-labelledby="when" { (when(stored, event)) }
        }
        @if let Some(around) = around { (timeline::section(&around.joined, stored.index)) }
        section.panel aria-labelledby="fields" {
            h2 #fields { "Fields by group" }
            p.soft { "As this server decoded them. The section below decodes the bytes it has verified itself." }
            (groups(event))
        }
        (proof(state, stored.index))
        @if let Some(around) = around {
            section.panel aria-labelledby="around" {
                h2 #around { "Around it, the same pair" }
                (table::events(&around.pair, "Events of the same caller and service, newest first", Some(stored.index)))
                p { a href=(pair_search(event)) { "All of this pair" } }
            }
        }
        section.panel aria-labelledby="raw" { (raw(stored, event)) }
    }
}

/// "payments-api **deleted** /v1/orders/17 on orders-db, denied, 12 ms".
fn sentence(event: &Event) -> Markup {
    let core = &event.core;
    let verb = match core.class {
        Some(Class::Read) => "read",
        Some(Class::Create) => "created",
        Some(Class::Modify) => "changed",
        Some(Class::Delete) => "deleted",
        Some(Class::Execute) => "executed",
        Some(Class::Admin) => "administered",
        Some(Class::Authenticate) => "signed in to",
        Some(Class::Connect) => "connected to",
        Some(Class::Schema) => "changed the schema of",
        _ => "called",
    };
    let target = if event.target.raw.is_empty() { &event.target.res } else { &event.target.raw };
    html! {
        @match &event.who.who {
            Some(who) => { span title=(crate::text::visible(&who.id)) { (captured(if who.name.is_empty() { short_name(&who.id) } else { &who.name })) } }
            None => "Nobody named",
        }
        " " strong { (verb) } " "
        @if target.is_empty() { (captured(&event.target.svc)) } @else {
            (captured(target))
            @if !event.target.svc.is_empty() { " on " (captured(&event.target.svc)) }
        }
        @if !core.op.is_empty() { " (" (captured(&core.op)) ")" }
        ", " (outcome(core.outcome.map_or("", |word| word.word())))
        @if let Some((space, code)) = &core.status { " " span.soft { (space.word()) " " (captured(code)) } }
        @if let Some(ns) = core.dur { ", " (duration(i64::try_from(ns).unwrap_or(i64::MAX))) }
        @if !event.content.err.is_empty() { ": " (captured(&event.content.err)) }
    }
}

fn identity(event: &Event) -> Markup {
    html! {
        h2 #identity { "Who, and how it was proved" }
        @match &event.who.who {
            Some(who) => {
                (principal(who))
                @if !event.who.obo.is_empty() {
                    h3 { "On behalf of" }
                    ol { @for next in &event.who.obo { li { (principal(next)) } } }
                }
                @if !event.who.also.is_empty() {
                    h3 { "Also seen" }
                    @for other in &event.who.also { (principal(other)) }
                }
            }
            None => { p { "No identity was seen on this interaction." } }
        }
    }
}

fn principal(who: &Principal) -> Markup {
    let how = match who.verified {
        Verified::Claimed => "anyone could have written it",
        Verified::Asserted => "an enrolled third party says so; we did not check",
        Verified::Checked => "we checked a credential; whoever copies it can replay it",
        Verified::Bound => "checked, and bound to this channel by proof of possession",
        Verified::Other(_) => "a level this version does not know",
    };
    html! {
        dl.fields {
            dt { "Identity" } dd { a href=(format!("/events?q=who:{}", query_value(&filter_value(&who.id)))) { (captured(&who.id)) } }
            dt { "Proof" } dd { strong { (crate::frame::level(i64::try_from(who.verified.code()).ok())) } " – " (how) }
            @if let Some(auth) = who.auth { dt { "Method" } dd { (auth.word().replace('_', " ")) } }
            @if let Some(kind) = who.kind { dt { "Kind" } dd { (kind.word()) } }
            @if !who.iss.is_empty() { dt { "Issuer" } dd { (captured(&who.iss)) } }
            @if !who.cred.is_empty() { dt { "Credential" } dd { code { (captured(&who.cred)) } } }
            @if let Some(end) = who.cred_exp { dt { "Valid until" } dd { (time(end.saturating_mul(1_000_000_000))) } }
        }
    }
}

fn when(stored: &Stored, event: &Event) -> Markup {
    let ns = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    html! {
        h2 #when { "When and where it stands" }
        dl.fields {
            @if let Some(start) = event.core.t_event { dt { "Started" } dd { (time(start)) } }
            dt { "Observed" } dd { (time(ns(event.core.t_obs))) }
            dt { "Recorded" } dd { (time(ns(stored.entry.time_ns))) }
            dt { "Event id" } dd { code { (crate::rows::uuid(&event.core.eid)) } }
            dt { "Observer" } dd { (captured(&event.core.agent)) ", number " (event.core.seq) }
            @if let Some(trace) = event.links.trace { dt { "Trace" } dd { a href=(format!("/events?q=trace:{}", hex(&trace))) { code { (hex(&trace)) } } } }
            @if let Some(of) = event.links.of { dt { "Belongs to" } dd { a href=(format!("/events?q=id:{}", hex(&of))) { code { (hex(&of)) } } } }
            @if !event.links.corr.is_empty() { dt { "Request id" } dd { (captured(&event.links.corr)) } }
        }
    }
}

/// All seven groups, in order, from the event's JSON.
fn groups(event: &Event) -> Markup {
    let json: Value = serde_json::from_str(&to_json(event)).unwrap_or(Value::Null);
    html! {
        @for name in GROUP_NAMES {
            details open[matches!(name, "core" | "who" | "target")] {
                summary { strong { (name) } " " span.soft { @if json[name].is_null() { "empty" } @else { "disclosed" } } }
                @if json[name].is_object() { (fields(&json[name], 0)) }
            }
        }
    }
}

fn fields(value: &Value, depth: usize) -> Markup {
    html! {
        @match value {
            Value::Object(map) if depth < DEPTH => {
                dl.fields { @for (name, inner) in map { dt { (captured(name)) } dd { (fields(inner, depth + 1)) } } }
            }
            Value::Array(list) if depth < DEPTH => {
                @for (at, inner) in list.iter().enumerate() { @if at > 0 { " · " } (fields(inner, depth + 1)) }
            }
            Value::String(text) => { (captured(text)) }
            other => { (captured(&other.to_string())) }
        }
    }
}

fn proof(state: &AppState, index: u64) -> Markup {
    let evidence = format!("/api/v1/events/{index}/proof");
    html! {
        section.panel #proof aria-labelledby="proof-title" data-evidence=(evidence) data-index=(index)
            data-vkey=(state.ledger.log_vkey()) data-consistency="/api/v1/consistency" {
            h2 #proof-title { "Proof" }
            p.verdict #proof-verdict role="status" { "Needs scripts to be computed here; the file and the command below do not." }
            ol.proof #proof-lines {}
            div #proof-fields {}
            p { a.button href=(evidence) download { "Evidence file (.csne)" } }
            (copy("Verify offline", &format!("countersign-verify event-{index}.csne --policy trust.policy --trust trust.toml"), Some("copy-command")))
            p.soft { "This code came from the server under audit. It proves that these bytes are in a log that this key signed. It does not prove that the source told the truth, "
                "nor that all traffic was seen, nor (without witnesses) that nobody was shown another log. "
                a href="/integrity" { "How to check without this server" } "." }
        }
    }
}

fn raw(stored: &Stored, event: &Event) -> Markup {
    let pretty = serde_json::from_str::<Value>(&to_json(event))
        .and_then(|json| serde_json::to_string_pretty(&json))
        .unwrap_or_default();
    html! {
        h2 #raw { "Raw" }
        details { summary { "JSON" } pre tabindex="0" { code { (pretty.lines().map(crate::text::visible).collect::<Vec<_>>().join("\n")) } } }
        details {
            summary { "The bytes that are committed" }
            dl.fields {
                dt { "entry" } dd { code { (hex(&stored.entry.to_bytes())) } }
                @if let Some(frame) = &stored.frame {
                    @for (g, bytes) in frame.groups.iter().enumerate() { dt { (GROUP_NAMES[g]) } dd { code { (hex(bytes)) } } }
                }
            }
        }
    }
}

fn pair_search(event: &Event) -> String {
    format!("/events?q={}", query_value(&pair(event)))
}

fn pair(event: &Event) -> String {
    let who =
        event.who.who.as_ref().map_or("-who:*".to_owned(), |who| format!("who:{}", filter_value(&who.id)));
    match event.target.svc.as_str() {
        "" => who,
        svc => format!("{who} service:{}", filter_value(svc)),
    }
}

async fn neighbours(state: &AppState, index: u64, event: &Event) -> Result<Rows, Problem> {
    let request =
        |order, before, after| FindRequest { order, before, after, ..table::request(pair(event), AROUND) };
    let mut rows = state.store.find(request(Order::OldestFirst, None, Some(index))).await?;
    rows.rows.reverse();
    let own =
        FindRequest { limit: AROUND + 1, ..request(Order::NewestFirst, Some(index.saturating_add(1)), None) };
    let older = state.store.find(own).await?;
    if rows.columns.is_empty() {
        rows.columns = older.columns;
    }
    rows.rows.extend(older.rows);
    Ok(rows)
}

/// A leaf that is no event: its kind and its body, decoded.
fn other_entry(stored: &Stored) -> Markup {
    let kind = EntryKind::from_byte(stored.entry.kind).map_or("unknown", EntryKind::name);
    html! {
        section.panel {
            h2 { "Not an event: " (kind.replace('_', " ")) }
            p { "The ledger's own entries are leaves like any other: committed, signed, provable." }
            dl.fields {
                dt { "Recorded" } dd { (time(i64::try_from(stored.entry.time_ns).unwrap_or(i64::MAX))) }
                dt { "Source" } dd { (stored.entry.source_ref) ", number " (stored.entry.source_seq) }
                dt { "Commitment" } dd { code { (hex(&stored.entry.commitment)) } }
                dt { "Entry" } dd { code { (hex(&stored.entry.to_bytes())) } }
            }
            @if let Some(body) = &stored.body {
                h3 { "Body" }
                @match cbor::decode(body) {
                    Ok(value) => { (cbor_fields(&value, 0)) }
                    Err(_) => { code { (hex(body)) } }
                }
            }
            p { a.button href=(format!("/api/v1/events/{}/proof", stored.index)) download { "Evidence file (.csne)" } }
        }
    }
}

fn cbor_fields(value: &Cbor, depth: usize) -> Markup {
    html! {
        @match value {
            Cbor::Map(pairs) if depth < DEPTH => {
                dl.fields { @for (key, inner) in pairs { dt { (cbor_fields(key, depth + 1)) } dd { (cbor_fields(inner, depth + 1)) } } }
            }
            Cbor::Array(items) if depth < DEPTH => {
                @for (at, inner) in items.iter().enumerate() { @if at > 0 { " · " } (cbor_fields(inner, depth + 1)) }
            }
            Cbor::Text(text) => { (captured(text)) }
            Cbor::Bytes(bytes) => { code { (captured(&hex(bytes))) } }
            Cbor::Uint(n) => { (n) }
            Cbor::Nint(n) => { "−" (u128::from(*n) + 1) }
            Cbor::Bool(b) => { (b) }
            _ => { "…" }
        }
    }
}
