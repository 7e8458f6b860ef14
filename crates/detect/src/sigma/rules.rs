//! A set of rules that runs: events in, matches out. Not the reading of rule texts: that is `load`.

use super::ast::{self, Meta};
use super::compile::Placeholders;
use super::correlate::{Bounds, CorrelationStats, Correlator, Fired};
use super::evaluate::{BATCH_MAX, Evaluator, Rows};
use super::history::{self, Histories};
use super::load::Loader;
use super::plan::{Expr, Plan};
use super::refused::{Refused, Warning};
use crate::Hmac;
use crate::clock::{AHEAD_MAX_NS, Clock, Timely};
use countersign_event::Event;

/// Most rules in a set.
pub const RULES_MAX: usize = 10_000;
/// Event times further from 1970 are taken as this, ns: 146 years. Beyond it windows could not be computed.
const TIME_MAX_NS: i64 = 1 << 62;

/// The text of a rule file, and what to call it in messages.
#[derive(Clone, Copy, Debug)]
pub struct RuleText<'t> {
    /// The file's path.
    pub source: &'t str,
    /// One or more YAML documents.
    pub text: &'t str,
}

/// What rules are compiled with.
#[derive(Clone)]
pub struct Options {
    /// Values of `%placeholders%`.
    pub placeholders: Placeholders,
    /// Hashes the values of `group-by`, so that state holds no names.
    pub hmac: Hmac,
}

/// One rule of a set.
#[derive(Clone, Debug)]
pub struct RuleInfo {
    /// What the rule says of itself.
    pub meta: Meta,
    /// SHA-256 of the rule as read, and of the filters that apply to it.
    pub hash: [u8; 32],
    /// What it correlates; `None` = it looks at single events.
    pub correlation: Option<ast::CorrelationKind>,
    /// Whether it matches on its own. False for rules that only correlations count.
    pub reported: bool,
}

impl RuleInfo {
    /// The values of [`Meta::explain`], by name, for a match at this event; fields that the event lacks are left
    /// out. They come from the wire: escape them where they are shown.
    pub fn values(&self, found: &Match, event: &Event) -> Vec<(String, String)> {
        super::sentence::values(&self.meta.explain, found.correlation.as_deref(), event)
    }
}

/// A rule that holds at an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// Its number in [`RuleSet::rules`].
    pub rule: usize,
    /// Ledger index of the event at which it was decided.
    pub index: u64,
    /// How that event stood to the watermark; of a window that time alone decided: on time, or historical.
    pub timely: Timely,
    /// What a correlation found; `None` for a rule of single events.
    pub correlation: Option<Box<Correlated>>,
}

/// What a correlation found.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlated {
    /// The count, sum, average or percentile of the window.
    pub value: f64,
    /// End of the window, event time in ns.
    pub until_ns: i64,
    /// Whether it did not hold before: a finding opens. Else an open one is updated.
    pub opened: bool,
    /// Whether the event came after a later one of its group.
    pub late: bool,
    /// Names and values of `group-by`; empty when a window was decided without an event of its group.
    pub group: Vec<(String, String)>,
    /// Hits in the window.
    pub count: u64,
    /// Ledger indices of the first ten and the last ten of them.
    pub evidence: Vec<u64>,
}

/// What a rule of single events cost so far. Work is counted, not time, so that a replay counts the same: words of 64
/// events that its condition joined, and events whose fields it compared with each other. The tests of single values are
/// shared by all rules and in none of these; how often depends on the cut into batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCost {
    /// Units of work.
    pub work: u64,
    /// Events at which it held.
    pub hits: u64,
}

/// Counters of a rule set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleStats {
    /// Events looked at.
    pub events: u64,
    /// Counters of its correlations, those over history among them.
    pub correlations: CorrelationStats,
    /// Events later than lateness and grace together: rules of single events ran on them, windows did not.
    pub too_late: u64,
    /// Observers whose windows of history were given up because there were too many.
    pub histories_evicted: u64,
    /// How often the kept answers of a field were forgotten because they were too many.
    pub forgotten: u64,
}

/// What became of some rule texts.
pub struct Compiled {
    /// The rules that run.
    pub rules: RuleSet,
    /// Those that do not.
    pub refused: Vec<Refused>,
    /// What is odd about rules that run.
    pub warnings: Vec<Warning>,
}

impl Compiled {
    /// Rules that run and can never match.
    pub fn never(&self) -> usize {
        self.warnings.iter().filter(|warning| warning.never).count()
    }

    /// The line in which a check ends: `loaded N, refused M, can-never-match K`.
    pub fn summary(&self) -> String {
        let (loaded, refused) = (self.rules.rules().len(), self.refused.len());
        format!("loaded {loaded}, refused {refused}, can-never-match {}", self.never())
    }
}

/// Rules that run together. [`RuleSet::evaluate`] is a function of the events so far, in ledger order: any cut
/// into batches gives the same matches.
pub struct RuleSet {
    infos: Vec<RuleInfo>,
    /// What each rule of single events wants, by its number.
    exprs: Vec<(usize, Expr)>,
    plan: Plan,
    evaluator: Evaluator,
    correlator: Correlator,
    histories: Histories,
    clock: Clock,
    events: u64,
    /// By number of the rule.
    costs: Vec<RuleCost>,
}

impl RuleSet {
    /// Reads and compiles rules, filters and correlations. Documents that cannot be evaluated as written are
    /// refused one by one; the others run. Whoever wants all or nothing looks at [`Compiled::refused`].
    pub fn compile(texts: &[RuleText<'_>], options: &Options) -> Compiled {
        let mut loader = Loader::default();
        for text in texts {
            loader.read(text);
        }
        loader.compile(options)
    }

    /// A set that has seen nothing.
    pub(super) fn new(
        infos: Vec<RuleInfo>,
        exprs: Vec<(usize, Expr)>,
        plan: Plan,
        correlations: Vec<super::correlate::Correlation>,
        hmac: &Hmac,
    ) -> RuleSet {
        let evaluator = Evaluator::new(&plan);
        let correlator = Correlator::new(correlations, Bounds::default(), Hmac::clone(hmac));
        let costs = vec![RuleCost::default(); infos.len()];
        let (histories, clock) = (Histories::default(), Clock::new());
        RuleSet { infos, exprs, plan, evaluator, correlator, histories, clock, events: 0, costs }
    }

    /// The rules, in the order of their texts, correlations last; [`Match::rule`] is a place in it.
    pub fn rules(&self) -> &[RuleInfo] {
        &self.infos
    }

    /// Longest time that a correlation looks back, ns of event time; 0 without correlations.
    pub fn longest_ns(&self) -> u64 {
        self.correlator.longest_ns()
    }

    /// Counters.
    pub fn stats(&self) -> RuleStats {
        let (past, histories_evicted) = self.histories.stats();
        RuleStats {
            events: self.events,
            correlations: history::sum(self.correlator.stats(), past),
            too_late: self.clock.too_late(),
            histories_evicted,
            forgotten: self.evaluator.forgotten(),
        }
    }

    /// What each rule cost so far, in the order of [`RuleSet::rules`]; of correlations nothing is counted.
    pub fn costs(&self) -> &[RuleCost] {
        &self.costs
    }

    /// End of the first window that only waits for time, event time in ns; those over history wait for their import.
    pub(crate) fn waits_until_ns(&self) -> Option<i64> {
        self.correlator.waits_until_ns()
    }

    /// How far the time of events has come.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Goes on from where another run had come.
    pub(crate) fn resume(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Lets go of the field values that are kept for speed, as an erasure wants. Matches are the same after it.
    pub fn forget_values(&mut self) {
        self.evaluator.forget();
    }

    /// Looks at events in ledger order, `(index, ledger time in ns, event)`, ascending, each once. Matches come by
    /// event, then by rule, correlations after the rules that they count.
    pub fn evaluate(&mut self, events: &[(u64, u64, &Event)]) -> Vec<Match> {
        let mut out = Vec::new();
        for chunk in events.chunks(BATCH_MAX) {
            self.chunk(chunk, &mut out);
        }
        out
    }

    fn chunk(&mut self, events: &[(u64, u64, &Event)], out: &mut Vec<Match>) {
        self.events += events.len() as u64;
        let hits = self.hits(events);
        let mut hits = hits.as_slice();
        let mut counted = Vec::new();
        for (row, (index, ledger_ns, event)) in events.iter().enumerate() {
            let moment = self.clock.see(*ledger_ns, event);
            let latest = i64::try_from(*ledger_ns).unwrap_or(i64::MAX).saturating_add(AHEAD_MAX_NS);
            let ns = moment.at_ns.min(latest).clamp(-TIME_MAX_NS, TIME_MAX_NS);
            let here = hits.partition_point(|(at, _)| *at == row);
            let (now, later) = hits.split_at(here);
            hits = later;
            let past = moment.timely == Timely::Historical;
            let correlates = !self.correlator.is_empty();
            if correlates && !past {
                for fired in self.correlator.advance(moment.watermark_ns, *index) {
                    out.extend(self.correlated(fired, *index, Timely::OnTime));
                }
            }
            counted.clear();
            for (_, rule) in now {
                if self.infos.get(*rule).is_some_and(|info| info.reported) {
                    out.push(Match { rule: *rule, index: *index, timely: moment.timely, correlation: None });
                }
                counted.extend(Some(*rule).filter(|rule| self.correlator.counts(*rule)));
            }
            if !correlates || counted.is_empty() && !past {
                continue;
            }
            let fired = if past {
                let history = self.histories.at(&event.core.agent, ns, *index, &self.correlator);
                let mut fired = history.correlator.advance(history.watermark_ns, *index);
                fired.extend(history.correlator.feed(*index, ns, event, &counted));
                fired
            } else {
                self.correlator.feed(*index, ns, event, &counted)
            };
            for fired in fired {
                out.extend(self.correlated(fired, *index, moment.timely));
            }
        }
    }

    /// Which rules of single events hold where: (row, rule), ascending.
    fn hits(&mut self, events: &[(u64, u64, &Event)]) -> Vec<(usize, usize)> {
        let only: Vec<&Event> = events.iter().map(|(.., event)| *event).collect();
        let mut hits: Vec<(usize, usize)> = Vec::new();
        let mut batch = self.evaluator.batch(&self.plan, &only);
        for (rule, expr) in &self.exprs {
            let before = hits.len();
            match batch.rows(expr) {
                Rows::None => {}
                rows => hits.extend(rows.list(only.len()).into_iter().map(|row| (row, *rule))),
            }
            if let Some(cost) = self.costs.get_mut(*rule) {
                cost.work = cost.work.saturating_add(batch.take_work());
                cost.hits += (hits.len() - before) as u64;
            }
        }
        hits.sort_unstable();
        hits
    }

    fn correlated(&self, fired: Fired, index: u64, timely: Timely) -> Option<Match> {
        let correlation = self.correlator.rule(fired.correlation)?;
        if !self.infos.get(correlation.rule)?.reported {
            return None;
        }
        let found = fired.found;
        let correlated = Correlated {
            value: found.value,
            until_ns: found.ns,
            opened: found.opened,
            late: found.late,
            group: correlation.group_by.iter().cloned().zip(fired.values).collect(),
            count: found.count,
            evidence: found.evidence,
        };
        let correlation = correlation.rule;
        Some(Match { rule: correlation, index, timely, correlation: Some(Box::new(correlated)) })
    }
}
