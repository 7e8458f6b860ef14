//! The fuzz bodies, from seeds and from noise.

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

proptest! {
    #[test]
    fn noise_is_handled(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz::api_key_file(&data);
        fuzz::token(&data);
        fuzz::key_set(&data);
        fuzz::certificate(&data);
        fuzz::spiffe_id(&data);
    }

    #[test]
    fn noise_in_the_shape_of_a_token_is_handled(parts in proptest::collection::vec("[A-Za-z0-9_-]{0,40}", 0..5)) {
        fuzz::token(parts.join(".").as_bytes());
    }
}
