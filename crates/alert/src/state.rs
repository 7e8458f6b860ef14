//! What becomes of an alert, as events: delivered, failed, dead, merged, inhibited, silenced, and what people say of
//! it. They go back into the ledger.

use crate::receiver::Withheld;
use countersign_event::cbor::Value;
use countersign_event::{
    Core, Event, Links, Outcome, Principal, PrincipalKind, Rec, StatusSpace, TimeBasis, Verified,
};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Gets each change of state as an event (rec platform, operation `alert.*`). Version, agent, stream, seq and
/// event id are the ledger's to fill in. Called from several threads; must not block for long.
pub type OnState = Box<dyn Fn(Event) + Send + Sync>;

/// Keys of `content.detail` of an `alert.*` event. Append only.
pub mod detail {
    /// Attempts made so far.
    pub const ATTEMPTS: u64 = 90;
    /// Id of the message, as in `webhook-id`.
    pub const MESSAGE: u64 = 91;
    /// Id of the silence.
    pub const SILENCE: u64 = 92;
    /// Fingerprint of the matter, or of the open parent of what was inhibited; hexadecimal.
    pub const FINGERPRINT: u64 = 93;
    /// A person's reason or note.
    pub const NOTE: u64 = 94;
    /// `true`, `false`, `benign` or `duplicate`.
    pub const ANSWER: u64 = 95;
    /// Id of the finding, hexadecimal.
    pub const FINDING: u64 = 96;
    /// When it ends, Unix ns.
    pub const ENDS: u64 = 97;
}

/// Most kinds of withheld findings told apart within a second.
const UNTOLD_MAX: usize = 1024;

/// Longest error text.
const ERROR_MAX_BYTES: usize = 512;

/// One change of state.
pub(crate) struct Change<'a> {
    pub(crate) operation: &'static str,
    pub(crate) receiver: &'a str,
    /// Event id of the finding.
    pub(crate) finding: Option<[u8; 16]>,
    pub(crate) message: &'a str,
    pub(crate) attempts: u32,
    pub(crate) status: Option<u16>,
    pub(crate) error: &'a str,
    /// How many alerts this stands for.
    pub(crate) count: u64,
}

impl Change<'_> {
    pub(crate) fn to_event(&self, now_ns: u64) -> Event {
        let mut event = Event {
            core: Core {
                t_obs: now_ns,
                t_event: i64::try_from(now_ns).ok(),
                t_basis: Some(TimeBasis::Measured),
                rec: Some(Rec::Platform),
                op: self.operation.to_owned(),
                outcome: Some(if self.error.is_empty() { Outcome::Success } else { Outcome::ServerError }),
                status: self.status.map(|s| (StatusSpace::Http, s.to_string())),
                route: self.receiver.to_owned(),
                n: (self.count > 1).then_some(self.count),
                ..Core::default()
            },
            links: Links { of: self.finding, ..Links::default() },
            ..Event::default()
        };
        event.content.err = crate::message::clip(self.error, ERROR_MAX_BYTES).to_owned();
        if self.attempts > 0 {
            event.content.detail.insert(detail::ATTEMPTS, Value::Uint(u64::from(self.attempts)));
        }
        if !self.message.is_empty() {
            event.content.detail.insert(detail::MESSAGE, self.message.into());
        }
        event
    }
}

/// What a person did, as an event: who in group 1, why in group 5.
pub(crate) fn by_person(
    operation: &str,
    by: &str,
    note: &str,
    pairs: Vec<(u64, Value)>,
    now_ns: u64,
) -> Event {
    let mut event = Change::new("", "").to_event(now_ns);
    event.core.op = operation.to_owned();
    event.who.who =
        Some(Principal { kind: Some(PrincipalKind::User), ..Principal::new(by, Verified::Claimed) });
    event.content.detail.extend(pairs);
    if !note.is_empty() {
        event.content.detail.insert(detail::NOTE, note.into());
    }
    event
}

/// Counts of findings that nobody was told of, until the ledger is: once a second, so a storm is not amplified.
#[derive(Default)]
pub(crate) struct Untold(Mutex<BTreeMap<(&'static str, String, String), u64>>);

impl Untold {
    /// One more; `by` is the silence, or the open parent.
    pub(crate) fn add(&self, why: Withheld, rule: &str, by: &str) {
        let operation = match why {
            Withheld::Merged => "alert.merged",
            Withheld::Inhibited => "alert.inhibited",
            Withheld::Silenced => "alert.silenced",
        };
        let mut untold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (operation, crate::message::clip(rule, 64).to_owned(), by.to_owned());
        if untold.len() >= UNTOLD_MAX && !untold.contains_key(&key) {
            key = (operation, String::new(), String::new());
        }
        *untold.entry(key).or_default() += 1;
    }

    /// All of them as events.
    pub(crate) fn take(&self, now_ns: u64) -> Vec<Event> {
        let untold = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let event = |((operation, rule, by), count): ((&'static str, String, String), u64)| {
            let mut event = Change { count, ..Change::new(operation, "") }.to_event(now_ns);
            event.core.labels = if rule.is_empty() { Vec::new() } else { vec![rule] };
            if !by.is_empty() {
                let key = if operation == "alert.silenced" { detail::SILENCE } else { detail::FINGERPRINT };
                event.content.detail.insert(key, by.as_str().into());
            }
            event
        };
        untold.into_iter().map(event).collect()
    }
}

impl<'a> Change<'a> {
    pub(crate) fn new(operation: &'static str, receiver: &'a str) -> Change<'a> {
        Change {
            operation,
            receiver,
            finding: None,
            message: "",
            attempts: 0,
            status: None,
            error: "",
            count: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_fits_an_event_and_counts_what_it_stands_for() {
        let error = "x".repeat(10_000);
        let change = Change {
            finding: Some([1; 16]),
            message: "msg_1",
            attempts: 3,
            status: Some(503),
            error: &error,
            count: 7,
            ..Change::new("alert.failed", "webhook-1")
        };
        let mut event = change.to_event(5);
        (event.core.agent, event.core.seq) = ("a".into(), 1);
        assert_eq!(Event::decode(&event.encode().unwrap()).unwrap(), event);
        assert_eq!((event.core.n, event.core.outcome), (Some(7), Some(Outcome::ServerError)));
        assert_eq!(Change::new("alert.delivered", "log").to_event(5).core.outcome, Some(Outcome::Success));
    }
}
