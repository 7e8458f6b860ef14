//! WIMSE: a workload token with its proof, the drafts' own examples, and every way in which it must not pass.

use crate::NOW;
use crate::support::{Caller, Lines, request};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use countersign_event::{Auth, PrincipalKind, Verified};
use countersign_identity::{
    FailureKind, HttpIdentity, HttpRequest, Identities, IdentityConfig, WimseConfig, WimseTrust, fuzz,
};
use serde_json::{Value, json};

const WORKLOAD: &str = "spiffe://example.org/ns/shop/sa/payments";

struct World {
    server: Caller,
    workload: Caller,
    identities: Identities,
    _dir: tempfile::TempDir,
}

fn identities(trust_domain: &str, jwks: &Value, origin: &str) -> (Identities, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("jwks.json");
    std::fs::write(&keys, jwks.to_string()).unwrap();
    let wimse = WimseConfig {
        trust: vec![WimseTrust { trust_domain: trust_domain.into(), keys }],
        origins: vec![origin.into()],
        aliases: vec!["orders".into()],
    };
    (Identities::new(IdentityConfig { wimse, ..IdentityConfig::default() }, NOW).unwrap(), dir)
}

fn digest(text: &str) -> String {
    B64.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
}

/// `base` with the members of `change`; `null` takes one away.
fn with(mut base: Value, change: Value) -> Value {
    let members = base.as_object_mut().unwrap();
    members.extend(change.as_object().unwrap().clone());
    members.retain(|_, v| !v.is_null());
    base
}

impl World {
    fn new() -> World {
        let (server, workload) = (Caller::new(), Caller::new());
        let key = with(server.jwk(), json!({ "kid": "k" }));
        let (identities, dir) =
            identities("Example.org", &json!({ "keys": [key] }), "https://gateway.example:443");
        World { server, workload, identities, _dir: dir }
    }

    fn token_claims(&self) -> Value {
        let key = with(self.workload.jwk(), json!({ "alg": "ES256" }));
        json!({ "sub": WORKLOAD, "exp": NOW + 3_600, "iat": NOW, "jti": "w-1", "cnf": { "jwk": key } })
    }

    fn token(&self, header: Value, claims: Value) -> String {
        let header = with(json!({ "typ": "wit+jwt", "alg": "ES256", "kid": "k" }), header);
        self.server.jws(&header, &with(self.token_claims(), claims).to_string())
    }

    fn proof(&self, token: &str, header: Value, claims: Value) -> String {
        let base = json!({
            "aud": "https://gateway.example/orders/7", "exp": NOW + 60, "jti": "p", "wth": digest(token)
        });
        let header = with(json!({ "typ": "wpt+jwt", "alg": "ES256" }), header);
        self.workload.jws(&header, &with(base, claims).to_string())
    }

    fn lines(&self, token: &str, proof: &str) -> Lines {
        Lines::of(&[("workload-identity-token", token), ("authorization", &format!("WPT {proof}"))])
    }

    fn show(&self, lines: &Lines) -> HttpIdentity {
        self.identities.from_request(&request(lines), None, NOW)
    }

    /// A sound token with this proof.
    fn prove(&self, header: Value, claims: Value) -> HttpIdentity {
        let token = self.token(json!({}), json!({}));
        self.show(&self.lines(&token, &self.proof(&token, header, claims)))
    }
}

#[test]
fn a_workload_token_with_its_proof_is_the_workload_at_level_four() {
    let world = World::new();
    let token = world.token(json!({}), json!({}));
    let proof = world.proof(&token, json!({}), json!({}));
    let found = world.show(&world.lines(&token, &proof));
    assert_eq!(found.failures, []);
    let who = &found.principals[0];
    assert_eq!((who.id.as_str(), who.verified, who.auth), (WORKLOAD, Verified::Bound, Some(Auth::Wimse)));
    assert_eq!((who.kind, who.iss.as_str()), (Some(PrincipalKind::Workload), "example.org"));
    assert_eq!(who.cred_exp, Some(NOW + 3_600));
    assert!(found.single_use, "a proof counts for one request");
    let shown = format!("{found:?}");
    assert!(token.split('.').chain(proof.split('.')).all(|part| !shown.contains(part)));
    let again = world.show(&world.lines(&token, &proof));
    assert_eq!((again.principals.len(), again.failures[0].kind), (0, FailureKind::Replay));
    let alias = world.proof(&token, json!({}), json!({ "jti": "q", "aud": "orders" }));
    assert_eq!(world.show(&world.lines(&token, &alias)).failures, []);
}

#[test]
fn a_workload_without_spiffe_has_an_id_of_its_own() {
    let world = World::new();
    let token =
        world.token(json!({ "typ": "application/wit+jwt" }), json!({ "sub": "WIMSE://Example.ORG/a/b" }));
    let found = world.show(&world.lines(&token, &world.proof(&token, json!({}), json!({}))));
    assert_eq!(found.principals[0].id, "wimse://example.org/a/b", "{found:?}");
}

#[test]
fn every_wrong_proof_is_refused_with_its_reason_and_its_kind() {
    use FailureKind as Kind;
    let world = World::new();
    let none = json!({});
    let elsewhere = "https://evil.example/orders/7";
    for (case, header, claims, why, kind) in [
        ("type", json!({ "typ": "JWT" }), none.clone(), "another type", Kind::Invalid),
        ("crit", json!({ "crit": ["x"] }), none.clone(), "(crit)", Kind::Invalid),
        ("algorithm", json!({ "alg": "EdDSA" }), none.clone(), "another algorithm", Kind::Invalid),
        ("none", json!({ "alg": "none" }), none.clone(), "another algorithm", Kind::Invalid),
        ("token", none.clone(), json!({ "wth": digest("x") }), "(wth)", Kind::Invalid),
        ("path", none.clone(), json!({ "aud": "https://gateway.example/orders/8" }), "(aud)", Kind::Audience),
        ("host", none.clone(), json!({ "aud": elsewhere }), "(aud)", Kind::Audience),
        (
            "scheme",
            none.clone(),
            json!({ "aud": "http://gateway.example/orders/7" }),
            "(aud)",
            Kind::Audience,
        ),
        ("many", none.clone(), json!({ "aud": ["orders"] }), "lacks a claim", Kind::Invalid),
        ("late", none.clone(), json!({ "exp": NOW - 60 }), "expired", Kind::Expired),
        ("long", none.clone(), json!({ "exp": NOW + 361 }), "longer than 300", Kind::Invalid),
        ("no end", none.clone(), json!({ "exp": null }), "lacks a claim", Kind::Invalid),
        ("no id", none.clone(), json!({ "jti": "" }), "(jti)", Kind::Invalid),
        ("transaction", none.clone(), json!({ "tth": digest("t") }), "(tth)", Kind::Invalid),
        ("other", none.clone(), json!({ "oth": { "x-token": digest("t") } }), "(oth)", Kind::Invalid),
    ] {
        let found = world.prove(header, claims);
        assert!(found.principals.is_empty(), "{case}");
        let failure = &found.failures[0];
        assert!(failure.reason.contains(why), "{case}: {}", failure.reason);
        assert_eq!(failure.kind, kind, "{case}");
        assert_eq!(
            (failure.claimed.id.as_str(), failure.claimed.verified),
            (WORKLOAD, Verified::Claimed),
            "{case}"
        );
    }
    let token = world.token(json!({}), json!({}));
    let stranger = Caller::new().jws(
        &json!({ "typ": "wpt+jwt", "alg": "ES256" }),
        &json!({ "aud": "orders", "exp": NOW + 60, "jti": "s", "wth": digest(&token) }).to_string(),
    );
    assert_eq!(world.show(&world.lines(&token, &stranger)).failures[0].kind, Kind::Signature);
    assert_eq!(world.prove(json!({}), json!({})).failures, [], "none of these used the id up");
}

#[test]
fn a_host_that_the_caller_chose_is_no_audience() {
    let world = World::new();
    let token = world.token(json!({}), json!({}));
    let proof = world.proof(&token, json!({}), json!({ "aud": "https://evil.example/orders/7" }));
    let lines = world.lines(&token, &proof);
    let forged = HttpRequest { authority: "evil.example", ..request(&lines) };
    let found = world.identities.from_request(&forged, None, NOW);
    assert_eq!(found.failures[0].kind, FailureKind::Audience);
}

#[test]
fn every_wrong_token_is_refused_and_without_its_proof_none_passes() {
    use FailureKind as Kind;
    let world = World::new();
    let none = json!({});
    let key =
        |change: Value| json!({ "cnf": { "jwk": with(world.token_claims()["cnf"]["jwk"].clone(), change) } });
    for (case, header, claims, kind) in [
        ("type", json!({ "typ": "jwt" }), none.clone(), Kind::Invalid),
        ("unknown key", json!({ "kid": "other" }), none.clone(), Kind::Invalid),
        ("symmetric", json!({ "alg": "HS256" }), none.clone(), Kind::Invalid),
        ("expired", none.clone(), json!({ "exp": NOW - 60 }), Kind::Expired),
        ("future", none.clone(), json!({ "iat": NOW + 61 }), Kind::Skew),
        ("stranger", none.clone(), json!({ "sub": "spiffe://evil.example/a" }), Kind::Invalid),
        ("nobody", none.clone(), json!({ "sub": "spiffe://example.org" }), Kind::Invalid),
        ("mail", none.clone(), json!({ "sub": "a@example.org" }), Kind::Invalid),
        ("bearer", none.clone(), json!({ "cnf": null }), Kind::Invalid),
        ("no algorithm", none.clone(), key(json!({ "alg": null })), Kind::Invalid),
        ("private", none.clone(), key(json!({ "d": "AA" })), Kind::Invalid),
        ("other algorithm", none.clone(), key(json!({ "alg": "RS256" })), Kind::Invalid),
    ] {
        let token = world.token(header, claims);
        let found = world.show(&world.lines(&token, &world.proof(&token, json!({}), json!({}))));
        assert!(found.principals.is_empty(), "{case}");
        let got = found.failures[0].kind;
        assert!(got == kind || (case == "unknown key" && got == Kind::UnknownKey), "{case}: {got:?}");
    }
    let token = world.token(json!({}), json!({}));
    let alone = Lines::of(&[("workload-identity-token", token.as_str())]);
    assert_eq!(world.show(&alone).failures[0].kind, Kind::Downgrade);
    let twice = world
        .lines(&token, &world.proof(&token, json!({}), json!({})))
        .and("workload-identity-token", &token);
    assert!(world.show(&twice).failures[0].reason.contains("exactly one"));
    let forged = format!("{}.{}", token.rsplit_once('.').unwrap().0, B64.encode([0; 64]));
    assert_eq!(
        world.show(&world.lines(&forged, &world.proof(&forged, json!({}), json!({})))).failures[0].kind,
        Kind::Signature
    );
}

#[test]
fn other_tokens_of_the_request_are_held_by_the_proof() {
    let world = World::new();
    let token = world.token(json!({}), json!({}));
    let lines = |claims: Value| {
        let lines = world.lines(&token, &world.proof(&token, json!({}), claims));
        lines.and("txn-token", "t.t.t").and("x-token", " u ")
    };
    let held = json!({ "tth": digest("t.t.t"), "oth": { "x-token": digest("u") } });
    assert_eq!(world.show(&lines(held.clone())).failures, []);
    for (change, why) in [
        (json!({ "tth": null }), "(tth)"),
        (json!({ "tth": digest("other") }), "(tth)"),
        (json!({ "oth": { "x-token": digest("other") } }), "(oth)"),
        (json!({ "oth": { "X-Token": digest("u") } }), "(oth)"),
        (json!({ "oth": { "x-token": digest("u"), "x-absent": digest("u") } }), "(oth)"),
    ] {
        let found = world.show(&lines(with(with(held.clone(), json!({ "jti": "n" })), change)));
        assert!(found.failures[0].reason.contains(why), "{found:?}");
    }
}

#[test]
fn without_a_trust_domain_nothing_of_it_is_looked_at() {
    let world = World::new();
    let token = world.token(json!({}), json!({}));
    let off = Identities::new(IdentityConfig::default(), NOW).unwrap();
    let lines = world.lines(&token, &world.proof(&token, json!({}), json!({})));
    assert_eq!(off.from_request(&request(&lines), None, NOW), HttpIdentity::default());
}

#[test]
fn a_configuration_that_would_accept_any_audience_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("jwks.json");
    std::fs::write(&keys, json!({ "keys": [Caller::new().jwk()] }).to_string()).unwrap();
    let trust = vec![WimseTrust { trust_domain: "example.org".into(), keys }];
    let load = |origins: &[&str]| {
        let origins = origins.iter().map(|o| (*o).to_owned()).collect();
        let wimse = WimseConfig { trust: trust.clone(), origins, aliases: Vec::new() };
        Identities::new(IdentityConfig { wimse, ..IdentityConfig::default() }, NOW).map(drop)
    };
    assert!(load(&["https://a.example", "http://b.example:8080/"]).is_ok());
    for wrong in [&[][..], &["a.example"], &["https://a.example/path"], &["ftp://a.example"]] {
        assert!(load(wrong).is_err(), "{wrong:?}");
    }
}

/// The key of the identity server in the drafts' examples.
const SERVER: &str = r#"{"keys":[{"kty":"EC","kid":"June 5","crv":"P-256","x":"kXqnA2Op7hgd4zRMbw0iFcc_hDxUxhojxOFVGjE2gks","y":"n__VndPMR021-59UAs0b9qDTFT-EZtT6xSNs_xFskLo"}]}"#;
/// The two examples of requests: a token, and a proof of the same request.
const EXAMPLES: [[&str; 2]; 2] = [
    [
        "eyJhbGciOiJFUzI1NiIsImtpZCI6Ikp1bmUgNSIsInR5cCI6IndpdCtqd3QifQ.eyJjbmYiOnsiandrIjp7ImFsZyI6IkVkRFNBIiwiY3J2IjoiRWQyNTUxOSIsImt0eSI6Ik9LUCIsIngiOiIxQ1hYdmZsTl9MVlZzSXNZWHNVdkIwM0ptbEdXZUNIcVFWdW91Q0Y5MmJnIn19LCJleHAiOjE3NDU1MTI1MTAsImlhdCI6MTc0NTUwODkxMCwianRpIjoieC1fMUNUTDJjY2EzQ1NFNGN3Yl9sIiwic3ViIjoid2ltc2U6Ly9leGFtcGxlLmNvbS9zcGVjaWZpYy13b3JrbG9hZCJ9.6KraSQUxWdl9dxFQ3Fj6dPY0Vi88OkwFwZpAIOhLeq6AbXAnLLQgOp8U9UDGcBuYF3KiNv6oKQD1ZWAzrMZOJw",
        "eyJhbGciOiJFZERTQSIsInR5cCI6IndwdCtqd3QifQ.eyJhdGgiOiJDTDR3amZwUm1OZi1iZFlJYllMblY5ZDVyTUFSR3dLWUUxMHdVd3pDMGpJIiwiYXVkIjoiaHR0cHM6Ly93b3JrbG9hZC5leGFtcGxlLmNvbS9wYXRoIiwiZXhwIjoxNzQ1NTEwMDE2LCJqdGkiOiJfX2J3YzRFU0MzYWNjMkxUQzEtX3giLCJ3dGgiOiJBYVlVZkMzNEQxZGkyRnhRTHBpSUpKN1NnOFZaNm84T0Nkd1NmOUlUb0xnIn0.PI7d9AcYhLoEgPgbJvcM132lkBKnM1NXU-5hZUzVTIyj2dRJaTLFs6e5NYv5gg6AqcV7NvkYCwfgMgWasWQzCA",
    ],
    [
        "eyJhbGciOiJFUzI1NiIsImtpZCI6Ikp1bmUgNSIsInR5cCI6IndpdCtqd3QifQ.eyJjbmYiOnsiandrIjp7ImFsZyI6IkVkRFNBIiwiY3J2IjoiRWQyNTUxOSIsImt0eSI6Ik9LUCIsIngiOiIxQ1hYdmZsTl9MVlZzSXNZWHNVdkIwM0ptbEdXZUNIcVFWdW91Q0Y5MmJnIn19LCJleHAiOjE3NDU1MTI1MTAsImlhdCI6MTc0NTUwODkxMCwianRpIjoieC1fMUNUTDJjY2EzQ1NFNGN3Yl9sIiwic3ViIjoid2ltc2U6Ly9leGFtcGxlLmNvbS9zcGVjaWZpYy13b3JrbG9hZCJ9.lRMvg6aDnk4ua2tI427zRw8fUKK8S9AOP7nWn20uo2XQx4JlTDOlXn-tXffvz5tEZuKH46QRJcPKxCs-mgzebw",
        "eyJhbGciOiJFZERTQSIsInR5cCI6IndwdCtqd3QifQ.eyJhdGgiOiJDTDR3amZwUm1OZi1iZFlJYllMblY5ZDVyTUFSR3dLWUUxMHdVd3pDMGpJIiwiYXVkIjoiaHR0cHM6Ly93b3JrbG9hZC5leGFtcGxlLmNvbS9wYXRoIiwiZXhwIjoxNzQ1NTEwMDE2LCJqdGkiOiJDYjFmQ2EzY0ZFU0NfeC0yNENMVEwiLCJvdGgiOnsieC1jdXN0b20tdG9rZW4iOiJ4LVV5NkNoX3huM0FiVVZLRGpQTVFRdWd0Y24yZXJMV3JrdlZXQW1LbDFrIn0sInd0aCI6IjFWNGhQQ1ZEbWI2M2dQc1BEVDEwZGtnRWVkdlNfTXZrT19DQnQwSHV5ak0ifQ.DLKlhONV8XpR96t39CnD-kUgVTaN5UHXZM8iC6CvqvCwbMDIrAwD861DC1e3AStZ4v32x6waN97m2g29HuSVBw",
    ],
];
/// While both are good.
const THEN: i64 = 1_745_510_000;

#[test]
fn the_examples_of_the_drafts_pass_for_their_own_request() {
    let jwks = serde_json::from_str(SERVER).unwrap();
    let (identities, _dir) = identities("example.com", &jwks, "https://workload.example.com");
    for [token, proof] in EXAMPLES {
        let lines = World::new().lines(token, proof).and("x-custom-token", "some-example-other-token");
        let at = |path: &'static str, now_s| {
            let request =
                HttpRequest { method: "POST", path_and_query: path, authority: "ignored", ..request(&lines) };
            identities.from_request(&request, None, now_s)
        };
        assert_eq!(at("/other", THEN).failures[0].kind, FailureKind::Audience);
        assert_eq!(at("/path", THEN + 76).failures[0].kind, FailureKind::Expired);
        let found = at("/path?query=1", THEN);
        assert_eq!(found.failures, []);
        assert_eq!(found.principals[0].id, "wimse://example.com/specific-workload");
    }
}

#[test]
fn tokens_and_proofs_and_their_neighbours_are_handled() {
    for seed in EXAMPLES[1].iter().copied().chain([WORKLOAD, "wimse://a.b/c/d"]) {
        for at in 0..seed.len() {
            let mut changed = seed.as_bytes().to_vec();
            changed[at] = changed[at].wrapping_add(1 + (at % 7) as u8 * 36);
            fuzz::wimse(&changed);
            fuzz::wimse(&seed.as_bytes()[..at]);
        }
    }
}
