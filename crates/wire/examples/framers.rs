//! Bytes a second that each inline framer judges on one core: on its typical traffic, and on input that is
//! meant to be dear (`cargo xtask bench framers`). Fed as a pump does: blocks of up to 64 KiB, and for the
//! adversary also byte by byte, with what was not taken shown again.
#![expect(clippy::unwrap_used, reason = "a measurement ends by panicking")]

use countersign_wire::http1::{Framer, PieceKind};
use countersign_wire::stream::{self, Unjudged};
use std::time::Duration;

/// Largest block that a pump reads.
const BLOCK: usize = 64 << 10;
/// Least time of one measurement.
const LONG: Duration = Duration::from_millis(300);

fn main() {
    println!("framers: bytes judged a second, one core");
    let get = "GET /orders/1234?page=2 HTTP/1.1\r\nHost: orders.internal.example\r\nUser-Agent: client/1.0\r\nAccept: */*\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    let ok = |n: usize| {
        format!(
            "HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 03:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: {n}\r\n\r\n{}",
            "x".repeat(n)
        )
    };
    let chunked = |n: usize, size: usize| {
        let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
            chunk.repeat(n)
        )
    };
    let both = |up: &str, down: &str| exchanges(up.as_bytes(), down.as_bytes(), BLOCK);
    row("http1, GET and 1 KiB answer", both(get, &ok(1024)), "1 GB/s");
    row("http1, GET and 16 KiB answer", both(get, &ok(16 << 10)), "1 GB/s");
    row("http1, GET and 1 MiB answer", both(get, &ok(1 << 20)), "1 GB/s");
    row("http1, chunks of 4 KiB", both(&chunked(256, 4096), &ok(0)), "1 GB/s");
    row("http1, heads alone, no body", both(get, &ok(0)), "-");
    row("http1, chunks of one byte", both(&chunked(10_000, 1), &ok(0)), "-");
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(98));
    row("http1, a hundred tiny fields", both(&fields, &ok(0)), "-");
    println!("  linear on any input: time a byte when the head doubles, byte by byte");
    for size in [8 << 10, 16 << 10, 32 << 10, 60 << 10] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(size));
        let rate = exchanges(head.as_bytes(), ok(0).as_bytes(), 1);
        row(&format!("http1, head of {} KiB, byte by byte", size >> 10), rate, "flat");
    }
    streams();
}

/// The framers of stream protocols.
fn streams() {
    let set = b"*3\r\n$3\r\nSET\r\n$16\r\nsession:00001234\r\n$1024\r\n".to_vec();
    let set = [set, vec![b'v'; 1024], b"\r\n".to_vec()].concat();
    let redis = || Box::new(countersign_wire::redis::Framer::new()) as Box<dyn stream::Framer>;
    row("redis, SET of 1 KiB, pipelines of 32", pairs(redis, &set, b"+OK\r\n", 32), "1 GB/s");
    let get = b"*2\r\n$3\r\nGET\r\n$16\r\nsession:00001234\r\n";
    let reply = [b"$1024\r\n".to_vec(), vec![b'v'; 1024], b"\r\n".to_vec()].concat();
    row("redis, GET of 1 KiB, pipelines of 32", pairs(redis, get, &reply, 32), "1 GB/s");
    row("redis, PING alone", pairs(redis, b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n", 32), "-");
    row("h2 frames, DATA of 16 KiB", h2(16 << 10), "1 GB/s");
    row("h2 frames, DATA of 1 KiB", h2(1 << 10), "1 GB/s");
    row("h2 frames, empty DATA", h2(0), "-");
    postgres();
    row("redis, inline commands", pairs(redis, b"PING\r\n", b"+PONG\r\n", 32), "-");
}

/// PostgreSQL's framer: what pgbench sends prepared, results with rows of several sizes, data on its way in.
fn postgres() {
    use countersign_wire::postgres::{Framer, FramerOptions};
    let message =
        |tag: u8, payload: &[u8]| [&[tag][..], &(payload.len() as u32 + 4).to_be_bytes(), payload].concat();
    let framer = || {
        let mut framer: Box<dyn stream::Framer> = Box::new(Framer::new(FramerOptions::default()));
        let settings = b"\0\x03\0\0user\0bench\0\0";
        let start = [&(settings.len() as u32 + 4).to_be_bytes()[..], settings].concat();
        framer.up(&start, &mut Unjudged).unwrap();
        framer.down(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").unwrap();
        framer
    };
    let row_of = |n: usize| {
        let value = [&[0, 1][..], &(n as u32).to_be_bytes(), &vec![b'v'; n]].concat();
        message(b'D', &value)
    };
    let complete = [message(b'C', b"SELECT 100\0"), message(b'Z', b"I")].concat();
    // Bind, Describe, Execute and Sync, as libpq sends a prepared statement.
    let bind = [&b"\0P0_1\0\0\0\0\x01\0\0\0\x06"[..], b"123456", &[0, 0]].concat();
    let execute =
        [message(b'B', &bind), message(b'D', b"P\0"), message(b'E', &[0; 5]), message(b'S', b"")].concat();
    let described = message(b'T', &[&b"\0\x01abalance\0"[..], &[0; 18]].concat());
    let answer = |rows: usize, n: usize| {
        [message(b'2', b""), described.clone(), row_of(n).repeat(rows), complete.clone()].concat()
    };
    for (rows, n) in [(100, 100), (100, 256), (100, 1024), (10, 8192)] {
        let name = format!("postgres, prepared, {rows} rows of {n} bytes");
        row(&name, pairs(framer, &execute, &answer(rows, n), 32), "1 GB/s");
    }
    row("postgres, prepared, one row of 8 bytes", pairs(framer, &execute, &answer(1, 8), 32), "-");
    let query = message(b'Q', format!("insert into t values ('{}')\0", "x".repeat(1024)).as_bytes());
    let inserted = [message(b'C', b"INSERT 0 1\0"), message(b'Z', b"I")].concat();
    row("postgres, simple statements of 1 KiB", pairs(framer, &query, &inserted, 32), "1 GB/s");
    let tiny = [message(b'2', b""), message(b'D', &[0, 0]).repeat(1_000), complete.clone()].concat();
    row("postgres, rows without columns", pairs(framer, &execute, &tiny, 32), "-");
}

/// A connection's frames with `n` bytes of content each, seen by their heads; bytes a second.
fn h2(n: usize) -> f64 {
    use countersign_wire::h2::{PREFACE, Scanner};
    let head = [&(n as u32).to_be_bytes()[1..], &[0, 0, 0, 0, 0, 1]].concat();
    let stream = [head, vec![0; n]].concat().repeat(BLOCK / (n + 9) + 1);
    let mut scanner = Scanner::client();
    scanner.feed(PREFACE, |_| {});
    let (start, mut bytes, mut frames) = (worked(), 0, 0);
    while worked() - start < LONG {
        for _ in 0..256 {
            scanner.feed(&stream, |_| frames += 1);
            bytes += stream.len();
        }
    }
    assert!(frames >= bytes / (n + 9));
    bytes as f64 / (worked() - start).as_secs_f64()
}

/// Requests and answers in turn through one HTTP framer; bytes a second, both ways together.
fn exchanges(up: &[u8], down: &[u8], step: usize) -> f64 {
    let mut framer = Framer::default();
    let (start, mut bytes) = (worked(), 0);
    while worked() - start < LONG {
        for _ in 0..256 {
            feed(up, step, |buf| framer.request(buf).map(|p| (p.len, p.kind)).unwrap());
            feed(down, step, |buf| framer.response(buf).map(|p| (p.len, p.kind)).unwrap());
            bytes += up.len() + down.len();
        }
    }
    bytes as f64 / (worked() - start).as_secs_f64()
}

fn feed(bytes: &[u8], step: usize, mut judge: impl FnMut(&[u8]) -> (usize, PieceKind)) {
    let (mut from, mut to) = (0, 0);
    while to < bytes.len() {
        to = (to + step).min(bytes.len());
        while from < to {
            match judge(&bytes[from..to]) {
                (0, _) => break,
                (n, _) => from += n,
            }
        }
    }
    assert_eq!(from, bytes.len(), "everything is let through");
}

/// Pipelines of `n` requests and their answers through a new framer's connection; bytes a second.
fn pairs(framer: impl Fn() -> Box<dyn stream::Framer>, up: &[u8], down: &[u8], n: usize) -> f64 {
    let (up, down) = (up.repeat(n), down.repeat(n));
    let mut framer = framer();
    let (start, mut bytes) = (worked(), 0);
    while worked() - start < LONG {
        for _ in 0..256 {
            let mut at = 0;
            while at < up.len() {
                let end = (at + BLOCK).min(up.len());
                let step = framer.up(&up[at..end], &mut Unjudged).unwrap();
                assert!(step.len > 0, "a whole pipeline is let through");
                at += step.len;
            }
            let mut at = 0;
            while at < down.len() {
                let end = (at + BLOCK).min(down.len());
                let step = framer.down(&down[at..end]).unwrap();
                assert!(step.len > 0, "its answers are let through");
                at += step.len;
            }
            bytes += up.len() + down.len();
        }
    }
    bytes as f64 / (worked() - start).as_secs_f64()
}

/// Processor time of this thread so far, so that a busy machine changes little.
fn worked() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn row(name: &str, rate: f64, bar: &str) {
    println!("  {name:<44} {:>26}   bar: {bar}", format!("{:.2} GB/s", rate / 1e9));
}
