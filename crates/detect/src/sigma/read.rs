//! YAML documents as rules, filters and correlations.
//!
//! Sigma rules, filters and correlation rules specifications 2.1. Nothing inside `logsource`, `detection`,
//! `correlation` and `filter` is skipped: what is not known there is refused. Top-level keys that Sigma does not
//! name are attributes of the author's and change no match, but those of other engines (`rsigma.window`) would.

use super::ast::{Bound, Correlation, CorrelationKind, Detection, Detections, Document, Filter, Item};
use super::ast::{Level, LogSource, Meta, Modifier, Op, Rule, Scalar};
use super::condition;
use super::refused::{Fault, meant};
use std::collections::BTreeMap;
use yaml_serde::{Mapping, Value};

/// Longest window of a correlation, in seconds: 31 days.
pub const TIMESPAN_MAX_SECONDS: i64 = 31 * 86_400;
/// Longest title, id or name, in bytes.
const NAME_MAX_BYTES: usize = 512;
/// The major version of the specification that is evaluated.
const VERSION: u64 = 2;

type Read<T> = Result<T, Fault>;

/// Reads one document. With a fault comes what is known of the document by then.
pub(crate) fn document(mapping: &Mapping) -> Result<Document, Box<(Meta, Fault)>> {
    let mut meta = Meta::default();
    read_meta(mapping, &mut meta).and_then(|()| body(mapping, &meta)).map_err(|fault| Box::new((meta, fault)))
}

fn body(mapping: &Mapping, meta: &Meta) -> Read<Document> {
    for key in mapping.keys().filter_map(Value::as_str) {
        if key == "countersign" || key.starts_with("rsigma.") {
            return Err(Fault::new(key, "an extension that this engine does not evaluate"));
        }
    }
    if let Some(correlation) = mapping.get("correlation") {
        return read_correlation(mapping, correlation, meta).map(Document::Correlation);
    }
    if let Some(filter) = mapping.get("filter") {
        return read_filter(mapping, filter, meta).map(Document::Filter);
    }
    let Some(detection) = mapping.get("detection") else {
        return Err(Fault::new("", "has no `detection`, `correlation` or `filter`"));
    };
    let logsource = read_logsource(mapping.get("logsource"))?;
    let detections = read_detections(map(detection, "detection")?, &[]).map_err(|f| f.within("detection"))?;
    Ok(Document::Rule(Rule { meta: meta.clone(), logsource, detections }))
}

fn read_meta(mapping: &Mapping, meta: &mut Meta) -> Read<()> {
    meta.title = text_of(mapping, "title").unwrap_or_default();
    meta.name = text_of(mapping, "name")?;
    meta.id = text_of(mapping, "id")?;
    if meta.id.is_empty() {
        meta.id.clone_from(&meta.name);
    }
    text_of(mapping, "title")?;
    for (field, value) in [("title", &meta.title), ("id", &meta.id), ("name", &meta.name)] {
        if value.len() > NAME_MAX_BYTES {
            return Err(Fault::new(field, format!("longer than {NAME_MAX_BYTES} bytes")));
        }
    }
    if meta.title.is_empty() {
        return Err(Fault::new("title", "is missing"));
    }
    if meta.id.is_empty() {
        return Err(Fault::new("id", "is missing: findings and replays name a rule by it"));
    }
    meta.description = text_of(mapping, "description")?;
    meta.status = text_of(mapping, "status")?;
    meta.author = text_of(mapping, "author")?;
    meta.license = text_of(mapping, "license")?;
    meta.tags = texts_of(mapping, "tags")?;
    meta.references = texts_of(mapping, "references")?;
    meta.falsepositives = texts_of(mapping, "falsepositives")?;
    meta.explain = text_of(mapping, "explain")?;
    super::sentence::check(&meta.explain, mapping.contains_key("correlation"))?;
    let level = text_of(mapping, "level")?;
    meta.level = Level::from_word(&level);
    if meta.level.is_none() && !level.is_empty() {
        return Err(Fault::new("level", format!("`{level}` is not a level{}", meant(&level, &Level::WORDS))));
    }
    match mapping.get("sigma-version") {
        None => Ok(()),
        Some(value) if major(value) == Some(VERSION) => Ok(()),
        Some(_) => Err(Fault::new("sigma-version", "only version 2 of the specification is evaluated")),
    }
}

fn major(value: &Value) -> Option<u64> {
    match value {
        Value::Number(n) => n.as_u64().or_else(|| n.as_f64().map(|f| f as u64)),
        Value::String(text) => text.trim_start_matches('v').split('.').next()?.parse().ok(),
        _ => None,
    }
}

fn read_logsource(value: Option<&Value>) -> Read<LogSource> {
    let Some(value) = value else { return Ok(LogSource::default()) };
    let mapping = map(value, "logsource")?;
    let mut out = LogSource::default();
    for key in mapping.keys() {
        let key = name(key).map_err(|f| f.within("logsource"))?;
        let part = match key {
            "product" => &mut out.product,
            "category" => &mut out.category,
            "service" => &mut out.service,
            "definition" => continue,
            other => {
                let known = meant(other, &["product", "category", "service", "definition"]);
                return Err(Fault::new("logsource", format!("unknown key `{other}`{known}")));
            }
        };
        *part = text_of(mapping, key).map_err(|f| f.within("logsource"))?.to_ascii_lowercase();
    }
    Ok(out)
}

/// A detection section; `also` are keys that its caller reads.
fn read_detections(mapping: &Mapping, also: &[&str]) -> Read<Detections> {
    let mut out = Detections { named: Vec::new(), conditions: Vec::new() };
    for (key, value) in mapping {
        let key = name(key)?;
        match key {
            "condition" => {
                for text in texts_of(mapping, "condition")? {
                    let condition = condition::parse(&text).map_err(|e| Fault::new("condition", e))?;
                    out.conditions.push(condition);
                }
            }
            "timeframe" => {
                let what = "aggregation in a rule was removed from Sigma; write a correlation";
                return Err(Fault::new("timeframe", what));
            }
            key if also.contains(&key) => {}
            key => out.named.push((key.to_owned(), read_detection(value).map_err(|f| f.within(key))?)),
        }
    }
    if out.conditions.is_empty() {
        return Err(Fault::new("condition", "is missing"));
    }
    if out.named.is_empty() {
        return Err(Fault::new("", "holds no detection"));
    }
    Ok(out)
}

fn read_detection(value: &Value) -> Read<Detection> {
    match value {
        Value::Mapping(mapping) if mapping.is_empty() => {
            Err(Fault::new("", "is empty and would match everything"))
        }
        Value::Mapping(mapping) => mapping
            .iter()
            .map(|(key, value)| read_item(name(key)?, value))
            .collect::<Read<_>>()
            .map(Detection::All),
        Value::Sequence(items) if items.is_empty() => Err(Fault::new("", "is an empty list")),
        Value::Sequence(items) if items.iter().any(|i| i.is_mapping() || i.is_sequence()) => {
            items.iter().map(read_detection).collect::<Read<_>>().map(Detection::Any)
        }
        Value::Sequence(items) => items.iter().map(scalar).collect::<Read<_>>().map(Detection::Keywords),
        other => Ok(Detection::Keywords(vec![scalar(other)?])),
    }
}

fn read_item(key: &str, value: &Value) -> Read<Item> {
    let mut parts = key.split('|');
    let field = parts.next().filter(|field| !field.is_empty()).map(str::to_owned);
    let modifiers = parts
        .map(|word| {
            Modifier::from_word(word).ok_or_else(|| {
                let what = match word {
                    "not" => "; `not` stands in the condition".to_owned(),
                    _ => meant(word, Modifier::WORDS),
                };
                Fault::new(key, format!("unknown modifier `{word}`{what}"))
            })
        })
        .collect::<Read<Vec<_>>>()?;
    let values = match value {
        Value::Sequence(items) if items.is_empty() => Err(Fault::new("", "an empty list matches nothing")),
        Value::Sequence(items) => items.iter().map(scalar).collect(),
        single => scalar(single).map(|value| vec![value]),
    };
    let values = values.map_err(|f| f.within(key))?;
    Ok(Item { key: key.to_owned(), field, modifiers, values })
}

fn scalar(value: &Value) -> Read<Scalar> {
    match value {
        Value::String(text) => Ok(Scalar::Text(text.clone())),
        Value::Bool(b) => Ok(Scalar::Bool(*b)),
        Value::Null => Ok(Scalar::Null),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(n), _) => Ok(Scalar::Int(n)),
            (None, Some(n)) if n.is_finite() => Ok(Scalar::Float(n)),
            _ => Err(Fault::new("", format!("`{n}` is not a finite number"))),
        },
        _ => Err(Fault::new("", "a value is a text, a number, true, false or null")),
    }
}

fn read_filter(mapping: &Mapping, value: &Value, meta: &Meta) -> Read<Filter> {
    let logsource = read_logsource(mapping.get("logsource"))?;
    let inner = map(value, "filter")?;
    let rules = match inner.get("rules") {
        None => return Err(Fault::new("filter.rules", "is missing; `any` is every rule of the log source")),
        Some(Value::String(any)) if any == "any" => Vec::new(),
        Some(_) => some_texts(inner, "rules").map_err(|f| f.within("filter"))?,
    };
    let detections = read_detections(inner, &["rules"]).map_err(|f| f.within("filter"))?;
    Ok(Filter { meta: meta.clone(), logsource, rules, detections })
}

fn read_correlation(mapping: &Mapping, value: &Value, meta: &Meta) -> Read<Correlation> {
    let inner = map(value, "correlation")?;
    let mut correlation = correlation_body(inner, meta).map_err(|f| f.within("correlation"))?;
    if let Some(generate) = mapping.get("generate") {
        correlation.generate =
            generate.as_bool().ok_or_else(|| Fault::new("generate", "not true or false"))?;
    }
    Ok(correlation)
}

fn correlation_body(inner: &Mapping, meta: &Meta) -> Read<Correlation> {
    const KEYS: [&str; 8] =
        ["type", "rules", "group-by", "timespan", "timeframe", "condition", "aliases", "generate"];
    for key in inner.keys() {
        let key = name(key)?;
        if !KEYS.contains(&key) {
            return Err(Fault::new(key, format!("unknown key{}", meant(key, &KEYS))));
        }
    }
    let word = text_of(inner, "type")?;
    let kind = CorrelationKind::from_word(&word).ok_or_else(|| {
        Fault::new("type", format!("unknown kind `{word}`{}", meant(&word, &CorrelationKind::WORDS)))
    })?;
    let timespan = match (inner.get("timespan"), inner.get("timeframe")) {
        (Some(_), Some(_)) => return Err(Fault::new("timeframe", "both timespan and timeframe are given")),
        (None, Some(_)) => text_of(inner, "timeframe")?,
        _ => text_of(inner, "timespan")?,
    };
    let generate = match inner.get("generate") {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| Fault::new("generate", "not true or false"))?,
    };
    Ok(Correlation {
        meta: meta.clone(),
        kind,
        rules: some_texts(inner, "rules")?,
        group_by: texts_of(inner, "group-by")?,
        timespan_ns: timespan_ns(&timespan).map_err(|what| Fault::new("timespan", what))?,
        condition: read_bound(inner.get("condition"), kind)?,
        aliases: read_aliases(inner.get("aliases"))?,
        generate,
    })
}

fn timespan_ns(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is not a whole number and s, m, h, d or w");
    let unit = text.chars().next_back().ok_or_else(|| "is missing".to_owned())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let count: i64 = text.strip_suffix(unit).and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
    match count.checked_mul(seconds) {
        Some(length @ 1..=TIMESPAN_MAX_SECONDS) => Ok(length * 1_000_000_000),
        _ => Err(format!("`{text}` is not within 1 s and {} d", TIMESPAN_MAX_SECONDS / 86_400)),
    }
}

fn read_bound(value: Option<&Value>, kind: CorrelationKind) -> Read<Bound> {
    let mapping = match value {
        None if kind.temporal() => return Ok(Bound::AllRules),
        None => return Err(Fault::new("condition", "is missing")),
        Some(Value::String(text)) if kind == CorrelationKind::Temporal => {
            return condition::parse(text).map(Bound::Rules).map_err(|e| Fault::new("condition", e));
        }
        Some(Value::Mapping(mapping)) if kind != CorrelationKind::TemporalOrdered => mapping,
        Some(_) if kind == CorrelationKind::TemporalOrdered => {
            return Err(Fault::new("condition", "temporal_ordered always wants all its rules, in order"));
        }
        Some(_) => return Err(Fault::new("condition", "not a map such as `gte: 10`")),
    };
    let mut bounds = Vec::new();
    let mut percentile = 50.0;
    for (key, value) in mapping {
        let key = name(key).map_err(|f| f.within("condition"))?;
        let number = || match value.as_f64() {
            Some(n) if n.is_finite() => Ok(n),
            _ => Err(Fault::new(format!("condition.{key}"), "not a number")),
        };
        match (key, Op::from_word(key)) {
            (_, Some(op)) => bounds.push((op, number()?)),
            ("field", _) if kind.has_field() => {}
            ("percentile", _) if kind == CorrelationKind::ValuePercentile => percentile = number()?,
            (key, _) => {
                let known = meant(key, &[&Op::WORDS[..], &["field", "percentile"]].concat());
                return Err(Fault::new("condition", format!("unknown key `{key}` of this kind{known}")));
            }
        }
    }
    if bounds.is_empty() {
        return Err(Fault::new("condition", "has none of gt, gte, lt, lte, eq, neq"));
    }
    if !(0.0..=100.0).contains(&percentile) {
        return Err(Fault::new("condition.percentile", "is not within 0 and 100"));
    }
    let fields = match kind.has_field() {
        true => some_texts(mapping, "field").map_err(|f| f.within("condition"))?,
        false => Vec::new(),
    };
    if kind.numeric() && fields.len() > 1 {
        return Err(Fault::new("condition.field", "numbers are taken from one field"));
    }
    Ok(Bound::Value { bounds, fields, percentile })
}

fn read_aliases(value: Option<&Value>) -> Read<BTreeMap<String, BTreeMap<String, String>>> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let mut out = BTreeMap::new();
    for (alias, value) in map(value, "aliases")? {
        let alias = name(alias).map_err(|f| f.within("aliases"))?;
        let mut fields = BTreeMap::new();
        for rule in map(value, &format!("aliases.{alias}"))?.keys() {
            let rule = name(rule).map_err(|f| f.within("aliases"))?;
            let field = text_of(map(value, "aliases")?, rule).map_err(|f| f.within("aliases"))?;
            fields.insert(rule.to_owned(), field);
        }
        out.insert(alias.to_owned(), fields);
    }
    Ok(out)
}

fn map<'v>(value: &'v Value, field: &str) -> Read<&'v Mapping> {
    value.as_mapping().ok_or_else(|| Fault::new(field, "is not a map"))
}

fn name(key: &Value) -> Read<&str> {
    key.as_str().ok_or_else(|| Fault::new("", "a key is not a text; quote it"))
}

/// A text; empty if the key is missing.
fn text_of(mapping: &Mapping, key: &str) -> Read<String> {
    match mapping.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(n)) => Ok(n.to_string()),
        Some(_) => Err(Fault::new(key, "is not a text")),
    }
}

/// A text or a list of texts; empty if the key is missing.
fn texts_of(mapping: &Mapping, key: &str) -> Read<Vec<String>> {
    match mapping.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Sequence(items)) => items
            .iter()
            .map(|item| {
                item.as_str().map(str::to_owned).ok_or_else(|| Fault::new(key, "holds what is not a text"))
            })
            .collect(),
        Some(_) => text_of(mapping, key).map(|text| vec![text]),
    }
}

fn some_texts(mapping: &Mapping, key: &str) -> Read<Vec<String>> {
    let all = texts_of(mapping, key)?;
    if all.is_empty() || all.iter().any(String::is_empty) {
        Err(Fault::new(key, "is missing"))
    } else {
        Ok(all)
    }
}
