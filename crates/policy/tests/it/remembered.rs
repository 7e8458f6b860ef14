//! The verdict cache: it may only ever answer what an evaluation would.

use crate::support::{NOW, all, call, enforcing, payments, sources};
use countersign_event::{Auth, Class, Mode, Principal, Verified};
use countersign_policy::{Policy, PolicyConfig, PolicySet, Request, refuses};
use std::net::{IpAddr, Ipv4Addr};

/// Asks a call that passes, then one that must not, though it differs in one thing only.
fn told_apart(condition: &str, good: &Request<'_>, bad: &Request<'_>) {
    let set = enforcing(&format!("permit(principal, action, resource) when {{ {condition} }};"));
    for _ in 0..2 {
        assert!(!refuses(&set.decide(good)), "{condition}");
        assert!(refuses(&set.decide(bad)), "{condition}: the other call's verdict was used");
    }
    assert!(
        set.stats().cached >= 2 || condition.contains("context.time"),
        "{condition}: nothing was remembered"
    );
}

#[test]
fn calls_that_a_policy_tells_apart_never_share_a_verdict() {
    let who = payments();
    let good = Request { purpose: "billing", resource_type: "table", namespace: "shop", ..call(&who) };
    let chain = [Principal::new("user:a", Verified::Checked)];
    let weak = [Principal::new("user:a", Verified::Claimed)];
    let other = |change: &dyn Fn(&mut Principal)| {
        let mut who = payments();
        change(&mut who);
        who
    };
    let jwt = other(&|w| w.auth = Some(Auth::Jwt));
    told_apart(
        "principal.method == \"spiffe_svid\"",
        &good,
        &Request { principal: Some(&jwt), ..good.clone() },
    );
    let iss = other(&|w| w.iss = "elsewhere".into());
    told_apart("principal.iss == \"example.org\"", &good, &Request { principal: Some(&iss), ..good.clone() });
    let svc = other(&|w| w.svc = "x".into());
    told_apart("principal.svc == \"payments\"", &good, &Request { principal: Some(&svc), ..good.clone() });
    let level = other(&|w| w.verified = Verified::Checked);
    told_apart("principal.verified == 4", &good, &Request { principal: Some(&level), ..good.clone() });
    let group = other(&|w| w.groups = vec![]);
    told_apart(
        "principal in Countersign::Group::\"payments\"",
        &good,
        &Request { principal: Some(&group), ..good.clone() },
    );
    told_apart("context.purpose == \"billing\"", &good, &Request { purpose: "other", ..good.clone() });
    told_apart("context.tls", &good, &Request { tls: false, ..good.clone() });
    told_apart("context.route == \"orders\"", &good, &Request { route: "x", ..good.clone() });
    told_apart("context.class == \"read\"", &good, &Request { class: Some(Class::Delete), ..good.clone() });
    told_apart("resource.type == \"table\"", &good, &Request { resource_type: "view", ..good.clone() });
    told_apart("resource.namespace == \"shop\"", &good, &Request { namespace: "x", ..good.clone() });
    told_apart(
        "action in Action::\"protocol:http/1.1\"",
        &good,
        &Request { protocol: "http/2", ..good.clone() },
    );
    let far = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));
    told_apart("context.peer.isInRange(ip(\"10.0.0.0/8\"))", &good, &Request { peer: far, ..good.clone() });
    let hour = NOW + 3_600_000_000_000;
    told_apart("context.hour == 2", &good, &Request { time_ns: hour, ..good.clone() });
    told_apart(
        "context.weekday == 7",
        &good,
        &Request { time_ns: NOW + 24 * 3_600_000_000_000, ..good.clone() },
    );
    told_apart(
        "context.time < datetime(\"2026-11-22T02:50:08.001Z\")",
        &good,
        &Request { time_ns: NOW + 1_000_000, ..good.clone() },
    );
    let obo = Request { on_behalf_of: &chain, ..good.clone() };
    told_apart("context.behalf == \"\" && context.delegation_depth == 0", &good, &obo);
    told_apart("context.chain_verified >= 3", &obo, &Request { on_behalf_of: &weak, ..good.clone() });
}

#[test]
fn a_policy_that_reads_the_time_is_evaluated_every_time_and_only_it() {
    let text = "permit(principal, action == Action::\"http:GET\", resource);\n\
        permit(principal, action == Action::\"http:PUT\", resource) when { context.time > datetime(\"2026-01-01\") };";
    let set = enforcing(text);
    let who = payments();
    for _ in 0..3 {
        set.decide(&call(&who));
        set.decide(&Request { operation: "PUT", ..call(&who) });
    }
    assert_eq!((set.stats().cached, set.stats().momentary), (2, 3));
}

#[test]
fn the_time_alone_is_no_new_verdict_when_no_policy_reads_it() {
    let set = enforcing("permit(principal, action, resource);");
    let who = payments();
    for n in 0..10 {
        set.decide(&Request { time_ns: NOW + n * 1_000_000_000_000, ..call(&who) });
    }
    assert_eq!(set.stats().cached, 9);
}

#[test]
fn a_reload_forgets_every_verdict() {
    let set = enforcing("permit(principal, action, resource);");
    let who = payments();
    assert!(!refuses(&set.decide(&call(&who))) && !refuses(&set.decide(&call(&who))));
    set.reload_from(&sources("forbid(principal, action, resource);")).unwrap();
    assert!(refuses(&set.decide(&call(&who))));
    assert!(set.reload_from(&sources("forbid(")).is_err());
    assert!(refuses(&set.decide(&call(&who))));
}

#[test]
fn hostile_paths_do_not_grow_the_cache_past_its_bound() {
    let config = PolicyConfig { cache_bytes: 256 << 10, ..all(Mode::Enforce) };
    let set = PolicySet::from_sources(&sources("permit(principal, action, resource);"), config).unwrap();
    let who = payments();
    for n in 0..5_000 {
        let path = format!("/{n}/{}", "x".repeat(n % 900));
        assert!(!refuses(&set.decide(&Request { resource: &path, ..call(&who) })));
        assert!(set.stats().cache_bytes <= 256 << 10);
    }
    assert!(set.stats().evictions > 1_000);
}

#[test]
fn many_threads_and_reloads_never_mix_two_policy_sets() {
    let one = sources("@id(\"a\") @reason(\"a\") forbid(principal, action, resource);");
    let two = sources("@id(\"b\") @reason(\"b\") forbid(principal, action, resource);");
    let set = PolicySet::from_sources(&one, all(Mode::Enforce)).unwrap();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let who = payments();
                    for _ in 0..20_000 {
                        let decision = set.decide(&call(&who));
                        assert_eq!(decision.policies, [decision.reason]);
                    }
                })
            })
            .collect();
        for n in 0..10 {
            set.reload_from(if n % 2 == 0 { &two } else { &one }).unwrap();
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}
