//! Detector 4, `slow-shift`: the rate of an edge has moved, a little at a time.
//!
//! Two cumulative sums (`sketch/cusum.rs`) of an edge's calls against what is usual at that hour (`sketch/usual.rs`):
//! one for [`UP`] times as many, judged at each call by what the whole hour may have, one for [`DOWN`] times as many, judged when an hour is over and
//! the watermark has passed it. Where `rate-shift` needs a burst, this finds what is only half as much again for a day. Both sums
//! begin anew when a change of either side was announced, and nothing is learned while a shift is open: the new level
//! becomes usual an hour after it was told.

use crate::bytes::{Reader, Saved, Writer};
use crate::clock::Timely;
use crate::sketch::cusum;
use crate::sketch::usual::{Usual, float, hour_of};
use crate::watch::{Call, Draft, Matters, Said, Table, Watcher, WatcherStats, short, span_text};

const ID: &str = "slow-shift";
/// The changes looked for.
const UP: f64 = 1.6;
const DOWN: f64 = 0.4;
/// Limits of the sums, nats.
const LIMIT: f64 = 16.0;
/// Least calls since the sum was zero.
const CALLS: u32 = 30;
const HOUR_NS: i64 = 3_600_000_000_000;
const CALM_NS: i64 = 3 * HOUR_NS;
/// Calls of an edge before its usual is kept.
const DENSE_FROM: u32 = 24;
const OVER: &str = "{caller} calls {service} as often as usual again; the shift took {took}";

/// See the module.
pub(crate) struct SlowShift {
    edges: Table<Edge>,
    capacity: usize,
    matters: Matters,
}

#[derive(Default)]
struct Edge {
    calls: u32,
    /// The open hour and its calls.
    hour: i64,
    count: u32,
    /// The first hour is not whole.
    tainted: bool,
    sums: [f32; 2],
    /// Since when each sum is above zero, and the calls since.
    since_ns: [i64; 2],
    since: [u32; 2],
    usual: Option<Box<Usual>>,
}

/// Which way, since when, calls since, expected since.
struct Shift {
    way: usize,
    since_ns: i64,
    calls: u32,
    expected: f64,
}

impl SlowShift {
    /// Of at most `capacity` edges.
    pub(crate) fn new(capacity: usize) -> SlowShift {
        SlowShift { edges: Table::new(capacity), capacity, matters: Matters::default() }
    }
}

impl Edge {
    fn reset(&mut self, at_ns: i64) {
        (self.sums, self.since, self.since_ns) = ([0.0; 2], [0; 2], [at_ns; 2]);
    }

    /// Closes hours that are over; whether there were too few calls in them.
    fn close(&mut self, at_ns: i64, learn: bool) -> Option<Shift> {
        let hour = hour_of(at_ns);
        if hour <= self.hour {
            return None;
        }
        let mut shift = None;
        if let Some(usual) = self.usual.as_mut() {
            // Of what comes after a day without a call, the silence is not this one's matter.
            if usual.known() && !self.tainted && hour - self.hour <= 24 {
                for over in self.hour..hour {
                    let count = if over == self.hour { self.count } else { 0 };
                    let (expected, spread) = (usual.expected(over), usual.spread());
                    if cusum::add(&mut self.sums[0], up(usual, over, count)) > 0.0 {
                        self.since[0] = self.since[0].saturating_add(count);
                    } else {
                        (self.since_ns[0], self.since[0]) = ((over + 1) * HOUR_NS, 0);
                    }
                    let sum = cusum::add(
                        &mut self.sums[1],
                        cusum::poisson(f64::from(count), expected, DOWN, spread),
                    );
                    if sum > 0.0 {
                        self.since[1] = self.since[1].saturating_add(count);
                    } else {
                        (self.since_ns[1], self.since[1]) = ((over + 1) * HOUR_NS, 0);
                    }
                }
                let (since_ns, calls) = (self.since_ns[1], self.since[1]);
                let hours = (hour * HOUR_NS - since_ns) / HOUR_NS;
                let expected: f64 = (0..hours.clamp(0, 72)).map(|back| usual.expected(hour - 1 - back)).sum();
                if f64::from(self.sums[1]) >= LIMIT && expected >= f64::from(CALLS) {
                    shift = Some(Shift { way: 1, since_ns, calls, expected });
                    (self.sums[1], self.since[1]) = (0.0, 0);
                }
            }
            if !self.tainted && learn {
                usual.learn(self.hour, f64::from(self.count));
                usual.empty(self.hour, hour);
            }
        } else if self.calls >= DENSE_FROM {
            self.usual = Some(Box::default());
        }
        (self.hour, self.count, self.tainted) = (hour, 0, false);
        shift
    }

    /// Counts a call; whether there are too many.
    fn take(&mut self, call: &Call<'_>) -> Option<Shift> {
        let many = u32::try_from(call.weight).unwrap_or(u32::MAX);
        self.count = self.count.saturating_add(many);
        self.calls = self.calls.saturating_add(1);
        let usual = self.usual.as_ref().filter(|usual| usual.known())?;
        let sum = f64::from(self.sums[0]) + up(usual, self.hour, self.count);
        let (since_ns, calls) = (self.since_ns[0], self.since[0].saturating_add(self.count));
        // Several hours of it: what is over within one is for `rate-shift` to judge.
        if sum < LIMIT || calls < CALLS || self.hour * HOUR_NS - since_ns < HOUR_NS {
            return None;
        }
        let hours = (self.hour - hour_of(since_ns)).clamp(0, 72);
        let expected = (0..=hours).map(|back| usual.expected(self.hour - back)).sum();
        Some(Shift { way: 0, since_ns, calls, expected })
    }
}

/// What an hour with so many calls adds to the sum for more: measured by the busiest of the hours around it, so that a
/// job an hour early is nothing, and never more than half of the limit.
fn up(usual: &Usual, hour: i64, count: u32) -> f64 {
    let per_hour = usual.around(hour).max(usual.mean() / 2.0).max(0.125);
    cusum::poisson(f64::from(count), per_hour, UP, usual.spread()).min(LIMIT / 2.0)
}

impl Shift {
    fn say(&self, call: &Call<'_>) -> Said {
        Said {
            confidence: 60,
            template: match self.way {
                0 => {
                    "{caller} made {calls} calls to {service} in the last {since} where {expected} are usual, more and \
                     more without a burst; wrong if: the load has grown for a reason that was not announced"
                }
                _ => {
                    "{caller} made only {calls} calls to {service} in the last {since} where {expected} are usual; \
                     wrong if: the load has gone elsewhere for a reason that was not announced"
                }
            },
            values: vec![
                ("caller", call.group_name()),
                ("calls", self.calls.to_string()),
                ("service", call.service_name()),
                ("since", span_text(call.at_ns.saturating_sub(self.since_ns))),
                ("expected", short(self.expected)),
            ],
        }
    }
}

impl Watcher for SlowShift {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("up", UP.to_string()),
            ("down", DOWN.to_string()),
            ("limit_nats", LIMIT.to_string()),
            ("calls", CALLS.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        true
    }

    fn input(&self) -> &'static str {
        "rate"
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        if !call.is_call || call.timely != Timely::OnTime {
            return;
        }
        let open = self.matters.is_open(&call.edge);
        let fresh = || Edge { hour: hour_of(call.at_ns), tainted: true, ..Edge::default() };
        let (_, edge) = self.edges.see(call.edge, call.index, call.at_ns, fresh);
        let fewer = edge.close(call.at_ns, !open);
        let more = edge.take(call);
        if call.changing {
            edge.reset(call.at_ns);
            edge.tainted = true;
            return;
        }
        let Some(shift) = more.or(fewer) else { return };
        let much = f64::from(shift.calls).max(shift.expected);
        self.matters.tell(call, call.edge, shift.since_ns, much, CALM_NS, out, || shift.say(call));
    }

    fn advance(&mut self, watermark_ns: i64, _ledger_ns: u64, out: &mut Vec<Draft>) {
        self.matters.settle(watermark_ns, OVER, out);
    }

    fn wake_ns(&self) -> Option<i64> {
        self.matters.wake_ns()
    }

    fn stats(&self) -> WatcherStats {
        let keys = self.edges.len() as u64;
        let each = size_of::<Edge>() + size_of::<Usual>() + crate::watch::table::SLOT_BYTES;
        WatcherStats {
            keys,
            evicted: self.edges.evicted() + self.matters.untold(),
            bytes: keys * each as u64,
        }
    }

    fn write(&self, out: &mut Writer) {
        self.edges.write(out);
        self.matters.write(out);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        (self.edges, self.matters) = (Table::read(self.capacity, from)?, Matters::read(from)?);
        Some(())
    }
}

impl Saved for Edge {
    const MIN_BYTES: usize = 50;

    fn write(&self, out: &mut Writer) {
        out.u32(self.calls);
        out.i64(self.hour);
        out.u32(self.count);
        out.bool(self.tainted);
        for way in 0..2 {
            out.u32(self.sums[way].to_bits());
            out.i64(self.since_ns[way]);
            out.u32(self.since[way]);
        }
        out.bool(self.usual.is_some());
        if let Some(usual) = &self.usual {
            usual.write(out);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Edge> {
        let mut edge = Edge { calls: from.u32()?, hour: from.i64()?, count: from.u32()?, ..Edge::default() };
        edge.tainted = from.bool()?;
        for way in 0..2 {
            (edge.sums[way], edge.since_ns[way], edge.since[way]) = (float(from)?, from.i64()?, from.u32()?);
        }
        edge.usual = match from.bool()? {
            true => Some(Box::new(Usual::read(from)?)),
            false => None,
        };
        Some(edge)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    /// Eight days of a call each `every` minutes, then one of a call each `then` minutes.
    fn days(every: u64, then: u64) -> Traffic {
        let mut traffic = Traffic::new();
        let mut minute = 0;
        while minute < 9 * 1440 {
            traffic.call(minute * MINUTE + minute * 13 % 50 * S, |_| {});
            minute += if minute < 8 * 1440 { every } else { then };
        }
        traffic
    }

    #[test]
    fn twice_and_a_third_as_many_for_hours_are_found_once() {
        let found = days(6, 3).findings("slow-shift");
        assert_eq!(
            found.iter().filter(|f| f.revision == 1).count(),
            1,
            "{:?}",
            found.iter().map(said).collect::<Vec<_>>()
        );
        assert!(said(&found[0]).contains("are usual, more and more without a burst"), "{}", said(&found[0]));
        let found = days(6, 20).findings("slow-shift");
        assert!(said(&found[0]).contains("made only"), "{}", said(&found[0]));
        assert!(days(6, 3).findings("rate-shift").is_empty());
    }

    #[test]
    fn a_fifth_more_and_an_announced_change_are_silent() {
        assert!(days(6, 5).findings("slow-shift").is_empty());
        assert!(days(6, 6).findings("slow-shift").is_empty());
        let mut traffic = days(6, 3);
        traffic.event(8 * DAY - 60 * S, |e| {
            (e.core.rec, e.core.op) = (Some(countersign_event::Rec::Platform), "change_window".to_owned());
            e.core.dur = Some(DAY + 3600 * S);
        });
        assert!(traffic.findings("slow-shift").is_empty());
    }

    #[test]
    fn any_cut_and_any_restart_give_the_same() {
        days(6, 3).holds_together("slow-shift");
    }
}
