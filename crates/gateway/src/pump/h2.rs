//! One HTTP/2 connection (RFC 9113): terminated with the `h2` crate on both sides, each stream bridged to a
//! stream of one connection to the server.
//!
//! Field order and values are kept; HPACK, frame borders, padding and priorities are made anew (`body.cap` says
//! `reencoded`). One task; each stream and each socket is polled only when it was woken. Invariants: a request
//! goes on only after the server has shown that it speaks HTTP/2; nothing of an answer goes to the client
//! before its record is owed; every request that was shown to the decoder is ended there exactly once; what is
//! held in memory is bounded by the windows below, whoever does not read.

mod answer;
mod client_side;
mod deadlines;
mod held;
mod lane;
mod pack;
mod server_side;
mod stream;
mod wakes;
mod wire;

use super::connect::ConnectError;
use super::io::Io;
use super::worker::{Route, Worker};
use crate::config::{Durability, Protocol};
use crate::ring::{Gate, H2What, Ring, Tap, What, Why};
use bytes::Bytes;
use client_side::Down;
use countersign_identity::TlsIdentity;
use countersign_wire::h2::{Pace, PaceLimits};
use deadlines::Deadlines;
use server_side::Up;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use stream::{Bridge, Env, Push};
use wakes::Wakers;
use wire::Wire;

/// Bytes of one stream that a sender may send before they were passed on: its window.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection: so many streams can stand still before others do.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Bytes of one stream that `h2` holds for a socket.
const SEND_BUFFER: usize = 64 << 10;
/// Turns of work after which other connections get theirs.
const TURNS: usize = 64;
/// Bytes of bodies after which a stream makes a record of progress.
const PROGRESS_BYTES: u64 = 64 << 20;

/// Parts of a connection that can be woken; streams follow.
const CLIENT: usize = 0;
const SERVER: usize = 1;
const CLOCK: usize = 2;
const ROOM: usize = 3;
const INTENT: usize = 4;
const FIRST: usize = 5;
/// On gap and strict routes the ring may hold so many times its bound before reading stops after all: requests of
/// a strict route that are never read could not be refused in time.
const OVERSHOOT: usize = 2;

/// What a connection begins with.
pub(crate) struct Start {
    pub(crate) worker: Arc<Worker>,
    pub(crate) route: Arc<Route>,
    pub(crate) conn: u64,
    pub(crate) client: Io,
    /// Bytes of the client that were read already.
    pub(crate) head: Bytes,
    pub(crate) peer: SocketAddr,
    pub(crate) waiting: Arc<AtomicUsize>,
    pub(crate) secured: Option<TlsIdentity>,
    /// Set on strict routes.
    pub(crate) gate: Option<Arc<Gate>>,
}

/// See the module's documentation.
pub(crate) struct Http2 {
    worker: Arc<Worker>,
    route: Arc<Route>,
    conn: u64,
    peer: SocketAddr,
    secured: Option<TlsIdentity>,
    waiting: Arc<AtomicUsize>,
    client: Wire,
    down: Down,
    server: Option<Wire>,
    up: Up,
    failed: Option<ConnectError>,
    gone: bool,
    goaway: Option<u32>,
    wakers: Wakers,
    batch: Vec<usize>,
    bridges: Vec<Option<Box<Bridge>>>,
    free: Vec<usize>,
    up_push: Push,
    down_push: Push,
    gate: Push,
    /// On strict routes: opened by one for each intent, and how many were asked for.
    intents: Option<Arc<Gate>>,
    asked: u64,
    urgent: bool,
    room: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    taps: Vec<Tap>,
    now: u64,
    deadlines: Deadlines,
    /// Bytes already in the counters.
    counted: (u64, u64),
    started: bool,
    /// The client was told to open no further stream.
    leaving: bool,
    /// We end the client's connection for what it did.
    ending: bool,
    end: Option<Why>,
}

impl Http2 {
    pub(crate) fn new(start: Start) -> Http2 {
        let worker = start.worker;
        let limits = &worker.limits;
        let window_ns = u64::try_from(limits.h2_window.as_nanos()).unwrap_or(u64::MAX);
        let pace = Pace::new(PaceLimits {
            resets: limits.h2_resets,
            control: limits.h2_control,
            window_ns,
            continuations: limits.h2_continuations,
        });
        let now = worker.clock.monotonic_ns();
        let deadlines = Deadlines::new(limits, now);
        let client = Wire::client(start.client, start.head, Arc::clone(&worker.clock), pace);
        let down = Down::accept(limits, client.half(), start.route.protocol == Protocol::Mcp);
        Http2 {
            worker,
            route: start.route,
            conn: start.conn,
            peer: start.peer,
            secured: start.secured,
            waiting: start.waiting,
            client,
            down,
            server: None,
            up: Up::Idle,
            failed: None,
            gone: false,
            goaway: None,
            wakers: Wakers::new(),
            batch: Vec::new(),
            bridges: Vec::new(),
            free: Vec::new(),
            up_push: Push::default(),
            down_push: Push::default(),
            gate: Push::default(),
            intents: start.gate,
            asked: 0,
            urgent: false,
            room: None,
            taps: Vec::new(),
            now,
            deadlines,
            counted: (0, 0),
            started: false,
            leaving: false,
            ending: false,
            end: None,
        }
    }

    /// Bytes read from client and server.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.client.lock().total, self.server.as_ref().map_or(0, |s| s.lock().total))
    }

    /// Moves what can move; Ready when the connection has ended.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        self.wakers.hub.enter(cx.waker());
        if !self.started {
            self.started = true;
            self.wakers.wake(CLIENT);
            self.wakers.wake(CLOCK);
        }
        if self.worker.stopped() && self.route.durability != Durability::Gap {
            self.end = Some(Why::Cut("the ledger has stopped"));
        }
        self.drain();
        for _ in 0..TURNS {
            self.now = self.worker.clock.monotonic_ns();
            self.look_at_ring();
            self.wakers.hub.take(&mut self.batch);
            if self.batch.is_empty() && self.end.is_none() {
                self.hand_over();
                if self.wakers.hub.leave() {
                    return Poll::Pending;
                }
                self.wakers.hub.enter(cx.waker());
                continue;
            }
            let mut batch = std::mem::take(&mut self.batch);
            for index in batch.drain(..) {
                self.wakers.polled(index);
                self.poll_part(index);
            }
            self.batch = batch;
            if let Some(why) = self.end {
                self.count_bytes();
                self.hand_over();
                return Poll::Ready(why);
            }
        }
        self.hand_over();
        self.wakers.hub.leave();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_part(&mut self, index: usize) {
        if self.end.is_some() {
            return;
        }
        match index {
            CLIENT => self.poll_client(),
            SERVER => self.poll_server(),
            CLOCK => self.tick(),
            ROOM => {}
            INTENT => self.intent_acknowledged(),
            stream => self.poll_bridge(stream - FIRST),
        }
    }

    /// Polls the stream in `slot` and takes it away when it is over.
    fn poll_bridge(&mut self, slot: usize) {
        self.with_bridge(slot, |bridge, cx, env| {
            bridge.poll(cx, env);
        });
    }

    fn with_bridge(&mut self, slot: usize, work: impl FnOnce(&mut Bridge, &mut Context<'_>, &mut Env<'_>)) {
        let Some(mut bridge) = self.bridges.get_mut(slot).and_then(Option::take) else { return };
        let waker = self.wakers.get(FIRST + slot);
        let (mut broken, mut wanted) = (false, false);
        let asked = self.asked;
        let mut env = Env {
            worker: &self.worker,
            route: &self.route,
            secured: self.secured.as_ref(),
            peer: self.peer,
            conn: self.conn,
            now: self.now,
            taps: &mut self.taps,
            waiting: &self.waiting,
            up: &mut self.up_push,
            down: &mut self.down_push,
            gate: &mut self.gate,
            gap: self.route.durability == Durability::Gap,
            unrecorded: bridge.unrecorded,
            intents: self.intents.as_deref(),
            asked: &mut self.asked,
            wanted: &mut wanted,
            sender: self.up.sender(),
            failed: self.failed,
            gone: self.gone,
            goaway: self.goaway,
            ending: self.ending,
            broken: &mut broken,
        };
        work(&mut bridge, &mut Context::from_waker(&waker), &mut env);
        if broken {
            self.end = Some(Why::Cut("the ledger does not take records"));
        }
        if self.asked > asked {
            self.listen_for_intents();
        }
        if wanted {
            self.connect();
        }
        if bridge.is_over() {
            self.free.push(slot);
            // Its last tap comes before the slot's next first.
            return;
        }
        if bridge.bytes() - bridge.marked.1 >= PROGRESS_BYTES {
            self.progress(&mut bridge);
        }
        if let Some(place) = self.bridges.get_mut(slot) {
            *place = Some(bridge);
        }
    }

    /// A record of what a long stream has come to.
    fn progress(&mut self, bridge: &mut Bridge) {
        bridge.marked = (self.now, bridge.bytes());
        if bridge.unrecorded {
            return;
        }
        self.will_record();
        let what = What::H2 { stream: bridge.id, what: H2What::Progress };
        self.tap(what);
    }

    /// Puts a stream into a free slot and has it polled.
    fn place(&mut self, bridge: impl FnOnce(usize) -> Bridge) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.bridges.push(None);
            self.bridges.len() - 1
        });
        let bridge = bridge(FIRST + slot);
        if let Some(place) = self.bridges.get_mut(slot) {
            *place = Some(Box::new(bridge));
        }
        self.wakers.wake(FIRST + slot);
        slot
    }

    fn open(&self) -> usize {
        self.bridges.len() - self.free.len()
    }

    fn wake_streams(&mut self) {
        for slot in 0..self.bridges.len() {
            if self.bridges.get(slot).is_some_and(Option::is_some) {
                self.wakers.wake(FIRST + slot);
            }
        }
    }

    fn tap(&mut self, what: What) {
        self.taps.push(Tap { conn: self.conn, t: self.now, what });
    }

    fn will_record(&self) {
        self.worker.will_record_on(&self.route, 1);
    }

    pub(crate) fn hand_over(&mut self) {
        if std::mem::take(&mut self.urgent) {
            self.worker.ring_of(&self.route).push_urgent(&mut self.taps);
        } else {
            self.worker.push(&self.route, &mut self.taps);
        }
    }

    /// The ticket of a request's intent; 0 where none is needed.
    fn ask_intent(&mut self) -> u64 {
        if self.intents.is_none() {
            return 0;
        }
        self.asked += 1;
        self.listen_for_intents();
        self.asked
    }

    /// A tap that asks for an intent waits to be handed over.
    fn listen_for_intents(&mut self) {
        if let Some(gate) = &self.intents {
            gate.register(&self.wakers.get(INTENT));
            self.urgent = true;
        }
    }

    fn intent_acknowledged(&mut self) {
        if let Some(gate) = &self.intents {
            gate.register(&self.wakers.get(INTENT));
            self.wake_streams();
        }
    }

    fn count_bytes(&mut self) {
        let (up, down) = self.totals();
        self.worker.counters.bytes_up.fetch_add(up - self.counted.0, Ordering::Relaxed);
        self.worker.counters.bytes_down.fetch_add(down - self.counted.1, Ordering::Relaxed);
        if (up, down) != self.counted {
            self.deadlines.active(self.now);
        }
        self.counted = (up, down);
    }

    /// Stops the reading of both sockets while the ring is full, and begins it again.
    fn look_at_ring(&mut self) {
        let most = self.worker.limits.ring_connection;
        let beyond = self.route.durability != Durability::Bounded;
        let full = move |ring: &Ring, waiting: &AtomicUsize| match beyond {
            // Heads and messages of open streams, which have bounds, are all that is above it there.
            true => ring.waiting() >= OVERSHOOT * ring.bound(),
            false => ring.full() || waiting.load(Ordering::Relaxed) >= most,
        };
        let ring = Arc::clone(self.worker.ring_of(&self.route));
        let mut shut = full(&ring, &self.waiting);
        while shut {
            let room = self.room.get_or_insert_with(|| {
                let (worker, waiting) = (Arc::clone(&self.worker), Arc::clone(&self.waiting));
                let ring = Arc::clone(&ring);
                Box::pin(async move {
                    let drained = ring.drained(&worker.counters);
                    // Between the first look and the registration the decoder may have made room.
                    if full(&ring, &waiting) {
                        drained.await;
                    }
                })
            });
            let waker = self.wakers.get(ROOM);
            if room.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                // What the decoder shall take must be there to be taken.
                self.worker.push(&self.route, &mut self.taps);
                break;
            }
            self.room = None;
            shut = full(&ring, &self.waiting);
        }
        if shut == self.gate.blocked {
            return;
        }
        self.gate.blocked = shut;
        self.client.lock().shut = shut;
        if let Some(server) = &self.server {
            server.lock().shut = shut;
        }
        if !shut {
            self.room = None;
            self.clocks_go_on();
            self.wakers.wake(CLIENT);
            self.wakers.wake(SERVER);
            for index in std::mem::take(&mut self.gate.parked) {
                self.wakers.wake(index);
            }
        }
    }

    /// One side's socket took everything, or not.
    fn flushed(&mut self, client: bool, done: bool) {
        let push = if client { &mut self.down_push } else { &mut self.up_push };
        push.blocked = !done;
        if done {
            push.made = 0;
            for index in std::mem::take(&mut push.parked) {
                self.wakers.wake(index);
            }
        }
    }
}

impl Drop for Http2 {
    /// Also after a panic: what was promised must reach the decoder.
    fn drop(&mut self) {
        self.worker.push(&self.route, &mut self.taps);
    }
}
