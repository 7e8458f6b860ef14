//! Steps 4 to 7: sign the new tree, put the checkpoint up, recycle what is sealed, watch the space.
//!
//! The signer is asked about sizes that are durable, and only about those. Recycling order: static files
//! synced, then WAL file unlinked, then its key destroyed; a crash in between leaves only an orphan key.

use super::commit::RESERVE;
use crate::core::{Core, lock};
use crate::disk::{options, sync_dir, write_atomic};
use crate::log::tree::TreeReader;
use crate::wal::file_path;
use crate::{Checkpoint, LedgerError, SignRequest};
use countersign_proof::consistency_proof;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Time between looks at space and recyclable files.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// Signs, publishes, recycles.
pub(crate) struct Publisher {
    core: Arc<Core>,
    signed: u64,
    signed_at: Option<Instant>,
    published: u64,
    published_at: Option<Instant>,
    kept_house: Option<Instant>,
}

impl Publisher {
    pub(crate) fn new(core: Arc<Core>) -> Publisher {
        let signed = lock(&core.signed).latest.as_ref().map_or(0, |head| head.size);
        Publisher { core, signed, signed_at: None, published: 0, published_at: None, kept_house: None }
    }

    pub(crate) fn run(mut self) {
        loop {
            let ended = self.wait();
            if self.core.is_stopped() {
                break;
            }
            if let Err(error) = self.turn(ended) {
                self.core.stop(&error);
                break;
            }
            if ended && self.signed >= self.core.size() && self.published >= self.signed {
                break;
            }
        }
        self.core.signed_news.notify_all();
    }

    /// Waits for news, at most until something is due; `true` once the committer has ended.
    fn wait(&self) -> bool {
        let ended = lock(&self.core.publisher);
        if *ended || (self.core.size() > self.signed && due(self.signed_at, self.core.limits.sign_every)) {
            return *ended;
        }
        let pause = self.core.limits.sign_every.max(Duration::from_millis(1));
        *self.core.publisher_news.wait_timeout(ended, pause).unwrap_or_else(PoisonError::into_inner).0
    }

    fn turn(&mut self, ended: bool) -> Result<(), LedgerError> {
        let limits = &self.core.limits;
        let (sign_every, publish_every) = (limits.sign_every, limits.publish_every);
        if self.core.size() > self.signed && (ended || due(self.signed_at, sign_every)) {
            self.sign()?;
        }
        if self.signed > self.published && (ended || due(self.published_at, publish_every)) {
            self.publish()?;
        }
        if due(self.kept_house, HOUSEKEEPING) {
            self.kept_house = Some(Instant::now());
            self.recycle()?;
            self.watch_space()?;
        }
        Ok(())
    }

    fn sign(&mut self) -> Result<(), LedgerError> {
        let Some((signer, fence)) = &self.core.signer else { return Err(LedgerError::ReadOnly) };
        let tree = self.core.tree();
        let reader = TreeReader::new(&tree, &self.core.files);
        let last = signer.status()?.size;
        let consistency =
            consistency_proof(last, tree.size(), &reader).map_err(|error| reader.explain(error))?;
        let request = SignRequest {
            fence: *fence,
            origin: self.core.origin.to_string(),
            size: tree.size(),
            root: tree.root(),
            consistency,
        };
        let note = signer.sign(&request)?;
        self.signed = request.size;
        self.signed_at = Some(Instant::now());
        let head = Checkpoint { size: request.size, root: request.root, note: note.clone() };
        *lock(&self.core.note) = Some(note);
        {
            let mut signed = lock(&self.core.signed);
            (signed.latest, signed.at) = (Some(head), self.signed_at);
        }
        self.core.signed_news.notify_all();
        self.core.intake.wake();
        Ok(())
    }

    fn publish(&mut self) -> Result<(), LedgerError> {
        let Some(head) = lock(&self.core.signed).latest.clone() else { return Ok(()) };
        write_atomic(&self.core.files.checkpoint_path(), head.note.as_bytes())?;
        (self.published, self.published_at) = (head.size, Some(Instant::now()));
        Ok(())
    }

    /// First leaf that the write-ahead log must keep: that of the oldest part that no signed entry says is sealed or
    /// retired.
    fn keep_from(&self) -> u64 {
        let parts = lock(&self.core.parts);
        let registry = lock(&self.core.registry);
        let gone = |first: u64| registry.let_go(first).is_some_and(|entry| entry < self.signed);
        let oldest = parts.keys().copied().find(|first| !gone(*first));
        oldest.unwrap_or_else(|| self.core.size())
    }

    fn recycle(&self) -> Result<(), LedgerError> {
        let keep = self.keep_from();
        let (from, to, old) = {
            let wal = lock(&self.core.wal);
            let old = wal.windows(2).take_while(|pair| pair[1].first <= keep).count();
            let from = wal.first().map_or(0, |file| file.first);
            (from, wal.get(old).map_or(0, |file| file.first), old)
        };
        if old == 0 {
            return Ok(());
        }
        self.core.files.sync(from, to)?;
        self.core.meta.sync(from, to)?;
        let removed: Vec<u64> = lock(&self.core.wal).drain(..old).map(|file| file.number).collect();
        for number in &removed {
            let path = file_path(&self.core.wal_dir(), *number);
            std::fs::remove_file(&path).map_err(|error| LedgerError::io("recycle", &path, error))?;
        }
        sync_dir(&self.core.wal_dir())?;
        match removed.last() {
            Some(last) => lock(&self.core.vault).destroy_wal_below(last + 1),
            None => Ok(()),
        }
    }

    /// Back-pressure before the disk or the bound of the write-ahead log is full, and its end.
    fn watch_space(&self) -> Result<(), LedgerError> {
        let core = &self.core;
        let used = core
            .disk
            .used_permille(&core.dir)
            .map_err(|error| LedgerError::io("measure space of", &core.dir, error))?;
        let disk_full = used >= core.limits.disk_permille && core.limits.disk_permille < 1000;
        let wal_bytes: u64 = lock(&core.wal).iter().map(|file| file.bytes).sum();
        let wal_full = wal_bytes > core.limits.wal_bytes;
        if disk_full && !core.counters.disk_full.load(Ordering::Relaxed) {
            tracing::error!(used_permille = used, "disk nearly full: sources wait until there is space");
        }
        if wal_full && !core.counters.wal_full.load(Ordering::Relaxed) {
            tracing::error!(
                wal_bytes,
                "write-ahead log at its bound: sources wait until segments are sealed"
            );
        }
        core.counters.disk_full.store(disk_full, Ordering::Relaxed);
        core.counters.wal_full.store(wal_full, Ordering::Relaxed);
        core.intake.pause(disk_full || wal_full);
        if !disk_full { self.reserve() } else { Ok(()) }
    }

    /// Makes the reserve file if it is missing; a disk without room for it goes without.
    fn reserve(&self) -> Result<(), LedgerError> {
        let (path, bytes) = (self.core.dir.join(RESERVE), self.core.limits.reserve_bytes);
        if bytes == 0 || path.exists() {
            return Ok(());
        }
        let file = options().open(&path).map_err(|error| LedgerError::io("create", &path, error))?;
        if let Err(error) = self.core.disk.allocate(&file, &path, bytes) {
            tracing::warn!(%error, "no room for the reserve file");
            std::fs::remove_file(&path).map_err(|error| LedgerError::io("remove", &path, error))?;
        }
        Ok(())
    }
}

fn due(last: Option<Instant>, every: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= every)
}
