//! What is not HTTP passes both ways and leaves one record with its byte counts.

use crate::support::{Rig, server};
use countersign_event::{Kind, Outcome, Rec};
use countersign_gateway::Protocol;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

fn echo(mut s: std::net::TcpStream) {
    let mut all = Vec::new();
    s.read_to_end(&mut all).unwrap();
    s.write_all(&all).unwrap();
    s.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn an_unknown_protocol_passes_and_is_recorded_as_opaque() {
    let rig = Rig::new(server(echo));
    let mut client = rig.client();
    client.send(b"\x00\x01*1\r\n$4\r\nPING\r\n");
    client.end();
    assert_eq!(client.rest(), b"\x00\x01*1\r\n$4\r\nPING\r\n");
    let event = rig.memory.wait(1).pop().unwrap();
    assert_eq!((event.core.rec, event.core.kind), (Some(Rec::Opaque), Some(Kind::L4)));
    assert_eq!(event.core.outcome, Some(Outcome::Success));
    assert_eq!(format!("{:?}", event.content.detail), r#"{0: Uint(16), 1: Uint(16), 2: Text("other")}"#);
    assert_eq!(event.who.who.unwrap().id, "addr:127.0.0.1");
}

#[test]
fn a_few_first_bytes_that_decide_nothing_pass_when_the_client_ends() {
    let rig = Rig::new(server(echo));
    let mut client = rig.client();
    client.send(b"GE");
    client.end();
    assert_eq!(client.rest(), b"GE");
    assert_eq!(rig.memory.wait(1)[0].core.rec, Some(Rec::Opaque));
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let upstream = server(|mut s| {
        s.write_all(b"220 ready\r\n").unwrap();
        let mut buf = [0; 6];
        s.read_exact(&mut buf).unwrap();
        s.write_all(b"221 bye\r\n").unwrap();
    });
    let rig = Rig::with(upstream, |c| c.limits.detect = Duration::from_millis(20));
    let mut client = rig.client();
    client.expect("220 ready\r\n");
    client.send("QUIT\r\n");
    assert_eq!(client.rest(), b"221 bye\r\n");
    drop(client);
    let event = rig.memory.wait(1).pop().unwrap();
    assert_eq!(
        format!("{:?}", event.content.detail),
        r#"{0: Uint(6), 1: Uint(20), 2: Text("server-first")}"#
    );
}

#[test]
fn a_silent_client_may_still_speak_http_later() {
    let (upstream, _) = crate::support::ok("x");
    let rig = Rig::with(upstream, |c| c.limits.detect = Duration::from_millis(10));
    let mut client = rig.client();
    std::thread::sleep(Duration::from_millis(100));
    client.send(crate::support::get("/late"));
    client.expect(crate::support::response("x"));
    assert_eq!(rig.memory.wait(1)[0].target.raw, "/late");
}

#[test]
fn an_opaque_listener_reads_nothing() {
    let (upstream, seen) = crate::support::ok("x");
    let rig = Rig::with(upstream, |c| c.listeners[0].protocol = Protocol::Opaque);
    let mut client = rig.client();
    let bad = "GET / HTTP/1.1\nHost : a\n\n";
    client.send(bad);
    client.end();
    client.rest();
    assert_eq!(rig.memory.wait(1)[0].core.rec, Some(Rec::Opaque));
    assert_eq!(seen.all().concat(), bad.as_bytes());
}
