//! The grammar of messages: attributes `name=value`, separated by commas (RFC 5802, section 7).

use super::{Fault, ITERATIONS_MAX, MESSAGE_MAX, NONCE_MAX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A message's text, within its bound. Everything that is read of it is ASCII.
pub(super) fn message(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.len() > MESSAGE_MAX {
        return Err(Fault::Malformed("message is too long"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::Malformed("message is no UTF-8"))?;
    if text.contains('\0') { Err(Fault::Malformed("message holds a zero byte")) } else { Ok(text) }
}

/// The value of the attribute that must come first, and what follows it.
pub(super) fn attribute<'a>(
    text: &'a str,
    name: &str,
    lack: &'static str,
) -> Result<(&'a str, &'a str), Fault> {
    let value = text.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
    let value = value.ok_or(Fault::Malformed(lack))?;
    Ok(value.split_once(',').unwrap_or((value, "")))
}

/// A nonce: printable ASCII without commas, within its bound.
pub(super) fn nonce(text: &str) -> Result<&str, Fault> {
    let printable = |b: u8| (0x21..=0x7e).contains(&b) && b != b',';
    if text.is_empty() || text.len() > NONCE_MAX || !text.bytes().all(printable) {
        return Err(Fault::Malformed("nonce"));
    }
    Ok(text)
}

/// Extensions behind what is known: optional ones are passed over.
pub(super) fn extensions(text: &str) -> Result<(), Fault> {
    let is_one = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some('=')
    };
    if text.is_empty() || text.split(',').all(is_one) { Ok(()) } else { Err(Fault::Malformed("extension")) }
}

/// A number of iterations, from 1 to [`ITERATIONS_MAX`].
pub(super) fn iterations(digits: &[u8]) -> Option<u32> {
    let plain = !digits.is_empty() && digits.len() <= 10 && digits.iter().all(u8::is_ascii_digit);
    let n: u32 = if plain { std::str::from_utf8(digits).ok()?.parse().ok()? } else { return None };
    (1..=ITERATIONS_MAX).contains(&n).then_some(n)
}

/// Bytes in base64.
pub(super) fn decoded(text: &str, what: &'static str) -> Result<Vec<u8>, Fault> {
    STANDARD.decode(text).map_err(|_| Fault::Malformed(what))
}

/// A name as `saslname` wants it.
pub(super) fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}
