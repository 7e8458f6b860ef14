//! Formats that the operator declares: where a value stands, what is done to it, where it goes.
//!
//! A mapping is a table ([`Node`], read from TOML by the caller): how a record is read, when it is one, and for each
//! field of the event where its value comes from. There are no loops, no arithmetic and no code, so every record ends
//! in linear time; regexes are linear and bounded. What no rule took goes to `unmapped`. An unknown word is refused with
//! the nearest right one.
//!
//! A mapping cannot set `verified`, `agent`, `seq` or `t_obs`: who is named in such a record is claimed.

mod config;
mod fields;
mod source;
mod strptime;
mod value;

pub use config::{MapperError, Node};
pub use fields::FIELDS;

use crate::formats::Record;
use crate::{Draft, Fault};
use countersign_event::Kind;
use fields::Target;
use source::{Read, Source};
use value::Step;

/// Longest regular expression, bytes.
pub const REGEX_MAX: usize = 10 << 10;
/// Most fields of a mapping, sources of a field, rows of a table.
pub const ROWS_MAX: usize = 256;
/// Most values that a record is taken apart into; the rest stays together in the last one.
pub const VALUES_MAX: usize = 1_024;

/// One declared format.
#[derive(Clone, Debug)]
pub struct Mapper {
    name: String,
    read: Read,
    /// A record is one when all of these values are there.
    when: Vec<(String, String)>,
    kind: Option<Kind>,
    fields: Vec<Field>,
    tests: Vec<Test>,
}

/// One field of the event.
#[derive(Clone, Debug)]
struct Field {
    target: Target,
    /// The first of these that there is.
    from: Vec<String>,
    fixed: Option<String>,
    steps: Vec<Step>,
}

/// A record with the fields that it must give.
#[derive(Clone, Debug)]
struct Test {
    input: String,
    expect: Vec<(Target, String)>,
}

impl Mapper {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its records are CSV: a line break may be inside one.
    pub fn is_csv(&self) -> bool {
        matches!(self.read, Read::Csv { .. })
    }

    /// Reads one record.
    ///
    /// # Errors
    /// It is not of this format.
    pub fn parse(&self, record: &Record<'_>) -> Result<Draft, Fault> {
        let source = self.read.source(record)?;
        for (key, want) in &self.when {
            if source.peek(key).as_deref() != Some(want) {
                return Err(Fault::new(0, "not a record of this format: `when` does not hold"));
            }
        }
        for (key, _) in &self.when {
            source.take(key);
        }
        let mut draft = Draft::new();
        draft.event.core.kind = self.kind;
        for field in &self.fields {
            self.set(field, &source, record, &mut draft);
        }
        source.rest(&mut draft);
        Ok(draft)
    }

    fn set(&self, field: &Field, source: &Source<'_>, record: &Record<'_>, draft: &mut Draft) {
        let found = field.from.iter().find_map(|key| Some((Some(key), source.peek(key)?)));
        let fixed = || field.fixed.as_deref().map(|text| (None, text.to_owned().into()));
        let Some((key, text)) = found.or_else(fixed) else { return };
        // Absent as producers write it in text; in JSON a dash is a dash.
        if key.is_some() && (text.is_empty() || (text == "-" && !self.read.is_json())) {
            key.into_iter().for_each(|key| source.take(key));
            return;
        }
        let value = field.steps.iter().try_fold(text.into_owned(), |text, step| step.apply(text));
        let done = match value {
            Some(value) => field.target.set(&value, record, draft),
            None => Err("a value is none that its rule knows"),
        };
        match done {
            // What was not understood stays in `unmapped`.
            Err(why) => draft.partial(why),
            Ok(()) => key.into_iter().for_each(|key| source.take(key)),
        }
    }

    /// Runs its tests; gives the first field that is not as expected, with the number of its test from 1.
    ///
    /// # Errors
    /// What is otherwise.
    pub fn check(&self) -> Result<usize, String> {
        for (number, test) in self.tests.iter().enumerate() {
            let name = format!("format `{}`, test {}", self.name, number + 1);
            let doc = crate::observe::json(test.input.as_bytes());
            let record = Record { json: doc.as_ref(), ..Record::new(test.input.as_bytes(), 0) };
            let draft = self.parse(&record).map_err(|fault| format!("{name}: {fault}"))?;
            for (target, want) in &test.expect {
                let found = target.show(&draft).unwrap_or_default();
                if found != *want {
                    let why = draft.partial.map(|why| format!(" ({why})")).unwrap_or_default();
                    let field = target.name();
                    return Err(format!("{name}: {field} is `{found}`, expected `{want}`{why}"));
                }
            }
        }
        Ok(self.tests.len())
    }
}

#[cfg(test)]
mod tests;
