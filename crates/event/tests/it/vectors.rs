//! `tests/vectors/events.ndjson`: events with all their hashes, bytes to accept and bytes to reject.

use crate::golden::{TIME, hex, salts, unhex};
use countersign_event::json::from_json;
use countersign_event::*;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

const VECTORS: &str = include_str!("../vectors/events.ndjson");

fn vectors() -> Vec<Json> {
    VECTORS.lines().map(|line| serde_json::from_str(line).expect("a vector is JSON")).collect()
}

fn text<'a>(vector: &'a Json, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name} in {vector}"))
}

#[test]
fn events_of_the_vectors_have_the_bytes_and_hashes_written_there() {
    let mut count = 0;
    for vector in vectors().iter().filter(|vector| vector.get("event").is_some()) {
        let name = text(vector, "name");
        // the line as it stands: serde_json would turn large numbers into floats
        let line = VECTORS.lines().nth(count).unwrap();
        let start = line.find("\"event\":").unwrap() + 8;
        let end = line.rfind(",\"groups\":").unwrap();
        let event = from_json(&line[start..end]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let frame = event.encode().unwrap_or_else(|error| panic!("{name}: {error}"));
        let groups: Vec<String> = frame.groups.iter().map(hex).collect();
        assert_eq!(serde_json::json!(groups), vector["groups"], "{name}");
        let commitment = commit::event_commitment(&salts(), &frame.groups.each());
        assert_eq!(hex(&commitment), text(vector, "c"), "{name}");
        let entry = Entry { kind: 1, source_ref: 1, source_seq: event.core.seq, time_ns: TIME, commitment };
        assert_eq!(hex(&entry.leaf()), text(vector, "leaf"), "{name}");
        assert_eq!(hex(&Sha256::digest(frame.to_bytes())), text(vector, "frame"), "{name}");
        assert_eq!(Event::decode(&frame).unwrap().encode().unwrap(), frame, "{name}");
        count += 1;
    }
    assert!(count >= 35, "{count} events");
}

#[test]
fn bytes_of_the_vectors_are_accepted_or_rejected_as_written_there() {
    let mut count = 0;
    for vector in vectors().iter().filter(|vector| vector.get("expect").is_some()) {
        let accepted = if let Some(g) = vector.get("group") {
            let g = g.as_u64().unwrap() as usize;
            codec::decode_group(g, &unhex(text(vector, "hex")), &mut Event::default())
                .map_err(|error| error.to_string())
        } else if vector.get("frame").is_some() {
            let frame = Frame::from_bytes(&unhex(text(vector, "frame")));
            frame.and_then(|frame| Event::decode(&frame)).map(drop).map_err(|error| error.to_string())
        } else {
            cbor::decode(&unhex(text(vector, "cbor"))).map(drop).map_err(|error| error.to_string())
        };
        let given = if accepted.is_ok() { "accept" } else { "reject" };
        assert_eq!(given, text(vector, "expect"), "{}: {accepted:?}", text(vector, "name"));
        count += 1;
    }
    assert!(count >= 100, "{count} byte strings");
}

#[test]
fn the_vectors_as_seeds_of_the_fuzz_bodies_break_nothing() {
    for (line, vector) in VECTORS.lines().zip(vectors()) {
        fuzz::event_json(line.as_bytes());
        for name in ["hex", "frame", "cbor"] {
            let bytes = unhex(vector[name].as_str().unwrap_or_default());
            fuzz::event_cbor(&bytes);
            fuzz::event_decode(&bytes);
            for g in 0..GROUPS as u8 {
                fuzz::event_group(&[&[g], bytes.as_slice()].concat());
            }
        }
    }
}
