//! The SQL of a filter against its plain reading, event by event.

use crate::sample::{Rng, wild};
use crate::support::{House, find, indexes};
use countersign_event::Event;
use countersign_store::{FindRequest, Order, filter};

/// Values that hit something in `sample::wild`, and values that hit nothing.
const VALUES: [&str; 30] = [
    "a",
    "GET",
    "get",
    "orders",
    "*a*",
    "a*",
    "*",
    "\"a*b\"",
    "a\\*b",
    "\"50%\"",
    "a_b",
    "*_*",
    "*%*",
    "Straße",
    "*s*",
    "K",
    "\"line\\nbreak\"",
    "line*",
    "\"q\\\"uote\"",
    "\"it's\"",
    "\"x y\"",
    "/v1/*",
    "\"-5\"",
    "007",
    "none",
    "spiffe://a/b",
    "404",
    "[x]",
    "*.*",
    "\"\"",
];
const REGEXES: [&str; 8] = ["^a", "o+r", "\\d{3}", "(?i)STRASSE|straße", "\\.", ".", "x y", "^$"];

fn term(rng: &mut Rng) -> String {
    let field = &filter::FIELDS[rng.below(filter::FIELDS.len() as u64) as usize];
    let name = match (field.keyed, field.name) {
        (true, "header") => "header.user-agent".to_owned(),
        (true, "raw") => rng.pick(&["raw.foo", "raw.\"/a/b c\"", "raw.nothing"]).to_owned(),
        (true, name) => format!("{name}.{}", rng.pick(&["scheme", "3", "upgrade", "rows"])),
        (false, name) => name.to_owned(),
    };
    if rng.chance(10) {
        return format!("{name}:*");
    }
    let literal = |rng: &mut Rng| match field.ty {
        filter::Ty::Word(_) => rng.pick(&field.words()).to_owned(),
        filter::Ty::Int | filter::Ty::Status => {
            rng.pick(&["0", "1", "3", "200", "404", "500", "7", "-1", "2000"]).to_owned()
        }
        filter::Ty::Level => rng.pick(&["1", "2", "3", "4", "bound"]).to_owned(),
        filter::Ty::Duration => rng.pick(&["250ms", "0ns", "1ns", "1.5s", "2h"]).to_owned(),
        filter::Ty::Size => rng.pick(&["0", "1KiB", "10KiB", "2", "1MB"]).to_owned(),
        filter::Ty::Time => {
            rng.pick(&["2026-09-21T14:13:20.5Z", "2026-09-21T14:13:20Z", "1790000000000000000"]).to_owned()
        }
        filter::Ty::Ip => {
            rng.pick(&["10.0.0.1", "10.0.0.0/8", "10.1.0.0/16", "fd00::1", "fd00::/64", "::/0"]).to_owned()
        }
        filter::Ty::Hex(n) => rng.pick(&["01", "02", "ab", "05", "07"]).repeat(n),
        _ if field.keyed && rng.chance(40) => rng.pick(&["1", "3", "wss", "x", "1.50", "null"]).to_owned(),
        _ => rng.pick(&VALUES).to_owned(),
    };
    let ordered = matches!(
        field.ty,
        filter::Ty::Int
            | filter::Ty::Level
            | filter::Ty::Duration
            | filter::Ty::Size
            | filter::Ty::Time
            | filter::Ty::Status
    );
    let text = matches!(field.ty, filter::Ty::Text | filter::Ty::Verb | filter::Ty::List | filter::Ty::Peer);
    match rng.below(10) {
        0..=2 if ordered => format!("{name}:{}{}", rng.pick(&["<", "<=", ">", ">="]), literal(rng)),
        3 if ordered => format!("{name}:{}..{}", literal(rng), literal(rng)),
        0 if text => format!("{name}:~\"{}\"", rng.pick(&REGEXES).replace('\\', "\\\\")),
        1 | 4 => format!("{name}:({} OR {})", literal(rng), literal(rng))
            .replace("(* OR ", "(a OR ")
            .replace(" OR *)", " OR b)"),
        _ => format!("{name}:{}", literal(rng)),
    }
}

fn tree(rng: &mut Rng, depth: u64) -> String {
    match rng.below(if depth == 0 { 6 } else { 10 }) {
        0 => format!("-{}", term(rng)),
        1 => rng
            .pick(&[
                "straße",
                "K",
                "or*db",
                "\"x y\"",
                "\"50%\"",
                "#5",
                "#9999",
                "01010101010101010101010101010101",
            ])
            .to_owned(),
        2..=5 => term(rng),
        6 => format!("({} {})", tree(rng, depth - 1), tree(rng, depth - 1)),
        7 => format!("({} OR {})", tree(rng, depth - 1), tree(rng, depth - 1)),
        8 => format!("-({} OR {})", tree(rng, depth - 1), tree(rng, depth - 1)),
        _ => format!("NOT ({})", tree(rng, depth - 1)),
    }
}

#[test]
fn sql_and_the_plain_reading_find_the_same_events() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), 1, 150);
    let mut rng = Rng(31);
    let events: Vec<Event> =
        (1..=400).map(|seq| wild(&mut rng, seq)).filter(|e| e.encode().is_ok()).collect();
    house.record(events);
    house.store.wait_sealed(150, crate::support::LONG);
    let size = house.ledger.size();
    let stored: Vec<(u64, Event)> =
        (0..size).filter_map(|index| Some((index, house.store.get(index).unwrap()?.event?))).collect();
    let rounds = if std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|v| v == "full") { 4_000 } else { 400 };
    let (mut hits, mut read) = (0, 0);
    for _ in 0..rounds {
        let text = tree(&mut rng, 2);
        let Ok(parsed) = filter::parse(&text) else { continue };
        read += 1;
        assert_eq!(filter::parse(&parsed.to_string()).as_ref(), Ok(&parsed), "{text} printed as {parsed}");
        let expected: Vec<u64> = stored
            .iter()
            .filter(|(index, event)| parsed.matches(event, *index))
            .map(|(index, _)| *index)
            .collect();
        let request = FindRequest {
            limit: 10_000,
            order: Order::OldestFirst,
            at: Some(size),
            ..FindRequest::new(&*text)
        };
        let found = indexes(&find(&house.store, request));
        assert_eq!(found, expected, "{text}\n{}", parsed.to_sql());
        hits += usize::from(!expected.is_empty() && expected.len() < stored.len());
    }
    assert!(read > rounds * 8 / 10, "only {read} of {rounds} filters could be read");
    assert!(hits > read / 4, "only {hits} of {read} filters tell events apart");
    house.close();
}
