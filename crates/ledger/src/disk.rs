//! The few operations whose failure decides about acknowledged data, behind a trait so that tests can make
//! them fail. Not a file-system abstraction: reading, listing and renaming go to the system directly.

use crate::LedgerError;
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, fdatasync, statvfs};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Writes, syncs and space of the data directory.
pub trait Disk: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// fdatasync. After an error nothing about the file's content may be assumed.
    fn sync(&self, file: &File, path: &Path) -> io::Result<()>;
    /// Reserves `len` bytes of zeros.
    fn allocate(&self, file: &File, path: &Path, len: u64) -> io::Result<()>;
    /// Thousandths of the disk under `dir` that are used.
    fn used_permille(&self, dir: &Path) -> io::Result<u32>;
}

/// The machine's disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn write_at(&self, file: &File, _path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }
    fn sync(&self, file: &File, _path: &Path) -> io::Result<()> {
        Ok(fdatasync(file)?)
    }
    fn allocate(&self, file: &File, _path: &Path, len: u64) -> io::Result<()> {
        match fallocate(file, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // A file system without preallocation still gets the zero tail, as a hole.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(len),
            Err(error) => Err(error.into()),
        }
    }
    fn used_permille(&self, dir: &Path) -> io::Result<u32> {
        let stat = statvfs(dir)?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        let usable = used.saturating_add(stat.f_bavail).max(1);
        Ok(u32::try_from(used.saturating_mul(1000) / usable).unwrap_or(1000))
    }
}

/// Suffix of files that are written aside and renamed; left-overs are removed at start.
pub(crate) const TEMP_SUFFIX: &str = ".tmp";

/// Replaces `path` as one step: temporary file, fsync, rename, fsync of the directory.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let temp = path.with_file_name(format!(
        "{}{TEMP_SUFFIX}",
        path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default()
    ));
    let write = || -> io::Result<()> {
        let mut file = options().truncate(true).open(&temp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temp, path)
    };
    write().map_err(|error| LedgerError::io("replace", path, error))?;
    sync_parent(path)
}

/// Makes a new, renamed or removed name durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), LedgerError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    sync_dir(dir)
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), LedgerError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| LedgerError::io("sync directory", dir, error))
}

/// Read-write, created with mode 0600.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

/// Creates a directory with mode 0700 if it is missing.
pub(crate) fn create_dir(path: &Path) -> Result<(), LedgerError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(|error| LedgerError::io("create directory", path, error))
}

/// A whole file, refused above `max` bytes; `None` if it does not exist.
pub(crate) fn read_bounded(path: &Path, max: u64) -> Result<Option<Vec<u8>>, LedgerError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LedgerError::io("open", path, error)),
    };
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| LedgerError::io("read", path, error))?;
    if bytes.len() as u64 > max {
        return Err(LedgerError::corrupt(path, max, format!("longer than its bound of {max} bytes")));
    }
    Ok(Some(bytes))
}

/// Reads at most `len` bytes at `offset`; fewer at the end of the file.
pub(crate) fn read_at(file: &File, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>, LedgerError> {
    let mut bytes = vec![0; len];
    let mut have = 0;
    while have < len {
        match file.read_at(&mut bytes[have..], offset + have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(LedgerError::io("read", path, error)),
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}

/// Drops what the system caches of a file, so that the next read asks the disk.
pub(crate) fn drop_cache(file: &File) {
    // Advice only: without it the read is merely less conclusive.
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

/// Names of regular files in `dir`, sorted; empty if there is no such directory.
pub(crate) fn list(dir: &Path) -> Result<Vec<String>, LedgerError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LedgerError::io("list", dir, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| LedgerError::io("list", dir, error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}
