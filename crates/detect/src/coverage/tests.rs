//! Coverage from the outside: events and witnesses in, blind spots, shadows and classes out.

use super::*;
use crate::{Detector, Finding, Hmac, explain};
use countersign_event::witness::{Connection, Report as Word, to_events};
use countersign_event::{Endpoint, Event, FindingState, Kind, Principal, Rec, Verified};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_790_000_000 * SECOND;

fn hmac() -> Hmac {
    use sha2::{Digest, Sha256};
    Arc::new(|bytes: &[u8]| Sha256::new().chain_update([7; 64]).chain_update(bytes).finalize().into())
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn end(text: &str) -> Option<Endpoint> {
    let address = at(text);
    Some(Endpoint { ip: Some(address.ip()), port: Some(address.port()), ..Endpoint::default() })
}

/// A call over the gateway at `dst` to `up`.
fn call(caller: &str, src: &str, service: &str, op: &str, res: &str) -> Event {
    let mut event = Event::default();
    event.core.rec = Some(Rec::Interaction);
    event.core.kind = Some(Kind::Http);
    event.core.proto = "http/1.1".to_owned();
    event.core.op = op.to_owned();
    event.core.t_obs = START;
    event.who.who = Some(Principal::new(caller, Verified::Bound));
    event.peer.src = end(src);
    event.peer.dst = end("10.0.0.1:8080");
    event.peer.up = end("10.0.0.9:80");
    event.target.svc = service.to_owned();
    event.target.res = res.to_owned();
    event
}

fn word(began: bool, open: &[Connection], ended: &[Connection]) -> Event {
    let word = Word {
        witness: "proc:db-1".to_owned(),
        began,
        open: open.to_vec(),
        ended: ended.to_vec(),
        ..Word::default()
    };
    let mut event = to_events(&word, START).remove(0);
    event.core.agent = "countersign:witness".to_owned();
    event
}

fn bypass(port: u16) -> Connection {
    Connection::tcp(SocketAddr::new("10.0.0.5".parse().unwrap(), port), at("10.0.0.9:80"))
}

fn detector(expected: Expected) -> Coverage {
    Coverage::new(CoverageConfig::default(), Arc::new(expected), hmac())
}

/// Each event at its second, in a batch of its own.
fn feed(detector: &mut Coverage, index: &mut u64, events: &[(u64, Event)]) -> Vec<Finding> {
    let mut out = Vec::new();
    for (second, event) in events {
        out.extend(detector.batch(&[(*index, START + second * SECOND, event)]));
        *index += 1;
    }
    out
}

fn said(findings: &[Finding]) -> Vec<(String, FindingState)> {
    findings.iter().map(|f| (f.rule.id.to_string(), f.state)).collect()
}

#[test]
fn a_client_that_goes_around_the_gateway_is_a_blind_spot_within_a_minute() {
    let mut detector = detector(Expected::default());
    let mut index = 0;
    let through = Connection { through: true, ..Connection::tcp(at("10.0.0.1:40000"), at("10.0.0.9:80")) };
    let findings = feed(
        &mut detector,
        &mut index,
        &[
            (0, call("spiffe://td/web", "10.0.0.5:999", "orders", "GET", "/orders/{id}")),
            (1, word(true, &[through], &[])),
            (10, word(false, &[bypass(4711)], &[])),
            (30, word(false, &[], &[])),
        ],
    );
    assert_eq!(findings, [], "what the gateway carries is covered, and the grace is not over");
    assert_eq!(detector.wake_ns(), Some(START + 40 * SECOND), "it asks for a tick when it is due");
    let found = feed(&mut detector, &mut index, &[(41, call("a", "10.0.0.7:1", "x", "GET", "/"))]);
    assert_eq!(said(&found), [("coverage.blind-spot".to_owned(), FindingState::Open)]);
    let event = found[0].to_event();
    assert_eq!(
        explain(&event).unwrap(),
        "10.0.0.5 (of the same address as spiffe://td/web) has reached 10.0.0.9:80 (orders) over 1 connections since \
         2026-09-21T14:13:30Z and no event tells of them: proc:db-1 saw an unknown number of bytes; wrong if: 10.0.0.5 \
         (of the same address as spiffe://td/web) is a gateway that is not named as one, or the connections have been \
         idle since before the ledger began"
    );
    assert_eq!(found[0].query, "agent:\"countersign:witness\" op:witness.connections");
    let report = detector.report();
    assert_eq!((report.sums.witnessed, report.sums.covered, report.coverage), (2, 1, Some(0.5)));
    assert_eq!(report.blind_spots.len(), 1);
    // A second connection is the same blind spot, and after an hour without one it is over.
    let more = feed(
        &mut detector,
        &mut index,
        &[(50, word(false, &[bypass(4712)], &[])), (90, word(false, &[], &[bypass(4711), bypass(4712)]))],
    );
    assert_eq!(more, []);
    let over = feed(&mut detector, &mut index, &[(90 + 3_600, word(false, &[], &[]))]);
    assert_eq!(said(&over), [("coverage.blind-spot".to_owned(), FindingState::Resolved)]);
    assert_eq!((over[0].id, over[0].revision), (found[0].id, 2));
    assert!(detector.report().blind_spots.is_empty());
}

#[test]
fn an_event_of_the_same_connection_covers_it_before_and_after() {
    let mut direct = call("spiffe://td/web", "10.0.0.5:4711", "orders", "GET", "/orders/{id}");
    direct.peer.dst = end("10.0.0.9:80");
    direct.peer.up = None;
    let mut index = 0;
    let mut early = detector(Expected::default());
    let events = [(0, direct.clone()), (1, word(true, &[bypass(4711)], &[])), (60, word(false, &[], &[]))];
    assert_eq!(feed(&mut early, &mut index, &events), []);
    let mut late = detector(Expected::default());
    let events = [(0, word(true, &[bypass(4711)], &[])), (29, direct.clone()), (60, word(false, &[], &[]))];
    assert_eq!(feed(&mut late, &mut index, &events), []);
    assert_eq!(late.report().coverage, Some(1.0));
    // Later than the grace: told of it first, and then that it is over.
    let mut too_late = detector(Expected::default());
    let events = [(0, word(true, &[bypass(4711)], &[])), (45, direct.clone())];
    let found = feed(&mut too_late, &mut index, &events);
    assert_eq!(
        found.iter().map(|f| f.state).collect::<Vec<_>>(),
        [FindingState::Open, FindingState::Resolved]
    );
    // Another port of the same caller is another connection.
    let mut other = detector(Expected::default());
    let events = [(0, direct.clone()), (1, word(true, &[bypass(4712)], &[])), (60, word(false, &[], &[]))];
    assert_eq!(feed(&mut other, &mut index, &events).len(), 1);
    // A caller's log without ports covers any.
    direct.peer.src.as_mut().unwrap().port = None;
    let mut loose = detector(Expected::default());
    let events = [(0, direct), (1, word(true, &[bypass(4712)], &[])), (60, word(false, &[], &[]))];
    assert_eq!(feed(&mut loose, &mut index, &events), []);
}

#[test]
fn a_connection_that_ended_before_its_grace_is_still_a_blind_spot() {
    let mut detector = detector(Expected::default());
    let events = [
        (0, word(true, &[bypass(1)], &[])),
        (10, word(false, &[], &[bypass(1)])),
        (31, word(false, &[], &[])),
    ];
    let found = feed(&mut detector, &mut 0, &events);
    assert_eq!(said(&found), [("coverage.blind-spot".to_owned(), FindingState::Open)]);
    assert_eq!(detector.report().blind_spots[0].open, 0);
}

#[test]
fn without_a_witness_coverage_is_unknown_and_not_all() {
    let mut detector = detector(Expected::default());
    let mut index = 0;
    feed(&mut detector, &mut index, &[(0, call("a", "10.0.0.5:1", "orders", "GET", "/"))]);
    assert_eq!((detector.report().coverage, detector.report().understood), (None, Some(1.0)));
    // A witness that fell silent sees nothing any more.
    let through = Connection { through: true, ..bypass(1) };
    feed(&mut detector, &mut index, &[(1, word(true, &[through], &[]))]);
    assert_eq!(detector.report().coverage, Some(1.0));
    let mut opaque = call("a", "10.0.0.5:1", "orders", "GET", "/");
    opaque.core.rec = Some(Rec::Opaque);
    feed(&mut detector, &mut index, &[(400, opaque)]);
    let report = detector.report();
    assert_eq!((report.coverage, report.understood, report.witnesses[0].2), (None, Some(0.5), false));
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["coverage"].is_null());
}

#[test]
fn a_flood_of_strangers_is_capped_and_bounded() {
    let mut detector = detector(Expected::default());
    let mut open = Vec::new();
    for n in 0..500u32 {
        let src = SocketAddr::new(std::net::Ipv4Addr::from(0x0a01_0000 + n).into(), 1);
        open.push(Connection::tcp(src, at("10.0.0.9:80")));
    }
    let found = feed(&mut detector, &mut 0, &[(0, word(true, &open, &[])), (31, word(false, &[], &[]))]);
    assert_eq!(found.len(), 500);
    assert_eq!(found.iter().filter(|f| f.notifies()).count(), 20);
}

const LIST: &str = "[[call]]\nfrom = \"web\"\nto = \"orders\"\nport = 80\nprotocol = \"http\"\n\
    operations = [\"GET /orders/{id}\"]\n\n[[call]]\nfrom = \"billing\"\nto = \"orders\"\n";

fn expected(source: &str, service: &str, text: &str) -> Expected {
    Expected::read(&[Document { source, service, text }])
}

#[test]
fn an_edge_that_no_document_expects_is_a_shadow_once() {
    let mut detector = detector(expected("calls.toml", "", LIST));
    let mut web = call("spiffe://td/web", "10.0.0.5:999", "orders", "GET", "/orders/{id}");
    web.who.who.as_mut().unwrap().svc = "web".to_owned();
    let mut wrong = web.clone();
    wrong.core.op = "DELETE".to_owned();
    let other = call("spiffe://td/cron", "10.0.0.6:1", "orders", "GET", "/orders/{id}");
    let elsewhere = call("spiffe://td/cron", "10.0.0.6:1", "users", "GET", "/users");
    let events = [(0, web), (1, wrong.clone()), (2, wrong), (3, other.clone()), (4, other), (5, elsewhere)];
    let found = feed(&mut detector, &mut 0, &events);
    assert_eq!(found.len(), 2);
    let text = explain(&found[1].to_event()).unwrap();
    assert!(
        text.starts_with("spiffe://td/cron called GET /orders/{id} on orders, and none of the 1 documents"),
        "{text}"
    );
    let classes = detector.report().classes;
    let count = |class: Class| classes.get(&class).copied().unwrap_or(0);
    assert_eq!((count(Class::Covered), count(Class::Shadow), count(Class::Undocumented)), (1, 2, 1));
    assert_eq!((count(Class::Unknown), count(Class::Unused)), (1, 0), "nobody looks: not unused, unknown");
}

#[test]
fn what_is_expected_and_not_seen_is_decided_by_a_witness() {
    let mut detector = detector(expected("calls.toml", "", LIST));
    let mut index = 0;
    let web = call("web", "10.0.0.5:999", "orders", "GET", "/orders/{id}");
    feed(&mut detector, &mut index, &[(0, web), (1, word(true, &[], &[]))]);
    let class = |detector: &Coverage| {
        let report = detector.report();
        report.lines.iter().find(|line| line.caller == "billing").unwrap().class
    };
    assert_eq!(class(&detector), Class::Unused);
    feed(&mut detector, &mut index, &[(2, word(false, &[bypass(1)], &[])), (40, word(false, &[], &[]))]);
    assert_eq!(class(&detector), Class::Blind);
}

fn any_stream() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let one = (0..7u8, 0..4u16, 0..40u64, any::<bool>()).prop_map(|(what, port, gap, flag)| {
        let event = match what {
            0 | 1 => word(flag && port == 0, &[bypass(port), bypass(port + 1)], &[]),
            2 => word(false, &[], &[bypass(port)]),
            3 => word(false, &[Connection { user: "u".to_owned(), src_port: None, ..bypass(port) }], &[]),
            4 => call(
                "web",
                &format!("10.0.0.5:{port}"),
                "orders",
                if flag { "GET" } else { "PUT" },
                "/orders/{id}",
            ),
            5 => {
                let mut direct = call("web", &format!("10.0.0.5:{port}"), "orders", "GET", "/");
                direct.peer.dst = end("10.0.0.9:80");
                if flag {
                    direct.peer.src.as_mut().unwrap().port = None;
                }
                direct
            }
            _ => call("x", "10.0.0.8:1", "users", "GET", "/"),
        };
        (gap * if what == 6 { 100 } else { 1 }, event)
    });
    proptest::collection::vec(one, 1..60)
}

proptest! {
    #[test]
    fn any_cut_and_any_restart_give_the_same_findings(
        stream in any_stream(), cuts in proptest::collection::vec(1..9usize, 60), restart: bool,
    ) {
        let mut now = START;
        let all: Vec<(u64, u64, &Event)> = stream.iter().enumerate().map(|(index, (gap, event))| {
            now += gap * SECOND;
            (index as u64, now, event)
        }).collect();
        let expected = expected("calls.toml", "", LIST);
        let mut whole = detector(expected.clone());
        let findings = whole.batch(&all);
        let mut parts = Vec::new();
        let mut current = detector(expected.clone());
        let mut rest = &all[..];
        for cut in cuts {
            let (batch, tail) = rest.split_at(cut.min(rest.len()));
            parts.extend(current.batch(batch));
            rest = tail;
            if restart {
                let mut next = detector(expected.clone());
                prop_assert!(next.load(&current.save()));
                prop_assert_eq!(next.save(), current.save());
                current = next;
            }
        }
        parts.extend(current.batch(rest));
        let short = |f: &[Finding]| -> Vec<_> {
            f.iter().map(|f| (f.rule.id.to_string(), f.revision, f.evidence.first, f.decided_ns, f.values.clone())).collect()
        };
        prop_assert_eq!(short(&findings), short(&parts));
        prop_assert_eq!(&findings, &parts);
        prop_assert_eq!(serde_json::to_string(&whole.report()).unwrap(), serde_json::to_string(&current.report()).unwrap());
        let ids: std::collections::BTreeSet<_> = findings.iter().map(|f| (f.id, f.revision)).collect();
        prop_assert_eq!(ids.len(), findings.len());
    }

    #[test]
    fn what_it_did_not_write_is_not_read(bytes in proptest::collection::vec(any::<u8>(), 1..60)) {
        prop_assert!(!detector(Expected::default()).load(&bytes));
    }
}
