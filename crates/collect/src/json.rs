//! JSON as others wrote it, read where it lies: one pass, no copy, every token's own spelling kept.
//!
//! A [`Doc`] is the text and a flat list of its items in order. A parser of a format asks for members by name;
//! what it read is marked, and what nobody read is handed to `unmapped` by [`Doc::unread`], so that no field of a
//! source can be lost by being forgotten. Not a validator of schemas, and not for our own exports
//! (`countersign_event::json`).
//!
//! Grammar: RFC 8259. Invariants: time and memory are linear in the text; nesting and number of items are
//! bounded; a name given twice is kept, the last one wins, and [`Doc::ambiguous`] says so.

mod read;
pub mod split;
mod value;

pub use value::Val;
pub(crate) use value::pointer_part;

use crate::Fault;
use std::cell::Cell;

/// Deepest nesting.
pub const DEPTH_MAX: usize = 64;
/// Most items (members, elements and containers) in one text.
pub const ITEMS_MAX: usize = 4096;
/// Longest text, bytes.
pub const TEXT_MAX: usize = 32 << 20;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number, as spelled.
    Number,
    /// A string.
    Text,
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

/// One item: where it and its name lie.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// The name has escapes; the text has escapes.
    pub(crate) escaped: (bool, bool),
    /// The name between its quotation marks; 0..0 for an element or the root.
    pub(crate) key: (u32, u32),
    /// The token, quotation marks and brackets included.
    pub(crate) span: (u32, u32),
    /// Number of the first item behind this one's own.
    pub(crate) next: u32,
    /// Some rule took it.
    pub(crate) used: Cell<bool>,
}

/// A parsed text. See the module.
#[derive(Debug)]
pub struct Doc<'a> {
    pub(crate) text: &'a str,
    pub(crate) nodes: Vec<Node>,
    ambiguous: bool,
}

impl<'a> Doc<'a> {
    /// Parses the one value of `bytes`; white space around it is allowed.
    ///
    /// # Errors
    /// The offset and the rule broken: bad UTF-8, not JSON, a bound above exceeded, text behind the end.
    pub fn parse(bytes: &'a [u8]) -> Result<Doc<'a>, Fault> {
        let (doc, end) = Doc::parse_prefix(bytes)?;
        doc.alone(bytes, end)
    }

    /// Parses the first value of `bytes` and says where it ends.
    ///
    /// # Errors
    /// As [`Doc::parse`].
    pub fn parse_prefix(bytes: &'a [u8]) -> Result<(Doc<'a>, usize), Fault> {
        Doc::prefix(bytes, ITEMS_MAX)
    }

    /// As [`Doc::parse`], for a batch of records: at most `items` items.
    ///
    /// # Errors
    /// As [`Doc::parse`].
    pub fn parse_batch(bytes: &'a [u8], items: usize) -> Result<Doc<'a>, Fault> {
        let (doc, end) = Doc::prefix(bytes, items)?;
        doc.alone(bytes, end)
    }

    fn alone(self, bytes: &[u8], end: usize) -> Result<Doc<'a>, Fault> {
        match bytes[end..].iter().position(|b| !b.is_ascii_whitespace()) {
            Some(more) => Err(Fault::new(end + more, "text behind the JSON value")),
            None => Ok(self),
        }
    }

    fn prefix(bytes: &'a [u8], items: usize) -> Result<(Doc<'a>, usize), Fault> {
        if bytes.len() > TEXT_MAX {
            return Err(Fault::new(TEXT_MAX, "the JSON text is too long"));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|error| Fault::new(error.valid_up_to(), "not UTF-8"))?;
        let mut reader = read::Reader::new(text, items);
        let end = reader.value()?;
        let (nodes, ambiguous) = reader.done();
        Ok((Doc { text, nodes, ambiguous }, end))
    }

    /// The value.
    pub fn root(&self) -> Val<'_, 'a> {
        Val::new(self, 0)
    }

    /// Whether an object gave a name twice: producers disagree on which one counts.
    pub fn ambiguous(&self) -> bool {
        self.ambiguous
    }

    /// Calls `take` with the pointer (RFC 6901) and the token of everything that no rule read; an object or
    /// array of which nothing was read comes whole.
    pub fn unread(&self, take: &mut dyn FnMut(&str, &'a str)) {
        self.root().unread(&mut String::new(), take);
    }
}

#[cfg(test)]
mod tests;
