//! The caller behind a pool: which requests were open at the machine that a statement came from.
//!
//! Not a fact and never presented as one: a service that keeps connections to a database in a pool serves several
//! requests over them, and may work for nobody. Where the statement carries a trace id nothing is inferred; else
//! the record names the candidates with a score ([`score`]), or none where they are too many.
//! A request is a candidate if it went to the machine that the statement's connection comes from (the same
//! principal by certificate where both are known, else the same address) and was open from before the statement
//! began until after it ended.
//! Invariants: bounded in entries, each of a fixed size; a request that has no room makes all inference stop while
//! it is open, and is counted; a decoder that lags behind counts as a candidate that nobody has seen. The answer
//! depends on the order of events alone. Only decoder threads come here, and only where a gateway has both kinds
//! of listeners.

mod ends;

use crate::config::{Listener, Protocol};
use crate::ring::Ring;
use crate::stats::{Counters, count};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Requests remembered at once; an entry takes about 200 bytes.
const ENTRIES_MAX: usize = 16_384;
/// Of them, requests that have ended, for decoders that lag behind.
const ENDED_MAX: usize = 1_024;
/// Candidates of one statement; with more the evidence says nothing.
pub(super) const CANDIDATES_MAX: usize = 4;
/// Entries looked at for one statement; with more the evidence is taken for ambiguous.
const LOOKED_AT_MAX: usize = 256;
/// Best score: an inference is never certain, since a service may also work of its own accord.
const SCORE_MAX: u64 = 900;
/// Least score that is worth a line in a record.
const SCORE_MIN: u64 = 50;
/// A request that has been open for at most this long fits tightly, ns; a longer one (an event stream, a long
/// poll) fits in proportion.
const TIGHT_NS: u64 = 1_000_000_000;
/// A request that fits less than this does not count as a candidate, in thousandths.
const TIGHT_MIN: u64 = 20;

/// A machine as one side of the gateway sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Machine {
    Address(IpAddr),
    /// Digest of a principal's id.
    Principal([u8; 16]),
}

/// When a request began (monotonic ns), its connection and its number there.
type Place = (u64, u64, u64);

#[derive(Clone, Copy)]
struct Entry {
    ended: Option<u64>,
    /// The machine's principal is known, too.
    named: bool,
}

#[derive(Default)]
struct Inner {
    by: HashMap<Machine, BTreeMap<Place, Entry>>,
    ended: VecDeque<([Option<Machine>; 2], Place)>,
    entries: usize,
    /// Open requests that had no room.
    unlisted: usize,
}

/// Requests that are open, by the machine that they went to. Shared by all decoders of a gateway.
pub(crate) struct Causes {
    inner: Mutex<Inner>,
    lanes: Vec<Arc<Ring>>,
    counters: Arc<Counters>,
    /// Some listener may bring requests and another one statements; else nothing is remembered.
    on: bool,
    entries_max: usize,
}

/// A request that is listed as open; it ends when this is dropped.
pub(super) struct Listed {
    causes: Arc<Causes>,
    state: State,
}

enum State {
    Listed([Option<Machine>; 2], Place),
    /// There was no room.
    Unlisted,
    /// It has ended, and whoever forgets it knows.
    Ended,
}

/// A machine by what is known of it: address, and id of its principal by certificate.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) ip: IpAddr,
    pub(super) principal: Option<&'a str>,
}

impl Seen<'_> {
    fn keys(&self) -> [Option<Machine>; 2] {
        let principal = self.principal.map(|id| {
            let full = ring::digest::digest(&ring::digest::SHA256, id.as_bytes());
            let mut out = [0; 16];
            out.copy_from_slice(full.as_ref().get(..16).unwrap_or(&[0; 16]));
            Machine::Principal(out)
        });
        [Some(Machine::Address(self.ip.to_canonical())), principal]
    }
}

/// A request that a statement was probably made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) conn: u64,
    pub(super) number: u64,
    /// 0 to 1000.
    pub(super) score: u64,
}

impl Causes {
    /// `lanes` are the rings of all decoders.
    pub(crate) fn new(lanes: Vec<Arc<Ring>>, counters: Arc<Counters>, listeners: &[Listener]) -> Causes {
        let any = |of: &[Protocol]| listeners.iter().any(|l| of.contains(&l.protocol));
        let requests = any(&[Protocol::Auto, Protocol::Http1, Protocol::Http2, Protocol::Mcp]);
        let on = requests && any(&[Protocol::Postgres, Protocol::Redis]);
        Causes { inner: Mutex::default(), lanes, counters, on, entries_max: ENTRIES_MAX }
    }

    /// Whether anything is remembered at all.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// A panic between lock and unlock can only leave an entry too many, which makes links weaker, never wrong.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request went to `machine` at `started` (monotonic ns).
    pub(super) fn open(
        self: &Arc<Causes>,
        machine: Seen<'_>,
        started: u64,
        conn: u64,
        number: u64,
    ) -> Listed {
        let (keys, place) = (machine.keys(), (started, conn, number));
        let mut inner = self.lock();
        if inner.entries >= self.entries_max && !inner.drop_ended() {
            count(&self.counters.causes_unlisted);
            inner.unlisted += 1;
            return Listed { causes: Arc::clone(self), state: State::Unlisted };
        }
        inner.entries += 1;
        let entry = Entry { ended: None, named: keys[1].is_some() };
        for key in keys.into_iter().flatten() {
            inner.by.entry(key).or_default().insert(place, entry);
        }
        Listed { causes: Arc::clone(self), state: State::Listed(keys, place) }
    }

    /// The requests that a statement of `machine` was probably made for, best first. `own` = the ring of the
    /// decoder that asks.
    pub(super) fn of(&self, machine: Seen<'_>, (began, ended): (u64, u64), own: &Arc<Ring>) -> Vec<Cause> {
        let behind = |lane: &&Arc<Ring>| !Arc::ptr_eq(lane, own) && lane.is_behind(ended);
        let unseen = self.lanes.iter().filter(behind).count();
        let inner = self.lock();
        if inner.unlisted > 0 || unseen >= CANDIDATES_MAX {
            return Vec::new();
        }
        let [address, principal] = machine.keys();
        let named = principal.is_some();
        let listed = |key: Option<Machine>| key.and_then(|key| inner.by.get(&key)).into_iter();
        let by_name = listed(principal).flat_map(|map| before(map, began));
        // Both principals known and not the same: another machine behind the same address.
        let by_address =
            listed(address).flat_map(|map| before(map, began)).filter(|(_, e)| !(named && e.named));
        let mut fits: Vec<(u64, Place)> = Vec::new();
        for (at, (place, entry)) in by_name.chain(by_address).enumerate() {
            let fit = tightness(began.saturating_sub(place.0));
            if entry.ended.is_none_or(|end| end >= ended) && fit >= TIGHT_MIN {
                fits.push((fit, *place));
            }
            if at >= LOOKED_AT_MAX || fits.len() + unseen > CANDIDATES_MAX {
                return Vec::new();
            }
        }
        drop(inner);
        ranked(fits, unseen as u64)
    }
}

impl Inner {
    /// Forgets the request that ended first.
    fn drop_ended(&mut self) -> bool {
        let Some((keys, place)) = self.ended.pop_front() else { return false };
        self.remove(keys, &place);
        true
    }

    fn remove(&mut self, keys: [Option<Machine>; 2], place: &Place) {
        self.entries = self.entries.saturating_sub(1);
        for key in keys.into_iter().flatten() {
            let Some(map) = self.by.get_mut(&key) else { continue };
            map.remove(place);
            if map.is_empty() {
                self.by.remove(&key);
            }
        }
    }
}

impl Listed {
    /// The request's answer ended at `t`. With a single decoder it is forgotten at once: what comes later is later.
    pub(super) fn end(mut self, t: u64) {
        let State::Listed(keys, place) = self.state else { return };
        if self.causes.lanes.len() < 2 {
            return;
        }
        self.state = State::Ended;
        let mut inner = self.causes.lock();
        for key in keys.into_iter().flatten() {
            if let Some(entry) = inner.by.get_mut(&key).and_then(|map| map.get_mut(&place)) {
                entry.ended = Some(t);
            }
        }
        inner.ended.push_back((keys, place));
        if inner.ended.len() > ENDED_MAX {
            inner.drop_ended();
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        match self.state {
            State::Listed(keys, place) => self.causes.lock().remove(keys, &place),
            State::Unlisted => {
                let mut inner = self.causes.lock();
                inner.unlisted = inner.unlisted.saturating_sub(1);
            }
            State::Ended => {}
        }
    }
}

/// Requests that began no later than `began`, the latest first.
fn before(map: &BTreeMap<Place, Entry>, began: u64) -> impl Iterator<Item = (&Place, &Entry)> {
    map.range(..=(began, u64::MAX, u64::MAX)).rev()
}

/// How well a request that has been open for `age` (ns) fits a statement, in thousandths.
fn tightness(age: u64) -> u64 {
    TIGHT_NS.saturating_mul(1_000) / age.max(TIGHT_NS)
}

/// Candidates with their scores: each one's share of all that fit, times how tightly it fits itself.
fn ranked(fits: Vec<(u64, Place)>, unseen: u64) -> Vec<Cause> {
    let all: u64 = fits.iter().map(|(fit, _)| fit).sum::<u64>() + unseen * 1_000;
    let score = |fit: u64| SCORE_MAX * fit * fit / (all * 1_000).max(1);
    let mut out: Vec<_> = fits.into_iter().map(|(fit, place)| (score(fit), place)).collect();
    // Among equals the one that began last.
    out.sort_unstable_by(|a, b| b.cmp(a));
    let causes = out.into_iter().map(|(score, (_, conn, number))| Cause { conn, number, score });
    causes.filter(|cause| cause.score >= SCORE_MIN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Tap, What};
    use std::net::SocketAddr;

    const MS: u64 = 1_000_000;
    const T: u64 = 1_000_000 * MS;

    fn table(lanes: usize) -> (Arc<Causes>, Vec<Arc<Ring>>) {
        let rings: Vec<_> = (0..lanes).map(|_| Arc::new(Ring::new(1 << 20))).collect();
        let mut causes = Causes::new(rings.clone(), Arc::default(), &[]);
        (causes.on, causes.entries_max) = (true, 8);
        (Arc::new(causes), rings)
    }

    fn at(last: u8) -> Seen<'static> {
        Seen { ip: IpAddr::from([10, 0, 0, last]), principal: None }
    }

    fn scores(causes: &Causes, machine: Seen<'_>, times: (u64, u64), rings: &[Arc<Ring>]) -> Vec<(u64, u64)> {
        let found = causes.of(machine, times, &rings[0]);
        found.iter().map(|c| (c.conn, c.score)).collect()
    }

    #[test]
    fn one_open_request_of_the_machine_is_the_probable_cause_and_never_a_certain_one() {
        let (causes, rings) = table(1);
        let one = causes.open(at(1), T, 7, 3);
        let _elsewhere = causes.open(at(2), T, 8, 1);
        assert_eq!(
            causes.of(at(1), (T + MS, T + 2 * MS), &rings[0]),
            [Cause { conn: 7, number: 3, score: SCORE_MAX }]
        );
        assert!(scores(&causes, at(1), (T - 1, T + MS), &rings).is_empty(), "it began after the statement");
        assert!(scores(&causes, at(3), (T + MS, T + MS), &rings).is_empty());
        one.end(T + 5 * MS);
        assert!(scores(&causes, at(1), (T + 6 * MS, T + 7 * MS), &rings).is_empty());
    }

    #[test]
    fn the_more_requests_are_open_the_less_is_said_and_beyond_the_bound_nothing() {
        let (causes, rings) = table(1);
        let mut open = Vec::new();
        for n in 1..=CANDIDATES_MAX as u64 {
            open.push(causes.open(at(1), T, n, 1));
            let found = scores(&causes, at(1), (T + MS, T + MS), &rings);
            assert_eq!(found.len() as u64, n);
            assert!(found.iter().all(|(_, score)| *score == SCORE_MAX / n), "{found:?}");
        }
        open.push(causes.open(at(1), T, 99, 1));
        assert!(scores(&causes, at(1), (T + MS, T + MS), &rings).is_empty());
    }

    #[test]
    fn a_request_that_is_open_for_long_fits_loosely_and_yields_to_a_short_one() {
        let (causes, rings) = table(1);
        let _stream = causes.open(at(1), T, 1, 1);
        assert_eq!(scores(&causes, at(1), (T + 3_000 * MS, T + 3_001 * MS), &rings), [(1, 299)]);
        let later = T + 20_000 * MS;
        assert!(scores(&causes, at(1), (later, later), &rings).is_empty(), "too loose");
        let _short = causes.open(at(1), later, 2, 1);
        assert_eq!(scores(&causes, at(1), (later + MS, later + MS), &rings), [(2, 857)]);
    }

    #[test]
    fn a_known_principal_tells_machines_behind_one_address_apart() {
        let (causes, rings) = table(1);
        let named = |last, id| Seen { principal: Some(id), ..at(last) };
        let _a = causes.open(named(1, "spiffe://td/a"), T, 1, 1);
        let _b = causes.open(named(1, "spiffe://td/b"), T, 2, 1);
        let times = (T + MS, T + MS);
        assert_eq!(scores(&causes, named(1, "spiffe://td/a"), times, &rings), [(1, 900)]);
        assert_eq!(scores(&causes, named(9, "spiffe://td/b"), times, &rings), [(2, 900)], "wherever it is");
        assert!(scores(&causes, named(1, "spiffe://td/c"), times, &rings).is_empty());
        assert_eq!(scores(&causes, at(1), times, &rings).len(), 2, "an address alone is either");
    }

    #[test]
    fn without_room_nothing_is_inferred_until_what_was_not_seen_has_ended() {
        let (causes, rings) = table(1);
        let mut open: Vec<_> = (0..8).map(|n| causes.open(at(2), T, n, 1)).collect();
        let extra = causes.open(at(1), T, 50, 1);
        assert_eq!(causes.counters.read().causes_unlisted, 1);
        open.truncate(1);
        let _one = causes.open(at(1), T, 51, 1);
        assert!(scores(&causes, at(1), (T + MS, T + MS), &rings).is_empty());
        drop(extra);
        assert_eq!(scores(&causes, at(1), (T + MS, T + MS), &rings), [(51, 900)]);
        drop(open);
        assert_eq!(causes.lock().entries, 1);
    }

    #[test]
    fn a_decoder_that_lags_counts_as_a_candidate_and_an_ended_request_is_found_late() {
        let (causes, rings) = table(2);
        let one = causes.open(at(1), T, 1, 1);
        one.end(T + 5 * MS);
        assert_eq!(scores(&causes, at(1), (T + MS, T + 4 * MS), &rings), [(1, 900)], "told late");
        assert!(scores(&causes, at(1), (T + MS, T + 6 * MS), &rings).is_empty());
        let what = What::Upstream(SocketAddr::from(([10, 0, 0, 1], 1)), Vec::new());
        rings[1].push(&mut vec![Tap { conn: 1, t: T, what }]);
        assert_eq!(scores(&causes, at(1), (T + MS, T + 4 * MS), &rings), [(1, 450)]);
        rings[1].worked_off(T + 9 * MS);
        assert_eq!(scores(&causes, at(1), (T + MS, T + 4 * MS), &rings), [(1, 900)]);
    }

    #[test]
    fn what_has_ended_is_bounded_and_everything_is_forgotten_in_the_end() {
        let (causes, _) = table(2);
        for n in 0..(ENDED_MAX as u64 * 3) {
            causes.open(at((n % 200) as u8), T + n, n, 1).end(T + n + 1);
        }
        let inner = causes.lock();
        assert!(inner.entries <= ENDED_MAX && inner.ended.len() <= ENDED_MAX);
        assert_eq!(inner.by.values().map(BTreeMap::len).sum::<usize>(), inner.entries);
    }
}
