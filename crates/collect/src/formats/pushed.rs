//! What agents push: the envelopes of Splunk's HTTP Event Collector, of Loki and of Fluent's forward protocol.
//!
//! A record is one event in the protocol's own JSON; where the protocol is binary or holds many events, the receiver
//! writes that JSON ([`crate::receivers`]). What the envelope carries is a record of its own ([`super::envelope`]);
//! what stands around it is in `unmapped` under `/hec`, `/loki`, `/fluent`. Labels, tags and sources are names that an
//! operator gave: nobody is identified by them. Sources: Splunk, "Format events for HTTP Event Collector"; Grafana
//! Loki, "HTTP API", ingest logs; Fluentd wiki, "Forward Protocol Specification v1".

use super::envelope::{Around, members, note, open};
use super::{Format, Record, generic};
use crate::json::{Kind, Val};
use crate::{Draft, Fault, time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The row of Splunk's HTTP Event Collector.
pub const SPLUNK_HEC: Format = Format {
    name: "splunk-hec",
    what: "event of Splunk's HTTP Event Collector, and the record that it carries",
    looks: looks_hec,
    parse: hec,
};

/// The row of Loki.
pub const LOKI: Format = Format {
    name: "loki",
    what: "entry of a stream of Loki, and the record that it carries",
    looks: |record| record.text.starts_with("{\"stream\":") && record.text.contains("\"values\":"),
    parse: loki,
};

/// The row of Fluent's forward protocol.
pub const FLUENT_FORWARD: Format = Format {
    name: "fluent-forward",
    what: "event of Fluent's forward protocol, and the record that it carries",
    looks: |record| record.text.starts_with("{\"tag\":") && record.text.contains("\"record\":"),
    parse: fluent,
};

/// The row of Google's Pub/Sub.
pub const PUBSUB: Format = Format {
    name: "pubsub-push",
    what: "message of a push subscription of Google's Pub/Sub, and the record that it carries",
    looks: |record| {
        record.object().is_ok_and(|push| push.has("subscription") && push.at("message/messageId").is_some())
    },
    parse: pubsub,
};

/// Name of the one member of an object that stands for bytes which are no text: JSON has none.
pub(crate) const BASE64: &str = "$base64";

/// Bytes as JSON: a string, or the object that stands for bytes that are no UTF-8.
pub(crate) fn text_or_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => crate::draft::json_text(text),
        Err(_) => format!("{{\"{BASE64}\":\"{}\"}}", STANDARD.encode(bytes)),
    }
}

/// What [`text_or_bytes`] wrote, as text; whether it was text.
fn said(value: Val<'_, '_>) -> Option<(String, bool)> {
    if let Some(text) = value.text() {
        return Some((text.into_owned(), true));
    }
    let bytes = STANDARD.decode(value.get(BASE64)?.text()?.as_bytes()).ok()?;
    Some((String::from_utf8_lossy(&bytes).into_owned(), false))
}

/// Members of an event of HEC.
const HEC: [&str; 7] = ["time", "host", "source", "sourcetype", "index", "event", "fields"];

fn looks_hec(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|event| {
        event.has("event")
            && event.any(&["sourcetype", "index", "fields"]).is_some()
            && event.members().all(|member| HEC.contains(&&*member.name()))
    })
}

fn hec(record: &Record<'_>) -> Result<Draft, Fault> {
    let around = record.object()?;
    let event = around.get("event").ok_or(Fault::new(0, "no event"))?;
    let text = |name: &str| around.get(name).and_then(|value| value.text()).unwrap_or_default();
    let time = around.get("time");
    let stamp = time.and_then(|time| generic::epoch(&time.word()?));
    let host = text("host");
    let ahead = Around { host: &host, stamp, ..Around::default() };
    let mut draft = match event.text() {
        Some(text) => open(record, &text, ahead),
        None => open(record, event.token(), ahead),
    };
    if stamp.is_none() && time.is_some_and(|time| time.kind() != Kind::Null) {
        draft.partial("a time could not be read");
    }
    for name in ["source", "sourcetype", "index"] {
        note(&mut draft, &format!("/hec/{name}"), &text(name));
    }
    if let Some(fields) = around.get("fields") {
        members(&mut draft, "/hec/fields", fields);
    }
    Ok(draft)
}

/// `{"stream":{…},"values":[["NS","LINE",{…}]]}`, one value.
fn loki(record: &Record<'_>) -> Result<Draft, Fault> {
    let stream = record.object()?;
    let values = stream.get("values").ok_or(Fault::new(0, "no values"))?;
    let mut entries = values.elements();
    let (Some(entry), None) = (entries.next(), entries.next()) else {
        return Err(Fault::new(0, "not one entry"));
    };
    let mut parts = entry.elements();
    let (Some(when), Some(line)) = (parts.next(), parts.next()) else {
        return Err(Fault::new(0, "an entry has no time or no line"));
    };
    let stamp = when.int().and_then(|ns| time::unix(ns, 1));
    let (line, is_text) = said(line).ok_or(Fault::new(0, "a line is no text"))?;
    let mut draft = open(record, &line, Around { stamp, ..Around::default() });
    if stamp.is_none() {
        draft.partial("a time could not be read");
    }
    if !is_text {
        draft.partial("the text is not UTF-8");
    }
    if let Some(labels) = stream.get("stream") {
        match labels.kind() {
            Kind::Object => members(&mut draft, "/loki/stream", labels),
            _ => {
                draft.partial("the labels could not be read");
                draft.token("/loki/stream", labels.token());
            }
        }
    }
    if let Some(metadata) = parts.next() {
        members(&mut draft, "/loki/metadata", metadata);
    }
    Ok(draft)
}

/// `{"tag":"TAG","time":SECONDS,"metadata":{…},"record":{…}}`
fn fluent(record: &Record<'_>) -> Result<Draft, Fault> {
    let event = record.object()?;
    let inner = event.get("record").ok_or(Fault::new(0, "no record"))?;
    let time = event.get("time");
    let stamp = time.and_then(|time| time::unix_seconds(&time.word()?));
    let around = Around { stamp, ..Around::default() };
    // A format that the configuration names is that of the line which the agent read.
    let line = generic::TEXTS.iter().find_map(|path| inner.at(path)?.text());
    let mut draft = match line.filter(|_| record.inner.is_some()) {
        Some(line) => {
            let mut draft = open(record, &line, around);
            members(&mut draft, "/fluent/record", inner);
            draft
        }
        None => open(record, inner.token(), around),
    };
    if stamp.is_none() {
        draft.partial("a time could not be read");
    }
    let tag = event.get("tag").and_then(said).unwrap_or_default();
    note(&mut draft, "/fluent/tag", &tag.0);
    if let Some(metadata) = event.get("metadata") {
        members(&mut draft, "/fluent/metadata", metadata);
    }
    Ok(draft)
}

/// `{"message":{"data":"BASE64","attributes":{…},"messageId":"…","publishTime":"…"},"subscription":"…"}`
fn pubsub(record: &Record<'_>) -> Result<Draft, Fault> {
    let push = record.object()?;
    let message = push.get("message").ok_or(Fault::new(0, "no message"))?;
    let text = |name: &str| message.get(name).and_then(|value| value.text()).unwrap_or_default();
    let data =
        STANDARD.decode(text("data").as_bytes()).map_err(|_| Fault::new(0, "the data is not base64"))?;
    let line = String::from_utf8_lossy(&data);
    let stamp = time::rfc3339(&text("publishTime"));
    let mut draft = open(record, &line, Around { stamp, ..Around::default() });
    if matches!(line, std::borrow::Cow::Owned(_)) {
        draft.partial("the text is not UTF-8");
    }
    if draft.source_id.is_empty() {
        draft.source_id = text("messageId").into_owned();
    }
    if let Some(attributes) = message.get("attributes") {
        members(&mut draft, "/pubsub/attributes", attributes);
    }
    let subscription = push.get("subscription").and_then(|name| name.text()).unwrap_or_default();
    note(&mut draft, "/pubsub/subscription", &subscription);
    // The old spellings of the same two stand beside them.
    for name in ["message_id", "publish_time"] {
        message.get(name).inspect(|value| value.take());
    }
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use crate::{Input, Keeper, observe};
    use countersign_event::{CaptureConf, Event, Kind, Outcome, Rec, Unmapped};
    use countersign_redact::Scanner;

    const LINE: &str = r#"192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] \"GET /a/7 HTTP/1.1\" 403 803"#;

    fn seen(text: &str, inner: Option<&'static str>) -> Event {
        let keeper = Keeper::new(Scanner::default(), &[7; 32]);
        let mut input = Input::new("t");
        input.inner = inner.map(|name| super::super::by_name(name).unwrap());
        observe(text.as_bytes(), None, &input, &keeper, 1_790_000_000_000_000_000)
    }

    fn token(event: &Event, pointer: &str) -> String {
        match &event.content.unmapped[pointer] {
            Unmapped::Token(token) => token.clone(),
            Unmapped::Bytes(_) => panic!("{pointer}"),
        }
    }

    #[test]
    fn the_line_in_an_event_of_each_agent_is_read_as_what_it_is() {
        let hec = format!(
            r#"{{"time":"1710331700.5","host":"n1","sourcetype":"a/b","event":"{LINE}","fields":{{"k":["v",1]}}}}"#
        );
        let loki = format!(
            r#"{{"stream":{{"job":"x"}},"values":[["1710331700500000000","{LINE}",{{"pod":"p"}}]]}}"#
        );
        let fluent = format!(r#"{{"tag":"web","time":1710331700.5,"record":{{"log":"{LINE}","n":1}}}}"#);
        for (text, format, pointer) in [
            (hec, "splunk-hec/combined", "/hec/fields/k"),
            (loki, "loki/combined", "/loki/metadata/pod"),
            (fluent, "fluent-forward/json", "/fluent/tag"),
        ] {
            let event = seen(&text, None);
            let capture = event.body.cap.as_ref().unwrap();
            assert_eq!((capture.fmt.as_str(), capture.conf), (format, Some(CaptureConf::Full)));
            assert_eq!((event.core.kind, event.core.outcome), (Some(Kind::Http), Some(Outcome::Denied)));
            assert_eq!(event.core.t_event, Some(1_710_331_713_000_000_000), "the line's own time");
            assert!(event.content.unmapped.contains_key(pointer), "{:?}", event.content.unmapped);
        }
    }

    #[test]
    fn an_object_is_read_like_one_that_came_alone_and_a_text_of_no_format_is_no_interaction() {
        let event = seen(r#"{"event":{"a":1,"b":{"c":"d"}},"sourcetype":"_json","time":1710331700}"#, None);
        assert_eq!((event.core.rec, event.core.t_event), (Some(Rec::Raw), Some(1_710_331_700_000_000_000)));
        assert_eq!((token(&event, "/a").as_str(), token(&event, "/b").as_str()), ("1", r#"{"c":"d"}"#));
        let event = seen(r#"{"stream":{},"values":[["1","hello"]]}"#, None);
        assert_eq!((event.core.rec, token(&event, "/message").as_str()), (Some(Rec::Raw), "\"hello\""));
        assert!(event.who.who.is_none() && event.core.outcome.is_none());
    }

    #[test]
    fn a_format_that_the_configuration_names_is_that_of_the_line() {
        let text = format!(r#"{{"tag":"web","time":1,"record":{{"log":"{LINE}","n":1}}}}"#);
        let event = seen(&text, Some("combined"));
        assert_eq!((event.core.kind, token(&event, "/fluent/record/n").as_str()), (Some(Kind::Http), "1"));
        let event = seen(r#"{"event":"other","sourcetype":"x"}"#, Some("combined"));
        assert_eq!(event.body.cap.as_ref().unwrap().conf, Some(CaptureConf::Partial));
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_and_said() {
        let line = super::text_or_bytes(b"a\xffb");
        let text = format!(r#"{{"stream":{{"a":"b"}},"values":[["1",{line}]]}}"#);
        let event = seen(&text, None);
        assert_eq!(event.content.err, "partly understood: the text is not UTF-8");
        assert_eq!(event.body.raw.as_ref().unwrap().bytes, text.as_bytes());
    }

    #[test]
    fn what_misses_its_parts_is_raw() {
        let keeper = Keeper::new(Scanner::default(), &[7; 32]);
        for text in [r#"{"stream":{},"values":[]}"#, r#"{"stream":{},"values":[["1"]]}"#, "[]"] {
            let event = observe(text.as_bytes(), Some(&super::LOKI), &Input::new("t"), &keeper, 1);
            assert_eq!(event.body.cap.as_ref().unwrap().conf, Some(CaptureConf::RawOnly), "{text}");
        }
    }
}
