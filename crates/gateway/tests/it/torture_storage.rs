//! The disk under a saturated gateway fails: full for a while, full for good, a sync that fails once, a sync that
//! fails for good. Callers wait or are cut; nothing that was answered goes without its record or its gap.

use crate::support::until;
use crate::torture_load::Load;
use crate::torture_rig::{Asked, Route, SEED, Tally, TortureRig, blocked, http_server};
use countersign_event::Rec;
use countersign_gateway::{Durability, Health, Protocol};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A bounded and a gap route under load, over a disk of ours.
struct Bench {
    rig: TortureRig,
    asked: Asked,
    loads: Vec<Load>,
    stop: Arc<AtomicBool>,
}

impl Bench {
    fn start(durabilities: &[(Durability, &str)]) -> Bench {
        let (to, asked) = http_server();
        let protocol = Protocol::Http1;
        let route = |(durability, name): &(Durability, &str)| Route {
            name: (*name).to_owned(),
            protocol,
            durability: *durability,
            to,
        };
        let routes: Vec<Route> = durabilities.iter().map(route).collect();
        let rig = TortureRig::start(&routes, |config| config.limits.strict_wait = Duration::from_secs(1));
        let stop = Arc::<AtomicBool>::default();
        let start = |(r, n): (&Route, u64)| {
            Load::start(&r.name, (protocol, r.durability), rig.address(&r.name), &stop, SEED + n)
        };
        let loads = routes.iter().zip(1..).map(start).collect();
        let bench = Bench { rig, asked, loads, stop };
        bench.runs(20);
        bench
    }

    /// Waits until each client was answered so many times more.
    fn runs(&self, more: u64) {
        for load in &self.loads {
            let before = load.counts.read()[1];
            until("the clients are answered", || load.counts.read()[1] > before + more);
        }
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.loads.iter_mut().for_each(Load::join);
    }
}

fn interactions(tally: &Tally, route: &str) -> u64 {
    tally.of(route, Rec::Interaction, "")
}

#[test]
fn while_the_disk_is_full_callers_wait_and_afterwards_nothing_is_missing() {
    let mut bench = Bench::start(&[(Durability::Bounded, "bounded"), (Durability::Strict, "strict")]);
    bench.rig.disk.used.store(990, Ordering::SeqCst);
    assert_eq!(blocked(&bench.rig), "the disk is full");
    let strict = bench.loads[1].counts.clone();
    until("strict routes refuse", || strict.read()[2] > 0);
    let mut waiting = bench.loads[0].counts.read();
    until("callers of the bounded route wait", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = bench.loads[0].counts.read();
        let still = now == waiting;
        waiting = now;
        still
    });
    assert_eq!((waiting[2], waiting[3]), (0, 0), "nobody is refused or cut: they wait");
    bench.rig.disk.used.store(500, Ordering::SeqCst);
    bench.runs(20);
    until("the gateway says ok", || bench.rig.gateway.health() == Health::Ok);
    bench.end();
    let [_, answered, refused, cut] = bench.loads[0].counts.read();
    let [sent, _, _, strict_cut] = bench.loads[1].counts.read();
    let (tally, declared) = bench.rig.finish();
    println!("disk full: {answered} answered, {refused} refused, {cut} cut; strict {sent} sent");
    assert_eq!((refused, cut, strict_cut, declared), (0, 0, 0, 0));
    assert_eq!((interactions(&tally, "bounded"), bench.asked.of("bounded")), (answered, answered));
    assert_eq!((tally.of("strict", Rec::Intent, ""), tally.of("strict", Rec::Outcome, "")), (sent, sent));
}

#[test]
fn a_write_without_space_or_a_sync_that_fails_once_is_survived_and_loses_nothing() {
    for sync in [false, true] {
        let mut bench = Bench::start(&[(Durability::Bounded, "bounded"), (Durability::Strict, "strict")]);
        let sick = if sync { &bench.rig.disk.bad_syncs } else { &bench.rig.disk.no_space };
        sick.store(1, Ordering::SeqCst);
        until("the ledger met it", || bench.rig.ledger.stats().poisoned == 1);
        bench.runs(20);
        bench.end();
        let [_, answered, refused, cut] = bench.loads[0].counts.read();
        let sent = bench.loads[1].counts.read()[0];
        let (tally, declared) = bench.rig.finish();
        assert_eq!((refused, cut, declared), (0, 0, 0));
        assert_eq!((interactions(&tally, "bounded"), bench.asked.of("bounded")), (answered, answered));
        assert_eq!(tally.of("strict", Rec::Outcome, ""), sent);
    }
}

#[test]
fn a_disk_that_fails_for_good_cuts_callers_and_what_they_were_told_is_recorded_or_declared() {
    let mut bench = Bench::start(&[
        (Durability::Bounded, "bounded"),
        (Durability::Strict, "strict"),
        (Durability::Gap, "gap"),
    ]);
    bench.rig.disk.bad_syncs.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(blocked(&bench.rig), "the ledger has stopped");
    until("the gateway passes nothing more", || bench.rig.gateway.stats().audit_stopped == 1);
    for load in &bench.loads[..2] {
        let cut = load.counts.read()[3];
        until("callers are cut", || load.counts.read()[3] > cut);
    }
    let before = [bench.asked.of("bounded"), bench.asked.of("strict")];
    let gap = bench.loads[2].counts.clone();
    let answered = gap.read()[1];
    until("gap routes go on", || gap.read()[1] > answered + 100);
    let after = [bench.asked.of("bounded"), bench.asked.of("strict")];
    assert_eq!(before, after, "after the end nothing reaches a server of other routes");
    bench.end();
    let told: Vec<u64> = bench.loads.iter().map(|l| l.counts.read()[1]).collect();
    let lost = bench.rig.gateway.stats().lost;
    let (tally, declared) = bench.rig.crash();
    let kept = interactions(&tally, "bounded") + interactions(&tally, "gap");
    println!("disk gone: {told:?} answered, {kept} kept, {lost} not taken, {declared} declared");
    assert!(kept + declared >= told[0] + told[2], "what was answered is kept or declared");
    let intents = tally.of("strict", Rec::Intent, "");
    assert!(intents >= told[1], "{intents} intents for {} answers", told[1]);
}
