//! Microsoft SQL Server's ERRORLOG: `TIME SOURCE TEXT`; logins that failed and succeeded. Source: SQL Server
//! documentation, MSSQLSERVER_18456 and MSSQLSERVER_18453.
//!
//! Times have no zone: the server's own, read as UTC. Other lines are text of the server.

use super::{Format, Record, login};
use crate::{Draft, Fault, time};
use countersign_event::{Kind, Rec, Transport};

/// The row of the table.
pub const MSSQL: Format =
    Format { name: "mssql", what: "SQL Server's ERRORLOG: logins; other lines as text", looks, parse };

/// Length of `2022-12-20 12:36:56.29`.
const TIME: usize = 22;

fn looks(record: &Record<'_>) -> bool {
    let source = record.text.get(TIME..).and_then(|rest| rest.strip_prefix(' ')).unwrap_or_default();
    let known = ["Logon ", "Server ", "Backup ", "spid"].iter().any(|name| source.starts_with(name));
    known && record.text.as_bytes().get(19) == Some(&b'.')
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let (when, rest) = record.text.split_at_checked(TIME).ok_or(Fault::new(0, "too short"))?;
    let stamp = time::rfc3339(when).ok_or(Fault::new(0, "not a time"))?;
    let (source, text) = rest.trim_start().split_once(' ').ok_or(Fault::new(TIME, "no source"))?;
    let text = text.trim_start();
    let mut draft = Draft::new();
    draft.time(Some(stamp));
    draft.rest("source", source);
    let failed = login::between(text, "Login failed for user '", "'.");
    let accepted = login::between(text, "Login succeeded for user '", "'.");
    match (failed, accepted) {
        (Some(user), _) | (None, Some(user)) if source == "Logon" => {
            login::database(&mut draft, record.realm, user, Some(failed.is_none()));
            ended(&mut draft, text, failed.is_some());
        }
        _ => {
            draft.event.core.rec = Some(Rec::Raw);
            draft.rest("message", text);
        }
    }
    Ok(draft)
}

/// `… '. REASON [CLIENT: ADDRESS]`, from the right: a user's name may hold anything.
fn ended(draft: &mut Draft, text: &str, failed: bool) {
    draft.event.core.kind = Some(Kind::Auth);
    "mssql".clone_into(&mut draft.event.core.proto);
    let (before, client) = text.rsplit_once("[CLIENT: ").unwrap_or((text, ""));
    let client = client.trim_end().trim_end_matches(']');
    if draft.src(client) {
        draft.event.peer.transport = Some(Transport::Tcp);
    } else if !client.is_empty() {
        draft.rest("client", client);
    }
    let reason = before.rsplit_once("'.").map_or("", |(_, reason)| reason.trim());
    if failed {
        reason.strip_prefix("Reason: ").unwrap_or(reason).clone_into(&mut draft.event.content.err);
    } else if !reason.is_empty() {
        draft.rest("how", reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::{Outcome, Verified};

    fn draft(text: &str) -> Draft {
        parse(&Record { realm: "srv", ..Record::new(text.as_bytes(), 0) }).unwrap()
    }

    #[test]
    fn logins_end_as_the_server_says() {
        let event = draft("2022-12-20 12:36:56.29 Logon       Login failed for user 'a'. Reason: Could not find a login matching the name provided. [CLIENT: 192.0.2.1]").event;
        assert_eq!(
            (event.core.outcome, event.core.t_event),
            (Some(Outcome::Denied), Some(1_671_539_816_290_000_000))
        );
        assert_eq!(event.content.err, "Could not find a login matching the name provided.");
        let event = draft("2022-12-20 12:36:56.29 Logon       Login succeeded for user 'a'. Connection made using SQL Server authentication. [CLIENT: <local machine>]").event;
        let who = event.who.who.as_ref().unwrap();
        assert_eq!((who.id.as_str(), who.verified), ("db:a@srv", Verified::Asserted));
        assert_eq!((event.core.outcome, &event.peer.src), (Some(Outcome::Success), &None));
    }

    #[test]
    fn other_lines_are_text() {
        let event = draft("2022-12-20 12:36:56.29 spid51      Starting up database 'x'.").event;
        assert_eq!((event.core.rec, event.core.kind, &event.who.who), (Some(Rec::Raw), None, &None));
    }
}
