//! `/connz` of a NATS server's monitoring port: who is connected, in the server's own words.

use super::{Seen, Watch};
use crate::json::Doc;
use countersign_event::witness::Connection;
use std::net::{IpAddr, SocketAddr};

/// Most items in the answer: a connection has about forty.
const ITEMS_MAX: usize = 64 * super::CONNECTIONS_MAX;

/// The clients of the server at `server`. What the server did not list for its own limit (`total` above the number
/// listed) is counted as unlisted.
pub fn nats(text: &str, server: SocketAddr, watch: &Watch) -> Seen {
    let mut seen = Seen::default();
    let doc = match Doc::parse_batch(text.as_bytes(), ITEMS_MAX) {
        Ok(doc) if doc.root().has("connections") => doc,
        _ => {
            seen.unreadable += 1;
            return seen;
        }
    };
    let root = doc.root();
    let mut listed = 0;
    for client in root.get("connections").into_iter().flat_map(|list| list.elements()) {
        listed += 1;
        let word = |name: &str| client.get(name).and_then(|v| v.word());
        let number = |name: &str| client.get(name).and_then(|v| v.uint());
        let ip = word("ip").and_then(|text| text.parse::<IpAddr>().ok());
        let port = number("port").and_then(|port| u16::try_from(port).ok());
        let (Some(ip), Some(port)) = (ip, port) else {
            seen.unreadable += 1;
            continue;
        };
        let bytes = match (number("in_bytes"), number("out_bytes")) {
            (None, None) => None,
            (up, down) => Some(up.unwrap_or(0).saturating_add(down.unwrap_or(0))),
        };
        let since = word("start").and_then(|text| crate::time::rfc3339(&text));
        let user = word("authorized_user").or_else(|| word("nkey"));
        let connection = Connection {
            proto: "nats".to_owned(),
            user: user.map(|text| text.into_owned()).unwrap_or_default(),
            app: word("name").map(|text| text.into_owned()).unwrap_or_default(),
            bytes,
            since_ns: since.and_then(|stamp| u64::try_from(stamp.ns).ok()),
            ..Connection::tcp(SocketAddr::new(ip, port), server)
        };
        watch.take(connection, &mut seen);
    }
    let total = root.get("total").and_then(|v| v.uint()).unwrap_or(0);
    seen.unlisted = seen.unlisted.saturating_add(total.saturating_sub(listed));
    seen
}
