//! What is a record of its own, what is counted in another, what of a body is kept, and why a call is made.

use crate::support::{Rig, get, http, ok, response};
use countersign_event::{Outcome, Rec};
use countersign_gateway::{BodyCapture, Purpose, Record};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Sends `paths` one after the other and gives all events after an orderly end.
fn recorded(record: Record, paths: &[&str]) -> (Vec<countersign_event::Event>, u64, u64) {
    let (upstream, _) = http(|head| {
        let status = if head.contains("/bad") { "500 Error" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok").into_bytes()
    });
    let rig = Rig::with(upstream, |c| c.listeners[0].record = record);
    let mut client = rig.client();
    for path in paths {
        client.send(get(path));
        let bad = if path.contains("/bad") { "500 Error" } else { "200 OK" };
        client.expect(format!("HTTP/1.1 {bad}\r\nContent-Length: 2\r\n\r\nok"));
    }
    drop(client);
    let memory = rig.memory.clone();
    rig.gateway.shutdown(Duration::from_secs(5));
    let (owed, folded) = (memory.owed.load(Ordering::Relaxed), memory.folded.load(Ordering::Relaxed));
    (memory.all(), owed, folded)
}

fn counted(events: &[countersign_event::Event]) -> u64 {
    events.iter().map(|e| e.core.n.unwrap_or(1)).sum()
}

#[test]
fn equal_interactions_of_a_second_are_folded_and_counted() {
    let mut paths = vec!["/orders/1", "/orders/2", "/health"];
    paths.extend(["/health"; 40]);
    paths.push("/bad");
    let (events, owed, folded) = recorded(Record::Fold, &paths);
    assert_eq!(counted(&events), paths.len() as u64);
    assert!(events.len() < paths.len() / 2, "{}", events.len());
    assert_eq!(owed - folded, events.len() as u64, "what is folded is owed no more");
    let health = events.iter().find(|e| e.target.res == "/health" && e.core.n > Some(1)).unwrap();
    assert_eq!(health.body.rsp.as_ref().and_then(|b| b.size), health.core.n.map(|n| 2 * n));
    assert!(events.iter().any(|e| e.core.outcome == Some(Outcome::ServerError) && e.core.n.is_none()));
}

#[test]
fn a_route_that_records_errors_still_counts_every_success() {
    let mut paths = vec!["/bad"; 3];
    paths.extend(["/a", "/b", "/c", "/d"]);
    let (events, owed, folded) = recorded(Record::Errors, &paths);
    assert_eq!(counted(&events), 7);
    assert_eq!(events.iter().filter(|e| e.core.outcome == Some(Outcome::ServerError)).count(), 3);
    assert_eq!(owed - folded, events.len() as u64);
}

#[test]
fn by_default_each_interaction_is_a_record_and_no_body_is_kept() {
    let (events, _, folded) = recorded(Record::All, &["/a", "/a", "/a"]);
    assert_eq!((events.len(), folded), (3, 0));
    assert!(events.iter().all(|e| e.core.n.is_none() && e.core.rec == Some(Rec::Interaction)));
    assert!(events.iter().all(|e| e.body.rsp.as_ref().is_none_or(|b| b.excerpt.is_empty())));
}

#[test]
fn a_captured_body_is_bounded_redacted_and_says_how_it_was_sampled() {
    let (upstream, _) = ok("hello");
    let rig = Rig::with(upstream, |c| c.listeners[0].capture = Some(BodyCapture { bytes: 64, one_in: 2 }));
    let mut client = rig.client();
    let body = format!("{{\"password\":\"hunter22\",\"note\":\"{}\"}}", "x".repeat(200));
    for _ in 0..2 {
        client.send(format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        client.expect(response("hello"));
    }
    let events = rig.memory.wait(2);
    let excerpt = |e: &countersign_event::Event| e.body.req.as_ref().map(|b| b.excerpt.clone()).unwrap();
    assert!(excerpt(&events[0]).is_empty() && !events[0].content.unmapped.contains_key("/capture"));
    let kept = String::from_utf8(excerpt(&events[1])).unwrap();
    assert!(kept.starts_with("{\"password\":\"{redacted}\"") && kept.len() <= 64, "{kept}");
    assert!(format!("{:?}", events[1].content.unmapped).contains("64 bytes of 1 in 2"));
    assert!(events[1].content.redacted.iter().any(|(rule, n)| rule.starts_with("body:") && *n > 0));
    assert!(!format!("{events:?}").contains("hunter22"));
}

#[test]
fn a_body_that_is_no_text_is_not_kept() {
    let (upstream, _) = ok("hello");
    let rig = Rig::with(upstream, |c| c.listeners[0].capture = Some(BodyCapture { bytes: 64, one_in: 1 }));
    let mut client = rig.client();
    client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x01".as_slice());
    client.expect(response("hello"));
    let event = rig.memory.wait(1).remove(0);
    assert!(event.body.req.as_ref().unwrap().excerpt.is_empty());
    assert_eq!(event.body.rsp.as_ref().unwrap().excerpt, b"hello");
}

#[test]
fn the_purpose_of_a_call_says_whose_word_it_is() {
    let (upstream, _) = ok("x");
    let purpose = Purpose { text: "nightly export".into(), header: "x-purpose".into(), ..Purpose::default() };
    let rig = Rig::with(upstream, |c| c.listeners[0].purpose = purpose);
    let mut client = rig.client();
    client.send(get("/a"));
    client.expect(response("x"));
    client.send(
        "GET /b HTTP/1.1\r\nHost: a\r\nX-Purpose: refund ghp_16C7e42F292c6912E7710c838347Ae178B4a\r\n\r\n",
    );
    client.expect(response("x"));
    let events = rig.memory.wait(2);
    let purpose = |i: usize| events[i].core.decision.as_ref().map(|d| d.purpose.clone()).unwrap();
    assert_eq!(purpose(0), "configured: nightly export");
    assert_eq!(purpose(1), "claimed: refund {redacted}");
}
