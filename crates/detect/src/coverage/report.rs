//! The whole picture, on demand: numbers, blind spots, and a class for every edge that is expected or was seen.

use super::Coverage;
use super::expected::{Callee, Caller, Fit, Operation};
use super::numbers::Sums;
use super::observed::{Edge, Life};
use super::spots::Spot;
use super::witnessed::STALE_NS;
use crate::documents::Refused;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// An expected edge not seen for this long is as one never seen, ns: 30 days.
pub const STALE_EDGE_NS: u64 = 30 * 86_400_000_000_000;
/// Most lines of a report; the rest is counted.
pub const LINES_MAX: usize = 10_000;

/// What an edge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Seen, and not expected by the documents that speak of the service.
    Shadow,
    /// Expected, not seen in events, and a witness sees connections to it that no event tells of.
    Blind,
    /// Expected, not seen, and no witness sees anything: dead. A candidate for removal.
    Unused,
    /// Expected, not seen, and nobody looks: dead or blind.
    Unknown,
    /// Seen, and no document speaks of the service.
    Undocumented,
    /// Expected and seen.
    Covered,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Line {
    /// What it is.
    pub class: Class,
    /// Service called.
    pub callee: String,
    /// Caller: service or id; empty = anybody, or unidentified.
    pub caller: String,
    /// Port called; `None` = any, or unknown.
    pub port: Option<u16>,
    /// Protocol; empty = any, or unknown.
    pub protocol: String,
    /// Operation; empty = any.
    pub operation: String,
    /// Calls seen.
    pub calls: u64,
    /// Ledger time of the first and the last one, ns.
    pub seen_ns: Option<(u64, u64)>,
    /// Documents that expect it, or that speak of the service.
    pub documents: BTreeSet<String>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Ledger time, ns.
    pub at_ns: u64,
    /// Connections with an event ÷ connections that witnesses saw, last 24 hours; `None` = no witness, so unknown.
    pub coverage: Option<f64>,
    /// The same by bytes; `None` = no witness counts bytes.
    pub coverage_bytes: Option<f64>,
    /// Calls understood ÷ calls seen, last 24 hours; `None` = no calls.
    pub understood: Option<f64>,
    /// The numbers behind them.
    pub sums: Sums,
    /// Witnesses: name, ledger time of the last word (ns), whether it is recent.
    pub witnesses: Vec<(String, u64, bool)>,
    /// Blind spots that are open.
    pub blind_spots: Vec<Spot>,
    /// Edges that are known.
    pub edges: u64,
    /// How many of each class, all lines counted.
    pub classes: BTreeMap<Class, u64>,
    /// At most [`LINES_MAX`], worst first.
    pub lines: Vec<Line>,
    /// Documents, or parts of them, that were not taken.
    pub refused: Vec<Refused>,
    /// Edges that had to leave, connections and blind spots beyond their bounds, shadows not told.
    pub beyond_bounds: [u64; 4],
}

impl Coverage {
    /// The picture at the last event.
    pub fn report(&self) -> Report {
        let now_ns = self.now_ns;
        let sums = self.numbers.sums(now_ns);
        let alive = |at: u64| now_ns.saturating_sub(at) <= STALE_NS;
        let witnesses: Vec<_> =
            self.witnessed.alive.iter().map(|(name, at)| (name.clone(), *at, alive(*at))).collect();
        let looks = witnesses.iter().any(|(_, _, recent)| *recent);
        let share = |part: u64, all: u64| (all > 0).then(|| part as f64 / all as f64);
        let mut lines = self.lines(looks);
        lines.sort_unstable();
        let mut classes = BTreeMap::new();
        lines.iter().for_each(|line| *classes.entry(line.class).or_insert(0) += 1);
        lines.truncate(LINES_MAX);
        Report {
            at_ns: now_ns,
            coverage: share(sums.covered, sums.witnessed).filter(|_| looks),
            coverage_bytes: share(sums.bytes_covered, sums.bytes).filter(|_| looks),
            understood: share(sums.calls.saturating_sub(sums.opaque), sums.calls),
            sums,
            witnesses,
            blind_spots: self.spots.open.values().cloned().collect(),
            edges: self.observed.len() as u64,
            classes,
            lines,
            refused: self.expected.refused.clone(),
            beyond_bounds: [
                self.observed.evicted,
                self.witnessed.unheld,
                self.spots.unlisted,
                self.shadows.untold,
            ],
        }
    }

    fn lines(&self, looks: bool) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut by_callee: BTreeMap<&str, Vec<(Edge, Life)>> = BTreeMap::new();
        for (edge, life) in self.observed.all() {
            let entry = self.expected.entry_of(&edge);
            let class = match self.expected.fit(&edge) {
                Fit::Unmentioned => Some(Class::Undocumented),
                Fit::Caller | Fit::Operation => Some(Class::Shadow),
                Fit::Expected => None,
            };
            if let Some(class) = class {
                lines.push(seen(class, &edge, life, entry.map(|(_, callee)| callee)));
            }
            if let Some((name, _)) = entry {
                by_callee.entry(name).or_default().push((edge, life));
            }
        }
        for (name, callee) in self.expected.callees() {
            let edges = by_callee.get(name.as_str()).map_or(&[][..], Vec::as_slice);
            let absent = self.absent(name, looks);
            for (caller, operation) in rules(callee) {
                let mine = |(edge, _): &&(Edge, Life)| {
                    caller.is_none_or(|c| c.takes(edge))
                        && operation.is_none_or(|op| op.takes(&edge.operation))
                };
                let lives: Vec<Life> = edges.iter().filter(mine).map(|(_, life)| *life).collect();
                lines.push(self.expected_line(name, callee, caller, operation, &lives, absent));
            }
        }
        lines
    }

    /// What an expected edge to this callee is that is not seen.
    fn absent(&self, callee: &str, looks: bool) -> Class {
        let is = |name: &str| name.to_lowercase() == callee;
        let blind = self.spots.open.values().any(|spot| is(&spot.callee));
        // A witness decides only where it is known which address it would have to see.
        let known = self.names.callees.values().any(|name| is(name));
        match (blind, looks && known) {
            (true, _) => Class::Blind,
            (false, true) => Class::Unused,
            (false, false) => Class::Unknown,
        }
    }

    fn expected_line(
        &self,
        name: &str,
        callee: &Callee,
        caller: Option<&Caller>,
        operation: Option<&Operation>,
        lives: &[Life],
        absent: Class,
    ) -> Line {
        let first = lives.iter().map(|life| life.first_ns).min();
        let last = lives.iter().map(|life| life.last_ns).max();
        let fresh = last.is_some_and(|last| self.now_ns.saturating_sub(last) <= STALE_EDGE_NS);
        Line {
            class: if fresh { Class::Covered } else { absent },
            callee: name.to_owned(),
            caller: caller.and_then(|c| c.names.iter().next()).cloned().unwrap_or_default(),
            port: caller.and_then(|c| c.ports.iter().next()).copied(),
            protocol: caller.map(|c| c.proto.clone()).unwrap_or_default(),
            operation: operation.map(|op| op.as_str().to_owned()).unwrap_or_default(),
            calls: lives.iter().fold(0, |sum: u64, life| sum.saturating_add(life.count)),
            seen_ns: first.zip(last),
            documents: callee.sources.clone(),
        }
    }
}

/// Each caller with each of its operations, and each operation that is offered to anybody.
fn rules(callee: &Callee) -> Vec<(Option<&Caller>, Option<&Operation>)> {
    let mut rules = Vec::new();
    for caller in &callee.callers {
        if caller.operations.is_empty() {
            rules.push((Some(caller), None));
        }
        rules.extend(caller.operations.iter().map(|operation| (Some(caller), Some(operation))));
    }
    rules.extend(callee.operations.iter().map(|operation| (None, Some(operation))));
    if rules.is_empty() {
        rules.push((None, None));
    }
    rules
}

fn seen(class: Class, edge: &Edge, life: Life, callee: Option<&Callee>) -> Line {
    Line {
        class,
        callee: edge.callee.clone(),
        caller: if edge.caller.is_empty() { edge.id.clone() } else { edge.caller.clone() },
        port: (edge.port > 0).then_some(edge.port),
        protocol: edge.proto.clone(),
        operation: edge.operation.clone(),
        calls: life.count,
        seen_ns: Some((life.first_ns, life.last_ns)),
        documents: callee.map(|callee| callee.sources.clone()).unwrap_or_default(),
    }
}
