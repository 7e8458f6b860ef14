//! Findings about receivers: one that refuses messages for good is itself a matter, told by the routes like any other,
//! so that the news of it does not depend on it.

use crate::alerts::Inner;
use crate::message::{QUERY, RULE, VALUES};
use crate::receiver::{Fate, Receiver};
use countersign_event::cbor::Value;
use countersign_event::fields::sys;
use countersign_event::{Core, Event, FindingState, Rec, Severity, TimeBasis};

/// Rule id of these findings.
pub const RECEIVER_RULE: &str = "receiver-refuses";
/// `countersign_detect::detail::TEMPLATE`.
const TEMPLATE: u64 = 80;
/// How sure: it said so itself.
const CONFIDENCE: u64 = 100;
/// Longest reason, in bytes.
const WHY_MAX_BYTES: usize = 512;

/// Opens a finding at the first message that a receiver refuses for good, ends it at the next that it takes.
pub(crate) fn note(inner: &Inner, receiver: &Receiver, fate: &Fate) {
    match fate {
        Fate::Dead { why, .. } if receiver.begins_to_refuse(true) => {
            inner.tell_event(finding(inner, &receiver.name, FindingState::Open, why));
        }
        Fate::Delivered { .. } if receiver.begins_to_refuse(false) => {
            inner.tell_event(finding(inner, &receiver.name, FindingState::Resolved, "it takes them again"));
        }
        _ => {}
    }
}

fn finding(inner: &Inner, receiver: &str, state: FindingState, why: &str) -> Event {
    let now_ns = inner.now();
    let signed = i64::try_from(now_ns).unwrap_or(i64::MAX);
    let id = inner.seal.id(&[b"receiver", receiver.as_bytes(), &now_ns.to_be_bytes()]);
    let mut event = Event {
        core: Core {
            t_obs: now_ns,
            t_event: Some(signed),
            t_basis: Some(TimeBasis::Measured),
            rec: Some(Rec::Finding),
            labels: vec![RECEIVER_RULE.to_owned()],
            route: receiver.to_owned(),
            ..Core::default()
        },
        ..Event::default()
    };
    let fields = &mut event.core.sys;
    fields.insert(sys::finding::ID, Value::Bytes(id.to_vec()));
    fields.insert(sys::finding::REVISION, Value::Uint(1));
    fields.insert(sys::finding::STATE, Value::Uint(state.code()));
    fields.insert(sys::finding::SEVERITY, Value::Uint(Severity::High.code()));
    fields.insert(sys::finding::CONFIDENCE, Value::Uint(CONFIDENCE));
    let detail = &mut event.content.detail;
    let template = "receiver {source} refuses alerts: {why}; wrong if: it was told to refuse this one alone";
    detail.insert(RULE, RECEIVER_RULE.into());
    detail.insert(TEMPLATE, template.into());
    let why = crate::message::clip(why, WHY_MAX_BYTES);
    // Ascending by length, then by letter, as the encoding wants it.
    let values = vec![("why".into(), why.into()), ("source".into(), receiver.into())];
    detail.insert(VALUES, Value::Map(values));
    detail.insert(QUERY, format!("rec:platform op:alert.dead route:\"{receiver}\"").as_str().into());
    event
}
