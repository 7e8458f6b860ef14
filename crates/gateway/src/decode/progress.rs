//! Long interactions: when a record of progress is due, and what it looks like.

use super::Context;
use countersign_event::{Event, Rec};

/// Longest time without a record while bytes move, ns.
pub(super) const EVERY_NS: u64 = 60_000_000_000;
/// Most bytes without a record.
pub(super) const EVERY_BYTES: u64 = 64 << 20;

/// When the last record was made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    at: u64,
    bytes: u64,
}

impl Progress {
    /// From `t`, monotonic ns.
    pub(super) fn new(t: u64) -> Progress {
        Progress { at: t, bytes: 0 }
    }

    /// Whether a record is due at `t`, after `bytes` in all; it then counts as made.
    pub(super) fn due(&mut self, t: u64, bytes: u64) -> bool {
        let due = t.saturating_sub(self.at) >= EVERY_NS || bytes.saturating_sub(self.bytes) >= EVERY_BYTES;
        if due {
            *self = Progress { at: t, bytes };
        }
        due
    }
}

/// Makes `event` one of progress at `t`: no outcome yet.
pub(super) fn mark(event: &mut Event, context: &Context, started: u64, t: u64) {
    event.core.rec = Some(Rec::Progress);
    event.core.outcome = None;
    event.core.t_obs = context.wall(t);
    event.core.dur = Some(t.saturating_sub(started));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_due_by_time_or_by_bytes_whichever_comes_first() {
        let mut progress = Progress::new(5);
        assert!(!progress.due(EVERY_NS, EVERY_BYTES - 1));
        assert!(progress.due(EVERY_NS + 5, 10));
        assert!(!progress.due(EVERY_NS + 6, EVERY_BYTES + 9));
        assert!(progress.due(EVERY_NS + 6, EVERY_BYTES + 10));
    }
}
