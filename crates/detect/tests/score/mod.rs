//! Runs all detectors over made traffic (`countersign_testkit::scenario`) and scores what they say.
//!
//! Shared by the test and by `examples/scenarios.rs`. Seeds below 1,000 are for tuning, the others for reports.

use countersign_detect::coverage::{Coverage, CoverageConfig};
use countersign_detect::sigma::{Options, RuleSet, RuleText, pack};
use countersign_detect::{
    Baselines, BaselinesConfig, Detector, Finding, FirstSeen, FirstSeenConfig, Hmac, Rules,
};
use countersign_event::Event;
use countersign_testkit::scenario::score::{self, Judged};
use countersign_testkit::scenario::{Mix, Scenario};
use std::sync::Arc;

/// A run is eight days with the staged day at its end: learning is over before it.
pub(crate) const LEARN_NS: u64 = 6 * 86_400_000_000_000;
/// And takes so many events of a peer group: rates are low here.
pub(crate) const LEARN_EVENTS: u64 = 100;
/// How long after an attack's end a first evidence still counts, ns.
pub(crate) const GRACE_NS: u64 = 300_000_000_000;
/// Events of a batch.
const BATCH: usize = 4_096;

pub(crate) fn hmac() -> Hmac {
    use sha2::{Digest, Sha256};
    Arc::new(|bytes: &[u8]| Sha256::new().chain_update([7; 64]).chain_update(bytes).finalize().into())
}

/// All that the pipeline runs on events, in its order.
pub(crate) fn detectors() -> Vec<Box<dyn Detector>> {
    let options = Options { hmac: hmac(), placeholders: Default::default() };
    let texts: Vec<RuleText<'_>> = pack().iter().map(|(source, text)| RuleText { source, text }).collect();
    let rules = RuleSet::compile(&texts, &options).rules;
    let first_seen =
        FirstSeenConfig { learn_ns: LEARN_NS, learn_events: LEARN_EVENTS, ..FirstSeenConfig::default() };
    let baselines =
        BaselinesConfig { learn_ns: LEARN_NS, learn_events: LEARN_EVENTS, ..BaselinesConfig::default() };
    vec![
        Box::new(FirstSeen::new(first_seen, hmac())),
        Box::new(Baselines::new(baselines, hmac())),
        Box::new(Coverage::new(CoverageConfig::default(), Arc::default(), hmac())),
        Box::new(Rules::new(rules, hmac())),
    ]
}

/// One run with this staged, and what was said in it.
pub(crate) fn run(seed: u64, mix: &str) -> (Judged, Vec<Finding>) {
    let known = Mix::named(mix);
    assert!(known.is_some(), "no scenario is called {mix}");
    let mut run = Scenario::new(seed, known.unwrap_or_default()).run();
    let mut detectors = detectors();
    let (mut found, mut eids, mut times, mut background) = (Vec::new(), Vec::new(), Vec::new(), 0);
    loop {
        let records: Vec<_> = run.by_ref().take(BATCH).collect();
        if records.is_empty() {
            break;
        }
        let attack = |label: Option<usize>| label.is_some_and(|at| run.labels()[at].attack);
        background += records.iter().filter(|record| !attack(record.label)).count() as u64;
        let first = eids.len() as u64;
        let events: Vec<(u64, u64, &Event)> =
            records.iter().enumerate().map(|(n, r)| (first + n as u64, r.ledger_ns, &r.event)).collect();
        eids.extend(events.iter().map(|(.., event)| event.core.eid));
        times.extend(events.iter().map(|(.., event)| event.core.t_obs));
        found.extend(detectors.iter_mut().flat_map(|detector| detector.batch(&events)));
    }
    let findings = found.iter().filter(|f| f.revision == 1).map(|f| plain(f, &eids, &times)).collect();
    let (labels, days) = (run.labels().to_vec(), run.days());
    (Judged { seed, labels, findings, background, days }, found)
}

/// A finding as the scorer takes it.
fn plain(finding: &Finding, eids: &[[u8; 16]], times: &[u64]) -> score::Finding {
    let subject = &finding.subject;
    let value = |name: &str| {
        let found = finding.values.iter().find(|(key, _)| key == name);
        found.map_or_else(String::new, |(_, value)| value.clone())
    };
    let service = if subject.target.svc.is_empty() { value("source") } else { subject.target.svc.clone() };
    score::Finding {
        rule: finding.rule.id.to_string(),
        decided_ns: finding.decided_ns,
        first_evidence_ns: times.get(finding.evidence.first as usize).copied().unwrap_or(finding.decided_ns),
        caller: subject.who.who.as_ref().map_or_else(String::new, |who| who.id.clone()),
        service,
        evidence: finding.evidence.indices.iter().filter_map(|i| eids.get(*i as usize).copied()).collect(),
        notifies: finding.notifies(),
    }
}
