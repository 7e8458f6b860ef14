//! Webhooks: CloudEvents over HTTP, security event tokens, Google's Pub/Sub.
//!
//! Sources: CNCF CloudEvents 1.0.2, "HTTP Protocol Binding" (binary, structured, batched) and "HTTP 1.1 Web Hooks";
//! RFC 8935 (push delivery of security event tokens); Google Cloud, "Push subscriptions". A 2xx answer says that all
//! is durable. Repeats are known by (source, id), by (iss, jti), by the message's id. The signature of a token is not
//! checked: who delivers is known by its own credential, and a token's words count no more than that.

use super::events::batch;
use super::http::{Push, Reply, again, json, text};
use super::port::{now, sender};
use super::reply::Whole;
use crate::draft::json_text;
use crate::formats::cloudevents::SET;
use crate::formats::pushed::PUBSUB;
use crate::intake::Refusal;
use crate::json::Doc;
use crate::{Input, observe};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_event::{CaptureConf, Event};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// `POST /v1/cloudevents`
    CloudEvents,
    /// `OPTIONS /v1/cloudevents`: whether events may be sent here at all.
    Preflight,
    /// `POST /v1/set`
    Set,
    /// `POST /v1/pubsub`
    PubSub,
}

pub(super) async fn receive(push: Push, hook: Hook) -> Reply {
    match hook {
        Hook::CloudEvents => cloudevents(push).await,
        Hook::Preflight => preflight(&push.headers),
        Hook::Set => token(push).await,
        Hook::PubSub => pubsub(push).await,
    }
}

/// Who may send here is decided by the credential, not by the origin that a sender names.
pub(super) fn preflight(headers: &HeaderMap) -> Reply {
    let mut reply = empty(StatusCode::OK);
    let out = reply.headers_mut();
    if let Some(origin) = headers.get("webhook-request-origin") {
        out.insert("webhook-allowed-origin", origin.clone());
        out.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    }
    out.insert("allow", HeaderValue::from_static("POST"));
    reply
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Whole::default());
    *reply.status_mut() = status;
    reply
}

/// Makes the events durable and answers with `done`.
async fn deliver(push: &Push, mut events: Vec<Event>, done: StatusCode) -> Reply {
    events.iter_mut().for_each(|event| sender(event, push.deliverer.peer));
    match push.port.deliver(events, push.body.len(), true).await {
        Ok(_) => empty(done),
        Err(refusal) => later(&refusal),
    }
}

fn later(refusal: &Refusal) -> Reply {
    let (status, seconds) = again(refusal);
    let mut reply = text(status, format!("{refusal}\n"));
    if let Some(seconds) = seconds {
        reply.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    reply
}

/// The media type of a body, in lower case, without parameters.
fn media(headers: &HeaderMap) -> String {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

async fn cloudevents(push: Push) -> Reply {
    let input = push.port.input_of(&push.deliverer);
    let events = match media(&push.headers).as_str() {
        "application/cloudevents-batch+json" => push.port.observe_batch(batch(&push.body, None), &input),
        "application/cloudevents+json" => vec![push.port.observe(&push.body, &input)],
        _ => match binary(&push.headers, &push.body) {
            Some(record) => vec![push.port.observe(record.as_bytes(), &input)],
            None => {
                push.port.intake.rejected(1, "cloudevents_mode");
                let known =
                    "application/cloudevents+json, application/cloudevents-batch+json, or ce-specversion";
                return text(StatusCode::BAD_REQUEST, format!("no event: give {known}\n"));
            }
        },
    };
    deliver(&push, events, StatusCode::NO_CONTENT).await
}

/// An event of binary mode, attributes in `ce-` headers and the data as the body, as structured JSON. Attributes by
/// their names, so that a repeat has the same bytes.
fn binary(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    headers.get("ce-specversion")?;
    let mut attributes: Vec<(&str, String)> = headers
        .iter()
        .filter_map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            Some((name.as_str().strip_prefix("ce-")?, percent_decoded(&value)))
        })
        .filter(|(name, _)| !name.starts_with("data"))
        .collect();
    attributes.sort();
    attributes.dedup_by(|a, b| a.0 == b.0);
    let mut out: String =
        attributes.iter().map(|(name, value)| format!("{}:{},", json_text(name), json_text(value))).collect();
    let kind = media(headers);
    if !kind.is_empty() {
        out.push_str(&format!("\"datacontenttype\":{},", json_text(&kind)));
    }
    let is_json = kind.ends_with("/json") || kind.ends_with("+json");
    let data = match std::str::from_utf8(body) {
        Ok(text) if is_json && Doc::parse(body).is_ok() => format!("\"data\":{}", text.trim()),
        Ok(text) => format!("\"data\":{}", json_text(text)),
        Err(_) => format!("\"data_base64\":\"{}\"", STANDARD.encode(body)),
    };
    Some(format!("{{{out}{data}}}"))
}

/// `%XX` of a header's value (HTTP Protocol Binding section 3.1.3.2).
fn percent_decoded(text: &str) -> String {
    super::hec::decoded(&text.replace('+', "%2B"))
}

/// RFC 8935 section 2: 202, or 400 with a code.
async fn token(push: Push) -> Reply {
    let bad = |code: &str, why: &str| {
        push.port.intake.rejected(1, "set_request");
        json(StatusCode::BAD_REQUEST, set_error(code, why))
    };
    if media(&push.headers) != "application/secevent+jwt" {
        return bad("invalid_request", "the body is not application/secevent+jwt");
    }
    let input = push.port.input_of(&push.deliverer);
    let event = observe(push.body.trim_ascii(), Some(&SET), &input, &push.port.keeper, now());
    let understood = event.body.cap.as_ref().and_then(|capture| capture.conf) != Some(CaptureConf::RawOnly);
    if !understood {
        return bad("invalid_request", "the body is no security event token");
    }
    deliver(&push, vec![event], StatusCode::ACCEPTED).await
}

/// Section 2.4.
pub(super) fn unauthenticated() -> Reply {
    let why = "a credential is needed that this input knows";
    let mut reply = json(StatusCode::UNAUTHORIZED, set_error("authentication_failed", why));
    reply.headers_mut().insert("www-authenticate", HeaderValue::from_static("Bearer"));
    reply
}

fn set_error(code: &str, why: &str) -> String {
    format!("{{\"err\":\"{code}\",\"description\":{}}}", json_text(why))
}

async fn pubsub(push: Push) -> Reply {
    let doc = Doc::parse(&push.body).ok();
    let Some(record) = doc.as_ref().and_then(of_pubsub) else {
        push.port.intake.rejected(1, "pubsub_request");
        // Pub/Sub sends again what is not answered 2xx; this is from somebody else.
        return text(StatusCode::BAD_REQUEST, "no message of Pub/Sub\n".to_owned());
    };
    let input = Input { inner: push.port.format, ..push.port.input_of(&push.deliverer) };
    let event = observe(record.as_bytes(), Some(&PUBSUB), &input, &push.port.keeper, now());
    deliver(&push, vec![event], StatusCode::NO_CONTENT).await
}

/// What is the same each time that a message is delivered; the number of the attempt is not.
fn of_pubsub(doc: &Doc<'_>) -> Option<String> {
    let message = doc.root().get("message")?.spelled();
    let subscription = doc.root().get("subscription").map_or("null", |name| name.spelled());
    Some(format!("{{\"message\":{message},\"subscription\":{subscription}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn binary_mode_is_the_same_event_whatever_the_order_of_its_headers() {
        let list = [
            ("content-type", "application/json; charset=utf-8"),
            ("ce-specversion", "1.0"),
            ("ce-id", "a%20b+c"),
            ("ce-datacontenttype", "x"),
        ];
        let want =
            r#"{"id":"a b+c","specversion":"1.0","datacontenttype":"application/json","data":{"a":1}}"#;
        let mut turned = list;
        turned.reverse();
        for list in [list, turned] {
            assert_eq!(binary(&headers(&list), b" {\"a\":1}\n").unwrap(), want);
        }
        let plain = headers(&[("ce-specversion", "1.0")]);
        assert_eq!(binary(&plain, b"x").unwrap(), r#"{"specversion":"1.0","data":"x"}"#);
        assert_eq!(binary(&plain, b"\xff").unwrap(), r#"{"specversion":"1.0","data_base64":"/w=="}"#);
        assert_eq!(binary(&HeaderMap::new(), b"x"), None);
    }
}
