//! Policies and trust files: what is accepted, what is refused, and who makes a quorum.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::fixture::{ORIGIN, log_signer, witness};
use countersign_proof::*;
use proptest::prelude::*;

fn head() -> Checkpoint {
    Checkpoint { origin: ORIGIN.to_owned(), size: 9, root: [4; 32] }
}

/// Six witnesses of two operators, as in the specification's example.
fn two_operators() -> String {
    let mut text = format!("# example\n\n\tlog  {}\thttps://log.example/\n", log_signer().verifier());
    for n in 1..=6 {
        let name = if n <= 3 { format!("X{n}") } else { format!("Y{}", n - 3) };
        text.push_str(&format!(" witness {name} {} https://w{n}.example/ \n", witness(n).verifier()));
    }
    text + "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n\
        group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

fn met(text: &str, cosigners: &[u8]) -> bool {
    let mut signers = vec![log_signer()];
    signers.extend(cosigners.iter().map(|n| witness(*n)));
    let note = head().sign(1_700_000_000, &signers.iter().collect::<Vec<_>>()).unwrap().to_string();
    let accepted = Policy::parse(text.as_bytes()).unwrap().accept(note.as_bytes()).unwrap();
    assert!(accepted.cosigned.len() + accepted.unknown <= cosigners.len());
    accepted.quorum_met
}

#[test]
fn the_example_of_the_specification_decides_as_it_says() {
    let text = two_operators();
    assert!(met(&text, &[1, 2, 4]));
    assert!(met(&text, &[3, 6, 2, 5]));
    assert!(!met(&text, &[1, 4]));
    assert!(!met(&text, &[1, 2, 3]));
    assert!(!met(&text, &[4, 5, 6]));
    assert!(!met(&text, &[]));
    assert!(!met(&text, &[1, 9, 4]), "a stranger's cosignature does not count");
    assert!(!met(&text, &[1, 1, 4]), "nobody counts twice");
    let none = text.replace("quorum X-and-Y", "quorum none");
    assert!(met(&none, &[]));
    assert!(Policy::parse(none.as_bytes()).unwrap().is_unwitnessed());
    assert!(met(&text.replace("quorum X-and-Y", "quorum Y3"), &[6]));
}

#[test]
fn a_log_speaks_only_for_its_own_origin() {
    let policy = Policy::parse(two_operators().as_bytes()).unwrap();
    let mut other = head();
    other.origin = "log.example/other/1".to_owned();
    let note = other.sign(0, &[&log_signer(), &witness(1)]).unwrap().to_string();
    assert_eq!(policy.accept(note.as_bytes()), Err(Error::NoKnownSignature));
    let only_witness = head().sign(0, &[&witness(1)]).unwrap().to_string();
    assert_eq!(policy.accept(only_witness.as_bytes()), Err(Error::NoKnownSignature));
}

#[test]
fn odd_policies_are_refused_by_line() {
    let good = two_operators();
    let line = |text: &str| Policy::parse(text.as_bytes()).unwrap_err().to_string();
    let (log, w1, w7) = (log_signer().verifier(), witness(1).verifier(), witness(7).verifier());
    for (bad, why) in [
        (good.replace("quorum X-and-Y\n", ""), "no quorum line"),
        (format!("{good}quorum none\n"), "line 14: a second quorum line"),
        (format!("quorum X1\n{good}"), "X1 is not defined above"),
        (format!("{good}log {log}\n"), "the same key is already listed"),
        (format!("{good}witness Z {w1}\n"), "the same key is already listed"),
        (format!("{good}witness X1 {w7}\n"), "the name X1 is taken"),
        (format!("{good}witness none {w7}\n"), "the name none is taken"),
        (format!("{good}witness Z {log}\n"), "type 01, but 04"),
        (format!("{good}log {w1}\n"), "type 04, but 01"),
        (format!("{good}group G any X1\n"), "X1 is already a member"),
        (format!("{good}group G any G\n"), "G is not defined above"),
        (format!("{good}group G any\n"), "not 'log VKEY"),
        (good.replace("2 X1", "0 X1"), "the threshold"),
        (good.replace("2 X1", "4 X1"), "the threshold"),
        (good.replace("2 X1", "02 X1"), "the threshold"),
        (good.replace("2 X1", "some X1"), "the threshold"),
        (good.replace("witness Y1", "wittness Y1"), "not 'log VKEY"),
        (good.replace("# example", "# exa\u{7}mple"), "control character"),
        (good.replace('\n', "\r\n"), "control character"),
        (good.replace("any Y1", "any none"), "none is not defined above"),
    ] {
        assert!(line(&bad).contains(why), "{} does not name {why}", line(&bad));
    }
    assert!(matches!(Policy::parse(&[b' '; 70_000]), Err(Error::Limit { .. })));
}

#[test]
fn trust_files_say_what_is_needed_and_nothing_else() {
    let trust = Trust::parse(b"# who\r\nrequire=\"both\" # both\n\n max_silence_s = 180\n").unwrap();
    assert_eq!(trust, Trust { require: Require::Both, max_silence_s: Some(180) });
    assert_eq!(Trust::parse(Trust::ed25519_text().as_bytes()).unwrap().require, Require::Ed25519);
    let why = |text: &str| Trust::parse(text.as_bytes()).unwrap_err().to_string();
    for (bad, part) in [
        ("", "require is missing"),
        ("max_silence_s = 5", "require is missing"),
        ("requires = \"both\"", "line 1: unknown key requires; did you mean require?"),
        (
            "require = \"both\"\nmax_silence = 5",
            "line 2: unknown key max_silence; did you mean max_silence_s?",
        ),
        ("require = both", "require is \"ed25519\" or \"both\", not both"),
        ("require = \"both\"\nrequire = \"ed25519\"", "given twice"),
        ("require = \"both\"\nmax_silence_s = 0", "above 0"),
        ("require = \"both\"\nmax_silence_s = \"5\"", "above 0"),
        ("[trust]", "not key = value"),
    ] {
        assert!(why(bad).contains(part), "{} does not say {part}", why(bad));
    }
}

proptest! {
    #[test]
    fn any_threshold_counts_its_members(least in 1usize..=5, mask in 0u8..32) {
        let mut text = format!("log {}\n", log_signer().verifier());
        for n in 1..=5u8 {
            text.push_str(&format!("witness w{n} {}\n", witness(n).verifier()));
        }
        text.push_str(&format!("group g {least} w1 w2 w3 w4 w5\nquorum g\n"));
        let cosigners: Vec<u8> = (1..=5).filter(|n| mask >> (n - 1) & 1 == 1).collect();
        prop_assert_eq!(met(&text, &cosigners), cosigners.len() >= least);
    }
}
