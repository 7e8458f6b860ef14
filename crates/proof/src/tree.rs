//! RFC 6962 / 9162 SHA-256 trees: roots, inclusion and consistency proofs, and their verification.
//!
//! Not a store: hashes come from a [`HashReader`]. Invariant: every walk is over at most 64 levels,
//! so time and memory are bounded by the proof, never by the size that a stranger claims.

use crate::Error;
use sha2::{Digest, Sha256};

/// A SHA-256 hash of a leaf, a node or a tree.
pub type Hash = [u8; 32];

/// Root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// Most hashes in an inclusion or consistency proof; no tree of 2^64 leaves needs more than 65.
pub const PROOF_MAX: usize = 65;

/// `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x00]);
    hash.update(entry);
    hash.finalize().into()
}

/// `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut block = [0u8; 65];
    block[0] = 0x01;
    block[1..33].copy_from_slice(left);
    block[33..].copy_from_slice(right);
    Sha256::digest(block).into()
}

/// Where proofs get their hashes from: complete subtrees by level (0 = leaves) and index in the level.
pub trait HashReader {
    /// Hash of the complete subtree over leaves `index << level .. (index + 1) << level`; `None` if absent.
    fn read_hash(&self, level: u8, index: u64) -> Option<Hash>;
}

/// The right edge of a tree: the roots of its complete subtrees, largest first. At most 64 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The edge of the empty tree.
    pub fn new() -> Frontier {
        Frontier::default()
    }

    /// From a stored size and [`Frontier::hashes`]; `None` unless there is one hash for each 1 bit of size.
    pub fn from_hashes(size: u64, peaks: Vec<Hash>) -> Option<Frontier> {
        (peaks.len() == size.count_ones() as usize).then_some(Frontier { size, peaks })
    }

    /// The edge of the first `size` leaves of a stored tree.
    pub fn from_reader(size: u64, reader: &impl HashReader) -> Result<Frontier, Error> {
        let mut peaks = Vec::with_capacity(size.count_ones() as usize);
        for (level, index) in complete_subtrees(0, size) {
            peaks.push(read(reader, level, index)?);
        }
        Ok(Frontier { size, peaks })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What has to be stored to continue this tree, together with [`Frontier::size`].
    pub fn hashes(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf hash; amortised one node hash.
    pub fn append(&mut self, leaf: Hash) {
        self.append_with(leaf, &mut |_, _, _| {});
    }

    /// Appends a leaf hash and names each subtree that it completes, the leaf (level 0) first.
    ///
    /// Sizes stop at `u64::MAX`: a leaf beyond it is ignored, which no real log reaches.
    pub fn append_with(&mut self, leaf: Hash, completed: &mut impl FnMut(u8, u64, &Hash)) {
        let Some(next) = self.size.checked_add(1) else { return };
        let (mut hash, mut level) = (leaf, 0u8);
        completed(level, self.size, &hash);
        let mut rest = self.size;
        while rest & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            rest >>= 1;
            level += 1;
            completed(level, rest, &hash);
        }
        self.peaks.push(hash);
        self.size = next;
    }

    /// The RFC 6962 root; [`EMPTY_ROOT`] for the empty tree.
    pub fn root(&self) -> Hash {
        fold_right(&self.peaks)
    }
}

/// Root of a tree over these leaf hashes.
pub fn merkle_root(leaves: &[Hash]) -> Hash {
    let mut tree = Frontier::new();
    for leaf in leaves {
        tree.append(*leaf);
    }
    tree.root()
}

/// A whole tree in memory, all levels: for tests, tools and logs that fit. 64 bytes a leaf.
#[derive(Clone, Debug, Default)]
pub struct MemoryTree {
    edge: Frontier,
    levels: Vec<Vec<Hash>>,
}

impl MemoryTree {
    /// The empty tree.
    pub fn new() -> MemoryTree {
        MemoryTree::default()
    }

    /// Appends a leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let levels = &mut self.levels;
        self.edge.append_with(leaf, &mut |level, _, hash| {
            if levels.len() <= usize::from(level) {
                levels.push(Vec::new());
            }
            if let Some(row) = levels.get_mut(usize::from(level)) {
                row.push(*hash);
            }
        });
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Root over all leaves.
    pub fn root(&self) -> Hash {
        self.edge.root()
    }
}

impl HashReader for MemoryTree {
    fn read_hash(&self, level: u8, index: u64) -> Option<Hash> {
        self.levels.get(usize::from(level))?.get(usize::try_from(index).ok()?).copied()
    }
}

/// Root of the first `size` leaves.
pub fn tree_root(size: u64, reader: &impl HashReader) -> Result<Hash, Error> {
    subtree_root(0, size, reader)
}

/// RFC 6962 `MTH` of leaves `start..end`. `start` must be a multiple of the smallest power of two that
/// holds the range, which is true of every range a tree splits into.
pub fn subtree_root(start: u64, end: u64, reader: &impl HashReader) -> Result<Hash, Error> {
    let width = end.checked_sub(start).ok_or(Error::Range { what: "start", at: start, size: end })?;
    let aligned = width.checked_next_power_of_two().map_or(start == 0, |power| start & (power - 1) == 0);
    if !aligned {
        return Err(Error::Range { what: "unaligned start", at: start, size: end });
    }
    let mut parts = Vec::with_capacity(width.count_ones() as usize);
    for (level, index) in complete_subtrees(start, width) {
        parts.push(read(reader, level, index)?);
    }
    Ok(fold_right(&parts))
}

/// Proof that leaf `index` is in the tree of `size` leaves, from the leaf's sibling upwards.
pub fn inclusion_proof(index: u64, size: u64, reader: &impl HashReader) -> Result<Vec<Hash>, Error> {
    if index >= size {
        return Err(Error::Range { what: "index", at: index, size });
    }
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(subtree_root(middle, end, reader)?);
            end = middle;
        } else {
            proof.push(subtree_root(start, middle, reader)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proof that the tree of `old` leaves is a prefix of the tree of `new` leaves (RFC 6962 2.1.2).
///
/// Empty when `old` is 0 or equal to `new`.
pub fn consistency_proof(old: u64, new: u64, reader: &impl HashReader) -> Result<Vec<Hash>, Error> {
    if old > new {
        return Err(Error::Range { what: "old size", at: old, size: new });
    }
    let mut proof = Vec::new();
    if old == 0 {
        return Ok(proof);
    }
    let (mut start, mut end, mut whole) = (0, new, true);
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(subtree_root(middle, end, reader)?);
            end = middle;
        } else {
            proof.push(subtree_root(start, middle, reader)?);
            (start, whole) = (middle, false);
        }
    }
    if !whole {
        proof.push(subtree_root(start, end, reader)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks an inclusion proof (RFC 9162 2.1.3.2).
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Error> {
    const WHAT: &str = "inclusion proof";
    if index >= size {
        return Err(Error::Range { what: "index", at: index, size });
    }
    let length = || Error::ProofLength { what: WHAT, have: proof.len() };
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(length());
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // A right edge without sibling on this level takes its next one where its bit is set.
            let up = if node & 1 == 1 { 0 } else { node.trailing_zeros().min(63) };
            (node, last) = (node >> up, last >> up);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(length());
    }
    if hash == *root { Ok(()) } else { Err(Error::RootMismatch { what: WHAT }) }
}

/// Checks a consistency proof (RFC 9162 2.1.4.2). An old size of 0 needs [`EMPTY_ROOT`] and no hashes.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), Error> {
    const WHAT: &str = "consistency proof";
    let mismatch = Error::RootMismatch { what: WHAT };
    let length = || Error::ProofLength { what: WHAT, have: proof.len() };
    if old > new {
        return Err(Error::Range { what: "old size", at: old, size: new });
    }
    if old == new || old == 0 {
        let expected = if old == new { new_root } else { &EMPTY_ROOT };
        return match (proof.is_empty(), old_root == expected) {
            (false, _) => Err(length()),
            (true, false) => Err(mismatch),
            (true, true) => Ok(()),
        };
    }
    // A power of two is a complete subtree: its root is known and so is not repeated in the proof.
    let mut hashes = proof.iter();
    let seed = if old.is_power_of_two() { old_root } else { hashes.next().ok_or_else(length)? };
    let (mut from_old, mut from_new) = (*seed, *seed);
    let up = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> up, (new - 1) >> up);
    for hash in hashes {
        if last == 0 {
            return Err(length());
        }
        if node & 1 == 1 || node == last {
            from_old = node_hash(hash, &from_old);
            from_new = node_hash(hash, &from_new);
            let up = if node & 1 == 1 { 0 } else { node.trailing_zeros().min(63) };
            (node, last) = (node >> up, last >> up);
        } else {
            from_new = node_hash(&from_new, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(length());
    }
    if from_old == *old_root && from_new == *new_root { Ok(()) } else { Err(mismatch) }
}

/// One proof for many leaves: the hashes of all largest subtrees that hold none of `indices`, left to right.
///
/// `indices` must be strictly ascending. The empty list gives the root alone.
pub fn multiproof(indices: &[u64], size: u64, reader: &impl HashReader) -> Result<Vec<Hash>, Error> {
    check_indices(indices.iter().copied(), size)?;
    let mut proof = Vec::new();
    walk(0, size, indices, &mut |step| {
        if let Step::Outside(start, end) = step {
            proof.push(subtree_root(start, end, reader)?);
        }
        Ok(())
    })?;
    Ok(proof)
}

/// Checks that all `leaves` (index, leaf hash; strictly ascending) are in the tree of `size` and `root`.
pub fn verify_multiproof(
    leaves: &[(u64, Hash)],
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Error> {
    const WHAT: &str = "multiproof";
    check_indices(leaves.iter().map(|(index, _)| *index), size)?;
    let length = || Error::ProofLength { what: WHAT, have: proof.len() };
    let (mut given, mut known) = (proof.iter(), leaves.iter());
    let mut stack: Vec<Hash> = Vec::new();
    let indices: Vec<u64> = leaves.iter().map(|(index, _)| *index).collect();
    walk(0, size, &indices, &mut |step| {
        let hash = match step {
            Step::Outside(..) => *given.next().ok_or_else(length)?,
            Step::Leaf => known.next().ok_or_else(length)?.1,
            Step::Join => {
                let (right, left) = (stack.pop().ok_or_else(length)?, stack.pop().ok_or_else(length)?);
                node_hash(&left, &right)
            }
        };
        stack.push(hash);
        Ok(())
    })?;
    if given.next().is_some() {
        return Err(length());
    }
    if stack.pop() == Some(*root) { Ok(()) } else { Err(Error::RootMismatch { what: WHAT }) }
}

enum Step {
    Outside(u64, u64),
    Leaf,
    Join,
}

/// Visits the tree over `start..end` in post-order, going down only where `indices` are.
/// Depth is at most 64: each step down halves the range or better.
fn walk(
    start: u64,
    end: u64,
    indices: &[u64],
    visit: &mut impl FnMut(Step) -> Result<(), Error>,
) -> Result<(), Error> {
    if indices.is_empty() {
        return visit(Step::Outside(start, end));
    }
    if end - start == 1 {
        return visit(Step::Leaf);
    }
    let middle = start + split(end - start);
    let (left, right) = indices.split_at(indices.partition_point(|index| *index < middle));
    walk(start, middle, left, visit)?;
    walk(middle, end, right, visit)?;
    visit(Step::Join)
}

fn check_indices(indices: impl Iterator<Item = u64>, size: u64) -> Result<(), Error> {
    let mut least = 0;
    for index in indices {
        if index >= size {
            return Err(Error::Range { what: "index", at: index, size });
        }
        if index < least {
            return Err(Error::malformed("multiproof", "indices are not strictly ascending"));
        }
        least = index + 1;
    }
    Ok(())
}

/// Largest power of two below `width`, for `width` ≥ 2: where RFC 6962 splits a tree.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

/// The complete subtrees (level, index) that tile `width` leaves from an aligned `start`, largest first.
fn complete_subtrees(start: u64, width: u64) -> impl Iterator<Item = (u8, u64)> {
    let mut at = start;
    (0..64u8).rev().filter(move |level| width >> level & 1 == 1).map(move |level| {
        let index = at >> level;
        at = at.wrapping_add(1 << level);
        (level, index)
    })
}

fn fold_right(peaks: &[Hash]) -> Hash {
    let mut peaks = peaks.iter().rev();
    let Some(mut root) = peaks.next().copied() else { return EMPTY_ROOT };
    for left in peaks {
        root = node_hash(left, &root);
    }
    root
}

fn read(reader: &impl HashReader, level: u8, index: u64) -> Result<Hash, Error> {
    reader.read_hash(level, index).ok_or(Error::MissingHash { level, index })
}
