//! HTTP/1.1 on a flow: asks the framer what the bytes are, lets through what is sound, taps it, and turns
//! refusals and failures into one last answer, in order behind those already owed.

use super::answers::problem;
use super::connect::Upstream;
use super::flow::{About, Flow, LastAnswer, Mode};
use super::mcp;
use crate::config::Protocol;
use crate::decode::content::{self, Content};
use crate::decode::identify;
use crate::ring::{Decided, Way, What};
use crate::stats::count;
use bytes::Bytes;
use countersign_wire::http1::fields::{self, Slots};
use countersign_wire::http1::{Eof, Framer, Piece, PieceKind, Rule};
use countersign_wire::stream::Farewell;
use std::collections::VecDeque;

/// Of a refused head, so much goes to the decoder.
const REFUSED_HEAD_MAX: usize = 4096;

/// Why judging stopped.
enum Stop {
    /// Everything is judged, or more bytes are needed.
    More,
    Blocked,
    Refused(Rule),
}

/// What judging has come to in one block.
struct Verdicts {
    queue: VecDeque<Box<Decided>>,
    /// A request is being held for a verdict on its body; and it is complete, so that nothing behind it is
    /// judged before.
    holding: bool,
    held: bool,
}

/// Lists the pieces at the front of `buf`.
fn judge(
    pieces: &mut Vec<Piece>,
    buf: &[u8],
    mut next: impl FnMut(&[u8]) -> Result<Piece, Rule>,
) -> (usize, Stop) {
    pieces.clear();
    let mut at = 0;
    while let Some(front) = buf.get(at..)
        && !front.is_empty()
    {
        match next(front) {
            Err(rule) => return (at, Stop::Refused(rule)),
            Ok(Piece { kind: PieceKind::More, .. }) => return (at, Stop::More),
            Ok(Piece { kind: PieceKind::Blocked, .. }) => return (at, Stop::Blocked),
            Ok(piece) => {
                at += piece.len;
                pieces.push(piece);
            }
        }
    }
    (at, Stop::More)
}

impl Flow {
    /// Bytes from the client (`new` may be empty: judge again what is held).
    pub(super) fn frame_requests(&mut self, new: &Bytes) {
        let mut pieces = std::mem::take(&mut self.pieces);
        let mut framer = std::mem::take(&mut self.framer);
        let mut verdicts = Verdicts { queue: VecDeque::new(), holding: self.call.is_some(), held: false };
        let next = |buf: &[u8]| self.judge_request(&mut framer, &mut verdicts, buf);
        let (passed, stop) = if self.up.held.is_empty() {
            let (n, stop) = judge(&mut pieces, new, next);
            self.up.held.extend_from_slice(new.get(n..).unwrap_or_default());
            (new.slice(..n), stop)
        } else {
            let mut held = std::mem::take(&mut self.up.held);
            held.extend_from_slice(new);
            let (n, stop) =
                judge(&mut pieces, &held, |buf| self.judge_request(&mut framer, &mut verdicts, buf));
            let passed = held.split_to(n).freeze();
            self.up.held = held;
            (passed, stop)
        };
        self.framer = framer;
        self.pass_requests(&pieces, passed, verdicts.queue);
        pieces.clear();
        self.pieces = pieces;
        match stop {
            Stop::More => self.blocked = false,
            Stop::Blocked => self.blocked = self.last_answer.is_none(),
            Stop::Refused(rule) => self.refuse(rule),
        }
        self.timers.head(self.up.held.is_empty() || self.blocked || self.framer.in_request(), self.now);
    }

    /// The framer's judgement, and the policy's where it must be known first. Behind a denied head, and behind
    /// a body that waits for its verdict, nothing is judged.
    fn judge_request(&self, framer: &mut Framer, verdicts: &mut Verdicts, buf: &[u8]) -> Result<Piece, Rule> {
        let denied = verdicts.queue.back().is_some_and(|v| countersign_policy::refuses(&v.decision));
        if denied || verdicts.held {
            return Ok(Piece { len: 0, kind: PieceKind::Blocked, end: false });
        }
        let piece = framer.request(buf)?;
        let head = buf.get(..piece.len).unwrap_or_default();
        verdicts.holding |= piece.kind == PieceKind::Head && self.must_hold(head, piece.end);
        verdicts.held |= verdicts.holding && piece.end;
        if piece.kind == PieceKind::Head && !verdicts.holding {
            verdicts.queue.extend(self.decide(head));
        }
        Ok(piece)
    }

    /// Taps the pieces and queues their bytes, up to a request that the policy denied.
    fn pass_requests(&mut self, pieces: &[Piece], passed: Bytes, mut verdicts: VecDeque<Box<Decided>>) {
        let (mut at, mut queued) = (0, 0);
        for piece in pieces {
            let bytes = passed.slice(at..at + piece.len);
            self.request_open = !piece.end;
            let begins = piece.kind == PieceKind::Head && self.must_hold(&bytes, piece.end);
            if begins || self.call.is_some() {
                self.up.out.push(passed.slice(queued..at));
                at += piece.len;
                queued = at;
                if !self.hold(*piece, bytes) {
                    return;
                }
                continue;
            }
            match piece.kind {
                PieceKind::Head => {
                    self.request_start = self.up.out.end() + (at - queued) as u64;
                    let decided = verdicts.pop_front();
                    let denied = decided.as_ref().is_some_and(|d| countersign_policy::refuses(&d.decision));
                    let signed = decided.as_ref().and_then(|d| d.content);
                    self.content = signed.map(|stated| Box::new(Content::new(stated)));
                    self.timers.body_begins(self.now, self.up.total);
                    let unrecorded = !denied && self.drops_next();
                    if self.is_gap() {
                        self.unrecorded.push_back(unrecorded);
                    }
                    if unrecorded {
                        self.dropped(1);
                    } else {
                        self.will_record(1);
                        self.tap(What::Request { head: bytes, end: piece.end, decided });
                    }
                    if !denied {
                        self.ask_intent(self.request_start);
                    }
                    if denied {
                        self.up.out.push(passed.slice(queued..at));
                        return self.refuse_current("policy", 403);
                    }
                    count(&self.worker.counters.requests);
                }
                PieceKind::Data => {
                    if let Some(content) = &mut self.content {
                        content.update(&bytes);
                    }
                    self.tap_message(Way::Up, What::Data { way: Way::Up, bytes, end: piece.end })
                }
                PieceKind::Framing if piece.end => self.tap_message(Way::Up, What::End { way: Way::Up }),
                _ => {}
            }
            if piece.end && self.content.take().is_some_and(|content| content.differs()) {
                // Its end has not passed, so the server never sees the request complete.
                self.up.out.push(passed.slice(queued..at));
                return self.refuse_current(content::RULE, 400);
            }
            at += piece.len;
        }
        self.up.out.push(passed.slice(queued..));
    }

    /// The decision, when it must be known before the request passes.
    fn decide(&self, head: &[u8]) -> Option<Box<Decided>> {
        let policy = self.worker.holds(&self.route)?;
        let mut decided = identify::decide(&self.caller(), head, policy.as_ref());
        let mut slots = Slots::default();
        if self.route.protocol == Protocol::Mcp
            && !countersign_policy::refuses(&decided.decision)
            && let Some(request) = fields::request(head, &mut slots)
        {
            mcp::without_upgrade(request.method, request.fields, &mut decided);
        }
        Some(Box::new(decided))
    }

    /// Who calls over this connection, for a verdict now.
    pub(super) fn caller(&self) -> identify::Caller<'_> {
        self.worker.caller(&self.route, self.secured.as_deref(), self.peer.ip())
    }

    /// The bytes at the front of `up.held` break `rule`.
    pub(super) fn refuse(&mut self, rule: Rule) {
        if self.request_open {
            return self.refuse_current(rule.name(), rule.status());
        }
        self.refuse_as(rule.name(), rule.status());
    }

    /// The bytes at the front of `up.held` are refused before they are a request.
    pub(super) fn refuse_as(&mut self, rule: &'static str, status: u16) {
        let seen = self.up.held.len().min(REFUSED_HEAD_MAX);
        let head = Bytes::copy_from_slice(self.up.held.get(..seen).unwrap_or_default());
        self.will_record(1);
        self.tap(What::Refused { head, rule, status, current: false });
        self.end_with(status, rule, About::Unseen);
    }

    /// The request whose head was let through last must not go on. What of it is not yet written is taken back.
    pub(super) fn refuse_current(&mut self, rule: &'static str, status: u16) {
        self.tap_message(Way::Up, What::Refused { head: Bytes::new(), rule, status, current: true });
        self.up.out.take_back(self.request_start);
        self.end_with(status, rule, About::Current);
    }

    fn end_with(&mut self, status: u16, why: &'static str, about: About) {
        count(&self.worker.counters.refused);
        self.up.held.clear();
        self.call = None;
        self.last_answer = Some(LastAnswer { status, why, about });
    }

    /// Sends the last answer once everything before it is answered, then closes.
    pub(super) fn give_last_answer(&mut self) -> bool {
        let Some(last) = self.last_answer else { return false };
        let server_gone = matches!(self.upstream, Upstream::Gone) || self.down.eof;
        let nothing_sent = matches!(self.upstream, Upstream::Idle) && self.up.out.is_clear();
        let open = self.framer.open();
        let due = match last.about {
            About::Front => open > 0,
            About::Current => open == 1,
            About::Unseen => open == 0,
        };
        if !due && !server_gone && !nothing_sent && open > 0 {
            return false;
        }
        self.last_answer = None;
        // An answer that has begun cannot be replaced: the client sees it end early.
        if due && !self.framer.in_response() {
            if last.about == About::Front {
                self.tap_message(Way::Down, What::Answered { status: last.status, why: last.why });
            }
            self.down.held.clear();
            let own = self.answer.take();
            let head_only = self.framer.front_is_head();
            self.down.out.push(own.unwrap_or_else(|| problem(last.status, last.why, head_only)));
        }
        self.close(true);
        true
    }

    /// Bytes from the server.
    pub(super) fn frame_responses(&mut self, new: &Bytes) {
        let mut pieces = std::mem::take(&mut self.pieces);
        let framer = &mut self.framer;
        let open = framer.open();
        let (passed, stop) = if self.down.held.is_empty() {
            let (n, stop) = judge(&mut pieces, new, |b| framer.response(b));
            self.down.held.extend_from_slice(new.get(n..).unwrap_or_default());
            (new.slice(..n), stop)
        } else {
            self.down.held.extend_from_slice(new);
            let (n, stop) = judge(&mut pieces, &self.down.held, |b| framer.response(b));
            (self.down.held.split_to(n).freeze(), stop)
        };
        let answered = open - self.framer.open().min(open);
        self.answered += answered as u64;
        self.pass_responses(&pieces, passed);
        pieces.clear();
        self.pieces = pieces;
        if let Stop::Refused(rule) = stop {
            self.refuse_response(rule);
        }
        if self.framer.is_tunnel() && self.mode == Mode::Http {
            self.switch();
        } else if answered > 0 && self.last_said && self.framer.open() == 0 {
            self.close(true);
        } else if answered > 0 {
            self.timers.sent(self.now);
            if self.blocked {
                self.blocked = false;
                self.frame_requests(&Bytes::new());
                if self.up.eof {
                    self.requests_ended();
                }
            }
        }
    }

    fn pass_responses(&mut self, pieces: &[Piece], passed: Bytes) {
        let (mut at, mut insert) = (0, None);
        for (index, piece) in pieces.iter().enumerate() {
            let bytes = passed.slice(at..at + piece.len);
            at += piece.len;
            match piece.kind {
                PieceKind::Head => {
                    let closing = self.says_last(pieces.get(index..).unwrap_or_default());
                    if closing {
                        insert = at.checked_sub(2);
                    }
                    self.tap_message(Way::Down, What::Response { head: bytes, end: piece.end, closing });
                }
                PieceKind::Data => {
                    self.tap_message(Way::Down, What::Data { way: Way::Down, bytes, end: piece.end })
                }
                PieceKind::Framing if piece.end => self.tap_message(Way::Down, What::End { way: Way::Down }),
                PieceKind::Tunnel => {
                    self.tunnelled += piece.len as u64;
                    self.early = bytes;
                }
                _ => {}
            }
            if piece.end {
                self.exchange_answered();
            }
        }
        if let Some(place) = insert {
            self.down.out.push(passed.slice(..place));
            self.down.out.push(Bytes::from_static(b"Connection: close\r\n"));
            return self.down.out.push(passed.slice(place..));
        }
        self.down.out.push(passed);
    }

    /// In an orderly end: whether the answer that begins with `pieces` is the last of this connection and is to
    /// say so, since nothing is open behind it.
    fn says_last(&mut self, pieces: &[Piece]) -> bool {
        let alone = match pieces.iter().any(|p| p.end) {
            true => self.framer.open() == 0 && !pieces.iter().skip(1).any(|p| p.kind == PieceKind::Head),
            false => self.framer.open() == 1,
        };
        let waits = !self.up.held.is_empty() || self.framer.in_request();
        if !self.worker.drain.ending() || !alone || waits || self.framer.is_tunnel() {
            return false;
        }
        self.last_said = true;
        true
    }

    fn refuse_response(&mut self, rule: Rule) {
        self.down.held.clear();
        count(&self.worker.counters.refused);
        if rule == Rule::Unsolicited {
            // Nobody asked: passing it on would answer the client's next request. It may also be the answer to
            // a request that only the server saw, so it is one record.
            self.worker.will_record(1);
            self.tap(What::Broken { way: Way::Down, rule: Rule::Unsolicited.name() });
            self.cut = Some(Rule::Unsolicited.name());
            return;
        }
        self.tap_message(Way::Down, What::BadResponse { rule: rule.name() });
        self.upstream = Upstream::Gone;
        if self.framer.in_response() {
            self.close_after_flush();
        } else {
            self.last_answer = Some(LastAnswer { status: 502, why: rule.name(), about: About::Front });
        }
    }

    /// The client ended its direction.
    pub(super) fn requests_ended(&mut self) {
        if self.call.is_some() {
            // Nothing of it has passed, and nothing ever will.
            return self.refuse_current(Rule::TruncatedBody.name(), Rule::TruncatedBody.status());
        }
        if let Eof::Truncated(rule) = self.framer.request_eof(!self.up.held.is_empty())
            && rule == Rule::TruncatedHead
            && self.last_answer.is_none()
        {
            self.refuse(rule);
        }
    }

    /// The server ended its direction.
    pub(super) fn responses_ended(&mut self, reset: bool) {
        match self.framer.response_eof(!self.down.held.is_empty()) {
            Eof::EndsBody => {
                self.answered += 1;
                self.tap_message(Way::Down, What::End { way: Way::Down });
                self.exchange_answered();
            }
            Eof::Truncated(_) if self.framer.in_response() => {
                self.down.held.clear();
                return self.close_after_flush();
            }
            Eof::Truncated(_) | Eof::Clean => {}
        }
        self.down.held.clear();
        if self.framer.open() == 0 || self.last_answer.is_some() {
            return;
        }
        // On a connection that has already answered, silence is how servers end an idle connection; the
        // client can then tell, as it would without us, that it may ask again elsewhere.
        if self.answered > 0 {
            return self.close_after_flush();
        }
        let why = if reset { "upstream reset the connection" } else { "upstream closed without an answer" };
        self.upstream = Upstream::Gone;
        self.last_answer = Some(LastAnswer { status: 502, why, about: About::Front });
    }

    /// There is no connection to the server.
    pub(super) fn upstream_failed(&mut self, status: u16, why: &'static str) {
        self.up.out.clear();
        if self.mode == Mode::Framed {
            self.say_farewell(Farewell::Unreachable);
            self.tap(What::Broken { way: Way::Down, rule: why });
            self.will_record(1);
            self.close(true);
        } else if self.mode != Mode::Http {
            self.cut = Some(why);
        } else if self.last_answer.is_none() {
            self.last_answer = Some(LastAnswer { status, why, about: About::Front });
        }
    }
}
