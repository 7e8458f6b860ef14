//! Who may deliver to an input, and under which name.

use super::port::Deliverer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_event::Principal;
use countersign_event::Verified;
use countersign_identity::{Failure, HeaderLookup, Identities, TlsIdentity, who_of};
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

    /// Who delivers over `tls` with `headers`.
    ///
    /// # Errors
    /// Nobody without a credential that passes: whom the one that was shown claims, and why it did not pass.
    pub fn judge(
        &self,
        peer: Option<SocketAddr>,
        tls: Option<&TlsIdentity>,
        headers: &HeaderMap,
        now_s: i64,
    ) -> Result<Deliverer, Box<Refused>> {
        let mut found = tls.map(TlsIdentity::found).unwrap_or_default();
        let mut failures: Vec<Failure> = tls.map(|tls| tls.failures.clone()).unwrap_or_default();
        if let Some(identities) = &self.identities {
            let shown = identities.from_http_over(&Headers::new(headers), tls, now_s);
            failures.extend_from_slice(&shown.failures);
            found.extend(shown.into_found());
        }
        let who = who_of(found).who.filter(|who| who.verified >= Verified::Checked);
        if who.is_none() && self.required {
            return Err(Box::new(Refused::new(failures.pop())));
        }
        Ok(Deliverer { peer, id: who.map(|who| who.id).unwrap_or_default() })
    }
}

/// A sender who was not let in. Nothing of a secret is in it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Whom the credential claims, level 1; `anon:` where none was shown or it could not be read.
    pub claimed: Principal,
    /// Label of the reason; empty = no credential was shown.
    pub label: &'static str,
    /// The reason.
    pub reason: String,
}

impl Refused {
    fn new(failure: Option<Failure>) -> Refused {
        match failure {
            Some(failure) => Refused {
                claimed: Principal { verified: Verified::Claimed, ..failure.claimed },
                label: failure.kind.label(),
                reason: failure.reason,
            },
            None => Refused {
                claimed: crate::intake::folds::nobody(),
                label: "",
                reason: "no credential that this input knows was shown".to_owned(),
            },
        }
    }

    /// The key that senders of an input share was not proved.
    pub(super) fn shared_key() -> Refused {
        Refused { reason: "the shared key was not proved".to_owned(), ..Refused::new(None) }
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
