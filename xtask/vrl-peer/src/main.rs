//! Runs one function of the crate `vrl` on lines from standard input, on one core, and says how fast it is.
//!
//! The argument is a VRL program, such as `parse_json!(.message)`, as a user of Vector writes it; each line is
//! `.message`. The program is compiled once and resolved for each line. What is measured is parsing alone: no
//! identity, no outcome, no scan for secrets, no encoding and no hash. A line that does not parse ends the run.

use std::io::{Read, stdin};
use std::time::{Duration, Instant};
use vrl::compiler::{TargetValue, TimeZone, compile, runtime::Runtime};
use vrl::value::{KeyString, Secrets, Value};

/// Each measurement lasts so long.
const ROUND: Duration = Duration::from_millis(200);
/// Rounds; the best one counts.
const ROUNDS: usize = 3;

fn main() {
    let source = std::env::args().nth(1).expect("a VRL program");
    let program = compile(&source, &vrl::stdlib::all()).expect("the program compiles").program;
    let mut text = String::new();
    stdin().read_to_string(&mut text).expect("lines");
    let lines: Vec<&str> = text.lines().collect();
    let mut runtime = Runtime::default();
    let mut parse = |line: &str| {
        let event = [(KeyString::from("message"), Value::from(line))].into_iter().collect();
        let mut target = TargetValue {
            value: Value::Object(event),
            metadata: Value::Object(Default::default()),
            secrets: Secrets::default(),
        };
        let parsed = runtime.resolve(&mut target, &program, &TimeZone::default()).expect("the line parses");
        std::hint::black_box(parsed);
    };
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let (start, mut passes) = (on_processor(), 0_u32);
        while on_processor() - start < ROUND {
            lines.iter().for_each(|line| parse(line));
            passes += 1;
        }
        best = best.max(f64::from(passes) / (on_processor() - start).as_secs_f64());
    }
    let bytes: usize = lines.iter().map(|line| line.len()).sum();
    println!("{:.1} MiB/s, {:.0} records/s", best * bytes as f64 / f64::from(1 << 20), best * lines.len() as f64);
}

/// Time of this thread on a processor (Linux, `proc(5)`, schedstat); elsewhere the clock.
fn on_processor() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = told.and_then(|text| text.split(' ').next()?.parse().ok());
    ns.map_or_else(|| START.elapsed(), Duration::from_nanos)
}
