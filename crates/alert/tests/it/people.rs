//! Silences, acknowledgements, resolves and feedback.

use crate::server::Server;
use crate::{Clock, config, finding, in_state, of_rule, start, until, webhook};
use countersign_alert::{Answer, FilterError, Match, would_hide_true};
use countersign_event::FindingState;
use std::time::Duration;

const HOUR_NS: u64 = 3_600_000_000_000;
const NOW_NS: u64 = 1_790_000_000_000_000_000;

#[test]
fn a_silence_holds_over_a_restart_until_it_ends_and_all_of_it_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(200);
    let clock = Clock::default();
    let running = start(config(dir.path(), vec![webhook(&server.url)]), clock.timing());
    let orders = Match { service: "orders".into(), ..Match::default() };
    let id = running.alerts.silence(orders, "alice", "change window", NOW_NS + HOUR_NS).unwrap();
    drop(running);
    let running = start(config(dir.path(), vec![webhook(&server.url)]), clock.timing());
    assert_eq!(running.alerts.silences()[0].id, id);
    running.alerts.fire(&finding("key:a"), 1);
    running.alerts.fire(&of_rule(finding("key:a"), "tree-mismatch"), 2);
    until("integrity rings anyway", || server.seen().len() == 1);
    assert_eq!(server.seen()[0].json()["data"]["rule"], "tree-mismatch");
    let counters = running.alerts.status()[1].counters;
    assert_eq!((counters.fired, counters.silenced), (2, 1));
    assert!(running.alerts.counters().conserved());
    until("the ledger is told", || running.told_of("alert.silenced", "") == 1);
    clock.forward(Duration::from_secs(3601));
    until("the end is an event", || running.told_of("alert.silence.ended", "") == 1);
    assert_eq!(running.alerts.silences(), []);
    running.alerts.fire(&finding("key:a"), 3);
    until("it rings again", || server.seen().len() == 2);
}

#[test]
fn a_silence_can_be_expired_and_one_of_integrity_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(config(dir.path(), Vec::new()), Clock::default().timing());
    let rule = |rule: &str| Match { rule: rule.into(), ..Match::default() };
    let refused =
        running.alerts.silence(rule("sequence-*"), "alice", "noise", NOW_NS + HOUR_NS).err().unwrap();
    assert!(refused.to_string().contains("never silenced"));
    assert!(running.alerts.silence(rule("r"), "alice", "noise", NOW_NS + 31 * 24 * HOUR_NS).is_err());
    let id = running.alerts.silence(rule("r"), "alice", "noise", NOW_NS + HOUR_NS).unwrap();
    assert!(running.alerts.expire("nothing", "bob").is_err());
    running.alerts.expire(&id, "bob").unwrap();
    assert_eq!(running.alerts.silences(), []);
    assert_eq!(
        (running.told_of("alert.silence.made", ""), running.told_of("alert.silence.ended", "")),
        (1, 1)
    );
    let states = running.states.lock().unwrap();
    let ended = states.iter().find(|e| e.core.op == "alert.silence.ended").unwrap();
    assert_eq!(ended.who.who.as_ref().unwrap().id, "bob");
}

#[test]
fn an_acknowledged_matter_rings_nobody_until_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(200);
    let clock = Clock::default();
    let running = start(config(dir.path(), vec![webhook(&server.url)]), clock.timing());
    running.alerts.fire(&finding("key:a"), 1);
    until("the first", || server.seen().len() == 1);
    let matter = running.alerts.matters().remove(0);
    let sent = server.seen()[0].json()["data"].clone();
    assert_eq!(
        (&sent["fingerprint"], &sent["finding"]),
        (&matter.fingerprint.as_str().into(), &matter.finding.as_str().into())
    );
    assert!(running.alerts.acknowledge("nothing", "alice", "").is_err());
    running.alerts.acknowledge(&matter.finding, "alice", "looking").unwrap();
    assert_eq!(running.told_of("alert.acknowledged", ""), 1);
    clock.forward(Duration::from_secs(5 * 3600));
    running.alerts.fire(&finding("key:a"), 2);
    assert_eq!(running.alerts.status()[1].counters.merged, 1, "a repeat after four hours would ring");
    running.alerts.fire(&in_state(finding("key:a"), FindingState::Resolved), 3);
    clock.forward(Duration::from_secs(11));
    until("the end", || server.seen().len() == 2);
    assert_eq!(server.seen()[1].json()["type"], "countersign.finding.resolved");
    assert_eq!(running.alerts.matters(), []);
    clock.forward(Duration::from_secs(301));
    running.alerts.fire(&finding("key:a"), 4);
    until("a new beginning rings", || server.seen().len() == 3);
    assert!(running.alerts.counters().conserved());
}

#[test]
fn answers_give_precision_and_a_filter_that_hides_nothing_true() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(config(dir.path(), Vec::new()), Clock::default().timing());
    for n in 0..10u64 {
        let answer = if n < 4 { Answer::False } else { Answer::True };
        let caller = if n < 4 { "spiffe://td/batch".to_owned() } else { format!("key:{n}") };
        let mut event = finding(&caller);
        event.core.sys.insert(0, countersign_event::cbor::Value::Bytes(vec![n as u8; 16]));
        running.alerts.feedback(&event, n, answer, "alice", "looked").unwrap();
    }
    assert!(running.alerts.feedback(&Default::default(), 1, Answer::True, "alice", "why").is_err());
    assert!(running.alerts.feedback(&finding("a"), 1, Answer::True, "alice", "").is_err());
    assert_eq!(running.told_of("alert.feedback", ""), 10);
    let (share, low, high) = running.alerts.precision()[0].share.unwrap();
    assert!((share - 0.6).abs() < 1e-9 && low > 0.31 && high < 0.84);
    let proposal = running.alerts.propose_filter("first-seen-edge", NOW_NS + 24 * HOUR_NS).unwrap();
    assert_eq!(proposal.fields["who"], "spiffe://td/batch");
    assert_eq!(would_hide_true(&proposal, &running.alerts.opinions(), |f, o| f.holds(o)), Ok(()));
    let all = would_hide_true(&proposal, &running.alerts.opinions(), |_, _| true);
    assert!(matches!(all, Err(FilterError::HidesTrue(ids)) if ids.len() == 6));
    // The answers are kept.
    drop(running);
    let again = start(config(dir.path(), Vec::new()), Clock::default().timing());
    assert_eq!(again.alerts.opinions().len(), 10);
}

#[test]
fn a_proposed_filter_is_one_that_the_rule_engine_takes_and_that_hides_these_alone() {
    use countersign_detect::sigma::{Options, RuleSet, RuleText};
    use std::sync::Arc;
    const RULE: &str = "title: Deletes\nid: 00000000-0000-4000-8000-000000000001\nlogsource: {product: countersign}\n\
        detection: {sel: {op: DELETE}, condition: sel}\nlevel: high\n";
    let dir = tempfile::tempdir().unwrap();
    let running = start(config(dir.path(), Vec::new()), Clock::default().timing());
    let hostile = "spiffe://td/b*?\\\"\n: [x]\u{202e}é";
    let marked = of_rule(finding(hostile), "00000000-0000-4000-8000-000000000001");
    running.alerts.feedback(&marked, 1, Answer::False, "alice", "the nightly batch").unwrap();
    let filter =
        running.alerts.propose_filter("00000000-0000-4000-8000-000000000001", NOW_NS + HOUR_NS).unwrap();
    let texts =
        [RuleText { source: "rule.yml", text: RULE }, RuleText { source: "filter.yml", text: &filter.text }];
    let options = Options { placeholders: Default::default(), hmac: Arc::new(|_: &[u8]| [0; 32]) };
    let compiled = RuleSet::compile(&texts, &options);
    assert!(compiled.refused.is_empty(), "{:?}\n{}", compiled.refused, filter.text);
    let mut rules = compiled.rules;
    let call = |caller: &str, service: &str| {
        let mut event = finding(caller);
        event.core.rec = Some(countersign_event::Rec::Interaction);
        event.core.t_event = Some(NOW_NS as i64);
        event.target.svc = service.into();
        event
    };
    let calls = [call(hostile, "orders"), call("spiffe://td/bXY", "orders"), call(hostile, "other")];
    let batch: Vec<_> = calls.iter().enumerate().map(|(n, event)| (n as u64, NOW_NS, event)).collect();
    let hits: Vec<u64> = rules.evaluate(&batch).iter().map(|found| found.index).collect();
    assert_eq!(hits, [1, 2], "wildcards of a name are no wildcards of the filter");
}
