//! One stream: a request on the client's connection and the same request on the server's.
//!
//! Two lanes, each read only when the other side has taken what was read before: window is given back to the
//! sender when, and as far as, the receiver's window and its socket took the bytes. Held here: at most one
//! DATA frame a lane. Every stream that was announced to the decoder ends in exactly one way: both lanes done,
//! a reset, an answer of ours, or the end of the connection.

use super::answer;
use super::held::Held;
use super::lane::{Lane, Moved};
use super::pack;
use crate::decode::content;
use crate::decode::identify::Caller;
use crate::pump::connect::ConnectError;
use crate::pump::worker::{Route, Worker};
use crate::ring::{Gate, H2What, Tap, Way, What};
use crate::stats::count;
use bytes::Bytes;
use countersign_identity::TlsIdentity;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response, Version};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// Why a request of a strict route was refused.
pub(super) const UNRECORDED: &str = "the ledger does not take records";

/// What one side's socket may still be given in this turn.
#[derive(Default)]
pub(super) struct Push {
    /// Bytes given since the socket last took everything.
    pub(super) made: usize,
    /// The socket does not take everything.
    pub(super) blocked: bool,
    /// Streams to wake when it does again.
    pub(super) parked: Vec<usize>,
}

impl Push {
    /// Whether a stream may read more for this side; if not, it is woken later.
    pub(super) fn admits(&mut self, index: usize, most: usize) -> bool {
        let admits = !self.blocked && self.made < most;
        if !admits && !self.parked.contains(&index) {
            self.parked.push(index);
        }
        admits
    }
}

/// What a stream needs of its connection.
pub(super) struct Env<'e> {
    pub(super) worker: &'e Worker,
    pub(super) route: &'e Route,
    pub(super) secured: Option<&'e TlsIdentity>,
    pub(super) peer: SocketAddr,
    pub(super) conn: u64,
    pub(super) now: u64,
    pub(super) taps: &'e mut Vec<Tap>,
    pub(super) waiting: &'e AtomicUsize,
    /// Towards the server, and towards the client.
    pub(super) up: &'e mut Push,
    pub(super) down: &'e mut Push,
    /// The ring is full: nothing more is read.
    pub(super) gate: &'e mut Push,
    /// Bodies that the ring has no room for are counted and not shown.
    pub(super) gap: bool,
    /// The stream at hand makes no record.
    pub(super) unrecorded: bool,
    /// On strict routes: how many intents are durable.
    pub(super) intents: Option<&'e Gate>,
    /// How many intents were asked for.
    pub(super) asked: &'e mut u64,
    /// Set when a request is to go on that was held.
    pub(super) wanted: &'e mut bool,
    pub(super) sender: Option<&'e SendRequest<Bytes>>,
    /// There will be no connection to the server.
    pub(super) failed: Option<ConnectError>,
    /// The connection to the server has ended, or takes no further stream.
    pub(super) gone: bool,
    /// Last stream that the server took, once it said so.
    pub(super) goaway: Option<u32>,
    /// The client's connection is being ended by us.
    pub(super) ending: bool,
    /// Set when records could not be owed.
    pub(super) broken: &'e mut bool,
}

impl Env<'_> {
    pub(super) fn tap(&mut self, stream: u32, what: H2What) {
        if self.unrecorded {
            return;
        }
        let what = match what {
            H2What::Data { way, bytes, end } if self.gap && self.worker.ring(false).full() => {
                H2What::Skipped { way, len: bytes.len() as u64, end }
            }
            what => what,
        };
        let what = What::H2 { stream, what };
        let waits = what.waiting();
        if waits > 0 {
            self.waiting.fetch_add(waits, Ordering::Relaxed);
        }
        self.taps.push(Tap { conn: self.conn, t: self.now, what });
    }

    /// Who calls over this connection, for a verdict now.
    pub(super) fn caller(&self) -> Caller<'_> {
        self.worker.caller(self.route, self.secured, self.peer.ip())
    }

    /// Owes what was promised: before anything of an answer is handed to the client's side.
    pub(super) fn owe(&mut self) -> bool {
        if self.worker.owe().is_err() {
            *self.broken = true;
        }
        !*self.broken
    }
}

/// See the module's documentation.
pub(super) struct Bridge {
    pub(super) id: u32,
    pub(super) index: usize,
    pub(super) grpc: bool,
    pub(super) head: bool,
    /// Makes no record: a gap route whose ring was full.
    pub(super) unrecorded: bool,
    /// On strict routes: goes on when so many intents of the connection are durable.
    pub(super) ticket: u64,
    pub(super) since: u64,
    pub(super) request: Option<Request<()>>,
    /// Its body is held until it is judged, and what refuses it in the words of its own protocol when its intent
    /// cannot be made.
    pub(super) held: Option<Box<Held>>,
    pub(super) words: Option<Box<str>>,
    pub(super) respond: Option<SendResponse<Bytes>>,
    response: Option<ResponseFuture>,
    pub(super) up: Lane,
    pub(super) down: Lane,
    /// The server takes no more of the request.
    stopped: Option<u32>,
    /// When the request had ended and the answer had not begun.
    asked: Option<u64>,
    /// Bytes both ways, and the mark of the last record of progress: time and bytes.
    pub(super) marked: (u64, u64),
    pub(super) over: bool,
}

impl Bridge {
    pub(super) fn new(
        index: usize,
        now: u64,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        grpc: bool,
    ) -> Bridge {
        let (parts, from) = request.into_parts();
        let request = Request::from_parts(parts, ());
        Bridge {
            id: respond.stream_id().as_u32(),
            index,
            grpc,
            head: request.method() == http::Method::HEAD,
            unrecorded: false,
            ticket: 0,
            since: now,
            request: Some(request),
            held: None,
            words: None,
            respond: Some(respond),
            response: None,
            up: Lane::reading(Way::Up, from),
            down: Lane::new(Way::Down),
            stopped: None,
            asked: None,
            marked: (now, 0),
            over: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Bytes of bodies both ways.
    pub(super) fn bytes(&self) -> u64 {
        self.up.bytes + self.down.bytes
    }

    /// Since when the server owes the head of an answer, monotonic ns.
    pub(super) fn asked(&self) -> Option<u64> {
        self.response.as_ref().and(self.asked)
    }

    /// The time for an answer begins again.
    pub(super) fn ask_again(&mut self, now: u64) {
        self.asked = self.asked.map(|_| now);
    }

    /// Moves what can move.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, env: &mut Env<'_>) {
        self.client_reset(cx, env);
        self.hold(cx, env);
        self.forward(env);
        self.await_response(cx, env);
        self.pump_up(cx, env);
        self.pump_down(cx, env);
        if self.down.done && !self.over {
            if let Some(code) = self.stopped {
                env.tap(self.id, H2What::Reset { way: Way::Down, code });
                self.over = true;
            } else {
                self.over = self.up.done;
            }
        }
    }

    /// Whether the client gave the stream up.
    fn client_reset(&mut self, cx: &mut Context<'_>, env: &mut Env<'_>) {
        let reset = match (&mut self.respond, &mut self.down.to) {
            (Some(respond), _) => respond.poll_reset(cx),
            (None, Some(to)) if !self.down.done => to.poll_reset(cx),
            _ => return,
        };
        match reset {
            Poll::Pending => {}
            Poll::Ready(Ok(reason)) if !env.ending => self.given_up(reason, env),
            // The connection ended; its last tap closes the record.
            Poll::Ready(_) => self.abandon(Reason::CANCEL),
        }
    }

    pub(super) fn given_up(&mut self, reason: Reason, env: &mut Env<'_>) {
        if !self.over {
            env.tap(self.id, H2What::Reset { way: Way::Up, code: reason.into() });
        }
        self.abandon(reason);
    }

    pub(super) fn abandon(&mut self, reason: Reason) {
        if let Some(to) = &mut self.up.to {
            to.send_reset(reason);
        }
        self.over = true;
    }

    /// Sends the request on, when there is a connection.
    fn forward(&mut self, env: &mut Env<'_>) {
        if self.over || self.held.is_some() || self.request.is_none() {
            return;
        }
        if let Some(intents) = env.intents
            && intents.acknowledged() < self.ticket
        {
            if intents.failed() {
                self.refuse_unrecorded(env);
            }
            return;
        }
        let Some(sender) = env.sender else {
            if let Some(failed) = env.failed {
                self.answer(env, failed.status, failed.why, false);
            } else if env.gone {
                self.reset_client(env, Reason::REFUSED_STREAM);
            }
            return;
        };
        let (Some(mut request), Some(from)) = (self.request.take(), &self.up.from) else { return };
        if request.uri().authority().is_none() {
            // A request with `host` alone. The version tells the encoder not to ask for an authority.
            *request.version_mut() = Version::HTTP_11;
        }
        let end = from.is_end_stream() && !self.up.has_ahead();
        // A clone each: a handle lets one stream at a time wait for the server's limit.
        match sender.clone().send_request(request, end) {
            Ok((response, to)) => {
                self.response = Some(response);
                self.up.to = Some(to);
                if end {
                    self.up.finish();
                    self.asked = Some(env.now);
                }
            }
            // The server is leaving: it has not seen this request, and the client may ask again.
            Err(_) => self.reset_client(env, Reason::REFUSED_STREAM),
        }
    }

    fn await_response(&mut self, cx: &mut Context<'_>, env: &mut Env<'_>) {
        let Some(response) = self.response.as_mut().filter(|_| !self.over) else { return };
        loop {
            match response.poll_informational(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => break,
                Poll::Ready(Some(Ok(interim))) => {
                    if !env.owe() {
                        return;
                    }
                    if let Some(respond) = &mut self.respond {
                        // Only a stream that is gone refuses it, which shows below.
                        let _ = respond.send_informational(interim);
                    }
                }
                Poll::Ready(Some(Err(e))) => return self.response_failed(env, &e),
            }
        }
        match Pin::new(response).poll(cx) {
            Poll::Pending => {}
            Poll::Ready(Err(e)) => self.response_failed(env, &e),
            Poll::Ready(Ok(response)) => self.respond(env, response),
        }
    }

    fn respond(&mut self, env: &mut Env<'_>, response: Response<RecvStream>) {
        let (mut parts, from) = response.into_parts();
        let end = from.is_end_stream();
        self.response = None;
        let Some(mut respond) = self.respond.take() else { return };
        if !env.owe() {
            return;
        }
        env.tap(self.id, H2What::Response { fields: Box::new(pack::response(&parts)), end });
        parts.version = Version::HTTP_2;
        match respond.send_response(Response::from_parts(parts, ()), end) {
            Ok(to) => {
                self.down.to = Some(to);
                self.down.from = Some(from);
                if end {
                    self.down.finish();
                }
            }
            Err(_) => self.given_up(Reason::CANCEL, env),
        }
    }

    fn response_failed(&mut self, env: &mut Env<'_>, e: &h2::Error) {
        let id = self.response.as_ref().map_or(0, |r| r.stream_id().as_u32());
        match e.reason() {
            Some(reason) if e.is_reset() && e.is_remote() => self.reset_client(env, reason),
            Some(_) if e.is_reset() => {
                self.answer(env, 502, "upstream broke the rules of http/2", false);
            }
            // Above the last stream that the server took: it has not seen this request.
            _ if env.goaway.is_some_and(|last| id > last) => {
                self.reset_client(env, Reason::REFUSED_STREAM);
            }
            _ => self.answer(env, 502, "upstream closed without an answer", false),
        }
    }

    fn reset_client(&mut self, env: &mut Env<'_>, reason: Reason) {
        if self.over || !env.owe() {
            return;
        }
        env.tap(self.id, H2What::Reset { way: Way::Down, code: reason.into() });
        if let Some(respond) = &mut self.respond {
            respond.send_reset(reason);
        } else if let Some(to) = &mut self.down.to {
            to.send_reset(reason);
        }
        self.abandon(Reason::CANCEL);
    }

    fn pump_up(&mut self, cx: &mut Context<'_>, env: &mut Env<'_>) {
        if self.over || self.up.done || self.stopped.is_some() {
            return;
        }
        let Some(to) = &mut self.up.to else { return };
        if let Poll::Ready(reset) = to.poll_reset(cx) {
            return self.stop_up(reset.map_or(2, u32::from));
        }
        match self.up.pump(cx, env, self.id, self.index) {
            Moved::Waits => {}
            Moved::Done => self.asked = Some(env.now),
            Moved::SourceGone(Some(reason)) if !env.ending => self.given_up(reason, env),
            Moved::SourceGone(_) => self.abandon(Reason::CANCEL),
            Moved::SinkGone => self.stop_up(Reason::INTERNAL_ERROR.into()),
            Moved::Altered if self.respond.is_some() => self.answer(env, 400, content::RULE, true),
            Moved::Altered => self.cut(env, content::RULE),
        }
    }

    /// The server wants no more of the request; what it answered, or why it did not, comes by its own way.
    fn stop_up(&mut self, code: u32) {
        self.stopped = Some(code);
        self.up.from = None;
    }

    fn pump_down(&mut self, cx: &mut Context<'_>, env: &mut Env<'_>) {
        if self.over || self.down.done || self.down.to.is_none() {
            return;
        }
        match self.down.pump(cx, env, self.id, self.index) {
            // What the client did is seen at the beginning of the next turn.
            Moved::Waits | Moved::Done | Moved::SinkGone | Moved::Altered => {}
            Moved::SourceGone(Some(reason)) => self.reset_client(env, reason),
            Moved::SourceGone(None) => self.cut(env, "upstream closed before its answer was complete"),
        }
    }

    /// The answer had begun and cannot be completed.
    fn cut(&mut self, env: &mut Env<'_>, why: &'static str) {
        env.tap(self.id, H2What::Cut { why });
        if let Some(to) = &mut self.down.to {
            to.send_reset(Reason::INTERNAL_ERROR);
        }
        self.abandon(Reason::CANCEL);
    }

    /// Since when its intent is waited for, monotonic ns.
    pub(super) fn waits_for_intent(&self, durable: u64) -> Option<u64> {
        (self.request.is_some() && self.held.is_none() && durable < self.ticket).then_some(self.since)
    }

    /// On a strict route: a request whose intent is not durable in time never reaches the server.
    pub(super) fn give_up_intent(&mut self, env: &mut Env<'_>) {
        count(&env.worker.counters.unrecorded);
        self.refuse_unrecorded(env);
    }

    /// The server took too long.
    pub(super) fn answer_late(&mut self, env: &mut Env<'_>) {
        self.answer(env, 504, "upstream did not answer in time", false);
    }

    /// Answers in the server's place and ends the stream.
    pub(super) fn answer(&mut self, env: &mut Env<'_>, status: u16, why: &'static str, refused: bool) {
        if self.over || !env.owe() {
            return;
        }
        let grpc = self.grpc.then(|| answer::grpc_status(status));
        env.tap(self.id, H2What::Answered { status, why, refused, grpc });
        if let Some(respond) = &mut self.respond {
            answer::send(respond, status, why, grpc, self.head);
        }
        self.abandon(Reason::CANCEL);
    }
}
