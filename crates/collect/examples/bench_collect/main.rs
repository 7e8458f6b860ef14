//! `cargo xtask bench collect`: from a record's bytes to the event's commitment, on one core.
//!
//! **What "to hashed event" covers here.** Take a request apart (OTLP), parse, map, seal (cap of trust, scan for
//! secrets, bounds, keyed digest of the record's bytes: HMAC-SHA-256), canonical encoding in seven groups, the salted
//! commitment of each group and the event's. Not: sockets, TLS, gzip, framing of lines, memory of repeats, the
//! write-ahead log (`cargo xtask bench ledger`).
//!
//! Each row is followed by where its time goes, every part measured by itself: `hash` is the floor that the formats of
//! the ledger set (commitments and digest of the record, by blocks of SHA-256), `encode` the canonical encoding, `parse`
//! all the rest, of which the scan for secrets and the reading of JSON are told apart. Names of rows as arguments measure these alone; `--lines NAME` prints a row's lines, for a peer;
//! `--only parse|scan|encode|hash|all` runs one part long enough for a profiler. Rates decide nothing here. What does: a record that
//! is not understood ends the bench.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a benchmark prints its result")]

mod adversarial;
mod lines;
mod otlp;
mod timing;

use countersign_collect::json::Doc;
use countersign_collect::otlp::{logs, spans, split_protobuf};
use countersign_collect::{Input, Keeper, formats, observe};
use countersign_event::commit::{Salt, event_commitment};
use countersign_event::{CaptureConf, Event, Frame, GROUPS, Rec, Verified};
use countersign_redact::Scanner;
use ring::{digest, hmac};
use sha2::Digest as _;
use std::hint::black_box;
use timing::{Rate, best};

/// Our clock in every event.
const NOW: u64 = 1_790_000_000_000_000_000;
const SALTS: [Salt; GROUPS] = [[0xa5; 16]; GROUPS];
const KEY: [u8; 32] = [7; 32];

/// Makes a request, the n-th.
type Make<'a> = dyn Fn(u64) -> Vec<u8> + 'a;
/// Makes the events of an input.
type Events<'a> = dyn Fn(&[u8]) -> Vec<Event> + 'a;

/// One row: what comes, and what is made of it.
struct Row<'a> {
    name: &'a str,
    bar: String,
    /// Lines, or requests of many records.
    inputs: Vec<Vec<u8>>,
    /// Records of an input.
    records: u64,
    /// The events of an input.
    events: &'a Events<'a>,
    /// The records of an input, each as its digest is made of it.
    apart: &'a dyn Fn(&[u8]) -> Vec<Vec<u8>>,
}

fn main() {
    let keeper = Keeper::new(Scanner::default(), &KEY);
    let mut input = Input::new("bench");
    input.level = Verified::Asserted;
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name] = arguments.as_slice()
        && first == "--lines"
    {
        let case = lines::CASES.iter().find(|case| case.name == name).unwrap();
        return case.records().iter().for_each(|line| println!("{line}"));
    }
    let only = arguments.iter().position(|argument| argument == "--only").map(|at| {
        arguments.remove(at);
        arguments.remove(at)
    });
    if only.is_none() {
        hashes();
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|wanted| wanted == name);
    for case in lines::CASES.iter().filter(|case| wanted(case.name)) {
        let Some(format) = formats::by_name(case.format) else { continue };
        let row = Row {
            name: case.name,
            bar: format!("{} MiB/s", case.bar),
            inputs: case.records().into_iter().map(String::into_bytes).collect(),
            records: 1,
            events: &|line| vec![observe(line, Some(format), &input, &keeper, NOW)],
            apart: &|line| vec![line.to_vec()],
        };
        measure(&row, only.as_deref());
    }
    let apart = |request: &[u8]| split_protobuf(request).unwrap();
    let halves = |request: &[u8]| spans(&apart(request), |_| false, "input:bench", &input, &keeper, NOW);
    let requests: [(&str, &Make<'_>, &Events<'_>); 3] = [
        ("otlp-logs", &otlp::logs, &|request| logs(&apart(request), &input, &keeper, NOW)),
        ("otlp-calls", &|n| otlp::spans(n, true), &|request| halves(request).events),
        ("otlp-spans", &|n| otlp::spans(n, false), &|request| halves(request).events),
    ];
    for (name, make, events) in requests.into_iter().filter(|(name, ..)| wanted(name)) {
        let row = Row {
            name,
            bar: "250000 records/s".to_owned(),
            inputs: (0..4).map(make).collect(),
            records: otlp::BATCH,
            events,
            apart: &apart,
        };
        measure(&row, only.as_deref());
    }
    if only.is_none() && wanted("adversarial") {
        adversarial::run(&input, &keeper, NOW);
    }
}

/// What the machine's SHA-256 does, in both libraries: `sha2` makes the commitments, `ring` the digests of records.
fn hashes() {
    let block = vec![vec![7_u8; 1 << 20]];
    let ring = best(&block, 1, &mut |bytes| {
        black_box(digest::digest(&digest::SHA256, bytes));
    });
    let sha2 = best(&block, 1, &mut |bytes| {
        black_box(sha2::Sha256::digest(bytes));
    });
    println!(
        "  SHA-256 of this machine, one core: {:.0} MiB/s (sha2), {:.0} MiB/s (ring)",
        sha2.mib, ring.mib
    );
}

/// As the ledger's source completes it.
fn named(mut event: Event) -> Event {
    event.core.eid = [1; 16];
    "input:bench".clone_into(&mut event.core.agent);
    event.core.stream = [2; 16];
    event.core.seq = 1;
    event
}

fn committed(frame: &Frame) {
    black_box(event_commitment(&SALTS, &frame.groups.each()));
}

fn measure(row: &Row<'_>, only: Option<&str>) {
    let full = |event: &Event| {
        let conf = event.body.cap.as_ref().and_then(|cap| cap.conf);
        conf == Some(CaptureConf::Full) || event.core.rec == Some(Rec::Progress)
    };
    let all: Vec<Vec<Event>> =
        row.inputs.iter().map(|input| (row.events)(input).into_iter().map(named).collect()).collect();
    if let Some(event) = all.iter().flatten().find(|event| !full(event)) {
        panic!("{}: a record is not understood: {}", row.name, event.content.err);
    }
    let of_first: Vec<Frame> = all.iter().flatten().map(|event| event.encode().unwrap()).collect();
    let size = of_first.iter().map(|frame| frame.groups.total()).sum::<usize>() / of_first.len();
    let blocks = of_first.iter().map(blocks).sum::<usize>() / of_first.len();
    let apart: Vec<Vec<u8>> = row.inputs.iter().flat_map(|input| (row.apart)(input)).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    let mut whole = |input: &[u8]| {
        for event in (row.events)(input) {
            committed(&named(event).encode().unwrap());
        }
    };
    let mut observed = |input: &[u8]| drop(black_box((row.events)(input)));
    // Of events a record may have less than one (joined) or more (a half's own).
    let events = of_first.len() as f64 / apart.len() as f64;
    let mut next = all.iter().flatten().cycle();
    let mut encoded = |_: &[u8]| drop(black_box(next.next().unwrap().encode().unwrap()));
    let mut frames = of_first.iter().cycle();
    let mut hashed = |record: &[u8]| {
        black_box(hmac::sign(&key, record));
        committed(frames.next().unwrap());
    };
    if let Some(part) = only {
        let rate = match part {
            "parse" => best(&row.inputs, row.records, &mut observed),
            "encode" => best(&apart, 1, &mut encoded),
            "hash" => best(&apart, 1, &mut hashed),
            "scan" => best(&apart, 1, &mut |record| drop(black_box(scanner().find(record)))),
            _ => best(&row.inputs, row.records, &mut whole),
        };
        return println!("  {:<14} {part}: {:.0} ns", row.name, rate.ns());
    }
    let whole = best(&row.inputs, row.records, &mut whole);
    let observed = best(&row.inputs, row.records, &mut observed).ns();
    let encoded = best(&apart, 1, &mut encoded).ns() * events;
    let digested = best(&apart, 1, &mut |record| {
        black_box(hmac::sign(&key, record));
    })
    .ns();
    let hashed = (best(&apart, 1, &mut hashed).ns() - digested) * events;
    let scanned = best(&apart, 1, &mut |record| drop(black_box(scanner().find(record)))).ns();
    println!("{}", head(row, size, &whole));
    let json = apart.first().is_some_and(|record| record.starts_with(b"{"));
    let read = json.then(|| best(&apart, 1, &mut |record| drop(black_box(Doc::parse(record).unwrap()))));
    let read = read.map_or(String::new(), |rate| format!(", JSON {:.0} = {:.0} MiB/s", rate.ns(), rate.mib));
    println!(
        "  {:<14} of {:.0} ns: hash {:.0} ({blocks} blocks of commitments {:.0}, record {:.0}), encode {:.0}, parse {:.0} (scan {:.0}{read})",
        "",
        whole.ns(),
        hashed + digested,
        hashed,
        digested,
        encoded,
        observed - digested,
        scanned,
    );
}

/// Blocks of SHA-256 in the commitments of an event: prefix, group and padding of each, and the event's own.
fn blocks(frame: &Frame) -> usize {
    let blocks = |bytes: usize| (bytes + 9).div_ceil(64);
    frame.groups.iter().map(|group| blocks(18 + group.len())).sum::<usize>() + blocks(3 + 32 * GROUPS)
}

fn head(row: &Row<'_>, size: usize, whole: &Rate) -> String {
    let bytes: usize = row.inputs.iter().map(Vec::len).sum();
    let of_record = bytes as u64 / (row.inputs.len() as u64 * row.records);
    format!(
        "  {:<14} {of_record:>4} B a record, {size:>4} B an event: {:>6.1} MiB/s, {:>7.0} records/s   bar: {}   (on the processor {:.0}% of the time)",
        row.name,
        whole.mib,
        whole.records,
        row.bar,
        whole.share * 100.0,
    )
}

fn scanner() -> &'static Scanner {
    static SCANNER: std::sync::LazyLock<Scanner> = std::sync::LazyLock::new(Scanner::default);
    &SCANNER
}
