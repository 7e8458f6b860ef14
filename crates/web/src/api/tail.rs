//! The live tail: committed events in ledger order, as server-sent events or NDJSON.
//!
//! Pull, not push: a frame is made when the connection can take it, so a slow reader holds no memory but its
//! own pending rows. Invariants: a resume (`Last-Event-ID`, `after`) gives every entry once, without gap or
//! duplicate; a reader that fell behind is told what it missed (`skip`), never silently; on every frame
//! received = shown + filtered + skipped; at most [`PENDING_MAX`] bytes wait for one reader.

use super::{Answer, NDJSON, typed, wants};
use crate::audit::{Reading, record_soon};
use crate::hub::Found;
use crate::params::Params;
use crate::problem::Problem;
use crate::rows;
use crate::state::{AppState, Viewer};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use countersign_event::{EntryKind, Rec};
use countersign_ledger::{Committed, Payload};
use countersign_proof::body::Gap;
use countersign_store::Filter;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior};

/// Time between frames, milliseconds.
pub(crate) const FRAME_MS: u64 = 100;
/// Most events of a frame.
pub(crate) const FRAME_EVENTS: usize = 256;
/// Most bytes of a frame's events.
pub(crate) const FRAME_BYTES: usize = 128 << 10;
/// Most bytes of matched rows waiting for one reader.
pub(crate) const PENDING_MAX: usize = 1 << 20;
/// Time between beats, seconds.
pub(crate) const BEAT_S: u64 = 5;
/// Entries read from the store at once while catching up.
const SCAN: u64 = 1_024;
/// A source without an event for this long counts as silent, seconds.
pub(crate) const SILENT_S: u64 = 60;

/// `GET /tail?q=&after=`.
pub(super) async fn open(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let params = Params::strict(raw.as_deref(), &["q", "after"])?;
    let text = params.text("q");
    let filter = countersign_store::filter::parse(text).map_err(countersign_store::StoreError::from)?;
    let resumed = match headers.get("last-event-id").and_then(|value| value.to_str().ok()) {
        Some(id) => Some(
            id.trim()
                .parse()
                .map_err(|_| Problem::new("bad-cursor", "Last-Event-ID must be a ledger index"))?,
        ),
        None => params.number("after")?,
    };
    let slots = [Arc::clone(&state.tails), Arc::clone(&viewer.gate.tails)].map(|slots| {
        slots.try_acquire_owned().map_err(|_| {
            Problem::new("too-many", "64 live tails in all and 4 of one reader is the limit")
                .hint("close another tail, then try again")
        })
    });
    let [all, own] = slots;
    let slots = [all?, own?];
    record_soon(
        &state,
        &viewer,
        Reading { op: "read.tail", route: "/api/v1/tail", statement: text, ..Reading::default() },
    )
    .await?;
    let format = if wants(&headers, NDJSON) { Format::Ndjson } else { Format::Sse };
    let mut ticks = tokio::time::interval(Duration::from_millis(FRAME_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let head = head(&state);
    let tail = Tail {
        cursor: resumed.map_or(head, |last: u64| last.saturating_add(1)),
        live: resumed.is_none(),
        asks_platform: text.contains("rec:"),
        filter,
        closing: state.closing.subscribe(),
        pending: VecDeque::new(),
        pending_bytes: 0,
        notices: VecDeque::new(),
        filtered: 0,
        sent: [0; 3],
        beat_due: 0,
        state,
        format,
        ticks,
        ended: false,
        _slots: slots,
    };
    let frames = futures::stream::unfold(tail, |mut tail| async move {
        let frame = tail.frame().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), tail))
    });
    let kind = match format {
        Format::Sse => "text/event-stream",
        Format::Ndjson => NDJSON,
    };
    Ok(typed(Body::from_stream(frames), kind))
}

/// Index after the newest entry that a tail can give.
pub(crate) fn head(state: &AppState) -> u64 {
    state.hub.head().unwrap_or_else(|| state.store.visible())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Sse,
    Ndjson,
}

/// One reader's position and what waits for it.
struct Tail {
    state: AppState,
    filter: Filter,
    /// The filter speaks of `rec`, so platform events are not hidden.
    asks_platform: bool,
    /// Next index to examine.
    cursor: u64,
    /// Has reached the head once: from now on falling behind means skipping.
    live: bool,
    /// Matched rows, by index.
    pending: VecDeque<(u64, String)>,
    pending_bytes: usize,
    /// Gaps and skips, in order: (index before which they stand, type, data).
    notices: VecDeque<(u64, &'static str, Value)>,
    /// Examined and not shown since the last frame.
    filtered: u64,
    /// Shown, filtered, skipped since the start.
    sent: [u64; 3],
    /// Monotonic time of the next beat, ns.
    beat_due: u64,
    format: Format,
    ticks: Interval,
    closing: watch::Receiver<bool>,
    ended: bool,
    _slots: [OwnedSemaphorePermit; 2],
}

impl Tail {
    /// The next piece of the stream; waits for news or a beat.
    async fn frame(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        loop {
            let closes = tokio::select! {
                biased;
                closed = self.closing.wait_for(|closed| *closed) => closed.is_ok(),
                _ = self.ticks.tick() => false,
            };
            if closes {
                return Some(self.bye("the server is closing"));
            }
            if let Err(problem) = self.drain().await {
                return Some(self.bye(&problem.detail));
            }
            let mut out = String::new();
            self.write_events(&mut out);
            self.write_beat(&mut out);
            if !out.is_empty() {
                return Some(Bytes::from(out));
            }
        }
    }

    /// Examines what was committed since, as far as there is room.
    async fn drain(&mut self) -> Result<(), Problem> {
        loop {
            if self.pending_bytes > PENDING_MAX {
                if self.live {
                    self.skip_pending();
                }
                return Ok(());
            }
            let older = match self.state.hub.read(self.cursor) {
                Found::Batches(batches) => {
                    for batch in batches {
                        let from =
                            usize::try_from(self.cursor.saturating_sub(batch.first)).unwrap_or(usize::MAX);
                        for record in batch.records.iter().skip(from) {
                            self.examine(record);
                        }
                    }
                    continue;
                }
                Found::Nothing => head(&self.state),
                Found::Older(first) if self.live => {
                    self.skip(self.cursor, first, first - self.cursor, "this reader is too slow");
                    self.cursor = first;
                    continue;
                }
                Found::Older(first) => first,
            };
            if self.cursor >= older {
                self.live = true;
                return Ok(());
            }
            self.scan(self.cursor.saturating_add(SCAN).min(older)).await?;
        }
    }

    /// Catches up from the store.
    async fn scan(&mut self, to: u64) -> Result<(), Problem> {
        let (state, from) = (self.state.clone(), self.cursor);
        let records = super::blocking(move || Ok(state.store.scan(from, to)?)).await?;
        for record in &records {
            if record.index >= self.cursor {
                if record.index > self.cursor {
                    self.skip(self.cursor, record.index, record.index - self.cursor, "no longer readable");
                }
                self.examine(record);
            }
        }
        if self.cursor < to {
            self.skip(self.cursor, to, to - self.cursor, "no longer readable");
            self.cursor = to;
        }
        Ok(())
    }

    fn examine(&mut self, record: &Committed) {
        self.cursor = record.index + 1;
        match &record.payload {
            Payload::Event { event, .. } => {
                let hidden = event.core.rec == Some(Rec::Platform) && !self.asks_platform;
                if hidden || !self.filter.matches(event, record.index) {
                    self.filtered += 1;
                    return;
                }
                let row = Value::Object(rows::flat(record.index, event)).to_string();
                self.pending_bytes += row.len();
                self.pending.push_back((record.index, row));
            }
            Payload::Body(body) => {
                self.filtered += 1;
                if EntryKind::from_byte(record.entry.kind) == Some(EntryKind::Gap) {
                    self.notices.push_back((record.index, "gap", gap(record.index, body)));
                }
            }
        }
    }

    /// Drops what waits for a reader that is too slow, and says so.
    fn skip_pending(&mut self) {
        let (count, from) =
            (self.pending.len() as u64, self.pending.front().map_or(self.cursor, |(index, _)| *index));
        self.pending.clear();
        self.pending_bytes = 0;
        self.skip(from, self.cursor, count, "this reader is too slow");
    }

    fn skip(&mut self, from: u64, to: u64, count: u64, reason: &str) {
        self.sent[2] += count;
        let data = json!({ "from": from, "to": to, "count": count, "reason": reason });
        self.notices.push_back((from, "skip", data));
    }

    /// Up to one frame of rows, then the notices that stand before what is left.
    fn write_events(&mut self, out: &mut String) {
        let (mut taken, mut bytes) = (0, 0);
        for (_, row) in self.pending.iter().take(FRAME_EVENTS) {
            if taken > 0 && bytes + row.len() > FRAME_BYTES {
                break;
            }
            taken += 1;
            bytes += row.len();
        }
        let rows: Vec<String> = self.pending.drain(..taken).map(|(_, row)| row).collect();
        self.pending_bytes -= bytes;
        let last = self.pending.front().map_or(self.cursor, |(index, _)| *index).checked_sub(1);
        if !rows.is_empty() || self.filtered > 0 {
            let (filtered, shown) = (std::mem::take(&mut self.filtered), rows.len() as u64);
            self.sent[0] += shown;
            self.sent[1] += filtered;
            match self.format {
                Format::Ndjson => rows.iter().for_each(|row| {
                    out.push_str(row);
                    out.push('\n');
                }),
                Format::Sse => {
                    let data = format!(
                        "{{\"events\":[{}],\"examined\":{},\"filtered\":{filtered}}}",
                        rows.join(","),
                        shown + filtered
                    );
                    sse(out, "events", last, &data);
                }
            }
        }
        let limit = self.pending.front().map_or(u64::MAX, |(index, _)| *index);
        while self.notices.front().is_some_and(|(before, _, _)| *before <= limit) {
            let Some((_, name, data)) = self.notices.pop_front() else { break };
            self.write(out, name, last, data);
        }
    }

    fn write_beat(&mut self, out: &mut String) {
        let now = self.state.clock.monotonic_ns();
        if now < self.beat_due {
            return;
        }
        self.beat_due = now + BEAT_S * 1_000_000_000;
        let wall = self.state.clock.now_ns();
        let mut beat = json!({ "head": head(&self.state), "size": self.state.ledger.size(), "silent": super::tail_facts::silent(&self.state).len() });
        if let Some(last) = self.state.hub.last_event_ns() {
            beat["last_event_s"] = json!(wall.saturating_sub(last) / 1_000_000_000);
        }
        let last = self.pending.front().map_or(self.cursor, |(index, _)| *index).checked_sub(1);
        self.write(out, "beat", last, beat);
    }

    fn bye(&mut self, reason: &str) -> Bytes {
        self.ended = true;
        let mut out = String::new();
        let last = self.pending.front().map_or(self.cursor, |(index, _)| *index).checked_sub(1);
        let [shown, filtered, skipped] = self.sent;
        match self.format {
            Format::Sse => self.write(&mut out, "bye", last, json!({ "reason": reason })),
            Format::Ndjson => {
                let end = json!({ "end": true, "reason": reason, "rows": shown, "filtered": filtered, "skipped": skipped, "after": last });
                out = format!("{end}\n");
            }
        }
        Bytes::from(out)
    }

    fn write(&self, out: &mut String, name: &'static str, last: Option<u64>, data: Value) {
        match self.format {
            Format::Sse => sse(out, name, last, &data.to_string()),
            Format::Ndjson => out.push_str(&format!("{}\n", json!({ name: data, "after": last }))),
        }
    }
}

/// One server-sent message. JSON holds no line break, so one data line is enough.
fn sse(out: &mut String, name: &str, last: Option<u64>, data: &str) {
    out.push_str("event: ");
    out.push_str(name);
    if let Some(last) = last {
        out.push_str(&format!("\nid: {last}"));
    }
    out.push_str("\ndata: ");
    out.push_str(data);
    out.push_str("\n\n");
}

fn gap(index: u64, body: &[u8]) -> Value {
    match Gap::decode(body) {
        Ok(gap) => {
            json!({ "index": index, "source": gap.source_ref, "reason": gap.reason.name(), "count": gap.count })
        }
        Err(_) => json!({ "index": index, "reason": "unreadable" }),
    }
}
