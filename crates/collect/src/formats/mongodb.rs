//! MongoDB: the server's structured log (4.4 and later) and the audit log (Enterprise, Atlas), both JSON lines.
//!
//! Of a command its shape is kept, names without values. A message that is not known here is text of the server.
//! Sources: MongoDB manual, "Log Messages", "System Event Audit Messages"; src/mongo/base/error_codes.yml.

use super::{Format, Record, login};
use crate::json::{Kind as Json, Val};
use crate::{Draft, Fault, time};
use countersign_event::{Auth, Class, Kind, Outcome, PrincipalKind, Rec, StatusSpace, Transport, Verified};

/// The row of the server's log in the table.
pub const LOG: Format = Format {
    name: "mongodb",
    what: "MongoDB's log: logins, connections, slow commands; other messages as text",
    looks: looks_log,
    parse: parse_log,
};
/// The row of the audit log in the table.
pub const AUDIT: Format = Format {
    name: "mongodb-audit",
    what: "MongoDB's audit log, JSON",
    looks: looks_audit,
    parse: parse_audit,
};

/// Longest shape of a command, bytes.
const SHAPE_MAX: usize = 4096;
/// Deepest nesting of a shape.
const SHAPE_DEPTH: usize = 8;

fn looks_log(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|root| {
        root.at("t/$date").is_some() && root.get("c").is_some() && root.get("ctx").is_some()
    })
}

fn looks_audit(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|root| root.get("atype").is_some() && root.at("ts/$date").is_some())
}

fn text(of: Val<'_, '_>, path: &str) -> String {
    of.at(path).and_then(|value| value.word()).unwrap_or_default().into_owned()
}

/// The first of `paths` that is there and not empty.
fn first(of: Val<'_, '_>, paths: &[&str]) -> String {
    paths.iter().map(|path| text(of, path)).find(|text| !text.is_empty()).unwrap_or_default()
}

fn date(of: Val<'_, '_>) -> Option<time::Stamp> {
    let value = of.get("$date")?;
    value.int().and_then(|ms| time::unix(ms, 1_000_000)).or_else(|| time::rfc3339(&value.text()?))
}

fn parse_log(record: &Record<'_>) -> Result<Draft, Fault> {
    let root = record.object()?;
    let mut draft = Draft::new();
    draft.time(root.get("t").and_then(date));
    "mongodb".clone_into(&mut draft.event.core.proto);
    text(root, "ctx").clone_into(&mut draft.event.links.sess);
    let message = root.get("msg").and_then(|value| value.text()).ok_or(Fault::new(0, "no message"))?;
    let Some(attr) = root.get("attr").filter(|attr| attr.kind() == Json::Object) else {
        return Ok(said(draft, &message));
    };
    match message.as_ref() {
        "Authentication failed" | "Failed to authenticate" | "Checking authorization failed" => {
            authenticated(&mut draft, record, attr, false);
        }
        "Authentication succeeded" | "Successfully authenticated" => {
            authenticated(&mut draft, record, attr, true)
        }
        "Connection accepted" => session(&mut draft, Rec::SessionOpen, "connect"),
        "Connection ended" => session(&mut draft, Rec::SessionClose, "disconnect"),
        "Slow query" if attr.get("command").is_some() => command(&mut draft, record, attr),
        _ => return Ok(said(draft, &message)),
    }
    caller(&mut draft, &first(attr, &["remote", "client"]));
    draft.rest("msg", &message);
    Ok(draft)
}

fn said(mut draft: Draft, message: &str) -> Draft {
    draft.event.core.rec = Some(Rec::Raw);
    draft.rest("message", message);
    draft
}

fn session(draft: &mut Draft, rec: Rec, op: &str) {
    let core = &mut draft.event.core;
    (core.rec, core.kind, core.class) = (Some(rec), Some(Kind::Doc), Some(Class::Connect));
    op.clone_into(&mut core.op);
}

fn caller(draft: &mut Draft, remote: &str) {
    if draft.src(remote) {
        draft.event.peer.transport = Some(Transport::Tcp);
    } else if !remote.is_empty() {
        draft.rest("remote", remote);
    }
}

fn authenticated(draft: &mut Draft, record: &Record<'_>, attr: Val<'_, '_>, accepted: bool) {
    let (user, database) =
        (first(attr, &["principalName", "user"]), first(attr, &["authenticationDatabase", "db"]));
    login::database(draft, record.realm, &user, Some(accepted));
    draft.event.target.ns = database;
    let mechanism = text(attr, "mechanism");
    if let Some(who) = &mut draft.event.who.who {
        who.auth = match mechanism.as_str() {
            "MONGODB-X509" => Some(Auth::Mtls),
            "GSSAPI" => Some(Auth::Kerberos),
            "MONGODB-AWS" => Some(Auth::Sigv4),
            name if name.starts_with("SCRAM") => Some(Auth::Scram),
            "PLAIN" => Some(Auth::DbPassword),
            _ => None,
        };
    }
    draft.rest("mechanism", &mechanism);
    draft.event.content.err = first(attr, &["error", "result"]);
}

/// Class of a command, by its first name.
fn class(command: &str) -> Option<Class> {
    Some(match command {
        "find" | "aggregate" | "count" | "distinct" | "getMore" | "listCollections" | "listIndexes"
        | "listDatabases" | "explain" => Class::Read,
        "insert" => Class::Create,
        "update" | "findAndModify" | "findandmodify" => Class::Modify,
        "delete" | "remove" => Class::Delete,
        "mapReduce" => Class::Execute,
        "create" | "createCollection" | "drop" | "dropCollection" | "dropDatabase" | "createIndexes"
        | "createIndex" | "dropIndexes" | "dropIndex" | "collMod" | "renameCollection" | "createDatabase" => {
            Class::Schema
        }
        "hello" | "isMaster" | "ping" | "buildInfo" | "endSessions" | "commitTransaction"
        | "abortTransaction" => Class::Meta,
        "createUser"
        | "dropUser"
        | "updateUser"
        | "createRole"
        | "dropRole"
        | "updateRole"
        | "grantRolesToUser"
        | "revokeRolesFromUser"
        | "shutdown"
        | "replSetReconfig"
        | "setParameter"
        | "addShard"
        | "removeShard" => Class::Admin,
        "authenticate" | "saslStart" | "saslContinue" | "logout" => Class::Authenticate,
        _ => return None,
    })
}

/// `Slow query`: a command that has ended.
fn command(draft: &mut Draft, record: &Record<'_>, attr: Val<'_, '_>) {
    draft.event.core.kind = Some(Kind::Doc);
    namespace(draft, &text(attr, "ns"));
    if let Some(command) = attr.get("command") {
        let name = command.members().next().map(|member| member.name().into_owned()).unwrap_or_default();
        operation(draft, &name);
        let mut out = String::new();
        shape(command, &mut out, 0);
        draft.event.content.stmt = crate::seal::clipped(out, SHAPE_MAX);
        command.take();
        draft.event.content.redacted.push(("command_values".to_owned(), 1));
    }
    draft.event.core.dur =
        attr.get("durationMillis").and_then(|ms| ms.uint()).and_then(|ms| ms.checked_mul(1_000_000));
    let code = attr.get("errCode").and_then(|code| code.uint()).unwrap_or(0);
    ended(draft, code);
    draft.event.content.err = first(attr, &["errMsg", "errName"]);
    let application = text(attr, "appName");
    if !application.is_empty() {
        let mut client = countersign_event::Principal::new(
            format!("user:{}/{application}", record.realm),
            Verified::Claimed,
        );
        client.from = Some(countersign_event::IdentityFrom::Comment);
        client.svc = application;
        draft.event.who.also.push(client);
    }
}

fn operation(draft: &mut Draft, name: &str) {
    let class = class(name);
    draft.event.core.class = class;
    // A command of a name that is not known may be a text of the client's.
    draft.event.core.op = if class.is_some() { name.to_owned() } else { "command".to_owned() };
    if class.is_none() && !name.is_empty() {
        draft.rest("command", name);
    }
}

/// `database.collection`
fn namespace(draft: &mut Draft, name: &str) {
    let (database, collection) = name.split_once('.').unwrap_or((name, ""));
    let target = &mut *draft.event.target;
    database.clone_into(&mut target.ns);
    if !collection.is_empty() {
        collection.clone_into(&mut target.res);
        "collection".clone_into(&mut target.rtype);
    }
}

/// A value with `?` for everything that is no name.
fn shape(value: Val<'_, '_>, out: &mut String, depth: usize) {
    if out.len() > SHAPE_MAX || depth > SHAPE_DEPTH {
        return out.push('?');
    }
    match value.kind() {
        Json::Object => {
            out.push('{');
            for (number, member) in value.members().enumerate() {
                if out.len() > SHAPE_MAX {
                    break;
                }
                out.push_str(if number > 0 { ", " } else { "" });
                out.push_str(&member.name());
                out.push_str(": ");
                shape(member, out, depth + 1);
            }
            out.push('}');
        }
        Json::Array => {
            out.push('[');
            if let Some(element) = value.elements().next() {
                shape(element, out, depth + 1);
            }
            out.push(']');
        }
        _ => out.push('?'),
    }
}

fn ended(draft: &mut Draft, code: u64) {
    if code > 0 {
        draft.event.core.status = Some((StatusSpace::Mongo, code.to_string()));
    }
    draft.outcome(match code {
        0 => Outcome::Success,
        11 | 13 | 18 | 33 | 8000 => Outcome::Denied,
        50 | 262 => Outcome::Timeout,
        11_601 | 11_602 => Outcome::Cancelled,
        1 | 6 | 7 | 89 | 91 | 189 | 10_107 | 11_600 => Outcome::ServerError,
        _ => Outcome::CallerError,
    });
}

fn parse_audit(record: &Record<'_>) -> Result<Draft, Fault> {
    let root = record.object()?;
    let mut draft = Draft::new();
    draft.time(root.get("ts").and_then(date));
    "mongodb".clone_into(&mut draft.event.core.proto);
    let kind = text(root, "atype");
    for (side, name) in [(true, "remote"), (false, "local")] {
        let Some(end) = root.get(name) else { continue };
        let port = end.get("port").and_then(|port| port.uint()).and_then(|port| u16::try_from(port).ok());
        let found = if side { draft.src(&text(end, "ip")) } else { draft.dst(&text(end, "ip")) };
        let at = if side { &mut draft.event.peer.src } else { &mut draft.event.peer.dst };
        if let (true, Some(at)) = (found, at) {
            at.port = port;
        }
    }
    let code = root.get("result").and_then(|code| code.uint());
    if kind == "authenticate" {
        login::database(&mut draft, record.realm, &text(root, "param/user"), code.map(|code| code == 0));
        draft.event.target.ns = text(root, "param/db");
    } else {
        draft.event.core.kind = Some(Kind::Doc);
        let command = text(root, "param/command");
        operation(&mut draft, if command.is_empty() { &kind } else { &command });
        namespace(&mut draft, &text(root, "param/ns"));
    }
    // Values of the command.
    if let Some(arguments) = root.at("param/args") {
        let mut out = String::new();
        shape(arguments, &mut out, 0);
        draft.event.content.stmt = crate::seal::clipped(out, SHAPE_MAX);
        arguments.take();
        draft.event.content.redacted.push(("command_values".to_owned(), 1));
    }
    let mut users = root.get("users").into_iter().flat_map(|users| users.elements());
    if let (None, Some(user)) = (&draft.event.who.who, users.next()) {
        let name = text(user, "user");
        let who =
            draft.who(format!("db:{name}@{}", record.realm), PrincipalKind::Service, Verified::Asserted);
        name.clone_into(&mut who.name);
        who.iss = text(user, "db");
    }
    match code {
        Some(code) => ended(&mut draft, code),
        None => draft.partial("no result"),
    }
    draft.rest("atype", &kind);
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Doc;

    fn read(text: &str, parse: fn(&Record<'_>) -> Result<Draft, Fault>) -> Draft {
        let doc = Doc::parse(text.as_bytes()).unwrap();
        let record = Record { json: Some(&doc), realm: "srv", ..Record::new(text.as_bytes(), 0) };
        assert!(looks_log(&record) || looks_audit(&record));
        parse(&record).unwrap()
    }

    #[test]
    fn logins_end_as_the_server_says() {
        let event = read(r#"{"t":{"$date":"2024-03-13T14:08:33.000+02:00"},"s":"I","c":"ACCESS","id":20249,"ctx":"conn12","msg":"Authentication failed","attr":{"mechanism":"SCRAM-SHA-256","principalName":"root","authenticationDatabase":"admin","remote":"[2001:db8::1]:1053","error":"AuthenticationFailed"}}"#, parse_log).event;
        assert_eq!(
            (event.core.outcome, event.core.t_event),
            (Some(Outcome::Denied), Some(1_710_331_713_000_000_000))
        );
        let who = event.who.who.as_ref().unwrap();
        assert_eq!(
            (who.id.as_str(), who.verified, who.auth),
            ("db:root@srv", Verified::Claimed, Some(Auth::Scram))
        );
        assert_eq!(event.peer.src.as_ref().unwrap().port, Some(1053));
    }

    #[test]
    fn a_slow_command_keeps_its_shape_and_no_value() {
        let event = read(r#"{"t":{"$date":"2024-03-13T12:08:33.000Z"},"s":"I","c":"COMMAND","id":51803,"ctx":"conn1","msg":"Slow query","attr":{"type":"command","ns":"shop.cards","appName":"billing","command":{"find":"cards","filter":{"pin":{"$in":["secret",2]}},"$db":"shop"},"errCode":13,"errName":"Unauthorized","remote":"192.0.2.1:5","durationMillis":120}}"#, parse_log).event;
        assert_eq!(
            (event.core.op.as_str(), event.core.class, event.core.outcome),
            ("find", Some(Class::Read), Some(Outcome::Denied))
        );
        assert_eq!(event.content.stmt, "{find: ?, filter: {pin: {$in: [?]}}, $db: ?}");
        assert_eq!(
            (event.target.res.as_str(), event.target.ns.as_str(), event.core.dur),
            ("cards", "shop", Some(120_000_000))
        );
        assert!(!format!("{event:?}").contains("secret"));
    }

    #[test]
    fn an_audit_record_names_user_command_and_collection() {
        let event = read(r#"{"atype":"authCheck","ts":{"$date":"2024-03-13T12:08:33.000+00:00"},"local":{"ip":"192.0.2.2","port":27017},"remote":{"ip":"192.0.2.1","port":5},"users":[{"user":"app","db":"admin"}],"roles":[],"param":{"command":"insert","ns":"shop.cards","args":{"documents":[{"pin":"secret"}]}},"result":13}"#, parse_audit).event;
        assert_eq!(
            (event.core.op.as_str(), event.core.class, event.core.outcome),
            ("insert", Some(Class::Create), Some(Outcome::Denied))
        );
        let who = event.who.who.as_ref().unwrap();
        assert_eq!((who.id.as_str(), who.verified), ("db:app@srv", Verified::Asserted));
        assert!(!format!("{event:?}").contains("secret"));
    }

    #[test]
    fn other_messages_are_text() {
        let event = read(r#"{"t":{"$date":"2024-03-13T12:08:33.000Z"},"s":"I","c":"STORAGE","id":1,"ctx":"initandlisten","msg":"Opening WiredTiger","attr":{}}"#, parse_log).event;
        assert_eq!((event.core.rec, event.core.kind), (Some(Rec::Raw), None));
    }
}
