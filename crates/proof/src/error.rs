//! The one error of this crate: what failed, in which piece, and whether it is damage or forgery.
//!
//! The split matters more than the wording: a structural fault says "this cannot be read", an
//! integrity fault says "this was read, and it is not what was signed".

/// Why a tree, tile, note, checkpoint, policy or evidence item was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes do not follow the format.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// The piece that was read.
        what: &'static str,
        /// The rule that was broken.
        why: String,
    },
    /// The bytes follow the format but exceed a named bound.
    #[error("{what} exceeds the limit of {max}")]
    Limit {
        /// The piece that was read.
        what: &'static str,
        /// The bound, in the unit named by `what`.
        max: u64,
    },
    /// An index or size lies outside its tree.
    #[error("{what} is out of range: {at} in a tree of {size}")]
    Range {
        /// `index` or `old size`.
        what: &'static str,
        /// The value asked for.
        at: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A hash that a proof needs is not stored.
    #[error("hash {index} of level {level} is missing; fetch or rebuild its tile and try again")]
    MissingHash {
        /// Level of the complete subtree; 0 = leaves.
        level: u8,
        /// Index of the subtree in its level.
        index: u64,
    },
    /// A proof carries more or fewer hashes than its sizes ask for.
    #[error("{what} has the wrong number of hashes: {have}")]
    ProofLength {
        /// Kind of proof.
        what: &'static str,
        /// Number of hashes given.
        have: usize,
    },
    /// A proof computes another root than the one stated.
    #[error("{what} does not lead to the root")]
    RootMismatch {
        /// Kind of proof.
        what: &'static str,
    },
    /// A signature by a known key does not verify; the whole note is refused.
    #[error("signature of {name} (key id {key_id:08x}) is wrong; the whole note is refused")]
    BadSignature {
        /// Name of the key.
        name: String,
        /// Short id of the key.
        key_id: u32,
    },
    /// No line of the note is by a key that the caller pinned.
    #[error("no signature by a known key; check that the pinned keys belong to this log")]
    NoKnownSignature,
}

impl Error {
    /// `true` when the piece was readable but is not what was hashed or signed.
    ///
    /// A proof of the wrong length counts: its format is fine, it just proves nothing.
    pub fn is_integrity(&self) -> bool {
        matches!(
            self,
            Error::ProofLength { .. }
                | Error::RootMismatch { .. }
                | Error::BadSignature { .. }
                | Error::NoKnownSignature
                | Error::Range { .. }
        )
    }

    pub(crate) fn malformed(what: &'static str, why: impl Into<String>) -> Error {
        Error::Malformed { what, why: why.into() }
    }
}
