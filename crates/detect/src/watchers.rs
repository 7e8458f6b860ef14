//! The watchers, one file each: what machines usually do, and what of it has changed.

mod beacon;
mod clock_skew;
mod enumeration;
mod error_shift;
mod exfiltration;
mod impossible_source;
mod misconfiguration;
mod quantile_shift;
mod rare_operation;
mod rate_shift;
mod sequence_gap;
mod shared_credential;
mod silence;
mod slow_shift;
#[cfg(test)]
mod tape;
#[cfg(test)]
mod testing;
mod token_replay;

use crate::baselines::BaselinesConfig;
use crate::watch::Watcher;
pub use misconfiguration::grants::Grant;

/// All of them, in the order of the design's table. The state that all may have is shared out by what a key takes.
pub(crate) fn all(config: &BaselinesConfig) -> Vec<Box<dyn Watcher>> {
    // Keys of a watcher with 1 GiB for all.
    let keys =
        |of_a_gib: u64| usize::try_from((of_a_gib * (config.state_bytes >> 10)) >> 20).unwrap_or(usize::MAX);
    vec![
        Box::new(rare_operation::RareOperation::new(keys(262_144))),
        Box::new(rate_shift::RateShift::new(keys(1_000_000))),
        Box::new(slow_shift::SlowShift::new(keys(524_288))),
        Box::new(error_shift::ErrorShift::new(keys(65_536))),
        Box::new(quantile_shift::QuantileShift::new(keys(262_144), keys(65_536))),
        Box::new(exfiltration::Exfiltration::new(keys(262_144))),
        Box::new(enumeration::Enumeration::new(keys(131_072))),
        Box::new(shared_credential::SharedCredential::new(config.state_bytes / 32)),
        Box::new(impossible_source::ImpossibleSource::new(config.state_bytes / 16)),
        Box::new(token_replay::TokenReplay::new(config.state_bytes / 16)),
        Box::new(sequence_gap::SequenceGap::new()),
        Box::new(beacon::Beacon::new(keys(131_072))),
        Box::new(silence::Silence::new(config.state_bytes / 16, config.learn_ns, config.learn_events)),
        Box::new(clock_skew::ClockSkew::new()),
        Box::new(misconfiguration::Misconfiguration::new(config)),
    ]
}
