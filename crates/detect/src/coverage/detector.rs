//! The detector: events and witnesses in ledger order, blind spots out.

use super::expected::Expected;
use super::legs::Legs;
use super::names::Names;
use super::numbers::Numbers;
use super::observed::{self, EDGES_MAX, Edge, Observed};
use super::shadow::Shadows;
use super::spots::{QUIET_NS, Said, Spot, SpotKey, Spots};
use super::witnessed::{Decided, GRACE_NS, Origin, Verdict, Witnessed};
use crate::finding::{Finding, Flag, Rule, first_half, signed};
use crate::{Detector, Hmac, quoted};
use countersign_event::witness::{Report, from_event};
use countersign_event::{Endpoint, Event, FindingState, Principal, Rec, Severity, Verified};
use std::borrow::Cow;
use std::sync::Arc;

pub(super) const ID: &str = "coverage";
const VERSION: &str = "1";
const DAY_NS: u64 = 86_400_000_000_000;

/// Parameters; all of them stand in each finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageConfig {
    /// Findings a day (UTC) and rule that notify; the rest is recorded and does not.
    pub allowance: u64,
    /// Edges kept, at most [`EDGES_MAX`].
    pub edges_max: usize,
}

impl Default for CoverageConfig {
    fn default() -> CoverageConfig {
        CoverageConfig { allowance: 20, edges_max: EDGES_MAX }
    }
}

/// See the module.
pub struct Coverage {
    pub(super) config: CoverageConfig,
    pub(super) hmac: Hmac,
    pub(super) expected: Arc<Expected>,
    pub(super) shadows: Shadows,
    blind_rule: Rule,
    pub(super) shadow_rule: Rule,
    pub(super) legs: Legs,
    pub(super) names: Names,
    pub(super) numbers: Numbers,
    pub(super) observed: Observed,
    pub(super) spots: Spots,
    pub(super) witnessed: Witnessed,
    pub(super) now_ns: u64,
    /// Number of the day, findings of it.
    pub(super) day: (u64, u64),
    /// Entries of witness events that could not be read.
    pub(super) malformed: u64,
}

/// One committed event.
#[derive(Clone, Copy)]
pub(super) struct At<'e> {
    pub(super) index: u64,
    pub(super) ns: u64,
    pub(super) event: &'e Event,
}

impl Coverage {
    /// A detector that has seen nothing.
    /// `expected`: what should call what; empty = nothing is known of that, and nothing is a shadow.
    pub fn new(config: CoverageConfig, expected: Arc<Expected>, hmac: Hmac) -> Coverage {
        let parameters = vec![
            ("grace_ns", GRACE_NS.to_string()),
            ("quiet_ns", QUIET_NS.to_string()),
            ("allowance", config.allowance.to_string()),
        ];
        Coverage {
            blind_rule: Rule::new("coverage.blind-spot", VERSION, parameters),
            shadow_rule: super::shadow::rule(config.allowance),
            legs: Legs::default(),
            names: Names::default(),
            numbers: Numbers::default(),
            observed: Observed::new(config.edges_max),
            spots: Spots::default(),
            witnessed: Witnessed::default(),
            now_ns: 0,
            day: (0, 0),
            malformed: 0,
            shadows: Shadows::default(),
            expected,
            config,
            hmac,
        }
    }

    fn look(&mut self, at: At<'_>, out: &mut Vec<Finding>) {
        self.now_ns = self.now_ns.max(at.ns);
        for decided in self.witnessed.turn(self.now_ns, self.legs.horizon_ns()) {
            self.decided(at, &decided, out);
        }
        for key in self.spots.turn(self.now_ns) {
            self.say(at, &key, Said::Quiet, out);
        }
        if let Some(report) = from_event(at.event) {
            self.witness(at, report, out);
            return;
        }
        if observed::is_call(at.event) {
            let understood = !matches!(at.event.core.rec, Some(Rec::Opaque | Rec::Cut));
            self.numbers.call(self.now_ns, at.event.core.n.unwrap_or(1), understood);
            self.names.see(at.event);
            if self.observed.see(at.event, at.index, self.now_ns) && !self.expected.is_empty() {
                out.extend(self.shadow(at, &Edge::of(at.event)));
            }
        }
        if let Some(leg) = Legs::of(at.event) {
            self.legs.see(leg, self.now_ns);
            for decided in self.witnessed.told(leg) {
                self.decided(at, &decided, out);
            }
        }
    }

    fn witness(&mut self, at: At<'_>, report: Report, out: &mut Vec<Finding>) {
        let Report { witness, began, open, ended, unlisted, malformed } = report;
        self.malformed = self.malformed.saturating_add(malformed);
        self.witnessed.unheld = self.witnessed.unheld.saturating_add(unlisted);
        let (tenant, agent) = (at.event.core.tenant.clone(), at.event.core.agent.clone());
        let origin = Arc::new(Origin { tenant, agent, witness: witness.clone() });
        let mut decided = Vec::new();
        if began {
            decided.extend(self.witnessed.began(&origin, &open));
        }
        // What was not there at the witness's last look was opened after it.
        let before = self.witnessed.alive.get(&witness).copied().filter(|_| !began).unwrap_or(0);
        let place = (at.index, at.event.core.eid);
        for connection in open {
            let key = (origin.clone(), connection);
            decided.extend(self.witnessed.open(key, place, (self.now_ns, before), &self.legs));
        }
        for connection in ended {
            decided.extend(self.witnessed.end((origin.clone(), connection)));
        }
        self.witnessed.heard(witness, self.now_ns);
        for decided in decided {
            self.decided(at, &decided, out);
        }
    }

    fn decided(&mut self, at: At<'_>, decided: &Decided, out: &mut Vec<Finding>) {
        let Some(after) = decided.held.verdict else { return };
        if decided.before != Some(after) {
            self.numbers.verdict(self.now_ns, decided.before, after, decided.held.bytes);
        }
        if after != Verdict::Untold && decided.before != Some(Verdict::Untold) {
            return;
        }
        let (names, rule, hmac, now_ns) = (&self.names, &self.blind_rule, &self.hmac, self.now_ns);
        let (origin, connection) = &decided.key;
        let fresh = |key: &SpotKey| {
            let id = rule.finding_id(hmac, &origin.tenant, &group(hmac, key), decided.held.index, 0);
            Spot {
                witness: key.1.clone(),
                src: connection.src,
                dst: connection.dst,
                proto: connection.proto.clone(),
                user: connection.user.clone(),
                app: connection.app.clone(),
                caller: names.caller(connection.src).to_owned(),
                callee: names.callee(connection.dst).to_owned(),
                since_ns: decided.held.first_ns,
                last_ns: now_ns,
                connections: 0,
                open: 0,
                bytes: 0,
                finding: id.iter().map(|byte| format!("{byte:02x}")).collect(),
                id,
                revision: 0,
                capped: false,
                agent: origin.agent.clone(),
                first: (decided.held.index, decided.held.eid),
                early: Vec::new(),
                late: Vec::new(),
            }
        };
        if let Some((key, said)) = self.spots.take(decided, now_ns, fresh) {
            self.say(at, &key, said, out);
        }
    }

    /// The finding of a blind spot, or what became of it.
    fn say(&mut self, at: At<'_>, key: &SpotKey, said: Said, out: &mut Vec<Finding>) {
        let (day, allowance) = (self.now_ns / DAY_NS, self.config.allowance);
        if self.day.0 != day {
            self.day = (day, 0);
        }
        let over = matches!(said, Said::Told | Said::Quiet);
        let spot = if over { self.spots.open.remove(key) } else { self.spots.open.get(key).cloned() };
        let Some(mut spot) = spot else { return };
        spot.revision += 1;
        if said == Said::Opened {
            self.day.1 += 1;
            spot.capped = self.day.1 > allowance;
        }
        out.push(self.finding(at, &key.0, &spot, said));
        if !over {
            self.spots.open.insert(key.clone(), spot);
        }
    }

    fn finding(&self, at: At<'_>, tenant: &str, spot: &Spot, said: Said) -> Finding {
        let (state, template) = match said {
            Said::Opened => (FindingState::Open, OPENED),
            Said::More => (FindingState::Updated, OPENED),
            Said::Told => (FindingState::Resolved, TOLD),
            Said::Quiet => (FindingState::Resolved, QUIET),
        };
        let agent = quoted(&spot.agent);
        Finding {
            id: spot.id,
            revision: spot.revision,
            state,
            severity: if spot.capped { Severity::Informational } else { Severity::High },
            confidence: 90,
            flags: if spot.capped { vec![Flag::Capped] } else { Vec::new() },
            window: (signed(spot.since_ns), signed(self.now_ns)),
            decided_ns: self.now_ns,
            evidence: spot.evidence(),
            rule: self.blind_rule.clone(),
            template: Cow::Borrowed(template),
            values: values(spot),
            query: format!("agent:{agent} op:{}", countersign_event::witness::OPERATION),
            subject: Box::new(subject(at.event, tenant, spot)),
        }
    }
}

const OPENED: &str = "{source} has reached {target} over {connections} connections since {since} and no event tells of \
     them: {witness} saw {bytes} bytes; wrong if: {source} is a gateway that is not named as one, or the connections \
     have been idle since before the ledger began";
const TOLD: &str = "events now tell of the connections from {source} to {target} that {witness} saw since {since}; \
     wrong if: another connection had the same addresses and ports";
const QUIET: &str = "no connection from {source} to {target} for an hour: {connections} went unrecorded since {since}, \
     {witness} saw {bytes} bytes; wrong if: connections shorter than the interval of {witness} are not seen by it";

fn values(spot: &Spot) -> Vec<(Cow<'static, str>, String)> {
    let source = match spot.src {
        Some(ip) => ip.to_string(),
        None => "a socket on its own machine".to_owned(),
    };
    let known = [("of the same address as", &spot.caller), ("as", &spot.user), ("calling itself", &spot.app)];
    let known: Vec<String> = known
        .iter()
        .filter(|(_, name)| !name.is_empty())
        .map(|(how, name)| format!("{how} {name}"))
        .collect();
    let source = if known.is_empty() { source } else { format!("{source} ({})", known.join(", ")) };
    let target =
        if spot.callee.is_empty() { spot.dst.to_string() } else { format!("{} ({})", spot.dst, spot.callee) };
    let bytes =
        if spot.bytes > 0 { format!("at least {}", spot.bytes) } else { "an unknown number of".to_owned() };
    vec![
        ("source".into(), source),
        ("target".into(), target),
        ("connections".into(), spot.connections.to_string()),
        ("since".into(), time(spot.since_ns)),
        ("witness".into(), spot.witness.clone()),
        ("bytes".into(), bytes),
    ]
}

/// Whom it is about: both addresses, and the caller by its address, claimed.
fn subject(event: &Event, tenant: &str, spot: &Spot) -> Event {
    let mut subject = Event::default();
    (subject.core.t_obs, subject.core.eid) = (event.core.t_obs, spot.first.1);
    (subject.core.t_event, subject.core.t_basis) = (event.core.t_event, event.core.t_basis);
    tenant.clone_into(&mut subject.core.tenant);
    if let Some(ip) = spot.src {
        subject.who.who = Some(Principal::new(format!("addr:{ip}"), Verified::Claimed));
    }
    let end = |ip, port| Some(Endpoint { ip, port, ..Endpoint::default() });
    subject.peer.src = spot.src.and_then(|ip| end(Some(ip), None));
    subject.peer.dst = end(Some(spot.dst.ip()), Some(spot.dst.port()));
    spot.callee.clone_into(&mut subject.target.svc);
    subject
}

/// A keyed hash of what tells the spot from others; lengths stand before the names.
fn group(hmac: &Hmac, (tenant, witness, src, dst, user): &SpotKey) -> [u8; 16] {
    let mut bytes = b"countersign-blind-spot-v1".to_vec();
    let ends = format!("{src:?} {dst}");
    for part in [tenant, witness, &ends, user] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    first_half(hmac(&bytes))
}

/// UTC, to the second.
pub(crate) fn time(ns: u64) -> String {
    let seconds = i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("{ns} ns"), |at| at.to_string())
}

impl Detector for Coverage {
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

    fn reports(&self) -> Vec<(&'static str, serde_json::Value)> {
        // A report is numbers and texts: it always is a value.
        vec![("coverage", serde_json::to_value(self.report()).unwrap_or_default())]
    }

    fn save(&self) -> Vec<u8> {
        super::save::write(self)
    }

    fn load(&mut self, saved: &[u8]) -> bool {
        super::save::read(self, saved)
    }

    fn wake_ns(&self) -> Option<u64> {
        self.witnessed.due_ns()
    }
}
