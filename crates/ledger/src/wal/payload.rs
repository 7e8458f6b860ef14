//! What a batch frame seals: for each entry its 53 bytes, a length, and the event frame or body.

use crate::limits::BODY_MAX;
use countersign_event::{ENTRY_LEN, EVENT_MAX, Entry, EntryKind, Frame};

/// Bytes that one record adds to its content.
pub const RECORD_OVERHEAD: usize = ENTRY_LEN + 4;

/// One record of a batch, borrowed from its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The entry.
    pub entry: Entry,
    /// Event frame or body.
    pub content: &'a [u8],
}

/// Appends one record whose content is a body.
pub fn append_body(out: &mut Vec<u8>, entry: &Entry, body: &[u8]) {
    out.extend_from_slice(&entry.to_bytes());
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
}

/// Appends one record whose content is an event frame, in the bytes of [`Frame::to_bytes`].
pub fn append_event(out: &mut Vec<u8>, entry: &Entry, frame: &Frame) {
    out.extend_from_slice(&entry.to_bytes());
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(0x88);
    head(out, 0, frame.schema.into());
    for group in frame.groups.iter() {
        head(out, 0x40, group.len());
        out.extend_from_slice(group);
    }
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

fn head(out: &mut Vec<u8>, major: u8, n: usize) {
    match n {
        0..=23 => out.push(major | n as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, n as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        _ => {
            out.push(major | 26);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
    }
}

/// The `count` records of a payload; exactly as many as its frame says, nothing after them.
pub fn parse_batch(plain: &[u8], count: u32) -> Result<Vec<Record<'_>>, &'static str> {
    let mut records = Vec::new();
    let mut rest = plain;
    for _ in 0..count {
        let (entry, tail) = rest.split_first_chunk::<ENTRY_LEN>().ok_or("batch is cut inside an entry")?;
        let entry = Entry::from_bytes(entry).ok_or("entry of kind 0")?;
        let (len, tail) = tail.split_first_chunk::<4>().ok_or("batch is cut inside a length")?;
        let len = u32::from_be_bytes(*len) as usize;
        let max = if entry.kind == EntryKind::Event as u8 { EVENT_MAX } else { BODY_MAX };
        if len > max {
            return Err("content is over its bound");
        }
        let (content, tail) = tail.split_at_checked(len).ok_or("batch is cut inside a content")?;
        records.push(Record { entry, content });
        rest = tail;
    }
    if rest.is_empty() { Ok(records) } else { Err("bytes after the last entry of a batch") }
}
