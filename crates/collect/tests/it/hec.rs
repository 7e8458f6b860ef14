//! Splunk's HTTP Event Collector against a real ledger: by hand, and by a client of Splunk's users.

use crate::push::{Rig, StillDisk, request};
use countersign_collect::intake::IntakeLimits;
use countersign_event::{Event, Kind};
use countersign_testkit::python::venv;
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const EVENT: &str = "/services/collector/event";
const ACK: &str = "/services/collector/ack";
const CHANNEL: &str = "X-Splunk-Request-Channel: FE0ECFAD-13D5-401B-847D-77833BD77131\r\n";
const LINE: &str = r#"192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] \"GET /a/7 HTTP/1.1\" 200 803"#;

fn said(reply: &(u16, String)) -> (u16, u64) {
    let body: Value = serde_json::from_str(&reply.1).unwrap();
    (reply.0, body["code"].as_u64().unwrap())
}

fn is_durable(to: SocketAddr, number: u64) -> bool {
    let (status, body) = request(to, "POST", ACK, CHANNEL, format!("{{\"acks\":[{number}]}}").as_bytes());
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    body["acks"][number.to_string()].as_bool().unwrap()
}

fn number_of(reply: &(u16, String)) -> u64 {
    let body: Value = serde_json::from_str(&reply.1).unwrap();
    assert_eq!((reply.0, body["code"].as_u64()), (200, Some(0)), "{}", reply.1);
    body["ackId"].as_u64().unwrap()
}

fn fmt(event: &Event) -> &str {
    &event.body.cap.as_ref().unwrap().fmt
}

#[test]
fn events_that_follow_each_other_are_records_and_those_sent_again_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let body = format!(
        "{{\"event\":\"{LINE}\",\"sourcetype\":\"access\"}}{{\"time\":1,\"event\":{{\"a\":1}}}}\n{{\"time\":1,\"event\":{{\"a\":1}}}} {{\"event\":tru}}"
    );
    for path in [EVENT, "/services/collector", "/services/collector/event/1.0"] {
        assert_eq!(said(&request(rig.address, "POST", path, "", body.as_bytes())), (200, 0));
    }
    let counts = rig.port.intake.counts();
    assert_eq!((counts.received, counts.recorded, counts.raw), (12, 12, 1));
    let events = rig.events();
    assert_eq!(events.len(), 4, "two equal ones stay two, and what came again is there");
    let formats: Vec<_> = events.iter().map(fmt).collect();
    assert_eq!(formats, ["splunk-hec/combined", "splunk-hec/json", "splunk-hec/json", "splunk-hec"]);
    assert_eq!(events[0].core.kind, Some(Kind::Http));
    assert!(events.iter().all(|e| e.body.cap.as_ref().unwrap().deliverer == "addr:127.0.0.1"));
}

#[test]
fn raw_lines_are_records_with_what_the_query_says_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let line = LINE.replace('\\', "");
    let path = "/services/collector/raw?host=n1&source=%2Fvar%2Flog";
    assert_eq!(
        said(&request(rig.address, "POST", path, "", format!("{line}\n\nother\n").as_bytes())),
        (200, 0)
    );
    assert_eq!(said(&request(rig.address, "POST", "/services/collector/raw", "", b"bare")), (200, 0));
    let events = rig.events();
    assert_eq!(events.iter().map(fmt).collect::<Vec<_>>(), ["splunk-hec/combined", "splunk-hec", "unknown"]);
    assert_eq!(events[0].peer.dst.as_ref().unwrap().host, "n1");
    assert!(events[1].content.unmapped.contains_key("/hec/source"));
}

#[test]
fn a_refusal_has_splunk_s_code_and_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let ask =
        |path: &str, headers: &str, body: &str| request(rig.address, "POST", path, headers, body.as_bytes());
    let good = "{\"event\":\"x\"}";
    for (path, headers, body, want) in [
        (EVENT, "", "", (400, 5)),
        (EVENT, "", "{\"event\":", (400, 6)),
        (EVENT, "", "7", (400, 6)),
        (EVENT, "", "{\"event\":\"x\",\"index\":[1]}", (400, 7)),
        (ACK, "", "{\"acks\":[1]}", (400, 10)),
        (EVENT, "X-Splunk-Request-Channel: short\r\n", good, (400, 11)),
        (EVENT, "", "{\"time\":1}", (400, 12)),
        (EVENT, "", "{\"event\":\"\"}", (400, 13)),
        (ACK, CHANNEL, "[]", (400, 6)),
        ("/services/collector/raw", "", "\n", (400, 5)),
    ] {
        assert_eq!(said(&ask(path, headers, body)), want, "{path} {body}");
    }
    let (_, why) = ask(EVENT, "", &format!("{good}{good}{{}}"));
    assert_eq!(why, "{\"text\":\"Event field is required\",\"code\":12,\"invalid-event-number\":2}");
    assert_eq!(request(rig.address, "GET", "/services/collector/health", "", b"").0, 200);
    assert_eq!(request(rig.address, "GET", "/services/collector/other", "", b"").0, 404);
    assert!(rig.port.intake.counts().rejected > 0);
    assert!(rig.events().is_empty());
}

#[test]
fn a_sender_without_a_token_that_passes_is_told_so_in_splunk_s_words() {
    let dir = tempfile::tempdir().unwrap();
    let (rig, key) = Rig::guarded(dir.path());
    let ask = |headers: &str| request(rig.address, "POST", EVENT, headers, b"{\"event\":\"x\"}");
    assert_eq!(said(&ask("")), (401, 2));
    assert_eq!(said(&ask("Authorization: Digest x\r\n")), (401, 3));
    assert_eq!(said(&ask("Authorization: Splunk csk.shipper.wrong\r\n")), (403, 4));
    assert_eq!(said(&ask(&format!("Authorization: Splunk {key}\r\n"))), (200, 0));
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("any:{key}"));
    assert_eq!(said(&ask(&format!("Authorization: Basic {basic}\r\n"))), (200, 0));
    assert_eq!(
        request(rig.address, "GET", "/services/collector/health", "", b"").0,
        200,
        "asked without one"
    );
    let events = rig.events();
    let delivered = events.iter().filter(|event| event.body.raw.is_some());
    let delivered: Vec<_> = delivered.map(|e| e.body.cap.as_ref().unwrap().deliverer.clone()).collect();
    assert_eq!(delivered, ["key:shipper"], "once; the second was a repeat");
}

#[test]
fn a_number_is_true_when_its_events_are_durable_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(StillDisk::default());
    let limits = IntakeLimits { durable: Duration::from_millis(200), ..IntakeLimits::default() };
    let rig = Rig::with(dir.path(), None, Arc::clone(&disk), limits);
    disk.0.store(true, Ordering::SeqCst);
    let number = number_of(&request(rig.address, "POST", EVENT, CHANNEL, b"{\"event\":\"x\"}"));
    let in_query = "/services/collector/event?channel=fe0ecfad-13d5-401b-847d-77833bd77131";
    let second = number_of(&request(rig.address, "POST", in_query, "", b"{\"event\":\"y\"}"));
    assert!(number != second);
    assert!(!is_durable(rig.address, number) && !is_durable(rig.address, second));
    // Without a channel the sender hears nothing good in its time.
    assert_eq!(said(&request(rig.address, "POST", EVENT, "", b"{\"event\":\"z\"}")), (503, 9));
    disk.0.store(false, Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(30);
    while !(is_durable(rig.address, number) && is_durable(rig.address, second)) {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!is_durable(rig.address, number.wrapping_add(7)), "one that was never given");
    while said(&request(rig.address, "POST", EVENT, "", b"{\"event\":\"z\"}")) != (200, 0) {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(rig.events().len(), 3, "each once");
}

/// A handler of Python's logging that sends to Splunk.
const HANDLER: &str = r#"
import logging, sys
from splunk_handler import SplunkHandler
host, port = sys.argv[1].split(":")
handler = SplunkHandler(host=host, port=port, token="t", index="main", protocol="http", verify=False, record_format=True,
                        sourcetype="app", source="here", hostname="n1", flush_interval=0.2)
log = logging.getLogger("app"); log.setLevel(logging.INFO); log.addHandler(handler)
for n in range(50):
    log.info("order %d shipped", n)
logging.shutdown()
"#;

#[test]
fn what_a_client_of_splunk_s_users_logs_is_there_once_each() {
    let python = venv("splunk", &["splunk-handler==3.0.0"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let output = Command::new(python).args(["-c", HANDLER, &rig.address.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = rig.events();
    assert_eq!(events.len(), 50, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(events.iter().all(|event| fmt(event).starts_with("splunk-hec") && event.core.t_event.is_some()));
    assert!(events.iter().all(|event| event.content.unmapped.contains_key("/hec/sourcetype")));
}
