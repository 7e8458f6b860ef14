//! From everything that was seen on an interaction to the `who` group of its event.
//!
//! Invariants (event.md, group 1): the strongest identity is `who`; at a tie the one nearest the application;
//! the delegation chain is `obo`; what is left stays in `also`, so a disagreement (the certificate says A, the
//! token says B) is in the record and not decided away.

use countersign_event::{IdentityFrom, Principal, Who};

/// `obo` holds at most this many.
pub(crate) const OBO_MAX: usize = 16;
/// `also` holds at most this many.
const ALSO_MAX: usize = 8;

/// Sorts `found` into `who`, `obo` and `also`.
///
/// Principals with `rel` form the delegation chain, nearest first, in the order given. A bare address is left
/// out of `also`: `peer.src` holds it, in a group that can be withheld by itself.
pub fn who_of(found: Vec<Principal>) -> Who {
    let (mut obo, mut seen): (Vec<_>, Vec<_>) = found.into_iter().partition(|p| p.rel.is_some());
    obo.truncate(OBO_MAX);
    // A stable sort: equals keep the order in which they were found.
    seen.sort_by_key(|p| std::cmp::Reverse((p.verified.code(), nearness(p))));
    let mut seen = seen.into_iter();
    let who = seen.next();
    let mut also: Vec<Principal> = Vec::new();
    for p in seen.filter(|p| p.from != Some(IdentityFrom::Address)) {
        let known = |k: &Principal| k.id == p.id && k.auth == p.auth && k.cred == p.cred;
        if also.len() < ALSO_MAX && !who.as_ref().is_some_and(known) && !also.iter().any(known) {
            also.push(p);
        }
    }
    Who { who, obo, also, ..Who::default() }
}

/// How near the application an identity was read: token over database user over TLS peer over address.
fn nearness(p: &Principal) -> u8 {
    match p.from {
        Some(IdentityFrom::Token) => 6,
        Some(IdentityFrom::Header) => 5,
        Some(IdentityFrom::WireHandshake) => 4,
        Some(IdentityFrom::RecordField) => 3,
        Some(IdentityFrom::Tls) => 2,
        Some(IdentityFrom::Comment) => 1,
        Some(IdentityFrom::Address) | Some(IdentityFrom::Other(_)) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::{Relation, Verified};
    use proptest::prelude::*;

    fn principal(id: &str, verified: Verified, from: IdentityFrom) -> Principal {
        Principal { from: Some(from), ..Principal::new(id, verified) }
    }

    #[test]
    fn the_strongest_is_who_and_the_others_stay() {
        let who = who_of(vec![
            principal("addr:127.0.0.1", Verified::Claimed, IdentityFrom::Address),
            principal("jwt:i#b", Verified::Checked, IdentityFrom::Token),
            principal("spiffe://td/a", Verified::Bound, IdentityFrom::Tls),
        ]);
        assert_eq!(who.who.unwrap().id, "spiffe://td/a");
        assert_eq!(who.also.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["jwt:i#b"]);
    }

    #[test]
    fn at_a_tie_the_one_nearest_the_application_is_who() {
        let token = principal("jwt:i#b", Verified::Checked, IdentityFrom::Token);
        let user = principal("db:u@s", Verified::Checked, IdentityFrom::WireHandshake);
        let peer = principal("x509:00", Verified::Checked, IdentityFrom::Tls);
        let address = principal("addr:10.0.0.1", Verified::Checked, IdentityFrom::Address);
        let mut rest = vec![address, peer, user, token];
        while let Some(nearest) = rest.last().cloned() {
            assert_eq!(who_of(rest.clone()).who, Some(nearest));
            rest.pop();
        }
        assert_eq!(who_of(Vec::new()), Who::default());
    }

    #[test]
    fn the_delegation_chain_keeps_its_order() {
        let chain = ["jwt:i#nested", "jwt:i#subject"].map(|id| Principal {
            rel: Some(Relation::OnBehalfOf),
            ..principal(id, Verified::Checked, IdentityFrom::Token)
        });
        let mut found = vec![principal("jwt:i#actor", Verified::Checked, IdentityFrom::Token)];
        found.extend(chain.clone());
        let who = who_of(found);
        assert_eq!(who.who.unwrap().id, "jwt:i#actor");
        assert_eq!(who.obo, chain);
    }

    fn any_principal() -> impl Strategy<Value = Principal> {
        (0..6u8, 1..5u64, 1..8u64, proptest::bool::weighted(0.2)).prop_map(|(id, level, from, delegated)| {
            Principal {
                rel: delegated.then_some(Relation::OnBehalfOf),
                from: IdentityFrom::from_code(from),
                ..Principal::new(format!("key:{id}"), Verified::from_code(level).unwrap_or(Verified::Claimed))
            }
        })
    }

    proptest! {
        #[test]
        fn who_is_never_weaker_than_what_stands_beside_it(found in proptest::collection::vec(any_principal(), 0..24)) {
            let who = who_of(found.clone());
            prop_assert!(who.also.len() <= ALSO_MAX && who.obo.len() <= OBO_MAX);
            let seen = found.iter().filter(|p| p.rel.is_none());
            prop_assert_eq!(who.who.as_ref().map(|p| p.verified.code()), seen.map(|p| p.verified.code()).max());
        }
    }
}
