//! Numbers that are true when what they stand for is durable: HEC's channels.
//!
//! Invariants: a number is true only after [`Durable::set`]; no number is given twice, not by a later process either
//! (they begin at random: a sender that asks after a restart for a number of before it must not hear of another
//! request); what is kept is bounded, and a number that was dropped or is unknown is false, so that its request is
//! sent again and known as a repeat. A number stays true when it was asked for once: the answer may have been lost.

use ring::rand::{SecureRandom, SystemRandom};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Longest channel name, bytes: a GUID with hyphens and braces.
pub(super) const CHANNEL_MAX: usize = 38;
/// Channels kept at a time; of more, the one that was used longest ago is forgotten.
const CHANNELS_MAX: usize = 1_024;
/// Numbers kept of one channel.
const NUMBERS_MAX: usize = 10_000;
/// The first number is below this: every JSON reader can hold it and what follows (2^53 - 1).
const FIRST_MAX: u64 = 1 << 52;

/// Whose channel, and which.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Channel {
    pub(super) deliverer: String,
    pub(super) name: String,
}

/// Says that what a number stands for is durable.
#[derive(Debug)]
pub(super) struct Durable(Arc<AtomicBool>);

impl Durable {
    pub(super) fn set(self) {
        self.0.store(true, Ordering::Release);
    }
}

#[derive(Debug, Default)]
struct Numbers {
    used: u64,
    order: VecDeque<u64>,
    durable: HashMap<u64, Arc<AtomicBool>>,
}

/// All channels of a server.
#[derive(Debug, Default)]
pub(in crate::receivers) struct Channels {
    next: OnceLock<AtomicU64>,
    used: AtomicU64,
    kept: Mutex<BTreeMap<Channel, Numbers>>,
}

impl Channels {
    /// A new number; `None` = too many of the channel are not durable yet, or no randomness is to be had.
    pub(super) fn open(&self, channel: &Channel) -> Option<(u64, Durable)> {
        let next = match self.next.get() {
            Some(next) => next,
            None => {
                let first = first()?;
                self.next.get_or_init(|| AtomicU64::new(first))
            }
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.contains_key(channel) && kept.len() >= CHANNELS_MAX {
            let oldest = kept.iter().min_by_key(|(_, numbers)| numbers.used).map(|(name, _)| name.clone());
            oldest.and_then(|name| kept.remove(&name));
        }
        let numbers = kept.entry(channel.clone()).or_default();
        numbers.used = self.used.fetch_add(1, Ordering::Relaxed);
        if numbers.order.len() >= NUMBERS_MAX {
            let oldest = *numbers.order.front()?;
            if !numbers.durable.get(&oldest).is_some_and(|durable| durable.load(Ordering::Acquire)) {
                return None;
            }
            numbers.order.pop_front();
            numbers.durable.remove(&oldest);
        }
        let number = next.fetch_add(1, Ordering::Relaxed);
        let durable = Arc::new(AtomicBool::new(false));
        numbers.order.push_back(number);
        numbers.durable.insert(number, Arc::clone(&durable));
        Some((number, Durable(durable)))
    }

    /// Whether `number` was given in this channel and what it stands for is durable.
    pub(super) fn is_durable(&self, channel: &Channel, number: u64) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(numbers) = kept.get_mut(channel) else { return false };
        numbers.used = self.used.fetch_add(1, Ordering::Relaxed);
        numbers.durable.get(&number).is_some_and(|durable| durable.load(Ordering::Acquire))
    }
}

fn first() -> Option<u64> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes) % FIRST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel { deliverer: String::new(), name: name.to_owned() }
    }

    #[test]
    fn a_number_is_true_after_durability_only_and_in_its_own_channel_only() {
        let channels = Channels::default();
        let (one, durable) = channels.open(&channel("a")).unwrap();
        let (two, other) = channels.open(&channel("a")).unwrap();
        assert!(one != two && one < 2 * FIRST_MAX);
        assert!(!channels.is_durable(&channel("a"), one));
        durable.set();
        drop(other);
        assert!(channels.is_durable(&channel("a"), one) && channels.is_durable(&channel("a"), one));
        assert!(!channels.is_durable(&channel("a"), two), "what was given up stays false");
        assert!(!channels.is_durable(&channel("b"), one) && !channels.is_durable(&channel("a"), two + 1));
        let stranger = Channel { deliverer: "key:x".into(), ..channel("a") };
        assert!(!channels.is_durable(&stranger, one));
    }

    #[test]
    fn a_later_process_gives_other_numbers() {
        let numbers = || Channels::default().open(&channel("a")).unwrap().0;
        assert!(numbers() != numbers());
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_waited_for_is_never_dropped() {
        let channels = Channels::default();
        let first: Vec<_> = (0..NUMBERS_MAX).map(|_| channels.open(&channel("a")).unwrap()).collect();
        assert!(channels.open(&channel("a")).is_none(), "none is durable");
        let number = first[0].0;
        first.into_iter().for_each(|(_, durable)| durable.set());
        assert!(channels.open(&channel("a")).is_some());
        assert!(!channels.is_durable(&channel("a"), number), "the oldest made room");
        for n in 0..CHANNELS_MAX {
            channels.open(&channel(&n.to_string())).unwrap();
        }
        assert_eq!(channels.kept.lock().unwrap().len(), CHANNELS_MAX);
    }
}
