//! The index and the cut-down evaluation against one evaluation of everything by Cedar: always the same.

use crate::support::{NOW, all};
use countersign_event::{Auth, Class, Mode, Principal, PrincipalKind, Verified};
use countersign_policy::{Policy, PolicySet, Request, Sources};
use proptest::prelude::*;
use proptest::sample::select;
use std::net::{IpAddr, Ipv4Addr};

const IDS: [&str; 4] = ["w1", "w2", "u1", "with \"quotes\" and \\"];
const GROUPS: [&str; 4] = ["a", "b", "c", "d"];
const SERVICES: [&str; 3] = ["orders", "shop", "a/b"];
const TEMPLATES: [&str; 4] = ["/orders/{id}", "/orders", "public.payments", "b/c"];

const PRINCIPALS: [&str; 11] = [
    "principal",
    "principal",
    "principal == Countersign::Workload::\"w1\"",
    "principal == Countersign::User::\"u1\"",
    "principal == Countersign::Claimed::\"w1\"",
    "principal in Countersign::Group::\"a\"",
    "principal in Countersign::Group::\"c\"",
    "principal is Countersign::Workload",
    "principal is Countersign::Anonymous",
    "principal is Countersign::Workload in Countersign::Group::\"b\"",
    "principal in Countersign::Workload::\"w2\"",
];
const ACTIONS: [&str; 8] = [
    "action",
    "action",
    "action == Action::\"http:GET\"",
    "action in Action::\"class:read\"",
    "action in [Action::\"class:delete\", Action::\"http:GET\"]",
    "action in Action::\"protocol:http\"",
    "action in [Action::\"protocol:http/2\", Action::\"protocol:redis\"]",
    "action == Action::\"redis:DEL\"",
];
const RESOURCES: [&str; 8] = [
    "resource",
    "resource",
    "resource == Countersign::Resource::\"orders/orders/{id}\"",
    "resource == Countersign::Resource::\"a%2Fb/b/c\"",
    "resource in Countersign::Target::\"orders\"",
    "resource in Countersign::Group::\"d\"",
    "resource is Countersign::Resource in Countersign::Target::\"shop\"",
    "resource is Countersign::Resource",
];
const CONDITIONS: [&str; 35] = [
    "",
    "",
    "",
    "when { principal.verified >= 3 }",
    "unless { principal.verified >= 3 }",
    "when { principal.groups.contains(\"a\") }",
    "when { principal.id like \"w*\" }",
    "when { principal.iss == \"example.org\" || principal.svc == \"shop\" }",
    "when { principal has method && principal.method == \"jwt\" }",
    "when { principal in Countersign::Group::\"c\" }",
    "unless { principal in [Countersign::Group::\"a\", Countersign::Group::\"d\"] }",
    "when { resource in Countersign::Group::\"d\" && principal is Countersign::Workload in Countersign::Group::\"b\" }",
    "when { resource.service == \"orders\" } unless { resource.name like \"/orders/*\" }",
    "when { resource.type == \"table\" || resource.namespace == \"shop\" }",
    "when { action in Action::\"class:read\" && action in Action::\"protocol:http/1.1\" }",
    "when { action == Action::\"redis:DEL\" || context.tls }",
    "when { context.class == \"delete\" }",
    "when { context.hour < 12 && context.weekday == 7 }",
    "when { context.time > datetime(\"2026-11-22T02:00:00Z\") }",
    "when { context.peer.isInRange(ip(\"10.0.0.0/8\")) }",
    "when { context.purpose == \"billing\" || context.route == \"orders\" }",
    "when { context.delegation.contains(\"u1\") && context.delegation_depth > 0 }",
    "unless { context.behalf == \"\" || context.chain_verified < 3 }",
    "when { context.hour * 4611686018427387904 > 1 }",
    "when { (if context.tls then principal else principal).verified >= 3 && resource has name }",
    // Texts and shapes that a printed and re-read expression could get wrong.
    "when { principal.id == \"with \\\"quotes\\\" and \\\\\" }",
    "when { resource.name like \"/orders/{id}\" || resource.name like \"*\\*}\\\"{*\" }",
    "when { \"\\u{1f600}\\n\\t\\0}\" != context.purpose && !(!context.tls) }",
    "when { if context.tls then -9223372036854775808 < context.hour else 1 - 2 - 3 == (1 - 2) - 3 }",
    "when { {a: context.hour, \"b c\": [1, 2]}[\"b c\"].containsAny([2, 3]) } unless { {b: 2} == {b: context.hour} }",
    "when { context.tls } when { context.hour < 20 } unless { context.purpose == \"shop\" }",
    "when { (context.tls || context.hour < 3) && (context.tls == false || -context.hour < 0) }",
    "when { context.time.toDate() == datetime(\"2026-11-22\") && [[\"a\"]] != [principal.groups] }",
    "when { Countersign::Group::\"a\" in Countersign::Group::\"c\" }",
    "when { Countersign::Workload::\"w1\" in Countersign::Group::\"b\" || Countersign::Target::\"orders\" in Countersign::Group::\"d\" }",
];

fn policy() -> impl Strategy<Value = String> {
    let effect = select(vec!["permit", "permit", "forbid"]);
    let scope = (select(&PRINCIPALS[..]), select(&ACTIONS[..]), select(&RESOURCES[..]));
    (effect, scope, select(&CONDITIONS[..]))
        .prop_map(|(effect, (p, a, r), condition)| format!("{effect}({p}, {a}, {r}) {condition};\n"))
}

/// Groups only point to later ones, so there is no circle.
pub(crate) fn entities() -> impl Strategy<Value = String> {
    let list = |names: &'static [&'static str]| proptest::sample::subsequence(names, 0..=names.len());
    let json = |list: Vec<&str>| {
        format!("[{}]", list.iter().map(|g| format!("\"{g}\"")).collect::<Vec<_>>().join(","))
    };
    let parts = (list(&GROUPS[1..]), list(&GROUPS[2..]), list(&GROUPS), list(&GROUPS), list(&GROUPS));
    parts.prop_map(move |(a, b, w1, u1, orders)| {
        format!(
            "{{\"groups\":{{\"a\":{},\"b\":{}}},\"principals\":{{\"w1\":{},\"u1\":{}}},\"services\":{{\"orders\":{},\"x\":[\"d\"]}}}}",
            json(a), json(b), json(w1), json(u1), json(orders)
        )
    })
}

#[derive(Clone, Debug)]
pub(crate) struct Owned {
    who: Option<Principal>,
    obo: Vec<Principal>,
    texts: (&'static str, &'static str, &'static str, &'static str, &'static str),
    class: Option<Class>,
    shape: (u64, bool, bool, bool),
}

fn principal() -> impl Strategy<Value = Principal> {
    let kinds =
        vec![Some(PrincipalKind::Workload), Some(PrincipalKind::Workload), Some(PrincipalKind::User), None];
    let levels = vec![Verified::Claimed, Verified::Asserted, Verified::Checked, Verified::Bound];
    let groups = proptest::sample::subsequence(&GROUPS[..], 0..=4);
    (select(&IDS[..]), select(kinds), select(levels), groups, any::<bool>()).prop_map(
        |(id, kind, verified, groups, known)| {
            let mut who = Principal::new(id, verified);
            (who.kind, who.groups) = (kind, groups.into_iter().map(str::to_owned).collect());
            if known {
                (who.auth, who.iss, who.svc) = (Some(Auth::Jwt), "example.org".into(), "shop".into());
            }
            who
        },
    )
}

pub(crate) fn request() -> impl Strategy<Value = Owned> {
    let texts = (
        select(vec!["http/1.1", "http/2", "redis", "x/1"]),
        select(vec!["GET", "DELETE", "DEL"]),
        select(&SERVICES[..]),
        select(&TEMPLATES[..]),
        select(vec!["", "billing", "orders", "table", "shop"]),
    );
    let class = select(vec![None, Some(Class::Read), Some(Class::Delete), Some(Class::Other(77))]);
    let shape = (0..200_u64, any::<bool>(), any::<bool>(), any::<bool>());
    let obo = proptest::collection::vec(principal(), 0..3);
    (proptest::option::weighted(0.9, principal()), obo, texts, class, shape)
        .prop_map(|(who, obo, texts, class, shape)| Owned { who, obo, texts, class, shape })
}

impl Owned {
    pub(crate) fn request(&self) -> Request<'_> {
        let (protocol, operation, service, resource, word) = self.texts;
        let (hours, tls, near, peer) = self.shape;
        let ip = if near { Ipv4Addr::new(10, 0, 0, 7) } else { Ipv4Addr::new(192, 0, 2, 7) };
        Request {
            principal: self.who.as_ref(),
            on_behalf_of: &self.obo,
            protocol,
            operation,
            service,
            resource,
            resource_type: word,
            namespace: word,
            class: self.class,
            time_ns: NOW + hours * 1_800_000_000_000,
            peer: (peer || near).then_some(IpAddr::V4(ip)),
            tls,
            route: word,
            purpose: word,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|how| how == "full") { 1_000 } else { 100 },
        ..ProptestConfig::default()
    })]

    #[test]
    fn sliced_remembered_and_full_evaluation_are_the_same(
        policies in proptest::collection::vec(policy(), 0..25),
        entities in entities(),
        requests in proptest::collection::vec(request(), 20),
    ) {
        let sources = Sources {
            policies: vec![("p.cedar".to_owned(), policies.concat())],
            entities: Some(("e.json".to_owned(), entities)),
        };
        let set = PolicySet::from_sources(&sources, all(Mode::Enforce)).unwrap();
        for owned in &requests {
            let request = owned.request();
            let fully = set.decide_fully(&request, Mode::Enforce).unwrap();
            prop_assert_eq!(&set.decide_as(&request, Mode::Enforce), &fully);
            prop_assert_eq!(&set.decide(&request), &fully, "from the cache or into it");
        }
        for owned in requests.iter().rev() {
            let request = owned.request();
            prop_assert_eq!(set.decide(&request), set.decide_as(&request, Mode::Enforce), "remembered");
        }
    }
}
