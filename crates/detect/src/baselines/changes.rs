//! Announced changes: deployments and change windows, as the platform's own events.
//!
//! An event of rec `platform` with operation `change.window` or `deploy` whose `target.svc` names the service (empty =
//! all) announces a change from its event time on, for `core.dur` (else [`DEFAULT_NS`]). Only the platform writes such
//! records (event.md), so a caller cannot announce its own.

use crate::bytes::{Reader, Writer};
use crate::watch::{Key, Keys};
use countersign_event::{Event, Rec};

/// How long a change lasts that does not say, ns.
pub(super) const DEFAULT_NS: i64 = 1_800_000_000_000;
/// Longest change believed, ns.
const LONGEST_NS: i64 = 86_400_000_000_000;
/// Changes remembered at once; the first to end is forgotten.
const CHANGES_MAX: usize = 1_024;

#[derive(Default)]
pub(crate) struct Changes(Vec<Change>);

#[derive(Clone, Copy)]
struct Change {
    /// `None` = everything.
    service: Option<Key>,
    from_ns: i64,
    to_ns: i64,
}

impl Changes {
    pub(crate) fn see(&mut self, keys: Keys, event: &Event, at_ns: i64) {
        let core = &event.core;
        if core.rec != Some(Rec::Platform)
            || !matches!(core.op.as_str(), "change_window" | "change.window" | "deploy")
        {
            return;
        }
        let from_ns = core.t_event.unwrap_or(at_ns);
        let length =
            core.dur.and_then(|ns| i64::try_from(ns).ok()).unwrap_or(DEFAULT_NS).clamp(0, LONGEST_NS);
        let service = &event.target.svc;
        let service = (!service.is_empty()).then(|| keys.of(super::SERVICE, &[&core.tenant, service]));
        self.0.retain(|change| change.to_ns >= at_ns.saturating_sub(LONGEST_NS));
        if self.0.len() >= CHANGES_MAX {
            let first = self.0.iter().enumerate().min_by_key(|(_, change)| change.to_ns).map(|(at, _)| at);
            first.map(|at| self.0.remove(at));
        }
        self.0.push(Change { service, from_ns, to_ns: from_ns.saturating_add(length) });
    }

    /// Whether one of these services changes at this time.
    pub(crate) fn now(&self, at_ns: i64, services: &[Key]) -> bool {
        self.0.iter().any(|change| {
            (change.from_ns..=change.to_ns).contains(&at_ns)
                && change.service.is_none_or(|service| services.contains(&service))
        })
    }

    /// When the last change of these services ends that was on at some time within `(from, to]`, ns.
    pub(crate) fn ends_after(&self, from_ns: i64, to_ns: i64, services: &[Key]) -> Option<i64> {
        let within = |change: &&Change| {
            change.to_ns > from_ns
                && change.from_ns <= to_ns
                && change.service.is_none_or(|service| services.contains(&service))
        };
        self.0.iter().filter(within).map(|change| change.to_ns).max()
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.len(self.0.len());
        for change in &self.0 {
            out.bool(change.service.is_some());
            out.key(&change.service.unwrap_or_default());
            out.i64(change.from_ns);
            out.i64(change.to_ns);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Changes> {
        let many = from.len(33)?;
        let each = (0..many).map(|_| {
            let (named, service) = (from.bool()?, from.key()?);
            Some(Change { service: named.then_some(service), from_ns: from.i64()?, to_ns: from.i64()? })
        });
        each.collect::<Option<Vec<_>>>().filter(|all| all.len() <= CHANGES_MAX).map(Changes)
    }
}
