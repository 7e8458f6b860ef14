//! Detector 15, `burn-rate`: an error budget is used up faster than it lasts (SRE Workbook, "Alerting on SLOs",
//! multiwindow and multi-burn-rate).
//!
//! A page when the budget burns 14.4 times too fast over 1 h and 5 min, or 6 times over 6 h and 30 min; a ticket at 1
//! time over 3 d and 6 h. The short window ends the alarm soon after the cause. Invariants: nothing is said of fewer
//! than [`LEAST_CALLS`] calls in the short window, nor before it has been seen whole once; one finding at a time for a promise; decided by the ledger's times.

use super::latency::Latencies;
use super::matching::Slo;
use super::openslo::Slos;
use super::ring::{Counts, Ring};
use crate::bytes::{Reader, Writer};
use crate::finding::{Evidence, Finding, Flag, Rule, first_half, signed};
use crate::first_seen::nobody;
use crate::{Detector, Hmac};
use countersign_event::{Event, FindingState, Severity};
use std::borrow::Cow;
use std::sync::Arc;

const ID: &str = "burn-rate";
const VERSION: &str = "1";
/// Calls in the short window below which nothing is said, unless configured.
pub const LEAST_CALLS: u64 = 20;
/// Windows are looked at this often, ns of ledger time.
const EVERY_NS: u64 = 10_000_000_000;
/// Evidence kept from each end.
const LISTED: usize = 10;
const HOUR_NS: u64 = 3_600_000_000_000;
const DAY_NS: u64 = 24 * HOUR_NS;
/// An event older than this when it came is history and does not count, ns.
const HISTORY_NS: i64 = 3_600_000_000_000;

/// Burn rate, long window, short window (ns), how grave.
const STEPS: [(f64, u64, u64, Severity); 3] = [
    (14.4, HOUR_NS, HOUR_NS / 12, Severity::High),
    (6.0, 6 * HOUR_NS, HOUR_NS / 2, Severity::High),
    (1.0, 72 * HOUR_NS, 6 * HOUR_NS, Severity::Medium),
];

/// Parameters; all of them stand in each finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BurnRateConfig {
    /// Calls in the short window below which nothing is said.
    pub least_calls: u64,
    /// Findings a day (UTC) that notify.
    pub allowance: u64,
}

impl Default for BurnRateConfig {
    fn default() -> BurnRateConfig {
        BurnRateConfig { least_calls: LEAST_CALLS, allowance: 20 }
    }
}

/// One promise and what became of it.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) ring: Ring,
    /// Ledger time of the first call that counted, ns; 0 = none yet.
    first_ns: u64,
    /// Ledger indices of bad calls: the first ones since the last quiet hour, the last ones.
    early: Vec<u64>,
    late: Vec<u64>,
    first_eid: [u8; 16],
    last_bad_ns: u64,
    pub(super) open: Option<Open>,
}

/// A finding that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    id: [u8; 16],
    revision: u64,
    pub(super) severity: Severity,
    capped: bool,
    began_ns: u64,
    first: (u64, [u8; 16]),
}

/// See the module.
pub struct BurnRate {
    config: BurnRateConfig,
    pub(super) slos: Arc<Slos>,
    hmac: Hmac,
    rule: Rule,
    pub(super) states: Vec<State>,
    pub(super) latencies: Latencies,
    pub(super) now_ns: u64,
    looked_ns: u64,
    day: (u64, u64),
}

impl BurnRate {
    /// A detector that has seen nothing, for these promises.
    pub fn new(config: BurnRateConfig, slos: Arc<Slos>, hmac: Hmac) -> BurnRate {
        let parameters = vec![
            ("steps", "14.4x 1h 5m, 6x 6h 30m, 1x 3d 6h".to_owned()),
            ("least_calls", config.least_calls.to_string()),
            ("allowance", config.allowance.to_string()),
        ];
        BurnRate {
            rule: Rule::new(ID, VERSION, parameters),
            states: vec![State::default(); slos.slos.len()],
            latencies: Latencies::default(),
            now_ns: 0,
            looked_ns: 0,
            day: (0, 0),
            config,
            slos,
            hmac,
        }
    }

    fn look(&mut self, index: u64, ns: u64, event: &Event, out: &mut Vec<Finding>) {
        self.now_ns = self.now_ns.max(ns);
        if self.now_ns / EVERY_NS > self.looked_ns / EVERY_NS {
            self.looked_ns = self.now_ns;
            for at in 0..self.states.len() {
                out.extend(self.weigh(at, event));
            }
        }
        let told_ns = event.core.t_event.unwrap_or_else(|| signed(event.core.t_obs));
        let history = event.core.labels.iter().any(|label| label == crate::clock::BACKFILL)
            || signed(self.now_ns).saturating_sub(told_ns) > HISTORY_NS.saturating_add(length(event));
        if history {
            return;
        }
        let slos = self.slos.clone();
        let n = event.core.n.unwrap_or(1);
        for (at, slo) in slos.slos.iter().enumerate() {
            let (Some(good), Some(state)) = (slo.judge(event), self.states.get_mut(at)) else { continue };
            if state.first_ns == 0 {
                state.first_ns = self.now_ns;
            }
            state.ring.count(self.now_ns, Counts { total: n, bad: if good { 0 } else { n } });
            if !good {
                state.note(index, event.core.eid, self.now_ns);
            }
            let caller = event.who.who.as_ref().map_or("", |p| if p.svc.is_empty() { &p.id } else { &p.svc });
            self.latencies.add(at as u32, caller, event.core.dur, good, (self.now_ns, n));
        }
    }

    /// What there is to say of a promise now.
    fn weigh(&mut self, at: usize, event: &Event) -> Option<Finding> {
        let (slos, now_ns) = (self.slos.clone(), self.now_ns);
        let (slo, state) = (slos.slos.get(at)?, self.states.get(at)?);
        let budget = 1.0 - slo.target;
        let burns = |rate: f64, long_ns: u64, short_ns: u64| {
            let (long, short) = (state.ring.sum(now_ns, long_ns), state.ring.sum(now_ns, short_ns));
            let seen_ns = if state.first_ns == 0 { 0 } else { now_ns.saturating_sub(state.first_ns) };
            let enough = short.total >= self.config.least_calls && seen_ns >= short_ns;
            enough && [long, short].iter().all(|counts| counts.bad_share() / budget >= rate)
        };
        let step = STEPS.iter().find(|(rate, long, short, _)| burns(*rate, *long, *short)).copied();
        match (step, state.open) {
            (Some(step), None) => {
                let day = now_ns / DAY_NS;
                self.day = if self.day.0 == day { (day, self.day.1 + 1) } else { (day, 1) };
                let capped = self.day.1 > self.config.allowance;
                let first = (state.early.first().copied().unwrap_or(0), state.first_eid);
                let group = self.group(&slo.name);
                let id =
                    self.rule.finding_id(&self.hmac, &event.core.tenant, &group, first.0, signed(now_ns));
                let open = Open { id, revision: 1, severity: step.3, capped, began_ns: now_ns, first };
                self.say(at, open, FindingState::Open, Some(step), event)
            }
            (Some(step), Some(open)) if step.3 != open.severity => {
                let open = Open { revision: open.revision + 1, severity: step.3, ..open };
                self.say(at, open, FindingState::Updated, Some(step), event)
            }
            (None, Some(open)) => {
                let open = Open { revision: open.revision + 1, ..open };
                self.say(at, open, FindingState::Resolved, None, event)
            }
            _ => None,
        }
    }

    fn say(
        &mut self,
        at: usize,
        open: Open,
        said: FindingState,
        step: Option<(f64, u64, u64, Severity)>,
        event: &Event,
    ) -> Option<Finding> {
        let slos = self.slos.clone();
        let slo = slos.slos.get(at)?;
        let over = said == FindingState::Resolved;
        let state = self.states.get_mut(at)?;
        state.open = (!over).then_some(open);
        let state = &*state;
        let (_, long_ns, short_ns, _) = step.unwrap_or(STEPS[0]);
        let counts = state.ring.sum(self.now_ns, long_ns);
        let whole = state.ring.sum(self.now_ns, slo.window_ns);
        let mut subject = nobody(event);
        slo.service.clone_into(&mut subject.target.svc);
        Some(Finding {
            id: open.id,
            revision: open.revision,
            state: said,
            severity: if open.capped { Severity::Informational } else { open.severity },
            confidence: 90,
            flags: if open.capped { vec![Flag::Capped] } else { Vec::new() },
            window: (signed(open.began_ns.saturating_sub(long_ns)), signed(self.now_ns)),
            decided_ns: self.now_ns,
            evidence: state.evidence(open, counts.bad),
            rule: self.rule.clone(),
            template: Cow::Borrowed(if over { CALM } else { BURNS }),
            values: values(slo, counts, whole, (long_ns, short_ns)),
            query: slo.query(),
            subject: Box::new(subject),
        })
    }

    fn group(&self, name: &str) -> [u8; 16] {
        first_half((self.hmac)(&[b"countersign-slo-v1\0", name.as_bytes()].concat()))
    }

    /// A mark of what the state belongs to: promises by number mean nothing under others.
    fn mark(&self) -> [u8; 16] {
        self.group(&format!("{:?}", self.slos.slos))
    }
}

const BURNS: &str = "{slo}: {bad} of {total} calls to {service} in {long} were bad, {burn} times as many as {target} % \
     good over {window} allows, and it goes on in the last {short}; {gone} % of the budget is gone; wrong if: the calls \
     that fail are a test, or what counts as bad is the callers' own fault";
const CALM: &str = "{slo}: the budget of {service} no longer burns too fast; {bad} of {total} calls in the last {long} \
     were bad, and {gone} % of the budget of {window} is gone; wrong if: there are too few calls left to tell";

fn values(
    slo: &Slo,
    counts: Counts,
    whole: Counts,
    (long_ns, short_ns): (u64, u64),
) -> Vec<(Cow<'static, str>, String)> {
    let budget = 1.0 - slo.target;
    vec![
        ("slo".into(), slo.name.clone()),
        (
            "service".into(),
            if slo.service.is_empty() { "any service".to_owned() } else { slo.service.clone() },
        ),
        ("bad".into(), counts.bad.to_string()),
        ("total".into(), counts.total.to_string()),
        ("burn".into(), format!("{:.1}", counts.bad_share() / budget)),
        ("target".into(), percent(slo.target)),
        ("window".into(), crate::first_seen::span(slo.window_ns)),
        ("long".into(), crate::first_seen::span(long_ns)),
        ("short".into(), crate::first_seen::span(short_ns)),
        ("gone".into(), format!("{:.0}", 100.0 * whole.bad_share() / budget)),
    ]
}

/// `99.9` of 0.999, without noise of the last bit.
fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How long a call was, ns: a long one that ended now began then.
fn length(event: &Event) -> i64 {
    signed(event.core.dur.unwrap_or(0))
}

impl State {
    fn note(&mut self, index: u64, eid: [u8; 16], now_ns: u64) {
        // While nothing is open, what was bad long ago is no evidence.
        if self.open.is_none() && now_ns.saturating_sub(self.last_bad_ns) > HOUR_NS {
            self.early.clear();
            self.late.clear();
        }
        self.last_bad_ns = now_ns;
        if self.early.is_empty() {
            self.first_eid = eid;
        }
        if self.early.len() < LISTED {
            self.early.push(index);
        } else {
            if self.late.len() >= LISTED {
                self.late.remove(0);
            }
            self.late.push(index);
        }
    }

    fn evidence(&self, open: Open, count: u64) -> Evidence {
        let indices: Vec<u64> = self.early.iter().chain(&self.late).copied().collect();
        let last = indices.last().copied().unwrap_or(open.first.0).max(open.first.0);
        Evidence { indices, count, first: open.first.0, last, eid: open.first.1 }
    }

    fn write(&self, out: &mut Writer) {
        self.ring.write(out);
        out.u64(self.first_ns);
        for list in [&self.early, &self.late] {
            out.len(list.len());
            list.iter().for_each(|index| out.u64(*index));
        }
        out.key(&self.first_eid);
        out.u64(self.last_bad_ns);
        out.bool(self.open.is_some());
        if let Some(open) = &self.open {
            out.key(&open.id);
            out.u64(open.revision);
            out.u64(open.severity.code());
            out.bool(open.capped);
            out.u64(open.began_ns);
            out.u64(open.first.0);
            out.key(&open.first.1);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<State> {
        let mut state = State { ring: Ring::read(from)?, first_ns: from.u64()?, ..State::default() };
        for list in [&mut state.early, &mut state.late] {
            for _ in 0..from.len(8)? {
                list.push(from.u64()?);
                if list.len() > LISTED {
                    return None;
                }
            }
        }
        state.first_eid = from.key()?;
        state.last_bad_ns = from.u64()?;
        if from.bool()? {
            state.open = Some(Open {
                id: from.key()?,
                revision: from.u64()?,
                severity: Severity::from_code(from.u64()?)?,
                capped: from.bool()?,
                began_ns: from.u64()?,
                first: (from.u64()?, from.key()?),
            });
        }
        Some(state)
    }
}

impl Detector for BurnRate {
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

    /// An alarm ends with time, also when nothing is called any more.
    fn wake_ns(&self) -> Option<u64> {
        let any = self.states.iter().any(|state| state.open.is_some());
        any.then(|| (self.looked_ns / EVERY_NS).saturating_add(1).saturating_mul(EVERY_NS))
    }

    fn reports(&self) -> Vec<(&'static str, serde_json::Value)> {
        vec![("service-levels", serde_json::to_value(self.report()).unwrap_or_default())]
    }

    fn save(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.key(&self.mark());
        for n in [self.now_ns, self.looked_ns, self.day.0, self.day.1] {
            out.u64(n);
        }
        out.len(self.states.len());
        self.states.iter().for_each(|state| state.write(&mut out));
        self.latencies.write(&mut out);
        out.done()
    }

    fn load(&mut self, saved: &[u8]) -> bool {
        let mut fresh = BurnRate::new(self.config.clone(), self.slos.clone(), self.hmac.clone());
        let good = saved.is_empty() || fresh.read(saved).is_some();
        if good {
            *self = fresh;
        }
        good
    }
}

impl BurnRate {
    fn read(&mut self, saved: &[u8]) -> Option<()> {
        let from = &mut Reader::new(saved);
        // Other promises than it was saved under: it begins anew.
        if from.key()? != self.mark() {
            return None;
        }
        (self.now_ns, self.looked_ns) = (from.u64()?, from.u64()?);
        self.day = (from.u64()?, from.u64()?);
        if from.len(8)? != self.states.len() {
            return None;
        }
        for state in &mut self.states {
            *state = State::read(from)?;
        }
        self.latencies = Latencies::read(from)?;
        from.is_empty().then_some(())
    }
}
