//! The schema that policies are checked against, and the check.
//!
//! Operations are an open set, so the schema file has none: each check declares the operations that its
//! policies name. Cedar's cost is policies × caller types × actions, so policies are checked in batches
//! that name few operations. Every batch has two stand-ins for "any other operation", one in all groups and
//! one in none: with only the first, `action in Action::"class:read" || …` would hide its right side.

use crate::error::Problem;
use crate::names::{CLASSES, PROTOCOLS, Type, family};
use cedar_policy::ffi::DetailedError;
use cedar_policy::{EntityUid, Policy, PolicySet, Schema, SchemaFragment, ValidationMode, Validator};
use std::collections::BTreeSet;

/// Operations declared in one batch.
const BATCH_OPERATIONS: usize = 8;
/// Stand-in for an operation that is in every group.
const ANY: &str = "countersign:any";
/// Stand-in for an operation that is in none.
const NONE: &str = "countersign:none";
/// Longest name of an operation that a policy may use, bytes.
pub(crate) const OPERATION_MAX: usize = 1_024;

/// The schema as shipped, for editors and for `countersign policy schema`.
pub fn schema_text() -> &'static str {
    include_str!("schema.cedarschema")
}

/// A parsed policy and where it came from.
pub(crate) struct Parsed<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
    /// Where the policy begins in the file's text, bytes.
    pub(crate) offset: usize,
    pub(crate) policy: Policy,
    pub(crate) actions: BTreeSet<String>,
}

/// Actions that a policy names, groups included.
pub(crate) fn actions_of(policy: &Policy) -> BTreeSet<String> {
    let is_action = |uid: &EntityUid| uid.type_name().to_string() == Type::Action.name();
    policy.entity_literals().iter().filter(|u| is_action(u)).map(|u| u.id().unescaped().to_owned()).collect()
}

/// What an action's name is to the schema.
enum Named {
    /// In the schema file, or wrong in a way that Cedar reports.
    Listed,
    Operation,
    /// `protocol:http/1.1`.
    Version,
}

/// Refuses names that could never match a call: a policy that forbids nothing is worse than none.
fn named(action: &str) -> Result<Named, String> {
    let Some((head, tail)) = action.split_once(':') else {
        return Err(format!(
            "`{action}` is no action: write `<protocol>:<operation>`, `class:…` or `protocol:…`"
        ));
    };
    if head == "class" {
        return match CLASSES.contains(&tail) {
            true => Ok(Named::Listed),
            false => Err(format!("no class `{tail}`; known: {}", CLASSES.join(", "))),
        };
    }
    let protocol = if head == "protocol" { tail } else { head };
    if !PROTOCOLS.contains(&family(protocol)) {
        return Err(format!("no protocol `{protocol}`; did you mean `{}`?", nearest(family(protocol))));
    }
    if head == "protocol" {
        return Ok(if tail.contains('/') { Named::Version } else { Named::Listed });
    }
    if head.contains('/') {
        return Err(format!(
            "an operation has no version: write `{}:{tail}`; for one version add `action in Action::\"protocol:{head}\"`",
            family(head)
        ));
    }
    if tail.is_empty() || tail.len() > OPERATION_MAX {
        return Err(format!("the operation in `{head}:…` is empty or longer than {OPERATION_MAX} bytes"));
    }
    Ok(Named::Operation)
}

fn nearest(word: &str) -> &'static str {
    PROTOCOLS.iter().copied().min_by_key(|p| strsim::damerau_levenshtein(p, word)).unwrap_or("http")
}

/// What the check found beside errors: rules that can never apply and the like.
pub(crate) struct Checked {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// Checks all policies.
pub(crate) fn check(parsed: &[Parsed<'_>]) -> Checked {
    let mut out = Checked { problems: Vec::new(), warnings: Vec::new() };
    let base = match SchemaFragment::from_cedarschema_str(schema_text()) {
        Ok((base, _)) => base,
        Err(error) => {
            out.problems.push(Problem::of_file("schema", detail(&error).message, "this is a fault of ours"));
            return out;
        }
    };
    let mut order: Vec<(&BTreeSet<String>, &Parsed<'_>)> = Vec::with_capacity(parsed.len());
    for p in parsed {
        let wrong = p.actions.iter().filter_map(|a| named(a).err());
        let wrong: Vec<_> = wrong.map(|why| Problem::at(p.file, p.text, p.offset, why, "")).collect();
        if wrong.is_empty() {
            order.push((&p.actions, p));
        }
        out.problems.extend(wrong);
    }
    // Policies that name the same operations share a batch.
    order.sort_by(|a, b| a.0.cmp(b.0));
    let (mut batch, mut declared): (Vec<&Parsed<'_>>, BTreeSet<&str>) = Default::default();
    for (actions, p) in order {
        let fresh = actions.iter().filter(|a| declares(a) && !declared.contains(a.as_str())).count();
        if fresh > 0 && !batch.is_empty() && declared.len() + fresh > BATCH_OPERATIONS {
            check_batch(&base, &batch, &declared, &mut out);
            batch.clear();
            declared.clear();
        }
        declared.extend(actions.iter().filter(|a| declares(a)).map(String::as_str));
        batch.push(p);
    }
    check_batch(&base, &batch, &declared, &mut out);
    // Cedar reports the same place once for each type of caller.
    for list in [&mut out.problems, &mut out.warnings] {
        list.sort_by(|a, b| (place(a), &a.why).cmp(&(place(b), &b.why)));
        list.dedup_by(|a, b| place(a) == place(b));
    }
    out
}

fn place(problem: &Problem) -> (&str, usize, usize) {
    (&problem.file, problem.line, problem.column)
}

fn declares(action: &str) -> bool {
    matches!(named(action), Ok(Named::Operation | Named::Version))
}

fn check_batch(base: &SchemaFragment, batch: &[&Parsed<'_>], declared: &BTreeSet<&str>, out: &mut Checked) {
    if batch.is_empty() {
        return;
    }
    let fault = |why: String| Problem::of_file("schema", why, "this is a fault of ours");
    let text = declarations(declared);
    let schema =
        SchemaFragment::from_cedarschema_str(&text).map_err(|e| detail(&e).message).and_then(|(more, _)| {
            Schema::from_schema_fragments([base.clone(), more]).map_err(|e| detail(&e).message)
        });
    let schema = match schema {
        Ok(schema) => schema,
        Err(why) => return out.problems.push(fault(why)),
    };
    let set = match PolicySet::from_policies(batch.iter().map(|p| p.policy.clone())) {
        Ok(set) => set,
        Err(error) => return out.problems.push(fault(detail(&error).message)),
    };
    let find = |id: &str| batch.iter().find(|p| AsRef::<str>::as_ref(p.policy.id()) == id);
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    for error in result.validation_errors() {
        if let Some(p) = find(error.policy_id().as_ref()) {
            out.problems.push(problem(p, &detail(error)));
        }
    }
    for warning in result.validation_warnings() {
        if let Some(p) = find(warning.policy_id().as_ref()) {
            out.warnings.push(problem(p, &detail(warning)));
        }
    }
}

/// Cedar's finding at its place in the file: its offsets count from the beginning of the policy.
pub(crate) fn problem(p: &Parsed<'_>, found: &DetailedError) -> Problem {
    at(p.file, p.text, p.offset, found)
}

/// The same, for a policy that could not be parsed.
pub(crate) fn at(file: &str, text: &str, offset: usize, found: &DetailedError) -> Problem {
    let label = found.source_locations.first();
    let inside = label.map_or(0, |l| l.loc.start);
    let mut why = found.message.clone();
    if let Some(label) = label.and_then(|l| l.label.as_deref()) {
        why = format!("{why} ({label})");
    }
    Problem::at(file, text, offset.saturating_add(inside), why, found.help.as_deref().unwrap_or(""))
}

/// Message, help and places of one of Cedar's errors.
pub(crate) fn detail<E>(error: &E) -> DetailedError
where
    for<'e> DetailedError: From<&'e E>,
{
    DetailedError::from(error)
}

/// The second part of the schema: operations of a batch and the two stand-ins.
fn declarations(declared: &BTreeSet<&str>) -> String {
    let mut text = String::new();
    let versions: Vec<String> =
        declared.iter().filter(|a| a.starts_with("protocol:")).map(|a| quote(a)).collect();
    let mut groups: Vec<String> = CLASSES.iter().map(|c| quote(&format!("class:{c}"))).collect();
    groups.extend(PROTOCOLS.iter().map(|p| quote(&format!("protocol:{p}"))));
    groups.extend(versions.iter().cloned());
    if !versions.is_empty() {
        text.push_str(&format!("action {};\n", versions.join(", ")));
    }
    let mut operations: Vec<String> =
        declared.iter().filter(|a| !a.starts_with("protocol:")).map(|a| quote(a)).collect();
    operations.push(quote(ANY));
    let callers: Vec<&str> = Type::CALLERS.iter().map(|t| t.name()).collect();
    let applies = format!(
        "appliesTo {{ principal: [{}], resource: [{}], context: Countersign::Context }}",
        callers.join(", "),
        Type::Resource.name()
    );
    text.push_str(&format!("action {} in [{}] {applies};\n", operations.join(", "), groups.join(", ")));
    text.push_str(&format!("action {} {applies};\n", quote(NONE)));
    text
}

/// A string literal of Cedar.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // Control characters and everything outside ASCII: nothing in a printed policy can look like
            // something else, or turn the line around.
            ' '..='~' => out.push(c),
            c => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_file_lists_every_class_protocol_and_type() {
        for class in CLASSES {
            assert!(schema_text().contains(&format!("\"class:{class}\"")));
        }
        for protocol in PROTOCOLS {
            assert!(schema_text().contains(&format!("\"protocol:{protocol}\"")));
        }
        let checked = check(&[]);
        assert!(checked.problems.is_empty() && checked.warnings.is_empty());
    }

    #[test]
    fn names_that_could_never_match_are_refused() {
        for wrong in ["read", "class:wipe", "htp:GET", "http/1.1:GET", "http:", "protocol:htp/2"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
        assert!(named("htp:GET").is_err_and(|why| why.contains("did you mean `http`")));
        assert!(matches!(named("mcp:tools/call"), Ok(Named::Operation)));
        assert!(matches!(named("protocol:http/2"), Ok(Named::Version)));
    }
}
