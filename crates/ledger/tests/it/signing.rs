//! The signer refuses everything that could become a second history, and remembers across restarts.

use crate::support::{ORIGIN, kek};
use countersign_ledger::{LedgerError, LocalSigner, RealDisk, SignRequest, Signer};
use countersign_proof::{MemoryTree, consistency_proof, leaf_hash};
use std::path::Path;
use std::sync::Arc;

fn tree(leaves: u8) -> MemoryTree {
    let mut tree = MemoryTree::new();
    (0..leaves).for_each(|leaf| tree.push(leaf_hash(&[leaf])));
    tree
}

fn request(fence: u64, old: u64, tree: &MemoryTree) -> SignRequest {
    let consistency = consistency_proof(old, tree.size(), tree).unwrap();
    SignRequest { fence, origin: ORIGIN.into(), size: tree.size(), root: tree.root(), consistency }
}

fn open(dir: &Path) -> LocalSigner {
    LocalSigner::open(dir, &kek(), ORIGIN, Arc::new(RealDisk)).unwrap()
}

#[test]
fn sizes_only_grow_and_every_signature_extends_the_last() {
    let dir = tempfile::tempdir().unwrap();
    LocalSigner::create(dir.path(), &kek(), ORIGIN, Arc::new(RealDisk)).unwrap();
    let signer = open(dir.path());
    signer.fence(1).unwrap();
    let note = signer.sign(&request(1, 0, &tree(5))).unwrap();
    assert_eq!(signer.sign(&request(1, 5, &tree(5))).unwrap(), note, "same question, same answer");
    signer.sign(&request(1, 5, &tree(9))).unwrap();
    let refused = |request: &SignRequest| matches!(signer.sign(request), Err(LedgerError::Signer(_)));
    assert!(refused(&request(1, 5, &tree(7))), "smaller");
    let mut forked = request(1, 9, &tree(9));
    forked.root = [1; 32];
    assert!(refused(&forked), "same size, other root");
    let mut unproven = request(1, 9, &tree(12));
    unproven.consistency.clear();
    assert!(refused(&unproven), "no proof");
    let mut other = request(1, 9, &tree(12));
    other.root = [1; 32];
    assert!(refused(&other), "wrong root");
    let mut stranger = request(1, 9, &tree(12));
    stranger.origin = "example.org/else/1".into();
    assert!(refused(&stranger), "other origin");
    let again = open(dir.path());
    assert_eq!(again.status().unwrap().size, 9);
    again.sign(&request(1, 9, &tree(12))).unwrap();
}

#[test]
fn a_lower_fence_gets_nothing_after_a_take_over() {
    let dir = tempfile::tempdir().unwrap();
    LocalSigner::create(dir.path(), &kek(), ORIGIN, Arc::new(RealDisk)).unwrap();
    let signer = open(dir.path());
    signer.fence(3).unwrap();
    signer.sign(&request(3, 0, &tree(2))).unwrap();
    signer.fence(4).unwrap();
    let error = signer.sign(&request(3, 2, &tree(3))).unwrap_err();
    assert!(matches!(error, LedgerError::Fenced { ours: 3, current: 4 }));
    assert_eq!(error.exit_code(), 2);
    assert!(signer.fence(4).is_err());
}

#[test]
fn a_lost_memory_is_refused_and_a_torn_copy_is_not() {
    let dir = tempfile::tempdir().unwrap();
    LocalSigner::create(dir.path(), &kek(), ORIGIN, Arc::new(RealDisk)).unwrap();
    let signer = open(dir.path());
    signer.fence(1).unwrap();
    signer.sign(&request(1, 0, &tree(4))).unwrap();
    let path = dir.path().join("state");
    let whole = std::fs::read(&path).unwrap();
    for copy in 0..2 {
        let mut torn = whole.clone();
        torn[copy * 128 + 40] ^= 1;
        std::fs::write(&path, &torn).unwrap();
        assert!(open(dir.path()).status().is_ok());
    }
    std::fs::write(&path, vec![0; 256]).unwrap();
    assert!(LocalSigner::open(dir.path(), &kek(), ORIGIN, Arc::new(RealDisk)).is_err());
    std::fs::remove_file(&path).unwrap();
    let error = LocalSigner::open(dir.path(), &kek(), ORIGIN, Arc::new(RealDisk)).map(|_| ()).unwrap_err();
    assert!(error.is_integrity());
}
