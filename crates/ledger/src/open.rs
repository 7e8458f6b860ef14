//! Opening a ledger: lock, keys, signer, replay, new file, threads, and the first or next own entries.

use crate::bodies::{Gap, key_added_body, schema_body};
use crate::core::{Core, Counters, SignedState, lock};
use crate::disk::{Disk, RealDisk, TEMP_SUFFIX, create_dir, list, options, read_bounded};
use crate::feed::FeedRing;
use crate::intake::Intake;
use crate::keys::Vault;
use crate::recovery::{Recovered, Replay};
use crate::sequencer::commit::Committer;
use crate::sequencer::sequence::{Sequencer, append_own};
use crate::signer::inspect;
use crate::source::{OWED_LEN, decode_owed};
use crate::wal::header::sha256;
use crate::{
    Clock, GapReason, Kek, LedgerError, Limits, LocalSigner, Options, PassedSource, Signer, StartReport,
    SystemClock,
};
use countersign_event::{EntryKind, SCHEMA};
use countersign_proof::VerifierKey;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::Duration;

/// Text of schema 1 as it is logged in the first entry.
const SCHEMA_TEXT: &str = include_str!("../../../docs/schema/event.cddl");
/// Attempts of a read-only open beside a writer that recycles files under it.
const ATTEMPTS: usize = 5;
/// Attempts at the lock of the directory, and the pause between them.
const LOCK_ATTEMPTS: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// File that names the origin, so that a read-only handle and `fsck` need no configuration.
const ORIGIN: &str = "origin";

/// Replaceable parts: tests inject a failing disk; a signer may live elsewhere.
#[derive(Clone)]
pub struct Parts {
    /// Writes, syncs, space.
    pub disk: Arc<dyn Disk>,
    /// Another signer than the one in `signer/`.
    pub signer: Option<Arc<dyn Signer>>,
}

impl Default for Parts {
    fn default() -> Parts {
        Parts { disk: Arc::new(RealDisk), signer: None }
    }
}

/// What both ways of opening put together.
struct Assembly {
    dir: PathBuf,
    origin: String,
    limits: Limits,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    vkey: VerifierKey,
    signer: Option<(Arc<dyn Signer>, u64)>,
    lock: Option<File>,
}

pub(crate) fn open_writer(
    dir: &Path,
    kek: &Kek,
    options: Options,
    parts: Parts,
) -> Result<(Arc<Core>, StartReport), LedgerError> {
    create_dir(dir)?;
    let lock_file = take_lock(dir)?;
    for name in ["wal", "log", "meta", "sources", "keys", "signer"] {
        create_dir(&dir.join(name))?;
    }
    let temp_files = remove_temps(dir)?;
    let created = is_new(dir)?;
    check_origin(dir, &options.origin, created)?;
    let disk = parts.disk.clone();
    let keys = dir.join("keys");
    let now = options.clock.now_ns();
    if created && !Vault::exists(&keys) {
        Vault::create(&keys, kek, disk.clone(), now)?;
    }
    let mut vault = Vault::open(&keys, kek, disk.clone())?;
    let signer = match parts.signer {
        Some(signer) => signer,
        None => local_signer(dir, kek, &options.origin, &disk, created)?,
    };
    let vkey = signer.verifier();
    let replay = Replay {
        dir,
        disk: &disk,
        vault: &vault,
        origin_digest: sha256(options.origin.as_bytes()),
        verifier: &vkey,
        signer: signer.status()?,
        write: true,
    };
    let mut found = replay.run()?;
    found.report.created = created;
    found.report.temp_files += temp_files;
    let size = found.tree.size();
    vault.drop_parts_from(size)?;
    let oldest = found.wal.first().map_or(found.next_file, |file| file.number);
    vault.destroy_wal_below(oldest)?;
    vault.rotate_if_due(kek, now)?;
    let fence = signer.status()?.fence + 1;
    signer.fence(fence)?;
    let assembly = Assembly {
        dir: dir.to_owned(),
        origin: options.origin,
        limits: options.limits.bounded(),
        clock: options.clock,
        disk,
        vkey,
        signer: Some((signer, fence)),
        lock: Some(lock_file),
    };
    start(assembly, vault, found, options.resumed)
}

fn start(
    assembly: Assembly,
    vault: Vault,
    mut found: Recovered,
    resumed: Vec<PassedSource>,
) -> Result<(Arc<Core>, StartReport), LedgerError> {
    let (size, next_file, last_mac) = (found.tree.size(), found.next_file, found.last_mac);
    let (own_seq, last_time, meta_len) = (found.own_seq, found.last_time, found.meta_len);
    let mut report = std::mem::take(&mut found.report);
    let core = assemble(assembly, vault, found, &mut report);
    let committer = Committer::new(core.clone(), next_file, size, last_mac, meta_len)?;
    let sequencer = Sequencer::new(core.clone(), size, own_seq, last_time);
    let resumed = crate::pass::resume(&core, resumed);
    crate::sequencer::start(&core, sequencer, committer)?;
    if let Err(error) = first_entries(&core, size, &resumed, &mut report) {
        core.intake.close(LedgerError::Closed);
        return Err(error);
    }
    Ok((core, report))
}

/// Schema and log key for a new ledger, losses of dead sources for an old one.
fn first_entries(
    core: &Arc<Core>,
    size: u64,
    resumed: &[[u8; 16]],
    report: &mut StartReport,
) -> Result<(), LedgerError> {
    if size == 0 {
        append_own(core, EntryKind::Schema, schema_body(SCHEMA, SCHEMA_TEXT))?;
    }
    // A first start may have died between the two.
    if size < 2 {
        append_own(core, EntryKind::KeyEvent, key_added_body(&core.vkey))?;
    }
    declare_losses(core, resumed, report)
}

pub(crate) fn open_reader(dir: &Path, kek: &Kek) -> Result<(Arc<Core>, StartReport), LedgerError> {
    let mut attempt = 1;
    loop {
        match try_open_reader(dir, kek) {
            // A live writer may rotate and recycle while we look; look again.
            Err(error)
                if attempt < ATTEMPTS
                    && (error.is_integrity() || matches!(error, LedgerError::Io { .. })) =>
            {
                attempt += 1;
            }
            result => return result,
        }
    }
}

fn try_open_reader(dir: &Path, kek: &Kek) -> Result<(Arc<Core>, StartReport), LedgerError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let origin = read_origin(dir)?;
    let (vkey, signer, _) = inspect(&dir.join("signer"), kek, &origin)?;
    let vault = Vault::open(&dir.join("keys"), kek, disk.clone())?;
    let replay = Replay {
        dir,
        disk: &disk,
        vault: &vault,
        origin_digest: sha256(origin.as_bytes()),
        verifier: &vkey,
        signer,
        write: false,
    };
    let mut found = replay.run()?;
    let mut report = std::mem::take(&mut found.report);
    // Part keys are read after the log, so that every entry found has its key.
    let vault = Vault::open(&dir.join("keys"), kek, disk.clone())?;
    let assembly = Assembly {
        dir: dir.to_owned(),
        origin,
        limits: Limits::default(),
        clock: Arc::new(SystemClock::default()),
        disk,
        vkey,
        signer: None,
        lock: None,
    };
    let core = assemble(assembly, vault, found, &mut report);
    Ok((core, report))
}

fn assemble(assembly: Assembly, vault: Vault, found: Recovered, report: &mut StartReport) -> Arc<Core> {
    let size = found.tree.size();
    let read_only = assembly.signer.is_none();
    let parts = parts_of(&vault, size, read_only);
    report.lost_segments = parts.keys().copied().filter(|first| vault.part(*first).is_none()).collect();
    for first in &report.lost_segments {
        tracing::error!(segment = first, "key record is missing: contents are unreadable, proofs still hold");
    }
    let feed = FeedRing::default();
    feed.set_end(size);
    Arc::new(Core {
        origin_digest: sha256(assembly.origin.as_bytes()),
        origin: assembly.origin.into(),
        vkey: assembly.vkey.to_string(),
        intake: Intake::new(assembly.limits.ahead_bytes, assembly.limits.intake_bytes),
        committing: AtomicUsize::new(0),
        limits: assembly.limits,
        clock: assembly.clock,
        disk: assembly.disk,
        read_only,
        files: found.files,
        meta: found.meta,
        digest_key: vault.digest_key(),
        vault: Mutex::new(vault),
        tree: RwLock::new(found.tree),
        size: AtomicU64::new(size),
        registry: Mutex::new(found.registry),
        parts: Mutex::new(parts),
        wal: Mutex::new(found.wal),
        feed,
        signer: assembly.signer,
        signed: Mutex::new(SignedState { latest: found.checkpoint, at: None }),
        signed_news: Condvar::new(),
        note: Mutex::new(None),
        publisher: Mutex::new(false),
        publisher_news: Condvar::new(),
        counters: Counters::default(),
        stopped: Mutex::new(None),
        threads: Mutex::new(Vec::new()),
        lock: Mutex::new(assembly.lock),
        dir: assembly.dir,
    })
}

/// Parts from the first indices in the ring. The last one is closed for a writer: a start opens a new one.
fn parts_of(vault: &Vault, size: u64, read_only: bool) -> BTreeMap<u64, Option<u64>> {
    let firsts: Vec<u64> = vault.part_firsts().into_iter().filter(|first| *first < size).collect();
    let ends = firsts.iter().skip(1).map(|next| Some(*next));
    let last = if read_only { None } else { Some(size) };
    firsts.iter().copied().zip(ends.chain([last])).collect()
}

fn take_lock(dir: &Path) -> Result<File, LedgerError> {
    let path = dir.join("ledger.lock");
    let file = options().open(&path).map_err(|error| LedgerError::io("open", &path, error))?;
    // A checker holds the lock for a moment to see whether there is a writer: that is not one.
    for attempt in 1.. {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) if attempt < LOCK_ATTEMPTS => std::thread::sleep(LOCK_PAUSE),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LedgerError::Locked { dir: dir.to_owned() }),
            Err(error) => return Err(LedgerError::io("lock", &path, error)),
        }
    }
    Ok(file)
}

/// Lets the directory go at once: closing alone waits for copies of the descriptor in processes being spawned.
pub(crate) fn release_lock(file: &File) {
    // Closing follows and releases it in any case.
    let _ = flock(file, FlockOperation::Unlock);
}

fn remove_temps(dir: &Path) -> Result<u64, LedgerError> {
    let mut removed = 0;
    for sub in ["", "keys", "log", "signer"] {
        let sub = dir.join(sub);
        for name in list(&sub)?.into_iter().filter(|name| name.ends_with(TEMP_SUFFIX)) {
            let path = sub.join(name);
            std::fs::remove_file(&path).map_err(|error| LedgerError::io("remove", &path, error))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether nothing was ever logged here: no write-ahead log and no entries.
fn is_new(dir: &Path) -> Result<bool, LedgerError> {
    let wal = list(&dir.join("wal"))?.iter().any(|name| name.ends_with(".wal"));
    Ok(!wal
        && list(&dir.join("log/entries"))?.is_empty()
        && read_bounded(&dir.join("log/checkpoint"), 1 << 20)?.is_none())
}

fn local_signer(
    dir: &Path,
    kek: &Kek,
    origin: &str,
    disk: &Arc<dyn Disk>,
    created: bool,
) -> Result<Arc<dyn Signer>, LedgerError> {
    let dir = dir.join("signer");
    if created && !LocalSigner::exists(&dir) {
        return Ok(Arc::new(LocalSigner::create(&dir, kek, origin, disk.clone())?));
    }
    Ok(Arc::new(LocalSigner::open(&dir, kek, origin, disk.clone())?))
}

/// The origin a ledger was created with.
pub(crate) fn read_origin(dir: &Path) -> Result<String, LedgerError> {
    let path = dir.join(ORIGIN);
    let bytes = read_bounded(&path, 1024)?.ok_or_else(|| {
        LedgerError::Invalid(format!("{} holds no ledger: start one there first", dir.display()))
    })?;
    let text = String::from_utf8(bytes).map_err(|_| LedgerError::corrupt(&path, 0, "not UTF-8"))?;
    match text.strip_suffix('\n').filter(|origin| !origin.is_empty() && !origin.contains(char::is_whitespace))
    {
        Some(origin) => Ok(origin.to_owned()),
        None => Err(LedgerError::corrupt(&path, 0, "not one line with the log's origin")),
    }
}

fn check_origin(dir: &Path, origin: &str, created: bool) -> Result<(), LedgerError> {
    if created && !dir.join(ORIGIN).exists() {
        if origin.is_empty() || origin.len() > 255 || origin.contains(|c: char| c.is_whitespace() || c == '+')
        {
            return Err(LedgerError::Invalid("an origin has 1 to 255 bytes without spaces and +".to_owned()));
        }
        return crate::disk::write_atomic(&dir.join(ORIGIN), format!("{origin}\n").as_bytes());
    }
    let stored = read_origin(dir)?;
    if stored == origin {
        return Ok(());
    }
    Err(LedgerError::Invalid(format!(
        "this ledger's origin is {stored:?}, not {origin:?}; correct the configuration"
    )))
}

/// What dead runs owed and did not record becomes a GAP; a run without a last heartbeat is closed by one. Runs in
/// `resumed` are alive in another process, which goes on writing their counts.
fn declare_losses(
    core: &Arc<Core>,
    resumed: &[[u8; 16]],
    report: &mut StartReport,
) -> Result<(), LedgerError> {
    let dir = core.dir.join("sources");
    let mut owed: BTreeMap<[u8; 16], Option<u64>> = BTreeMap::new();
    let mut names = list(&dir)?;
    names.retain(|name| stream_of(name).is_none_or(|stream| !resumed.contains(&stream)));
    for name in &names {
        let path = dir.join(name);
        let bytes = read_bounded(&path, OWED_LEN as u64).unwrap_or_default().unwrap_or_default();
        match decode_owed(&bytes) {
            Some((_, stream, count)) => drop(owed.insert(stream, Some(count))),
            None => drop(stream_of(name).map(|stream| owed.insert(stream, None))),
        }
    }
    let open: Vec<(u32, [u8; 16], u64, bool)> = lock(&core.registry)
        .sources
        .values()
        .filter(|source| !source.closed && !resumed.contains(&source.info.stream))
        .map(|source| {
            (source.info.source_ref, source.info.stream, source.info.last_seq, source.reg.via.is_some())
        })
        .collect();
    for (source_ref, stream, last, forwarded) in open {
        // What an edge numbered is still there: it sends again what was not acknowledged.
        let known = if forwarded { Some(Some(0)) } else { owed.get(&stream).copied() };
        let missing = known.flatten().map_or(0, |count| count.saturating_sub(last));
        // Nothing owed is missing: the entry closes the source and names no numbers. Without a count, only
        // where a loss would begin is known.
        let nothing = missing == 0 && known.flatten().is_some();
        let gap = Gap {
            source_ref,
            first_seq: (!nothing).then_some(last + 1),
            last_seq: (missing > 0).then_some(last + missing),
            reason: GapReason::Crash,
            count: missing,
            exact: known.flatten().is_some(),
            declared_by: 0,
        };
        append_own(core, EntryKind::Gap, gap.to_bytes())?;
        if missing > 0 {
            report.gaps.push((source_ref, last + 1, last + missing));
        }
    }
    for name in names {
        let path = dir.join(name);
        std::fs::remove_file(&path).map_err(|error| LedgerError::io("remove", &path, error))?;
    }
    Ok(())
}

fn stream_of(name: &str) -> Option<[u8; 16]> {
    let digits = name.as_bytes().as_chunks::<2>().0;
    let mut stream = [0; 16];
    if name.len() != 32 {
        return None;
    }
    for (byte, pair) in stream.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(stream)
}
