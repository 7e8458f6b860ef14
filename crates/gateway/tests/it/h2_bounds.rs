//! Floods, slow peers and broken rules of HTTP/2: refused or bounded, one clear event, nobody else disturbed.

use crate::h2_support::{
    block, body, connect, connect_with, fetch, frame, get, get_block, goaway, http2, next, ok, raw, rig, run,
    serve, uint,
};
use crate::support::{Rig, until};
use bytes::Bytes;
use countersign_event::{Event, Outcome, Rec};
use http::Response;
use std::time::Duration;

const CALM: u32 = 11;

/// The one event that tells of a broken connection.
fn one_clear_event(events: &[Event], words: &str, code: u32) {
    let told: Vec<_> = events.iter().filter(|e| e.core.op == "GOAWAY").collect();
    assert_eq!(told.len(), 1, "{events:#?}");
    assert_eq!((told[0].core.rec, told[0].core.outcome), (Some(Rec::SessionClose), Some(Outcome::Denied)));
    assert!(told[0].content.err.contains(words), "{}", told[0].content.err);
    assert_eq!(uint(told[0], 4), Some(u64::from(code)));
    assert!(told[0].who.who.is_some(), "it says who");
}

/// Floods a connection and checks that it ends calmly, with one event, while another one works on.
fn flood(words: &str, send: impl FnOnce(&mut crate::support::Client)) -> (Rig, Vec<Event>) {
    let (upstream, _) = ok("x");
    let rig = rig(upstream);
    run(async {
        let mut well = connect(rig.address).await;
        fetch(&mut well, get("/well")).await.unwrap();
        let mut bad = raw(rig.address);
        send(&mut bad);
        let code = tokio::task::spawn_blocking(move || goaway(&mut bad)).await.unwrap();
        assert_eq!(code, Some(CALM));
        fetch(&mut well, get("/well")).await.unwrap();
    });
    until("the flood's connection is closed", || rig.gateway.stats().open <= 1);
    let memory = rig.memory.clone();
    until("its event is there", || memory.wait(memory.len()).iter().any(|e| e.core.op == "GOAWAY"));
    std::thread::sleep(Duration::from_millis(20));
    let events = memory.wait(memory.len());
    one_clear_event(&events, words, CALM);
    assert_eq!(events.iter().filter(|e| e.target.raw == "/well").count(), 2);
    assert_eq!(rig.gateway.stats().panics, 0);
    (rig, events)
}

#[test]
fn a_flood_of_resets_ends_its_connection_and_every_request_that_passed_has_its_record() {
    let (rig, _) = flood("reset by the client", |client| {
        for i in 0..300_u32 {
            let id = 2 * i + 1;
            let mut bytes = frame(1, 5, id, &get_block("/rapid"));
            bytes.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
            if std::io::Write::write_all(&mut client.0, &bytes).is_err() {
                break;
            }
        }
    });
    let memory = rig.memory.clone();
    let passed = rig.gateway.stats().requests;
    rig.gateway.shutdown(Duration::from_secs(5));
    let events = memory.wait(memory.len());
    let recorded = events.iter().filter(|e| e.core.rec == Some(Rec::Interaction)).count() as u64;
    assert_eq!(recorded, passed, "as many records as requests");
    assert_eq!(memory.owed.load(std::sync::atomic::Ordering::Relaxed), events.len() as u64);
}

#[test]
fn a_flood_of_settings_ends_its_connection() {
    flood("SETTINGS or PING", |client| client.send(frame(4, 0, 0, &[]).repeat(200)));
}

#[test]
fn a_flood_of_pings_ends_its_connection() {
    flood("SETTINGS or PING", |client| client.send(frame(6, 0, 0, &[7; 8]).repeat(200)));
}

#[test]
fn an_endless_header_block_ends_its_connection() {
    flood("CONTINUATION", |client| {
        client.send(frame(1, 1, 1, &get_block("/")));
        client.send(frame(9, 0, 1, &block(&[("x-a", "b")])).repeat(30));
    });
}

#[test]
fn a_header_block_that_dribbles_ends_its_connection() {
    let (upstream, _) = ok("x");
    let rig = Rig::with(upstream, |c| {
        http2(c);
        c.limits.head_time = Duration::from_millis(80);
    });
    let mut client = raw(rig.address);
    client.send(frame(1, 1, 1, &get_block("/")));
    assert_eq!(goaway(&mut client), Some(CALM));
    one_clear_event(&rig.memory.wait(1), "took too long", CALM);
}

#[test]
fn a_header_list_beyond_the_bound_is_431_with_a_record() {
    let (upstream, log) = ok("x");
    let rig = rig(upstream);
    let mut client = raw(rig.address);
    let mut fields = get_block("/");
    for i in 0..900 {
        fields.extend(block(&[(&format!("x-{i}"), "0123456789012345678901234567890123456789")]));
    }
    let mut rest = fields.chunks(16_000);
    client.send(frame(1, 1, 1, rest.next().unwrap()));
    let rest: Vec<_> = rest.collect();
    for (i, part) in rest.iter().enumerate() {
        client.send(frame(9, if i + 1 == rest.len() { 4 } else { 0 }, 1, part));
    }
    let event = &rig.memory.wait(1)[0];
    assert_eq!(event.core.status.as_ref().unwrap().1, "431");
    assert_eq!(event.core.outcome, Some(Outcome::CallerError));
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn malformed_requests_are_reset_with_a_record_and_never_reach_the_server() {
    let (upstream, log) = ok("x");
    let rig = rig(upstream);
    let base = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    let with = |extra: &[(&'static str, &'static str)]| [&base[..], extra].concat();
    let forms: Vec<Vec<(&str, &str)>> = vec![
        with(&[("connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "h2c")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "x")]),
        with(&[("te", "gzip")]),
        with(&[("content-length", "1"), ("content-length", "2")]),
        with(&[("x", "1"), (":path", "/late")]),
        base[..3].to_vec(),
        base[1..].to_vec(),
        vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/"),
        ],
    ];
    let mut client = raw(rig.address);
    for (i, fields) in forms.iter().enumerate() {
        let id = 2 * i as u32 + 1;
        client.send(frame(1, 5, id, &block(fields)));
        let reset = loop {
            let (kind, _, stream, payload) = next(&mut client).expect("the connection stays");
            if stream == id {
                break (kind, payload);
            }
        };
        assert_eq!(reset, (3, 1_u32.to_be_bytes().to_vec()), "{fields:?}");
    }
    // A body that is longer than its announced length.
    let id = 2 * forms.len() as u32 + 1;
    // In one piece: a server that answers the head alone would be done before the body is too long.
    let head = frame(1, 4, id, &block(&with(&[("content-length", "3")])));
    client.send([head, frame(0, 1, id, b"four")].concat());
    let events = rig.memory.wait(forms.len() + 1);
    assert!(events.iter().all(|e| e.core.outcome == Some(Outcome::CallerError)), "{events:#?}");
    assert!(events[0].content.err.contains("PROTOCOL_ERROR"));
    assert!(log.lock().unwrap().len() <= 1, "at most the head of the last went on");
}

#[test]
fn text_in_place_of_the_preface_is_refused_with_a_record() {
    let (upstream, log) = ok("x");
    let rig = rig(upstream);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.rest();
    one_clear_event(&rig.memory.wait(1), "preface", 1);
    assert!(log.lock().unwrap().is_empty());
    let silent = rig.client();
    silent.end();
    until("it is gone", || rig.gateway.stats().open == 0);
    assert_eq!(rig.memory.len(), 1, "who sends nothing leaves nothing");
}

/// Sends for ever, and counts what it could send.
fn endless() -> (std::net::SocketAddr, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let sent = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let count = sent.clone();
    let (address, _) = serve(move |request, mut respond| {
        let count = count.clone();
        Box::pin(async move {
            let mut to = respond.send_response(Response::new(()), false).unwrap();
            if request.uri().path() != "/endless" {
                return to.send_data(Bytes::from_static(b"x"), true).unwrap();
            }
            loop {
                to.reserve_capacity(16 << 10);
                let Some(Ok(n)) = std::future::poll_fn(|cx| to.poll_capacity(cx)).await else { return };
                let n = n.min(16 << 10);
                if to.send_data(Bytes::from(vec![0; n]), false).is_err() {
                    return;
                }
                count.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
            }
        })
    });
    (address, sent)
}

#[test]
fn a_client_that_does_not_read_slows_its_server_and_not_its_other_streams() {
    use std::sync::atomic::Ordering::Relaxed;
    let (upstream, sent) = endless();
    let rig = rig(upstream);
    run(async {
        let mut send = connect_with(rig.address, |b| {
            b.initial_connection_window_size(16 << 20);
        })
        .await;
        let (response, _) = send.send_request(get("/endless"), true).unwrap();
        let mut from = response.await.unwrap().into_body();
        let mut before = 0;
        // Stands still: nothing moves over a while.
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if sent.load(Relaxed) == before && before > 0 {
                break;
            }
            before = sent.load(Relaxed);
        }
        assert!(sent.load(Relaxed) < 2 << 20, "{} bytes for a client that reads nothing", sent.load(Relaxed));
        fetch(&mut send, get("/other")).await.unwrap();
        let mut read = 0;
        while read < 8 << 20 {
            let part = from.data().await.unwrap().unwrap();
            from.flow_control().release_capacity(part.len()).unwrap();
            read += part.len();
        }
        assert!(sent.load(Relaxed) < read + (2 << 20), "never further ahead than the bound");
    });
}

#[test]
fn a_client_with_huge_windows_that_stops_its_socket_is_bounded_too() {
    let (upstream, sent) = endless();
    let rig = rig(upstream);
    let mut client = crate::support::Client::new(rig.address);
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    client.send(frame(8, 0, 0, &0x7f00_0000_u32.to_be_bytes()));
    for i in 0..20_u32 {
        client.send(frame(1, 5, 2 * i + 1, &get_block("/endless")));
    }
    let count = || sent.load(std::sync::atomic::Ordering::Relaxed);
    let (mut before, mut still) = (0, 0);
    until("it stands still", || {
        std::thread::sleep(Duration::from_millis(20));
        still = if count() == before && before > 0 { still + 1 } else { 0 };
        before = count();
        still > 10
    });
    // The kernel's buffers of three sockets, and at most a window of each stream.
    assert!(count() < 24 << 20, "{} bytes", count());
}

#[test]
fn a_stalled_ledger_stops_the_reading_and_loses_nothing() {
    let (upstream, _) = serve(|request, mut respond| {
        Box::pin(async move {
            body(&mut request.into_body()).await.unwrap();
            respond.send_response(Response::new(()), true).unwrap();
        })
    });
    let rig = Rig::with(upstream, |c| {
        http2(c);
        c.limits.ring = 256 << 10;
        c.limits.ring_connection = 128 << 10;
    });
    rig.memory.stalled.store(true, std::sync::atomic::Ordering::Relaxed);
    let n = 40;
    run(async {
        let send = connect(rig.address).await;
        let mut tasks = Vec::new();
        for i in 0..n {
            let mut send = send.clone();
            tasks.push(tokio::spawn(async move {
                std::future::poll_fn(|cx| send.poll_ready(cx)).await.unwrap();
                let request = http::Request::post(format!("http://a/{i}")).body(()).unwrap();
                let (response, mut to) = send.send_request(request, false).unwrap();
                let mut left = 64 << 10;
                while left > 0 {
                    to.reserve_capacity(left);
                    let Some(Ok(n)) = std::future::poll_fn(|cx| to.poll_capacity(cx)).await else { break };
                    left -= n;
                    to.send_data(Bytes::from(vec![1; n]), left == 0).unwrap();
                }
                let mut from = response.await.unwrap().into_body();
                body(&mut from).await.unwrap();
            }));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        rig.memory.stalled.store(false, std::sync::atomic::Ordering::Relaxed);
        for task in tasks {
            task.await.unwrap();
        }
    });
    let stats = rig.gateway.stats();
    let memory = rig.memory.clone();
    rig.gateway.shutdown(Duration::from_secs(5));
    assert!(stats.ring_full > 0, "it was full");
    let events = memory.wait(n);
    assert!(events.iter().all(|e| e.body.req.as_ref().unwrap().size == Some(64 << 10)), "{:?}", events[0]);
}

#[test]
fn more_streams_than_the_limit_wait_or_are_refused_with_a_record() {
    let (upstream, _) = serve(|_, respond| {
        Box::pin(async move {
            let mut respond = respond;
            let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
        })
    });
    let rig = Rig::with(upstream, |c| {
        http2(c);
        c.limits.h2_streams = 4;
    });
    let mut client = raw(rig.address);
    for i in 0..6_u32 {
        client.send(frame(1, 5, 2 * i + 1, &get_block("/")));
    }
    let events = rig.memory.wait(2);
    assert!(events.iter().all(|e| e.content.err.contains("REFUSED_STREAM")));
    run(async {
        let send = connect_with(rig.address, |b| {
            b.initial_max_send_streams(0);
        })
        .await;
        drop(send);
    });
}
