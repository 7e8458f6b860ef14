//! Access logs of web servers and proxies: what their fields mean, once for all of them.
//!
//! Each vendor's file says which of its fields plays which [`Role`]; an [`Exchange`] takes the fields in any order
//! and makes the draft. Formats of text are [`Plan`]s, compiled from the vendor's default or from an operator's own
//! format string; formats of JSON are tables of names. What has no role goes to `unmapped` by its name.
//!
//! Levels, inside a trusted input: the peer that a proxy authenticated (mutual TLS) is asserted; a user's name,
//! forwarded addresses and every header are the client's, and claimed.

pub mod als;
pub mod apache;
pub mod couchdb;
pub mod envoy;
mod exchange;
mod fields;
pub mod haproxy;
pub mod json;
pub mod mesh;
pub mod nginx;
pub mod nginx_error;
mod role;
pub mod text;
mod wrap;

pub(crate) use exchange::Exchange;
pub use role::{Clock, Role};

use super::Record;
use crate::plan::{FormatError, Plan, nearest};
use crate::text::given;
use crate::{Draft, Fault};
use std::borrow::Cow;

/// A format string that an operator gave, compiled.
#[derive(Clone, Debug)]
pub struct Compiled {
    plan: Plan<Role>,
    /// Fields without a role: they go to `unmapped` by these names.
    pub unknown: Vec<Unknown>,
}

/// A field of a format string that no rule knows. Not an error: operators define variables of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// As the format string has it.
    pub name: String,
    /// A name that a rule knows and that resembles it: a slip of the pen?
    pub nearest: Option<String>,
}

impl Compiled {
    /// Of `plan`; `known` are the names that its source defines.
    pub(crate) fn new(plan: Plan<Role>, known: &[&str]) -> Compiled {
        let unknown = plan
            .fields()
            .filter(|field| field.role == Role::Rest && !known.contains(&field.name.as_str()))
            .map(|field| Unknown {
                name: field.name.clone(),
                nearest: nearest(&field.name, known.iter().copied()).map(str::to_owned),
            })
            .collect();
        Compiled { plan, unknown }
    }

    /// Reads one record.
    ///
    /// # Errors
    /// The first separator of the format that is not there.
    pub fn parse(&self, record: &Record<'_>) -> Result<Draft, Fault> {
        self.read(record, record.text)
    }

    /// Gives each field of `line` that is there, without escapes, and the offset behind the last one.
    pub(crate) fn fields<'a>(
        &self,
        line: &'a str,
        take: &mut dyn FnMut(Role, &str, Cow<'a, str>),
    ) -> Result<usize, Fault> {
        self.plan.read(line, &mut |field, text| {
            if given(text).is_some() {
                take(field.role, &field.name, self.plan.plain(text));
            }
        })
    }

    /// Reads `line`, which is the record or a part of it.
    pub(crate) fn read(&self, record: &Record<'_>, line: &str) -> Result<Draft, Fault> {
        let mut exchange = Exchange::new(record);
        let end = self.fields(line, &mut |role, name, text| exchange.take(role, name, text))?;
        if line.get(end..).is_some_and(|rest| !rest.trim_end().is_empty()) {
            exchange.draft.rest("behind", line.get(end..).unwrap_or_default());
            exchange.draft.partial("text behind the last field");
        }
        exchange.done()
    }
}

/// A format that we know by heart: a slip in it is a mistake of ours, and a test compiles each.
pub(crate) type Known = std::sync::LazyLock<Result<Compiled, FormatError>>;

/// Reads `line` by a format that we know by heart.
pub(crate) fn read_known(known: &Known, record: &Record<'_>, line: &str) -> Result<Draft, Fault> {
    match &**known {
        Ok(compiled) => compiled.read(record, line),
        Err(_) => Err(Fault::new(0, "a format of ours does not compile")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::formats::Format;
    use crate::json::Doc;

    /// Calls `with` with `text` as a record.
    pub(crate) fn with<T>(text: &str, with: impl FnOnce(&Record<'_>) -> T) -> T {
        let doc = text.starts_with('{').then(|| Doc::parse(text.as_bytes()).unwrap());
        let record = Record::new(text.as_bytes(), 1_790_000_000_000_000_000);
        with(&Record { json: doc.as_ref(), realm: "realm", ..record })
    }

    /// What `format` makes of `text`, which it also takes for its own.
    pub(crate) fn parsed(format: &Format, text: &str) -> Draft {
        with(text, |record| {
            assert!((format.looks)(record), "looks like {}: {text}", format.name);
            (format.parse)(record).unwrap_or_else(|fault| panic!("{fault}: {text}"))
        })
    }
}
