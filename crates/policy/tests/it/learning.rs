//! What is proposed from the ledger, and what never is.

use crate::support::{call, enforcing, payments};
use countersign_event::{Class, Principal, PrincipalKind, Verified};
use countersign_policy::learn::{NOTE_HEADER, Options, Seen, is_note_of, propose};
use countersign_policy::{Policy, Request, Sources, check, refuses};
use proptest::prelude::*;

fn seen(day: u32) -> Seen<'static> {
    Seen {
        principal: "spiffe://example.org/ns/shop/sa/payments",
        kind: Some(PrincipalKind::Workload),
        verified: Verified::Bound,
        operation: "GET",
        protocol: "http/1.1",
        class: Some(Class::Read),
        service: "orders",
        resource: "/orders/{id}",
        day,
        flagged: false,
        calls: 1,
    }
}

#[test]
fn what_was_seen_is_permitted_and_nothing_else() {
    let proposal = propose([seen(20_000), seen(20_001)], &Options::default());
    assert_eq!(proposal.permits, 1);
    let set = enforcing(&proposal.cedar);
    let who = payments();
    let decision = set.decide(&call(&who));
    assert!(!refuses(&decision) && decision.policies[0].starts_with("learned-"));
    for other in [
        Request { operation: "DELETE", ..call(&who) },
        Request { resource: "/orders", ..call(&who) },
        Request { service: "other", ..call(&who) },
        Request { protocol: "redis", ..call(&who) },
    ] {
        assert!(refuses(&set.decide(&other)));
    }
    let weak = Principal { verified: Verified::Asserted, ..payments() };
    assert!(refuses(&set.decide(&call(&weak))), "the permit asks for the level it was learned at");
}

#[test]
fn nothing_is_learned_from_the_unverified_or_the_flagged() {
    let events = [
        Seen { verified: Verified::Claimed, ..seen(1) },
        Seen { verified: Verified::Asserted, calls: 5, ..seen(1) },
        Seen { verified: Verified::Other(9), ..seen(1) },
        Seen { flagged: true, ..seen(1) },
        Seen { protocol: "gopher", ..seen(1) },
        Seen { operation: "", ..seen(1) },
    ];
    let proposal = propose(events, &Options::default());
    let t = proposal.totals;
    assert_eq!((proposal.permits, t.seen, t.unverified, t.flagged, t.beyond, t.covered), (0, 10, 7, 1, 2, 0));
    assert!(!proposal.cedar.contains("permit("));
    assert!(proposal.report.contains("\"coverage_percent\":\"100.00\""), "all of nothing");
}

#[test]
fn a_day_left_out_shows_what_would_have_been_denied() {
    // Two days of one call, one day of another: leaving out day 3 denies its five calls.
    let rare = Seen { resource: "/rare", calls: 5, ..seen(3) };
    let proposal = propose([seen(1), seen(2), rare], &Options::default());
    assert_eq!((proposal.totals.left_out_denials, proposal.permits), (5, 2));
    assert!(
        proposal.report.contains("\"left_out_by_day\":[{\"day\":\"1970-01-04\",\"denials\":5}]"),
        "{}",
        proposal.report
    );
    // With two calls wanted, a left-out day takes one of the two away.
    let strict = Options { min_calls: 2, ..Options::default() };
    let proposal = propose([seen(1), seen(2)], &strict);
    assert_eq!((proposal.totals.left_out_denials, proposal.permits), (2, 1));
}

#[test]
fn too_little_support_is_counted_and_not_proposed() {
    let options = Options { min_calls: 3, min_days: 2, ..Options::default() };
    let often_on_one_day = Seen { resource: "/a", calls: 100, ..seen(1) };
    let proposal = propose([often_on_one_day, seen(1), Seen { calls: 2, ..seen(2) }], &options);
    assert_eq!((proposal.permits, proposal.totals.rare, proposal.totals.covered), (1, 100, 3));
    assert!(proposal.report.contains("\"coverage_percent\":\"2.91\""), "{}", proposal.report);
    assert!(
        proposal.cedar.contains("// 3 calls on 2 days, 1970-01-02 to 1970-01-03\n"),
        "{}",
        proposal.cedar
    );
}

#[test]
fn callers_of_one_class_are_proposed_as_its_group() {
    let classes = [("a".to_owned(), "workers".to_owned()), ("b".to_owned(), "workers".to_owned())].into();
    let events = [Seen { principal: "a", ..seen(1) }, Seen { principal: "b", ..seen(2) }];
    let proposal = propose(events, &Options { classes, ..Options::default() });
    assert_eq!((proposal.permits, proposal.totals.left_out_denials), (1, 0));
    assert!(proposal.cedar.contains("principal in Countersign::Group::\"workers\""));
}

#[test]
fn the_order_of_events_changes_no_byte_and_the_note_names_both_texts() {
    let events =
        [seen(1), Seen { class: Some(Class::Modify), ..seen(2) }, Seen { resource: "/b", ..seen(3) }];
    let there = propose(events.clone(), &Options::default());
    let back = propose(events.into_iter().rev(), &Options::default());
    assert_eq!(there, back);
    let note = there.note();
    assert!(note.starts_with(NOTE_HEADER) && note.ends_with('\n') && note.contains(&there.digest()));
    assert!(is_note_of(&note, &there.cedar, &there.report));
    assert!(!is_note_of(&note, &format!("{} ", there.cedar), &there.report));
    assert!(!is_note_of(&note, &there.cedar, &format!("{} ", there.report)));
    // Text moved from one file to the other is another proposal.
    let moved = format!("{}{}", there.cedar, &there.report[..1]);
    assert!(!is_note_of(&note, &moved, &there.report[1..]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Names come from callers: whatever they hold, the proposal is valid and permits exactly their calls.
    #[test]
    fn hostile_names_stay_names(
        principal in "\\PC{1,30}|[\"\\\\\n\r;/*{}\u{0}\u{202e}]{1,20}",
        operation in "[^\u{0}]{1,20}",
        resource in "[\"\\\\\n\r;/{}:\u{7f}a\u{301}]{0,20}",
        service in "[a-z/%\"\n]{0,8}",
    ) {
        let event = Seen { principal: &principal, operation: &operation, resource: &resource, service: &service, ..seen(1) };
        let proposal = propose([event], &Options::default());
        prop_assert!(proposal.cedar.is_ascii());
        let sources = Sources { policies: vec![("p.cedar".into(), proposal.cedar.clone())], entities: None };
        prop_assert!(check(&sources).is_ok(), "{}", proposal.cedar);
        let set = enforcing(&proposal.cedar);
        let who = Principal { id: principal.clone(), ..payments() };
        let request = Request { operation: &operation, resource: &resource, service: &service, ..call(&who) };
        prop_assert!(!refuses(&set.decide(&request)), "{}", proposal.cedar);
        let other = Principal { id: format!("{principal}x"), ..payments() };
        let stranger = set.decide(&Request { principal: Some(&other), ..request });
        prop_assert!(refuses(&stranger));
    }
}
