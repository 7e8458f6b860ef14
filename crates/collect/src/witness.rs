//! Independent observers of who is connected to whom: the kernel, a flow counter, the called server itself. What they
//! see and no event tells of is a blind spot (`countersign_detect::coverage`).
//!
//! Each reader is a pure function, text in, [`Seen`] out; [`Log`] turns one look after another into the events that
//! reach the ledger (`countersign_event::witness`); [`look`] is the only one that reads files, [`ask_redis`] the only
//! one that opens a socket. Not a capture: nothing is learned of what is said. Invariants: time is linear in the text;
//! at most [`CONNECTIONS_MAX`] connections come out of a look and the rest is counted; a line that cannot be read is
//! counted and never guessed.

mod ask;
mod conntrack;
mod log;
mod look;
mod nats;
mod postgres;
mod proc_net;
mod redis;
#[cfg(test)]
mod tests;

pub use ask::ask_redis;
pub use conntrack::conntrack;
pub use log::{GROWN, Log, OPEN_MAX, SIGN_OF_LIFE_NS};
pub use look::{Places, look};
pub use nats::nats;
pub use postgres::{POSTGRES_QUERY, postgres};
pub use proc_net::proc_net;
pub use redis::redis;

use countersign_event::witness::{Connection, canonical};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Most connections of one look.
pub const CONNECTIONS_MAX: usize = 65_536;
/// Longest line of a text, bytes; a longer one is unreadable.
pub const LINE_MAX: usize = 4_096;
/// Longest text, bytes: what is behind it is not looked at, and counted as one unreadable line.
pub const TEXT_MAX: usize = 32 << 20;

/// What one look showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Connections to the watched addresses.
    pub connections: Vec<Connection>,
    /// Lines or entries that could not be read.
    pub unreadable: u64,
    /// Connections beyond [`CONNECTIONS_MAX`].
    pub unlisted: u64,
}

/// What is watched, and what is the gateway's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// The called addresses: those that the gateway's routes lead to.
    pub upstreams: BTreeSet<SocketAddr>,
    /// Addresses that only gateways call from: connections from them are `through`.
    pub gateways: BTreeSet<IpAddr>,
    /// Numbers (inodes) of this process's own sockets: connections of them are `through`.
    pub own: BTreeSet<u64>,
}

impl Watch {
    /// Watches these addresses.
    pub fn new(upstreams: impl IntoIterator<Item = SocketAddr>) -> Watch {
        Watch { upstreams: upstreams.into_iter().map(canonical).collect(), ..Watch::default() }
    }

    fn watches(&self, dst: SocketAddr) -> bool {
        self.upstreams.contains(&dst)
    }

    /// Takes a connection up, marked as a gateway's where its caller's address is one.
    fn take(&self, mut connection: Connection, into: &mut Seen) {
        connection.through |= connection.src.is_some_and(|ip| self.gateways.contains(&ip));
        into.push(connection);
    }
}

impl Seen {
    fn push(&mut self, connection: Connection) {
        if self.connections.len() < CONNECTIONS_MAX {
            self.connections.push(connection);
        } else {
            self.unlisted += 1;
        }
    }

    /// Each line of `text` within the bounds to `line`; `false` = unreadable.
    fn lines(&mut self, text: &str, mut line: impl FnMut(&mut Seen, &str) -> bool) {
        let mut end = text.len().min(TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.unreadable += u64::from(end < text.len());
        for one in text[..end].lines().filter(|line| !line.trim().is_empty()) {
            if one.len() > LINE_MAX || !line(self, one) {
                self.unreadable += 1;
            }
        }
    }
}
