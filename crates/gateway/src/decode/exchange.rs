//! One connection as the decoder sees it: requests in order, each with the response that answers it.

use super::bodies::{Bodies, Here};
use super::causes::Listed;
use super::content::Content;
use super::event::{connection_event, endpoint, finish, intent_event, session_event};
use super::h2::{self, Streams};
use super::identify::{Base, Caller};
use super::mcp::in_body;
use super::request::{agreed, begin, begin_refused, read_response, upgrade_of};
use super::session::{self, At, Session};
use super::sse::Counting;
use super::websocket::Agreed;
use super::{Asked, Context, Intent, identify};
use crate::config::Purpose;
use crate::recorder::BodyDigest;
use crate::ring::{ConnOpen, Decided, Gate, H2What, Way, What};
use bytes::Bytes;
use countersign_event::{Event, Outcome, Peer, Principal, Rec, Shared, Tls};
use countersign_identity::TlsIdentity;
use countersign_wire::http1::fields::{self, Slots};
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

/// One message's body so far.
#[derive(Default)]
pub(super) struct BodySoFar {
    pub(super) size: u64,
    pub(super) digest: Option<BodyDigest>,
    /// The beginning, where the route keeps some, and how much of it.
    pub(super) excerpt: Vec<u8>,
    pub(super) excerpt_max: usize,
    /// Some of it passed without being seen, so that there is no digest.
    pub(super) unseen: bool,
    pub(super) content_type: String,
    pub(super) ended: Option<u64>,
}

/// A request and what is known of its answer.
pub(super) struct Exchange {
    /// Everything that the request's head told.
    pub(super) event: Event,
    pub(super) started: u64,
    pub(super) request: BodySoFar,
    pub(super) response: BodySoFar,
    pub(super) response_at: Option<u64>,
    pub(super) status: Option<u16>,
    /// Set when the gateway refused it or answered in the server's place.
    pub(super) own: Option<Own>,
    /// Rule that the server's answer broke.
    pub(super) fault: Option<&'static str>,
    /// Set on strict routes: the id of its intent, once that is handed over.
    pub(super) intent: Option<Arc<OnceLock<[u8; 16]>>>,
    /// Reads the bodies' content, where somebody does.
    pub(super) bodies: Option<Box<dyn Bodies>>,
    /// Events made so far that stand for the exchange's record.
    pub(super) made: u64,
    /// While it is open: statements of the machine that it went to may be made for it.
    pub(super) listed: Option<Listed>,
    /// Holds the body against the digest that its sender signed.
    pub(super) content: Option<Box<Content>>,
}

/// What the gateway did itself.
#[derive(Clone, Copy)]
pub(super) struct Own {
    pub(super) status: u16,
    pub(super) why: &'static str,
    pub(super) refused: bool,
}

/// Of a route that is not there.
static NO_PURPOSE: Purpose = Purpose { text: String::new(), header: String::new(), claim: String::new() };

/// See the module's documentation.
pub(crate) struct Conn {
    pub(super) id: u64,
    pub(super) open: ConnOpen,
    pub(super) upstream: Option<(SocketAddr, u64)>,
    /// The upstream's principal by its certificate.
    pub(super) upstream_id: Option<Box<str>>,
    pub(super) tls: Option<Box<Tls>>,
    /// Who a listed proxy says connected to it.
    pub(super) hop: Option<SocketAddr>,
    /// The client's TLS fingerprint.
    pub(super) ja4: String,
    pub(super) identity: Option<Box<TlsIdentity>>,
    pub(super) address: Principal,
    /// Who it is by the connection alone; most requests carry nothing more.
    pub(super) base: Base,
    /// What its records say of its addresses; empty until the first of them, and when that has changed.
    pub(super) peer: OnceCell<Shared<Peer>>,
    pub(super) seq: u64,
    /// At most as many as the framer lets be open, plus those whose body is still on its way.
    /// Boxed: a record is kilobytes, and moving it through the queue would copy it twice.
    pub(super) exchanges: VecDeque<Box<Exchange>>,
    pub(super) opaque: Option<(&'static str, (u64, u64), u64)>,
    /// Set on a stream protocol, and after a switch to one that has a decoder.
    session: Option<Box<dyn Session>>,
    /// Records that the session's framer promised, and those that it has made.
    pub(super) promised: usize,
    pub(super) made: usize,
    /// Set on HTTP/2.
    streams: Option<Box<Streams>>,
    /// Word of the `Upgrade` field that was accepted, and on what terms.
    upgrade: Option<(String, Box<Agreed>)>,
    broken: bool,
}

impl Conn {
    pub(super) fn new(context: &Context, id: u64, open: ConnOpen) -> Conn {
        let address = context.identities.address(open.src.ip());
        let base = identify::who(address.clone(), None, Default::default()).into();
        Conn {
            id,
            open,
            upstream: None,
            upstream_id: None,
            tls: None,
            hop: None,
            ja4: String::new(),
            identity: None,
            address,
            base,
            peer: OnceCell::new(),
            seq: 0,
            exchanges: VecDeque::new(),
            opaque: None,
            session: None,
            promised: 0,
            made: 0,
            streams: None,
            upgrade: None,
            broken: false,
        }
    }

    /// Who calls over it, for a verdict at `time_ns` (UTC).
    pub(super) fn caller<'a>(&'a self, context: &'a Context, time_ns: u64) -> Caller<'a> {
        let route = context.routes.get(self.open.route);
        Caller {
            identities: &context.identities,
            tls: self.identity.as_deref(),
            secure: self.tls.is_some(),
            peer: self.open.src.ip(),
            service: route.map_or("", |r| r.service.as_str()),
            route: route.map_or("", |r| r.name.as_str()),
            purpose: route.map_or(&NO_PURPOSE, |r| &r.purpose),
            time_ns,
            proved: None,
        }
    }

    /// Records that are promised and not made.
    pub(super) fn owed(&self) -> usize {
        let streams = self.streams.as_ref().map_or(0, |s| s.owed());
        self.exchanges.iter().filter(|e| e.made == 0).count()
            + streams
            + usize::from(self.opaque.is_some())
            + self.promised.saturating_sub(self.made)
    }

    /// Decoding this connection panicked: nothing of its state is believed any more.
    pub(super) fn break_off(&mut self) {
        self.exchanges.clear();
        self.opaque = None;
        self.session = None;
        self.streams = None;
        (self.promised, self.made) = (0, 0);
        self.broken = true;
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Gives back the room of a tap that is not decoded, or the connection would wait for ever.
    pub(super) fn waive(&self, what: &What) {
        self.open.waiting.fetch_sub(what.waiting(), Ordering::Relaxed);
    }

    pub(super) fn tap(&mut self, context: &mut Context, t: u64, what: What, out: &mut Vec<Event>) {
        match what {
            What::Secured(secured) => {
                let found = identify::who(self.address.clone(), Some(&secured.identity), Default::default());
                self.base = found.into();
                self.tls = Some(Box::new(secured.tls));
                self.identity = Some(Box::new(secured.identity));
                self.peer.take();
            }
            What::Greeted { hop, ja4, sni } => {
                self.hop = hop;
                if !sni.is_empty() {
                    self.tls = Some(Box::new(Tls { sni, ..Tls::default() }));
                }
                self.ja4 = ja4;
                self.peer.take();
            }
            What::LoggedIn(by) => {
                self.with_session(context, t, out, |session, _| session.logged_in(*by));
            }
            What::Upstream(address, certificates) => self.reached(context, t, address, &certificates, out),
            What::Request { head, end, decided } => {
                self.seq += 1;
                let denied = decided.as_ref().is_some_and(|d| countersign_policy::refuses(&d.decision));
                let mut exchange = begin(self, context, t, &head, decided);
                let later = context.routes.get(self.open.route).is_some_and(|r| r.mcp) && in_body(&head, end);
                if let Some(gate) = self.open.gate.as_ref().filter(|_| !denied && !later) {
                    exchange.announce(context, gate, Vec::new());
                }
                if !denied {
                    exchange.list(self, context);
                }
                exchange.request.ended = end.then_some(t);
                self.exchanges.push_back(exchange);
            }
            What::Response { head, end, closing } => {
                if let Some(exchange) = answering(&mut self.exchanges) {
                    exchange.response_at = Some(t);
                    read_response(exchange, &head);
                    if let Some(cap) = exchange.event.body.cap.as_mut().filter(|_| closing) {
                        cap.changes.push("connection_close".to_owned());
                    }
                    if exchange.status == Some(101) {
                        let mcp = context.routes.get(self.open.route).is_some_and(|r| r.mcp);
                        self.upgrade =
                            Some((upgrade_of(exchange), Box::new(agreed(exchange, &head, mcp, t))));
                    }
                    exchange.response.ended = end.then_some(t);
                    if exchange.response.content_type.eq_ignore_ascii_case("text/event-stream") {
                        exchange.bodies.get_or_insert_with(|| Box::<Counting>::default());
                    }
                    let (up, content_type) = (self.upstream, exchange.response.content_type.clone());
                    exchange.read_bodies(up, context, t, out, |bodies, here| {
                        let mut slots = Slots::default();
                        let kind = content_type.as_str();
                        if let Some(response) = fields::response(&head, &mut slots) {
                            bodies.response(here, response.fields, kind);
                        }
                        if end {
                            bodies.end(here, Way::Down);
                        }
                    });
                }
                self.finish_front(context, out);
            }
            What::Skipped { way, len, end } => self.skipped(context, t, (way, len, end), out),
            What::Data { way, bytes, end } => self.data(context, t, way, &bytes, end, out),
            What::End { way } => self.data(context, t, way, &Bytes::new(), true, out),
            What::Refused { rule, status, current: true, .. } => {
                // Nothing that could still come changes this record, so it does not wait for the close.
                if let Some(mut last) = self.exchanges.pop_back() {
                    last.own = Some(Own { status, why: rule, refused: true });
                    self.conclude(context, last, t, None, out);
                }
            }
            What::Refused { head, rule, status, current: false } => {
                self.seq += 1;
                let mut exchange = begin_refused(self, context, t, &head);
                exchange.own = Some(Own { status, why: rule, refused: true });
                finish(self, context, &mut exchange, t, None);
                out.push(exchange.event);
            }
            What::Answered { status, why } => {
                let at = self.exchanges.iter().position(|e| e.response.ended.is_none());
                if let Some(mut exchange) = at.and_then(|at| self.exchanges.remove(at)) {
                    exchange.own = Some(Own { status, why, refused: false });
                    self.conclude(context, exchange, t, None, out);
                }
            }
            What::BadResponse { rule } => {
                if let Some(exchange) = answering(&mut self.exchanges) {
                    exchange.fault = Some(rule);
                }
            }
            What::Opaque { first, before } => self.opaque = Some((first, before, t)),
            What::Framed { protocol, records } => {
                self.session = session::of_protocol(protocol);
                self.promised += records as usize;
            }
            What::Announced => {
                let up = self.upstream;
                if let (Some(exchange), Some(gate)) = (self.exchanges.back_mut(), &self.open.gate) {
                    exchange.announce_bodies(up, context, t, out, gate);
                }
            }
            What::Verdict(decided) => {
                if let Some(exchange) = self.exchanges.back_mut() {
                    exchange.decided(*decided);
                }
            }
            What::Switched { before } => {
                match self.upgrade.take().and_then(|(w, a)| session::of_upgrade(&w, *a)) {
                    Some(session) => {
                        self.session = Some(session);
                        self.promised += 1;
                    }
                    None => self.opaque = Some(("upgraded", before, t)),
                }
            }
            What::Bytes { way, bytes, records, decided } => {
                self.open.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
                self.promised += records as usize;
                self.with_session(context, t, out, |session, at| session.bytes(at, way, &bytes, decided));
                if way == Way::Up && records > 0 {
                    self.stream_intents(context, t, records, out);
                }
            }
            What::Resumed => self.with_session(context, t, out, |session, _| session.resumed()),
            What::Broken { way, rule } => session::broken(&mut At { conn: self, context, t, out }, way, rule),
            What::H2 { stream, what } => {
                self.open.waiting.fetch_sub(what.waiting(), Ordering::Relaxed);
                self.seq += u64::from(matches!(what, H2What::Request { .. }));
                self.with_streams(context, t, out, |streams, at| streams.tap(at, stream, what));
            }
            What::H2Refused { code } => {
                self.seq += 1;
                h2::refused(&mut At { conn: self, context, t, out }, code);
            }
            What::H2Broken { why, code, n } => {
                h2::broke(&mut At { conn: self, context, t, out }, why, code, n);
            }
            What::HandshakeFailed { why, timeout } => {
                let outcome = if timeout { Outcome::Timeout } else { Outcome::Denied };
                out.push(session_event(self, context, t, "tls", outcome, why));
            }
            What::Open(_) | What::Close { .. } | What::Limited { .. } | What::Dropped { .. } => {}
        }
    }

    pub(super) fn with_streams(
        &mut self,
        context: &mut Context,
        t: u64,
        out: &mut Vec<Event>,
        work: impl FnOnce(&mut Streams, &mut At<'_>),
    ) {
        let mut streams = self.streams.take().unwrap_or_default();
        work(&mut streams, &mut At { conn: self, context, t, out });
        self.streams = Some(streams);
    }

    /// On a strict route: the intents of the operations that the session has just seen begin.
    fn stream_intents(&mut self, context: &mut Context, t: u64, records: u32, out: &mut Vec<Event>) {
        let Some(gate) = self.open.gate.clone() else { return };
        let mut intents = Vec::new();
        self.with_session(context, t, out, |session, at| intents = session.intents(at));
        // An operation that the session cannot name yet is still announced, or it would not be let through.
        while intents.len() < records as usize {
            let mut event = connection_event(self, context, t);
            event.core.op = "unread".to_owned();
            intents.push(Intent { event: intent_event(&event), id: Arc::default() });
        }
        context.intents.push(Asked { intents, gate });
    }

    /// Content that passed without being seen: its size is known, its digest is not.
    fn skipped(
        &mut self,
        context: &mut Context,
        t: u64,
        (way, len, end): (Way, u64, bool),
        out: &mut Vec<Event>,
    ) {
        let exchange = match way {
            Way::Up => self.exchanges.back_mut().map(Box::as_mut),
            Way::Down => answering(&mut self.exchanges),
        };
        if let Some(exchange) = exchange {
            let body = if way == Way::Up { &mut exchange.request } else { &mut exchange.response };
            body.size += len;
            body.unseen = true;
        }
        self.data(context, t, way, &Bytes::new(), end, out);
    }

    /// Lets the session of a stream protocol make events, and keeps count of them.
    pub(super) fn with_session(
        &mut self,
        context: &mut Context,
        t: u64,
        out: &mut Vec<Event>,
        work: impl FnOnce(&mut dyn Session, &mut At<'_>),
    ) {
        let Some(mut session) = self.session.take() else { return };
        let before = out.len();
        work(session.as_mut(), &mut At { conn: self, context, t, out });
        self.session = Some(session);
        self.made += out.len() - before;
        let extra = self.made.saturating_sub(self.promised);
        self.promised += extra;
        context.extra += extra as u64;
    }

    fn data(
        &mut self,
        context: &mut Context,
        t: u64,
        way: Way,
        bytes: &[u8],
        end: bool,
        out: &mut Vec<Event>,
    ) {
        self.open.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
        let exchange = match way {
            Way::Up => self.exchanges.back_mut().map(Box::as_mut),
            Way::Down => answering(&mut self.exchanges),
        };
        if let Some(exchange) = exchange {
            let body = if way == Way::Up { &mut exchange.request } else { &mut exchange.response };
            if !bytes.is_empty() {
                body.size += bytes.len() as u64;
                let room = body.excerpt_max.saturating_sub(body.excerpt.len());
                body.excerpt.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                body.digest.get_or_insert_with(|| context.key.start()).update(bytes);
                if let Some(content) = exchange.content.as_mut().filter(|_| way == Way::Up) {
                    content.update(bytes);
                }
            }
            if end {
                body.ended = Some(t);
            }
            let up = self.upstream;
            exchange.read_bodies(up, context, t, out, |bodies, here| {
                if !bytes.is_empty() {
                    bodies.data(here, way, bytes);
                }
                if end {
                    bodies.end(here, way);
                }
            });
        }
        if end {
            self.finish_front(context, out);
        }
    }
}

impl Exchange {
    /// Asks for its intents, or for the one that its head makes.
    pub(super) fn announce(&mut self, context: &mut Context, gate: &Arc<Gate>, mut intents: Vec<Intent>) {
        if intents.is_empty() {
            intents.push(Intent { event: intent_event(&self.event), id: Arc::default() });
        }
        self.intent = intents.first().map(|intent| Arc::clone(&intent.id));
        context.intents.push(Asked { intents, gate: Arc::clone(gate) });
    }

    /// Asks for the intents of what the bodies ask for.
    pub(super) fn announce_bodies(
        &mut self,
        up: Option<(SocketAddr, u64)>,
        context: &mut Context,
        t: u64,
        out: &mut Vec<Event>,
        gate: &Arc<Gate>,
    ) {
        let mut intents = Vec::new();
        let ask = |bodies: &mut dyn Bodies, here: &mut Here<'_>| intents = bodies.intents(here);
        self.read_bodies(up, context, t, out, ask);
        self.announce(context, gate, intents);
    }

    /// The verdict that was reached on its body.
    pub(super) fn decided(&mut self, decided: Decided) {
        self.event.who = decided.who;
        self.event.core.decision = Some(decided.decision.into());
        self.bodies.iter_mut().for_each(|b| b.decided());
    }

    /// Lets the bodies' reader make events, and keeps count of them.
    pub(super) fn read_bodies(
        &mut self,
        up: Option<(SocketAddr, u64)>,
        context: &mut Context,
        t: u64,
        out: &mut Vec<Event>,
        work: impl FnOnce(&mut dyn Bodies, &mut Here<'_>),
    ) {
        let Some(mut bodies) = self.bodies.take() else { return };
        if self.event.peer.up.is_none() {
            self.event.peer.up = up.map(|(address, _)| endpoint(address));
        }
        let before = out.len();
        work(bodies.as_mut(), &mut Here { event: &self.event, context, t, started: self.started, out });
        let n = (out.len() - before) as u64;
        // The first that stands for the exchange's record is the promised one.
        let promised = u64::from(bodies.replaces() && self.made == 0 && n > 0);
        if promised == 1
            && let (Some(intent), Some(first)) = (&self.intent, out.get_mut(before))
        {
            first.core.rec = Some(Rec::Outcome);
            first.links.of = intent.get().copied();
        }
        self.made += if bodies.replaces() { n } else { 0 };
        context.extra += n - promised;
        self.bodies = Some(bodies);
    }
}

/// The oldest exchange whose answer has not ended.
fn answering(exchanges: &mut VecDeque<Box<Exchange>>) -> Option<&mut Exchange> {
    exchanges.iter_mut().find(|e| e.response.ended.is_none()).map(Box::as_mut)
}
