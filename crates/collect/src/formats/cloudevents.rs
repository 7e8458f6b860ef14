//! Events that say of themselves what they are: CloudEvents 1.0 and security event tokens.
//!
//! Source: CNCF CloudEvents 1.0.2, "JSON Event Format"; RFC 8417 (security event token), RFC 8935 (its delivery),
//! RFC 9493 (subject identifiers). A token may come as its claims or as the compact JWS; its signature is checked
//! by whoever receives it from the network, not here. Neither names an actor: who is left out; the producer and
//! the subject are not the ones who acted.

use super::{Format, Record, cloud};
use crate::json::{Doc, Val};
use crate::{Draft, Fault, time};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_event::{Class, Kind, LinkVia};

/// CloudEvents, structured mode.
pub const CLOUDEVENTS: Format =
    Format { name: "cloudevents", what: "CloudEvents 1.0, JSON", looks: looks_event, parse: event };
/// Security event tokens.
pub const SET: Format = Format {
    name: "set",
    what: "Security event token (RFC 8417), claims or compact JWS",
    looks: looks_set,
    parse: set,
};

fn looks_event(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|event| {
        let version = event.get("specversion").and_then(|version| version.peek());
        version.is_some_and(|version| version.starts_with("1.")) && event.has("type") && event.has("source")
    })
}

fn event(record: &Record<'_>) -> Result<Draft, Fault> {
    let event = record.object()?;
    let need = |name| cloud::text(event, name).ok_or(Fault::new(0, "a required attribute is missing"));
    let (kind, source, id) = (need("type")?, need("source")?, need("id")?);
    let mut draft = Draft::new();
    event.get("specversion").inspect(|version| version.take());
    draft.event.core.kind = Some(Kind::Messaging);
    draft.event.core.op = kind.into_owned();
    if let Some(stamp) = event.get("time") {
        draft.time(stamp.text().and_then(|text| time::rfc3339(&text)));
    }
    // `source` and `id` together are unique (section 3.1.1).
    draft.source_id = format!("{source} {id}");
    draft.event.links.msg = id.into_owned();
    draft.event.target.svc = source.into_owned();
    draft.event.target.res = cloud::text(event, "subject").unwrap_or_default().into_owned();
    if let Some(parent) = event.get("traceparent")
        && let Some((trace, span, flags)) = parent.peek().and_then(|text| traceparent(&text))
    {
        let links = &mut draft.event.links;
        (links.trace, links.parent, links.tflags) = (Some(trace), Some(span), Some(flags));
        links.via = Some(LinkVia::MessageHeader);
        parent.take();
    }
    Ok(draft)
}

/// `00-<trace>-<span>-<flags>` (W3C Trace Context section 3.2).
fn traceparent(text: &str) -> Option<([u8; 16], [u8; 8], u64)> {
    let mut parts = text.split('-');
    let version = parts.next()?;
    let trace: [u8; 16] = cloud::unhex(parts.next()?)?.try_into().ok()?;
    let span: [u8; 8] = cloud::unhex(parts.next()?)?.try_into().ok()?;
    let flags = cloud::unhex(parts.next()?)?.first().copied()?;
    let valid = version == "00" && parts.next().is_none() && trace != [0; 16] && span != [0; 8];
    valid.then_some((trace, span, u64::from(flags)))
}

fn looks_set(record: &Record<'_>) -> bool {
    match record.object() {
        Ok(claims) => claims.has("jti") && claims.has("iss") && claims.has("events"),
        Err(_) => jws_payload(record.text).is_some(),
    }
}

/// The claims of a compact JWS of type `secevent+jwt` (RFC 8417 section 2.3).
fn jws_payload(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.trim().split('.');
    let (header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !header.starts_with("eyJ") {
        return None;
    }
    let header = URL_SAFE_NO_PAD.decode(header).ok()?;
    let header = Doc::parse(&header).ok()?;
    let kind = header.root().get("typ")?.peek()?.to_ascii_lowercase();
    matches!(kind.as_str(), "secevent+jwt" | "application/secevent+jwt")
        .then(|| URL_SAFE_NO_PAD.decode(payload).ok())
        .flatten()
}

fn set(record: &Record<'_>) -> Result<Draft, Fault> {
    if let Ok(claims) = record.object() {
        return read_set(claims);
    }
    let payload = jws_payload(record.text).ok_or(Fault::new(0, "not a security event token"))?;
    let doc = Doc::parse(&payload).map_err(|fault| Fault::new(0, fault.rule))?;
    let mut draft = read_set(doc.root())?;
    doc.unread(&mut |pointer, token| draft.token(pointer, token));
    if doc.ambiguous() {
        draft.partial("a JSON object gives a name twice");
    }
    // A signed token is replayed as easily as copied: its digest is enough.
    draft.private = true;
    Ok(draft)
}

fn read_set(claims: Val<'_, '_>) -> Result<Draft, Fault> {
    let need = |name| cloud::text(claims, name).ok_or(Fault::new(0, "a required claim is missing"));
    let (issuer, id) = (need("iss")?, need("jti")?);
    let events = claims.get("events").ok_or(Fault::new(0, "no events"))?;
    let first = events.members().next().ok_or(Fault::new(0, "no events"))?;
    let mut draft = Draft::new();
    draft.event.core.kind = Some(Kind::Auth);
    draft.event.core.class = Some(Class::Admin);
    // `https://schemas.openid.net/secevent/caep/event-type/session-revoked`
    first.name().rsplit('/').next().unwrap_or_default().clone_into(&mut draft.event.core.op);
    draft.event.target.raw = first.name().into_owned();
    if events.members().count() > 1 {
        draft.partial("more than one event in a token");
    }
    let issued = claims.get("iat").and_then(|at| at.int()).and_then(|at| time::unix(at, 1_000_000_000));
    let happened = claims.get("toe").and_then(|at| at.int()).and_then(|at| time::unix(at, 1_000_000_000));
    draft.time(happened.or(issued));
    draft.event.links.corr = cloud::text(claims, "txn").unwrap_or_default().into_owned();
    draft.source_id = format!("{issuer} {id}");
    issuer.as_ref().clone_into(&mut draft.event.target.svc);
    let subject = claims.get("sub_id").or(first.get("subject")).or(claims.get("sub"));
    if let Some(subject) = subject.and_then(subject_of) {
        "subject".clone_into(&mut draft.event.target.rtype);
        draft.event.target.id = subject;
    }
    Ok(draft)
}

/// A subject identifier in one of the simple forms of RFC 9493, as a principal where it is one.
fn subject_of(subject: Val<'_, '_>) -> Option<String> {
    if let Some(text) = subject.filled() {
        return Some(text.into_owned());
    }
    if let (Some(issuer), Some(name)) = (cloud::text(subject, "iss"), cloud::text(subject, "sub")) {
        return Some(format!("jwt:{issuer}#{name}"));
    }
    let named = ["email", "id", "phone_number", "uri", "url"];
    named.iter().find_map(|name| cloud::text(subject, name)).map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{draft, parsed};

    #[test]
    fn a_cloudevent_names_source_subject_and_trace_and_nobody_who_acted() {
        let text = r#"{"specversion":"1.0","type":"org.example.order.paid","source":"/shop","id":"7","subject":"orders/9",
            "time":"2024-03-13T12:08:33Z","datacontenttype":"application/json","data":{"sum":1.50},
            "traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#;
        let draft = draft(&CLOUDEVENTS, text);
        assert_eq!((draft.source_id.as_str(), draft.event.target.res.as_str()), ("/shop 7", "orders/9"));
        assert_eq!((draft.event.links.tflags, draft.event.links.trace.is_some()), (Some(1), true));
        assert!(draft.event.who.who.is_none() && draft.event.content.unmapped.contains_key("/data"));
        assert!(parsed(&CLOUDEVENTS, &text.replace(r#""id":"7","#, "")).is_err());
    }

    const CLAIMS: &str = r#"{"iss":"https://idp.example","jti":"j","iat":1710331713,"txn":"8","aud":"x","events":{
        "https://schemas.openid.net/secevent/caep/event-type/session-revoked":{"subject":{"format":"iss_sub",
        "iss":"https://idp.example","sub":"alice"},"reason_admin":"r"}}}"#;

    #[test]
    fn a_token_as_claims_names_event_subject_and_transaction() {
        let draft = draft(&SET, CLAIMS);
        assert_eq!((draft.event.core.op.as_str(), draft.event.links.corr.as_str()), ("session-revoked", "8"));
        assert_eq!(draft.event.target.id, "jwt:https://idp.example#alice");
        assert_eq!(draft.source_id, "https://idp.example j");
    }

    #[test]
    fn a_compact_token_is_read_and_not_kept_and_another_token_is_none() {
        let jws = |header: &str| {
            format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(CLAIMS))
        };
        let draft = draft(&SET, &jws(r#"{"typ":"secevent+jwt","alg":"RS256"}"#));
        assert_eq!(draft.event.core.op, "session-revoked");
        assert!(draft.private && draft.event.content.unmapped.contains_key("/aud"));
        assert!(jws_payload(&jws(r#"{"typ":"JWT","alg":"RS256"}"#)).is_none());
    }
}
