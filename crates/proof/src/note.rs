//! C2SP signed notes: strict parsing, Ed25519 signatures (type 01) and timestamped cosignatures (type 04).
//!
//! Not a key store. Invariants: text means nothing until [`Note::verify`] has accepted it; lines by
//! unknown keys are skipped; one wrong line by a known key refuses the whole note; a note that was
//! parsed is written back byte for byte.

use crate::Error;
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use std::fmt;

/// Largest note in bytes.
pub const NOTE_MAX: usize = 128 << 10;
/// Most signature lines in a note.
pub const SIGNATURES_MAX: usize = 32;
/// Longest key name in bytes.
pub const NAME_MAX: usize = 255;

const WHAT: &str = "signed note";

/// What a key signs, by its type byte in the key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyType {
    /// Ed25519 over the note text: logs.
    Ed25519 = 0x01,
    /// Ed25519 over time and note text (C2SP tlog-cosignature): witnesses.
    Cosignature = 0x04,
}

impl KeyType {
    fn signature_len(self) -> usize {
        match self {
            KeyType::Ed25519 => 64,
            KeyType::Cosignature => 72,
        }
    }
}

/// A public key with the name and type it was pinned under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: KeyType,
    id: u32,
    key: VerifyingKey,
}

impl VerifierKey {
    /// From its parts; refuses an invalid name and a weak or invalid point.
    pub fn new(name: &str, kind: KeyType, public: &[u8; 32]) -> Result<VerifierKey, Error> {
        const WHAT: &str = "verifier key";
        if !valid_name(name) {
            return Err(Error::malformed(WHAT, "the name is empty, too long, or has a space, control or +"));
        }
        let key = VerifyingKey::from_bytes(public)
            .map_err(|_| Error::malformed(WHAT, "not an Ed25519 public key"))?;
        if key.is_weak() {
            return Err(Error::malformed(WHAT, "a weak key that accepts forged signatures"));
        }
        Ok(VerifierKey { name: name.to_owned(), kind, id: key_id(name, kind, public), key })
    }

    /// From a C2SP vkey, `<name>+<8 hex digits>+<base64 of type and key>`.
    pub fn parse(vkey: &str) -> Result<VerifierKey, Error> {
        const WHAT: &str = "verifier key";
        let shape = || Error::malformed(WHAT, "not <name>+<key id>+<base64>");
        let (name, rest) = vkey.split_once('+').ok_or_else(shape)?;
        let (id, material) = rest.split_once('+').ok_or_else(shape)?;
        let material =
            STANDARD.decode(material).map_err(|_| Error::malformed(WHAT, "base64 is not canonical"))?;
        let kind = match material.first() {
            Some(0x01) => KeyType::Ed25519,
            Some(0x04) => KeyType::Cosignature,
            Some(0x06) => {
                return Err(Error::malformed(WHAT, "ML-DSA-44 (type 06) is not built into this version"));
            }
            _ => return Err(Error::malformed(WHAT, "unknown signature type")),
        };
        let public = material
            .get(1..)
            .and_then(|key| <&[u8; 32]>::try_from(key).ok())
            .ok_or_else(|| Error::malformed(WHAT, "the key is not 32 bytes"))?;
        let key = VerifierKey::new(name, kind, public)?;
        if format!("{:08x}", key.id) != id {
            return Err(Error::malformed(WHAT, "the key id is not that of this name and key"));
        }
        Ok(key)
    }

    /// The name that signature lines carry; for a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The short id that signature lines carry.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What this key signs.
    pub fn kind(&self) -> KeyType {
        self.kind
    }

    /// The 32 bytes of the public key: equal bytes are the same key, whatever its name.
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Strict check of one signature over a note's text; the cosignature's time in seconds, 0 without one.
    fn check(&self, text: &str, signature: &[u8]) -> Option<u64> {
        if signature.len() != self.kind.signature_len() {
            return None;
        }
        let (time, signature) = match self.kind {
            KeyType::Ed25519 => (0, signature),
            KeyType::Cosignature => {
                let (time, rest) = signature.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*time), rest)
            }
        };
        let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
        let verdict = match self.kind {
            KeyType::Ed25519 => self.key.verify_strict(text.as_bytes(), &signature),
            KeyType::Cosignature => self.key.verify_strict(cosigned(text, time).as_bytes(), &signature),
        };
        (verdict.is_ok() && time <= i64::MAX as u64).then_some(time)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = vec![self.kind as u8];
        material.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(material))
    }
}

/// A private Ed25519 key with its name. The key is wiped when dropped and never shown by `Debug`.
pub struct NoteSigner {
    name: String,
    kind: KeyType,
    key: SigningKey,
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoteSigner")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl NoteSigner {
    /// A log's signer (type 01) from its 32-byte seed. Wiping the caller's copy is the caller's part.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<NoteSigner, Error> {
        NoteSigner::with_kind(name, KeyType::Ed25519, seed)
    }

    /// A witness's signer (type 04) from its 32-byte seed. One key for one cosigner: its message names nobody.
    pub fn cosigner_from_seed(name: &str, seed: &[u8; 32]) -> Result<NoteSigner, Error> {
        NoteSigner::with_kind(name, KeyType::Cosignature, seed)
    }

    fn with_kind(name: &str, kind: KeyType, seed: &[u8; 32]) -> Result<NoteSigner, Error> {
        if !valid_name(name) {
            return Err(Error::malformed("key name", "empty, too long, or has a space, control or +"));
        }
        Ok(NoteSigner { name: name.to_owned(), kind, key: SigningKey::from_bytes(seed) })
    }

    /// The public half, for pinning.
    pub fn verifier(&self) -> VerifierKey {
        let key = self.key.verifying_key();
        let id = key_id(&self.name, self.kind, key.as_bytes());
        VerifierKey { name: self.name.clone(), kind: self.kind, id, key }
    }

    /// Signs a note's text. `unix_seconds` is the time of a cosignature; a log key ignores it.
    pub fn sign(&self, text: &str, unix_seconds: u64) -> NoteSignature {
        let bytes = match self.kind {
            KeyType::Ed25519 => self.key.sign(text.as_bytes()).to_bytes().to_vec(),
            KeyType::Cosignature => {
                let mut bytes = unix_seconds.to_be_bytes().to_vec();
                bytes.extend_from_slice(&self.key.sign(cosigned(text, unix_seconds).as_bytes()).to_bytes());
                bytes
            }
        };
        NoteSignature { name: self.name.clone(), key_id: self.verifier().id, bytes }
    }
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// Short id of the key.
    pub key_id: u32,
    /// The signature without the key id.
    pub bytes: Vec<u8>,
}

impl NoteSignature {
    /// From `— <name> <base64>`, without the newline.
    pub fn parse(line: &str) -> Result<NoteSignature, Error> {
        let shape = || Error::malformed(WHAT, "a signature line is not '— <name> <base64>'");
        let (name, text) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or_else(shape)?;
        if !valid_name(name) {
            return Err(Error::malformed(WHAT, "the key name of a signature line is invalid"));
        }
        let raw = STANDARD.decode(text).map_err(|_| Error::malformed(WHAT, "base64 is not canonical"))?;
        match raw.split_first_chunk::<4>() {
            Some((id, bytes)) if !bytes.is_empty() => Ok(NoteSignature {
                name: name.to_owned(),
                key_id: u32::from_be_bytes(*id),
                bytes: bytes.to_vec(),
            }),
            _ => Err(Error::malformed(WHAT, "a signature is shorter than its key id")),
        }
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut raw = self.key_id.to_be_bytes().to_vec();
        raw.extend_from_slice(&self.bytes);
        write!(f, "— {} {}", self.name, STANDARD.encode(raw))
    }
}

/// A signature that was checked and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Position of the key in the list given to [`Note::verify`].
    pub key: usize,
    /// Time of a cosignature, Unix seconds; 0 for a plain signature.
    pub unix_seconds: u64,
}

/// A parsed note. Nothing in it is trusted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note to be written; `text` must end in a newline, and there must be at least one signature.
    pub fn new(text: &str, signatures: Vec<NoteSignature>) -> Result<Note, Error> {
        let note = Note { text: text.to_owned(), signatures };
        Note::parse(note.to_string().as_bytes())?;
        Ok(note)
    }

    /// Signs `text` with each signer in turn.
    pub fn sign(text: &str, unix_seconds: u64, signers: &[&NoteSigner]) -> Result<Note, Error> {
        Note::new(text, signers.iter().map(|signer| signer.sign(text, unix_seconds)).collect())
    }

    /// Parses the whole of `bytes` as one note.
    pub fn parse(bytes: &[u8]) -> Result<Note, Error> {
        if bytes.len() > NOTE_MAX {
            return Err(Error::Limit { what: "size of a note in bytes", max: NOTE_MAX as u64 });
        }
        let all = str::from_utf8(bytes).map_err(|_| Error::malformed(WHAT, "not UTF-8"))?;
        if all.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(Error::malformed(WHAT, "contains a control character"));
        }
        let split =
            all.rfind("\n\n").ok_or_else(|| Error::malformed(WHAT, "no blank line before signatures"))?;
        let (text, lines) = (&all[..=split], &all[split + 2..]);
        let lines = lines
            .strip_suffix('\n')
            .ok_or_else(|| Error::malformed(WHAT, "does not end in a signature line and newline"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() >= SIGNATURES_MAX {
                return Err(Error::Limit { what: "signatures of a note", max: SIGNATURES_MAX as u64 });
            }
            signatures.push(NoteSignature::parse(line)?);
        }
        Ok(Note { text: text.to_owned(), signatures })
    }

    /// The signed text, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signature lines, also those by unknown keys.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line, for example a witness's.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), Error> {
        if self.signatures.len() >= SIGNATURES_MAX {
            return Err(Error::Limit { what: "signatures of a note", max: SIGNATURES_MAX as u64 });
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Checks every line by a key of `keys`, each key counted once; at least one must be there.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Vec<Verified>, Error> {
        let mut verified: Vec<Verified> = Vec::new();
        for line in &self.signatures {
            let known = keys.iter().position(|key| key.id == line.key_id && key.name == line.name);
            let Some((position, key)) = known.and_then(|at| Some((at, keys.get(at)?))) else { continue };
            let Some(unix_seconds) = key.check(&self.text, &line.bytes) else {
                return Err(Error::BadSignature { name: line.name.clone(), key_id: line.key_id });
            };
            if verified.iter().all(|earlier| earlier.key != position) {
                verified.push(Verified { key: position, unix_seconds });
            }
        }
        if verified.is_empty() { Err(Error::NoKnownSignature) } else { Ok(verified) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            writeln!(f, "{signature}")?;
        }
        Ok(())
    }
}

fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && !name.chars().any(|c| c.is_whitespace() || c == '+' || (c as u32) < 0x20)
}

fn key_id(name: &str, kind: KeyType, public: &[u8; 32]) -> u32 {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update([b'\n', kind as u8]);
    hash.update(public);
    let full: [u8; 32] = hash.finalize().into();
    u32::from_be_bytes([full[0], full[1], full[2], full[3]])
}

fn cosigned(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}
