//! The handshake of Fluent's forward protocol: HELO, PING, PONG with a shared key. No users, no I/O.
//!
//! Source: Fluentd wiki, "Forward Protocol Specification v1", "Handshake Messages". Each side proves the key over a
//! nonce of the server's and a salt of the client's, with SHA-512. The client's host name is its own word.

use crate::Fault;
use crate::msgpack::{Item, Reader};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha512};
use std::fmt::Write as _;
use std::sync::Arc;

/// Bytes of a nonce.
const NONCE: usize = 16;
/// Longest text of a PING that is looked at, bytes.
const TEXT_MAX: usize = 1_024;

/// The key that senders and this input share. It is in no output.
#[derive(Clone)]
pub struct SharedKey(Arc<[u8]>);

impl SharedKey {
    /// `key` without white space around it; `None` if nothing is left.
    pub fn new(key: &[u8]) -> Option<SharedKey> {
        let key = key.trim_ascii();
        (!key.is_empty()).then(|| SharedKey(key.into()))
    }
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedKey")
    }
}

/// One connection's handshake, from HELO on.
pub(super) struct Handshake {
    key: SharedKey,
    nonce: [u8; NONCE],
}

/// What a PING leads to.
#[derive(Debug)]
pub(super) struct Pong {
    /// Whether the key was right.
    pub(super) accepted: bool,
    /// What is sent.
    pub(super) message: Vec<u8>,
}

impl Handshake {
    /// `None` = the system gives no randomness.
    pub(super) fn new(key: &SharedKey) -> Option<Handshake> {
        let mut nonce = [0; NONCE];
        SystemRandom::new().fill(&mut nonce).ok()?;
        Some(Handshake { key: key.clone(), nonce })
    }

    /// `["HELO", {"nonce": …, "auth": "", "keepalive": true}]`: no user is asked for.
    pub(super) fn helo(&self) -> Vec<u8> {
        let mut out = vec![0x92];
        text(&mut out, b"HELO");
        out.push(0x83);
        text(&mut out, b"nonce");
        out.extend_from_slice(&[0xc4, NONCE as u8]);
        out.extend_from_slice(&self.nonce);
        text(&mut out, b"auth");
        text(&mut out, b"");
        text(&mut out, b"keepalive");
        out.push(0xc3);
        out
    }

    /// The answer to `["PING", hostname, salt, digest, user, digest]`.
    ///
    /// # Errors
    /// It is no PING.
    pub(super) fn ping(&self, message: &[u8]) -> Result<Pong, Fault> {
        let mut reader = Reader::new(message);
        let Item::Array(4..=6) = reader.item()? else { return Err(Fault::new(0, "not a PING")) };
        let mut part = || {
            let bytes = reader.item()?.bytes().filter(|bytes| bytes.len() <= TEXT_MAX);
            bytes.ok_or(Fault::new(0, "not a PING"))
        };
        if part()? != b"PING" {
            return Err(Fault::new(0, "not a PING"));
        }
        let (host, salt, given) = (part()?, part()?, part()?);
        let accepted = equal(self.digest(salt, host).as_bytes(), given);
        let ours = b"countersign";
        let mut out = vec![0x95];
        text(&mut out, b"PONG");
        out.push(if accepted { 0xc3 } else { 0xc2 });
        text(&mut out, if accepted { b"" } else { b"shared_key mismatch" });
        text(&mut out, ours);
        // A stranger gets nothing that was made with the key.
        let proof = if accepted { self.digest(salt, ours) } else { String::new() };
        text(&mut out, proof.as_bytes());
        Ok(Pong { accepted, message: out })
    }

    fn digest(&self, salt: &[u8], host: &[u8]) -> String {
        let mut hash = Sha512::new();
        for part in [salt, host, &self.nonce, &self.key.0] {
            hash.update(part);
        }
        hash.finalize().iter().fold(String::with_capacity(128), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// Compares without telling where the first difference is.
fn equal(ours: &[u8], given: &[u8]) -> bool {
    ours.len() == given.len() && ours.iter().zip(given).fold(0, |odd, (a, b)| odd | (a ^ b)) == 0
}

/// A `str` of at most 255 bytes; longer ones are cut, which none here is.
pub(super) fn text(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.get(..255).unwrap_or(text);
    match text.len() as u8 {
        length @ 0..32 => out.push(0xa0 | length),
        length => out.extend_from_slice(&[0xd9, length]),
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(handshake: &Handshake, key: &[u8]) -> Vec<u8> {
        let client = Handshake { key: SharedKey::new(key).unwrap(), nonce: handshake.nonce };
        let mut out = vec![0x96];
        for part in [&b"PING"[..], b"host", b"salt", client.digest(b"salt", b"host").as_bytes(), b"", b""] {
            text(&mut out, part);
        }
        out
    }

    #[test]
    fn who_knows_the_key_is_let_in_and_gets_its_proof_and_nobody_else() {
        let handshake = Handshake::new(&SharedKey::new(b" secret\n").unwrap()).unwrap();
        let pong = handshake.ping(&ping(&handshake, b"secret")).unwrap();
        let proof = handshake.digest(b"salt", b"countersign");
        let holds = |message: &[u8], part: &str| message.windows(part.len()).any(|w| w == part.as_bytes());
        assert!(pong.accepted && holds(&pong.message, &proof));
        let refused = handshake.ping(&ping(&handshake, b"other")).unwrap();
        assert!(!refused.accepted && !holds(&refused.message, &proof));
        let other = Handshake::new(&handshake.key).unwrap();
        assert!(!other.ping(&ping(&handshake, b"secret")).unwrap().accepted, "another nonce, another proof");
    }

    #[test]
    fn what_is_no_ping_is_refused_and_the_key_is_in_no_output() {
        let handshake = Handshake::new(&SharedKey::new(b"secret").unwrap()).unwrap();
        for bad in [&b"\xc0"[..], b"\x96\xa4PONG", b"\x91\xa4PING", b"\x96\xa4PING\x01", b""] {
            assert!(handshake.ping(bad).is_err());
        }
        assert!(!format!("{:?}", handshake.key).contains("secret"));
        assert!(SharedKey::new(b" \n").is_none());
    }
}
