//! SCRAM's messages, verifiers and certificates.

use crate::scram::{ClientSide, Keys, Offer, ServerSide, Verifier, end_point};

/// Reads `data` as a verifier, as a certificate, and as every message of an exchange. No bytes but the right ones
/// prove anything.
pub fn scram(data: &[u8]) {
    let _ = std::str::from_utf8(data).map(Verifier::parse);
    let _ = end_point(data);
    let keys = Keys::of_password(b"fuzz", b"salt", 1);
    let (mut client, first) = ClientSide::begin(Offer::Unasked, "u,=", "abc");
    let _ = client.prove(data, |_, _| keys.clone());
    let _ = client.check(data);
    for (plus, offered) in [(false, None), (true, Some(&b"data"[..]))] {
        let verifier = Verifier::of_keys(&keys, b"salt", 1);
        let _ = ServerSide::begin(data, plus, offered, "def", verifier);
    }
    if let Ok((server, _)) =
        ServerSide::begin(&first, false, None, "def", Verifier::of_keys(&keys, b"salt", 1))
    {
        let _ = server.finish(data);
    }
}
