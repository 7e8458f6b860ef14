//! One executed statement as an event.

use super::super::redact::{clean_text, cut_at};
use super::super::session::At;
use super::values;
use super::{class, set_error};
use countersign_event::cbor::Value;
use countersign_event::fields::detail::sql;
use countersign_event::{Class, Event, LinkVia, Outcome, Payload, StatusSpace, Target};
use countersign_wire::postgres::answer::DENIED_STATE;
use countersign_wire::postgres::record::{CopyWay, End, Error, Executed, Form};
use countersign_wire::postgres::statement::{Column, NAME_SHOWN, Statement};
use countersign_wire::trace;
use std::sync::Arc;

/// Longest statement text in a record, bytes.
const TEXT_MAX: usize = 64 << 10;
/// `content.stmt`.
const STMT_FIELD: u64 = 5 * 256 + 1;
/// Longest name of a table, bytes.
const TABLE_MAX: usize = 256;
/// Tables besides the first.
const MORE_MAX: usize = 64;
/// Columns named in a record.
const COLUMNS_MAX: usize = 64;
/// Longest verb, bytes.
const OP_MAX: usize = 64;

/// Whether it is an operation of its own and not a message that failed before it came to one.
pub(super) fn is_operation(form: Form) -> bool {
    matches!(form, Form::Simple | Form::Extended | Form::Function)
}

/// Puts in everything but the decision.
pub(super) fn fill(event: &mut Event, at: &At<'_>, run: &Executed, parameters: bool) {
    let (began, first, ended) = run.at;
    event.core.t_obs = at.context.wall(ended);
    event.core.dur = Some(ended.saturating_sub(began));
    if let Some(first) = first {
        let lasted = ended.saturating_sub(began);
        event.core.lat = Some([0, first.saturating_sub(began), lasted]);
    }
    // An SQL-level EXECUTE does what the statement does that it names.
    let meant = run.inner.as_ref().or(run.statement.as_ref());
    set_operation(event, run, meant);
    if let Some(statement) = meant {
        set_tables(event, &statement.facts.tables);
        event.content.stmt_fp = statement.facts.fingerprint;
        set_trace(event, &statement.facts.tags);
    }
    if let Some(statement) = &run.statement {
        set_text(event, statement);
        set_trace(event, &statement.facts.tags);
    }
    set_end(event, run);
    set_detail(event, at, run, meant);
    if parameters
        && let Some(portal) = &run.portal
        && let Some(kept) = portal.parameters()
    {
        values::set(event, &kept, run.statement.as_deref(), (portal.count, run.bytes.0));
    }
    let body = &mut *event.body;
    body.req = Some(Payload { size: Some(run.bytes.0), ..Payload::default() });
    body.rsp = Some(Payload { size: Some(run.bytes.1), ..Payload::default() });
}

fn set_operation(event: &mut Event, run: &Executed, meant: Option<&Arc<Statement>>) {
    let operation = meant.map_or("", |s| s.facts.operation.as_str());
    let (op, of) = match run.form {
        Form::Function => ("FUNCTION", None),
        Form::Simple | Form::Extended if operation.is_empty() && meant.is_some() => {
            ("EMPTY", Some(Class::Meta))
        }
        Form::Simple | Form::Extended => {
            let known = meant.and_then(|s| class(s.facts.class));
            // What nobody knows the text of may still be known by its completion.
            (if operation.is_empty() { "EXECUTE" } else { operation }, known)
        }
        Form::Parse => ("PARSE", Some(Class::Meta)),
        Form::Bind => ("BIND", Some(Class::Meta)),
        Form::Describe => ("DESCRIBE", Some(Class::Meta)),
        Form::Close => ("CLOSE", Some(Class::Meta)),
        Form::Sync => ("SYNC", Some(Class::Meta)),
    };
    op.clone_into(&mut event.core.op);
    cut_at(&mut event.core.op, OP_MAX);
    event.core.class = of;
    if !is_operation(run.form) {
        event.content.detail.insert(sql::STEP, Value::Text(op.to_ascii_lowercase()));
    }
}

fn set_tables(event: &mut Event, tables: &[String]) {
    let mut names = tables.iter().map(|t| clean_text(t.as_bytes(), TABLE_MAX).0);
    if let Some(first) = names.next() {
        event.target.res = first;
        event.target.rtype = "table".to_owned();
    }
    for name in names.take(MORE_MAX) {
        let target = Target { res: name, rtype: "table".to_owned(), ..Target::default() };
        event.target.more.push(target);
    }
}

fn set_text(event: &mut Event, statement: &Statement) {
    if let Some(text) = statement.text() {
        let (text, hits) = clean_text(text.as_bytes(), TEXT_MAX);
        event.content.stmt = text;
        if hits > 0 {
            event.content.redacted.push(("statement".to_owned(), hits));
        }
        if statement.length > TEXT_MAX as u64 {
            event.content.cut.push((STMT_FIELD, statement.length));
        }
    }
    let detail = &mut event.content.detail;
    if statement.facts.incomplete {
        detail.insert(sql::INCOMPLETE, Value::Bool(true));
    }
    if let Some(digest) = statement.digest {
        detail.insert(sql::STATEMENT_DIGEST, Value::Bytes(digest.to_vec()));
        detail.insert(sql::STATEMENT_BYTES, Value::Uint(statement.length));
    }
}

/// Trace context of an SQL comment: the client's claim.
fn set_trace(event: &mut Event, tags: &[(String, String)]) {
    let carried = tags.iter().find(|(key, _)| key == "traceparent");
    if event.links.trace.is_none()
        && let Some(found) = carried.and_then(|(_, value)| trace::traceparent(value.as_bytes()))
    {
        event.links.trace = Some(found.trace);
        event.links.span = found.span;
        event.links.parent = found.parent;
        event.links.tflags = found.flags.map(u64::from);
        event.links.via = Some(LinkVia::SqlComment);
    }
}

fn set_end(event: &mut Event, run: &Executed) {
    let denied = run.judged.is_some_and(|j| j.denied);
    event.core.outcome = match run.end {
        End::Done => Some(Outcome::Success),
        End::Failed if denied => Some(Outcome::Denied),
        // A Query has one verdict: none of its statements came to the server.
        End::NotRun if denied && run.form == Form::Simple => Some(Outcome::Denied),
        End::Failed => run.error.as_ref().map(outcome_of),
        End::NotRun => Some(Outcome::Cancelled),
        End::Unknown | End::Running => None,
    };
    match (&run.error, run.end) {
        (Some(_), _) if denied => {
            event.core.status = Some((StatusSpace::Sqlstate, DENIED_STATE.to_owned()));
            event.content.err = "denied by policy".to_owned();
        }
        (Some(error), _) => set_error(event, error),
        (None, End::Done) => event.core.status = Some((StatusSpace::Sqlstate, "00000".to_owned())),
        (None, End::NotRun) => {
            event.content.detail.insert(sql::NOT_RUN, Value::Bool(true));
            if event.core.outcome == Some(Outcome::Denied) {
                event.core.status = Some((StatusSpace::Sqlstate, DENIED_STATE.to_owned()));
                event.content.err = "denied by policy".to_owned();
            }
        }
        _ => {}
    }
    // The server ends a transaction that has failed in one way only, and says so by its tag alone.
    let commits = matches!(event.core.op.as_str(), "COMMIT" | "PREPARE TRANSACTION");
    if commits && run.end == End::Done && run.tag == "ROLLBACK" {
        event.core.outcome = Some(Outcome::CallerError);
        event.content.err = "rolled back: the transaction had failed".to_owned();
    }
}

/// By SQLSTATE class (PostgreSQL's documentation, appendix A).
pub(super) fn outcome_of(error: &Error) -> Outcome {
    match error.state.as_str() {
        "57014" if error.text.contains("timeout") => Outcome::Timeout,
        "57014" => Outcome::Cancelled,
        "55P03" | "25P03" | "57P05" | "25P04" => Outcome::Timeout,
        "42501" | "25006" => Outcome::Denied,
        state => match state.get(..2).unwrap_or_default() {
            "28" => Outcome::Denied,
            "08" | "40" | "53" | "54" | "55" | "57" | "58" | "F0" | "XX" => Outcome::ServerError,
            _ => Outcome::CallerError,
        },
    }
}

fn set_detail(event: &mut Event, at: &At<'_>, run: &Executed, meant: Option<&Arc<Statement>>) {
    let detail = &mut event.content.detail;
    if is_operation(run.form) && run.form != Form::Function && meant.is_none() {
        detail.insert(sql::UNKNOWN, Value::Bool(true));
    }
    if let Some(oid) = run.function {
        detail.insert(sql::FUNCTION, Value::Uint(u64::from(oid)));
    }
    if !run.prepared.is_empty() {
        let (name, _) = clean_text(run.prepared.as_bytes(), NAME_SHOWN);
        detail.insert(sql::PREPARED, Value::Text(name));
    }
    if run.transaction > 0 {
        detail.insert(sql::TX, Value::Text(format!("{}.{}", at.conn.id, run.transaction)));
    }
    let state = match run.state {
        b'I' => "idle",
        b'T' => "transaction",
        b'E' => "failed",
        _ => "",
    };
    if !state.is_empty() {
        detail.insert(sql::TX_STATUS, Value::Text(state.to_owned()));
    }
    if run.suspended || run.portal_rows > run.rows {
        detail.insert(sql::PORTAL_ROWS, Value::Uint(run.portal_rows));
    }
    if run.suspended {
        detail.insert(sql::PARTIAL, Value::Bool(true));
    }
    set_rows(event, run);
    set_copy(event, run);
    let columns = run.portal.as_ref().and_then(|p| p.columns.get());
    if let Some(columns) = columns.or_else(|| run.statement.as_ref()?.columns.get()).filter(|c| !c.is_empty())
    {
        let named = columns.iter().take(COLUMNS_MAX).map(|c| Value::Text(column(c))).collect();
        event.content.detail.insert(sql::COLUMNS, Value::Array(named));
    }
}

/// Name, OID of the table, OID of the type.
fn column(column: &Column) -> String {
    format!("{} {} {}", clean_text(column.name.as_bytes(), NAME_SHOWN).0, column.table, column.type_oid)
}

fn set_rows(event: &mut Event, run: &Executed) {
    let detail = &mut event.content.detail;
    let way = run.copy.map(|c| c.way);
    let (rows, affected) = match (run.tag.as_str(), way) {
        ("COPY", Some(CopyWay::Out)) => (run.tag_rows, None),
        ("COPY", _) => (None, run.tag_rows),
        ("SELECT" | "FETCH", _) => {
            // CREATE TABLE AS and SELECT INTO say SELECT too, and send no row.
            let made = run.tag_rows.filter(|n| *n > 0 && run.rows == 0);
            if made.is_some() { (None, made) } else { (Some(run.rows), None) }
        }
        ("INSERT" | "UPDATE" | "DELETE" | "MERGE" | "MOVE", _) => {
            ((run.rows > 0).then_some(run.rows), run.tag_rows)
        }
        _ => ((run.rows > 0 || run.suspended).then_some(run.rows), None),
    };
    if let Some(rows) = rows {
        detail.insert(sql::ROWS, Value::Uint(rows));
    }
    if let Some(affected) = affected {
        detail.insert(sql::AFFECTED, Value::Uint(affected));
    }
}

fn set_copy(event: &mut Event, run: &Executed) {
    let Some(copy) = run.copy else { return };
    let detail = &mut event.content.detail;
    let (way, bytes, messages) = match copy.way {
        CopyWay::In => ("in", copy.bytes.0, copy.messages.0),
        CopyWay::Out => ("out", copy.bytes.1, copy.messages.1),
        CopyWay::Both => ("both", copy.bytes.0 + copy.bytes.1, copy.messages.0 + copy.messages.1),
    };
    detail.insert(sql::COPY_WAY, Value::Text(way.to_owned()));
    detail.insert(sql::COPY_BYTES, Value::Uint(bytes));
    detail.insert(sql::COPY_MESSAGES, Value::Uint(messages));
    if let Some(digest) = copy.digest {
        detail.insert(sql::COPY_DIGEST, Value::Bytes(digest.to_vec()));
    }
    if copy.failed {
        detail.insert(sql::COPY_FAILED, Value::Bool(true));
    }
    if let Some((from, to)) = copy.lsn {
        let text = |lsn: u64| Value::Text(format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff));
        detail.insert(sql::LSN_FROM, text(from));
        detail.insert(sql::LSN_TO, text(to));
    }
}
