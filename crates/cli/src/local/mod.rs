//! Records from other processes of this machine: a UNIX socket in the data directory of the process that holds
//! the ledger, and its client. `countersign mcp wrap` is the one that uses it.
//!
//! Not a way in for other users or machines, and not a way to claim anything: the server sets source, route,
//! level of identity and time itself (`server`). The form of the messages is `countersign_wire::ingest`.
//!
//! Invariants: nothing is read beyond a named bound, nor beyond the end of a message; `durable` is sent after the ledger
//! has synced; a client that sends faster than the ledger takes is not read.

mod client;
mod server;

pub(crate) use client::LocalRecorder;
pub(crate) use countersign_wire::ingest::is_name;
pub(crate) use server::{LocalServer, start};

use countersign_wire::ingest::{Framer, message};
use std::io::{self, Read, Write};

/// Socket in the data directory.
pub(crate) const SOCKET: &str = "ingest.sock";
/// Bytes read at once.
const BLOCK: usize = 16 << 10;

/// Writes one message.
fn send(to: &mut impl Write, kind: u8, payload: &[u8]) -> io::Result<()> {
    let bytes = message(kind, payload).ok_or_else(|| io::Error::other("message too long"))?;
    to.write_all(&bytes)?;
    to.flush()
}

/// Reads one message; `None` at the end between two.
fn receive(from: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let (mut framer, mut block) = (Framer::default(), [0; BLOCK]);
    loop {
        // No more than the rest of this message: what follows is for the next call.
        let most = framer.wants().min(BLOCK);
        let room = block.get_mut(..most).unwrap_or_default();
        let n = match from.read(room) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if n == 0 {
            return if framer.is_between() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let taken = framer.push(block.get(..n).unwrap_or_default());
        let (_, whole) = taken
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a message is longer than 4 MiB"))?;
        if let Some(message) = whole {
            return Ok(Some((message.kind, message.payload)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_wire::ingest::kind;

    #[test]
    fn messages_are_read_one_by_one_and_a_cut_or_hostile_one_is_an_error() {
        let mut wire = Vec::new();
        send(&mut wire, kind::EVENTS, &vec![5; 70_000]).unwrap();
        send(&mut wire, kind::BYE, b"").unwrap();
        let mut from = wire.as_slice();
        assert_eq!(receive(&mut from).unwrap(), Some((kind::EVENTS, vec![5; 70_000])));
        assert_eq!(receive(&mut from).unwrap(), Some((kind::BYE, Vec::new())));
        assert_eq!(receive(&mut from).unwrap(), None);
        for cut in [1, 4, 5, 6, 69_999] {
            assert!(receive(&mut wire.get(..cut).unwrap()).is_err(), "cut at {cut}");
        }
        assert!(receive(&mut [3, 0xff, 0xff, 0xff, 0xff].as_slice()).is_err(), "longer than any message");
    }
}
