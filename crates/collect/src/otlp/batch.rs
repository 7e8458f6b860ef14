//! The records of one request, as events: what the receiver hands to the ledger, and what the bench measures.
//!
//! No I/O and no clock. A log record is an event. A span is in the event of its call where both halves came in the one
//! request; else a record of rec progress holds its bytes, and the span itself waits in [`Batch::waiting`] until that
//! record is durable.

use super::map::{SPAN_FORMAT, observe_log, observe_span, source_id};
use crate::spans::{SpanRecord, Spans, WINDOW};
use crate::{Draft, Input, Keeper};
use countersign_event::{Event, Rec};
use std::collections::HashMap;

/// Behind the source id of a half: the event of the call has the span's own.
pub(crate) const HALF: &str = "#half";
/// Why a waiting half is partial.
const WHY: &str = "one half of a call; the event of the call follows";

/// What became of the spans of one request.
#[derive(Debug)]
pub struct Batch {
    /// To be made durable now.
    pub events: Vec<Event>,
    /// Go on waiting for their other halves, once the events are durable.
    pub waiting: Spans,
    /// Were known before.
    pub repeated: u64,
}

/// The events of log records, each as [`super::split()`] gave it.
pub fn logs(records: &[Vec<u8>], input: &Input, keeper: &Keeper, now: u64) -> Vec<Event> {
    records.iter().map(|record| observe_log(record, input, keeper, now)).collect()
}

/// The events of spans, each as [`super::split()`] gave it, for the input whose events have `agent`. `known` says
/// which are durable already.
pub fn spans(
    records: &[Vec<u8>],
    known: impl Fn(&SpanRecord) -> bool,
    agent: &str,
    input: &Input,
    keeper: &Keeper,
    now: u64,
) -> Batch {
    let mut waiting = Spans::new(agent, WINDOW);
    let (mut events, mut by_id, mut repeated) = (Vec::new(), HashMap::new(), 0);
    for record in records {
        match observe_span(record, input, keeper, now) {
            Ok(span) if known(&span) => repeated += 1,
            Ok(span) => {
                if let Some(id) = span.facts.id {
                    by_id.entry(id).or_insert(record);
                }
                waiting.offer(span, now, &mut events);
            }
            Err(raw) => events.push(*raw),
        }
    }
    for span in waiting.waiting() {
        let Some((id, record)) = span.facts.id.and_then(|id| Some((id, by_id.get(&id)?))) else { continue };
        let mut draft = Draft::new();
        draft.event.core.rec = Some(Rec::Progress);
        (draft.event.core.t_event, draft.event.core.t_basis) =
            (span.event.core.t_event, span.event.core.t_basis);
        draft.event.links.clone_from(&span.event.links);
        draft.source_id = half_id(&source_id(&id.0, &id.1));
        draft.partial(WHY);
        events.push(crate::seal(draft, SPAN_FORMAT, record, input, keeper, now));
    }
    Batch { events, waiting, repeated }
}

/// The id of the record that holds a waiting span's bytes.
pub(crate) fn half_id(source_id: &str) -> String {
    format!("{source_id}{HALF}")
}
