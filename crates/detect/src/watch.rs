//! What watchers of machine behaviour share: how one sees a call, and how it says what it found.
//!
//! A watcher is one file in `watchers/` that implements [`Watcher`]; `Baselines` (`baselines.rs`) runs them all and adds
//! what none of them does for itself: the clock, the keys of names, learning, the day's allowance, the cap of severity,
//! agreement of two, ids. Invariants: a watcher sees each event once in ledger order and time only as it is told; state
//! is in a [`Table`], bounded; what it says rests on numbers that it names.

pub(crate) mod keys;
pub(crate) mod matter;
pub(crate) mod opened;
pub(crate) mod table;

use crate::bytes::{Reader, Writer};
use crate::clock::Timely;
use crate::finding::Evidence;
use countersign_event::{Event, FindingState, Rec, Severity, Verified};
use std::borrow::Cow;

pub(crate) use keys::{Key, Keys};
pub(crate) use matter::{Matters, Said};
pub(crate) use opened::Opened;
pub(crate) use table::{Standing, Table};

/// One committed event, with what all watchers ask about it.
#[derive(Clone, Copy)]
pub(crate) struct Call<'e> {
    pub(crate) index: u64,
    pub(crate) ledger_ns: u64,
    /// Its end, event time, ns.
    pub(crate) at_ns: i64,
    /// No event before that is waited for, ns.
    #[allow(dead_code, reason = "part of what every watcher is told, whoever needs it")]
    pub(crate) watermark_ns: i64,
    pub(crate) timely: Timely,
    pub(crate) event: &'e Event,
    /// Interactions folded into it, at least 1.
    pub(crate) weight: u64,
    /// It is a call (or its intent, or one that could not be parsed), not a record of the platform.
    pub(crate) is_call: bool,
    /// The caller by its id, else by its address.
    pub(crate) who: Key,
    /// The caller's peer group: its service, over all its replicas.
    pub(crate) group: Key,
    /// The service called.
    pub(crate) service: Key,
    /// Peer group → service called.
    pub(crate) edge: Key,
    /// The operation on it: service, verb and resource template.
    pub(crate) route: Key,
    /// The observer that recorded it.
    pub(crate) source: Key,
    /// The peer group has not been seen long or often enough to say what is normal for it.
    pub(crate) learning: bool,
    /// A change of the caller's or the called service was announced for now.
    pub(crate) changing: bool,
    /// Makes keys of further names; kinds of names from 16 on are free, each watcher its own.
    pub(crate) keys: Keys,
}

/// What a watcher says; [`crate::baselines`] makes the finding of it.
pub(crate) struct Draft {
    /// What it is about: one finding is open at a time for it.
    pub(crate) about: Key,
    pub(crate) state: FindingState,
    /// 1 for the first; an update or resolution counts on.
    pub(crate) revision: u64,
    /// Start and end of what was looked at, event time, ns. The start, and the evidence's first index, name the finding:
    /// keep both for its updates and its resolution.
    pub(crate) window: (i64, i64),
    pub(crate) severity: Severity,
    /// 0 to 100.
    pub(crate) confidence: u8,
    pub(crate) evidence: Evidence,
    /// One sentence, `{name}` for values; ends with "; wrong if: …".
    pub(crate) template: Cow<'static, str>,
    pub(crate) values: Vec<(&'static str, String)>,
    /// Filter that shows the evidence (`crate::first_seen::edge_query` makes one of an edge).
    pub(crate) query: String,
    /// Whom it is about: groups 1 to 3 are copied from it (`crate::first_seen::nobody` = nobody's).
    pub(crate) subject: Box<Event>,
}

impl Draft {
    /// A first one about `call` alone, severity medium, confidence 60.
    #[cfg(test)]
    pub(crate) fn of(call: &Call<'_>, about: Key, template: &'static str) -> Draft {
        Draft {
            about,
            state: FindingState::Open,
            revision: 1,
            window: (call.at_ns, call.at_ns),
            severity: Severity::Medium,
            confidence: 60,
            evidence: Evidence::one(call.index, call.event),
            template: Cow::Borrowed(template),
            values: Vec::new(),
            query: call.query(),
            subject: Box::new(call.event.clone()),
        }
    }

    /// With a value of the sentence.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Draft {
        self.values.push((name, value.into()));
        self
    }

    /// With several.
    pub(crate) fn and<const N: usize>(mut self, values: [(&'static str, String); N]) -> Draft {
        self.values.extend(values);
        self
    }
}

/// A name for a caller: its id, else its address.
impl Call<'_> {
    pub(crate) fn caller_name(&self) -> String {
        caller_name(self.event)
    }

    /// The caller's peer group.
    pub(crate) fn group_name(&self) -> String {
        group_name(self.event).into_owned()
    }

    pub(crate) fn service_name(&self) -> String {
        or(&self.event.target.svc, "an unnamed service")
    }

    pub(crate) fn operation_name(&self) -> String {
        or(&self.event.core.op, "an unnamed operation")
    }

    /// Whether the caller's name was proved, not claimed.
    pub(crate) fn proved(&self) -> bool {
        self.event.who.who.as_ref().is_some_and(|p| p.verified >= Verified::Checked)
    }

    /// A filter for the events of this caller, service and operation.
    #[cfg(test)]
    pub(crate) fn query(&self) -> String {
        let event = self.event;
        crate::first_seen::edge_query(crate::first_seen::caller(event), &event.target.svc, &event.core.op)
    }

    /// Not late for windows, and not history.
    pub(crate) fn counts(&self) -> bool {
        matches!(self.timely, Timely::OnTime | Timely::Late)
    }
}

fn or(text: &str, other: &str) -> String {
    if text.is_empty() { other.to_owned() } else { text.to_owned() }
}

/// The caller's id, else its address, else that nobody knows.
pub(crate) fn caller_name(event: &Event) -> String {
    let id = crate::first_seen::caller(event);
    if !id.is_empty() {
        return id.to_owned();
    }
    let ip = event.peer.src.as_ref().and_then(|src| src.ip);
    ip.map_or_else(|| "an unidentified caller".to_owned(), |ip| format!("addr:{ip}"))
}

/// A detector with a baseline or a memory, run by [`crate::Baselines`].
pub(crate) trait Watcher: Send {
    /// Its id, as in findings and configuration.
    fn id(&self) -> &'static str;
    /// Version of its algorithm and of its saved state: another one is not read.
    fn version(&self) -> &'static str;
    /// All of them stand in each finding.
    fn parameters(&self) -> Vec<(&'static str, String)>;
    /// Whether it judges by statistics: then its severity is capped at medium until another one agrees.
    fn statistical(&self) -> bool;
    /// What statistic it rests on; two that rest on the same do not agree independently.
    fn input(&self) -> &'static str {
        self.id()
    }
    /// One event, in ledger order. History ([`Timely::Historical`]) comes only to those that are not statistical.
    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>);
    /// The watermark is now here: called at most once a second of event time, before the event that moved it is seen.
    fn advance(&mut self, _watermark_ns: i64, _ledger_ns: u64, _out: &mut Vec<Draft>) {}
    /// A record that is not looked at (a finding, a delivery of one): for what counts records.
    fn pass(&mut self, _keys: Keys, _index: u64, _ledger_ns: u64, _event: &Event) {}
    /// Whether what `about` stands for is still being learned; `None` = as the caller's peer group.
    fn learning(&self, _about: &Key) -> Option<bool> {
        None
    }
    /// The next watermark at which [`Watcher::advance`] could have something to say, ns: a tick comes for it when
    /// nothing else moves the clock.
    fn wake_ns(&self) -> Option<i64> {
        None
    }
    /// Keys kept, keys that had to leave, and bytes of state, roughly.
    fn stats(&self) -> WatcherStats;
    fn write(&self, out: &mut Writer);
    /// Takes up what `write` gave; `None`: it cannot be read, and the watcher begins anew.
    fn read(&mut self, from: &mut Reader<'_>) -> Option<()>;
}

/// Counters of one watcher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatcherStats {
    /// Keys kept.
    pub keys: u64,
    /// Keys that had to leave.
    pub evicted: u64,
    /// Bytes of state, roughly.
    pub bytes: u64,
}

/// Whether this kind of event is a call.
pub(crate) fn is_call(event: &Event) -> bool {
    // An intent is followed by its interaction: counted there.
    matches!(event.core.rec, Some(Rec::Interaction | Rec::Opaque | Rec::Cut))
}

/// A whole number of ns in words: `1.5 s`, `3 h`.
pub(crate) fn span_text(ns: i64) -> String {
    let ns = ns.unsigned_abs();
    let units = [("d", 86_400_000_000_000u64), ("h", 3_600_000_000_000), ("min", 60_000_000_000)];
    for (unit, length) in units {
        if ns >= 2 * length || (ns >= length && ns.is_multiple_of(length)) {
            return format!("{} {unit}", (ns + length / 2) / length);
        }
    }
    match ns {
        1_000_000_000.. => format!("{} s", short(ns as f64 / 1e9)),
        1_000_000.. => format!("{} ms", short(ns as f64 / 1e6)),
        _ => format!("{} us", short(ns as f64 / 1e3)),
    }
}

/// A number with at most three significant digits behind the first.
pub(crate) fn short(n: f64) -> String {
    match n.abs() {
        x if x >= 100.0 || x == 0.0 => format!("{n:.0}"),
        x if x >= 10.0 => format!("{n:.1}"),
        x if x >= 0.01 => format!("{n:.2}"),
        _ => format!("{n:.1e}"),
    }
}

/// Bytes in words: `1.5 MiB`.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, size) in units {
        if bytes >= size {
            return format!("{} {unit}", short(bytes as f64 / size as f64));
        }
    }
    format!("{bytes} B")
}

/// The name of the caller's peer group: its service, else its id without what tells replicas apart.
///
/// A Kubernetes pod's `-<template hash>-<5 characters>`, its daemon's `-<5 characters>` and a plain `-<number>` at the
/// end tell replicas apart.
pub(crate) fn group_name(event: &Event) -> Cow<'_, str> {
    let Some(who) = event.who.who.as_ref().filter(|who| !who.id.is_empty()) else {
        return Cow::Owned(caller_name(event));
    };
    if !who.svc.is_empty() {
        return Cow::Borrowed(&who.svc);
    }
    Cow::Borrowed(without_replica(&who.id))
}

/// The caller's service as a deployment names it: of an id without a service of its own the last name in it.
///
/// `jwt:https://id.example#tax`, `key:tax-2`, `db:tax@orders-db` and `spiffe://example/ns/shop/sa/tax` are all `tax`.
/// Good enough to tell what an announced change covers, not to tell identities apart.
pub(crate) fn deployed_name(event: &Event) -> Cow<'_, str> {
    let group = group_name(event);
    let Some(who) = event.who.who.as_ref().filter(|who| who.svc.is_empty() && !who.id.is_empty()) else {
        return group;
    };
    let stem = without_replica(&who.id);
    let last = stem.rsplit(['#', '/', ':']).next().unwrap_or(stem);
    Cow::Borrowed(last.split_once('@').map_or(last, |(name, _)| name))
}

pub(crate) fn without_replica(id: &str) -> &str {
    let Some((stem, last)) = id.rsplit_once('-') else { return id };
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    // Kubernetes makes such names without vowels, so that they spell nothing.
    let made = |text: &str, from: usize, to: usize| {
        (from..=to).contains(&text.len()) && text.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))
    };
    if digits(last, 4) {
        return stem;
    }
    match stem.rsplit_once('-') {
        Some((name, template)) if made(last, 5, 5) && (made(template, 6, 10) || digits(template, 10)) => name,
        _ if made(last, 5, 5) && last.bytes().any(|b| b.is_ascii_digit()) => stem,
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_of_one_workload_have_one_name() {
        for (id, want) in [
            ("spiffe://example.org/ns/shop/pod/web-7d9f8c6b5d-x2x9q", "spiffe://example.org/ns/shop/pod/web"),
            ("spiffe://example.org/ns/shop/pod/db-0", "spiffe://example.org/ns/shop/pod/db"),
            ("spiffe://example.org/ns/shop/sa/order-intake", "spiffe://example.org/ns/shop/sa/order-intake"),
            ("key:2024-0001-abcdefgh", "key:2024-0001-abcdefgh"),
            ("web", "web"),
            ("orders-jzwcqxtkn-vhk74", "orders"),
            ("documents-2370-qrx42", "documents"),
            ("node-agent-7bx2k", "node-agent"),
            ("gateway-https", "gateway-https"),
        ] {
            assert_eq!(without_replica(id), want);
        }
    }

    #[test]
    fn what_is_deployed_is_known_from_any_kind_of_id() {
        for id in
            ["jwt:https://id.e.org#tax", "key:tax-2", "db:tax@orders-db", "spiffe://e.org/ns/shop/sa/tax"]
        {
            let mut event = Event::default();
            event.who.who = Some(countersign_event::Principal::new(id, Verified::Checked));
            assert_eq!(deployed_name(&event), "tax");
        }
    }

    #[test]
    fn lengths_and_sizes_read_as_people_write_them() {
        assert_eq!(span_text(86_400_000_000_000), "1 d");
        assert_eq!(span_text(90_000_000_000), "90.0 s");
        assert_eq!(span_text(7_200_000_000_000), "2 h");
        assert_eq!(span_text(1_500_000), "1.50 ms");
        assert_eq!(bytes_text(3 << 29), "1.50 GiB");
        assert_eq!(bytes_text(12), "12 B");
    }
}
