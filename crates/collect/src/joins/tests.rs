//! The joiner over a format of its own: `first 7`, `last 7`, `pair 7`.

use super::*;
use crate::formats::Record;
use crate::{Fault, KeepRaw};
use countersign_event::{CaptureConf, TimeBasis};
use countersign_redact::Scanner;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const PARTS: Format = Format { name: "parts", what: "", looks: |_| true, parse };

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut draft = Draft::new();
    let (word, rest) = record.text.split_once(' ').ok_or(Fault::new(0, "no blank"))?;
    let (key, at) = rest.split_once('@').unwrap_or((rest, "0"));
    let part = match word {
        "first" => Part::First,
        "last" => Part::Last,
        "pair" => Part::LastOfPair,
        _ => return Ok(draft),
    };
    if part == Part::First {
        draft.partial(FIRST_ONLY);
    }
    draft.event.core.t_event = at.parse().ok();
    draft.event.core.t_basis = Some(TimeBasis::Stated);
    draft.rest(word, at);
    draft.join = Some(Join { key: key.to_owned(), part });
    Ok(draft)
}

struct Bench {
    joiner: Joiner,
    input: Input,
    keeper: Keeper,
}

impl Bench {
    fn new(joiner: Joiner) -> Bench {
        let input = Input { keep_raw: KeepRaw::All, ..Input::new("test") };
        Bench { joiner, input, keeper: Keeper::new(Scanner::default(), &[7; 32]) }
    }
    fn take(&mut self, record: &str, now: u64) -> Vec<Event> {
        self.joiner.observe(record.as_bytes(), Some(&PARTS), &self.input, &self.keeper, now)
    }
}

fn conf(event: &Event) -> CaptureConf {
    event.body.cap.as_ref().unwrap().conf.unwrap()
}

fn merged(event: &Event) -> u64 {
    event.body.cap.as_ref().unwrap().merged.unwrap_or(1)
}

#[test]
fn the_parts_of_one_key_become_one_event_with_all_their_bytes_and_fields() {
    let mut bench = Bench::new(Joiner::default());
    assert!(bench.take("first 7@5", SECOND).is_empty());
    assert!(bench.take("first 8@6", SECOND).is_empty());
    let events = bench.take("last 7@9", 2 * SECOND);
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((merged(event), conf(event)), (2, CaptureConf::Full));
    assert_eq!((event.core.t_event, event.core.dur), (Some(5), Some(4)));
    assert_eq!(event.body.raw.as_ref().unwrap().bytes, b"first 7@5\nlast 7@9");
    assert_eq!(event.content.unmapped.len(), 2);
    assert_eq!(bench.joiner.pending(), (1, "first 8@6".len() + PART_BYTES));
}

#[test]
fn a_part_left_over_is_emitted_partial_after_the_window_and_not_before() {
    let mut bench = Bench::new(Joiner::new(10 * SECOND));
    assert!(bench.take("first 7", SECOND).is_empty());
    assert!(bench.joiner.expire(&bench.input, &bench.keeper, 11 * SECOND).is_empty());
    let events = bench.joiner.expire(&bench.input, &bench.keeper, 11 * SECOND + 1);
    assert_eq!((events.len(), conf(&events[0]), merged(&events[0])), (1, CaptureConf::Partial, 1));
    assert_eq!(bench.joiner.pending(), (0, 0));
}

#[test]
fn a_last_part_alone_is_whole_unless_two_are_always_written() {
    let mut bench = Bench::new(Joiner::default());
    assert_eq!(conf(&bench.take("last 7", 1)[0]), CaptureConf::Full);
    assert_eq!(conf(&bench.take("pair 7", 1)[0]), CaptureConf::Partial);
    assert!(bench.take("first 9", 1).is_empty());
    assert_eq!(conf(&bench.take("pair 9", 1)[0]), CaptureConf::Full);
}

#[test]
fn what_is_no_part_and_what_is_not_understood_goes_through() {
    let mut bench = Bench::new(Joiner::default());
    assert_eq!(conf(&bench.take("other 7", 1)[0]), CaptureConf::Full);
    assert_eq!(conf(&bench.take("nonsense", 1)[0]), CaptureConf::RawOnly);
}

#[test]
fn a_full_joiner_gives_the_oldest_away() {
    let mut bench = Bench::new(Joiner::bounded(SECOND, 2, usize::MAX));
    assert!(bench.take("first 1", 1).is_empty() && bench.take("first 2", 1).is_empty());
    let out = bench.take("first 3", 1);
    assert_eq!((out.len(), out[0].body.raw.as_ref().unwrap().bytes.as_slice()), (1, &b"first 1"[..]));
    let mut bench = Bench::new(Joiner::bounded(SECOND, 9, 2 * PART_BYTES));
    assert!(bench.take("first 1", 1).is_empty());
    assert_eq!(bench.take("first 2", 1).len(), 1);
}

proptest! {
    #[test]
    fn every_record_is_in_exactly_one_event(
        records in prop::collection::vec((0..3_u8, 0..5_u8, 0..4_u64), 0..60), count in 1..6_usize
    ) {
        let mut bench = Bench::new(Joiner::bounded(5, count, usize::MAX));
        let (mut now, mut seen) = (0, 0);
        for (word, key, wait) in &records {
            now += wait;
            let record = format!("{} {key}", ["first", "last", "pair"][usize::from(*word)]);
            seen += bench.joiner.expire(&bench.input, &bench.keeper, now).iter().map(merged).sum::<u64>();
            seen += bench.take(&record, now).iter().map(merged).sum::<u64>();
            prop_assert!(bench.joiner.pending().0 <= count);
        }
        seen += bench.joiner.drain(&bench.input, &bench.keeper, now).iter().map(merged).sum::<u64>();
        prop_assert_eq!(seen, records.len() as u64);
        prop_assert_eq!(bench.joiner.pending(), (0, 0));
    }
}
