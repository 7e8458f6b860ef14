//! Machine traffic made from a seed, with attacks whose truth is known: what detectors are tuned and scored with.
//!
//! No public data set has labelled token replay, shared credentials, object enumeration or silent sources between
//! machines, so this makes it. It is written from public descriptions of attacks and of ordinary operation
//! (`docs/dev/scenarios.md` names them), apart from the detectors: no dependency on their crate, no sight of their
//! parameters, another author. What it is not: a model of any one company's traffic, nor proof that a detector works
//! on it.
//!
//! Invariants: one [`Scenario`] gives the same bytes on every machine; the background is the same whatever is staged
//! on it, but for what the staged thing changes; events come in ledger order; memory is bounded by the topology and
//! by what is on its way to the ledger (up to an hour of late records), not by the length of the run.

mod actor;
mod attack;
mod background;
mod call;
mod credential;
mod fleet;
mod interface;
mod labels;
mod names;
mod observer;
mod rhythm;
pub mod rng;
mod run;
pub mod score;
mod topology;
mod world;

pub use attack::SCENARIOS;
pub use labels::{Intensity, LABEL_EVENTS_MAX, Label};
pub use run::{Record, Run};

pub(crate) const MILLI: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
/// Monday, 2 March 2026, 00:00 UTC: no run begins earlier, none later than four weeks after it.
const EPOCH: u64 = 1_772_409_600 * SECOND;
/// Days of a run by default: a week and a day.
pub const DAYS: u32 = 8;
/// Fewest and most days of a run.
pub const DAYS_BOUND: (u32, u32) = (2, 60);
/// Services by default.
pub const NODES: usize = 40;
/// Fewest and most services.
pub const NODES_BOUND: (usize, usize) = (24, 400);
/// Events a day by default, about.
pub const DAILY: u32 = 13_000;
/// Fewest and most events a day.
pub const DAILY_BOUND: (u32, u32) = (4_000, 2_000_000);

/// What is staged on the background.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mix {
    /// Names of [`SCENARIOS`] whose attack is staged.
    pub attacks: Vec<&'static str>,
    /// Names of [`SCENARIOS`] whose near miss is staged.
    pub near_misses: Vec<&'static str>,
}

impl Mix {
    /// By name: `background`; `all`; a scenario (its attack and its near miss); `NAME/attack`; `NAME/near-miss`.
    /// `None` for an unknown one.
    pub fn named(name: &str) -> Option<Mix> {
        let names: Vec<&'static str> = SCENARIOS.to_vec();
        if name == "background" {
            return Some(Mix::default());
        }
        if name == "all" {
            return Some(Mix { attacks: names.clone(), near_misses: names });
        }
        let (name, part) = name.split_once('/').unwrap_or((name, ""));
        let name = names.into_iter().find(|known| *known == name)?;
        match part {
            "" => Some(Mix { attacks: vec![name], near_misses: vec![name] }),
            "attack" => Some(Mix { attacks: vec![name], near_misses: Vec::new() }),
            "near-miss" => Some(Mix { attacks: Vec::new(), near_misses: vec![name] }),
            _ => None,
        }
    }
}

/// What may go wrong between the observers and the ledger: probabilities for each event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Comes up to 3 s after others that were observed later.
    pub reorder: f64,
    /// Comes a second time, within a minute.
    pub duplicates: f64,
    /// Comes up to an hour late.
    pub late: f64,
    /// One to three numbers of the stream are missing before it.
    pub gaps: f64,
}

impl Faults {
    /// A bad day of a network: a tenth out of order, 1 in 100 twice, 1 in 200 late, 1 in 20,000 after a hole.
    pub const ROUGH: Faults = Faults { reorder: 0.1, duplicates: 0.01, late: 0.005, gaps: 0.000_05 };
}

/// A run to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What everything follows from. By agreement: below 1,000 for tuning, from 1,000 on for reports.
    pub seed: u64,
    /// Services, within [`NODES_BOUND`].
    pub nodes: usize,
    /// Days, within [`DAYS_BOUND`]. What is staged falls into the last one.
    pub days: u32,
    /// Events a day, about, within [`DAILY_BOUND`].
    pub daily: u32,
    /// What is staged.
    pub mix: Mix,
    /// What goes wrong on the way.
    pub faults: Faults,
}

impl Scenario {
    /// A run of the default size without faults.
    pub fn new(seed: u64, mix: Mix) -> Scenario {
        Scenario { seed, nodes: NODES, days: DAYS, daily: DAILY, mix, faults: Faults::default() }
    }

    /// Begins the run. Sizes beyond their bounds are brought to the bound.
    pub fn run(&self) -> Run {
        let bounded = Scenario {
            nodes: self.nodes.clamp(NODES_BOUND.0, NODES_BOUND.1),
            days: self.days.clamp(DAYS_BOUND.0, DAYS_BOUND.1),
            daily: self.daily.clamp(DAILY_BOUND.0, DAILY_BOUND.1),
            ..self.clone()
        };
        Run::new(&bounded)
    }

    /// First and last moment, UTC ns; the day of the week that it begins on follows from the seed.
    fn span(&self) -> (u64, u64) {
        let start = EPOCH + rng::Rng::of(self.seed, "start", 0).below(28) * DAY;
        (start, start + u64::from(self.days) * DAY)
    }
}
