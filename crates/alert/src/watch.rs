//! The watchdog: a message every minute to one receiver, whose absence is the alarm.
//!
//! Not queued: one that could not be sent is not sent later, since the next one says more. Counted nowhere; its
//! failures and its return are events, once each.

use crate::alerts::Inner;
use crate::message::message_id;
use crate::notice::{Kind, Notice};
use crate::retry::Attempt;
use crate::state::Change;
use std::sync::PoisonError;
use std::time::Duration;

/// Shortest time between two rounds.
const ROUND_MIN: Duration = Duration::from_millis(10);

/// Sends until the end.
pub(crate) fn watch(inner: &Inner) {
    if inner.watchdog.is_empty() {
        return;
    }
    let mut fails = vec![false; inner.watchdog.len()];
    loop {
        for (at, fails) in inner.watchdog.iter().zip(&mut fails) {
            beat(inner, *at, fails);
        }
        let stopped = inner.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let every = inner.timing.watchdog.max(ROUND_MIN);
        let waited = inner.stop.wait_timeout_while(stopped, every, |stopped| !*stopped);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            return;
        }
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
        Attempt::Failed { why, .. } => why,
        Attempt::Refused { why, .. } => why.to_owned(),
        Attempt::Gone => "the receiver wants no messages any more".to_owned(),
    };
    let failed = !error.is_empty();
    if failed != *fails {
        *fails = failed;
        inner.tell(&Change { error: &error, ..Change::new("alert.watchdog", &receiver.name) });
    }
}
