//! Strict routes: no byte of a request goes to the server before its intent is durable.
//!
//! The decoder makes the intent and hands it to the ledger; the ledger's acknowledgement opens the [`Gate`] of
//! the connection by one. Intents of a connection are acknowledged in the order in which they were asked for,
//! so a count is enough. Invariant: what lies in the queue behind the first unacknowledged intent is not
//! written, whatever else happens; when waiting ends without an answer it is taken back.

use crate::ring::Gate;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Intents of a connection that are asked for and not yet acknowledged.
pub(super) struct Intents {
    gate: Arc<Gate>,
    released: u64,
    /// Offset in the queue to the server where the request begins, and when it was asked for. As many as the
    /// framer lets be open.
    pending: VecDeque<(u64, u64)>,
    /// What refuses the request that waits in the words of its own protocol, where HTTP's are not those.
    /// Boxed: every connection has room for this.
    pub(super) answer: Option<Box<Bytes>>,
}

impl Intents {
    pub(super) fn new(gate: Arc<Gate>) -> Intents {
        Intents { gate, released: 0, pending: VecDeque::new(), answer: None }
    }

    /// The gate alone, of a connection that goes on elsewhere. Nothing is asked for yet.
    pub(super) fn into_gate(self) -> Arc<Gate> {
        self.gate
    }

    /// What is queued from `offset` on must wait for one more intent.
    pub(super) fn ask(&mut self, offset: u64, now: u64) {
        self.pending.push_back((offset, now));
    }

    /// Offset up to which may be written; `None` = everything. Wakes the connection's task at the next
    /// acknowledgement: asked for first, so that one that comes in between is not missed.
    pub(super) fn limit(&mut self, waker: &std::task::Waker) -> Option<u64> {
        if !self.pending.is_empty() {
            self.gate.register(waker);
        }
        let acknowledged = self.gate.acknowledged();
        while self.released < acknowledged && self.pending.pop_front().is_some() {
            self.released += 1;
        }
        self.pending.front().map(|(offset, _)| *offset)
    }

    /// Where the first request that waits begins, when it has waited longer than `at_most` or will never be
    /// answered.
    pub(super) fn given_up(&self, now: u64, at_most: Duration) -> Option<u64> {
        let (offset, since) = *self.pending.front()?;
        let late = u128::from(now.saturating_sub(since)) > at_most.as_nanos();
        (late || self.gate.failed()).then_some(offset)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len()
    }
}
