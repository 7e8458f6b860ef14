//! What a query (`SELECT`, `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `VALUES`, `TABLE`, with or without `WITH`)
//! does, and to which tables.
//!
//! One pass over the tokens with a stack of open parentheses, no recursion, no backtracking: the time is
//! linear and the depth bounded. It is a reader of well-formed text, not a validator; the server is that.
//! Where the text leaves a doubt the answer is "unknown". What only the catalog knows (views, rules,
//! triggers, operators and casts of the user) is not in the text, and not judged.

mod clauses;
mod scan;

pub(super) use scan::scan;

use super::functions::Effect;
use super::view::View;
use super::{TABLES_MAX, Table};
use crate::stream::OpClass;

/// Deepest nesting of parentheses and brackets that is followed; deeper text is `incomplete`.
pub const DEPTH_MAX: usize = 1024;
/// Most names of `WITH` queries that are remembered at once; further ones are taken for tables.
pub const CTES_MAX: usize = 64;

/// What a query turned out to do.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tables: Vec<Table>,
    /// Strongest data-modifying statement, with its operation.
    write: Option<(OpClass, &'static str)>,
    lock: Option<&'static str>,
    /// Strongest effect of a function call.
    call: Option<OpClass>,
    unknown: bool,
    queries: usize,
    pub(super) broken: bool,
}

impl Found {
    pub(super) fn of(tables: Vec<Table>) -> Found {
        Found { tables, ..Found::default() }
    }

    /// Class and operation of the whole.
    pub(super) fn verdict(&self) -> (Option<OpClass>, &'static str) {
        let call = self.call.filter(|c| *c != OpClass::Meta);
        if let Some((class, operation)) = self.write {
            let more = call.filter(|c| rank(*c) > rank(OpClass::Modify) && rank(*c) > rank(class));
            return (Some(more.unwrap_or(class)), operation);
        }
        if let Some(operation) = self.lock {
            let more = call.filter(|c| rank(*c) > rank(OpClass::Modify));
            return (Some(more.unwrap_or(OpClass::Modify)), operation);
        }
        let class = match (call, self.unknown || self.broken || self.queries == 0) {
            (Some(class), _) => Some(class),
            (None, true) => None,
            (None, false) if self.call.is_some() && self.tables.is_empty() => Some(OpClass::Meta),
            (None, false) => Some(OpClass::Read),
        };
        (class, "SELECT")
    }

    /// Whether nothing in it is unknown, whatever it does.
    pub(super) fn understood(&self) -> bool {
        !self.unknown && !self.broken
    }

    fn writes(&mut self, class: OpClass, operation: &'static str) {
        if self.write.is_none_or(|(held, _)| rank(class) > rank(held)) {
            self.write = Some((class, operation));
        }
    }

    fn calls(&mut self, effect: Effect) {
        match effect {
            Effect::Pure => {}
            Effect::Unknown => self.unknown = true,
            Effect::Does(class) => {
                if self.call.is_none_or(|held| rank(class) > rank(held)) {
                    self.call = Some(class);
                }
            }
        }
    }

    pub(super) fn touch(&mut self, schema: String, name: String, written: bool) {
        if let Some(table) = self.tables.iter_mut().find(|t| t.name == name && t.schema == schema) {
            table.written |= written;
        } else if self.tables.len() < TABLES_MAX {
            self.tables.push(Table { schema, name, written });
        } else {
            self.broken = true;
        }
    }
}

/// What the arguments of a prepared statement do beside giving values, and whether that is known.
pub(super) fn arguments(view: &View<'_>, from: usize, to: usize) -> (Option<OpClass>, bool) {
    let found = scan(view, from, to);
    (found.call.filter(|c| *c != OpClass::Meta), found.understood())
}

/// Order of effects, the strongest last.
pub(super) fn rank(class: OpClass) -> u8 {
    match class {
        OpClass::Meta => 0,
        OpClass::Read => 1,
        OpClass::Connect | OpClass::Authenticate => 2,
        OpClass::Create => 3,
        OpClass::Modify => 4,
        OpClass::Delete => 5,
        OpClass::Schema => 6,
        OpClass::Execute => 7,
        OpClass::Admin => 8,
    }
}
