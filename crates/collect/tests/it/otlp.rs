//! OpenTelemetry's own examples and those of other projects: decoded without loss, encoded again equal.

use crate::score::corpora;
use countersign_collect::json::Doc;
use countersign_collect::otlp::map::observe_span;
use countersign_collect::otlp::{self, Item, LogRecord, Signal, Span};
use countersign_collect::spans::{Spans, WINDOW};
use countersign_event::Rec;
use serde_json::Value;
use std::io::Read;
use std::path::Path;

fn samples(dir: &Path, out: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            samples(&path, out);
        } else if path.extension().is_some_and(|end| end == "json") {
            let text = std::fs::read_to_string(&path).unwrap();
            if ["resourceLogs", "resource_logs", "resourceSpans", "resource_spans"]
                .iter()
                .any(|n| text.contains(n))
            {
                out.push((path.display().to_string(), text));
            }
        }
    }
}

/// Names in lowerCamelCase, ids in lower case: the two spellings that mean the same.
fn canonical(value: Value) -> Value {
    match value {
        Value::Array(list) => Value::Array(list.into_iter().map(canonical).collect()),
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(name, value)| {
                    let mut words = name.split('_');
                    let mut camel = words.next().unwrap().to_owned();
                    for word in words {
                        camel.push_str(&word[..1].to_uppercase());
                        camel.push_str(&word[1..]);
                    }
                    let value = match value {
                        Value::String(id) if camel.ends_with("Id") => Value::String(id.to_lowercase()),
                        value => canonical(value),
                    };
                    (camel, value)
                })
                .collect(),
        ),
        value => value,
    }
}

fn holds<T: Item>(name: &str, text: &str, signal: Signal) {
    let doc = Doc::parse_batch(text.as_bytes(), 1 << 20).unwrap();
    let request = otlp::from_json::<T>(&doc.root()).unwrap();
    let mut unread = Vec::new();
    doc.unread(&mut |pointer, token| unread.push((pointer.to_owned(), token.to_owned())));
    // Ids in base64 are no ids in OTLP/JSON: they stay what they are.
    assert!(unread.iter().all(|(pointer, _)| pointer.ends_with("_id")), "{name}: {unread:?}");
    if unread.is_empty() {
        let again: Value = serde_json::from_str(&otlp::to_json(&request)).unwrap();
        assert_eq!(again, canonical(serde_json::from_str(text).unwrap()), "{name}");
    }
    assert_eq!(otlp::from_protobuf::<T>(&otlp::to_protobuf(&request)).unwrap(), request, "{name}");
    let records = otlp::split(signal, text.trim_start().as_bytes()).unwrap();
    assert_eq!(records.len(), request.items().count(), "{name}");
}

#[test]
fn requests_of_other_projects_decode_without_loss_and_encode_equal() {
    let Some(root) = corpora() else { return };
    let mut all = Vec::new();
    for dir in ["otlp", "fluent-bit", "jaeger"] {
        samples(&root.join(dir), &mut all);
    }
    assert!(all.len() > 30, "{}", all.len());
    for (name, text) in &all {
        if text.contains("esourceLogs") || text.contains("esource_logs") {
            holds::<LogRecord>(name, text, Signal::Logs);
        } else {
            holds::<Span>(name, text, Signal::Traces);
        }
    }
}

fn edges_in(file: &Path) -> std::collections::BTreeMap<(String, String), u64> {
    let text: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let edge = |edge: &Value| {
        let name = |at: usize| edge[at].as_str().unwrap().to_owned();
        ((name(0), name(1)), edge[2].as_u64().unwrap())
    };
    text["edges"].as_array().unwrap().iter().map(edge).collect()
}

/// Spans of a real trace in an order that is not theirs.
fn shuffled(records: &mut [Vec<u8>], mut seed: u64) {
    for at in (1..records.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        records.swap(at, (seed >> 33) as usize % (at + 1));
    }
}

#[test]
fn real_traces_have_exactly_the_edges_that_were_counted_in_any_order() {
    let Some(root) = corpora() else { return };
    let (input, keeper) = crate::score::trusted();
    for name in ["construct_data_2022-08-23_17_00_trace", "construct_data_2023-01-29_08_50_trace"] {
        let packed = std::fs::File::open(root.join(format!("traces/{name}.otlp.json.gz"))).unwrap();
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut text).unwrap();
        let mut records = otlp::split(Signal::Traces, &text).unwrap();
        let want = edges_in(&root.join(format!("traces/{name}.edges.json")));
        for seed in [None, Some(7)] {
            if let Some(seed) = seed {
                shuffled(&mut records, seed);
            }
            let (mut spans, mut events) = (Spans::new("input:t", WINDOW), Vec::new());
            for (now, batch) in records.chunks(512).enumerate() {
                let mut part = Spans::new("input:t", WINDOW);
                for record in batch {
                    part.offer(observe_span(record, &input, &keeper, 1).unwrap(), now as u64, &mut events);
                }
                part.settle_into(&mut spans, now as u64, &mut events);
            }
            spans.drain(&mut events);
            let mut edges = std::collections::BTreeMap::new();
            for event in &events {
                assert_eq!(event.core.rec, Some(Rec::Interaction));
                if let Some(who) = &event.who.who {
                    *edges.entry((who.svc.clone(), event.target.svc.clone())).or_default() += 1;
                }
            }
            assert_eq!(edges, want, "{name}");
            assert_eq!(events.len() as u64 + spans.counts().internal, records.len() as u64);
        }
    }
}
