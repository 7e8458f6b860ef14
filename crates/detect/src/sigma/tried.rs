//! Rules held against their test events: what was wanted, what came, and which part of a rule decided it.
//!
//! Not the reading of test events (`cases`), and no I/O: the caller has read both files. Invariant: a rule
//! passes only if every line of its tests could be read and came out as it says.

use super::ast::{Detections, Document, Rule};
use super::cases::{BadCase, Case, cases};
use super::compile::Compiler;
use super::condition::Condition;
use super::evaluate::Evaluator;
use super::plan::{Expr, Planner};
use super::refused::{Fault, Refused, Warning};
use super::rules::{Options, RuleSet, RuleText};
use super::{read, yaml};
use countersign_event::Event;
use std::fmt;

/// What became of the tests of one rule file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// The rule file's name, as given.
    pub source: String,
    /// Documents that do not run; with any of them no case was tried.
    pub refused: Vec<Refused>,
    /// What is odd about rules that run.
    pub warnings: Vec<Warning>,
    /// Lines of the tests that are no case.
    pub bad: Vec<BadCase>,
    /// The cases, in order.
    pub cases: Vec<CaseResult>,
}

/// How one case came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// Its line in the test file, from 1.
    pub line: usize,
    /// Whether a rule of the file must match.
    pub wanted: bool,
    /// Ids of the rules that matched, each once, in the order of the matches.
    pub matched: Vec<String>,
    /// How many matches there were.
    pub matches: usize,
    /// Of a case that came out wrong: where each part of each rule held.
    pub parts: Vec<Part>,
}

/// A part of a rule, and at how many events of a case it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The rule's id.
    pub rule: String,
    /// `log source`, the name of a detection, or `condition` for the whole detection section.
    pub name: String,
    /// Events of the case where it held.
    pub held: usize,
    /// Events of the case.
    pub of: usize,
}

impl CaseResult {
    /// Whether it came out as wanted.
    pub fn passed(&self) -> bool {
        self.wanted != self.matched.is_empty()
    }
}

impl Tried {
    /// Whether everything could be read and came out as wanted.
    pub fn passed(&self) -> bool {
        self.refused.is_empty() && self.bad.is_empty() && self.cases.iter().all(CaseResult::passed)
    }

    /// How many cases want a match, and how many want none.
    pub fn wanted(&self) -> (usize, usize) {
        let hits = self.cases.iter().filter(|case| case.wanted).count();
        (hits, self.cases.len() - hits)
    }
}

impl fmt::Display for Tried {
    /// A line for the file, and one for each thing that is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hits, misses) = self.wanted();
        let word = if self.passed() { "ok" } else { "FAILED" };
        write!(f, "{}: {hits} to match, {misses} not to: {word}", self.source)?;
        for refused in &self.refused {
            write!(f, "\n  refused {refused}")?;
        }
        for bad in &self.bad {
            write!(f, "\n  line {}: {}", bad.line, bad.what)?;
        }
        for case in self.cases.iter().filter(|case| !case.passed()) {
            write!(f, "\n  {case}")?;
        }
        Ok(())
    }
}

impl fmt::Display for CaseResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let come = match (self.matched.is_empty(), self.wanted) {
            (true, true) => "must match and does not".to_owned(),
            (true, false) => "does not match, as it must not".to_owned(),
            (false, true) => format!("matches, as it must ({})", self.matched.join(", ")),
            (false, false) => format!("must not match and does ({})", self.matched.join(", ")),
        };
        write!(f, "line {}: {come}", self.line)?;
        for part in &self.parts {
            write!(f, "; {} of {}: at {} of {} events", part.name, part.rule, part.held, part.of)?;
        }
        Ok(())
    }
}

/// Holds the rules of a file against its test events: each case with a rule set that has seen nothing.
pub fn try_rules(rule: &RuleText<'_>, tests: &str, options: &Options) -> Tried {
    let compiled = RuleSet::compile(&[*rule], options);
    let (refused, warnings) = (compiled.refused, compiled.warnings);
    let mut tried = Tried { source: rule.source.to_owned(), refused, warnings, ..Tried::default() };
    for case in cases(tests) {
        match case {
            Err(bad) => tried.bad.push(bad),
            Ok(case) if tried.refused.is_empty() => tried.cases.push(one(rule, &case, options)),
            Ok(_) => {}
        }
    }
    if tried.cases.is_empty() && tried.bad.is_empty() && tried.refused.is_empty() {
        tried.bad.push(BadCase { line: 0, what: "no case at all".to_owned() });
    }
    tried
}

fn one(rule: &RuleText<'_>, case: &Case, options: &Options) -> CaseResult {
    let mut set = RuleSet::compile(&[*rule], options).rules;
    let events: Vec<(u64, u64, &Event)> = case.events.iter().map(|(i, ns, event)| (*i, *ns, event)).collect();
    let found = set.evaluate(&events);
    let mut matched: Vec<String> = Vec::new();
    for id in found.iter().filter_map(|one| set.rules().get(one.rule)).map(|info| &info.meta.id) {
        if !matched.contains(id) {
            matched.push(id.clone());
        }
    }
    let (line, wanted, matches) = (case.line, case.hit, found.len());
    let mut result = CaseResult { line, wanted, matched, matches, parts: Vec::new() };
    if !result.passed() {
        result.parts = parts(rule, &events, options);
    }
    result
}

/// Where each part of each rule of single events holds.
fn parts(rule: &RuleText<'_>, events: &[(u64, u64, &Event)], options: &Options) -> Vec<Part> {
    let documents = yaml::documents(rule.text).into_iter().filter_map(|(_, mapping)| mapping.ok());
    let rules = documents.filter_map(|mapping| match read::document(&mapping) {
        Ok(Document::Rule(rule)) => Some(rule),
        _ => None,
    });
    rules.flat_map(|rule| parts_of(&rule, events, options).unwrap_or_default()).collect()
}

fn parts_of(rule: &Rule, events: &[(u64, u64, &Event)], options: &Options) -> Result<Vec<Part>, Fault> {
    let mut compiler = Compiler { planner: Planner::default(), placeholders: &options.placeholders };
    let route = compiler.planner.route(super::route::Route::of(&rule.logsource));
    let mut exprs: Vec<(String, Expr)> = vec![("log source".to_owned(), route)];
    for (name, detection) in &rule.detections.named {
        let alone = Detections {
            named: vec![(name.clone(), detection.clone())],
            conditions: vec![Condition::Name(name.clone())],
        };
        exprs.push((name.clone(), compiler.detections(&rule.logsource, &alone)?));
    }
    exprs.push(("condition".to_owned(), compiler.detections(&rule.logsource, &rule.detections)?));
    let plan = compiler.planner.finish().map_err(|what| Fault::new("", what))?;
    // As many as a case has fit a batch.
    let only: Vec<&Event> = events.iter().map(|(.., event)| *event).collect();
    let mut evaluator = Evaluator::new(&plan);
    let mut batch = evaluator.batch(&plan, &only);
    let part = |(name, expr): (String, Expr)| Part {
        rule: rule.meta.id.clone(),
        name,
        held: batch.rows(&expr).list(only.len()).len(),
        of: only.len(),
    };
    Ok(exprs.into_iter().map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const RULE: &str = "title: t\nid: r1\nlogsource: {category: http}\n\
detection: {sel: {op: DELETE}, local: {service: own}, condition: sel and not local}\n";

    fn tried(rule: &str, tests: &str) -> Tried {
        let options = Options { placeholders: Default::default(), hmac: Arc::new(|_: &[u8]| [0; 32]) };
        try_rules(&RuleText { source: "r.yml", text: rule }, tests, &options)
    }

    fn case(wanted: bool, op: &str, service: &str) -> String {
        format!(
            r#"{{"match": {wanted}, "events": [{{"core": {{"kind": "http", "op": "{op}"}}, "target": {{"svc": "{service}"}}}}]}}"#
        )
    }

    #[test]
    fn a_rule_whose_cases_come_out_passes() {
        let tests = [case(true, "DELETE", "x"), case(false, "GET", "x"), case(false, "DELETE", "own")];
        let tried = tried(RULE, &tests.join("\n"));
        assert!(tried.passed(), "{tried}");
        assert_eq!(tried.to_string(), "r.yml: 1 to match, 2 not to: ok");
        assert_eq!(tried.cases[0].matched, ["r1"]);
    }

    #[test]
    fn a_case_that_comes_out_wrong_names_the_part_that_decided() {
        let tests = [case(true, "DELETE", "own"), case(false, "DELETE", "x")];
        let tried = tried(RULE, &tests.join("\n"));
        assert!(!tried.passed());
        let held: Vec<(&str, usize)> =
            tried.cases[0].parts.iter().map(|part| (part.name.as_str(), part.held)).collect();
        assert_eq!(held, [("log source", 1), ("sel", 1), ("local", 1), ("condition", 0)]);
        let said = tried.to_string();
        assert!(
            said.contains("line 1: must match and does not; log source of r1: at 1 of 1 events"),
            "{said}"
        );
        assert!(said.contains("line 2: must not match and does (r1)"), "{said}");
    }

    #[test]
    fn nothing_to_try_and_what_cannot_be_read_do_not_pass() {
        assert!(!tried(RULE, "").passed());
        assert!(!tried(RULE, "{").passed());
        let refused = tried("title: t\nid: r\ndetection: {condition: sel}\n", &case(true, "GET", "x"));
        assert!(
            !refused.passed() && refused.cases.is_empty() && refused.to_string().contains("refused r.yml")
        );
    }
}
