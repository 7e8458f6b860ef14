//! `pg_stat_activity` of PostgreSQL: who is connected to the server, in the server's own words.

use super::{Seen, Watch};
use crate::formats::csv;
use crate::json::{Doc, Val};
use countersign_event::Transport;
use countersign_event::witness::Connection;
use std::borrow::Cow;
use std::net::SocketAddr;

/// What to ask the server for, as CSV (`COPY (…) TO STDOUT CSV HEADER`) or as JSON rows. The role needs
/// `pg_read_all_stats`, or it sees only its own sessions.
pub const POSTGRES_QUERY: &str = "SELECT client_addr, client_port, usename, application_name, datname, \
     backend_start FROM pg_stat_activity WHERE backend_type = 'client backend'";
/// Most items in a JSON text: rows of seven.
const ITEMS_MAX: usize = 8 * super::CONNECTIONS_MAX;

/// The sessions of the server at `server`: a CSV text with a header, or a JSON array of objects. A session over the
/// server's local socket has no address.
pub fn postgres(text: &str, server: SocketAddr, watch: &Watch) -> Seen {
    let mut seen = Seen::default();
    if text.trim_start().starts_with('[') {
        json(text, server, watch, &mut seen);
    } else {
        rows(text, server, watch, &mut seen);
    }
    seen
}

fn rows(text: &str, server: SocketAddr, watch: &Watch, seen: &mut Seen) {
    let mut header: Option<Vec<String>> = None;
    seen.lines(text, |seen, line| {
        let Some(fields) = csv::split(line) else { return false };
        let Some(header) = &header else {
            let names: Vec<String> = fields.iter().map(|f| f.trim().to_ascii_lowercase()).collect();
            let good = names.iter().any(|name| name == "client_addr");
            header = good.then_some(names);
            return good;
        };
        let get = |name: &str| {
            let at = header.iter().position(|have| have == name)?;
            fields.get(at).map(|field| Cow::Borrowed(field.as_ref()))
        };
        session(&get, server, watch, seen).is_some()
    });
}

fn json(text: &str, server: SocketAddr, watch: &Watch, seen: &mut Seen) {
    let Ok(doc) = Doc::parse_batch(text.as_bytes(), ITEMS_MAX) else {
        seen.unreadable += 1;
        return;
    };
    for row in doc.root().elements() {
        let get = |name: &str| row.get(name).and_then(|v: Val<'_, '_>| v.word());
        if session(&get, server, watch, seen).is_none() {
            seen.unreadable += 1;
        }
    }
}

fn session<'t>(
    get: &dyn Fn(&str) -> Option<Cow<'t, str>>,
    server: SocketAddr,
    watch: &Watch,
    seen: &mut Seen,
) -> Option<()> {
    let filled = |name: &str| get(name).filter(|text| !text.is_empty() && text != "\\N");
    let src = match filled("client_addr") {
        // As `inet` is printed: with its length where it is not a host.
        Some(text) => Some(text.split('/').next()?.parse().ok()?),
        None => None,
    };
    let src_port = filled("client_port").and_then(|port| port.parse().ok()).filter(|_| src.is_some());
    let text = |name: &str| filled(name).map(Cow::into_owned).unwrap_or_default();
    let (user, database) = (text("usename"), text("datname"));
    let user = if database.is_empty() { user } else { format!("{user}@{database}") };
    // Workers of the server itself have neither an address nor a user.
    if src.is_none() && user.is_empty() {
        return Some(());
    }
    let connection = Connection {
        src: src.map(|ip: std::net::IpAddr| ip.to_canonical()),
        src_port,
        transport: if src.is_some() { Transport::Tcp } else { Transport::Unix },
        proto: "postgres".to_owned(),
        user,
        app: text("application_name"),
        since_ns: filled("backend_start")
            .and_then(|text| crate::time::rfc3339(&text))
            .and_then(|stamp| u64::try_from(stamp.ns).ok()),
        ..Connection::tcp(server, server)
    };
    watch.take(connection, seen);
    Some(())
}
