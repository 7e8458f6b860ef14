//! What loading says of rules that run: what can never match, what is doubtful, and what each rule costs.

use super::{SECOND, START, compile, run};
use countersign_detect::sigma::RuleCost;
use countersign_event::{Event, Kind, Rec};

fn rule(logsource: &str, detection: &str, condition: &str) -> String {
    format!(
        "title: t\nid: r\nlogsource: {{{logsource}}}\ndetection: {{{detection}, condition: {condition}}}\n"
    )
}

#[test]
fn what_no_event_can_have_is_said_when_it_is_loaded() {
    let sql = "category: sql";
    for (logsource, detection, condition, never, warnings) in [
        (sql, "sel: {detail.rows|gt: 5}", "sel", 0, 0),
        (sql, "sel: {detail.qtype: 5}", "sel", 1, 1),
        (sql, "sel: {detail.qtype: 5, op: A}", "sel", 1, 1),
        (sql, "sel: {detail.qtype: [5, null]}", "sel", 0, 1),
        (sql, "sel: {detail.qtype|exists: false}", "sel", 0, 1),
        (sql, "sel: {detail.qtype|exists: true}", "sel", 1, 1),
        (sql, "a: {op: A}, b: {detail.qtype: 5}", "a or b", 0, 1),
        (sql, "a: {op: A}, b: {detail.qtype: 5}", "a and b", 1, 1),
        (sql, "a: {op: A}, b: {detail.qtype: 5}", "a and not b", 0, 1),
        (sql, "a: {op: A}, b: {detail.qtype: 5}", "1 of them", 0, 1),
        (sql, "a: {op: A}, b: {detail.qtype: 5}", "all of them", 1, 1),
        (sql, "sel: [{detail.qtype: 5}, {detail.nothing: 1}]", "sel", 1, 1),
        ("category: dns", "sel: {detail.qtype: 5}", "sel", 0, 0),
        ("product: countersign", "sel: {detail.qtype: 5}", "sel", 0, 0),
        ("product: countersign", "sel: {detail.nothing: 5}", "sel", 1, 1),
        ("product: windows, category: process_creation", "sel: {Image: a}", "sel", 1, 1),
        ("product: countersign", "sel: {servce: 5}", "sel", 0, 1),
        ("product: countersign", "sel: {raw.servce: 5}", "sel", 0, 0),
        ("product: aws, service: cloudtrail", "sel: {requestParameters.x: 5}", "sel", 0, 0),
    ] {
        let text = rule(logsource, detection, condition);
        let compiled = compile(&text);
        assert!(compiled.refused.is_empty(), "{:?}", compiled.refused);
        assert_eq!((compiled.never(), compiled.warnings.len()), (never, warnings), "{text}");
        assert_eq!(compiled.summary(), format!("loaded 1, refused 0, can-never-match {never}"));
        assert_eq!(compiled.warnings.iter().filter(|w| w.what.starts_with("can never match")).count(), never);
    }
    let said = compile(&rule("product: countersign", "sel: {servce: 5}", "sel")).warnings;
    assert!(said[0].what.ends_with("did you mean `service`?"), "{}", said[0].what);
}

#[test]
fn a_rule_that_can_never_match_does_not() {
    let mut set = compile(&rule("category: sql", "a: {op: A}, b: {detail.qtype: 5}", "a and b")).rules;
    let mut event = Event::default();
    (event.core.rec, event.core.kind, event.core.op) = (Some(Rec::Interaction), Some(Kind::Sql), "A".into());
    event.content.detail.insert(0, countersign_event::cbor::Value::Uint(5));
    assert!(run(&mut set, &[(0, START as u64, event)]).is_empty());
}

#[test]
fn a_rule_costs_what_its_condition_joins_and_nothing_where_it_stops_at_once() {
    let narrow = rule("category: dns", "a: {op: A}, b: {service: x}", "a and b").replace("id: r", "id: n");
    let wide =
        rule("category: sql", "a: {op: A}, b: {service: x}, c: {op|fieldref: service}", "a and b or c");
    let mut set = compile(&format!("{narrow}---\n{wide}")).rules;
    let events: Vec<(u64, u64, Event)> = (0..100)
        .map(|at| {
            let mut event = Event::default();
            (event.core.rec, event.core.kind) = (Some(Rec::Interaction), Some(Kind::Sql));
            event.core.op = if at < 7 { "A".into() } else { "B".into() };
            event.target.svc = "x".into();
            (at, (START + at as i64 * SECOND) as u64, event)
        })
        .collect();
    assert_eq!(run(&mut set, &events).len(), 7);
    let costs = set.costs();
    assert_eq!(costs[0], RuleCost { work: 2, hits: 0 }, "the log source, two words, and no more");
    assert!(costs[1].work > 100 && costs[1].hits == 7, "{costs:?}");
}
