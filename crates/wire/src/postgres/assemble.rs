//! Messages of one direction out of blocks of any size, holding only what the reader asks for.
//!
//! Invariants: a message that lies whole in one block is not copied; of others at most `keep` bytes are.

use super::{HEADER, header};

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Payload bytes of a message whose payload is wanted in passing.
    Part(u8, &'a [u8]),
    /// A message has ended: tag, length field, and the front of its payload.
    Message(u8, u32, &'a [u8]),
}

/// What of a message is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Bytes at the front of the payload.
    pub(super) keep: usize,
    /// Whether all of the payload is to be shown in passing.
    pub(super) parts: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    head: Vec<u8>,
    /// Tag and length of the message that has begun.
    open: Option<(u8, u32)>,
    wanted: Wanted,
    left: usize,
    kept: Vec<u8>,
    /// `kept` belongs to a message that was handed out.
    stale: bool,
}

/// Most bytes that stay allocated between messages.
const SPARE_MAX: usize = 16 << 10;

impl Assembler {
    /// The next piece of `bytes`, which loses it. A length below 4 counts as 4.
    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        wanted: impl Fn(u8, u32) -> Wanted,
    ) -> Option<Piece<'a>> {
        if self.stale {
            self.kept.clear();
            self.kept.shrink_to(SPARE_MAX);
            self.stale = false;
        }
        if self.open.is_none() {
            let (tag, len) = self.header(bytes)?;
            self.wanted = wanted(tag, len);
            self.left = len.max(4) as usize - 4;
            if bytes.len() >= self.left && !self.wanted.parts {
                let (payload, rest) = bytes.split_at_checked(self.left)?;
                *bytes = rest;
                return Some(Piece::Message(tag, len, payload.get(..self.wanted.keep).unwrap_or(payload)));
            }
            self.open = Some((tag, len));
        }
        let (tag, len) = self.open?;
        let (part, rest) = bytes.split_at_checked(self.left.min(bytes.len()))?;
        let room = self.wanted.keep.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(part.get(..room).unwrap_or(part));
        self.left -= part.len();
        *bytes = rest;
        if self.wanted.parts && !part.is_empty() {
            return Some(Piece::Part(tag, part));
        }
        if self.left > 0 {
            return None;
        }
        self.open = None;
        self.stale = true;
        Some(Piece::Message(tag, len, &self.kept))
    }

    /// Tag of the message of which the end has not come.
    pub(super) fn unfinished(&self) -> Option<u8> {
        self.open.map(|(tag, _)| tag)
    }

    fn header(&mut self, bytes: &mut &[u8]) -> Option<(u8, u32)> {
        let (front, rest) = bytes.split_at_checked((HEADER - self.head.len()).min(bytes.len()))?;
        if self.head.is_empty()
            && let Some(found) = header(front)
        {
            *bytes = rest;
            return Some(found);
        }
        self.head.extend_from_slice(front);
        *bytes = rest;
        let found = header(&self.head)?;
        self.head.clear();
        Some(found)
    }
}
