//! What a client has asked for and the server has not answered, message by message, for counting.
//!
//! Not the decoder's queue, which knows what the messages said. Invariant: at most [`PIPELINE_MAX`] entries
//! of two bytes.

use super::PIPELINE_MAX;
use std::collections::VecDeque;

/// A message that the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Startup,
    Parse,
    Bind,
    Describe,
    Close,
    Execute,
    Sync,
    Query,
    Function,
    /// CopyDone or CopyFail; has no answer of its own.
    CopyEnd,
}

impl Ask {
    /// Whether an error in it makes the server skip what follows up to a Sync.
    pub(super) fn skips(self) -> bool {
        matches!(self, Ask::Parse | Ask::Bind | Ask::Describe | Ask::Close | Ask::Execute)
    }

    /// Whether ReadyForQuery answers it.
    pub(super) fn ends_cycle(self) -> bool {
        matches!(self, Ask::Startup | Ask::Sync | Ask::Query | Ask::Function)
    }
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) ask: Ask,
    /// A message that must fail went to the server in its place.
    pub(super) denied: bool,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// The server skips what comes, up to a Sync.
    skipping: bool,
    /// The server takes copy data and has not been told their end: it ignores Sync.
    copying_in: bool,
}

impl Queue {
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= PIPELINE_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.skipping && !self.copying_in
    }

    /// A message went to the server. `false` = the server will skip it.
    pub(super) fn push(&mut self, ask: Ask, denied: bool) -> bool {
        match ask {
            Ask::CopyEnd if std::mem::take(&mut self.copying_in) => return true,
            Ask::CopyEnd if self.skipping || self.entries.is_empty() => return true,
            Ask::Sync if self.copying_in => return true,
            Ask::Sync => self.skipping = false,
            _ if self.skipping => return false,
            _ => {}
        }
        self.entries.push_back(Entry { ask, denied });
        true
    }

    /// What the server is at. Ends of copies that it no longer waited for are passed over.
    pub(super) fn head(&mut self) -> Option<Entry> {
        while self.entries.front().is_some_and(|e| e.ask == Ask::CopyEnd) {
            self.entries.pop_front();
        }
        self.entries.front().copied()
    }

    /// The head is answered, if it is `ask`.
    pub(super) fn answered(&mut self, ask: Ask) {
        if self.head().is_some_and(|e| e.ask == ask) {
            self.entries.pop_front();
        }
    }

    /// The server waits for copy data: it ignores the Syncs before their end, which may be here already.
    pub(super) fn copy_in(&mut self) {
        let Some(head) = self.head() else { return };
        self.entries.pop_front();
        loop {
            match self.entries.front().map(|e| e.ask) {
                Some(Ask::Sync) => self.entries.pop_front(),
                Some(Ask::CopyEnd) => {
                    self.entries.pop_front();
                    break;
                }
                Some(_) => break,
                None => {
                    self.copying_in = true;
                    break;
                }
            };
        }
        self.entries.push_front(head);
    }

    /// An error at the head. Returns what failed.
    pub(super) fn failed(&mut self) -> Option<Entry> {
        self.copying_in = false;
        let head = self.head()?;
        if head.ask.skips() {
            while self.entries.front().is_some_and(|e| e.ask != Ask::Sync) {
                self.entries.pop_front();
            }
            self.skipping = self.entries.is_empty();
        }
        Some(head)
    }

    /// ReadyForQuery.
    pub(super) fn ready(&mut self) {
        while let Some(entry) = self.entries.pop_front() {
            if entry.ask.ends_cycle() {
                break;
            }
        }
    }
}
