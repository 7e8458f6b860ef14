//! What proxies say about their own callers.

use crate::support::{Lines, request};
use crate::{NOW, World};
use countersign_event::{Relation, Verified};
use countersign_identity::{
    FailureKind, Forwarder, HttpRequest, Identities, IdentityConfig, Principal, TlsIdentity, who_of,
};

const XFCC: &str = "Hash=00;URI=spiffe://example.org/outer,By=spiffe://example.org/proxy;Hash=aa;Subject=\"CN=orders,O=x\";URI=spiffe://example.org/orders";

fn identities(forwarders: Vec<Forwarder>) -> Identities {
    Identities::new(IdentityConfig { forwarders, ..IdentityConfig::default() }, NOW).unwrap()
}

#[test]
fn a_listed_address_asserts_its_last_element_and_no_more() {
    let identities = identities(vec![Forwarder::Address("10.0.0.0".parse().unwrap(), 8)]);
    let lines = Lines::of(&[("x-forwarded-client-cert", XFCC)]);
    let from = |ip: &str| HttpRequest { peer: Some(ip.parse().unwrap()), ..request(&lines) };
    let found = identities.from_request(&from("10.1.2.3"), None, NOW);
    assert_eq!((found.failures.len(), found.single_use), (0, true));
    let who = who_of(found.into_found());
    let caller = who.who.unwrap();
    assert_eq!((caller.id.as_str(), caller.verified), ("spiffe://example.org/orders", Verified::Asserted));
    assert_eq!(who.obo[0].id, "spiffe://example.org/outer");
    assert_eq!(who.obo[0].verified, Verified::Claimed);
    let found = identities.from_request(&from("192.0.2.1"), None, NOW);
    assert_eq!((found.principals.len(), found.failures[0].kind), (0, FailureKind::Forged));
    assert!(identities.is_forwarder("10.9.9.9".parse().unwrap(), None));
}

#[test]
fn behind_a_proxy_with_a_certificate_the_caller_stands_behind_it() {
    let proxy = Principal::new("spiffe://example.org/proxy", Verified::Bound);
    let identities = identities(vec![Forwarder::Principal(proxy.id.clone())]);
    let lines = Lines::of(&[("x-forwarded-client-cert", XFCC)]);
    let tls = |p: &Principal| TlsIdentity { principal: Some(p.clone()), ..TlsIdentity::default() };
    let found = identities.from_request(&request(&lines), Some(&tls(&proxy)), NOW);
    let who = who_of([vec![proxy.clone()], found.into_found()].concat());
    assert_eq!(who.who.unwrap().id, proxy.id);
    let behind = &who.obo[0];
    assert_eq!(
        (behind.id.as_str(), behind.verified, behind.rel),
        ("spiffe://example.org/orders", Verified::Asserted, Some(Relation::Via))
    );
    // The same name, not proved.
    let claimed = Principal { verified: Verified::Asserted, ..proxy };
    assert_eq!(
        identities.from_request(&request(&lines), Some(&tls(&claimed)), NOW).failures[0].kind,
        FailureKind::Forged
    );
}

#[test]
fn a_proxys_common_name_is_level_two_only_if_the_proxy_verified_it() {
    let world = World::new();
    let named = |verified| world.identities.from_proxy_common_name("billing", verified, None);
    assert_eq!((named(true).id.as_str(), named(true).verified), ("user:proxy/billing", Verified::Asserted));
    assert_eq!(named(false).verified, Verified::Claimed);
}

#[test]
fn headers_out_of_form_are_refused_even_from_a_listed_proxy() {
    let identities = identities(vec![Forwarder::Address("::".parse().unwrap(), 0)]);
    for value in ["Subject=\"open", "URI=x\u{0}\"", &"a".repeat(17 << 10), &",".repeat(20)] {
        let lines = Lines::of(&[("x-forwarded-client-cert", value)]);
        let request = HttpRequest { peer: Some("::1".parse().unwrap()), ..request(&lines) };
        let found = identities.from_request(&request, None, NOW);
        assert!(found.principals.iter().all(|p| p.verified == Verified::Claimed), "{value}");
    }
}
