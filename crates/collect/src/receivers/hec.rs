//! Splunk's HTTP Event Collector: what Splunk's forwarders, SDKs, Vector and Fluent Bit send, unmodified.
//!
//! Source: Splunk, "HTTP Event Collector REST API endpoints", "Format events", "Troubleshoot" (codes). Without a
//! channel the reply waits until the events are durable. With one (`X-Splunk-Request-Channel`, or `channel` in the
//! query) the request is answered with a number at once, and `/ack` says true to it when they are durable, not
//! before; [`channels`] keeps the numbers. A body that cannot be cut into events is refused whole, with the number of
//! the first bad one; an event that is cut but not understood is recorded raw. Any index is taken, so code 7 is said
//! only of one that is no text; acknowledgement is never disabled (14).

mod channels;

pub(super) use channels::Channels;

use super::events::lines;
use super::http::{Push, Reply, json};
use super::port::{Port, now, sender};
use crate::draft::json_text;
use crate::formats::pushed::SPLUNK_HEC;
use crate::intake::Refusal;
use crate::json::{Doc, Kind, split};
use crate::{Input, observe};
use channels::{CHANNEL_MAX, Channel};
use countersign_event::Event;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Most numbers in one question for acknowledgements.
const ASKED_MAX: usize = 4_000;

/// What is asked of the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `/services/collector`, `/services/collector/event`
    Event,
    /// `/services/collector/raw`
    Raw,
    /// `/services/collector/ack`
    Ack,
    /// `/services/collector/health`
    Health,
}

/// The call behind `/services/collector`; `None` = no such one.
pub(super) fn call(method: &Method, path: &str) -> Option<Call> {
    let path = path.strip_suffix("/1.0").unwrap_or(path);
    let post = matches!(*method, Method::POST | Method::PUT);
    match path {
        "" | "/event" if post => Some(Call::Event),
        "/raw" if post => Some(Call::Raw),
        "/ack" if post => Some(Call::Ack),
        "/health" => Some(Call::Health),
        _ => None,
    }
}

/// A code of Splunk's with its status and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Success,
    TokenRequired,
    InvalidAuthorization,
    InvalidToken,
    NoData,
    InvalidData,
    IncorrectIndex,
    Busy,
    NoChannel,
    BadChannel,
    EventRequired,
    EventBlank,
    Healthy,
    Unhealthy,
}

impl Code {
    fn row(self) -> (u16, StatusCode, &'static str) {
        match self {
            Code::Success => (0, StatusCode::OK, "Success"),
            Code::TokenRequired => (2, StatusCode::UNAUTHORIZED, "Token is required"),
            Code::InvalidAuthorization => (3, StatusCode::UNAUTHORIZED, "Invalid authorization"),
            Code::InvalidToken => (4, StatusCode::FORBIDDEN, "Invalid token"),
            Code::NoData => (5, StatusCode::BAD_REQUEST, "No data"),
            Code::InvalidData => (6, StatusCode::BAD_REQUEST, "Invalid data format"),
            Code::IncorrectIndex => (7, StatusCode::BAD_REQUEST, "Incorrect index"),
            Code::Busy => (9, StatusCode::SERVICE_UNAVAILABLE, "Server is busy"),
            Code::NoChannel => (10, StatusCode::BAD_REQUEST, "Data channel is missing"),
            Code::BadChannel => (11, StatusCode::BAD_REQUEST, "Invalid data channel"),
            Code::EventRequired => (12, StatusCode::BAD_REQUEST, "Event field is required"),
            Code::EventBlank => (13, StatusCode::BAD_REQUEST, "Event field cannot be blank"),
            Code::Healthy => (17, StatusCode::OK, "HEC is healthy"),
            Code::Unhealthy => (18, StatusCode::SERVICE_UNAVAILABLE, "HEC is unhealthy, queues are full"),
        }
    }

    fn reply(self) -> Reply {
        self.with("")
    }

    /// `more` is further members, each behind a comma.
    fn with(self, more: &str) -> Reply {
        let (code, status, text) = self.row();
        json(status, format!("{{\"text\":\"{text}\",\"code\":{code}{more}}}"))
    }
}

/// Whether more would be taken now; asked without a credential, as Splunk allows it.
pub(super) fn health(port: &Port) -> Reply {
    if port.intake.room(0).is_ok() { Code::Healthy.reply() } else { Code::Unhealthy.reply() }
}

/// The sender has no credential that passes.
pub(super) fn unauthenticated(headers: &HeaderMap) -> Reply {
    let Some(given) = headers.get("authorization") else { return Code::TokenRequired.reply() };
    let scheme = given.as_bytes().split(|b| *b == b' ').next().unwrap_or_default().to_ascii_lowercase();
    match scheme.as_slice() {
        b"splunk" | b"basic" | b"bearer" => Code::InvalidToken.reply(),
        _ => Code::InvalidAuthorization.reply(),
    }
}

pub(super) async fn receive(push: Push, call: Call, channels: &Channels) -> Reply {
    let channel = match channel(&push) {
        Ok(channel) => channel,
        Err(code) => return refused(&push.port, code, None),
    };
    match call {
        Call::Health => health(&push.port),
        Call::Ack => match channel {
            Some(channel) => acknowledged(&push, &channel, channels),
            None => Code::NoChannel.reply(),
        },
        Call::Event | Call::Raw => {
            let input = Input { inner: push.port.format, ..push.port.input_of(&push.deliverer) };
            let events = if call == Call::Event { events(&push, &input) } else { raw(&push, &input) };
            let mut events = match events {
                Ok(events) => events,
                Err((code, number)) => return refused(&push.port, code, number),
            };
            events.iter_mut().for_each(|event| sender(event, push.deliverer.peer));
            match channel {
                None => wait(&push, events).await,
                Some(channel) => number(&push, events, &channel, channels),
            }
        }
    }
}

/// The request's channel: a GUID in its header, else in its query; `None` = it has none.
fn channel(push: &Push) -> Result<Option<Channel>, Code> {
    let header = push.headers.get("x-splunk-request-channel").map(HeaderValue::as_bytes);
    let query = || parameters(&push.query).remove("channel").map(String::into_bytes);
    let Some(name) = header.map(<[u8]>::to_vec).or_else(query) else { return Ok(None) };
    let is_guid = name.len() <= CHANNEL_MAX
        && name.iter().filter(|b| b.is_ascii_hexdigit()).count() == 32
        && name.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b'-' | b'{' | b'}'));
    let name = String::from_utf8(name).ok().filter(|_| is_guid).ok_or(Code::BadChannel)?;
    Ok(Some(Channel { deliverer: push.deliverer.id.clone(), name: name.to_ascii_lowercase() }))
}

/// A whole request that is refused for good. `number` is that of its first bad event.
fn refused(port: &Port, code: Code, number: Option<usize>) -> Reply {
    port.intake.rejected(1, "hec_request");
    let number = number.map(|number| format!(",\"invalid-event-number\":{number}"));
    code.with(&number.unwrap_or_default())
}

fn busy(refusal: &Refusal) -> Reply {
    let mut reply = Code::Busy.reply();
    if let (_, Some(seconds)) = super::http::again(refusal) {
        reply.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    reply
}

async fn wait(push: &Push, events: Vec<Event>) -> Reply {
    match push.port.deliver(events, push.body.len(), true).await {
        Ok(_) => Code::Success.reply(),
        Err(refusal) => busy(&refusal),
    }
}

/// Answers with a number, and lets the events become durable.
fn number(push: &Push, events: Vec<Event>, channel: &Channel, channels: &Channels) -> Reply {
    let delivery = match push.port.begin(events, push.body.len(), true) {
        Ok(delivery) => delivery,
        Err(refusal) => return busy(&refusal),
    };
    let Some((number, durable)) = channels.open(channel) else {
        return busy(&Refusal::Busy("too many acknowledgements are waited for"));
    };
    let port = Arc::clone(&push.port);
    tokio::spawn(async move {
        match delivery.patiently(&port).await {
            Ok(_) => durable.set(),
            // The number stays false: whoever asks for it sends again.
            Err(refusal) => tracing::warn!(%refusal, "a numbered request did not become durable"),
        }
    });
    Code::Success.with(&format!(",\"ackId\":{number}"))
}

/// `{"acks":[1,2]}` is answered `{"acks":{"1":true,"2":false}}`.
fn acknowledged(push: &Push, channel: &Channel, channels: &Channels) -> Reply {
    let doc = Doc::parse(&push.body).ok();
    let asked = doc.as_ref().and_then(|doc| doc.root().get("acks")).filter(|acks| acks.kind() == Kind::Array);
    let Some(asked) = asked else { return Code::InvalidData.reply() };
    let mut out = String::from("{\"acks\":{");
    for (at, number) in asked.elements().filter_map(|number| number.uint()).take(ASKED_MAX).enumerate() {
        let comma = if at > 0 { "," } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(out, "{comma}\"{number}\":{}", channels.is_durable(channel, number));
    }
    out.push_str("}}");
    json(StatusCode::OK, out)
}

/// Why a body is refused, and the number of its first bad event.
type Bad = (Code, Option<usize>);

/// Events that follow each other, or in an array.
fn events(push: &Push, input: &Input) -> Result<Vec<Event>, Bad> {
    let body = push.body.trim_ascii();
    let parts = if body.first() == Some(&b'[') { split::elements(body, None) } else { split::values(body) };
    let mut out = Vec::new();
    for (number, span) in parts.enumerate() {
        let bad = |code| (code, Some(number));
        let record = span.ok().and_then(|span| body.get(span)).filter(|record| record.starts_with(b"{"));
        let record = record.ok_or(bad(Code::InvalidData))?;
        check(record).map_err(bad)?;
        out.push(observe(record, Some(&SPLUNK_HEC), input, &push.port.keeper, now()));
    }
    if out.is_empty() { Err((Code::NoData, None)) } else { Ok(out) }
}

/// What Splunk refuses. An object that is not JSON inside, or larger than a record may be, is for the parser to keep.
fn check(record: &[u8]) -> Result<(), Code> {
    let Ok(doc) = Doc::parse(record) else { return Ok(()) };
    let event = doc.root().get("event").filter(|event| event.kind() != Kind::Null);
    let event = event.ok_or(Code::EventRequired)?;
    if event.peek().is_some_and(|text| text.is_empty()) {
        return Err(Code::EventBlank);
    }
    let index = doc.root().get("index").map(|index| index.kind());
    if index.is_some_and(|kind| !matches!(kind, Kind::Text | Kind::Null)) {
        return Err(Code::IncorrectIndex);
    }
    Ok(())
}

/// Lines as they are; what the query says of them makes each an event as [`events`] has them.
fn raw(push: &Push, input: &Input) -> Result<Vec<Event>, Bad> {
    let around = parameters(&push.query);
    let about = ["host", "source", "sourcetype", "index"];
    let about: String = about
        .iter()
        .filter_map(|name| Some(format!("\"{name}\":{},", json_text(around.get(*name)?))))
        .collect();
    let one = |line: &[u8]| match std::str::from_utf8(line) {
        Ok(text) if !about.is_empty() => {
            let record = format!("{{{about}\"event\":{}}}", json_text(text));
            observe(record.as_bytes(), Some(&SPLUNK_HEC), input, &push.port.keeper, now())
        }
        _ => push.port.observe(line, input),
    };
    let events: Vec<Event> = lines(&push.body).map(one).collect();
    if events.is_empty() { Err((Code::NoData, None)) } else { Ok(events) }
}

/// The parameters of a query, the first of each name, with `%XX` and `+` decoded.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        out.entry(decoded(name)).or_insert_with(|| decoded(value));
    }
    out
}

/// `%XX` and `+` of a form.
pub(super) fn decoded(text: &str) -> String {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_forms_write_it() {
        let read = parameters("host=a%20b+c&source=%2Fvar&source=2&bad=%zz&%");
        assert_eq!(read["host"], "a b c");
        assert_eq!((read["source"].as_str(), read["bad"].as_str()), ("/var", "%zz"));
    }

    #[test]
    fn calls_are_known_by_their_paths() {
        assert_eq!(call(&Method::POST, ""), Some(Call::Event));
        assert_eq!(call(&Method::POST, "/event/1.0"), Some(Call::Event));
        assert_eq!(call(&Method::GET, "/health/1.0"), Some(Call::Health));
        assert_eq!(call(&Method::GET, "/raw"), None);
        assert_eq!(call(&Method::POST, "/eventful"), None);
    }
}
