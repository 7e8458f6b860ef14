//! Encryption of what waits on disk: messages hold names.
//!
//! `magic "CSA1" | nonce 12 | AES-256-GCM of the bytes`; the file's place (receiver and name) is bound in, so
//! files cannot change places. Two keys are derived, one for sealing, one for ids.

use crate::config::AlertError;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

const MAGIC: &[u8; 4] = b"CSA1";

/// Seals and opens files, and makes ids.
pub(crate) struct Seal {
    aead: LessSafeKey,
    ids: hmac::Key,
    random: SystemRandom,
}

impl Seal {
    pub(crate) fn new(key: &[u8; 32]) -> Result<Seal, AlertError> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, key);
        let sealing = hmac::sign(&root, b"countersign-alert-seal-v1");
        let unbound = UnboundKey::new(&AES_256_GCM, sealing.as_ref());
        let unbound = unbound.map_err(|_| AlertError::Crypto("the key does not fit the cipher"))?;
        let ids = hmac::sign(&root, b"countersign-alert-id-v1");
        Ok(Seal {
            aead: LessSafeKey::new(unbound),
            ids: hmac::Key::new(hmac::HMAC_SHA256, ids.as_ref()),
            random: SystemRandom::new(),
        })
    }

    pub(crate) fn seal(&self, place: &str, bytes: &[u8]) -> Result<Vec<u8>, AlertError> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| AlertError::Crypto("the system gave no randomness"))?;
        let mut sealed = bytes.to_vec();
        self.aead
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| AlertError::Crypto("a message is too large to encrypt"))?;
        Ok([MAGIC.as_slice(), &nonce, &sealed].concat())
    }

    /// `None`: damaged, of another key, or not in its place.
    pub(crate) fn open(&self, place: &str, file: &[u8]) -> Option<Vec<u8>> {
        let rest = file.strip_prefix(MAGIC)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.aead.open_in_place(nonce, Aad::from(place.as_bytes()), &mut sealed).ok()?.len();
        sealed.truncate(opened);
        Some(sealed)
    }

    /// A keyed 128-bit name of `parts`, lengths bound in.
    pub(crate) fn id(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.ids);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&context.sign().as_ref()[..16]);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sealed_bytes_open_in_their_place_with_their_key_only() {
        let seal = Seal::new(&[1; 32]).unwrap();
        let sealed = seal.seal("a/1", b"spiffe://td/payments").unwrap();
        assert!(!sealed.windows(8).any(|w| w == b"payments"));
        assert_eq!(seal.open("a/1", &sealed).unwrap(), b"spiffe://td/payments");
        assert_eq!(seal.open("a/2", &sealed), None);
        assert_eq!(Seal::new(&[2; 32]).unwrap().open("a/1", &sealed), None);
        assert_ne!(seal.seal("a/1", b"x").unwrap(), seal.seal("a/1", b"x").unwrap());
        assert_ne!(seal.id(&[b"ab", b"c"]), seal.id(&[b"a", b"bc"]));
    }

    proptest! {
        #[test]
        fn every_flip_and_cut_is_noticed(at in 0..64usize, bit in 0..8u8, bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            let seal = Seal::new(&[1; 32]).unwrap();
            let mut sealed = seal.seal("p", &bytes).unwrap();
            let at = at % sealed.len();
            prop_assert_eq!(seal.open("p", &sealed[..at]), None);
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(seal.open("p", &sealed), None);
        }
    }
}
