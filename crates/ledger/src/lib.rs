//! The ledger: it gives each finished event a place nobody can change unnoticed.
//!
//! Number, commit, write ahead, sync, acknowledge; then tree, signature, checkpoint. It knows no
//! protocol and no SQL. `docs/reference/wal.md` and `docs/reference/data-directory.md` describe every
//! file it writes.
//!
//! Invariants: an acknowledgement comes after fdatasync; the signer is never asked about a size that is
//! not durable; the first failed write or sync poisons the writer, the second stops it; bytes below the
//! signed size are never cut; every queue is bounded and full means wait.

pub mod bodies;
mod check;
pub mod clock;
mod core;
pub mod disk;
pub mod error;
pub mod feed;
pub mod forward;
pub mod fsck;
pub mod fuzz;
mod intake;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod log;
mod open;
pub mod pass;
mod recovery;
mod registry;
mod retire;
mod salts;
mod sequencer;
pub mod signer;
pub mod source;
pub mod types;
pub mod wal;

pub use clock::{Clock, SystemClock};
pub use disk::{Disk, RealDisk};
pub use error::LedgerError;
pub use feed::Reader;
pub use forward::{ForwardError, ForwardSpec, Loss};
pub use fsck::{Finding, FindingClass, FsckProgress, FsckReport, NoSegments, SegmentRows, fsck};
pub use keys::{DigestContext, DigestKey, Kek};
pub use ledger::{Ledger, Options};
pub use limits::Limits;
pub use open::Parts;
pub use pass::PassedSource;
pub use signer::{LocalSigner, SignRequest, Signer, SignerStatus};
pub use source::{Source, TryRecordError};
pub use types::*;
