//! Messages that say what happened: statements, logins, connections.

use super::super::{Record, login, sql};
use super::entry::{refused, withheld};
use crate::Draft;
use crate::text::given;
use countersign_event::cbor::Value;
use countersign_event::fields::detail;
use countersign_event::{Auth, Class, Kind, Outcome, Rec, Tls, Transport};

/// Nanoseconds in a millisecond.
const MS: f64 = 1e6;

/// Reads `message`; `false` = it is none of those known here.
pub(super) fn read(draft: &mut Draft, record: &Record<'_>, message: &str) -> bool {
    timed(draft, message)
        || statement(draft, message)
        || connection(draft, record, message)
        || refusal(draft, record, message)
}

/// `duration: 0.123 ms[  STATEMENT]` (`log_min_duration_statement`, `log_duration`): the statement has ended.
fn timed(draft: &mut Draft, message: &str) -> bool {
    let Some((length, rest)) = message.strip_prefix("duration: ").and_then(|rest| rest.split_once(" ms"))
    else {
        return false;
    };
    let Some(ms) = length.parse::<f64>().ok().filter(|ms| (0.0..1e12).contains(ms)) else { return false };
    draft.event.core.dur = Some((ms * MS) as u64);
    draft.event.core.kind = Some(Kind::Sql);
    let rest = rest.trim_start();
    let known = rest.is_empty() || statement(draft, rest);
    if rest.starts_with("plan:") {
        // auto_explain: literals stand all over it.
        draft.event.content.redacted.push(("sql_plan".to_owned(), 1));
    } else if !known {
        return false;
    }
    draft.event.core.outcome = Some(Outcome::Success);
    true
}

/// `statement: TEXT`, `execute NAME: TEXT`, `parse NAME: TEXT`, `bind NAME: TEXT`.
fn statement(draft: &mut Draft, message: &str) -> bool {
    let Some((step, text)) = message.split_once(": ") else { return false };
    let (verb, name) = step.split_once(' ').unwrap_or((step, ""));
    match (verb, name) {
        ("statement", "") => {}
        ("execute fetch from", name) | ("execute" | "parse" | "bind", name) if !name.is_empty() => {
            let name = name.strip_prefix("fetch from ").unwrap_or(name);
            if name != "<unnamed>" {
                draft.event.content.detail.insert(detail::sql::PREPARED, Value::Text(name.to_owned()));
            }
            if verb != "execute" {
                draft.event.content.detail.insert(detail::sql::STEP, Value::Text(verb.to_owned()));
            }
        }
        _ => return false,
    }
    sql::statement(draft, text);
    if matches!(verb, "parse" | "bind") {
        // Only preparing: nothing was read or changed.
        draft.event.core.class = Some(Class::Meta);
        draft.event.core.op = verb.to_ascii_uppercase();
    }
    true
}

fn connection(draft: &mut Draft, record: &Record<'_>, message: &str) -> bool {
    let (rec, op) = if let Some(rest) = message.strip_prefix("connection received: ") {
        address(draft, rest);
        (Rec::SessionOpen, "connect")
    } else if let Some(rest) = message.strip_prefix("connection authenticated: ") {
        authenticated(draft, record, rest);
        return true;
    } else if let Some(rest) = message.strip_prefix("connection authorized: ") {
        authorized(draft, record, rest);
        return true;
    } else if let Some(rest) = message.strip_prefix("replication connection authorized: ") {
        authorized(draft, record, rest);
        draft.rest("replication", "true");
        return true;
    } else if let Some(rest) = message.strip_prefix("disconnection: session time: ") {
        let (length, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        draft.event.core.dur = clock(length);
        if let Some(user) = word(rest, "user=") {
            login::database(draft, record.realm, user, Some(true));
        }
        address(draft, rest);
        (Rec::SessionClose, "disconnect")
    } else {
        return false;
    };
    let core = &mut draft.event.core;
    (core.rec, core.kind, core.class) = (Some(rec), Some(Kind::Sql), Some(Class::Connect));
    core.outcome = None;
    op.clone_into(&mut core.op);
    true
}

/// The value of `name` (which ends with `=`), up to the next blank.
fn word<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = if text.starts_with(name) { 0 } else { text.find(&format!(" {name}"))? + 1 };
    text.get(at + name.len()..)?.split(' ').next()
}

/// `host=192.0.2.1 port=5`, from the right: names before it may hold anything.
fn address(draft: &mut Draft, text: &str) {
    let Some((_, rest)) = text.rsplit_once("host=") else { return };
    let host = rest.split(' ').next().unwrap_or_default();
    if host == "[local]" {
        draft.event.peer.transport = Some(Transport::Unix);
        return;
    }
    if given(host).is_some() && draft.event.peer.src.is_none() && !draft.src(host) {
        host.clone_into(&mut draft.event.peer.src.get_or_insert_default().host);
    }
    if let (Some(src), Some(port)) = (&mut draft.event.peer.src, word(rest, "port=")) {
        src.port = port.parse().ok();
    }
}

/// `identity="NAME" method=scram-sha-256 (FILE:LINE)`: the credential was good; whether it may is said next.
fn authenticated(draft: &mut Draft, record: &Record<'_>, rest: &str) {
    let (rest, place) = rest.rsplit_once(" (").unwrap_or((rest, ""));
    let (identity, method) = rest.rsplit_once(" method=").unwrap_or((rest, ""));
    let identity =
        identity.strip_prefix("identity=\"").and_then(|id| id.strip_suffix('"')).unwrap_or_default();
    login::database(draft, record.realm, identity, Some(true));
    if let Some(who) = &mut draft.event.who.who {
        who.auth = match method {
            "scram-sha-256" => Some(Auth::Scram),
            "gss" | "sspi" => Some(Auth::Kerberos),
            "cert" => Some(Auth::Mtls),
            "peer" => Some(Auth::PeerCred),
            "trust" => Some(Auth::None),
            "md5" | "password" | "ldap" | "pam" | "radius" => Some(Auth::DbPassword),
            _ => None,
        };
    }
    draft.event.core.rec = Some(Rec::Progress);
    draft.event.content.detail.insert(detail::auth::FACTOR, Value::Text(method.to_owned()));
    if !place.is_empty() {
        draft.rest("rule", place.trim_end_matches(')'));
    }
}

/// `user=U database=D[ application_name=A][ SSL enabled (protocol=TLSv1.3, cipher=…, bits=256)]`
fn authorized(draft: &mut Draft, record: &Record<'_>, rest: &str) {
    let (names, tls) = rest.rsplit_once(" SSL enabled (").unwrap_or((rest, ""));
    login::database(draft, record.realm, word(names, "user=").unwrap_or_default(), Some(true));
    if let Some(who) = &mut draft.event.who.who {
        // How is in the entry before.
        who.auth = None;
    }
    if let Some(database) = word(names, "database=") {
        database.clone_into(&mut draft.event.target.ns);
    }
    if let Some((_, name)) = names.split_once(" application_name=") {
        draft.rest("application_name", name);
    }
    let version = match login::between(tls, "protocol=", ",") {
        Some("TLSv1.3") => Some(0x0304),
        Some("TLSv1.2") => Some(0x0303),
        Some("TLSv1.1") => Some(0x0302),
        Some("TLSv1") => Some(0x0301),
        _ => None,
    };
    if version.is_some() {
        draft.event.peer.tls = Some(Tls { version, ..Tls::default() });
        if let Some(cipher) = login::between(tls, "cipher=", ",") {
            draft.rest("cipher", cipher);
        }
    }
}

/// `0:01:02.345` to ns.
fn clock(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, ':');
    let hours: u64 = parts.next()?.parse().ok()?;
    let minutes: u64 = parts.next()?.parse().ok()?;
    let seconds = crate::time::seconds(parts.next()?)?;
    hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60_000_000_000)?.checked_add(seconds)
}

/// Logins that were refused: whose they were is what the client said.
fn refusal(draft: &mut Draft, record: &Record<'_>, message: &str) -> bool {
    let quoted = |before: &str| message.split_once(before).map(|(_, rest)| rest);
    if let Some(rest) = quoted(" authentication failed for user \"") {
        refused(draft, record, rest.strip_suffix('"').unwrap_or(rest));
        return true;
    }
    let rejected =
        message.starts_with("no pg_hba.conf entry for ") || message.starts_with("pg_hba.conf rejects ");
    if rejected {
        let user =
            quoted(", user \"").and_then(|rest| rest.rsplit_once("\", database").or(rest.split_once('"')));
        refused(draft, record, user.map_or("", |(user, _)| user));
        if let Some(host) = login::between(message, " host \"", "\"")
            && draft.event.peer.src.is_none()
        {
            draft.src(host);
        }
        return true;
    }
    let role = quoted("role \"").filter(|_| message.starts_with("role \""));
    if let Some(user) = role.and_then(|rest| rest.strip_suffix("\" is not permitted to log in")) {
        refused(draft, record, user);
        return true;
    }
    // Values of parameters as an entry of their own.
    withheld(draft, message) && {
        draft.event.core.rec = Some(Rec::Progress);
        true
    }
}
