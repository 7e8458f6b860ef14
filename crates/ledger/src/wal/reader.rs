//! Reads the frames of one file in order, and judges what lies after the last good one.
//!
//! Not a judge of what a bad frame means: that depends on what was signed, see `recovery`.

use super::frame::{
    FRAME_HEAD, FRAME_MAX, FileKeys, FrameFault, FrameHead, OpenFrame, checksum_ok, open_frame,
};
use super::header::{HEADER_LEN, Header};
use crate::LedgerError;
use crate::disk::read_at;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Bytes read at once when looking at a tail.
const CHUNK: usize = 1 << 20;
/// Plausible frames whose checksum is computed before a tail counts as hostile.
const CANDIDATES_MAX: usize = 4096;

/// A position in a file of the write-ahead log.
pub struct FileCursor {
    file: File,
    path: PathBuf,
    len: u64,
    keys: FileKeys,
    /// What the file says about itself.
    pub header: Header,
    /// Offset of the next frame.
    pub offset: u64,
    /// Number of the next frame.
    pub number: u64,
    /// Mac of the last frame, or the header's.
    pub mac: [u8; 32],
}

/// What lies at a position.
#[derive(Debug)]
pub enum Step {
    /// A good frame that began at this offset.
    Frame(u64, OpenFrame),
    /// No further frame; what follows should be zeros.
    End,
    /// Bytes that are no frame.
    Bad(&'static str),
}

/// What lies after the last good frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Offset of the first byte that is not zero.
    pub nonzero: Option<u64>,
    /// Offset of a whole frame after the position looked at.
    pub frame: Option<u64>,
}

/// Opens a file and reads its header.
pub fn open_header(path: &Path) -> Result<(File, Header), LedgerError> {
    let file = File::open(path).map_err(|error| LedgerError::io("open", path, error))?;
    let bytes = read_at(&file, path, 0, HEADER_LEN)?;
    let header = Header::parse(&bytes).map_err(|what| LedgerError::corrupt(path, 0, what))?;
    Ok((file, header))
}

impl FileCursor {
    /// At the first frame of an opened file.
    pub fn new(path: &Path, file: File, header: Header, key: &[u8; 32]) -> Result<FileCursor, LedgerError> {
        let len = file.metadata().map_err(|error| LedgerError::io("stat", path, error))?.len();
        let keys = FileKeys::new(key, header.digest())
            .ok_or_else(|| LedgerError::Invalid("a WAL key is not 32 bytes".to_owned()))?;
        Ok(FileCursor {
            file,
            path: path.to_owned(),
            len,
            keys,
            mac: header.previous_mac,
            header,
            offset: HEADER_LEN as u64,
            number: 0,
        })
    }

    /// Goes to a frame whose place, number and predecessor's mac are known from an earlier reading.
    pub fn seek(&mut self, offset: u64, number: u64, mac: [u8; 32]) {
        (self.offset, self.number, self.mac) = (offset, number, mac);
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next frame, checked and opened.
    ///
    /// # Errors
    /// Reading failed, or a frame is whole and yet not what was written here.
    pub fn step(&mut self) -> Result<Step, LedgerError> {
        let raw = read_at(&self.file, &self.path, self.offset, FRAME_HEAD)?;
        if raw.len() < 4 || raw[..4] == [0; 4] {
            return Ok(Step::End);
        }
        let head = match FrameHead::parse(&raw) {
            Ok(head) => head,
            Err(what) => return Ok(Step::Bad(what)),
        };
        let frame = read_at(&self.file, &self.path, self.offset, head.total())?;
        if frame.len() < head.total() {
            return Ok(Step::Bad("frame is cut by the end of the file"));
        }
        match open_frame(head, frame, &self.keys, self.number, &self.mac) {
            Ok(frame) => {
                let at = self.offset;
                self.offset += head.total() as u64;
                self.number += 1;
                self.mac = frame.mac;
                Ok(Step::Frame(at, frame))
            }
            Err(FrameFault::Bad(what)) => Ok(Step::Bad(what)),
            Err(FrameFault::Tampered(what)) => Err(LedgerError::Tampered {
                file: self.path.clone(),
                offset: self.offset,
                what: what.to_owned(),
            }),
        }
    }

    /// Looks at everything from the current position on.
    pub fn tail(&self) -> Result<Tail, LedgerError> {
        let mut tail = Tail::default();
        let mut at = self.offset;
        while at < self.len && tail.nonzero.is_none() {
            let chunk = read_at(&self.file, &self.path, at, CHUNK)?;
            if chunk.is_empty() {
                break;
            }
            tail.nonzero = chunk.iter().position(|byte| *byte != 0).map(|zeros| at + zeros as u64);
            at += chunk.len() as u64;
        }
        if tail.nonzero.is_some() {
            tail.frame = self.frame_after(self.offset)?;
        }
        Ok(tail)
    }

    /// Offset of a whole frame that begins after `from`; its number must be one that could follow here.
    fn frame_after(&self, from: u64) -> Result<Option<u64>, LedgerError> {
        let mut tried = 0;
        let mut at = from + 8;
        while at < self.len {
            let chunk = read_at(&self.file, &self.path, at, CHUNK + FRAME_HEAD)?;
            for start in (0..chunk.len().min(CHUNK)).step_by(8) {
                let Some(raw) = chunk.get(start..start + FRAME_HEAD) else { break };
                if raw[..4] == [0; 4] {
                    continue;
                }
                let Ok(head) = FrameHead::parse(raw) else { continue };
                let plausible = head.number.wrapping_sub(self.number) <= self.len / 8;
                if !plausible || head.total() > FRAME_MAX {
                    continue;
                }
                tried += 1;
                let found = at + start as u64;
                let frame = read_at(&self.file, &self.path, found, head.total())?;
                if tried > CANDIDATES_MAX || checksum_ok(&head, &frame) {
                    return Ok(Some(found));
                }
            }
            at += CHUNK as u64;
        }
        Ok(None)
    }
}
