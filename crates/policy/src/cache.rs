//! Verdicts remembered, bounded in bytes.
//!
//! A key holds everything that the loaded policies can see of a call, spelled out: two calls share a verdict
//! only if no policy can tell them apart. Not keyed by hashes: who finds a collision would inherit a verdict.
//! Lives and dies with its policy set.

use crate::Request;
use crate::call::hours;
use crate::names::{self, class_word};
use crate::reads::Reads;
use countersign_event::{Decision, Mode};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Default bound of the cache, bytes.
pub const CACHE_BYTES: usize = 16 << 20;
/// Calls with a longer key are not remembered, bytes.
pub const KEY_MAX: usize = 8 << 10;
/// Parts of the cache, each with a lock of its own.
const SHARDS: usize = 16;
/// What an entry weighs beside its texts, bytes: both collections, two allocations, counters.
const ENTRY_BYTES: usize = 256;

#[derive(Debug)]
struct Entry {
    decision: Decision,
    bytes: usize,
    /// Used since it was last passed over: it gets a second chance.
    used: bool,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// Oldest first.
    queue: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

/// The cache of one policy set.
#[derive(Debug)]
pub(crate) struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: std::collections::hash_map::RandomState,
    shard_bytes: usize,
    evictions: AtomicU64,
}

/// The part of a key that Rust can compare: all that policies can see.
pub(crate) fn key(request: &Request<'_>, mode: Mode, reads: Reads) -> Vec<u8> {
    let mut key = Key(Vec::with_capacity(256));
    let (ty, id) = names::caller(request);
    key.byte(u8::try_from(mode.code()).unwrap_or(u8::MAX));
    key.byte(ty as u8);
    key.text(id);
    key.number(request.principal.map_or(0, |p| p.verified.code()));
    let groups = request.principal.map_or(&[][..], |p| &p.groups);
    key.texts(groups.iter().map(String::as_str));
    for text in [request.protocol, request.operation, class_word(request.class)] {
        key.text(text);
    }
    for text in [request.service, request.resource, request.resource_type, request.namespace] {
        key.text(text);
    }
    if let Some(who) = request.principal {
        if reads.any(Reads::METHOD) {
            key.number(who.auth.map_or(0, |a| a.code()));
        }
        if reads.any(Reads::ISS) {
            key.text(&who.iss);
        }
        if reads.any(Reads::SVC) {
            key.text(&who.svc);
        }
    }
    key.context(request, reads);
    key.0
}

struct Key(Vec<u8>);

impl Key {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a str>) {
        self.number(texts.len() as u64);
        texts.for_each(|text| self.text(text));
    }

    fn context(&mut self, request: &Request<'_>, reads: Reads) {
        if reads.any(Reads::HOUR) || reads.any(Reads::WEEKDAY) {
            self.number(hours(request.time_ns));
        }
        if reads.any(Reads::PEER) {
            match request.peer {
                None => self.byte(0),
                Some(IpAddr::V4(ip)) => {
                    self.byte(4);
                    self.0.extend(ip.octets());
                }
                Some(IpAddr::V6(ip)) => {
                    self.byte(6);
                    self.0.extend(ip.octets());
                }
            }
        }
        if reads.any(Reads::TLS) {
            self.byte(u8::from(request.tls));
        }
        if reads.any(Reads::ROUTE) {
            self.text(request.route);
        }
        if reads.any(Reads::PURPOSE) {
            self.text(request.purpose);
        }
        let chain = [Reads::DELEGATION, Reads::DEPTH, Reads::BEHALF, Reads::CHAIN];
        if chain.iter().any(|bit| reads.any(*bit)) {
            self.texts(request.on_behalf_of.iter().map(|p| p.id.as_str()));
            request.on_behalf_of.iter().for_each(|p| self.number(p.verified.code()));
        }
    }
}

impl Cache {
    /// `bytes` bounds all entries together; 0 = remember nothing.
    pub(crate) fn new(bytes: usize) -> Cache {
        Cache {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: Default::default(),
            shard_bytes: bytes / SHARDS,
            evictions: AtomicU64::new(0),
        }
    }

    fn shard(&self, key: &[u8]) -> Option<&Mutex<Shard>> {
        // The low bits choose the bucket inside the map; these choose the shard.
        let hash = self.hasher.hash_one(key) >> 32;
        self.shards.get(usize::try_from(hash).ok()? % SHARDS)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Decision> {
        let mut shard = self.shard(key)?.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.entries.get_mut(key)?;
        entry.used = true;
        Some(entry.decision.clone())
    }

    pub(crate) fn put(&self, key: Vec<u8>, decision: &Decision) {
        let bytes = weight(&key, decision);
        if key.len() > KEY_MAX || bytes > self.shard_bytes {
            return;
        }
        let Some(shard) = self.shard(&key) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.entries.contains_key(key.as_slice()) {
            return;
        }
        let evicted = shard.make_room(bytes, self.shard_bytes);
        let key: Arc<[u8]> = key.into();
        shard.bytes += bytes;
        shard.queue.push_back(Arc::clone(&key));
        shard.entries.insert(key, Entry { decision: decision.clone(), bytes, used: false });
        drop(shard);
        self.evictions.fetch_add(evicted, Ordering::Relaxed);
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).bytes).sum()
    }
}

impl Shard {
    /// Evicts until `bytes` more fit; the number evicted. Each entry is passed over at most once, so the
    /// work of a call is bounded by the queue's length, and on average by what was put in.
    fn make_room(&mut self, bytes: usize, bound: usize) -> u64 {
        let mut evicted = 0;
        while self.bytes.saturating_add(bytes) > bound {
            let Some(key) = self.queue.pop_front() else { break };
            match self.entries.get_mut(&key) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.queue.push_back(key);
                }
                _ => {
                    if let Some(entry) = self.entries.remove(&key) {
                        self.bytes = self.bytes.saturating_sub(entry.bytes);
                        evicted += 1;
                    }
                }
            }
        }
        evicted
    }
}

fn weight(key: &[u8], decision: &Decision) -> usize {
    let policies: usize = decision.policies.iter().map(|p| p.len() + size_of::<String>()).sum();
    key.len() + policies + decision.reason.len() + size_of::<Decision>() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_under_its_bytes_and_keeps_what_is_used() {
        let cache = Cache::new(64 << 10);
        let decision = Decision { reason: "r".repeat(100), ..Decision::default() };
        let often = b"often".to_vec();
        cache.put(often.clone(), &decision);
        for n in 0..5_000_u32 {
            cache.put(n.to_le_bytes().to_vec(), &decision);
            assert!(cache.get(&often).is_some(), "used entries get a second chance");
            assert!(cache.bytes() <= 64 << 10);
        }
        assert!(cache.evictions() > 4_000);
        assert!(cache.get(&0_u32.to_le_bytes()).is_none());
    }

    #[test]
    fn what_is_too_long_is_not_remembered() {
        let cache = Cache::new(1 << 20);
        let key = vec![0; KEY_MAX + 1];
        cache.put(key.clone(), &Decision::default());
        assert!(cache.get(&key).is_none());
        let none = Cache::new(0);
        none.put(vec![1], &Decision::default());
        assert!(none.get(&[1]).is_none());
    }
}
