//! Finding files: which there are, which are new, which went elsewhere.

use super::body::Body;
use super::checkpoint::Mark;
use super::follow::{Followed, resumes};
use super::follower::{Follower, seconds};
use super::{FILES_MAX, glob};
use crate::intake::Refusal;
use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

impl Follower {
    /// Expands the patterns: takes up what is new, notes what went.
    pub(super) async fn look(&mut self) -> Result<(), Refusal> {
        let doubts = self.trail.as_mut().map(super::trail::Trail::refresh).unwrap_or_default();
        for (path, why) in doubts {
            self.declare(&path, "input.unproven", &why, None).await?;
        }
        let found = self.find();
        // The oldest first: what was renamed comes before what took its place.
        let mut order: Vec<_> = found.iter().collect();
        order.sort_by_key(|(_, (path, meta))| (meta.mtime(), meta.mtime_nsec(), path));
        for (inode, (path, meta)) in order {
            match self.numbers.get(inode).and_then(|number| self.files.get_mut(number)) {
                Some(file) => {
                    file.gone = None;
                    file.noticed(meta);
                    if file.mark.path != *path {
                        file.mark.path.clone_from(path);
                        self.dirty = true;
                    }
                }
                None if meta.len() > 0 => self.take_up(path, *inode).await?,
                None => {}
            }
        }
        for file in self.files.values_mut().filter(|file| !found.contains_key(&file.mark.inode)) {
            if file.gone.is_none() {
                file.gone = Some(Instant::now());
                file.stale = true;
            }
        }
        self.seek_moved(&found).await?;
        self.looked = true;
        if self.dirty {
            // A file's identity is on the disk before its first record is delivered.
            self.save();
        }
        Ok(())
    }

    /// Regular files that the patterns lead to, each once.
    fn find(&mut self) -> HashMap<(u64, u64), (PathBuf, Metadata)> {
        let mut found = HashMap::new();
        let mut whole = true;
        for pattern in &self.settings.paths {
            let (paths, all) = pattern.expand();
            whole &= all;
            for path in paths {
                if self.settings.exclude.iter().any(|pattern: &glob::Pattern| pattern.matches(&path)) {
                    continue;
                }
                let Ok(meta) = std::fs::metadata(&path) else { continue };
                let inode = (meta.dev(), meta.ino());
                if !meta.is_file() {
                    continue;
                }
                if found.len() >= FILES_MAX && !found.contains_key(&inode) {
                    whole = false;
                    break;
                }
                found.entry(inode).or_insert((path, meta));
            }
        }
        if !whole && !self.told_full {
            tracing::error!(
                input = self.port.input.name,
                "more files or directories match than are followed; the rest is left out: narrow the patterns"
            );
        }
        self.told_full = !whole;
        found
    }

    /// Opens a file that is not followed: the one of a mark, or a new one.
    async fn take_up(&mut self, path: &Path, inode: (u64, u64)) -> Result<(), Refusal> {
        self.make_room();
        let opened = Body::open(path);
        let (body, meta) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "a file cannot be opened");
                return Ok(());
            }
        };
        if (meta.dev(), meta.ino()) != inode || meta.len() == 0 {
            // Another one took its place since; the next look finds it.
            return Ok(());
        }
        let Some(mark) = self.away.remove(&inode) else {
            self.begin(path, body, &meta, None, None);
            return Ok(());
        };
        match resumes(&mark, &body, &meta, &self.port.keeper) {
            Ok(true) => {
                let mark = Mark { path: path.to_owned(), gone: None, ..mark };
                self.add(Followed::resumed(mark, body, &meta, self.settings.framing));
            }
            Ok(false) => {
                self.left_behind(&mark, "it was cut short or replaced while nobody looked").await?;
                self.begin(path, body, &meta, Some(&mark), None);
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a file cannot be read");
                self.away.insert(inode, mark);
            }
        }
        Ok(())
    }

    /// Files of the checkpoint that no pattern leads to: renamed while nobody looked, or gone for good.
    async fn seek_moved(&mut self, found: &HashMap<(u64, u64), (PathBuf, Metadata)>) -> Result<(), Refusal> {
        let missing: Vec<Mark> = self
            .away
            .values()
            .filter(|mark| mark.gone.is_none() && !found.contains_key(&mark.inode))
            .cloned()
            .collect();
        for mark in missing {
            self.away.remove(&mark.inode);
            match moved(&mark) {
                Some((path, body, meta))
                    if resumes(&mark, &body, &meta, &self.port.keeper).unwrap_or(false) =>
                {
                    self.make_room();
                    let mark = Mark { path, ..mark };
                    let mut file = Followed::resumed(mark, body, &meta, self.settings.framing);
                    file.gone = Some(Instant::now());
                    self.add(file);
                }
                _ => {
                    self.left_behind(&mark, "it went while nobody looked").await?;
                    self.away.insert(mark.inode, Mark { gone: Some(seconds()), ..mark });
                    self.dirty = true;
                }
            }
        }
        let closed: HashSet<u64> = self
            .files
            .iter()
            .filter(|(_, file)| file.gone.is_some() && file.body.is_none())
            .map(|(number, _)| *number)
            .collect();
        for number in closed {
            let Some(mark) = self.files.get(&number).map(|file| file.mark.clone()) else { continue };
            if let (Some((path, body, _)), Some(file)) = (moved(&mark), self.files.get_mut(&number)) {
                (file.mark.path, file.body) = (path, Some(body));
            }
        }
        Ok(())
    }

    /// Declares what was seen of a file that is no more, and not made durable.
    async fn left_behind(&mut self, mark: &Mark, why: &str) -> Result<(), Refusal> {
        let owed = mark.seen.saturating_sub(mark.offset);
        if owed == 0 || mark.gone.is_some() {
            return Ok(());
        }
        self.declare(&mark.path, "input.lost", why, Some(owed)).await
    }
}

/// The file of `mark` under another name in the same directory.
fn moved(mark: &Mark) -> Option<(PathBuf, Body, Metadata)> {
    let dir = mark.path.parent()?;
    let entries = std::fs::read_dir(dir).ok()?;
    let named = entries.flatten().take(glob::ENTRIES_MAX).find(|entry| entry.ino() == mark.inode.1)?;
    let (body, meta) = Body::open(&named.path()).ok()?;
    ((meta.dev(), meta.ino()) == mark.inode).then_some((named.path(), body, meta))
}
