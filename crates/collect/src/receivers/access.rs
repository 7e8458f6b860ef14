//! Who may deliver to an input, and under which name.

use super::port::Deliverer;
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

/// A request's headers. `Authorization: Splunk TOKEN`, as HEC clients send it, reads as a bearer token.
struct Headers<'a> {
    map: &'a HeaderMap,
    authorization: Option<Vec<u8>>,
}

impl<'a> Headers<'a> {
    fn new(map: &'a HeaderMap) -> Headers<'a> {
        let given = map.get("authorization").map(http::HeaderValue::as_bytes).unwrap_or_default();
        let token = given.strip_prefix(b"Splunk ").or_else(|| given.strip_prefix(b"splunk "));
        Headers { map, authorization: token.map(|token| [b"Bearer ", token].concat()) }
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
