//! Events: the part that every record of a connection shares, and the part that an exchange's end adds.

use super::Context;
use super::exchange::{BodySoFar, Conn, Exchange};
use super::redact::scan_text;
use countersign_event::cbor::Value;
use countersign_event::{
    Body, Capture, CaptureConf, CaptureMode, Class, Core, DigestAlg, Endpoint, Event, Kind, Links, Outcome,
    Payload, Peer, Rec, Shared, StatusSpace, Target, TimeBasis, Transport, Verified, Who,
};
use std::net::SocketAddr;

/// Name and version of this parser, for `body.cap`.
const PARSER: &str = concat!("gateway@", env!("CARGO_PKG_VERSION"));

/// Keys of `content.detail` for l4.
mod l4 {
    pub(super) const BYTES_UP: u64 = 0;
    pub(super) const BYTES_DOWN: u64 = 1;
    pub(super) const FIRST: u64 = 2;
}

/// What every record of a connection has.
pub(super) fn connection_event(conn: &Conn, context: &Context, t: u64) -> Event {
    event_by(conn, context, t, conn.base.who.clone())
}

/// As [`connection_event`], of `who` that the session knows better than its connection.
pub(super) fn event_by(conn: &Conn, context: &Context, t: u64, who: Shared<Who>) -> Event {
    let wall = context.wall(t);
    let route = context.routes.get(conn.open.route);
    Event {
        core: Core {
            t_obs: wall,
            t_event: i64::try_from(wall).ok(),
            t_basis: Some(TimeBasis::Measured),
            config: Some(context.config),
            route: route.map_or(String::new(), |r| r.name.clone()),
            ..Core::default()
        },
        who,
        peer: conn.peer.get_or_init(|| peer(conn)).clone(),
        target: route.map_or_else(Shared::default, |r| r.target.clone()),
        links: Links { conn: Some(conn_id(context.run, conn.id)), ..Links::default() },
        body: context.body.clone(),
        ..Event::default()
    }
}

/// How this observer captures, which it says in every record.
pub(crate) fn captured() -> Shared<Body> {
    let cap = Capture {
        mode: Some(CaptureMode::Inline),
        conf: Some(CaptureConf::Full),
        parser: PARSER.to_owned(),
        ..Capture::default()
    };
    Body { cap: Some(cap.into()), ..Body::default() }.into()
}

/// What the records of a route say of their target before anything is read.
pub(crate) fn target(service: &str) -> Shared<Target> {
    Target { svc: service.to_owned(), ..Target::default() }.into()
}

/// What a request's record has before its head is read. `who` is set by the caller.
pub(super) fn request_event(conn: &Conn, context: &Context, t: u64) -> Event {
    let mut event = connection_event(conn, context, t);
    event.core.rec = Some(Rec::Interaction);
    event.core.kind = Some(Kind::Http);
    event.links.conn_seq = Some(conn.seq);
    event
}

/// The intent of what `event` is about to become: operation and target, and of the content no more than a
/// statement's fingerprint. The rest comes with the outcome.
pub(super) fn intent_event(event: &Event) -> Event {
    let mut intent = event.clone();
    intent.core.rec = Some(Rec::Intent);
    let fingerprint = intent.content.stmt_fp;
    intent.content = Default::default();
    intent.content.stmt_fp = fingerprint;
    intent
}

/// Between which addresses a connection is, as far as that is known; a part of each of its records.
fn peer(conn: &Conn) -> Shared<Peer> {
    let peer = Peer {
        src: Some(endpoint(conn.open.src)),
        dst: Some(endpoint(conn.open.dst)),
        up: conn.upstream.map(|(address, _)| endpoint(address)),
        transport: Some(Transport::Tcp),
        tls: conn.tls.as_deref().cloned(),
        hops: conn.hop.iter().map(|hop| (hop.ip().to_canonical().to_string(), Verified::Asserted)).collect(),
        ja4: conn.ja4.clone(),
        ..Peer::default()
    };
    peer.into()
}

pub(super) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint { ip: Some(address.ip().to_canonical()), port: Some(address.port()), ..Endpoint::default() }
}

/// The run's random half, then the connection's number.
pub(super) fn conn_id(run: [u8; 8], conn: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&run);
    id[8..].copy_from_slice(&conn.to_be_bytes());
    id
}

/// Completes the event of an exchange that has ended at `t`. `cut` = why, when it ended without an answer.
pub(super) fn finish(conn: &Conn, context: &Context, exchange: &mut Exchange, t: u64, cut: Option<&str>) {
    let Exchange { event, started, request, response, response_at, status, own, intent, content, .. } =
        exchange;
    let (started, response_at, own) = (*started, *response_at, *own);
    if let Some(intent) = intent {
        event.core.rec = Some(Rec::Outcome);
        event.links.of = intent.get().copied();
    }
    event.core.t_obs = context.wall(t);
    event.core.dur = Some(t.saturating_sub(started));
    // The upstream may have become known after the request was read.
    if let Some((address, _)) = conn.upstream.filter(|_| event.peer.up.is_none()) {
        event.peer.up = Some(endpoint(address));
    }
    event.core.lat = latencies(conn, started, response_at, response.ended);
    let status = own.map_or(*status, |o| Some(o.status));
    event.core.outcome = match (cut, own) {
        (Some(_), _) => None,
        (None, Some(o)) if o.refused => {
            Some(if o.status == 403 { Outcome::Denied } else { refused(o.status) })
        }
        // The server may or may not have acted: its answer is unknown, ours is not its answer.
        (None, Some(o)) if o.why.starts_with("upstream closed") || o.why.starts_with("upstream reset") => {
            None
        }
        (None, _) => status.map(outcome_of),
    };
    event.core.status = status.map(|s| (StatusSpace::Http, s.to_string()));
    if let Some(why) = own.map(|o| o.why).or(cut) {
        event.content.err = why.to_owned();
    }
    if let Some(content) = content.take() {
        content.judge(event, request.ended.is_some() && !request.unseen);
    }
    let body = &mut *event.body;
    body.req = payload(std::mem::take(request), false, &mut event.content.redacted);
    body.rsp = payload(std::mem::take(response), response_at.is_some(), &mut event.content.redacted);
}

fn refused(status: u16) -> Outcome {
    if status == 408 { Outcome::Timeout } else { Outcome::CallerError }
}

/// By status code (RFC 9110 section 15).
fn outcome_of(status: u16) -> Outcome {
    match status {
        401 | 403 | 407 => Outcome::Denied,
        408 | 504 => Outcome::Timeout,
        100..=399 => Outcome::Success,
        400..=499 => Outcome::CallerError,
        _ => Outcome::ServerError,
    }
}

/// Queued until the upstream was there, time to the first byte of the answer, time that the upstream took.
fn latencies(conn: &Conn, started: u64, first: Option<u64>, ended: Option<u64>) -> Option<[u64; 3]> {
    let (_, connected) = conn.upstream?;
    let first = first?;
    let sent = connected.max(started);
    Some([sent - started, first.saturating_sub(started), ended.unwrap_or(first).saturating_sub(sent)])
}

fn payload(body: BodySoFar, empty_too: bool, redacted: &mut Vec<(String, u64)>) -> Option<Payload> {
    if body.size == 0 && !empty_too {
        return None;
    }
    let excerpt = excerpt(&body, redacted);
    let digest = body.digest.filter(|_| !body.unseen).map(|d| d.finish());
    Some(Payload {
        size: Some(body.size),
        alg: digest.map(|_| DigestAlg::HmacSha256),
        digest,
        content_type: body.content_type,
        truncated: (body.unseen || (!excerpt.is_empty() && body.size > body.excerpt_max as u64))
            .then_some(true),
        excerpt,
        ..Payload::default()
    })
}

/// The kept beginning of a body, redacted. What is no text is not kept: nothing could be found in it.
fn excerpt(body: &BodySoFar, redacted: &mut Vec<(String, u64)>) -> Vec<u8> {
    let valid = match std::str::from_utf8(&body.excerpt) {
        Ok(text) => text,
        // A character that the bound cut in two.
        Err(e) if e.error_len().is_none() => {
            std::str::from_utf8(body.excerpt.get(..e.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => {
            redacted.push(("body-not-text".to_owned(), 1));
            return Vec::new();
        }
    };
    let cleaned = scan_text(valid.as_bytes(), body.excerpt_max);
    redacted.extend(cleaned.hits.into_iter().map(|(rule, n)| (format!("body:{rule}"), n)));
    cleaned.text.into_bytes()
}

/// The record of a connection, or of the rest of one, whose bytes passed unread.
pub(super) fn opaque_event(
    conn: &Conn,
    context: &Context,
    (since, t): (u64, u64),
    first: &str,
    (up, down): (u64, u64),
    cut: Option<&str>,
) -> Event {
    let mut event = connection_event(conn, context, since);
    event.core.rec = Some(Rec::Opaque);
    event.core.kind = Some(Kind::L4);
    event.core.proto = "tcp".to_owned();
    event.core.op = "session".to_owned();
    event.core.class = Some(Class::Connect);
    event.core.t_obs = context.wall(t);
    event.core.dur = Some(t.saturating_sub(since));
    event.core.outcome = cut.is_none().then_some(Outcome::Success);
    event.content.detail.insert(l4::BYTES_UP, Value::Uint(up));
    event.content.detail.insert(l4::BYTES_DOWN, Value::Uint(down));
    event.content.detail.insert(l4::FIRST, Value::Text(first.to_owned()));
    event.content.err = cut.unwrap_or_default().to_owned();
    event.links.conn_seq = Some(conn.seq + 1);
    if let Some(cap) = &mut event.body.cap {
        cap.conf = Some(CaptureConf::Partial);
    }
    event
}

/// A connection that did not come to a first message.
pub(super) fn session_event(
    conn: &Conn,
    context: &Context,
    t: u64,
    op: &str,
    outcome: Outcome,
    why: &str,
) -> Event {
    let mut event = connection_event(conn, context, t);
    event.core.rec = Some(Rec::SessionOpen);
    event.core.kind = Some(Kind::Auth);
    event.core.op = op.to_owned();
    event.core.class = Some(Class::Authenticate);
    event.core.outcome = Some(outcome);
    event.content.err = why.to_owned();
    event
}
