//! Records from other processes of this machine: a UNIX socket in the data directory of the process that holds
//! the ledger, and its client. `countersign mcp wrap` is the one that uses it.
//!
//! Not a way in for other users or machines, and not a way to claim anything: the server sets source, route,
//! level of identity and time itself (`server`). A message is a kind, a length and that many bytes:
//!
//! | kind | from | payload |
//! |---|---|---|
//! | 1 hello | client | version 1, then the name that the records' route gets |
//! | 2 owe | client | u64: so many more records than were promised before |
//! | 3 events | client | u16 count, then for each u32 length and the canonical frame (`docs/reference/fields.md`) |
//! | 4 bye | client | nothing: no more is owed |
//! | 129 welcome | server | version 1 |
//! | 130 owed | server | nothing; the promise survives a kill of the server |
//! | 131 durable | server | u16 recorded, u16 rejected: all of one `events`, in order |
//! | 132 refused | server | why, as text; then the end |
//!
//! Invariants: numbers are big-endian; nothing is read beyond a named bound; `durable` is sent after the ledger has
//! synced; a client that sends faster than the ledger takes is not read.

mod client;
mod server;

pub(crate) use client::LocalRecorder;
pub(crate) use server::{LocalServer, start};

use std::io::{self, Read, Write};

/// Socket in the data directory.
pub(crate) const SOCKET: &str = "ingest.sock";
/// Version of the messages.
const VERSION: u8 = 1;
/// Largest payload, bytes.
const PAYLOAD_MAX: usize = 4 << 20;
/// Most events of one message.
const EVENTS_MAX: usize = 1_024;
/// Longest name, bytes.
const NAME_MAX: usize = 64;

/// Kinds of messages.
mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const OWE: u8 = 2;
    pub(super) const EVENTS: u8 = 3;
    pub(super) const BYE: u8 = 4;
    pub(super) const WELCOME: u8 = 129;
    pub(super) const OWED: u8 = 130;
    pub(super) const DURABLE: u8 = 131;
    pub(super) const REFUSED: u8 = 132;
}

/// Whether `name` may stand in a route: 1 to 64 of letters, digits, `.`, `-`, `_`.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(fits)
}

/// Writes one message.
fn send(to: &mut impl Write, kind: u8, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(|_| io::Error::other("message too long"))?;
    let mut bytes = Vec::with_capacity(payload.len() + 5);
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    to.write_all(&bytes)?;
    to.flush()
}

/// Reads one message; `None` at the end between two.
fn receive(from: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut kind = [0];
    loop {
        match from.read(&mut kind) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > PAYLOAD_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is longer than 4 MiB"));
    }
    let mut payload = Vec::new();
    from.take(length as u64).read_to_end(&mut payload)?;
    if payload.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(kind.first().map(|kind| (*kind, payload)))
}

/// The frames of an `events` payload; `None` when it is out of form.
fn frames(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, mut rest) = payload.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_be_bytes(*count));
    if count == 0 || count > EVENTS_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (frame, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        out.push(frame);
        rest = after;
    }
    rest.is_empty().then_some(out)
}

/// The payload of `frames`, at most [`EVENTS_MAX`] of them.
fn pack(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = u16::try_from(frames.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    for frame in frames {
        out.extend_from_slice(&u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(frame);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_frames_read_back_and_hostile_ones_are_refused() {
        let some = [b"one".to_vec(), Vec::new(), vec![7; 70_000]];
        let payload = pack(&some);
        let mut wire = Vec::new();
        send(&mut wire, kind::EVENTS, &payload).unwrap();
        send(&mut wire, kind::BYE, b"").unwrap();
        let mut from = wire.as_slice();
        let (found, bytes) = receive(&mut from).unwrap().unwrap();
        assert_eq!(
            (found, frames(&bytes).unwrap()),
            (kind::EVENTS, some.iter().map(Vec::as_slice).collect())
        );
        assert_eq!(receive(&mut from).unwrap(), Some((kind::BYE, Vec::new())));
        assert_eq!(receive(&mut from).unwrap(), None);
        for cut in 1..wire.len().min(200) {
            assert!(receive(&mut wire.get(..cut).unwrap()).is_err(), "cut at {cut}");
        }
        assert!(receive(&mut [3, 0xff, 0xff, 0xff, 0xff].as_slice()).is_err(), "longer than any message");
        for bad in [&[][..], &[0], &[0, 0], &[0, 1], &[0, 1, 0, 0, 0, 9, 1], &[0, 1, 0, 0, 0, 0, 1]] {
            assert_eq!(frames(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..seed % 40)
                .map(|_| {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    // Mostly small numbers, so that lengths sometimes fit.
                    if seed >> 62 == 0 { (seed >> 40) as u8 } else { (seed >> 40) as u8 % 4 }
                })
                .collect();
            seed = seed.wrapping_add(1);
            if let Some(found) = frames(&bytes) {
                let again: Vec<Vec<u8>> = found.iter().map(|f| f.to_vec()).collect();
                assert_eq!(pack(&again), bytes);
            }
            let _ = receive(&mut bytes.as_slice());
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        assert!(is_name("files") && is_name("a.b-c_D9"));
        for bad in ["", "a b", "a/b", "é", "a\n", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
