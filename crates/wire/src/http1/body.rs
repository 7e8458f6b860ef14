//! Where a body ends: `Content-Length`, chunked (RFC 9112 section 7.1), until close.
//!
//! Chunk lines and trailer sections are let through only when complete and correct, so nothing that a
//! later check refuses has passed before.

use super::head::{Length, Scan, trailers};
use super::{CHUNK_LINE_MAX, Rule};
use memchr::memchr;

/// Reads the body of one message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    Length(u64),
    UntilClose,
    ChunkLine { scanned: usize },
    ChunkData(u64),
    ChunkEnd,
    Trailers(Scan),
}

/// What the front of the buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Undecided: hold everything and read on.
    More,
    /// So many bytes of content.
    Data { len: usize, end: bool },
    /// So many bytes of chunk framing or trailers.
    Framing { len: usize, end: bool },
}

impl Body {
    /// The reader for a body whose length is told so; `None` when there is no body.
    pub(super) fn new(length: Length) -> Option<Body> {
        match length {
            Length::None => None,
            Length::Bytes(n) => Some(Body::Length(n)),
            Length::Chunked => Some(Body::ChunkLine { scanned: 0 }),
            Length::UntilClose => Some(Body::UntilClose),
        }
    }

    /// Judges the front of `buf`, which begins where the last part ended.
    pub(super) fn next(&mut self, buf: &[u8]) -> Result<Part, Rule> {
        if buf.is_empty() {
            return Ok(Part::More);
        }
        match self {
            Body::UntilClose => Ok(Part::Data { len: buf.len(), end: false }),
            Body::Length(left) => {
                let len = take(left, buf);
                Ok(Part::Data { len, end: *left == 0 })
            }
            Body::ChunkData(left) => {
                let len = take(left, buf);
                if *left == 0 {
                    *self = Body::ChunkEnd;
                }
                Ok(Part::Data { len, end: false })
            }
            Body::ChunkEnd => self.chunk_end(buf),
            Body::ChunkLine { scanned } => {
                let from = *scanned;
                self.chunk_line(buf, from)
            }
            Body::Trailers(scan) => match scan.end(buf, true)? {
                None => Ok(Part::More),
                Some(len) => {
                    trailers(buf.get(..len).unwrap_or_default())?;
                    Ok(Part::Framing { len, end: true })
                }
            },
        }
    }

    fn chunk_end(&mut self, buf: &[u8]) -> Result<Part, Rule> {
        match (buf.first(), buf.get(1)) {
            (Some(b'\r'), None) => Ok(Part::More),
            (Some(b'\r'), Some(b'\n')) => {
                *self = Body::ChunkLine { scanned: 0 };
                Ok(Part::Framing { len: 2, end: false })
            }
            _ => Err(Rule::ChunkEnd),
        }
    }

    fn chunk_line(&mut self, buf: &[u8], from: usize) -> Result<Part, Rule> {
        let found = memchr(b'\n', buf.get(from..).unwrap_or_default());
        let Some(newline) = found.map(|at| from + at) else {
            if buf.len() > CHUNK_LINE_MAX {
                return Err(Rule::ChunkLine);
            }
            *self = Body::ChunkLine { scanned: buf.len() };
            return Ok(Part::More);
        };
        if newline > CHUNK_LINE_MAX {
            return Err(Rule::ChunkLine);
        }
        let line = buf.get(..newline).unwrap_or_default();
        let Some(text) = line.strip_suffix(b"\r") else { return Err(Rule::BareLf) };
        *self = match chunk_size(text)? {
            0 => Body::Trailers(Scan::default()),
            size => Body::ChunkData(size),
        };
        Ok(Part::Framing { len: newline + 1, end: false })
    }
}

/// Takes what `buf` has of `left` bytes.
fn take(left: &mut u64, buf: &[u8]) -> usize {
    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
    *left -= len as u64;
    len
}

/// `1*HEXDIG [";" extensions]` and nothing else: no sign, no `0x`, no white space before the semicolon.
fn chunk_size(line: &[u8]) -> Result<u64, Rule> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (hex, rest) = line.split_at(digits);
    let extension = match rest.first() {
        None | Some(b';') => rest,
        Some(b'\r') => return Err(Rule::BareCr),
        Some(_) => return Err(Rule::ChunkSize),
    };
    if hex.is_empty() {
        return Err(Rule::ChunkSize);
    }
    if extension.contains(&b'\r') {
        return Err(Rule::BareCr);
    }
    if extension.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f) {
        return Err(Rule::ChunkSize);
    }
    if hex.len() > 16 {
        return Err(Rule::ChunkOverflow);
    }
    let digit = |b: u8| u64::from((b as char).to_digit(16).unwrap_or(0));
    let size = hex.iter().fold(0_u64, |n, b| (n << 4) | digit(*b));
    if size > i64::MAX as u64 { Err(Rule::ChunkOverflow) } else { Ok(size) }
}
