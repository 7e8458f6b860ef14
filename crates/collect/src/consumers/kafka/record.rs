//! From Kafka's records to events: the value is the record, what Kafka says about it stands beside.

use super::batch::{Piece, Record};
use super::wire::Partition;
use crate::consumers::link;
use crate::draft::json_text;
use crate::joins::Joiner;
use crate::receivers::{Port, now};
use crate::seal::{add_unmapped, clipped};
use crate::{Input, Keeper};
use countersign_event::{Event, Unmapped};
use std::collections::BTreeMap;

/// Label of a record without a value: what its key named is gone.
const TOMBSTONE: &str = "kafka_tombstone";
/// Label of a batch that could not be read and is one record.
const UNREAD: &str = "kafka_batch_unread";

/// The events of pieces that came together; parts of one interaction among them are one event.
pub(super) fn events(pieces: &[(Partition, Piece)], port: &Port, input: &Input) -> Vec<Event> {
    let (mut joiner, mut placed) = (Joiner::default(), Vec::new());
    for (number, (_, piece)) in pieces.iter().enumerate() {
        let bytes = match piece {
            Piece::Record(record) => record.value.as_ref(),
            Piece::Unread(_, _, _, bytes) => Some(bytes),
        };
        let bytes = bytes.map(|bytes| &bytes[..]).unwrap_or_default();
        let at = (0, number as u64);
        placed.extend(joiner.observe_at(at, bytes, port.format, input, &port.keeper, now()));
    }
    placed.extend(joiner.drain_at(input, &port.keeper, now()));
    let beside = |((_, number), mut event): ((u64, u64), Event)| {
        if let Some((partition, piece)) = usize::try_from(number).ok().and_then(|number| pieces.get(number)) {
            place(&mut event, partition, piece, &port.keeper);
        }
        event
    };
    placed.into_iter().map(beside).collect()
}

fn place(event: &mut Event, partition: &Partition, piece: &Piece, keeper: &Keeper) {
    let Partition { topic, id } = partition;
    let (offset, time) = match piece {
        Piece::Record(record) => (record.offset, record.time),
        Piece::Unread(offset, ..) => (*offset, 0),
    };
    let capture = event.body.cap.get_or_insert_default();
    if capture.source_id.is_empty() {
        // The time is part of it: a topic that was deleted and made anew counts from 0 again.
        capture.source_id = clipped(format!("kafka:{topic}/{id}/{offset}@{time}"), 256);
    }
    capture.offset = u64::try_from(offset).ok();
    capture.path = clipped(format!("{topic}/{id}"), 1_024);
    match piece {
        Piece::Record(record) => beside(event, record, keeper),
        Piece::Unread(_, count, why, _) => {
            event.core.labels.push(UNREAD.to_owned());
            event.content.err = format!("not understood: a batch of {count} records as a whole: {why}");
        }
    }
}

/// A text, or bytes where it is none.
fn value(bytes: &[u8]) -> Unmapped {
    match std::str::from_utf8(bytes) {
        Ok(text) => Unmapped::Token(json_text(text)),
        Err(_) => Unmapped::Bytes(bytes.to_vec()),
    }
}

fn beside(event: &mut Event, record: &Record, keeper: &Keeper) {
    let mut fields: BTreeMap<String, Unmapped> = BTreeMap::new();
    fields.insert("/kafka/time".to_owned(), Unmapped::Token(record.time.to_string()));
    if let Some(key) = &record.key {
        fields.insert("/kafka/key".to_owned(), value(key));
    }
    for (name, bytes) in &record.headers {
        let name = format!("/kafka/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        // Of a header that is given more than once, each stays.
        let again = (2..).map(|nth| format!("{name}~{nth}")).find(|other| !fields.contains_key(other));
        let free = if fields.contains_key(&name) { again.unwrap_or_default() } else { name };
        fields.insert(free, value(bytes));
    }
    if record.value.is_none() {
        event.core.labels.push(TOMBSTONE.to_owned());
    }
    add_unmapped(event, fields.into_iter(), keeper);
    if let Some((_, header)) =
        record.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("traceparent"))
    {
        link(event, header);
    }
}
