//! Tokens that are made to be misread: signatures of special numbers, smuggled keys, doubled claims, clocks.

use crate::support::Caller;
use crate::{AUDIENCE, NOW, bearer};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD as B64};
use countersign_identity::{FailureKind, HttpIdentity, Identities, IdentityConfig, JwtIssuer};
use serde_json::{Value, json};

const ISSUER: &str = "https://example.org";

/// Order of the group of P-256, big-endian hex.
const N: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

struct Signed {
    caller: Caller,
    identities: Identities,
    _dir: tempfile::TempDir,
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

impl Signed {
    fn new() -> Signed {
        let (dir, caller) = (tempfile::tempdir().unwrap(), Caller::new());
        let mut jwk = caller.jwk();
        jwk["kid"] = json!("k");
        let keys = dir.path().join("jwks.json");
        std::fs::write(&keys, json!({ "keys": [jwk] }).to_string()).unwrap();
        let jwt = JwtIssuer {
            issuer: ISSUER.into(),
            audience: vec![AUDIENCE.into()],
            keys,
            ..JwtIssuer::default()
        };
        let identities =
            Identities::new(IdentityConfig { jwt: vec![jwt], ..IdentityConfig::default() }, NOW).unwrap();
        Signed { caller, identities, _dir: dir }
    }

    fn claims(&self) -> Value {
        json!({ "iss": ISSUER, "sub": "s", "aud": AUDIENCE, "exp": NOW + 300 })
    }

    fn show(&self, token: &str) -> HttpIdentity {
        self.identities.from_http(&bearer(token), NOW)
    }

    fn header(&self) -> Value {
        json!({ "alg": "ES256", "kid": "k" })
    }
}

/// Puts another signature on a token.
fn with_signature(token: &str, signature: &[u8]) -> String {
    format!("{}.{}", token.rsplit_once('.').unwrap().0, B64.encode(signature))
}

/// A DER signature of the two halves.
fn der(raw: &[u8]) -> Vec<u8> {
    let number = |half: &[u8]| {
        let pad: &[u8] = if half[0] & 0x80 == 0 { &[] } else { &[0] };
        [&[2, (half.len() + pad.len()) as u8][..], pad, half].concat()
    };
    let (r, s) = raw.split_at(32);
    let body = [number(r), number(s)].concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}

#[test]
fn signatures_of_special_numbers_never_pass() {
    let signed = Signed::new();
    let good = signed.caller.jws(&signed.header(), &signed.claims().to_string());
    assert_eq!(signed.show(&good).failures, []);
    let raw = B64.decode(good.rsplit('.').next().unwrap()).unwrap();
    let (zero, one, n, top) = (vec![0; 32], hex(&format!("{:064x}", 1)), hex(N), vec![0xff; 32]);
    let mut less = n.clone();
    less[31] -= 1;
    let (r, s) = (raw[..32].to_vec(), raw[32..].to_vec());
    let halves = [&zero, &one, &n, &top, &less, &r, &s];
    for a in halves {
        for b in halves.iter().filter(|b| (a, **b) != (&r, &s)) {
            let found = signed.show(&with_signature(&good, &[a.as_slice(), b].concat()));
            assert!(found.principals.is_empty(), "{a:02x?} {b:02x?}");
        }
    }
    for bytes in [
        der(&raw),
        raw[..63].to_vec(),
        raw[1..].to_vec(),
        [&raw[..], &[0]].concat(),
        [&[0], &raw[..]].concat(),
        [&r[..], &r[..], &s[..]].concat(),
        Vec::new(),
    ] {
        assert!(signed.show(&with_signature(&good, &bytes)).principals.is_empty(), "{} bytes", bytes.len());
    }
    for bit in 0..512 {
        let mut flipped = raw.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(signed.show(&with_signature(&good, &flipped)).principals.is_empty(), "bit {bit}");
    }
}

#[test]
fn other_spellings_of_a_token_never_pass() {
    let signed = Signed::new();
    let good = signed.caller.jws(&signed.header(), &signed.claims().to_string());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let raw = B64.decode(signature).unwrap();
    // 64 bytes leave four unused bits in the last character.
    let last = signature.chars().last().unwrap();
    let next = char::from(last as u8 + 1);
    for token in [
        format!("{head}.{}", URL_SAFE.encode(&raw)),
        format!("{head}.{}=", STANDARD.encode(&raw).trim_end_matches('=')),
        format!("{head}.{}{next}", &signature[..signature.len() - 1]),
        format!("{good}."),
        format!("{good}.x"),
        format!("{head}..{signature}"),
        format!("{head} .{signature}"),
        format!("{head}\n.{signature}"),
        json!({ "payload": head, "signatures": [{ "signature": signature }] }).to_string(),
    ] {
        assert!(signed.show(&token).principals.is_empty(), "{token}");
    }
}

#[test]
fn keys_and_places_of_keys_inside_a_token_are_ignored() {
    let signed = Signed::new();
    let stranger = Caller::new();
    for (name, value) in [
        ("jwk", stranger.jwk()),
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/cert")),
        ("x5c", json!(["AAAA"])),
    ] {
        let mut header = signed.header();
        header[name] = value;
        let found = signed.show(&stranger.jws(&header, &signed.claims().to_string()));
        assert!(found.failures[0].reason.contains("signature is wrong"), "{name}");
    }
    for kid in ["../../../../dev/null", "k' OR '1'='1", "k\0", "K", "", &"k".repeat(5_000)] {
        let header = json!({ "alg": "ES256", "kid": kid });
        let found = signed.show(&signed.caller.jws(&header, &signed.claims().to_string()));
        assert_eq!(found.failures[0].kind, FailureKind::UnknownKey, "{kid}");
        assert!(!found.failures[0].reason.contains("dev/null"));
    }
    let typed = json!({ "alg": "ES256", "kid": ["k"] });
    assert!(signed.show(&signed.caller.jws(&typed, &signed.claims().to_string())).principals.is_empty());
}

#[test]
fn what_stands_twice_is_refused_and_not_chosen_from() {
    let signed = Signed::new();
    let claims = signed.claims().to_string();
    for twice in
        ["\"sub\":\"admin\"", "\"iss\":\"https://example.org\"", "\"exp\":9999999999", "\"aud\":\"gateway\""]
    {
        for both in
            [claims.replacen('{', &format!("{{{twice},"), 1), claims.replacen('}', &format!(",{twice}}}"), 1)]
        {
            let found = signed.show(&signed.caller.jws(&signed.header(), &both));
            assert!(
                found.principals.is_empty() && found.failures[0].reason.contains("not readable"),
                "{both}"
            );
        }
    }
    let input =
        format!("{}.{}", B64.encode(r#"{"alg":"none","alg":"ES256","kid":"k"}"#), B64.encode(&claims));
    let token = format!("{input}.{}", B64.encode(signed.caller.sign(input.as_bytes())));
    assert!(signed.show(&token).failures[0].reason.contains("header is not readable"));
}

#[test]
fn claims_of_wrong_types_and_depths_are_refused() {
    let signed = Signed::new();
    for (name, value) in [
        ("exp", json!("9999999999")),
        ("exp", json!(null)),
        ("exp", json!(-1)),
        ("nbf", json!([])),
        ("sub", json!(7)),
        ("iss", json!([ISSUER])),
        ("aud", json!({ "gateway": true })),
        ("aud", json!([["gateway"]])),
        ("cnf", json!("x")),
        ("cnf", json!({})),
        ("cnf", json!({ "kid": "k" })),
        ("act", json!({ "sub": 1 })),
    ] {
        let mut claims = signed.claims();
        claims[name] = value.clone();
        let found = signed.show(&signed.caller.jws(&signed.header(), &claims.to_string()));
        assert!(found.principals.is_empty(), "{name} {value}");
    }
    let deep =
        format!("{}{}", "{\"act\":".repeat(1_000), "1").replacen("{\"act\":", "{\"sub\":\"s\",\"act\":", 1);
    assert!(signed.show(&signed.caller.jws(&signed.header(), &deep)).principals.is_empty());
    let huge = json!({ "iss": ISSUER, "sub": "s", "aud": vec![AUDIENCE; 4_000], "exp": NOW + 1 }).to_string();
    assert!(
        signed.show(&signed.caller.jws(&signed.header(), &huge)).failures[0].reason.contains("longer than")
    );
}

#[test]
fn times_beyond_the_leeway_say_that_clocks_differ() {
    let signed = Signed::new();
    for (name, at, kind) in [
        ("iat", NOW + 61, Some(FailureKind::Skew)),
        ("nbf", NOW + 61, Some(FailureKind::Skew)),
        ("iat", NOW + 60, None),
        ("nbf", NOW + 60, None),
        ("exp", NOW - 59, None),
        ("exp", NOW - 60, Some(FailureKind::Expired)),
    ] {
        let mut claims = signed.claims();
        claims[name] = json!(at);
        let found = signed.show(&signed.caller.jws(&signed.header(), &claims.to_string()));
        assert_eq!(found.failures.first().map(|f| f.kind), kind, "{name}");
        assert_eq!(found.single_use, kind == Some(FailureKind::Skew));
    }
}

#[test]
fn a_stolen_certificate_bound_token_is_told_apart_from_a_mistake() {
    let signed = Signed::new();
    let mut claims = signed.claims();
    claims["cnf"] = json!({ "x5t#S256": B64.encode([7; 32]) });
    let token = signed.caller.jws(&signed.header(), &claims.to_string());
    let tls =
        |sha: Option<[u8; 32]>| countersign_identity::TlsIdentity { cert_sha256: sha, ..Default::default() };
    let over = |sha| signed.identities.from_http_over(&bearer(&token), Some(&tls(sha)), NOW);
    assert_eq!(over(Some([7; 32])).failures, []);
    for sha in [None, Some([8; 32])] {
        let found = over(sha);
        assert!(found.failures[0].kind.is_security());
        assert_eq!(found.failures[0].kind.label(), "identity-downgrade");
    }
}

#[test]
fn only_a_cluster_names_its_service_accounts() {
    let signed = Signed::new();
    let keys = signed._dir.path().join("jwks.json");
    let jwt = JwtIssuer {
        issuer: ISSUER.into(),
        audience: vec![AUDIENCE.into()],
        keys,
        cluster: Some("prod".into()),
        ..JwtIssuer::default()
    };
    let identities =
        Identities::new(IdentityConfig { jwt: vec![jwt], ..IdentityConfig::default() }, NOW).unwrap();
    let id = |identities: &Identities, claims: &Value| {
        let token = signed.caller.jws(&signed.header(), &claims.to_string());
        identities.from_http(&bearer(&token), NOW).principals[0].clone()
    };
    let of = |sub: &str| {
        let mut claims = signed.claims();
        claims["sub"] = json!(sub);
        claims
    };
    let account = of("system:serviceaccount:shop:orders");
    let found = id(&identities, &account);
    assert_eq!(
        (found.id.as_str(), found.auth),
        ("k8s-sa:prod/shop/orders", Some(countersign_event::Auth::K8sSa))
    );
    let elsewhere = id(&signed.identities, &account);
    assert_eq!(elsewhere.id, "jwt:https://example.org#system:serviceaccount:shop:orders");
    for odd in [
        "system:serviceaccount:shop",
        "system:serviceaccount::a",
        "system:serviceaccount:a:b:c",
        "system:serviceaccount:a/b:c",
    ] {
        assert!(id(&identities, &of(odd)).id.starts_with("jwt:"), "{odd}");
    }
    let mut acting = of("alice");
    acting["act"] = json!({ "sub": "system:serviceaccount:shop:orders", "iss": "https://other.example" });
    assert!(id(&identities, &acting).id.starts_with("jwt:https://other.example#"));
}
