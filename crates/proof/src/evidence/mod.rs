//! Evidence files, `.csne`: what proves events to somebody who has only the file and pinned keys.
//!
//! The format is `docs/reference/evidence.md`, a one-way door. Writing is [`EvidenceBuilder`], checking
//! is [`verify_evidence`]; both work on bytes in memory and do no I/O.

mod build;
mod conclude;
mod content;
mod heads;
pub(crate) mod item;
mod range;
mod verify;

pub use build::{BuildError, EvidenceBuilder};
pub use verify::verify_evidence;

use countersign_event::{Commitment, ENTRY_LEN, GROUPS, Salt};

/// First text of every file.
pub const MAGIC: &str = "countersign-evidence";
/// The version this crate writes and reads.
pub const VERSION: u64 = 1;
/// Largest file in bytes.
pub const FILE_MAX: u64 = 4 << 30;
/// Largest item in bytes.
pub const ITEM_MAX: usize = 16 << 20;
/// Most items in a file.
pub const ITEMS_MAX: u64 = 10_000_000;
/// Most indices in one multiproof.
pub const MULTIPROOF_MAX: usize = 65_536;

/// One group of an event, as a file shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvidence {
    /// Content and salt.
    Disclosed {
        /// Canonical CBOR of the group.
        bytes: Vec<u8>,
        /// Its salt.
        salt: Salt,
    },
    /// Not shown.
    Withheld {
        /// `c_g`.
        commitment: Commitment,
    },
    /// Erased by the ERASE entry at this index, which belongs into the same file.
    Erased {
        /// `c_g`.
        commitment: Commitment,
        /// Index of the ERASE entry.
        entry: u64,
    },
    /// Retired by the RETIRE entry at this index, which belongs into the same file.
    Retired {
        /// `c_g`.
        commitment: Commitment,
        /// Index of the RETIRE entry.
        entry: u64,
    },
    /// Lost.
    Missing {
        /// `c_g`, if that at least is known.
        commitment: Option<Commitment>,
    },
}

/// An event with what is shown of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventEvidence {
    /// Leaf index.
    pub index: u64,
    /// The 53 bytes.
    pub entry: [u8; ENTRY_LEN],
    /// Schema number of the groups.
    pub schema: u16,
    /// The seven groups.
    pub groups: [GroupEvidence; GROUPS],
    /// Inclusion path in the last checkpoint; empty under a multiproof.
    pub inclusion: Vec<[u8; 32]>,
}
