//! Records = requests, under concurrency.

use crate::support::{Client, Rig, get, ok, response};
use countersign_event::Outcome;
use std::collections::HashSet;
use std::sync::atomic::Ordering;

#[test]
fn two_thousand_requests_over_thirty_two_connections_make_two_thousand_records() {
    let (upstream, _) = ok("body");
    let rig = Rig::new(upstream);
    let address = rig.address;
    let threads: Vec<_> = (0..32)
        .map(|c| {
            std::thread::spawn(move || {
                let mut client = Client::new(address);
                for i in 0..2000 / 32 + usize::from(c < 2000 % 32) {
                    client.send(get(&format!("/c{c}/r{i}")));
                    client.expect(response("body"));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let memory = rig.memory.clone();
    let stats = rig.gateway.stats();
    rig.gateway.shutdown(std::time::Duration::from_secs(5));
    let events = memory.wait(2000);
    assert_eq!((stats.requests, memory.owed.load(Ordering::Relaxed)), (2000, 2000));
    assert!(events.iter().all(|e| e.core.outcome == Some(Outcome::Success)));
    let distinct: HashSet<_> = events.iter().map(|e| &e.target.raw).collect();
    assert_eq!(distinct.len(), 2000);
}

#[test]
fn every_answer_is_owed_before_it_can_be_read() {
    let (upstream, _) = ok("x");
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    for i in 1..=50 {
        client.send(get("/"));
        client.expect(response("x"));
        assert!(rig.memory.owed.load(Ordering::SeqCst) >= i, "answer {i} came before its promise");
    }
}
