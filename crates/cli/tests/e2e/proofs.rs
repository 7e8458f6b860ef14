//! A proof travels alone and verifies offline; whatever is altered is found and named.

use crate::support::{Home, Random, copy_tree, files, stop, upstream, verifier};
use countersign_testkit::http::Connection;
use countersign_testkit::{TempDir, repetitions};
use std::path::Path;
use std::process::{Command, Output};

/// A stopped ledger with a sealed segment and a log tail, and a proof made from it.
fn ledger_with_proof(label: &str) -> (Home, TempDir) {
    ledger_of(label, 2)
}

/// The same after so many starts, each of which seals the part of the one before.
fn ledger_of(label: &str, rounds: u64) -> (Home, TempDir) {
    let home = Home::new(label);
    let upstream = upstream();
    for round in 0..rounds {
        let (address, child) = home.gateway(upstream);
        let mut connection = Connection::open(address).unwrap();
        for number in 0..60 {
            connection.request("GET", &format!("/round/{round}/{number}"), &[], b"").unwrap();
        }
        assert_eq!(home.settle("rec:interaction", 60 * (round + 1)), 60 * (round + 1));
        stop(child);
    }
    let proof = TempDir::new("proof").unwrap();
    let file = proof.path().join("e.csne");
    home.ok(&[
        "prove",
        "rec:interaction",
        "--out",
        file.to_str().unwrap(),
        "--write-policy",
        proof.path().to_str().unwrap(),
    ]);
    (home, proof)
}

fn verify(dir: &Path) -> Output {
    Command::new(verifier())
        .current_dir(dir)
        .env_clear()
        .args(["e.csne", "--policy", "trust.policy", "--trust", "trust.toml"])
        .output()
        .unwrap()
}

#[test]
fn a_proof_verifies_with_the_separate_binary_and_pinned_keys_alone() {
    let (_home, proof) = ledger_with_proof("prove");
    let names: Vec<_> = files(proof.path()).iter().map(|file| file.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["e.csne", "trust.policy", "trust.toml"]);
    let output = verify(proof.path());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    println!("{text}");
}

#[test]
fn a_flipped_byte_in_the_proof_is_never_accepted() {
    let (_home, proof) = ledger_with_proof("flip-proof");
    let file = proof.path().join("e.csne");
    let good = std::fs::read(&file).unwrap();
    let mut random = Random(1);
    for _ in 0..repetitions(100, 1000) {
        let mut bad = good.clone();
        let place = random.below(bad.len() as u64) as usize;
        bad[place] ^= 1 << random.below(8);
        std::fs::write(&file, &bad).unwrap();
        let code = verify(proof.path()).status.code();
        assert!(matches!(code, Some(1..=3)), "byte {place}: exit {code:?}");
    }
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        std::fs::write(&file, &good[..cut]).unwrap();
        assert!(matches!(verify(proof.path()).status.code(), Some(1..=3)), "cut to {cut}");
    }
}

#[test]
fn a_flipped_byte_in_any_file_of_the_data_directory_is_found_and_named() {
    let (home, _proof) = ledger_with_proof("flip-data");
    assert_eq!(home.run(&["fsck", "--deep"]).status.code(), Some(0), "healthy before the first flip");
    let all = files(&home.data());
    let classes = ["wal/", "seg/", "log/", "meta/"];
    for class in classes {
        assert!(
            all.iter().any(|file| file.to_string_lossy().contains(class)),
            "no file of class {class}: {all:?}"
        );
    }
    let mut random = Random(2);
    let mut missed = Vec::new();
    let flips = repetitions(100, 1000);
    for turn in 0..flips {
        // Every class gets its share, however small its files are.
        let class = classes[turn % classes.len()];
        let of_class: Vec<_> = all.iter().filter(|file| file.to_string_lossy().contains(class)).collect();
        let file = of_class[random.below(of_class.len() as u64) as usize];
        let good = std::fs::read(file).unwrap();
        let place = random.below(good.len() as u64) as usize;
        let mut bad = good.clone();
        bad[place] ^= 1 << random.below(8);
        std::fs::write(file, &bad).unwrap();
        let output = home.run(&["fsck", "--deep"]);
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if !matches!(output.status.code(), Some(1 | 3)) || !text.contains(&name) {
            missed.push(format!(
                "{} byte {place} of {}: exit {:?}: {text}",
                file.display(),
                good.len(),
                output.status.code()
            ));
        }
        std::fs::write(file, &good).unwrap();
    }
    println!("{flips} flips over {} files, {} missed", all.len(), missed.len());
    assert!(missed.is_empty(), "{} of {flips} missed:\n{}", missed.len(), missed.join("\n"));
    assert_eq!(home.run(&["fsck", "--deep"]).status.code(), Some(0), "healthy again after the last");
}

#[test]
fn truncating_swapping_or_deleting_a_segment_is_found() {
    let (home, _proof) = ledger_of("segments", 3);
    let segments: Vec<_> = files(&home.data().join("seg"))
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "parquet"))
        .collect();
    assert!(segments.len() >= 2, "two parts must be sealed by now: {segments:?}");
    let broken = |what: &str, change: &dyn Fn(&Path)| {
        let copy = Home::new("segments-copy");
        copy_tree(home.path(), copy.path());
        change(&copy.data().join("seg"));
        let output = copy.run(&["fsck", "--deep"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            matches!(output.status.code(), Some(1 | 3)),
            "{what}: exit {:?}: {text}",
            output.status.code()
        );
    };
    let names: Vec<_> = segments.iter().map(|file| file.file_name().unwrap().to_owned()).collect();
    broken("deleted", &|dir| std::fs::remove_file(dir.join(&names[0])).unwrap());
    broken("truncated", &|dir| {
        let file = std::fs::OpenOptions::new().write(true).open(dir.join(&names[0])).unwrap();
        file.set_len(file.metadata().unwrap().len() - 7).unwrap();
    });
    broken("swapped", &|dir| {
        std::fs::rename(dir.join(&names[0]), dir.join("x")).unwrap();
        std::fs::rename(dir.join(&names[1]), dir.join(&names[0])).unwrap();
        std::fs::rename(dir.join("x"), dir.join(&names[1])).unwrap();
    });
}

#[test]
fn a_copy_of_the_data_directory_without_the_key_opens_nothing() {
    let (home, _proof) = ledger_with_proof("no-key");
    let copy = Home::new("no-key-copy");
    copy_tree(&home.data(), &copy.data());
    let output = copy.run(&["q", "rec:interaction"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(
        !copy.path().join("config/countersign/kek").exists(),
        "a reader makes no new key for an old ledger"
    );
    let key = home.path().join("config/countersign/kek");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
}
