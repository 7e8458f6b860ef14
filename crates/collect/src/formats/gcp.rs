//! Google Cloud `LogEntry` records: audit logs and the requests of HTTP(S) load balancers.
//!
//! Source: Google Cloud "LogEntry" and "AuditLog" (google.cloud.audit), "HttpRequest", "HTTP(S) load balancing
//! logging". Names of members are taken whatever their case, as BigQuery exports and SIEMs fold them. Inside a
//! trusted input principals and `callerIp` are asserted; the caller's own user agent is claimed.

use super::{Format, Record, cloud};
use crate::json::{Kind as Json, Val};
use crate::{Draft, Fault, http, time};
use countersign_event::{
    Decision, Kind, Outcome, Principal, PrincipalKind, Relation, StatusSpace, Verdict, Verified,
};
use std::borrow::Cow;

/// Audit logs.
pub const GCP_AUDIT: Format = Format {
    name: "gcp-audit",
    what: "Google Cloud audit log entry (AuditLog in a LogEntry)",
    looks: looks_audit,
    parse: audit,
};
/// Requests of load balancers.
pub const GCP_LB: Format = Format {
    name: "gcp-lb",
    what: "Google Cloud HTTP(S) load balancer request (LogEntry)",
    looks: looks_lb,
    parse: lb,
};

fn looks_audit(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|entry| {
        let payload = entry.fold("protoPayload");
        payload.is_some_and(|payload| {
            payload
                .fold("methodName")
                .or(payload.fold("serviceName"))
                .or(payload.fold("authenticationInfo"))
                .is_some()
        })
    })
}

fn looks_lb(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|entry| {
        entry.fold("httpRequest").is_some_and(|request| request.fold("requestMethod").is_some())
            && entry.fold("logName").or(entry.fold("insertId")).is_some()
    })
}

/// Text of the member, whatever its case, taken; empty texts are none.
fn text<'a>(value: Val<'_, 'a>, name: &str) -> Option<Cow<'a, str>> {
    value.fold(name).and_then(|member| member.filled())
}

/// What every entry has: time, id, operation, trace, resource.
fn entry(draft: &mut Draft, entry: Val<'_, '_>) {
    draft.time(text(entry, "timestamp").and_then(|text| time::rfc3339(&text)));
    draft.source_id = text(entry, "insertId").unwrap_or_default().into_owned();
    if draft.source_id.is_empty() {
        draft.partial("a required field is missing");
    }
    let operation = entry.fold("operation").and_then(|operation| text(operation, "id"));
    draft.event.links.corr = operation.unwrap_or_default().into_owned();
    if let Some(trace) = entry.fold("trace")
        && let Some(name) = trace.peek()
    {
        let id = cloud::unhex(name.rsplit('/').next().unwrap_or_default());
        let id = id.and_then(|id| <[u8; 16]>::try_from(id).ok()).filter(|id| *id != [0; 16]);
        draft.event.links.trace = id.inspect(|_| trace.take());
    }
    if let Some(span) = entry.fold("spanId")
        && let Some(id) = span.peek().and_then(|id| cloud::unhex(&id))
    {
        let id = <[u8; 8]>::try_from(id).ok().filter(|id| *id != [0; 8]);
        draft.event.links.span = id.inspect(|_| span.take());
    }
    let Some(resource) = entry.fold("resource") else { return };
    let target = &mut *draft.event.target;
    target.rtype = text(resource, "type").unwrap_or_default().into_owned();
    if let Some(labels) = resource.fold("labels") {
        target.ns = text(labels, "project_id").unwrap_or_default().into_owned();
        let region =
            text(labels, "location").or_else(|| text(labels, "region")).or_else(|| text(labels, "zone"));
        target.region = region.unwrap_or_default().into_owned();
    }
}

fn audit(record: &Record<'_>) -> Result<Draft, Fault> {
    let root = record.object()?;
    let payload = root.fold("protoPayload").ok_or(Fault::new(0, "no protoPayload"))?;
    if !looks_audit(record) {
        return Err(Fault::new(0, "not an audit log"));
    }
    let mut draft = Draft::new();
    draft.event.core.kind = Some(Kind::CloudApi);
    entry(&mut draft, root);
    draft.event.target.svc = text(payload, "serviceName").unwrap_or_default().into_owned();
    draft.event.target.res = text(payload, "resourceName").unwrap_or_default().into_owned();
    draft.event.core.op = text(payload, "methodName").unwrap_or_default().into_owned();
    draft.event.core.class = cloud::class(&draft.event.core.op);
    match payload.fold("authenticationInfo") {
        Some(info) => who(&mut draft, info, record.realm),
        None => draft.partial("a required field is missing"),
    }
    if draft.event.core.op.is_empty() || draft.event.target.svc.is_empty() {
        draft.partial("a required field is missing");
    }
    if let Some(metadata) = payload.fold("requestMetadata") {
        if let Some(address) = text(metadata, "callerIp") {
            cloud::source(&mut draft, &address);
        }
        if let Some(agent) = text(metadata, "callerSuppliedUserAgent") {
            draft.header("user-agent", agent);
        }
    }
    let granted = authorised(&mut draft, payload);
    draft.event.core.outcome = status(&mut draft, payload, granted);
    Ok(draft)
}

/// The decision; `None` = the record has none.
fn authorised(draft: &mut Draft, payload: Val<'_, '_>) -> Option<bool> {
    let infos = payload.fold("authorizationInfo").into_iter().flat_map(|all| all.elements());
    let mut granted = None;
    for info in infos {
        if let Some(this) = info.fold("granted").and_then(|granted| granted.bool()) {
            granted = Some(granted.unwrap_or(true) && this);
        }
    }
    let verdict = Some(if granted? { Verdict::Allow } else { Verdict::Deny });
    draft.event.core.decision = Some(Decision { verdict, ..Decision::default() }.into());
    granted
}

/// `google.rpc.Status`, which is empty for success; without one a refused permission says how it ended.
fn status(draft: &mut Draft, payload: Val<'_, '_>, granted: Option<bool>) -> Option<Outcome> {
    let Some(status) = payload.fold("status").filter(|status| status.kind() == Json::Object) else {
        return match granted {
            Some(false) => Some(Outcome::Denied),
            Some(true) => Some(Outcome::Success),
            None => None,
        };
    };
    draft.event.content.err = text(status, "message").unwrap_or_default().into_owned();
    if status.members().next().is_none() {
        status.take();
    }
    let code = status.fold("code").and_then(|code| code.uint()).unwrap_or(0);
    draft.event.core.status = Some((StatusSpace::Grpc, code.to_string()));
    Some(match code {
        0 => Outcome::Success,
        1 => Outcome::Cancelled,
        4 => Outcome::Timeout,
        7 | 16 => Outcome::Denied,
        2 | 13 | 14 | 15 => Outcome::ServerError,
        _ => Outcome::CallerError,
    })
}

fn who(draft: &mut Draft, info: Val<'_, '_>, realm: &str) {
    let mut who = match principal(info, realm) {
        Some(who) => who,
        None => return draft.partial("a required field is missing"),
    };
    if let Some(key) = text(info, "serviceAccountKeyName") {
        who.cred = format!("key:{}", key.rsplit('/').next().unwrap_or_default());
    }
    draft.event.who.who = Some(who);
    // In the order of the delegations, so the nearest is the last.
    let chain: Vec<_> =
        info.fold("serviceAccountDelegationInfo").into_iter().flat_map(|all| all.elements()).collect();
    for step in chain.into_iter().rev() {
        let first = step.fold("firstPartyPrincipal").and_then(|first| principal(first, realm));
        let behind = first.or_else(|| principal(step, realm));
        draft.event.who.obo.extend(behind.map(|who| cloud::behind(who, Relation::OnBehalfOf)));
    }
}

/// By address, else by the subject that federated identities have.
fn principal(info: Val<'_, '_>, realm: &str) -> Option<Principal> {
    let email = text(info, "principalEmail");
    let subject = text(info, "principalSubject");
    let name = email.or(subject)?;
    if name == "system:anonymous" {
        let anonymous = Some(PrincipalKind::Anonymous);
        return Some(cloud::principal("anon:".to_owned(), &name, anonymous, Verified::Claimed));
    }
    // GKE logs its own users without a domain.
    if name.starts_with("system:") {
        let id = format!("k8s-user:{realm}/{name}");
        return Some(cloud::principal(id, &name, Some(PrincipalKind::System), Verified::Asserted));
    }
    let service = name.ends_with("gserviceaccount.com");
    let kind = if service { PrincipalKind::Service } else { PrincipalKind::User };
    Some(cloud::principal(format!("gcp:{name}"), &name, Some(kind), Verified::Asserted))
}

fn lb(record: &Record<'_>) -> Result<Draft, Fault> {
    let root = record.object()?;
    let request = root.fold("httpRequest").ok_or(Fault::new(0, "no httpRequest"))?;
    let mut draft = Draft::new();
    entry(&mut draft, root);
    let method = text(request, "requestMethod").ok_or(Fault::new(0, "no requestMethod"))?;
    let url = text(request, "requestUrl").unwrap_or_default();
    http::request(&mut draft, &method, &url, &text(request, "protocol").unwrap_or_default());
    match request.fold("status").and_then(|status| status.uint()) {
        Some(status) => http::status(&mut draft, status),
        None => draft.partial("a required field is missing"),
    }
    let size = |name| request.fold(name).and_then(|size| size.uint());
    draft.sizes(size("requestSize"), size("responseSize"));
    if let Some(address) = text(request, "remoteIp") {
        cloud::source(&mut draft, &address);
    }
    if let Some(server) = request.fold("serverIp")
        && server.peek().is_some_and(|address| draft.up(&address))
    {
        server.take();
    }
    if let Some(latency) = request.fold("latency")
        && let Some(ns) = latency.peek().and_then(|text| time::seconds(text.strip_suffix('s')?))
    {
        draft.event.core.dur = Some(ns);
        latency.take();
    }
    for (member, header) in [("userAgent", "user-agent"), ("referer", "referer")] {
        draft.header(header, text(request, member).unwrap_or_default());
    }
    let labels = root.fold("resource").and_then(|resource| resource.fold("labels"));
    let backend = labels.and_then(|labels| text(labels, "backend_service_name"));
    draft.event.target.svc = backend.unwrap_or_default().into_owned();
    armor(&mut draft, root);
    Ok(draft)
}

/// What Cloud Armor decided.
fn armor(draft: &mut Draft, root: Val<'_, '_>) {
    let Some(policy) = root.fold("jsonPayload").and_then(|payload| payload.fold("enforcedSecurityPolicy"))
    else {
        return;
    };
    let verdict = match text(policy, "outcome").as_deref() {
        Some("ACCEPT") => Verdict::Allow,
        Some("DENY") => Verdict::Deny,
        _ => return,
    };
    let policies = text(policy, "name").map(|name| name.into_owned()).into_iter().collect();
    draft.event.core.decision =
        Some(Decision { verdict: Some(verdict), policies, ..Decision::default() }.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{draft, obo, who};
    use countersign_event::Class;

    fn audit_entry(auth: &str, more: &str) -> String {
        format!(
            r#"{{"insertId":"i-1","timestamp":"2024-03-13T12:08:33.000000009Z","logName":"projects/p/logs/cloudaudit",
            "trace":"projects/p/traces/0af7651916cd43dd8448eb211c80319c","operation":{{"id":"op-1"}},
            "resource":{{"type":"gcs_bucket","labels":{{"project_id":"p","location":"eu"}}}},
            "protoPayload":{{"serviceName":"storage.googleapis.com","methodName":"storage.objects.get",
            "resourceName":"projects/_/buckets/b/objects/o","authenticationInfo":{auth},
            "requestMetadata":{{"callerIp":"2001:db8::1","callerSuppliedUserAgent":"gsutil"}}{more}}}}}"#
        )
    }

    #[test]
    fn an_impersonated_service_account_has_its_delegations_behind_it_nearest_first() {
        let auth = r#"{"principalEmail":"sa@p.iam.gserviceaccount.com",
            "serviceAccountKeyName":"//iam.googleapis.com/projects/p/serviceAccounts/sa/keys/k9",
            "serviceAccountDelegationInfo":[{"firstPartyPrincipal":{"principalEmail":"alice@example.org"}},
            {"principalSubject":"principal://iam.googleapis.com/x/subject/s"}]}"#;
        let draft = draft(&GCP_AUDIT, &audit_entry(auth, r#","status":{}"#));
        assert_eq!(who(&draft).id, "gcp:sa@p.iam.gserviceaccount.com");
        assert_eq!((who(&draft).kind, who(&draft).cred.as_str()), (Some(PrincipalKind::Service), "key:k9"));
        assert_eq!(
            obo(&draft),
            [
                ("gcp:principal://iam.googleapis.com/x/subject/s", Relation::OnBehalfOf, Verified::Asserted),
                ("gcp:alice@example.org", Relation::OnBehalfOf, Verified::Asserted),
            ]
        );
        assert_eq!(
            (draft.event.core.outcome, draft.event.core.class),
            (Some(Outcome::Success), Some(Class::Read))
        );
        assert!(draft.event.links.trace.is_some() && draft.partial.is_none());
    }

    #[test]
    fn a_refused_permission_is_denied_with_or_without_a_status() {
        let auth = r#"{"principalEmail":"a@b.c"}"#;
        for (more, outcome, verdict) in [
            (r#","status":{"code":7,"message":"no"}"#, Some(Outcome::Denied), None),
            (
                r#","authorizationInfo":[{"granted":true},{"granted":false}]"#,
                Some(Outcome::Denied),
                Some(Verdict::Deny),
            ),
            (r#","authorizationInfo":[{"granted":true}]"#, Some(Outcome::Success), Some(Verdict::Allow)),
            (r#","status":{"code":14}"#, Some(Outcome::ServerError), None),
            ("", None, None),
        ] {
            let draft = draft(&GCP_AUDIT, &audit_entry(auth, more));
            let decided = draft.event.core.decision.as_ref().and_then(|decision| decision.verdict);
            assert_eq!((draft.event.core.outcome, decided), (outcome, verdict), "{more}");
        }
    }

    #[test]
    fn members_are_read_whatever_their_case() {
        let text = audit_entry(r#"{"principalEmail":"a@b.c"}"#, "")
            .replace("insertId", "insertid")
            .replace("callerIp", "callerIP");
        let draft = draft(&GCP_AUDIT, &text);
        assert_eq!((draft.source_id.as_str(), draft.event.peer.src.is_some()), ("i-1", true));
    }

    #[test]
    fn a_load_balancers_request_is_an_http_exchange() {
        let text = r#"{"insertId":"i","timestamp":"2024-03-13T12:08:33Z","logName":"x","httpRequest":{"requestMethod":"GET",
            "requestUrl":"https://shop.example/a/7?x=1","requestSize":"120","status":502,"responseSize":"9",
            "remoteIp":"192.0.2.1:443","serverIp":"10.0.0.3","latency":"0.250s","userAgent":"curl","protocol":"HTTP/1.1"},
            "resource":{"type":"http_load_balancer","labels":{"backend_service_name":"web"}},
            "jsonPayload":{"enforcedSecurityPolicy":{"name":"armor","outcome":"ACCEPT"}}}"#;
        let draft = draft(&GCP_LB, text);
        let event = &draft.event;
        assert_eq!((event.core.outcome, event.core.dur), (Some(Outcome::ServerError), Some(250_000_000)));
        assert_eq!((event.target.raw.as_str(), event.target.svc.as_str()), ("/a/7", "web"));
        assert_eq!(event.peer.src.as_ref().unwrap().port, Some(443));
        assert_eq!(event.core.decision.as_ref().unwrap().verdict, Some(Verdict::Allow));
    }
}
