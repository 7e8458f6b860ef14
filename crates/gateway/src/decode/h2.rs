//! The streams of an HTTP/2 connection as the decoder sees them: each a request and its answer, plain HTTP or a
//! call of gRPC. One record a stream, and records of progress while it lasts.

use super::bodies::{Bodies, Here};
use super::ending::emit;
use super::event::{connection_event, finish, request_event};
use super::exchange::{Exchange, Own};
use super::grpc::Call;
use super::mcp::in_body_h2;
use super::request;
use super::session::At;
use crate::ring::{Decided, H2What, Way};
use countersign_event::cbor::Value;
use countersign_event::{Class, Event, Kind, Outcome, Rec};
use countersign_wire::h2::{Packed, error_name};
use countersign_wire::http1::fields::Fields;
use std::collections::HashMap;
use std::sync::Arc;

/// Key of `content.detail` for http: the code of a reset.
const RESET_CODE: u64 = 4;

/// How a stream ended.
#[derive(Clone, Copy)]
enum Ending {
    /// Both messages are complete.
    Complete,
    Reset(Way, u32),
    /// In the middle of something; why.
    Cut(&'static str),
}

struct Stream {
    exchange: Box<Exchange>,
    grpc: Option<Box<Call>>,
}

/// The streams that are open; the pump bounds them.
#[derive(Default)]
pub(super) struct Streams {
    open: HashMap<u32, Stream>,
}

impl Streams {
    /// Records that are promised and not made.
    pub(super) fn owed(&self) -> usize {
        self.open.values().filter(|stream| stream.exchange.made == 0).count()
    }

    pub(super) fn tap(&mut self, at: &mut At<'_>, id: u32, what: H2What) {
        match what {
            H2What::Request { fields, end, decided } => self.begin(at, id, &fields, end, decided),
            H2What::Response { fields, end } => self.response(at, id, &fields, end),
            H2What::Data { way, bytes, end } => self.data(at, id, (way, &bytes, end)),
            H2What::Skipped { way, len, end } => {
                if let Some(stream) = self.open.get_mut(&id) {
                    let exchange = &mut stream.exchange;
                    let body = if way == Way::Up { &mut exchange.request } else { &mut exchange.response };
                    body.size += len;
                    body.unseen = true;
                    if let Some(call) = &mut stream.grpc {
                        call.blind(way);
                    }
                }
                self.data(at, id, (way, &[], end));
            }
            H2What::Trailers { way, fields } => {
                if let Some(stream) = self.open.get_mut(&id)
                    && way == Way::Down
                    && let Some(call) = &mut stream.grpc
                {
                    call.trailers(Fields::packed(fields.as_bytes()));
                }
                self.data(at, id, (way, &[], true));
            }
            H2What::Reset { way, code } => self.end(at, id, Ending::Reset(way, code)),
            H2What::Cut { why } => self.end(at, id, Ending::Cut(why)),
            H2What::Answered { status, why, refused, grpc } => {
                if let Some(stream) = self.open.get_mut(&id) {
                    stream.exchange.own = Some(Own { status, why, refused });
                    if let (Some(call), Some(code)) = (&mut stream.grpc, grpc) {
                        call.answered(code);
                    }
                }
                self.end(at, id, Ending::Complete);
            }
            H2What::Verdict(decided) => {
                if let Some(stream) = self.open.get_mut(&id) {
                    stream.exchange.decided(*decided);
                }
            }
            H2What::Announced => {
                if let (Some(stream), Some(gate)) = (self.open.get_mut(&id), &at.conn.open.gate) {
                    let (up, gate) = (at.conn.upstream, Arc::clone(gate));
                    stream.exchange.announce_bodies(up, at.context, at.t, at.out, &gate);
                }
            }
            H2What::Progress => {
                let event = match self.open.get(&id) {
                    Some(stream) => progress(at, stream),
                    None => connection_event(at.conn, at.context, at.t),
                };
                at.out.push(event);
            }
        }
    }

    fn begin(&mut self, at: &mut At<'_>, id: u32, fields: &Packed, end: bool, decided: Option<Box<Decided>>) {
        let fields = Fields::packed(fields.as_bytes());
        let denied = decided.as_ref().is_some_and(|d| countersign_policy::refuses(&d.decision));
        let (mut exchange, grpc) = request::begin_h2(at.conn, at.context, at.t, fields, decided);
        let mcp = at.context.routes.get(at.conn.open.route).is_some_and(|r| r.mcp);
        let later = mcp && in_body_h2(fields, end);
        if let Some(gate) = at.conn.open.gate.as_ref().filter(|_| !denied && !later) {
            exchange.announce(at.context, gate, Vec::new());
        }
        if !denied {
            exchange.list(at.conn, at.context);
        }
        exchange.request.ended = end.then_some(at.t);
        let payload = at.context.payload_fields(at.conn.open.route);
        let grpc = grpc.then(|| Box::new(Call::begin(fields, payload)));
        if let Some(lost) = self.open.insert(id, Stream { exchange, grpc }) {
            // The pump uses no number twice; if it did, no record would be lost.
            finish_stream(at, lost, Ending::Cut("stream number used again"));
        }
    }

    /// The upstream is there.
    pub(super) fn reached(&mut self, at: &At<'_>) {
        self.open.values_mut().for_each(|stream| stream.exchange.list(at.conn, at.context));
    }

    fn response(&mut self, at: &mut At<'_>, id: u32, fields: &Packed, end: bool) {
        let Some(stream) = self.open.get_mut(&id) else { return };
        let fields = Fields::packed(fields.as_bytes());
        let exchange = &mut stream.exchange;
        exchange.response_at = Some(at.t);
        exchange.response.ended = end.then_some(at.t);
        request::read_response_h2(exchange, fields);
        if let Some(call) = stream.grpc.as_mut().filter(|_| end) {
            call.trailers(fields);
        }
        let content_type = stream.exchange.response.content_type.clone();
        read_bodies(at, stream, |bodies, here| {
            bodies.response(here, fields, &content_type);
            if end {
                bodies.end(here, Way::Down);
            }
        });
        self.end_if_complete(at, id);
    }

    fn data(&mut self, at: &mut At<'_>, id: u32, (way, bytes, end): (Way, &[u8], bool)) {
        let Some(stream) = self.open.get_mut(&id) else { return };
        let exchange = &mut stream.exchange;
        let body = if way == Way::Up { &mut exchange.request } else { &mut exchange.response };
        if !bytes.is_empty() {
            body.size += bytes.len() as u64;
            let room = body.excerpt_max.saturating_sub(body.excerpt.len());
            body.excerpt.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            body.digest.get_or_insert_with(|| at.context.key.start()).update(bytes);
            if let Some(content) = exchange.content.as_mut().filter(|_| way == Way::Up) {
                content.update(bytes);
            }
            if let Some(call) = &mut stream.grpc {
                call.data(way, bytes);
            }
        }
        if end {
            body.ended = Some(at.t);
        }
        read_bodies(at, stream, |bodies, here| {
            if !bytes.is_empty() {
                bodies.data(here, way, bytes);
            }
            if end {
                bodies.end(here, way);
            }
        });
        if end {
            self.end_if_complete(at, id);
        }
    }

    fn end_if_complete(&mut self, at: &mut At<'_>, id: u32) {
        let done = |s: &Stream| s.exchange.request.ended.is_some() && s.exchange.response.ended.is_some();
        if self.open.get(&id).is_some_and(done) {
            self.end(at, id, Ending::Complete);
        }
    }

    fn end(&mut self, at: &mut At<'_>, id: u32, ending: Ending) {
        if let Some(stream) = self.open.remove(&id) {
            finish_stream(at, stream, ending);
        }
    }

    /// The connection ended: everything still open ends with it.
    pub(super) fn close(&mut self, at: &mut At<'_>, why: Option<&'static str>) {
        let mut open: Vec<_> = self.open.drain().collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        for (_, stream) in open {
            let why = why.unwrap_or("connection ended before the answer was complete");
            finish_stream(at, stream, Ending::Cut(why));
        }
    }
}

/// Lets the reader of a stream's bodies make events.
fn read_bodies(at: &mut At<'_>, stream: &mut Stream, work: impl FnOnce(&mut dyn Bodies, &mut Here<'_>)) {
    stream.exchange.read_bodies(at.conn.upstream, at.context, at.t, at.out, work);
}

fn finish_stream(at: &mut At<'_>, stream: Stream, ending: Ending) {
    let Stream { mut exchange, grpc } = stream;
    if let Some(listed) = exchange.listed.take() {
        listed.end(at.t);
    }
    let answered = exchange.response.ended.is_some();
    let (bodies, started, made) = (exchange.bodies.take(), exchange.started, exchange.made);
    let own = exchange.own.is_some();
    let cut = match ending {
        Ending::Cut(why) if !answered => Some(why),
        _ => None,
    };
    let t = match ending {
        Ending::Cut(_) if answered => exchange.response.ended.unwrap_or(at.t),
        _ => at.t,
    };
    finish(at.conn, at.context, &mut exchange, t, cut);
    let event = &mut exchange.event;
    let learns = grpc.is_none() && !own;
    if let Some(call) = grpc {
        call.finish(event, own, cut.is_some());
    }
    if let Ending::Reset(way, code) = ending {
        let late = t.saturating_sub(started);
        reset(event, (way, code), answered, late);
    }
    if learns && event.core.outcome == Some(Outcome::Success) {
        at.context.templates.learn(at.conn.open.route, &event.target.raw);
    }
    emit(at.context, exchange, bodies, (started, t, made), at.out);
}

/// What a reset makes of a record. After a complete answer it only ended the request, and changes nothing.
fn reset(event: &mut Event, (way, code): (Way, u32), answered: bool, lasted: u64) {
    let grpc = event.core.kind == Some(Kind::Grpc);
    event
        .content
        .detail
        .insert(if grpc { super::grpc::RESET_CODE } else { RESET_CODE }, Value::Uint(u64::from(code)));
    if answered {
        return;
    }
    let name = error_name(code).unwrap_or("unregistered");
    let deadline = match event.content.detail.get(&super::grpc::DEADLINE) {
        Some(Value::Uint(ns)) if grpc => Some(*ns),
        _ => None,
    };
    event.core.outcome = Some(match (way, name) {
        // What a client does when its time is over.
        (Way::Up, "CANCEL") if deadline.is_some_and(|d| lasted >= d) => Outcome::Timeout,
        (Way::Up, "PROTOCOL_ERROR" | "FLOW_CONTROL_ERROR" | "FRAME_SIZE_ERROR") => Outcome::CallerError,
        (Way::Up, _) | (Way::Down, "CANCEL") => Outcome::Cancelled,
        (Way::Down, _) => Outcome::ServerError,
    });
    let side = if way == Way::Up { "client" } else { "server" };
    event.content.err = format!("{side} reset the stream: {name}");
}

/// What a stream has come to so far.
fn progress(at: &At<'_>, stream: &Stream) -> Event {
    let mut event = stream.exchange.event.clone();
    event.core.rec = Some(Rec::Progress);
    event.core.t_obs = at.context.wall(at.t);
    event.core.dur = Some(at.t.saturating_sub(stream.exchange.started));
    let size = |size| Some(countersign_event::Payload { size: Some(size), ..Default::default() });
    event.body.req = size(stream.exchange.request.size);
    event.body.rsp = size(stream.exchange.response.size);
    if let Some(call) = &stream.grpc {
        call.counts(&mut event);
    }
    event
}

/// A stream that `h2` refused before it became a request: malformed, beyond a bound, or 431.
pub(super) fn refused(at: &mut At<'_>, code: Option<u32>) {
    let mut event = request_event(at.conn, at.context, at.t);
    event.core.proto = "http/2".to_owned();
    event.core.outcome = Some(Outcome::CallerError);
    match code {
        None => {
            event.core.status = Some((countersign_event::StatusSpace::Http, "431".to_owned()));
            event.content.err = "http/2: header list too large".to_owned();
        }
        Some(code) => {
            let name = error_name(code).unwrap_or("unregistered");
            if name == "REFUSED_STREAM" {
                event.core.outcome = Some(Outcome::Denied);
            }
            event.content.detail.insert(RESET_CODE, Value::Uint(u64::from(code)));
            event.content.err = format!("http/2: request refused: {name}");
        }
    }
    at.out.push(event);
}

/// A client that broke the rules or bounds of HTTP/2: one record for the connection.
pub(super) fn broke(at: &mut At<'_>, why: &str, code: u32, n: u64) {
    let mut event = connection_event(at.conn, at.context, at.t);
    event.core.rec = Some(Rec::SessionClose);
    event.core.kind = Some(Kind::Http);
    event.core.proto = "http/2".to_owned();
    event.core.op = "GOAWAY".to_owned();
    event.core.class = Some(Class::Connect);
    event.core.outcome = Some(Outcome::Denied);
    event.core.n = (n > 1).then_some(n);
    event.content.detail.insert(RESET_CODE, Value::Uint(u64::from(code)));
    event.content.err = why.to_owned();
    at.out.push(event);
}
