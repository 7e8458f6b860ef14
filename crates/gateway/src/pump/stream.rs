//! Stream protocols on a flow: asks the protocol's framer what may pass, taps what was received, queues what
//! goes on in its place. And what HTTP switched to, which passes as it comes.
//!
//! Adding a protocol: one line in [`framer`], one in `decode/session.rs`.

use super::closing::Closing;
use super::flow::{Flow, Mode};
use super::login::{self, Entry};
use super::worker::Route;
use crate::config::Protocol;
use crate::decode::identify;
use crate::ring::{Decided, Way, What};
use crate::stats::count;
use bytes::Bytes;
use countersign_identity::HttpIdentity;
use countersign_policy::Policy;
use countersign_wire::stream::{Call, Farewell, Framer, Judge, Out, Refusal, Step};
use std::sync::Arc;

/// The inline half of a connection's protocol.
pub(super) struct Stream {
    pub(super) framer: Box<dyn Framer>,
    /// A login that the gateway takes part in, until it is over.
    pub(super) entry: Option<Box<Entry>>,
    /// What the caller proved in it.
    pub(super) proved: Option<Box<HttpIdentity>>,
}

impl Stream {
    pub(super) fn idle(&self) -> bool {
        self.framer.idle()
    }

    pub(super) fn refuse_withheld(&self, withheld: usize) -> Vec<u8> {
        self.framer.refuse_withheld(withheld)
    }
}

/// The framer of the route's protocol, and the records that a connection of it makes in any case.
fn framer(route: &Route) -> Option<(Box<dyn Framer>, u32)> {
    match route.protocol {
        // Its start-up packet announces the session's records.
        Protocol::Postgres => Some((Box::new(super::postgres::framer(route)), 0)),
        Protocol::Auto | Protocol::Http1 | Protocol::Http2 | Protocol::Mcp | Protocol::Opaque => None,
        // Its begin and its end.
        Protocol::Redis => Some((Box::new(countersign_wire::redis::Framer::new()), 2)),
    }
}

/// Puts the framer's questions to the policy of the route.
struct Verdicts<'a> {
    policy: Option<&'a Arc<dyn Policy>>,
    caller: identify::Caller<'a>,
    protocol: &'static str,
    /// No byte of a command passes before it is whole: its intent names it, and it waits for that.
    announces: bool,
    decided: Option<Box<Decided>>,
}

impl Judge for Verdicts<'_> {
    fn asks(&self) -> bool {
        self.policy.is_some() || self.announces
    }

    fn denies(&mut self, call: &Call<'_>) -> bool {
        let Some(policy) = self.policy else { return false };
        let decided = identify::decide_call(&self.caller, self.protocol, call, policy.as_ref());
        let denied = countersign_policy::refuses(&decided.decision);
        self.decided = Some(Box::new(decided));
        denied
    }
}

impl Flow {
    /// The listener's protocol is a stream protocol.
    /// `end_point` = channel binding to the certificate that the caller was shown.
    pub(super) fn begin_stream(&mut self, end_point: Option<Vec<u8>>) {
        let protocol = self.route.protocol;
        let Some((framer, records)) = framer(&self.route) else {
            return self.turn_opaque("no reader for the configured protocol");
        };
        self.mode = Mode::Framed;
        let caller = login::caller_leg(&self.client, end_point);
        let entry = login::entry(&self.worker, &self.route, self.secured.as_deref(), caller);
        self.stream = Some(Stream { framer, entry, proved: None });
        self.will_record(u64::from(records));
        self.tap(What::Framed { protocol, records });
    }

    /// Bytes of a stream protocol (`new` may be empty: judge again what is held).
    pub(super) fn frame_stream(&mut self, way: Way, new: &Bytes) {
        let Some(mut stream) = self.stream.take() else { return };
        let direction = if way == Way::Up { &mut self.up } else { &mut self.down };
        let mut rest = if direction.held.is_empty() {
            new.clone()
        } else {
            let mut held = std::mem::take(&mut direction.held);
            held.extend_from_slice(new);
            held.freeze()
        };
        let mut waits = false;
        while !rest.is_empty() && self.cut.is_none() {
            if stream.entry.is_some() {
                match self.log_in(&mut stream, way, &rest) {
                    Ok(0) => break,
                    Ok(len) if self.closing == Closing::No => drop(rest.split_to(len)),
                    Ok(_) => rest.clear(),
                    Err(refusal) => {
                        self.stream = Some(stream);
                        return self.refuse_stream(way, refusal);
                    }
                }
                continue;
            }
            let idle = stream.idle();
            let (step, decided) = match self.judge_stream(&mut stream, way, &rest) {
                Ok(judged) => judged,
                Err(refusal) => {
                    self.stream = Some(stream);
                    return self.refuse_stream(way, refusal);
                }
            };
            waits = step.wait;
            let idle = idle && self.is_gap();
            if step.len == 0 {
                break;
            }
            let bytes = rest.split_to(step.len.min(rest.len()));
            self.pass_stream(way, bytes, step, decided, idle);
        }
        let direction = if way == Way::Up { &mut self.up } else { &mut self.down };
        direction.held.extend_from_slice(&rest);
        self.stream = Some(stream);
        if way == Way::Up {
            self.blocked = waits;
        } else if self.blocked && !self.up.held.is_empty() {
            self.blocked = false;
            self.frame_stream(Way::Up, &Bytes::new());
        }
    }

    fn judge_stream(
        &self,
        stream: &mut Stream,
        way: Way,
        buf: &[u8],
    ) -> Result<(Step, Option<Box<Decided>>), Refusal> {
        if way == Way::Down {
            return Ok((stream.framer.down(buf)?, None));
        }
        let mut verdicts = Verdicts {
            policy: self.worker.holds(&self.route),
            caller: identify::Caller { proved: stream.proved.as_deref(), ..self.caller() },
            protocol: self.route.protocol.word(),
            announces: self.intents.is_some() && self.route.protocol == Protocol::Redis,
            decided: None,
        };
        let step = stream.framer.up(buf, &mut verdicts)?;
        Ok((step, verdicts.decided))
    }

    fn pass_stream(&mut self, way: Way, bytes: Bytes, step: Step, decided: Option<Box<Decided>>, idle: bool) {
        if idle {
            self.choose_dropping();
        }
        if self.dropping {
            self.dropped(u64::from(step.records));
            return self.queue_stream(way, bytes, step.out);
        }
        self.will_record(u64::from(step.records));
        if way == Way::Up && step.records > 0 {
            self.ask_intent(self.up.out.end());
        }
        if way == Way::Up {
            self.worker
                .counters
                .requests
                .fetch_add(u64::from(step.records), std::sync::atomic::Ordering::Relaxed);
        }
        if decided.as_ref().is_some_and(|d| countersign_policy::refuses(&d.decision)) {
            count(&self.worker.counters.refused);
        }
        self.tap(What::Bytes { way, bytes: bytes.clone(), records: step.records, decided });
        self.queue_stream(way, bytes, step.out);
    }

    pub(super) fn queue_stream(&mut self, way: Way, bytes: Bytes, out: Out) {
        let direction = if way == Way::Up { &mut self.up } else { &mut self.down };
        direction.out.push(match out {
            Out::Same => bytes,
            Out::Instead(other) => Bytes::from(other),
        });
    }

    /// On a gap route, between messages: with a full ring what follows passes without records, with room in it
    /// records are made again.
    fn choose_dropping(&mut self) {
        let drops = self.drops_next();
        if self.dropping && !drops {
            self.tap(What::Resumed);
        }
        self.dropping = drops;
    }

    /// The bytes at the front of a direction break a rule: nothing more passes.
    fn refuse_stream(&mut self, way: Way, refusal: Refusal) {
        count(&self.worker.counters.refused);
        self.will_record(1);
        self.tap(What::Broken { way, rule: refusal.rule });
        self.up.held.clear();
        self.down.held.clear();
        self.down.out.push(Bytes::from(refusal.answer));
        self.close(true);
    }

    /// Tells the client in its protocol why the gateway ends the connection.
    pub(super) fn say_farewell(&mut self, why: Farewell) {
        if let Some(stream) = &self.stream {
            let bytes = Bytes::from(stream.framer.farewell(why));
            self.down.out.push(bytes);
        }
    }

    /// HTTP switched to another protocol: from here on bytes pass as they come, and the decoder sees them.
    pub(super) fn switch(&mut self) {
        self.mode = Mode::Switched;
        self.blocked = false;
        self.will_record(1);
        count(&self.worker.counters.opaque);
        self.tap(What::Switched { before: self.before_tunnel() });
        if self.tunnelled > 0 {
            // What the server sent behind its 101 is in the queue already; the decoder is shown it first.
            let early = std::mem::take(&mut self.early);
            self.tap(What::Bytes { way: Way::Down, bytes: early, records: 0, decided: None });
        }
        let held = self.up.held.split().freeze();
        self.pass_switched(Way::Up, held);
    }

    pub(super) fn pass_switched(&mut self, way: Way, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.tap(What::Bytes { way, bytes: bytes.clone(), records: 0, decided: None });
        let direction = if way == Way::Up { &mut self.up } else { &mut self.down };
        direction.out.push(bytes);
    }
}
