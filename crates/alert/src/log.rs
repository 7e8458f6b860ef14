//! The log as a receiver: a line for the first finding of a rule within a second, and a sum for the others.
//!
//! Invariants: no names (log files are read by more people than the ledger); a storm is a line a second and rule.

use crate::counters::Counters;
use crate::receiver::Withheld;
use crate::subject::Subject;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Most rules with a line of their own within a second.
const RULES_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Log(Mutex<State>);

#[derive(Default)]
struct State {
    counters: Counters,
    /// Findings by rule that have no line yet.
    waiting: BTreeMap<String, u64>,
}

impl Log {
    pub(crate) fn counters(&self) -> Counters {
        self.lock().counters
    }

    pub(crate) fn withheld(&self, why: Withheld) {
        let counters = &mut self.lock().counters;
        counters.fired += 1;
        *why.counter(counters) += 1;
    }

    /// `true`: a line was written for this finding; else it is in the next sum.
    pub(crate) fn tell(&self, subject: &Subject, finding: &str, index: u64, repeats: u64) -> bool {
        let mut state = self.lock();
        state.counters.fired += 1;
        if let Some(count) = state.waiting.get_mut(&subject.rule) {
            *count += 1;
            state.counters.pending += 1;
            return false;
        }
        if state.waiting.len() < RULES_MAX {
            state.waiting.insert(subject.rule.clone(), 0);
        }
        state.counters.delivered += 1;
        drop(state);
        tracing::info!(
            target: "countersign::alert",
            rule = ?subject.rule,
            severity = subject.severity.word(),
            finding,
            repeats,
            "finding; `countersign show {index}` explains it",
        );
        true
    }

    /// Writes the sums, once a second; gives how many findings they stand for.
    pub(crate) fn sums(&self) -> u64 {
        let waiting = {
            let mut state = self.lock();
            let waiting = std::mem::take(&mut state.waiting);
            let count: u64 = waiting.values().sum();
            state.counters.pending = state.counters.pending.saturating_sub(count);
            state.counters.delivered += count;
            waiting
        };
        for (rule, count) in waiting.iter().filter(|(_, count)| **count > 0) {
            tracing::info!(target: "countersign::alert", ?rule, count, "more findings within a second");
        }
        waiting.values().sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
