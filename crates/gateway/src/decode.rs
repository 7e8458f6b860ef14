//! Off the path: turns taps into events and hands them to the recorder, in batches.
//!
//! One thread, one ring; strict routes have both of their own, so that what callers wait for stands behind nothing
//! else. Invariant: every tap that promised a record ([`crate::pump::worker::Worker::will_record`]) leads to exactly
//! one event, whatever the bytes are and even if decoding panics. The recorder may block; the ring then fills and
//! reading stops.

mod bodies;
pub(crate) mod causes;
pub(crate) mod content;
mod ending;
pub(crate) mod event;
mod exchange;
mod fold;
mod grpc;
pub(crate) mod grpc_fields;
mod h2;
mod headers;
pub(crate) mod identify;
pub(crate) mod mcp;
pub(crate) mod path;
mod postgres;
mod progress;
pub(crate) mod redact;
mod redis;
mod request;
mod session;
mod sse;
pub(crate) mod talk;
mod websocket;

use crate::config::{BodyCapture, Purpose, Record};
use crate::recorder::{BodyKey, RecordError, Recorder};
use crate::ring::{ConnOpen, Gate, H2What, Ring, Tap, What};
use crate::stats::{Counters, count};
use causes::Causes;
use countersign_event::{Body, Event, Rec, Shared, Target};
use countersign_identity::{Disagreement, Identities, disagreement};
use countersign_ledger::Clock;
use countersign_policy::Policy;
use exchange::Conn;
use fold::{FOLD_NS, Folder};
use grpc_fields::PayloadFields;
use identify::Checks;
use path::Templates;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Weight of worked-off taps after which the ring's room is given back inside a batch.
const RELEASE_STEP: usize = 256 << 10;
/// Longest text of a disagreement, bytes.
const DISAGREEMENT_MAX: usize = 1_024;
/// Events handed to the recorder at once: few enough that they stay in the processor's caches on their way, and
/// that the room for them needs no call to the kernel.
const EVENTS_MAX: usize = 32;

/// What the decoder knows of a listener.
pub(crate) struct RouteFacts {
    pub(crate) name: String,
    pub(crate) service: String,
    /// [`event::target`] of its service.
    pub(crate) target: Shared<Target>,
    /// Its records go to the recorder of strict routes.
    pub(crate) strict: bool,
    pub(crate) purpose: Purpose,
    pub(crate) record: Record,
    pub(crate) capture: Option<BodyCapture>,
    /// Parameters of statements are kept.
    pub(crate) parameters: bool,
    /// Whether the bodies of its exchanges are MCP.
    pub(crate) mcp: bool,
    /// Fields of gRPC messages that are kept.
    pub(crate) grpc: Option<Arc<PayloadFields>>,
}

/// An intent that waits to be handed over.
pub(crate) struct Intent {
    pub(crate) event: Event,
    /// Where its id is left for the outcome.
    pub(crate) id: Arc<OnceLock<[u8; 16]>>,
}

/// The intents that one tap asked for; all durable, they open the gate by one.
pub(crate) struct Asked {
    pub(crate) intents: Vec<Intent>,
    pub(crate) gate: Arc<Gate>,
}

/// What all connections share in decoding.
pub(crate) struct Context {
    pub(crate) routes: Vec<RouteFacts>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) key: BodyKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: [u8; 8],
    /// [`event::captured`].
    pub(crate) body: Shared<Body>,
    /// First half of every `links.conn`: tells runs apart.
    pub(crate) run: [u8; 8],
    pub(crate) templates: Templates,
    pub(crate) checks: Checks,
    /// Shared by all decoders of the gateway.
    pub(crate) mcp: Arc<mcp::Sessions>,
    /// Shared by all decoders of the gateway.
    pub(crate) causes: Arc<Causes>,
    /// This decoder's own.
    pub(crate) ring: Arc<Ring>,
    /// Wall time less monotonic time, set for each batch.
    pub(crate) wall_offset: u64,
    /// Records made since the last hand-over that nobody promised: they are owed before they are recorded.
    pub(crate) extra: u64,
    /// Intents made since the last hand-over.
    pub(crate) intents: Vec<Asked>,
}

impl Context {
    pub(crate) fn payload_fields(&self, route: usize) -> Option<Arc<PayloadFields>> {
        self.routes.get(route).and_then(|r| r.grpc.clone())
    }

    /// Wall time, UTC ns, of a monotonic time.
    pub(crate) fn wall(&self, t: u64) -> u64 {
        self.wall_offset.wrapping_add(t)
    }
}

/// See the module's documentation.
pub(crate) struct Decoder {
    ring: Arc<Ring>,
    recorder: Arc<dyn Recorder>,
    /// Takes the records of strict routes, in a stream of their own: nothing in it is ever promised.
    strict: Arc<dyn Recorder>,
    counters: Arc<Counters>,
    context: Context,
    /// As many as connections are open; the gateway bounds them.
    /// Boxed, because a map keeps up to twice the room that its entries take.
    conns: HashMap<u64, Box<Conn>>,
    events: Vec<Event>,
    strict_events: Vec<Event>,
    folder: Folder,
    /// Some route folds.
    folds: bool,
}

impl Decoder {
    pub(crate) fn new(
        ring: Arc<Ring>,
        recorder: Arc<dyn Recorder>,
        strict: Arc<dyn Recorder>,
        counters: Arc<Counters>,
        context: Context,
    ) -> Decoder {
        let (conns, events, strict_events, folder) = Default::default();
        let folds = context.routes.iter().any(|r| r.record != Record::All && !r.strict);
        Decoder { ring, recorder, strict, counters, context, conns, events, strict_events, folder, folds }
    }

    /// Works until the ring is closed and empty.
    pub(crate) fn run(mut self) {
        let mut batch = Vec::new();
        while self.ring.take(&mut batch, self.folder.since().map(|_| Duration::from_nanos(FOLD_NS))) {
            let (wall, monotonic) = (self.context.clock.now_ns(), self.context.clock.monotonic_ns());
            self.context.wall_offset = wall.wrapping_sub(monotonic);
            let mut weight = 0;
            for tap in batch.drain(..) {
                weight += tap.weight();
                let t = tap.t;
                self.contained(tap);
                self.ring.worked_off(t);
                if weight >= RELEASE_STEP {
                    self.ring.release(weight);
                    weight = 0;
                }
                if self.events.len() + self.strict_events.len() >= EVENTS_MAX {
                    self.flush();
                }
            }
            self.flush();
            self.ring.release(weight);
        }
        self.fold(true);
        self.hand_over_all();
    }

    /// Takes what is folded out of what is handed over, and puts back what was folded for long enough.
    fn fold(&mut self, at_once: bool) {
        let now = self.context.clock.monotonic_ns();
        let folded = self.folder.take(&self.context.routes, now, &mut self.events);
        if folded > 0 {
            self.recorder.folded(folded);
            self.counters.folded.fetch_add(folded, Ordering::Relaxed);
        }
        self.events.extend(self.folder.release(now, at_once));
    }

    fn flush(&mut self) {
        let extra = std::mem::take(&mut self.context.extra);
        if extra > 0 && self.recorder.owe(extra).is_ok() {
            self.counters.owed.fetch_add(extra, Ordering::Relaxed);
        }
        if self.folds {
            self.fold(false);
        }
        self.hand_over_all();
    }

    fn hand_over_all(&mut self) {
        // The next batch will be about as large as this one: growing step by step would copy it again and again.
        let next = Vec::with_capacity(self.events.len().next_power_of_two().min(EVENTS_MAX));
        let events = std::mem::replace(&mut self.events, next);
        let strict = std::mem::take(&mut self.strict_events);
        self.hand_over(&Arc::clone(&self.recorder), events);
        self.hand_over(&Arc::clone(&self.strict), strict);
        let asked = std::mem::take(&mut self.context.intents);
        if !asked.is_empty() {
            self.hand_over_intents(asked);
        }
    }

    fn hand_over(&mut self, recorder: &Arc<dyn Recorder>, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut events = events;
        events.iter_mut().for_each(mark_disagreement);
        let n = events.len() as u64;
        // Blocks while the ledger's intake is full; that is the back-pressure.
        let result = recorder.record(events);
        self.counted(n, result);
    }

    fn counted(&self, n: u64, result: Result<(), RecordError>) {
        match result {
            Ok(()) => {
                self.counters.recorded.fetch_add(n, Ordering::Relaxed);
            }
            Err(e) => {
                self.counters.lost.fetch_add(n, Ordering::Relaxed);
                if self.counters.audit_stopped.swap(1, Ordering::Relaxed) == 0 {
                    tracing::error!(error = %e, "gateway: traffic stops until the ledger is back");
                }
            }
        }
    }

    /// Each gate opens when all intents of its tap are durable, and never when one of them was rejected.
    fn hand_over_intents(&mut self, asked: Vec<Asked>) {
        let (mut events, mut ids, mut gates) = (Vec::new(), Vec::new(), Vec::new());
        for one in asked {
            let first = events.len();
            for intent in one.intents {
                events.push(intent.event);
                ids.push(intent.id);
            }
            gates.push((first..events.len(), one.gate));
        }
        let n = events.len() as u64;
        let shut: Vec<Arc<Gate>> = gates.iter().map(|(_, gate)| Arc::clone(gate)).collect();
        let durable = Box::new(move |rejected: Option<Vec<usize>>| {
            for (range, gate) in gates {
                let fine = rejected.as_ref().is_some_and(|r| !r.iter().any(|at| range.contains(at)));
                gate.open(fine);
            }
        });
        let result = self.strict.record_intents(events, durable).map(|eids| {
            for (id, eid) in ids.into_iter().zip(eids) {
                let _ = id.set(eid);
            }
        });
        if result.is_err() {
            shut.iter().for_each(|gate| gate.open(false));
        }
        self.counted(n, result);
    }

    /// A panic costs the details of one connection's records, never a record.
    fn contained(&mut self, tap: Tap) {
        let id = tap.conn;
        let before = self.events.len() + self.strict_events.len();
        let promised = self.conns.get(&id).map_or(0, |conn| conn.owed()) + promises(&tap.what);
        if catch_unwind(AssertUnwindSafe(|| self.decode(tap))).is_ok() {
            return;
        }
        count(&self.counters.decoder_panics);
        // What the connection owed and has not produced; from here on it is recorded bare.
        let made = self.events.len() + self.strict_events.len() - before;
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
        let strict = self.conns.get(&tap.conn).is_some_and(|conn| conn.open.gate.is_some());
        if strict && ends(&tap.what) && !self.context.intents.is_empty() {
            // What ends without having been let through may be in one batch with its intent, whose id it names.
            self.hand_over_all();
        }
        let events = if strict { &mut self.strict_events } else { &mut self.events };
        match tap.what {
            What::Open(open) => {
                let conn = Conn::new(&self.context, tap.conn, *open);
                self.conns.insert(tap.conn, Box::new(conn));
            }
            What::Close { up, down, why } => {
                if let Some(conn) = self.conns.remove(&tap.conn) {
                    conn.close(&mut self.context, tap.t, up, down, why, events);
                }
            }
            What::Limited { open, n, which } => {
                let strict = self.context.routes.get(open.route).is_some_and(|r| r.strict);
                let event = self.limited(tap.conn, tap.t, *open, n, which);
                let events = if strict { &mut self.strict_events } else { &mut self.events };
                events.push(event);
            }
            What::Dropped { route, caller, n } => {
                let event = self.dropped(tap.t, route, caller, n);
                self.events.push(event);
            }
            what => match self.conns.get_mut(&tap.conn) {
                Some(conn) if !conn.is_broken() => conn.tap(&mut self.context, tap.t, what, events),
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

    /// What a GAP does not say: which route and which caller it concerns.
    fn dropped(&self, t: u64, route: usize, caller: String, n: u64) -> Event {
        let mut event = Event::default();
        event.core.t_obs = self.context.wall(t);
        event.core.rec = Some(Rec::Gap);
        event.core.op = "dropped".to_owned();
        event.core.n = (n > 1).then_some(n);
        if let Some(facts) = self.context.routes.get(route) {
            event.core.route.clone_from(&facts.name);
            event.target.svc.clone_from(&facts.service);
        }
        if !caller.is_empty() {
            event.who.who =
                Some(countersign_event::Principal::new(caller, countersign_event::Verified::Claimed));
        }
        event.content.err =
            "records dropped: the ledger did not keep pace, and this route does not wait".to_owned();
        event
    }

    fn limited(&mut self, id: u64, t: u64, open: ConnOpen, n: u64, which: &str) -> Event {
        Conn::new(&self.context, id, open).limited(&self.context, t, n, which)
    }
}

/// Whether an exchange may end by this tap before its intent was durable.
fn ends(what: &What) -> bool {
    match what {
        What::Close { .. } | What::Refused { current: true, .. } => true,
        What::H2 { what, .. } => {
            matches!(what, H2What::Answered { .. } | H2What::Reset { .. } | H2What::Cut { .. })
        }
        _ => false,
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
        | What::H2 { what: H2What::Request { .. } | H2What::Progress, .. }
        | What::H2Refused { .. }
        | What::H2Broken { .. }
        | What::HandshakeFailed { .. }
        | What::Dropped { .. }
        | What::Limited { .. } => 1,
        What::Framed { records, .. } | What::Bytes { records, .. } => *records as usize,
        _ => 0,
    }
}

/// Two checked identities on one interaction that are not known to belong together are a finding, not a choice:
/// `who` stays the stronger one, and the record says that they differ.
fn mark_disagreement(event: &mut Event) {
    if event.who.also.is_empty() {
        return;
    }
    if let Some(found) = disagreement(&event.who) {
        event.core.labels.push(Disagreement::LABEL.to_owned());
        if event.content.err.is_empty() {
            event.content.err = found.to_string();
            redact::cut_at(&mut event.content.err, DISAGREEMENT_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The decoder's share of a connection that waits; the pump's is bounded in `pump/serve.rs`.
    #[test]
    fn a_connection_that_waits_holds_little() {
        let size = size_of::<Conn>();
        assert!(size <= 1_088, "{size} bytes");
    }
}
