//! Redis and Valkey: entries of `ACL LOG`, as `redis-cli --json` gives them, one object a record.
//!
//! Each says that somebody was refused, how often within a minute, and over which connection. The user is asserted
//! where he had logged in; a login that failed names who it claimed to be. Source: Redis documentation, "ACL LOG".

use super::{Format, Record, login};
use crate::{Draft, Fault, time};
use countersign_event::{Kind, Outcome, PrincipalKind, Transport, Verified};

/// The row of the table.
pub const REDIS_ACL: Format =
    Format { name: "redis-acl-log", what: "entries of Redis's and Valkey's ACL LOG, JSON", looks, parse };

fn looks(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|root| {
        ["reason", "context", "object", "username", "client-info"].iter().all(|name| root.get(name).is_some())
    })
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let root = record.object()?;
    let text = |name: &str| root.get(name).and_then(|value| value.word()).unwrap_or_default();
    let mut draft = Draft::new();
    let created = root.get("timestamp-created").and_then(|ms| ms.int());
    draft.time(created.and_then(|ms| time::unix(ms, 1_000_000)));
    "redis".clone_into(&mut draft.event.core.proto);
    let (reason, object, user) = (text("reason"), text("object"), text("username"));
    if reason == "auth" {
        login::database(&mut draft, record.realm, &user, Some(false));
    } else {
        let core = &mut draft.event.core;
        (core.kind, core.outcome) = (Some(Kind::Kv), Some(Outcome::Denied));
        let id = format!("db:{user}@{}", record.realm);
        user.as_ref().clone_into(&mut draft.who(id, PrincipalKind::Service, Verified::Asserted).name);
    }
    match reason.as_ref() {
        // A command and perhaps its subcommand: `config|set`.
        "command" => draft.event.core.op = object.to_ascii_uppercase().replace('|', " "),
        "key" | "channel" => {
            object.as_ref().clone_into(&mut draft.event.target.res);
            reason.as_ref().clone_into(&mut draft.event.target.rtype);
        }
        _ => {}
    }
    draft.event.content.err = format!("refused: {reason}");
    draft.rest("reason", &reason);
    client(&mut draft, &text("client-info"));
    draft.event.core.n = root.get("count").and_then(|count| count.uint()).filter(|count| *count > 1);
    draft.source_id = text("entry-id").into_owned();
    Ok(draft)
}

/// `id=3 addr=127.0.0.1:57275 laddr=127.0.0.1:6379 … name=… cmd=get user=default …`
fn client(draft: &mut Draft, info: &str) {
    for word in info.split(' ') {
        let Some((name, value)) = word.split_once('=') else { continue };
        match name {
            "addr" if draft.src(value) => draft.event.peer.transport = Some(Transport::Tcp),
            "laddr" => drop(draft.dst(value)),
            "id" => value.clone_into(&mut draft.event.links.sess),
            "cmd" if draft.event.core.op.is_empty() => {
                draft.event.core.op = value.to_ascii_uppercase().replace('|', " ")
            }
            _ => {}
        }
    }
    draft.rest("client-info", info);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reason: &str, object: &str) -> Draft {
        let text = format!(
            r#"{{"count":3,"reason":"{reason}","context":"toplevel","object":"{object}","username":"alice","age-seconds":4.0,"client-info":"id=3 addr=192.0.2.1:57275 laddr=192.0.2.2:6379 fd=8 name= cmd=get user=alice","entry-id":7,"timestamp-created":1710331713000,"timestamp-last-updated":1710331714000}}"#
        );
        let doc = crate::json::Doc::parse(text.as_bytes()).unwrap();
        let record = Record { json: Some(&doc), realm: "srv", ..Record::new(text.as_bytes(), 0) };
        assert!(looks(&record));
        parse(&record).unwrap()
    }

    #[test]
    fn who_was_refused_what_and_how_often() {
        let event = read("key", "card:7").event;
        assert_eq!(
            (event.core.op.as_str(), event.core.outcome, event.core.n),
            ("GET", Some(Outcome::Denied), Some(3))
        );
        assert_eq!(
            (event.target.res.as_str(), event.peer.dst.as_ref().unwrap().port),
            ("card:7", Some(6379))
        );
        assert_eq!(event.who.who.as_ref().unwrap().verified, Verified::Asserted);
        assert_eq!(read("command", "config|set").event.core.op, "CONFIG SET");
    }

    #[test]
    fn a_login_that_failed_is_claimed() {
        let event = read("auth", "AUTH").event;
        assert_eq!(
            (event.core.kind, event.who.who.as_ref().unwrap().verified),
            (Some(Kind::Auth), Verified::Claimed)
        );
    }
}
