//! The detectors from the outside: streams of events in, findings out.

mod nab;
mod rules;
mod scenarios;
#[path = "../score/mod.rs"]
mod score;
mod sigma;

use countersign_detect::{Detector, Edge, FirstSeen, FirstSeenConfig, Flag, Hmac, detail, explain};
use countersign_event::{Event, IdentityFrom, Kind, Principal, Rec, Severity, Verified};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const START: u64 = 1_790_000_000 * SECOND;

/// A keyed hash; which one does not matter here.
fn hmac() -> Hmac {
    use sha2::{Digest, Sha256};
    Arc::new(|bytes: &[u8]| Sha256::new().chain_update([7; 64]).chain_update(bytes).finalize().into())
}

fn call(caller: &str, service: &str, op: &str) -> Event {
    let mut event = Event::default();
    event.core.eid = [9; 16];
    event.core.rec = Some(Rec::Interaction);
    event.core.kind = Some(Kind::Http);
    event.core.op = op.into();
    event.core.t_obs = START;
    if !caller.is_empty() {
        let principal =
            Principal { from: Some(IdentityFrom::Tls), ..Principal::new(caller, Verified::Bound) };
        event.who.who = Some(principal);
    }
    event.target.svc = service.into();
    event.target.res = "/orders/{id}".into();
    event
}

/// A stream at one event a second.
fn stream(events: &[Event]) -> Vec<(u64, u64, &Event)> {
    events.iter().enumerate().map(|(i, e)| (i as u64, START + i as u64 * SECOND, e)).collect()
}

fn quick() -> FirstSeenConfig {
    FirstSeenConfig { learn_ns: 2 * SECOND, learn_events: 3, ..FirstSeenConfig::default() }
}

#[test]
fn what_first_seen_saved_goes_on_as_if_nothing_had_happened() {
    let events: Vec<Event> =
        (0..40).map(|n| call("spiffe://td/web", &format!("s{}", n % 13), "GET")).collect();
    let all = stream(&events);
    let want = FirstSeen::new(quick(), hmac()).batch(&all);
    let mut first = FirstSeen::new(quick(), hmac());
    let mut got = first.batch(&all[..7]);
    let mut second = FirstSeen::new(quick(), hmac());
    assert!(second.load(&first.save()));
    got.extend(second.batch(&all[7..]));
    assert_eq!(got, want);
    let mut other = FirstSeen::new(FirstSeenConfig::default(), hmac());
    assert!(!other.load(&first.save()), "of other parameters");
    assert!(!second.load(b"garbage"));
}

#[test]
fn a_new_edge_after_learning_is_one_finding_that_explains_itself() {
    let old = call("spiffe://td/web", "orders", "GET");
    let new = call("spiffe://td/web", "orders", "DELETE");
    let events = [old.clone(), old.clone(), old.clone(), new.clone(), new, old];
    let mut detector = FirstSeen::new(quick(), hmac());
    let findings = detector.batch(&stream(&events));
    let rules: Vec<_> =
        findings.iter().map(|f| (f.rule.id.as_ref(), f.evidence.first, f.notifies())).collect();
    assert_eq!(rules, [("detector.learned", 3, false), ("first-seen-edge", 3, true)]);

    let mut event = findings[1].to_event();
    assert_eq!(event.core.rec, Some(Rec::Finding));
    assert_eq!((event.core.kind, event.core.op.as_str()), (Some(Kind::Http), "DELETE"));
    assert_eq!(
        (event.links.of, event.who.who.clone().unwrap().id.as_str()),
        (Some([9; 16]), "spiffe://td/web")
    );
    assert_eq!(event.target.res, "/orders/{id}");
    assert_eq!(event.core.labels, ["first-seen-edge"]);
    assert_eq!(
        explain(&event).unwrap(),
        "spiffe://td/web called DELETE on orders for the first time in 30 d"
    );
    let query = event.content.detail[&detail::QUERY].as_text().unwrap();
    assert_eq!(query, r#"who:"spiffe://td/web" service:"orders" op:"DELETE""#);
    event.core.seq = 1;
    let frame = event.encode().unwrap();
    assert_eq!(Event::decode(&frame).unwrap(), event);
    let core = format!("{:?}", event.core);
    assert!(!core.contains("web") && !core.contains("orders"), "group 0 must hold no name");
}

#[test]
fn nothing_is_said_while_learning() {
    let events: Vec<Event> = (0..50).map(|n| call(&format!("key:{n}"), "orders", "GET")).collect();
    let config = FirstSeenConfig { learn_ns: DAY, learn_events: 10, ..FirstSeenConfig::default() };
    let mut by_time = FirstSeen::new(config, hmac());
    assert_eq!(by_time.batch(&stream(&events)), []);
    assert!(by_time.stats().learning);
    let config = FirstSeenConfig { learn_ns: 0, learn_events: 51, ..FirstSeenConfig::default() };
    assert_eq!(FirstSeen::new(config, hmac()).batch(&stream(&events)), []);
}

#[test]
fn only_calls_are_looked_at() {
    let mut detector = FirstSeen::new(FirstSeenConfig { learn_ns: 0, learn_events: 0, ..quick() }, hmac());
    for rec in Rec::ALL.iter().copied().map(Some).chain([None]) {
        let mut event = call("key:a", "svc", rec.map_or("none", Rec::word));
        event.core.rec = rec;
        let found = detector.batch(&[(0, START, &event)]).len();
        let wanted = matches!(rec, Some(Rec::Interaction | Rec::Intent | Rec::Opaque | Rec::Cut));
        assert_eq!(found, usize::from(wanted), "{rec:?}");
    }
}

#[test]
fn beyond_the_allowance_findings_are_capped_counted_and_summed_up() {
    let config = FirstSeenConfig { learn_ns: 0, learn_events: 0, allowance: 3, ..FirstSeenConfig::default() };
    let mut detector = FirstSeen::new(config, hmac());
    let events: Vec<Event> = (0..1500).map(|n| call(&format!("key:{n}"), "s", "GET")).collect();
    let findings = detector.batch(&stream(&events));
    let of = |rule: &str| findings.iter().filter(|f| f.rule.id == rule).collect::<Vec<_>>();
    let edges = of("first-seen-edge");
    assert_eq!(edges.len(), 1003);
    assert_eq!(edges.iter().filter(|f| f.notifies()).count(), 3);
    assert!(edges[3..].iter().all(|f| f.flags == [Flag::Capped] && f.severity == Severity::Informational));
    assert_eq!(of("detector.saturated").len(), 1);
    assert_eq!(detector.stats().suppressed, 1500 - 1003);
    // A new day has a new allowance.
    let next = call("key:next", "s", "GET");
    let found = detector.batch(&[(5000, START + 2 * DAY, &next)]);
    assert_eq!((found.len(), found[0].notifies()), (1, true));
}

#[test]
fn a_flood_of_invented_callers_stays_within_its_bounds() {
    let full = std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|v| v == "full");
    let flood: u64 = if full { 5_000_000 } else { 200_000 };
    let mut detector = FirstSeen::new(quick(), hmac());
    let old = call("spiffe://td/web", "orders", "GET");
    for index in 0..10 {
        detector.batch(&[(index, START + index * SECOND, &old)]);
    }
    let mut findings = 0;
    for n in 0..flood {
        let event = call(&format!("jwt:evil#{n}"), "orders", "GET");
        findings += detector.batch(&[(10 + n, START + 20 * SECOND + n * 1000, &event)]).len();
    }
    let stats = detector.stats();
    assert!(stats.edges <= 65_536 && stats.evicted > 0);
    assert!(findings <= 20 + 1000 + 3, "{findings}");
    assert_eq!(detector.batch(&[(flood + 10, START + 100 * SECOND, &old)]), []);
    assert_eq!(detector.stats().unknown, stats.unknown, "the established edge is still known");
}

#[test]
fn hostile_names_stay_on_one_line_and_in_their_quotes() {
    let config = FirstSeenConfig { learn_ns: 0, learn_events: 0, ..quick() };
    let mut detector = FirstSeen::new(config, hmac());
    let event = call("jwt:i#\"*\n\u{202e}{service}", "{history}", "");
    let mut found = detector.batch(&[(0, START, &event)]).remove(0).to_event();
    let line = explain(&found).unwrap();
    assert_eq!(
        line,
        "jwt:i#\"*\\u{a}\\u{202e}{service} called an unnamed operation on {history} for the first time in 30 d"
    );
    let query = found.content.detail[&detail::QUERY].as_text().unwrap();
    assert_eq!(query, "who:\"jwt:i#\\\"\\*\\u{a}\\u{202e}{service}\" service:\"{history}\" -op:*");
    found.core.seq = 1;
    found.encode().unwrap();
    assert_eq!(explain(&event), None);
}

#[test]
fn the_largest_names_still_fit_an_event() {
    let config = FirstSeenConfig { learn_ns: 0, learn_events: 0, ..quick() };
    let mut detector = FirstSeen::new(config, hmac());
    let event = call(&"ü".repeat(512), &"s".repeat(256), &"O".repeat(256));
    let mut found = detector.batch(&[(0, START, &event)]).remove(0).to_event();
    found.core.seq = 1;
    found.encode().unwrap();
}

/// A stream of few names, so that edges repeat.
fn any_stream() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let one = (0..6u8, 0..3u8, 0..3u8, 0..40u64).prop_map(|(caller, service, op, gap)| {
        (call(&format!("key:{caller}"), &format!("s{service}"), &format!("OP{op}")), gap * SECOND)
    });
    proptest::collection::vec(one, 1..60)
}

fn timed(stream: &[(Event, u64)]) -> Vec<(u64, u64, &Event)> {
    let mut now = START;
    let mut out = Vec::new();
    for (index, (event, gap)) in stream.iter().enumerate() {
        now += gap;
        out.push((index as u64, now, event));
    }
    out
}

fn small() -> FirstSeenConfig {
    // Few edges, so that eviction takes part; a short history, so that forgetting does.
    FirstSeenConfig { edges_max: 5, history_ns: 100 * SECOND, allowance: 4, ..quick() }
}

proptest! {
    #[test]
    fn any_cut_into_batches_gives_the_same_findings(
        stream in any_stream(),
        cuts in proptest::collection::vec(1..9usize, 60),
    ) {
        let all = timed(&stream);
        let whole = FirstSeen::new(small(), hmac()).batch(&all);
        let mut detector = FirstSeen::new(small(), hmac());
        let (mut rest, mut parts) = (&all[..], Vec::new());
        for cut in cuts {
            let (batch, tail) = rest.split_at(cut.min(rest.len()));
            parts.extend(detector.batch(batch));
            rest = tail;
        }
        parts.extend(detector.batch(rest));
        prop_assert_eq!(&whole, &parts);
        let ids: std::collections::BTreeSet<_> = whole.iter().map(|f| (f.id, f.revision)).collect();
        prop_assert_eq!(ids.len(), whole.len());
        let eids: std::collections::BTreeSet<_> = whole.iter().map(|f| f.to_event().core.eid).collect();
        prop_assert_eq!(eids.len(), whole.len());
    }

    #[test]
    fn a_restart_that_warms_from_the_store_finds_what_an_unbroken_run_finds(
        stream in any_stream(),
        at in 0..60usize,
    ) {
        let config = FirstSeenConfig { allowance: 1000, ..quick() };
        let all = timed(&stream);
        let at = at.min(all.len());
        let mut unbroken = FirstSeen::new(config.clone(), hmac());
        unbroken.batch(&all[..at]);
        let wanted = unbroken.batch(&all[at..]);
        // What the store would count up to the cursor.
        let mut edges: BTreeMap<(String, String, String), Edge> = BTreeMap::new();
        for (index, ns, event) in &all[..at] {
            let caller = event.who.who.as_ref().expect("made with a caller").id.clone();
            let name = (caller.clone(), event.target.svc.clone(), event.core.op.clone());
            let edge = edges.entry(name).or_default();
            let count = edge.count + 1;
            *edge = Edge {
                tenant: String::new(),
                caller,
                service: event.target.svc.clone(),
                operation: event.core.op.clone(),
                last_index: *index,
                last_ns: *ns,
                count,
            };
        }
        let mut restarted = FirstSeen::new(config, hmac());
        restarted.warm(all[0].1, at as u64, edges.into_values());
        let got = restarted.batch(&all[at..]);
        // The end of learning is told once in a ledger's life; a start after it tells it no more.
        let edges_only = |f: &countersign_detect::Finding| f.rule.id == "first-seen-edge";
        let wanted: Vec<_> = wanted.into_iter().filter(edges_only).collect();
        let got: Vec<_> = got.into_iter().filter(edges_only).collect();
        prop_assert_eq!(wanted, got);
    }
}
