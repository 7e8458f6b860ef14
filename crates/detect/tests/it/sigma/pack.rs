//! Our own rules (`rules/`): each runs, matches its true positives and none of its near misses, and says a sentence.

use super::pack_files::{cases, files, rule, tests};
use super::{options, run};
use countersign_detect::sigma::{Level, RuleSet, RuleText, Tried, pack, try_rules};
use std::collections::BTreeSet;

/// Rules that the pack has at least, and files.
const LEAST: (usize, usize) = (120, 120);
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

/// Whoever made the generator has not seen the rules, nor the other way round.
#[test]
fn generated_traffic_without_attacks_makes_no_rule_of_the_pack_tell_anybody() {
    use countersign_testkit::scenario::{Faults, Mix, Scenario};
    let texts: Vec<RuleText<'_>> = pack().iter().map(|(source, text)| RuleText { source, text }).collect();
    for seed in [3, 1_003] {
        let mut rules = RuleSet::compile(&texts, &options()).rules;
        let scenario = Scenario {
            days: countersign_testkit::repetitions(2, 8) as u32,
            faults: Faults::ROUGH,
            ..Scenario::new(seed, Mix::default())
        };
        let mut told = BTreeSet::new();
        let (mut batch, mut next) = (Vec::new(), 0);
        let mut look = |batch: &mut Vec<(u64, u64, countersign_event::Event)>| {
            for one in run(&mut rules, batch) {
                let meta = &rules.rules()[one.rule].meta;
                if meta.level != Some(Level::Informational) {
                    told.insert((meta.title.clone(), one.index));
                }
            }
            batch.clear();
        };
        for record in scenario.run() {
            batch.push((next, record.ledger_ns, record.event));
            next += 1;
            if batch.len() == 4_096 {
                look(&mut batch);
            }
        }
        look(&mut batch);
        assert!(next > 10_000, "{next}");
        assert!(told.is_empty(), "seed {seed}: {} of {next}: {told:?}", told.len());
    }
}

#[test]
fn statements_in_the_tests_of_the_pack_are_written_as_the_gateway_writes_them() {
    use countersign_wire::sql::{classify, normalise};
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in files() {
        for (.., event) in cases(&path).iter().flat_map(|case| &case.events) {
            let (op, written) = (&event.core.op, &event.content.stmt);
            if event.core.proto != "postgresql/3.0" || written.is_empty() {
                continue;
            }
            let sent = written.replace('?', "'x'");
            let (text, known) = (normalise(&sent, true).text, classify(&sent, true).operation);
            if (text.as_str(), known) != (written, op) {
                wrong.push(format!("{}: {op}: {written}: is {known}: {text}", path.display()));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 60, "{seen}");
}

#[test]
fn operations_in_the_tests_of_the_pack_are_those_that_the_gateway_knows() {
    use countersign_event::Kind;
    use countersign_wire::{http1, mcp, redis};
    let commands: BTreeSet<String> = redis::table::rows().map(|row| row.name.replace('|', " ")).collect();
    let refusals: BTreeSet<&str> = http1::Rule::ALL.iter().map(|rule| rule.name()).collect();
    let (mut seen, mut wrong) = (0, BTreeSet::new());
    for path in files() {
        for (.., event) in cases(&path).iter().flat_map(|case| &case.events) {
            let (op, error) = (event.core.op.as_str(), event.content.err.as_str());
            let known = match event.core.kind {
                Some(Kind::Kv) => commands.contains(op),
                Some(Kind::Tool) => mcp::method(op).is_some(),
                Some(Kind::Http) if error.len() < 20 && !error.is_empty() => refusals.contains(error),
                _ => continue,
            };
            seen += 1;
            if !known {
                wrong.insert(format!("{}: {op} {error}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(seen > 100, "{seen}");
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
