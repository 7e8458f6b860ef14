//! What the fields of an HTTP exchange mean, for every log that records one.

use crate::Draft;
use crate::text::given;
use countersign_event::cbor::Value;
use countersign_event::fields::detail;
use countersign_event::{Class, Kind, Outcome, StatusSpace};

/// Longest path segment that counts as a name and not as an id, bytes.
const NAME_MAX: usize = 40;
/// Bytes of a path of which a template is made: many times what is kept of one.
const PATH_MAX: usize = 16 << 10;
/// Names of query parameters that are kept.
const QUERY_KEYS_MAX: usize = 64;

/// Class of a method (RFC 9110 section 9); `None` = unknown.
pub fn class(method: &str) -> Option<Class> {
    Some(match method {
        "GET" | "HEAD" => Class::Read,
        "POST" => Class::Create,
        "PUT" | "PATCH" => Class::Modify,
        "DELETE" => Class::Delete,
        "OPTIONS" | "TRACE" => Class::Meta,
        "CONNECT" => Class::Connect,
        _ => return None,
    })
}

/// How a request with this status ended (RFC 9110 section 15; 499 is nginx's and Envoy's "client went away").
/// `None` for what is no status, such as the 0 of a request that got no answer.
pub fn outcome(status: u64) -> Option<Outcome> {
    Some(match status {
        401 | 403 | 407 => Outcome::Denied,
        408 | 504 => Outcome::Timeout,
        499 => Outcome::Cancelled,
        100..=399 => Outcome::Success,
        400..=499 => Outcome::CallerError,
        500..=599 => Outcome::ServerError,
        _ => return None,
    })
}

/// Sets method, target and version. `target` may be a path, an absolute URL, an authority or `*`.
pub fn request(draft: &mut Draft, method: &str, target: &str, version: &str) {
    let core = &mut draft.event.core;
    core.kind = Some(Kind::Http);
    method.clone_into(&mut core.op);
    core.class = class(method);
    if let Some(version) = given(version) {
        let number = version.trim_start_matches("HTTP/");
        let number = if matches!(number, "2.0" | "3.0") { &number[..1] } else { number };
        core.proto = ["http/", number].concat();
    }
    self::target(draft, target);
}

/// Sets host, path, template and query of a request's target.
pub fn target(draft: &mut Draft, target: &str) {
    let (scheme, rest) = match target.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => (Some(scheme), rest),
        _ => (None, target),
    };
    let mut path = rest;
    if let Some(scheme) = scheme {
        let (authority, behind) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        detail(draft, detail::http::SCHEME, Value::Text(scheme.to_ascii_lowercase()));
        host(draft, authority);
        path = behind;
    }
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let (template, id) = template(path.get(..path.floor_char_boundary(PATH_MAX)).unwrap_or(path));
    let asked = &mut *draft.event.target;
    path.clone_into(&mut asked.raw);
    id.clone_into(&mut asked.id);
    asked.res = template;
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        let keys = query.split('&').filter_map(|pair| pair.split('=').next()).filter(|key| !key.is_empty());
        let keys = keys.take(QUERY_KEYS_MAX).map(|key| Value::Text(key.to_owned())).collect();
        detail(draft, detail::http::QUERY_KEYS, Value::Array(keys));
        draft.rest("query", query);
    }
}

/// Sets the host that was called, from `Host`, `:authority` or a URL; a port goes to the port.
pub fn host(draft: &mut Draft, authority: &str) {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let Some(authority) = given(authority) else { return };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (host, port.parse().ok())
        }
        _ => (authority, None),
    };
    let dst = draft.event.peer.dst.get_or_insert_default();
    host.clone_into(&mut dst.host);
    dst.port = dst.port.or(port);
}

/// Sets the status, and the outcome from it.
pub fn status(draft: &mut Draft, status: u64) {
    if outcome(status).is_some() {
        draft.event.core.status = Some((StatusSpace::Http, status.to_string()));
        draft.event.core.outcome = outcome(status);
    }
}

fn detail(draft: &mut Draft, key: u64, value: Value) {
    draft.event.content.detail.insert(key, value);
}

/// The path with `{id}` where a segment looks like one (numbers, UUIDs, hexadecimal, long), and the last of them.
pub fn template(path: &str) -> (String, &str) {
    let mut out = String::with_capacity(path.len());
    let mut id = "";
    for (i, segment) in path.split('/').enumerate() {
        if i > 0 {
            out.push('/');
        }
        if is_id(segment) {
            out.push_str("{id}");
            id = segment;
        } else {
            out.push_str(segment);
        }
    }
    (out, id)
}

fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let hex = bytes.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    bytes.len() > NAME_MAX || (digits > 0 && digits == bytes.len()) || (hex && digits > 1 && bytes.len() >= 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_paths_become_places_and_names_stay() {
        let uuid = "/users/7d1f1fce-63f1-4f3e-8c1c-3f1c7a2c9f11/orders";
        assert_eq!(template(uuid).0, "/users/{id}/orders");
        assert_eq!(template("/orders/1234"), ("/orders/{id}".to_owned(), "1234"));
        assert_eq!(template("/api/v1/face"), ("/api/v1/face".to_owned(), ""));
    }

    #[test]
    fn a_target_gives_host_path_and_names_of_its_query() {
        let mut draft = Draft::new();
        request(&mut draft, "GET", "https://u@shop.example:8443/a/7?x=1&token=2", "HTTP/2.0");
        let event = &draft.event;
        assert_eq!((event.core.proto.as_str(), event.core.op.as_str()), ("http/2", "GET"));
        assert_eq!((event.target.raw.as_str(), event.target.res.as_str()), ("/a/7", "/a/{id}"));
        let dst = event.peer.dst.as_ref().unwrap();
        assert_eq!((dst.host.as_str(), dst.port), ("shop.example", Some(8443)));
        let keys = vec![Value::Text("x".into()), Value::Text("token".into())];
        assert_eq!(event.content.detail.get(&detail::http::QUERY_KEYS), Some(&Value::Array(keys)));
    }
}
