//! Keys: the key-encryption key outside the data directory, the ring of wrapped keys inside it.
//!
//! Nothing here ever reaches a log line or an error. `docs/reference/data-directory.md` has the formats.

pub mod ring_file;
pub mod slot;

use crate::LedgerError;
use crate::disk::{create_dir, sync_parent};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::Zeroizing;

pub use ring_file::{PartKey, Vault};

/// A key of 32 bytes that is wiped when dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// Fresh random bytes.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, LedgerError> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new()
        .fill(bytes.as_mut())
        .map_err(|_| LedgerError::Invalid("the system gives no random bytes".to_owned()))?;
    Ok(bytes)
}

/// Longest key file in bytes.
const KEK_FILE_MAX: u64 = 256;

/// The key-encryption key: 32 random bytes that open the key ring. Wiped when dropped.
#[derive(Clone)]
pub struct Kek(Secret);

impl std::fmt::Debug for Kek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kek(..)")
    }
}

impl Kek {
    /// Reads the key file, or creates it with mode 0600; `true` = created now.
    pub fn load_or_create(path: &Path) -> Result<(Kek, bool), LedgerError> {
        if path.exists() {
            return Ok((Kek::load(path)?, false));
        }
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            create_dir(dir)?;
        }
        let key = random::<32>()?;
        let text = Zeroizing::new(format!("{}\n", STANDARD.encode(*key)));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        match write() {
            Ok(()) => {}
            // Another start was faster: its key is the key.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Ok((Kek::load(path)?, false));
            }
            Err(error) => return Err(LedgerError::io("create", path, error)),
        }
        sync_parent(path)?;
        Ok((Kek(key), true))
    }

    /// Reads the key file: base64 of 32 bytes, readable by its owner alone.
    pub fn load(path: &Path) -> Result<Kek, LedgerError> {
        let fault = |why: &str| LedgerError::Kek { path: path.to_owned(), why: why.to_owned() };
        let file = std::fs::File::open(path).map_err(|error| LedgerError::io("open", path, error))?;
        let mode =
            file.metadata().map_err(|error| LedgerError::io("stat", path, error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(fault("others can read it; run chmod 600 on it"));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(KEK_FILE_MAX)
            .read_to_string(&mut text)
            .map_err(|error| LedgerError::io("read", path, error))?;
        let bytes = STANDARD.decode(text.trim()).map(Zeroizing::new).map_err(|_| fault("not base64"))?;
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| fault("not 32 bytes"))?;
        Ok(Kek(Zeroizing::new(key)))
    }

    /// From raw bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Kek {
        Kek(Zeroizing::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The tenant's HMAC key for digests of bodies and finding ids.
#[derive(Clone)]
pub struct DigestKey(hmac::Key);

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

impl DigestKey {
    pub(crate) fn new(key: &[u8; 32]) -> DigestKey {
        DigestKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }
    /// HMAC-SHA-256 of `bytes`.
    pub fn hmac(&self, bytes: &[u8]) -> [u8; 32] {
        let mut context = self.context();
        context.update(bytes);
        context.finish()
    }
    /// Starts an incremental digest.
    pub fn context(&self) -> DigestContext {
        DigestContext(hmac::Context::with_key(&self.0))
    }
}

/// An HMAC-SHA-256 in progress.
#[derive(Clone)]
pub struct DigestContext(hmac::Context);

impl DigestContext {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.sign().as_ref());
        out
    }
}
