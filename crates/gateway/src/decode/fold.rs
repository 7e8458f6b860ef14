//! Routes that record `fold` or `errors`: equal interactions of one second become one record that counts them.
//!
//! Invariant: the sum of `n` over the records is the number of interactions; what is folded away is taken off
//! the promise ([`crate::recorder::Recorder::folded`]), so that a crash declares exactly what it lost.
//! The record is the first of its kind: its times and ids are that one's; `dur` is the longest, sizes are sums.

use super::RouteFacts;
use crate::config::Record;
use countersign_event::{Event, LinkVia, Outcome, Payload, Rec};
use std::collections::HashMap;

/// Kinds that are folded at the same time; further ones are records of their own.
const KINDS_MAX: usize = 4_096;
/// How long interactions are folded into one record, ns.
pub(crate) const FOLD_NS: u64 = 1_000_000_000;

#[derive(PartialEq, Eq, Hash)]
struct Kind {
    route: String,
    who: String,
    op: String,
    /// Empty on routes that record errors.
    target: (String, String),
    status: String,
    verdict: Option<u64>,
}

/// Interactions of the current second.
#[derive(Default)]
pub(crate) struct Folder {
    kinds: HashMap<Kind, Event>,
    /// Monotonic ns of the first one.
    since: u64,
}

impl Folder {
    /// Whether anything waits, and since when (monotonic ns).
    pub(crate) fn since(&self) -> Option<u64> {
        (!self.kinds.is_empty()).then_some(self.since)
    }

    /// Takes from `events` what is folded; gives how many were added to a record that waits already.
    pub(crate) fn take(&mut self, routes: &[RouteFacts], now: u64, events: &mut Vec<Event>) -> u64 {
        let mut folded = 0;
        let taken = events.extract_if(.., |event| {
            let mode = routes.iter().find(|r| r.name == event.core.route).map(|r| r.record);
            folds(mode.unwrap_or_default(), event)
        });
        let mut back = Vec::new();
        for event in taken {
            let mode = routes.iter().find(|r| r.name == event.core.route).map(|r| r.record);
            let kind = kind(mode.unwrap_or_default(), &event);
            if self.kinds.is_empty() {
                self.since = now;
            }
            if let Some(first) = self.kinds.get_mut(&kind) {
                add(first, event);
                folded += 1;
            } else if self.kinds.len() < KINDS_MAX {
                self.kinds.insert(kind, event);
            } else {
                back.push(event);
            }
        }
        events.append(&mut back);
        folded
    }

    /// Everything that waits, when its second is over.
    pub(crate) fn release(&mut self, now: u64, at_once: bool) -> Vec<Event> {
        let due = at_once || now.saturating_sub(self.since) >= FOLD_NS;
        if !due {
            return Vec::new();
        }
        let mut events: Vec<Event> = self.kinds.drain().map(|(_, event)| event).collect();
        events.sort_by_key(|event| event.core.t_event);
        events
    }
}

/// Only whole interactions are folded: sessions, intents, refusals by rule and everything unusual stay.
fn folds(mode: Record, event: &Event) -> bool {
    let interaction = event.core.rec == Some(Rec::Interaction) && event.content.err.is_empty();
    match mode {
        Record::All => false,
        Record::Fold => interaction,
        Record::Errors => interaction && event.core.outcome == Some(Outcome::Success),
    }
}

fn kind(mode: Record, event: &Event) -> Kind {
    let core = &event.core;
    let errors = mode == Record::Errors;
    let target =
        if errors { Default::default() } else { (event.target.svc.clone(), event.target.res.clone()) };
    Kind {
        route: core.route.clone(),
        who: event.who.who.as_ref().map_or(String::new(), |p| p.id.clone()),
        op: core.op.clone(),
        target,
        status: core.status.as_ref().filter(|_| !errors).map_or(String::new(), |(_, code)| code.clone()),
        verdict: core.decision.as_ref().and_then(|d| d.verdict).map(|v| v.code()),
    }
}

fn add(first: &mut Event, more: Event) {
    first.core.n = Some(first.core.n.unwrap_or(1) + more.core.n.unwrap_or(1));
    first.core.dur = first.core.dur.max(more.core.dur);
    first.core.t_obs = first.core.t_obs.max(more.core.t_obs);
    // What holds for the first alone would read as if it held for all.
    if first.target.id != more.target.id {
        first.target.id.clear();
    }
    if first.target.raw != more.target.raw {
        let target = &mut *first.target;
        target.raw.clone_from(&target.res);
    }
    if first.links.cause != more.links.cause {
        first.links.cause.clear();
        first.links.via = first.links.via.filter(|via| *via != LinkVia::Inferred);
    }
    let body = &mut *first.body;
    sum(&mut body.req, more.body.req.as_ref());
    sum(&mut body.rsp, more.body.rsp.as_ref());
}

fn sum(first: &mut Option<Payload>, more: Option<&Payload>) {
    let (Some(first), Some(more)) = (first.as_mut(), more) else { return };
    first.size = Some(first.size.unwrap_or(0).saturating_add(more.size.unwrap_or(0)));
    first.digest = None;
    first.alg = None;
    first.excerpt.clear();
}
