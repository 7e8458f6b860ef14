//! Correlations and the rules they name: names resolved, chains ordered, fields found.
//!
//! Refused here: names of nothing, of refused rules and of two things; cycles; chains longer than
//! [`CHAIN_MAX`]; conditions that can never be reached, or that hold when nothing happens.

use super::ast::{self, Bound, CorrelationKind, LogSource, Op};
use super::condition::Condition;
use super::correlate::{CHAIN_MAX, Correlation, MEMBERS_MAX, Member, Part};
use super::fields;
use super::refused::Fault;
use super::window::Measure;
use std::collections::BTreeMap;

/// What a correlation can name.
pub(crate) enum Named {
    /// A rule that runs, with its log source.
    Rule { rule: usize, logsource: LogSource },
    /// A correlation that is linked: its number as rule, its `group-by`, and how long its chain is.
    Correlation { rule: usize, group_by: Vec<String>, chain: usize },
    /// A rule that was refused, or a correlation that waits for another.
    Refused,
    /// More than one rule is called so.
    Ambiguous,
}

/// By id and by name.
pub(crate) type Names = BTreeMap<String, Named>;

/// Links a correlation whose members are all linked; also gives the length of its chain.
pub(crate) fn link(
    rule: usize,
    written: &ast::Correlation,
    names: &Names,
) -> Result<(Correlation, usize), Fault> {
    let inner = |fault: Fault| fault.within("correlation");
    if written.rules.len() > MEMBERS_MAX {
        return Err(inner(Fault::new("rules", format!("more than {MEMBERS_MAX}"))));
    }
    let mut members = Vec::new();
    let mut chain = 1;
    for name in &written.rules {
        let (member, length) = member(written, name, names).map_err(inner)?;
        if members.iter().any(|known: &Member| known.rule == member.rule) {
            return Err(inner(Fault::new("rules", format!("`{name}` stands twice"))));
        }
        chain = chain.max(length + 1);
        members.push(member);
    }
    if chain > CHAIN_MAX {
        return Err(inner(Fault::new("rules", format!("a chain of more than {CHAIN_MAX} correlations"))));
    }
    if let Some(alias) = written.aliases.keys().find(|alias| !written.group_by.contains(alias)) {
        return Err(inner(Fault::new("aliases", format!("`{alias}` is not in `group-by`"))));
    }
    for (alias, fields) in &written.aliases {
        if let Some(unknown) = fields.keys().find(|name| !written.rules.contains(name)) {
            return Err(inner(Fault::new(
                "aliases",
                format!("`{alias}` names `{unknown}`, which is not in `rules`"),
            )));
        }
    }
    let measure = measure(written).map_err(inner)?;
    Ok((Correlation { rule, measure, group_by: written.group_by.clone(), members }, chain))
}

fn member(written: &ast::Correlation, name: &str, names: &Names) -> Result<(Member, usize), Fault> {
    let fault = |what: String| Err(Fault::new("rules", what));
    let alias = |field: &String| {
        let aliased = written.aliases.get(field).and_then(|rules| rules.get(name));
        aliased.unwrap_or(field).clone()
    };
    match names.get(name) {
        Some(Named::Rule { rule, logsource }) => {
            let group =
                written.group_by.iter().map(|field| Part::Field(fields::find(&alias(field), logsource)));
            let wanted =
                if let Bound::Value { fields, .. } = &written.condition { fields.as_slice() } else { &[] };
            let found = wanted.iter().map(|field| fields::find(field, logsource));
            Ok((Member { rule: *rule, group: group.collect(), fields: found.collect() }, 0))
        }
        Some(Named::Correlation { .. }) if written.kind.has_field() => {
            fault(format!("`{name}` is a correlation and has no field to take values from"))
        }
        Some(Named::Correlation { rule, group_by, chain }) => {
            let group = written.group_by.iter().map(|field| {
                let field = alias(field);
                Part::Inner(group_by.iter().position(|known| *known == field))
            });
            let group: Vec<Part> = group.collect();
            if let Some(at) = group.iter().position(|part| matches!(part, Part::Inner(None))) {
                let field = written.group_by.get(at).map_or("", String::as_str);
                return fault(format!("`{name}` is a correlation that does not group by `{field}`"));
            }
            Ok((Member { rule: *rule, group, fields: Vec::new() }, *chain))
        }
        Some(Named::Refused) => fault(format!("`{name}` was refused")),
        Some(Named::Ambiguous) => fault(format!("`{name}` is the name of more than one rule")),
        None => {
            let known: Vec<&str> = names.keys().map(String::as_str).take(200).collect();
            let near = if known.is_empty() { String::new() } else { super::refused::meant(name, &known) };
            fault(format!("no rule is called `{name}`{near}"))
        }
    }
}

fn measure(written: &ast::Correlation) -> Result<Measure, Fault> {
    let fault = |what: String| Err(Fault::new("condition", what));
    let rules = written.rules.len();
    let (bounds, percentile, expression) = match &written.condition {
        Bound::AllRules => (vec![(Op::Gte, rules as f64)], 50.0, None),
        Bound::Rules(condition) => (Vec::new(), 50.0, Some(numbered(condition, &written.rules)?)),
        Bound::Value { bounds, percentile, .. } => (bounds.clone(), *percentile, None),
    };
    let (kind, timespan_ns) = (written.kind, written.timespan_ns);
    let measure = Measure { kind, timespan_ns, bounds, percentile, rules, expression };
    let counts = kind.temporal() || matches!(kind, CorrelationKind::EventCount | CorrelationKind::ValueCount);
    let most = if kind.temporal() { rules } else { measure.hits_max() } as f64;
    for (op, bound) in &measure.bounds {
        let reached = match op {
            Op::Gt => *bound < most,
            Op::Gte | Op::Eq => *bound <= most,
            Op::Lt => *bound > 0.0,
            Op::Lte => *bound >= 0.0,
            Op::Neq => true,
        };
        if counts && !reached {
            return fault(format!("`{bound}` is never reached: at most {most} are counted"));
        }
    }
    if kind.temporal() && measure.wants_absence() {
        return fault("holds when no rule matched".to_owned());
    }
    Ok(measure)
}

/// An expression with rules by their place.
fn numbered(condition: &Condition, rules: &[String]) -> Result<Condition, Fault> {
    let each = |parts: &[Condition]| parts.iter().map(|part| numbered(part, rules)).collect::<Result<_, _>>();
    Ok(match condition {
        Condition::All(parts) => Condition::All(each(parts)?),
        Condition::Any(parts) => Condition::Any(each(parts)?),
        Condition::Not(part) => Condition::Not(Box::new(numbered(part, rules)?)),
        Condition::Name(name) => match rules.iter().position(|known| known == name) {
            Some(at) => Condition::Name(at.to_string()),
            None => return Err(Fault::new("condition", format!("`{name}` is not in `rules`"))),
        },
        Condition::Of(..) => {
            return Err(Fault::new("condition", "a correlation's condition names each rule".to_owned()));
        }
    })
}
