//! Fuzz bodies: plain functions that must return for any input. Stable tests run them from seeds.

mod edge;
mod h2;
mod ingest;
mod login;
mod messages;
mod postgres;
mod redis;
mod scram;
mod sql;

pub use edge::edge;
pub use h2::{grpc, h2_frames, h2_packed};
pub use ingest::{ingest, read as read_ingest};
pub use login::{Fixed, postgres_login};
pub use messages::{jsonrpc, sse, websocket};
pub use postgres::{NoDigests, postgres_conversation, postgres_value};
pub use redis::redis_conversation;
pub use scram::scram;
pub use sql::{sql_classify, sql_normalise, sql_split};

use crate::http1::{Framer, PieceKind, fields, target};
use crate::{detect, ja4, proxy, trace};

/// Feeds `data` to a framer: the first byte chooses the split, the rest goes to the client's direction,
/// then to the server's.
pub fn http1_framer(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let step = usize::from(*first % 17) + 1;
    let half = rest.iter().position(|b| *b == 0xff).unwrap_or(rest.len());
    let (requests, responses) = rest.split_at(half);
    let mut framer = Framer::default();
    feed(step, requests, |buf| framer.request(buf).map(|p| (p.kind, p.len)));
    let _ = framer.request_eof(false);
    feed(step, responses.get(1..).unwrap_or_default(), |buf| framer.response(buf).map(|p| (p.kind, p.len)));
    let _ = framer.response_eof(false);
}

fn feed<E>(step: usize, bytes: &[u8], mut judge: impl FnMut(&[u8]) -> Result<(PieceKind, usize), E>) {
    let (mut from, mut to) = (0, 0);
    while to < bytes.len() {
        to = (to + step).min(bytes.len());
        loop {
            let Some(front) = bytes.get(from..to) else { return };
            match judge(front) {
                Err(_) => return,
                Ok((PieceKind::More | PieceKind::Blocked, _)) => break,
                Ok((_, 0)) => break,
                Ok((_, n)) => {
                    assert!(n <= front.len(), "a piece is part of what was shown");
                    from += n;
                }
            }
        }
    }
}

/// Reads `data` as a request head, a response head and a target.
pub fn http1_fields(data: &[u8]) {
    let mut slots = fields::Slots::default();
    if let Some(request) = fields::request(data, &mut slots) {
        let _ = (target::path_and_query(request.target), target::authority(request.target));
        let _ = (request.fields.get("host"), request.fields.iter().count());
    }
    let mut slots = fields::Slots::default();
    let _ = fields::response(data, &mut slots).map(|r| r.fields.iter().count());
    let _ = (target::form(data), target::path_and_query(data), target::authority(data));
}

/// Reads `data` as every carrier of trace context, and as the first bytes of a connection.
pub fn trace_and_detect(data: &[u8]) {
    let _ = (trace::traceparent(data), trace::b3_single(data), trace::request_id(data));
    let _ = (trace::tracestate_is_valid(data), trace::b3_multi(data, Some(data), Some(data), Some(data)));
    let _ = detect::detect(data);
}

/// Reads `data` as a PROXY protocol header, whole and in every prefix's judgement.
pub fn proxy(data: &[u8]) {
    let whole = proxy::parse(data);
    if let Ok(proxy::Proxied::Header { len, .. }) = &whole {
        assert!(*len <= data.len() && *len <= proxy::V2_MAX_BYTES, "a header is part of what was shown");
        let alone = data.get(..*len).map(proxy::parse);
        assert_eq!(alone, Some(whole.clone()), "what follows a header does not change it");
        let short = data.get(..len.saturating_sub(1)).map(proxy::parse);
        assert_eq!(short, Some(Ok(proxy::Proxied::More)), "a header is not done before its last byte");
    }
}

/// Reads `data` as the start of a TLS connection, and as a ClientHello's body.
pub fn client_hello(data: &[u8]) {
    if let ja4::Hello::Whole(body) = ja4::hello(data) {
        assert!(body.len() <= ja4::HELLO_MAX_BYTES, "bounded");
        let _ = ja4::parse(&body);
    }
    if let Some(hello) = ja4::parse(data) {
        assert_eq!(ja4::ja4(&hello, ja4::Carrier::Tcp).len(), 36, "a fingerprint has one length");
    }
}
