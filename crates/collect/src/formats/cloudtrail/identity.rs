//! CloudTrail's `userIdentity`: the actor and the chain behind it.
//!
//! A service that called for somebody (`invokedBy`) is the actor, the identity is behind it. A session of a role
//! is an actor with its role behind it, then whoever the session says it is for.

use crate::Draft;
use crate::formats::cloud::{behind, principal, text};
use crate::json::Val;
use countersign_event::{Auth, Principal, PrincipalKind, Relation, Verified};

/// Reads who acted. `false` = the record does not say.
pub(super) fn read(draft: &mut Draft, event: Val<'_, '_>, realm: &str) -> bool {
    let Some(user) = event.get("userIdentity") else { return false };
    let account = text(user, "accountId").or_else(|| text(event, "recipientAccountId"));
    let account = account.as_deref().unwrap_or(realm).to_owned();
    let actor = actor(user, &account);
    let mut chain = chain(user, &account);
    let service = text(user, "invokedBy").map(|name| service(&name));
    let who = &mut *draft.event.who;
    match (service, actor) {
        (Some(service), Some(actor)) => {
            who.who = Some(service);
            chain.insert(0, behind(actor, Relation::OnBehalfOf));
        }
        (service, actor) => who.who = service.or(actor),
    }
    who.obo = chain;
    who.who.is_some()
}

/// An AWS service by its name: `cloudformation.amazonaws.com`, `AWS Internal`.
fn service(name: &str) -> Principal {
    let mut service =
        principal(format!("user:aws/{name}"), name, Some(PrincipalKind::Service), Verified::Asserted);
    name.clone_into(&mut service.svc);
    service
}

fn actor(user: Val<'_, '_>, account: &str) -> Option<Principal> {
    let kind = text(user, "type").unwrap_or_default();
    let arn = text(user, "arn");
    let name = text(user, "userName");
    let own_id = text(user, "principalId");
    let provider = text(user, "identityProvider");
    let shown = name.as_deref().or(own_id.as_deref()).unwrap_or_default().to_owned();
    let fallback = || (!shown.is_empty()).then(|| format!("user:{account}/{shown}"));
    let id = match kind.as_ref() {
        "Root" => arn.map(|arn| arn.into_owned()).or_else(|| Some(format!("arn:aws:iam::{account}:root"))),
        "WebIdentityUser" => {
            provider.as_deref().map(|provider| federated(provider, &shown)).or_else(fallback)
        }
        "SAMLUser" => {
            let realm = provider.as_deref().unwrap_or(account);
            (!shown.is_empty()).then(|| format!("user:{realm}/{shown}"))
        }
        "IdentityCenterUser" => store_user(user).map(|user| user.id).or_else(fallback),
        // The account as such, when AWS tells its neighbour no more.
        "AWSAccount" => {
            arn.map(|arn| arn.into_owned()).or_else(fallback).or(Some(format!("user:aws/{account}")))
        }
        _ => arn.map(|arn| arn.into_owned()).or_else(fallback),
    }?;
    let mut who = principal(id, &shown, kind_of(&kind, own_id.as_deref()), Verified::Asserted);
    who.cred = text(user, "accessKeyId").unwrap_or_default().into_owned();
    who.iss = provider.unwrap_or_default().into_owned();
    who.auth = match kind.as_ref() {
        "AssumedRole" | "Role" => Some(Auth::IamRole),
        "WebIdentityUser" => Some(Auth::Jwt),
        "IAMUser" | "Root" | "FederatedUser" if !who.cred.is_empty() => Some(Auth::Sigv4),
        _ => None,
    };
    Some(who)
}

fn kind_of(kind: &str, own_id: Option<&str>) -> Option<PrincipalKind> {
    Some(match kind {
        "AssumedRole" | "Role" => PrincipalKind::Role,
        "Root" | "IAMUser" | "FederatedUser" | "SAMLUser" | "WebIdentityUser" | "IdentityCenterUser"
        | "Directory" => PrincipalKind::User,
        "AWSService" => PrincipalKind::Service,
        // Ids of roles begin with AROA, of users with AIDA (IAM reference, "unique identifiers").
        "AWSAccount" => match own_id {
            Some(id) if id.starts_with("AROA") => PrincipalKind::Role,
            Some(id) if id.starts_with("AIDA") => PrincipalKind::User,
            _ => PrincipalKind::System,
        },
        _ => return None,
    })
}

/// A subject of an OpenID provider, as its own tokens name it. AWS names the provider by the issuer without its
/// scheme, which is always https, or by an ARN that ends in that.
fn federated(provider: &str, subject: &str) -> String {
    let issuer = provider.split_once(":oidc-provider/").map_or(provider, |(_, issuer)| issuer);
    match issuer {
        // These two speak OAuth 2.0 and issue no identity token.
        "graph.facebook.com" | "www.amazon.com" => format!("user:{issuer}/{subject}"),
        issuer => format!("jwt:https://{issuer}#{subject}"),
    }
}

/// `onBehalfOf`: the user of an IAM Identity Center that the session was opened for.
fn store_user(user: Val<'_, '_>) -> Option<Principal> {
    let user = user.get("onBehalfOf")?;
    let (id, store) = (text(user, "userId")?, text(user, "identityStoreArn").unwrap_or_default());
    let mut who = principal(format!("user:{store}/{id}"), &id, Some(PrincipalKind::User), Verified::Asserted);
    who.iss = store.into_owned();
    Some(who)
}

/// Whom the session is of and for, nearest first.
fn chain(user: Val<'_, '_>, account: &str) -> Vec<Principal> {
    let mut chain = Vec::new();
    if text(user, "type").as_deref() != Some("IdentityCenterUser") {
        chain.extend(store_user(user).map(|user| behind(user, Relation::OnBehalfOf)));
    }
    let Some(session) = user.get("sessionContext") else { return chain };
    if let Some(issuer) = session.get("sessionIssuer") {
        chain.splice(0..0, issued_by(issuer, account));
    }
    if let Some(web) = session.get("webIdFederationData").and_then(web_identity) {
        chain.push(behind(web, Relation::OnBehalfOf));
    }
    if let Some(name) = text(session, "sourceIdentity") {
        // Whoever assumed the role wrote it.
        let id = format!("user:{account}/{name}");
        chain.push(behind(
            principal(id, &name, Some(PrincipalKind::User), Verified::Claimed),
            Relation::OnBehalfOf,
        ));
    }
    chain
}

fn issued_by(issuer: Val<'_, '_>, account: &str) -> Option<Principal> {
    let kind = text(issuer, "type").unwrap_or_default();
    let name = text(issuer, "userName").unwrap_or_default();
    let arn = text(issuer, "arn").map(|arn| arn.into_owned());
    let id = arn.or_else(|| (!name.is_empty()).then(|| format!("user:{account}/{name}")))?;
    let role = kind == "Role";
    let rel = if role { Relation::AssumedRole } else { Relation::OnBehalfOf };
    Some(behind(principal(id, &name, kind_of(&kind, None), Verified::Asserted), rel))
}

/// `webIdFederationData`: the token by which the role was assumed, which STS checked.
fn web_identity(data: Val<'_, '_>) -> Option<Principal> {
    let provider = text(data, "federatedProvider")?;
    let subject =
        data.get("attributes")?.members().find(|member| member.name().ends_with(":sub"))?.filled()?;
    let id = federated(&provider, &subject);
    let mut who = principal(id, &subject, None, Verified::Asserted);
    who.auth = Some(Auth::Jwt);
    who.iss = provider.into_owned();
    Some(who)
}
