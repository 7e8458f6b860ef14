//! The key ring: `keys/epoch`, `keys/tenant`, `keys/wal`, `keys/parts`, each a row of 256-byte records.
//!
//! Invariants: a record is durable before the first frame that needs it; destroying a record rewrites its
//! file without it. On flash that erases nothing for certain: the manual says so.

use super::slot::{self, SLOT_LEN, SlotKind};
use super::{DigestKey, Kek, Secret, random};
use crate::LedgerError;
use crate::disk::{Disk, create_dir, options, read_bounded, write_atomic};
use crate::salts::Salts;
use ring::digest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bound of a ring file in bytes: 4 million records, 10^11 events.
const RING_MAX: u64 = 1 << 30;
/// Days after which the epoch KEK is replaced and every record wrapped again.
const EPOCH_NS: u64 = 30 * 86_400 * 1_000_000_000;
/// Domain of the key check in segment manifests.
const KEY_CHECK: &[u8] = b"countersign key check v1";

/// Keys of one part, later of its segment.
#[derive(Clone)]
pub struct PartKey {
    /// Segment version.
    pub version: u32,
    /// AES-256 key of the sealed file.
    pub data: Secret,
    salt: Secret,
}

impl PartKey {
    /// The part's generator of salts.
    pub(crate) fn salts(&self) -> Salts {
        Salts::new(&self.salt)
    }

    /// Commits to the data key: AES-GCM does not.
    pub fn check(&self) -> [u8; 32] {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(KEY_CHECK);
        hash.update(self.data.as_ref());
        let mut out = [0; 32];
        out.copy_from_slice(hash.finish().as_ref());
        out
    }

    /// version u32, data key, one run: (first row u32, rows u32 or 0 = all, salt key present u8, salt key).
    fn to_secret(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(110));
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(self.data.as_ref());
        out.push(1);
        out.extend_from_slice(&[0; 8]);
        out.push(1);
        out.extend_from_slice(self.salt.as_ref());
        out.extend_from_slice(&self.check());
        out
    }

    fn from_secret(bytes: &[u8]) -> Option<PartKey> {
        let (version, rest) = bytes.split_first_chunk::<4>()?;
        let (data, rest) = rest.split_first_chunk::<32>()?;
        let rest = rest.strip_prefix(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 1])?;
        let (salt, check) = rest.split_first_chunk::<32>()?;
        let key = PartKey {
            version: u32::from_be_bytes(*version),
            data: Zeroizing::new(*data),
            salt: Zeroizing::new(*salt),
        };
        (check == key.check()).then_some(key)
    }
}

/// A damaged record: which file, at what offset, and the id it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSlot {
    /// File name under `keys/`.
    pub file: &'static str,
    /// Byte offset.
    pub offset: u64,
    /// Claimed id.
    pub id: u64,
}

/// The open key ring.
pub struct Vault {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    epoch: u64,
    epoch_key: Secret,
    tenant: Secret,
    wal: BTreeMap<u64, Secret>,
    parts: BTreeMap<u64, PartKey>,
    parts_slots: u64,
    wal_slots: u64,
    /// Records that could not be opened.
    pub bad: Vec<BadSlot>,
}

impl Vault {
    /// Creates the ring of a new ledger.
    pub fn create(dir: &Path, kek: &Kek, disk: Arc<dyn Disk>, now_ns: u64) -> Result<Vault, LedgerError> {
        create_dir(dir)?;
        let vault = Vault {
            dir: dir.to_owned(),
            disk,
            epoch: 1,
            epoch_key: random()?,
            tenant: random()?,
            wal: BTreeMap::new(),
            parts: BTreeMap::new(),
            parts_slots: 0,
            wal_slots: 0,
            bad: Vec::new(),
        };
        write_atomic(
            &dir.join("tenant"),
            &sealed(kek.bytes(), SlotKind::Tenant, 1, 0, vault.tenant.as_ref())?,
        )?;
        write_atomic(&dir.join("wal"), &[])?;
        write_atomic(&dir.join("parts"), &[])?;
        // Last, because its presence says that the ring exists.
        vault.write_epochs(kek, &[(1, &vault.epoch_key, now_ns)])?;
        Ok(vault)
    }

    /// Whether a ring exists in `dir`.
    pub fn exists(dir: &Path) -> bool {
        dir.join("epoch").exists()
    }

    /// Reads the ring. Damaged records of parts are noted in `bad`; everything else must be whole.
    pub fn open(dir: &Path, kek: &Kek, disk: Arc<dyn Disk>) -> Result<Vault, LedgerError> {
        let path = dir.join("epoch");
        let wrong = |why: &str| LedgerError::Kek { path: path.clone(), why: why.to_owned() };
        let epochs = slots(&path)?;
        let mut keys: BTreeMap<u64, Secret> = BTreeMap::new();
        for (at, slot) in epochs.iter().enumerate() {
            if !slot::whole(slot) {
                return Err(LedgerError::corrupt(&path, (at * SLOT_LEN) as u64, "key record is damaged"));
            }
            let secret = slot::open(kek.bytes(), SlotKind::Epoch, slot).ok_or_else(|| {
                wrong("sealed by another key-encryption key; use the one this ledger was made with")
            })?;
            let key = secret.first_chunk::<32>().ok_or_else(|| wrong("record is too short"))?;
            keys.insert(slot::head(slot).id, Zeroizing::new(*key));
        }
        let Some((epoch, epoch_key)) = keys.last_key_value().map(|(id, key)| (*id, key.clone())) else {
            return Err(LedgerError::corrupt(&path, 0, "holds no key record"));
        };
        let tenant_path = dir.join("tenant");
        let tenant = slots(&tenant_path)?
            .first()
            .and_then(|slot| slot::open(kek.bytes(), SlotKind::Tenant, slot))
            .and_then(|secret| secret.first_chunk::<32>().map(|key| Zeroizing::new(*key)))
            .ok_or_else(|| LedgerError::corrupt(&tenant_path, 0, "key record is damaged"))?;
        let mut vault = Vault {
            dir: dir.to_owned(),
            disk,
            epoch,
            epoch_key,
            tenant,
            wal: BTreeMap::new(),
            parts: BTreeMap::new(),
            parts_slots: 0,
            wal_slots: 0,
            bad: Vec::new(),
        };
        vault.read_wal(&keys)?;
        vault.read_parts(&keys)?;
        Ok(vault)
    }

    fn read_wal(&mut self, epochs: &BTreeMap<u64, Secret>) -> Result<(), LedgerError> {
        let all = slots(&self.dir.join("wal"))?;
        self.wal_slots = all.len() as u64;
        for (at, slot) in all.iter().enumerate() {
            let id = slot::head(slot).id;
            let key = open_by_epoch(epochs, SlotKind::Wal, slot)
                .and_then(|secret| secret.first_chunk::<32>().map(|key| Zeroizing::new(*key)));
            match key {
                Some(key) => drop(self.wal.insert(id, key)),
                None => self.bad.push(BadSlot { file: "wal", offset: (at * SLOT_LEN) as u64, id }),
            }
        }
        Ok(())
    }

    fn read_parts(&mut self, epochs: &BTreeMap<u64, Secret>) -> Result<(), LedgerError> {
        let all = slots(&self.dir.join("parts"))?;
        self.parts_slots = all.len() as u64;
        for (at, slot) in all.iter().enumerate() {
            let id = slot::head(slot).id;
            let key =
                open_by_epoch(epochs, SlotKind::Part, slot).and_then(|secret| PartKey::from_secret(&secret));
            match key {
                // The later record of the same first index wins: the earlier one was never used.
                Some(key) => drop(self.parts.insert(id, key)),
                None => self.bad.push(BadSlot { file: "parts", offset: (at * SLOT_LEN) as u64, id }),
            }
        }
        Ok(())
    }

    /// Replaces the epoch KEK when it is older than 30 days, and wraps every record again.
    pub fn rotate_if_due(&mut self, kek: &Kek, now_ns: u64) -> Result<bool, LedgerError> {
        let path = self.dir.join("epoch");
        let all = slots(&path)?;
        let created = all
            .iter()
            .find(|slot| slot::head(slot).id == self.epoch)
            .and_then(|slot| slot::open(kek.bytes(), SlotKind::Epoch, slot))
            .and_then(|secret| secret.get(32..40)?.first_chunk::<8>().map(|ns| u64::from_be_bytes(*ns)));
        let due = created.is_some_and(|created| now_ns.saturating_sub(created) > EPOCH_NS);
        if (!due && all.len() == 1) || !self.bad.is_empty() {
            return Ok(false);
        }
        if due {
            let next: Secret = random()?;
            self.write_epochs(
                kek,
                &[(self.epoch, &self.epoch_key, created.unwrap_or(0)), (self.epoch + 1, &next, now_ns)],
            )?;
            (self.epoch, self.epoch_key) = (self.epoch + 1, next);
        }
        self.write_wal()?;
        self.write_parts()?;
        self.write_epochs(kek, &[(self.epoch, &self.epoch_key, now_ns)])?;
        Ok(true)
    }

    fn write_epochs(&self, kek: &Kek, epochs: &[(u64, &Secret, u64)]) -> Result<(), LedgerError> {
        let mut bytes = Vec::new();
        for (number, key, created) in epochs {
            let mut secret = Zeroizing::new(key.to_vec());
            secret.extend_from_slice(&created.to_be_bytes());
            bytes.extend_from_slice(&sealed(kek.bytes(), SlotKind::Epoch, *number, 0, &secret)?);
        }
        write_atomic(&self.dir.join("epoch"), &bytes)
    }

    fn write_wal(&mut self) -> Result<(), LedgerError> {
        let mut bytes = Vec::with_capacity(self.wal.len() * SLOT_LEN);
        for (id, key) in &self.wal {
            bytes.extend_from_slice(&sealed(&self.epoch_key, SlotKind::Wal, *id, self.epoch, key.as_ref())?);
        }
        self.wal_slots = self.wal.len() as u64;
        write_atomic(&self.dir.join("wal"), &bytes)
    }

    fn write_parts(&mut self) -> Result<(), LedgerError> {
        let mut bytes = Vec::with_capacity(self.parts.len() * SLOT_LEN);
        for (first, key) in &self.parts {
            bytes.extend_from_slice(&sealed(
                &self.epoch_key,
                SlotKind::Part,
                *first,
                self.epoch,
                &key.to_secret(),
            )?);
        }
        self.parts_slots = self.parts.len() as u64;
        write_atomic(&self.dir.join("parts"), &bytes)
    }

    /// Makes a key for WAL file `number`; durable on return.
    pub fn new_wal_key(&mut self, number: u64) -> Result<Secret, LedgerError> {
        let key: Secret = random()?;
        let slot = sealed(&self.epoch_key, SlotKind::Wal, number, self.epoch, key.as_ref())?;
        self.append("wal", self.wal_slots, &slot)?;
        self.wal_slots += 1;
        self.wal.insert(number, key.clone());
        Ok(key)
    }

    /// Key of WAL file `number`.
    pub fn wal_key(&self, number: u64) -> Option<Secret> {
        self.wal.get(&number).cloned()
    }

    /// Destroys the keys of all WAL files below `number`.
    pub fn destroy_wal_below(&mut self, number: u64) -> Result<(), LedgerError> {
        let before = self.wal.len();
        self.wal.retain(|id, _| *id >= number);
        if self.wal.len() == before { Ok(()) } else { self.write_wal() }
    }

    /// Makes the keys of the part that begins at `first`; durable on return.
    pub fn new_part(&mut self, first: u64) -> Result<PartKey, LedgerError> {
        let key = PartKey { version: 1, data: random()?, salt: random()? };
        let slot = sealed(&self.epoch_key, SlotKind::Part, first, self.epoch, &key.to_secret())?;
        self.append("parts", self.parts_slots, &slot)?;
        self.parts_slots += 1;
        self.parts.insert(first, key.clone());
        Ok(key)
    }

    /// Drops records of parts that begin at or after `size`: no leaf was ever committed under them.
    pub fn drop_parts_from(&mut self, size: u64) -> Result<(), LedgerError> {
        let stale = self.parts.range(size..).next().is_some();
        if !stale || !self.bad.is_empty() {
            return Ok(());
        }
        self.parts.retain(|first, _| *first < size);
        self.write_parts()
    }

    /// Keys of the part that begins at `first`.
    pub fn part(&self, first: u64) -> Option<&PartKey> {
        self.parts.get(&first)
    }

    /// First leaf indices of all parts, also of those whose record is damaged.
    pub fn part_firsts(&self) -> Vec<u64> {
        let damaged = self.bad.iter().filter(|bad| bad.file == "parts").map(|bad| bad.id);
        let mut firsts: Vec<u64> = self.parts.keys().copied().chain(damaged).collect();
        firsts.sort_unstable();
        firsts.dedup();
        firsts
    }

    /// The tenant's digest key.
    pub fn digest_key(&self) -> DigestKey {
        DigestKey::new(&self.tenant)
    }

    /// Writes after the last whole record, so that a torn one is overwritten, and syncs.
    fn append(&self, name: &str, slots: u64, slot: &[u8; SLOT_LEN]) -> Result<(), LedgerError> {
        let path = self.dir.join(name);
        let file = options().open(&path).map_err(|error| LedgerError::io("open", &path, error))?;
        self.disk
            .write_at(&file, &path, slot, slots * SLOT_LEN as u64)
            .map_err(|error| LedgerError::io("write", &path, error))?;
        self.disk.sync(&file, &path).map_err(|error| LedgerError::io("sync", &path, error))
    }
}

fn open_by_epoch(
    epochs: &BTreeMap<u64, Secret>,
    kind: SlotKind,
    slot: &[u8; SLOT_LEN],
) -> Option<Zeroizing<Vec<u8>>> {
    slot::open(epochs.get(&slot::head(slot).epoch)?, kind, slot)
}

fn sealed(
    key: &[u8; 32],
    kind: SlotKind,
    id: u64,
    epoch: u64,
    secret: &[u8],
) -> Result<[u8; SLOT_LEN], LedgerError> {
    slot::seal(key, kind, id, epoch, secret)
        .ok_or_else(|| LedgerError::Invalid("a key record could not be sealed".to_owned()))
}

/// All whole-length records of a ring file; a cut last one was never used.
fn slots(path: &Path) -> Result<Vec<[u8; SLOT_LEN]>, LedgerError> {
    let bytes = read_bounded(path, RING_MAX)?.ok_or_else(|| LedgerError::corrupt(path, 0, "is missing"))?;
    let mut all = parse_slots(&bytes).to_vec();
    // A power cut may leave zeros where the last record was being appended; it was never used.
    if all.last().is_some_and(|slot| slot.iter().all(|byte| *byte == 0)) {
        all.pop();
    }
    Ok(all)
}

/// The records in the bytes of a ring file.
pub fn parse_slots(bytes: &[u8]) -> &[[u8; SLOT_LEN]] {
    bytes.as_chunks::<SLOT_LEN>().0
}
