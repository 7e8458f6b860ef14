//! vsftpd's own log (logging.c): `TIME [pid N] [USER] [OK|FAIL] ACTION: Client "ADDRESS"[, "TEXT"][, N bytes…]`.
//!
//! The user stands there before the login as well, so it is asserted only in lines of what a user may do after it.

use super::{Format, Record, login};
use crate::text::Cursor;
use crate::{Draft, Fault, time};
use countersign_event::{Class, Kind, Outcome, Transport, Verified};

/// The row of the table.
pub const VSFTPD: Format =
    Format { name: "vsftpd", what: "vsftpd's log: logins, transfers, commands and answers", looks, parse };

/// Words of the log, with our class.
const ACTIONS: &[(&str, Class)] = &[
    ("UPLOAD", Class::Create),
    ("DOWNLOAD", Class::Read),
    ("MKDIR", Class::Create),
    ("RMDIR", Class::Delete),
    ("DELETE", Class::Delete),
    ("RENAME", Class::Modify),
    ("CHMOD", Class::Modify),
];

fn looks(record: &Record<'_>) -> bool {
    record.by("vsftpd")
        && record.text.contains(": Client \"")
        && (record.text.contains(" [pid ") || record.text.starts_with('[') || !record.app.is_empty())
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut line = Cursor::new(record.text);
    let mut draft = Draft::new();
    if record.text.contains(" [pid ") {
        draft.time(time::ctime(line.until(" [pid ")?));
        let pid = line.until("]")?;
        draft.rest("pid", pid);
        line.blanks();
    }
    let user = if line.rest().starts_with('[') { line.inside("[", "]")? } else { "" };
    let action = line.until(": Client \"")?;
    let client = line.until("\"")?;
    if !draft.src(client) {
        return Err(line.fault("an address cannot be read"));
    }
    draft.event.peer.transport = Some(Transport::Tcp);
    "ftp".clone_into(&mut draft.event.core.proto);
    let text = if line.skip(", \"") { until_last_quote(&mut line) } else { "" };
    meaning(&mut draft, record, user, action, text);
    size(&mut draft, line.rest());
    Ok(draft)
}

/// A name may hold a quotation mark: it ends at the last one.
fn until_last_quote<'a>(line: &mut Cursor<'a>) -> &'a str {
    let rest = line.rest();
    let end = rest.rfind('"').unwrap_or(rest.len());
    let text = &rest[..end];
    // Just looked for, so it is there.
    let _ = line.literal(text);
    line.skip("\"");
    text
}

fn meaning(draft: &mut Draft, record: &Record<'_>, user: &str, action: &str, text: &str) {
    let (state, verb) = match action.split_once(' ') {
        Some(("OK", verb)) => (Some(true), verb),
        Some(("FAIL", verb)) => (Some(false), verb),
        _ => (None, action),
    };
    let class = ACTIONS.iter().find(|(name, _)| *name == verb).map(|(_, class)| *class);
    match verb {
        "LOGIN" => {
            login::user(draft, record.realm, user, state);
            return;
        }
        "CONNECT" => {
            let core = &mut draft.event.core;
            (core.kind, core.class) = (Some(Kind::Auth), Some(Class::Connect));
            "connect".clone_into(&mut core.op);
        }
        "FTP response" => answer(draft, record, user, text),
        "FTP command" => {
            draft.event.core.kind = Some(Kind::File);
            // What is no verb is the client's text, which does not belong there.
            let verb = text.split(' ').next().unwrap_or_default();
            let is_verb = (3..=4).contains(&verb.len()) && verb.bytes().all(|b| b.is_ascii_alphabetic());
            let op = if is_verb { verb.to_ascii_uppercase() } else { "command".to_owned() };
            draft.event.core.op = op;
            draft.rest("command", text);
        }
        _ => {
            let core = &mut draft.event.core;
            (core.kind, core.class) = (Some(Kind::File), class);
            verb.clone_into(&mut core.op);
            core.outcome = state.map(|done| if done { Outcome::Success } else { Outcome::CallerError });
            text.clone_into(&mut draft.event.target.raw);
            text.clone_into(&mut draft.event.target.res);
        }
    }
    if !user.is_empty() && draft.event.who.who.is_none() {
        let level = if class.is_some() { Verified::Asserted } else { Verified::Claimed };
        draft.user(record.realm, user, None, level);
    }
}

/// A reply code (RFC 959 section 4.2). 530 is the answer to a login that failed.
fn answer(draft: &mut Draft, record: &Record<'_>, user: &str, text: &str) {
    let code = text.get(..3).filter(|code| code.bytes().all(|b| b.is_ascii_digit()));
    let core = &mut draft.event.core;
    core.kind = Some(Kind::File);
    "response".clone_into(&mut core.op);
    match code.and_then(|code| code.bytes().next()) {
        Some(b'5') if code == Some("530") => login::user(draft, record.realm, user, Some(false)),
        Some(b'5') => core.outcome = Some(Outcome::CallerError),
        Some(b'4') => core.outcome = Some(Outcome::ServerError),
        Some(b'1'..=b'3') => core.outcome = Some(Outcome::Success),
        _ => {}
    }
    draft.rest("response", text);
}

fn size(draft: &mut Draft, rest: &str) {
    let Some((number, more)) = rest.trim_start_matches([',', ' ']).split_once(" bytes") else { return };
    let bytes = number.parse().ok();
    match draft.event.core.op.as_str() {
        "UPLOAD" => draft.sizes(bytes, None),
        _ => draft.sizes(None, bytes),
    }
    let rate = more.trim_start_matches([',', ' ']);
    if !rate.is_empty() {
        draft.rest("rate", rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(text: &str) -> Draft {
        parse(&Record { realm: "m", ..Record::new(text.as_bytes(), 0) }).unwrap()
    }

    #[test]
    fn transfers_name_file_size_and_user() {
        let line = "Mon Apr 12 15:19:22 2021 [pid 3] [bob] OK UPLOAD: Client \"::ffff:192.0.2.1\", \"/a \"b\".txt\", 120 bytes, 1.2Kbyte/sec";
        let draft = draft(line);
        let event = &draft.event;
        assert_eq!(
            (event.core.op.as_str(), event.core.class, event.core.outcome),
            ("UPLOAD", Some(Class::Create), Some(Outcome::Success))
        );
        assert_eq!(event.target.raw, "/a \"b\".txt");
        assert_eq!(event.body.req.as_ref().unwrap().size, Some(120));
        assert_eq!(event.core.t_event, Some(1_618_240_762_000_000_000));
        let who = event.who.who.as_ref().unwrap();
        assert_eq!((who.id.as_str(), who.verified), ("user:m/bob", Verified::Asserted));
    }

    #[test]
    fn a_login_that_failed_is_claimed_and_denied() {
        for line in [
            "[bob] FAIL LOGIN: Client \"192.0.2.1\"",
            "[bob] FTP response: Client \"192.0.2.1\", \"530 Login incorrect.\"",
        ] {
            let event = draft(line).event;
            assert_eq!((event.core.kind, event.core.outcome), (Some(Kind::Auth), Some(Outcome::Denied)));
            assert_eq!(event.who.who.as_ref().unwrap().verified, Verified::Claimed);
        }
    }

    #[test]
    fn a_user_before_the_login_is_claimed() {
        let event = draft("[bob] FTP command: Client \"192.0.2.1\", \"SYST\"").event;
        assert_eq!(
            (event.core.op.as_str(), event.who.who.as_ref().unwrap().verified),
            ("SYST", Verified::Claimed)
        );
    }
}
