//! SCRAM against the vectors of RFC 7677, against itself, and against hostile sides.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_wire::scram::{
    ClientSide, Fault, ITERATIONS_MAX, Keys, MESSAGE_MAX, NONCE_MAX, Offer, ServerSide, Verifier, end_point,
};
use proptest::prelude::*;

const CLIENT: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CHALLENGE: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const PROOF: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const LAST: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
/// What PostgreSQL keeps for the password of RFC 7677 with its salt.
const STORED: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                      WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_example_of_rfc_7677_is_spoken_on_both_sides() {
    let keys = |salt: &[u8], iterations| Keys::of_password(b"pencil", salt, iterations);
    let (mut client, first) = ClientSide::begin(Offer::None, "user", CLIENT);
    assert_eq!(text(first.clone()), format!("n,,n=user,r={CLIENT}"));
    let verifier = Verifier::parse(STORED).unwrap();
    let (server, challenge) = ServerSide::begin(&first, false, None, SERVER, verifier).unwrap();
    assert_eq!(text(challenge.clone()), CHALLENGE);
    let proof = client.prove(&challenge, keys).unwrap();
    assert_eq!(text(proof.clone()), PROOF);
    let proved = server.finish(&proof).unwrap();
    assert_eq!(text(proved.last.clone()), LAST);
    assert_eq!(client.check(&proved.last), Ok(()));
    assert_eq!(
        client.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="),
        Err(Fault::Malformed("signature is no base64"))
    );
    assert_eq!(client.check(b"v=AAAA"), Err(Fault::Proof));
    assert_eq!(client.check(b"e=other-error"), Err(Fault::Reported));
}

#[test]
fn the_key_that_a_proof_gives_away_logs_in_elsewhere() {
    let keys = Keys::of_password(b"pencil", b"salt of both", 100);
    let verifier = || Verifier::of_keys(&keys, b"salt of both", 100);
    let (mut caller, first) = ClientSide::begin(Offer::EndPoint(b"gateway"), "", "caller");
    let (gateway, challenge) = ServerSide::begin(&first, true, Some(b"gateway"), "gw", verifier()).unwrap();
    let proof = caller.prove(&challenge, |_, _| keys.clone()).unwrap();
    let proved = gateway.finish(&proof).unwrap();
    let (mut client, first) = ClientSide::begin(Offer::EndPoint(b"server"), "", "gw2");
    let (server, challenge) = ServerSide::begin(&first, true, Some(b"server"), "srv", verifier()).unwrap();
    let known = Keys { client: proved.client_key, server: keys.server.clone() };
    let proof = client.prove(&challenge, |_, _| known).unwrap();
    let accepted = server.finish(&proof).unwrap();
    assert_eq!(client.check(&accepted.last), Ok(()));
    assert!(!format!("{accepted:?} {client:?} {keys:?}").contains("98, 105"), "keys are not shown");
}

fn outcome(offer: Offer<'_>, plus: bool, offered: Option<&[u8]>, password: &[u8]) -> Result<(), Fault> {
    let keys = Keys::of_password(b"right", b"s", 1);
    let (mut client, first) = ClientSide::begin(offer, "", "c");
    let verifier = Verifier::of_keys(&keys, b"s", 1);
    let (server, challenge) = ServerSide::begin(&first, plus, offered, "s", verifier)?;
    let proof = client.prove(&challenge, |salt, n| Keys::of_password(password, salt, n))?;
    server.finish(&proof).map(drop)
}

#[test]
fn channel_binding_is_believed_only_where_it_fits() {
    let here: Option<&[u8]> = Some(b"here");
    assert_eq!(outcome(Offer::EndPoint(b"here"), true, here, b"right"), Ok(()));
    assert_eq!(outcome(Offer::EndPoint(b"here"), true, here, b"wrong"), Err(Fault::Proof));
    assert_eq!(outcome(Offer::EndPoint(b"elsewhere"), true, here, b"right"), Err(Fault::Binding));
    assert_eq!(outcome(Offer::Unasked, false, here, b"right"), Err(Fault::Downgrade));
    assert_eq!(outcome(Offer::Unasked, false, None, b"right"), Ok(()));
    assert_eq!(outcome(Offer::None, false, here, b"right"), Ok(()));
    for (offer, plus, offered) in [
        (Offer::EndPoint(&b"here"[..]), false, here),
        (Offer::EndPoint(b"here"), true, None),
        (Offer::None, true, here),
        (Offer::Unasked, true, here),
    ] {
        assert!(matches!(outcome(offer, plus, offered, b"right"), Err(Fault::Malformed(_))), "{offer:?}");
    }
}

#[test]
fn what_a_hostile_server_may_ask_for_is_bounded() {
    let judge = |challenge: String| {
        let (mut client, _) = ClientSide::begin(Offer::None, "", "abc");
        client.prove(challenge.as_bytes(), |_, n| {
            assert!(n <= ITERATIONS_MAX);
            Keys::of_password(b"p", b"s", 1)
        })
    };
    assert!(judge("r=abcd,s=c2FsdA==,i=4096".into()).is_ok());
    assert!(judge(format!("r=abcd,s=c2FsdA==,i={ITERATIONS_MAX}")).is_ok());
    let long_nonce = format!("r=abc{},s=c2FsdA==,i=1", "d".repeat(NONCE_MAX));
    let long_message = format!("r=abcd,s=c2FsdA==,i=1,x={}", "y".repeat(MESSAGE_MAX));
    let long_salt = format!("r=abcd,s={},i=1", "QUFB".repeat(100));
    for refused in [
        "r=abc,s=c2FsdA==,i=1",
        "r=xbcd,s=c2FsdA==,i=1",
        "r=ab\u{7f}cd,s=c2FsdA==,i=1",
        "r=abcd,s=,i=1",
        "r=abcd,s=!!,i=1",
        "r=abcd,s=c2FsdA==,i=0",
        "r=abcd,s=c2FsdA==,i=-1",
        "r=abcd,s=c2FsdA==,i=600001",
        "r=abcd,s=c2FsdA==,i=99999999999999999999",
        "m=x,r=abcd,s=c2FsdA==,i=1",
        "r=abcd,i=1",
        "",
        &long_nonce,
        &long_message,
        &long_salt,
    ] {
        assert!(matches!(judge(refused.to_owned()), Err(Fault::Malformed(_))), "{refused}");
    }
}

#[test]
fn verifiers_are_read_in_the_servers_form_and_no_other() {
    assert!(Verifier::parse(STORED).is_ok());
    for wrong in [
        "",
        "md5d41d8cd98f00b204e9800998ecf8427e",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==",
        "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d:wfPL",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d:wfPL",
        &STORED.replace("4096", "+4096"),
        &STORED.replace("4096", "4294967296"),
        &format!("{STORED}AAAA"),
        &STORED.replace(":W22ZaJ0SNY7soEsUEjb6gQ==", ":"),
    ] {
        let error = Verifier::parse(wrong).unwrap_err();
        assert!(!error.contains("W22Z") && !error.contains("WG5d"), "{error}");
    }
}

#[test]
fn a_role_that_is_not_known_looks_like_one_that_is() {
    let known = Verifier::parse(STORED).unwrap();
    let (a, again, b) = (known.mock("a"), known.mock("a"), known.mock("b"));
    assert_eq!((a.iterations, a.salt.len()), (known.iterations, known.salt.len()));
    assert_eq!(a.salt, again.salt);
    assert!(a.salt != b.salt && a.salt != known.salt);
}

/// A certificate is read only as far as its signature algorithm.
fn certificate(algorithm: &[u8]) -> Vec<u8> {
    let seq = |content: &[u8]| [&[0x30, content.len() as u8], content].concat();
    seq(&[seq(b"signed").as_slice(), &seq(algorithm), &[3, 1, 0]].concat())
}

#[test]
fn the_end_point_is_digested_by_the_hash_of_its_signature() {
    let rsa = |n| [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, n, 5, 0].to_vec();
    let ecdsa = |n| [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, n].to_vec();
    for (algorithm, bytes) in [
        (rsa(4), Some(32)),
        (rsa(5), Some(32)),
        (rsa(11), Some(32)),
        (rsa(12), Some(48)),
        (rsa(13), Some(64)),
        (rsa(14), None),
        (ecdsa(2), Some(32)),
        (ecdsa(3), Some(48)),
        (ecdsa(4), Some(64)),
        (vec![6, 3, 0x2b, 0x65, 0x70], None),
    ] {
        let made = end_point(&certificate(&algorithm));
        assert_eq!(made.map(|d| d.len()), bytes, "{algorithm:?}");
    }
    let mut pss = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10].to_vec();
    pss.extend([0x30, 15, 0xa0, 13, 0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2]);
    assert_eq!(end_point(&certificate(&pss)).map(|d| d.len()), Some(48));
    assert_eq!(end_point(b"\x30\x80\x30\x00"), None);
}

#[test]
fn seeds_and_their_neighbours_return() {
    let seeds = [CHALLENGE, PROOF, LAST, STORED, "p=tls-server-end-point,,n=,r=abc", "n,,n=user,r=abc,x=y"];
    for seed in seeds.map(str::as_bytes).into_iter().chain([certificate(b"\x06\x00").as_slice()]) {
        for at in 0..seed.len() {
            countersign_wire::fuzz::scram(&seed[..at]);
            let mut changed = seed.to_vec();
            changed[at] = changed[at].wrapping_add(1 + (at % 5) as u8 * 50);
            countersign_wire::fuzz::scram(&changed);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        countersign_wire::fuzz::scram(&bytes);
    }

    #[test]
    fn only_the_right_password_is_let_in(right in "[ -~]{1,20}", tried in "[ -~]{1,20}", salt in "[a-z]{1,40}") {
        let keys = Keys::of_password(right.as_bytes(), salt.as_bytes(), 3);
        let (mut client, first) = ClientSide::begin(Offer::None, &tried, "cc");
        let verifier = Verifier::of_keys(&keys, salt.as_bytes(), 3);
        let (server, challenge) = ServerSide::begin(&first, false, None, "ss", verifier).unwrap();
        let proof = client.prove(&challenge, |s, n| Keys::of_password(tried.as_bytes(), s, n)).unwrap();
        prop_assert_eq!(server.finish(&proof).is_ok(), right == tried);
    }
}
