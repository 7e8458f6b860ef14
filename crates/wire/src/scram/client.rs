//! The side that proves itself.

use super::text::{attribute, decoded, escaped, extensions, iterations, message, nonce};
use super::{END_POINT, Fault, Key, Keys, SALT_MAX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What is known of channel binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer<'a> {
    /// There is no TLS, or no binding can be made of the server's certificate.
    None,
    /// There is one, and the server does not offer to use it.
    Unasked,
    /// The server offers it; the data of `tls-server-end-point`.
    EndPoint(&'a [u8]),
}

/// An exchange in which our first message is on its way.
#[derive(Debug)]
pub struct ClientSide {
    bound: Vec<u8>,
    first: String,
    nonce: String,
    /// What the server must sign, once we have proved ourselves.
    expected: Option<Key>,
}

impl ClientSide {
    /// Our first message. `user` may be empty where the protocol around has named it; `ours`: our nonce, random
    /// and printable.
    pub fn begin(offer: Offer<'_>, user: &str, ours: &str) -> (ClientSide, Vec<u8>) {
        let (flag, data) = match offer {
            Offer::None => ("n".to_owned(), &[][..]),
            Offer::Unasked => ("y".to_owned(), &[][..]),
            Offer::EndPoint(data) => (format!("p={END_POINT}"), data),
        };
        let first = format!("n={},r={ours}", escaped(user));
        let message = format!("{flag},,{first}").into_bytes();
        let bound = [format!("{flag},,").as_bytes(), data].concat();
        (ClientSide { bound, first, nonce: ours.to_owned(), expected: None }, message)
    }

    /// Takes the server's challenge and gives our last message. `keys` is asked for the keys of this salt and these
    /// iterations, both within their bounds.
    ///
    /// # Errors
    /// What the message breaks.
    pub fn prove(&mut self, bytes: &[u8], keys: impl FnOnce(&[u8], u32) -> Keys) -> Result<Vec<u8>, Fault> {
        let challenge = message(bytes)?;
        let (both, rest) = attribute(challenge, "r", "no nonce")?;
        let (salt, rest) = attribute(rest, "s", "no salt")?;
        let (count, rest) = attribute(rest, "i", "no iterations")?;
        extensions(rest)?;
        if !nonce(both)?.starts_with(&self.nonce) || both.len() == self.nonce.len() {
            return Err(Fault::Malformed("nonce does not continue ours"));
        }
        let salt = decoded(salt, "salt is no base64")?;
        if salt.is_empty() || salt.len() > SALT_MAX {
            return Err(Fault::Malformed("salt is too long"));
        }
        let count = iterations(count.as_bytes()).ok_or(Fault::Malformed("iterations are out of bounds"))?;
        let without = format!("c={},r={both}", STANDARD.encode(&self.bound));
        let signed = format!("{},{challenge},{without}", self.first);
        let keys = keys(&salt, count);
        let proof = keys.client.xor(&keys.client.digest().mac(signed.as_bytes())).encoded();
        self.expected = Some(keys.server.mac(signed.as_bytes()));
        Ok(format!("{without},p={}", proof.as_str()).into_bytes())
    }

    /// Takes the server's last message: whether it has our password's ServerKey.
    ///
    /// # Errors
    /// [`Fault::Proof`] = it does not; else what the message breaks.
    pub fn check(&self, bytes: &[u8]) -> Result<(), Fault> {
        let text = message(bytes)?;
        if text.starts_with("e=") {
            return Err(Fault::Reported);
        }
        let (signature, rest) = attribute(text, "v", "no signature")?;
        extensions(rest)?;
        let signature = Key::of(&decoded(signature, "signature is no base64")?);
        match (&self.expected, signature) {
            (Some(expected), Some(signature)) if expected.same(&signature) => Ok(()),
            _ => Err(Fault::Proof),
        }
    }
}
