//! Calls against documents and against what was learned.

use super::*;
use crate::coverage::Document;
use crate::explain;
use countersign_event::{FindingState, Payload, Principal, Severity, Verified};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const START: u64 = 1_790_000_000 * SECOND;

const OPENAPI: &str = "
openapi: 3.0.3
info: {title: orders, version: 1.0.0}
servers: [{url: /v1}]
paths:
  /orders/{id}:
    get:
      responses:
        200: {description: ok, content: {application/json; charset=utf-8: {}}}
        404: {$ref: '#/components/responses/Problem'}
        5XX: {description: broken}
  /orders/mine:
    get: {responses: {204: {description: none}}}
  /orders:
    post:
      requestBody: {content: {application/json: {}, text/*: {}}}
      responses: {201: {description: made}, default: {description: else}}
components:
  responses: {Problem: {description: none, content: {application/problem+json: {}}}}
";

fn hmac() -> Hmac {
    use sha2::{Digest, Sha256};
    Arc::new(|bytes: &[u8]| Sha256::new().chain_update([7; 64]).chain_update(bytes).finalize().into())
}

fn call(op: &str, res: &str, status: &str, answer: &str) -> Event {
    let mut event = Event::default();
    event.core.rec = Some(Rec::Interaction);
    event.core.kind = Some(Kind::Http);
    event.core.op = op.to_owned();
    event.core.status = Some((StatusSpace::Http, status.to_owned()));
    let mut who = Principal::new("spiffe://td/web", Verified::Bound);
    who.svc = "web".to_owned();
    event.who.who = Some(who);
    event.target.svc = "orders".to_owned();
    event.target.res = res.to_owned();
    event.body.rsp = Some(Payload { content_type: answer.to_owned(), ..Payload::default() });
    event
}

fn read(source: &str, text: &str) -> Contracts {
    let contracts = Contracts::read(&[Document { source, service: "", text }]);
    assert_eq!(contracts.refused, []);
    contracts
}

fn detector(contracts: Contracts) -> Contract {
    let config = ContractConfig { learn_ns: 10 * SECOND, learn_events: 5, ..ContractConfig::default() };
    Contract::new(config, Arc::new(contracts), hmac())
}

fn feed(detector: &mut Contract, first: u64, events: &[Event]) -> Vec<Finding> {
    let mut out = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let at = first + at as u64;
        out.extend(detector.batch(&[(at, START + at * SECOND, event)]));
    }
    out
}

#[test]
fn a_document_that_is_kept_says_nothing() {
    let mut detector = detector(read("o.yml", OPENAPI));
    let mut post = call("POST", "/v1/orders", "302", "");
    post.body.req =
        Some(Payload { content_type: "Text/CSV; header=present".to_owned(), ..Payload::default() });
    let events = [
        call("GET", "/v1/orders/{id}", "200", "application/json"),
        call("GET", "/v1/orders/{id}", "404", "application/problem+json"),
        call("GET", "/v1/orders/{id}", "503", "text/html"),
        call("GET", "/v1/orders/mine", "204", ""),
        post,
    ];
    assert_eq!(feed(&mut detector, 0, &events), []);
}

#[test]
fn each_breach_is_told_once_and_names_both_sides() {
    let mut detector = detector(read("o.yml", OPENAPI));
    let teapot = call("GET", "/v1/orders/{id}", "418", "");
    let found = feed(&mut detector, 0, &[teapot.clone(), teapot]);
    assert_eq!((found.len(), found[0].severity, found[0].state), (1, Severity::Low, FindingState::Open));
    assert_eq!(
        explain(&found[0].to_event()).unwrap(),
        "orders answered web on GET /v1/orders/{id} with status 418, which o.yml does not have (it has 200, 404, 5XX); \
         wrong if: the document is older than the deployment, or something between them answered"
    );
    assert_eq!(found[0].query, r#"who:"spiffe://td/web" service:"orders" op:"GET" status:"418""#);
    let mut post = call("POST", "/v1/orders", "201", "");
    post.body.req = Some(Payload { content_type: "application/xml".to_owned(), ..Payload::default() });
    let html = call("GET", "/v1/orders/{id}", "200", "text/html");
    let mine = call("GET", "/v1/orders/mine", "200", "application/json");
    let found = feed(&mut detector, 10, &[html, post, mine]);
    let said: Vec<_> = found.iter().map(|f| explain(&f.to_event()).unwrap()).collect();
    assert!(said[0].starts_with("orders answered web on GET /v1/orders/{id} with content type text/html, where o.yml has application/json"));
    assert!(said[1].starts_with("web sent orders content type application/xml on POST /v1/orders, where o.yml has application/json, text/*"));
    assert!(said[2].starts_with("orders answered web on GET /v1/orders/mine with status 200"), "{said:?}");
}

#[test]
fn a_breach_that_stays_away_for_a_day_is_over_and_then_new() {
    let mut detector = detector(read("o.yml", OPENAPI));
    let bad = call("GET", "/v1/orders/{id}", "418", "");
    let good = call("GET", "/v1/orders/{id}", "200", "application/json");
    let first = feed(&mut detector, 0, std::slice::from_ref(&bad)).remove(0);
    let over = detector.batch(&[(9, START + DAY + 2 * 3_600 * SECOND, &good)]);
    assert_eq!(
        (over.len(), over[0].state, over[0].id, over[0].revision),
        (1, FindingState::Resolved, first.id, 2)
    );
    let again = detector.batch(&[(10, START + DAY + 3 * 3_600 * SECOND, &bad)]);
    assert_eq!((again.len(), again[0].state, again[0].id == first.id), (1, FindingState::Open, false));
}

#[test]
fn a_method_must_be_promised_and_a_promised_one_must_exist() {
    let proto = "package shop; service Orders { rpc Get(A) returns (B); }";
    let mut detector = detector(read("o.proto", proto));
    let rpc = |res: &str, code: &str| {
        let mut event = call("Get", res, code, "application/grpc");
        event.core.kind = Some(Kind::Grpc);
        event.core.status = Some((StatusSpace::Grpc, code.to_owned()));
        event
    };
    let events = [
        rpc("/shop.Orders/Get", "0"),
        rpc("/shop.Orders/Drop", "0"),
        rpc("/shop.Orders/Get", "12"),
        rpc("/shop.Orders/Get", "77"),
    ];
    let found = feed(&mut detector, 0, &events);
    let said: Vec<_> = found.iter().map(|f| explain(&f.to_event()).unwrap()).collect();
    assert_eq!(said.len(), 3);
    assert!(
        said[0].starts_with(
            "web called Drop of shop.Orders/Drop on orders, and o.proto has no such method (it has Get)"
        ),
        "{said:?}"
    );
    assert!(said[1].contains("with status 12") && said[2].contains("with status 77"));
}

#[test]
fn what_was_learned_is_held_to_only_after_learning() {
    let mut detector = detector(Contracts::default());
    let ok = call("GET", "/orders/{id}", "200", "application/json");
    let missing = call("GET", "/orders/{id}", "404", "application/json");
    let html = call("GET", "/orders/{id}", "200", "text/html");
    let mut stream = vec![ok; 20];
    stream[3] = missing.clone();
    assert_eq!(feed(&mut detector, 0, &stream), []);
    assert_eq!(feed(&mut detector, 20, &[missing]), [], "seen while learning");
    let found = feed(&mut detector, 21, &[html]);
    assert_eq!((found.len(), found[0].confidence, found[0].severity), (1, 60, Severity::Medium));
    let said = explain(&found[0].to_event()).unwrap();
    assert!(
        said.contains("text/html, which it never did while it was learned (it was application/json)"),
        "{said}"
    );
    // Another caller of the same operation learns for itself.
    let mut other = call("GET", "/orders/{id}", "500", "text/plain");
    other.who.who.as_mut().unwrap().svc = "batch".to_owned();
    assert_eq!(feed(&mut detector, 22, &[other]), []);
}

#[test]
fn the_allowance_of_a_day_holds() {
    let mut detector = detector(read("o.yml", OPENAPI));
    let events: Vec<Event> = (400..460)
        .filter(|n| *n != 404)
        .map(|n| call("GET", "/v1/orders/{id}", &n.to_string(), ""))
        .collect();
    let found = feed(&mut detector, 0, &events);
    assert_eq!((found.len(), found.iter().filter(|f| f.notifies()).count()), (59, 20));
}

#[test]
fn what_is_no_contract_is_refused() {
    let refused = |source: &str, text: &str| {
        Contracts::read(&[Document { source, service: "", text }]).refused[0].to_string()
    };
    assert!(refused("a.yml", "kind: Service\n").contains("neither OpenAPI 3.x"));
    assert!(refused("a.yml", "openapi: 3.0.0\npaths: {}\n").contains("no name of the service"));
    assert!(refused("a.proto", "service {").contains("expected the name of a service"));
}

#[test]
fn seeds_cut_anywhere_are_read_or_refused() {
    for end in (0..OPENAPI.len()).step_by(5) {
        crate::fuzz::contract_document(&[b"\0", &OPENAPI.as_bytes()[..end]].concat());
    }
}

proptest! {
    #[test]
    fn any_cut_and_any_restart_give_the_same_findings(
        calls in proptest::collection::vec((0..4u8, 0..4u8, 0..3u8, 1..40_000u64), 1..60), cut in 1..20usize, restart: bool,
    ) {
        let mut now = START;
        let events: Vec<(u64, Event)> = calls.iter().map(|(path, status, kind, gap)| {
            now += gap * SECOND;
            let res = ["/v1/orders/{id}", "/v1/orders", "/other", "/v1/orders/mine"][usize::from(*path)];
            let status = ["200", "404", "418", "500"][usize::from(*status)];
            let answer = ["application/json", "text/html", ""][usize::from(*kind)];
            (now, call("GET", res, status, answer))
        }).collect();
        let all: Vec<(u64, u64, &Event)> =
            events.iter().enumerate().map(|(index, (ns, event))| (index as u64, *ns, event)).collect();
        let contracts = read("o.yml", OPENAPI);
        let mut whole = detector(contracts.clone());
        let findings = whole.batch(&all);
        let mut current = detector(contracts.clone());
        let mut parts = Vec::new();
        for batch in all.chunks(cut) {
            parts.extend(current.batch(batch));
            if restart {
                let mut next = detector(contracts.clone());
                prop_assert!(next.load(&current.save()));
                current = next;
            }
        }
        prop_assert_eq!(&findings, &parts);
        prop_assert_eq!(whole.save(), current.save());
        let ids: std::collections::BTreeSet<_> = findings.iter().map(|f| (f.id, f.revision)).collect();
        prop_assert_eq!(ids.len(), findings.len());
    }

    #[test]
    fn what_it_did_not_write_is_not_read(bytes in proptest::collection::vec(any::<u8>(), 1..60)) {
        prop_assert!(!detector(Contracts::default()).load(&bytes));
    }
}
