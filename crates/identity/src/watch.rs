//! Whether files have changed, told cheaply: by time, size and inode first, by content where those say so.
//!
//! Not a subscription with the system: a control thread asks every few seconds. Invariant: after a change that
//! was there before the last [`Watch::mark`] began to read, [`Watch::changed`] says so until the next mark.

use crate::text::sha256;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A file that was written this short a time ago may be written again within the same tick of its clock.
const RACY: Duration = Duration::from_secs(2);
/// Largest file whose content is compared, bytes; a larger one counts as changed when its size or time changes.
const CONTENT_MAX_BYTES: u64 = 32 << 20;

/// Files and how they looked last time.
#[derive(Default)]
pub(crate) struct Watch(Mutex<Vec<(PathBuf, Stamp)>>);

#[derive(Clone, PartialEq, Eq)]
struct Stamp {
    /// Device, inode, size, time in seconds and nanoseconds; `None` = not there.
    meta: Option<[i128; 5]>,
    /// The time was too fresh to be trusted.
    racy: bool,
    content: Option<[u8; 32]>,
}

impl Watch {
    /// Notes how the files look now. Call it before reading them: a change while they are read then shows.
    pub(crate) fn mark(&self, files: &[PathBuf]) {
        let stamps = files.iter().map(|file| (file.clone(), Stamp::of(file, true))).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
    }

    /// Whether any file holds something else than at the last mark.
    pub(crate) fn changed(&self) -> bool {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter_mut().any(|(path, seen)| {
            let meta = Stamp::of(path, false);
            if meta.meta == seen.meta && !seen.racy {
                return false;
            }
            let now = Stamp::of(path, true);
            if now.content != seen.content || now.meta.is_some() != seen.meta.is_some() {
                return true;
            }
            // Touched, or no longer fresh, with the same content.
            *seen = now;
            false
        })
    }
}

impl Stamp {
    fn of(path: &Path, content: bool) -> Stamp {
        let Ok(meta) = std::fs::metadata(path) else {
            return Stamp { meta: None, racy: false, content: None };
        };
        let fresh = meta.modified().ok().and_then(|t| SystemTime::now().duration_since(t).ok());
        let known = [
            i128::from(meta.dev()),
            i128::from(meta.ino()),
            i128::from(meta.size()),
            i128::from(meta.mtime()),
            i128::from(meta.mtime_nsec()),
        ];
        let small = content && meta.size() <= CONTENT_MAX_BYTES;
        Stamp {
            meta: Some(known),
            racy: fresh.is_none_or(|age| age < RACY),
            content: small.then(|| std::fs::read(path).ok()).flatten().map(|bytes| sha256(&bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_once_it_is_there_and_until_the_next_mark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "one").unwrap();
        let files = [path.clone(), dir.path().join("absent")];
        let watch = Watch::default();
        watch.mark(&files);
        assert!(!watch.changed());
        // The same length within the same tick of the file's clock.
        std::fs::write(&path, "two").unwrap();
        assert!(watch.changed() && watch.changed());
        watch.mark(&files);
        assert!(!watch.changed());
        std::fs::write(&path, "two").unwrap();
        assert!(!watch.changed(), "written again with the same content");
        std::fs::write(dir.path().join("new"), "two").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(!watch.changed());
        std::fs::write(&files[1], "").unwrap();
        assert!(watch.changed(), "a file that appears");
        watch.mark(&files);
        std::fs::remove_file(&path).unwrap();
        assert!(watch.changed(), "a file that goes");
    }
}
