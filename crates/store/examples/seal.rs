//! How fast a ledger and its store take events, and what a sealed event weighs.
//!
//! `cargo run --profile quick -p countersign-store --example seal [events] [directory]`
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measuring program prints, and stops at the first fault"
)]

#[path = "../tests/it/sample.rs"]
mod sample;

use countersign_event::Event;
use countersign_ledger::{Kek, Ledger, Options, SourceSpec};
use countersign_store::{FindRequest, SqlRequest, Store, StoreOptions};
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let total: u64 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(500_000);
    let temp = std::env::temp_dir().join(format!("countersign-seal-{}", std::process::id()));
    let dir = arguments.next().map_or(temp.clone(), Into::into);
    let (ledger, _) =
        Ledger::open(&dir, Kek::from_bytes([1; 32]), Options::new("example.org/bench/1")).expect("ledger");
    let store = Store::open(&dir, ledger.clone(), StoreOptions::default()).expect("store");
    let source = ledger
        .register(SourceSpec { identity: "spiffe://example.org/gw".into(), stream: [7; 16] })
        .expect("source");
    let mut rng = sample::Rng(1);
    let events: Vec<Event> = (1..=total)
        .map(|seq| {
            let mut event = sample::gateway(&mut rng, seq);
            event.core.eid = [0; 16];
            event
        })
        .collect();
    let bytes: usize =
        events[..1_000].iter().map(|e| e.encode().map_or(0, |frame| frame.encoded_len())).sum();
    println!("{total} events, about {} bytes as a frame", bytes / 1_000);

    let started = Instant::now();
    for chunk in events.chunks(1_000) {
        source.record(chunk.to_vec(), Box::new(|_| {})).expect("record");
    }
    while ledger.size() < total {
        std::thread::sleep(Duration::from_millis(1));
    }
    let durable = started.elapsed();
    store.wait_visible(ledger.size(), Duration::from_secs(600));
    let visible = started.elapsed();
    ledger.close_part().expect("close");
    store.wait_sealed(total, Duration::from_secs(600));
    let sealed = started.elapsed();
    let rate = |time: Duration| (total as f64 / time.as_secs_f64()) as u64;
    println!(
        "durable {:.2?} ({}/s), visible {visible:.2?}, sealed {sealed:.2?} ({}/s)",
        durable,
        rate(durable),
        rate(sealed)
    );
    let stats = store.stats();
    let each = |time: Duration| time.as_nanos() as u64 / stats.sealed_rows.max(1);
    println!(
        "a row: columns {} ns, write {} ns, read back and check {} ns; {} parts, {} failures",
        each(stats.build_time),
        each(stats.write_time),
        each(stats.check_time),
        stats.sealed,
        stats.failures
    );
    let columns = store.column_bytes().expect("columns");
    let sum: u64 = columns.iter().map(|(_, bytes)| bytes).sum();
    let size: u64 = ledger.segments().iter().map(|segment| segment.file_len).sum();
    println!(
        "bytes an event: {:.1} in segments, {:.1} of it columns",
        size as f64 / total as f64,
        sum as f64 / total as f64
    );
    for (name, bytes) in columns.iter().take(24) {
        println!("  {name:24} {:6.2}", *bytes as f64 / total as f64);
    }
    cpu_by_thread(total);
    queries(&store);
    store.shutdown();
    ledger.shutdown().expect("shutdown");
    if dir == temp {
        let _ = std::fs::remove_dir_all(&temp);
    }
}

/// Processor time of each thread so far, from the kernel: unlike the clock it does not count waiting.
fn cpu_by_thread(total: u64) {
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let ns: u64 = read("schedstat").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        println!("cpu {:16} {:6} ns an event", read("comm").trim(), ns / total.max(1));
    }
}

fn queries(store: &Store) {
    for sql in [
        "SELECT count(*) FROM events",
        "SELECT \"index\" FROM events WHERE trace = X'00000000000000000000000000000001'",
        "SELECT service, outcome, count(*) FROM events GROUP BY 1, 2",
        "SELECT count(*) FROM events WHERE resource LIKE '%billing%'",
        "SELECT dst, sum(\"count\") FROM edges GROUP BY 1",
    ] {
        for _ in 0..2 {
            let started = Instant::now();
            let rows = futures::executor::block_on(store.sql(SqlRequest::new(sql)));
            println!("{:8.1?} {} rows: {sql}", started.elapsed(), rows.map_or(0, |rows| rows.rows.len()));
        }
    }
    for filter in ["", "service:orders outcome:denied", "who:nobody"] {
        let started = Instant::now();
        let rows = futures::executor::block_on(store.find(FindRequest::new(filter)));
        println!(
            "{:8.1?} {} rows: newest 50 of `{filter}`",
            started.elapsed(),
            rows.map_or(0, |rows| rows.rows.len())
        );
    }
}
