//! The fuzz bodies over seeds and their mutations. Longer with `COUNTERSIGN_TORTURE=full`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::fixture::*;
use countersign_proof::{TlogProof, fuzz, inclusion_proof};

fn rounds() -> u32 {
    if std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|value| value == "full") { 50_000 } else { 2_000 }
}

/// Runs `body` over the seeds and over changed, cut, joined and random bytes. One seed, one run.
fn mutate(seeds: &[Vec<u8>], body: fn(&[u8])) {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    seeds.iter().for_each(|seed| body(seed));
    for _ in 0..rounds() {
        let mut data = seeds[random() % seeds.len()].clone();
        for _ in 0..=random() % 4 {
            let at = random() % (data.len() + 1);
            match random() % 5 {
                0 if at < data.len() => data[at] ^= 1 << (random() % 8),
                1 if at < data.len() => data[at] = random() as u8,
                2 => data.truncate(at),
                3 => data.insert(at, random() as u8),
                _ => {
                    let other = &seeds[random() % seeds.len()];
                    let from = random() % (other.len() + 1);
                    data.truncate(at);
                    data.extend_from_slice(&other[from..]);
                }
            }
        }
        body(&data);
    }
}

fn notes() -> Vec<Vec<u8>> {
    let log = small_log();
    let two = log.head(5).sign(7, &[&log_signer(), &witness(1)]).unwrap().to_string();
    vec![log.note().into_bytes(), two.into_bytes()]
}

fn evidence_files() -> Vec<Vec<u8>> {
    let log = small_log();
    let mut builder = log.builder();
    for index in 0..11 {
        builder = log.add(builder, index, 0x41);
    }
    vec![log.add(log.builder(), 3, 0x7f).finish().unwrap(), builder.finish().unwrap()]
}

#[test]
fn notes_checkpoints_and_keys_survive_mutation() {
    mutate(&notes(), fuzz::note);
    mutate(&[small_log().head(5).to_string().into_bytes()], fuzz::checkpoint);
    mutate(&[log_signer().verifier().to_string().into_bytes()], fuzz::vkey);
}

#[test]
fn tile_paths_and_bundles_survive_mutation() {
    mutate(&[b"tile/0/x001/x234/067.p/12".to_vec(), b"tile/entries/000".to_vec()], fuzz::tile_path);
    mutate(&[b"\x01\x00\x03abc\x00\x00".to_vec(), vec![0; 40]], fuzz::bundle);
}

#[test]
fn policies_proofs_and_bodies_survive_mutation() {
    let policy = format!(
        "log {}\nwitness a {}\ngroup g any a\nquorum g\n",
        log_signer().verifier(),
        witness(1).verifier()
    );
    mutate(&[policy.into_bytes(), b"require = \"both\"\nmax_silence_s = 1\n".to_vec()], fuzz::policy);
    let log = small_log();
    let path = inclusion_proof(3, 11, &log.tree).unwrap();
    let proof = TlogProof { extra: Some(vec![1, 2]), index: 3, path, note: log.note() };
    mutate(&[proof.to_text().into_bytes()], fuzz::tlog_proof);
    let bodies = log.known.iter().filter_map(|known| match known {
        Known::Body(body) => Some(body.clone()),
        Known::Event { .. } => None,
    });
    mutate(&bodies.collect::<Vec<_>>(), fuzz::body);
}

#[test]
fn evidence_files_survive_mutation() {
    mutate(&evidence_files(), fuzz::evidence);
}
