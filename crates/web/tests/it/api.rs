//! The interface for programs: one envelope, stable pages, proofs that verify elsewhere.

use crate::support::{World, some_calls};
use countersign_event::Event;
use countersign_proof::{Policy, Trust, VerifierKey, verify_evidence};
use countersign_store::FindRequest;
use serde_json::Value;
use std::time::{Duration, Instant};

#[test]
fn pages_neither_shift_nor_repeat_while_data_arrives() {
    let world = World::new();
    world.record(some_calls(25));
    let client = world.login();
    let mut path = "/api/v1/events?q=-rec:platform&limit=10".to_owned();
    let mut seen = Vec::new();
    loop {
        let answer = client.json(&path);
        for part in ["data", "page", "at", "complete"] {
            assert!(answer.get(part).is_some(), "{part} in {answer}");
        }
        seen.extend(answer["data"].as_array().unwrap().iter().map(|row| row["index"].as_u64().unwrap()));
        world.record(some_calls(3));
        match answer["page"]["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
}

#[test]
fn an_export_streams_everything_and_ends_with_a_trailer() {
    let world = World::new();
    world.record(some_calls(2_500));
    let client = world.login();
    let answer = client.get_with("/api/v1/events?q=-rec:platform", &[("Accept", "application/x-ndjson")]);
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2_501);
    let end = lines.last().unwrap();
    assert_eq!((end["end"].as_bool(), end["rows"].as_u64()), (Some(true), Some(2_500)));
    let time = lines[0]["time"].as_str().unwrap();
    assert!(time.len() == 30 && time.ends_with('Z'), "{time}");
}

#[test]
fn counts_agree_with_what_was_recorded() {
    let world = World::new();
    world.record(some_calls(70));
    let client = world.login();
    assert_eq!(client.json("/api/v1/count?q=rec:interaction")["data"][0]["count"], 70);
    let by = client.json("/api/v1/count?q=rec:interaction&by=outcome");
    let total: i64 = by["data"].as_array().unwrap().iter().map(|row| row["count"].as_i64().unwrap()).sum();
    assert_eq!(total, 70, "{by}");
    let sql = client
        .post("/api/v1/sql", r#"{"sql":"SELECT count(*) AS n FROM events WHERE rec = 'interaction'"}"#)
        .json();
    assert_eq!(sql["data"][0]["n"], 70, "{sql}");
    let explained = client.json("/api/v1/explain?q=who:a")["data"]["sql"].as_str().unwrap().to_owned();
    assert!(explained.contains("who = 'a'"), "{explained}");
}

#[test]
fn evidence_from_the_interface_verifies_with_the_pinned_key_alone() {
    let world = World::new();
    let first = world.record(some_calls(5));
    let client = world.login();
    let key = VerifierKey::parse(&world.ledger.log_vkey()).unwrap();
    let policy = Policy::parse(Policy::unwitnessed(&key).as_bytes()).unwrap();
    let trust = Trust::parse(Trust::ed25519_text().as_bytes()).unwrap();
    for index in first..first + 5 {
        let file = client.get(&format!("/api/v1/events/{index}/proof")).body;
        let report = verify_evidence(&file, &policy, &trust);
        assert_eq!(report.exit_code(), 0, "{}", report.to_text(true));
        let mut broken = file.clone();
        let at = broken.len() / 2;
        broken[at] ^= 1;
        assert_ne!(verify_evidence(&broken, &policy, &trust).exit_code(), 0);
    }
}

#[test]
fn one_event_by_index_and_by_id_is_the_same_document() {
    let world = World::new();
    let first = world.record(some_calls(2));
    let client = world.login();
    let by_index = client.json(&format!("/api/v1/events/{first}"));
    let id = by_index["data"]["id"].as_str().unwrap();
    assert_eq!(
        client.json(&format!("/api/v1/events/by-id/{id}"))["data"]["event"],
        by_index["data"]["event"]
    );
    assert_eq!(by_index["data"]["event"]["target"]["svc"], "orders");
    assert_eq!(by_index["data"]["proof"]["state"], "signed");
    let around = client.json(&format!("/api/v1/events/{first}/context?n=3"));
    assert!(around["data"].as_array().unwrap().iter().any(|row| row["index"] == first), "{around}");
}

#[test]
fn a_server_whose_gateway_cannot_record_is_not_ready_and_says_why() {
    let world = World::new();
    let ready = world.raw("GET", "/readyz", &[], b"");
    assert_eq!((ready.status, ready.json()["recording"].as_str()), (200, Some("ok")));
    *world.blocked.lock().unwrap() = Some("the disk is nearly full");
    for path in ["/readyz", "/api/v1/readyz"] {
        let answer = world.raw("GET", path, &[], b"");
        assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("degraded")), "{path}");
        assert_eq!(answer.json()["detail"], "audit-blocked: the disk is nearly full");
    }
    assert_eq!(world.raw("GET", "/healthz", &[], b"").status, 200, "alive it is");
    *world.blocked.lock().unwrap() = None;
    assert_eq!(world.raw("GET", "/readyz", &[], b"").status, 200);
}

#[test]
fn a_timeline_marks_what_is_inferred_and_nothing_else() {
    let world = World::new();
    let mut calls = some_calls(4);
    let conn = |event: &mut Event, conn: u8, number: u64| {
        event.links = countersign_event::Links::default();
        event.links.conn = Some([conn; 16]);
        event.links.conn_seq = Some(number);
    };
    for (at, event) in calls.iter_mut().enumerate() {
        conn(event, at as u8 + 1, 1);
    }
    calls[0].links.trace = Some([7; 16]);
    calls[1].links.trace = Some([7; 16]);
    calls[2].links.cause = vec![([1; 16], 1, 900)];
    let first = world.record(calls);
    let client = world.login();
    let found = client.json(&format!("/api/v1/events/{first}/timeline"));
    let rows = found["data"].as_array().unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|r| (r["index"].as_u64().unwrap() - first, r["joined"].as_str().unwrap(), r["score"].as_u64()))
        .collect();
    assert_eq!(told, [(0, "this", None), (1, "trace", None), (2, "caused", Some(900))], "{found}");
    let page = client.get(&format!("/events/{first}")).text();
    assert!(page.contains("id=\"timeline\"") && page.contains("same trace"), "{page}");
    assert_eq!(page.matches("probably (score").count(), 1);
    assert!(page.contains("probably (score 900 of 1000): made for it"));
    let alone = client.get(&format!("/events/{}", first + 3)).text();
    assert!(!alone.contains("id=\"timeline\""), "nothing belongs to it");
    assert_eq!(client.get("/api/v1/events/0/timeline").status, 400, "no event");
}

#[test]
fn heads_are_consistent_and_tiles_are_served() {
    let world = World::new();
    world.record(some_calls(5));
    let client = world.login();
    let old = client.json("/api/v1/checkpoint")["data"].clone();
    world.record(some_calls(9));
    let new = client.json("/api/v1/checkpoint")["data"].clone();
    let (from, to) = (old["size"].as_u64().unwrap(), new["size"].as_u64().unwrap());
    let proof = client.json(&format!("/api/v1/consistency?from={from}&to={to}"));
    let hash = |text: &str| -> [u8; 32] { base64(text).try_into().unwrap() };
    let path: Vec<[u8; 32]> =
        proof["hashes"].as_array().unwrap().iter().map(|h| hash(h.as_str().unwrap())).collect();
    let root = |value: &Value| -> [u8; 32] {
        countersign_event::json::unhex(value.as_str().unwrap()).unwrap().try_into().unwrap()
    };
    countersign_proof::verify_consistency(from, to, &root(&old["root"]), &root(&new["root"]), &path).unwrap();
    let note = client.get("/log/checkpoint");
    assert!(note.text().starts_with("example.org/web-test/1\n"), "{}", note.text());
    assert_eq!(client.get("/log/tile/0/x999/000").status, 404);
    assert_eq!(client.get("/log/../../etc/passwd").status, 404);
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn mistakes_have_codes_and_next_steps() {
    let world = World::new();
    world.record(some_calls(3));
    let client = world.login();
    let size = world.ledger.size();
    for (path, status, code) in [
        ("/api/v1/events?idenity=1".to_owned(), 400, "unknown-parameter"),
        ("/api/v1/events?q=idenity:x".to_owned(), 400, "unknown-field"),
        ("/api/v1/events?q=who:(".to_owned(), 400, "query-syntax"),
        ("/api/v1/events?before=x".to_owned(), 400, "bad-cursor"),
        ("/api/v1/events?from=yesterday".to_owned(), 400, "bad-range"),
        (format!("/api/v1/events/{}", size + 1_000), 404, "not-yet"),
        ("/api/v1/events/abc".to_owned(), 400, "bad-value"),
        ("/api/v1/events/by-id/00000000000000000000000000000000".to_owned(), 404, "not-found"),
        ("/api/v1/events?at=1.0123456789abcdef".to_owned(), 409, "pin-mismatch"),
        ("/api/v1/events?at=99999999.0123456789abcdef".to_owned(), 409, "pin-mismatch"),
        ("/api/v1/consistency?from=9&to=2".to_owned(), 400, "bad-range"),
        ("/api/v1/nothing".to_owned(), 404, "not-found"),
    ] {
        let answer = client.get(&path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{path}: {problem}");
        for part in ["type", "title", "detail", "instance"] {
            assert!(problem[part].as_str().is_some_and(|text| !text.is_empty()), "{part} of {path}");
        }
        assert!(!answer.text().contains(world.dir.path().to_str().unwrap()));
    }
    for sql in ["DROP TABLE events", "COPY events TO 'x'", "SET a = 1", "SELECT * FROM nope", "SELEC"] {
        let answer = client.post("/api/v1/sql", &serde_json::json!({ "sql": sql }).to_string());
        assert_eq!(answer.status, 400, "{sql}: {}", answer.text());
    }
    assert_eq!(client.post("/api/v1/sql", "not json").status, 400);
}

#[test]
fn reading_is_recorded_once_for_each_question_not_for_each_row() {
    let world = World::new();
    world.record(some_calls(50));
    let client = world.login();
    client.json("/api/v1/events?q=op:GET&limit=40");
    client.json("/api/v1/events?q=op:GET&limit=40");
    // A reading is handed to the ledger before its answer, and durable a moment later.
    let count = || {
        let readings = FindRequest::new("rec:platform op:read.query");
        world.runtime.block_on(world.store.count(readings)).unwrap()
    };
    let start = Instant::now();
    while count() < 2 && start.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(10));
    }
    world.settle();
    let reads =
        client.json("/api/v1/events?q=rec:platform%20op:read.query&fields=index,who,statement,resource");
    let rows = reads["data"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{reads}");
    assert_eq!(rows[0]["statement"], "op:GET");
    assert_eq!(rows[0]["resource"], "/api/v1/events");
    assert_eq!(rows[0]["who"], "user:countersign/browser-1");
}

#[test]
fn sources_add_up() {
    let world = World::new();
    world.record(some_calls(20));
    let sources = world.login().json("/api/v1/sources");
    let gateway = sources["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["agent"] == "spiffe://example.org/gw")
        .unwrap()
        .clone();
    let n = |name: &str| gateway[name].as_u64().unwrap();
    assert_eq!(n("seen"), n("sent") + n("rejected") + n("dropped"), "{gateway}");
    assert_eq!(n("sent"), 20);
}
