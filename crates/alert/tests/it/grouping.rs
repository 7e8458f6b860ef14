//! Storms: few messages, and every finding in one of them.

use crate::server::{Request, Server};
use crate::{Clock, config, finding, in_state, of_rule, start, until, webhook};
use countersign_alert::{Alerts, GroupBy, Match, Receiver, ReceiverKind, Route};
use countersign_event::{Event, FindingState};
use std::time::Duration;

/// Findings told of in accepted messages.
fn told(requests: &[Request]) -> u64 {
    let accepted = requests.iter().filter(|r| r.status == 200);
    accepted.map(|r| r.json()["data"]["count"].as_u64().unwrap_or(1)).sum()
}

fn conserved(alerts: &Alerts) {
    let status = alerts.status();
    assert!(status.iter().all(|s| s.counters.conserved()), "{status:?}");
}

#[test]
fn a_storm_of_ten_thousand_is_three_messages_in_five_minutes_and_the_first_at_once() {
    let many = if std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|v| v == "full") { 10_000 } else { 2_000 };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(200);
    let clock = Clock::default();
    let running = start(config(dir.path(), vec![webhook(&server.url)]), clock.timing());
    let finding = finding("key:0");
    for n in 0..many {
        let mut finding = finding.clone();
        finding.core.eid = u128::to_be_bytes(n as u128 + 1);
        finding.who.who.as_mut().unwrap().id = format!("key:{n}");
        finding.target.res = format!("/v{n}");
        running.alerts.fire(&finding, n);
        if n == 0 {
            until("the first alert, before the second finding", || server.seen().len() == 1);
        }
        clock.forward(Duration::from_millis(20));
    }
    conserved(&running.alerts);
    clock.forward(Duration::from_secs(299) - Duration::from_millis(20) * many as u32);
    until("house was kept", || running.told_of("alert.delivered", "ops") >= 2);
    assert!(server.seen().len() <= 3, "{} messages in five minutes", server.seen().len());
    clock.forward(Duration::from_secs(310));
    until("everything is told", || running.alerts.counters().pending == 0);
    assert!(server.seen().len() <= 3, "{} messages in all", server.seen().len());
    assert_eq!(told(&server.seen()), many);
    conserved(&running.alerts);
    let last = server.seen().pop().unwrap().json();
    assert_eq!(last["type"], "countersign.alert.group");
    assert_eq!(last["data"]["findings"].as_array().unwrap().len(), 10);
    assert_eq!(last["data"]["severity"], "medium");
    assert!(last["data"]["others"][0].as_str().unwrap().starts_with("http://127.0.0.1:8710/events/"));
    // The record of the storm is no storm: at most one event a second for the log, one a message for the receiver.
    running.alerts.shutdown();
    let events = running.told().len();
    assert!(events < 300, "{events} events");
}

#[test]
fn what_comes_within_the_wait_is_one_update_and_two_rules_are_two_groups() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(200);
    let clock = Clock::default();
    let running = start(config(dir.path(), vec![webhook(&server.url)]), clock.timing());
    running.alerts.fire(&finding("key:a"), 1);
    running.alerts.fire(&finding("key:b"), 2);
    running.alerts.fire(&of_rule(finding("key:b"), "silence"), 3);
    running.alerts.fire(&finding("key:c"), 4);
    until("the first of each group", || server.seen().len() == 2);
    until("two settled, two waiting", || running.alerts.status()[1].counters.pending == 2);
    clock.forward(Duration::from_secs(10));
    until("the update", || server.seen().len() == 3);
    let update = server.seen().pop().unwrap().json()["data"].clone();
    assert_eq!(
        (&update["count"], &update["group_revision"], &update["group_findings"]),
        (&2.into(), &2.into(), &3.into())
    );
    assert_eq!((&update["first_index"], &update["last_index"]), (&2.into(), &4.into()));
    conserved(&running.alerts);
}

#[test]
fn what_waits_in_a_group_is_told_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(200);
    let clock = Clock::default();
    let running = start(config(dir.path(), vec![webhook(&server.url)]), clock.timing());
    running.alerts.fire(&finding("key:a"), 1);
    running.alerts.fire(&finding("key:b"), 2);
    until("the first", || server.seen().len() == 1);
    drop(running);
    let again = start(config(dir.path(), vec![webhook(&server.url)]), clock.timing());
    assert_eq!(again.alerts.handled(), 3);
    assert_eq!(again.alerts.status()[1].counters.pending, 1);
    conserved(&again.alerts);
    clock.forward(Duration::from_secs(11));
    until("the second", || server.seen().len() == 2);
    assert_eq!(told(&server.seen()), 2);
    conserved(&again.alerts);
}

#[test]
fn routes_choose_receivers_and_groups() {
    let dir = tempfile::tempdir().unwrap();
    let (ops, pager) = (Server::always(200), Server::always(200));
    let clock = Clock::default();
    let secrets = webhook("").secrets;
    let mut config = config(dir.path(), vec![webhook(&ops.url)]);
    config.receivers = vec![Receiver {
        name: "pager".into(),
        kind: ReceiverKind::Webhook { url: pager.url.clone(), secrets },
    }];
    let grave = Route {
        matches: vec![Match { rule: "first-*".into(), caller: "key:p*".into(), ..Match::default() }],
        receivers: vec!["pager".into()],
        group_by: vec![GroupBy::Rule, GroupBy::Caller],
        ..Route::default()
    };
    config.route = Some(Route { receivers: vec!["ops".into()], routes: vec![grave], ..Route::default() });
    let running = start(config, clock.timing());
    for (index, caller) in ["key:p1", "key:p2", "key:x"].into_iter().enumerate() {
        running.alerts.fire(&finding(caller), index as u64);
    }
    until("deliveries", || running.alerts.counters().pending == 0);
    assert_eq!((pager.seen().len(), ops.seen().len()), (2, 1), "grouped by caller, both at once");
    assert_eq!(ops.seen()[0].json()["data"]["who"]["id"], "key:x");
    conserved(&running.alerts);
}

fn silence(source: &str, state: FindingState) -> Event {
    let mut event = in_state(of_rule(finding("key:a"), "silence"), state);
    event.core.route = source.to_owned();
    event.who = Default::default();
    event.target = Default::default();
    event.core.eid[1] ^= source.len() as u8;
    event
}

#[test]
fn a_silent_source_is_one_message_and_its_children_ring_nobody_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(200);
    let clock = Clock::default();
    let running = start(config(dir.path(), vec![webhook(&server.url)]), clock.timing());
    let child = |rule: &str| {
        let mut event = of_rule(finding("key:a"), rule);
        event.core.route = "edge-1".into();
        event
    };
    running.alerts.fire(&silence("edge-1", FindingState::Open), 1);
    for (index, rule) in ["silence", "rate-shift", "burn-rate", "contract-status"].into_iter().enumerate() {
        running.alerts.fire(&child(rule), 2 + index as u64);
    }
    running.alerts.fire(&child("sequence-gap"), 9);
    until("two messages", || running.alerts.counters().pending == 0 && server.seen().len() == 2);
    let rules: Vec<String> = server.seen().iter().map(|r| r.json()["data"]["rule"].to_string()).collect();
    assert!(rules.contains(&"\"sequence-gap\"".to_owned()), "integrity is never inhibited: {rules:?}");
    let counters = running.alerts.status()[1].counters;
    assert_eq!((counters.fired, counters.inhibited, counters.delivered), (6, 4, 2));
    conserved(&running.alerts);
    until("the ledger is told", || running.told_of("alert.inhibited", "") >= 4);
    // It is back: one message says so, and its children ring again.
    running.alerts.fire(&silence("edge-1", FindingState::Resolved), 10);
    running.alerts.fire(&child("rate-shift"), 11);
    clock.forward(Duration::from_secs(11));
    until("the end is told", || server.seen().len() == 4);
    let types: Vec<String> =
        server.seen().iter().map(|r| r.json()["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(types.iter().filter(|t| *t == "countersign.finding.resolved").count(), 1, "{types:?}");
    assert_eq!(running.alerts.status()[1].counters.inhibited, 4);
    conserved(&running.alerts);
}

#[test]
fn a_receiver_that_fails_for_minutes_is_helped_by_the_fallback() {
    let dir = tempfile::tempdir().unwrap();
    let (down, other) = (Server::always(503), Server::always(200));
    let clock = Clock::default();
    let mut config = config(dir.path(), vec![webhook(&down.url)]);
    let secrets = webhook("").secrets;
    config.receivers = vec![Receiver {
        name: "spare".into(),
        kind: ReceiverKind::Webhook { url: other.url.clone(), secrets },
    }];
    config.route = Some(Route { receivers: vec!["ops".into()], ..Route::default() });
    config.fallback = Some("spare".into());
    let running = start(config, clock.timing());
    running.alerts.fire(&finding("key:a"), 1);
    until("a failure", || running.told_of("alert.failed", "ops") == 1);
    assert_eq!(other.seen().len(), 0, "not before five minutes");
    clock.forward(Duration::from_secs(301));
    until("the fallback", || other.seen().len() == 1);
    let note = other.seen()[0].json()["data"]["note"].as_str().unwrap().to_owned();
    assert!(note.contains("receiver ops") && note.contains("503"), "{note}");
    // It is once, and the receiver itself still gets it when it is back.
    clock.forward(Duration::from_secs(600));
    down.answer(|_, _| (200, String::new()));
    until("delivery", || running.alerts.counters().pending == 0);
    assert_eq!(other.seen().len(), 1);
    // What is refused for good goes there at once.
    down.answer(|_, _| (400, String::new()));
    running.alerts.fire(&of_rule(finding("key:b"), "q"), 2);
    until("the fallback again", || other.seen().len() == 2);
    conserved(&running.alerts);
}

#[test]
fn the_watchdog_speaks_every_minute_and_its_failure_is_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(200);
    let mut config = config(dir.path(), vec![webhook(&server.url)]);
    config.watchdog = Some("ops".into());
    let timing = countersign_alert::Timing { watchdog: Duration::from_millis(20), ..crate::quick() };
    let running = start(config, timing);
    until("three beats", || server.seen().len() >= 3);
    assert_eq!(server.seen()[0].json()["type"], "countersign.alert.watchdog");
    server.answer(|_, _| (500, String::new()));
    until("the failure is told", || running.told_of("alert.watchdog", "ops") == 1);
    server.answer(|_, _| (200, String::new()));
    until("and the return", || running.told_of("alert.watchdog", "ops") == 2);
    assert_eq!(running.alerts.counters(), Default::default(), "beats are counted nowhere");
}
