//! Strict and gap on protocols whose calls are not HTTP requests: what an intent names, that no byte goes to the
//! server before it, and what the client is told when it cannot be made. Redis is a real server.

use crate::support::{Client, Rig, http, ok, response, until};
use countersign_event::{Event, Outcome, Rec};
use countersign_gateway::{Durability, GatewayConfig, Protocol};
use countersign_testkit::redis::{self, Redis, command};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn rig(to: SocketAddr, protocol: Protocol, durability: Durability) -> Rig {
    Rig::with(to, |config: &mut GatewayConfig| {
        (config.listeners[0].protocol, config.listeners[0].durability) = (protocol, durability);
        config.limits.strict_wait = Duration::from_millis(200);
    })
}

fn post(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn call(id: u32, tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"a":1}}}}}}"#
    )
}

const DONE: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":false}}"#;

fn done() -> Vec<u8> {
    let length = DONE.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{DONE}")
        .into()
}

/// Intents, and the outcomes that name them, each in order; every outcome must name one.
fn pairs(events: &[Event]) -> Vec<(&Event, &Event)> {
    let outcomes = events.iter().filter(|e| e.core.rec == Some(Rec::Outcome));
    outcomes
        .map(|outcome| {
            let of = outcome.links.of.unwrap_or_else(|| panic!("an outcome of nothing: {outcome:?}"));
            let intent = events.iter().find(|e| e.core.eid == of).expect("its intent");
            assert_eq!(intent.core.rec, Some(Rec::Intent));
            (intent, outcome)
        })
        .collect()
}

#[test]
fn the_intent_of_a_tool_call_names_the_tool_and_no_byte_passes_before_it() {
    let (upstream, seen) = http(|_| done());
    let rig = rig(upstream, Protocol::Mcp, Durability::Strict);
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let mut client = rig.client();
    let (head, tail) = (post(&call(7, "rm")), "");
    client.send(&head[..head.len() - 5]);
    client.send(&head[head.len() - 5..]);
    client.send(tail);
    until("the request was read", || rig.gateway.stats().requests == 1);
    std::thread::sleep(Duration::from_millis(50));
    assert!(seen.all().iter().all(Vec::is_empty));
    rig.memory.stalled.store(false, Ordering::Relaxed);
    client.expect(done());
    let events = rig.memory.wait(2);
    let pairs = pairs(&events);
    let (intent, outcome) = pairs[0];
    for event in [intent, outcome] {
        assert_eq!((event.core.op.as_str(), event.target.rtype.as_str()), ("tools/call", "tool"));
        assert_eq!(event.target.res, "rm");
    }
    assert!(
        intent.content.detail.is_empty() && intent.core.outcome.is_none(),
        "content comes with the outcome"
    );
    assert_eq!(outcome.core.outcome, Some(Outcome::Success));
}

#[test]
fn every_message_of_a_batch_has_its_own_intent_and_outcome() {
    let (upstream, _) = http(|_| done());
    let rig = rig(upstream, Protocol::Mcp, Durability::Strict);
    let mut client = rig.client();
    client.send(post(&format!("[{},{}]", call(7, "rm"), call(8, "ls"))));
    client.expect(done());
    let events = rig.memory.wait(4);
    let named: Vec<_> =
        pairs(&events).iter().map(|(i, o)| (i.target.res.clone(), o.target.res.clone())).collect();
    assert_eq!(named, [("rm".into(), "rm".into()), ("ls".into(), "ls".into())]);
}

#[test]
fn a_tool_call_that_cannot_be_recorded_is_refused_as_json_rpc_with_its_id_and_never_sent() {
    let (upstream, seen) = http(|_| done());
    let rig = rig(upstream, Protocol::Mcp, Durability::Strict);
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let mut client = rig.client();
    client.send(post(&call(7, "rm")));
    let answer = String::from_utf8(client.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("Content-Type: application/json\r\n"), "{answer}");
    assert!(answer.contains(r#""id":7,"error":{"code":-32004,"#), "{answer}");
    rig.memory.stalled.store(false, Ordering::Relaxed);
    let events = rig.memory.wait(2);
    let pairs = pairs(&events);
    assert_eq!(pairs[0].1.content.err, "the ledger does not take records");
    assert_eq!((pairs[0].1.target.res.as_str(), rig.gateway.stats().unrecorded), ("rm", 1));
    assert!(seen.all().iter().all(Vec::is_empty));
}

#[test]
fn what_is_not_readable_as_mcp_is_announced_as_the_request_that_it_is_and_passes() {
    let (upstream, seen) = ok("done");
    let rig = rig(upstream, Protocol::Mcp, Durability::Strict);
    let mut client = rig.client();
    let large = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"x":"{}"}}}}"#,
        "y".repeat(3 << 20)
    );
    for body in ["{broken", large.as_str()] {
        client.send(post(body));
        client.expect(response("done"));
    }
    client.send("GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n");
    client.expect(response("done"));
    let events = rig.memory.wait(6);
    let ops: Vec<_> = pairs(&events).iter().map(|(i, o)| (i.core.op.clone(), o.core.op.clone())).collect();
    let expected = [("POST", "POST"), ("POST", "tools/call"), ("GET", "GET")];
    assert_eq!(ops, expected.map(|(i, o)| (i.to_owned(), o.to_owned())));
    assert_eq!(seen.all()[0].len(), post("{broken").len() + post(&large).len() + 30);
}

fn redis_client(rig: &Rig) -> redis::Client {
    redis::Client::connect(rig.address).unwrap()
}

/// All records, once the connections have ended.
fn ended(rig: &Rig) -> Vec<Event> {
    until("the connections end", || rig.gateway.stats().open == 0);
    until("the records", || {
        let n = rig.memory.len();
        std::thread::sleep(Duration::from_millis(50));
        n > 0 && rig.memory.len() == n
    });
    rig.memory.all()
}

#[test]
fn each_command_of_a_strict_pipeline_waits_for_its_own_intent_also_in_transactions_and_when_it_blocks() {
    let server = Redis::start(&[]).unwrap();
    let rig = rig(server.address, Protocol::Redis, Durability::Strict);
    let mut client = redis_client(&rig);
    let words: [&[&str]; 12] = [
        &["SET", "a", "1"],
        &["INCR", "a"],
        &["MULTI"],
        &["INCR", "a"],
        &["LPUSH", "q", "x"],
        &["EXEC"],
        &["BLPOP", "q", "0"],
        &["SELECT", "3"],
        &["SET", "b", "2"],
        &["hunter2secret"],
        &["BLPOP", "nothing", "0.01"],
        &["PING"],
    ];
    let bytes: Vec<u8> = words.iter().flat_map(|w| command(w)).collect();
    client.send(&bytes).unwrap();
    let values: Vec<String> =
        (0..words.len()).map(|_| String::from_utf8_lossy(&client.value().unwrap()).into_owned()).collect();
    assert_eq!(values[1], ":2\r\n");
    assert_eq!(values[5], "*2\r\n:3\r\n:1\r\n");
    assert_eq!(values.last().unwrap(), "+PONG\r\n");
    drop(client);
    let events = ended(&rig);
    let intents: Vec<_> =
        events.iter().filter(|e| e.core.rec == Some(Rec::Intent)).map(|e| e.core.op.as_str()).collect();
    let sent = [
        "SET", "INCR", "MULTI", "INCR", "LPUSH", "EXEC", "BLPOP", "SELECT", "SET", "unknown", "BLPOP", "PING",
    ];
    assert_eq!(intents, sent, "one intent for each command, in order");
    assert_eq!(pairs(&events).len(), words.len());
    assert!(pairs(&events).iter().all(|(i, o)| i.core.op == o.core.op && i.target.raw == o.target.raw));
    assert!(
        !format!("{events:?}").to_lowercase().contains("hunter2"),
        "what no table knows may be a password"
    );
    assert_eq!(rig.memory.owed.load(Ordering::Relaxed), 0, "a strict route promises nothing");
}

#[test]
fn a_part_of_a_command_does_not_reach_the_server_before_the_intent_of_the_whole() {
    let upstream = crate::support::server({
        move |mut stream| {
            let mut bytes = [0; 1024];
            while let Ok(1..) = std::io::Read::read(&mut stream, &mut bytes) {
                let _ = std::io::Write::write_all(&mut stream, b"+OK\r\n");
            }
        }
    });
    let rig = rig(upstream, Protocol::Redis, Durability::Strict);
    let mut client = Client::new(rig.address);
    let whole = command(&["SET", "key", &"v".repeat(4_000)]);
    let (first, rest) = whole.split_at(2_000);
    client.send(first);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(rig.memory.all().iter().filter(|e| e.core.rec == Some(Rec::Intent)).count(), 0);
    assert_eq!(rig.gateway.stats().bytes_down, 0, "the server has heard nothing, so it said nothing");
    client.send(rest);
    client.expect("+OK\r\n");
    assert_eq!(rig.memory.all().iter().filter(|e| e.core.rec == Some(Rec::Intent)).count(), 1);
}

#[test]
fn a_strict_pipeline_that_cannot_be_recorded_never_reaches_the_server_and_says_so_once() {
    let server = Redis::start(&[]).unwrap();
    let rig = rig(server.address, Protocol::Redis, Durability::Strict);
    let mut client = redis_client(&rig);
    assert_eq!(client.ask(&["SET", "n", "1"]).unwrap(), "+OK\r\n");
    rig.memory.stalled.store(true, Ordering::Relaxed);
    let bytes: Vec<u8> = (0..5).flat_map(|_| command(&["INCR", "n"])).collect();
    client.send(&bytes).unwrap();
    let told = String::from_utf8(client.rest()).unwrap();
    assert!(told.starts_with("-ERR ") && told.contains("cannot be recorded"), "{told}");
    assert_eq!(told.lines().count(), 1);
    rig.memory.stalled.store(false, Ordering::Relaxed);
    assert_eq!(server.client().unwrap().ask(&["GET", "n"]).unwrap(), "$1\r\n1\r\n", "none was sent");
    let events = ended(&rig);
    assert_eq!(events.iter().filter(|e| e.core.rec == Some(Rec::Intent)).count(), 6);
    let pairs = pairs(&events);
    assert_eq!(pairs.len(), 6, "each has an end, and says that it has no answer");
    assert!(pairs[1..].iter().all(|(_, o)| o.core.outcome.is_none() && !o.content.err.is_empty()));
}

#[test]
fn on_a_gap_route_commands_of_redis_never_wait_and_every_dropped_one_is_declared() {
    const COMMANDS: u64 = 2_000;
    let server = Redis::start(&[]).unwrap();
    let rig = Rig::with(server.address, |config| {
        (config.listeners[0].protocol, config.listeners[0].durability) = (Protocol::Redis, Durability::Gap);
        config.limits.ring = 16 << 10;
    });
    let mut client = redis_client(&rig);
    let mut ask = |n: u64| {
        for _ in 0..n / 10 {
            let bytes: Vec<u8> = (0..10).flat_map(|_| command(&["INCR", "n"])).collect();
            client.send(&bytes).unwrap();
            (0..10).for_each(|_| drop(client.value().unwrap()));
        }
    };
    ask(COMMANDS / 4);
    rig.memory.stalled.store(true, Ordering::Relaxed);
    ask(COMMANDS / 2);
    let dropped = rig.gateway.stats().dropped;
    assert!(dropped > 0, "the ring was full");
    until("the gap is declared", || rig.memory.dropped.load(Ordering::Relaxed) == dropped);
    rig.memory.stalled.store(false, Ordering::Relaxed);
    until("there is room again", || rig.gateway.stats().ring_bytes == 0);
    ask(COMMANDS / 4);
    drop(client);
    let (memory, gateway) = (rig.memory.clone(), rig.gateway);
    gateway.shutdown(Duration::from_secs(5));
    let events = memory.all();
    let made: Vec<_> = events.iter().filter(|e| e.core.rec == Some(Rec::Interaction)).collect();
    let named: u64 =
        events.iter().filter(|e| e.core.rec == Some(Rec::Gap)).map(|e| e.core.n.unwrap_or(1)).sum();
    let dropped = memory.dropped.load(Ordering::Relaxed);
    assert_eq!((made.len() as u64 + dropped, named), (COMMANDS, dropped));
    assert!(made.iter().all(|e| e.core.op == "INCR" && e.core.outcome == Some(Outcome::Success)));
    let value = server.client().unwrap().ask(&["GET", "n"]).unwrap();
    assert_eq!(value, format!("${}\r\n{COMMANDS}\r\n", COMMANDS.to_string().len()));
}
