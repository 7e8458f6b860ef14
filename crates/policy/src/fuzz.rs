//! Bodies for fuzzers and for the seeded tests on a stable toolchain.
//!
//! Policy files are the operator's, entities the operator's, too; but a broken file must give a problem with
//! a place, never a crash, and what loads must decide the same in the fast way and in the slow one.

use crate::rules::Sources;
use crate::statements::split;
use crate::{Memberships, PolicyConfig, PolicySet, Request};
use countersign_event::{Auth, Class, Mode, Principal, PrincipalKind, Verified};

/// A policy file.
pub fn policy_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(statements) = split("fuzz.cedar", text) {
        let mut end = 0;
        for statement in statements {
            assert!(statement.offset >= end && !statement.text.is_empty());
            end = statement.offset + statement.text.len();
            assert_eq!(text.get(statement.offset..end), Some(statement.text));
        }
    }
    let sources = Sources { policies: vec![("fuzz.cedar".to_owned(), text.to_owned())], entities: None };
    if let Err(problems) = crate::check(&sources) {
        assert!(!problems.is_empty() && problems.iter().all(|p| !p.why.contains('\n')));
        return;
    }
    if let Ok(set) = PolicySet::from_sources(&sources, PolicyConfig::default()) {
        same_both_ways(&set);
    }
}

/// An entities file.
pub fn entities_json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if Memberships::parse("fuzz.json", text).is_err() {
        return;
    }
    let policy = "permit(principal in Countersign::Group::\"a\", action, resource);\n\
        forbid(principal, action, resource in Countersign::Group::\"b\") unless { principal in Countersign::Group::\"c\" };";
    let sources = Sources {
        policies: vec![("fuzz.cedar".to_owned(), policy.to_owned())],
        entities: Some(("fuzz.json".to_owned(), text.to_owned())),
    };
    match PolicySet::from_sources(&sources, PolicyConfig::default()) {
        Ok(set) => same_both_ways(&set),
        Err(error) => {
            assert!(error.problems().is_empty(), "what was read alone must load with a good policy")
        }
    }
}

fn same_both_ways(set: &PolicySet) {
    let mut principal = Principal::new("p", Verified::Checked);
    principal.kind = Some(PrincipalKind::Workload);
    principal.auth = Some(Auth::Jwt);
    principal.groups = vec!["a".into(), "payments".into()];
    let request = Request {
        principal: Some(&principal),
        protocol: "http/1.1",
        operation: "GET",
        service: "orders",
        resource: "/orders/{id}",
        class: Some(Class::Read),
        time_ns: 1_795_315_808_000_000_000,
        route: "orders",
        ..Request::default()
    };
    if let Some(fully) = set.decide_fully(&request, Mode::Enforce) {
        assert_eq!(set.decide_as(&request, Mode::Enforce), fully);
    }
}
