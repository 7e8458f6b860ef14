//! MCP on streams: what a call asks for stands in its body, so where calls can be denied, and on strict routes, a
//! stream's request is held until its body is complete. What is decided is the same as over HTTP/1.1
//! ([`crate::pump::mcp`]); this holds it in the words of HTTP/2.
//!
//! Not a second reader of MCP. Invariants: nothing of a held request goes to the server before its verdict and its
//! intents, not even a connection; what is held is not given back to the sender as window, so the windows of MCP
//! routes ([`HELD_STREAM_WINDOW`], [`HELD_CONNECTION_WINDOW`]) bound it; a sender that does not come to its end in
//! time is refused, so streams that wait for each other's window do not wait for ever.

use super::answer;
use super::lane::Moved;
use super::pack;
use super::stream::{Bridge, Env, UNRECORDED};
use crate::config::{Limits, Protocol};
use crate::pump::mcp::{self, Call, Judged, Refusal};
use crate::pump::worker::Route;
use crate::ring::H2What;
use crate::stats::count;
use countersign_wire::h2::Packed;
use countersign_wire::http1::Rule;
use countersign_wire::http1::fields::Fields;
use countersign_wire::jsonrpc::HELD_MAX;
use h2::Reason;
use http::header::EXPECT;
use http::{Method, Request, Response, StatusCode};
use std::task::Context;

/// Bytes of one stream's request that are read before they were passed on, on MCP routes: what is held for a
/// verdict, and enough more to see that it is too much.
pub(super) const HELD_STREAM_WINDOW: u32 = HELD_MAX as u32 + (64 << 10);
/// The same for all streams of a connection: as many calls of the largest size can be held at once as fit in it.
pub(super) const HELD_CONNECTION_WINDOW: u32 = 32 << 20;

/// A request whose body is being held.
pub(super) struct Held {
    call: Call,
    /// When the present time to send began, monotonic ns, and how much was there then.
    window: (u64, usize),
}

impl Held {
    pub(super) fn new(call: Call, now: u64) -> Box<Held> {
        Box::new(Held { call, window: (now, 0) })
    }
}

/// Whether a request on `route` waits for what its body says. `judged` = a verdict or an intent is needed.
pub(super) fn must_hold<B>(route: &Route, judged: bool, request: &Request<B>, end: bool) -> bool {
    route.protocol == Protocol::Mcp && judged && request.method() == Method::POST && !end
}

impl Bridge {
    /// A client that waits for a word before it sends the body would wait for ever: the server sees nothing yet.
    pub(super) fn invite(&mut self) {
        let Some(request) = self.request.as_ref().filter(|_| self.held.is_some()) else { return };
        let expects = request.headers().get(EXPECT);
        if expects.is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
            && let Some(respond) = &mut self.respond
        {
            let mut go_on = Response::new(());
            *go_on.status_mut() = StatusCode::CONTINUE;
            // Only a stream that is gone refuses it, which shows elsewhere.
            let _ = respond.send_informational(go_on);
        }
    }

    /// Reads on in a body that is held.
    pub(super) fn hold(&mut self, cx: &mut Context<'_>, env: &mut Env<'_>) {
        if self.over {
            return;
        }
        let Some(mut held) = self.held.take() else { return };
        match self.up.collect(cx, env, (self.id, self.index), &mut held.call) {
            Moved::Done => self.judge(env, held.call),
            Moved::SourceGone(Some(reason)) if !env.ending => self.given_up(reason, env),
            Moved::SourceGone(_) => self.abandon(Reason::CANCEL),
            Moved::Waits | Moved::SinkGone | Moved::Altered => self.held = Some(held),
        }
    }

    /// The request is complete, or too large.
    fn judge(&mut self, env: &mut Env<'_>, call: Call) {
        let Some(request) = &self.request else { return };
        let fields: Packed = pack::fields(request.headers());
        let policy = env.worker.holds(env.route).map(AsRef::as_ref);
        let Judged { messages, decided, refusal } =
            call.judge(&env.caller(), policy, Some(Fields::packed(fields.as_bytes())));
        if let Some(decided) = decided {
            env.tap(self.id, H2What::Verdict(decided));
        }
        if let Some(refusal) = refusal {
            count(&env.worker.counters.refused);
            return self.refuse_with(env, (refusal.status, refusal.rule), &mcp::words(&messages, &refusal));
        }
        if env.intents.is_some() {
            self.words = Some(mcp::words(&messages, &Refusal::unrecorded(UNRECORDED)).into());
            env.tap(self.id, H2What::Announced);
            *env.asked += 1;
            (self.ticket, self.since) = (*env.asked, env.now);
        }
        *env.wanted = true;
    }

    /// A request of a strict route whose intent will not be durable.
    pub(super) fn refuse_unrecorded(&mut self, env: &mut Env<'_>) {
        match self.words.take() {
            Some(words) => self.refuse_with(env, (503, UNRECORDED), &words),
            None => self.answer(env, 503, UNRECORDED, true),
        }
    }

    /// Refuses in the words of JSON-RPC.
    fn refuse_with(&mut self, env: &mut Env<'_>, (status, why): (u16, &'static str), words: &str) {
        if self.over || !env.owe() {
            return;
        }
        env.tap(self.id, H2What::Answered { status, why, refused: true, grpc: None });
        if let Some(respond) = &mut self.respond {
            answer::send_document(respond, status, "application/json", words, false);
        }
        self.abandon(Reason::CANCEL);
    }

    /// Whether the client sends a held body more slowly than `limits` allow; asked from time to time.
    pub(super) fn is_held_too_slow(&mut self, now: u64, limits: &Limits) -> bool {
        let Some(held) = &mut self.held else { return false };
        let (since, before) = held.window;
        if u128::from(now.saturating_sub(since)) <= limits.body_window.as_nanos() {
            return false;
        }
        let least = u128::from(limits.body_rate).saturating_mul(limits.body_window.as_millis()) / 1_000;
        let sent = held.call.size() - before;
        held.window = (now, held.call.size());
        (sent as u128) < least
    }

    /// Nothing was read for a while that was not the client's doing.
    pub(super) fn hold_again(&mut self, now: u64) {
        if let Some(held) = &mut self.held {
            held.window = (now, held.call.size());
        }
    }

    /// The client is too slow with a body that is held.
    pub(super) fn give_up_body(&mut self, env: &mut Env<'_>) {
        count(&env.worker.counters.refused);
        self.answer(env, Rule::BodyTimeout.status(), Rule::BodyTimeout.name(), true);
    }
}
