//! Our own rules (`rules/`): each runs, matches its true positives and none of its near misses, and says a sentence.

use super::pack_files::{cases, files};
use super::{options, run};
use countersign_detect::sigma::{RuleSet, RuleText};

/// Rules that the pack has at least.
const LEAST: usize = 37;

#[test]
fn every_rule_of_the_pack_matches_its_true_positives_and_no_near_miss() {
    for path in files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display();
        let cases = cases(&path);
        assert!(cases.iter().any(|case| case.hit) && cases.iter().any(|case| !case.hit), "{name}");
        for (at, case) in cases.iter().enumerate() {
            let compiled = RuleSet::compile(&[RuleText { source: "pack", text: &text }], &options());
            assert!(
                compiled.refused.is_empty() && compiled.warnings.is_empty(),
                "{name}: {:?}",
                compiled.refused
            );
            let mut rules = compiled.rules;
            let found = run(&mut rules, &case.events);
            assert_eq!(!found.is_empty(), case.hit, "{name}, line {}", at + 1);
            for one in found {
                let info = &rules.rules()[one.rule];
                let event = &case.events[one.index as usize].2;
                let named = info.meta.explain.matches('{').count();
                let values = info.values(&one, event);
                assert!(named > 0 || info.meta.explain.len() > 20, "{name}: no sentence");
                assert!(values.iter().all(|(_, value)| !value.is_empty()), "{name}");
                assert!(!info.meta.tags.is_empty() && info.meta.level.is_some(), "{name}: no tag or level");
                assert!(!info.meta.description.is_empty() && !info.meta.falsepositives.is_empty(), "{name}");
            }
        }
    }
}

#[test]
fn the_pack_runs_as_a_whole() {
    let texts: Vec<(String, String)> = files()
        .iter()
        .map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap()))
        .collect();
    let texts: Vec<RuleText<'_>> = texts.iter().map(|(source, text)| RuleText { source, text }).collect();
    let compiled = RuleSet::compile(&texts, &options());
    assert!(compiled.refused.is_empty(), "{:?}", compiled.refused);
    let reported = compiled.rules.rules().iter().filter(|info| info.reported).count();
    assert!(reported >= LEAST, "{reported}");
}

#[test]
fn a_sentence_has_the_values_of_its_event_and_names_only_fields() {
    let text =
        super::rule("op: get") + "explain: '{who} ran {op} with {header.x-a} and {raw.n}, {op} again'\n";
    let mut set = super::rules(&text);
    let mut event = super::event(&[("n", "7")]);
    event.core.op = "GET".into();
    let found = run(&mut set, &super::stream(&[(0, event.clone())]));
    let values = set.rules()[0].values(&found[0], &event);
    assert_eq!(values, [("op".to_owned(), "GET".to_owned()), ("raw.n".to_owned(), "7".to_owned())]);
    let wrong = super::compile(&(super::rule("op: get") + "explain: '{hwo} did it'\n"));
    assert!(wrong.refused[0].what.contains("`{hwo}` is no field; did you mean"), "{:?}", wrong.refused);
}
