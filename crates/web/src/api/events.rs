//! Searching, counting and reading single events.

use super::{Answer, NDJSON, answer_at, blocking, envelope, json_answer, typed, wants};
use crate::audit::{Reading, record_soon};
use crate::params::{Params, Pin};
use crate::problem::Problem;
use crate::rows;
use crate::state::{AppState, Turn, Viewer};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use countersign_event::EntryKind;
use countersign_event::json::{base64url, hex, to_json, unhex};
use countersign_store::{FindRequest, Order, QueryLimits, Rows, Stored};
use serde_json::{Value, json};

const SEARCH: &[&str] = &["q", "from", "to", "at", "limit", "before", "after", "fields"];
/// Most events of one page.
const LIMIT_MAX: usize = 1_000;
/// Most groups of one count.
const GROUPS_MAX: usize = 1_000;

/// `GET /events`.
pub(super) async fn list(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let params = Params::strict(raw.as_deref(), SEARCH)?;
    let mut request = params.find(state.now_ns(), 50, LIMIT_MAX)?;
    request.columns =
        params.get("fields").map(|list| list.split(',').map(|name| name.trim().to_owned()).collect());
    request.at = answer_at(&state, &params).await?;
    let turn = viewer.turn().await?;
    if wants(&headers, NDJSON) {
        let most = params.number("limit")?.unwrap_or(u64::MAX);
        return stream(state, viewer, request, most, turn).await;
    }
    let limit = request.limit;
    let found = state.store.find(request).await?;
    record_soon(&state, &viewer, reading(&params, "/api/v1/events", found.rows.len())).await?;
    let page = page(&state, &params, &found, limit);
    let next = page["next"].as_str().map(str::to_owned);
    let mut answer = json_answer(&envelope(&state, &found, page));
    if let Some(value) = next.and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok()) {
        answer.headers_mut().insert(header::LINK, value);
    }
    Ok(answer)
}

fn reading<'a>(params: &'a Params, route: &'static str, rows: usize) -> Reading<'a> {
    Reading {
        op: "read.query",
        route,
        statement: params.text("q"),
        rows: Some(rows as u64),
        ..Reading::default()
    }
}

/// `next` and `prev` as addresses that carry the pin, so that pages neither shift nor repeat.
fn page(state: &AppState, params: &Params, found: &Rows, limit: usize) -> Value {
    let pin = params.get("at").map(str::to_owned).or_else(|| rows::pin(state, found.at)).unwrap_or_default();
    let index = |row: usize| rows::int(found, row, "index").map(|n| n.to_string());
    let at = |name: &'static str, other: &'static str, cursor: &str| {
        format!("/api/v1/events{}", params.with(&[(name, cursor), (other, ""), ("at", &pin)]))
    };
    let ascending = params.get("after").is_some() && params.get("before").is_none();
    let (forward, back) = if ascending { ("after", "before") } else { ("before", "after") };
    let full = found.rows.len() == limit;
    let next = index(found.rows.len().wrapping_sub(1)).filter(|_| full).map(|last| at(forward, back, &last));
    let prev = index(0).map(|first| at(back, forward, &first));
    json!({ "next": next, "prev": prev })
}

/// NDJSON without a cap: pages of the store, one after the other, and a trailer line.
async fn stream(state: AppState, viewer: Viewer, mut request: FindRequest, most: u64, turn: Turn) -> Answer {
    request.limit = LIMIT_MAX.min(usize::try_from(most).unwrap_or(LIMIT_MAX));
    let first = state.store.find(request.clone()).await?;
    record_soon(
        &state,
        &viewer,
        Reading { op: "export", route: "/api/v1/events", statement: &request.filter, ..Reading::default() },
    )
    .await?;
    request.at = request.at.or(Some(first.at));
    let begin = (state, request, Some(first), 0_u64, turn);
    let lines = futures::stream::try_unfold(
        begin,
        move |(state, mut request, found, mut sent, turn)| async move {
            let Some(found) = found else { return Ok::<_, std::io::Error>(None) };
            let mut text = found.to_ndjson();
            sent += found.rows.len() as u64;
            let last = rows::int(&found, found.rows.len().wrapping_sub(1), "index")
                .and_then(|n| u64::try_from(n).ok());
            let more = found.rows.len() == request.limit && sent < most;
            let next = match last.filter(|_| more) {
                Some(last) => {
                    match request.order {
                        Order::NewestFirst => request.before = Some(last),
                        Order::OldestFirst => request.after = Some(last),
                    }
                    request.limit = LIMIT_MAX.min(usize::try_from(most - sent).unwrap_or(LIMIT_MAX));
                    // No trailer on failure: the reader sees a cut stream, not a short answer.
                    Some(state.store.find(request.clone()).await.map_err(std::io::Error::other)?)
                }
                None => {
                    let end = json!({ "end": true, "rows": sent, "at": rows::at(&state, found.at), "complete": rows::complete(&found.complete) });
                    text.push_str(&format!("{end}\n"));
                    None
                }
            };
            Ok(Some((Bytes::from(text), (state, request, next, sent, turn))))
        },
    );
    Ok(typed(Body::from_stream(lines), NDJSON))
}

/// `GET /events/{index}`.
pub(super) async fn one(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    Path(index): Path<String>,
) -> Answer {
    let stored = fetch(&state, parse_index(&index)?).await?;
    record_soon(
        &state,
        &viewer,
        Reading { op: "read.event", route: "/api/v1/events/{index}", id: &index, ..Reading::default() },
    )
    .await?;
    Ok(json_answer(&document(&state, &stored)))
}

/// `GET /events/by-id/{id}`: hex or UUID.
pub(super) async fn by_id(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
) -> Answer {
    let bad = || Problem::new("bad-value", "an event id is 32 hex digits or a UUID");
    let bytes = unhex(&id.replace('-', "")).ok_or_else(bad)?;
    let eid: [u8; 16] = bytes.try_into().map_err(|_| bad())?;
    let store = state.store.clone();
    let index = blocking(move || Ok(store.find_eid(eid)?)).await?;
    let index = index
        .ok_or_else(|| Problem::new("not-found", format!("no event with id {} is in this log", hex(&eid))))?;
    let stored = fetch(&state, index).await?;
    record_soon(
        &state,
        &viewer,
        Reading { op: "read.event", route: "/api/v1/events/by-id/{id}", id: &id, ..Reading::default() },
    )
    .await?;
    Ok(json_answer(&document(&state, &stored)))
}

/// `GET /events/{index}/context?n=`: events around this one.
pub(super) async fn context(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    Path(index): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::strict(raw.as_deref(), &["n", "q"])?;
    let index_number = parse_index(&index)?;
    let n = params.number("n")?.unwrap_or(10).clamp(1, 100) as usize;
    let _turn = viewer.turn().await?;
    let request = |order, before, after| FindRequest {
        order,
        before,
        after,
        limit: n,
        ..FindRequest::new(params.text("q"))
    };
    let mut found = state.store.find(request(Order::NewestFirst, Some(index_number), None)).await?;
    let later = state.store.find(request(Order::OldestFirst, None, index_number.checked_sub(1))).await?;
    found.rows.reverse();
    found.rows.extend(later.rows);
    record_soon(
        &state,
        &viewer,
        Reading { id: &index, ..reading(&params, "/api/v1/events/{index}/context", found.rows.len()) },
    )
    .await?;
    Ok(json_answer(&envelope(&state, &found, json!({}))))
}

/// `GET /events/{index}/timeline`: what belongs to this event, in order of time.
pub(super) async fn timeline(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    Path(index): Path<String>,
) -> Answer {
    let number = parse_index(&index)?;
    let stored = fetch(&state, number).await?;
    let none = || Problem::new("bad-value", format!("entry {number} is no event: nothing belongs to it"));
    let event = stored.event.as_ref().ok_or_else(none)?;
    let _turn = viewer.turn().await?;
    let found = state.store.timeline(number, event, QueryLimits::default()).await?;
    let reading = Reading {
        op: "read.query",
        route: "/api/v1/events/{index}/timeline",
        id: &index,
        rows: Some(found.rows.len() as u64),
        ..Reading::default()
    };
    record_soon(&state, &viewer, reading).await?;
    Ok(json_answer(&envelope(&state, &found, json!({}))))
}

/// `GET /count`: of everything, or by columns.
pub(super) async fn count(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::strict(raw.as_deref(), &["q", "from", "to", "at", "by", "top"])?;
    let mut request = params.find(state.now_ns(), 50, LIMIT_MAX)?;
    request.at = answer_at(&state, &params).await?;
    let _turn = viewer.turn().await?;
    let answer = match params.get("by") {
        Some(by) => {
            let columns = by.split(',').map(|name| name.trim().to_owned()).collect();
            let top = params.number("top")?.unwrap_or(50).clamp(1, GROUPS_MAX as u64) as usize;
            envelope(&state, &state.store.count_by(request, columns, top).await?, json!({}))
        }
        None => {
            let at = request.at.unwrap_or_else(|| state.store.visible());
            let n = state.store.count(request).await?;
            json!({ "data": [{ "count": n }], "page": {}, "at": rows::at(&state, at),
                "complete": { "gaps": state.ledger.gaps().len(), "erased": 0, "retired": 0, "truncated": false } })
        }
    };
    record_soon(
        &state,
        &viewer,
        Reading {
            op: "read.count",
            route: "/api/v1/count",
            statement: params.text("q"),
            ..Reading::default()
        },
    )
    .await?;
    Ok(json_answer(&answer))
}

/// `GET /findings`: events of rec `finding`, newest first.
pub(super) async fn findings(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::strict(raw.as_deref(), &["from", "to", "at", "limit", "before", "after"])?;
    let mut request = params.find(state.now_ns(), 50, LIMIT_MAX)?;
    request.filter = "rec:finding".to_owned();
    request.at = answer_at(&state, &params).await?;
    let _turn = viewer.turn().await?;
    let found = state.store.find(request).await?;
    record_soon(&state, &viewer, reading(&params, "/api/v1/findings", found.rows.len())).await?;
    Ok(json_answer(&envelope(&state, &found, json!({}))))
}

/// An index in a path.
pub(crate) fn parse_index(text: &str) -> Result<u64, Problem> {
    text.parse()
        .map_err(|_| Problem::new("bad-value", format!("`{text}` is no ledger index: a whole number is")))
}

/// One leaf with its content, verified against its commitment by the store.
pub(crate) async fn fetch(state: &AppState, index: u64) -> Result<Stored, Problem> {
    let size = state.ledger.size();
    if index >= size {
        return Err(Problem::new(
            "not-yet",
            format!("the log has {size} entries; index {index} is not among them yet"),
        )
        .hint("search by event id if you have one: /api/v1/events/by-id/…"));
    }
    let store = state.store.clone();
    let stored = blocking(move || Ok(store.get(index)?)).await?;
    stored.ok_or_else(|| {
        Problem::new("degraded", format!("index {index} is committed but cannot be queried yet"))
            .hint("ask again in a moment")
    })
}

/// The whole of a leaf as JSON.
pub(crate) fn document(state: &AppState, stored: &Stored) -> Value {
    let mut out = match &stored.event {
        Some(event) => rows::flat(stored.index, event),
        None => serde_json::Map::from_iter([("index".to_owned(), json!(stored.index))]),
    };
    let kind = EntryKind::from_byte(stored.entry.kind);
    out.insert(
        "entry".to_owned(),
        json!({
            "kind": kind.map_or("unknown", EntryKind::name),
            "source_ref": stored.entry.source_ref,
            "source_seq": stored.entry.source_seq,
            "time": crate::time::rfc3339(i64::try_from(stored.entry.time_ns).unwrap_or(i64::MAX)),
            "commitment": hex(&stored.entry.commitment),
            "bytes": hex(&stored.entry.to_bytes()),
        }),
    );
    if let Some(event) = &stored.event {
        out.insert("event".to_owned(), serde_json::from_str(&to_json(event)).unwrap_or(Value::Null));
    }
    if let Some(body) = &stored.body {
        out.insert("body".to_owned(), json!(base64url(body)));
    }
    let covered = Pin::latest(state).filter(|pin| pin.size > stored.index);
    out.insert(
        "proof".to_owned(),
        json!({
            "state": if covered.is_some() { "signed" } else { "durable" },
            "at": covered.map(|pin| pin.text()),
            "evidence": stored.event.is_some().then(|| format!("/api/v1/events/{}/proof", stored.index)),
        }),
    );
    json!({ "data": out, "at": rows::at(state, state.ledger.checkpoint().map_or(0, |head| head.size)),
        "complete": { "gaps": 0, "erased": 0, "retired": 0, "truncated": false } })
}
