//! A connection of a stream protocol as the decoder sees it: bytes both ways in, events out.
//!
//! Invariant, kept by [`Conn`] and not by the protocols: a connection makes at least as many records as its
//! framer promised (what is missing at the end is made as `cut`), and what it makes beyond is owed before it
//! is recorded ([`Context::extra`]).

use super::event::{conn_id, connection_event, event_by};
use super::exchange::Conn;
use super::websocket::{Agreed, WebSocket};
use super::{Context, Intent};
use crate::config::Protocol;
use crate::ring::{Decided, LoggedIn, Way, Why};
use countersign_event::{Event, LinkVia, Rec, Shared, Who};
use countersign_wire::trace::TraceContext;

/// Where and when something happened, and where its events go.
pub(crate) struct At<'a> {
    pub(crate) conn: &'a Conn,
    pub(crate) context: &'a mut Context,
    /// Monotonic ns.
    pub(crate) t: u64,
    pub(crate) out: &'a mut Vec<Event>,
}

impl At<'_> {
    /// What every record of this connection has, as of `t` (monotonic ns).
    pub(crate) fn event(&self, t: u64) -> Event {
        connection_event(self.conn, self.context, t)
    }

    /// As [`At::event`], once the session knows who calls.
    pub(crate) fn event_by(&self, t: u64, who: Option<&Shared<Who>>) -> Event {
        event_by(self.conn, self.context, t, who.unwrap_or(&self.conn.base.who).clone())
    }

    /// Links the record of a statement or command, that began and ended at `times` (monotonic ns), with the request
    /// that it was made for: by the trace context that its session's name carries, else by inference.
    pub(crate) fn link(&self, event: &mut Event, carried: Option<TraceContext>, times: (u64, u64)) {
        if event.links.trace.is_some() {
            return;
        }
        if let Some(found) = carried {
            event.links.trace = Some(found.trace);
            event.links.span = found.span;
            event.links.tflags = found.flags.map(u64::from);
            event.links.via = Some(LinkVia::SessionName);
            return;
        }
        if !self.context.causes.is_on() {
            return;
        }
        let causes = self.context.causes.of(self.conn.client(), times, &self.context.ring);
        if !causes.is_empty() {
            event.links.via = Some(LinkVia::Inferred);
        }
        let run = self.context.run;
        event.links.cause = causes.iter().map(|c| (conn_id(run, c.conn), c.number, c.score)).collect();
    }
}

/// The off-path half of a stream protocol. One a connection.
pub(crate) trait Session: Send {
    /// Bytes as received, in the order they were let through. With `decided` they are one message, and that is
    /// its verdict; a denied one was replaced, and what the server answers is the answer to the replacement.
    fn bytes(&mut self, at: &mut At<'_>, way: Way, bytes: &[u8], decided: Option<Box<Decided>>);

    /// On strict routes, after `bytes` from the client: one intent for each operation that began with them, oldest
    /// first. The operation's record is then an outcome that links to the id that the intent will have.
    fn intents(&mut self, _at: &mut At<'_>) -> Vec<Intent> {
        Vec::new()
    }

    /// The caller has proved to the gateway who it is; the session that follows is the gateway's.
    fn logged_in(&mut self, _by: LoggedIn) {}

    /// Messages passed unseen before what comes next; nothing is open now.
    fn resumed(&mut self) {}

    /// The connection ended: everything open ends with it. `up` and `down` = bytes received from each side.
    fn close(&mut self, at: &mut At<'_>, up: u64, down: u64, why: Why);
}

/// The decoder of `protocol`.
pub(super) fn of_protocol(protocol: Protocol) -> Option<Box<dyn Session>> {
    match protocol {
        Protocol::Postgres => Some(Box::new(super::postgres::Postgres::default())),
        Protocol::Auto | Protocol::Http1 | Protocol::Http2 | Protocol::Mcp | Protocol::Opaque => None,
        Protocol::Redis => Some(Box::new(super::redis::Redis::default())),
    }
}

/// The decoder of what HTTP switched to; `upgrade` = the word of the request's `Upgrade` field, lower case.
pub(super) fn of_upgrade(upgrade: &str, agreed: Agreed) -> Option<Box<dyn Session>> {
    match upgrade {
        "websocket" => Some(Box::new(WebSocket::new(agreed))),
        _ => None,
    }
}

/// The record of a connection that broke a rule.
pub(super) fn broken(at: &mut At<'_>, way: Way, rule: &str) {
    let mut event = at.event(at.t);
    event.core.rec = Some(Rec::Cut);
    event.core.op = "session".to_owned();
    let side = if way == Way::Up { "client" } else { "server" };
    event.content.err = format!("{side}: {rule}");
    at.out.push(event);
}
