//! `COPY`, and the statements that make, alter and drop objects.

use super::Effect;
use super::lex::Kind;
use super::statement::{Reader, other, plain};
use super::{Statement, query};
use crate::stream::OpClass;

/// Kinds of objects: words, class, operation under CREATE, ALTER and DROP. Longer ones first.
#[rustfmt::skip]
const OBJECTS: &[(&[&str], OpClass, [&str; 3])] = {
    use OpClass::{Admin, Schema};
    &[
        (&["ACCESS", "METHOD"], Admin, ["CREATE ACCESS METHOD", "ALTER ACCESS METHOD", "DROP ACCESS METHOD"]),
        (&["AGGREGATE"], Schema, ["CREATE AGGREGATE", "ALTER AGGREGATE", "DROP AGGREGATE"]),
        (&["CAST"], Schema, ["CREATE CAST", "ALTER CAST", "DROP CAST"]),
        (&["COLLATION"], Schema, ["CREATE COLLATION", "ALTER COLLATION", "DROP COLLATION"]),
        (&["CONVERSION"], Schema, ["CREATE CONVERSION", "ALTER CONVERSION", "DROP CONVERSION"]),
        (&["DATABASE"], Admin, ["CREATE DATABASE", "ALTER DATABASE", "DROP DATABASE"]),
        (&["DEFAULT", "PRIVILEGES"], Admin, ["CREATE", "ALTER DEFAULT PRIVILEGES", "DROP"]),
        (&["DOMAIN"], Schema, ["CREATE DOMAIN", "ALTER DOMAIN", "DROP DOMAIN"]),
        (&["EVENT", "TRIGGER"], Admin, ["CREATE EVENT TRIGGER", "ALTER EVENT TRIGGER", "DROP EVENT TRIGGER"]),
        (&["EXTENSION"], Admin, ["CREATE EXTENSION", "ALTER EXTENSION", "DROP EXTENSION"]),
        (&["FOREIGN", "DATA", "WRAPPER"], Admin,
            ["CREATE FOREIGN DATA WRAPPER", "ALTER FOREIGN DATA WRAPPER", "DROP FOREIGN DATA WRAPPER"]),
        (&["FOREIGN", "TABLE"], Schema, ["CREATE FOREIGN TABLE", "ALTER FOREIGN TABLE", "DROP FOREIGN TABLE"]),
        (&["FUNCTION"], Schema, ["CREATE FUNCTION", "ALTER FUNCTION", "DROP FUNCTION"]),
        (&["GROUP"], Admin, ["CREATE ROLE", "ALTER ROLE", "DROP ROLE"]),
        (&["INDEX"], Schema, ["CREATE INDEX", "ALTER INDEX", "DROP INDEX"]),
        (&["LANGUAGE"], Admin, ["CREATE LANGUAGE", "ALTER LANGUAGE", "DROP LANGUAGE"]),
        (&["LARGE", "OBJECT"], Admin, ["CREATE", "ALTER LARGE OBJECT", "DROP"]),
        (&["MATERIALIZED", "VIEW"], Schema,
            ["CREATE MATERIALIZED VIEW", "ALTER MATERIALIZED VIEW", "DROP MATERIALIZED VIEW"]),
        (&["OPERATOR", "CLASS"], Schema, ["CREATE OPERATOR CLASS", "ALTER OPERATOR CLASS", "DROP OPERATOR CLASS"]),
        (&["OPERATOR", "FAMILY"], Schema,
            ["CREATE OPERATOR FAMILY", "ALTER OPERATOR FAMILY", "DROP OPERATOR FAMILY"]),
        (&["OPERATOR"], Schema, ["CREATE OPERATOR", "ALTER OPERATOR", "DROP OPERATOR"]),
        (&["OWNED"], Admin, ["CREATE", "ALTER", "DROP OWNED"]),
        (&["POLICY"], Admin, ["CREATE POLICY", "ALTER POLICY", "DROP POLICY"]),
        (&["PROCEDURE"], Schema, ["CREATE PROCEDURE", "ALTER PROCEDURE", "DROP PROCEDURE"]),
        (&["PUBLICATION"], Admin, ["CREATE PUBLICATION", "ALTER PUBLICATION", "DROP PUBLICATION"]),
        (&["ROLE"], Admin, ["CREATE ROLE", "ALTER ROLE", "DROP ROLE"]),
        (&["ROUTINE"], Schema, ["CREATE", "ALTER ROUTINE", "DROP ROUTINE"]),
        (&["RULE"], Schema, ["CREATE RULE", "ALTER RULE", "DROP RULE"]),
        (&["SCHEMA"], Schema, ["CREATE SCHEMA", "ALTER SCHEMA", "DROP SCHEMA"]),
        (&["SEQUENCE"], Schema, ["CREATE SEQUENCE", "ALTER SEQUENCE", "DROP SEQUENCE"]),
        (&["SERVER"], Admin, ["CREATE SERVER", "ALTER SERVER", "DROP SERVER"]),
        (&["STATISTICS"], Schema, ["CREATE STATISTICS", "ALTER STATISTICS", "DROP STATISTICS"]),
        (&["SUBSCRIPTION"], Admin, ["CREATE SUBSCRIPTION", "ALTER SUBSCRIPTION", "DROP SUBSCRIPTION"]),
        (&["SYSTEM"], Admin, ["CREATE", "ALTER SYSTEM", "DROP"]),
        (&["TABLE"], Schema, ["CREATE TABLE", "ALTER TABLE", "DROP TABLE"]),
        (&["TABLESPACE"], Admin, ["CREATE TABLESPACE", "ALTER TABLESPACE", "DROP TABLESPACE"]),
        (&["TEXT", "SEARCH"], Schema, ["CREATE TEXT SEARCH", "ALTER TEXT SEARCH", "DROP TEXT SEARCH"]),
        (&["TRANSFORM"], Schema, ["CREATE TRANSFORM", "ALTER TRANSFORM", "DROP TRANSFORM"]),
        (&["TRIGGER"], Schema, ["CREATE TRIGGER", "ALTER TRIGGER", "DROP TRIGGER"]),
        (&["TYPE"], Schema, ["CREATE TYPE", "ALTER TYPE", "DROP TYPE"]),
        (&["USER", "MAPPING"], Admin, ["CREATE USER MAPPING", "ALTER USER MAPPING", "DROP USER MAPPING"]),
        (&["USER"], Admin, ["CREATE ROLE", "ALTER ROLE", "DROP ROLE"]),
        (&["VIEW"], Schema, ["CREATE VIEW", "ALTER VIEW", "DROP VIEW"]),
    ]
};

/// Words between CREATE and the kind of object.
const ADJECTIVES: &[&str] = &[
    "OR",
    "REPLACE",
    "TEMPORARY",
    "TEMP",
    "GLOBAL",
    "LOCAL",
    "UNLOGGED",
    "UNIQUE",
    "RECURSIVE",
    "TRUSTED",
    "PROCEDURAL",
    "CONSTRAINT",
    "DEFAULT",
];

impl Reader<'_, '_> {
    /// Class and operations of the kind of object named at `at`, and the tokens of its name.
    fn object(&self, at: usize) -> Option<(OpClass, [&'static str; 3], usize)> {
        let (words, class, operations) = OBJECTS.iter().find(|(words, ..)| self.view.are(at, words))?;
        Some((*class, *operations, words.len()))
    }

    pub(super) fn create(&self, at: usize) -> Statement {
        let view = self.view;
        let mut next = at + 1;
        while view.any(next, ADJECTIVES) {
            next += 1;
        }
        let Some((class, [operation, ..], words)) = self.object(next) else { return other() };
        let statement = plain(class, operation);
        let mut name = next + words;
        if view.are(name, &["IF", "NOT", "EXISTS"]) {
            name += 3;
        }
        match operation {
            "CREATE TABLE" | "CREATE FOREIGN TABLE" => self.create_table(statement, name),
            "CREATE VIEW" | "CREATE MATERIALIZED VIEW" => {
                let statement = self.written(statement, name);
                match self.body(name) {
                    Some(body) => self.with_query(statement, body),
                    None => statement,
                }
            }
            "CREATE INDEX" | "CREATE TRIGGER" | "CREATE POLICY" | "CREATE RULE" => {
                let on = if operation == "CREATE RULE" { "TO" } else { "ON" };
                match (name..self.end.min(name + 64)).find(|i| view.is(*i, on)) {
                    Some(on) => self.written(statement, on + 1),
                    None => statement,
                }
            }
            _ => statement,
        }
    }

    fn create_table(&self, statement: Statement, name: usize) -> Statement {
        let statement = self.written(statement, name);
        match self.body(name) {
            Some(body) => {
                let operation = "CREATE TABLE AS";
                let statement = self.with_query(Statement { operation, ..statement }, body);
                let runs = self.view.is(body, "EXECUTE");
                let effect =
                    self.view.name(body + 1).filter(|_| runs).map(|name| Effect::ExecutePrepared { name });
                Statement { effect, incomplete: statement.incomplete && !runs, ..statement }
            }
            None => statement,
        }
    }

    /// Where the query behind `AS` begins, outside all parentheses.
    pub(super) fn body(&self, from: usize) -> Option<usize> {
        let (view, mut depth) = (self.view, 0_usize);
        (from..self.end)
            .find(|i| {
                match view.kind(*i) {
                    Some(Kind::Open) => depth += 1,
                    Some(Kind::Close) => depth = depth.saturating_sub(1),
                    _ => {}
                }
                let query =
                    view.is_open(i + 1) || view.any(i + 1, &["SELECT", "WITH", "VALUES", "TABLE", "EXECUTE"]);
                depth == 0 && query && view.is(*i, "AS")
            })
            .map(|i| i + 1)
    }

    pub(super) fn alter(&self, at: usize) -> Statement {
        let view = self.view;
        let drop = view.is(at, "DROP");
        let mut next = at + 1;
        if !view.are(next, &["DEFAULT", "PRIVILEGES"]) {
            while view.any(next, &["PROCEDURAL"]) {
                next += 1;
            }
        }
        let Some((class, [_, alter, dropped], words)) = self.object(next) else { return other() };
        let mut name = next + words + usize::from(view.is(next + words, "CONCURRENTLY"));
        if view.are(name, &["IF", "EXISTS"]) {
            name += 2;
        }
        // Whoever owns a thing may do all with it: a change of owner is a grant.
        let owner = !drop && (name..self.end).any(|i| view.are(i, &["OWNER", "TO"]));
        let class = if owner { OpClass::Admin } else { class };
        let statement = plain(class, if drop { dropped } else { alter });
        match view.any(next, &["TABLE", "VIEW", "SEQUENCE", "MATERIALIZED"]) || alter == "ALTER FOREIGN TABLE"
        {
            true => self.written(statement, name),
            false if view.any(next, &["POLICY", "TRIGGER", "RULE"]) && view.is(name + 1, "ON") => {
                self.written(statement, name + 2)
            }
            false => statement,
        }
    }

    /// `COPY t [(columns)] FROM | TO …`, `COPY (query) TO …`.
    pub(super) fn copy(&self, at: usize) -> Statement {
        let view = self.view;
        let mut next = at + 1 + usize::from(view.is(at + 1, "BINARY") && view.is_name(at + 2));
        let body = view.is_open(next).then_some(next + 1);
        let name = next;
        if view.is_name(next) {
            next += view.chain(next);
        }
        if view.is_open(next) {
            next = self.behind(next);
        }
        let (from, to) = (view.is(next, "FROM"), view.is(next, "TO"));
        if !from && !to || from && body.is_some() {
            return Statement { operation: "COPY", ..other() };
        }
        let file = view.kind(next + 1) == Some(Kind::Str);
        let (class, effect) = match (view.is(next + 1, "PROGRAM"), from) {
            (true, _) => (OpClass::Execute, Some(Effect::CopyProgram)),
            (false, true) => (OpClass::Create, (!file).then_some(Effect::CopyIn)),
            (false, false) if file => (OpClass::Admin, None),
            (false, false) => (OpClass::Read, Some(Effect::CopyOut)),
        };
        let statement = Statement { effect, ..plain(class, "COPY") };
        match body {
            None => self.named_table(statement, name, from),
            Some(body) => {
                let inner = Reader { view, end: next.saturating_sub(1) };
                let found = query::scan(view, body, inner.end);
                let read = found.verdict().0;
                let stronger = read.filter(|c| query::rank(*c) > query::rank(class));
                let class =
                    if read.is_none() && class == OpClass::Read { None } else { stronger.or(Some(class)) };
                Statement { class, incomplete: found.broken, tables: found.tables, ..statement }
            }
        }
    }

    fn named_table(&self, mut statement: Statement, at: usize, written: bool) -> Statement {
        statement = self.written(statement, at);
        statement.tables.truncate(1);
        statement.tables.iter_mut().for_each(|t| t.written = written);
        statement
    }

    /// The token behind the parenthesis that closes the one at `open`.
    fn behind(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for i in open..self.end {
            match self.view.kind(i) {
                Some(Kind::Open) => depth += 1,
                Some(Kind::Close) => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return i + 1;
            }
        }
        self.end
    }
}
