//! Denied by Cedar policies, protocol by protocol: the client is told in the protocol's own words, the server
//! never sees the call, and the record names policy and reason.

use crate::h2_support::{connect, fetch, ok, run};
use crate::support::{Memory, Rig, http};
use countersign_event::{Event, Kind, Mode, Outcome, StatusSpace, Verdict};
use countersign_gateway::stdio::{StdioOptions, StdioParts, run_decided};
use countersign_gateway::{BodyKey, GatewayConfig, Protocol};
use countersign_ledger::SystemClock;
use countersign_policy::{Modes, PolicyConfig, PolicySet, Sources};
use std::io::{Cursor, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

const POLICIES: &str = r#"
@id("everything") permit(principal, action, resource);
@id("no-live") @reason("live data is not for this caller")
forbid(principal, action, resource) when { resource.name like "/live*" };
@id("no-drops") @reason("orders are never dropped")
forbid(principal, action == Action::"grpc:Drop", resource);
@id("no-rm") @reason("rm is not for machines")
forbid(principal, action == Action::"mcp:tools/call", resource) when { resource.name == "rm" };
"#;

fn policies() -> Arc<PolicySet> {
    let sources = Sources { policies: vec![("p.cedar".to_owned(), POLICIES.to_owned())], entities: None };
    let modes = Modes { default: Mode::Enforce, ..Modes::default() };
    Arc::new(PolicySet::from_sources(&sources, PolicyConfig { modes, ..PolicyConfig::default() }).unwrap())
}

fn rig(upstream: SocketAddr, protocol: Protocol) -> Rig {
    let change = |config: &mut GatewayConfig| config.listeners[0].protocol = protocol;
    Rig::full(upstream, change, Default::default(), policies())
}

fn named(event: &Event, policy: &str, reason: &str) {
    let decision = event.core.decision.as_ref().unwrap();
    assert_eq!((decision.verdict, decision.mode), (Some(Verdict::Deny), Some(Mode::Enforce)));
    assert_eq!((decision.policies.as_slice(), decision.reason.as_str()), (&[policy.to_owned()][..], reason));
    assert_eq!(event.core.outcome, Some(Outcome::Denied), "{event:#?}");
}

#[test]
fn a_denied_websocket_never_opens_and_a_denied_event_stream_never_begins() {
    let websocket = "GET /live/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let events = "GET /live/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";
    for request in [websocket, events] {
        let (upstream, seen) = http(|_| crate::support::response("secret").into_bytes());
        let rig = rig(upstream, Protocol::Http1);
        let mut client = rig.client();
        // Frames sent before the answer are no way around it.
        client.send([request.as_bytes(), b"\x81\x85\x00\x00\x00\x00hello"].concat());
        let said = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(said.starts_with("HTTP/1.1 403 ") && said.contains("application/problem+json"), "{said}");
        assert!(!said.contains("101") && !said.contains("secret"), "{said}");
        assert!(seen.all().concat().is_empty(), "the server saw nothing");
        let event = rig.memory.wait(1).remove(0);
        named(&event, "no-live", "live data is not for this caller");
        assert_eq!(event.core.status, Some((StatusSpace::Http, "403".to_owned())));
    }
}

#[test]
fn a_denied_grpc_call_ends_in_trailers_alone() {
    let (upstream, log) = ok("x");
    let rig = rig(upstream, Protocol::Http2);
    run(async {
        let mut send = connect(rig.address).await;
        let call = |method: &str| {
            ::http::Request::post(format!("http://a/shop.Orders/{method}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())
                .unwrap()
        };
        let (parts, body) = fetch(&mut send, call("Drop")).await.unwrap();
        assert_eq!((parts.status.as_u16(), body.len()), (200, 0));
        assert_eq!(parts.headers["grpc-status"], "7");
        fetch(&mut send, call("Get")).await.unwrap();
    });
    assert_eq!(*log.lock().unwrap(), ["POST /shop.Orders/Get"], "the server saw the permitted call alone");
    let events = rig.memory.wait(2);
    let denied = events.iter().find(|e| e.core.op == "Drop").unwrap();
    assert_eq!(denied.core.kind, Some(Kind::Grpc));
    named(denied, "no-drops", "orders are never dropped");
}

/// The verdict on MCP needs the body: another version of HTTP must be no way around it.
#[test]
fn http2_is_no_way_around_the_verdict_on_a_tool() {
    let (upstream, log) = ok("{}");
    let rig = rig(upstream, Protocol::Mcp);
    run(async {
        let mut send = connect(rig.address).await;
        for (tool, status) in [("rm", 403), ("add", 200)] {
            let post = http::Request::post("http://a/mcp").body(()).unwrap();
            std::future::poll_fn(|cx| send.poll_ready(cx)).await.unwrap();
            let (response, mut to) = send.send_request(post, false).unwrap();
            to.send_data(call("1", tool).into(), true).unwrap();
            assert_eq!(response.await.unwrap().status(), status);
        }
    });
    assert_eq!(*log.lock().unwrap(), ["POST /mcp"], "the server saw the permitted call alone");
    let events = rig.memory.wait(2);
    assert!(events.iter().any(|e| e.core.outcome == Some(Outcome::Denied) && e.target.res == "rm"));
}

/// Messages of a WebSocket are read when they have passed: no way around the verdict either.
#[test]
fn an_mcp_route_that_enforces_switches_to_nothing() {
    let (upstream, seen) = http(|_| crate::support::response("{}").into_bytes());
    let rig = rig(upstream, Protocol::Mcp);
    let body = call("1", "add");
    let requests = [
        "GET /mcp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mcp\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
            .to_owned(),
        format!(
            "POST /mcp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned(),
    ];
    for (n, request) in requests.iter().enumerate() {
        let mut client = rig.client();
        client.send(request);
        assert_eq!(client.last_status(), "403", "{request}");
        assert!(seen.all().concat().is_empty(), "{request}");
        let event = rig.memory.wait(n + 1).remove(n);
        let decision = event.core.decision.as_ref().unwrap();
        assert_eq!((decision.verdict, event.core.outcome), (Some(Verdict::Deny), Some(Outcome::Denied)));
        assert_eq!(decision.reason, "mcp-upgrade-undecided", "{request}");
    }
}

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a server that writes down each line and answers each with its own id, `answered` times.
fn wrapped(input: &[u8]) -> (String, String, Vec<Event>) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut server = Command::new("/bin/sh");
    let script = "while IFS= read -r line; do printf '%s\\n' \"$line\" >> \"$LOG\"; \
         printf '{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\\n'; done";
    server.args(["-c", script]).env("LOG", &log);
    let memory = Arc::new(Memory::default());
    let key = BodyKey::Raw(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[1; 32]));
    let parts = StdioParts { recorder: memory.clone(), key, clock: Arc::new(SystemClock::default()) };
    let options = StdioOptions { route: "wrap".to_owned(), service: "tools".to_owned(), config: [1; 8] };
    let said = Said::default();
    let status =
        run_decided(&options, parts, policies(), server, Cursor::new(input.to_vec()), said.clone()).unwrap();
    assert!(status.success());
    let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
    (said, std::fs::read_to_string(&log).unwrap_or_default(), memory.all())
}

fn call(id: &str, tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"a":1}}}}}}"#
    )
}

#[test]
fn a_denied_call_over_standard_input_is_answered_with_its_id_and_never_reaches_the_server() {
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let lines = [call("1", "add"), notification.to_owned(), call("\"x\"", "rm")];
    let (said, log, events) = wrapped((lines.join("\n") + "\n").as_bytes());
    assert_eq!(
        log,
        format!("{}\n{notification}\n", lines[0]),
        "what is permitted passes unchanged, nothing else"
    );
    let refused: Vec<&str> = said.lines().filter(|l| l.contains("error")).collect();
    assert_eq!(refused.len(), 1, "{said}");
    assert!(refused[0].contains("\"id\":\"x\"") && refused[0].contains("-32003"), "{said}");
    let denied: Vec<&Event> = events.iter().filter(|e| e.target.res == "rm").collect();
    assert_eq!(denied.len(), 1);
    named(denied[0], "no-rm", "rm is not for machines");
    assert_eq!(denied[0].core.status, Some((StatusSpace::Jsonrpc, "-32003".to_owned())));
    let allowed = events.iter().find(|e| e.target.res == "add").unwrap();
    let decision = allowed.core.decision.as_ref().unwrap();
    assert_eq!((decision.verdict, allowed.core.outcome), (Some(Verdict::Allow), Some(Outcome::Success)));
}

#[test]
fn what_has_no_sure_meaning_does_not_pass_standard_input_where_calls_can_be_denied() {
    let batch = format!("[{},{}]", call("1", "add"), call("2", "rm"));
    let twice = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","name":"rm"}}"#;
    let huge = format!(r#"{{"jsonrpc":"2.0","id":4,"method":"ping","x":"{}"}}"#, "z".repeat(1 << 20));
    let hidden = format!("{}\r{}", call("5", "add"), call("6", "rm"));
    for (what, line, code) in [
        ("a batch with a denied call", batch.as_str(), "-32003"),
        ("two readings", twice, "-32600"),
        ("broken", "{\"jsonrpc\":", "-32700"),
        ("too long", &huge, "-32003"),
        ("two messages on one line", &hidden, "-32700"),
    ] {
        let (said, log, events) = wrapped(format!("{line}\n{}\n", call("1", "add")).as_bytes());
        assert_eq!(log, call("1", "add") + "\n", "{what}: the server saw the next line alone");
        let refusals: Vec<&str> = said.lines().filter(|l| l.contains("error")).collect();
        assert!(refusals.len() == 1 && refusals[0].contains(code), "{what}: {said:.300}");
        let denied = events.iter().filter(|e| {
            e.core.decision.as_ref().is_some_and(|d| d.verdict == Some(Verdict::Deny) && !d.reason.is_empty())
        });
        assert_eq!(denied.count(), if line.starts_with('[') { 2 } else { 1 }, "{what}");
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_denied_line_gets_nothing_through() {
    let (_, log, events) = wrapped(call("1", "rm").as_bytes());
    assert_eq!(log, "");
    named(events.iter().find(|e| e.target.res == "rm").unwrap(), "no-rm", "rm is not for machines");
}

#[test]
fn bytes_of_an_unknown_protocol_do_not_pass_where_the_policy_enforces() {
    let (upstream, seen) = http(|_| crate::support::response("secret").into_bytes());
    let rig = rig(upstream, Protocol::Auto);
    let mut client = rig.client();
    client.send(b"\x00\x01*1\r\n$4\r\nPING\r\n");
    let said = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(said.starts_with("HTTP/1.1 403 "), "{said}");
    assert!(seen.all().concat().is_empty(), "the server saw nothing");
    let event = rig.memory.wait(1).remove(0);
    assert_eq!(event.core.outcome, Some(Outcome::Denied), "{event:#?}");
    assert!(event.content.err.contains("policy-unreadable"), "{}", event.content.err);
}

#[test]
fn a_server_that_speaks_first_is_not_heard_where_the_policy_enforces() {
    let upstream = crate::support::server(|mut s| drop(s.write_all(b"220 secret ready\r\n")));
    let rig = rig(upstream, Protocol::Auto);
    let said = String::from_utf8_lossy(&rig.client().rest()).into_owned();
    assert!(!said.contains("secret"), "{said}");
    assert_eq!(rig.memory.wait(1)[0].core.outcome, Some(Outcome::Denied));
}

#[test]
fn an_opaque_route_whose_policy_enforces_does_not_start() {
    let mut config = GatewayConfig::new("spiffe://test/gw");
    let to = countersign_gateway::Upstream::new("127.0.0.1", 9);
    let mut listener = countersign_gateway::Listener::new("raw", "127.0.0.1:0".parse().unwrap(), to);
    listener.protocol = Protocol::Opaque;
    config.listeners.push(listener);
    let parts = countersign_gateway::Parts {
        recorders: vec![Arc::new(Memory::default())],
        strict: Vec::new(),
        key: BodyKey::Raw(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &crate::support::DIGEST_KEY)),
        identities: Arc::new(countersign_identity::Identities::new(Default::default(), 0).unwrap()),
        policy: policies(),
        clock: Arc::new(SystemClock::default()),
        sockets: Vec::new(),
    };
    let error = countersign_gateway::Gateway::start_with(config, parts).err().expect("refused").to_string();
    assert!(error.contains("raw") && error.contains("cannot be decided"), "{error}");
}
