//! What the text of a statement says, as far as sessions need it: the one place where this protocol meets
//! [`crate::sql`].
//!
//! Invariant: what is not certain has no class, and `incomplete` says so.

use super::session::Digests;
use super::statement::Statement;
use crate::sql::{self, Effect};
use crate::stream::OpClass;
use std::sync::Arc;

/// What a statement does to the statements of its own session.
#[derive(Clone, Debug, Default)]
pub enum Control {
    /// Nothing.
    #[default]
    None,
    /// `PREPARE name AS …`: the name and the statement.
    Prepare(String, Arc<Statement>),
    /// `EXECUTE name`.
    Execute(String),
    /// `DEALLOCATE name`.
    Deallocate(String),
    /// `DEALLOCATE ALL`.
    DeallocateAll,
    /// `DISCARD ALL`, which closes portals too.
    DiscardAll,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Verb: `SELECT`, `CREATE TABLE`; empty = an empty statement.
    pub operation: String,
    /// What it does; `None` = not known.
    pub class: Option<OpClass>,
    /// Tables and the like that it names, `schema.name` as written.
    pub tables: Vec<String>,
    /// Fingerprint of its shape.
    pub fingerprint: Option<[u8; 16]>,
    /// The parser did not understand it; class and tables come from its words alone.
    pub incomplete: bool,
    /// Its literals hold a password or the like: parameters must not be kept either.
    pub secret: bool,
    /// Pairs of its comments, the client's claim.
    pub tags: Vec<(String, String)>,
    /// What it does to the session's statements.
    pub control: Control,
}

/// Reads statements as the session's settings say.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// `standard_conforming_strings`.
    pub(super) standard: bool,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading { standard: true }
    }
}

impl Reading {
    /// Facts of each statement of `text`, without fingerprint and comments.
    pub(super) fn facts(&self, text: &str) -> Vec<Facts> {
        let parts = sql::split(text, self.standard);
        parts.into_iter().filter_map(|range| Some(self.of(text.get(range)?, None))).collect()
    }

    /// The statements of a simple Query.
    pub(super) fn script(&self, text: &str, digests: &dyn Digests) -> Vec<Statement> {
        let parts = sql::split(text, self.standard);
        parts.into_iter().filter_map(|range| Some(self.statement(text.get(range)?, digests))).collect()
    }

    /// The one statement of a Parse.
    pub(super) fn single(&self, text: &str, digests: &dyn Digests) -> Statement {
        match sql::split(text, self.standard).as_slice() {
            [] => Statement::new(String::new(), Facts::default(), None, text.len() as u64),
            _ => self.statement(text, digests),
        }
    }

    /// A statement of `length` bytes of which only the front could be read: no class is certain.
    pub(super) fn front(&self, text: &str, digests: &dyn Digests, length: u64) -> Statement {
        let mut statement = self.statement(text, digests);
        let facts = &mut statement.facts;
        (facts.class, facts.fingerprint, facts.incomplete) = (None, None, true);
        facts.control = Control::None;
        statement.length = length;
        statement
    }

    fn statement(&self, text: &str, digests: &dyn Digests) -> Statement {
        let mut facts = self.of(text, Some(digests));
        facts.fingerprint = Some(digests.fingerprint(&sql::shape(text, self.standard)));
        facts.tags = sql::comment_tags(text);
        let normal = sql::normalise(text, self.standard);
        Statement::new(String::new(), facts, Some(Arc::from(normal.text)), text.len() as u64)
    }

    fn of(&self, text: &str, digests: Option<&dyn Digests>) -> Facts {
        let found = sql::classify(text, self.standard);
        let control = match found.effect {
            Some(Effect::Prepare { name, body }) => {
                let body = text.get(body).unwrap_or_default();
                let inner = match digests {
                    Some(digests) => self.inner(body, digests),
                    None => Statement::new(String::new(), self.body(body), None, 0),
                };
                Control::Prepare(name, Arc::new(inner))
            }
            Some(Effect::ExecutePrepared { name }) => Control::Execute(name),
            Some(Effect::Deallocate { name }) => Control::Deallocate(name),
            Some(Effect::DeallocateAll) => Control::DeallocateAll,
            Some(Effect::DiscardAll) => Control::DiscardAll,
            _ => Control::None,
        };
        Facts {
            operation: found.operation.to_owned(),
            class: found.class,
            tables: found.tables.iter().map(name_of).collect(),
            incomplete: found.incomplete,
            secret: found.carries_secret,
            control,
            ..Facts::default()
        }
    }

    /// The body of a PREPARE. It cannot be a PREPARE itself, so it has no body.
    fn inner(&self, text: &str, digests: &dyn Digests) -> Statement {
        let mut facts = self.body(text);
        facts.fingerprint = Some(digests.fingerprint(&sql::shape(text, self.standard)));
        let normal = sql::normalise(text, self.standard);
        Statement::new(String::new(), facts, Some(Arc::from(normal.text)), text.len() as u64)
    }

    fn body(&self, text: &str) -> Facts {
        let found = sql::classify(text, self.standard);
        Facts {
            operation: found.operation.to_owned(),
            class: found.class,
            tables: found.tables.iter().map(name_of).collect(),
            incomplete: found.incomplete,
            secret: found.carries_secret,
            ..Facts::default()
        }
    }
}

fn name_of(table: &sql::Table) -> String {
    if table.schema.is_empty() { table.name.clone() } else { format!("{}.{}", table.schema, table.name) }
}
