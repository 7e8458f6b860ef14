//! RFC 9110 and 9112 where several messages, or both directions at once, are the point: tunnels, upgrades,
//! pipelining, half-close, early answers.

use crate::support::{Rig, get, http, ok, response, server, until};
use countersign_event::{Outcome, Rec};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

const CONNECT: &str = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Reads exactly `text` on the server's side.
fn take(s: &mut TcpStream, text: &str) {
    let mut buf = vec![0; text.len()];
    s.read_exact(&mut buf).unwrap();
    assert_eq!(String::from_utf8_lossy(&buf), text);
}

fn answer(s: &mut TcpStream, text: &str) {
    s.write_all(text.as_bytes()).unwrap();
}

fn records(rig: &Rig, n: usize) -> Vec<(Option<Rec>, String, Option<Outcome>)> {
    let events = rig.memory.wait(n);
    let status = |e: &countersign_event::Event| e.core.status.as_ref().map_or(String::new(), |s| s.1.clone());
    events.iter().map(|e| (e.core.rec, status(e), e.core.outcome)).collect()
}

#[test]
fn rfc9110_9_3_6_connect_becomes_a_tunnel_on_any_2xx_whose_lengths_mean_nothing() {
    for head in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.1 204 Fine\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let upstream = server(move |mut s| {
            take(&mut s, CONNECT);
            answer(&mut s, head);
            answer(&mut s, "first");
            take(&mut s, "\u{16}\u{3}\u{1}hello");
            answer(&mut s, "last");
        });
        let rig = Rig::new(upstream);
        let mut client = rig.client();
        client.send(CONNECT);
        client.expect(format!("{head}first"));
        client.send("\u{16}\u{3}\u{1}hello");
        assert_eq!(client.rest(), b"last");
        drop(client);
        let events = rig.memory.wait(2);
        assert_eq!((events[0].core.op.as_str(), events[0].core.rec), ("CONNECT", Some(Rec::Interaction)));
        assert_eq!(events[0].target.raw, "a:443");
        let detail = format!("{:?}", events[1].content.detail);
        assert_eq!(detail, r#"{0: Uint(8), 1: Uint(9), 2: Text("upgraded")}"#, "{head:?}");
    }
}

#[test]
fn rfc9110_9_3_6_bytes_behind_connect_wait_for_its_answer_and_are_a_request_when_it_is_refused() {
    let upstream = server(|mut s| {
        take(&mut s, CONNECT);
        s.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
        assert!(s.read(&mut [0; 1]).is_err(), "a byte came before the answer to CONNECT");
        s.set_read_timeout(None).unwrap();
        answer(&mut s, "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno");
        take(&mut s, &get("/next"));
        answer(&mut s, &response("x"));
        let _ = s.read(&mut [0; 1]);
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send([CONNECT, &get("/next")].concat());
    client.expect("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno");
    client.expect(response("x"));
    drop(client);
    let got = records(&rig, 2);
    assert_eq!(got[0], (Some(Rec::Interaction), "407".into(), Some(Outcome::Denied)));
    assert_eq!(got[1], (Some(Rec::Interaction), "200".into(), Some(Outcome::Success)));
}

#[test]
fn rfc9110_9_3_6_early_bytes_enter_the_tunnel_once_it_is_agreed() {
    let upstream = server(|mut s| {
        take(&mut s, CONNECT);
        answer(&mut s, "HTTP/1.1 200 OK\r\n\r\n");
        take(&mut s, "GET /not-a-request HTTP/1.1\r\n\r\n");
        answer(&mut s, "done");
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send([CONNECT, "GET /not-a-request HTTP/1.1\r\n\r\n"].concat());
    assert_eq!(client.rest(), b"HTTP/1.1 200 OK\r\n\r\ndone");
    drop(client);
    assert_eq!(records(&rig, 2)[1].0, Some(Rec::Opaque));
}

#[test]
fn rfc9110_7_8_a_refused_upgrade_leaves_http_and_the_held_bytes_are_the_next_request() {
    let upstream = server(|mut s| {
        take(&mut s, UPGRADE);
        answer(&mut s, &response("plain"));
        take(&mut s, &get("/next"));
        answer(&mut s, &response("x"));
        let _ = s.read(&mut [0; 1]);
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send([UPGRADE, &get("/next")].concat());
    client.expect(response("plain"));
    client.expect(response("x"));
    drop(client);
    assert_eq!(records(&rig, 2)[1].1, "200");
}

#[test]
fn rfc9110_7_8_an_upgrade_with_a_body_switches_only_behind_the_body() {
    let ask = "POST /up HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x/1\r\nContent-Length: 4\r\n\r\nbody";
    let upstream = server(move |mut s| {
        take(&mut s, ask);
        answer(&mut s, "HTTP/1.1 101 Go\r\nUpgrade: x/1\r\nConnection: upgrade\r\n\r\n");
        take(&mut s, "raw");
        answer(&mut s, "war");
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send([ask, "raw"].concat());
    let got = client.rest();
    assert!(got.ends_with(b"\r\n\r\nwar"), "{:?}", String::from_utf8_lossy(&got));
    drop(client);
    let events = rig.memory.wait(2);
    assert_eq!(events[0].body.req.as_ref().unwrap().size, Some(4));
    assert_eq!(events[1].core.rec, Some(Rec::Opaque));
}

#[test]
fn rfc9110_7_8_a_switch_that_nobody_asked_for_is_refused() {
    for ask in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        // Upgrade that Connection does not name, and HTTP/1.0, ask for nothing.
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let upstream = server(move |mut s| {
            take(&mut s, ask);
            answer(&mut s, "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\nraw");
            let _ = s.read(&mut [0; 1]);
        });
        let rig = Rig::new(upstream);
        let mut client = rig.client();
        client.send(ask);
        let got = String::from_utf8(client.rest()).unwrap();
        assert!(got.starts_with("HTTP/1.1 502 ") && !got.contains("raw"), "{got}");
        assert_eq!(rig.memory.wait(1)[0].content.err, "unexpected-switch");
    }
}

#[test]
fn rfc9112_9_3_2_pipelined_answers_of_mixed_sizes_keep_their_order() {
    let size = |head: &str| head.split(['/', ' ']).nth(2).unwrap().parse::<usize>().unwrap();
    let body = |n: usize| "z".repeat(n);
    let (upstream, seen) = http(move |head| response(&body(size(head))).into_bytes());
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    let sizes: Vec<usize> = (0..150).map(|i| [0, 1, 70_000, 13, 300_000, 2][i % 6] + i).collect();
    let mut sent = String::new();
    for n in &sizes {
        match n % 3 {
            0 => sent += &get(&format!("/{n}")),
            1 => sent += &format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
            _ => {
                sent += &format!(
                    "PUT /{n} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
                );
            }
        }
    }
    let mut writer = client.0.try_clone().unwrap();
    let all = sent.clone();
    let writing = std::thread::spawn(move || writer.write_all(all.as_bytes()).unwrap());
    for n in &sizes {
        client.expect(response(&body(*n)));
    }
    writing.join().unwrap();
    let events = rig.memory.wait(sizes.len());
    assert_eq!(seen.all().concat(), sent.as_bytes());
    for (event, n) in events.iter().zip(&sizes) {
        assert_eq!(event.target.raw, format!("/{n}"));
        assert_eq!(event.body.rsp.as_ref().unwrap().size, Some(*n as u64));
    }
}

#[test]
fn rfc9112_9_3_2_pipelined_requests_beyond_the_bound_wait_and_none_is_lost_when_the_client_half_closes() {
    let (upstream, seen) = ok("x");
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    let all: String = (0..500).map(|i| get(&format!("/{i}"))).collect();
    client.send(&all);
    client.end();
    assert_eq!(client.rest(), response("x").repeat(500).into_bytes());
    assert_eq!(records(&rig, 500).iter().filter(|r| r.2 == Some(Outcome::Success)).count(), 500);
    assert_eq!(seen.all().concat(), all.as_bytes());
}

#[test]
fn rfc9112_9_6_a_request_behind_close_is_refused_and_never_reaches_the_server() {
    let last = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let upstream = server(move |mut s| {
        take(&mut s, last);
        s.write_all(response("bye").as_bytes()).unwrap();
        let mut more = Vec::new();
        let _ = s.read_to_end(&mut more);
        assert_eq!(more, b"");
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send([last, &get("/behind")].concat());
    client.expect(response("bye"));
    assert_eq!(client.last_status(), "400");
    let events = rig.memory.wait(2);
    let refused = events.iter().find(|e| e.content.err == "after-last-request").unwrap();
    assert_eq!(refused.target.raw, "/behind");
}

#[test]
fn rfc9112_9_6_each_side_may_end_its_direction_first() {
    let upstream = server(|mut s| {
        take(&mut s, &get("/a"));
        answer(&mut s, &response("x"));
        s.shutdown(Shutdown::Write).unwrap();
        let mut more = Vec::new();
        let _ = s.read_to_end(&mut more);
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(get("/a"));
    assert_eq!(client.rest(), response("x").into_bytes());
    drop(client);
    assert_eq!(records(&rig, 1)[0].2, Some(Outcome::Success));
    until("the connection is gone", || rig.gateway.stats().open == 0);
}

#[test]
fn rfc9112_9_5_an_answer_may_come_before_its_request_has_ended_and_the_connection_lives_on() {
    let start = "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n123";
    let upstream = server(move |mut s| {
        take(&mut s, start);
        answer(&mut s, "HTTP/1.1 422 Early\r\nContent-Length: 0\r\n\r\n");
        take(&mut s, "456");
        take(&mut s, &get("/next"));
        answer(&mut s, &response("x"));
        let _ = s.read(&mut [0; 1]);
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(start);
    client.expect("HTTP/1.1 422 Early\r\nContent-Length: 0\r\n\r\n");
    client.send(["456", &get("/next")].concat());
    client.expect(response("x"));
    drop(client);
    let events = rig.memory.wait(2);
    assert_eq!(events[0].body.req.as_ref().unwrap().size, Some(6));
    assert_eq!(events[0].core.status.as_ref().unwrap().1, "422");
    assert_eq!((events[1].target.raw.as_str(), events[1].body.req.is_none()), ("/next", true));
}

#[test]
fn rfc9110_10_1_1_a_final_answer_instead_of_100_ends_the_wait() {
    let head = "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let upstream = server(move |mut s| {
        take(&mut s, head);
        answer(&mut s, "HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(head);
    client.expect("HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    drop(client);
    assert_eq!(records(&rig, 1)[0], (Some(Rec::Interaction), "413".into(), Some(Outcome::CallerError)));
}

#[test]
fn rfc9112_6_3_an_answer_to_head_does_not_swallow_the_next_one() {
    let (upstream, _) = http(|head| match head.starts_with("HEAD") {
        true => b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".to_vec(),
        false => response("real").into_bytes(),
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(["HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n", &get("/g")].concat());
    client.expect("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
    client.expect(response("real"));
    let events = rig.memory.wait(2);
    assert_eq!(events[0].body.rsp.as_ref().unwrap().size, Some(0));
    assert_eq!(events[1].body.rsp.as_ref().unwrap().size, Some(4));
}
