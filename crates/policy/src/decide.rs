//! From rules and a call to what the record shows.
//!
//! Default deny, `forbid` overrides, and a policy that cannot be evaluated denies: skipping it, as Cedar
//! does, would turn a broken `forbid` into a permit. Nothing that a caller sent is ever in the reason.

use crate::Request;
use crate::call::{Call, Unbuildable};
use crate::condition::NO_ATTRIBUTE;
use crate::index::CallIds;
use crate::reads::Reads;
use crate::rules::{Condition, Rule, Rules};
use cedar_policy::{Authorizer, Entities, EvalResult, EvaluationError, eval_expression};
use countersign_event::{Decision, Mode, Verdict};

/// Most policies named in one record; the first by their order in the files.
pub const NAMED_MAX: usize = 16;
/// Reason of a denial that no policy stated.
pub const NOT_PERMITTED: &str = "no policy permits this call";
/// Reason of a denial by a `forbid` without `@reason`.
pub const FORBIDDEN: &str = "forbidden by policy";
/// How the reason of an evaluation error begins. No `@reason` may begin like this.
pub const ERROR_PREFIX: &str = "policy error: ";

/// Why a decision is as it is; told from the record alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Nothing was weighed: observe, learn, or no policies.
    NotWeighed,
    /// A `permit` applied and no `forbid` did.
    Permitted,
    /// A `forbid` applied.
    Forbidden,
    /// No policy applied.
    NotPermitted,
    /// A policy could not be evaluated, or the policies could not be loaded.
    Error,
}

/// Reads the ground of a decision from the record.
pub fn ground(decision: &Decision) -> Ground {
    match decision.verdict {
        _ if decision.reason.starts_with(ERROR_PREFIX) => Ground::Error,
        None | Some(Verdict::Other(_)) => Ground::NotWeighed,
        Some(Verdict::Allow) => Ground::Permitted,
        Some(Verdict::Deny | Verdict::WouldDeny) if decision.policies.is_empty() => Ground::NotPermitted,
        Some(Verdict::Deny | Verdict::WouldDeny) => Ground::Forbidden,
    }
}

/// What all policies together say to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Places of the satisfied permits, ascending.
    pub(crate) permits: Vec<u32>,
    /// Places of the satisfied forbids, ascending.
    pub(crate) forbids: Vec<u32>,
    /// Places of those that could not be evaluated, ascending, and why.
    pub(crate) errors: Vec<(u32, &'static str)>,
    /// Whether a policy looked at the time, so the outcome holds for this moment only.
    pub(crate) momentary: bool,
}

impl Outcome {
    fn add(&mut self, place: u32, forbid: bool) {
        if forbid { self.forbids.push(place) } else { self.permits.push(place) }
    }
}

/// The fast way: candidates by the index, conditions of these alone, each different one once.
pub(crate) fn evaluate(rules: &Rules, request: &Request<'_>) -> Outcome {
    let call = Call::new(request);
    let ids = call.ids(rules);
    let mut outcome = Outcome::default();
    let (mut open, mut reads) = (Vec::new(), Reads::default());
    for place in rules.index.candidates(&ids) {
        match rules.get(place) {
            Some(Rule { condition: Some(condition), reads: read, forbid, .. }) => {
                reads.add(*read);
                open.push((*condition, place, *forbid));
            }
            Some(rule) => outcome.add(place, rule.forbid),
            None => {}
        }
    }
    if open.is_empty() {
        return outcome;
    }
    outcome.momentary = reads.any(Reads::TIME);
    open.sort_unstable();
    let mut evaluation = Evaluation { rules, call: &call, ids: &ids, open: &open, built: None };
    let mut last: Option<(u32, Result<bool, &'static str>)> = None;
    for (condition, place, forbid) in &open {
        let result = match last {
            Some((same, result)) if same == *condition => result,
            _ => evaluation.holds(*condition),
        };
        last = Some((*condition, result));
        match result {
            Ok(true) => outcome.add(*place, *forbid),
            Ok(false) => {}
            Err(why) => outcome.errors.push((*place, why)),
        }
    }
    outcome.permits.sort_unstable();
    outcome.forbids.sort_unstable();
    outcome.errors.sort_unstable();
    outcome
}

/// The conditions of one call.
struct Evaluation<'a> {
    rules: &'a Rules,
    call: &'a Call<'a>,
    ids: &'a CallIds,
    /// Condition, place and effect of the policies whose scopes hold.
    open: &'a [(u32, u32, bool)],
    /// What Cedar needs for all conditions that are its; made for the first of them.
    built: Option<Result<(cedar_policy::Request, Entities), Unbuildable>>,
}

impl Evaluation<'_> {
    fn holds(&mut self, condition: u32) -> Result<bool, &'static str> {
        match self.rules.condition(condition) {
            None => Err(UNBUILDABLE),
            Some(Condition::Ours(test)) => test.holds(self.call, self.ids),
            Some(Condition::Cedars(expression)) => {
                let (rules, call, ids, open) = (self.rules, self.call, self.ids, self.open);
                let built = self.built.get_or_insert_with(|| build(rules, call, ids, open));
                let (request, entities) = built.as_ref().map_err(|_| UNBUILDABLE)?;
                match eval_expression(request, entities, expression) {
                    Ok(EvalResult::Bool(holds)) => Ok(holds),
                    Ok(_) => Err(WRONG_TYPE),
                    Err(error) => Err(class_of(&error)),
                }
            }
        }
    }
}

/// Cedar's request and entities, with as much as Cedar's conditions read.
#[cold]
fn build(
    rules: &Rules,
    call: &Call<'_>,
    ids: &CallIds,
    open: &[(u32, u32, bool)],
) -> Result<(cedar_policy::Request, Entities), Unbuildable> {
    let (mut reads, mut looks) = (Reads::default(), Reads::default());
    for (condition, place, _) in open {
        if let (Some(Condition::Cedars(_)), Some(rule)) = (rules.condition(*condition), rules.get(*place)) {
            reads.add(rule.reads);
            looks.add(rule.looks);
        }
    }
    Ok((call.request(rules, reads, true)?, call.entities(rules, ids, looks)?))
}

const UNBUILDABLE: &str = "the call could not be put to it";

const WRONG_TYPE: &str = "a value has another type than it expects";

fn class_of(error: &EvaluationError) -> &'static str {
    match error {
        EvaluationError::EntityDoesNotExist(_) => "it asks for an entity that does not exist",
        EvaluationError::EntityAttrDoesNotExist(_) | EvaluationError::RecordAttrDoesNotExist(_) => {
            NO_ATTRIBUTE
        }
        EvaluationError::TypeError(_) => WRONG_TYPE,
        EvaluationError::IntegerOverflow(_) => "a calculation overflows",
        EvaluationError::FailedExtensionFunctionExecution(_) => "a function refused its argument",
        EvaluationError::RecursionLimit(_) => "it is nested too deeply",
        _ => "it cannot be evaluated",
    }
}

/// The slow way: every policy as it was written, every entity, every attribute, by Cedar alone. Permits and
/// forbids apart, since Cedar names no satisfied permit once a forbid is. Holds the fast way to account.
pub(crate) fn evaluate_everything(rules: &Rules, request: &Request<'_>) -> Result<Outcome, Unbuildable> {
    let all = rules.rules.iter().map(|rule| rule.whole.clone());
    let (permits, forbids): (Vec<_>, Vec<_>) = all.partition(|p| p.effect() == cedar_policy::Effect::Permit);
    let (request, entities) = Call::new(request).everything(rules)?;
    let place =
        |id: &str| (0_u32..).zip(&rules.rules).find(|(_, rule)| rule.id == id).map(|(place, _)| place);
    let mut outcome = Outcome::default();
    for (policies, forbid) in [(permits, false), (forbids, true)] {
        let set = cedar_policy::PolicySet::from_policies(policies).map_err(|_| Unbuildable)?;
        let response = Authorizer::new().is_authorized(&request, &set, &entities);
        for id in response.diagnostics().reason() {
            outcome.add(place(id.as_ref()).ok_or(Unbuildable)?, forbid);
        }
        for error in response.diagnostics().errors() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            let place = place(error.policy_id().as_ref()).ok_or(Unbuildable)?;
            outcome.errors.push((place, class_of(error.inner())));
        }
    }
    outcome.permits.sort_unstable();
    outcome.forbids.sort_unstable();
    outcome.errors.sort_unstable();
    Ok(outcome)
}

/// The record of an outcome, in shadow or enforce mode.
pub(crate) fn record(rules: &Rules, outcome: &Outcome, mode: Mode) -> Decision {
    let denied = if mode == Mode::Enforce { Verdict::Deny } else { Verdict::WouldDeny };
    let ids = |places: &mut dyn Iterator<Item = u32>| -> Vec<String> {
        let mut ids: Vec<String> =
            places.filter_map(|p| rules.get(p)).take(NAMED_MAX).map(|r| r.id.clone()).collect();
        ids.sort_unstable();
        ids
    };
    let (verdict, policies, reason) = if !outcome.forbids.is_empty() {
        let stated = outcome.forbids.iter().filter_map(|p| rules.get(*p)).find(|r| !r.reason.is_empty());
        let reason = stated.map_or_else(|| FORBIDDEN.to_owned(), |rule| rule.reason.clone());
        (denied, ids(&mut outcome.forbids.iter().copied()), reason)
    } else if let Some((place, why)) = outcome.errors.first() {
        let id = rules.get(*place).map_or("", |rule| &rule.id);
        let reason = format!("{ERROR_PREFIX}{id}: {why}");
        (denied, ids(&mut outcome.errors.iter().map(|(place, _)| *place)), reason)
    } else if !outcome.permits.is_empty() {
        (Verdict::Allow, ids(&mut outcome.permits.iter().copied()), String::new())
    } else {
        (denied, Vec::new(), NOT_PERMITTED.to_owned())
    };
    Decision { verdict: Some(verdict), mode: Some(mode), policies, reason, ..Decision::default() }
}

/// The record of a call on a route whose policies could not be loaded.
pub(crate) fn record_broken(mode: Mode) -> Decision {
    let verdict = match mode {
        Mode::Enforce => Some(Verdict::Deny),
        Mode::Shadow => Some(Verdict::WouldDeny),
        _ => None,
    };
    let reason = match verdict {
        Some(_) => format!("{ERROR_PREFIX}the policies could not be loaded"),
        None => String::new(),
    };
    Decision { verdict, mode: Some(mode), reason, ..Decision::default() }
}
