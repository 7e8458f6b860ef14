//! Audit logs of MySQL and its relatives: JSON (MySQL Enterprise, Percona), XML (both, old and new style), and
//! MariaDB's `server_audit`. Not Percona's CSV.
//!
//! Statements leave their literals here: what MySQL lets stand in double quotation marks is a literal, what stands
//! in backquotes a name. Sources: MySQL 8.4 Reference Manual, "Audit Log File Formats"; Percona Server, "Audit Log
//! Plugin"; MariaDB, "Audit Plugin Log Format".

use super::super::{Format, Record, login, sql};
use super::caller;
use crate::json::Val;
use crate::time::{self, Stamp};
use crate::{Draft, Fault};
use countersign_event::{Class, Kind, Outcome, PrincipalKind, Rec, StatusSpace, Verified};
use std::borrow::Cow;

/// The row of JSON in the table.
pub const JSON: Format = Format {
    name: "mysql-audit-json",
    what: "audit log of MySQL Enterprise and Percona Server, JSON",
    looks: looks_json,
    parse: parse_json,
};
/// The row of XML in the table.
pub const XML: Format = Format {
    name: "mysql-audit-xml",
    what: "audit log of MySQL Enterprise and Percona Server, one XML element",
    looks: |record| record.text.starts_with("<AUDIT_RECORD"),
    parse: parse_xml,
};
/// The row of MariaDB's plugin in the table.
pub const SERVER_AUDIT: Format = Format {
    name: "server-audit",
    what: "MariaDB's audit plugin, to a file or to syslog",
    looks: looks_server_audit,
    parse: parse_server_audit,
};

/// One record, whatever its spelling. Empty = absent.
#[derive(Debug, Default)]
struct Audit<'a> {
    stamp: Option<Stamp>,
    name: Cow<'a, str>,
    user: Cow<'a, str>,
    host: Cow<'a, str>,
    ip: Cow<'a, str>,
    database: Cow<'a, str>,
    object: Cow<'a, str>,
    text: Cow<'a, str>,
    command: Cow<'a, str>,
    status: Option<u64>,
    connection: Cow<'a, str>,
    proxy: Cow<'a, str>,
}

impl Audit<'_> {
    fn draft(&self, record: &Record<'_>) -> Result<Draft, Fault> {
        let mut draft = Draft::new();
        if self.name.is_empty() {
            return Err(Fault::new(0, "an audit record has no name"));
        }
        draft.time(self.stamp);
        "mysql".clone_into(&mut draft.event.core.proto);
        self.database.as_ref().clone_into(&mut draft.event.target.ns);
        self.connection.as_ref().clone_into(&mut draft.event.links.sess);
        // `root[root] @ localhost []`: who logged in, and as whom he acts.
        let user = self.user.split_once('[').map_or(self.user.as_ref(), |(user, _)| user).trim();
        match self.name.to_ascii_lowercase().as_str() {
            "connect" | "failed_connect" | "change_user" | "change user" | "changeuser" => {
                let accepted = self.status.map(|status| status == 0 && !self.name.starts_with("FAILED"));
                login::database(&mut draft, record.realm, user, accepted);
            }
            "quit" | "disconnect" => {
                let core = &mut draft.event.core;
                (core.rec, core.kind, core.class) =
                    (Some(Rec::SessionClose), Some(Kind::Sql), Some(Class::Connect));
                "disconnect".clone_into(&mut core.op);
            }
            "audit" | "noaudit" | "startup" | "shutdown" => {
                draft.event.core.kind = Some(Kind::Lifecycle);
                draft.event.core.op = self.name.to_ascii_lowercase();
            }
            _ => self.statement(&mut draft),
        }
        if draft.event.who.who.is_none() && !user.is_empty() {
            let who =
                draft.who(format!("db:{user}@{}", record.realm), PrincipalKind::Service, Verified::Asserted);
            user.clone_into(&mut who.name);
        }
        if !self.proxy.is_empty() {
            draft.rest("proxy_user", &self.proxy);
        }
        caller(&mut draft, if self.ip.is_empty() { &self.host } else { &self.ip });
        self.ended(&mut draft);
        Ok(draft)
    }

    fn statement(&self, draft: &mut Draft) {
        draft.event.core.kind = Some(Kind::Sql);
        if !self.text.is_empty() {
            sql::mysql(draft, &self.text);
        }
        let core = &mut draft.event.core;
        core.class = core.class.or_else(|| class(&self.command));
        if core.op.is_empty() || core.op == "other" {
            let op = if self.command.is_empty() { &self.name } else { &self.command };
            core.op = op.to_ascii_uppercase().replace('_', " ");
        }
        if !self.object.is_empty() {
            self.object.as_ref().clone_into(&mut draft.event.target.res);
            "table".clone_into(&mut draft.event.target.rtype);
        }
        draft.rest("name", &self.name);
    }

    fn ended(&self, draft: &mut Draft) {
        let Some(status) = self.status else { return };
        let core = &mut draft.event.core;
        core.status = Some((StatusSpace::Mysql, status.to_string()));
        if core.rec == Some(Rec::SessionClose) {
            return;
        }
        // MySQL 8.4 Error Reference.
        core.outcome = Some(match status {
            0 => Outcome::Success,
            1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1698 | 3118 | 3955 => Outcome::Denied,
            1205 | 3024 => Outcome::Timeout,
            1317 => Outcome::Cancelled,
            1021 | 1037 | 1040 | 1041 | 1053 | 1213 => Outcome::ServerError,
            _ if core.kind == Some(Kind::Auth) => Outcome::Denied,
            _ => Outcome::CallerError,
        });
    }
}

/// Class of MySQL's name for a statement (`Com_…`).
fn class(command: &str) -> Option<Class> {
    let command = command.to_ascii_lowercase();
    Some(match command.as_str() {
        "select" | "read" => Class::Read,
        "insert" | "insert_select" | "load" => Class::Create,
        "update" | "update_multi" | "replace" | "replace_select" | "write" => Class::Modify,
        "delete" | "delete_multi" | "truncate" => Class::Delete,
        "call_procedure" | "do" => Class::Execute,
        "begin" | "commit" | "rollback" | "change_db" | "set_option" => Class::Meta,
        _ if command.starts_with("show") => Class::Read,
        "grant" | "revoke" | "create_user" | "drop_user" | "alter_user" | "kill" | "flush" | "shutdown" => {
            Class::Admin
        }
        _ if ["create", "drop", "alter", "rename"].iter().any(|verb| command.starts_with(verb)) => {
            Class::Schema
        }
        _ => return None,
    })
}

/// `2024-03-13T12:08:33 UTC`, `2024-03-13 12:08:33`, `20240313 12:08:33`; without a zone, UTC.
fn stamp(text: &str) -> Option<Stamp> {
    time::rfc3339(text).or_else(|| {
        let (day, clock) = text.split_once(' ')?;
        let digits = day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| time::parts(&day[..4], day[4..6].parse().ok()?, &day[6..], clock))?
    })
}

fn looks_json(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|root| {
        let percona = root.get("audit_record").is_some();
        let enterprise = root.get("class").is_some() && root.get("event").is_some();
        percona || (enterprise && (root.get("account").is_some() || root.get("server_id").is_some()))
    })
}

fn parse_json(record: &Record<'_>) -> Result<Draft, Fault> {
    let root = record.object()?;
    let of = |value: Val<'_, '_>, path: &str| {
        value.at(path).and_then(|v| v.word()).unwrap_or_default().into_owned()
    };
    if let Some(inner) = root.get("audit_record") {
        let get = |name: &str| Cow::Owned(of(inner, name));
        let audit = Audit {
            stamp: stamp(&of(inner, "timestamp")),
            name: get("name"),
            user: get("user"),
            host: get("host"),
            ip: get("ip"),
            database: get("db"),
            text: get("sqltext"),
            command: get("command_class"),
            status: inner.get("status").and_then(|status| status.uint()),
            connection: get("connection_id"),
            proxy: get("proxy_user"),
            object: Cow::Borrowed(""),
        };
        let mut draft = audit.draft(record)?;
        draft.source_id = of(inner, "record");
        return Ok(draft);
    }
    let get = |path: &str| Cow::Owned(of(root, path));
    let first = |paths: &[&str]| {
        let found = paths.iter().map(|path| of(root, path)).find(|text| !text.is_empty());
        Cow::Owned(found.unwrap_or_default())
    };
    let kind = of(root, "class");
    let event = of(root, "event");
    // A `general` record is named by its command, all others by their event.
    let name = if kind == "general" { of(root, "general_data/command") } else { event.clone() };
    let status = root.at("general_data/status").or_else(|| root.at("connection_data/status"));
    let audit = Audit {
        stamp: stamp(&of(root, "timestamp")),
        name: Cow::Owned(if name.is_empty() { event } else { name }),
        user: first(&["login/user", "account/user"]),
        host: get("account/host"),
        ip: get("login/ip"),
        database: first(&["connection_data/db", "table_access_data/db"]),
        object: get("table_access_data/table"),
        text: first(&["general_data/query", "table_access_data/query"]),
        command: first(&["general_data/sql_command", "table_access_data/sql_command"]),
        status: status.and_then(|status| status.uint()),
        connection: get("connection_id"),
        proxy: get("login/proxy"),
    };
    let mut draft = audit.draft(record)?;
    if !kind.is_empty() {
        draft.rest("class", &kind);
    }
    Ok(draft)
}

/// The value of `name` in the one element that `text` is: an attribute (old style) or an element (new style).
fn xml<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let inner = login::between(text, &format!("<{name}>"), &format!("</{name}>")).or_else(|| {
        let before = format!("{name}=\"");
        let at = text
            .match_indices(&before)
            .map(|(at, _)| at)
            .find(|at| text.as_bytes().get(at.wrapping_sub(1)).is_some_and(u8::is_ascii_whitespace))?;
        text.get(at + before.len()..)?.split_once('"').map(|(value, _)| value)
    })?;
    if !inner.contains('&') {
        return Some(Cow::Borrowed(inner));
    }
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#10;", "\n"),
        ("&#13;", "\r"),
        ("&#9;", "\t"),
        ("&amp;", "&"),
    ];
    Some(Cow::Owned(plain.iter().fold(inner.to_owned(), |text, (from, to)| text.replace(from, to))))
}

fn parse_xml(record: &Record<'_>) -> Result<Draft, Fault> {
    let get = |name: &str| xml(record.text, name).unwrap_or_default();
    let audit = Audit {
        stamp: stamp(&get("TIMESTAMP")),
        name: get("NAME"),
        user: get("USER"),
        host: get("HOST"),
        ip: get("IP"),
        database: get("DB"),
        object: get("TABLE"),
        text: get("SQLTEXT"),
        command: get("COMMAND_CLASS"),
        status: xml(record.text, "STATUS")
            .or_else(|| xml(record.text, "STATUS_CODE"))
            .and_then(|s| s.parse().ok()),
        connection: get("CONNECTION_ID"),
        proxy: get("PROXY_USER"),
    };
    let mut draft = audit.draft(record)?;
    let id = [get("RECORD_ID"), get("RECORD")].into_iter().find(|id| !id.is_empty());
    draft.source_id = id.unwrap_or_default().into_owned();
    for name in ["OS_USER", "OS_LOGIN", "PRIV_USER", "SERVER_ID", "CONNECTION_TYPE", "MYSQL_VERSION"] {
        if !get(name).is_empty() {
            draft.rest(&name.to_ascii_lowercase(), &get(name));
        }
    }
    Ok(draft)
}

/// Operations of MariaDB's plugin.
const OPERATIONS: &[&str] = &[
    "CONNECT",
    "FAILED_CONNECT",
    "DISCONNECT",
    "CHANGEUSER",
    "QUERY",
    "READ",
    "WRITE",
    "CREATE",
    "ALTER",
    "RENAME",
    "DROP",
];

fn looks_server_audit(record: &Record<'_>) -> bool {
    let mut fields = record.text.split(',');
    fields.nth(6).is_some_and(|operation| OPERATIONS.contains(&operation))
        || (!record.app.is_empty()
            && record.text.split(',').nth(5).is_some_and(|op| OPERATIONS.contains(&op)))
}

/// `TIME,SERVER,USER,HOST,CONNECTION,QUERY,OPERATION,DATABASE,OBJECT,RETCODE`; to syslog without the time.
fn parse_server_audit(record: &Record<'_>) -> Result<Draft, Fault> {
    let timed = record.text.split(',').nth(6).is_some_and(|op| OPERATIONS.contains(&op));
    let (when, rest) = match timed {
        true => record.text.split_once(',').unwrap_or_default(),
        false => ("", record.text),
    };
    let mut fields = rest.splitn(8, ',');
    let mut next = || fields.next().ok_or(Fault::new(0, "an audit record has not its fields"));
    let (server, user, host, connection) = (next()?, next()?, next()?, next()?);
    let (query, operation, database, rest) = (next()?, next()?, next()?, next()?);
    let (object, status) =
        rest.rsplit_once(',').ok_or(Fault::new(0, "an audit record has no return code"))?;
    let is_text = operation == "QUERY";
    let text = object.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(object);
    let audit = Audit {
        stamp: stamp(when),
        name: Cow::Borrowed(operation),
        user: Cow::Borrowed(user),
        host: Cow::Borrowed(host),
        database: Cow::Borrowed(database),
        object: Cow::Borrowed(if is_text { "" } else { object }),
        text: if is_text { Cow::Owned(text.replace("\\'", "'")) } else { Cow::Borrowed("") },
        command: Cow::Borrowed(if is_text { "" } else { operation }),
        status: status.trim().parse().ok(),
        connection: Cow::Borrowed(connection),
        ..Audit::default()
    };
    let mut draft = audit.draft(record)?;
    if when.is_empty() && !record.app.is_empty() {
        // The time is around it.
        draft.partial = None;
    }
    draft.rest("serverhost", server);
    draft.rest("queryid", query);
    Ok(draft)
}

#[cfg(test)]
mod tests;
