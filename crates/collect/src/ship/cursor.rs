//! The file that says how far the core has everything, for the next start and for `countersign status`.
//!
//! Lines of a key and a value, written beside and renamed, so that it is whole or the one before. It is no proof of
//! anything: the core is asked. Lost, it costs one reading of the log.

use super::Status;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Name of the file in a data directory.
pub const FILE: &str = "shipped";
/// Largest file, bytes.
pub const FILE_MAX: u64 = 16 << 10;
const FIRST: &str = "countersign shipped 1";
/// Longest error kept, characters.
const ERROR_MAX: usize = 1_000;

/// How far the core has everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Every leaf of this log below this one is durable at the core, or was nothing to ship.
    pub next: u64,
    /// Origin of the core's log; empty before the first answer.
    pub origin: String,
    /// Size of the core's log at its last answer: an older copy of it is smaller.
    pub size: u64,
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How far.
    pub cursor: Cursor,
    /// Where to.
    pub core: String,
    /// When it was written, Unix seconds.
    pub at_s: u64,
    /// Leaves that were not at the core then, and the age of the oldest of them, seconds.
    pub behind: (u64, u64),
    /// What went wrong last, if nothing was shipped since.
    pub error: Option<String>,
}

impl State {
    /// Reads the file; `None` = there is none.
    ///
    /// # Errors
    /// It cannot be read, or is no such file.
    pub fn load(path: &Path) -> io::Result<Option<State>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.take(FILE_MAX).read_to_string(&mut text)?;
        State::parse(&text).map(Some).ok_or_else(|| {
            let why =
                format!("{} is damaged: remove it, and shipping asks the core what it has", path.display());
            io::Error::new(io::ErrorKind::InvalidData, why)
        })
    }

    /// From its text; `None` = it is out of form or was cut.
    pub fn parse(text: &str) -> Option<State> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST) || !text.ends_with("end\n") {
            return None;
        }
        let mut state = State::default();
        for line in lines {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "core" => state.core = value.to_owned(),
                "origin" => state.cursor.origin = value.to_owned(),
                "size" => state.cursor.size = value.parse().ok()?,
                "next" => state.cursor.next = value.parse().ok()?,
                "at" => state.at_s = value.parse().ok()?,
                "behind" => {
                    let (count, age) = value.split_once(' ')?;
                    state.behind = (count.parse().ok()?, age.parse().ok()?);
                }
                "error" => state.error = Some(value.to_owned()),
                // Of a newer version.
                _ => {}
            }
        }
        Some(state)
    }
}

impl Cursor {
    /// Where shipping goes on; the start where there is no file.
    ///
    /// # Errors
    /// As [`State::load`].
    pub fn load(path: &Path) -> io::Result<Cursor> {
        Ok(State::load(path)?.unwrap_or_default().cursor)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, path: &Path, core: &str, status: &Status) -> io::Result<()> {
        let mut text = format!(
            "{FIRST}\ncore {}\norigin {}\nsize {}\nnext {}\nat {}\nbehind {} {}\n",
            line(core),
            line(&self.origin),
            self.size,
            self.next,
            crate::receivers::now() / 1_000_000_000,
            status.behind,
            status.behind_s
        );
        if let Some(error) = &status.error {
            text.push_str(&format!("error {}\n", line(error)));
        }
        text.push_str("end\n");
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    }
}

/// On one line, within the bound.
fn line(text: &str) -> String {
    text.chars().take(ERROR_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_a_cut_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(State::load(&path).unwrap(), None);
        let cursor = Cursor { next: 7, origin: "example.org/core/1".into(), size: 99 };
        let status =
            Status { error: Some("no\nconnection".into()), behind: 5, behind_s: 9, ..Status::default() };
        cursor.save(&path, "https://core:4319", &status).unwrap();
        let state = State::load(&path).unwrap().unwrap();
        assert_eq!((state.cursor, state.error.as_deref()), (cursor.clone(), Some("no connection")));
        assert_eq!((state.core.as_str(), state.behind), ("https://core:4319", (5, 9)));
        assert!(state.at_s > 1_700_000_000);
        cursor.save(&path, "https://core:4319", &Status::default()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(State::parse(&text).unwrap().error, None);
        for cut in 0..text.len() {
            assert_eq!(State::parse(&text[..cut]), None, "cut at {cut}");
        }
        std::fs::write(&path, "next 5").unwrap();
        assert!(State::load(&path).unwrap_err().to_string().contains("remove it"));
    }
}
