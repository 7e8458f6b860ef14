//! Bytes pass as they came, both ways, and each request has its record.

use crate::support::{Rig, get, http, ok, response, server};
use countersign_event::{Class, Kind, LinkVia, Mode, Outcome, Rec, StatusSpace, Verified};
use ring::hmac;
use std::io::{Read, Write};

#[test]
fn keep_alive_requests_pass_and_are_recorded_in_order() {
    let (upstream, seen) = ok("hello");
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    let mut sent = String::new();
    for path in ["/orders/1234?b=1&a=2", "/x", "/y"] {
        client.send(get(path));
        client.expect(response("hello"));
        sent += &get(path);
    }
    drop(client);
    let events = rig.memory.wait(3);
    assert_eq!(seen.all(), [sent.into_bytes()]);
    let e = &events[0];
    assert_eq!((e.core.rec, e.core.kind), (Some(Rec::Interaction), Some(Kind::Http)));
    assert_eq!((e.core.proto.as_str(), e.core.op.as_str()), ("http/1.1", "GET"));
    assert_eq!((e.core.class, e.core.outcome), (Some(Class::Read), Some(Outcome::Success)));
    assert_eq!(e.core.status, Some((StatusSpace::Http, "200".into())));
    assert_eq!((e.target.svc.as_str(), e.target.res.as_str()), ("svc", "/orders/{id}"));
    assert_eq!((e.target.raw.as_str(), e.target.id.as_str()), ("/orders/1234", "1234"));
    assert_eq!(e.core.route, "main");
    assert_eq!(e.core.decision.as_ref().unwrap().mode, Some(Mode::Observe));
    assert!(e.core.dur.unwrap() > 0 && e.core.lat.is_some() && e.core.config.is_some());
    let who = e.who.who.as_ref().unwrap();
    assert_eq!((who.id.as_str(), who.verified), ("addr:127.0.0.1", Verified::Claimed));
    assert_eq!(e.peer.up.as_ref().unwrap().port, Some(upstream.port()));
    assert_eq!(e.peer.dst.as_ref().unwrap().port, Some(rig.address.port()));
    let body = e.body.rsp.as_ref().unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &crate::support::DIGEST_KEY);
    assert_eq!(body.digest.unwrap(), hmac::sign(&key, b"hello").as_ref());
    assert_eq!((body.size, body.content_type.as_str()), (Some(5), "text/plain"));
    assert_eq!(events.iter().map(|e| e.links.conn_seq.unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(events.iter().all(|e| e.links.conn == events[0].links.conn));
    for (i, mut event) in events.into_iter().enumerate() {
        event.core.agent = "spiffe://test/gw".into();
        event.core.seq = i as u64 + 1;
        event.encode().unwrap();
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (upstream, seen) = http(|head| response(head.split(' ').nth(1).unwrap()).into_bytes());
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    let all: String = (0..200).map(|i| get(&format!("/p{i}"))).collect();
    client.send(&all);
    for i in 0..200 {
        client.expect(response(&format!("/p{i}")));
    }
    let events = rig.memory.wait(200);
    assert_eq!(seen.all().concat(), all.as_bytes());
    let paths: Vec<_> = events.iter().map(|e| e.target.raw.clone()).collect();
    assert_eq!(paths, (0..200).map(|i| format!("/p{i}")).collect::<Vec<_>>());
}

#[test]
fn chunked_bodies_with_extensions_and_trailers_pass_byte_for_byte() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-ENCODING:  chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n0006\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n";
    let (upstream, seen) = http(move |_| answer.as_bytes().to_vec());
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    let request = "POST /c HTTP/1.1\r\nhOST: a\r\nX-Odd:\t v \r\nTransfer-Encoding: chunked\r\n\r\n3;a;b=c\r\nabc\r\n00\r\nT: v\r\n\r\n";
    for part in request.as_bytes().chunks(7) {
        client.send(part);
    }
    client.expect(answer);
    let events = rig.memory.wait(1);
    assert_eq!(seen.all().concat(), request.as_bytes());
    assert_eq!(events[0].body.req.as_ref().unwrap().size, Some(3));
    assert_eq!(events[0].body.rsp.as_ref().unwrap().size, Some(11));
}

#[test]
fn head_204_and_304_have_no_body() {
    let (upstream, _) = http(|head| match head.split(' ').nth(1).unwrap() {
        "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec(),
        "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".to_vec(),
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n");
    client.expect("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    client.send(get("/204"));
    client.expect("HTTP/1.1 204 No Content\r\n\r\n");
    client.send(get("/304"));
    client.expect("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
    let events = rig.memory.wait(3);
    assert!(events.iter().all(|e| e.core.outcome == Some(Outcome::Success)));
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let upstream = server(|mut s| {
        let mut buf = [0; 4096];
        let _ = s.read(&mut buf).unwrap();
        s.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 5];
        s.read_exact(&mut body).unwrap();
        s.write_all(response("got").as_bytes()).unwrap();
        let _ = s.read(&mut buf);
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send("PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    client.expect("HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    client.expect(response("got"));
    let events = rig.memory.wait(1);
    assert_eq!(events[0].core.class, Some(Class::Modify));
    assert_eq!(events[0].core.status.as_ref().unwrap().1, "200");
}

#[test]
fn a_client_that_ends_its_direction_still_gets_its_answer() {
    let upstream = server(|mut s| {
        let mut all = Vec::new();
        s.read_to_end(&mut all).unwrap();
        s.write_all(response(&all.len().to_string()).as_bytes()).unwrap();
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(get("/half"));
    client.end();
    assert_eq!(String::from_utf8(client.rest()).unwrap(), response(&get("/half").len().to_string()));
    assert_eq!(rig.memory.wait(1)[0].core.outcome, Some(Outcome::Success));
}

#[test]
fn a_server_that_ends_its_direction_ends_an_unbounded_body() {
    let upstream = server(|mut s| {
        let _ = s.read(&mut [0; 1024]).unwrap();
        s.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil close").unwrap();
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.rest(), b"HTTP/1.0 200 OK\r\n\r\nuntil close");
    let events = rig.memory.wait(1);
    assert_eq!(events[0].core.proto, "http/1.0");
    assert_eq!(events[0].body.rsp.as_ref().unwrap().size, Some(11));
}

#[test]
fn invalid_utf8_in_a_header_passes() {
    let (upstream, seen) = ok("x");
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: \xff\xfe\x80\r\n\r\n";
    client.send(request);
    client.expect(response("x"));
    let mut event = rig.memory.wait(1).remove(0);
    assert_eq!(seen.all().concat(), request);
    event.core.agent = "a".into();
    event.core.seq = 1;
    event.encode().unwrap();
}

#[test]
fn a_switch_to_an_unknown_protocol_is_one_request_and_one_opaque_session() {
    let upstream = server(|mut s| {
        let mut buf = [0; 4096];
        let n = s.read(&mut buf).unwrap();
        assert!(!buf[..n].windows(5).any(|w| w == b"early"), "bytes behind an upgrade are held");
        s.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x/1\r\n\r\nhi").unwrap();
        let n = s.read(&mut buf).unwrap();
        s.write_all(&buf[..n]).unwrap();
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x/1\r\n\r\nearly");
    client.expect("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x/1\r\n\r\nhiearly");
    drop(client);
    let events = rig.memory.wait(2);
    assert_eq!((events[0].core.rec, events[1].core.rec), (Some(Rec::Interaction), Some(Rec::Opaque)));
    assert_eq!(events[0].core.status.as_ref().unwrap().1, "101");
    let detail = format!("{:?}", events[1].content.detail);
    assert_eq!(detail, r#"{0: Uint(5), 1: Uint(7), 2: Text("upgraded")}"#);
}

#[test]
fn trace_context_and_request_ids_are_linked() {
    let (upstream, _) = ok("x");
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nX-Request-Id: r-1\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n\r\n");
    client.expect(response("x"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-B3-TraceId: 64fe8b2a57d3eff7\r\nX-B3-SpanId: e457b5a2e4d86bd1\r\nTraceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01\r\n\r\n");
    client.expect(response("x"));
    let events = rig.memory.wait(2);
    let links = &events[0].links;
    assert_eq!((links.trace.unwrap()[0], links.span.unwrap()[0]), (0x0a, 0xb7));
    assert_eq!((links.corr.as_str(), links.via, links.tflags), ("r-1", Some(LinkVia::Traceparent), Some(1)));
    assert_eq!(events[0].peer.hops.len(), 2);
    assert_eq!(events[1].links.via, Some(LinkVia::B3));
    assert!(events[1].content.unmapped.contains_key("/traceparent"));
}
