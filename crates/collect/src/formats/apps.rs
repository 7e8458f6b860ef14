//! Logs of applications that people and machines log in to: authentik, Keycloak, Grafana, SFTPGo.
//!
//! Source: authentik, "Logging" (structlog JSON); Keycloak, "Auditing and events" (`jboss-logging` listener);
//! Grafana, "Configure logging" (logfmt); SFTPGo, "Logs". The address is the server's own view or what its proxy
//! said, asserted in a trusted input; a user is asserted once logged in, and claimed before.

use super::{Format, Record, cloud};
use crate::json::Val;
use crate::text::Cursor;
use crate::{Draft, Fault, http, time};
use countersign_event::{Auth, Class, Kind, Outcome, Verified};
use std::borrow::Cow;

/// authentik.
pub const AUTHENTIK: Format = Format {
    name: "authentik",
    what: "authentik server log: requests and logins",
    looks: looks_authentik,
    parse: authentik,
};
/// Keycloak.
pub const KEYCLOAK: Format = Format {
    name: "keycloak",
    what: "Keycloak login events in its server log",
    looks: looks_keycloak,
    parse: keycloak,
};
/// Grafana.
pub const GRAFANA: Format = Format {
    name: "grafana",
    what: "Grafana server log: requests and logins (logfmt)",
    looks: looks_grafana,
    parse: grafana,
};
/// SFTPGo.
pub const SFTPGO: Format = Format {
    name: "sftpgo",
    what: "SFTPGo log: logins, transfers, commands",
    looks: looks_sftpgo,
    parse: sftpgo,
};

/// Most names in one line of pairs; more is a fault.
pub const PAIRS_MAX: usize = 256;

/// A login, ended so, by whom, at what level.
fn login(draft: &mut Draft, op: &str, outcome: Outcome) -> Verified {
    draft.event.core.kind = Some(Kind::Auth);
    draft.event.core.class = Some(Class::Authenticate);
    op.clone_into(&mut draft.event.core.op);
    draft.outcome(outcome);
    if outcome == Outcome::Success { Verified::Asserted } else { Verified::Claimed }
}

fn looks_authentik(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|entry| {
        let logger = entry.get("logger").and_then(|logger| logger.peek());
        logger.is_some_and(|logger| logger.starts_with("authentik."))
            && entry.has("event")
            && entry.has("timestamp")
    })
}

fn authentik(record: &Record<'_>) -> Result<Draft, Fault> {
    let entry = record.object()?;
    let event = cloud::text(entry, "event").ok_or(Fault::new(0, "no event"))?;
    let mut draft = Draft::new();
    draft.time(entry.get("timestamp").and_then(|stamp| match stamp.text() {
        Some(text) => time::rfc3339(&text),
        None => time::unix_seconds(stamp.token()),
    }));
    let user = cloud::text(entry, "identifier").or_else(|| cloud::text(entry, "user"));
    let level = match (event.as_ref(), cloud::text(entry, "method")) {
        ("invalid_login" | "login_failed", _) => login(&mut draft, "login", Outcome::Denied),
        ("login", None) => login(&mut draft, "login", Outcome::Success),
        (path, Some(method)) if path.starts_with('/') => {
            http::request(&mut draft, &method, path, "");
            match entry.get("status").and_then(|status| status.uint()) {
                Some(status) => http::status(&mut draft, status),
                None => draft.partial("a required field is missing"),
            }
            // Milliseconds with decimals.
            let runtime = entry.get("runtime").map(|runtime| runtime.token());
            draft.event.core.dur = runtime.and_then(time::seconds).map(|thousandfold| thousandfold / 1_000);
            Verified::Asserted
        }
        _ => return Err(Fault::new(0, "neither a request nor a login")),
    };
    if let Some(user) = user {
        draft.user(record.realm, &user, None, level);
    }
    if let Some(address) = cloud::text(entry, "client_ip").or_else(|| cloud::text(entry, "remote")) {
        cloud::source(&mut draft, &address);
    }
    if let Some(host) = cloud::text(entry, "host") {
        http::host(&mut draft, &host);
    }
    draft.header("user-agent", cloud::text(entry, "user_agent").unwrap_or_default());
    draft.event.links.corr = cloud::text(entry, "request_id").unwrap_or_default().into_owned();
    Ok(draft)
}

fn looks_keycloak(record: &Record<'_>) -> bool {
    record.text.contains("type=") && record.text.contains("realmId=") && record.text.contains(".events]")
}

/// `2023-05-25 22:24:19,357 WARN  [org.keycloak.events] (thread) type=LOGIN_ERROR, realmId=…, …`; values in quotation
/// marks since version 22. The server's own fields stand before those that a client can write, so of a name given
/// twice the first counts, and the record is partial.
fn keycloak(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut draft = Draft::new();
    let at = record.text.find("type=").ok_or(Fault::new(0, "no type"))?;
    let (head, pairs) = record.text.split_at(at);
    let stamp = head.get(..23).and_then(time::rfc3339).or_else(|| time::rfc3339(head.split(' ').next()?));
    draft.time(stamp);
    let mut fields: Vec<(&str, &str)> = Vec::new();
    let mut line = Cursor::new(pairs);
    while !line.is_end() {
        let name = line.until("=")?;
        let value = if line.rest().starts_with('"') {
            let value = line.quoted()?;
            line.skip(",");
            value
        } else {
            let rest = line.rest();
            let end = rest.find(", ").unwrap_or(rest.len());
            line.literal(&rest[..end])?;
            line.skip(",");
            &rest[..end]
        };
        line.blanks();
        if fields.len() >= PAIRS_MAX {
            return Err(line.fault("more names than the bound"));
        }
        if fields.iter().any(|(known, _)| *known == name) {
            draft.partial("a name is given twice");
            continue;
        }
        fields.push((name, value));
    }
    let mut take = |name: &str| {
        let at = fields.iter().position(|(known, _)| *known == name)?;
        Some(fields.remove(at).1).filter(|value| !value.is_empty() && *value != "null")
    };
    let kind = take("type").ok_or(Fault::new(at, "no type"))?;
    let realm = take("realmId").unwrap_or(record.realm);
    let (user, name) = (take("userId"), take("username"));
    let error = take("error");
    let failed = kind.ends_with("_ERROR") || error.is_some();
    let level = login(&mut draft, kind, if failed { Outcome::Denied } else { Outcome::Success });
    if kind.starts_with("LOGOUT") || kind.starts_with("UPDATE") || kind.starts_with("REMOVE") {
        draft.event.core.class = Some(Class::Modify);
    }
    if let Some(id) = if failed { name.or(user) } else { user.or(name) } {
        let who = draft.user(realm, id, None, level);
        name.unwrap_or_default().clone_into(&mut who.name);
    }
    match take("ipAddress") {
        Some(address) => cloud::source(&mut draft, address),
        None => draft.partial("a required field is missing"),
    }
    draft.event.content.err = error.unwrap_or_default().to_owned();
    draft.event.links.sess = take("sessionId").unwrap_or_default().to_owned();
    draft.event.target.svc = take("clientId").unwrap_or_default().to_owned();
    for (name, value) in fields {
        draft.rest(name, value);
    }
    Ok(draft)
}

fn looks_grafana(record: &Record<'_>) -> bool {
    record.text.contains("logger=") && record.text.contains("remote_addr=") && record.text.contains("userId=")
}

/// Pairs of logfmt: `name=value`, `name="quoted value"`, a blank between.
fn pairs<'a>(text: &'a str, take: &mut dyn FnMut(&'a str, Cow<'a, str>)) -> Result<(), Fault> {
    let mut line = Cursor::new(text.trim_end());
    for _ in 0..PAIRS_MAX {
        line.blanks();
        if line.is_end() {
            return Ok(());
        }
        let name = line.until("=")?;
        let value = match line.rest().as_bytes().first() {
            Some(b'"') => crate::text::unescaped(line.quoted()?),
            Some(b' ') | None => Cow::Borrowed(""),
            Some(_) => Cow::Borrowed(line.word()?),
        };
        take(name, value);
    }
    Err(line.fault("more names than the bound"))
}

fn grafana(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut draft = Draft::new();
    let mut fields: Vec<(&str, Cow<'_, str>)> = Vec::new();
    let mut twice = false;
    pairs(record.text, &mut |name, value| {
        twice |= fields.iter().any(|(known, _)| *known == name);
        fields.push((name, value));
    })?;
    if twice {
        draft.partial("a name is given twice");
    }
    let mut take = |name: &str| {
        let at = fields.iter().position(|(known, _)| *known == name)?;
        Some(fields.remove(at).1).filter(|value| !value.is_empty())
    };
    draft.time(take("t").and_then(|text| time::rfc3339(&text)));
    let message = take("msg").unwrap_or_default();
    let error = take("error").unwrap_or_default();
    let password = message == "Invalid username or password" || error.contains("[password-auth.");
    match (take("method"), take("path")) {
        (Some(method), Some(path)) => {
            http::request(&mut draft, &method, &path, "");
            match take("status").and_then(|status| status.parse().ok()) {
                Some(status) => http::status(&mut draft, status),
                None => draft.partial("a required field is missing"),
            }
        }
        _ if password => {
            login(&mut draft, "login", Outcome::Denied);
        }
        _ if message == "Unauthorized" => {
            draft.event.core.kind = Some(Kind::Http);
            draft.outcome(Outcome::Denied);
        }
        _ => return Err(Fault::new(0, "neither a request nor a login")),
    }
    // userId 0 is nobody; uname is the name of a session that was checked.
    if let Some(name) = take("uname") {
        draft.user(record.realm, &name, None, Verified::Asserted);
    }
    match take("remote_addr") {
        Some(address) => cloud::source(&mut draft, &address),
        None => draft.partial("a required field is missing"),
    }
    draft.event.content.err = error.into_owned();
    draft.rest("msg", &message);
    for (name, value) in fields {
        draft.rest(name, &value);
    }
    Ok(draft)
}

fn looks_sftpgo(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|entry| entry.has("sender") && entry.has("time") && entry.has("level"))
}

fn sftpgo(record: &Record<'_>) -> Result<Draft, Fault> {
    let entry = record.object()?;
    let sender = cloud::text(entry, "sender").ok_or(Fault::new(0, "no sender"))?;
    let mut draft = Draft::new();
    draft.time(cloud::text(entry, "time").and_then(|text| time::rfc3339(&text)));
    draft.event.links.sess = cloud::text(entry, "connection_id").unwrap_or_default().into_owned();
    draft.event.core.proto = cloud::text(entry, "protocol").unwrap_or_default().to_ascii_lowercase();
    let mut level = Verified::Asserted;
    match sender.as_ref() {
        "connection_failed" => {
            level = login(&mut draft, "login", Outcome::Denied);
            draft.event.content.err = cloud::text(entry, "error").unwrap_or_default().into_owned();
        }
        "Upload" | "Download" | "Rename" | "Rmdir" | "Mkdir" | "Symlink" | "Remove" | "Chmod" | "Chown"
        | "Chtimes" | "Truncate" | "Copy" => file(&mut draft, entry, &sender),
        _ => return logged_in(draft, entry, record.realm),
    }
    if let Some(name) = cloud::text(entry, "username") {
        draft.user(record.realm, &name, None, level);
    }
    match cloud::text(entry, "client_ip").or_else(|| cloud::text(entry, "remote_addr")) {
        Some(address) => cloud::source(&mut draft, &address),
        None => draft.partial("a required field is missing"),
    }
    Ok(draft)
}

fn file(draft: &mut Draft, entry: Val<'_, '_>, op: &str) {
    draft.event.core.kind = Some(Kind::File);
    draft.event.core.class = Some(match op {
        "Download" => Class::Read,
        "Upload" | "Mkdir" | "Symlink" | "Copy" => Class::Create,
        "Remove" | "Rmdir" => Class::Delete,
        _ => Class::Modify,
    });
    op.clone_into(&mut draft.event.core.op);
    let error = cloud::text(entry, "error").unwrap_or_default();
    draft.outcome(if error.is_empty() { Outcome::Success } else { Outcome::CallerError });
    draft.event.content.err = error.into_owned();
    let path = cloud::text(entry, "file_path").unwrap_or_default().into_owned();
    draft.event.target.res = path.clone();
    draft.event.target.id = path;
    let size = entry.get("size_bytes").and_then(|size| size.uint());
    if op == "Upload" {
        draft.sizes(size, None)
    } else {
        draft.sizes(None, size)
    }
    let elapsed = entry.get("elapsed_ms").and_then(|ms| ms.uint());
    draft.event.core.dur = elapsed.and_then(|ms| ms.checked_mul(1_000_000));
}

/// `User "bob" logged in with "publickey", from ip "192.0.2.1", …`, quoted as Go does.
fn logged_in(mut draft: Draft, entry: Val<'_, '_>, realm: &str) -> Result<Draft, Fault> {
    let message = entry.get("message").ok_or(Fault::new(0, "no message"))?;
    let text = message.peek().unwrap_or_default();
    let mut line = Cursor::new(&text);
    let other = Fault::new(0, "neither a login nor a transfer");
    line.literal("User ").map_err(|_| other)?;
    let name = line.quoted()?;
    line.literal("logged in with ").map_err(|_| other)?;
    let method = line.quoted()?;
    line.literal(", from ip ").map_err(|_| other)?;
    let address = line.quoted()?;
    let level = login(&mut draft, "login", Outcome::Success);
    let auth = matches!(method, "password" | "keyboard-interactive").then_some(Auth::Basic);
    draft.user(realm, &crate::text::unescaped(name), auth, level);
    cloud::source(&mut draft, address);
    draft.rest("method", method);
    draft.rest("rest", line.rest());
    message.take();
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{draft, parsed, who};

    #[test]
    fn a_keycloak_login_names_its_user_quoted_or_not() {
        let text = r#"2024-03-13 12:08:33,357 DEBUG [org.keycloak.events] (executor-thread-1) type="LOGIN", realmId="r1", clientId="app", userId="u-1", sessionId="s", ipAddress="192.0.2.1", auth_method="openid-connect", username="bob""#;
        let quoted = draft(&KEYCLOAK, text);
        assert_eq!((who(&quoted).id.as_str(), who(&quoted).name.as_str()), ("user:r1/u-1", "bob"));
        assert_eq!(
            (who(&quoted).verified, quoted.event.core.outcome),
            (Verified::Asserted, Some(Outcome::Success))
        );
        let plain = draft(&KEYCLOAK, &text.replace('"', ""));
        assert_eq!(who(&plain).id, "user:r1/u-1");
        assert_eq!(plain.partial, None);
    }

    #[test]
    fn a_name_that_forges_fields_changes_none_and_is_seen() {
        let text = "2024-03-13 12:08:33,357 WARN  [org.keycloak.events] (t) type=LOGIN_ERROR, realmId=r1, clientId=app, userId=null, ipAddress=192.0.2.1, error=user_not_found, username=x, ipAddress=10.0.0.1, type=LOGIN";
        let draft = draft(&KEYCLOAK, text);
        assert_eq!(draft.event.peer.src.as_ref().unwrap().ip.unwrap().to_string(), "192.0.2.1");
        assert_eq!(
            (draft.event.core.op.as_str(), draft.event.core.outcome),
            ("LOGIN_ERROR", Some(Outcome::Denied))
        );
        assert_eq!((who(&draft).verified, draft.partial), (Verified::Claimed, Some("a name is given twice")));
    }

    #[test]
    fn a_grafana_request_and_a_refused_login_are_told_apart() {
        let text = r#"logger=context userId=1 orgId=1 uname=admin t=2024-03-13T12:08:33.5Z level=info msg="Request Completed" method=GET path=/api/x status=200 remote_addr=192.0.2.1 time_ms=3 size=9 referer="""#;
        let request = draft(&GRAFANA, text);
        assert_eq!(
            (request.event.core.kind, request.event.core.outcome),
            (Some(Kind::Http), Some(Outcome::Success))
        );
        assert_eq!(who(&request).id, "user:r/admin");
        let refused = draft(
            &GRAFANA,
            r#"logger=context userId=0 orgId=0 uname= t=2024-03-13T12:08:33Z level=error msg="Invalid username or password" error="user not found" remote_addr=192.0.2.1 traceID="#,
        );
        assert_eq!(
            (refused.event.core.kind, refused.event.core.outcome),
            (Some(Kind::Auth), Some(Outcome::Denied))
        );
        assert!(refused.event.who.who.is_none());
    }

    #[test]
    fn an_sftpgo_transfer_and_a_login_name_user_file_and_address() {
        let text = r#"{"level":"info","time":"2024-03-13T12:08:33.000","sender":"Upload","remote_addr":"192.0.2.1:22","username":"bob","file_path":"/srv/a","size_bytes":9,"elapsed_ms":12,"connection_id":"c","protocol":"SFTP"}"#;
        let upload = draft(&SFTPGO, text);
        assert_eq!((upload.event.core.op.as_str(), upload.event.target.id.as_str()), ("Upload", "/srv/a"));
        assert_eq!(upload.event.body.req.as_ref().unwrap().size, Some(9));
        let text = r#"{"level":"debug","time":"2024-03-13T12:08:33","sender":"connection_failed","client_ip":"192.0.2.1","username":"root","login_type":"password","error":"no"}"#;
        assert_eq!(who(&draft(&SFTPGO, text)).verified, Verified::Claimed);
        let text = r#"{"level":"info","time":"2024-03-13T12:08:33","sender":"service","message":"starting"}"#;
        assert!(parsed(&SFTPGO, text).is_err());
    }

    #[test]
    fn an_authentik_login_that_failed_claims_its_name() {
        let text = r#"{"event":"invalid_login","identifier":"x","client_ip":"192.0.2.1","logger":"authentik.flows.stage","timestamp":"2024-03-13T12:08:33.1"}"#;
        let failed = draft(&AUTHENTIK, text);
        assert_eq!(
            (who(&failed).verified, failed.event.core.outcome),
            (Verified::Claimed, Some(Outcome::Denied))
        );
        let text = r#"{"event":"/api/v3/core/users/","method":"GET","status":200,"runtime":12.5,"user":"akadmin","remote":"192.0.2.1","logger":"authentik.asgi","timestamp":"2024-03-13T12:08:33.1"}"#;
        let request = draft(&AUTHENTIK, text);
        assert_eq!(
            (request.event.core.dur, request.event.core.outcome),
            (Some(12_500_000), Some(Outcome::Success))
        );
    }
}
