//! DPoP: a bound token with its proof, and every way in which it must not pass.

use crate::support::{Caller, Lines, request};
use crate::{AUDIENCE, NOW, World};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use countersign_event::{Auth, Verified};
use countersign_identity::{DpopConfig, FailureKind, HttpIdentity, HttpRequest, Identities, IdentityConfig};
use serde_json::{Value, json};

struct Bound {
    world: World,
    caller: Caller,
    token: String,
}

impl Bound {
    fn new() -> Bound {
        let (world, caller) = (World::new(), Caller::new());
        let token = world.authority.sign(&claims(json!({ "jkt": caller.jkt() }))).unwrap();
        Bound { world, caller, token }
    }

    fn header(&self) -> Value {
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.caller.jwk() })
    }

    fn body(&self, jti: &str) -> Value {
        let ath = B64.encode(ring::digest::digest(&ring::digest::SHA256, self.token.as_bytes()));
        json!({ "jti": jti, "htm": "GET", "htu": "https://gateway.example/orders/7", "iat": NOW, "ath": ath })
    }

    fn proof(&self, jti: &str) -> String {
        self.caller.jws(&self.header(), &self.body(jti).to_string())
    }

    fn lines(&self, proof: &str) -> Lines {
        Lines::of(&[("authorization", &format!("DPoP {}", self.token)), ("dpop", proof)])
    }

    fn show(&self, proof: &str) -> HttpIdentity {
        self.world.identities.from_request(&request(&self.lines(proof)), None, NOW)
    }
}

fn claims(cnf: Value) -> Value {
    json!({ "iss": "https://example.org", "sub": "orders", "aud": AUDIENCE, "exp": NOW + 300, "cnf": cnf })
}

#[test]
fn a_bound_token_with_its_proof_is_level_four_and_never_kept() {
    let bound = Bound::new();
    let found = bound.show(&bound.proof("p-1"));
    assert_eq!(found.failures, []);
    let who = &found.principals[0];
    assert_eq!((who.verified, who.auth), (Verified::Bound, Some(Auth::JwtDpop)));
    assert!(found.single_use);
    let shown = format!("{found:?}");
    assert!(bound.token.split('.').chain(bound.proof("p-1").split('.')).all(|part| !shown.contains(part)));
}

#[test]
fn a_proof_counts_once_and_a_fresh_one_again() {
    let bound = Bound::new();
    let proof = bound.proof("p-1");
    assert_eq!(bound.show(&proof).principals.len(), 1);
    for _ in 0..2 {
        let again = bound.show(&proof);
        assert_eq!(again.principals, []);
        assert_eq!(again.failures[0].kind, FailureKind::Replay);
        assert!(again.failures[0].kind.is_security() && again.failures[0].kind.label() == "identity-replay");
        assert_eq!(again.failures[0].claimed.verified, Verified::Claimed);
    }
    // Signed anew, with the id of the first.
    assert_eq!(bound.show(&bound.proof("p-1")).failures[0].kind, FailureKind::Replay);
    assert_eq!(bound.show(&bound.proof("p-2")).failures, []);
    assert!(bound.world.identities.replay_bytes() > 0);
}

#[test]
fn a_bound_token_without_its_proof_is_a_downgrade() {
    let bound = Bound::new();
    let bearer = format!("Bearer {}", bound.token);
    let dpop = format!("DPoP {}", bound.token);
    let twice = bound.lines(&bound.proof("a")).and("dpop", &bound.proof("b"));
    for lines in [
        Lines::of(&[("authorization", &bearer)]),
        Lines::of(&[("authorization", &bearer), ("dpop", &bound.proof("c"))]),
        Lines::of(&[("authorization", &dpop)]),
        twice,
    ] {
        let found = bound.world.identities.from_request(&request(&lines), None, NOW);
        assert_eq!(found.principals, []);
        assert_eq!(found.failures[0].kind, FailureKind::Downgrade, "{}", found.failures[0].reason);
    }
    let headers_alone = bound.world.identities.from_http(&bound.lines(&bound.proof("d")), NOW);
    assert!(headers_alone.failures[0].reason.contains("without the request"));
}

#[test]
fn an_unbound_token_gains_nothing_by_a_proof() {
    let bound = Bound::new();
    let plain = bound.world.authority.token("orders", AUDIENCE, NOW, 300).unwrap();
    let lines = Lines::of(&[("authorization", &format!("DPoP {plain}")), ("dpop", &bound.proof("p"))]);
    let found = bound.world.identities.from_request(&request(&lines), None, NOW);
    assert!(found.principals.is_empty() && found.failures[0].reason.contains("bound to no key"));
    let lines = Lines::of(&[("authorization", &format!("Bearer {plain}")), ("dpop", &bound.proof("p"))]);
    let found = bound.world.identities.from_request(&request(&lines), None, NOW);
    assert_eq!(found.principals[0].verified, Verified::Checked);
}

#[test]
fn a_proof_for_another_request_is_refused() {
    let bound = Bound::new();
    let lines = bound.lines(&bound.proof("p"));
    let here = request(&lines);
    for (case, other, why) in [
        ("method", HttpRequest { method: "DELETE", ..here }, "(htm)"),
        ("case of the method", HttpRequest { method: "get", ..here }, "(htm)"),
        ("path", HttpRequest { path_and_query: "/orders/8", ..here }, "(htu)"),
        ("host", HttpRequest { authority: "other.example", ..here }, "(htu)"),
        ("port", HttpRequest { authority: "gateway.example:8443", ..here }, "(htu)"),
        ("scheme", HttpRequest { scheme: "http", ..here }, "(htu)"),
        ("no host", HttpRequest { authority: "", ..here }, "own address"),
    ] {
        let found = bound.world.identities.from_request(&other, None, NOW);
        assert!(found.principals.is_empty() && found.failures[0].reason.contains(why), "{case}: {found:?}");
    }
    let same = HttpRequest { authority: "GATEWAY.example:443", path_and_query: "/x/../orders/%37#", ..here };
    assert_eq!(bound.world.identities.from_request(&same, None, NOW).failures, []);
}

#[test]
fn every_defect_of_a_proof_has_its_own_reason() {
    let bound = Bound::new();
    let changed = |part: &str, value: Value| {
        let mut header = bound.header();
        header[part] = value;
        bound.caller.jws(&header, &bound.body("d").to_string())
    };
    let claim = |part: &str, value: Value| {
        let mut body = bound.body("d");
        body[part] = value;
        bound.caller.jws(&bound.header(), &body.to_string())
    };
    let mut private = bound.caller.jwk();
    private["d"] = json!("AA");
    let stranger = Caller::new();
    let by_stranger = stranger.jws(
        &json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": stranger.jwk() }),
        &bound.body("d").to_string(),
    );
    let forged = stranger.jws(&bound.header(), &bound.body("d").to_string());
    let twice = bound.body("d").to_string().replacen('{', "{\"htm\":\"PUT\",", 1);
    let table: Vec<(&str, String, &str)> = vec![
        ("typ", changed("typ", json!("JWT")), "(typ)"),
        ("alg none", changed("alg", json!("none")), "algorithm"),
        ("alg HS256", changed("alg", json!("HS256")), "private key (alg)"),
        ("alg of another curve", changed("alg", json!("ES384")), "may not be used with"),
        ("alg of another family", changed("alg", json!("RS256")), "may not be used with"),
        ("private key", changed("jwk", private), "private or symmetric"),
        ("symmetric key", changed("jwk", json!({"kty": "oct", "k": "AAAA"})), "private or symmetric"),
        ("no key", changed("jwk", json!({"kty": "EC"})), "not usable"),
        (
            "unknown curve",
            changed("jwk", json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"})),
            "not usable",
        ),
        ("crit", changed("crit", json!(["b64"])), "(crit)"),
        ("another's key", by_stranger, "(cnf.jkt)"),
        ("another's signature", forged, "wrong signature"),
        ("no id", claim("jti", json!("")), "(jti)"),
        ("huge id", claim("jti", json!("x".repeat(257))), "(jti)"),
        ("null id", claim("jti", Value::Null), "lacks a claim"),
        ("claim twice", bound.caller.jws(&bound.header(), &twice), "lacks a claim"),
        ("no ath", claim("ath", Value::Null), "(ath)"),
        ("other ath", claim("ath", json!("x")), "(ath)"),
        ("old", claim("iat", json!(NOW - 121)), "121 s old"),
        ("early", claim("iat", json!(NOW + 61)), "61 s in the future"),
        ("no time", claim("iat", json!("now")), "lacks a claim"),
        ("huge", format!("{}{}", "A".repeat(8 << 10), bound.proof("d")), "longer than"),
        ("not a JWT", "abc".into(), "not a JWT"),
    ];
    for (case, proof, why) in table {
        let found = bound.show(&proof);
        assert_eq!(found.principals, [], "{case}");
        assert!(found.failures[0].reason.contains(why), "{case}: {}", found.failures[0].reason);
    }
    // None of the refused ones used its id up.
    assert_eq!(bound.show(&bound.proof("d")).failures, []);
}

#[test]
fn skew_and_age_have_their_own_kinds() {
    let bound = Bound::new();
    for (iat, kind) in [(NOW + 61, FailureKind::Skew), (NOW - 121, FailureKind::Expired)] {
        let mut body = bound.body("s");
        body["iat"] = json!(iat);
        let found = bound.show(&bound.caller.jws(&bound.header(), &body.to_string()));
        assert_eq!(found.failures[0].kind, kind);
    }
}

#[test]
fn a_token_bound_twice_needs_both() {
    let bound = Bound::new();
    let cert = [7_u8; 32];
    let cnf = json!({ "jkt": bound.caller.jkt(), "x5t#S256": B64.encode(cert) });
    let token = bound.world.authority.sign(&claims(cnf)).unwrap();
    let bound = Bound { token, ..bound };
    let tls = |cert| countersign_identity::TlsIdentity { cert_sha256: Some(cert), ..Default::default() };
    let ask = |lines: &Lines, tls: Option<&countersign_identity::TlsIdentity>| {
        bound.world.identities.from_request(&request(lines), tls, NOW)
    };
    assert_eq!(ask(&bound.lines(&bound.proof("1")), Some(&tls(cert))).failures, []);
    assert_eq!(ask(&bound.lines(&bound.proof("2")), None).failures[0].kind, FailureKind::Downgrade);
    assert_eq!(ask(&bound.lines(&bound.proof("3")), Some(&tls([8; 32]))).principals, []);
}

#[test]
fn a_nonce_of_ours_is_asked_for_where_configured() {
    let bound = Bound::new();
    let config = IdentityConfig {
        jwt: vec![bound.world.authority.jwt(&bound.world.files, AUDIENCE)],
        dpop: DpopConfig { require_nonce: true, replay_bytes: 1 << 20, ..DpopConfig::default() },
        ..IdentityConfig::default()
    };
    let identities = Identities::new(config, NOW).unwrap();
    let with = |jti: &str, nonce: Value| {
        let mut body = bound.body(jti);
        body["nonce"] = nonce;
        let lines = bound.lines(&bound.caller.jws(&bound.header(), &body.to_string()));
        identities.from_request(&request(&lines), None, NOW)
    };
    assert!(with("1", Value::Null).failures[0].reason.contains("nonce"));
    assert!(with("2", json!("stale")).failures[0].reason.contains("nonce"));
    assert_eq!(with("3", json!(identities.dpop_nonce(NOW).unwrap())).failures, []);
    assert_eq!(bound.world.identities.dpop_nonce(NOW), None);
}

#[test]
fn more_proofs_than_the_bound_are_refused_and_not_forgotten() {
    let bound = Bound::new();
    let config = IdentityConfig {
        jwt: vec![bound.world.authority.jwt(&bound.world.files, AUDIENCE)],
        dpop: DpopConfig { replay_bytes: 48 * 3, ..DpopConfig::default() },
        ..IdentityConfig::default()
    };
    let identities = Identities::new(config, NOW).unwrap();
    let ask = |jti: &str| identities.from_request(&request(&bound.lines(&bound.proof(jti))), None, NOW);
    for jti in ["1", "2", "3"] {
        assert_eq!(ask(jti).failures, []);
    }
    assert_eq!(ask("4").failures[0].kind, FailureKind::Exhausted);
    assert_eq!(ask("1").failures[0].kind, FailureKind::Replay);
    assert!(identities.replay_bytes() <= 48 * 3);
}
