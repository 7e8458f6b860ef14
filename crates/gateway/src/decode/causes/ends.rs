//! The machines at both ends of a connection, and which of its requests are listed as open at the far one.

use super::super::Context;
use super::super::exchange::{Conn, Exchange};
use super::Seen;
use countersign_event::Event;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;

impl Conn {
    /// The upstream is there, and what waited for it goes to it now.
    pub(in super::super) fn reached(
        &mut self,
        context: &mut Context,
        t: u64,
        address: SocketAddr,
        certificates: &[CertificateDer<'_>],
        out: &mut Vec<Event>,
    ) {
        self.upstream = Some((address, t));
        self.peer.take();
        if !context.causes.is_on() {
            return;
        }
        if !certificates.is_empty() {
            let now_s = i64::try_from(context.wall(t) / 1_000_000_000).unwrap_or(i64::MAX);
            let shown = context.identities.from_tls_at(certificates, now_s);
            self.upstream_id = shown.principal.map(|p| p.id.into_boxed_str());
        }
        let mut exchanges = std::mem::take(&mut self.exchanges);
        exchanges.iter_mut().for_each(|exchange| exchange.list(self, context));
        self.exchanges = exchanges;
        self.with_streams(context, t, out, |streams, at| streams.reached(at));
    }

    /// The machine at the other end of the upstream connection.
    pub(in super::super) fn server(&self) -> Option<Seen<'_>> {
        let (address, _) = self.upstream?;
        Some(Seen { ip: address.ip(), principal: self.upstream_id.as_deref() })
    }

    /// The machine at the caller's end.
    pub(in super::super) fn client(&self) -> Seen<'_> {
        let principal = self.identity.as_ref().and_then(|i| i.principal.as_ref());
        Seen { ip: self.open.src.ip(), principal: principal.map(|p| p.id.as_str()) }
    }
}

impl Exchange {
    /// Lists it as open at the upstream, once that is known.
    pub(in super::super) fn list(&mut self, conn: &Conn, context: &Context) {
        if self.listed.is_none()
            && context.causes.is_on()
            && let (Some(server), Some(number)) = (conn.server(), self.event.links.conn_seq)
        {
            self.listed = Some(context.causes.open(server, self.started, conn.id, number));
        }
    }
}
