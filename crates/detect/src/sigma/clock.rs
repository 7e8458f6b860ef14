//! Event time: how far it has come, and what comes too late.
//!
//! The clock is the ledger's: nothing here reads another. Event times more than [`AHEAD_MAX_NS`] after the
//! ledger's are taken as that, so that one clock in the future moves nothing. Invariant: all of it is a function
//! of the events so far, in ledger order.

use countersign_event::Event;

/// How far an event's own time may be after the ledger's, ns.
pub const AHEAD_MAX_NS: i64 = 60_000_000_000;
/// How late an event may be before windows are decided without it, ns.
pub const LATENESS_NS: i64 = 60_000_000_000;
/// How long after that windows still take in late events, ns.
pub const GRACE_NS: i64 = 600_000_000_000;

/// The watermark: no event before it is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    watermark_ns: i64,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { watermark_ns: i64::MIN }
    }

    pub(crate) fn watermark_ns(&self) -> i64 {
        self.watermark_ns
    }

    /// Takes in an event and gives its time: its own, else the observer's.
    pub(crate) fn advance(&mut self, ledger_ns: u64, event: &Event) -> i64 {
        let ledger_ns = i64::try_from(ledger_ns).unwrap_or(i64::MAX);
        let observed = || i64::try_from(event.core.t_obs).unwrap_or(i64::MAX);
        let ns = event.core.t_event.unwrap_or_else(observed).min(ledger_ns.saturating_add(AHEAD_MAX_NS));
        self.watermark_ns = self.watermark_ns.max(ns.saturating_sub(LATENESS_NS));
        ns
    }

    /// Up to this time, hits come too late for any window.
    pub(crate) fn too_late_ns(&self) -> i64 {
        self.watermark_ns.saturating_sub(GRACE_NS)
    }
}
