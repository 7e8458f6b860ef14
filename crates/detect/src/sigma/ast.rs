//! Sigma documents as types: what was written, before any meaning is given to it.
//!
//! The reader of rule text (`read.rs`) makes these and nothing else sees YAML, so that another reader can take
//! its place.

use super::condition::Condition;
use std::collections::BTreeMap;

/// What a rule says of itself. It changes no match, but findings show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// `id`; where there is none, the `name`.
    pub id: String,
    /// `name`: how correlations may call it.
    pub name: String,
    /// `title`.
    pub title: String,
    /// `description`.
    pub description: String,
    /// `level`.
    pub level: Option<Level>,
    /// `status`.
    pub status: String,
    /// `author`; SigmaHQ's licence wants it shown in each finding.
    pub author: String,
    /// `license`.
    pub license: String,
    /// `tags`: `attack.t1078`.
    pub tags: Vec<String>,
    /// `references`.
    pub references: Vec<String>,
    /// `falsepositives`.
    pub falsepositives: Vec<String>,
    /// `explain`, ours: one sentence for a finding, in which `{field}` stands for the value of that field of the
    /// event, and in a correlation `{value}` and `{count}` for what it found.
    pub explain: String,
}

/// How bad a match is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the words of the format")]
pub enum Level {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

impl Level {
    pub(crate) const WORDS: [&'static str; 5] = ["informational", "low", "medium", "high", "critical"];

    pub(crate) fn from_word(word: &str) -> Option<Level> {
        let all = [Level::Informational, Level::Low, Level::Medium, Level::High, Level::Critical];
        Level::WORDS.iter().zip(all).find(|(known, _)| **known == word).map(|(_, level)| level)
    }
}

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    Rule(Rule),
    Correlation(Correlation),
    Filter(Filter),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) meta: Meta,
    pub(crate) logsource: LogSource,
    pub(crate) detections: Detections,
}

/// Where a rule's events come from; empty = not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LogSource {
    pub(crate) product: String,
    pub(crate) category: String,
    pub(crate) service: String,
}

/// A `detection` section. Conditions are alternatives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Detections {
    pub(crate) named: Vec<(String, Detection)>,
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Detection {
    /// A map: every item holds.
    All(Vec<Item>),
    /// A list: any of them holds.
    Any(Vec<Detection>),
    /// Texts without a field: any of them is somewhere.
    Keywords(Vec<Scalar>),
}

/// `field|modifier|modifier: values`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// The key as written, for messages.
    pub(crate) key: String,
    /// `None` = keywords.
    pub(crate) field: Option<String>,
    pub(crate) modifiers: Vec<Modifier>,
    pub(crate) values: Vec<Scalar>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Null,
}

macro_rules! modifiers {
    ($($name:ident $word:literal $(or $other:literal)*),+ $(,)?) => {
        /// Modifiers of Sigma 2.1.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Modifier { $($name),+ }
        impl Modifier {
            pub(crate) const WORDS: &'static [&'static str] = &[$($word $(, $other)*),+];
            pub(crate) fn word(self) -> &'static str {
                match self { $(Modifier::$name => $word),+ }
            }
            pub(crate) fn from_word(word: &str) -> Option<Modifier> {
                match word { $($word $(| $other)* => Some(Modifier::$name),)+ _ => None }
            }
        }
    };
}

modifiers! {
    Contains "contains", StartsWith "startswith", EndsWith "endswith", All "all", Cased "cased",
    Base64 "base64", Base64Offset "base64offset", Utf16Le "utf16le" or "wide", Utf16Be "utf16be", Utf16 "utf16",
    WinDash "windash", Re "re", IgnoreCase "i" or "ignorecase", MultiLine "m" or "multiline",
    DotAll "s" or "dotall", Cidr "cidr", Exists "exists", Expand "expand", FieldRef "fieldref",
    Gt "gt", Gte "gte", Lt "lt", Lte "lte", Neq "neq",
    Minute "minute", Hour "hour", Day "day", Week "week", Month "month", Year "year",
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Filter {
    pub(crate) meta: Meta,
    pub(crate) logsource: LogSource,
    /// Ids or names; empty = every rule of the log source.
    pub(crate) rules: Vec<String>,
    pub(crate) detections: Detections,
}

/// What a correlation computes over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the format")]
pub enum CorrelationKind {
    EventCount,
    ValueCount,
    Temporal,
    TemporalOrdered,
    ValueSum,
    ValueAvg,
    ValuePercentile,
    ValueMedian,
}

impl CorrelationKind {
    pub(crate) const WORDS: [&'static str; 8] = [
        "event_count",
        "value_count",
        "temporal",
        "temporal_ordered",
        "value_sum",
        "value_avg",
        "value_percentile",
        "value_median",
    ];

    pub(crate) fn from_word(word: &str) -> Option<CorrelationKind> {
        use CorrelationKind::*;
        let all = [
            EventCount,
            ValueCount,
            Temporal,
            TemporalOrdered,
            ValueSum,
            ValueAvg,
            ValuePercentile,
            ValueMedian,
        ];
        CorrelationKind::WORDS.iter().zip(all).find(|(known, _)| **known == word).map(|(_, kind)| kind)
    }

    /// Whether it computes with numbers of a field.
    pub(crate) fn numeric(self) -> bool {
        use CorrelationKind::*;
        matches!(self, ValueSum | ValueAvg | ValuePercentile | ValueMedian)
    }

    /// Whether its condition names a field.
    pub(crate) fn has_field(self) -> bool {
        self.numeric() || self == CorrelationKind::ValueCount
    }

    /// Whether it is about which rules matched.
    pub(crate) fn temporal(self) -> bool {
        matches!(self, CorrelationKind::Temporal | CorrelationKind::TemporalOrdered)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Correlation {
    pub(crate) meta: Meta,
    pub(crate) kind: CorrelationKind,
    /// Ids or names.
    pub(crate) rules: Vec<String>,
    pub(crate) group_by: Vec<String>,
    /// Length of the window, ns.
    pub(crate) timespan_ns: i64,
    pub(crate) condition: Bound,
    /// Alias → rule → field.
    pub(crate) aliases: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether the rules it names also match on their own.
    pub(crate) generate: bool,
}

/// The condition of a correlation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bound {
    /// Of a temporal correlation that says nothing: all rules.
    AllRules,
    /// Which rules, of a temporal correlation.
    Rules(Condition),
    /// A number within bounds.
    Value { bounds: Vec<(Op, f64)>, fields: Vec<String>, percentile: f64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Gt,
    Gte,
    Lt,
    Lte,
    Eq,
    Neq,
}

impl Op {
    pub(crate) const WORDS: [&'static str; 6] = ["gt", "gte", "lt", "lte", "eq", "neq"];

    pub(crate) fn from_word(word: &str) -> Option<Op> {
        let all = [Op::Gt, Op::Gte, Op::Lt, Op::Lte, Op::Eq, Op::Neq];
        Op::WORDS.iter().zip(all).find(|(known, _)| **known == word).map(|(_, op)| op)
    }

    /// Equal means: nearer than the resolution of a number about 1.
    pub(crate) fn holds(self, left: f64, right: f64) -> bool {
        let same = (left - right).abs() < f64::EPSILON;
        match self {
            Op::Gt => left > right,
            Op::Gte => left >= right,
            Op::Lt => left < right,
            Op::Lte => left <= right,
            Op::Eq => same,
            Op::Neq => !same,
        }
    }
}
