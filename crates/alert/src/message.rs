//! What is sent: one finding as a Standard Webhooks body, and how it lies on disk until then.
//!
//! Invariants: at most [`BODY_MAX_BYTES`]; the id follows from finding and receiver, so it is the same over
//! retries, restarts and replays; every text in it is hostile and only ever a JSON string.

use crate::config::Explain;
use crate::seal::Seal;
use crate::time::rfc3339;
use countersign_event::fields::sys;
use countersign_event::{Event, FindingState, Rec, Severity};
use serde_json::{Value, json};

/// Largest body (Standard Webhooks recommends 20 KB).
pub(crate) const BODY_MAX_BYTES: usize = 20_000;
/// Longest text in a body: the first of these with which the body fits.
const TEXT_MAX_BYTES: [usize; 3] = [1024, 256, 64];
/// Where a finding keeps its rule's id: `countersign_detect::detail::RULE`.
const RULE: u64 = 70;
/// Where a finding keeps the filter that shows its evidence: `countersign_detect::detail::QUERY`.
const QUERY: u64 = 82;
/// Marks on a finding that nobody is told of: learning, historical, capped.
const MUTED: [u64; 3] = [1, 3, 5];

/// A finding that somebody is to be told of.
pub(crate) struct Alert<'e> {
    pub(crate) event: &'e Event,
    /// Ledger index of the finding itself.
    pub(crate) index: u64,
    pub(crate) rule: &'e str,
    pub(crate) severity: Severity,
}

/// A message as it waits: what the record of its fate needs, and the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Event id of the finding; all zero for a sum.
    pub(crate) finding: [u8; 16],
    /// Ledger index of the finding.
    pub(crate) index: u64,
    /// Attempts made before it was given up.
    pub(crate) attempts: u32,
    /// Why it was given up; empty while it waits.
    pub(crate) why: String,
    pub(crate) body: Vec<u8>,
}

impl<'e> Alert<'e> {
    /// `None` for what nobody is told of: other events, informational findings, learning, history, and what
    /// is beyond a detector's allowance.
    pub(crate) fn of(event: &'e Event, index: u64) -> Option<Alert<'e>> {
        if event.core.rec != Some(Rec::Finding) {
            return None;
        }
        let number = |key: u64| event.core.sys.get(&key).and_then(|v| v.as_uint());
        let severity = Severity::from_code(number(sys::finding::SEVERITY)?)?;
        let flags = event.core.sys.get(&sys::finding::FLAGS).and_then(|v| v.as_array()).unwrap_or_default();
        let muted = flags.iter().any(|f| f.as_uint().is_some_and(|f| MUTED.contains(&f)));
        if muted || severity == Severity::Informational {
            return None;
        }
        let rule = event.content.detail.get(&RULE).and_then(|v| v.as_text());
        let rule = rule.or(event.core.labels.first().map(String::as_str)).unwrap_or("unnamed");
        Some(Alert { event, index, rule, severity })
    }

    /// What makes two findings the same matter: tenant, rule, identity, edge and state; never a time.
    pub(crate) fn fingerprint(&self, seal: &Seal) -> [u8; 16] {
        let core = &self.event.core;
        let state = self.event.core.sys.get(&sys::finding::STATE).and_then(|v| v.as_uint()).unwrap_or(0);
        seal.id(&[
            b"fingerprint",
            core.tenant.as_bytes(),
            self.rule.as_bytes(),
            self.caller().0.as_bytes(),
            self.event.target.svc.as_bytes(),
            core.op.as_bytes(),
            &state.to_be_bytes(),
        ])
    }

    /// The message's id at one receiver.
    pub(crate) fn id(&self, seal: &Seal, receiver: &str) -> String {
        message_id(seal, &[b"finding", receiver.as_bytes(), &self.event.core.eid])
    }

    fn caller(&self) -> (&str, u64) {
        self.event.who.who.as_ref().map_or(("", 0), |p| (p.id.as_str(), p.verified.code()))
    }

    /// The body: `{type, timestamp, data}`.
    pub(crate) fn body(&self, link: &str, explain: Option<Explain>, repeats: u64, now_ns: u64) -> Vec<u8> {
        let mut body = Vec::new();
        for max in TEXT_MAX_BYTES {
            body = self.json(link, explain, repeats, now_ns, max).to_string().into_bytes();
            if body.len() <= BODY_MAX_BYTES {
                break;
            }
        }
        body
    }

    fn json(&self, link: &str, explain: Option<Explain>, repeats: u64, now_ns: u64, max: usize) -> Value {
        let event = self.event;
        let (core, target) = (&event.core, &event.target);
        let number = |key: u64| core.sys.get(&key).and_then(|v| v.as_uint());
        let state = number(sys::finding::STATE).and_then(FindingState::from_code);
        let evidence =
            core.sys.get(&sys::finding::EVIDENCE).and_then(|v| v.as_array()).and_then(|a| a.first());
        let caller = event.who.who.as_ref().map(|p| {
            json!({
                "id": clip(&p.id, max),
                "verified": p.verified.code(),
                "auth": p.auth.map(|a| a.word()),
                "name": clip(&p.name, max),
            })
        });
        let explanation = explain.and_then(|explain| explain(event));
        let finding = core.sys.get(&sys::finding::ID).and_then(|v| v.as_bytes()).map(hex);
        let state = state.map_or("open", FindingState::word);
        let at =
            if link.is_empty() { None } else { Some(format!("{}/events/{}", clip(link, 512), self.index)) };
        json!({
            "type": format!("countersign.finding.{state}"),
            "timestamp": rfc3339(now_ns),
            "data": {
                "finding": finding,
                "revision": number(sys::finding::REVISION),
                "state": state,
                "severity": self.severity.word(),
                "confidence": number(sys::finding::CONFIDENCE),
                "rule": clip(self.rule, max),
                "explanation": explanation.as_deref().map(|e| clip(e, max)),
                "tenant": clip(&core.tenant, max),
                "who": caller,
                "service": clip(&target.svc, max),
                "operation": clip(&core.op, max),
                "resource": clip(&target.res, max),
                "index": self.index,
                "evidence": evidence.and_then(|v| v.as_uint()),
                "query": event.content.detail.get(&QUERY).and_then(|v| v.as_text()).map(|q| clip(q, max)),
                "repeats": repeats,
                "link": at,
            },
        })
    }
}

/// The body of the sum of what came while a queue was full.
pub(crate) fn summary(count: u64, first: u64, last: u64, now_ns: u64) -> Vec<u8> {
    let body = json!({
        "type": "countersign.alert.summary",
        "timestamp": rfc3339(now_ns),
        "data": {
            "explanation": format!("{count} findings came while the queue was full; they are in the ledger"),
            "count": count, "first_index": first, "last_index": last,
        },
    });
    body.to_string().into_bytes()
}

/// `msg_` and 32 hex digits.
pub(crate) fn message_id(seal: &Seal, parts: &[&[u8]]) -> String {
    format!("msg_{}", hex(&seal.id(parts)))
}

impl Stored {
    const VERSION: u8 = 1;

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let why = clip(&self.why, 512).as_bytes();
        let mut out = vec![Self::VERSION];
        out.extend_from_slice(&self.finding);
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.attempts.to_be_bytes());
        out.extend_from_slice(&(why.len() as u16).to_be_bytes());
        out.extend_from_slice(why);
        out.extend_from_slice(&self.body);
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Stored> {
        let (version, rest) = bytes.split_first()?;
        let (finding, rest) = rest.split_first_chunk::<16>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let (attempts, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (why, body) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        (*version == Self::VERSION).then_some(Stored {
            finding: *finding,
            index: u64::from_be_bytes(*index),
            attempts: u32::from_be_bytes(*attempts),
            why: std::str::from_utf8(why).ok()?.to_owned(),
            body: body.to_vec(),
        })
    }

    pub(crate) fn finding(&self) -> Option<[u8; 16]> {
        (self.finding != [0; 16]).then_some(self.finding)
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

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stored_messages_round_trip(finding in any::<[u8; 16]>(), index in any::<u64>(), attempts in any::<u32>(), why in ".{0,90}", body in proptest::collection::vec(any::<u8>(), 0..90)) {
            let stored = Stored { finding, index, attempts, why, body };
            prop_assert_eq!(Stored::from_bytes(&stored.to_bytes()), Some(stored));
        }
    }
}
