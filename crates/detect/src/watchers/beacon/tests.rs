//! What a beacon is, and the rhythms that are none.

use super::super::testing::*;
use countersign_event::{Endpoint, Event, Payload, Rec};

/// Eight days of calls of orders each five minutes, and of a store outside at uneven times.
fn days() -> Traffic {
    let mut traffic = Traffic::new();
    for n in 0..8 * 288u64 {
        traffic.call(n * 5 * MINUTE, |_| {});
        if n % 6 == 0 {
            traffic.call((n * 5 + n * n % 290) * MINUTE + S, outside("files.example.com", 900));
        }
    }
    traffic
}

fn outside(service: &str, bytes: u64) -> impl FnOnce(&mut Event) {
    move |event| {
        event.target.svc = service.to_owned();
        event.body.req = Some(Payload { size: Some(bytes), ..Payload::default() });
        event.peer.dst = Some(Endpoint { ip: "198.51.100.7".parse().ok(), ..Endpoint::default() });
    }
}

/// A small call each `period` s, by up to `percent` sooner or later.
fn beats(traffic: &mut Traffic, service: &str, calls: u64, period: u64, percent: u64) {
    let mut at = 8 * DAY + 7_300 * S;
    for n in 0..calls {
        traffic.call(at, outside(service, 150 + n * 7 % 20));
        let span = period * S * percent / 100;
        at += period * S - span + (n * n * 7_919 + n * 31) % 101 * (2 * span) / 100;
    }
    traffic.call(at + 7_200 * S, |_| {});
}

#[test]
fn equal_times_to_a_new_destination_are_found_by_the_twelfth_call() {
    for (period, percent) in [(60, 2), (540, 28)] {
        let mut traffic = days();
        beats(&mut traffic, "cdn.example.net", 40, period, percent);
        let found = traffic.findings("beacon");
        let text = said(&found[0]);
        assert!(text.starts_with("web calls cdn.example.net every "), "{text}");
        assert!(text.contains("12 times in") && text.contains("; wrong if: "), "{text}");
        assert_eq!(found.iter().filter(|f| f.revision == 1).count(), 1);
        assert_eq!(found.last().unwrap().state.word(), "resolved");
    }
}

#[test]
fn a_destination_without_a_name_is_known_by_its_address() {
    let mut traffic = days();
    beats(&mut traffic, "", 20, 60, 5);
    assert!(said(&traffic.findings("beacon")[0]).contains("198.51.100.7"));
}

#[test]
fn what_begins_in_an_announced_change_is_silent_and_hours_after_it_is_not() {
    for (before, many) in [(60, 0), (10_000, 1)] {
        let mut traffic = days();
        traffic.event(8 * DAY + 7_300 * S - before * S, |event| {
            event.core.rec = Some(Rec::Platform);
            event.core.op = "deploy".to_owned();
            event.target.svc = "web".to_owned();
        });
        beats(&mut traffic, "flags.example.net", 60, 60, 2);
        let found = traffic.findings("beacon");
        assert_eq!(found.iter().filter(|f| f.revision == 1).count(), many);
    }
}

#[test]
fn uneven_times_few_calls_loops_and_learned_rhythms_are_silent() {
    let mut uneven = days();
    let mut at = 8 * DAY;
    for n in 0..200u64 {
        uneven.call(at, outside("cdn.example.net", 150));
        at += (20 + n * n * 37 % 600) * S;
    }
    assert!(uneven.findings("beacon").is_empty());
    let mut few = days();
    beats(&mut few, "cdn.example.net", 11, 600, 2);
    assert!(few.findings("beacon").is_empty());
    let mut short = days();
    beats(&mut short, "cdn.example.net", 100, 5, 2);
    assert!(short.findings("beacon").is_empty(), "eight minutes of a loop");
    let mut learned = days();
    (0..9 * 288u64).for_each(|n| learned.call(n * 5 * MINUTE + 7 * S, outside("flags.example.net", 150)));
    assert!(learned.findings("beacon").is_empty());
}

#[test]
fn a_known_destination_outside_that_gets_a_rhythm_is_found() {
    let mut traffic = days();
    beats(&mut traffic, "files.example.com", 110, 60, 5);
    let text = said(&traffic.findings("beacon")[0]);
    assert!(text.contains("web calls files.example.com, outside, every "), "{text}");
    let mut inside = days();
    (0..110).for_each(|n| inside.call(8 * DAY + n * 61 * S, |_| {}));
    assert!(inside.findings("beacon").is_empty());
}

#[test]
fn any_cut_and_any_restart_give_the_same() {
    let mut traffic = days();
    beats(&mut traffic, "cdn.example.net", 90, 60, 5);
    traffic.holds_together("beacon");
}
