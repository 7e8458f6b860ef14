//! HashiCorp Vault and OpenBao audit devices: one entry, JSON.
//!
//! Every request is written twice, before and after: the two are joined by `request.id` ([`crate::joins`]), and one
//! alone is partial. Values that the server hashed (`hmac-sha256:…`) are kept as they are, so that they can be
//! compared; a device that was told to log values raw (`log_raw`) hands over secrets, and these are dropped.
//!
//! Source: Vault documentation, "Audit devices" and "Schema of audit entries"; OpenBao likewise. Inside a trusted
//! input the token's identity and the remote address are asserted; the name of a login that failed, and headers, are
//! claimed.

use super::{Format, Record, cloud};
use crate::joins::{FIRST_ONLY, Join, Part};
use crate::json::{Kind as Json, Val};
use crate::{Draft, Fault, time};
use countersign_event::{Class, Decision, Kind, Outcome, Principal, Verdict, Verified};

/// The row of the table.
pub const VAULT: Format = Format {
    name: "vault",
    what: "Vault and OpenBao audit entry; request and response joined",
    looks,
    parse,
};

/// Methods of authentication whose path ends in the name of the user.
const NAMED_LOGINS: [&str; 4] = ["userpass", "ldap", "okta", "radius"];

fn looks(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|entry| {
        let kind = entry.get("type").and_then(|kind| kind.peek());
        matches!(kind.as_deref(), Some("request" | "response")) && entry.at("request/id").is_some()
    })
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let entry = record.object()?;
    let request = entry.get("request").ok_or(Fault::new(0, "no request"))?;
    let id = cloud::text(request, "id").ok_or(Fault::new(0, "no request id"))?;
    let last = match cloud::text(entry, "type").as_deref() {
        Some("request") => false,
        Some("response") => true,
        _ => return Err(Fault::new(0, "an unknown type")),
    };
    let mut draft = Draft::new();
    draft.event.core.kind = Some(Kind::Secret);
    draft.time(cloud::text(entry, "time").and_then(|text| time::rfc3339(&text)));
    target(&mut draft, request);
    let login = draft.event.core.class == Some(Class::Authenticate);
    if last {
        draft.event.core.outcome = outcome(&mut draft, entry);
    }
    who(&mut draft, entry, record.realm, login);
    address(&mut draft, request);
    decision(&mut draft, entry);
    raw_values(&mut draft, entry);
    draft.event.links.corr = id.to_string();
    draft.source_id = if last { id.to_string() } else { format!("{id}/request") };
    if !last {
        draft.partial(FIRST_ONLY);
    }
    draft.join = Some(Join { key: id.into_owned(), part: if last { Part::LastOfPair } else { Part::First } });
    Ok(draft)
}

fn target(draft: &mut Draft, request: Val<'_, '_>) {
    let op = cloud::text(request, "operation").unwrap_or_default();
    let path = cloud::text(request, "path").unwrap_or_default();
    let login = path.starts_with("auth/") && path.split('/').any(|part| part == "login");
    draft.event.core.class = match op.as_ref() {
        "update" | "create" if login => Some(Class::Authenticate),
        "read" | "list" | "help" | "header" => Some(Class::Read),
        "create" => Some(Class::Create),
        "update" | "patch" | "renew" | "revoke" | "rollback" => Some(Class::Modify),
        "delete" => Some(Class::Delete),
        "" => {
            draft.partial("a required field is missing");
            None
        }
        _ => None,
    };
    draft.event.core.op = op.into_owned();
    let target = &mut *draft.event.target;
    "vault".clone_into(&mut target.svc);
    target.rtype = cloud::text(request, "mount_type").unwrap_or_default().into_owned();
    target.ns = cloud::text(request, "namespace/path").unwrap_or_default().into_owned();
    target.raw = path.to_string();
    target.res = path.into_owned();
}

/// An answer without an error is a success; what an error was is told by its words.
fn outcome(draft: &mut Draft, entry: Val<'_, '_>) -> Option<Outcome> {
    let refused = entry.at("response/data/error").is_some();
    let Some(error) = cloud::text(entry, "error") else {
        // Of an answer that is itself an error the text is hashed; that it is one is not.
        return Some(if refused { Outcome::CallerError } else { Outcome::Success });
    };
    let has = |words: &[&str]| words.iter().any(|word| error.contains(word));
    let outcome = if has(&["permission denied", "invalid username or password", "bad token", "invalid token"])
    {
        Some(Outcome::Denied)
    } else if has(&["deadline exceeded"]) {
        Some(Outcome::Timeout)
    } else if has(&["context canceled"]) {
        Some(Outcome::Cancelled)
    } else if has(&["internal error", "Vault is sealed", "standby"]) {
        Some(Outcome::ServerError)
    } else if refused || has(&["invalid request", "unsupported", "no handler", "missing", "rate limit"]) {
        Some(Outcome::CallerError)
    } else {
        None
    };
    draft.event.content.err = error.into_owned();
    outcome
}

fn who(draft: &mut Draft, entry: Val<'_, '_>, realm: &str, login: bool) {
    let auth = entry.get("auth").and_then(|auth| principal(auth, realm));
    let given = entry.at("response/auth").and_then(|auth| principal(auth, realm));
    // A login has no token yet: the identity is the one that the answer gives.
    draft.event.who.who = auth.or(given);
    let mount = draft.event.target.rtype.as_str();
    if draft.event.who.who.is_none() && login && NAMED_LOGINS.contains(&mount) {
        let name = draft.event.target.raw.rsplit('/').next().unwrap_or_default().to_owned();
        draft.user(realm, &name, None, Verified::Claimed);
    }
}

/// An `auth` section: the entity if the token has one, else its display name.
fn principal(auth: Val<'_, '_>, realm: &str) -> Option<Principal> {
    let name = cloud::text(auth, "display_name").unwrap_or_default();
    let entity = cloud::text(auth, "entity_id");
    let id = entity.as_deref().unwrap_or(&name);
    if id.is_empty() {
        return None;
    }
    let mut who = cloud::principal(format!("user:{realm}/{id}"), &name, None, Verified::Asserted);
    // The accessor names the token and does not open anything; hashed, it still joins.
    who.cred = cloud::text(auth, "accessor").unwrap_or_default().into_owned();
    let policies = auth.get("policies").into_iter().flat_map(|all| all.elements());
    who.groups = policies.filter_map(|policy| Some(policy.filled()?.into_owned())).collect();
    Some(who)
}

fn address(draft: &mut Draft, request: Val<'_, '_>) {
    if let Some(address) = cloud::text(request, "remote_address") {
        cloud::source(draft, &address);
        let port = request.get("remote_port").and_then(|port| port.uint());
        if let Some(src) = &mut draft.event.peer.src {
            src.port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        }
    }
    let Some(headers) = request.get("headers") else { return };
    for header in headers.members() {
        let Some(value) = header.elements().next().filter(|value| value.kind() == Json::Text) else {
            continue;
        };
        match header.name().to_ascii_lowercase().as_str() {
            "x-forwarded-for" => {
                let hops = value.filled().unwrap_or_default();
                hops.split(',').for_each(|hop| draft.hop(hop.trim(), Verified::Claimed));
            }
            "user-agent" => draft.header("user-agent", value.filled().unwrap_or_default()),
            _ => {}
        }
    }
}

fn decision(draft: &mut Draft, entry: Val<'_, '_>) {
    let Some(results) = entry.at("auth/policy_results") else { return };
    let Some(allowed) = results.get("allowed").and_then(|allowed| allowed.bool()) else { return };
    let granting = results.get("granting_policies").into_iter().flat_map(|all| all.elements());
    let mut policies: Vec<String> =
        granting.filter_map(|policy| Some(cloud::text(policy, "name")?.into_owned())).collect();
    policies.sort();
    policies.dedup();
    let verdict = Some(if allowed { Verdict::Allow } else { Verdict::Deny });
    draft.event.core.decision = Some(Decision { verdict, policies, ..Decision::default() }.into());
}

/// Places of tokens. One that is not hashed says that the device logs values raw.
const TOKENS: [&str; 5] = [
    "auth/client_token",
    "request/client_token",
    "response/auth/client_token",
    "response/wrap_info/token",
    "auth/accessor",
];
/// Places of values, secret in a raw entry.
const VALUES: [&str; 4] = ["request/data", "response/data", "response/auth", "response/wrap_info"];

fn raw_values(draft: &mut Draft, entry: Val<'_, '_>) {
    let is_raw = |path: &&str| {
        let token = entry.at(path).and_then(|token| token.peek());
        token.is_some_and(|text| !text.is_empty() && !text.starts_with("hmac-sha256:"))
    };
    if !TOKENS.iter().any(is_raw) {
        return;
    }
    for value in TOKENS.iter().chain(&VALUES).filter_map(|path| entry.at(path)) {
        value.take();
        draft.secret("vault-raw");
    }
    let who = &mut *draft.event.who;
    let principals = who.who.iter_mut().chain(&mut who.also);
    principals.filter(|who| !who.cred.starts_with("hmac-sha256:")).for_each(|who| who.cred.clear());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{draft, who};

    fn entry(kind: &str, path: &str, more: &str) -> String {
        format!(
            r#"{{"time":"2024-03-13T12:08:33.5Z","type":"{kind}","auth":{{"client_token":"hmac-sha256:aa","accessor":"hmac-sha256:bb",
            "display_name":"approle","policies":["default","app"],"entity_id":"ent-1","policy_results":{{"allowed":true,
            "granting_policies":[{{"name":"app","type":"acl"}}]}}}},"request":{{"id":"q-1","operation":"update",
            "mount_type":"kv","client_token":"hmac-sha256:aa","namespace":{{"id":"root"}},"path":"{path}",
            "data":{{"data":{{"password":"hmac-sha256:cc"}}}},"remote_address":"192.0.2.1","remote_port":4711,
            "headers":{{"user-agent":["curl"],"X-Forwarded-For":["10.0.0.1, 10.0.0.2"]}}}}{more}}}"#
        )
    }

    #[test]
    fn a_response_says_all_and_keeps_hashed_values_as_they_are() {
        let draft = draft(&VAULT, &entry("response", "secret/data/db", r#","response":{"mount_type":"kv"}"#));
        assert_eq!((who(&draft).id.as_str(), who(&draft).name.as_str()), ("user:r/ent-1", "approle"));
        assert_eq!(who(&draft).cred, "hmac-sha256:bb");
        let event = &draft.event;
        assert_eq!((event.core.op.as_str(), event.core.outcome), ("update", Some(Outcome::Success)));
        assert_eq!((event.target.res.as_str(), event.target.rtype.as_str()), ("secret/data/db", "kv"));
        assert_eq!(event.core.decision.as_ref().unwrap().policies, ["app"]);
        assert_eq!(event.peer.src.as_ref().unwrap().port, Some(4711));
        assert_eq!(event.peer.hops.len(), 2);
        assert!(format!("{:?}", event.content.unmapped).contains("hmac-sha256:cc"));
        assert_eq!((draft.partial, draft.private), (None, false));
        assert_eq!(draft.join.unwrap().part, Part::LastOfPair);
    }

    #[test]
    fn a_request_waits_and_has_no_outcome() {
        let draft = draft(&VAULT, &entry("request", "secret/data/db", ""));
        assert_eq!((draft.event.core.outcome, draft.source_id.as_str()), (None, "q-1/request"));
        assert_eq!(draft.join.unwrap(), Join { key: "q-1".into(), part: Part::First });
    }

    #[test]
    fn an_error_is_told_by_its_words_or_left_open() {
        for (error, want) in [
            ("1 error occurred:\\n\\t* permission denied\\n\\n", Some(Outcome::Denied)),
            ("unsupported path", Some(Outcome::CallerError)),
            ("internal error", Some(Outcome::ServerError)),
            ("context deadline exceeded", Some(Outcome::Timeout)),
            ("something else", None),
        ] {
            let draft = draft(&VAULT, &entry("response", "a/b", &format!(r#","error":"{error}""#)));
            assert_eq!(draft.event.core.outcome, want, "{error}");
        }
    }

    #[test]
    fn a_login_names_whom_the_answer_named_or_claims_the_name_of_its_path() {
        let login = r#"{"time":"2024-03-13T12:08:33Z","type":"response","request":{"id":"q","operation":"update",
            "mount_type":"userpass","path":"auth/userpass/login/alice"},"error":"invalid username or password"}"#;
        let failed = draft(&VAULT, login);
        assert_eq!((who(&failed).id.as_str(), who(&failed).verified), ("user:r/alice", Verified::Claimed));
        assert_eq!(failed.event.core.outcome, Some(Outcome::Denied));
        assert_eq!(failed.event.core.class, Some(Class::Authenticate));
        let given = r#""response":{"auth":{"client_token":"hmac-sha256:x","display_name":"userpass-alice"}}"#;
        let passed = draft(&VAULT, &login.replace(r#""error":"invalid username or password""#, given));
        assert_eq!(
            (who(&passed).name.as_str(), who(&passed).verified),
            ("userpass-alice", Verified::Asserted)
        );
    }

    #[test]
    fn raw_values_and_tokens_are_in_no_field_and_their_record_is_not_kept() {
        let text = entry("response", "secret/data/db", r#","response":{"data":{"password":"hunter2"}}"#)
            .replace("hmac-sha256:aa", "hvs.CAESIJ")
            .replace("hmac-sha256:bb", "accessor9");
        let draft = draft(&VAULT, &text);
        let all = format!("{:?}", draft.event);
        for secret in ["hunter2", "hvs.CAESIJ", "hmac-sha256:cc"] {
            assert!(!all.contains(secret), "{secret}");
        }
        assert!(draft.private);
    }
}
