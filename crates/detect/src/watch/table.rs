//! The bounded memory of a watcher: one value a key, and a filter of the keys that had to leave.
//!
//! Invariants: at most `capacity` keys; **a key that left, or of which a restart lost the state, is
//! [`Standing::Unknown`], never new**; established keys leave last, so a flood of invented names cannot push them out;
//! which key leaves depends on the ledger alone; what left is counted.

use super::keys::{Key, KeyMap};
use crate::bytes::{Reader, Saved, Writer};
use crate::edges::Evicted;

/// Sightings, and time between first and last (ns), after which a key is established.
const ESTABLISHED_HITS: u32 = 10;
const ESTABLISHED_NS: i64 = 3_600_000_000_000;
/// Part of the table that leaves at once, so that the search for it is paid for by many.
const EVICT_PART: usize = 16;
/// How long the filter remembers, ns.
const REMEMBER_NS: u64 = 30 * 86_400_000_000_000;

/// What is known of a key at a sighting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Certainly not seen before.
    New,
    /// In the table.
    Known,
    /// Perhaps seen and forgotten: say nothing that rests on newness.
    Unknown,
}

/// Bytes that a key takes beside its value: key, slot, and the room that a hash map keeps free.
pub(crate) const SLOT_BYTES: usize = 72;

struct Slot<V> {
    first_ns: i64,
    last_ns: i64,
    /// Unique, so that the order of eviction is too.
    last_index: u64,
    hits: u32,
    value: V,
}

impl<V> Slot<V> {
    fn established(&self) -> bool {
        self.hits >= ESTABLISHED_HITS && self.last_ns.saturating_sub(self.first_ns) >= ESTABLISHED_NS
    }
}

/// See the module.
pub(crate) struct Table<V> {
    slots: KeyMap<Slot<V>>,
    capacity: usize,
    evicted: Evicted,
}

impl<V> Table<V> {
    /// Of at most `capacity` keys.
    pub(crate) fn new(capacity: usize) -> Table<V> {
        Table { slots: KeyMap::default(), capacity: capacity.max(EVICT_PART), evicted: Evicted::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Keys that had to leave.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.total()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&V> {
        self.slots.get(key).map(|slot| &slot.value)
    }

    /// Without counting as a sighting.
    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut V> {
        self.slots.get_mut(key).map(|slot| &mut slot.value)
    }

    /// When this key was seen first and last, event time in ns.
    pub(crate) fn seen_ns(&self, key: &Key) -> Option<(i64, i64)> {
        self.slots.get(key).map(|slot| (slot.first_ns, slot.last_ns))
    }

    /// A sighting of `key` by the event at `index`, at event time `at_ns`: its value, made by `fresh` if there is none.
    pub(crate) fn see(
        &mut self,
        key: Key,
        index: u64,
        at_ns: i64,
        fresh: impl FnOnce() -> V,
    ) -> (Standing, &mut V) {
        let mut standing = Standing::Known;
        if !self.slots.contains_key(&key) {
            self.evicted.turn(u64::try_from(at_ns).unwrap_or(0), REMEMBER_NS);
            standing = if self.evicted.may_hold(&key) { Standing::Unknown } else { Standing::New };
            self.make_room();
        }
        let slot = self.slots.entry(key).or_insert_with(|| Slot {
            first_ns: at_ns,
            last_ns: at_ns,
            last_index: index,
            hits: 0,
            value: fresh(),
        });
        slot.hits = slot.hits.saturating_add(1);
        slot.last_ns = slot.last_ns.max(at_ns);
        slot.last_index = index;
        (standing, &mut slot.value)
    }

    /// Forgets a key for good: it is new the next time.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<V> {
        self.slots.remove(key).map(|slot| slot.value)
    }

    /// All keys, ascending: for decisions that time makes, which must not depend on the order of a hash.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.slots.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Keeps the keys for which `keep` holds; the others are forgotten for good.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Key, &mut V) -> bool) {
        self.slots.retain(|key, slot| keep(key, &mut slot.value));
    }

    fn make_room(&mut self) {
        if self.slots.len() < self.capacity {
            return;
        }
        let order = |(key, slot): (&Key, &Slot<V>)| (slot.established(), slot.last_ns, slot.last_index, *key);
        let mut all: Vec<_> = self.slots.iter().map(order).collect();
        let fleeting = all.iter().filter(|(established, ..)| !established).count();
        let leaving = fleeting.clamp(1, self.capacity / EVICT_PART).min(all.len());
        all.select_nth_unstable(leaving - 1);
        for (.., key) in &all[..leaving] {
            self.slots.remove(key);
            self.evicted.insert(key);
        }
    }
}

impl<V: Saved> Table<V> {
    pub(crate) fn write(&self, out: &mut Writer) {
        self.evicted.write(out);
        out.len(self.slots.len());
        for key in self.keys() {
            let Some(slot) = self.slots.get(&key) else { continue };
            out.key(&key);
            out.i64(slot.first_ns);
            out.i64(slot.last_ns);
            out.u64(slot.last_index);
            out.u32(slot.hits);
            slot.value.write(out);
        }
    }

    /// Into a table of the same capacity; `None` = not what [`Table::write`] gave.
    pub(crate) fn read(capacity: usize, from: &mut Reader<'_>) -> Option<Table<V>> {
        let mut table = Table::new(capacity);
        table.evicted = Evicted::read(from)?;
        let many = from.len(44 + V::MIN_BYTES)?;
        if many > table.capacity {
            return None;
        }
        table.slots.reserve(many);
        for _ in 0..many {
            let key = from.key()?;
            let (first_ns, last_ns) = (from.i64()?, from.i64()?);
            let (last_index, hits) = (from.u64()?, from.u32()?);
            table.slots.insert(key, Slot { first_ns, last_ns, last_index, hits, value: V::read(from)? });
        }
        Some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    impl Saved for u64 {
        const MIN_BYTES: usize = 8;
        fn write(&self, out: &mut Writer) {
            out.u64(*self);
        }
        fn read(from: &mut Reader<'_>) -> Option<u64> {
            from.u64()
        }
    }

    fn key(n: u64) -> Key {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        key[8..].copy_from_slice(&n.to_le_bytes());
        key
    }

    #[test]
    fn a_flood_of_invented_keys_pushes_no_established_one_out_and_is_counted() {
        let mut table: Table<u64> = Table::new(1_000);
        for round in 0..12 {
            for n in 0..500 {
                table.see(key(n), round * 500 + n, round as i64 * HOUR, || n);
            }
        }
        for n in 0..100_000 {
            table.see(key(1_000_000 + n), 10_000 + n, 12 * HOUR, || 0);
        }
        assert!(table.len() <= 1_000);
        assert!((0..500).all(|n| table.get(&key(n)) == Some(&n)));
        assert!(table.evicted() >= 99_000);
        assert_eq!(table.see(key(1_000_000), 200_000, 12 * HOUR, || 0).0, Standing::Unknown);
    }

    #[test]
    fn it_is_read_back_as_it_was_and_evicts_the_same() {
        let mut table: Table<u64> = Table::new(64);
        for n in 0..200 {
            table.see(key(n % 90), n, n as i64, || n);
        }
        let mut out = Writer::new();
        table.write(&mut out);
        let bytes = out.done();
        let mut again: Table<u64> = Table::read(64, &mut Reader::new(&bytes)).unwrap();
        for n in 200..400 {
            let (a, b) =
                (table.see(key(n % 130), n, n as i64, || n), again.see(key(n % 130), n, n as i64, || n));
            assert_eq!((a.0, *a.1), (b.0, *b.1));
        }
        assert_eq!((table.len(), table.evicted()), (again.len(), again.evicted()));
        assert!(Table::<u64>::read(16, &mut Reader::new(&bytes)).is_none());
        assert!(Table::<u64>::read(64, &mut Reader::new(&bytes[..bytes.len() - 1])).is_none());
    }
}
