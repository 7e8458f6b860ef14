//! A finding: what a detector saw, with the evidence and the numbers; and its form as an event.
//!
//! Invariants (detect.md, "Finding record"): the id is a pure function of tenant, rule, group and evidence, so a
//! replay gives the same one; names stand only in groups 1 to 3 and 5, copied from the evidence, so
//! withholding a group hides both alike; `sys` and labels hold no name.

use crate::{AGENT, Hmac};
use countersign_event::cbor::Value;
use countersign_event::fields::sys;
use countersign_event::{Core, Event, FindingState, KeyedMap, Links, Rec, Severity, TimeBasis, import_eid};
use std::borrow::Cow;

/// Most ledger indices listed as evidence.
const EVIDENCE_MAX: usize = 20;
/// Longest value of an explanation, in bytes.
const VALUE_MAX_BYTES: usize = 1024;

/// Keys of a finding's `content.detail`. They begin at 64, since the evidence's kind is kept and the keys below
/// are its own. Append only.
pub mod detail {
    /// Ledger indices of the evidence, at most 20: the first 10 and the last 10.
    pub const EVIDENCE: u64 = 64;
    /// Exact number of events that are evidence.
    pub const COUNT: u64 = 65;
    /// `[a, b)`: the range of the ledger that holds the evidence.
    pub const RANGE: u64 = 66;
    /// Size of the ledger at the decision.
    pub const TREE_SIZE: u64 = 67;
    /// Rule id.
    pub const RULE: u64 = 70;
    /// Rule version.
    pub const RULE_VERSION: u64 = 71;
    /// SHA-256 of the rule with its parameters.
    pub const RULE_HASH: u64 = 72;
    /// Parameters used: name to value.
    pub const PARAMETERS: u64 = 76;
    /// Template of the explanation; `{name}` stands for a value.
    pub const TEMPLATE: u64 = 80;
    /// Values of the explanation: name to text, as on the wire; escape when rendering.
    pub const VALUES: u64 = 81;
    /// Filter that shows the evidence.
    pub const QUERY: u64 = 82;
}

/// Marks on a finding. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// Made while learning.
    Learning = 1,
    /// From an event behind the watermark.
    Late = 2,
    /// From imported history.
    Historical = 3,
    /// The baseline was learned during another open finding.
    Suspect = 4,
    /// Beyond the day's allowance: recorded, not notified.
    Capped = 5,
    /// Two independent detectors agree.
    Combined = 6,
}

/// The rule that fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Id: `first-seen-edge`.
    pub id: Cow<'static, str>,
    /// Version of its algorithm.
    pub version: &'static str,
    /// SHA-256 of id, version and parameters.
    pub hash: [u8; 32],
    /// Parameters by name.
    pub parameters: Vec<(&'static str, String)>,
}

/// The events that a finding rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Ledger indices, ascending, at most 20.
    pub indices: Vec<u64>,
    /// How many there are in all.
    pub count: u64,
    /// First index.
    pub first: u64,
    /// Last index.
    pub last: u64,
    /// Event id of the first.
    pub eid: [u8; 16],
}

/// What a detector says. [`Finding::to_event`] gives the record of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The same on every replay.
    pub id: [u8; 16],
    /// 1, 2, …
    pub revision: u64,
    /// Open, updated or resolved.
    pub state: FindingState,
    /// How grave.
    pub severity: Severity,
    /// How sure, 0 to 100.
    pub confidence: u8,
    /// Ascending, no duplicates.
    pub flags: Vec<Flag>,
    /// What was looked at, ledger time in ns.
    pub window: (i64, i64),
    /// Ledger time of the decision, ns.
    pub decided_ns: u64,
    /// What it rests on.
    pub evidence: Evidence,
    /// What fired.
    pub rule: Rule,
    /// Explanation with `{name}` for values.
    pub template: Cow<'static, str>,
    /// Values by name, as on the wire.
    pub values: Vec<(Cow<'static, str>, String)>,
    /// Filter that shows the evidence.
    pub query: String,
    /// Whom and what it is about: groups 1 to 3 and some of core, copied from the evidence.
    pub subject: Box<Event>,
}

impl Rule {
    /// A rule with the hash of what it consists of.
    pub fn new(id: &'static str, version: &'static str, parameters: Vec<(&'static str, String)>) -> Rule {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(b"countersign-rule-v1");
        let texts = parameters.iter().flat_map(|(name, value)| [*name, value.as_str()]);
        for text in [id, version].into_iter().chain(texts) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Rule { id: Cow::Borrowed(id), version, hash: hash.finalize().into(), parameters }
    }

    /// The id of this rule's finding about `group` (detect.md, "Finding record"; decision).
    ///
    /// Tenant and rule id stand side by side without a length: the key is the tenant's own, and all that
    /// follows has a fixed length, so no two findings share the hashed bytes.
    pub fn finding_id(
        &self,
        hmac: &Hmac,
        tenant: &str,
        group: &[u8; 16],
        first: u64,
        window: i64,
    ) -> [u8; 16] {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(b"countersign-finding-v1");
        bytes.extend_from_slice(tenant.as_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(group);
        bytes.extend_from_slice(&first.to_be_bytes());
        bytes.extend_from_slice(&window.to_be_bytes());
        first_half(hmac(&bytes))
    }
}

impl Evidence {
    /// One event.
    pub fn one(index: u64, event: &Event) -> Evidence {
        Evidence { indices: vec![index], count: 1, first: index, last: index, eid: event.core.eid }
    }
}

impl Finding {
    /// Whether somebody should be told: not while learning, not beyond the day's allowance, not for history.
    pub fn notifies(&self) -> bool {
        let muted = |f: &Flag| matches!(f, Flag::Learning | Flag::Capped | Flag::Historical);
        self.severity != Severity::Informational && !self.flags.iter().any(muted)
    }

    /// The record of this finding. Its eid follows from id and revision, so a replayed finding is dropped as
    /// a duplicate; seq and stream are the ledger's.
    pub fn to_event(&self) -> Event {
        let mut source_id = self.id.to_vec();
        source_id.extend_from_slice(&self.revision.to_be_bytes());
        let subject = &self.subject;
        let mut event = Event {
            who: subject.who.clone(),
            peer: subject.peer.clone(),
            target: subject.target.clone(),
            links: Links { of: Some(self.evidence.eid), ..Links::default() },
            core: Core {
                eid: import_eid(AGENT, &source_id),
                agent: AGENT.to_owned(),
                t_obs: self.decided_ns,
                t_event: Some(subject.core.t_event.unwrap_or_else(|| signed(subject.core.t_obs))),
                t_basis: Some(subject.core.t_basis.unwrap_or(TimeBasis::Measured)),
                rec: Some(Rec::Finding),
                kind: subject.core.kind,
                proto: subject.core.proto.clone(),
                op: subject.core.op.clone(),
                class: subject.core.class,
                labels: vec![self.rule.id.to_string()],
                tenant: subject.core.tenant.clone(),
                route: subject.core.route.clone(),
                sys: self.sys(),
                ..Core::default()
            },
            ..Event::default()
        };
        event.content.detail = self.detail();
        event
    }

    fn sys(&self) -> KeyedMap {
        let mut map = KeyedMap::new();
        map.insert(sys::finding::ID, Value::Bytes(self.id.to_vec()));
        map.insert(sys::finding::REVISION, Value::Uint(self.revision));
        map.insert(sys::finding::STATE, Value::Uint(self.state.code()));
        map.insert(sys::finding::SEVERITY, Value::Uint(self.severity.code()));
        map.insert(sys::finding::CONFIDENCE, Value::Uint(u64::from(self.confidence.min(100))));
        map.insert(sys::finding::WINDOW, Value::Array(vec![self.window.0.into(), self.window.1.into()]));
        let evidence = vec![self.evidence.first.into(), self.evidence.last.into()];
        map.insert(sys::finding::EVIDENCE, Value::Array(evidence));
        map.insert(sys::finding::WATERMARK, signed(self.decided_ns).into());
        if !self.flags.is_empty() {
            let flags = self.flags.iter().map(|f| Value::Uint(*f as u64)).collect();
            map.insert(sys::finding::FLAGS, Value::Array(flags));
        }
        map
    }

    fn detail(&self) -> KeyedMap {
        let mut map = KeyedMap::new();
        let indices = self.evidence.indices.iter().take(EVIDENCE_MAX).map(|i| Value::Uint(*i)).collect();
        map.insert(detail::EVIDENCE, Value::Array(indices));
        map.insert(detail::COUNT, Value::Uint(self.evidence.count));
        let end = self.evidence.last.saturating_add(1);
        map.insert(detail::RANGE, Value::Array(vec![self.evidence.first.into(), end.into()]));
        map.insert(detail::TREE_SIZE, Value::Uint(end));
        map.insert(detail::RULE, self.rule.id.as_ref().into());
        map.insert(detail::RULE_VERSION, self.rule.version.into());
        map.insert(detail::RULE_HASH, Value::Bytes(self.rule.hash.to_vec()));
        insert_texts(
            &mut map,
            detail::PARAMETERS,
            self.rule.parameters.iter().map(|(n, v)| (*n, v.as_str())),
        );
        map.insert(detail::TEMPLATE, self.template.as_ref().into());
        insert_texts(&mut map, detail::VALUES, self.values.iter().map(|(n, v)| (n.as_ref(), v.as_str())));
        if !self.query.is_empty() {
            map.insert(detail::QUERY, self.query.as_str().into());
        }
        map
    }
}

/// A map of texts; empty ones are left out, as nothing empty is ever written.
fn insert_texts<'t>(map: &mut KeyedMap, key: u64, texts: impl Iterator<Item = (&'t str, &'t str)>) {
    let mut texts: Vec<_> = texts.filter(|(_, text)| !text.is_empty()).collect();
    // In the order of the encoding, so that the event compares equal to its decoded twin.
    texts.sort_by_key(|(name, _)| (name.len(), *name));
    let pairs: Vec<_> =
        texts.into_iter().map(|(name, text)| (name.into(), clip(text, VALUE_MAX_BYTES).into())).collect();
    if !pairs.is_empty() {
        map.insert(key, Value::Map(pairs));
    }
}

/// The first `max` bytes of `text`, cut at a character's border.
pub(crate) fn clip(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

pub(crate) fn first_half(hash: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

pub(crate) fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}
