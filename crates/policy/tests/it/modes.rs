//! Observe, learn, shadow, enforce, by route.

use crate::support::{all, call, payments, sources, try_set};
use countersign_event::{Mode, Verdict};
use countersign_policy::{
    Ground, Modes, NOT_PERMITTED, Policy, PolicyConfig, PolicySet, Request, ground, refuses,
};
use std::collections::BTreeMap;

#[test]
fn each_route_has_its_mode_and_only_enforce_holds_bytes_or_refuses() {
    let routes: BTreeMap<String, Mode> =
        [("a", Mode::Observe), ("b", Mode::Learn), ("c", Mode::Shadow), ("d", Mode::Enforce)]
            .into_iter()
            .map(|(route, mode)| (route.to_owned(), mode))
            .collect();
    let modes = Modes { default: Mode::Shadow, routes };
    let set =
        PolicySet::from_sources(&sources(""), PolicyConfig { modes, ..PolicyConfig::default() }).unwrap();
    let who = payments();
    for (route, mode, verdict) in [
        ("a", Mode::Observe, None),
        ("b", Mode::Learn, None),
        ("c", Mode::Shadow, Some(Verdict::WouldDeny)),
        ("d", Mode::Enforce, Some(Verdict::Deny)),
        ("another", Mode::Shadow, Some(Verdict::WouldDeny)),
    ] {
        let decision = set.decide(&Request { route, ..call(&who) });
        assert_eq!((decision.mode, decision.verdict), (Some(mode), verdict), "{route}");
        assert_eq!(refuses(&decision), mode == Mode::Enforce);
        assert_eq!(set.holds(route), mode == Mode::Enforce);
        if verdict.is_none() {
            assert_eq!((decision.policies.len(), decision.reason.as_str()), (0, ""), "nothing was weighed");
        } else {
            assert_eq!(decision.reason, NOT_PERMITTED);
        }
    }
    assert_eq!((set.stats().decided, set.stats().denied, set.stats().would_deny), (3, 1, 2));
}

#[test]
fn shadow_says_exactly_what_enforce_would_do() {
    let who = payments();
    for policies in [
        "",
        "permit(principal, action, resource);",
        "forbid(principal, action, resource);",
        "permit(principal, action, resource); forbid(principal, action, resource) when { context.hour * 9223372036854775807 > 1 };",
    ] {
        let set = try_set(policies, Mode::Shadow).unwrap();
        let (shadow, enforce) = (set.decide(&call(&who)), set.decide_as(&call(&who), Mode::Enforce));
        assert!(!refuses(&shadow));
        assert_eq!(shadow.verdict == Some(Verdict::WouldDeny), refuses(&enforce));
        assert_eq!((shadow.policies, shadow.reason), (enforce.policies, enforce.reason));
    }
}

#[test]
fn a_mode_that_this_version_does_not_know_enforces() {
    let set = PolicySet::from_sources(&sources(""), all(Mode::Other(9))).unwrap();
    let who = payments();
    assert!(set.holds("orders") && refuses(&set.decide(&call(&who))));
    assert!(try_set("permit(", Mode::Other(9)).is_err());
}

#[test]
fn broken_policies_stop_the_start_only_where_a_route_enforces() {
    for mode in [Mode::Observe, Mode::Learn, Mode::Shadow] {
        let set = try_set("permit(", mode).unwrap();
        assert!(set.problem().is_some() && set.digest().is_empty());
        let who = payments();
        let decision = set.decide(&call(&who));
        assert!(!refuses(&decision));
        let expected = if mode == Mode::Shadow { Ground::Error } else { Ground::NotWeighed };
        assert_eq!(ground(&decision), expected);
    }
    let error = try_set("permit(", Mode::Enforce).unwrap_err().to_string();
    assert!(error.contains("not started, since a route enforces them"), "{error}");
    let modes = Modes { routes: [("pay".to_owned(), Mode::Enforce)].into(), ..Modes::default() };
    let config = PolicyConfig { modes, ..PolicyConfig::default() };
    assert!(PolicySet::from_sources(&sources("permit("), config).is_err());
}
