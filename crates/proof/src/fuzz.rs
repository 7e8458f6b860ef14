//! Fuzz bodies: plain functions over bytes, run by stable tests from seeds and by `cargo fuzz`.
//!
//! Each asserts more than "no panic": what is accepted must be written back as it was read.

use crate::body::{Erase, Gap, Retire, SourceCkpt, SourceReg};
use crate::evidence::verify_evidence;
use crate::report::Status;
use crate::tile::{encode_bundle, parse_bundle};
use crate::{Checkpoint, Note, NoteSigner, Policy, Tile, TlogProof, Trust, VerifierKey};

/// Signed notes.
pub fn note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data, "a note is written back as it was read");
    }
}

/// Checkpoint texts.
pub fn checkpoint(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(checkpoint) = Checkpoint::parse(text)
    {
        assert_eq!(checkpoint.to_string(), text, "a checkpoint has one text");
    }
}

/// Verifier keys.
pub fn vkey(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(key) = VerifierKey::parse(text)
    {
        assert_eq!(key.to_string(), text, "a key has one text");
    }
}

/// Tile paths.
pub fn tile_path(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(tile) = Tile::parse(text)
    {
        assert_eq!(tile.path(), text, "a tile has one path");
    }
}

/// Entry bundles; the first byte is one less than the width.
pub fn bundle(data: &[u8]) {
    if let Some((width, bytes)) = data.split_first()
        && let Ok(entries) = parse_bundle(bytes, u16::from(*width) + 1)
    {
        assert_eq!(encode_bundle(entries).as_deref(), Ok(bytes), "a bundle is written back as it was read");
    }
}

/// Trust policies and trust files.
pub fn policy(data: &[u8]) {
    let _ = Trust::parse(data);
    if let Ok(policy) = Policy::parse(data) {
        let _ = (policy.quorum_name(), policy.accept(data));
    }
}

/// tlog-proof files.
pub fn tlog_proof(data: &[u8]) {
    if let Ok(proof) = TlogProof::parse(data) {
        assert_eq!(proof.to_text().as_bytes(), data, "a proof is written back as it was read");
    }
}

/// Bodies of entries.
pub fn body(data: &[u8]) {
    let _ = (SourceReg::decode(data), Gap::decode(data), Retire::decode(data));
    if let Ok(heartbeat) = SourceCkpt::decode(data) {
        assert!(!heartbeat.is_signed_by(&[0; 32]), "a weak key signs nothing");
        let _ = heartbeat.adds_up();
    }
    if let Ok(erase) = Erase::decode(data) {
        let _ = (0..=u8::MAX).filter(|group| erase.covers(7, *group)).count();
    }
}

/// Evidence files, against a key that signed none of them: nothing may read as proven.
pub fn evidence(data: &[u8]) {
    let Ok(stranger) = NoteSigner::from_seed("stranger.example", &[0x5a; 32]) else { return };
    let trust = Trust { require: crate::Require::Ed25519, max_silence_s: Some(60) };
    if let Ok(policy) = Policy::parse(Policy::unwitnessed(&stranger.verifier()).as_bytes()) {
        let report = verify_evidence(data, &policy, &trust);
        assert!(report.status() != Status::Ok, "nobody signed this");
        let _ = (report.to_text(true), report.to_json());
    }
}
