//! OpenSLO v1: documents of kind Service, SLI and SLO, mapped onto events.
//!
//! A metric is ours when its `metricSource.type` is `countersign`; its `spec` names calls: `caller`, `service`,
//! `operation`, `outcome`, `status` (texts or lists of texts), and for a threshold the `unit` of the objective's value
//! (`ns`, `us`, `ms`, `s`; `ms` if left out). The service of the SLO holds where the metric names none.

use super::matching::{Good, Match, Slo};
use super::ring::WINDOW_MAX_NS;
use crate::coverage::{Document, Operation};
use crate::documents::{self, Refused, list, text};
use countersign_event::Outcome;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Most promises.
pub const SLOS_MAX: usize = 1_000;
/// Keys of our metric's `spec`.
const KEYS: [&str; 6] = ["caller", "service", "operation", "outcome", "status", "unit"];

/// What was promised.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slos {
    /// The promises, by name.
    pub slos: Vec<Slo>,
    /// Documents of kinds that say nothing about events (alert policies, data sources), by kind.
    pub passed_over: BTreeMap<String, u64>,
    /// What was not taken.
    pub refused: Vec<Refused>,
}

impl Slos {
    /// Reads documents; references between them may go in any order and direction.
    pub fn read(texts: &[Document<'_>]) -> Slos {
        let mut out = Slos::default();
        let (mut slis, mut slos) = (BTreeMap::new(), Vec::new());
        for of in texts {
            for document in documents::read(of.source, of.text) {
                match document.and_then(|(place, value)| out.sort(of.source, place, value)) {
                    Ok(Sorted::Sli(name, value)) => {
                        slis.insert(name, value);
                    }
                    Ok(Sorted::Slo(place, value)) => slos.push((of.source, place, value)),
                    Ok(Sorted::Nothing) => {}
                    Err(refused) => out.refused.push(refused),
                }
            }
        }
        for (source, place, value) in slos {
            match slo(source, &place, &value, &slis) {
                Ok(found) => out.add(source, &place, found),
                Err(refused) => out.refused.push(refused),
            }
        }
        out.slos.sort_by(|a, b| a.name.cmp(&b.name));
        out
    }

    fn add(&mut self, source: &str, place: &str, found: Vec<Slo>) {
        for slo in found {
            if self.slos.len() >= SLOS_MAX {
                self.refused.push(Refused::new(source, place, format!("more than {SLOS_MAX} SLOs")));
            } else if self.slos.iter().any(|have| have.name == slo.name) {
                self.refused.push(Refused::new(source, place, format!("the name {:?} is taken", slo.name)));
            } else {
                self.slos.push(slo);
            }
        }
    }

    fn sort(&mut self, source: &str, place: String, value: Value) -> Result<Sorted, Refused> {
        let version = text(&value, "/apiVersion");
        if version != "openslo/v1" {
            return Err(Refused::new(source, place, format!("apiVersion {version:?}: known is openslo/v1")));
        }
        let (kind, name) = (text(&value, "/kind"), text(&value, "/metadata/name").to_owned());
        if name.is_empty() {
            return Err(Refused::new(source, format!("{place} metadata.name"), "is missing"));
        }
        Ok(match kind {
            "SLO" => Sorted::Slo(place, value),
            "SLI" => Sorted::Sli(name, value),
            "Service" => Sorted::Nothing,
            other => {
                *self.passed_over.entry(other.to_owned()).or_default() += 1;
                Sorted::Nothing
            }
        })
    }
}

enum Sorted {
    Sli(String, Value),
    Slo(String, Value),
    Nothing,
}

/// The promises of one document: one an objective.
fn slo(
    source: &str,
    place: &str,
    value: &Value,
    slis: &BTreeMap<String, Value>,
) -> Result<Vec<Slo>, Refused> {
    let refuse = |at: &str, why: &str| Refused::new(source, format!("{place} {at}"), why);
    let method = text(value, "/spec/budgetingMethod");
    if !matches!(method, "" | "Occurrences") {
        return Err(refuse("spec.budgetingMethod", "only Occurrences is counted, not slices of time"));
    }
    let windows = list(value, "/spec/timeWindow");
    let [window] = windows else { return Err(refuse("spec.timeWindow", "exactly one window is needed")) };
    if window.get("isRolling").and_then(Value::as_bool) != Some(true) {
        return Err(refuse(
            "spec.timeWindow[0].isRolling",
            "only rolling windows are counted, not calendars",
        ));
    }
    let window_ns = duration(text(window, "/duration"))
        .filter(|ns| (3_600_000_000_000..=WINDOW_MAX_NS).contains(ns))
        .ok_or_else(|| {
            refuse("spec.timeWindow[0].duration", "not a length from 1h to 90d, such as 30d or 4w")
        })?;
    let by_name = text(value, "/spec/indicatorRef");
    let sli = match value.pointer("/spec/indicator") {
        Some(sli) => sli,
        None => slis.get(by_name).ok_or_else(|| refuse("spec.indicatorRef", "no SLI has this name"))?,
    };
    let (name, service) = (text(value, "/metadata/name"), text(value, "/spec/service"));
    let objectives = list(value, "/spec/objectives");
    if objectives.is_empty() {
        return Err(refuse("spec.objectives", "there is none"));
    }
    let mut out = Vec::new();
    for (at, objective) in objectives.iter().enumerate() {
        let here = format!("{place} spec.objectives[{at}]");
        if ["indicator", "indicatorRef"].iter().any(|key| objective.get(*key).is_some()) {
            return Err(Refused::new(source, here, "composite: an objective with an indicator of its own"));
        }
        let share = objective.get("target").and_then(Value::as_f64);
        let percent = objective.get("targetPercent").and_then(Value::as_f64);
        let target = share.or(percent.map(|percent| percent / 100.0));
        let target = target.filter(|t| *t > 0.0 && *t < 1.0).ok_or_else(|| {
            Refused::new(
                source,
                &here,
                "`target` above 0 and below 1, or `targetPercent` above 0 and below 100",
            )
        })?;
        let (total, good) = indicator(source, place, sli, objective, service)?;
        let name = if objectives.len() == 1 { name.to_owned() } else { format!("{name}/{}", at + 1) };
        let service = if service.is_empty() { total.service.clone() } else { service.to_owned() };
        out.push(Slo { name, service, total, good, target, window_ns, source: source.to_owned() });
    }
    Ok(out)
}

/// Which calls count, and which of them are good.
fn indicator(
    source: &str,
    place: &str,
    sli: &Value,
    objective: &Value,
    service: &str,
) -> Result<(Match, Good), Refused> {
    let refuse = |at: &str, why: &str| Refused::new(source, format!("{place} {at}"), why);
    if let Some(metric) = sli.pointer("/spec/thresholdMetric") {
        let (total, unit_ns) = metric_of(source, place, "thresholdMetric", metric, service)?;
        if !matches!(text(objective, "/op"), "lte" | "lt") {
            return Err(refuse("spec.objectives op", "a duration is good below a value: `lte` or `lt`"));
        }
        let value = objective.get("value").and_then(Value::as_f64).filter(|v| *v > 0.0 && v.is_finite());
        let value = value.ok_or_else(|| refuse("spec.objectives value", "not a number above 0"))?;
        return Ok((total, Good::Within((value * unit_ns) as u64)));
    }
    let Some(ratio) = sli.pointer("/spec/ratioMetric") else {
        return Err(refuse("indicator", "neither thresholdMetric nor ratioMetric"));
    };
    let part = |key: &str| {
        ratio.get(key).map(|metric| metric_of(source, place, key, metric, service).map(|(found, _)| found))
    };
    let total = part("total").ok_or_else(|| refuse("ratioMetric.total", "is missing"))??;
    match (part("good"), part("bad")) {
        (Some(good), None) => Ok((total, Good::If(or_outcome(good?, &total_free_of_outcome(), true)))),
        (None, Some(bad)) => Ok((total, Good::Unless(or_outcome(bad?, &total_free_of_outcome(), false)))),
        _ => Err(refuse("ratioMetric", "exactly one of `good` and `bad` is needed")),
    }
}

fn total_free_of_outcome() -> [Outcome; 3] {
    [Outcome::ServerError, Outcome::Timeout, Outcome::Partial]
}

/// A good or bad part that names neither outcome nor status means the plain words: success; and the server's faults.
fn or_outcome(mut of: Match, faults: &[Outcome], good: bool) -> Match {
    if of.outcomes.is_empty() && of.statuses.is_empty() {
        of.outcomes = match good {
            true => [Outcome::Success.word()].into(),
            false => faults.iter().map(|outcome| outcome.word()).collect(),
        };
    }
    of
}

/// Our own metric, and the unit of its values in ns.
fn metric_of(
    source: &str,
    place: &str,
    at: &str,
    metric: &Value,
    service: &str,
) -> Result<(Match, f64), Refused> {
    let refuse = |why: String| Refused::new(source, format!("{place} {at}.metricSource"), why);
    let kind = text(metric, "/metricSource/type");
    if !kind.eq_ignore_ascii_case("countersign") {
        return Err(refuse(format!("type {kind:?} is not measured here: only `countersign`, over events")));
    }
    let empty = Value::Object(serde_json::Map::new());
    let spec = metric.pointer("/metricSource/spec").unwrap_or(&empty);
    let table = spec.as_object().ok_or_else(|| refuse("`spec` is not a table".to_owned()))?;
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(refuse(format!("unknown key `{key}`; known are {}", KEYS.join(", "))));
    }
    let unit_ns = match text(spec, "/unit") {
        "ns" => 1.0,
        "us" => 1e3,
        "" | "ms" => 1e6,
        "s" => 1e9,
        other => return Err(refuse(format!("unit {other:?}: known are ns, us, ms, s"))),
    };
    let named = text(spec, "/service");
    let mut outcomes = BTreeSet::new();
    for word in words(spec.get("outcome")) {
        let known = Outcome::ALL.iter().find(|outcome| outcome.word() == word);
        outcomes
            .insert(known.ok_or_else(|| refuse(format!("outcome {word:?} is none of an event's")))?.word());
    }
    Ok((
        Match {
            caller: text(spec, "/caller").to_owned(),
            service: if named.is_empty() { service.to_owned() } else { named.to_owned() },
            operation: Some(text(spec, "/operation")).filter(|op| !op.is_empty()).map(Operation::new),
            outcomes,
            statuses: words(spec.get("status")).into_iter().collect(),
        },
        unit_ns,
    ))
}

/// A text, a number or a list of them.
fn words(value: Option<&Value>) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    };
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A length in OpenSLO's spelling: `30d`, `4w`, `12h`.
fn duration(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds: u64 = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000_000)
}
