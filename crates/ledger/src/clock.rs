//! Where time comes from, and the one rule the ledger adds: its own time never goes back.
//!
//! [`LedgerTime`] follows the monotonic clock from an anchor and lets wall time pull it by at most 500
//! parts per million; a wall step of more than a second is counted, never followed at once.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A wall clock and a monotonic clock, as parameters so that a test can replay time.
pub trait Clock: Send + Sync {
    /// Wall time, UTC nanoseconds since 1970.
    fn now_ns(&self) -> u64;
    /// Nanoseconds since an arbitrary start; never goes back.
    fn monotonic_ns(&self) -> u64;
}

/// The machine's clocks.
#[derive(Clone, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Most that wall time may pull ledger time, in parts per million of elapsed time.
const SLEW_PPM: u64 = 500;
/// A difference between wall and anchored time above this is a step, not drift.
pub(crate) const STEP_NS: u64 = 1_000_000_000;

/// Receive times of the ledger: never decreasing along the index.
#[derive(Debug)]
pub(crate) struct LedgerTime {
    last: u64,
    base: u64,
    mono: u64,
    stepped: bool,
    /// Wall steps of more than a second seen so far.
    pub(crate) steps: u64,
}

impl LedgerTime {
    /// Continues after `last`, the time of the newest entry.
    pub(crate) fn new(clock: &dyn Clock, last: u64) -> LedgerTime {
        LedgerTime { last, base: clock.now_ns(), mono: clock.monotonic_ns(), stepped: false, steps: 0 }
    }

    /// The time for the next entry.
    pub(crate) fn now(&mut self, clock: &dyn Clock) -> u64 {
        let (wall, mono) = (clock.now_ns(), clock.monotonic_ns());
        let elapsed = mono.saturating_sub(self.mono);
        let anchored = self.base.saturating_add(elapsed);
        let most = elapsed.saturating_mul(SLEW_PPM) / 1_000_000;
        let apart = wall.abs_diff(anchored);
        let pull = apart.min(most);
        self.base =
            if wall > anchored { anchored.saturating_add(pull) } else { anchored - pull.min(anchored) };
        self.mono = mono;
        if apart > STEP_NS && !self.stepped {
            self.steps += 1;
        }
        self.stepped = apart > STEP_NS;
        self.last = self.last.max(self.base);
        self.last
    }
}
