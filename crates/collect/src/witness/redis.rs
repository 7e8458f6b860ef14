//! `CLIENT LIST` of Redis and Valkey: who is connected to the server, in the server's own words.

use super::{Seen, Watch};
use countersign_event::Transport;
use countersign_event::witness::Connection;
use std::net::SocketAddr;

/// The clients of the server at `server` (its own `laddr` is what it is called on inside its network, so the
/// configured address stands). `now_ns`: our clock, to turn ages into times.
pub fn redis(text: &str, server: SocketAddr, now_ns: u64, watch: &Watch) -> Seen {
    let mut seen = Seen::default();
    seen.lines(text, |seen, line| {
        let get = |name: &str| {
            line.split(' ')
                .find_map(|word| word.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, v)| v)
        };
        let Some(address) = get("addr") else { return false };
        // A client over a local socket is `path:0`; one that the server itself opened for a script has none.
        let src = address.parse::<SocketAddr>().ok();
        if src.is_none() && !address.ends_with(":0") {
            return false;
        }
        let number = |name: &str| get(name).and_then(|text| text.parse::<u64>().ok());
        let bytes = match (number("tot-net-in"), number("tot-net-out")) {
            (None, None) => None,
            (up, down) => Some(up.unwrap_or(0).saturating_add(down.unwrap_or(0))),
        };
        let age = number("age").map(|seconds| seconds.saturating_mul(1_000_000_000));
        let connection = Connection {
            src: src.map(|address| address.ip().to_canonical()),
            src_port: src.map(|address| address.port()),
            transport: if src.is_some() { Transport::Tcp } else { Transport::Unix },
            proto: "redis".to_owned(),
            user: get("user").unwrap_or_default().to_owned(),
            app: get("name").unwrap_or_default().to_owned(),
            bytes,
            since_ns: age.map(|age| now_ns.saturating_sub(age)),
            ..Connection::tcp(server, server)
        };
        watch.take(connection, seen);
        true
    });
    seen
}
