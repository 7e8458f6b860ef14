//! HTTP/2 at the edges: how it begins, who calls, what is denied, servers that fail, the end.

use crate::h2_support::{connect, fetch, get, http2, ok, rig, run, serve};
use crate::support::{PATIENCE, Rig, until};
use bytes::Bytes;
use countersign_event::{Decision, Mode, Outcome, Rec, StatusSpace, Verdict};
use countersign_gateway::Durability;
use countersign_policy::{Policy, Request as Asked};
use h2::Reason;
use http::{Request, Response};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn a_listener_that_finds_out_serves_both_versions() {
    let (upstream, _) = ok("two");
    let rig = Rig::new(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        assert_eq!(fetch(&mut send, get("/")).await.unwrap().1, b"two");
    });
    let (one, _) = crate::support::ok("one");
    let rig_one = Rig::new(one);
    let mut client = rig_one.client();
    client.send(crate::support::get("/"));
    client.expect(crate::support::response("one"));
    assert_eq!(rig.memory.wait(1)[0].core.proto, "http/2");
    assert_eq!(rig_one.memory.wait(1)[0].core.proto, "http/1.1");
}

/// Denies what it is told to, by action.
struct Denies(&'static str);

impl Policy for Denies {
    fn decide(&self, request: &Asked<'_>) -> Decision {
        let denied = request.action() == self.0 || request.resource == self.0;
        Decision {
            mode: Some(Mode::Enforce),
            verdict: Some(if denied { Verdict::Deny } else { Verdict::Allow }),
            policies: vec!["p1".to_owned()],
            reason: "because".to_owned(),
            ..Decision::default()
        }
    }
}

fn enforcing(upstream: SocketAddr, denies: &'static str) -> Rig {
    let change = |c: &mut countersign_gateway::GatewayConfig| {
        http2(c);
        c.enforce = true;
    };
    Rig::full(upstream, change, Default::default(), Arc::new(Denies(denies)))
}

#[test]
fn a_denied_request_gets_403_and_the_server_never_sees_it() {
    let (upstream, log) = ok("x");
    let rig = enforcing(upstream, "http:DELETE");
    run(async {
        let mut send = connect(rig.address).await;
        let request = Request::delete("http://a/orders/1").body(()).unwrap();
        let (parts, body) = fetch(&mut send, request).await.unwrap();
        assert_eq!(parts.status, 403);
        assert_eq!(parts.headers["content-type"], "application/problem+json");
        assert!(String::from_utf8(body).unwrap().contains("policy"));
        assert_eq!(fetch(&mut send, get("/orders/1")).await.unwrap().0.status, 200);
    });
    assert_eq!(*log.lock().unwrap(), ["GET /orders/1"]);
    let events = rig.memory.wait(2);
    assert_eq!(
        (events[0].core.outcome, events[1].core.outcome),
        (Some(Outcome::Denied), Some(Outcome::Success))
    );
    let decision = events[0].core.decision.as_ref().unwrap();
    assert_eq!((decision.verdict, decision.reason.as_str()), (Some(Verdict::Deny), "because"));
}

#[test]
fn a_denied_call_of_grpc_gets_status_seven_in_the_head_alone() {
    let (upstream, log) = ok("x");
    let rig = enforcing(upstream, "grpc:Delete");
    run(async {
        let mut send = connect(rig.address).await;
        let request =
            Request::post("http://a/shop.v1.Orders/Delete").header("content-type", "application/grpc");
        let (mut response, mut to) = {
            let (response, to) = send.send_request(request.body(()).unwrap(), false).unwrap();
            (response, to)
        };
        let answer = (&mut response).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().is_end_stream()), (200, true));
        assert_eq!(
            (&answer.headers()["grpc-status"], &answer.headers()["content-type"]),
            (&"7".parse().unwrap(), &"application/grpc".parse().unwrap())
        );
        let reason = std::future::poll_fn(|cx| to.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, Reason::NO_ERROR, "the rest of the request is not wanted");
    });
    assert!(log.lock().unwrap().is_empty());
    let event = &rig.memory.wait(1)[0];
    assert_eq!((event.core.op.as_str(), event.core.outcome), ("Delete", Some(Outcome::Denied)));
    assert_eq!(event.core.status, Some((StatusSpace::Grpc, "7".to_owned())));
    assert_eq!((event.target.res.as_str(), event.core.proto.as_str()), ("/shop.v1.Orders/Delete", "grpc"));
}

/// The status and reason of the answer to one request.
fn failing(rig: &Rig) -> (u16, String) {
    run(async {
        let mut send = connect(rig.address).await;
        let (parts, body) = fetch(&mut send, get("/")).await.unwrap();
        // No further stream: the client shall connect anew.
        until_gone(&mut send).await;
        (parts.status.as_u16(), String::from_utf8(body).unwrap())
    })
}

async fn until_gone(send: &mut h2::client::SendRequest<Bytes>) {
    let end = std::time::Instant::now() + PATIENCE;
    while fetch(send, get("/again")).await.is_ok() {
        assert!(std::time::Instant::now() < end, "the connection must end");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn a_server_that_refuses_or_hangs_up_is_502_with_the_reason() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, text) = failing(&rig(closed));
    assert!(status == 502 && text.contains("refused"), "{text}");
    let mute = crate::support::server(|_stream| {});
    let (status, text) = failing(&rig(mute));
    assert!(status == 502 && text.contains("without speaking"), "{text}");
}

#[test]
fn a_server_of_http1_only_is_502_with_the_reason_and_gets_no_request() {
    let told = crate::support::server(|mut stream| {
        use std::io::{Read, Write};
        let mut buf = [0; 1024];
        let n = stream.read(&mut buf).unwrap();
        assert!(buf[..n].starts_with(b"PRI"));
        // Preface, SETTINGS and window, and nothing of a request.
        assert!(n < 100, "{n} bytes");
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let rig = rig(told);
    let (status, text) = failing(&rig);
    assert!(status == 502 && text.contains("HTTP/1 only"), "{text}");
    until("its record is there", || rig.memory.len() > 0);
    let event = &rig.memory.wait(rig.memory.len())[0];
    assert_eq!(event.core.outcome, Some(Outcome::ServerError));
    assert!(event.content.err.contains("HTTP/1 only"));
}

#[test]
fn a_call_of_grpc_learns_of_a_failed_server_in_its_own_words() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = rig(closed);
    run(async {
        let mut send = connect(rig.address).await;
        let request = Request::post("http://a/a.B/C").header("content-type", "application/grpc");
        let (parts, body) = fetch(&mut send, request.body(()).unwrap()).await.unwrap();
        assert_eq!((parts.status.as_u16(), body.len()), (200, 0));
        assert_eq!(parts.headers["grpc-status"], "14");
        assert!(parts.headers["grpc-message"].to_str().unwrap().contains("refused"));
    });
    let event = &rig.memory.wait(1)[0];
    assert_eq!(event.core.outcome, Some(Outcome::ServerError));
}

#[test]
fn a_server_that_dies_in_the_middle_leaves_unknown_outcomes() {
    let dies = crate::support::server(|mut stream| {
        use std::io::{Read, Write};
        stream.write_all(&crate::h2_support::frame(4, 0, 0, &[])).unwrap();
        let mut all = Vec::new();
        let mut buf = [0; 4096];
        // Until a HEADERS frame has come.
        while !all.windows(2).any(|w| w == [1, 5]) {
            match stream.read(&mut buf) {
                Ok(0) | Err(_) => return,
                Ok(n) => all.extend_from_slice(&buf[..n]),
            }
        }
    });
    let rig = rig(dies);
    let (status, text) = failing(&rig);
    assert!(status == 502 && text.contains("without an answer"), "{text}");
    until("its record is there", || rig.memory.len() > 0);
    let event = &rig.memory.wait(rig.memory.len())[0];
    assert_eq!(event.core.outcome, None, "nobody knows");
}

#[test]
fn a_server_that_leaves_makes_the_client_leave_and_finishes_what_is_open() {
    let (upstream, _) = serve(|request, mut respond| {
        Box::pin(async move {
            if request.uri().path() == "/slow" {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let mut to = respond.send_response(Response::new(()), false).unwrap();
            to.send_data(Bytes::from_static(b"done"), true).unwrap();
        })
    });
    let rig = rig(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        let mut other = send.clone();
        let slow = tokio::spawn(async move { fetch(&mut other, get("/slow")).await });
        while rig.gateway.stats().requests == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fetch(&mut send, get("/leave")).await.unwrap();
        until_gone(&mut send).await;
        assert_eq!(slow.await.unwrap().unwrap().1, b"done");
    });
    until("the connection is closed", || rig.gateway.stats().open == 0);
}

#[test]
fn a_drain_finishes_open_streams_and_refuses_none_before() {
    let (upstream, _) = serve(|_, mut respond| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let mut to = respond.send_response(Response::new(()), false).unwrap();
            to.send_data(Bytes::from_static(b"done"), true).unwrap();
        })
    });
    let rig = rig(upstream);
    let (address, memory) = (rig.address, rig.memory.clone());
    run(async {
        let mut send = connect(address).await;
        let mut idle = connect(address).await;
        let _ = fetch(&mut idle, get("/idle")).await;
        let work = tokio::spawn(async move { fetch(&mut send, get("/open")).await });
        while rig.gateway.stats().requests < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let begun = std::time::Instant::now();
        let gateway = rig.gateway;
        let ended = tokio::task::spawn_blocking(move || gateway.shutdown(Duration::from_secs(20)));
        assert_eq!(work.await.unwrap().unwrap().1, b"done");
        ended.await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(15), "it did not wait for the deadline");
        assert!(fetch(&mut idle, get("/late")).await.is_err());
    });
    assert!(memory.wait(2).iter().all(|e| e.core.outcome == Some(Outcome::Success)));
}

#[test]
fn a_drain_that_is_over_cuts_with_a_record() {
    let (upstream, _) = serve(|_, respond| {
        Box::pin(async move {
            let mut respond = respond;
            let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
        })
    });
    let rig = rig(upstream);
    let (address, memory) = (rig.address, rig.memory.clone());
    run(async {
        let mut send = connect(address).await;
        let (response, _) = send.send_request(get("/for-ever"), true).unwrap();
        while rig.gateway.stats().requests < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let gateway = rig.gateway;
        tokio::task::spawn_blocking(move || gateway.shutdown(Duration::from_millis(50))).await.unwrap();
        assert!(response.await.is_err());
    });
    let event = &memory.wait(1)[0];
    assert_eq!((event.core.outcome, event.content.err.as_str()), (None, "gateway shut down"));
}

struct PanicsOn(&'static str);
impl Policy for PanicsOn {
    fn decide(&self, request: &Asked<'_>) -> Decision {
        assert!(request.resource != self.0, "a fault for the test");
        Decision::default()
    }
}

#[test]
fn a_panic_on_the_path_ends_one_connection_and_loses_no_record() {
    let (upstream, _) = ok("x");
    let change = |c: &mut countersign_gateway::GatewayConfig| {
        http2(c);
        c.enforce = true;
    };
    let rig = Rig::full(upstream, change, Default::default(), Arc::new(PanicsOn("/boom")));
    run(async {
        let mut well = connect(rig.address).await;
        let mut sick = connect(rig.address).await;
        fetch(&mut well, get("/1")).await.unwrap();
        fetch(&mut sick, get("/2")).await.unwrap();
        assert!(fetch(&mut sick, get("/boom")).await.is_err());
        fetch(&mut well, get("/3")).await.unwrap();
    });
    rig.memory.wait(3);
    until("it is counted", || rig.gateway.stats().panics == 1);
}

#[test]
fn a_panic_off_the_path_costs_details_and_no_record() {
    let (upstream, _) = ok("x");
    let rig = Rig::full(upstream, http2, Default::default(), Arc::new(PanicsOn("/boom")));
    run(async {
        let mut sick = connect(rig.address).await;
        let mut well = connect(rig.address).await;
        for path in ["/a", "/boom", "/b"] {
            fetch(&mut sick, get(path)).await.unwrap();
            fetch(&mut well, get("/well")).await.unwrap();
        }
    });
    let events = rig.memory.wait(6);
    assert_eq!(events.iter().filter(|e| e.core.rec == Some(Rec::Cut)).count(), 2);
    assert_eq!(events.iter().filter(|e| e.target.raw == "/well").count(), 3);
}

#[test]
fn a_strict_route_sends_no_request_before_its_intent_is_durable() {
    let (upstream, log) = ok("x");
    let rig = Rig::with(upstream, |c| {
        http2(c);
        c.listeners[0].durability = Durability::Strict;
        c.limits.strict_wait = Duration::from_millis(100);
    });
    run(async {
        let mut send = connect(rig.address).await;
        assert_eq!(fetch(&mut send, get("/a")).await.unwrap().0.status, 200);
        rig.memory.stalled.store(true, Ordering::Relaxed);
        assert_eq!(fetch(&mut send, get("/b")).await.unwrap().0.status, 503);
        rig.memory.stalled.store(false, Ordering::Relaxed);
    });
    assert_eq!(*log.lock().unwrap(), ["GET /a"]);
    let events = rig.memory.wait(4);
    let rec = |path: &str| {
        let of = events.iter().filter(|e| e.target.raw == path);
        let mut all: Vec<_> = of.map(|e| format!("{:?}", e.core.rec.unwrap())).collect();
        all.sort();
        all
    };
    assert_eq!(
        (rec("/a"), rec("/b")),
        (vec!["Intent".into(), "Outcome".into()], vec!["Intent".into(), "Outcome".to_owned()])
    );
}

#[test]
fn a_gap_route_never_waits_and_counts_what_it_drops() {
    let (upstream, log) = ok("x");
    let rig = Rig::with(upstream, |c| {
        http2(c);
        c.listeners[0].durability = Durability::Gap;
        c.limits.ring = 16 << 10;
    });
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let n = 200;
    run(async {
        let mut send = connect(rig.address).await;
        for i in 0..n {
            fetch(&mut send, get(&format!("/{i}"))).await.unwrap();
        }
    });
    rig.memory.stalled.store(false, Ordering::Relaxed);
    let memory = rig.memory.clone();
    let dropped = rig.gateway.stats().dropped;
    rig.gateway.shutdown(Duration::from_secs(5));
    assert_eq!(log.lock().unwrap().len(), n);
    assert!(dropped > 0, "the ring was full");
    let made = memory.wait(memory.len()).iter().filter(|e| e.core.rec == Some(Rec::Interaction)).count();
    assert_eq!(made as u64 + dropped, n as u64, "recorded and dropped are all");
}
