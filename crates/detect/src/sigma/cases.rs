//! Test events of rules, as they stand beside a rule file in `<rule>.test.ndjson`: one case a line, a JSON object
//! of `match` (whether the rules must match), `events`, and perhaps a `note` that nothing reads. An event is its groups as
//! JSON, with `at` (seconds after [`BEGIN_SECONDS`]) and `times` (how often, a second apart).
//!
//! Not the running of rules: that is `tried`. Invariants: nothing in a line is skipped; what cannot be read is a
//! [`BadCase`] with its line; the events of a text are the same on every machine.

use countersign_event::Event;
use serde_json::{Map, Value};

/// Longest text of cases, bytes.
pub const CASES_MAX_BYTES: usize = 4 << 20;
/// Most cases in a text.
pub const CASES_MAX: usize = 1_000;
/// Most events of a case, repetitions counted.
pub const CASE_EVENTS_MAX: usize = 8_192;
/// Furthest `at` from the beginning, in seconds, before or after: 31 days.
pub const AT_MAX_SECONDS: i64 = 31 * 86_400;
/// Event time of `at` 0, seconds since 1970: 2026-09-21T14:13:20Z.
pub const BEGIN_SECONDS: i64 = 1_790_000_000;

const SECOND: i64 = 1_000_000_000;
/// What every event has that says nothing else: field of `core`, and its JSON.
const USUAL: [(&str, &str); 5] = [
    ("agent", "\"spiffe://td/gateway\""),
    ("stream", "\"00112233445566778899aabbccddeeff\""),
    ("seq", "1"),
    ("t_obs", "\"2026-09-21T14:13:20.000000000Z\""),
    ("rec", "\"interaction\""),
];

/// One case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its line, from 1.
    pub line: usize,
    /// Whether a rule must match.
    pub hit: bool,
    /// Ledger index, ledger time in ns (that of the event) and event.
    pub events: Vec<(u64, u64, Event)>,
}

/// A line that is no case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCase {
    /// Its line, from 1; 0 = the text as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// The cases of a text, in order; empty lines are none.
pub fn cases(text: &str) -> Vec<Result<Case, BadCase>> {
    if text.len() > CASES_MAX_BYTES {
        return vec![Err(BadCase { line: 0, what: format!("longer than {CASES_MAX_BYTES} bytes") })];
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(at, line): (usize, &str)| case(at + 1, line).map_err(|what| BadCase { line: at + 1, what });
    let mut out: Vec<_> = lines.take(CASES_MAX + 1).map(read).collect();
    if out.len() > CASES_MAX {
        out.truncate(CASES_MAX);
        out.push(Err(BadCase { line: 0, what: format!("more than {CASES_MAX} cases") }));
    }
    out
}

fn case(line: usize, text: &str) -> Result<Case, String> {
    let Value::Object(mut case) = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?
    else {
        return Err("not an object".to_owned());
    };
    let hit = match case.remove("match") {
        Some(Value::Bool(hit)) => hit,
        _ => return Err("`match` is not true or false".to_owned()),
    };
    let Some(Value::Array(written)) = case.remove("events") else {
        return Err("`events` is no list".to_owned());
    };
    case.remove("note");
    if let Some(unknown) = case.keys().next() {
        return Err(format!("unknown key `{unknown}`; known are match, events, note"));
    }
    let mut events = Vec::new();
    for (at, one) in written.into_iter().enumerate() {
        let Value::Object(one) = one else { return Err(format!("event {}: not an object", at + 1)) };
        repeat(one, &mut events).map_err(|what| format!("event {}: {what}", at + 1))?;
    }
    match events.is_empty() {
        true => Err("no events".to_owned()),
        false => Ok(Case { line, hit, events }),
    }
}

/// Adds an event as often as it says.
fn repeat(mut groups: Map<String, Value>, out: &mut Vec<(u64, u64, Event)>) -> Result<(), String> {
    let at = number(groups.remove("at"), 0, -AT_MAX_SECONDS..=AT_MAX_SECONDS, "at")?;
    let times = number(groups.remove("times"), 1, 1..=CASE_EVENTS_MAX as i64, "times")?;
    groups.insert("schema".into(), 1.into());
    let Some(Value::Object(core)) = groups.get_mut("core") else {
        return Err("`core` is missing".to_owned());
    };
    for (name, value) in USUAL {
        if !core.contains_key(name) {
            core.insert(name.to_owned(), serde_json::from_str(value).unwrap_or_default());
        }
    }
    let event = countersign_event::json::from_json(&Value::Object(groups).to_string());
    let event = event.map_err(|error| error.to_string())?;
    for n in 0..times {
        if out.len() == CASE_EVENTS_MAX {
            return Err(format!("more than {CASE_EVENTS_MAX} events in one case"));
        }
        let ns = (BEGIN_SECONDS + at + n) * SECOND;
        let mut event = event.clone();
        event.core.t_event = Some(ns);
        out.push((out.len() as u64, ns.unsigned_abs(), event));
    }
    Ok(())
}

fn number(
    value: Option<Value>,
    missing: i64,
    bounds: std::ops::RangeInclusive<i64>,
    name: &str,
) -> Result<i64, String> {
    let found = match value {
        None => Some(missing),
        Some(value) => value.as_i64(),
    };
    let fits = found.filter(|n| bounds.contains(n));
    fits.ok_or_else(|| format!("`{name}` is no number from {} to {}", bounds.start(), bounds.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_case_or_says_why_not() {
        let good =
            r#"{"match": true, "note": "x", "events": [{"core": {"op": "GET"}, "at": 5, "times": 3}]}"#;
        let all = cases(&format!("{good}\n\n{{\n{}\n", r#"{"match": false, "events": [], "x": 1}"#));
        assert_eq!(all.len(), 3);
        let case = all[0].as_ref().unwrap();
        assert_eq!((case.line, case.hit, case.events.len()), (1, true, 3));
        assert_eq!(case.events[2].1, ((BEGIN_SECONDS + 7) * SECOND) as u64);
        assert_eq!(case.events[2].2.core.t_event, Some((BEGIN_SECONDS + 7) * SECOND));
        assert_eq!(all[1].as_ref().unwrap_err().line, 3);
        assert!(all[2].as_ref().unwrap_err().what.contains("unknown key `x`"));
    }

    #[test]
    fn what_is_not_an_event_is_said_with_its_place() {
        for (events, why) in [
            (r#"[{"core": {"op": 5}}]"#, "event 1: "),
            (r#"[{"core": {"op": "a"}}, {"who": {}}]"#, "event 2: `core` is missing"),
            (r#"[{"core": {"op": "a"}, "at": 1e300}]"#, "event 1: `at` is no number"),
            (r#"[{"core": {"op": "a"}, "times": 0}]"#, "event 1: `times` is no number from 1"),
            (r#"[{"core": {"op": "a"}, "times": 8192}, {"core": {"op": "a"}}]"#, "event 2: more than 8192"),
            ("[]", "no events"),
            ("7", "`events` is no list"),
        ] {
            let found = cases(&format!(r#"{{"match": true, "events": {events}}}"#));
            let bad = found[0].as_ref().unwrap_err();
            assert!(bad.what.starts_with(why), "{events}: {}", bad.what);
        }
    }

    #[test]
    fn a_text_beyond_its_bounds_is_refused() {
        assert_eq!(cases(&" ".repeat(CASES_MAX_BYTES + 1)).len(), 1);
        let many = cases(&"{}\n".repeat(CASES_MAX + 5));
        assert_eq!((many.len(), many.last().unwrap().as_ref().unwrap_err().line), (CASES_MAX + 1, 0));
    }
}
