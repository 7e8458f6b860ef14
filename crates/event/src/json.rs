//! An event as JSON, for people and for NDJSON export. Not canonical: nothing is hashed from it.
//!
//! One object: `schema`, then each group that is not empty, by name; inside, fields by their names in
//! `docs/reference/fields.md`, absent ones absent. Times are RFC 3339 UTC with nine digits, durations
//! integer nanoseconds, enums their words (a number where this version knows no word), `verified` its
//! number, ids, digests and other fixed bytes lower-case hex, free bytes base64url without padding.
//! Registered keys of `detail` and `sys` go by name, all other keys by number under `other`. Byte strings
//! inside them are `{"$bytes": …}`, maps without plain text keys `{"$map": [[key, value], …]}`. Nothing is
//! lost: [`from_json`] gives the same event again.

pub(crate) mod parse;
mod read;
pub mod time;
mod write;

pub(crate) use read::from_tree;
pub use read::{JsonError, from_json};
pub use write::to_json;
pub(crate) use write::write_string;

/// base64url without padding, by value.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    out
}

/// Bytes of lower- or upper-case hex; `None` if it is not hex.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| if let [high, low] = pair { Some(digit(high)? << 4 | digit(low)?) } else { None })
        .collect()
}

/// base64url without padding (RFC 4648 section 5).
pub fn base64url(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().enumerate().fold(0_u32, |word, (i, byte)| word | u32::from(*byte) << (16 - 8 * i));
        for i in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * i) & 63) as usize]));
        }
    }
    out
}

/// Bytes of base64url without padding; `None` for anything else, spare bits included.
pub fn unbase64url(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        if chunk.len() == 1 {
            return None;
        }
        let mut word = 0_u32;
        for (i, byte) in chunk.iter().enumerate() {
            let value = ALPHABET.iter().position(|letter| letter == byte)?;
            word |= (value as u32) << (18 - 6 * i);
        }
        let bytes = word.to_be_bytes();
        out.extend_from_slice(&bytes[1..chunk.len()]);
        if bytes[chunk.len()..].iter().any(|spare| *spare != 0) {
            return None;
        }
    }
    Some(out)
}
