//! Trees against the RFC 6962 vectors of Certificate Transparency, `ct-merkle` and `tlog_tiles`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_proof::*;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

/// The eight leaves of the Certificate Transparency reference tests.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
/// Their roots at sizes 1 to 8, as published with the reference implementation.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn tree_of(size: u64) -> MemoryTree {
    let mut tree = MemoryTree::new();
    for index in 0..size {
        tree.push(leaf_hash(&index.to_be_bytes()));
    }
    tree
}

fn leaf(index: u64) -> Hash {
    leaf_hash(&index.to_be_bytes())
}

#[test]
fn published_roots_of_the_reference_leaves_are_met() {
    assert_eq!(Frontier::new().root(), EMPTY_ROOT);
    let mut edge = Frontier::new();
    for (leaf, root) in LEAVES.iter().zip(ROOTS) {
        edge.append(leaf_hash(&hex(leaf)));
        assert_eq!(edge.root().to_vec(), hex(root), "size {}", edge.size());
    }
    let leaves: Vec<Hash> = LEAVES.iter().map(|leaf| leaf_hash(&hex(leaf))).collect();
    assert_eq!(merkle_root(&leaves).to_vec(), hex(ROOTS[7]));
}

#[test]
fn published_proofs_of_the_reference_leaves_are_met() {
    let mut tree = MemoryTree::new();
    for leaf in LEAVES {
        tree.push(leaf_hash(&hex(leaf)));
    }
    let path = inclusion_proof(5, 8, &tree).unwrap();
    let expected = [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(path, expected.map(|text| Hash::try_from(hex(text)).unwrap()));
    let path = consistency_proof(6, 8, &tree).unwrap();
    let expected = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(path, expected.map(|text| Hash::try_from(hex(text)).unwrap()));
}

#[test]
fn all_proofs_of_small_trees_verify_and_equal_those_of_both_oracles() {
    let mut ours = MemoryTree::new();
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut stored = Stored::default();
    for size in 1..=40u64 {
        let data = (size - 1).to_be_bytes().to_vec();
        ours.push(leaf_hash(&data));
        theirs.push(data.clone());
        stored.push(size - 1, &data);
        let root = ours.root();
        assert_eq!(root.as_slice(), theirs.root().as_bytes().as_slice());
        assert_eq!(root, tlog_tiles::tree_hash(size, &stored).unwrap().0);
        for index in 0..size {
            let proof = inclusion_proof(index, size, &ours).unwrap();
            assert_eq!(proof.concat(), theirs.prove_inclusion(index as usize).as_bytes());
            let oracle = tlog_tiles::prove_record(size, index, &stored).unwrap();
            assert_eq!(proof, oracle.iter().map(|hash| hash.0).collect::<Vec<_>>());
            verify_inclusion(&leaf(index), index, size, &proof, &root).unwrap();
        }
        for old in 1..=size {
            let proof = consistency_proof(old, size, &ours).unwrap();
            let old_root = tree_root(old, &ours).unwrap();
            if old < size {
                assert_eq!(proof.concat(), theirs.prove_consistency((size - old) as usize).as_bytes());
                let oracle = tlog_tiles::prove_tree(size, old, &stored).unwrap();
                assert_eq!(proof, oracle.iter().map(|hash| hash.0).collect::<Vec<_>>());
            }
            verify_consistency(old, size, &old_root, &root, &proof).unwrap();
        }
    }
}

#[test]
fn consistency_from_the_empty_tree_needs_the_empty_root() {
    let tree = tree_of(3);
    assert_eq!(consistency_proof(0, 3, &tree).unwrap(), Vec::<Hash>::new());
    verify_consistency(0, 3, &EMPTY_ROOT, &tree.root(), &[]).unwrap();
    assert!(verify_consistency(0, 3, &[7; 32], &tree.root(), &[]).is_err());
    assert!(verify_consistency(0, 3, &EMPTY_ROOT, &tree.root(), &[[0; 32]]).is_err());
    assert!(verify_consistency(4, 3, &tree.root(), &tree.root(), &[]).is_err());
}

#[test]
fn huge_claimed_sizes_cost_no_more_than_the_proof() {
    let hash = [9; 32];
    for size in [u64::MAX, 1 << 63, (1 << 63) + 1] {
        assert!(verify_inclusion(&hash, size - 1, size, &[hash; 64], &hash).is_err());
        assert!(verify_inclusion(&hash, 0, size, &[], &hash).is_err());
        assert!(verify_consistency(size - 1, size, &hash, &hash, &[hash; 64]).is_err());
        assert!(verify_multiproof(&[(size - 1, hash)], size, &[hash; 70], &hash).is_err());
        assert!(inclusion_proof(5, size, &MemoryTree::new()).is_err());
        assert!(consistency_proof(5, size, &MemoryTree::new()).is_err());
    }
}

#[test]
fn a_frontier_continues_from_what_it_stored() {
    let tree = tree_of(1000);
    let mut edge = Frontier::from_reader(700, &tree).unwrap();
    assert_eq!(edge, Frontier::from_hashes(700, edge.hashes().to_vec()).unwrap());
    assert!(Frontier::from_hashes(701, edge.hashes().to_vec()).is_none());
    for index in 700..1000 {
        edge.append(leaf(index));
    }
    assert_eq!(edge.root(), tree.root());
    assert_eq!(tree_root(700, &tree).unwrap(), tree_of(700).root());
    assert_eq!(
        subtree_root(512, 768, &tree).unwrap(),
        merkle_root(&(512..768).map(leaf).collect::<Vec<_>>())
    );
    assert!(subtree_root(1, 3, &tree).is_err());
}

fn flipped(hash: &Hash, bit: usize) -> Hash {
    let mut other = *hash;
    other[bit / 8 % 32] ^= 1 << (bit % 8);
    other
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_inclusion_proof_holds_and_any_change_breaks_it(size in 1u64..=4096, at: u64, bit in 0usize..256, cut: usize) {
        let (tree, index) = (tree_of(size), at % size);
        let (root, leaf) = (tree.root(), leaf(index));
        let proof = inclusion_proof(index, size, &tree).unwrap();
        verify_inclusion(&leaf, index, size, &proof, &root).unwrap();
        prop_assert!(verify_inclusion(&flipped(&leaf, bit), index, size, &proof, &root).is_err());
        prop_assert!(verify_inclusion(&leaf, index, size, &proof, &flipped(&root, bit)).is_err());
        let other = (index + 1) % size;
        prop_assert!(size == 1 || verify_inclusion(&leaf, other, size, &proof, &root).is_err());
        let mut longer = proof.clone();
        longer.push(root);
        prop_assert!(verify_inclusion(&leaf, index, size, &longer, &root).is_err());
        if !proof.is_empty() {
            let at = cut % proof.len();
            let mut damaged = proof.clone();
            damaged[at] = flipped(&damaged[at], bit);
            prop_assert!(verify_inclusion(&leaf, index, size, &damaged, &root).is_err());
            prop_assert!(verify_inclusion(&leaf, index, size, &proof[..at], &root).is_err());
        }
    }

    #[test]
    fn any_consistency_proof_holds_and_any_change_breaks_it(new in 1u64..=4096, at: u64, bit in 0usize..256, cut: usize) {
        let (tree, old) = (tree_of(new), 1 + at % new);
        let (root, old_root) = (tree.root(), tree_root(old, &tree).unwrap());
        let proof = consistency_proof(old, new, &tree).unwrap();
        verify_consistency(old, new, &old_root, &root, &proof).unwrap();
        prop_assert!(verify_consistency(old, new, &flipped(&old_root, bit), &root, &proof).is_err());
        prop_assert!(verify_consistency(old, new, &old_root, &flipped(&root, bit), &proof).is_err());
        if !proof.is_empty() {
            let at = cut % proof.len();
            let mut damaged = proof.clone();
            damaged[at] = flipped(&damaged[at], bit);
            prop_assert!(verify_consistency(old, new, &old_root, &root, &damaged).is_err());
            prop_assert!(verify_consistency(old, new, &old_root, &root, &proof[..at]).is_err());
        }
    }

    #[test]
    fn any_multiproof_holds_and_any_change_breaks_it(
        size in 1u64..=2048,
        picks in proptest::collection::btree_set(any::<u64>(), 0..40),
        bit in 0usize..256,
        cut: usize,
    ) {
        let tree = tree_of(size);
        let indices: Vec<u64> =
            picks.iter().map(|pick| pick % size).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let leaves: Vec<(u64, Hash)> = indices.iter().map(|index| (*index, leaf(*index))).collect();
        let proof = multiproof(&indices, size, &tree).unwrap();
        verify_multiproof(&leaves, size, &proof, &tree.root()).unwrap();
        prop_assert!(verify_multiproof(&leaves, size, &proof, &flipped(&tree.root(), bit)).is_err());
        if !leaves.is_empty() {
            let at = cut % leaves.len();
            let mut other = leaves.clone();
            other[at].1 = flipped(&other[at].1, bit);
            prop_assert!(verify_multiproof(&other, size, &proof, &tree.root()).is_err());
            let mut twice = leaves.clone();
            twice.insert(at, leaves[at]);
            prop_assert!(verify_multiproof(&twice, size, &proof, &tree.root()).is_err());
        }
        if !proof.is_empty() {
            let at = cut % proof.len();
            prop_assert!(verify_multiproof(&leaves, size, &proof[..at], &tree.root()).is_err());
        }
    }
}

/// The hash store of `tlog_tiles`, in memory.
#[derive(Default)]
pub(crate) struct Stored(Vec<tlog_tiles::Hash>);

impl Stored {
    pub(crate) fn push(&mut self, index: u64, data: &[u8]) {
        let new = tlog_tiles::stored_hashes(index, data, self).unwrap();
        self.0.extend(new);
    }
}

impl tlog_tiles::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}
