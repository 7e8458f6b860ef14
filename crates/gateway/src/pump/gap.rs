//! Gap routes: traffic never waits for its records. When the ring is full, the record is dropped and counted,
//! and the bytes go on; the counts become a GAP within a second ([`Worker::report_dropped`]).
//!
//! Invariant: every dropped record was promised first, so that a crash before the report still finds it.

use super::flow::Flow;
use super::worker::{Route, Worker};
use crate::config::Durability;
use crate::ring::{Tap, Way, What};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Distinct callers named in the reports of one second; further ones are counted together.
const CALLERS_MAX: usize = 256;

/// Dropped records of one second, by route and caller.
pub(crate) type Dropped = std::collections::HashMap<(usize, String), u64>;

impl Worker {
    /// Notes `n` dropped records.
    pub(super) fn drop_records(&self, route: &Route, caller: &str, n: u64) {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        let known = dropped.len() < CALLERS_MAX || dropped.contains_key(&(route.index, caller.to_owned()));
        let caller = if known { caller } else { "" };
        *dropped.entry((route.index, caller.to_owned())).or_default() += n;
        self.counters.dropped.fetch_add(n, Ordering::Relaxed);
    }

    /// Turns what was dropped since the last call into a GAP, and one event for each route and caller.
    pub(crate) fn report_dropped(&self) {
        let dropped = std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner));
        let n: u64 = dropped.values().sum();
        if n == 0 {
            return;
        }
        if let Err(e) = self.owe().and_then(|()| self.recorder.dropped(n)) {
            tracing::error!(error = %e, records = n, "gateway: a gap could not be declared; the next start finds it");
        }
        let t = self.clock.monotonic_ns();
        let what = |((route, caller), n)| What::Dropped { route, caller, n };
        let mut taps: Vec<Tap> = dropped.into_iter().map(|d| Tap { conn: 0, t, what: what(d) }).collect();
        self.will_record(taps.len() as u64);
        self.ring(false).push(&mut taps);
    }
}

impl Flow {
    pub(super) fn is_gap(&self) -> bool {
        self.route.durability == Durability::Gap
    }

    /// Whether a message that begins now is to pass without a record.
    pub(super) fn drops_next(&self) -> bool {
        self.is_gap() && self.worker.ring_of(&self.route).full()
    }

    /// Counts `n` records that are not made. Bytes that lead to none leave no note: it would become an event that
    /// says that one was dropped.
    pub(super) fn dropped(&self, n: u64) {
        if n == 0 {
            return;
        }
        self.will_record(n);
        let caller = self.secured.as_ref().and_then(|s| s.principal.as_ref());
        let caller =
            caller.map_or_else(|| format!("addr:{}", self.peer.ip().to_canonical()), |p| p.id.clone());
        self.worker.drop_records(&self.route, &caller, n);
    }

    /// Whether the exchange that bytes of `way` belong to is not recorded.
    pub(super) fn unrecorded(&self, way: Way) -> bool {
        let open = if way == Way::Up { self.unrecorded.back() } else { self.unrecorded.front() };
        open.copied().unwrap_or(false)
    }

    /// As [`Flow::tap`], unless the exchange is not recorded. On a gap route a body that the ring has no room for
    /// is counted and not digested.
    pub(super) fn tap_message(&mut self, way: Way, what: What) {
        if self.is_gap() {
            if self.unrecorded(way) {
                return;
            }
            if let What::Data { way, bytes, end } = &what
                && self.worker.ring_of(&self.route).full()
            {
                let skipped = What::Skipped { way: *way, len: bytes.len() as u64, end: *end };
                return self.tap(skipped);
            }
        }
        self.tap(what);
    }

    /// The oldest exchange was answered.
    pub(super) fn exchange_answered(&mut self) {
        self.unrecorded.pop_front();
    }
}
