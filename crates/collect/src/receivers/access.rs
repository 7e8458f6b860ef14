//! Who may deliver to an input, and under which name.

use super::port::Deliverer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_event::Verified;
use countersign_identity::{HeaderLookup, Identities, TlsIdentity, who_of};
use http::HeaderMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// The door of an input.
#[derive(Clone)]
pub struct Access {
    /// What checks credentials; `None` = nobody has one.
    pub identities: Option<Arc<Identities>>,
    /// Whether one is needed.
    pub required: bool,
}

impl Access {
    /// Everybody may, and nobody is known.
    pub fn open() -> Access {
        Access { identities: None, required: false }
    }

    /// Who delivers over `tls` with `headers`; `None` = not without a credential that passes.
    pub fn judge(
        &self,
        peer: Option<SocketAddr>,
        tls: Option<&TlsIdentity>,
        headers: &HeaderMap,
        now_s: i64,
    ) -> Option<Deliverer> {
        let mut found = tls.map(TlsIdentity::found).unwrap_or_default();
        if let Some(identities) = &self.identities {
            found.extend(identities.from_http_over(&Headers::new(headers), tls, now_s).into_found());
        }
        let who = who_of(found).who.filter(|who| who.verified >= Verified::Checked);
        if who.is_none() && self.required {
            return None;
        }
        Some(Deliverer { peer, id: who.map(|who| who.id).unwrap_or_default() })
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("required", &self.required).finish_non_exhaustive()
    }
}

/// A request's headers. `Authorization: Splunk TOKEN`, as HEC clients send it, reads as a bearer token, and so does
/// the password of `Basic` (RFC 7617): agents that know no bearer token send theirs there, under any user name.
struct Headers<'a> {
    map: &'a HeaderMap,
    authorization: Option<Vec<u8>>,
}

impl<'a> Headers<'a> {
    fn new(map: &'a HeaderMap) -> Headers<'a> {
        let given = map.get("authorization").map(http::HeaderValue::as_bytes).unwrap_or_default();
        let (scheme, rest) = given.split_at(given.iter().position(|b| *b == b' ').unwrap_or(given.len()));
        let token = match scheme.to_ascii_lowercase().as_slice() {
            b"splunk" => Some(rest.trim_ascii().to_vec()),
            b"basic" => STANDARD.decode(rest.trim_ascii()).ok().and_then(|pair| {
                let colon = pair.iter().position(|b| *b == b':')?;
                Some(pair.get(colon + 1..)?.to_vec())
            }),
            _ => None,
        };
        Headers { map, authorization: token.map(|token| [b"Bearer ", token.as_slice()].concat()) }
    }
}

impl HeaderLookup for Headers<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.values(name).into_iter().next()
    }
    fn count(&self, name: &str) -> usize {
        self.map.get_all(name).iter().count()
    }
    fn values(&self, name: &str) -> Vec<&[u8]> {
        match (&self.authorization, name) {
            (Some(ours), "authorization") if self.count(name) == 1 => vec![ours],
            _ => self.map.get_all(name).iter().map(http::HeaderValue::as_bytes).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_where_agents_put_it() {
        let basic = format!("Basic {}", STANDARD.encode("x:csk.a.b:c"));
        for (given, read) in [
            ("Splunk csk.a.b", "Bearer csk.a.b"),
            ("splunk csk.a.b", "Bearer csk.a.b"),
            ("Bearer csk.a.b", "Bearer csk.a.b"),
            (basic.as_str(), "Bearer csk.a.b:c"),
            ("Basic !", "Basic !"),
        ] {
            let mut map = HeaderMap::new();
            map.insert("authorization", given.parse().unwrap());
            assert_eq!(Headers::new(&map).get("authorization"), Some(read.as_bytes()), "{given}");
        }
        let mut twice = HeaderMap::new();
        twice.append("authorization", "Splunk a".parse().unwrap());
        twice.append("authorization", "Splunk b".parse().unwrap());
        assert_eq!(Headers::new(&twice).values("authorization"), [b"Splunk a", b"Splunk b"]);
    }
}
