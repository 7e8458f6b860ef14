//! A connection's first packets, which have no tag: requests for encryption, a cancellation, or the start of
//! a session.
//!
//! Invariant: a packet is judged by its first 8 bytes and held only up to [`START_MAX`].

use super::answer::{VIOLATION_STATE, fatal};
use super::{START_MAX, message::Reader};
use crate::stream::Refusal;

/// Code of an SSLRequest (1234.5679).
pub const SSL_CODE: u32 = 80_877_103;
/// Code of a GSSENCRequest (1234.5680).
pub const GSS_CODE: u32 = 80_877_104;
/// Code of a CancelRequest (1234.5678).
pub const CANCEL_CODE: u32 = 80_877_102;
/// Longest cancel key, bytes (protocol 3.2).
pub const KEY_MAX: usize = 256;
/// An SSLRequest as a client sends it.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// ALPN name of direct TLS (server 17).
pub const ALPN: &[u8] = b"postgresql";

/// The first packet of a connection, or the first after a refused request for encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First<'a> {
    /// Not all there.
    More,
    /// The client asks for TLS: 8 bytes, to be answered with `S` or `N`.
    Ssl,
    /// The client asks for GSSAPI encryption: 8 bytes, to be answered with `N` (or `G`).
    GssEnc,
    /// Cancels the running statement of another session.
    Cancel {
        /// Bytes of the packet.
        len: usize,
        /// Process id of that session.
        pid: u32,
        /// Its key, which is a secret.
        key: &'a [u8],
    },
    /// Begins a session.
    Startup {
        /// Bytes of the packet.
        len: usize,
        /// Major version in the upper half, minor in the lower.
        version: u32,
        /// Names and values, each ended by a zero byte.
        parameters: &'a [u8],
    },
}

/// Reads the first packet of a connection.
///
/// # Errors
/// The rule that it breaks.
pub fn first(buf: &[u8]) -> Result<First<'_>, Refusal> {
    let Some(len) = buf.first_chunk().map(|b| u32::from_be_bytes(*b)) else { return Ok(First::More) };
    if !(8..=START_MAX).contains(&len) {
        return Err(refusal("start-up packet length", "invalid length of startup packet"));
    }
    let len = len as usize;
    let Some(code) = buf.get(4..8).and_then(<[u8]>::first_chunk).map(|b| u32::from_be_bytes(*b)) else {
        return Ok(First::More);
    };
    let body = buf.get(8..len);
    match (code, body) {
        (SSL_CODE | GSS_CODE, _) if len != 8 => {
            Err(refusal("encryption request length", "invalid length of startup packet"))
        }
        (SSL_CODE, _) => Ok(First::Ssl),
        (GSS_CODE, _) => Ok(First::GssEnc),
        (CANCEL_CODE, _) if !(13..=12 + KEY_MAX).contains(&len) => {
            Err(refusal("cancel request length", "invalid length of cancel request packet"))
        }
        (CANCEL_CODE, Some(body)) => Ok(cancel(body, len)),
        (CANCEL_CODE, None) => Ok(First::More),
        (version, _) if version >> 16 != 3 => Err(Refusal {
            rule: "protocol version",
            answer: fatal("0A000", "unsupported frontend protocol: only 3.x is spoken here"),
        }),
        (version, Some(parameters)) if parameters.last() == Some(&0) => {
            Ok(First::Startup { len, version, parameters })
        }
        (_, Some(_)) => Err(refusal(
            "start-up packet layout",
            "invalid startup packet layout: expected terminator as last byte",
        )),
        (_, None) => Ok(First::More),
    }
}

fn cancel(body: &[u8], len: usize) -> First<'_> {
    let pid = body.first_chunk().map_or(0, |b| u32::from_be_bytes(*b));
    First::Cancel { len, pid, key: body.get(4..).unwrap_or_default() }
}

pub(super) fn refusal(rule: &'static str, text: &str) -> Refusal {
    Refusal { rule, answer: fatal(VIOLATION_STATE, text) }
}

/// Names and values of a start-up packet, up to the empty name that ends it.
pub fn parameters(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || {
        let name = reader.text()?;
        if name.is_empty() { None } else { Some((name, reader.text()?)) }
    })
}

/// The value of `name` in a start-up packet.
pub fn parameter<'a>(bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    parameters(bytes).find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
}
