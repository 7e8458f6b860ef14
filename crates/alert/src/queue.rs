//! One receiver's messages on disk: `pending/` and `dead/`, a sealed file each.
//!
//! Invariants: a file is complete or absent (written beside, synced, renamed); a message is in one of the two
//! places, and in both only between the two steps of a burial, after which the dead one counts; names hold
//! time and id, never content.

use crate::config::AlertError;
use crate::message::{STORED_MAX_BYTES, Stored};
use crate::seal::Seal;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest file: a message with what stands beside it.
const FILE_MAX_BYTES: u64 = STORED_MAX_BYTES as u64 + 4096;
/// Most files read at a start from one directory; more than ever are written.
const LISTED_MAX: usize = 1_000_000;

/// A message's name on disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// When it came up, Unix ns.
    pub(crate) created_ns: u64,
    pub(crate) id: String,
    /// How many findings it tells of.
    pub(crate) count: u64,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Receiver that it was for.
    pub receiver: String,
    /// Its id, as in `webhook-id`.
    pub id: String,
    /// When it came up, Unix ns.
    pub created_ns: u64,
    /// Ledger index of the first finding.
    pub index: u64,
    /// Findings that it tells of.
    pub count: u64,
    /// Attempts made.
    pub attempts: u32,
    /// Why it was given up.
    pub why: String,
}

/// The two directories of one receiver.
pub(crate) struct Queue {
    receiver: String,
    pending: PathBuf,
    dead: PathBuf,
    seal: Arc<Seal>,
}

/// What lay there at the start, oldest first.
pub(crate) struct Found {
    /// With the size of each file in bytes.
    pub(crate) pending: Vec<(Name, u64)>,
    pub(crate) dead: Vec<Name>,
}

impl Queue {
    pub(crate) fn open(dir: &Path, receiver: &str, seal: Arc<Seal>) -> Result<(Queue, Found), AlertError> {
        let queue = Queue {
            receiver: receiver.to_owned(),
            pending: dir.join(receiver).join("pending"),
            dead: dir.join(receiver).join("dead"),
            seal,
        };
        for dir in [&queue.pending, &queue.dead] {
            fs::create_dir_all(dir).map_err(io("make", dir))?;
        }
        let dead: Vec<Name> = list(&queue.dead)?.into_iter().map(|(name, _)| name).collect();
        let mut pending = list(&queue.pending)?;
        // A burial that a crash cut short: the dead letter is complete, so the other one goes.
        let twins: Vec<Name> =
            pending.iter().map(|(name, _)| name.clone()).filter(|n| dead.binary_search(n).is_ok()).collect();
        for twin in &twins {
            queue.remove(twin);
        }
        pending.retain(|(name, _)| !twins.contains(name));
        Ok((queue, Found { pending, dead }))
    }

    /// Writes a message; gives the size of its file.
    pub(crate) fn put(&self, name: &Name, stored: &Stored) -> Result<u64, AlertError> {
        self.write(&self.pending, name, stored)
    }

    /// Reads a waiting message; `None` when the file is gone, damaged or not ours.
    pub(crate) fn get(&self, name: &Name) -> Option<Stored> {
        self.read(&self.pending, name)
    }

    /// Forgets a delivered message. A file that stays is delivered again after a restart, under its id.
    pub(crate) fn remove(&self, name: &Name) {
        if fs::remove_file(self.pending.join(name.file())).is_ok() {
            sync_dir(&self.pending);
        }
    }

    /// Moves a message to the dead letters, with the reason in `stored`.
    pub(crate) fn bury(&self, name: &Name, stored: &Stored) -> Result<(), AlertError> {
        self.write(&self.dead, name, stored)?;
        self.remove(name);
        Ok(())
    }

    /// A dead letter.
    pub(crate) fn dead_letter(&self, name: &Name) -> Option<Stored> {
        self.read(&self.dead, name)
    }

    /// Forgets a dead letter.
    pub(crate) fn remove_dead(&self, name: &Name) {
        // A file that cannot be removed is listed again at the next start: no harm.
        let _ = fs::remove_file(self.dead.join(name.file()));
    }

    fn write(&self, dir: &Path, name: &Name, stored: &Stored) -> Result<u64, AlertError> {
        let file = name.file();
        let sealed = self.seal.seal(&self.place(&file), &stored.to_bytes())?;
        write_atomic(dir, &file, &sealed)?;
        Ok(sealed.len() as u64)
    }

    fn read(&self, dir: &Path, name: &Name) -> Option<Stored> {
        let file = name.file();
        let sealed = read_bounded(&dir.join(&file), FILE_MAX_BYTES)?;
        Stored::from_bytes(&self.seal.open(&self.place(&file), &sealed)?)
    }

    /// The same in both directories, so that burying needs no second form.
    fn place(&self, file: &str) -> String {
        format!("{}/{file}", self.receiver)
    }
}

impl Name {
    fn file(&self) -> String {
        match self.count {
            1 => format!("{:020}-{}", self.created_ns, self.id),
            count => format!("{:020}-{}.{count}", self.created_ns, self.id),
        }
    }

    /// Parses a file's name; `None` for files of others.
    pub(crate) fn parse(file: &str) -> Option<Name> {
        let (created, id) = file.split_once('-')?;
        let (id, count) = match id.split_once('.') {
            Some((id, count)) => {
                (id, count.parse().ok().filter(|n| *n != 1 && !count.starts_with(['0', '+']))?)
            }
            None => (id, 1),
        };
        let hex = id.strip_prefix("msg_")?;
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let shaped = created.len() == 20 && created.bytes().all(|b| b.is_ascii_digit());
        let shaped = shaped && hex.len() == 32 && hex.bytes().all(lower_hex);
        let created_ns = created.parse().ok().filter(|_| shaped)?;
        Some(Name { created_ns, id: id.to_owned(), count })
    }
}

/// The messages in a directory, oldest first. What a crash left half written is removed.
fn list(dir: &Path) -> Result<Vec<(Name, u64)>, AlertError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io("list", dir))?.take(LISTED_MAX) {
        let entry = entry.map_err(io("list", dir))?;
        let file = entry.file_name();
        let file = file.to_string_lossy();
        if file.starts_with(".tmp-") {
            let _ = fs::remove_file(entry.path());
        } else if let Some(name) = Name::parse(&file) {
            found.push((name, entry.metadata().map_or(0, |m| m.len())));
        }
    }
    found.sort();
    Ok(found)
}

/// Writes a file so that it is complete or absent after a crash.
pub(crate) fn write_atomic(dir: &Path, file: &str, bytes: &[u8]) -> Result<(), AlertError> {
    let (temporary, target) = (dir.join(format!(".tmp-{file}")), dir.join(file));
    let write = || -> std::io::Result<()> {
        let mut out = File::create(&temporary)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&temporary, &target)
    };
    let done = write().map_err(io("write", &target));
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    sync_dir(dir);
    done
}

/// Reads a file of at most `max` bytes; `None` if it is absent, unreadable or larger.
pub(crate) fn read_bounded(path: &Path, max: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(max + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= max).then_some(bytes)
}

/// Makes a rename or a removal last. Where a file system cannot, the worst is a second delivery.
fn sync_dir(dir: &Path) {
    if let Ok(dir) = File::open(dir) {
        let _ = dir.sync_all();
    }
}

pub(crate) fn io<'p>(what: &'static str, path: &'p Path) -> impl FnOnce(std::io::Error) -> AlertError + 'p {
    move |source| AlertError::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u8) -> Name {
        Name { created_ns: u64::from(n), id: format!("msg_{:032x}", n), count: 1 }
    }
    fn stored(n: u8) -> Stored {
        Stored {
            finding: [n; 16],
            index: 1,
            attempts: 0,
            why: String::new(),
            body: b"spiffe://secret-name".to_vec(),
        }
    }

    #[test]
    fn messages_survive_a_restart_sealed_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let seal = Arc::new(Seal::new(&[1; 32]).unwrap());
        let (queue, _) = Queue::open(dir.path(), "r", seal.clone()).unwrap();
        for n in [3, 1, 2] {
            queue.put(&name(n), &stored(n)).unwrap();
        }
        fs::write(dir.path().join("r/pending/.tmp-x"), b"half").unwrap();
        fs::write(dir.path().join("r/pending/readme"), b"not ours").unwrap();
        let (queue, found) = Queue::open(dir.path(), "r", seal).unwrap();
        assert_eq!(
            found.pending.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>(),
            [name(1), name(2), name(3)]
        );
        assert_eq!(queue.get(&name(2)), Some(stored(2)));
        let raw = fs::read(dir.path().join("r/pending").join(name(1).file())).unwrap();
        assert!(!raw.windows(6).any(|w| w == b"secret"));
        assert!(!dir.path().join("r/pending/.tmp-x").exists());
    }

    #[test]
    fn a_burial_cut_short_counts_as_done() {
        let dir = tempfile::tempdir().unwrap();
        let seal = Arc::new(Seal::new(&[1; 32]).unwrap());
        let (queue, _) = Queue::open(dir.path(), "r", seal.clone()).unwrap();
        queue.put(&name(1), &stored(1)).unwrap();
        let dead = Stored { why: "refused".into(), ..stored(1) };
        queue.bury(&name(1), &dead).unwrap();
        queue.put(&name(1), &stored(1)).unwrap();
        let (queue, found) = Queue::open(dir.path(), "r", seal).unwrap();
        assert_eq!((found.pending.len(), found.dead), (0, vec![name(1)]));
        assert_eq!(queue.get(&name(1)), None);
        assert_eq!(queue.dead_letter(&name(1)), Some(dead));
    }

    #[test]
    fn a_damaged_or_moved_file_is_not_a_message() {
        let dir = tempfile::tempdir().unwrap();
        let seal = Arc::new(Seal::new(&[1; 32]).unwrap());
        let (queue, _) = Queue::open(dir.path(), "r", seal).unwrap();
        queue.put(&name(1), &stored(1)).unwrap();
        let path = |n: u8| dir.path().join("r/pending").join(name(n).file());
        fs::copy(path(1), path(2)).unwrap();
        assert_eq!(queue.get(&name(2)), None);
        let mut bytes = fs::read(path(1)).unwrap();
        bytes[20] ^= 1;
        fs::write(path(1), bytes).unwrap();
        assert_eq!(queue.get(&name(1)), None);
    }

    #[test]
    fn names_of_others_are_not_taken() {
        for file in [
            "",
            "x",
            "1-msg_0",
            "00000000000000000001-msg_zz",
            "99999999999999999999-msg_00000000000000000000000000000001",
        ] {
            assert_eq!(Name::parse(file), None, "{file}");
        }
        assert_eq!(Name::parse(&name(7).file()), Some(name(7)));
        let many = Name { count: 9_999, ..name(7) };
        assert_eq!(Name::parse(&many.file()), Some(many));
        for count in ["1", "0", "", "+2", "02", "x", "99999999999999999999"] {
            assert_eq!(Name::parse(&format!("{}.{count}", name(7).file())), None, "{count}");
        }
    }
}
