//! `cargo run --profile quick -p countersign-redact --example bench_redact`: scan rate on clean text.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use countersign_redact::Scanner;
use std::time::Instant;

const LINE: &str = "GET /v1/orders/17/items?page=2 HTTP/1.1 user-agent: orders/2.4 accept: application/json \
    select id, total from orders where customer = $1 and placed > $2 order by placed desc limit 50\n";

fn main() {
    let text = LINE.repeat((1 << 20) / LINE.len());
    let started = Instant::now();
    let scanner = Scanner::default();
    println!("compiled in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let mut best = 0.0_f64;
    for _ in 0..20 {
        let started = Instant::now();
        assert!(scanner.find(text.as_bytes()).is_empty());
        best = best.max(text.len() as f64 / started.elapsed().as_secs_f64() / 1e6);
    }
    println!("clean text: {best:.0} MB/s (best of 20)");
}
