//! The files of our own rules and of their tests; shared with `crates/detect/oracle`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test cannot read ends it")]

use super::generate::{BEGIN, SECOND};
use countersign_event::Event;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// One line of a test file.
pub(crate) struct Case {
    /// Whether the rule must match.
    pub(crate) hit: bool,
    /// Ledger index, ledger time and event.
    pub(crate) events: Vec<(u64, u64, Event)>,
}

/// The rule files, sorted.
pub(crate) fn files() -> Vec<PathBuf> {
    let family = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|dir| dir.join("rules/databases"))
        .find(|dir| dir.is_dir())
        .unwrap();
    let root = family.parent().unwrap();
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
            let ns = (BEGIN + at + n) * SECOND;
            event.core.t_event = Some(ns);
            out.push((out.len() as u64, ns as u64, event));
        }
    }
    out
}

/// The lines of the test file beside a rule file.
pub(crate) fn cases(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path.with_extension("test.ndjson")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        .map(|line: Value| Case { hit: line["match"].as_bool().unwrap(), events: events(&line) })
        .collect()
}
