//! The handle: what a program does with a ledger. Opening is in `open`, threads are in `sequencer`.

use crate::bodies::{Manifest, RANGES_MAX, SourceReg, config_body};
use crate::check::check_range;
use crate::core::{Core, lock};
use crate::intake::{Push, Work};
use crate::keys::random;
use crate::limits::{IDENTITY_MAX, SOURCES_MAX, SUBTREE};
use crate::log::tree::TreeReader;
use crate::sequencer::sequence::append_own;
use crate::source::SourceState;
use crate::{
    Checkpoint, Clock, DigestKey, GapInfo, Kek, LedgerError, Limits, PassedSource, Reader, SealedSegment,
    SegmentInfo, SegmentKey, Source, SourceInfo, SourceSpec, StartReport, Stats, SystemClock,
};
use countersign_event::{Entry, EntryKind, Frame, GROUPS, Salt};
use countersign_proof::{Hash, Tile, TileKind, consistency_proof, inclusion_proof, tree_root};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How to open a ledger.
#[derive(Clone)]
pub struct Options {
    /// The log's identity, `<org domain>/<opaque ledger id>/<epoch>`. Must be that of an existing ledger.
    pub origin: String,
    /// Bounds.
    pub limits: Limits,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Sources of the process that this one takes over from; see [`crate::pass`].
    pub resumed: Vec<PassedSource>,
}

impl Options {
    /// Default bounds and the machine's clock.
    pub fn new(origin: impl Into<String>) -> Options {
        Options {
            origin: origin.into(),
            limits: Limits::default(),
            clock: Arc::new(SystemClock::default()),
            resumed: Vec::new(),
        }
    }
}

/// An open ledger. A cheap handle: clones share one ledger.
///
/// Dropping the last clone without [`Ledger::shutdown`] stops the threads after what is in flight; the next
/// start then finds no clean end, as after a crash.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) core: Arc<Core>,
    _guard: Arc<Guard>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("origin", &self.core.origin).finish_non_exhaustive()
    }
}

struct Guard(Arc<Core>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.intake.close(LedgerError::Closed);
        end_threads(&self.0);
    }
}

/// Waits for the threads and lets the directory go. On one of them (a handle dropped in a callback) it must
/// not wait: they end by themselves, and the lock goes with the last of them.
fn end_threads(core: &Core) {
    let handles: Vec<_> = lock(&core.threads).drain(..).collect();
    let own = thread::current().id();
    if handles.iter().any(|handle| handle.thread().id() == own) {
        return;
    }
    for handle in handles {
        // A thread that panicked has already failed everybody who waits on it.
        let _ = handle.join();
    }
    core.feed.end();
    if let Some(file) = lock(&core.lock).take() {
        crate::open::release_lock(&file);
    }
}

type Result<T> = std::result::Result<T, LedgerError>;

impl Ledger {
    /// Locks the data directory, recovers, and starts the writer's threads. Creates the ledger if there is none.
    pub fn open(dir: &Path, kek: Kek, options: Options) -> Result<(Ledger, StartReport)> {
        Ledger::open_with(dir, kek, options, crate::open::Parts::default())
    }

    /// As [`Ledger::open`], with another disk or signer.
    pub fn open_with(
        dir: &Path,
        kek: Kek,
        options: Options,
        parts: crate::open::Parts,
    ) -> Result<(Ledger, StartReport)> {
        let (core, report) = crate::open::open_writer(dir, &kek, options, parts)?;
        Ok((Ledger::of(core), report))
    }

    /// Opens what is durable now, beside a live writer or without one. Takes no lock, writes nothing.
    pub fn open_read_only(dir: &Path, kek: Kek) -> Result<(Ledger, StartReport)> {
        let (core, report) = crate::open::open_reader(dir, &kek)?;
        Ok((Ledger::of(core), report))
    }

    fn of(core: Arc<Core>) -> Ledger {
        Ledger { _guard: Arc::new(Guard(core.clone())), core }
    }

    /// The log's identity.
    pub fn origin(&self) -> &str {
        &self.core.origin
    }

    /// Whether this handle can only read.
    pub fn is_read_only(&self) -> bool {
        self.core.read_only
    }

    /// Durable leaves.
    pub fn size(&self) -> u64 {
        self.core.size()
    }

    /// The latest signed tree head.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        lock(&self.core.signed).latest.clone()
    }

    /// The log's verifier key, for `trust.policy`.
    pub fn log_vkey(&self) -> String {
        self.core.vkey.clone()
    }

    /// Registers a capture point and logs it; durable on return.
    pub fn register(&self, spec: SourceSpec) -> Result<Source> {
        let core = &self.core;
        core.check_writable()?;
        if spec.identity.is_empty() || spec.identity.len() > IDENTITY_MAX {
            return Err(LedgerError::Invalid("a source's identity must have 1 to 256 bytes".to_owned()));
        }
        let seed = random::<32>()?;
        let state = {
            let mut registry = lock(&core.registry);
            if registry.live.len() >= SOURCES_MAX {
                return Err(LedgerError::Limit { what: "number of live sources", max: SOURCES_MAX as u64 });
            }
            if registry.run(&spec.stream).is_some() {
                return Err(LedgerError::Invalid(
                    "this stream was registered before; use a fresh one".to_owned(),
                ));
            }
            let latest = registry.latest(&spec.identity);
            let reg = SourceReg {
                source_ref: registry.next_ref,
                identity: spec.identity,
                stream: spec.stream,
                boot_epoch: latest.map_or(1, |(_, epoch)| epoch + 1),
                public_key: SourceState::public_key(&seed),
                previous: latest.map(|(previous, _)| previous),
                heartbeat_s: core.limits.heartbeat_idle.as_secs().max(1),
                via: None,
                after: 0,
            };
            registry.next_ref += 1;
            Arc::new(SourceState::new(reg, &seed, core.clock.monotonic_ns(), &core.dir.join("sources")))
        };
        append_own(core, EntryKind::SourceReg, state.reg.to_bytes())?;
        // Live only now, so that no heartbeat can come before the registration.
        lock(&core.registry).live.insert(state.reg.source_ref, state.clone());
        Ok(Source::new(core.clone(), state))
    }

    /// The source of run `stream` that [`Options::resumed`] named; `None` when the log does not continue it.
    pub fn resumed(&self, stream: &[u8; 16]) -> Option<Source> {
        let registry = lock(&self.core.registry);
        let state = registry.live.values().find(|state| state.reg.stream == *stream)?;
        Some(Source::new(self.core.clone(), state.clone()))
    }

    /// A cursor that starts at leaf `from`.
    pub fn reader(&self, from: u64) -> Reader {
        Reader::new(self.core.clone(), from)
    }

    /// One entry; `None` at or above [`Ledger::size`].
    pub fn entry(&self, index: u64) -> Result<Option<Entry>> {
        Ok(self.entries(index, index.saturating_add(1))?.pop())
    }

    /// Entries `from..to`, at most 65,536 at once, cut at [`Ledger::size`].
    pub fn entries(&self, from: u64, to: u64) -> Result<Vec<Entry>> {
        let to = to.min(self.size()).min(from.saturating_add(SUBTREE));
        if from >= to {
            return Ok(Vec::new());
        }
        let entries = self.core.files.read_entries(from, to)?;
        if (entries.len() as u64) < to - from {
            let index = from + entries.len() as u64;
            return Err(LedgerError::Corrupt {
                file: self.core.files.entries_path(index),
                offset: index % SUBTREE * crate::log::BUNDLE_ENTRY,
                index: Some(index),
                what: "entry is missing or malformed".to_owned(),
            });
        }
        Ok(entries)
    }

    /// Body of a non-event entry, checked against its commitment; `None` for an event or beyond the end.
    pub fn body(&self, index: u64) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(index)? else { return Ok(None) };
        if let Some(overlay) = self.core.files.overlay.as_ref().filter(|overlay| index >= overlay.first) {
            let found = overlay.bodies.binary_search_by_key(&index, |(at, _)| *at).ok();
            return Ok(found.and_then(|at| overlay.bodies.get(at)).map(|(_, body)| body.to_vec()));
        }
        self.core.meta.read(index, &entry)
    }

    /// Salts of an event's seven groups; `None` for a non-event entry or when the key was destroyed.
    pub fn salts(&self, index: u64) -> Result<Option<[Salt; GROUPS]>> {
        let Some(entry) = self.entry(index)? else { return Ok(None) };
        if entry.kind != EntryKind::Event as u8 {
            return Ok(None);
        }
        let part = self.core.part_of(index);
        Ok(part.and_then(|(first, _)| Some(self.core.part_key(first)?.salts().of_row(index - first))))
    }

    /// Proof that leaf `index` is in the tree of `size` leaves.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>> {
        self.with_tree(size, |reader| inclusion_proof(index, size, reader))
    }

    /// Proof that the tree of `old` leaves is a prefix of that of `new`.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>> {
        self.with_tree(new, |reader| consistency_proof(old, new, reader))
    }

    /// Root of the first `size` leaves.
    pub fn root_at(&self, size: u64) -> Result<Hash> {
        self.with_tree(size, |reader| tree_root(size, reader))
    }

    fn with_tree<T>(
        &self,
        size: u64,
        ask: impl Fn(&TreeReader<'_>) -> std::result::Result<T, countersign_proof::Error>,
    ) -> Result<T> {
        let tree = self.core.tree();
        if size > tree.size() {
            return Err(LedgerError::NotFound { what: "tree of size", index: size });
        }
        let reader = TreeReader::new(&tree, &self.core.files);
        ask(&reader).map_err(|error| reader.explain(error))
    }

    /// The bytes behind a C2SP tlog-tiles path: `checkpoint`, `tile/<L>/…`, `tile/entries/…`; `None` = 404.
    pub fn tile_path(&self, path: &str) -> Result<Option<Vec<u8>>> {
        if path == "checkpoint" {
            return crate::disk::read_bounded(&self.core.files.checkpoint_path(), 128 << 10);
        }
        let Ok(tile) = Tile::parse(path) else { return Ok(None) };
        match tile.kind {
            TileKind::Entries => self.bundle(&tile),
            TileKind::Hashes(_) => {
                let tree = self.core.tree();
                let reader = TreeReader::new(&tree, &self.core.files);
                match reader.tile(&tile) {
                    Some(bytes) => Ok(Some(bytes)),
                    None => match reader.error() {
                        Some(error) => Err(error),
                        None => Ok(None),
                    },
                }
            }
        }
    }

    fn bundle(&self, tile: &Tile) -> Result<Option<Vec<u8>>> {
        let Some(from) = tile.index.checked_mul(crate::log::TILE) else { return Ok(None) };
        let to = from.saturating_add(tile.width.into());
        if to > self.size() {
            return Ok(None);
        }
        let entries: Vec<_> = self.entries(from, to)?.iter().map(Entry::to_bytes).collect();
        countersign_proof::tile::encode_bundle(entries.iter().map(|entry| entry.as_slice()))
            .map(Some)
            .map_err(|error| LedgerError::Invalid(error.to_string()))
    }

    /// Waits for the first checkpoint that covers `size` leaves; `None` after `timeout`.
    pub fn wait_checkpoint(&self, size: u64, timeout: Duration) -> Option<Checkpoint> {
        let deadline = Instant::now().checked_add(timeout)?;
        let mut signed = lock(&self.core.signed);
        loop {
            if let Some(head) = signed.latest.as_ref().filter(|head| head.size >= size) {
                return Some(head.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.core.read_only || self.core.is_stopped() {
                return None;
            }
            signed =
                self.core.signed_news.wait_timeout(signed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The tenant's HMAC key for digests.
    pub fn digest_key(&self) -> DigestKey {
        self.core.digest_key.clone()
    }

    /// Sealed segments by first leaf index, newest version each, from their manifests.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        lock(&self.core.registry).segments()
    }

    /// Parts neither sealed nor retired yet: (first, end); the open one has no end.
    pub fn unsealed(&self) -> Vec<(u64, Option<u64>)> {
        self.core.unsealed()
    }

    /// Key of the segment (or of the part being sealed) that begins at leaf `first`.
    pub fn segment_key(&self, first: u64) -> Result<SegmentKey> {
        let missing = LedgerError::NotFound { what: "key of segment", index: first };
        let key = self.core.part_key(first).ok_or(missing)?;
        if let Some((_, index, check)) = lock(&self.core.registry).segment(first)
            && *check != key.check()
        {
            return Err(LedgerError::Mismatch {
                index: *index,
                what: "key check of the manifest".to_owned(),
            });
        }
        Ok(crate::check::segment_key(&self.core.origin_digest, first, &key))
    }

    /// Recomputes commitments, leaves and subtree roots of the part at `first` from frames, salts and entries.
    /// `None` = the row of a non-event entry. The iterator must yield exactly the part's rows.
    pub fn check_range(
        &self,
        first: u64,
        rows: &mut dyn Iterator<Item = std::result::Result<Option<Frame>, String>>,
    ) -> Result<Vec<Hash>> {
        let end = match self.core.part_of(first) {
            Some((known, Some(end))) if known == first => end,
            _ => return Err(LedgerError::NotFound { what: "closed part", index: first }),
        };
        let key = self
            .core
            .part_key(first)
            .ok_or(LedgerError::NotFound { what: "key of segment", index: first })?;
        let entries = self.entries(first, end)?;
        let roots = check_range(first, &entries, &key.salts(), rows)?;
        let tree = self.core.tree();
        let reader = TreeReader::new(&tree, &self.core.files);
        crate::check::same_roots(first, end, &roots, &reader)?;
        Ok(roots)
    }

    /// Logs the manifest of a sealed segment; durable on return, gives its leaf index. Once that is signed,
    /// the write-ahead log below the oldest unsealed part is recycled.
    pub fn sealed(&self, segment: SealedSegment) -> Result<u64> {
        self.core.check_writable()?;
        match self.core.part_of(segment.first) {
            Some((first, Some(end))) if (first, end) == (segment.first, segment.end) => {}
            _ => return Err(LedgerError::NotFound { what: "closed part", index: segment.first }),
        }
        let tree = self.core.tree();
        let reader = TreeReader::new(&tree, &self.core.files);
        crate::check::same_roots(segment.first, segment.end, &segment.roots, &reader)?;
        let missing = LedgerError::NotFound { what: "key of segment", index: segment.first };
        let key_check = self.core.part_key(segment.first).ok_or(missing)?.check();
        let ranges = source_ranges(&self.entries(segment.first, segment.end)?);
        append_own(&self.core, EntryKind::SegmentManifest, Manifest { segment, key_check, ranges }.to_bytes())
    }

    /// Closes the open part now; readers get [`crate::Feed::PartClosed`]. Nothing happens if it is empty.
    pub fn close_part(&self) -> Result<()> {
        self.core.check_writable()?;
        let (send, receive) = mpsc::sync_channel(1);
        self.core.intake.push(Work::ClosePart(send), 0, Push::Always)?;
        receive.recv().map_err(|_| self.core.stopped_error())
    }

    /// Logs that a configuration was applied: its digest and version.
    pub fn configured(&self, digest: [u8; 32], version: &str) -> Result<u64> {
        self.core.check_writable()?;
        append_own(&self.core, EntryKind::Config, config_body(digest, version))
    }

    /// Declared losses, oldest first; at most the newest 65,536, and none that names no lost event.
    pub fn gaps(&self) -> Vec<GapInfo> {
        lock(&self.core.registry).gaps()
    }

    /// All sources, by registration number.
    pub fn sources(&self) -> Vec<SourceInfo> {
        lock(&self.core.registry).sources()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Final heartbeats, last checkpoint, CLOSE frame; later calls that write get [`LedgerError::Closed`].
    pub fn shutdown(&self) -> Result<()> {
        let core = &self.core;
        if core.read_only {
            return Ok(());
        }
        // A second call, or one after a failure, finds the intake closed and only waits.
        let _ = core.intake.push(Work::Shutdown, 0, Push::Always);
        end_threads(core);
        if let Some(error) = lock(&core.stopped).clone() {
            return Err(error);
        }
        let live: Vec<Arc<SourceState>> =
            std::mem::take(&mut lock(&core.registry).live).into_values().collect();
        live.iter().try_for_each(|state| state.settle())
    }
}

/// Per source: registration number, first and last sequence number, count.
fn source_ranges(entries: &[Entry]) -> Vec<(u32, u64, u64, u64)> {
    let mut ranges: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Event as u8) {
        let seq = entry.source_seq;
        let range = ranges.entry(entry.source_ref).or_insert((seq, seq, 0));
        *range = (range.0.min(seq), range.1.max(seq), range.2 + 1);
    }
    if ranges.len() > RANGES_MAX {
        return Vec::new();
    }
    ranges.into_iter().map(|(source, (first, last, count))| (source, first, last, count)).collect()
}
