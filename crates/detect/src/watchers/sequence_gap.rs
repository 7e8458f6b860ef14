//! Detector 13, `sequence-gap`: records of a source are missing.
//!
//! Each run (stream) of a source numbers its records from 1, one by one (0.4 `seq`), and our own ledger does the same, so
//! every record counts here: findings and deliveries too, or this process would miss its own. A number that has not come
//! [`WAIT_NS`] after a later one is missing. Deterministic: it learns nothing. Not a gap: out of order within the wait,
//! twice, a new run from 1, whatever came before the first record seen of a run. Invariants: at most [`HOLES_MAX`] holes
//! a run are kept apart (beyond it neighbours are told as one range); a run that had to leave begins anew, and is counted.

use crate::bytes::{Reader, Saved, Writer};
use crate::finding::signed;
use crate::quoted;
use crate::watch::{Call, Draft, Key, Keys, Opened, Table, Watcher, WatcherStats};
use countersign_event::{Event, FindingState, Rec, Severity};
use std::collections::BTreeSet;

const ID: &str = "sequence-gap";
const STREAM: u8 = 24;
const STREAMS_MAX: usize = 16_384;
const STREAM_BYTES: u64 = 256;
/// How long a missing number is waited for, ns of ledger time.
const WAIT_NS: i64 = 45_000_000_000;
/// Holes of one run kept apart.
const HOLES_MAX: usize = 64;
/// So long after the last gap of a run, ns, the next one is a finding of its own.
const ANEW_NS: i64 = 3_600_000_000_000;

/// See the module.
pub(crate) struct SequenceGap {
    streams: Table<Stream>,
    /// Runs with holes that are waited for.
    waiting: BTreeSet<Key>,
}

struct Stream {
    agent: String,
    tenant: String,
    /// The next number.
    next: u64,
    holes: Vec<Hole>,
    /// Lost by the source's own account ([`Rec::Gap`]), not yet found missing.
    declared: u64,
    /// A hole that was told is not among `holes` any more.
    forgotten: bool,
    open: Option<Open>,
}

/// Numbers `first..=last` have not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    first: u64,
    last: u64,
    /// The record that showed it: ledger time, index, id.
    since_ns: i64,
    index: u64,
    eid: [u8; 16],
    told: bool,
}

struct Open {
    matter: Opened,
    missing: u64,
    last_ns: i64,
}

impl SequenceGap {
    pub(crate) fn new() -> SequenceGap {
        SequenceGap { streams: Table::new(STREAMS_MAX), waiting: BTreeSet::new() }
    }

    /// Without `out` nothing is told yet.
    fn count(&mut self, keys: Keys, at: (u64, u64), event: &Event, out: Option<&mut Vec<Draft>>) {
        let (index, ledger_ns) = at;
        let core = &event.core;
        if core.seq == 0 || core.agent.is_empty() {
            return;
        }
        let now = signed(ledger_ns);
        // Tenants of one source's records may differ; its numbers go through all of them.
        let key = keys.pair(STREAM, &keys.of(STREAM, &[&core.agent]), &core.stream);
        let (_, stream) = self.streams.see(key, index, now, || Stream {
            agent: core.agent.clone(),
            tenant: core.tenant.clone(),
            next: core.seq,
            holes: Vec::new(),
            declared: 0,
            forgotten: false,
            open: None,
        });
        if core.rec == Some(Rec::Gap) {
            stream.declared = stream.declared.saturating_add(core.n.unwrap_or(1));
        }
        if core.seq == stream.next {
            stream.next = stream.next.saturating_add(1);
        } else if core.seq > stream.next {
            stream.hole(Hole {
                first: stream.next,
                last: core.seq - 1,
                since_ns: now,
                index,
                eid: core.eid,
                told: false,
            });
            stream.next = core.seq.saturating_add(1);
            self.waiting.insert(key);
        } else if !stream.holes.is_empty() {
            stream.fill(core.seq);
        }
        let Some(out) = out.filter(|_| stream.open.is_some()) else { return };
        let missed = stream.forgotten || stream.holes.iter().any(|hole| hole.told);
        if let Some(mut open) = stream.open.take_if(|_| !missed) {
            out.push(back(stream, &mut open.matter, key, open.missing, now));
        }
    }
}

impl Stream {
    fn hole(&mut self, hole: Hole) {
        if self.holes.len() >= HOLES_MAX {
            // What was told long ago is forgotten first; else two waiting neighbours become one.
            match self.holes.iter().position(|hole| hole.told) {
                Some(at) => {
                    self.holes.remove(at);
                    self.forgotten = true;
                }
                None => {
                    let first = self.holes.pop().map_or(hole.first, |before| before.first);
                    self.holes.push(Hole { first, ..hole });
                    return;
                }
            }
        }
        self.holes.push(hole);
    }

    fn fill(&mut self, seq: u64) {
        let Some(at) = self.holes.iter().position(|hole| (hole.first..=hole.last).contains(&seq)) else {
            return;
        };
        let hole = self.holes.remove(at);
        let (before, after) = (Hole { last: seq - 1, ..hole }, Hole { first: seq + 1, ..hole });
        for part in [after, before] {
            if part.first <= part.last {
                self.holes.insert(at, part);
            }
        }
    }

    /// Tells what was waited for long enough; whether something is still waited for.
    fn tell(&mut self, key: Key, now: i64, out: &mut Vec<Draft>) -> bool {
        let mut waiting = false;
        let mut due: Option<Hole> = None;
        let mut missing = 0u64;
        for hole in self.holes.iter_mut().filter(|hole| !hole.told) {
            if now.saturating_sub(hole.since_ns) < WAIT_NS {
                waiting = true;
                continue;
            }
            hole.told = true;
            missing = missing.saturating_add(hole.last - hole.first + 1);
            due = Some(match due {
                None => *hole,
                Some(first) => Hole { last: hole.last, ..first },
            });
        }
        if let Some(hole) = due {
            let declared = self.declared.min(missing);
            self.declared -= declared;
            let draft = self.say(key, hole, (missing, declared), now);
            out.extend(draft);
        }
        waiting
    }

    fn say(&mut self, key: Key, hole: Hole, (missing, declared): (u64, u64), now: i64) -> Option<Draft> {
        let (state, mut open) = match self.open.take() {
            Some(mut open) if now.saturating_sub(open.last_ns) < ANEW_NS => {
                open.missing = open.missing.saturating_add(missing);
                open.last_ns = now;
                if !open.matter.again(hole.index, hole.since_ns) {
                    self.open = Some(open);
                    return None;
                }
                (FindingState::Updated, open)
            }
            _ => {
                let mut matter = Opened::nobodys(&self.tenant, hole.index, hole.eid, hole.since_ns);
                matter.last_ns = now;
                (FindingState::Open, Open { matter, missing, last_ns: now })
            }
        };
        let template = if declared >= missing { DECLARED } else { MISSING };
        let draft = open.matter.draft(key, state, template).and([
            ("first", hole.first.to_string()),
            ("last", hole.last.to_string()),
            ("source", self.agent.clone()),
            ("n", open.missing.to_string()),
            ("wait", crate::watch::span_text(WAIT_NS)),
        ]);
        self.open = Some(open);
        Some(Draft { severity: Severity::High, confidence: 99, query: query(&self.agent, hole), ..draft })
    }
}

const MISSING: &str = "missing {first}..{last} from {source}: {n} records of it in all have not come within {wait} of later \
                       ones; wrong if: they are still on their way";
const DECLARED: &str = "missing {first}..{last} from {source}: it says itself that it dropped as many ({n} records in \
                        all); wrong if: they are still on their way";
const BACK: &str = "all {n} records of {source} that were missing have come";

fn query(agent: &str, hole: Hole) -> String {
    let around = format!("{}..{}", hole.first.saturating_sub(1), hole.last.saturating_add(1));
    format!("agent:{} seq:{around}", quoted(agent))
}

fn back(stream: &Stream, matter: &mut Opened, key: Key, missing: u64, now: i64) -> Draft {
    matter.last_ns = now;
    let draft = matter.draft(key, FindingState::Resolved, BACK);
    let query = format!("agent:{}", quoted(&stream.agent));
    Draft { severity: Severity::High, confidence: 99, query, ..draft }
        .and([("n", missing.to_string()), ("source", stream.agent.clone())])
}

impl Watcher for SequenceGap {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![("wait_ns", WAIT_NS.to_string())]
    }

    fn statistical(&self) -> bool {
        false
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        self.count(call.keys, (call.index, call.ledger_ns), call.event, Some(out));
    }

    fn pass(&mut self, keys: Keys, index: u64, ledger_ns: u64, event: &Event) {
        self.count(keys, (index, ledger_ns), event, None);
    }

    fn advance(&mut self, _: i64, ledger_ns: u64, out: &mut Vec<Draft>) {
        if self.waiting.is_empty() {
            return;
        }
        let now = signed(ledger_ns);
        let streams = &mut self.streams;
        self.waiting.retain(|key| streams.get_mut(key).is_some_and(|stream| stream.tell(*key, now, out)));
    }

    fn wake_ns(&self) -> Option<i64> {
        let since = |key| {
            let holes = self.streams.get(key).map(|stream| stream.holes.iter());
            holes.into_iter().flatten().filter(|hole| !hole.told).map(|hole| hole.since_ns).min()
        };
        self.waiting.iter().filter_map(since).min().map(|since| since.saturating_add(WAIT_NS))
    }

    fn stats(&self) -> WatcherStats {
        let keys = self.streams.len() as u64;
        WatcherStats { keys, evicted: self.streams.evicted(), bytes: keys * STREAM_BYTES }
    }

    fn write(&self, out: &mut Writer) {
        self.streams.write(out);
        out.len(self.waiting.len());
        self.waiting.iter().for_each(|key| out.key(key));
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let streams = Table::read(STREAMS_MAX, from)?;
        self.waiting = (0..from.len(16)?).map(|_| from.key()).collect::<Option<BTreeSet<_>>>()?;
        self.streams = streams;
        Some(())
    }
}

impl Saved for Stream {
    const MIN_BYTES: usize = 30;

    fn write(&self, out: &mut Writer) {
        out.text(&self.agent);
        out.text(&self.tenant);
        out.u64(self.next);
        out.u64(self.declared);
        out.bool(self.forgotten);
        out.len(self.holes.len());
        for hole in &self.holes {
            out.u64(hole.first);
            out.u64(hole.last);
            out.i64(hole.since_ns);
            out.u64(hole.index);
            out.key(&hole.eid);
            out.bool(hole.told);
        }
        out.bool(self.open.is_some());
        if let Some(open) = &self.open {
            open.matter.write(out);
            out.u64(open.missing);
            out.i64(open.last_ns);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Stream> {
        let (agent, tenant) = (from.text()?, from.text()?);
        let (next, declared, forgotten) = (from.u64()?, from.u64()?, from.bool()?);
        let many = from.len(49)?;
        let each = (0..many).map(|_| {
            let (first, last, since_ns) = (from.u64()?, from.u64()?, from.i64()?);
            let (index, eid, told) = (from.u64()?, from.key()?, from.bool()?);
            (first <= last).then_some(Hole { first, last, since_ns, index, eid, told })
        });
        let holes = each.collect::<Option<Vec<_>>>().filter(|holes| holes.len() <= HOLES_MAX)?;
        let open = match from.bool()? {
            true => Some(Open { matter: Opened::read(from)?, missing: from.u64()?, last_ns: from.i64()? }),
            false => None,
        };
        Some(Stream { agent, tenant, next, holes, declared, forgotten, open })
    }
}

#[cfg(test)]
mod tests;
