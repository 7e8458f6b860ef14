//! Webhooks against a real ledger: CloudEvents in its three modes, security event tokens, Pub/Sub.

use crate::push::{Rig, StillDisk, request};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_collect::intake::IntakeLimits;
use countersign_event::{Event, Kind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const EVENTS: &str = "/v1/cloudevents";

fn source_id(event: &Event) -> &str {
    &event.body.cap.as_ref().unwrap().source_id
}

#[test]
fn an_event_in_each_mode_is_a_record_known_by_source_and_id() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let one = |id: &str| {
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/s\",\"type\":\"t.x\",\"data\":{{\"a\":1}}}}"
        )
    };
    let structured = "Content-Type: application/cloudevents+json; charset=UTF-8\r\n";
    let batched = "Content-Type: application/cloudevents-batch+json\r\n";
    let binary = "Content-Type: application/json\r\nce-specversion: 1.0\r\nce-id: 4\r\nce-source: /s\r\nce-type: t.x\r\n";
    for _ in 0..2 {
        assert_eq!(request(rig.address, "POST", EVENTS, structured, one("1").as_bytes()).0, 204);
        let list = format!("[{},{}]", one("2"), one("3"));
        assert_eq!(request(rig.address, "POST", EVENTS, batched, list.as_bytes()).0, 204);
        assert_eq!(request(rig.address, "POST", EVENTS, binary, b"{\"a\":1}").0, 204);
    }
    assert_eq!(request(rig.address, "POST", EVENTS, "Content-Type: text/plain\r\n", b"x").0, 400);
    let origin = "WebHook-Request-Origin: example.org\r\n";
    assert_eq!(request(rig.address, "OPTIONS", EVENTS, origin, b"").0, 200);
    let events = rig.events();
    assert_eq!(events.iter().map(source_id).collect::<Vec<_>>(), ["/s 1", "/s 2", "/s 3", "/s 4"]);
    assert!(events.iter().all(|event| event.core.kind == Some(Kind::Messaging) && event.core.op == "t.x"));
    assert!(events.iter().all(|event| event.content.unmapped.keys().any(|key| key.starts_with("/data"))));
}

#[test]
fn a_security_event_token_is_accepted_once_and_anything_else_has_the_codes_of_the_rfc() {
    const TYPE: &str = "Content-Type: application/secevent+jwt\r\n";
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"secevent+jwt","alg":"ES256"}"#);
    let claims =
        r#"{"iss":"https://i","jti":"j1","iat":1710331713,"events":{"https://a/session-revoked":{}}}"#;
    let token = format!("{head}.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
    for _ in 0..2 {
        assert_eq!(request(rig.address, "POST", "/v1/set", TYPE, token.as_bytes()), (202, String::new()));
    }
    for (kind, body) in [(TYPE, "no token"), ("", token.as_str())] {
        let (status, why) = request(rig.address, "POST", "/v1/set", kind, body.as_bytes());
        assert_eq!(status, 400);
        assert!(why.starts_with("{\"err\":\"invalid_request\""), "{why}");
    }
    let events = rig.events();
    assert_eq!((events.len(), source_id(&events[0])), (1, "https://i j1"));
    let dir = tempfile::tempdir().unwrap();
    let (rig, _) = Rig::guarded(dir.path());
    let (status, why) = request(rig.address, "POST", "/v1/set", TYPE, token.as_bytes());
    assert!(status == 401 && why.starts_with("{\"err\":\"authentication_failed\""), "{why}");
}

#[test]
fn a_message_of_pubsub_is_known_by_its_id_whatever_the_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let line = r#"192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] "GET /a/7 HTTP/1.1" 200 803"#;
    for attempt in 1..3 {
        let body = format!(
            "{{\"deliveryAttempt\":{attempt},\"message\":{{\"data\":\"{}\",\"attributes\":{{\"k\":\"v\"}},\"messageId\":\"7\",\
             \"publishTime\":\"2024-03-13T12:08:34Z\"}},\"subscription\":\"projects/p/subscriptions/s\"}}",
            STANDARD.encode(line)
        );
        assert_eq!(request(rig.address, "POST", "/v1/pubsub", "", body.as_bytes()).0, 204);
    }
    assert_eq!(request(rig.address, "POST", "/v1/pubsub", "", b"{}").0, 400);
    let events = rig.events();
    assert_eq!((events.len(), source_id(&events[0])), (1, "7"));
    assert_eq!(events[0].core.kind, Some(Kind::Http));
    assert!(events[0].content.unmapped.contains_key("/pubsub/attributes/k"));
}

#[test]
fn while_the_ledger_stands_still_a_hook_is_told_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(StillDisk::default());
    let limits = IntakeLimits { durable: Duration::from_millis(200), ..IntakeLimits::default() };
    let rig = Rig::with(dir.path(), None, Arc::clone(&disk), limits);
    let binary = "ce-specversion: 1.0\r\nce-id: 4\r\nce-source: /s\r\nce-type: t.x\r\n";
    let send = || request(rig.address, "POST", EVENTS, binary, b"x").0;
    disk.0.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert!(matches!(send(), 429 | 503));
    }
    disk.0.store(false, Ordering::SeqCst);
    while send() != 204 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(rig.events().len(), 1);
}
