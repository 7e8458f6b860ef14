//! Passing a live source to the process that takes over: a run goes on over a change of the binary.
//!
//! The old process suspends its sources, shuts the ledger down, and hands over a [`PassedSource`] of each. The
//! new one names them in [`Options::resumed`](crate::Options): the numbering goes on, heartbeats are signed by the
//! same key, and no loss is declared. The file that counts what a source owes stays with the old process, which
//! goes on writing it until it ends; then the new one removes it, or declares what is missing.
//!
//! Invariants: at any moment one process writes the log (its lock) and one process writes a count file; when both
//! die, the next start finds the source open and its count, and declares the loss as after any crash.

use crate::bodies::SourceReg;
use crate::core::{Core, lock};
use crate::disk::read_bounded;
use crate::source::{OWED_LEN, SourceState, decode_owed, hex};
use crate::{GapReason, LedgerError, Source};
use countersign_event::cbor::{Value, decode, encode};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use zeroize::Zeroizing;

/// Longest text form of a [`PassedSource`], bytes.
pub const PASSED_MAX: usize = 4_096;
/// Most sources that one process passes.
pub const PASSED_SOURCES_MAX: usize = 1_024;

/// A source as it left one process. Holds the private key of its run: for a private channel only, never a file.
#[derive(Clone)]
pub struct PassedSource {
    reg: SourceReg,
    seed: Zeroizing<[u8; 32]>,
    next: u64,
    /// Counts and running hash since its last heartbeat, as a body.
    window: Vec<u8>,
    /// Seen, sent, rejected, dropped since its registration.
    totals: [u64; 4],
}

impl std::fmt::Debug for PassedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PassedSource").field("source_ref", &self.reg.source_ref).finish_non_exhaustive()
    }
}

impl PassedSource {
    /// Its run.
    pub fn stream(&self) -> [u8; 16] {
        self.reg.stream
    }

    /// Canonical CBOR: an array of registration, key, next number, window, totals.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        let fields = vec![
            bytes(&self.reg.to_bytes()),
            bytes(self.seed.as_slice()),
            Value::Uint(self.next),
            bytes(&self.window),
            Value::Array(self.totals.map(Value::Uint).to_vec()),
        ];
        // Five fields of bounded depth: encoding cannot fail.
        Zeroizing::new(encode(&Value::Array(fields)).unwrap_or_default())
    }

    /// From its bytes; `None` if they are longer than [`PASSED_MAX`] or of another shape.
    pub fn parse(bytes: &[u8]) -> Option<PassedSource> {
        if bytes.len() > PASSED_MAX {
            return None;
        }
        let value = decode(bytes).ok()?;
        let [reg, seed, next, window, totals] = value.as_array()? else { return None };
        let totals: Vec<u64> = totals.as_array()?.iter().map(Value::as_uint).collect::<Option<_>>()?;
        Some(PassedSource {
            reg: SourceReg::parse(reg.as_bytes()?)?,
            seed: Zeroizing::new(seed.as_bytes()?.try_into().ok()?),
            next: next.as_uint()?,
            window: window.as_bytes()?.to_vec(),
            totals: totals.try_into().ok()?,
        })
    }
}

impl Source {
    /// From now on a shutdown of the ledger does not end this source. What it owes goes on being counted here
    /// ([`Source::owe`], [`Source::folded`]), also after that shutdown.
    pub fn suspend(&self) {
        self.state.suspended.store(true, Ordering::Release);
    }

    /// What another process needs to go on. Call it after the shutdown, when nothing is in flight; `None` unless
    /// the source was suspended.
    pub fn pass(&self) -> Option<PassedSource> {
        let state = &self.state;
        if !state.suspended.load(Ordering::Acquire) {
            return None;
        }
        let next = state.seq.lock().unwrap_or_else(PoisonError::into_inner).next;
        let window = state.window.lock().unwrap_or_else(PoisonError::into_inner).ckpt.to_bytes();
        let totals = [&state.seen, &state.sent, &state.rejected, &state.dropped];
        Some(PassedSource {
            reg: state.reg.clone(),
            seed: Zeroizing::new(state.key.to_bytes()),
            next,
            window,
            totals: totals.map(|n| n.load(Ordering::Acquire)),
        })
    }

    /// The process that this source was taken over from has ended. `whole`: it said that every record is here;
    /// otherwise what it owed and did not send becomes a GAP. Gives the number of lost records.
    ///
    /// # Errors
    /// The count file cannot be read or removed, or the ledger takes nothing more.
    pub fn passed_ended(&self, whole: bool) -> Result<u64, LedgerError> {
        let path = self.count_file();
        let bytes = read_bounded(&path, OWED_LEN as u64)?;
        let owed = bytes.as_deref().and_then(decode_owed).map_or(0, |(_, _, count)| count);
        let given = self.state.seq.lock().unwrap_or_else(PoisonError::into_inner).next.saturating_sub(1);
        let missing = if whole { 0 } else { owed.saturating_sub(given) };
        self.dropped(missing, GapReason::Crash)?;
        if bytes.is_some() {
            std::fs::remove_file(&path).map_err(|error| LedgerError::io("remove", &path, error))?;
        }
        Ok(missing)
    }

    fn count_file(&self) -> PathBuf {
        self.core.dir.join("sources").join(hex(&self.stream()))
    }
}

/// Makes live again what the log and `passed` agree on; gives their runs. What does not fit is left to be
/// declared lost: it did not end here.
pub(crate) fn resume(core: &Arc<Core>, passed: Vec<PassedSource>) -> Vec<[u8; 16]> {
    let mut registry = lock(&core.registry);
    let mut resumed = Vec::new();
    for one in passed.into_iter().take(PASSED_SOURCES_MAX) {
        let source_ref = one.reg.source_ref;
        let fits = registry.sources.get(&source_ref).is_some_and(|known| {
            !known.closed
                && known.reg == one.reg
                && known.reg.public_key == SourceState::public_key(&one.seed)
                && known.info.last_seq.checked_add(1) == Some(one.next)
        });
        let stream = one.reg.stream;
        let state = fits.then(|| SourceState::resumed(one, core)).flatten();
        match state {
            Some(state) => {
                registry.live.insert(source_ref, Arc::new(state));
                resumed.push(stream);
            }
            None => tracing::error!(source = source_ref, "a source that was passed on does not fit the log"),
        }
    }
    resumed
}

impl SourceState {
    fn resumed(passed: PassedSource, core: &Core) -> Option<SourceState> {
        let ckpt = crate::bodies::SourceCkpt::parse(&passed.window)?;
        let now = core.clock.monotonic_ns();
        let state = SourceState::new(passed.reg, &passed.seed, now, &core.dir.join("sources"));
        state.window.lock().unwrap_or_else(PoisonError::into_inner).ckpt = ckpt;
        state.seq.lock().unwrap_or_else(PoisonError::into_inner).next = passed.next;
        state.last_seq.store(passed.next.saturating_sub(1), Ordering::Release);
        for (counter, n) in
            [&state.seen, &state.sent, &state.rejected, &state.dropped].iter().zip(passed.totals)
        {
            counter.store(n, Ordering::Release);
        }
        Some(state)
    }
}
