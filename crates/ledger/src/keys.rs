//! Keys (stub).
use crate::LedgerError;
use ring::hmac;
use std::path::Path;
use zeroize::Zeroizing;

/// The key-encryption key: 32 random bytes that open the key ring. Wiped when dropped.
#[derive(Clone)]
pub struct Kek(#[expect(dead_code, reason = "filled next")] Zeroizing<[u8; 32]>);

impl Kek {
    /// Reads the key file, or creates it with mode 0600; `true` = created now.
    pub fn load_or_create(_path: &Path) -> Result<(Kek, bool), LedgerError> {
        Err(LedgerError::Closed)
    }
    /// Reads the key file: base64 of 32 bytes, mode 0600 or stricter.
    pub fn load(_path: &Path) -> Result<Kek, LedgerError> {
        Err(LedgerError::Closed)
    }
    /// From raw bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Kek {
        Kek(Zeroizing::new(bytes))
    }
}

/// The tenant's HMAC key for digests of bodies and finding ids.
#[derive(Clone)]
pub struct DigestKey(hmac::Key);

impl DigestKey {
    pub(crate) fn stub() -> DigestKey {
        DigestKey(hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]))
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
