//! Routes: which receivers are told of a finding, and how its group is made.
//!
//! A tree as Alertmanager's: a finding enters at the root and goes into the first child that matches, further ones
//! only after `go_on`; where no child takes it, the node's own receivers get it. Invariant: with receivers there is a
//! default, checked at the start, so no finding falls through.

use crate::config::{AlertError, Timing};
use crate::matcher::Match;
use crate::seal::Seal;
use crate::subject::Subject;
use std::time::Duration;

/// Most routes in a tree.
pub const ROUTES_MAX: usize = 256;
/// Deepest route.
pub const ROUTES_DEEP_MAX: usize = 8;

/// What findings must have in common to be one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Tenant.
    Tenant,
    /// Rule id.
    Rule,
    /// Severity.
    Severity,
    /// Caller.
    Caller,
    /// Service called.
    Service,
    /// Resource, as a template.
    Resource,
    /// Input or route.
    Source,
}

impl GroupBy {
    /// Its word in configuration and messages.
    pub fn word(self) -> &'static str {
        match self {
            GroupBy::Tenant => "tenant",
            GroupBy::Rule => "rule",
            GroupBy::Severity => "severity",
            GroupBy::Caller => "caller",
            GroupBy::Service => "service",
            GroupBy::Resource => "resource",
            GroupBy::Source => "source",
        }
    }

    /// That of a word.
    pub fn from_word(word: &str) -> Option<GroupBy> {
        use GroupBy::*;
        [Tenant, Rule, Severity, Caller, Service, Resource, Source].into_iter().find(|by| by.word() == word)
    }

    fn value(self, subject: &Subject) -> &str {
        match self {
            GroupBy::Tenant => &subject.tenant,
            GroupBy::Rule => &subject.rule,
            GroupBy::Severity => subject.severity.word(),
            GroupBy::Caller => &subject.caller,
            GroupBy::Service => &subject.service,
            GroupBy::Resource => &subject.resource,
            GroupBy::Source => &subject.source,
        }
    }
}

/// A node of the tree. What is `None` or empty is as in the node above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Any of these must match; none given matches all. Not asked at the root.
    pub matches: Vec<Match>,
    /// Names of the receivers.
    pub receivers: Vec<String>,
    /// Go on with the next route of the same parent after this one matched (`continue`).
    pub go_on: bool,
    /// What makes a group; at the root, empty means tenant and rule.
    pub group_by: Vec<GroupBy>,
    /// How long the second message of a group waits for others (10 s).
    pub wait: Option<Duration>,
    /// Least time between messages of a group after that (5 min).
    pub interval: Option<Duration>,
    /// Children.
    pub routes: Vec<Route>,
}

/// A node with everything filled in.
pub(crate) struct Plan {
    matches: Vec<Match>,
    go_on: bool,
    pub(crate) receivers: Vec<String>,
    group_by: Vec<GroupBy>,
    pub(crate) wait_ns: u64,
    pub(crate) interval_ns: u64,
    /// Its place in the tree, for the group's name.
    path: String,
    children: Vec<Plan>,
}

impl Plan {
    /// Checks the tree. Without one, every receiver gets everything.
    pub(crate) fn new(
        route: Option<&Route>,
        names: &[(String, Vec<String>)],
        timing: &Timing,
    ) -> Result<Plan, AlertError> {
        let all =
            Route { receivers: names.iter().map(|(name, _)| name.clone()).collect(), ..Route::default() };
        let route = route.unwrap_or(&all);
        if route.receivers.is_empty() && !names.is_empty() {
            return Err(wrong(
                "alert.receivers",
                "names no default receiver: a finding that no route takes would go nowhere",
            ));
        }
        let mut left = ROUTES_MAX;
        let root = Plan {
            matches: Vec::new(),
            go_on: false,
            receivers: Vec::new(),
            group_by: vec![GroupBy::Tenant, GroupBy::Rule],
            wait_ns: nanos(timing.group_wait),
            interval_ns: nanos(timing.group_interval),
            path: String::new(),
            children: Vec::new(),
        };
        root.child(route, names, "alert", 0, &mut left)
    }

    fn child(
        &self,
        route: &Route,
        names: &[(String, Vec<String>)],
        path: &str,
        depth: usize,
        left: &mut usize,
    ) -> Result<Plan, AlertError> {
        *left = left.checked_sub(1).ok_or_else(|| wrong(path, "more than 256 routes"))?;
        if depth > ROUTES_DEEP_MAX {
            return Err(wrong(path, "routes lie more than 8 deep"));
        }
        for (at, matcher) in route.matches.iter().enumerate() {
            matcher.check().map_err(|why| wrong(&format!("{path}.match[{at}]"), why))?;
        }
        let mut receivers = Vec::new();
        for name in &route.receivers {
            let Some((_, queues)) = names.iter().find(|(known, _)| known == name) else {
                return Err(wrong(
                    &format!("{path}.receivers"),
                    &format!("names {name:?}, which is no receiver"),
                ));
            };
            receivers.extend(queues.iter().filter(|q| !receivers.contains(*q)).cloned().collect::<Vec<_>>());
        }
        let mut plan = Plan {
            matches: route.matches.clone(),
            go_on: route.go_on,
            receivers: if receivers.is_empty() { self.receivers.clone() } else { receivers },
            group_by: if route.group_by.is_empty() { self.group_by.clone() } else { route.group_by.clone() },
            wait_ns: route.wait.map_or(self.wait_ns, nanos),
            interval_ns: route.interval.map_or(self.interval_ns, nanos),
            path: path.to_owned(),
            children: Vec::new(),
        };
        for (at, child) in route.routes.iter().enumerate() {
            let child = plan.child(child, names, &format!("{path}.route[{at}]"), depth + 1, left)?;
            plan.children.push(child);
        }
        Ok(plan)
    }

    /// The nodes that take a finding, never none.
    pub(crate) fn takers(&self, subject: &Subject) -> Vec<&Plan> {
        let mut takers = Vec::new();
        for child in &self.children {
            if child.matches.is_empty() || child.matches.iter().any(|m| m.meets(subject)) {
                takers.extend(child.takers(subject));
                if !child.go_on {
                    break;
                }
            }
        }
        if takers.is_empty() {
            takers.push(self);
        }
        takers
    }

    /// What the finding's group has in common.
    pub(crate) fn labels(&self, subject: &Subject) -> Vec<(String, String)> {
        self.group_by.iter().map(|by| (by.word().to_owned(), by.value(subject).to_owned())).collect()
    }

    /// The group's fingerprint, hexadecimal: route and labels, never a time.
    pub(crate) fn group(&self, labels: &[(String, String)], seal: &Seal) -> String {
        let mut parts = vec![b"group".as_slice(), self.path.as_bytes()];
        for (name, value) in labels {
            parts.push(name.as_bytes());
            parts.push(value.as_bytes());
        }
        crate::message::hex(&seal.id(&parts))
    }
}

fn wrong(setting: &str, why: &str) -> AlertError {
    AlertError::Setting { setting: setting.to_owned(), why: why.to_owned() }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::Severity;

    fn names() -> Vec<(String, Vec<String>)> {
        ["ops", "pager", "db"].iter().map(|n| ((*n).to_owned(), vec![(*n).to_owned()])).collect()
    }
    fn plan(route: &Route) -> Result<Plan, AlertError> {
        Plan::new(Some(route), &names(), &Timing::default())
    }
    fn to(receiver: &str, matcher: Match) -> Route {
        Route { matches: vec![matcher], receivers: vec![receiver.into()], ..Route::default() }
    }
    fn told(plan: &Plan, subject: &Subject) -> Vec<String> {
        plan.takers(subject).iter().flat_map(|p| p.receivers.clone()).collect()
    }

    #[test]
    fn the_first_match_takes_a_finding_and_the_default_what_is_left() {
        let grave = Match { severity: 4, ..Match::default() };
        let db = Match { service: "db-*".into(), ..Match::default() };
        let first = Route { go_on: true, ..to("pager", grave) };
        let root =
            Route { receivers: vec!["ops".into()], routes: vec![first, to("db", db)], ..Route::default() };
        let plan = plan(&root).unwrap_or_else(|e| panic!("{e}"));
        let subject =
            |severity, service: &str| Subject { severity, service: service.into(), ..Subject::default() };
        assert_eq!(told(&plan, &subject(Severity::Low, "web")), ["ops"]);
        assert_eq!(told(&plan, &subject(Severity::High, "web")), ["pager"]);
        assert_eq!(told(&plan, &subject(Severity::High, "db-1")), ["pager", "db"]);
        assert_eq!(told(&plan, &subject(Severity::Low, "db-1")), ["db"]);
    }

    #[test]
    fn without_a_default_nothing_starts() {
        let error = plan(&Route { routes: vec![to("ops", Match::default())], ..Route::default() })
            .err()
            .map(|e| e.to_string());
        assert!(error.is_some_and(|e| e.contains("no default receiver")));
        assert!(Plan::new(None, &[], &Timing::default()).is_ok(), "the log alone needs none");
        let unknown = plan(&to("nobody", Match::default())).err().map(|e| e.to_string());
        assert!(unknown.is_some_and(|e| e.contains("\"nobody\"")));
        let mut deep = to("ops", Match::default());
        for _ in 0..9 {
            deep = Route { routes: vec![deep], receivers: vec!["ops".into()], ..Route::default() };
        }
        assert!(plan(&deep).err().is_some_and(|e| e.to_string().contains("8 deep")));
        let wide = Route { routes: vec![to("ops", Match::default()); 256], ..to("ops", Match::default()) };
        assert!(plan(&wide).err().is_some_and(|e| e.to_string().contains("256")));
    }

    #[test]
    fn a_group_is_its_labels_and_no_time() {
        let plan = plan(&to("ops", Match::default())).unwrap_or_else(|e| panic!("{e}"));
        let seal = Seal::new(&[1; 32]).unwrap_or_else(|e| panic!("{e}"));
        let subject = Subject { rule: "r".into(), caller: "a".into(), ..Subject::default() };
        let group = |s: &Subject| plan.group(&plan.labels(s), &seal);
        assert_eq!(group(&subject), group(&Subject { caller: "b".into(), ..subject.clone() }));
        assert_ne!(group(&subject), group(&Subject { rule: "q".into(), ..subject.clone() }));
    }
}
