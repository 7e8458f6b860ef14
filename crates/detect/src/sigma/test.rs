//! The tests that rules make of one field, and the index that answers all of them for a value at once.
//!
//! Texts are compared without case unless a rule says `cased`: both sides in Unicode lower case. One automaton
//! finds every text that any rule looks for; regular expressions are linear in the text and have bounds.
//! Invariant: the answer for a value depends on nothing but the value.

use super::ast::Op;
use super::pattern::Pattern;
use super::value::{Block, Cell, TimePart, time, truth};
use aho_corasick::AhoCorasick;
use regex::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

/// Longest regular expression, in bytes.
pub const REGEX_MAX_BYTES: usize = 10 << 10;
/// Largest compiled regular expression, in bytes.
pub const REGEX_COMPILED_MAX_BYTES: usize = 1 << 20;
/// Largest cache of one regular expression's lazy automaton, in bytes.
pub const REGEX_CACHE_MAX_BYTES: usize = 2 << 20;

/// Where in a text another stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum How {
    Equal,
    Contains,
    Begins,
    Ends,
}

/// One test of one field. Numbers are kept by their bits, so that equal tests are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Test {
    /// The event has the field, if only with null.
    Exists,
    /// The event does not have the field, or null.
    Null,
    /// A text without wildcards; in lower case unless cased.
    Text {
        how: How,
        text: String,
        cased: bool,
    },
    /// The whole text is like a pattern; in lower case unless cased.
    Like {
        pattern: Pattern,
        cased: bool,
    },
    /// A regular expression with its flags.
    Regex(String),
    Number(Op, u64),
    Truth(bool),
    Cidr(Block),
    Part(TimePart, u64),
}

/// Compiles a rule's regular expression within the bounds.
pub(crate) fn regex(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > REGEX_MAX_BYTES {
        return Err(format!("regular expression longer than {REGEX_MAX_BYTES} bytes"));
    }
    let built = RegexBuilder::new(pattern)
        .size_limit(REGEX_COMPILED_MAX_BYTES)
        .dfa_size_limit(REGEX_CACHE_MAX_BYTES)
        .build();
    built.map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim();
        format!("regular expression `{pattern}`: {}", last.strip_prefix("error: ").unwrap_or(last))
    })
}

/// All tests of one field.
#[derive(Default)]
pub(crate) struct Index {
    exists: Vec<u32>,
    null: Vec<u32>,
    /// Hold for every text.
    always: Vec<u32>,
    cased: Texts,
    folded: Texts,
    regexes: Vec<(Regex, u32)>,
    numbers: Vec<(Op, f64, u32)>,
    truths: Vec<(bool, u32)>,
    blocks: Vec<(Block, u32)>,
    parts: Vec<(TimePart, f64, u32)>,
}

/// The tests of a text in one of its cases.
#[derive(Default)]
struct Texts {
    equal: HashMap<String, Vec<u32>>,
    /// What the automaton looks for, and what a find means; by the automaton's pattern.
    automaton: Option<AhoCorasick>,
    uses: Vec<Vec<Use>>,
    likes: Vec<(Regex, u32)>,
    /// Patterns without any plain piece: looked at for every text.
    bare: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Use {
    Contains(u32),
    Begins(u32),
    Ends(u32),
    /// A piece of this pattern.
    Like(usize),
}

impl Index {
    /// An index of tests, each with the number it is known by.
    ///
    /// # Errors
    /// A pattern whose automaton would be too large.
    pub(crate) fn new(tests: &[(Test, u32)]) -> Result<Index, String> {
        let mut index = Index::default();
        let mut pieces = [HashMap::new(), HashMap::new()];
        for (test, id) in tests {
            match test {
                Test::Exists => index.exists.push(*id),
                Test::Null => index.null.push(*id),
                Test::Text { text, how, .. } if text.is_empty() && *how != How::Equal => {
                    index.always.push(*id)
                }
                Test::Text { how: How::Equal, text, cased } => {
                    index.texts(*cased).equal.entry(text.clone()).or_default().push(*id);
                }
                Test::Text { how, text, cased } => {
                    let what = match how {
                        How::Begins => Use::Begins(*id),
                        How::Ends => Use::Ends(*id),
                        How::Equal | How::Contains => Use::Contains(*id),
                    };
                    index.texts(*cased).look_for(&mut pieces[usize::from(*cased)], text, what);
                }
                Test::Like { pattern, cased } => {
                    let pieces = &mut pieces[usize::from(*cased)];
                    index.texts(*cased).add_like(pieces, pattern, *id)?;
                }
                Test::Regex(pattern) => index.regexes.push((regex(pattern)?, *id)),
                Test::Number(op, bits) => index.numbers.push((*op, f64::from_bits(*bits), *id)),
                Test::Truth(b) => index.truths.push((*b, *id)),
                Test::Cidr(block) => index.blocks.push((*block, *id)),
                Test::Part(part, bits) => index.parts.push((*part, f64::from_bits(*bits), *id)),
            }
        }
        let [folded, cased] = pieces;
        index.folded.finish(folded)?;
        index.cased.finish(cased)?;
        Ok(index)
    }

    fn texts(&mut self, cased: bool) -> &mut Texts {
        if cased { &mut self.cased } else { &mut self.folded }
    }

    /// Tests that hold for a field that is not there.
    pub(crate) fn of_missing(&self) -> &[u32] {
        &self.null
    }

    /// Tests that hold for null besides those of a missing field.
    pub(crate) fn of_any(&self) -> &[u32] {
        &self.exists
    }

    /// The tests that hold for a single value, ascending, in `out`.
    pub(crate) fn answer(&self, cell: &Cell<'_>, out: &mut Vec<u32>) {
        out.clear();
        if let Some(text) = cell.as_text() {
            self.text(&text, out);
        }
        if let Some(n) = cell.as_number().filter(|_| !self.numbers.is_empty()) {
            out.extend(self.numbers.iter().filter(|(op, bound, _)| op.holds(n, *bound)).map(|(.., id)| *id));
        }
        if !self.truths.is_empty() {
            let found = match cell {
                Cell::Bool(b) => Some(*b),
                Cell::Text(text) => truth(text),
                _ => None,
            };
            out.extend(self.truths.iter().filter(|(b, _)| Some(*b) == found).map(|(_, id)| *id));
        }
        if let Some(ns) = time(cell).filter(|_| !self.parts.is_empty()) {
            for (part, wanted, id) in &self.parts {
                if part.of(ns).is_some_and(|n| Op::Eq.holds(n as f64, *wanted)) {
                    out.push(*id);
                }
            }
        }
        out.sort_unstable();
        out.dedup();
    }

    fn text(&self, text: &str, out: &mut Vec<u32>) {
        out.extend(&self.always);
        self.cased.answer(text, out);
        if !self.folded.is_empty() {
            self.folded.answer(&fold(text), out);
        }
        out.extend(self.regexes.iter().filter(|(regex, _)| regex.is_match(text)).map(|(_, id)| *id));
        if let Some(address) = text.parse::<IpAddr>().ok().filter(|_| !self.blocks.is_empty()) {
            out.extend(self.blocks.iter().filter(|(block, _)| block.holds(address)).map(|(_, id)| *id));
        }
    }
}

impl Texts {
    fn is_empty(&self) -> bool {
        self.equal.is_empty() && self.automaton.is_none() && self.bare.is_empty()
    }

    fn look_for(&mut self, pieces: &mut HashMap<String, usize>, text: &str, what: Use) {
        let at = *pieces.entry(text.to_owned()).or_insert(self.uses.len());
        match self.uses.get_mut(at) {
            Some(uses) => uses.push(what),
            None => self.uses.push(vec![what]),
        }
    }

    fn add_like(
        &mut self,
        pieces: &mut HashMap<String, usize>,
        pattern: &Pattern,
        id: u32,
    ) -> Result<(), String> {
        let at = self.likes.len();
        let expression = pattern.regex();
        let built = RegexBuilder::new(&expression).size_limit(REGEX_COMPILED_MAX_BYTES).build();
        self.likes.push((built.map_err(|_| "pattern with too many wildcards".to_owned())?, id));
        match pattern.longest() {
            "" => self.bare.push(at),
            piece => self.look_for(pieces, piece, Use::Like(at)),
        }
        Ok(())
    }

    fn finish(&mut self, pieces: HashMap<String, usize>) -> Result<(), String> {
        if pieces.is_empty() {
            return Ok(());
        }
        let mut texts: Vec<(usize, String)> = pieces.into_iter().map(|(text, at)| (at, text)).collect();
        texts.sort_unstable();
        let automaton = AhoCorasick::new(texts.iter().map(|(_, text)| text));
        self.automaton = Some(automaton.map_err(|error| format!("the texts looked for: {error}"))?);
        Ok(())
    }

    fn answer(&self, text: &str, out: &mut Vec<u32>) {
        if let Some(ids) = self.equal.get(text) {
            out.extend(ids);
        }
        for at in &self.bare {
            self.like(*at, text, out);
        }
        let Some(automaton) = &self.automaton else { return };
        // Each piece counts once for `contains`, so a text that repeats itself costs no more.
        let mut seen = vec![false; self.uses.len()];
        for found in automaton.find_overlapping_iter(text) {
            let at = found.pattern().as_usize();
            let (Some(uses), Some(seen)) = (self.uses.get(at), seen.get_mut(at)) else { continue };
            let first = !std::mem::replace(seen, true);
            for what in uses {
                match *what {
                    Use::Contains(id) if first => out.push(id),
                    Use::Like(at) if first => self.like(at, text, out),
                    Use::Begins(id) if found.start() == 0 => out.push(id),
                    Use::Ends(id) if found.end() == text.len() => out.push(id),
                    _ => {}
                }
            }
        }
    }

    fn like(&self, at: usize, text: &str, out: &mut Vec<u32>) {
        if let Some((regex, id)) = self.likes.get(at)
            && regex.is_match(text)
        {
            out.push(*id);
        }
    }
}

/// A text in Unicode lower case; without a copy if it is already.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if !text.is_ascii() {
        return Cow::Owned(text.to_lowercase());
    }
    match text.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(text.to_ascii_lowercase()),
        false => Cow::Borrowed(text),
    }
}

fn fold_owned(text: Cow<'_, str>) -> Cow<'_, str> {
    match fold(&text) {
        Cow::Owned(folded) => Cow::Owned(folded),
        Cow::Borrowed(_) => text,
    }
}

/// Whether a test of two fields holds between single values.
pub(crate) fn compare(how: How, cased: bool, left: &Cell<'_>, right: &Cell<'_>) -> bool {
    let (Some(a), Some(b)) = (left.as_text(), right.as_text()) else { return false };
    let (a, b) = if cased { (a, b) } else { (fold_owned(a), fold_owned(b)) };
    match how {
        How::Equal => a == b,
        How::Contains => a.contains(&*b),
        How::Begins => a.starts_with(&*b),
        How::Ends => a.ends_with(&*b),
    }
}
