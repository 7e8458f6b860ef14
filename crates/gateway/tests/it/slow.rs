//! Clients that are slow or immense on purpose: half-open heads by the thousand, floods of fields, a result
//! that nobody reads. All are bounded in memory, each is one clear event, and others are served meanwhile.
//! How much slower others are served is a rate, and so a matter of the bench.

use crate::support::{Rig, get, ok, response, rss_kib, server, until};
use countersign_event::Outcome;
use countersign_gateway::Protocol;
use countersign_testkit::{Child, TempDir, ensure_program, repetitions};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// Opens connections, sends the beginning of a request's head on each, then one more field line to each in turn for as
/// long as the gateway lets it; prints how many were answered with what once all are gone. A process of its
/// own, so that the descriptors of both ends do not add up.
const SLOWLORIS: &str = r#"
import selectors, socket, sys, time
host, port, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
poll = selectors.DefaultSelector()
live, answers = set(), {}
for i in range(n):
    s = socket.create_connection((host, port))
    s.setblocking(False)
    poll.register(s, selectors.EVENT_READ)
    live.add(s)
for s in live: s.send(b'GET /slow HTTP/1.1\r\nHost: a\r\n')
print('open', n, flush=True)
last = time.monotonic()
while live:
    for key, _ in poll.select(0.5):
        s = key.fileobj
        try: data = s.recv(4096)
        except OSError: data = b''
        status = data[9:12].decode('latin-1') or 'none'
        answers[status] = answers.get(status, 0) + 1
        poll.unregister(s); live.discard(s); s.close()
    if time.monotonic() - last > 0.5:
        last = time.monotonic()
        for s in live:
            try: s.send(b'X: y\r\n')
            except OSError: pass
print('answers', sorted(answers.items()), flush=True)
"#;

fn slowloris(address: SocketAddr, n: usize) -> (Child, TempDir) {
    let python = ensure_program("python3", "python3").unwrap();
    let dir = TempDir::new("slowloris").unwrap();
    let file = dir.path().join("slowloris.py");
    std::fs::write(&file, SLOWLORIS).unwrap();
    let mut command = Command::new(python);
    command.arg(file).args([address.ip().to_string(), address.port().to_string(), n.to_string()]);
    (Child::start(command, &dir.path().join("output.log")).unwrap(), dir)
}

#[test]
fn slowloris_is_answered_408_costs_little_memory_and_others_are_served() {
    let n = repetitions(1_000, 10_000);
    let (upstream, seen) = ok("x");
    let rig = Rig::with(upstream, |c| {
        c.limits.head_time = Duration::from_secs(if n > 1_000 { 30 } else { 10 });
        c.limits.connections_listener = n + 10;
        // On an `auto` listener each silent one would have its connection to the server.
        c.listeners[0].protocol = Protocol::Http1;
    });
    let mut other = rig.client();
    other.send(get("/before"));
    other.expect(response("x"));
    let base = rss_kib();
    let (mut attack, _dir) = slowloris(rig.address, n);
    attack.wait_for_line("open", Duration::from_secs(60)).unwrap();
    until("all are held", || rig.gateway.stats().open as usize > n);
    for _ in 0..50 {
        other.send(get("/meanwhile"));
        other.expect(response("x"));
    }
    let grew = rss_kib().saturating_sub(base);
    // Other tests of this binary run beside it; 64 KiB for each of the thousand would be 64 MiB.
    assert!(grew < 40 << 10 || n > 1_000 && grew < 160 << 10, "{n} half-open heads cost {grew} KiB");
    let line = attack.wait_for_line("answers", Duration::from_secs(90)).unwrap();
    assert_eq!(line, format!("answers [('408', {n})]"));
    let events = rig.memory.wait(n + 51);
    let slow = events.iter().filter(|e| e.content.err == "head-timeout");
    assert_eq!(slow.filter(|e| e.core.outcome == Some(Outcome::Timeout)).count(), n);
    let served = [get("/before"), get("/meanwhile").repeat(50)].concat();
    assert_eq!(seen.all(), [served.into_bytes()], "the server was not even connected to");
}

#[test]
fn connections_that_send_nothing_are_counted_against_the_limit_and_the_rest_is_refused_in_one_event() {
    let (upstream, _) = ok("x");
    let rig = Rig::with(upstream, |c| c.limits.connections_listener = 200);
    let held: Vec<_> = (0..200).map(|_| rig.client()).collect();
    until("all are open", || rig.gateway.stats().open == 200);
    for _ in 0..300 {
        assert_eq!(rig.client().rest(), b"");
    }
    until("the refusals are counted", || rig.memory.len() > 0 && rig.gateway.stats().refused_limit == 300);
    drop(held);
    until("all are gone", || rig.gateway.stats().open == 0);
    let memory = rig.memory.clone();
    rig.gateway.shutdown(Duration::from_secs(5));
    let events = memory.wait(memory.len());
    let refused: u64 =
        events.iter().filter(|e| e.content.err.starts_with("limit")).map(|e| e.core.n.unwrap_or(1)).sum();
    assert_eq!(refused, 300);
    // Folded once a second: far fewer records than refusals.
    assert!(events.len() < 30, "{} records", events.len());
}

#[test]
fn a_flood_of_fields_is_refused_at_the_bound_and_nothing_of_it_is_kept_or_passed() {
    for (rule, flood) in [
        ("head-too-large", "a".repeat(1 << 20)),
        ("too-many-fields", "A: b\r\n".repeat(5_000)),
        ("head-too-large", format!("{}\r\n", "X-Long: y".repeat(1_000)).repeat(200)),
    ] {
        let (upstream, seen) = ok("x");
        let rig = Rig::new(upstream);
        let mut client = rig.client();
        client.send("GET /flood HTTP/1.1\r\nHost: a\r\n");
        let _ = client.0.write_all(flood.as_bytes());
        let _ = client.0.write_all(b"\r\n");
        assert_eq!(client.last_status(), "431");
        let event = rig.memory.wait(1).pop().unwrap();
        assert_eq!((event.content.err.as_str(), event.target.raw.as_str()), (rule, "/flood"));
        let mut event = event;
        (event.core.agent, event.core.seq) = ("a".into(), 1);
        assert!(event.encode().unwrap().to_bytes().len() < 8 << 10);
        assert!(seen.all().is_empty());
    }
}

#[test]
fn a_flood_of_fields_in_an_answer_and_endless_interim_answers_are_cut_with_502() {
    for (rule, flood) in [
        ("head-too-large", format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(1 << 20))),
        ("too-many-fields", format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(5_000))),
        ("too-many-interim", "HTTP/1.1 103 Hints\r\n\r\n".repeat(1_000)),
    ] {
        let upstream = server(move |mut s| {
            let _ = s.read(&mut [0; 4096]).unwrap();
            let _ = s.write_all(flood.as_bytes());
        });
        let rig = Rig::new(upstream);
        let mut client = rig.client();
        client.send(get("/"));
        let got = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(got.contains("HTTP/1.1 502 "), "{got:.200}");
        assert!(got.len() < 16 << 10, "{} bytes of the flood passed", got.len());
        assert_eq!(rig.memory.wait(1)[0].content.err, rule);
    }
}

#[test]
fn a_chunked_body_of_single_bytes_passes_and_its_record_stays_small() {
    let (upstream, _) = ok("x");
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    let chunks = "1\r\nz\r\n".repeat(20_000);
    client.send(format!(
        "POST /drip HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
    ));
    client.expect(response("x"));
    assert_eq!(rig.memory.wait(1)[0].body.req.as_ref().unwrap().size, Some(20_000));
}

#[test]
fn a_client_that_does_not_read_is_ended_after_the_idle_time_with_one_event_and_little_memory() {
    let size: u64 = 1 << 30;
    let upstream = server(move |mut s| {
        let _ = s.read(&mut [0; 4096]).unwrap();
        s.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes()).unwrap();
        let block = vec![b'z'; 64 << 10];
        while s.write_all(&block).is_ok() {}
    });
    let rig = Rig::with(upstream, |c| c.limits.idle = Duration::from_millis(1500));
    let mut client = rig.client();
    client.send(get("/big"));
    let events = rig.memory.wait(1);
    assert_eq!((events[0].content.err.as_str(), events[0].core.outcome), ("idle", None));
    assert_eq!(events[0].core.status.as_ref().unwrap().1, "200");
    let passed = rig.gateway.stats().bytes_down;
    assert!(passed < 16 << 20, "{passed} of {size} bytes were read for a client that takes none");
    let kept = events[0].body.rsp.as_ref().unwrap().size.unwrap();
    assert!(kept <= passed, "the record counts what was let through");
    until("the connection is gone", || rig.gateway.stats().open == 0);
}
