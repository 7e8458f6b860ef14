//! The static side of the log: entries, tiles and bodies as files, and the tree over them.
//!
//! Packed: one file of entry bundles, one of level-1 hashes and one of bodies for each 65,536 leaves.
//! Level-0 tiles are hashed from the bundles when asked for, so that they need no space and cannot be
//! wrong; tiles of level 2 and above come from `log/subtrees`. Everything here can be rebuilt from the
//! write-ahead log until it is recycled, and is synced before that.

pub mod files;
pub mod meta;
pub mod tree;

/// Bytes of one entry in a bundle: length and entry.
pub(crate) const BUNDLE_ENTRY: u64 = 55;
/// Leaves of a bundle, hashes of a tile.
pub(crate) const TILE: u64 = 256;

/// Name of the file for the subtree that holds leaf `index`.
pub(crate) fn subtree_name(index: u64) -> String {
    format!("{:012}", index / crate::limits::SUBTREE)
}
