//! Durable ingest of 300-byte events with sealing on: rate, lag of the sealer, bytes on disk an event.
//!
//! Run by `cargo xtask bench ledger` with an empty directory as its argument.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use countersign_event::{
    Auth, Body, Capture, CaptureConf, CaptureMode, Class, Core, Endpoint, Event, Kind, Links, Outcome,
    Payload, Peer, Principal, PrincipalKind, Rec, StatusSpace, Target, Transport, Verified, Who,
};
use countersign_ledger::{Kek, Ledger, Options, Source, SourceSpec};
use countersign_store::{Store, StoreOptions};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Events ingested: some fifteen segments.
const EVENTS: u64 = 1_000_000;
/// Events in one submission, as a busy gateway makes them.
const SUBMISSION: u64 = 500;

fn main() {
    let dir = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    let kek = Kek::from_bytes([7; 32]);
    let (ledger, _) = Ledger::open(&dir, kek, Options::new("bench/ingest/1")).unwrap();
    let store = Store::open(&dir, ledger.clone(), StoreOptions::default()).unwrap();
    let source = ledger.register(SourceSpec { identity: "bench".into(), stream: [9; 16] }).unwrap();
    let mut sample = event(1);
    (sample.core.agent, sample.core.seq, sample.core.stream) = ("bench".into(), 1, [9; 16]);
    let bytes = sample.encode().unwrap().to_bytes().len();

    let start = Instant::now();
    ingest(&source);
    let acked = start.elapsed();
    let borders = ledger.size() / 65_536 * 65_536;
    let sealed = |bound: u64| ledger.segments().iter().any(|segment| segment.end >= bound);
    while !sealed(borders) && start.elapsed() < Duration::from_secs(600) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let done = start.elapsed();
    assert!(store.wait_visible(ledger.size(), Duration::from_secs(60)));
    let stats = ledger.stats();
    println!(
        "ledger: {EVENTS} events of {bytes} B, acknowledged after fdatasync, sealing on, all in one process"
    );
    row("durable ingest", &format!("{:.0}/s", rate(acked)), "100,000/s");
    row("durable and sealed", &format!("{:.0}/s", rate(done)), "keeps pace");
    row("sealer's lag after the last ACK", &format!("{:.2} s", (done - acked).as_secs_f64()), "-");
    row("fdatasync p50 / p99 in the run", &format!("{:?} / {:?}", stats.fsync_p50, stats.fsync_p99), "-");
    row("resident memory at the end", &format!("{} MiB", rss() >> 20), "256 MiB (ledger.md 13)");

    ledger.close_part().unwrap();
    while !sealed(ledger.size().saturating_sub(200)) && start.elapsed() < Duration::from_secs(600) {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(1));
    store.shutdown();
    ledger.shutdown().unwrap();
    sizes(&dir);
}

fn rate(time: Duration) -> f64 {
    EVENTS as f64 / time.as_secs_f64()
}

fn row(name: &str, result: &str, bar: &str) {
    println!("  {name:<44} {result:>26}   bar: {bar}");
}

/// Two threads, since the machine has two cores; each blocks where the ledger's intake is full.
fn ingest(source: &Source) {
    let acked = Arc::new((Mutex::new(0u64), Condvar::new()));
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(SUBMISSION, Ordering::Relaxed);
                    if from >= EVENTS {
                        return;
                    }
                    let events = (from..from + SUBMISSION).map(event).collect();
                    let acked = Arc::clone(&acked);
                    let done = Box::new(
                        move |ack: Result<countersign_ledger::Ack, countersign_ledger::LedgerError>| {
                            *acked.0.lock().unwrap() += ack.unwrap().count;
                            acked.1.notify_all();
                        },
                    );
                    source.record(events, done).unwrap();
                }
            });
        }
    });
    let mut count = acked.0.lock().unwrap();
    while *count < EVENTS {
        count = acked.1.wait(count).unwrap();
    }
}

/// A typical gateway event: a few hundred callers and routes, distinct ids, times and sizes.
fn event(n: u64) -> Event {
    let mix = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let now = 1_790_000_000_000_000_000 + n * 10_000;
    let mut trace = [0; 16];
    trace[..8].copy_from_slice(&mix.to_be_bytes());
    trace[8..].copy_from_slice(&n.to_be_bytes());
    let caller = format!("spiffe://example.org/service-{}", mix % 40);
    let who = Principal {
        kind: Some(PrincipalKind::Workload),
        auth: Some(Auth::SpiffeSvid),
        cred: format!("x5t#S256:abababababababab{}", mix % 40),
        ..Principal::new(caller, Verified::Bound)
    };
    let (status, outcome) =
        if mix.is_multiple_of(50) { ("503", Outcome::ServerError) } else { ("200", Outcome::Success) };
    let ip = |last: u64| Some(std::net::IpAddr::from([10, 0, (last >> 8) as u8, last as u8]));
    Event {
        core: Core {
            t_obs: now,
            t_event: Some(now as i64 - 2_000_000),
            dur: Some(500_000 + mix % 3_000_000),
            rec: Some(Rec::Interaction),
            kind: Some(Kind::Http),
            proto: "http/1.1".into(),
            op: if mix.is_multiple_of(3) { "POST".into() } else { "GET".into() },
            class: Some(if mix.is_multiple_of(3) { Class::Create } else { Class::Read }),
            outcome: Some(outcome),
            status: Some((StatusSpace::Http, status.into())),
            ..Core::default()
        },
        who: Who { who: Some(who), ..Who::default() }.into(),
        peer: Peer {
            src: Some(Endpoint {
                ip: ip(mix % 40),
                port: Some(30_000 + (mix % 20_000) as u16),
                ..Endpoint::default()
            }),
            dst: Some(Endpoint { ip: ip(999), port: Some(8443), ..Endpoint::default() }),
            transport: Some(Transport::Tcp),
            ..Peer::default()
        }
        .into(),
        target: Target {
            svc: "orders".into(),
            res: "/orders/{id}".into(),
            id: (mix % 100_000).to_string(),
            ..Target::default()
        }
        .into(),
        links: Links {
            trace: Some(trace),
            span: Some(mix.to_be_bytes()),
            conn_seq: Some(n % 100 + 1),
            ..Links::default()
        },
        body: Body {
            req: Some(Payload { size: Some(0), ..Payload::default() }),
            rsp: Some(Payload { size: Some(mix % 9000), ..Payload::default() }),
            cap: Some(
                Capture {
                    mode: Some(CaptureMode::Inline),
                    conf: Some(CaptureConf::Full),
                    ..Capture::default()
                }
                .into(),
            ),
            ..Body::default()
        }
        .into(),
        ..Event::default()
    }
}

fn sizes(dir: &Path) {
    println!("bytes on disk an event, everything sealed:");
    let mut sum = 0;
    for class in ["seg", "log", "meta", "keys", "wal"] {
        let bytes = size(&dir.join(class));
        sum += bytes;
        row(class, &format!("{:.1}", bytes as f64 / EVENTS as f64), "-");
    }
    row("all", &format!("{:.1}", sum as f64 / EVENTS as f64), "135 hot (ledger.md 13)");
}

fn size(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => std::os::unix::fs::MetadataExt::blocks(&meta) * 512,
            Err(_) => 0,
        })
        .sum()
}

fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}
