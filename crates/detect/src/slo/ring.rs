//! Calls and bad calls over sliding windows, in two rings: minutes for six hours, hours for ninety days.
//!
//! Invariants: a fixed number of counters; time only moves forward (a call of before is counted now); a window's sum is
//! at most one minute (of the long ones: one hour) longer than its name.

use crate::bytes::{Reader, Writer};
use serde::Serialize;
use std::collections::VecDeque;

const MINUTE_NS: u64 = 60_000_000_000;
const HOUR_NS: u64 = 60 * MINUTE_NS;
/// Minutes kept.
const MINUTES: usize = 361;
/// Hours kept: the longest window of a promise, and the one in progress.
const HOURS: usize = 90 * 24 + 1;
/// Longest window of a promise, ns: 90 days.
pub(super) const WINDOW_MAX_NS: u64 = 90 * 24 * HOUR_NS;

/// The windows of the burn rate, by name and length in ns.
pub const WINDOWS: [(&str, u64); 5] = [
    ("5m", 5 * MINUTE_NS),
    ("30m", 30 * MINUTE_NS),
    ("1h", HOUR_NS),
    ("6h", 6 * HOUR_NS),
    ("3d", 72 * HOUR_NS),
];

/// Calls, and of these bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Calls that count.
    pub total: u64,
    /// Of these not good.
    pub bad: u64,
}

impl Counts {
    /// Share of bad calls; 0 of none.
    pub fn bad_share(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.bad as f64 / self.total as f64 }
    }

    fn add(&mut self, other: Counts) {
        self.total = self.total.saturating_add(other.total);
        self.bad = self.bad.saturating_add(other.bad);
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ring {
    minutes: VecDeque<(u64, Counts)>,
    hours: VecDeque<(u64, Counts)>,
}

impl Ring {
    pub(super) fn count(&mut self, now_ns: u64, counts: Counts) {
        note(&mut self.minutes, now_ns / MINUTE_NS, MINUTES, counts);
        note(&mut self.hours, now_ns / HOUR_NS, HOURS, counts);
    }

    /// The sum over the last `length_ns` before `now_ns`.
    pub(super) fn sum(&self, now_ns: u64, length_ns: u64) -> Counts {
        let short = length_ns <= 6 * HOUR_NS;
        let (slots, unit) = if short { (&self.minutes, MINUTE_NS) } else { (&self.hours, HOUR_NS) };
        let first = (now_ns / unit).saturating_sub(length_ns / unit);
        let mut sum = Counts::default();
        for (_, counts) in slots.iter().rev().take_while(|(at, _)| *at >= first) {
            sum.add(*counts);
        }
        sum
    }

    pub(super) fn write(&self, out: &mut Writer) {
        for slots in [&self.minutes, &self.hours] {
            out.len(slots.len());
            for (at, counts) in slots {
                out.u64(*at);
                out.u64(counts.total);
                out.u64(counts.bad);
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Ring> {
        let mut ring = Ring::default();
        for (slots, max) in [(&mut ring.minutes, MINUTES), (&mut ring.hours, HOURS)] {
            for _ in 0..from.len(24)? {
                let slot = (from.u64()?, Counts { total: from.u64()?, bad: from.u64()? });
                if slots.len() >= max || slots.back().is_some_and(|(last, _)| *last >= slot.0) {
                    return None;
                }
                slots.push_back(slot);
            }
        }
        Some(ring)
    }
}

fn note(slots: &mut VecDeque<(u64, Counts)>, at: u64, max: usize, counts: Counts) {
    match slots.back_mut() {
        Some((last, sum)) if *last >= at => sum.add(counts),
        _ => {
            slots.push_back((at, counts));
            while slots.front().is_some_and(|(first, _)| at - first >= max as u64) {
                slots.pop_front();
            }
        }
    }
}
