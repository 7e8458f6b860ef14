//! The live tail: every entry once, resumed or not, and what a slow reader misses is said.

use crate::support::{Stream, World, some_calls};
use serde_json::Value;
use std::collections::BTreeSet;

/// Reads NDJSON until `want` events came; gives indices and the last position told.
fn indices(stream: &mut Stream, want: usize) -> Vec<u64> {
    let mut out = Vec::new();
    while out.len() < want {
        let line = stream.json().expect("the stream goes on");
        if let Some(index) = line["index"].as_u64() {
            out.push(index);
        }
    }
    out
}

#[test]
fn a_tail_shows_what_is_recorded_while_it_is_open() {
    let world = World::new();
    let client = world.login();
    let mut stream = client.stream("/api/v1/tail", &[("Accept", "application/x-ndjson")]);
    let first = world.record(some_calls(10));
    assert_eq!(indices(&mut stream, 10), (first..first + 10).collect::<Vec<_>>());
}

#[test]
fn a_cut_tail_resumes_without_gap_or_duplicate() {
    let world = World::new();
    let client = world.login();
    let first = world.record(some_calls(700));
    let mut all = Vec::new();
    let mut after = first.saturating_sub(1);
    for _ in 0..7 {
        let path = format!("/api/v1/tail?after={after}");
        let mut stream = client.stream(&path, &[("Accept", "application/x-ndjson")]);
        let part = indices(&mut stream, 100);
        after = *part.last().unwrap();
        all.extend(part);
    }
    assert_eq!(all, (first..first + 700).collect::<Vec<_>>());
}

#[test]
fn server_sent_events_resume_by_their_last_id() {
    let world = World::new();
    let client = world.login();
    let first = world.record(some_calls(600));
    let mut seen = BTreeSet::new();
    let mut last = first.saturating_sub(1).to_string();
    while seen.len() < 600 {
        // One frame a connection: the id must be exact on each.
        let mut stream = client.stream("/api/v1/tail", &[("Last-Event-ID", &last)]);
        let (mut name, mut id) = (String::new(), String::new());
        let data: Value = loop {
            let line = stream.line().expect("the stream goes on");
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.to_owned();
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ")
                && name == "events"
            {
                break serde_json::from_str(text).unwrap();
            }
        };
        let events = data["events"].as_array().unwrap();
        assert!(events.len() <= 256);
        assert_eq!(
            data["examined"].as_u64().unwrap(),
            events.len() as u64 + data["filtered"].as_u64().unwrap()
        );
        for event in events {
            assert!(seen.insert(event["index"].as_u64().unwrap()), "twice: {event}");
        }
        last = id;
    }
    assert_eq!(seen.into_iter().filter(|index| *index < first + 600).count(), 600);
}

#[test]
fn a_filter_and_the_platform_s_own_reading_are_counted_as_filtered() {
    let world = World::new();
    let client = world.login();
    let first = world.record(some_calls(30));
    let path = format!("/api/v1/tail?q=op:DELETE&after={}", first.saturating_sub(1));
    let mut stream = client.stream(&path, &[("Accept", "application/x-ndjson")]);
    let shown = indices(&mut stream, 10);
    assert!(shown.iter().all(|index| (index - first) % 3 == 2), "{shown:?}");
    let plain = client.stream("/api/v1/tail", &[("Accept", "application/x-ndjson")]);
    drop(plain);
    // The session itself was recorded; a tail that asks for platform records sees it.
    let path = format!("/api/v1/tail?q=rec:platform%20op:read.tail&after={first}");
    let mut asks = client.stream(&path, &[("Accept", "application/x-ndjson")]);
    assert!(!indices(&mut asks, 1).is_empty());
}

#[test]
fn what_a_slow_reader_misses_is_counted_to_the_last_event() {
    let world = World::new();
    let client = world.login();
    let mut stream = client.stream("/api/v1/tail?q=rec:interaction", &[("Accept", "application/x-ndjson")]);
    let (mut first, mut end) = (None, 0);
    for _ in 0..8 {
        // Not read meanwhile: far more than a reader's pending bytes and what sockets hold.
        let ack = world.source.record_wait(some_calls(5_000)).unwrap();
        first.get_or_insert(ack.first);
        end = ack.first + 5_000;
    }
    let (mut shown, mut skipped, mut next) = (0, 0, first.unwrap());
    while next < end {
        let line = stream.json().expect("the stream goes on");
        if let Some(index) = line["index"].as_u64() {
            assert!(index >= next, "{index} after {next}");
            (shown, next) = (shown + 1, index + 1);
        } else if line.get("skip").is_some() {
            skipped += line["skip"]["count"].as_u64().unwrap();
            next = next.max(line["skip"]["to"].as_u64().unwrap());
        }
    }
    assert_eq!(shown + skipped, 40_000);
    assert!(skipped > 0);
}

#[test]
fn tails_of_one_reader_are_bounded() {
    let world = World::new();
    let client = world.login();
    let open: Vec<Stream> = (0..4).map(|_| client.stream("/api/v1/tail", &[])).collect();
    let fifth = client.get("/api/v1/tail");
    assert_eq!((fifth.status, fifth.header("retry-after").is_some()), (429, true));
    drop(open);
}

#[test]
fn closing_the_server_says_bye() {
    let world = World::new();
    let client = world.login();
    let mut stream = client.stream("/api/v1/tail", &[("Accept", "application/x-ndjson")]);
    world.state.close();
    let mut last = Value::Null;
    while let Some(line) = stream.json() {
        last = line;
        if last["end"] == true {
            break;
        }
    }
    assert_eq!(last["reason"], "the server is closing");
    let sums: u64 = ["rows", "filtered", "skipped"].iter().map(|name| last[*name].as_u64().unwrap()).sum();
    assert!(sums <= world.ledger.size());
}
