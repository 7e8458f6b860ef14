//! Two proofs on one interaction that name two parties: the certificate says A, the token says B.
//!
//! Not a decision: both stay in the record, and a person or a rule decides. Invariant: only what we checked
//! ourselves (level 3 and more) can disagree, since a claim costs nothing to make.

use crate::spiffe::SpiffeId;
use countersign_event::{Auth, IdentityFrom, Principal, Verified, Who};

/// Two checked identities that are not known to belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// Id of the stronger one, which is `who`.
    pub who: String,
    /// Where it was read.
    pub who_from: &'static str,
    /// Id of the other one, which is in `also`.
    pub other: String,
    /// Where it was read.
    pub other_from: &'static str,
}

impl Disagreement {
    /// Label for the record (`core.labels`).
    pub const LABEL: &'static str = "identity-disagreement";
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Disagreement { who, who_from, other, other_from } = self;
        write!(f, "identities disagree: the {who_from} says {who}, the {other_from} says {other}")
    }
}

/// Whether the identities on one interaction name two parties.
///
/// Related, and so no disagreement: the same id; a token bound to the certificate beside it; parties of one
/// delegation chain (`act`); and identities with one local name: the last part of a SPIFFE id, the subject of a
/// token (also `system:serviceaccount:<ns>:<name>` against `/ns/<ns>/sa/<name>`), the name of a key.
pub fn disagreement(who: &Who) -> Option<Disagreement> {
    let strongest = who.who.as_ref().filter(|p| is_checked(p))?;
    let related = |other: &Principal| {
        same_party(strongest, other)
            || is_certificate_bound(strongest, other)
            || who.obo.iter().any(|p| same_party(p, other))
    };
    let other = who.also.iter().filter(|p| is_checked(p)).find(|p| !related(p))?;
    Some(Disagreement {
        who: strongest.id.clone(),
        who_from: place(strongest),
        other: other.id.clone(),
        other_from: place(other),
    })
}

fn is_checked(p: &Principal) -> bool {
    matches!(p.verified, Verified::Checked | Verified::Bound) && p.id != "anon:"
}

/// A token that names the certificate beside it is the certificate's owner speaking.
fn is_certificate_bound(a: &Principal, b: &Principal) -> bool {
    let tls = |p: &Principal| p.from == Some(IdentityFrom::Tls);
    let bound = |p: &Principal| p.auth == Some(Auth::JwtMtlsBound);
    (bound(a) && tls(b)) || (tls(a) && bound(b))
}

fn same_party(a: &Principal, b: &Principal) -> bool {
    if a.id == b.id {
        return true;
    }
    let (names, others) = (local_names(a), local_names(b));
    names.iter().any(|name| others.contains(name))
}

/// What a party may be called elsewhere; empty = nothing comparable.
fn local_names(p: &Principal) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(id) = SpiffeId::parse(&p.id) {
        let parts: Vec<&str> = id.path().split('/').collect();
        if let ["", "ns", ns, "sa", name] = parts.as_slice() {
            names.push(format!("system:serviceaccount:{ns}:{name}"));
        }
        names.push(id.workload().to_owned());
        names.push(id.to_string());
    } else if let Some((_, subject)) = p.id.strip_prefix("jwt:").and_then(|rest| rest.rsplit_once('#')) {
        names.push(subject.to_owned());
    } else if let Some(account) = p.id.strip_prefix("k8s-sa:") {
        if let [.., ns, name] = account.split('/').collect::<Vec<_>>().as_slice() {
            names.push(format!("system:serviceaccount:{ns}:{name}"));
        }
    } else if let Some(id) = p.id.strip_prefix("key:") {
        names.push(id.to_owned());
    }
    if !p.id.starts_with("spiffe://") {
        names.push(p.name.clone());
    }
    names.retain(|name| !name.is_empty());
    names
}

fn place(p: &Principal) -> &'static str {
    match p.from {
        Some(IdentityFrom::Tls) => "certificate",
        Some(IdentityFrom::Token) => "token",
        Some(IdentityFrom::Header) if p.auth == Some(Auth::HttpSig) => "signature",
        Some(IdentityFrom::Header) if p.auth == Some(Auth::ApiKey) => "api key",
        Some(IdentityFrom::Header) => "header",
        Some(IdentityFrom::WireHandshake) => "login",
        _ => "record",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::who_of;
    use countersign_event::Relation;

    fn p(id: &str, verified: Verified, from: IdentityFrom) -> Principal {
        Principal { from: Some(from), ..Principal::new(id, verified) }
    }

    #[test]
    fn a_certificate_and_a_token_of_two_parties_disagree() {
        let cert = p("spiffe://td/ns/shop/sa/orders", Verified::Bound, IdentityFrom::Tls);
        let token = p("jwt:https://i#reports", Verified::Checked, IdentityFrom::Token);
        let found = disagreement(&who_of(vec![cert.clone(), token])).unwrap();
        assert_eq!((found.who.as_str(), found.other.as_str()), (cert.id.as_str(), "jwt:https://i#reports"));
        let said = found.to_string();
        assert!(
            said.contains("the certificate says spiffe://") && said.contains("the token says jwt:"),
            "{said}"
        );
    }

    #[test]
    fn one_party_under_two_names_agrees() {
        let cert = p("spiffe://td/ns/shop/sa/orders", Verified::Bound, IdentityFrom::Tls);
        for id in [
            "jwt:https://i#orders",
            "jwt:https://i#spiffe://td/ns/shop/sa/orders",
            "jwt:https://k8s#system:serviceaccount:shop:orders",
            "k8s-sa:prod/shop/orders",
            "key:orders",
        ] {
            let other = p(id, Verified::Checked, IdentityFrom::Token);
            assert_eq!(disagreement(&who_of(vec![cert.clone(), other])), None, "{id}");
        }
        let elsewhere =
            p("jwt:https://k8s#system:serviceaccount:other:orders", Verified::Checked, IdentityFrom::Token);
        assert!(disagreement(&who_of(vec![cert, elsewhere])).is_some());
    }

    #[test]
    fn a_chain_a_bound_token_and_mere_claims_do_not_disagree() {
        let cert = p("spiffe://td/gateway", Verified::Bound, IdentityFrom::Tls);
        let actor = Principal {
            auth: Some(Auth::JwtMtlsBound),
            ..p("jwt:https://i#agent", Verified::Bound, IdentityFrom::Token)
        };
        assert_eq!(disagreement(&who_of(vec![cert.clone(), actor])), None);
        let subject = Principal {
            rel: Some(Relation::OnBehalfOf),
            ..p("jwt:https://i#gateway", Verified::Checked, IdentityFrom::Token)
        };
        let actor = p("key:actor", Verified::Bound, IdentityFrom::Header);
        assert_eq!(disagreement(&who_of(vec![cert.clone(), actor, subject])), None);
        let claim = p("jwt:https://i#other", Verified::Claimed, IdentityFrom::Token);
        let asserted = p("db:other@s", Verified::Asserted, IdentityFrom::WireHandshake);
        assert_eq!(disagreement(&who_of(vec![cert, claim, asserted])), None);
        assert_eq!(disagreement(&Who::default()), None);
    }
}
