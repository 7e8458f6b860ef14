//! Our own rules (`rules/`): each runs, matches its true positives and none of its near misses, and says a sentence.

use super::{SECOND, START, options, run};
use countersign_detect::sigma::{RuleSet, RuleText};
use countersign_event::Event;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Rules that the pack has at least.
const LEAST: usize = 37;

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
    let mut out = Vec::new();
    for family in std::fs::read_dir(root).unwrap() {
        let files = std::fs::read_dir(family.unwrap().path()).unwrap().map(|file| file.unwrap().path());
        out.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "yml")));
    }
    out.sort();
    out
}

/// The events of one line of a test file: `at` is when, in seconds, `times` how often, a second apart.
fn events(line: &Value) -> Vec<(u64, u64, Event)> {
    let mut out = Vec::new();
    for written in line["events"].as_array().unwrap() {
        let (at, times) = (written["at"].as_i64().unwrap_or(0), written["times"].as_i64().unwrap_or(1));
        for n in 0..times {
            let mut groups: Map<String, Value> = written.as_object().unwrap().clone();
            groups.retain(|name, _| name != "at" && name != "times");
            groups.insert("schema".into(), 1.into());
            let core = groups["core"].as_object_mut().unwrap();
            core.insert("agent".into(), "spiffe://td/gateway".into());
            core.insert("stream".into(), "00112233445566778899aabbccddeeff".into());
            core.insert("seq".into(), 1.into());
            core.insert("t_obs".into(), "2026-09-21T14:13:20.000000000Z".into());
            core.insert("rec".into(), "interaction".into());
            let mut event = countersign_event::json::from_json(&Value::Object(groups).to_string())
                .unwrap_or_else(|error| panic!("{error}: {written}"));
            let ns = START + (at + n) * SECOND;
            event.core.t_event = Some(ns);
            out.push((out.len() as u64, ns as u64, event));
        }
    }
    out
}

fn tests(path: &Path) -> Vec<(bool, Vec<(u64, u64, Event)>)> {
    let text = std::fs::read_to_string(path.with_extension("test.ndjson")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        .map(|line: Value| (line["match"].as_bool().unwrap(), events(&line)))
        .collect()
}

#[test]
fn every_rule_of_the_pack_matches_its_true_positives_and_no_near_miss() {
    for path in files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display();
        let tests = tests(&path);
        assert!(tests.iter().any(|(hit, _)| *hit) && tests.iter().any(|(hit, _)| !hit), "{name}");
        for (at, (wanted, events)) in tests.iter().enumerate() {
            let compiled = RuleSet::compile(&[RuleText { source: "pack", text: &text }], &options());
            assert!(
                compiled.refused.is_empty() && compiled.warnings.is_empty(),
                "{name}: {:?}",
                compiled.refused
            );
            let mut rules = compiled.rules;
            let found = run(&mut rules, events);
            assert_eq!(!found.is_empty(), *wanted, "{name}, line {}", at + 1);
            for one in found {
                let info = &rules.rules()[one.rule];
                let event = &events[one.index as usize].2;
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
