//! Small builders: a set from one text, a caller, a call.

use countersign_event::{Auth, Class, Mode, Principal, PrincipalKind, Verified};
use countersign_policy::{Modes, PolicyConfig, PolicyError, PolicySet, Request, Sources};
use std::net::{IpAddr, Ipv4Addr};

/// 2026-11-22 02:50:08 UTC, a Sunday.
pub(crate) const NOW: u64 = 1_795_315_808_000_000_000;

pub(crate) fn sources(policies: &str) -> Sources {
    Sources { policies: vec![("policies/shop.cedar".to_owned(), policies.to_owned())], entities: None }
}

pub(crate) fn all(mode: Mode) -> PolicyConfig {
    let modes = Modes { default: mode, ..Modes::default() };
    PolicyConfig { modes, ..PolicyConfig::default() }
}

pub(crate) fn try_set(policies: &str, mode: Mode) -> Result<PolicySet, PolicyError> {
    PolicySet::from_sources(&sources(policies), all(mode))
}

pub(crate) fn enforcing(policies: &str) -> PolicySet {
    try_set(policies, Mode::Enforce).unwrap()
}

pub(crate) fn with_entities(policies: &str, entities: &str) -> PolicySet {
    let entities = Some(("entities.json".to_owned(), entities.to_owned()));
    PolicySet::from_sources(&Sources { entities, ..sources(policies) }, all(Mode::Enforce)).unwrap()
}

pub(crate) const PAYMENTS: &str = "spiffe://example.org/ns/shop/sa/payments";

pub(crate) fn payments() -> Principal {
    let mut who = Principal::new(PAYMENTS, Verified::Bound);
    who.kind = Some(PrincipalKind::Workload);
    who.auth = Some(Auth::SpiffeSvid);
    who.iss = "example.org".into();
    who.svc = "payments".into();
    who.groups = vec!["payments".into()];
    who
}

pub(crate) fn call<'a>(who: &'a Principal) -> Request<'a> {
    Request {
        principal: Some(who),
        protocol: "http/1.1",
        operation: "GET",
        service: "orders",
        resource: "/orders/{id}",
        class: Some(Class::Read),
        time_ns: NOW,
        peer: Some(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3))),
        tls: true,
        route: "orders",
        ..Request::default()
    }
}
