//! Detector 3, `rate-shift`: a caller calls a service more often than is usual at this hour.
//!
//! Counts of the last minute and of the last five minutes, slid by ten seconds, against what is usual at this hour and
//! the ones beside it (`sketch/usual.rs`): surprising by the tail of an overdispersed Poisson distribution, above what
//! the busiest such minute of this hour of the day has ever been, and spread over several slots, so that a train of
//! retries is none. [`NATS`] is what a million edges and their windows of a day need for less than one false finding in
//! a week, so that no further correction for many tests is made. "More" is said by the event that makes it so. Less is
//! not its matter: `slow-shift` and `silence` look at that. Muted while a change of either side was announced.

use crate::bytes::{Reader, Saved, Writer};
use crate::clock::Timely;
use crate::sketch::ring::Ring;
use crate::sketch::tail::poisson_nats;
use crate::sketch::usual::{Usual, hour_of};
use crate::watch::{Call, Draft, Matters, Said, Standing, Table, Watcher, WatcherStats, short};

const ID: &str = "rate-shift";
/// Surprise that is one, in nats: 1e-11.
const NATS: f64 = 25.0;
/// Windows: name, slots of ten seconds, fewest calls in it.
const WINDOWS: [(&str, usize, u32); 2] = [("1 min", 6, 14), ("5 min", 30, 18)];
/// Times the busiest window known at this hour, and calls above that.
const ABOVE_BUSIEST: f64 = 1.6;
const ABOVE: f64 = 6.0;
/// Times the busiest window at any hour: what is done each night may be done by day.
const AT_ANY_HOUR: f64 = 1.2;
/// A slot has at most this share of a window that is said.
const IN_ONE_SLOT: f64 = 0.75;
/// Over when it was so long as usual, ns.
const CALM_NS: i64 = 600_000_000_000;
/// Events of an edge before its usual is kept by hour.
const DENSE_FROM: u32 = 24;
/// What is over says this.
const OVER: &str =
    "{caller} calls {service} as often as usual again; the shift took {took}, at most {most} calls";

/// See the module.
pub(crate) struct RateShift {
    edges: Table<Edge>,
    capacity: usize,
    matters: Matters,
}

#[derive(Default)]
struct Edge {
    ring: Ring,
    /// The open hour, its calls, and its busiest windows.
    hour: i64,
    count: u32,
    busiest: [u16; 2],
    events: u32,
    /// The open hour is not one to learn from: it began before we looked, or a shift was found in it.
    tainted: bool,
    dense: Option<Box<Dense>>,
}

#[derive(Clone, Default)]
struct Dense {
    usual: Usual,
    /// Busiest windows by hour of the day.
    busiest: [[u16; 2]; 24],
}

/// What is too much.
struct Shift {
    window: usize,
    calls: u32,
    usual: f64,
    busiest: f64,
    nats: f64,
}

impl RateShift {
    /// Of at most `capacity` edges.
    pub(crate) fn new(capacity: usize) -> RateShift {
        RateShift { edges: Table::new(capacity), capacity, matters: Matters::default() }
    }
}

impl Edge {
    /// Closes the open hour, and those without a call since, when `at_ns` is in a later one.
    fn close(&mut self, at_ns: i64) {
        let hour = hour_of(at_ns);
        if hour <= self.hour {
            return;
        }
        if let Some(dense) = self.dense.as_mut() {
            if !self.tainted {
                dense.usual.learn(self.hour, f64::from(self.count));
                if let Some(known) = dense.busiest.get_mut(self.hour.rem_euclid(24) as usize) {
                    for (known, new) in known.iter_mut().zip(self.busiest) {
                        // A busy hour is remembered for about a month.
                        *known = new.max(*known - *known / 32);
                    }
                }
            }
            dense.usual.empty(self.hour, hour);
        } else if self.events >= DENSE_FROM {
            self.dense = Some(Box::default());
        }
        (self.hour, self.count, self.busiest, self.tainted) = (hour, 0, [0; 2], false);
    }

    fn take(&mut self, call: &Call<'_>) {
        self.close(call.at_ns);
        let many = u32::try_from(call.weight).unwrap_or(u32::MAX);
        self.count = self.count.saturating_add(many);
        self.events = self.events.saturating_add(1);
        if self.ring.add(call.at_ns, call.weight) {
            for (busiest, (_, slots, _)) in self.busiest.iter_mut().zip(WINDOWS) {
                *busiest = (*busiest).max(u16::try_from(self.ring.last(slots).0).unwrap_or(u16::MAX));
            }
        }
    }

    fn judge(&self, at_ns: i64) -> Option<Shift> {
        if self.ring.all() < WINDOWS[0].2 {
            return None;
        }
        let dense = self.dense.as_ref().filter(|dense| dense.usual.known())?;
        let hour = hour_of(at_ns);
        let usual = dense.usual.around(hour).max(dense.usual.mean() / 4.0).max(0.5);
        let shifts = WINDOWS.iter().enumerate().filter_map(|(window, (_, slots, least))| {
            let (calls, in_one) = self.ring.last(*slots);
            if calls < *least || f64::from(in_one) > IN_ONE_SLOT * f64::from(calls) {
                return None;
            }
            let of = |hour: i64| {
                let known = dense.busiest.get(hour.rem_euclid(24) as usize);
                known.and_then(|known| known.get(window)).copied().unwrap_or(0)
            };
            let busiest = f64::from(of(hour - 1).max(of(hour)).max(of(hour + 1)));
            let usual = usual * *slots as f64 / 360.0;
            let nats = poisson_nats(f64::from(calls), usual, dense.usual.spread());
            let ever = dense.busiest.iter().filter_map(|known| known.get(window)).max().copied().unwrap_or(0);
            let allowed = (ABOVE_BUSIEST * busiest + ABOVE).max(AT_ANY_HOUR * f64::from(ever));
            let more = f64::from(calls) > usual && f64::from(calls) > allowed;
            (more && nats >= NATS).then_some(Shift { window, calls, usual, busiest, nats })
        });
        shifts.max_by(|a, b| a.nats.total_cmp(&b.nats))
    }
}

impl Shift {
    fn say(&self, call: &Call<'_>) -> Said {
        Said {
            confidence: if self.nats >= 2.0 * NATS { 75 } else { 60 },
            template: "{caller} made {calls} calls to {service} in {window}; usual at this hour are {usual}, the \
                       busiest so far had {busiest}; wrong if: a planned load or a new job began without an \
                       announced change",
            values: vec![
                ("caller", call.caller_name()),
                ("calls", self.calls.to_string()),
                ("service", call.service_name()),
                ("window", WINDOWS[self.window].0.to_owned()),
                ("usual", short(self.usual)),
                ("busiest", short(self.busiest)),
            ],
        }
    }
}

impl Watcher for RateShift {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("surprise_nats", NATS.to_string()),
            ("least_1min", WINDOWS[0].2.to_string()),
            ("least_5min", WINDOWS[1].2.to_string()),
            ("above_busiest", ABOVE_BUSIEST.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        true
    }

    fn input(&self) -> &'static str {
        "rate"
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        if !call.is_call {
            return;
        }
        let fresh = || Edge { hour: hour_of(call.at_ns), tainted: true, ..Edge::default() };
        let (standing, edge) = self.edges.see(call.edge, call.index, call.at_ns, fresh);
        edge.take(call);
        if standing != Standing::Known || call.changing || call.timely != Timely::OnTime {
            return;
        }
        let Some(shift) = edge.judge(call.at_ns) else { return };
        edge.tainted = true;
        let length = WINDOWS[shift.window].1 as i64 * 10_000_000_000;
        let (since, much) = (call.at_ns.saturating_sub(length), f64::from(shift.calls));
        self.matters.tell(call, call.edge, since, much, CALM_NS, out, || shift.say(call));
    }

    fn advance(&mut self, watermark_ns: i64, _ledger_ns: u64, out: &mut Vec<Draft>) {
        self.matters.settle(watermark_ns, OVER, out);
    }

    fn wake_ns(&self) -> Option<i64> {
        self.matters.wake_ns()
    }

    fn stats(&self) -> WatcherStats {
        let keys = self.edges.len() as u64;
        let each = size_of::<Edge>() + size_of::<Dense>() + crate::watch::table::SLOT_BYTES;
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
    const MIN_BYTES: usize = Ring::MIN_BYTES + 22;

    fn write(&self, out: &mut Writer) {
        self.ring.write(out);
        out.i64(self.hour);
        out.u32(self.count);
        self.busiest.iter().for_each(|n| out.u16(*n));
        out.u32(self.events);
        out.bool(self.tainted);
        out.bool(self.dense.is_some());
        if let Some(dense) = &self.dense {
            dense.usual.write(out);
            dense.busiest.iter().flatten().for_each(|n| out.u16(*n));
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Edge> {
        let (ring, hour, count) = (Ring::read(from)?, from.i64()?, from.u32()?);
        let busiest = [from.u16()?, from.u16()?];
        let (events, tainted) = (from.u32()?, from.bool()?);
        let dense = match from.bool()? {
            false => None,
            true => {
                let mut dense = Box::new(Dense { usual: Usual::read(from)?, ..Dense::default() });
                for known in dense.busiest.iter_mut().flatten() {
                    *known = from.u16()?;
                }
                Some(dense)
            }
        };
        Some(Edge { ring, hour, count, busiest, events, tainted, dense })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    /// Eight days of a call every 4 minutes, more by day; in the last hour `extra` calls a minute.
    fn days(extra: u64) -> Traffic {
        let mut traffic = Traffic::new();
        for minute in 0..8 * 1440u64 {
            let hour = minute / 60 % 24;
            if minute % 10 == 0 || ((8..18).contains(&hour) && minute % 3 == 0) {
                traffic.call(minute * MINUTE + minute * 7 % 40 * S, |_| {});
            }
            if minute >= 8 * 1440 - 60 {
                (0..extra).for_each(|n| traffic.call(minute * MINUTE + n * MINUTE / extra, |_| {}));
            }
        }
        traffic
    }

    #[test]
    fn a_burst_is_found_within_a_minute_once_and_ends() {
        let mut traffic = days(40);
        traffic.call(8 * DAY + 3600 * S, |_| {});
        let found = traffic.findings("rate-shift");
        let states: Vec<_> = found.iter().map(|f| f.state.word()).collect();
        assert_eq!(states[0], "open");
        assert_eq!(*states.last().unwrap(), "resolved");
        assert_eq!(states.iter().filter(|s| **s == "open").count(), 1, "{states:?}");
        assert!(found.iter().all(|f| f.id == found[0].id));
        let began = traffic.start() + 8 * DAY - 3600 * S;
        assert!(found[0].decided_ns - began <= 70 * S, "{}", (found[0].decided_ns - began) / S);
        let text = said(&found[0]);
        assert!(text.contains("calls to orders in 1 min; usual at this hour are"), "{text}");
        assert!(text.contains("; wrong if: "), "{text}");
    }

    #[test]
    fn twice_as_many_of_few_and_a_train_of_retries_are_silent() {
        assert!(days(1).findings("rate-shift").is_empty());
        let mut traffic = days(0);
        (0..60).for_each(|n| traffic.call(8 * DAY + n * S / 10, |_| {}));
        assert!(traffic.findings("rate-shift").is_empty());
    }

    #[test]
    fn a_batch_that_runs_every_night_and_an_announced_change_are_silent() {
        let mut traffic = days(0);
        for day in 0..9u64 {
            (0..400)
                .for_each(|n| traffic.call(day * DAY + 2 * 3600 * S + (day % 3) * 900 * S + n * S, |_| {}));
        }
        assert!(traffic.findings("rate-shift").is_empty());
        let mut traffic = days(0);
        traffic.event(8 * DAY, |e| {
            (e.core.rec, e.core.op) = (Some(countersign_event::Rec::Platform), "deploy".to_owned());
        });
        (0..600).for_each(|n| traffic.call(8 * DAY + n * S, |_| {}));
        assert!(traffic.findings("rate-shift").is_empty());
    }

    #[test]
    fn any_cut_and_any_restart_give_the_same() {
        days(40).holds_together("rate-shift");
    }
}
