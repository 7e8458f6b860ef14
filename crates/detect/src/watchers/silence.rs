//! Detector 12, `silence`: a source, or a caller of a service, that always came has stopped.
//!
//! What is too long follows from each one's own rhythm (`silence/rhythm.rs`). Not reported: what is still being learned
//! or comes irregularly; what stops within an announced change; edges of a source that is itself silent (the source is
//! the one finding). Time is the ledger's, since a record that is late is not there either. Invariants: one timer a key,
//! which goes off by itself; a key that had to leave is learned anew; on return the same finding is resolved.

mod rhythm;
mod save;

use crate::baselines::SERVICE;
use crate::baselines::changes::Changes;
use crate::bytes::{Reader, Writer};
use crate::clock::Timely;
use crate::finding::signed;
use crate::quoted;
use crate::watch::{Call, Draft, Key, Opened, Table, Watcher, WatcherStats, short, span_text};
use countersign_event::{FindingState, Rec, Severity};
use rhythm::Rhythm;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const ID: &str = "silence";
/// Sources watched, and the most edges.
const SOURCES_MAX: usize = 4_096;
const EDGES_MAX: usize = 131_072;
/// Bytes of one edge, roughly.
const EDGE_BYTES: u64 = 640;
/// No pause shorter than this is a silence, ns: of a source, of an edge.
const SOURCE_FLOOR_NS: i64 = 30_000_000_000;
const EDGE_FLOOR_NS: i64 = 60_000_000_000;
/// How often one that is not regular yet is looked at again, ns.
const AGAIN_NS: i64 = rhythm::HOUR_NS;
const SECOND_NS: i64 = 1_000_000_000;

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Source,
    Edge,
}

/// See the module.
pub(crate) struct Silence {
    sources: Table<Watched>,
    edges: Table<Watched>,
    /// Timers; one that is not the key's own (`due_ns`) is void.
    timers: BinaryHeap<Reverse<(i64, Whose, Key)>>,
    changes: Changes,
    learn_ns: i64,
    learn_events: u64,
}

struct Watched {
    rhythm: Rhythm,
    /// Its timer, ns; 0 = none.
    due_ns: i64,
    /// It is looked at again at the first event after this, ns.
    look_ns: i64,
    /// When it came back from a silence, ns.
    back_ns: i64,
    /// Its last event: index and id.
    index: u64,
    eid: [u8; 16],
    /// Peer group (of a source: its own name, since a change may name it) and service of the last call, and the source
    /// of an edge.
    group: Key,
    service: Key,
    source: Key,
    name: String,
    tenant: String,
    /// The first call, for its names; of edges only.
    edge: Option<Box<Opened>>,
    open: Option<Box<Opened>>,
}

impl Silence {
    /// Within so many bytes.
    pub(crate) fn new(bytes: u64, learn_ns: u64, learn_events: u64) -> Silence {
        let edges = usize::try_from(bytes / EDGE_BYTES).unwrap_or(usize::MAX).min(EDGES_MAX);
        Silence {
            sources: Table::new(SOURCES_MAX),
            edges: Table::new(edges),
            timers: BinaryHeap::new(),
            changes: Changes::default(),
            learn_ns: signed(learn_ns),
            learn_events,
        }
    }

    fn table(&mut self, whose: Whose) -> &mut Table<Watched> {
        match whose {
            Whose::Source => &mut self.sources,
            Whose::Edge => &mut self.edges,
        }
    }

    fn arrived(&mut self, whose: Whose, call: &Call<'_>, out: &mut Vec<Draft>) {
        let key = if whose == Whose::Source { call.source } else { call.edge };
        let source_back = match whose {
            Whose::Source => 0,
            Whose::Edge => self.sources.get(&call.source).map_or(0, |source| source.back_ns),
        };
        let (learn_ns, learn_events) = (self.learn_ns, self.learn_events);
        let now = signed(call.ledger_ns);
        let mut fresh = false;
        let (_, watched) = self.table(whose).see(key, call.index, now, || {
            fresh = true;
            Watched::of(whose, call)
        });
        if fresh {
            return;
        }
        let outage = watched.open.is_some() || source_back > watched.rhythm.last_ns();
        let was = watched.rhythm.last_ns();
        // A pause that was too long, told or not: edges are not judged by it.
        if whose == Whose::Source
            && now.saturating_sub(was) > SOURCE_FLOOR_NS
            && watched.rhythm.due_ns(was, SOURCE_FLOOR_NS).is_some_and(|due| due <= now)
        {
            watched.back_ns = now;
        }
        watched.rhythm.see(now, outage);
        (watched.index, watched.eid) = (call.index, call.event.core.eid);
        if whose == Whose::Source {
            watched.service = call.service;
        } else {
            watched.source = call.source;
        }
        if let Some(open) = watched.open.take() {
            out.push(watched.back(key, *open, now.saturating_sub(was)));
        }
        if watched.due_ns == 0 && now >= watched.look_ns {
            watched.look_ns = now.saturating_add(AGAIN_NS);
            let learned = watched.rhythm.age_ns() >= learn_ns && watched.rhythm.events() >= learn_events;
            if learned
                && watched.rhythm.regular()
                && let Some(due) = watched.rhythm.due_ns(now, floor(whose))
            {
                watched.due_ns = due;
                self.timers.push(Reverse((due, whose, key)));
            }
        }
    }

    /// The timer of `key` went off at `due`: either it was set again since, or this is a silence.
    fn ring(&mut self, due: i64, whose: Whose, key: Key, now: i64, out: &mut Vec<Draft>) {
        let from = match self.table(whose).get(&key) {
            Some(watched) if watched.due_ns == due => self.since(watched_of(self, whose, &key), whose, now),
            _ => return,
        };
        let alive = self.source_alive(whose, &key, now);
        let Some(from) = from else { return };
        let Some(watched) = self.table(whose).get_mut(&key) else { return };
        let real = watched.rhythm.due_ns(from, floor(whose)).filter(|_| watched.rhythm.regular());
        let next = match real {
            None => {
                watched.due_ns = 0;
                return;
            }
            Some(real) if real > now => real,
            // Its source says nothing either: it is judged when that is back.
            Some(real) if real > alive => now.saturating_add(60 * SECOND_NS),
            Some(_) => {
                watched.due_ns = 0;
                let draft = watched.silent(whose, key, from, now);
                out.push(draft);
                return;
            }
        };
        watched.due_ns = next;
        self.timers.push(Reverse((next, whose, key)));
    }

    /// Since when it has been expected, ns: its last event, its source's return, or the end of an announced change.
    fn since(&self, watched: Option<&Watched>, whose: Whose, now: i64) -> Option<i64> {
        let watched = watched?;
        let mut from = watched.rhythm.last_ns();
        if whose == Whose::Edge {
            from = from.max(self.sources.get(&watched.source).map_or(0, |source| source.back_ns));
        }
        Some(self.changes.ends_after(from, now, &[watched.group, watched.service]).unwrap_or(from))
    }

    /// Until when it is certain that its source would have told of it, ns.
    fn source_alive(&self, whose: Whose, key: &Key, now: i64) -> i64 {
        let source = match whose {
            Whose::Source => None,
            Whose::Edge => self.edges.get(key).and_then(|edge| self.sources.get(&edge.source)),
        };
        source.map_or(now, |source| source.rhythm.last_ns())
    }
}

fn watched_of<'s>(of: &'s Silence, whose: Whose, key: &Key) -> Option<&'s Watched> {
    match whose {
        Whose::Source => of.sources.get(key),
        Whose::Edge => of.edges.get(key),
    }
}

fn floor(whose: Whose) -> i64 {
    if whose == Whose::Source { SOURCE_FLOOR_NS } else { EDGE_FLOOR_NS }
}

const SOURCE_SILENT: &str = "no event from {source} for {t}; normal gap {gap}, so {n} should have come and at most {limit} \
                             ever failed to; wrong if: it was stopped on purpose, or has nothing to report any more";
const EDGE_SILENT: &str = "no call of {service} by {group} for {t}, while {source} reports others; normal gap {gap}, so {n} \
                           should have come and at most {limit} ever failed to; wrong if: the caller was stopped or \
                           changed on purpose";
const SOURCE_BACK: &str = "{source} reports again after {t} without an event";
const EDGE_BACK: &str = "{group} calls {service} again after {t}";

impl Watched {
    fn of(whose: Whose, call: &Call<'_>) -> Watched {
        let event = call.event;
        let now = signed(call.ledger_ns);
        let name = match whose {
            Whose::Source => event.core.agent.clone(),
            Whose::Edge => crate::watch::group_name(event).into_owned(),
        };
        Watched {
            rhythm: Rhythm::new(now),
            due_ns: 0,
            look_ns: now.saturating_add(AGAIN_NS),
            back_ns: 0,
            index: call.index,
            eid: event.core.eid,
            group: match whose {
                Whose::Source => call.keys.of(SERVICE, &[&event.core.tenant, &event.core.agent]),
                Whose::Edge => call.group,
            },
            service: call.service,
            source: call.source,
            name,
            tenant: event.core.tenant.clone(),
            edge: (whose == Whose::Edge).then(|| Box::new(Opened::of(call, now).of_edge())),
            open: None,
        }
    }

    fn silent(&mut self, whose: Whose, key: Key, from: i64, now: i64) -> Draft {
        let last = self.rhythm.last_ns();
        let base = Opened::nobodys(&self.tenant, self.index, self.eid, last);
        let mut open = match &self.edge {
            Some(edge) => base.named_as(edge),
            None => base,
        };
        open.last_ns = now;
        let template = if whose == Whose::Source { SOURCE_SILENT } else { EDGE_SILENT };
        let mut draft = self.named(open.draft(key, FindingState::Open, template), &open);
        let gap = self.rhythm.usual_gap_ns(last).map_or_else(|| "unknown".to_owned(), span_text);
        let missed = self.rhythm.expected(from, now).unwrap_or(0.0);
        draft = draft.and([
            ("t", span_text(now.saturating_sub(last))),
            ("gap", gap),
            ("n", short(missed)),
            ("limit", short(self.rhythm.limit())),
        ]);
        draft.confidence = if whose == Whose::Source { 90 } else { 70 };
        self.open = Some(Box::new(open));
        draft
    }

    fn back(&self, key: Key, mut open: Opened, after: i64) -> Draft {
        let template = if self.edge.is_none() { SOURCE_BACK } else { EDGE_BACK };
        open.last_ns = self.rhythm.last_ns();
        let mut draft = self.named(open.draft(key, FindingState::Resolved, template), &open);
        draft.confidence = 95;
        draft.with("t", span_text(after))
    }

    fn named(&self, mut draft: Draft, open: &Opened) -> Draft {
        draft.severity = Severity::Medium;
        if self.edge.is_none() {
            draft.query = format!("agent:{}", quoted(&self.name));
            return draft.with("source", self.name.as_str());
        }
        draft.query = format!("service:{}", quoted(&open.service));
        if !open.caller.is_empty() {
            draft.query = format!("who:{} {}", quoted(&open.caller), draft.query);
        }
        let service = if open.service.is_empty() { "an unnamed service" } else { &open.service };
        let (service, name) = (service.to_owned(), self.name.clone());
        draft.and([("group", name), ("service", service), ("source", "its observer".to_owned())])
    }
}

impl Watcher for Silence {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("limit_of_p99", rhythm::LIMIT_OF_P99.to_string()),
            ("missed", rhythm::MISSED_MIN.to_string()),
            ("source_floor_ns", SOURCE_FLOOR_NS.to_string()),
            ("edge_floor_ns", EDGE_FLOOR_NS.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        true
    }

    /// Each source and edge is learned by itself; what is not learned is not said.
    fn learning(&self, _: &Key) -> Option<bool> {
        Some(false)
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let core = &call.event.core;
        if core.rec == Some(Rec::Platform) {
            self.changes.see(call.keys, call.event, call.at_ns);
        }
        // Our own records say nothing about others.
        if core.agent.is_empty()
            || core.agent.starts_with("countersign:")
            || call.timely == Timely::Historical
        {
            return;
        }
        self.arrived(Whose::Source, call, out);
        if call.is_call && !call.event.target.svc.is_empty() {
            self.arrived(Whose::Edge, call, out);
        }
    }

    fn advance(&mut self, _: i64, ledger_ns: u64, out: &mut Vec<Draft>) {
        let now = signed(ledger_ns);
        while let Some(Reverse((due, whose, key))) = self.timers.peek().copied() {
            if due > now {
                break;
            }
            self.timers.pop();
            self.ring(due, whose, key, now, out);
        }
    }

    fn wake_ns(&self) -> Option<i64> {
        self.timers.peek().map(|Reverse((due, ..))| *due)
    }

    fn stats(&self) -> WatcherStats {
        let keys = (self.sources.len() + self.edges.len()) as u64;
        WatcherStats {
            keys,
            evicted: self.sources.evicted() + self.edges.evicted(),
            bytes: keys * EDGE_BYTES,
        }
    }

    fn write(&self, out: &mut Writer) {
        save::write(self, out);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        save::read(self, from)
    }
}

#[cfg(test)]
mod tests;
