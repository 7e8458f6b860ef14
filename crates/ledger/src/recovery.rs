//! What a start finds and does: replay, judge the tail, compare with what was signed. Used by the writer,
//! which repairs what may be repaired, and by read-only handles, which change nothing.
//!
//! Invariants: bytes at or below the signed size are never cut; a valid frame after a bad one is never
//! thrown away; a tree that is not the signed one never comes into use.

use crate::core::WalFile;
use crate::disk::{Disk, list};
use crate::keys::Vault;
use crate::limits::SUBTREE;
use crate::log::files::{LogFiles, Overlay};
use crate::log::meta::{MetaFiles, parse_meta};
use crate::log::tree::{Tree, TreeReader, leaf_hashes};
use crate::log::{BUNDLE_ENTRY, subtree_name};
use crate::registry::Registry;
use crate::wal::frame::{FrameKind, OpenFrame};
use crate::wal::payload::parse_batch;
use crate::wal::reader::{FileCursor, Step, open_header};
use crate::wal::writer::{FramePlace, cut};
use crate::wal::{file_numbers, file_path};
use crate::{Checkpoint, LedgerError, SignerStatus, StartReport};
use countersign_event::{Entry, EntryKind, commit::body_commitment};
use countersign_proof::note::NOTE_MAX;
use countersign_proof::{Hash, VerifierKey, tree_root};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a replay needs to know.
pub(crate) struct Replay<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) disk: &'a Arc<dyn Disk>,
    pub(crate) vault: &'a Vault,
    pub(crate) origin_digest: [u8; 32],
    pub(crate) verifier: &'a VerifierKey,
    pub(crate) signer: SignerStatus,
    pub(crate) write: bool,
}

/// What a replay found.
pub(crate) struct Recovered {
    pub(crate) tree: Tree,
    pub(crate) files: LogFiles,
    pub(crate) meta: MetaFiles,
    pub(crate) meta_len: u64,
    pub(crate) registry: Registry,
    pub(crate) wal: Vec<WalFile>,
    pub(crate) next_file: u64,
    pub(crate) last_mac: [u8; 32],
    pub(crate) own_seq: u64,
    pub(crate) last_time: u64,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) report: StartReport,
}

/// A file whose frames are all read, and what lies behind them.
struct FileEnd {
    path: PathBuf,
    offset: u64,
    torn: Option<&'static str>,
    nonzero: Option<u64>,
    frame_after: Option<u64>,
    closed: bool,
}

impl Replay<'_> {
    /// Replays everything; the order of steps matters and each is told in its function.
    pub(crate) fn run(&self) -> Result<Recovered, LedgerError> {
        let wal_dir = self.dir.join("wal");
        // Before the log: beside a live writer, what was signed must not be newer than what is replayed.
        let file = self.checkpoint_file()?;
        let (numbers, unborn) = file_numbers(&wal_dir)?;
        let mut state = self.start(&wal_dir, &numbers)?;
        if let Some(number) = unborn {
            state.report.temp_files += 1;
            if self.write {
                let path = file_path(&wal_dir, number);
                std::fs::remove_file(&path).map_err(|error| LedgerError::io("remove", &path, error))?;
            }
        }
        let mut end = None;
        for (at, number) in numbers.iter().enumerate() {
            let is_last = at + 1 == numbers.len();
            let file_end = self.replay_file(&mut state, *number, at == 0)?;
            if !is_last {
                must_be_clean(&file_end, state.tree.size())?;
            }
            end = Some(file_end);
        }
        state.next_file = numbers.last().map_or(1, |number| number + 1);
        if let Some(end) = end {
            self.judge_tail(&mut state, &end)?;
            state.report.clean = end.closed;
        }
        self.settle(&mut state, file)?;
        Ok(state)
    }

    /// What is static below the oldest file of the write-ahead log: tree, bodies, sources.
    fn start(&self, wal_dir: &Path, numbers: &[u64]) -> Result<Recovered, LedgerError> {
        let mut report = StartReport::default();
        let first = match numbers.first() {
            Some(number) => open_header(&file_path(wal_dir, *number))?.1.first,
            None if !list(&self.dir.join("log/entries"))?.is_empty() => {
                return Err(LedgerError::corrupt(wal_dir, 0, "holds no file, and yet there are entries"));
            }
            None => 0,
        };
        let mut files = LogFiles::new(&self.dir.join("log"), self.disk.clone());
        let meta = MetaFiles::new(&self.dir.join("meta"), self.disk.clone());
        if !self.write {
            files.overlay = Some(Overlay { first, ..Overlay::default() });
        }
        let tree = match Tree::load(first, &files)? {
            Some(tree) => tree,
            None => {
                report.rebuilt += 1;
                Tree::rebuild(first, &files)?
            }
        };
        let mut state = Recovered {
            tree,
            files,
            meta,
            meta_len: 0,
            registry: Registry::new(),
            wal: Vec::new(),
            next_file: 1,
            last_mac: [0; 32],
            own_seq: 0,
            last_time: 0,
            checkpoint: None,
            report,
        };
        self.read_bodies(&mut state, first)?;
        self.count_events(&mut state, first)?;
        if self.write {
            self.trim_static(&mut state, first)?;
        }
        Ok(state)
    }

    fn read_bodies(&self, state: &mut Recovered, first: u64) -> Result<(), LedgerError> {
        for name in state.meta.files()? {
            let Ok(subtree) = name.parse::<u64>() else { continue };
            let start = subtree.saturating_mul(SUBTREE);
            if name != subtree_name(start) || start >= first {
                continue;
            }
            let bytes = state.meta.bytes(start)?;
            let (records, fault) = parse_meta(&bytes);
            let below = |index: u64| index < first;
            let entries = state.files.read_entries(start, first.min(start + SUBTREE))?;
            for record in records.iter().take_while(|record| below(record.index)) {
                let entry = record.index.checked_sub(start).and_then(|at| entries.get(at as usize));
                let good = entry.filter(|entry| entry.commitment == body_commitment(record.body));
                let Some(entry) = good else {
                    return Err(LedgerError::Corrupt {
                        file: state.meta.path(start),
                        offset: record.offset,
                        index: Some(record.index),
                        what: "body does not match its commitment".to_owned(),
                    });
                };
                state.own_seq = state.own_seq.max(entry.source_seq);
                state.registry.body(record.index, entry, record.body);
            }
            let own = entries.iter().filter(|entry| entry.kind != EntryKind::Event as u8).count();
            let have = records.iter().filter(|record| below(record.index)).count();
            if own != have {
                let offset = fault.map_or(bytes.len() as u64, |fault| fault.offset);
                return Err(LedgerError::corrupt(&state.meta.path(start), offset, "bodies are missing"));
            }
        }
        Ok(())
    }

    /// Last sequence numbers of sources whose run did not end, from the entries since their last heartbeat.
    fn count_events(&self, state: &mut Recovered, first: u64) -> Result<(), LedgerError> {
        let open = state.registry.sources.values().filter(|source| !source.closed);
        let mut at = open.map(|source| source.counted_to).min().unwrap_or(first);
        while at < first {
            let end = first.min(at + SUBTREE);
            for entry in state.files.read_entries(at, end)? {
                if entry.kind == EntryKind::Event as u8 {
                    state.registry.event(&entry);
                }
            }
            at = end;
        }
        if let Some(last) = first.checked_sub(1) {
            state.last_time = state.files.read_entries(last, first)?.first().map_or(0, |entry| entry.time_ns);
        }
        Ok(())
    }

    /// Removes static files' content at and above `first`: the replay writes it anew.
    fn trim_static(&self, state: &mut Recovered, first: u64) -> Result<(), LedgerError> {
        state.files.create_dirs()?;
        state.meta.create_dirs()?;
        for name in state.meta.files()? {
            let start = name.parse::<u64>().map_or(0, |subtree| subtree.saturating_mul(SUBTREE));
            if start > first && name == subtree_name(start) {
                let path = state.meta.path(start);
                std::fs::remove_file(&path).map_err(|error| LedgerError::io("remove", &path, error))?;
            }
        }
        (state.meta_len, _) = state.meta.keep_below(first)?;
        Ok(())
    }

    fn replay_file(
        &self,
        state: &mut Recovered,
        number: u64,
        is_first: bool,
    ) -> Result<FileEnd, LedgerError> {
        let path = file_path(&self.dir.join("wal"), number);
        let (file, header) = open_header(&path)?;
        let bytes = file.metadata().map_err(|error| LedgerError::io("stat", &path, error))?.len();
        let tampered =
            |what: &str| LedgerError::Tampered { file: path.clone(), offset: 0, what: what.to_owned() };
        if header.file != number || header.origin != self.origin_digest {
            return Err(tampered("header belongs to another file or another ledger"));
        }
        if !is_first && state.wal.last().is_some_and(|last| last.number + 1 != number) {
            return Err(tampered("a file before this one is missing"));
        }
        if header.first != state.tree.size() {
            return Err(tampered("does not continue where the file before it ends"));
        }
        if !is_first && header.previous_mac != state.last_mac {
            return Err(tampered("mac chain is broken between two files"));
        }
        let key = self.vault.wal_key(number).ok_or_else(|| {
            LedgerError::corrupt(
                &self.dir.join("keys/wal"),
                0,
                format!("no usable key record for WAL file {number}"),
            )
        })?;
        let mut cursor = FileCursor::new(&path, file, header, &key)?;
        let mut places = Vec::new();
        let mut closed = false;
        let torn = loop {
            let previous = cursor.mac;
            match cursor.step()? {
                Step::End => break None,
                Step::Bad(what) => break Some(what),
                Step::Frame(offset, frame) => {
                    closed = frame.head.kind == FrameKind::Close;
                    let place =
                        FramePlace { first: frame.head.first, offset, number: frame.head.number, previous };
                    if self.frame(state, &path, offset, &frame)? {
                        places.push(place);
                    }
                }
            }
        };
        let tail = cursor.tail()?;
        state.last_mac = cursor.mac;
        state.wal.push(WalFile { number, first: header.first, bytes, places });
        Ok(FileEnd {
            path,
            offset: cursor.offset,
            torn,
            nonzero: tail.nonzero,
            frame_after: tail.frame,
            closed,
        })
    }

    /// Takes in one good frame; `true` for a batch.
    fn frame(
        &self,
        state: &mut Recovered,
        path: &Path,
        offset: u64,
        frame: &OpenFrame,
    ) -> Result<bool, LedgerError> {
        let size = state.tree.size();
        let tampered =
            |what: &str| LedgerError::Tampered { file: path.to_owned(), offset, what: what.to_owned() };
        if frame.head.first != size {
            return Err(tampered("frame does not continue the log"));
        }
        match frame.head.kind {
            FrameKind::Batch => {
                let records = parse_batch(&frame.plain, frame.head.count).map_err(tampered)?;
                let entries: Vec<Entry> = records.iter().map(|record| record.entry).collect();
                let mut bodies: Vec<(u64, Arc<[u8]>)> = Vec::new();
                for (record, index) in records.iter().zip(size..) {
                    if record.entry.kind == EntryKind::Event as u8 {
                        state.registry.event(&record.entry);
                        continue;
                    }
                    if body_commitment(record.content) != record.entry.commitment {
                        return Err(tampered("body does not match its commitment"));
                    }
                    state.own_seq = state.own_seq.max(record.entry.source_seq);
                    state.registry.body(index, &record.entry, record.content);
                    bodies.push((index, record.content.into()));
                }
                state.last_time = entries.last().map_or(state.last_time, |entry| entry.time_ns);
                state.report.replayed += entries.len() as u64;
                self.store(state, size, &entries, bodies)?;
                Ok(true)
            }
            FrameKind::Checkpoint => {
                let head = open_note(&frame.plain, self.verifier).map_err(|what| tampered(&what))?;
                if head.size > size {
                    return Err(tampered("checkpoint is ahead of the log"));
                }
                state.checkpoint = Some(head);
                Ok(false)
            }
            FrameKind::Close | FrameKind::Seal => Ok(false),
        }
    }

    /// Puts replayed entries where readers find them, and counts what was not there before.
    fn store(
        &self,
        state: &mut Recovered,
        first: u64,
        entries: &[Entry],
        bodies: Vec<(u64, Arc<[u8]>)>,
    ) -> Result<(), LedgerError> {
        let completed = state.tree.append(&leaf_hashes(entries));
        if let Some(overlay) = &mut state.files.overlay {
            overlay.entries.extend_from_slice(entries);
            overlay.bodies.extend(bodies);
            return Ok(());
        }
        let end = first + entries.len() as u64;
        if state.files.read_entries(first, end)? != entries {
            state.report.rebuilt += 1;
            state.files.write_entries(first, entries)?;
        }
        // A batch lies in one subtree; a new subtree begins a new file of bodies.
        if first.is_multiple_of(SUBTREE) {
            state.meta_len = 0;
        }
        state.meta_len = state.meta.append(&bodies, state.meta_len)?;
        for (level, index, hash) in completed {
            match level {
                8 => state.files.write_node(index, &hash)?,
                _ => state.files.write_subtree(index, &hash)?,
            }
        }
        Ok(())
    }

    /// Torn write, corruption or a clean end; cuts only what was never signed.
    fn judge_tail(&self, state: &mut Recovered, end: &FileEnd) -> Result<(), LedgerError> {
        if end.torn.is_none() && end.nonzero.is_none() {
            return Ok(());
        }
        let what = end.torn.unwrap_or("bytes after the end of the log");
        let size = state.tree.size();
        let signed = self.signed_size(state);
        let corrupt = |what: String| LedgerError::Corrupt {
            file: end.path.clone(),
            offset: end.offset,
            index: Some(size),
            what,
        };
        if let Some(frame) = end.frame_after {
            return Err(corrupt(format!("{what}, and a whole frame follows at byte {frame}")));
        }
        if size < signed {
            return Err(corrupt(format!("{what}, below the signed size {signed}")));
        }
        let len =
            std::fs::metadata(&end.path).map_err(|error| LedgerError::io("stat", &end.path, error))?.len();
        let name = end.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let last = end.nonzero.unwrap_or(end.offset);
        state.report.cut_bytes = len.saturating_sub(end.offset.min(last));
        state.report.cut_at = Some((format!("wal/{name}"), end.offset));
        if self.write {
            tracing::warn!(file = %name, offset = end.offset, "torn write cut; nothing in it was acknowledged");
            cut(self.disk.as_ref(), &end.path, end.offset)?;
        }
        Ok(())
    }

    fn signed_size(&self, state: &Recovered) -> u64 {
        self.signer.size.max(state.checkpoint.as_ref().map_or(0, |head| head.size))
    }

    fn checkpoint_file(&self) -> Result<Option<Checkpoint>, LedgerError> {
        let path = self.dir.join("log/checkpoint");
        let Some(bytes) = crate::disk::read_bounded(&path, NOTE_MAX as u64)? else { return Ok(None) };
        open_note(&bytes, self.verifier).map(Some).map_err(|what| LedgerError::corrupt(&path, 0, what))
    }

    /// The tree must be the signed one at every signed size we know; static leftovers above it go.
    fn settle(&self, state: &mut Recovered, file: Option<Checkpoint>) -> Result<(), LedgerError> {
        let size = state.tree.size();
        let newest = [state.checkpoint.take(), file].into_iter().flatten().max_by_key(|head| head.size);
        let mut heads: Vec<(u64, Hash)> = vec![(self.signer.size, self.signer.root)];
        heads.extend(newest.iter().map(|head| (head.size, head.root)));
        let signed = heads.iter().map(|(size, _)| *size).max().unwrap_or(0);
        (state.report.size, state.report.signed) = (size, signed);
        if size < signed {
            let what = format!("the log holds {size} leaves: the end was lost, or an old copy was restored");
            return Err(LedgerError::Fork { signed, what });
        }
        if self.check_roots(state, &heads).is_err() {
            tracing::warn!("stored tiles do not lead to the signed root; recomputing the tree from entries");
            state.tree = Tree::rebuild(size, &state.files)?;
            state.report.rebuilt += 1;
            self.check_roots(state, &heads)?;
        }
        state.checkpoint = newest;
        if self.write {
            self.drop_above(state, size)?;
        }
        Ok(())
    }

    fn check_roots(&self, state: &Recovered, heads: &[(u64, Hash)]) -> Result<(), LedgerError> {
        for (signed, root) in heads.iter().filter(|(signed, _)| *signed > 0) {
            let reader = TreeReader::new(&state.tree, &state.files);
            let ours = tree_root(*signed, &reader).map_err(|error| reader.explain(error))?;
            if ours != *root {
                let what = "the tree has another root at that size".to_owned();
                return Err(LedgerError::Fork { signed: *signed, what });
            }
        }
        Ok(())
    }

    /// Cuts static files to `size` leaves: what lay above came from frames that were cut.
    fn drop_above(&self, state: &Recovered, size: u64) -> Result<(), LedgerError> {
        let shrink = |path: &Path, length: u64| -> Result<(), LedgerError> {
            match std::fs::metadata(path) {
                Ok(meta) if meta.len() > length => cut(self.disk.as_ref(), path, length),
                _ => Ok(()),
            }
        };
        let inside = size % SUBTREE;
        shrink(&state.files.entries_path(size), inside * BUNDLE_ENTRY)?;
        shrink(&state.files.nodes_path(size), inside / 256 * 32)?;
        shrink(&state.files.subtrees_path(), size / SUBTREE * 32)?;
        let current = subtree_name(size);
        let log = self.dir.join("log");
        for (dir, names) in [("entries", state.files.entry_files()?), ("nodes", state.files.node_files()?)] {
            for name in names.iter().filter(|name| **name > current) {
                let path = log.join(dir).join(name);
                std::fs::remove_file(&path).map_err(|error| LedgerError::io("remove", &path, error))?;
            }
        }
        Ok(())
    }
}

/// A file that another one follows must end cleanly.
fn must_be_clean(end: &FileEnd, size: u64) -> Result<(), LedgerError> {
    if end.torn.is_none() && end.nonzero.is_none() {
        return Ok(());
    }
    Err(LedgerError::Corrupt {
        file: end.path.clone(),
        offset: end.offset,
        index: Some(size),
        what: end.torn.unwrap_or("bytes after the end of a finished file").to_owned(),
    })
}

/// Reads a signed note and checks it by the log's key.
pub(crate) fn open_note(bytes: &[u8], verifier: &VerifierKey) -> Result<Checkpoint, String> {
    let head = countersign_proof::Checkpoint::open(bytes, std::slice::from_ref(verifier))
        .map_err(|error| error.to_string())?;
    let note = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?.to_owned();
    Ok(Checkpoint { size: head.size, root: head.root, note })
}
