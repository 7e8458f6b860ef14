//! Sigma: rules, filters and correlations, the format in which detection is shared.
//!
//! [`RuleSet::compile`] takes texts and gives a set that runs and a list of what does not, with reasons;
//! [`RuleSet::evaluate`] takes batches of committed events and gives matches. No I/O and no clock.
//! `docs/reference/sigma.md` says what each construct means, and where implementations differ.
//!
//! How text becomes a match: `yaml` → documents; `read` → `ast`; `load` and `compile` → expressions over tests, each
//! distinct test once (`plan`); `evaluate` → bitmaps of rows; `correlate` and `window` → groups over time. `pack` is our
//! own rules, `cases` and `tried` their tests.

mod ast;
mod bitmap;
mod cases;
mod compile;
mod condition;
mod correlate;
mod evaluate;
mod fields;
mod history;
mod link;
mod load;
mod never;
mod pack;
mod pattern;
mod plan;
mod read;
mod refused;
mod route;
mod rules;
mod sentence;
mod test;
mod tried;
mod value;
mod window;
mod yaml;

pub use ast::{CorrelationKind, Level, Meta};
pub use cases::{
    AT_MAX_SECONDS, BEGIN_SECONDS, BadCase, CASE_EVENTS_MAX, CASES_MAX, CASES_MAX_BYTES, Case, cases,
};
pub use compile::{EXPANDED_MAX, Placeholders, TESTS_MAX};
pub use condition::{CONDITION_MAX_BYTES, DEPTH_MAX};
pub use correlate::{CHAIN_MAX, CorrelationStats, GROUPS_MAX, GROUPS_RULE_MAX, HITS_ALL_MAX, MEMBERS_MAX};
pub use evaluate::{BATCH_MAX, CACHE_MAX_BYTES};
pub use fields::names as field_names;
pub use history::{HISTORIES_MAX, HISTORY_HITS_MAX};
pub use pack::pack;
pub use read::TIMESPAN_MAX_SECONDS;
pub use refused::{Refused, Warning};
pub use rules::{
    Compiled, Correlated, Match, Options, RULES_MAX, RuleCost, RuleInfo, RuleSet, RuleStats, RuleText,
};
pub use sentence::SENTENCE_MAX_BYTES;
pub use test::{REGEX_CACHE_MAX_BYTES, REGEX_COMPILED_MAX_BYTES, REGEX_MAX_BYTES};
pub use tried::{CaseResult, Part, Tried, try_rules};
pub use value::Cell;
pub use window::{HITS_MAX, LATE_WINDOWS_MAX, VALUES_MAX};
pub(crate) use yaml::bounds;
pub use yaml::{ALIASES_MAX, DOCUMENTS_MAX, NESTING_MAX, OPEN_MAX, TEXT_MAX_BYTES};

use countersign_event::Event;

/// What an event has in the field that a rule without a log source would call `name`.
pub fn field<'e>(name: &str, event: &'e Event) -> Cell<'e> {
    fields::find(name, &ast::LogSource::default()).take(event)
}

/// What an event has in the field that a rule of a log source (product, category, service; empty = not said)
/// would call `name`.
pub fn field_of<'e>(logsource: [&str; 3], name: &str, event: &'e Event) -> Cell<'e> {
    let [product, category, service] = logsource.map(str::to_ascii_lowercase);
    fields::find(name, &ast::LogSource { product, category, service }).take(event)
}

/// What rules without a field look into.
pub fn searched(event: &Event) -> Cell<'_> {
    fields::Source::Keywords.take(event)
}
