//! Correlations against a model of the specification, and what no model decides: borders, ties, late events,
//! absence, chains, bounds.

use super::generate::Rng;
use super::vectors::{KINDS, vector};
use super::{SECOND, START, event, rules, run, stream};
use countersign_detect::sigma::{Match, RuleSet};
use countersign_event::Event;

/// Vectors of our own: as many of each kind as another.
const VECTORS: usize = 800;

#[test]
fn correlations_hold_where_the_words_of_the_specification_say() {
    let mut rng = Rng(5);
    let (mut positive, mut negative) = (0, 0);
    for at in 0..VECTORS {
        let vector = vector(&mut rng, at);
        let mut set = rules(&vector.text);
        let found: Vec<usize> =
            run(&mut set, &stream(&vector.events)).iter().map(|m| m.index as usize).collect();
        assert_eq!(found, vector.expected, "vector {at}\n{}", vector.text);
        positive += found.len();
        negative += vector.events.len() - found.len();
    }
    assert!(positive > VECTORS && negative > VECTORS, "{positive} and {negative}");
    assert_eq!(VECTORS % KINDS.len(), 0);
}

fn text(kind: &str, more: &str) -> String {
    let mut text = String::new();
    for rule in 0..3 {
        text.push_str(&format!(
            "title: r\nid: r{rule}\ndetection:\n  s: {{rule|contains: '{rule}'}}\n  condition: s\n---\n"
        ));
    }
    text + &format!(
        "title: c\nid: c\ncorrelation:\n  type: {kind}\n  rules: [r0, r1, r2]\n  timespan: 60s\n  {more}\n"
    )
}

fn hit(seconds: i64, rule: &str, fields: &[(&str, &str)]) -> (i64, Event) {
    let rule = format!("\"{rule}\"");
    let mut all = vec![("rule", rule.as_str())];
    all.extend_from_slice(fields);
    (seconds, event(&all))
}

fn matches(text: &str, events: &[(i64, Event)]) -> Vec<Match> {
    run(&mut rules(text), &stream(events))
}

const NONE: [u64; 0] = [];

fn at(matches: &[Match]) -> Vec<u64> {
    matches.iter().map(|m| m.index).collect()
}

#[test]
fn a_window_is_open_at_its_beginning_and_crosses_every_border() {
    let count = text("event_count", "condition: {gte: 2}");
    assert_eq!(at(&matches(&count, &[hit(0, "0", &[]), hit(60, "0", &[])])), NONE, "one timespan apart");
    assert_eq!(at(&matches(&count, &[hit(0, "0", &[]), hit(59, "0", &[])])), [1]);
    assert_eq!(at(&matches(&count, &[hit(3599, "0", &[]), hit(3601, "0", &[])])), [1], "across the hour");
}

#[test]
fn an_event_counts_once_and_only_in_a_group() {
    let count = text("event_count", "condition: {gte: 2}\n  group-by: [g]");
    assert_eq!(at(&matches(&count, &[hit(0, "012", &[("g", "1")])])), NONE, "three rules, one event");
    let lacks = [hit(0, "0", &[]), hit(1, "0", &[]), hit(2, "0", &[("g", "null")])];
    let mut set = rules(&count);
    assert_eq!(at(&run(&mut set, &stream(&lacks))), NONE);
    assert_eq!(set.stats().correlations.ungrouped, 3);
}

#[test]
fn a_finding_opens_once_and_again_when_it_had_fallen() {
    let count = text("event_count", "condition: {gte: 2}");
    let events: Vec<_> = [0, 10, 20, 30, 200, 210].iter().map(|s| hit(*s, "0", &[])).collect();
    let found = matches(&count, &events);
    let opened: Vec<(u64, bool)> =
        found.iter().map(|m| (m.index, m.correlation.as_ref().unwrap().opened)).collect();
    assert_eq!(opened, [(1, true), (2, false), (3, false), (5, true)]);
    let last = found[2].correlation.as_ref().unwrap();
    assert_eq!((last.value, last.count, last.evidence.as_slice()), (4.0, 4, &[0, 1, 2, 3][..]));
    assert_eq!(last.until_ns, START + 30 * SECOND);
}

#[test]
fn temporal_wants_all_rules_of_one_group_and_order_every_step() {
    let both = |kind| text(kind, "group-by: [g]");
    let one = |s, rule| hit(s, rule, &[("g", "1")]);
    let other = |s, rule| hit(s, rule, &[("g", "2")]);
    assert_eq!(
        at(&matches(&both("temporal"), &[one(0, "1"), one(1, "0"), other(2, "2")])),
        NONE,
        "another group"
    );
    assert_eq!(at(&matches(&both("temporal"), &[one(0, "1"), one(1, "0"), one(2, "2")])), [2]);
    assert_eq!(at(&matches(&both("temporal_ordered"), &[one(0, "0"), one(1, "2"), one(2, "1")])), NONE);
    assert_eq!(at(&matches(&both("temporal_ordered"), &[one(0, "0"), one(1, "1"), one(2, "2")])), [2]);
    assert_eq!(at(&matches(&both("temporal"), &[one(0, "012")])), [0], "one event may match all rules");
    assert_eq!(
        at(&matches(&both("temporal_ordered"), &[one(0, "012")])),
        NONE,
        "but it is not in order with itself"
    );
    assert_eq!(
        at(&matches(&both("temporal_ordered"), &[one(0, "0"), one(0, "1"), one(0, "2")])),
        [2],
        "ties: ledger order"
    );
    assert_eq!(at(&matches(&both("temporal"), &[one(0, "0"), one(1, "1")])), NONE, "not one of them only");
    let two = text("temporal", "condition: {gte: 2}");
    assert_eq!(at(&matches(&two, &[one(0, "0"), one(1, "1")])), [1], "so many of them, where it says so");
}

/// Events given to the ledger in another order than they happened.
fn shuffled(text: &str, order: &[(i64, &str)]) -> (RuleSet, Vec<Match>) {
    let mut set = rules(text);
    let mut events = Vec::new();
    for (at, (seconds, rule)) in order.iter().enumerate() {
        let mut event = hit(0, rule, &[]).1;
        event.core.t_event = Some(START + seconds * SECOND);
        events.push((at as u64, (START + (2000 + at as i64) * SECOND) as u64, event));
    }
    let found = run(&mut set, &events);
    (set, found)
}

#[test]
fn a_late_event_completes_its_window_and_one_that_is_too_late_does_not() {
    let count = text("event_count", "condition: {gte: 3}");
    let (_, found) = shuffled(&count, &[(0, "0"), (40, "0"), (20, "0")]);
    let late = found[0].correlation.as_ref().unwrap();
    assert_eq!((found.len(), found[0].index, late.late, late.until_ns), (1, 2, true, START + 40 * SECOND));
    let (_, found) = shuffled(&text("temporal_ordered", "group-by: []"), &[(0, "0"), (40, "2"), (20, "1")]);
    assert_eq!(at(&found), [2], "order is that of the events, not of their arrival");
    let (set, found) = shuffled(&count, &[(0, "0"), (10, "0"), (1000, "0"), (20, "0")]);
    assert_eq!((at(&found), set.stats().correlations.too_late), (vec![], 1));
    let (set, found) = shuffled(&count, &[(400, "0"), (410, "0"), (1000, "0"), (420, "0")]);
    assert_eq!((at(&found), set.stats().correlations.too_late), (vec![3], 0), "within grace");
}

#[test]
fn one_clock_in_the_future_moves_no_window() {
    let count = text("event_count", "condition: {gte: 2}");
    let mut events = stream(&[hit(0, "0", &[]), hit(1, "x", &[]), hit(2, "0", &[])]);
    events[1].2.core.t_event = Some(START + 10_000_000 * SECOND);
    assert_eq!(at(&run(&mut rules(&count), &events)), [2]);
}

#[test]
fn too_little_is_decided_when_time_has_passed_the_windows_end() {
    let silence = text("event_count", "condition: {eq: 0}");
    let tick = |s| hit(s, "none", &[]);
    // The window after 0 s ends at 60 s; time is 60 s behind the newest event.
    let events = [hit(0, "0", &[]), tick(119), tick(120), hit(130, "0", &[]), hit(140, "0", &[]), tick(270)];
    let found = matches(&silence, &events);
    assert_eq!(at(&found), [2, 5]);
    let first = found[0].correlation.as_ref().unwrap();
    assert_eq!(
        (first.value, first.until_ns, first.evidence.as_slice()),
        (0.0, START + 60 * SECOND, &[0][..])
    );
    let few = text("event_count", "condition: {lt: 2}\n  group-by: [g]");
    let g = |s, g: &'static str| hit(s, "0", &[("g", g)]);
    let events = [g(0, "1"), g(0, "2"), g(10, "1"), g(20, "1"), tick(125)];
    assert_eq!(at(&matches(&few, &events)), [4], "group 2 had none after its first, group 1 two");
}

#[test]
fn correlations_count_correlations() {
    let base = text("event_count", "condition: {gte: 2}\n  group-by: [g, h]")
        .replace("id: c\n", "id: many\nname: many\n");
    let outer = "---\ntitle: o\nid: o\nname: o\ncorrelation:\n  type: temporal_ordered\n  rules: [many, r2]\n  group-by: [g]\n  timespan: 5m\n";
    let alone = "---\ntitle: p\nid: p\ncorrelation: {type: event_count, rules: [o], timespan: 5m, condition: {gte: 1}}\n";
    let text = format!("{base}{outer}{alone}");
    let g = |s, rule, g: &'static str| hit(s, rule, &[("g", g), ("h", "1")]);
    let events = [g(0, "0", "1"), g(1, "0", "1"), g(2, "2", "2"), g(3, "2", "1")];
    let mut set = rules(&text);
    let names: Vec<String> = run(&mut set, &stream(&events))
        .iter()
        .map(|m| format!("{}@{}", set.rules()[m.rule].meta.id, m.index))
        .collect();
    assert_eq!(names, ["p@3"], "only the outermost is reported, once its group is the same");
    let generate = text.replace("type: temporal_ordered", "generate: true\n  type: temporal_ordered");
    let mut set = rules(&generate);
    let names: Vec<String> = run(&mut set, &stream(&events))
        .iter()
        .map(|m| format!("{}@{}", set.rules()[m.rule].meta.id, m.index))
        .collect();
    assert_eq!(names, ["many@1", "many@3", "p@3"]);
}

#[test]
fn what_is_no_number_is_counted_and_left_out() {
    let sum = text("value_sum", "condition: {gte: 5, field: v}");
    let mut set = rules(&sum);
    let v = |s, v: &'static str| hit(s, "0", &[("v", v)]);
    let events = [v(0, "3"), v(1, "\"many\""), hit(2, "0", &[]), v(3, "\"2\"")];
    let found = run(&mut set, &stream(&events));
    assert_eq!((at(&found), set.stats().correlations.valueless), (vec![3], 2));
    let tuple = text("value_count", "condition: {gte: 3, field: [v, w]}");
    let vw = |s, v: &'static str, w: &'static str| hit(s, "0", &[("v", v), ("w", w)]);
    let events = [vw(0, "1", "23"), vw(1, "12", "3"), vw(2, "1", "23"), vw(3, "2", "3")];
    assert_eq!(at(&matches(&tuple, &events)), [3], "tuples are kept apart");
}

#[test]
fn rules_that_only_correlations_count_are_not_reported() {
    let count = text("event_count", "condition: {gte: 2}");
    assert_eq!(matches(&count, &[hit(0, "0", &[])]).len(), 0);
    let generate = count + "generate: true\n";
    let found = matches(&generate, &[hit(0, "0", &[]), hit(1, "0", &[])]);
    let all: Vec<(u64, bool)> = found.iter().map(|m| (m.index, m.correlation.is_some())).collect();
    assert_eq!(all, [(0, false), (1, false), (1, true)]);
}

#[test]
fn the_state_names_nobody_and_says_its_group_only_in_the_match() {
    let count = text("event_count", "condition: {gte: 2}\n  group-by: [g, h]");
    let g = |s| hit(s, "0", &[("g", "\"a\""), ("h", "7")]);
    let found = matches(&count, &[g(0), g(1)]);
    let group = &found[0].correlation.as_ref().unwrap().group;
    assert_eq!(group, &[("g".to_owned(), "a".to_owned()), ("h".to_owned(), "7".to_owned())]);
}
