//! Event time: how far each source has come, and what comes too late.
//!
//! The clock is the ledger's: nothing here reads another. A source is an observer (`core.agent`) of a tenant.
//! Invariants: all of it is a function of the events so far, in ledger order; the watermark never falls; a clock in the
//! future moves nothing; a source that is idle holds nobody up, and its return pulls nothing back.

use crate::bytes::{Reader, Writer};
use countersign_event::{Event, TimeBasis};
use std::collections::BTreeMap;

/// How far an event's own time may be after the ledger's, ns; beyond it the event does not move the watermark.
pub const AHEAD_MAX_NS: i64 = 60_000_000_000;
/// How late an event may be before windows are decided without it, ns, where the source told the time.
pub const LATENESS_NS: i64 = 60_000_000_000;
/// The same where we measured the time ourselves.
pub const LATENESS_MEASURED_NS: i64 = 2_000_000_000;
/// How long after the watermark windows still take in late events, ns.
pub const GRACE_NS: i64 = 600_000_000_000;
/// An event older than this at its arrival is history, ns.
pub const HISTORY_NS: i64 = 3_600_000_000_000;
/// Without an event for so long a source is idle, ns of ledger time.
pub const IDLE_NS: u64 = 30_000_000_000;
/// Sources watched at once; the least recent is forgotten.
pub const SOURCES_MAX: usize = 4_096;
/// How often the watermark is worked out anew, ns of ledger time.
const EVERY_NS: u64 = 100_000_000;
/// Label of imported history.
pub const BACKFILL: &str = "backfill";

/// How an event stands to its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timely {
    /// At or after the watermark.
    OnTime,
    /// Behind the watermark by no more than [`GRACE_NS`].
    Late,
    /// Later than that: for windows it is lost.
    TooLate,
    /// Imported, or older than [`HISTORY_NS`] when it came.
    Historical,
}

/// When an event was, and what that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// End of the interaction, UTC ns: what it was is known only then.
    pub at_ns: i64,
    /// Watermark after it: no event before that is waited for, ns.
    pub watermark_ns: i64,
    /// How it stands to the watermark before it.
    pub timely: Timely,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    /// Largest event time less the lateness, ns.
    reached_ns: i64,
    /// Ledger time of the last event, ns.
    last_ns: u64,
}

/// The watermarks of all sources, and that of all together.
#[derive(Debug)]
pub struct Clock {
    sources: BTreeMap<String, Source>,
    watermark_ns: i64,
    due_ns: u64,
    too_late: u64,
    evicted: u64,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

impl Clock {
    /// A clock that has seen nothing.
    pub fn new() -> Clock {
        Clock { sources: BTreeMap::new(), watermark_ns: i64::MIN, due_ns: 0, too_late: 0, evicted: 0 }
    }

    /// No event before this is waited for, ns; `i64::MIN` before the first.
    pub fn watermark_ns(&self) -> i64 {
        self.watermark_ns
    }

    /// Events that came too late for windows.
    pub fn too_late(&self) -> u64 {
        self.too_late
    }

    /// Sources that had to be forgotten.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Takes in an event, in ledger order.
    pub fn see(&mut self, ledger_ns: u64, event: &Event) -> Moment {
        let ledger = i64::try_from(ledger_ns).unwrap_or(i64::MAX);
        let (at_ns, measured) = ended(event);
        let old =
            ledger.saturating_sub(at_ns) > HISTORY_NS || event.core.labels.iter().any(|l| l == BACKFILL);
        let timely = if old {
            Timely::Historical
        } else if at_ns >= self.watermark_ns {
            Timely::OnTime
        } else if at_ns >= self.watermark_ns.saturating_sub(GRACE_NS) {
            Timely::Late
        } else {
            self.too_late += 1;
            Timely::TooLate
        };
        if !old {
            let lateness = if measured { LATENESS_MEASURED_NS } else { LATENESS_NS };
            let ahead = at_ns > ledger.saturating_add(AHEAD_MAX_NS);
            let reached = if ahead { i64::MIN } else { at_ns.saturating_sub(lateness) };
            self.reach(event, reached, ledger_ns);
        }
        Moment { at_ns, watermark_ns: self.watermark_ns, timely }
    }

    fn reach(&mut self, event: &Event, reached_ns: i64, ledger_ns: u64) {
        let name = &event.core.agent;
        match self.sources.get_mut(name) {
            Some(source) => {
                source.reached_ns = source.reached_ns.max(reached_ns);
                source.last_ns = ledger_ns;
            }
            None => {
                if self.sources.len() >= SOURCES_MAX {
                    self.forget_oldest();
                }
                self.sources.insert(name.clone(), Source { reached_ns, last_ns: ledger_ns });
            }
        }
        if ledger_ns >= self.due_ns {
            self.due_ns = ledger_ns.saturating_add(EVERY_NS);
            self.settle(ledger_ns);
        }
    }

    /// The watermark of all is that of the slowest source that is not idle.
    fn settle(&mut self, ledger_ns: u64) {
        let awake = |source: &&Source| ledger_ns.saturating_sub(source.last_ns) < IDLE_NS;
        // One that only ever was in the future says nothing.
        let known = |source: &&Source| source.reached_ns != i64::MIN;
        let slowest = self.sources.values().filter(awake).filter(known).map(|source| source.reached_ns).min();
        if let Some(slowest) = slowest {
            self.watermark_ns = self.watermark_ns.max(slowest);
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.sources.iter().min_by_key(|(name, source)| (source.last_ns, (*name).clone()));
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.sources.remove(&name);
            self.evicted += 1;
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.i64(self.watermark_ns);
        out.u64(self.due_ns);
        out.u64(self.too_late);
        out.u64(self.evicted);
        out.len(self.sources.len());
        for (name, source) in &self.sources {
            out.text(name);
            out.i64(source.reached_ns);
            out.u64(source.last_ns);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Clock> {
        let (watermark_ns, due_ns) = (from.i64()?, from.u64()?);
        let (too_late, evicted) = (from.u64()?, from.u64()?);
        let mut sources = BTreeMap::new();
        for _ in 0..from.len(20)? {
            sources.insert(from.text()?, Source { reached_ns: from.i64()?, last_ns: from.u64()? });
        }
        (sources.len() <= SOURCES_MAX).then_some(Clock { sources, watermark_ns, due_ns, too_late, evicted })
    }
}

/// When it was over, ns, and whether our own clock says so.
fn ended(event: &Event) -> (i64, bool) {
    let core = &event.core;
    let observed = i64::try_from(core.t_obs).unwrap_or(i64::MAX);
    let took = core.dur.map_or(0, |ns| i64::try_from(ns).unwrap_or(i64::MAX));
    let measured = core.t_basis == Some(TimeBasis::Measured);
    match core.t_event {
        None => (observed, measured),
        // By one clock, nothing ends after it was seen.
        Some(began) if measured => (began.saturating_add(took).min(observed.max(began)), true),
        Some(began) => (began.saturating_add(took), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn event(agent: &str, at_s: i64, measured: bool) -> Event {
        let mut event = Event::default();
        event.core.agent = agent.to_owned();
        event.core.t_event = Some(at_s * S);
        event.core.t_obs = (at_s * S) as u64;
        event.core.t_basis = measured.then_some(TimeBasis::Measured);
        event
    }

    fn see(clock: &mut Clock, ledger_s: u64, agent: &str, at_s: i64) -> Moment {
        clock.see(ledger_s * S as u64, &event(agent, at_s, false))
    }

    #[test]
    fn the_slowest_source_that_is_awake_holds_the_watermark() {
        let mut clock = Clock::new();
        see(&mut clock, 10_000, "a", 10_000);
        see(&mut clock, 10_001, "b", 9_990);
        assert_eq!(see(&mut clock, 10_002, "a", 10_002).watermark_ns, 9_940 * S, "never back");
        let idle = see(&mut clock, 10_040, "a", 10_040);
        assert_eq!(idle.watermark_ns, 9_980 * S, "b is idle");
        let back = see(&mut clock, 10_041, "b", 9_370);
        assert_eq!((back.watermark_ns, back.timely), (9_980 * S, Timely::TooLate));
        assert_eq!(clock.too_late(), 1);
    }

    #[test]
    fn a_clock_in_the_future_moves_nothing() {
        let mut clock = Clock::new();
        see(&mut clock, 1_000, "a", 1_000);
        let ahead = see(&mut clock, 1_001, "b", 9_999_999);
        assert_eq!(ahead.watermark_ns, 940 * S);
        assert_eq!(see(&mut clock, 1_002, "a", 1_002).watermark_ns, 942 * S, "nor does it hold it");
    }

    #[test]
    fn what_is_late_too_late_and_history_is_told_apart() {
        let mut clock = Clock::new();
        see(&mut clock, 10_000, "a", 10_000);
        assert_eq!(see(&mut clock, 10_000, "a", 9_940).timely, Timely::OnTime);
        assert_eq!(see(&mut clock, 10_000, "a", 9_939).timely, Timely::Late);
        assert_eq!(see(&mut clock, 10_000, "a", 9_339).timely, Timely::TooLate);
        assert_eq!(see(&mut clock, 10_000, "a", 6_000).timely, Timely::Historical);
        let mut imported = event("a", 10_001, false);
        imported.core.labels.push(BACKFILL.to_owned());
        assert_eq!(clock.see(10_001 * S as u64, &imported).timely, Timely::Historical);
    }

    #[test]
    fn a_long_call_that_we_measured_is_not_late_at_its_end() {
        let mut clock = Clock::new();
        clock.see(10_000 * S as u64, &event("gateway", 10_000, true));
        let mut long = event("gateway", 9_000, true);
        (long.core.dur, long.core.t_obs) = (Some(1_001 * S as u64), 10_001 * S as u64);
        let moment = clock.see(10_001 * S as u64, &long);
        assert_eq!((moment.at_ns, moment.timely), (10_001 * S, Timely::OnTime));
    }

    #[test]
    fn it_is_read_back_as_it_was() {
        let mut clock = Clock::new();
        for n in 0..50 {
            see(&mut clock, 10_000 + n, &format!("s{}", n % 7), 10_000 + n as i64);
        }
        let mut out = Writer::new();
        clock.write(&mut out);
        let bytes = out.done();
        let mut again = Clock::read(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(see(&mut again, 10_060, "s1", 10_055), see(&mut clock, 10_060, "s1", 10_055));
        assert!(Clock::read(&mut Reader::new(&bytes[..bytes.len() - 1])).is_none());
    }

    #[test]
    fn invented_sources_are_bounded() {
        let mut clock = Clock::new();
        for n in 0..SOURCES_MAX as u64 + 10 {
            see(&mut clock, 10_000 + n, &format!("s{n}"), 10_000 + n as i64);
        }
        assert_eq!((clock.sources.len(), clock.evicted()), (SOURCES_MAX, 10));
    }
}
