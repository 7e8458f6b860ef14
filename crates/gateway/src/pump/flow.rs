//! One connection: two independent directions, each read only while the other side takes bytes and the ring
//! has room. [`Flow::poll`] moves what can move and returns; it never waits inside. Reading is in `reading.rs`,
//! the end in `closing.rs`.

use super::closing::Closing;
use super::connect::{Upstream, connect};
use super::h2::Start;
use super::io::Io;
use super::queue::OutQueue;
use super::stream::Stream;
use super::strict::Intents;
use super::timers::Timers;
use super::worker::{Route, Worker};
use crate::config::Protocol;
use crate::decode::content::Content;
use crate::ring::{ConnOpen, Tap, What, Why};
use crate::stats::count;
use bytes::{Bytes, BytesMut};
use countersign_wire::http1::{Framer, Piece};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// What the connection is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Detecting,
    Http,
    /// A stream protocol; [`Flow::stream`] judges.
    Framed,
    /// Bytes pass unread by the decoder.
    Opaque,
    /// What HTTP switched to: bytes pass, the decoder sees them.
    Switched,
}

/// One direction.
#[derive(Default)]
pub(super) struct Direction {
    /// Read and not let through: part of a head, a chunk line, or requests that must wait.
    pub(super) held: BytesMut,
    /// Let through and not yet written.
    pub(super) out: OutQueue,
    /// The sender ended it.
    pub(super) eof: bool,
    /// Its end was passed on.
    pub(super) shut: bool,
    /// Bytes read.
    pub(super) total: u64,
}

/// A refusal or failure that waits for its turn behind the answers still owed.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastAnswer {
    pub(super) status: u16,
    pub(super) why: &'static str,
    pub(super) about: About,
}

/// What a [`LastAnswer`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The oldest open request, whose server failed. The decoder is told when the answer is given.
    Front,
    /// The youngest open request, which was refused after its head had been let through.
    Current,
    /// A request that was never let through.
    Unseen,
}

/// See the module's documentation.
pub(crate) struct Flow {
    pub(super) worker: Arc<Worker>,
    pub(super) route: Arc<Route>,
    pub(super) conn: u64,
    pub(super) secured: Option<Box<countersign_identity::TlsIdentity>>,
    pub(super) peer: std::net::SocketAddr,
    pub(super) client: Io,
    pub(super) upstream: Upstream,
    pub(super) mode: Mode,
    pub(super) framer: Framer,
    /// Holds the body of the current request against the digest that its sender signed.
    pub(super) content: Option<Box<Content>>,
    /// Set in [`Mode::Framed`].
    pub(super) stream: Option<Stream>,
    /// Set on strict routes.
    pub(super) intents: Option<Intents>,
    /// On gap routes, for each open exchange: whether it passes without a record.
    pub(super) unrecorded: std::collections::VecDeque<bool>,
    /// A stream protocol's messages pass without a record until the ring has room at an idle moment.
    pub(super) dropping: bool,
    /// A tap that asks for an intent waits to be handed over.
    pub(super) urgent: bool,
    pub(super) up: Direction,
    pub(super) down: Direction,
    /// Offset in `up.out` of the request that is being let through.
    pub(super) request_start: u64,
    /// A request's head was let through and its end was not.
    pub(super) request_open: bool,
    /// Bytes of the server that came with the switch of protocols, behind its head.
    pub(super) tunnelled: u64,
    /// Those bytes; they are one piece, since everything behind the head is.
    pub(super) early: Bytes,
    pub(super) blocked: bool,
    pub(super) answered: u64,
    /// The answer that is on its way said that it is the last.
    pub(super) last_said: bool,
    /// A request that is held until its body is judged, and what refuses it in its own words.
    pub(super) call: Option<Box<super::mcp::Held>>,
    pub(super) answer: Option<Bytes>,
    pub(super) last_answer: Option<LastAnswer>,
    pub(super) closing: Closing,
    pub(super) cut: Option<&'static str>,
    pub(super) taps: Vec<Tap>,
    pub(super) pieces: Vec<Piece>,
    /// Body bytes of this connection in the ring; the decoder takes them off.
    pub(super) waiting: Arc<AtomicUsize>,
    pub(super) now: u64,
    pub(super) timers: Timers,
    pub(super) room: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The client speaks HTTP/2: what it sent so far. The connection goes on in another engine.
    pub(super) http2: Option<Bytes>,
}

impl Flow {
    pub(crate) fn new(
        worker: Arc<Worker>,
        route: Arc<Route>,
        conn: u64,
        client: Io,
        open: &ConnOpen,
        (secured, end_point): (Option<Box<countersign_identity::TlsIdentity>>, Option<Vec<u8>>),
    ) -> Flow {
        let now = worker.clock.monotonic_ns();
        let timers = Timers::new(&worker.limits, now);
        let mut flow = Flow {
            worker,
            route,
            conn,
            secured,
            peer: open.src,
            client,
            upstream: Upstream::Idle,
            mode: Mode::Detecting,
            framer: Framer::default(),
            content: None,
            stream: None,
            intents: open.gate.clone().map(Intents::new),
            unrecorded: Default::default(),
            dropping: false,
            urgent: false,
            up: Direction::default(),
            down: Direction::default(),
            request_start: 0,
            request_open: false,
            tunnelled: 0,
            early: Bytes::new(),
            blocked: false,
            answered: 0,
            last_said: false,
            call: None,
            answer: None,
            last_answer: None,
            closing: Closing::No,
            cut: None,
            taps: Vec::new(),
            pieces: Vec::new(),
            waiting: Arc::clone(&open.waiting),
            now,
            timers,
            room: None,
            http2: None,
        };
        match flow.route.protocol {
            Protocol::Auto => {}
            Protocol::Http1 | Protocol::Mcp => flow.mode = Mode::Http,
            // Begins in the other engine.
            Protocol::Http2 => {}
            Protocol::Postgres | Protocol::Redis => flow.begin_stream(end_point),
            Protocol::Opaque => flow.turn_opaque(if flow.route.pass_through { "tls" } else { "configured" }),
        }
        flow
    }

    /// Bytes of the client that were read before the flow began.
    pub(crate) fn begin_with(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.up.total += bytes.len() as u64;
            self.worker.counters.bytes_up.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.client_sent(bytes);
        }
    }

    /// Moves what can move; Ready when the connection has ended.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        self.now = self.worker.clock.monotonic_ns();
        if self.worker.stopped() && !self.is_gap() {
            return Poll::Ready(Why::Cut("the ledger has stopped"));
        }
        loop {
            let mut moved = self.read_client(cx);
            moved |= self.drive_upstream(cx);
            moved |= self.read_upstream(cx);
            moved |= self.give_last_answer();
            moved |= self.write_client(cx);
            if moved {
                self.timers.active(self.now);
            }
            moved |= self.drained();
            moved |= self.check_timers(cx);
            self.hand_over();
            if let Some(why) = self.ended() {
                return Poll::Ready(why);
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    /// After the end: what the connection goes on with, when the client speaks HTTP/2.
    pub(crate) fn into_http2(self) -> Option<Start> {
        Some(Start {
            head: self.http2?,
            worker: self.worker,
            route: self.route,
            conn: self.conn,
            client: self.client,
            peer: self.peer,
            waiting: self.waiting,
            secured: self.secured.map(|identity| *identity),
            gate: self.intents.map(Intents::into_gate),
        })
    }

    /// Bytes read from client and server.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.up.total, self.down.total)
    }

    pub(super) fn tap(&mut self, what: What) {
        let waits = what.waiting();
        if waits > 0 {
            self.waiting.fetch_add(waits, Ordering::Relaxed);
        }
        self.taps.push(Tap { conn: self.conn, t: self.now, what });
    }

    pub(super) fn hand_over(&mut self) {
        if std::mem::take(&mut self.urgent) {
            self.worker.ring_of(&self.route).push_urgent(&mut self.taps);
        } else {
            self.worker.push(&self.route, &mut self.taps);
        }
    }

    pub(super) fn will_record(&self, n: u64) {
        self.worker.will_record_on(&self.route, n);
    }

    /// On a strict route: what is queued for the server from `offset` on waits for its intent.
    pub(super) fn ask_intent(&mut self, offset: u64) {
        if let Some(intents) = &mut self.intents {
            intents.ask(offset, self.now);
            self.urgent = true;
        }
    }

    fn drive_upstream(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.upstream {
            Upstream::Gone => false,
            Upstream::Idle => {
                let wanted = match self.mode {
                    Mode::Http => self.up.out.len() > 0,
                    // Servers of stream protocols may be the first to speak.
                    Mode::Framed | Mode::Opaque | Mode::Switched => true,
                    Mode::Detecting => self.timers.detect_over(self.now),
                };
                if !wanted || self.closing != Closing::No {
                    return false;
                }
                self.upstream = connect(Arc::clone(&self.route), Arc::clone(&self.worker.limits));
                true
            }
            Upstream::Connecting(attempt) => match attempt.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(Ok(io)) => {
                    self.now = self.worker.clock.monotonic_ns();
                    if let Ok(address) = io.peer_addr() {
                        self.tap(What::Upstream(address, io.certificates()));
                    }
                    self.login_connected(&io);
                    self.upstream = Upstream::Ready(io);
                    true
                }
                Poll::Ready(Err(e)) => {
                    self.upstream = Upstream::Gone;
                    count(&self.worker.counters.upstream_failed);
                    self.upstream_failed(e.status, e.why);
                    true
                }
            },
            Upstream::Ready(io) => {
                if self.up.out.is_clear() {
                    let done = self.up.eof && !self.up.shut && self.up.held.is_empty();
                    if !done || self.last_answer.is_some() {
                        return false;
                    }
                    // An error here means that the server is gone, which reading tells as well.
                    self.up.shut = Pin::new(io).poll_shutdown(cx).is_ready();
                    return self.up.shut;
                }
                let limit = self.intents.as_mut().and_then(|intents| intents.limit(cx.waker()));
                match self.up.out.poll_write_to(limit, io, cx) {
                    Poll::Pending => false,
                    Poll::Ready(Ok(n)) => {
                        self.timers.sent(self.now);
                        n > 0
                    }
                    Poll::Ready(Err(_)) => {
                        // The server may have answered before it stopped reading: keep reading it.
                        self.up.out.clear();
                        self.up.eof = true;
                        self.up.shut = true;
                        true
                    }
                }
            }
        }
    }
}
