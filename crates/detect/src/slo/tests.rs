//! Promises read from documents, budgets that burn, and what a report says.

use super::*;
use crate::coverage::Document;
use crate::{Detector, Finding, Hmac, explain};
use countersign_event::{Event, FindingState, Outcome, Principal, Rec, Severity, Verified};
use proptest::prelude::*;
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_790_000_000 * SECOND;

const AVAILABILITY: &str = "
apiVersion: openslo/v1
kind: Service
metadata: {name: orders}
spec: {description: Orders}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: orders-availability}
spec:
  service: orders
  indicatorRef: orders-good
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: good, target: 0.99}]
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: orders-good}
spec:
  ratioMetric:
    counter: true
    good: {metricSource: {type: countersign, spec: {outcome: success}}}
    total: {metricSource: {type: countersign, spec: {caller: web, outcome: [success, server_error, timeout]}}}
";

const LATENCY: &str = "
apiVersion: openslo/v1
kind: SLO
metadata: {name: orders-fast}
spec:
  service: orders
  indicator:
    metadata: {name: fast}
    spec: {thresholdMetric: {metricSource: {type: Countersign, spec: {operation: 'GET /orders/{id}', unit: ms}}}}
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{op: lte, value: 300, targetPercent: 95}, {op: lt, value: 1000, targetPercent: 99.9}]
";

fn hmac() -> Hmac {
    use sha2::{Digest, Sha256};
    Arc::new(|bytes: &[u8]| Sha256::new().chain_update([7; 64]).chain_update(bytes).finalize().into())
}

fn slos(text: &str) -> Slos {
    Slos::read(&[Document { source: "slo.yml", service: "", text }])
}

fn call(second: u64, outcome: Outcome, ms: u64) -> Event {
    let mut event = Event::default();
    event.core.rec = Some(Rec::Interaction);
    event.core.kind = Some(countersign_event::Kind::Http);
    event.core.op = "GET".to_owned();
    event.core.outcome = Some(outcome);
    event.core.dur = Some(ms * 1_000_000);
    event.core.t_obs = START + second * SECOND;
    event.core.eid = [(second % 251) as u8; 16];
    let mut who = Principal::new("spiffe://td/web", Verified::Bound);
    who.svc = "web".to_owned();
    event.who.who = Some(who);
    event.target.svc = "orders".to_owned();
    event.target.res = "/orders/{id}".to_owned();
    event
}

fn detector(text: &str) -> BurnRate {
    let read = slos(text);
    assert_eq!(read.refused, []);
    BurnRate::new(BurnRateConfig::default(), Arc::new(read), hmac())
}

/// One call a second from `from` to `to`, bad where `bad` says so.
fn run(detector: &mut BurnRate, from: u64, to: u64, bad: impl Fn(u64) -> bool) -> Vec<(u64, Finding)> {
    let mut out = Vec::new();
    for second in from..to {
        let event = call(second, if bad(second) { Outcome::ServerError } else { Outcome::Success }, 20);
        let found = detector.batch(&[(second, START + second * SECOND, &event)]);
        out.extend(found.into_iter().map(|finding| (second, finding)));
    }
    out
}

#[test]
fn documents_become_promises_over_events() {
    let read = slos(&[AVAILABILITY, "---", LATENCY].concat());
    assert_eq!(read.refused, []);
    let names: Vec<_> = read.slos.iter().map(|slo| (slo.name.as_str(), slo.target)).collect();
    assert_eq!(
        names,
        [("orders-availability", 0.99), ("orders-fast/1", 0.95), ("orders-fast/2", 0.9990000000000001)]
    );
    let [availability, fast, _] = read.slos.as_slice() else { panic!("three") };
    assert_eq!(availability.judge(&call(0, Outcome::Success, 1)), Some(true));
    assert_eq!(availability.judge(&call(0, Outcome::Timeout, 1)), Some(false));
    assert_eq!(availability.judge(&call(0, Outcome::CallerError, 1)), None, "not among the calls that count");
    assert_eq!(fast.judge(&call(0, Outcome::ServerError, 300)), Some(true));
    assert_eq!(fast.judge(&call(0, Outcome::Success, 301)), Some(false));
    let mut other = call(0, Outcome::Success, 1);
    other.target.res = "/users".to_owned();
    assert_eq!(fast.judge(&other), None);
    assert_eq!(fast.query(), "service:\"orders\" op:\"GET\" duration:>300000us");
    assert_eq!(
        availability.query(),
        "service:\"orders\" who.svc:\"web\" outcome:(\"server_error\" OR \"success\" OR \"timeout\") -(outcome:(\"success\"))"
    );
}

#[test]
fn what_cannot_be_measured_here_is_refused_with_its_reason() {
    let refused = |from: &str, to: &str| {
        let read = slos(&LATENCY.replace(from, to));
        assert!(read.slos.is_empty() || to.contains("150"), "{to}");
        read.refused[0].to_string()
    };
    assert!(refused("Countersign", "Prometheus").contains("type \"Prometheus\" is not measured here"));
    assert!(refused("unit: ms", "unit: days").contains("known are ns, us, ms, s"));
    assert!(refused("operation:", "path:").contains("unknown key `path`"));
    assert!(refused("Occurrences", "Timeslices").contains("not slices of time"));
    assert!(refused("isRolling: true", "isRolling: false").contains("not calendars"));
    assert!(refused("duration: 4w", "duration: 1Q").contains("such as 30d or 4w"));
    assert!(refused("op: lte", "op: gte").contains("`lte` or `lt`"));
    assert!(refused("targetPercent: 95", "targetPercent: 150").contains("above 0 and below 1"));
    assert!(refused("openslo/v1", "openslo/v1alpha").contains("known is openslo/v1"));
    let missing = AVAILABILITY.replace("name: orders-good}", "name: other}");
    assert!(slos(&missing).refused[0].why.contains("no SLI has this name"));
    let twice = slos(&[LATENCY, "---", LATENCY].concat());
    assert!(twice.refused.iter().all(|r| r.why.contains("is taken")) && twice.refused.len() == 2);
}

#[test]
fn a_budget_that_burns_fast_is_a_page_and_ends_when_the_cause_does() {
    let mut detector = detector(AVAILABILITY);
    assert_eq!(run(&mut detector, 0, 7_200, |s| s % 200 == 0), [], "half the budget is no alarm");
    // Every second call fails: 50 times too fast, in the hour after twenty minutes or so.
    let found = run(&mut detector, 7_200, 10_800, |s| s % 2 == 0);
    let (at, finding) = &found[0];
    assert_eq!((found.len(), finding.severity, finding.state), (1, Severity::High, FindingState::Open));
    assert!((7_200 + 600..7_200 + 1_500).contains(at), "{at}");
    let text = explain(&finding.to_event()).unwrap();
    assert!(
        text.starts_with("orders-availability: ") && text.contains("as many as 99 % good over 30 d allows"),
        "{text}"
    );
    assert!(
        detector.wake_ns().is_some_and(|ns| ns > START + 10_790 * SECOND),
        "it asks for ticks while it is open"
    );
    let report = detector.report().remove(0);
    assert_eq!((report.alarm, report.counts.total), (Some("page"), 10_800));
    assert!(report.burn["5m"] > 45.0 && report.budget_left.unwrap() < 0.0);
    let calm = run(&mut detector, 10_800, 20_000, |_| false);
    let states: Vec<_> = calm.iter().map(|(_, f)| (f.id == finding.id, f.revision, f.state)).collect();
    assert_eq!(states, [(true, 2, FindingState::Resolved)]);
    assert_eq!(detector.wake_ns(), None);
    // Once six hours were seen, what was lost in that one is still a ticket.
    let slow = run(&mut detector, 20_000, 22_000, |_| false);
    let states: Vec<_> = slow.iter().map(|(_, f)| (f.severity, f.state)).collect();
    assert_eq!(states, [(Severity::Medium, FindingState::Open)]);
}

#[test]
fn a_budget_that_burns_slowly_is_a_ticket_and_few_calls_are_nothing() {
    let mut detector = detector(AVAILABILITY);
    let found = run(&mut detector, 0, 30_000, |s| s % 50 == 0);
    assert_eq!(found.iter().map(|(_, f)| f.severity).collect::<Vec<_>>(), [Severity::Medium]);
    let mut quiet = super::tests::detector(AVAILABILITY);
    for second in (0..86_400).step_by(3_000) {
        let event = call(second, Outcome::ServerError, 1);
        assert_eq!(quiet.batch(&[(second, START + second * SECOND, &event)]), []);
    }
}

#[test]
fn history_and_other_callers_change_no_budget() {
    let mut detector = detector(AVAILABILITY);
    for second in 0..400 {
        let mut old = call(second, Outcome::ServerError, 1);
        old.core.t_event = Some((START - 7_200 * SECOND) as i64);
        let mut import = call(second, Outcome::ServerError, 1);
        import.core.labels = vec!["backfill".to_owned()];
        let mut other = call(second, Outcome::ServerError, 1);
        other.who.who.as_mut().unwrap().svc = "batch".to_owned();
        for event in [old, import, other] {
            assert_eq!(detector.batch(&[(second, START + second * SECOND, &event)]), []);
        }
    }
    assert_eq!(detector.report()[0].counts, Counts::default());
    assert_eq!(detector.report()[0].budget_left, None, "no calls: nothing is known");
}

#[test]
fn a_report_has_the_quantiles_of_each_caller_with_their_error() {
    let mut detector = detector(LATENCY);
    for n in 1..=1_000 {
        let event = call(n, Outcome::Success, n);
        detector.batch(&[(n, START + n * SECOND, &event)]);
    }
    let report = detector.report().remove(0);
    assert_eq!((report.counts, report.callers.len()), (Counts { total: 1_000, bad: 700 }, 1));
    let [p50, p95, p99] = report.callers[0].quantiles_ms.unwrap();
    for (got, real) in [(p50, 500.0), (p95, 950.0), (p99, 990.0)] {
        assert!((got - real).abs() <= real * 0.011, "{got} for {real}");
    }
    assert_eq!((report.callers[0].caller.as_str(), report.callers[0].error), ("web", 0.01));
}

#[test]
fn seeds_cut_anywhere_are_read_or_refused() {
    for seed in [AVAILABILITY, LATENCY] {
        for end in (0..seed.len()).step_by(5) {
            crate::fuzz::slo_document(&seed.as_bytes()[..end]);
        }
    }
}

proptest! {
    #[test]
    fn any_cut_and_any_restart_give_the_same_findings(
        calls in proptest::collection::vec((0..400u64, 0..4u8, 1..60u64), 1..80),
        cut in 1..20usize, restart: bool,
    ) {
        let mut second = 0;
        let events: Vec<(u64, Event)> = calls.iter().map(|(gap, kind, n)| {
            second += gap;
            let outcome = if *kind == 0 { Outcome::ServerError } else { Outcome::Success };
            let mut event = call(second, outcome, *n * 10);
            event.core.n = (*n > 1).then_some(*n);
            (START + second * SECOND, event)
        }).collect();
        let all: Vec<(u64, u64, &Event)> =
            events.iter().enumerate().map(|(index, (ns, event))| (index as u64, *ns, event)).collect();
        let text = [AVAILABILITY, "---", LATENCY].concat();
        let mut whole = detector(&text);
        let findings = whole.batch(&all);
        let mut current = detector(&text);
        let mut parts = Vec::new();
        for batch in all.chunks(cut) {
            parts.extend(current.batch(batch));
            if restart {
                let mut next = detector(&text);
                prop_assert!(next.load(&current.save()));
                current = next;
            }
        }
        prop_assert_eq!(&findings, &parts);
        prop_assert_eq!(whole.report(), current.report());
        prop_assert_eq!(whole.save(), current.save());
        prop_assert!(!detector(LATENCY).load(&current.save()), "other promises");
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(?s)[a-zA-Z0-9{}:\\[\\],/\n -]{0,200}") {
        crate::fuzz::slo_document(text.as_bytes());
    }
}
