//! Entry bundles and level-1 hashes on disk. Not a tree: it stores what it is told and reads it back.

use super::{BUNDLE_ENTRY, TILE, subtree_name};
use crate::LedgerError;
use crate::disk::{Disk, create_dir, list, options, read_at, sync_dir};
use crate::limits::SUBTREE;
use countersign_event::{ENTRY_LEN, Entry};
use countersign_proof::Hash;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Entries that are durable in the write-ahead log but not (or not surely) in files: read-only handles.
#[derive(Default)]
pub struct Overlay {
    /// Leaf index of the first one.
    pub first: u64,
    /// The entries.
    pub entries: Vec<Entry>,
    /// Bodies of non-event entries, index ascending.
    pub bodies: Vec<(u64, Arc<[u8]>)>,
}

/// The files below `log/`.
pub struct LogFiles {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    /// Set for read-only handles, which write nothing.
    pub overlay: Option<Overlay>,
}

impl LogFiles {
    /// The files of the ledger at `dir` (its `log` directory).
    pub fn new(dir: &Path, disk: Arc<dyn Disk>) -> LogFiles {
        LogFiles { dir: dir.to_owned(), disk, overlay: None }
    }

    /// Creates the directories.
    pub fn create_dirs(&self) -> Result<(), LedgerError> {
        create_dir(&self.dir.join("entries"))?;
        create_dir(&self.dir.join("nodes"))
    }

    /// Path of the entry bundles around leaf `index`.
    pub fn entries_path(&self, index: u64) -> PathBuf {
        self.dir.join("entries").join(subtree_name(index))
    }

    /// Path of the level-1 hashes around leaf `index`.
    pub fn nodes_path(&self, index: u64) -> PathBuf {
        self.dir.join("nodes").join(subtree_name(index))
    }

    /// Path of the roots of complete subtrees.
    pub fn subtrees_path(&self) -> PathBuf {
        self.dir.join("subtrees")
    }

    /// Path of the signed tree head.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    /// The names of stored entry files, in order.
    pub fn entry_files(&self) -> Result<Vec<String>, LedgerError> {
        list(&self.dir.join("entries"))
    }

    /// The names of stored level-1 files, in order.
    pub fn node_files(&self) -> Result<Vec<String>, LedgerError> {
        list(&self.dir.join("nodes"))
    }

    /// Writes entries at `first`; they never cross a subtree (a batch never crosses a part).
    pub fn write_entries(&self, first: u64, entries: &[Entry]) -> Result<(), LedgerError> {
        let mut rest = entries;
        let mut at = first;
        while !rest.is_empty() {
            let room = (SUBTREE - at % SUBTREE).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at(room);
            let mut bytes = Vec::with_capacity(now.len() * BUNDLE_ENTRY as usize);
            for entry in now {
                bytes.extend_from_slice(&(ENTRY_LEN as u16).to_be_bytes());
                bytes.extend_from_slice(&entry.to_bytes());
            }
            self.write(&self.entries_path(at), &bytes, at % SUBTREE * BUNDLE_ENTRY)?;
            (rest, at) = (later, at + room as u64);
        }
        Ok(())
    }

    /// Writes the hash of bundle `bundle` (= leaf index / 256).
    pub fn write_node(&self, bundle: u64, hash: &Hash) -> Result<(), LedgerError> {
        self.write(&self.nodes_path(bundle * TILE), hash, bundle % TILE * 32)
    }

    /// Writes the root of complete subtree `number`.
    pub fn write_subtree(&self, number: u64, root: &Hash) -> Result<(), LedgerError> {
        self.write(&self.subtrees_path(), root, number * 32)
    }

    fn write(&self, path: &Path, bytes: &[u8], offset: u64) -> Result<(), LedgerError> {
        let file = options().open(path).map_err(|error| LedgerError::io("open", path, error))?;
        self.disk.write_at(&file, path, bytes, offset).map_err(|error| LedgerError::io("write", path, error))
    }

    /// Makes everything for leaves `from..to` durable.
    pub fn sync(&self, from: u64, to: u64) -> Result<(), LedgerError> {
        let mut at = from - from % SUBTREE;
        while at < to {
            for path in [self.entries_path(at), self.nodes_path(at)] {
                self.sync_file(&path)?;
            }
            at += SUBTREE;
        }
        self.sync_file(&self.subtrees_path())?;
        sync_dir(&self.dir.join("entries"))?;
        sync_dir(&self.dir.join("nodes"))?;
        sync_dir(&self.dir)
    }

    fn sync_file(&self, path: &Path) -> Result<(), LedgerError> {
        match File::open(path) {
            Ok(file) => self.disk.sync(&file, path).map_err(|error| LedgerError::io("sync", path, error)),
            // Not reached yet: the first bundle of a subtree is not full.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(LedgerError::io("open", path, error)),
        }
    }

    /// Entries `from..to` of one subtree, as far as they are stored; stops before a malformed one.
    pub fn read_entries(&self, from: u64, to: u64) -> Result<Vec<Entry>, LedgerError> {
        if let Some(overlay) = self.overlay.as_ref().filter(|overlay| to > overlay.first) {
            let mut entries = Vec::new();
            if from < overlay.first {
                entries = self.read_stored(from, overlay.first)?;
                if (entries.len() as u64) < overlay.first - from {
                    return Ok(entries);
                }
            }
            let start = from.max(overlay.first) - overlay.first;
            let end = (to - overlay.first).min(overlay.entries.len() as u64);
            entries.extend_from_slice(overlay.entries.get(start as usize..end as usize).unwrap_or(&[]));
            return Ok(entries);
        }
        self.read_stored(from, to)
    }

    fn read_stored(&self, from: u64, to: u64) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = Vec::new();
        let mut at = from;
        while at < to {
            let end = to.min(at - at % SUBTREE + SUBTREE);
            let bytes = self.read_bundle_bytes(at, end)?;
            let wanted = (end - at) as usize;
            entries.extend(parse_entries(&bytes).take(wanted));
            if (entries.len() as u64) < end - from {
                break;
            }
            at = end;
        }
        Ok(entries)
    }

    /// Stored bytes of entries `from..to` of one subtree, perhaps fewer.
    pub fn read_bundle_bytes(&self, from: u64, to: u64) -> Result<Vec<u8>, LedgerError> {
        let path = self.entries_path(from);
        let Some(file) = open_existing(&path)? else { return Ok(Vec::new()) };
        read_at(&file, &path, from % SUBTREE * BUNDLE_ENTRY, ((to - from) * BUNDLE_ENTRY) as usize)
    }

    /// Stored level-1 hashes of the subtree around leaf `index`, at most 256.
    pub fn read_nodes(&self, index: u64) -> Result<Vec<Hash>, LedgerError> {
        let path = self.nodes_path(index);
        let Some(file) = open_existing(&path)? else { return Ok(Vec::new()) };
        Ok(read_at(&file, &path, 0, TILE as usize * 32)?.as_chunks::<32>().0.to_vec())
    }

    /// Stored roots of complete subtrees, at most `max`.
    pub fn read_subtrees(&self, max: u64) -> Result<Vec<Hash>, LedgerError> {
        let path = self.subtrees_path();
        let Some(file) = open_existing(&path)? else { return Ok(Vec::new()) };
        let len = file.metadata().map_err(|error| LedgerError::io("stat", &path, error))?.len();
        let want = max.saturating_mul(32).min(len) as usize;
        Ok(read_at(&file, &path, 0, want)?.as_chunks::<32>().0.to_vec())
    }
}

/// The entries at the start of bundle bytes; ends before the first that is not one.
pub fn parse_entries(bytes: &[u8]) -> impl Iterator<Item = Entry> + '_ {
    bytes.as_chunks::<{ BUNDLE_ENTRY as usize }>().0.iter().map_while(|chunk| {
        let (len, entry) = chunk.split_first_chunk::<2>()?;
        let whole = usize::from(u16::from_be_bytes(*len)) == ENTRY_LEN;
        entry.first_chunk::<ENTRY_LEN>().filter(|_| whole).and_then(Entry::from_bytes)
    })
}

fn open_existing(path: &Path) -> Result<Option<File>, LedgerError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::io("open", path, error)),
    }
}
