//! An edge and its core, two real ledgers and mutual TLS between them: whatever is cut, killed, sent twice or out of
//! order, each record of the edge is at the core once, byte for byte, and each of its losses exactly.

use crate::edge_rig::{
    AGENT, CoreRig, Cutter, EdgeRig, NAME, World, all, batch_of, contents, event, post, random, shipped,
};
use countersign_collect::receivers::Enrolled;
use countersign_event::{Event, Frame, Outcome, Rec, Verified};
use countersign_ledger::bodies::Gap;
use countersign_ledger::{GapReason, Limits, SealedSegment};
use countersign_testkit::repetitions;
use countersign_wire::edge::{Builder, Kind, Marks};
use std::time::Duration;

#[test]
fn what_an_edge_recorded_is_at_the_core_once_with_its_numbers_levels_and_losses() {
    let world = World::new();
    let core = CoreRig::start(&world, "core", &world.enrolled());
    let edge = EdgeRig::open(&world, "edge");
    let [a, b] = [edge.source("countersign:gateway"), edge.source("input:logs")];
    a.record_wait((0..300).map(event).collect()).unwrap();
    b.record_wait(vec![event(7)]).unwrap();
    a.dropped(40, GapReason::Overload).unwrap();
    a.record_wait((300..310).map(event).collect()).unwrap();
    let shipper = edge.ship(&world, core.address);
    shipped(&shipper, &edge.ledger);
    let (want, found) = (contents(&edge.ledger), contents(&core.ledger));
    assert_eq!(found.events.values().map(Vec::len).sum::<usize>(), 311);
    assert_eq!(want, found);
    let gaps = core.ledger.gaps();
    assert_eq!((gaps.len(), gaps[0].first_seq, gaps[0].last_seq), (1, Some(301), Some(340)));
    assert_eq!((gaps[0].agent.as_str(), gaps[0].reason), (a.agent(), GapReason::Overload));
    assert_eq!(a.agent(), format!("{AGENT}countersign:gateway"));
    let one = &all(&core.ledger)[0];
    assert_eq!(one.who.who.as_ref().unwrap().verified, Verified::Bound, "levels are carried through");
    let counts = core.edges.counts();
    assert_eq!((counts.recorded, counts.repeated, counts.lost, counts.refused), (311, 0, 40, 0));
    // Afterwards what comes is shipped as it comes, and a run that ends is ended there.
    a.record_wait(vec![event(311)]).unwrap();
    shipped(&shipper, &edge.ledger);
    drop(shipper);
    let stream = a.stream();
    drop((a, b));
    edge.ledger.shutdown().unwrap();
    let edge = edge.reopen(&world);
    let shipper = edge.ship(&world, core.address);
    shipped(&shipper, &edge.ledger);
    assert_eq!(contents(&edge.ledger), contents(&core.ledger));
    core.ledger.configured([0; 32], "after the end").unwrap();
    let info = core.ledger.sources().into_iter().find(|s| s.stream == stream).unwrap();
    assert_eq!((info.live, info.seen, info.sent, info.dropped), (false, 351, 311, 40));
    drop(shipper);
    core.close();
}

#[test]
fn connections_cut_at_any_byte_and_both_sides_killed_lose_nothing_and_double_nothing() {
    let rounds = repetitions(6, 60);
    let world = World::new();
    let mut core = CoreRig::start(&world, "core", &world.enrolled());
    let mut edge = EdgeRig::open(&world, "edge");
    let cutter = Cutter::start(core.address);
    let mut seed = 0x00ed_9e00;
    let mut number = 0;
    let mut shipper = edge.ship(&world, cutter.address);
    for round in 0..rounds {
        let sources = [edge.source("countersign:gateway"), edge.source("input:logs")];
        for _ in 0..6 {
            let source = &sources[random(&mut seed, 2) as usize];
            let many = 1 + random(&mut seed, 120);
            source.record_wait((number..number + many).map(event).collect()).unwrap();
            number += many;
            if random(&mut seed, 3) == 0 {
                source.dropped(1 + random(&mut seed, 9), GapReason::Overload).unwrap();
            }
            // A handshake takes about 5 kB; some connections end in it, some in a batch, some in an answer.
            cutter.cut_after(random(&mut seed, 12_000));
            std::thread::sleep(Duration::from_millis(random(&mut seed, 30)));
        }
        match random(&mut seed, 3) {
            0 => {
                core.kill();
                core = CoreRig::start(&world, "core", &world.enrolled());
                cutter.point(core.address);
            }
            1 => {
                drop(shipper);
                shipper = edge.ship(&world, cutter.address);
            }
            _ => {
                drop((shipper, sources));
                edge = edge.reopen(&world);
                shipper = edge.ship(&world, cutter.address);
            }
        }
        if round % 3 == 0 {
            cutter.cut_after(u64::MAX);
            shipped(&shipper, &edge.ledger);
        }
    }
    cutter.cut_after(u64::MAX);
    shipped(&shipper, &edge.ledger);
    let (want, found) = (contents(&edge.ledger), contents(&core.ledger));
    assert_eq!(found.events.values().map(Vec::len).sum::<usize>() as u64, number);
    assert_eq!(want, found, "{rounds} rounds");
    println!("{rounds} rounds, {number} records, {} cuts: each there once", cutter.cuts());
    drop(shipper);
    core.close();
}

#[test]
fn a_batch_sent_twice_early_or_at_once_is_recorded_once_and_in_order() {
    let world = World::new();
    let core = CoreRig::start(&world, "core", &world.enrolled());
    let tls = world.client("edge-a");
    let send = |body: &[u8]| post(core.address, &tls, body);
    let early = batch_of([5; 16], 11..=20);
    let (status, answer) = send(&early);
    assert_eq!(
        (status, Marks::parse(&answer).unwrap().marks),
        (409, vec![([5; 16], 0)]),
        "it is told what is here"
    );
    assert!(all(&core.ledger).is_empty(), "and nothing is taken");
    let first = batch_of([5; 16], 1..=10);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (status, answer) = post(core.address, &world.client("edge-a"), &first);
                assert_eq!((status, Marks::parse(&answer).unwrap().marks), (200, vec![([5; 16], 10)]));
            });
        }
    });
    assert_eq!(send(&early).0, 200);
    assert_eq!(send(&first).0, 200);
    let overlap = batch_of([5; 16], 15..=25);
    assert_eq!(Marks::parse(&send(&overlap).1).unwrap().marks, [([5; 16], 25)]);
    let seqs: Vec<u64> = all(&core.ledger).iter().map(|e| e.core.seq).collect();
    assert_eq!(seqs, (1..=25).collect::<Vec<_>>());
    assert_eq!(core.edges.counts().recorded, 25);
    core.close();
}

#[test]
fn who_is_not_an_edge_or_sends_what_is_not_its_own_is_refused_and_that_is_an_event() {
    let world = World::new();
    let core = CoreRig::start(&world, "core", &world.enrolled());
    let own = batch_of([5; 16], 1..=1);
    // The handshake itself: no certificate, and one of another authority.
    assert_eq!(post(core.address, &world.nobody(), &own).0, 0);
    assert_eq!(post(core.address, &world.stranger(), &own).0, 0);
    // A good certificate that is not enrolled.
    let (status, why) = post(core.address, &world.client("other"), &own);
    let why = String::from_utf8(why).unwrap();
    assert!(status == 403 && why.contains("spiffe://example.org/other is not enrolled"), "{why}");
    // An enrolled one with somebody else's records.
    let mut foreign = Builder::new("example.org/edge/1", 0);
    foreign.stream("countersign:gateway", [6; 16]);
    let (status, why) = post(core.address, &world.client("edge-a"), &foreign.finish(0));
    let why = String::from_utf8(why).unwrap();
    assert!(status == 403 && why.contains("may not send records of agent countersign:gateway"), "{why}");
    // One that lies in the record about what the batch says.
    let mut lying = Builder::new("example.org/edge/1", 0);
    let (_, frame) = numbered([5; 16], 2);
    lying.stream(&format!("{AGENT}countersign:gateway"), [5; 16]);
    lying.push(Kind::Event, &[5; 16], 1, &frame.to_bytes());
    assert_eq!(post(core.address, &world.client("edge-a"), &lying.finish(1)).0, 400);
    assert_eq!(post(core.address, &world.client("edge-a"), b"no batch").0, 400);
    assert_eq!(post(core.address, &world.client("edge-a"), &own).0, 200, "its own are taken all the same");
    let events = all(&core.ledger);
    let told: Vec<&Event> = events.iter().filter(|e| e.core.rec == Some(Rec::Platform)).collect();
    assert!(told.iter().all(|e| e.core.outcome == Some(Outcome::Denied) && e.core.op == "edge"));
    let who: Vec<&str> = told.iter().filter_map(|e| e.who.who.as_ref()).map(|who| who.id.as_str()).collect();
    let edge = "spiffe://example.org/edge-a";
    assert_eq!(who, ["spiffe://example.org/other", edge, edge], "the last two share a reason");
    assert_eq!(core.edges.counts().refused, 4);
    core.close();
}

fn numbered(stream: [u8; 16], seq: u64) -> (Event, Frame) {
    crate::edge_rig::numbered(stream, seq)
}

#[test]
fn a_certificate_may_be_enrolled_by_its_digest_and_an_agent_by_its_name() {
    let world = World::new();
    let digest = world.digest("other");
    let agents = vec!["countersign:gateway".to_owned()];
    let by_digest = Enrolled { name: "b".into(), identity: format!("sha256:{digest}"), agents };
    let core = CoreRig::start(&world, "core", &[by_digest]);
    let mut batch = Builder::new("example.org/edge/1", 0);
    batch.stream("countersign:gateway", [6; 16]);
    assert_eq!(post(core.address, &world.client("other"), &batch.finish(0)).0, 200);
    assert_eq!(post(core.address, &world.client("edge-a"), &batch.finish(0)).0, 403);
    core.close();
}

#[test]
fn numbers_that_the_edge_no_longer_has_become_a_gap_at_the_core_and_the_rest_is_shipped() {
    let world = World::new();
    let core = CoreRig::start(&world, "core", &world.enrolled());
    let limits = Limits { wal_file_bytes: 4096, ..Limits::small() };
    let edge = EdgeRig::with(&world, "edge", limits);
    let (source, gone) = (edge.source("countersign:gateway"), edge.source("input:gone"));
    gone.record_wait((0..5).map(event).collect()).unwrap();
    for n in 0..8 {
        source.record_wait((n * 10..n * 10 + 10).map(event).collect()).unwrap();
    }
    edge.ledger.close_part().unwrap();
    seal(&edge);
    source.record_wait((80..90).map(event).collect()).unwrap();
    // The log must have let the sealed part go, and what is in memory of it, too.
    let wait = std::time::Instant::now() + Duration::from_secs(30);
    while edge.oldest_file() == 1 {
        assert!(std::time::Instant::now() < wait, "the log was not recycled");
        source.record_wait(vec![event(99)]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    let (stream, gone) = (source.stream(), gone.stream());
    drop(source);
    let edge = edge.reopen(&world);
    let shipper = edge.ship(&world, core.address);
    shipped(&shipper, &edge.ledger);
    // A run of which nothing is left is asked about when there is nothing more to read.
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while core.ledger.gaps().len() < 2 {
        assert!(std::time::Instant::now() < end, "{:?}", core.ledger.gaps());
        std::thread::sleep(Duration::from_millis(5));
    }
    let found = contents(&core.ledger);
    let seqs: Vec<u64> = found.events[&stream].iter().map(|(seq, _)| *seq).collect();
    let first = seqs[0];
    assert!(first > 1 && first <= 81, "{first}");
    let why = GapReason::Unexplained as u64;
    assert_eq!(found.gaps, [(stream, 1, first - 1, why), (gone, 1, 5, why)].into());
    let last = *seqs.last().unwrap();
    assert_eq!(seqs, (first..=last).collect::<Vec<_>>());
    drop(shipper);
    core.close();
}

fn seal(edge: &EdgeRig) {
    let ledger = &edge.ledger;
    let (first, end) = ledger.unsealed().into_iter().find_map(|(first, end)| Some((first, end?))).unwrap();
    let mut reader = ledger.reader(first);
    let mut frames = Vec::new();
    while reader.position() < end {
        if let Some(countersign_ledger::Feed::Batch(batch)) = reader.next(Duration::from_secs(30)).unwrap() {
            frames.extend(batch.records.iter().map(|record| match &record.payload {
                countersign_ledger::Payload::Event { frame, .. } => Some((**frame).clone()),
                countersign_ledger::Payload::Body(_) => None,
            }));
        }
    }
    let roots = ledger.check_range(first, &mut frames.into_iter().map(Ok)).unwrap();
    let times = (0, 1);
    let segment = SealedSegment {
        first,
        end,
        version: 1,
        file_digest: [9; 32],
        file_len: 1,
        min_time: times.0,
        max_time: times.1,
        roots,
    };
    let manifest = ledger.sealed(segment).unwrap();
    ledger.wait_checkpoint(manifest + 1, Duration::from_secs(30)).unwrap();
}

#[test]
fn an_edge_lets_go_of_what_the_core_has_and_of_nothing_else() {
    let world = World::new();
    let mut core = CoreRig::start(&world, "core", &world.enrolled());
    let limits = Limits { part_leaves: 256, wal_file_bytes: 16 << 10, ..Limits::small() };
    let keep = 256 << 10;
    let mut edge = EdgeRig::with(&world, "edge", limits.clone());
    let mut number = 0;
    for round in 0..3 {
        let source = edge.source("countersign:gateway");
        let shipper = edge.ship_keeping(core.address, world.client("edge-a"), keep);
        for _ in 0..8 {
            source.record_wait((number..number + 512).map(event).collect()).unwrap();
            number += 512;
        }
        shipped(&shipper, &edge.ledger);
        // The core has everything: what is too much goes.
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while edge.ledger.stats().wal_bytes > keep {
            assert!(std::time::Instant::now() < end, "{:?}", edge.ledger.stats());
            std::thread::sleep(Duration::from_millis(20));
        }
        let retired = edge.ledger.retired();
        assert!(!retired.is_empty() && retired.iter().all(|range| range.end <= shipper.status().shipped));
        // The core goes away; from here on everything stays.
        drop(shipper);
        core.kill();
        let shipper = edge.ship_keeping("127.0.0.1:9".parse().unwrap(), world.client("edge-a"), 0);
        source.record_wait((number..number + 600).map(event).collect()).unwrap();
        number += 600;
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(edge.ledger.retired().last().unwrap().end <= edge.ledger.size() - 600);
        drop(shipper);
        core = CoreRig::start(&world, "core", &world.enrolled());
        if round == 1 {
            // A kill of the edge, with an older idea of how far it is.
            drop(source);
            edge = edge.reopen_with(&world, limits.clone());
        }
    }
    let shipper = edge.ship_keeping(core.address, world.client("edge-a"), keep);
    shipped(&shipper, &edge.ledger);
    let found = contents(&core.ledger);
    assert_eq!(found.events.values().map(Vec::len).sum::<usize>() as u64, number, "each once");
    assert!(found.gaps.is_empty(), "nothing was lost: {:?}", found.gaps);
    drop(shipper);
    edge.ledger.shutdown().unwrap();
    let place = world.path("edge");
    drop(edge);
    let report =
        countersign_ledger::fsck(&place, EdgeRig::kek(), &countersign_ledger::NoSegments, &mut |_| {});
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    core.close();
}

#[test]
fn another_core_and_an_older_copy_of_it_are_offered_everything_again() {
    let world = World::new();
    let mut core = CoreRig::start(&world, "core", &world.enrolled());
    let mut edge = EdgeRig::open(&world, "edge");
    edge.source("countersign:gateway").record_wait((0..50).map(event).collect()).unwrap();
    let cutter = Cutter::start(core.address);
    let shipper = edge.ship(&world, cutter.address);
    shipped(&shipper, &edge.ledger);
    core.close();
    let copy = world.path("copy");
    world.copy("core", &copy);
    core = CoreRig::start(&world, "core", &world.enrolled());
    cutter.point(core.address);
    drop(shipper);
    edge = edge.reopen(&world);
    edge.source("countersign:gateway").record_wait((50..60).map(event).collect()).unwrap();
    let shipper = edge.ship(&world, cutter.address);
    shipped(&shipper, &edge.ledger);
    core.close();
    // The core comes back as it was before, and then as an empty one.
    for (n, place) in ["copy", "fresh"].into_iter().enumerate() {
        core = CoreRig::start(&world, place, &world.enrolled());
        cutter.point(core.address);
        edge.source("countersign:gateway").record_wait(vec![event(60 + n as u64)]).unwrap();
        shipped(&shipper, &edge.ledger);
        assert_eq!(contents(&edge.ledger), contents(&core.ledger), "{place}");
        core.close();
    }
    drop(shipper);
}

#[test]
fn an_edge_says_what_is_wrong_and_how_far_it_is_behind_and_keeps_everything() {
    let world = World::new();
    let edge = EdgeRig::open(&world, "edge");
    let source = edge.source("countersign:gateway");
    source.record_wait((0..20).map(event).collect()).unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let shipper = edge.ship(&world, closed);
    let error = wait_error(&shipper, "cannot reach https://127.0.0.1");
    assert!(error.contains("refused"), "{error}");
    assert!(shipper.status().behind >= 20 && shipper.status().shipped == 0);
    drop(shipper);
    // A core that does not know this edge.
    let nobody =
        Enrolled { name: NAME.into(), identity: "spiffe://example.org/other".into(), agents: vec![] };
    let core = CoreRig::start(&world, "core", &[nobody]);
    let shipper = edge.ship(&world, core.address);
    wait_error(&shipper, "the core refuses (403)");
    drop(shipper);
    let shipper = edge.ship_as(&world, core.address, world.stranger_client());
    wait_error(&shipper, "check `cert` and `key` in [edge]");
    drop(shipper);
    core.close();
    let core = CoreRig::start(&world, "core", &world.enrolled());
    let shipper = edge.ship(&world, core.address);
    shipped(&shipper, &edge.ledger);
    assert_eq!(shipper.status().error, None);
    assert_eq!(contents(&edge.ledger), contents(&core.ledger));
    drop(shipper);
    core.close();
}

fn wait_error(shipper: &countersign_collect::ship::Shipper, part: &str) -> String {
    let end = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(error) = shipper.status().error.filter(|error| error.contains(part)) {
            return error;
        }
        assert!(std::time::Instant::now() < end, "{:?}, wanted {part}", shipper.status());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_unknown_loss_is_carried_once_and_moves_no_number() {
    let world = World::new();
    let core = CoreRig::start(&world, "core", &world.enrolled());
    let tls = world.client("edge-a");
    assert_eq!(post(core.address, &tls, &batch_of([5; 16], 1..=3)).0, 200);
    let gap = Gap {
        source_ref: 9,
        first_seq: Some(4),
        last_seq: None,
        reason: GapReason::Crash,
        count: 0,
        exact: false,
        declared_by: 0,
    };
    let mut batch = Builder::new("example.org/edge/1", 0);
    batch.stream(&format!("{AGENT}countersign:gateway"), [5; 16]);
    batch.push(Kind::Gap, &[5; 16], 4, &gap.to_bytes());
    for _ in 0..2 {
        let (status, answer) = post(core.address, &tls, &batch.finish(1));
        assert_eq!((status, Marks::parse(&answer).unwrap().marks), (200, vec![([5; 16], 3)]));
    }
    let unknown = crate::edge_rig::gap_bodies(&core.ledger);
    let unknown: Vec<&Gap> = unknown.iter().filter(|gap| gap.first_seq == Some(4)).collect();
    assert_eq!((unknown.len(), unknown[0].exact, unknown[0].last_seq), (1, false, None));
    core.close();
}
