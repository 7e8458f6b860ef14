//! Lines that are made to cost: how the time of every format grows with their length.
//!
//! Each pattern stands alone, inside a JSON text, and behind a real line, at [`SHORT`] bytes and at eight times as many. A
//! parser that is linear takes eight times as long; one that goes back takes sixty-four. What is printed is the worst of
//! each format that grows by more than [`SHOWN`], and the worst of all; rates decide nothing here either.

use crate::lines;
use countersign_collect::formats::{FORMATS, Format};
use countersign_collect::{Input, Keeper, observe};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Bytes of the shorter line.
const SHORT: usize = 32 << 10;
/// How many times as long the longer one is.
const TIMES: usize = 8;
/// Growth from which a format is named: half as much again as linear.
const SHOWN: f64 = 12.0;
/// Tries of each line; the fastest counts.
const TRIES: usize = 5;

const PATTERNS: &[&str] = &[
    "{\"a\":",
    "[",
    "[]",
    "{}",
    "\"",
    "\\",
    "\\\"",
    " ",
    "  a",
    "=",
    "a=",
    "a=\"",
    "a=b ",
    ",",
    ",\"\"",
    ";",
    "%",
    "%41",
    "<1>",
    "1 ",
    "- ",
    "|",
    "\t",
    "(",
    ")",
    "$",
    ":",
    "::",
    "/",
    "//",
    "/a",
    "?a=b&",
    ".",
    "1.1.1.1, ",
    "1.1.1.1,",
    "@",
    "-",
    "'",
    "''",
    "--",
    "/*",
    "\u{e9}",
    "Bearer ",
    "password=",
    "AKIA",
    "eyJ",
    "[a=\"b\"]",
    "a\\n",
    "00-",
];

/// The worst of some lines.
#[derive(Default)]
struct Worst {
    grew: f64,
    slowest: f64,
    pattern: String,
}

pub(crate) fn run(input: &Input, keeper: &Keeper, now: u64) {
    let (mut all, mut named) = (Worst::default(), String::new());
    let formats = FORMATS.iter().map(Some).chain([None]);
    for format in formats {
        let name = format.map_or("auto", |format: &Format| format.name);
        let mut worst = Worst::default();
        for pattern in PATTERNS {
            for shape in 0..3 {
                let took = |bytes: usize| {
                    let line = line(pattern, shape, bytes);
                    let tries = (0..TRIES).map(|_| {
                        let start = Instant::now();
                        black_box(observe(&line, format, input, keeper, now));
                        start.elapsed()
                    });
                    tries.min().unwrap_or_default()
                };
                let (short, long) = (took(SHORT), took(TIMES * SHORT));
                let grew = long.as_secs_f64() / short.max(Duration::from_micros(1)).as_secs_f64();
                worst.slowest = worst.slowest.max(long.as_secs_f64() * 1e9 / (TIMES * SHORT) as f64);
                if grew > worst.grew {
                    (worst.grew, worst.pattern) = (grew, format!("{pattern:?}, shape {shape}"));
                }
            }
        }
        if worst.grew > SHOWN {
            named.push_str(&format!("    {name}: {:.1} times, {}\n", worst.grew, worst.pattern));
        }
        all.slowest = all.slowest.max(worst.slowest);
        if worst.grew > all.grew {
            (all.grew, all.pattern) = (worst.grew, format!("{name}, {}", worst.pattern));
        }
    }
    println!(
        "  adversarial lines, {} formats, {} patterns in 3 places, {} KiB and {TIMES} times as long: grew by at most {:.1} \
         ({}), at most {:.0} ns a byte",
        FORMATS.len() + 1,
        PATTERNS.len(),
        SHORT >> 10,
        all.grew,
        all.pattern,
        all.slowest
    );
    print!("{named}");
}

/// `pattern` again and again: alone, in a JSON text, behind a line of a proxy.
fn line(pattern: &str, shape: usize, bytes: usize) -> Vec<u8> {
    let many = pattern.repeat(bytes / pattern.len() + 1);
    match shape {
        0 => many.into_bytes(),
        1 => format!("{{\"message\":{:?}}}", many).into_bytes(),
        _ => {
            let records = lines::CASES.first().map(|case| case.records()).unwrap_or_default();
            format!("{}{many}", records.first().map(String::as_str).unwrap_or_default()).into_bytes()
        }
    }
}
