//! What a WebSocket carries after HTTP switched to it: one record of the session, progress while it goes on,
//! and, where the subprotocol is MCP, one record for each of its messages.
//!
//! Nothing is refused here: bytes have passed already. A breach of the protocol is named in the record.

use super::mcp::record::note;
use super::progress::{Progress, mark};
use super::session::{At, Session};
use super::talk::{Ended, Moment, Talk};
use crate::ring::{Decided, Way, Why};
use countersign_event::cbor::Value;
use countersign_event::fields::detail::rpc;
use countersign_event::{Class, Event, Kind, Outcome, Payload, Rec, Who};
use countersign_wire::websocket::{Content, Control, Messages, Reader, Sender};

/// What both sides agreed on when HTTP switched.
#[derive(Default)]
pub(super) struct Agreed {
    /// What the record of the request said.
    pub(super) event: Event,
    /// Payloads may be compressed.
    pub(super) deflate: bool,
    /// The messages are those of MCP.
    pub(super) mcp: bool,
    /// Monotonic ns.
    pub(super) t: u64,
}

/// One direction.
struct Side {
    reader: Reader,
    bytes: u64,
    messages: u64,
    close: Option<Option<u16>>,
}

/// See the module's documentation.
pub(super) struct WebSocket {
    agreed: Agreed,
    up: Side,
    down: Side,
    talk: Option<Talk>,
    /// Text messages that were not JSON-RPC.
    not_json: u64,
    progress: Progress,
}

impl Side {
    fn new(sender: Sender, deflate: bool) -> Side {
        let reader = Reader::new(sender, deflate);
        Side { reader, bytes: 0, messages: 0, close: None }
    }

    fn payload(&self) -> Option<Payload> {
        Some(Payload { size: Some(self.bytes), messages: Some(self.messages), ..Payload::default() })
    }
}

/// Takes what a reader finds in one tap.
struct Taken<'a> {
    messages: &'a mut u64,
    close: &'a mut Option<Option<u16>>,
    /// The message being read, and those that ended.
    talk: Option<(&'a mut Talk, Way, &'a crate::recorder::BodyKey)>,
    ended: Vec<Ended>,
}

impl Messages for Taken<'_> {
    fn payload(&mut self, content: Content, opaque: bool, bytes: &[u8]) {
        if let Some((talk, way, key)) = &mut self.talk
            && content == Content::Text
            && !opaque
        {
            talk.feed(*way, bytes, key);
        }
    }

    fn message(&mut self, content: Content, opaque: bool, _: u64) {
        *self.messages += 1;
        if let Some((talk, way, _)) = &mut self.talk
            && content == Content::Text
            && !opaque
        {
            self.ended.push(talk.ended(*way));
        }
    }

    fn control(&mut self, control: Control) {
        if let Control::Close(code) = control {
            self.close.get_or_insert(code);
        }
    }
}

impl WebSocket {
    pub(super) fn new(agreed: Agreed) -> WebSocket {
        WebSocket {
            up: Side::new(Sender::Client, agreed.deflate),
            down: Side::new(Sender::Server, agreed.deflate),
            talk: agreed.mcp.then(Talk::default),
            not_json: 0,
            progress: Progress::new(agreed.t),
            agreed,
        }
    }

    fn session_event(&self) -> Event {
        let mut event = self.agreed.event.clone();
        event.core.kind = Some(Kind::Rpc);
        event.core.proto = "websocket".to_owned();
        event.core.op = "session".to_owned();
        event.core.class = Some(Class::Connect);
        event.core.status = None;
        event.core.lat = None;
        event.content.detail.clear();
        event.content.detail.insert(rpc::SENT, Value::Uint(self.up.messages));
        event.content.detail.insert(rpc::RECEIVED, Value::Uint(self.down.messages));
        event.body.req = self.up.payload();
        event.body.rsp = self.down.payload();
        event
    }
}

impl Session for WebSocket {
    fn bytes(&mut self, at: &mut At<'_>, way: Way, bytes: &[u8], _: Option<Box<Decided>>) {
        let side = if way == Way::Up { &mut self.up } else { &mut self.down };
        side.bytes += bytes.len() as u64;
        let mut taken = Taken {
            messages: &mut side.messages,
            close: &mut side.close,
            talk: self.talk.as_mut().map(|talk| (talk, way, &at.context.key)),
            ended: Vec::new(),
        };
        side.reader.feed(bytes, &mut taken);
        let ended = taken.ended;
        if let Some(talk) = &mut self.talk {
            let (now, server) = (moment(at), server(at));
            for Ended { messages, fault } in ended {
                self.not_json += u64::from(fault.is_some());
                for message in messages {
                    talk.said(&self.agreed.event, way, message, now, &server, at.out);
                }
            }
        }
        if self.progress.due(at.t, self.up.bytes + self.down.bytes) {
            let mut event = self.session_event();
            mark(&mut event, at.context, self.agreed.t, at.t);
            at.out.push(event);
        }
    }

    fn close(&mut self, at: &mut At<'_>, _: u64, _: u64, why: Why) {
        if let Some(talk) = &mut self.talk {
            let (now, server) = (moment(at), server(at));
            talk.close(now, &server, at.out);
        }
        let mut event = self.session_event();
        event.core.rec = Some(Rec::SessionClose);
        event.core.t_obs = at.context.wall(at.t);
        event.core.dur = Some(at.t.saturating_sub(self.agreed.t));
        let code = self.up.close.or(self.down.close);
        event.core.outcome = match code {
            Some(Some(1000 | 1001) | None) => Some(Outcome::Success),
            Some(Some(1002 | 1003 | 1007..=1010)) => Some(Outcome::CallerError),
            Some(Some(1011..=1014)) => Some(Outcome::ServerError),
            Some(Some(_)) => Some(Outcome::Success),
            None => None,
        };
        if let Some(Some(code)) = code {
            event.content.detail.insert(rpc::RESET, Value::Uint(u64::from(code)));
        }
        let mut blamed = false;
        for (name, side) in [("client", &self.up), ("server", &self.down)] {
            if let Some(fault) = side.reader.fault() {
                note(&mut event, &format!("{name}: {}", fault.name()));
                // The first that broke a rule made the rest of it meaningless.
                if !blamed {
                    let client = name == "client";
                    event.core.outcome =
                        Some(if client { Outcome::CallerError } else { Outcome::ServerError });
                }
                blamed = true;
            }
        }
        if self.not_json > 0 {
            note(&mut event, &format!("messages that are not JSON-RPC: {}", self.not_json));
        }
        if code.is_none() {
            note(&mut event, "ended without a close frame");
        }
        if let Why::Cut(why) = why {
            note(&mut event, why);
        }
        at.out.push(event);
    }
}

fn moment(at: &At<'_>) -> Moment {
    Moment { t: at.t, wall: at.context.wall(at.t) }
}

/// The server as an actor: known by its address only.
fn server(at: &At<'_>) -> Who {
    let address = at.conn.upstream.map(|(address, _)| at.context.identities.address(address.ip()));
    Who { who: address, ..Who::default() }
}
