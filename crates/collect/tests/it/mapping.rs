//! Every event of the samples, and random ones, through OCSF and through the bytes of OTLP: nothing is lost, and
//! every export is valid. What comes back through an input is observed again.

use crate::random::{Manner, Random};
use crate::score::{corpora, samples, trusted};
use countersign_collect::json::Doc;
use countersign_collect::otlp::{self, LogRecord, Request};
use countersign_collect::{Input, formats, observe};
use countersign_event::map::{from_ocsf, to_ocsf};
use countersign_event::{CaptureConf, Event, Frame, Principal, Rec, Unmapped, Verified};
use serde_json::Value;

/// Events of one export request: far below what a receiver takes.
const BATCH: usize = 100;

/// As recorded: with an observer and a number.
fn recorded(mut event: Event, seq: u64) -> Event {
    "input:samples".clone_into(&mut event.core.agent);
    event.core.stream = [7; 16];
    event.core.seq = seq + 1;
    event.core.eid = countersign_event::eid(&event.core.agent, &event.core.stream, event.core.seq);
    event
}

/// Of all samples, parsed as the format that they are.
fn sample_events() -> Vec<Event> {
    let Some(root) = corpora() else { return Vec::new() };
    let (input, keeper) = trusted();
    let events = samples(&root).into_iter().map(|(format, raw)| {
        observe(&raw, format.and_then(formats::by_name), &input, &keeper, 1_717_200_000_000_000_000)
    });
    events.enumerate().map(|(seq, event)| recorded(event, seq as u64)).collect()
}

fn random_events(count: u64) -> Vec<Event> {
    (0..count).map(|seed| Random::new(seed, Manner::Tidy).event()).collect()
}

fn frame(event: &Event) -> Frame {
    event.encode().unwrap()
}

#[test]
fn events_of_all_samples_come_back_from_ocsf_and_are_valid() {
    let events = sample_events();
    let records: Vec<String> = events.iter().map(to_ocsf).collect();
    for (event, record) in events.iter().zip(&records) {
        let back = from_ocsf(record.as_bytes()).unwrap();
        assert_eq!(back.disagreements, [""; 0], "{record}");
        assert!(frame(&back.event) == frame(event), "{record}");
    }
    let answer: Value =
        serde_json::from_str(&countersign_testkit::ocsf::validate(&records).unwrap()).unwrap();
    println!("{answer}");
    assert_eq!(answer["invalid"], 0, "{:#}", answer["faults"]);
    assert_eq!(answer["count"], records.len());
}

/// The events of an export request.
fn back(request: &Request<LogRecord>) -> Vec<Event> {
    let imports = request.items().map(|(group, _, log)| otlp::import(group, log).unwrap());
    imports
        .map(|import| {
            assert_eq!(import.disagreements, [""; 0]);
            import.event
        })
        .collect()
}

/// By event id: an export request has its records by resource.
fn frames(events: &[Event]) -> Vec<Frame> {
    let mut events: Vec<&Event> = events.iter().collect();
    events.sort_by_key(|event| event.core.eid);
    events.into_iter().map(frame).collect()
}

#[test]
fn events_come_back_from_the_bytes_of_otlp_in_both_encodings() {
    let mut events = sample_events();
    events.extend(random_events(10_000));
    for batch in events.chunks(BATCH) {
        let want = frames(batch);
        let request = otlp::export(batch);
        let bytes = otlp::to_protobuf(&request);
        assert!(frames(&back(&otlp::from_protobuf(&bytes).unwrap())) == want, "Protobuf");
        let text = otlp::to_json(&request);
        let doc = Doc::parse_batch(text.as_bytes(), 1 << 20).unwrap();
        assert!(frames(&back(&otlp::from_json(&doc.root()).unwrap())) == want, "JSON");
    }
}

/// An event with the highest level and everything that an importer must not believe.
fn boastful() -> Event {
    let mut event = recorded(Event::default(), 0);
    event.core.t_obs = 1_700_000_000_000_000_001;
    event.core.rec = Some(Rec::Outcome);
    event.core.op = "GET".to_owned();
    event.links.of = Some([1; 16]);
    event.who.who = Some(Principal::new("spiffe://example.org/admin", Verified::Bound));
    event.who.obo = vec![Principal::new("spiffe://example.org/root", Verified::Checked)];
    event
}

fn judge(event: &Event, level: Verified) {
    assert_eq!((event.core.op.as_str(), event.core.agent.as_str(), event.links.of), ("GET", "", None));
    let who = event.who.who.as_ref().unwrap();
    assert_eq!((who.id.as_str(), who.verified), ("spiffe://example.org/admin", level));
    assert!(event.who.obo.iter().all(|one| one.verified == level));
    let capture = event.body.cap.as_ref().unwrap();
    assert_eq!(capture.conf, Some(CaptureConf::Full), "{}", event.content.err);
    assert_eq!(capture.source_id.len(), 32, "the incoming id");
    assert_eq!(
        event.content.unmapped.get("/countersign/verified"),
        Some(&Unmapped::Token("[4,3]".to_owned()))
    );
}

#[test]
fn an_export_that_comes_in_again_is_observed_again_and_capped() {
    let (trusted, keeper) = trusted();
    for (input, level) in [(Input::new("x"), Verified::Claimed), (trusted, Verified::Asserted)] {
        let record = to_ocsf(&boastful());
        judge(&observe(record.as_bytes(), None, &input, &keeper, 5), level);
        let request = otlp::export(&[boastful()]);
        judge(&otlp::map::observe_log(&otlp::to_protobuf(&request), &input, &keeper, 5), level);
        judge(&otlp::map::observe_log(otlp::to_json(&request).as_bytes(), &input, &keeper, 5), level);
    }
}

#[test]
fn an_export_that_contradicts_itself_is_labelled_and_claimed() {
    let (input, keeper) = trusted();
    let record = to_ocsf(&boastful()).replace("spiffe://example.org/admin", "spiffe://example.org/other");
    let twice = record.replacen("spiffe://example.org/other", "spiffe://example.org/admin", 1);
    // The id stands in one place only, so changing it there is no contradiction; the time stands in two.
    assert_eq!(record.matches("example.org/other").count(), 1);
    assert_eq!(twice, to_ocsf(&boastful()));
    let record = record.replace("\"logged_time\":1700000000000", "\"logged_time\":1700000000777");
    let event = observe(record.as_bytes(), None, &input, &keeper, 5);
    assert_eq!(event.core.labels, ["mapping_disagreement"]);
    assert_eq!(event.body.cap.as_ref().unwrap().conf, Some(CaptureConf::Partial));
    assert_eq!(event.who.who.as_ref().unwrap().verified, Verified::Claimed);
}
