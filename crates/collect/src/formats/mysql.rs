//! MySQL, MariaDB and Percona Server: error log here, audit logs in [`audit`].
//!
//! Error log: `TIME [THREAD] [LEVEL] [[CODE] [SUBSYSTEM]] TEXT`, in the forms of MySQL 5.1 to 8.4 and MariaDB 5 to
//! 11; logins refused and connections broken off become events, other lines are left to others.

pub mod audit;

use super::{Format, Record, login};
use crate::time::Stamp;
use crate::{Draft, Fault, time};
use countersign_event::{Class, Kind, Outcome, Rec, StatusSpace};

/// The row of the table.
pub const ERROR_LOG: Format = Format {
    name: "mysql-error",
    what: "error log of MySQL and MariaDB: logins refused, connections broken off",
    looks,
    parse,
};

fn looks(record: &Record<'_>) -> bool {
    record.text.contains("Access denied for user '") || record.text.contains("Aborted connection ")
}

/// The time at the beginning in any of the forms, and what is behind.
fn stamp(text: &str) -> Option<(Stamp, &str)> {
    let (first, rest) = text.split_once(' ')?;
    if first.contains('T') {
        return time::rfc3339(first).map(|stamp| (stamp, rest));
    }
    let rest = rest.trim_start();
    let (clock, behind) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let clock = if clock.len() == 7 { format!("0{clock}") } else { clock.to_owned() };
    // `221128`: years before 2000 had no such log.
    let stamp = if first.len() == 6 && first.bytes().all(|b| b.is_ascii_digit()) {
        let month = first[2..4].parse().ok()?;
        time::parts(&format!("20{}", &first[..2]), month, &first[4..], &clock)
    } else {
        time::rfc3339(&format!("{first} {clock}"))
    };
    stamp.map(|stamp| (stamp, behind))
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut draft = Draft::new();
    let mut text = record.text;
    match stamp(text) {
        Some((stamp, behind)) => {
            draft.time(Some(stamp));
            text = behind.trim_start();
        }
        // In an envelope the time may be around it.
        None if record.app.is_empty() => return Err(Fault::new(0, "not a time")),
        None => {}
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 && text[digits..].starts_with(' ') {
        draft.event.links.sess = text[..digits].to_owned();
        text = text[digits..].trim_start();
    }
    for name in ["level", "code", "subsystem"] {
        let Some((inner, behind)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
            break;
        };
        draft.rest(name, inner);
        text = behind.trim_start();
    }
    if let Some(rest) = text.strip_prefix("Access denied for user '") {
        denied(&mut draft, record, rest).ok_or(Fault::new(0, "a login refused that names nobody"))?;
    } else if let Some(rest) = text.strip_prefix("Aborted connection ") {
        aborted(&mut draft, record, rest).ok_or(Fault::new(0, "an aborted connection without its parts"))?;
    } else {
        return Err(Fault::new(0, "neither a login refused nor a connection broken off"));
    }
    "mysql".clone_into(&mut draft.event.core.proto);
    Ok(draft)
}

/// `USER'@'HOST' [to database 'DB' ](using password: YES)`. A user's name may hold anything: from the right.
fn denied(draft: &mut Draft, record: &Record<'_>, rest: &str) -> Option<()> {
    let (rest, password) = rest.rsplit_once(" (using password: ").unwrap_or((rest, ""));
    let (rest, database) = match rest.split_once("' to database '") {
        Some((rest, database)) => (rest, database.trim_end_matches('\'')),
        None => (rest.strip_suffix('\'')?, ""),
    };
    let (user, host) = rest.rsplit_once("'@'")?;
    login::database(draft, record.realm, user, Some(false));
    caller(draft, host);
    database.clone_into(&mut draft.event.target.ns);
    // The server says this text for one error only (ER_ACCESS_DENIED_ERROR; with a database
    // ER_DBACCESS_DENIED_ERROR).
    let code = if database.is_empty() { "1045" } else { "1044" };
    draft.event.core.status = Some((StatusSpace::Mysql, code.to_owned()));
    let password = password.trim_end_matches(')');
    if !password.is_empty() {
        draft.rest("using_password", password);
    }
    Some(())
}

/// `8 to db: 'x' user: 'y' host: 'z' (REASON)`
fn aborted(draft: &mut Draft, record: &Record<'_>, rest: &str) -> Option<()> {
    let (id, rest) = rest.split_once(" to db: '")?;
    let (database, rest) = rest.split_once("' user: '")?;
    let (user, rest) = rest.rsplit_once("' host: '")?;
    let (host, reason) = rest.split_once('\'')?;
    id.clone_into(&mut draft.event.links.sess);
    // The name is there before the password was checked.
    login::database(draft, record.realm, if user == "unauthenticated" { "" } else { user }, None);
    let core = &mut draft.event.core;
    (core.rec, core.kind, core.class) = (Some(Rec::SessionClose), Some(Kind::Sql), Some(Class::Connect));
    core.outcome = reason.contains("timeout").then_some(Outcome::Timeout);
    "disconnect".clone_into(&mut core.op);
    if database != "unconnected" {
        database.clone_into(&mut draft.event.target.ns);
    }
    caller(draft, host);
    reason.trim().trim_start_matches('(').trim_end_matches(')').clone_into(&mut draft.event.content.err);
    Some(())
}

/// An address, or the name that the server found for it.
pub(super) fn caller(draft: &mut Draft, host: &str) {
    if !host.is_empty() && !draft.src(host) {
        host.clone_into(&mut draft.event.peer.src.get_or_insert_default().host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::Verified;

    #[test]
    fn a_login_refused_is_read_in_every_form() {
        for line in [
            "240313  9:08:33 [Warning] Access denied for user 'a'@'192.0.2.1' (using password: YES)",
            "2024-03-13  9:08:33 5 [Warning] Access denied for user 'a'@'192.0.2.1' (using password: NO)",
            "2024-03-13T09:08:33.000000Z 12 [Note] [MY-010926] [Server] Access denied for user 'a'@'192.0.2.1' to database 'shop'",
        ] {
            let draft = parse(&Record { realm: "srv", ..Record::new(line.as_bytes(), 0) }).unwrap();
            let event = draft.event;
            assert_eq!(event.core.t_event, Some(1_710_320_913_000_000_000), "{line}");
            let who = event.who.who.as_ref().unwrap();
            assert_eq!((who.id.as_str(), who.verified), ("db:a@srv", Verified::Claimed), "{line}");
            assert_eq!(event.core.outcome, Some(Outcome::Denied), "{line}");
            assert_eq!(event.peer.src.as_ref().unwrap().ip, "192.0.2.1".parse().ok(), "{line}");
        }
    }

    #[test]
    fn a_connection_broken_off_is_no_login() {
        let line = "2024-03-13 09:08:33 8 [Warning] Aborted connection 8 to db: 'shop' user: 'app' host: 'web1' (Got timeout reading communication packets)";
        let event = parse(&Record::new(line.as_bytes(), 0)).unwrap().event;
        assert_eq!((event.core.rec, event.core.outcome), (Some(Rec::SessionClose), Some(Outcome::Timeout)));
        assert_eq!(
            (event.peer.src.as_ref().unwrap().host.as_str(), event.links.sess.as_str()),
            ("web1", "8")
        );
    }
}
