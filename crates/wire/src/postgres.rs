//! The PostgreSQL frontend/backend protocol, versions 3.0 and 3.2 ("Frontend/Backend Protocol" in
//! PostgreSQL's documentation), sans I/O.
//!
//! [`start`] reads a connection's first packet, [`Framer`] walks messages inline and counts records,
//! [`Session`] reads the tapped bytes of both directions off the path and tells what was executed. Not a
//! client and not a server: nothing is authenticated here but in [`login`], where the gateway takes part. Invariants: payloads of password messages and
//! cancel keys leave this module in no form but a key's bytes for comparing; a message that nobody needs is
//! never held, whatever its size; every length is checked before it is believed.

pub mod answer;
mod assemble;
pub mod facts;
pub mod framer;
mod judged;
pub mod login;
pub mod message;
mod queue;
pub mod record;
pub mod session;
pub mod start;
pub mod statement;
pub mod values;

pub use framer::{Framer, FramerOptions};
pub use record::{Executed, Message};
pub use session::Session;

/// Longest message of the kinds that carry data, bytes with their length field (`PQ_LARGE_MESSAGE_LIMIT` in
/// the server's libpq.h).
pub const MESSAGE_MAX: u32 = 0x3fff_ffff;
/// Longest message of the other kinds that clients send, bytes (`PQ_SMALL_MESSAGE_LIMIT`).
pub const SMALL_MESSAGE_MAX: u32 = 10_000;
/// Longest password, SASL or GSS message, bytes (`PG_MAX_AUTH_TOKEN_LENGTH`).
pub const AUTH_MESSAGE_MAX: u32 = 65_535 + 4;
/// Longest start-up packet, bytes (`MAX_STARTUP_PACKET_LENGTH`).
pub const START_MAX: u32 = 10_000;
/// Longest message that is held for a verdict, bytes. A longer one is denied unread.
pub const HELD_MAX: u32 = 1 << 20;
/// Messages of one connection without their answer at which no more are let through. More than a server
/// can leave unanswered: it sends its answers off at 8 KiB, and each has at least 5 bytes.
pub const PIPELINE_MAX: usize = 65_536;

/// Bytes of a tag and a length.
const HEADER: usize = 5;

/// Tag and length field at the front of `buf`; `None` = not all there.
fn header(buf: &[u8]) -> Option<(u8, u32)> {
    let (tag, rest) = buf.split_first()?;
    Some((*tag, u32::from_be_bytes(*rest.first_chunk()?)))
}
