//! PostgreSQL's server log: csvlog, jsonlog (15 and later) and text with a `log_line_prefix`; pgaudit's records.
//!
//! The three are one record in three spellings ([`entry::Entry`]); what it means is in [`entry`] and [`message`].
//! A user is asserted once the server has let him in, and claimed before; `application_name` is always the
//! client's own. Messages are recognised in English, the spelling of `lc_messages = C`; any other is kept as text,
//! and only the SQLSTATE says how it ended. Values of parameters are not kept. Source: PostgreSQL documentation,
//! "Error Reporting and Logging", appendix A; elog.c, csvlog.c, jsonlog.c; pgaudit's README.

mod audit;
mod entry;
mod message;
mod prefix;

pub use prefix::{Prefix, compile};

use super::{Format, Record, csv};
use crate::{Draft, Fault};
use entry::Entry;
use std::borrow::Cow;

/// The row of csvlog in the table.
pub const CSVLOG: Format = Format {
    name: "postgres-csv",
    what: "PostgreSQL's csvlog, versions 9.0 to 18, with pgaudit",
    looks: looks_csv,
    parse: parse_csv,
};
/// The row of jsonlog in the table.
pub const JSONLOG: Format = Format {
    name: "postgres-json",
    what: "PostgreSQL's jsonlog, version 15 and later, with pgaudit",
    looks: looks_json,
    parse: parse_json,
};
/// The row of text with one of the common prefixes in the table.
pub const TEXT: Format = Format {
    name: "postgres",
    what: "PostgreSQL's text log with one of the common values of log_line_prefix, with pgaudit",
    looks: prefix::looks,
    parse: prefix::parse_common,
};

/// Columns of version 9.0; later ones added to the end.
const COLUMNS: std::ops::RangeInclusive<usize> = 23..=26;

fn looks_csv(record: &Record<'_>) -> bool {
    let first = record.text.get(..40).unwrap_or(record.text).split(',').next().unwrap_or_default();
    record.by("postgres") && entry::stamp(first).is_some() && record.text.matches(',').nth(21).is_some()
}

fn parse_csv(record: &Record<'_>) -> Result<Draft, Fault> {
    let fields = csv::split(record.text).ok_or(Fault::new(0, "a quoted field does not end"))?;
    if !COLUMNS.contains(&fields.len()) {
        return Err(Fault::new(0, "not the number of columns of a csvlog"));
    }
    let mut fields = fields.into_iter();
    let mut entry = Entry::default();
    for column in [
        &mut entry.time,
        &mut entry.user,
        &mut entry.database,
        &mut entry.pid,
        &mut entry.remote,
        &mut entry.session,
        &mut entry.line,
        &mut entry.tag,
        &mut entry.session_start,
        &mut entry.vxid,
        &mut entry.xid,
        &mut entry.severity,
        &mut entry.state,
        &mut entry.message,
        &mut entry.detail,
        &mut entry.hint,
        &mut entry.internal,
        &mut entry.internal_at,
        &mut entry.context,
        &mut entry.statement,
        &mut entry.statement_at,
        &mut entry.location,
        &mut entry.application,
        &mut entry.backend,
        &mut entry.leader,
        &mut entry.query_id,
    ] {
        *column = fields.next().unwrap_or_default();
    }
    entry.draft(record)
}

fn looks_json(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|root| root.get("error_severity").is_some() && root.get("pid").is_some())
}

fn parse_json(record: &Record<'_>) -> Result<Draft, Fault> {
    let root = record.object()?;
    let get = |name: &str| root.get(name).and_then(|value| value.word()).unwrap_or_default();
    let (host, port) = (get("remote_host"), get("remote_port"));
    let entry = Entry {
        time: get("timestamp"),
        user: get("user"),
        database: get("dbname"),
        pid: get("pid"),
        remote: if port.is_empty() { host } else { Cow::Owned(format!("{host}:{port}")) },
        session: get("session_id"),
        line: get("line_num"),
        tag: get("ps"),
        session_start: get("session_start"),
        vxid: get("vxid"),
        xid: get("txid"),
        severity: get("error_severity"),
        state: get("state_code"),
        message: get("message"),
        detail: get("detail"),
        hint: get("hint"),
        internal: get("internal_query"),
        internal_at: get("internal_position"),
        context: get("context"),
        statement: get("statement"),
        statement_at: get("cursor_position"),
        application: get("application_name"),
        backend: get("backend_type"),
        leader: get("leader_pid"),
        query_id: get("query_id"),
        ..Entry::default()
    };
    entry.draft(record)
}

#[cfg(test)]
mod tests;
