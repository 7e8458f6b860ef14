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
use countersign_event::Event;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most open groups of one correlation.
pub const GROUPS_RULE_MAX: usize = 100_000;
/// Most open groups of all correlations.
pub const GROUPS_MAX: usize = 1_000_000;
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
    correlations: Vec<Correlation>,
    states: Vec<State>,
    /// Rule → correlations that count it, with the place among their members.
    counted_by: HashMap<usize, Vec<(usize, usize)>>,
    /// Correlations that look for too little.
    absences: Vec<usize>,
    hmac: Hmac,
    /// The members of `Clock` that matter: up to here windows are decided, and up to there all is too late.
    watermark_ns: i64,
    too_late_ns: i64,
    stats: CorrelationStats,
}

#[derive(Default)]
struct State {
    groups: HashMap<Key, Group>,
    /// Groups by their newest hit; with absence by their oldest, whose window is decided first.
    order: BTreeSet<Rank>,
}

/// Time and index of the hit by which a group is ordered.
type Rank = (i64, u64, Key);
/// What is handed to members: by correlation and place, so that what is counted comes before who counts it.
type Work = BTreeMap<(usize, usize), Vec<Input>>;

impl Correlator {
    /// Correlations must stand after those that they count.
    pub(crate) fn new(correlations: Vec<Correlation>, hmac: Hmac) -> Correlator {
        let mut counted_by: HashMap<usize, Vec<(usize, usize)>> = HashMap::new();
        for (at, correlation) in correlations.iter().enumerate() {
            for (place, member) in correlation.members.iter().enumerate() {
                counted_by.entry(member.rule).or_default().push((at, place));
            }
        }
        let states = correlations.iter().map(|_| State::default()).collect();
        let (watermark_ns, too_late_ns, stats) = (i64::MIN, i64::MIN, CorrelationStats::default());
        let absent = |(_, correlation): &(usize, &Correlation)| correlation.measure.wants_absence();
        let absences = correlations.iter().enumerate().filter(absent).map(|(at, _)| at).collect();
        Correlator { correlations, states, counted_by, absences, hmac, watermark_ns, too_late_ns, stats }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.correlations.is_empty()
    }

    pub(crate) fn counts(&self, rule: usize) -> bool {
        self.counted_by.contains_key(&rule)
    }

    pub(crate) fn rule(&self, correlation: usize) -> Option<&Correlation> {
        self.correlations.get(correlation)
    }

    pub(crate) fn stats(&self) -> CorrelationStats {
        let groups = self.states.iter().map(|state| state.groups.len() as u64).sum();
        CorrelationStats { groups, ..self.stats }
    }

    /// Lets time come to a new event: decides what only waited for it, and forgets what is over.
    pub(crate) fn advance(&mut self, clock: super::clock::Clock, index: u64) -> Vec<Fired> {
        (self.watermark_ns, self.too_late_ns) = (clock.watermark_ns(), clock.too_late_ns());
        let mut fired = Vec::new();
        for at in self.absences.clone() {
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
            for &(at, place) in self.counted_by.get(rule).map_or(&[][..], Vec::as_slice) {
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
        let Some(inner) = self.correlations.get(fired.correlation) else { return };
        for &(at, place) in self.counted_by.get(&inner.rule).map_or(&[][..], Vec::as_slice) {
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
        self.correlations.get(at)?.members.get(place)
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
        let correlation = self.correlations.get(at)?;
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
        if input.ns <= self.too_late_ns {
            self.stats.too_late += 1;
            return None;
        }
        self.make_room(at, &key);
        let (correlation, state) = (self.correlations.get(at)?, self.states.get_mut(at)?);
        let measure = &correlation.measure;
        let absence = measure.wants_absence();
        let group = state.groups.entry(key.clone()).or_default();
        let before = group.rank(absence);
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
        state.rank(key.clone(), before, after);
        Some(Fired { correlation: at, found: found?, values: input.values, key })
    }

    /// Decides the oldest window of a correlation that looks for too little, if time has come to its end. The
    /// inner value is `None` when the window had enough.
    fn decide(&mut self, at: usize) -> Option<Option<Fired>> {
        let (correlation, state) = (self.correlations.get(at)?, self.states.get_mut(at)?);
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
        let after = group.rank(true);
        state.rank(key.clone(), Some((ns, index)), after);
        Some(found.map(|found| Fired { correlation: at, found, values: Vec::new(), key }))
    }

    /// Before a new group: forgets those that no hit can reach any more, and closes the oldest if there are
    /// still too many.
    fn make_room(&mut self, at: usize, key: &Key) {
        let (Some(correlation), Some(state)) = (self.correlations.get(at), self.states.get_mut(at)) else {
            return;
        };
        if state.groups.contains_key(key) {
            return;
        }
        if !correlation.measure.wants_absence() {
            let over_ns = self.too_late_ns.saturating_sub(correlation.measure.timespan_ns);
            while state.order.first().is_some_and(|(ns, ..)| *ns <= over_ns) {
                state.close_oldest();
            }
        }
        let here = state.groups.len();
        let all: usize = self.states.iter().map(|state| state.groups.len()).sum();
        if here < GROUPS_RULE_MAX && all < GROUPS_MAX {
            return;
        }
        if let Some(state) = self.states.get_mut(at)
            && state.close_oldest()
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
        oldest.is_some_and(|(.., key)| self.groups.remove(&key).is_some())
    }
}

/// All values of a field as one text; `None` if there is none.
fn joined(cell: &Cell<'_>) -> Option<String> {
    let mut texts = cell.each().filter_map(Cell::as_text);
    let first = texts.next()?.into_owned();
    Some(texts.fold(first, |all, next| all + "\u{1f}" + &next))
}
