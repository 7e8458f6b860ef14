//! The tree: its right edge in memory, the rest read from files and checked on the way.
//!
//! Invariants: a level-1 hash that is read must lead to its subtree's root, a bundle to its level-1 hash;
//! what does not is recomputed from the level below, and what then still differs is corruption.

use super::files::LogFiles;
use super::{BUNDLE_ENTRY, TILE};
use crate::LedgerError;
use crate::limits::SUBTREE;
use countersign_event::Entry;
use countersign_proof::{Frontier, Hash, HashReader, Tile, TileKind, merkle_root, node_hash};
use std::cell::RefCell;

/// Memory: 2 MiB for the open subtree and 32 bytes for each complete one.
#[derive(Clone, Default)]
pub struct Tree {
    frontier: Frontier,
    /// Leaf hashes of the open bundle.
    leaves: Vec<Hash>,
    /// Level-1 hashes of the open subtree.
    nodes: Vec<Hash>,
    /// Roots of complete subtrees of 65,536 leaves.
    subtrees: Vec<Hash>,
}

/// Subtree roots that an append completed: level (8 or 16), index in the level, hash.
pub type Completed = Vec<(u8, u64, Hash)>;

impl Tree {
    /// Leaves.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Root over all leaves.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Roots of complete subtrees.
    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// Appends leaf hashes; returns the tiles' hashes that they completed.
    pub fn append(&mut self, leaves: &[Hash]) -> Completed {
        let mut completed = Vec::new();
        let Tree { frontier, leaves: bundle, nodes, subtrees } = self;
        for leaf in leaves {
            bundle.push(*leaf);
            frontier.append_with(*leaf, &mut |level, index, hash| match level {
                8 => {
                    bundle.clear();
                    nodes.push(*hash);
                    completed.push((level, index, *hash));
                }
                16 => {
                    nodes.clear();
                    subtrees.push(*hash);
                    completed.push((level, index, *hash));
                }
                _ => {}
            });
        }
        completed
    }

    /// A tree of `size` leaves from what is stored: roots of complete subtrees, then entries.
    /// `None` if something stored is missing.
    pub fn load(size: u64, files: &LogFiles) -> Result<Option<Tree>, LedgerError> {
        let complete = size / SUBTREE;
        let subtrees = files.read_subtrees(complete)?;
        if (subtrees.len() as u64) < complete {
            return Ok(None);
        }
        let mut tree = Tree::default();
        if !tree.set_subtrees(subtrees) {
            return Ok(None);
        }
        let entries = files.read_entries(complete * SUBTREE, size)?;
        if (entries.len() as u64) < size % SUBTREE {
            return Ok(None);
        }
        tree.append(&leaf_hashes(&entries));
        Ok(Some(tree))
    }

    /// A tree of `size` leaves from entries alone, with the tiles written anew.
    pub fn rebuild(size: u64, files: &LogFiles) -> Result<Tree, LedgerError> {
        let mut tree = Tree::default();
        let mut at = 0;
        while at < size {
            let end = size.min(at + SUBTREE);
            let entries = files.read_entries(at, end)?;
            if (entries.len() as u64) < end - at {
                let index = at + entries.len() as u64;
                return Err(LedgerError::Corrupt {
                    file: files.entries_path(index),
                    offset: index % SUBTREE * BUNDLE_ENTRY,
                    index: Some(index),
                    what: "entry is missing or malformed".to_owned(),
                });
            }
            for (level, index, hash) in tree.append(&leaf_hashes(&entries)) {
                if files.overlay.is_some() {
                    continue;
                }
                if level == 8 {
                    files.write_node(index, &hash)?
                } else {
                    files.write_subtree(index, &hash)?
                }
            }
            at = end;
        }
        Ok(tree)
    }

    fn set_subtrees(&mut self, subtrees: Vec<Hash>) -> bool {
        let count = subtrees.len() as u64;
        let mut top = Frontier::new();
        for root in &subtrees {
            top.append(*root);
        }
        let Some(frontier) = Frontier::from_hashes(count * SUBTREE, top.hashes().to_vec()) else {
            return false;
        };
        (self.frontier, self.subtrees) = (frontier, subtrees);
        true
    }
}

/// RFC 6962 leaf hashes of entries.
pub fn leaf_hashes(entries: &[Entry]) -> Vec<Hash> {
    entries.iter().map(Entry::leaf).collect()
}

/// Reads hashes of the tree of its time; keeps the first real error, because the trait has only `None`.
pub struct TreeReader<'a> {
    tree: &'a Tree,
    files: &'a LogFiles,
    error: RefCell<Option<LedgerError>>,
    bundle: RefCell<Option<(u64, Vec<Hash>)>>,
    row: RefCell<Option<(u64, Vec<Hash>)>>,
}

impl<'a> TreeReader<'a> {
    /// Over `tree` and the files behind it.
    pub fn new(tree: &'a Tree, files: &'a LogFiles) -> TreeReader<'a> {
        TreeReader {
            tree,
            files,
            error: RefCell::default(),
            bundle: RefCell::default(),
            row: RefCell::default(),
        }
    }

    /// What went wrong below a missing hash, else `fallback`.
    pub fn explain(&self, fallback: countersign_proof::Error) -> LedgerError {
        self.error.borrow_mut().take().unwrap_or_else(|| LedgerError::Invalid(fallback.to_string()))
    }

    /// What went wrong below a missing hash, if anything did.
    pub fn error(&self) -> Option<LedgerError> {
        self.error.borrow_mut().take()
    }

    fn note<T>(&self, result: Result<T, LedgerError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.error.borrow_mut().get_or_insert(error);
                None
            }
        }
    }

    /// Leaf hashes of bundle `bundle`.
    fn leaves(&self, bundle: u64) -> Option<Vec<Hash>> {
        if let Some((at, hashes)) = &*self.bundle.borrow()
            && *at == bundle
        {
            return Some(hashes.clone());
        }
        let size = self.tree.size();
        let hashes = if bundle == size / TILE {
            self.tree.leaves.clone()
        } else {
            let entries = self.note(self.files.read_entries(bundle * TILE, (bundle + 1) * TILE))?;
            let hashes = leaf_hashes(&entries);
            let expected =
                self.nodes(bundle / TILE).and_then(|row| row.get((bundle % TILE) as usize).copied());
            if hashes.len() != TILE as usize || Some(merkle_root(&hashes)) != expected {
                let path = self.files.entries_path(bundle * TILE);
                let mut error = LedgerError::corrupt(
                    &path,
                    bundle % TILE * TILE * BUNDLE_ENTRY,
                    "entry bundle does not lead to its tile",
                );
                if let LedgerError::Corrupt { index, .. } = &mut error {
                    *index = Some(bundle * TILE);
                }
                return self.note(Err(error));
            }
            hashes
        };
        *self.bundle.borrow_mut() = Some((bundle, hashes.clone()));
        Some(hashes)
    }

    /// Level-1 hashes of subtree `number`.
    fn nodes(&self, number: u64) -> Option<Vec<Hash>> {
        if number == self.tree.size() / SUBTREE {
            return Some(self.tree.nodes.clone());
        }
        if let Some((at, hashes)) = &*self.row.borrow()
            && *at == number
        {
            return Some(hashes.clone());
        }
        let root = self.tree.subtrees.get(usize::try_from(number).ok()?)?;
        let mut row = self.note(self.files.read_nodes(number * SUBTREE))?;
        if row.len() != TILE as usize || merkle_root(&row) != *root {
            row = self.rebuild_nodes(number, root)?;
        }
        *self.row.borrow_mut() = Some((number, row.clone()));
        Some(row)
    }

    /// A damaged tile is recomputed from entries; a root that then still differs is corruption.
    fn rebuild_nodes(&self, number: u64, root: &Hash) -> Option<Vec<Hash>> {
        tracing::warn!(subtree = number, "tile is damaged, recomputed from entries");
        let entries = self.note(self.files.read_entries(number * SUBTREE, (number + 1) * SUBTREE))?;
        let leaves = leaf_hashes(&entries);
        let row: Vec<Hash> = leaves.chunks(TILE as usize).map(merkle_root).collect();
        if row.len() == TILE as usize && merkle_root(&row) == *root {
            return Some(row);
        }
        let path = self.files.entries_path(number * SUBTREE);
        self.note(Err(LedgerError::corrupt(&path, 0, "entries do not lead to their subtree's root")))
    }
}

impl HashReader for TreeReader<'_> {
    fn read_hash(&self, level: u8, index: u64) -> Option<Hash> {
        let end = index.checked_add(1)?.checked_mul(1u64.checked_shl(level.into())?)?;
        if end > self.tree.size() {
            return None;
        }
        let (row, height, at) = match level {
            0..=7 => {
                let first = index << level;
                (self.leaves(first / TILE)?, level, first % TILE)
            }
            8..=15 => {
                let first = index << (level - 8);
                (self.nodes(first / TILE)?, level - 8, first % TILE)
            }
            _ => return self.upper(level - 16, index),
        };
        let slice = row.get(at as usize..at as usize + (1 << height))?;
        Some(fold(slice.to_vec()))
    }
}

impl TreeReader<'_> {
    fn upper(&self, height: u8, index: u64) -> Option<Hash> {
        let first = usize::try_from(index << height).ok()?;
        let row = self.tree.subtrees.get(first..first.checked_add(1 << height)?)?;
        Some(fold(row.to_vec()))
    }

    /// The bytes of one hash tile; `None` beyond the tree.
    pub fn tile(&self, tile: &Tile) -> Option<Vec<u8>> {
        let TileKind::Hashes(level) = tile.kind else { return None };
        let first = tile.index.checked_mul(TILE)?;
        let mut bytes = Vec::with_capacity(usize::from(tile.width) * 32);
        for at in first..first.checked_add(tile.width.into())? {
            bytes.extend_from_slice(&self.read_hash(level.checked_mul(8)?, at)?);
        }
        Some(bytes)
    }
}

/// Root of a power of two of hashes.
fn fold(mut row: Vec<Hash>) -> Hash {
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.pop().unwrap_or_default()
}
