//! One entry of the server log, whatever its spelling, and the event that it is.

use super::super::{Record, login};
use super::{audit, message};
use crate::text::given;
use crate::time::{self, Stamp};
use crate::{Draft, Fault};
use countersign_event::cbor::Value;
use countersign_event::fields::detail;
use countersign_event::{
    IdentityFrom, Kind, Outcome, Principal, PrincipalKind, Rec, StatusSpace, TimeBasis, Transport, Verified,
};
use std::borrow::Cow;

/// An entry by the names of csvlog. Empty = absent.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry<'a> {
    pub(super) time: Cow<'a, str>,
    pub(super) user: Cow<'a, str>,
    pub(super) database: Cow<'a, str>,
    pub(super) pid: Cow<'a, str>,
    /// `192.0.2.1:5`, `192.0.2.1(5)`, a name, `[local]`.
    pub(super) remote: Cow<'a, str>,
    pub(super) session: Cow<'a, str>,
    pub(super) line: Cow<'a, str>,
    pub(super) tag: Cow<'a, str>,
    pub(super) session_start: Cow<'a, str>,
    pub(super) vxid: Cow<'a, str>,
    pub(super) xid: Cow<'a, str>,
    pub(super) severity: Cow<'a, str>,
    pub(super) state: Cow<'a, str>,
    pub(super) message: Cow<'a, str>,
    pub(super) detail: Cow<'a, str>,
    pub(super) hint: Cow<'a, str>,
    pub(super) internal: Cow<'a, str>,
    pub(super) internal_at: Cow<'a, str>,
    pub(super) context: Cow<'a, str>,
    pub(super) statement: Cow<'a, str>,
    pub(super) statement_at: Cow<'a, str>,
    pub(super) location: Cow<'a, str>,
    pub(super) application: Cow<'a, str>,
    pub(super) backend: Cow<'a, str>,
    pub(super) leader: Cow<'a, str>,
    pub(super) query_id: Cow<'a, str>,
}

/// Hours east of UTC of the zones that servers are set to (PostgreSQL's `timezonesets/Default`).
const ZONES: &[(&str, &str)] = &[
    ("UTC", "Z"),
    ("GMT", "Z"),
    ("WET", "Z"),
    ("WEST", "+01"),
    ("BST", "+01"),
    ("CET", "+01"),
    ("CEST", "+02"),
    ("EET", "+02"),
    ("EEST", "+03"),
    ("MSK", "+03"),
    ("JST", "+09"),
    ("EST", "-05"),
    ("EDT", "-04"),
    ("CST", "-06"),
    ("CDT", "-05"),
    ("MST", "-07"),
    ("MDT", "-06"),
    ("PST", "-08"),
    ("PDT", "-07"),
];

/// `2024-03-13 12:08:33.123 UTC`; a zone that is not known is left away, and the time is derived.
pub(super) fn stamp(text: &str) -> Option<Stamp> {
    let (when, zone) = text.rsplit_once(' ')?;
    if zone.contains(':') {
        return time::rfc3339(text);
    }
    let known = ZONES.iter().find(|(name, _)| *name == zone).map_or(zone, |(_, offset)| *offset);
    time::rfc3339(&format!("{when}{known}")).or_else(|| {
        let stamp = time::rfc3339(when)?;
        Some(Stamp { basis: TimeBasis::Derived, ..stamp })
    })
}

impl Entry<'_> {
    /// The event of the entry.
    ///
    /// # Errors
    /// It has no severity or no time that can be read.
    pub(super) fn draft(&self, record: &Record<'_>) -> Result<Draft, Fault> {
        let mut draft = Draft::new();
        if self.severity.is_empty() {
            return Err(Fault::new(0, "a log entry has no severity"));
        }
        if !self.time.is_empty() || record.app.is_empty() {
            let milliseconds = self.time.parse().ok().and_then(|ms| time::unix(ms, 1_000_000));
            let milliseconds = milliseconds.or_else(|| time::unix_seconds(&self.time));
            let stamp = stamp(&self.time).or(milliseconds).ok_or(Fault::new(0, "not a time"))?;
            draft.time(Some(stamp));
        }
        "postgresql".clone_into(&mut draft.event.core.proto);
        self.session(&mut draft);
        self.meaning(&mut draft, record);
        self.caller(&mut draft, record);
        self.rest(&mut draft);
        Ok(draft)
    }

    fn session(&self, draft: &mut Draft) {
        let database = given(&self.database).filter(|name| *name != "[unknown]");
        database.unwrap_or_default().clone_into(&mut draft.event.target.ns);
        let session = given(&self.session).unwrap_or(&self.pid);
        session.clone_into(&mut draft.event.links.sess);
        let (host, port) = match self.remote.strip_suffix(')').and_then(|remote| remote.split_once('(')) {
            Some((host, port)) => (host, Some(port)),
            None => (self.remote.as_ref(), None),
        };
        if host == "[local]" {
            draft.event.peer.transport = Some(Transport::Unix);
        } else if given(host).is_some() && host != "[unknown]" {
            draft.event.peer.transport = Some(Transport::Tcp);
            if !draft.src(host) {
                // A name, where `log_hostname` is on; an IPv6 address with its port.
                let (name, behind) = host.rsplit_once(':').unwrap_or((host, ""));
                if !draft.src(name) {
                    name.clone_into(&mut draft.event.peer.src.get_or_insert_default().host);
                }
                let src = draft.event.peer.src.get_or_insert_default();
                src.port = behind.parse().ok();
            }
            let src = draft.event.peer.src.get_or_insert_default();
            src.port = src.port.or_else(|| port?.parse().ok());
        }
    }

    /// What the message and the statement say happened.
    fn meaning(&self, draft: &mut Draft, record: &Record<'_>) {
        let failed = matches!(self.severity.as_ref(), "ERROR" | "FATAL" | "PANIC");
        if let Some(record) = self.message.strip_prefix("AUDIT: ") {
            return audit::read(draft, record);
        }
        if matches!(
            self.severity.as_ref(),
            "DETAIL" | "HINT" | "CONTEXT" | "STATEMENT" | "QUERY" | "LOCATION" | "BACKTRACE"
        ) {
            return self.more(draft);
        }
        if message::read(draft, record, &self.message) {
            if failed {
                self.failed(draft);
            }
            return;
        }
        if !self.statement.is_empty() {
            super::super::sql::statement(draft, &self.statement);
        }
        if failed {
            draft.event.core.kind = Some(Kind::Sql);
            self.failed(draft);
        } else {
            // A text of the server: nothing was asked of it.
            draft.event.core.rec = Some(Rec::Raw);
            draft.rest("message", &self.message);
        }
    }

    /// Lines that belong to one before: text logs write them apart.
    fn more(&self, draft: &mut Draft) {
        draft.event.core.kind = Some(Kind::Sql);
        if self.severity == "STATEMENT" {
            super::super::sql::statement(draft, &self.message);
        } else if !withheld(draft, &self.message) {
            draft.rest(&self.severity.to_ascii_lowercase(), &self.message);
        }
        draft.event.core.rec = Some(Rec::Progress);
    }

    fn failed(&self, draft: &mut Draft) {
        self.message.as_ref().clone_into(&mut draft.event.content.err);
        if self.state.len() == 5 {
            draft.event.core.status = Some((StatusSpace::Sqlstate, self.state.clone().into_owned()));
        }
        let outcome = outcome(&self.state, &self.message);
        draft.event.core.outcome = draft.event.core.outcome.or(outcome);
    }

    /// The session's user, and what the client calls itself.
    fn caller(&self, draft: &mut Draft, record: &Record<'_>) {
        let user = given(&self.user).filter(|user| *user != "[unknown]");
        if let (None, Some(user)) = (&draft.event.who.who, user) {
            let early = matches!(self.tag.as_ref(), "authentication" | "startup" | "initializing")
                || self.state.starts_with("28")
                // Text logs do not say how far a session is; one that ends with its first error may not have begun.
                || (self.severity == "FATAL" && self.state.is_empty());
            let level = if early { Verified::Claimed } else { Verified::Asserted };
            let id = format!("db:{user}@{}", record.realm);
            user.clone_into(&mut draft.who(id, PrincipalKind::Service, level).name);
        }
        if let Some(name) = given(&self.application).filter(|name| *name != "[unknown]") {
            let mut client = Principal::new(format!("user:{}/{name}", record.realm), Verified::Claimed);
            client.kind = Some(PrincipalKind::Service);
            client.from = Some(IdentityFrom::Comment);
            name.clone_into(&mut client.svc);
            draft.event.who.also.push(client);
        }
    }

    fn rest(&self, draft: &mut Draft) {
        let sql = draft.event.core.kind == Some(Kind::Sql);
        if let (true, Ok(pid)) = (sql, self.pid.parse()) {
            draft.event.content.detail.insert(detail::sql::PID, Value::Uint(pid));
        }
        if let (true, Some(xid)) = (sql, given(&self.xid).filter(|xid| *xid != "0")) {
            draft.event.content.detail.insert(detail::sql::TX, Value::Text(xid.to_owned()));
        }
        for (name, value) in [
            ("pid", &self.pid),
            ("session_line_num", &self.line),
            ("command_tag", &self.tag),
            ("session_start_time", &self.session_start),
            ("virtual_transaction_id", &self.vxid),
            ("error_severity", &self.severity),
            ("hint", &self.hint),
            ("internal_query_pos", &self.internal_at),
            ("query_pos", &self.statement_at),
            ("location", &self.location),
            ("backend_type", &self.backend),
            ("leader_pid", &self.leader),
            ("query_id", &self.query_id),
        ] {
            if !value.is_empty() {
                draft.rest(name, value);
            }
        }
        for (name, value) in [("detail", &self.detail), ("context", &self.context)] {
            if !value.is_empty() && !withheld(draft, value) {
                draft.rest(name, value);
            }
        }
        if !self.internal.is_empty() {
            let shown = countersign_wire::sql::normalise(&self.internal, true);
            draft.rest("internal_query", &shown.text);
        }
    }
}

/// Values of parameters are not kept; that they were there is counted.
pub(super) fn withheld(draft: &mut Draft, text: &str) -> bool {
    let values = ["parameters: ", "Parameters: ", "unnamed portal with parameters: "]
        .iter()
        .any(|start| text.starts_with(start))
        || text.contains(" with parameters: ");
    if values {
        draft.event.content.redacted.push(("sql_parameters".to_owned(), 1));
    }
    values
}

/// By SQLSTATE (appendix A); without one, by the messages that can be told in English.
fn outcome(state: &str, message: &str) -> Option<Outcome> {
    let timeout = message.contains("timeout");
    if state.len() != 5 {
        return english(message, timeout);
    }
    Some(match state {
        "57014" if timeout => Outcome::Timeout,
        "57014" => Outcome::Cancelled,
        "55P03" | "25P03" | "57P05" | "25P04" => Outcome::Timeout,
        "42501" | "25006" => Outcome::Denied,
        state => match state.get(..2).unwrap_or_default() {
            "28" => Outcome::Denied,
            "00" | "01" | "02" => Outcome::Success,
            "08" | "40" | "53" | "54" | "55" | "57" | "58" | "F0" | "XX" => Outcome::ServerError,
            _ => Outcome::CallerError,
        },
    })
}

fn english(message: &str, timeout: bool) -> Option<Outcome> {
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if message.starts_with("permission denied") || message.starts_with("must be owner of") {
        return Some(Outcome::Denied);
    }
    if message.starts_with("canceling statement") || message.starts_with("terminating connection") {
        return match (timeout, message.contains("user request")) {
            (true, _) => Some(Outcome::Timeout),
            (_, true) => Some(Outcome::Cancelled),
            _ => None,
        };
    }
    let caller = message.starts_with("syntax error")
        || message.starts_with("duplicate key value")
        || message.starts_with("invalid input syntax")
        || has(&[" violates ", " does not exist", " already exists"]);
    caller.then_some(Outcome::CallerError)
}

/// The end of a login that was refused, for [`message`].
pub(super) fn refused(draft: &mut Draft, record: &Record<'_>, user: &str) {
    login::database(draft, record.realm, user, Some(false));
}
