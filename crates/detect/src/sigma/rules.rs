//! A set of rules that runs: text in, matches out.

use super::ast::{self, Document, Filter, LogSource, Meta};
use super::clock::Clock;
use super::compile::{Compiler, Placeholders};
use super::correlate::{Bounds, CorrelationStats, Correlator, Fired};
use super::evaluate::{BATCH_MAX, Evaluator, Rows};
use super::link::{self, Named, Names};
use super::plan::{Expr, Plan, Planner};
use super::refused::{Fault, Refused, Warning};
use super::route::Route;
use super::{read, yaml};
use crate::Hmac;
use countersign_event::Event;
use sha2::{Digest, Sha256};

/// Most rules in a set.
pub const RULES_MAX: usize = 10_000;

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

/// Counters of a rule set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleStats {
    /// Events looked at.
    pub events: u64,
    /// Counters of its correlations.
    pub correlations: CorrelationStats,
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

/// Rules that run together. [`RuleSet::evaluate`] is a function of the events so far, in ledger order: any cut
/// into batches gives the same matches.
pub struct RuleSet {
    infos: Vec<RuleInfo>,
    /// What each rule of single events wants, by its number.
    exprs: Vec<(usize, Expr)>,
    plan: Plan,
    evaluator: Evaluator,
    correlator: Correlator,
    clock: Clock,
    events: u64,
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
        let correlations = self.correlator.stats();
        RuleStats { events: self.events, correlations, forgotten: self.evaluator.forgotten() }
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
        let only: Vec<&Event> = events.iter().map(|(.., event)| *event).collect();
        let mut hits: Vec<(usize, usize)> = Vec::new();
        let mut batch = self.evaluator.batch(&self.plan, &only);
        for (rule, expr) in &self.exprs {
            match batch.rows(expr) {
                Rows::None => {}
                rows => hits.extend(rows.list(only.len()).into_iter().map(|row| (row, *rule))),
            }
        }
        hits.sort_unstable();
        let mut hits = hits.as_slice();
        if self.correlator.is_empty() {
            let index = |row: usize| events.get(row).map_or(0, |(index, ..)| *index);
            out.extend(hits.iter().map(|(row, rule)| Match {
                rule: *rule,
                index: index(*row),
                correlation: None,
            }));
            return;
        }
        let mut counted = Vec::new();
        for (row, (index, ledger_ns, event)) in events.iter().enumerate() {
            let ns = self.clock.advance(*ledger_ns, event);
            for fired in self.correlator.advance(self.clock, *index) {
                out.extend(self.correlated(fired, *index));
            }
            let here = hits.partition_point(|(at, _)| *at == row);
            let (now, later) = hits.split_at(here);
            hits = later;
            counted.clear();
            for (_, rule) in now {
                if self.infos.get(*rule).is_some_and(|info| info.reported) {
                    out.push(Match { rule: *rule, index: *index, correlation: None });
                }
                counted.extend(Some(*rule).filter(|rule| self.correlator.counts(*rule)));
            }
            if counted.is_empty() {
                continue;
            }
            for fired in self.correlator.feed(*index, ns, event, &counted) {
                out.extend(self.correlated(fired, *index));
            }
        }
    }

    fn correlated(&self, fired: Fired, index: u64) -> Option<Match> {
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
        Some(Match { rule: correlation.rule, index, correlation: Some(Box::new(correlated)) })
    }
}

/// A document with the place it came from.
struct Loaded<T> {
    source: String,
    document: usize,
    hash: Sha256,
    written: T,
}

/// Rules on their way into a set.
#[derive(Default)]
struct Loader {
    rules: Vec<Loaded<ast::Rule>>,
    correlations: Vec<Loaded<ast::Correlation>>,
    filters: Vec<Loaded<Filter>>,
    refused: Vec<Refused>,
}

impl Loader {
    fn read(&mut self, text: &RuleText<'_>) {
        for (document, mapping) in yaml::documents(text.text) {
            let source = text.source.to_owned();
            let mapping = match mapping {
                Ok(mapping) => mapping,
                Err(fault) => {
                    self.refused.push(refused(&source, document, &Meta::default(), fault));
                    continue;
                }
            };
            let canonical = yaml_serde::to_string(&mapping).unwrap_or_default();
            let hash = Sha256::new().chain_update(canonical);
            match read::document(&mapping) {
                Ok(Document::Rule(written)) => self.rules.push(Loaded { source, document, hash, written }),
                Ok(Document::Filter(written)) => {
                    self.filters.push(Loaded { source, document, hash, written })
                }
                Ok(Document::Correlation(written)) => {
                    self.correlations.push(Loaded { source, document, hash, written });
                }
                Err(fault) => {
                    let (meta, fault) = *fault;
                    self.refused.push(refused(&source, document, &meta, fault));
                }
            }
        }
    }

    fn compile(mut self, options: &Options) -> Compiled {
        let mut compiler = Compiler { planner: Planner::default(), placeholders: &options.placeholders };
        let (mut infos, mut exprs, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        let mut names = Names::new();
        let filters = self.filters(&mut compiler);
        for mut loaded in std::mem::take(&mut self.rules) {
            let ast::Rule { meta, logsource, detections } = &loaded.written;
            let made =
                self.room(infos.len(), &meta.id, &names).and_then(|()| compiler.rule(logsource, detections));
            let mut expr = match made {
                Ok(expr) => expr,
                Err(fault) => {
                    note(&mut names, meta, || Named::Refused);
                    self.refused.push(refused(&loaded.source, loaded.document, meta, fault));
                    continue;
                }
            };
            for (filter, wanted, hash) in
                filters.iter().filter(|(filter, ..)| applies(filter, meta, logsource))
            {
                expr = Expr::All(vec![expr, wanted.clone()]);
                loaded.hash.update(hash);
                loaded.hash.update(filter.meta.id.as_bytes());
            }
            if Route::of(logsource) == Route::Nothing {
                let what = "can never match: no event has its log source".to_owned();
                warnings.push(Warning { id: meta.id.clone(), what });
            }
            let rule = infos.len();
            note(&mut names, meta, || Named::Rule { rule, logsource: logsource.clone() });
            exprs.push((rule, expr));
            let hash = loaded.hash.finalize().into();
            infos.push(RuleInfo { meta: meta.clone(), hash, correlation: None, reported: true });
        }
        self.check_filters(&infos);
        let linked = self.link(&mut infos, &mut names);
        let plan = match compiler.planner.finish() {
            Ok(plan) => plan,
            Err(what) => return self.nothing(what, options),
        };
        let evaluator = Evaluator::new(&plan);
        let correlator = Correlator::new(linked, Bounds::default(), options.hmac.clone());
        let rules = RuleSet { infos, exprs, plan, evaluator, correlator, clock: Clock::new(), events: 0 };
        Compiled { rules, refused: self.refused, warnings }
    }

    /// All rules together are too much: none runs, and that is said.
    fn nothing(mut self, what: String, options: &Options) -> Compiled {
        self.refused.push(refused("", 0, &Meta::default(), Fault::new("", what)));
        let plan = Plan { columns: Vec::new(), pairs: Vec::new(), routes: Vec::new(), tests: 0 };
        let evaluator = Evaluator::new(&plan);
        let correlator = Correlator::new(Vec::new(), Bounds::default(), options.hmac.clone());
        let (infos, exprs) = (Vec::new(), Vec::new());
        let rules = RuleSet { infos, exprs, plan, evaluator, correlator, clock: Clock::new(), events: 0 };
        Compiled { rules, refused: self.refused, warnings: Vec::new() }
    }

    fn room(&self, rules: usize, id: &str, names: &Names) -> Result<(), Fault> {
        if rules >= RULES_MAX {
            return Err(Fault::new("", format!("more than {RULES_MAX} rules")));
        }
        match names.contains_key(id) {
            true => Err(Fault::new("id", "another rule has it")),
            false => Ok(()),
        }
    }

    /// The filters that can be evaluated, each with what it wants.
    fn filters(&mut self, compiler: &mut Compiler<'_>) -> Vec<(Filter, Expr, [u8; 32])> {
        let mut out = Vec::new();
        for loaded in std::mem::take(&mut self.filters) {
            let Filter { meta, logsource, detections, .. } = &loaded.written;
            match compiler.detections(logsource, detections) {
                Ok(expr) => out.push((loaded.written.clone(), expr, loaded.hash.clone().finalize().into())),
                Err(fault) => {
                    let fault = fault.within("filter");
                    self.refused.push(refused(&loaded.source, loaded.document, meta, fault));
                }
            }
            self.filters.push(loaded);
        }
        out
    }

    /// A filter that names no rule that runs would be forgotten silently.
    fn check_filters(&mut self, infos: &[RuleInfo]) {
        for loaded in &self.filters {
            let known =
                |name: &String| infos.iter().any(|info| info.meta.id == *name || info.meta.name == *name);
            if let Some(unknown) = loaded.written.rules.iter().find(|name| !known(name)) {
                let fault = Fault::new("filter.rules", format!("no rule that runs is called `{unknown}`"));
                self.refused.push(refused(&loaded.source, loaded.document, &loaded.written.meta, fault));
            }
        }
    }

    /// Links correlations, those that count no other first.
    fn link(&mut self, infos: &mut Vec<RuleInfo>, names: &mut Names) -> Vec<super::correlate::Correlation> {
        let mut waiting = std::mem::take(&mut self.correlations);
        let mut out = Vec::new();
        loop {
            let pending: Vec<(String, String)> =
                waiting.iter().map(|l| (l.written.meta.id.clone(), l.written.meta.name.clone())).collect();
            let waits = |loaded: &Loaded<ast::Correlation>| {
                let awaited = |name: &String| pending.iter().any(|(id, other)| id == name || other == name);
                loaded.written.rules.iter().any(awaited)
            };
            let (later, now): (Vec<_>, Vec<_>) = waiting.into_iter().partition(waits);
            if now.is_empty() {
                for loaded in later {
                    let fault = Fault::new("correlation.rules", "counts itself, by way of what it names");
                    self.refused.push(refused(&loaded.source, loaded.document, &loaded.written.meta, fault));
                }
                return out;
            }
            for loaded in now {
                self.link_one(loaded, infos, names, &mut out);
            }
            waiting = later;
        }
    }

    fn link_one(
        &mut self,
        loaded: Loaded<ast::Correlation>,
        infos: &mut Vec<RuleInfo>,
        names: &mut Names,
        out: &mut Vec<super::correlate::Correlation>,
    ) {
        let written = &loaded.written;
        let rule = infos.len();
        let linked = self.room(rule, &written.meta.id, names).and_then(|()| link::link(rule, written, names));
        match linked {
            Ok((correlation, chain)) => {
                let members = correlation.members.iter().map(|member| member.rule);
                let members: Vec<usize> = members.filter(|_| !written.generate).collect();
                members
                    .iter()
                    .for_each(|at| infos.iter_mut().skip(*at).take(1).for_each(|info| info.reported = false));
                let group_by = written.group_by.clone();
                note(names, &written.meta, || Named::Correlation { rule, group_by: group_by.clone(), chain });
                let (meta, hash) = (written.meta.clone(), loaded.hash.clone().finalize().into());
                infos.push(RuleInfo { meta, hash, correlation: Some(written.kind), reported: true });
                out.push(correlation);
            }
            Err(fault) => {
                note(names, &written.meta, || Named::Refused);
                self.refused.push(refused(&loaded.source, loaded.document, &written.meta, fault));
            }
        }
    }
}

/// Notes a rule under its id and its name.
fn note(names: &mut Names, meta: &Meta, named: impl Fn() -> Named) {
    let mut both = vec![&meta.id];
    if !meta.name.is_empty() && meta.name != meta.id {
        both.push(&meta.name);
    }
    for name in both {
        let taken = names.contains_key(name.as_str());
        names.insert(name.clone(), if taken { Named::Ambiguous } else { named() });
    }
}

/// Whether a filter is about a rule: by name, and within the filter's log source.
fn applies(filter: &Filter, meta: &Meta, logsource: &LogSource) -> bool {
    let named =
        filter.rules.is_empty() || filter.rules.iter().any(|name| *name == meta.id || *name == meta.name);
    let within = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
    let of = &filter.logsource;
    named
        && within(&of.product, &logsource.product)
        && within(&of.category, &logsource.category)
        && within(&of.service, &logsource.service)
}

fn refused(source: &str, document: usize, meta: &Meta, fault: Fault) -> Refused {
    let (id, title) = (meta.id.clone(), meta.title.clone());
    Refused { source: source.to_owned(), document, id, title, field: fault.field, what: fault.what }
}
