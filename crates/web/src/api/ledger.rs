//! What the ledger says about itself: proofs, checkpoints, sources, gaps, and its tiles for other auditors.

use super::{Answer, blocking, json_answer, typed};
use crate::api::events::{fetch, parse_index};
use crate::audit::{Reading, record_soon};
use crate::params::Params;
use crate::problem::Problem;
use crate::rows;
use crate::state::{AppState, Viewer};
use crate::time::rfc3339;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, Response, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_event::json::hex;
use countersign_proof::{EventEvidence, EvidenceBuilder, GroupEvidence};
use serde_json::json;
use std::time::Duration;

/// Longest wait for a checkpoint over an event that was asked to be proven, milliseconds.
const CHECKPOINT_WAIT_MS: u64 = 1_500;

/// `GET /events/{index}/proof`: an evidence file.
pub(super) async fn proof(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    Path(index): Path<String>,
) -> Answer {
    let number = parse_index(&index)?;
    let bytes = evidence(&state, number).await?;
    record_soon(
        &state,
        &viewer,
        Reading { op: "read.proof", route: "/api/v1/events/{index}/proof", id: &index, ..Reading::default() },
    )
    .await?;
    Ok(download(bytes, &format!("event-{number}.csne")))
}

/// The evidence file of one event, all groups disclosed.
pub(crate) async fn evidence(state: &AppState, index: u64) -> Result<Vec<u8>, Problem> {
    let stored = fetch(state, index).await?;
    let state = state.clone();
    blocking(move || {
        let head = state
            .ledger
            .wait_checkpoint(index + 1, Duration::from_millis(CHECKPOINT_WAIT_MS))
            .ok_or_else(|| {
                Problem::new("not-yet", format!("no signed checkpoint covers index {index} yet"))
                    .hint("ask again in a second")
            })?;
        let purpose = if state.options.demo { "demo: one event" } else { "one event" };
        let created = u64::try_from(state.now_ns()).unwrap_or(0);
        let builder = EvidenceBuilder::new(state.ledger.origin(), purpose, created).checkpoint(&head.note);
        let inclusion = state.ledger.inclusion(index, head.size)?;
        let entry = stored.entry.to_bytes();
        let built = match &stored.frame {
            Some(frame) => {
                let salts = state.ledger.salts(index)?.ok_or_else(|| {
                    Problem::new(
                        "erased",
                        format!(
                            "the salts of index {index} were destroyed, so its groups cannot be disclosed"
                        ),
                    )
                })?;
                let groups = std::array::from_fn(|g| GroupEvidence::Disclosed {
                    bytes: frame.groups[g].to_vec(),
                    salt: salts[g],
                });
                builder.event(EventEvidence { index, entry, schema: frame.schema, groups, inclusion })
            }
            None => match &stored.body {
                Some(body) => builder.body(index, entry, body, &inclusion),
                None => builder.opaque(index, entry, &inclusion),
            },
        };
        built.finish().map_err(|error| Problem::new("internal", error.to_string()))
    })
    .await
}

/// A file for the disk, never for the page.
fn download(bytes: Vec<u8>, name: &str) -> Response<Body> {
    let mut answer = typed(Body::from(bytes), "application/octet-stream");
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    answer
}

/// `GET /checkpoint`: the newest signed tree head.
pub(super) async fn checkpoint(State(state): State<AppState>) -> Answer {
    let head =
        state.ledger.checkpoint().ok_or_else(|| Problem::new("not-yet", "nothing has been signed yet"))?;
    let age = state.ledger.stats().checkpoint_age;
    Ok(json_answer(&json!({ "data": {
        "origin": state.ledger.origin(),
        "size": head.size,
        "root": hex(&head.root),
        "note": head.note,
        "vkey": state.ledger.log_vkey(),
        "age_ns": u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
        "witnesses": { "seen": 0, "of": 0, "state": "unwitnessed" },
    } })))
}

/// `GET /consistency?from=&to=`: proof that the tree of `from` leaves is a prefix of the tree of `to`.
pub(super) async fn consistency(State(state): State<AppState>, RawQuery(raw): RawQuery) -> Answer {
    let params = Params::strict(raw.as_deref(), &["from", "to"])?;
    let size = |name: &'static str| {
        params
            .number(name)?
            .ok_or_else(|| Problem::new("bad-value", format!("`{name}` is needed: a ledger size")))
    };
    let (from, to) = (size("from")?, size("to")?);
    if from > to || to > state.ledger.size() {
        return Err(Problem::new(
            "bad-range",
            format!("sizes must hold from ≤ to ≤ {}", state.ledger.size()),
        ));
    }
    let answer = blocking(move || {
        let hashes = state.ledger.consistency(from, to)?;
        let roots = (state.ledger.root_at(from)?, state.ledger.root_at(to)?);
        Ok(json!({
            "from": { "size": from, "root": hex(&roots.0) },
            "to": { "size": to, "root": hex(&roots.1) },
            "hashes": hashes.iter().map(|hash| STANDARD.encode(hash)).collect::<Vec<_>>(),
        }))
    });
    Ok(json_answer(&answer.await?))
}

/// `GET /sources`: who observes, and counters that add up.
pub(super) async fn sources(State(state): State<AppState>, Extension(viewer): Extension<Viewer>) -> Answer {
    record_soon(
        &state,
        &viewer,
        Reading { op: "read.sources", route: "/api/v1/sources", ..Reading::default() },
    )
    .await?;
    let ns = |time: u64| (time > 0).then(|| rfc3339(i64::try_from(time).unwrap_or(i64::MAX)));
    let data: Vec<_> = state
        .ledger
        .sources()
        .iter()
        .map(|source| {
            json!({
                "source_ref": source.source_ref,
                "agent": source.agent,
                "stream": hex(&source.stream),
                "boot_epoch": source.boot_epoch,
                "seen": source.seen,
                "sent": source.sent,
                "rejected": source.rejected,
                "dropped": source.dropped,
                "last_seq": source.last_seq,
                "last_time": ns(source.last_time_ns),
                "last_heartbeat": ns(source.last_heartbeat_ns),
                "live": source.live,
            })
        })
        .collect();
    Ok(json_answer(&json!({ "data": data, "at": rows::at(&state, state.ledger.size()),
        "complete": { "gaps": state.ledger.gaps().len(), "erased": 0, "retired": 0, "truncated": false } })))
}

/// `GET /gaps`: every declared loss.
pub(super) async fn gaps(State(state): State<AppState>, Extension(viewer): Extension<Viewer>) -> Answer {
    record_soon(&state, &viewer, Reading { op: "read.gaps", route: "/api/v1/gaps", ..Reading::default() })
        .await?;
    let gaps = state.ledger.gaps();
    let data: Vec<_> = gaps
        .iter()
        .map(|gap| {
            json!({
                "index": gap.index,
                "time": rfc3339(i64::try_from(gap.time_ns).unwrap_or(i64::MAX)),
                "source_ref": gap.source_ref,
                "agent": gap.agent,
                "stream": hex(&gap.stream),
                "first_seq": gap.first_seq,
                "last_seq": gap.last_seq,
                "reason": gap.reason.name(),
                "count": gap.count,
                "exact": gap.exact,
            })
        })
        .collect();
    Ok(json_answer(&json!({ "data": data, "at": rows::at(&state, state.ledger.size()),
        "complete": { "gaps": gaps.len(), "erased": 0, "retired": 0, "truncated": false } })))
}

/// `GET /log/…`: checkpoint, tiles and entry bundles by the paths of C2SP tlog-tiles.
pub(super) async fn tile(State(state): State<AppState>, Path(path): Path<String>) -> Answer {
    let is_checkpoint = path == "checkpoint";
    let bytes = blocking(move || Ok(state.ledger.tile_path(&path)?)).await?;
    let bytes = bytes.ok_or_else(|| Problem::new("not-found", "this log has no such tile"))?;
    let mut answer = typed(
        Body::from(bytes),
        if is_checkpoint { "text/plain; charset=utf-8" } else { "application/octet-stream" },
    );
    if !is_checkpoint {
        answer
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    }
    Ok(answer)
}
