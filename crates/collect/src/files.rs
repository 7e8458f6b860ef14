//! Log files as an input: found by pattern, followed as they grow, across rotation, restarts and crashes.
//!
//! A file is known by device, inode and the digest of its first KiB, never by its name. It is read from the first
//! byte; what is read becomes records by [`Framing`], these become events, and only when those are durable does the
//! file's [`checkpoint`] move on. A crash between the two leads to a second delivery, which the intake knows by file
//! and offset. A file that was renamed is read to its end under the new name; one that was cut short, or whose
//! beginning or end is no longer what was read, is a new file and read from its first byte. What was lost with the
//! old one is declared: a GAP, and an event with the number of bytes.
//!
//! Not an inotify client: files are looked at every [`POLL`]. Not for two collectors at once. What cannot be seen:
//! lines that were appended and cut away between two looks, and a file replaced in place by one with the same
//! beginning and the same bytes at the place last read.
//!
//! Invariants: the checkpoint never points behind a byte that is not durable as part of an event; a new identity is
//! durable before its first record; at most [`HANDLES_MAX`] files are open.

mod body;
pub mod checkpoint;
mod cutter;
mod follow;
mod follower;
pub mod glob;
mod look;
mod trail;

pub use cutter::Framing;
pub use follower::{Follower, run};
pub use trail::{DIGEST_MAX, LOGS_MAX, TrailSettings};

use std::path::PathBuf;
use std::time::Duration;

/// How often files are looked at.
pub const POLL: Duration = Duration::from_millis(250);
/// Every how many looks the patterns are expanded.
pub const LOOK_EVERY: u32 = 4;
/// Most files open at once; the one that grew longest ago is closed first.
pub const HANDLES_MAX: usize = 1_024;
/// Most files followed; more are left out, and it is said.
pub const FILES_MAX: usize = 100_000;
/// Largest file that is read as a whole (`{"Records":[…]}`), unpacked, bytes.
pub const WHOLE_MAX: usize = 128 << 20;
/// Most bytes that one packed file may unfold to.
pub const UNPACKED_MAX: u64 = 16 << 30;

/// How long is waited for what may still come.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the rest of a text that a container runtime wrote in parts.
    pub partial: Duration,
    /// For the end of a line, in a file that does not grow.
    pub unended: Duration,
    /// For more in a file that no pattern leads to any more.
    pub gone: Duration,
    /// For the rest of a packed file, or of one that is read as a whole.
    pub rest: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        let s = Duration::from_secs;
        Patience { partial: s(5), unended: s(60), gone: s(30), rest: s(5) }
    }
}

/// Which files, and how they are read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Patterns of paths, see [`glob`].
    pub paths: Vec<glob::Pattern>,
    /// Patterns of those to leave out.
    pub exclude: Vec<glob::Pattern>,
    /// Where one record ends.
    pub framing: Framing,
    /// Where the checkpoint lies.
    pub checkpoint: PathBuf,
    /// See [`Patience`].
    pub patience: Patience,
    /// Digests that log files of CloudTrail are proven by.
    pub trail: Option<TrailSettings>,
}

/// Why an input of files cannot start.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Its checkpoint cannot be read or written.
    #[error("checkpoint {path}: {error}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Its checkpoint is damaged: without it files would be read again.
    #[error(
        "checkpoint {path}: {why}; move it away to read every file from its beginning (what is still remembered of \
         the last 24 hours is not recorded twice)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The rule broken.
        why: &'static str,
    },
}
