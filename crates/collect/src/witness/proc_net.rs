//! `/proc/net/tcp` and `/proc/net/tcp6` of Linux: every TCP socket of a network namespace (proc(5)).
//!
//! A connection within one machine stands there twice, once for each end; it is one connection here. Only those that
//! are open: one that ended between two looks is not seen, which a flow counter would.

use super::{Seen, Watch};
use countersign_event::witness::{Connection, canonical};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// States in which a connection has two ends and an owner: ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK.
const OPEN: [u8; 5] = [0x01, 0x04, 0x05, 0x08, 0x09];

/// The connections to the watched addresses in the texts of both files. One is `through` when its calling end is one
/// of `watch.own`, or comes from one of `watch.gateways`.
pub fn proc_net(texts: &[&str], watch: &Watch) -> Seen {
    let mut seen = Seen::default();
    // Keyed by both ends; whether a row of the calling end is the gateway's.
    let mut found: BTreeMap<(SocketAddr, SocketAddr), bool> = BTreeMap::new();
    for text in texts {
        seen.lines(text, |_, line| {
            if line.trim_start().starts_with("sl ") {
                return true;
            }
            let Some(row) = row(line) else { return false };
            if OPEN.contains(&row.state) {
                if watch.watches(row.remote) {
                    *found.entry((row.local, row.remote)).or_default() |= watch.own.contains(&row.inode);
                }
                if watch.watches(row.local) {
                    found.entry((row.remote, row.local)).or_default();
                }
            }
            true
        });
    }
    for ((src, dst), through) in found {
        watch.take(Connection { through, ..Connection::tcp(src, dst) }, &mut seen);
    }
    seen
}

struct Row {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    inode: u64,
}

/// `sl local remote state queues timer retransmits uid timeout inode …`
fn row(line: &str) -> Option<Row> {
    let mut words = line.split_ascii_whitespace();
    words.next()?.strip_suffix(':')?;
    let (local, remote) = (address(words.next()?)?, address(words.next()?)?);
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    let inode = words.nth(5)?.parse().ok()?;
    Some(Row { local, remote, state, inode })
}

/// Address and port in hexadecimal. The kernel prints 32-bit words of the address as numbers of its machine, which is
/// this one.
fn address(word: &str) -> Option<SocketAddr> {
    let (hex, port) = word.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let part = |at: usize| u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match hex.len() {
        8 => IpAddr::from(Ipv4Addr::from(part(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&part(at)?);
            }
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}
