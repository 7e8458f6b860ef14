//! Files as such: what does not belong, what is longer than the log, and the count files of sources.

use super::FindingClass;
use super::walk::{INTEGRITY, MISSING, Walk};
use crate::LedgerError;
use crate::disk::{TEMP_SUFFIX, list, read_bounded};
use crate::limits::SUBTREE;
use crate::log::{BUNDLE_ENTRY, TILE, subtree_name};
use crate::source::{decode_owed, hex};
use crate::wal::file_number;

/// Whether a file name belongs in its directory.
type Rule = fn(&str) -> bool;

impl Walk<'_> {
    /// Files that nobody here writes.
    pub(super) fn strays(&mut self) {
        let wal: Rule = |name| file_number(name).is_some();
        let number: Rule = |name| name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit());
        let rules: [(&str, Rule); 6] = [
            ("wal", wal),
            ("keys", |name| ["epoch", "tenant", "wal", "parts"].contains(&name)),
            ("signer", |name| ["key", "state"].contains(&name)),
            ("meta", number),
            ("log/entries", number),
            ("log/nodes", number),
        ];
        for (dir, belongs) in rules {
            for name in list(&self.dir.join(dir)).unwrap_or_default() {
                let temp = name.ends_with(TEMP_SUFFIX);
                if !belongs(&name) && !temp {
                    self.report.add(
                        FindingClass::Stray,
                        format!("{dir}/{name}"),
                        MISSING,
                        "does not belong here",
                    );
                }
            }
        }
    }

    /// Count files of running or dead sources.
    pub(super) fn sources(&mut self) {
        for name in list(&self.dir.join("sources")).unwrap_or_default() {
            let bytes =
                read_bounded(&self.dir.join("sources").join(&name), 4096).ok().flatten().unwrap_or_default();
            let good = decode_owed(&bytes).is_some_and(|(_, stream, _)| hex(&stream) == name);
            if !good {
                let what = "count file is damaged; the next start will not know how much its source owed";
                self.report.add(FindingClass::Sources, format!("sources/{name}"), INTEGRITY, what);
            }
        }
    }

    /// Static files must not hold more than the log does.
    pub(super) fn surplus(&mut self) -> Result<(), LedgerError> {
        if self.live {
            return Ok(());
        }
        let size = self.tree.size();
        let inside = size % SUBTREE;
        let last = subtree_name(size);
        let limits = [
            (self.files.entries_path(size), inside * BUNDLE_ENTRY, FindingClass::Entries),
            (self.files.nodes_path(size), inside / TILE * 32, FindingClass::Tiles),
            (self.files.subtrees_path(), size / SUBTREE * 32, FindingClass::Tiles),
        ];
        for (path, most, class) in limits {
            if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > most) {
                let file = self.relative(&path);
                let what = "holds more than the log; a start cuts it";
                self.report.add(class, file, MISSING, what).offset = Some(most);
            }
        }
        for (dir, names) in
            [("log/entries", self.files.entry_files()?), ("log/nodes", self.files.node_files()?)]
        {
            for name in names.into_iter().filter(|name| *name > last && name.len() == last.len()) {
                let what = "holds leaves beyond the end of the log; a start removes it";
                self.report.add(FindingClass::Stray, format!("{dir}/{name}"), MISSING, what);
            }
        }
        // A file of a complete subtree has exactly its length.
        for subtree in 0..size / SUBTREE {
            let index = subtree * SUBTREE;
            for (path, len, class) in [
                (self.files.entries_path(index), SUBTREE * BUNDLE_ENTRY, FindingClass::Entries),
                (self.files.nodes_path(index), TILE * 32, FindingClass::Tiles),
            ] {
                if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > len) {
                    let file = self.relative(&path);
                    self.report.add(class, file, INTEGRITY, "is longer than its subtree").offset = Some(len);
                }
            }
        }
        Ok(())
    }
}
