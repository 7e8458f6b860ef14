//! Kubernetes audit events, `audit.k8s.io/v1`: one event of a log file or of a webhook's `EventList`.
//!
//! Source: Kubernetes API reference, "kube-apiserver Audit Configuration (v1)", and "Auditing" (stages). A webhook
//! sends `{"kind":"EventList","items":[…]}`: [`crate::json::split`] with [`MEMBER`] cuts it. Earlier stages wait for
//! the last one in [`crate::joins`]; a policy may omit them, so a last one alone is whole.
//!
//! The API server authenticated `user` (asserted in a trusted input) and let it impersonate (asserted, behind it).
//! Of `sourceIPs` the last is the connection's own, those before it are from headers and claimed, as is the agent.
//! Objects of secrets and tokens, and why the authoriser decided (it names users), are in no field that is kept for
//! ever: bodies of secrets are dropped, the reason stays in `unmapped`.

use super::{Format, Record, cloud};
use crate::joins::{FIRST_ONLY, Join, Part};
use crate::json::Val;
use crate::{Draft, Fault, http, time};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_event::cbor::Value;
use countersign_event::fields::detail::k8s_api;
use countersign_event::{
    Auth, Class, Decision, Kind, Outcome, Principal, PrincipalKind, Relation, StatusSpace, Verdict, Verified,
};
use ring::digest::{SHA256, digest};

/// The row of the table.
pub const K8S_AUDIT: Format = Format {
    name: "k8s-audit",
    what: "Kubernetes audit event (audit.k8s.io/v1; EKS, AKS, GKE exports)",
    looks,
    parse,
};

/// Member of an `EventList` that holds its events.
pub const MEMBER: &str = "items";
/// What the decision and its reason are called among the annotations.
const DECISION: &str = "authorization.k8s.io/decision";

fn looks(record: &Record<'_>) -> bool {
    record.object().is_ok_and(is)
}

/// Whether `event` is one; also for those that others carry.
pub(super) fn is(event: Val<'_, '_>) -> bool {
    // Events of the core API are of the same kind, and have no verb.
    event.get("kind").is_some_and(|kind| kind.peek().as_deref() == Some("Event")) && event.has("verb")
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let event = record.object()?;
    let mut draft = Draft::new();
    read(&mut draft, event, record.realm)?;
    Ok(draft)
}

/// Reads `event` into `draft`; `cluster` is the realm of its users.
pub(super) fn read(draft: &mut Draft, event: Val<'_, '_>, cluster: &str) -> Result<(), Fault> {
    if !is(event) {
        return Err(Fault::new(0, "not a Kubernetes audit event"));
    }
    let verb = cloud::text(event, "verb").ok_or(Fault::new(0, "a verb is no text"))?;
    draft.event.core.kind = Some(Kind::K8sApi);
    for known in ["kind", "apiVersion"] {
        event.get(known).inspect(|value| value.take());
    }
    times(draft, event);
    who(draft, event, cluster);
    target(draft, event);
    addresses(draft, event);
    stage(draft, event);
    ended(draft, event);
    decision(draft, event);
    draft.event.core.class = class(&verb, event);
    draft.event.core.op = verb.into_owned();
    Ok(())
}

fn times(draft: &mut Draft, event: Val<'_, '_>) {
    let at = |name| cloud::text(event, name).and_then(|text| time::rfc3339(&text));
    let (received, reached) = (at("requestReceivedTimestamp"), at("stageTimestamp"));
    draft.time(received.or(reached));
    if let (Some(begin), Some(end)) = (received, reached) {
        draft.event.core.dur = u64::try_from(end.ns - begin.ns).ok();
    }
}

/// Stage and id: which part of a request this is.
fn stage(draft: &mut Draft, event: Val<'_, '_>) {
    let stage = cloud::text(event, "stage");
    let id = cloud::text(event, "auditID").unwrap_or_default();
    draft.event.links.corr = id.to_string();
    draft.source_id = id.to_string();
    let last = match stage.as_deref() {
        Some("ResponseComplete" | "Panic") => true,
        Some(stage @ ("RequestReceived" | "ResponseStarted")) => {
            draft.partial(FIRST_ONLY);
            draft.source_id = format!("{id}/{stage}");
            // Nothing has ended yet.
            draft.event.core.dur = None;
            false
        }
        _ => return draft.partial("a required field is missing"),
    };
    if id.is_empty() {
        return draft.partial("a required field is missing");
    }
    if stage.as_deref() == Some("Panic") {
        draft.event.core.outcome = Some(Outcome::ServerError);
    }
    draft.join = Some(Join { key: id.into_owned(), part: if last { Part::Last } else { Part::First } });
}

fn ended(draft: &mut Draft, event: Val<'_, '_>) {
    let Some(status) = event.get("responseStatus") else { return };
    if let Some(code) = status.get("code").and_then(|code| code.uint()).filter(|code| *code > 0) {
        draft.event.core.status = Some((StatusSpace::K8s, code.to_string()));
        // 101 of exec and watch is a connection that was given, hence a success. A stream that only started has not
        // ended, but what was asked for was granted.
        draft.event.core.outcome = draft.event.core.outcome.or(http::outcome(code));
    }
    if let Some(message) = cloud::text(status, "message") {
        draft.event.content.err = message.into_owned();
    }
}

fn decision(draft: &mut Draft, event: Val<'_, '_>) {
    let Some(said) = event.get("annotations").and_then(|all| all.get(DECISION)) else { return };
    let verdict = match said.peek().as_deref() {
        Some("allow") => Verdict::Allow,
        Some("forbid") => Verdict::Deny,
        _ => return,
    };
    said.take();
    draft.event.core.decision = Some(Decision { verdict: Some(verdict), ..Decision::default() }.into());
    if verdict == Verdict::Deny && draft.event.core.status.is_none() {
        draft.event.core.outcome = Some(Outcome::Denied);
    }
}

fn class(verb: &str, event: Val<'_, '_>) -> Option<Class> {
    let inner = event.at("objectRef/subresource").and_then(|inner| inner.peek());
    // A stream into a container, whatever the method it was opened with.
    if matches!(inner.as_deref(), Some("exec" | "attach" | "portforward" | "proxy")) {
        return Some(Class::Execute);
    }
    Some(match verb {
        "get" | "list" | "watch" | "head" => Class::Read,
        "create" | "post" => Class::Create,
        "update" | "patch" | "put" => Class::Modify,
        "delete" | "deletecollection" => Class::Delete,
        "options" => Class::Meta,
        "connect" => Class::Connect,
        _ => return None,
    })
}

fn target(draft: &mut Draft, event: Val<'_, '_>) {
    "kube-apiserver".clone_into(&mut draft.event.target.svc);
    if let Some(uri) = cloud::text(event, "requestURI") {
        http::target(draft, &uri);
        // Names of query parameters are of kind http.
        draft.event.content.detail.clear();
    }
    let Some(object) = event.get("objectRef") else { return };
    let part = |name| cloud::text(object, name).unwrap_or_default().into_owned();
    let (resource, inner) = (part("resource"), part("subresource"));
    let target = &mut *draft.event.target;
    target.res = if inner.is_empty() { resource.clone() } else { format!("{resource}/{inner}") };
    target.rtype = resource;
    target.ns = part("namespace");
    target.id = part("name");
    let details = &mut draft.event.content.detail;
    let (group, version) = (part("apiGroup"), part("apiVersion"));
    for (key, text) in
        [(k8s_api::API_GROUP, group), (k8s_api::VERSION, version), (k8s_api::SUBRESOURCE, inner)]
    {
        if !text.is_empty() {
            details.insert(key, Value::Text(text));
        }
    }
    if draft
        .event
        .content
        .unmapped
        .get("/query")
        .is_some_and(|query| format!("{query:?}").contains("dryRun=All"))
    {
        draft.event.content.detail.insert(k8s_api::DRY_RUN, Value::Bool(true));
    }
    bodies(draft, event);
}

/// Bodies of objects that are secrets: dropped, and the record's own bytes with them.
fn bodies(draft: &mut Draft, event: Val<'_, '_>) {
    let target = &draft.event.target;
    let secret = matches!(target.rtype.as_str(), "secrets" | "tokenreviews" | "tokenrequests")
        || target.res == "serviceaccounts/token";
    for body in ["requestObject", "responseObject"].into_iter().filter_map(|name| event.get(name)) {
        let dropped = secret || body.get("kind").is_some_and(|kind| kind.peek().as_deref() == Some("Secret"));
        if dropped {
            body.take();
            draft.secret("k8s-secret");
        }
    }
}

/// `sourceIPs`: forwarded ones first, the connection's own last (apiserver, `SourceIPs`).
fn addresses(draft: &mut Draft, event: Val<'_, '_>) {
    let all: Vec<_> = event.get("sourceIPs").into_iter().flat_map(|all| all.elements()).collect();
    let Some((own, forwarded)) = all.split_last() else { return user_agent(draft, event) };
    for hop in forwarded.iter().filter_map(|hop| hop.filled()) {
        draft.hop(&hop, Verified::Claimed);
    }
    if let Some(own) = own.filled() {
        cloud::source(draft, &own);
    }
    user_agent(draft, event);
}

fn user_agent(draft: &mut Draft, event: Val<'_, '_>) {
    if let Some(agent) = cloud::text(event, "userAgent") {
        draft.header("user-agent", agent);
    }
}

fn who(draft: &mut Draft, event: Val<'_, '_>, cluster: &str) {
    match event.get("user").and_then(|user| principal(user, cluster)) {
        Some(user) => draft.event.who.who = Some(user),
        None => draft.partial("a required field is missing"),
    }
    let other = event.get("impersonatedUser").and_then(|user| principal(user, cluster));
    draft.event.who.obo = other.map(|user| cloud::behind(user, Relation::Impersonates)).into_iter().collect();
}

/// A `UserInfo`: a service account, a node, nobody, or a user.
pub(super) fn principal(user: Val<'_, '_>, cluster: &str) -> Option<Principal> {
    let name = cloud::text(user, "username")?;
    let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let (id, kind, level) = match account {
        Some((ns, name)) => {
            (format!("k8s-sa:{cluster}/{ns}/{name}"), PrincipalKind::Service, Verified::Asserted)
        }
        None if name == "system:anonymous" => {
            ("anon:".to_owned(), PrincipalKind::Anonymous, Verified::Claimed)
        }
        None => {
            let kind = match name.split_once(':') {
                Some(("system", rest)) if rest.starts_with("node:") => PrincipalKind::Node,
                Some(("system", _)) => PrincipalKind::System,
                _ => PrincipalKind::User,
            };
            (format!("k8s-user:{cluster}/{name}"), kind, Verified::Asserted)
        }
    };
    let mut who = cloud::principal(id, &name, Some(kind), level);
    who.auth = account.is_some().then_some(Auth::K8sSa);
    who.groups = user.get("groups").into_iter().flat_map(|all| all.elements()).filter_map(group).collect();
    if let Some(extra) = user.get("extra") {
        credential(&mut who, extra);
    }
    Some(who)
}

fn group(value: Val<'_, '_>) -> Option<String> {
    value.filled().map(|text| text.into_owned())
}

/// What the API server tells about the credential (KEP-4193, KEP-4292): `JTI=…` of a token, `X509SHA256=…` of a
/// certificate; the pod it was given to.
fn credential(who: &mut Principal, extra: Val<'_, '_>) {
    let first = |name: &str| extra.get(name)?.elements().next();
    if let Some(value) = first("authentication.kubernetes.io/credential-id")
        && let Some(text) = value.peek()
    {
        let (auth, cred) = match text.split_once('=') {
            Some(("JTI", id)) => {
                (who.auth, format!("jti-sha256:{}", cloud::hex(digest(&SHA256, id.as_bytes()))))
            }
            Some(("X509SHA256", hash)) => match cloud::unhex(hash) {
                Some(hash) => (Some(Auth::Mtls), format!("x5t#S256:{}", URL_SAFE_NO_PAD.encode(hash))),
                None => return,
            },
            _ => return,
        };
        (who.auth, who.cred) = (auth, cred);
        value.take();
    }
    if let Some(pod) = first("authentication.kubernetes.io/pod-uid").and_then(|uid| uid.filled()) {
        who.inst = pod.into_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{draft, obo, who};
    use countersign_event::Unmapped;

    fn event(more: &str) -> String {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-1","stage":"ResponseComplete",
            "requestURI":"/api/v1/namespaces/shop/pods/p-1/exec?command=sh","verb":"create",
            "user":{{"username":"system:serviceaccount:ops:runner","uid":"u","groups":["system:authenticated"],
            "extra":{{"authentication.kubernetes.io/credential-id":["JTI=7"],
            "authentication.kubernetes.io/pod-uid":["pod-9"]}}}},"sourceIPs":["10.1.1.1","192.0.2.7"],
            "userAgent":"kubectl/1","objectRef":{{"resource":"pods","subresource":"exec","namespace":"shop","name":"p-1",
            "apiVersion":"v1"}},"requestReceivedTimestamp":"2024-03-13T12:08:33.000001Z",
            "stageTimestamp":"2024-03-13T12:08:33.250001Z"{more}}}"#
        )
    }

    #[test]
    fn a_request_says_who_what_when_and_how_it_ended() {
        let text = event(
            r#","responseStatus":{"code":101},"annotations":{"authorization.k8s.io/decision":"allow",
            "authorization.k8s.io/reason":"RBAC: allowed to User alice"}"#,
        );
        let draft = draft(&K8S_AUDIT, &text);
        let actor = who(&draft);
        assert_eq!((actor.id.as_str(), actor.inst.as_str()), ("k8s-sa:r/ops/runner", "pod-9"));
        assert!(actor.cred.starts_with("jti-sha256:7902699b"), "{}", actor.cred);
        let event = &draft.event;
        assert_eq!((event.core.op.as_str(), event.core.class), ("create", Some(Class::Execute)));
        assert_eq!((event.core.outcome, event.core.dur), (Some(Outcome::Success), Some(250_000_000)));
        assert_eq!((event.target.res.as_str(), event.target.rtype.as_str()), ("pods/exec", "pods"));
        assert_eq!((event.target.ns.as_str(), event.target.id.as_str()), ("shop", "p-1"));
        assert_eq!(event.peer.hops, [("10.1.1.1".to_owned(), Verified::Claimed)]);
        assert_eq!(event.peer.src.as_ref().unwrap().ip.unwrap().to_string(), "192.0.2.7");
        let decision = event.core.decision.as_ref().unwrap();
        assert_eq!((decision.verdict, decision.reason.as_str()), (Some(Verdict::Allow), ""));
        assert!(event.content.unmapped.contains_key("/annotations/authorization.k8s.io~1reason"));
        assert_eq!((draft.partial, draft.source_id.as_str()), (None, "a-1"));
    }

    #[test]
    fn an_impersonated_user_stands_behind_the_one_that_asked() {
        let text = event(r#","impersonatedUser":{"username":"alice","groups":["dev"]}"#);
        let draft = draft(&K8S_AUDIT, &text);
        assert_eq!(obo(&draft), [("k8s-user:r/alice", Relation::Impersonates, Verified::Asserted)]);
    }

    #[test]
    fn a_stage_that_is_not_the_last_has_no_outcome_and_waits() {
        let text = event("").replace("ResponseComplete", "RequestReceived");
        let draft = draft(&K8S_AUDIT, &text);
        assert_eq!((draft.event.core.outcome, draft.event.core.dur), (None, None));
        assert_eq!(draft.join, Some(Join { key: "a-1".into(), part: Part::First }));
        assert_eq!(draft.source_id, "a-1/RequestReceived");
        assert!(draft.partial.is_some());
    }

    #[test]
    fn a_refused_request_and_a_panic_are_no_success() {
        for (more, stage, want) in [
            (r#","responseStatus":{"code":403,"message":"forbidden"}"#, "ResponseComplete", Outcome::Denied),
            (r#","responseStatus":{"code":409}"#, "ResponseComplete", Outcome::CallerError),
            (r#","responseStatus":{"code":500}"#, "Panic", Outcome::ServerError),
            ("", "Panic", Outcome::ServerError),
            (
                r#","annotations":{"authorization.k8s.io/decision":"forbid"}"#,
                "ResponseComplete",
                Outcome::Denied,
            ),
        ] {
            let draft = draft(&K8S_AUDIT, &event(more).replace("ResponseComplete", stage));
            assert_eq!(draft.event.core.outcome, Some(want), "{more} {stage}");
        }
        assert_eq!(draft(&K8S_AUDIT, &event("")).event.core.outcome, None);
    }

    #[test]
    fn nobody_and_nodes_are_told_apart_from_users() {
        for (name, id, kind, level) in [
            ("system:anonymous", "anon:", PrincipalKind::Anonymous, Verified::Claimed),
            ("system:node:n1", "k8s-user:r/system:node:n1", PrincipalKind::Node, Verified::Asserted),
            (
                "system:kube-scheduler",
                "k8s-user:r/system:kube-scheduler",
                PrincipalKind::System,
                Verified::Asserted,
            ),
            ("bob@example.org", "k8s-user:r/bob@example.org", PrincipalKind::User, Verified::Asserted),
        ] {
            let draft = draft(&K8S_AUDIT, &event("").replace("system:serviceaccount:ops:runner", name));
            assert_eq!(
                (who(&draft).id.as_str(), who(&draft).kind, who(&draft).verified),
                (id, Some(kind), level)
            );
        }
    }

    #[test]
    fn the_body_of_a_secret_is_in_no_field_and_its_record_is_not_kept() {
        let text = event(r#","requestObject":{"kind":"Secret","data":{"password":"aHVudGVyMg=="}}"#)
            .replace(r#""resource":"pods","subresource":"exec""#, r#""resource":"secrets""#);
        let draft = draft(&K8S_AUDIT, &text);
        assert!(draft.private && !format!("{:?}", draft.event).contains("aHVudGVyMg"));
        let text = event(r#","requestObject":{"kind":"Pod","spec":{}}"#);
        let draft = crate::formats::testing::draft(&K8S_AUDIT, &text);
        assert!(!draft.private);
        assert_eq!(
            draft.event.content.unmapped.get("/requestObject"),
            Some(&Unmapped::Token(r#"{"kind":"Pod","spec":{}}"#.into()))
        );
    }

    #[test]
    fn an_event_of_the_core_api_is_not_taken_for_one() {
        let text = r#"{"kind":"Event","apiVersion":"v1","metadata":{"name":"x"},"reason":"Scheduled"}"#;
        let doc = crate::json::Doc::parse(text.as_bytes()).unwrap();
        assert!(!is(doc.root()));
    }
}
