//! Loki's push API: JSON, or Protobuf under Snappy as Promtail, Alloy and Vector send it.
//!
//! Source: Grafana Loki, "HTTP API", `POST /loki/api/v1/push`; `pkg/push/push.proto`. 204 when every entry is durable.
//! Each entry becomes a stream of one in Loki's JSON, whatever it came in, so that a repeat is the same labels, time,
//! line and metadata. An entry that is odd is recorded raw; a request that cannot be cut into entries is refused.

mod labels;

use super::body::BODY_MAX;
use super::http::{Push, Reply, again, text};
use super::port::{now, sender};
use super::reply::Whole;
use crate::draft::json_text;
use crate::formats::pushed::{LOKI, text_or_bytes};
use crate::json::{Doc, Kind, Val};
use crate::otlp::{BATCH_ITEMS_MAX, UNFOLDED_MAX};
use crate::proto::Fields;
use crate::{Fault, Input, observe, snappy};
use http::{HeaderValue, Response, StatusCode};
pub(crate) use labels::labels;
use std::fmt::Write as _;

/// Nanoseconds of a second.
const NS: u64 = 1_000_000_000;

pub(super) async fn receive(push: Push) -> Reply {
    let Push { port, deliverer, headers, body, .. } = push;
    let kind = headers.get("content-type").map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    // Loki takes anything that is not JSON as Protobuf.
    let records = match kind {
        b"application/json" => of_json(&body),
        _ => snappy::unpack(&body, BODY_MAX).and_then(|unpacked| of_protobuf(&unpacked)),
    };
    let records = match records {
        Ok(records) => records,
        Err(fault) => {
            port.intake.rejected(1, "loki_request");
            return text(StatusCode::BAD_REQUEST, format!("{fault}\n"));
        }
    };
    let input = Input { inner: port.format, ..port.input_of(&deliverer) };
    let one = |record: &String| observe(record.as_bytes(), Some(&LOKI), &input, &port.keeper, now());
    let mut events: Vec<_> = records.iter().map(one).collect();
    events.iter_mut().for_each(|event| sender(event, deliverer.peer));
    match port.deliver(events, body.len(), true).await {
        Ok(_) => {
            let mut reply = Response::new(Whole::default());
            *reply.status_mut() = StatusCode::NO_CONTENT;
            reply
        }
        Err(refusal) => {
            let (status, seconds) = again(&refusal);
            let mut reply = text(status, format!("{refusal}\n"));
            if let Some(seconds) = seconds {
                reply.headers_mut().insert("retry-after", HeaderValue::from(seconds));
            }
            reply
        }
    }
}

/// The records of a request, with a bound on their sum: each repeats its stream's labels.
#[derive(Default)]
struct Records {
    list: Vec<String>,
    bytes: usize,
}

impl Records {
    fn push(&mut self, stream: &str, value: &str) -> Result<(), Fault> {
        let record = format!("{{\"stream\":{stream},\"values\":[{value}]}}");
        self.bytes += record.len();
        if self.bytes > UNFOLDED_MAX {
            return Err(Fault::new(0, "the entries with their labels are larger than the bound"));
        }
        self.list.push(record);
        Ok(())
    }
}

/// One record an entry, of `{"streams":[{"stream":{…},"values":[…]}]}`.
///
/// # Errors
/// It is no such request.
pub(crate) fn of_json(body: &[u8]) -> Result<Vec<String>, Fault> {
    let list = |value: Option<Val<'_, '_>>| value.is_some_and(|value| value.kind() == Kind::Array);
    let doc = Doc::parse_batch(body, BATCH_ITEMS_MAX)?;
    let streams = doc.root().get("streams");
    if !list(streams) {
        return Err(Fault::new(0, "no streams"));
    }
    let mut records = Records::default();
    for stream in streams.iter().flat_map(Val::elements) {
        let labels = stream.get("stream").map_or("{}", |labels| labels.spelled());
        let values = stream.get("values");
        if !list(values) {
            return Err(Fault::new(0, "a stream has no values"));
        }
        for value in values.iter().flat_map(Val::elements) {
            records.push(labels, value.spelled())?;
        }
    }
    Ok(records.list)
}

/// The same of a `PushRequest`.
///
/// # Errors
/// The rule broken, at an offset inside the message that breaks it.
pub(crate) fn of_protobuf(body: &[u8]) -> Result<Vec<String>, Fault> {
    let mut records = Records::default();
    let mut streams = Fields::new(body);
    while let Some((number, stream)) = streams.read()? {
        if number != 1 {
            continue;
        }
        let (mut names, mut entries) = (String::from("{}"), Vec::new());
        let mut fields = Fields::new(stream.bytes());
        while let Some((number, wire)) = fields.read()? {
            match number {
                1 => names = labels(&wire.text()),
                2 => entries.push(wire.bytes()),
                _ => {}
            }
        }
        for entry in entries {
            records.push(&names, &value(entry)?)?;
        }
    }
    Ok(records.list)
}

/// An `EntryAdapter` as a value of a stream.
fn value(entry: &[u8]) -> Result<String, Fault> {
    let (mut seconds, mut nanos, mut line) = (0_u64, 0_u64, &[][..]);
    let mut metadata = String::new();
    let mut fields = Fields::new(entry);
    while let Some((number, wire)) = fields.read()? {
        match number {
            1 => {
                let mut time = Fields::new(wire.bytes());
                while let Some((number, wire)) = time.read()? {
                    match number {
                        1 => seconds = wire.uint(),
                        2 => nanos = wire.uint(),
                        _ => {}
                    }
                }
            }
            2 => line = wire.bytes(),
            3 => pair(wire.bytes(), &mut metadata)?,
            _ => {}
        }
    }
    // A time that no clock can have is spelled as it cannot be read: the record is partial then.
    let time = seconds.checked_mul(NS).and_then(|ns| ns.checked_add(nanos)).filter(|_| nanos < NS);
    let time = time.map_or_else(|| format!("{seconds}s{nanos}"), |ns| ns.to_string());
    let line = text_or_bytes(line);
    if metadata.is_empty() {
        return Ok(format!("[\"{time}\",{line}]"));
    }
    Ok(format!("[\"{time}\",{line},{{{metadata}}}]"))
}

/// A `LabelPairAdapter` as a member of an object.
fn pair(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    let (mut name, mut value) = (Default::default(), Default::default());
    let mut fields = Fields::new(bytes);
    while let Some((number, wire)) = fields.read()? {
        match number {
            1 => name = wire.text(),
            2 => value = wire.text(),
            _ => {}
        }
    }
    let comma = if out.is_empty() { "" } else { "," };
    // Writing to a String cannot fail.
    let _ = write!(out, "{comma}{}:{}", json_text(&name), json_text(&value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Writer;

    fn protobuf(line: &[u8]) -> Vec<u8> {
        let mut request = Writer::new();
        request.message(1, |stream| {
            stream.bytes(1, br#"{job="x", a="b\"c"}"#);
            for n in [1, 2] {
                stream.message(2, |entry| {
                    entry.message(1, |time| {
                        time.uint(1, 1_710_331_713);
                        time.uint(2, n);
                    });
                    entry.bytes(2, line);
                    entry.message(3, |pair| {
                        pair.bytes(1, b"pod");
                        pair.bytes(2, b"p1");
                    });
                });
            }
            stream.uint(3, 7);
        });
        request.done()
    }

    #[test]
    fn both_encodings_of_a_request_are_the_same_records() {
        let json = r#"{"streams":[{"stream":{"job":"x","a":"b\"c"},"values":[["1710331713000000001","l",{"pod":"p1"}],["1710331713000000002","l",{"pod":"p1"}]]}]}"#;
        assert_eq!(of_protobuf(&protobuf(b"l")).unwrap(), of_json(json.as_bytes()).unwrap());
        assert_eq!(
            of_json(json.as_bytes()).unwrap()[1],
            r#"{"stream":{"job":"x","a":"b\"c"},"values":[["1710331713000000002","l",{"pod":"p1"}]]}"#
        );
        assert!(of_protobuf(&protobuf(b"\xff")).unwrap()[0].contains("$base64"));
    }

    #[test]
    fn a_request_that_is_none_is_refused() {
        for body in ["", "[]", "{}", r#"{"streams":{}}"#, r#"{"streams":[{"stream":{}}]}"#] {
            assert!(of_json(body.as_bytes()).is_err(), "{body}");
        }
        assert!(of_protobuf(b"\x0a\x05").is_err());
        assert!(of_protobuf(b"").unwrap().is_empty(), "nothing in it is nothing to do");
    }
}
