//! Asking a parsed JSON text: what is taken is marked.

use super::{Doc, Kind};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Pointers are written out up to about this length, bytes: no entry of `unmapped` is larger.
const POINTER_MAX: usize = countersign_event::fields::bound::UNMAPPED_BYTES;

/// One value of a [`Doc`]. Reading its content marks it as taken; asking for members does not.
#[derive(Clone, Copy)]
pub struct Val<'d, 'a> {
    doc: &'d Doc<'a>,
    at: u32,
}

impl std::fmt::Debug for Val<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Val").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// The text of a string between its quotation marks.
pub(super) fn decoded(text: &str, escaped: bool) -> Cow<'_, str> {
    if !escaped {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let bytes = rest.as_bytes();
        let mut taken = 2;
        out.push(match bytes.get(at + 1) {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = |from: usize| {
                    rest.get(from + 2..from + 6)
                        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                        .unwrap_or(0)
                };
                let mut code = unit(at);
                taken = 6;
                if (0xd800..0xdc00).contains(&code) {
                    code = 0x10000 + ((code & 0x3ff) << 10) + (unit(at + 6) & 0x3ff);
                    taken = 12;
                }
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some(other) => char::from(*other),
            None => '\\',
        });
        rest = rest.get(at + taken..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

impl<'d, 'a> Val<'d, 'a> {
    pub(super) fn new(doc: &'d Doc<'a>, at: u32) -> Val<'d, 'a> {
        Val { doc, at }
    }

    fn node(&self) -> &'d super::Node {
        &self.doc.nodes[self.at as usize]
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.node().kind
    }

    /// Its name in the object around it; empty for an element.
    pub fn name(&self) -> Cow<'a, str> {
        let node = self.node();
        decoded(&self.doc.text[node.key.0 as usize..node.key.1 as usize], node.escaped.0)
    }

    /// The member `name`, or nothing if this is no object or has none; the last one where it has two.
    pub fn get(&self, name: &str) -> Option<Val<'d, 'a>> {
        let mut found = None;
        for member in self.members() {
            let node = member.node();
            let key = &self.doc.text[node.key.0 as usize..node.key.1 as usize];
            if key == name || (node.escaped.0 && decoded(key, true) == name) {
                found = Some(member);
                if !self.doc.ambiguous() {
                    break;
                }
            }
        }
        found
    }

    /// The member under several names, as `a/b/c`. Names hold no `/`.
    pub fn at(&self, path: &str) -> Option<Val<'d, 'a>> {
        // Most paths are one name.
        if !path.as_bytes().contains(&b'/') {
            return self.get(path);
        }
        path.split('/').try_fold(*self, |value, name| value.get(name))
    }

    /// The first of `names` that there is.
    pub fn any(&self, names: &[&str]) -> Option<Val<'d, 'a>> {
        names.iter().find_map(|name| self.get(name))
    }

    /// The member `name` whatever the case of its ASCII letters, the exact one before others: for producers whose
    /// records were carried through a store that folds names.
    pub fn fold(&self, name: &str) -> Option<Val<'d, 'a>> {
        self.get(name).or_else(|| self.members().find(|member| member.name().eq_ignore_ascii_case(name)))
    }

    /// Whether this is an object with a member `name`.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Members of an object, in order; nothing for anything else.
    pub fn members(&self) -> impl Iterator<Item = Val<'d, 'a>> + use<'d, 'a> {
        self.inside(Kind::Object)
    }

    /// Elements of an array, in order; nothing for anything else.
    pub fn elements(&self) -> impl Iterator<Item = Val<'d, 'a>> + use<'d, 'a> {
        self.inside(Kind::Array)
    }

    fn inside(&self, kind: Kind) -> impl Iterator<Item = Val<'d, 'a>> + use<'d, 'a> {
        let (doc, node) = (self.doc, self.node());
        let end = if node.kind == kind { node.next } else { self.at + 1 };
        let mut at = self.at + 1;
        std::iter::from_fn(move || {
            let value = (at < end).then(|| Val::new(doc, at))?;
            at = value.node().next;
            Some(value)
        })
    }

    /// Its token as the source spelled it, marks and brackets included. Takes it, and all that is in it.
    pub fn token(&self) -> &'a str {
        let node = self.node();
        for inner in &self.doc.nodes[self.at as usize..node.next as usize] {
            inner.used.set(true);
        }
        self.spelled()
    }

    /// As [`Val::token`], without taking it.
    pub fn spelled(&self) -> &'a str {
        let span = self.node().span;
        &self.doc.text[span.0 as usize..span.1 as usize]
    }

    /// Its text, if it is a string. Takes it.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        let text = self.peek();
        if text.is_some() {
            self.node().used.set(true);
        }
        text
    }

    /// Its text, if it is a string, without taking it.
    pub fn peek(&self) -> Option<Cow<'a, str>> {
        let node = self.node();
        let inner = || &self.doc.text[node.span.0 as usize + 1..node.span.1 as usize - 1];
        (node.kind == Kind::Text).then(|| decoded(inner(), node.escaped.1))
    }

    /// Its text, if it is a string that is not empty. Takes it, empty or not.
    pub fn filled(&self) -> Option<Cow<'a, str>> {
        self.text().filter(|text| !text.is_empty())
    }

    /// A string's text or a number's spelling. Takes it.
    pub fn word(&self) -> Option<Cow<'a, str>> {
        match self.kind() {
            Kind::Text => self.text(),
            Kind::Number => Some(Cow::Borrowed(self.token())),
            _ => None,
        }
    }

    /// A whole number, also one spelled in a string. Takes it if it is one.
    pub fn int(&self) -> Option<i64> {
        self.number()
    }

    /// A whole number that is not negative, also one spelled in a string. Takes it if it is one.
    pub fn uint(&self) -> Option<u64> {
        self.number()
    }

    fn number<T: std::str::FromStr>(&self) -> Option<T> {
        let number = match self.kind() {
            Kind::Number => self.spelled().parse().ok(),
            Kind::Text => self.peek()?.parse().ok(),
            _ => None,
        };
        if number.is_some() {
            self.node().used.set(true);
        }
        number
    }

    /// `true` or `false`, also spelled in a string. Takes it if it is one.
    pub fn bool(&self) -> Option<bool> {
        let found = match (self.kind(), self.spelled()) {
            (Kind::Bool, word) => Some(word == "true"),
            (Kind::Text, "\"true\"") => Some(true),
            (Kind::Text, "\"false\"") => Some(false),
            _ => None,
        };
        if found.is_some() {
            self.node().used.set(true);
        }
        found
    }

    /// Marks it, and all that is in it, as taken.
    pub fn take(&self) {
        self.token();
    }

    /// See [`Doc::unread`]. Recursion ends at [`super::DEPTH_MAX`].
    pub(super) fn unread(&self, pointer: &mut String, take: &mut dyn FnMut(&str, &'a str)) {
        let node = self.node();
        let inside = &self.doc.nodes[self.at as usize + 1..node.next as usize];
        if node.used.get() && inside.is_empty() {
            return;
        }
        // The text as a whole has no name of its own to be kept under; its members have.
        let whole = !pointer.is_empty() || inside.is_empty();
        if whole && !node.used.get() && !inside.iter().any(|inner| inner.used.get()) {
            return take(pointer, self.spelled());
        }
        let length = pointer.len();
        let array = node.kind == Kind::Array;
        for (number, item) in self.inside(node.kind).enumerate() {
            let inner = item.node();
            if inner.used.get() && inner.next == item.at + 1 {
                continue;
            }
            pointer.push('/');
            if array {
                // Writing to a String cannot fail.
                let _ = write!(pointer, "{number}");
            } else if pointer.len() <= POINTER_MAX {
                // Of a longer one nothing is kept but its length.
                pointer_part(clip(&item.name(), POINTER_MAX), pointer);
            }
            item.unread(pointer, take);
            pointer.truncate(length);
        }
    }
}

/// A name as part of a pointer: `~` is `~0`, `/` is `~1` (RFC 6901 section 3).
pub(crate) fn pointer_part(name: &str, out: &mut String) {
    if !name.bytes().any(|b| matches!(b, b'~' | b'/')) {
        return out.push_str(name);
    }
    for c in name.chars() {
        match c {
            '~' => out.push_str("~0"),
            '/' => out.push_str("~1"),
            c => out.push(c),
        }
    }
}

/// The first `max` bytes of `text` or a little less, at a character's border.
fn clip(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}
