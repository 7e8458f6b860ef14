//! From rule texts to a set that runs: read, filtered, compiled, linked; each document by itself, so that one that is
//! refused takes no other with it.

use super::ast::{self, Document, Filter, LogSource, Meta};
use super::compile::Compiler;
use super::link::{self, Named, Names};
use super::plan::{Expr, Plan, Planner};
use super::refused::{Fault, Refused};
use super::rules::{Compiled, Options, RULES_MAX, RuleInfo, RuleSet, RuleText};
use super::{never, read, yaml};
use sha2::{Digest, Sha256};

/// A document with the place it came from.
struct Loaded<T> {
    source: String,
    document: usize,
    hash: Sha256,
    written: T,
}

/// Rules on their way into a set.
#[derive(Default)]
pub(super) struct Loader {
    rules: Vec<Loaded<ast::Rule>>,
    correlations: Vec<Loaded<ast::Correlation>>,
    filters: Vec<Loaded<Filter>>,
    refused: Vec<Refused>,
}

impl Loader {
    pub(super) fn read(&mut self, text: &RuleText<'_>) {
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

    pub(super) fn compile(mut self, options: &Options) -> Compiled {
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
            warnings.extend(never::warnings(&meta.id, logsource, detections));
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
        let rules = RuleSet::new(infos, exprs, plan, linked, &options.hmac);
        Compiled { rules, refused: self.refused, warnings }
    }

    /// All rules together are too much: none runs, and that is said.
    fn nothing(mut self, what: String, options: &Options) -> Compiled {
        self.refused.push(refused("", 0, &Meta::default(), Fault::new("", what)));
        let plan = Plan { columns: Vec::new(), pairs: Vec::new(), routes: Vec::new(), tests: 0 };
        let rules = RuleSet::new(Vec::new(), Vec::new(), plan, Vec::new(), &options.hmac);
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
