//! Which calls a promise is about, and which of them were good.

use crate::coverage::Operation;
use crate::quoted;
use countersign_event::{Event, Outcome, Rec};
use std::collections::BTreeSet;

/// A set of calls. Empty parts hold for any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Caller's service or id.
    pub caller: String,
    /// Service called.
    pub service: String,
    /// Operation: `GET /orders/{id}`, `shop.Orders/Get`, `SELECT`.
    pub operation: Option<Operation>,
    /// Outcomes by word: `success`, `server_error`.
    pub outcomes: BTreeSet<&'static str>,
    /// Native status codes: `503`.
    pub statuses: BTreeSet<String>,
}

/// When a call of the set was good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Good {
    /// When this holds, too.
    If(Match),
    /// When this does not hold.
    Unless(Match),
    /// When it took at most so long, ns; one without a duration is not counted.
    Within(u64),
}

/// One promise.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// Name; unique.
    pub name: String,
    /// Service that it is of.
    pub service: String,
    /// The calls that count.
    pub total: Match,
    /// Which of them were good.
    pub good: Good,
    /// Share that must be good, above 0 and below 1.
    pub target: f64,
    /// Rolling window of the promise, ns.
    pub window_ns: u64,
    /// Document that it is from.
    pub source: String,
}

impl Match {
    /// Whether a call is in the set.
    pub fn takes(&self, event: &Event) -> bool {
        let who = event.who.who.as_ref();
        let called = who.is_some_and(|who| self.caller == who.svc || self.caller == who.id);
        let outcome = || event.core.outcome.map_or("", Outcome::word);
        let status = || event.core.status.as_ref().map_or("", |(_, code)| code.as_str());
        (self.service.is_empty() || self.service == event.target.svc)
            && (self.caller.is_empty() || called)
            && self.operation.as_ref().is_none_or(|op| op.takes(&crate::coverage::operation(event)))
            && (self.outcomes.is_empty() || self.outcomes.contains(outcome()))
            && (self.statuses.is_empty() || self.statuses.contains(status()))
    }

    /// A filter for it, as far as filters can say it.
    fn query(&self) -> String {
        let mut terms = Vec::new();
        for (field, value) in [("service", &self.service), ("who.svc", &self.caller)] {
            if !value.is_empty() {
                terms.push(format!("{field}:{}", quoted(value)));
            }
        }
        if let Some((verb, _)) =
            self.operation.as_ref().map(|op| op.as_str().split_once(' ').unwrap_or((op.as_str(), "")))
            && !verb.contains(['*', '/'])
        {
            terms.push(format!("op:{}", quoted(verb)));
        }
        for (field, values) in [
            ("outcome", self.outcomes.iter().map(|word| quoted(word)).collect::<Vec<_>>()),
            ("status", self.statuses.iter().map(|code| quoted(code)).collect()),
        ] {
            if !values.is_empty() {
                terms.push(format!("{field}:({})", values.join(" OR ")));
            }
        }
        terms.join(" ")
    }
}

impl Slo {
    /// Whether a call counts, and then whether it was good.
    pub fn judge(&self, event: &Event) -> Option<bool> {
        // An intent is told of again by its outcome; what was cut has no end to judge.
        if !matches!(event.core.rec, Some(Rec::Interaction | Rec::Outcome)) || !self.total.takes(event) {
            return None;
        }
        match &self.good {
            Good::If(good) => Some(good.takes(event)),
            Good::Unless(bad) => Some(!bad.takes(event)),
            Good::Within(limit_ns) => Some(event.core.dur? <= *limit_ns),
        }
    }

    /// A filter that shows the bad calls, as far as filters can say it.
    pub fn query(&self) -> String {
        // What both say is said once.
        let rest = |of: &Match| {
            let service = if of.service == self.total.service { String::new() } else { of.service.clone() };
            Match { service, ..of.clone() }.query()
        };
        let bad = match &self.good {
            Good::If(good) => format!("-({})", rest(good)),
            Good::Unless(bad) => rest(bad),
            Good::Within(limit_ns) => format!("duration:>{}us", limit_ns / 1_000),
        };
        let total = self.total.query();
        if total.is_empty() { bad } else { format!("{total} {bad}") }
    }
}
