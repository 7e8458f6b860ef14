//! WebSocket and server-sent events through the gateway: unchanged for both sides, counted in the record.

use crate::support::{Rig, http, until};
use countersign_event::cbor::Value;
use countersign_event::fields::detail::rpc;
use countersign_event::{Kind, Outcome, Rec};
use countersign_gateway::Protocol;
use countersign_testkit::mcp;

fn uint(event: &countersign_event::Event, key: u64) -> Option<u64> {
    match event.content.detail.get(&key) {
        Some(Value::Uint(n)) => Some(*n),
        _ => None,
    }
}

#[test]
fn a_session_is_one_record_with_messages_each_way_bytes_and_close_code() {
    let server = mcp::websocket_server().unwrap();
    for what in ["", "deflate"] {
        let rig = Rig::new(([127, 0, 0, 1], server.port).into());
        let direct =
            mcp::websocket_client(&format!("ws://127.0.0.1:{}/chat?k=v", server.port), what).unwrap();
        let through = mcp::websocket_client(&format!("ws://{}/chat?k=v", rig.address), what).unwrap();
        assert_eq!(through, direct);
        let events = rig.memory.wait(2);
        assert_eq!(
            (events[0].core.op.as_str(), events[0].core.status.as_ref().unwrap().1.as_str()),
            ("GET", "101")
        );
        let session = &events[1];
        assert_eq!((session.core.rec, session.core.kind), (Some(Rec::SessionClose), Some(Kind::Rpc)));
        assert_eq!(
            (session.core.proto.as_str(), session.core.outcome),
            ("websocket", Some(Outcome::Success))
        );
        assert_eq!((uint(session, rpc::SENT), uint(session, rpc::RECEIVED)), (Some(3), Some(3)), "{what}");
        assert_eq!(uint(session, rpc::RESET), Some(1000));
        assert_eq!(session.target.raw, "/chat");
        assert_eq!(session.who, events[0].who);
        let bytes = session.body.rsp.as_ref().unwrap().size.unwrap();
        assert_eq!(bytes > 256 * 1024, what.is_empty(), "{what}: {bytes}");
        assert!(session.content.err.is_empty(), "{}", session.content.err);
    }
}

#[test]
fn messages_of_the_subprotocol_mcp_are_records_of_their_own() {
    let server = mcp::websocket_server().unwrap();
    let rig = Rig::new(([127, 0, 0, 1], server.port).into());
    let direct = mcp::websocket_client(&format!("ws://127.0.0.1:{}/mcp", server.port), "mcp").unwrap();
    let through = mcp::websocket_client(&format!("ws://{}/mcp", rig.address), "mcp").unwrap();
    assert_eq!(through, direct);
    let events = rig.memory.wait(5);
    for (i, call) in events[1..4].iter().enumerate() {
        assert_eq!((call.core.op.as_str(), call.target.res.as_str()), ("tools/call", "add"));
        assert_eq!((call.core.outcome, call.links.msg.clone()), (Some(Outcome::Success), i.to_string()));
        assert!(!format!("{call:?}").contains("hunter2"));
    }
    assert_eq!(uint(&events[4], rpc::SENT), Some(3));
    assert!(events[4].content.headers.contains(&("sec-websocket-protocol".to_owned(), "mcp".to_owned())));
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

#[test]
fn a_breach_of_the_protocol_is_named_and_the_bytes_still_pass() {
    for (bytes, rule) in [
        (&b"\x81\x05Hello and whatever follows"[..], "client: ws-unmasked"),
        (b"\xff\xff\xff", "client: ws-opcode"),
    ] {
        let upstream = crate::support::server(move |mut stream| {
            use std::io::{Read, Write};
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(SWITCH.as_bytes()).unwrap();
            let mut got = vec![0; bytes.len()];
            stream.read_exact(&mut got).unwrap();
            stream.write_all(&got).unwrap();
        });
        let rig = Rig::new(upstream);
        let mut client = rig.client();
        client.send(ASK);
        client.expect(SWITCH);
        client.send(bytes);
        assert_eq!(client.read(bytes.len()), bytes);
        drop(client);
        let event = rig.memory.wait(2).remove(1);
        assert!(event.content.err.contains(rule), "{}", event.content.err);
        assert_eq!(event.core.outcome, Some(Outcome::CallerError));
        assert_eq!(event.body.req.as_ref().unwrap().size, Some(bytes.len() as u64));
    }
}

#[test]
fn a_session_that_moves_much_makes_records_of_progress() {
    const BLOCKS: usize = 65 * 16;
    let upstream = crate::support::server(|mut stream| {
        use std::io::{Read, Write};
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(SWITCH.as_bytes()).unwrap();
        let frame = [&b"\x82\x7f\0\0\0\0\0\x01\0\0"[..], &vec![0; 1 << 16]].concat();
        for _ in 0..BLOCKS {
            if stream.write_all(&frame).is_err() {
                return;
            }
        }
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(ASK);
    client.expect(SWITCH);
    client.read(BLOCKS * ((1 << 16) + 10));
    drop(client);
    let events = rig.memory.wait(3);
    assert_eq!((events[1].core.rec, events[1].core.outcome), (Some(Rec::Progress), None));
    assert!(events[1].body.rsp.as_ref().unwrap().size.unwrap() >= 64 << 20);
    assert_eq!(uint(&events[2], rpc::RECEIVED), Some(BLOCKS as u64));
    assert_eq!(events[2].core.outcome, None, "no close frame was seen");
    let owed = rig.memory.owed.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(owed, 3, "a record of progress is owed like any other");
}

#[test]
fn events_of_a_stream_are_counted_and_never_held_back() {
    let upstream = crate::support::server(|mut stream| {
        use std::io::{Read, Write};
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(HEAD).unwrap();
        for _ in 0..3 {
            stream.write_all(b"data: x\n\n").unwrap();
            // The next one only when this one has come through.
            let _ = stream.read(&mut [0; 1]);
        }
    });
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n";
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send("POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    client.expect(HEAD);
    for _ in 0..3 {
        client.expect("data: x\n\n");
        client.send("x");
    }
    client.rest();
    let event = rig.memory.wait(1).remove(0);
    let rsp = event.body.rsp.as_ref().unwrap();
    assert_eq!((rsp.messages, rsp.size, event.core.kind), (Some(3), Some(27), Some(Kind::Http)));
}

#[test]
fn a_real_server_of_events_is_counted() {
    let python = countersign_testkit::install::find_program("python3").unwrap_or_else(|| "python3".into());
    let dir = countersign_testkit::TempDir::new("sse").unwrap();
    let script = dir.path().join("sse.py");
    std::fs::write(&script, SSE_SERVER).unwrap();
    let port = countersign_testkit::free_port().unwrap();
    let mut command = std::process::Command::new(python);
    command.arg(&script).arg(port.to_string());
    let _server = countersign_testkit::Child::start(command, &dir.path().join("out")).unwrap();
    countersign_testkit::wait_for_port(([127, 0, 0, 1], port).into(), crate::support::PATIENCE).unwrap();
    let rig = Rig::with(([127, 0, 0, 1], port).into(), |c| c.listeners[0].protocol = Protocol::Http1);
    let mut client = rig.client();
    client.send("GET /events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let all = String::from_utf8_lossy(&client.rest()).into_owned();
    assert_eq!(all.matches("event: tick").count(), 20);
    until("it is recorded", || rig.memory.len() == 1);
    assert_eq!(rig.memory.wait(1)[0].body.rsp.as_ref().unwrap().messages, Some(20));
}

const SSE_SERVER: &str = r#"
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for i in range(20):
            self.wfile.write(b": c\r\nevent: tick\r\nid: %d\r\ndata: a\r\ndata: b\r\n\r\n" % i)
            self.wfile.flush()

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

#[test]
fn a_websocket_that_http_never_agreed_to_is_none() {
    let (upstream, _) = http(|_| crate::support::response("no").into_bytes());
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(ASK);
    client.expect(crate::support::response("no"));
    assert_eq!(rig.memory.wait(1)[0].core.kind, Some(Kind::Http));
}
