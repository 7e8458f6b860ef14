//! Bodies of non-event entries, in clear, for as long as the log lives: `meta/<subtree>`.
//!
//! A record is index u64, length u32, body; the entry's commitment is its checksum.

use super::subtree_name;
use crate::LedgerError;
use crate::disk::{Disk, create_dir, list, options, read_bounded, sync_dir};
use crate::limits::{BODY_MAX, SUBTREE};
use countersign_event::commit::body_commitment;
use countersign_event::{Entry, EntryKind};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bound of one file: 65,536 bodies of 64 KiB could not be written in the life of a part; 1 GiB is ample.
const FILE_MAX: u64 = 1 << 30;
/// Bytes before a body.
pub const RECORD_HEAD: usize = 12;

/// One stored body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaRecord<'a> {
    /// Leaf index.
    pub index: u64,
    /// Byte offset of the record.
    pub offset: u64,
    /// The body.
    pub body: &'a [u8],
}

/// Why a file of bodies ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaFault {
    /// Byte offset of the bad record.
    pub offset: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// The records of one file, and the fault that ended them.
pub fn parse_meta(bytes: &[u8]) -> (Vec<MetaRecord<'_>>, Option<MetaFault>) {
    let mut records: Vec<MetaRecord<'_>> = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let fault = |what| Some(MetaFault { offset: at as u64, what });
        let Some((index, tail)) = rest.split_first_chunk::<8>() else {
            return (records, fault("record is cut"));
        };
        let Some((len, tail)) = tail.split_first_chunk::<4>() else {
            return (records, fault("record is cut"));
        };
        let (index, len) = (u64::from_be_bytes(*index), u32::from_be_bytes(*len) as usize);
        if len > BODY_MAX {
            return (records, fault("body is over its bound"));
        }
        let Some(body) = tail.get(..len) else { return (records, fault("body is cut")) };
        if records.last().is_some_and(|last| last.index >= index) {
            return (records, fault("indices do not ascend"));
        }
        records.push(MetaRecord { index, offset: at as u64, body });
        at += RECORD_HEAD + len;
    }
    (records, None)
}

/// The files below `meta/`.
pub struct MetaFiles {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
}

impl MetaFiles {
    /// The files in `dir`.
    pub fn new(dir: &Path, disk: Arc<dyn Disk>) -> MetaFiles {
        MetaFiles { dir: dir.to_owned(), disk }
    }

    /// Creates the directory.
    pub fn create_dirs(&self) -> Result<(), LedgerError> {
        create_dir(&self.dir)
    }

    /// Path of the file around leaf `index`.
    pub fn path(&self, index: u64) -> PathBuf {
        self.dir.join(subtree_name(index))
    }

    /// Names of the files, in order.
    pub fn files(&self) -> Result<Vec<String>, LedgerError> {
        list(&self.dir)
    }

    /// The bytes of the file around leaf `index`; empty if there is none.
    pub fn bytes(&self, index: u64) -> Result<Vec<u8>, LedgerError> {
        Ok(read_bounded(&self.path(index), FILE_MAX)?.unwrap_or_default())
    }

    /// Appends bodies of one subtree after `length` bytes; returns the new length.
    pub fn append(&self, records: &[(u64, Arc<[u8]>)], length: u64) -> Result<u64, LedgerError> {
        let Some((first, _)) = records.first() else { return Ok(length) };
        let path = self.path(*first);
        let mut bytes = Vec::new();
        for (index, body) in records {
            bytes.extend_from_slice(&index.to_be_bytes());
            bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
            bytes.extend_from_slice(body);
        }
        let file = options().open(&path).map_err(|error| LedgerError::io("open", &path, error))?;
        self.disk
            .write_at(&file, &path, &bytes, length)
            .map_err(|error| LedgerError::io("write", &path, error))?;
        Ok(length + bytes.len() as u64)
    }

    /// Keeps the records below leaf `end` in the file around it; returns its length and whether it was cut.
    pub fn keep_below(&self, end: u64) -> Result<(u64, bool), LedgerError> {
        let bytes = self.bytes(end)?;
        let (records, _) = parse_meta(&bytes);
        let kept = records.iter().take_while(|record| record.index < end).last();
        let length = kept.map_or(0, |record| record.offset + (RECORD_HEAD + record.body.len()) as u64);
        let longer = length < bytes.len() as u64;
        if longer {
            let path = self.path(end);
            let file = options().open(&path).map_err(|error| LedgerError::io("open", &path, error))?;
            file.set_len(length).map_err(|error| LedgerError::io("cut", &path, error))?;
        }
        Ok((length, longer))
    }

    /// Makes the bodies of leaves `from..to` durable.
    pub fn sync(&self, from: u64, to: u64) -> Result<(), LedgerError> {
        let mut at = from - from % SUBTREE;
        while at < to {
            let path = self.path(at);
            match File::open(&path) {
                Ok(file) => {
                    self.disk.sync(&file, &path).map_err(|error| LedgerError::io("sync", &path, error))?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(LedgerError::io("open", &path, error)),
            }
            at += SUBTREE;
        }
        sync_dir(&self.dir)
    }

    /// The body at leaf `index`, checked against its entry; `None` for an event.
    pub fn read(&self, index: u64, entry: &Entry) -> Result<Option<Vec<u8>>, LedgerError> {
        if entry.kind == EntryKind::Event as u8 {
            return Ok(None);
        }
        let bytes = self.bytes(index)?;
        let (records, _) = parse_meta(&bytes);
        let found = records.binary_search_by_key(&index, |record| record.index).ok();
        let record = found.and_then(|at| records.get(at));
        let Some(record) = record.filter(|record| body_commitment(record.body) == entry.commitment) else {
            let offset = record.map_or(bytes.len() as u64, |record| record.offset);
            return Err(LedgerError::Corrupt {
                file: self.path(index),
                offset,
                index: Some(index),
                what: "body is missing or does not match its commitment".to_owned(),
            });
        };
        Ok(Some(record.body.to_vec()))
    }
}
