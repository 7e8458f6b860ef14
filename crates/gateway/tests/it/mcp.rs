//! MCP over raw sockets: what becomes a record, what is flagged, what is denied.

use crate::support::{Client, Rig, http};
use countersign_event::cbor::Value;
use countersign_event::fields::detail::tool;
use countersign_event::{Class, Decision, Event, Kind, LinkVia, Mode, Outcome, Rec, StatusSpace, Verdict};
use countersign_gateway::Protocol;
use countersign_identity::IdentityConfig;
use countersign_policy::{Policy, PolicySet, Request};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

/// A route that speaks MCP and records.
pub(crate) fn rig(upstream: SocketAddr) -> Rig {
    Rig::with(upstream, |config| config.listeners[0].protocol = Protocol::Mcp)
}

/// A route that denies the tool `rm`, and everything that it does not understand.
pub(crate) fn enforcing(upstream: SocketAddr) -> Rig {
    let change = |config: &mut countersign_gateway::GatewayConfig| {
        config.listeners[0].protocol = Protocol::Mcp;
        config.enforce = true;
    };
    Rig::full(upstream, change, IdentityConfig::default(), Arc::new(NoRm))
}

struct NoRm;

impl Policy for NoRm {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let denied =
            request.protocol == "mcp" && request.operation == "tools/call" && request.resource == "rm";
        Decision {
            verdict: Some(if denied { Verdict::Deny } else { Verdict::Allow }),
            mode: Some(Mode::Enforce),
            policies: vec!["no-rm".to_owned()],
            reason: if denied { "rm is not for machines" } else { "" }.to_owned(),
            ..Decision::default()
        }
    }
}

pub(crate) fn post(extra: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{extra}Content-Length: {length}\r\n\r\n{body}"
    )
}

pub(crate) fn call(id: &str, tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"a":1,"b":"x"}}}}}}"#
    )
}

pub(crate) fn json(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into()
}

fn events(stream: &str) -> Vec<u8> {
    let length = stream.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nMcp-Session-Id: sess-1\r\nContent-Length: {length}\r\n\r\n{stream}")
        .into()
}

fn text(event: &Event, key: u64) -> String {
    match event.content.detail.get(&key) {
        Some(Value::Text(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// Sends `request`, reads `answer` to its end, and returns the `n` records.
fn exchange(rig: &Rig, request: &str, answer: &[u8], n: usize) -> Vec<Event> {
    let mut client = rig.client();
    client.send(request);
    client.expect(answer);
    rig.memory.wait(n)
}

#[test]
fn a_tool_call_is_one_record_with_its_tool_keys_and_outcome() {
    let answer = json(r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":false}}"#);
    let sent = answer.clone();
    let (upstream, _) = http(move |_| sent.clone());
    let rig = rig(upstream);
    let request =
        post("MCP-Protocol-Version: 2025-06-18\r\nMcp-Session-Id: s3cret-session\r\n", &call("7", "add"));
    let event = exchange(&rig, &request, &answer, 1).remove(0);
    assert_eq!((event.core.kind, event.core.rec), (Some(Kind::Tool), Some(Rec::Interaction)));
    assert_eq!((event.core.proto.as_str(), event.core.op.as_str()), ("mcp/2025-06-18", "tools/call"));
    assert_eq!((event.core.class, event.core.outcome), (Some(Class::Execute), Some(Outcome::Success)));
    assert_eq!((event.target.res.as_str(), event.target.rtype.as_str()), ("add", "tool"));
    assert_eq!(text(&event, tool::NAME), "add");
    let keys = Value::Array(vec![Value::Text("a".into()), Value::Text("b".into())]);
    assert_eq!(event.content.detail.get(&tool::ARGUMENT_KEYS), Some(&keys));
    assert_eq!(event.content.detail.get(&tool::IS_ERROR), Some(&Value::Bool(false)));
    let mut digest = ring::hmac::Context::with_key(&ring::hmac::Key::new(
        ring::hmac::HMAC_SHA256,
        &crate::support::DIGEST_KEY,
    ));
    digest.update(br#"{"a":1,"b":"x"}"#);
    let digest = Value::Bytes(digest.sign().as_ref().to_vec());
    assert_eq!(event.content.detail.get(&tool::ARGUMENT_DIGEST), Some(&digest));
    assert_eq!(event.links.msg, "7");
    assert!(event.links.sess.starts_with("hmac:") && !format!("{event:?}").contains("s3cret-session"));
    let body = event.body.req.as_ref().unwrap();
    assert_eq!((body.size, body.messages), (Some(call("7", "add").len() as u64), Some(1)));
    assert!(body.digest.is_some() && event.body.rsp.as_ref().unwrap().digest.is_some());
    assert_eq!(event.core.decision.unwrap().mode, Some(Mode::Observe));
}

#[test]
fn outcomes_are_those_of_the_message_and_not_of_http() {
    for (body, outcome, status) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"secret-text"}}"#,
            Outcome::CallerError,
            "-32602",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}"#, Outcome::ServerError, "-32603"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#, Outcome::ServerError, "200"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}"#, Outcome::Partial, "200"),
    ] {
        let answer = json(body);
        let sent = answer.clone();
        let (upstream, _) = http(move |_| sent.clone());
        let rig = rig(upstream);
        let event = exchange(&rig, &post("", &call("1", "add")), &answer, 1).remove(0);
        assert_eq!(event.core.outcome, Some(outcome), "{body}");
        let space = if status == "200" { StatusSpace::Http } else { StatusSpace::Jsonrpc };
        assert_eq!(event.core.status, Some((space, status.to_owned())));
        assert!(!format!("{event:?}").contains("secret-text"));
    }
}

#[test]
fn an_answer_that_does_not_come_is_unknown_and_says_so() {
    let answer = json(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    let sent = answer.clone();
    let (upstream, _) = http(move |_| sent.clone());
    let rig = rig(upstream);
    let events = exchange(&rig, &post("", &call("1", "add")), &answer, 2);
    assert_eq!((events[0].core.op.as_str(), events[0].links.msg.as_str()), ("response", "2"));
    assert_eq!((events[1].core.outcome, events[1].core.op.as_str()), (None, "tools/call"));
    assert!(events[1].content.err.contains("without an answer"));
}

#[test]
fn each_member_of_a_batch_is_a_record() {
    let body = format!(
        r#"[{},{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":5}}}},{}]"#,
        call("1", "add"),
        call("\"b\"", "sub")
    );
    let answer =
        json(r#"[{"jsonrpc":"2.0","id":"b","error":{"code":-32601}},{"jsonrpc":"2.0","id":1,"result":{}}]"#);
    let sent = answer.clone();
    let (upstream, _) = http(move |_| sent.clone());
    let rig = rig(upstream);
    let events = exchange(&rig, &post("", &body), &answer, 3);
    let told: Vec<_> = events
        .iter()
        .map(|e| (e.core.op.as_str(), e.target.res.as_str(), e.core.outcome, e.links.msg.as_str()))
        .collect();
    assert_eq!(told[0], ("tools/call", "add", Some(Outcome::Success), "1"));
    assert_eq!((told[1].0, told[1].2, told[1].3), ("notifications/cancelled", Some(Outcome::Success), "5"));
    assert_eq!(told[2], ("tools/call", "sub", Some(Outcome::CallerError), "\"b\""));
    assert!(events.iter().all(|e| e.body.req.as_ref().unwrap().messages == Some(3)));
    assert_ne!(events[0].content.detail.get(&tool::ARGUMENT_DIGEST), None);
    rig_counts(&rig, 3);
}

/// What was recorded was owed, message by message.
fn rig_counts(rig: &Rig, n: u64) {
    assert_eq!(rig.memory.owed.load(std::sync::atomic::Ordering::Relaxed), n);
}

#[test]
fn a_stream_gives_the_answer_and_a_record_for_each_message_of_the_server() {
    let stream = "event: message\nid: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\ndata: \"params\":{\"progressToken\":\"p\",\"progress\":1}}\n\n: ping\r\n\r\nid: 2\r\ndata:\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"method\":\"sampling/createMessage\",\"params\":{}}\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"isError\":false}}\n\n";
    let answer = events(stream);
    let sent = answer.clone();
    let (upstream, _) = http(move |_| sent.clone());
    let rig = rig(upstream);
    let found = exchange(&rig, &post("", &call("1", "add")), &answer, 3);
    assert_eq!(
        (found[0].core.op.as_str(), found[0].core.outcome),
        ("notifications/progress", Some(Outcome::Success))
    );
    assert_eq!((found[1].core.op.as_str(), found[1].core.outcome), ("sampling/createMessage", None));
    assert_eq!(found[1].core.labels, ["from-server"]);
    assert_eq!(found[1].who.who.as_ref().unwrap().id, "addr:127.0.0.1");
    assert_eq!((found[2].target.res.as_str(), found[2].core.outcome), ("add", Some(Outcome::Success)));
    assert!(found.iter().all(|e| e.links.sess == found[0].links.sess && !e.links.sess.is_empty()));
    assert_eq!(found[2].body.rsp.as_ref().unwrap().size, Some(stream.len() as u64));
    rig_counts(&rig, 3);
}

#[test]
fn an_exchange_without_a_message_stays_an_http_record() {
    let (upstream, _) = http(|_| json("[]"));
    let rig = rig(upstream);
    let mut client = rig.client();
    client.send("GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n");
    client.expect(json("[]"));
    client.send(post("", "not json at all"));
    client.expect(json("[]"));
    let events = rig.memory.wait(2);
    assert!(events.iter().all(|e| e.core.kind == Some(Kind::Http)));
    assert!(events[1].content.err.contains("json-syntax") || events[1].content.err.contains("jsonrpc-shape"));
}

#[test]
fn an_answer_on_another_exchange_is_joined_to_its_request() {
    // HTTP with SSE, revision 2024-11-05: the server names an endpoint, answers come on the stream.
    let (send, receive) = std::sync::mpsc::sync_channel::<()>(2);
    let receive = std::sync::Mutex::new(receive);
    let upstream = crate::support::server(move |mut stream| {
        let mut head = vec![0; 4096];
        let n = stream.read(&mut head).unwrap();
        if !head[..n].starts_with(b"GET") {
            stream.write_all(ACCEPTED).unwrap();
            let _ = stream.read(&mut head);
            return;
        }
        stream.write_all(STREAM_HEAD).unwrap();
        for text in [ENDPOINT, ANSWER_3] {
            receive.lock().unwrap().recv().unwrap();
            stream.write_all(chunk(text).as_bytes()).unwrap();
        }
        let _ = stream.read(&mut head);
    });
    let rig = rig(upstream);
    let mut stream = rig.client();
    stream.send("GET /sse HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.expect(STREAM_HEAD);
    send.send(()).unwrap();
    stream.expect(chunk(ENDPOINT));
    let mut client = rig.client();
    client.send(post("", &call("3", "add")).replace("/mcp", "/messages/?session_id=hunter2-session"));
    client.expect(ACCEPTED);
    let intent = rig.memory.wait(1).remove(0);
    assert_eq!((intent.core.rec, intent.core.outcome), (Some(Rec::Intent), None));
    send.send(()).unwrap();
    stream.expect(chunk(ANSWER_3));
    let outcome = rig.memory.wait(2).remove(1);
    assert_eq!((outcome.core.rec, outcome.core.outcome), (Some(Rec::Outcome), Some(Outcome::Success)));
    for event in [&intent, &outcome] {
        assert_eq!((event.core.op.as_str(), event.target.res.as_str()), ("tools/call", "add"));
        assert_eq!((event.links.msg.as_str(), &event.links.sess), ("3", &intent.links.sess));
        assert!(!format!("{event:?}").contains("hunter2-session"));
        assert!(event.content.detail.contains_key(&tool::ARGUMENT_DIGEST));
    }
    assert!(!intent.links.sess.is_empty());
}

const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const ENDPOINT: &str = "event: endpoint\ndata: /messages/?session_id=hunter2-session\n\n";
const ANSWER_3: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{\"isError\":false}}\n\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[test]
fn trace_context_comes_from_meta_where_headers_have_none() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"_meta":{{"traceparent":"{trace}"}}}}}}"#
    );
    let (upstream, _) = http(|_| json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    let rig = rig(upstream);
    let event =
        exchange(&rig, &post("", &body), &json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), 1).remove(0);
    assert_eq!((event.links.via, event.links.trace.unwrap()[0]), (Some(LinkVia::Meta), 0x0a));
}

#[test]
fn headers_that_disagree_with_the_body_are_a_security_event() {
    let stateless = "MCP-Protocol-Version: 2026-07-28\r\n";
    for (headers, why) in [
        ("Mcp-Method: tools/list\r\n", "Mcp-Method disagrees"),
        ("Mcp-Method: tools/call\r\nMcp-Name: sub\r\n", "Mcp-Name disagrees"),
        ("Mcp-Method: tools/call\r\nMcp-Name: =?base64?c3Vi?=\r\n", "Mcp-Name disagrees"),
        ("Mcp-Method: tools/call\r\nmcp-method: tools/call\r\nMcp-Name: add\r\n", "twice"),
        ("Mcp-Name: add\r\n", "Mcp-Method is missing"),
        ("Mcp-Method: tools/call\r\n", "Mcp-Name is missing"),
    ] {
        let request = post(&format!("{stateless}{headers}"), &call("1", "add"));
        let answer = json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        let (upstream, seen) = http(|_| json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
        let watched = rig(upstream);
        let event = exchange(&watched, &request, &answer, 1).remove(0);
        assert_eq!(event.content.detail.get(&tool::MISMATCH), Some(&Value::Bool(true)), "{headers}");
        assert_eq!(event.core.labels, ["mcp-header-mismatch"]);
        assert!(event.content.err.contains(why), "{}", event.content.err);
        assert_eq!(
            (event.core.op.as_str(), event.target.res.as_str()),
            ("tools/call", "add"),
            "the body's word counts"
        );
        assert_eq!(seen.all().len(), 1);
        // Where calls can be denied, it does not pass.
        let rig = enforcing(upstream);
        let mut client = rig.client();
        client.send(&request);
        let said = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(
            said.starts_with("HTTP/1.1 400") && said.contains("\"id\":1") && said.contains("-32020"),
            "{said}"
        );
        assert_eq!(seen.all().len(), 1, "the server saw nothing of it");
        assert_eq!(rig.memory.wait(1)[0].core.outcome, Some(Outcome::CallerError));
    }
    let good = format!("{stateless}Mcp-Method: tools/call\r\nMcp-Name: add\r\n");
    let (upstream, _) = http(|_| json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    let rig = rig(upstream);
    let answer = json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    let event = exchange(&rig, &post(&good, &call("1", "add")), &answer, 1).remove(0);
    assert_eq!((event.core.labels.len(), event.core.proto.as_str()), (0, "mcp/2026-07-28"));
    assert_eq!(event.content.detail.get(&tool::MISMATCH), None);
}

#[test]
fn a_denied_call_is_answered_with_its_id_and_never_reaches_the_server() {
    let (upstream, seen) = http(|_| json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    let rig = enforcing(upstream);
    let mut allowed = rig.client();
    allowed.send(post("", &call("1", "add")));
    allowed.expect(json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    let before = seen.all().concat();
    assert_eq!(before, post("", &call("1", "add")).into_bytes(), "what is permitted passes unchanged");
    for (id, body) in [
        ("7", call("7", "rm")),
        ("\"x\\\"y\"", call("\"x\\\"y\"", "rm")),
        ("2", format!("[{},{}]", call("1", "add"), call("2", "rm"))),
    ] {
        let mut client = rig.client();
        // Byte by byte: nothing may slip through before the verdict.
        let request = post("", &body);
        let (first, rest) = request.split_at(request.len() - 20);
        client.send(first);
        std::thread::sleep(std::time::Duration::from_millis(20));
        client.send(rest);
        let said = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(said.starts_with("HTTP/1.1 403 Forbidden\r\nContent-Type: application/json"), "{said}");
        assert!(said.contains(&format!("\"id\":{id}")) && said.contains("-32003"), "{said}");
    }
    assert_eq!(seen.all().concat(), before, "the server saw nothing more");
    let events = rig.memory.wait(5);
    for event in &events[1..] {
        let decision = event.core.decision.as_ref().unwrap();
        assert_eq!(event.core.outcome, Some(Outcome::Denied), "{event:#?}");
        assert_eq!(
            (decision.verdict, decision.reason.as_str()),
            (Some(Verdict::Deny), "rm is not for machines")
        );
        assert_eq!(decision.policies, ["no-rm"]);
        assert_eq!(event.core.kind, Some(Kind::Tool));
    }
}

#[test]
fn what_has_no_sure_meaning_does_not_pass_where_calls_can_be_denied() {
    let (upstream, seen) = http(|_| json("{}"));
    let huge =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#, "z".repeat(1 << 20));
    for (body, status, code) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","name":"rm"}}"#,
            "400",
            "-32600",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, "400", "-32600"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping""#, "400", "-32700"),
        ("hello", "400", "-32600"),
        (&huge, "403", "-32003"),
    ] {
        let rig = enforcing(upstream);
        let mut client = rig.client();
        client.send(post("", body));
        let said = String::from_utf8_lossy(&client.rest()).into_owned();
        let short = &body[..body.len().min(80)];
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")) && said.contains(code), "{short}: {said}");
        let event = rig.memory.wait(1).remove(0);
        assert_eq!(event.core.decision.unwrap().verdict, Some(Verdict::Deny), "{short}");
    }
    assert!(seen.all().concat().is_empty());
}

#[test]
fn a_client_that_waits_for_100_continue_is_invited_and_a_cut_body_never_passes() {
    let (upstream, seen) = http(|_| json("{}"));
    let rig = enforcing(upstream);
    let mut client = rig.client();
    let request = post("Expect: 100-continue\r\n", &call("1", "rm"));
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    client.send(format!("{head}\r\n\r\n"));
    client.expect("HTTP/1.1 100 Continue\r\n\r\n");
    client.send(body);
    assert!(client.rest().starts_with(b"HTTP/1.1 403"));
    let mut cut = rig.client();
    let request = post("", &call("1", "add"));
    cut.send(&request[..request.len() - 5]);
    cut.end();
    cut.rest();
    rig.memory.wait(2);
    assert!(seen.all().concat().is_empty());
}

#[test]
fn requests_behind_a_held_one_wait_for_it() {
    let (upstream, seen) = http(|_| json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    let rig = enforcing(upstream);
    let mut client = rig.client();
    let answer = json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    client.send(post("", &call("1", "add")) + &post("", &call("1", "sub")));
    client.expect([&answer[..], &answer].concat());
    let mut denied = rig.client();
    denied.send(post("", &call("1", "rm")) + &post("", &call("1", "add")));
    assert!(denied.rest().starts_with(b"HTTP/1.1 403"));
    assert_eq!(seen.all().len(), 1);
    rig.memory.wait(3);
}

const MARKS: [&str; 9] = [
    "hunter2-argument-value",
    "hunter2-result-value",
    "hunter2-header-value",
    "hunter2-meta-value",
    "hunter2-uri-user",
    "hunter2-uri-query",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "hunter2-error-text",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
];

#[test]
fn no_secret_of_any_position_is_in_any_event() {
    let [argument, result, header, meta, user, query, token, error, jwt] = MARKS;
    let requests = [
        format!(
            r#"{{"jsonrpc":"2.0","id":"{token}","method":"tools/call","params":{{"name":"{jwt}","arguments":{{"password":"{argument}","{token}":1,"deep":{{"k":["{argument}"]}}}},"_meta":{{"token":"{meta}","progressToken":"{meta}","tracestate":"a={meta}","traceparent":"{meta}"}}}}}}"#
        ),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"https://u:{user}@host/a/{token}?key={query}&{query}#{query}"}}}}"#
        ),
        format!(r#"{{"jsonrpc":"2.0","id":2,"method":"x/{token}","params":{{"text":"{argument}"}}}}"#),
        format!(
            r#"{{"jsonrpc":"2.0","id":3,"method":"initialize","params":{{"clientInfo":{{"name":"{token}","version":"{jwt}"}}}}}}"#
        ),
        format!(r#"{{"jsonrpc":"2.0","id":4,"method":"{argument}", broken "#),
    ];
    let stream = format!(
        "data: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"contents\":[{{\"text\":\"{result}\"}}]}}}}\n\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{{\"data\":\"{result}\"}}}}\n\ndata: {{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{{\"code\":1,\"message\":\"{error}\",\"data\":\"{error}\"}}}}\n\ndata: {error}\n\n"
    );
    let answer = events(&stream);
    for enforce in [false, true] {
        let sent = answer.clone();
        let (upstream, _) = http(move |_| sent.clone());
        let rig = if enforce { enforcing(upstream) } else { rig(upstream) };
        for request in &requests {
            let extra = format!(
                "Authorization: Bearer {header}\r\nMcp-Session-Id: {header}\r\nMcp-Name: {header}\r\nMcp-Param-Key: {header}\r\nLast-Event-ID: {header}\r\n"
            );
            let mut client = rig.client();
            client.send(post(&extra, request));
            client.end();
            client.rest();
        }
        crate::support::until("every request has its record", || rig.memory.len() >= requests.len());
        let n = rig.memory.len();
        for (i, mut event) in rig.memory.wait(n).into_iter().enumerate() {
            event.core.agent = "a".into();
            event.core.seq = i as u64 + 1;
            let frame = event.encode().unwrap().to_bytes();
            let text = String::from_utf8_lossy(&frame).into_owned() + &format!("{event:?}");
            for mark in MARKS {
                assert!(!text.contains(mark), "{mark} in {event:#?}");
            }
        }
    }
}

#[test]
fn a_route_of_plain_http_reads_no_body() {
    let (upstream, _) = http(|_| json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    let rig = Rig::full(upstream, |_| {}, IdentityConfig::default(), PolicySet::allow_all());
    let mut client = Client::new(rig.address);
    client.send(post("", &call("1", "add")));
    client.expect(json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    assert_eq!(rig.memory.wait(1)[0].core.kind, Some(Kind::Http));
}

#[test]
fn any_bytes_of_a_body_are_recorded_within_bounds() {
    let long = "x".repeat(9_000);
    let keys: String = (0..200).map(|i| format!("\"{i}{long}\":1,")).collect();
    let bodies = [
        call("1", "add"),
        format!("[{},{}]", call("1", &long), call(&format!("\"{long}\""), "add")),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{long}","params":{{"arguments":{{{keys}"z":1}}}}}}"#),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"a://{long}/{long}?{long}&{long}"}}}}"#
        ),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"clientInfo":{{"name":"{long}","version":"\\u0000{long}"}}}}}}"#
        ),
        format!("[{}]", vec![call("1", "add"); 70].join(",")),
        "{{{{".to_owned(),
    ];
    let stream =
        "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\nevent: endpoint\ndata: /x?y\n\ndata: [1]\n\n";
    for body in bodies {
        for answer in [events(stream), json(&body)] {
            let request = post("Mcp-Session-Id: a\r\nMcp-Method: b\r\n", &body).into_bytes();
            let whole = [&request[..], b"\xff", &answer].concat();
            countersign_gateway::fuzz::record_mcp(&whole);
            for at in (0..whole.len()).step_by(whole.len() / 40 + 1) {
                let mut changed = whole.clone();
                changed[at] = changed[at].wrapping_add(1);
                countersign_gateway::fuzz::record_mcp(&changed);
                countersign_gateway::fuzz::record_mcp(&whole[..at]);
            }
        }
    }
}
