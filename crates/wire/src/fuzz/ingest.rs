//! Fuzz body of the messages of `ingest.sock`.

use crate::ingest::{self, Framer, Message, TooLong, kind};

/// Reads `data` (after its first byte, which chooses the split) as messages, whole and split: the same ones, the
/// same fault, and each can be written again as it was.
pub fn ingest(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let whole = read(rest, rest.len().max(1));
    assert_eq!(whole, read(rest, usize::from(*first % 17) + 1), "a split changes nothing");
    let mut again = Vec::new();
    for message in &whole.0 {
        assert!(message.payload.len() <= ingest::PAYLOAD_MAX);
        again.extend(ingest::message(message.kind, &message.payload).unwrap_or_default());
        if message.kind == kind::HELLO {
            let _ = std::str::from_utf8(&message.payload).is_ok_and(ingest::is_name);
        }
        if let Some(frames) = ingest::frames(&message.payload) {
            assert!(frames.len() <= ingest::EVENTS_MAX);
            let frames: Vec<Vec<u8>> = frames.into_iter().map(<[u8]>::to_vec).collect();
            assert_eq!(ingest::pack(&frames), message.payload, "read and written, it is the same");
        }
    }
    assert!(rest.starts_with(&again));
    let _ = ingest::frames(rest);
}

/// The messages, and how the stream ended: between two of them, within one, or refused.
pub fn read(bytes: &[u8], step: usize) -> (Vec<Message>, Result<bool, TooLong>) {
    let (mut framer, mut out) = (Framer::default(), Vec::new());
    for part in bytes.chunks(step.max(1)) {
        let mut rest = part;
        while !rest.is_empty() {
            match framer.push(rest) {
                Ok((n, message)) => {
                    assert!((1..=rest.len()).contains(&n), "each call takes something");
                    rest = rest.get(n..).unwrap_or_default();
                    out.extend(message);
                }
                Err(fault) => return (out, Err(fault)),
            }
        }
        assert!(framer.wants() > 0, "it always knows what it waits for");
    }
    (out, Ok(framer.is_between()))
}
