//! How long calls took, for each caller of each promise's service: quantiles of this day and the one before.
//!
//! Invariants: at most [`PAIRS_MAX`] pairs, later ones are counted and not kept; a quantile is within
//! `sketch::RELATIVE_ERROR`; days turn with the ledger's time.

use crate::bytes::{Reader, Writer};
use crate::sketch::DdSketch;
use std::collections::BTreeMap;

/// Pairs of promise and caller that are kept: at most 11 KiB each, about 2 as a rule.
pub const PAIRS_MAX: usize = 4_096;
const DAY_NS: u64 = 86_400_000_000_000;

/// One caller's calls under one promise.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pair {
    pub(super) day: u64,
    pub(super) today: DdSketch,
    pub(super) yesterday: DdSketch,
    /// Calls and bad calls of the same two days.
    pub(super) calls: [(u64, u64); 2],
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Latencies {
    /// By number of the promise, and caller.
    pub(super) pairs: BTreeMap<(u32, String), Pair>,
    pub(super) beyond: u64,
}

impl Latencies {
    pub(super) fn add(
        &mut self,
        slo: u32,
        caller: &str,
        dur: Option<u64>,
        good: bool,
        (now_ns, n): (u64, u64),
    ) {
        let key = (slo, crate::finding::clip(caller, 512).to_owned());
        if !self.pairs.contains_key(&key) && self.pairs.len() >= PAIRS_MAX {
            self.beyond = self.beyond.saturating_add(n);
            return;
        }
        let pair = self.pairs.entry(key).or_default();
        pair.turn(now_ns / DAY_NS);
        if let Some(dur) = dur {
            pair.today.add_many(dur as f64, n);
        }
        let [(calls, bad), _] = &mut pair.calls;
        *calls = calls.saturating_add(n);
        *bad = bad.saturating_add(if good { 0 } else { n });
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u64(self.beyond);
        out.len(self.pairs.len());
        for ((slo, caller), pair) in &self.pairs {
            out.u32(*slo);
            out.text(caller);
            out.u64(pair.day);
            out.bytes(&pair.today.to_bytes());
            out.bytes(&pair.yesterday.to_bytes());
            for (calls, bad) in pair.calls {
                out.u64(calls);
                out.u64(bad);
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Latencies> {
        let mut new = Latencies { beyond: from.u64()?, ..Latencies::default() };
        for _ in 0..from.len(56)? {
            let key = (from.u32()?, from.text()?);
            let pair = Pair {
                day: from.u64()?,
                today: DdSketch::from_bytes(from.bytes()?)?,
                yesterday: DdSketch::from_bytes(from.bytes()?)?,
                calls: [(from.u64()?, from.u64()?), (from.u64()?, from.u64()?)],
            };
            new.pairs.insert(key, pair);
            if new.pairs.len() > PAIRS_MAX {
                return None;
            }
        }
        Some(new)
    }
}

impl Pair {
    fn turn(&mut self, day: u64) {
        if day <= self.day {
            return;
        }
        let next = day == self.day + 1;
        let today = std::mem::take(&mut self.today);
        self.yesterday = if next { today } else { DdSketch::new() };
        self.calls = [(0, 0), if next { self.calls[0] } else { (0, 0) }];
        self.day = day;
    }

    /// Both days as of `now_ns`.
    pub(super) fn both(&self, now_ns: u64) -> (DdSketch, u64, u64) {
        let mut as_of = self.clone();
        as_of.turn(now_ns / DAY_NS);
        let mut all = as_of.today.clone();
        all.merge(&as_of.yesterday);
        let [(calls, bad), (calls_before, bad_before)] = as_of.calls;
        (all, calls.saturating_add(calls_before), bad.saturating_add(bad_before))
    }
}
