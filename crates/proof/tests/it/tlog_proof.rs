//! The text format for stock tools.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::fixture::*;
use countersign_proof::*;

fn proof(index: u64) -> TlogProof {
    let log = small_log();
    TlogProof {
        extra: Some(log.entries[index as usize].to_bytes().to_vec()),
        index,
        path: inclusion_proof(index, log.size(), &log.tree).unwrap(),
        note: log.note(),
    }
}

#[test]
fn a_proof_is_read_back_and_verifies() {
    for index in 0..11 {
        let text = proof(index).to_text();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra "));
        assert_eq!(TlogProof::parse(text.as_bytes()).unwrap(), proof(index));
        let report = verify_tlog_proof(text.as_bytes(), &policy(), &trust());
        assert_eq!(report.exit_code(), 0, "{}", report.to_text(true));
    }
    let bare = TlogProof { extra: None, ..proof(3) };
    assert_eq!(TlogProof::parse(bare.to_text().as_bytes()).unwrap(), bare);
    assert_eq!(verify_tlog_proof(bare.to_text().as_bytes(), &policy(), &trust()).exit_code(), 2);
    let both = Trust::parse(b"require = \"both\"").unwrap();
    assert_eq!(verify_tlog_proof(proof(3).to_text().as_bytes(), &policy(), &both).exit_code(), 1);
}

#[test]
fn every_flipped_byte_of_a_proof_is_refused() {
    let text = proof(3).to_text().into_bytes();
    for at in 0..text.len() {
        let mut flipped = text.clone();
        flipped[at] ^= 1 << (at % 8);
        let code = verify_tlog_proof(&flipped, &policy(), &trust()).exit_code();
        assert!(code >= 2, "byte {at} gave {code}");
    }
}

#[test]
fn odd_proofs_are_refused() {
    let good = proof(3).to_text();
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    for bad in [
        good.replace("@v1", "@v2"),
        good.replace("index 3", "index 03"),
        good.replace("index 3\n", ""),
        good.replace("extra ", "extra  "),
        good.replace("\n\n", "\n"),
        good.replace("index 3\n", "index 3\nAAAA\n"),
        good.replace("index 3\n", &format!("index 3\n{}", hash.repeat(66))),
    ] {
        assert!(TlogProof::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}
