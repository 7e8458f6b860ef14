//! One alert's ways, each once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::server::{Request, Server};
use crate::{SECRET, config, finding, quick, start, until, webhook};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_alert::{AlertError, Alerts, Timing, Webhook};
use std::collections::BTreeSet;
use std::time::Duration;

/// Verifies a signature as a receiver does, by the words of the specification.
fn signed_by(secret: &str, request: &Request) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut content = Vec::new();
    content.extend_from_slice(request.header("webhook-id").as_bytes());
    content.push(b'.');
    content.extend_from_slice(request.header("webhook-timestamp").as_bytes());
    content.push(b'.');
    content.extend_from_slice(&request.body);
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key), &content);
    let wanted = format!("v1,{}", STANDARD.encode(tag));
    request.header("webhook-signature").split(' ').any(|s| s == wanted)
}

#[test]
fn a_busy_receiver_gets_the_alert_once_it_is_free_under_one_id() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(|n, _| (if n < 3 { 503 } else { 200 }, String::new()));
    let running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    running.alerts.fire(&finding("spiffe://td/web"), 41);
    until("delivery", || running.alerts.counters().delivered == 2);
    running.alerts.shutdown();
    let seen = server.seen();
    assert_eq!(seen.iter().map(|r| r.status).collect::<Vec<_>>(), [503, 503, 503, 200]);
    let ids: BTreeSet<_> = seen.iter().map(|r| r.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 1, "the id is stable over retries");
    for request in &seen {
        assert!(signed_by(SECRET, request));
        assert_eq!(
            (request.line.as_str(), request.header("content-type")),
            ("POST /hook?token=hush HTTP/1.1", "application/json")
        );
        assert_eq!(request.body, seen[0].body);
    }
    let body = seen[0].json();
    assert_eq!(body["type"], "countersign.finding.open");
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    let data = &body["data"];
    assert_eq!(data["explanation"], "spiffe://td/web called DELETE on orders for the first time in 30 d");
    assert_eq!((&data["rule"], &data["severity"]), (&"first-seen-edge".into(), &"medium".into()));
    assert_eq!((&data["index"], &data["evidence"]), (&41.into(), &40.into()));
    assert_eq!(data["link"], "http://127.0.0.1:8710/events/41");
    assert_eq!((&data["who"]["id"], &data["who"]["verified"]), (&"spiffe://td/web".into(), &4.into()));
    assert_eq!(data["query"], r#"who:"spiffe://td/web" service:"orders" op:"DELETE""#);
    assert_eq!((running.told_of("alert.failed", "ops"), running.told_of("alert.delivered", "ops")), (1, 1));
    assert!(running.alerts.counters().conserved());
    let delivered = running
        .states
        .lock()
        .unwrap()
        .iter()
        .find(|e| e.core.route == "ops" && e.core.op == "alert.delivered")
        .cloned()
        .unwrap();
    assert_eq!(delivered.links.of, Some(finding("spiffe://td/web").core.eid));
}

#[test]
fn what_waits_survives_a_restart_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(503);
    let running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    running.alerts.fire(&finding("spiffe://td/very-secret-name"), 1);
    running.alerts.fire(&finding("spiffe://td/other-name"), 2);
    until("first attempts", || server.seen().len() >= 3);
    running.alerts.shutdown();
    assert_eq!(running.alerts.status()[1].counters.pending, 2);
    let mut files = 0;
    let mut dirs = vec![dir.path().to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                dirs.push(entry);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&entry).unwrap();
            for name in ["secret-name", "orders", "first-seen", "hush"] {
                assert!(
                    !bytes.windows(name.len()).any(|w| w == name.as_bytes()),
                    "{name} in {}",
                    entry.display()
                );
            }
        }
    }
    assert!(files >= 3, "two messages and the memory");

    server.answer(|_, _| (204, String::new()));
    let before = server.seen();
    let again = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    until("delivery after the restart", || again.alerts.status()[1].counters.delivered == 2);
    let ids = |requests: &[Request]| -> BTreeSet<String> {
        requests.iter().map(|r| r.header("webhook-id").to_owned()).collect()
    };
    assert_eq!(ids(&server.seen()[before.len()..]), ids(&before), "the ids are those of before");
    // The matter is remembered too: a repeat is merged, and a replayed finding is the same message.
    again.alerts.fire(&finding("spiffe://td/other-name"), 2);
    assert_eq!(again.alerts.status()[1].counters.merged, 1);
    assert!(again.alerts.counters().conserved());
    again.alerts.shutdown();
    let third = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    assert_eq!(third.alerts.counters(), Default::default(), "nothing delivered is left");
}

#[test]
fn another_key_opens_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(503);
    let running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    running.alerts.fire(&finding("key:a"), 1);
    running.alerts.shutdown();
    let other =
        countersign_alert::AlertConfig { key: [6; 32], ..config(dir.path(), vec![webhook(&server.url)]) };
    let sent = server.seen().len();
    let again = start(other, quick());
    until("burial", || again.alerts.status()[1].counters.dead == 1);
    assert_eq!(server.seen().len(), sent);
    assert!(again.alerts.status()[1].last_error.contains("damaged"));
}

#[test]
fn a_refused_message_is_a_dead_letter_that_can_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(400);
    let running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    running.alerts.fire(&finding("key:a"), 7);
    until("burial", || running.told_of("alert.dead", "ops") == 1);
    let dead = running.alerts.dead();
    assert_eq!((dead.len(), dead[0].index, dead[0].attempts), (1, 7, 1));
    assert!(dead[0].why.contains("refused"));
    let error = running.alerts.resend("ops", "msg_none").err().unwrap();
    assert!(matches!(error, AlertError::Unknown { .. }));
    // It is still there after a restart.
    running.alerts.shutdown();
    let again = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    assert_eq!(again.alerts.dead(), dead);
    server.answer(|_, _| (200, String::new()));
    again.alerts.resend("ops", &dead[0].id).unwrap();
    until("delivery", || again.alerts.status()[1].counters.delivered == 1);
    assert_eq!(again.alerts.dead(), []);
    let seen = server.seen();
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    assert!(again.alerts.counters().conserved());
}

#[test]
fn a_receiver_that_is_gone_is_asked_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(410);
    let running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    running.alerts.fire(&finding("key:a"), 1);
    until("disabling", || running.alerts.status()[1].disabled);
    let asked = server.seen().len();
    for n in 2..6 {
        running.alerts.fire(&finding(&format!("key:{n}")), n);
    }
    until("burials", || running.alerts.status()[1].counters.dead == 5);
    running.alerts.shutdown();
    assert_eq!(server.seen().len(), asked);
    assert!(running.told_of("alert.disabled", "ops") >= 1);
    assert!(running.alerts.counters().conserved());
}

#[test]
fn a_redirect_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let inner = Server::always(200);
    let location = format!("location: {}\r\n", inner.url);
    let server = Server::new(move |_, _| (307, location.clone()));
    let running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    running.alerts.fire(&finding("key:a"), 1);
    until("burial", || running.alerts.status()[1].counters.dead == 1);
    assert_eq!((server.seen().len(), inner.seen().len()), (1, 0));
    assert!(running.alerts.dead()[0].why.contains("redirects"));
}

#[test]
fn a_receivers_own_wish_to_wait_is_honoured() {
    let dir = tempfile::tempdir().unwrap();
    let server =
        Server::new(|n, _| if n == 0 { (429, "retry-after: 1\r\n".into()) } else { (200, String::new()) });
    let running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    running.alerts.fire(&finding("key:a"), 1);
    until("delivery", || running.alerts.status()[1].counters.delivered == 1);
    let seen = server.seen();
    // The wait begins when the answer has come, so the second request cannot arrive earlier than this.
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(1000));
}

#[test]
fn attempts_end_with_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(500);
    let timing = Timing { give_up: Duration::from_millis(30), ..quick() };
    let running = start(config(dir.path(), vec![webhook(&server.url)]), timing);
    running.alerts.fire(&finding("key:a"), 1);
    until("burial", || running.alerts.status()[1].counters.dead == 1);
    let dead = running.alerts.dead().remove(0);
    assert!(dead.why.contains("answered 500; given up after"), "{}", dead.why);
    assert_eq!(dead.attempts as usize, server.seen().len());
}

#[test]
fn an_unreachable_receiver_is_tried_again_without_telling_its_address() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens on a port that was just free.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/hook?token=hush");
    let running = start(config(dir.path(), vec![webhook(&url)]), quick());
    running.alerts.fire(&finding("key:a"), 1);
    until("failure", || running.told_of("alert.failed", "ops") == 1);
    let status = running.alerts.status().remove(1);
    assert!(!status.last_error.is_empty() && !status.last_error.contains("hush"), "{}", status.last_error);
    assert_eq!(status.counters.pending, 1);
}

#[test]
fn a_receiver_that_never_answers_takes_a_bounded_time() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let timing = Timing { whole: Duration::from_millis(50), ..quick() };
    let running = start(config(dir.path(), vec![webhook(&url)]), timing);
    running.alerts.fire(&finding("key:a"), 1);
    until("failure", || running.told_of("alert.failed", "ops") == 1);
    assert_eq!(running.alerts.status()[1].last_error, "no answer in time");
}

#[test]
fn repeats_are_merged_and_each_receiver_gets_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Server::always(200), Server::always(200));
    let second = Webhook { name: "second".into(), ..webhook(&two.url) };
    let running = start(config(dir.path(), vec![webhook(&one.url), second]), quick());
    for index in 0..10 {
        running.alerts.fire(&finding("key:a"), index);
    }
    until("deliveries", || running.alerts.counters().pending == 0);
    assert_eq!((one.seen().len(), two.seen().len()), (1, 1));
    assert_ne!(one.seen()[0].header("webhook-id"), two.seen()[0].header("webhook-id"));
    let counters = running.alerts.counters();
    assert_eq!((counters.fired, counters.delivered, counters.merged), (30, 3, 27));
    running.alerts.shutdown();
    let merged: u64 = running
        .states
        .lock()
        .unwrap()
        .iter()
        .filter(|e| e.core.op == "alert.merged")
        .map(|e| e.core.n.unwrap_or(1))
        .sum();
    assert_eq!(merged, 9, "nine findings were repeats");
}

#[test]
fn what_nobody_is_to_be_told_of_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(200);
    let running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    let sys = countersign_event::fields::sys::finding::SEVERITY;
    let flags = countersign_event::fields::sys::finding::FLAGS;
    let mut informational = finding("key:a");
    informational.core.sys.insert(sys, 1u64.into());
    let mut capped = finding("key:b");
    let five = countersign_event::cbor::Value::Uint(5);
    capped.core.sys.insert(flags, vec![five].into());
    let mut call = finding("key:c");
    call.core.rec = Some(countersign_event::Rec::Interaction);
    for event in [informational, capped, call, Default::default()] {
        running.alerts.fire(&event, 1);
    }
    assert_eq!(running.alerts.counters(), Default::default());
}

#[test]
fn while_secrets_rotate_both_sign() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(200);
    let new = "whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3";
    let both = Webhook { secrets: vec![SECRET.into(), new.into()], ..webhook(&server.url) };
    let running = start(config(dir.path(), vec![both]), quick());
    running.alerts.fire(&finding("key:a"), 1);
    until("delivery", || server.seen().len() == 1);
    assert!(signed_by(SECRET, &server.seen()[0]) && signed_by(new, &server.seen()[0]));
}

#[test]
fn the_largest_and_strangest_names_fit_the_body() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(200);
    let running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    let mut event = finding(&"\u{1}".repeat(1024));
    event.target.res = "\"<!channel>\\".repeat(80);
    event.target.svc = "\u{2}".repeat(256);
    running.alerts.fire(&event, 1);
    until("delivery", || server.seen().len() == 1);
    let request = server.seen().remove(0);
    assert!(request.body.len() <= 20_000, "{}", request.body.len());
    assert_eq!(request.json()["type"], "countersign.finding.open");
}

#[test]
fn without_webhooks_the_log_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(config(dir.path(), Vec::new()), quick());
    running.alerts.fire(&finding("key:a"), 1);
    assert_eq!(running.told(), [("alert.delivered".to_owned(), "log".to_owned())]);
    assert!(running.alerts.counters().conserved());
}

#[test]
fn wrong_settings_and_directories_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let start = |config| Alerts::start(config, Box::new(|_| {})).err().unwrap().to_string();
    let wrong = Webhook { url: "http://user:hush@127.0.0.1/".into(), ..webhook("") };
    let error = start(config(dir.path(), vec![wrong]));
    assert!(error.contains("webhook[0].url") && !error.contains("hush"));
    std::fs::write(dir.path().join("alert"), b"a file").unwrap();
    assert!(start(config(dir.path(), Vec::new())).contains("alert"));
    let no_ca = countersign_alert::AlertConfig {
        ca: Some(dir.path().join("absent.pem")),
        dir: dir.path().join("q"),
        ..config(dir.path(), vec![webhook("https://127.0.0.1/")])
    };
    assert!(start(no_ca).contains("absent.pem"));
}

#[test]
fn a_receiver_that_refuses_is_a_finding_until_it_takes_messages_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::always(403);
    let running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
    running.alerts.fire(&finding("key:a"), 1);
    running.alerts.fire(&finding("key:b"), 2);
    until("burials", || running.alerts.dead().len() == 2);
    server.answer(|_, _| (200, String::new()));
    running.alerts.fire(&finding("key:c"), 3);
    let findings = || -> Vec<_> {
        let states = running.states.lock().unwrap();
        states.iter().filter(|e| e.core.rec == Some(countersign_event::Rec::Finding)).cloned().collect()
    };
    until("the end", || findings().len() == 2);
    let mut found = findings();
    for event in &mut found {
        (event.core.agent, event.core.seq) = ("a".into(), 1);
        assert_eq!(&countersign_event::Event::decode(&event.encode().unwrap()).unwrap(), event);
    }
    let said = countersign_detect::explain(&found[0]).unwrap();
    assert!(
        said.starts_with("receiver ops refuses alerts: the receiver refused the message for good; wrong if:"),
        "{said}"
    );
    // It goes the way of every finding: one matter that begins and ends.
    let subjects: Vec<_> = found.iter().map(|e| countersign_alert::Subject::of(e).unwrap()).collect();
    assert_eq!(subjects.iter().map(|s| s.source.as_str()).collect::<Vec<_>>(), ["ops", "ops"]);
    running.alerts.fire(&found[0], 4);
    running.alerts.fire(&found[1], 5);
    until("deliveries", || running.alerts.counters().pending == 0);
    let types: Vec<String> =
        server.seen()[3..].iter().map(|r| r.json()["type"].as_str().unwrap().to_owned()).collect();
    assert!(types.contains(&"countersign.finding.resolved".to_owned()) && types.len() == 2, "{types:?}");
}
