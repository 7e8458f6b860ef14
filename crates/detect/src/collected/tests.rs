use super::*;
use countersign_event::Capture;
use proptest::prelude::*;
use std::sync::Arc;

const INPUT: &str = "input:web";
const SECOND: u64 = 1_000_000_000;

fn hmac() -> Hmac {
    use sha2::{Digest, Sha256};
    Arc::new(|bytes: &[u8]| Sha256::digest(bytes).into())
}

/// A record of `input`, understood or not, with its ledger time in s.
fn record(input: &str, raw: bool, at_s: u64) -> (u64, Event) {
    let mut event = Event::default();
    event.core.agent = input.to_owned();
    event.core.rec = Some(if raw { Rec::Raw } else { Rec::Interaction });
    event.core.eid = [7; 16];
    let conf = Some(if raw { CaptureConf::RawOnly } else { CaptureConf::Full });
    event.body.cap = Some(Capture { conf, ..Capture::default() }.into());
    (at_s * SECOND, event)
}

fn feed(detector: &mut Collected, from: u64, events: &[(u64, Event)]) -> Vec<Finding> {
    let batch: Vec<(u64, u64, &Event)> =
        events.iter().zip(from..).map(|((ns, event), index)| (index, *ns, event)).collect();
    detector.batch(&batch)
}

fn rules(found: &[Finding]) -> Vec<&str> {
    found.iter().map(|finding| finding.rule.id.as_ref()).collect()
}

#[test]
fn more_than_one_in_a_hundred_of_five_minutes_is_a_finding_when_they_are_over() {
    let mut detector = Collected::new(hmac());
    // One in a hundred is not more than one in a hundred.
    let mut events: Vec<_> = (0..100).map(|n| record(INPUT, n == 50, n)).collect();
    // The next window: two of a hundred.
    events.extend((0..100).map(|n| record(INPUT, n < 2, 300 + n)));
    assert_eq!(feed(&mut detector, 0, &events), []);
    let found = feed(&mut detector, 200, &[record(INPUT, false, 600)]);
    assert_eq!(rules(&found), ["collect.raw-share"]);
    let finding = &found[0];
    assert_eq!((finding.evidence.first, finding.evidence.last, finding.evidence.count), (100, 101, 2));
    let text = crate::explain(&finding.to_event()).unwrap();
    assert!(
        text.starts_with("2 of 100 records of input:web within five minutes were not understood (2.0 %)"),
        "{text}"
    );
    assert_eq!(finding.query, "agent:\"input:web\" rec:raw");
}

#[test]
fn a_flood_is_told_at_once_and_once_until_five_minutes_were_good() {
    let mut detector = Collected::new(hmac());
    let flood: Vec<_> = (0..500).map(|_| record(INPUT, true, 10)).collect();
    let found = feed(&mut detector, 0, &flood);
    assert_eq!((rules(&found).len(), found[0].evidence.count), (1, RAW_EARLY));
    // It goes on for two windows.
    let mut more: Vec<_> = (0..500).map(|_| record(INPUT, true, 310)).collect();
    more.extend((0..500).map(|_| record(INPUT, true, 620)));
    // Then a good one, and a bad one again.
    more.extend((0..100).map(|_| record(INPUT, false, 910)));
    more.push(record("input:other", false, 1_210));
    assert_eq!(feed(&mut detector, 500, &more), []);
    let found = feed(
        &mut detector,
        2_000,
        &flood.iter().map(|(_, e)| (1_220 * SECOND, e.clone())).collect::<Vec<_>>(),
    );
    assert_eq!(found.len(), 1);
}

#[test]
fn a_mark_is_one_finding_an_input_and_day() {
    let mut detector = Collected::new(hmac());
    let marked = |input: &str, label: &str, at| {
        let (ns, mut event) = record(input, false, at);
        event.core.labels.push(label.to_owned());
        (ns, event)
    };
    let events = [
        marked(INPUT, "ambiguous_json", 1),
        marked(INPUT, "ambiguous_json", 2),
        marked("input:b", "ambiguous_json", 3),
        marked(INPUT, "mapping_disagreement", 4),
        marked(INPUT, "something_else", 5),
        marked(INPUT, "ambiguous_json", 86_400),
    ];
    let found = feed(&mut detector, 0, &events);
    let mark = "collect.mark.ambiguous_json";
    assert_eq!(rules(&found), [mark, mark, "collect.mark.mapping_disagreement", mark]);
    let ids: BTreeSet<_> = found.iter().map(|finding| finding.id).collect();
    assert_eq!(ids.len(), 4);
}

#[test]
fn what_happens_to_an_input_is_a_finding_with_file_and_reason_and_a_bound_a_day() {
    let mut detector = Collected::new(hmac());
    let happening = |op: &str| {
        let mut event = Event::default();
        (event.core.agent, event.core.op) = (INPUT.into(), op.into());
        event.core.rec = Some(Rec::Platform);
        (event.target.res, event.content.err) = ("/var/log/a\u{202e}".into(), "it went".into());
        (SECOND, event)
    };
    let found = feed(
        &mut detector,
        0,
        &[happening("input.lost"), happening("input.detected"), happening("input.unproven")],
    );
    assert_eq!(rules(&found), ["collect.input.lost", "collect.input.unproven"]);
    assert_eq!(
        crate::explain(&found[0].to_event()).unwrap(),
        "input:web: lines of /var/log/a\\u{202e} are lost: it went"
    );
    let many: Vec<_> = (0..100).map(|_| happening("input.lost")).collect();
    let found = feed(&mut detector, 3, &many);
    let notify = found.iter().filter(|finding| finding.notifies()).count();
    assert_eq!((found.len(), notify), (2 * A_DAY as usize - 1, A_DAY as usize - 1));
}

#[test]
fn inputs_beyond_the_bound_are_counted_and_cost_nothing() {
    let mut detector = Collected::new(hmac());
    let events: Vec<_> = (0..INPUTS_MAX + 10).map(|n| record(&format!("input:{n}"), false, 1)).collect();
    feed(&mut detector, 0, &events);
    assert_eq!((detector.shares.len(), detector.unwatched()), (INPUTS_MAX, 10));
}

/// Random traffic of three inputs, with times that move on.
fn traffic() -> impl Strategy<Value = Vec<(u64, Event)>> {
    prop::collection::vec((0u64..40, 0usize..3, 0u8..20), 1..200).prop_map(|steps| {
        let mut at = 0;
        let one = |(step, input, kind): (u64, usize, u8)| {
            at += step;
            let (ns, mut event) = record(["input:a", "input:b", "input:c"][input], kind == 0, at);
            if kind == 1 {
                event.core.labels.push("ambiguous_json".to_owned());
            }
            if kind == 2 {
                (event.core.rec, event.core.op) = (Some(Rec::Platform), "input.truncated".to_owned());
            }
            (ns, event)
        };
        steps.into_iter().map(one).collect()
    })
}

proptest! {
    #[test]
    fn batches_and_restarts_change_no_finding(events in traffic(), cuts in prop::collection::vec(0usize..200, 0..6)) {
        let whole = feed(&mut Collected::new(hmac()), 0, &events);
        let (mut found, mut detector, mut at) = (Vec::new(), Collected::new(hmac()), 0);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(events.len())).collect();
        cuts.sort_unstable();
        for end in cuts.into_iter().chain([events.len()]) {
            found.extend(feed(&mut detector, at as u64, &events[at..end]));
            let saved = detector.save();
            prop_assert!(saved.iter().all(|byte| matches!(byte, b'\n' | b' ') || byte.is_ascii_graphic()));
            detector = Collected::new(hmac());
            prop_assert!(detector.load(&saved));
            at = end;
        }
        prop_assert_eq!(whole, found);
    }

    #[test]
    fn any_saved_text_is_taken_or_left_whole(text in "(window|share|mark|happened| |x|[0-9a-f]{0,4}|\n|é){0,40}") {
        let mut detector = Collected::new(hmac());
        if !detector.load(text.as_bytes()) {
            prop_assert!(detector.shares.is_empty() && detector.marks.is_empty());
        }
    }
}
