//! Fuzz bodies: arbitrary bytes in, a panic only where an invariant is broken. `fuzz/` wraps them for
//! `cargo fuzz`; stable tests run them from seeds.

use crate::{Event, Frame, GROUPS, cbor, codec, json, map};

/// A frame that decodes is the one encoding of its event.
///
/// # Panics
/// When it is not: that is a bug.
pub fn event_decode(bytes: &[u8]) {
    let Ok(frame) = Frame::from_bytes(bytes) else { return };
    assert_eq!(frame.to_bytes(), bytes, "a frame has one encoding");
    assert_eq!(frame.encoded_len(), bytes.len(), "the length is known beforehand");
    if let Ok(event) = Event::decode(&frame) {
        assert_eq!(event.encode().as_ref(), Ok(&frame), "an event has one encoding");
    }
}

/// Any bytes as one group: the first byte chooses which.
///
/// # Panics
/// When what was accepted is not written back as it was: that is a bug.
pub fn event_group(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let g = usize::from(*first) % GROUPS;
    let mut event = Event::default();
    if codec::decode_group(g, bytes, &mut event).is_ok() {
        let again = codec::encode_group(&event, g);
        assert_eq!(again.as_deref(), Ok(bytes), "a group has one encoding");
    }
}

/// Any bytes as a value.
///
/// # Panics
/// When what was accepted is not written back as it was: that is a bug.
pub fn event_cbor(bytes: &[u8]) {
    if let Ok(value) = cbor::decode(bytes) {
        assert_eq!(cbor::encode(&value).as_deref(), Ok(bytes), "a value has one encoding");
    }
}

/// Any text as the JSON of an event: what is read and can be encoded comes back the same.
///
/// # Panics
/// When it does not: that is a bug.
pub fn event_json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(event) = json::from_json(text) else { return };
    if let Ok(frame) = event.encode() {
        let again = json::from_json(&json::to_json(&event)).map(|event| event.encode());
        assert_eq!(again, Ok(Ok(frame)), "JSON loses nothing");
    }
}

/// Any text as a record of OCSF: what is read as our own export can be exported again, and comes back the same.
///
/// # Panics
/// When it does not: that is a bug.
pub fn map_ocsf(bytes: &[u8]) {
    let Ok(import) = map::from_ocsf(bytes) else { return };
    let Ok(frame) = import.event.encode() else {
        assert!(!import.ours, "an export that was read is an event");
        return;
    };
    let again = map::from_ocsf(map::to_ocsf(&import.event).as_bytes());
    assert_eq!(again.map(|again| again.event.encode()), Ok(Ok(frame.clone())), "OCSF loses nothing");
    let again = map::from_otel(&map::to_otel(&import.event));
    assert_eq!(again.map(|again| again.event.encode()), Ok(Ok(frame)), "OTel loses nothing");
}
