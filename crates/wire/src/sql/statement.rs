//! Class, operation, tables and session effect of one statement, by its leading words.
//!
//! The decisions that are not obvious:
//! - `SELECT … FOR UPDATE` and its kin are `Modify`: they write row locks and stop others.
//!   `LOCK TABLE` likewise, except in `ACCESS SHARE` mode (`pg_dump`), which is `Meta`.
//! - `EXPLAIN` without `ANALYZE` runs nothing and tells of the data's shape: `Read`, tables not written;
//!   unknown if the query calls unknown functions, which the planner may evaluate. With `ANALYZE` it is
//!   what it explains.
//! - `SET ROLE` and `SET SESSION AUTHORIZATION` are `Admin`: they change with whose rights the rest runs.
//! - `SELECT … INTO`, `CREATE TABLE AS` and everything that makes, alters or drops objects of data: `Schema`;
//!   roles, databases, extensions, servers, subscriptions, policies, ownership and such: `Admin`.
//! - `COPY … TO` a file of the server is `Admin`, `COPY … PROGRAM` is `Execute`.
//! - `NOTIFY` is `Create` (it sends something to others), `LISTEN` is `Meta`.
//! - `PREPARE` is `Meta`: nothing runs. `EXECUTE` has no class here, the caller knows the prepared text; but
//!   its arguments are expressions: what they do is its class, and if that is unknown it is `incomplete`.
//! - `FETCH` and `MOVE` are `Read`; they run what `DECLARE` only named, so the caller must take the class of
//!   a cursor that it knows to be more.

use super::lex::Kind;
use super::query::{self, Found};
use super::view::View;
use super::{Effect, Statement, secret};
use crate::stream::OpClass;

pub(super) fn classify(text: &str, conforming: bool) -> Statement {
    let view = View::new(text, conforming);
    // A statement ends at its semicolon; what follows is none of it.
    let end = (0..view.len()).rev().find(|i| view.kind(*i) != Some(Kind::Semicolon)).map_or(0, |i| i + 1);
    let mut statement = Reader { view: &view, end }.statement(0);
    // More than one statement: the server refuses it where one is wanted, and so the first is not the whole.
    let several = !view.is(0, "CREATE") && (0..end).any(|i| view.kind(i) == Some(Kind::Semicolon));
    // A name with an escape character of its own is not decoded; it must not pass for another one.
    let escaped = (1..end).any(|i| view.is(i, "UESCAPE") && view.kind(i - 1) == Some(Kind::Quoted));
    statement.incomplete |=
        several || escaped || !view.whole || (0..end).any(|i| view.kind(i) == Some(Kind::Bad));
    if statement.incomplete && matches!(statement.class, Some(OpClass::Read | OpClass::Meta)) {
        statement.class = None;
    }
    statement.carries_secret = secret::carried(&view);
    statement
}

pub(super) struct Reader<'v, 'a> {
    pub(super) view: &'v View<'a>,
    pub(super) end: usize,
}

pub(super) fn plain(class: OpClass, operation: &'static str) -> Statement {
    Statement { class: Some(class), operation, ..Statement::default() }
}

fn effect(class: OpClass, operation: &'static str, effect: Effect) -> Statement {
    Statement { effect: Some(effect), ..plain(class, operation) }
}

impl Reader<'_, '_> {
    /// The statement that begins at token `at`.
    fn statement(&self, at: usize) -> Statement {
        let view = self.view;
        if view.kind(at) == Some(Kind::Open) {
            return self.query(at);
        }
        let mut upper = [0_u8; 12];
        let word = view.word(at).as_bytes();
        let Some(slot) = upper.get_mut(..word.len()) else { return other() };
        slot.copy_from_slice(word);
        slot.make_ascii_uppercase();
        match &*slot {
            b"SELECT" | b"INSERT" | b"UPDATE" | b"DELETE" | b"MERGE" | b"VALUES" | b"TABLE" | b"WITH" => {
                self.query(at)
            }
            b"BEGIN" | b"START" => effect(OpClass::Meta, "BEGIN", Effect::Begin),
            b"COMMIT" | b"END" | b"ROLLBACK" | b"ABORT" | b"SAVEPOINT" | b"RELEASE" => self.transaction(at),
            b"SET" | b"RESET" => self.set(at),
            b"PREPARE" | b"EXECUTE" | b"DEALLOCATE" | b"DISCARD" => self.prepared(at),
            b"DECLARE" | b"FETCH" | b"MOVE" | b"CLOSE" => self.cursor(at),
            b"LISTEN" | b"UNLISTEN" | b"NOTIFY" => self.notification(at),
            b"COPY" => self.copy(at),
            b"EXPLAIN" => self.explain(at),
            b"CREATE" => self.create(at),
            b"ALTER" | b"DROP" => self.alter(at),
            slot => self.utility(slot, at),
        }
    }

    /// Statements that their first word decides.
    fn utility(&self, word: &[u8], at: usize) -> Statement {
        let view = self.view;
        match word {
            b"SHOW" => plain(OpClass::Meta, "SHOW"),
            b"TRUNCATE" => {
                let from = at + 1 + usize::from(view.is(at + 1, "TABLE"));
                self.written(plain(OpClass::Delete, "TRUNCATE"), from)
            }
            b"LOCK" => self.lock(at),
            b"CALL" => plain(OpClass::Execute, "CALL"),
            b"DO" => plain(OpClass::Execute, "DO"),
            b"GRANT" => plain(OpClass::Admin, "GRANT"),
            b"REVOKE" => plain(OpClass::Admin, "REVOKE"),
            b"VACUUM" => plain(OpClass::Admin, "VACUUM"),
            b"ANALYZE" | b"ANALYSE" => plain(OpClass::Admin, "ANALYZE"),
            b"REINDEX" => plain(OpClass::Admin, "REINDEX"),
            b"CLUSTER" => plain(OpClass::Admin, "CLUSTER"),
            b"REPACK" => plain(OpClass::Admin, "REPACK"),
            b"CHECKPOINT" => plain(OpClass::Admin, "CHECKPOINT"),
            b"LOAD" => plain(OpClass::Admin, "LOAD"),
            b"REASSIGN" => plain(OpClass::Admin, "REASSIGN OWNED"),
            b"SECURITY" => plain(OpClass::Admin, "SECURITY LABEL"),
            b"COMMENT" => plain(OpClass::Schema, "COMMENT"),
            b"IMPORT" => plain(OpClass::Schema, "IMPORT FOREIGN SCHEMA"),
            b"REFRESH" => {
                let from = at + 3 + usize::from(view.is(at + 3, "CONCURRENTLY"));
                self.written(plain(OpClass::Modify, "REFRESH MATERIALIZED VIEW"), from)
            }
            _ => other(),
        }
    }

    fn query(&self, at: usize) -> Statement {
        self.found(query::scan(self.view, at, self.end))
    }

    fn found(&self, found: Found) -> Statement {
        let (class, operation) = found.verdict();
        Statement { class, operation, incomplete: found.broken, tables: found.tables, ..Statement::default() }
    }

    /// `statement` with the comma-separated tables from `at` on, which it writes.
    pub(super) fn written(&self, statement: Statement, at: usize) -> Statement {
        self.named(statement, at, true)
    }

    fn named(&self, mut statement: Statement, mut at: usize, written: bool) -> Statement {
        let (view, mut found) = (self.view, Found::default());
        loop {
            at += usize::from(view.is(at, "ONLY") && view.is_name(at + 1));
            if !view.is_name(at) {
                break;
            }
            let n = view.chain(at);
            let (schema, name) = view.qualified(at, n);
            found.touch(schema, name, written);
            at += n + usize::from(view.text_of(at + n) == "*");
            if view.kind(at) != Some(Kind::Comma) {
                break;
            }
            at += 1;
        }
        statement.incomplete |= found.broken;
        statement.tables = found.tables;
        statement
    }

    fn lock(&self, at: usize) -> Statement {
        let view = self.view;
        let from = at + 1 + usize::from(view.is(at + 1, "TABLE"));
        let mild = (from..self.end).any(|i| view.are(i, &["IN", "ACCESS", "SHARE", "MODE"]));
        let class = if mild { OpClass::Meta } else { OpClass::Modify };
        self.named(plain(class, "LOCK"), from, false)
    }

    fn transaction(&self, at: usize) -> Statement {
        let view = self.view;
        let word = |i| view.is(at + 1, i);
        let meta = |operation, what| effect(OpClass::Meta, operation, what);
        if view.is(at, "SAVEPOINT") {
            return match view.name(at + 1) {
                Some(name) => meta("SAVEPOINT", Effect::Savepoint { name }),
                None => other(),
            };
        }
        if view.is(at, "RELEASE") {
            return match view.name(at + 1 + usize::from(word("SAVEPOINT"))) {
                Some(name) => meta("RELEASE", Effect::Release { name }),
                None => other(),
            };
        }
        let commit = view.any(at, &["COMMIT", "END"]);
        if word("PREPARED") {
            return match commit {
                true => meta("COMMIT PREPARED", Effect::CommitPrepared),
                false => meta("ROLLBACK PREPARED", Effect::RollbackPrepared),
            };
        }
        if commit {
            return meta("COMMIT", Effect::Commit);
        }
        let at = at + 1 + usize::from(view.any(at + 1, &["WORK", "TRANSACTION"]));
        let name = at + 1 + usize::from(view.is(at + 1, "SAVEPOINT"));
        match view.name(name).filter(|_| view.is(at, "TO")) {
            Some(name) => meta("ROLLBACK TO", Effect::RollbackTo { name }),
            None => meta("ROLLBACK", Effect::Rollback),
        }
    }

    fn set(&self, at: usize) -> Statement {
        let view = self.view;
        let reset = view.is(at, "RESET");
        let operation = if reset { "RESET" } else { "SET" };
        let scoped = !reset && view.any(at + 1, &["SESSION", "LOCAL"]);
        // `SET SESSION AUTHORIZATION`, `SET SESSION CHARACTERISTICS`: there SESSION is no scope.
        let whole = [at + 1, at + 1 + usize::from(scoped)];
        let authorization = whole.iter().any(|i| view.are(*i, &["SESSION", "AUTHORIZATION"]))
            || view.is(at + 2, "AUTHORIZATION") && scoped;
        let name = at + 1 + usize::from(scoped);
        let folded = view.name(name).unwrap_or_default();
        if authorization || folded == "session_authorization" {
            return match reset {
                true => plain(OpClass::Admin, "RESET SESSION AUTHORIZATION"),
                false => plain(OpClass::Admin, "SET SESSION AUTHORIZATION"),
            };
        }
        if folded == "role" {
            return plain(OpClass::Admin, if reset { "RESET ROLE" } else { "SET ROLE" });
        }
        let mut statement = plain(OpClass::Meta, operation);
        if folded == "standard_conforming_strings" && !reset {
            let value = view.text_of(name + 2).trim_matches(['\'', '"']).to_ascii_lowercase();
            statement.effect = match value.as_str() {
                "on" | "true" | "yes" | "1" | "t" | "y" => Some(Effect::SetStandardConforming(true)),
                "off" | "false" | "no" | "0" | "f" | "n" => Some(Effect::SetStandardConforming(false)),
                _ => None,
            };
        }
        statement
    }

    fn prepared(&self, at: usize) -> Statement {
        let view = self.view;
        if view.are(at, &["PREPARE", "TRANSACTION"]) {
            return effect(OpClass::Meta, "PREPARE TRANSACTION", Effect::PrepareTransaction);
        }
        if view.is(at, "DISCARD") {
            let all = view.is(at + 1, "ALL").then_some(Effect::DiscardAll);
            return Statement { effect: all, ..plain(OpClass::Meta, "DISCARD") };
        }
        let at_name = at + 1 + usize::from(view.are(at, &["DEALLOCATE", "PREPARE"]) && view.is_name(at + 2));
        let Some(name) = view.name(at_name) else { return other() };
        if view.is(at, "DEALLOCATE") {
            let what =
                if view.is(at_name, "ALL") { Effect::DeallocateAll } else { Effect::Deallocate { name } };
            return effect(OpClass::Meta, "DEALLOCATE", what);
        }
        if view.is(at, "EXECUTE") {
            let what = Some(Effect::ExecutePrepared { name });
            let (class, known) = query::arguments(view, at_name + 1, self.end);
            return Statement {
                operation: "EXECUTE",
                effect: what,
                class,
                incomplete: !known,
                ..Statement::default()
            };
        }
        let body = (at_name + 1..self.end).find(|i| view.is(*i, "AS")).and_then(|i| view.token(i + 1));
        let last = view.token(self.end.wrapping_sub(1));
        match (body, last) {
            (Some(body), Some(last)) if body.start < last.end => {
                effect(OpClass::Meta, "PREPARE", Effect::Prepare { name, body: body.start..last.end })
            }
            _ => other(),
        }
    }

    fn cursor(&self, at: usize) -> Statement {
        let view = self.view;
        if view.is(at, "DECLARE") {
            let Some(name) = view.name(at + 1) else { return other() };
            let Some(body) = (at + 2..self.end).find(|i| view.is(*i, "FOR")) else { return other() };
            let query = self.query(body + 1);
            return Statement { operation: "DECLARE", effect: Some(Effect::DeclareCursor { name }), ..query };
        }
        // The name stands last: FETCH [direction] [FROM | IN] name.
        let name = view.name(self.end.wrapping_sub(1)).filter(|_| self.end > at + 1);
        let Some(name) = name else { return other() };
        if view.is(at, "CLOSE") {
            let name = (!view.is(at + 1, "ALL")).then_some(name);
            return effect(OpClass::Meta, "CLOSE", Effect::CloseCursor { name });
        }
        let operation = if view.is(at, "FETCH") { "FETCH" } else { "MOVE" };
        effect(OpClass::Read, operation, Effect::Fetch { name })
    }

    fn notification(&self, at: usize) -> Statement {
        let view = self.view;
        if view.is(at, "UNLISTEN") {
            return effect(OpClass::Meta, "UNLISTEN", Effect::Unlisten { channel: view.name(at + 1) });
        }
        let Some(channel) = view.name(at + 1) else { return other() };
        match view.is(at, "LISTEN") {
            true => effect(OpClass::Meta, "LISTEN", Effect::Listen { channel }),
            false => effect(OpClass::Create, "NOTIFY", Effect::Notify { channel }),
        }
    }

    fn explain(&self, at: usize) -> Statement {
        let view = self.view;
        let (mut analyze, mut next) = (false, at + 1);
        if view.is_open(next) {
            next += 1;
            while next < self.end && view.kind(next) != Some(Kind::Close) {
                if view.any(next, &["ANALYZE", "ANALYSE"]) {
                    let value = view.text_of(next + 1).trim_matches(['\'', '"']);
                    analyze = !["false", "off", "0"].iter().any(|no| value.eq_ignore_ascii_case(no));
                }
                next += 1;
            }
            next += 1;
        } else {
            while view.any(next, &["ANALYZE", "ANALYSE", "VERBOSE"]) {
                analyze |= !view.is(next, "VERBOSE");
                next += 1;
            }
        }
        let explainable = view.is_open(next)
            || view.any(
                next,
                &[
                    "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "TABLE", "WITH", "DECLARE",
                    "CREATE", "REFRESH", "EXECUTE",
                ],
            );
        if !explainable {
            return Statement { incomplete: true, operation: "EXPLAIN", ..Statement::default() };
        }
        if analyze {
            return self.statement(next);
        }
        let from = match (view.is(next, "DECLARE"), view.is(next, "CREATE")) {
            (true, _) => (next..self.end).find(|i| view.is(*i, "FOR")).map_or(self.end, |i| i + 1),
            (_, true) => self.body(next).unwrap_or(self.end),
            _ => next,
        };
        let mut found = query::scan(view, from, self.end);
        found.tables.iter_mut().for_each(|t| t.written = false);
        let known = found.understood() && !view.any(next, &["EXECUTE", "REFRESH"]);
        let class = known.then_some(OpClass::Read);
        Statement {
            class,
            operation: "EXPLAIN",
            tables: found.tables,
            incomplete: found.broken,
            ..Statement::default()
        }
    }

    /// A query inside another statement; its tables come behind those that `outer` has.
    pub(super) fn with_query(&self, mut outer: Statement, at: usize) -> Statement {
        let mut found = query::scan(self.view, at, self.end);
        let mut tables = Found::of(std::mem::take(&mut outer.tables));
        for table in std::mem::take(&mut found.tables) {
            tables.touch(table.schema, table.name, table.written);
        }
        outer.incomplete |= found.broken | tables.broken;
        outer.tables = tables.tables;
        let (class, _) = found.verdict();
        // Making a view runs nothing of its query.
        let class = class.filter(|_| outer.operation != "CREATE VIEW");
        let stronger = class.filter(|c| outer.class.is_none_or(|held| query::rank(*c) > query::rank(held)));
        outer.class = stronger.or(outer.class);
        outer
    }
}

/// Nothing is known about it.
pub(super) fn other() -> Statement {
    Statement { incomplete: true, ..Statement::default() }
}
