//! One gateway takes over from another on the same listening sockets: nobody fails, nothing is missing.

use crate::support::{DIGEST_KEY, Memory, Rig, get, ok, response};
use countersign_gateway::{BodyKey, Gateway, GatewayConfig, Listener, Parts, Upstream};
use countersign_identity::{Identities, IdentityConfig};
use countersign_ledger::SystemClock;
use countersign_policy::PolicySet;
use ring::hmac;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const CLIENTS: usize = 6;

fn start(
    upstream: SocketAddr,
    listen: SocketAddr,
    memory: &Arc<Memory>,
    sockets: Vec<TcpListener>,
) -> Gateway {
    let mut config = GatewayConfig::new("spiffe://test/gw");
    let to = Upstream::new(upstream.ip().to_string(), upstream.port());
    config.listeners.push(Listener::new("main", listen, to));
    let parts = Parts {
        recorders: vec![memory.clone()],
        strict: Vec::new(),
        key: BodyKey::Raw(hmac::Key::new(hmac::HMAC_SHA256, &DIGEST_KEY)),
        identities: Arc::new(Identities::new(IdentityConfig::default(), 0).unwrap()),
        policy: PolicySet::allow_all(),
        clock: Arc::new(SystemClock::default()),
        sockets,
    };
    Gateway::start_with(config, parts).unwrap()
}

/// Requests over keep-alive until told to stop; a new connection whenever the last answer said so.
fn client(address: SocketAddr, stop: &AtomicBool, answered: &AtomicU64) {
    let mut stream: Option<BufReader<TcpStream>> = None;
    while !stop.load(Ordering::Relaxed) {
        let reader = stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(address).expect("connect");
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            BufReader::new(stream)
        });
        reader.get_mut().write_all(get("/load").as_bytes()).expect("send");
        let (mut close, mut line) = (false, String::new());
        loop {
            line.clear();
            assert!(reader.read_line(&mut line).expect("read") > 0, "a request was not answered");
            close |= line.eq_ignore_ascii_case("connection: close\r\n");
            if line == "\r\n" {
                break;
            }
        }
        let mut body = [0; 2];
        reader.read_exact(&mut body).expect("body");
        answered.fetch_add(1, Ordering::Relaxed);
        if close {
            stream = None;
        }
    }
}

#[test]
fn ten_hand_overs_under_load_fail_no_request_and_miss_no_record() {
    let (upstream, _) = ok("ok");
    let memory = Arc::new(Memory::default());
    let first = start(upstream, "127.0.0.1:0".parse().unwrap(), &memory, Vec::new());
    let address = first.addresses()[0].1;
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let gateway = std::thread::scope(|scope| {
        let mut gateway = first;
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| client(address, &stop, &answered))).collect();
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(50));
            let sockets = gateway.sockets().iter().map(|s| s.try_clone().unwrap()).collect();
            gateway.hand_over(Duration::from_secs(5));
            gateway = start(upstream, address, &memory, sockets);
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|c| c.join().expect("a client failed"));
        gateway
    });
    gateway.shutdown(Duration::from_secs(5));
    let answered = answered.load(Ordering::Relaxed);
    assert!(answered > 100, "{answered}");
    let events = memory.all();
    assert_eq!(events.len() as u64, answered);
    let changed = events.iter().filter(|e| !e.body.cap.as_ref().unwrap().changes.is_empty()).count();
    assert!(changed > 0, "an answer that was changed says so");
}

#[test]
fn in_an_orderly_end_the_last_answer_says_so_and_pipelined_requests_are_all_answered() {
    let (upstream, _) = ok("x");
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(get("/1"));
    client.expect(response("x"));
    let gateway = rig.gateway;
    let ending = std::thread::spawn(move || gateway.hand_over(Duration::from_secs(20)));
    std::thread::sleep(Duration::from_millis(50));
    client.send([get("/2"), get("/3")].concat());
    client.expect(response("x"));
    let rest = String::from_utf8(client.rest()).unwrap();
    assert!(rest.contains("\r\nConnection: close\r\n\r\nx"), "{rest}");
    ending.join().unwrap();
    assert_eq!(rig.memory.len(), 3);
}
