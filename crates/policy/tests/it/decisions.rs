//! What policies say to calls, and that the record can be told apart.

use crate::support::{NOW, PAYMENTS, call, enforcing, payments, with_entities};
use countersign_event::{Class, Decision, Event, Mode, Principal, PrincipalKind, Verdict, Verified};
use countersign_policy::{
    ERROR_PREFIX, FORBIDDEN, Ground, NAMED_MAX, NOT_PERMITTED, Policy, Request, ground, refuses,
};
use std::net::{IpAddr, Ipv4Addr};

const READ: &str = "@id(\"read\") permit(principal, action in Action::\"class:read\", resource);";

/// A policy with this condition, asked for a call.
fn holds(condition: &str, request: &Request<'_>) -> bool {
    let decision =
        enforcing(&format!("permit(principal, action, resource) when {{ {condition} }};")).decide(request);
    assert_ne!(ground(&decision), Ground::Error, "{condition}: {}", decision.reason);
    decision.verdict == Some(Verdict::Allow)
}

#[test]
fn without_a_permit_a_call_is_denied_and_the_record_says_so() {
    let who = payments();
    let decision = enforcing("").decide(&call(&who));
    assert!(refuses(&decision));
    assert_eq!((decision.verdict, decision.mode), (Some(Verdict::Deny), Some(Mode::Enforce)));
    assert_eq!((decision.policies.len(), decision.reason.as_str()), (0, NOT_PERMITTED));
    assert_eq!(ground(&decision), Ground::NotPermitted);
}

#[test]
fn a_permit_allows_and_is_named() {
    let who = payments();
    let decision = enforcing(READ).decide(&call(&who));
    assert!(!refuses(&decision));
    assert_eq!((decision.verdict, decision.policies), (Some(Verdict::Allow), vec!["read".to_owned()]));
}

#[test]
fn a_forbid_overrides_and_states_its_reason() {
    let forbid = "@id(\"freeze\") @reason(\"orders are frozen until the audit is over\")\n\
        forbid(principal, action, resource in Countersign::Target::\"orders\");";
    let who = payments();
    let decision = enforcing(&format!("{READ}\n{forbid}")).decide(&call(&who));
    assert!(refuses(&decision));
    assert_eq!(decision.policies, ["freeze"], "the permit determined nothing");
    assert_eq!(decision.reason, "orders are frozen until the audit is over");
    assert_eq!(ground(&decision), Ground::Forbidden);
    let advice =
        enforcing("@advice(\"ask the owner\") forbid(principal, action, resource);").decide(&call(&who));
    assert_eq!(advice.reason, "ask the owner");
    assert_eq!(enforcing("forbid(principal, action, resource);").decide(&call(&who)).reason, FORBIDDEN);
}

#[test]
fn denied_and_error_and_not_applicable_can_be_told_apart() {
    let who = payments();
    let of = |policies: &str| enforcing(policies).decide(&call(&who));
    assert_eq!(ground(&of(READ)), Ground::Permitted);
    assert_eq!(ground(&of("forbid(principal, action, resource);")), Ground::Forbidden);
    assert_eq!(
        ground(&of("permit(principal, action in Action::\"class:delete\", resource);")),
        Ground::NotPermitted
    );
    assert_eq!(
        ground(&of("permit(principal, action, resource) when { context.hour * 9223372036854775807 > 1 };")),
        Ground::Error
    );
    assert_eq!(ground(&Decision { mode: Some(Mode::Observe), ..Decision::default() }), Ground::NotWeighed);
}

#[test]
fn a_policy_that_cannot_be_evaluated_denies_and_says_which_and_why() {
    // Skipping it, as Cedar alone does, would allow: the broken rule is the forbid.
    let broken =
        "@id(\"night\") forbid(principal, action, resource) when { context.hour * 9223372036854775807 > 1 };";
    let who = payments();
    let decision = enforcing(&format!("{READ}{broken}")).decide(&call(&who));
    assert!(refuses(&decision));
    assert_eq!(decision.policies, ["night"]);
    assert_eq!(decision.reason, format!("{ERROR_PREFIX}night: a calculation overflows"));
    // A forbid that does hold is the better reason.
    let both = format!("{broken}@id(\"no\") forbid(principal, action, resource);");
    assert_eq!(enforcing(&both).decide(&call(&who)).policies, ["no"]);
}

#[test]
fn a_call_without_an_address_is_an_error_of_a_policy_that_reads_it() {
    let who = payments();
    let request = Request { peer: None, ..call(&who) };
    let set =
        enforcing("permit(principal, action, resource) when { context.peer.isInRange(ip(\"10.0.0.0/8\")) };");
    assert_eq!(ground(&set.decide(&request)), Ground::Error);
    assert_eq!(ground(&set.decide(&call(&who))), Ground::Permitted);
}

#[test]
fn every_attribute_says_what_the_call_is() {
    let mut who = payments();
    let user =
        Principal { kind: Some(PrincipalKind::User), ..Principal::new("user:corp/ann", Verified::Asserted) };
    who.groups.push("batch".into());
    let chain = [user];
    let request = Request {
        on_behalf_of: &chain,
        resource_type: "table",
        namespace: "shop",
        purpose: "billing",
        ..call(&who)
    };
    for condition in [
        &format!("principal.id == \"{PAYMENTS}\""),
        "principal.verified == 4",
        "principal.method == \"spiffe_svid\"",
        "principal.groups.containsAll([\"batch\", \"payments\"])",
        "principal.iss == \"example.org\" && principal.svc == \"payments\"",
        "principal is Countersign::Workload",
        "principal in Countersign::Group::\"batch\"",
        "resource.service == \"orders\" && resource.name == \"/orders/{id}\"",
        "resource.type == \"table\" && resource.namespace == \"shop\"",
        "resource in Countersign::Target::\"orders\"",
        "resource == Countersign::Resource::\"orders/orders/{id}\"",
        "action == Action::\"http:GET\" && action in Action::\"class:read\"",
        "action in Action::\"protocol:http\" && action in Action::\"protocol:http/1.1\"",
        "context.class == \"read\" && context.tls && context.route == \"orders\"",
        "context.hour == 2 && context.weekday == 7",
        "context.time > datetime(\"2026-11-22T02:50:07Z\") && context.time < datetime(\"2026-11-22T02:50:09Z\")",
        "context.peer == ip(\"10.1.2.3\")",
        "context.purpose == \"billing\"",
        "context.delegation.contains(\"user:corp/ann\") && context.delegation_depth == 1",
        "context.behalf == \"user:corp/ann\" && context.chain_verified == 2",
    ] {
        assert!(holds(condition, &request), "{condition}");
        assert!(!holds(&format!("!({condition})"), &request), "not {condition}");
    }
}

#[test]
fn speaking_another_version_of_a_protocol_is_no_way_around_a_rule() {
    let who = payments();
    let set = enforcing(
        "permit(principal, action, resource); forbid(principal, action == Action::\"http:DELETE\", resource);",
    );
    for protocol in ["http/1.0", "http/1.1", "http/2", "http"] {
        let request = Request { protocol, operation: "DELETE", class: Some(Class::Delete), ..call(&who) };
        assert!(refuses(&set.decide(&request)), "{protocol}");
    }
}

#[test]
fn a_claimed_id_gets_nothing_that_its_holder_gets() {
    let text = format!(
        "permit(principal == Countersign::Workload::\"{PAYMENTS}\", action, resource);\n\
         permit(principal in Countersign::Group::\"payments\", action, resource);\n\
         permit(principal, action, resource) when {{ principal.groups.contains(\"payments\") }};"
    );
    let entities = format!("{{\"principals\": {{\"{PAYMENTS}\": [\"payments\"]}}}}");
    let set = with_entities(&text, &entities);
    let holder = payments();
    assert!(!refuses(&set.decide(&call(&holder))));
    // The same id, group and kind, but the proof failed.
    let claimed = Principal { verified: Verified::Claimed, ..payments() };
    assert_eq!(ground(&set.decide(&call(&claimed))), Ground::NotPermitted);
    let by_claim =
        enforcing(&format!("permit(principal == Countersign::Claimed::\"{PAYMENTS}\", action, resource);"));
    assert!(!refuses(&by_claim.decide(&call(&claimed))) && refuses(&by_claim.decide(&call(&holder))));
}

#[test]
fn nobody_is_anonymous_with_level_0() {
    let request = Request { principal: None, ..call_of_nobody() };
    let set = enforcing(
        "permit(principal is Countersign::Anonymous, action, resource) when { principal.verified == 0 };",
    );
    assert!(!refuses(&set.decide(&request)));
    assert!(refuses(
        &enforcing("permit(principal, action, resource) when { principal.verified > 0 };").decide(&request)
    ));
}

fn call_of_nobody() -> Request<'static> {
    Request {
        protocol: "redis",
        operation: "GET",
        service: "cache",
        resource: "user:*",
        time_ns: NOW,
        ..Request::default()
    }
}

#[test]
fn a_class_that_could_not_be_told_is_never_read() {
    let who = payments();
    for class in [None, Some(Class::Other(99))] {
        let request = Request { class, ..call(&who) };
        assert!(refuses(&enforcing(READ).decide(&request)));
        assert!(!refuses(
            &enforcing("permit(principal, action in Action::\"class:unknown\", resource);").decide(&request)
        ));
    }
}

#[test]
fn groups_of_the_entities_file_reach_through_groups() {
    let entities = format!(
        "{{\"groups\": {{\"shop\": [\"company\"], \"company\": []}}, \"principals\": {{\"{PAYMENTS}\": [\"shop\"]}},\n\
          \"services\": {{\"orders\": [\"customer-data\"]}}}}"
    );
    let text = "permit(principal in Countersign::Group::\"company\", action, resource in Countersign::Group::\"customer-data\");";
    let set = with_entities(text, &entities);
    let who = payments();
    assert!(!refuses(&set.decide(&call(&who))));
    assert!(refuses(&set.decide(&Request { service: "other", ..call(&who) })));
    let condition = "permit(principal, action, resource) when { principal in Countersign::Group::\"company\"\n\
        && Countersign::Group::\"shop\" in Countersign::Group::\"company\" && resource in Countersign::Group::\"customer-data\" };";
    assert!(!refuses(&with_entities(condition, &entities).decide(&call(&who))));
}

#[test]
fn nothing_that_a_caller_sent_is_in_the_reason() {
    let secret = "hunter2-and-a-line\nbreak";
    let mut who = Principal::new(secret, Verified::Checked);
    who.groups = vec![secret.into()];
    (who.iss, who.svc) = (secret.into(), secret.into());
    let request = Request {
        operation: secret,
        resource: secret,
        resource_type: secret,
        namespace: secret,
        purpose: secret,
        ..call(&who)
    };
    for policies in [
        "",
        "forbid(principal, action, resource);",
        "permit(principal, action, resource) when { context.hour * 9223372036854775807 > 1 || principal.iss == \"x\" };",
        "permit(principal, action, resource) when { ip(context.purpose).isLoopback() };",
        "permit(principal, action, resource) when { datetime(resource.name) > context.time };",
    ] {
        let Ok(set) = crate::support::try_set(policies, Mode::Enforce) else { continue };
        let decision = set.decide(&request);
        assert!(refuses(&decision), "{policies}");
        assert!(!format!("{decision:?}").contains("hunter2"), "{policies}: {decision:?}");
    }
}

#[test]
fn a_record_names_a_bounded_number_of_policies_and_fits_an_event() {
    let text: String =
        (0..100).map(|n| format!("@id(\"p{n:03}\") forbid(principal, action, resource);\n")).collect();
    let who = payments();
    let decision = enforcing(&text).decide(&call(&who));
    assert_eq!(decision.policies.len(), NAMED_MAX);
    assert_eq!(decision.policies[0], "p000");
    let mut event = Event::default();
    (event.core.agent, event.core.seq, event.core.t_obs) = ("spiffe://example.org/gw".into(), 1, 1);
    event.core.decision = Some(decision.into());
    assert!(event.encode().is_ok());
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_the_ipv4_address() {
    let who = payments();
    let mapped = IpAddr::V6(Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped());
    let request = Request { peer: Some(mapped), ..call(&who) };
    assert!(holds("context.peer.isInRange(ip(\"10.0.0.0/8\"))", &request));
}
