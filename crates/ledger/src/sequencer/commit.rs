//! Steps 2 and 3: append, fdatasync, make readable, acknowledge. One thread; nobody else writes the log.
//!
//! A failed write or sync poisons the writer: the file is read back from the disk, cut after its last
//! synced frame, and the same batch goes to a new file. A failure while handling that stops the ledger.

use super::Prepared;
use crate::core::{Core, WalFile, lock};
use crate::disk::sync_dir;
use crate::limits::SUBTREE;
use crate::log::tree::Completed;
use crate::source::EVENT_COST;
use crate::wal::frame::{FRAME_HEAD, FrameContent, FrameKind, MAC_LEN, TAG_LEN};
use crate::wal::header::Header;
use crate::wal::writer::WalWriter;
use crate::{Batch, LedgerError, Payload};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};

/// The single writer.
pub(crate) struct Committer {
    core: Arc<Core>,
    writer: WalWriter,
    size: u64,
    /// Length of the newest file of bodies, and which subtree it belongs to.
    meta: (u64, u64),
}

impl Committer {
    /// Opens the next file of the write-ahead log.
    pub(crate) fn new(
        core: Arc<Core>,
        number: u64,
        size: u64,
        previous_mac: [u8; 32],
        meta_len: u64,
    ) -> Result<Committer, LedgerError> {
        let writer = new_file(&core, number, size, previous_mac)?;
        // At a border the next body begins a new file.
        let meta_len = if size.is_multiple_of(SUBTREE) { 0 } else { meta_len };
        Ok(Committer { core, writer, size, meta: (size / SUBTREE, meta_len) })
    }

    pub(crate) fn run(mut self, input: &Receiver<Prepared>) {
        while let Ok(mut batch) = input.recv() {
            if self.core.is_stopped() {
                batch.fail(&self.core.stopped_error());
            } else if let Err(error) = self.commit(&mut batch) {
                self.core.stop(&error);
                batch.fail(&self.core.stopped_error());
            }
            // An urgent batch may wait for this moment.
            if self.core.committing.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.core.intake.wake();
            }
        }
        *lock(&self.core.publisher) = true;
        self.core.publisher_news.notify_all();
        self.core.feed.end();
    }

    /// Makes a batch durable and readable, then acknowledges it. On an error nothing of it was acknowledged.
    fn commit(&mut self, batch: &mut Prepared) -> Result<(), LedgerError> {
        if let Err(error) = self.write(batch) {
            tracing::error!(%error, "write-ahead log poisoned; continuing in a new file");
            self.core.counters.poisoned.fetch_add(1, Ordering::Relaxed);
            self.recover(&error)?;
            self.write(batch)?;
        }
        self.settle(batch.first, &batch.records, &batch.leaves)?;
        for (source, count, last) in &batch.sent {
            source.sent.fetch_add(*count, Ordering::AcqRel);
            source.last_seq.fetch_max(*last, Ordering::AcqRel);
        }
        let count = batch.records.len() as u64;
        self.core.counters.batches.fetch_add(1, Ordering::Relaxed);
        self.core.counters.entries.fetch_add(count, Ordering::Relaxed);
        self.size = batch.first + count;
        if count > 0 {
            let bytes = batch.payload.len() + batch.records.len() * EVENT_COST;
            let records = std::mem::take(&mut batch.records);
            self.core.size.store(self.size, Ordering::Release);
            let shared = Arc::new(Batch { first: batch.first, records });
            self.core.feed.push(shared, bytes, self.core.limits.feed_bytes);
        }
        for (done, ack) in batch.acks.drain(..) {
            done(Ok(ack));
        }
        self.core.publisher_news.notify_all();
        Ok(())
    }

    /// Stages the batch's frames and makes them durable.
    fn write(&mut self, batch: &Prepared) -> Result<(), LedgerError> {
        let note = batch.note.as_ref().map_or(0, String::len);
        let overhead = 3 * (FRAME_HEAD + MAC_LEN + TAG_LEN + 8);
        if !self.writer.has_room(batch.payload.len() + note + overhead) {
            self.rotate()?;
        }
        let next = batch.first + batch.records.len() as u64;
        if !batch.records.is_empty() {
            self.writer.stage(FrameContent {
                kind: FrameKind::Batch,
                count: batch.records.len() as u32,
                first: batch.first,
                plain: &batch.payload,
            })?;
        }
        if let Some(note) = &batch.note {
            let content =
                FrameContent { kind: FrameKind::Checkpoint, count: 0, first: next, plain: note.as_bytes() };
            self.writer.stage(content)?;
        }
        if batch.close {
            self.writer.stage(FrameContent { kind: FrameKind::Close, count: 0, first: next, plain: b"" })?;
        }
        let (places, took) = self.writer.commit()?;
        self.core.counters.fsync(took);
        let mut wal = lock(&self.core.wal);
        if let Some(file) = wal.last_mut() {
            file.places.extend(places);
            file.bytes = file.bytes.max(self.writer.synced().offset);
        }
        Ok(())
    }

    /// Goes on in the next file.
    fn rotate(&mut self) -> Result<(), LedgerError> {
        let mac = self.writer.synced().mac;
        self.writer = new_file(&self.core, self.writer.number() + 1, self.size, mac)?;
        Ok(())
    }

    /// After a failed write or sync: never again the same file, never a second fsync of the same pages.
    fn recover(&mut self, error: &LedgerError) -> Result<(), LedgerError> {
        if error.is_disk_full() {
            release_reserve(&self.core)?;
        }
        let (mut number, synced) = (self.writer.number(), self.writer.synced());
        // The poisoned writer is only read and cut from here on; a fresh one must replace it at once.
        let fresh = |number, mac| new_file(&self.core, number, self.size, mac);
        number += 1;
        // A file that was being created when the failure came was never used: take its place.
        let unused = crate::wal::file_path(&self.core.wal_dir(), number);
        if unused.exists() {
            std::fs::remove_file(&unused).map_err(|error| LedgerError::io("remove", &unused, error))?;
            sync_dir(&self.core.wal_dir())?;
        }
        self.writer.verify_and_cut()?;
        self.writer = fresh(number, synced.mac)?;
        Ok(())
    }

    /// Makes a durable batch readable: entries, bodies, tree, sources.
    fn settle(
        &mut self,
        first: u64,
        records: &[crate::Committed],
        leaves: &[countersign_proof::Hash],
    ) -> Result<(), LedgerError> {
        if records.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.store(first, records) {
            if !error.is_disk_full() {
                return Err(error);
            }
            release_reserve(&self.core)?;
            self.store(first, records)?;
        }
        let completed = self.core.tree.write().unwrap_or_else(PoisonError::into_inner).append(leaves);
        self.store_tiles(&completed)?;
        let mut registry = lock(&self.core.registry);
        let mut last: Option<&countersign_event::Entry> = None;
        for record in records {
            match &record.payload {
                Payload::Body(body) => registry.body(record.index, &record.entry, body),
                Payload::Event { .. } => {
                    // One look-up for a run of events of the same source.
                    if let Some(entry) = last.filter(|entry| entry.source_ref != record.entry.source_ref) {
                        registry.event(entry);
                    }
                    last = Some(&record.entry);
                }
            }
        }
        if let Some(entry) = last {
            registry.event(entry);
        }
        Ok(())
    }

    fn store(&mut self, first: u64, records: &[crate::Committed]) -> Result<(), LedgerError> {
        let entries: Vec<_> = records.iter().map(|record| record.entry).collect();
        self.core.files.write_entries(first, &entries)?;
        let bodies: Vec<(u64, Arc<[u8]>)> = records
            .iter()
            .filter_map(|record| match &record.payload {
                Payload::Body(body) => Some((record.index, body.clone())),
                Payload::Event { .. } => None,
            })
            .collect();
        let subtree = first / SUBTREE;
        let length = if self.meta.0 == subtree { self.meta.1 } else { 0 };
        self.meta = (subtree, self.core.meta.append(&bodies, length)?);
        Ok(())
    }

    fn store_tiles(&self, completed: &Completed) -> Result<(), LedgerError> {
        for (level, index, hash) in completed {
            match level {
                8 => self.core.files.write_node(*index, hash)?,
                _ => self.core.files.write_subtree(*index, hash)?,
            }
        }
        Ok(())
    }
}

/// Creates a file of the write-ahead log: key record first, then the file, then its place in the index.
fn new_file(core: &Core, number: u64, size: u64, mac: [u8; 32]) -> Result<WalWriter, LedgerError> {
    let key = lock(&core.vault).new_wal_key(number)?;
    let header = Header {
        key_id: u32::try_from(number).unwrap_or(u32::MAX),
        file: number,
        first: size,
        origin: core.origin_digest,
        previous_mac: mac,
    };
    let limit = core.limits.wal_file_bytes;
    let writer = WalWriter::create(core.disk.clone(), &core.wal_dir(), header, &key, limit)?;
    lock(&core.wal).push(WalFile { number, first: size, bytes: limit, places: Vec::new() });
    Ok(writer)
}

/// Name of the file that is given up when the disk is full.
pub(crate) const RESERVE: &str = "reserve";

fn release_reserve(core: &Core) -> Result<(), LedgerError> {
    let path = core.dir.join(RESERVE);
    core.counters.disk_full.store(true, Ordering::Relaxed);
    core.intake.pause(true);
    match std::fs::remove_file(&path) {
        Ok(()) => sync_dir(&core.dir),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LedgerError::io("release", &path, error)),
    }
}
