//! The numbers of coverage over the last day: connections that witnesses saw, and of these with an event; calls, and
//! of these understood.
//!
//! Invariants: a ring of 24 hours of ledger time; without a witness there is no share (`None`), never 100 %.

use super::witnessed::Verdict;
use serde::{Deserialize, Serialize};

/// Hours in the ring.
const HOURS: usize = 24;
const HOUR_NS: u64 = 3_600_000_000_000;

/// Sums of an hour, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Connections that witnesses saw and of which it is decided.
    pub witnessed: u64,
    /// Of these with an event, or carried by a gateway.
    pub covered: u64,
    /// Of these, neither: no event.
    pub untold: u64,
    /// Of these, not to be told: an event may be forgotten.
    pub unknown: u64,
    /// Bytes that witnesses counted.
    pub bytes: u64,
    /// Of these with an event.
    pub bytes_covered: u64,
    /// Calls in events.
    pub calls: u64,
    /// Of these not understood (`opaque`, `cut`): seen, and no more.
    pub opaque: u64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbers {
    /// Hour number (ledger time) and its sums; ascending.
    hours: Vec<(u64, Sums)>,
}

impl Numbers {
    fn now(&mut self, now_ns: u64) -> &mut Sums {
        let hour = now_ns / HOUR_NS;
        if self.hours.last().is_none_or(|(last, _)| *last < hour) {
            self.hours.retain(|(old, _)| hour.saturating_sub(*old) < HOURS as u64);
            self.hours.push((hour, Sums::default()));
        }
        let last = self.hours.len() - 1;
        &mut self.hours[last].1
    }

    pub(super) fn call(&mut self, now_ns: u64, times: u64, understood: bool) {
        let sums = self.now(now_ns);
        sums.calls = sums.calls.saturating_add(times);
        sums.opaque = sums.opaque.saturating_add(if understood { 0 } else { times });
    }

    pub(super) fn verdict(&mut self, now_ns: u64, before: Option<Verdict>, after: Verdict, bytes: u64) {
        let sums = self.now(now_ns);
        match before {
            None => {
                sums.witnessed += 1;
                sums.bytes = sums.bytes.saturating_add(bytes);
            }
            Some(Verdict::Untold) => sums.untold = sums.untold.saturating_sub(1),
            Some(Verdict::Unknown) => sums.unknown = sums.unknown.saturating_sub(1),
            Some(Verdict::Covered) => return,
        }
        match after {
            Verdict::Covered => {
                sums.covered += 1;
                sums.bytes_covered = sums.bytes_covered.saturating_add(bytes);
            }
            Verdict::Untold => sums.untold += 1,
            Verdict::Unknown => sums.unknown += 1,
        }
    }

    /// The last 24 hours before `now_ns`.
    pub(super) fn sums(&self, now_ns: u64) -> Sums {
        let recent = |(hour, _): &&(u64, Sums)| (now_ns / HOUR_NS).saturating_sub(*hour) < HOURS as u64;
        self.hours.iter().filter(recent).fold(Sums::default(), |mut all, (_, one)| {
            let add = |a: &mut u64, b: u64| *a = a.saturating_add(b);
            add(&mut all.witnessed, one.witnessed);
            add(&mut all.covered, one.covered);
            add(&mut all.untold, one.untold);
            add(&mut all.unknown, one.unknown);
            add(&mut all.bytes, one.bytes);
            add(&mut all.bytes_covered, one.bytes_covered);
            add(&mut all.calls, one.calls);
            add(&mut all.opaque, one.opaque);
            all
        })
    }
}
