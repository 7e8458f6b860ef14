//! Verdicts and intents of MCP: what a request asks for stands in its body, so where calls can be denied the body
//! is held until it is complete and every message in it is permitted, and on strict routes until every message's
//! intent is durable. This file holds requests of HTTP/1.1.
//!
//! Not for routes that only record: there nothing is held. Invariants: no byte of a request reaches the server
//! before the verdict on all of its messages, and their intents; at most [`countersign_wire::jsonrpc::HELD_MAX`]
//! bytes of a body are held for that; the client is told in a JSON-RPC error with the id of its request. What
//! readers could take for different calls (broken JSON, duplicate keys, headers that disagree with the body) has no
//! verdict that could hold, so it is refused too. On a strict route without verdicts it is announced as what it is,
//! an HTTP request, and so is a body that is too large to hold.

mod judge;

use super::answers::rejected;
use super::flow::Flow;
use super::timers::UNRECORDED;
use crate::config::Protocol;
use crate::decode::mcp::in_body;
use crate::ring::{Way, What};
use crate::stats::count;
use bytes::Bytes;
use countersign_wire::http1::fields::{self, Slots};
use countersign_wire::http1::{Piece, PieceKind};
use countersign_wire::jsonrpc::Message;
pub(super) use judge::{Call, Judged, Refusal, without_upgrade, words};

/// A request whose body is being held.
pub(super) struct Held {
    head: Bytes,
    /// Everything of it, in order.
    bytes: Vec<Bytes>,
    call: Call,
}

impl Flow {
    /// Whether the request with this head waits for a verdict on its body, or for intents that the body names.
    pub(super) fn must_hold(&self, head: &[u8], end: bool) -> bool {
        self.route.protocol == Protocol::Mcp
            && (self.intents.is_some() || self.worker.holds(&self.route).is_some())
            && in_body(head, end)
    }

    /// Takes a piece of a request that is held. `false` = it was refused.
    pub(super) fn hold(&mut self, piece: Piece, bytes: Bytes) -> bool {
        if piece.kind == PieceKind::Head {
            self.begin_to_hold(piece, bytes);
            return true;
        }
        let Some(mut held) = self.call.take() else { return true };
        match piece.kind {
            PieceKind::Data => {
                held.call.feed(&bytes);
                self.tap_message(Way::Up, What::Data { way: Way::Up, bytes: bytes.clone(), end: piece.end });
            }
            _ if piece.end => self.tap_message(Way::Up, What::End { way: Way::Up }),
            _ => {}
        }
        held.bytes.push(bytes);
        if !piece.end && !held.call.is_too_large() {
            self.call = Some(held);
            return true;
        }
        self.judge(*held)
    }

    fn begin_to_hold(&mut self, piece: Piece, bytes: Bytes) {
        self.request_start = self.up.out.end();
        self.timers.body_begins(self.now, self.up.total);
        if self.is_gap() {
            // What waits for a verdict is recorded whatever the ring says: it is bounded, and may be denied.
            self.unrecorded.push_back(false);
        }
        self.will_record(1);
        let holds = self.worker.holds(&self.route).is_some();
        let mut slots = Slots::default();
        let request = fields::request(&bytes, &mut slots);
        let head = request.map(|r| (r.method, r.target, r.fields));
        let (call, decided) = Call::begin(&self.caller(), head, holds);
        self.tap(What::Request { head: bytes.clone(), end: piece.end, decided });
        count(&self.worker.counters.requests);
        self.invite(&bytes);
        self.call = Some(Box::new(Held { head: bytes.clone(), bytes: vec![bytes], call }));
    }

    /// A client that waits for a word before it sends the body would wait for ever: the server sees nothing yet.
    fn invite(&mut self, head: &[u8]) {
        let mut slots = Slots::default();
        let expects = fields::request(head, &mut slots).and_then(|r| r.fields.get("expect"));
        let alone = self.framer.open() == 1 && !self.framer.in_response();
        if alone && expects.is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue")) {
            self.down.out.push(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
    }

    /// The request is complete, or too large. `false` = it was refused.
    fn judge(&mut self, held: Held) -> bool {
        let Held { head, bytes, call } = held;
        let mut slots = Slots::default();
        let fields = fields::request(&head, &mut slots).map(|r| r.fields);
        let policy = self.worker.holds(&self.route).map(AsRef::as_ref);
        let Judged { messages, decided, refusal } = call.judge(&self.caller(), policy, fields);
        if let Some(decided) = decided {
            self.tap(What::Verdict(decided));
        }
        if let Some(refusal) = refusal {
            self.answer = Some(answer(&messages, &refusal));
            self.refuse_current(refusal.rule, refusal.status);
            return false;
        }
        self.let_through(bytes, &messages);
        true
    }

    /// What was held goes on; on a strict route as soon as the intents are durable that it makes.
    fn let_through(&mut self, held: Vec<Bytes>, messages: &[Message]) {
        if let Some(intents) = &mut self.intents {
            let refusal = Refusal::unrecorded(UNRECORDED);
            intents.answer = Some(Box::new(answer(messages, &refusal)));
            self.tap(What::Announced);
            self.ask_intent(self.request_start);
        }
        held.into_iter().for_each(|bytes| self.up.out.push(bytes));
    }
}

/// The refusal as a response.
fn answer(messages: &[Message], refusal: &Refusal) -> Bytes {
    rejected(refusal.status, "application/json", &words(messages, refusal))
}
