//! Teleport audit events and Boundary audit events: who used which access.
//!
//! Source: Teleport, "Audit events and records" and `api/types/events`; HashiCorp Boundary, "Audit events" (a
//! CloudEvent around `data`). Inside a trusted input the authenticated user and the remote address are asserted; the
//! name in a login that failed is claimed.

use super::{Format, Record, cloud};
use crate::{Draft, Fault, http, time};
use countersign_event::{Class, Kind, Outcome, PrincipalKind, Relation, Verified};

/// Teleport.
pub const TELEPORT: Format =
    Format { name: "teleport", what: "Teleport audit event", looks: looks_teleport, parse: teleport };
/// Boundary.
pub const BOUNDARY: Format = Format {
    name: "boundary",
    what: "HashiCorp Boundary audit event",
    looks: looks_boundary,
    parse: boundary,
};

fn looks_teleport(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|event| {
        // `T1000I`: a T, digits, and the letter of its severity.
        let code = event.get("code").and_then(|code| code.peek()).unwrap_or_default();
        let digits =
            code.strip_prefix('T').map(|rest| rest.trim_end_matches(|c: char| c.is_ascii_uppercase()));
        let is_code = digits
            .is_some_and(|digits| digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_alphanumeric()));
        is_code && event.has("event") && event.has("time")
    })
}

fn teleport(record: &Record<'_>) -> Result<Draft, Fault> {
    let event = record.object()?;
    let mut draft = Draft::new();
    let op = cloud::text(event, "event").ok_or(Fault::new(0, "no event"))?;
    draft.time(cloud::text(event, "time").and_then(|text| time::rfc3339(&text)));
    draft.source_id = cloud::text(event, "uid").unwrap_or_default().into_owned();
    if draft.source_id.is_empty() {
        draft.partial("a required field is missing");
    }
    let cluster = cloud::text(event, "cluster_name");
    let realm = cluster.as_deref().unwrap_or(record.realm).to_owned();
    let login = op == "auth" || op == "user.login" || op == "bot.join";
    draft.event.core.kind = match op.split('.').next() {
        _ if login => Some(Kind::Auth),
        Some("db") => Some(Kind::Sql),
        Some("kube") => Some(Kind::K8sApi),
        Some("session" | "exec" | "x11-forward" | "port") => Some(Kind::Lifecycle),
        _ => None,
    };
    draft.event.core.class = match op.rsplit('.').next() {
        _ if login => Some(Class::Authenticate),
        Some("exec" | "command" | "query") => Some(Class::Execute),
        Some("create" | "created") => Some(Class::Create),
        Some("update" | "updated") => Some(Class::Modify),
        Some("delete" | "deleted") => Some(Class::Delete),
        _ => None,
    };
    draft.event.core.outcome = match (event.get("success").and_then(|flag| flag.bool()), login) {
        (Some(true), _) => Some(Outcome::Success),
        (Some(false), true) => Some(Outcome::Denied),
        (Some(false), false) => Some(Outcome::CallerError),
        (None, _) => None,
    };
    draft.event.content.err = cloud::text(event, "error").unwrap_or_default().into_owned();
    let proven = draft.event.core.outcome != Some(Outcome::Denied);
    let level = if proven { Verified::Asserted } else { Verified::Claimed };
    teleport_who(&mut draft, event, &realm, level);
    if let Some(address) = cloud::text(event, "addr.remote") {
        cloud::source(&mut draft, &address);
    }
    draft.event.links.sess = cloud::text(event, "sid").unwrap_or_default().into_owned();
    let target = &mut *draft.event.target;
    "teleport".clone_into(&mut target.svc);
    for (name, rtype) in [
        ("db_service", "db"),
        ("kubernetes_cluster", "kube"),
        ("app_name", "app"),
        ("server_hostname", "node"),
        ("server_id", "node"),
        ("name", "resource"),
    ] {
        if let Some(name) = cloud::text(event, name) {
            rtype.clone_into(&mut target.rtype);
            target.res = name.to_string();
            target.id = name.into_owned();
            break;
        }
    }
    target.ns = cloud::text(event, "db_name").unwrap_or_default().into_owned();
    draft.event.core.op = op.into_owned();
    Ok(draft)
}

/// The user, and who impersonated it: the impersonator acts, the user stands behind.
fn teleport_who(draft: &mut Draft, event: crate::json::Val<'_, '_>, realm: &str, level: Verified) {
    let kind = match event.get("user_kind").and_then(|kind| kind.uint()) {
        Some(2) => PrincipalKind::Service,
        _ => PrincipalKind::User,
    };
    let Some(name) = cloud::text(event, "user") else { return };
    let user = cloud::principal(format!("user:{realm}/{name}"), &name, Some(kind), level);
    match cloud::text(event, "impersonator") {
        Some(other) => {
            let actor = cloud::principal(format!("user:{realm}/{other}"), &other, None, level);
            draft.event.who.who = Some(actor);
            draft.event.who.obo = vec![cloud::behind(user, Relation::Impersonates)];
        }
        None => draft.event.who.who = Some(user),
    }
}

fn looks_boundary(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|event| {
        event.has("specversion") && event.at("data/type").is_some() && event.at("data/request_info").is_some()
    })
}

fn boundary(record: &Record<'_>) -> Result<Draft, Fault> {
    let event = record.object()?;
    let data = event.get("data").ok_or(Fault::new(0, "no data"))?;
    let info = data.get("request_info").ok_or(Fault::new(0, "no request_info"))?;
    let mut draft = Draft::new();
    let stamp = cloud::text(event, "time").or_else(|| cloud::text(data, "timestamp"));
    draft.time(stamp.and_then(|text| time::rfc3339(&text)));
    draft.source_id = cloud::text(event, "id").unwrap_or_default().into_owned();
    let method = cloud::text(info, "method").unwrap_or_default();
    let path = cloud::text(info, "path").unwrap_or_default();
    if method.is_empty() || path.is_empty() || draft.source_id.is_empty() {
        draft.partial("a required field is missing");
    }
    http::request(&mut draft, &method, &path, "");
    "boundary".clone_into(&mut draft.event.target.svc);
    draft.event.links.corr = cloud::text(info, "id").unwrap_or_default().into_owned();
    if let Some(address) = cloud::text(info, "client_ip") {
        cloud::source(&mut draft, &address);
    }
    match data.at("response/status_code").and_then(|code| code.uint()) {
        Some(code) => http::status(&mut draft, code),
        None => draft.partial("a required field is missing"),
    }
    match cloud::text(data, "auth/user_info/id") {
        Some(id) if id == "u_anon" => {
            draft.who("anon:", PrincipalKind::Anonymous, Verified::Claimed);
        }
        Some(id) => {
            draft.user(record.realm, &id, None, Verified::Asserted);
        }
        None => {}
    }
    if let (Some(who), Some(token)) = (&mut draft.event.who.who, cloud::text(data, "auth/auth_token_id")) {
        who.cred = token.into_owned();
    }
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{draft, obo, who};
    use countersign_event::Unmapped;

    #[test]
    fn an_impersonator_acts_and_the_user_stands_behind() {
        let text = r#"{"event":"db.session.query","code":"TDB02I","time":"2024-03-13T12:08:33Z","uid":"u","user":"bot-ci","user_kind":2,
            "impersonator":"alice","cluster_name":"c","sid":"s","db_service":"pg","db_name":"shop","addr.remote":"192.0.2.1:5","success":true}"#;
        let draft = draft(&TELEPORT, text);
        assert_eq!(who(&draft).id, "user:c/alice");
        assert_eq!(obo(&draft), [("user:c/bot-ci", Relation::Impersonates, Verified::Asserted)]);
        assert_eq!((draft.event.target.res.as_str(), draft.event.target.ns.as_str()), ("pg", "shop"));
        assert_eq!((draft.event.core.kind, draft.event.core.class), (Some(Kind::Sql), Some(Class::Execute)));
        assert_eq!(draft.event.content.unmapped.get("/code"), Some(&Unmapped::Token("\"TDB02I\"".into())));
    }

    #[test]
    fn a_login_that_failed_names_whom_it_claimed() {
        let text = r#"{"event":"user.login","code":"T1000W","time":"2024-03-13T12:08:33Z","uid":"u","user":"bob","success":false,"error":"no"}"#;
        let draft = draft(&TELEPORT, text);
        assert_eq!(
            (who(&draft).verified, draft.event.core.outcome),
            (Verified::Claimed, Some(Outcome::Denied))
        );
    }

    #[test]
    fn a_request_to_boundary_names_its_user_and_its_end() {
        let text = r#"{"id":"e","source":"https://hashicorp.com/boundary/x","specversion":"1.0","type":"audit","time":"2024-03-13T12:08:33Z",
            "data":{"id":"e","version":"v0.1","type":"APIRequest","request_info":{"id":"gtraceid_1","method":"POST","path":"/v1/targets/t_1:authorize-session","client_ip":"192.0.2.1"},
            "auth":{"auth_token_id":"at_1","user_info":{"id":"u_1"}},"response":{"status_code":403}}}"#;
        let draft = draft(&BOUNDARY, text);
        assert_eq!((who(&draft).id.as_str(), who(&draft).cred.as_str()), ("user:r/u_1", "at_1"));
        assert_eq!(draft.event.core.outcome, Some(Outcome::Denied));
        let anonymous = draft_of(text);
        assert_eq!(who(&anonymous).id, "anon:");
    }

    fn draft_of(text: &str) -> Draft {
        draft(&BOUNDARY, &text.replace("\"u_1\"", "\"u_anon\""))
    }
}
