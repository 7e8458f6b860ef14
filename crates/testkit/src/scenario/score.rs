//! How well findings agree with the truth of runs.
//!
//! A finding hits a label if it overlaps it in time (first evidence to decision against start to end and a grace) and
//! holds one of its events as evidence, or names its caller or its service and nobody else: a finding about another
//! caller of the same service is no hit. A notifying finding that hits no
//! attack is false; hitting a near miss makes it no better. What this is not: a judgement of how a finding reads, or
//! of one that names the right service for a wrong reason: the shares by kind of match show how much rests on that.
//!
//! Invariant: the order of findings and of runs changes no number.

mod table;
#[cfg(test)]
mod tests;

use super::{Intensity, Label};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What a detector said, as plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// Rule or detector.
    pub rule: String,
    /// Event time at which it was decided, UTC ns.
    pub decided_ns: u64,
    /// Event time of its first evidence, UTC ns.
    pub first_evidence_ns: u64,
    /// Caller that it names: principal id, service, workload or address; empty = none.
    pub caller: String,
    /// Service or observer that it names; empty = none.
    pub service: String,
    /// Ids of the events that it rests on.
    pub evidence: Vec<[u8; 16]>,
    /// Whether somebody is told.
    pub notifies: bool,
}

/// One run: its truth, and what was found in it.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// Seed of the run.
    pub seed: u64,
    /// Labels with their events: [`super::Run::labels`] after the run's end.
    pub labels: Vec<Label>,
    /// All findings.
    pub findings: Vec<Finding>,
    /// Events that belong to no attack.
    pub background: u64,
    /// Days of event time.
    pub days: f64,
}

impl Judged {
    /// What was found in a run that is at its end.
    pub fn new(run: &super::Run, findings: Vec<Finding>) -> Judged {
        let (labels, days) = (run.labels().to_vec(), run.days());
        Judged { seed: run.seed(), labels, findings, background: run.background(), days }
    }
}

/// How a finding was taken for a hit; the strongest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// It names the service (or the observer), and neither the caller nor one of the events.
    Service,
    /// It names the caller.
    Caller,
    /// One of the events is its evidence.
    Event,
}

/// Result for one scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScenarioScore {
    /// Attacks staged, hard and easy.
    pub staged: [u64; 2],
    /// Attacks hit by a notifying finding, hard and easy.
    pub found: [u64; 2],
    /// Attacks hit by any finding.
    pub seen: u64,
    /// Attacks hit by a notifying finding that names the caller or holds one of the events.
    pub found_precisely: u64,
    /// Attacks still found when the rule that finds most of this scenario is taken away.
    pub without_largest: u64,
    /// The rule that finds most of this scenario.
    pub largest: String,
    /// From the attack's start to the first notifying decision, ns, ascending; one for each attack found.
    pub from_start: Vec<u64>,
    /// From that finding's first evidence to its decision, ns, ascending.
    pub from_evidence: Vec<u64>,
    /// Near misses staged, and those of them hit by a notifying finding.
    pub near_misses: [u64; 2],
}

/// Result for a set of runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// By scenario.
    pub scenarios: BTreeMap<String, ScenarioScore>,
    /// Attacks that each rule found, and notifying findings that hit, by rule.
    pub rules: BTreeMap<String, [u64; 2]>,
    /// The rule that finds most attacks.
    pub largest: String,
    /// Attacks found without that rule.
    pub found_without_largest: u64,
    /// False notifying findings by rule.
    pub false_by_rule: BTreeMap<String, u64>,
    /// Those of them that fall on a near miss, by its scenario.
    pub false_on_near_miss: BTreeMap<String, u64>,
    /// Events that belong to no attack.
    pub background: u64,
    /// Days of event time.
    pub days: f64,
}

impl Label {
    /// Whether `finding` hits this label, and how.
    pub fn hit_by(&self, finding: &Finding, events: &HashSet<[u8; 16]>, grace_ns: u64) -> Option<Match> {
        if finding.decided_ns < self.start || finding.first_evidence_ns >= self.end.saturating_add(grace_ns) {
            return None;
        }
        if finding.evidence.iter().any(|id| events.contains(id)) {
            return Some(Match::Event);
        }
        let fits = |list: &[String], name: &String| name.is_empty() || list.contains(name);
        if !fits(&self.callers, &finding.caller) || !fits(&self.services, &finding.service) {
            return None;
        }
        match (finding.caller.is_empty(), finding.service.is_empty()) {
            (false, _) => Some(Match::Caller),
            (true, false) => Some(Match::Service),
            (true, true) => None,
        }
    }
}

/// Scores `runs`. `grace_ns`: how long after an attack's end a first evidence still counts.
pub fn score(runs: &[Judged], grace_ns: u64) -> Score {
    let mut score = Score::default();
    let mut found_by: Vec<(String, BTreeSet<String>)> = Vec::new();
    for run in runs {
        score.background += run.background;
        score.days += run.days;
        judge(run, grace_ns, &mut score, &mut found_by);
    }
    for by_scenario in score.scenarios.values_mut() {
        by_scenario.from_start.sort_unstable();
        by_scenario.from_evidence.sort_unstable();
    }
    (score.largest, score.found_without_largest) = without_largest(found_by.iter().map(|(_, rules)| rules));
    for (name, by_scenario) in &mut score.scenarios {
        let mine = found_by.iter().filter(|(scenario, _)| scenario == name).map(|(_, rules)| rules);
        (by_scenario.largest, by_scenario.without_largest) = without_largest(mine);
    }
    score
}

/// The rule in most of these sets, and how many sets hold another.
fn without_largest<'a>(found: impl Iterator<Item = &'a BTreeSet<String>> + Clone) -> (String, u64) {
    let mut counts: BTreeMap<&String, u64> = BTreeMap::new();
    for rule in found.clone().flatten() {
        *counts.entry(rule).or_default() += 1;
    }
    let Some(most) = counts.values().max().copied() else { return (String::new(), 0) };
    let largest =
        counts.iter().find(|(_, n)| **n == most).map(|(rule, _)| (*rule).clone()).unwrap_or_default();
    let left = found.filter(|rules| rules.iter().any(|rule| *rule != largest)).count() as u64;
    (largest, left)
}

fn judge(run: &Judged, grace_ns: u64, score: &mut Score, found_by: &mut Vec<(String, BTreeSet<String>)>) {
    let mut hits_attack = vec![false; run.findings.len()];
    for label in &run.labels {
        let events: HashSet<[u8; 16]> = label.events.iter().copied().collect();
        let hits: Vec<(usize, Match)> = run
            .findings
            .iter()
            .enumerate()
            .filter_map(|(index, finding)| Some((index, label.hit_by(finding, &events, grace_ns)?)))
            .collect();
        let told: Vec<(usize, Match)> =
            hits.iter().copied().filter(|(i, _)| run.findings[*i].notifies).collect();
        let by_scenario = score.scenarios.entry(label.scenario.clone()).or_default();
        if !label.attack {
            by_scenario.near_misses[0] += 1;
            continue;
        }
        let easy = usize::from(label.intensity == Intensity::Easy);
        by_scenario.staged[easy] += 1;
        by_scenario.seen += u64::from(!hits.is_empty());
        hits.iter().for_each(|(index, _)| hits_attack[*index] = true);
        // The first to be decided; of several at that moment the one whose evidence is the latest.
        let first = told.iter().map(|(i, _)| &run.findings[*i]);
        let first = first.min_by_key(|f| (f.decided_ns, u64::MAX - f.first_evidence_ns));
        let Some(first) = first else { continue };
        by_scenario.found[easy] += 1;
        by_scenario.found_precisely += u64::from(told.iter().any(|(_, how)| *how > Match::Service));
        by_scenario.from_start.push(first.decided_ns - label.start);
        by_scenario.from_evidence.push(first.decided_ns.saturating_sub(first.first_evidence_ns));
        let rules: BTreeSet<String> = told.iter().map(|(i, _)| run.findings[*i].rule.clone()).collect();
        for rule in &rules {
            score.rules.entry(rule.clone()).or_default()[0] += 1;
        }
        for (index, _) in &told {
            score.rules.entry(run.findings[*index].rule.clone()).or_default()[1] += 1;
        }
        found_by.push((label.scenario.clone(), rules));
    }
    count_false(run, &hits_attack, grace_ns, score);
}

/// Notifying findings that hit no attack, and on which near misses they fall.
fn count_false(run: &Judged, hits_attack: &[bool], grace_ns: u64, score: &mut Score) {
    let near: Vec<(&Label, HashSet<[u8; 16]>)> = run
        .labels
        .iter()
        .filter(|label| !label.attack)
        .map(|label| (label, label.events.iter().copied().collect()))
        .collect();
    let mut fooled = vec![false; near.len()];
    for (finding, hit) in run.findings.iter().zip(hits_attack) {
        if *hit || !finding.notifies {
            continue;
        }
        *score.false_by_rule.entry(finding.rule.clone()).or_default() += 1;
        for (index, (label, events)) in near.iter().enumerate() {
            if label.hit_by(finding, events, grace_ns).is_some() {
                *score.false_on_near_miss.entry(label.scenario.clone()).or_default() += 1;
                fooled[index] = true;
                break;
            }
        }
    }
    for ((label, _), fooled) in near.iter().zip(fooled) {
        let by_scenario = score.scenarios.entry(label.scenario.clone()).or_default();
        by_scenario.near_misses[1] += u64::from(fooled);
    }
}

/// The value that a share `q` of the ascending `values` does not exceed (nearest rank); `None` of none.
pub fn quantile(values: &[u64], q: f64) -> Option<u64> {
    let rank = (q * values.len() as f64).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied()
}

impl ScenarioScore {
    /// Attacks found among those staged, 0 to 1; `None` where none was staged.
    pub fn recall(&self) -> Option<f64> {
        share(self.found[0] + self.found[1], self.staged[0] + self.staged[1])
    }

    /// The same for the hard and for the easy ones.
    pub fn recall_by_intensity(&self) -> [Option<f64>; 2] {
        [share(self.found[0], self.staged[0]), share(self.found[1], self.staged[1])]
    }
}

impl Score {
    /// False notifying findings.
    pub fn false_findings(&self) -> u64 {
        self.false_by_rule.values().sum()
    }

    /// False notifying findings for each 10,000 events of the background; 0 where there are none.
    pub fn false_per_10_000(&self) -> f64 {
        if self.background == 0 {
            0.0
        } else {
            self.false_findings() as f64 * 10_000.0 / self.background as f64
        }
    }

    /// False notifying findings for each day of event time.
    pub fn false_per_day(&self) -> f64 {
        if self.days <= 0.0 { 0.0 } else { self.false_findings() as f64 / self.days }
    }

    /// Attacks staged and found.
    pub fn attacks(&self) -> [u64; 2] {
        let sum = |of: fn(&ScenarioScore) -> u64| self.scenarios.values().map(of).sum();
        [sum(|s| s.staged[0] + s.staged[1]), sum(|s| s.found[0] + s.found[1])]
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
