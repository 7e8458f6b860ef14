//! The signer: it holds the log key and a memory of its own, and never signs two histories.
//!
//! [`LocalSigner`] lives in this process behind the final interface; a process of its own comes later.
//! Only Ed25519 (type 01) is signed in this version; ML-DSA-44 (type 06) follows as a second line.
//!
//! Invariants: (fence, size, root) is durable before a signature leaves; the size never goes down; the
//! same size always has the same root; a lower fence number gets nothing.

use crate::LedgerError;
use crate::disk::{Disk, create_dir, options, read_bounded, write_atomic};
use crate::keys::slot::{self, SLOT_LEN, SlotKind};
use crate::keys::{Kek, Secret, random};
use crate::wal::header::{part, sha256};
use countersign_proof::{Checkpoint, EMPTY_ROOT, Hash, NoteSigner, VerifierKey, verify_consistency};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// What a signer remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignerStatus {
    /// Highest fence number that was taken.
    pub fence: u64,
    /// Last size signed.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
}

/// A request for a signature over a tree head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignRequest {
    /// Number that the caller took by [`Signer::fence`].
    pub fence: u64,
    /// The log's origin.
    pub origin: String,
    /// Size to sign.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
    /// Consistency proof from the signer's last size.
    pub consistency: Vec<Hash>,
}

/// Holds the log key and a memory of its own; refuses to sign two histories.
pub trait Signer: Send + Sync {
    /// Takes over: the number must be higher than any before, and lower ones are refused from now on.
    fn fence(&self, number: u64) -> Result<(), LedgerError>;
    /// What the signer remembers.
    fn status(&self) -> Result<SignerStatus, LedgerError>;
    /// The public half of the log key.
    fn verifier(&self) -> VerifierKey;
    /// Persists (fence, size, root), then returns the signed note.
    fn sign(&self, request: &SignRequest) -> Result<String, LedgerError>;
}

/// Bytes of one copy of the state; two copies are written in turn, so that a torn write loses neither.
pub const STATE_LEN: usize = 128;
const MAGIC: &[u8; 8] = b"CSNSIGN1";

/// A signer in this process with its own directory: `key` (sealed seed) and `state`.
pub struct LocalSigner {
    origin: String,
    key: NoteSigner,
    path: PathBuf,
    file: File,
    disk: Arc<dyn Disk>,
    mac: hmac::Key,
    memory: Mutex<Memory>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    counter: u64,
    status: SignerStatus,
}

impl LocalSigner {
    /// Makes a new log key with an empty memory.
    pub fn create(
        dir: &Path,
        kek: &Kek,
        origin: &str,
        disk: Arc<dyn Disk>,
    ) -> Result<LocalSigner, LedgerError> {
        create_dir(dir)?;
        let seed: Secret = random()?;
        let record = slot::seal(kek.bytes(), SlotKind::Log, 1, 0, seed.as_ref())
            .ok_or_else(|| LedgerError::Invalid("the log key could not be sealed".to_owned()))?;
        let empty = SignerStatus { fence: 0, size: 0, root: EMPTY_ROOT };
        let mac = state_key(&seed)?;
        let mut state = encode_state(&mac, origin, Memory { counter: 1, status: empty }).to_vec();
        state.extend_from_slice(&encode_state(&mac, origin, Memory { counter: 2, status: empty }));
        write_atomic(&dir.join("state"), &state)?;
        // The key comes last: its presence says that the signer exists.
        write_atomic(&dir.join("key"), &record)?;
        LocalSigner::open(dir, kek, origin, disk)
    }

    /// Whether a signer exists in `dir`.
    pub fn exists(dir: &Path) -> bool {
        dir.join("key").exists()
    }

    /// Opens an existing signer. A missing or damaged memory is refused: it would be a rollback.
    pub fn open(
        dir: &Path,
        kek: &Kek,
        origin: &str,
        disk: Arc<dyn Disk>,
    ) -> Result<LocalSigner, LedgerError> {
        let (seed, path) = (read_seed(dir, kek)?, dir.join("state"));
        let mac = state_key(&seed)?;
        let (memory, _) = read_state(&path, &mac, origin)?;
        let key =
            NoteSigner::from_seed(origin, &seed).map_err(|error| LedgerError::Invalid(error.to_string()))?;
        let file = options().open(&path).map_err(|error| LedgerError::io("open", &path, error))?;
        Ok(LocalSigner { origin: origin.to_owned(), key, path, file, disk, mac, memory: Mutex::new(memory) })
    }

    /// Writes the next memory over the older copy, durably, and only then takes it as its own.
    fn remember(&self, memory: &mut Memory, status: SignerStatus) -> Result<(), LedgerError> {
        let next = Memory { counter: memory.counter + 1, status };
        let bytes = encode_state(&self.mac, &self.origin, next);
        let offset = (next.counter + 1) % 2 * STATE_LEN as u64;
        self.disk
            .write_at(&self.file, &self.path, &bytes, offset)
            .map_err(|error| LedgerError::io("write", &self.path, error))?;
        self.disk.sync(&self.file, &self.path).map_err(|error| LedgerError::io("sync", &self.path, error))?;
        *memory = next;
        Ok(())
    }
}

impl Signer for LocalSigner {
    fn fence(&self, number: u64) -> Result<(), LedgerError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let current = memory.status.fence;
        if number <= current {
            return Err(LedgerError::Fenced { ours: number, current });
        }
        let status = SignerStatus { fence: number, ..memory.status };
        self.remember(&mut memory, status)
    }

    fn status(&self) -> Result<SignerStatus, LedgerError> {
        Ok(self.memory.lock().unwrap_or_else(PoisonError::into_inner).status)
    }

    fn verifier(&self) -> VerifierKey {
        self.key.verifier()
    }

    fn sign(&self, request: &SignRequest) -> Result<String, LedgerError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let last = memory.status;
        if request.fence < last.fence {
            return Err(LedgerError::Fenced { ours: request.fence, current: last.fence });
        }
        check_request(&self.origin, &last, request)?;
        let status = SignerStatus { fence: request.fence, size: request.size, root: request.root };
        if status != last {
            self.remember(&mut memory, status)?;
        }
        let head = Checkpoint { origin: self.origin.clone(), size: request.size, root: request.root };
        let note = head.sign(0, &[&self.key]).map_err(|error| LedgerError::Signer(error.to_string()))?;
        Ok(note.to_string())
    }
}

/// Everything but the fence: origin, size, root and the proof that nothing signed before has changed.
fn check_request(origin: &str, last: &SignerStatus, request: &SignRequest) -> Result<(), LedgerError> {
    let refuse = |why: String| Err(LedgerError::Signer(why));
    if request.origin != origin {
        return refuse(format!("unknown origin {:?}", request.origin));
    }
    if request.size < last.size {
        return refuse(format!("size {} is below the signed size {}", request.size, last.size));
    }
    if request.size == last.size && request.root != last.root {
        return refuse(format!("size {} was signed with another root", last.size));
    }
    if last.size == 0 || request.size == last.size {
        return Ok(());
    }
    verify_consistency(last.size, request.size, &last.root, &request.root, &request.consistency)
        .map_err(|error| LedgerError::Signer(format!("not consistent with size {}: {error}", last.size)))
}

/// The note signer's public half and memory, without opening anything for writing.
pub(crate) fn inspect(
    dir: &Path,
    kek: &Kek,
    origin: &str,
) -> Result<(VerifierKey, SignerStatus, bool), LedgerError> {
    let seed = read_seed(dir, kek)?;
    let (memory, both) = read_state(&dir.join("state"), &state_key(&seed)?, origin)?;
    let key =
        NoteSigner::from_seed(origin, &seed).map_err(|error| LedgerError::Invalid(error.to_string()))?;
    Ok((key.verifier(), memory.status, both))
}

fn read_seed(dir: &Path, kek: &Kek) -> Result<Secret, LedgerError> {
    let path = dir.join("key");
    let bytes = read_bounded(&path, SLOT_LEN as u64)?;
    let record: [u8; SLOT_LEN] = bytes
        .as_deref()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| LedgerError::corrupt(&path, 0, "is missing or of the wrong length"))?;
    if !slot::whole(&record) {
        return Err(LedgerError::corrupt(&path, 0, "key record is damaged"));
    }
    slot::open(kek.bytes(), SlotKind::Log, &record)
        .and_then(|seed| seed.first_chunk::<32>().map(|seed| Zeroizing::new(*seed)))
        .ok_or_else(|| LedgerError::Kek { path, why: "does not open the log key".to_owned() })
}

fn state_key(seed: &[u8; 32]) -> Result<hmac::Key, LedgerError> {
    let mut key = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, b"")
        .extract(seed)
        .expand(&[b"countersign signer state v1"], HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut()))
        .map_err(|_| LedgerError::Invalid("key derivation failed".to_owned()))?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
}

/// magic 8, counter u64, fence u64, size u64, root 32, SHA-256(origin) 32, mac 32.
fn encode_state(mac: &hmac::Key, origin: &str, memory: Memory) -> [u8; STATE_LEN] {
    let mut out = [0; STATE_LEN];
    out[..8].copy_from_slice(MAGIC);
    out[8..16].copy_from_slice(&memory.counter.to_be_bytes());
    out[16..24].copy_from_slice(&memory.status.fence.to_be_bytes());
    out[24..32].copy_from_slice(&memory.status.size.to_be_bytes());
    out[32..64].copy_from_slice(&memory.status.root);
    out[64..96].copy_from_slice(&sha256(origin.as_bytes()));
    let tag = hmac::sign(mac, &out[..96]);
    out[96..].copy_from_slice(tag.as_ref());
    out
}

fn decode_state(mac: &hmac::Key, origin: &str, bytes: &[u8]) -> Option<Memory> {
    let bytes: &[u8; STATE_LEN] = bytes.first_chunk()?;
    hmac::verify(mac, &bytes[..96], &bytes[96..]).ok()?;
    let memory = Memory {
        counter: u64::from_be_bytes(part(bytes, 8)),
        status: SignerStatus {
            fence: u64::from_be_bytes(part(bytes, 16)),
            size: u64::from_be_bytes(part(bytes, 24)),
            root: part(bytes, 32),
        },
    };
    (encode_state(mac, origin, memory) == *bytes).then_some(memory)
}

/// The newer of the two copies, and whether both are whole.
fn read_state(path: &Path, mac: &hmac::Key, origin: &str) -> Result<(Memory, bool), LedgerError> {
    let bytes = read_bounded(path, 2 * STATE_LEN as u64)?.ok_or_else(|| {
        LedgerError::corrupt(path, 0, "the signer's memory is missing, which equals a rollback")
    })?;
    let copies = [
        decode_state(mac, origin, &bytes),
        bytes.get(STATE_LEN..).and_then(|rest| decode_state(mac, origin, rest)),
    ];
    let both = copies.iter().all(Option::is_some) && bytes.len() == 2 * STATE_LEN;
    copies.into_iter().flatten().max_by_key(|memory| memory.counter).map(|memory| (memory, both)).ok_or_else(
        || LedgerError::corrupt(path, 0, "the signer's memory is damaged, or belongs to another origin"),
    )
}
