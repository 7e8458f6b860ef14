//! How regularly something comes: its rate by hour of the day, and its gaps counted in events that should have come.
//!
//! A gap is not measured in seconds but in the events expected in it, from the usual rate of each hour that it spans
//! (UTC; working days and weekends apart): so a quiet night and a busy noon have one scale, a heartbeat's gaps are all
//! about 1, and random arrivals' 99th percentile is 4.6. Invariants: fixed memory; the same numbers on every machine
//! (only sums, products and the bits of a number); an hour never seen is expected to bring nothing.

use crate::bytes::{Reader, Saved, Writer};

pub(super) const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_NS: i64 = 24 * HOUR_NS;
/// Hours of a working day, then of a day of the weekend.
const CLASSES: usize = 48;
/// Weight of the newest hour in the usual rate of its class.
const NEWEST: f64 = 0.25;
/// Buckets of gaps: two an octave, from 2^-6 to 2^18 expected events.
const BUCKETS: usize = 48;
const LEAST_EXPONENT: i64 = -6;
/// With so many gaps counted, all counts are halved: old ones fade.
const FADE: u32 = 8_192;
/// Gaps before it is known.
const GAPS_MIN: u32 = 200;
/// Days of which the largest gap is kept.
const DAYS: usize = 8;
/// Share of hours with something in them from which on it is regular.
const ACTIVE_PERCENT: u64 = 70;
/// Expected events after which a gap is too long, times the 99th percentile.
pub(super) const LIMIT_OF_P99: f64 = 5.0;
/// The same, times the second largest gap of the last days.
const LIMIT_OF_LARGEST: f64 = 1.5;
/// No gap of fewer expected events is too long.
pub(super) const MISSED_MIN: f64 = 3.0;
/// How far ahead a limit is looked for, hours.
const AHEAD_MAX: i64 = 24 * 8;

/// See the module. Times are ledger times, ns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rhythm {
    first_ns: i64,
    last_ns: i64,
    events: u64,
    /// Number of the hour that is open, events in it, and hours with events.
    hour: i64,
    in_hour: u32,
    active: u32,
    /// The open hour is not counted: it was not whole.
    partial: bool,
    /// Usual events an hour; below 0 = not known.
    rate: [f32; CLASSES],
    gaps: [u16; BUCKETS],
    counted: u32,
    /// Largest gaps by day, that of day `n` at `n % DAYS`.
    largest: [f32; DAYS],
    day: i64,
}

fn class(hour: i64) -> usize {
    // 1970-01-01 was a Thursday.
    let day = (hour.div_euclid(24) + 3).rem_euclid(7);
    hour.rem_euclid(24) as usize + if day >= 5 { 24 } else { 0 }
}

fn bucket(expected: f64) -> usize {
    let bits = expected.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let upper_half = (bits >> 51) & 1;
    ((exponent - LEAST_EXPONENT) * 2 + upper_half as i64).clamp(0, BUCKETS as i64 - 1) as usize
}

/// Where bucket `n` begins.
fn border(n: usize) -> f64 {
    let exponent = n as i64 / 2 + LEAST_EXPONENT;
    let base = if exponent < 0 { 1.0 / (1u64 << -exponent) as f64 } else { (1u64 << exponent) as f64 };
    if n.is_multiple_of(2) { base } else { base * 1.5 }
}

impl Rhythm {
    pub(super) fn new(now_ns: i64) -> Rhythm {
        Rhythm {
            first_ns: now_ns,
            last_ns: now_ns,
            events: 1,
            hour: now_ns.div_euclid(HOUR_NS),
            in_hour: 1,
            active: 0,
            partial: true,
            rate: [-1.0; CLASSES],
            gaps: [0; BUCKETS],
            counted: 0,
            largest: [0.0; DAYS],
            day: now_ns.div_euclid(DAY_NS),
        }
    }

    pub(super) fn last_ns(&self) -> i64 {
        self.last_ns
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn age_ns(&self) -> i64 {
        self.last_ns.saturating_sub(self.first_ns)
    }

    /// One comes. `outage`: what lies behind was no usual pause, and teaches nothing about rates.
    pub(super) fn see(&mut self, now_ns: i64, outage: bool) {
        let now_ns = now_ns.max(self.last_ns);
        let hour = now_ns.div_euclid(HOUR_NS);
        if hour != self.hour {
            self.close(hour, outage);
        }
        self.gap(now_ns);
        (self.last_ns, self.events) = (now_ns, self.events.saturating_add(1));
        self.in_hour = self.in_hour.saturating_add(1);
    }

    /// The open hour is over, and so are those up to `hour`, in which nothing came.
    fn close(&mut self, hour: i64, outage: bool) {
        self.active += u32::from(self.in_hour > 0);
        if !(self.partial || outage && self.in_hour > 0) {
            self.learn(self.hour, self.in_hour);
        }
        if !outage {
            let from = (self.hour + 1).max(hour.saturating_sub(AHEAD_MAX));
            (from..hour).for_each(|empty| self.learn(empty, 0));
        }
        (self.hour, self.in_hour, self.partial) = (hour, 0, outage);
    }

    fn learn(&mut self, hour: i64, events: u32) {
        if let Some(rate) = self.rate.get_mut(class(hour)) {
            let now = f64::from(events);
            let then = f64::from(*rate);
            *rate = if then < 0.0 { now } else { then + NEWEST * (now - then) } as f32;
        }
    }

    fn gap(&mut self, now_ns: i64) {
        let Some(gap) = self.expected(self.last_ns, now_ns) else { return };
        if let Some(count) = self.gaps.get_mut(bucket(gap)) {
            *count = count.saturating_add(1);
            self.counted += 1;
        }
        if self.counted >= FADE {
            self.gaps.iter_mut().for_each(|count| *count /= 2);
            self.counted = self.gaps.iter().map(|count| u32::from(*count)).sum();
        }
        let day = now_ns.div_euclid(DAY_NS);
        if day != self.day {
            for passed in (self.day + 1).max(day.saturating_sub(DAYS as i64))..=day {
                self.largest[passed.rem_euclid(DAYS as i64) as usize] = 0.0;
            }
            self.day = day;
        }
        let largest = &mut self.largest[day.rem_euclid(DAYS as i64) as usize];
        *largest = largest.max(gap as f32);
    }

    /// Events that should have come in `(from, to]`; `None` = the rate of an hour between is not known.
    pub(super) fn expected(&self, from_ns: i64, to_ns: i64) -> Option<f64> {
        let (first, last) = (from_ns.div_euclid(HOUR_NS), to_ns.div_euclid(HOUR_NS));
        let mut sum = 0.0;
        for hour in first..=last.min(first.saturating_add(AHEAD_MAX)) {
            let begins = hour.saturating_mul(HOUR_NS);
            let part = to_ns.min(begins.saturating_add(HOUR_NS)) - from_ns.max(begins);
            sum += self.rate_in(hour)? * (part as f64 / HOUR_NS as f64);
        }
        Some(sum)
    }

    fn rate_in(&self, hour: i64) -> Option<f64> {
        self.rate.get(class(hour)).map(|rate| f64::from(*rate)).filter(|rate| *rate >= 0.0)
    }

    /// 99 of 100 gaps are no longer, in expected events.
    pub(super) fn p99(&self) -> f64 {
        let rank = self.counted - self.counted / 100;
        let mut below = 0;
        for (n, count) in self.gaps.iter().enumerate() {
            let count = u32::from(*count);
            if below + count >= rank && count > 0 {
                let part = f64::from(rank - below) / f64::from(count);
                return border(n) + part * (border(n + 1) - border(n));
            }
            below += count;
        }
        0.0
    }

    /// Whether enough is known, and it comes regularly enough that its absence says something.
    pub(super) fn regular(&self) -> bool {
        let hours = self.hour.saturating_sub(self.first_ns.div_euclid(HOUR_NS)).max(1);
        self.counted >= GAPS_MIN && u64::from(self.active) * 100 >= hours as u64 * ACTIVE_PERCENT
    }

    /// Expected events without one of them from which on a gap is too long.
    pub(super) fn limit(&self) -> f64 {
        let mut largest = self.largest;
        largest.sort_unstable_by(|a, b| b.total_cmp(a));
        let second = largest.get(1).map_or(0.0, |gap| f64::from(*gap));
        (LIMIT_OF_P99 * self.p99()).max(LIMIT_OF_LARGEST * second).max(MISSED_MIN)
    }

    /// When a pause that begins at `from_ns` is too long, ns: no sooner than `floor_ns` after it.
    pub(super) fn due_ns(&self, from_ns: i64, floor_ns: i64) -> Option<i64> {
        let mut left = self.limit();
        let first = from_ns.div_euclid(HOUR_NS);
        for hour in first..=first.saturating_add(AHEAD_MAX) {
            let ends = (hour + 1).saturating_mul(HOUR_NS);
            let begins = from_ns.max(hour.saturating_mul(HOUR_NS));
            let rate = self.rate_in(hour)?;
            let here = rate * ((ends - begins) as f64 / HOUR_NS as f64);
            if here >= left && rate > 0.0 {
                let due = begins.saturating_add((left / rate * HOUR_NS as f64) as i64);
                return Some(due.max(from_ns.saturating_add(floor_ns)));
            }
            left -= here;
        }
        None
    }

    /// The usual gap in the hour of `at_ns`, ns.
    pub(super) fn usual_gap_ns(&self, at_ns: i64) -> Option<i64> {
        let rate = self.rate_in(at_ns.div_euclid(HOUR_NS)).filter(|rate| *rate > 0.0)?;
        Some((HOUR_NS as f64 / rate) as i64)
    }
}

impl Saved for Rhythm {
    const MIN_BYTES: usize = 57 + 8 * (CLASSES + DAYS) + 2 * BUCKETS;

    fn write(&self, out: &mut Writer) {
        out.i64(self.first_ns);
        out.i64(self.last_ns);
        out.u64(self.events);
        out.i64(self.hour);
        out.u32(self.in_hour);
        out.u32(self.active);
        out.bool(self.partial);
        out.u32(self.counted);
        out.i64(self.day);
        self.rate.iter().chain(&self.largest).for_each(|n| out.f64(f64::from(*n)));
        self.gaps.iter().for_each(|n| out.u16(*n));
    }

    fn read(from: &mut Reader<'_>) -> Option<Rhythm> {
        let mut new = Rhythm::new(from.i64()?);
        (new.last_ns, new.events, new.hour) = (from.i64()?, from.u64()?, from.i64()?);
        (new.in_hour, new.active, new.partial) = (from.u32()?, from.u32()?, from.bool()?);
        (new.counted, new.day) = (from.u32()?, from.i64()?);
        for n in new.rate.iter_mut().chain(&mut new.largest) {
            *n = from.f64()? as f32;
        }
        for n in &mut new.gaps {
            *n = from.u16()?;
        }
        let sum: u32 = new.gaps.iter().map(|count| u32::from(*count)).sum();
        (sum == new.counted).then_some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn borders_and_buckets_agree() {
        for n in 0..BUCKETS {
            assert_eq!(bucket(border(n)), n);
            assert_eq!(bucket(border(n + 1) * 0.999), n);
        }
        assert_eq!((bucket(0.0), bucket(1e30)), (0, BUCKETS - 1));
    }

    #[test]
    fn a_heartbeat_may_miss_five_and_random_arrivals_more() {
        let (mut beat, mut random) = (Rhythm::new(0), Rhythm::new(0));
        let mut seed = 1u64;
        let mut at = 0;
        for n in 1..60_000 {
            beat.see(n * 10 * S, false);
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let uniform = ((seed >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
            at += (-uniform.ln() * 10e9) as i64;
            random.see(at, false);
        }
        assert!((4.5..8.0).contains(&beat.limit()), "{}", beat.limit());
        assert!((20.0..30.0).contains(&random.limit()), "{}", random.limit());
        assert!(beat.regular() && random.regular());
        let due = beat.due_ns(beat.last_ns(), 0).unwrap() - beat.last_ns();
        assert!((45 * S..80 * S).contains(&due), "{due}");
    }

    #[test]
    fn a_quiet_night_is_as_usual_as_a_busy_day() {
        let mut rhythm = Rhythm::new(0);
        for day in 0..10 {
            for hour in 0..24 {
                let each = if hour < 6 { 300 } else { 5 };
                let begins = (day * 24 + hour) * HOUR_NS;
                (0..3_600 / each).for_each(|n| rhythm.see(begins + n * each * S, false));
            }
        }
        let by = |at: i64| rhythm.due_ns(at, 0).unwrap() - at;
        let midnight = 10 * DAY_NS;
        assert!(by(midnight + HOUR_NS) > 20 * 60 * S, "{}", by(midnight + HOUR_NS));
        assert!(by(midnight + 12 * HOUR_NS) < 120 * S, "{}", by(midnight + 12 * HOUR_NS));
    }

    #[test]
    fn a_nightly_batch_is_not_regular() {
        let mut batch = Rhythm::new(0);
        for day in 0..10 {
            (0..500).for_each(|n| batch.see(day * DAY_NS + 2 * HOUR_NS + n * S, false));
        }
        assert!(!batch.regular());
    }
}
