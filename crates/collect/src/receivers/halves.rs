//! Halves of calls that a process before this one had recorded and not yet made into events.
//!
//! A span whose twin had not come was durable as a record of rec progress (see `otlp.rs`); a process that was killed
//! within the window left it so. Read from the ledger at the start, such halves wait again, as long as they would have
//! waited: the twin that comes now finds them, and the one that stays alone becomes its event.
//!
//! A half can be read again if its bytes were kept as they came: not where `keep_raw` is `none`, where a secret was
//! removed from them, or where they are longer than a record keeps. Those stay `progress` records.
//!
//! Invariant: what an event was already made of is not given back, so nothing is told twice; where that is not seen
//! here (the event is older than what was read), the intake's memory of repeats knows the event by its id.

use crate::otlp::HALF;
use crate::spans::PENDING_MAX;
use countersign_event::{CaptureMode, Event, Rec, Unmapped};
use std::collections::{BTreeMap, HashMap};

/// See the module. Give it every event of the input, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Halves {
    /// In order of arrival.
    waiting: BTreeMap<u64, Event>,
    by_eid: HashMap<[u8; 16], u64>,
    by_digest: HashMap<[u8; 32], u64>,
    next: u64,
}

impl Halves {
    /// Takes notice of a recorded event: a half waits from now on, an event made of halves ends that.
    pub fn take(&mut self, event: &Event) {
        let Some(capture) = &event.body.cap else { return };
        if capture.mode == Some(CaptureMode::Replay) {
            let own = event.links.of.and_then(|of| self.by_eid.remove(&of));
            let other = match event.content.unmapped.get("/caller/digest") {
                Some(Unmapped::Bytes(digest)) => {
                    <[u8; 32]>::try_from(digest.as_slice()).ok().and_then(|d| self.by_digest.remove(&d))
                }
                _ => None,
            };
            for number in own.into_iter().chain(other) {
                self.waiting.remove(&number);
            }
            return;
        }
        let half = event.core.rec == Some(Rec::Progress) && capture.source_id.ends_with(HALF);
        let Some(raw) =
            event.body.raw.as_ref().filter(|raw| half && Some(raw.bytes.len() as u64) == raw.length)
        else {
            return;
        };
        self.next += 1;
        self.by_eid.insert(event.core.eid, self.next);
        if let Some(digest) = raw.digest {
            self.by_digest.insert(digest, self.next);
        }
        self.waiting.insert(self.next, event.clone());
        if self.waiting.len() > PENDING_MAX {
            self.waiting.pop_first();
        }
    }

    /// Those that nothing was made of, oldest first.
    pub(super) fn left(self) -> impl Iterator<Item = Event> {
        self.waiting.into_values()
    }
}
