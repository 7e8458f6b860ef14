//! One record of the key ring on disk: 256 bytes, sealed by a key above it.
//!
//! Fixed length, so that one damaged record hides no other.

use crate::wal::header::part;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// Bytes of a record.
pub const SLOT_LEN: usize = 256;
const MAGIC: &[u8; 4] = b"CSKR";
const HEAD: usize = 40;
const CRC_AT: usize = SLOT_LEN - 4;
/// Most secret bytes in a record.
pub const SECRET_MAX: usize = CRC_AT - HEAD - 16;

/// What a record opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SlotKind {
    /// Epoch KEK, sealed by the KEK.
    Epoch = 1,
    /// Tenant digest key, sealed by the KEK.
    Tenant = 2,
    /// Key of a WAL file, sealed by the epoch KEK.
    Wal = 3,
    /// Keys of a part or segment version, sealed by the epoch KEK.
    Part = 4,
    /// Seed of the log key, sealed by the KEK.
    Log = 5,
}

/// A record without its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotHead {
    /// What it opens, as a byte.
    pub kind: u8,
    /// Which one: key id, first leaf index, epoch number.
    pub id: u64,
    /// Epoch of the sealing key; 0 = the KEK itself.
    pub epoch: u64,
}

/// Seals a record; `None` if the secret is too long or the system has no randomness.
pub fn seal(key: &[u8; 32], kind: SlotKind, id: u64, epoch: u64, secret: &[u8]) -> Option<[u8; SLOT_LEN]> {
    let mut out = [0; SLOT_LEN];
    let mut nonce = [0; 12];
    SystemRandom::new().fill(&mut nonce).ok()?;
    if secret.len() > SECRET_MAX {
        return None;
    }
    out[..4].copy_from_slice(MAGIC);
    out[4] = kind as u8;
    out[8..16].copy_from_slice(&id.to_be_bytes());
    out[16..24].copy_from_slice(&epoch.to_be_bytes());
    out[24..36].copy_from_slice(&nonce);
    out[36..38].copy_from_slice(&((secret.len() + 16) as u16).to_be_bytes());
    let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
    let mut sealed = Zeroizing::new(secret.to_vec());
    let tag =
        aead.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad(&out), &mut sealed).ok()?;
    out[HEAD..HEAD + secret.len()].copy_from_slice(&sealed);
    out[HEAD + secret.len()..HEAD + secret.len() + 16].copy_from_slice(tag.as_ref());
    let crc = crc32c::crc32c(&out[..CRC_AT]);
    out[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
    Some(out)
}

/// What a record says in clear; it may be damaged.
pub fn head(slot: &[u8; SLOT_LEN]) -> SlotHead {
    SlotHead {
        kind: slot[4],
        id: u64::from_be_bytes(part(slot, 8)),
        epoch: u64::from_be_bytes(part(slot, 16)),
    }
}

/// Whether a record is whole: checksum, magic and reserved bytes.
pub fn whole(slot: &[u8; SLOT_LEN]) -> bool {
    let len = usize::from(u16::from_be_bytes(part(slot, 36)));
    slot[..4] == *MAGIC
        && slot[5..8] == [0; 3]
        && slot[38..HEAD] == [0; 2]
        && (16..=SECRET_MAX + 16).contains(&len)
        && slot[HEAD + len..CRC_AT].iter().all(|byte| *byte == 0)
        && crc32c::crc32c(&slot[..CRC_AT]) == u32::from_be_bytes(part(slot, CRC_AT))
}

/// Opens a record; `None` if it is damaged, of another kind, or sealed by another key.
pub fn open(key: &[u8; 32], kind: SlotKind, slot: &[u8; SLOT_LEN]) -> Option<Zeroizing<Vec<u8>>> {
    if !whole(slot) || slot[4] != kind as u8 {
        return None;
    }
    let len = usize::from(u16::from_be_bytes(part(slot, 36)));
    let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
    let mut sealed = Zeroizing::new(slot.get(HEAD..HEAD + len)?.to_vec());
    let nonce = Nonce::assume_unique_for_key(part(slot, 24));
    let plain = aead.open_in_place(nonce, aad(slot), &mut sealed).ok()?.len();
    sealed.truncate(plain);
    Some(sealed)
}

fn aad(slot: &[u8; SLOT_LEN]) -> Aad<Vec<u8>> {
    let mut bytes = b"countersign key record v1".to_vec();
    bytes.extend_from_slice(&slot[..HEAD]);
    Aad::from(bytes)
}
