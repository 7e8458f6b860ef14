//! The side that verifies.

use super::text::{attribute, decoded, extensions, message, nonce};
use super::{END_POINT, Fault, Key, Verifier};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// An exchange in which the client's first message has come.
#[derive(Debug)]
pub struct ServerSide {
    verifier: Verifier,
    /// What the client's `c` must be: its header, and the binding of this channel when it uses it.
    bound: Vec<u8>,
    /// The client's first message without its header.
    first: String,
    /// Our first message.
    challenge: String,
    /// Both sides' nonces.
    nonce: String,
}

/// A client that has proved that it has the password.
#[derive(Debug)]
pub struct Proved {
    /// Its ClientKey, with which one can log in as this client wherever the same salt and password are in force.
    pub client_key: Key,
    /// Our last message.
    pub last: Vec<u8>,
}

impl ServerSide {
    /// Takes the client's first message and gives our challenge. `plus`: the client chose the mechanism with
    /// binding; `offered`: the data of this channel's binding, when that mechanism was offered; `ours`: our nonce,
    /// random and printable.
    ///
    /// # Errors
    /// What the message breaks.
    pub fn begin(
        bytes: &[u8],
        plus: bool,
        offered: Option<&[u8]>,
        ours: &str,
        verifier: Verifier,
    ) -> Result<(ServerSide, Vec<u8>), Fault> {
        let text = message(bytes)?;
        let (flag, rest) = text.split_once(',').ok_or(Fault::Malformed("no header"))?;
        let (authzid, bare) = rest.split_once(',').ok_or(Fault::Malformed("no header"))?;
        if !authzid.is_empty() {
            return Err(Fault::Malformed("an authorization identity is not supported"));
        }
        let mut bound = format!("{flag},,").into_bytes();
        match (flag, plus, offered) {
            ("n", false, _) | ("y", false, None) => {}
            ("y", false, Some(_)) => return Err(Fault::Downgrade),
            (flag, true, Some(data)) if flag.strip_prefix("p=") == Some(END_POINT) => {
                bound.extend_from_slice(data);
            }
            (flag, true, Some(_)) if flag.starts_with("p=") => {
                return Err(Fault::Malformed("channel binding type is not supported"));
            }
            _ => return Err(Fault::Malformed("channel binding flag does not fit the mechanism")),
        }
        let (_user, rest) = attribute(bare, "n", "no user name")?;
        let (theirs, rest) = attribute(rest, "r", "no nonce")?;
        extensions(rest)?;
        let both = format!("{}{ours}", nonce(theirs)?);
        nonce(&both)?;
        let salt = STANDARD.encode(&verifier.salt);
        let challenge = format!("r={both},s={salt},i={}", verifier.iterations);
        let bytes = challenge.clone().into_bytes();
        Ok((ServerSide { verifier, bound, first: bare.to_owned(), challenge, nonce: both }, bytes))
    }

    /// Takes the client's last message.
    ///
    /// # Errors
    /// What the message breaks; [`Fault::Proof`] = the client does not have the password.
    pub fn finish(&self, bytes: &[u8]) -> Result<Proved, Fault> {
        let text = message(bytes)?;
        let (without, proof) = text.rsplit_once(",p=").ok_or(Fault::Malformed("no proof"))?;
        let (bound, rest) = attribute(without, "c", "no channel binding")?;
        let (nonce, rest) = attribute(rest, "r", "no nonce")?;
        extensions(rest)?;
        if nonce != self.nonce {
            return Err(Fault::Malformed("nonce is not the one of this exchange"));
        }
        if decoded(bound, "channel binding is no base64")? != self.bound {
            return Err(Fault::Binding);
        }
        let proof = zeroize::Zeroizing::new(decoded(proof, "proof is no base64")?);
        let proof = Key::of(&proof).ok_or(Fault::Malformed("proof has another length"))?;
        let signed = format!("{},{},{without}", self.first, self.challenge);
        let client_key = proof.xor(&self.verifier.stored_key.mac(signed.as_bytes()));
        if !client_key.digest().same(&self.verifier.stored_key) {
            return Err(Fault::Proof);
        }
        let signature = self.verifier.server_key.mac(signed.as_bytes()).encoded();
        Ok(Proved { client_key, last: format!("v={}", signature.as_str()).into_bytes() })
    }
}
