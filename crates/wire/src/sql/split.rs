//! Statements of a simple-query string, where the server's grammar ends them.
//!
//! A semicolon ends a statement unless it stands in parentheses (`CREATE RULE … DO (…; …)`) or in the body
//! of a routine (`BEGIN ATOMIC … END`). Not a parser: a text that the server refuses as a whole is cut at the
//! same semicolons. Invariants: ranges are ordered, disjoint, within the text, and none is empty.

use super::lex::{Kind, Lexer};
use std::ops::Range;

#[derive(Default)]
struct State {
    parens: usize,
    /// Open `BEGIN ATOMIC` and, inside it, open `CASE`.
    blocks: usize,
    /// Whether the statement began with `CREATE`; no other has a body.
    create: bool,
    /// Whether the last words were `BEGIN`, or `AS` or a dot, after which a keyword is a name.
    begin: bool,
    label: bool,
    first: Option<usize>,
    any: bool,
}

impl State {
    fn word(&mut self, word: &str, first: bool) {
        let is = |keyword| word.eq_ignore_ascii_case(keyword);
        if first {
            self.create = is("create");
        }
        let (begin, label) = (self.begin, self.label);
        self.begin = !label && is("begin");
        self.label = is("as");
        if !self.create || label {
            return;
        }
        if begin && is("atomic") || self.blocks > 0 && is("case") {
            self.blocks += 1;
        } else if is("end") {
            self.blocks = self.blocks.saturating_sub(1);
        }
    }
}

pub(super) fn split(text: &str, conforming: bool) -> Vec<Range<usize>> {
    let (mut out, mut state, mut last) = (Vec::new(), State::default(), 0);
    for token in Lexer::new(text, conforming) {
        match token.kind {
            Kind::Space => continue,
            Kind::Semicolon if state.parens == 0 && state.blocks == 0 => {
                finish(&mut out, &state, last);
                state = State::default();
                continue;
            }
            _ => {}
        }
        state.first.get_or_insert(token.start);
        last = token.end;
        if token.kind == Kind::Comment {
            continue;
        }
        let first = !std::mem::replace(&mut state.any, true);
        match token.kind {
            Kind::Word => {
                state.word(token.of(text), first);
                continue;
            }
            Kind::Open => state.parens += 1,
            Kind::Close => state.parens = state.parens.saturating_sub(1),
            _ => {}
        }
        (state.begin, state.label) = (false, token.kind == Kind::Dot);
    }
    finish(&mut out, &state, last);
    out
}

fn finish(out: &mut Vec<Range<usize>>, state: &State, last: usize) {
    if let (Some(first), true) = (state.first, state.any) {
        out.push(first..last);
    }
}
