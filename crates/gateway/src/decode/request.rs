//! From the heads of an exchange to the fields of its event. Secrets end here: what is not named below as
//! kept is not kept.

use super::content::Content;
use super::exchange::{BodySoFar, Conn, Exchange};
use super::headers::{content_type, keep_header, read_fields};
use super::identify::Found;
use super::mcp::Reading;
use super::path::{Cleaned, clean};
use super::redact::{REDACTED, clean_text, looks_secret};
use super::websocket::Agreed;
use super::{Context, event, identify};
use crate::ring::Decided;
use countersign_event::cbor::Value;
use countersign_event::{Class, Event, Unmapped};
use countersign_policy::Request as PolicyRequest;
use countersign_wire::http1::fields::{self, Fields, Request, Slots};
use countersign_wire::http1::target;

/// Most of a body that is kept, bytes (event schema 1: `excerpt`).
const EXCERPT_MAX: usize = 4_096;
/// Query keys kept, and the longest of them.
const QUERY_KEYS_MAX: usize = 64;
const QUERY_KEY_MAX: usize = 64;
/// Methods that may stand in `core`, which must never need erasing; any other goes to `content.unmapped`.
const METHODS: [&str; 24] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "SEARCH",
    "REPORT",
    "MERGE",
    "LINK",
    "UNLINK",
    "QUERY",
    "PURGE",
    "LIST",
];
/// Keys of `content.detail` for http.
pub(super) mod detail {
    pub(in crate::decode) const SCHEME: u64 = 0;
    pub(in crate::decode) const QUERY_KEYS: u64 = 1;
    pub(in crate::decode) const AUTH_SCHEME: u64 = 2;
    pub(in crate::decode) const UPGRADE: u64 = 3;
}

/// The exchange of a request that was let through.
pub(super) fn begin(
    conn: &Conn,
    context: &mut Context,
    t: u64,
    head: &[u8],
    decided: Option<Box<Decided>>,
) -> Box<Exchange> {
    let mut slots = Slots::default();
    let mut exchange = empty(conn, context, t);
    let event = &mut exchange.event;
    // The framer has read this head already, so this cannot fail; if it did, the record would still be made.
    let Some(request) = fields::request(head, &mut slots) else {
        event.content.err = "head could not be read again".to_owned();
        return exchange;
    };
    event.core.proto = if request.version == 0 { "http/1.0" } else { "http/1.1" }.to_owned();
    set_method(event, request.method);
    set_target(event, conn, context, request.target, request.method == "CONNECT");
    event.content.detail.insert(detail::SCHEME, Value::Text(scheme(conn).to_owned()));
    read_fields(event, request.fields);
    exchange.request.content_type = content_type(request.fields);
    let call = ("http/1.1", request.method);
    let inline = decided.is_some();
    set_who(&mut exchange, conn, context, t, call, &request, decided);
    if context.routes.get(conn.open.route).is_some_and(|r| r.mcp) {
        let reading = Reading::new(context, request.fields, request.method, request.target, inline);
        exchange.bodies = Some(Box::new(reading));
    }
    exchange
}

/// The exchange of a stream of HTTP/2, and whether it is a call of gRPC. `fields` hold the pseudo fields too.
pub(super) fn begin_h2(
    conn: &Conn,
    context: &mut Context,
    t: u64,
    fields: Fields<'_>,
    decided: Option<Box<Decided>>,
) -> (Box<Exchange>, bool) {
    let mut exchange = empty(conn, context, t);
    // On MCP routes other requests are plain HTTP.
    let mcp = context.routes.get(conn.open.route).is_some_and(|r| r.mcp);
    let head = identify::H2Head::read(fields, !mcp);
    let event = &mut exchange.event;
    event.core.proto = "http/2".to_owned();
    set_method(event, head.method);
    set_target(event, conn, context, head.path, head.method == "CONNECT");
    event.content.detail.insert(detail::SCHEME, Value::Text(scheme(conn).to_owned()));
    read_fields(event, fields);
    if head.grpc {
        super::grpc::set_call(event, &head);
    }
    if let Some(cap) = &mut event.body.cap {
        cap.changes.push("reencoded".to_owned());
    }
    exchange.request.content_type = content_type(fields);
    let operation = if head.grpc { exchange.event.core.op.clone() } else { head.method.to_owned() };
    let request = Request { method: head.method, target: head.path, version: 2, fields };
    let inline = decided.is_some();
    set_who(&mut exchange, conn, context, t, (head.protocol(), &operation), &request, decided);
    if mcp {
        exchange.bodies = Some(Box::new(Reading::new(context, fields, head.method, head.path, inline)));
    }
    (exchange, head.grpc)
}

/// The exchange of a request that was refused: of its head only a sound-looking first line is read.
pub(super) fn begin_refused(conn: &Conn, context: &mut Context, t: u64, head: &[u8]) -> Box<Exchange> {
    let mut exchange = empty(conn, context, t);
    let event = &mut exchange.event;
    event.core.proto = "http/1.1".to_owned();
    event.who = conn.base.who.clone();
    let line = head.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
    let mut words = line.split(|b| *b == b' ');
    let method = words.next().and_then(|m| std::str::from_utf8(m).ok()).filter(|m| METHODS.contains(m));
    if let (Some(method), Some(target), Some(_)) = (method, words.next(), words.next()) {
        set_method(event, method);
        set_target(event, conn, context, target, method == "CONNECT");
    }
    exchange
}

fn empty(conn: &Conn, context: &Context, t: u64) -> Box<Exchange> {
    let mut event = event::request_event(conn, context, t);
    let capture = context.routes.get(conn.open.route).and_then(|r| r.capture);
    let capture = capture.filter(|c| conn.seq.is_multiple_of(u64::from(c.one_in.max(1))));
    let body =
        || BodySoFar { excerpt_max: capture.map_or(0, |c| c.bytes.min(EXCERPT_MAX)), ..BodySoFar::default() };
    if let Some(capture) = capture {
        let rule = format!("\"{} bytes of 1 in {}\"", capture.bytes.min(EXCERPT_MAX), capture.one_in.max(1));
        event.content.unmapped.insert("/capture".to_owned(), Unmapped::Token(rule));
    }
    Box::new(Exchange {
        event,
        started: t,
        request: body(),
        response: body(),
        response_at: None,
        status: None,
        own: None,
        fault: None,
        intent: None,
        bodies: None,
        made: 0,
        listed: None,
        content: None,
    })
}

/// Reads a final response head into `exchange`.
pub(super) fn read_response(exchange: &mut Exchange, head: &[u8]) {
    let mut slots = Slots::default();
    if let Some(response) = fields::response(head, &mut slots) {
        exchange.status = Some(response.status);
        exchange.response.content_type = content_type(response.fields);
    }
}

/// What both sides of a connection agreed on when HTTP switched with this response head.
pub(super) fn agreed(exchange: &Exchange, head: &[u8], mcp_route: bool, t: u64) -> Agreed {
    let mut slots = Slots::default();
    let mut event = exchange.event.clone();
    let (mut deflate, mut mcp) = (false, mcp_route);
    if let Some(response) = fields::response(head, &mut slots) {
        let has = |value: &[u8], word: &[u8]| value.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
        let extensions = response.fields.get("sec-websocket-extensions").unwrap_or_default();
        deflate = has(extensions, b"permessage-deflate");
        if let Some(protocol) = response.fields.get("sec-websocket-protocol") {
            mcp |= protocol.eq_ignore_ascii_case(b"mcp");
            let mut secrets = 0;
            keep_header(&mut event, "sec-websocket-protocol", protocol, &mut secrets);
        }
    }
    Agreed { event, deflate, mcp, t }
}

/// As [`read_response`], of HTTP/2.
pub(super) fn read_response_h2(exchange: &mut Exchange, fields: Fields<'_>) {
    let status = fields.get(":status").and_then(|s| std::str::from_utf8(s).ok());
    exchange.status = status.and_then(|s| s.parse().ok());
    exchange.response.content_type = content_type(fields);
}

/// Word of the request's `Upgrade` field, lower case; empty when there was none.
pub(super) fn upgrade_of(exchange: &Exchange) -> String {
    match exchange.event.content.detail.get(&detail::UPGRADE) {
        Some(Value::Text(word)) => word.to_ascii_lowercase(),
        _ => String::new(),
    }
}

fn scheme(conn: &Conn) -> &'static str {
    if conn.tls.is_some() { "https" } else { "http" }
}

fn set_method(event: &mut Event, method: &str) {
    event.core.class = identify::class_of(method);
    if METHODS.contains(&method) {
        event.core.op = method.to_owned();
        return;
    }
    event.core.op = "other".to_owned();
    let (text, _) = clean_text(method.as_bytes(), QUERY_KEY_MAX);
    event.content.unmapped.insert("/method".to_owned(), Unmapped::Bytes(text.into_bytes()));
}

fn set_target(event: &mut Event, conn: &Conn, context: &Context, sent: &[u8], authority: bool) {
    let (path, query) = if authority { (sent, None) } else { target::path_and_query(sent) };
    let Cleaned { raw, redacted, cut } = clean(path);
    let (res, id) = context.templates.of(conn.open.route, &raw);
    event.target.res = res;
    event.target.id = id;
    event.target.raw = raw;
    if redacted > 0 {
        event.content.redacted.push(("path".to_owned(), redacted));
    }
    if let Some(length) = cut {
        event.content.cut.push((3 * 256 + 2, length));
    }
    if let Some(query) = query.filter(|q| !q.is_empty()) {
        set_query(event, query);
    }
}

/// Keys only. An item without `=` may be a value, so it is not kept.
fn set_query(event: &mut Event, query: &[u8]) {
    let mut keys = Vec::new();
    let (mut values, mut bare) = (0, 0);
    for item in query.split(|b| *b == b'&').filter(|i| !i.is_empty()) {
        let Some(at) = memchr_eq(item) else {
            bare += 1;
            continue;
        };
        values += 1;
        let (mut key, hits) = clean_text(item.get(..at).unwrap_or_default(), QUERY_KEY_MAX);
        if hits > 0 || looks_secret(&key) {
            key = REDACTED.to_owned();
        }
        if keys.len() < QUERY_KEYS_MAX {
            keys.push(Value::Text(key));
        }
    }
    if !keys.is_empty() {
        event.content.detail.insert(detail::QUERY_KEYS, Value::Array(keys));
    }
    for (rule, hits) in [("query-value", values), ("query-bare", bare)] {
        if hits > 0 {
            event.content.redacted.push((rule.to_owned(), hits));
        }
    }
}

fn memchr_eq(item: &[u8]) -> Option<usize> {
    item.iter().position(|b| *b == b'=')
}

fn set_who(
    exchange: &mut Exchange,
    conn: &Conn,
    context: &mut Context,
    t: u64,
    (protocol, operation): (&str, &str),
    request: &Request<'_>,
    decided: Option<Box<Decided>>,
) {
    let event = &mut exchange.event;
    let (who, decision, failures, content) = match decided {
        Some(decided) => (decided.who, decided.decision, decided.failures, decided.content),
        None => {
            let wall = context.wall(t);
            let head = identify::Head {
                method: request.method,
                target: request.target,
                fields: request.fields,
                tls: conn.identity.as_deref(),
                secure: conn.tls.is_some(),
                peer: conn.open.src.ip(),
            };
            let http = context.checks.http(&context.identities, head, identify::seconds(wall));
            let found = if http.principals.is_empty() && http.failures.is_empty() {
                // The record of a connection begins with who it is by the connection alone.
                let who = std::mem::take(&mut event.who);
                Found { who, failures: conn.base.failures.clone(), ..Found::default() }
            } else {
                identify::who(conn.address.clone(), conn.identity.as_deref(), http)
            };
            let caller = conn.caller(context, wall);
            let purpose = identify::purpose_of(caller.purpose, Some(request.fields), found.claims.as_ref());
            let ask = PolicyRequest {
                protocol,
                operation,
                resource: &event.target.res,
                class: event.core.class.filter(|c| *c != Class::Other(0)),
                ..PolicyRequest::default()
            };
            let decision = caller.decision(&found.who, &purpose, ask, context.policy.as_ref());
            (found.who, decision, found.failures, found.content)
        }
    };
    event.who = who;
    event.core.decision = Some(decision.into());
    identify::tell_failures(event, &failures);
    exchange.content = content.map(|stated| Box::new(Content::new(stated)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_and_bare_items_are_not_kept() {
        let mut event = Event::default();
        set_query(&mut event, b"a=secret&b=&ghp_16C7e42F292c6912E7710c838347Ae178B4a=1&hunter2");
        let shown = format!("{event:?}");
        assert!(!shown.contains("secret") && !shown.contains("hunter2") && !shown.contains("ghp_"));
        assert_eq!(event.content.redacted, [("query-value".to_owned(), 3), ("query-bare".to_owned(), 1)]);
    }
}
