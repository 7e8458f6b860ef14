//! Detector 14, `clock-skew`: the clock of a source differs from ours.
//!
//! A record never comes before it was made, so the least `received − made` of a window is the source's lag plus the
//! quickest way here. A window is [`SUSTAINED_MINUTES`] and [`SAMPLES_MIN`] records long; its least lag is compared with
//! what is usual for the source (the median of the last 64 good windows): a difference of more than [`SKEW_NS`], and of
//! more than the windows and the lags within one usually differ, is a finding; back for a window, it is resolved. Of a source that measures the
//! times it tells, made = observed. Records kept back and then sent are no skew: the last of them has no lag. History is
//! not looked at.

use crate::bytes::{Reader, Saved, Writer};
use crate::clock::Timely;
use crate::finding::{Evidence, signed};
use crate::first_seen::nobody;
use crate::quoted;
use crate::watch::{Call, Draft, Key, Table, Watcher, WatcherStats, span_text};
use countersign_event::{FindingState, Severity, TimeBasis};
use std::borrow::Cow;

const ID: &str = "clock-skew";
/// Difference that is one, ns.
const SKEW_NS: i64 = 2_000_000_000;
/// Shortest window, minutes and records.
const SUSTAINED_MINUTES: i64 = 5;
const SAMPLES_MIN: usize = 24;
/// Lags kept of a window.
const SAMPLES_MAX: usize = 64;
/// Windows before anything but the impossible is told, and those of which the usual is the median.
const KNOWN: usize = 8;
const USUAL: usize = 64;
/// Median deviations between windows beyond which a difference is none of theirs.
const DEVIATIONS: i64 = 8;
/// Sources watched.
const SOURCES_MAX: usize = 4_096;
const MINUTE_NS: i64 = 60_000_000_000;

/// See the module.
pub(crate) struct ClockSkew {
    sources: Table<Source>,
}

#[derive(Clone, Default)]
struct Source {
    /// When the open window began, ledger time in ns; its first lags, and the least of all.
    began_ns: i64,
    samples: Vec<i64>,
    least: i64,
    /// Least lags of good windows, the oldest first.
    usual: Vec<i64>,
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
    /// Closes the open window: how far its least lag is off, 0 = as usual.
    fn close(&mut self) -> i64 {
        let usual = median(&self.usual).unwrap_or(0);
        let off = self.least - usual;
        let apart: Vec<i64> = self.usual.iter().map(|lag| (lag - usual).abs()).collect();
        let limit = SKEW_NS.max(median(&apart).unwrap_or(0).saturating_mul(DEVIATIONS));
        // Where lags differ widely, so does the least of them.
        let limit = limit.saturating_add(median(&self.samples).unwrap_or(0).saturating_sub(self.least));
        let known = self.usual.len() >= KNOWN;
        // Of a source without a past, only the impossible is told: that it is ahead of us.
        let is_off = if known { off.abs() > limit } else { self.least < -SKEW_NS };
        if !is_off {
            if self.usual.len() >= USUAL {
                self.usual.remove(0);
            }
            self.usual.push(self.least);
        }
        if is_off { off } else { 0 }
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
        "2"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("skew_ns", SKEW_NS.to_string()),
            ("sustained_minutes", SUSTAINED_MINUTES.to_string()),
            ("samples", SAMPLES_MIN.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        false
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let core = &call.event.core;
        let Some(began) = core.t_event else { return };
        if !call.is_call || call.timely == Timely::Historical {
            return;
        }
        let made = match core.t_basis {
            Some(TimeBasis::Measured) => signed(core.t_obs),
            _ => began.saturating_add(core.dur.map_or(0, signed)),
        };
        let now = signed(call.ledger_ns);
        let lag = now.saturating_sub(made);
        let about = call.source;
        let (_, source) = self.sources.see(about, call.index, now, Source::default);
        let length = now.saturating_sub(source.began_ns);
        if source.samples.len() >= SAMPLES_MIN && length >= SUSTAINED_MINUTES * MINUTE_NS {
            let off = source.close();
            say(source, about, call, off, length, out);
            source.samples.clear();
        }
        if source.samples.is_empty() {
            (source.began_ns, source.least) = (now, lag);
        }
        if source.samples.len() < SAMPLES_MAX {
            source.samples.push(lag);
        }
        source.least = source.least.min(lag);
    }

    fn stats(&self) -> WatcherStats {
        let keys = self.sources.len() as u64;
        WatcherStats {
            keys,
            evicted: self.sources.evicted(),
            bytes: keys * ((USUAL + SAMPLES_MAX) as u64 * 8 + 128),
        }
    }

    fn write(&self, out: &mut Writer) {
        self.sources.write(out);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        self.sources = Table::read(SOURCES_MAX, from)?;
        Some(())
    }
}

fn say(source: &mut Source, about: Key, call: &Call<'_>, by: i64, length: i64, out: &mut Vec<Draft>) {
    let (state, open) = match &source.open {
        None if by != 0 => {
            let open = Open { first: call.index, eid: call.event.core.eid, since_ns: call.at_ns };
            source.open = Some(open.clone());
            (FindingState::Open, open)
        }
        Some(open) if by == 0 => {
            let open = open.clone();
            source.open = None;
            (FindingState::Resolved, open)
        }
        _ => return,
    };
    let way = if by > 0 { "behind" } else { "ahead of" };
    let template = match state {
        FindingState::Resolved => "the clock of {source} agrees with ours again within {limit}",
        _ => {
            "the clock of {source} has been {by} {way} ours for {t}, which its delays do not explain: its times cannot be compared with others'; \
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
            ("t", span_text(length)),
            ("limit", span_text(SKEW_NS)),
        ],
        query: format!("agent:{}", quoted(&call.event.core.agent)),
        subject: Box::new(nobody(call.event)),
    });
}

impl Saved for Source {
    const MIN_BYTES: usize = 25;

    fn write(&self, out: &mut Writer) {
        out.i64(self.began_ns);
        out.len(self.samples.len());
        self.samples.iter().for_each(|lag| out.i64(*lag));
        out.i64(self.least);
        out.len(self.usual.len());
        self.usual.iter().for_each(|lag| out.i64(*lag));
        out.bool(self.open.is_some());
        if let Some(open) = &self.open {
            out.u64(open.first);
            out.key(&open.eid);
            out.i64(open.since_ns);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Source> {
        let began_ns = from.i64()?;
        let samples = (0..from.len(8)?).map(|_| from.i64()).collect::<Option<Vec<_>>>()?;
        let least = from.i64()?;
        let usual = (0..from.len(8)?).map(|_| from.i64()).collect::<Option<Vec<_>>>()?;
        let open = match from.bool()? {
            true => Some(Open { first: from.u64()?, eid: from.key()?, since_ns: from.i64()? }),
            false => None,
        };
        Some(Source { began_ns, samples, least, usual, open })
    }
}
