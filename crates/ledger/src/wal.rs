//! The write-ahead log: files of sealed, chained frames, made durable before anything is acknowledged.
//!
//! It knows entries and their contents as bytes; numbering, trees and signatures are elsewhere.

pub mod frame;
pub mod header;
pub mod payload;
pub mod reader;
pub mod writer;

use std::path::{Path, PathBuf};

/// Path of the file with this number.
pub(crate) fn file_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.wal"))
}

/// Number in a file name; `None` if no writer would have named it so.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    let number = digits.parse().ok()?;
    (format!("{number:020}") == digits).then_some(number)
}
