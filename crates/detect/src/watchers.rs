//! The watchers, one file each: what machines usually do, and what of it has changed.

mod clock_skew;

use crate::baselines::BaselinesConfig;
use crate::watch::Watcher;

/// All of them, in the order of the design's table. The state that all may have is shared out by what a key takes.
pub(crate) fn all(_config: &BaselinesConfig) -> Vec<Box<dyn Watcher>> {
    vec![Box::new(clock_skew::ClockSkew::new())]
}
