//! Off the path: turns taps into events and hands them to the recorder, in batches.
//!
//! One thread, one ring, one stream of records. Invariant: every tap that promised a record
//! ([`crate::pump::worker::Worker::will_record`]) leads to exactly one event, whatever the bytes are and even if
//! decoding panics. The recorder may block; the ring then fills and reading stops.

mod event;
mod exchange;
pub(crate) mod identify;
pub(crate) mod path;
pub(crate) mod redact;
mod request;
mod session;

use crate::recorder::{BodyKey, Recorder};
use crate::ring::{ConnOpen, Ring, Tap, What};
use crate::stats::{Counters, count};
use countersign_event::{Event, Rec};
use countersign_identity::Identities;
use countersign_ledger::Clock;
use countersign_policy::Policy;
use exchange::Conn;
use identify::Checks;
use path::Templates;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Weight of worked-off taps after which the ring's room is given back inside a batch.
const RELEASE_STEP: usize = 256 << 10;
/// Events handed to the recorder at once.
const EVENTS_MAX: usize = 1_024;

/// What the decoder knows of a listener.
pub(crate) struct RouteFacts {
    pub(crate) name: String,
    pub(crate) service: String,
}

/// What all connections share in decoding.
pub(crate) struct Context {
    pub(crate) routes: Vec<RouteFacts>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) key: BodyKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: [u8; 8],
    /// First half of every `links.conn`: tells runs apart.
    pub(crate) run: [u8; 8],
    pub(crate) templates: Templates,
    pub(crate) checks: Checks,
    /// Wall time less monotonic time, set for each batch.
    pub(crate) wall_offset: u64,
    /// Records made since the last hand-over that nobody promised: they are owed before they are recorded.
    pub(crate) extra: u64,
}

impl Context {
    /// Wall time, UTC ns, of a monotonic time.
    pub(crate) fn wall(&self, t: u64) -> u64 {
        self.wall_offset.wrapping_add(t)
    }
}

/// See the module's documentation.
pub(crate) struct Decoder {
    ring: Arc<Ring>,
    recorder: Arc<dyn Recorder>,
    counters: Arc<Counters>,
    context: Context,
    /// As many as connections are open; the gateway bounds them.
    conns: HashMap<u64, Conn>,
    events: Vec<Event>,
}

impl Decoder {
    pub(crate) fn new(
        ring: Arc<Ring>,
        recorder: Arc<dyn Recorder>,
        counters: Arc<Counters>,
        context: Context,
    ) -> Decoder {
        Decoder { ring, recorder, counters, context, conns: HashMap::new(), events: Vec::new() }
    }

    /// Works until the ring is closed and empty.
    pub(crate) fn run(mut self) {
        let mut batch = Vec::new();
        while self.ring.take(&mut batch) {
            let (wall, monotonic) = (self.context.clock.now_ns(), self.context.clock.monotonic_ns());
            self.context.wall_offset = wall.wrapping_sub(monotonic);
            let mut weight = 0;
            for tap in batch.drain(..) {
                weight += tap.weight();
                self.contained(tap);
                if weight >= RELEASE_STEP {
                    self.ring.release(weight);
                    weight = 0;
                }
                if self.events.len() >= EVENTS_MAX {
                    self.flush();
                }
            }
            self.flush();
            self.ring.release(weight);
        }
    }

    fn flush(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let n = self.events.len() as u64;
        let extra = std::mem::take(&mut self.context.extra);
        if extra > 0 && self.recorder.owe(extra).is_ok() {
            self.counters.owed.fetch_add(extra, Ordering::Relaxed);
        }
        // Blocks while the ledger's intake is full; that is the back-pressure.
        match self.recorder.record(std::mem::take(&mut self.events)) {
            Ok(()) => {
                self.counters.recorded.fetch_add(n, Ordering::Relaxed);
            }
            Err(e) => {
                self.counters.lost.fetch_add(n, Ordering::Relaxed);
                if self.counters.audit_blocked.swap(1, Ordering::Relaxed) == 0 {
                    tracing::error!(error = %e, "gateway: traffic stops until the ledger is back");
                }
            }
        }
    }

    /// A panic costs the details of one connection's records, never a record.
    fn contained(&mut self, tap: Tap) {
        let id = tap.conn;
        let before = self.events.len();
        let promised = self.conns.get(&id).map_or(0, Conn::owed) + promises(&tap.what);
        if catch_unwind(AssertUnwindSafe(|| self.decode(tap))).is_ok() {
            return;
        }
        count(&self.counters.decoder_panics);
        // What the connection owed and has not produced; from here on it is recorded bare.
        let made = self.events.len() - before;
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.break_off();
        }
        for _ in made..promised {
            let bare = self.bare();
            self.events.push(bare);
        }
    }

    fn bare(&self) -> Event {
        let mut event = Event::default();
        event.core.t_obs = self.context.clock.now_ns();
        event.core.rec = Some(Rec::Cut);
        event.content.err = "the gateway's decoder failed on this exchange".to_owned();
        event
    }

    fn decode(&mut self, tap: Tap) {
        match tap.what {
            What::Open(open) => {
                let conn = Conn::new(&self.context, tap.conn, *open);
                self.conns.insert(tap.conn, conn);
            }
            What::Close { up, down, why } => {
                if let Some(conn) = self.conns.remove(&tap.conn) {
                    conn.close(&mut self.context, tap.t, up, down, why, &mut self.events);
                }
            }
            What::Limited { open, n, which } => {
                let event = self.limited(tap.conn, tap.t, *open, n, which);
                self.events.push(event);
            }
            what => match self.conns.get_mut(&tap.conn) {
                Some(conn) if !conn.is_broken() => conn.tap(&mut self.context, tap.t, what, &mut self.events),
                broken => {
                    if let Some(conn) = broken {
                        conn.waive(&what);
                    }
                    for _ in 0..promises(&what) {
                        let bare = self.bare();
                        self.events.push(bare);
                    }
                }
            },
        }
    }

    /// One tap outside of a run, for the fuzz bodies.
    pub(crate) fn feed(&mut self, tap: Tap) -> Vec<Event> {
        self.contained(tap);
        std::mem::take(&mut self.events)
    }

    fn limited(&mut self, id: u64, t: u64, open: ConnOpen, n: u64, which: &str) -> Event {
        Conn::new(&self.context, id, open).limited(&self.context, t, n, which)
    }
}

/// Records that a tap promised.
fn promises(what: &What) -> usize {
    match what {
        What::Request { .. }
        | What::Refused { current: false, .. }
        | What::Opaque { .. }
        | What::Switched { .. }
        | What::Broken { .. }
        | What::HandshakeFailed { .. }
        | What::Limited { .. } => 1,
        What::Framed { records, .. } | What::Bytes { records, .. } => *records as usize,
        _ => 0,
    }
}
