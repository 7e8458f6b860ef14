//! What a PostgreSQL server wrote to its own log about the sessions that came over TCP: statements that it
//! received (`log_statement`), statements that ended well (pgaudit), errors, calls by OID.
//!
//! Not what the gateway saw: nothing here looks at events. Texts are normalised by the same function as the
//! records' texts, and parameters brought to one form by [`canonical`], so that both sides compare as
//! multisets. Settings it needs: [`SETTINGS`].

use countersign_testkit::postgres::Postgres;
use countersign_wire::sql;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Lines of `postgresql.conf` beyond those of the harness.
pub(crate) const SETTINGS: &str =
    "log_min_messages=error\nlog_disconnections=on\npgaudit.log_parameter=on\npg_stat_statements.max=10000\n";

/// Texts are compared up to here, bytes: a record keeps 64 KiB, cut at a character.
const COMPARED_MAX: usize = 60_000;

/// One statement: process id of the session, normalised text, parameters.
pub(crate) type Statement = (u64, String, Vec<String>);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Statements received: those of a simple Query one by one, run or not; and Executes that began.
    pub(crate) received: Vec<Statement>,
    /// Errors in messages that came to no statement: session, SQLSTATE, text.
    pub(crate) refused: Vec<(u64, String, String)>,
    /// Statements that pgaudit says have ended, and the rows that it says they processed.
    pub(crate) audited: Vec<(Statement, u64)>,
    /// Errors that did not end their session: session and SQLSTATE.
    pub(crate) failed: Vec<(u64, String)>,
    /// Functions called by OID.
    pub(crate) called: Vec<(u64, u64)>,
    /// Sessions that have ended.
    pub(crate) ended: BTreeSet<u64>,
}

/// What is remembered of a session while its lines are read.
#[derive(Default)]
struct Session {
    /// `standard_conforming_strings` is off.
    loose: bool,
    /// The last message that was logged, and whether it was a simple Query.
    last: Option<(String, bool)>,
    /// Parts of each simple Query's text that were audited since it came last.
    parts: BTreeMap<String, usize>,
    /// Entries of pgaudit by number of the statement.
    audits: BTreeMap<u64, Vec<Audit>>,
}

struct Audit {
    command: String,
    text: String,
    parameters: Vec<String>,
    rows: u64,
    /// Normalised text of the part that it is about, of a simple Query.
    part: String,
}

/// Reads all of the log.
pub(crate) fn read(server: &Postgres) -> Told {
    let mut told = Told::default();
    let mut sessions: BTreeMap<u64, Session> = BTreeMap::new();
    for line in server.log().lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        if line["remote_host"] != "127.0.0.1" {
            continue;
        }
        let pid = line["pid"].as_u64().unwrap();
        let session = sessions.entry(pid).or_default();
        let message = line["message"].as_str().unwrap_or_default();
        match line["error_severity"].as_str().unwrap() {
            "LOG" => told.log(pid, session, message, line["detail"].as_str().unwrap_or_default()),
            "ERROR" => {
                let state = line["state_code"].as_str().unwrap();
                told.error(pid, session, state, line["statement"].as_str().unwrap_or_default());
            }
            _ => {}
        }
    }
    for (pid, session) in sessions {
        for entries in session.audits.into_values() {
            told.audited.push(audited(pid, entries));
        }
    }
    told
}

impl Told {
    fn log(&mut self, pid: u64, session: &mut Session, message: &str, detail: &str) {
        if let Some(text) = message.strip_prefix("statement: ") {
            session.parts.insert(text.to_owned(), 0);
            session.last = Some((text.to_owned(), true));
            let parts = parts(text, session.loose);
            session.loose |= parts.iter().any(|p| p == "set standard_conforming_strings = off");
            self.received.extend(parts.into_iter().map(|part| (pid, part, Vec::new())));
        } else if let Some(execute) = message.strip_prefix("execute ") {
            let rest = execute.strip_prefix("fetch from ").unwrap_or(execute);
            let text = rest.split_once(": ").unwrap().1;
            session.last = Some((text.to_owned(), false));
            let parameters = detail.strip_prefix("parameters: ").map_or(Vec::new(), listed);
            self.received.push(comparable(pid, &single(text, session.loose), &parameters));
        } else if let Some(call) = message.strip_prefix("fastpath function call: ") {
            let oid = call.rsplit("OID ").next().unwrap().trim_end_matches(')');
            self.called.push((pid, oid.parse().unwrap()));
            session.last = None;
        } else if let Some(audit) = message.strip_prefix("AUDIT: SESSION,") {
            audit_entry(session, audit);
        } else if message.starts_with("disconnection: ") {
            self.ended.insert(pid);
        }
    }

    fn error(&mut self, pid: u64, session: &mut Session, state: &str, text: &str) {
        self.failed.push((pid, state.to_owned()));
        // An error in what was logged just before is that statement's; others came before any logging.
        let logged = session.last.as_ref().is_some_and(|(last, _)| last == text);
        if !logged && !text.is_empty() {
            let first = parts(text, session.loose).swap_remove(0);
            self.refused.push((pid, state.to_owned(), first));
        }
        session.last = None;
    }
}

/// Statements of a simple Query; an empty one where there is none.
fn parts(text: &str, loose: bool) -> Vec<String> {
    let ranges = sql::split(text, !loose);
    let parts: Vec<String> = ranges.into_iter().map(|range| normal(&text[range], loose)).collect();
    if parts.is_empty() { vec![String::new()] } else { parts }
}

/// The statement of a Parse.
fn single(text: &str, loose: bool) -> String {
    if sql::split(text, !loose).is_empty() { String::new() } else { normal(text, loose) }
}

fn normal(text: &str, loose: bool) -> String {
    compared(&sql::normalise(text, !loose).text)
}

/// The part of a text that is compared.
fn compared(text: &str) -> String {
    let end = (0..=COMPARED_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text[..end.unwrap()].to_owned()
}

fn audit_entry(session: &mut Session, line: &str) {
    let fields = csv(line);
    let [number, _sub, _class, command, _kind, _name, text, parameters, rows] = fields.as_slice() else {
        panic!("{line}")
    };
    let parameters = if parameters == "<none>" { Vec::new() } else { csv(parameters) };
    let entries = session.audits.entry(number.parse().unwrap()).or_default();
    // The next statement of a simple Query, when this is its first entry.
    let part = match (entries.first(), session.parts.get_mut(text.as_str())) {
        (Some(first), _) => first.part.clone(),
        (None, Some(at)) => {
            let parts = parts(text, session.loose);
            let part = parts[*at % parts.len()].clone();
            *at += 1;
            part
        }
        (None, None) => single(text, session.loose),
    };
    entries.push(Audit {
        command: command.clone(),
        text: text.clone(),
        parameters,
        rows: rows.parse().unwrap_or(0),
        part,
    });
}

/// One statement of all that pgaudit says of it: what ran inside EXECUTE, EXPLAIN and COPY has entries of its
/// own, whose rows are those of the whole.
fn audited(pid: u64, entries: Vec<Audit>) -> (Statement, u64) {
    let rows = entries.iter().map(|e| e.rows).max().unwrap();
    let outer = entries.iter().find(|e| e.command == "EXECUTE");
    let text = match outer {
        Some(outer) => single(&outer.text, false),
        None => entries[0].part.clone(),
    };
    (comparable(pid, &text, &outer.unwrap_or(&entries[0]).parameters), rows)
}

/// Fields of a line of CSV.
fn csv(line: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                out.last_mut().unwrap().push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(String::new()),
            c => out.last_mut().unwrap().push(c),
        }
    }
    out
}

/// Values of `$1 = 'a''b', $2 = NULL`.
fn listed(detail: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = detail;
    while let Some((_, value)) = rest.split_once(" = ") {
        if let Some(tail) = value.strip_prefix("NULL") {
            out.push("NULL".to_owned());
            rest = tail;
            continue;
        }
        let value = value.strip_prefix('\'').unwrap();
        let (mut text, mut chars) = (String::new(), value.char_indices().peekable());
        rest = "";
        while let Some((at, c)) = chars.next() {
            match c {
                '\'' if chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                    chars.next();
                    text.push(c);
                }
                '\'' => {
                    rest = &value[at + 1..];
                    break;
                }
                c => text.push(c),
            }
        }
        out.push(text);
    }
    out
}

/// What clients send, and what the server's output function makes of the same value.
const SENT: [(&str, &str); 2] = [("1E+20", "100000000000000000000"), ("inf", "Infinity")];
/// All byte values in hexadecimal: no secret, and long enough to look like one.
const LOOKS_SECRET: &str = "\\x000102030405060708090a0b0c0d0e0f";
/// Characters of a parameter that are compared: a record keeps 1,024 bytes.
const PARAMETER_COMPARED_MAX: usize = 500;
/// Parameters that are compared, as many as a record keeps.
const PARAMETERS_COMPARED_MAX: usize = 256;
/// Its Bind is too long to be held, so that only its first parameter is in the record.
const LONG_BIND: &str = "select length($1), md5($2)";

/// One form for the texts that a client may send of one value: the server logs what its output functions
/// make of it, a record has what was sent.
fn canonical(value: &str) -> String {
    if let Some((_, made)) = SENT.iter().find(|(sent, _)| *sent == value) {
        return (*made).to_owned();
    }
    if value.starts_with(LOOKS_SECRET) {
        return "\\{redacted}".to_owned();
    }
    value.chars().take(PARAMETER_COMPARED_MAX).collect()
}

/// A statement as it is compared, both sides through here.
pub(crate) fn comparable(pid: u64, text: &str, parameters: &[String]) -> Statement {
    let text = compared(text);
    let most = if text == LONG_BIND { 1 } else { PARAMETERS_COMPARED_MAX };
    let parameters = parameters.iter().take(most).map(|p| canonical(p)).collect();
    (pid, text, parameters)
}
