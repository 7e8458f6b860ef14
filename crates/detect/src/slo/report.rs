//! The report of a promise: what is left of its budget, how fast it burns, and how long its callers waited.

use super::burn::BurnRate;
use super::ring::{Counts, WINDOWS};
use crate::sketch::{DdSketch, RELATIVE_ERROR};
use countersign_event::Severity;
use serde::Serialize;
use std::collections::BTreeMap;

/// One promise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SloReport {
    /// Name.
    pub name: String,
    /// Service that it is of.
    pub service: String,
    /// Document that it is from.
    pub source: String,
    /// Share that must be good.
    pub target: f64,
    /// Rolling window, ns.
    pub window_ns: u64,
    /// Calls in the window, as far as this ledger has seen.
    pub counts: Counts,
    /// Good ÷ all; `None` = no calls.
    pub good: Option<f64>,
    /// Share of the error budget that is left: 1 = all, below 0 = overdrawn; `None` = no calls.
    pub budget_left: Option<f64>,
    /// Burn rate by window: 1 = the budget lasts exactly as long as the promise's window. No calls: 0.
    pub burn: BTreeMap<&'static str, f64>,
    /// `page`, `ticket`, or nothing.
    pub alarm: Option<&'static str>,
    /// By caller, over this UTC day and the one before.
    pub callers: Vec<CallerReport>,
}

/// One caller under one promise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallerReport {
    /// Service or id; empty = unidentified.
    pub caller: String,
    /// Calls and bad ones.
    pub counts: Counts,
    /// p50, p95 and p99 of the duration, ms; `None` = no call had one.
    pub quantiles_ms: Option<[f64; 3]>,
    /// Largest relative error of these; 0 = exact.
    pub error: f64,
}

impl BurnRate {
    /// All promises, by name, at the last event.
    pub fn report(&self) -> Vec<SloReport> {
        let mut out = Vec::with_capacity(self.slos.slos.len());
        for (at, (slo, state)) in self.slos.slos.iter().zip(&self.states).enumerate() {
            let counts = state.ring.sum(self.now_ns, slo.window_ns);
            let budget = 1.0 - slo.target;
            let any = |share: f64| (counts.total > 0).then_some(share);
            let burn = |length: u64| state.ring.sum(self.now_ns, length).bad_share() / budget;
            let callers =
                self.latencies.pairs.range((at as u32, String::new())..(at as u32 + 1, String::new()));
            out.push(SloReport {
                name: slo.name.clone(),
                service: slo.service.clone(),
                source: slo.source.clone(),
                target: slo.target,
                window_ns: slo.window_ns,
                counts,
                good: any(1.0 - counts.bad_share()),
                budget_left: any(1.0 - counts.bad_share() / budget),
                burn: WINDOWS.iter().map(|(name, length)| (*name, burn(*length))).collect(),
                alarm: state.open.map(|open| if open.severity >= Severity::High { "page" } else { "ticket" }),
                callers: callers
                    .map(|((_, caller), pair)| {
                        let (sketch, total, bad) = pair.both(self.now_ns);
                        caller_report(caller, Counts { total, bad }, &sketch)
                    })
                    .collect(),
            });
        }
        out
    }

    /// Calls of callers beyond the bound of the latencies.
    pub fn beyond_bounds(&self) -> u64 {
        self.latencies.beyond
    }
}

fn caller_report(caller: &str, counts: Counts, sketch: &DdSketch) -> CallerReport {
    let of = |q: f64| sketch.quantile(q).map(|ns| ns / 1e6);
    CallerReport {
        caller: caller.to_owned(),
        counts,
        quantiles_ms: of(0.5).zip(of(0.95)).zip(of(0.99)).map(|((p50, p95), p99)| [p50, p95, p99]),
        error: if sketch.is_exact() { 0.0 } else { RELATIVE_ERROR },
    }
}
