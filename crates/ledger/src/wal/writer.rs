//! Appends frames to one file and makes them durable.
//!
//! Invariant: after a failed write or sync this writer is never used again; what it has synced is at
//! [`WalWriter::synced`], everything after that was never acknowledged.

use super::file_path;
use super::frame::{FileKeys, FrameContent, FrameKind, append_frame};
use super::header::{HEADER_LEN, Header};
use super::reader::{FileCursor, Step, open_header};
use crate::LedgerError;
use crate::disk::{Disk, drop_cache, sync_dir};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a file's durable frames end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncedEnd {
    /// Offset after the last durable frame.
    pub offset: u64,
    /// Number of the next frame.
    pub number: u64,
    /// Mac of the last durable frame.
    pub mac: [u8; 32],
}

/// Place of a staged batch frame: offset, frame number, mac of the frame before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    /// Leaf index of its first entry.
    pub first: u64,
    /// Byte offset in the file.
    pub offset: u64,
    /// Frame number.
    pub number: u64,
    /// Mac of the frame before it.
    pub previous: [u8; 32],
}

/// An open file of the write-ahead log.
pub struct WalWriter {
    disk: Arc<dyn Disk>,
    file: File,
    path: PathBuf,
    key: zeroize::Zeroizing<[u8; 32]>,
    keys: FileKeys,
    number: u64,
    limit: u64,
    synced: SyncedEnd,
    staged: SyncedEnd,
    buffer: Vec<u8>,
    places: Vec<FramePlace>,
}

impl WalWriter {
    /// Creates a file that did not exist, with its header and zero tail durable.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        header: Header,
        key: &[u8; 32],
        limit: u64,
    ) -> Result<WalWriter, LedgerError> {
        let path = file_path(dir, header.file);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| LedgerError::io("create", &path, error))?;
        disk.allocate(&file, &path, limit).map_err(|error| LedgerError::io("allocate", &path, error))?;
        disk.write_at(&file, &path, &header.to_bytes(), 0)
            .map_err(|error| LedgerError::io("write", &path, error))?;
        disk.sync(&file, &path).map_err(|error| LedgerError::io("sync", &path, error))?;
        sync_dir(dir)?;
        let keys = FileKeys::new(key, header.digest())
            .ok_or_else(|| LedgerError::Invalid("a WAL key is not 32 bytes".to_owned()))?;
        let synced = SyncedEnd { offset: HEADER_LEN as u64, number: 0, mac: header.previous_mac };
        Ok(WalWriter {
            disk,
            file,
            path,
            key: zeroize::Zeroizing::new(*key),
            keys,
            number: header.file,
            limit,
            synced,
            staged: synced,
            buffer: Vec::new(),
            places: Vec::new(),
        })
    }

    /// File number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where the durable frames end.
    pub fn synced(&self) -> SyncedEnd {
        self.synced
    }

    /// Whether `bytes` more still belong in this file; an empty file takes any frame.
    pub fn has_room(&self, bytes: usize) -> bool {
        let fits = self.staged.offset.saturating_add(bytes as u64) <= self.limit;
        fits || self.staged.number == 0
    }

    /// Seals a frame into the buffer; nothing is written before [`WalWriter::commit`].
    pub fn stage(&mut self, content: FrameContent<'_>) -> Result<(), LedgerError> {
        let at = self.staged;
        let before = self.buffer.len();
        let mac = append_frame(&mut self.buffer, &self.keys, at.number, content, &at.mac)
            .ok_or(LedgerError::Limit { what: "bytes in one frame", max: 8 << 20 })?;
        if content.kind == FrameKind::Batch {
            self.places.push(FramePlace {
                first: content.first,
                offset: at.offset,
                number: at.number,
                previous: at.mac,
            });
        }
        let grown = (self.buffer.len() - before) as u64;
        self.staged = SyncedEnd { offset: at.offset + grown, number: at.number + 1, mac };
        Ok(())
    }

    /// Writes and syncs what is staged; returns the places of its batch frames and the time of the sync.
    pub fn commit(&mut self) -> Result<(Vec<FramePlace>, Duration), LedgerError> {
        self.disk
            .write_at(&self.file, &self.path, &self.buffer, self.synced.offset)
            .map_err(|error| LedgerError::io("write", &self.path, error))?;
        let start = Instant::now();
        self.disk.sync(&self.file, &self.path).map_err(|error| LedgerError::io("sync", &self.path, error))?;
        let took = start.elapsed();
        self.synced = self.staged;
        self.buffer.clear();
        Ok((std::mem::take(&mut self.places), took))
    }

    /// After a failure: reads the durable frames back from the disk itself and cuts the file after them.
    /// This writer must not be used again.
    pub fn verify_and_cut(&self) -> Result<(), LedgerError> {
        drop_cache(&self.file);
        let (again, header) = open_header(&self.path)?;
        let mut cursor = FileCursor::new(&self.path, again, header, &self.key)?;
        while cursor.offset < self.synced.offset {
            match cursor.step()? {
                Step::Frame(..) => {}
                Step::End | Step::Bad(_) => {
                    let what = "frames that were synced do not read back";
                    return Err(LedgerError::corrupt(&self.path, cursor.offset, what));
                }
            }
        }
        if cursor.mac != self.synced.mac {
            return Err(LedgerError::corrupt(
                &self.path,
                cursor.offset,
                "synced frames read back differently",
            ));
        }
        cut(self.disk.as_ref(), &self.path, self.synced.offset)
    }
}

/// Cuts a file after its last good frame and makes the cut durable.
pub(crate) fn cut(disk: &dyn Disk, path: &Path, offset: u64) -> Result<(), LedgerError> {
    let file =
        OpenOptions::new().write(true).open(path).map_err(|error| LedgerError::io("open", path, error))?;
    file.set_len(offset).map_err(|error| LedgerError::io("cut", path, error))?;
    disk.sync(&file, path).map_err(|error| LedgerError::io("sync", path, error))
}
