//! Credentials that do not pass, what a token says of the call, and bodies that are not the signed ones: each in the
//! record by a label, none of them quoted.

use crate::h2_support;
use crate::support::{Rig, get, ok, response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64};
use bytes::Bytes;
use countersign_event::{Auth, Event, Outcome, Verified};
use countersign_gateway::{GatewayConfig, Purpose};
use countersign_identity::authority::Authority;
use countersign_identity::{IdentityConfig, SignatureConfig, SignatureKey};
use countersign_policy::PolicySet;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use ring::{digest, hmac};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

const AUDIENCE: &str = "orders";
const ISSUER: &str = "https://example.org";

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

struct World {
    authority: Authority,
    identity: IdentityConfig,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("example.org", now_s()).unwrap();
        let files = authority.write(dir.path()).unwrap();
        let jwt = vec![authority.jwt(&files, AUDIENCE)];
        World { identity: IdentityConfig { jwt, ..IdentityConfig::default() }, authority, _dir: dir }
    }

    fn rig(&self, upstream: SocketAddr, change: impl FnOnce(&mut GatewayConfig)) -> Rig {
        Rig::full(upstream, change, self.identity.clone(), PolicySet::allow_all())
    }

    fn claims(&self, change: Value) -> Value {
        let mut claims = json!({ "iss": ISSUER, "sub": "s", "aud": AUDIENCE, "exp": now_s() + 300 });
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    }

    fn token(&self, change: Value) -> String {
        self.authority.sign(&self.claims(change)).unwrap()
    }
}

/// A caller with a key, who makes DPoP proofs.
struct Prover(EcdsaKeyPair);

impl Prover {
    fn new() -> Prover {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        Prover(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap())
    }

    fn point(&self) -> (String, String) {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        (B64.encode(x), B64.encode(y))
    }

    fn thumbprint(&self) -> String {
        let (x, y) = self.point();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        B64.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
    }

    fn proof(&self, token: &str, jti: &str) -> String {
        let (x, y) = self.point();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
        let ath = B64.encode(digest::digest(&digest::SHA256, token.as_bytes()));
        let claims = json!({ "jti": jti, "htm": "GET", "htu": "http://a/x", "iat": now_s(), "ath": ath });
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let input = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", B64.encode(signature))
    }
}

fn request(headers: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n")
}

/// The record of a request with these headers.
fn record(rig: &Rig, headers: &str) -> Event {
    let before = rig.memory.len();
    let mut client = rig.client();
    client.send(request(headers));
    client.expect(response("x"));
    rig.memory.wait(before + 1).pop().unwrap()
}

fn levels(event: &Event) -> Vec<Verified> {
    event.who.who.iter().chain(&event.who.also).map(|p| p.verified).collect()
}

#[test]
fn each_kind_of_failed_credential_is_a_label_of_the_record_and_is_not_quoted() {
    let world = World::new();
    let (upstream, _) = ok("x");
    let rig = world.rig(upstream, |_| {});
    let good = world.token(json!({}));
    let other = world.token(json!({ "sub": "t" }));
    let stranger = Authority::new("example.org", now_s()).unwrap();
    let prover = Prover::new();
    let bound = world.token(json!({ "cnf": { "jkt": prover.thumbprint() } }));
    let signature = |token: &str| token.rsplit_once('.').unwrap().1.to_owned();
    let mixed = format!("{}.{}", good.rsplit_once('.').unwrap().0, signature(&other));
    let proof = prover.proof(&bound, "once");
    let dpop = format!("Authorization: DPoP {bound}\r\nDPoP: {proof}");
    assert!(record(&rig, &dpop).core.labels.is_empty(), "the first use of a proof");
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    for (label, headers) in [
        ("identity-expired", bearer(&world.token(json!({ "exp": now_s() - 100 })))),
        ("identity-audience", bearer(&world.token(json!({ "aud": "billing" })))),
        ("identity-signature", bearer(&mixed)),
        ("identity-unknown-key", bearer(&stranger.sign(&world.claims(json!({}))).unwrap())),
        ("clock-skew", bearer(&world.token(json!({ "nbf": now_s() + 3_600 })))),
        ("identity-downgrade", bearer(&bound)),
        ("identity-replay", dpop),
        ("identity-invalid", bearer("opaque.secret.value")),
        ("identity-forged", "X-Forwarded-Client-Cert: URI=spiffe://example.org/admin".to_owned()),
    ] {
        // A kept answer is told like a new one.
        for _ in 0..2 {
            let event = record(&rig, &headers);
            assert_eq!(event.core.labels, [label]);
            assert!(event.content.err.starts_with("identity: "), "{label}: {}", event.content.err);
            assert!(levels(&event).iter().all(|level| *level == Verified::Claimed), "{label}");
            let shown = format!("{event:?}");
            for secret in
                headers.split([' ', '.', '\r']).filter(|part| part.len() > 20 && !part.contains("spiffe"))
            {
                assert!(!shown.contains(secret), "{label}: {secret}");
            }
        }
    }
    assert!(record(&rig, &bearer(&good)).core.labels.is_empty());
}

#[test]
fn what_a_checked_token_says_of_the_purpose_counts_before_a_header_and_with_its_level() {
    let world = World::new();
    let (upstream, _) = ok("x");
    let rig = world.rig(upstream, |c| {
        c.listeners[0].purpose =
            Purpose { text: "export".into(), header: "x-purpose".into(), claim: "purpose".into() };
    });
    let purpose = |headers: &str| record(&rig, headers).core.decision.unwrap().purpose;
    let header = "X-Purpose: refund";
    let of = |change: Value| format!("Authorization: Bearer {}\r\n{header}", world.token(change));
    assert_eq!(purpose(&of(json!({ "purpose": " nightly billing " }))), "checked: nightly billing");
    assert_eq!(purpose(&of(json!({ "purpose": ["a"] }))), "claimed: refund");
    assert_eq!(purpose(&of(json!({}))), "claimed: refund");
    let expired = of(json!({ "purpose": "theft", "exp": now_s() - 100 }));
    assert_eq!(purpose(&expired), "claimed: refund", "a token that does not pass says nothing");
    assert_eq!(purpose("Accept: x"), "configured: export");
    let prover = Prover::new();
    let token = world.token(json!({ "cnf": { "jkt": prover.thumbprint() }, "purpose": "bound one" }));
    let proof = prover.proof(&token, "p");
    assert_eq!(purpose(&format!("Authorization: DPoP {token}\r\nDPoP: {proof}")), "bound: bound one");
}

/// A caller who signs its requests with a shared key.
struct Signer {
    identity: IdentityConfig,
    key: hmac::Key,
    _dir: tempfile::TempDir,
}

impl Signer {
    fn new() -> Signer {
        let dir = tempfile::tempdir().unwrap();
        let secret = [9; 32];
        let file = dir.path().join("orders.key");
        std::fs::write(&file, STANDARD.encode(secret)).unwrap();
        let algorithm = "hmac-sha256".to_owned();
        let key = SignatureKey { keyid: "orders".into(), algorithm, file, principal: String::new() };
        let signatures = SignatureConfig { keys: vec![key], ..SignatureConfig::default() };
        Signer {
            identity: IdentityConfig { signatures, ..IdentityConfig::default() },
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            _dir: dir,
        }
    }

    /// `Content-Digest`, `Signature-Input` and `Signature` of a POST of `body` to `a.example/orders`.
    fn fields(&self, body: &[u8]) -> [(&'static str, String); 3] {
        let content = format!("sha-256=:{}:", STANDARD.encode(digest::digest(&digest::SHA256, body)));
        let params = format!(
            "(\"@method\" \"@authority\" \"@path\" \"content-digest\");created={};keyid=\"orders\"",
            now_s()
        );
        let base = format!(
            "\"@method\": POST\n\"@authority\": a.example\n\"@path\": /orders\n\"content-digest\": {content}\n\"@signature-params\": {params}"
        );
        let signature = STANDARD.encode(hmac::sign(&self.key, base.as_bytes()));
        [
            ("content-digest", content),
            ("signature-input", format!("s={params}")),
            ("signature", format!("s=:{signature}:")),
        ]
    }

    fn head(&self, signed: &[u8], framing: &str) -> String {
        let fields: String = self.fields(signed).iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        format!("POST /orders HTTP/1.1\r\nHost: a.example\r\n{fields}{framing}\r\n\r\n")
    }

    fn rig(&self, upstream: SocketAddr, enforce: bool) -> Rig {
        Rig::full(upstream, |c| c.enforce = enforce, self.identity.clone(), PolicySet::allow_all())
    }
}

fn is_lowered(event: &Event) {
    assert_eq!(event.core.labels, ["identity-digest"], "{}", event.content.err);
    let signer = event.who.who.iter().chain(&event.who.also).find(|p| p.id == "key:orders").unwrap();
    assert_eq!((signer.verified, signer.auth), (Verified::Claimed, Some(Auth::HttpSig)));
}

#[test]
fn the_body_of_a_signed_request_is_held_against_its_digest() {
    let signer = Signer::new();
    for enforce in [false, true] {
        let (upstream, seen) = ok("x");
        let rig = signer.rig(upstream, enforce);
        let mut client = rig.client();
        let sent = [signer.head(b"signed", "Content-Length: 6"), "signed".to_owned()].concat();
        client.send(&sent);
        client.expect(response("x"));
        let chunked = [
            signer.head(b"signed", "Transfer-Encoding: chunked"),
            "2\r\nsi\r\n4\r\ngned\r\n0\r\n\r\n".into(),
        ];
        client.send(chunked.concat());
        client.expect(response("x"));
        for event in rig.memory.wait(2) {
            assert!(event.core.labels.is_empty(), "{}", event.content.err);
            assert_eq!(event.who.who.as_ref().map(|p| p.verified), Some(Verified::Bound));
        }
        assert_eq!(seen.all().concat(), [sent, chunked.concat()].concat().into_bytes());
    }
}

#[test]
fn another_body_than_the_signed_one_passes_where_nothing_is_enforced_and_lowers_its_signer() {
    let signer = Signer::new();
    let (upstream, seen) = ok("x");
    let rig = signer.rig(upstream, false);
    let mut client = rig.client();
    let sent = [signer.head(b"signed", "Content-Length: 6"), "forged".to_owned()].concat();
    client.send(&sent);
    client.expect(response("x"));
    let event = rig.memory.wait(1).pop().unwrap();
    is_lowered(&event);
    assert_eq!(event.core.outcome, Some(Outcome::Success), "what the server said stays");
    assert!(event.content.err.contains("Content-Digest"), "{}", event.content.err);
    assert_eq!(seen.all().concat(), sent.into_bytes());
}

#[test]
fn another_body_than_the_signed_one_never_reaches_the_server_complete_where_it_is_enforced() {
    let signer = Signer::new();
    for (framing, first, last) in [
        ("Content-Length: 6", "for", "ged"),
        ("Content-Length: 6", "", "forged"),
        ("Transfer-Encoding: chunked", "3\r\nfor\r\n3\r\nged\r\n", "0\r\n\r\n"),
    ] {
        let (upstream, seen) = ok("x");
        let rig = signer.rig(upstream, true);
        let mut client = rig.client();
        client.send(signer.head(b"signed", framing));
        client.send(first);
        if !first.is_empty() {
            crate::support::until("its beginning is there", || {
                seen.all().concat().ends_with(first.as_bytes())
            });
        }
        client.send(last);
        assert_eq!(client.last_status(), "400", "{framing}");
        let event = rig.memory.wait(1).pop().unwrap();
        is_lowered(&event);
        assert_eq!(
            (event.core.outcome, event.content.err.as_str()),
            (Some(Outcome::CallerError), "content-digest")
        );
        let sent = String::from_utf8(seen.all().concat()).unwrap();
        assert!(!sent.ends_with(last), "{sent}");
        client = rig.client();
        client.send(get("/next"));
        client.expect(response("x"));
    }
}

#[test]
fn a_stream_of_http_2_with_another_body_is_answered_by_us_and_reset() {
    let signer = Signer::new();
    let (upstream, _) = h2_support::serve(|request, mut respond| {
        Box::pin(async move {
            let mut from = request.into_body();
            if h2_support::body(&mut from).await.is_ok() {
                let _ = respond.send_response(http::Response::new(()), true);
            }
        })
    });
    let change = |c: &mut GatewayConfig| {
        h2_support::http2(c);
        c.enforce = true;
    };
    let rig = Rig::full(upstream, change, signer.identity.clone(), PolicySet::allow_all());
    let status = |body: &'static [u8]| {
        h2_support::run(async {
            let mut send = h2_support::connect(rig.address).await;
            let mut request = http::Request::post("http://a.example/orders");
            for (name, value) in signer.fields(b"signed") {
                request = request.header(name, value);
            }
            let (response, mut to) = send.send_request(request.body(()).unwrap(), body.is_empty()).unwrap();
            if !body.is_empty() {
                to.send_data(Bytes::from_static(body), true).unwrap();
            }
            response.await.unwrap().status().as_u16()
        })
    };
    assert_eq!(status(b"signed"), 200);
    assert_eq!(status(b"forged"), 400);
    assert_eq!(status(b""), 400);
    let events = rig.memory.wait(3);
    assert!(events[0].core.labels.is_empty());
    assert_eq!(events[0].who.who.as_ref().map(|p| p.verified), Some(Verified::Bound));
    events[1..].iter().for_each(is_lowered);
}
