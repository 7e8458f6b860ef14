//! One connection: two independent directions, each read only while the other side takes bytes and the ring
//! has room. [`Flow::poll`] moves what can move and returns; it never waits inside.

use super::connect::{Upstream, connect};
use super::h2::Start;
use super::io::Io;
use super::queue::OutQueue;
use super::stream::Stream;
use super::strict::Intents;
use super::timers::Timers;
use super::worker::{Route, Worker};
use crate::config::Protocol;
use crate::ring::{ConnOpen, Tap, Way, What, Why};
use crate::stats::count;
use bytes::{Bytes, BytesMut};
use countersign_wire::detect::{Detected, PEEK_MAX, detect};
use countersign_wire::http1::{Framer, Piece};
use countersign_wire::proxy::{self, Proxied};
use countersign_wire::stream::Farewell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// On gap routes the ring may hold so many times its bound before reading stops after all.
const GAP_OVERSHOOT: usize = 2;
/// After the last answer, bytes of the client that are read and thrown away so that it can read the answer.
const LINGER_MAX: usize = 256 << 10;

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

/// How far the end of the connection has come once [`Flow::close_after_flush`] was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// `linger`: an answer of ours is the last thing written, and must not be eaten by a reset.
    Flushing {
        linger: bool,
    },
    Lingering {
        read: usize,
    },
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
    room: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The client speaks HTTP/2: what it sent so far. The connection goes on in another engine.
    http2: Option<Bytes>,
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
            self.worker.ring.push_urgent(&mut self.taps);
        } else {
            self.worker.push(&mut self.taps);
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

    /// Whether the ring has room for what would be read; registers for the next time when not.
    fn ring_has_room(&mut self, cx: &mut Context<'_>) -> bool {
        // What is above the bound there is heads and the messages of open exchanges, which have bounds.
        if self.is_gap() && self.worker.ring.waiting() < GAP_OVERSHOOT * self.worker.ring.bound() {
            return true;
        }
        let most = self.worker.limits.ring_connection;
        loop {
            if !self.worker.ring.full() && self.waiting.load(Ordering::Relaxed) < most {
                self.room = None;
                return true;
            }
            let room = self.room.get_or_insert_with(|| {
                let (worker, waiting) = (Arc::clone(&self.worker), Arc::clone(&self.waiting));
                Box::pin(async move {
                    let drained = worker.ring.drained(&worker.counters);
                    // Between the first look and the registration the decoder may have made room.
                    if worker.ring.full() || waiting.load(Ordering::Relaxed) >= most {
                        drained.await;
                    }
                })
            });
            if room.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.room = None;
        }
    }

    fn read_client(&mut self, cx: &mut Context<'_>) -> bool {
        match self.closing {
            Closing::Lingering { read } => return self.linger(read, cx),
            Closing::Flushing { .. } => return false,
            Closing::No => {}
        }
        let stopped = self.up.eof || self.last_answer.is_some() || self.blocked || self.last_said;
        if stopped || self.up.out.len() >= self.worker.limits.write_high || !self.ring_has_room(cx) {
            return false;
        }
        match self.worker.poll_read(&mut self.client, cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(bytes)) if bytes.is_empty() => {
                self.up.eof = true;
                self.client_ended();
                true
            }
            Poll::Ready(Ok(bytes)) => {
                self.up.total += bytes.len() as u64;
                self.worker.counters.bytes_up.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                self.client_sent(bytes);
                true
            }
            Poll::Ready(Err(_)) => {
                self.cut = Some("client reset the connection");
                true
            }
        }
    }

    /// Reads and drops, so that unread input does not turn our close into a reset that eats the last answer.
    fn linger(&mut self, read: usize, cx: &mut Context<'_>) -> bool {
        match self.worker.poll_read(&mut self.client, cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(bytes)) if !bytes.is_empty() && read + bytes.len() < LINGER_MAX => {
                self.closing = Closing::Lingering { read: read + bytes.len() };
                true
            }
            Poll::Ready(_) => {
                self.up.eof = true;
                self.closing = Closing::Lingering { read: LINGER_MAX };
                true
            }
        }
    }

    fn client_sent(&mut self, bytes: Bytes) {
        match self.mode {
            Mode::Opaque => self.up.out.push(bytes),
            Mode::Switched => self.pass_switched(Way::Up, bytes),
            Mode::Framed => self.frame_stream(Way::Up, &bytes),
            Mode::Http => self.frame_requests(&bytes),
            Mode::Detecting => {
                let enough = self.up.held.len() + bytes.len() >= PEEK_MAX;
                if self.up.held.is_empty() {
                    self.judge_first(&bytes.clone(), bytes, enough);
                } else {
                    self.up.held.extend_from_slice(&bytes);
                    let all = self.up.held.split().freeze();
                    self.judge_first(&all.clone(), all, enough);
                }
            }
        }
    }

    fn judge_first(&mut self, first: &[u8], all: Bytes, enough: bool) {
        // From a peer that is not listed for it, a PROXY header is a claim that must not pass: as HTTP it is none,
        // so it is refused by name.
        let claimed = matches!(proxy::parse(first), Ok(Proxied::Header { .. }) | Err(_));
        match detect(first) {
            _ if claimed => {
                self.mode = Mode::Http;
                self.frame_requests(&all);
            }
            Detected::Http1 => {
                self.mode = Mode::Http;
                self.frame_requests(&all);
            }
            Detected::Http2 => self.http2 = Some(all),
            Detected::Undecided if !enough && !self.up.eof => {
                self.up.held.extend_from_slice(&all);
                self.timers.undecided(self.now, self.worker.limits.detect);
            }
            other => {
                self.turn_opaque(other.word());
                self.up.out.push(all);
            }
        }
    }

    /// The first bytes have not decided in time: they pass unread.
    pub(super) fn give_up_detecting(&mut self) {
        let all = self.up.held.split().freeze();
        self.judge_first(&all.clone(), all, true);
    }

    /// From here on bytes pass unread, and one record says so.
    pub(super) fn turn_opaque(&mut self, first: &'static str) {
        self.mode = Mode::Opaque;
        self.blocked = false;
        self.will_record(1);
        count(&self.worker.counters.opaque);
        let before = if self.framer.is_tunnel() { self.before_tunnel() } else { (0, 0) };
        self.tap(What::Opaque { first, before });
        if !self.up.held.is_empty() {
            let held = self.up.held.split().freeze();
            self.up.out.push(held);
        }
    }

    /// Bytes up and down that were read as messages before the tunnel began.
    pub(super) fn before_tunnel(&self) -> (u64, u64) {
        (self.up.total - self.up.held.len() as u64, self.down.total - self.tunnelled)
    }

    fn client_ended(&mut self) {
        if self.mode == Mode::Detecting {
            if self.up.held.is_empty() {
                return;
            }
            let all = self.up.held.split().freeze();
            self.judge_first(&all.clone(), all, true);
        }
        match self.mode {
            Mode::Http => self.requests_ended(),
            // The rest of a message that never became whole.
            Mode::Framed => self.up.held.clear(),
            Mode::Detecting | Mode::Opaque | Mode::Switched => {}
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
                        self.tap(What::Upstream(address));
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
                let limit = self.intents.as_mut().and_then(Intents::limit);
                if let Some(intents) = &self.intents {
                    intents.register(cx.waker());
                }
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

    fn read_upstream(&mut self, cx: &mut Context<'_>) -> bool {
        let stopped =
            self.down.eof || self.closing != Closing::No || !matches!(self.upstream, Upstream::Ready(_));
        if stopped || self.down.out.len() >= self.worker.limits.write_high || !self.ring_has_room(cx) {
            return false;
        }
        let Upstream::Ready(io) = &mut self.upstream else { return false };
        match self.worker.poll_read(io, cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(bytes)) if !bytes.is_empty() => {
                self.down.total += bytes.len() as u64;
                self.worker.counters.bytes_down.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                match self.mode {
                    Mode::Opaque => self.down.out.push(bytes),
                    Mode::Switched => self.pass_switched(Way::Down, bytes),
                    Mode::Framed => self.frame_stream(Way::Down, &bytes),
                    Mode::Http => self.frame_responses(&bytes),
                    Mode::Detecting => {
                        self.turn_opaque("server-first");
                        self.down.out.push(bytes);
                    }
                }
                true
            }
            Poll::Ready(ended) => {
                self.down.eof = true;
                if self.mode == Mode::Framed {
                    let held = self.down.held.split().freeze();
                    self.down.out.push(held);
                }
                if self.mode == Mode::Http {
                    self.responses_ended(ended.is_err());
                } else if ended.is_err() {
                    self.cut = Some("server reset the connection");
                }
                true
            }
        }
    }

    fn write_client(&mut self, cx: &mut Context<'_>) -> bool {
        if self.down.out.is_clear() {
            let closing = matches!(self.closing, Closing::Flushing { .. });
            let ended = self.down.eof && self.down.held.is_empty() && self.last_answer.is_none();
            if self.down.shut || !(closing || ended) {
                return false;
            }
            if Pin::new(&mut self.client).poll_shutdown(cx).is_pending() {
                return false;
            }
            self.down.shut = true;
            match self.closing {
                Closing::Flushing { linger: true } => self.closing = Closing::Lingering { read: 0 },
                Closing::Flushing { linger: false } => self.closing = Closing::Lingering { read: LINGER_MAX },
                _ => {}
            }
            return true;
        }
        if self.worker.owe().is_err() {
            self.cut = Some("the ledger does not take records");
            return true;
        }
        match self.down.out.poll_write(&mut self.client, cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(n)) => n > 0,
            Poll::Ready(Err(_)) => {
                self.cut = Some("client closed while it was answered");
                true
            }
        }
    }

    /// Writes what is queued for the client and closes.
    pub(super) fn close_after_flush(&mut self) {
        self.close(false);
    }

    /// As [`Flow::close_after_flush`]; with `linger`, the rest of the client's direction is read before the end.
    pub(super) fn close(&mut self, linger: bool) {
        if self.closing == Closing::No {
            self.closing = Closing::Flushing { linger };
            self.upstream = Upstream::Gone;
            self.up.out.clear();
            self.timers.linger(self.now);
        }
    }

    /// Orderly shutdown of the gateway: an idle connection ends now, a busy one after its answers.
    fn drained(&mut self) -> bool {
        if !self.worker.drain.ending() || self.closing != Closing::No {
            return false;
        }
        let idle = match self.mode {
            Mode::Opaque | Mode::Switched => false,
            Mode::Framed => self.stream.as_ref().is_none_or(Stream::idle),
            Mode::Detecting | Mode::Http => self.framer.open() == 0 && !self.framer.is_tunnel(),
        };
        let cutting = self.worker.drain.cutting();
        let clear = self.up.held.is_empty() && self.up.out.is_clear() && self.down.out.is_clear();
        if idle && clear && (cutting || !self.worker.drain.gentle() || self.mode == Mode::Framed) {
            self.say_farewell(Farewell::Shutdown);
            self.close_after_flush();
            return true;
        }
        if cutting {
            self.cut = Some("gateway shut down");
        }
        cutting
    }

    fn ended(&mut self) -> Option<Why> {
        if self.http2.is_some() {
            return Some(Why::Done);
        }
        if let Some(why) = self.cut {
            return Some(Why::Cut(why));
        }
        if let Closing::Lingering { read } = self.closing {
            return (read >= LINGER_MAX || self.timers.linger_over(self.now)).then_some(Why::Done);
        }
        // A client that came and went without a byte.
        let nothing = self.up.eof && self.up.out.is_clear() && matches!(self.upstream, Upstream::Idle);
        if nothing && self.last_answer.is_none() && self.down.out.is_clear() {
            return Some(Why::Done);
        }
        (self.up.eof && self.up.shut && self.down.eof && self.down.shut).then_some(Why::Done)
    }
}
