//! The watchers, one file each: what machines usually do, and what of it has changed.

mod clock_skew;
mod silence;
#[cfg(test)]
mod tape;
mod token_replay;

use crate::baselines::BaselinesConfig;
use crate::watch::Watcher;

/// All of them, in the order of the design's table. The state that all may have is shared out by what a key takes.
pub(crate) fn all(config: &BaselinesConfig) -> Vec<Box<dyn Watcher>> {
    vec![
        Box::new(token_replay::TokenReplay::new(config.state_bytes / 16)),
        Box::new(silence::Silence::new(config.state_bytes / 16, config.learn_ns, config.learn_events)),
        Box::new(clock_skew::ClockSkew::new()),
    ]
}
