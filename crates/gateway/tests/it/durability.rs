//! Strict: nothing reaches the server before its intent is durable. Gap: nothing waits, and nothing is lost
//! in silence.

use crate::support::{Client, Rig, get, ok, response, server, until};
use countersign_event::{Outcome, Rec};
use countersign_gateway::{Durability, GatewayConfig, Protocol};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn strict(config: &mut GatewayConfig) {
    config.listeners[0].durability = Durability::Strict;
}

#[test]
fn a_strict_request_has_an_intent_and_an_outcome_that_links_to_it() {
    let (upstream, seen) = ok("done");
    let rig = Rig::with(upstream, strict);
    let mut client = rig.client();
    client.send(get("/orders/17"));
    client.expect(response("done"));
    let events = rig.memory.wait(2);
    assert_eq!(events[0].core.rec, Some(Rec::Intent));
    assert_eq!((events[0].core.op.as_str(), events[0].target.raw.as_str()), ("GET", "/orders/17"));
    assert_eq!(events[0].core.outcome, None);
    assert!(events[0].content.headers.is_empty(), "content comes with the outcome");
    assert_eq!(events[1].core.rec, Some(Rec::Outcome));
    assert_eq!(events[1].links.of, Some(events[0].core.eid));
    assert_eq!(events[1].core.outcome, Some(Outcome::Success));
    assert_eq!(seen.all().len(), 1);
    assert_eq!(rig.memory.owed.load(Ordering::Relaxed), 0, "a strict route promises nothing");
}

#[test]
fn the_server_sees_no_byte_before_the_intent_is_durable() {
    let (upstream, seen) = ok("done");
    let rig = Rig::with(upstream, strict);
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let mut client = rig.client();
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    until("the request was read", || rig.gateway.stats().requests == 1);
    std::thread::sleep(Duration::from_millis(100));
    assert!(seen.all().iter().all(Vec::is_empty), "{:?}", seen.all());
    rig.memory.stalled.store(false, Ordering::Relaxed);
    client.expect(response("done"));
    let events = rig.memory.wait(2);
    assert_eq!(events[1].body.req.as_ref().and_then(|b| b.size), Some(3));
}

#[test]
fn a_strict_request_whose_intent_is_not_durable_in_time_is_refused_and_never_sent() {
    let (upstream, seen) = ok("done");
    let rig = Rig::with(upstream, |config| {
        strict(config);
        config.limits.strict_wait = Duration::from_millis(100);
    });
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let mut client = rig.client();
    client.send(get("/a"));
    assert_eq!(client.last_status(), "503");
    rig.memory.stalled.store(false, Ordering::Relaxed);
    let events = rig.memory.wait(2);
    assert_eq!(events[1].content.err, "the ledger does not take records");
    assert_eq!(events[1].core.status.as_ref().map(|s| s.1.as_str()), Some("503"));
    assert!(seen.all().iter().all(Vec::is_empty));
    assert_eq!(rig.gateway.stats().unrecorded, 1);
}

#[test]
fn pipelined_strict_requests_pass_one_by_one_as_their_intents_become_durable() {
    let (upstream, _) = ok("x");
    let rig = Rig::with(upstream, strict);
    let mut client = rig.client();
    client.send([get("/1"), get("/2"), get("/3")].concat());
    for _ in 0..3 {
        client.expect(response("x"));
    }
    let events = rig.memory.wait(6);
    let of = |rec| events.iter().filter(move |e| e.core.rec == Some(rec));
    let intents: Vec<_> = of(Rec::Intent).map(|e| Some(e.core.eid)).collect();
    let outcomes: Vec<_> = of(Rec::Outcome).map(|e| e.links.of).collect();
    assert_eq!(intents, outcomes);
}

#[test]
fn a_strict_request_waits_for_no_record_of_another_route() {
    const BESIDE: u64 = 400;
    let (upstream, _) = ok("x");
    let (rig, kept) = Rig::apart(upstream, |config| {
        let mut other = config.listeners[0].clone();
        (other.name, other.durability) = ("strict".to_owned(), Durability::Strict);
        config.listeners[0].durability = Durability::Gap;
        config.listeners.push(other);
        config.limits.ring = 8 << 10;
        config.limits.strict_wait = crate::support::PATIENCE;
    });
    // As for a ledger whose queue is full: the decoder of the gap route is stuck in it, with a full ring before it.
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let mut beside = rig.client();
    for n in 0..BESIDE {
        beside.send(get(&format!("/beside/{n}")));
        beside.expect(response("x"));
    }
    assert!(rig.gateway.stats().dropped > 0, "the ring is full");
    let mut client = Client::new(rig.gateway.addresses()[1].1);
    for n in 0..10 {
        client.send(get(&format!("/{n}")));
        client.expect(response("x"));
    }
    let events = kept.wait(20);
    let of = |rec| events.iter().filter(move |e| e.core.rec == Some(rec)).map(|e| e.target.raw.as_str());
    let paths: Vec<String> = (0..10).map(|n| format!("/{n}")).collect();
    assert!(of(Rec::Intent).eq(&paths) && of(Rec::Outcome).eq(&paths), "each, in order: {events:?}");
    assert_eq!(rig.memory.len(), 0, "nothing of the other route was taken meanwhile");
    rig.memory.stalled.store(false, Ordering::Relaxed);
    drop((client, beside));
    let (memory, dropped) = (rig.memory.clone(), rig.gateway.stats().dropped);
    rig.gateway.shutdown(Duration::from_secs(5));
    let made = memory.all().iter().filter(|e| e.core.rec == Some(Rec::Interaction)).count() as u64;
    assert_eq!(made + dropped, BESIDE, "and nothing of it is missing");
}

#[test]
fn on_a_gap_route_a_stalled_ledger_stops_no_traffic_and_every_dropped_record_is_declared() {
    const REQUESTS: u64 = 400;
    let (upstream, _) = ok("x");
    let rig = Rig::with(upstream, |config| {
        config.listeners[0].durability = Durability::Gap;
        config.limits.ring = 8 << 10;
    });
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let mut client = rig.client();
    for n in 0..REQUESTS {
        client.send(get(&format!("/{n}")));
        client.expect(response("x"));
    }
    let dropped = rig.gateway.stats().dropped;
    assert!(dropped > 0, "the ring was full");
    until("the gap is declared", || rig.memory.dropped.load(Ordering::Relaxed) == dropped);
    rig.memory.stalled.store(false, Ordering::Relaxed);
    drop(client);
    let memory = rig.memory.clone();
    rig.gateway.shutdown(Duration::from_secs(5));
    let events = memory.all();
    let made = events.iter().filter(|e| e.core.rec == Some(Rec::Interaction)).count() as u64;
    let named: u64 =
        events.iter().filter(|e| e.core.rec == Some(Rec::Gap)).map(|e| e.core.n.unwrap_or(1)).sum();
    assert_eq!((made + dropped, named), (REQUESTS, dropped));
    assert!(events.iter().all(|e| e.core.outcome.is_some() || e.core.rec == Some(Rec::Gap)));
    let gaps = events.len() as u64 - made;
    assert_eq!(memory.owed.load(Ordering::Relaxed), REQUESTS + gaps, "every record was promised");
}

#[test]
fn on_a_gap_route_an_answer_whose_request_was_declared_dropped_declares_nothing_again() {
    let answer = Arc::<AtomicBool>::default();
    let told = answer.clone();
    let upstream = server(move |mut stream| {
        let mut buf = [0; 1024];
        while let Ok(n) = stream.read(&mut buf)
            && n > 0
        {
            let http = buf.starts_with(b"GET");
            if !http {
                until("the answer may go", || told.load(Ordering::Relaxed));
            }
            let bytes = if http { response("x").into_bytes() } else { b"+PONG\r\n".to_vec() };
            let _ = stream.write_all(&bytes);
        }
    });
    let rig = Rig::with(upstream, |config| {
        config.listeners[0].durability = Durability::Gap;
        let mut redis = config.listeners[0].clone();
        (redis.name, redis.protocol) = ("redis".to_owned(), Protocol::Redis);
        config.listeners.push(redis);
        config.limits.ring = 8 << 10;
    });
    let mut redis = Client::new(rig.gateway.addresses()[1].1);
    let (mut client, mut sent) = (rig.client(), 0);
    let mut drop_one = || {
        let before = rig.gateway.stats().dropped;
        while rig.gateway.stats().dropped == before {
            client.send(get("/a"));
            client.expect(response("x"));
            sent += 1;
        }
    };
    rig.memory.stalled.store(true, Ordering::Relaxed);
    drop_one();
    let http = rig.gateway.stats().dropped;
    redis.send("*1\r\n$4\r\nPING\r\n");
    until("the command is dropped", || rig.gateway.stats().dropped == http + 1);
    until("it is declared", || rig.memory.dropped.load(Ordering::Relaxed) == http + 1);
    answer.store(true, Ordering::Relaxed);
    redis.expect("+PONG\r\n");
    drop_one();
    let dropped = rig.gateway.stats().dropped;
    until("that is declared too", || rig.memory.dropped.load(Ordering::Relaxed) == dropped);
    rig.memory.stalled.store(false, Ordering::Relaxed);
    drop((client, redis));
    let memory = rig.memory.clone();
    rig.gateway.shutdown(Duration::from_secs(5));
    let events = memory.all();
    let gaps = |route: &str| -> u64 {
        let here = events.iter().filter(|e| e.core.rec == Some(Rec::Gap) && e.core.route == route);
        here.map(|e| e.core.n.unwrap_or(1)).sum()
    };
    assert_eq!((gaps("redis"), gaps("main") + 1), (1, dropped));
    let made = events.iter().filter(|e| e.core.rec == Some(Rec::Interaction)).count() as u64;
    assert_eq!(made + gaps("main"), sent);
}

#[test]
fn on_a_gap_route_a_body_larger_than_the_ring_passes_and_keeps_its_size() {
    const BODY: usize = 4 << 20;
    let upstream = server(|mut stream| {
        let mut buf = vec![0; 64 << 10];
        let _ = stream.read(&mut buf);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&vec![b'x'; BODY]);
    });
    let rig = Rig::with(upstream, |config| {
        config.listeners[0].durability = Durability::Gap;
        config.limits.ring = 64 << 10;
        config.limits.ring_connection = 64 << 10;
    });
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let mut client = rig.client();
    client.send(get("/big"));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
    client.expect(&head);
    assert_eq!(client.read(BODY).len(), BODY);
    rig.memory.stalled.store(false, Ordering::Relaxed);
    let event = rig.memory.wait(1).remove(0);
    assert_eq!(event.body.rsp.as_ref().and_then(|b| b.size), Some(BODY as u64));
}
