//! The bounded memory of edges: an exact set, and for what had to leave it a Bloom filter.
//!
//! Invariants: at most [`EDGES_MAX`] exact edges; **an edge that left is `Unknown`, never `New`** (the filter
//! errs only towards `Unknown`), or eviction itself would raise findings; edges past learning leave last, so a
//! flood of invented names cannot push them out; which edge leaves depends on the ledger alone.

use crate::bytes::{Reader, Writer};
use std::collections::HashMap;

/// Most edges kept exactly: about 6 MiB.
pub const EDGES_MAX: usize = 1 << 16;
/// Most that leave at once, so that the search for them is paid for by many.
const EVICT_MAX: usize = EDGES_MAX / 16;
/// Sightings, and time between first and last (ns), after which an edge is established.
const ESTABLISHED_HITS: u32 = 3;
const ESTABLISHED_NS: u64 = 3_600_000_000_000;
/// Bits of one generation of the filter of evicted edges (128 KiB), and bits set for one of them.
const BLOOM_BITS: usize = 1 << 20;
const BLOOM_PROBES: usize = 4;
/// With more than this in one generation, strangers begin to look evicted: 2% of them.
const BLOOM_FULL: u64 = BLOOM_BITS as u64 / 8;

/// A keyed 128-bit hash of an edge's names.
pub(crate) type Key = [u8; 16];

/// What is known of an edge at a sighting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Certainly not within the history.
    New,
    /// Within the history.
    Known,
    /// Perhaps seen and forgotten.
    Unknown,
}

#[derive(Clone, Copy)]
struct State {
    first_ns: u64,
    last_ns: u64,
    /// Unique, so that the order of eviction is too.
    last_index: u64,
    hits: u32,
    established: bool,
}

/// All edges of one detector.
pub(crate) struct Edges {
    known: HashMap<Key, State>,
    capacity: usize,
    history_ns: u64,
    evicted: Evicted,
}

/// Two generations of a Bloom filter, so that what left long ago is forgotten together with the history. Empty until
/// something leaves.
pub(crate) struct Evicted {
    young: Vec<u64>,
    old: Vec<u64>,
    young_count: u64,
    since_ns: u64,
    /// Over all time, for the counters.
    total: u64,
}

impl Edges {
    pub(crate) fn new(capacity: usize, history_ns: u64) -> Edges {
        let capacity = capacity.clamp(1, EDGES_MAX);
        Edges { known: HashMap::new(), capacity, history_ns, evicted: Evicted::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.total
    }

    /// Whether so many have left that newness can often not be told any more.
    pub(crate) fn saturated(&self) -> bool {
        self.evicted.young_count > BLOOM_FULL
    }

    /// Notes a sighting and says what was known before it. `learned` edges count as established.
    pub(crate) fn see(&mut self, key: Key, index: u64, now_ns: u64, learned: bool) -> Seen {
        self.evicted.turn(now_ns, self.history_ns);
        if let Some(state) = self.known.get_mut(&key) {
            let expired = now_ns.saturating_sub(state.last_ns) > self.history_ns;
            if expired {
                *state = State { first_ns: now_ns, hits: 0, established: learned, ..*state };
            }
            state.hits = state.hits.saturating_add(1);
            (state.last_ns, state.last_index) = (now_ns.max(state.last_ns), index);
            let lasting =
                state.hits >= ESTABLISHED_HITS && now_ns - state.first_ns.min(now_ns) >= ESTABLISHED_NS;
            state.established |= learned || lasting;
            return if expired { Seen::New } else { Seen::Known };
        }
        let seen = if self.evicted.may_hold(&key) { Seen::Unknown } else { Seen::New };
        self.make_room();
        let state =
            State { first_ns: now_ns, last_ns: now_ns, last_index: index, hits: 1, established: learned };
        self.known.insert(key, state);
        seen
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        self.evicted.write(out);
        let mut keys: Vec<&Key> = self.known.keys().collect();
        keys.sort_unstable();
        out.len(keys.len());
        for key in keys {
            let Some(state) = self.known.get(key) else { continue };
            out.key(key);
            out.u64(state.first_ns);
            out.u64(state.last_ns);
            out.u64(state.last_index);
            out.u32(state.hits);
            out.bool(state.established);
        }
    }

    /// Takes up what [`Edges::write`] gave, all or nothing.
    pub(crate) fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let evicted = Evicted::read(from)?;
        let many = from.len(45)?;
        let mut known = HashMap::with_capacity(many);
        for _ in 0..many {
            let key = from.key()?;
            let (first_ns, last_ns) = (from.u64()?, from.u64()?);
            let (last_index, hits, established) = (from.u64()?, from.u32()?, from.bool()?);
            known.insert(key, State { first_ns, last_ns, last_index, hits, established });
        }
        (self.known, self.evicted) = (known, evicted);
        Some(())
    }

    /// Takes in an edge from before the start, seen `hits` times.
    pub(crate) fn warm(&mut self, key: Key, last_index: u64, last_ns: u64, hits: u64) {
        self.make_room();
        let hits = u32::try_from(hits).unwrap_or(u32::MAX);
        let established = hits >= ESTABLISHED_HITS;
        self.known.insert(key, State { first_ns: last_ns, last_ns, last_index, hits, established });
    }

    /// Lets the least recent go, those that are not established first, when the set is full.
    fn make_room(&mut self) {
        if self.known.len() < self.capacity {
            return;
        }
        let order = |(key, state): (&Key, &State)| (state.established, state.last_index, *key);
        let mut all: Vec<_> = self.known.iter().map(order).collect();
        let fleeting = all.iter().filter(|(established, ..)| !established).count();
        let leaving = fleeting.clamp(1, EVICT_MAX).min(all.len());
        all.select_nth_unstable(leaving - 1);
        for (_, _, key) in &all[..leaving] {
            self.known.remove(key);
            self.evicted.insert(key);
        }
    }
}

impl Evicted {
    pub(crate) fn new() -> Evicted {
        Evicted { young: Vec::new(), old: Vec::new(), young_count: 0, since_ns: 0, total: 0 }
    }

    /// How many have left, over all time.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// After a whole history the older generation is forgotten.
    pub(crate) fn turn(&mut self, now_ns: u64, history_ns: u64) {
        if self.young_count > 0 && now_ns.saturating_sub(self.since_ns) > history_ns {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.young_count = 0;
        }
        if self.young_count == 0 {
            self.since_ns = now_ns;
        }
    }

    pub(crate) fn insert(&mut self, key: &Key) {
        self.young.resize(BLOOM_BITS / 64, 0);
        for (word, bit) in probes(key) {
            self.young[word] |= bit;
        }
        self.young_count += 1;
        self.total += 1;
    }

    pub(crate) fn may_hold(&self, key: &Key) -> bool {
        let holds = |bits: &[u64]| {
            !bits.is_empty() && probes(key).all(|(word, bit)| bits.get(word).is_some_and(|w| w & bit != 0))
        };
        holds(&self.young) || holds(&self.old)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u64(self.young_count);
        out.u64(self.since_ns);
        out.u64(self.total);
        for words in [&self.young, &self.old] {
            out.len(words.len());
            words.iter().for_each(|word| out.u64(*word));
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Evicted> {
        let (young_count, since_ns, total) = (from.u64()?, from.u64()?, from.u64()?);
        let mut words = || -> Option<Vec<u64>> {
            let many = from.len(8)?;
            if many != 0 && many != BLOOM_BITS / 64 {
                return None;
            }
            (0..many).map(|_| from.u64()).collect()
        };
        Some(Evicted { young: words()?, old: words()?, young_count, since_ns, total })
    }
}

/// The key is a keyed hash, so its own bytes are the filter's hash functions.
fn probes(key: &Key) -> impl Iterator<Item = (usize, u64)> {
    key.chunks_exact(16 / BLOOM_PROBES).map(|part| {
        let n = part.iter().fold(0usize, |n, byte| n << 8 | usize::from(*byte)) % BLOOM_BITS;
        (n / 64, 1 << (n % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    const HOUR: u64 = ESTABLISHED_NS;

    fn key(n: u64) -> Key {
        crate::finding::first_half(Sha256::digest(n.to_be_bytes()).into())
    }

    #[test]
    fn an_evicted_edge_is_unknown_and_a_stranger_stays_new() {
        let mut edges = Edges::new(16, 1000 * HOUR);
        for n in 0..100 {
            assert_eq!(edges.see(key(n), n, n, false), Seen::New);
        }
        assert!(edges.len() <= 16);
        let back: Vec<Seen> = (0..80).map(|n| edges.see(key(n), 100 + n, 100, false)).collect();
        assert!(back.iter().all(|s| *s == Seen::Unknown));
        assert_eq!(edges.see(key(1000), 200, 200, false), Seen::New);
    }

    #[test]
    fn a_flood_of_strangers_pushes_out_no_established_edge() {
        let mut edges = Edges::new(1000, 1000 * HOUR);
        for n in 0..500 {
            edges.see(key(n), n, 0, true);
        }
        for n in 0..20_000 {
            edges.see(key(10_000 + n), 1000 + n, HOUR, false);
        }
        assert!(edges.len() <= 1000 && edges.evicted() > 0);
        assert!((0..500).all(|n| edges.see(key(n), 100_000 + n, HOUR, false) == Seen::Known));
    }

    #[test]
    fn an_edge_is_forgotten_with_the_history() {
        let mut edges = Edges::new(16, 10);
        assert_eq!(edges.see(key(1), 1, 100, false), Seen::New);
        assert_eq!(edges.see(key(1), 2, 110, false), Seen::Known);
        assert_eq!(edges.see(key(1), 3, 121, false), Seen::New);
        assert_eq!(edges.see(key(1), 4, 121, false), Seen::Known);
    }

    #[test]
    fn a_full_set_of_established_edges_still_gives_way_one_by_one() {
        let mut edges = Edges::new(8, 1000 * HOUR);
        for n in 0..20 {
            edges.see(key(n), n, 0, true);
        }
        assert_eq!(edges.len(), 8);
        assert_eq!(edges.see(key(19), 30, 0, true), Seen::Known);
        assert_eq!(edges.see(key(0), 31, 0, true), Seen::Unknown);
    }

    #[test]
    fn the_filter_of_evicted_edges_is_forgotten_after_two_histories() {
        let mut edges = Edges::new(1, 10);
        edges.see(key(1), 1, 0, false);
        edges.see(key(2), 2, 1, false);
        assert_eq!(edges.see(key(1), 3, 2, false), Seen::Unknown);
        for (n, at) in [(10, 20), (11, 40), (12, 60), (13, 80)] {
            edges.see(key(n), n, at, false);
        }
        assert_eq!(edges.see(key(2), 99, 81, false), Seen::New);
    }
}
