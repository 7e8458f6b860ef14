//! Connection tracking of Linux: the lines of `conntrack -L` and of `/proc/net/nf_conntrack`.
//!
//! A line has the addresses of both ways; behind a service address the answering way names the real server. Bytes are
//! there when `net.netfilter.nf_conntrack_acct` is on.

use super::{Seen, Watch};
use countersign_event::Transport;
use countersign_event::witness::Connection;
use std::net::{IpAddr, SocketAddr};

/// States of TCP in which nothing was connected yet, or that belong to a lost beginning.
const NOT_YET: [&str; 4] = ["SYN_SENT", "SYN_SENT2", "SYN_RECV", "LISTEN"];

/// The connections to the watched addresses; protocols without ports are passed over.
pub fn conntrack(text: &str, watch: &Watch) -> Seen {
    let mut seen = Seen::default();
    seen.lines(text, |seen, line| {
        // The summary that the tool prints behind its list.
        if line.starts_with("conntrack v") {
            return true;
        }
        let Some(entry) = entry(line) else { return false };
        if let Some(connection) = entry.filter(|e| watch.watches(e.dst)) {
            watch.take(connection, seen);
        }
        true
    });
    seen
}

/// `Some(None)` = nothing that could be a connection of ours; `None` = unreadable.
fn entry(line: &str) -> Option<Option<Connection>> {
    let mut words = line.split_ascii_whitespace();
    let mut name = words.next()?;
    if matches!(name, "ipv4" | "ipv6") {
        words.next()?.parse::<u8>().ok()?;
        name = words.next()?;
    }
    words.next()?.parse::<u8>().ok()?;
    let transport = match name {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        _ => return Some(None),
    };
    let mut ways = [Way::default(), Way::default()];
    let (mut at, mut bytes) = (None, None);
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            if NOT_YET.contains(&word) {
                return Some(None);
            }
            continue;
        };
        // `src` begins a way; what is behind the second is not about addresses.
        if key == "src" {
            at = Some(at.map_or(0, |n: usize| n + 1));
        }
        let Some(way) = at.and_then(|n| ways.get_mut(n)) else { continue };
        match key {
            "src" => way.src = Some(value.parse::<IpAddr>().ok()?.to_canonical()),
            "dst" => way.dst = Some(value.parse::<IpAddr>().ok()?.to_canonical()),
            "sport" => way.sport = Some(value.parse().ok()?),
            "dport" => way.dport = Some(value.parse().ok()?),
            "bytes" => bytes = Some(bytes.unwrap_or(0u64).saturating_add(value.parse().ok()?)),
            _ => {}
        }
    }
    let [there, back] = ways;
    let src = SocketAddr::new(there.src?, there.sport?);
    there.dst?;
    there.dport?;
    let dst = SocketAddr::new(back.src?, back.sport?);
    Some(Some(Connection { transport, bytes, ..Connection::tcp(src, dst) }))
}

#[derive(Clone, Copy, Default)]
struct Way {
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
    sport: Option<u16>,
    dport: Option<u16>,
}
