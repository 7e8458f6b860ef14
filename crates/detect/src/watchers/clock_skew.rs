//! Detector 14, `clock-skew`: the clock of a source differs from ours.
//!
//! A record is never observed before it happened, so the least `observed − event` of a minute is at most the source's
//! lag plus the quickest way here. Of each source the least one a minute is compared with what is usual for it (the
//! median of the last 64 good minutes): a difference of more than [`SKEW_NS`] for [`SUSTAINED`] minutes in a row with
//! records is a finding, once; back for as long, it is resolved. Not looked at: sources whose times we measured
//! ourselves, and history.

use crate::bytes::{Reader, Saved, Writer};
use crate::clock::Timely;
use crate::finding::Evidence;
use crate::first_seen::nobody;
use crate::quoted;
use crate::watch::{Call, Draft, Key, Standing, Table, Watcher, WatcherStats, span_text};
use countersign_event::{FindingState, Severity, TimeBasis};
use std::borrow::Cow;

const ID: &str = "clock-skew";
/// Difference that is one, ns.
const SKEW_NS: i64 = 2_000_000_000;
/// Minutes in a row.
const SUSTAINED: u32 = 5;
/// Minutes of which the usual is the median.
const USUAL: usize = 64;
/// Sources watched.
const SOURCES_MAX: usize = 4_096;
const MINUTE_NS: i64 = 60_000_000_000;

/// See the module.
pub(crate) struct ClockSkew {
    sources: Table<Source>,
}

#[derive(Clone, Default)]
struct Source {
    /// Number of the minute that is open, by the observer's clock, and the least lag in it.
    minute: i64,
    least: Option<i64>,
    /// Least lags of good minutes, the oldest first.
    usual: Vec<i64>,
    /// Minutes in a row that were off, or good again.
    off: u32,
    good: u32,
    open: Option<Open>,
}

/// A finding that is open.
#[derive(Clone)]
struct Open {
    first: u64,
    eid: [u8; 16],
    since_ns: i64,
}

impl ClockSkew {
    pub(crate) fn new() -> ClockSkew {
        ClockSkew { sources: Table::new(SOURCES_MAX) }
    }
}

impl Source {
    /// Closes the open minute; the lag if it now is off or good again for long enough.
    fn close(&mut self) -> Option<(i64, i64)> {
        let lag = self.least.take()?;
        let usual = median(&self.usual).unwrap_or(0);
        // Of a source without a past, only the impossible is told: that it is ahead of us.
        let off = if self.usual.len() < SUSTAINED as usize {
            lag < -SKEW_NS
        } else {
            (lag - usual).abs() > SKEW_NS
        };
        (self.off, self.good) = if off { (self.off + 1, 0) } else { (0, self.good + 1) };
        if !off {
            if self.usual.len() >= USUAL {
                self.usual.remove(0);
            }
            self.usual.push(lag);
        }
        Some((lag, usual))
    }
}

fn median(values: &[i64]) -> Option<i64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

impl Watcher for ClockSkew {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![("skew_ns", SKEW_NS.to_string()), ("sustained_minutes", SUSTAINED.to_string())]
    }

    fn statistical(&self) -> bool {
        false
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let core = &call.event.core;
        let Some(began) = core.t_event else { return };
        if !call.is_call || core.t_basis == Some(TimeBasis::Measured) || call.timely == Timely::Historical {
            return;
        }
        let observed = i64::try_from(core.t_obs).unwrap_or(i64::MAX);
        let ended = began.saturating_add(core.dur.map_or(0, |ns| i64::try_from(ns).unwrap_or(i64::MAX)));
        let lag = observed.saturating_sub(ended);
        let about = call.source;
        let minute = observed.div_euclid(MINUTE_NS);
        let (standing, source) = self.sources.see(about, call.index, observed, Source::default);
        if standing != Standing::Known || source.least.is_none() {
            source.minute = minute;
        }
        if minute > source.minute {
            if let Some((was, usual)) = source.close() {
                say(source, about, call, was, usual, out);
            }
            source.minute = minute;
        }
        source.least = Some(source.least.map_or(lag, |least| least.min(lag)));
    }

    fn stats(&self) -> WatcherStats {
        let keys = self.sources.len() as u64;
        WatcherStats { keys, evicted: self.sources.evicted(), bytes: keys * (USUAL as u64 * 8 + 128) }
    }

    fn write(&self, out: &mut Writer) {
        self.sources.write(out);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        self.sources = Table::read(SOURCES_MAX, from)?;
        Some(())
    }
}

fn say(source: &mut Source, about: Key, call: &Call<'_>, lag: i64, usual: i64, out: &mut Vec<Draft>) {
    let (state, open) = match &source.open {
        None if source.off >= SUSTAINED => {
            let open = Open { first: call.index, eid: call.event.core.eid, since_ns: call.at_ns };
            source.open = Some(open.clone());
            (FindingState::Open, open)
        }
        Some(open) if source.good >= SUSTAINED => {
            let open = open.clone();
            source.open = None;
            (FindingState::Resolved, open)
        }
        _ => return,
    };
    let by = lag - usual;
    let way = if by > 0 { "behind" } else { "ahead" };
    let template = match state {
        FindingState::Resolved => "the clock of {source} agrees with ours again within {limit}",
        _ => {
            "the clock of {source} is {by} {way} ours for {minutes} minutes: its times cannot be compared with others'; \
             wrong if: its records are held up on their way"
        }
    };
    let evidence =
        Evidence { indices: vec![open.first], count: 1, first: open.first, last: call.index, eid: open.eid };
    out.push(Draft {
        about,
        state,
        revision: if state == FindingState::Open { 1 } else { 2 },
        window: (open.since_ns, call.at_ns),
        severity: Severity::Medium,
        // Nothing arrives before it happened; a delay may also be the way's.
        confidence: if by < 0 { 95 } else { 60 },
        evidence,
        template: Cow::Borrowed(template),
        values: vec![
            ("source", call.event.core.agent.clone()),
            ("by", span_text(by)),
            ("way", way.to_owned()),
            ("minutes", SUSTAINED.to_string()),
            ("limit", span_text(SKEW_NS)),
        ],
        query: format!("agent:{}", quoted(&call.event.core.agent)),
        subject: Box::new(nobody(call.event)),
    });
}

impl Saved for Source {
    const MIN_BYTES: usize = 22;

    fn write(&self, out: &mut Writer) {
        out.i64(self.minute);
        out.bool(self.least.is_some());
        out.i64(self.least.unwrap_or(0));
        out.len(self.usual.len());
        self.usual.iter().for_each(|lag| out.i64(*lag));
        out.u32(self.off);
        out.u32(self.good);
        out.bool(self.open.is_some());
        if let Some(open) = &self.open {
            out.u64(open.first);
            out.key(&open.eid);
            out.i64(open.since_ns);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Source> {
        let minute = from.i64()?;
        let (has, least) = (from.bool()?, from.i64()?);
        let usual = (0..from.len(8)?).map(|_| from.i64()).collect::<Option<Vec<_>>>()?;
        let (off, good) = (from.u32()?, from.u32()?);
        let open = match from.bool()? {
            true => Some(Open { first: from.u64()?, eid: from.key()?, since_ns: from.i64()? }),
            false => None,
        };
        Some(Source { minute, least: has.then_some(least), usual, off, good, open })
    }
}
