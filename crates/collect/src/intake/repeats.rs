//! What was delivered before: a bounded memory of records, so that one sent again is recorded once.
//!
//! Known by the producer's own id with the content's digest, else by the content alone with its number among equal
//! records of one batch (two equal lines in one batch stay two). Beyond [`REPEATS_MAX`] records or [`REPEATS_AGE`]
//! a late repeat is recorded as a second event.

use countersign_event::Event;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Records remembered by an input, most.
pub const REPEATS_MAX: usize = 1_000_000;
/// How long a record is remembered, at most.
pub const REPEATS_AGE: Duration = Duration::from_secs(24 * 3_600);

/// By what a repeat is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Of the id, or of content and number.
    name: [u8; 16],
    /// Of the content, where `name` is of an id; else zero.
    content: u64,
}

impl Key {
    /// Of a record that has an id of its own.
    pub fn of_id(id: &str, digest: &[u8; 32]) -> Key {
        let mut hash = Sha256::new();
        hash.update(b"id\0");
        hash.update(id.as_bytes());
        Key { name: half(hash), content: u64::from_be_bytes(*digest.first_chunk().unwrap_or(&[0; 8])) }
    }

    /// Of the `nth` record (from 0) with this content in its batch.
    pub fn of_content(digest: &[u8; 32], nth: u64) -> Key {
        let mut hash = Sha256::new();
        hash.update(b"content\0");
        hash.update(digest);
        hash.update(nth.to_be_bytes());
        Key { name: half(hash), content: 0 }
    }
}

fn half(hash: Sha256) -> [u8; 16] {
    let full: [u8; 32] = hash.finalize().into();
    let mut out = [0; 16];
    out.copy_from_slice(&full[..16]);
    out
}

/// Gives the keys of one batch, or of the events of an earlier process in their order.
#[derive(Debug, Default)]
pub struct Keys {
    equal: HashMap<[u8; 32], u64>,
}

impl Keys {
    /// The key of the batch's next event; `None` if it says nothing that a repeat could be known by.
    pub fn next(&mut self, event: &Event) -> Option<Key> {
        let digest = event.body.raw.as_ref()?.digest?;
        let id = event.body.cap.as_ref().map(|capture| capture.source_id.as_str()).unwrap_or_default();
        self.of(id, &digest)
    }

    /// As [`Keys::next`], of an event's source id (empty = none) and the digest of its raw bytes.
    pub fn of(&mut self, id: &str, digest: &[u8; 32]) -> Option<Key> {
        if !id.is_empty() {
            return Some(Key::of_id(id, digest));
        }
        let nth = self.equal.entry(*digest).or_default();
        *nth += 1;
        Some(Key::of_content(digest, *nth - 1))
    }
}

/// What is known of a record that just came.
#[derive(Debug)]
pub(super) enum Known {
    New,
    Durable,
    /// It is on its way: this tells how that ends.
    OnItsWay(watch::Receiver<Option<bool>>),
    /// Its id came before, with other content.
    OtherContent,
}

#[derive(Debug)]
enum State {
    Durable,
    OnItsWay(watch::Receiver<Option<bool>>),
}

#[derive(Debug, Default)]
pub(super) struct Repeats {
    known: HashMap<[u8; 16], (u64, State)>,
    /// Names by age, oldest first.
    order: VecDeque<([u8; 16], Instant)>,
}

impl Repeats {
    /// What is known of `key`; new ones are on their way from now on, as `watch` will tell.
    pub(super) fn ask(&mut self, key: Key, watch: &watch::Receiver<Option<bool>>) -> Known {
        if let Some((content, state)) = self.known.get(&key.name) {
            return match state {
                _ if *content != key.content => Known::OtherContent,
                State::Durable => Known::Durable,
                State::OnItsWay(other) => Known::OnItsWay(other.clone()),
            };
        }
        self.insert(key, State::OnItsWay(watch.clone()));
        Known::New
    }

    pub(super) fn remember(&mut self, key: Key) {
        self.insert(key, State::Durable);
    }

    fn insert(&mut self, key: Key, state: State) {
        let now = Instant::now();
        self.known.insert(key.name, (key.content, state));
        self.order.push_back((key.name, now));
        while self.order.len() > REPEATS_MAX
            || self.order.front().is_some_and(|(_, at)| now.duration_since(*at) > REPEATS_AGE)
        {
            if let Some((name, _)) = self.order.pop_front() {
                self.known.remove(&name);
            }
        }
    }

    /// Each key is durable, or forgotten.
    pub(super) fn settle(&mut self, keys: impl Iterator<Item = (Key, bool)>) {
        for (key, durable) in keys {
            if !durable {
                // Its place in the order stays until it is old: a name that comes again has two then, and is
                // forgotten a little early, which the bound allows.
                self.known.remove(&key.name);
            } else if let Some((_, state)) = self.known.get_mut(&key.name) {
                *state = State::Durable;
            }
        }
    }
}
