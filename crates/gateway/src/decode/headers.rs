//! The header fields of a request: few are kept, some are read, most are not looked at.

use super::redact::{clean_text, cut_at, looks_secret};
use super::request::detail;
use countersign_event::cbor::Value;
use countersign_event::{Event, LinkVia, Links, Unmapped, Verified};
use countersign_wire::http1::fields::Fields;
use countersign_wire::trace;

/// Request headers that are kept, in lower case. Credentials can never be added: see the test below.
const KEPT_HEADERS: [&str; 15] = [
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "content-encoding",
    "origin",
    "range",
    "expect",
    "cache-control",
    "te",
    "via",
    "x-forwarded-host",
    "x-forwarded-proto",
];
/// Longest kept header value, bytes.
pub(super) const HEADER_MAX: usize = 512;
/// Forwarded hops kept, and the longest of them, bytes.
const HOPS_MAX: usize = 32;
const HOP_MAX: usize = 64;
const AUTH_SCHEMES: [&str; 12] = [
    "Basic",
    "Bearer",
    "Digest",
    "DPoP",
    "GNAP",
    "HOBA",
    "Mutual",
    "Negotiate",
    "NTLM",
    "PrivateToken",
    "SCRAM-SHA-256",
    "AWS4-HMAC-SHA256",
];
const UPGRADES: [&str; 3] = ["websocket", "h2c", "tls/1.0"];

/// One pass over the fields: kept ones, trace context, forwarded hops, schemes.
pub(super) fn read_fields(event: &mut Event, fields: Fields<'_>) {
    let mut secrets = 0;
    let mut b3: [Option<&[u8]>; 4] = [None; 4];
    let mut context = None;
    for (name, value) in fields.iter() {
        let mut lower = [0_u8; 32];
        let Some(name) = lower_case(name, &mut lower) else { continue };
        match name {
            "traceparent" => match trace::traceparent(value) {
                Some(found) => context = context.or(Some((found, LinkVia::Traceparent))),
                None => keep_malformed(event, "/traceparent", value),
            },
            "b3" => {
                let found = trace::b3_single(value).map(|c| (c, LinkVia::B3));
                context = context.filter(|(_, via)| *via == LinkVia::Traceparent).or(found);
            }
            "x-b3-traceid" => b3[0] = Some(value),
            "x-b3-spanid" => b3[1] = Some(value),
            "x-b3-parentspanid" => b3[2] = Some(value),
            "x-b3-sampled" => b3[3] = Some(value),
            "x-request-id" => set_request_id(&mut event.links, value, &mut secrets),
            "x-forwarded-for" => add_hops(event, value),
            "authorization" => {
                let scheme = one_of(&AUTH_SCHEMES, value.split(|b| *b == b' ').next().unwrap_or_default());
                event.content.detail.insert(detail::AUTH_SCHEME, Value::Text(scheme));
                secrets += 1;
            }
            "cookie" | "proxy-authorization" | "x-api-key" => secrets += 1,
            "upgrade" => {
                let upgrade = one_of(&UPGRADES, value);
                event.content.detail.insert(detail::UPGRADE, Value::Text(upgrade));
            }
            ":authority" => keep_header(event, "host", value, &mut secrets),
            _ if KEPT_HEADERS.contains(&name) => keep_header(event, name, value, &mut secrets),
            _ => {}
        }
    }
    if context.is_none()
        && let Some(id) = b3[0]
    {
        context = trace::b3_multi(id, b3[1], b3[2], b3[3]).map(|c| (c, LinkVia::B3));
    }
    if let Some((found, via)) = context {
        event.links.trace = Some(found.trace);
        event.links.span = found.span;
        event.links.parent = found.parent;
        event.links.tflags = found.flags.map(u64::from);
        event.links.via = Some(via);
    }
    if secrets > 0 {
        event.content.redacted.push(("header".to_owned(), secrets));
    }
}

/// The name in lower case, without an allocation; `None` for names longer than any that matters.
fn lower_case<'b>(name: &str, buffer: &'b mut [u8; 32]) -> Option<&'b str> {
    let place = buffer.get_mut(..name.len())?;
    place.copy_from_slice(name.as_bytes());
    place.make_ascii_lowercase();
    std::str::from_utf8(place).ok()
}

/// The entry of `known` that `word` is, else `other`: an odd word may be the secret itself.
fn one_of(known: &[&str], word: &[u8]) -> String {
    let found = known.iter().find(|k| k.as_bytes().eq_ignore_ascii_case(word));
    found.map_or("other", |k| *k).to_owned()
}

pub(super) fn keep_header(event: &mut Event, name: &str, value: &[u8], secrets: &mut u64) {
    // User information in a URL is a password.
    if name != "user-agent" && value.contains(&b'@') {
        *secrets += 1;
        return;
    }
    let (text, hits) = clean_text(value, HEADER_MAX);
    *secrets += hits;
    if value.len() > HEADER_MAX {
        event.content.cut.push((5 * 256 + 4, value.len() as u64));
    }
    if event.content.headers.len() < 64 {
        event.content.headers.push((name.to_owned(), text));
    }
}

fn set_request_id(links: &mut Links, value: &[u8], secrets: &mut u64) {
    match trace::request_id(value) {
        Some(id) if !looks_secret(id) => links.corr = id.to_owned(),
        Some(_) => *secrets += 1,
        None => {}
    }
}

fn keep_malformed(event: &mut Event, pointer: &str, value: &[u8]) {
    let (text, _) = clean_text(value, HEADER_MAX);
    event.content.unmapped.insert(pointer.to_owned(), Unmapped::Bytes(text.into_bytes()));
}

/// What the caller says of the way here: claimed, so level 1.
fn add_hops(event: &mut Event, value: &[u8]) {
    for hop in value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|h| !h.is_empty()) {
        if event.peer.hops.len() >= HOPS_MAX {
            return;
        }
        let (text, _) = clean_text(hop, HOP_MAX);
        event.peer.hops.push((text, Verified::Claimed));
    }
}

/// Media type without parameters.
pub(super) fn content_type(fields: Fields<'_>) -> String {
    let value = fields.get("content-type").unwrap_or_default();
    let essence = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let (mut text, _) = clean_text(essence, 127);
    cut_at(&mut text, 127);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_can_never_be_kept_headers() {
        for secret in ["authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key"] {
            assert!(!KEPT_HEADERS.contains(&secret));
        }
        assert!(KEPT_HEADERS.iter().all(|h| h.len() <= 32 && *h == h.to_ascii_lowercase()));
    }

    #[test]
    fn an_odd_authorization_is_not_taken_for_a_scheme() {
        assert_eq!(one_of(&AUTH_SCHEMES, b"bearer"), "Bearer");
        assert_eq!(one_of(&AUTH_SCHEMES, b"hunter2"), "other");
    }
}
