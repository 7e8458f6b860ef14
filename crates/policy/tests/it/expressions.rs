//! Conditions made up at random, of every form that is evaluated without Cedar and of forms that are not:
//! the decision is always that of Cedar's own authorizer over the whole policies, errors included.

use crate::sliced::{entities, request};
use crate::support::{all, enforcing};
use countersign_event::Mode;
use countersign_policy::{Policy, PolicySet, Sources};
use proptest::prelude::*;
use proptest::sample::select;

const TEXTS: [&str; 16] = [
    "principal.id",
    "principal.method",
    "principal.iss",
    "principal.svc",
    "resource.service",
    "resource.type",
    "resource.namespace",
    "resource.name",
    "context.class",
    "context.route",
    "context.purpose",
    "context.behalf",
    "\"orders\"",
    "\"with \\\"quotes\\\" and \\\\\"",
    "\"\"",
    "(if context.tls then principal.id else context.purpose)",
];
const NUMBERS: [&str; 11] = [
    "principal.verified",
    "context.hour",
    "context.weekday",
    "context.delegation_depth",
    "context.chain_verified",
    "0",
    "3",
    "-1",
    "9223372036854775807",
    "(context.hour + 1)",
    // More than 64 bits hold, from the third hour of the day on: an error.
    "context.hour * 4611686018427387904",
];
const PATTERNS: [&str; 8] =
    ["*", "w*", "*s", "/orders/*", "*o*r*", "public.*pay*s", "/orders/{id}", "*\\*}\\\"{*"];
const MOMENTS: [&str; 5] = [
    "context.time",
    "datetime(\"2026-11-22\")",
    "datetime(\"2026-11-24T03:00:00Z\")",
    "datetime(\"2026-11-22T02:50:08.000Z\")",
    "datetime(\"2026-11-22T02:50:08+0100\")",
];
const NETS: [&str; 7] =
    ["10.0.0.0/8", "10.0.0.7", "10.0.0.6/31", "0.0.0.0/0", "192.0.2.7/32", "::/0", "fd00::1/64"];
const ENTITIES: [&str; 14] = [
    "principal in Countersign::Group::\"a\"",
    "principal in [Countersign::Group::\"b\", Countersign::Group::\"d\"]",
    "principal in Countersign::Workload::\"w1\"",
    "principal is Countersign::Workload",
    "principal is Countersign::Claimed",
    "principal is Countersign::User in Countersign::Group::\"c\"",
    "resource in Countersign::Target::\"orders\"",
    "resource in [Countersign::Target::\"shop\", Countersign::Target::\"a/b\"]",
    "resource == Countersign::Resource::\"orders/orders/{id}\"",
    "Countersign::Resource::\"a%2Fb/b/c\" != resource",
    "action == Action::\"http:GET\"",
    "action in Action::\"class:read\"",
    "action in [Action::\"protocol:redis\", Action::\"protocol:http/2\"]",
    "Countersign::Workload::\"w1\" in Countersign::Group::\"b\"",
];
const OTHERS: [&str; 14] = [
    "true",
    "false",
    "context.tls",
    "context.tls == false",
    "context has peer",
    "principal has method",
    "principal.groups.isEmpty()",
    "principal.groups.containsAny([\"a\", \"c\"])",
    "principal.groups.containsAll([\"b\", \"c\", \"b\"])",
    "context.delegation.isEmpty()",
    "context.delegation.containsAny([\"u1\", \"w2\"])",
    "context.peer.isIpv4()",
    "context.time.toTime() < duration(\"3h\")",
    "{a: context.tls}.a",
];

fn leaf() -> BoxedStrategy<String> {
    let two = |of: &'static [&'static str]| (select(of), select(of));
    let order = || select(vec!["==", "!=", "<", "<=", ">", ">="]);
    prop_oneof![
        (two(&TEXTS), select(vec!["==", "!="])).prop_map(|((a, b), how)| format!("{a} {how} {b}")),
        (two(&NUMBERS), order()).prop_map(|((a, b), how)| format!("{a} {how} {b}")),
        (two(&MOMENTS), order()).prop_map(|((a, b), how)| format!("{a} {how} {b}")),
        (select(&TEXTS[..]), select(&PATTERNS[..])).prop_map(|(a, p)| format!("{a} like \"{p}\"")),
        (select(&TEXTS[..]), two(&TEXTS[12..15])).prop_map(|(a, (b, c))| format!("[{b}, {c}].contains({a})")),
        (select(&NUMBERS[..]), 0..8).prop_map(|(a, n)| format!("[{n}, 3, -1].contains({a})")),
        (select(vec!["principal.groups", "context.delegation"]), select(&TEXTS[..]))
            .prop_map(|(set, a)| format!("{set}.contains({a})")),
        (select(&NETS[..]), any::<bool>()).prop_map(|(net, range)| match range {
            true => format!("context.peer.isInRange(ip(\"{net}\"))"),
            false => format!("ip(\"{net}\") == context.peer"),
        }),
        select(&ENTITIES[..]).prop_map(str::to_owned),
        select(&OTHERS[..]).prop_map(str::to_owned),
    ]
    .boxed()
}

fn condition() -> impl Strategy<Value = String> {
    leaf().prop_recursive(3, 8, 3, |inner| {
        let two = || (inner.clone(), inner.clone());
        prop_oneof![
            two().prop_map(|(a, b)| format!("({a}) && ({b})")),
            two().prop_map(|(a, b)| format!("({a}) || ({b})")),
            two().prop_map(|(a, b)| format!("(({a}) == ({b}))")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        ]
    })
}

fn policy() -> impl Strategy<Value = String> {
    let clause =
        (select(vec!["when", "unless"]), condition()).prop_map(|(kind, c)| format!("{kind} {{ {c} }}"));
    let clauses = proptest::collection::vec(clause, 1..3);
    (select(vec!["permit", "permit", "forbid"]), clauses).prop_map(|(effect, clauses)| {
        format!("{effect}(principal, action, resource) {};\n", clauses.join(" "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|how| how == "full") { 1_000 } else { 50 },
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_condition_decides_as_cedar_does(
        policies in proptest::collection::vec(policy(), 1..8),
        entities in entities(),
        requests in proptest::collection::vec(request(), 15),
    ) {
        let sources = Sources {
            policies: vec![("p.cedar".to_owned(), policies.concat())],
            entities: Some(("e.json".to_owned(), entities)),
        };
        let set = PolicySet::from_sources(&sources, all(Mode::Enforce));
        // What the checker refuses is not for here; hardly any is.
        prop_assume!(set.is_ok());
        let set = set.unwrap();
        for owned in &requests {
            let request = owned.request();
            let fully = set.decide_fully(&request, Mode::Enforce).unwrap();
            prop_assert_eq!(&set.decide_as(&request, Mode::Enforce), &fully, "{}", policies.concat());
            prop_assert_eq!(&set.decide(&request), &fully, "from the cache or into it");
        }
    }
}

/// A form that slips back to Cedar costs a decision microseconds, and nobody would notice.
#[test]
fn the_usual_forms_need_no_cedar_and_the_unusual_do() {
    let with = |condition: &str| {
        enforcing(&format!("permit(principal, action, resource) when {{ {condition} }};")).conditions()
    };
    let comparisons = ["==", "!=", "<", "<=", ">", ">="];
    let mut usual: Vec<String> = Vec::new();
    for attribute in &TEXTS[..12] {
        usual.extend(["==", "!="].map(|how| format!("{attribute} {how} \"x\"")));
        usual.extend(PATTERNS.map(|pattern| format!("{attribute} like \"{pattern}\"")));
        usual.push(format!("[\"x\", \"y\"].contains({attribute})"));
    }
    for attribute in &NUMBERS[..5] {
        usual.extend(comparisons.map(|how| format!("{attribute} {how} -3")));
        usual.push(format!("[6, 7].contains({attribute})"));
    }
    for moment in &MOMENTS[1..] {
        usual.extend(comparisons.map(|how| format!("context.time {how} {moment}")));
    }
    usual.extend(NETS.map(|net| format!("context.peer.isInRange(ip(\"{net}\"))")));
    usual.push("context.peer == ip(\"10.0.0.1\")".to_owned());
    usual.extend(ENTITIES[..13].iter().chain(&OTHERS[2..11]).map(|form| (*form).to_owned()));
    usual.push("principal.groups.contains(\"a\") && !(context.tls || context.hour > 3)".to_owned());
    usual.push("if context.tls then context.hour > 3 else context.behalf != \"\"".to_owned());
    for condition in &usual {
        assert_eq!(with(condition), (1, 0), "{condition}");
    }
    for condition in [TEXTS[15], NUMBERS[9], NUMBERS[10]] {
        assert_eq!(with(&format!("{condition} == {condition}")), (1, 1), "{condition}");
    }
    for condition in OTHERS[11..].iter().chain(&ENTITIES[13..]) {
        assert_eq!(with(condition), (1, 1), "{condition}");
    }
}
