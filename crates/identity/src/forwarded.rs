//! What proxies say about their own callers: `x-forwarded-client-cert` (Envoy's form) and the PROXY protocol.
//!
//! Never proof. Invariants: only a listed proxy is believed, and at level 2; only the last element, which is the
//! one that this proxy wrote itself, is; everything else stays a claim; a header from anybody else is a failure
//! with its own kind and not an identity.

use crate::config::Forwarder;
use crate::refusal::{Failure, FailureKind, Refusal};
use crate::spiffe::SpiffeId;
use crate::text::{CLAIM_MAX, clip, unhex};
use countersign_event::{Auth, IdentityFrom, Principal, PrincipalKind, Relation, Verified};
use std::net::IpAddr;

/// The header.
pub(crate) const XFCC: &str = "x-forwarded-client-cert";
/// Longest header value that is read, bytes.
const VALUE_MAX_BYTES: usize = 16 << 10;
/// Most elements.
const ELEMENTS_MAX: usize = 16;

/// One element: what the proxy saw of its caller's certificate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// SHA-256 of the certificate, hex.
    pub(crate) hash: String,
    pub(crate) subject: String,
    pub(crate) uris: Vec<String>,
}

/// Whether a peer is a listed proxy.
pub(crate) fn is_listed(listed: &[Forwarder], peer: Option<IpAddr>, principal: Option<&Principal>) -> bool {
    listed.iter().any(|forwarder| match forwarder {
        Forwarder::Address(net, bits) => peer.is_some_and(|peer| contains(*net, *bits, peer)),
        Forwarder::Principal(id) => principal.is_some_and(|p| p.verified == Verified::Bound && p.id == *id),
    })
}

fn contains(net: IpAddr, bits: u8, ip: IpAddr) -> bool {
    let masked = |value: u128, width: u32| {
        let keep = u32::from(bits).min(width);
        if keep == 0 { 0 } else { value >> (width - keep) }
    };
    match (net.to_canonical(), ip.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            masked(u128::from(a.to_bits()), 32) == masked(u128::from(b.to_bits()), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => masked(a.to_bits(), 128) == masked(b.to_bits(), 128),
        _ => false,
    }
}

/// The identities in the header, from a peer that is a listed proxy or not.
///
/// `tls` is the proxy's own identity. With it the caller is somebody *behind* the proxy; without it the proxy is
/// only an address, and the caller is the actor.
pub(crate) fn client_certificate(
    value: &[u8],
    listed: bool,
    tls: Option<&Principal>,
) -> Result<Vec<Principal>, Box<Failure>> {
    let refuse = |refusal: Refusal| Box::new(refusal.of(XFCC, anonymous()));
    if !listed {
        let why = "its sender is not a listed proxy";
        return Err(refuse(Refusal::new(FailureKind::Forged, why)));
    }
    let mut elements = parse(value).map_err(|why| refuse(why.into()))?;
    let Some(last) = elements.pop() else { return Ok(Vec::new()) };
    let mut found = vec![last.principal(Verified::Asserted, tls.map(|_| Relation::Via))];
    // Older elements were handed to the proxy by its own caller.
    found.extend(elements.iter().rev().map(|e| e.principal(Verified::Claimed, Some(Relation::Via))));
    Ok(found)
}

/// A common name that a listed proxy states by the PROXY protocol.
pub(crate) fn common_name(name: &str, verified: bool, tls: Option<&Principal>) -> Principal {
    let level = if verified { Verified::Asserted } else { Verified::Claimed };
    Principal {
        auth: Some(Auth::Mtls),
        from: Some(IdentityFrom::RecordField),
        name: clip(name, CLAIM_MAX).to_owned(),
        rel: tls.map(|_| Relation::Via),
        ..Principal::new(format!("user:proxy/{}", clip(name, CLAIM_MAX)), level)
    }
}

impl Element {
    fn principal(&self, level: Verified, rel: Option<Relation>) -> Principal {
        let spiffe = match self.uris.as_slice() {
            [one] => SpiffeId::parse(one).ok(),
            _ => None,
        };
        let from = Some(IdentityFrom::Header);
        let digest = unhex(&self.hash).filter(|h| h.len() == 32);
        let cred = digest.map(|h| {
            use base64::Engine;
            format!("x5t#S256:{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(h))
        });
        let named = |id: String, auth| Principal {
            auth: Some(auth),
            from,
            rel,
            cred: cred.clone().unwrap_or_default(),
            name: clip(&self.subject, CLAIM_MAX).to_owned(),
            ..Principal::new(id, level)
        };
        match (spiffe, self.subject.is_empty()) {
            (Some(id), _) => Principal {
                kind: Some(PrincipalKind::Workload),
                iss: id.trust_domain().to_owned(),
                svc: clip(id.workload(), CLAIM_MAX).to_owned(),
                ..named(id.to_string(), Auth::SpiffeSvid)
            },
            (None, false) => named(format!("user:proxy/{}", clip(&self.subject, CLAIM_MAX)), Auth::Mtls),
            (None, true) => Principal {
                kind: Some(PrincipalKind::Anonymous),
                verified: Verified::Claimed,
                ..named("anon:".into(), Auth::Mtls)
            },
        }
    }
}

/// Takes the header apart: elements by `,`, pairs by `;`, values quoted where they hold one of these.
pub(crate) fn parse(value: &[u8]) -> Result<Vec<Element>, &'static str> {
    if value.len() > VALUE_MAX_BYTES {
        return Err("it is longer than 16,384 bytes");
    }
    let text = std::str::from_utf8(value).map_err(|_| "it is not text")?;
    let mut elements = vec![Element::default()];
    let mut chars = text.chars().peekable();
    while chars.peek().is_some() {
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| !matches!(c, '=' | ';' | ',')) {
            key.push(c);
        }
        let mut item = String::new();
        if chars.next_if_eq(&'=').is_some() {
            if chars.next_if_eq(&'"').is_some() {
                loop {
                    match chars.next().ok_or("a quoted value is not closed")? {
                        '"' => break,
                        '\\' => item.push(chars.next().ok_or("a quoted value is not closed")?),
                        c => item.push(c),
                    }
                }
            } else {
                while let Some(c) = chars.next_if(|c| !matches!(c, ';' | ',')) {
                    item.push(c);
                }
            }
        }
        if let Some(element) = elements.last_mut() {
            match key.trim().to_ascii_lowercase().as_str() {
                "hash" => element.hash = item,
                "subject" => element.subject = item.chars().filter(|c| !c.is_control()).collect(),
                "uri" if !item.is_empty() => element.uris.push(item),
                _ => {}
            }
        }
        match chars.next() {
            None | Some(';') => {}
            Some(',') if elements.len() < ELEMENTS_MAX => elements.push(Element::default()),
            Some(',') => return Err("it has more than 16 elements"),
            Some(_) => return Err("bytes follow a quoted value"),
        }
    }
    Ok(elements)
}

fn anonymous() -> Principal {
    Principal {
        kind: Some(PrincipalKind::Anonymous),
        from: Some(IdentityFrom::Header),
        ..Principal::new("anon:", Verified::Claimed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_and_quotes_are_taken_apart() {
        let value = br#"By=spiffe://a/gw;Hash=00ff;Subject="CN=x\"y,O=z;1";URI=spiffe://a/b,Hash=11;URI=spiffe://a/c;DNS=d"#;
        let found = parse(value).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].subject.as_str(), found[0].hash.as_str()), ("CN=x\"y,O=z;1", "00ff"));
        assert_eq!(found[1].uris, ["spiffe://a/c"]);
        assert!(parse(br#"Subject="a"#).is_err() && parse(br#"Subject="a"b"#).is_err());
        assert!(parse(&b",".repeat(16)).is_err());
    }

    #[test]
    fn nets_contain_their_addresses_and_no_others() {
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        assert!(
            contains(ip("10.1.0.0"), 16, ip("10.1.255.1")) && !contains(ip("10.1.0.0"), 16, ip("10.2.0.1"))
        );
        assert!(
            contains(ip("10.1.0.1"), 32, ip("::ffff:10.1.0.1"))
                && !contains(ip("10.1.0.1"), 32, ip("10.1.0.2"))
        );
        assert!(
            contains(ip("2001:db8::"), 32, ip("2001:db8:1::1"))
                && !contains(ip("2001:db8::"), 32, ip("2001:db9::"))
        );
        assert!(contains(ip("::"), 0, ip("2001::")) && !contains(ip("0.0.0.0"), 0, ip("2001::")));
    }

    proptest! {
        #[test]
        fn any_header_is_judged_without_panic(value in "[A-Za-z=;,\"\\\\ ]{0,60}") {
            let _ = client_certificate(value.as_bytes(), true, None);
        }
    }
}
