//! One event and everything that belongs to it, as rows in order of time.

use crate::sample::{Rng, T0, gateway};
use crate::support::{House, find};
use countersign_event::{Event, LinkVia};
use countersign_store::{Cell, FindRequest, QueryLimits, Rows, TIMELINE_ROWS_MAX, TIMELINE_SPAN_NS};

const SECOND: i64 = 1_000_000_000;

/// An event without any link, `at` seconds into the day, on connection `conn`.
fn event(seq: u64, at: i64, conn: u8, number: u64) -> Event {
    let mut event = gateway(&mut Rng(seq), seq);
    event.core.t_event = Some(T0 as i64 + at * SECOND);
    event.links = countersign_event::Links::default();
    event.links.conn = Some([conn; 16]);
    event.links.conn_seq = Some(number);
    event
}

fn traced(mut event: Event, trace: u8) -> Event {
    event.links.trace = Some([trace; 16]);
    event.links.via = Some(LinkVia::Traceparent);
    event
}

fn caused(mut event: Event, causes: &[(u8, u64, u64)]) -> Event {
    event.links.cause = causes.iter().map(|(conn, n, score)| ([*conn; 16], *n, *score)).collect();
    event.links.via = Some(LinkVia::Inferred);
    event
}

fn timeline(house: &House, index: u64) -> Rows {
    let event = house.store.get(index).unwrap().unwrap().event.unwrap();
    futures::executor::block_on(house.store.timeline(index, &event, QueryLimits::default())).unwrap()
}

/// Index relative to `first`, how it is joined, and the score.
fn told(rows: &Rows, first: u64) -> Vec<(u64, String, Option<u64>)> {
    let one = |row| {
        let (Some(Cell::Int(index)), Some(Cell::Text(how))) =
            (rows.get(row, "index"), rows.get(row, "joined"))
        else {
            panic!("{rows:?}")
        };
        let score = match rows.get(row, "score") {
            Some(Cell::UInt(n)) => Some(*n),
            _ => None,
        };
        (*index as u64 - first, how.clone(), score)
    };
    (0..rows.rows.len()).map(one).collect()
}

fn line(index: u64, how: &str, score: impl Into<Option<u64>>) -> (u64, String, Option<u64>) {
    (index, how.to_owned(), score.into())
}

#[test]
fn a_request_and_the_statements_that_were_probably_made_for_it_are_one_timeline_from_either_side() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), 7, 1_000);
    let first = house.record(vec![
        traced(event(1, 10, 1, 1), 0xaa),                        // 0: the request
        traced(event(2, 11, 2, 5), 0xaa),                        // 1: a call of the same trace
        caused(event(3, 12, 3, 1), &[(1, 1, 900)]),              // 2: a statement for 0
        caused(event(4, 13, 3, 2), &[(2, 5, 450), (1, 1, 450)]), // 3: a statement for 1, or for 0
        traced(event(5, 14, 4, 1), 0xbb),                        // 4: another trace
        caused(event(6, 15, 3, 3), &[(4, 1, 900)]),              // 5: its statement
        event(7, 16, 1, 2), // 6: the next request of the connection, joined to nothing
    ]);
    let whole =
        [line(0, "this", None), line(1, "trace", None), line(2, "caused", 900), line(3, "caused", 450)];
    assert_eq!(told(&timeline(&house, first), first), whole);
    let probable = |filter: &str| find(&house.store, FindRequest::new(filter)).rows.len();
    assert_eq!((probable("cause.score:>100 cause.seq:1"), probable("cause.conn:*")), (2, 3));
    house.seal_all();
    assert_eq!(told(&timeline(&house, first), first), whole, "sealed, it is the same");
    assert_eq!((probable("cause.score:>100 cause.seq:1"), probable("cause.conn:*")), (2, 3));
    // From a statement: its request, by inference the request's trace, and, less probable still, what hangs on that.
    assert_eq!(
        told(&timeline(&house, first + 2), first),
        [line(0, "cause", 900), line(1, "trace", 900), line(2, "this", None), line(3, "caused", 405)]
    );
    let two = told(&timeline(&house, first + 3), first);
    assert!(
        two.contains(&line(0, "cause", 450)) && two.contains(&line(1, "cause", 450)),
        "every candidate: {two:?}"
    );
    assert_eq!(told(&timeline(&house, first + 4), first), [line(4, "this", None), line(5, "caused", 900)]);
    assert_eq!(told(&timeline(&house, first + 6), first), [line(6, "this", None)]);
    house.close();
}

#[test]
fn a_request_id_joins_and_is_told_apart_from_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), 7, 1_000);
    let named = |mut event: Event, id: &str| {
        event.links.corr = id.to_owned();
        event
    };
    let first = house.record(vec![
        named(event(1, 1, 1, 1), "it's 1"),
        named(event(2, 2, 2, 1), "it's 1"),
        named(event(3, 3, 2, 2), "it's 2"),
        event(4, 4, 2, 3),
    ]);
    assert_eq!(told(&timeline(&house, first), first), [line(0, "this", None), line(1, "corr", None)]);
    house.close();
}

#[test]
fn a_timeline_is_bounded_in_rows_and_time_and_says_when_rows_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), 7, 1_000);
    let span = TIMELINE_SPAN_NS / SECOND;
    let mut events = vec![traced(event(1, 0, 1, 1), 1), traced(event(2, span + 1, 1, 2), 1)];
    events.extend((3..=400).map(|seq| traced(event(seq, seq as i64 / 2, 2, seq), 1)));
    let first = house.record(events);
    let rows = timeline(&house, first + 399);
    assert_eq!(rows.rows.len(), TIMELINE_ROWS_MAX);
    assert!(rows.complete.truncated);
    assert!(told(&rows, first).contains(&line(399, "this", None)), "the event itself is never cut");
    let rows = timeline(&house, first);
    assert!(!told(&rows, first).iter().any(|(index, ..)| *index == 1), "too far away");
    let other = house.record(vec![event(900, 1, 9, 9)]);
    assert!(!timeline(&house, other).complete.truncated);
    house.close();
}
