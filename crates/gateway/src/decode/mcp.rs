//! MCP over HTTP: the bodies of an exchange read as JSON-RPC messages, each of which gives a record.
//!
//! Not the transport: the exchange ([`super::exchange`]) reads heads and counts and digests bodies as for any
//! request; this reads their content beside it, in flat memory. Invariants: a request is one record, made when
//! its exchange ends, whether it was answered or not; a message that the server sends on its own is one record,
//! made when it is there; an exchange without any message stays an HTTP record. An answer that comes on another
//! exchange (the HTTP with SSE transport of 2024-11-05, or a resumed stream) is a record of its own: the
//! request is then an intent and the answer its outcome, joined by session and message id.

pub(crate) mod record;
mod sessions;

pub(crate) use sessions::Sessions;

use super::Intent;
use super::bodies::{Bodies, Here};
use super::event::intent_event;
use super::talk;
use crate::recorder::BodyDigest;
use crate::ring::Way;
use countersign_event::{Class, Decision, Event, Rec};
use countersign_wire::http1::fields::Fields;
use countersign_wire::http1::target;
use countersign_wire::jsonrpc::{Fault, Kind, Message, Reader};
use countersign_wire::mcp::{self, Headers};
use countersign_wire::sse;
use record::{Answer, Facts, Said};
use sessions::Key;
use std::sync::{Arc, OnceLock};

/// Longest value of a routing header that is compared; a longer one is taken for another value.
const HEADER_MAX: usize = 8 << 10;

/// One message of the request's body.
pub(super) struct Sent {
    pub(super) message: Message,
    pub(super) digest: Option<[u8; 32]>,
    pub(super) answer: Option<Answer>,
    /// On strict routes: its intent, once that is handed over.
    intent: Option<Arc<OnceLock<[u8; 16]>>>,
}

/// What a response's body is.
enum Down {
    Unread,
    Json(Box<Reader>),
    Events(Box<Events>),
}

/// A stream of events, each of which may hold a message.
#[derive(Default)]
struct Events {
    stream: sse::Reader,
    reader: Reader,
    /// First bytes of the current event's data: an `endpoint` event has a URI and no message.
    first: Vec<u8>,
    found: Vec<Found>,
}

/// What an event held.
enum Found {
    Messages(Vec<Message>, Option<Fault>),
    Endpoint(Vec<u8>),
}

/// Reads the bodies of one exchange of an MCP route.
pub(super) struct Reading {
    /// The pump decided on the messages already; its verdict stands in the event.
    decided: bool,
    /// Values of the routing headers, as they were sent.
    revision: Option<Vec<u8>>,
    method: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    repeated: bool,
    facts: Facts,
    key: Option<Key>,
    up: Option<Reader>,
    digests: Vec<Option<BodyDigest>>,
    sent: Vec<Sent>,
    up_fault: Option<Fault>,
    down: Down,
    down_fault: Option<Fault>,
}

impl Reading {
    /// For a request with this head.
    pub(super) fn new(
        context: &super::Context,
        fields: Fields<'_>,
        method: &str,
        sent_target: &[u8],
        decided: bool,
    ) -> Reading {
        let mut reading = Reading {
            decided,
            revision: None,
            method: None,
            name: None,
            repeated: false,
            facts: Facts::default(),
            key: None,
            up: (method == "POST").then(Reader::default),
            digests: Vec::new(),
            sent: Vec::new(),
            up_fault: None,
            down: Down::Unread,
            down_fault: None,
        };
        let Headers { revision, method, name, repeated } = routing(fields);
        reading.facts.revision = revision.and_then(|r| std::str::from_utf8(r).ok()).and_then(mcp::revision);
        let keep = |v: Option<&[u8]>| v.map(|v| v.get(..HEADER_MAX).unwrap_or(v).to_vec());
        (reading.revision, reading.method, reading.name) = (keep(revision), keep(method), keep(name));
        reading.repeated = repeated;
        match fields.get("mcp-session-id") {
            Some(id) => reading.set_session(Some(context.mcp.key(&context.key, b"id", id)), context),
            None => {
                let target = target_of(sent_target);
                let key = context.mcp.key(&context.key, b"endpoint", &target);
                if context.mcp.knows(&key) {
                    reading.set_session(Some(key), context);
                }
            }
        }
        reading
    }

    fn set_session(&mut self, key: Option<Key>, context: &super::Context) {
        self.key = key;
        let Some(key) = key else { return };
        self.facts.session = sessions::shown(&key);
        context.mcp.recall(&key, &mut self.facts);
    }

    /// The request's body is complete: its requests may be answered anywhere from here on.
    fn sent_all(&mut self, here: &mut Here<'_>) {
        let Some(mut reader) = self.up.take() else { return };
        self.up_fault = reader.finish().err();
        let digests = std::mem::take(&mut self.digests);
        for (message, digest) in talk::with_digests(reader.take(), digests) {
            self.facts.learn_request(&message);
            if message.kind() == Kind::Request
                && let (Some(key), Some(id)) = (self.key, &message.id)
            {
                here.context.mcp.expect(&key, id, &message, digest);
            }
            self.sent.push(Sent { message, digest, answer: None, intent: None });
        }
    }

    /// A message of the server.
    fn received(&mut self, here: &mut Here<'_>, message: &Message) {
        if message.kind() == Kind::Response {
            let mine = |s: &&mut Sent| {
                s.answer.is_none() && s.message.kind() == Kind::Request && s.message.id == message.id
            };
            let answer = Answer::of(message, here.t);
            self.facts.learn_answer(message);
            if let Some(sent) = self.sent.iter_mut().find(mine) {
                sent.answer = Some(answer);
                return;
            }
            return self.answered_elsewhere(here, message, answer);
        }
        let said = Said { message, digest: None, answer: None };
        let mut event = record::build(here.event, &self.facts, &said);
        record::of_server(&mut event, here, message.kind() == Kind::Request);
        here.out.push(event);
    }

    /// An answer to a request of another exchange.
    fn answered_elsewhere(&mut self, here: &mut Here<'_>, message: &Message, answer: Answer) {
        let asked =
            self.key.zip(message.id.as_ref()).and_then(|(key, id)| here.context.mcp.answered(&key, id));
        let mut event = match &asked {
            Some((asked, digest)) => {
                let said = Said { message: asked, digest: *digest, answer: Some(&answer) };
                let mut event = record::build(here.event, &self.facts, &said);
                event.core.rec = Some(countersign_event::Rec::Outcome);
                record::outcome(&mut event, Some(&answer));
                event
            }
            None => {
                let said = Said { message, digest: None, answer: Some(&answer) };
                let mut event = record::build(here.event, &self.facts, &said);
                record::of_server(&mut event, here, false);
                event
            }
        };
        event.core.t_event = i64::try_from(here.context.wall(here.t)).ok();
        event.core.t_obs = here.context.wall(here.t);
        here.out.push(event);
    }

    fn found(&mut self, here: &mut Here<'_>, found: Vec<Found>) {
        for found in found {
            match found {
                Found::Endpoint(uri) => {
                    let target = target_of(&uri);
                    let key = here.context.mcp.key(&here.context.key, b"endpoint", &target);
                    here.context.mcp.open(&key);
                    self.set_session(Some(key), here.context);
                }
                Found::Messages(messages, fault) => {
                    messages.iter().for_each(|m| self.received(here, m));
                    self.down_fault = self.down_fault.or(fault);
                }
            }
        }
        if let Some(key) = &self.key {
            here.context.mcp.remember(key, &self.facts);
        }
    }

    fn headers(&self) -> Headers<'_> {
        Headers {
            revision: self.revision.as_deref(),
            method: self.method.as_deref(),
            name: self.name.as_deref(),
            repeated: self.repeated,
        }
    }

    /// The record of one message of the request's body; `event` = the exchange's, as it ended.
    fn sent_record(&self, here: &Here<'_>, event: &Event, sent: &Sent) -> Event {
        let said = Said { message: &sent.message, digest: sent.digest, answer: sent.answer.as_ref() };
        let mut made = record::build(event, &self.facts, &said);
        let batch = self.sent.len() > 1;
        if let Some(mismatch) = self.headers().mismatch(&sent.message, batch) {
            record::mismatch(&mut made, mismatch);
        }
        if let Some(req) = &mut made.body.req {
            req.messages = Some(self.sent.len() as u64);
        }
        if let Some(intent) = &sent.intent {
            made.core.rec = Some(Rec::Outcome);
            made.links.of = intent.get().copied();
        }
        made.core.decision = match (self.decided, sent.message.kind()) {
            (true, _) => event.core.decision.clone(),
            // An answer asks for nothing, so nothing is weighed.
            (false, Kind::Response) => Some(Decision::default().into()),
            (false, _) => Some(record::decide(&made, &sent.message, here.context).into()),
        };
        if sent.message.kind() == Kind::Request {
            if let Some(key) = &self.key
                && let Some(id) = &sent.message.id
                && sent.answer.is_some()
            {
                here.context.mcp.answered(key, id);
            }
            record::outcome(&mut made, sent.answer.as_ref());
            if let Some(answer) = &sent.answer {
                made.core.dur = Some(answer.t.saturating_sub(here.started));
            }
        }
        made
    }
}

impl Bodies for Reading {
    fn response(&mut self, here: &mut Here<'_>, fields: Fields<'_>, content_type: &str) {
        if self.key.is_none()
            && let Some(id) = fields.get("mcp-session-id")
        {
            let key = here.context.mcp.key(&here.context.key, b"id", id);
            here.context.mcp.open(&key);
            self.set_session(Some(key), here.context);
        }
        self.down = match content_type.to_ascii_lowercase().as_str() {
            "application/json" => Down::Json(Box::default()),
            "text/event-stream" => Down::Events(Box::default()),
            _ => Down::Unread,
        };
    }

    fn data(&mut self, here: &mut Here<'_>, way: Way, bytes: &[u8]) {
        if way == Way::Up {
            let (key, digests) = (&here.context.key, &mut self.digests);
            if let Some(reader) = &mut self.up {
                reader.feed(bytes, &mut |at, bytes| talk::digest(digests, at, bytes, key));
            }
            return;
        }
        let found = match &mut self.down {
            Down::Unread => return,
            Down::Json(reader) => {
                reader.feed(bytes, &mut |_, _| {});
                vec![Found::Messages(reader.take(), None)]
            }
            Down::Events(events) => events.feed(bytes),
        };
        self.found(here, found);
    }

    fn end(&mut self, here: &mut Here<'_>, way: Way) {
        if way == Way::Up {
            return self.sent_all(here);
        }
        if let Down::Json(reader) = &mut self.down {
            let fault = reader.finish().err();
            let messages = reader.take();
            self.found(here, vec![Found::Messages(messages, fault)]);
        }
    }

    fn replaces(&self) -> bool {
        true
    }

    fn intents(&mut self, here: &mut Here<'_>) -> Vec<Intent> {
        let mut out = Vec::new();
        for sent in &mut self.sent {
            let said = Said { message: &sent.message, digest: None, answer: None };
            let mut event = record::build(here.event, &self.facts, &said);
            if !self.decided && sent.message.kind() != Kind::Response {
                event.core.decision = Some(record::decide(&event, &sent.message, here.context).into());
            }
            let id = Arc::<OnceLock<_>>::default();
            sent.intent = Some(Arc::clone(&id));
            out.push(Intent { event: intent_event(&event), id });
        }
        out
    }

    fn decided(&mut self) {
        self.decided = true;
    }

    fn finish(mut self: Box<Self>, here: &mut Here<'_>, made: u64) {
        self.sent_all(here);
        let mut event = here.event.clone();
        if let Some(key) = &self.key {
            here.context.mcp.remember(key, &self.facts);
            if event.core.op == "DELETE" && event.core.outcome == Some(countersign_event::Outcome::Success) {
                here.context.mcp.forget(key);
            }
        }
        let fault = self.up_fault.filter(|f| *f != Fault::Empty).or(self.down_fault);
        if self.sent.is_empty() && made > 0 {
            return;
        }
        if self.sent.is_empty() {
            event.links.sess.clone_from(&self.facts.session);
            if let Some(fault) = fault {
                record::note(&mut event, &format!("mcp: {}", fault.name()));
            }
            if event.core.op == "DELETE" && self.key.is_some() {
                event.core.class = Some(Class::Delete);
            }
            here.out.push(event);
            return;
        }
        for sent in &self.sent {
            let made = self.sent_record(here, &event, sent);
            here.out.push(made);
        }
        if let (Some(fault), Some(last)) = (fault, here.out.last_mut()) {
            record::note(last, &format!("mcp: {}", fault.name()));
        }
    }
}

impl Events {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Found> {
        let mut stream = std::mem::take(&mut self.stream);
        stream.feed(bytes, self);
        self.stream = stream;
        std::mem::take(&mut self.found)
    }
}

impl sse::Events for Events {
    fn data(&mut self, bytes: &[u8]) {
        let room = HEADER_MAX.saturating_sub(self.first.len());
        // Of a message the scanner keeps what matters; only a text that begins otherwise may be a URI.
        if self.first.is_empty() && bytes.first() == Some(&b'{') || self.first.first() == Some(&b'{') {
            self.first.truncate(0);
            self.first.push(b'{');
        } else {
            self.first.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
        self.reader.feed(bytes, &mut |_, _| {});
    }

    fn event(&mut self, event: &sse::Event<'_>) {
        let mut reader = std::mem::take(&mut self.reader);
        let first = std::mem::take(&mut self.first);
        let fault = reader.finish().err();
        let messages = reader.take();
        match event.name {
            b"endpoint" => self.found.push(Found::Endpoint(first)),
            b"" | b"message" => {
                // An empty event primes a stream for resumption (2025-11-25).
                let fault = fault.filter(|f| *f != Fault::Empty);
                self.found.push(Found::Messages(messages, fault));
            }
            _ => {}
        }
    }
}

/// Whether what a request asks for stands in its body, which is still to come.
pub(crate) fn in_body(head: &[u8], end: bool) -> bool {
    head.starts_with(b"POST ") && !end
}

/// As [`in_body`], of a request of HTTP/2.
pub(crate) fn in_body_h2(fields: Fields<'_>, end: bool) -> bool {
    !end && fields.get(":method") == Some(b"POST")
}

/// The headers that say what the body holds.
pub(crate) fn routing(fields: Fields<'_>) -> Headers<'_> {
    let mut headers = Headers::default();
    for (field, value) in fields.iter() {
        let place = match field {
            f if f.eq_ignore_ascii_case("mcp-protocol-version") => &mut headers.revision,
            f if f.eq_ignore_ascii_case("mcp-method") => &mut headers.method,
            f if f.eq_ignore_ascii_case("mcp-name") => &mut headers.name,
            _ => continue,
        };
        let before = place.replace(value);
        headers.repeated |= before.is_some();
    }
    headers
}

/// Path and query of a target or URI.
fn target_of(uri: &[u8]) -> Vec<u8> {
    let (path, query) = target::path_and_query(uri);
    [path, &b"?"[..], query.unwrap_or_default()].concat()
}
