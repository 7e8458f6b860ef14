//! What records mean, from requests in JSON as an SDK would send them.

use super::*;
use countersign_event::{Class, Event, Kind, Outcome, StatusSpace, Unmapped, Verified};

fn attribute(name: &str, value: &str) -> String {
    let value = match value.parse::<i64>() {
        Ok(number) => format!("{{\"intValue\":\"{number}\"}}"),
        Err(_) => format!("{{\"stringValue\":{}}}", crate::draft::json_text(value)),
    };
    format!("{{\"key\":\"{name}\",\"value\":{value}}}")
}

fn attributes(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>().join(",")
}

fn span_of(kind: u8, rest: &str, pairs: &[(&str, &str)]) -> Draft {
    let text = format!(
        "{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{}]}},\"scopeSpans\":[{{\"scope\":{{\"name\":\"lib\"}},\"spans\":[{{\
         \"traceId\":\"5b8efff798038103d269b633813fc60c\",\"spanId\":\"eee19b7ec3c1b174\",\"name\":\"n\",\"kind\":{kind},\
         \"startTimeUnixNano\":\"1000\",\"endTimeUnixNano\":\"1500\",{rest}\"attributes\":[{}]}}]}}]}}]}}",
        attributes(&[("service.name", "shop"), ("host.name", "h1")]),
        attributes(pairs)
    );
    span_record(&Record::new(text.as_bytes(), 0)).unwrap().0
}

fn span_event(kind: u8, pairs: &[(&str, &str)]) -> Event {
    span_of(kind, "", pairs).event
}

fn log_of(body: &str, pairs: &[(&str, &str)]) -> Event {
    let text = format!(
        "{{\"resourceLogs\":[{{\"resource\":{{\"attributes\":[{}]}},\"scopeLogs\":[{{\"logRecords\":[{{\
         \"timeUnixNano\":\"1000\",\"body\":{{\"stringValue\":{}}},\"attributes\":[{}]}}]}}]}}]}}",
        attributes(&[("service.name", "shop")]),
        crate::draft::json_text(body),
        attributes(pairs)
    );
    log_record(&Record::new(text.as_bytes(), 0)).unwrap().event
}

#[test]
fn a_server_span_is_what_the_callee_saw_in_stable_and_in_older_names() {
    let stable = [
        ("http.request.method", "GET"),
        ("url.path", "/a/7"),
        ("url.query", "x=1"),
        ("url.scheme", "https"),
        ("http.route", "/a/{id}"),
        ("http.response.status_code", "404"),
        ("network.peer.address", "192.0.2.7"),
        ("network.peer.port", "4711"),
        ("server.address", "shop.example"),
        ("server.port", "443"),
        ("user_agent.original", "curl/8"),
        ("network.protocol.version", "1.1"),
    ];
    let older = [
        ("http.method", "GET"),
        ("http.target", "/a/7?x=1"),
        ("http.scheme", "https"),
        ("http.route", "/a/{id}"),
        ("http.status_code", "404"),
        ("net.sock.peer.addr", "192.0.2.7"),
        ("net.sock.peer.port", "4711"),
        ("net.host.name", "shop.example"),
        ("net.host.port", "443"),
        ("http.user_agent", "curl/8"),
        ("http.flavor", "1.1"),
    ];
    for pairs in [&stable[..], &older] {
        let event = span_event(2, pairs);
        let core = &event.core;
        assert_eq!((core.kind, core.op.as_str(), core.class), (Some(Kind::Http), "GET", Some(Class::Read)));
        assert_eq!(
            (core.outcome, core.t_event, core.dur),
            (Some(Outcome::CallerError), Some(1000), Some(500))
        );
        assert_eq!(core.status, Some((StatusSpace::Http, "404".to_owned())));
        assert_eq!(core.proto, "http/1.1");
        assert_eq!((event.target.raw.as_str(), event.target.res.as_str()), ("/a/7", "/a/{id}"));
        assert_eq!(event.target.svc, "shop");
        let (src, dst) = (event.peer.src.as_ref().unwrap(), event.peer.dst.as_ref().unwrap());
        assert_eq!((src.ip.unwrap().to_string().as_str(), src.port), ("192.0.2.7", Some(4711)));
        assert_eq!((dst.host.as_str(), dst.port), ("shop.example", Some(443)));
        assert!(event.who.who.is_none());
        let kept: Vec<_> = event.content.unmapped.keys().map(String::as_str).collect();
        assert_eq!(kept, ["/kind", "/name", "/query", "/resource/attributes/host.name", "/scope/name"]);
    }
}

#[test]
fn of_two_names_the_stable_one_counts_and_the_other_is_kept_where_it_differs() {
    let event = span_event(2, &[("http.method", "POST"), ("http.request.method", "GET"), ("url.path", "/")]);
    assert_eq!(event.core.op, "GET");
    assert!(event.content.unmapped.contains_key("/attributes/http.method"));
    let event = span_event(2, &[("http.method", "GET"), ("http.request.method", "GET"), ("url.path", "/")]);
    assert!(!event.content.unmapped.contains_key("/attributes/http.method"));
}

#[test]
fn a_client_span_says_who_called_and_all_of_it_is_claimed() {
    let event = span_event(
        3,
        &[
            ("http.request.method", "POST"),
            ("url.full", "https://pay.example:8443/charge?k=v"),
            ("server.address", "pay.example"),
            ("http.response.status_code", "503"),
            ("enduser.id", "alice"),
        ],
    );
    let who = event.who.who.as_ref().unwrap();
    assert_eq!((who.svc.as_str(), who.verified), ("shop", Verified::Claimed));
    assert_eq!((event.who.obo[0].name.as_str(), event.who.obo[0].verified), ("alice", Verified::Claimed));
    assert_eq!(event.peer.dst.as_ref().unwrap().port, Some(8443));
    assert_eq!(event.core.outcome, Some(Outcome::ServerError));
}

#[test]
fn calls_of_databases_lose_their_literals_and_keep_their_shape() {
    let event = span_event(
        3,
        &[
            ("db.system.name", "postgresql"),
            ("db.query.text", "DELETE FROM orders WHERE id = 4711 AND name = 'bob'"),
            ("db.namespace", "shop"),
            ("db.user", "app"),
            ("server.address", "db.example"),
            ("db.response.status_code", "42501"),
        ],
    );
    assert_eq!((event.core.kind, event.core.class), (Some(Kind::Sql), Some(Class::Delete)));
    assert_eq!(
        (event.core.op.as_str(), event.target.res.as_str(), event.target.ns.as_str()),
        ("DELETE", "orders", "shop")
    );
    assert!(
        !event.content.stmt.contains("4711") && !event.content.stmt.contains("bob"),
        "{}",
        event.content.stmt
    );
    assert_eq!(event.core.outcome, Some(Outcome::Denied));
    assert_eq!(event.who.also[0].id, "db:app@db.example");
}

#[test]
fn a_grpc_status_counts_and_not_the_http_status_around_it() {
    for code in [("rpc.grpc.status_code", "7"), ("rpc.response.status_code", "PERMISSION_DENIED")] {
        let event = span_event(
            2,
            &[
                ("rpc.system", "grpc"),
                ("rpc.service", "a.B"),
                ("rpc.method", "Get"),
                code,
                ("http.status_code", "200"),
            ],
        );
        assert_eq!((event.core.kind, event.core.outcome), (Some(Kind::Grpc), Some(Outcome::Denied)));
        assert_eq!(event.target.res, "a.B/Get");
        assert_eq!(event.core.status, Some((StatusSpace::Grpc, "7".to_owned())));
    }
}

#[test]
fn a_message_is_one_with_its_destination() {
    let event = span_event(
        4,
        &[
            ("messaging.system", "kafka"),
            ("messaging.destination.name", "orders"),
            ("messaging.operation.type", "send"),
            ("messaging.message.id", "m1"),
            ("messaging.destination.partition.id", "3"),
        ],
    );
    assert_eq!((event.core.kind, event.core.op.as_str()), (Some(Kind::Messaging), "send"));
    assert_eq!((event.target.res.as_str(), event.links.msg.as_str()), ("orders", "m1"));
    assert_eq!(event.who.who.as_ref().unwrap().svc, "shop");
}

#[test]
fn a_log_record_is_an_interaction_only_where_it_says_how_it_ended() {
    let event = log_of("debug", &[("http.request.method", "GET"), ("url.path", "/x")]);
    assert_eq!((event.core.rec, event.core.kind), (Some(Rec::Raw), None));
    assert!(event.who.who.is_none() && event.core.outcome.is_none());
    let event = log_of(
        "",
        &[("http.request.method", "GET"), ("url.path", "/x"), ("http.response.status_code", "200")],
    );
    assert_eq!((event.core.rec, event.core.kind), (Some(Rec::Interaction), Some(Kind::Http)));
    let line = r#"192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] "GET /a HTTP/1.1" 200 3 "-" "curl/8""#;
    let event = log_of(line, &[("log.file.name", "access.log")]);
    assert_eq!((event.core.rec, event.core.op.as_str()), (Some(Rec::Interaction), "GET"));
    assert_eq!(event.core.t_event, Some(1_710_331_713_000_000_000));
    let kept: Vec<_> = event.content.unmapped.keys().map(String::as_str).collect();
    assert_eq!(kept, ["/attributes/log.file.name", "/resource/attributes/service.name"]);
}

#[test]
fn the_draft_of_audit_logging_is_understood() {
    let event = log_of(
        "",
        &[
            ("audit.record.id", "r1"),
            ("audit.action", "UPDATE"),
            ("audit.outcome", "success"),
            ("audit.actor.id", "alice"),
            ("audit.actor.type", "user"),
            ("audit.target.id", "acc-7"),
            ("audit.target.type", "account"),
            ("audit.source.address", "192.0.2.9"),
        ],
    );
    assert_eq!((event.core.op.as_str(), event.core.outcome), ("UPDATE", Some(Outcome::Success)));
    assert_eq!((event.target.id.as_str(), event.target.rtype.as_str()), ("acc-7", "account"));
    assert_eq!(event.who.who.as_ref().unwrap().verified, Verified::Claimed);
    assert_eq!(event.peer.src.as_ref().unwrap().ip.unwrap().to_string(), "192.0.2.9");
}

#[test]
fn ids_of_the_wrong_length_and_zero_are_absent_and_kept_as_they_came() {
    let span = Span { trace: vec![0; 16], id: vec![1, 2], ..Span::default() };
    let scoped = Scoped { items: vec![span], ..Scoped::default() };
    let request = Request { groups: vec![Group { scopes: vec![scoped], ..Group::default() }] };
    let (draft, facts) = span_record(&Record::new(&super::super::to_protobuf(&request), 0)).unwrap();
    assert_eq!((facts.id, draft.event.links.trace, draft.event.links.span), (None, None, None));
    assert_eq!(draft.event.content.unmapped["/spanId"], Unmapped::Bytes(vec![1, 2]));
    assert_eq!(draft.event.content.unmapped["/traceId"], Unmapped::Bytes(vec![0; 16]));
}

#[test]
fn a_span_that_ends_before_it_begins_has_no_length_and_is_partial() {
    let draft = span_of(2, "\"flags\":1,", &[("http.request.method", "GET")]);
    assert_eq!(draft.partial, None);
    let text = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"kind\":2,\"startTimeUnixNano\":\"9\",\"endTimeUnixNano\":\"5\"}]}]}]}";
    let (draft, _) = span_record(&Record::new(text.as_bytes(), 0)).unwrap();
    assert!(draft.partial.is_some() && draft.event.core.dur.is_none());
}

#[test]
fn a_client_address_behind_a_proxy_is_a_claimed_hop() {
    let event = span_event(
        2,
        &[
            ("http.request.method", "GET"),
            ("client.address", "203.0.113.9"),
            ("network.peer.address", "10.0.0.1"),
        ],
    );
    assert_eq!(event.peer.hops, [("203.0.113.9".to_owned(), Verified::Claimed)]);
    assert_eq!(event.peer.src.as_ref().unwrap().ip.unwrap().to_string(), "10.0.0.1");
}
