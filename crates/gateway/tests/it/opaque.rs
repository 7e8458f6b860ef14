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
    assert_eq!(event.who.who.as_ref().unwrap().id, "addr:127.0.0.1");
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
fn first_bytes_that_decide_nothing_pass_after_a_moment_though_the_client_waits() {
    // A protocol whose client sends two letters and waits for the answer.
    let upstream = server(|mut s| {
        let mut buf = [0; 2];
        s.read_exact(&mut buf).unwrap();
        s.write_all(b"ok").unwrap();
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(b"HI");
    client.expect(b"ok");
    drop(client);
    let event = rig.memory.wait(1).pop().unwrap();
    assert_eq!(event.core.rec, Some(Rec::Opaque));
    assert_eq!(format!("{:?}", event.content.detail), r#"{0: Uint(2), 1: Uint(2), 2: Text("undecided")}"#);
    assert!(event.core.dur.is_some());
}

#[test]
fn no_more_than_64_bytes_decide() {
    let rig = Rig::new(server(echo));
    let mut client = rig.client();
    // Letters alone could still become a method; not that many.
    let first = [b'A'; 64];
    client.send(first);
    client.end();
    assert_eq!(client.rest(), first);
    let event = rig.memory.wait(1).pop().unwrap();
    assert_eq!(format!("{:?}", event.content.detail), r#"{0: Uint(64), 1: Uint(64), 2: Text("other")}"#);
}

#[test]
fn a_request_in_two_parts_is_still_a_request() {
    let (upstream, _) = crate::support::ok("x");
    let rig = Rig::with(upstream, |c| c.limits.detect = Duration::from_secs(20));
    let mut client = rig.client();
    client.send("G");
    std::thread::sleep(Duration::from_millis(30));
    client.send(&crate::support::get("/parts")[1..]);
    client.expect(crate::support::response("x"));
    assert_eq!(rig.memory.wait(1)[0].target.raw, "/parts");
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
