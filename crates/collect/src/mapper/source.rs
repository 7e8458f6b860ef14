//! A record taken apart into named values, and which of them were taken.

use crate::formats::{Record, csv};
use crate::json::{Kind, Val};
use crate::text::unescaped;
use crate::{Draft, Fault};
use std::borrow::Cow;
use std::cell::RefCell;

/// How a record is read.
#[derive(Clone, Debug)]
pub(super) enum Read {
    Json,
    Logfmt,
    Delimited { delimiter: String, columns: Vec<String> },
    Regex(Box<regex::Regex>),
    Kv { between: String, equals: String },
    Csv { columns: Vec<String> },
}

/// Names and values, in the order of the record.
type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;
/// The same, and whether a rule took each.
type Takeable<'a> = Vec<(Cow<'a, str>, Cow<'a, str>, bool)>;

/// Values by name: JSON pointer, column, capture or key.
pub(super) enum Source<'a> {
    Json(Val<'a, 'a>),
    Named(RefCell<Takeable<'a>>),
}

impl Read {
    pub(super) fn is_json(&self) -> bool {
        matches!(self, Read::Json)
    }

    /// Takes the record apart.
    pub(super) fn source<'a>(&'a self, record: &Record<'a>) -> Result<Source<'a>, Fault> {
        if let Read::Json = self {
            return Ok(Source::Json(record.object()?));
        }
        let text = record.text;
        if text.is_empty() {
            return Err(Fault::new(0, "the text is not UTF-8"));
        }
        let named: Pairs<'a> = match self {
            Read::Logfmt => logfmt(text),
            Read::Kv { between, equals } => text
                .splitn(super::VALUES_MAX, between.as_str())
                .filter_map(|pair| pair.split_once(equals.as_str()))
                .map(|(name, value)| (Cow::Borrowed(name.trim()), Cow::Borrowed(value.trim())))
                .collect(),
            Read::Delimited { delimiter, columns } => {
                columns_of(columns, text.split(delimiter.as_str()).map(Cow::Borrowed).collect())?
            }
            Read::Csv { columns } => {
                let values = csv::split(text).ok_or(Fault::new(0, "a quoted field does not end"))?;
                columns_of(columns, values)?
            }
            Read::Regex(regex) => {
                let found = regex.captures(text).ok_or(Fault::new(0, "the pattern does not match"))?;
                let names = regex.capture_names().flatten();
                names
                    .filter_map(|name| Some((Cow::Borrowed(name), Cow::Borrowed(found.name(name)?.as_str()))))
                    .collect()
            }
            Read::Json => Vec::new(),
        };
        if named.is_empty() {
            return Err(Fault::new(0, "no value in the record"));
        }
        Ok(Source::Named(RefCell::new(named.into_iter().map(|(name, value)| (name, value, false)).collect())))
    }
}

fn columns_of<'a>(columns: &'a [String], values: Vec<Cow<'a, str>>) -> Result<Pairs<'a>, Fault> {
    if values.len() != columns.len() {
        return Err(Fault::new(0, "another number of columns than the format has"));
    }
    Ok(columns.iter().map(|name| Cow::Borrowed(name.as_str())).zip(values).collect())
}

/// `name=value`, `name="quoted \"value\""`, `name`; a blank between.
fn logfmt(text: &str) -> Pairs<'_> {
    let (mut out, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() && out.len() < super::VALUES_MAX {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let value = match behind.strip_prefix('=') {
            None => {
                rest = behind.trim_start();
                continue;
            }
            Some(value) => value,
        };
        let (value, behind) = match value.strip_prefix('"') {
            Some(inner) => {
                let end = closing(inner);
                let (value, behind) = inner.split_at(end);
                (unescaped(value), behind.strip_prefix('"').unwrap_or(behind))
            }
            None => {
                let (value, behind) = value.split_at(value.find(' ').unwrap_or(value.len()));
                (Cow::Borrowed(value), behind)
            }
        };
        if !name.is_empty() {
            out.push((Cow::Borrowed(name), value));
        }
        rest = behind.trim_start();
    }
    out
}

/// The first quotation mark that no backslash takes, or the end.
fn closing(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    text.len()
}

/// The value at a JSON pointer (RFC 6901).
fn pointer<'a>(root: Val<'a, 'a>, pointer: &str) -> Option<Val<'a, 'a>> {
    let mut value = root;
    for part in pointer.strip_prefix('/')?.split('/') {
        value = match value.kind() {
            Kind::Array => value.elements().nth(part.parse().ok()?)?,
            _ if part.contains('~') => value.get(&part.replace("~1", "/").replace("~0", "~"))?,
            _ => value.get(part)?,
        };
    }
    Some(value)
}

impl<'a> Source<'a> {
    /// A value's text, without taking it: of JSON that of strings, numbers, `true` and `false`.
    pub(super) fn peek(&self, key: &str) -> Option<Cow<'a, str>> {
        match self {
            Source::Json(root) => {
                let value = pointer(*root, key)?;
                match value.kind() {
                    Kind::Object | Kind::Array => None,
                    _ => value
                        .peek()
                        .or_else(|| Some(value.spelled()).filter(|text| *text != "null").map(Cow::Borrowed)),
                }
            }
            Source::Named(values) => {
                let values = values.borrow();
                values.iter().find(|(name, _, _)| name == key).map(|(_, value, _)| value.clone())
            }
        }
    }

    /// A rule has it.
    pub(super) fn take(&self, key: &str) {
        match self {
            Source::Json(root) => {
                if let Some(value) = pointer(*root, key) {
                    value.take();
                }
            }
            Source::Named(values) => {
                if let Some(value) = values.borrow_mut().iter_mut().find(|(name, _, _)| name == key) {
                    value.2 = true;
                }
            }
        }
    }

    /// What no rule took goes to `unmapped`; of JSON the caller sees to it.
    pub(super) fn rest(&self, draft: &mut Draft) {
        if let Source::Named(values) = self {
            for (name, value, _) in values.borrow().iter().filter(|(_, _, taken)| !taken) {
                draft.rest(name, value);
            }
        }
    }
}
