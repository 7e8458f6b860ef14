//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), both sides, sans I/O.
//!
//! Not a login: who may log in, and over what, is the caller's. No SASLprep: passwords are taken as they are, which
//! for ASCII is the same. Invariants: every message and number of a peer is checked against a bound named here
//! before it is used; keys, proofs and passwords are in no error and no debug output, and are overwritten when they
//! are dropped; comparing them takes the same time wherever they differ.

mod client;
mod end_point;
mod server;
mod text;

pub use client::{ClientSide, Offer};
pub use end_point::end_point;
pub use server::{Proved, ServerSide};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// Name of the mechanism without channel binding (RFC 7677).
pub const SCRAM: &str = "SCRAM-SHA-256";
/// Name of the mechanism with channel binding (RFC 7677).
pub const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// Name of the one channel binding that is spoken here (RFC 5929, section 4).
pub const END_POINT: &str = "tls-server-end-point";
/// Longest message, bytes.
pub const MESSAGE_MAX: usize = 4 << 10;
/// Longest nonce, bytes, both sides' parts together.
pub const NONCE_MAX: usize = 512;
/// Longest salt, bytes before encoding.
pub const SALT_MAX: usize = 256;
/// Most iterations that are computed or believed. PostgreSQL's default is 4,096; 600,000 take about a tenth of a
/// second.
pub const ITERATIONS_MAX: u32 = 600_000;
/// Longest verifier in the server's own form, bytes.
pub const VERIFIER_MAX: usize = 1 << 10;

/// Bytes of a SHA-256 digest, and of every key here.
const KEY: usize = 32;

/// A secret of 32 bytes, overwritten when it is dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; KEY]>);

impl Key {
    /// The key with these bytes.
    pub fn new(bytes: [u8; KEY]) -> Key {
        Key(Zeroizing::new(bytes))
    }

    fn of(bytes: &[u8]) -> Option<Key> {
        let mut key = Key::new([0; KEY]);
        if bytes.len() != KEY {
            return None;
        }
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    fn mac(&self, message: &[u8]) -> Key {
        mac(self.0.as_slice(), message)
    }

    fn digest(&self) -> Key {
        let mut out = Key::new([0; KEY]);
        out.0.copy_from_slice(digest::digest(&digest::SHA256, self.0.as_slice()).as_ref());
        out
    }

    fn xor(&self, other: &Key) -> Key {
        let mut out = self.clone();
        out.0.iter_mut().zip(other.0.iter()).for_each(|(a, b)| *a ^= b);
        out
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    fn same(&self, other: &Key) -> bool {
        let differ = self.0.iter().zip(other.0.iter()).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differ) == 0
    }

    fn encoded(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_slice()))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

fn mac(key: &[u8], message: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut out = Key::new([0; KEY]);
    out.0.copy_from_slice(tag.as_ref());
    out
}

/// What a client proves itself with, and knows its server by.
#[derive(Clone, Debug)]
pub struct Keys {
    /// ClientKey.
    pub client: Key,
    /// ServerKey.
    pub server: Key,
}

impl Keys {
    /// The keys of a password (RFC 5802, section 3). Its cost is in proportion to `iterations`, of which at most
    /// [`ITERATIONS_MAX`] are computed.
    pub fn of_password(password: &[u8], salt: &[u8], iterations: u32) -> Keys {
        let iterations = NonZeroU32::new(iterations.min(ITERATIONS_MAX)).unwrap_or(NonZeroU32::MIN);
        let mut salted = Zeroizing::new([0; KEY]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password, salted.as_mut_slice());
        Keys { client: mac(salted.as_slice(), b"Client Key"), server: mac(salted.as_slice(), b"Server Key") }
    }
}

/// What a server keeps of a password.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// How often the password was hashed.
    pub iterations: u32,
    /// With what.
    pub salt: Vec<u8>,
    /// Digest of the ClientKey.
    pub stored_key: Key,
    /// What the server proves itself with.
    pub server_key: Key,
}

impl Verifier {
    /// Reads the form of PostgreSQL's `pg_authid.rolpassword`:
    /// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
    ///
    /// # Errors
    /// What is wrong with it, without a byte of it.
    pub fn parse(text: &str) -> Result<Verifier, &'static str> {
        if text.len() > VERIFIER_MAX {
            return Err("longer than a verifier can be");
        }
        let rest = text.strip_prefix("SCRAM-SHA-256$").ok_or("does not begin with SCRAM-SHA-256$")?;
        let (cost, keys) = rest.split_once('$').ok_or("has no keys behind a second $")?;
        let (iterations, salt) = cost.split_once(':').ok_or("has no salt behind its iterations")?;
        let (stored, server) = keys.split_once(':').ok_or("has no ServerKey behind its StoredKey")?;
        let key = |text: &str| Key::of(&Zeroizing::new(STANDARD.decode(text).ok()?));
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty() && salt.len() <= SALT_MAX);
        Ok(Verifier {
            iterations: text::iterations(iterations.as_bytes())
                .ok_or("its iterations are no number in bounds")?,
            salt: salt.ok_or("its salt is no base64 in bounds")?,
            stored_key: key(stored).ok_or("its StoredKey is not 32 bytes in base64")?,
            server_key: key(server).ok_or("its ServerKey is not 32 bytes in base64")?,
        })
    }

    /// A verifier that no password is known to fit, for a role that is not known: it costs what this one costs, is
    /// the same each time, and tells nothing of this one.
    pub fn mock(&self, role: &str) -> Verifier {
        let part = |what: &str| self.server_key.mac(format!("{what}\0{role}").as_bytes());
        let salt = part("mock salt").0.iter().copied().take(self.salt.len()).collect();
        Verifier {
            iterations: self.iterations,
            salt,
            stored_key: part("mock StoredKey"),
            server_key: part("mock ServerKey"),
        }
    }

    /// The verifier of a client's keys.
    pub fn of_keys(keys: &Keys, salt: &[u8], iterations: u32) -> Verifier {
        let (stored_key, server_key) = (keys.client.digest(), keys.server.clone());
        Verifier { iterations, salt: salt.to_vec(), stored_key, server_key }
    }
}

/// Why an exchange ended without success. No byte of a message is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A message does not have the form of RFC 5802, section 7, or is beyond a bound of this module.
    #[error("SCRAM: {0}")]
    Malformed(&'static str),
    /// The client supports channel binding and believes that the server does not, although it was offered: somebody
    /// between them may have taken the offer out.
    #[error("SCRAM: channel binding was offered and the client was not told so")]
    Downgrade,
    /// The client is bound to another channel than this one.
    #[error("SCRAM: channel binding does not fit this channel")]
    Binding,
    /// The proof, or the server's signature, is wrong.
    #[error("SCRAM: wrong proof")]
    Proof,
    /// The server ended the exchange with an error of its own.
    #[error("SCRAM: the server reported an error")]
    Reported,
}
