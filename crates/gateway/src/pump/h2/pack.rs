//! Heads as the decoder gets them: packed, pseudo fields first, in the order in which they go on.

use countersign_wire::h2::Packed;
use http::{HeaderMap, request, response};

/// Rough size of a head, so that most are one allocation.
const USUAL: usize = 384;

fn add(packed: &mut Packed, fields: &HeaderMap) {
    for (name, value) in fields {
        packed.push(name.as_str(), value.as_bytes());
    }
}

/// A request's.
pub(super) fn request(parts: &request::Parts) -> Packed {
    let mut packed = Packed::with_capacity(USUAL);
    packed.push(":method", parts.method.as_str().as_bytes());
    if let Some(scheme) = parts.uri.scheme_str() {
        packed.push(":scheme", scheme.as_bytes());
    }
    if let Some(authority) = parts.uri.authority() {
        packed.push(":authority", authority.as_str().as_bytes());
    }
    if let Some(path) = parts.uri.path_and_query() {
        packed.push(":path", path.as_str().as_bytes());
    }
    add(&mut packed, &parts.headers);
    packed
}

/// A final response's.
pub(super) fn response(parts: &response::Parts) -> Packed {
    let mut packed = Packed::with_capacity(USUAL);
    packed.push(":status", parts.status.as_str().as_bytes());
    add(&mut packed, &parts.headers);
    packed
}

/// Trailers.
pub(super) fn fields(fields: &HeaderMap) -> Packed {
    let mut packed = Packed::with_capacity(USUAL);
    add(&mut packed, fields);
    packed
}
