//! Detector 1, `first-seen-edge`: a caller uses an operation of a service for the first time.
//!
//! Not a judgement: a new edge is a fact worth a look. It learns first (ledger time and events), then each new
//! edge is one finding. Invariants: silence before noise (at most `allowance` findings a day notify, the rest
//! are recorded as capped up to a bound, and summed up hourly); an edge that may have been forgotten raises
//! nothing; what a replica does for the first time that its peer group did before is not new, and what is new while a
//! change of either side was announced notifies nobody; the answer depends on the ledger alone.

use crate::baselines::SERVICE;
use crate::baselines::changes::Changes;
use crate::bytes::{Reader, Writer};
use crate::edges::{EDGES_MAX, Edges, Key, Seen};
use crate::finding::{Evidence, Finding, Flag, Rule, first_half, signed};
use crate::watch::{Keys, deployed_name, group_name};
use crate::{Detector, Hmac, quoted};
use countersign_event::{Event, FindingState, Rec, Severity, Verified};
use std::borrow::Cow;

const ID: &str = "first-seen-edge";
const VERSION: &str = "2";
/// How long after an announced change of the caller what it does for the first time is expected, ns.
const AFTER_NS: i64 = 21_600_000_000_000;
/// One sighting of so many also renews what is known of the peer group.
const RENEW: u64 = 64;
const DAY_NS: u64 = 86_400_000_000_000;
const HOUR_NS: u64 = 3_600_000_000_000;
/// Findings a day that are recorded though they do not notify; beyond it they are only counted.
const CAPPED_MAX: u64 = 1000;
/// Bytes of a name that tell an edge from another; longer names are the same beyond it.
const NAME_MAX_BYTES: usize = 4096;

/// Parameters; all of them stand in each finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstSeenConfig {
    /// Learning lasts at least this long, by the ledger's time, ns.
    pub learn_ns: u64,
    /// Learning takes at least this many events.
    pub learn_events: u64,
    /// An edge not seen for this long is new again, ns.
    pub history_ns: u64,
    /// Findings a day (UTC) that notify.
    pub allowance: u64,
    /// Edges kept exactly, at most [`EDGES_MAX`].
    pub edges_max: usize,
}

impl Default for FirstSeenConfig {
    fn default() -> FirstSeenConfig {
        FirstSeenConfig {
            learn_ns: 7 * DAY_NS,
            learn_events: 1000,
            history_ns: 30 * DAY_NS,
            allowance: 20,
            edges_max: EDGES_MAX,
        }
    }
}

/// An edge from before the start, as the store counts them, for [`FirstSeen::warm`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// `core.tenant`.
    pub tenant: String,
    /// `who.id`; empty = nobody was identified.
    pub caller: String,
    /// `target.svc`.
    pub service: String,
    /// `core.op`.
    pub operation: String,
    /// Ledger index of the last event on it.
    pub last_index: u64,
    /// Ledger time of the last event on it, ns.
    pub last_ns: u64,
    /// Events on it.
    pub count: u64,
}

/// Counters of the detector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstSeenStats {
    /// Edges kept exactly.
    pub edges: u64,
    /// Edges that had to leave.
    pub evicted: u64,
    /// Sightings of which newness could not be told.
    pub unknown: u64,
    /// Events looked at, those before the start included.
    pub events: u64,
    /// New edges beyond all bounds of a day: counted and in the hourly sum, no finding of their own.
    pub suppressed: u64,
    /// Whether it is still learning.
    pub learning: bool,
}

/// The detector.
pub struct FirstSeen {
    config: FirstSeenConfig,
    hmac: Hmac,
    rule: Rule,
    sum_rule: Rule,
    learned_rule: Rule,
    edges: Edges,
    /// Ledger time of the first event ever.
    began_ns: Option<u64>,
    events: u64,
    learned: bool,
    unknown: u64,
    suppressed: u64,
    day: Day,
    /// Announced changes: what is new in one is expected.
    changes: Changes,
    keys: Keys,
    /// Reused for the hashed bytes of a key.
    scratch: Vec<u8>,
}

/// What was said today.
#[derive(Default)]
struct Day {
    number: u64,
    new: u64,
    /// Ledger time of the last sum, ns.
    summed_ns: Option<u64>,
}

/// One committed event.
#[derive(Clone, Copy)]
struct At<'e> {
    index: u64,
    ns: u64,
    event: &'e Event,
}

impl FirstSeen {
    /// A detector that knows nothing yet.
    pub fn new(config: FirstSeenConfig, hmac: Hmac) -> FirstSeen {
        let parameters = vec![
            ("learn_ns", config.learn_ns.to_string()),
            ("learn_events", config.learn_events.to_string()),
            ("history_ns", config.history_ns.to_string()),
            ("allowance", config.allowance.to_string()),
            ("edges_max", config.edges_max.to_string()),
        ];
        FirstSeen {
            rule: Rule::new(ID, VERSION, parameters.clone()),
            sum_rule: Rule::new("detector.saturated", VERSION, parameters.clone()),
            learned_rule: Rule::new("detector.learned", VERSION, parameters),
            edges: Edges::new(config.edges_max, config.history_ns),
            keys: Keys::new(&hmac),
            changes: Changes::default(),
            hmac,
            began_ns: None,
            events: 0,
            learned: false,
            unknown: 0,
            suppressed: 0,
            day: Day::default(),
            scratch: Vec::new(),
            config,
        }
    }

    /// Tells what was before the start: the ledger time of the first event ([`FirstSeen::considers`]), how many
    /// there are, and the edges of the history, least recent first. Call it once, before the first batch.
    pub fn warm(&mut self, first_ns: u64, events: u64, edges: impl IntoIterator<Item = Edge>) {
        let mut last_ns = first_ns;
        for edge in edges {
            let key = self.key(&edge.tenant, &edge.caller, &edge.service, &edge.operation);
            self.edges.warm(key, edge.last_index, edge.last_ns, edge.count);
            last_ns = last_ns.max(edge.last_ns);
        }
        if events > 0 {
            (self.began_ns, self.events) = (Some(first_ns), events);
            self.learned = self.has_learned(last_ns);
        }
    }

    /// Whether this kind of event is looked at: calls, and what could not be parsed.
    pub fn considers(event: &Event) -> bool {
        matches!(event.core.rec, Some(Rec::Interaction | Rec::Intent | Rec::Opaque | Rec::Cut))
    }

    /// The detector's counters.
    pub fn stats(&self) -> FirstSeenStats {
        FirstSeenStats {
            edges: self.edges.len() as u64,
            evicted: self.edges.evicted(),
            unknown: self.unknown,
            events: self.events,
            suppressed: self.suppressed,
            learning: !self.learned,
        }
    }

    /// All or nothing; with other parameters what is known does not fit.
    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        if from.bytes()? != self.rule.hash {
            return None;
        }
        let began = (from.bool()?, from.u64()?);
        let (events, learned, unknown, suppressed) = (from.u64()?, from.bool()?, from.u64()?, from.u64()?);
        let (number, new) = (from.u64()?, from.u64()?);
        let summed = (from.bool()?, from.u64()?);
        let changes = Changes::read(from)?;
        self.edges.read(from)?;
        self.changes = changes;
        (self.began_ns, self.events, self.learned) = (began.0.then_some(began.1), events, learned);
        (self.unknown, self.suppressed) = (unknown, suppressed);
        self.day = Day { number, new, summed_ns: summed.0.then_some(summed.1) };
        Some(())
    }

    fn has_learned(&self, now_ns: u64) -> bool {
        let began_ns = self.began_ns.unwrap_or(now_ns);
        self.events >= self.config.learn_events && now_ns.saturating_sub(began_ns) >= self.config.learn_ns
    }

    fn look(&mut self, at: At<'_>, out: &mut Vec<Finding>) {
        self.began_ns.get_or_insert(at.ns);
        if !self.learned && self.has_learned(at.ns) {
            self.learned = true;
            // An empty ledger with nothing to learn has no news to tell.
            if self.events > 0 {
                out.push(self.has_learned_finding(at));
            }
        }
        self.events += 1;
        let core = &at.event.core;
        let key = self.key(&core.tenant, caller(at.event), &at.event.target.svc, &core.op);
        let seen = self.edges.see(key, at.index, at.ns, !self.learned);
        let renews = seen != Seen::Known || at.index.is_multiple_of(RENEW);
        let group = if renews { self.see_group(at) } else { None };
        match seen {
            Seen::Known => {}
            Seen::Unknown => self.unknown += 1,
            // Another replica of the caller has done it before.
            Seen::New if matches!(group, Some(Seen::Known | Seen::Unknown)) => {}
            Seen::New if self.learned => self.new_edge(at, key, out),
            Seen::New => {}
        }
    }

    /// Notes that the caller's peer group has this edge, and says what was known of that; `None` where the caller is its
    /// own group.
    fn see_group(&mut self, at: At<'_>) -> Option<Seen> {
        let group = group_name(at.event);
        if group == caller(at.event) {
            return None;
        }
        let core = &at.event.core;
        // No id of a caller begins like this.
        let key = self.key(&core.tenant, &format!("\0group {group}"), &at.event.target.svc, &core.op);
        Some(self.edges.see(key, at.index, at.ns, !self.learned))
    }

    /// Whether a change of the caller's or the called service was announced for now.
    fn announced(&self, at: At<'_>) -> bool {
        let tenant = at.event.core.tenant.as_str();
        let group = self.keys.of(SERVICE, &[tenant, &deployed_name(at.event)]);
        let service = self.keys.of(SERVICE, &[tenant, &at.event.target.svc]);
        let now = at.event.core.t_event.unwrap_or(signed(at.ns));
        // What a new version of the caller needs may show hours later; the called one has it at once.
        self.changes.now(now, &[group, service])
            || self.changes.ends_after(now.saturating_sub(AFTER_NS), now, &[group]).is_some()
    }

    fn new_edge(&mut self, at: At<'_>, key: Key, out: &mut Vec<Finding>) {
        if self.announced(at) {
            // It is on record, and nobody is told.
            let quiet = self.new_edge_finding(at, key, false);
            out.push(Finding { severity: Severity::Informational, ..quiet });
            return;
        }
        let number = at.ns / DAY_NS;
        if self.day.number != number {
            self.day = Day { number, ..Day::default() };
        }
        self.day.new += 1;
        let capped = self.day.new > self.config.allowance;
        if self.day.new <= self.config.allowance + CAPPED_MAX {
            out.push(self.new_edge_finding(at, key, capped));
        } else {
            self.suppressed += 1;
        }
        let due = self.day.summed_ns.is_none_or(|last| at.ns.saturating_sub(last) >= HOUR_NS);
        if capped && due {
            self.day.summed_ns = Some(at.ns);
            out.push(self.sum_finding(at));
        }
    }

    fn new_edge_finding(&self, at: At<'_>, key: Key, capped: bool) -> Finding {
        let (caller, service, operation) = (caller(at.event), &at.event.target.svc, &at.event.core.op);
        let proved = at.event.who.who.as_ref().is_some_and(|p| p.verified >= Verified::Checked);
        Finding {
            // A name that anyone could have written may be new because somebody wrote it.
            confidence: if proved { 90 } else { 50 },
            severity: if capped { Severity::Informational } else { Severity::Medium },
            flags: if capped { vec![Flag::Capped] } else { Vec::new() },
            template: Cow::Borrowed(
                "{caller} called {operation} on {service} for the first time in {history}",
            ),
            values: vec![
                (
                    "caller".into(),
                    if caller.is_empty() { "an unidentified caller".to_owned() } else { caller.to_owned() },
                ),
                (
                    "operation".into(),
                    if operation.is_empty() { "an unnamed operation".to_owned() } else { operation.clone() },
                ),
                (
                    "service".into(),
                    if service.is_empty() { "an unnamed service".to_owned() } else { service.clone() },
                ),
                ("history".into(), span(self.config.history_ns)),
            ],
            query: edge_query(caller, service, operation),
            ..self.finding(&self.rule, at, key, at.event.clone())
        }
    }

    /// One finding for all that do not notify.
    fn sum_finding(&self, at: At<'_>) -> Finding {
        let key = first_half((self.hmac)(&[ID.as_bytes(), &self.day.number.to_be_bytes()].concat()));
        let doubt =
            if self.edges.saturated() { "; so many names were seen that new ones can be missed" } else { "" };
        Finding {
            template: Cow::Borrowed("{new} new edges today, more than the {allowance} that notify{doubt}"),
            values: vec![
                ("new".into(), self.day.new.to_string()),
                ("allowance".into(), self.config.allowance.to_string()),
                ("doubt".into(), doubt.to_owned()),
            ],
            query: format!("rec:finding label:{ID}"),
            ..self.finding(&self.sum_rule, at, key, nobody(at.event))
        }
    }

    /// The end of learning is on record.
    fn has_learned_finding(&self, at: At<'_>) -> Finding {
        let key = first_half((self.hmac)(ID.as_bytes()));
        let took = at.ns.saturating_sub(self.began_ns.unwrap_or(at.ns));
        Finding {
            severity: Severity::Informational,
            template: Cow::Borrowed(
                "learned {edges} edges from {events} events in {took}; from here on a new edge is a finding",
            ),
            values: vec![
                ("edges".into(), self.edges.len().to_string()),
                ("events".into(), self.events.to_string()),
                ("took".into(), span(took)),
            ],
            ..self.finding(&self.learned_rule, at, key, nobody(at.event))
        }
    }

    /// What all findings of this detector share.
    fn finding(&self, rule: &Rule, at: At<'_>, group: Key, subject: Event) -> Finding {
        let window = (signed(at.ns.saturating_sub(self.config.history_ns)), signed(at.ns));
        Finding {
            id: rule.finding_id(&self.hmac, &at.event.core.tenant, &group, at.index, window.0),
            revision: 1,
            state: FindingState::Open,
            severity: Severity::Medium,
            confidence: 90,
            flags: Vec::new(),
            window,
            decided_ns: at.ns,
            evidence: Evidence::one(at.index, at.event),
            rule: rule.clone(),
            template: Cow::Borrowed(""),
            values: Vec::new(),
            query: String::new(),
            subject: Box::new(subject),
        }
    }

    /// The keyed hash of an edge. Lengths stand before the names, so no two edges share the hashed bytes.
    fn key(&mut self, tenant: &str, caller: &str, service: &str, operation: &str) -> Key {
        self.scratch.clear();
        self.scratch.extend_from_slice(b"countersign-edge-v1");
        for name in [tenant, caller, service, operation] {
            let name = &name.as_bytes()[..name.len().min(NAME_MAX_BYTES)];
            self.scratch.extend_from_slice(&(name.len() as u16).to_be_bytes());
            self.scratch.extend_from_slice(name);
        }
        first_half((self.hmac)(&self.scratch))
    }
}

impl Detector for FirstSeen {
    fn id(&self) -> &'static str {
        ID
    }

    fn batch(&mut self, events: &[(u64, u64, &Event)]) -> Vec<Finding> {
        let mut out = Vec::new();
        for &(index, ns, event) in events {
            self.changes.see(self.keys, event, signed(ns));
            if FirstSeen::considers(event) {
                self.look(At { index, ns, event }, &mut out);
            }
        }
        out
    }

    fn save(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.bytes(&self.rule.hash);
        out.bool(self.began_ns.is_some());
        out.u64(self.began_ns.unwrap_or(0));
        out.u64(self.events);
        out.bool(self.learned);
        out.u64(self.unknown);
        out.u64(self.suppressed);
        out.u64(self.day.number);
        out.u64(self.day.new);
        out.bool(self.day.summed_ns.is_some());
        out.u64(self.day.summed_ns.unwrap_or(0));
        self.changes.write(&mut out);
        self.edges.write(&mut out);
        out.done()
    }

    fn load(&mut self, saved: &[u8]) -> bool {
        saved.is_empty() || self.read(&mut Reader::new(saved)).is_some()
    }
}

pub(crate) fn caller(event: &Event) -> &str {
    event.who.who.as_ref().map_or("", |p| p.id.as_str())
}

/// The evidence without anybody in it, for findings about the detector itself.
pub(crate) fn nobody(event: &Event) -> Event {
    let mut empty = Event::default();
    (empty.core.t_obs, empty.core.t_event) = (event.core.t_obs, event.core.t_event);
    (empty.core.t_basis, empty.core.tenant) = (event.core.t_basis, event.core.tenant.clone());
    empty
}

/// A filter (interface.md, section 9) for all events of an edge.
pub(crate) fn edge_query(caller: &str, service: &str, operation: &str) -> String {
    let term = |field: &str, value: &str| match value {
        "" => format!("-{field}:*"),
        value => format!("{field}:{}", quoted(value)),
    };
    [term("who", caller), term("service", service), term("op", operation)].join(" ")
}

/// A length of time in its largest whole unit.
pub(crate) fn span(ns: u64) -> String {
    for (unit, length) in [("d", DAY_NS), ("h", HOUR_NS), ("min", 60_000_000_000), ("s", 1_000_000_000)] {
        if ns >= length {
            return format!("{} {unit}", ns / length);
        }
    }
    format!("{} ms", ns / 1_000_000)
}
