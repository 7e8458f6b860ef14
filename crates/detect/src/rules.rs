//! A set of Sigma rules as a detector: each match is a finding that says the rule's sentence.
//!
//! A rule of single events is one finding an event, a correlation one when it begins to hold. Invariants: at most
//! [`A_RULE_AND_DAY`] findings of a rule notify in a day of the ledger's time, [`RECORDED_MAX`] are recorded, the rest is
//! counted; findings and what becomes of them (`alert.*`) are not looked at, so that no rule feeds itself; what was said
//! does not change with batches or restarts, for which the windows of correlations are read back ([`Detector::looks_back_ns`]).

use crate::bytes::{Reader, Writer};
use crate::clock::{AHEAD_MAX_NS, Clock, GRACE_NS, LATENESS_MEASURED_NS, LATENESS_NS, Timely};
use crate::finding::{Evidence, Finding, Flag, Rule, first_half, signed};
use crate::first_seen::{caller, edge_query, nobody};
use crate::sigma::{Correlated, Level, Match, RuleInfo, RuleSet};
use crate::{Detector, Hmac};
use countersign_event::{Event, FindingState, Rec, Severity};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Findings of a rule and day that notify.
pub const A_RULE_AND_DAY: u32 = 20;
/// Findings of a rule and day that are recorded.
pub const RECORDED_MAX: u32 = 1_000;
/// Most of the past that is read back, ns.
const LOOK_BACK_MAX_NS: u64 = 24 * 3_600_000_000_000;
/// Besides the windows themselves: what is late still joins them, and a clock may be ahead.
const SLACK_NS: i64 = LATENESS_NS + GRACE_NS + AHEAD_MAX_NS;
const DAY_NS: u64 = 86_400_000_000_000;
const ID: &str = "rules";
/// Version of [`Rules::save`].
const SAVED: u8 = 2;
/// How the operations begin that say what became of a finding.
const ALERTS: &str = "alert.";
/// What a finding of a rule without a sentence says.
const TITLE: &str = "{title}: {who} called {op} on {service}";
/// What would make it wrong, behind each sentence that names such cases.
const WRONG: &str = "; wrong if: {wrong}";

/// Findings of a day by rule, those about history apart.
type Said = BTreeMap<(usize, bool), u32>;

/// See the module.
pub struct Rules {
    set: RuleSet,
    rules: Vec<Rule>,
    hmac: Hmac,
    day: u64,
    /// Findings of today by rule, those about history apart: an import takes nothing from what happens now.
    said: Said,
    suppressed: u64,
    /// Where the time of events had come before a restart: taken up once the windows are read back.
    resumes: Option<Clock>,
}

impl Rules {
    /// Over a set that has seen nothing.
    pub fn new(set: RuleSet, hmac: Hmac) -> Rules {
        let rules = set.rules().iter().map(rule).collect();
        Rules { set, rules, hmac, day: 0, said: BTreeMap::new(), suppressed: 0, resumes: None }
    }

    /// Matches that were only counted.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Whether the next finding of this rule is recorded, and whether it notifies.
    fn allowed(&mut self, rule: usize, past: bool, ns: u64) -> Option<bool> {
        if ns / DAY_NS != self.day {
            self.day = ns / DAY_NS;
            self.said.clear();
        }
        let said = self.said.entry((rule, past)).or_default();
        *said = said.saturating_add(1);
        (*said <= RECORDED_MAX).then_some(*said <= A_RULE_AND_DAY)
    }

    fn finding(&self, found: &Match, (ns, event): (u64, &Event), notifies: bool) -> Option<Finding> {
        let (info, rule) = (self.set.rules().get(found.rule)?, self.rules.get(found.rule)?);
        let correlated = found.correlation.as_deref();
        let group = self.group(correlated, event);
        let evidence = evidence(found.index, correlated, event);
        // Decided by time alone, it is about nobody that this event names.
        let foreign = correlated.is_some_and(|found| found.count > 0 && found.group.is_empty());
        let subject = if foreign { nobody(event) } else { event.clone() };
        let until = correlated.map_or(signed(ns), |found| found.until_ns);
        let window = correlated.map_or(0, |found| found.until_ns);
        Some(Finding {
            id: rule.finding_id(&self.hmac, &event.core.tenant, &group, evidence.first, window),
            revision: 1,
            state: FindingState::Open,
            severity: severity(info.meta.level),
            confidence: 80,
            flags: flags(found.timely, notifies),
            window: (until, until),
            decided_ns: ns,
            evidence,
            rule: rule.clone(),
            template: template(info),
            values: values(info, found, event),
            query: edge_query(caller(event), &event.target.svc, &event.core.op),
            subject: Box::new(subject),
        })
    }

    /// What a finding is about, hashed: the values of `group-by`, else caller, service and operation.
    fn group(&self, correlated: Option<&Correlated>, event: &Event) -> [u8; 16] {
        let mut bytes = b"countersign-rule-group-v1".to_vec();
        let mut add = |text: &str| {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        match correlated {
            Some(found) => found.group.iter().for_each(|(name, value)| {
                add(name);
                add(value);
            }),
            None => [caller(event), &event.target.svc, &event.core.op].into_iter().for_each(add),
        }
        first_half((self.hmac)(&bytes))
    }
}

/// Ascending. What came behind the watermark is late, what is imported long after it happened is history.
fn flags(timely: Timely, notifies: bool) -> Vec<Flag> {
    let time = match timely {
        Timely::OnTime => None,
        Timely::Late | Timely::TooLate => Some(Flag::Late),
        Timely::Historical => Some(Flag::Historical),
    };
    time.into_iter().chain((!notifies).then_some(Flag::Capped)).collect()
}

/// The rule with what its licence wants shown.
fn rule(info: &RuleInfo) -> Rule {
    let meta = &info.meta;
    let parameters = [("title", &meta.title), ("author", &meta.author), ("license", &meta.license)]
        .map(|(n, v)| (n, v.clone()));
    Rule { id: Cow::Owned(meta.id.clone()), version: "sigma", hash: info.hash, parameters: parameters.into() }
}

fn severity(level: Option<Level>) -> Severity {
    match level {
        Some(Level::Informational) => Severity::Informational,
        Some(Level::Low) => Severity::Low,
        Some(Level::Medium) | None => Severity::Medium,
        Some(Level::High) => Severity::High,
        Some(Level::Critical) => Severity::Critical,
    }
}

fn template(info: &RuleInfo) -> Cow<'static, str> {
    let sentence = if info.meta.explain.is_empty() { TITLE } else { &info.meta.explain };
    let wrong = if info.meta.falsepositives.is_empty() { "" } else { WRONG };
    Cow::Owned(format!("{sentence}{wrong}"))
}

fn values(info: &RuleInfo, found: &Match, event: &Event) -> Vec<(Cow<'static, str>, String)> {
    let mut values: Vec<(Cow<'static, str>, String)> =
        info.values(found, event).into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect();
    if info.meta.explain.is_empty() {
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        values.push(("title".into(), info.meta.title.clone()));
        values.push(("who".into(), or(caller(event), "an unidentified caller")));
        values.push(("op".into(), or(&event.core.op, "an unnamed operation")));
        values.push(("service".into(), or(&event.target.svc, "an unnamed service")));
    }
    values.push(("wrong".into(), info.meta.falsepositives.join("; ")));
    values
}

fn evidence(index: u64, correlated: Option<&Correlated>, event: &Event) -> Evidence {
    let Some(found) = correlated else { return Evidence::one(index, event) };
    let mut indices = found.evidence.clone();
    indices.sort_unstable();
    indices.dedup();
    let first = indices.first().copied().unwrap_or(index);
    let last = indices.last().copied().unwrap_or(index);
    Evidence { indices, count: found.count, first, last, eid: event.core.eid }
}

/// Whether rules look at it: not at findings, nor at what is said of their delivery. Other records of the platform
/// reach the rules that ask for them (`category: platform`).
fn considers(event: &Event) -> bool {
    match event.core.rec {
        Some(Rec::Finding) => false,
        Some(Rec::Platform) => !event.core.op.starts_with(ALERTS),
        _ => true,
    }
}

impl Detector for Rules {
    fn id(&self) -> &'static str {
        ID
    }

    fn batch(&mut self, events: &[(u64, u64, &Event)]) -> Vec<Finding> {
        let events: Vec<(u64, u64, &Event)> =
            events.iter().filter(|(.., event)| considers(event)).copied().collect();
        if let Some(clock) = self.resumes.take() {
            self.set.resume(clock);
        }
        let mut out = Vec::new();
        for found in self.set.evaluate(&events) {
            if found.correlation.as_ref().is_some_and(|found| !found.opened) {
                continue;
            }
            let at = events.partition_point(|(index, ..)| *index < found.index);
            let Some((_, ns, event)) = events.get(at) else { continue };
            match self.allowed(found.rule, found.timely == Timely::Historical, *ns) {
                Some(notifies) => out.extend(self.finding(&found, (*ns, event), notifies)),
                None => self.suppressed += 1,
            }
        }
        out
    }

    fn warm(&mut self, events: &[(u64, u64, &Event)]) {
        let events: Vec<(u64, u64, &Event)> =
            events.iter().filter(|(.., event)| considers(event)).copied().collect();
        self.set.evaluate(&events);
    }

    fn looks_back_ns(&self) -> u64 {
        match self.set.longest_ns() {
            0 => 0,
            longest => longest.saturating_add(SLACK_NS.unsigned_abs()).min(LOOK_BACK_MAX_NS),
        }
    }

    fn wake_ns(&self) -> Option<u64> {
        let decided = self.set.waits_until_ns()?.saturating_add(LATENESS_MEASURED_NS);
        u64::try_from(decided).ok()
    }

    fn save(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(SAVED);
        out.u64(self.day);
        let known =
            |((rule, past), said): (&(usize, bool), &u32)| Some((self.rules.get(*rule)?, *past, *said));
        let said: Vec<(&Rule, bool, u32)> = self.said.iter().filter_map(known).collect();
        out.len(said.len());
        for (rule, past, said) in said {
            out.bytes(&rule.hash);
            out.bool(past);
            out.u32(said);
        }
        self.resumes.as_ref().unwrap_or(self.set.clock()).write(&mut out);
        out.done()
    }

    fn load(&mut self, saved: &[u8]) -> bool {
        if saved.is_empty() {
            return true;
        }
        let mut from = Reader::new(saved);
        let Some((day, said, clock)) = self.read(&mut from).filter(|_| from.is_empty()) else { return false };
        (self.day, self.said, self.resumes) = (day, said, Some(clock));
        true
    }
}

impl Rules {
    /// Day, what was said in it, and where the time of events had come.
    fn read(&self, from: &mut Reader<'_>) -> Option<(u64, Said, Clock)> {
        if from.u8()? != SAVED {
            return None;
        }
        let (day, mut said) = (from.u64()?, BTreeMap::new());
        for _ in 0..from.len(41)? {
            let (hash, past, count) = (from.bytes()?, from.bool()?, from.u32()?);
            // Of a rule that is gone or was changed, nothing was said.
            if let Some(rule) = self.rules.iter().position(|rule| rule.hash == hash) {
                said.insert((rule, past), count);
            }
        }
        Some((day, said, Clock::read(from)?))
    }
}
