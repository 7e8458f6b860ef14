//! The keywords of queries: what begins a statement, a clause, a list of tables.

use super::super::functions;
use super::super::lex::Kind;
use super::scan::{From, Paren, Scan, Step, Verb, With, skip};
use crate::stream::OpClass;

impl Scan<'_, '_> {
    /// Keywords that begin queries or clauses; `None` = the word is none of them here.
    pub(super) fn keyword(&mut self, at: usize, fresh: bool) -> Option<Step> {
        let main = self.top.with == With::After;
        let mut lower = [0_u8; 9];
        let word = self.view.word(at).as_bytes();
        let lower = lower.get_mut(..word.len())?;
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        let first = known(lower).then(|| lower.first().copied())??;
        if (fresh && self.top.leads || main)
            && let Some(step) = self.write_verb(at)
        {
            return Some(step);
        }
        match first {
            b's' | b'v' | b't' | b'w' | b'i' => self.query_word(at, fresh || main),
            b'f' | b'j' | b'o' | b'u' | b'd' | b'l' | b'r' | b'c' => self.table_word(at),
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

    fn table_word(&mut self, at: usize) -> Option<Step> {
        let (view, before) = (self.view, at.wrapping_sub(1));
        let verb = self.top.verb;
        if view.is(at, "FROM") {
            if verb != Verb::None && !view.is(before, "DISTINCT") {
                self.top.from = From::Expect;
            }
        } else if view.is(at, "FOR") {
            return Some(self.locking(at));
        } else if view.is(at, "JOIN") && self.joins(at) {
            self.top.from = From::Expect;
        } else if view.is(at, "ON") {
            let conflict = verb == Verb::Insert && view.is(at + 1, "CONFLICT");
            self.top.from = match self.top.from {
                From::Item | From::Condition if !conflict => From::Condition,
                _ => From::Out,
            };
            let distinct = view.is(before, "DISTINCT");
            return Some(Step {
                tokens: 1 + usize::from(conflict && view.is_open(at + 2)),
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

    /// Whether `JOIN` is the keyword: not where a table is expected or an expression goes on, for a function may
    /// have that name.
    fn joins(&self, at: usize) -> bool {
        let view = self.view;
        let called = view.is_open(at + 1)
            && match view.kind(at.wrapping_sub(1)) {
                Some(Kind::Word) => {
                    let word = view.word(at.wrapping_sub(1));
                    functions::is_syntax(word)
                        && !["END", "TRUE", "FALSE", "NULL"].contains(&&*word.to_ascii_uppercase())
                }
                Some(Kind::Op | Kind::Open | Kind::OpenSquare | Kind::Comma) => true,
                _ => false,
            };
        matches!(self.top.from, From::Item | From::Condition) && !called
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
}

/// The words that [`Scan::keyword`] may take for keywords; most words of a query are none.
#[rustfmt::skip]
fn known(lower: &[u8]) -> bool {
    matches!(
        lower,
        b"select" | b"values" | b"table" | b"with" | b"into" | b"search" | b"set" | b"insert" | b"update" | b"delete"
            | b"merge" | b"from" | b"for" | b"join" | b"on" | b"using" | b"lateral" | b"only" | b"rows" | b"do"
            | b"cycle" | b"when" | b"where" | b"group" | b"having" | b"window" | b"order" | b"limit" | b"offset"
            | b"fetch" | b"union" | b"intersect" | b"except" | b"returning"
    )
}
