//! Detector 6, `exfiltration`: more bytes go between a caller and a destination than ever did.
//!
//! Of each edge the bytes of requests and answers are summed in the last hour, slid by five minutes, and in the day
//! (UTC). A finding is a sum of more than [`TIMES`] the most of an hour, or of a day, in the last four weeks (of sums below
//! [`FULL`] the more, the smaller they are); an edge with a history of less than three days is judged by the hour alone and at twice
//! that. A nightly export is in the most of its hour, and so in that of the day. Who moves little at a time over days
//! stays below it: that is for `rate-shift`, `slow-shift` and `quantile-shift` to see.

use crate::bytes::{Reader, Saved, Writer};
use crate::clock::Timely;
use crate::sketch::usual::{float, hour_of};
use crate::watch::{Call, Draft, Matters, Said, Standing, Table, Watcher, WatcherStats, bytes_text};

const ID: &str = "exfiltration";
/// Length of a slot of the sliding hour, ns.
const SLOT_NS: i64 = 300_000_000_000;
const SLOTS: usize = 12;
/// Times the most of an hour, and of a day.
const TIMES: f64 = 5.0;
/// Sum from which that holds, bytes: of half as much it has to be twice as often, down to [`FLOOR`].
const FULL: f64 = 10.0 * 1_048_576.0;
/// Least sum that is one, bytes.
const FLOOR: f64 = 524_288.0;
/// Hours and days of history.
const HOURS_MIN: u16 = 24;
const DAYS_MIN: u16 = 3;
/// Weeks of which the most is kept.
const WEEKS: usize = 4;
const CALM_NS: i64 = 3_600_000_000_000;
const OVER: &str =
    "{caller} and {service} exchange as much as usual again; it took {took}, at most {most} bytes";

/// See the module.
pub(crate) struct Exfiltration {
    edges: Table<Edge>,
    capacity: usize,
    matters: Matters,
}

#[derive(Clone, Default)]
struct Edge {
    slot: i64,
    /// Bytes in slots of five minutes.
    slots: [f32; SLOTS],
    /// The open hour, its most in a sliding hour; the open day and its sum.
    hour: i64,
    hour_most: f32,
    day: i64,
    day_sum: f64,
    /// Nothing is learned of them: they were not watched from their beginning, or a matter was open.
    hour_tainted: bool,
    day_tainted: bool,
    hours: u16,
    days: u16,
    /// The most of a sliding hour and of a day, by week, the current one first.
    week: i64,
    most_hour: [f32; WEEKS],
    most_day: [f32; WEEKS],
}

impl Exfiltration {
    /// Of at most `capacity` edges.
    pub(crate) fn new(capacity: usize) -> Exfiltration {
        Exfiltration { edges: Table::new(capacity), capacity, matters: Matters::default() }
    }
}

impl Edge {
    fn close(&mut self, at_ns: i64) {
        let hour = hour_of(at_ns);
        if hour <= self.hour {
            return;
        }
        let (day, week) = (hour.div_euclid(24), hour.div_euclid(168));
        if !self.hour_tainted {
            self.most_hour[0] = self.most_hour[0].max(self.hour_most);
        }
        self.hours = self.hours.saturating_add(u16::try_from(hour - self.hour).unwrap_or(u16::MAX));
        (self.hour, self.hour_most, self.hour_tainted) = (hour, 0.0, false);
        if day > self.day {
            if !self.day_tainted {
                self.most_day[0] = self.most_day[0].max(self.day_sum as f32);
            }
            self.days = self.days.saturating_add(u16::try_from(day - self.day).unwrap_or(u16::MAX));
            (self.day, self.day_sum, self.day_tainted) = (day, 0.0, false);
        }
        while self.week < week {
            // An edge without a call for weeks keeps what is known of it.
            self.week = if week - self.week > WEEKS as i64 { week } else { self.week + 1 };
            for most in [&mut self.most_hour, &mut self.most_day] {
                most.rotate_right(1);
                let last = most[0];
                most[0] = 0.0;
                // What would leave fades instead.
                most[WEEKS - 1] = most[WEEKS - 1].max(last / 2.0);
            }
        }
    }

    /// Adds bytes; the sums of the last hour and of the day.
    fn take(&mut self, bytes: u64, at_ns: i64) -> (f64, f64) {
        self.close(at_ns);
        let slot = at_ns.div_euclid(SLOT_NS);
        if slot > self.slot {
            let first = (self.slot + 1).max(slot - SLOTS as i64);
            for gone in first..=slot {
                if let Some(sum) = self.slots.get_mut(gone.rem_euclid(SLOTS as i64) as usize) {
                    *sum = 0.0;
                }
            }
            self.slot = slot;
        }
        if self.slot - slot < SLOTS as i64
            && let Some(sum) = self.slots.get_mut(slot.rem_euclid(SLOTS as i64) as usize)
        {
            *sum += bytes as f32;
        }
        self.day_sum += bytes as f64;
        let hour: f32 = self.slots.iter().sum();
        self.hour_most = self.hour_most.max(hour);
        (f64::from(hour), self.day_sum)
    }

    /// Whether the sums are too much: which window, the sum, the most so far.
    fn judge(&self, (hour, day): (f64, f64)) -> Option<(&'static str, f64, f64)> {
        let most = |of: &[f32; WEEKS]| f64::from(of.iter().copied().fold(0.0, f32::max));
        let (most_hour, most_day) = (most(&self.most_hour), most(&self.most_day));
        let times = if self.days >= DAYS_MIN { TIMES } else { 2.0 * TIMES };
        let much = |sum: f64, most: f64| sum >= FLOOR && sum > times * most * (FULL / sum).max(1.0);
        if self.hours >= HOURS_MIN && much(hour, most_hour) {
            return Some(("the last hour", hour, most_hour));
        }
        // A day is told once.
        let much = self.days >= DAYS_MIN && !self.day_tainted && much(day, most_day);
        much.then_some(("this day", day, most_day))
    }
}

/// Payload bytes of a call, both ways.
fn bytes_of(call: &Call<'_>) -> u64 {
    let body = &call.event.body;
    let of =
        |payload: &Option<countersign_event::Payload>| payload.as_ref().and_then(|p| p.size).unwrap_or(0);
    of(&body.req).saturating_add(of(&body.rsp))
}

impl Watcher for Exfiltration {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("times", TIMES.to_string()),
            ("full_bytes", FULL.to_string()),
            ("floor_bytes", FLOOR.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        true
    }

    fn input(&self) -> &'static str {
        "bytes"
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let bytes = bytes_of(call);
        if !call.is_call || bytes == 0 {
            return;
        }
        let hour = hour_of(call.at_ns);
        let fresh = || Edge {
            hour,
            day: hour.div_euclid(24),
            week: hour.div_euclid(168),
            day_tainted: true,
            ..Edge::default()
        };
        let (standing, edge) = self.edges.see(call.edge, call.index, call.at_ns, fresh);
        let sums = edge.take(bytes, call.at_ns);
        if standing == Standing::Unknown || call.timely != Timely::OnTime || call.changing {
            return;
        }
        let Some((window, sum, most)) = edge.judge(sums) else { return };
        (edge.hour_tainted, edge.day_tainted) = (true, true);
        let since =
            call.at_ns.saturating_sub(if window == "this day" { 86_400 } else { 3_600 } * 1_000_000_000);
        self.matters.tell(call, call.edge, since, sum, CALM_NS, out, || Said {
            confidence: if sum > 4.0 * TIMES * most { 75 } else { 60 },
            template: "{bytes} between {caller} and {service} in {window}; the most before was {most}; wrong if: a \
                       planned transfer, a backup or a new customer explains it",
            values: vec![
                ("bytes", bytes_text(sum as u64)),
                ("caller", call.caller_name()),
                ("service", call.service_name()),
                ("window", window.to_owned()),
                ("most", bytes_text(most as u64)),
            ],
        });
    }

    fn advance(&mut self, watermark_ns: i64, _ledger_ns: u64, out: &mut Vec<Draft>) {
        self.matters.settle(watermark_ns, OVER, out);
    }

    fn wake_ns(&self) -> Option<i64> {
        self.matters.wake_ns()
    }

    fn stats(&self) -> WatcherStats {
        let keys = self.edges.len() as u64;
        let each = size_of::<Edge>() + crate::watch::table::SLOT_BYTES;
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
        let (edges, matters) = (Table::read(self.capacity, from)?, Matters::read(from)?);
        (self.edges, self.matters) = (edges, matters);
        Some(())
    }
}

impl Saved for Edge {
    const MIN_BYTES: usize = 4 * (SLOTS + 2 * WEEKS + 1) + 8 * 5 + 6;

    fn write(&self, out: &mut Writer) {
        out.i64(self.slot);
        let floats = self.slots.iter().chain(&self.most_hour).chain(&self.most_day).chain([&self.hour_most]);
        floats.for_each(|n| out.u32(n.to_bits()));
        out.i64(self.hour);
        out.i64(self.day);
        out.f64(self.day_sum);
        out.bool(self.hour_tainted);
        out.bool(self.day_tainted);
        out.u16(self.hours);
        out.u16(self.days);
        out.i64(self.week);
    }

    fn read(from: &mut Reader<'_>) -> Option<Edge> {
        let mut edge = Edge { slot: from.i64()?, ..Edge::default() };
        let floats = edge.slots.iter_mut().chain(&mut edge.most_hour).chain(&mut edge.most_day);
        for n in floats.chain([&mut edge.hour_most]) {
            *n = float(from)?;
        }
        (edge.hour, edge.day, edge.day_sum) = (from.i64()?, from.i64()?, from.f64()?);
        (edge.hour_tainted, edge.day_tainted) = (from.bool()?, from.bool()?);
        (edge.hours, edge.days, edge.week) = (from.u16()?, from.u16()?, from.i64()?);
        Some(edge)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use countersign_event::Payload;

    fn sized(bytes: u64) -> impl FnOnce(&mut countersign_event::Event) {
        move |event| event.body.rsp = Some(Payload { size: Some(bytes), ..Payload::default() })
    }

    /// Eight days of 20 KiB every 5 minutes, and an export of 200 MiB every night.
    fn days() -> Traffic {
        let mut traffic = Traffic::new();
        for n in 0..8 * 288u64 {
            traffic.call(n * 5 * MINUTE, sized(20_000 + n % 13 * 500));
            if n % 288 == 30 {
                (0..100).for_each(|k| {
                    traffic.call(n * 5 * MINUTE + k * S, |e| {
                        sized(2 << 20)(e);
                        e.target.svc = "archive".to_owned();
                    });
                });
            }
        }
        traffic
    }

    #[test]
    fn a_large_transfer_is_found_at_the_call_that_makes_it_one() {
        let mut traffic = days();
        (0..30).for_each(|n| traffic.call(8 * DAY + n * 10 * S, sized(1 << 20)));
        traffic.call(8 * DAY + 3 * 3600 * S, |_| {});
        let found = traffic.findings("exfiltration");
        let text = said(&found[0]);
        assert!(text.contains("web and orders in the last hour; the most before was 2"), "{text}");
        assert!(found[0].decided_ns <= traffic.start() + 8 * DAY + 60 * S);
        assert_eq!(found.last().unwrap().state.word(), "resolved");
    }

    #[test]
    fn the_export_of_every_night_and_a_few_more_calls_are_silent() {
        let mut traffic = days();
        (0..110).for_each(|k| {
            traffic.call(8 * DAY + 8_000 * S + k * S, |e| {
                sized(2 << 20)(e);
                e.target.svc = "archive".to_owned();
            });
        });
        (0..60).for_each(|n| traffic.call(8 * DAY + n * 30 * S, sized(22_000)));
        assert!(traffic.findings("exfiltration").is_empty());
    }

    #[test]
    fn little_at_a_time_over_the_day_is_found_by_the_day() {
        let mut traffic = days();
        (0..288).for_each(|n| traffic.call(8 * DAY + n * 5 * MINUTE + S, sized(120_000)));
        let found = traffic.findings("exfiltration");
        assert!(said(&found[0]).contains("in this day"), "{}", said(&found[0]));
    }

    #[test]
    fn any_cut_and_any_restart_give_the_same() {
        let mut traffic = days();
        (0..30).for_each(|n| traffic.call(8 * DAY + n * 10 * S, sized(1 << 20)));
        traffic.holds_together("exfiltration");
    }
}
