//! The query language of search, live tail and alert rules (`docs/guide/search.md`): text in, tree out,
//! and from the tree its canonical text, its SQL and its verdict on one event.
//!
//! Invariants: `parse(print(tree)) = tree`; the SQL and [`Filter::matches`] agree on every event; every
//! predicate is true or false, absent means false; input of any kind ends in a tree or an error within
//! the bounds below.

mod eval;
pub mod fields;
pub mod fuzz;
mod glob;
mod lex;
mod parse;
mod print;
mod sql;
mod values;

pub use fields::{FIELDS, Field, Ty};
pub(crate) use glob::{Glob, Piece, fold};
pub use parse::parse;
pub(crate) use sql::{ident, quote};
pub(crate) use values::{in_block, parse_block};

use countersign_event::Event;

/// Longest filter, in bytes.
pub const TEXT_MAX: usize = 4 << 10;
/// Most terms.
pub const TERMS_MAX: usize = 256;
/// Deepest nesting of parentheses and negations.
pub const DEPTH_MAX: usize = 32;
/// Most values in one list.
pub const VALUES_MAX: usize = 100;
/// Most stars in one value.
pub const STARS_MAX: usize = 8;
/// Longest regular expression, in bytes.
pub const REGEX_MAX: usize = 512;
/// Largest compiled regular expression, in bytes.
pub const REGEX_COMPILED_MAX: usize = 1 << 20;

/// Why a filter cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, column {column}{}", crate::error::did_you_mean(.suggestions))]
pub struct FilterError {
    /// The class of mistake, as the API names it.
    pub code: &'static str,
    /// What is wrong, and why.
    pub message: String,
    /// First character that is wrong, from 1.
    pub column: usize,
    /// How many characters are wrong.
    pub len: usize,
    /// Nearest names, best first.
    pub suggestions: Vec<String>,
}

impl FilterError {
    /// `query-syntax`, `unknown-field`, `bad-value` or `query-too-large`.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

/// A filter that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    pub(crate) root: Node,
}

impl Filter {
    /// The condition to put after `WHERE`; `true` for the empty filter.
    pub fn to_sql(&self) -> String {
        sql::condition(&self.root)
    }
    /// Whether this event matches: the plain reading of the language, one event at a time.
    pub fn matches(&self, event: &Event, index: u64) -> bool {
        eval::matches(&self.root, event, index)
    }
    /// Whether it is the empty filter, which matches everything.
    pub fn is_empty(&self) -> bool {
        self.root == Node::All
    }
}

/// The canonical text.
impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&print::print(&self.root))
    }
}

/// A tree of terms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// Matches everything.
    All,
    /// Two or more, all of them.
    And(Vec<Node>),
    /// Two or more, any of them.
    Or(Vec<Node>),
    /// Not.
    Not(Box<Node>),
    /// A field's predicate.
    Pred(Pred),
    /// `#index`.
    Entry(u64),
    /// Bare text.
    Text(Glob),
}

/// What is asked of one field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pred {
    pub(crate) field: &'static Field,
    /// Key of `header`, `detail`, `raw`.
    pub(crate) key: Option<String>,
    pub(crate) test: Test,
}

/// A question to a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    Present,
    Regex(Re),
    Compare(Op, i64),
    Between(i64, i64),
    Any(Vec<Value>),
}

/// Order of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Op {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Op::Less => "<",
            Op::LessOrEqual => "<=",
            Op::Greater => ">",
            Op::GreaterOrEqual => ">=",
        }
    }
    pub(crate) fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Op::Less => left < right,
            Op::LessOrEqual => left <= right,
            Op::Greater => left > right,
            Op::GreaterOrEqual => left >= right,
        }
    }
}

/// A value, read by its field's type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(Glob),
    Word(&'static str),
    Int(i64),
    Bytes(Vec<u8>),
    Net(std::net::IpAddr, u8),
}

/// A regular expression; two are equal when their texts are.
#[derive(Clone, Debug)]
pub(crate) struct Re {
    pub(crate) text: String,
    pub(crate) compiled: regex::Regex,
}

impl PartialEq for Re {
    fn eq(&self, other: &Re) -> bool {
        self.text == other.text
    }
}

/// Canonical name of a filter field for an alias of `event.md`, or a column's own name; for SQL.
pub(crate) fn column_of(name: &str) -> Option<&'static str> {
    fields::find(name).filter(|field| !field.keyed && !field.is_peer()).map(|field| field.col)
}

#[cfg(test)]
mod tests;
