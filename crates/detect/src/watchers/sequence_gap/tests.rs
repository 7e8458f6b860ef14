use super::super::tape::*;
use super::*;

fn make() -> Box<dyn Watcher> {
    Box::new(SequenceGap::new())
}

fn numbered(agent: &str, stream: u8, seq: u64, at_ns: i64) -> Event {
    let mut event = call("spiffe://e.org/web", at_ns);
    event.core.agent = agent.to_owned();
    (event.core.stream, event.core.seq) = ([stream; 16], seq);
    event
}

/// One record a second of two sources, in this order.
fn tape(order: impl Iterator<Item = u64>) -> Tape {
    let mut tape = Tape::default();
    for (n, seq) in order.enumerate() {
        let now = BEGIN + n as i64 * S;
        tape.push(numbered("gw-1", 1, seq, now));
        tape.push(numbered("gw-2", 2, n as u64 + 1, now));
    }
    tape
}

#[test]
fn missing_numbers_are_told_after_the_wait_and_taken_back_if_they_come() {
    let late = (1..50).chain(55..200).chain(50..55).chain(200..210);
    let found = tape(late).findings(make);
    let states: Vec<_> = found.iter().map(|f| f.state).collect();
    assert_eq!(states, [FindingState::Open, FindingState::Resolved], "{:?}", texts(&found));
    assert!(texts(&found)[0].contains("missing 50..54 from gw-1: 5 records"), "{:?}", texts(&found));
    assert_eq!((found[0].severity, found[0].confidence), (Severity::High, 99));
    assert_eq!(found[0].query, "agent:\"gw-1\" seq:49..55");
    let waited = found[0].decided_ns as i64 - (BEGIN + 49 * S);
    assert!((WAIT_NS..WAIT_NS + 5 * S).contains(&waited), "{waited}");
}

#[test]
fn disorder_repeats_new_runs_and_a_late_beginning_are_none() {
    let mut order: Vec<u64> = (7..300).collect();
    order.chunks_mut(30).for_each(<[u64]>::reverse);
    order.extend([299, 40, 41, 300, 301]);
    let mut tape = tape(order.into_iter());
    for n in 1..100 {
        let now = BEGIN + HOUR + n as i64 * S;
        tape.push(numbered("gw-1", 3, n, now));
        // A record without a number, and one of the alerts' own.
        tape.push(call("spiffe://e.org/web", now));
    }
    assert!(tape.findings(make).is_empty(), "{:?}", texts(&tape.findings(make)));
}

#[test]
fn our_own_findings_and_deliveries_count_as_records() {
    let mut tape = Tape::default();
    for n in 1..200u64 {
        let mut event = numbered(crate::AGENT, 4, n, BEGIN + n as i64 * S);
        match n % 3 {
            0 => event.core.rec = Some(Rec::Finding),
            1 => (event.core.rec, event.core.op) = (Some(Rec::Platform), "alert.delivered".to_owned()),
            _ => event = Event { core: event.core, ..tick(BEGIN) },
        }
        tape.push(event);
    }
    assert!(tape.findings(make).is_empty(), "{:?}", texts(&tape.findings(make)));
}

#[test]
fn gaps_of_one_run_are_one_matter_and_a_declared_one_says_so() {
    let found = tape((1..600).filter(|n| n % 10 != 0)).findings(make);
    let states: Vec<_> = found.iter().map(|f| f.state).collect();
    assert_eq!(states, [FindingState::Open, FindingState::Updated], "{:?}", texts(&found));

    let mut declared = Tape::default();
    for n in (1..20).chain(23..200) {
        let mut event = numbered("gw-1", 1, n, BEGIN + n as i64 * S);
        if n == 23 {
            (event.core.rec, event.core.op, event.core.n) = (Some(Rec::Gap), "dropped".to_owned(), Some(3));
        }
        declared.push(event);
    }
    let found = declared.findings(make);
    assert_eq!(found.len(), 1);
    assert!(
        texts(&found)[0].contains("it says itself that it dropped as many (3 records"),
        "{:?}",
        texts(&found)
    );
}

#[test]
fn holes_and_runs_are_bounded() {
    let mut gaps = SequenceGap::new();
    let keys = Keys::new(&crate::baselines::test_hmac());
    let mut out = Vec::new();
    for n in 0..100_000u64 {
        gaps.count(keys, (n, BEGIN as u64), &numbered("gw-1", 1, n * 7 + 1, BEGIN), Some(&mut out));
    }
    let stream = gaps.streams.get(&gaps.streams.keys()[0]).unwrap();
    assert_eq!(stream.holes.len(), HOLES_MAX);
    assert_eq!(stream.holes.last().unwrap().last, 99_999 * 7);
    for n in 0..40_000u64 {
        gaps.count(keys, (n, BEGIN as u64), &numbered(&format!("invented{n}"), 1, 1, BEGIN), Some(&mut out));
    }
    assert!(gaps.stats().keys <= STREAMS_MAX as u64 && gaps.stats().evicted > 20_000 && out.is_empty());
}
