//! The client's connection: accepting streams, floods, the end.

use super::held::{HELD_CONNECTION_WINDOW, HELD_STREAM_WINDOW, Held, must_hold};
use super::stream::Bridge;
use super::wire::{Half, Refused};
use super::{CLIENT, CONNECTION_WINDOW, Http2, SEND_BUFFER, STREAM_WINDOW, pack};
use crate::config::{Durability, Limits, Protocol};
use crate::decode::content::{self, Content};
use crate::decode::identify::{self, H2Head};
use crate::pump::mcp::{self, Call};
use crate::ring::{Decided, H2What, What, Why};
use crate::stats::count;
use bytes::Bytes;
use countersign_wire::grpc;
use countersign_wire::h2::Packed;
use countersign_wire::http1::fields::Fields;
use h2::server::{self, Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How far the client's connection has come.
pub(super) enum Down {
    /// Its preface is not there yet.
    Handshake(Box<Handshake<Half, Bytes>>),
    Open(Box<Connection<Half, Bytes>>),
    /// The last frame was written; what the client still sends is read and dropped.
    Lingering,
}

impl Down {
    /// `holds`: requests may be held until their bodies are complete.
    pub(super) fn accept(limits: &Limits, half: Half, holds: bool) -> Down {
        let (stream, connection) = match holds {
            true => (HELD_STREAM_WINDOW, HELD_CONNECTION_WINDOW),
            false => (STREAM_WINDOW, CONNECTION_WINDOW),
        };
        let mut builder = server::Builder::new();
        builder
            .initial_window_size(stream)
            .initial_connection_window_size(connection)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(limits.h2_header_list)
            .max_concurrent_streams(limits.h2_streams)
            .max_pending_accept_reset_streams(limits.h2_resets)
            .max_local_error_reset_streams(Some(limits.h2_resets));
        Down::Handshake(Box::new(builder.handshake(half)))
    }
}

/// What accepting came to.
enum Accepted {
    Stream(Box<(Request<RecvStream>, SendResponse<Bytes>)>),
    Waits,
    Ended(Option<h2::Error>),
}

impl Http2 {
    pub(super) fn poll_client(&mut self) {
        let waker = self.wakers.get(CLIENT);
        let mut cx = Context::from_waker(&waker);
        loop {
            match self.accept(&mut cx) {
                Accepted::Stream(stream) => self.begin(stream.0, stream.1),
                Accepted::Waits => break,
                Accepted::Ended(error) => {
                    self.client_ended(error);
                    break;
                }
            }
        }
        self.count_bytes();
        self.look_at_frames();
        self.flush_client(&mut cx);
    }

    fn accept(&mut self, cx: &mut Context<'_>) -> Accepted {
        loop {
            match &mut self.down {
                Down::Handshake(handshake) => match Pin::new(handshake.as_mut()).poll(cx) {
                    Poll::Pending => return Accepted::Waits,
                    Poll::Ready(Ok(open)) => self.down = Down::Open(Box::new(open)),
                    Poll::Ready(Err(e)) => return Accepted::Ended(Some(e)),
                },
                Down::Open(open) => {
                    return match open.poll_accept(cx) {
                        Poll::Pending => Accepted::Waits,
                        Poll::Ready(None) => Accepted::Ended(None),
                        Poll::Ready(Some(Err(e))) => Accepted::Ended(Some(e)),
                        Poll::Ready(Some(Ok(stream))) => Accepted::Stream(Box::new(stream)),
                    };
                }
                Down::Lingering => {
                    if self.client.lock().linger(cx).is_ready() {
                        self.end = Some(Why::Done);
                    }
                    return Accepted::Waits;
                }
            }
        }
    }

    /// A new stream.
    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let id = respond.stream_id().as_u32();
        self.client.lock().seen.shown(id);
        let end = request.body().is_end_stream();
        let content_type = request.headers().get(http::header::CONTENT_TYPE);
        // On MCP routes other requests are plain HTTP.
        let grpc = self.route.protocol != Protocol::Mcp
            && request.method() == Method::POST
            && content_type.is_some_and(|value| grpc::is_grpc(value.as_bytes()));
        let (parts, body) = request.into_parts();
        let fields = Box::new(pack::request(&parts));
        let request = Request::from_parts(parts, body);
        let judged = self.intents.is_some() || self.worker.holds(&self.route).is_some();
        if must_hold(&self.route, judged, &request, end) {
            return self.begin_to_hold(fields, request, respond);
        }
        let decided = self.decide(&fields);
        let signed = decided.as_ref().and_then(|d| d.content).map(|stated| Box::new(Content::new(stated)));
        // A request without a body that was signed with one.
        let altered = end && signed.as_ref().is_some_and(|content| content.differs());
        let denied = decided.as_ref().is_some_and(|d| countersign_policy::refuses(&d.decision));
        let unrecorded =
            !denied && self.route.durability == Durability::Gap && self.worker.ring_of(&self.route).full();
        self.will_record();
        if unrecorded {
            let caller = self.secured.as_ref().and_then(|s| s.principal.as_ref());
            let address = || format!("addr:{}", self.peer.ip().to_canonical());
            let caller = caller.map_or_else(address, |p| p.id.clone());
            self.worker.drop_records(&self.route, &caller, 1);
        } else {
            self.tap(What::H2 { stream: id, what: H2What::Request { fields, end, decided } });
        }
        let ticket = if denied { 0 } else { self.ask_intent() };
        let now = self.now;
        let slot = self.place(|index| {
            let mut bridge = Bridge::new(index, now, request, respond, grpc);
            (bridge.unrecorded, bridge.ticket) = (unrecorded, ticket);
            bridge.up.content = signed;
            bridge
        });
        if denied {
            count(&self.worker.counters.refused);
            return self.with_bridge(slot, |bridge, _, env| bridge.answer(env, 403, "policy", true));
        }
        if altered {
            count(&self.worker.counters.refused);
            return self.with_bridge(slot, |bridge, _, env| bridge.answer(env, 400, content::RULE, true));
        }
        count(&self.worker.counters.requests);
        self.connect();
    }

    /// A new stream whose request is held until its body is judged.
    fn begin_to_hold(
        &mut self,
        fields: Box<Packed>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) {
        let (id, now) = (respond.stream_id().as_u32(), self.now);
        let holds = self.worker.holds(&self.route).is_some();
        let read = Fields::packed(fields.as_bytes());
        let head = H2Head::read(read, false);
        let caller = self.worker.caller(&self.route, self.secured.as_ref(), self.peer.ip());
        let (call, decided) = Call::begin(&caller, Some((head.method, head.path, read)), holds);
        // What waits for a verdict is recorded whatever the ring says: it is bounded, and may be denied.
        self.will_record();
        self.tap(What::H2 { stream: id, what: H2What::Request { fields, end: false, decided } });
        count(&self.worker.counters.requests);
        self.place(|index| {
            let mut bridge = Bridge::new(index, now, request, respond, false);
            bridge.held = Some(Held::new(call, now));
            bridge.invite();
            bridge
        });
    }

    /// The decision, when it must be known before the request passes.
    fn decide(&self, fields: &Packed) -> Option<Box<Decided>> {
        let policy = self.worker.holds(&self.route)?;
        let caller = self.worker.caller(&self.route, self.secured.as_ref(), self.peer.ip());
        let fields = Fields::packed(fields.as_bytes());
        let mcp = self.route.protocol == Protocol::Mcp;
        let mut decided = identify::decide_h2(&caller, (fields, !mcp), policy.as_ref());
        if mcp && !countersign_policy::refuses(&decided.decision) {
            mcp::without_upgrade(H2Head::read(fields, false).method, fields, &mut decided);
        }
        Some(Box::new(decided))
    }

    /// What the frames told that `h2` did not.
    fn look_at_frames(&mut self) {
        let (refused, excess, lost) = {
            let mut wire = self.client.lock();
            let seen = &mut wire.seen;
            (std::mem::take(&mut seen.refused), seen.excess, seen.unseen.len())
        };
        for (_, refused) in refused {
            self.will_record();
            count(&self.worker.counters.refused);
            let code = match refused {
                Refused::Reset(code) => Some(code),
                Refused::TooLarge => None,
            };
            self.tap(What::H2Refused { code });
        }
        if let Some(excess) = excess {
            self.calm_down(excess.why(), lost as u64);
        }
    }

    /// Ends the connection with ENHANCE_YOUR_CALM.
    pub(super) fn calm_down(&mut self, why: &'static str, lost: u64) {
        if self.ending {
            return;
        }
        self.broke(why, Reason::ENHANCE_YOUR_CALM.into(), lost);
        match &mut self.down {
            Down::Open(open) => open.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
            _ => self.down = Down::Lingering,
        }
        self.wakers.wake(CLIENT);
    }

    /// The one record of a client that broke the rules or bounds of HTTP/2.
    fn broke(&mut self, why: &'static str, code: u32, lost: u64) {
        self.ending = true;
        self.deadlines.close(self.now);
        self.will_record();
        count(&self.worker.counters.refused);
        self.tap(What::H2Broken { why, code, n: lost });
    }

    fn client_ended(&mut self, error: Option<h2::Error>) {
        let Some(error) = error else {
            if self.ending {
                self.down = Down::Lingering;
                return self.wakers.wake(CLIENT);
            }
            self.end = Some(Why::Done);
            return;
        };
        if error.is_io() {
            let any = self.client.lock().total > 0;
            self.end = Some(if any { Why::Cut("client reset the connection") } else { Why::Done });
            return;
        }
        if error.is_remote() {
            self.end = Some(Why::Done);
            return;
        }
        if !self.ending {
            let lost = self.client.lock().seen.unseen.len() as u64;
            let code = error.reason().map_or(1, u32::from);
            let why = match (&self.down, code) {
                (Down::Handshake(_), _) => "http/2: no connection preface",
                (_, 11) => "http/2: header list, resets or small frames beyond the bounds",
                _ => "http/2: the client broke the protocol",
            };
            self.broke(why, code, lost);
        }
        self.down = Down::Lingering;
        self.wakers.wake(CLIENT);
    }

    pub(super) fn flush_client(&mut self, cx: &mut Context<'_>) {
        if self.worker.owe().is_err() {
            self.end = Some(Why::Cut("the ledger does not take records"));
            return;
        }
        let flushed = self.client.lock().flush(cx);
        match flushed {
            Ok(done) => self.flushed(true, done.is_ready()),
            Err(_) if self.end.is_none() => self.end = Some(Why::Cut("client closed while it was answered")),
            Err(_) => {}
        }
    }

    /// The client shall open no further stream; those that are open go on.
    pub(super) fn leave(&mut self) {
        if self.leaving {
            return;
        }
        self.leaving = true;
        if let Down::Open(open) = &mut self.down {
            open.graceful_shutdown();
            self.wakers.wake(CLIENT);
        } else if self.open() == 0 {
            self.end = Some(Why::Done);
        }
    }

    /// Orderly shutdown of the gateway.
    pub(super) fn drain(&mut self) {
        if self.worker.drain.cutting() {
            self.end = Some(Why::Cut("gateway shut down"));
        } else if self.worker.drain.ending() {
            self.leave();
        }
    }
}
