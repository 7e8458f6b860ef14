//! What is said again and again: the watchdog's message, whose absence is the alarm, and what is still open, to each
//! replica of an Alertmanager, which would resolve it by itself.
//!
//! Not queued: one that could not be sent is not sent later, since the next one says more. Counted nowhere; the watchdog's
//! failures and its return are events, once each.

use crate::alerts::Inner;
use crate::group::Group;
use crate::message::message_id;
use crate::notice::{Kind, Notice};
use crate::retry::Attempt;
use crate::route::nanos;
use crate::state::Change;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Shortest time between two rounds.
const ROUND_MIN: Duration = Duration::from_millis(10);

/// Sends until the end.
pub(crate) fn watch(inner: &Inner) {
    let dogs = inner.watchdog.clone();
    let managers: Vec<usize> = (0..inner.receivers.len())
        .filter(|at| inner.receivers.get(*at).is_some_and(|r| r.sender.repeats()))
        .collect();
    if dogs.is_empty() && managers.is_empty() {
        return;
    }
    let mut fails = vec![false; dogs.len()];
    let (beats, repeats) = (inner.timing.watchdog.max(ROUND_MIN), inner.timing.refresh.max(ROUND_MIN));
    let (mut beat_at, mut repeat_at) = (Instant::now(), Instant::now() + repeats);
    loop {
        let now = Instant::now();
        if now >= beat_at {
            dogs.iter().zip(&mut fails).for_each(|(at, fails)| beat(inner, *at, fails));
            beat_at = now + beats;
        }
        if now >= repeat_at {
            managers.iter().for_each(|at| repeat_open(inner, *at));
            repeat_at = now + repeats;
        }
        let wait = beat_at.min(repeat_at).saturating_duration_since(Instant::now());
        let stopped = inner.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = inner.stop.wait_timeout_while(stopped, wait, |stopped| !*stopped);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            return;
        }
    }
}

/// Tells an Alertmanager once more what is open, until nothing has been told of it for as long as a repeat would wait.
fn repeat_open(inner: &Inner, at: usize) {
    let Some(receiver) = inner.receivers.get(at).filter(|receiver| !receiver.disabled()) else { return };
    let quiet = nanos(inner.timing.repeat);
    let open = |group: &Group| {
        let of_late = inner.now().saturating_sub(group.told_ns) < quiet;
        group.open > 0 && of_late && group.revision > 0 && group.receivers.contains(&receiver.name)
    };
    let keys: Vec<String> = {
        let kept = inner.kept();
        kept.memory.groups.iter().filter(|(_, group)| open(group)).map(|(key, _)| key.clone()).collect()
    };
    for key in keys {
        // It may have ended since.
        let notice = inner
            .kept()
            .memory
            .groups
            .get(&key)
            .filter(|group| open(group))
            .map(|group| group.standing(&key, inner.now()));
        let stopped = *inner.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(notice) = notice.filter(|_| !stopped) else { continue };
        // One that fails is told again soon; the queue tells of trouble.
        let _ = receiver.sender.send("", &notice, &inner.link, inner.now());
    }
}

fn beat(inner: &Inner, at: usize, fails: &mut bool) {
    let Some(receiver) = inner.receivers.get(at) else { return };
    let now = inner.now();
    let note = "countersign is alive; without this message every minute something is wrong".to_owned();
    let notice =
        Notice { group: "watchdog".to_owned(), ..Notice::of_platform(Kind::Watchdog, note, 0, (0, 0), now) };
    let id = message_id(&inner.seal, &[b"watchdog", receiver.name.as_bytes(), &now.to_be_bytes()]);
    let error = match receiver.sender.send(&id, &notice, &inner.link, now) {
        Attempt::Delivered { .. } => String::new(),
        Attempt::Failed { why, .. } | Attempt::Refused { why, .. } => why,
        Attempt::Gone => "the receiver wants no messages any more".to_owned(),
    };
    let failed = !error.is_empty();
    if failed != *fails {
        *fails = failed;
        inner.tell(&Change { error: &error, ..Change::new("alert.watchdog", &receiver.name) });
    }
}
