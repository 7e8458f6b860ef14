//! C2SP tlog checkpoints without extension lines: origin, size, root.
//!
//! Not a trust decision: [`Checkpoint::parse`] reads text that a note's signatures must vouch for.
//! Invariant: one checkpoint has one text.

use crate::tree::Hash;
use crate::{Error, Note, NoteSigner, VerifierKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::fmt;

/// Longest origin in bytes (the ML-DSA cosignature format holds no more).
pub const ORIGIN_MAX: usize = 255;

const WHAT: &str = "checkpoint";

/// A tree head: this log had this root at this size.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The log's identity.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// From a note's text. Extension lines are refused: not every signature form signs them.
    pub fn parse(text: &str) -> Result<Checkpoint, Error> {
        let lines: Vec<&str> = text.splitn(5, '\n').collect();
        let [origin, size, root, ""] = lines.as_slice() else {
            return Err(Error::malformed(WHAT, "not exactly three lines, origin, size and root"));
        };
        let root: Hash = STANDARD
            .decode(root)
            .ok()
            .and_then(|root| root.try_into().ok())
            .ok_or_else(|| Error::malformed(WHAT, "the root is not the base64 of 32 bytes"))?;
        let size = parse_decimal(size)
            .ok_or_else(|| Error::malformed(WHAT, "the size is not a plain decimal of 64 bits"))?;
        if origin.is_empty() || origin.len() > ORIGIN_MAX {
            return Err(Error::malformed(WHAT, "the origin is empty or longer than 255 bytes"));
        }
        Ok(Checkpoint { origin: (*origin).to_owned(), size, root })
    }

    /// Signs this tree head. `unix_seconds` is the time of cosignatures; log keys ignore it.
    pub fn sign(&self, unix_seconds: u64, signers: &[&NoteSigner]) -> Result<Note, Error> {
        Note::sign(&self.to_string(), unix_seconds, signers)
    }

    /// Reads a note and accepts it only with a valid signature by a log key of `keys` named as its origin.
    pub fn open(note: &[u8], keys: &[VerifierKey]) -> Result<Checkpoint, Error> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        let verified = note.verify(keys)?;
        let by_log = |key: &VerifierKey| key.name() == checkpoint.origin;
        if verified.iter().any(|signature| keys.get(signature.key).is_some_and(by_log)) {
            Ok(checkpoint)
        } else {
            Err(Error::NoKnownSignature)
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }
}

/// A decimal without sign or leading zero.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}
