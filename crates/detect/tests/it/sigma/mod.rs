//! The Sigma engine from the outside: rule text and events in, matches and refusals out.

mod case_files;
mod correlations;
#[allow(dead_code, reason = "shared with `crates/detect/oracle`")]
mod generate;
mod loaded;
mod meaning;
mod oracle;
mod ordinary;
mod pack;
mod pack_files;
mod refused;
mod stable;
mod time;
#[allow(dead_code, reason = "shared with `crates/detect/oracle`")]
mod vectors;

use countersign_detect::Hmac;
use countersign_detect::sigma::{Compiled, Match, Options, RuleSet, RuleText};
use countersign_event::{Event, Rec, Unmapped};
use std::sync::Arc;

pub(super) const SECOND: i64 = 1_000_000_000;
pub(super) const START: i64 = 1_790_000_000 * SECOND;

pub(super) fn options() -> Options {
    use sha2::{Digest, Sha256};
    let hmac: Hmac =
        Arc::new(|bytes: &[u8]| Sha256::new().chain_update([7; 64]).chain_update(bytes).finalize().into());
    let placeholders = [("admins".to_owned(), vec!["root".to_owned(), "adm*".to_owned()])].into();
    Options { placeholders, hmac }
}

pub(super) fn compile(text: &str) -> Compiled {
    RuleSet::compile(&[RuleText { source: "test.yml", text }], &options())
}

pub(super) fn rules(text: &str) -> RuleSet {
    let compiled = compile(text);
    assert!(compiled.refused.is_empty(), "{:?}", compiled.refused);
    compiled.rules
}

/// A rule with one detection, for every log source.
pub(super) fn rule(detection: &str) -> String {
    format!("title: t\nid: r\ndetection:\n  sel:\n    {detection}\n  condition: sel\n")
}

/// An event with these source fields, as JSON tokens.
pub(super) fn event(fields: &[(&str, &str)]) -> Event {
    let mut event = Event::default();
    event.core.rec = Some(Rec::Interaction);
    for (name, token) in fields {
        let pointer = format!("/{}", name.replace('.', "/"));
        event.content.unmapped.insert(pointer, Unmapped::Token((*token).to_owned()));
    }
    event
}

/// Events one after the other, each observed when the ledger took it.
pub(super) fn stream(events: &[(i64, Event)]) -> Vec<(u64, u64, Event)> {
    events
        .iter()
        .enumerate()
        .map(|(at, (seconds, event))| {
            let mut event = event.clone();
            let ns = START + seconds * SECOND;
            event.core.t_event = Some(ns);
            (at as u64, ns as u64, event)
        })
        .collect()
}

pub(super) fn run(rules: &mut RuleSet, events: &[(u64, u64, Event)]) -> Vec<Match> {
    let batch: Vec<(u64, u64, &Event)> =
        events.iter().map(|(index, ns, event)| (*index, *ns, event)).collect();
    rules.evaluate(&batch)
}

/// Whether a rule with this detection holds for an event with these source fields.
pub(super) fn holds(detection: &str, fields: &[(&str, &str)]) -> bool {
    let mut rules = rules(&rule(detection));
    !run(&mut rules, &stream(&[(0, event(fields))])).is_empty()
}
