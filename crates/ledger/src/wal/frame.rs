//! One frame of the write-ahead log: sealed payload, checksum, mac chain. Bytes only, no files.
//!
//! Invariants: a frame number is used once under one key (it is the nonce); the checksum is looked at
//! first, so that an accident is told from tampering.

use super::header::{part, sha256};
use crate::limits::{FRAME_ENTRIES_MAX, FRAME_PAYLOAD_MAX};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac;

/// Bytes before the payload.
pub const FRAME_HEAD: usize = 40;
/// Bytes of the mac after the payload.
pub const MAC_LEN: usize = 32;
/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;
/// Frames start at multiples of this.
pub const ALIGN: usize = 8;
/// Largest whole frame in bytes.
pub const FRAME_MAX: usize = FRAME_HEAD + FRAME_PAYLOAD_MAX + MAC_LEN + ALIGN;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Entries and their contents.
    Batch = 1,
    /// A ratchet step without data; reserved, not written by this version.
    Seal = 2,
    /// A signed note.
    Checkpoint = 3,
    /// The clean end of a run.
    Close = 4,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<FrameKind> {
        match byte {
            1 => Some(FrameKind::Batch),
            2 => Some(FrameKind::Seal),
            3 => Some(FrameKind::Checkpoint),
            4 => Some(FrameKind::Close),
            _ => None,
        }
    }
}

/// The fields before the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of sealed payload; never 0.
    pub len: u32,
    /// Checksum over everything after it.
    pub crc: u32,
    /// What the frame holds.
    pub kind: FrameKind,
    /// Entries in a batch.
    pub count: u32,
    /// From 0 in the file; also the nonce.
    pub number: u64,
    /// Leaf index of the first entry.
    pub first: u64,
}

impl FrameHead {
    fn to_bytes(self) -> [u8; FRAME_HEAD] {
        let mut out = [0; FRAME_HEAD];
        out[..4].copy_from_slice(&self.len.to_be_bytes());
        out[4..8].copy_from_slice(&self.crc.to_be_bytes());
        out[8] = self.kind as u8;
        out[12..16].copy_from_slice(&self.count.to_be_bytes());
        out[16..24].copy_from_slice(&self.number.to_be_bytes());
        out[24..32].copy_from_slice(&self.first.to_be_bytes());
        out
    }

    /// From 40 bytes with a length above 0; `Err` says what no writer would have written.
    pub fn parse(bytes: &[u8]) -> Result<FrameHead, &'static str> {
        let bytes: &[u8; FRAME_HEAD] = bytes.first_chunk().ok_or("frame is cut inside its head")?;
        let kind = FrameKind::from_byte(bytes[8]).ok_or("unknown frame type")?;
        let head = FrameHead {
            len: u32::from_be_bytes(part(bytes, 0)),
            crc: u32::from_be_bytes(part(bytes, 4)),
            kind,
            count: u32::from_be_bytes(part(bytes, 12)),
            number: u64::from_be_bytes(part(bytes, 16)),
            first: u64::from_be_bytes(part(bytes, 24)),
        };
        if head.to_bytes() != *bytes {
            return Err("reserved bytes of a frame head are not zero");
        }
        let entries_ok = match kind {
            FrameKind::Batch => (1..=FRAME_ENTRIES_MAX as u32).contains(&head.count),
            _ => head.count == 0,
        };
        if !(TAG_LEN..=FRAME_PAYLOAD_MAX).contains(&(head.len as usize)) || !entries_ok {
            return Err("frame length or count is out of bounds");
        }
        Ok(head)
    }

    /// Bytes of the whole frame, with its padding.
    pub fn total(&self) -> usize {
        (FRAME_HEAD + self.len as usize + MAC_LEN).next_multiple_of(ALIGN)
    }
}

/// The fields that seal and mac cover: all but the checksum.
fn covered(head: &[u8; FRAME_HEAD]) -> [u8; FRAME_HEAD - 4] {
    let mut out = [0; FRAME_HEAD - 4];
    out[..4].copy_from_slice(&head[..4]);
    out[4..].copy_from_slice(&head[8..]);
    out
}

/// The keys of one file.
pub struct FileKeys {
    seal: LessSafeKey,
    mac: hmac::Key,
    header: [u8; 32],
}

impl FileKeys {
    /// From the file's key and the digest of its header.
    pub fn new(key: &[u8; 32], header: [u8; 32]) -> Option<FileKeys> {
        let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
        let mut mac = [0; 32];
        let prk = Salt::new(HKDF_SHA256, b"").extract(key);
        prk.expand(&[b"countersign wal mac v1"], HKDF_SHA256).ok()?.fill(&mut mac).ok()?;
        let mac = hmac::Key::new(hmac::HMAC_SHA256, &mac);
        Some(FileKeys { seal, mac, header })
    }

    fn aad(&self, covered: &[u8]) -> Aad<Vec<u8>> {
        let mut aad = self.header.to_vec();
        aad.extend_from_slice(covered);
        Aad::from(aad)
    }

    /// What the mac covers: the mac before, the fields before the payload, the digest of the payload.
    fn chained(previous: &[u8; 32], covered: &[u8], sealed: &[u8]) -> Vec<u8> {
        [previous, covered, &sha256(sealed)].concat()
    }
}

/// What goes into a frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameContent<'a> {
    /// What the frame holds.
    pub kind: FrameKind,
    /// Entries in a batch, else 0.
    pub count: u32,
    /// Leaf index of the first entry, or the next index.
    pub first: u64,
    /// To be sealed.
    pub plain: &'a [u8],
}

/// Appends a sealed frame to `out` and returns its mac; `None` if the payload is over its bound.
pub fn append_frame(
    out: &mut Vec<u8>,
    keys: &FileKeys,
    number: u64,
    content: FrameContent<'_>,
    previous: &[u8; 32],
) -> Option<[u8; 32]> {
    let len = content.plain.len() + TAG_LEN;
    if len > FRAME_PAYLOAD_MAX || content.count as usize > FRAME_ENTRIES_MAX {
        return None;
    }
    let start = out.len();
    let mut head = FrameHead {
        len: len as u32,
        crc: 0,
        kind: content.kind,
        count: content.count,
        number,
        first: content.first,
    };
    let covered = covered(&head.to_bytes());
    out.reserve(head.total());
    out.extend_from_slice(&head.to_bytes());
    out.extend_from_slice(content.plain);
    let body = start + FRAME_HEAD;
    let tag =
        keys.seal.seal_in_place_separate_tag(nonce(number), keys.aad(&covered), &mut out[body..]).ok()?;
    out.extend_from_slice(tag.as_ref());
    let mut mac = [0; 32];
    let chained = FileKeys::chained(previous, &covered, &out[body..]);
    mac.copy_from_slice(hmac::sign(&keys.mac, &chained).as_ref());
    out.extend_from_slice(&mac);
    head.crc = crc32c::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&head.crc.to_be_bytes());
    out.resize(start + head.total(), 0);
    Some(mac)
}

/// Why bytes are not the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// Torn, or damaged by accident.
    Bad(&'static str),
    /// Whole by its checksum, and yet not what was written here.
    Tampered(&'static str),
}

/// A frame that was checked and opened.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenFrame {
    /// Its head.
    pub head: FrameHead,
    /// Its payload.
    pub plain: Vec<u8>,
    /// Its mac.
    pub mac: [u8; 32],
}

/// Whether `frame` (exactly [`FrameHead::total`] bytes) is whole by checksum and padding.
pub fn checksum_ok(head: &FrameHead, frame: &[u8]) -> bool {
    let end = FRAME_HEAD + head.len as usize + MAC_LEN;
    match (frame.get(8..end), frame.get(end..head.total())) {
        (Some(rest), Some(padding)) => {
            crc32c::crc32c(rest) == head.crc && padding.iter().all(|byte| *byte == 0)
        }
        _ => false,
    }
}

/// Checks and opens `frame`, which `head` was parsed from.
pub fn open_frame(
    head: FrameHead,
    mut frame: Vec<u8>,
    keys: &FileKeys,
    number: u64,
    previous: &[u8; 32],
) -> Result<OpenFrame, FrameFault> {
    if !checksum_ok(&head, &frame) {
        return Err(FrameFault::Bad("frame checksum is wrong"));
    }
    if head.number != number {
        return Err(FrameFault::Tampered("frame number is out of order"));
    }
    let Some(raw) = frame.first_chunk::<FRAME_HEAD>() else {
        return Err(FrameFault::Bad("frame is cut inside its head"));
    };
    let covered = covered(raw);
    let end = FRAME_HEAD + head.len as usize;
    let (Some(sealed), Some(mac)) = (frame.get(FRAME_HEAD..end), frame.get(end..end + MAC_LEN)) else {
        return Err(FrameFault::Bad("frame is cut"));
    };
    if hmac::verify(&keys.mac, &FileKeys::chained(previous, &covered, sealed), mac).is_err() {
        return Err(FrameFault::Tampered("mac chain is broken"));
    }
    let mac = part(mac, 0);
    frame.truncate(end);
    frame.drain(..FRAME_HEAD);
    let plain = keys
        .seal
        .open_in_place(nonce(number), keys.aad(&covered), &mut frame)
        .map_err(|_| FrameFault::Tampered("frame does not open under its key"))?
        .len();
    frame.truncate(plain);
    Ok(OpenFrame { head, plain: frame, mac })
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}
