//! Authentication messages, both sides ("Message Formats" in PostgreSQL's documentation).

use super::super::message::Reader;
use zeroize::Zeroizing;

/// What the server asks for.
pub(super) const OK: u32 = 0;
pub(super) const CLEAR_TEXT: u32 = 3;
pub(super) const SASL: u32 = 10;
pub(super) const SASL_CONTINUE: u32 = 11;
pub(super) const SASL_FINAL: u32 = 12;

/// An authentication request: its code and what follows.
pub(super) fn request(code: u32, data: &[u8]) -> Vec<u8> {
    message(b'R', &[&code.to_be_bytes(), data])
}

/// AuthenticationSASL with these mechanisms, best first.
pub(super) fn mechanisms(names: &[&str]) -> Vec<u8> {
    let mut list = Vec::new();
    for name in names {
        list.extend_from_slice(name.as_bytes());
        list.push(0);
    }
    list.push(0);
    request(SASL, &list)
}

/// Code and data of an authentication request.
pub(super) fn read_request(payload: &[u8]) -> Option<(u32, &[u8])> {
    let (code, data) = payload.split_first_chunk()?;
    Some((u32::from_be_bytes(*code), data))
}

/// Whether a list of mechanisms has `name`.
pub(super) fn offers(list: &[u8], name: &str) -> bool {
    list.split(|b| *b == 0).any(|found| found == name.as_bytes())
}

/// Mechanism and data of a SASLInitialResponse. Data are demanded, as SCRAM's are.
pub(super) fn read_initial(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader::new(payload);
    let name = reader.text()?;
    let rest = payload.get(name.len() + 1..)?;
    let (len, data) = rest.split_first_chunk()?;
    (u32::from_be_bytes(*len) as usize == data.len()).then_some((name, data))
}

/// A SASLInitialResponse.
pub(super) fn initial(mechanism: &str, data: &[u8]) -> Vec<u8> {
    message(b'p', &[mechanism.as_bytes(), b"\0", &(data.len() as u32).to_be_bytes(), data])
}

/// A SASLResponse.
pub(super) fn response(data: &[u8]) -> Vec<u8> {
    message(b'p', &[data])
}

/// A PasswordMessage.
pub(super) fn password(text: &Zeroizing<Vec<u8>>) -> Vec<u8> {
    message(b'p', &[text, b"\0"])
}

/// The text of a PasswordMessage.
pub(super) fn read_password(payload: &[u8]) -> Option<&[u8]> {
    let (last, text) = payload.split_last()?;
    (*last == 0 && !text.contains(&0)).then_some(text)
}

fn message(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    super::super::answer::message(tag, parts)
}
