//! HTTP Message Signatures: the RFC's own vectors, and everything that must not pass.

use crate::NOW;
use crate::support::{Caller, Lines, request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_event::{Auth, Verified};
use countersign_identity::{
    BodyDigests, ContentDigest, FailureKind, HttpIdentity, HttpRequest, Identities, IdentityConfig,
    SignatureConfig, SignatureKey,
};
use ring::digest;

/// When the RFC's examples were signed.
const CREATED: i64 = 1_618_884_473;
const BODY: &[u8] = br#"{"hello": "world"}"#;
const DIGEST: &str =
    "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";

/// RFC 9421, appendix B.1: the public keys and the shared secret.
const KEYS: [(&str, &str, &str); 5] = [
    (
        "test-key-rsa",
        "rsa-v1_5-sha256",
        "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAhAKYdtoeoy8zcAcR874L8cnZxKzAGwd7v36APp7Pv6Q2jdsPBRrw
WEBnez6d0UDKDwGbc6nxfEXAy5mbhgajzrw3MOEt8uA5txSKobBpKDeBLOsdJKFq
MGmXCQvEG7YemcxDTRPxAleIAgYYRjTSd/QBwVW9OwNFhekro3RtlinV0a75jfZg
kne/YiktSvLG34lw2zqXBDTC5NHROUqGTlML4PlNZS5Ri2U4aCNx2rUPRcKIlE0P
uKxI4T+HIaFpv8+rdV6eUgOrB2xeI1dSFFn/nnv5OoZJEIB+VmuKn3DCUcCZSFlQ
PSXSfBDiUGhwOw76WuSSsf1D4b/vLoJ10wIDAQAB
-----END RSA PUBLIC KEY-----",
    ),
    (
        "test-key-rsa-pss",
        "rsa-pss-sha512",
        "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----",
    ),
    (
        "test-key-ecc-p256",
        "ecdsa-p256-sha256",
        "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----",
    ),
    (
        "test-key-ed25519",
        "ed25519",
        "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----",
    ),
    (
        "test-shared-secret",
        "hmac-sha256",
        "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==",
    ),
];

fn keys(dir: &std::path::Path) -> Vec<SignatureKey> {
    let mut keys = Vec::new();
    for (keyid, algorithm, text) in KEYS {
        let file = dir.join(keyid);
        std::fs::write(&file, text).unwrap();
        keys.push(SignatureKey {
            keyid: keyid.into(),
            algorithm: algorithm.into(),
            file,
            principal: String::new(),
        });
    }
    keys
}

fn identities(signatures: SignatureConfig) -> Identities {
    Identities::new(IdentityConfig { signatures, ..IdentityConfig::default() }, NOW).unwrap()
}

/// The RFC's test request (appendix B.2) with one signature, under a policy that asks for nothing but it.
fn vector(input: &str, signature: &str, change: impl Fn(&mut HttpRequest<'_>)) -> HttpIdentity {
    let dir = tempfile::tempdir().unwrap();
    let required = input.split('"').nth(1).map(|name| vec![name.to_owned()]);
    let required = required.unwrap_or_default();
    let config = SignatureConfig { keys: keys(dir.path()), required, ..SignatureConfig::default() };
    let lines = Lines::of(&[
        ("host", "example.com"),
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        ("content-digest", DIGEST),
        ("content-length", "18"),
        ("signature-input", input),
        ("signature", signature),
    ]);
    let mut request = HttpRequest {
        method: "POST",
        authority: "example.com",
        path_and_query: "/foo?param=Value&Pet=dog",
        ..request(&lines)
    };
    change(&mut request);
    identities(config).from_request(&request, None, CREATED)
}

const B22: [&str; 2] = [
    r#"sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
    "sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==:",
];
const B23: [&str; 2] = [
    r#"sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
    "sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==:",
];
const B25: [&str; 2] = [
    r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
    "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
];
const B26: [&str; 2] = [
    r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
    "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
];

#[test]
fn the_rfcs_own_signatures_pass() {
    for ([input, signature], key) in [
        (B22, "test-key-rsa-pss"),
        (B23, "test-key-rsa-pss"),
        (B25, "test-shared-secret"),
        (B26, "test-key-ed25519"),
    ] {
        let found = vector(input, signature, |_| {});
        assert_eq!(found.failures, [], "{input}");
        let who = &found.principals[0];
        assert_eq!((who.id.as_str(), who.cred.as_str()), (&*format!("key:{key}"), &*format!("key:{key}")));
        assert_eq!((who.verified, who.auth, found.single_use), (Verified::Bound, Some(Auth::HttpSig), true));
    }
}

#[test]
fn the_rfcs_proxy_example_passes_for_the_proxy_and_not_for_the_client() {
    // Section 4.3: the proxy changed the authority and the date, so the client's signature no longer fits.
    let dir = tempfile::tempdir().unwrap();
    let config = SignatureConfig {
        keys: keys(dir.path()),
        required: vec!["@method".into()],
        ..SignatureConfig::default()
    };
    let lines = Lines::of(&[
        ("date", "Tue, 20 Apr 2021 02:07:56 GMT"),
        ("content-type", "application/json"),
        ("content-length", "18"),
        ("forwarded", "for=192.0.2.123;host=example.com;proto=https"),
        ("content-digest", DIGEST),
        (
            "signature-input",
            r#"sig1=("@method" "@authority" "@path" "content-digest" "content-type" "content-length");created=1618884475;keyid="test-key-ecc-p256", proxy_sig=("@method" "@authority" "@path" "content-digest" "content-type" "content-length" "forwarded");created=1618884480;keyid="test-key-rsa";alg="rsa-v1_5-sha256";expires=1618884540"#,
        ),
        (
            "signature",
            "sig1=:X5spyd6CFnAG5QnDyHfqoSNICd+BUP4LYMz2Q0JXlb//4Ijpzp+kve2w4NIyqeAuM7jTDX+sNalzA8ESSaHD3A==:, proxy_sig=:S6ZzPXSdAMOPjN/6KXfXWNO/f7V6cHm7BXYUh3YD/fRad4BCaRZxP+JH+8XY1I6+8Cy+CM5g92iHgxtRPz+MjniOaYmdkDcnL9cCpXJleXsOckpURl49GwiyUpZ10KHgOEe11sx3G2gxI8S0jnxQB+Pu68U9vVcasqOWAEObtNKKZd8tSFu7LB5YAv0RAGhB8tmpv7sFnIm9y+7X5kXQfi8NMaZaA8i2ZHwpBdg7a6CMfwnnrtflzvZdXAsD3LH2TwevU+/PBPv0B6NMNk93wUs/vfJvye+YuI87HU38lZHowtznbLVdp770I6VHR6WfgS9ddzirrswsE1w5o0LV/g==:",
        ),
    ]);
    let identities = identities(config);
    let at = |authority: &str, now_s| {
        let request = HttpRequest {
            method: "POST",
            authority,
            path_and_query: "/foo?param=Value&Pet=dog",
            ..request(&lines)
        };
        let found = identities.from_request(&request, None, now_s);
        found.principals.iter().map(|p| p.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(at("origin.host.internal.example", 1_618_884_500), ["key:test-key-rsa"]);
    assert_eq!(at("example.com", 1_618_884_500), ["key:test-key-ecc-p256"]);
    assert_eq!(
        at("origin.host.internal.example", 1_618_884_600),
        Vec::<String>::new(),
        "expires, and the leeway"
    );
}

#[test]
fn any_change_of_what_is_covered_breaks_the_signature() {
    let [input, signature] = B23;
    type Change = fn(&mut HttpRequest<'_>);
    let changes: [(&str, Change); 4] = [
        ("method", |r| r.method = "PUT"),
        ("path", |r| r.path_and_query = "/fop?param=Value&Pet=dog"),
        ("query", |r| r.path_and_query = "/foo?param=value&Pet=dog"),
        ("authority", |r| r.authority = "example.org"),
    ];
    for (case, change) in changes {
        let found = vector(input, signature, change);
        assert!(found.principals.is_empty(), "{case}");
        assert!(found.failures[0].reason.contains("does not fit"), "{case}: {}", found.failures[0].reason);
        assert_eq!(found.failures[0].claimed.verified, Verified::Claimed);
    }
    for [input, signature] in [B23, B26] {
        let flipped = signature.replacen("=:w", "=:x", 1).replacen("=:b", "=:c", 1);
        assert!(vector(input, &flipped, |_| {}).principals.is_empty());
    }
    let [input, _] = B25;
    assert!(vector(input, "sig-b25=:pxcQw6G3AjtMBQjwo8Xzkg==:", |_| {}).principals.is_empty(), "a short tag");
    assert_eq!(
        vector(B26[0], B26[1], |r| r.authority = "EXAMPLE.com:443").failures,
        [],
        "the same authority"
    );
}

#[test]
fn a_signed_digest_is_held_against_the_body_now_or_later() {
    let [input, signature] = B23;
    let later = vector(input, signature, |_| {}).content.unwrap();
    let digests = |body: &[u8]| BodyDigests {
        sha256: None,
        sha512: Some(digest::digest(&digest::SHA512, body).as_ref().try_into().unwrap()),
    };
    assert_eq!(later.check(&digests(BODY)), Some(true));
    assert_eq!(later.check(&digests(b"other")), Some(false));
    assert_eq!(
        later.check(&BodyDigests::default()),
        None,
        "no digest of the same kind: unchecked, and said so"
    );
    assert_eq!(ContentDigest::default().check(&digests(BODY)), None);
    let now = vector(input, signature, |r| r.body = Some(digests(BODY)));
    assert_eq!((now.failures.len(), now.content), (0, None));
    let wrong = vector(input, signature, |r| r.body = Some(digests(b"other")));
    assert!(wrong.principals.is_empty() && wrong.failures[0].reason.contains("Content-Digest"));
}

/// A caller with a configured P-256 key, and what it signs.
struct Signer {
    caller: Caller,
    identities: Identities,
    _dir: tempfile::TempDir,
}

impl Signer {
    fn new(change: impl Fn(&mut SignatureConfig)) -> Signer {
        let (dir, caller) = (tempfile::tempdir().unwrap(), Caller::new());
        let file = dir.path().join("key.jwk");
        std::fs::write(&file, caller.jwk().to_string()).unwrap();
        let key = SignatureKey {
            keyid: "orders".into(),
            algorithm: "ecdsa-p256-sha256".into(),
            file,
            principal: "spiffe://example.org/orders".into(),
        };
        let mut config = SignatureConfig { keys: vec![key], ..SignatureConfig::default() };
        change(&mut config);
        Signer { caller, identities: identities(config), _dir: dir }
    }

    /// Signs `base` (its lines without the last) with the parameters `inner`, and shows it with `lines`.
    fn show(&self, lines: Lines, base: &[&str], inner: &str) -> HttpIdentity {
        let mut whole: Vec<String> = base.iter().map(|l| (*l).to_owned()).collect();
        whole.push(format!("\"@signature-params\": {inner}"));
        let signature = STANDARD.encode(self.caller.sign(whole.join("\n").as_bytes()));
        let lines =
            lines.and("signature-input", &format!("s={inner}")).and("signature", &format!("s=:{signature}:"));
        self.identities.from_request(&request(&lines), None, NOW)
    }

    fn simple(&self, params: &str) -> HttpIdentity {
        let base = ["\"@method\": GET", "\"@target-uri\": https://gateway.example/orders/7?full=1"];
        self.show(Lines(Vec::new()), &base, &format!("(\"@method\" \"@target-uri\"){params}"))
    }
}

fn reason(found: &HttpIdentity) -> &str {
    assert_eq!(found.principals, []);
    &found.failures[0].reason
}

#[test]
fn times_decide_with_a_minute_of_leeway() {
    let signer = Signer::new(|_| {});
    for (params, want) in [
        (format!(";created={};keyid=\"orders\"", NOW + 60), None),
        (format!(";created={};keyid=\"orders\"", NOW + 61), Some(FailureKind::Skew)),
        (format!(";created={};keyid=\"orders\"", NOW - 359), None),
        (format!(";created={};keyid=\"orders\"", NOW - 360), Some(FailureKind::Expired)),
        (format!(";created={};expires={};keyid=\"orders\"", NOW - 100, NOW - 59), None),
        (format!(";created={};expires={};keyid=\"orders\"", NOW - 100, NOW - 60), Some(FailureKind::Expired)),
        (";keyid=\"orders\"".to_owned(), Some(FailureKind::Invalid)),
        (format!(";created={NOW};keyid=\"other\""), Some(FailureKind::UnknownKey)),
        (format!(";created={NOW}"), Some(FailureKind::Invalid)),
        (format!(";created={NOW};keyid=\"orders\";alg=\"hmac-sha256\""), Some(FailureKind::Invalid)),
        (format!(";created=\"{NOW}\";keyid=\"orders\""), Some(FailureKind::Invalid)),
        (format!(";created={NOW};keyid=orders"), Some(FailureKind::Invalid)),
    ] {
        let found = signer.simple(&params);
        assert_eq!(found.failures.first().map(|f| f.kind), want, "{params}: {found:?}");
        if want.is_none() {
            assert_eq!(found.principals[0].id, "spiffe://example.org/orders");
        }
    }
}

#[test]
fn a_nonce_counts_once() {
    let signer = Signer::new(|c| c.require_nonce = true);
    assert!(reason(&signer.simple(&format!(";created={NOW};keyid=\"orders\""))).contains("nonce"));
    let params = |nonce: &str| format!(";created={NOW};keyid=\"orders\";nonce=\"{nonce}\"");
    assert_eq!(signer.simple(&params("a")).failures, []);
    assert_eq!(signer.simple(&params("a")).failures[0].kind, FailureKind::Replay);
    assert_eq!(signer.simple(&params("b")).failures, []);
}

#[test]
fn a_signature_over_too_little_is_refused() {
    let signer = Signer::new(|_| {});
    let end = format!(";created={NOW};keyid=\"orders\"");
    let method = "\"@method\": GET";
    let (authority, path) = ("\"@authority\": gateway.example", "\"@path\": /orders/7");
    for (base, list) in [
        (vec![], "()"),
        (vec![method], "(\"@method\")"),
        (vec![method, authority, path], "(\"@method\" \"@authority\" \"@path\")"),
        (vec![authority, path, "\"@query\": ?full=1"], "(\"@authority\" \"@path\" \"@query\")"),
    ] {
        let found = signer.show(Lines(Vec::new()), &base, &format!("{list}{end}"));
        assert!(reason(&found).contains("too little"), "{list}");
    }
    let all = [method, authority, path, "\"@query\": ?full=1", "\"@scheme\": https"];
    let list = "(\"@method\" \"@authority\" \"@path\" \"@query\" \"@scheme\")";
    assert_eq!(signer.show(Lines(Vec::new()), &all, &format!("{list}{end}")).failures, []);
    let target = [method, authority, "\"@request-target\": /orders/7?full=1"];
    let list = "(\"@method\" \"@authority\" \"@request-target\")";
    assert_eq!(signer.show(Lines(Vec::new()), &target, &format!("{list}{end}")).failures, []);
    let strict = Signer::new(|c| c.required = vec!["@method".into(), "X-Tenant".into()]);
    let found = strict.show(Lines(Vec::new()), &[method], &format!("(\"@method\"){end}"));
    assert!(reason(&found).contains("x-tenant"));
}

#[test]
fn header_components_are_combined_as_the_rfc_says() {
    let signer = Signer::new(|c| c.required = vec!["@method".into()]);
    let end = format!(";created={NOW};keyid=\"orders\"");
    let lines = || {
        Lines::of(&[
            ("x-many", "  one,  two "),
            ("x-many", "three"),
            ("x-empty", ""),
            ("x-dict", "  a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
            ("priority", "u=1,   i"),
            ("example-header", "value, with, lots"),
            ("example-header", "of, commas"),
        ])
    };
    let show = |line: &str, id: &str| {
        signer.show(lines(), &["\"@method\": GET", line], &format!("(\"@method\" {id}){end}"))
    };
    for (line, id) in [
        ("\"x-many\": one,  two, three", "\"x-many\""),
        ("\"x-empty\": ", "\"x-empty\""),
        ("\"x-dict\";key=\"a\": 1", "\"x-dict\";key=\"a\""),
        ("\"x-dict\";key=\"b\": 2;x=1;y=2", "\"x-dict\";key=\"b\""),
        ("\"x-dict\";key=\"c\": (a b c)", "\"x-dict\";key=\"c\""),
        ("\"x-dict\";key=\"d\": ?1", "\"x-dict\";key=\"d\""),
        ("\"priority\";sf: u=1, i", "\"priority\";sf"),
        ("\"example-header\";bs: :dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:", "\"example-header\";bs"),
        ("\"@query-param\";name=\"full\": 1", "\"@query-param\";name=\"full\""),
    ] {
        assert_eq!(show(line, id).failures, [], "{id}");
    }
    for (id, why) in [
        ("\"x-none\"", "not there"),
        ("\"X-Many\"", "out of form"),
        ("\"x-many\" \"x-many\"", "twice"),
        ("\"x-many\";sf", "not known here"),
        ("\"x-many\";tr", "trailer"),
        ("\"x-many\";req", "another message"),
        ("\"x-many\";bs;sf", "not known here"),
        ("\"x-dict\";key=\"z\"", "not there"),
        ("\"@status\"", "a request has not"),
        ("\"@unknown\"", "not known here"),
        ("\"@path\";x", "not known here"),
        ("\"@query-param\"", "without a name"),
        ("\"@query-param\";name=\"none\"", "not there"),
        ("token", "no component name"),
    ] {
        assert!(reason(&show("x", id)).contains(why), "{id}");
    }
}

#[test]
fn fields_out_of_form_and_stray_labels_are_refused() {
    let signer = Signer::new(|_| {});
    let ask = |lines: Lines| signer.identities.from_request(&request(&lines), None, NOW);
    let inner = format!("(\"@method\" \"@target-uri\");created={NOW};keyid=\"orders\"");
    for (input, signature, why) in [
        (format!("s={inner}"), "t=:AA==:", "no value"),
        (format!("s={inner}"), "s=AA", "no value"),
        (format!("s={inner}"), "s=:", "out of form"),
        (format!("s={inner}, s={inner}"), "s=:AA==:", "out of form"),
        ("s=1".to_owned(), "s=:AA==:", "not a list"),
        ("s=(".to_owned(), "s=:AA==:", "out of form"),
        (format!("s={inner};nonce=\"{}\"", "n".repeat(257)), "s=:AA==:", "too long"),
    ] {
        let found = ask(Lines::of(&[("signature-input", &input), ("signature", signature)]));
        assert!(reason(&found).contains(why), "{input}: {found:?}");
    }
    let nothing = ask(Lines::of(&[("signature", "s=:AA==:")]));
    assert_eq!(nothing, HttpIdentity::default(), "without an input there is nothing to check");
    let unconfigured = identities(SignatureConfig::default());
    let lines = Lines::of(&[("signature-input", &format!("s={inner}")), ("signature", "s=:AA==:")]);
    assert_eq!(unconfigured.from_request(&request(&lines), None, NOW), HttpIdentity::default());
}

#[test]
fn a_signature_with_another_tag_is_meant_for_somebody_else() {
    let signer = Signer::new(|c| c.tag = Some("ours".into()));
    let end = format!(";created={NOW};keyid=\"orders\"");
    assert_eq!(signer.simple(&format!("{end};tag=\"theirs\"")), HttpIdentity::default());
    assert_eq!(signer.simple(&format!("{end};tag=\"ours\"")).principals.len(), 1);
}

#[test]
fn wrong_keys_are_named_at_load() {
    let dir = tempfile::tempdir().unwrap();
    let load = |algorithm: &str, text: &str| {
        let file = dir.path().join("key");
        std::fs::write(&file, text).unwrap();
        let key =
            SignatureKey { keyid: "k".into(), algorithm: algorithm.into(), file, principal: String::new() };
        let signatures = SignatureConfig { keys: vec![key], ..SignatureConfig::default() };
        let config = IdentityConfig { signatures, ..IdentityConfig::default() };
        Identities::new(config, NOW).map(|_| ()).map_err(|e| e.to_string())
    };
    let ed = KEYS[3].2;
    assert_eq!(load("ed25519", ed), Ok(()));
    for (algorithm, text, why) in [
        ("ecdsa-p256-sha256", ed, "another kind of key"),
        ("rsa-pss-sha512", ed, "another kind of key"),
        ("none", ed, "is not known"),
        ("ed25519", "-----BEGIN PRIVATE KEY-----", "private key"),
        ("ed25519", r#"{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}"#, "private key"),
        ("ed25519", "text", "neither"),
        ("hmac-sha256", "c2hvcnQ=", "less than 32 bytes"),
        ("hmac-sha256", "not base64!", "base64"),
    ] {
        let error = load(algorithm, text).unwrap_err();
        assert!(error.contains(why) && !error.contains("c2hvcnQ"), "{algorithm}: {error}");
    }
}
