//! Notes and checkpoints against `signed_note` and `tlog_tiles`, and the examples of the specifications.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_proof::note::SIGNATURES_MAX;
use countersign_proof::*;
use proptest::prelude::*;

const ORIGIN: &str = "log.example/7f3a/1";

fn log() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn witness() -> NoteSigner {
    NoteSigner::cosigner_from_seed("witness.example/w1", &[2; 32]).unwrap()
}

fn head() -> Checkpoint {
    Checkpoint { origin: ORIGIN.to_owned(), size: 42, root: [7; 32] }
}

/// The published example of Go's `golang.org/x/mod/sumdb/note`: key, text and signature.
const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

#[test]
fn the_published_note_verifies_and_its_key_is_written_back() {
    let key = VerifierKey::parse(PETER_KEY).unwrap();
    assert_eq!(key.to_string(), PETER_KEY);
    let note = Note::parse(PETER_NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify(&[key]).unwrap().len(), 1);
    assert_eq!(note.to_string(), PETER_NOTE);
}

#[test]
fn a_checkpoint_we_sign_is_accepted_by_both_oracles() {
    let note = head().sign(0, &[&log()]).unwrap().to_string();
    let verifier = signed_note::StandardVerifier::new(&log().verifier().to_string()).unwrap();
    let list = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    let theirs = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let (known, unknown) = theirs.verify(&list).unwrap();
    assert_eq!((known.len(), unknown.len()), (1, 0));
    let parsed = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
    assert_eq!((parsed.origin(), parsed.size(), parsed.hash().0), (ORIGIN, 42, [7; 32]));
    assert_eq!(Checkpoint::open(note.as_bytes(), &[log().verifier()]).unwrap(), head());
}

#[test]
fn unknown_keys_are_skipped_and_a_wrong_line_by_a_known_key_refuses_all() {
    let note = head().sign(1_700_000_000, &[&log(), &witness()]).unwrap();
    let (log, witness) = (log().verifier(), witness().verifier());
    assert_eq!(note.verify(std::slice::from_ref(&log)).unwrap().len(), 1);
    let both = note.verify(&[witness.clone(), log.clone()]).unwrap();
    assert_eq!(
        both,
        [Verified { key: 1, unix_seconds: 0 }, Verified { key: 0, unix_seconds: 1_700_000_000 }]
    );
    let stranger = NoteSigner::from_seed("other.example", &[9; 32]).unwrap().verifier();
    assert_eq!(note.verify(&[stranger]), Err(Error::NoKnownSignature));

    let mut forged = note.clone();
    let mut line = forged.signatures()[0].clone();
    line.bytes[5] ^= 1;
    forged.add(line).unwrap();
    assert!(matches!(forged.verify(std::slice::from_ref(&log)), Err(Error::BadSignature { .. })));
    assert_eq!(forged.verify(&[witness]).unwrap().len(), 1, "the same line is unknown to others");
}

#[test]
fn a_key_counts_once_however_often_it_signs() {
    let mut note = head().sign(5, &[&witness()]).unwrap();
    note.add(witness().sign(note.text(), 6)).unwrap();
    assert_eq!(note.verify(&[witness().verifier()]).unwrap(), [Verified { key: 0, unix_seconds: 5 }]);
}

#[test]
fn a_checkpoint_signed_only_by_somebody_else_is_refused() {
    let note = head().sign(0, &[&witness()]).unwrap().to_string();
    let keys = [log().verifier(), witness().verifier()];
    assert_eq!(Checkpoint::open(note.as_bytes(), &keys), Err(Error::NoKnownSignature));
}

#[test]
fn malformed_notes_are_refused() {
    let good = head().sign(0, &[&log()]).unwrap().to_string();
    let many = |n: usize| {
        let line = log().sign(&head().to_string(), 0).to_string();
        format!("{}\n{}", head(), format!("{line}\n").repeat(n))
    };
    assert!(Note::parse(many(SIGNATURES_MAX).as_bytes()).is_ok());
    let signature = good.rfind("— ").unwrap();
    for bad in [
        String::new(),
        "\n\n".to_owned(),
        good.trim_end().to_owned(),
        good.replace("\n\n", "\n"),
        good.replace("— ", "- "),
        good.replace("— ", "—"),
        good.replace("42", "4\t2"),
        good.replace("42", "4\r2"),
        good.replace("42", "4\u{0}2"),
        good.replacen("— log", "— lo+g", 1),
        good.replacen("— log", "— lo\u{a0}g", 1),
        format!("{good}\n"),
        format!("{good}junk\n"),
        format!("{}— {ORIGIN} AAAA\n", &good[..signature]),
        format!("{}— {ORIGIN} \n", &good[..signature]),
        good.replace("=\n\n", "\n\n").replace("==\n", "\n"),
        many(SIGNATURES_MAX + 1),
        format!("{}{good}", "x".repeat(128 << 10)),
    ] {
        assert!(
            Note::parse(bad.as_bytes()).is_err()
                || Checkpoint::parse(Note::parse(bad.as_bytes()).unwrap().text()).is_err(),
            "{bad:?}"
        );
    }
    assert!(Note::parse(b"\xff\n\n").is_err());
}

#[test]
fn base64_must_be_canonical() {
    let text = head().to_string();
    assert!(Checkpoint::parse(&text).is_ok());
    // 32 bytes leave 2 unused bits in the last digit; setting one changes no byte.
    let line = text.lines().nth(2).unwrap();
    let odd = format!("{}d=", &line[..42]);
    assert!(line.ends_with("c="), "{line}");
    assert!(Checkpoint::parse(&text.replace(line, &odd)).is_err());
    assert!(Checkpoint::parse(&text.replace('=', "")).is_err());
}

#[test]
fn malformed_checkpoints_are_refused() {
    let good = head().to_string();
    for bad in [
        good.replace("42", "042"),
        good.replace("42", "+42"),
        good.replace("42", "-1"),
        good.replace("42", ""),
        good.replace("42", "18446744073709551616"),
        good.replace(ORIGIN, ""),
        good.trim_end().to_owned(),
        format!("{good}extension\n"),
        format!("{good}\n"),
        good.replace("Bwc", "Bw"),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn malformed_and_weak_keys_are_refused() {
    let good = log().verifier().to_string();
    assert_eq!(VerifierKey::parse(&good).unwrap(), log().verifier());
    let id = format!("{:08x}", log().verifier().id());
    for bad in [
        good.replace(&id, "00000000"),
        good.replace(&id, &id.to_uppercase()).replace("+AR", "+AX"),
        good.replace("log.example", "log example"),
        good.replacen('+', "", 1),
        format!("{good}A"),
        good.trim_end_matches('=').to_owned() + "!",
    ] {
        assert!(VerifierKey::parse(&bad).is_err(), "{bad:?}");
    }
    // The identity point, and another point of small order.
    let mut identity = [0; 32];
    identity[0] = 1;
    assert!(VerifierKey::new("n", KeyType::Ed25519, &identity).is_err());
    assert!(VerifierKey::new("n", KeyType::Ed25519, &[0; 32]).is_err());
}

#[test]
fn a_signer_never_shows_its_seed() {
    let shown = format!("{:?}", NoteSigner::from_seed("n", &[0xab; 32]).unwrap());
    assert!(!shown.contains("171") && !shown.to_lowercase().contains("abab"), "{shown}");
}

proptest! {
    #[test]
    fn any_note_we_parse_is_written_back_and_the_oracle_agrees(
        text in "[a-c \n—+é\t]{0,20}", name in "[a-c+ \u{a0}]{0,3}", raw in proptest::collection::vec(any::<u8>(), 0..9), tail in "\n{0,2}",
    ) {
        use base64::Engine as _;
        let note = format!("{text}\n\n— {name} {}{tail}", base64::engine::general_purpose::STANDARD.encode(raw));
        let ours = Note::parse(note.as_bytes());
        prop_assert_eq!(ours.is_ok(), signed_note::Note::from_bytes(note.as_bytes()).is_ok(), "{:?}", note);
        if let Ok(ours) = ours {
            prop_assert_eq!(ours.to_string(), note);
        }
    }

    #[test]
    fn any_changed_byte_of_a_signed_checkpoint_is_refused(at: usize, bit in 0u32..8) {
        let mut note = head().sign(0, &[&log()]).unwrap().to_string().into_bytes();
        let at = at % note.len();
        note[at] ^= 1 << bit;
        prop_assert!(Checkpoint::open(&note, &[log().verifier()]).is_err());
    }

    #[test]
    fn any_checkpoint_survives_the_round_trip(origin in "[ -~]{1,40}", size: u64, root: [u8; 32]) {
        let head = Checkpoint { origin, size, root };
        prop_assert_eq!(Checkpoint::parse(&head.to_string()).unwrap(), head);
    }
}
