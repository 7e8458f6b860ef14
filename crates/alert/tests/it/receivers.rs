//! Each kind of HTTP receiver by its contract, traps included.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::server::Server;
use crate::{Clock, config, finding, in_state, of_rule, start, until};
use countersign_alert::{AlertConfig, Receiver, ReceiverKind};
use countersign_event::FindingState;
use std::time::Duration;

fn with(dir: &std::path::Path, kind: ReceiverKind) -> AlertConfig {
    AlertConfig { receivers: vec![Receiver { name: "r".into(), kind }], ..config(dir, Vec::new()) }
}

fn base(server: &Server) -> String {
    server.url.split("/hook").next().unwrap().to_owned()
}

#[test]
fn slack_is_told_in_blocks_one_message_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(200);
    let timing = countersign_alert::Timing { slack_pace: Duration::from_millis(150), ..crate::quick() };
    let running = start(with(dir.path(), ReceiverKind::Slack { url: server.url.clone() }), timing);
    for n in 0..3 {
        running.alerts.fire(&finding(&format!("<!channel> & {n}")), n);
    }
    until("deliveries", || running.alerts.counters().pending == 0);
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    for pair in seen.windows(2) {
        // The second attempt begins no earlier than a pace after the first; the first's way here takes time too.
        assert!(pair[1].at - pair[0].at >= Duration::from_millis(50));
    }
    let text = seen[0].json()["blocks"][1]["text"]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("&lt;!channel&gt; &amp; 0 called DELETE") && !text.contains("<!"), "{text}");
    let why = running.alerts.status()[1].last_error.clone();
    assert!(why.is_empty());
}

#[test]
fn pagerduty_triggers_and_resolves_one_incident_in_that_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(202);
    let clock = Clock::default();
    let kind = ReceiverKind::PagerDuty { routing_key: "k".repeat(32), url: server.url.clone() };
    let running = start(with(dir.path(), kind.clone()), clock.timing());
    running.alerts.fire(&finding("key:a"), 1);
    until("the trigger", || server.seen().len() == 1);
    // It is busy while an update and the end come up; whatever waits how long, the end arrives last.
    server.answer(|n, _| (if n < 4 { 429 } else { 202 }, "retry-after: 0\r\n".into()));
    running.alerts.fire(&finding("key:b"), 2);
    clock.forward(Duration::from_secs(10));
    until("an attempt", || server.seen().len() >= 2);
    running.alerts.fire(&in_state(finding("key:a"), FindingState::Resolved), 3);
    running.alerts.fire(&in_state(finding("key:b"), FindingState::Resolved), 4);
    clock.forward(Duration::from_secs(301));
    until("the end", || {
        clock.forward(Duration::from_millis(50));
        running.alerts.counters().pending == 0
    });
    let seen: Vec<_> = server.seen().into_iter().filter(|r| r.status == 202).map(|r| r.json()).collect();
    let actions: Vec<&str> = seen.iter().map(|e| e["event_action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["trigger", "trigger", "resolve"]);
    assert!(
        seen.iter()
            .all(|e| e["dedup_key"] == seen[0]["dedup_key"] && e["routing_key"] == "k".repeat(32).as_str())
    );
    assert_eq!(seen[0]["payload"]["severity"], "warning");
    // 400 is for good.
    server.answer(|_, _| (400, String::new()));
    running.alerts.fire(&of_rule(finding("key:c"), "other"), 5);
    until("burial", || running.alerts.dead().len() == 1);
    drop(running);
    // The key lies nowhere in clear text, and an event that waits takes the key of today.
    assert!(format!("{kind:?}") == "pagerduty");
}

#[test]
fn every_replica_of_an_alertmanager_is_told_and_told_again_until_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Server::always(200), Server::always(200));
    let clock = Clock::default();
    let timing = countersign_alert::Timing { refresh: Duration::from_millis(30), ..clock.timing() };
    let kind = ReceiverKind::Alertmanager { urls: vec![base(&one), format!("{}/", base(&two))] };
    let running = start(with(dir.path(), kind), timing);
    running.alerts.fire(&finding("key:a"), 1);
    until("repeats at both", || one.seen().len() >= 3 && two.seen().len() >= 3);
    for server in [&one, &two] {
        let seen = server.seen();
        assert!(seen.iter().all(|r| r.line == "POST /api/v2/alerts HTTP/1.1"));
        let alerts: Vec<_> = seen.iter().map(|r| r.json()[0].clone()).collect();
        assert!(
            alerts
                .iter()
                .all(|a| a["labels"] == alerts[0]["labels"] && a["startsAt"] == alerts[0]["startsAt"])
        );
        assert!(alerts.iter().all(|a| a.get("endsAt").is_none()));
        assert_eq!(alerts[0]["labels"]["alertname"], "first-seen-edge");
    }
    let names: Vec<String> = running.alerts.status().into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["log", "r.1", "r.2"]);
    running.alerts.fire(&in_state(finding("key:a"), FindingState::Resolved), 2);
    clock.forward(Duration::from_secs(11));
    let ended = |server: &Server| server.seen().iter().any(|r| r.json()[0].get("endsAt").is_some());
    until("the end at both", || ended(&one) && ended(&two));
    assert!(running.alerts.counters().conserved());
    assert_eq!(running.alerts.counters().delivered, 6, "repeats are counted nowhere");
}

#[test]
fn wrong_settings_of_each_kind_are_refused_without_repeating_them() {
    let dir = tempfile::tempdir().unwrap();
    let mail = countersign_alert::Mail {
        host: "mail.example.org".into(),
        port: 587,
        from: "a@example.org".into(),
        to: vec!["b@example.org".into()],
        ..Default::default()
    };
    let syslog =
        countersign_alert::Syslog { host: "10.0.0.1".into(), port: 514, plain: true, ..Default::default() };
    let kinds = [
        (ReceiverKind::Slack { url: "hush".into() }, "receiver[0].url"),
        (ReceiverKind::PagerDuty { routing_key: "hush".into(), url: String::new() }, "routing_key"),
        (ReceiverKind::Alertmanager { urls: Vec::new() }, "each replica"),
        (
            ReceiverKind::Mail(countersign_alert::Mail { from: "a@b\r\nBcc: hush@x".into(), ..mail.clone() }),
            "receiver[0].from",
        ),
        (
            ReceiverKind::Mail(countersign_alert::Mail { to: vec!["hush <a@b>".into()], ..mail.clone() }),
            "receiver[0].to",
        ),
        (
            ReceiverKind::Mail(countersign_alert::Mail { password: "hush".into(), ..mail.clone() }),
            "both or neither",
        ),
        (ReceiverKind::Mail(countersign_alert::Mail { host: "a b".into(), ..mail }), "receiver[0].host"),
        (ReceiverKind::Syslog(syslog), "loopback"),
    ];
    for (kind, want) in kinds {
        let error = countersign_alert::Alerts::start(with(dir.path(), kind), Box::new(|_| {}))
            .err()
            .map(|e| e.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains(want) && !error.contains("hush"), "{error} should say {want}");
    }
}
