//! OpenSSH's `sshd`: logins that were accepted, failed, given up or refused (auth.c, packet.c, session.c).
//!
//! The user of a login that was not accepted is what the client typed: it may hold anything, ` from ` included, so
//! the address is looked for from the right. Messages of other kinds are left to the envelope, as text.

use super::{Format, Record, login};
use crate::text::given;
use crate::{Draft, Fault};
use countersign_event::cbor::Value;
use countersign_event::fields::detail;
use countersign_event::{Auth, Class, Kind, Outcome, Rec, Transport};

/// The row of the table.
pub const SSHD: Format =
    Format { name: "sshd", what: "OpenSSH: logins accepted, failed and given up, sessions", looks, parse };

/// Beginnings of the messages that are read.
const BEGINNINGS: &[&str] = &[
    "Accepted ",
    "Failed ",
    "Postponed ",
    "Partial ",
    "Invalid user ",
    "Illegal user ",
    "User ",
    "Connection closed by ",
    "Connection reset by ",
    "Disconnected from ",
    "Disconnecting ",
    "Received disconnect from ",
    "error: maximum authentication attempts exceeded for ",
    "maximum authentication attempts exceeded for ",
    "error: PAM: ",
    "Connection from ",
    "Starting session: ",
];

fn looks(record: &Record<'_>) -> bool {
    record.by("sshd")
        && BEGINNINGS.iter().any(|start| record.text.starts_with(start))
        && (record.text.contains(" port ") || record.text.contains(" from "))
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let fault = Fault::new(0, "not a message about a login");
    let text = record.text.strip_suffix(" [preauth]").unwrap_or(record.text);
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let mut draft = Draft::new();
    let core = &mut draft.event.core;
    "ssh/2".clone_into(&mut core.proto);
    draft.event.peer.transport = Some(Transport::Tcp);
    "sshd".clone_into(&mut draft.event.target.svc);
    let (verb, rest) = text.split_once(' ').ok_or(fault)?;
    match verb {
        "Accepted" | "Failed" | "Postponed" | "Partial" => attempt(&mut draft, record, verb, rest),
        "Invalid" | "Illegal" => {
            let (user, peer) = rest.strip_prefix("user ").and_then(from).ok_or(fault)?;
            login::user(&mut draft, record.realm, user, Some(false));
            address(&mut draft, peer)
        }
        "User" => not_allowed(&mut draft, record, rest),
        "Connection" if rest.starts_with("from ") => opened(&mut draft, rest),
        "Connection" | "Disconnected" | "Disconnecting" | "Received" => ended(&mut draft, record, verb, rest),
        "maximum" | "PAM:" => {
            let user = rest.split_once(" for ").map(|(_, user)| user).ok_or(fault)?;
            let (user, peer) = from(without_kind(user)).ok_or(fault)?;
            login::user(&mut draft, record.realm, user, Some(false));
            address(&mut draft, peer)
        }
        "Starting" => session(&mut draft, record, rest),
        _ => None,
    }
    .ok_or(fault)?;
    Ok(draft)
}

/// `USER from ADDRESS …`, the address found from the right.
fn from(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(" from ")
}

fn without_kind(user: &str) -> &str {
    let user =
        user.strip_prefix("invalid user ").or_else(|| user.strip_prefix("illegal user ")).unwrap_or(user);
    user.strip_prefix("authenticating user ").or_else(|| user.strip_prefix("user ")).unwrap_or(user)
}

/// `ADDRESS [port N] …`: sets the caller.
fn address(draft: &mut Draft, text: &str) -> Option<()> {
    let mut words = text.split(' ');
    let ip = words.next()?.trim_end_matches([':', ',']);
    if !draft.src(ip) {
        given(ip)?.clone_into(&mut draft.event.peer.src.get_or_insert_default().host);
    }
    if words.next() == Some("port") {
        let port = words.next()?.split(':').next()?;
        draft.event.peer.src.get_or_insert_default().port = Some(port.parse().ok()?);
    }
    Some(())
}

/// `METHOD for [invalid user] USER from ADDRESS port N ssh2[: KEY]`
fn attempt(draft: &mut Draft, record: &Record<'_>, verb: &str, rest: &str) -> Option<()> {
    let (method, rest) = rest.split_once(" for ")?;
    // Where a key is named, its words stand behind the address, and hold no ` from `.
    let (user, peer) = from(rest)?;
    let accepted = match verb {
        "Accepted" => Some(true),
        "Failed" => Some(false),
        // One of several steps.
        _ => None,
    };
    login::user(draft, record.realm, without_kind(user), accepted);
    draft.event.content.detail.insert(detail::auth::FACTOR, Value::Text(method.to_owned()));
    if verb == "Postponed" || verb == "Partial" {
        draft.event.core.rec = Some(Rec::Progress);
        draft.event.content.detail.insert(detail::auth::STEP, Value::Text(verb.to_ascii_lowercase()));
    }
    if let Some(who) = &mut draft.event.who.who {
        if method.starts_with("gssapi") {
            who.auth = Some(Auth::Kerberos);
        }
        if let Some((_, key)) = peer.split_once(" ssh2: ") {
            let print = key.split(' ').find(|word| word.starts_with("SHA256:") || word.starts_with("MD5:"));
            print.unwrap_or_default().clone_into(&mut who.cred);
            draft.rest("key", key);
        }
    }
    address(draft, peer)
}

/// `USER from ADDRESS not allowed because REASON`
fn not_allowed(draft: &mut Draft, record: &Record<'_>, rest: &str) -> Option<()> {
    let (who, reason) = rest.rsplit_once(" not allowed because ")?;
    let (user, peer) = from(who)?;
    login::user(draft, record.realm, user, Some(false));
    reason.clone_into(&mut draft.event.content.err);
    address(draft, peer)
}

/// `from ADDRESS port N on ADDRESS port N …`
fn opened(draft: &mut Draft, rest: &str) -> Option<()> {
    let (caller, called) = rest.strip_prefix("from ")?.split_once(" on ")?;
    address(draft, caller)?;
    let mut words = called.split(' ');
    draft.dst(words.next()?).then_some(())?;
    draft.event.peer.dst.as_mut()?.port = words.nth(1)?.parse().ok();
    let core = &mut draft.event.core;
    (core.rec, core.kind, core.class) = (Some(Rec::SessionOpen), Some(Kind::Auth), Some(Class::Connect));
    "connect".clone_into(&mut core.op);
    Some(())
}

/// `[closed by|from] [KIND user USER] ADDRESS port N[: REASON]`: the end of a connection. Without a kind it says
/// nothing of a login; `invalid user` never had one; `authenticating user` gave up.
fn ended(draft: &mut Draft, record: &Record<'_>, verb: &str, rest: &str) -> Option<()> {
    let rest = rest.split_once("by ").or_else(|| rest.split_once("from ")).map_or(rest, |(_, rest)| rest);
    // From the right: a user's name may hold anything.
    let (before, behind) = rest.rsplit_once(" port ")?;
    let (user, ip) = before.rsplit_once(' ').map_or(("", before), |(user, ip)| (user, ip));
    address(draft, &format!("{ip} port {}", behind.split([':', ' ']).next()?))?;
    let name = without_kind(user);
    if user.starts_with("invalid user ") {
        login::user(draft, record.realm, name, Some(false));
    } else if user.starts_with("authenticating user ") {
        login::user(draft, record.realm, name, None);
        draft.event.core.outcome = Some(Outcome::Cancelled);
    } else {
        if !name.is_empty() {
            login::user(draft, record.realm, name, Some(true));
        }
        let core = &mut draft.event.core;
        (core.rec, core.kind, core.class) = (Some(Rec::SessionClose), Some(Kind::Auth), Some(Class::Connect));
        core.outcome = None;
        "disconnect".clone_into(&mut core.op);
    }
    if let Some((_, reason)) = behind.split_once(':').filter(|_| verb != "Connection") {
        draft.rest("reason", reason.trim_start());
    }
    Some(())
}

/// `command for USER from ADDRESS port N id 0`, `shell on pts/0 for …`, `subsystem 'sftp' for …`
fn session(draft: &mut Draft, record: &Record<'_>, rest: &str) -> Option<()> {
    let (what, rest) = rest.strip_prefix("session: ")?.split_once(" for ")?;
    let (user, peer) = from(rest)?;
    login::user(draft, record.realm, user, Some(true));
    let core = &mut draft.event.core;
    (core.class, core.outcome) = (Some(Class::Execute), None);
    what.split([' ', '\'']).next()?.clone_into(&mut core.op);
    draft.rest("session", what);
    address(draft, peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::Verified;

    fn read(text: &str) -> Option<(String, Option<Outcome>, String, Verified)> {
        let draft = parse(&Record { realm: "m", ..Record::new(text.as_bytes(), 0) }).ok()?;
        let event = draft.event;
        let src = event.peer.src.as_ref().unwrap();
        let who = event.who.who.clone().map_or((String::new(), Verified::Claimed), |w| (w.id, w.verified));
        Some((who.0, event.core.outcome, format!("{}:{}", src.ip.unwrap(), src.port.unwrap_or(0)), who.1))
    }

    #[test]
    fn logins_end_as_the_server_says() {
        for (text, outcome, level) in [
            (
                "Accepted publickey for a from 192.0.2.1 port 5 ssh2: ED25519 SHA256:abc",
                Some(Outcome::Success),
                Verified::Asserted,
            ),
            ("Failed password for a from 192.0.2.1 port 5 ssh2", Some(Outcome::Denied), Verified::Claimed),
            (
                "Failed password for invalid user a from 192.0.2.1 port 5 ssh2",
                Some(Outcome::Denied),
                Verified::Claimed,
            ),
            ("Invalid user a from 192.0.2.1 port 5", Some(Outcome::Denied), Verified::Claimed),
            (
                "Connection closed by invalid user a 192.0.2.1 port 5 [preauth]",
                Some(Outcome::Denied),
                Verified::Claimed,
            ),
            (
                "Connection reset by authenticating user a 192.0.2.1 port 5 [preauth]",
                Some(Outcome::Cancelled),
                Verified::Claimed,
            ),
            (
                "error: maximum authentication attempts exceeded for a from 192.0.2.1 port 5 ssh2 [preauth]",
                Some(Outcome::Denied),
                Verified::Claimed,
            ),
            ("Disconnected from user a 192.0.2.1 port 5", None, Verified::Asserted),
            ("Starting session: command for a from 192.0.2.1 port 5 id 0", None, Verified::Asserted),
        ] {
            let want = Some(("user:m/a".to_owned(), outcome, "192.0.2.1:5".to_owned(), level));
            assert_eq!(read(text), want, "{text}");
        }
    }

    #[test]
    fn a_name_that_looks_like_an_address_does_not_move_the_caller() {
        let text = "Failed password for invalid user x from 203.0.113.9 port 1 from 192.0.2.1 port 5 ssh2";
        let got = read(text).unwrap();
        assert_eq!((got.0.as_str(), got.2.as_str()), ("user:m/x from 203.0.113.9 port 1", "192.0.2.1:5"));
        let text = "Connection closed by invalid user x 203.0.113.9 port 1 192.0.2.1 port 5 [preauth]";
        assert_eq!(read(text).unwrap().2, "192.0.2.1:5");
    }

    #[test]
    fn another_program_cannot_speak_for_sshd() {
        let mut record = Record::new(b"Accepted password for root from 192.0.2.1 port 5 ssh2", 0);
        assert!(looks(&record));
        record.app = "logger";
        assert!(!looks(&record));
    }

    #[test]
    fn other_messages_are_not_read() {
        assert_eq!(read("Server listening on 0.0.0.0 port 22."), None);
        assert_eq!(read("Accepted"), None);
    }
}
