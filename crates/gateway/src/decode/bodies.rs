//! The hook by which the content of an exchange's bodies is read beside the counting and digesting of bytes.

use super::{Context, Intent};
use crate::ring::Way;
use countersign_event::Event;
use countersign_wire::http1::fields::Fields;

/// Where a body's reader stands.
pub(super) struct Here<'a> {
    /// What the exchange's record has so far.
    pub(super) event: &'a Event,
    pub(super) context: &'a Context,
    /// Monotonic ns: now, and when the request began.
    pub(super) t: u64,
    pub(super) started: u64,
    /// Takes events; what is more than the one that the exchange promised is owed by the caller.
    pub(super) out: &'a mut Vec<Event>,
}

/// Reads the bodies of one exchange.
pub(super) trait Bodies: Send {
    /// The final response's head is there.
    fn response(&mut self, here: &mut Here<'_>, fields: Fields<'_>, content_type: &str);

    /// Content of a body.
    fn data(&mut self, here: &mut Here<'_>, way: Way, bytes: &[u8]);

    /// A body ended.
    fn end(&mut self, here: &mut Here<'_>, way: Way);

    /// Whether its events stand for the exchange's own record (and do not come beside it).
    fn replaces(&self) -> bool;

    /// The exchange ended, or was cut, and `here.event` is its record; `made` = events made before that stand
    /// for it.
    fn finish(self: Box<Self>, here: &mut Here<'_>, made: u64);

    /// On strict routes, before the request goes on: one intent for each thing that it asks for; none = what is
    /// asked for does not stand in the body. The event's record becomes the outcome of the first.
    fn intents(&mut self, _here: &mut Here<'_>) -> Vec<Intent> {
        Vec::new()
    }

    /// The gateway decided on what the bodies ask for, before they passed.
    fn decided(&mut self) {}
}
