//! Servers that refuse, reset, stall or die, clients that leave, a ledger that stops: each has its outcome.

use crate::support::{Rig, get, ok, response, server, until};
use countersign_event::{Outcome, StatusSpace};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn status(e: &countersign_event::Event) -> &str {
    let Some((StatusSpace::Http, code)) = &e.core.status else { return "" };
    code
}

#[test]
fn a_server_that_refuses_is_502_and_server_error() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = Rig::new(free);
    let mut client = rig.client();
    client.send(get("/a"));
    let answer = String::from_utf8(client.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("application/problem+json"), "{answer}");
    let e = &rig.memory.wait(1)[0];
    assert_eq!((status(e), e.core.outcome), ("502", Some(Outcome::ServerError)));
    assert_eq!(e.content.err, "upstream refused the connection");
}

#[test]
fn a_server_that_dies_between_request_and_reply_leaves_the_outcome_unknown() {
    let upstream = server(|mut s| {
        let _ = s.read(&mut [0; 4096]);
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(get("/a"));
    assert_eq!(client.last_status(), "502");
    let e = &rig.memory.wait(1)[0];
    assert_eq!((status(e), e.core.outcome), ("502", None));
    assert_eq!(e.content.err, "upstream closed without an answer");
}

#[test]
fn a_server_that_dies_in_its_reply_cuts_the_client_too() {
    let upstream = server(|mut s| {
        let _ = s.read(&mut [0; 4096]).unwrap();
        s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(get("/a"));
    assert_eq!(client.rest(), b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    let e = &rig.memory.wait(1)[0];
    assert_eq!((status(e), e.core.outcome), ("200", None));
    assert_eq!(e.body.rsp.as_ref().unwrap().size, Some(4));
}

#[test]
fn an_idle_connection_that_the_server_closed_ends_without_a_made_up_answer() {
    let upstream = server(|mut s| {
        let _ = s.read(&mut [0; 4096]).unwrap();
        s.write_all(response("one").as_bytes()).unwrap();
        let _ = s.read(&mut [0; 4096]);
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(get("/1"));
    client.expect(response("one"));
    client.send(get("/2"));
    assert_eq!(client.rest(), b"");
    let events = rig.memory.wait(2);
    assert_eq!((status(&events[1]), events[1].core.outcome), ("", None));
}

#[test]
fn a_server_that_stalls_is_504_and_timeout() {
    let upstream = server(|mut s| {
        let _ = s.read(&mut [0; 4096]);
        let _ = s.read(&mut [0; 4096]);
    });
    let rig = Rig::with(upstream, |c| c.limits.response_time = Duration::from_millis(150));
    let mut client = rig.client();
    client.send(get("/a"));
    assert_eq!(client.last_status(), "504");
    let e = &rig.memory.wait(1)[0];
    assert_eq!((status(e), e.core.outcome), ("504", Some(Outcome::Timeout)));
}

#[test]
fn a_client_that_leaves_mid_request_is_recorded_without_an_outcome() {
    let upstream = server(|mut s| {
        let mut all = Vec::new();
        let _ = s.read_to_end(&mut all);
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123");
    until("the request passed", || rig.gateway.stats().requests == 1);
    drop(client);
    let e = &rig.memory.wait(1)[0];
    assert_eq!(e.core.outcome, None);
    assert_eq!(e.body.req.as_ref().unwrap().size, Some(3));
}

#[test]
fn an_early_answer_to_an_unfinished_upload_reaches_the_client() {
    let upstream = server(|mut s| {
        let _ = s.read(&mut [0; 4096]).unwrap();
        s.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        s.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = s.read(&mut [0; 4096]);
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n123");
    client.expect("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    drop(client);
    let e = &rig.memory.wait(1)[0];
    assert_eq!((status(e), e.core.outcome), ("413", Some(Outcome::CallerError)));
}

#[test]
fn a_stalled_ledger_stops_the_reading_and_loses_nothing() {
    let (upstream, _) = ok("x");
    let rig = Rig::with(upstream, |c| c.limits.ring = 16 << 10);
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let address = rig.address;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = crate::support::Client::new(address);
                for _ in 0..200 {
                    client.send(get("/s"));
                    client.expect(response("x"));
                }
            })
        })
        .collect();
    until("the ring is full", || rig.gateway.stats().ring_full > 0);
    assert!(rig.gateway.stats().requests < 800);
    rig.memory.stalled.store(false, Ordering::Relaxed);
    clients.into_iter().for_each(|c| c.join().unwrap());
    rig.memory.wait(800);
}

#[test]
fn while_the_ring_is_full_no_time_of_the_peers_passes() {
    let (upstream, _) = ok("x");
    let rig = Rig::with(upstream, |c| {
        c.limits.ring = 4 << 10;
        (c.limits.body_window, c.limits.head_time) = (Duration::from_secs(1), Duration::from_secs(1));
    });
    let (mut body, mut head) = (rig.client(), rig.client());
    body.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123");
    until("the request passed", || rig.gateway.stats().requests == 1);
    rig.memory.stalled.store(true, Ordering::Relaxed);
    head.send("GET /half HTTP/1.1\r\nHost: a\r\n");
    let mut other = rig.client();
    other.send(get("/s").repeat(60));
    until("the ring is full", || rig.gateway.stats().ring_full > 0);
    body.send("4567890");
    head.send("\r\n");
    std::thread::sleep(Duration::from_millis(2_500));
    rig.memory.stalled.store(false, Ordering::Relaxed);
    body.expect(response("x"));
    head.expect(response("x"));
    (0..60).for_each(|_| other.expect(response("x")));
    let events = rig.memory.wait(62);
    assert!(events.iter().all(|e| e.core.outcome == Some(Outcome::Success)));
}

#[test]
fn an_orderly_shutdown_lets_answers_end_and_hands_over_every_record() {
    let upstream = server(|mut s| {
        let _ = s.read(&mut [0; 4096]).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        s.write_all(response("late").as_bytes()).unwrap();
        let _ = s.read(&mut [0; 4096]);
    });
    let rig = Rig::new(upstream);
    let idle = rig.client();
    let mut client = rig.client();
    client.send(get("/last"));
    until("the request passed", || rig.gateway.stats().requests == 1);
    let memory = rig.memory.clone();
    rig.gateway.shutdown(Duration::from_secs(20));
    assert_eq!(memory.len(), 1);
    let last = response("late").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    assert_eq!(String::from_utf8(client.rest()).unwrap(), last);
    drop(idle);
}

#[test]
fn a_shutdown_past_its_deadline_cuts_and_still_records() {
    let upstream = server(|mut s| {
        let mut all = Vec::new();
        let _ = s.read_to_end(&mut all);
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(get("/never"));
    until("the request passed", || rig.gateway.stats().requests == 1);
    let memory = rig.memory.clone();
    rig.gateway.shutdown(Duration::from_millis(50));
    let events = memory.wait(1);
    assert_eq!((events[0].core.outcome, events[0].content.err.as_str()), (None, "gateway shut down"));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let result = std::panic::catch_unwind(|| Rig::with(address, |c| c.listeners[0].listen = address));
    assert!(result.is_err());
}

struct PanicsOn(&'static str);
impl countersign_policy::Policy for PanicsOn {
    fn decide(&self, request: &countersign_policy::Request<'_>) -> countersign_event::Decision {
        assert!(request.resource != self.0, "a fault for the test");
        countersign_event::Decision::default()
    }
}

#[test]
fn a_panic_off_the_path_costs_details_and_no_record() {
    let (upstream, _) = ok("x");
    let policy = std::sync::Arc::new(PanicsOn("/boom"));
    let rig = Rig::full(upstream, |_| {}, Default::default(), policy);
    let (mut sick, mut well) = (rig.client(), rig.client());
    for path in ["/a", "/boom", "/b"] {
        sick.send(get(path));
        sick.expect(response("x"));
        well.send(get("/well"));
        well.expect(response("x"));
    }
    let events = rig.memory.wait(6);
    assert_eq!(events.iter().filter(|e| e.core.rec == Some(countersign_event::Rec::Cut)).count(), 2);
    assert_eq!(events.iter().filter(|e| e.target.raw == "/well").count(), 3);
    assert_eq!(rig.gateway.stats().decoder_panics, 1);
}

#[test]
fn a_panic_on_the_path_ends_one_connection() {
    let (upstream, _) = ok("x");
    let policy = std::sync::Arc::new(PanicsOn("/boom"));
    let rig = Rig::full(upstream, |c| c.enforce = true, Default::default(), policy);
    let (mut sick, mut well) = (rig.client(), rig.client());
    well.send(get("/1"));
    well.expect(response("x"));
    sick.send(get("/boom"));
    assert_eq!(sick.rest(), b"");
    well.send(get("/2"));
    well.expect(response("x"));
    rig.memory.wait(2);
    until("it is counted", || rig.gateway.stats().panics == 1);
}
