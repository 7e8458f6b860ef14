//! Fuzz bodies of the message readers: JSON-RPC, server-sent events, WebSocket.

use crate::jsonrpc::{self, Message};
use crate::{mcp, sse, websocket};

/// Reads `data` (after its first byte, which chooses the split) as JSON-RPC, whole and split: the same
/// messages, the same fault, the same bytes of arguments, everything within its bound.
pub fn jsonrpc(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let whole = read_json(rest, rest.len().max(1));
    assert_eq!(whole, read_json(rest, usize::from(*first % 17) + 1), "a split changes nothing");
    let headers = mcp::Headers {
        revision: Some(mcp::STATELESS.as_bytes()),
        method: Some(b"tools/call"),
        name: Some(rest),
        repeated: false,
    };
    for message in &whole.0 {
        assert!(message.argument_keys.len() <= jsonrpc::ARGUMENT_KEYS_MAX);
        assert!(message.name.as_ref().is_none_or(|n| n.len() <= jsonrpc::NAME_MAX));
        assert!(message.uri.as_ref().is_none_or(|n| n.len() <= jsonrpc::URI_MAX));
        let _ = (headers.mismatch(message, false), mcp::target(message), message.flags.names().count());
        let body = mcp::refusal(message.id.as_ref(), mcp::DENIED, "no");
        let (again, end) = jsonrpc::read(body.as_bytes());
        assert_eq!(end, Ok(()), "a refusal is a message");
        if message.id.is_some() && !message.flags.has(jsonrpc::Flags::DUPLICATE) {
            assert_eq!(again.first().and_then(|m| m.id.as_ref()), message.id.as_ref());
        }
    }
    let _ = mcp::name_value(rest);
}

type Read = (Vec<Message>, Result<(), jsonrpc::Fault>, Vec<(usize, u8)>);

fn read_json(bytes: &[u8], step: usize) -> Read {
    let mut reader = jsonrpc::Reader::default();
    let mut arguments = Vec::new();
    for part in bytes.chunks(step) {
        reader.feed(part, &mut |at, bytes| arguments.extend(bytes.iter().map(|b| (at, *b))));
    }
    let end = reader.finish();
    (reader.take(), end, arguments)
}

/// Reads `data` as a stream of server-sent events, whole and split.
pub fn sse(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let whole = read_events(rest, rest.len().max(1));
    assert_eq!(whole, read_events(rest, usize::from(*first % 17) + 1), "a split changes nothing");
}

#[derive(Default, Debug, PartialEq)]
struct Seen(Vec<(Vec<u8>, Vec<u8>, u64)>, Vec<u8>);

impl sse::Events for Seen {
    fn data(&mut self, bytes: &[u8]) {
        self.1.extend_from_slice(bytes);
    }
    fn event(&mut self, event: &sse::Event<'_>) {
        assert!(event.name.len() <= sse::NAME_MAX && event.id.len() <= sse::ID_MAX);
        self.0.push((event.name.to_vec(), event.id.to_vec(), event.size));
    }
}

fn read_events(bytes: &[u8], step: usize) -> Seen {
    let mut seen = Seen::default();
    let mut reader = sse::Reader::default();
    bytes.chunks(step).for_each(|part| reader.feed(part, &mut seen));
    assert_eq!(reader.events(), seen.0.len() as u64);
    seen
}

/// Reads `data` as WebSocket frames: the first byte chooses the split, the second the sender and whether
/// payloads may be compressed.
pub fn websocket(data: &[u8]) {
    let [split, choice, rest @ ..] = data else { return };
    let sender = if choice & 1 == 0 { websocket::Sender::Client } else { websocket::Sender::Server };
    let read = |step: usize| {
        let mut seen = Frames::default();
        let mut reader = websocket::Reader::new(sender, choice & 2 != 0);
        rest.chunks(step).for_each(|part| reader.feed(part, &mut seen));
        (seen, reader.fault())
    };
    assert_eq!(read(rest.len().max(1)), read(usize::from(*split % 17) + 1), "a split changes nothing");
}

#[derive(Default, Debug, PartialEq)]
struct Frames(Vec<String>, Vec<u8>);

impl websocket::Messages for Frames {
    fn payload(&mut self, _: websocket::Content, _: bool, bytes: &[u8]) {
        self.1.extend_from_slice(bytes);
    }
    fn message(&mut self, content: websocket::Content, opaque: bool, size: u64) {
        self.0.push(format!("{content:?} {opaque} {size}"));
    }
    fn control(&mut self, control: websocket::Control) {
        self.0.push(format!("{control:?}"));
    }
}
