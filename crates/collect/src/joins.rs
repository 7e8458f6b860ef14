//! Records that come in parts, joined: the stages of a Kubernetes request, Vault's request and response.
//!
//! A parser says that its record is a part by [`crate::Draft::join`]. The first parts wait here until the last one
//! comes; then one event is made of all of them (`cap.merged` counts them, its bytes are theirs in order of
//! arrival, a newline between). A part whose last one does not come within the window, or that must make room, is
//! emitted for itself, `partial`. Never holds a last part; what is held has not been acknowledged.
//!
//! Invariants: every record offered is in exactly one event that is given back, by [`Joiner::observe`],
//! [`Joiner::expire`] or [`Joiner::drain`]; never more than [`PENDING_MAX`] records or [`PENDING_BYTES_MAX`] bytes
//! wait. One joiner an input: strangers' keys never meet. No clock: `now` is ours, UTC ns, by parameter.

use crate::formats::Format;
use crate::observe::draft;
use crate::seal::seal_raw;
use crate::{Draft, Input, Keeper, seal};
use countersign_event::Event;
use std::collections::{BTreeMap, HashMap};

/// Most parts that wait.
pub const PENDING_MAX: usize = 100_000;
/// Most bytes that wait: their records, and [`PART_BYTES`] for each.
pub const PENDING_BYTES_MAX: usize = 64 << 20;
/// What a waiting part costs besides its record, bytes: about the size of its draft.
pub const PART_BYTES: usize = 512;
/// How long parts wait unless told otherwise, ns: Kubernetes ends a request that is no watch after a minute.
pub const WINDOW: u64 = 90_000_000_000;

/// Why a part that was emitted for itself is partial; a last part that comes takes this reason away.
pub(crate) const FIRST_ONLY: &str = "a first part whose last one has not come";
const LAST_ONLY: &str = "a last part whose first one has not come";

/// Which part of which interaction a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// What the parts have in common, unique in their input.
    pub key: String,
    /// Whether it is the last one, and whether others must have come before it.
    pub part: Part,
}

/// See [`Join`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// More must come.
    First,
    /// The last; others may have come before (a Kubernetes policy may omit stages).
    Last,
    /// The last of two that are both always written.
    LastOfPair,
}

/// Where a record came from, as the caller counts: file and offset. An event has that of its last record.
pub type Place = (u64, u64);

/// A part that waits.
#[derive(Debug)]
struct Held {
    place: Place,
    key: String,
    since: u64,
    format: &'static str,
    draft: Draft,
    record: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub struct Joiner {
    window: u64,
    count_max: usize,
    bytes_max: usize,
    bytes: usize,
    next: u64,
    /// By number of arrival, so the oldest is the first.
    held: BTreeMap<u64, Held>,
    by_key: HashMap<String, Vec<u64>>,
}

impl Default for Joiner {
    fn default() -> Joiner {
        Joiner::new(WINDOW)
    }
}

impl Joiner {
    /// With a window, ns, and the bounds of this module.
    pub fn new(window: u64) -> Joiner {
        Joiner::bounded(window, PENDING_MAX, PENDING_BYTES_MAX)
    }

    /// With other bounds: parts, bytes.
    pub fn bounded(window: u64, count_max: usize, bytes_max: usize) -> Joiner {
        let (held, by_key) = (BTreeMap::new(), HashMap::new());
        Joiner { window, count_max, bytes_max, bytes: 0, next: 0, held, by_key }
    }

    /// Parts that wait, and the bytes they cost.
    pub fn pending(&self) -> (usize, usize) {
        (self.held.len(), self.bytes)
    }

    /// As [`crate::observe()`], but a first part waits for its last one. Gives the events that are complete now:
    /// none, this record's, and those that had to make room.
    pub fn observe(
        &mut self,
        bytes: &[u8],
        format: Option<&Format>,
        input: &Input,
        keeper: &Keeper,
        now: u64,
    ) -> Vec<Event> {
        let placed = self.observe_at((0, 0), bytes, format, input, keeper, now);
        placed.into_iter().map(|(_, event)| event).collect()
    }

    /// As [`Joiner::observe`], of a record with a place.
    pub fn observe_at(
        &mut self,
        place: Place,
        bytes: &[u8],
        format: Option<&Format>,
        input: &Input,
        keeper: &Keeper,
        now: u64,
    ) -> Vec<(Place, Event)> {
        let (name, parsed) = draft(bytes, format, input, now);
        let mut parsed = match parsed {
            Ok(parsed) => parsed,
            Err(fault) => return vec![(place, seal_raw(name, fault, bytes, input, keeper, now))],
        };
        let Some(join) = parsed.join.take() else {
            return vec![(place, seal(parsed, name, bytes, input, keeper, now))];
        };
        let key = format!("{name} {}", join.key);
        if join.part == Part::First {
            let record = bytes.to_vec();
            self.hold(Held { place, key, since: now, format: name, draft: parsed, record });
            return self.make_room().into_iter().map(|held| emit(held, input, keeper, now)).collect();
        }
        let (parsed, record) = self.complete(&key, parsed, bytes, join.part);
        vec![(place, seal(parsed, name, &record, input, keeper, now))]
    }

    /// Places of the parts that wait.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.held.values().map(|held| held.place)
    }

    /// The events of parts that have waited longer than the window.
    pub fn expire(&mut self, input: &Input, keeper: &Keeper, now: u64) -> Vec<Event> {
        self.expire_at(input, keeper, now).into_iter().map(|(_, event)| event).collect()
    }

    /// As [`Joiner::expire`], with their places.
    pub fn expire_at(&mut self, input: &Input, keeper: &Keeper, now: u64) -> Vec<(Place, Event)> {
        let mut out = Vec::new();
        while self
            .held
            .first_key_value()
            .is_some_and(|(_, held)| now.saturating_sub(held.since) > self.window)
        {
            out.extend(self.oldest().map(|held| emit(held, input, keeper, now)));
        }
        out
    }

    /// The events of all parts that wait: at a shutdown.
    pub fn drain(&mut self, input: &Input, keeper: &Keeper, now: u64) -> Vec<Event> {
        self.drain_at(input, keeper, now).into_iter().map(|(_, event)| event).collect()
    }

    /// As [`Joiner::drain`], with their places.
    pub fn drain_at(&mut self, input: &Input, keeper: &Keeper, now: u64) -> Vec<(Place, Event)> {
        std::iter::from_fn(|| self.oldest()).map(|held| emit(held, input, keeper, now)).collect()
    }

    fn hold(&mut self, held: Held) {
        self.bytes += cost(&held);
        self.by_key.entry(held.key.clone()).or_default().push(self.next);
        self.held.insert(self.next, held);
        self.next += 1;
    }

    fn make_room(&mut self) -> Vec<Held> {
        let mut out = Vec::new();
        while self.held.len() > self.count_max || self.bytes > self.bytes_max {
            out.extend(self.oldest());
        }
        out
    }

    fn oldest(&mut self) -> Option<Held> {
        let (number, held) = self.held.pop_first()?;
        self.bytes -= cost(&held);
        if let Some(numbers) = self.by_key.get_mut(&held.key) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_key.remove(&held.key);
            }
        }
        Some(held)
    }

    /// The last part with all that waited for it.
    fn complete(&mut self, key: &str, mut last: Draft, bytes: &[u8], part: Part) -> (Draft, Vec<u8>) {
        let numbers = self.by_key.remove(key).unwrap_or_default();
        if numbers.is_empty() && part == Part::LastOfPair {
            last.partial(LAST_ONLY);
        }
        let mut record = Vec::new();
        for held in numbers.iter().filter_map(|number| self.held.remove(number)) {
            self.bytes -= cost(&held);
            absorb(&mut last, held.draft);
            record.extend_from_slice(&held.record);
            record.push(b'\n');
        }
        record.extend_from_slice(bytes);
        (last, record)
    }
}

fn cost(held: &Held) -> usize {
    held.record.len() + PART_BYTES
}

fn emit(held: Held, input: &Input, keeper: &Keeper, now: u64) -> (Place, Event) {
    (held.place, seal(held.draft, held.format, &held.record, input, keeper, now))
}

/// What the earlier part says and the last does not: an earlier beginning, fields that no rule took, doubts.
fn absorb(last: &mut Draft, first: Draft) {
    last.merged += 1 + first.merged;
    last.private |= first.private;
    if let Some(why) = first.partial.filter(|why| *why != FIRST_ONLY) {
        last.partial(why);
    }
    let (core, earlier) = (&mut last.event.core, first.event.core);
    if let (Some(end), Some(begin)) = (core.t_event, earlier.t_event)
        && begin < end
    {
        let before = end.abs_diff(begin);
        core.dur = Some(core.dur.unwrap_or(0).saturating_add(before));
        (core.t_event, core.t_basis) = (Some(begin), earlier.t_basis);
    }
    for label in earlier.labels {
        if !core.labels.contains(&label) {
            core.labels.push(label);
        }
    }
    let unmapped = &mut last.event.content.unmapped;
    for (pointer, token) in first.event.content.unmapped {
        unmapped.entry(pointer).or_insert(token);
    }
}

#[cfg(test)]
#[path = "joins/tests.rs"]
mod tests;
