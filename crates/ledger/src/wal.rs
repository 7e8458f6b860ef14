//! The write-ahead log: files of sealed, chained frames, made durable before anything is acknowledged.
//!
//! It knows entries and their contents as bytes; numbering, trees and signatures are elsewhere.

pub mod frame;
pub mod header;
pub mod payload;
pub mod reader;
pub mod writer;

use crate::LedgerError;
use crate::disk::{list, read_at};
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

/// Numbers of the files in `dir`, ascending, and the last one if a crash left it without header and frames.
pub(crate) fn file_numbers(dir: &Path) -> Result<(Vec<u64>, Option<u64>), LedgerError> {
    let mut numbers: Vec<u64> = list(dir)?.iter().filter_map(|name| file_number(name)).collect();
    numbers.sort_unstable();
    let Some(last) = numbers.last().copied() else { return Ok((numbers, None)) };
    let path = file_path(dir, last);
    let file = std::fs::File::open(&path).map_err(|error| LedgerError::io("open", &path, error))?;
    let head = read_at(&file, &path, 0, header::HEADER_LEN * 2)?;
    if head.iter().any(|byte| *byte != 0) {
        return Ok((numbers, None));
    }
    numbers.pop();
    Ok((numbers, Some(last)))
}
