//! Azure Monitor: activity log, resource (diagnostic) logs of storage and others, and the Kubernetes audit events
//! that AKS sends as a text in `properties.log`.
//!
//! Source: Microsoft Learn, "Azure activity log event schema", "Azure resource logs common schema", "Azure Blob
//! Storage monitoring data reference", "Monitor AKS" (categories `kube-audit`, `kube-audit-admin`). An export holds
//! `{"records":[…]}`: [`crate::json::split`] with [`MEMBER`] cuts it. Inside a trusted input identity and address are
//! asserted; an account's key names nobody.

use super::{Format, Record, cloud, k8s_audit};
use crate::json::{Doc, Val};
use crate::{Draft, Fault, http, time};
use countersign_event::{Auth, Class, Kind, Outcome, Principal, PrincipalKind, Rec, StatusSpace, Verified};

/// The row of the table.
pub const AZURE: Format =
    Format { name: "azure", what: "Azure activity and resource logs; AKS kube-audit inside", looks, parse };

/// Member of an export that holds its records.
pub const MEMBER: &str = "records";
/// Claims as the activity log spells them (WS-Federation), and as tokens do.
const OBJECT_ID: &[&str] = &["http://schemas.microsoft.com/identity/claims/objectidentifier", "oid"];
const TENANT_ID: &[&str] = &["http://schemas.microsoft.com/identity/claims/tenantid", "tid"];
const USER: &[&str] = &["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "upn", "name"];

fn looks(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|entry| {
        entry.has("operationName")
            && ["resourceId", "callerIpAddress", "category", "correlationId"]
                .iter()
                .filter(|name| entry.has(name))
                .count()
                > 1
    })
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let entry = record.object()?;
    let mut draft = Draft::new();
    let op = entry.get("operationName").ok_or(Fault::new(0, "no operationName"))?;
    let op = op.get("value").unwrap_or(op).filled().ok_or(Fault::new(0, "no operationName"))?;
    let stamp = ["time", "eventTimestamp"].iter().find_map(|name| cloud::text(entry, name));
    draft.time(stamp.and_then(|text| time::rfc3339(&text)));
    let resource = cloud::text(entry, "resourceId").unwrap_or_default();
    if inner_audit(&mut draft, entry, &resource)? {
        return Ok(draft);
    }
    draft.event.core.kind = Some(Kind::CloudApi);
    draft.event.core.class = class(&op);
    draft.event.core.op = op.into_owned();
    if resource.is_empty() {
        draft.partial("a required field is missing");
    }
    target(&mut draft, entry, &resource);
    who(&mut draft, entry);
    address(&mut draft, entry);
    ended(&mut draft, entry);
    draft.event.links.corr = cloud::text(entry, "correlationId").unwrap_or_default().into_owned();
    draft.source_id = cloud::text(entry, "eventDataId").unwrap_or_default().into_owned();
    if let Some(ms) = entry.get("durationMs").and_then(|ms| ms.uint()) {
        draft.event.core.dur = ms.checked_mul(1_000_000);
    }
    Ok(draft)
}

fn class(op: &str) -> Option<Class> {
    // `listKeys/action`: the verb stands before the last part.
    let lower = op.to_ascii_lowercase();
    match lower.strip_suffix("/action").and_then(|rest| rest.rsplit('/').next()) {
        Some(verb) if verb.starts_with("list") || verb.starts_with("get") => Some(Class::Read),
        Some(_) => Some(Class::Execute),
        None => cloud::class(op),
    }
}

/// AKS: the API server's own event as a text. `true` = that is what the record is.
fn inner_audit(draft: &mut Draft, entry: Val<'_, '_>, resource: &str) -> Result<bool, Fault> {
    let category = entry.get("category").and_then(|category| category.peek());
    if !matches!(category.as_deref(), Some("kube-audit" | "kube-audit-admin")) {
        return Ok(false);
    }
    let log = entry.at("properties/log").ok_or(Fault::new(0, "no properties.log"))?;
    let text = log.peek().ok_or(Fault::new(0, "properties.log is no text"))?;
    let doc = Doc::parse(text.as_bytes()).map_err(|fault| Fault::new(0, fault.rule))?;
    let cluster = resource.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let exported = draft.event.core.t_event;
    k8s_audit::read(draft, doc.root(), &cluster)?;
    if draft.event.core.t_event.is_none() {
        draft.event.core.t_event = exported;
    }
    log.take();
    doc.unread(&mut |pointer, token| draft.token(format!("/properties/log{pointer}"), token));
    if doc.ambiguous() {
        draft.partial("a JSON object gives a name twice");
    }
    resource.clone_into(&mut draft.event.target.raw);
    Ok(true)
}

fn target(draft: &mut Draft, entry: Val<'_, '_>, resource: &str) {
    let target = &mut *draft.event.target;
    resource.clone_into(&mut target.res);
    let parts: Vec<&str> = resource.split('/').collect();
    let behind = |name: &str| {
        let at = parts.iter().rposition(|part| part.eq_ignore_ascii_case(name))?;
        parts.get(at + 1).copied()
    };
    target.ns = behind("subscriptions").unwrap_or_default().to_owned();
    if let Some(provider) = behind("providers") {
        provider.clone_into(&mut target.svc);
        // `providers/Microsoft.X/type/name/type/name`: every second part is a type.
        let at = parts.iter().rposition(|part| part.eq_ignore_ascii_case("providers")).unwrap_or(0) + 2;
        let types: Vec<&str> = parts.iter().skip(at).step_by(2).copied().collect();
        target.rtype = types.join("/");
    }
    target.id = cloud::text(entry, "properties/objectKey")
        .map_or_else(|| parts.last().copied().unwrap_or_default().to_owned(), |key| key.into_owned());
    target.region = cloud::text(entry, "location").unwrap_or_default().into_owned();
}

fn who(draft: &mut Draft, entry: Val<'_, '_>) {
    let identity = entry.get("identity");
    let claims = identity.and_then(|identity| identity.get("claims")).or(entry.get("claims"));
    let requester = identity.and_then(|identity| identity.get("requester"));
    let outer = cloud::text(entry, "tenantId").unwrap_or_default();
    let anonymous = identity.and_then(|identity| cloud::text(identity, "type"));
    let found = claims.and_then(|claims| claimed(claims, &outer));
    let found = found.or_else(|| requester.and_then(|requester| requested(requester, &outer)));
    let caller = || {
        let caller = cloud::text(entry, "caller")?;
        let kind = caller.contains('@').then_some(PrincipalKind::User);
        Some(cloud::principal(format!("azure:{outer}/{caller}"), &caller, kind, Verified::Asserted))
    };
    draft.event.who.who = found.or_else(caller);
    if anonymous.as_deref() == Some("Anonymous") && draft.event.who.who.is_none() {
        draft.who("anon:", PrincipalKind::Anonymous, Verified::Claimed);
    }
    if let (Some(who), Some("OAuth")) = (&mut draft.event.who.who, anonymous.as_deref()) {
        who.auth = Some(Auth::Jwt);
    }
    let kind = identity.and_then(|identity| cloud::text(identity, "authorization/evidence/principalType"));
    if let (Some(who), Some(kind)) = (&mut draft.event.who.who, kind) {
        who.kind = match kind.as_ref() {
            "User" => Some(PrincipalKind::User),
            "ServicePrincipal" => Some(PrincipalKind::Service),
            _ => who.kind,
        };
    }
}

/// The claims of the token that the Resource Manager checked.
fn claimed(claims: Val<'_, '_>, outer: &str) -> Option<Principal> {
    let first = |names: &[&str]| claims.any(names).and_then(|claim| claim.filled());
    let (object, app, user) = (first(OBJECT_ID), first(&["appid"]), first(USER));
    let tenant = first(TENANT_ID);
    let id = object.as_deref().or(app.as_deref()).or(user.as_deref())?;
    let kind = match first(&["idtyp"]).as_deref() {
        Some("app") => Some(PrincipalKind::Service),
        Some("user") => Some(PrincipalKind::User),
        _ if user.as_deref().is_some_and(|user| user.contains('@')) => Some(PrincipalKind::User),
        _ if object.is_none() && app.is_some() => Some(PrincipalKind::Service),
        _ => None,
    };
    let id = format!("azure:{}/{id}", tenant.as_deref().unwrap_or(outer));
    let shown = user.as_deref().or(app.as_deref()).unwrap_or_default();
    let mut who = cloud::principal(id, shown, kind, Verified::Asserted);
    who.svc = app.unwrap_or_default().into_owned();
    who.auth = Some(Auth::Jwt);
    Some(who)
}

/// `identity.requester` of storage logs.
fn requested(requester: Val<'_, '_>, outer: &str) -> Option<Principal> {
    let object = cloud::text(requester, "objectId")?;
    let tenant = cloud::text(requester, "tenantId");
    let name = cloud::text(requester, "upn").unwrap_or_default();
    let id = format!("azure:{}/{object}", tenant.as_deref().unwrap_or(outer));
    let mut who = cloud::principal(id, &name, None, Verified::Asserted);
    who.svc = cloud::text(requester, "appId").unwrap_or_default().into_owned();
    Some(who)
}

fn address(draft: &mut Draft, entry: Val<'_, '_>) {
    let address =
        ["callerIpAddress", "httpRequest/clientIpAddress"].iter().find_map(|path| cloud::text(entry, path));
    if let Some(address) = address {
        cloud::source(draft, &address);
    }
    if let Some(agent) = cloud::text(entry, "properties/userAgentHeader") {
        draft.header("user-agent", agent);
    }
    if let Some(version) = entry.at("properties/tlsVersion")
        && version.peek().is_some_and(|text| cloud::tls_version(draft, &text))
    {
        version.take();
    }
}

/// `resultType` or `status`, with the HTTP code in `resultSignature` or `statusCode`. The beginning of a long
/// operation is progress: its end is a record of its own.
fn ended(draft: &mut Draft, entry: Val<'_, '_>) {
    let result = ["resultType", "status/value", "status", "properties/metricResponseType", "statusText"];
    let result = result.iter().find_map(|path| cloud::text(entry, path)).unwrap_or_default();
    let code = entry.get("statusCode").and_then(|code| code.uint());
    let code = code.or_else(|| entry.get("resultSignature").and_then(|code| code.uint()));
    let named = entry.get("resultSignature").and_then(|text| text.peek()).unwrap_or_default();
    if let Some(code) = code {
        draft.event.core.status = Some((StatusSpace::Http, code.to_string()));
    }
    let denied = named.contains("Forbidden") || named.contains("Unauthorized");
    let by_code = code.and_then(http::outcome);
    draft.event.core.outcome = match result.to_ascii_lowercase().as_str() {
        "success" | "succeeded" => Some(Outcome::Success),
        "start" | "started" | "accept" | "accepted" | "inprogress" | "in progress" => {
            draft.event.core.rec = Some(Rec::Progress);
            None
        }
        "failed" | "failure" if denied => Some(Outcome::Denied),
        "failed" | "failure" => {
            by_code.filter(|outcome| *outcome != Outcome::Success).or(Some(Outcome::CallerError))
        }
        "authenticationfailed" | "authorizationfailure" | "anonymousclienterror" => Some(Outcome::Denied),
        "canceled" | "cancelled" => Some(Outcome::Cancelled),
        _ => by_code,
    };
    draft.event.content.err = match draft.event.core.outcome {
        Some(Outcome::Success) | None => String::new(),
        _ => cloud::text(entry, "resultDescription").unwrap_or_default().into_owned(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{draft, parsed, who};

    fn entry(more: &str) -> String {
        format!(
            r#"{{"time":"2024-03-13T12:08:33.1234567Z","resourceId":"/SUBSCRIPTIONS/s-1/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v/keys/k",
            "operationName":"Microsoft.KeyVault/vaults/keys/read","category":"Administrative","callerIpAddress":"192.0.2.1:33",
            "correlationId":"c-1","tenantId":"t-1"{more}}}"#
        )
    }

    #[test]
    fn the_claims_name_the_caller_by_tenant_and_object() {
        let more = r#","resultType":"Success","resultSignature":"Succeeded.OK","durationMs":"15","identity":{"claims":{
            "http://schemas.microsoft.com/identity/claims/objectidentifier":"o-1",
            "http://schemas.microsoft.com/identity/claims/tenantid":"t-9","appid":"a-1",
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn":"alice@example.org"}}"#;
        let draft = draft(&AZURE, &entry(more));
        assert_eq!(
            (who(&draft).id.as_str(), who(&draft).name.as_str()),
            ("azure:t-9/o-1", "alice@example.org")
        );
        let event = &draft.event;
        assert_eq!((event.core.outcome, event.core.class), (Some(Outcome::Success), Some(Class::Read)));
        assert_eq!((event.target.rtype.as_str(), event.target.id.as_str()), ("vaults/keys", "k"));
        assert_eq!((event.target.svc.as_str(), event.target.ns.as_str()), ("Microsoft.KeyVault", "s-1"));
        assert_eq!((event.core.dur, event.peer.src.as_ref().unwrap().port), (Some(15_000_000), Some(33)));
    }

    #[test]
    fn ends_of_all_kinds_are_told_apart() {
        for (more, want) in [
            (r#","resultType":"Failed","resultSignature":"403""#, Some(Outcome::Denied)),
            (r#","resultType":"Failure","resultSignature":"Failed.Forbidden""#, Some(Outcome::Denied)),
            (r#","resultType":"Failed","resultSignature":"503""#, Some(Outcome::ServerError)),
            (r#","resultType":"Failed""#, Some(Outcome::CallerError)),
            (r#","statusCode":404"#, Some(Outcome::CallerError)),
            (r#","resultType":"Start""#, None),
            ("", None),
        ] {
            assert_eq!(draft(&AZURE, &entry(more)).event.core.outcome, want, "{more}");
        }
        assert_eq!(draft(&AZURE, &entry(r#","resultType":"Start""#)).event.core.rec, Some(Rec::Progress));
    }

    #[test]
    fn an_accounts_key_names_nobody_and_an_anonymous_reader_is_anonymous() {
        let keyed = draft(&AZURE, &entry(r#","identity":{"type":"AccountKey","tokenHash":"x"}"#));
        assert!(keyed.event.who.who.is_none());
        let anonymous = draft(&AZURE, &entry(r#","identity":{"type":"Anonymous"}"#));
        assert_eq!(who(&anonymous).id, "anon:");
    }

    #[test]
    fn an_audit_event_inside_is_what_happened_and_its_rest_is_kept() {
        let log = r#"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"auditID\":\"a\",\"stage\":\"ResponseComplete\",\"verb\":\"get\",\"user\":{\"username\":\"bob\"},\"objectRef\":{\"resource\":\"pods\"},\"responseStatus\":{\"code\":200},\"x\":1}"#;
        let text = entry(&format!(r#","properties":{{"log":"{log}","pod":"p"}}"#))
            .replace("Administrative", "kube-audit");
        let inner = draft(&AZURE, &text);
        assert_eq!((who(&inner).id.as_str(), inner.event.core.op.as_str()), ("k8s-user:k/bob", "get"));
        assert!(inner.event.content.unmapped.contains_key("/properties/log/x"));
        assert!(inner.event.content.unmapped.contains_key("/properties/pod"));
        assert!(inner.join.is_some());
        assert!(parsed(&AZURE, &text.replace(r#"{\"kind\""#, "")).is_err());
    }
}
