//! The detectors' state on disk: what they knew at one place of the ledger.
//!
//! Not evidence, and never the only copy of anything: losing it costs a replay. File `state-<next index>`: `magic "CSDS" |
//! version u16 | nonce 12 | AES-256-GCM of (next u64, then sections: id length u16, id, length u32, bytes)`; numbers
//! big-endian, the head bound in. Invariants: written beside and renamed; the two newest are kept; one that is damaged is
//! never half used.

use crate::exit::CliError;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 6] = b"CSDS\0\x01";
/// Files kept.
const KEPT: usize = 2;
/// Largest file read, bytes: above what all detectors may hold.
const MAX_BYTES: u64 = 4 << 30;

/// The directory of the files.
pub(super) struct Snapshots {
    dir: PathBuf,
    key: LessSafeKey,
}

/// What was known at a place.
#[derive(Default)]
pub(super) struct Snapshot {
    /// The next index to look at.
    pub(super) next: u64,
    sections: Vec<(String, Vec<u8>)>,
}

impl Snapshot {
    /// What the detector with this id knew; empty = nothing.
    pub(super) fn section(&self, id: &str) -> &[u8] {
        self.sections.iter().find(|(name, _)| name == id).map_or(&[], |(_, bytes)| bytes)
    }
}

impl Snapshots {
    pub(super) fn open(dir: &Path, key: &[u8; 32]) -> Result<Snapshots, CliError> {
        std::fs::create_dir_all(dir).map_err(|e| {
            CliError::new(format!("cannot make {}", dir.display()), e, "check its permissions")
        })?;
        let unbound = UnboundKey::new(&AES_256_GCM, key).map_err(|_| {
            CliError::Failed("the key of the detectors' state does not fit its cipher".into())
        })?;
        Ok(Snapshots { dir: dir.to_owned(), key: LessSafeKey::new(unbound) })
    }

    /// The newest that can be read and is not beyond `size`, else an empty one; and what was wrong with newer ones.
    pub(super) fn newest(&self, size: u64) -> (Snapshot, Option<String>) {
        let mut trouble = None;
        for (next, path) in self.files().into_iter().rev() {
            if next > size {
                trouble = Some(format!("{}: the ledger is shorter", path.display()));
                continue;
            }
            match self.read(&path).filter(|snapshot| snapshot.next == next) {
                Some(snapshot) => return (snapshot, trouble),
                None => trouble = Some(format!("{}: damaged", path.display())),
            }
        }
        (Snapshot::default(), trouble)
    }

    pub(super) fn write(&self, next: u64, sections: &[(&str, Vec<u8>)]) -> io::Result<()> {
        let mut bytes = next.to_be_bytes().to_vec();
        for (id, section) in sections {
            let long = |_| io::Error::other("the state of a detector is too large");
            bytes.extend_from_slice(&u16::try_from(id.len()).map_err(long)?.to_be_bytes());
            bytes.extend_from_slice(id.as_bytes());
            bytes.extend_from_slice(&u32::try_from(section.len()).map_err(long)?.to_be_bytes());
            bytes.extend_from_slice(section);
        }
        let mut nonce = [0; NONCE_LEN];
        let random = SystemRandom::new().fill(&mut nonce);
        random.map_err(|_| io::Error::other("the system gave no randomness"))?;
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(MAGIC), &mut bytes)
            .map_err(|_| io::Error::other("the state is too large to encrypt"))?;
        let fresh = self.dir.join("state.new");
        let mut file = std::fs::File::create(&fresh)?;
        for part in [MAGIC.as_slice(), &nonce, &bytes] {
            file.write_all(part)?;
        }
        file.sync_all()?;
        std::fs::rename(&fresh, self.dir.join(format!("state-{next:020}")))?;
        let files = self.files();
        for (_, path) in files.iter().take(files.len().saturating_sub(KEPT)) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Option<Snapshot> {
        if std::fs::metadata(path).ok()?.len() > MAX_BYTES {
            return None;
        }
        let file = std::fs::read(path).ok()?;
        let rest = file.strip_prefix(MAGIC)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened: &[u8] = self.key.open_in_place(nonce, Aad::from(MAGIC), &mut sealed).ok()?;
        parse(opened)
    }

    /// By place, ascending.
    fn files(&self) -> Vec<(u64, PathBuf)> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        let place = |path: PathBuf| {
            let name = path.file_name()?.to_str()?.strip_prefix("state-")?.parse().ok()?;
            Some((name, path))
        };
        let mut files: Vec<(u64, PathBuf)> = entries.filter_map(|entry| place(entry.ok()?.path())).collect();
        files.sort_unstable();
        files
    }
}

fn parse(opened: &[u8]) -> Option<Snapshot> {
    let (next, mut rest) = opened.split_first_chunk::<8>()?;
    let mut sections = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (id, tail) = tail.split_at_checked(u16::from_be_bytes(*length).into())?;
        let (length, tail) = tail.split_first_chunk::<4>()?;
        let (bytes, tail) = tail.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        sections.push((String::from_utf8(id.to_vec()).ok()?, bytes.to_vec()));
        rest = tail;
    }
    Some(Snapshot { next: u64::from_be_bytes(*next), sections })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(snapshots: &Snapshots, next: u64) {
        snapshots.write(next, &[("a", vec![1, 2, next as u8]), ("b", Vec::new())]).unwrap();
    }

    #[test]
    fn the_newest_is_taken_up_two_are_kept_and_a_damaged_one_is_never_half_used() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(dir.path(), &[7; 32]).unwrap();
        assert_eq!(snapshots.newest(99).0.next, 0);
        for next in [5, 9, 12] {
            write(&snapshots, next);
        }
        assert_eq!(snapshots.files().len(), KEPT);
        let (newest, trouble) = snapshots.newest(12);
        assert_eq!((newest.next, newest.section("a"), trouble), (12, [1, 2, 12].as_slice(), None));
        assert!(newest.section("b").is_empty() && newest.section("c").is_empty());
        assert_eq!(snapshots.newest(11).0.next, 9, "beyond the ledger");

        let path = dir.path().join(format!("state-{:020}", 12));
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            let (older, trouble) = snapshots.newest(12);
            assert_eq!((older.next, older.section("a")), (9, [1, 2, 9].as_slice()), "byte {at}");
            assert!(trouble.unwrap().contains("damaged"));
        }
        std::fs::write(&path, &whole).unwrap();
        std::fs::rename(&path, dir.path().join(format!("state-{:020}", 13))).unwrap();
        assert_eq!(snapshots.newest(99).0.next, 9, "it is of another place");
        let other = Snapshots::open(dir.path(), &[8; 32]).unwrap();
        assert_eq!(other.newest(99).0.next, 0, "another key");
    }
}
