//! The checks in order: keys, signer, entries and tiles, write-ahead log, checkpoints, bodies, the rest.

use super::contents::OwnEntries;
use super::{FindingClass, FsckProgress, FsckReport, SegmentRows, class_of};
use crate::check::{range_subtrees, segment_key};
use crate::disk::{RealDisk, list, read_bounded};
use crate::keys::slot::SLOT_LEN;
use crate::keys::{Kek, Vault};
use crate::limits::SUBTREE;
use crate::log::files::LogFiles;
use crate::log::meta::MetaFiles;
use crate::log::tree::{Tree, TreeReader, leaf_hashes};
use crate::log::{BUNDLE_ENTRY, TILE};
use crate::open::read_origin;
use crate::recovery::open_note;
use crate::registry::Registry;
use crate::salts::Salts;
use crate::signer::inspect;
use crate::wal::frame::{FrameKind, OpenFrame};
use crate::wal::header::sha256;
use crate::wal::payload::parse_batch;
use crate::wal::reader::{FileCursor, Step, open_header};
use crate::wal::{file_number, file_numbers, file_path};
use crate::{LedgerError, SignerStatus};
use countersign_event::commit::{body_commitment, event_commitment};
use countersign_event::{ENTRY_LEN, Entry, EntryKind, Event, Frame};
use countersign_proof::{Hash, VerifierKey, tree_root};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Exit codes of findings.
pub(super) const MISSING: u8 = 1;
pub(super) const INTEGRITY: u8 = 3;

pub(super) struct Walk<'a> {
    pub(super) dir: PathBuf,
    kek: Kek,
    pub(super) segments: &'a dyn SegmentRows,
    progress: &'a mut dyn FnMut(FsckProgress),
    pub(super) report: FsckReport,
    pub(super) files: LogFiles,
    pub(super) meta: MetaFiles,
    pub(super) registry: Registry,
    pub(super) own: OwnEntries,
    pub(super) tree: Tree,
    /// Roots at the sizes where batches ended.
    roots: BTreeMap<u64, Hash>,
    /// Digests of notes by size, from CHECKPOINT frames.
    notes: BTreeMap<u64, [u8; 32]>,
    /// First leaf that the write-ahead log holds.
    pub(super) wal_first: u64,
    pub(super) live: bool,
}

/// What is needed to read the rest.
pub(super) struct Opened {
    pub(super) origin: [u8; 32],
    pub(super) vault: Vault,
    verifier: VerifierKey,
    signer: SignerStatus,
    salts: BTreeMap<u64, Salts>,
    firsts: Vec<u64>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        dir: &Path,
        kek: Kek,
        segments: &'a dyn SegmentRows,
        progress: &'a mut dyn FnMut(FsckProgress),
    ) -> Walk<'a> {
        let disk = Arc::new(RealDisk);
        Walk {
            dir: dir.to_owned(),
            kek,
            segments,
            progress,
            report: FsckReport::default(),
            files: LogFiles::new(&dir.join("log"), disk.clone()),
            meta: MetaFiles::new(&dir.join("meta"), disk),
            registry: Registry::new(),
            own: OwnEntries::default(),
            tree: Tree::default(),
            roots: BTreeMap::new(),
            notes: BTreeMap::new(),
            wal_first: 0,
            live: false,
        }
    }

    /// The check could not go on.
    pub(super) fn stopped_by(&mut self, error: &LedgerError) {
        let (class, file) = (class_of(error), self.file_of(error));
        self.report.add(class, file, error.exit_code(), error.to_string());
        self.report.not_checked.push("everything after the last finding".to_owned());
    }

    fn file_of(&self, error: &LedgerError) -> String {
        match error {
            LedgerError::Corrupt { file, .. }
            | LedgerError::Tampered { file, .. }
            | LedgerError::Io { path: file, .. }
            | LedgerError::Kek { path: file, .. } => self.relative(file),
            _ => String::new(),
        }
    }

    pub(super) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.dir).unwrap_or(path).display().to_string()
    }

    pub(super) fn tell(&mut self, stage: &'static str, done: u64, total: u64) {
        (self.progress)(FsckProgress { stage, done, total });
    }

    pub(super) fn run(&mut self) -> Result<(), LedgerError> {
        self.live = self.has_writer();
        // Before the log: beside a writer, what was signed must not be newer than what is read.
        let note = read_bounded(&self.files.checkpoint_path(), 128 << 10)?;
        let opened = self.open()?;
        self.strays();
        self.sources();
        self.static_log()?;
        self.write_ahead_log(&opened)?;
        (self.report.size, self.report.root) = (self.tree.size(), self.tree.root());
        self.signed(&opened, note.as_deref());
        self.surplus()?;
        self.bodies()?;
        self.sealed(&opened)
    }

    fn has_writer(&self) -> bool {
        let Ok(file) = std::fs::File::open(self.dir.join("ledger.lock")) else { return false };
        let writer = flock(&file, FlockOperation::NonBlockingLockShared).is_err();
        crate::open::release_lock(&file);
        writer
    }

    fn open(&mut self) -> Result<Opened, LedgerError> {
        let origin = read_origin(&self.dir)?;
        let digest = sha256(origin.as_bytes());
        let first = list(&self.dir.join("wal"))?.iter().filter_map(|name| file_number(name)).min();
        if let Some(number) = first
            && let Ok((_, header)) = open_header(&file_path(&self.dir.join("wal"), number))
            && header.origin != digest
        {
            let file = self.dir.join("origin");
            return Err(LedgerError::corrupt(&file, 0, "is not the origin that the write-ahead log names"));
        }
        let vault = Vault::open(&self.dir.join("keys"), &self.kek, Arc::new(RealDisk))?;
        for bad in &vault.bad {
            let what = format!("key record {} is damaged; what it opens is unreadable", bad.id);
            let finding = self.report.add(FindingClass::Keys, format!("keys/{}", bad.file), INTEGRITY, what);
            finding.offset = Some(bad.offset);
        }
        for (name, most) in [("epoch", 2), ("tenant", 1), ("wal", u64::MAX), ("parts", u64::MAX)] {
            let path = self.dir.join("keys").join(name);
            let len = std::fs::metadata(&path).map_err(|error| LedgerError::io("stat", &path, error))?.len();
            if len % SLOT_LEN as u64 != 0 || len / SLOT_LEN as u64 > most {
                let finding = self.report.add(
                    FindingClass::Keys,
                    format!("keys/{name}"),
                    MISSING,
                    "ends in a cut record",
                );
                finding.offset = Some(len - len % SLOT_LEN as u64);
            }
        }
        let (verifier, signer, both) = inspect(&self.dir.join("signer"), &self.kek, &origin)?;
        if !both {
            let what =
                "one of the two copies of the signer's memory is damaged; the next signature replaces it";
            self.report.add(FindingClass::Signer, "signer/state", INTEGRITY, what);
        }
        let firsts = vault.part_firsts();
        Ok(Opened { origin: digest, vault, verifier, signer, salts: BTreeMap::new(), firsts })
    }

    /// Entries and tiles below the write-ahead log, which are the only copy there.
    fn static_log(&mut self) -> Result<(), LedgerError> {
        let wal_dir = self.dir.join("wal");
        let (numbers, unborn) = file_numbers(&wal_dir)?;
        if let Some(number) = unborn {
            let file = self.relative(&file_path(&wal_dir, number));
            let what = "was being created when the process died; a start removes it";
            self.report.add(FindingClass::TornTail, file, MISSING, what);
        }
        self.wal_first = match numbers.first() {
            Some(number) => open_header(&file_path(&wal_dir, *number))?.1.first,
            None if unborn.is_some() && self.files.entry_files()?.is_empty() => 0,
            None => return Err(LedgerError::corrupt(&wal_dir, 0, "holds no file")),
        };
        let mut at = 0;
        while at < self.wal_first {
            self.tell("entries", at, self.wal_first);
            let end = self.wal_first.min(at + SUBTREE);
            let entries = self.files.read_entries(at, end)?;
            if (entries.len() as u64) < end - at {
                let index = at + entries.len() as u64;
                return Err(LedgerError::Corrupt {
                    file: self.files.entries_path(index),
                    offset: index % SUBTREE * BUNDLE_ENTRY,
                    index: Some(index),
                    what: "entry is missing or malformed".to_owned(),
                });
            }
            self.report.bytes += entries.len() as u64 * BUNDLE_ENTRY;
            self.own.add(at, &entries);
            self.grow(at, &entries, true)?;
            at = end;
        }
        Ok(())
    }

    /// Adds leaves; the tiles they complete must be the stored ones.
    fn grow(&mut self, first: u64, entries: &[Entry], must_exist: bool) -> Result<(), LedgerError> {
        let completed = self.tree.append(&leaf_hashes(entries));
        self.roots.insert(self.tree.size(), self.tree.root());
        if completed.is_empty() {
            return Ok(());
        }
        let nodes = self.files.read_nodes(first)?;
        let top = completed.iter().any(|(level, ..)| *level == 16);
        let subtrees = if top { self.files.read_subtrees(u64::MAX)? } else { Vec::new() };
        for (level, index, hash) in completed {
            let (stored, path, offset, leaf) = match level {
                8 => (
                    nodes.get((index % TILE) as usize),
                    self.files.nodes_path(index * TILE),
                    index % TILE * 32,
                    index * TILE,
                ),
                _ => (subtrees.get(index as usize), self.files.subtrees_path(), index * 32, index * SUBTREE),
            };
            let what = match stored {
                Some(stored) if *stored == hash => continue,
                Some(_) => "tile is not the one its entries give; a start rebuilds it",
                None if must_exist => "tile is missing; a start rebuilds it",
                None => continue,
            };
            // Below the write-ahead log either side may be the damaged one; the signed root, checked later,
            // tells: with good entries it still comes out.
            if level == 8 && leaf < self.wal_first {
                let file = self.relative(&self.files.entries_path(leaf));
                let what =
                    "entries of this bundle and their tile disagree; see whether the signed root is met";
                let finding = self.report.add(FindingClass::Entries, file, INTEGRITY, what);
                finding.offset = Some(leaf % SUBTREE * BUNDLE_ENTRY);
                finding.index = Some(leaf);
            }
            let file = self.relative(&path);
            let finding = self.report.add(FindingClass::Tiles, file, INTEGRITY, what);
            (finding.offset, finding.index) = (Some(offset), Some(leaf));
        }
        Ok(())
    }

    fn write_ahead_log(&mut self, opened: &Opened) -> Result<(), LedgerError> {
        let dir = self.dir.join("wal");
        let (numbers, _) = file_numbers(&dir)?;
        let mut salts = opened.salts.clone();
        let mut mac = None;
        for (at, number) in numbers.iter().enumerate() {
            self.tell("wal", at as u64, numbers.len() as u64);
            let is_last = at + 1 == numbers.len();
            if at > 0 && numbers.get(at - 1).is_some_and(|before| before + 1 != *number) {
                let what = "a file before this one is missing".to_owned();
                return Err(LedgerError::Tampered { file: file_path(&dir, *number), offset: 0, what });
            }
            mac = Some(self.wal_file(opened, &mut salts, *number, mac, is_last)?);
        }
        Ok(())
    }

    fn wal_file(
        &mut self,
        opened: &Opened,
        salts: &mut BTreeMap<u64, Salts>,
        number: u64,
        mac: Option<[u8; 32]>,
        is_last: bool,
    ) -> Result<[u8; 32], LedgerError> {
        let path = file_path(&self.dir.join("wal"), number);
        let (file, header) = open_header(&path)?;
        let tampered =
            |what: &str| LedgerError::Tampered { file: path.clone(), offset: 0, what: what.to_owned() };
        if header.file != number || header.origin != opened.origin || header.first != self.tree.size() {
            return Err(tampered("header belongs to another file, another ledger or another place"));
        }
        if mac.is_some_and(|mac| mac != header.previous_mac) {
            return Err(tampered("mac chain is broken between two files"));
        }
        let key = opened.vault.wal_key(number).ok_or_else(|| {
            LedgerError::corrupt(
                &self.dir.join("keys/wal"),
                0,
                format!("no usable key record for WAL file {number}"),
            )
        })?;
        let mut cursor = FileCursor::new(&path, file, header, &key)?;
        let torn = loop {
            match cursor.step()? {
                Step::Frame(offset, frame) => self.frame(opened, salts, &path, offset, &frame)?,
                Step::End => break None,
                Step::Bad(what) => break Some(what),
            }
        };
        self.report.bytes += cursor.offset;
        self.wal_tail(opened, &cursor, torn, is_last)?;
        Ok(cursor.mac)
    }

    fn wal_tail(
        &mut self,
        opened: &Opened,
        cursor: &FileCursor,
        torn: Option<&'static str>,
        is_last: bool,
    ) -> Result<(), LedgerError> {
        let tail = cursor.tail()?;
        let Some(nonzero) = tail.nonzero else { return Ok(()) };
        if is_last && self.live {
            self.report.not_checked.push("the end of the write-ahead log: a writer is running".to_owned());
            return Ok(());
        }
        let size = self.tree.size();
        let (class, code, what, offset) = match (torn, tail.frame) {
            (Some(what), Some(_)) => {
                (FindingClass::Wal, INTEGRITY, format!("{what}, and a whole frame follows"), cursor.offset)
            }
            (Some(what), None) if !is_last || size < opened.signer.size => (
                FindingClass::Wal,
                INTEGRITY,
                format!("{what}, below what was signed or continued"),
                cursor.offset,
            ),
            (Some(what), None) => (
                FindingClass::TornTail,
                MISSING,
                format!("{what}; a start cuts it, nothing in it was acknowledged"),
                cursor.offset,
            ),
            (None, _) => (
                FindingClass::UnusedTail,
                INTEGRITY,
                "bytes after the end of the log are not zero".to_owned(),
                nonzero,
            ),
        };
        let file = self.relative(cursor.path());
        let finding = self.report.add(class, file, code, what);
        (finding.offset, finding.index) = (Some(offset), Some(size));
        Ok(())
    }

    fn frame(
        &mut self,
        opened: &Opened,
        salts: &mut BTreeMap<u64, Salts>,
        path: &Path,
        offset: u64,
        frame: &OpenFrame,
    ) -> Result<(), LedgerError> {
        let tampered =
            |what: &str| LedgerError::Tampered { file: path.to_owned(), offset, what: what.to_owned() };
        let first = self.tree.size();
        self.report.frames += 1;
        if frame.head.first != first {
            return Err(tampered("frame does not continue the log"));
        }
        match frame.head.kind {
            FrameKind::Close | FrameKind::Seal => return Ok(()),
            FrameKind::Checkpoint => {
                let head = open_note(&frame.plain, &opened.verifier).map_err(|what| tampered(&what))?;
                self.notes.insert(head.size, sha256(&frame.plain));
                return self.head_matches(head.size, &head.root, &self.relative(path));
            }
            FrameKind::Batch => {}
        }
        let records = parse_batch(&frame.plain, frame.head.count).map_err(tampered)?;
        let mut entries = Vec::with_capacity(records.len());
        for (record, index) in records.iter().zip(first..) {
            let entry = record.entry;
            let good = if entry.kind == EntryKind::Event as u8 {
                self.report.commitments += 1;
                event_matches(opened, salts, index, &entry, record.content)
            } else {
                self.registry.body(index, &entry, record.content);
                body_commitment(record.content) == entry.commitment
            };
            if !good {
                let file = self.relative(path);
                let finding =
                    self.report.add(FindingClass::Wal, file, INTEGRITY, "content is not what was committed");
                (finding.offset, finding.index) = (Some(offset), Some(index));
            }
            entries.push(entry);
        }
        self.own.add(first, &entries);
        self.compare_entries(first, &entries)?;
        self.grow(first, &entries, false)
    }

    /// Bundles above the start of the write-ahead log may lag behind it, but not differ.
    fn compare_entries(&mut self, first: u64, entries: &[Entry]) -> Result<(), LedgerError> {
        let end = first + entries.len() as u64;
        let stored = self.files.read_bundle_bytes(first, end)?;
        let mut expected = Vec::with_capacity(stored.len());
        for entry in entries {
            expected.extend_from_slice(&(ENTRY_LEN as u16).to_be_bytes());
            expected.extend_from_slice(&entry.to_bytes());
        }
        let same = stored.iter().zip(&expected).position(|(a, b)| a != b);
        if let Some(at) = same {
            let file = self.relative(&self.files.entries_path(first));
            let what = "entry is not the one in the write-ahead log; a start rewrites it";
            let finding = self.report.add(FindingClass::Entries, file, INTEGRITY, what);
            finding.offset = Some(first % SUBTREE * BUNDLE_ENTRY + at as u64);
            finding.index = Some(first + at as u64 / BUNDLE_ENTRY);
        }
        Ok(())
    }

    fn head_matches(&mut self, size: u64, root: &Hash, file: &str) -> Result<(), LedgerError> {
        let ours = match self.roots.get(&size) {
            Some(root) => Some(*root),
            None if size <= self.wal_first => {
                let reader = TreeReader::new(&self.tree, &self.files);
                Some(tree_root(size, &reader).map_err(|error| reader.explain(error))?)
            }
            None => None,
        };
        if ours != Some(*root) {
            let what = format!("the log does not have the root that was signed at size {size}");
            self.report.add(FindingClass::Fork, file, INTEGRITY, what).index = Some(size);
        }
        Ok(())
    }

    /// The signer's memory and the `checkpoint` file against the tree and the frames.
    fn signed(&mut self, opened: &Opened, note: Option<&[u8]>) {
        let SignerStatus { size, root, .. } = opened.signer;
        self.report.signed_size = size;
        if size > 0
            && let Err(error) = self.head_matches(size, &root, "signer/state")
        {
            self.stopped_by(&error);
        }
        let file = "log/checkpoint";
        let Some(note) = note else {
            if size > 0 {
                self.report.add(
                    FindingClass::Checkpoint,
                    file,
                    MISSING,
                    "is missing; a start writes it anew",
                );
            }
            return;
        };
        let head = match open_note(note, &opened.verifier) {
            Ok(head) => head,
            Err(what) => {
                self.report.add(FindingClass::Checkpoint, file, INTEGRITY, what);
                return;
            }
        };
        if let Err(error) = self.head_matches(head.size, &head.root, file) {
            self.stopped_by(&error);
        }
        if self.notes.get(&head.size).is_some_and(|digest| *digest != sha256(note)) {
            let what = "is not the note that the write-ahead log holds for its size";
            self.report.add(FindingClass::Checkpoint, file, INTEGRITY, what);
        }
        self.report.signed_size = size.max(head.size);
    }

    /// The log's own root over `first..end` as a manifest lists it.
    pub(super) fn roots_of(&self, first: u64, end: u64) -> Option<Vec<Hash>> {
        use countersign_proof::HashReader;
        let reader = TreeReader::new(&self.tree, &self.files);
        range_subtrees(first, end).into_iter().map(|(level, index)| reader.read_hash(level, index)).collect()
    }

    pub(super) fn key_of(&self, opened: &Opened, first: u64) -> Option<(crate::SegmentKey, Salts, [u8; 32])> {
        let key = opened.vault.part(first)?;
        Some((segment_key(&opened.origin, first, key), key.salts(), key.check()))
    }
}

/// Whether an event's frame is canonical and leads to its commitment under its part's salts.
fn event_matches(
    opened: &Opened,
    salts: &mut BTreeMap<u64, Salts>,
    index: u64,
    entry: &Entry,
    content: &[u8],
) -> bool {
    let at = opened.firsts.partition_point(|first| *first <= index);
    let Some(first) = at.checked_sub(1).and_then(|at| opened.firsts.get(at)).copied() else { return false };
    let Some(key) = opened.vault.part(first) else {
        // A lost key record is reported once, with the ring; without it nothing can be said here.
        return true;
    };
    let salts = salts.entry(first).or_insert_with(|| key.salts());
    let Ok(frame) = Frame::from_bytes(content) else { return false };
    let canonical = Event::decode(&frame).is_ok_and(|event| event.core.seq == entry.source_seq);
    canonical && event_commitment(&salts.of_row(index - first), &frame.groups.each()) == entry.commitment
}
