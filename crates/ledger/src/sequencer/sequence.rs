//! Step 1: order, index, time, salts, commitments, leaf. One thread, so that there is one order.

use super::Prepared;
use crate::clock::LedgerTime;
use crate::core::{Core, lock};
use crate::intake::{Own, Popped, Push, Submission, Work};
use crate::limits::SUBTREE;
use crate::salts::Salts;
use crate::source::{SourceState, count_dropped};
use crate::wal::header::sha256;
use crate::wal::payload::{RECORD_OVERHEAD, append_body, append_event};
use crate::{Ack, Committed, LedgerError, Payload};
use countersign_event::commit::{body_commitment, event_commitment};
use countersign_event::{Entry, EntryKind, Event, Frame};
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Time between looks at heartbeats, part age and clock.
const TICK: Duration = Duration::from_millis(250);
/// How long a shutdown waits for its last signature.
const LAST_CHECKPOINT: Duration = Duration::from_secs(10);

/// The part that takes leaves now.
struct OpenPart {
    first: u64,
    salts: Salts,
    opened_ns: u64,
}

/// The single orderer.
pub(crate) struct Sequencer {
    core: Arc<Core>,
    next: u64,
    own_seq: u64,
    time: LedgerTime,
    part: Option<OpenPart>,
    batch: Prepared,
    began: Option<Instant>,
    /// Somebody waits for the batch.
    urgent: bool,
    ticked: Instant,
}

/// Why the loop ends.
enum End {
    Shutdown,
    Stopped,
}

impl Sequencer {
    /// Continues after `size` leaves, `own_seq` own entries and the time of the newest entry.
    pub(crate) fn new(core: Arc<Core>, size: u64, own_seq: u64, last_time: u64) -> Sequencer {
        let time = LedgerTime::new(core.clock.as_ref(), last_time);
        let batch = Prepared { first: size, ..Prepared::default() };
        let (part, began, urgent) = (None, None, false);
        Sequencer { core, next: size, own_seq, time, part, batch, began, urgent, ticked: Instant::now() }
    }

    pub(crate) fn run(mut self, out: &SyncSender<Prepared>) {
        let end = loop {
            match self.turn(out) {
                Ok(None) => {}
                Ok(Some(end)) => break end,
                Err(error) => {
                    self.core.stop(&error);
                    break End::Stopped;
                }
            }
        };
        let error = self.core.stopped_error();
        if matches!(end, End::Shutdown) {
            self.core.intake.close(LedgerError::Closed);
        }
        std::mem::take(&mut self.batch).fail(&error);
        // Whatever came between shutdown and close was not sequenced: say so instead of leaving callers waiting.
        while let Popped::Work(work) = self.core.intake.pop(Duration::ZERO) {
            match work {
                Work::Events(submission) => submission.fail(&error),
                Work::Own(Own { done: Some(done), .. }) => done(Err(error.clone())),
                Work::Own(_) | Work::ClosePart(_) | Work::End(_) | Work::Shutdown => {}
            }
        }
    }

    fn turn(&mut self, out: &SyncSender<Prepared>) -> Result<Option<End>, LedgerError> {
        match self.core.intake.pop(self.patience()) {
            Popped::Work(Work::Events(submission)) => self.events(submission, out)?,
            Popped::Work(Work::Own(own)) => self.own(own, out)?,
            Popped::Work(Work::ClosePart(reply)) => {
                self.flush(out)?;
                self.close_part();
                // A caller that gave up waiting changes nothing.
                let _ = reply.try_send(());
            }
            Popped::Work(Work::End(source)) => self.end_source(&source, out)?,
            Popped::Work(Work::Shutdown) => {
                self.beat(true, out)?;
                self.flush(out)?;
                self.wait_signed();
                self.batch.close = true;
                self.flush(out)?;
                return Ok(Some(End::Shutdown));
            }
            Popped::Idle => {}
            Popped::Closed => return Ok(Some(End::Stopped)),
        }
        if self.ticked.elapsed() >= TICK {
            self.tick(out)?;
        }
        if self.is_ripe() {
            self.flush(out)?;
        }
        Ok(None)
    }

    fn is_ripe(&self) -> bool {
        match self.began {
            Some(began) => began.elapsed() >= self.core.limits.batch_age || self.urgent && self.may_go(),
            // An idle log still gets the frame of its last checkpoint.
            None => lock(&self.core.note).is_some(),
        }
    }

    /// Whether a batch that somebody waits for is to be written now. While another one syncs it stays open, so
    /// that all who arrive meanwhile share the next sync; the committer wakes this thread when it is done.
    fn may_go(&self) -> bool {
        self.core.committing.load(Ordering::Acquire) == 0 && !self.core.intake.has_ahead()
    }

    /// How long to wait for work: to the end of the batch, or to the next tick.
    fn patience(&self) -> Duration {
        let tick = TICK.saturating_sub(self.ticked.elapsed());
        match self.began {
            Some(began) => self.core.limits.batch_age.saturating_sub(began.elapsed()).min(tick),
            None => tick,
        }
    }

    fn tick(&mut self, out: &SyncSender<Prepared>) -> Result<(), LedgerError> {
        self.ticked = Instant::now();
        self.core.counters.clock_steps.store(self.time.steps, Ordering::Relaxed);
        let now = self.core.clock.monotonic_ns();
        let age = self.core.limits.part_age.as_nanos() as u64;
        let old = self.part.as_ref().is_some_and(|part| now.saturating_sub(part.opened_ns) >= age);
        if old {
            self.flush(out)?;
            self.close_part();
        }
        self.beat(false, out)
    }

    /// Heartbeats that are due; at the end, all.
    fn beat(&mut self, last: bool, out: &SyncSender<Prepared>) -> Result<(), LedgerError> {
        let live: Vec<Arc<SourceState>> = lock(&self.core.registry).live.values().cloned().collect();
        let now = self.core.clock.monotonic_ns();
        let limits = &self.core.limits;
        let (busy, idle) = (limits.heartbeat_busy.as_nanos() as u64, limits.heartbeat_idle.as_nanos() as u64);
        for state in live {
            let due = {
                let window = state.window.lock().unwrap_or_else(PoisonError::into_inner);
                let age = now.saturating_sub(window.beat_ns);
                !window.closed && (last || age >= idle || (age >= busy && window.ckpt.seen > 0))
            };
            if !due {
                continue;
            }
            match state.heartbeat(now, last) {
                Some(body) => self.own(Own::new(EntryKind::SourceCkpt, body), out)?,
                None => {
                    self.core.counters.heartbeats_refused.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        source = state.reg.source_ref,
                        "heartbeat refused: its counts do not add up"
                    );
                }
            }
        }
        Ok(())
    }

    /// Everything that the source submitted lies before.
    fn end_source(&mut self, source: &SourceState, out: &SyncSender<Prepared>) -> Result<(), LedgerError> {
        if let Some(body) = source.heartbeat(self.core.clock.monotonic_ns(), true) {
            self.own(Own::new(EntryKind::SourceCkpt, body), out)?;
        }
        lock(&self.core.registry).live.remove(&source.reg.source_ref);
        Ok(())
    }

    fn events(&mut self, submission: Submission, out: &SyncSender<Prepared>) -> Result<(), LedgerError> {
        let Submission { source, events, rejected, urgent, done } = submission;
        let ack = Ack { first: self.next, count: events.len() as u64, rejected };
        let mut last_seq = 0;
        let mut in_batch = 0;
        for (event, frame) in events {
            if self.is_full(frame.groups.total() + RECORD_OVERHEAD + 64) {
                self.batch.sent.push((source.clone(), in_batch, last_seq));
                in_batch = 0;
                self.flush(out)?;
            }
            last_seq = event.core.seq;
            in_batch += 1;
            self.event(&source, event, frame)?;
        }
        if in_batch > 0 {
            self.batch.sent.push((source, in_batch, last_seq));
        }
        self.batch.acks.push((done, ack));
        self.began.get_or_insert_with(Instant::now);
        self.urgent |= urgent;
        Ok(())
    }

    fn event(
        &mut self,
        source: &SourceState,
        event: Arc<Event>,
        frame: Arc<Frame>,
    ) -> Result<(), LedgerError> {
        let index = self.next;
        let part = self.part()?;
        let salts = part.salts.of_row(index - part.first);
        let commitment = event_commitment(&salts, &frame.groups.each());
        {
            let mut window = source.window.lock().unwrap_or_else(PoisonError::into_inner);
            let mut block = [0; 64];
            block[..32].copy_from_slice(&window.ckpt.chain);
            block[32..].copy_from_slice(&commitment);
            window.ckpt.chain = sha256(&block);
            window.ckpt.seen += 1;
            window.ckpt.sent += 1;
            window.ckpt.last_seq = event.core.seq;
        }
        let entry = Entry {
            kind: EntryKind::Event as u8,
            source_ref: source.reg.source_ref,
            source_seq: event.core.seq,
            time_ns: self.time.now(self.core.clock.as_ref()),
            commitment,
        };
        append_event(&mut self.batch.payload, &entry, &frame);
        self.push(entry, Payload::Event { event, frame });
        Ok(())
    }

    fn own(&mut self, own: Own, out: &SyncSender<Prepared>) -> Result<(), LedgerError> {
        if self.is_full(own.body.len() + RECORD_OVERHEAD) {
            self.flush(out)?;
        }
        let index = self.next;
        self.part()?;
        if let Some((source, last, n, reason)) = &own.dropped {
            let mut window = source.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.ckpt.seen += n;
            window.ckpt.last_seq = *last;
            count_dropped(&mut window.ckpt.dropped, *reason, *n);
        }
        self.own_seq += 1;
        let entry = Entry {
            kind: own.kind as u8,
            source_ref: 0,
            source_seq: self.own_seq,
            time_ns: self.time.now(self.core.clock.as_ref()),
            commitment: body_commitment(&own.body),
        };
        append_body(&mut self.batch.payload, &entry, &own.body);
        self.push(entry, Payload::Body(own.body));
        if let Some((source, last, ..)) = own.dropped {
            self.batch.sent.push((source, 0, last));
        }
        if let Some(done) = own.done {
            self.batch.acks.push((done, Ack { first: index, count: 1, rejected: Vec::new() }));
            self.urgent = true;
        }
        Ok(())
    }

    fn push(&mut self, entry: Entry, payload: Payload) {
        self.batch.leaves.push(entry.leaf());
        self.batch.records.push(Committed { index: self.next, entry, payload });
        self.next += 1;
        self.began.get_or_insert_with(Instant::now);
    }

    /// Whether a record of `bytes` belongs in the next batch: limits, or the end of the part.
    fn is_full(&self, bytes: usize) -> bool {
        let limits = &self.core.limits;
        let batch = &self.batch;
        let at_border = self.part.as_ref().is_some_and(|part| self.part_ends(part));
        !batch.records.is_empty()
            && (batch.records.len() >= limits.batch_entries
                || batch.payload.len() + bytes > limits.batch_bytes
                || at_border)
    }

    /// Whether the next leaf belongs to another part.
    fn part_ends(&self, part: &OpenPart) -> bool {
        self.next > part.first
            && (self.next - part.first >= self.core.limits.part_leaves || self.next.is_multiple_of(SUBTREE))
    }

    /// The part for the next leaf. Its key record is durable before any frame that uses its salts.
    fn part(&mut self) -> Result<&OpenPart, LedgerError> {
        if self.part.as_ref().is_some_and(|part| self.part_ends(part)) {
            self.close_part();
        }
        if self.part.is_none() {
            let key = lock(&self.core.vault).new_part(self.next)?;
            lock(&self.core.parts).insert(self.next, None);
            let opened_ns = self.core.clock.monotonic_ns();
            self.part = Some(OpenPart { first: self.next, salts: key.salts(), opened_ns });
        }
        self.part.as_ref().ok_or(LedgerError::Closed)
    }

    fn close_part(&mut self) {
        let Some(part) = self.part.take() else { return };
        lock(&self.core.parts).insert(part.first, Some(self.next));
        self.core.feed.nudge();
    }

    /// Lets the last checkpoint come before CLOSE, so that its frame is in the log too.
    fn wait_signed(&self) {
        let deadline = Instant::now() + LAST_CHECKPOINT;
        let mut signed = lock(&self.core.signed);
        while signed.latest.as_ref().is_none_or(|head| head.size < self.next) && !self.core.is_stopped() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            signed =
                self.core.signed_news.wait_timeout(signed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Hands the batch to the committer; waits while one batch syncs and one waits already.
    fn flush(&mut self, out: &SyncSender<Prepared>) -> Result<(), LedgerError> {
        self.batch.note = lock(&self.core.note).take();
        (self.began, self.urgent) = (None, false);
        // The next batch will be about as large as this one: growing step by step would copy it twice.
        let next = Prepared {
            first: self.next,
            payload: Vec::with_capacity(self.batch.payload.len()),
            records: Vec::with_capacity(self.batch.records.len()),
            leaves: Vec::with_capacity(self.batch.leaves.len()),
            ..Prepared::default()
        };
        let batch = std::mem::replace(&mut self.batch, next);
        if batch.is_empty() {
            return Ok(());
        }
        self.core.committing.fetch_add(1, Ordering::AcqRel);
        out.send(batch).map_err(|rejected| {
            let error = self.core.stopped_error();
            rejected.0.fail(&error);
            error
        })
    }
}

/// Queues an own entry and waits until it is durable; returns its leaf index.
pub(crate) fn append_own(core: &Core, kind: EntryKind, body: Vec<u8>) -> Result<u64, LedgerError> {
    if body.len() > crate::limits::BODY_MAX {
        return Err(LedgerError::Limit { what: "bytes in a body", max: crate::limits::BODY_MAX as u64 });
    }
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    let mut own = Own::new(kind, body);
    own.done = Some(Box::new(move |result| drop(send.send(result))));
    core.intake.push(Work::Own(own), 0, Push::Always)?;
    let ack = receive.recv().map_err(|_| core.stopped_error())??;
    Ok(ack.first)
}
