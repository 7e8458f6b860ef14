//! Detector 11, `beacon`: calls at equal times of a destination that the caller did not call before, or outside.
//!
//! Between machines most calls come at equal times, so a rhythm alone says nothing. It is judged on edges (peer group →
//! destination) that are new since the group was learned, for [`NEW_NS`], and on learned ones to a destination outside
//! that had no rhythm while they were learned. Of the last [`SAMPLES`] calls the intervals and the sizes are kept; how
//! regular each is, is 1 − median absolute deviation ÷ median, and the score is their mean. Silent: an edge that begins
//! in an announced change of either side (`first-seen-edge` has it on record); periods under [`PERIOD_MIN_MS`], which
//! are loops, and over [`PERIOD_MAX_MS`]; folded records, whose times are their observer's. Not seen: a beacon within
//! other calls of the same edge, since the intervals are then the others', and one that waits at random.

mod outside;

use crate::bytes::{Reader, Saved, Writer};
use crate::clock::Timely;
use crate::finding::signed;
use crate::watch::{
    Call, Draft, Key, Matters, Said, Standing, Table, Watcher, WatcherStats, short, span_text,
};
use outside::is_outside;
use std::net::IpAddr;

const ID: &str = "beacon";
/// Calls of an edge that are kept.
const SAMPLES: usize = 64;
/// Intervals from which a rhythm is read: of a new edge, and of one outside that had none.
const NEW_MIN: usize = 11;
const KNOWN_MIN: usize = 32;
/// Least score, and least regularity of the times alone: sizes are often all the same.
const SCORE: f64 = 0.8;
const TIMES_SCORE: f64 = 0.75;
/// Regularity of its times, percent, from which a learned edge has had a rhythm all along.
const RHYTHM_PERCENT: u8 = 60;
/// Shortest and longest median interval, ms.
const PERIOD_MIN_MS: u32 = 1_000;
const PERIOD_MAX_MS: u32 = 6 * 3_600_000;
/// Shorter than that it is a job that loops, ns.
const LASTING_NS: i64 = 600_000_000_000;
/// How long an edge is new, ns.
const NEW_NS: i64 = 7 * 86_400_000_000_000;
/// It is over after so many periods without a call, and not before an hour, ns.
const MISSED: i64 = 4;
const CALM_NS: i64 = 3_600_000_000_000;
/// It is judged at each fourth call: sorting is not for every one.
const EACH: u32 = 4;
/// Kind of key for destinations without a name.
const ADDRESS: u8 = 16;
const OVER: &str = "{caller} no longer calls {service} at equal times, or has for so long that it is usual; it took \
                    {took}, {most} calls";

/// See the module.
pub(crate) struct Beacon {
    edges: Table<Edge>,
    capacity: usize,
    matters: Matters,
}

/// Why an edge is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// It is not.
    #[default]
    Not,
    /// It began after its group was learned.
    New,
    /// It goes outside.
    Outside,
}

#[derive(Default)]
struct Edge {
    kind: Kind,
    since_ns: i64,
    last_ns: i64,
    calls: u32,
    /// The most regular that its times were while they were learned, percent; 0 = too few to tell.
    usual: u8,
    /// Interval in ms and size in bytes ([`NO_SIZE`] = not told) of the last calls, in no order.
    samples: Vec<[u32; 2]>,
}

const NO_SIZE: u32 = u32::MAX;

/// What the samples say.
struct Rhythm {
    period_ms: u32,
    jitter_ms: u32,
    size: Option<u32>,
    times: f64,
    score: f64,
}

impl Beacon {
    /// Of at most `capacity` edges.
    pub(crate) fn new(capacity: usize) -> Beacon {
        Beacon { edges: Table::new(capacity), capacity, matters: Matters::default() }
    }
}

impl Edge {
    fn take(&mut self, at_ns: i64, size: u32) {
        if self.calls > 0 {
            let ms = u32::try_from(at_ns.abs_diff(self.last_ns) / 1_000_000).unwrap_or(u32::MAX);
            let at = (self.calls as usize - 1) % SAMPLES;
            match self.samples.get_mut(at) {
                Some(sample) => *sample = [ms, size],
                None => self.samples.push([ms, size]),
            }
        }
        // What wraps keeps its place in the samples.
        self.calls = if self.calls == u32::MAX { SAMPLES as u32 } else { self.calls + 1 };
        self.last_ns = at_ns;
    }

    fn stop(&mut self) {
        (self.kind, self.samples) = (Kind::Not, Vec::new());
    }

    /// `None`: too few calls to tell.
    fn rhythm(&self) -> Option<Rhythm> {
        if self.samples.len() < NEW_MIN {
            return None;
        }
        let column = |at: usize| -> Vec<u32> { self.samples.iter().map(|sample| sample[at]).collect() };
        let (times, sizes) = (column(0), column(1));
        let (period_ms, jitter_ms) = spread(&times);
        let told = sizes.iter().all(|size| *size != NO_SIZE);
        let regular = regularity((period_ms, jitter_ms));
        let (size, score) = match told.then(|| spread(&sizes)) {
            Some(sizes) => (Some(sizes.0), (regular + regularity(sizes)) / 2.0),
            None => (None, regular),
        };
        Some(Rhythm { period_ms, jitter_ms, size, times: regular, score })
    }

    /// Whether that is a beacon.
    fn is_one(&self, rhythm: &Rhythm) -> bool {
        let enough = match self.kind {
            Kind::Not => false,
            Kind::New => true,
            Kind::Outside => (1..RHYTHM_PERCENT).contains(&self.usual) && self.samples.len() >= KNOWN_MIN,
        };
        enough
            && rhythm.score > SCORE
            && rhythm.times > TIMES_SCORE
            && (PERIOD_MIN_MS..=PERIOD_MAX_MS).contains(&rhythm.period_ms)
            && self.last_ns.saturating_sub(self.since_ns) >= LASTING_NS
    }
}

/// Median, and median absolute deviation from it.
fn spread(values: &[u32]) -> (u32, u32) {
    let median = |mut of: Vec<u32>| {
        let middle = of.len() / 2;
        if of.is_empty() { 0 } else { *of.select_nth_unstable(middle).1 }
    };
    let middle = median(values.to_vec());
    (middle, median(values.iter().map(|value| value.abs_diff(middle)).collect()))
}

/// 1 = always the same, 0 = anything.
fn regularity((median, deviation): (u32, u32)) -> f64 {
    (1.0 - f64::from(deviation) / f64::from(median.max(1))).max(0.0)
}

fn address(call: &Call<'_>) -> Option<IpAddr> {
    call.event.peer.dst.as_ref().and_then(|dst| dst.ip)
}

/// The edge, by the destination's address where it has no name; `None`: it has neither.
fn edge_of(call: &Call<'_>) -> Option<Key> {
    if !call.event.target.svc.is_empty() {
        return Some(call.edge);
    }
    let ip = call.keys.of(ADDRESS, &[&address(call)?.to_string()]);
    Some(call.keys.pair(ADDRESS, &call.group, &ip))
}

/// Bytes of the request, else of its answer.
fn size_of_call(call: &Call<'_>) -> u32 {
    let body = &call.event.body;
    let of = |payload: &Option<countersign_event::Payload>| payload.as_ref().and_then(|p| p.size);
    let size = of(&body.req).or_else(|| of(&body.rsp));
    size.map_or(NO_SIZE, |size| u32::try_from(size).unwrap_or(NO_SIZE - 1).min(NO_SIZE - 1))
}

fn say(call: &Call<'_>, edge: &Edge, rhythm: &Rhythm, outside: bool) -> Said {
    let destination = match address(call).filter(|_| call.event.target.svc.is_empty()) {
        Some(ip) => ip.to_string(),
        None => call.service_name(),
    };
    let values = vec![
        ("caller", call.group_name()),
        ("destination", destination),
        ("period", span_text(i64::from(rhythm.period_ms).saturating_mul(1_000_000))),
        ("jitter", span_text(i64::from(rhythm.jitter_ms).saturating_mul(1_000_000))),
        ("n", edge.calls.to_string()),
        ("took", span_text(edge.last_ns.saturating_sub(edge.since_ns))),
        ("size", rhythm.size.map_or_else(|| "unknown size".to_owned(), |size| format!("{size} B"))),
        ("score", short(rhythm.score)),
        ("where", if outside { "a destination outside" } else { "a destination" }.to_owned()),
        ("usual", short(f64::from(edge.usual) / 100.0)),
    ];
    let (confidence, template) = match edge.kind {
        Kind::Outside => (
            60,
            "{caller} calls {destination}, outside, every {period} ±{jitter} ({size} each, regularity {score} of 1); \
             while its calls of it were learned, their times were at most {usual} regular; wrong if: a new schedule or \
             poll was not announced",
        ),
        _ => (
            if outside { 75 } else { 55 },
            "{caller} calls {destination} every {period} ±{jitter}, {n} times in {took} ({size} each, regularity \
             {score} of 1); it is {where} that it did not call before; wrong if: a new poll, health \
             check or scheduled job was not announced",
        ),
    };
    Said { confidence, template, values }
}

impl Watcher for Beacon {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("score", SCORE.to_string()),
            ("calls", (NEW_MIN + 1).to_string()),
            ("samples", SAMPLES.to_string()),
            ("new_ns", NEW_NS.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        true
    }

    fn input(&self) -> &'static str {
        "intervals"
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        if !call.is_call || call.timely != Timely::OnTime || call.weight > 1 {
            return;
        }
        let Some(key) = edge_of(call) else { return };
        // From start to start: how long answers take is not the caller's.
        let at_ns = call.at_ns.saturating_sub(call.event.core.dur.map_or(0, signed));
        let outside = address(call).is_some_and(is_outside);
        let fresh = || Edge { since_ns: at_ns, ..Edge::default() };
        let (standing, edge) = self.edges.see(key, call.index, call.at_ns, fresh);
        if standing == Standing::New && (call.learning || !call.changing) {
            edge.kind = match (call.learning, outside) {
                (false, _) => Kind::New,
                (true, true) => Kind::Outside,
                (true, false) => Kind::Not,
            };
        }
        if edge.kind == Kind::New && at_ns.saturating_sub(edge.since_ns) > NEW_NS {
            edge.stop();
        }
        if edge.kind == Kind::Not {
            return;
        }
        edge.take(at_ns, size_of_call(call));
        if !edge.calls.is_multiple_of(EACH) {
            return;
        }
        let Some(rhythm) = edge.rhythm() else { return };
        if call.learning {
            if edge.samples.len() < KNOWN_MIN {
                return;
            }
            edge.usual = edge.usual.max((rhythm.times * 100.0) as u8).max(1);
            return;
        }
        if !edge.is_one(&rhythm) {
            return;
        }
        let calm_ns = (i64::from(rhythm.period_ms) * 1_000_000).saturating_mul(MISSED).max(CALM_NS);
        let since_ns = if edge.kind == Kind::New { edge.since_ns } else { at_ns };
        let much = f64::from(edge.calls);
        self.matters.tell(call, key, since_ns, much, calm_ns, out, || say(call, edge, &rhythm, outside));
    }

    fn advance(&mut self, watermark_ns: i64, _ledger_ns: u64, out: &mut Vec<Draft>) {
        self.matters.settle(watermark_ns, OVER, out);
    }

    fn wake_ns(&self) -> Option<i64> {
        self.matters.wake_ns()
    }

    fn stats(&self) -> WatcherStats {
        let keys = self.edges.len() as u64;
        let each = size_of::<Edge>() + crate::watch::table::SLOT_BYTES + 8 * SAMPLES;
        let evicted = self.edges.evicted() + self.matters.untold();
        WatcherStats { keys, evicted, bytes: keys * each as u64 }
    }

    fn write(&self, out: &mut Writer) {
        self.edges.write(out);
        self.matters.write(out);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let (edges, matters) = (Table::read(self.capacity, from)?, Matters::read(from)?);
        (self.edges, self.matters) = (edges, matters);
        Some(())
    }
}

impl Saved for Edge {
    const MIN_BYTES: usize = 22;

    fn write(&self, out: &mut Writer) {
        out.u8(match self.kind {
            Kind::Not => 0,
            Kind::New => 1,
            Kind::Outside => 2,
        });
        out.i64(self.since_ns);
        out.i64(self.last_ns);
        out.u32(self.calls);
        out.u8(self.usual);
        out.len(self.samples.len());
        self.samples.iter().flatten().for_each(|n| out.u32(*n));
    }

    fn read(from: &mut Reader<'_>) -> Option<Edge> {
        let kind = match from.u8()? {
            0 => Kind::Not,
            1 => Kind::New,
            2 => Kind::Outside,
            _ => return None,
        };
        let (since_ns, last_ns, calls, usual) = (from.i64()?, from.i64()?, from.u32()?, from.u8()?);
        let samples =
            (0..from.len(8)?).map(|_| Some([from.u32()?, from.u32()?])).collect::<Option<Vec<_>>>()?;
        (samples.len() <= SAMPLES).then_some(Edge { kind, since_ns, last_ns, calls, usual, samples })
    }
}

#[cfg(test)]
mod tests;
