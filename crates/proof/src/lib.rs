//! Merkle trees, tiles, signed notes, checkpoints, policies and evidence files: building and verifying them.
//!
//! The formats are not ours but C2SP's and RFC 6962's, so that independent tools can check our log;
//! only the evidence file (`docs/reference/evidence.md`) is our own.
//!
//! What this crate must never do: I/O, read a clock, use unsafe, need the server. Whatever it is given,
//! it does not panic, and its work is bounded by the bytes given.

pub mod body;
pub mod checkpoint;
pub mod error;
pub mod evidence;
pub mod fuzz;
pub mod note;
pub mod policy;
pub mod report;
pub mod tile;
pub mod tlog_proof;
pub mod tree;
pub mod trust;

pub use checkpoint::Checkpoint;
pub use error::Error;
pub use evidence::{EventEvidence, EvidenceBuilder, GroupEvidence, verify_evidence};
pub use note::{KeyType, Note, NoteSignature, NoteSigner, Verified, VerifierKey};
pub use policy::{Accepted, Policy};
pub use report::{Report, Status, Verdict};
pub use tile::{Tile, TileHashReader, TileKind, TileReader};
pub use tlog_proof::{TlogProof, verify_tlog_proof};
pub use tree::{
    EMPTY_ROOT, Frontier, Hash, HashReader, MemoryTree, consistency_proof, inclusion_proof, leaf_hash,
    merkle_root, multiproof, node_hash, subtree_root, tree_root, verify_consistency, verify_inclusion,
    verify_multiproof,
};
pub use trust::{Require, Trust};
