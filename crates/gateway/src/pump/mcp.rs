//! Verdicts and intents of MCP: what a request asks for stands in its body, so where calls can be denied the body
//! is held until it is complete and every message in it is permitted, and on strict routes until every message's
//! intent is durable.
//!
//! Not for routes that only record: there nothing is held. Invariants: no byte of a request reaches the server
//! before the verdict on all of its messages, and their intents; at most [`HELD_MAX`] bytes of a body are held for
//! that; the client is told in a JSON-RPC error with the id of its request. What readers could take for different
//! calls (broken JSON, duplicate keys, headers that disagree with the body) has no verdict that could hold, so it
//! is refused too. On a strict route without verdicts it is announced as what it is, an HTTP request, and so is a
//! body that is too large to hold.

use super::answers::rejected;
use super::flow::Flow;
use super::timers::UNRECORDED;
use crate::config::Protocol;
use crate::decode::content::{self, Content};
use crate::decode::identify::{self, Found};
use crate::decode::mcp::{in_body, record, routing};
use crate::ring::{Decided, Way, What};
use crate::stats::count;
use bytes::Bytes;
use countersign_event::{Class, Decision, Mode, Verdict, Who};
use countersign_policy::Request;
use countersign_wire::http1::fields::{self, Slots};
use countersign_wire::http1::{Piece, PieceKind};
use countersign_wire::jsonrpc::{Fault, HELD_MAX, Kind, Message, Reader};
use countersign_wire::mcp::{self, Mismatch};

/// JSON-RPC error codes (section 5.1) and that of revision 2026-07-28 for headers that disagree.
const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
const HEADER_MISMATCH: i32 = -32_020;
/// Rule by which a request does not pass that asks for another protocol.
const UPGRADE: &str = "mcp-upgrade-undecided";

/// A request whose body is being held.
pub(super) struct Held {
    head: Bytes,
    /// Asked for once: a proof counts once.
    who: Who,
    purpose: String,
    /// Holds the body against the digest that its sender signed.
    content: Option<Content>,
    /// Everything of it, in order.
    bytes: Vec<Bytes>,
    size: usize,
    reader: Reader,
}

/// Why a request must not pass.
struct Refusal {
    rule: &'static str,
    status: u16,
    code: i32,
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
            self.request_start = self.up.out.end();
            self.timers.body_begins(self.now, self.up.total);
            if self.is_gap() {
                // What waits for a verdict is recorded whatever the ring says: it is bounded, and may be denied.
                self.unrecorded.push_back(false);
            }
            self.will_record(1);
            let holds = self.worker.holds(&self.route).is_some();
            let (found, purpose) = if holds { self.found(&bytes) } else { Default::default() };
            let who = found.who.clone();
            let content = found.content.map(Content::new);
            let decided = holds.then(|| {
                let decision = Decision::default();
                let Found { who, failures, content, .. } = found;
                Box::new(Decided { who, decision, failures, content })
            });
            self.tap(What::Request { head: bytes.clone(), end: piece.end, decided });
            count(&self.worker.counters.requests);
            self.invite(&bytes);
            let (head, bytes) = (bytes.clone(), vec![bytes]);
            let (size, reader) = (0, Reader::default());
            self.call = Some(Box::new(Held { head, who, purpose, content, bytes, size, reader }));
            return true;
        }
        let Some(mut held) = self.call.take() else { return true };
        match piece.kind {
            PieceKind::Data => {
                held.size += bytes.len();
                held.reader.feed(&bytes, &mut |_, _| {});
                if let Some(content) = &mut held.content {
                    content.update(&bytes);
                }
                self.tap_message(Way::Up, What::Data { way: Way::Up, bytes: bytes.clone(), end: piece.end });
            }
            _ if piece.end => self.tap_message(Way::Up, What::End { way: Way::Up }),
            _ => {}
        }
        held.bytes.push(bytes);
        if held.size > HELD_MAX && self.worker.holds(&self.route).is_none() {
            self.let_through(held.bytes, &[]);
            return true;
        }
        if held.size > HELD_MAX {
            let refusal = Refusal { rule: "message-too-large-to-decide", status: 403, code: mcp::DENIED };
            let messages = held.reader.take();
            let decided = denied_by_us(held.who, refusal.rule);
            return self.turn_away(decided, &messages, &refusal);
        }
        if !piece.end {
            self.call = Some(held);
            return true;
        }
        self.judge(*held)
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

    /// The request is complete.
    fn judge(&mut self, mut held: Held) -> bool {
        let end = held.reader.finish();
        let messages = held.reader.take();
        if self.worker.holds(&self.route).is_some() {
            let (decided, refusal) = if held.content.as_ref().is_some_and(Content::differs) {
                let refusal = Refusal { rule: content::RULE, status: 400, code: INVALID_REQUEST };
                (denied_by_us(held.who, refusal.rule), Some(refusal))
            } else {
                self.verdict(&held.head, (held.who, &held.purpose), &messages, end)
            };
            if let Some(refusal) = refusal {
                return self.turn_away(decided, &messages, &refusal);
            }
            self.tap(What::Verdict(decided));
        }
        self.let_through(held.bytes, &messages);
        true
    }

    /// What was held goes on; on a strict route as soon as the intents are durable that it makes.
    fn let_through(&mut self, held: Vec<Bytes>, messages: &[Message]) {
        if let Some(intents) = &mut self.intents {
            let refusal = Refusal { rule: UNRECORDED, status: 503, code: mcp::UNRECORDED };
            intents.answer = Some(Box::new(answer(messages, &refusal)));
            self.tap(What::Announced);
            self.ask_intent(self.request_start);
        }
        held.into_iter().for_each(|bytes| self.up.out.push(bytes));
    }

    fn turn_away(&mut self, decided: Box<Decided>, messages: &[Message], refusal: &Refusal) -> bool {
        self.tap(What::Verdict(decided));
        self.answer = Some(answer(messages, refusal));
        self.refuse_current(refusal.rule, refusal.status);
        false
    }

    /// Who sent a request, and why.
    fn found(&self, head: &[u8]) -> (Found, String) {
        let mut slots = Slots::default();
        let caller = self.caller();
        let Some(request) = fields::request(head, &mut slots) else {
            let address = caller.identities.address(caller.peer);
            return (identify::who(address, caller.tls, Default::default()), String::new());
        };
        let found = caller.found(request.method, request.target, request.fields);
        let purpose = identify::purpose_of(caller.purpose, Some(request.fields), found.claims.as_ref());
        (found, purpose)
    }

    fn verdict(
        &self,
        head: &[u8],
        (who, purpose): (Who, &str),
        messages: &[Message],
        end: Result<(), Fault>,
    ) -> (Box<Decided>, Option<Refusal>) {
        if let Some(refusal) = unsound(head, messages, end) {
            return (denied_by_us(who, refusal.rule), Some(refusal));
        }
        let mut decision = Decision::default();
        for message in messages.iter().filter(|m| m.kind() != Kind::Response) {
            decision = self.ask(&who, purpose, message);
            if countersign_policy::refuses(&decision) {
                let refusal = Refusal { rule: "policy", status: 403, code: mcp::DENIED };
                return (verdict_of(who, decision), Some(refusal));
            }
        }
        (verdict_of(who, decision), None)
    }

    fn ask(&self, who: &Who, purpose: &str, message: &Message) -> Decision {
        let Some(policy) = self.worker.holds(&self.route) else { return Decision::default() };
        let method = message.method.as_deref().unwrap_or_default();
        let (resource_type, resource) = record::resource(message);
        let ask = Request {
            protocol: "mcp",
            operation: method,
            resource: &resource,
            resource_type,
            class: mcp::method(method)
                .map(|m| identify::event_class(m.class))
                .filter(|c| *c != Class::Other(0)),
            ..Request::default()
        };
        self.caller().decision(who, purpose, ask, policy.as_ref())
    }
}

/// What makes a verdict impossible: two readers may see two different requests.
fn unsound(head: &[u8], messages: &[Message], end: Result<(), Fault>) -> Option<Refusal> {
    if let Err(fault) = end {
        let code = match fault {
            Fault::NotAMessage | Fault::Batch | Fault::Empty => INVALID_REQUEST,
            _ => PARSE_ERROR,
        };
        return Some(Refusal { rule: fault.name(), status: 400, code });
    }
    if messages.iter().any(|m| m.flags.ambiguous()) {
        return Some(Refusal { rule: "ambiguous-json", status: 400, code: INVALID_REQUEST });
    }
    let mut slots = Slots::default();
    let request = fields::request(head, &mut slots)?;
    if switches(request.fields) {
        return Some(Refusal { rule: UPGRADE, status: 403, code: mcp::DENIED });
    }
    let headers = routing(request.fields);
    let differs = messages.iter().find_map(|m| headers.mismatch(m, messages.len() > 1));
    differs.map(|m: Mismatch| Refusal { rule: m.name(), status: 400, code: HEADER_MISMATCH })
}

/// What a connection switches to (a WebSocket, HTTP/2, a tunnel) is read when it has passed, if at all: where
/// calls can be denied, nothing switches.
pub(super) fn without_upgrade(head: &[u8], decided: &mut Decided) {
    let mut slots = Slots::default();
    if fields::request(head, &mut slots).is_some_and(|r| r.method == "CONNECT" || switches(r.fields)) {
        let purpose = std::mem::take(&mut decided.decision.purpose);
        let own = denied_by_us(Who::default(), UPGRADE).decision;
        decided.decision = Decision { purpose, ..own };
    }
}

fn switches(fields: fields::Fields<'_>) -> bool {
    fields.get("upgrade").is_some()
}

/// A decision of the gateway itself.
fn denied_by_us(who: Who, rule: &str) -> Box<Decided> {
    let decision = Decision {
        verdict: Some(Verdict::Deny),
        mode: Some(Mode::Enforce),
        reason: rule.to_owned(),
        ..Decision::default()
    };
    verdict_of(who, decision)
}

/// Failures of identities were told with the head.
fn verdict_of(who: Who, decision: Decision) -> Box<Decided> {
    Box::new(Decided { who, decision, failures: Vec::new(), content: None })
}

/// The refusal as a response: one error for each request of a batch, else one with the request's id.
fn answer(messages: &[Message], refusal: &Refusal) -> Bytes {
    let why = format!("countersign gateway: {}", refusal.rule);
    let requests = messages.iter().filter(|m| m.kind() == Kind::Request);
    let mut errors: Vec<String> = requests.map(|m| mcp::refusal(m.id.as_ref(), refusal.code, &why)).collect();
    let body = match (errors.pop(), errors.is_empty()) {
        (None, _) => mcp::refusal(None, refusal.code, &why),
        (Some(only), true) => only,
        (Some(last), false) => format!("[{},{last}]", errors.join(",")),
    };
    rejected(refusal.status, "application/json", &body)
}
