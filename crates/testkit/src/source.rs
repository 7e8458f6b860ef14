//! Where the sources of the test that runs lie.

use std::path::PathBuf;

/// The crate's directory: what cargo says now, else `compiled`, which is `env!("CARGO_MANIFEST_DIR")` of the caller.
///
/// Clones that share a target directory share test programs too, and one that was compiled in another clone would
/// read that clone's files, or find none and test nothing.
pub fn crate_dir(compiled: &str) -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(compiled), PathBuf::from)
}
