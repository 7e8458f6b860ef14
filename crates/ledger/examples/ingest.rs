//! Durable ingest: `ingest [SECONDS] [PRODUCERS] [check]`. Prints events per second, fdatasync and SHA-256 rates.
//!
//! A sealing thread stands in for the store: it takes closed parts and logs their manifests, with `check`
//! after recomputing every commitment, so that the write-ahead log is recycled as in production.
#![expect(clippy::unwrap_used, reason = "a measurement ends by panicking")]

use countersign_event::{
    Auth, Class, Endpoint, Event, IdentityFrom, Kind, Outcome, Principal, PrincipalKind, Rec, StatusSpace,
    Verified,
};
use countersign_ledger::{Feed, Kek, Ledger, Options, Payload, SealedSegment, SourceSpec};
use ring::digest::{SHA256, digest};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// An event whose frame has about 300 bytes.
fn sample(n: u64) -> Event {
    let mut event = Event::default();
    let core = &mut event.core;
    core.t_obs = 1_790_000_000_000_000_000 + n;
    core.t_event = Some(1_790_000_000_000_000_000 + n as i64);
    core.dur = Some(1_500_000 + n % 1000);
    core.rec = Some(Rec::ALL[0]);
    core.kind = Some(Kind::ALL[0]);
    core.proto = "http/1.1".into();
    core.op = "GET".into();
    core.class = Some(Class::ALL[0]);
    core.outcome = Some(Outcome::ALL[0]);
    core.status = Some((StatusSpace::ALL[0], "200".into()));
    core.route = "orders".into();
    event.target.svc = "orders.internal.example".into();
    event.target.res = format!("/v1/customers/{}/orders", n % 10_000);
    event.peer.src = Some(endpoint(40_000 + (n % 20_000) as u16));
    event.peer.dst = Some(endpoint(8443));
    event.who.who = Some(Principal {
        id: format!("spiffe://example.org/service-{}", n % 50),
        kind: Some(PrincipalKind::Workload),
        auth: Some(Auth::ALL[0]),
        verified: Verified::Bound,
        iss: String::new(),
        cred: String::new(),
        cred_exp: None,
        svc: String::new(),
        inst: String::new(),
        groups: Vec::new(),
        rel: None,
        name: String::new(),
        from: Some(IdentityFrom::Tls),
        other: Default::default(),
    });
    event
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint { ip: Some([10, 0, 0, 5].into()), port: Some(port), ..Endpoint::default() }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let seconds: u64 = args.next().and_then(|text| text.parse().ok()).unwrap_or(10);
    let producers: u64 = args.next().and_then(|text| text.parse().ok()).unwrap_or(2);
    let check = args.next().is_some();
    let dir = tempfile::tempdir().unwrap();
    sha256_rate();
    let (ledger, _) =
        Ledger::open(dir.path(), Kek::from_bytes([1; 32]), Options::new("example.org/bench/1")).unwrap();
    let mut shown = sample(1);
    (shown.core.agent, shown.core.seq, shown.core.eid) = ("bench-0".into(), 1, [1; 16]);
    println!("event in memory: {} bytes", size_of::<Event>());
    println!("frame: {} bytes", shown.encode().unwrap().encoded_len());
    let stop = Arc::new(AtomicBool::new(false));
    let acked = Arc::new(AtomicU64::new(0));
    let latency = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let mut threads = Vec::new();
    for producer in 0..producers {
        let source = ledger
            .register(SourceSpec { identity: format!("bench-{producer}"), stream: [producer as u8; 16] })
            .unwrap();
        let (stop, acked, latency) = (stop.clone(), acked.clone(), latency.clone());
        threads.push(std::thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                let events = (0..64).map(|i| sample(n + i)).collect();
                n += 64;
                let (acked, latency, sent) = (acked.clone(), latency.clone(), Instant::now());
                let done = Box::new(move |result: Result<countersign_ledger::Ack, _>| {
                    acked.fetch_add(result.unwrap().count, Ordering::Relaxed);
                    latency.lock().unwrap().push(sent.elapsed());
                });
                source.record(events, done).unwrap();
            }
        }));
    }
    let sealer = std::thread::spawn({
        let (ledger, stop) = (ledger.clone(), stop.clone());
        move || seal(&ledger, &stop, check)
    });
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        let stats = ledger.stats();
        println!(
            "{:>9} acked  queue {:>4} MiB  wal {:>5} MiB  signed -{}",
            acked.load(Ordering::Relaxed),
            stats.queue_bytes >> 20,
            stats.wal_bytes >> 20,
            stats.size - stats.signed_size
        );
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let took = start.elapsed().as_secs_f64();
    let total = acked.load(Ordering::Relaxed);
    let stats = ledger.stats();
    println!("durable ingest: {:.0} events/s, {} batches", total as f64 / took, stats.batches);
    println!("fdatasync: {} calls, p50 < {:?}, p99 < {:?}", stats.fsyncs, stats.fsync_p50, stats.fsync_p99);
    let mut times = std::mem::take(&mut *latency.lock().unwrap());
    times.sort_unstable();
    println!(
        "ack latency at full load: p50 {:?}, p99 {:?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
    sealer.join().unwrap();
    ledger.shutdown().unwrap();
}

fn seal(ledger: &Ledger, stop: &AtomicBool, check: bool) {
    let mut reader = ledger.reader(0);
    let mut rows = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match reader.next(Duration::from_millis(100)).unwrap() {
            Some(Feed::Batch(batch)) if check => {
                rows.extend(batch.records.iter().map(|record| match &record.payload {
                    Payload::Event { frame, .. } => Ok(Some((**frame).clone())),
                    Payload::Body(_) => Ok(None),
                }));
            }
            Some(Feed::PartClosed { first, end }) => {
                let roots = if check {
                    ledger.check_range(first, &mut std::mem::take(&mut rows).into_iter()).unwrap()
                } else {
                    vec![]
                };
                let roots = if check { roots } else { fake_roots(ledger, first, end) };
                let segment = SealedSegment {
                    first,
                    end,
                    version: 1,
                    file_digest: [0; 32],
                    file_len: 0,
                    min_time: 0,
                    max_time: 0,
                    roots,
                };
                ledger.sealed(segment).unwrap();
            }
            _ => {}
        }
    }
}

/// Roots without reading contents: only whole subtrees of 65,536 leaves are sealed by the measurement.
fn fake_roots(ledger: &Ledger, first: u64, end: u64) -> Vec<[u8; 32]> {
    let tile = |level: u8, at: u64| {
        let path = countersign_proof::Tile::hashes(level, at / 256, (at % 256 + 1) as u16).unwrap().path();
        let bytes = ledger.tile_path(&path).unwrap().unwrap();
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[bytes.len() - 32..]);
        hash
    };
    assert_eq!(end - first, 65_536);
    vec![tile(2, first >> 16)]
}

fn sha256_rate() {
    let block = vec![0u8; 1 << 20];
    let start = Instant::now();
    let mut rounds = 0u64;
    while start.elapsed() < Duration::from_millis(300) {
        std::hint::black_box(digest(&SHA256, &block));
        rounds += 1;
    }
    println!("SHA-256: {:.0} MB/s a core", rounds as f64 * 1.048_576 / start.elapsed().as_secs_f64());
}
