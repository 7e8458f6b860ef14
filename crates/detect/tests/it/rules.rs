//! Sigma rules as a detector: sentences, allowances, restarts.

use crate::hmac;
use countersign_detect::sigma::{Options, RuleSet, RuleText};
use countersign_detect::{A_RULE_AND_DAY, Detector, Finding, RECORDED_MAX, Rules, explain};
use countersign_event::{Event, Principal, Rec, Severity, Verified};

const SECOND: u64 = 1_000_000_000;
const TEXT: &str = "title: Dropped\nid: r1\nlevel: high\nauthor: Somebody\nfalsepositives: [migrations]\n\
explain: '{who} ran {op} on {service}'\nlogsource: {category: sql}\ndetection: {sel: {op|startswith: DROP}, condition: sel}\n";
const COUNTED: &str = "title: denied\nid: d1\nlogsource: {category: sql}\ndetection: {sel: {op: DENIED}, condition: sel}\n---\n\
title: Many denied\nid: c1\nlevel: medium\nexplain: '{count} denials'\ncorrelation: {type: event_count, rules: [d1], group-by: [who], timespan: 10m, condition: {gte: 5}}\n";

fn rules(text: &str) -> Rules {
    let options = Options { placeholders: Default::default(), hmac: hmac() };
    let compiled = RuleSet::compile(&[RuleText { source: "it", text }], &options);
    assert!(compiled.refused.is_empty(), "{:?}", compiled.refused);
    Rules::new(compiled.rules, hmac())
}

fn event(who: &str, op: &str, at_s: u64) -> Event {
    let mut event = Event::default();
    event.core.rec = Some(Rec::Interaction);
    event.core.kind = Some(countersign_event::Kind::Sql);
    (event.core.op, event.target.svc) = (op.to_owned(), "orders-db".to_owned());
    event.core.t_obs = at_s * SECOND;
    event.who.who = Some(Principal::new(who, Verified::Bound));
    event
}

fn feed(rules: &mut Rules, from: u64, events: &[Event]) -> Vec<Finding> {
    let batch: Vec<(u64, u64, &Event)> =
        events.iter().zip(from..).map(|(event, index)| (index, event.core.t_obs, event)).collect();
    rules.batch(&batch)
}

#[test]
fn a_match_is_a_finding_with_the_rules_sentence_level_author_and_what_would_make_it_wrong() {
    let mut rules = rules(TEXT);
    let found = feed(&mut rules, 7, &[event("svc:a", "SELECT", 1), event("svc:a", "DROP TABLE", 2)]);
    assert_eq!(found.len(), 1);
    let finding = &found[0];
    assert_eq!(
        (finding.rule.id.as_ref(), finding.severity, finding.evidence.first),
        ("r1", Severity::High, 8)
    );
    assert!(finding.rule.parameters.contains(&("author", "Somebody".to_owned())) && finding.notifies());
    let said = explain(&finding.to_event()).unwrap();
    assert_eq!(said, "svc:a ran DROP TABLE on orders-db; wrong if: migrations");
    assert_eq!(finding.query, "who:\"svc:a\" service:\"orders-db\" op:\"DROP TABLE\"");
    // What detection says itself is never looked at.
    let mut own = finding.to_event();
    own.core.kind = Some(countersign_event::Kind::Sql);
    assert!(feed(&mut rules, 20, &[own]).is_empty());
}

#[test]
fn what_the_platform_records_reaches_the_rules_that_ask_for_it_but_never_what_became_of_findings() {
    let asks = "title: p\nid: p1\nlogsource: {product: countersign, category: platform}\n\
detection: {sel: {op: [export, alert.dead, SELECT]}, condition: sel}\n";
    let every =
        "title: e\nid: e1\nlogsource: {product: countersign}\ndetection: {sel: {op: '*'}, condition: sel}\n";
    let mut rules = rules(&format!("{asks}---\n{every}"));
    let of = |rec, op| {
        let mut event = event("user:c/ann", op, 1);
        event.core.rec = Some(rec);
        event
    };
    let events = [
        of(Rec::Platform, "export"),
        of(Rec::Platform, "alert.dead"),
        of(Rec::Finding, "export"),
        of(Rec::Interaction, "SELECT"),
    ];
    let found = feed(&mut rules, 0, &events);
    let said: Vec<(&str, u64)> = found.iter().map(|f| (f.rule.id.as_ref(), f.evidence.first)).collect();
    assert_eq!(said, [("p1", 0), ("e1", 3)]);
}

#[test]
fn a_rule_that_always_matches_notifies_twenty_times_a_day_and_is_recorded_a_thousand_times() {
    let mut rules = rules(TEXT);
    let flood: Vec<Event> = (0..RECORDED_MAX + 50).map(|_| event("svc:a", "DROP TABLE", 5)).collect();
    let found = feed(&mut rules, 0, &flood);
    let notify = found.iter().filter(|finding| finding.notifies()).count();
    assert_eq!((found.len(), notify), (RECORDED_MAX as usize, A_RULE_AND_DAY as usize));
    assert_eq!(rules.suppressed(), 50);
    assert!(feed(&mut rules, 5_000, &[event("svc:a", "DROP TABLE", 86_401)])[0].notifies(), "a new day");
}

#[test]
fn restarts_and_batches_change_nothing_when_windows_are_read_back() {
    let text = format!("{TEXT}---\n{COUNTED}");
    let events: Vec<Event> = (0..60)
        .map(|n: u64| match n % 4 {
            0 => event("svc:a", "DROP TABLE", n * 30),
            1 | 2 => event(if n.is_multiple_of(3) { "svc:b" } else { "svc:a" }, "DENIED", n * 30),
            _ => event("svc:c", "SELECT", n * 30),
        })
        .collect();
    let whole = feed(&mut rules(&text), 0, &events);
    assert!(whole.iter().any(|finding| finding.rule.id == "c1") && whole.iter().any(|f| f.rule.id == "r1"));
    for cut in [1, 13, 30, 44, 59] {
        let mut first = rules(&text);
        let mut found = feed(&mut first, 0, &events[..cut]);
        let mut second = rules(&text);
        assert!(second.load(&first.save()));
        let back = second.looks_back_ns();
        assert!(back >= 600 * SECOND);
        let from = events[..cut].partition_point(|e| e.core.t_obs + back < events[cut - 1].core.t_obs);
        let before: Vec<(u64, u64, &Event)> =
            (from..cut).map(|at| (at as u64, events[at].core.t_obs, &events[at])).collect();
        second.warm(&before);
        found.extend(feed(&mut second, cut as u64, &events[cut..]));
        assert_eq!(found, whole, "cut at {cut}");
    }
}
