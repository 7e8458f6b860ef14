//! Bodies of fuzz targets: hostile bytes into every parser that reads the disk. None may panic, loop, or
//! accept what it would not have written.

use crate::bodies::{Gap, Manifest, SourceCkpt, SourceReg};
use crate::keys::ring_file::parse_slots;
use crate::keys::slot::{self, SlotKind};
use crate::log::files::parse_entries;
use crate::log::meta::{RECORD_HEAD, parse_meta};
use crate::wal::frame::{FileKeys, FrameHead, open_frame};
use crate::wal::header::Header;
use crate::wal::payload::{append_body, parse_batch};

/// File headers: what parses is written back byte for byte.
pub fn wal_header(bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        assert_eq!(Some(header.to_bytes().as_slice()), bytes.get(..128));
    }
}

/// Frames: heads and whole frames under some key; a frame that opens without having been sealed is a break.
pub fn wal_frame(bytes: &[u8]) {
    let Ok(head) = FrameHead::parse(bytes) else { return };
    let Some(frame) = bytes.get(..head.total()) else { return };
    if let Some(keys) = FileKeys::new(&[0x5a; 32], [0; 32]) {
        assert!(open_frame(head, frame.to_vec(), &keys, head.number, &[0; 32]).is_err());
    }
}

/// Payloads of batch frames: what parses is written back byte for byte.
pub fn wal_payload(bytes: &[u8]) {
    let Some((count, plain)) = bytes.split_first_chunk::<2>() else { return };
    let count = u32::from(u16::from_be_bytes(*count)).min(16_384);
    if let Ok(records) = parse_batch(plain, count) {
        let mut again = Vec::new();
        records.iter().for_each(|record| append_body(&mut again, &record.entry, record.content));
        assert_eq!(again, plain);
    }
}

/// Key ring files: records that were not sealed by the key never open.
pub fn key_ring(bytes: &[u8]) {
    for record in parse_slots(bytes) {
        let _ = slot::head(record);
        for kind in [SlotKind::Epoch, SlotKind::Tenant, SlotKind::Wal, SlotKind::Part, SlotKind::Log] {
            assert!(slot::open(&[0x5a; 32], kind, record).is_none());
        }
    }
}

/// Files of bodies, and every body parser.
pub fn meta(bytes: &[u8]) {
    let (records, fault) = parse_meta(bytes);
    let length: usize = records.iter().map(|record| RECORD_HEAD + record.body.len()).sum();
    assert_eq!(fault.is_none(), length == bytes.len());
    for body in records.iter().map(|record| record.body).chain([bytes]) {
        body_of_any_kind(body);
    }
}

/// What a body parser accepts in full, it writes back in a form that it accepts again.
fn body_of_any_kind(body: &[u8]) {
    if let Some(reg) = SourceReg::parse(body) {
        assert_eq!(SourceReg::parse(&reg.to_bytes()), Some(reg));
    }
    if let Some(ckpt) = SourceCkpt::parse(body) {
        let _ = ckpt.adds_up();
        assert_eq!(SourceCkpt::parse(&ckpt.to_bytes()), Some(ckpt));
    }
    if let Some(gap) = Gap::parse(body) {
        assert_eq!(Gap::parse(&gap.to_bytes()), Some(gap));
    }
    if let Some(manifest) = Manifest::parse(body) {
        assert_eq!(Manifest::parse(&manifest.to_bytes()), Some(manifest));
    }
}

/// Entry bundles, count files and names.
pub fn bundle(bytes: &[u8]) {
    assert!(parse_entries(bytes).count() <= bytes.len() / 55);
    let _ = crate::source::decode_owed(bytes);
    if let Ok(name) = std::str::from_utf8(bytes) {
        let _ = crate::wal::file_number(name);
    }
}
