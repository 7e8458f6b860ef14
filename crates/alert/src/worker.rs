//! The threads: a few for each receiver, and one that keeps house.

use crate::alerts::Inner;
use crate::config::LOG;
use crate::intake;
use crate::journal::SNAPSHOT_EVERY;
use crate::message::{Stored, message_id};
use crate::notice::{Kind, Notice};
use crate::queue::Name;
use crate::receiver::{Fate, Receiver};
use crate::retry::Attempt;
use crate::route::nanos;
use crate::state::Change;
use crate::trouble;
use std::sync::PoisonError;

/// Delivers one receiver's messages until it stops.
pub(crate) fn deliver(inner: &Inner, receiver: &Receiver) {
    let now = || (inner.timing.now_ns)();
    while let Some(item) = receiver.next(&now) {
        let stored = receiver.read(&item);
        let notice = stored.as_ref().and_then(|stored| Notice::from_bytes(&stored.body));
        let attempt = match &notice {
            // After a 410 the rest of the queue goes to the dead letters without another request.
            _ if receiver.disabled() => Attempt::Gone,
            None => Attempt::Refused {
                status: 0,
                why: "its file on disk is damaged; the finding is in the ledger".to_owned(),
            },
            Some(notice) => receiver.sender.send(&item.name.id, notice, &inner.link, now()),
        };
        let (name, letter) = (item.name.clone(), stored.clone());
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
            count: name.count,
            ..Change::new(operation, &receiver.name)
        };
        match &fate {
            Fate::Delivered { status } => inner.tell(&change("alert.delivered", Some(*status), "")),
            Fate::Waits { status, why, first: true } => inner.tell(&change("alert.failed", *status, why)),
            Fate::Waits { .. } => {}
            Fate::Dead { status, why } => {
                tracing::warn!(target: "countersign::alert", receiver = receiver.name, why, "alert given up");
                inner.tell(&change("alert.dead", *status, why));
                if let Some(letter) = &letter
                    && receiver.falls_back(&name.id)
                {
                    inner.fall_back(&receiver.name, &name, letter, why);
                }
            }
        }
        trouble::note(inner, receiver, &fate);
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
        let waited = inner.stop.wait_timeout_while(stopped, SNAPSHOT_EVERY, |stopped| !*stopped);
        let last = *waited.unwrap_or_else(PoisonError::into_inner).0;
        if !last {
            inner.tell_due();
            send_overdue(inner);
        }
        send_sums(inner, last);
        tell_untold(inner);
        inner.end_silences();
        inner.kept().save();
        if last {
            return;
        }
    }
}

/// A storm of repeats is one event a second and rule.
fn tell_untold(inner: &Inner) {
    let count = inner.log.sums();
    if count > 0 {
        inner.tell(&Change { count, ..Change::new("alert.delivered", LOG) });
    }
    inner.untold.take(inner.now()).into_iter().for_each(|event| inner.tell_event(event));
}

/// What a receiver has not taken for minutes goes to the fallback receiver too.
fn send_overdue(inner: &Inner) {
    if inner.fallback.is_empty() {
        return;
    }
    let since = inner.now().saturating_sub(nanos(inner.timing.fallback_after));
    for receiver in &inner.receivers {
        let why = receiver.status().last_error;
        for name in receiver.overdue(since) {
            if let Some(stored) = receiver.waiting(&name) {
                inner.fall_back(&receiver.name, &name, &stored, &why);
            }
        }
    }
}

/// What found a queue full is told as a sum once there is room; at the end at least the ledger is told.
fn send_sums(inner: &Inner, last: bool) {
    for receiver in &inner.receivers {
        let Some(overflow) = receiver.take_overflow(last) else { continue };
        let now = inner.now();
        let (first, last) = (overflow.first.to_be_bytes(), overflow.last.to_be_bytes());
        let id = message_id(&inner.seal, &[b"sum", receiver.name.as_bytes(), &first, &last]);
        let count = overflow.count;
        let note = format!("{count} findings came while the queue was full; they are in the ledger");
        let notice = Notice::of_platform(Kind::Summary, note, count, (overflow.first, overflow.last), now);
        receiver.gathered(1);
        receiver.push(Name { created_ns: now, id, count: 1 }, &intake::stored(&notice));
        let error = "the queue was full";
        inner.tell(&Change { error, count, ..Change::new("alert.summarised", &receiver.name) });
    }
}
