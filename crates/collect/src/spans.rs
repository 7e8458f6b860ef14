//! Spans to interactions: the two halves of a call joined into one event.
//!
//! A SERVER span is one event, with the service of the span that called it as claimed caller. A CLIENT span is one
//! event only if no SERVER span with it as parent comes within the window; if one comes, the event is the server's,
//! with the client's latency in `lat` (time until the server began, 0, whole time of the client) and what else the
//! client said in `unmapped` under `/caller`. PRODUCER and CONSUMER spans are an event each, linked by `causal`.
//! INTERNAL spans are no interactions: they are counted, and remembered because a SERVER span may be their child.
//!
//! A half that comes after its twin was told alone is an event `of` the twin's, and counts no second time ([`Rec`]
//! progress). A span id that comes again with the same content is a duplicate; with other content it is recorded
//! and labelled. Where the clocks of the two sides contradict each other, `skew` says by how much; `dur` is each
//! side's own.
//!
//! No I/O and no clock: `now` is ours, UTC ns, by parameter. Not durable: whoever holds a span here has made it
//! durable before (see `receivers/otlp.rs`).
//!
//! Invariants: every span offered is in exactly one event, or is counted as internal or duplicate; edges do not depend
//! on the order of arrival within the window; never more than [`PENDING_MAX`] spans or [`PENDING_BYTES_MAX`] bytes
//! wait, and never more than [`KNOWN_MAX`] are remembered.

mod join;
#[cfg(test)]
mod tests;

use crate::otlp::SpanKind;
use crate::otlp::map::{SpanFacts, source_id};
use countersign_event::{CaptureConf, Event, LinkVia, Principal, Rec, Unmapped, import_eid};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// How long a half waits for the other, ns.
pub const WINDOW: u64 = 60_000_000_000;
/// Most spans that wait.
pub const PENDING_MAX: usize = 100_000;
/// Most bytes that wait: records as they came, and [`SPAN_BYTES`] for each.
pub const PENDING_BYTES_MAX: usize = 64 << 20;
/// What a waiting span costs beside its record, bytes: about the size of its event.
pub const SPAN_BYTES: usize = 1024;
/// Most spans that are remembered, waiting or not.
pub const KNOWN_MAX: usize = 200_000;
/// Label of a span whose id came before with other content.
pub const SPAN_ID_REUSED: &str = "span_id_reused";
/// Most links of a span that become `causal`.
const CAUSAL_MAX: usize = 8;
/// Score of a cause that the producer wrote down itself.
const CAUSAL_SCORE: u64 = 900;

type Id = ([u8; 16], [u8; 8]);

/// A span as it came: its event, sealed, and what joining needs.
#[derive(Clone, Debug)]
pub struct SpanRecord {
    /// See [`SpanFacts`].
    pub facts: SpanFacts,
    /// Its service as a principal, if it has a name.
    pub service: Option<Principal>,
    /// Its own event, as if it stayed alone.
    pub event: Event,
}

impl SpanRecord {
    fn cost(&self) -> usize {
        let raw = self.event.body.raw.as_ref().and_then(|raw| raw.length).unwrap_or(0);
        usize::try_from(raw).unwrap_or(usize::MAX).saturating_add(SPAN_BYTES)
    }

    fn digest(&self) -> Option<[u8; 32]> {
        self.event.body.raw.as_ref().and_then(|raw| raw.digest)
    }
}

/// What became of a span.
#[derive(Clone, Debug)]
enum State {
    /// It waits for its twin.
    Held(Box<SpanRecord>),
    /// It is in an event of its own, or nobody waits for it.
    Told,
    /// A CLIENT span that is in its server's event.
    Joined,
}

#[derive(Clone, Debug)]
struct Known {
    kind: SpanKind,
    digest: Option<[u8; 32]>,
    service: Option<Principal>,
    times: (u64, u64),
    state: State,
    /// Number in the order of arrival.
    number: u64,
}

/// Spans that were no interactions, or not once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// INTERNAL spans and such of no kind.
    pub internal: u64,
    /// Came before with the same content.
    pub duplicates: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Spans {
    agent: String,
    window: u64,
    pending_max: usize,
    known: HashMap<Id, Known>,
    /// All known by age.
    order: VecDeque<(u64, Id)>,
    /// Held ones by age: number to time and id.
    held: BTreeMap<u64, (u64, Id)>,
    bytes: usize,
    /// SERVER spans that wait, or that were told alone, by their parent.
    children: HashMap<Id, Vec<Id>>,
    next: u64,
    counts: SpanCounts,
}

impl Spans {
    /// For the input whose events have `agent`, with a window, ns.
    pub fn new(agent: &str, window: u64) -> Spans {
        Spans {
            agent: agent.to_owned(),
            window,
            pending_max: PENDING_MAX,
            known: HashMap::new(),
            order: VecDeque::new(),
            held: BTreeMap::new(),
            bytes: 0,
            children: HashMap::new(),
            next: 0,
            counts: SpanCounts::default(),
        }
    }

    /// With another bound of spans that wait.
    pub fn with_pending(mut self, most: usize) -> Spans {
        self.pending_max = most;
        self
    }

    /// What was counted and is in no event.
    pub fn counts(&self) -> SpanCounts {
        self.counts
    }

    /// Spans that wait.
    pub fn pending(&self) -> usize {
        self.held.len()
    }

    /// Whether the same span, with the same content, was taken before. Asked before a batch is joined in itself.
    pub fn has(&self, span: &SpanRecord) -> bool {
        let known = span.facts.id.and_then(|id| self.known.get(&id));
        known.is_some_and(|known| known.kind == span.facts.kind && known.digest == span.digest())
    }

    /// Takes a span at `now`; events that are complete by it go to `out`.
    pub fn offer(&mut self, span: SpanRecord, now: u64, out: &mut Vec<Event>) {
        let Some(id) = span.facts.id else {
            return self.without_id(span, out);
        };
        if self.has(&span) {
            self.counts.duplicates += 1;
            return;
        }
        if self.known.contains_key(&id) {
            return out.push(reused(span.event));
        }
        let parent = span.facts.parent.map(|parent| (id.0, parent));
        match span.facts.kind {
            SpanKind::Internal | SpanKind::Unspecified => {
                self.counts.internal += 1;
                self.remember(id, span, false, now);
            }
            SpanKind::Producer | SpanKind::Consumer => {
                out.push(self.message(&span, parent));
                self.remember(id, span, false, now);
            }
            SpanKind::Server => match parent.filter(|parent| self.known.contains_key(parent)) {
                Some(parent) => {
                    let child = self.remember(id, span, false, now);
                    self.join(parent, child, out);
                }
                None => {
                    let held = parent.is_some();
                    if let Some(parent) = parent {
                        self.children.entry(parent).or_default().push(id);
                    }
                    out.extend(self.remember(id, span, held, now).map(|span| span.event));
                }
            },
            SpanKind::Client => {
                let held = !self.children.contains_key(&id);
                let own = self.remember(id, span, held, now);
                self.late_client(id, own, out);
            }
        }
        self.adopt(id, out);
        self.bound(now, out);
    }

    /// Events of spans that have waited longer than the window.
    pub fn expire(&mut self, now: u64, out: &mut Vec<Event>) {
        while self
            .held
            .first_key_value()
            .is_some_and(|(_, (since, _))| now.saturating_sub(*since) > self.window)
        {
            out.extend(self.oldest());
        }
        self.forget(now);
    }

    /// Events of all spans that wait: at a shutdown.
    pub fn drain(&mut self, out: &mut Vec<Event>) {
        out.extend(std::iter::from_fn(|| self.oldest()));
    }

    /// Hands over everything to `other`: what waits is offered there, what is known is known there. Events that are
    /// complete by it go to `out`.
    pub fn settle_into(mut self, other: &mut Spans, now: u64, out: &mut Vec<Event>) {
        other.counts.internal += self.counts.internal;
        other.counts.duplicates += self.counts.duplicates;
        for (_, id) in std::mem::take(&mut self.order) {
            let Some(known) = self.known.remove(&id) else { continue };
            match known.state {
                State::Held(span) => other.offer(*span, now, out),
                _ => other.learn(id, known, now, out),
            }
        }
    }

    /// Records that wait, in order of arrival.
    pub fn waiting(&self) -> impl Iterator<Item = &SpanRecord> {
        self.held.values().filter_map(|(_, id)| match &self.known.get(id)?.state {
            State::Held(span) => Some(&**span),
            _ => None,
        })
    }

    /// Takes over what another one knows and does not hold.
    fn learn(&mut self, id: Id, known: Known, now: u64, out: &mut Vec<Event>) {
        if self.known.contains_key(&id) {
            return;
        }
        let number = self.number();
        self.order.push_back((now, id));
        self.known.insert(id, Known { number, ..known });
        self.adopt(id, out);
        self.bound(now, out);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn without_id(&mut self, span: SpanRecord, out: &mut Vec<Event>) {
        match span.facts.kind {
            SpanKind::Internal | SpanKind::Unspecified => self.counts.internal += 1,
            _ => out.push(span.event),
        }
    }

    /// Remembers a span. One that is not held is given back.
    fn remember(&mut self, id: Id, span: SpanRecord, hold: bool, now: u64) -> Option<SpanRecord> {
        let number = self.number();
        let (kind, digest, times) = (span.facts.kind, span.digest(), span.facts.times);
        let service = span.service.clone();
        let (state, back) = if hold {
            self.bytes += span.cost();
            self.held.insert(number, (now, id));
            (State::Held(Box::new(span)), None)
        } else {
            (State::Told, Some(span))
        };
        self.order.push_back((now, id));
        self.known.insert(id, Known { kind, digest, service, times, state, number });
        back
    }

    /// Takes a span that waits; it counts as told from now on.
    fn release(&mut self, id: Id) -> Option<SpanRecord> {
        let known = self.known.get_mut(&id)?;
        match std::mem::replace(&mut known.state, State::Told) {
            State::Held(span) => {
                self.held.remove(&known.number);
                self.bytes -= span.cost();
                Some(*span)
            }
            state => {
                known.state = state;
                None
            }
        }
    }

    fn oldest(&mut self) -> Option<Event> {
        let (_, (_, id)) = self.held.first_key_value().map(|(number, held)| (*number, *held))?;
        self.release(id).map(|span| span.event)
    }

    /// Within the bounds: the oldest that waits is told alone, `partial`.
    fn bound(&mut self, now: u64, out: &mut Vec<Event>) {
        while self.held.len() > self.pending_max || self.bytes > PENDING_BYTES_MAX {
            let Some(mut event) = self.oldest() else { break };
            if let Some(capture) = &mut event.body.cap {
                capture.conf = Some(CaptureConf::Partial);
            }
            out.push(event);
        }
        self.forget(now);
    }

    /// What is known and does not wait is forgotten after three windows, or when it is too much.
    fn forget(&mut self, now: u64) {
        let old = self.window.saturating_mul(3);
        while let Some((since, id)) = self.order.front().copied() {
            let many = self.order.len() > KNOWN_MAX;
            let waits = matches!(self.known.get(&id).map(|known| &known.state), Some(State::Held(_)));
            if !many && now.saturating_sub(since) <= old || waits {
                return;
            }
            self.order.pop_front();
            self.known.remove(&id);
            self.children.remove(&id);
        }
    }

    /// A message's event, with the span that caused it.
    fn message(&self, span: &SpanRecord, parent: Option<Id>) -> Event {
        let mut event = span.event.clone();
        if span.facts.kind == SpanKind::Consumer {
            let causes = span.facts.links.iter().copied().chain(parent);
            for (trace, id) in causes.take(CAUSAL_MAX) {
                let cause = (self.eid(&(trace, id)), LinkVia::MessageHeader, CAUSAL_SCORE);
                if !event.links.causal.contains(&cause) {
                    event.links.causal.push(cause);
                }
            }
        }
        event
    }

    fn eid(&self, id: &Id) -> [u8; 16] {
        import_eid(&self.agent, source_id(&id.0, &id.1).as_bytes())
    }
}

/// A span whose id belongs to another one: an event of its own, with a number's id.
fn reused(mut event: Event) -> Event {
    event.core.labels.push(SPAN_ID_REUSED.to_owned());
    if let Some(capture) = &mut event.body.cap {
        let id = std::mem::take(&mut capture.source_id);
        event.content.unmapped.insert("/sourceId".to_owned(), Unmapped::Token(crate::draft::json_text(&id)));
    }
    event
}

/// A half that came after its twin was told alone.
fn late(mut event: Event, of: [u8; 16]) -> Event {
    event.core.rec = Some(Rec::Progress);
    event.links.of = Some(of);
    event
}
