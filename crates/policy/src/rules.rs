//! Compiled policies: parsed, checked, numbered, and cut down to what a call still has to evaluate.
//!
//! Immutable once made; a reload makes another. No I/O: texts come in as data.

use crate::condition::Test;
use crate::entities::Memberships;
use crate::error::Problem;
use crate::index::{Index, Scope};
use crate::lower::lower;
use crate::names::{Actions, Fast, Numbers, Type, TypeNames, of_uid};
use crate::reads::{self, Reads};
use crate::schema::{self, Parsed, actions_of, detail};
use crate::statements::{DEPTH_MAX, POLICIES_MAX, split};
use cedar_policy::{Effect, EntityUid, Expression, Policy, PolicyId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::str::FromStr;

/// Longest `@id`, bytes.
pub const ID_MAX: usize = 128;
/// Longest `@reason` or `@advice`, bytes.
pub const REASON_MAX: usize = 512;

/// Texts of a policy set: files by name, and the entities file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Name and text of each policy file.
    pub policies: Vec<(String, String)>,
    /// Name and text of the entities file.
    pub entities: Option<(String, String)>,
}

/// One policy, ready for use.
#[derive(Debug)]
pub(crate) struct Rule {
    /// As recorded.
    pub(crate) id: String,
    pub(crate) forbid: bool,
    /// `@reason`, else `@advice`; may be empty.
    pub(crate) reason: String,
    /// Place of its condition in [`Rules::conditions`]; `None` = there is none: the scope decides.
    pub(crate) condition: Option<u32>,
    pub(crate) reads: Reads,
    /// What of it must be there as entities.
    pub(crate) looks: Reads,
    /// As written; for the evaluation of everything.
    pub(crate) whole: Policy,
}

/// A condition, in the form in which it is evaluated.
#[derive(Debug)]
pub(crate) enum Condition {
    /// Without Cedar.
    Ours(Test),
    /// By Cedar's evaluator, with attributes moved ([`reads::inline`]).
    Cedars(Box<Expression>),
}

/// All policies of an installation.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
    /// Different conditions; many policies share one (`principal.verified >= 3`), evaluated once a call.
    pub(crate) conditions: Vec<Condition>,
    pub(crate) index: Index,
    pub(crate) names: TypeNames,
    pub(crate) numbers: Numbers,
    pub(crate) actions: Actions,
    pub(crate) members: Memberships,
    /// Numbers above a principal, service or group, sorted; only what a policy names.
    above: HashMap<Type, Above>,
    /// What any condition reads.
    pub(crate) reads: Reads,
    pub(crate) digest: String,
    pub(crate) warnings: Vec<Problem>,
}

/// A problem that only a fault of ours can cause.
fn fault(why: &str) -> Vec<Problem> {
    vec![Problem::of_file("policies", why, "this is a fault of ours")]
}

/// Hex SHA-256 over all texts: the policy set's id.
pub(crate) fn digest(sources: &Sources) -> String {
    let mut hash = Sha256::new();
    hash.update(b"countersign/policy-set/v1\n");
    let mut part = |kind: u8, name: &str, text: &str| {
        hash.update([kind]);
        for bytes in [name.as_bytes(), text.as_bytes()] {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
    };
    let mut files: Vec<_> = sources.policies.iter().collect();
    files.sort();
    files.into_iter().for_each(|(name, text)| part(1, name, text));
    if let Some((name, text)) = &sources.entities {
        part(2, name, text);
    }
    part(3, "", schema::schema_text());
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Rules {
    /// Compiles texts.
    ///
    /// # Errors
    /// All problems found, at least one.
    pub(crate) fn compile(sources: &Sources) -> Result<Rules, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut parsed = Vec::new();
        for (file, text) in &sources.policies {
            parse_file(file, text, &mut parsed, &mut problems);
        }
        if parsed.len() > POLICIES_MAX {
            let why = format!("more than {POLICIES_MAX} policies in all files");
            return Err(vec![Problem::of_file("policies", why, "use groups")]);
        }
        let members = match &sources.entities {
            None => Memberships::default(),
            Some((file, text)) => Memberships::parse(file, text).unwrap_or_else(|problem| {
                problems.push(problem);
                Memberships::default()
            }),
        };
        refuse_doubles(&parsed, &mut problems);
        let checked = schema::check(&parsed);
        problems.extend(checked.problems);
        if !problems.is_empty() {
            problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
            return Err(problems);
        }
        let mut rules = Rules::assemble(parsed, members)?;
        rules.warnings = checked.warnings;
        rules.digest = digest(sources);
        Ok(rules)
    }

    fn assemble(parsed: Vec<Parsed<'_>>, members: Memberships) -> Result<Rules, Vec<Problem>> {
        let names = TypeNames::new().ok_or_else(|| fault("the names of types are no names"))?;
        let mut numbers = Numbers::default();
        let (mut rules, mut scopes, mut reads) = (Vec::new(), Vec::new(), Reads::default());
        let mut conditions = Conditions::default();
        for p in parsed {
            let wrong =
                |why: &str| vec![Problem::at(p.file, p.text, p.offset, why, "this is a fault of ours")];
            let scope = Scope::of(&p.policy, &names, &mut numbers);
            scopes.push(scope.ok_or_else(|| wrong("the scope names an unknown type"))?);
            for uid in p.policy.entity_literals() {
                if let Some((ty, id)) = of_uid(&uid) {
                    numbers.of(&names, ty, id);
                }
            }
            let rule = rule(p.policy.clone(), &mut conditions, &numbers).map_err(|bad| match bad {
                Bad::Deep => {
                    let why = format!("the conditions of this policy are more than {DEPTH_MAX} levels deep");
                    let next = "use sets, [\"a\", \"b\"].contains(…), or split it";
                    vec![Problem::at(p.file, p.text, p.offset, why, next)]
                }
                Bad::Whole => {
                    let why = "this policy uses `context` as a whole";
                    vec![Problem::at(p.file, p.text, p.offset, why, "name the attributes: context.tls")]
                }
                Bad::Fault(why) => wrong(why),
            })?;
            reads.add(rule.reads);
            rules.push(rule);
        }
        let above = above(&members, &numbers);
        let index = Index::new(scopes);
        let (digest, warnings) = Default::default();
        let conditions = conditions.all;
        let actions = Actions::new(&numbers);
        Ok(Rules {
            rules,
            conditions,
            index,
            names,
            numbers,
            actions,
            members,
            above,
            reads,
            digest,
            warnings,
        })
    }

    pub(crate) fn get(&self, place: u32) -> Option<&Rule> {
        self.rules.get(usize::try_from(place).ok()?)
    }

    pub(crate) fn condition(&self, place: u32) -> Option<&Condition> {
        self.conditions.get(usize::try_from(place).ok()?)
    }

    /// Everything that policies name and that is in a group by the entities file.
    pub(crate) fn related(&self) -> impl Iterator<Item = (&EntityUid, &[u32])> {
        self.numbers.uids().filter_map(|uid| {
            let above = match of_uid(uid)? {
                (Type::Claimed | Type::Anonymous, _) => return None,
                (ty @ (Type::Group | Type::Target), id) => self.above(ty, id),
                (_, id) => self.above(Type::Unknown, id),
            };
            (!above.is_empty()).then_some((uid, above))
        })
    }

    /// Numbers above a principal, service or group by the entities file.
    pub(crate) fn above(&self, ty: Type, id: &str) -> &[u32] {
        if self.above.is_empty() {
            return &[];
        }
        self.above.get(&ty).and_then(|of_type| of_type.get(id)).map_or(&[], Vec::as_slice)
    }
}

/// Numbers above a name.
type Above = HashMap<Box<str>, Vec<u32>, Fast>;

/// Principals stand under [`Type::Unknown`]: the file does not say their kind.
fn above(members: &Memberships, numbers: &Numbers) -> HashMap<Type, Above> {
    let maps = [
        (Type::Unknown, &members.principals),
        (Type::Target, &members.services),
        (Type::Group, &members.groups),
    ];
    let mut out: HashMap<Type, Above> = HashMap::new();
    for (ty, map) in maps {
        for (name, direct) in map {
            let groups = members.above(direct).unwrap_or_default();
            let mut above: Vec<u32> = groups.iter().filter_map(|g| numbers.get(Type::Group, g)).collect();
            above.sort_unstable();
            if !above.is_empty() {
                out.entry(ty).or_default().insert(name.as_str().into(), above);
            }
        }
    }
    out
}

fn parse_file<'a>(file: &'a str, text: &'a str, parsed: &mut Vec<Parsed<'a>>, problems: &mut Vec<Problem>) {
    let statements = match split(file, text) {
        Ok(statements) => statements,
        Err(problem) => return problems.push(problem),
    };
    let stem = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let stem = stem.strip_suffix(".cedar").unwrap_or(stem);
    for (n, statement) in statements.into_iter().enumerate() {
        let policy = match Policy::parse(Some(PolicyId::new("policy")), statement.text) {
            Ok(policy) => policy,
            Err(error) => {
                problems.push(schema::at(file, text, statement.offset, &detail(&error)));
                continue;
            }
        };
        let mut wrong = |why: String, next: &str| {
            problems.push(Problem::at(file, text, statement.offset, why, next));
        };
        let id = match policy.annotation("id") {
            Some(id) => id.to_owned(),
            None => format!("{}#{}", printable(stem), n + 1),
        };
        if id.is_empty() || id.len() > ID_MAX || id.chars().any(char::is_control) {
            wrong(
                format!("@id is empty, longer than {ID_MAX} bytes or not printable"),
                "choose a short name",
            );
            continue;
        }
        for name in ["reason", "advice"] {
            let text = policy.annotation(name).unwrap_or("");
            if text.len() > REASON_MAX || text.chars().any(char::is_control) {
                wrong(
                    format!("@{name} is longer than {REASON_MAX} bytes or not printable"),
                    "it goes into every record of a denial: keep it to one sentence",
                );
            }
            if text.starts_with(crate::decide::ERROR_PREFIX) {
                wrong(
                    format!("@{name} begins like the record of an evaluation error"),
                    "a denial must not look like one",
                );
            }
        }
        let actions = actions_of(&policy);
        let policy = policy.new_id(PolicyId::new(id));
        parsed.push(Parsed { file, text, offset: statement.offset, policy, actions });
    }
}

fn printable(stem: &str) -> String {
    stem.chars().filter(|c| !c.is_control()).take(ID_MAX / 4 - 4).collect()
}

fn refuse_doubles(parsed: &[Parsed<'_>], problems: &mut Vec<Problem>) {
    let mut seen = HashSet::new();
    for p in parsed {
        if !seen.insert(AsRef::<str>::as_ref(p.policy.id())) {
            let why = format!("two policies are called {:?}", p.policy.id().to_string());
            problems.push(Problem::at(p.file, p.text, p.offset, why, "give one of them another @id"));
        }
    }
}

/// Why a checked policy is not taken over.
enum Bad {
    Deep,
    /// A comparison of the whole context would see what [`reads::inline`] puts there.
    Whole,
    Fault(&'static str),
}

fn rule(whole: Policy, conditions: &mut Conditions, numbers: &Numbers) -> Result<Rule, Bad> {
    let reason = ["reason", "advice"].into_iter().find_map(|name| whole.annotation(name)).unwrap_or("");
    let (mut condition, mut reads, mut looks) = (None, Reads::default(), Reads::default());
    if whole.has_non_scope_constraint() {
        let tree = whole.to_json().map_err(|_| Bad::Fault("the policy has no JSON form"))?;
        let clauses = tree.get("conditions").ok_or(Bad::Fault("the JSON form has no conditions"))?;
        // Several `when` and `unless` are joined to one chain.
        let count = clauses.as_array().map_or(0, Vec::len);
        if count + containers(clauses) / 2 > DEPTH_MAX {
            return Err(Bad::Deep);
        }
        reads = Reads::of(clauses);
        if reads.any(Reads::WHOLE) {
            return Err(Bad::Whole);
        }
        // The same text is the same condition: what it says does not depend on the policy around it.
        let text = clauses.to_string();
        condition = Some(match conditions.places.get(&text) {
            Some((place, looks_of_it)) => {
                looks = *looks_of_it;
                *place
            }
            None => {
                let made;
                (made, looks) = make(whole.id(), tree, numbers)?;
                conditions.add(text, made, looks).ok_or(Bad::Fault("more conditions than numbers"))?
            }
        });
    }
    Ok(Rule {
        id: whole.id().to_string(),
        forbid: whole.effect() == Effect::Forbid,
        reason: reason.to_owned(),
        condition,
        reads,
        looks,
        whole,
    })
}

/// Makes a condition from a policy's JSON form, and says what of it must be there as entities.
fn make(id: &PolicyId, mut tree: Value, numbers: &Numbers) -> Result<(Condition, Reads), Bad> {
    let clauses = tree.get_mut("conditions").ok_or(Bad::Fault("the JSON form has no conditions"))?;
    let ours = lower(clauses, numbers);
    if !reads::inline(clauses) {
        return Err(Bad::Fault("it uses an attribute that no schema has"));
    }
    if let Some(test) = ours {
        return Ok((Condition::Ours(test), Reads::default()));
    }
    let looks = Reads::of(clauses);
    let map = tree.as_object_mut().ok_or(Bad::Fault("the policy's JSON form is no object"))?;
    for part in ["principal", "action", "resource"] {
        map.insert(part.to_owned(), json!({ "op": "All" }));
    }
    map.remove("annotations");
    let bare = Policy::from_json(Some(id.clone()), tree);
    let bare = bare.map_err(|_| Bad::Fault("its conditions make no policy of their own"))?;
    let expression = expression(&bare).ok_or(Bad::Fault("its conditions make no expression"))?;
    Ok((Condition::Cedars(Box::new(expression)), looks))
}

/// The condition of a policy without scope and annotations, as Cedar prints it: all `when` and `unless`
/// joined, between the first brace and the last. Evaluated alone it costs a fifth of a policy set of one,
/// for which Cedar joins scope and conditions anew at each call.
fn expression(bare: &Policy) -> Option<Expression> {
    let text = bare.to_cedar()?;
    let (from, to) = (text.find('{')? + 1, text.rfind('}')?);
    Expression::from_str(text.get(from..to)?).ok()
}

/// Conditions by the text of their JSON form.
#[derive(Default)]
struct Conditions {
    places: HashMap<String, (u32, Reads)>,
    all: Vec<Condition>,
}

impl Conditions {
    fn add(&mut self, text: String, condition: Condition, looks: Reads) -> Option<u32> {
        let place = u32::try_from(self.all.len()).ok()?;
        self.all.push(condition);
        self.places.insert(text, (place, looks));
        Some(place)
    }
}

/// How deep objects and lists are nested: two of them for each level of the tree.
fn containers(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(containers).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(containers).max().unwrap_or(0),
        _ => 0,
    }
}
