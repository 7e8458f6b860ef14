//! Detector of the collector: what its records say about the input they came by.
//!
//! Three kinds. `collect.raw-share`: of an input's records in five minutes of the ledger's time more than one in a
//! hundred was not understood. `collect.mark.*`: a record carries a mark of the collector, which says that its sender's
//! word is not to be taken as it stands; one finding an input, mark and day, with the first one as evidence.
//! `collect.input.*`: something happened to the input itself (lines were lost, a file could not be proven).
//!
//! Not a judgement of the records: they are in the ledger, understood or not. Invariants: decided by the ledger's order
//! and times alone; a share is decided when its five minutes are over, or before that at [`RAW_EARLY`] records; an input
//! that stays above is told once, and again after five minutes below; at most [`INPUTS_MAX`] inputs are watched, the
//! others are counted.

mod save;

use crate::finding::{Evidence, Finding, Flag, Rule, first_half, signed};
use crate::{Detector, Hmac, quoted};
use countersign_event::{CaptureConf, Event, FindingState, Rec, Severity};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

const ID: &str = "collect";
const VERSION: &str = "1";
/// Length of the window of a share, ns.
pub const WINDOW_NS: u64 = 300_000_000_000;
/// More raw records of a hundred than this are a finding.
pub const RAW_PERCENT: u64 = 1;
/// Raw records at which a share is decided before its window is over.
pub const RAW_EARLY: u64 = 100;
/// Inputs watched at once.
pub const INPUTS_MAX: usize = 4_096;
/// Findings a day about one input and happening that notify; as many again are recorded without.
pub const A_DAY: u32 = 20;
const DAY_NS: u64 = 86_400_000_000_000;

/// Marks of records: label, rule, how grave, what it says.
const MARKS: [(&str, &str, Severity, &str); 4] = [
    (
        "ambiguous_json",
        "collect.mark.ambiguous_json",
        Severity::Low,
        "{input} was sent a record in which a name stands twice: its sender and its readers may take different values",
    ),
    (
        "mapping_disagreement",
        "collect.mark.mapping_disagreement",
        Severity::Medium,
        "{input} was sent an exported record whose fields contradict what it carries of the original: one of them was changed",
    ),
    (
        "source_id_reused",
        "collect.mark.source_id_reused",
        Severity::Medium,
        "{input} was sent an id again with another content: a repeated id hides a record where ids are trusted",
    ),
    (
        "span_id_reused",
        "collect.mark.span_id_reused",
        Severity::Low,
        "{input} was sent two different spans with one id: who called whom cannot be told for them",
    ),
];

/// What happens to an input: operation of the event, rule, how grave, what it says.
const HAPPENINGS: [(&str, &str, Severity, &str); 4] = [
    (
        "input.unproven",
        "collect.input.unproven",
        Severity::High,
        "{input}: {file} is not what its signed digest says, or has none: {why}",
    ),
    ("input.lost", "collect.input.lost", Severity::High, "{input}: lines of {file} are lost: {why}"),
    (
        "input.truncated",
        "collect.input.truncated",
        Severity::Medium,
        "{input}: {file} was cut or replaced while it was followed: {why}",
    ),
    ("input.unreadable", "collect.input.unreadable", Severity::Low, "{input}: {file} cannot be read: {why}"),
];

/// An input: tenant and agent.
type Name = (String, String);

/// One input's window.
#[derive(Clone, Debug, Default)]
struct Share {
    records: u64,
    raw: u64,
    first: Option<First>,
    /// Index of the last raw record.
    last: u64,
    /// It was above in the last window that had records, or is told already in this one.
    above: bool,
}

/// The first raw record of a window: where it is, and when; what was not understood names nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
struct First {
    index: u64,
    eid: [u8; 16],
    t_obs: u64,
    route: String,
}

/// See the module.
pub struct Collected {
    hmac: Hmac,
    share_rule: Rule,
    /// Number of the window that is open.
    window: u64,
    shares: BTreeMap<Name, Share>,
    day: u64,
    marks: BTreeSet<(Name, usize)>,
    happenings: BTreeMap<(Name, usize), u32>,
    unwatched: u64,
}

/// One committed event.
#[derive(Clone, Copy)]
struct At<'e> {
    index: u64,
    ns: u64,
    event: &'e Event,
}

impl Collected {
    /// A detector that has seen nothing.
    pub fn new(hmac: Hmac) -> Collected {
        let parameters = vec![
            ("window_ns", WINDOW_NS.to_string()),
            ("raw_percent", RAW_PERCENT.to_string()),
            ("raw_early", RAW_EARLY.to_string()),
        ];
        Collected {
            hmac,
            share_rule: Rule::new("collect.raw-share", VERSION, parameters),
            window: 0,
            shares: BTreeMap::new(),
            day: 0,
            marks: BTreeSet::new(),
            happenings: BTreeMap::new(),
            unwatched: 0,
        }
    }

    /// Records of inputs beyond [`INPUTS_MAX`].
    pub fn unwatched(&self) -> u64 {
        self.unwatched
    }

    fn look(&mut self, at: At<'_>, out: &mut Vec<Finding>) {
        self.turn(at, out);
        let core = &at.event.core;
        if core.rec == Some(Rec::Platform) {
            if let Some(which) = HAPPENINGS.iter().position(|(op, ..)| *op == core.op) {
                self.happened(at, which, out);
            }
            return;
        }
        let Some(capture) = at.event.body.cap.as_ref().filter(|_| core.rec != Some(Rec::Finding)) else {
            return;
        };
        for (which, _) in
            MARKS.iter().enumerate().filter(|(_, (label, ..))| core.labels.iter().any(|l| l == label))
        {
            self.marked(at, which, out);
        }
        let name = (core.tenant.clone(), core.agent.clone());
        if !self.shares.contains_key(&name) && self.shares.len() >= INPUTS_MAX {
            self.unwatched += 1;
            return;
        }
        let share = self.shares.entry(name.clone()).or_default();
        share.records += 1;
        if capture.conf != Some(CaptureConf::RawOnly) {
            return;
        }
        share.raw += 1;
        share.last = at.index;
        share.first.get_or_insert_with(|| First {
            index: at.index,
            eid: core.eid,
            t_obs: core.t_obs,
            route: core.route.clone(),
        });
        if share.raw >= RAW_EARLY && share.is_much() && !share.above {
            share.above = true;
            let share = share.clone();
            out.extend(self.share_finding(&name, &share, at));
        }
    }

    /// Closes what the ledger's time has left behind.
    fn turn(&mut self, at: At<'_>, out: &mut Vec<Finding>) {
        if at.ns / DAY_NS != self.day {
            self.day = at.ns / DAY_NS;
            self.marks.clear();
            self.happenings.clear();
        }
        let window = at.ns / WINDOW_NS;
        if window <= self.window {
            return;
        }
        self.window = window;
        let mut shares = std::mem::take(&mut self.shares);
        for (name, share) in &mut shares {
            let much = share.is_much();
            if much && !share.above {
                out.extend(self.share_finding(name, share, at));
            }
            *share = Share { above: much, ..Share::default() };
        }
        shares.retain(|_, share| share.above);
        self.shares = shares;
    }

    fn share_finding(&self, (tenant, input): &Name, share: &Share, at: At<'_>) -> Option<Finding> {
        let First { index, eid, t_obs, route } = share.first.clone()?;
        let evidence =
            Evidence { indices: vec![index], count: share.raw, first: index, last: share.last, eid };
        let mut subject = Event::default();
        (subject.core.eid, subject.core.t_obs) = (eid, t_obs);
        (subject.core.route, subject.core.tenant) = (route, tenant.clone());
        let tenths = share.raw * 1_000 / share.records.max(1);
        Some(Finding {
            confidence: 95,
            severity: Severity::Medium,
            template: Cow::Borrowed(
                "{raw} of {records} records of {input} within five minutes were not understood ({share} %): they are \
                       kept as they came, and say nothing of who did what",
            ),
            values: vec![
                ("raw".into(), share.raw.to_string()),
                ("records".into(), share.records.to_string()),
                ("share".into(), format!("{}.{}", tenths / 10, tenths % 10)),
                ("input".into(), input.clone()),
            ],
            query: format!("agent:{} rec:raw", quoted(input)),
            evidence,
            ..self.finding(&self.share_rule, at, (tenant, input), index, subject)
        })
    }

    fn marked(&mut self, at: At<'_>, which: usize, out: &mut Vec<Finding>) {
        let Some((label, rule, severity, template)) = MARKS.get(which) else { return };
        let core = &at.event.core;
        let name = (core.tenant.clone(), core.agent.clone());
        if self.marks.len() >= INPUTS_MAX * MARKS.len() || !self.marks.insert((name, which)) {
            return;
        }
        let rule = Rule::new(rule, VERSION, Vec::new());
        out.push(Finding {
            confidence: 90,
            severity: *severity,
            template: Cow::Borrowed(template),
            values: vec![("input".into(), core.agent.clone())],
            query: format!("agent:{} label:{label}", quoted(&core.agent)),
            ..self.finding(&rule, at, (&core.tenant, &core.agent), at.index, at.event.clone())
        });
    }

    fn happened(&mut self, at: At<'_>, which: usize, out: &mut Vec<Finding>) {
        let Some((op, rule, severity, template)) = HAPPENINGS.get(which) else { return };
        let core = &at.event.core;
        let name = (core.tenant.clone(), core.agent.clone());
        if !self.happenings.contains_key(&(name.clone(), which)) && self.happenings.len() >= INPUTS_MAX {
            self.unwatched += 1;
            return;
        }
        let count = self.happenings.entry((name, which)).or_default();
        *count = count.saturating_add(1);
        if *count > 2 * A_DAY {
            return;
        }
        let capped = *count > A_DAY;
        let rule = Rule::new(rule, VERSION, Vec::new());
        out.push(Finding {
            confidence: 99,
            severity: *severity,
            flags: if capped { vec![Flag::Capped] } else { Vec::new() },
            template: Cow::Borrowed(template),
            values: vec![
                ("input".into(), core.agent.clone()),
                ("file".into(), at.event.target.res.clone()),
                ("why".into(), at.event.content.err.clone()),
            ],
            query: format!("agent:{} op:{op}", quoted(&core.agent)),
            ..self.finding(&rule, at, (&core.tenant, &core.agent), at.index, at.event.clone())
        });
    }

    /// What all findings of this detector share; `first` is the index of the first evidence.
    fn finding(
        &self,
        rule: &Rule,
        at: At<'_>,
        (tenant, input): (&str, &str),
        first: u64,
        subject: Event,
    ) -> Finding {
        let group = first_half((self.hmac)(&[b"countersign-input-v1\0", input.as_bytes()].concat()));
        let begins = signed(at.ns / WINDOW_NS * WINDOW_NS);
        Finding {
            id: rule.finding_id(&self.hmac, tenant, &group, first, 0),
            revision: 1,
            state: FindingState::Open,
            severity: Severity::Medium,
            confidence: 90,
            flags: Vec::new(),
            window: (begins, signed(at.ns)),
            decided_ns: at.ns,
            evidence: Evidence::one(at.index, at.event),
            rule: rule.clone(),
            template: Cow::Borrowed(""),
            values: Vec::new(),
            query: String::new(),
            subject: Box::new(subject),
        }
    }
}

impl Share {
    fn is_much(&self) -> bool {
        self.raw * 100 > self.records * RAW_PERCENT
    }
}

impl Detector for Collected {
    fn id(&self) -> &'static str {
        ID
    }

    fn batch(&mut self, events: &[(u64, u64, &Event)]) -> Vec<Finding> {
        let mut out = Vec::new();
        for &(index, ns, event) in events {
            self.look(At { index, ns, event }, &mut out);
        }
        out
    }

    fn save(&self) -> Vec<u8> {
        save::write(self).into_bytes()
    }

    fn load(&mut self, saved: &[u8]) -> bool {
        std::str::from_utf8(saved).is_ok_and(|saved| save::read(self, saved))
    }
}

#[cfg(test)]
mod tests;
