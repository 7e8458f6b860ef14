//! The same range of the ledger gives the same matches: however it is cut into batches, and after any history of
//! the caches.

use super::generate::{PLACEHOLDERS, Rng, event, rule};
use super::vectors::vector;
use super::{SECOND, START, rules};
use countersign_detect::sigma::{BATCH_MAX, Match, RuleSet, RuleText};
use countersign_event::Event;
use proptest::prelude::*;

fn generated(seed: u64, count: usize) -> RuleSet {
    let mut rng = Rng(seed);
    let texts: Vec<String> = (0..count).map(|at| rule(&mut rng, at).ours).collect();
    let texts: Vec<RuleText<'_>> =
        texts.iter().map(|text| RuleText { source: "generated.yml", text }).collect();
    let values =
        |(name, values): &(&str, &[&str])| (name.to_string(), values.iter().map(|v| v.to_string()).collect());
    let options = countersign_detect::sigma::Options {
        placeholders: PLACEHOLDERS.iter().map(values).collect(),
        ..super::options()
    };
    let compiled = RuleSet::compile(&texts, &options);
    assert!(compiled.refused.is_empty(), "{}", compiled.refused[0]);
    compiled.rules
}

fn cut(set: &mut RuleSet, events: &[(u64, u64, &Event)], cuts: &[usize]) -> Vec<Match> {
    let mut rest = events;
    let mut out = Vec::new();
    for size in cuts.iter().cycle() {
        if rest.is_empty() {
            return out;
        }
        let (now, later) = rest.split_at((*size).min(rest.len()));
        out.extend(set.evaluate(now));
        rest = later;
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_into_batches_gives_the_same_matches(seed in any::<u64>(), cuts in prop::collection::vec(1usize..90, 1..6)) {
        let mut rng = Rng(seed);
        let events: Vec<Event> = (0..300).map(|_| event(&mut rng)).collect();
        let stream: Vec<(u64, u64, &Event)> =
            events.iter().enumerate().map(|(at, e)| (at as u64, (START + at as i64 * SECOND) as u64, e)).collect();
        let whole = generated(seed, 60).evaluate(&stream);
        prop_assert_eq!(&cut(&mut generated(seed, 60), &stream, &cuts), &whole);
        prop_assert!(!whole.is_empty());
    }

    #[test]
    fn any_cut_gives_the_same_correlations_in_whatever_order_events_came(
        seed in any::<u64>(), cuts in prop::collection::vec(1usize..9, 1..6), disorder in 0usize..6) {
        let mut rng = Rng(seed);
        for at in 0..16 {
            let vector = vector(&mut rng, at);
            let mut events: Vec<Event> = super::stream(&vector.events).into_iter().map(|(.., e)| e).collect();
            for _ in 0..disorder {
                let (a, b) = (rng.below(events.len()), rng.below(events.len()));
                events.swap(a, b);
            }
            let stream: Vec<(u64, u64, &Event)> = events.iter().enumerate()
                .map(|(at, event)| (at as u64, (START + (2000 + at as i64) * SECOND) as u64, event)).collect();
            let whole = rules(&vector.text).evaluate(&stream);
            prop_assert_eq!(cut(&mut rules(&vector.text), &stream, &cuts), whole);
        }
    }
}

#[test]
fn a_slice_longer_than_a_batch_is_looked_at_to_its_end() {
    let mut set = rules(&super::rule("op: get"));
    let mut event = super::event(&[]);
    event.core.op = "GET".into();
    let stream: Vec<(u64, u64, &Event)> = (0..BATCH_MAX as u64 + 10).map(|at| (at, at, &event)).collect();
    assert_eq!(set.evaluate(&stream).len(), BATCH_MAX + 10);
}
