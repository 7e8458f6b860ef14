//! What is known of peer groups: since when, by how many events, and whether it was learned in good company.
//!
//! Invariants: a group is learning until time *and* events have passed; one that was forgotten learns again; what was
//! learned while a deterministic finding on the group came up is suspect until a person accepts it.

use crate::bytes::{Reader, Saved, Writer};
use crate::watch::{Call, Key, Table};

/// Groups known at once.
const GROUPS_MAX: usize = 131_072;

pub(super) struct Groups {
    table: Table<Group>,
    learn_ns: i64,
    learn_events: u64,
}

#[derive(Default)]
struct Group {
    events: u64,
    learned: bool,
    suspect: bool,
}

impl Groups {
    pub(super) fn new(learn_ns: u64, learn_events: u64) -> Groups {
        let learn_ns = i64::try_from(learn_ns).unwrap_or(i64::MAX);
        Groups { table: Table::new(GROUPS_MAX), learn_ns, learn_events }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.table.evicted()
    }

    /// Counts a call; whether its group has just been learned.
    pub(super) fn see(&mut self, call: &Call<'_>) -> bool {
        let (learn_ns, learn_events) = (self.learn_ns, self.learn_events);
        self.table.see(call.group, call.index, call.at_ns, Group::default);
        let age = self.table.seen_ns(&call.group).map_or(0, |(first, _)| call.at_ns.saturating_sub(first));
        let Some(group) = self.table.get_mut(&call.group) else { return false };
        group.events = group.events.saturating_add(call.weight);
        let now = !group.learned && age >= learn_ns && group.events >= learn_events;
        group.learned |= now;
        now
    }

    pub(super) fn learning(&self, group: &Key) -> bool {
        self.table.get(group).is_none_or(|group| !group.learned)
    }

    /// Since when, ns, and by how many events.
    pub(super) fn learned_from(&self, group: &Key) -> (i64, u64) {
        let since = self.table.seen_ns(group).map_or(0, |(first, _)| first);
        (since, self.table.get(group).map_or(0, |group| group.events))
    }

    /// A deterministic finding came up: what is being learned now may be an attack.
    pub(super) fn suspect(&mut self, group: &Key) {
        if let Some(group) = self.table.get_mut(group) {
            group.suspect |= !group.learned;
        }
    }

    pub(super) fn is_suspect(&self, group: &Key) -> bool {
        self.table.get(group).is_some_and(|group| group.suspect)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.table.write(out);
    }

    pub(super) fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        self.table = Table::read(GROUPS_MAX, from)?;
        Some(())
    }
}

impl Saved for Group {
    const MIN_BYTES: usize = 10;

    fn write(&self, out: &mut Writer) {
        out.u64(self.events);
        out.bool(self.learned);
        out.bool(self.suspect);
    }

    fn read(from: &mut Reader<'_>) -> Option<Group> {
        Some(Group { events: from.u64()?, learned: from.bool()?, suspect: from.bool()? })
    }
}
