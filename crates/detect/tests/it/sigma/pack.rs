//! Our own rules (`rules/`): each runs, matches its true positives and none of its near misses, and says a sentence.

use super::pack_files::{cases, files, rule, tests};
use super::{options, run};
use countersign_detect::sigma::{Level, RuleSet, RuleText, Tried, pack, try_rules};
use std::collections::BTreeSet;

/// Rules that the pack has at least, and files.
const LEAST: (usize, usize) = (64, 48);
/// Cases that a file has at least, of those that must match and of those that must not.
const CASES: usize = 2;

fn tried(path: &std::path::Path) -> Tried {
    let text = rule(path);
    let name = path.display().to_string();
    try_rules(&RuleText { source: &name, text: &text }, &tests(path), &options())
}

#[test]
fn every_rule_of_the_pack_matches_its_true_positives_and_no_near_miss() {
    let wrong: Vec<String> = files()
        .iter()
        .map(|path| tried(path))
        .filter(|tried| {
            let (hits, misses) = tried.wanted();
            !tried.passed() || !tried.warnings.is_empty() || hits < CASES || misses < CASES
        })
        .map(|tried| format!("{tried} {:?}", tried.warnings))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_match_of_the_pack_has_its_whole_sentence_and_says_what_would_make_it_wrong() {
    for path in files() {
        let text = rule(&path);
        let name = path.display();
        for case in cases(&path).iter().filter(|case| case.hit) {
            let mut rules = RuleSet::compile(&[RuleText { source: "pack", text: &text }], &options()).rules;
            for one in run(&mut rules, &case.events) {
                let (info, event) = (&rules.rules()[one.rule], &case.events[one.index as usize].2);
                let sentence = &info.meta.explain;
                let names: BTreeSet<&str> =
                    sentence.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
                let values = info.values(&one, event);
                assert!(!names.is_empty(), "{name}: no value in its sentence");
                assert_eq!(values.len(), names.len(), "{name}, line {}: {names:?} {values:?}", case.line);
                assert!(values.iter().all(|(_, value)| !value.is_empty()), "{name}");
                let meta = &info.meta;
                assert!(meta.level.is_some() && !meta.description.is_empty(), "{name}");
                assert!(!meta.falsepositives.is_empty(), "{name}");
                assert_eq!((meta.author.as_str(), meta.license.as_str()), ("Countersign", "Apache-2.0"));
                let known = |tag: &String| tag.starts_with("attack.t") || tag.starts_with("owasp.api");
                assert!(meta.tags.iter().any(known), "{name}: {:?}", meta.tags);
            }
        }
    }
}

#[test]
fn the_pack_is_compiled_in_and_runs_as_a_whole() {
    let root = files()[0].ancestors().nth(2).unwrap().to_owned();
    let there: Vec<(String, String)> = files()
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            (name, rule(path))
        })
        .collect();
    let inside: Vec<(String, String)> =
        pack().iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    assert_eq!(inside, there, "the list in sigma/pack.rs is not that of rules/");
    let texts: Vec<RuleText<'_>> = pack().iter().map(|(source, text)| RuleText { source, text }).collect();
    let compiled = RuleSet::compile(&texts, &options());
    assert!(compiled.refused.is_empty(), "{:?}", compiled.refused);
    assert!(compiled.warnings.is_empty(), "{:?}", compiled.warnings);
    let reported = compiled.rules.rules().iter().filter(|info| info.reported).count();
    assert!(reported >= LEAST.0 && inside.len() >= LEAST.1, "{reported} rules in {} files", inside.len());
}

#[test]
fn ordinary_traffic_makes_no_rule_of_the_pack_tell_anybody() {
    let texts: Vec<RuleText<'_>> = pack().iter().map(|(source, text)| RuleText { source, text }).collect();
    let mut rules = RuleSet::compile(&texts, &options()).rules;
    let events = super::ordinary::events();
    assert!(events.len() > 1000);
    let found = run(&mut rules, &events);
    let told: BTreeSet<(&str, u64)> = found
        .iter()
        .map(|one| (&rules.rules()[one.rule].meta, one.index))
        .filter(|(meta, _)| meta.level != Some(Level::Informational))
        .map(|(meta, index)| (meta.title.as_str(), index))
        .collect();
    assert!(told.is_empty(), "{told:?}");
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
