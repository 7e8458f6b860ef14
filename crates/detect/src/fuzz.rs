//! Fuzz bodies: arbitrary bytes in, a panic only where an invariant is broken. `fuzz/` wraps them for
//! `cargo fuzz`; stable tests run them from seeds.

use crate::Hmac;
use crate::sigma::{CASE_EVENTS_MAX, Options, RuleSet, RuleText, cases, try_rules};
use countersign_event::{Event, Kind, Rec};
use std::sync::Arc;

/// Any text as a rule file: each document runs or is refused, and what runs gives the same matches in one batch
/// and event by event.
///
/// # Panics
/// When it does not: that is a bug.
pub fn sigma_rules(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let options = options();
    let compile = || RuleSet::compile(&[RuleText { source: "fuzz.yml", text }], &options);
    let (whole, single) = (compile(), compile());
    for refused in &whole.refused {
        assert!(!refused.what.is_empty(), "a refusal says why");
    }
    let events: Vec<Event> = ["", "sel", "SELECT * FROM a -- x", "10.0.0.1", "5"].map(sample).into();
    let stream: Vec<(u64, u64, &Event)> =
        events.iter().enumerate().map(|(at, event)| (at as u64, at as u64 * 1_000_000_000, event)).collect();
    let (mut whole, mut single) = (whole.rules, single.rules);
    let at_once = whole.evaluate(&stream);
    let one_by_one: Vec<_> = stream.chunks(1).flat_map(|event| single.evaluate(event)).collect();
    assert_eq!(at_once, one_by_one, "the cut into batches changes nothing");
}

/// Any text as the test events of a rule: each line is a case within its bounds or says why not, and trying a rule on
/// them gives each case one result.
///
/// # Panics
/// When it does not: that is a bug.
pub fn sigma_cases(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = cases(text);
    assert!(read.len() <= text.lines().count() + 1, "a line is at most one case");
    for case in &read {
        match case {
            Ok(case) => assert!((1..=CASE_EVENTS_MAX).contains(&case.events.len())),
            Err(bad) => assert!(!bad.what.is_empty(), "what is no case says why"),
        }
    }
    let rule = "title: t\nid: r\ndetection: {sel: {op: GET}, condition: sel}\n";
    let tried = try_rules(&RuleText { source: "fuzz.yml", text: rule }, text, &options());
    assert_eq!(tried.cases.len(), read.iter().filter(|case| case.is_ok()).count());
    assert_eq!(tried.passed(), !tried.to_string().contains("FAILED"));
}

fn options() -> Options {
    let hmac: Hmac = Arc::new(|bytes: &[u8]| {
        let mut out = [0; 32];
        bytes.iter().enumerate().for_each(|(at, byte)| {
            if let Some(slot) = out.get_mut(at % 32) {
                *slot ^= byte;
            }
        });
        out
    });
    Options { placeholders: Default::default(), hmac }
}

fn sample(text: &str) -> Event {
    let mut event = Event::default();
    (event.core.rec, event.core.kind) = (Some(Rec::Interaction), Some(Kind::Sql));
    event.core.op = text.to_owned();
    event.content.stmt = text.to_owned();
    event.content.unmapped.insert("/a".to_owned(), countersign_event::Unmapped::Token(format!("{text:?}")));
    event
}

/// The first byte chooses what a text says that it is, the rest is the text: each document is read or refused with a
/// reason, and whatever came of it judges any edge.
///
/// # Panics
/// When a refusal has no reason: that is a bug.
pub fn coverage_document(bytes: &[u8]) {
    use crate::coverage::{Document, Edge, Expected, rpcs};
    let Some((choice, text)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let source = ["a.yml", "a.proto", "a.csv", "a.toml", "a.json"][usize::from(*choice) % 5];
    let expected = Expected::read(&[Document { source, service: "orders", text: &text }]);
    for refused in &expected.refused {
        assert!(!refused.why.is_empty(), "a refusal says why");
    }
    for operation in ["GET /a/{id}", "SELECT public.a", "a.B/C", ""] {
        let edge = Edge {
            caller: "web".to_owned(),
            id: "spiffe://td/ns/a/sa/b".to_owned(),
            callee: "orders".to_owned(),
            port: 80,
            proto: "http".to_owned(),
            operation: operation.to_owned(),
        };
        let _ = expected.fit(&edge);
    }
    let _ = rpcs(&text);
}

/// Any text as an OpenSLO document: read or refused with a reason, and what was read judges a call and shows it.
///
/// # Panics
/// When a refusal has no reason, or a promise is out of its bounds: that is a bug.
pub fn slo_document(bytes: &[u8]) {
    use crate::coverage::Document;
    let text = String::from_utf8_lossy(bytes);
    let slos = crate::slo::Slos::read(&[Document { source: "slo.yml", service: "", text: &text }]);
    for refused in &slos.refused {
        assert!(!refused.why.is_empty(), "a refusal says why");
    }
    for slo in &slos.slos {
        assert!(slo.target > 0.0 && slo.target < 1.0 && !slo.name.is_empty());
        let _ = (slo.judge(&sample("GET")), slo.query());
    }
}

/// The first byte chooses OpenAPI or protobuf, the rest is the text: read or refused with a reason, and what was read
/// judges calls.
///
/// # Panics
/// When a refusal has no reason: that is a bug.
pub fn contract_document(bytes: &[u8]) {
    use crate::Detector;
    use crate::contract::{Contract, ContractConfig, Contracts};
    use crate::coverage::Document;
    let Some((choice, text)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let source = if choice % 2 == 0 { "a.yml" } else { "a.proto" };
    let contracts = Contracts::read(&[Document { source, service: "orders", text: &text }]);
    for refused in &contracts.refused {
        assert!(!refused.why.is_empty(), "a refusal says why");
    }
    let mut detector =
        Contract::new(ContractConfig::default(), Arc::new(contracts), Arc::new(|_: &[u8]| [0; 32]));
    for (kind, res) in [(Kind::Http, "/a/{id}"), (Kind::Grpc, "/a.B/C")] {
        let mut event = sample("GET");
        event.core.kind = Some(kind);
        event.core.status = Some((countersign_event::StatusSpace::Http, "418".to_owned()));
        "orders".clone_into(&mut event.target.svc);
        res.clone_into(&mut event.target.res);
        detector.batch(&[(0, 0, &event)]);
    }
}
