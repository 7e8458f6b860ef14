//! [`Memory`] on disk: a sealed snapshot, and the sealed changes since.
//!
//! `memory` is the snapshot; `journal` holds records of `length u32 | sealed change`. Invariants: a change is in the
//! journal before its finding is acknowledged, so it survives `kill -9` (it survives a power failure from the next
//! snapshot on, at most [`SNAPSHOT_EVERY`] later); each record is bound to its number, so none can be moved, repeated
//! or left out unnoticed; reading ends at the first record that is torn.

use crate::config::AlertError;
use crate::memory::{Delta, Memory};
use crate::queue::{io, read_bounded, write_atomic};
use crate::seal::Seal;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often the snapshot is written while something changes.
pub const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);
/// Size of the journal at which the snapshot does not wait, in bytes.
pub const JOURNAL_MAX_BYTES: u64 = 16 << 20;
/// Largest snapshot read, in bytes.
const SNAPSHOT_MAX_BYTES: u64 = 256 << 20;
const SNAPSHOT: &str = "memory";
const JOURNAL: &str = "journal";

/// The memory and its two files.
pub(crate) struct Kept {
    pub(crate) memory: Memory,
    dir: PathBuf,
    seal: Arc<Seal>,
    journal: Option<File>,
    length: u64,
    changed: bool,
}

impl Kept {
    /// Reads what there is; what is damaged or of another key is begun anew.
    pub(crate) fn open(dir: PathBuf, seal: Arc<Seal>) -> Result<Kept, AlertError> {
        let snapshot = read_bounded(&dir.join(SNAPSHOT), SNAPSHOT_MAX_BYTES);
        let memory = snapshot.and_then(|b| seal.open(SNAPSHOT, &b)).and_then(|b| Memory::from_bytes(&b));
        let mut memory = memory.unwrap_or_default();
        let journal = read_bounded(&dir.join(JOURNAL), SNAPSHOT_MAX_BYTES).unwrap_or_default();
        let mut applied = false;
        for (seq, delta) in records(&journal, &seal) {
            if seq == memory.seq + 1 {
                memory.apply(delta);
                applied = true;
            }
        }
        let mut kept = Kept { memory, dir, seal, journal: None, length: 0, changed: applied };
        if applied {
            kept.snapshot()?
        } else {
            kept.begin_journal()?
        }
        Ok(kept)
    }

    /// Makes a change, and keeps it.
    pub(crate) fn apply(&mut self, delta: Delta) {
        let bytes = delta.to_bytes();
        self.memory.apply(delta);
        self.changed = true;
        let seq = self.memory.seq;
        let kept = self.seal.seal(&place(seq), &bytes).is_ok_and(|sealed| self.append(seq, &sealed));
        if !kept || self.length > JOURNAL_MAX_BYTES {
            self.save();
        }
    }

    fn append(&mut self, seq: u64, sealed: &[u8]) -> bool {
        let Ok(length) = u32::try_from(sealed.len()) else { return false };
        let record = [&seq.to_be_bytes(), length.to_be_bytes().as_slice(), sealed].concat();
        self.length += record.len() as u64;
        let written = self.journal.as_mut().is_some_and(|journal| journal.write_all(&record).is_ok());
        if !written {
            // Its end may be torn: nothing more goes behind that.
            self.journal = None;
        }
        written
    }

    /// For changes that are rare and must be on disk before they are acknowledged.
    pub(crate) fn save_now(&mut self) -> Result<(), AlertError> {
        self.changed = true;
        self.snapshot()
    }

    /// Writes the snapshot if anything changed since the last.
    pub(crate) fn save(&mut self) {
        if self.changed
            && let Err(error) = self.snapshot()
        {
            // What neither file takes is forgotten at a restart, and rings once more.
            tracing::warn!(target: "countersign::alert", %error, "memory of alerts not saved");
        }
    }

    fn snapshot(&mut self) -> Result<(), AlertError> {
        let sealed = self.seal.seal(SNAPSHOT, &self.memory.to_bytes())?;
        write_atomic(&self.dir, SNAPSHOT, &sealed)?;
        self.changed = false;
        self.begin_journal()
    }

    /// An empty journal: what was in it is in the snapshot.
    fn begin_journal(&mut self) -> Result<(), AlertError> {
        let path = self.dir.join(JOURNAL);
        self.journal = None;
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(&path);
        self.journal = Some(file.map_err(io("open", &path))?);
        self.length = 0;
        Ok(())
    }
}

fn place(seq: u64) -> String {
    format!("{JOURNAL}/{seq}")
}

/// The whole records of a journal, with their numbers.
fn records(mut bytes: &[u8], seal: &Seal) -> Vec<(u64, Delta)> {
    let mut found = Vec::new();
    while let Some((seq, delta, rest)) = record(bytes, seal) {
        found.push((seq, delta));
        bytes = rest;
    }
    found
}

fn record<'b>(bytes: &'b [u8], seal: &Seal) -> Option<(u64, Delta, &'b [u8])> {
    let (seq, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sealed, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let seq = u64::from_be_bytes(*seq);
    Some((seq, Delta::from_bytes(&seal.open(&place(seq), sealed)?)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(dir: &std::path::Path) -> Kept {
        Kept::open(dir.to_owned(), Arc::new(Seal::new(&[3; 32]).unwrap())).unwrap()
    }
    fn handled(n: u64) -> Delta {
        Delta { handled: n, ..Delta::default() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_was_applied_is_there_after_a_kill_wherever_the_journal_was_cut(
            steps in proptest::collection::vec((1..1000u64, any::<bool>()), 1..12), cut in 0..40usize
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut kept = open(dir.path());
            for (n, save) in steps {
                kept.apply(handled(n));
                if save { kept.save(); }
            }
            let before = kept.memory.clone();
            drop(kept);
            prop_assert_eq!(&open(dir.path()).memory, &before);
            let mut kept = open(dir.path());
            kept.apply(handled(2000));
            let journal = std::fs::read(dir.path().join(JOURNAL)).unwrap();
            std::fs::write(dir.path().join(JOURNAL), &journal[..journal.len().saturating_sub(cut)]).unwrap();
            let after = open(dir.path()).memory;
            prop_assert!(after.handled == 2000 && cut == 0 || after == before);
        }
    }

    #[test]
    fn records_cannot_be_moved_and_another_key_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = open(dir.path());
        kept.apply(handled(1));
        kept.apply(handled(2));
        let journal = std::fs::read(dir.path().join(JOURNAL)).unwrap();
        let half = journal.len() / 2;
        std::fs::write(dir.path().join(JOURNAL), [&journal[half..], &journal[..half]].concat()).unwrap();
        assert_eq!(open(dir.path()).memory.seq, 1, "the second has no first before it");
        let mut renumbered = journal[half..].to_vec();
        renumbered[..8].copy_from_slice(&1u64.to_be_bytes());
        std::fs::write(dir.path().join(JOURNAL), renumbered).unwrap();
        std::fs::remove_file(dir.path().join(SNAPSHOT)).unwrap();
        assert_eq!(open(dir.path()).memory, Memory::default());
        let mut kept = open(dir.path());
        kept.apply(handled(9));
        kept.save();
        let other = Kept::open(dir.path().to_owned(), Arc::new(Seal::new(&[4; 32]).unwrap())).unwrap();
        assert_eq!(other.memory, Memory::default());
    }
}
