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
    let clock = Clock::default();
    let timing = countersign_alert::Timing { group_interval: Duration::ZERO, ..clock.timing() };
    let running = start(with(dir.path(), ReceiverKind::Slack { url: server.url.clone() }), timing);
    for n in 0..3 {
        running.alerts.fire(&finding(&format!("<!channel> & {n}")), n);
    }
    for sent in 1..=3 {
        until("one more", || running.alerts.status()[1].counters.delivered == sent);
        assert_eq!(server.seen().len() as u64, sent, "the next waits for the clock");
        clock.forward(Duration::from_secs(1));
    }
    let seen = server.seen();
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
    until("both settled", || running.alerts.counters().pending == 0);
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

/// What a real Alertmanager holds.
fn held(address: std::net::SocketAddr) -> Vec<serde_json::Value> {
    let mut connection = countersign_testkit::http::Connection::open(address).unwrap();
    connection.send(b"GET /api/v2/alerts HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    serde_json::from_str(&connection.response(false).unwrap().text()).unwrap()
}

#[test]
fn a_real_alertmanager_holds_the_alert_until_it_resolves() {
    use countersign_testkit::{Child, ensure_program, free_port, wait_for_port};
    let dir = tempfile::tempdir().unwrap();
    let program = ensure_program("prometheus-alertmanager", "prometheus-alertmanager").unwrap();
    let settings = dir.path().join("am.yml");
    std::fs::write(&settings, "route: {receiver: none}\nreceivers: [{name: none}]\n").unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let mut command = std::process::Command::new(program);
    command.arg(format!("--config.file={}", settings.display()));
    command.arg(format!("--storage.path={}", dir.path().display()));
    command.args([format!("--web.listen-address={address}"), "--cluster.listen-address=".into()]);
    let _child = Child::start(command, &dir.path().join("am.log")).unwrap();
    wait_for_port(address, Duration::from_secs(60)).unwrap();
    let kind = ReceiverKind::Alertmanager { urls: vec![format!("http://{address}")] };
    let running = start(with(dir.path(), kind), crate::quick());
    running.alerts.fire(&finding("spiffe://td/\"w\u{e9}b\n"), 1);
    until("delivery", || running.alerts.status()[1].counters.delivered == 1);
    until("the alert", || held(address).len() == 1);
    let alert = held(address).remove(0);
    assert_eq!(alert["labels"]["alertname"], "first-seen-edge");
    assert_eq!(alert["status"]["state"], "active");
    assert!(alert["annotations"]["summary"].as_str().unwrap().contains("called DELETE on orders"));
    running.alerts.fire(&in_state(finding("spiffe://td/\"w\u{e9}b\n"), FindingState::Resolved), 2);
    until("the end", || held(address).is_empty());
    assert_eq!(running.alerts.dead(), []);
}
