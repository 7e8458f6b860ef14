//! Runs that another log numbered: each number once, in order, also over a crash; nobody else's run.

use crate::support::{PATIENCE, check, event, open};
use countersign_event::{Event, Frame, eid};
use countersign_ledger::bodies::{Gap, SourceReg};
use countersign_ledger::{Done, Feed, ForwardError, ForwardSpec, GapReason, Ledger, Loss, Payload, Source};
use std::sync::mpsc;

const AGENT: &str = "edge:a/countersign:gateway";
const STREAM: [u8; 16] = [9; 16];

fn spec() -> ForwardSpec {
    ForwardSpec { identity: AGENT.into(), stream: STREAM, origin: "example.org/edge/1".into() }
}

fn numbered(seqs: std::ops::RangeInclusive<u64>) -> Vec<(Event, Frame)> {
    let one = |seq| {
        let mut event = event(seq);
        (event.core.agent, event.core.stream, event.core.seq) = (AGENT.into(), STREAM, seq);
        event.core.eid = eid(AGENT, &STREAM, seq);
        let frame = event.encode().unwrap();
        (event, frame)
    };
    seqs.map(one).collect()
}

fn wait(send: impl FnOnce(Done) -> Result<(), ForwardError>) {
    let (told, answer) = mpsc::sync_channel(1);
    send(Box::new(move |result| drop(told.send(result)))).unwrap();
    answer.recv_timeout(PATIENCE).unwrap().unwrap();
}

fn forward(source: &Source, seqs: std::ops::RangeInclusive<u64>) {
    wait(|done| source.forward(numbered(seqs), done));
}

/// Numbers of the run's events, and its GAPs, in the order of the log.
fn all(ledger: &Ledger) -> (Vec<u64>, Vec<(u64, u64)>) {
    let mut reader = ledger.reader(0);
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    while reader.position() < ledger.size() {
        let Some(Feed::Batch(batch)) = reader.next(PATIENCE).unwrap() else { continue };
        for record in &batch.records {
            match &record.payload {
                Payload::Event { event, frame } if event.core.stream == STREAM => {
                    assert_eq!(**frame, numbered(event.core.seq..=event.core.seq)[0].1, "byte for byte");
                    events.push(event.core.seq);
                }
                Payload::Body(body) if record.entry.kind == 4 => {
                    let gap = Gap::parse(body).unwrap();
                    gaps.extend(gap.first_seq.zip(gap.last_seq));
                }
                _ => {}
            }
        }
    }
    (events, gaps)
}

#[test]
fn numbers_stay_and_a_crash_of_the_core_goes_on_where_it_was_durable_without_a_loss() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    assert_eq!(ledger.forward_mark(AGENT, &STREAM).unwrap(), 0);
    let source = ledger.forwarded(spec()).unwrap();
    forward(&source, 1..=20);
    assert_eq!(ledger.forward_mark(AGENT, &STREAM).unwrap(), 20);
    assert_eq!(ledger.forwarded(spec()).unwrap().source_ref(), source.source_ref(), "it is live already");
    drop((source, ledger));

    let (ledger, report) = open(dir.path());
    assert!(!report.clean && report.gaps.is_empty(), "{report:?}");
    assert_eq!(ledger.forward_mark(AGENT, &STREAM).unwrap(), 20);
    let source = ledger.forwarded(spec()).unwrap();
    assert_eq!(source.next_seq(), 21);
    forward(&source, 21..=30);
    let loss = Loss { first: 31, last: Some(40), reason: GapReason::Overload };
    wait(|done| source.forward_loss(loss, done));
    forward(&source, 41..=41);
    assert_eq!(all(&ledger), ((1..=30).chain(41..=41).collect(), vec![(31, 40)]));
    let gaps = ledger.gaps();
    assert_eq!(
        (gaps.len(), gaps[0].count, gaps[0].reason, gaps[0].exact),
        (1, 10, GapReason::Overload, true)
    );
    assert_eq!((gaps[0].agent.as_str(), gaps[0].stream), (AGENT, STREAM));
    ledger.shutdown().unwrap();
    let infos: Vec<_> = ledger.sources().into_iter().filter(|s| s.agent == AGENT).collect();
    let sums: Vec<_> = infos.iter().map(|s| (s.seen, s.sent, s.dropped, s.last_seq, s.boot_epoch)).collect();
    assert_eq!(sums.last(), Some(&(21, 11, 10, 41, 2)));
    drop(ledger);
    let report = check(dir.path());
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn a_jump_a_repeat_and_a_record_of_somebody_else_are_refused_and_nothing_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let source = ledger.forwarded(spec()).unwrap();
    forward(&source, 1..=3);
    let none = || -> Done { Box::new(|_| {}) };
    for wrong in [numbered(5..=6), numbered(3..=4), [numbered(4..=4), numbered(6..=6)].concat()] {
        assert!(matches!(source.forward(wrong, none()), Err(ForwardError::Expected(4 | 5))));
    }
    let mut other = numbered(4..=4);
    other[0].0.core.agent = "edge:b/countersign:gateway".into();
    assert!(matches!(source.forward(other, none()), Err(ForwardError::Foreign)));
    let jump = Loss { first: 6, last: Some(7), reason: GapReason::Crash };
    assert!(matches!(source.forward_loss(jump, none()), Err(ForwardError::Expected(4))));
    let backwards = Loss { first: 4, last: Some(3), reason: GapReason::Crash };
    assert!(source.forward_loss(backwards, none()).is_err());
    assert_eq!(source.next_seq(), 4);

    let stranger = ForwardSpec { identity: "edge:b/x".into(), ..spec() };
    assert!(ledger.forwarded(stranger).is_err(), "the run is another's");
    let own = ledger.register(countersign_ledger::SourceSpec { identity: AGENT.into(), stream: [3; 16] });
    assert!(own.unwrap().forward(numbered(4..=4), none()).is_err(), "what is numbered here is not forwarded");
    assert!(ledger.forwarded(ForwardSpec { stream: [3; 16], ..spec() }).is_err(), "nor continued");
    assert_eq!(all(&ledger).0, [1, 2, 3]);
}

#[test]
fn an_ended_run_is_live_no_more_and_its_heartbeat_is_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let source = ledger.forwarded(spec()).unwrap();
    forward(&source, 1..=7);
    source.forward_end().unwrap();
    // What comes after it in the queue shows that it was worked on.
    ledger.close_part().unwrap();
    ledger.configured([1; 32], "test").unwrap();
    let info = ledger.sources().into_iter().find(|s| s.agent == AGENT).unwrap();
    assert_eq!((info.live, info.seen, info.sent, info.last_seq), (false, 7, 7, 7));
    assert!(info.last_heartbeat_ns > 0);
    assert_eq!(ledger.forward_mark(AGENT, &STREAM).unwrap(), 7);
    // An unknown loss moves nothing, and is there.
    let source = ledger.forwarded(spec()).unwrap();
    wait(|done| source.forward_loss(Loss { first: 8, last: None, reason: GapReason::Crash }, done));
    assert_eq!((source.next_seq(), ledger.gaps().len()), (8, 0));
    ledger.shutdown().unwrap();
    drop(ledger);
    assert!(check(dir.path()).findings.is_empty());
}

#[test]
fn the_registration_says_which_log_numbers_and_an_old_one_reads_without() {
    let reg = SourceReg {
        source_ref: 3,
        identity: AGENT.into(),
        stream: STREAM,
        boot_epoch: 1,
        public_key: [1; 32],
        previous: None,
        heartbeat_s: 60,
        via: Some("example.org/edge/1".into()),
        after: 9,
    };
    assert_eq!(SourceReg::parse(&reg.to_bytes()).unwrap(), reg);
    let own = SourceReg { via: None, after: 0, ..reg };
    assert_eq!(own.to_bytes()[0], 0xa6, "six keys, as before");
    assert_eq!(SourceReg::parse(&own.to_bytes()).unwrap(), own);
}
