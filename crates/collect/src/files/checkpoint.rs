//! How far each file was read, on disk: written as a whole, beside, then renamed, so that a crash leaves the old or
//! the new one.
//!
//! Lines of text, so that an operator can look: `countersign files 1`, one line a file, and at last
//! `end COUNT SHA-256`, over everything above. Paths are percent-encoded. Digests of contents are keyed with the
//! tenant's key. A checkpoint that is damaged is refused, never guessed.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Largest checkpoint, bytes.
pub const CHECKPOINT_MAX: u64 = 256 << 20;
/// First line.
const MAGIC: &str = "countersign files 1";
/// How long a file that is no longer there is remembered, s.
pub const GONE_KEPT: u64 = 24 * 3_600;

/// Bytes of a file that were read: it is the same file as long as they are what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Print {
    /// Offset behind the last of them.
    pub end: u64,
    /// How many, at most 1 KiB.
    pub len: u64,
    /// Their digest.
    pub digest: [u8; 32],
}

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Device and inode.
    pub inode: (u64, u64),
    /// What its records are known by.
    pub id: [u8; 16],
    /// How many files with this inode and this beginning there were before.
    pub turn: u64,
    /// First byte that is not durable. Of a packed file: unpacked.
    pub offset: u64,
    /// Length when last looked at.
    pub seen: u64,
    /// Its beginning.
    pub head: Print,
    /// What was read last.
    pub tail: Print,
    /// It is read once, and was when it had this length on the disk.
    pub done: Option<u64>,
    /// Since when no path leads to it and it was read to its end, s since 1970.
    pub gone: Option<u64>,
    /// Where it was last seen.
    pub path: PathBuf,
}

impl Mark {
    fn line(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{} {} {} {} {} {} {} {} {} {} {} ",
            self.inode.0,
            self.inode.1,
            hex(&self.id),
            self.turn,
            self.offset,
            self.seen,
            self.head.len,
            hex(&self.head.digest),
            self.tail.end,
            self.tail.len,
            hex(&self.tail.digest),
        );
        for optional in [self.done, self.gone] {
            let _ = match optional {
                Some(number) => write!(out, "{number} "),
                None => write!(out, "- "),
            };
        }
        for byte in self.path.as_os_str().as_bytes() {
            match byte {
                b'!'..=b'~' if *byte != b'%' => out.push(char::from(*byte)),
                byte => drop(write!(out, "%{byte:02x}")),
            }
        }
        out.push('\n');
    }

    fn read(line: &str) -> Option<Mark> {
        let mut words = line.split(' ');
        let mut word = || words.next();
        let number = |word: Option<&str>| word?.parse::<u64>().ok();
        let inode = (number(word())?, number(word())?);
        let id = bytes::<16>(word()?)?;
        let (turn, offset, seen) = (number(word())?, number(word())?, number(word())?);
        let head_len = number(word())?;
        let head = Print { end: head_len, len: head_len, digest: bytes(word()?)? };
        let tail = Print { end: number(word())?, len: number(word())?, digest: bytes(word()?)? };
        let optional = |word: &str| match word {
            "-" => Some(None),
            number => number.parse::<u64>().ok().map(Some),
        };
        let (done, gone) = (optional(word()?)?, optional(word()?)?);
        let path = path(word()?)?;
        let whole = words.next().is_none() && tail.len <= tail.end && head_len <= 1_024 && tail.len <= 1_024;
        whole.then_some(Mark { inode, id, turn, offset, seen, head, tail, done, gone, path })
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (number, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * number..2 * number + 2)?, 16).ok()?;
    }
    Some(out)
}

fn path(text: &str) -> Option<PathBuf> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, behind)) = rest.split_first() {
        match byte {
            b'%' => {
                let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                rest = behind.get(2..)?;
            }
            byte => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(out)))
}

/// The text of a checkpoint.
pub fn encode<'a>(marks: impl Iterator<Item = &'a Mark>) -> String {
    let mut out = format!("{MAGIC}\n");
    let mut count = 0;
    for mark in marks {
        mark.line(&mut out);
        count += 1;
    }
    let digest: [u8; 32] = Sha256::digest(out.as_bytes()).into();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "end {count} {}", hex(&digest));
    out
}

/// The marks of a checkpoint.
///
/// # Errors
/// The rule that its text breaks.
pub fn decode(text: &str) -> Result<Vec<Mark>, &'static str> {
    let body = text.strip_suffix('\n').ok_or("its last line is cut short")?;
    let (body, end) = body.rsplit_once('\n').ok_or("it has no end")?;
    let (count, digest) =
        end.strip_prefix("end ").and_then(|end| end.split_once(' ')).ok_or("it has no end")?;
    let above = text.get(..body.len() + 1).unwrap_or_default();
    let own: [u8; 32] = Sha256::digest(above.as_bytes()).into();
    if bytes::<32>(digest) != Some(own) {
        return Err("its digest is not that of its lines");
    }
    let mut lines = body.split('\n');
    if lines.next() != Some(MAGIC) {
        return Err("it is of another version");
    }
    let marks: Option<Vec<Mark>> = lines.map(Mark::read).collect();
    let marks = marks.ok_or("a line of it is not as it should be")?;
    if count.parse() != Ok(marks.len()) {
        return Err("it holds another number of lines than it says");
    }
    Ok(marks)
}

/// Reads a checkpoint; none = nothing was read before.
///
/// # Errors
/// It cannot be read, or is damaged.
pub fn load(path: &Path) -> Result<Vec<Mark>, super::FilesError> {
    let disk = |error| super::FilesError::Disk { path: path.to_owned(), error };
    let damaged = |why| super::FilesError::Damaged { path: path.to_owned(), why };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(disk(error)),
    };
    let mut text = Vec::new();
    file.take(CHECKPOINT_MAX + 1).read_to_end(&mut text).map_err(disk)?;
    if text.len() as u64 > CHECKPOINT_MAX {
        return Err(damaged("it is larger than 256 MiB"));
    }
    decode(std::str::from_utf8(&text).map_err(|_| damaged("it is not UTF-8"))?).map_err(damaged)
}

/// Replaces the checkpoint as one step.
///
/// # Errors
/// What the system said; the old one stays then.
pub fn store<'a>(path: &Path, marks: impl Iterator<Item = &'a Mark>) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let aside = path.with_extension("tmp");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(encode(marks).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    std::fs::File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark(n: u64) -> Mark {
        Mark {
            inode: (n, n + 1),
            id: [n as u8; 16],
            turn: n,
            offset: n * 3,
            seen: n * 4,
            head: Print { end: n % 1_025, len: n % 1_025, digest: [1; 32] },
            tail: Print { end: n + 2_000, len: 7, digest: [2; 32] },
            done: n.is_multiple_of(3).then_some(n),
            gone: (n % 2 == 1).then_some(n),
            path: format!("/var/log/a b%{n}\n.log").into(),
        }
    }

    #[test]
    fn what_is_stored_is_loaded_and_a_missing_one_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/a.files");
        assert_eq!(load(&path).unwrap(), []);
        let marks = [mark(0), mark(7)];
        store(&path, marks.iter()).unwrap();
        store(&path, marks.iter()).unwrap();
        assert_eq!(load(&path).unwrap(), marks);
    }

    #[test]
    fn a_change_or_a_cut_anywhere_is_noticed() {
        let text = encode([mark(1), mark(2)].iter());
        for at in 0..text.len() {
            assert!(decode(&text[..at]).is_err(), "cut at {at}");
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(decode(&changed).is_err() || changed.eq_ignore_ascii_case(&text), "changed at {at}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), marks in prop::collection::vec(0u64..5_000, 0..5)) {
            let _ = decode(&text);
            let _ = Mark::read(&text);
            let marks: Vec<Mark> = marks.into_iter().map(mark).collect();
            prop_assert_eq!(decode(&encode(marks.iter())), Ok(marks));
        }
    }
}
