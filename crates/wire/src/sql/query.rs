//! What a query (`SELECT`, `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `VALUES`, `TABLE`, with or without `WITH`)
//! does, and to which tables.
//!
//! One pass over the tokens with a stack of open parentheses, no recursion, no backtracking: the time is
//! linear and the depth bounded. It is a reader of well-formed text, not a validator; the server is that.
//! Where the text leaves a doubt the answer is "unknown". What only the catalog knows (views, rules,
//! triggers, operators and casts of the user) is not in the text, and not judged.

use super::functions::{self, Effect};
use super::lex::{Kind, identifier};
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Paren {
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
enum Verb {
    #[default]
    None,
    Select,
    Insert,
    Update,
    Delete,
    Merge,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum From {
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
enum With {
    #[default]
    No,
    Name,
    Body,
    After,
    /// Column list of `SEARCH` or `CYCLE`.
    Search,
}

#[derive(Default)]
struct Frame {
    paren: Paren,
    verb: Verb,
    from: From,
    with: With,
    recursive: bool,
    /// Name whose body is open or comes next.
    pending: Option<String>,
    ctes: usize,
    /// Whether nothing has been read in it.
    fresh: bool,
    /// Whether it opened where a query may begin.
    leads: bool,
    /// Whether it is in or under a `GROUP BY`.
    grouping: bool,
    /// Whether `INSERT` has its source, `DELETE` or `MERGE` its `USING`.
    used: bool,
}

/// Reads the query that begins at token `from` and ends at token `to`.
pub(super) fn scan(view: &View<'_>, from: usize, to: usize) -> Found {
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

struct Scan<'v, 'a> {
    view: &'v View<'a>,
    found: Found,
    stack: Vec<Frame>,
    top: Frame,
    ctes: Vec<String>,
}

/// Tokens that were read, and what a parenthesis that follows is.
struct Step {
    tokens: usize,
    opening: Paren,
}

fn skip(tokens: usize) -> Step {
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
        child.grouping = self.top.grouping;
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
        if self.top.from == From::Item && view.is_open(at + n) && !self.sampling(at) {
            return Step { tokens: n, opening: Paren::Names };
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

    /// Keywords that begin queries or clauses; `None` = the word is none of them here.
    fn keyword(&mut self, at: usize, fresh: bool) -> Option<Step> {
        let main = self.top.with == With::After;
        let word = self.view.word(at).as_bytes();
        let [first, ..] = word else { return None };
        if word.len() > 9 {
            return None;
        }
        if (fresh && self.top.leads || main)
            && let Some(step) = self.write_verb(at)
        {
            return Some(step);
        }
        match first.to_ascii_lowercase() {
            b's' | b'v' | b't' | b'w' | b'i' => self.query_word(at, fresh || main),
            b'f' | b'j' | b'o' | b'u' | b'd' | b'l' | b'r' | b'c' => self.from_word(at),
            _ => None,
        }
        .or_else(|| self.clause_word(at))
    }

    /// `INSERT INTO t`, `UPDATE t`, `DELETE FROM t`, `MERGE INTO t` where a statement may begin.
    fn write_verb(&mut self, at: usize) -> Option<Step> {
        let view = self.view;
        let (verb, class, operation, skipped) = if view.are(at, &["INSERT", "INTO"]) {
            (Verb::Insert, OpClass::Create, "INSERT", 2)
        } else if view.are(at, &["DELETE", "FROM"]) {
            (Verb::Delete, OpClass::Delete, "DELETE", 2)
        } else if view.are(at, &["MERGE", "INTO"]) {
            (Verb::Merge, OpClass::Create, "MERGE", 2)
        } else if view.is(at, "UPDATE") && view.is_name(at + 1) && !view.any(at + 1, &["AS", "SET"]) {
            (Verb::Update, OpClass::Modify, "UPDATE", 1)
        } else {
            return None;
        };
        self.top.with = With::No;
        self.top.verb = verb;
        self.found.queries += 1;
        self.found.writes(class, operation);
        Some(skip(skipped + self.target(at + skipped)))
    }

    /// Tokens of `[TABLE] [ONLY] [(] name` at `at`, which is written.
    fn target(&mut self, at: usize) -> usize {
        let view = self.view;
        let only = usize::from(view.is(at, "ONLY") && (view.is_name(at + 1) || view.is_open(at + 1)));
        if !view.is_name(at + only) {
            return only;
        }
        let n = view.chain(at + only);
        let (schema, name) = view.qualified(at + only, n);
        self.found.touch(schema, name, true);
        only + n
    }

    fn query_word(&mut self, at: usize, starts: bool) -> Option<Step> {
        let view = self.view;
        if view.is(at, "SELECT") || view.is(at, "VALUES") && view.is_open(at + 1) {
            self.begin_query();
        } else if view.is(at, "TABLE") && view.is_name(at + 1) {
            self.begin_query();
            self.top.from = From::Expect;
        } else if view.is(at, "WITH") && (starts || self.top.verb == Verb::Insert && !self.top.used) {
            self.top.with = With::Name;
        } else if view.is(at, "WITH") && view.is(at + 1, "ORDINALITY") {
            return Some(skip(2));
        } else if view.is(at, "INTO") && self.top.verb == Verb::Select {
            return Some(self.select_into(at));
        } else if view.is(at, "SEARCH") && self.top.with == With::After {
            self.top.with = With::Search;
        } else if view.is(at, "SET") && !matches!(self.top.verb, Verb::None | Verb::Select) {
            self.top.from = From::Out;
        } else {
            return None;
        }
        Some(skip(1))
    }

    fn begin_query(&mut self) {
        self.top.from = From::Out;
        self.top.with = With::No;
        self.top.grouping = false;
        self.top.used = true;
        self.found.queries += 1;
        if self.top.verb == Verb::None {
            self.top.verb = Verb::Select;
        }
    }

    fn select_into(&mut self, at: usize) -> Step {
        let mut next = at + 1;
        while self.view.any(next, &["TEMPORARY", "TEMP", "UNLOGGED", "LOCAL", "GLOBAL", "TABLE"])
            && self.view.is_name(next + 1)
        {
            next += 1;
        }
        self.found.writes(OpClass::Schema, "SELECT INTO");
        let n = self.target(next);
        skip(next + n - at)
    }

    fn from_word(&mut self, at: usize) -> Option<Step> {
        let (view, before) = (self.view, at.wrapping_sub(1));
        let verb = self.top.verb;
        if view.is(at, "FROM") {
            if verb != Verb::None && !view.is(before, "DISTINCT") {
                self.top.from = From::Expect;
            }
        } else if view.is(at, "FOR") {
            return Some(self.locking(at));
        } else if view.is(at, "JOIN") && self.top.from != From::Out {
            self.top.from = From::Expect;
        } else if view.is(at, "ON") {
            self.top.from = match self.top.from {
                From::Item | From::Condition if !view.is(at + 1, "CONFLICT") => From::Condition,
                _ => From::Out,
            };
            let distinct = view.is(before, "DISTINCT");
            let conflict = usize::from(view.is(at + 1, "CONFLICT") && view.is_open(at + 2));
            return Some(Step {
                tokens: 1 + conflict,
                opening: if distinct { Paren::DistinctOn } else { Paren::Plain },
            });
        } else if view.is(at, "USING") {
            return self.using();
        } else if self.top.from == From::Expect && view.any(at, &["LATERAL", "ONLY"]) {
            return Some(skip(1));
        } else if self.top.from == From::Expect && view.are(at, &["ROWS", "FROM"]) {
            return Some(skip(2));
        } else if verb == Verb::Insert && view.are(at, &["DO", "UPDATE"]) {
            self.found.writes(OpClass::Modify, "INSERT");
            return Some(skip(2));
        } else if view.is(at, "CYCLE") && self.top.with == With::After {
            self.top.with = With::Search;
        } else {
            return None;
        }
        Some(skip(1))
    }

    /// `DELETE … USING` and `MERGE … USING` name tables, `JOIN … USING` columns.
    fn using(&mut self) -> Option<Step> {
        if matches!(self.top.verb, Verb::Delete | Verb::Merge) && !self.top.used {
            self.top.used = true;
            self.top.from = From::Expect;
            return Some(skip(1));
        }
        (self.top.from == From::Item).then_some(Step { tokens: 1, opening: Paren::Names })
    }

    /// `FOR UPDATE` and its kin take row locks; `FOR` also stands in `substring(x FOR 3)`.
    fn locking(&mut self, at: usize) -> Step {
        let view = self.view;
        let found = [
            (&["UPDATE"][..], "SELECT FOR UPDATE"),
            (&["SHARE"], "SELECT FOR SHARE"),
            (&["NO", "KEY", "UPDATE"], "SELECT FOR NO KEY UPDATE"),
            (&["KEY", "SHARE"], "SELECT FOR KEY SHARE"),
        ]
        .into_iter()
        .find(|(words, _)| view.are(at + 1, words));
        match found {
            Some((words, operation)) if self.top.paren != Paren::Call => {
                self.found.lock.get_or_insert(operation);
                self.top.from = From::Out;
                skip(1 + words.len())
            }
            _ => skip(1),
        }
    }

    fn clause_word(&mut self, at: usize) -> Option<Step> {
        let (view, before) = (self.view, at.wrapping_sub(1));
        if self.top.verb == Verb::Merge && view.is(before, "THEN") {
            let class =
                [("UPDATE", OpClass::Modify), ("DELETE", OpClass::Delete), ("INSERT", OpClass::Create)]
                    .into_iter()
                    .find(|(word, _)| view.is(at, word));
            if let Some((_, class)) = class {
                self.found.writes(class, "MERGE");
                return Some(Step { tokens: 1, opening: Paren::Names });
            }
        }
        if view.is(at, "WHEN") && self.top.verb == Verb::Merge {
            self.top.from = From::Out;
            return Some(skip(1));
        }
        if !view.any(
            at,
            &[
                "WHERE",
                "GROUP",
                "HAVING",
                "WINDOW",
                "ORDER",
                "LIMIT",
                "OFFSET",
                "FETCH",
                "UNION",
                "INTERSECT",
                "EXCEPT",
                "RETURNING",
            ],
        ) || view.is(before, "WITHIN")
        {
            return None;
        }
        self.top.from = From::Out;
        self.top.grouping = view.is(at, "GROUP");
        Some(skip(1))
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

    /// `TABLESAMPLE method (…)`, `REPEATABLE (…)`: no alias.
    fn sampling(&mut self, at: usize) -> bool {
        let (view, before) = (self.view, at.wrapping_sub(1));
        if view.is(before, "TABLESAMPLE") {
            self.found.unknown |= !view.any(at, &["BERNOULLI", "SYSTEM"]);
        }
        view.is(at, "REPEATABLE")
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
            Some(name) if constant && !name.contains('\\') => match name.to_ascii_lowercase().as_str() {
                "role" | "session_authorization" => Effect::Does(OpClass::Admin),
                _ => Effect::Does(OpClass::Meta),
            },
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
            || self.top.grouping && view.any(at, &["ROLLUP", "CUBE"])
            || view.any(at, &["FIRST", "NEXT"]) && after(&["FETCH"])
            || view.is(at, "ZONE") && after(&["TIME"])
            || view.is(at, "VARYING") && after(&["CHARACTER", "CHAR", "NCHAR", "BIT"])
            || view.is(at, "SECOND") && (after(&["TO"]) || view.kind(before) == Some(Kind::Str))
            || view.is(at, "SET") && matches!(self.top.verb, Verb::Insert | Verb::Update | Verb::Merge)
            || view.is(at, "REPEATABLE") && self.top.from != From::Out
    }
}
