//! Tokens: what is accepted, and the table of what is not.

use crate::{AUDIENCE, NOW, World, bearer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use countersign_event::{Auth, IdentityFrom, PrincipalKind, Relation, Verified};
use countersign_identity::{Identities, IdentityConfig, JwtIssuer, TlsIdentity, who_of};
use serde_json::{Value, json};

fn claims() -> Value {
    json!({
        "iss": "https://example.org", "sub": "reports", "aud": AUDIENCE, "exp": NOW + 300, "nbf": NOW, "jti": "t-1",
    })
}

/// `claims()` with some replaced; null removes.
fn with(changes: Value) -> Value {
    let mut all = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(name);
        } else {
            all[name] = value.clone();
        }
    }
    all
}

/// A token put together by hand; `sign` gets the signing input.
fn forge(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
    let signature = B64.encode(sign(input.as_bytes()));
    format!("{input}.{signature}")
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

fn kid(world: &World) -> String {
    let jwks: Value = serde_json::from_str(&world.authority.jwks()).unwrap();
    jwks["keys"][0]["kid"].as_str().unwrap().to_owned()
}

#[test]
fn a_good_token_is_level_three_and_shows_only_public_things() {
    let world = World::new();
    let token = world.authority.token("reports", AUDIENCE, NOW, 300).unwrap();
    let found = world.identities.from_http(&bearer(&token), NOW);
    assert_eq!(found.failures, []);
    let who = who_of(found.into_found()).who.unwrap();
    assert_eq!(who.id, "jwt:https://example.org#reports");
    assert_eq!(
        (who.verified, who.auth, who.from),
        (Verified::Checked, Some(Auth::Jwt), Some(IdentityFrom::Token))
    );
    assert_eq!((who.kind, who.cred_exp), (Some(PrincipalKind::Service), Some(NOW + 300)));
    assert!(who.cred.starts_with(&format!("kid:{}/jti-sha256:", kid(&world))));
    let shown = format!("{who:?} {:?}", world.identities);
    assert!(token.split('.').all(|part| !shown.contains(part)), "no part of the token may be kept");
}

#[test]
fn every_defect_is_refused_with_its_own_reason_and_the_claim_kept_at_level_one() {
    let world = World::new();
    let signed = |changes: Value| world.authority.sign(&with(changes)).unwrap();
    let good = signed(json!({}));
    let (body, _) = good.rsplit_once('.').unwrap();
    let header = |alg: &str| json!({ "alg": alg, "kid": kid(&world) });
    let jwks = world.authority.jwks();
    let point = {
        let jwks: Value = serde_json::from_str(&jwks).unwrap();
        let part = |name: &str| B64.decode(jwks["keys"][0][name].as_str().unwrap()).unwrap();
        [vec![4], part("x"), part("y")].concat()
    };
    let confused = |key: &[u8]| forge(&header("HS256"), &claims(), |m| hmac(key, m));
    let table: Vec<(&str, String, &str)> = vec![
        ("alg none", forge(&header("none"), &claims(), |_| Vec::new()), "not signed"),
        ("alg None", forge(&header("NoNe"), &claims(), |_| Vec::new()), "not signed"),
        ("hmac with the jwks as secret", confused(jwks.as_bytes()), "algorithm is not one"),
        ("hmac with the public point as secret", confused(&point), "algorithm is not one"),
        ("hmac with an empty secret", confused(b""), "algorithm is not one"),
        (
            "another curve's algorithm",
            forge(&header("ES384"), &claims(), |_| vec![0; 96]),
            "algorithm is not one",
        ),
        ("unknown algorithm", forge(&header("XX1"), &claims(), |_| vec![0; 64]), "algorithm is not known"),
        ("zero signature", format!("{body}.{}", B64.encode([0; 64])), "signature is wrong"),
        ("no signature", format!("{body}."), "signature is wrong"),
        (
            "unknown kid",
            forge(&json!({"alg": "ES256", "kid": "x"}), &claims(), |_| vec![0; 64]),
            "(kid) is unknown",
        ),
        (
            "crit",
            forge(&json!({"alg": "ES256", "kid": "x", "crit": ["b64"]}), &claims(), |_| vec![0; 64]),
            "(crit)",
        ),
        ("wrong audience", signed(json!({"aud": "billing"})), "another audience"),
        ("wrong audiences", signed(json!({"aud": ["billing", ""]})), "another audience"),
        ("no audience", signed(json!({"aud": null})), "another audience"),
        ("wrong issuer", signed(json!({"iss": "https://evil.example"})), "issuer (iss) is not configured"),
        (
            "issuer with a tail",
            signed(json!({"iss": "https://example.org/"})),
            "issuer (iss) is not configured",
        ),
        ("no issuer", signed(json!({"iss": null})), "no issuer"),
        ("no subject", signed(json!({"sub": null})), "no subject"),
        ("empty subject", signed(json!({"sub": ""})), "no subject"),
        ("huge subject", signed(json!({"sub": "s".repeat(1100)})), "longer than 1024 bytes"),
        ("expired", signed(json!({"exp": NOW - 60})), "expired 60 s ago"),
        ("no expiry", signed(json!({"exp": null})), "no end of life"),
        ("not yet", signed(json!({"nbf": NOW + 61})), "not valid for another 61 s"),
        ("huge", signed(json!({"pad": "p".repeat(16 << 10)})), "longer than 16384 bytes"),
    ];
    for (case, token, reason) in table {
        let found = world.identities.from_http(&bearer(&token), NOW);
        assert_eq!(found.principals, [], "{case}");
        let failure = &found.failures[0];
        assert!(failure.reason.contains(reason), "{case}: {}", failure.reason);
        assert_eq!(failure.claimed.verified, Verified::Claimed, "{case}");
        assert!(failure.claimed.cred.is_empty() && failure.claimed.id.len() <= 1024, "{case}");
    }
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let world = World::new();
    for changes in [json!({"exp": NOW - 59}), json!({"nbf": NOW + 60}), json!({"exp": NOW as f64 + 0.5})] {
        let token = world.authority.sign(&with(changes)).unwrap();
        assert_eq!(world.identities.from_http(&bearer(&token), NOW).failures, []);
    }
}

#[test]
fn a_remembered_token_still_expires() {
    let world = World::new();
    let token = world.authority.token("reports", AUDIENCE, NOW, 300).unwrap();
    for _ in 0..3 {
        assert_eq!(world.identities.from_http(&bearer(&token), NOW).principals.len(), 1);
    }
    let late = world.identities.from_http(&bearer(&token), NOW + 361);
    assert_eq!(late.principals, []);
    assert!(late.failures[0].reason.contains("expired"));
    assert_eq!(late.failures[0].claimed.id, "jwt:https://example.org#reports");
}

#[test]
fn more_tokens_than_the_cache_holds_are_all_checked() {
    let world = World::new();
    // Claims differ, signatures too; the second round meets tokens of both generations and forgotten ones.
    let tokens: Vec<String> =
        (0..40).map(|i| world.authority.token(&format!("s{i}"), AUDIENCE, NOW, 300).unwrap()).collect();
    for _ in 0..2 {
        for (i, token) in tokens.iter().enumerate() {
            let found = world.identities.from_http(&bearer(token), NOW);
            assert_eq!(found.principals[0].id, format!("jwt:https://example.org#s{i}"));
        }
    }
}

#[test]
fn a_value_that_is_no_token_is_recorded_as_nobody() {
    let world = World::new();
    for value in ["opaque-secret-value", "a.b.c", "....", "eyJhbGciOiJFUzI1NiJ9.e30.", "s3cr3t.s3cr3t.s3cr3t"]
    {
        let found = world.identities.from_http(&bearer(value), NOW);
        assert_eq!(found.principals, [], "{value}");
        let failure = &found.failures[0];
        assert_eq!(failure.claimed.id, "anon:");
        assert!(
            !format!("{failure:?}").contains("s3cr3t") && !format!("{failure:?}").contains("opaque-secret")
        );
    }
    let basic = crate::Headers(vec![("authorization", "Basic dXNlcjpwYXNz".into())]);
    assert_eq!(world.identities.from_http(&basic, NOW), Default::default());
}

#[test]
fn a_repeated_authorization_header_is_refused() {
    let world = World::new();
    let token = world.authority.token("reports", AUDIENCE, NOW, 300).unwrap();
    let mut headers = bearer(&token);
    headers.0.push(("authorization", format!("Bearer {token}")));
    let found = world.identities.from_http(&headers, NOW);
    assert_eq!(found.principals, []);
    assert!(found.failures[0].reason.contains("repeated"));
}

#[test]
fn an_actor_calls_on_behalf_of_its_chain() {
    let world = World::new();
    let act = json!({"sub": "agent-7", "act": {"sub": "planner", "iss": "https://other.example"}});
    let token = world.authority.sign(&with(json!({"act": act, "sub": "alice", "name": "Alice"}))).unwrap();
    let who = who_of(world.identities.from_http(&bearer(&token), NOW).into_found());
    let caller = who.who.unwrap();
    assert_eq!(
        (caller.id.as_str(), caller.verified, caller.rel),
        ("jwt:https://example.org#agent-7", Verified::Checked, None)
    );
    let chain: Vec<_> = who.obo.iter().map(|p| (p.id.as_str(), p.verified, p.rel)).collect();
    let on_behalf = Some(Relation::OnBehalfOf);
    assert_eq!(
        chain,
        [
            ("jwt:https://other.example#planner", Verified::Asserted, on_behalf),
            ("jwt:https://example.org#alice", Verified::Checked, on_behalf),
        ]
    );
    assert_eq!(who.obo[1].name, "Alice");
    let mut event = countersign_event::Event::default();
    (event.core.agent, event.core.seq, event.core.t_obs) = ("a".into(), 1, 1);
    event.who = who_of(world.identities.from_http(&bearer(&token), NOW).into_found()).into();
    event.encode().unwrap();
}

#[test]
fn an_endless_chain_of_actors_is_refused() {
    let world = World::new();
    let mut act = json!({"sub": "a"});
    for _ in 0..40 {
        act = json!({"sub": "a", "act": act});
    }
    let token = world.authority.sign(&with(json!({ "act": act }))).unwrap();
    let found = world.identities.from_http(&bearer(&token), NOW);
    assert!(found.failures[0].reason.contains("chain of actors"));
}

#[test]
fn a_token_bound_to_a_certificate_counts_only_on_that_connection() {
    let world = World::new();
    let peer = |byte: u8| TlsIdentity { cert_sha256: Some([byte; 32]), ..TlsIdentity::default() };
    let token = world.authority.sign(&with(json!({"cnf": {"x5t#S256": B64.encode([7; 32])}}))).unwrap();
    let on_it = world.identities.from_http_over(&bearer(&token), Some(&peer(7)), NOW);
    assert_eq!(
        (on_it.principals[0].verified, on_it.principals[0].auth),
        (Verified::Bound, Some(Auth::JwtMtlsBound))
    );
    for (tls, reason) in [(None, "showed none"), (Some(peer(8)), "other than the caller's")] {
        let found = world.identities.from_http_over(&bearer(&token), tls.as_ref(), NOW);
        assert_eq!(found.principals, []);
        assert!(found.failures[0].reason.contains(reason));
    }
    let unknown = world.authority.sign(&with(json!({"cnf": {"jkt": "x"}}))).unwrap();
    let failure = &world.identities.from_http(&bearer(&unknown), NOW).failures[0];
    assert!(failure.reason.contains("plain bearer token"), "{}", failure.reason);
}

fn identities(dir: &std::path::Path, keys: &str, algorithms: &[&str]) -> Result<Identities, String> {
    let path = dir.join("keys");
    std::fs::write(&path, keys).unwrap();
    let issuer = JwtIssuer {
        issuer: "https://example.org".into(),
        audience: vec![AUDIENCE.into()],
        keys: path,
        algorithms: algorithms.iter().map(|a| (*a).to_owned()).collect(),
        ..JwtIssuer::default()
    };
    let config = IdentityConfig { jwt: vec![issuer], ..IdentityConfig::default() };
    Identities::new(config, NOW).map_err(|e| e.to_string())
}

#[test]
fn hmac_is_used_only_where_the_operator_named_it() {
    let dir = tempfile::tempdir().unwrap();
    let secret = [9; 32];
    let keys = json!({"keys": [{"kty": "oct", "kid": "h", "k": B64.encode(secret)}]}).to_string();
    assert!(identities(dir.path(), &keys, &[]).err().unwrap().contains("HMAC"));
    let named = identities(dir.path(), &keys, &["HS256"]).unwrap();
    let token = forge(&json!({"alg": "HS256", "kid": "h"}), &claims(), |m| hmac(&secret, m));
    assert_eq!(named.from_http(&bearer(&token), NOW).principals.len(), 1);
    let wrong = forge(&json!({"alg": "HS256", "kid": "h"}), &claims(), |m| hmac(&[8; 32], m));
    assert_eq!(named.from_http(&bearer(&wrong), NOW).principals, []);
}

#[test]
fn an_rsa_key_in_pem_form_verifies_and_is_never_an_hmac_secret() {
    let dir = tempfile::tempdir().unwrap();
    // Key, token and claims made once with openssl 3; the token is good until 2100.
    let pem = include_str!("../fixtures/rsa.pub.pem");
    let token = include_str!("../fixtures/rsa.jwt").trim();
    let rsa = identities(dir.path(), pem, &[]).unwrap();
    let found = rsa.from_http(&bearer(token), NOW);
    assert_eq!(found.failures, []);
    assert_eq!(found.principals[0].id, "jwt:https://example.org#rsa-client");
    for allowed in [&[][..], &["RS256", "HS256"][..]] {
        let rsa = identities(dir.path(), pem, allowed).unwrap();
        let confused = forge(&json!({"alg": "HS256"}), &claims(), |m| hmac(pem.as_bytes(), m));
        assert!(rsa.from_http(&bearer(&confused), NOW).failures[0].reason.contains("algorithm is not one"));
    }
    assert!(identities(dir.path(), pem, &["ES256"]).err().unwrap().contains("no key usable"));
}

#[test]
fn new_keys_count_after_a_reload_and_a_broken_file_changes_nothing() {
    let world = World::new();
    let token = world.authority.token("reports", AUDIENCE, NOW, 300).unwrap();
    assert_eq!(world.identities.from_http(&bearer(&token), NOW).principals.len(), 1);
    std::fs::write(&world.files.jwks, "{ broken").unwrap();
    assert!(world.identities.reload(NOW).is_err());
    assert_eq!(world.identities.from_http(&bearer(&token), NOW).principals.len(), 1);
    let other = countersign_identity::authority::Authority::new("example.org", NOW).unwrap();
    std::fs::write(&world.files.jwks, other.jwks()).unwrap();
    world.identities.reload(NOW).unwrap();
    let old = world.identities.from_http(&bearer(&token), NOW);
    assert_eq!(old.principals, [], "a token of the old key must not live on in the cache");
    let new = other.token("reports", AUDIENCE, NOW, 300).unwrap();
    assert_eq!(world.identities.from_http(&bearer(&new), NOW).principals.len(), 1);
}

#[test]
fn without_an_issuer_a_token_is_a_claim() {
    let world = World::new();
    let none = Identities::new(IdentityConfig::default(), NOW).unwrap();
    let token = world.authority.token("reports", AUDIENCE, NOW, 300).unwrap();
    let mut found = none.from_http(&bearer(&token), NOW).into_found();
    found.push(none.address("127.0.0.1".parse().unwrap()));
    let who = who_of(found).who.unwrap();
    assert_eq!((who.id.as_str(), who.verified), ("jwt:https://example.org#reports", Verified::Claimed));
}

#[test]
fn an_issuer_without_audience_is_refused_at_load() {
    let issuer = JwtIssuer { issuer: "i".into(), ..JwtIssuer::default() };
    let config = IdentityConfig { jwt: vec![issuer], ..IdentityConfig::default() };
    assert!(Identities::new(config, NOW).err().unwrap().to_string().contains("audience"));
}
