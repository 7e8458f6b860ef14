//! Text logs: `log_line_prefix` compiled to a plan, then `SEVERITY:  MESSAGE`.
//!
//! Lines of a message behind its first begin with a tab; they are joined before ([`crate::frame::join`]). Where the
//! prefix is not configured the common ones are tried, and the one that leads to a severity is it.

use super::super::Record;
use super::entry::Entry;
use crate::plan::{Builder, Escape, FormatError, Plan, Span};
use crate::{Draft, Fault};
use std::borrow::Cow;
use std::sync::LazyLock;

/// What a field of the prefix is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Date,
    Clock,
    Zone,
    Epoch,
    Start,
    User,
    Database,
    Application,
    Remote,
    Pid,
    Tag,
    State,
    Session,
    Line,
    Vxid,
    Xid,
    Backend,
    Leader,
    QueryId,
    Skip,
    Severity,
    Message,
}

/// Escapes of `log_line_prefix` that are one field.
const ESCAPES: &[(char, &str, Role)] = &[
    ('a', "application_name", Role::Application),
    ('u', "user", Role::User),
    ('d', "database", Role::Database),
    ('r', "remote", Role::Remote),
    ('h', "remote_host", Role::Remote),
    ('L', "local_host", Role::Skip),
    ('b', "backend_type", Role::Backend),
    ('p', "pid", Role::Pid),
    ('P', "leader_pid", Role::Leader),
    ('n', "epoch", Role::Epoch),
    ('i', "command_tag", Role::Tag),
    ('e', "sqlstate", Role::State),
    ('c', "session_id", Role::Session),
    ('l', "line", Role::Line),
    ('v', "vxid", Role::Vxid),
    ('x', "xid", Role::Xid),
    ('Q', "query_id", Role::QueryId),
];

/// Severities, as they stand in a log (elog.c).
const SEVERITIES: &[&str] = &[
    "DEBUG",
    "LOG",
    "INFO",
    "NOTICE",
    "WARNING",
    "ERROR",
    "FATAL",
    "PANIC",
    "DETAIL",
    "HINT",
    "QUERY",
    "CONTEXT",
    "LOCATION",
    "BACKTRACE",
    "STATEMENT",
];

/// Prefixes in use, tried in this order where none is configured: one whose fields could swallow another's behind it.
const COMMON: &[&str] = &[
    "%m [%p] ",
    "%m [%p] %h %u@%d ",
    "%m [%p] %q%u@%d ",
    "%m [%p] %q%u@%d/%a ",
    "%m [%p] %q[user=%u,db=%d,app=%a] ",
    "%m [%p] %q[user=%u,db=%d,app=%a,client=%h] ",
    "%m [%p]: ",
    "%m %u@%d ",
    "%t ",
    "%t:%r:%u@%d:[%p]:",
    "%t [%p]: ",
    "%t [%p]: [%l-1] ",
    "%t [%p-%l] %q%u@%d ",
    "%t [%p]: [%l-1] user=%u,db=%d ",
    "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: db=%d,user=%u,app=%a,client=%h ",
    "%m [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%m [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "< %m > ",
];

/// Prefixes where an envelope has the time and the process.
const ENVELOPED: &[&str] = &["", "%q%u@%d ", "user=%u,db=%d,app=%a,client=%h "];

static KNOWN: LazyLock<[Vec<Prefix>; 2]> = LazyLock::new(|| {
    [COMMON, ENVELOPED].map(|list| list.iter().filter_map(|prefix| compile(prefix).ok()).collect())
});

/// A `log_line_prefix`, ready to read lines.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// Up to `%q`, which sessionless processes stop at; then the whole.
    plans: Vec<Plan<Role>>,
}

/// Compiles a value of `log_line_prefix`.
///
/// # Errors
/// The place and the reason: an escape that there is not, two fields with nothing between, a field at the end.
pub fn compile(prefix: &str) -> Result<Prefix, FormatError> {
    let mut plans = Vec::new();
    if let Some(stop) = prefix.find("%q") {
        plans.push(plan(prefix, stop)?);
    }
    plans.push(plan(prefix, prefix.len())?);
    Ok(Prefix { plans })
}

fn plan(prefix: &str, end: usize) -> Result<Plan<Role>, FormatError> {
    let mut builder = Builder::new(prefix, Escape::None)?;
    let mut at = 0;
    while let Some(rest) = prefix.get(at..end).filter(|rest| !rest.is_empty()) {
        let Some(escape) = rest.strip_prefix('%') else {
            let length = rest.find('%').unwrap_or(rest.len());
            builder.literal(rest.get(..length).unwrap_or(rest));
            at += length;
            continue;
        };
        // `%-10u` pads; the padding is cut off the value again.
        let letters = escape.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit());
        let letter =
            letters.chars().next().ok_or_else(|| FormatError::new(at, "`%` without an escape behind it"))?;
        field(&mut builder, at, letter)?;
        at += rest.len() - letters.len() + letter.len_utf8();
    }
    builder.field(end, "severity", Role::Severity, Span::Plain)?;
    builder.literal(":  ");
    builder.field(end, "message", Role::Message, Span::Plain)?;
    builder.done()
}

fn field(builder: &mut Builder<Role>, at: usize, letter: char) -> Result<(), FormatError> {
    let time = |builder: &mut Builder<Role>, roles: [Role; 3]| {
        for (number, role) in roles.into_iter().enumerate() {
            if number > 0 {
                builder.literal(" ");
            }
            builder.field(at, "time", role, Span::Plain)?;
        }
        Ok(())
    };
    match letter {
        '%' => builder.literal("%"),
        'q' => {}
        't' | 'm' => return time(builder, [Role::Date, Role::Clock, Role::Zone]),
        's' => return time(builder, [Role::Start; 3]),
        letter => match ESCAPES.iter().find(|(known, _, _)| *known == letter) {
            Some((_, name, role)) => return builder.field(at, *name, *role, Span::Plain),
            None => return Err(FormatError::new(at, format!("unknown escape `%{letter}`"))),
        },
    }
    Ok(())
}

impl Prefix {
    /// Reads one line with the lines that belong to it.
    ///
    /// # Errors
    /// It has not this prefix, or no severity behind it.
    pub fn parse(&self, record: &Record<'_>) -> Result<Draft, Fault> {
        let text = line(record);
        let mut fault = Fault::new(0, "no severity behind the prefix");
        for plan in &self.plans {
            match entry(plan, text) {
                Ok(entry) => return entry.draft(record),
                Err(found) => fault = found,
            }
        }
        Err(fault)
    }
}

/// Over syslog a number of the message and of its part stands before it: `[12-1] `.
fn line<'a>(record: &Record<'a>) -> &'a str {
    let numbered = record.text.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match numbered {
        Some((number, rest))
            if !record.app.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'-') =>
        {
            rest
        }
        _ => record.text,
    }
}

fn entry<'a>(plan: &Plan<Role>, text: &'a str) -> Result<Entry<'a>, Fault> {
    let mut entry = Entry::default();
    let (mut time, mut start) = (["", "", ""], String::new());
    plan.read(text, &mut |field, value| {
        let value = value.trim();
        let slot = match field.role {
            Role::Date => return time[0] = value,
            Role::Clock => return time[1] = value,
            Role::Zone => return time[2] = value,
            Role::Start => {
                start.push_str(value);
                return start.push(' ');
            }
            Role::Skip => return,
            Role::Epoch => &mut entry.time,
            Role::User => &mut entry.user,
            Role::Database => &mut entry.database,
            Role::Application => &mut entry.application,
            // `%r` has the port, and wins over `%h`.
            Role::Remote if entry.remote.contains('(') => return,
            Role::Remote => &mut entry.remote,
            Role::Pid => &mut entry.pid,
            Role::Tag => &mut entry.tag,
            Role::State => &mut entry.state,
            Role::Session => &mut entry.session,
            Role::Line => &mut entry.line,
            Role::Vxid => &mut entry.vxid,
            Role::Xid => &mut entry.xid,
            Role::Backend => &mut entry.backend,
            Role::Leader => &mut entry.leader,
            Role::QueryId => &mut entry.query_id,
            Role::Severity => &mut entry.severity,
            Role::Message => &mut entry.message,
        };
        *slot = Cow::Borrowed(value);
    })?;
    if !SEVERITIES.contains(&entry.severity.as_ref()) {
        return Err(Fault::new(0, "no severity behind the prefix"));
    }
    if !time[0].is_empty() {
        entry.time = Cow::Owned(time.join(" "));
    }
    entry.session_start = Cow::Owned(start.trim_end().to_owned());
    Ok(entry)
}

pub(super) fn looks(record: &Record<'_>) -> bool {
    record.by("postgres")
        && record.text.find(":  ").is_some_and(|at| {
            let before = record.text.get(..at).unwrap_or_default();
            SEVERITIES.iter().any(|severity| before.ends_with(severity))
        })
}

/// With the first of the common prefixes that fits.
pub(super) fn parse_common(record: &Record<'_>) -> Result<Draft, Fault> {
    let [common, enveloped] = &*KNOWN;
    let enveloped = enveloped.iter().filter(|_| !record.app.is_empty());
    let mut tried = common.iter().chain(enveloped).map(|prefix| prefix.parse(record));
    tried.find_map(Result::ok).ok_or(Fault::new(0, "none of the common prefixes"))
}
