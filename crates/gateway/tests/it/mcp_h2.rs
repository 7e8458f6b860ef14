//! MCP carried by streams of HTTP/2: the same records as over HTTP/1.1, the same verdicts before the server sees
//! anything, the same refusals in the words of JSON-RPC.

use crate::h2_support::{Log, body, connect, frame, raw, run, serve};
use crate::mcp::{self, call, enforcing, json};
use crate::support::{Client, Rig, http, until};
use bytes::Bytes;
use countersign_event::{Event, Kind, Outcome, Rec, StatusSpace, Verdict};
use countersign_gateway::{Durability, GatewayConfig, Protocol};
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response, StatusCode};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

type Headers<'a> = &'a [(&'a str, &'a str)];

const DONE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":false}}"#;

/// A server that reads each request to its end and answers it with `content_type` and `answer`, a byte a frame
/// when `finely`.
fn server(content_type: &'static str, answer: &'static str, finely: bool) -> (SocketAddr, Log) {
    serve(move |mut request, mut respond| {
        Box::pin(async move {
            let _ = body(request.body_mut()).await;
            let head = Response::builder().header("content-type", content_type);
            let mut to = respond
                .send_response(head.header("mcp-session-id", "sess-1").body(()).unwrap(), false)
                .unwrap();
            let bytes = Bytes::from_static(answer.as_bytes());
            let step = if finely { 1 } else { bytes.len() };
            for at in (0..bytes.len()).step_by(step) {
                to.send_data(bytes.slice(at..(at + step).min(bytes.len())), false).unwrap();
            }
            to.send_data(Bytes::new(), true).unwrap();
        })
    })
}

fn request(headers: Headers<'_>) -> Request<()> {
    let mut request = Request::post("http://a/mcp").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Posts a body in `pieces`, each a frame; status, content type and answer.
async fn post(
    send: &mut SendRequest<Bytes>,
    headers: Headers<'_>,
    pieces: &[&[u8]],
) -> Result<(StatusCode, String, String), h2::Error> {
    std::future::poll_fn(|cx| send.poll_ready(cx)).await?;
    let (response, mut to) = send.send_request(request(headers), false)?;
    for piece in pieces {
        // A server that has refused already takes no more.
        if to.send_data(Bytes::copy_from_slice(piece), false).is_err() {
            break;
        }
    }
    let _ = to.send_data(Bytes::new(), true);
    let (parts, mut from) = response.await?.into_parts();
    let said = String::from_utf8(body(&mut from).await?).unwrap();
    let kind = parts.headers.get("content-type").map(|v| v.to_str().unwrap().to_owned());
    Ok((parts.status, kind.unwrap_or_default(), said))
}

/// One call on a connection of its own.
fn ask(rig: &Rig, headers: Headers<'_>, text: &str) -> (StatusCode, String, String) {
    run(async {
        let mut send = connect(rig.address).await;
        post(&mut send, headers, &[text.as_bytes()]).await.unwrap()
    })
}

/// What must not depend on the carrier: without times, addresses and numbers of the connection, and what HTTP/2
/// makes anew.
fn bare(mut event: Event) -> Event {
    (event.core.t_obs, event.core.t_event, event.core.dur, event.core.lat) = (0, None, None, None);
    (event.core.config, event.core.eid) = (None, [0; 16]);
    (event.links.conn, event.links.conn_seq) = (None, None);
    event.links.of = event.links.of.map(|_| [1; 16]);
    event.peer = Default::default();
    event.body.cap.as_mut().unwrap().changes.clear();
    event
}

fn strict(config: &mut GatewayConfig) {
    (config.listeners[0].protocol, config.listeners[0].durability) = (Protocol::Mcp, Durability::Strict);
    config.limits.strict_wait = Duration::from_millis(200);
}

#[test]
fn the_same_calls_give_the_same_records_over_both_carriers() {
    const STREAM: &str = "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\ndata: \"params\":{\"progress\":1}}\n\n: ping\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"method\":\"sampling/createMessage\",\"params\":{}}\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"isError\":false}}\n\n";
    const BATCH: &str =
        r#"[{"jsonrpc":"2.0","id":"b","error":{"code":-32601}},{"jsonrpc":"2.0","id":1,"result":{}}]"#;
    let newest = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "add")];
    let wrong = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "rm")];
    let session = [("mcp-protocol-version", "2025-06-18"), ("mcp-session-id", "s3cret")];
    let one = call("1", "add");
    let batch = format!("[{one},{}]", call("\"b\"", "sub"));
    let cases: [(Headers<'_>, &str, &str, &str, usize); 7] = [
        (&newest, &one, "application/json", DONE, 1),
        (&wrong, &one, "application/json", DONE, 1),
        (&session, &one, "application/json", DONE, 1),
        (&session, &one, "text/event-stream", STREAM, 3),
        (&[], &batch, "application/json", BATCH, 2),
        (&[], "not json", "application/json", DONE, 2),
        (&[], &one, "application/json", r#"{"jsonrpc":"2.0","id":2,"result":{}}"#, 2),
    ];
    for (headers, text, kind, answer, n) in cases {
        let mut seen = Vec::new();
        for durable in [false, true] {
            let n = if durable { 2 * n } else { n };
            let change: fn(&mut GatewayConfig) =
                if durable { strict } else { |c| c.listeners[0].protocol = Protocol::Mcp };
            let said = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nmcp-session-id: sess-1\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            );
            let first = Rig::with(http(move |_| said.clone().into_bytes()).0, change);
            let extra: String = headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
            let mut client = first.client();
            client.send(mcp::post(&extra, text));
            until("the answer", || first.memory.len() >= 1 && first.gateway.stats().bytes_down > 0);
            drop(client);
            let (kind, answer): (&'static str, &'static str) =
                (kind.to_owned().leak(), answer.to_owned().leak());
            let second = Rig::with(server(kind, answer, false).0, change);
            assert_eq!(ask(&second, headers, text).2, answer, "{text}");
            let n = settled(&first, n);
            let (one, two) = (first.memory.wait(n), second.memory.wait(n));
            let bared = |events: Vec<Event>| events.into_iter().map(bare).collect::<Vec<_>>();
            let (one, two) = (bared(one), bared(two));
            for (one, two) in one.iter().zip(&two) {
                if one.core.kind == Some(Kind::Tool) {
                    assert_eq!(two, one, "{text}");
                } else {
                    assert_eq!((&two.core.op, &two.content.err), (&one.core.op, &one.content.err));
                }
            }
            seen.extend(two);
        }
        assert!(!format!("{seen:?}").contains("s3cret"));
    }
}

/// Waits until the records of one exchange are complete: at most `n`, and fewer where some have no intent.
fn settled(rig: &Rig, most: usize) -> usize {
    let mut last = 0;
    until("records", || {
        let n = rig.memory.len();
        std::thread::sleep(Duration::from_millis(30));
        let still = n == last && n > 0;
        last = n;
        still
    });
    assert!(last <= most, "{last} of at most {most}");
    last
}

#[test]
fn wherever_frames_are_cut_the_records_are_the_same() {
    let (upstream, _) = server("application/json", DONE, true);
    let text = call("1", "add");
    for enforce in [false, true] {
        let rig = if enforce { enforcing(upstream) } else { mcp::rig(upstream) };
        run(async {
            let mut send = connect(rig.address).await;
            for at in 0..text.len() {
                let (a, b) = text.as_bytes().split_at(at);
                assert_eq!(post(&mut send, &[], &[a, b]).await.unwrap().2, DONE);
            }
            let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(post(&mut send, &[], &single).await.unwrap().2, DONE);
        });
        let events: Vec<Event> = rig.memory.wait(text.len() + 1).into_iter().map(bare).collect();
        assert_eq!((events[0].core.kind, events[0].target.res.as_str()), (Some(Kind::Tool), "add"));
        assert!(events.iter().all(|e| *e == events[0]));
    }
}

#[test]
fn a_denied_call_gets_its_id_back_and_the_server_never_sees_it() {
    let (upstream, log) = server("application/json", DONE, false);
    let rig = enforcing(upstream);
    for (id, text) in [
        ("7", call("7", "rm")),
        ("\"x\\\"y\"", call("\"x\\\"y\"", "rm")),
        ("2", format!("[{},{}]", call("1", "add"), call("2", "rm"))),
    ] {
        let (status, kind, said) = ask(&rig, &[], &text);
        assert_eq!((status.as_u16(), kind.as_str()), (403, "application/json"));
        assert!(said.contains(&format!("\"id\":{id}")) && said.contains("-32003"), "{said}");
    }
    assert!(log.lock().unwrap().is_empty());
    let events = rig.memory.wait(4);
    for event in &events {
        let decision = event.core.decision.as_ref().unwrap();
        assert_eq!((event.core.kind, event.core.outcome), (Some(Kind::Tool), Some(Outcome::Denied)));
        assert_eq!(decision.verdict, Some(Verdict::Deny));
        assert_eq!(
            (decision.reason.as_str(), &decision.policies[..]),
            ("rm is not for machines", &["no-rm".to_owned()][..])
        );
        assert_eq!(event.core.status, Some((StatusSpace::Http, "403".to_owned())));
    }
    // Other streams of the same connection are not concerned.
    run(async {
        let mut send = connect(rig.address).await;
        let (one, two) = (call("1", "rm"), call("1", "add"));
        assert_eq!(post(&mut send, &[], &[one.as_bytes()]).await.unwrap().0, 403);
        assert_eq!(post(&mut send, &[], &[two.as_bytes()]).await.unwrap().2, DONE);
    });
    assert_eq!(log.lock().unwrap().as_slice(), ["POST /mcp"]);
}

#[test]
fn what_has_no_sure_meaning_does_not_pass_on_a_stream_either() {
    let (upstream, log) = server("application/json", DONE, false);
    let huge =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#, "z".repeat(1 << 20));
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","name":"rm"}}"#;
    let wrong = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
    let grpc = [("content-type", "application/grpc")];
    let cases: [(Headers<'_>, &str, u16, &str); 6] = [
        (&[], twice, 400, "-32600"),
        (&[], r#"{"jsonrpc":"2.0","id":1,"method":"ping""#, 400, "-32700"),
        (&[], "hello", 400, "-32600"),
        (&grpc, "\0\0\0\0\0", 400, "-32600"),
        (&[], &huge, 403, "-32003"),
        (&wrong, &call("1", "add"), 400, "-32020"),
    ];
    for (headers, text, status, code) in cases {
        let rig = enforcing(upstream);
        let (got, _, said) = ask(&rig, headers, text);
        let short = &text[..text.len().min(60)];
        assert!(got == status && said.contains(code), "{short:?}: {got} {said}");
        let event = rig.memory.wait(1).remove(0);
        assert_eq!(event.core.decision.unwrap().verdict, Some(Verdict::Deny), "{short}");
        assert_eq!(event.core.labels.contains(&"mcp-header-mismatch".to_owned()), code == "-32020");
    }
    let rig = enforcing(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        let tunnel = Request::connect("a:1").body(()).unwrap();
        let (response, _to) = send.send_request(tunnel, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 403);
    });
    assert_eq!(rig.memory.wait(1)[0].core.decision.as_ref().unwrap().reason, "mcp-upgrade-undecided");
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn a_request_without_a_call_is_decided_by_its_head() {
    let (upstream, log) = server("text/plain", "ok", false);
    let rig = enforcing(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        let (parts, said) =
            crate::h2_support::fetch(&mut send, crate::h2_support::get("/mcp")).await.unwrap();
        assert_eq!((parts.status.as_u16(), said.as_slice()), (200, &b"ok"[..]));
    });
    let event = rig.memory.wait(1).remove(0);
    assert_eq!((event.core.kind, event.core.proto.as_str()), (Some(Kind::Http), "http/2"));
    assert_eq!(log.lock().unwrap().as_slice(), ["GET /mcp"]);
}

#[test]
fn the_intent_of_a_call_names_the_tool_and_no_byte_passes_before_it() {
    let (upstream, log) = server("application/json", DONE, false);
    let rig = Rig::with(upstream, |config| {
        strict(config);
        config.limits.strict_wait = Duration::from_secs(20);
    });
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let (said, events) = run(async {
        let mut send = connect(rig.address).await;
        let text = call("1", "rm");
        let (response, mut to) = send.send_request(request(&[]), false).unwrap();
        to.send_data(Bytes::from(text), true).unwrap();
        let passed = |log: &Log| !log.lock().unwrap().is_empty();
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert!(!passed(&log));
        }
        rig.memory.stalled.store(false, Ordering::Relaxed);
        let mut from = response.await.unwrap().into_body();
        (body(&mut from).await.unwrap(), rig.memory.wait(2))
    });
    assert_eq!(said, DONE.as_bytes());
    let (intent, outcome) = (&events[0], &events[1]);
    assert_eq!((intent.core.rec, outcome.core.rec), (Some(Rec::Intent), Some(Rec::Outcome)));
    for event in [intent, outcome] {
        assert_eq!((event.core.op.as_str(), event.target.res.as_str()), ("tools/call", "rm"));
    }
    assert_eq!((outcome.links.of, outcome.core.outcome), (Some(intent.core.eid), Some(Outcome::Success)));
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[test]
fn a_call_that_cannot_be_recorded_is_refused_with_its_id_and_never_sent() {
    let (upstream, log) = server("application/json", DONE, false);
    let rig = Rig::with(upstream, strict);
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let (status, kind, said) = ask(&rig, &[], &call("7", "rm"));
    assert_eq!((status.as_u16(), kind.as_str()), (503, "application/json"));
    assert!(said.contains(r#""id":7,"error":{"code":-32004,"#), "{said}");
    rig.memory.stalled.store(false, Ordering::Relaxed);
    let events = rig.memory.wait(2);
    assert_eq!(events[1].links.of, Some(events[0].core.eid));
    assert_eq!(events[1].content.err, "the ledger does not take records");
    assert_eq!(rig.gateway.stats().unrecorded, 1);
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn a_body_too_large_to_hold_passes_whole_where_nothing_can_be_denied() {
    let (upstream, _) = serve(|mut request, mut respond| {
        Box::pin(async move {
            let size = body(request.body_mut()).await.unwrap().len();
            let trailers = request.body_mut().trailers().await.unwrap();
            let mut to = respond.send_response(Response::new(()), false).unwrap();
            let tail = trailers.and_then(|t| t.get("x-end").cloned()).map(|v| v.to_str().unwrap().to_owned());
            to.send_data(Bytes::from(format!("{size} {tail:?}")), true).unwrap();
        })
    });
    let large = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{}"}}}}"#,
        "y".repeat(3 << 20)
    );
    let rig = Rig::with(upstream, |config| {
        strict(config);
        config.limits.strict_wait = Duration::from_secs(20);
    });
    for text in [call("1", "add"), large] {
        let said = run(async {
            let mut send = connect(rig.address).await;
            let (response, mut to) = send.send_request(request(&[]), false).unwrap();
            let mut rest = Bytes::from(text.clone());
            while !rest.is_empty() {
                to.reserve_capacity(rest.len());
                let room = std::future::poll_fn(|cx| to.poll_capacity(cx)).await.unwrap().unwrap();
                to.send_data(rest.split_to(room.min(rest.len())), false).unwrap();
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("x-end", "1".parse().unwrap());
            to.send_trailers(trailers).unwrap();
            let mut from = response.await.unwrap().into_body();
            String::from_utf8(body(&mut from).await.unwrap()).unwrap()
        });
        assert_eq!(said, format!("{} Some(\"1\")", text.len()));
    }
    rig.memory.wait(4);
}

#[test]
fn many_calls_held_at_once_on_one_connection_all_pass() {
    let (upstream, log) = server("application/json", DONE, false);
    let rig = enforcing(upstream);
    let text =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#, "z".repeat(900 << 10));
    run(async {
        let send = connect(rig.address).await;
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let (mut send, text) = (send.clone(), text.clone());
                tokio::spawn(async move { post(&mut send, &[], &[text.as_bytes()]).await.unwrap().2 })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), DONE);
        }
    });
    rig.memory.wait(20);
    assert_eq!(log.lock().unwrap().len(), 20);
}

#[test]
fn a_client_that_does_not_come_to_the_end_of_a_call_is_refused_in_time() {
    let (upstream, log) = server("application/json", DONE, false);
    let rig = Rig::full(
        upstream,
        |config| {
            config.listeners[0].protocol = Protocol::Mcp;
            config.enforce = true;
            config.limits.body_window = Duration::from_millis(100);
        },
        Default::default(),
        countersign_policy::PolicySet::allow_all(),
    );
    run(async {
        let mut send = connect(rig.address).await;
        let (response, mut to) = send.send_request(request(&[("expect", "100-continue")]), false).unwrap();
        to.send_data(Bytes::from_static(b"{\"jsonrpc\""), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 408);
        assert_eq!(post(&mut send, &[], &[call("1", "add").as_bytes()]).await.unwrap().2, DONE);
    });
    assert_eq!(rig.memory.wait(2)[0].core.outcome, Some(Outcome::Timeout));
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[test]
fn a_call_that_its_client_gives_up_never_passes_and_is_recorded() {
    let (upstream, log) = server("application/json", DONE, false);
    let rig = enforcing(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        let (_response, mut to) = send.send_request(request(&[]), false).unwrap();
        to.send_data(Bytes::from_static(b"{\"jsonrpc\""), false).unwrap();
        until_async(|| rig.gateway.stats().requests == 1).await;
        to.send_reset(h2::Reason::CANCEL);
        until_async(|| rig.memory.len() == 1).await;
    });
    let event = rig.memory.wait(1).remove(0);
    assert_eq!(event.core.outcome, Some(Outcome::Cancelled));
    assert!(log.lock().unwrap().is_empty());
}

async fn until_async(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn one_listener_speaks_both_and_a_preface_may_come_in_pieces() {
    let (upstream, _) = http(|_| json(DONE));
    let rig = mcp::rig(upstream);
    let mut client = rig.client();
    // Begins like the preface, and is none.
    for piece in ["P", "OST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"] {
        client.send(piece);
        std::thread::sleep(Duration::from_millis(5));
    }
    client.expect(json(DONE));
    let (upstream, _) = server("application/json", DONE, false);
    let rig = mcp::rig(upstream);
    let mut client = Client::new(rig.address);
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        client.send([*byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    client.send(frame(4, 0, 0, &[]));
    assert_eq!(crate::h2_support::next(&mut client).unwrap().0, 4, "SETTINGS");
    let mut refused = rig.client();
    refused.send("PRI * HTTP/1.1\r\n\r\n");
    assert!(refused.rest().starts_with(b"HTTP/1.1 400"));
    drop(raw(rig.address));
}
