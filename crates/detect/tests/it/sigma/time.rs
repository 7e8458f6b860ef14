//! Time in correlations: watermarks of sources, late events, history apart from now, restarts.

use super::generate::Rng;
use super::{SECOND, START, options};
use countersign_detect::clock::Timely;
use countersign_detect::sigma::{HISTORIES_MAX, Match, RuleSet, RuleText};
use countersign_detect::{Detector, Finding, Flag, Rules};
use countersign_event::{Event, Kind, Principal, Rec, Verified};
use proptest::prelude::*;

const BASE: &str = "title: b\nid: b1\nname: b1\nlogsource: {category: sql}\ndetection: {sel: {op: HIT}, condition: sel}\n---\n";
const SINGLE: &str =
    "title: s\nid: s1\nlogsource: {category: sql}\ndetection: {sel: {op: HIT}, condition: sel}\n";

fn three() -> String {
    format!(
        "{BASE}title: c\nid: c1\ncorrelation: {{type: event_count, rules: [b1], group-by: [who], timespan: 1m, condition: {{gte: 3}}}}\n"
    )
}

fn silence() -> String {
    format!(
        "{BASE}title: q\nid: q1\ncorrelation: {{type: event_count, rules: [b1], timespan: 1m, condition: {{eq: 0}}}}\n"
    )
}

/// What `agent` told at `ledger` seconds of `at` seconds.
fn told(agent: &str, ledger: i64, at: i64, op: &str) -> (u64, Event) {
    let mut event = Event::default();
    (event.core.rec, event.core.kind) = (Some(Rec::Interaction), Some(Kind::Sql));
    (event.core.agent, event.core.op) = (agent.to_owned(), op.to_owned());
    event.core.t_obs = (START + ledger * SECOND) as u64;
    event.core.t_event = Some(START + at * SECOND);
    event.who.who = Some(Principal::new("svc:a", Verified::Bound));
    (event.core.t_obs, event)
}

fn imported(agent: &str, ledger: i64, at: i64, op: &str) -> (u64, Event) {
    let (ns, mut event) = told(agent, ledger, at, op);
    event.core.labels = vec!["backfill".to_owned()];
    (ns, event)
}

fn set(text: &str) -> RuleSet {
    let compiled = RuleSet::compile(&[RuleText { source: "time.yml", text }], &options());
    assert!(compiled.refused.is_empty(), "{:?}", compiled.refused);
    compiled.rules
}

fn numbered(events: &[(u64, Event)]) -> Vec<(u64, u64, &Event)> {
    events.iter().enumerate().map(|(at, (ns, event))| (at as u64, *ns, event)).collect()
}

fn matches(set: &mut RuleSet, events: &[(u64, Event)]) -> Vec<(u64, Timely)> {
    let found: Vec<Match> = set.evaluate(&numbered(events));
    found.iter().map(|one| (one.index, one.timely)).collect()
}

fn findings(text: &str, events: &[(u64, Event)]) -> Vec<Finding> {
    Rules::new(set(text), options().hmac).batch(&numbered(events))
}

#[test]
fn a_source_that_is_behind_is_waited_for_and_its_windows_are_whole() {
    let events = [
        told("fast", 1000, 1000, "x"),
        told("slow", 1001, 100, "HIT"),
        told("fast", 1002, 1002, "x"),
        told("slow", 1003, 110, "HIT"),
        told("fast", 1004, 1004, "HIT"),
        told("slow", 1005, 120, "HIT"),
    ];
    let mut set = set(&three());
    // By one clock for all, what is 15 minutes behind would be lost.
    assert_eq!(
        matches(&mut set, &events).len(),
        0,
        "a first word of a source that nobody knew comes too late"
    );
    let mut known = vec![told("slow", 999, 90, "x")];
    known.extend(events);
    assert_eq!(matches(&mut self::set(&three()), &known), [(6, Timely::OnTime)]);
}

#[test]
fn too_little_is_not_decided_while_a_source_that_is_awake_may_still_tell() {
    let waiting = |slow: &[i64]| {
        let mut events = vec![told("slow", 0, 0, "HIT"), told("fast", 1, 1, "x")];
        events.extend((2..40).map(|s| told("fast", s * 5, s * 5, "x")));
        events.extend(slow.iter().map(|s| told("slow", *s, 1 + s / 100, "x")));
        events.sort_by_key(|(ns, _)| *ns);
        matches(&mut set(&silence()), &events).len()
    };
    let awake: Vec<i64> = (0..20).map(|n| 8 + n * 10).collect();
    assert_eq!(waiting(&awake), 0, "the slow source has only come to the second second");
    assert_eq!(waiting(&[]), 1, "idle for 30 seconds, it holds nobody up");
}

#[test]
fn where_nothing_comes_a_rule_says_until_when_it_waits_and_a_tick_decides_it() {
    let mut rules = Rules::new(set(&silence()), options().hmac);
    assert_eq!(rules.wake_ns(), None);
    let (ns, event) = told("a", 0, 0, "HIT");
    assert!(rules.batch(&[(0, ns, &event)]).is_empty());
    let wake = rules.wake_ns().unwrap();
    assert_eq!(wake, (START + 62 * SECOND) as u64, "the window's end, and the lateness of our own clock");
    let (_, mut tick) = told("countersign:detect", 62, 62, "tick");
    (tick.core.rec, tick.core.kind) = (Some(Rec::Platform), None);
    tick.core.t_basis = Some(countersign_event::TimeBasis::Measured);
    assert_eq!(rules.batch(&[(1, wake, &tick)]).len(), 1);
    assert_eq!(rules.wake_ns(), None);
    assert_eq!(Rules::new(set(&three()), options().hmac).wake_ns(), None, "others wait for nothing");
}

#[test]
fn what_returns_from_idleness_pulls_nothing_back_and_is_late() {
    let mut events: Vec<_> = (0..20).map(|s| told("fast", s * 10, s * 10, "x")).collect();
    events.insert(0, told("slow", 0, 0, "HIT"));
    let back = events.len() as u64;
    events.extend([told("slow", 200, 10, "HIT"), told("slow", 201, 20, "HIT"), told("fast", 210, 210, "x")]);
    let found = matches(&mut set(&three()), &events);
    assert_eq!(found, [(back + 1, Timely::Late)], "within grace its windows are still there");
}

#[test]
fn within_grace_a_window_is_late_and_beyond_it_only_single_events_are_looked_at() {
    let text = three() + "---\n" + SINGLE;
    let mut events = vec![told("a", 2000, 2000, "x")];
    events.extend([1400, 1401, 1402].map(|at| told("a", 2001, at, "HIT")));
    let found = findings(&text, &events);
    let said: Vec<(&str, &[Flag])> = found.iter().map(|f| (f.rule.id.as_ref(), f.flags.as_slice())).collect();
    assert_eq!(
        said,
        [("s1", &[Flag::Late][..]), ("s1", &[Flag::Late]), ("s1", &[Flag::Late]), ("c1", &[Flag::Late])]
    );
    assert!(found.iter().all(Finding::notifies), "late is no reason to say nothing");
    let mut events = vec![told("a", 2000, 2000, "x")];
    events.extend([1337, 1338, 1339].map(|at| told("a", 2001, at, "HIT")));
    let mut set = set(&text);
    assert_eq!(matches(&mut set, &events).len(), 3);
    assert_eq!((set.stats().too_late, set.stats().correlations.too_late), (3, 3));
}

#[test]
fn history_is_counted_apart_and_told_to_nobody() {
    let text = three() + "---\n" + SINGLE;
    let year = -365 * 86_400;
    let events = [
        told("live", 0, 0, "HIT"),
        imported("import", 1, 1, "HIT"),
        told("live", 2, 2, "HIT"),
        imported("import", 3, year, "HIT"),
        imported("import", 4, year + 1, "HIT"),
        imported("other", 5, year + 2, "HIT"),
    ];
    let found = findings(&text, &events);
    assert!(found.iter().all(|f| f.rule.id == "s1"), "no three of them belong together");
    let past: Vec<bool> = found.iter().map(|f| f.flags.contains(&Flag::Historical)).collect();
    assert_eq!(past, [false, true, false, true, true, true]);
    assert!(found.iter().all(|f| f.notifies() != f.flags.contains(&Flag::Historical)));
    let mut import: Vec<_> = (0..3).map(|s| imported("import", s, year + s, "HIT")).collect();
    import.push(told("live", 4, 4, "x"));
    let found = findings(&three(), &import);
    assert_eq!((found.len(), found[0].flags.as_slice()), (1, &[Flag::Historical][..]));
    // Nothing says that it is an import, but it is older than an hour.
    let old: Vec<_> = (0..3).map(|s| told("edge", 8000 + s, s, "HIT")).collect();
    assert_eq!(findings(&three(), &old)[0].flags, [Flag::Historical]);
}

#[test]
fn an_import_takes_nothing_from_the_days_allowance_of_what_happens_now() {
    let mut events: Vec<_> = (0..2000).map(|_| imported("import", 1, -90_000, "HIT")).collect();
    events.push(told("live", 2, 2, "HIT"));
    let found = findings(SINGLE, &events);
    assert!(found.last().is_some_and(Finding::notifies));
    assert_eq!(found.iter().filter(|f| f.notifies()).count(), 1);
}

#[test]
fn invented_importers_are_bounded_and_counted() {
    let events: Vec<_> = (0..HISTORIES_MAX as i64 + 5)
        .map(|n| imported(&format!("import-{n}"), n, n - 90_000, "HIT"))
        .collect();
    let mut set = set(&three());
    matches(&mut set, &events);
    assert_eq!(set.stats().histories_evicted, 5);
    assert_eq!(set.stats().correlations.groups, HISTORIES_MAX as u64);
}

#[test]
fn no_time_that_a_record_claims_breaks_a_window() {
    for at in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
        for text in [three(), silence()] {
            let mut events: Vec<_> = (0..4).map(|s| told("a", s, s, "HIT")).collect();
            for (_, event) in events.iter_mut().step_by(2) {
                event.core.t_event = Some(at);
                event.core.dur = Some(u64::MAX);
            }
            events.extend((0..4).map(|s| told("a", 300 + s, 300 + s, "HIT")));
            matches(&mut set(&text), &events);
        }
    }
}

/// Some minutes of several sources: behind, idle, ahead, importing.
fn disorder(seed: u64) -> Vec<(u64, Event)> {
    let mut rng = Rng(seed);
    let (mut now, mut out) = (10_000, Vec::new());
    for _ in 0..120 {
        now += rng.below(12) as i64;
        let op = rng.pick(&["HIT", "HIT", "x"]);
        out.push(match rng.below(9) {
            0 => told("slow", now, now - 300 - rng.below(500) as i64, op),
            1 => told("ahead", now, now + rng.below(300) as i64, op),
            2 => imported("import", now, rng.below(400) as i64 - 90_000, op),
            3 => told("spool", now, now - 3500 - rng.below(300) as i64, op),
            n => told(["a", "b"][n % 2], now, now - rng.below(40) as i64, op),
        });
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_findings_of_sources_in_disorder(
        seed in any::<u64>(), cuts in prop::collection::vec(1usize..17, 1..8)) {
        let text = three() + "---\n" + &silence().replace("id: b1\nname: b1", "id: b2\nname: b2").replace("[b1]", "[b2]")
            + "---\n" + SINGLE;
        let events = disorder(seed);
        let whole = findings(&text, &events);
        prop_assert!(!whole.is_empty());
        let all = numbered(&events);
        let (mut rest, mut parts) = (all.as_slice(), Vec::new());
        let mut rules = Rules::new(set(&text), options().hmac);
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            parts.extend(rules.batch(now));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(&parts, &whole);
    }

    #[test]
    fn a_restart_goes_on_where_the_time_of_events_had_come(seed in any::<u64>(), at in 1usize..120) {
        let text = three() + "---\n" + SINGLE;
        let events = disorder(seed);
        let all = numbered(&events);
        let whole = Rules::new(set(&text), options().hmac).batch(&all);
        let mut first = Rules::new(set(&text), options().hmac);
        let mut found = first.batch(&all[..at]);
        let mut second = Rules::new(set(&text), options().hmac);
        prop_assert!(second.load(&first.save()));
        // Less of the past than is read back would be a shorter test.
        second.warm(&all[..at]);
        prop_assert_eq!(second.save(), first.save());
        found.extend(second.batch(&all[at..]));
        prop_assert_eq!(found, whole);
    }
}

#[test]
fn a_saved_state_that_is_cut_or_of_another_version_is_not_taken_up() {
    let mut rules = Rules::new(set(SINGLE), options().hmac);
    rules.batch(&numbered(&disorder(7)));
    let saved = rules.save();
    let fresh = || Rules::new(set(SINGLE), options().hmac);
    for end in 1..saved.len() {
        assert!(!fresh().load(&saved[..end]), "{end}");
    }
    let mut other = saved.clone();
    other[0] ^= 1;
    assert!(!fresh().load(&other) && fresh().load(&saved) && fresh().load(&[]));
}
