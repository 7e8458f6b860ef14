//! Detector 5, `quantile-shift`: calls take longer, or answers are larger, than is usual.
//!
//! Of each edge the 95th percentile of latency and of answer size is learned (`sketch/loghist.rs`, within 1/8). Each call
//! leaves two bits: above it, and above [`FAR`] times it. A finding is a run of the newest 8 to 64 calls of which so many
//! are above that it surprises by [`NATS`] against the share that was above at this hour so far (so the confidence
//! intervals are far apart), and of which at least [`FAR_SHARE`] are far above (so it matters too). A cumulative sum of
//! the calls above finds what creeps. The latency bits are
//! also pooled over all edges of a service: a slow service is seen by the first few calls, whoever makes them.
//!
//! If, meanwhile, one caller makes most of the calls of a service of which it usually makes few, the sentence names it:
//! a noisy neighbour. Muted while a change of either side was announced.

use crate::bytes::{Reader, Saved, Writer};
use crate::clock::Timely;
use crate::sketch::bits::{LastBits, Run};
use crate::sketch::cusum;
use crate::sketch::loghist::LogHist;
use crate::sketch::tail::binomial_nats;
use crate::sketch::usual::float;
use crate::watch::{Call, Draft, Matters, Said, Table, Watcher, WatcherStats, bytes_text, short, span_text};

const ID: &str = "quantile-shift";
/// Values from which a percentile is learned.
const SAMPLES: u32 = 200;
/// Surprise that is one, in nats: 1e-9.
const NATS: f64 = 21.0;
/// What is far above, against the 95th percentile.
const FAR: f64 = 1.6;
/// Share of the run that is far above.
const FAR_SHARE: f64 = 0.125;
/// Share of the calls above that are usually far above, and the surprise of far ones that is enough, nats.
const FAR_USUAL: f64 = 0.2;
const NATS_FAR: f64 = 18.0;
const HITS_FAR: u32 = 5;
/// A creeping change: the ratio of the share above that is looked for, the limit of its sum in nats, fewest above.
const CREEP_RATIO: f64 = 2.5;
const CREEP: f64 = 16.0;
const HITS_CREEP: u32 = 15;
/// Fewest of a run that are above.
const HITS: u32 = 6;
/// The share that is above is taken to be at least this; of the values that it was learned from 0.05 are.
const SHARE_MIN: f64 = 0.08;
/// Calls after which the percentile is worked out anew.
const RENEW: u32 = 32;
/// Over when it was so long as usual, ns.
const CALM_NS: i64 = 3_600_000_000_000;
/// Surprise of a caller's share of a service's last 64 calls that makes it loud, in nats.
const LOUD_NATS: f64 = 21.0;
const OVER: &str = "calls to {service} are as usual again; the shift took {took}";

/// See the module.
pub(crate) struct QuantileShift {
    edges: Table<Edge>,
    capacity: usize,
    services: Table<Service>,
    service_capacity: usize,
    matters: Matters,
}

#[derive(Default)]
struct Edge {
    calls: u32,
    latency: Measure,
    size: Measure,
}

/// One quantity of one edge.
#[derive(Default)]
struct Measure {
    above: LastBits,
    far: LastBits,
    /// 95th percentile, 0 while not known, and values until it is worked out anew.
    p95: u64,
    due: u32,
    hist: LogHist,
    /// Share of an hour's calls that were above, of 255, by hour of the day; the open hour's calls and those above.
    hours: [u8; 24],
    hour: i64,
    open: [u16; 2],
    /// Cumulative sum of the calls above, and those above and all since it was zero.
    creep: f32,
    since: [u16; 2],
}

/// What is pooled over a service's edges.
#[derive(Default)]
struct Service {
    above: LastBits,
    far: LastBits,
    calls: u32,
    /// The last 64 callers, by a byte of their edge, the newest at `at`.
    callers: Vec<u8>,
    at: u8,
    /// The loud one: its byte, its calls of the last 64, its usual share in thousandths, its name.
    loud: Option<Loud>,
}

struct Loud {
    tag: u8,
    calls: u8,
    usual: u16,
    until_ns: i64,
    name: String,
}

/// Calls of a service that show who is loud.
const CALLERS: usize = 64;

impl QuantileShift {
    /// Of at most `capacity` edges of at most `services` services.
    pub(crate) fn new(capacity: usize, services: usize) -> QuantileShift {
        let (edges, service_capacity) = (Table::new(capacity), services);
        let services = Table::new(service_capacity);
        QuantileShift { edges, capacity, services, service_capacity, matters: Matters::default() }
    }
}

impl Measure {
    /// Takes in a value; whether it is above and far above, once the percentile is known.
    fn take(&mut self, value: u64, at_ns: i64, learn: bool) -> Option<(bool, bool)> {
        self.close(at_ns);
        let verdict = (self.p95 > 0).then_some((value > self.p95, value as f64 > FAR * self.p95 as f64));
        if let Some((above, far)) = verdict {
            self.above.push(above);
            self.far.push(far);
            let usual = self.usual(at_ns);
            let sum = cusum::add(&mut self.creep, cusum::yes(above, usual, (CREEP_RATIO * usual).min(0.8)));
            let [hits, of] = self.since;
            self.since = match sum > 0.0 {
                true => [hits.saturating_add(u16::from(above)), of.saturating_add(1)],
                false => [0; 2],
            };
            let [calls, over] = &mut self.open;
            // An hour with a matter open is not one to learn from.
            (*calls, *over) = match learn {
                true => (calls.saturating_add(1), over.saturating_add(u16::from(above))),
                false => (0, 0),
            };
        }
        if learn {
            self.hist.add(value);
            self.due = self.due.saturating_sub(1);
            if self.due == 0 && self.hist.total() >= SAMPLES {
                (self.p95, self.due) = (self.hist.quantile(0.95), RENEW);
            }
        }
        verdict
    }

    fn close(&mut self, at_ns: i64) {
        let hour = crate::sketch::usual::hour_of(at_ns);
        if hour <= self.hour {
            return;
        }
        let [calls, over] = std::mem::take(&mut self.open);
        // Of a few calls a share says nothing.
        if calls >= 4
            && let Some(known) = self.hours.get_mut(self.hour.rem_euclid(24) as usize)
        {
            let share = (255.0 * f64::from(over) / f64::from(calls)) as u8;
            *known = share.max(*known - *known / 4);
        }
        self.hour = hour;
    }

    /// The share that is usually above at this hour.
    fn usual(&self, at_ns: i64) -> f64 {
        let hour = crate::sketch::usual::hour_of(at_ns);
        let of = |hour: i64| self.hours.get(hour.rem_euclid(24) as usize).copied().unwrap_or(0);
        let most = of(hour).max(of(hour - 1)).max(of(hour + 1));
        // An hour of few calls with some above is mostly chance.
        (f64::from(most) / 255.0 / 2.0).max(SHARE_MIN)
    }

    fn judge(&self, at_ns: i64) -> Option<Run> {
        let run = judge(&self.above, &self.far, self.usual(at_ns));
        let [hits, of] = self.since.map(u32::from);
        let creep = f64::from(self.creep);
        run.or_else(|| (creep >= CREEP && hits >= HITS_CREEP).then_some(Run { hits, of, nats: creep }))
    }
}

fn judge(above: &LastBits, far: &LastBits, usual: f64) -> Option<Run> {
    let run = above.most_surprising(usual);
    let matters = f64::from(far.hits(run.of)) >= FAR_SHARE * f64::from(run.of);
    if run.nats >= NATS && run.hits >= HITS && matters {
        return Some(run);
    }
    // Far above is so seldom that fewer calls are enough.
    let run = far.most_surprising(usual * FAR_USUAL);
    (run.nats >= NATS_FAR && run.hits >= HITS_FAR).then_some(run)
}

impl Service {
    /// Notes who called; whether somebody became loud is asked every eighth call.
    fn note(&mut self, call: &Call<'_>, of_edge: u32) {
        let tag = call.edge[15];
        let at = usize::from(self.at) % CALLERS;
        match self.callers.get_mut(at) {
            Some(caller) => *caller = tag,
            None => self.callers.push(tag),
        }
        self.at = ((at + 1) % CALLERS) as u8;
        self.calls = self.calls.saturating_add(1);
        if !self.calls.is_multiple_of(8) || self.callers.len() < CALLERS {
            return;
        }
        let mine = self.callers.iter().filter(|caller| **caller == tag).count() as u64;
        // What it had before these.
        let before = f64::from(self.calls.saturating_sub(CALLERS as u32)).max(1.0);
        let usual = f64::from(of_edge.saturating_sub(mine as u32)) / before;
        if binomial_nats(mine, CALLERS as u64, usual.max(0.02)) >= LOUD_NATS {
            self.loud = Some(Loud {
                tag,
                calls: mine as u8,
                usual: (usual.min(1.0) * 1000.0) as u16,
                until_ns: call.at_ns.saturating_add(300_000_000_000),
                name: call.group_name(),
            });
        }
    }

    /// Who is loud now, unless it is the caller itself.
    fn neighbour(&self, call: &Call<'_>) -> Option<&Loud> {
        self.loud.as_ref().filter(|loud| loud.until_ns >= call.at_ns && loud.tag != call.edge[15])
    }
}

/// What is said of a run, by whom it is made and whether there is a loud neighbour.
fn say(call: &Call<'_>, what: &'static str, usual: String, run: Run, loud: Option<&Loud>) -> Said {
    let mut values = vec![
        ("caller", call.group_name()),
        ("service", call.service_name()),
        ("hits", run.hits.to_string()),
        ("of", run.of.to_string()),
        ("usual", usual),
    ];
    let template = match (what, loud) {
        ("latency", Some(loud)) => {
            values.push(("neighbour", loud.name.clone()));
            values.push(("share", loud.calls.to_string()));
            values.push(("before", format!("{} %", short(f64::from(loud.usual) / 10.0))));
            "{neighbour} slows {service} down for others: it makes {share} of its last 64 calls (usually {before}), and \
             {hits} of the last {of} calls of {caller} took longer than their usual p95 of {usual}; wrong if: \
             {service} is slow for a reason of its own"
        }
        ("latency", None) => {
            "{hits} of the last {of} calls of {caller} to {service} took longer than their usual p95 of {usual}, usual \
             is 1 in 20; wrong if: slower calls are expected since a change that was not announced"
        }
        ("service", _) => {
            "{service} is slow: {hits} of its last {of} calls, the newest by {caller}, took longer than the p95 usual \
             for their caller ({usual} here), usual is 1 in 20; wrong if: slower calls are expected since a change that was \
             not announced"
        }
        _ => {
            "{hits} of the last {of} answers of {service} to {caller} were larger than their usual p95 of {usual}, usual \
             is 1 in 20; wrong if: larger answers are expected since a change that was not announced"
        }
    };
    Said { confidence: if run.nats >= 2.0 * NATS { 75 } else { 60 }, template, values }
}

impl QuantileShift {
    fn look(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let size_about = about_size(call);
        let calm = !self.matters.is_open(&call.edge) && !self.matters.is_open(&call.service);
        let calm_size = !self.matters.is_open(&size_about);
        let (_, edge) = self.edges.see(call.edge, call.index, call.at_ns, Edge::default);
        edge.calls = edge.calls.saturating_add(1);
        let latency = call.event.core.dur.and_then(|ns| edge.latency.take(ns, call.at_ns, calm));
        if self.matters.is_open(&call.service) {
            // The service's matter tells of these calls; once it is over they are not the edge's.
            (edge.latency.above, edge.latency.far) = Default::default();
            (edge.latency.creep, edge.latency.since) = Default::default();
        }
        let size = call.event.body.rsp.as_ref().and_then(|rsp| rsp.size);
        let size = size.and_then(|bytes| edge.size.take(bytes, call.at_ns, calm_size));
        let (_, service) = self.services.see(call.service, call.index, call.at_ns, Service::default);
        service.note(call, edge.calls);
        // A matter of one edge alone is not one of the service.
        if let Some((above, far)) = latency.filter(|_| !self.matters.is_open(&call.edge)) {
            service.above.push(above);
            service.far.push(far);
        }
        if call.changing || call.timely != Timely::OnTime {
            return;
        }
        let p95 = || span_text(i64::try_from(edge.latency.p95).unwrap_or(i64::MAX));
        if latency.is_some_and(|(above, _)| above) {
            let pooled = judge(&service.above, &service.far, SHARE_MIN);
            let own = edge.latency.judge(call.at_ns);
            let open = self.matters.is_open(&call.service);
            if let Some(run) = own.filter(|_| !open) {
                let (since, much) = (call.at_ns, f64::from(run.hits));
                if !self.matters.is_open(&call.edge) {
                    // What this edge left there is told by its own matter.
                    (service.above, service.far) = Default::default();
                }
                let loud = service.neighbour(call);
                self.matters.tell(call, call.edge, since, much, CALM_NS, out, || {
                    say(call, "latency", p95(), run, loud)
                });
            } else if let Some(run) = pooled.filter(|_| open || !self.matters.is_open(&call.edge)) {
                let (since, much) = (call.at_ns, f64::from(run.hits));
                let loud = service.neighbour(call);
                let what = if loud.is_some() { "latency" } else { "service" };
                self.matters.tell(call, call.service, since, much, CALM_NS, out, || {
                    say(call, what, p95(), run, loud)
                });
            }
        }
        if size.is_some_and(|(above, _)| above)
            && let Some(run) = edge.size.judge(call.at_ns)
        {
            let usual = || bytes_text(edge.size.p95);
            let (since, much) = (call.at_ns, f64::from(run.hits));
            self.matters
                .tell(call, size_about, since, much, CALM_NS, out, || say(call, "size", usual(), run, None));
        }
    }
}

/// The edge's matter of sizes, apart from that of latency.
fn about_size(call: &Call<'_>) -> crate::watch::Key {
    let mut about = call.edge;
    about[0] ^= 0xff;
    about
}

impl Watcher for QuantileShift {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("samples", SAMPLES.to_string()),
            ("surprise_nats", NATS.to_string()),
            ("far", FAR.to_string()),
            ("far_share", FAR_SHARE.to_string()),
            ("loud_nats", LOUD_NATS.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        true
    }

    fn input(&self) -> &'static str {
        "latency"
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        if call.is_call {
            self.look(call, out);
        }
    }

    fn advance(&mut self, watermark_ns: i64, _ledger_ns: u64, out: &mut Vec<Draft>) {
        self.matters.settle(watermark_ns, OVER, out);
    }

    fn wake_ns(&self) -> Option<i64> {
        self.matters.wake_ns()
    }

    fn stats(&self) -> WatcherStats {
        let (edges, services) = (self.edges.len() as u64, self.services.len() as u64);
        let evicted = self.edges.evicted() + self.services.evicted() + self.matters.untold();
        let slot = crate::watch::table::SLOT_BYTES;
        let bytes = edges * (size_of::<Edge>() + slot + TYPICAL_HIST) as u64
            + services * (size_of::<Service>() + slot + CALLERS) as u64;
        WatcherStats { keys: edges, evicted, bytes }
    }

    fn write(&self, out: &mut Writer) {
        self.edges.write(out);
        self.services.write(out);
        self.matters.write(out);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let (edges, services) =
            (Table::read(self.capacity, from)?, Table::read(self.service_capacity, from)?);
        (self.edges, self.services, self.matters) = (edges, services, Matters::read(from)?);
        Some(())
    }
}

/// Bytes of the two histograms of an edge, typically.
const TYPICAL_HIST: usize = 200;

impl Saved for Measure {
    const MIN_BYTES: usize = 2 * LastBits::MIN_BYTES + LogHist::MIN_BYTES + 24 + 32;

    fn write(&self, out: &mut Writer) {
        self.above.write(out);
        self.far.write(out);
        out.u64(self.p95);
        out.u32(self.due);
        self.hist.write(out);
        self.hours.iter().for_each(|share| out.u8(*share));
        out.i64(self.hour);
        self.open.iter().chain(&self.since).for_each(|n| out.u16(*n));
        out.u32(self.creep.to_bits());
    }

    fn read(from: &mut Reader<'_>) -> Option<Measure> {
        let (above, far) = (LastBits::read(from)?, LastBits::read(from)?);
        let (p95, due, hist) = (from.u64()?, from.u32()?, LogHist::read(from)?);
        let mut hours = [0; 24];
        for share in &mut hours {
            *share = from.u8()?;
        }
        let (hour, open) = (from.i64()?, [from.u16()?, from.u16()?]);
        let (since, creep) = ([from.u16()?, from.u16()?], float(from)?);
        Some(Measure { above, far, p95, due, hist, hours, hour, open, since, creep })
    }
}

impl Saved for Edge {
    const MIN_BYTES: usize = 4 + 2 * Measure::MIN_BYTES;

    fn write(&self, out: &mut Writer) {
        out.u32(self.calls);
        self.latency.write(out);
        self.size.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Edge> {
        Some(Edge { calls: from.u32()?, latency: Measure::read(from)?, size: Measure::read(from)? })
    }
}

impl Saved for Service {
    const MIN_BYTES: usize = 2 * LastBits::MIN_BYTES + 10;

    fn write(&self, out: &mut Writer) {
        self.above.write(out);
        self.far.write(out);
        out.u32(self.calls);
        out.bytes(&self.callers);
        out.u8(self.at);
        out.bool(self.loud.is_some());
        if let Some(loud) = &self.loud {
            out.u8(loud.tag);
            out.u8(loud.calls);
            out.u16(loud.usual);
            out.i64(loud.until_ns);
            out.text(&loud.name);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Service> {
        let (above, far, calls) = (LastBits::read(from)?, LastBits::read(from)?, from.u32()?);
        let callers = from.bytes().filter(|callers| callers.len() <= CALLERS)?.to_vec();
        let at = from.u8()?;
        let loud = match from.bool()? {
            false => None,
            true => Some(Loud {
                tag: from.u8()?,
                calls: from.u8()?,
                usual: from.u16()?,
                until_ns: from.i64()?,
                name: from.text()?,
            }),
        };
        Some(Service { above, far, calls, callers, at, loud })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use countersign_event::Payload;

    fn quick(event: &mut countersign_event::Event, n: u64, times: u64) {
        event.core.dur = Some((10 + n * 7 % 23) * times * 1_000_000);
        event.body.rsp = Some(Payload { size: Some(1_000 + n * 37 % 900), ..Payload::default() });
    }

    /// Eight days of a call every 6 minutes by each of two callers; in the last two hours one a minute, `times` as slow.
    fn days(times: u64) -> Traffic {
        let mut traffic = Traffic::new();
        for minute in 0..8 * 1440u64 {
            let last = minute >= 8 * 1440 - 120;
            if minute % 6 == 0 || last {
                traffic.call(minute * MINUTE, |e| quick(e, minute, if last { times } else { 1 }));
            }
            if minute % 6 == 3 {
                traffic.call(minute * MINUTE, |e| {
                    quick(e, minute, 1);
                    named(e, "billing");
                });
            }
        }
        traffic
    }

    fn named(event: &mut countersign_event::Event, name: &str) {
        if let Some(who) = &mut event.who.who {
            (who.id, who.svc) = (format!("spiffe://e.org/{name}"), name.to_owned());
        }
    }

    #[test]
    fn slow_calls_are_found_after_a_few_of_them_and_named_with_their_numbers() {
        let found = days(4).findings("quantile-shift");
        assert_eq!(
            found.iter().filter(|f| f.revision == 1).count(),
            1,
            "{:#?}",
            found.iter().map(said).collect::<Vec<_>>()
        );
        let text = said(&found[0]);
        assert!(text.contains("orders") && text.contains("p95") && text.contains("wrong if"), "{text}");
    }

    #[test]
    fn a_little_slower_is_silent() {
        assert!(days(1).findings("quantile-shift").is_empty());
        let mut traffic = days(1);
        (0..4).for_each(|n| traffic.call(8 * DAY + n * MINUTE, |e| quick(e, n, 50)));
        (0..60).for_each(|n| traffic.call(8 * DAY + 5 * MINUTE + n * MINUTE, |e| quick(e, n, 1)));
        assert!(traffic.findings("quantile-shift").is_empty(), "four slow ones are no shift");
    }

    #[test]
    fn larger_answers_are_found() {
        let mut traffic = days(1);
        for n in 0..40 {
            traffic.call(8 * DAY + n * MINUTE, |e| {
                quick(e, n, 1);
                e.body.rsp = Some(Payload { size: Some(90_000), ..Payload::default() });
            });
        }
        let found = traffic.findings("quantile-shift");
        assert!(said(&found[0]).contains("were larger than their usual p95"), "{}", said(&found[0]));
    }

    #[test]
    fn a_loud_caller_is_named_when_others_become_slow() {
        let mut traffic = days(1);
        for n in 0..1_200 {
            traffic.call(8 * DAY + n * S, |e| {
                quick(e, n, 1);
                named(e, "reports");
            });
            if n % 20 == 0 {
                traffic.call(8 * DAY + n * S + 1, |e| quick(e, n, 6));
            }
        }
        let found = traffic.findings("quantile-shift");
        let text = said(&found[0]);
        assert!(text.starts_with("reports slows orders down for others: it makes 6"), "{text}");
    }

    #[test]
    fn any_cut_and_any_restart_give_the_same() {
        days(4).holds_together("quantile-shift");
    }
}
