//! Windows of history: what is imported long after it happened is counted apart from what happens now, so that an import
//! neither pages nor closes today's windows.
//!
//! One set of windows an observer (`core.agent`), since each import is read in an order of its own, with a watermark of its
//! own: the newest event that it brought, less the lateness. Invariant: at most [`HISTORIES_MAX`] at once, each within
//! the bounds below; the one that was silent longest (in ledger order) is given up, and counted.

use super::correlate::{Bounds, CorrelationStats, Correlator};
use crate::clock::LATENESS_NS;
use std::collections::BTreeMap;

/// Observers whose history is counted at once.
pub const HISTORIES_MAX: usize = 16;
/// Most hits in the windows of one of them; groups are an eighth of that.
pub const HISTORY_HITS_MAX: usize = 500_000;

pub(crate) struct History {
    pub(crate) correlator: Correlator,
    pub(crate) watermark_ns: i64,
    /// Ledger index of its last event.
    last: u64,
}

#[derive(Default)]
pub(crate) struct Histories {
    by_agent: BTreeMap<String, History>,
    /// Counters of those that were given up.
    gone: CorrelationStats,
    evicted: u64,
}

impl Histories {
    /// The windows for an event of this observer, time moved on to it.
    pub(crate) fn at(&mut self, agent: &str, ns: i64, index: u64, live: &Correlator) -> &mut History {
        if !self.by_agent.contains_key(agent) && self.by_agent.len() >= HISTORIES_MAX {
            let oldest = self.by_agent.iter().min_by_key(|(_, history)| history.last);
            if let Some(history) =
                oldest.map(|(agent, _)| agent.clone()).and_then(|agent| self.by_agent.remove(&agent))
            {
                self.gone = sum(self.gone, CorrelationStats { groups: 0, ..history.correlator.stats() });
                self.evicted += 1;
            }
        }
        let bounds = Bounds::of(HISTORY_HITS_MAX);
        let anew = || History { correlator: live.anew(bounds), watermark_ns: i64::MIN, last: index };
        let history = self.by_agent.entry(agent.to_owned()).or_insert_with(anew);
        history.watermark_ns = history.watermark_ns.max(ns.saturating_sub(LATENESS_NS));
        history.last = index;
        history
    }

    /// Counters of all of them, and how many were given up.
    pub(crate) fn stats(&self) -> (CorrelationStats, u64) {
        let all = self.by_agent.values().map(|history| history.correlator.stats());
        (all.fold(self.gone, sum), self.evicted)
    }
}

pub(crate) fn sum(a: CorrelationStats, b: CorrelationStats) -> CorrelationStats {
    CorrelationStats {
        groups: a.groups + b.groups,
        evicted: a.evicted + b.evicted,
        dropped: a.dropped + b.dropped,
        ungrouped: a.ungrouped + b.ungrouped,
        valueless: a.valueless + b.valueless,
        too_late: a.too_late + b.too_late,
    }
}
