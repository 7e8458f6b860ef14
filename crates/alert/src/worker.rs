//! The threads: a few for each receiver, and one that keeps house.

use crate::alerts::Inner;
use crate::message::{Stored, message_id, summary};
use crate::queue::{Name, write_atomic};
use crate::receiver::{Fate, Receiver};
use crate::retry::Attempt;
use crate::state::Change;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Requests under way to one receiver at a time.
pub(crate) const IN_FLIGHT: usize = 4;
/// How often house is kept: merged repeats are told, the memory of matters is saved.
const HOUSE_EVERY: Duration = Duration::from_secs(1);
/// File with the matters of late.
pub(crate) const MATTERS_FILE: &str = "matters";

/// Delivers one receiver's messages until it stops.
pub(crate) fn deliver(inner: &Inner, receiver: &Receiver) {
    let now = || (inner.timing.now_ns)();
    while let Some(item) = receiver.next(&now) {
        let stored = receiver.read(&item);
        let attempt = match &stored {
            // After a 410 the rest of the queue goes to the dead letters without another request.
            _ if receiver.disabled() => Attempt::Gone,
            None => Attempt::Refused {
                status: 0,
                why: "its file on disk is damaged; the finding is in the ledger",
            },
            Some(stored) => receiver.sender.send(&item.name.id, &stored.body, now()),
        };
        let (id, attempts) = (item.name.id.clone(), item.attempts.saturating_add(1));
        let finding = stored.as_ref().and_then(Stored::finding);
        let told_gone = attempt == Attempt::Gone && !receiver.disabled();
        let fate = receiver.settle(item, stored, attempt, &inner.timing);
        let change = |operation, status: Option<u16>, error| Change {
            finding,
            message: &id,
            attempts,
            status: status.filter(|s| *s != 0),
            error,
            ..Change::new(operation, &receiver.name)
        };
        match &fate {
            Fate::Delivered { status } => inner.tell(&change("alert.delivered", Some(*status), "")),
            Fate::Waits { status, why, first: true } => inner.tell(&change("alert.failed", *status, why)),
            Fate::Waits { .. } => {}
            Fate::Dead { status, why } => {
                tracing::warn!(target: "countersign::alert", receiver = receiver.name, why, "alert given up");
                inner.tell(&change("alert.dead", *status, why));
            }
        }
        if told_gone {
            let why = "it answered 410; nothing is sent until the next start";
            inner.tell(&Change {
                error: why,
                status: Some(410),
                ..Change::new("alert.disabled", &receiver.name)
            });
        }
    }
}

/// Keeps house until the end, and once more then.
pub(crate) fn keep_house(inner: &Inner) {
    loop {
        let stopped = inner.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = inner.stop.wait_timeout_while(stopped, HOUSE_EVERY, |stopped| !*stopped);
        let last = *waited.unwrap_or_else(PoisonError::into_inner).0;
        tell_merged(inner);
        send_sums(inner, last);
        save_matters(inner);
        if last {
            return;
        }
    }
}

/// A storm of repeats is one event a second.
fn tell_merged(inner: &Inner) {
    let count = inner.merged_untold.swap(0, Ordering::Relaxed);
    if count > 0 {
        inner.tell(&Change { count, ..Change::new("alert.merged", "") });
    }
}

/// What found a queue full is told as a sum once there is room; at the end at least the ledger is told.
fn send_sums(inner: &Inner, last: bool) {
    for receiver in &inner.receivers {
        let Some(overflow) = receiver.take_overflow(last) else { continue };
        let now = (inner.timing.now_ns)();
        let (first, last) = (overflow.first.to_be_bytes(), overflow.last.to_be_bytes());
        let id = message_id(&inner.seal, &[b"sum", receiver.name.as_bytes(), &first, &last]);
        let body = summary(overflow.count, overflow.first, overflow.last, now);
        let stored = Stored { index: overflow.last, body, ..Stored::default() };
        receiver.push(Name { created_ns: now, id }, &stored);
        let error = "the queue was full";
        let count = overflow.count;
        inner.tell(&Change { error, count, ..Change::new("alert.summarised", &receiver.name) });
    }
}

fn save_matters(inner: &Inner) {
    if !inner.matters_changed.swap(false, Ordering::Relaxed) {
        return;
    }
    let bytes = inner.merge.lock().unwrap_or_else(PoisonError::into_inner).to_bytes();
    let saved =
        inner.seal.seal(MATTERS_FILE, &bytes).and_then(|b| write_atomic(&inner.dir, MATTERS_FILE, &b));
    if let Err(error) = saved {
        // Without the file a restart forgets the repeats of late: some matters ring once more.
        tracing::warn!(target: "countersign::alert", %error, "memory of repeats not saved");
        inner.matters_changed.store(true, Ordering::Relaxed);
    }
}
