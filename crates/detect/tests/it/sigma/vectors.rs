//! Seeded correlation vectors: rules with one correlation and a stream of events in order of time, and a model
//! that says from the words of the specification alone at which events the correlation holds.
//!
//! Times are so that no hit lies exactly one timespan before another, and each event matches one rule: there the
//! engines differ on purpose, and `correlations.rs` has vectors for it.

use super::generate::{BEGIN, Rng, SECOND};
use countersign_event::{Event, Rec, Unmapped};

/// One vector.
pub(crate) struct Vector {
    pub(crate) text: String,
    /// Seconds after [`BEGIN`], ascending, and the event.
    pub(crate) events: Vec<(i64, Event)>,
    /// Numbers of the events at which the correlation holds, by the model.
    pub(crate) expected: Vec<usize>,
    pub(crate) kind: &'static str,
}

/// One event as the model sees it.
struct Seen {
    at: i64,
    rule: usize,
    group: String,
    value: f64,
}

pub(crate) const KINDS: [&str; 8] = [
    "event_count",
    "value_count",
    "temporal",
    "temporal_ordered",
    "value_sum",
    "value_avg",
    "value_percentile",
    "value_median",
];
const RULES: usize = 3;
/// A condition's word, and whether a value satisfies it.
type Bound = (&'static str, fn(f64, f64) -> bool);
/// An expression, and whether it holds when these rules were hit.
type Expression = (&'static str, fn([bool; 3]) -> bool);

const CONDITIONS: [Bound; 4] = [
    ("gte", |value, bound| value >= bound),
    ("gt", |value, bound| value > bound),
    ("eq", |value, bound| value == bound),
    ("range", |value, bound| value >= bound && value <= bound + 2.0),
];
const EXPRESSIONS: [Expression; 4] = [
    ("r0 and r1", |[a, b, _]| a && b),
    ("r0 and (r1 or r2)", |[a, b, c]| a && (b || c)),
    ("r2 and not r0", |[a, _, c]| c && !a),
    ("r0 and r1 and r2", |[a, b, c]| a && b && c),
];

/// Vector number `at` of a seed.
pub(crate) fn vector(rng: &mut Rng, at: usize) -> Vector {
    let kind = KINDS[at % KINDS.len()];
    let timespan = (rng.below(12) as i64 + 1) * 10 + 5;
    let group = rng.below(3);
    let aliased = group == 1 && rng.one_in(2);
    let (condition, holds) = condition(rng, kind);
    let (events, seen) = stream(rng, group, aliased);
    let expected = (0..seen.len()).filter(|end| holds(&window(&seen, *end, timespan))).collect();
    let mut text = String::new();
    for rule in 0..RULES {
        text.push_str(&format!(
            "title: rule {rule}\nid: r{rule}\nname: r{rule}\ndetection:\n  s: {{rule: {rule}}}\n  condition: s\n---\n"
        ));
    }
    let (group_by, aliases) = match (group, aliased) {
        (0, _) => ("", ""),
        (1, false) => ("  group-by: [g]\n", ""),
        (1, true) => ("  group-by: [one]\n", "  aliases: {one: {r0: g, r1: g1, r2: g}}\n"),
        _ => ("  group-by: [g, h]\n", ""),
    };
    text.push_str(&format!(
        "title: correlation {at}\nid: c\ncorrelation:\n  type: {kind}\n  rules: [r0, r1, r2]\n{group_by}{aliases}  timespan: {timespan}s\n{condition}"
    ));
    Vector { text, events, expected, kind }
}

fn stream(rng: &mut Rng, group: usize, aliased: bool) -> (Vec<(i64, Event)>, Vec<Seen>) {
    let mut at = 0;
    let mut events = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..12 + rng.below(24) {
        at += (1 + rng.below(4) as i64) * 10;
        let (rule, g, h) = (rng.below(RULES), rng.below(2), rng.below(2));
        let value = rng.pick(&[1.0, 2.0, 3.5, 5.0, 8.0]);
        let mut event = Event::default();
        event.core.rec = Some(Rec::Interaction);
        event.core.t_event = Some((BEGIN + at) * SECOND);
        let mut put = |name: &str, token: String| {
            event.content.unmapped.insert(format!("/{name}"), Unmapped::Token(token));
        };
        put("rule", rule.to_string());
        put(if aliased && rule == 1 { "g1" } else { "g" }, format!("\"g{g}\""));
        put("h", format!("\"h{h}\""));
        put("v", value.to_string());
        let group = match group {
            0 => String::new(),
            1 => g.to_string(),
            _ => format!("{g} {h}"),
        };
        seen.push(Seen { at, rule, group, value });
        events.push((at, event));
    }
    (events, seen)
}

/// The events of the same group in the timespan that ends with one of them.
fn window(seen: &[Seen], end: usize, timespan: i64) -> Vec<&Seen> {
    let last = &seen[end];
    seen[..=end].iter().filter(|s| s.group == last.group && s.at > last.at - timespan).collect()
}

type Holds = Box<dyn Fn(&[&Seen]) -> bool>;

/// A condition in YAML, and what it asks of a window.
fn condition(rng: &mut Rng, kind: &str) -> (String, Holds) {
    match kind {
        "temporal" if rng.one_in(2) => {
            let (text, holds) = rng.pick(&EXPRESSIONS);
            let hit = |window: &[&Seen], rule| window.iter().any(|s| s.rule == rule);
            (format!("  condition: {text}\n"), Box::new(move |w| holds([hit(w, 0), hit(w, 1), hit(w, 2)])))
        }
        "temporal_ordered" => (String::new(), Box::new(ordered)),
        _ => {
            let (op, holds) = rng.pick(&CONDITIONS);
            let bound = (1 + rng.below(if kind == "value_sum" { 20 } else { 3 })) as f64;
            // More than all rules never match.
            let bound = if kind == "temporal" && op == "gt" { bound - 1.0 } else { bound };
            let field = if kind.starts_with("value") { "    field: v\n" } else { "" };
            let percentile = rng.pick(&[0, 25, 50, 90, 100]);
            let extra = if kind == "value_percentile" {
                format!("    percentile: {percentile}\n")
            } else {
                String::new()
            };
            let test = match op {
                "range" => format!("    gte: {bound}\n    lte: {}\n", bound + 2.0),
                op => format!("    {op}: {bound}\n"),
            };
            let kind = kind.to_owned();
            let value = move |window: &[&Seen]| value(&kind, f64::from(percentile), window);
            (
                format!("  condition:\n{test}{field}{extra}"),
                Box::new(move |window| holds(value(window), bound)),
            )
        }
    }
}

fn ordered(window: &[&Seen]) -> bool {
    let first = |rule: usize, after: usize| (after..window.len()).find(|at| window[*at].rule == rule);
    let Some(a) = first(0, 0) else { return false };
    let Some(b) = first(1, a + 1) else { return false };
    first(2, b + 1).is_some()
}

fn value(kind: &str, percentile: f64, window: &[&Seen]) -> f64 {
    let mut values: Vec<f64> = window.iter().map(|s| s.value).collect();
    let sum: f64 = values.iter().sum();
    values.sort_by(f64::total_cmp);
    let at = |percent: f64| {
        let rank = percent / 100.0 * (values.len() - 1) as f64;
        let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
        low + rank.fract() * (high - low)
    };
    let distinct = |mut all: Vec<String>| {
        all.sort();
        all.dedup();
        all.len() as f64
    };
    match kind {
        "event_count" => window.len() as f64,
        "value_count" => distinct(window.iter().map(|s| s.value.to_string()).collect()),
        "temporal" => distinct(window.iter().map(|s| s.rule.to_string()).collect()),
        "value_sum" => sum,
        "value_avg" => sum / values.len() as f64,
        "value_percentile" => at(percentile),
        _ => at(50.0),
    }
}
