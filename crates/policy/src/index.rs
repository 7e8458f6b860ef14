//! Which policies can apply to a call, by their scopes: principal, action, resource.
//!
//! The scopes are decided here, exactly as Cedar decides them; the conditions are Cedar's. Every policy
//! lies in the list of its rarest id, so a call looks at the lists of the ids that it has, not at all policies.

use crate::names::{Numbers, Type, TypeNames, of_uid};
use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint,
};
use std::collections::HashMap;

/// What a scope asks of one of the three.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ask {
    Any,
    /// Is exactly this.
    Eq(u32),
    /// Is one of these or below one of them.
    In(Vec<u32>),
    Is(Type),
    IsIn(Type, u32),
}

/// A policy's scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    principal: Ask,
    action: Ask,
    resource: Ask,
}

/// One of the three of a call: its type, its own number and the numbers above it, as far as they are named.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    pub(crate) ty: Type,
    pub(crate) own: Option<u32>,
    /// Sorted, without `own`.
    pub(crate) above: Vec<u32>,
}

impl Ids {
    pub(crate) fn is_in(&self, number: u32) -> bool {
        self.own == Some(number) || self.above.binary_search(&number).is_ok()
    }

    fn all(&self) -> impl Iterator<Item = u32> + '_ {
        self.own.into_iter().chain(self.above.iter().copied())
    }
}

/// The ids of a call.
#[derive(Clone, Debug)]
pub(crate) struct CallIds {
    pub(crate) principal: Ids,
    pub(crate) action: Ids,
    pub(crate) resource: Ids,
}

impl Ask {
    fn holds(&self, ids: &Ids) -> bool {
        match self {
            Ask::Any => true,
            Ask::Eq(number) => ids.own == Some(*number),
            Ask::In(numbers) => numbers.iter().any(|n| ids.is_in(*n)),
            Ask::Is(ty) => ids.ty == *ty,
            Ask::IsIn(ty, number) => ids.ty == *ty && ids.is_in(*number),
        }
    }

    /// The ids of which a call must have one; `None` = any call.
    fn keys(&self) -> Option<&[u32]> {
        match self {
            Ask::Any | Ask::Is(_) => None,
            Ask::Eq(number) | Ask::IsIn(_, number) => Some(std::slice::from_ref(number)),
            Ask::In(numbers) => Some(numbers),
        }
    }
}

impl Scope {
    /// A policy's scope, its ids numbered; `None` if it names a type that the schema lacks.
    pub(crate) fn of(policy: &Policy, names: &TypeNames, numbers: &mut Numbers) -> Option<Scope> {
        let mut number = |uid: &EntityUid| {
            let (ty, id) = of_uid(uid)?;
            numbers.of(names, ty, id)
        };
        let ty = |name: &EntityTypeName| Type::from_name(&name.to_string());
        Some(Scope {
            principal: match policy.principal_constraint() {
                PrincipalConstraint::Any => Ask::Any,
                PrincipalConstraint::Eq(uid) => Ask::Eq(number(&uid)?),
                PrincipalConstraint::In(uid) => Ask::In(vec![number(&uid)?]),
                PrincipalConstraint::Is(name) => Ask::Is(ty(&name)?),
                PrincipalConstraint::IsIn(name, uid) => Ask::IsIn(ty(&name)?, number(&uid)?),
            },
            action: match policy.action_constraint() {
                ActionConstraint::Any => Ask::Any,
                ActionConstraint::Eq(uid) => Ask::Eq(number(&uid)?),
                ActionConstraint::In(uids) => {
                    Ask::In(uids.iter().map(&mut number).collect::<Option<Vec<u32>>>()?)
                }
            },
            resource: match policy.resource_constraint() {
                ResourceConstraint::Any => Ask::Any,
                ResourceConstraint::Eq(uid) => Ask::Eq(number(&uid)?),
                ResourceConstraint::In(uid) => Ask::In(vec![number(&uid)?]),
                ResourceConstraint::Is(name) => Ask::Is(ty(&name)?),
                ResourceConstraint::IsIn(name, uid) => Ask::IsIn(ty(&name)?, number(&uid)?),
            },
        })
    }

    fn holds(&self, call: &CallIds) -> bool {
        self.principal.holds(&call.principal)
            && self.action.holds(&call.action)
            && self.resource.holds(&call.resource)
    }
}

/// The scopes of all policies, findable.
#[derive(Debug, Default)]
pub(crate) struct Index {
    scopes: Vec<Scope>,
    /// By number: policies whose rarest id it is.
    lists: Vec<Vec<u32>>,
    /// Policies without an id in their scope.
    always: Vec<u32>,
}

impl Index {
    /// Numbers in the result of [`Index::candidates`] are places in `scopes`.
    pub(crate) fn new(scopes: Vec<Scope>) -> Index {
        let asks = |scope: &'_ Scope| [scope.principal.clone(), scope.resource.clone(), scope.action.clone()];
        let mut frequency: HashMap<u32, usize> = HashMap::new();
        for ask in scopes.iter().flat_map(asks) {
            ask.keys().into_iter().flatten().for_each(|key| *frequency.entry(*key).or_default() += 1);
        }
        let (mut lists, mut always): (Vec<Vec<u32>>, Vec<u32>) = Default::default();
        let most = frequency.keys().max().and_then(|key| usize::try_from(*key).ok());
        lists.resize_with(most.map_or(0, |most| most + 1), Vec::new);
        for (place, scope) in (0_u32..).zip(&scopes) {
            let cost = |keys: &[u32]| -> usize { keys.iter().filter_map(|key| frequency.get(key)).sum() };
            let asks = asks(scope);
            match asks.iter().filter_map(Ask::keys).min_by_key(|keys| cost(keys)) {
                Some(keys) => keys.iter().for_each(|key| {
                    let list = usize::try_from(*key).ok().and_then(|key| lists.get_mut(key));
                    list.into_iter().for_each(|list| list.push(place));
                }),
                None => always.push(place),
            }
        }
        Index { scopes, lists, always }
    }

    /// Places of the policies whose scopes hold, ascending.
    pub(crate) fn candidates(&self, call: &CallIds) -> Vec<u32> {
        let mut found = Vec::new();
        let mut take = |places: &[u32]| {
            let holds = |place: &&u32| {
                let scope = usize::try_from(**place).ok().and_then(|place| self.scopes.get(place));
                scope.is_some_and(|scope| scope.holds(call))
            };
            found.extend(places.iter().filter(holds));
        };
        take(&self.always);
        for ids in [&call.principal, &call.action, &call.resource] {
            let lists = ids.all().filter_map(|key| self.lists.get(usize::try_from(key).ok()?));
            lists.for_each(|list| take(list));
        }
        // A policy for several actions is in several lists.
        found.sort_unstable();
        found.dedup();
        found
    }
}
