//! The audit draft of OpenTelemetry against a real ledger: a receipt for each record, or none for any.

use crate::push::{Rig, StillDisk, request};
use countersign_collect::intake::IntakeLimits;
use countersign_collect::otlp::canonical::integrity_hash;
use countersign_collect::otlp::{self, Any, Group, LogRecord, Pair, Request, Scoped};
use countersign_collect::proto::Fields;
use countersign_collect::receivers::{Access, Audit, http};
use countersign_event::{Kind, Outcome};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const JSON: &str = "Content-Type: application/json\r\n";
const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";

fn rig(dir: &Path, disk: Arc<StillDisk>, limits: IntakeLimits) -> Rig {
    let audit = Some(Audit { proofs: "https://log.example/proof/".into() });
    let settings = http::Settings { audit, ..http::Settings::default() };
    Rig::behind(dir, None, disk, limits, Access::open(), settings)
}

fn record(id: &str) -> LogRecord {
    let pair = |key: &str, value: &str| Pair { key: key.into(), value: Some(Any::Text(value.into())) };
    LogRecord {
        time: 1_714_041_600_000_000_000,
        observed: 1_714_041_600_001_000_000,
        event_name: "config.change".into(),
        attributes: vec![
            pair("audit.record.id", id),
            pair("audit.actor.id", "svc-deployer"),
            pair("audit.actor.type", "service"),
            pair("audit.action", "UPDATE"),
            pair("audit.outcome", "success"),
            pair("audit.target.id", "production/app"),
        ],
        ..LogRecord::default()
    }
}

fn batch(items: Vec<LogRecord>) -> Request<LogRecord> {
    let scoped = Scoped { scope: None, items, schema_url: String::new(), unknown: Vec::new() };
    let group =
        Group { resource: None, scopes: vec![scoped], schema_url: String::new(), unknown: Vec::new() };
    Request { groups: vec![group] }
}

#[test]
fn each_record_has_a_receipt_with_its_hash_and_the_leaf_that_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(dir.path(), Arc::default(), IntakeLimits::default());
    let body = otlp::to_json(&batch(vec![record("r1"), record("r2")]));
    let (status, reply) = request(rig.address, "POST", "/v1/audit", JSON, body.as_bytes());
    assert_eq!(status, 200, "{reply}");
    let reply: Value = serde_json::from_str(&reply).unwrap();
    let receipts = reply["receipts"].as_array().unwrap();
    let mut leaves = Vec::new();
    for (receipt, id) in receipts.iter().zip(["r1", "r2"]) {
        assert_eq!(receipt["recordId"], id);
        assert_eq!(receipt["integrityHash"].as_str().unwrap(), integrity_hash(&record(id)));
        assert!(
            receipt["sinkTimestamp"].as_str().unwrap().parse::<u64>().unwrap() > 1_714_041_600_000_000_000
        );
        let leaf = receipt["leafIndex"].as_str().unwrap();
        assert_eq!(receipt["proofUrl"].as_str().unwrap(), format!("https://log.example/proof/{leaf}"));
        leaves.push(leaf.parse::<u64>().unwrap());
    }
    // Again, one of them new, in the other encoding.
    let body = otlp::to_protobuf(&batch(vec![record("r2"), record("r3")]));
    let again = otlp::to_json(&batch(vec![record("r1")]));
    let (_, repeat) = request(rig.address, "POST", "/v1/audit", JSON, again.as_bytes());
    assert!(repeat.contains("\"recordId\":\"r1\"") && !repeat.contains("leafIndex"), "{repeat}");
    let mut stream = std::net::TcpStream::connect(rig.address).unwrap();
    let head = format!(
        "POST /v1/audit HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{PROTOBUF}Content-Length: {}\r\n\r\n",
        body.len()
    );
    std::io::Write::write_all(&mut stream, &[head.as_bytes(), &body].concat()).unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut fields = Fields::new(&answer[at..]);
    let mut ids = Vec::new();
    while let Some((number, receipt)) = fields.read().unwrap() {
        assert_eq!(number, 1_000);
        ids.push(Fields::new(receipt.bytes()).read().unwrap().unwrap().1.text().into_owned());
    }
    assert_eq!(ids, ["r2", "r3"]);
    // What is at those leaves.
    let entries: Vec<_> = leaves.iter().map(|leaf| rig.ledger.entry(*leaf).unwrap().unwrap()).collect();
    assert!(entries.iter().all(|entry| entry.kind == 1));
    let events = rig.events();
    // r2 came in two encodings: the same id with other bytes is a second record, and says so.
    let ids: Vec<_> = events.iter().map(|e| e.body.cap.as_ref().unwrap().source_id.as_str()).collect();
    assert_eq!(ids, ["r1", "r2", "r2", "r3"]);
    assert_eq!(events[2].core.labels, ["source_id_reused"]);
    assert!(events.iter().all(|event| event.core.outcome == Some(Outcome::Success)));
    assert!(events.iter().all(|event| event.core.op == "UPDATE" && event.core.kind != Some(Kind::Http)));
    assert_eq!(entries[1].source_seq, events[1].core.seq);
}

#[test]
fn a_record_without_an_id_refuses_the_batch_and_without_the_flag_there_is_no_such_place() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(dir.path(), Arc::default(), IntakeLimits::default());
    let mut nameless = record("x");
    nameless.attributes.remove(0);
    let body = otlp::to_json(&batch(vec![record("r1"), nameless]));
    let (status, why) = request(rig.address, "POST", "/v1/audit", JSON, body.as_bytes());
    assert!(status == 400 && why.contains("audit.record.id"), "{status} {why}");
    assert_eq!(request(rig.address, "POST", "/v1/audit", "", body.as_bytes()).0, 415);
    assert_eq!(request(rig.address, "POST", "/v1/audit", PROTOBUF, b"\x0a\x05").0, 400);
    assert!(rig.events().is_empty(), "nothing of it is taken");
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    assert_eq!(request(rig.address, "POST", "/v1/audit", JSON, body.as_bytes()).0, 404);
    assert!(rig.events().is_empty());
}

#[test]
fn while_the_ledger_stands_still_there_is_no_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(StillDisk::default());
    let limits = IntakeLimits { durable: Duration::from_millis(200), ..IntakeLimits::default() };
    let rig = rig(dir.path(), Arc::clone(&disk), limits);
    let body = otlp::to_json(&batch(vec![record("r1")]));
    let send = || request(rig.address, "POST", "/v1/audit", JSON, body.as_bytes());
    disk.0.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let (status, reply) = send();
        assert!(matches!(status, 429 | 503) && !reply.contains("receipts"), "{status} {reply}");
    }
    disk.0.store(false, Ordering::SeqCst);
    while send().0 != 200 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(rig.events().len(), 1);
}
