//! The pass over a query's tokens: parentheses, names, calls.

use super::super::functions::{self, Effect};
use super::super::lex::{Kind, identifier};
use super::super::view::View;
use super::{CTES_MAX, DEPTH_MAX, Found};
use crate::stream::OpClass;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Paren {
    #[default]
    Plain,
    Bracket,
    /// Arguments of a function.
    Call,
    /// Names, types and numbers only: column lists, type modifiers.
    Names,
    /// `DISTINCT ON (…)`: an expression may follow its end.
    DistinctOn,
    /// Body of a `WITH` query.
    Cte,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verb {
    #[default]
    None,
    Select,
    Insert,
    Update,
    Delete,
    Merge,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum From {
    /// Not in a `FROM` list.
    #[default]
    Out,
    /// A table comes next.
    Expect,
    /// Behind a table: its alias.
    Item,
    /// Behind `ON`.
    Condition,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum With {
    #[default]
    No,
    Name,
    Body,
    After,
    /// Column list of `SEARCH` or `CYCLE`.
    Search,
}

#[derive(Default)]
pub(super) struct Frame {
    pub(super) paren: Paren,
    pub(super) verb: Verb,
    pub(super) from: From,
    pub(super) with: With,
    pub(super) recursive: bool,
    /// Name whose body is open or comes next.
    pub(super) pending: Option<String>,
    pub(super) ctes: usize,
    /// Whether nothing has been read in it.
    pub(super) fresh: bool,
    /// Whether it opened where a query may begin.
    pub(super) leads: bool,
    /// Whether it lists what to group by.
    pub(super) grouping: bool,
    /// Whether `INSERT` has its source, `DELETE` or `MERGE` its `USING`.
    pub(super) used: bool,
}

/// Reads the query that begins at token `from` and ends at token `to`.
pub(in super::super) fn scan(view: &View<'_>, from: usize, to: usize) -> Found {
    let first = Frame { fresh: true, leads: true, ..Frame::default() };
    let mut scan = Scan { view, found: Found::default(), stack: Vec::new(), top: first, ctes: Vec::new() };
    scan.found.broken = !view.whole;
    let (mut at, mut opening, mut closed) = (from, Paren::Plain, Paren::Plain);
    while at < to && !(scan.found.broken && view.whole) {
        let kind = view.kind(at);
        at += 1;
        match kind {
            Some(Kind::Open) => scan.open(opening, at - 1),
            Some(Kind::OpenSquare) => scan.open(Paren::Bracket, at - 1),
            Some(Kind::Close | Kind::CloseSquare) => closed = scan.close(kind == Some(Kind::CloseSquare)),
            Some(Kind::Word | Kind::Quoted) => {
                let fresh = std::mem::replace(&mut scan.top.fresh, false);
                let step = scan.name(at - 1, fresh, closed);
                at = at - 1 + step.tokens.max(1);
                opening = step.opening;
                continue;
            }
            Some(Kind::Comma) => scan.comma(),
            Some(Kind::Semicolon | Kind::Bad) | None => scan.found.broken = true,
            Some(_) => scan.top.fresh = false,
        }
        opening = Paren::Plain;
    }
    scan.found.broken |= !scan.stack.is_empty() && view.whole;
    scan.found
}

pub(super) struct Scan<'v, 'a> {
    pub(super) view: &'v View<'a>,
    pub(super) found: Found,
    pub(super) stack: Vec<Frame>,
    pub(super) top: Frame,
    pub(super) ctes: Vec<String>,
}

/// Tokens that were read, and what a parenthesis that follows is.
pub(super) struct Step {
    pub(super) tokens: usize,
    pub(super) opening: Paren,
}

pub(super) fn skip(tokens: usize) -> Step {
    Step { tokens, opening: Paren::Plain }
}

impl Scan<'_, '_> {
    fn open(&mut self, paren: Paren, at: usize) {
        if self.stack.len() >= DEPTH_MAX {
            self.found.broken = true;
            return;
        }
        let before = at.wrapping_sub(1);
        let mut child = Frame { paren, fresh: true, ctes: self.ctes.len(), ..Frame::default() };
        if self.top.paren == Paren::Names {
            child.paren = Paren::Names;
        } else if paren == Paren::Plain {
            match self.top.with {
                With::Body => child.paren = Paren::Cte,
                With::After => {
                    self.top.with = With::No;
                    child.leads = true;
                }
                _ => child.leads = self.top.fresh && self.top.leads,
            }
            if self.top.from == From::Expect {
                child.from = From::Expect;
                child.leads = true;
            } else if self.top.from == From::Item && self.view.is(before, "AS") {
                child.paren = Paren::Names;
            }
        }
        child.leads |= child.paren == Paren::Cte;
        child.grouping = self.top.grouping && self.view.is(before, "SETS");
        if self.top.from == From::Expect {
            self.top.from = From::Item;
        }
        self.top.fresh = false;
        self.stack.push(std::mem::replace(&mut self.top, child));
    }

    fn close(&mut self, bracket: bool) -> Paren {
        let Some(parent) = self.stack.pop() else {
            self.found.broken = true;
            return Paren::Plain;
        };
        let child = std::mem::replace(&mut self.top, parent);
        self.found.broken |= bracket != (child.paren == Paren::Bracket) && child.paren != Paren::Names;
        self.ctes.truncate(child.ctes);
        if child.paren == Paren::Cte {
            self.top.with = With::After;
            if let Some(name) = self.top.pending.take().filter(|_| !self.top.recursive) {
                self.remember(name);
            }
        } else if child.leads && child.verb == Verb::Select && self.top.verb == Verb::None {
            self.top.verb = Verb::Select;
        }
        child.paren
    }

    fn remember(&mut self, name: String) {
        if self.ctes.len() < CTES_MAX {
            self.ctes.push(name);
        }
    }

    fn comma(&mut self) {
        self.top.fresh = false;
        if self.top.with == With::After {
            self.top.with = With::Name;
        } else if matches!(self.top.from, From::Item | From::Condition) {
            self.top.from = From::Expect;
        }
    }

    /// A word or quoted name at `at`.
    fn name(&mut self, at: usize, fresh: bool, closed: Paren) -> Step {
        let (view, before) = (self.view, at.wrapping_sub(1));
        if self.top.paren == Paren::Names {
            return skip(1);
        }
        match self.top.with {
            With::Name => return self.cte_name(at),
            With::Body => return skip(1),
            With::Search => {
                if view.is(at, "SET") {
                    self.top.with = With::After;
                }
                return skip(1);
            }
            With::After | With::No => {}
        }
        if at > 0 && view.is(before, "AS") && !fresh {
            // A label, an alias, the type of a cast.
            let tokens = view.chain(at);
            return Step { tokens, opening: Paren::Names };
        }
        if at > 0 && view.kind(before) == Some(Kind::Dot) {
            // A field of an expression in parentheses; nothing that is called looks like this.
            self.found.unknown |= view.is_open(at + 1);
            return skip(1);
        }
        if view.kind(at) == Some(Kind::Word)
            && let Some(step) = self.keyword(at, fresh)
        {
            return step;
        }
        if self.top.from == From::Expect {
            return self.item(at);
        }
        let n = view.chain(at);
        if self.top.from == From::Item && view.is_open(at + n) {
            if view.is(before, "TABLESAMPLE") {
                self.found.unknown |= !view.any(at, &["BERNOULLI", "SYSTEM"]);
                return Step { tokens: n, opening: Paren::Call };
            }
            if !view.is(at, "REPEATABLE") {
                return Step { tokens: n, opening: Paren::Names };
            }
        }
        self.expression(at, closed)
    }

    fn cte_name(&mut self, at: usize) -> Step {
        let view = self.view;
        let recursive = view.is(at, "RECURSIVE") && view.is(at.wrapping_sub(1), "WITH");
        if recursive && view.is_name(at + 1) && !view.is(at + 1, "AS") {
            self.top.recursive = true;
            return skip(1);
        }
        let name = identifier(view.text_of(at));
        if self.top.recursive {
            self.remember(name.clone());
        }
        self.top.pending = Some(name);
        self.top.with = With::Body;
        let list = view.is_open(at + 1);
        Step { tokens: 1, opening: if list { Paren::Names } else { Paren::Plain } }
    }

    /// A table or a function in a `FROM` list.
    fn item(&mut self, at: usize) -> Step {
        let view = self.view;
        let n = view.chain(at);
        self.top.from = From::Item;
        if view.is_open(at + n) {
            return self.call(at, n);
        }
        let (schema, name) = view.qualified(at, n);
        let is_cte = schema.is_empty() && self.ctes.contains(&name);
        if !is_cte {
            self.found.touch(schema, name, false);
        }
        skip(n)
    }

    fn expression(&mut self, at: usize, closed: Paren) -> Step {
        let view = self.view;
        let n = view.chain(at);
        if at > 0 && view.kind(at - 1) == Some(Kind::Cast) {
            // A type; its modifiers are constants.
            return Step { tokens: n, opening: Paren::Names };
        }
        if !view.is_open(at + n) {
            return skip(n);
        }
        if n == 1 && self.syntax(at, closed) {
            // What belongs to an aggregate may be followed by more that does.
            let aggregate = view.any(at, &["OVER", "FILTER", "GROUP"]);
            return Step { tokens: n, opening: if aggregate { Paren::Call } else { Paren::Plain } };
        }
        if view.is(at, "OPERATOR") {
            return self.operator(at);
        }
        self.call(at, n)
    }

    fn call(&mut self, at: usize, n: usize) -> Step {
        let view = self.view;
        if n == 1 && view.kind(at) == Some(Kind::Word) && functions::is_syntax(view.word(at)) {
            return Step { tokens: n, opening: Paren::Call };
        }
        let (schema, name) = view.qualified(at, n);
        let known = n <= 3 && (schema.is_empty() || schema == "pg_catalog");
        let effect = match known {
            true if name == "set_config" => self.set_config(at + n),
            true => functions::effect(&name),
            false => Effect::Unknown,
        };
        self.found.calls(effect);
        Step { tokens: n, opening: Paren::Call }
    }

    /// `set_config` of the role is `SET ROLE`; of a name that is no constant, unknown.
    fn set_config(&self, open: usize) -> Effect {
        let view = self.view;
        let constant = view.kind(open + 1) == Some(Kind::Str) && view.kind(open + 2) == Some(Kind::Comma);
        match view.text_of(open + 1).strip_prefix('\'').and_then(|s| s.strip_suffix('\'')) {
            Some(name) if constant && !name.contains(['\\', '\'']) => {
                match name.to_ascii_lowercase().as_str() {
                    "role" | "session_authorization" => Effect::Does(OpClass::Admin),
                    _ => Effect::Does(OpClass::Meta),
                }
            }
            _ => Effect::Unknown,
        }
    }

    /// `OPERATOR(schema.op)`: only the server's own are known.
    fn operator(&mut self, at: usize) -> Step {
        let view = self.view;
        let own = view.is(at + 2, "pg_catalog") && view.kind(at + 3) == Some(Kind::Dot);
        let op = at + if own { 4 } else { 2 };
        let known = view.kind(op) == Some(Kind::Op) && view.kind(op + 1) == Some(Kind::Close);
        if known {
            return skip(op + 2 - at);
        }
        self.found.unknown = true;
        skip(1)
    }

    /// Whether the word before a parenthesis is syntax. Most keywords of PostgreSQL may also name a function,
    /// so each of those needs the company that makes it a keyword.
    fn syntax(&self, at: usize, closed: Paren) -> bool {
        let (view, before) = (self.view, at.wrapping_sub(1));
        if view.kind(at) != Some(Kind::Word) {
            return false;
        }
        if functions::is_syntax(view.word(at)) {
            return true;
        }
        let after = |words: &[&str]| at > 0 && view.any(before, words);
        if view.any(at, &["OVER", "FILTER"]) {
            return closed == Paren::Call && view.kind(before) == Some(Kind::Close);
        }
        if view.is(at, "ILIKE") {
            let operand = if after(&["NOT"]) { before.wrapping_sub(1) } else { before };
            return match view.kind(operand) {
                Some(Kind::Close) => closed != Paren::DistinctOn,
                Some(Kind::Word) => !functions::is_syntax(view.word(operand)),
                Some(Kind::Quoted | Kind::Str | Kind::Number | Kind::Param | Kind::CloseSquare) => true,
                _ => false,
            };
        }
        view.is(at, "BY") && after(&["ORDER", "GROUP", "PARTITION"])
            || view.is(at, "SETS") && after(&["GROUPING"])
            || self.top.grouping
                && view.any(at, &["ROLLUP", "CUBE"])
                && (after(&["BY", "ALL", "DISTINCT"])
                    || matches!(view.kind(before), Some(Kind::Comma | Kind::Open)))
            || view.any(at, &["FIRST", "NEXT"]) && after(&["FETCH"])
            || view.is(at, "ZONE") && after(&["TIME"])
            || view.is(at, "VARYING") && after(&["CHARACTER", "CHAR", "NCHAR", "BIT"])
            || view.is(at, "SECOND")
                && (view.kind(before) == Some(Kind::Str)
                    || after(&["TO"]) && view.any(before.wrapping_sub(1), &["DAY", "HOUR", "MINUTE"]))
            || view.is(at, "SET") && matches!(self.top.verb, Verb::Insert | Verb::Update | Verb::Merge)
            || view.is(at, "REPEATABLE")
                && self.top.from == From::Item
                && view.kind(before) == Some(Kind::Close)
    }
}
