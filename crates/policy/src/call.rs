//! One call as Cedar sees it: ids for the index, entities and context for conditions.
//!
//! Only what conditions read is built: Cedar's entities cost more than all the rest of a decision.

use crate::Request;
use crate::index::{CallIds, Ids};
use crate::names::{self, Type, class_word};
use crate::reads::{Reads, moved};
use crate::rules::Rules;
use cedar_policy::{Context, Entities, Entity, EntityUid, RestrictedExpression as Expr};
use std::collections::HashSet;

/// What could not be built; a fault of ours, recorded as an evaluation error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unbuildable;

const NS_S: u64 = 1_000_000_000;
const DAY_S: u64 = 86_400;

/// A call, prepared.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) principal: (Type, &'a str),
    resource: String,
}

impl<'a> Call<'a> {
    pub(crate) fn new(request: &'a Request<'a>) -> Call<'a> {
        Call {
            request,
            principal: names::caller(request),
            resource: names::resource(request.service, request.resource),
        }
    }

    /// Groups that a checked credential gave the caller.
    pub(crate) fn groups(&self) -> &'a [String] {
        match (self.principal.0, self.request.principal) {
            (Type::Claimed | Type::Anonymous, _) | (_, None) => &[],
            (_, Some(principal)) => &principal.groups,
        }
    }

    fn action(&self) -> String {
        names::action(self.request.protocol, self.request.operation)
    }

    fn class_group(&self) -> String {
        format!("class:{}", class_word(self.request.class))
    }

    fn protocol_groups(&self) -> [String; 2] {
        let protocol = self.request.protocol;
        [format!("protocol:{protocol}"), format!("protocol:{}", names::family(protocol))]
    }

    /// Numbers of everything this call is or is below of, as far as policies name it.
    pub(crate) fn ids(&self, rules: &Rules) -> CallIds {
        let number = |ty, id: &str| rules.numbers.get(ty, id);
        let sorted = |mut above: Vec<u32>| {
            above.sort_unstable();
            above.dedup();
            above
        };
        let (ty, id) = self.principal;
        let mut above = Vec::new();
        if !matches!(ty, Type::Claimed | Type::Anonymous) {
            above.extend(rules.above(Type::Unknown, id));
        }
        for group in self.groups() {
            above.extend(number(Type::Group, group));
            above.extend(rules.above(Type::Group, group));
        }
        let principal = Ids { ty, own: number(ty, id), above: sorted(above) };

        let (r, actions) = (self.request, &rules.actions);
        let above = [
            actions.class(r.class),
            actions.protocol(r.protocol),
            actions.protocol(names::family(r.protocol)),
        ];
        let own = actions.operation(&rules.numbers, r.protocol, r.operation);
        let action = Ids { ty: Type::Action, own, above: sorted(above.into_iter().flatten().collect()) };

        let service = self.request.service;
        let mut above: Vec<u32> = number(Type::Target, service).into_iter().collect();
        above.extend(rules.above(Type::Target, service));
        let own = number(Type::Resource, &self.resource);
        CallIds { principal, action, resource: Ids { ty: Type::Resource, own, above: sorted(above) } }
    }

    /// Cedar's request, with as much context as is read; with `moves`, what is read of caller and resource
    /// stands in the context, too ([`crate::reads::inline`]).
    pub(crate) fn request(
        &self,
        rules: &Rules,
        reads: Reads,
        moves: bool,
    ) -> Result<cedar_policy::Request, Unbuildable> {
        let uid = |ty, id: &str| names::uid(&rules.names, ty, id).ok_or(Unbuildable);
        let context = self.context(reads, moves)?;
        let (ty, id) = self.principal;
        cedar_policy::Request::new(
            uid(ty, id)?,
            uid(Type::Action, &self.action())?,
            uid(Type::Resource, &self.resource)?,
            context,
            None,
        )
        .map_err(|_| Unbuildable)
    }

    fn context(&self, reads: Reads, moves: bool) -> Result<Context, Unbuildable> {
        let r = self.request;
        let long = |n: u64| Expr::new_long(i64::try_from(n).unwrap_or(i64::MAX));
        let text = |t: &str| Expr::new_string(t.to_owned());
        let mut pairs: Vec<(&str, Expr)> = Vec::with_capacity(12);
        let mut put = |bit: Reads, name: &'static str, make: &dyn Fn() -> Option<Expr>| {
            if reads.any(bit) {
                pairs.extend(make().map(|value| (name, value)));
            }
        };
        put(Reads::CLASS, "class", &|| Some(text(class_word(r.class))));
        put(Reads::TIME, "time", &|| Some(Expr::new_datetime(datetime(r.time_ns))));
        put(Reads::HOUR, "hour", &|| Some(long(hour(r.time_ns))));
        put(Reads::WEEKDAY, "weekday", &|| Some(long(weekday(r.time_ns))));
        put(Reads::PEER, "peer", &|| r.peer.map(|ip| Expr::new_ip(ip.to_canonical().to_string())));
        put(Reads::TLS, "tls", &|| Some(Expr::new_bool(r.tls)));
        put(Reads::ROUTE, "route", &|| Some(text(r.route)));
        put(Reads::PURPOSE, "purpose", &|| Some(text(r.purpose)));
        put(Reads::DELEGATION, "delegation", &|| {
            Some(Expr::new_set(r.on_behalf_of.iter().map(|p| text(&p.id))))
        });
        put(Reads::DEPTH, "delegation_depth", &|| Some(long(r.on_behalf_of.len() as u64)));
        put(Reads::BEHALF, "behalf", &|| Some(text(r.on_behalf_of.last().map_or("", |p| &p.id))));
        put(Reads::CHAIN, "chain_verified", &|| Some(long(self.chain_verified())));
        let mut pairs: Vec<(String, Expr)> =
            pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if moves {
            let of_both = self.principal_attributes(reads).into_iter().chain(self.resource_attributes(reads));
            pairs.extend(of_both.map(|(name, value)| (moved(name), value)));
        }
        if pairs.is_empty() {
            return Ok(Context::empty());
        }
        Context::from_pairs(pairs).map_err(|_| Unbuildable)
    }

    pub(crate) fn verified(&self) -> u64 {
        self.request.principal.map_or(0, |p| p.verified.code())
    }

    pub(crate) fn chain_verified(&self) -> u64 {
        self.request.on_behalf_of.iter().map(|p| p.verified.code()).fold(self.verified(), u64::min)
    }

    /// The entities that conditions look into; nothing else.
    pub(crate) fn entities(
        &self,
        rules: &Rules,
        ids: &CallIds,
        reads: Reads,
    ) -> Result<Entities, Unbuildable> {
        let related = reads.any(Reads::IN);
        let mut entities = Vec::with_capacity(3);
        let above = |ids: &Ids| -> HashSet<EntityUid> {
            if !related {
                return HashSet::new();
            }
            ids.above.iter().filter_map(|n| rules.numbers.uid(*n).cloned()).collect()
        };
        let uid = |ty, id: &str| names::uid(&rules.names, ty, id).ok_or(Unbuildable);
        if related || reads.any(Reads::PRINCIPAL) {
            let (ty, id) = self.principal;
            entities.push(entity(uid(ty, id)?, self.principal_attributes(reads), above(&ids.principal))?);
        }
        if related || reads.any(Reads::RESOURCE) {
            let uid = uid(Type::Resource, &self.resource)?;
            entities.push(entity(uid, self.resource_attributes(reads), above(&ids.resource))?);
        }
        if related {
            entities.push(entity(uid(Type::Action, &self.action())?, Vec::new(), above(&ids.action))?);
        }
        if reads.any(Reads::LITERAL) {
            let own: Vec<EntityUid> = entities.iter().map(Entity::uid).collect();
            for (uid, above) in rules.related() {
                if !own.contains(uid) {
                    let above = above.iter().filter_map(|n| rules.numbers.uid(*n).cloned());
                    entities.push(entity(uid.clone(), Vec::new(), above.collect())?);
                }
            }
        }
        if entities.is_empty() {
            return Ok(Entities::empty());
        }
        Entities::from_entities(entities, None).map_err(|_| Unbuildable)
    }

    fn principal_attributes(&self, reads: Reads) -> Vec<(&'static str, Expr)> {
        let text = |t: &str| Expr::new_string(t.to_owned());
        let who = self.request.principal;
        let mut out = Vec::new();
        let mut put = |bit: Reads, name: &'static str, make: &dyn Fn() -> Expr| {
            if reads.any(bit) {
                out.push((name, make()));
            }
        };
        put(Reads::ID, "id", &|| text(self.principal.1));
        put(Reads::VERIFIED, "verified", &|| {
            Expr::new_long(i64::try_from(self.verified()).unwrap_or_default())
        });
        put(Reads::METHOD, "method", &|| text(who.and_then(|p| p.auth).map_or("", |a| a.word())));
        put(Reads::GROUPS, "groups", &|| Expr::new_set(self.groups().iter().map(|g| text(g))));
        put(Reads::ISS, "iss", &|| text(who.map_or("", |p| &p.iss)));
        put(Reads::SVC, "svc", &|| text(who.map_or("", |p| &p.svc)));
        out
    }

    fn resource_attributes(&self, reads: Reads) -> Vec<(&'static str, Expr)> {
        let r = self.request;
        let all = [
            (Reads::SERVICE, "service", r.service),
            (Reads::TYPE, "type", r.resource_type),
            (Reads::NAMESPACE, "namespace", r.namespace),
            (Reads::NAME, "name", r.resource),
        ];
        let read = all.into_iter().filter(|(bit, _, _)| reads.any(*bit));
        read.map(|(_, name, value)| (name, Expr::new_string(value.to_owned()))).collect()
    }

    /// Everything, as one evaluation of all policies sees it: nothing left out, the hierarchy spelled out.
    /// The measure that the fast way is held against; it shares no shortcut with it.
    pub(crate) fn everything(&self, rules: &Rules) -> Result<(cedar_policy::Request, Entities), Unbuildable> {
        let uid = |ty, id: &str| names::uid(&rules.names, ty, id).ok_or(Unbuildable);
        let groups = |list: &[String]| -> Result<HashSet<EntityUid>, Unbuildable> {
            list.iter().map(|g| uid(Type::Group, g)).collect()
        };
        let mut entities = Vec::new();
        for (name, above) in &rules.members.groups {
            entities.push(entity(uid(Type::Group, name)?, Vec::new(), groups(above)?)?);
        }
        let service = self.request.service;
        let (ty, id) = self.principal;
        for (name, above) in &rules.members.principals {
            for kind in Type::CALLERS {
                let nameless = matches!(kind, Type::Claimed | Type::Anonymous);
                if !nameless && (kind, name.as_str()) != (ty, id) {
                    entities.push(entity(uid(kind, name)?, Vec::new(), groups(above)?)?);
                }
            }
        }
        for (name, above) in &rules.members.services {
            if name != service {
                entities.push(entity(uid(Type::Target, name)?, Vec::new(), groups(above)?)?);
            }
        }
        let above = rules.members.services.get(service).map_or(&[][..], Vec::as_slice);
        entities.push(entity(uid(Type::Target, service)?, Vec::new(), groups(above)?)?);
        let mut above = groups(self.groups())?;
        if !matches!(ty, Type::Claimed | Type::Anonymous) {
            above.extend(groups(rules.members.principals.get(id).map_or(&[][..], Vec::as_slice))?);
        }
        entities.push(entity(uid(ty, id)?, self.principal_attributes(Reads::ALL), above)?);
        let above = HashSet::from([uid(Type::Target, service)?]);
        let resource = uid(Type::Resource, &self.resource)?;
        entities.push(entity(resource, self.resource_attributes(Reads::ALL), above)?);
        let [version, family] = self.protocol_groups();
        let above = [self.class_group(), version, family];
        let above = above.iter().map(|g| uid(Type::Action, g)).collect::<Result<HashSet<_>, _>>()?;
        entities.push(entity(uid(Type::Action, &self.action())?, Vec::new(), above)?);
        let entities = Entities::from_entities(entities, None).map_err(|_| Unbuildable)?;
        Ok((self.request(rules, Reads::ALL, false)?, entities))
    }
}

fn entity(
    uid: EntityUid,
    attributes: Vec<(&'static str, Expr)>,
    above: HashSet<EntityUid>,
) -> Result<Entity, Unbuildable> {
    if attributes.is_empty() {
        return Ok(Entity::new_no_attrs(uid, above));
    }
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value));
    Entity::new_with_tags(uid, attributes, above, []).map_err(|_| Unbuildable)
}

/// Hour of the day, UTC.
pub(crate) fn hour(time_ns: u64) -> u64 {
    time_ns / NS_S % DAY_S / 3_600
}

/// Day of the week, UTC, 1 = Monday.
pub(crate) fn weekday(time_ns: u64) -> u64 {
    (time_ns / NS_S / DAY_S + 3) % 7 + 1
}

/// Milliseconds since 1970, as exact as a policy's `context.time`.
pub(crate) fn millis(time_ns: u64) -> u64 {
    time_ns / 1_000_000
}

/// Hours since 1970: what `hour` and `weekday` depend on.
pub(crate) fn hours(time_ns: u64) -> u64 {
    time_ns / NS_S / 3_600
}

/// `2026-11-22T02:50:08.123Z`.
fn datetime(time_ns: u64) -> String {
    let (seconds, ms) = (time_ns / NS_S, time_ns % NS_S / 1_000_000);
    let second = seconds % DAY_S;
    let (h, m, s) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{}T{h:02}:{m:02}:{s:02}.{ms:03}Z", date(seconds / DAY_S))
}

/// Days since 1970 as `2026-11-22`: proleptic Gregorian, after Howard Hinnant's `civil_from_days`.
pub(crate) fn date(days: u64) -> String {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_cedar_reads_them() {
        assert_eq!(datetime(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(datetime(951_782_400 * NS_S), "2000-02-29T00:00:00.000Z");
        assert_eq!(datetime(1_795_315_808 * NS_S + 123_456_789), "2026-11-22T02:50:08.123Z");
        // The last moment of 64-bit nanoseconds.
        assert_eq!(datetime(u64::MAX), "2554-07-21T23:34:33.709Z");
    }
}
