//! The 128 bytes that open a write-ahead log file. A one-way door: `docs/reference/wal.md` has the table.

use ring::digest::{SHA256, digest};

/// Length of a file header in bytes.
pub const HEADER_LEN: usize = 128;
const MAGIC: &[u8; 8] = b"CSNWAL1\0";
const FORMAT: u16 = 1;
const CRC_AT: usize = 96;

/// What a file header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Record of the key ring that opens this file.
    pub key_id: u32,
    /// File number, also its name.
    pub file: u64,
    /// Leaf index of the first entry.
    pub first: u64,
    /// SHA-256 of the log's origin.
    pub origin: [u8; 32],
    /// Mac of the last frame of the previous file; zero for the first file of a ledger.
    pub previous_mac: [u8; 32],
}

impl Header {
    /// The bytes on disk.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&FORMAT.to_be_bytes());
        out[12..16].copy_from_slice(&self.key_id.to_be_bytes());
        out[16..24].copy_from_slice(&self.file.to_be_bytes());
        out[24..32].copy_from_slice(&self.first.to_be_bytes());
        out[32..64].copy_from_slice(&self.origin);
        out[64..96].copy_from_slice(&self.previous_mac);
        let crc = crc32c::crc32c(&out[..CRC_AT]);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// From the first bytes of a file; everything but the one encoding is refused.
    pub fn parse(bytes: &[u8]) -> Result<Header, &'static str> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or("shorter than a file header")?;
        let header = Header {
            key_id: u32::from_be_bytes(part(bytes, 12)),
            file: u64::from_be_bytes(part(bytes, 16)),
            first: u64::from_be_bytes(part(bytes, 24)),
            origin: part(bytes, 32),
            previous_mac: part(bytes, 64),
        };
        if bytes[..8] != *MAGIC {
            return Err("not a write-ahead log file");
        }
        if header.to_bytes() != *bytes {
            return Err("header checksum or reserved bytes are wrong");
        }
        Ok(header)
    }

    /// SHA-256 of the header: binds every frame to its file.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.to_bytes())
    }
}

/// SHA-256 in one call.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// `N` bytes at `at`; callers stay inside the array, zeros otherwise.
pub(crate) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
}
