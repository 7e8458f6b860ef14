//! One call is one event, whatever the order; edges are exact.

use super::*;
use crate::otlp::map::{SpanFacts, observe_span};
use crate::otlp::{self, Group, Pair, Request, Resource, Scoped, Span};
use crate::{Input, Keeper};
use proptest::prelude::*;
use std::collections::BTreeMap;

const SECOND: u64 = 1_000_000_000;

fn record_of(service: &str, span: Span) -> SpanRecord {
    let keeper = Keeper::new(countersign_redact::Scanner::default(), &[7; 32]);
    let attributes =
        vec![Pair { key: "service.name".into(), value: Some(otlp::Any::Text(service.to_owned())) }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scopes = vec![Scoped { items: vec![span], ..Scoped::default() }];
    let request = Request { groups: vec![Group { resource, scopes, ..Group::default() }] };
    observe_span(&otlp::to_protobuf(&request), &Input::new("t"), &keeper, SECOND).unwrap()
}

fn span(id: u8, parent: u8, kind: i32, times: (u64, u64)) -> Span {
    Span {
        trace: vec![1; 16],
        id: vec![id; 8],
        parent: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        kind,
        start: times.0,
        end: times.1,
        name: format!("s{id}"),
        ..Span::default()
    }
}

/// Caller, callee and how often, of the events that count.
fn edges(events: &[Event]) -> BTreeMap<(String, String), u64> {
    let mut out = BTreeMap::new();
    for event in events.iter().filter(|event| event.core.rec == Some(Rec::Interaction)) {
        let caller = event.who.who.as_ref().map(|who| who.svc.clone()).unwrap_or_default();
        if !caller.is_empty() && !event.target.svc.is_empty() {
            *out.entry((caller, event.target.svc.clone())).or_default() += 1;
        }
    }
    out
}

fn pair() -> (SpanRecord, SpanRecord) {
    (record_of("web", span(1, 0, 3, (100, 200))), record_of("shop", span(2, 1, 2, (120, 180))))
}

#[test]
fn two_halves_are_one_event_of_the_servers_view_in_either_order() {
    let (client, server) = pair();
    for halves in [[client.clone(), server.clone()], [server, client]] {
        let (mut spans, mut out) = (Spans::new("input:t", WINDOW), Vec::new());
        for half in halves {
            assert!(out.is_empty());
            spans.offer(half, 0, &mut out);
        }
        spans.drain(&mut out);
        let [event] = out.as_slice() else { panic!("{out:?}") };
        assert_eq!((event.core.dur, event.core.lat, event.core.skew), (Some(60), Some([20, 0, 100]), None));
        assert_eq!(event.who.who.as_ref().unwrap().svc, "web");
        assert_eq!(event.target.svc, "shop");
        let capture = event.body.cap.as_ref().unwrap();
        assert_eq!(capture.merged, Some(2));
        assert_eq!(event.content.unmapped["/caller/kind"], Unmapped::Token("3".into()));
        assert!(event.content.unmapped.contains_key("/caller/digest"));
    }
}

#[test]
fn halves_that_stay_alone_are_told_after_the_window_and_a_late_twin_does_not_count() {
    let (client, server) = pair();
    for (first, second) in [(client.clone(), server.clone()), (server, client)] {
        let (mut spans, mut out) = (Spans::new("input:t", WINDOW), Vec::new());
        spans.offer(first, 0, &mut out);
        spans.expire(WINDOW, &mut out);
        assert!(out.is_empty(), "not before the window has passed");
        spans.expire(WINDOW + 1, &mut out);
        assert_eq!(out.len(), 1);
        let first_id = out[0].body.cap.as_ref().unwrap().source_id.clone();
        spans.offer(second, WINDOW + 2, &mut out);
        assert_eq!(out.len(), 2);
        assert_eq!((out[0].core.rec, out[1].core.rec), (Some(Rec::Interaction), Some(Rec::Progress)));
        assert_eq!(out[1].links.of, Some(import_eid("input:t", first_id.as_bytes())));
        assert_eq!(spans.pending(), 0);
    }
}

#[test]
fn clocks_that_contradict_each_other_are_a_skew_and_never_a_negative_length() {
    let (client, _) = pair();
    let server = record_of("shop", span(2, 1, 2, (50, 110)));
    let (mut spans, mut out) = (Spans::new("input:t", WINDOW), Vec::new());
    spans.offer(client, 0, &mut out);
    spans.offer(server, 0, &mut out);
    assert_eq!((out[0].core.dur, out[0].core.lat), (Some(60), Some([0, 0, 100])));
    assert_eq!(out[0].core.skew, Some((-70, 20)));
}

#[test]
fn the_same_span_again_is_a_duplicate_and_the_same_id_with_other_content_is_not() {
    let (mut spans, mut out) = (Spans::new("input:t", WINDOW), Vec::new());
    let root = record_of("shop", span(2, 0, 2, (50, 110)));
    spans.offer(root.clone(), 0, &mut out);
    spans.offer(root, 0, &mut out);
    assert_eq!((out.len(), spans.counts().duplicates), (1, 1));
    spans.offer(record_of("shop", span(2, 0, 2, (50, 111))), 0, &mut out);
    assert_eq!(out.len(), 2);
    assert_eq!(out[1].core.labels, [SPAN_ID_REUSED]);
    assert!(out[1].body.cap.as_ref().unwrap().source_id.is_empty());
}

#[test]
fn a_consumer_is_an_event_of_its_own_with_the_producer_as_cause() {
    let (mut spans, mut out) = (Spans::new("input:t", WINDOW), Vec::new());
    spans.offer(record_of("a", span(1, 0, 4, (1, 2))), 0, &mut out);
    spans.offer(record_of("b", span(2, 1, 5, (3, 4))), 0, &mut out);
    assert_eq!(out.len(), 2);
    let producer = out[0].body.cap.as_ref().unwrap().source_id.clone();
    assert_eq!(out[1].links.causal[0].0, import_eid("input:t", producer.as_bytes()));
}

#[test]
fn too_many_that_wait_push_the_oldest_out_as_partial() {
    let (mut spans, mut out) = (Spans::new("input:t", WINDOW).with_pending(2), Vec::new());
    for id in 1..=3 {
        spans.offer(record_of("a", span(id, 0, 3, (1, 2))), 0, &mut out);
    }
    assert_eq!((out.len(), spans.pending()), (1, 2));
    assert_eq!(out[0].body.cap.as_ref().unwrap().conf, Some(CaptureConf::Partial));
    assert_eq!(out[0].links.span, Some([1; 8]));
}

/// A forest of calls: each node is called by an earlier one or by nobody.
fn forest() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, 0..4_u8), 1..24).prop_map(|nodes| {
        nodes
            .iter()
            .enumerate()
            .map(|(at, (parent, service, shape))| (parent.index(at + 1), *service, *shape))
            .collect()
    })
}

/// The spans of a forest, and the edges that it has. `shape` 0: client and server; 1: server alone below the caller's
/// internal span; 2: client alone; 3: the same service, internal.
fn spans_of(forest: &[(usize, u8, u8)]) -> (Vec<SpanRecord>, BTreeMap<(String, String), u64>) {
    let (mut out, mut edges) = (Vec::new(), BTreeMap::new());
    let mut ids: Vec<(u8, String)> = Vec::new();
    for (at, (parent, service, shape)) in forest.iter().enumerate() {
        let own = at as u8 * 2 + 2;
        let caller = ids.get(*parent).filter(|_| *parent < at).cloned();
        let (caller_id, caller_service) = caller.unwrap_or((0, String::new()));
        let service = format!("s{service}");
        let call = own + 1;
        match (shape, caller_id) {
            (_, 0) => out.push(record_of(&service, span(own, 0, 2, (10, 20)))),
            (0, from) => {
                out.push(record_of(&caller_service, span(call, from, 3, (10, 20))));
                out.push(record_of(&service, span(own, call, 2, (12, 18))));
                *edges.entry((caller_service, service.clone())).or_default() += 1;
            }
            (1, from) => {
                out.push(record_of(&caller_service, span(call, from, 1, (10, 20))));
                out.push(record_of(&service, span(own, call, 2, (12, 18))));
                if service != caller_service {
                    *edges.entry((caller_service, service.clone())).or_default() += 1;
                }
            }
            (2, from) => {
                out.push(record_of(&caller_service, span(call, from, 3, (10, 20))));
                out.push(record_of(&caller_service, span(own, from, 1, (10, 20))));
            }
            (_, from) => out.push(record_of(&caller_service, span(own, from, 1, (10, 20)))),
        }
        ids.push((
            own,
            if *shape > 1 && caller_id != 0 { out.last().unwrap().facts.service.clone() } else { service },
        ));
    }
    (out, edges)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn edges_are_exact_whatever_the_order_the_batches_and_the_repeats(
        forest in forest(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 64),
        batches in prop::collection::vec(1..7_usize, 64),
        twice in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let (mut records, want) = spans_of(&forest);
        let single = records.len() as u64;
        for again in &twice {
            records.push(records[again.index(single as usize)].clone());
        }
        for (at, place) in order.iter().enumerate().take(records.len()) {
            let to = place.index(records.len());
            records.swap(at, to);
        }
        let (mut spans, mut out) = (Spans::new("input:t", WINDOW), Vec::new());
        let (offered, mut repeated) = (records.len() as u64, 0);
        let mut records = records.into_iter().peekable();
        for (now, size) in batches.iter().enumerate() {
            let mut batch = Spans::new("input:t", WINDOW);
            for record in records.by_ref().take(*size) {
                if spans.has(&record) {
                    repeated += 1;
                } else {
                    batch.offer(record, now as u64, &mut out);
                }
            }
            batch.settle_into(&mut spans, now as u64, &mut out);
        }
        prop_assert!(records.peek().is_none());
        spans.drain(&mut out);
        prop_assert_eq!(edges(&out), want);
        let merged: u64 = out.iter().map(|event| event.body.cap.as_ref().unwrap().merged.unwrap_or(1)).sum();
        repeated += spans.counts().duplicates;
        prop_assert_eq!(merged + spans.counts().internal + repeated, offered);
        prop_assert_eq!(repeated, twice.len() as u64);
        prop_assert!(out.iter().all(|event| event.core.rec == Some(Rec::Interaction)));
    }
}

#[test]
fn facts_of_a_span_without_ids_make_an_event_of_its_own() {
    let (mut spans, mut out) = (Spans::new("input:t", WINDOW), Vec::new());
    let record = record_of("a", Span { kind: 3, name: "x".into(), ..Span::default() });
    assert_eq!(record.facts, SpanFacts { id: None, parent: None, ..record.facts.clone() });
    spans.offer(record, 0, &mut out);
    assert_eq!(out.len(), 1);
}
