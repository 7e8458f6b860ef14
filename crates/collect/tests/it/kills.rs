//! Every push protocol through `kill -9` at random moments and through a ledger that stands still: what was
//! acknowledged is there, each record once, and two equal records of one batch are two.
//!
//! A kill rarely falls between durability and the answer, so every client plays that case after each outage: it
//! sends again what was acknowledged last, as if the answer had been lost. That the table sees a collector which
//! forgets is a test too.
//!
//! The collector that dies is this test binary run again ([`runs_as_a_collector_when_it_is_told_to`]): a real ledger in
//! a directory, an input for each protocol. Its clients send a batch again until it is acknowledged in the
//! protocol's own way; then the ledger is read.

mod clients;
mod rack;

use crate::push::StillDisk;
use clients::{Answer, PROTOCOLS, Protocol};
use countersign_collect::intake::IntakeLimits;
use countersign_event::{Event, Unmapped};
use countersign_testkit::{Child, free_port, repetitions, wait_for_port};
use rack::Rack;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Directory and addresses of a collector that runs as a child.
const ROLE: &str = "COUNTERSIGN_TEST_COLLECTOR";
/// Set for a collector that forgets at each start what it recorded before.
const FORGETS: &str = "COUNTERSIGN_TEST_COLLECTOR_FORGETS";
/// Longest wait for an acknowledgement that must come.
const PATIENCE: Duration = Duration::from_secs(120);

/// The child's whole life. Told nothing, there is nothing to test.
#[test]
fn runs_as_a_collector_when_it_is_told_to() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (dir, addresses) = role.split_once('|').unwrap();
    let addresses: Vec<SocketAddr> = addresses.split(',').map(|address| address.parse().unwrap()).collect();
    let remembers = std::env::var_os(FORGETS).is_none();
    let limits = IntakeLimits::default();
    let _rack = Rack::start(Path::new(dir), Arc::default(), limits, &addresses, remembers);
    loop {
        std::thread::park();
    }
}

fn start(dir: &Path, addresses: &[SocketAddr], forgets: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["kills::runs_as_a_collector_when_it_is_told_to", "--exact", "--nocapture"]);
    let listed: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    command.env(ROLE, format!("{}|{}", dir.display(), listed.join(",")));
    if forgets {
        command.env(FORGETS, "1");
    }
    let child = Child::start(command, &dir.join("child.log")).unwrap();
    for address in addresses {
        wait_for_port(*address, Duration::from_secs(60)).unwrap_or_else(|_| panic!("{}", child.output()));
    }
    child
}

/// A small generator of moments: xorshift, seeded so that a failure can be had again.
struct Moments(u64);

impl Moments {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Sends batches one after the other until told to stop, each until it is acknowledged; after an outage the one before
/// as well. Gives how many there were, and how many were sent and not acknowledged, so that they were sent again.
fn keep_sending(protocol: &Protocol, to: SocketAddr, stop: &AtomicBool) -> (u64, u64) {
    let (mut batch, mut again) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let (tries, lost) = until_acknowledged(protocol, to, batch);
        again += lost;
        if tries > 1 && batch > 0 {
            again += until_acknowledged(protocol, to, batch - 1).1;
        }
        batch += 1;
    }
    (batch, again)
}

/// How often it was tried, and how often it was sent without being acknowledged.
fn until_acknowledged(protocol: &Protocol, to: SocketAddr, batch: u64) -> (u64, u64) {
    let (until, mut tries, mut lost) = (Instant::now() + PATIENCE, 0, 0);
    loop {
        tries += 1;
        match (protocol.send)(to, batch) {
            Answer::Durable => return (tries, lost),
            Answer::Down => {}
            Answer::Gone | Answer::Later(_) => lost += 1,
        }
        assert!(Instant::now() < until, "{}: batch {batch} was never acknowledged", protocol.name);
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// What each input has: how often each mark is there.
fn marks(events: &[Event]) -> BTreeMap<(String, String), u64> {
    let mut found = BTreeMap::new();
    for event in events {
        let texts = event.content.unmapped.values().filter_map(|value| match value {
            Unmapped::Token(token) => Some(token.as_str()),
            Unmapped::Bytes(_) => None,
        });
        let id = event.body.cap.as_ref().map(|capture| capture.source_id.as_str()).unwrap_or_default();
        let mark = texts.chain([id]).find_map(clients::mark_in);
        let mark = mark.unwrap_or_else(|| panic!("an event without a mark: {event:?}"));
        *found.entry((event.core.agent.clone(), mark.to_owned())).or_default() += 1;
    }
    found
}

/// What is not so of: exactly these batches of each protocol are there, each record once, the equal pair of each batch
/// twice.
fn faults(events: &[Event], batches: &[u64]) -> Vec<String> {
    let mut want = BTreeMap::new();
    for (protocol, batches) in PROTOCOLS.iter().zip(batches) {
        for batch in 0..*batches {
            for mark in clients::marks(batch) {
                let times = want.entry((format!("input:{}", protocol.name), mark)).or_insert(0_u64);
                *times = if protocol.named { 1 } else { *times + 1 };
            }
        }
    }
    let found = marks(events);
    let mut faults = Vec::new();
    for (mark, times) in &want {
        let there = found.get(mark).copied().unwrap_or(0);
        if there != *times {
            faults.push(format!("{mark:?} is there {there} times, {times} times in its batch"));
        }
    }
    if found.len() != want.len() {
        faults.push(format!("{} marks, {} were sent", found.len(), want.len()));
    }
    faults
}

/// So many kills under the load of every protocol: what is not as it must be.
fn survive(rounds: usize, forgets: bool) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let addresses: Vec<SocketAddr> =
        PROTOCOLS.iter().map(|_| SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))).collect();
    let mut child = start(dir.path(), &addresses, forgets);
    let stop = AtomicBool::new(false);
    let sent: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let senders: Vec<_> = PROTOCOLS
            .iter()
            .zip(&addresses)
            .map(|(protocol, to)| scope.spawn(|| keep_sending(protocol, *to, &stop)))
            .collect();
        let mut moments = Moments(0x00c0_11ec);
        for _ in 0..rounds {
            std::thread::sleep(Duration::from_millis(20 + moments.below(400)));
            child.kill();
            child = start(dir.path(), &addresses, forgets);
        }
        stop.store(true, Ordering::SeqCst);
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    child.kill();
    for (protocol, (batches, again)) in PROTOCOLS.iter().zip(&sent) {
        println!("{rounds} kills, {:11}: {batches} batches, {again} of them sent again", protocol.name);
    }
    let batches: Vec<u64> = sent.iter().map(|(batches, _)| *batches).collect();
    faults(&rack::events(dir.path()), &batches)
}

#[test]
fn a_batch_that_was_not_acknowledged_before_a_kill_is_sent_again_and_each_record_is_there_once() {
    assert_eq!(survive(repetitions(5, 50), false), Vec::<String>::new());
}

#[test]
fn a_collector_that_forgets_what_it_recorded_would_be_seen() {
    // Which protocols were hit is a matter of time, and decides nothing.
    let faults = survive(2, true);
    assert!(faults.iter().any(|fault| fault.contains("is there 4 times")), "{faults:?}");
}

#[test]
fn while_the_ledger_stands_still_each_protocol_says_so_in_its_own_way_and_nothing_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(StillDisk::default());
    let limits = IntakeLimits { durable: Duration::from_millis(200), ..IntakeLimits::default() };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let rack = Rack::start(dir.path(), Arc::clone(&disk), limits, &vec![any; PROTOCOLS.len()], true);
    let each = || PROTOCOLS.iter().zip(&rack.addresses);
    for (protocol, to) in each() {
        assert_eq!((protocol.send)(*to, 0), Answer::Durable, "{}", protocol.name);
    }
    disk.0.store(true, Ordering::SeqCst);
    for (protocol, to) in each() {
        for batch in [1, 1, 2] {
            match (protocol.send)(*to, batch) {
                Answer::Later(signal) => {
                    assert!(protocol.later.contains(&signal.as_str()), "{}: {signal}", protocol.name);
                }
                other => panic!("{}: {other:?} while nothing is durable", protocol.name),
            }
        }
    }
    disk.0.store(false, Ordering::SeqCst);
    for (protocol, to) in each() {
        for batch in [1, 2] {
            let until = Instant::now() + PATIENCE;
            while (protocol.send)(*to, batch) != Answer::Durable {
                assert!(Instant::now() < until, "{}", protocol.name);
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    rack.stop();
    assert_eq!(faults(&rack::events(dir.path()), &vec![3; PROTOCOLS.len()]), Vec::<String>::new());
}
