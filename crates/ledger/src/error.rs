//! The one error of this crate: what failed, where, why, and what to do next.
//!
//! Cloneable, because one failed write answers many submissions. Never carries a key or content.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the ledger refused, stopped or could not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// An operation of the file system failed.
    #[error("cannot {op} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        source: Arc<io::Error>,
    },
    /// Another process holds the data directory.
    #[error("{} is in use by another process; stop it, or open it read-only", dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// The key-encryption key cannot be used.
    #[error("key file {}: {why}", path.display())]
    Kek {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Stored bytes are not what was written; nothing was cut. Heal from a copy.
    #[error("{} is corrupt at byte {offset}: {what}; nothing was changed, restore it from a copy", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Byte offset of the damage.
        offset: u64,
        /// First leaf index touched, where known.
        index: Option<u64>,
        /// What was found.
        what: String,
    },
    /// Stored bytes are well-formed but were not written by us, or not in this order.
    #[error("{} was tampered with at byte {offset}: {what}", file.display())]
    Tampered {
        /// The file.
        file: PathBuf,
        /// Byte offset of the evidence.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// The tree is not the one that was signed, or is shorter than it: a fork, a rollback or a lost write.
    #[error("the log does not match what was signed at size {signed}: {what}")]
    Fork {
        /// Size that was signed.
        signed: u64,
        /// What was found instead.
        what: String,
    },
    /// A newer process has taken over this ledger's signer.
    #[error("fenced: this process has number {ours}, the signer obeys {current}; another process took over")]
    Fenced {
        /// This process's number.
        ours: u64,
        /// The signer's number.
        current: u64,
    },
    /// The signer refused or failed.
    #[error("signer refused: {0}")]
    Signer(String),
    /// Something exceeds a named bound.
    #[error("{what} exceeds the limit of {max}")]
    Limit {
        /// What was measured.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// Rows handed back by the store do not rebuild the committed leaves.
    #[error("row {index} does not match its commitment: {what}")]
    Mismatch {
        /// Leaf index.
        index: u64,
        /// What differs.
        what: String,
    },
    /// The thing asked for is not, or no longer, in this ledger.
    #[error("{what} {index} is not in this ledger")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its index.
        index: u64,
    },
    /// An argument does not make sense.
    #[error("{0}")]
    Invalid(String),
    /// The ledger was opened read-only.
    #[error("the ledger is open read-only")]
    ReadOnly,
    /// The ledger was shut down.
    #[error("the ledger is shut down")]
    Closed,
    /// The writer stopped after a failure it could not recover from; restart the process.
    #[error("the ledger has stopped: {0}; nothing acknowledged was lost, restart after removing the cause")]
    Stopped(String),
}

impl LedgerError {
    /// Exit code of a command that ends with this error: 3 = integrity failure, 2 = everything else.
    pub fn exit_code(&self) -> u8 {
        if self.is_integrity() { 3 } else { 2 }
    }

    /// `true` when stored bytes are not what was written, signed or committed.
    pub fn is_integrity(&self) -> bool {
        matches!(
            self,
            LedgerError::Corrupt { .. }
                | LedgerError::Tampered { .. }
                | LedgerError::Fork { .. }
                | LedgerError::Mismatch { .. }
        )
    }

    /// `true` when the disk is full.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, LedgerError::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    pub(crate) fn io(op: &'static str, path: &Path, source: impl Into<io::Error>) -> LedgerError {
        LedgerError::Io { op, path: path.to_owned(), source: Arc::new(source.into()) }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, what: impl Into<String>) -> LedgerError {
        LedgerError::Corrupt { file: file.to_owned(), offset, index: None, what: what.into() }
    }
}
