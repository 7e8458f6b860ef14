//! How we show a NATS server who we are: user and password, a token, an nkey, or a credentials file.
//!
//! Secrets are named by file and read anew for every connection, so a changed one is used at the next. Source: the
//! NATS documentation, "Developing with NATS: Connecting"; nkeys are the keys of `github.com/nats-io/nkeys`: Ed25519
//! seeds in base 32 (RFC 4648, no padding) behind two bytes of kind, with a CRC-16 (XMODEM) behind them. Invariants:
//! no secret is in an error or a debug output; a key is used to sign the server's nonce and nothing else.

use crate::draft::json_text;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::fmt;
use std::path::{Path, PathBuf};

/// Largest file with a secret, bytes.
pub const FILE_MAX: u64 = 64 << 10;
/// Longest text of a key, characters.
const KEY_TEXT_MAX: usize = 128;
/// First byte of a seed: `S`.
const SEED: u8 = 18 << 3;
/// First byte of a user's public key: `U`.
const USER: u8 = 20 << 3;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What we show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// Nothing, or the certificate of the TLS connection.
    #[default]
    Nothing,
    /// A user, and the file with the password.
    Password(String, PathBuf),
    /// The file with a token.
    Token(PathBuf),
    /// The file with the seed of a user's nkey.
    Nkey(PathBuf),
    /// A credentials file, as `nsc` writes it: a JWT and the seed of its key.
    Creds(PathBuf),
}

/// Why there is nothing to show: in words without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct LoginError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl Login {
    /// The members of CONNECT that show it, each with a comma before it. `nonce`: what the server wants signed.
    ///
    /// # Errors
    /// A file cannot be read, or holds something else.
    pub fn members(&self, nonce: &str) -> Result<String, LoginError> {
        match self {
            Login::Nothing => Ok(String::new()),
            Login::Password(user, path) => {
                let secret = read(path)?;
                Ok(format!(",\"user\":{},\"pass\":{}", json_text(user), json_text(secret.trim())))
            }
            Login::Token(path) => Ok(format!(",\"auth_token\":{}", json_text(read(path)?.trim()))),
            Login::Nkey(path) => {
                let (public, signature) = signed(path, read(path)?.trim(), nonce)?;
                Ok(format!(",\"nkey\":{},\"sig\":{}", json_text(&public), json_text(&signature)))
            }
            Login::Creds(path) => {
                let text = read(path)?;
                let creds = Creds::read(&text).ok_or_else(|| {
                    let why = "it has no `NATS USER JWT` and `USER NKEY SEED`: give a file that nsc wrote";
                    LoginError { path: path.clone(), why: why.to_owned() }
                })?;
                let (_, signature) = signed(path, creds.seed, nonce)?;
                Ok(format!(",\"jwt\":{},\"sig\":{}", json_text(creds.jwt), json_text(&signature)))
            }
        }
    }

    /// In one word, for events and errors.
    pub fn name(&self) -> &'static str {
        match self {
            Login::Nothing => "no login",
            Login::Password(..) => "user and password",
            Login::Token(_) => "token",
            Login::Nkey(_) => "nkey",
            Login::Creds(_) => "credentials file",
        }
    }
}

/// A small file with a secret.
pub(crate) fn read(path: &Path) -> Result<String, LoginError> {
    use std::io::Read as _;
    let fail = |why: String| LoginError { path: path.to_owned(), why };
    let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|error| fail(error.to_string()))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(fail("it is larger than 64 KiB".to_owned()));
    }
    // Not with the text in the error.
    String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8".to_owned()))
}

/// Public key and signature over `nonce`, as CONNECT spells them.
fn signed(path: &Path, seed: &str, nonce: &str) -> Result<(String, String), LoginError> {
    let fail = |why: &str| LoginError { path: path.to_owned(), why: why.to_owned() };
    let pair = seed_of(seed)
        .and_then(|seed| Ed25519KeyPair::from_seed_unchecked(&seed).ok())
        .ok_or_else(|| fail("it holds no seed of a user's nkey (SU…)"))?;
    if nonce.is_empty() {
        return Err(fail("the server asks for no key: check that it has an operator or nkeys"));
    }
    let mut public = vec![USER];
    public.extend_from_slice(pair.public_key().as_ref());
    public.extend_from_slice(&crc16(&public).to_le_bytes());
    Ok((base32(&public), URL_SAFE_NO_PAD.encode(pair.sign(nonce.as_bytes()))))
}

/// The 32 bytes of a user's seed; `None` = the text is none.
fn seed_of(text: &str) -> Option<[u8; 32]> {
    let bytes = unbase32(text)?;
    let (body, sum) = bytes.split_last_chunk::<2>()?;
    let [first, second, seed @ ..] = body else { return None };
    let kinds = first & 0xf8 == SEED && ((first & 7) << 5 | (second & 0xf8) >> 3) == USER;
    (kinds && crc16(body) == u16::from_le_bytes(*sum)).then(|| seed.try_into().ok())?
}

/// A credentials file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Creds<'a> {
    /// Token of the user.
    pub jwt: &'a str,
    /// Seed of the user's key.
    pub seed: &'a str,
}

impl fmt::Debug for Creds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Creds").finish_non_exhaustive()
    }
}

impl<'a> Creds<'a> {
    /// Reads one; `None` = a part is missing.
    pub fn read(text: &'a str) -> Option<Creds<'a>> {
        let mut found = Creds { jwt: "", seed: "" };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        while let Some(line) = lines.next() {
            let begins = line.starts_with("---") && line.contains("BEGIN");
            if begins && line.contains("USER JWT") {
                found.jwt = lines.next()?;
            } else if begins && line.contains("NKEY SEED") {
                found.seed = lines.next()?;
            }
        }
        let there = |part: &str| !part.is_empty() && !part.starts_with("---");
        (there(found.jwt) && there(found.seed)).then_some(found)
    }
}

/// CRC-16 with the polynomial 0x1021, beginning at 0 (XMODEM).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            },
        )
    })
}

fn base32(bytes: &[u8]) -> String {
    let (mut out, mut held, mut bits) = (String::new(), 0_u32, 0);
    let letter = |five: u32| char::from(*ALPHABET.get(five as usize & 31).unwrap_or(&b'A'));
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(letter(held >> bits));
        }
    }
    if bits > 0 {
        out.push(letter(held << (5 - bits)));
    }
    out
}

fn unbase32(text: &str) -> Option<Vec<u8>> {
    if text.len() > KEY_TEXT_MAX {
        return None;
    }
    let (mut out, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes() {
        let five = ALPHABET.iter().position(|letter| *letter == byte)?;
        held = held << 5 | u32::try_from(five).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(out)
}

/// A new user's seed and public key, for tests and set-ups on loopback.
pub fn mint(random: &[u8; 32]) -> Option<(String, String)> {
    let pair = Ed25519KeyPair::from_seed_unchecked(random).ok()?;
    let mut seed = vec![SEED | USER >> 5, (USER & 31) << 3];
    seed.extend_from_slice(random);
    seed.extend_from_slice(&crc16(&seed).to_le_bytes());
    let mut public = vec![USER];
    public.extend_from_slice(pair.public_key().as_ref());
    public.extend_from_slice(&crc16(&public).to_le_bytes());
    Some((base32(&seed), base32(&public)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_the_nkeys_library_writes_them_and_damaged_ones_are_not() {
        // Of nkeys' README.
        let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
        let bytes = seed_of(seed).unwrap();
        let (again, public) = mint(&bytes).unwrap();
        assert_eq!(again, seed);
        assert_eq!(public, "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4");
        assert!(seed_of(&seed.replace("SUAC", "SUAD")).is_none(), "the sum does not hold");
        for bad in ["", "SU", "not a seed", &public, &"A".repeat(4_096)] {
            assert!(seed_of(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_credentials_file_gives_both_parts_and_shows_neither() {
        let text = "-----BEGIN NATS USER JWT-----\neyJ0.x.y\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\
            -----BEGIN USER NKEY SEED-----\nSUAX\n------END USER NKEY SEED------\n";
        let creds = Creds::read(text).unwrap();
        assert_eq!((creds.jwt, creds.seed), ("eyJ0.x.y", "SUAX"));
        assert!(!format!("{creds:?}").contains("SUAX"));
        assert!(Creds::read("-----BEGIN NATS USER JWT-----\n").is_none());
        assert!(Creds::read(text.split("***").next().unwrap()).is_none());
    }

    #[test]
    fn no_secret_is_in_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        std::fs::write(&path, "SUAhunter2").unwrap();
        for login in [Login::Nkey(path.clone()), Login::Creds(path)] {
            let error = login.members("nonce").unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
