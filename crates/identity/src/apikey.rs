//! API keys `csk.<id>.<secret>`: found by id, compared as HMAC-SHA-256 under the server's pepper.
//!
//! Not a password store: secrets are 256 random bits made here, so a fast keyed hash is enough. Invariants: the
//! file holds no secret, and is useless without the pepper; the comparison takes the same time for a wrong
//! secret and for an unknown id; an id is put into a record only if it has the shape of an id of ours.

use crate::IdentityError;
use crate::text::{clip, hex, unhex};
use crate::tls::read_bounded;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::path::Path;

/// First part of every key, so that scanners and people recognise one.
pub const API_KEY_PREFIX: &str = "csk";
/// Longest key that is looked at.
const KEY_MAX_BYTES: usize = 512;
/// Longest id.
const ID_MAX_BYTES: usize = 64;
/// Longest principal name.
const NAME_MAX_BYTES: usize = 256;
/// Largest key file.
const FILE_MAX_BYTES: u64 = 16 << 20;
/// Most keys in a file.
const KEYS_MAX: usize = 100_000;
/// Bytes of a fresh secret.
const SECRET_BYTES: usize = 32;

/// The keys of one file.
pub(crate) struct ApiKeys {
    pepper: hmac::Key,
    keys: HashMap<String, Known>,
}

struct Known {
    tag: [u8; 32],
    name: String,
}

/// What a presented key turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The secret is right.
    Valid { id: String, name: String },
    /// It names an id in our form, and the id is unknown or the secret is wrong.
    Wrong { id: String },
    /// Not in the form of our keys; nothing of it may be recorded.
    Malformed,
}

impl ApiKeys {
    pub(crate) fn load(path: &Path, pepper: &Path) -> Result<ApiKeys, IdentityError> {
        const WHAT: &str = "api key file";
        let bytes = read_bounded(WHAT, path, FILE_MAX_BYTES)?;
        let pepper = load_pepper(pepper)?;
        ApiKeys::parse(&bytes, &pepper).map_err(|why| IdentityError::File {
            what: WHAT,
            path: path.to_owned(),
            why,
        })
    }

    /// Parses the lines of a key file. The error names the line and never repeats its text.
    pub(crate) fn parse(bytes: &[u8], pepper: &[u8]) -> Result<ApiKeys, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
        let mut keys = HashMap::new();
        for (number, line) in text.lines().enumerate().map(|(i, l)| (i + 1, l.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, known) = parse_line(line).map_err(|why| format!("line {number}: {why}"))?;
            if keys.len() >= KEYS_MAX {
                return Err(format!("line {number}: more than {KEYS_MAX} keys"));
            }
            if keys.insert(id, known).is_some() {
                return Err(format!("line {number}: this id was given before; each id may stand once"));
            }
        }
        Ok(ApiKeys { pepper: hmac::Key::new(hmac::HMAC_SHA256, pepper), keys })
    }

    /// Whether `presented` is one of the keys.
    pub(crate) fn check(&self, presented: &[u8]) -> Checked {
        let Some((id, secret)) = split(presented) else { return Checked::Malformed };
        // An unknown id is compared as well, against a tag that nothing hashes to, so time tells nothing.
        let known = self.keys.get(id);
        let tag = known.map_or([0; 32], |k| k.tag);
        let right = hmac::verify(&self.pepper, &message(id, secret), &tag).is_ok();
        match known {
            Some(known) if right => Checked::Valid { id: id.to_owned(), name: known.name.clone() },
            _ => Checked::Wrong { id: id.to_owned() },
        }
    }
}

/// Whether a bearer value is meant as one of our keys.
pub(crate) fn looks_like_api_key(presented: &[u8]) -> bool {
    split(presented).is_some()
}

/// Makes a fresh key: the token for the caller, shown once, and the line for the server's key file.
///
/// `pepper` is the content of the pepper file, decoded. The line's principal name is `name`.
///
/// # Errors
/// An id or name out of form, a short pepper, or a system without randomness.
pub fn mint_api_key(id: &str, name: &str, pepper: &[u8]) -> Result<(String, String), IdentityError> {
    let wrong = |why: &str| IdentityError::Setting { setting: "api key".into(), why: why.into() };
    if !is_id(id) {
        return Err(wrong("an id is 1 to 64 letters, digits, '-' or '_'"));
    }
    if name.len() > NAME_MAX_BYTES || name.chars().any(char::is_control) || name.starts_with('#') {
        return Err(wrong("a name is at most 256 bytes without control characters"));
    }
    if pepper.len() < 32 {
        return Err(wrong("the pepper must have at least 32 bytes"));
    }
    let mut secret = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut secret).map_err(|_| wrong("the system gave no randomness"))?;
    let secret = URL_SAFE_NO_PAD.encode(secret);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pepper), &message(id, secret.as_bytes()));
    let line = format!("{id}  {}  {}", hex(tag.as_ref()), name.trim());
    Ok((format!("{API_KEY_PREFIX}.{id}.{secret}"), line.trim_end().to_owned()))
}

/// Reads a pepper file: base64 of 32 to 64 bytes.
fn load_pepper(path: &Path) -> Result<Vec<u8>, IdentityError> {
    const WHAT: &str = "api key pepper file";
    let bytes = read_bounded(WHAT, path, 1024)?;
    let fail = |why: &str| IdentityError::File { what: WHAT, path: path.to_owned(), why: why.into() };
    let pepper = STANDARD.decode(bytes.trim_ascii()).map_err(|_| fail("is not base64 text"))?;
    if (32..=64).contains(&pepper.len()) {
        Ok(pepper)
    } else {
        Err(fail("must hold 32 to 64 bytes in base64; make one with `head -c 32 /dev/urandom | base64`"))
    }
}

fn parse_line(line: &str) -> Result<(String, Known), &'static str> {
    let (id, rest) = line.split_once(char::is_whitespace).ok_or("is not `id  hmac-hex  principal-name`")?;
    let rest = rest.trim_start();
    let (tag, name) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if !is_id(id) {
        return Err("the id is not 1 to 64 letters, digits, '-' or '_'");
    }
    let tag = unhex(tag).and_then(|t| <[u8; 32]>::try_from(t).ok());
    let tag =
        tag.ok_or("the second field is not 64 hex digits; a key itself does not belong in this file")?;
    Ok((id.to_owned(), Known { tag, name: clip(name.trim(), NAME_MAX_BYTES).to_owned() }))
}

/// `(id, secret)` of a key in our form.
fn split(presented: &[u8]) -> Option<(&str, &[u8])> {
    if presented.len() > KEY_MAX_BYTES {
        return None;
    }
    let mut parts = presented.splitn(3, |b| *b == b'.');
    let (prefix, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
    let id = std::str::from_utf8(id).ok()?;
    let secret_ok = !secret.is_empty() && secret.iter().all(|b| b.is_ascii_graphic() && *b != b'.');
    (prefix == API_KEY_PREFIX.as_bytes() && is_id(id) && secret_ok).then_some((id, secret))
}

fn is_id(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(allowed)
}

/// What is hashed: the id is bound in, so a line's hash cannot be moved to another id.
fn message(id: &str, secret: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(id.len() + 1 + secret.len());
    message.extend_from_slice(id.as_bytes());
    message.push(b'.');
    message.extend_from_slice(secret);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEPPER: [u8; 32] = [7; 32];

    #[test]
    fn a_minted_key_is_accepted_and_its_secret_is_not_in_the_file() {
        let (token, line) = mint_api_key("reports-1", "nightly reports", &PEPPER).unwrap();
        let secret = token.rsplit('.').next().unwrap();
        assert!(!line.contains(secret));
        let keys = ApiKeys::parse(format!("# ours\n\n{line}\n").as_bytes(), &PEPPER).unwrap();
        let valid = Checked::Valid { id: "reports-1".into(), name: "nightly reports".into() };
        assert_eq!(keys.check(token.as_bytes()), valid);
    }

    #[test]
    fn a_line_made_with_openssl_as_the_guide_shows_is_accepted() {
        let line =
            "reports-1  d263fdd99b6c6ec118625865d808e0d8c3ecf9e840f6c116d2c72d8f29ab185f  nightly reports";
        let keys = ApiKeys::parse(line.as_bytes(), &PEPPER).unwrap();
        let valid = Checked::Valid { id: "reports-1".into(), name: "nightly reports".into() };
        assert_eq!(keys.check(b"csk.reports-1.c2VjcmV0"), valid);
    }

    #[test]
    fn a_wrong_secret_another_pepper_and_a_moved_hash_are_refused() {
        let (token, line) = mint_api_key("a", "A", &PEPPER).unwrap();
        let keys = ApiKeys::parse(line.as_bytes(), &PEPPER).unwrap();
        let (other, _) = mint_api_key("a", "A", &PEPPER).unwrap();
        assert_eq!(keys.check(other.as_bytes()), Checked::Wrong { id: "a".into() });
        assert_eq!(keys.check(format!("{token}x").as_bytes()), Checked::Wrong { id: "a".into() });
        assert_eq!(keys.check(b"csk.unknown.secret"), Checked::Wrong { id: "unknown".into() });
        let elsewhere = ApiKeys::parse(line.as_bytes(), &[8; 32]).unwrap();
        assert_eq!(elsewhere.check(token.as_bytes()), Checked::Wrong { id: "a".into() });
        let moved = line.replacen("a  ", "b  ", 1);
        let moved_token = token.replacen("csk.a.", "csk.b.", 1);
        let keys = ApiKeys::parse(moved.as_bytes(), &PEPPER).unwrap();
        assert_eq!(keys.check(moved_token.as_bytes()), Checked::Wrong { id: "b".into() });
    }

    #[test]
    fn what_is_not_in_our_form_is_not_named() {
        let keys = ApiKeys::parse(b"", &PEPPER).unwrap();
        for bad in
            ["", "csk", "csk.a", "csk..x", "csk.a.", "sk.a.secret", "csk.a b.c", "csk.a.b.c", "eyJ.eyJ.sig"]
        {
            assert_eq!(keys.check(bad.as_bytes()), Checked::Malformed, "{bad}");
        }
        assert_eq!(keys.check(&[b'x'; 4096]), Checked::Malformed);
    }

    #[test]
    fn broken_lines_are_refused_by_number_without_their_text() {
        let tag = "0".repeat(64);
        for (file, want) in [
            (format!("a  {tag}\na  {tag}\n"), "line 2: this id was given before"),
            ("justone".to_owned(), "line 1: is not"),
            ("#\nb  topsecret".to_owned(), "line 2: the second field is not 64 hex digits"),
            (format!("b!  {tag}"), "line 1: the id is not"),
        ] {
            let error = ApiKeys::parse(file.as_bytes(), &PEPPER).err().unwrap();
            assert!(error.contains(want), "{error}");
            assert!(!error.contains("topsecret"));
        }
        assert!(ApiKeys::parse(&[0xff], &PEPPER).is_err());
    }

    #[test]
    fn minting_refuses_bad_ids_names_and_peppers() {
        assert!(mint_api_key("a b", "n", &PEPPER).is_err());
        assert!(mint_api_key("", "n", &PEPPER).is_err());
        assert!(mint_api_key("a", "n\nb", &PEPPER).is_err());
        assert!(mint_api_key("a", "n", &[1; 8]).is_err());
    }

    proptest! {
        #[test]
        fn any_key_but_the_minted_one_is_refused(flip in 0usize..47, with in proptest::num::u8::ANY) {
            let (token, line) = mint_api_key("k", "n", &PEPPER).unwrap();
            let keys = ApiKeys::parse(line.as_bytes(), &PEPPER).unwrap();
            let mut bytes = token.clone().into_bytes();
            let at = flip % bytes.len();
            bytes[at] = with;
            let accepted = matches!(keys.check(&bytes), Checked::Valid { .. });
            prop_assert_eq!(accepted, bytes == token.as_bytes());
        }
    }
}
