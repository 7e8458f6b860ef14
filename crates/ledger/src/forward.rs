//! Sources that another log has numbered: those of an edge, whose records are shipped here.
//!
//! The other log gave agent, run and number, and they stay: what is recorded is the edge's frame, byte for byte.
//! This log registers such a run under a reference of its own, once in each of its own lives
//! ([`crate::bodies::SourceReg::via`] names the other log, `after` the number at which it goes on), and signs
//! heartbeats over what it got. Not transport, and not admission: who may send what is asked before.
//!
//! Invariants: a number of a run is recorded once, whatever is sent again; numbers go up by one, and a jump is
//! refused: only a declared loss passes over numbers; after a crash of this log nothing of such a run counts as
//! lost, because its owner still has what was not durable here.

use crate::bodies::{Gap, SourceReg};
use crate::core::{Core, lock};
use crate::intake::{Own, Push, Submission, Work};
use crate::keys::random;
use crate::limits::{IDENTITY_MAX, SOURCES_MAX};
use crate::sequencer::sequence::append_own;
use crate::source::{EVENT_COST, SourceState};
use crate::{Done, GapReason, Ledger, LedgerError, Source};
use countersign_event::{EntryKind, Event, Frame};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// A run of another log's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardSpec {
    /// Agent of its events, 1 to 256 bytes.
    pub identity: String,
    /// Its run.
    pub stream: [u8; 16],
    /// Origin of the log that numbered it.
    pub origin: String,
}

/// Numbers that the other log declared missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// First missing number.
    pub first: u64,
    /// Last missing number; `None` = it is not known where, or whether, anything is missing from `first` on.
    pub last: Option<u64>,
    /// Why.
    pub reason: GapReason,
}

/// Why nothing was taken.
#[derive(Debug)]
pub enum ForwardError {
    /// The intake is full; the events are handed back.
    Full(Vec<(Event, Frame)>),
    /// The next number is this one: what was sent does not begin there, or has a hole.
    Expected(u64),
    /// An event names another agent or run than its source.
    Foreign,
    /// The ledger cannot take anything any more.
    Ledger(LedgerError),
}

impl Ledger {
    /// The last durable number of run `stream`; 0 when there is none.
    ///
    /// # Errors
    /// The run is registered for another agent, or was numbered here.
    pub fn forward_mark(&self, identity: &str, stream: &[u8; 16]) -> Result<u64, LedgerError> {
        match lock(&self.core.registry).run(stream) {
            None => Ok(0),
            Some(run) if run.reg.identity == identity && run.reg.via.is_some() => Ok(run.info.last_seq),
            Some(_) => Err(LedgerError::Invalid("this run belongs to another source".to_owned())),
        }
    }

    /// The source for a run that another log numbers, registered in this life of the log where it is not yet;
    /// durable on return. Not to be called twice at once for one run.
    ///
    /// # Errors
    /// As [`Ledger::forward_mark`] and [`Ledger::register`].
    pub fn forwarded(&self, spec: ForwardSpec) -> Result<Source, LedgerError> {
        let core = &self.core;
        core.check_writable()?;
        if spec.identity.is_empty() || spec.identity.len() > IDENTITY_MAX {
            return Err(LedgerError::Invalid("a source's identity must have 1 to 256 bytes".to_owned()));
        }
        let after = self.forward_mark(&spec.identity, &spec.stream)?;
        let seed = random::<32>()?;
        let state = {
            let mut registry = lock(&core.registry);
            let newest = registry.run(&spec.stream).map(|run| run.info.source_ref);
            if let Some(live) = newest.and_then(|newest| registry.live.get(&newest)) {
                return Ok(Source::new(core.clone(), live.clone()));
            }
            if registry.live.len() >= SOURCES_MAX {
                return Err(LedgerError::Limit { what: "number of live sources", max: SOURCES_MAX as u64 });
            }
            let latest = registry.latest(&spec.identity);
            let reg = SourceReg {
                source_ref: registry.next_ref,
                identity: spec.identity,
                stream: spec.stream,
                boot_epoch: latest.map_or(1, |(_, epoch)| epoch + 1),
                public_key: SourceState::public_key(&seed),
                previous: latest.map(|(previous, _)| previous),
                heartbeat_s: core.limits.heartbeat_idle.as_secs().max(1),
                via: Some(spec.origin),
                after,
            };
            registry.next_ref += 1;
            Arc::new(SourceState::new(reg, &seed, core.clock.monotonic_ns(), &core.dir.join("sources")))
        };
        append_own(core, EntryKind::SourceReg, state.reg.to_bytes())?;
        lock(&core.registry).live.insert(state.reg.source_ref, state.clone());
        Ok(Source::new(core.clone(), state))
    }
}

impl Source {
    /// The number that comes next; what lies before is on its way or durable.
    pub fn next_seq(&self) -> u64 {
        self.state.seq.lock().unwrap_or_else(PoisonError::into_inner).next
    }

    /// Records events as they are: numbered, in order, from [`Source::next_seq`] on. `done` is called once, after
    /// they are durable; not at all on an error here. Does not block.
    ///
    /// # Errors
    /// Nothing of `events` was taken.
    pub fn forward(&self, events: Vec<(Event, Frame)>, done: Done) -> Result<(), ForwardError> {
        self.forwarding().map_err(ForwardError::Ledger)?;
        let mut seq = self.state.seq.lock().unwrap_or_else(PoisonError::into_inner);
        let reg = &self.state.reg;
        for ((event, _), want) in events.iter().zip(seq.next..) {
            if event.core.seq != want {
                return Err(ForwardError::Expected(want));
            }
            if event.core.stream != reg.stream || event.core.agent != reg.identity {
                return Err(ForwardError::Foreign);
            }
        }
        if !self.core.intake.has_room(&self.state).map_err(ForwardError::Ledger)? {
            return Err(ForwardError::Full(events));
        }
        let count = events.len() as u64;
        let bytes = events.iter().map(|(_, frame)| frame.groups.total() + EVENT_COST).sum();
        let events = events.into_iter().map(|(event, frame)| (Arc::new(event), Arc::new(frame))).collect();
        let source = Arc::clone(&self.state);
        let submission = Submission { source, events, rejected: Vec::new(), urgent: true, done };
        let pushed = self.core.intake.push(Work::Events(submission), bytes, Push::Reserved);
        pushed.map_err(ForwardError::Ledger)?;
        seq.next = seq.next.saturating_add(count);
        self.state.seen.fetch_add(count, Ordering::AcqRel);
        Ok(())
    }

    /// Declares numbers missing that the other log declared so, from [`Source::next_seq`] on. Does not block.
    ///
    /// # Errors
    /// Nothing was declared.
    pub fn forward_loss(&self, loss: Loss, done: Done) -> Result<(), ForwardError> {
        self.forwarding().map_err(ForwardError::Ledger)?;
        let mut seq = self.state.seq.lock().unwrap_or_else(PoisonError::into_inner);
        let backwards = loss.last.is_some_and(|last| last < loss.first || last == u64::MAX);
        if loss.first != seq.next || backwards {
            return Err(ForwardError::Expected(seq.next));
        }
        let count = loss.last.map_or(0, |last| last - loss.first + 1);
        let gap = Gap {
            source_ref: self.state.reg.source_ref,
            first_seq: Some(loss.first),
            last_seq: loss.last,
            reason: loss.reason,
            count,
            exact: loss.last.is_some(),
            declared_by: self.state.reg.source_ref,
        };
        let mut own = Own::new(EntryKind::Gap, gap.to_bytes());
        own.dropped = loss.last.map(|last| (self.state.clone(), last, count, loss.reason));
        own.done = Some(done);
        self.core.intake.push(Work::Own(own), 0, Push::Always).map_err(ForwardError::Ledger)?;
        seq.next = seq.next.saturating_add(count);
        self.state.seen.fetch_add(count, Ordering::AcqRel);
        self.state.dropped.fetch_add(count, Ordering::AcqRel);
        Ok(())
    }

    /// The run has ended at its own log: its last heartbeat here follows, and it is live no more. Another number
    /// of it would be a new registration.
    ///
    /// # Errors
    /// The ledger takes nothing any more.
    pub fn forward_end(&self) -> Result<(), LedgerError> {
        self.forwarding()?;
        self.core.intake.push(Work::End(self.state.clone()), 0, Push::Always)
    }

    fn forwarding(&self) -> Result<(), LedgerError> {
        Core::check_writable(&self.core)?;
        match self.state.reg.via {
            Some(_) => Ok(()),
            None => Err(LedgerError::Invalid("this source is numbered here".to_owned())),
        }
    }
}
