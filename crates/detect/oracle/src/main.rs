//! Our Sigma engine and `rsigma-eval` on the same rules and events: which (event, rule) pairs does each find?
//!
//! `countersign-detect-oracle compare RULES EVENTS VECTORS [SEED]` compares generated rules, correlation vectors and our own
//! rules (`rules/`), and ends with 1 at any difference; `… bench RULES EVENTS` prints the events a second of both, one
//! core each, runs interleaved. Generators and readers are those of `tests/it/sigma`, seeded; nothing is written.

#[path = "../../tests/it/sigma/generate.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod generate;
#[path = "../../tests/it/sigma/pack_files.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod pack_files;
#[path = "../../tests/it/sigma/vectors.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod vectors;

use countersign_detect::Hmac;
use countersign_detect::sigma::{self, Cell, Options, RuleSet, RuleText};
use countersign_event::Event;
use generate::{BEGIN, PLACEHOLDERS, Pair, Rng, SECOND};
use rsigma_eval::event::{Event as TheirEvent, EventValue};
use rsigma_eval::{
    CorrelationConfig, CorrelationEngine, Engine, JsonEvent, LogSourceExtractor, TimestampFallback,
};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Events looked at together.
const BATCH: usize = 1000;
/// Seeds of the rules, the events and the vectors.
const SEEDS: [u64; 3] = [11, 12, 13];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|n| n.parse().ok()).unwrap_or(0);
    let same = match args.first().map(String::as_str) {
        Some("compare") => {
            let seed = number(4) as u64;
            let (rules, vectors) =
                (compare_rules(number(1), number(2), seed), compare_vectors(number(3), seed));
            let pack = compare_pack(number(2));
            rules && vectors && pack
        }
        Some("bench") => {
            bench(number(1), number(2));
            true
        }
        _ => {
            eprintln!("usage: compare RULES EVENTS VECTORS [SEED] | bench RULES EVENTS");
            false
        }
    };
    if same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options() -> Options {
    use sha2::{Digest, Sha256};
    let hmac: Hmac = Arc::new(|bytes: &[u8]| Sha256::digest(bytes).into());
    let values =
        |(name, values): &(&str, &[&str])| (name.to_string(), values.iter().map(|v| v.to_string()).collect());
    Options { placeholders: PLACEHOLDERS.iter().map(values).collect(), hmac }
}

fn pairs(count: usize, seed: u64) -> Vec<Pair> {
    let mut rng = Rng(SEEDS[0] + seed);
    (0..count).map(|at| generate::rule(&mut rng, at)).collect()
}

fn ours(pairs: &[Pair]) -> RuleSet {
    let texts: Vec<RuleText<'_>> = pairs.iter().map(|p| RuleText { source: &p.id, text: &p.ours }).collect();
    let compiled = RuleSet::compile(&texts, &options());
    assert!(compiled.refused.is_empty(), "{}", compiled.refused[0]);
    compiled.rules
}

fn theirs(pairs: &[Pair]) -> Engine {
    let mut all = rsigma_parser::SigmaCollection::new();
    for pair in pairs {
        let one = rsigma_parser::parse_sigma_yaml(&pair.theirs).expect("YAML");
        assert!(one.errors.is_empty(), "{:?}\n{}", one.errors, pair.theirs);
        all.rules.extend(one.rules);
        all.filters.extend(one.filters);
    }
    let mut engine = Engine::new();
    engine.set_logsource_extractor(Some(
        LogSourceExtractor::new().with_field_names("product", "none", "category"),
    ));
    engine.add_collection(&all).expect("rules that they take");
    engine
}

fn compare_rules(rules: usize, events: usize, seed: u64) -> bool {
    let pairs = pairs(rules, seed);
    let (mut ours, theirs) = (ours(&pairs), theirs(&pairs));
    let ids: Vec<String> = ours.rules().iter().map(|info| info.meta.id.clone()).collect();
    let mut rng = Rng(SEEDS[1] + seed);
    let mut hit = BTreeSet::new();
    let (mut same, mut found) = (true, 0usize);
    for begin in (0..events).step_by(BATCH) {
        let events: Vec<Event> =
            (begin..events.min(begin + BATCH)).map(|_| generate::event(&mut rng)).collect();
        let stream: Vec<(u64, u64, &Event)> =
            events.iter().enumerate().map(|(at, e)| (at as u64, 0, e)).collect();
        let mut a: BTreeSet<(u64, &str)> = BTreeSet::new();
        for one in ours.evaluate(&stream) {
            a.insert((one.index, &ids[one.rule]));
        }
        let mut b = BTreeSet::new();
        for (at, event) in events.iter().enumerate() {
            for result in theirs.evaluate(&Seen::new(event)) {
                b.insert((at as u64, result.header.rule_id.unwrap_or_default()));
            }
        }
        found += a.len();
        hit.extend(a.iter().map(|(_, id)| id.to_string()));
        let b: BTreeSet<(u64, &str)> = b.iter().map(|(at, id)| (*at, id.as_str())).collect();
        for (at, id) in a.symmetric_difference(&b).take(if same { 3 } else { 0 }) {
            let who = if a.contains(&(*at, id)) { "only ours" } else { "only theirs" };
            let text = pairs.iter().find(|p| p.id == **id).map_or("", |p| p.ours.as_str());
            println!("{who}: event {}\n{text}{}\n", begin as u64 + at, Seen::new(&events[*at as usize]).json);
        }
        same &= a == b;
    }
    println!(
        "rules: {rules} on {events} events: {found} pairs, {} rules with at least one, {}",
        hit.len(),
        word(same)
    );
    same
}

fn compare_vectors(count: usize, seed: u64) -> bool {
    let mut rng = Rng(SEEDS[2] + seed);
    let (mut same, mut fired) = (0, 0);
    for at in 0..count {
        let vector = vectors::vector(&mut rng, at);
        let a = correlate(&vector);
        // Without a condition they take one rule for all of them: it is said in so many words.
        let theirs = match (vector.kind, vector.text.contains("  condition:\n")) {
            ("temporal", false) if !vector.text.contains("condition: r") => {
                format!("{}  condition: {{gte: 3}}\n", vector.text)
            }
            _ => vector.text.clone(),
        };
        let b = their_correlate(&theirs, &vector);
        let agree = match vector.kind {
            // They compute a percentile and fire whatever it is: the values are compared.
            "value_percentile" => {
                a.iter().all(|(at, value)| b.iter().any(|(t, v)| t == at && (v - value).abs() < 1e-9))
            }
            _ => a.iter().map(|(at, _)| at).eq(b.iter().map(|(at, _)| at)),
        };
        let here: Vec<usize> = a.iter().map(|(at, _)| *at).collect();
        if agree && here == vector.expected {
            same += 1;
            fired += a.len();
        } else {
            println!(
                "vector {at}: ours {a:?}, theirs {b:?}, specification {:?}\n{}",
                vector.expected, vector.text
            );
        }
    }
    println!("correlations: {count} vectors, {same} the same in both and in the model, {fired} times fired");
    same == count
}

/// The events at which the correlation holds, and the value of its window.
fn correlate(vector: &vectors::Vector) -> Vec<(usize, f64)> {
    let compiled = RuleSet::compile(&[RuleText { source: "vector", text: &vector.text }], &options());
    assert!(compiled.refused.is_empty(), "{}", compiled.refused[0]);
    let mut rules = compiled.rules;
    let stream: Vec<(u64, u64, &Event)> = vector
        .events
        .iter()
        .enumerate()
        .map(|(at, (seconds, event))| (at as u64, ((BEGIN + seconds) * SECOND) as u64, event))
        .collect();
    let value = |one: &sigma::Match| one.correlation.as_ref().map_or(0.0, |found| found.value);
    rules.evaluate(&stream).iter().map(|one| (one.index as usize, value(one))).collect()
}

fn their_correlate(text: &str, vector: &vectors::Vector) -> Vec<(usize, f64)> {
    let collection = rsigma_parser::parse_sigma_yaml(text).expect("YAML");
    assert!(collection.errors.is_empty(), "{:?}\n{text}", collection.errors);
    let mut engine = CorrelationEngine::new(CorrelationConfig {
        timestamp_fallback: TimestampFallback::Skip,
        emit_detections: false,
        ..CorrelationConfig::default()
    });
    engine.add_collection(&collection).expect("rules that they take");
    let mut fired = Vec::new();
    for (at, (seconds, event)) in vector.events.iter().enumerate() {
        let results = engine.process_event_at(&Seen::new(event), BEGIN + seconds);
        for result in results.iter().filter(|result| result.header.rule_id.as_deref() == Some("c")) {
            fired.extend(result.as_correlation().map(|body| (at, body.aggregated_value)));
        }
    }
    fired
}

/// Our own rules: those of single events on generated events and on the events of all their tests, those with a
/// correlation on the events of their own tests.
fn compare_pack(generated: usize) -> bool {
    let files = pack_files::files();
    let mut rng = Rng(SEEDS[1]);
    let mut events: Vec<Event> = (0..generated).map(|_| generate::event(&mut rng)).collect();
    events.extend(
        files.iter().flat_map(|file| pack_files::cases(file)).flat_map(|case| case.events).map(|(.., e)| e),
    );
    let (mut rules, mut found, mut same) = (0, 0, true);
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a rule file");
        let theirs = rsigma_parser::parse_sigma_yaml(&text).expect("YAML");
        assert!(theirs.errors.is_empty(), "{}: {:?}", file.display(), theirs.errors);
        rules += 1;
        let (a, b) = if theirs.correlations.is_empty() {
            (single(&text, &events), their_single(&theirs, &events))
        } else {
            let cases = || pack_files::cases(file).into_iter();
            (
                cases().flat_map(|case| pack_correlation(&text, &case)).collect(),
                cases().flat_map(|case| their_pack(&theirs, &case)).collect(),
            )
        };
        found += a.len();
        if a != b {
            println!(
                "{}: ours {:?}, theirs {:?}",
                file.display(),
                &a[..a.len().min(9)],
                &b[..b.len().min(9)]
            );
            same = false;
        }
    }
    println!("our own {rules} rules on {} events: {found} pairs, {}", events.len(), word(same));
    same
}

fn pack_rules(text: &str) -> RuleSet {
    let compiled = RuleSet::compile(&[RuleText { source: "pack", text }], &options());
    assert!(compiled.refused.is_empty(), "{}", compiled.refused[0]);
    compiled.rules
}

fn single(text: &str, events: &[Event]) -> Vec<usize> {
    let stream: Vec<(u64, u64, &Event)> =
        events.iter().enumerate().map(|(at, e)| (at as u64, 0, e)).collect();
    pack_rules(text).evaluate(&stream).iter().map(|one| one.index as usize).collect()
}

fn pack_correlation(text: &str, case: &sigma::Case) -> Vec<usize> {
    let stream: Vec<(u64, u64, &Event)> =
        case.events.iter().map(|(index, ns, event)| (*index, *ns, event)).collect();
    pack_rules(text).evaluate(&stream).iter().map(|one| one.index as usize).collect()
}

/// The events of a rule's log source, by our route, that their engine finds.
fn their_single(rule: &rsigma_parser::SigmaCollection, events: &[Event]) -> Vec<usize> {
    let mut engine = Engine::new();
    engine.add_collection(rule).expect("a rule that they take");
    let mut found = Vec::new();
    for (at, event) in events.iter().enumerate().filter(|(_, event)| routed(rule, event)) {
        if !engine.evaluate(&Seen::of(rule, event)).is_empty() {
            found.push(at);
        }
    }
    found
}

fn their_pack(rule: &rsigma_parser::SigmaCollection, case: &sigma::Case) -> Vec<usize> {
    let mut engine =
        CorrelationEngine::new(CorrelationConfig { emit_detections: false, ..CorrelationConfig::default() });
    engine.add_collection(rule).expect("a rule that they take");
    let mut found = Vec::new();
    for (index, ns, event) in case.events.iter().filter(|(.., event)| routed(rule, event)) {
        let results = engine.process_event_at(&Seen::of(rule, event), *ns as i64 / SECOND);
        if results.iter().any(|result| result.as_correlation().is_some()) {
            found.push(*index as usize);
        }
    }
    found
}

/// Whether an event is one of the rule's log source; written anew, for the log sources of the pack.
fn routed(rule: &rsigma_parser::SigmaCollection, event: &Event) -> bool {
    let logsource = &rule.rules[0].logsource;
    let kind = event.core.kind.map_or("", |kind| kind.word());
    let format = event.body.cap.as_ref().map_or("", |cap| cap.fmt.as_str());
    match (logsource.product.as_deref(), logsource.category.as_deref()) {
        (Some("countersign"), Some("platform")) => event.core.rec == Some(countersign_event::Rec::Platform),
        _ if event.core.rec == Some(countersign_event::Rec::Platform) => false,
        (Some("kubernetes"), _) => kind == "k8s_api",
        (Some("aws"), _) => format == "cloudtrail",
        (Some("gcp"), _) => format == "gcp-audit",
        (Some("azure"), _) => format == "azure",
        (Some("linux"), _) => format == "sshd",
        (_, Some(category)) => kind == category,
        _ => true,
    }
}

/// The names of the fields that a collection's rules look at.
fn named(rule: &rsigma_parser::SigmaCollection) -> Vec<String> {
    fn of(detection: &rsigma_parser::Detection, out: &mut Vec<String>) {
        match detection {
            rsigma_parser::Detection::AllOf(items) => {
                out.extend(items.iter().filter_map(|item| item.field.name.clone()))
            }
            rsigma_parser::Detection::AnyOf(parts) | rsigma_parser::Detection::And(parts) => {
                parts.iter().for_each(|part| of(part, out));
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    rule.rules
        .iter()
        .flat_map(|rule| rule.detection.named.values())
        .for_each(|detection| of(detection, &mut out));
    for correlation in &rule.correlations {
        out.extend(correlation.group_by.iter().cloned());
        if let rsigma_parser::CorrelationCondition::Threshold { field: Some(fields), .. } =
            &correlation.condition
        {
            out.extend(fields.iter().cloned());
        }
    }
    out
}

fn word(same: bool) -> &'static str {
    if same { "the same in both" } else { "DIFFERENT" }
}

/// An event as the other engine sees it: flat JSON of the fields that generated rules name.
struct Seen {
    json: Value,
    searched: Vec<String>,
}

const NAMES: &[&str] = &[
    "op",
    "service",
    "target.raw",
    "who",
    "statement",
    "src.ip",
    "status",
    "duration",
    "rsp.size",
    "label",
    "time",
    "app.name",
    "app.cmd",
    "app.n",
    "app.flag",
    "app.nul",
    "app.when",
    "app.b64",
    "app.list",
    "rule",
    "g",
    "g1",
    "h",
    "v",
];

impl Seen {
    fn new(event: &Event) -> Seen {
        let mut json = Map::new();
        json.insert("product".into(), "countersign".into());
        if let Some(kind) = event.core.kind {
            json.insert("category".into(), kind.word().into());
        }
        for name in NAMES {
            if let Some(value) = value(&sigma::field(name, event)) {
                json.insert((*name).to_owned(), value);
            }
        }
        let searched =
            sigma::searched(event).each().filter_map(|c| c.as_text().map(Cow::into_owned)).collect();
        Seen { json: Value::Object(json), searched }
    }
}

impl Seen {
    /// An event with the fields that these rules name, by their log source.
    fn of(rule: &rsigma_parser::SigmaCollection, event: &Event) -> Seen {
        let logsource = &rule.rules[0].logsource;
        let parts = [&logsource.product, &logsource.category, &logsource.service];
        let parts = parts.map(|part| part.as_deref().unwrap_or_default());
        let mut json = Map::new();
        for name in named(rule) {
            if let Some(value) = value(&sigma::field_of(parts, &name, event)) {
                json.insert(name, value);
            }
        }
        Seen { json: Value::Object(json), searched: Vec::new() }
    }
}

fn value(cell: &Cell<'_>) -> Option<Value> {
    Some(match cell {
        Cell::Missing => return None,
        Cell::Null => Value::Null,
        Cell::Int(n) => (*n).into(),
        Cell::Float(n) => (*n).into(),
        Cell::Bool(b) => (*b).into(),
        Cell::Text(_) | Cell::Time(_) => Value::String(cell.as_text()?.into_owned()),
        Cell::List(cells) => cells.iter().filter_map(value).collect(),
    })
}

impl TheirEvent for Seen {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        self.json.get(path).map(EventValue::from)
    }
    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.searched.iter().any(|text| pred(text))
    }
    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        self.searched.iter().map(|text| Cow::Borrowed(text.as_str())).collect()
    }
    fn to_json(&self) -> Value {
        self.json.clone()
    }
    fn top_level_keys(&self) -> Option<Vec<Cow<'_, str>>> {
        self.json.as_object().map(|map| map.keys().map(|key| Cow::Borrowed(key.as_str())).collect())
    }
}

/// Both engines on the same events in memory, five times in turn.
fn bench(rules: usize, events: usize) {
    let pairs = pairs(rules, 0);
    let (mut ours, theirs) = (ours(&pairs), theirs(&pairs));
    let mut rng = Rng(SEEDS[1]);
    let events: Vec<Event> = (0..events).map(|_| generate::event(&mut rng)).collect();
    let stream: Vec<(u64, u64, &Event)> =
        events.iter().enumerate().map(|(at, e)| (at as u64, 0, e)).collect();
    let json: Vec<Value> = events.iter().map(|event| Seen::new(event).json).collect();
    let rate = |begin: Instant| (events.len() as f64 / begin.elapsed().as_secs_f64()) as u64;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let begin = Instant::now();
        let found: usize = stream.chunks(BATCH).map(|chunk| ours.evaluate(chunk).len()).sum();
        a.push(rate(begin));
        let begin = Instant::now();
        let other: usize = json.iter().map(|event| theirs.evaluate(&JsonEvent::borrow(event)).len()).sum();
        b.push(rate(begin));
        println!(
            "ours {} events/s, {found} matches; rsigma-eval {} events/s, {other} matches",
            a[a.len() - 1],
            b[b.len() - 1]
        );
    }
    a.sort_unstable();
    b.sort_unstable();
    println!(
        "median of 5: ours {}, rsigma-eval {}: {:.1} times; {rules} rules, seed {}",
        a[2],
        b[2],
        a[2] as f64 / b[2] as f64,
        SEEDS[0]
    );
}
