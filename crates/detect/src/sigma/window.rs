//! One group of a correlation: its hits in order of event time, and what a window over them comes to.
//!
//! A window is sliding, `(t − timespan, t]`, and ends at a hit; never a fixed bucket, which would miss what
//! crosses its border. Invariant: hits are ordered by (event time, ledger index, rule), whatever order they
//! arrived in, so the value of a window does not depend on it.

use super::ast::{CorrelationKind, Op};
use super::condition::Condition;
use std::collections::{HashMap, VecDeque};

/// Most hits of a group that counts events.
pub const HITS_MAX: usize = 65_536;
/// Most hits of a group of any other kind.
pub const VALUES_MAX: usize = 4_096;
/// Windows that a late hit may change, looked at again; the nearest ones, and the newest.
pub const LATE_WINDOWS_MAX: usize = 64;
/// Ledger indices kept as evidence at each end of a window.
const EVIDENCE_END: usize = 10;

/// A keyed hash of a value: state holds no names.
pub(crate) type Digest = [u8; 16];

/// One hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hit {
    /// Event time, ns.
    pub(crate) ns: i64,
    /// Ledger index of the event.
    pub(crate) index: u64,
    pub(crate) what: Datum,
}

/// What a hit brings to its kind of correlation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Datum {
    Event,
    /// Which of the correlation's rules.
    Rule(u8),
    Value(Digest),
    Number(f64),
}

/// How hits become a value, and when it is one to tell of.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    pub(crate) kind: CorrelationKind,
    pub(crate) timespan_ns: i64,
    pub(crate) bounds: Vec<(Op, f64)>,
    /// 0 to 100.
    pub(crate) percentile: f64,
    /// Of temporal kinds: how many rules.
    pub(crate) rules: usize,
    /// Of a temporal correlation with an expression; names are places in the list of rules.
    pub(crate) expression: Option<Condition>,
}

impl Measure {
    pub(crate) fn hits_max(&self) -> usize {
        if self.kind == CorrelationKind::EventCount { HITS_MAX } else { VALUES_MAX }
    }

    /// Whether a window without hits satisfies it: then too little is what it looks for.
    pub(crate) fn wants_absence(&self) -> bool {
        match &self.expression {
            Some(expression) => rules_hold(expression, 0),
            None => self.bounds.iter().all(|(op, bound)| op.holds(0.0, *bound)),
        }
    }

    /// Whether a window of this value satisfies the condition.
    fn holds(&self, value: f64, rules: u64) -> bool {
        match &self.expression {
            Some(expression) => rules_hold(expression, rules),
            None => self.bounds.iter().all(|(op, bound)| op.holds(value, *bound)),
        }
    }
}

/// Whether an expression over rules holds when those of the set `rules` were hit. Names are numbers by now.
pub(crate) fn rules_hold(expression: &Condition, rules: u64) -> bool {
    match expression {
        Condition::All(parts) => parts.iter().all(|part| rules_hold(part, rules)),
        Condition::Any(parts) => parts.iter().any(|part| rules_hold(part, rules)),
        Condition::Not(part) => !rules_hold(part, rules),
        Condition::Name(at) => at.parse().is_ok_and(|at: u32| at < 64 && rules >> at & 1 == 1),
        Condition::Of(..) => false,
    }
}

/// A window that satisfies its condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) value: f64,
    /// End of the window, ns.
    pub(crate) ns: i64,
    /// Whether the condition did not hold before.
    pub(crate) opened: bool,
    /// Whether a hit came after a later one.
    pub(crate) late: bool,
    /// Hits in the window, and the ledger indices of the first and last ten.
    pub(crate) count: u64,
    pub(crate) evidence: Vec<u64>,
}

/// The hits of a group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    hits: VecDeque<Hit>,
    open: bool,
    distinct: Distinct,
}

/// The distinct values of `hits[low..high]`, carried from one newest window to the next.
#[derive(Debug, Default)]
struct Distinct {
    counts: HashMap<Digest, u32>,
    low: usize,
    high: usize,
}

impl Group {
    pub(crate) fn len(&self) -> usize {
        self.hits.len()
    }

    /// Time and index of the newest hit.
    pub(crate) fn newest(&self) -> Option<(i64, u64)> {
        self.rank(false)
    }

    /// What orders groups by age: the newest hit, or the oldest, whose window is decided first.
    pub(crate) fn rank(&self, oldest: bool) -> Option<(i64, u64)> {
        let hit = if oldest { self.hits.front() } else { self.hits.back() };
        hit.map(|hit| (hit.ns, hit.index))
    }

    /// Lets hits up to this time go.
    pub(crate) fn expire(&mut self, until_ns: i64) {
        while self.hits.front().is_some_and(|hit| hit.ns <= until_ns) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(hit) = self.hits.pop_front() else { return };
        if self.distinct.low == 0 && self.distinct.high > 0 {
            self.distinct.remove(&hit);
        }
        self.distinct.low = self.distinct.low.saturating_sub(1);
        self.distinct.high = self.distinct.high.saturating_sub(1);
    }

    /// Puts a hit in its place. `None` if the event is counted already; else the place, and how many hits had
    /// to go for it.
    pub(crate) fn insert(&mut self, measure: &Measure, hit: Hit) -> Option<(usize, u64)> {
        let key = |hit: &Hit| (hit.ns, hit.index, if let Datum::Rule(rule) = hit.what { rule } else { 0 });
        let at = self.hits.partition_point(|known| key(known) < key(&hit));
        if self.hits.get(at).is_some_and(|known| key(known) == key(&hit)) {
            return None;
        }
        self.hits.insert(at, hit);
        if at < self.distinct.high {
            self.distinct.high += 1;
            if at >= self.distinct.low {
                self.distinct.add(&hit);
            } else {
                self.distinct.low += 1;
            }
        }
        let mut dropped = 0;
        while self.hits.len() > measure.hits_max() {
            self.drop_oldest();
            dropped += 1;
        }
        Some((at.saturating_sub(dropped), dropped as u64))
    }

    /// Looks at the windows that the hit at `at` is in.
    pub(crate) fn look(&mut self, measure: &Measure, at: usize) -> Option<Found> {
        let hit = *self.hits.get(at)?;
        let newest = self.hits.len() - 1;
        let before = at.checked_sub(1).and_then(|before| self.hits.get(before));
        if at == newest && before.is_none_or(|before| before.ns <= hit.ns - measure.timespan_ns) {
            self.open = false;
        }
        let was_open = self.open;
        let last = self.hits.partition_point(|known| known.ns < hit.ns.saturating_add(measure.timespan_ns));
        let near = last.min(at + LATE_WINDOWS_MAX);
        let and_newest = (last == newest + 1 && near < last).then_some(newest);
        let mut found = None;
        for end in (at..near).chain(and_newest) {
            let held = self.window(measure, end);
            if end == newest {
                self.open = held.is_some();
            }
            found = held.map(|value| (end, value)).or(found);
        }
        let (end, value) = found?;
        Some(self.found(measure, end, value, !was_open, at != newest))
    }

    /// Decides the window that follows the oldest hit, `(t, t + timespan]`, and lets the hit go: for conditions
    /// that look for too little. The inner value is `None` when there was enough.
    pub(crate) fn look_after(&mut self, measure: &Measure) -> Option<Option<Found>> {
        let hit = *self.hits.front()?;
        let end = hit.ns.saturating_add(measure.timespan_ns);
        let (low, high) = (self.after(hit.ns), self.after(end));
        let value = match measure.kind {
            CorrelationKind::ValueCount => count_distinct(self.hits.range(low..high)) as f64,
            _ => (high - low) as f64,
        };
        let was_open = std::mem::replace(&mut self.open, measure.holds(value, 0));
        let found = self.open.then(|| Found {
            value,
            ns: end,
            opened: !was_open,
            late: false,
            count: (high - low) as u64,
            evidence: vec![hit.index],
        });
        self.drop_oldest();
        Some(found)
    }

    /// The place of the first hit after a time.
    fn after(&self, ns: i64) -> usize {
        self.hits.partition_point(|hit| hit.ns <= ns)
    }

    fn found(&self, measure: &Measure, end: usize, value: f64, opened: bool, late: bool) -> Found {
        let ns = self.hits.get(end).map_or(0, |hit| hit.ns);
        let low = self.after(ns - measure.timespan_ns);
        let index = |at: usize| self.hits.get(at).map(|hit| hit.index);
        let count = end + 1 - low;
        let mut evidence: Vec<u64> = match count <= 2 * EVIDENCE_END {
            true => (low..=end).filter_map(index).collect(),
            false => {
                (low..low + EVIDENCE_END).chain(end + 1 - EVIDENCE_END..=end).filter_map(index).collect()
            }
        };
        evidence.dedup();
        Found { value, ns, opened, late, count: count as u64, evidence }
    }

    /// The value of the window that ends at this hit, if it satisfies the condition.
    fn window(&mut self, measure: &Measure, end: usize) -> Option<f64> {
        use CorrelationKind::*;
        let ns = self.hits.get(end)?.ns;
        let low = self.after(ns - measure.timespan_ns);
        let hits = || self.hits.range(low..=end);
        let (value, rules) = match measure.kind {
            EventCount => ((end + 1 - low) as f64, 0),
            ValueCount if end + 1 == self.hits.len() => (self.distinct.of(&self.hits, low) as f64, 0),
            ValueCount => (count_distinct(hits()) as f64, 0),
            Temporal => {
                let rules = rules_hit(hits().rev(), measure.rules);
                (f64::from(rules.count_ones()), rules)
            }
            TemporalOrdered => (in_order(hits()) as f64, 0),
            ValueSum => (hits().filter_map(number).sum(), 0),
            ValueAvg => (hits().filter_map(number).sum::<f64>() / (end + 1 - low) as f64, 0),
            ValuePercentile => (percentile(hits().filter_map(number).collect(), measure.percentile), 0),
            ValueMedian => (percentile(hits().filter_map(number).collect(), 50.0), 0),
        };
        measure.holds(value, rules).then_some(value)
    }
}

impl Distinct {
    fn add(&mut self, hit: &Hit) {
        if let Datum::Value(value) = hit.what {
            *self.counts.entry(value).or_default() += 1;
        }
    }

    fn remove(&mut self, hit: &Hit) {
        let Datum::Value(value) = hit.what else { return };
        if let Some(count) = self.counts.get_mut(&value) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&value);
            }
        }
    }

    /// Distinct values of the hits from `low` on.
    fn of(&mut self, hits: &VecDeque<Hit>, low: usize) -> usize {
        if self.low > low {
            (self.low, self.high) = (low, low);
            self.counts.clear();
        }
        for hit in hits.range(self.high.max(self.low).min(hits.len())..) {
            self.add(hit);
        }
        self.high = hits.len();
        for hit in hits.range(self.low.min(low)..low) {
            self.remove(hit);
        }
        self.low = low;
        self.counts.len()
    }
}

fn number(hit: &Hit) -> Option<f64> {
    if let Datum::Number(n) = hit.what { Some(n) } else { None }
}

fn count_distinct<'h>(hits: impl Iterator<Item = &'h Hit>) -> usize {
    let values = hits.filter_map(|hit| if let Datum::Value(value) = hit.what { Some(value) } else { None });
    values.collect::<std::collections::HashSet<_>>().len()
}

/// The set of rules that were hit; stops when it is all of them.
fn rules_hit<'h>(hits: impl Iterator<Item = &'h Hit>, rules: usize) -> u64 {
    let mut seen = 0u64;
    for hit in hits {
        if let Datum::Rule(rule) = hit.what {
            seen |= 1 << (rule % 64);
        }
        if seen.count_ones() as usize == rules {
            break;
        }
    }
    seen
}

/// How many rules, from the first, were hit one after the other, by different events.
fn in_order<'h>(hits: impl Iterator<Item = &'h Hit>) -> usize {
    let mut next = 0;
    let mut last = None;
    for hit in hits {
        if hit.what == Datum::Rule(next) && last != Some(hit.index) {
            last = Some(hit.index);
            next += 1;
        }
    }
    usize::from(next)
}

/// The value below which so many percent lie, between neighbours in proportion; of at least one value.
fn percentile(mut values: Vec<f64>, percent: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = percent / 100.0 * values.len().saturating_sub(1) as f64;
    let value = |rank: f64| values.get(rank as usize).copied().unwrap_or_default();
    let (below, above) = (value(rank.floor()), value(rank.ceil()));
    below + rank.fract() * (above - below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn measure(kind: CorrelationKind, timespan_ns: i64, least: f64) -> Measure {
        let bounds = vec![(Op::Gte, least)];
        Measure { kind, timespan_ns, bounds, percentile: 50.0, rules: 3, expression: None }
    }

    fn datum(kind: CorrelationKind, n: u8) -> Datum {
        match kind {
            CorrelationKind::EventCount => Datum::Event,
            CorrelationKind::ValueCount => Datum::Value([n; 16]),
            CorrelationKind::Temporal | CorrelationKind::TemporalOrdered => Datum::Rule(n % 3),
            _ => Datum::Number(f64::from(n)),
        }
    }

    /// The value of each window, from the words of the specification and nothing else.
    fn plainly(measure: &Measure, hits: &[Hit], end: usize) -> f64 {
        let ns = hits[end].ns;
        let window: Vec<&Hit> =
            hits[..=end].iter().filter(|hit| hit.ns > ns - measure.timespan_ns && hit.ns <= ns).collect();
        match measure.kind {
            CorrelationKind::EventCount => window.len() as f64,
            CorrelationKind::ValueCount => {
                let mut values: Vec<String> = window.iter().map(|hit| format!("{:?}", hit.what)).collect();
                values.sort();
                values.dedup();
                values.len() as f64
            }
            CorrelationKind::ValueSum => window.iter().filter_map(|hit| number(hit)).sum(),
            _ => unreachable!(),
        }
    }

    proptest! {
        #[test]
        fn a_window_has_the_same_value_in_whatever_order_its_hits_came(
            raw in prop::collection::vec((0i64..60, 0u8..5), 1..40), order in any::<u64>(), span in 1i64..30) {
            use CorrelationKind::*;
            for kind in [EventCount, ValueCount, ValueSum] {
                let measure = measure(kind, span, -1.0);
                let mut hits: Vec<Hit> = raw.iter().enumerate()
                    .map(|(at, (ns, n))| Hit { ns: *ns, index: at as u64, what: datum(kind, *n) }).collect();
                let mut group = Group::default();
                let mut arriving = hits.clone();
                let mut seed = order;
                for at in (1..arriving.len()).rev() {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    arriving.swap(at, (seed >> 33) as usize % (at + 1));
                }
                for hit in arriving {
                    let (at, _) = group.insert(&measure, hit).unwrap();
                    group.look(&measure, at);
                }
                hits.sort_by_key(|hit| (hit.ns, hit.index));
                for end in 0..hits.len() {
                    prop_assert_eq!(group.window(&measure, end), Some(plainly(&measure, &hits, end)), "{:?} {}", kind, end);
                }
            }
        }
    }

    #[test]
    fn order_is_looked_at_over_all_steps_and_one_event_is_one_step() {
        let hit = |ns, index, rule| Hit { ns, index, what: Datum::Rule(rule) };
        assert_eq!(in_order([hit(1, 1, 0), hit(2, 2, 2), hit(3, 3, 1)].iter()), 2);
        assert_eq!(in_order([hit(1, 1, 0), hit(2, 2, 1), hit(3, 3, 2)].iter()), 3);
        assert_eq!(in_order([hit(1, 1, 1), hit(1, 2, 0), hit(3, 3, 2)].iter()), 1);
        assert_eq!(in_order([hit(1, 1, 0), hit(1, 1, 1)].iter()), 1, "one event");
    }

    #[test]
    fn percentiles_lie_between_their_neighbours_in_proportion() {
        let of = |percent| percentile(vec![40.0, 10.0, 30.0, 20.0], percent);
        assert_eq!((of(0.0), of(50.0), of(90.0), of(100.0)), (10.0, 25.0, 37.0, 40.0));
        assert_eq!(percentile(vec![7.0], 99.0), 7.0);
    }

    #[test]
    fn a_full_group_forgets_its_oldest_hits() {
        let measure = measure(CorrelationKind::ValueCount, 1_000_000, 1.0);
        let mut group = Group::default();
        let mut dropped = 0;
        for n in 0..VALUES_MAX as i64 + 10 {
            let hit = Hit { ns: n, index: n as u64, what: Datum::Value((n as u128).to_be_bytes()) };
            let (at, gone) = group.insert(&measure, hit).unwrap();
            dropped += gone;
            let found = group.look(&measure, at).unwrap();
            assert_eq!(found.value, (n + 1).min(VALUES_MAX as i64) as f64);
        }
        assert_eq!((group.hits.len(), dropped), (VALUES_MAX, 10));
    }
}
