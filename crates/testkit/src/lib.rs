//! Real servers for tests: installed where missing, started on free ports in temporary directories,
//! and gone when the test is. Nothing here ships.
//!
//! Invariants: a missing program is installed or the test fails with the one line to run (never
//! skipped); every wait has a bound; every child is killed when its handle is dropped.

pub mod browser;
pub mod child;
pub mod grpc;
pub mod http;
pub mod http2;
pub mod install;
pub mod journal;
pub mod kafka;
pub mod mcp;
pub mod nats;
pub mod net;
pub mod node;
pub mod ocsf;
pub mod postgres;
pub mod proxies;
pub mod python;
pub mod redis;
pub mod scenario;
pub mod servers;
pub mod source;
pub mod temp;

pub use browser::Chromium;
pub use child::Child;
pub use install::{ensure_file, ensure_program};
pub use net::{free_port, wait_for_port};
pub use source::crate_dir;
pub use temp::TempDir;

/// Why a test's surroundings could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TestkitError {
    /// A program is missing and cannot be installed from here.
    #[error("{program} is missing and this user may not install packages; run: {command}")]
    Missing {
        /// What was looked for on the path.
        program: String,
        /// The one line to run.
        command: String,
    },
    /// The package manager failed.
    #[error("installing {package} failed: {output}")]
    Install {
        /// Debian package.
        package: String,
        /// The end of what it printed.
        output: String,
    },
    /// A child could not be started.
    #[error("starting {program}: {source}")]
    Spawn {
        /// Program.
        program: String,
        /// Cause.
        source: std::io::Error,
    },
    /// A child did not become ready in its time.
    #[error("{what} was not ready after {seconds} s; its output: {output}")]
    NotReady {
        /// What was waited for.
        what: String,
        /// Bound.
        seconds: u64,
        /// The end of what it printed.
        output: String,
    },
    /// Input or output failed.
    #[error("{what}: {source}")]
    Io {
        /// Operation.
        what: String,
        /// Cause.
        source: std::io::Error,
    },
}

/// Whether the whole of the long repetitions was asked for (`cargo xtask torture --full`), and not a tenth.
pub fn torture_full() -> bool {
    std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|value| value == "full")
}

/// `full` under `cargo xtask torture --full`, else `tenth`.
pub fn repetitions(tenth: usize, full: usize) -> usize {
    if torture_full() { full } else { tenth }
}

pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> TestkitError {
    let what = what.into();
    move |source| TestkitError::Io { what, source }
}
