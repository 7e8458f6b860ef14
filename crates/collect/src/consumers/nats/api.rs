//! JetStream's own messages: what is asked for, what is answered, and where a delivered message lies in its stream.
//!
//! Source: the NATS documentation, "JetStream wire API reference" (`$JS.API.…`, JSON), and ADR-15 for the subjects
//! that a message is acknowledged at. Pure functions. Not a stream's administrator: streams are read, never made.

use crate::draft::json_text;
use crate::json::{Doc, Kind, Val};
use std::fmt::Write as _;
use std::time::Duration;

/// Code of the error that there is no such consumer.
pub const NO_CONSUMER: u64 = 10_014;
/// Code of the error that there is no such stream.
pub const NO_STREAM: u64 = 10_059;
/// Longest description of an error that is told on, bytes.
const SAID_MAX: usize = 300;

/// What a server says of itself when a client connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// It speaks TLS only.
    pub tls_required: bool,
    /// It speaks TLS if asked to.
    pub tls_available: bool,
    /// What a key must sign; empty = nothing.
    pub nonce: String,
    /// It passes headers on.
    pub headers: bool,
}

impl ServerInfo {
    /// Reads the JSON behind `INFO`; `None` = it is none.
    pub fn read(bytes: &[u8]) -> Option<ServerInfo> {
        let doc = Doc::parse(bytes).ok()?;
        let root = doc.root();
        let on = |name: &str| root.get(name).and_then(|value| value.bool()).unwrap_or(false);
        Some(ServerInfo {
            tls_required: on("tls_required"),
            tls_available: on("tls_available"),
            nonce: root.get("nonce").and_then(|value| value.text()).unwrap_or_default().into_owned(),
            headers: on("headers"),
        })
    }
}

/// An answer of the API. What it does not say is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The request was refused.
    pub error: Option<ApiError>,
    /// Of an answer about a consumer.
    pub consumer: ConsumerState,
    /// Of an answer about a stream.
    pub stream: StreamState,
}

/// A refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiError {
    /// As of HTTP.
    pub code: u64,
    /// JetStream's own.
    pub err_code: u64,
    /// In words.
    pub description: String,
}

/// How a consumer is made, and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerState {
    /// `explicit` = each message is acknowledged by itself.
    pub ack_policy: String,
    /// How often a message is delivered before it is given up; -1 = until it is acknowledged.
    pub max_deliver: i64,
    /// Messages are pushed there; empty = they are pulled.
    pub deliver_subject: String,
    /// Some messages of the stream are left out.
    pub filtered: bool,
    /// The newest message delivered, in the stream.
    pub delivered: u64,
    /// Deliveries made, repeated ones included.
    pub deliveries: u64,
    /// Every message up to this one was acknowledged, in the stream.
    pub floor: u64,
    /// Messages delivered and not acknowledged.
    pub unacknowledged: u64,
    /// Messages not delivered yet.
    pub waiting: u64,
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Sequence of the oldest message; of the next one, where it is empty.
    pub first: u64,
    /// Sequence of the newest message ever.
    pub last: u64,
}

fn uint(value: Val<'_, '_>, path: &str) -> u64 {
    value.at(path).and_then(|value| value.uint()).unwrap_or(0)
}

fn text(value: Val<'_, '_>, path: &str) -> String {
    value.at(path).and_then(|value| value.text()).unwrap_or_default().into_owned()
}

impl Reply {
    /// Reads one; `None` = it is no JSON object.
    pub fn read(bytes: &[u8]) -> Option<Reply> {
        let doc = Doc::parse(bytes).ok()?;
        let root = doc.root();
        if root.kind() != Kind::Object {
            return None;
        }
        let error = root.get("error").map(|error| ApiError {
            code: uint(error, "code"),
            err_code: uint(error, "err_code"),
            description: crate::seal::clipped(text(error, "description"), SAID_MAX),
        });
        let several = root.at("config/filter_subjects").is_some_and(|list| list.elements().next().is_some());
        let consumer = ConsumerState {
            ack_policy: text(root, "config/ack_policy"),
            // Absent where it is the default.
            max_deliver: root.at("config/max_deliver").and_then(|value| value.int()).unwrap_or(-1),
            deliver_subject: text(root, "config/deliver_subject"),
            filtered: several || !matches!(text(root, "config/filter_subject").as_str(), "" | ">"),
            delivered: uint(root, "delivered/stream_seq"),
            deliveries: uint(root, "delivered/consumer_seq"),
            floor: uint(root, "ack_floor/stream_seq"),
            unacknowledged: uint(root, "num_ack_pending"),
            waiting: uint(root, "num_pending"),
        };
        let stream = StreamState { first: uint(root, "state/first_seq"), last: uint(root, "state/last_seq") };
        Some(Reply { error, consumer, stream })
    }
}

/// A delivered message's place, read from the subject at which it is acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its stream.
    pub stream: String,
    /// How often it was delivered, this time included.
    pub times: u64,
    /// Its number in the stream.
    pub seq: u64,
    /// The delivery's number at the consumer.
    pub delivery: u64,
    /// When the stream took it, UTC ns since 1970.
    pub stored: i64,
}

impl Place {
    /// `$JS.ACK.STREAM.CONSUMER.TIMES.SEQ.DELIVERY.TIME.PENDING`, or with domain and account before the stream and a
    /// token behind; `None` = it is neither.
    pub fn read(subject: &str) -> Option<Place> {
        let words: Vec<&str> = subject.strip_prefix("$JS.ACK.")?.split('.').take(12).collect();
        let own = match words.len() {
            7 => words.as_slice(),
            9..=11 => words.get(2..9)?,
            _ => return None,
        };
        let [stream, _consumer, times, seq, delivery, stored, _pending] = own else { return None };
        Some(Place {
            stream: (*stream).to_owned(),
            times: times.parse().ok()?,
            seq: seq.parse().ok()?,
            delivery: delivery.parse().ok()?,
            stored: stored.parse().ok()?,
        })
    }

    /// What a repeat of the message is known by. The time is part of it: a stream that was deleted and made anew counts
    /// from 1 again.
    pub fn id(&self) -> String {
        format!("nats:{}/{}@{}", self.stream, self.seq, self.stored)
    }
}

/// Whether `name` can be the name of a stream or a consumer: it is one word of a subject.
pub fn is_name(name: &str) -> bool {
    let forbidden =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>' | '/' | '\\');
    !name.is_empty() && name.len() <= 255 && !name.contains(forbidden)
}

/// Whether `subject` can be a filter: words between dots, none empty, `>` at the end alone.
pub fn is_subject(subject: &str) -> bool {
    let mut words = subject.split('.').peekable();
    let mut good = subject.len() <= 1_024;
    while let Some(word) = words.next() {
        let plain = !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control());
        good &= plain && (word != ">" || words.peek().is_none());
    }
    good
}

/// A request that makes a consumer: pull, from the stream's first message, each acknowledged by itself, none given up.
pub fn create(
    stream: &str,
    consumer: &str,
    filter: &str,
    ack_wait: Duration,
    unacknowledged: usize,
) -> String {
    let mut out = format!(
        "{{\"stream_name\":{},\"config\":{{\"durable_name\":{},\"description\":\"countersign: records of an audit log\",\
         \"deliver_policy\":\"all\",\"ack_policy\":\"explicit\",\"ack_wait\":{},\"max_deliver\":-1,\
         \"max_ack_pending\":{unacknowledged},\"replay_policy\":\"instant\"",
        json_text(stream),
        json_text(consumer),
        ack_wait.as_nanos(),
    );
    if !filter.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(out, ",\"filter_subject\":{}", json_text(filter));
    }
    out.push_str("}}");
    out
}

/// A request for messages: so many at most, for so long, with a sign of life every `heartbeat`. `bytes` = 0 for no bound.
pub fn pull(batch: usize, bytes: usize, expires: Duration, heartbeat: Duration) -> String {
    let most = if bytes > 0 { format!(",\"max_bytes\":{bytes}") } else { String::new() };
    format!(
        "{{\"batch\":{batch}{most},\"expires\":{},\"idle_heartbeat\":{}}}",
        expires.as_nanos(),
        heartbeat.as_nanos()
    )
}

/// What says that a message shall come again, after `delay`.
pub fn nak(delay: Duration) -> String {
    format!("-NAK {{\"delay\":{}}}", delay.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_both_forms_of_subjects() {
        let old = Place::read("$JS.ACK.ORDERS.audit.2.17.21.1710331713000000000.5").unwrap();
        assert_eq!((old.stream.as_str(), old.times, old.seq, old.delivery), ("ORDERS", 2, 17, 21));
        assert_eq!(old.id(), "nats:ORDERS/17@1710331713000000000");
        for tail in ["", ".x7Zq"] {
            let subject = format!("$JS.ACK.hub.ACCHASH.ORDERS.audit.2.17.21.1710331713000000000.5{tail}");
            assert_eq!(Place::read(&subject), Some(old.clone()), "{subject}");
        }
        for bad in
            ["", "$JS.ACK.", "_INBOX.a", "$JS.ACK.a.b.c.d.e.f.g", "$JS.ACK.a.b.1.2.3.4.5.6.7.8.9.10.11"]
        {
            assert_eq!(Place::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn answers_are_read_with_what_they_leave_out() {
        let reply = Reply::read(
            br#"{"type":"x","config":{"durable_name":"a","ack_policy":"explicit","filter_subjects":["a.>"],"max_deliver":5},
            "delivered":{"consumer_seq":9,"stream_seq":7},"ack_floor":{"consumer_seq":3,"stream_seq":3},"num_ack_pending":2,
            "num_pending":4}"#,
        );
        let consumer = reply.unwrap().consumer;
        assert_eq!((consumer.delivered, consumer.deliveries, consumer.floor), (7, 9, 3));
        assert!(consumer.filtered && consumer.max_deliver == 5 && consumer.waiting == 4);
        let reply =
            Reply::read(br#"{"error":{"code":404,"err_code":10014,"description":"consumer not found"}}"#)
                .unwrap();
        assert_eq!((reply.error.unwrap().err_code, reply.consumer.max_deliver), (NO_CONSUMER, -1));
        assert_eq!(Reply::read(b"[]"), None);
    }

    #[test]
    fn names_and_subjects_that_would_change_a_request_are_none() {
        assert!(is_name("ORDERS") && is_name("audit-1_x"));
        assert!(["", "a.b", "a b", "*", ">", "a\r\nPUB x 0"].iter().all(|name| !is_name(name)));
        assert!(["a", "a.*.c", "a.>", ">"].iter().all(|subject| is_subject(subject)));
        assert!(["", ".a", "a.", "a..b", ">.a", "a b", "a\r\nb"].iter().all(|subject| !is_subject(subject)));
        let made = create("S", "c", "a\"b", Duration::from_secs(1), 9);
        let doc = Doc::parse(made.as_bytes()).unwrap();
        assert_eq!(doc.root().at("config/filter_subject").and_then(|value| value.text()).unwrap(), "a\"b");
        assert!(Doc::parse(pull(1, 0, Duration::ZERO, Duration::ZERO).as_bytes()).is_ok());
    }
}
