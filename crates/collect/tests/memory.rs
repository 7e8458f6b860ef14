//! How much memory a parser takes at most, beside the length of its record: every format, over records of it that were
//! blown up at several places by what parsers split at.
//!
//! A program of its own, with nothing else in it: the allocator that counts is the whole process's, and another test
//! beside it would be counted too. What is counted is the peak of what is allocated from the record's bytes to the
//! sealed event, the event included.

#[path = "it/seeds_platforms.rs"]
mod seeds_platforms;
#[path = "it/seeds_web.rs"]
mod seeds_web;

use countersign_collect::formats::{FORMATS, Format};
use countersign_collect::{Input, Keeper, RECORD_MAX, observe};
use countersign_redact::Scanner;
use peak_alloc::PeakAlloc;
use std::collections::BTreeMap;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes by which records are blown up: what fits beside a seed.
const LENGTH: usize = RECORD_MAX - (16 << 10);
/// Of the blown-up records one in so many is tried in the plain test, each in the whole one.
const STEP: usize = 4;
/// What a record may take whatever its length, bytes: the items of a JSON text and the entries of `unmapped`, each of
/// which has a number that it never exceeds (4,096 and 1,024).
const FIXED: usize = 2 << 20;

/// Places of a record at which it is blown up, and its end.
const PLACES: usize = 4;

/// What records are blown up with: the separators and members of the formats, in every number.
const PIECES: &[&str] = &[
    "a",
    " ",
    ",",
    ";",
    "|",
    "\t",
    "=",
    "\"",
    "\\",
    "\\\"",
    "\\x41",
    "%41",
    "\\u0041",
    "&a=1",
    "?",
    "/",
    "/7",
    " a=b",
    " a=\"b\"",
    ",\"a\":1",
    ",\"a\"",
    "[",
    "{\"a\":",
    "[a b=\"c\"]",
    "\n",
    "\n a",
    "\0",
    "\u{e9}",
    "password=abcdef ",
    "::ffff:1",
    "1, ",
    "(",
    "<a>",
    "'",
    "''",
    "^a=b",
    "#",
    "$1",
];

fn peak(record: &[u8], format: &Format, input: &Input, keeper: &Keeper) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let event = observe(record, Some(format), input, keeper, 1_790_000_000_000_000_000);
    let peak = MEMORY.peak_usage() - before;
    drop(event);
    peak
}

/// Distinct names, so that nothing is told twice: `,"k0":0,"k1":1`, ` k0=0 k1=1`.
fn names(before: &str, between: &str, behind: &str) -> String {
    let mut out = String::new();
    for n in 0.. {
        out.push_str(&format!("{before}k{n}{between}{n}{behind}"));
        if out.len() >= LENGTH {
            break;
        }
    }
    out
}

#[test]
fn a_record_takes_at_most_twice_its_length_and_a_fixed_room() {
    let (keeper, input) = (Keeper::new(Scanner::default(), &[7; 32]), Input::new("memory"));
    let mut blown: Vec<String> = PIECES.iter().map(|piece| piece.repeat(LENGTH / piece.len())).collect();
    blown.extend([
        names(",\"", "\":", ""),
        names(" ", "=", ""),
        names(" ", "=\"", "\""),
        names("&", "=", ""),
        names("\n", "=", ""),
        names(" [", " a=\"", "\"]"),
    ]);
    let seeds: Vec<&str> = seeds_web::WEB.iter().chain(seeds_platforms::PLATFORMS).copied().collect();
    let mut worst: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let whole = std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|how| how == "full");
    let (step, mut turn) = (if whole { 1 } else { STEP }, 0);
    for seed in &seeds {
        // Formats that know the seed; the others give up at once.
        let known = |format: &&Format| {
            observe(seed.as_bytes(), Some(format), &input, &keeper, 1).content.err.is_empty()
        };
        let formats: Vec<&Format> = FORMATS.iter().filter(known).collect();
        for (number, more) in blown.iter().enumerate() {
            for place in 0..=PLACES {
                let mut at = seed.len() * place / PLACES;
                while !seed.is_char_boundary(at) {
                    at += 1;
                }
                let record = [&seed[..at], more, &seed[at..]].concat();
                assert!(record.len() <= RECORD_MAX);
                for format in &formats {
                    turn += 1;
                    if turn % step != 0 {
                        continue;
                    }
                    let took = peak(record.as_bytes(), format, &input, &keeper);
                    let over = took.saturating_sub(2 * record.len());
                    let what = || {
                        format!(
                            "{took} of {} bytes: blown {number} {:?} at {at} of {seed}",
                            record.len(),
                            &more[..more.len().min(12)]
                        )
                    };
                    let entry = worst.entry(format.name).or_insert_with(|| (over, what()));
                    if over > entry.0 {
                        *entry = (over, what());
                    }
                }
            }
        }
    }
    let over: Vec<String> = worst
        .iter()
        .filter(|(_, (over, _))| *over > FIXED)
        .map(|(name, (over, what))| format!("{name}: {over} too many, {what}"))
        .collect();
    if std::env::var_os("COUNTERSIGN_MEMORY").is_some() {
        worst.iter().for_each(|(name, (over, what))| println!("{name} {over} {what}"));
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}
