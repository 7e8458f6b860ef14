//! Correlations: hits of rules, grouped and counted over windows of event time.
//!
//! Sigma correlation rules specification 2.1; where it is silent, docs/reference/sigma.md says what is done.
//! Invariants: an event that lacks a value of `group-by` counts in no group; state holds keyed hashes and
//! ledger indices, no names; every bound is named and what it costs is counted; the result is a function of the
//! events in ledger order, however they are cut into batches.

use super::fields::Source;
use super::value::Cell;
use super::window::{Datum, Digest, Found, Group, Hit, Measure};
use crate::Hmac;
use crate::clock::GRACE_NS;
use countersign_event::Event;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Most open groups of one correlation.
pub const GROUPS_RULE_MAX: usize = 100_000;
/// Most open groups of all correlations.
pub const GROUPS_MAX: usize = 1_000_000;
/// Most hits in all groups of all correlations: 320 MB.
pub const HITS_ALL_MAX: usize = 8_000_000;
/// Most rules that one correlation names.
pub const MEMBERS_MAX: usize = 64;
/// Most correlations in a chain of correlations.
pub const CHAIN_MAX: usize = 4;

/// Values of `group-by`, hashed.
type Key = Box<[Digest]>;

/// One correlation, ready to run.
pub(crate) struct Correlation {
    /// Its number in the rule set.
    pub(crate) rule: usize,
    pub(crate) measure: Measure,
    /// Names of `group-by`.
    pub(crate) group_by: Vec<String>,
    /// The rules it counts.
    pub(crate) members: Vec<Member>,
}

/// A rule that a correlation counts.
pub(crate) struct Member {
    /// Its number in the rule set.
    pub(crate) rule: usize,
    pub(crate) group: Vec<Part>,
    /// Fields of the condition.
    pub(crate) fields: Vec<Source>,
}

/// Where a value of `group-by` comes from.
pub(crate) enum Part {
    Field(Source),
    /// From the correlation that this one counts, by the place in its `group-by`; `None` = it has none.
    Inner(Option<usize>),
}

/// Counters of the correlations of a rule set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorrelationStats {
    /// Groups with hits in memory.
    pub groups: u64,
    /// Groups closed because there were too many: what they had counted is lost.
    pub evicted: u64,
    /// Hits dropped because their group had too many.
    pub dropped: u64,
    /// Hits of events that lack a value of `group-by`.
    pub ungrouped: u64,
    /// Hits of events that lack the field of the condition, or have no number in it.
    pub valueless: u64,
    /// Hits later than lateness and grace together: rules ran on them, windows did not.
    pub too_late: u64,
}

/// A correlation that holds at an event.
pub(crate) struct Fired {
    pub(crate) correlation: usize,
    pub(crate) found: Found,
    /// Values of `group-by`; empty when it was decided without an event of the group.
    pub(crate) values: Vec<String>,
    key: Key,
}

/// What a member hands on.
struct Input {
    ns: i64,
    key: Option<Key>,
    values: Vec<String>,
    datum: Option<Datum>,
}

/// The state of all correlations of a rule set.
pub(crate) struct Correlator {
    fixed: Arc<Fixed>,
    states: Vec<State>,
    bounds: Bounds,
    hmac: Hmac,
    /// Up to here windows are decided, and up to there all is too late.
    watermark_ns: i64,
    too_late_ns: i64,
    stats: CorrelationStats,
}

/// What does not change while they run: correlations, each after those that it counts.
struct Fixed {
    correlations: Vec<Correlation>,
    /// Rule → correlations that count it, with the place among their members.
    counted_by: HashMap<usize, Vec<(usize, usize)>>,
    /// Correlations that look for too little.
    absences: Vec<usize>,
}

#[derive(Default)]
struct State {
    groups: HashMap<Key, Group>,
    /// Groups by their newest hit; with absence by their oldest, whose window is decided first.
    order: BTreeSet<Rank>,
    /// Hits in all groups.
    hits: usize,
}

/// The bounds of state; smaller in tests.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    groups_rule: usize,
    groups: usize,
    hits: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { groups_rule: GROUPS_RULE_MAX, groups: GROUPS_MAX, hits: HITS_ALL_MAX }
    }
}

impl Bounds {
    /// In proportion to a bound of hits.
    pub(crate) fn of(hits: usize) -> Bounds {
        let groups = hits / (HITS_ALL_MAX / GROUPS_MAX);
        Bounds { groups_rule: groups.min(GROUPS_RULE_MAX), groups, hits }
    }
}

/// Time and index of the hit by which a group is ordered.
type Rank = (i64, u64, Key);
/// What is handed to members: by correlation and place, so that what is counted comes before who counts it.
type Work = BTreeMap<(usize, usize), Vec<Input>>;

impl Correlator {
    /// Correlations must stand after those that they count.
    pub(crate) fn new(correlations: Vec<Correlation>, bounds: Bounds, hmac: Hmac) -> Correlator {
        let mut counted_by: HashMap<usize, Vec<(usize, usize)>> = HashMap::new();
        for (at, correlation) in correlations.iter().enumerate() {
            for (place, member) in correlation.members.iter().enumerate() {
                counted_by.entry(member.rule).or_default().push((at, place));
            }
        }
        let absent = |(_, correlation): &(usize, &Correlation)| correlation.measure.wants_absence();
        let absences = correlations.iter().enumerate().filter(absent).map(|(at, _)| at).collect();
        Correlator::over(Arc::new(Fixed { correlations, counted_by, absences }), bounds, hmac)
    }

    fn over(fixed: Arc<Fixed>, bounds: Bounds, hmac: Hmac) -> Correlator {
        let states = fixed.correlations.iter().map(|_| State::default()).collect();
        let (watermark_ns, too_late_ns, stats) = (i64::MIN, i64::MIN, CorrelationStats::default());
        Correlator { fixed, states, bounds, hmac, watermark_ns, too_late_ns, stats }
    }

    /// The same correlations, without any hit.
    pub(crate) fn anew(&self, bounds: Bounds) -> Correlator {
        Correlator::over(Arc::clone(&self.fixed), bounds, Arc::clone(&self.hmac))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fixed.correlations.is_empty()
    }

    pub(crate) fn counts(&self, rule: usize) -> bool {
        self.fixed.counted_by.contains_key(&rule)
    }

    pub(crate) fn rule(&self, correlation: usize) -> Option<&Correlation> {
        self.fixed.correlations.get(correlation)
    }

    /// Longest time that a correlation looks back, ns.
    pub(crate) fn longest_ns(&self) -> u64 {
        let spans = self.fixed.correlations.iter().map(|correlation| correlation.measure.timespan_ns);
        spans.max().and_then(|span| u64::try_from(span).ok()).unwrap_or(0)
    }

    pub(crate) fn stats(&self) -> CorrelationStats {
        let groups = self.states.iter().map(|state| state.groups.len() as u64).sum();
        CorrelationStats { groups, ..self.stats }
    }

    /// End of the first window that only waits for time, event time in ns.
    pub(crate) fn waits_until_ns(&self) -> Option<i64> {
        let ends = self.fixed.absences.iter().filter_map(|at| {
            let (first, ..) = self.states.get(*at)?.order.first()?;
            Some(first.saturating_add(self.fixed.correlations.get(*at)?.measure.timespan_ns))
        });
        ends.min()
    }

    /// Lets time come to a new event: decides what only waited for it, and forgets what is over.
    pub(crate) fn advance(&mut self, watermark_ns: i64, index: u64) -> Vec<Fired> {
        (self.watermark_ns, self.too_late_ns) = (watermark_ns, watermark_ns.saturating_sub(GRACE_NS));
        let mut fired = Vec::new();
        let fixed = Arc::clone(&self.fixed);
        for at in fixed.absences.iter().copied() {
            while let Some(one) = self.decide(at) {
                fired.extend(one);
            }
        }
        let mut work = Work::new();
        fired.iter().for_each(|one| self.hand_on(one, &mut work));
        fired.extend(self.run(work, index));
        fired
    }

    /// Takes in the rules that hold at an event, ascending, and gives the correlations that do.
    pub(crate) fn feed(&mut self, index: u64, ns: i64, event: &Event, rules: &[usize]) -> Vec<Fired> {
        let mut work = Work::new();
        for rule in rules {
            for &(at, place) in self.fixed.counted_by.get(rule).map_or(&[][..], Vec::as_slice) {
                if let Some(input) = self.input(at, place, ns, event) {
                    work.entry((at, place)).or_default().push(input);
                }
            }
        }
        self.run(work, index)
    }

    /// Runs inputs, correlations before those that count them.
    fn run(&mut self, mut work: Work, index: u64) -> Vec<Fired> {
        let mut fired = Vec::new();
        while let Some(((at, _), inputs)) = work.pop_first() {
            for input in inputs {
                if let Some(one) = self.take_in(at, input, index) {
                    self.hand_on(&one, &mut work);
                    fired.push(one);
                }
            }
        }
        fired
    }

    /// Hands a correlation that holds to those that count it.
    fn hand_on(&self, fired: &Fired, work: &mut Work) {
        let Some(inner) = self.fixed.correlations.get(fired.correlation) else { return };
        for &(at, place) in self.fixed.counted_by.get(&inner.rule).map_or(&[][..], Vec::as_slice) {
            let Some(member) = self.member(at, place) else { continue };
            let places: Option<Vec<usize>> = member
                .group
                .iter()
                .map(|part| match part {
                    Part::Inner(place) => *place,
                    Part::Field(_) => None,
                })
                .collect();
            let key = places.as_ref().and_then(|places| {
                places.iter().map(|place| fired.key.get(*place).copied()).collect::<Option<Vec<Digest>>>()
            });
            let values =
                places.unwrap_or_default().iter().filter_map(|p| fired.values.get(*p).cloned()).collect();
            let datum = self.datum(at, place, None);
            let input = Input { ns: fired.found.ns, key: key.map(Vec::into_boxed_slice), values, datum };
            work.entry((at, place)).or_default().push(input);
        }
    }

    fn member(&self, at: usize, place: usize) -> Option<&Member> {
        self.fixed.correlations.get(at)?.members.get(place)
    }

    fn input(&self, at: usize, place: usize, ns: i64, event: &Event) -> Option<Input> {
        let member = self.member(at, place)?;
        let taken = member.group.iter().map(|part| match part {
            Part::Field(source) => joined(&source.take(event)),
            Part::Inner(_) => None,
        });
        let values: Option<Vec<String>> = taken.collect();
        let key = values.as_ref().map(|values| values.iter().map(|value| self.digest(value)).collect());
        let datum = self.datum(at, place, Some(event));
        Some(Input { ns, key, values: values.unwrap_or_default(), datum })
    }

    fn datum(&self, at: usize, place: usize, event: Option<&Event>) -> Option<Datum> {
        let correlation = self.fixed.correlations.get(at)?;
        let kind = correlation.measure.kind;
        if kind.temporal() {
            return u8::try_from(place).ok().map(Datum::Rule);
        }
        if !kind.has_field() {
            return Some(Datum::Event);
        }
        let (fields, event) = (&correlation.members.get(place)?.fields, event?);
        if kind.numeric() {
            let cell = fields.first()?.take(event);
            return cell.each().find_map(Cell::as_number).filter(|n| n.is_finite()).map(Datum::Number);
        }
        let values: Option<Vec<String>> = fields.iter().map(|field| joined(&field.take(event))).collect();
        let lengths = values?.iter().map(|value| format!("{}:{value}", value.len())).collect::<String>();
        Some(Datum::Value(self.digest(&lengths)))
    }

    fn digest(&self, value: &str) -> Digest {
        let mut bytes = b"countersign-sigma-v1".to_vec();
        bytes.extend_from_slice(value.as_bytes());
        crate::finding::first_half((self.hmac)(&bytes))
    }

    /// Takes a hit into its group and looks at its windows.
    fn take_in(&mut self, at: usize, input: Input, index: u64) -> Option<Fired> {
        let Some(key) = input.key else {
            self.stats.ungrouped += 1;
            return None;
        };
        let Some(what) = input.datum else {
            self.stats.valueless += 1;
            return None;
        };
        if input.ns < self.too_late_ns {
            self.stats.too_late += 1;
            return None;
        }
        self.make_room(at, &key);
        let (correlation, state) = (self.fixed.correlations.get(at)?, self.states.get_mut(at)?);
        let measure = &correlation.measure;
        let absence = measure.wants_absence();
        let group = state.groups.entry(key.clone()).or_default();
        let (before, held) = (group.rank(absence), group.len());
        if let Some((newest, _)) = group.newest().filter(|_| !absence) {
            // The newest stays, and with it the group's place in the order.
            group.expire(self.too_late_ns.saturating_sub(measure.timespan_ns).min(newest - 1));
        }
        let placed = group.insert(measure, Hit { ns: input.ns, index, what });
        let found = match placed {
            Some((at, dropped)) => {
                self.stats.dropped += dropped;
                if absence { None } else { group.look(measure, at) }
            }
            None => None,
        };
        let after = group.rank(absence);
        state.hits = state.hits + group.len() - held;
        state.rank(key.clone(), before, after);
        Some(Fired { correlation: at, found: found?, values: input.values, key })
    }

    /// Decides the oldest window of a correlation that looks for too little, if time has come to its end. The
    /// inner value is `None` when the window had enough.
    fn decide(&mut self, at: usize) -> Option<Option<Fired>> {
        let (correlation, state) = (self.fixed.correlations.get(at)?, self.states.get_mut(at)?);
        let measure = &correlation.measure;
        if !measure.wants_absence() {
            return None;
        }
        let first = state.order.first()?;
        if first.0.saturating_add(measure.timespan_ns) > self.watermark_ns {
            return None;
        }
        let (ns, index, key) = first.clone();
        let group = state.groups.get_mut(&key)?;
        let found = group.look_after(measure)?;
        state.hits -= 1;
        let after = group.rank(true);
        state.rank(key.clone(), Some((ns, index)), after);
        Some(found.map(|found| Fired { correlation: at, found, values: Vec::new(), key }))
    }

    /// Before a hit: forgets groups that no hit can reach any more, and closes the oldest where there is still
    /// too much.
    fn make_room(&mut self, at: usize, key: &Key) {
        let (Some(correlation), Some(state)) = (self.fixed.correlations.get(at), self.states.get_mut(at))
        else {
            return;
        };
        let new = !state.groups.contains_key(key);
        if new && !correlation.measure.wants_absence() {
            let over_ns = self.too_late_ns.saturating_sub(correlation.measure.timespan_ns);
            while state.order.first().is_some_and(|(ns, ..)| *ns <= over_ns) {
                state.close_oldest();
            }
        }
        let mut full = new && state.groups.len() >= self.bounds.groups_rule;
        full |=
            new && self.states.iter().map(|state| state.groups.len()).sum::<usize>() >= self.bounds.groups;
        if let Some(state) = self.states.get_mut(at).filter(|_| full)
            && state.close_oldest()
        {
            self.stats.evicted += 1;
        }
        if self.states.iter().map(|state| state.hits).sum::<usize>() >= self.bounds.hits
            && let Some(largest) = self.states.iter_mut().max_by_key(|state| state.hits)
            && largest.close_oldest()
        {
            self.stats.evicted += 1;
        }
    }
}

impl State {
    /// Moves a group in the order; one without hits leaves.
    fn rank(&mut self, key: Key, before: Option<(i64, u64)>, after: Option<(i64, u64)>) {
        if before == after {
            return;
        }
        if let Some((ns, index)) = before {
            self.order.remove(&(ns, index, key.clone()));
        }
        match after {
            Some((ns, index)) => drop(self.order.insert((ns, index, key))),
            None => drop(self.groups.remove(&key)),
        }
    }

    fn close_oldest(&mut self) -> bool {
        let oldest = self.order.pop_first();
        let closed = oldest.and_then(|(.., key)| self.groups.remove(&key));
        self.hits -= closed.as_ref().map_or(0, Group::len);
        closed.is_some()
    }
}

/// All values of a field as one text; `None` if there is none.
fn joined(cell: &Cell<'_>) -> Option<String> {
    let mut texts = cell.each().filter_map(Cell::as_text);
    let first = texts.next()?.into_owned();
    Some(texts.fold(first, |all, next| all + "\u{1f}" + &next))
}

#[cfg(test)]
mod tests {
    use super::super::ast::{CorrelationKind, LogSource, Op};
    use super::super::fields;
    use super::*;
    use std::sync::Arc;

    fn correlator(kind: CorrelationKind, bounds: Bounds, least: f64) -> Correlator {
        let hmac: Hmac = Arc::new(|bytes: &[u8]| {
            use sha2::{Digest, Sha256};
            Sha256::digest(bytes).into()
        });
        let measure = Measure {
            kind,
            timespan_ns: 1_000_000_000_000,
            bounds: vec![(Op::Gte, least)],
            percentile: 50.0,
            rules: 1,
            expression: None,
        };
        let who = || fields::find("who.id", &LogSource::default());
        let member = Member { rule: 0, group: vec![Part::Field(who())], fields: vec![who()] };
        let correlation =
            Correlation { rule: 1, measure, group_by: vec!["who".into()], members: vec![member] };
        Correlator::new(vec![correlation], bounds, hmac)
    }

    fn feed(correlator: &mut Correlator, index: u64, who: &str) -> Vec<Fired> {
        let mut event = Event::default();
        event.who.who = Some(countersign_event::Principal::new(who, countersign_event::Verified::Claimed));
        event.core.t_event = Some(index as i64 * 1_000_000);
        let ns = index as i64 * 1_000_000;
        correlator.advance(ns, index);
        correlator.feed(index, ns, &event, &[0])
    }

    #[test]
    fn a_flood_of_names_closes_the_oldest_groups_and_is_counted() {
        let bounds = Bounds { groups_rule: 100, ..Bounds::default() };
        let mut correlator = correlator(CorrelationKind::EventCount, bounds, 2.0);
        for n in 0..1000 {
            assert!(feed(&mut correlator, n, &format!("id:{n}")).is_empty());
        }
        let stats = correlator.stats();
        assert_eq!((stats.groups, stats.evicted), (100, 900));
        assert_eq!(feed(&mut correlator, 1000, "id:999").len(), 1, "a young group is still there");
        assert!(feed(&mut correlator, 1001, "id:1").is_empty(), "an old one begins anew");
    }

    #[test]
    fn a_flood_of_hits_stays_within_its_bound() {
        let bounds = Bounds { hits: 500, ..Bounds::default() };
        let mut correlator = correlator(CorrelationKind::ValueCount, bounds, 1000.0);
        for n in 0..5000 {
            feed(&mut correlator, n, &format!("id:{}", n % 50));
            let held: usize = correlator.states[0].groups.values().map(Group::len).sum();
            assert_eq!(held, correlator.states[0].hits);
            assert!(held <= 500);
            assert_eq!(correlator.states[0].groups.len(), correlator.states[0].order.len());
        }
        assert!(correlator.stats().evicted > 0);
    }
}
