//! All watchers as one detector, with what they share: clock, keys, learning, allowance, cap of severity, agreement.
//!
//! Invariants (detect.md, "Learning, and what all detectors share"): nothing notifies about a peer group that is still
//! being learned, except what rests on no baseline; a statistical watcher alone says at most medium, two independent ones
//! on the same caller within [`AGREE_NS`] say high; at most [`A_DAY`] findings of a watcher, tenant and day notify,
//! [`RECORDED_MAX`] are recorded, the rest is counted and summed up once an hour; findings and alerts are never looked at.

mod agree;
mod allow;
pub(crate) mod changes;
mod groups;
mod save;

use crate::clock::{Clock, Timely};
use crate::finding::{Evidence, Finding, Flag, Rule, signed};
use crate::first_seen::nobody;
use crate::watch::{
    Call, Draft, Key, Keys, Watcher, WatcherStats, caller_name, deployed_name, group_name, is_call,
};
pub use crate::watchers::Grant;
use crate::{Detector, Hmac};
pub use agree::AGREE_NS;
use agree::Agreement;
use allow::A_DAY;
use allow::{Allowance, Allowed};
use changes::Changes;
use countersign_event::{Event, FindingState, Rec, Severity};
use groups::Groups;
use std::borrow::Cow;
use std::sync::Arc;

pub(crate) const ID: &str = "baselines";
const SECOND_NS: i64 = 1_000_000_000;
const HOUR_NS: u64 = 3_600_000_000_000;
/// Kinds of names in keys.
const WHO: u8 = 1;
pub(crate) const SERVICE: u8 = 2;
const EDGE: u8 = 3;
const ROUTE: u8 = 4;
const SOURCE: u8 = 5;

/// What all watchers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselinesConfig {
    /// A peer group is learned for at least this long, event time in ns.
    pub learn_ns: u64,
    /// And over at least this many events.
    pub learn_events: u64,
    /// Findings of a watcher, tenant and day (UTC) that notify.
    pub allowance: u32,
    /// Bytes of state of all watchers together.
    pub state_bytes: u64,
    /// What callers may do, as far as it is known: what of it nobody does is a finding. The first 4,096 count.
    pub grants: Arc<[Grant]>,
    /// How long a grant is watched before that is said, event time in ns.
    pub grants_ns: u64,
}

impl Default for BaselinesConfig {
    fn default() -> BaselinesConfig {
        BaselinesConfig {
            learn_ns: 7 * 86_400_000_000_000,
            learn_events: 1_000,
            allowance: A_DAY,
            state_bytes: 1 << 30,
            grants: Arc::default(),
            grants_ns: 90 * 86_400_000_000_000,
        }
    }
}

/// See the module.
pub struct Baselines {
    config: BaselinesConfig,
    hmac: Hmac,
    keys: Keys,
    clock: Clock,
    groups: Groups,
    changes: Changes,
    agreement: Agreement,
    allowance: Allowance,
    watchers: Vec<Watched>,
    learned_rule: Rule,
    saturated_rule: Rule,
    /// Watermark of the last [`Watcher::advance`].
    advanced_ns: i64,
    /// Ledger time of the last look at the bounds, and what had been lost by then.
    checked_ns: u64,
    lost: u64,
    drafts: Vec<Draft>,
}

struct Watched {
    watcher: Box<dyn Watcher>,
    rule: Rule,
}

impl Baselines {
    /// With all watchers, none of which has seen anything.
    pub fn new(config: BaselinesConfig, hmac: Hmac) -> Baselines {
        let watchers = crate::watchers::all(&config);
        Baselines::with(config, hmac, watchers)
    }

    pub(crate) fn with(config: BaselinesConfig, hmac: Hmac, watchers: Vec<Box<dyn Watcher>>) -> Baselines {
        let shared = vec![
            ("learn_ns", config.learn_ns.to_string()),
            ("learn_events", config.learn_events.to_string()),
            ("allowance", config.allowance.to_string()),
        ];
        let watched = |watcher: Box<dyn Watcher>| {
            let parameters = [watcher.parameters(), shared.clone()].concat();
            Watched { rule: Rule::new(watcher.id(), watcher.version(), parameters), watcher }
        };
        let groups = Groups::new(config.learn_ns, config.learn_events);
        let allowance = Allowance::new(config.allowance);
        Baselines {
            config,
            keys: Keys::new(&hmac),
            hmac,
            clock: Clock::new(),
            groups,
            changes: Changes::default(),
            agreement: Agreement::new(),
            allowance,
            watchers: watchers.into_iter().map(watched).collect(),
            learned_rule: Rule::new("detector.learned", "2", shared.clone()),
            saturated_rule: Rule::new("detector.saturated", "2", shared),
            advanced_ns: i64::MIN,
            checked_ns: 0,
            lost: 0,
            drafts: Vec::new(),
        }
    }

    /// Counters by watcher.
    pub fn stats(&self) -> Vec<(&'static str, WatcherStats)> {
        self.watchers.iter().map(|w| (w.watcher.id(), w.watcher.stats())).collect()
    }

    /// Findings that were only counted.
    pub fn suppressed(&self) -> u64 {
        self.allowance.suppressed()
    }

    fn look(&mut self, index: u64, ledger_ns: u64, event: &Event, out: &mut Vec<Finding>) {
        if event.core.rec == Some(Rec::Finding) || event.core.op.starts_with("alert.") {
            self.watchers.iter_mut().for_each(|w| w.watcher.pass(self.keys, index, ledger_ns, event));
            return;
        }
        let moment = self.clock.see(ledger_ns, event);
        self.advance(moment.watermark_ns, (index, ledger_ns, event), out);
        self.changes.see(self.keys, event, moment.at_ns);
        let call = self.call(index, ledger_ns, event, moment);
        if call.is_call && call.counts() && self.groups.see(&call) {
            out.push(self.learned(&call));
        }
        let call = Call { learning: self.groups.learning(&call.group), ..call };
        for at in 0..self.watchers.len() {
            let Some(watched) = self.watchers.get_mut(at) else { continue };
            if watched.watcher.statistical() && !call.counts() {
                continue;
            }
            watched.watcher.see(&call, &mut self.drafts);
            if !self.drafts.is_empty() {
                self.report(at, ledger_ns, Some(&call), out);
            }
        }
    }

    fn call<'e>(
        &mut self,
        index: u64,
        ledger_ns: u64,
        event: &'e Event,
        moment: crate::clock::Moment,
    ) -> Call<'e> {
        let (tenant, target) = (event.core.tenant.as_str(), &event.target);
        let keys = self.keys;
        let caller = event.who.who.as_ref().map_or("", |who| who.id.as_str());
        let who = match caller {
            "" => keys.of(WHO, &[tenant, &caller_name(event)]),
            id => keys.of(WHO, &[tenant, id]),
        };
        let group = keys.of(SERVICE, &[tenant, &group_name(event)]);
        let service = keys.of(SERVICE, &[tenant, &target.svc]);
        // A change names the service as it is deployed, whatever kind of id it calls under.
        let deployed = keys.of(SERVICE, &[tenant, &deployed_name(event)]);
        Call {
            index,
            ledger_ns,
            at_ns: moment.at_ns,
            watermark_ns: moment.watermark_ns,
            timely: moment.timely,
            event,
            weight: event.core.n.unwrap_or(1).max(1),
            is_call: is_call(event),
            who,
            group,
            service,
            edge: keys.pair(EDGE, &group, &service),
            route: keys.of(ROUTE, &[tenant, &target.svc, &event.core.op, &target.res]),
            source: keys.of(SOURCE, &[tenant, &event.core.agent]),
            learning: true,
            changing: self.changes.now(moment.at_ns, &[group, deployed, service]),
            keys,
        }
    }

    /// Lets time pass, at most once a second of it.
    fn advance(&mut self, watermark_ns: i64, by: (u64, u64, &Event), out: &mut Vec<Finding>) {
        let (index, ledger_ns, event) = by;
        if watermark_ns < self.advanced_ns.saturating_add(SECOND_NS) {
            return;
        }
        self.advanced_ns = watermark_ns;
        for at in 0..self.watchers.len() {
            let Some(watched) = self.watchers.get_mut(at) else { continue };
            watched.watcher.advance(watermark_ns, ledger_ns, &mut self.drafts);
            if !self.drafts.is_empty() {
                self.report(at, ledger_ns, None, out);
            }
        }
        if ledger_ns.saturating_sub(self.checked_ns) >= HOUR_NS {
            let lost = self.lost_now();
            if lost > self.lost {
                (self.checked_ns, self.lost) = (ledger_ns, lost);
                out.push(self.saturated(index, ledger_ns, event));
            }
        }
    }

    fn lost_now(&self) -> u64 {
        let evicted: u64 = self.watchers.iter().map(|w| w.watcher.stats().evicted).sum();
        evicted + self.allowance.suppressed() + self.groups.evicted()
    }

    /// Makes findings of what the watcher at `at` said.
    fn report(&mut self, at: usize, ledger_ns: u64, call: Option<&Call<'_>>, out: &mut Vec<Finding>) {
        let mut drafts = std::mem::take(&mut self.drafts);
        for draft in drafts.drain(..) {
            out.extend(self.finding(at, ledger_ns, call, draft));
        }
        self.drafts = drafts;
    }

    fn finding(
        &mut self,
        at: usize,
        ledger_ns: u64,
        call: Option<&Call<'_>>,
        mut draft: Draft,
    ) -> Option<Finding> {
        let watched = self.watchers.get(at)?;
        let (rule, statistical, input) =
            (watched.rule.clone(), watched.watcher.statistical(), watched.watcher.input());
        let tenant = draft.subject.core.tenant.clone();
        let id = rule.finding_id(&self.hmac, &tenant, &draft.about, draft.evidence.first, draft.window.0);
        let group = self.keys.of(SERVICE, &[&tenant, &group_name(&draft.subject)]);
        let mut flags = Vec::new();
        let learning = watched.watcher.learning(&draft.about).unwrap_or_else(|| self.groups.learning(&group));
        if statistical && learning {
            flags.push(Flag::Learning);
        }
        match call.map(|call| call.timely) {
            Some(Timely::Late | Timely::TooLate) => flags.push(Flag::Late),
            Some(Timely::Historical) => flags.push(Flag::Historical),
            _ => {}
        }
        if !statistical {
            self.groups.suspect(&group);
        } else if self.groups.is_suspect(&group) {
            flags.push(Flag::Suspect);
        }
        if draft.revision == 1 {
            let quiet = flags.iter().any(|f| matches!(f, Flag::Learning | Flag::Historical));
            match self.allowance.ask(at, &tenant, ledger_ns, &id, quiet) {
                Allowed::Tell => {}
                Allowed::Record if quiet => {}
                Allowed::Record => flags.push(Flag::Capped),
                Allowed::Count => return None,
            }
        } else {
            match self.allowance.goes_on(&id, draft.state) {
                Allowed::Tell => {}
                Allowed::Record => flags.push(Flag::Capped),
                Allowed::Count => return None,
            }
        }
        if statistical {
            draft.severity = draft.severity.min(Severity::Medium);
            let about = draft.window.1;
            let other = match draft.state {
                FindingState::Open if !flags.contains(&Flag::Learning) => {
                    self.agreement.ask(group, input, about)
                }
                _ => None,
            };
            if let Some(other) = other.filter(|_| draft.severity == Severity::Medium) {
                draft.severity = Severity::High;
                draft.confidence = draft.confidence.saturating_add(20).min(95);
                draft.template =
                    Cow::Owned(format!("{}; {{agrees}} found the same caller within 15 min", draft.template));
                draft.values.push(("agrees", other.to_owned()));
                flags.push(Flag::Combined);
            }
        }
        flags.sort_unstable();
        let mut values: Vec<(Cow<'static, str>, String)> =
            draft.values.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect();
        // Delivery mutes what follows from a source that has stopped: it has to know the source.
        let source = &draft.subject.core.agent;
        if !source.is_empty() && !values.iter().any(|(name, _)| name == "source") {
            values.push((Cow::Borrowed("source"), source.clone()));
        }
        Some(Finding {
            id,
            revision: draft.revision,
            state: draft.state,
            severity: draft.severity,
            confidence: draft.confidence,
            flags,
            window: draft.window,
            decided_ns: ledger_ns,
            evidence: draft.evidence,
            rule,
            template: draft.template,
            values,
            query: draft.query,
            subject: draft.subject,
        })
    }

    /// A peer group is known well enough from here on.
    fn learned(&self, call: &Call<'_>) -> Finding {
        let (first_ns, events) = self.groups.learned_from(&call.group);
        Finding {
            severity: Severity::Informational,
            template: Cow::Borrowed(
                "learned what is normal for {group} from {events} events in {took}; from here on what is not is a finding",
            ),
            values: vec![
                ("group".into(), group_name(call.event).into_owned()),
                ("events".into(), events.to_string()),
                ("took".into(), crate::watch::span_text(call.at_ns.saturating_sub(first_ns))),
            ],
            ..self.own(&self.learned_rule, call.group, call.index, call.ledger_ns, call.event.clone())
        }
    }

    /// Something had to be forgotten or was only counted.
    fn saturated(&self, index: u64, ledger_ns: u64, event: &Event) -> Finding {
        let full: Vec<String> = self
            .stats()
            .into_iter()
            .filter(|(_, stats)| stats.evicted > 0)
            .map(|(id, stats)| format!("{id} {}", stats.evicted))
            .collect();
        let about = crate::finding::first_half((self.hmac)(b"detector.saturated"));
        Finding {
            severity: Severity::Low,
            template: Cow::Borrowed(
                "detectors are at their bounds: keys forgotten so far: {full}; findings only counted: {counted}; \
                 what was forgotten is unknown, not new; wrong if: so many names are expected here (raise detect.state)",
            ),
            values: vec![
                ("full".into(), if full.is_empty() { "none".to_owned() } else { full.join(", ") }),
                ("counted".into(), self.allowance.suppressed().to_string()),
            ],
            evidence: Evidence::one(index, event),
            ..self.own(&self.saturated_rule, about, index, ledger_ns, nobody(event))
        }
    }

    /// A finding about the detectors themselves.
    fn own(&self, rule: &Rule, about: Key, first: u64, ledger_ns: u64, subject: Event) -> Finding {
        let window = signed(ledger_ns);
        Finding {
            id: rule.finding_id(&self.hmac, &subject.core.tenant, &about, first, 0),
            revision: 1,
            state: FindingState::Open,
            severity: Severity::Informational,
            confidence: 95,
            flags: Vec::new(),
            window: (window, window),
            decided_ns: ledger_ns,
            evidence: Evidence::one(first, &subject),
            rule: rule.clone(),
            template: Cow::Borrowed(""),
            values: Vec::new(),
            query: String::new(),
            subject: Box::new(subject),
        }
    }
}

impl Detector for Baselines {
    fn id(&self) -> &'static str {
        ID
    }

    fn batch(&mut self, events: &[(u64, u64, &Event)]) -> Vec<Finding> {
        let mut out = Vec::new();
        for &(index, ns, event) in events {
            self.look(index, ns, event, &mut out);
        }
        out
    }

    fn save(&self) -> Vec<u8> {
        save::write(self)
    }

    fn load(&mut self, saved: &[u8]) -> bool {
        saved.is_empty() || save::read(self, saved).is_some()
    }

    fn reports(&self) -> Vec<(&'static str, serde_json::Value)> {
        let of = |(id, stats): (&str, WatcherStats)| serde_json::json!({ "detector": id, "keys": stats.keys, "evicted": stats.evicted, "bytes": stats.bytes });
        vec![("detectors", self.stats().into_iter().map(of).collect())]
    }

    fn wake_ns(&self) -> Option<u64> {
        let wake = self.watchers.iter().filter_map(|w| w.watcher.wake_ns()).min()?;
        let late = wake.saturating_add(crate::clock::LATENESS_MEASURED_NS);
        u64::try_from(late).ok()
    }
}

#[cfg(test)]
impl Baselines {
    /// What watchers are shown of this event, without anything learned.
    pub(crate) fn call_of<'e>(&mut self, index: u64, ledger_ns: u64, event: &'e Event) -> Call<'e> {
        let moment = self.clock.see(ledger_ns, event);
        self.call(index, ledger_ns, event, moment)
    }
}

#[cfg(test)]
pub(crate) use tests::hmac as test_hmac;
#[cfg(test)]
mod tests;
