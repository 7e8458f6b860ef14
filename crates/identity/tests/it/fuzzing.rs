//! The fuzz bodies, from seeds and from noise.

use crate::support::Caller;
use crate::{AUDIENCE, NOW, World};
use countersign_identity::{fuzz, mint_api_key};
use proptest::prelude::*;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Calls `body` with `seed` and with every prefix and many one-byte changes of it.
fn around(seed: &[u8], body: fn(&[u8])) {
    body(seed);
    for at in 0..seed.len() {
        body(&seed[..at]);
        let mut changed = seed.to_vec();
        changed[at] = changed[at].wrapping_add(1 + (at % 7) as u8 * 36);
        body(&changed);
    }
}

#[test]
fn seeds_and_their_neighbours_are_handled() {
    let world = World::new();
    let (token, line) = mint_api_key("id", "name", &[0; 32]).unwrap();
    around(format!("{line}\n{token}").as_bytes(), fuzz::api_key_file);
    around(world.authority.token("s", AUDIENCE, NOW, 60).unwrap().as_bytes(), fuzz::token);
    around(world.authority.jwks().as_bytes(), fuzz::key_set);
    around(b"spiffe://example.org/ns/a/sa/b", fuzz::spiffe_id);
    let issued = world.authority.issue_named("n", &["spiffe://a.b/c".into(), "x:y".into()], &["h"]).unwrap();
    around(&CertificateDer::from_pem_slice(issued.cert_pem.as_bytes()).unwrap(), fuzz::certificate);
}

#[test]
fn proofs_and_signature_fields_and_their_neighbours_are_handled() {
    let caller = Caller::new();
    let header = serde_json::json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": caller.jwk() });
    let proof = caller.jws(&header, r#"{"jti":"j","htm":"GET","htu":"https://a/b","iat":1,"ath":"x"}"#);
    around(proof.as_bytes(), fuzz::dpop);
    around(b"https://User.example:443/a/./b/%7e/../c%2f?q#f", fuzz::dpop);
    for seed in [
        &b"s=(\"@method\" \"@target-uri\" \"@query-param\";name=\"a\" \"x\";sf \"y\";key=\"b\" \"z\";bs);created=1;keyid=\"k\";nonce=\"n\"\0/p?a=%20+b"[..],
        b"a=1.5, b=?0;x=:YQ==:, c=(tok \"s\\\"\" -3);q\0a=1, b",
        b"By=a;Hash=00;Subject=\"CN=\\\"x\",URI=spiffe://a/b\0",
    ] {
        around(seed, fuzz::signature_input);
    }
}

proptest! {
    #[test]
    fn noise_is_handled(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz::api_key_file(&data);
        fuzz::token(&data);
        fuzz::key_set(&data);
        fuzz::certificate(&data);
        fuzz::spiffe_id(&data);
        fuzz::dpop(&data);
        fuzz::wimse(&data);
        fuzz::signature_input(&data);
    }

    #[test]
    fn noise_in_the_shape_of_structured_fields_is_handled(text in "[a-c=();:?\"@ 0-9.,\\-]{0,60}") {
        fuzz::signature_input(text.as_bytes());
        fuzz::signature_input(format!("s=(\"@path\" \"{text}\");created=1").as_bytes());
    }

    #[test]
    fn noise_in_the_shape_of_a_token_is_handled(parts in proptest::collection::vec("[A-Za-z0-9_-]{0,40}", 0..5)) {
        fuzz::token(parts.join(".").as_bytes());
    }
}
